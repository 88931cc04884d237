/* sigframe.c - section 7: the signal frame, sigreturn, the alternate stack, synchronous faults (rules 7.35, 7.39-7.41). */
#include "lib/tap.h"

#include <ucontext.h>

/* The kernel's own sigaction, so that nothing of libc is between. */
struct ksigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};
#define K_SA_RESTORER 0x04000000UL

static long ksigaction(int sig, const struct ksigaction *act) { return syscall(SYS_rt_sigaction, (long)sig, act, NULL, 8L); }

/* ---- the entry state, caught in assembly before any C code runs ---- */

unsigned long entry[16];
void entry_handler(void);
void entry_restorer(void);
__asm__(".text\n.globl entry_handler\nentry_handler:\n"
	"	mov %rsp, entry(%rip)\n"
	"	mov %rdi, entry+8(%rip)\n"
	"	mov %rsi, entry+16(%rip)\n"
	"	mov %rdx, entry+24(%rip)\n"
	"	mov %rax, entry+32(%rip)\n"
	"	mov (%rsp), %rax\n"
	"	mov %rax, entry+40(%rip)\n"
	"	pushfq\n"
	"	popq entry+48(%rip)\n"
	"	ret\n"
	".globl entry_restorer\nentry_restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n");

CASE(entry_state)
{
	struct ksigaction sa = { entry_handler, K_SA_RESTORER, entry_restorer, 0 };
	REQUIRE(ksigaction(SIGUSR1, &sa) == 0);
	__asm__ volatile("std");	/* direction flag set at the time of the signal */
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_tgkill), "D"((long)getpid()), "S"((long)sys_gettid()), "d"((long)SIGUSR1)
			 : "rcx", "r11", "memory");
	unsigned long fl;
	__asm__ volatile("pushfq; popq %0; cld" : "=r"(fl));
	CHECK_EQ(r, 0, "[7.39] (the signal was sent; the result of the system call survives the handler)");
	CHECK(fl & 0x400, "[7.39] sigreturn restores the direction flag");
	unsigned long sp = entry[0];
	CHECK_EQ(sp & 15, 8, "[7.39] at handler entry rsp is 8 modulo 16");
	CHECK_EQ(entry[1], SIGUSR1, "[7.39] rdi is the signal");
	CHECK_EQ(entry[2], sp + 312, "[7.39] rsi is the siginfo at rsp+312, even without SA_SIGINFO");
	CHECK_EQ(entry[3], sp + 8, "[7.39] rdx is the ucontext at rsp+8");
	CHECK_EQ(entry[4], 0, "[7.39] rax is 0");
	CHECK_EQ(entry[5], (unsigned long)entry_restorer, "[7.39] the return address is the restorer");
	CHECK(!(entry[6] & 0x400), "[7.39] the direction flag is clear");
}

/* ---- all registers survive a handler ---- */

static volatile int handled;
extern volatile int handled_flag;
static ucontext_t seen;
static void *seen_uc;
static siginfo_t seen_si;

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	memcpy(&seen, uc, sizeof seen);
	seen_uc = uc;
	seen_si = *si;
	/* spoil what a handler may spoil */
	__asm__ volatile("pcmpeqd %%xmm0,%%xmm0; pcmpeqd %%xmm7,%%xmm7; pcmpeqd %%xmm15,%%xmm15; mov $-1,%%r8; mov $-1,%%r9;"
			 "mov $-1,%%r10; mov $-1,%%r11; fldpi; fstp %%st(0)" ::: "xmm0", "xmm7", "xmm15", "r8", "r9", "r10", "r11");
	handled++;
	handled_flag = 1;
}

static void install(int sig, int flags)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | flags };
	MUST(sigaction(sig, &sa, NULL));
}


/*
 * regs_spin: fill every register with a pattern, wait in user mode until `handled` is set by a handler, and
 * store what is left of the pattern.  regs_call: the same with the signal raised by the system call in rax.
 */
