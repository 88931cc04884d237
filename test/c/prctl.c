/* prctl.c - section 1c: names, dumpable, no_new_privs, capabilities and the rest of prctl (rules 1.31-1.51). */
#include "lib/tap.h"

#include <linux/capability.h>

static long pr(long o, long a, long b, long c, long d) { return syscall(SYS_prctl, o, a, b, c, d); }

static bool name_is(const char *want)
{
	char b[16];
	memset(b, 7, sizeof b);
	return pr(PR_GET_NAME, (long)b, 0, 0, 0) == 0 && !strcmp(b, want);
}

CASE(names)
{
	CHECK(pr(PR_SET_NAME, (long)"hello", 1, -1, 77) == 0 && name_is("hello"), "[1.31] SET_NAME, arg3..5 ignored");
	pr(PR_SET_NAME, (long)"0123456789abcdefgh", 0, 0, 0);
	CHECK(name_is("0123456789abcde"), "[1.31] at most 15 bytes");
	CHECK(pr(PR_SET_NAME, (long)"", 0, 0, 0) == 0 && name_is(""), "[1.31] an empty name is ok");
	char b[20];
	pr(PR_SET_NAME, (long)"xyz", 0, 0, 0);
	memset(b, 7, sizeof b);
	pr(PR_GET_NAME, (long)b, 0, 0, 0);
	bool zero = true;
	for (int i = 3; i < 16; i++)
		zero &= b[i] == 0;
	CHECK(zero && b[16] == 7, "[1.31,1.32] the rest is zero; exactly 16 bytes are written");
	char *e = map_edge();
	memset(e - 15, 'q', 15);
	CHECK(pr(PR_SET_NAME, (long)(e - 15), 0, 0, 0) == 0 && name_is("qqqqqqqqqqqqqqq"), "[1.31] 15 bytes without a NUL before a hole work");
	CHECK_ERR(pr(PR_SET_NAME, (long)(e - 14), 0, 0, 0), EFAULT, "[1.31] 14 fault");
	CHECK_ERR(pr(PR_GET_NAME, (long)(e - 15), 0, 0, 0), EFAULT, "[1.32] GET_NAME into 15 bytes: EFAULT");
	struct agent *p = spawn(NULL);
	char path[64], comm[32];
	snprintf(path, sizeof path, "/proc/%d/comm", p->pid);
	read_file(path, comm, sizeof comm);
	CHECK(!strcmp(comm, "qqqqqqqqqqqqqqq\n"), "[1.31] inherited over fork");
	retire(p, NULL);
}

static long set_name_of(long s) { return pr(PR_SET_NAME, s, 0, 0, 0); }
static long name_equals(long s) { return name_is((const char *)s); }

CASE(names_of_threads)
{
	pr(PR_SET_NAME, (long)"first", 0, 0, 0);
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	CHECK(call(t, name_equals, (long)"first"), "[1.31] a new thread inherits its maker's name");
	call(t, set_name_of, (long)"second");
	CHECK(call(p, name_equals, (long)"first"), "[1.31] a name is each thread's own");
	char path[64], comm[32];
	snprintf(path, sizeof path, "/proc/%d/task/%d/comm", p->pid, t->tid);
	read_file(path, comm, sizeof comm);
	CHECK(!strcmp(comm, "second\n"), "[1.31] as /proc/pid/task/tid/comm shows");
	retire(p, NULL);
}

static long get_dumpable(long x) { (void)x; return pr(PR_GET_DUMPABLE, 0, 0, 0, 0); }
static long set_dumpable(long v) { return pr(PR_SET_DUMPABLE, v, 0, 0, 0); }

