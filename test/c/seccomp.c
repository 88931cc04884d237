/* seccomp.c - strict mode and filters by prctl (rule 1.46). */
#include "lib/tap.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

static long pr(long o, long a, long b, long c, long d) { return syscall(SYS_prctl, o, a, b, c, d); }

CASE(modes)
{
	CHECK_EQ(pr(PR_GET_SECCOMP, 0, 0, 0, 0), 0, "[1.46] off at first");
	CHECK_ERR(pr(PR_SET_SECCOMP, 3, 0, 0, 0), EINVAL, "[1.46] an unknown mode: EINVAL");
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
	NEED_ROOT("[1.46] a filter without privilege");
	pid = MUST(fork());
	if (pid == 0) {
		struct sock_filter f[] = { { 0x06, 0, 0, SECCOMP_RET_ALLOW } };
		struct sock_fprog prog = { 1, f };
		ag_drop(1000);
		errno = 0;
		_exit(pr(PR_SET_SECCOMP, 2, (long)&prog, 0, 0) == -1 && errno == EACCES ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[1.46] a filter without no_new_privs: EACCES");
}

static int with_filter(struct sock_filter *f, int n, long nr)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct sock_fprog prog = { n, f };
		struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		pr(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (pr(PR_SET_SECCOMP, 2, (long)&prog, 0, 0))
			_exit(99);
		errno = 0;
		syscall(nr);
		_exit(errno);
	}
	return reap(pid);
}

CASE(filters)
{
	struct sock_filter deny[] = { { 0x20, 0, 0, 0 }, { 0x15, 0, 1, SYS_getppid }, { 0x06, 0, 0, SECCOMP_RET_ERRNO | 42 },
				      { 0x06, 0, 0, SECCOMP_RET_ALLOW } };
	CHECK_EQ(with_filter(deny, 4, SYS_getppid), 42 << 8, "[1.46] RET_ERRNO: the call fails with that errno");
	CHECK_EQ(with_filter(deny, 4, SYS_getpid), 0, "[1.46] other calls are allowed");
	deny[2].k = SECCOMP_RET_KILL_PROCESS;
	CHECK_EQ(with_filter(deny, 4, SYS_getppid), SIGSYS, "[1.46] RET_KILL_PROCESS: SIGSYS");
	deny[3].code = 0x20;
	CHECK_EQ(with_filter(deny, 4, SYS_getppid), 99 << 8, "[1.46] a program without an end is refused");
}
