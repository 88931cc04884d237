/* rseq.c - restartable sequences and membarrier(2). */
#include "lib/tap.h"

#include <pthread.h>
#include <stddef.h>
#include <sys/auxv.h>

#define SIG 0x53053053
#define UNREGISTER 1

struct area {
	volatile unsigned cpu_id_start, cpu_id;
	volatile unsigned long cs;
	volatile unsigned flags, node_id, mm_cid;
	char pad[4];
} __attribute__((aligned(32)));

struct cs {
	unsigned version, flags;
	unsigned long start, len, abort;
} __attribute__((aligned(32)));

static int rseq(void *area, unsigned len, int flags, unsigned sig) { return syscall(SYS_rseq, area, (long)len, (long)flags, (long)sig); }
static int membarrier(int cmd, int flags, int cpu) { return syscall(SYS_membarrier, (long)cmd, (long)flags, (long)cpu); }

static struct area area, other;

/* glibc has registered the thread: where is known from its thread pointer. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));
static void drop_libc(void)
{
	if (&__rseq_size && __rseq_size) {
		char *tp;
		__asm__("mov %%fs:0, %0" : "=r"(tp));
		rseq(tp + __rseq_offset, 32, UNREGISTER, SIG);
	}
}


CASE(registration)
{
	drop_libc();
	CHECK_ERR(rseq(&area, 32, 2, SIG), EINVAL, "[sched] rseq with an unknown flag: EINVAL");
	CHECK_ERR(rseq(&area, 31, 0, SIG), EINVAL, "[sched] too short: EINVAL");
	CHECK_ERR(rseq((char *)&area + 4, 32, 0, SIG), EINVAL, "[sched] not aligned: EINVAL");
	CHECK_ERR(rseq((void *)0x7fffffffffe0UL, 64, 0, SIG), EFAULT, "[sched] beyond the user's memory: EFAULT");
	CHECK_ERR(rseq((void *)0x10000000000UL, 32, 0, SIG), EFAULT, "[sched] where there is none: EFAULT");
	CHECK_ERR(rseq(&area, 32, UNREGISTER, SIG), EINVAL, "[sched] to unregister what is not: EINVAL");
	area.cpu_id = area.cpu_id_start = -1;
	area.node_id = area.mm_cid = 77;
	CHECK_OK(rseq(&area, 32, 0, SIG), "[sched] registered");
	CHECK(area.cpu_id == area.cpu_id_start && area.cpu_id < 4096, "[sched] the CPU is in it when the call returns");
	CHECK_EQ(area.node_id, 0, "[sched] and the node");
	IF_SINCE(6, 3, "[sched] mm_cid") {
		CHECK(area.mm_cid < (unsigned)sysconf(_SC_NPROCESSORS_CONF), "[sched] and the number in the memory");
	}
	CHECK_ERR(rseq(&area, 32, 0, SIG), EBUSY, "[sched] again: EBUSY");
	CHECK_ERR(rseq(&area, 32, 0, SIG + 1), EPERM, "[sched] with another signature: EPERM");
	CHECK_ERR(rseq(&other, 32, 0, SIG), EINVAL, "[sched] another area: EINVAL");
	CHECK_ERR(rseq(&area, 64, 0, SIG), EINVAL, "[sched] another length: EINVAL");
	CHECK_ERR(rseq(&other, 32, UNREGISTER, SIG), EINVAL, "[sched] to unregister another: EINVAL");
	CHECK_ERR(rseq(&area, 64, UNREGISTER, SIG), EINVAL, "[sched] with another length: EINVAL");
	CHECK_ERR(rseq(&area, 32, UNREGISTER, SIG + 1), EPERM, "[sched] with another signature: EPERM");
	CHECK_ERR(rseq(&area, 32, UNREGISTER | 2, SIG), EINVAL, "[sched] with another flag: EINVAL");
	CHECK_OK(rseq(&area, 32, UNREGISTER, SIG), "[sched] unregistered");
	CHECK(area.cpu_id == -1U && area.cpu_id_start == 0, "[sched] and the area says so");
	CHECK_EQ(getauxval(27), 28, "[10.17] AT_RSEQ_FEATURE_SIZE");
	CHECK_EQ(getauxval(28), 32, "[10.17] AT_RSEQ_ALIGN");
	area.cs = 0xdead;
	CHECK_OK(rseq(&area, 64, 0, SIG), "[sched] a larger area");
	CHECK_EQ(area.cs, 0, "[sched] a section that was left in it is forgotten");
}

CASE(inherited)
{
	drop_libc();
	MUST(rseq(&area, 32, 0, SIG));
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(rseq(&area, 32, 0, SIG) == -1 && errno == EBUSY ? 0 : 1);
	CHECK_EQ(reap(pid), 0, "[6.18] fork's child is registered");
	pid = vfork();
	if (pid == 0)
		_exit(rseq(&other, 32, 0, SIG) == 0 ? 0 : 1);
	CHECK_EQ(reap(pid), 0, "[6.18] one that shares memory is not");
	pid = MUST(fork());
	if (pid == 0) {
		exec_self("registered", NULL, NULL, NULL);
		_exit(9);
	}
	CHECK_EQ(reap(pid), 0, "[10.10] execve ends it");
}

HELPER(registered)
{
	drop_libc();
	return rseq(&area, 32, 0, SIG) == 0 ? 0 : 1;
}

CASE(follows_the_cpu)
{
	cpu_set_t all, one;
	drop_libc();
	MUST(rseq(&area, 32, 0, SIG));
	MUST(sched_getaffinity(0, sizeof all, &all));
	int wrong = 0, visited = 0;
	for (int round = 0; round < 20; round++) {
		for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, &all))
				continue;
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			MUST(sched_setaffinity(0, sizeof one, &one));
			wrong += area.cpu_id != cpu || area.cpu_id_start != cpu;
			visited++;
		}
	}
	CHECK(visited >= 20 && wrong == 0, "[sched] the area follows the thread over the CPUs");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		int bad = 0;
		for (unsigned cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, &all))
				continue;
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			bad += sched_setaffinity(0, sizeof one, &one) != 0 || area.cpu_id != cpu;
		}
		_exit(bad);
	}
	CHECK_EQ(reap(pid), 0, "[sched] a child's too");
}

/*
 * The section counts iterations in `n` until it is interrupted; then it goes on at 4, after the signature.  Returns how often
 * it was interrupted before `stop` was set.
 */
