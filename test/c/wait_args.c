/* wait_args.c - section 4, first part: the arguments of wait4 and waitid, what they select and store. */
#include "lib/tap.h"

static struct agent *zombie(int code)
{
	struct agent *a = spawn(NULL);
	quit(a, code);
	REQUIRE(await_zombie(a->pid));
	return a;
}

CASE(wait4_options)
{
	struct agent *c = spawn(NULL);
	int st = 0x5a5a5a5a;
	static const unsigned bad[] = { WEXITED, WNOWAIT, 0x10, 0x1000, 0x00800000, 0x10000000, 0x80000001 & ~1u };
	for (unsigned i = 0; i < 6; i++) {
		char text[80];
		snprintf(text, sizeof text, "[4.1] wait4 option 0x%x is EINVAL", bad[i]);
		CHECK_ERR(sys_wait4(c->pid, &st, WNOHANG | bad[i], NULL), EINVAL, text);
	}
	CHECK_ERR(sys_wait4(-1, BADPTR, 0x10 | WNOHANG, BADPTR), EINVAL, "[4.1] options are checked before pointers");
	CHECK_ERR(sys_wait4(INT_MIN, &st, 0x10, NULL), EINVAL, "[4.1,4.2] and before the pid");
	static const unsigned good[] = { 0, WUNTRACED, WCONTINUED, __WNOTHREAD, __WALL };
	int ok = 0;
	for (unsigned i = 0; i < 5; i++)
		ok += sys_wait4(c->pid, &st, WNOHANG | good[i], NULL) == 0;
	CHECK_EQ(ok, 5, "[4.1] WNOHANG, WUNTRACED, WCONTINUED, __WNOTHREAD and __WALL are accepted");
	CHECK_ERR(sys_wait4(c->pid, &st, WNOHANG | __WCLONE, NULL), ECHILD, "[4.1,4.8] __WCLONE is accepted, too");
	CHECK_EQ(st, 0x5a5a5a5a, "[4.19] a wait4 that returns 0 or an error leaves the status alone");
	retire(c, NULL);
}

CASE(wait4_pid)
{
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(NULL), *d = spawn(NULL);
	pid_t pids[] = { a->pid, b->pid, c->pid, d->pid };
	for (int i = 0; i < 4; i++)
		CHECK_OK(setpgid(pids[i], pids[i < 2 ? i : 2]), "[4.2] (groups: a, b, and c with d)");
	MUST(setpgid(d->pid, getpid()));
	for (int i = 0; i < 4; i++) {
		quit(&sh->agent[i], i + 1);
		REQUIRE(await_zombie(pids[i]));
	}
	int st;
	CHECK_EQ(sys_wait4(pids[1], &st, 0, NULL), pids[1], "[4.2] pid > 0: that child, whatever others are ready");
	CHECK_EQ(st, 2 << 8, "[4.2] with its status");
	CHECK_EQ(sys_wait4(0, &st, 0, NULL), pids[3], "[4.2] pid 0: a child in the caller's group");
	CHECK_ERR(sys_wait4(0, &st, 0, NULL), ECHILD, "[4.2,4.32] none left there: ECHILD though other children are ready");
	CHECK_EQ(sys_wait4(-pids[2], &st, 0, NULL), pids[2], "[4.2,4.32] pid < -1: a zombie that leads that group");
	CHECK_ERR(sys_wait4(-pids[2], &st, WNOHANG, NULL), ECHILD, "[4.2] the group is gone: ECHILD");
	CHECK_EQ(sys_wait4(-1, &st, 0, NULL), pids[0], "[4.2] pid -1: any");
	CHECK_ERR(sys_wait4(-1, &st, 0, NULL), ECHILD, "[4.6] no child at all: ECHILD");
	CHECK_ERR(sys_wait4(-1, &st, WNOHANG, NULL), ECHILD, "[4.6] with WNOHANG as well");
	CHECK_ERR(sys_wait4(INT_MIN, &st, WNOHANG, NULL), ESRCH, "[4.2] INT_MIN is ESRCH");
	CHECK_ERR(sys_wait4(INT_MIN + 1, &st, WNOHANG, NULL), ECHILD, "[4.2] INT_MIN+1 is a group without members");
	CHECK_ERR(sys_wait4(INT_MAX, &st, WNOHANG, NULL), ECHILD, "[4.2] INT_MAX is no child");
}

