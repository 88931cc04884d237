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

/* ---- more of 1.33-1.51 ---- */

static long can_read(long path)
{
	char b[8];
	int fd = open((char *)path, O_RDONLY);
	long n = fd < 0 ? -1 : read(fd, b, sizeof b);
	int e = errno;
	if (fd >= 0)
		close(fd);
	errno = e;
	return n < 0 ? -1 : 0;
}

CASE(inspection)
{
	NEED_ROOT("[1.37] looking into a process that is not dumpable");
	struct agent *p = spawn(NULL), *q = spawn(NULL);
	REQUIRE(call(p, become, 1000) == 0 && call(q, become, 1000) == 0);
	static char path[64];
	/* q was forked before: the text has to be in memory that both share. */
	char *shared = (char *)&sh->v[8];
	snprintf(path, sizeof path, "/proc/%d/auxv", p->pid);
	strcpy(shared, path);
	CHECK(call(q, can_read, (long)shared) == -1 && q->err == EACCES, "[1.37] its user may not look into it: EACCES");
	CHECK_EQ(can_read((long)path), 0, "[1.37] root may");
	REQUIRE(call(p, set_dumpable, 1) == 0);
	CHECK_EQ(call(q, can_read, (long)shared), 0, "[1.37] dumpable, its user may");
	retire(p, NULL);
	retire(q, NULL);
}

static void child_exits(int (*fn)(void), int want, const char *text)
{
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(fn());
	CHECK_EQ(reap(pid), want << 8, text);
}

HELPER(slack_now) { return slack(0) == 77777 ? 0 : 1; }
HELPER(thp_now) { return pr(42, 0, 0, 0, 0); }
HELPER(mdwe_now) { return pr(66, 0, 0, 0, 0); }
HELPER(tid_address_now)
{
	int *got = (int *)1;
	pid_t pid = raw_clone(SIGCHLD);
	if (pid == 0)
		_exit(pr(40, (long)&got, 0, 0, 0) == 0 && got == NULL ? 0 : 1);
	return WEXITSTATUS(reap(pid));
}
HELPER(merge_now) { return pr(68, 0, 0, 0, 0); }

