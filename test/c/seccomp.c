/* seccomp.c - strict mode, filters, and what they do (rule 1.46, seccomp(2)). */
#include "lib/tap.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <ucontext.h>

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1UL << 4)
#endif

static long pr(long o, long a, long b, long c, long d) { return syscall(SYS_prctl, o, a, b, c, d); }
static long seccomp(long op, long flags, void *arg) { return syscall(SYS_seccomp, op, flags, arg); }

#define LOAD(off) { BPF_LD | BPF_W | BPF_ABS, 0, 0, (off) }
#define NR offsetof(struct seccomp_data, nr)
#define ARG(n) (offsetof(struct seccomp_data, args) + 8 * (n))
#define RET(v) { BPF_RET | BPF_K, 0, 0, (v) }
#define JEQ(v, t, f) { BPF_JMP | BPF_JEQ | BPF_K, (t), (f), (v) }
#define LEN(f) (sizeof(f) / sizeof *(f))

static long install(struct sock_filter *f, int n, long flags)
{
	struct sock_fprog prog = { n, f };
	return seccomp(SECCOMP_SET_MODE_FILTER, flags, &prog);
}

/* A filter that answers `action` to `nr` and allows the rest. */
static long deny(long nr, unsigned action, long flags)
{
	struct sock_filter f[] = { LOAD(NR), JEQ(nr, 0, 1), RET(action), RET(SECCOMP_RET_ALLOW) };
	return install(f, LEN(f), flags);
}

static void no_core(void)
{
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
}

static long nnp(long x) { (void)x; return pr(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

/* Runs `fn` in a child without privileges to gain and without core dumps, and returns its wait status. */
static int in_child(void (*fn)(void))
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		no_core();
		nnp(0);
		fn();
		_exit(0);
	}
	return reap(pid);
}

/* ---- modes ---- */