unsigned long regs_out[16];
unsigned char xmm_out[16 * 16];
volatile int handled_flag;
void regs_spin(void);
void regs_call(long pid, long tid);
__asm__(".text\n"
	".macro SAVE_CALLEE\n push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n .endm\n"
	".macro LOAD_CALLEE\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n .endm\n"
	".macro FILL_XMM\n"
	" .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n mov $0x1000+\\n, %rax\n movq %rax, %xmm\\n\n"
	" punpcklqdq %xmm\\n, %xmm\\n\n .endr\n .endm\n"
	".macro STORE_XMM\n"
	" .irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqu %xmm\\n, xmm_out+16*\\n(%rip)\n .endr\n .endm\n"
	".macro FILL_REGS\n mov $0x101,%rbx\n mov $0x104,%rbp\n"
	" mov $0x108,%r8\n mov $0x109,%r9\n mov $0x10a,%r10\n mov $0x10c,%r12\n"
	" mov $0x10d,%r13\n mov $0x10e,%r14\n mov $0x10f,%r15\n .endm\n"
	".macro STORE_REGS\n mov %rax,regs_out(%rip)\n mov %rbx,regs_out+8(%rip)\n mov %rcx,regs_out+16(%rip)\n"
	" mov %rdx,regs_out+24(%rip)\n mov %rbp,regs_out+32(%rip)\n mov %rsi,regs_out+40(%rip)\n mov %rdi,regs_out+48(%rip)\n"
	" mov %r8,regs_out+64(%rip)\n mov %r9,regs_out+72(%rip)\n mov %r10,regs_out+80(%rip)\n mov %r11,regs_out+88(%rip)\n"
	" mov %r12,regs_out+96(%rip)\n mov %r13,regs_out+104(%rip)\n mov %r14,regs_out+112(%rip)\n"
	" mov %r15,regs_out+120(%rip)\n .endm\n"
	".globl regs_spin\nregs_spin:\n SAVE_CALLEE\n FILL_XMM\n FILL_REGS\n"
	" mov $0x100,%rax\n mov $0x102,%rcx\n mov $0x103,%rdx\n mov $0x105,%rsi\n mov $0x106,%rdi\n mov $0x10b,%r11\n"
	"1: cmpl $0, handled_flag(%rip)\n je 1b\n"
	" STORE_REGS\n STORE_XMM\n LOAD_CALLEE\n ret\n"
	".globl regs_call\nregs_call:\n SAVE_CALLEE\n FILL_XMM\n FILL_REGS\n"
	" mov $234,%eax\n mov $10,%edx\n syscall\n"
	" STORE_REGS\n STORE_XMM\n LOAD_CALLEE\n ret\n");

static int xmm_wrong(void)
{
	int wrong = 0;
	for (int n = 0; n < 16; n++) {
		unsigned long v[2];
		memcpy(v, xmm_out + 16 * n, 16);
		wrong += v[0] != 0x1000UL + n || v[1] != 0x1000UL + n;
	}
	return wrong;
}

static int regs_wrong(unsigned mask)
{
	static const unsigned long want[16] = { 0x100, 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0,
						0x108, 0x109, 0x10a, 0x10b, 0x10c, 0x10d, 0x10e, 0x10f };
	int wrong = 0;
	for (int i = 0; i < 16; i++)
		if (mask >> i & 1)
			wrong |= (regs_out[i] != want[i]) << i;
	return wrong;
}

CASE(registers_async)
{
	install(SIGALRM, 0);
	for (int i = 0; i < 20; i++) {
		handled = 0;
		handled_flag = 0;
		struct itimerval it = { { 0, 0 }, { 0, 3000 } };
		setitimer(ITIMER_REAL, &it, NULL);
		regs_spin();
		if (regs_wrong(0xff7f) || xmm_wrong())
			break;
	}
	CHECK_EQ(regs_wrong(0xff7f), 0, "[7.39] an asynchronous signal: all general registers survive the handler");
	CHECK_EQ(xmm_wrong(), 0, "[7.39] and all SSE registers");
	CHECK(seen.uc_mcontext.gregs[REG_RBX] == 0x101 && seen.uc_mcontext.gregs[REG_RCX] == 0x102 &&
		      seen.uc_mcontext.gregs[REG_R11] == 0x10b && seen.uc_mcontext.gregs[REG_R15] == 0x10f,
	      "[7.39] the ucontext has the interrupted registers");
	unsigned long ip = seen.uc_mcontext.gregs[REG_RIP], fn = (unsigned long)regs_spin;
	CHECK(ip >= fn && ip < fn + 1024, "[7.39] and the interrupted address");
}

CASE(registers_syscall)
{
	install(SIGUSR1, 0);
	handled = 0;
	regs_call(getpid(), sys_gettid());
	CHECK_EQ(handled, 1, "[7.39] (a signal at the end of a system call)");
	CHECK_EQ(regs_out[0], 0, "[7.39] its result survives the handler");
	CHECK_EQ(regs_wrong(1 << 1 | 1 << 4 | 0xf700), 0, "[7.39] and the registers it does not use");
	CHECK_EQ(xmm_wrong(), 0, "[7.39] and the SSE registers");
}

/* ---- the frame's contents ---- */