static int slack_over_exec(void) { pr(PR_SET_TIMERSLACK, 77777, 0, 0, 0); exec_self("slack_now", NULL, NULL, NULL); return 9; }
static int thp_over_exec(void) { pr(41, 1, 0, 0, 0); exec_self("thp_now", NULL, NULL, NULL); return 9; }
static int mdwe_over_exec(void) { pr(65, 1, 0, 0, 0); exec_self("mdwe_now", NULL, NULL, NULL); return 9; }
static int mdwe_not_over_exec(void) { pr(65, 3, 0, 0, 0); exec_self("mdwe_now", NULL, NULL, NULL); return 9; }
static int mdwe_not_over_fork(void)
{
	pr(65, 3, 0, 0, 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(pr(66, 0, 0, 0, 0));
	return WEXITSTATUS(reap(pid)) * 16 + pr(66, 0, 0, 0, 0);
}
static int merge_over_exec(void) { pr(67, 1, 0, 0, 0); exec_self("merge_now", NULL, NULL, NULL); return 9; }
static int mce_over_fork(void)
{
	pr(33, 1, 1, 0, 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(pr(34, 0, 0, 0, 0));
	return WEXITSTATUS(reap(pid)) * 16 + pr(34, 0, 0, 0, 0);
}

CASE(timerslack_more)
{
	child_exits(slack_over_exec, 0, "[1.43] kept over exec");
	CHECK_OK(pr(PR_SET_TIMERSLACK, -1, 0, 0, 0), "[1.43] anything else is taken as a word of 64 bits");
	pr(PR_SET_TIMERSLACK, 44444, 0, 0, 0);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		pr(PR_SET_TIMERSLACK, 55555, 0, 0, 0);
		pr(PR_SET_TIMERSLACK, 0, 0, 0, 0);
		_exit(slack(0) == 44444 ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[1.43] a child's default is the parent's current value");
	NEED_ROOT("[1.43] real-time threads");
	struct sched_param prio = { 1 };
	REQUIRE(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &prio) == 0);
	CHECK_EQ(slack(0), 0, "[1.43] GET of a real-time thread: 0");
	CHECK_OK(pr(PR_SET_TIMERSLACK, 66666, 0, 0, 0), "[1.43] SET returns 0");
	prio.sched_priority = 0;
	REQUIRE(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &prio) == 0);
	CHECK(slack(0) != 66666, "[1.43] and is ignored");
}

CASE(memory_options)
{
	CHECK_ERR(pr(41, 1, 1, 0, 0), EINVAL, "[1.47] SET_THP_DISABLE with arg3 1: EINVAL");
	CHECK_ERR(pr(41, 1, 0, 0, 1), EINVAL, "[1.47] with arg5: EINVAL");
	IF_SINCE(6, 18, "[1.47] except advised") {
		CHECK_ERR(pr(41, 0, 2, 0, 0), EINVAL, "[1.47] clearing with arg3 2: EINVAL");
		CHECK_OK(pr(41, 1, 2, 0, 0), "[1.47] except advised");
		CHECK_EQ(pr(42, 0, 0, 0, 0), 3, "[1.47] reads as 3");
	}
	child_exits(thp_over_exec, 1, "[1.47] kept over exec");
	CHECK_OK(pr(41, 0, 0, 0, 0), "[1.47] cleared");
	CHECK_EQ(pr(42, 0, 0, 0, 0), 0, "[1.47] reads as 0");
	child_exits(mce_over_fork, 0x11, "[1.48] MCE_KILL is inherited over fork");
	CHECK_OK(pr(33, 1, 0, 0, 0), "[1.48] SET late");
	CHECK_EQ(pr(34, 0, 0, 0, 0), 0, "[1.48] reads as 0");
	CHECK_OK(pr(33, 0, 0, 0, 0), "[1.48] CLEAR");
	CHECK_EQ(pr(34, 0, 0, 0, 0), 2, "[1.48] reads as the default");
	CHECK_ERR(pr(33, 2, 0, 0, 0), EINVAL, "[1.48] an unknown operation: EINVAL");
	CHECK_ERR(pr(33, 1, 0, 1, 0), EINVAL, "[1.48] arg4 must be 0");
	CHECK_ERR(pr(34, 1, 0, 0, 0), EINVAL, "[1.48] GET with an argument: EINVAL");
	IF_SINCE(6, 4, "[1.51] MEMORY_MERGE") {
		CHECK_ERR(pr(67, 1, 0, 0, 1), EINVAL, "[1.51] SET_MEMORY_MERGE with another argument: EINVAL");
		CHECK_ERR(pr(68, 1, 0, 0, 0), EINVAL, "[1.51] GET_MEMORY_MERGE with an argument: EINVAL");
		CHECK_OK(pr(67, 1, 0, 0, 0), "[1.51] SET_MEMORY_MERGE");
		CHECK_EQ(pr(68, 0, 0, 0, 0), 1, "[1.51] as set");
		CHECK_OK(pr(67, 0, 0, 0, 0), "[1.51] and off");
		child_exits(merge_over_exec, 1, "[1.51] kept over exec");
	}
	CHECK_ERR(pr(52, 3, 0, 0, 0), ENODEV, "[1.51] GET_SPECULATION_CTRL of an unknown feature: ENODEV");
	CHECK_ERR(pr(52, 0, 1, 0, 0), EINVAL, "[1.51] with another argument: EINVAL");
	CHECK_ERR(pr(53, 9, 2, 0, 0), ENODEV, "[1.51] SET_SPECULATION_CTRL of an unknown feature: ENODEV");
	CHECK_ERR(pr(53, 0, 2, 1, 0), EINVAL, "[1.51] with another argument: EINVAL");
	CHECK(pr(52, 0, 0, 0, 0) >= 0, "[1.51] a known one");
}

static int mdwe_denies(void)
{
	char *rw = map_pages(1), *rx = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pr(65, 1, 0, 0, 0))
		return 1;
	if (mprotect(rw, 4096, PROT_READ | PROT_EXEC) != -1 || errno != EACCES)
		return 2;
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED || errno != EACCES)
		return 3;
	if (mprotect(rx, 4096, PROT_READ | PROT_EXEC) || mprotect(rx, 4096, PROT_READ))
		return 4;
	if (mprotect(rx, 4096, PROT_READ | PROT_EXEC) != -1 || errno != EACCES)
		return 5;
	if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		return 6;
	if (pr(65, 0, 0, 0, 0) != -1 || errno != EPERM)
		return 7;
	return pr(65, 1, 0, 0, 0) == 0 && pr(66, 0, 0, 0, 0) == 1 ? 0 : 8;
}

CASE(mdwe)
{
	IF_SINCE(6, 6, "[1.51] MDWE") {
		CHECK_ERR(pr(65, 1, 1, 0, 0), EINVAL, "[1.51] SET_MDWE with another argument: EINVAL");
		child_exits(mdwe_denies, 0, "[1.51] MDWE: nothing becomes executable that was not; clearing: EPERM");
		child_exits(mdwe_over_exec, 1, "[1.51] kept over exec");
		child_exits(mdwe_not_over_exec, 0, "[1.51] with NO_INHERIT not");
		child_exits(mdwe_not_over_fork, 3, "[1.51] nor over fork");
	}
}

static long no_sysres(long x)
{
	(void)x;
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
	return syscall(SYS_capset, &h, d);
}

CASE(unprivileged_options)
{
	struct agent *a = spawn(NULL);
	REQUIRE(call(a, no_sysres, 0) == 0);
	long flusher(long x) { return pr(57, x, 9, 9, 9); }
	long get_flusher(long x) { return pr(58, x, 0, 0, 0); }
	long set_mm(long op) { return pr(35, op, 0x400000, 0, 0); }
	CHECK(call(a, flusher, 7) == -1 && a->err == EPERM, "[1.50] IO_FLUSHER without CAP_SYS_RESOURCE: EPERM, before the arguments");
	CHECK(call(a, get_flusher, 7) == -1 && a->err == EPERM, "[1.50] GET, too");
	CHECK(call(a, set_mm, 1) == -1 && a->err == EPERM, "[1.45] SET_MM without CAP_SYS_RESOURCE: EPERM");
	CHECK(call(a, set_mm, 99) == -1 && a->err == EPERM, "[1.45] also of an unknown operation");
	CHECK(call(a, set_mm, 14) == -1 && a->err == EINVAL, "[1.45] MAP needs none; a wrong size: EINVAL");
	retire(a, NULL);
}