CASE(modes)
{
	CHECK_EQ(pr(PR_GET_SECCOMP, 0, 0, 0, 0), 0, "[1.46] off at first");
	CHECK_ERR(pr(PR_SET_SECCOMP, 3, 0, 0, 0), EINVAL, "[1.46] an unknown mode: EINVAL");
	CHECK_ERR(pr(PR_SET_SECCOMP, 0, 0, 0, 0), EINVAL, "[1.46] mode 0: EINVAL");
	CHECK_ERR(pr(PR_SET_SECCOMP, 2, 0, 0, 0), EFAULT, "[1.46] a NULL filter: EFAULT");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		pr(PR_SET_SECCOMP, 1, 0, 0, 0);
		syscall(SYS_write, 1, "", 0);
		syscall(SYS_exit, 5);
	}
	CHECK_EQ(reap(pid), 5 << 8, "[1.46] strict: write and exit work");
	pid = MUST(fork());
	if (pid == 0) {
		pr(PR_SET_SECCOMP, 1, 0, 0, 0);
		syscall(SYS_getpid);
		syscall(SYS_exit, 5);
	}
	CHECK_EQ(reap(pid), SIGKILL, "[1.46] another call: SIGKILL");
	pid = MUST(fork());
	if (pid == 0) {
		pr(PR_SET_SECCOMP, 1, 0, 0, 0);
		syscall(SYS_exit_group, 5);
	}
	CHECK_EQ(reap(pid), SIGKILL, "[1.46] exit_group is not allowed");
	pid = MUST(fork());
	if (pid == 0) {
		seccomp(SECCOMP_SET_MODE_STRICT, 0, NULL);
		pr(PR_GET_SECCOMP, 0, 0, 0, 0);
		syscall(SYS_exit, 5);
	}
	CHECK_EQ(reap(pid), SIGKILL, "[1.46] PR_GET_SECCOMP itself kills in strict mode");
	NEED_ROOT("[1.46] a filter without privilege");
	pid = MUST(fork());
	if (pid == 0) {
		ag_drop(1000);
		_exit(deny(SYS_getppid, SECCOMP_RET_ALLOW, 0) == -1 && errno == EACCES ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[1.46] a filter without no_new_privs: EACCES");
	pid = MUST(fork());
	if (pid == 0) {
		ag_drop(1000);
		nnp(0);
		_exit(deny(SYS_getppid, SECCOMP_RET_ALLOW, 0) == 0 ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[1.46] with it anybody may");
}

static void on_alarm(int sig) { (void)sig; sh->v[0]++; }

static void strict_handler(void)
{
	signal(SIGALRM, on_alarm);
	struct itimerval soon = { { 0, 0 }, { 0, 20000 } };
	setitimer(ITIMER_REAL, &soon, NULL);
	pr(PR_SET_SECCOMP, 1, 0, 0, 0);
	while (!sh->v[0])
		;
	syscall(SYS_exit, 3);
}

static void strict_then_filter(void)
{
	/* A filter first: strict mode is not to be had any more. */
	deny(SYS_getppid, SECCOMP_RET_ERRNO | 1, 0);
	_exit(pr(PR_SET_SECCOMP, 1, 0, 0, 0) == -1 && errno == EINVAL ? pr(PR_GET_SECCOMP, 0, 0, 0, 0) : 99);
}

CASE(strict_mode)
{
	CHECK_EQ(in_child(strict_handler), 3 << 8, "[1.46] strict: a handler returns by rt_sigreturn");
	CHECK_EQ(in_child(strict_then_filter), 2 << 8, "[1.46] strict mode after a filter: EINVAL, and the mode is still 2");
}

static long strict_getpid(long x)
{
	(void)x;
	pr(PR_SET_SECCOMP, 1, 0, 0, 0);
	return syscall(SYS_getpid);
}

CASE(strict_thread)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	post(t, strict_getpid, 0);
	CHECK(AWAIT(task_state(p->pid, t->tid) == 0), "[1.46] strict: only the thread dies");
	CHECK_EQ(call(p, ag_getpid, 0), p->pid, "[1.46] its process lives on");
	retire(p, NULL);
}

/* ---- the call itself ---- */

CASE(arguments)
{
	struct sock_filter allow[] = { RET(SECCOMP_RET_ALLOW) }, endless[] = { LOAD(NR) }, odd[] = { LOAD(2), RET(0) };
	CHECK_ERR(seccomp(9, 0, NULL), EINVAL, "[1.46] an unknown operation: EINVAL");
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_STRICT, 1, NULL), EINVAL, "[1.46] strict with flags: EINVAL");
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_STRICT, 0, allow), EINVAL, "[1.46] strict with an argument: EINVAL");
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_FILTER, 1 << 20, BADPTR), EINVAL, "[1.46] an unknown flag: EINVAL, before the filter is read");
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_FILTER, 0, BADPTR), EFAULT, "[1.46] a bad pointer: EFAULT");
	struct sock_fprog far = { 1, BADPTR };
	nnp(0);
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_FILTER, 0, &far), EFAULT, "[1.46] a bad pointer to the instructions: EFAULT");
	CHECK_ERR(install(allow, 0, 0), EINVAL, "[1.46] an empty program: EINVAL");
	CHECK_ERR(install(allow, 4097, 0), EINVAL, "[1.46] more than 4096 instructions: EINVAL");
	CHECK_ERR(install(endless, 1, 0), EINVAL, "[1.46] a program without an end: EINVAL");
	CHECK_ERR(install(odd, 2, 0), EINVAL, "[1.46] a load that is not aligned: EINVAL");
	odd[0].k = 64;
	CHECK_ERR(install(odd, 2, 0), EINVAL, "[1.46] a load behind the data: EINVAL");
	odd[0] = (struct sock_filter){ BPF_LD | BPF_MEM, 0, 0, 0 };
	CHECK_ERR(install(odd, 2, 0), EINVAL, "[1.46] scratch memory that nobody wrote: EINVAL");
	odd[0] = (struct sock_filter){ BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0 };
	CHECK_ERR(install(odd, 2, 0), EINVAL, "[1.46] a division by zero: EINVAL");
	odd[0] = (struct sock_filter){ BPF_JMP | BPF_JA, 0, 0, 1 };
	CHECK_ERR(install(odd, 2, 0), EINVAL, "[1.46] a jump out of the program: EINVAL");
	CHECK_EQ(pr(PR_GET_SECCOMP, 0, 0, 0, 0), 0, "[1.46] none of these turned it on");
}