CASE(frame_contents)
{
	sigset_t m;
	sigemptyset(&m);
	sigaddset(&m, SIGHUP);
	sigprocmask(SIG_SETMASK, &m, NULL);
	install(SIGUSR1, 0);
	handled = 0;
	ag_raise(SIGUSR1);
	CHECK_EQ(handled, 1, "[7.39] (handled)");
	CHECK_EQ(seen.uc_flags, 7, "[7.39] uc_flags: FP_XSTATE, SIGCONTEXT_SS, STRICT_RESTORE_SS");
	unsigned long saved;
	memcpy(&saved, &seen.uc_sigmask, 8);
	CHECK_EQ(saved, 1UL << (SIGHUP - 1), "[7.39] uc_sigmask is the mask from before the handler");
	CHECK_EQ(seen.uc_stack.ss_size, 0, "[7.39] uc_stack says that there is no alternate stack");
	CHECK_EQ(seen.uc_stack.ss_flags, 0, "[7.39] its flags are those that were set: none");
	CHECK(seen.uc_mcontext.fpregs && ((unsigned long)seen.uc_mcontext.fpregs & 63) == 0, "[7.39] the FP state is 64-aligned");
	CHECK_EQ((unsigned long)seen_uc & 15, 0, "[7.39] (the ucontext is 16-aligned)");
	CHECK(seen_si.si_signo == SIGUSR1 && seen_si.si_code == SI_TKILL && seen_si.si_pid == getpid(), "[7.39] the siginfo is filled");
	sigprocmask(SIG_BLOCK, NULL, &m);
	CHECK(sigismember(&m, SIGHUP) && !sigismember(&m, SIGUSR1), "[7.39] sigreturn restores the mask");
}

static void change_context(int sig, siginfo_t *si, void *v)
{
	ucontext_t *uc = v;
	unsigned long mask = 1UL << (SIGUSR2 - 1) | 1UL << (SIGKILL - 1);
	(void)sig;
	(void)si;
	uc->uc_mcontext.gregs[REG_RAX] = 4242;
	memcpy(&uc->uc_sigmask, &mask, 8);
	handled++;
}

CASE(handler_changes_context)
{
	struct sigaction sa = { .sa_sigaction = change_context, .sa_flags = SA_SIGINFO };
	MUST(sigaction(SIGUSR1, &sa, NULL));
	handled = 0;
	regs_call(getpid(), sys_gettid());
	CHECK_EQ(regs_out[0], 4242, "[7.39] a register changed in the ucontext is restored changed");
	unsigned long m;
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &m, 8L);
	CHECK_EQ(m, 1UL << (SIGUSR2 - 1), "[7.15] so is the mask, without the bit of SIGKILL");
}

/* red zone: a leaf that keeps data below its stack pointer */
unsigned long red_zone_spin(void);
__asm__(".globl red_zone_spin\nred_zone_spin:\n"
	" mov $16, %ecx\n1: lea (,%rcx,8), %rdx\n neg %rdx\n mov %rcx, (%rsp,%rdx)\n loop 1b\n"
	"2: cmpl $0, handled_flag(%rip)\n je 2b\n"
	" xor %eax, %eax\n mov $16, %ecx\n3: lea (,%rcx,8), %rdx\n neg %rdx\n xor (%rsp,%rdx), %rcx\n or %rcx, %rax\n"
	" mov %rdx, %rcx\n neg %rcx\n shr $3, %rcx\n loop 3b\n ret\n");

CASE(red_zone)
{
	install(SIGALRM, 0);
	handled_flag = 0;
	struct itimerval it = { { 0, 0 }, { 0, 3000 } };
	setitimer(ITIMER_REAL, &it, NULL);
	CHECK_EQ(red_zone_spin(), 0, "[7.39] the 128 bytes below the stack pointer are not touched");
}

/* ---- no restorer, bad stack ---- */

static void no_core(void)
{
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
}

CASE(no_restorer)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct ksigaction sa = { entry_handler, 0, NULL, 0 };
		no_core();
		ksigaction(SIGUSR1, &sa);
		ag_raise(SIGUSR1);
		_exit(0);
	}
	CHECK_EQ(reap(pid), SIGSEGV, "[7.40] a handler without SA_RESTORER: SIGSEGV");
}

static void run_with_bad_stack(unsigned long sp)
{
	__asm__ volatile("mov %0, %%rsp\n syscall\n mov $231, %%eax\n mov $3, %%edi\n syscall\n"
			 :
			 : "r"(sp), "a"(SYS_tgkill), "D"((long)getpid()), "S"((long)sys_gettid()), "d"((long)SIGUSR1)
			 : "rcx", "r11", "memory");
	__builtin_unreachable();
}

