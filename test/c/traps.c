/*
 * traps.c - what a program can do to the processor: every instruction that it may not execute, exceptions of its own,
 * hostile signal frames, registers that belong to one thread.  Each is a signal that says what it was, or nothing.
 */
#include "lib/tap.h"

#include <cpuid.h>
#include <pthread.h>
#include <setjmp.h>
#include <ucontext.h>

/* What a handler saw. */
struct seen {
	int sig, code;
	unsigned long addr, rip, trap, err;
};

static sigjmp_buf back;
static struct seen seen;

static void catch(int sig, siginfo_t *i, void *u)
{
	/* a program's AC is the handler's too */
	__asm__ volatile("pushfq; andq $~0x40000, (%%rsp); popfq" ::: "memory");
	const greg_t *g = ((ucontext_t *)u)->uc_mcontext.gregs;
	seen = (struct seen){ sig, i->si_code, (unsigned long)i->si_addr, g[REG_RIP], g[REG_TRAPNO], g[REG_ERR] };
	siglongjmp(back, 1);
}

static void on_faults(void (*handler)(int, siginfo_t *, void *))
{
	static const int sigs[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	static char stack[65536];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof stack };
	MUST(sigaltstack(&ss, NULL));
	for (unsigned i = 0; i < sizeof sigs / sizeof *sigs; i++) {
		struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
		MUST(sigaction(sigs[i], &sa, NULL));
	}
}

/* QEMU's own processor leaves out some exceptions. */
static bool emulated(void)
{
	unsigned a, b, c, d;
	__cpuid(1, a, b, c, d);
	if (!(c >> 31))
		return false;
	__cpuid(0x40000000, a, b, c, d);
	return b == 0x54474354;
}

/* ---- one instruction ---- */

