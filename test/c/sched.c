/* sched.c - scheduling policies and priorities (sched(7), sched_setattr(2), setpriority(2), ioprio_set(2)). */
#include "lib/tap.h"

#define MS 1000000LL
#define KEEP_POLICY 8
#define KEEP_PARAMS 0x10
#define UTIL_CLAMP_MIN 0x20
#define RESET_FLAG 0x40000000
#define EXT 7

struct attr {
	unsigned size, policy;
	unsigned long flags;
	int nice;
	unsigned priority;
	unsigned long runtime, deadline, period;
	unsigned util_min, util_max;
};

static int setattr(pid_t pid, void *a, unsigned flags) { return syscall(SYS_sched_setattr, (long)pid, a, (long)flags); }
static int getattr(pid_t pid, void *a, unsigned size, unsigned flags)
{
	return syscall(SYS_sched_getattr, (long)pid, a, (long)size, (long)flags);
}

static long long now_ns(clockid_t c)
{
	struct timespec t = { 0, 0 };
	clock_gettime(c, &t);
	return t.tv_sec * 1000 * MS + t.tv_nsec;
}

static void spin_ms(long ms)
{
	long long end = now_ns(CLOCK_MONOTONIC) + ms * MS;
	while (now_ns(CLOCK_MONOTONIC) < end)
		;
}

static int set(pid_t pid, int policy, int priority)
{
	struct sched_param p = { .sched_priority = priority };
	return syscall(SYS_sched_setscheduler, (long)pid, (long)policy, &p);
}

/* The calling process and what it makes from now on run on one CPU only; returns which. */
static int pin(int which)
{
	cpu_set_t set;
	MUST(sched_getaffinity(0, sizeof set, &set));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &set) && which-- == 0) {
			CPU_ZERO(&set);
			CPU_SET(cpu, &set);
			MUST(sched_setaffinity(0, sizeof set, &set));
			return cpu;
		}
	}
	return -1;
}

#define NEED_RT(text) do { NEED_ROOT(text); if (set(0, SCHED_FIFO, 1)) { tap_skip(text, "no real-time policies here"); return; } set(0, SCHED_OTHER, 0); } while (0)

CASE(arguments)
{
	struct sched_param p = { 0 };
	CHECK(sched_get_priority_max(SCHED_FIFO) == 99 && sched_get_priority_min(SCHED_RR) == 1, "[sched] FIFO and RR have priorities 1 to 99");
	CHECK(sched_get_priority_max(SCHED_OTHER) == 0 && sched_get_priority_min(SCHED_BATCH) == 0 && sched_get_priority_max(SCHED_IDLE) == 0 && sched_get_priority_max(6) == 0, "[sched] the others none");
	CHECK_ERR(sched_get_priority_max(4), EINVAL, "[sched] policy 4: EINVAL");
	CHECK_ERR(sched_get_priority_min(-1), EINVAL, "[sched] policy -1: EINVAL");
	CHECK_ERR(set(0, 4, 0), EINVAL, "[sched] sched_setscheduler to policy 4: EINVAL");
	CHECK_ERR(set(0, -1, 0), EINVAL, "[sched] to policy -1: EINVAL");
	CHECK_ERR(set(-1, SCHED_OTHER, 0), EINVAL, "[sched] of pid -1: EINVAL");
	CHECK_ERR(set(4999999, SCHED_OTHER, 0), ESRCH, "[sched] of nobody: ESRCH");
	CHECK_ERR(set(0, SCHED_OTHER, 1), EINVAL, "[sched] SCHED_OTHER with a priority: EINVAL");
	CHECK_ERR(set(0, SCHED_FIFO, 0), EINVAL, "[sched] SCHED_FIFO without: EINVAL");
	CHECK_ERR(set(0, SCHED_FIFO, 100), EINVAL, "[sched] with 100: EINVAL");
	CHECK_ERR(set(0, 6, 0), EINVAL, "[sched] SCHED_DEADLINE needs sched_setattr: EINVAL");
	CHECK_ERR(syscall(SYS_sched_setscheduler, 0L, 0L, NULL), EINVAL, "[sched] no parameter: EINVAL");
	CHECK_ERR(syscall(SYS_sched_setscheduler, 0L, 0L, BADPTR), EFAULT, "[sched] bad pointer: EFAULT");
	CHECK_ERR(syscall(SYS_sched_getparam, 0L, NULL), EINVAL, "[sched] sched_getparam to nowhere: EINVAL");
	CHECK_ERR(sched_getparam(-1, &p), EINVAL, "[sched] of pid -1: EINVAL");
	CHECK_ERR(sched_getscheduler(4999999), ESRCH, "[sched] sched_getscheduler of nobody: ESRCH");
	CHECK_OK(set(0, SCHED_BATCH | RESET_FLAG, 0), "[sched] SCHED_BATCH, reset on fork");
	CHECK_EQ(sched_getscheduler(0), SCHED_BATCH | RESET_FLAG, "[sched] and both are told");
	/* reset on fork stays, but for root */
	IF_ROOT("[sched] SCHED_IDLE") CHECK_OK(set(0, SCHED_IDLE, 0), "[sched] SCHED_IDLE");
	struct timespec t = { 7, 7 };
	CHECK(sched_rr_get_interval(0, &t) == 0 && t.tv_sec == 0, "[sched] sched_rr_get_interval");
	CHECK_ERR(sched_rr_get_interval(-1, &t), EINVAL, "[sched] of pid -1: EINVAL");
}