static struct cs section;
static volatile int stop, in_handler_ip_ok, in_handler_ip_bad, handled;

static __attribute__((noinline)) long spin_section(volatile long *n)
{
	long aborted;
	__asm__ volatile(
		"lea 1f(%%rip), %%rax\n\t"
		"mov %%rax, 8(%[cs])\n\t"
		"lea 2f(%%rip), %%rcx\n\t"
		"sub %%rax, %%rcx\n\t"
		"mov %%rcx, 16(%[cs])\n\t"
		"lea 4f(%%rip), %%rax\n\t"
		"mov %%rax, 24(%[cs])\n\t"
		"mov %[cs], 8(%[area])\n\t"
		"1:\n\t"
		"incq (%[n])\n\t"
		"cmpl $0, %[stop]\n\t"
		"je 1b\n\t"
		"2:\n\t"
		"xor %%eax, %%eax\n\t"
		"jmp 5f\n\t"
		".long 0x53053053\n\t"
		"4:\n\t"
		"mov $1, %%eax\n\t"
		"5:\n\t"
		: "=&a"(aborted)
		: [cs] "r"(&section), [area] "r"(&area), [n] "r"(n), [stop] "m"(stop)
		: "rcx", "memory", "cc");
	return aborted;
}

static void note_ip(int sig, siginfo_t *info, void *context)
{
	unsigned long ip = ((unsigned long *)&((ucontext_t *)context)->uc_mcontext)[16];
	(void)sig, (void)info;
	in_handler_ip_ok += ip == section.abort && area.cs == 0;
	in_handler_ip_bad += ip - section.start < section.len;
	handled = 1;
}

CASE(aborted_by_a_signal)
{
	volatile long n = 0;
	struct sigaction sa = { .sa_sigaction = note_ip, .sa_flags = SA_SIGINFO };
	struct itimerval it = { { 0, 0 }, { 0, 5000 } };
	drop_libc();
	MUST(rseq(&area, 32, 0, SIG));
	sigaction(SIGALRM, &sa, NULL);
	/* now and then the signal comes between two sections */
	for (int i = 0; i < 20 && !in_handler_ip_ok; i++) {
		handled = 0;
		MUST(setitimer(ITIMER_REAL, &it, NULL));
		while (!handled && spin_section(&n))
			;
	}
	CHECK(handled && n > 0 && !in_handler_ip_bad, "[sched] a section is left for a signal's handler");
	CHECK(in_handler_ip_ok, "[sched] whose frame is at the abort address");
	CHECK_EQ(area.cs, 0, "[sched] and the section is forgotten");
}