static long change_group(long x)
{
	(void)x;
	return setpgid(0, 0);
}

static long wait_own_group(long x)
{
	int st;
	(void)x;
	long r = sys_wait4(0, &st, 0, NULL);
	me->out[0] = st;
	return r;
}

CASE(pid_zero_fixed_at_call)
{
	/* the waiter's own group changes while it waits: the group it had at the call counts */
	struct agent *w = spawn(NULL), *t = spawn_thread(w);
	pid_t self = getpid();
	struct agent *c = spawn(w);
	post(t, wait_own_group, 0);
	REQUIRE(await_blocked_in(t));
	REQUIRE(call(w, change_group, 0) == 0);
	CHECK_EQ(getpgid(c->pid), self, "[4.2] (the child is still in the old group)");
	quit(c, 3);
	CHECK_EQ(finish(t), c->pid, "[4.2] pid 0 is the caller's group at the time of the call");
	retire(w, NULL);
}

CASE(grandchild)
{
	struct agent *p = spawn(NULL), *g = spawn(p);
	CHECK_ERR(sys_wait4(g->pid, NULL, WNOHANG, NULL), ECHILD, "[4.6] a grandchild is no child");
	CHECK_ERR(sys_wait4(getpid(), NULL, 0, NULL), ECHILD, "[4.6] nor is the process itself");
	CHECK_ERR(sys_wait4(getppid(), NULL, 0, NULL), ECHILD, "[4.6] nor its parent");
	CHECK_ERR(sys_wait4(1, NULL, 0, NULL), ECHILD, "[4.6] nor PID 1");
	quit(g, 0);
	REQUIRE(call(p, ag_reap, g->pid) == g->pid);
	retire(p, NULL);
}

CASE(nohang)
{
	struct agent *c = spawn(NULL);
	CHECK_EQ(sys_wait4(-1, NULL, WNOHANG, NULL), 0, "[4.6] a live child and WNOHANG: 0");
	CHECK_EQ(sys_wait4(c->pid, NULL, WNOHANG, NULL), 0, "[4.6] the same by its pid");
	CHECK_ERR(sys_wait4(c->pid + 100000, NULL, WNOHANG, NULL), ECHILD, "[4.6] another pid: ECHILD");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(sys_wait4(-1, NULL, WNOHANG, NULL), c->pid, "[4.6] WNOHANG reaps what is ready");
	CHECK_ERR(sys_wait4(c->pid, NULL, WNOHANG, NULL), ECHILD, "[4.6] once");
	CHECK_ERR(kill(c->pid, 0), ESRCH, "[3.12] a reaped pid is unknown");
}

CASE(thread_ids)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	CHECK_ERR(sys_wait4(t->tid, NULL, WNOHANG, NULL), ECHILD, "[4.7] the tid of a child's thread is no child");
	CHECK_ERR(sys_wait4(t->tid, NULL, WNOHANG | __WALL, NULL), ECHILD, "[4.7] not even with __WALL");
	struct agent *own = spawn_thread(NULL);
	CHECK_ERR(sys_wait4(own->tid, NULL, WNOHANG | __WALL, NULL), ECHILD, "[4.7] nor is the tid of an own thread");
	retire(p, NULL);
}