CASE(queries)
{
	unsigned actions[] = { SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP, SECCOMP_RET_ERRNO,
			       SECCOMP_RET_TRACE, SECCOMP_RET_LOG, SECCOMP_RET_ALLOW }, none = 0x12340000;
	for (unsigned i = 0; i < LEN(actions); i++) {
		char text[64];
		snprintf(text, sizeof text, "[1.46] action %#x is available", actions[i]);
		CHECK_OK(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &actions[i]), text);
	}
	CHECK_ERR(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &none), EOPNOTSUPP, "[1.46] another is not: EOPNOTSUPP");
	CHECK_ERR(seccomp(SECCOMP_GET_ACTION_AVAIL, 1, actions), EINVAL, "[1.46] with flags: EINVAL");
	CHECK_ERR(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, BADPTR), EFAULT, "[1.46] bad pointer: EFAULT");
	struct seccomp_notif_sizes sizes = { 0 };
	CHECK(seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0 && sizes.seccomp_data == sizeof(struct seccomp_data) &&
	      sizes.seccomp_notif_resp == 24 && sizes.seccomp_notif == 80, "[1.46] GET_NOTIF_SIZES");
	char buf[256];
	REQUIRE(read_file("/proc/sys/kernel/seccomp/actions_avail", buf, sizeof buf) > 0);
	CHECK(strstr(buf, "kill_process kill_thread trap errno ") == buf && strstr(buf, " trace log allow\n"),
	      "[1.46] actions_avail, the strictest first");
	REQUIRE(read_file("/proc/sys/kernel/seccomp/actions_logged", buf, sizeof buf) > 0);
	CHECK(strstr(buf, "log") && !strstr(buf, "allow"), "[1.46] actions_logged: never allow");
}

/* ---- actions ---- */

static unsigned action;

static void try_getppid(void)
{
	if (deny(SYS_getppid, action, 0))
		_exit(99);
	errno = 0;
	long r = syscall(SYS_getppid);
	_exit(r == -1 ? errno : r == 0 ? 201 : 200);
}

static int answer(unsigned a)
{
	action = a;
	return in_child(try_getppid);
}

CASE(actions)
{
	CHECK_EQ(answer(SECCOMP_RET_ALLOW), 200 << 8, "[1.46] ALLOW");
	CHECK_EQ(answer(SECCOMP_RET_LOG), 200 << 8, "[1.46] LOG allows");
	CHECK_EQ(answer(SECCOMP_RET_ERRNO | 42), 42 << 8, "[1.46] ERRNO: the call fails with that errno");
	CHECK_EQ(answer(SECCOMP_RET_ERRNO), 201 << 8, "[1.46] ERRNO 0: it returns 0");
	CHECK_EQ(answer(SECCOMP_RET_TRACE | 7), ENOSYS << 8, "[1.46] TRACE without a tracer: ENOSYS");
	CHECK_EQ(answer(SECCOMP_RET_TRAP), SIGSYS, "[1.46] TRAP: SIGSYS");
	CHECK_EQ(answer(SECCOMP_RET_KILL_PROCESS), SIGSYS, "[1.46] KILL_PROCESS: SIGSYS");
	CHECK_EQ(answer(SECCOMP_RET_KILL_THREAD), SIGSYS, "[1.46] KILL_THREAD of the only thread: SIGSYS");
	CHECK_EQ(answer(0x12340000), SIGSYS, "[1.46] an unknown action kills the process");
}

static void errno_limit(void)
{
	deny(SYS_getppid, SECCOMP_RET_ERRNO | 0xffff, 0);
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_getppid) : "rcx", "r11", "memory");
	_exit(r == -4095 ? 0 : 1);
}

static void on_sys(int sig, siginfo_t *si, void *u)
{
	ucontext_t *uc = u;
	sh->v[0] = sig;
	sh->v[1] = si->si_code;
	sh->v[2] = si->si_errno;
	sh->v[3] = si->si_syscall;
	sh->v[4] = si->si_arch;
	sh->v[5] = (char *)si->si_call_addr == (char *)uc->uc_mcontext.gregs[REG_RIP];
	sh->v[6] = uc->uc_mcontext.gregs[REG_RAX];
	uc->uc_mcontext.gregs[REG_RAX] = 4711;
}

static void trapped(void)
{
	struct sigaction sa = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };
	sigaction(SIGSYS, &sa, NULL);
	deny(SYS_getppid, SECCOMP_RET_TRAP | 77, 0);
	sh->v[7] = syscall(SYS_getppid);
	_exit(0);
}