CASE_T(aborted_by_preemption, 30)
{
	volatile long n = 0;
	cpu_set_t one;
	drop_libc();
	MUST(rseq(&area, 32, 0, SIG));
	MUST(sched_getaffinity(0, sizeof one, &one));
	for (int cpu = 0, found = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &one) && found++)
			CPU_CLR(cpu, &one);
	MUST(sched_setaffinity(0, sizeof one, &one));
	/* another process wants the same CPU */
	pid_t pid = MUST(fork());
	if (pid == 0)
		for (;;)
			sh->v[0]++;
	REQUIRE(AWAIT(sh->v[0] > 0));
	int aborts = 0;
	for (int i = 0; i < 10; i++)
		aborts += spin_section(&n);
	CHECK_EQ(aborts, 10, "[sched] a section is left when another process has run");
	kill(pid, SIGKILL);
	reap(pid);
}

static int dies_of(void (*fn)(void))
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct itimerval it = { { 0, 0 }, { 0, 3000 } };
		long long end = now_ms() + deadline_ms;
		signal(SIGALRM, SIG_IGN);
		siglog_catch(SIGUSR1, 0);
		fn();
		setitimer(ITIMER_REAL, &it, NULL);
		raise(SIGUSR1);
		while (now_ms() < end)
			;
		_exit(0);
	}
	return reap(pid);
}

static void bad_pointer(void) { area.cs = 0x10; }
static void bad_version(void) { section = (struct cs){ 1, 0, 0x1000, 0x10, 0x2000 }; area.cs = (unsigned long)&section; }
static void bad_abort(void) { section = (struct cs){ 0, 0, 0x1000, 0x2000, 0x1800 }; area.cs = (unsigned long)&section; }
static void bad_signature(void)
{
	static int code[4] = { 1, 2, 3, 4 };
	section = (struct cs){ 0, 0, 0x1000, 0x10, (unsigned long)&code[2] };
	area.cs = (unsigned long)&section;
}
static void kernel_address(void) { area.cs = 0xffff800000000000UL; }
static void no_area(void)
{
	char *page = map_pages(1);
	rseq(&area, 32, UNREGISTER, SIG);
	MUST(rseq(page, 32, 0, SIG));
	munmap(page, 4096);
}
static void fine(void)
{
	static int code[4] = { 1, SIG, 3, 4 };
	section = (struct cs){ 0, 1, 0x1000, 0x10, (unsigned long)&code[2] };
	area.cs = (unsigned long)&section;
	raise(SIGUSR1);
	_exit(area.cs == 0 ? 55 : 56);
}

CASE(bad_sections)
{
	drop_libc();
	MUST(rseq(&area, 32, 0, SIG));
	CHECK_EQ(dies_of(bad_pointer), SIGSEGV, "[sched] a section that can't be read: SIGSEGV");
	CHECK_EQ(dies_of(kernel_address), SIGSEGV, "[sched] in the kernel's half");
	CHECK_EQ(dies_of(bad_version), SIGSEGV, "[sched] of an unknown version");
	CHECK_EQ(dies_of(bad_abort), SIGSEGV, "[sched] whose abort address is in it");
	CHECK_EQ(dies_of(bad_signature), SIGSEGV, "[sched] without the signature");
	CHECK_EQ(dies_of(no_area), SIGSEGV, "[sched] an area that is gone");
	CHECK_EQ(dies_of(fine), 55 << 8, "[sched] one that the thread is not in is forgotten, whatever its flags");
}

/* ---- membarrier ---- */

CASE(membarrier_commands)
{
	drop_libc();
	CHECK_EQ(membarrier(0, 0, 0), 0x3ff, "[sched] MEMBARRIER_CMD_QUERY: all commands");
	CHECK_ERR(membarrier(0, 1, 0), EINVAL, "[sched] with flags: EINVAL");
	CHECK_ERR(membarrier(1 << 20, 0, 0), EINVAL, "[sched] unknown command: EINVAL");
	CHECK_ERR(membarrier(3, 0, 0), EINVAL, "[sched] two at once: EINVAL");
	CHECK_EQ(membarrier(512, 0, 0), 0, "[sched] nothing is registered");
	CHECK_ERR(membarrier(8, 0, 0), EPERM, "[sched] PRIVATE_EXPEDITED: EPERM until it is registered");
	CHECK_ERR(membarrier(32, 0, 0), EPERM, "[sched] SYNC_CORE too");
	CHECK_ERR(membarrier(128, 0, 0), EPERM, "[sched] and RSEQ");
	CHECK_OK(membarrier(1, 0, 0), "[sched] GLOBAL");
	CHECK_OK(membarrier(2, 0, 0), "[sched] GLOBAL_EXPEDITED needs no registration");
	CHECK_OK(membarrier(4, 0, 0), "[sched] but there is one");
	CHECK_OK(membarrier(16, 0, 0), "[sched] REGISTER_PRIVATE_EXPEDITED");
	CHECK_OK(membarrier(16, 0, 0), "[sched] twice");
	CHECK_OK(membarrier(8, 0, 0), "[sched] PRIVATE_EXPEDITED");
	CHECK_ERR(membarrier(8, 1, 0), EINVAL, "[sched] has no flag: EINVAL");
	CHECK_EQ(membarrier(512, 0, 0), 4 | 16, "[sched] GET_REGISTRATIONS");
	CHECK_OK(membarrier(64, 0, 0), "[sched] REGISTER_PRIVATE_EXPEDITED_SYNC_CORE");
	CHECK_OK(membarrier(32, 0, 0), "[sched] PRIVATE_EXPEDITED_SYNC_CORE");
	CHECK_OK(membarrier(256, 0, 0), "[sched] REGISTER_PRIVATE_EXPEDITED_RSEQ");
	CHECK_OK(membarrier(128, 0, 0), "[sched] PRIVATE_EXPEDITED_RSEQ");
	CHECK_OK(membarrier(128, 1, 0), "[sched] on one CPU");
	CHECK_OK(membarrier(128, 1, 4000), "[sched] on one that is not there");
	CHECK_ERR(membarrier(128, 2, 0), EINVAL, "[sched] unknown flag: EINVAL");
	CHECK_EQ(membarrier(512, 0, 0), 4 | 16 | 64 | 256, "[sched] GET_REGISTRATIONS");
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(membarrier(512, 0, 0) == (4 | 16 | 64 | 256) && membarrier(8, 0, 0) == 0 ? 0 : 1);
	CHECK_EQ(reap(pid), 0, "[sched] a child is registered too");
	pid = MUST(fork());
	if (pid == 0) {
		exec_self("barriers", NULL, NULL, NULL);
		_exit(9);
	}
	CHECK_EQ(reap(pid), 0, "[sched,10.10] a new program is not");
}