CASE(wclone)
{
	struct agent *n = spawn(NULL), *c0 = spawn_flags(NULL, 0), *c1 = spawn_flags(NULL, SIGUSR2);
	signal(SIGUSR2, SIG_IGN);
	quit(n, 1);
	quit(c0, 2);
	quit(c1, 3);
	REQUIRE(await_zombie(n->pid) && await_zombie(c0->pid) && await_zombie(c1->pid));
	CHECK_ERR(sys_wait4(c0->pid, NULL, WNOHANG, NULL), ECHILD, "[4.8] a child with exit_signal 0 is not seen by default");
	CHECK_ERR(sys_wait4(c1->pid, NULL, WNOHANG, NULL), ECHILD, "[4.8] nor one with SIGUSR2");
	CHECK_ERR(sys_wait4(n->pid, NULL, WNOHANG | __WCLONE, NULL), ECHILD, "[4.8] a normal child is not seen with __WCLONE");
	CHECK_EQ(sys_wait4(-1, NULL, WNOHANG | __WCLONE, NULL), c0->pid, "[4.8] __WCLONE sees the others: 0");
	CHECK_EQ(sys_wait4(-1, NULL, WNOHANG | __WCLONE | __WALL, NULL), n->pid,
		 "[4.8] __WALL sees both kinds and wins over __WCLONE");
	CHECK_ERR(sys_wait4(-1, NULL, WNOHANG, NULL), ECHILD, "[4.8] only the SIGUSR2 child is left: ECHILD by default");
	CHECK_EQ(sys_wait4(-1, NULL, WNOHANG | __WALL, NULL), c1->pid, "[4.8] __WALL reaps it");
	siginfo_t si;
	struct agent *d0 = spawn_flags(NULL, 0);
	CHECK_ERR(sys_waitid(P_ALL, 0, &si, WEXITED | WNOHANG, NULL), ECHILD, "[4.8] waitid is the same: not seen");
	CHECK_OK(sys_waitid(P_ALL, 0, &si, WEXITED | WNOHANG | __WCLONE, NULL), "[4.8] waitid with __WCLONE sees it");
	quit(d0, 0);
	REQUIRE(reap(d0->pid) == 0);
}

CASE(waitid_options)
{
	struct agent *c = spawn(NULL);
	siginfo_t si;
	CHECK_ERR(sys_waitid(P_PID, c->pid, &si, WNOHANG, NULL), EINVAL, "[4.3] none of the three kinds: EINVAL");
	CHECK_ERR(sys_waitid(P_PID, c->pid, &si, WNOHANG | WNOWAIT | __WALL, NULL), EINVAL, "[4.3] modifiers alone: EINVAL");
	CHECK_ERR(sys_waitid(P_PID, c->pid, &si, WEXITED | WNOHANG | 0x10, NULL), EINVAL, "[4.3] unknown bit: EINVAL");
	CHECK_ERR(sys_waitid(99, -5, &si, WNOHANG, NULL), EINVAL, "[4.3] options are checked before the id type");
	CHECK_OK(sys_waitid(P_PID, c->pid, &si, WEXITED | WNOHANG, NULL), "[4.3] WEXITED alone");
	CHECK_OK(sys_waitid(P_PID, c->pid, &si, WSTOPPED | WNOHANG, NULL), "[4.3] WSTOPPED alone");
	CHECK_OK(sys_waitid(P_PID, c->pid, &si, WCONTINUED | WNOHANG, NULL), "[4.3] WCONTINUED alone");
	CHECK_OK(sys_waitid(P_PID, c->pid, &si, WEXITED | WNOHANG | WNOWAIT | __WALL | __WNOTHREAD, NULL),
		 "[4.3] and with all modifiers");
	CHECK_ERR(sys_waitid(4, 1, &si, WEXITED | WNOHANG, NULL), EINVAL, "[4.4] id type 4: EINVAL");
	CHECK_ERR(sys_waitid(-1, 1, &si, WEXITED | WNOHANG, NULL), EINVAL, "[4.4] id type -1: EINVAL");
	CHECK_ERR(sys_waitid(P_PID, 0, &si, WEXITED | WNOHANG, NULL), EINVAL, "[4.4] P_PID 0: EINVAL");
	CHECK_ERR(sys_waitid(P_PID, -1, &si, WEXITED | WNOHANG, NULL), EINVAL, "[4.4] P_PID -1: EINVAL");
	CHECK_ERR(sys_waitid(P_PGID, -1, &si, WEXITED | WNOHANG, NULL), EINVAL, "[4.4] P_PGID -1: EINVAL");
	CHECK_OK(sys_waitid(P_PGID, 0, &si, WEXITED | WNOHANG, NULL), "[4.4] P_PGID 0 is the own group");
	CHECK_OK(sys_waitid(P_PGID, getpgrp(), &si, WEXITED | WNOHANG, NULL), "[4.4] P_PGID with the own group's id");
	CHECK_OK(sys_waitid(P_ALL, -77, &si, WEXITED | WNOHANG, NULL), "[4.4] P_ALL ignores the id");
	MUST(setpgid(c->pid, c->pid));
	CHECK_ERR(sys_waitid(P_PGID, 0, &si, WEXITED | WNOHANG, NULL), ECHILD, "[4.4] P_PGID 0: the child has left the group");
	CHECK_OK(sys_waitid(P_PGID, c->pid, &si, WEXITED | WNOHANG, NULL), "[4.4] P_PGID with the child's group");
	CHECK_ERR(sys_waitid(P_PIDFD, -1, &si, WEXITED | WNOHANG, NULL), EINVAL, "[4.4] P_PIDFD -1: EINVAL");
	CHECK_ERR(sys_waitid(P_PIDFD, 999, &si, WEXITED | WNOHANG, NULL), EBADF, "[4.4] P_PIDFD not open: EBADF");
	CHECK_ERR(sys_waitid(P_PIDFD, 1, &si, WEXITED | WNOHANG, NULL), EBADF, "[4.4] P_PIDFD of another kind of file: EBADF");
	char path[32];
	snprintf(path, sizeof path, "/proc/%d", c->pid);
	int fd = MUST(open(path, O_RDONLY | O_DIRECTORY));
	CHECK_ERR(sys_waitid(P_PIDFD, fd, &si, WEXITED | WNOHANG, NULL), EBADF, "[4.4] a /proc/pid directory is no pidfd here");
	retire(c, NULL);
}