struct mm_map {
	unsigned long addr[11], auxv;
	unsigned auxv_size, exe_fd;
};

static bool has_cap(int cap)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	return syscall(SYS_capget, &h, d) == 0 && d[cap / 32].effective & 1u << cap % 32;
}

/* The map as /proc/self/stat has it: start_code end_code, start_data end_data, start_brk, arg and env. */
static void read_map(struct mm_map *m)
{
	memset(m, 0, sizeof *m);
	int fields[11] = { 26, 27, 45, 46, 47, 47, 28, 48, 49, 50, 51 };
	for (int i = 0; i < 11; i++)
		m->addr[i] = proc_stat(getpid(), fields[i]);
	m->addr[5] = (unsigned long)sbrk(0);
	m->exe_fd = -1;
}

CASE(set_mm)
{
	unsigned size = 0;
	CHECK(pr(35, 15, (long)&size, 0, 0) == 0 && size == sizeof(struct mm_map), "[1.45] MAP_SIZE");
	CHECK_ERR(pr(35, 15, (long)BADPTR, 0, 0), EFAULT, "[1.45] MAP_SIZE to a bad pointer: EFAULT");
	CHECK_ERR(pr(35, 1, 0x400000, 1, 0), EINVAL, "[1.45] arg4 of an operation that takes none: EINVAL");
	CHECK_ERR(pr(35, 14, (long)&size, 8, 0), EINVAL, "[1.45] MAP of a wrong size: EINVAL");
	CHECK_ERR(pr(35, 14, (long)BADPTR, sizeof(struct mm_map), 0), EFAULT, "[1.45] MAP from a bad pointer: EFAULT");
	struct mm_map m, old;
	read_map(&m);
	if (m.addr[2] == 0) {	/* start_data is hidden */
		tap_skip("[1.45] MAP", "no addresses in /proc/self/stat");
		return;
	}
	old = m;
	char *page = map_pages(1);
	strcpy(page, "changed");
	m.addr[7] = (long)page;
	m.addr[8] = (long)page + 8;
	CHECK_OK(pr(35, 14, (long)&m, sizeof m, 0), "[1.45] MAP moves the arguments");
	char b[64];
	CHECK(read_file("/proc/self/cmdline", b, sizeof b) == 8 && !strcmp(b, "changed"), "[1.45] as /proc/self/cmdline shows");
	struct mm_map bad = m;
	bad.addr[8] = (long)page - 1;
	CHECK_ERR(pr(35, 14, (long)&bad, sizeof bad, 0), EINVAL, "[1.45] an end before its start: EINVAL");
	bad = m;
	bad.addr[9] = 1L << 47;
	CHECK_ERR(pr(35, 14, (long)&bad, sizeof bad, 0), EINVAL, "[1.45] outside of user memory: EINVAL");
	bad = m;
	bad.auxv_size = 8;
	CHECK_ERR(pr(35, 14, (long)&bad, sizeof bad, 0), EINVAL, "[1.45] a size without an auxiliary vector: EINVAL");
	unsigned long aux[64] = { 4711, 4712 };
	m.auxv = (long)aux;
	m.auxv_size = sizeof aux;
	CHECK_ERR(pr(35, 14, (long)&m, sizeof m, 0), EINVAL, "[1.45] one that is too long: EINVAL");
	m.auxv_size = 32;
	CHECK_OK(pr(35, 14, (long)&m, sizeof m, 0), "[1.45] one that fits");
	unsigned long got[64] = { 0 };
	CHECK(pr(0x41555856, (long)got, sizeof got, 0, 0) > 0 && got[0] == 4711 && got[1] == 4712, "[1.45,1.51] is what GET_AUXV shows");
	CHECK_OK(pr(35, 14, (long)&old, sizeof old, 0), "[1.45] and back");
	if (!has_cap(24)) {
		tap_skip("[1.45] the operations that need CAP_SYS_RESOURCE", "not had");
		return;
	}
	CHECK_ERR(pr(35, 8, old.addr[8] + 1, 0, 0), EINVAL, "[1.45] ARG_START behind ARG_END: EINVAL");
	CHECK_ERR(pr(35, 9, 0x7ffffffff000 - 16, 0, 0), EFAULT, "[1.45] ARG_END where nothing is mapped: EFAULT");
	CHECK_ERR(pr(35, 8, 0x1000, 0, 0), EINVAL, "[1.45] an address below mmap_min_addr: EINVAL");
	CHECK_ERR(pr(35, 8, 1L << 47, 0, 0), EINVAL, "[1.45] beyond user memory: EINVAL");
	CHECK_ERR(pr(35, 99, 0x400000, 0, 0), EINVAL, "[1.45] an unknown operation: EINVAL");
	CHECK_ERR(pr(35, 13, -1, 0, 0), EBADF, "[1.45] EXE_FILE without a file: EBADF");
	int fd = MUST(open("/proc", O_RDONLY));
	CHECK_ERR(pr(35, 13, fd, 0, 0), EACCES, "[1.45] EXE_FILE of a directory: EACCES");
	close(fd);
	REQUIRE(copy_self(tmp_path("exe"), 0755));
	fd = MUST(open(tmp_path("exe"), O_RDONLY));
	CHECK_ERR(pr(35, 13, fd, 0, 0), EBUSY, "[1.45] EXE_FILE while the old one is mapped: EBUSY");
	CHECK_ERR(pr(35, 12, (long)aux, sizeof aux, 0), EINVAL, "[1.45] AUXV that is too long: EINVAL");
	CHECK_OK(pr(35, 12, (long)aux, 32, 0), "[1.45] AUXV");
	CHECK(pr(0x41555856, (long)got, sizeof got, 0, 0) > 0 && got[0] == 4711, "[1.45] as GET_AUXV shows");
}

