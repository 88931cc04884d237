/* user_dispatch.c - PR_SET_SYSCALL_USER_DISPATCH: system calls that become SIGSYS (rules 1.1, 1.2). */
#include "lib/tap.h"

#include <ucontext.h>

#define DISPATCH 59
#define OFF 0
#define EXCLUSIVE_ON 1
#define INCLUSIVE_ON 2
#define ALLOW 0
#define BLOCK 1

static long pr(long o, long a, long b, long c, long d) { return syscall(SYS_prctl, o, a, b, c, d); }

static volatile unsigned char selector;
static volatile int caught, code, number, err;
static volatile unsigned arch;
static void *volatile call_addr;
static volatile long rip, rax;

/* Does what the emulator of another system would do: gives the call a result of its own. */
static void on_sys(int sig, siginfo_t *si, void *uc)
{
	ucontext_t *u = uc;
	(void)sig;
	selector = ALLOW;
	caught++;
	code = si->si_code;
	number = si->si_syscall;
	err = si->si_errno;
	arch = si->si_arch;
	call_addr = si->si_call_addr;
	rip = u->uc_mcontext.gregs[REG_RIP];
	rax = u->uc_mcontext.gregs[REG_RAX];
	u->uc_mcontext.gregs[REG_RAX] = 4711;
}

static void catch(void)
{
	struct sigaction sa = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };
	sigaction(SIGSYS, &sa, NULL);
}

static void no_core(void)
{
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
}

/* A system call of which we know where it is. */
extern char here_begin[], here_end[];
__attribute__((noinline)) static long here(long nr, long a)
{
	long r;
	__asm__ volatile(".globl here_begin, here_end\nhere_begin: syscall\nhere_end: nop"
			 : "=a"(r) : "a"(nr), "D"(a) : "rcx", "r11", "memory");
	return r;
}

CASE(arguments)
{
	CHECK_ERR(pr(DISPATCH, 3, 0, 0, 0), EINVAL, "[dispatch] an unknown mode: EINVAL");
	CHECK_ERR(pr(DISPATCH, -1, 0, 0, 0), EINVAL, "[dispatch] so is -1");
	CHECK_ERR(pr(DISPATCH, 1L << 32 | EXCLUSIVE_ON, 0, 0, 0), EINVAL, "[dispatch] the mode has 64 bits");
	CHECK_ERR(pr(DISPATCH, OFF, 1, 0, 0), EINVAL, "[dispatch] off with a start: EINVAL");
	CHECK_ERR(pr(DISPATCH, OFF, 0, 1, 0), EINVAL, "[dispatch] off with a length: EINVAL");
	CHECK_ERR(pr(DISPATCH, OFF, 0, 0, (long)&selector), EINVAL, "[dispatch] off with a selector: EINVAL");
	CHECK_ERR(pr(DISPATCH, EXCLUSIVE_ON, 8, 0, 0), EINVAL, "[dispatch] an empty range: EINVAL");
	CHECK_ERR(pr(DISPATCH, EXCLUSIVE_ON, 8, -8, 0), EINVAL, "[dispatch] one that wraps round to 0: EINVAL");
	CHECK_ERR(pr(DISPATCH, EXCLUSIVE_ON, 8, -1, 0), EINVAL, "[dispatch] and beyond: EINVAL");
	CHECK_ERR(pr(DISPATCH, EXCLUSIVE_ON, 0, 0, 1L << 47), EFAULT, "[dispatch] a selector outside of user memory: EFAULT");
	CHECK_ERR(pr(DISPATCH, EXCLUSIVE_ON, 0, 0, -1), EFAULT, "[dispatch] far outside: EFAULT");
	CHECK_OK(pr(DISPATCH, OFF, 0, 0, 0), "[dispatch] off");
	CHECK_OK(pr(DISPATCH, EXCLUSIVE_ON, 0, -1, 0), "[dispatch] on, with everything let through");
	CHECK(getppid() > 0, "[dispatch] calls work");
	CHECK_OK(pr(DISPATCH, OFF, 0, 0, 0), "[dispatch] and off again");
	IF_SINCE(6, 18, "[dispatch] INCLUSIVE_ON") {
		CHECK_ERR(pr(DISPATCH, INCLUSIVE_ON, 0, 0, 0), EINVAL, "[dispatch] to catch nothing: EINVAL");
		CHECK_ERR(pr(DISPATCH, INCLUSIVE_ON, 8, -8, 0), EINVAL, "[dispatch] a range that wraps round to 0: EINVAL");
	}
}