CASE(bad_stack)
{
	static const unsigned long sps[] = { 0x1000, 0, 0xffff800000000000UL, 0x8000000000000000UL };
	for (int i = 0; i < 4; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			no_core();
			install(SIGUSR1, 0);
			run_with_bad_stack(sps[i]);
		}
		char text[96];
		snprintf(text, sizeof text, "[7.40] a frame that cannot be written at rsp 0x%lx: SIGSEGV", sps[i]);
		CHECK_EQ(reap(pid), SIGSEGV, text);
	}
	char *ro = map_readonly();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		no_core();
		install(SIGUSR1, 0);
		run_with_bad_stack((unsigned long)ro + 4096);
	}
	CHECK_EQ(reap(pid), SIGSEGV, "[7.40] or on a read-only stack");
}

static void exit_7(int sig)
{
	(void)sig;
	_exit(7);
}

CASE(bad_stack_with_altstack)
{
	static char alt[65536] __attribute__((aligned(16)));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
		struct sigaction sa = { .sa_handler = exit_7, .sa_flags = SA_ONSTACK };
		sigaltstack(&ss, NULL);
		sigaction(SIGSEGV, &sa, NULL);
		install(SIGUSR1, 0);
		run_with_bad_stack(0x1000);
	}
	CHECK_EQ(reap(pid), 7 << 8, "[7.40,7.41] the SIGSEGV of a failed frame can be caught on an alternate stack");
}

static void bad_return(unsigned long kind)
{
	/* sigreturn with a stack that holds no frame */
	unsigned long sp = kind ? (unsigned long)map_pages(1) + 2048 : 0x1000;
	__asm__ volatile("mov %0, %%rsp\n mov $15, %%eax\n syscall\n mov $231, %%eax\n mov $3, %%edi\n syscall\n" : : "r"(sp)
			 : "rax", "rcx", "r11", "memory");
	__builtin_unreachable();
}

CASE(bad_sigreturn)
{
	for (int k = 0; k < 2; k++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			no_core();
			bad_return(k);
		}
		CHECK_EQ(reap(pid), SIGSEGV, k ? "[7.39] sigreturn from a frame of zeros: SIGSEGV" : "[7.39] sigreturn from no memory: SIGSEGV");
	}
}

static void poison(int sig, siginfo_t *si, void *v)
{
	ucontext_t *uc = v;
	(void)sig;
	(void)si;
	switch (sh->w[0]) {
	case 0: uc->uc_mcontext.gregs[REG_RIP] = 0x8000000000000000L; break;	/* not canonical */
	case 1: uc->uc_mcontext.gregs[REG_RIP] = 0xffffffff80000000L; break;	/* the kernel's half */
	case 2: uc->uc_mcontext.gregs[REG_RSP] = 0x8000000000000000L; break;
	case 3: uc->uc_mcontext.gregs[REG_CSGSFS] = 0x10; break;		/* a kernel code segment */
	case 4: uc->uc_mcontext.gregs[REG_EFL] = 0x3000 | 0x200 | 0x40000; break; /* IOPL 3 */
	case 5: uc->uc_mcontext.fpregs = (void *)0x10; break;
	case 6: uc->uc_mcontext.fpregs = (void *)((char *)uc->uc_mcontext.fpregs + 1); break;
	case 7: memset(uc->uc_mcontext.fpregs, 0xff, 512); break;
	}
}

CASE(poisoned_sigreturn)
{
	/* the kernel must survive; the process mostly does not */
	int ended = 0;
	for (int k = 0; k < 8; k++) {
		sh->w[0] = k;
		pid_t pid = MUST(fork());
		if (pid == 0) {
			struct sigaction sa = { .sa_sigaction = poison, .sa_flags = SA_SIGINFO };
			no_core();
			sigaction(SIGUSR1, &sa, NULL);
			ag_raise(SIGUSR1);
			if (k == 4) {
				unsigned long fl;
				__asm__ volatile("pushfq; pop %0" : "=r"(fl));
				_exit(fl & 0x3000 ? 33 : 44);
			}
			_exit(55);
		}
		int st = reap(pid);
		ended++;
		if (k < 4)
			tap_report(st == SIGSEGV || st == SIGBUS, "[7.39] sigreturn to an impossible context kills", __FILE__, __LINE__,
				   "kind %d: status 0x%x", k, st);
		if (k == 4)
			CHECK_EQ(st, 44 << 8, "[7.39] sigreturn does not raise the I/O privilege level");
	}
	CHECK_EQ(ended, 8, "[7.39] any context is survived by the kernel");
}

/* ---- the alternate stack ---- */

static char alt_stack[65536] __attribute__((aligned(16)));
static volatile int on_alt, alt_flags, eperm;

static void on_altstack(int sig, siginfo_t *si, void *v)
{
	stack_t ss = { .ss_flags = SS_DISABLE }, now;
	char here;
	(void)sig;
	(void)si;
	(void)v;
	on_alt = &here >= alt_stack && &here < alt_stack + sizeof alt_stack;
	sigaltstack(NULL, &now);
	alt_flags = now.ss_flags;
	errno = 0;
	eperm = sigaltstack(&ss, NULL) < 0 && errno == EPERM;
	handled++;
}