static void trapped_blocked(void)
{
	sigset_t all;
	sigfillset(&all);
	signal(SIGSYS, on_alarm);
	sigprocmask(SIG_BLOCK, &all, NULL);
	deny(SYS_getppid, SECCOMP_RET_TRAP, 0);
	syscall(SYS_getppid);
}

static void killed_despite_handler(void)
{
	signal(SIGSYS, on_alarm);
	deny(SYS_getppid, SECCOMP_RET_KILL_PROCESS, 0);
	syscall(SYS_getppid);
}

CASE(action_details)
{
	CHECK_EQ(in_child(errno_limit), 0, "[1.46] ERRNO is limited to 4095");
	CHECK_EQ(in_child(trapped), 0, "[1.46] TRAP with a handler: the program goes on");
	CHECK_EQ(sh->v[0], SIGSYS, "[1.46] the signal is SIGSYS");
	CHECK_EQ(sh->v[1], 1, "[1.46] si_code is SYS_SECCOMP");
	CHECK_EQ(sh->v[2], 77, "[1.46] si_errno is the data of the answer");
	CHECK_EQ(sh->v[3], SYS_getppid, "[1.46] si_syscall");
	CHECK_EQ(sh->v[4], (long)AUDIT_ARCH_X86_64, "[1.46] si_arch");
	CHECK_EQ(sh->v[5], 1, "[1.46] si_call_addr is where the call returns to");
	CHECK_EQ(sh->v[6], SYS_getppid, "[1.46] the registers are those of the call");
	CHECK_EQ(sh->v[7], 4711, "[1.46] a handler may give the result");
	CHECK_EQ(in_child(trapped_blocked), SIGSYS, "[1.46] TRAP while blocked: the process dies");
	CHECK_EQ(in_child(killed_despite_handler), SIGSYS, "[1.46] KILL_PROCESS does not ask a handler");
}

static long kill_thread_self(long a)
{
	no_core();
	nnp(0);
	if (deny(SYS_getppid, a, 0))
		return -2;
	return syscall(SYS_getppid);
}

CASE(kill_thread)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	post(t, kill_thread_self, SECCOMP_RET_KILL_THREAD);
	CHECK(AWAIT(task_state(p->pid, t->tid) == 0), "[1.46] KILL_THREAD: that thread dies");
	CHECK_EQ(call(p, ag_getpid, 0), p->pid, "[1.46] and no other");
	struct agent *u = spawn_thread(p);
	post(u, kill_thread_self, SECCOMP_RET_KILL_PROCESS);
	CHECK_EQ(reap(p->pid), SIGSYS, "[1.46] KILL_PROCESS: all die");
}

/* ---- what a filter sees ---- */

static void sees(void)
{
	/* arg0's both halves, arch and a part of the instruction pointer decide. */
	struct sock_filter f[] = { LOAD(NR), JEQ(SYS_dup, 0, 7), LOAD(ARG(0) + 4), JEQ(0x12345678, 0, 5), LOAD(ARG(0)), JEQ(0xabcdef01, 0, 3),
				   LOAD(4), JEQ(AUDIT_ARCH_X86_64, 0, 1), RET(SECCOMP_RET_ERRNO | 55), RET(SECCOMP_RET_ALLOW) };
	if (install(f, LEN(f), 0))
		_exit(99);
	syscall(SYS_dup, 0x12345678abcdef01L);
	int first = errno;
	syscall(SYS_dup, 0x12345679abcdef01L);
	_exit(first == 55 && errno == EBADF ? 0 : 1);
}

static void sees_args(void)
{
	/* The sum of all arguments, by arithmetic and scratch memory, comes back as the errno. */
	struct sock_filter f[32] = { LOAD(NR), JEQ(SYS_getppid, 1, 0), RET(SECCOMP_RET_ALLOW), { BPF_LD | BPF_IMM, 0, 0, 0 },
				     { BPF_ST, 0, 0, 3 } };
	int n = 5;
	for (int i = 0; i < 6; i++) {
		f[n++] = (struct sock_filter){ BPF_LDX | BPF_MEM, 0, 0, 3 };
		f[n++] = (struct sock_filter)LOAD(ARG(i));
		f[n++] = (struct sock_filter){ BPF_ALU | BPF_ADD | BPF_X, 0, 0, 0 };
		f[n++] = (struct sock_filter){ BPF_ST, 0, 0, 3 };
	}
	f[n++] = (struct sock_filter){ BPF_ALU | BPF_OR | BPF_K, 0, 0, SECCOMP_RET_ERRNO };
	f[n++] = (struct sock_filter){ BPF_RET | BPF_A, 0, 0, 0 };
	if (install(f, n, 0))
		_exit(99);
	errno = 0;
	syscall(SYS_getppid, 1, 2, 4, 8, 16, 32);
	_exit(errno);
}