CASE(tid_address_exec)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		exec_self("tid_address_now", NULL, NULL, NULL);
		_exit(9);
	}
	CHECK_EQ(reap(pid), 0, "[1.44] NULL after a raw fork in a new program");
}

static int reads_tsc(void)
{
	unsigned lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return lo | hi ? 0 : 1;
}

static void on_segv(int sig, siginfo_t *si, void *u)
{
	(void)u;
	sh->v[0] = sig;
	sh->v[1] = si->si_code;
	pr(PR_SET_TSC, 1, 0, 0, 0);
}

static int tsc_off(void)
{
	int v = 0;
	if (pr(PR_SET_TSC, 2, 0, 0, 0) || pr(PR_GET_TSC, (long)&v, 0, 0, 0) || v != 2)
		return 1;
	reads_tsc();
	return 2;
}

static int tsc_off_child(void)
{
	pr(PR_SET_TSC, 2, 0, 0, 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(reads_tsc());
	int st = reap(pid);
	return WIFSIGNALED(st) ? WTERMSIG(st) : 99;
}

static int tsc_handler(void)
{
	struct sigaction sa = { .sa_sigaction = on_segv, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &sa, NULL);
	pr(PR_SET_TSC, 2, 0, 0, 0);
	return reads_tsc();
}

static int tsc_of_others(void)
{
	pr(PR_SET_TSC, 2, 0, 0, 0);
	for (int i = 0; i < 100; i++)
		sched_yield();
	pr(PR_SET_TSC, 1, 0, 0, 0);
	return reads_tsc();
}

CASE(tsc)
{
	no_sysres(0);
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(tsc_off());
	CHECK_EQ(reap(pid), SIGSEGV, "[1.50] SET_TSC 2: rdtsc is SIGSEGV");
	child_exits(tsc_off_child, SIGSEGV, "[1.50] inherited over fork");
	child_exits(tsc_handler, 0, "[1.50] a handler may allow it again");
	CHECK(sh->v[0] == SIGSEGV && sh->v[1] == 0x80, "[1.50] si_code is SI_KERNEL");
	child_exits(tsc_of_others, 0, "[1.50] it comes back");
	child_exits(reads_tsc, 0, "[1.50] others are not concerned");
}

static long set_dumpable_vm(long v)
{
	static char stack[16384] __attribute__((aligned(16)));
	int f(void *a) { return pr(PR_SET_DUMPABLE, (long)a, 0, 0, 0) ? 1 : 0; }
	int kid = clone(f, stack + sizeof stack, CLONE_VM | SIGCHLD, (void *)v), st;
	return kid < 0 || waitpid(kid, &st, 0) != kid ? -1 : st;
}

static int securebits_over_exec_fork(void)
{
	pr(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(pr(PR_GET_KEEPCAPS, 0, 0, 0, 0));
	return WEXITSTATUS(reap(pid));
}

CASE(rest)
{
	CHECK_OK(set_dumpable_vm(0), "[1.34] a process that shares the memory sets it");
	CHECK_EQ(get_dumpable(0), 0, "[1.34] for all that share it");
	set_dumpable(1);
	child_exits(securebits_over_exec_fork, 1, "[1.39,6.19] KEEPCAPS is inherited over fork");
	CHECK_ERR(pr(0x59616d61, getpid(), 0, 0, 0), EINVAL, "[1.49] SET_PTRACER where nobody implements it: EINVAL");
	CHECK_OK(pr(32, 0, 0, 0, 0), "[1.50] TASK_PERF_EVENTS_ENABLE");
	CHECK_ERR(pr(PR_SET_TSC, 0, 0, 0, 0), EINVAL, "[1.50] SET_TSC 0: EINVAL");
	CHECK_ERR(pr(PR_GET_TSC, (long)BADPTR, 0, 0, 0), EFAULT, "[1.50] GET_TSC to a bad pointer: EFAULT");
	CHECK_ERR(pr(65, 1, 0, 0, 1), EINVAL, "[1.51] SET_MDWE with arg5: EINVAL");
	static const int none[] = { 0, -1, 5, 6, 9, 10, 11, 12, 19, 20, 43, 44, 45, 50, 51, 54, 55, 56 };
	bool all = true;
	for (unsigned i = 0; i < sizeof none / sizeof *none; i++)
		all &= pr(none[i], 1, 0, 0, 0) == -1 && errno == EINVAL;
	CHECK(all, "[1.2] unknown options, and those of other machines: EINVAL");
	CHECK_EQ(pr(1L << 32 | PR_GET_DUMPABLE, 0, 0, 0, 0), 1, "[1.1] the high half of the option is ignored");
	CHECK_EQ(pr(PR_GET_KEEPCAPS, 9, 9, 9, 9), 0, "[1.39] GET ignores its arguments");
	CHECK_EQ(pr(PR_CAPBSET_READ, CAP_CHOWN, 9, 9, 9), 1, "[1.40] READ ignores the others");
	CHECK_ERR(pr(47, 1, CAP_KILL, 0, 1), EINVAL, "[1.41] arg5 must be 0");
}

/* ---- /proc/pid/timerslack_ns ---- */

static long slack_file(void)
{
	char b[32];
	return read_file("/proc/self/timerslack_ns", b, sizeof b) > 0 ? atol(b) : -1;
}

CASE(timerslack_file)
{
	const char *file = "/proc/self/timerslack_ns";
	struct stat st;
	CHECK(stat(file, &st) == 0 && (st.st_mode & 07777) == 0666, "[1.43] /proc/pid/timerslack_ns has the mode 0666");
	CHECK_ERR(stat("/proc/thread-self/timerslack_ns", &st), ENOENT, "[1.43] threads have none of their own");
	CHECK_EQ(slack_file(), 50000, "[1.43] it shows the slack");
	CHECK(write_text(file, "777") == 3 && slack(0) == 777, "[1.43] and sets it");
	CHECK(write_text(file, "0") == 1 && slack(0) == 50000, "[1.43] 0: to the default");
	CHECK_ERR(write_text(file, "x"), EINVAL, "[1.43] no number: EINVAL");
	CHECK_ERR(write_text(file, "-1"), EINVAL, "[1.43] a negative one: EINVAL");
	NEED_ROOT("[1.43] the slack of others, and of real-time threads");
	struct agent *p = spawn(NULL), *q = spawn(NULL);
	static char path[64];
	snprintf(path, sizeof path, "/proc/%d/timerslack_ns", p->pid);
	char *shared = strcpy((char *)&sh->v[8], path);
	long write_there(long name) { return write_text((char *)name, "4711"); }
	CHECK_EQ(call(q, write_there, (long)shared), 4, "[1.43] of another process, with CAP_SYS_NICE");
	CHECK_EQ(call(p, slack, 0), 4711, "[1.43] it is set");
	REQUIRE(call(q, become, 1000) == 0);
	CHECK(call(q, write_there, (long)shared) == -1 && q->err == EPERM, "[1.43] without: EPERM, though the file can be opened");
	CHECK(call(q, can_read, (long)shared) == -1 && q->err == EPERM, "[1.43] to read it as well");
	retire(p, NULL);
	retire(q, NULL);
	pr(PR_SET_TIMERSLACK, 66666, 0, 0, 0);
	struct sched_param prio = { 1 };
	REQUIRE(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &prio) == 0);
	CHECK_EQ(slack_file(), 0, "[1.43] a real-time thread has none");
	CHECK(write_text(file, "777") == 3 && slack_file() == 0, "[1.43] and gets none");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		prio.sched_priority = 0;
		_exit(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &prio) == 0 && slack(0) == 0 ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[1.43] its child's default is 0");
	prio.sched_priority = 0;
	REQUIRE(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, &prio) == 0);
	CHECK_EQ(slack(0), 50000, "[1.43] no longer real-time: the default, not what it was before");
}