#define ATTEMPT(name, text) \
	void t_##name(void); \
	__asm__(".text\n.globl t_" #name "\nt_" #name ":\n" text "\n\tret\n");

ATTEMPT(ud2, "ud2")
ATTEMPT(into, ".byte 0xce")
ATTEMPT(push_cs, ".byte 0x0e")
ATTEMPT(int3, "int3")
ATTEMPT(int_3, ".byte 0xcd, 3")
ATTEMPT(int1, ".byte 0xf1")
ATTEMPT(int_0, "int $0")
ATTEMPT(int_1, "int $1")
ATTEMPT(int_2, "int $2")
ATTEMPT(int_4, "int $4")
ATTEMPT(int_8, "int $8")
ATTEMPT(int_14, "int $14")
ATTEMPT(int_18, "int $18")
ATTEMPT(int_32, "int $0x20")
ATTEMPT(int_255, "int $0xff")
ATTEMPT(hlt, "hlt")
ATTEMPT(cli, "cli")
ATTEMPT(in, "in $0x80, %al")
ATTEMPT(out, "out %al, $0x80")
ATTEMPT(rdmsr, "mov $0xc0000101, %ecx\n\trdmsr")
ATTEMPT(wrmsr, "mov $0xc0000101, %ecx\n\twrmsr")
ATTEMPT(mov_cr0, "mov %cr0, %rax")
ATTEMPT(mov_cr3, "mov %rax, %cr3")
ATTEMPT(mov_dr, "mov %rax, %dr7")
ATTEMPT(invlpg, "invlpg (%rsp)")
ATTEMPT(lgdt, "lgdt (%rsp)")
ATTEMPT(lidt, "lidt (%rsp)")
ATTEMPT(ltr, "mov $0x40, %eax\n\tltr %ax")
ATTEMPT(clts, "clts")
ATTEMPT(swapgs, "swapgs")
ATTEMPT(sysretq, "sysretq")
ATTEMPT(stac, "stac")
ATTEMPT(xsetbv, "xor %ecx, %ecx\n\txor %edx, %edx\n\tmov $3, %eax\n\txsetbv")
ATTEMPT(kernel_ds, "mov $0x18, %eax\n\tmov %eax, %ds")
ATTEMPT(tss_ds, "mov $0x40, %eax\n\tmov %eax, %ds")
ATTEMPT(no_ds, "mov $0xff8, %eax\n\tmov %eax, %ds")
ATTEMPT(ldt_ds, "mov $7, %eax\n\tmov %eax, %ds")
ATTEMPT(null_ss, "xor %eax, %eax\n\tmov %eax, %ss")
ATTEMPT(kernel_lret, "push $0x10\n\tlea 1f(%rip), %rax\n\tpush %rax\n\tlretq\n1:\tadd $16, %rsp")
ATTEMPT(kernel_iret, "push $0x18\n\tpush %rsp\n\tpush $0x202\n\tpush $0x10\n\tpush $0x400000\n\tiretq")
ATTEMPT(null_ss_iret, "push $0\n\tpush %rsp\n\tpush $0x202\n\tpush $0x33\n\tpush $0x400000\n\tiretq")
ATTEMPT(nested_iret, "pushfq\n\torq $0x4000, (%rsp)\n\tpopfq\n\tpush $0x2b\n\tpush %rsp\n\tpush $0x202\n\tpush $0x33\n\tpush $0x400000\n\tiretq")
ATTEMPT(far_load, "movabs $0x800000000000, %rax\n\tmov (%rax), %rax")
ATTEMPT(far_rbp, "push %rbp\n\tmovabs $0x800000000000, %rbp\n\tmov (%rbp), %rax\n\tpop %rbp")
ATTEMPT(far_push, "mov %rsp, %rcx\n\tmovabs $0x800000000010, %rsp\n\tpush %rax\n\tmov %rcx, %rsp")
ATTEMPT(far_jump, "movabs $0x800000000000, %rax\n\tjmp *%rax")
ATTEMPT(far_fs, "movabs $0x800000000000, %rax\n\twrfsbase %rax")
ATTEMPT(far_gs, "movabs $0xffff000000000000, %rax\n\twrgsbase %rax")
ATTEMPT(kernel_load, "movabs $0xffff800000001000, %rax\n\tmov (%rax), %rax")
ATTEMPT(kernel_load2, "mov $0xffffffff80200000, %rax\n\tmov (%rax), %rax")
ATTEMPT(kernel_store, "movabs $0xffff800000001000, %rax\n\tmov %rax, (%rax)")
ATTEMPT(kernel_jump, "movabs $0xffff800000001000, %rax\n\tjmp *%rax")
ATTEMPT(guard_load, "movabs $0x7ffffffff000, %rax\n\tmov (%rax), %rax")
ATTEMPT(null_load, "xor %eax, %eax\n\tmov (%rax), %rax")
ATTEMPT(divide, "xor %ecx, %ecx\n\txor %edx, %edx\n\tdiv %ecx")
ATTEMPT(idiv, "mov $-1, %rcx\n\tmov $1, %eax\n\tror $1, %rax\n\tmov $-1, %rdx\n\tidiv %rcx")
ATTEMPT(movaps, "movaps %xmm0, -15(%rsp)")

/*
 * si_addr is that of the instruction / QEMU may see it otherwise / it can't be asked: its older processors take the stack of a far
 * return for the kernel's, which SMAP forbids, for ever, and its bases of segments take anything.
 */
enum { AT_RIP = 1, PARTLY = 2, NOT_THERE = 4 };

struct attempt {
	const char *name;
	void (*f)(void);
	int sig, code, trap, flags;
	long err;
	unsigned long addr;
};

#define GP(name, f, err) { name, f, SIGSEGV, SI_KERNEL, 13, 0, err, 0 }
#define HARD(name, f, err) { name, f, SIGSEGV, SI_KERNEL, 13, NOT_THERE, err, 0 }
#define ILL(name, f) { name, f, SIGILL, ILL_ILLOPN, 6, AT_RIP, 0, 0 }
#define PF(name, f, err, addr) { name, f, SIGSEGV, SEGV_MAPERR, 14, 0, err, addr }

static const struct attempt attempts[] = {
	ILL("ud2", t_ud2), ILL("into", t_into), ILL("push cs", t_push_cs),
	{ "int3", t_int3, SIGTRAP, SI_KERNEL, 3, 0, 0, 0 },
	{ "int $3", t_int_3, SIGTRAP, SI_KERNEL, 3, 0, 0, 0 },
	{ "int1", t_int1, SIGTRAP, TRAP_BRKPT, 1, AT_RIP | PARTLY, 0, 0 },
	{ "int $4", t_int_4, SIGSEGV, SI_KERNEL, 4, 0, 0, 0 },
	GP("int $0", t_int_0, 0x2), GP("int $1", t_int_1, 0xa), GP("int $2", t_int_2, 0x12), GP("int $8", t_int_8, 0x42),
	GP("int $14", t_int_14, 0x72), GP("int $18", t_int_18, 0x92), GP("int $32", t_int_32, 0x102), GP("int $255", t_int_255, 0x7fa),
	GP("hlt", t_hlt, 0), GP("cli", t_cli, 0), GP("in", t_in, 0), GP("out", t_out, 0), GP("rdmsr", t_rdmsr, 0),
	GP("wrmsr", t_wrmsr, 0), GP("reading cr0", t_mov_cr0, 0), GP("writing cr3", t_mov_cr3, 0), GP("writing dr7", t_mov_dr, 0),
	GP("invlpg", t_invlpg, 0), GP("lgdt", t_lgdt, 0), GP("lidt", t_lidt, 0), GP("ltr", t_ltr, 0), GP("clts", t_clts, 0),
	GP("swapgs", t_swapgs, 0), GP("sysretq", t_sysretq, 0), ILL("stac", t_stac), GP("xsetbv", t_xsetbv, 0),
	GP("the kernel's segment in ds", t_kernel_ds, 0x18), GP("the task's segment in ds", t_tss_ds, 0x40),
	GP("a selector beyond the table", t_no_ds, 0xff8), GP("a selector of the local table", t_ldt_ds, 4),
	GP("no segment in ss", t_null_ss, 0), HARD("a far return to ring 0", t_kernel_lret, 0x10), HARD("iretq to ring 0", t_kernel_iret, 0x10),
	HARD("iretq with no ss", t_null_ss_iret, 0), HARD("iretq of a nested task", t_nested_iret, 0),
	GP("a load from an address that is not canonical", t_far_load, 0),
	{ "the same by rbp", t_far_rbp, SIGBUS, SI_KERNEL, 12, PARTLY, 0, 0 },
	{ "a push to such a stack", t_far_push, SIGBUS, SI_KERNEL, 12, PARTLY, 0, 0 },
	GP("a jump to such an address", t_far_jump, 0), HARD("such a base in fs", t_far_fs, 0), HARD("such a base in gs", t_far_gs, 0),
	PF("a load from the kernel's half", t_kernel_load, 5, 0xffff800000001000), PF("and from its image", t_kernel_load2, 5, 0xffffffff80200000),
	PF("a store to it", t_kernel_store, 7, 0xffff800000001000), PF("a jump to it", t_kernel_jump, 0x15, 0xffff800000001000),
	PF("a load from the last page of the lower half", t_guard_load, 5, 0x7ffffffff000), PF("and from address 0", t_null_load, 4, 0),
	{ "division by zero", t_divide, SIGFPE, FPE_INTDIV, 0, AT_RIP, 0, 0 },
	{ "division that overflows", t_idiv, SIGFPE, FPE_INTDIV, 0, AT_RIP, 0, 0 },
	GP("an unaligned movaps", t_movaps, 0),
};

static void attempt(const char *prefix, const struct attempt *a)
{
	char text[160];
	snprintf(text, sizeof text, "[7.35] %s%s: the signal, code, address and number of its exception", prefix, a->name);
	if ((a->flags & NOT_THERE) && emulated()) {
		tap_skip(text, "QEMU's processor does something else");
		return;
	}
	seen = (struct seen){ 0 };
	if (!sigsetjmp(back, 1))
		a->f();
	if ((a->flags & PARTLY) && emulated() && (seen.sig == 0 || seen.trap == 13 || seen.trap == 6)) {
		tap_skip(text, "QEMU's processor does not raise it");
		return;
	}
	/* for a vector it gives twice the error code */
	if (emulated() && (a->err & 2) && seen.err == (unsigned long)(a->err & ~2) * 2 + 2)
		seen.err = a->err;
	unsigned long addr = a->flags & AT_RIP ? seen.rip : a->addr;
	tap_report(seen.sig == a->sig && seen.code == a->code && seen.trap == (unsigned long)a->trap && seen.err == (unsigned long)a->err &&
		   seen.addr == addr, text, __FILE__, __LINE__, "signal %d, code %d, address 0x%lx at 0x%lx, exception %lu, error code 0x%lx",
		   seen.sig, seen.code, seen.addr, seen.rip, seen.trap, seen.err);
}

CASE(forbidden_instructions)
{
	on_faults(catch);
	for (unsigned i = 0; i < sizeof attempts / sizeof *attempts; i++) {
		attempt("", &attempts[i]);
		__asm__ volatile("pushfq; andq $~0x44000, (%%rsp); popfq; fninit" ::: "memory");
	}
}

/* ---- arithmetic ---- */

static void x87_mask(int unmasked)
{
	unsigned short word = 0x37f & ~unmasked;
	__asm__ volatile("fninit; fldcw %0" ::"m"(word));
}

static void sse_mask(int unmasked)
{
	unsigned word = 0x1f80 & ~(unmasked << 7);
	__asm__ volatile("ldmxcsr %0" ::"m"(word));
}

static const double tiny = 4.9e-324, small = 1e-300, huge = 1e300;
static float out;
static void x87_invalid(void) { __asm__ volatile("fldz; fldz; fdivrp; fwait"); }
static void x87_denormal(void) { __asm__ volatile("fldl %0; fwait" ::"m"(tiny)); }
static void x87_zero(void) { __asm__ volatile("fld1; fldz; fdivrp %st, %st(1); fwait"); }
static void x87_overflow(void) { __asm__ volatile("fldl %0; fstps %1; fwait" ::"m"(huge), "m"(out)); }
static void x87_underflow(void) { __asm__ volatile("fldl %0; fstps %1; fwait" ::"m"(small), "m"(out)); }
static void x87_inexact(void) { __asm__ volatile("fldpi; fstps %0; fwait" ::"m"(out)); }
static void x87_stack(void) { __asm__ volatile("fstp %st(0); fwait"); }
static void sse(float a, float b) { __asm__ volatile("divss %1, %0" : "+x"(a) : "x"(b)); }
static void sse_invalid(void) { sse(0, 0); }
static void sse_denormal(void) { sse(1e-40f, 1); }
static void sse_zero(void) { sse(1, 0); }
static void sse_overflow(void) { sse(3e38f, 1e-10f); }
static void sse_underflow(void) { sse(1e-30f, 1e20f); }
static void sse_inexact(void) { sse(1, 3); }

#define FP(name, f, code, trap) { name, f, SIGFPE, code, trap, AT_RIP | PARTLY, 0, 0 }
static const struct attempt arithmetic[2][7] = {
	{ FP("invalid", x87_invalid, FPE_FLTINV, 16), FP("denormal", x87_denormal, FPE_FLTUND, 16), FP("by zero", x87_zero, FPE_FLTDIV, 16),
	  FP("overflow", x87_overflow, FPE_FLTOVF, 16), FP("underflow", x87_underflow, FPE_FLTUND, 16),
	  FP("inexact", x87_inexact, FPE_FLTRES, 16), FP("empty stack", x87_stack, FPE_FLTINV, 16) },
	{ FP("invalid", sse_invalid, FPE_FLTINV, 19), FP("denormal", sse_denormal, FPE_FLTUND, 19), FP("by zero", sse_zero, FPE_FLTDIV, 19),
	  FP("overflow", sse_overflow, FPE_FLTOVF, 19), FP("underflow", sse_underflow, FPE_FLTUND, 19),
	  FP("inexact", sse_inexact, FPE_FLTRES, 19) },
};

CASE(arithmetic_exceptions)
{
	on_faults(catch);
	for (int unit = 0; unit < 2; unit++)
		for (int i = 0; i < 7 - unit; i++) {
			int bit = i == 6 ? 1 : 1 << i;
			if (unit == 0)
				x87_mask(bit);
			else
				sse_mask(bit);
			attempt(unit ? "SSE arithmetic, " : "x87 arithmetic, ", &arithmetic[unit][i]);
			x87_mask(0);
			sse_mask(0);
		}
}

static void *busy_with_x87(void *stop)
{
	long wrong = 0;
	while (!*(volatile int *)stop) {
		unsigned short status;
		__asm__ volatile("fninit; fld1; fld1; fdivrp; fnstsw %0; fstp %%st(0)" : "=m"(status));
		wrong += (status & 0x3f) != 0;
		sched_yield();
	}
	return (void *)wrong;
}

CASE(pending_exceptions_are_the_threads_own)
{
	/* an x87 exception waits for the next x87 instruction: others run before that */
	on_faults(catch);
	static volatile int stop;
	pthread_t t[4];
	void *wrong[4];
	for (int i = 0; i < 4; i++)
		REQUIRE(pthread_create(&t[i], NULL, busy_with_x87, (void *)&stop) == 0);
	int good = 0;
	for (int i = 0; i < 200; i++) {
		seen = (struct seen){ 0 };
		if (!sigsetjmp(back, 1)) {
			x87_mask(4);
			__asm__ volatile("fld1; fldz; fdivrp %st, %st(1)");
			for (int k = 0; k < 5; k++)
				sched_yield();
			__asm__ volatile("fwait");
		}
		good += seen.sig == SIGFPE && seen.code == FPE_FLTDIV;
		x87_mask(0);
	}
	stop = 1;
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &wrong[i]);
		good += wrong[i] == NULL;
	}
	CHECK_EQ(good, 204, "[7.35] a pending x87 exception reaches the thread that caused it, after others ran, and nobody else");
}