HELPER(barriers)
{
	return membarrier(512, 0, 0) == 0 && membarrier(8, 0, 0) == -1 && errno == EPERM ? 0 : 1;
}

/* Dekker's handshake: the slow side uses membarrier, the fast one a compiler barrier only. */
static volatile int fast_flag, slow_flag, quit_fast;
static volatile long fast_saw, slow_saw;
static volatile int round_no, fast_done;

static void *fast_side(void *arg)
{
	(void)arg;
	for (int seen = 0; !quit_fast;) {
		if (round_no == seen)
			continue;
		seen = round_no;
		fast_flag = 1;
		__asm__ volatile("" ::: "memory");
		fast_saw = slow_flag;
		__atomic_store_n(&fast_done, seen, __ATOMIC_RELEASE);
	}
	return NULL;
}

CASE_T(membarrier_orders, 30)
{
	pthread_t t;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		tap_skip("[sched] membarrier orders two CPUs", "needs 2 CPUs");
		return;
	}
	MUST(membarrier(16, 0, 0));
	REQUIRE(pthread_create(&t, NULL, fast_side, NULL) == 0);
	int both_missed = 0, rounds = iterations(300);
	for (int i = 1; i <= rounds; i++) {
		fast_flag = slow_flag = 0;
		__atomic_store_n(&round_no, i, __ATOMIC_SEQ_CST);
		slow_flag = 1;
		MUST(membarrier(8, 0, 0));
		slow_saw = fast_flag;
		while (__atomic_load_n(&fast_done, __ATOMIC_ACQUIRE) != i)
			;
		both_missed += !slow_saw && !fast_saw;
	}
	quit_fast = 1;
	pthread_join(t, NULL);
	CHECK_EQ(both_missed, 0, "[sched] membarrier orders what the other side does without a fence");
}

static void *section_thread(void *aborted)
{
	volatile long n = 0;
	drop_libc();
	if (rseq(&area, 32, 0, SIG))
		return NULL;
	while (!stop) {
		sh->w[2] = 1;
		*(volatile long *)aborted += spin_section(&n);
	}
	rseq(&area, 32, UNREGISTER, SIG);
	return NULL;
}

CASE_T(membarrier_restarts, 30)
{
	pthread_t t;
	static volatile long aborted;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		tap_skip("[sched] membarrier restarts sequences", "needs 2 CPUs");
		return;
	}
	MUST(membarrier(256, 0, 0));
	REQUIRE(pthread_create(&t, NULL, section_thread, (void *)&aborted) == 0);
	REQUIRE(AWAIT(sh->w[2] && area.cs != 0));
	long before = aborted;
	for (int i = 0; i < 20; i++) {
		long last = aborted;
		MUST(membarrier(128, 0, 0));
		AWAIT(aborted > last);
	}
	CHECK(aborted - before >= 20, "[sched] membarrier makes sequences on other CPUs start again");
	before = aborted;
	MUST(membarrier(128, 1, area.cpu_id));
	CHECK(AWAIT(aborted > before), "[sched] or on one");
	stop = 1;
	pthread_join(t, NULL);
}