CASE(attributes)
{
	static union { struct attr a; char pad[8192]; } u;
	struct attr *a = &u.a;
	CHECK(getattr(0, a, 56, 0) == 0 && a->size == 56 && a->policy == SCHED_OTHER && a->priority == 0, "[sched] sched_getattr");
	CHECK(getattr(0, a, 48, 0) == 0 && a->size == 48, "[sched] in its first size");
	memset(&u, 0xff, sizeof u);
	CHECK(getattr(0, a, 4096, 0) == 0 && a->size == 56 && u.pad[56] == 0 && u.pad[4095] == 0 && u.pad[4096] == -1, "[sched] in a larger one, the rest cleared");
	CHECK_ERR(getattr(0, a, 47, 0), EINVAL, "[sched] too small: EINVAL");
	CHECK_ERR(getattr(0, a, 4097, 0), EINVAL, "[sched] too large: EINVAL");
	CHECK_ERR(getattr(0, a, 48, 1), EINVAL, "[sched] flags: EINVAL");
	CHECK_ERR(getattr(-1, a, 48, 0), EINVAL, "[sched] pid -1: EINVAL");
	CHECK_ERR(getattr(0, NULL, 48, 0), EINVAL, "[sched] to nowhere: EINVAL");
	CHECK_ERR(getattr(0, BADPTR, 48, 0), EFAULT, "[sched] bad pointer: EFAULT");
	CHECK_ERR(getattr(4999999, a, 48, 0), ESRCH, "[sched] of nobody: ESRCH");

	memset(&u, 0, sizeof u);
	CHECK_OK(setattr(0, a, 0), "[sched] sched_setattr of size 0 is that of the first");
	a->size = 40;
	CHECK_ERR(setattr(0, a, 0), E2BIG, "[sched] too small: E2BIG");
	CHECK_EQ(a->size, 56, "[sched] and the known size is stored");
	a->size = 5000;
	CHECK_ERR(setattr(0, a, 0), E2BIG, "[sched] too large: E2BIG");
	a->size = 100;
	u.pad[90] = 1;
	CHECK_ERR(setattr(0, a, 0), E2BIG, "[sched] an unknown field that is not 0: E2BIG");
	u.pad[90] = 0;
	a->size = 100;
	CHECK_OK(setattr(0, a, 0), "[sched] that is: well");
	a->size = 56;
	CHECK_ERR(setattr(0, a, 1), EINVAL, "[sched] flags: EINVAL");
	CHECK_ERR(setattr(-1, a, 0), EINVAL, "[sched] pid -1: EINVAL");
	CHECK_ERR(setattr(0, NULL, 0), EINVAL, "[sched] from nowhere: EINVAL");
	CHECK_ERR(setattr(0, BADPTR, 0), EFAULT, "[sched] bad pointer: EFAULT");
	a->policy = SCHED_IDLE;
	a->nice = 7;
	CHECK_OK(setattr(0, a, 0), "[sched] SCHED_IDLE with a nice value");
	CHECK_EQ(getpriority(PRIO_PROCESS, 0), 0, "[sched] which stays as it was");
	a->policy = SCHED_OTHER;
	a->nice = 0;
	setattr(0, a, 0);
	a->flags = 0x80;
	CHECK_ERR(setattr(0, a, 0), EINVAL, "[sched] unknown flag in it: EINVAL");
	a->flags = UTIL_CLAMP_MIN;
	a->size = 48;
	CHECK_ERR(setattr(0, a, 0), EINVAL, "[sched] a clamp in the first size: EINVAL");
	a->flags = 0;
	a->policy = EXT + 1;
	CHECK_ERR(setattr(0, a, 0), EINVAL, "[sched] unknown policy: EINVAL");
	a->policy = -1;
	CHECK_ERR(setattr(0, a, 0), EINVAL, "[sched] policy -1: EINVAL");
	a->policy = SCHED_BATCH;
	a->nice = 100;
	CHECK_OK(setattr(0, a, 0), "[sched] SCHED_BATCH with nice 100");
	CHECK(getpriority(PRIO_PROCESS, 0) == 19 && sched_getscheduler(0) == SCHED_BATCH, "[sched] is nice 19");
	a->policy = SCHED_OTHER;
	a->flags = KEEP_POLICY;
	CHECK(setattr(0, a, 0) == 0 && sched_getscheduler(0) == SCHED_BATCH, "[sched] KEEP_POLICY keeps the policy");
	a->nice = 5;
	a->flags = KEEP_PARAMS | 1;
	CHECK(setattr(0, a, 0) == 0 && getpriority(PRIO_PROCESS, 0) == 19, "[sched] KEEP_PARAMS the nice value");
	CHECK_EQ(sched_getscheduler(0), SCHED_BATCH | RESET_FLAG, "[sched] and the policy, but RESET_ON_FORK is set");
	CHECK(getattr(0, a, 48, 0) == 0 && a->flags == 1 && a->policy == SCHED_BATCH && a->nice == 19, "[sched] which sched_getattr tells as a flag");
	memset(&u, 0, sizeof u);
	a->size = 48;
	a->policy = 6;
	CHECK_ERR(setattr(0, a, 0), EINVAL, "[sched] SCHED_DEADLINE without times: EINVAL");
	a->runtime = 100;
	a->deadline = a->period = 10 * MS;
	CHECK_ERR(setattr(0, a, 0), EINVAL, "[sched] a runtime below 1024 ns: EINVAL");
	a->runtime = 20 * MS;
	CHECK_ERR(setattr(0, a, 0), EINVAL, "[sched] longer than its deadline: EINVAL");
	a->runtime = 1 * MS;
	a->deadline = 20 * MS;
	CHECK_ERR(setattr(0, a, 0), EINVAL, "[sched] which is longer than its period: EINVAL");
	IF_SINCE(6, 12, "[sched] the slice of a fair thread") {
		memset(&u, 0, sizeof u);
		a->size = 48;
		a->nice = 19;
		a->flags = 1;
		a->runtime = 1 * MS;
		CHECK(setattr(0, a, 0) == 0 && getattr(0, a, 48, 0) == 0 && a->runtime == 1 * MS, "[sched] the slice of a fair thread");
		a->runtime = 1;
		CHECK(setattr(0, a, 0) == 0 && getattr(0, a, 48, 0) == 0 && a->runtime == 100000, "[sched] is 100 us at least");
		a->runtime = 1000 * MS;
		CHECK(setattr(0, a, 0) == 0 && getattr(0, a, 48, 0) == 0 && a->runtime == 100 * MS, "[sched] and 100 ms at most");
	}
}