static void sees_number(void)
{
	deny(100000, SECCOMP_RET_ERRNO | 33, 0);
	syscall(100000);
	int unknown = errno;
	struct sock_filter f[] = { LOAD(NR), { BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x80000000 }, RET(SECCOMP_RET_ERRNO | 34),
				   RET(SECCOMP_RET_ALLOW) };
	install(f, LEN(f), 0);
	syscall(-5);
	_exit(unknown == 33 && errno == 34 ? 0 : 1);
}

static void divides(void)
{
	struct sock_filter f[] = { LOAD(NR), JEQ(SYS_getppid, 1, 0), RET(SECCOMP_RET_ALLOW), { BPF_LDX | BPF_IMM, 0, 0, 0 },
				   { BPF_ALU | BPF_DIV | BPF_X, 0, 0, 0 }, RET(SECCOMP_RET_ALLOW) };
	install(f, LEN(f), 0);
	syscall(SYS_getppid);
}

CASE(data)
{
	CHECK_EQ(in_child(sees), 0, "[1.46] a filter sees 64-bit arguments by halves, and the architecture");
	CHECK_EQ(in_child(sees_args), 63 << 8, "[1.46] it sees all six arguments, and may calculate");
	CHECK_EQ(in_child(sees_number), 0, "[1.46] it is asked about calls that don't exist, too");
	CHECK_EQ(in_child(divides), SIGSYS, "[1.46] dividing by X = 0 returns 0, which kills");
}

/* ---- chains ---- */

static void strictest(void)
{
	deny(SYS_getppid, SECCOMP_RET_ERRNO | 1, 0);
	deny(SYS_getppid, SECCOMP_RET_ERRNO | 2, 0);
	deny(SYS_getppid, SECCOMP_RET_TRACE, 0);
	deny(SYS_getppid, SECCOMP_RET_ALLOW, 0);
	errno = 0;
	syscall(SYS_getppid);
	int newest = errno;
	deny(SYS_getpgrp, SECCOMP_RET_ALLOW, 0);
	deny(SYS_getpgrp, SECCOMP_RET_ERRNO | 9, 0);
	errno = 0;
	syscall(SYS_getpgrp);
	_exit(newest == 2 && errno == 9 ? 0 : newest);
}

static void trap_beats_errno(void)
{
	deny(SYS_getppid, SECCOMP_RET_TRAP, 0);
	deny(SYS_getppid, SECCOMP_RET_ERRNO | 2, 0);
	syscall(SYS_getppid);
}

static void inherited(void)
{
	deny(SYS_getppid, SECCOMP_RET_ERRNO | 61, 0);
	pid_t pid = fork();
	if (pid == 0) {
		syscall(SYS_getppid);
		_exit(errno);
	}
	_exit(WEXITSTATUS(reap(pid)));
}

HELPER(show_getppid)
{
	char n[16];
	proc_status(getpid(), "Seccomp_filters", n, sizeof n);
	errno = 0;
	syscall(SYS_getppid);
	return atoi(n) == 1 ? errno : 98;
}

static void over_exec(void)
{
	deny(SYS_getppid, SECCOMP_RET_ERRNO | 62, 0);
	exec_self("show_getppid", NULL, NULL, NULL);
	_exit(97);
}

static void counts(void)
{
	char mode[16], n[16];
	deny(SYS_getppid, SECCOMP_RET_ALLOW, 0);
	deny(SYS_getppid, SECCOMP_RET_ALLOW, 0);
	deny(SYS_getppid, SECCOMP_RET_ALLOW, 0);
	proc_status(getpid(), "Seccomp", mode, sizeof mode);
	proc_status(getpid(), "Seccomp_filters", n, sizeof n);
	_exit(atoi(mode) * 10 + atoi(n));
}