/* ---- what came later ---- */

static long futex_hash(long op, long n, long flags) { return pr(78, op, n, flags, 0); }
static long buckets(long x) { (void)x; return futex_hash(2, 0, 0); }

CASE(futex_hash)
{
	IF_SINCE(6, 18, "[1.2] PR_FUTEX_HASH") {
		CHECK_EQ(buckets(0), 0, "[1.2] PR_FUTEX_HASH: no buckets at first");
		CHECK_OK(futex_hash(1, 8, 0), "[1.2] SET");
		CHECK_EQ(buckets(0), 8, "[1.2] as set");
		CHECK_ERR(futex_hash(1, 1, 0), EINVAL, "[1.2] 1: EINVAL");
		CHECK_ERR(futex_hash(1, 6, 0), EINVAL, "[1.2] no power of two: EINVAL");
		CHECK_ERR(futex_hash(1, 8, 1), EINVAL, "[1.2] with a flag: EINVAL");
		CHECK_ERR(futex_hash(1, 1L << 31, 0), ENOMEM, "[1.2] too many: ENOMEM");
		CHECK_ERR(futex_hash(3, 0, 0), EINVAL, "[1.2] an unknown operation: EINVAL");
		CHECK_EQ(buckets(0), 8, "[1.2] nothing has changed");
		child_exits(({ int f(void) { return buckets(0); } f; }), 0, "[1.2] a child starts without");
		CHECK_OK(futex_hash(1, 0, 0), "[1.2] SET 0");
		CHECK_ERR(futex_hash(1, 8, 0), EBUSY, "[1.2] there is no way back: EBUSY");
		struct agent *p = spawn(NULL);
		spawn_thread(p);
		CHECK(call(p, buckets, 0) >= 16, "[1.2] a program with threads has some");
		retire(p, NULL);
	}
}