/* ---- flags ---- */

static int steps;
static unsigned long step_at[32];

static void on_step(int sig, siginfo_t *i, void *u)
{
	unsigned long rip = ((ucontext_t *)u)->uc_mcontext.gregs[REG_RIP];
	if (sig == SIGTRAP && i->si_code == TRAP_TRACE && (unsigned long)i->si_addr == rip && steps < 32)
		step_at[steps++] = rip;
}

CASE(single_steps)
{
	on_faults(on_step);
	unsigned long base;
	__asm__ volatile("lea 1f(%%rip), %0; pushfq; orq $0x100, (%%rsp); popfq; 1: nop; nop; mov $39, %%eax; syscall;"
			 "nop; nop; pushfq; andq $~0x100, (%%rsp); popfq; nop" : "=&r"(base) :: "rax", "rcx", "r11", "memory");
	static const unsigned want[] = { 1, 2, 7, 10, 11, 12, 20, 21 };
	int good = 0;
	for (int i = 0; i < steps && i < 8; i++)
		good += step_at[i] - base == want[i];
	tap_report(steps == 8 && good == 8, "[7.35] the trap flag: SIGTRAP after each instruction, a system call and the next being one",
		   __FILE__, __LINE__, "%d steps, of which %d where they should be", steps, good);
	steps = 0;
	__asm__ volatile("lea 1f(%%rip), %0; mov $39, %%eax; pushfq; orq $0x100, (%%rsp); popfq; 1: syscall;"
			 "nop; nop; pushfq; andq $~0x100, (%%rsp); popfq; nop" : "=&r"(base) :: "rax", "rcx", "r11", "memory");
	CHECK(steps > 0 && step_at[0] - base == 3, "[7.35] a system call as the first such instruction likewise");
}