/* ---- what waitid stores ---- */

static bool pattern_intact(const unsigned char *b, int from, int to)
{
	for (int i = from; i < to; i++)
		if (b[i] != 0xa5)
			return false;
	return true;
}

CASE(waitid_siginfo)
{
	unsigned char raw[160] __attribute__((aligned(8)));
	siginfo_t *si = (siginfo_t *)raw;
	struct agent *c = zombie(0x1234);
	memset(raw, 0xa5, sizeof raw);
	CHECK_OK(sys_waitid(P_PID, c->pid, si, WEXITED, NULL), "[4.16] waitid returns 0 on success");
	CHECK_EQ(si->si_signo, SIGCHLD, "[4.16] si_signo");
	CHECK_EQ(si->si_errno, 0, "[4.16] si_errno");
	CHECK_EQ(si->si_code, CLD_EXITED, "[4.16,4.22] si_code of an exit is CLD_EXITED");
	CHECK_EQ(si->si_pid, c->pid, "[4.16] si_pid");
	CHECK_EQ(si->si_uid, getuid(), "[4.16] si_uid");
	CHECK_EQ(si->si_status, 0x34, "[4.16] si_status is the low byte of the exit code");
	CHECK(pattern_intact(raw, 12, 16), "[4.16] the padding before si_pid is not written");
	CHECK(pattern_intact(raw, 28, 160), "[4.16] nothing behind si_status is written");
	CHECK_ERR(sys_waitid(P_PID, c->pid, si, WEXITED, NULL), ECHILD, "[4.16] it was reaped");
	c = zombie(0);
	CHECK_OK(sys_waitid(P_ALL, 0, NULL, WEXITED, NULL), "[4.17] a NULL siginfo is allowed");
	CHECK_ERR(kill(c->pid, 0), ESRCH, "[4.17] and the child is reaped");
}

CASE(waitid_killed)
{
	siginfo_t si;
	struct agent *c = spawn(NULL);
	kill(c->pid, SIGKILL);
	CHECK_OK(sys_waitid(P_PID, c->pid, &si, WEXITED, NULL), "[4.16] waitid of a killed child");
	CHECK_EQ(si.si_code, CLD_KILLED, "[4.22] CLD_KILLED");
	CHECK_EQ(si.si_status, SIGKILL, "[4.16] si_status is the signal");
}

CASE(waitid_uid)
{
	NEED_ROOT("[4.16] si_uid of a child with another real uid");
	siginfo_t si;
	struct agent *c = spawn(NULL);
	REQUIRE(call(c, ag_drop, 4321) == 0);
	quit(c, 0);
	CHECK_OK(sys_waitid(P_PID, c->pid, &si, WEXITED, NULL), "[4.16] waitid of a child with another uid");
	CHECK_EQ(si.si_uid, 4321, "[4.16] si_uid is the child's real uid");
}