CASE(dumpable)
{
	CHECK_EQ(get_dumpable(0), 1, "[1.34] 1 at first");
	CHECK_ERR(pr(PR_SET_DUMPABLE, 2, 0, 0, 0), EINVAL, "[1.34] SET 2: EINVAL");
	CHECK_ERR(pr(PR_SET_DUMPABLE, -1, 0, 0, 0), EINVAL, "[1.34] SET -1: EINVAL");
	CHECK_ERR(pr(PR_SET_DUMPABLE, 1L << 32 | 1, 0, 0, 0), EINVAL, "[1.34] SET 1<<32|1: EINVAL");
	CHECK_OK(pr(PR_SET_DUMPABLE, 0, 9, 9, 9), "[1.34] SET 0, other arguments ignored");
	CHECK_EQ(get_dumpable(0), 0, "[1.34] as set");
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	CHECK_EQ(call(p, get_dumpable, 0), 0, "[1.34] inherited by fork");
	call(t, set_dumpable, 1);
	CHECK_EQ(call(p, get_dumpable, 0), 1, "[1.34] shared by threads");
	CHECK_EQ(get_dumpable(0), 0, "[1.34] not by the parent");
	NEED_ROOT("[1.36] dumpable after a change of ids");
	REQUIRE(call(p, ag_drop, 1000) == 0);
	CHECK_EQ(call(p, get_dumpable, 0), 0, "[1.36] a change of the effective id sets it to suid_dumpable, 0");
	retire(p, NULL);
}

static long become(long uid) { return syscall(SYS_setresuid, uid, uid, uid); }

CASE(dumpable_owner)
{
	NEED_ROOT("[1.37] owner of /proc/pid files");
	struct agent *p = spawn(NULL);
	struct stat st;
	char path[64];
	REQUIRE(call(p, become, 1000) == 0);
	snprintf(path, sizeof path, "/proc/%d", p->pid);
	CHECK(stat(path, &st) == 0 && st.st_uid == 1000, "[1.37] the directory of a process that is not dumpable keeps its euid");
	snprintf(path, sizeof path, "/proc/%d/status", p->pid);
	CHECK(stat(path, &st) == 0 && st.st_uid == 0, "[1.37] its files are root's");
	REQUIRE(call(p, set_dumpable, 1) == 0);
	CHECK(stat(path, &st) == 0 && st.st_uid == 1000, "[1.37] dumpable, they are its own");
	retire(p, NULL);
}