CASE(altstack)
{
	stack_t ss = { .ss_sp = alt_stack, .ss_size = sizeof alt_stack }, old;
	CHECK_OK(sigaltstack(NULL, &old), "[7.35] a query");
	CHECK_EQ(old.ss_flags, SS_DISABLE, "[7.35] there is none at first");
	CHECK_OK(sigaltstack(&ss, NULL), "[7.35] set");
	CHECK_OK(sigaltstack(NULL, &old), "[7.35] read back");
	CHECK(old.ss_sp == alt_stack && old.ss_size == sizeof alt_stack && old.ss_flags == 0, "[7.35] as set");
	struct sigaction sa = { .sa_sigaction = on_altstack, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	sigaction(SIGUSR1, &sa, NULL);
	ag_raise(SIGUSR1);
	CHECK(on_alt, "[7.41] a handler with SA_ONSTACK runs on it");
	CHECK_EQ(alt_flags, SS_ONSTACK, "[7.35] and sees SS_ONSTACK");
	CHECK(eperm, "[7.35] a change while on it is EPERM");
	sa.sa_flags = SA_SIGINFO;
	sigaction(SIGUSR1, &sa, NULL);
	ag_raise(SIGUSR1);
	CHECK(!on_alt && alt_flags != SS_ONSTACK, "[7.41] without SA_ONSTACK it is not used");
	CHECK_EQ(handled, 2, "[7.41] (both ran)");
	ss.ss_flags = SS_ONSTACK;
	CHECK_OK(sigaltstack(&ss, NULL), "[7.35] SS_ONSTACK as input means enabled");
	ss.ss_flags = 0x40;
	CHECK_ERR(sigaltstack(&ss, NULL), EINVAL, "[7.35] another flag: EINVAL");
	ss.ss_flags = 0;
	ss.ss_size = 2047;
	CHECK_ERR(sigaltstack(&ss, NULL), ENOMEM, "[7.35] 2047 bytes: ENOMEM");
	ss.ss_size = 2048;
	CHECK_OK(sigaltstack(&ss, NULL), "[7.35] 2048 bytes are accepted");
	ss.ss_flags = SS_DISABLE;
	ss.ss_size = 0;
	CHECK_OK(sigaltstack(&ss, NULL), "[7.35] SS_DISABLE needs no size");
	sigaltstack(NULL, &old);
	CHECK_EQ(old.ss_flags, SS_DISABLE, "[7.35] and disables");
	CHECK_ERR(sigaltstack(BADPTR, NULL), EFAULT, "[7.35] bad pointer: EFAULT");
	CHECK_ERR(sigaltstack(NULL, BADPTR), EFAULT, "[7.35] bad result pointer: EFAULT");
}

static volatile int nested_on_alt;
static void nested(int sig)
{
	char here;
	if (sig == SIGUSR1)
		ag_raise(SIGUSR2);
	else
		nested_on_alt = &here >= alt_stack && &here < alt_stack + sizeof alt_stack;
}

CASE(altstack_nested)
{
	stack_t ss = { .ss_sp = alt_stack, .ss_size = sizeof alt_stack };
	struct sigaction sa = { .sa_handler = nested, .sa_flags = SA_ONSTACK };
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	nested_on_alt = -1;
	ag_raise(SIGUSR1);
	CHECK_EQ(nested_on_alt, 1, "[7.41] a nested handler stays on it, further down");
}

CASE(stack_overflow)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		stack_t ss = { .ss_sp = alt_stack, .ss_size = sizeof alt_stack };
		struct sigaction sa = { .sa_handler = exit_7, .sa_flags = SA_ONSTACK };
		struct rlimit rl = { 65536, 65536 };
		setrlimit(RLIMIT_STACK, &rl);
		sigaltstack(&ss, NULL);
		sigaction(SIGSEGV, &sa, NULL);
		/* walk down page by page until the limit stops it */
		for (volatile char *p = (char *)__builtin_frame_address(0);; p -= 4096)
			*p = 1;
	}
	CHECK_EQ(reap(pid), 7 << 8, "[7.41] a stack overflow is caught on the alternate stack");
}

CASE(altstack_overflow)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		/* a tiny alternate stack before an unmapped page: the frame does not fit */
		char *edge = map_edge();
		stack_t ss = { .ss_sp = edge - 4096, .ss_size = 2048 };
		struct sigaction sa = { .sa_handler = exit_7, .sa_flags = SA_ONSTACK | SA_NODEFER };
		no_core();
		sigaltstack(&ss, NULL);
		sigaction(SIGUSR1, &sa, NULL);
		for (int i = 0; i < 64; i++)
			*(edge - 4096 + i * 64) = 0;
		MUST(munmap(edge - 4096, 4096));
		ag_raise(SIGUSR1);
		_exit(0);
	}
	CHECK_EQ(reap(pid), SIGSEGV, "[7.41] an alternate stack that cannot be written: SIGSEGV");
}