static long arch(long code, unsigned long arg) { return syscall(SYS_arch_prctl, code, arg); }

CASE(arch)
{
	unsigned long v = 0;
	CHECK_EQ(arch(0x1011, 0), 1, "[arch] ARCH_GET_CPUID: CPUID may be executed");
	CHECK(arch(0x1012, 1) == 0 || errno == ENODEV, "[arch] ARCH_SET_CPUID: allowed, or not to be had");
	CHECK(arch(0x1021, (long)&v) == 0 && (v & 3) == 3, "[arch] ARCH_GET_XCOMP_SUPP: x87 and SSE at least");
	CHECK(arch(0x1022, (long)&v) == 0 && (v & 3) == 3, "[arch] ARCH_GET_XCOMP_PERM: they may be used");
	CHECK_ERR(arch(0x1021, 0x10), EFAULT, "[arch] a bad pointer: EFAULT");
	CHECK_ERR(arch(0x1023, 1), EOPNOTSUPP, "[arch] ARCH_REQ_XCOMP_PERM of what is there anyway: EOPNOTSUPP");
	CHECK_ERR(arch(0x1023, 64), EINVAL, "[arch] of what there can't be: EINVAL");
	CHECK_ERR(arch(0x2003, 0), EEXIST, "[arch] ARCH_MAP_VDSO_64: there is one: EEXIST");
	CHECK_ERR(arch(0x1000, 0), EINVAL, "[arch] an unknown code: EINVAL");
	CHECK_ERR(arch(0x1001, 1L << 47), EPERM, "[arch] ARCH_SET_GS outside of user memory: EPERM");
	CHECK_ERR(arch(0x1002, -1), EPERM, "[arch] ARCH_SET_FS, too");
	CHECK_ERR(arch(0x1003, 0x10), EFAULT, "[arch] ARCH_GET_FS to a bad pointer: EFAULT");
	CHECK(arch(1L << 32 | 0x1001, 4096) == 0 && arch(0x1004, (long)&v) == 0 && v == 4096, "[arch] the high half of the code is ignored");
	arch(0x1001, 0);
}

/* ---- every argument of every option ---- */

static const struct refusal {
	int option;
	const char *rule, *name;
	long arg2, arg3;	/* what is accepted, with the rest 0 */
	int unused;		/* bit n: argument n has to be 0 */
} refusals[] = {
	{ PR_SET_NO_NEW_PRIVS, "1.38", "SET_NO_NEW_PRIVS", 1, 0, 1 << 3 | 1 << 4 | 1 << 5 },
	{ PR_GET_NO_NEW_PRIVS, "1.38", "GET_NO_NEW_PRIVS", 0, 0, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 },
	{ 47, "1.41", "CAP_AMBIENT_IS_SET", 1, CAP_KILL, 1 << 4 | 1 << 5 },
	{ 47, "1.41", "CAP_AMBIENT_LOWER", 3, CAP_KILL, 1 << 4 | 1 << 5 },
	{ 47, "1.41", "CAP_AMBIENT_CLEAR_ALL", 4, 0, 1 << 3 | 1 << 4 | 1 << 5 },
	{ 41, "1.47", "SET_THP_DISABLE", 1, 0, 1 << 4 | 1 << 5 },
	{ 42, "1.47", "GET_THP_DISABLE", 0, 0, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 },
	{ 33, "1.48", "MCE_KILL_CLEAR", 0, 0, 1 << 3 | 1 << 4 | 1 << 5 },
	{ 33, "1.48", "MCE_KILL_SET", 1, 1, 1 << 4 | 1 << 5 },
	{ 34, "1.48", "MCE_KILL_GET", 0, 0, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 },
	{ 65, "1.51", "SET_MDWE", 0, 0, 1 << 3 | 1 << 4 | 1 << 5 },
	{ 66, "1.51", "GET_MDWE", 0, 0, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 },
	{ 67, "1.51", "SET_MEMORY_MERGE", 0, 0, 1 << 3 | 1 << 4 | 1 << 5 },
	{ 68, "1.51", "GET_MEMORY_MERGE", 0, 0, 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 },
	{ 52, "1.51", "GET_SPECULATION_CTRL", 0, 0, 1 << 3 | 1 << 4 | 1 << 5 },
	{ 0x41555856, "1.51", "GET_AUXV", 0, 0, 1 << 4 | 1 << 5 },
};