CASE(no_new_privs)
{
	CHECK_EQ(pr(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0, "[1.38] off at first");
	CHECK_ERR(pr(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0), EINVAL, "[1.38] SET 0: EINVAL");
	CHECK_ERR(pr(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0), EINVAL, "[1.38] SET 2: EINVAL");
	CHECK_ERR(pr(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0), EINVAL, "[1.38] another argument: EINVAL");
	CHECK_ERR(pr(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0), EINVAL, "[1.38] GET with an argument: EINVAL");
	CHECK_OK(pr(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "[1.38] SET 1");
	CHECK_EQ(pr(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 1, "[1.38] as set");
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(pr(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	CHECK_EQ(reap(pid), 1 << 8, "[1.38] inherited");
}

static long nnp_set(long x) { (void)x; return pr(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }
static long nnp_get(long x) { (void)x; return pr(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }

CASE(no_new_privs_threads)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(t, nnp_set, 0);
	CHECK_EQ(call(p, nnp_get, 0), 0, "[1.38] setting it does not affect sibling threads");
	struct agent *t2 = spawn_thread(t);
	CHECK_EQ(call(t2, nnp_get, 0), 1, "[1.38] but a thread made by the setter");
	retire(p, NULL);
}

CASE(keepcaps)
{
	CHECK_EQ(pr(PR_GET_KEEPCAPS, 0, 0, 0, 0), 0, "[1.39] off at first");
	CHECK_ERR(pr(PR_SET_KEEPCAPS, 2, 0, 0, 0), EINVAL, "[1.39] SET 2: EINVAL");
	CHECK_OK(pr(PR_SET_KEEPCAPS, 1, 0, 0, 0), "[1.39] SET 1");
	CHECK_EQ(pr(PR_GET_KEEPCAPS, 0, 0, 0, 0), 1, "[1.39] as set");
	CHECK_EQ(pr(PR_GET_SECUREBITS, 0, 0, 0, 0), 0x10, "[1.39,1.42] it is SECBIT_KEEP_CAPS");
	NEED_ROOT("[1.39] keepcaps over setuid");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
		struct __user_cap_data_struct d[2];
		ag_drop(1000);
		_exit(syscall(SYS_capget, &h, d) == 0 && d[0].permitted && !d[0].effective ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[1.39] permitted capabilities survive setuid with it");
}

CASE(capbset)
{
	CHECK_EQ(pr(PR_CAPBSET_READ, CAP_KILL, 0, 0, 0), 1, "[1.40] CAPBSET_READ");
	CHECK_ERR(pr(PR_CAPBSET_READ, 41, 0, 0, 0), EINVAL, "[1.40] beyond the last: EINVAL");
	CHECK_ERR(pr(PR_CAPBSET_READ, -1, 0, 0, 0), EINVAL, "[1.40] -1: EINVAL");
	NEED_ROOT("[1.40] CAPBSET_DROP");
	CHECK_OK(pr(PR_CAPBSET_DROP, CAP_KILL, 1, 2, 3), "[1.40] CAPBSET_DROP, other arguments ignored");
	CHECK_EQ(pr(PR_CAPBSET_READ, CAP_KILL, 0, 0, 0), 0, "[1.40] dropped");
	CHECK_ERR(pr(PR_CAPBSET_DROP, 41, 0, 0, 0), EINVAL, "[1.40] beyond the last: EINVAL");
	REQUIRE(ag_drop(1000) == 0);
	CHECK_ERR(pr(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0), EPERM, "[1.40] without CAP_SETPCAP: EPERM");
	CHECK_ERR(pr(PR_CAPBSET_DROP, 41, 0, 0, 0), EPERM, "[1.40] checked before the range");
}

CASE(ambient)
{
	CHECK_EQ(pr(47, 1, CAP_KILL, 0, 0), 0, "[1.41] IS_SET: none");
	CHECK_ERR(pr(47, 1, 41, 0, 0), EINVAL, "[1.41] an invalid capability: EINVAL");
	CHECK_ERR(pr(47, 9, CAP_KILL, 0, 0), EINVAL, "[1.41] an unknown operation: EINVAL");
	CHECK_ERR(pr(47, 1, CAP_KILL, 1, 0), EINVAL, "[1.41] arg4 must be 0");
	CHECK_ERR(pr(47, 4, 1, 0, 0), EINVAL, "[1.41] CLEAR_ALL needs arg3 0");
	CHECK_OK(pr(47, 4, 0, 0, 0), "[1.41] CLEAR_ALL");
	CHECK_ERR(pr(47, 2, CAP_KILL, 0, 0), EPERM, "[1.41] RAISE of one that is not inheritable: EPERM");
}

CASE(securebits)
{
	CHECK_EQ(pr(PR_GET_SECUREBITS, 0, 0, 0, 0), 0, "[1.42] none at first");
	NEED_ROOT("[1.42] SET_SECUREBITS");
	CHECK_OK(pr(PR_SET_SECUREBITS, 0x3, 0, 0, 0), "[1.42] SET, with its lock");
	CHECK_EQ(pr(PR_GET_SECUREBITS, 0, 0, 0, 0), 3, "[1.42] as set");
	CHECK_ERR(pr(PR_SET_SECUREBITS, 0, 0, 0, 0), EPERM, "[1.42] a locked bit cannot be changed: EPERM");
	CHECK_ERR(pr(PR_SET_SECUREBITS, 0x10003, 0, 0, 0), EPERM, "[1.42] an unknown bit: EPERM");
	REQUIRE(ag_drop(1000) == 0);
	CHECK_ERR(pr(PR_SET_SECUREBITS, 3, 0, 0, 0), EPERM, "[1.42] without CAP_SETPCAP: EPERM, the same value as well");
}

static long slack(long x) { (void)x; return pr(PR_GET_TIMERSLACK, 0, 0, 0, 0); }

CASE(timerslack)
{
	CHECK_EQ(slack(0), 50000, "[1.43] 50000 at first");
	CHECK_OK(pr(PR_SET_TIMERSLACK, 77777, 0, 0, 0), "[1.43] SET");
	CHECK_EQ(slack(0), 77777, "[1.43] as set");
	struct agent *c = spawn(NULL);
	CHECK_EQ(call(c, slack, 0), 77777, "[1.43] a child has the parent's");
	pr(PR_SET_TIMERSLACK, 0, 0, 0, 0);
	CHECK_EQ(slack(0), 50000, "[1.43] SET 0: the default");
	retire(c, NULL);
}

CASE(tid_address)
{
	int *got = NULL;
	static int word;
	syscall(SYS_set_tid_address, &word);
	CHECK(pr(40, (long)&got, 0, 0, 0) == 0 && got == &word, "[1.44] GET_TID_ADDRESS");
	CHECK_ERR(pr(40, (long)BADPTR, 0, 0, 0), EFAULT, "[1.44] bad pointer: EFAULT");
	pid_t pid = MUST(raw_clone(SIGCHLD));
	if (pid == 0)
		_exit(pr(40, (long)&got, 0, 0, 0) == 0 && got == NULL ? 0 : 1);
	CHECK_EQ(reap(pid), 0, "[1.44] NULL after a raw fork");
	syscall(SYS_set_tid_address, NULL);
}

CASE(others)
{
	CHECK_ERR(pr(35, 14, 0, 0, 1), EINVAL, "[1.45] SET_MM with arg5: EINVAL");
	CHECK_ERR(pr(41, 1, 0, 1, 0), EINVAL, "[1.47] THP_DISABLE with arg4: EINVAL");
	CHECK_EQ(pr(42, 0, 0, 0, 0), 0, "[1.47] GET_THP_DISABLE");
	CHECK_ERR(pr(42, 1, 0, 0, 0), EINVAL, "[1.47] with an argument: EINVAL");
	CHECK_OK(pr(41, 1, 0, 0, 0), "[1.47] SET");
	CHECK_EQ(pr(42, 0, 0, 0, 0), 1, "[1.47] as set");
	CHECK_EQ(pr(34, 0, 0, 0, 0), 2, "[1.48] MCE_KILL_GET: default");
	CHECK_ERR(pr(33, 1, 3, 0, 0), EINVAL, "[1.48] MCE_KILL with a bad policy: EINVAL");
	CHECK_ERR(pr(33, 0, 1, 0, 0), EINVAL, "[1.48] CLEAR with arg3: EINVAL");
	CHECK_ERR(pr(0x53564d41, 1, 0, 0, 0), EINVAL, "[1.49] SET_VMA with an unknown operation: EINVAL");
	CHECK_EQ(pr(PR_GET_TIMING, 0, 0, 0, 0), 0, "[1.50] GET_TIMING: 0");
	CHECK_ERR(pr(PR_SET_TIMING, 1, 0, 0, 0), EINVAL, "[1.50] SET_TIMING 1: EINVAL");
	CHECK_OK(pr(PR_SET_TIMING, 0, 0, 0, 0), "[1.50] SET_TIMING 0");
	int v = -1;
	CHECK(pr(PR_GET_TSC, (long)&v, 0, 0, 0) == 0 && v == 1, "[1.50] GET_TSC: 1");
	CHECK_ERR(pr(PR_SET_TSC, 3, 0, 0, 0), EINVAL, "[1.50] SET_TSC 3: EINVAL");
	CHECK_OK(pr(31, 0, 0, 0, 0), "[1.50] TASK_PERF_EVENTS_DISABLE");
	CHECK_ERR(pr(65, 4, 0, 0, 0), EINVAL, "[1.51] MDWE with an unknown bit: EINVAL");
	CHECK_ERR(pr(65, 2, 0, 0, 0), EINVAL, "[1.51] bit 1 without bit 0: EINVAL");
	CHECK_EQ(pr(66, 0, 0, 0, 0), 0, "[1.51] GET_MDWE: 0");
	CHECK_ERR(pr(66, 1, 0, 0, 0), EINVAL, "[1.51] with an argument: EINVAL");
	unsigned long aux[64];
	long n = pr(0x41555856, (long)aux, sizeof aux, 0, 0);
	CHECK(n > 0 && n % 16 == 0, "[1.51] GET_AUXV returns the size of the vector");
	CHECK_EQ(pr(0x41555856, (long)BADPTR, 0, 0, 0), n, "[1.51] length 0 with a bad pointer is ok");
	CHECK_ERR(pr(0x41555856, (long)BADPTR, 8, 0, 0), EFAULT, "[1.51] otherwise EFAULT");
	CHECK_ERR(pr(0x41555856, (long)aux, 8, 1, 0), EINVAL, "[1.51] arg4 must be 0");
}