/* ---- synchronous faults ---- */

static volatile unsigned long fault_addr, fault_code, fault_ip, fault_trap, fault_err;
static void *resume_at;

static void on_fault(int sig, siginfo_t *si, void *v)
{
	ucontext_t *uc = v;
	(void)sig;
	fault_addr = (unsigned long)si->si_addr;
	fault_code = si->si_code;
	fault_ip = uc->uc_mcontext.gregs[REG_RIP];
	fault_trap = uc->uc_mcontext.gregs[REG_TRAPNO];
	fault_err = uc->uc_mcontext.gregs[REG_ERR];
	handled++;
	uc->uc_mcontext.gregs[REG_RIP] = (long)resume_at;
}

static void catch_fault(int sig)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	MUST(sigaction(sig, &sa, NULL));
	fault_addr = fault_code = fault_ip = fault_trap = fault_err = ~0UL;
	handled = 0;
}

/* Run one faulting instruction; the handler goes on behind it. */
#define FAULTING(insn, ...)                                                                               \
	({ unsigned long at_;                                                                             \
	   __asm__ volatile("lea 2f(%%rip), %0\n mov %0, %1\n lea 1f(%%rip), %0\n1: " insn "\n2:\n"        \
			    : "=&r"(at_), "=m"(resume_at) : __VA_ARGS__ : "memory", "rax", "rcx", "rdx"); \
	   at_; })

CASE(segv)
{
	catch_fault(SIGSEGV);
	unsigned long ip = FAULTING("movl $1, (%2)", "r"(0x1238UL));
	CHECK_EQ(handled, 1, "[3.21] a write to an unmapped address raises SIGSEGV, and the handler can go on elsewhere");
	CHECK_EQ(fault_addr, 0x1238, "[3.21] si_addr is the address");
	CHECK_EQ(fault_code, SEGV_MAPERR, "[3.21] si_code SEGV_MAPERR");
	CHECK_EQ(fault_ip, ip, "[3.21] the saved rip is that of the instruction");
	CHECK_EQ(fault_trap, 14, "[3.21] the trap number is in the context");
	CHECK_EQ(fault_err & 6, 6, "[3.21] and the error code: user, write");
	char *ro = map_readonly();
	catch_fault(SIGSEGV);
	FAULTING("movl $1, (%2)", "r"(ro + 100));
	CHECK(fault_addr == (unsigned long)ro + 100 && fault_code == SEGV_ACCERR, "[3.21] a write to read-only memory: SEGV_ACCERR");
	char *none = map_pages(1);
	MUST(mprotect(none, 4096, PROT_NONE));
	catch_fault(SIGSEGV);
	FAULTING("movl (%2), %%eax", "r"(none + 8));
	CHECK(fault_addr == (unsigned long)none + 8 && fault_code == SEGV_ACCERR && (fault_err & 2) == 0,
	      "[3.21] a read of PROT_NONE: SEGV_ACCERR");
	catch_fault(SIGSEGV);
	FAULTING("movl (%2), %%eax", "r"(0xffffffff80000000UL));
	CHECK(handled == 1 && fault_addr == 0xffffffff80000000UL, "[3.21] a read of a kernel address: SIGSEGV with that address");
	catch_fault(SIGSEGV);
	FAULTING("movl (%2), %%eax", "r"(0x8000000000000000UL));
	CHECK(handled == 1 && fault_code == SI_KERNEL && fault_addr == 0, "[3.21] a non-canonical address: SI_KERNEL, si_addr 0");
	char *data = map_pages(1);
	catch_fault(SIGSEGV);
	FAULTING("jmp *%2", "r"(data));
	CHECK(handled == 1 && fault_addr == (unsigned long)data, "[3.21] a jump into memory that is not executable");
}