CASE(permissions)
{
	NEED_RT("[sched,cred] what an ordinary user may");
	struct rlimit none = { 0, 0 }, ten = { 10, 10 };
	struct attr a = { .size = 48, .policy = 6, .runtime = MS, .deadline = 10 * MS, .period = 10 * MS };
	struct agent *root = spawn(NULL);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		MUST(setrlimit(RLIMIT_RTPRIO, &none));
		MUST(setrlimit(RLIMIT_NICE, &none));
		MUST(setresuid(54321, 54321, 54321));
		CHECK_ERR(set(0, SCHED_FIFO, 1), EPERM, "[sched,cred] FIFO without RLIMIT_RTPRIO: EPERM");
		CHECK_ERR(set(root->pid, SCHED_BATCH, 0), EPERM, "[sched,cred] another user's process: EPERM");
		CHECK_ERR(setattr(0, &a, 0), EPERM, "[sched,cred] SCHED_DEADLINE: EPERM");
		CHECK_ERR(setpriority(PRIO_PROCESS, 0, -1), EACCES, "[sched,cred] a lower nice value: EACCES");
		CHECK_ERR(setpriority(PRIO_PROCESS, root->pid, 5), EPERM, "[sched,cred] of another user's: EPERM");
		CHECK_OK(setpriority(PRIO_PROCESS, 0, 5), "[sched] a higher one");
		CHECK_ERR(setpriority(PRIO_PROCESS, 0, 4), EACCES, "[sched,cred] and there is no way back: EACCES");
		CHECK_OK(set(0, SCHED_IDLE, 0), "[sched] SCHED_IDLE");
		CHECK_ERR(set(0, SCHED_OTHER, 0), EPERM, "[sched,cred] nor from there: EPERM");
		CHECK_OK(set(0, SCHED_IDLE | RESET_FLAG, 0), "[sched] reset on fork");
		CHECK_ERR(set(0, SCHED_IDLE, 0), EPERM, "[sched,cred] can't be taken back: EPERM");
		CHECK_ERR(syscall(SYS_ioprio_set, 1L, 0L, (1L << 13) | 4), EPERM, "[sched,cred] real-time input and output: EPERM");
		CHECK_ERR(syscall(SYS_sched_setaffinity, root->pid, 8L, &(unsigned long){ 1 }), EPERM, "[sched,cred] another user's affinity: EPERM");
		_exit(0);
	}
	reap(pid);
	pid = MUST(fork());
	if (pid == 0) {
		if (setrlimit(RLIMIT_RTPRIO, &ten)) {
			tap_skip("[sched,limit] RLIMIT_RTPRIO", "can't be raised here");
			_exit(0);
		}
		MUST(setresuid(54321, 54321, 54321));
		CHECK_OK(set(0, SCHED_FIFO, 10), "[sched,limit] RLIMIT_RTPRIO 10 allows 10");
		CHECK_ERR(set(0, SCHED_FIFO, 11), EPERM, "[sched,limit] and no more: EPERM");
		CHECK_OK(set(0, SCHED_RR, 5), "[sched] less, and RR");
		MUST(setrlimit(RLIMIT_RTPRIO, &none));
		CHECK_OK(set(0, SCHED_RR, 4), "[sched] without the limit still less");
		CHECK_ERR(set(0, SCHED_RR, 5), EPERM, "[sched,limit] but no more: EPERM");
		CHECK_ERR(set(0, SCHED_FIFO, 4), EPERM, "[sched,limit] and no other real-time policy: EPERM");
		CHECK_OK(set(0, SCHED_OTHER, 0), "[sched] the ordinary one");
		_exit(0);
	}
	reap(pid);
	retire(root, NULL);
}