CASE(arguments_that_must_be_zero)
{
	IF_SINCE(6, 18, "[1.38] arguments that must be 0")
	for (unsigned i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		const struct refusal *r = &refusals[i];
		char text[128];
		snprintf(text, sizeof text, "[%s] %s alone is accepted", r->rule, r->name);
		CHECK(pr(r->option, r->arg2, r->arg3, 0, 0) >= 0, text);
		for (int n = 2; n <= 5; n++) {
			if (!(r->unused & 1 << n))
				continue;
			static const long values[] = { 1, -1, 1L << 32 };
			bool refused = true;
			for (int v = 0; v < 3; v++) {
				long a[6] = { 0, 0, r->arg2, r->arg3, 0, 0 };
				a[n] = values[v];
				refused &= pr(r->option, a[2], a[3], a[4], a[5]) == -1 && errno == EINVAL;
			}
			snprintf(text, sizeof text, "[1.1,%s] %s with anything in arg%d: EINVAL, in its high half as well", r->rule, r->name, n);
			CHECK(refused, text);
		}
	}
}

/* Options that look at arg2 alone, or at none, with what they return or -errno. */
CASE(arguments_that_do_not_count)
{
	static char name[16];
	static long where[2];
	static const struct { long option; const char *rule, *name; long arg2, want; } some[] = {
		{ 1, "1.17", "SET_PDEATHSIG", 0, 0 }, { 2, "1.18", "GET_PDEATHSIG", (long)where, 0 },
		{ 3, "1.34", "GET_DUMPABLE", 0, 1 }, { 4, "1.34", "SET_DUMPABLE", 1, 0 },
		{ 7, "1.39", "GET_KEEPCAPS", 0, 0 }, { 8, "1.39", "SET_KEEPCAPS", 0, 0 },
		{ 13, "1.50", "GET_TIMING", 0, 0 }, { 14, "1.50", "SET_TIMING", 0, 0 },
		{ 15, "1.31", "SET_NAME", (long)name, 0 }, { 16, "1.32", "GET_NAME", (long)name, 0 },
		{ 21, "1.46", "GET_SECCOMP", 0, 0 }, { 22, "1.46", "SET_SECCOMP", 3, -EINVAL },
		{ 23, "1.40", "CAPBSET_READ", 40, 1 }, { 23, "1.40", "CAPBSET_READ", 1L << 32, -EINVAL },
		{ 25, "1.50", "GET_TSC", (long)where, 0 }, { 26, "1.50", "SET_TSC", 1, 0 },
		{ 27, "1.42", "GET_SECUREBITS", 0, 0 }, { 29, "1.43", "SET_TIMERSLACK", 0, 0 },
		{ 30, "1.43", "GET_TIMERSLACK", 0, 50000 }, { 31, "1.50", "TASK_PERF_EVENTS_DISABLE", 0, 0 },
		{ 32, "1.50", "TASK_PERF_EVENTS_ENABLE", 0, 0 }, { 36, "1.3", "SET_CHILD_SUBREAPER", 0, 0 },
		{ 37, "1.3", "GET_CHILD_SUBREAPER", (long)where, 0 }, { 40, "1.44", "GET_TID_ADDRESS", (long)where, 0 },
		{ 8, "1.39", "SET_KEEPCAPS", 1L << 32, -EINVAL }, { 38, "1.38", "SET_NO_NEW_PRIVS", 1L << 32 | 1, -EINVAL },
		{ 14, "1.50", "SET_TIMING", 1L << 32, -EINVAL }, { 41, "1.47", "SET_THP_DISABLE", 2, -EINVAL },
	};
	for (unsigned i = 0; i < sizeof some / sizeof *some; i++) {
		char text[128];
		snprintf(text, sizeof text, "[%s] %s(%#lx): arg3 to arg5 do not count", some[i].rule, some[i].name, some[i].arg2);
		errno = 0;
		long r = pr(some[i].option, some[i].arg2, 1, -1, 1L << 32);
		CHECK((r == -1 ? -errno : r) == some[i].want, text);
	}
}