CASE(flags)
{
	on_faults(catch);
	unsigned long f;
	__asm__ volatile("pushfq; orq $0x244000, (%%rsp); popfq; mov $39, %%eax; syscall; pushfq; pop %0; pushfq; andq $~0x244000, (%%rsp); popfq"
			 : "=r"(f) :: "rax", "rcx", "r11", "memory");
	CHECK_EQ(f & 0x244000, 0x244000, "[7.35] AC, ID and NT survive a system call");
	__asm__ volatile("pushfq; orq $0x3000, (%%rsp); popfq; pushfq; pop %0" : "=r"(f) :: "memory");
	CHECK_EQ(f & 0x3200, 0x200, "[7.35] the I/O privilege level stays 0, and interrupts stay on");
	static char line[64] __attribute__((aligned(64)));
	seen = (struct seen){ 0 };
	if (!sigsetjmp(back, 1))
		__asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq; mov 1(%0), %%rax; pushfq; andq $~0x40000, (%%rsp); popfq"
				 ::"r"(line) : "rax", "memory");
	__asm__ volatile("pushfq; andq $~0x40000, (%%rsp); popfq" ::: "memory");
	if (seen.sig == 0 && emulated())
		tap_skip("[7.35] an unaligned access with AC: SIGBUS, BUS_ADRALN", "QEMU's processor does not raise it");
	else
		CHECK(seen.sig == SIGBUS && seen.code == BUS_ADRALN && seen.trap == 17, "[7.35] an unaligned access with AC: SIGBUS, BUS_ADRALN");
	/* a kernel that took over AC would have user memory open, or stumble over it */
	int p[2];
	MUST(pipe(p));
	long r;
	__asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq; syscall; pushfq; andq $~0x40000, (%%rsp); popfq"
			 : "=a"(r) : "a"(SYS_write), "D"((long)p[1]), "S"(line + 1), "d"(30L) : "rcx", "r11", "memory");
	CHECK_EQ(r, 30, "[7.35] a system call with AC copies unaligned memory");
}