/* Installs filters of 4096 instructions until there is no room; returns how many there was room for. */
static void too_many(void)
{
	static struct sock_filter f[4096];
	for (int i = 0; i < 4096; i++)
		f[i] = (struct sock_filter)LOAD(NR);
	f[4095] = (struct sock_filter)RET(SECCOMP_RET_ALLOW);
	int n = 0;
	while (install(f, 4096, 0) == 0)
		n++;
	_exit(errno == ENOMEM ? n : 99);
}

CASE(chains)
{
	CHECK_EQ(in_child(strictest), 0, "[1.46] the strictest answer counts; among equals the newest filter's");
	CHECK_EQ(in_child(trap_beats_errno), SIGSYS, "[1.46] TRAP is stricter than ERRNO");
	CHECK_EQ(in_child(inherited), 61 << 8, "[1.46] inherited over fork");
	CHECK_EQ(in_child(over_exec), 62 << 8, "[1.46,10.9] kept over execve");
	CHECK_EQ(in_child(counts), 23 << 8, "[1.46] Seccomp and Seccomp_filters in /proc/pid/status");
	CHECK_EQ(in_child(too_many), 7 << 8, "[1.46] 32768 instructions in all: ENOMEM");
}

/* ---- threads ---- */

static long ag_deny(long a) { return nnp(0) ? -1 : deny(SYS_getppid, SECCOMP_RET_ERRNO | a, 0); }
static long ag_tsync(long a) { return nnp(0) ? -1 : deny(SYS_getppid, SECCOMP_RET_ERRNO | a, SECCOMP_FILTER_FLAG_TSYNC); }
static long ag_tsync_esrch(long a)
{
	return deny(SYS_getppid, SECCOMP_RET_ERRNO | a, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
}
static long ag_mode(long x) { (void)x; return pr(PR_GET_SECCOMP, 0, 0, 0, 0); }
static long ag_nnp(long x) { (void)x; return pr(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }
static long ag_errno(long x)
{
	(void)x;
	errno = 0;
	return syscall(SYS_getppid) == -1 ? errno : 0;
}

CASE(threads)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	CHECK_OK(call(t, ag_deny, 71), "[1.46] a filter of one thread");
	CHECK_EQ(call(t, ag_errno, 0), 71, "[1.46] binds it");
	CHECK_EQ(call(p, ag_errno, 0), 0, "[1.46] and no other");
	struct agent *u = spawn_thread(t);
	CHECK_EQ(call(u, ag_errno, 0), 71, "[1.46] but threads that it makes");
	CHECK_EQ(call(p, ag_tsync, 72), t->tid, "[1.46] TSYNC fails with the tid of a thread with filters of its own");
	CHECK_EQ(call(p, ag_mode, 0), 0, "[1.46] and then changes nothing");
	CHECK(call(p, ag_tsync_esrch, 72) == -1 && p->err == ESRCH, "[1.46] TSYNC_ESRCH: ESRCH instead");
	retire(p, NULL);
}

CASE(tsync)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *u = spawn_thread(p);
	CHECK_OK(call(t, ag_tsync, 73), "[1.46] TSYNC");
	CHECK_EQ(call(p, ag_errno, 0), 73, "[1.46] binds all threads");
	CHECK_EQ(call(u, ag_errno, 0), 73, "[1.46] indeed all");
	CHECK_EQ(call(u, ag_nnp, 0), 1, "[1.38,1.46] with the caller's no_new_privs");
	CHECK_OK(call(p, ag_tsync, 74), "[1.46] again, by another thread of the same chain");
	CHECK_EQ(call(u, ag_errno, 0), 74, "[1.46] all have both");
	retire(p, NULL);
}

static long spin(long x)
{
	(void)x;
	while (!sh->v[1])
		;
	return ag_errno(0);
}

/* A thread that never leaves user mode is bound as soon as TSYNC has returned. */
CASE(tsync_running)
{
	bool all = true;
	for (int i = 0; i < 20; i++) {
		sh->v[1] = 0;
		struct agent *p = spawn(NULL), *t = spawn_thread(p);
		post(t, spin, 0);
		all &= call(p, ag_tsync, 75) == 0;
		sh->v[1] = 1;
		all &= finish(t) == 75;
		retire(p, NULL);
	}
	CHECK(all, "[1.46] a thread that runs in user mode meanwhile makes no call past the filter");
}