/* A pinned child of the case that spins and counts in sh->v[n], until it is killed. */
static pid_t spinner(int n, int policy, int priority)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		if (policy >= 0 && set(0, policy, priority))
			_exit(1);
		for (;;)
			sh->v[n]++;
	}
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	reap(pid);
}

/* To die takes a turn as well: all are killed before the first is waited for. */
static void end_all(pid_t a, pid_t b, pid_t c)
{
	kill(a, SIGKILL);
	kill(b, SIGKILL);
	if (c)
		kill(c, SIGKILL);
	for (int i = 0; i < 2 + !!c; i++)
		reap_any(NULL);
}

CASE(fifo_before_fair)
{
	NEED_RT("[sched] FIFO tasks come before fair ones");
	pin(0);
	pid_t pid = spinner(0, -1, 0);
	REQUIRE(AWAIT(sh->v[0] > 0));
	MUST(set(0, SCHED_FIFO, 10));
	/* after long enough, fair ones get a share: a stall of the machine in these 40 ms is none of the FIFO task's turn */
	long before;
	long long start;
	do {
		before = sh->v[0];
		start = now_ns(CLOCK_MONOTONIC);
		spin_ms(40);
	} while (sh->v[0] != before && now_ns(CLOCK_MONOTONIC) - start > 400 * MS);
	CHECK_EQ(sh->v[0] - before, 0, "[sched] while a FIFO task runs no fair one does");
	sched_yield();
	CHECK_EQ(sh->v[0] - before, 0, "[sched] not even when it yields");
	CHECK(proc_stat(getpid(), 18) == -11 && proc_stat(getpid(), 40) == 10 && proc_stat(getpid(), 41) == SCHED_FIFO, "[12.1] /proc/PID/stat tells its priority and policy");
	MUST(set(0, SCHED_OTHER, 0));
	CHECK(AWAIT(sh->v[0] > before), "[sched] but when it is an ordinary one again");
	end(pid);
}