/* ---- segments ---- */

static unsigned segments(void)
{
	unsigned short ds, es, fs, gs;
	__asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3" : "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
	return (ds != 0) | (es != 0) << 1 | (fs != 0) << 2 | (gs != 0) << 3;
}

HELPER(segments)
{
	return segments();
}

static void *look_at_segments(void *stop)
{
	long others = 0;
	while (!*(volatile int *)stop) {
		others |= segments();
		sched_yield();
	}
	return (void *)others;
}

CASE(segments_are_the_threads_own)
{
	static volatile int stop;
	pthread_t t[3];
	for (int i = 0; i < 3; i++)
		REQUIRE(pthread_create(&t[i], NULL, look_at_segments, (void *)&stop) == 0);
	unsigned long base = 0x123456789000, got;
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%gs; wrgsbase %1" ::"r"(0x2b), "r"(base));
	int kept = 0;
	for (int i = 0; i < 200; i++) {
		sched_yield();
		kept += segments() == 0xb;
	}
	__asm__ volatile("rdgsbase %0" : "=r"(got));
	CHECK_EQ(kept, 200, "[7.35] selectors in ds, es and gs stay over task switches");
	CHECK_EQ(got, base, "[7.35] and so does a base that was set behind one");
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(segments());
	CHECK_EQ(WEXITSTATUS(reap(pid)), 0xb, "[7.35] fork's child has them too");
	pid = MUST(fork());
	if (pid == 0) {
		exec_self("segments", NULL, NULL, NULL);
		_exit(99);
	}
	CHECK_EQ(WEXITSTATUS(reap(pid)), 0, "[10.10] and a new program has none");
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%gs" ::"r"(0));
	stop = 1;
	long others = 0;
	for (int i = 0; i < 3; i++) {
		void *o;
		pthread_join(t[i], &o);
		others |= (long)o;
	}
	CHECK_EQ(others, 0, "[7.35] no other thread sees them");
}