static bool six_zero_rest_intact(const unsigned char *raw)
{
	const siginfo_t *si = (const siginfo_t *)raw;
	return !si->si_signo && !si->si_errno && !si->si_code && !si->si_pid && !si->si_uid && !si->si_status &&
	       pattern_intact(raw, 28, 128);
}

CASE(waitid_zeroes)
{
	unsigned char raw[128] __attribute__((aligned(8)));
	siginfo_t *si = (siginfo_t *)raw;
	struct agent *c = spawn(NULL);
	memset(raw, 0xa5, sizeof raw);
	CHECK_OK(sys_waitid(P_PID, c->pid, si, WEXITED | WNOHANG, NULL), "[4.17] nothing to report: 0");
	CHECK(six_zero_rest_intact(raw), "[4.17] nothing to report: the six fields are written as 0");
	memset(raw, 0xa5, sizeof raw);
	CHECK_ERR(sys_waitid(P_PID, 1, si, WEXITED | WNOHANG, NULL), ECHILD, "[4.17] not a child");
	CHECK(six_zero_rest_intact(raw), "[4.17] ECHILD: the six fields are written as 0");
	memset(raw, 0xa5, sizeof raw);
	CHECK_ERR(sys_waitid(P_PID, c->pid, si, WNOHANG, NULL), EINVAL, "[4.17] bad options");
	CHECK(six_zero_rest_intact(raw), "[4.17] EINVAL: the six fields are written as 0");
	CHECK_ERR(sys_waitid(P_PID, c->pid, BADPTR, WEXITED | WNOHANG, NULL), EFAULT, "[4.17] bad siginfo, nothing ready: EFAULT");
	CHECK_ERR(sys_waitid(P_PID, 1, BADPTR, WEXITED | WNOHANG, NULL), EFAULT, "[4.17] bad siginfo turns ECHILD into EFAULT");
	CHECK_ERR(sys_waitid(P_PID, c->pid, BADPTR, WNOHANG, NULL), EFAULT, "[4.17] bad siginfo turns EINVAL into EFAULT");
	CHECK_OK(sys_waitid(P_PID, c->pid, NULL, WEXITED | WNOHANG, NULL), "[4.17] NULL with nothing ready: 0");
	CHECK_ERR(sys_waitid(P_PID, 1, NULL, WEXITED, NULL), ECHILD, "[4.17] NULL and no such child: ECHILD");
	retire(c, NULL);
}

/* ---- faults ---- */

CASE(fault_loses_event)
{
	struct agent *c = zombie(1);
	CHECK_ERR(sys_wait4(c->pid, BADPTR, 0, NULL), EFAULT, "[4.18] a fault at the status is EFAULT");
	CHECK_ERR(sys_wait4(c->pid, NULL, WNOHANG, NULL), ECHILD, "[4.18] although the child has been reaped");
	c = zombie(1);
	CHECK_ERR(sys_wait4(c->pid, NULL, 0, BADPTR), EFAULT, "[4.18] a fault at the rusage is EFAULT");
	CHECK_ERR(sys_wait4(c->pid, NULL, WNOHANG, NULL), ECHILD, "[4.18] the child has been reaped");
	c = zombie(1);
	CHECK_ERR(sys_waitid(P_PID, c->pid, BADPTR, WEXITED, NULL), EFAULT, "[4.18] a fault at the siginfo is EFAULT");
	CHECK_ERR(sys_wait4(c->pid, NULL, WNOHANG, NULL), ECHILD, "[4.18] the child has been reaped");
	siginfo_t si;
	c = zombie(1);
	CHECK_ERR(sys_waitid(P_PID, c->pid, &si, WEXITED, BADPTR), EFAULT, "[4.18] a fault at waitid's rusage is EFAULT");
	CHECK_ERR(sys_wait4(c->pid, NULL, WNOHANG, NULL), ECHILD, "[4.18] the child has been reaped");
	c = zombie(1);
	CHECK_ERR(sys_wait4(c->pid, map_edge() - 2, 0, NULL), EFAULT, "[4.18] a status that runs into a hole is EFAULT");
	CHECK_ERR(sys_wait4(-1, map_readonly(), 0, NULL), ECHILD, "[4.18] without an event the pointer is not touched");
	c = spawn(NULL);
	CHECK_EQ(sys_wait4(c->pid, BADPTR, WNOHANG, BADPTR), 0, "[4.18] nor when there is nothing to report");
	retire(c, NULL);
}