static long make_threads(long x)
{
	(void)x;
	int made = 0;
	while (!sh->v[1]) {
		static char stack[8][16384] __attribute__((aligned(16)));
		int f(void *a) { (void)a; long late = sh->v[1], r = syscall(SYS_getppid); if (late && !(r == -1 && errno == 75)) sh->v[2]++; return 0; }
		int word = 1, at = made++ & 7;
		volatile int *w = &sh->w[8 + at];
		*w = 1;
		if (clone(f, stack[at] + sizeof stack[at], CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
			  CLONE_CHILD_CLEARTID, NULL, NULL, NULL, (int *)w) < 0)
			return -1;
		(void)word;
		while (*w)
			futex((int *)w, 0, 1, NULL);
	}
	return made;
}

/* Threads that are made while TSYNC is under way have the filter, too. */
CASE_T(tsync_clone, 60)
{
	bool all = true;
	for (int i = 0; i < 20; i++) {
		sh->v[1] = sh->v[2] = 0;
		struct agent *p = spawn(NULL), *t = spawn_thread(p);
		post(t, make_threads, 0);
		all &= call(p, ag_tsync, 75) == 0;
		sh->v[1] = 1;
		all &= finish(t) >= 0 && sh->v[2] == 0 && call(t, ag_errno, 0) == 75;
		retire(p, NULL);
	}
	CHECK(all, "[1.46] threads that are made meanwhile have the filter");
}

static void in_strict(void)
{
	deny(SYS_getppid, SECCOMP_RET_ERRNO | 1, SECCOMP_FILTER_FLAG_LOG | SECCOMP_FILTER_FLAG_SPEC_ALLOW);
	errno = 0;
	syscall(SYS_getppid);
	_exit(errno);
}

CASE(flags)
{
	CHECK_EQ(in_child(in_strict), 1 << 8, "[1.46] the flags LOG and SPEC_ALLOW");
}

/* A call that is restarted after a handler is asked about again, and so is the one that resumes it. */
static void restarted(void)
{
	struct sock_filter f[] = { LOAD(NR), JEQ(SYS_restart_syscall, 0, 1), RET(SECCOMP_RET_ERRNO | 88), RET(SECCOMP_RET_ALLOW) };
	siglog_catch(SIGUSR1, SA_RESTART);
	int p[2];
	char c;
	MUST(pipe(p));
	install(f, LEN(f), 0);
	pid_t me = getpid(), kid = fork();
	if (kid == 0) {
		await_blocked(me);
		kill(me, SIGUSR1);
		AWAIT(siglog_count(me, SIGUSR1) == 1);
		await_blocked(me);
		write(p[1], "x", 1);
		_exit(0);
	}
	ssize_t n = read(p[0], &c, 1);
	reap(kid);
	_exit(n == 1 && c == 'x' ? 0 : 1);
}

CASE(restarts)
{
	CHECK_EQ(in_child(restarted), 0, "[1.46] a filtered call restarts after a handler");
}

static void fuzzer(void)
{
	unsigned seed = 12345;
	int good = 0;
	for (int i = 0; i < 3000; i++) {
		struct sock_filter f[8];
		int n = 1 + i % 8;
		for (int j = 0; j < n; j++) {
			seed = seed * 1103515245 + 12345;
			f[j] = (struct sock_filter){ (seed >> 8) & 0xff, (seed >> 16) & 3, (seed >> 18) & 3, (seed >> 20) & 0x3f };
		}
		/* Nothing that passes may stop us: the last word is to allow. */
		for (int j = 0; j < n; j++)
			if ((f[j].code & 7) == BPF_RET)
				f[j] = (struct sock_filter)RET(SECCOMP_RET_ALLOW);
		f[n - 1] = (struct sock_filter)RET(SECCOMP_RET_ALLOW);
		if (install(f, n, 0) == 0)
			good++;
		else if (errno != EINVAL)
			_exit(1);
	}
	_exit(good > 20 ? 0 : 2);
}

CASE(garbage)
{
	int status = in_child(fuzzer);
	CHECK(status == 0 || status == SIGSYS, "[1.46,bad] programs of garbage are refused or run");
}