/* Children that note their turn: each appends its number to sh->v[8..], sh->v[0] counts. */
static pid_t noter(int number)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		sh->v[8 + __atomic_fetch_add(&sh->v[0], 1, __ATOMIC_SEQ_CST)] = number;
		_exit(0);
	}
	return pid;
}

CASE(priorities_in_order)
{
	NEED_RT("[sched] priorities in order");
	static const int order[] = { 11, 13, 12 };
	pin(0);
	MUST(set(0, SCHED_FIFO, 20));
	for (int i = 0; i < 3; i++) {
		pid_t pid = noter(i + 1);
		MUST(set(pid, SCHED_OTHER, 0));
		MUST(set(pid, SCHED_FIFO, 10));
	}
	for (int i = 0; i < 3; i++)
		reap_any(NULL);
	CHECK(sh->v[8] == 1 && sh->v[9] == 2 && sh->v[10] == 3, "[sched] FIFO tasks of one priority run in order of arrival");
	sh->v[0] = 0;
	for (int i = 0; i < 3; i++)
		MUST(set(noter(i + 1), SCHED_FIFO, 10));
	for (int i = 0; i < 3; i++)
		reap_any(NULL);
	CHECK(sh->v[8] == 3 && sh->v[9] == 2 && sh->v[10] == 1, "[sched] one whose priority is lowered goes before its equals");
	sh->v[0] = 0;
	for (int i = 0; i < 3; i++)
		MUST(set(noter(order[i]), i % 2 ? SCHED_FIFO : SCHED_RR, order[i]));
	for (int i = 0; i < 3; i++)
		reap_any(NULL);
	CHECK(sh->v[8] == 13 && sh->v[9] == 12 && sh->v[10] == 11, "[sched] and the highest priority first");
}