CASE(dispatched)
{
	catch();
	REQUIRE(pr(DISPATCH, EXCLUSIVE_ON, 0, 0, (long)&selector) == 0);
	CHECK(getppid() > 0 && caught == 0, "[dispatch] with the selector at allow, calls are made");
	selector = BLOCK;
	long r = here(SYS_getppid, 0);
	CHECK(caught == 1 && r == 4711, "[dispatch] at block, the thread gets SIGSYS, and the handler's result");
	CHECK_EQ(code, 2, "[dispatch] si_code is SYS_USER_DISPATCH");
	CHECK_EQ(number, SYS_getppid, "[dispatch] si_syscall is the number of the call");
	CHECK_EQ(arch, 0xc000003e, "[dispatch] si_arch is x86_64's");
	CHECK_EQ(err, 0, "[dispatch] si_errno is 0");
	CHECK(call_addr == here_end && rip == (long)here_end, "[dispatch] si_call_addr and rip are behind the call");
	CHECK_EQ(rax, SYS_getppid, "[dispatch] rax is as it was at the call");
	selector = BLOCK;
	CHECK(here(SYS_kill, 0) == 4711 && caught == 2, "[dispatch] again, for another call");
	selector = BLOCK;
	CHECK(here(100000, 0) == 4711 && number == 100000, "[dispatch] for one that there is not, too");
	selector = BLOCK;
	CHECK(here(-5, 0) == 4711 && number == -5 && rax == -5, "[dispatch] or a negative one");
	REQUIRE(pr(DISPATCH, EXCLUSIVE_ON, (long)here_begin, here_end - here_begin, (long)&selector) == 0);
	selector = BLOCK;
	r = here(SYS_gettid, 0);
	selector = ALLOW;
	CHECK(r == 4711, "[dispatch] the range is held against the address behind the call: this is just outside");
	REQUIRE(pr(DISPATCH, EXCLUSIVE_ON, (long)here_begin, here_end - here_begin + 1, (long)&selector) == 0);
	caught = 0;
	selector = BLOCK;
	r = here(SYS_gettid, 0);
	selector = ALLOW;
	CHECK(r == sys_gettid() && caught == 0, "[dispatch] and this just within, where calls are made");
	REQUIRE(pr(DISPATCH, OFF, 0, 0, 0) == 0);
	selector = BLOCK;
	CHECK(here(SYS_getppid, 0) == getppid(), "[dispatch] off, the selector means nothing");
	IF_SINCE(6, 18, "[dispatch] INCLUSIVE_ON") {
		REQUIRE(pr(DISPATCH, INCLUSIVE_ON, (long)here_begin, here_end - here_begin + 1, (long)&selector) == 0);
		caught = 0;
		CHECK(here(SYS_getppid, 0) == 4711 && caught == 1, "[dispatch] inclusive: a call from the range is caught");
		selector = BLOCK;
		CHECK(getppid() > 0 && caught == 1, "[dispatch] others are made");
		REQUIRE(pr(DISPATCH, OFF, 0, 0, 0) == 0);
	}
}

/* What ends a program of its own, with the status it ends with. */
static int ends_with(void (*fn)(void))
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		no_core();
		fn();
		syscall(SYS_exit_group, 77);
	}
	return reap(pid);
}