CASE(null_pointers)
{
	struct agent *c = zombie(1);
	CHECK_EQ(sys_wait4(c->pid, NULL, 0, NULL), c->pid, "[4.18] NULL status and rusage are allowed");
}

CASE(wnowait)
{
	siginfo_t si;
	struct agent *c = zombie(9);
	for (int i = 0; i < 3; i++) {
		memset(&si, 0, sizeof si);
		CHECK(sys_waitid(P_ALL, 0, &si, WEXITED | WNOWAIT, NULL) == 0 && si.si_pid == c->pid && si.si_status == 9,
		      "[4.20] WNOWAIT leaves the zombie to be seen again");
	}
	CHECK_EQ(proc_state(c->pid), 'Z', "[4.20] it is still there");
	int st = 0;
	CHECK_EQ(sys_wait4(-1, &st, 0, NULL), c->pid, "[4.20] and can be reaped after it");
	CHECK_EQ(st, 9 << 8, "[4.20] with its status");
}

/* ---- rusage ---- */

static long long cpu_us(const struct rusage *ru)
{
	return (ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000000LL + ru->ru_utime.tv_usec + ru->ru_stime.tv_usec;
}

static long burn(long us)
{
	struct rusage ru;
	long long end = now_ms() + deadline_ms;
	do {
		for (volatile int i = 0; i < 100000; i++)
			;
		getrusage(RUSAGE_SELF, &ru);
	} while (cpu_us(&ru) < us && now_ms() < end);
	return 0;
}

static long long children_us(void)
{
	struct rusage ru;
	MUST(getrusage(RUSAGE_CHILDREN, &ru));
	return cpu_us(&ru);
}

CASE(rusage)
{
	struct agent *c = spawn(NULL), *g = spawn(c), *lost = spawn(c);
	struct rusage ru;
	siginfo_t si;
	call(g, burn, 30000);
	/* so much that it would stand out from what a busy machine adds to the others */
	call(lost, burn, 1000000);
	call(c, burn, 30000);
	REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	retire(g, c);
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(children_us(), 0, "[4.21] a zombie is not yet in RUSAGE_CHILDREN");
	memset(&ru, 0xff, sizeof ru);
	CHECK_OK(sys_waitid(P_PID, c->pid, &si, WEXITED | WNOWAIT, &ru), "[4.20] waitid with WNOWAIT and a rusage");
	CHECK(cpu_us(&ru) >= 60000, "[4.21] the rusage is the child's own and that of its reaped descendants");
	CHECK_EQ(children_us(), 0, "[4.20] WNOWAIT does not account it");
	int st;
	memset(&ru, 0xff, sizeof ru);
	CHECK_EQ(sys_wait4(c->pid, &st, 0, &ru), c->pid, "[4.21] the real reap");
	long long t = cpu_us(&ru);
	CHECK(t >= 60000 && t < 1000000, "[4.21] its rusage has two of the three, not the unreaped one");
	long long sum = children_us();
	CHECK(sum >= t - 10000 && sum <= t + 10000, "[4.21] and is now in RUSAGE_CHILDREN");
	CHECK(ru.ru_maxrss > 0, "[4.21] maxrss is set");
	retire(lost, NULL);
	CHECK(children_us() >= sum + 30000, "[4.21] an adopted child counts for its adopter when reaped");
	REQUIRE(getrusage(RUSAGE_CHILDREN, &ru) == 0);
	CHECK(ru.ru_maxrss > 0 && ru.ru_maxrss < 1000000, "[4.21] maxrss of the children is a maximum");
}

CASE(rusage_autoreaped)
{
	signal(SIGCHLD, SIG_IGN);
	struct agent *c = spawn(NULL);
	call(c, burn, 30000);
	quit(c, 0);
	CHECK_ERR(sys_wait4(-1, NULL, 0, NULL), ECHILD, "[4.23] an autoreaped child is not returned");
	CHECK_EQ(children_us(), 0, "[4.21] and never counted in RUSAGE_CHILDREN");
}

CASE(status_words)
{
	static const int codes[] = { 0, 1, 255, 256, -1, 0x1ff };
	for (unsigned i = 0; i < 6; i++) {
		struct agent *c = spawn(NULL);
		char text[80];
		quit(c, codes[i]);
		snprintf(text, sizeof text, "[3.1] exit_group(%d): status is (code & 0xff) << 8", codes[i]);
		CHECK_EQ(reap(c->pid), (codes[i] & 0xff) << 8, text);
	}
	struct agent *c = spawn(NULL);
	quit_thread(c, 300);
	CHECK_EQ(reap(c->pid), 44 << 8, "[3.1] exit(300) of the only thread");
	c = spawn(NULL);
	kill(c->pid, SIGTERM);
	CHECK_EQ(reap(c->pid), SIGTERM, "[3.1] death by a signal: its number");
}

/* ---- every id type, class and kind of report, against a child in each state ---- */

enum { RUNS, IS_STOPPED, HAS_CONTINUED, IS_ZOMBIE, STATES };

/* A child with this exit signal, in this state. */
static pid_t child_in(int state, int exit_signal)
{
	pid_t pid = MUST(raw_clone(exit_signal));
	if (pid == 0) {
		if (state == IS_ZOMBIE)
			_exit(7);
		for (;;)
			pause();
	}
	if (state == IS_ZOMBIE)
		REQUIRE(await_zombie(pid));
	if (state == IS_STOPPED || state == HAS_CONTINUED) {
		kill(pid, SIGSTOP);
		REQUIRE(await_state(pid, 'T'));
	}
	if (state == HAS_CONTINUED) {
		kill(pid, SIGCONT);
		REQUIRE(AWAIT(proc_state(pid) != 'T'));
	}
	return pid;
}

/* What a wait for it is told: a CLD code, 0 for nothing yet, or -ECHILD. */
static int model(int state, bool is_clone, unsigned what, unsigned class)
{
	bool matches = class & __WALL ? true : class & __WCLONE ? is_clone : !is_clone;
	if (!matches)
		return -ECHILD;
	switch (state) {
	case IS_ZOMBIE: return what & WEXITED ? CLD_EXITED : -ECHILD;
	case IS_STOPPED: return what & WSTOPPED ? CLD_STOPPED : 0;
	case HAS_CONTINUED: return what & WCONTINUED ? CLD_CONTINUED : 0;
	default: return 0;
	}
}

CASE(every_combination)
{
	static const unsigned kinds[] = { WEXITED, WSTOPPED, WCONTINUED };
	static const unsigned classes[] = { 0, __WALL, __WCLONE, __WALL | __WCLONE, __WNOTHREAD, __WNOTHREAD | __WALL };
	signal(SIGCHLD, SIG_DFL);
	for (int state = 0; state < STATES; state++)
		for (int is_clone = 0; is_clone < 2; is_clone++) {
			pid_t pid = child_in(state, is_clone ? 0 : SIGCHLD);
			int fd = MUST((int)syscall(SYS_pidfd_open, pid, 0));
			struct { int type; long id; } ids[] = { { P_ALL, 77 }, { P_PID, pid }, { P_PGID, 0 }, { P_PGID, getpgrp() }, { 3, fd } };
			bool right = true;
			for (int k = 1; k < 8; k++)
				for (int c = 0; c < 6; c++)
					for (int t = 0; t < 5; t++) {
						unsigned what = (k & 1 ? kinds[0] : 0) | (k & 2 ? kinds[1] : 0) | (k & 4 ? kinds[2] : 0);
						siginfo_t si;
						memset(&si, 0x55, sizeof si);
						errno = 0;
						long r = sys_waitid(ids[t].type, ids[t].id, &si, what | classes[c] | WNOHANG | WNOWAIT, NULL);
						int got = r < 0 ? -errno : si.si_code, want = model(state, is_clone, what, classes[c]);
						pid_t told = want > 0 ? pid : 0;
						if (got != want || si.si_pid != told || (want <= 0 && (si.si_signo || si.si_status || si.si_code)))
							tap_note("state %d clone %d what %x class %x id %d: %d, not %d; pid %d", state, is_clone, what, classes[c], t, got, want, si.si_pid), right = false;
					}
			CHECK(right, "[4.3,4.4,4.6,4.8,4.11,4.14,4.17,4.20] every id type, class and kind of report: what waitid says");
			close(fd);
			kill(pid, SIGKILL);
			reap(pid);
		}
}