CASE(wake_up_preempts)
{
	NEED_RT("[sched] a wake-up preempts");
	int p[2];
	char c;
	pin(0);
	MUST(pipe(p));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		if (set(0, SCHED_FIFO, 5))
			_exit(1);
		sh->w[1] = 1;
		while (read(p[0], &c, 1) == 1)
			sh->v[0]++;
		_exit(0);
	}
	REQUIRE(AWAIT(sh->w[1] && proc_state(pid) == 'S'));
	int late = 0;
	for (int i = 1; i <= 100; i++) {
		MUST(write(p[1], "x", 1));
		late += sh->v[0] != i;
	}
	CHECK_EQ(late, 0, "[sched] a real-time task runs before its waker's system call returns");
	MUST(set(0, SCHED_FIFO, 4));
	MUST(write(p[1], "x", 1));
	CHECK_EQ(sh->v[0], 101, "[sched] before a waker of a lower priority");
	MUST(set(0, SCHED_FIFO, 5));
	MUST(write(p[1], "x", 1));
	CHECK_EQ(sh->v[0], 101, "[sched] not of the same");
	sched_yield();
	CHECK_EQ(sh->v[0], 102, "[sched] but when that yields");
	MUST(set(pid, SCHED_FIFO, 3));
	MUST(write(p[1], "x", 1));
	sched_yield();
	CHECK_EQ(sh->v[0], 102, "[sched] and never before a higher one");
	MUST(set(pid, SCHED_FIFO, 6));
	CHECK_EQ(sh->v[0], 103, "[sched] until it is raised above it");
	MUST(set(0, SCHED_OTHER, 0));
	end(pid);
}

CASE_T(round_robin, 30)
{
	NEED_RT("[sched] RR takes turns");
	struct timespec t = { 7, 7 };
	struct timespec pause_time = { 0, 400 * MS };
	pin(0);
	MUST(set(0, SCHED_FIFO, 50));
	CHECK(sched_rr_get_interval(0, &t) == 0 && t.tv_sec == 0 && t.tv_nsec == 0, "[sched] FIFO has no quantum");
	pid_t a = spinner(1, SCHED_RR, 10), b = spinner(2, SCHED_RR, 10), low = spinner(3, SCHED_RR, 9);
	CHECK(sched_rr_get_interval(0, &t) == 0, "[sched] sched_rr_get_interval");
	nanosleep(&pause_time, NULL);
	REQUIRE(AWAIT(sh->v[1] > 0 || sh->v[2] > 0));
	CHECK(sched_rr_get_interval(a, &t) == 0 && t.tv_sec == 0 && t.tv_nsec >= 10 * MS && t.tv_nsec <= 200 * MS, "[sched] RR's quantum");
	CHECK(AWAIT(sh->v[1] > 0 && sh->v[2] > 0), "[sched] two RR tasks of one priority take turns");
	CHECK_EQ(sh->v[3], 0, "[sched] a lower one has none");
	end_all(a, b, low);
	sh->v[1] = sh->v[2] = 0;
	pause_time.tv_nsec = 250 * MS;
	a = spinner(1, SCHED_FIFO, 10);
	b = spinner(2, SCHED_FIFO, 10);
	nanosleep(&pause_time, NULL);
	REQUIRE(AWAIT(sh->v[1] > 0 || sh->v[2] > 0));
	CHECK((sh->v[1] == 0) != (sh->v[2] == 0), "[sched] of two FIFO tasks one has all");
	end_all(a, b, 0);
	MUST(set(0, SCHED_OTHER, 0));
}

CASE_T(throttling, 30)
{
	NEED_RT("[sched] a real-time loop leaves something");
	struct timespec pause_time = { 0, 10 * MS };
	pin(0);
	pid_t pid = spinner(1, SCHED_FIFO, 99);
	long long start = now_ns(CLOCK_MONOTONIC);
	int naps = 0;
	while (now_ns(CLOCK_MONOTONIC) - start < 2000 * MS && ++naps)
		nanosleep(&pause_time, NULL);
	CHECK(naps >= 1, "[sched] a fair task runs beside an endless FIFO loop");
	long before = sh->v[1];
	CHECK(AWAIT(sh->v[1] > before), "[sched] which goes on too");
	end(pid);
}