static int thp_over_fork(void)
{
	pr(41, 1L << 32, 0, 0, 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(pr(42, 0, 0, 0, 0));
	return WEXITSTATUS(reap(pid)) * 16 + pr(42, 0, 0, 0, 0);
}

static int flusher(void)
{
	if (pr(58, 0, 0, 0, 0) != 0 || pr(57, 1, 0, 0, 0) != 0 || pr(58, 0, 0, 0, 0) != 1)
		return 1;
	static const long odd[][4] = { { 2, 0, 0, 0 }, { -1, 0, 0, 0 }, { 1, 1, 0, 0 }, { 1, 0, 1, 0 }, { 1, 0, 0, 1 } };
	for (int i = 0; i < 5; i++)
		if (pr(57, odd[i][0], odd[i][1], odd[i][2], odd[i][3]) != -1 || errno != EINVAL)
			return 2;
	for (int i = 0; i < 4; i++)
		if (pr(58, i == 0, i == 1, i == 2, i == 3) != -1 || errno != EINVAL)
			return 3;
	pid_t pid = fork();
	if (pid == 0)
		_exit(pr(58, 0, 0, 0, 0));
	return reap(pid) == 1 << 8 ? 0 : 4;
}

CASE(clauses)
{
	child_exits(thp_over_fork, 0x11, "[1.47] any word but 0 disables, and is inherited over fork");
	CHECK_OK(pr(33, 1, 2, 0, 0), "[1.48] SET to the default");
	CHECK_EQ(pr(34, 0, 0, 0, 0), 2, "[1.48] reads as it");
	CHECK(pr(33, 1, 1, 0, 0) == 0 && pr(34, 0, 0, 0, 0) == 1, "[1.48] SET early");
	unsigned char aux[1024], whole[1024];
	memset(aux, 0xa5, sizeof aux);
	long n = pr(0x41555856, (long)whole, sizeof whole, 0, 0);
	CHECK(n > 20 && pr(0x41555856, (long)aux, 20, 0, 0) == n && !memcmp(aux, whole, 20) && aux[20] == 0xa5, "[1.51] GET_AUXV copies what there is room for, and returns the whole size");
	IF_SINCE(6, 18, "[1.51] the size of the vector")
		CHECK_EQ(n, 448, "[1.51] of 28 pairs");
	char b[16];
	CHECK_ERR(pr(PR_SET_NAME, (long)BADPTR, 0, 0, 0), EFAULT, "[1.31] SET_NAME from nowhere: EFAULT");
	CHECK_ERR(pr(PR_GET_NAME, (long)map_readonly(), 0, 0, 0), EFAULT, "[1.32] GET_NAME to memory that can't be written: EFAULT");
	CHECK(pr(PR_GET_NAME, (long)b, 0, 0, 0) == 0, "[1.32] and otherwise 0");
	unsigned tsc[3] = { -1, -1, -1 };
	CHECK(pr(PR_GET_TSC, (long)(tsc + 1), 0, 0, 0) == 0 && tsc[0] + 1 == 0 && tsc[1] == 1 && tsc[2] + 1 == 0, "[1.50] GET_TSC stores an int");
	long word[3] = { -1, -1, -1 };
	CHECK(pr(40, (long)(word + 1), 0, 0, 0) == 0 && word[0] == -1 && word[1] != -1 && word[2] == -1, "[1.44] GET_TID_ADDRESS stores 8 bytes");
	struct agent *a = spawn(NULL);
	REQUIRE(call(a, no_sysres, 0) == 0);
	long exe_fd(long fd)
	{
		struct mm_map m;
		read_map(&m);
		m.exe_fd = fd;
		return pr(35, 14, (long)&m, sizeof m, 0);
	}
	CHECK(call(a, exe_fd, 0) == -1 && a->err == EPERM, "[1.45] MAP with a new program file needs a capability: EPERM");
	retire(a, NULL);
	if (has_cap(24))
		child_exits(flusher, 0, "[1.50] IO_FLUSHER: 0 or 1, without other arguments; inherited over fork");
	else
		tap_skip("[1.50] IO_FLUSHER with CAP_SYS_RESOURCE", "not had");
	NEED_ROOT("[1.41] RAISE, [1.21] user namespaces");
	a = spawn(NULL);
	long raise_inheritable(long cap)
	{
		struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
		struct __user_cap_data_struct d[2] = { { 0, 0, 1u << cap }, { 0, 0, 0 } };
		return syscall(SYS_capset, &h, d) == 0 ? pr(47, 2, cap, 0, 0) : 99;
	}
	CHECK(call(a, raise_inheritable, CAP_KILL) == -1 && a->err == EPERM, "[1.41] RAISE of one that is inheritable and not permitted: EPERM");
	retire(a, NULL);
	a = spawn(NULL);
	long enter_user_ns(long x) { pr(PR_SET_PDEATHSIG, x, 0, 0, 0); return unshare(CLONE_NEWUSER); }
	long pdeathsig(long x) { int v = -1; pr(PR_GET_PDEATHSIG, (long)&v, 0, 0, 0); return v + x; }
	if (call(a, enter_user_ns, SIGUSR2) == 0)
		CHECK_EQ(call(a, pdeathsig, 0), SIGUSR2, "[1.21] a new user namespace keeps the parent-death signal");
	else
		tap_skip("[1.21] a new user namespace", "there are none");
	retire(a, NULL);
	struct agent *p = spawn(NULL);
	REQUIRE(call(p, become, 1000) == 0);
	struct stat st;
	char path[64];
	long become_group(long gid) { return syscall(SYS_setresgid, gid, gid, gid); }
	struct agent *q = spawn(NULL);
	REQUIRE(call(q, become_group, 1000) == 0);
	snprintf(path, sizeof path, "/proc/%d", q->pid);
	CHECK(stat(path, &st) == 0 && st.st_gid == 1000, "[1.37] the directory of a process that is not dumpable keeps its egid");
	snprintf(path, sizeof path, "/proc/%d/status", q->pid);
	CHECK(stat(path, &st) == 0 && st.st_gid == 0 && st.st_uid == 0, "[1.37] its files are of root's group");
	REQUIRE(call(q, set_dumpable, 1) == 0);
	CHECK(stat(path, &st) == 0 && st.st_gid == 1000, "[1.37] dumpable, of its own");
	retire(p, NULL);
	retire(q, NULL);
}