/* ---- hostile frames ---- */

/* Where the parts of a frame are. */
#define SW(fp, i) (((unsigned *)((char *)(fp) + 464))[i])
#define MXCSR(fp) (*(unsigned *)((char *)(fp) + 24))
#define HEADER(fp, i) (((unsigned long *)((char *)(fp) + 512))[i])

static int evil_kind;

/* The handler of what comes of a spoilt frame. */
static void after(int sig, siginfo_t *i, void *u)
{
	unsigned csr;
	unsigned short word;
	__asm__ volatile("stmxcsr %0; fnstcw %1" : "=m"(csr), "=m"(word));
	sigset_t now;
	sigprocmask(SIG_BLOCK, NULL, &now);
	sh->v[0] = sig;
	sh->v[1] = i->si_code;
	sh->v[2] = ((ucontext_t *)u)->uc_mcontext.gregs[REG_R12];
	sh->v[3] = csr;
	sh->v[4] = word;
	sh->v[5] = ((ucontext_t *)u)->uc_mcontext.gregs[REG_RIP];
	sh->v[6] = ((ucontext_t *)u)->uc_mcontext.gregs[REG_TRAPNO];
	sh->v[7] = ((ucontext_t *)u)->uc_mcontext.gregs[REG_ERR];
	_exit(7);
}

static unsigned long *segment_word(ucontext_t *uc) { return (unsigned long *)&uc->uc_mcontext.gregs[REG_CSGSFS]; }

enum {
	NOTHING, CS_NULL, CS_KERNEL, CS_DATA, CS_TSS, CS_FAR, SS_NULL, SS_KERNEL, SS_CODE, SS_TSS, SS_FAR, SS_LAX,
	RIP_FAR, RIP_KERNEL, RIP_TOP, RSP_FAR, RSP_KERNEL, FLAGS_ALL, FP_ODD, FP_KERNEL, FP_FAR, FP_UNMAPPED, FP_EDGE,
	BV_ALL, BV_HIGH, XCOMP, XCOMP_COMPACT, HEADER_RESERVED, MXCSR_RESERVED, SIZE_HUGE, SIZE_SMALL, MAGIC2_GONE, MAGIC1_GONE, FP_NONE,
	FP_16, KINDS
};