CASE(sysctls)
{
	char buf[64];
	CHECK(read_file("/proc/sys/kernel/sched_rt_period_us", buf, sizeof buf) > 0 && atol(buf) == 1000000, "[12.8] sched_rt_period_us");
	CHECK(read_file("/proc/sys/kernel/sched_rt_runtime_us", buf, sizeof buf) > 0 && atol(buf) >= -1 && atol(buf) <= 1000000, "[12.8] sched_rt_runtime_us");
	CHECK(read_file("/proc/sys/kernel/sched_rr_timeslice_ms", buf, sizeof buf) > 0 && atol(buf) > 0, "[12.8] sched_rr_timeslice_ms");
}

CASE(signals_reach_a_loop)
{
	NEED_RT("[sched] timers and a real-time loop");
	struct itimerval it = { { 0, 0 }, { 0, 20000 } };
	siglog_catch(SIGALRM, 0);
	pin(0);
	MUST(set(0, SCHED_FIFO, 99));
	MUST(setitimer(ITIMER_REAL, &it, NULL));
	long long end = now_ns(CLOCK_MONOTONIC) + deadline_ms * MS;
	while (!siglog_count(0, SIGALRM) && now_ns(CLOCK_MONOTONIC) < end)
		;
	CHECK_EQ(siglog_count(0, SIGALRM), 1, "[sched,time] a timer interrupts a loop of the highest priority");
	MUST(set(0, SCHED_OTHER, 0));
}

CASE(pushed_to_another_cpu)
{
	NEED_RT("[sched] real-time tasks spread");
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		tap_skip("[sched] real-time tasks spread", "needs 2 CPUs");
		return;
	}
	pid_t a = spinner(1, SCHED_FIFO, 5), b = spinner(2, SCHED_FIFO, 5);
	CHECK(AWAIT(sh->v[1] > 0 && sh->v[2] > 0), "[sched] two FIFO tasks run on two CPUs at once");
	end(b);
	/* one of a higher priority that may only run where the first is */
	pid_t pid = MUST(fork());
	if (pid == 0) {
		unsigned cpu = proc_stat(a, 39);
		cpu_set_t one;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof one, &one) || set(0, SCHED_FIFO, 10))
			_exit(1);
		long before = sh->v[1];
		long long end = now_ns(CLOCK_MONOTONIC) + deadline_ms * MS;
		while (sh->v[1] == before && now_ns(CLOCK_MONOTONIC) < end)
			;
		_exit(sh->v[1] > before ? 0 : 2);
	}
	CHECK_EQ(reap(pid), 0, "[sched] one that is preempted goes on on another CPU");
	end(a);
}

CASE(limit_rttime)
{
	NEED_RT("[sched,limit] RLIMIT_RTTIME");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit rl = { 30000, RLIM_INFINITY };
		siglog_catch(SIGXCPU, 0);
		MUST(set(0, SCHED_FIFO, 5));
		MUST(setrlimit(RLIMIT_RTTIME, &rl));
		long long end = now_ns(CLOCK_MONOTONIC) + deadline_ms * MS;
		while (!siglog_count(0, SIGXCPU) && now_ns(CLOCK_MONOTONIC) < end)
			;
		CHECK(siglog_count(0, SIGXCPU) >= 1, "[sched,limit] SIGXCPU after the time without a sleep");
		getrlimit(RLIMIT_RTTIME, &rl);
		/* by one, or by more when the machine stood still that long */
		CHECK(rl.rlim_cur > 30000 && rl.rlim_cur % 1000000 == 30000, "[sched,limit] the soft limit moves a second on");
		rl.rlim_cur = rl.rlim_max = 1;
		MUST(setrlimit(RLIMIT_RTTIME, &rl));
		spin_ms(deadline_ms);
		_exit(0);
	}
	CHECK_EQ(reap(pid), SIGKILL, "[sched,limit] SIGKILL at the hard one");
}