CASE(other_faults)
{
	catch_fault(SIGFPE);
	unsigned long ip = FAULTING("xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx", "r"(0));
	CHECK_EQ(handled, 1, "[3.21] a division by zero raises SIGFPE");
	CHECK_EQ(fault_code, FPE_INTDIV, "[3.21] FPE_INTDIV");
	CHECK(fault_ip > ip && fault_ip < ip + 16 && fault_addr == fault_ip, "[3.21] si_addr is the instruction");
	catch_fault(SIGILL);
	ip = FAULTING("ud2", "r"(0));
	CHECK(handled == 1 && fault_ip == ip && fault_addr == ip && fault_code == ILL_ILLOPN, "[3.21] ud2 raises SIGILL, ILL_ILLOPN");
	catch_fault(SIGTRAP);
	ip = FAULTING("int3", "r"(0));
	CHECK(handled == 1 && fault_code == SI_KERNEL && fault_ip == ip + 1, "[3.21] int3 raises SIGTRAP behind the instruction");
	catch_fault(SIGSEGV);
	FAULTING("cli", "r"(0));
	CHECK(handled == 1 && fault_code == SI_KERNEL, "[3.21] a privileged instruction raises SIGSEGV, SI_KERNEL");
	catch_fault(SIGSEGV);
	FAULTING("hlt", "r"(0));
	CHECK_EQ(handled, 1, "[3.21] hlt as well");
	catch_fault(SIGSEGV);
	FAULTING("mov $0x1234, %%dx; in (%%dx), %%al", "r"(0));
	CHECK_EQ(handled, 1, "[3.21] and I/O");
	catch_fault(SIGSEGV);
	FAULTING("int $0x60", "r"(0));
	CHECK_EQ(handled, 1, "[3.21] and an interrupt vector that is not for users");
	catch_fault(SIGSEGV);
	FAULTING("movaps (%2), %%xmm0", "r"((unsigned long)alt_stack + 1));
	CHECK_EQ(handled, 1, "[3.21] and a misaligned SSE access");
	struct sigaction sa = { .sa_handler = SIG_DFL };
	sigaction(SIGSEGV, &sa, NULL);
}

CASE(bus_error)
{
	/* a shared file mapping beyond the end of the file */
	int fd = MUST(open(tmp_path("short"), O_RDWR | O_CREAT, 0600));
	MUST(ftruncate(fd, 4096));
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED, "[3.21] (a shared file mapping)");
	if (p == MAP_FAILED)
		return;
	catch_fault(SIGBUS);
	FAULTING("movl (%2), %%eax", "r"(p + 4096 + 16));
	CHECK(handled == 1 && fault_code == BUS_ADRERR && fault_addr == (unsigned long)p + 4096 + 16,
	      "[3.21] an access beyond the end of a mapped file raises SIGBUS, BUS_ADRERR");
}

/* ---- SS_AUTODISARM, and the smallest stack that is needed ---- */

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif
static char other_stack[16384] __attribute__((aligned(16))), *next_stack;
static int disarmed, set_again;

static void in_disarmed(int sig)
{
	stack_t ss;
	(void)sig;
	sigaltstack(NULL, &ss);
	disarmed = ss.ss_flags == SS_DISABLE;
	ss.ss_sp = next_stack;
	ss.ss_size = next_stack == alt_stack ? sizeof alt_stack : sizeof other_stack;
	ss.ss_flags = 0;
	set_again = sigaltstack(&ss, NULL) == 0;
}

CASE(altstack_autodisarm)
{
	stack_t ss = { .ss_sp = alt_stack, .ss_size = sizeof alt_stack, .ss_flags = SS_AUTODISARM }, old;
	struct sigaction sa = { .sa_handler = in_disarmed, .sa_flags = SA_ONSTACK };
	CHECK_OK(sigaltstack(&ss, NULL), "[7.35] SS_AUTODISARM is accepted");
	CHECK(sigaltstack(NULL, &old) == 0 && (unsigned)old.ss_flags == SS_AUTODISARM, "[7.35] and read back");
	sigaction(SIGUSR1, &sa, NULL);
	next_stack = other_stack;
	ag_raise(SIGUSR1);
	CHECK(disarmed, "[7.35] a handler on such a stack finds it disabled");
	CHECK(set_again, "[7.35] and may set another: no EPERM");
	CHECK(sigaltstack(NULL, &old) == 0 && (unsigned)old.ss_flags == SS_AUTODISARM, "[7.35] the return from the handler sets it again");
	next_stack = alt_stack;
	ag_raise(SIGUSR1);
	CHECK(sigaltstack(NULL, &old) == 0 && old.ss_flags == 0, "[7.35] unless that runs on the stack that is set by now");
	sigaltstack(&ss, NULL);
	ss.ss_flags = SS_AUTODISARM | SS_ONSTACK;
	CHECK_OK(sigaltstack(&ss, NULL), "[7.35] together with SS_ONSTACK");
	ss.ss_flags = SS_AUTODISARM | 0x40;
	CHECK_ERR(sigaltstack(&ss, NULL), EINVAL, "[7.35] with an unknown flag: EINVAL");
}