static const struct {
	const char *name;
	int sig, code, trap;	/* 0: goes on */
	long err;
} frames[KINDS] = {
	[NOTHING] = { "as it was", 0, 0, 0, 0 },
	[CS_NULL] = { "no code segment", SIGSEGV, SI_KERNEL, 13, 0 },
	[CS_KERNEL] = { "the kernel's code segment", SIGSEGV, SI_KERNEL, 13, 0x10 },
	[CS_DATA] = { "a data segment as cs", SIGSEGV, SI_KERNEL, 13, 0x28 },
	[CS_TSS] = { "the task's segment as cs", SIGSEGV, SI_KERNEL, 13, 0x40 },
	[CS_FAR] = { "a code segment beyond the table", SIGSEGV, SI_KERNEL, 13, 0xfffc },
	[SS_NULL] = { "no stack segment", SIGSEGV, SI_KERNEL, 13, 0 },
	[SS_KERNEL] = { "the kernel's stack segment", SIGSEGV, SI_KERNEL, 13, 0x18 },
	[SS_CODE] = { "a code segment as ss", SIGSEGV, SI_KERNEL, 13, 0x30 },
	[SS_TSS] = { "the task's segment as ss", SIGSEGV, SI_KERNEL, 13, 0x40 },
	[SS_FAR] = { "a stack segment beyond the table", SIGSEGV, SI_KERNEL, 13, 0x3ff8 },
	[SS_LAX] = { "the kernel's stack segment, not to be taken strictly", 0, 0, 0, 0 },
	[RIP_FAR] = { "an instruction pointer that is not canonical", SIGSEGV, SI_KERNEL, 13, 0 },
	[RIP_KERNEL] = { "one in the kernel", SIGSEGV, SEGV_MAPERR, 14, 0x15 },
	[RIP_TOP] = { "one at the end of the lower half", SIGSEGV, SEGV_MAPERR, 14, 0x15 },
	[RSP_FAR] = { "a stack pointer that is not canonical", SIGILL, ILL_ILLOPN, 6, 0 },
	[RSP_KERNEL] = { "one in the kernel", SIGILL, ILL_ILLOPN, 6, 0 },
	[FLAGS_ALL] = { "all flags but TF", 0, 0, 0, 0 },
	[FP_ODD] = { "FPU registers that are not aligned", SIGSEGV, SI_KERNEL, 0, 0 },
	[FP_KERNEL] = { "FPU registers in the kernel", SIGSEGV, SI_KERNEL, 0, 0 },
	[FP_FAR] = { "FPU registers at an address that is not canonical", SIGSEGV, SI_KERNEL, 0, 0 },
	[FP_UNMAPPED] = { "FPU registers where nothing is", SIGSEGV, SI_KERNEL, 0, 0 },
	[FP_EDGE] = { "FPU registers that run into a hole", SIGSEGV, SI_KERNEL, 0, 0 },
	[BV_ALL] = { "all features in the header", SIGSEGV, SI_KERNEL, 0, 0 },
	[BV_HIGH] = { "feature 62 in the header", SIGSEGV, SI_KERNEL, 0, 0 },
	[XCOMP] = { "a component of the compact format", SIGSEGV, SI_KERNEL, 0, 0 },
	[XCOMP_COMPACT] = { "the compact format with components that are not there", SIGSEGV, SI_KERNEL, 0, 0 },
	[HEADER_RESERVED] = { "a reserved word of the header", SIGSEGV, SI_KERNEL, 0, 0 },
	[MXCSR_RESERVED] = { "reserved bits of MXCSR", SIGSEGV, SI_KERNEL, 0, 0 },
	[SIZE_HUGE] = { "a size of 4 GiB", 0, 0, 0, 0 },
	[SIZE_SMALL] = { "a size of 1", 0, 0, 0, 0 },
	[MAGIC2_GONE] = { "no mark behind the registers", 0, 0, 0, 0 },
	[MAGIC1_GONE] = { "no mark in the registers", 0, 0, 0, 0 },
	[FP_NONE] = { "no FPU registers", 0, 0, 0, 0 },
	[FP_16] = { "the old FPU registers alone, aligned to 16", 0, 0, 0, 0 },
};