CASE_T(limit_cpu, 30)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit rl = { 1, RLIM_INFINITY };
		siglog_catch(SIGXCPU, 0);
		MUST(setrlimit(RLIMIT_CPU, &rl));
		/* system calls all the time: the limit is found there too */
		while (!siglog_count(0, SIGXCPU))
			syscall(SYS_getppid);
		/* Linux samples this time by ticks, and is off by as much as a hypervisor takes from it */
		CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) >= 300 * MS, "[3.24] SIGXCPU after RLIMIT_CPU's soft limit, not before");
		getrlimit(RLIMIT_CPU, &rl);
		CHECK(rl.rlim_cur >= 2 && (long)rl.rlim_cur <= now_ns(CLOCK_PROCESS_CPUTIME_ID) / (1000 * MS) + 2, "[3.24] which moves a second on");
		rl.rlim_cur = rl.rlim_max = 1;
		MUST(setrlimit(RLIMIT_CPU, &rl));
		spin_ms(deadline_ms);
		_exit(0);
	}
	CHECK_EQ(reap(pid), SIGKILL, "[3.24] SIGKILL at the hard limit");
}

CASE(io_priority)
{
	CHECK_EQ(syscall(SYS_ioprio_get, 1L, 0L), 0, "[sched] ioprio_get: none was set");
	CHECK_ERR(syscall(SYS_ioprio_get, 0L, 0L), EINVAL, "[sched] of an unknown kind: EINVAL");
	CHECK_ERR(syscall(SYS_ioprio_get, 1L, 4999999L), ESRCH, "[sched] of nobody: ESRCH");
	CHECK_EQ(syscall(SYS_ioprio_get, 2L, 0L) >> 13, 2, "[sched] of a group: best effort by the nice value");
	CHECK_OK(syscall(SYS_ioprio_set, 1L, 0L, (2L << 13) | 3), "[sched] ioprio_set");
	CHECK_EQ(syscall(SYS_ioprio_get, 1L, 0L), (2L << 13) | 3, "[sched] is kept");
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(syscall(SYS_ioprio_get, 1L, 0L) == ((2L << 13) | 3) ? 0 : 1);
	CHECK_EQ(reap(pid), 0, "[6.19] and inherited");
	CHECK_ERR(syscall(SYS_ioprio_set, 1L, 0L, 4L << 13), EINVAL, "[sched] unknown class: EINVAL");
	CHECK_ERR(syscall(SYS_ioprio_set, 1L, 0L, 1L), EINVAL, "[sched] a level without a class: EINVAL");
	CHECK_OK(syscall(SYS_ioprio_set, 1L, 0L, (3L << 13) | 1), "[sched] the idle class");
	CHECK_ERR(syscall(SYS_ioprio_set, 1L, 4999999L, 2L << 13), ESRCH, "[sched] of nobody: ESRCH");
}

CASE(nice_values)
{
	CHECK_ERR(getpriority(9, 0), EINVAL, "[sched] getpriority of an unknown kind: EINVAL");
	CHECK_ERR(setpriority(9, 0, 0), EINVAL, "[sched] setpriority too");
	CHECK_ERR(setpriority(PRIO_PROCESS, 4999999, 0), ESRCH, "[sched] of nobody: ESRCH");
	CHECK_ERR(syscall(SYS_getpriority, PRIO_PGRP, 4999999L), ESRCH, "[sched] a group of nobody: ESRCH");
	CHECK_OK(setpriority(PRIO_PROCESS, 0, 100), "[sched] values beyond the range");
	CHECK_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 1, "[sched] are the last of it, told as 20 less the value");
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	call(a, ag_setpgid, 0);
	MUST(setpgid(b->pid, a->pid));
	CHECK_OK(setpriority(PRIO_PGRP, a->pid, 19), "[sched] a whole group");
	CHECK(getpriority(PRIO_PROCESS, a->pid) == 19 && getpriority(PRIO_PROCESS, b->pid) == 19, "[sched] has it");
	CHECK_EQ(proc_stat(a->pid, 19), 19, "[sched,12.1] and /proc tells");
	if (geteuid() == 0) {
		MUST(setpriority(PRIO_PROCESS, b->pid, -5));
		CHECK_EQ(syscall(SYS_getpriority, PRIO_PGRP, a->pid), 25, "[sched] the lowest nice value of a group counts");
	}
	retire(a, NULL);
	retire(b, NULL);
}