static void without_selector(void) { pr(DISPATCH, EXCLUSIVE_ON, 0, 0, 0); here(SYS_getppid, 0); }
static void bad_value(void) { catch(); pr(DISPATCH, EXCLUSIVE_ON, 0, 0, (long)&selector); selector = 2; here(SYS_getppid, 0); }
static void bad_pointer(void) { catch(); pr(DISPATCH, EXCLUSIVE_ON, 0, 0, 0x10); here(SYS_getppid, 0); }
static void blocked(void)
{
	catch();
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGSYS);
	sigprocmask(SIG_BLOCK, &s, NULL);
	pr(DISPATCH, EXCLUSIVE_ON, 0, 0, (long)&selector);
	selector = BLOCK;
	here(SYS_getppid, 0);
}
static void ignored(void)
{
	signal(SIGSYS, SIG_IGN);
	pr(DISPATCH, EXCLUSIVE_ON, 0, 0, (long)&selector);
	selector = BLOCK;
	here(SYS_getppid, 0);
}

CASE(deadly)
{
	CHECK_EQ(ends_with(without_selector), SIGSYS, "[dispatch] without a selector all calls are caught; no handler: death by SIGSYS");
	CHECK_EQ(ends_with(bad_value), SIGSYS, "[dispatch] a selector with another value: death by SIGSYS, in spite of a handler");
	CHECK_EQ(ends_with(bad_pointer), SIGSEGV, "[dispatch] one that can't be read: death by SIGSEGV");
	CHECK_EQ(ends_with(blocked), SIGSYS, "[dispatch] SIGSYS blocked: death");
	CHECK_EQ(ends_with(ignored), SIGSYS, "[dispatch] SIGSYS ignored: death");
}

static long caught_here(long x)
{
	(void)x;
	caught = 0;
	selector = BLOCK;
	long r = here(SYS_getppid, 0);
	selector = ALLOW;
	return r == 4711 && caught == 1;
}

static long turn_on(long x)
{
	(void)x;
	selector = ALLOW;
	return pr(DISPATCH, EXCLUSIVE_ON, 0, 0, (long)&selector);
}

/* The new program has its selector where ours is, as it is the same file. */
HELPER(dispatch_now) { catch(); return caught_here(0) ? 1 : 0; }

CASE(of_a_thread)
{
	catch();
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	REQUIRE(call(t, turn_on, 0) == 0);
	CHECK_EQ(call(p, caught_here, 0), 0, "[dispatch] it is the thread's: others' calls are made");
	CHECK_EQ(call(t, caught_here, 0), 1, "[dispatch] its own are caught");
	struct agent *t2 = spawn_thread(t);
	CHECK_EQ(call(t2, caught_here, 0), 0, "[dispatch] a thread that it makes starts without");
	retire(p, NULL);
	REQUIRE(turn_on(0) == 0);
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(caught_here(0) ? 1 : 0);
	CHECK_EQ(reap(pid), 0, "[dispatch] so does a forked child");
	pid = MUST(vfork());
	if (pid == 0)
		_exit(caught_here(0) ? 1 : 0);
	CHECK_EQ(reap(pid), 0, "[dispatch] and a vforked one");
	CHECK_EQ(caught_here(0), 1, "[dispatch] the parent keeps it");
	pid = MUST(fork());
	if (pid == 0) {
		turn_on(0);
		exec_self("dispatch_now", NULL, NULL, NULL);
		_exit(9);
	}
	CHECK_EQ(reap(pid), 0, "[dispatch] execve ends it");
}

#include <linux/filter.h>
#include <linux/seccomp.h>

static void filtered(void)
{
	struct sock_filter f[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_getppid },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	struct sock_fprog prog = { 4, f };
	catch();
	pr(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	pr(DISPATCH, EXCLUSIVE_ON, 0, 0, (long)&selector);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		syscall(SYS_exit_group, 1);
	selector = BLOCK;
	long r = here(SYS_getppid, 0);
	syscall(SYS_exit_group, r == 4711 && caught == 1 ? 0 : 2);
}

CASE(before_seccomp)
{
	CHECK_EQ(ends_with(filtered), 0, "[dispatch,1.46] it is asked before seccomp's filters");
}