static void evil(int sig, siginfo_t *i, void *u)
{
	(void)sig, (void)i;
	ucontext_t *uc = u;
	greg_t *g = uc->uc_mcontext.gregs;
	unsigned long *segs = segment_word(uc), strict = 4;
	char *fp = (char *)uc->uc_mcontext.fpregs;
	static char copy[16384] __attribute__((aligned(64)));
	g[REG_R12] = 0x5afe;
#define CS(v) (*segs = (*segs & ~0xffffUL) | (v))
#define SS(v) (*segs = (*segs & ~0xffff000000000000UL) | (unsigned long)(v) << 48)
	switch (evil_kind) {
	case CS_NULL: CS(0); break;
	case CS_KERNEL: CS(0x10); break;
	case CS_DATA: CS(0x2b); break;
	case CS_TSS: CS(0x43); break;
	case CS_FAR: CS(0xffff); break;
	case SS_NULL: SS(0); break;
	case SS_KERNEL: SS(0x18); break;
	case SS_CODE: SS(0x33); break;
	case SS_TSS: SS(0x43); break;
	case SS_FAR: SS(0x3ffb); break;
	case SS_LAX: SS(0x18); uc->uc_flags &= ~strict; break;
	case RIP_FAR: g[REG_RIP] = 0x800000000000; break;
	case RIP_KERNEL: g[REG_RIP] = (greg_t)0xffff800000001000; break;
	case RIP_TOP: g[REG_RIP] = 0x7ffffffff000; break;
	case RSP_FAR: g[REG_RIP] = (greg_t)t_ud2; g[REG_RSP] = 0x800000000000; break;
	case RSP_KERNEL: g[REG_RIP] = (greg_t)t_ud2; g[REG_RSP] = (greg_t)0xffff800000001000; break;
	case FLAGS_ALL: g[REG_EFL] = ~0x140100L; break;
	case FP_ODD: uc->uc_mcontext.fpregs = (void *)(fp + 8); break;
	case FP_KERNEL: uc->uc_mcontext.fpregs = (void *)0xffff800000001000; break;
	case FP_FAR: uc->uc_mcontext.fpregs = (void *)0x800000000000; break;
	case FP_UNMAPPED: uc->uc_mcontext.fpregs = (void *)0x1000; break;
	case FP_EDGE: uc->uc_mcontext.fpregs = (void *)(map_edge() - 448); break;
	case BV_ALL: HEADER(fp, 0) = ~0UL; break;
	case BV_HIGH: HEADER(fp, 0) |= 1UL << 62; break;
	case XCOMP: HEADER(fp, 1) = 1; break;
	case XCOMP_COMPACT: HEADER(fp, 1) = ~0UL; break;
	case HEADER_RESERVED: HEADER(fp, 2) = 1; break;
	case MXCSR_RESERVED: MXCSR(fp) = 0xffff1f80; break;
	case SIZE_HUGE: SW(fp, 4) = 0xfffffff0; break;
	case SIZE_SMALL: SW(fp, 4) = 1; break;
	case MAGIC2_GONE: *(unsigned *)(fp + SW(fp, 4)) = 0; break;
	case MAGIC1_GONE: SW(fp, 0) = 0; HEADER(fp, 0) = ~0UL; break;
	case FP_NONE: uc->uc_mcontext.fpregs = NULL; break;
	case FP_16: memcpy(copy + 16, fp, 512); uc->uc_mcontext.fpregs = (void *)(copy + 16); SW(copy + 16, 0) = 0; break;
	}
}

CASE(hostile_frames)
{
	for (evil_kind = 0; evil_kind < KINDS; evil_kind++) {
		memset((void *)sh->v, 0, sizeof sh->v);
		pid_t pid = MUST(fork());
		if (pid == 0) {
			on_faults(after);
			struct sigaction sa = { .sa_sigaction = evil, .sa_flags = SA_SIGINFO };
			sigaction(SIGUSR1, &sa, NULL);
			unsigned long f;
			x87_mask(0x10);
			sse_mask(0x10);
			raise(SIGUSR1);
			/* a trap flag or a direction flag of the frame's are not for C */
			__asm__ volatile("pushfq; pop %0; cld" : "=r"(f) :: "memory");
			sh->v[5] = f;
			_exit(3);
		}
		int st = reap(pid);
		char text[160];
		int code = WIFEXITED(st) ? WEXITSTATUS(st) : -1;
		snprintf(text, sizeof text, "[7.39] sigreturn of a frame with %s: %s", frames[evil_kind].name,
			 frames[evil_kind].sig ? "a signal for the program" : "the program goes on");
		bool right = frames[evil_kind].sig
				     ? code == 7 && sh->v[0] == frames[evil_kind].sig && sh->v[1] == frames[evil_kind].code
				     : code == 3;
		if (frames[evil_kind].trap)
			right = right && sh->v[2] == 0x5afe && sh->v[6] == frames[evil_kind].trap && sh->v[7] == frames[evil_kind].err;
		if (evil_kind == MXCSR_RESERVED && emulated())
			tap_skip(text, "QEMU's processor takes them");
		else
			tap_report(right, text, __FILE__, __LINE__, "status 0x%x, signal %ld, code %ld, r12 %lx, rip %lx, exception %ld, error code 0x%lx", st,
				   sh->v[0], sh->v[1], sh->v[2], sh->v[5], sh->v[6], sh->v[7]);
		if (code == 7 && evil_kind >= FP_ODD)
			CHECK(sh->v[3] == 0x1f80 && sh->v[4] == 0x37f, "[7.39] and the FPU registers are fresh");
		if (evil_kind == FLAGS_ALL)
			CHECK_EQ(sh->v[5] & 0x3f7000 & ~0x10000L, 0, "[7.39] flags that are not the program's stay as they were");
	}
}