CASE(altstack_unchanged)
{
	stack_t none = { 0 }, old, small = { none.ss_sp, 0, 1 };
	REQUIRE(sigaltstack(NULL, &old) == 0 && old.ss_flags == SS_DISABLE);
	CHECK_OK(syscall(SYS_sigaltstack, &none, 0), "[7.35] what is set is accepted again, though it is too small");
	CHECK_ERR(syscall(SYS_sigaltstack, &small, 0), ENOMEM, "[7.35] anything else that small is not");
	stack_t off = { 0, SS_DISABLE, 0 };
	CHECK_OK(syscall(SYS_sigaltstack, &off, 0), "[7.35] after SS_DISABLE");
	CHECK_ERR(syscall(SYS_sigaltstack, &none, 0), ENOMEM, "[7.35] no size is too small again");
	CHECK_ERR(syscall(SYS_sigaltstack, &small, BADPTR), ENOMEM, "[7.35] the new one is judged before the old is written");
}

/* ---- the extended state ---- */

#include <cpuid.h>
#include <sys/auxv.h>

static bool has_avx(void)
{
	unsigned a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
		return false;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (a & 6) == 6;
}

static struct { unsigned magic1, extended_size, size, magic2; unsigned long features, header; bool aligned; } ext;

static void spoil_avx(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)si;
	ucontext_t *uc = context;
	unsigned char *fp = (unsigned char *)uc->uc_mcontext.fpregs;
	unsigned *software = (unsigned *)(fp + 464);
	ext.magic1 = software[0];
	ext.extended_size = software[1];
	memcpy(&ext.features, software + 2, 8);
	ext.size = software[4];
	memcpy(&ext.magic2, fp + ext.size, 4);
	memcpy(&ext.header, fp + 512, 8);
	ext.aligned = (unsigned long)fp % 64 == 0;
	if (has_avx())
		__asm__ volatile("vzeroall" : : : "xmm0", "xmm1", "xmm2", "xmm15");
}

CASE(extended_state)
{
	struct sigaction sa = { .sa_sigaction = spoil_avx, .sa_flags = SA_SIGINFO };
	REQUIRE(sigaction(SIGUSR1, &sa, NULL) == 0);
	unsigned char in[32], out[32] = { 0 }, last[32] = { 0 };
	for (int i = 0; i < 32; i++)
		in[i] = i * 7 + 1;
	long pid = getpid();
	if (has_avx()) {
		long ret;
		__asm__ volatile("vmovdqu %3, %%ymm0\n\tvmovdqu %3, %%ymm15\n\tsyscall\n\tvmovdqu %%ymm0, %1\n\tvmovdqu %%ymm15, %2\n\tvzeroupper"
				 : "=a"(ret), "=m"(out), "=m"(last)
				 : "m"(in), "0"((long)SYS_kill), "D"(pid), "S"((long)SIGUSR1)
				 : "rcx", "r11", "memory", "xmm0", "xmm15");
		CHECK(!memcmp(in, out, 32) && !memcmp(in, last, 32), "[7.39] AVX registers survive a handler that clears them");
	} else {
		tap_skip("[7.39] AVX registers survive a handler that clears them", "needs AVX");
		raise(SIGUSR1);
	}
	unsigned a, b, c, d;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) {
		tap_skip("[7.39] the extended part of the frame", "needs XSAVE");
		return;
	}
	CHECK(ext.aligned && ext.magic1 == 0x46505853, "[7.39] the FP state says that it is extended");
	CHECK(ext.magic2 == 0x46505845 && ext.extended_size == ext.size + 4, "[7.39] and its end is where it says");
	CHECK((ext.features & 3) == 3 && (ext.header & ~ext.features) == 0, "[7.39] with states that were asked for only");
	unsigned long least = getauxval(AT_MINSIGSTKSZ);
	CHECK(least >= ext.size && least < ext.size + 4096, "[7.35] AT_MINSIGSTKSZ has room for that");
}

static volatile int ran_small;
static void on_small(int sig) { (void)sig; ran_small = 1; }

CASE(small_altstack)
{
	unsigned long least = getauxval(AT_MINSIGSTKSZ);
	if (least <= 2048) {
		tap_skip("[7.35] a stack below AT_MINSIGSTKSZ is accepted", "needs a larger frame");
		return;
	}
	char *area = map_pages(8);
	pid_t p = fork();
	if (p == 0) {
		stack_t ss = { .ss_sp = area + 4 * 4096, .ss_size = 2048 };
		struct sigaction sa = { .sa_handler = on_small, .sa_flags = SA_ONSTACK };
		if (sigaltstack(&ss, NULL))
			_exit(7);
		sigaction(SIGUSR1, &sa, NULL);
		raise(SIGUSR1);
		_exit(ran_small);
	}
	int status = reap(p);
	CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 7), "[7.35] a stack below AT_MINSIGSTKSZ is accepted");
	CHECK_EQ(status & 0x7f, SIGSEGV, "[7.41] a frame that does not fit on it: SIGSEGV");
}
