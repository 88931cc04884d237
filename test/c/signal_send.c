/* signal_send.c - section 7, first part: sending, permission, queues, choice of thread (rules 7.1-7.17). */
#include "lib/tap.h"

#define RT (SIGRTMIN + 1)

static long rt_sigqueueinfo(pid_t pid, int sig, siginfo_t *si) { return syscall(SYS_rt_sigqueueinfo, (long)pid, (long)sig, si); }
static long rt_tgsigqueueinfo(pid_t g, pid_t t, int sig, siginfo_t *si)
{
	return syscall(SYS_rt_tgsigqueueinfo, (long)g, (long)t, (long)sig, si);
}

/* Take a pending signal of the set `sig` (0: any); out: pid code value uid. 0 if none. */
static long take(long sig)
{
	unsigned long set = sig ? 1UL << (sig - 1) : ~0UL;
	siginfo_t si;
	struct timespec now = { 0, 0 };
	memset(&si, 0, sizeof si);
	long r = syscall(SYS_rt_sigtimedwait, &set, &si, &now, 8L);
	if (r < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (me) {
		me->out[0] = si.si_pid;
		me->out[1] = si.si_code;
		me->out[2] = si.si_value.sival_int;
		me->out[3] = si.si_uid;
	}
	return r;
}

static long block_all(long x)
{
	unsigned long set = ~0UL;
	(void)x;
	return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, 8L);
}

static int hits(struct agent *a, int sig)
{
	call(a, ag_getpid, 0);
	return siglog_count(a->pid, sig);
}

/* ---- kill ---- */

static long own_group(long sig) { return kill(0, sig); }

CASE(kill_targets)
{
	struct agent *s = spawn(NULL);
	REQUIRE(call(s, ag_setsid, 0) > 0);
	struct agent *a = spawn(s), *b = spawn(s), *c = spawn(s);
	struct agent *all[] = { s, a, b, c };
	for (int i = 0; i < 4; i++)
		call(all[i], ag_catch, SIGUSR1);
	REQUIRE(call(a, ag_setpgid, 0) == 0 && call(b, ag_setpgid, a->pid) == 0);
	CHECK_OK(kill(a->pid, SIGUSR1), "[7.1] kill of a process");
	CHECK(hits(a, SIGUSR1) == 1 && hits(b, SIGUSR1) == 0, "[7.1] only it gets the signal");
	CHECK_OK(kill(-a->pid, SIGUSR1), "[7.1] kill of a group");
	CHECK(hits(a, SIGUSR1) == 2 && hits(b, SIGUSR1) == 1 && hits(c, SIGUSR1) == 0 && hits(s, SIGUSR1) == 0,
	      "[7.1] all its members and nobody else");
	CHECK_OK(call(a, own_group, SIGUSR1), "[7.1] kill(0)");
	CHECK(hits(a, SIGUSR1) == 3 && hits(b, SIGUSR1) == 2 && hits(c, SIGUSR1) == 0,
	      "[7.1] is the own group, the sender included");
	for (int i = 1; i < 4; i++)
		retire(all[i], s);
	retire(s, NULL);
}

CASE(kill_tid)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_catch, SIGUSR1);
	CHECK_OK(kill(t->tid, SIGUSR1), "[7.1] kill with a thread's id works");
	CHECK(AWAIT(siglog_count(p->pid, SIGUSR1) == 1), "[7.1] and targets its group");
	retire(p, NULL);
}

CASE(kill_errors)
{
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	retire(b, NULL);
	CHECK_ERR(kill(b->pid, 0), ESRCH, "[7.2] no such process: ESRCH");
	CHECK_ERR(kill(b->pid, 99), ESRCH, "[7.2] existence comes before the signal's validity");
	CHECK_ERR(kill(a->pid, 65), EINVAL, "[7.2] signal 65: EINVAL");
	CHECK_ERR(kill(a->pid, -1), EINVAL, "[7.2] signal -1: EINVAL");
	CHECK_OK(kill(a->pid, 0), "[7.2] signal 0 checks only");
	CHECK_OK(kill(a->pid, 64), "[7.2] signal 64 is valid");
	CHECK_EQ(reap(a->pid), 64, "[7.2] (and kills)");
	CHECK_ERR(kill(INT_MIN, 99), ESRCH, "[7.1] INT_MIN is ESRCH before the check of the signal");
	CHECK_ERR(kill(-b->pid, SIGTERM), ESRCH, "[7.3] an empty group: ESRCH");
}

CASE(kill_zombie_group)
{
	struct agent *a = spawn(NULL);
	MUST(setpgid(a->pid, a->pid));
	quit(a, 0);
	REQUIRE(await_zombie(a->pid));
	CHECK_OK(kill(-a->pid, SIGTERM), "[7.3] a group of zombies only counts: 0");
	REQUIRE(reap(a->pid) == 0);
	CHECK_ERR(kill(-a->pid, SIGTERM), ESRCH, "[7.3] reaped: ESRCH");
}

static long kill_pid;
static long send_sig(long sig) { return kill(kill_pid, sig); }
static long set_kill_pid(long p) { kill_pid = p; return 0; }
static long kill_from(struct agent *a, pid_t pid, int sig)
{
	call(a, set_kill_pid, pid);
	long r = call(a, send_sig, sig);
	return r < 0 ? -errno : r;
}

static long set_uids(long packed)	/* real << 32 | effective << 16 | saved */
{
	return syscall(SYS_setresuid, packed >> 32, packed >> 16 & 0xffff, packed & 0xffff);
}
#define UIDS(r, e, s) ((long)(r) << 32 | (long)(e) << 16 | (s))

CASE(permission)
{
	NEED_ROOT("[7.5] permission to send");
	struct agent *u = spawn(NULL), *same = spawn(NULL), *root = spawn(NULL), *tr = spawn(NULL), *ts = spawn(NULL),
		     *te = spawn(NULL), *other = spawn(NULL);
	REQUIRE(call(u, ag_drop, 1001) == 0 && call(same, ag_drop, 1001) == 0 && call(other, ag_drop, 1002) == 0);
	REQUIRE(call(tr, set_uids, UIDS(1001, 0, 0)) == 0);
	REQUIRE(call(ts, set_uids, UIDS(0, 0, 1001)) == 0);
	REQUIRE(call(te, set_uids, UIDS(1002, 1001, 1002)) == 0);
	CHECK_EQ(kill_from(u, same->pid, 0), 0, "[7.5] same uid");
	CHECK_EQ(kill_from(u, other->pid, 0), -EPERM, "[7.5] another uid: EPERM");
	CHECK_EQ(kill_from(u, root->pid, 0), -EPERM, "[7.5] root's process: EPERM");
	CHECK_EQ(kill_from(u, tr->pid, 0), 0, "[7.5] the target's real uid counts");
	CHECK_EQ(kill_from(u, ts->pid, 0), 0, "[7.5] the target's saved uid counts");
	CHECK_EQ(kill_from(u, te->pid, 0), -EPERM, "[7.5] the target's effective uid does not");
	CHECK_EQ(kill_from(te, u->pid, 0), 0, "[7.5] the sender's effective uid counts");
	CHECK_EQ(kill_from(te, other->pid, 0), 0, "[7.5] and its real uid");
	CHECK_EQ(kill_from(root, u->pid, 0), 0, "[7.5] CAP_KILL may");
	CHECK_EQ(kill_from(u, root->pid, 65), -EINVAL, "[7.2] EINVAL precedes EPERM");
	CHECK_EQ(kill_from(u, root->pid, SIGCONT), 0, "[7.5] SIGCONT within the session needs no permission");
	REQUIRE(call(root, ag_setsid, 0) > 0);
	CHECK_EQ(kill_from(u, root->pid, SIGCONT), -EPERM, "[7.5] in another session it does");
	/* groups: one member may, one may not */
	REQUIRE(setpgid(same->pid, same->pid) == 0 && setpgid(other->pid, same->pid) == 0);
	CHECK_EQ(kill_from(u, -same->pid, 0), 0, "[7.3] a group where one member may be signalled: 0");
	retire(same, NULL);
	CHECK_EQ(kill_from(u, -same->pid, 0), -EPERM, "[7.3] where none may: EPERM");
	struct agent *rest[] = { u, root, tr, ts, te, other };
	for (int i = 0; i < 6; i++)
		retire(rest[i], NULL);
}

CASE(kill_siginfo)
{
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	call(a, block_all, 0);
	REQUIRE(kill_from(b, a->pid, SIGUSR1) == 0);
	CHECK_EQ(call(a, take, SIGUSR1), SIGUSR1, "[7.10] (the signal is pending)");
	CHECK(a->out[0] == b->pid && a->out[1] == SI_USER && a->out[3] == getuid(), "[7.10] SI_USER, the sender's pid and real uid");
	retire(a, NULL);
	retire(b, NULL);
}

/* ---- tgkill, tkill ---- */

CASE(tgkill_errors)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *q = spawn(NULL);
	CHECK_ERR(sys_tgkill(0, t->tid, 0), EINVAL, "[7.6] tgkill with tgid 0: EINVAL");
	CHECK_ERR(sys_tgkill(p->pid, 0, 0), EINVAL, "[7.6] with tid 0: EINVAL");
	CHECK_ERR(sys_tgkill(-1, -1, 0), EINVAL, "[7.6] negative: EINVAL");
	CHECK_ERR(sys_tgkill(q->pid, t->tid, 0), ESRCH, "[7.6] a tid of another group: ESRCH");
	CHECK_OK(sys_tgkill(p->pid, t->tid, 0), "[7.6] the right group: 0");
	CHECK_ERR(sys_tgkill(p->pid, t->tid, 65), EINVAL, "[7.6] bad signal: EINVAL");
	CHECK_ERR(syscall(SYS_tkill, 0L, 0L), EINVAL, "[7.6] tkill with 0: EINVAL");
	CHECK_ERR(syscall(SYS_tkill, -5L, 0L), EINVAL, "[7.6] tkill negative: EINVAL");
	CHECK_OK(syscall(SYS_tkill, (long)t->tid, 0L), "[7.6] tkill of a thread");
	retire(p, NULL);
	retire(q, NULL);
}

CASE(tgkill_is_private)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, block_all, 0);
	call(t, block_all, 0);
	REQUIRE(sys_tgkill(p->pid, t->tid, SIGUSR1) == 0);
	CHECK_EQ(call(p, take, SIGUSR1), 0, "[7.6] a thread-directed signal is not seen by another thread");
	CHECK_EQ(call(t, take, SIGUSR1), SIGUSR1, "[7.6] but by its own");
	CHECK_EQ(t->out[1], SI_TKILL, "[7.6] si_code SI_TKILL");
	CHECK_EQ(t->out[0], getpid(), "[7.6] si_pid the sender");
	kill(p->pid, SIGUSR2);
	CHECK_EQ(call(t, take, SIGUSR2), SIGUSR2, "[7.11] a process-directed signal blocked by all can be taken by any thread");
	retire(p, NULL);
}

/* ---- sigqueue ---- */

CASE(sigqueue_errors)
{
	struct agent *a = spawn(NULL);
	siginfo_t si;
	memset(&si, 0, sizeof si);
	call(a, block_all, 0);
	si.si_code = SI_QUEUE;
	si.si_value.sival_int = 4711;
	si.si_pid = getpid();
	si.si_signo = SIGTERM;
	CHECK_OK(rt_sigqueueinfo(a->pid, RT, &si), "[7.7] SI_QUEUE to another process");
	CHECK(call(a, take, RT) == RT && a->out[1] == SI_QUEUE && a->out[2] == 4711, "[7.7] arrives with its value, si_signo corrected");
	si.si_code = SI_USER;
	CHECK_ERR(rt_sigqueueinfo(a->pid, RT, &si), EPERM, "[7.7] si_code 0 to another group: EPERM");
	si.si_code = 1;
	CHECK_ERR(rt_sigqueueinfo(a->pid, RT, &si), EPERM, "[7.7] a positive si_code: EPERM");
	si.si_code = SI_TKILL;
	CHECK_ERR(rt_sigqueueinfo(a->pid, RT, &si), EPERM, "[7.7] SI_TKILL: EPERM");
	si.si_code = SI_QUEUE;
	CHECK_ERR(rt_sigqueueinfo(a->pid, RT, BADPTR), EFAULT, "[7.7] bad pointer: EFAULT");
	CHECK_ERR(rt_sigqueueinfo(0, RT, &si), ESRCH, "[7.7] pid 0: ESRCH");
	CHECK_ERR(rt_sigqueueinfo(-a->pid, RT, &si), ESRCH, "[7.7] negative pid: ESRCH");
	CHECK_ERR(rt_sigqueueinfo(a->pid, 65, &si), EINVAL, "[7.7] bad signal: EINVAL");
	CHECK_ERR(rt_tgsigqueueinfo(a->pid, 0, RT, &si), EINVAL, "[7.7] tgsigqueue with tid 0: EINVAL");
	CHECK_ERR(rt_tgsigqueueinfo(-1, a->pid, RT, &si), EINVAL, "[7.7] with a negative tgid: EINVAL");
	CHECK_OK(rt_tgsigqueueinfo(a->pid, a->pid, RT, &si), "[7.7] tgsigqueue to a thread");
	CHECK(call(a, take, RT) == RT && a->out[2] == 4711, "[7.7] arrives");
	block_all(0);
	char *tail = (char *)&si + 127;
	*tail = 1;
	si.si_code = SI_QUEUE;
	CHECK_OK(rt_sigqueueinfo(getpid(), RT, &si), "[7.7] behind the fields of a known si_code anything may stand");
	CHECK_EQ(take(RT), RT, "[7.7] and arrives");
	si.si_code = -100;
	CHECK_ERR(rt_sigqueueinfo(getpid(), RT, &si), E2BIG, "[7.7] behind those of an unknown one only zeros: E2BIG");
	CHECK_ERR(rt_sigqueueinfo(0, RT, &si), E2BIG, "[7.7] before the target is looked for");
	si.si_code = 77;
	CHECK_ERR(rt_tgsigqueueinfo(a->pid, a->pid, RT, &si), E2BIG, "[7.7] and before it is asked who may");
	*tail = 0;
	CHECK_OK(rt_sigqueueinfo(getpid(), RT, &si), "[7.7] to itself any si_code is allowed");
	CHECK_EQ(take(RT), RT, "[7.7] and arrives");
	retire(a, NULL);
}

CASE(queues)
{
	struct agent *a = spawn(NULL);
	union sigval v;
	call(a, block_all, 0);
	for (int i = 0; i < 3; i++) {
		v.sival_int = i + 10;
		REQUIRE(sigqueue(a->pid, SIGUSR1, v) == 0 && sigqueue(a->pid, RT, v) == 0);
	}
	CHECK(call(a, take, SIGUSR1) == SIGUSR1 && a->out[2] == 10, "[7.8] a standard signal keeps the first siginfo");
	CHECK_EQ(call(a, take, SIGUSR1), 0, "[7.8] and only one instance");
	int right = 0;
	for (int i = 0; i < 3; i++)
		right += call(a, take, RT) == RT && a->out[2] == i + 10;
	CHECK_EQ(right, 3, "[7.8] real-time signals queue in order");
	CHECK_EQ(call(a, take, RT), 0, "[7.8] three for three");
	kill(a->pid, SIGUSR1);
	sys_tgkill(a->pid, a->pid, SIGUSR1);
	CHECK(call(a, take, SIGUSR1) == SIGUSR1 && a->out[1] == SI_TKILL, "[7.8,7.13] the thread's queue is its own, and comes first");
	CHECK(call(a, take, SIGUSR1) == SIGUSR1 && a->out[1] == SI_USER, "[7.8,7.13] then the shared one");
	retire(a, NULL);
}

static long limit_sigpending(long n)
{
	struct rlimit rl = { n, n };
	return setrlimit(RLIMIT_SIGPENDING, &rl);
}

CASE(queue_limit)
{
	NEED_ROOT("[7.8] RLIMIT_SIGPENDING");
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	union sigval v = { 1 };
	REQUIRE(call(a, ag_drop, 61236) == 0 && call(b, ag_drop, 61236) == 0);
	call(a, block_all, 0);
	REQUIRE(call(a, limit_sigpending, 3) == 0);
	int ok = 0;
	while (ok < 10 && sigqueue(a->pid, RT, v) == 0)
		ok++;
	CHECK(ok == 3 && errno == EAGAIN, "[7.8] sigqueue beyond RLIMIT_SIGPENDING: EAGAIN");
	CHECK_OK(kill(a->pid, RT + 1), "[7.8] kill still works");
	CHECK_EQ(call(a, take, RT + 1), RT + 1, "[7.8] and sets the signal pending");
	CHECK(a->out[0] == 0 && a->out[1] == 0 && a->out[3] == 0, "[7.8] its siginfo is lost");
	CHECK_OK(kill(a->pid, SIGUSR1), "[7.8] a standard signal still works");
	CHECK_EQ(call(a, take, SIGUSR1), SIGUSR1, "[7.8] too");
	retire(a, NULL);
	retire(b, NULL);
}

/* ---- ignored and blocked ---- */

CASE(ignored)
{
	struct agent *a = spawn(NULL);
	call(a, ag_ignore, SIGUSR1);
	kill(a->pid, SIGUSR1);
	kill(a->pid, SIGURG);
	call(a, ag_block, SIGUSR1);
	call(a, ag_block, SIGURG);
	CHECK_EQ(call(a, ag_pending, SIGUSR1), 0, "[7.9] an ignored signal is dropped when sent");
	CHECK_EQ(call(a, ag_pending, SIGURG), 0, "[7.9] as is one that is ignored by default");
	kill(a->pid, SIGUSR1);
	kill(a->pid, SIGURG);
	CHECK_EQ(call(a, ag_pending, SIGUSR1), 1, "[7.9] blocked, it is queued even if ignored");
	CHECK_EQ(call(a, ag_pending, SIGURG), 1, "[7.9] or ignored by default");
	call(a, ag_ignore, SIGUSR1);
	CHECK_EQ(call(a, ag_pending, SIGUSR1), 0, "[7.9] setting SIG_IGN flushes it");
	call(a, ag_default, SIGURG);
	CHECK_EQ(call(a, ag_pending, SIGURG), 0, "[7.9] as does SIG_DFL where the default is to ignore");
	call(a, ag_catch, SIGUSR1);
	kill(a->pid, SIGUSR1);
	sys_tgkill(a->pid, a->pid, SIGUSR1);
	call(a, ag_ignore, SIGUSR1);
	CHECK_EQ(call(a, ag_pending, SIGUSR1), 0, "[7.9] thread and shared queue alike");
	call(a, ag_catch, SIGUSR2);
	call(a, ag_block, SIGUSR2);
	kill(a->pid, SIGUSR2);
	call(a, ag_default, SIGUSR2);
	CHECK_EQ(call(a, ag_pending, SIGUSR2), 1, "[7.9] SIG_DFL of a fatal one does not flush");
	call(a, ag_ignore, SIGUSR2);
	retire(a, NULL);
}

CASE(flush_in_all_threads)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, block_all, 0);
	call(t, block_all, 0);
	sys_tgkill(p->pid, t->tid, RT);
	sys_tgkill(p->pid, t->tid, RT);
	call(p, ag_ignore, RT);
	CHECK_EQ(call(t, take, RT), 0, "[7.9] SIG_IGN flushes pending instances in all threads");
	retire(p, NULL);
}

/* ---- which thread ---- */

CASE(choice_of_thread)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
	call(p, ag_catch, SIGUSR1);
	kill(p->pid, SIGUSR1);
	REQUIRE(AWAIT(siglog_count(p->pid, SIGUSR1) == 1));
	CHECK_EQ(siglog_get(p->pid, SIGUSR1, 0)->tid, p->tid, "[7.11] the leader takes a process-directed signal");
	call(p, ag_block, SIGUSR1);
	call(t1, ag_block, SIGUSR1);
	kill(p->pid, SIGUSR1);
	REQUIRE(AWAIT(siglog_count(p->pid, SIGUSR1) == 2));
	CHECK_EQ(siglog_get(p->pid, SIGUSR1, 1)->tid, t2->tid, "[7.11] if it blocks it, another eligible thread does");
	call(t2, ag_block, SIGUSR1);
	kill(p->pid, SIGUSR1);
	CHECK_EQ(call(t1, ag_pending, SIGUSR1), 1, "[7.11] if all block it, it stays pending for the process");
	call(t1, ag_unblock, SIGUSR1);
	REQUIRE(AWAIT(siglog_count(p->pid, SIGUSR1) == 3));
	CHECK_EQ(siglog_get(p->pid, SIGUSR1, 2)->tid, t1->tid, "[7.11] and the thread that unblocks it takes it");
	retire(p, NULL);
}

CASE(exiting_thread_hands_over)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_catch, SIGUSR1);
	call(p, ag_block, SIGUSR1);
	call(t, ag_block, SIGUSR1);
	kill(p->pid, SIGUSR1);
	quit_thread(t, 0);
	REQUIRE(AWAIT(proc_stat(p->pid, 20) == 1));
	call(p, ag_unblock, SIGUSR1);
	CHECK_EQ(siglog_count(p->pid, SIGUSR1), 1, "[3.9] a thread's exit does not take a process-directed signal with it");
	retire(p, NULL);
}

/* What thread `me` gets of SIGURG, which it does not block, in some seconds: its number, or -1. */
static long await_urgent(long x)
{
	sigset_t set;
	struct timespec limit = { .tv_sec = 20 };
	(void)x;
	sigemptyset(&set);
	sigaddset(&set, SIGURG);
	return sigtimedwait(&set, NULL, &limit);
}

CASE(dead_leader_stands)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_block, SIGURG);
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	post(t, await_urgent, 0);
	REQUIRE(await_blocked_in(t));
	kill(p->pid, SIGURG);
	CHECK_EQ(finish(t), SIGURG, "[3.6,7.9] what a dead leader blocked is not dropped as ignored");
	retire(t, NULL);
}

CASE(dead_leader_alone)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_block, SIGUSR1);
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	char pending[64];
	CHECK_OK(syscall(SYS_tgkill, p->pid, p->pid, SIGKILL), "[3.6,7.3] tgkill of a dead leader: 0");
	IF_SINCE(6, 18, "[3.6] what is pending for a dead leader") {
		syscall(SYS_tgkill, p->pid, p->pid, SIGUSR1);
		CHECK(proc_status(p->pid, "SigPnd", pending, sizeof pending) && strtol(pending, NULL, 16) == 0, "[3.6] nothing is pending for it");
	}
	CHECK_EQ(call(t, ag_getpid, 0), p->pid, "[3.6] its process lives");
	kill(p->pid, SIGSTOP);
	REQUIRE(AWAIT(task_state(p->pid, t->tid) == 'T'));
	IF_SINCE(6, 18, "[3.6] SIGCONT for a dead leader") {
		syscall(SYS_tgkill, p->pid, p->pid, SIGCONT);
		CHECK_EQ(task_state(p->pid, t->tid), 'T', "[3.6,7.3] SIGCONT for the dead leader alone continues nobody");
	}
	kill(p->pid, SIGCONT);
	CHECK(AWAIT(task_state(p->pid, t->tid) != 'T'), "[3.6] for the process it does");
	retire(t, NULL);
}

CASE(fatal_kills_group)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_block, SIGTERM);
	kill(p->pid, SIGTERM);
	CHECK_EQ(reap(p->pid), SIGTERM, "[7.12,7.14] blocked by one thread only: the other takes it, and all die");
	(void)t;
}

/* ---- order of delivery ---- */

static volatile int order[16], norder;
static void note_order(int sig) { order[norder++] = sig; }

CASE(dequeue_order)
{
	struct sigaction sa = { .sa_handler = note_order };
	unsigned long all = ~0UL, none = 0;
	int rt = RT;
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(rt, &sa, NULL);
	sigaction(rt + 1, &sa, NULL);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8L);
	kill(getpid(), rt + 1);
	kill(getpid(), rt);
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGHUP);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8L);
	CHECK_EQ(norder, 4, "[7.13] (four handlers ran)");
	CHECK(order[0] == rt + 1 && order[1] == rt && order[2] == SIGUSR1 && order[3] == SIGHUP,
	      "[7.13] lowest number dequeued first; later frames stack on earlier: the last dequeued runs first");
	/* with a full handler mask nothing stacks: the order of dequeue shows */
	norder = 0;
	sigfillset(&sa.sa_mask);
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(rt, &sa, NULL);
	sigaction(rt + 1, &sa, NULL);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8L);
	kill(getpid(), rt + 1);
	kill(getpid(), SIGUSR1);
	sys_tgkill(getpid(), sys_gettid(), rt);
	kill(getpid(), SIGHUP);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8L);
	CHECK(norder == 4 && order[0] == rt && order[1] == SIGHUP && order[2] == SIGUSR1 && order[3] == rt + 1,
	      "[7.13] the thread's queue before the shared one, lowest number first");
}

/* ---- sigaction, sigprocmask ---- */

CASE(kill_and_stop_fixed)
{
	struct sigaction sa = { .sa_handler = SIG_IGN };
	unsigned long all = ~0UL, got = 0;
	CHECK_ERR(sigaction(SIGKILL, &sa, NULL), EINVAL, "[7.15] SIGKILL cannot be ignored");
	CHECK_ERR(sigaction(SIGSTOP, &sa, NULL), EINVAL, "[7.15] nor SIGSTOP");
	sa.sa_handler = SIG_DFL;
	CHECK_ERR(sigaction(SIGKILL, &sa, NULL), EINVAL, "[7.15] not even set to default");
	CHECK_OK(sigaction(SIGKILL, NULL, &sa), "[7.15] a query is fine");
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8L);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &got, 8L);
	CHECK_EQ(got, ~(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1)), "[7.15] their mask bits are dropped silently");
	struct agent *a = spawn(NULL);
	kill(a->pid, SIGKILL);
	CHECK_EQ(reap(a->pid), SIGKILL, "[7.15] SIGKILL kills a process that blocks all");
}

CASE(sizes)
{
	unsigned long set = 0, act[4] = { 0 };
	struct timespec now = { 0, 0 };
	CHECK_ERR(syscall(SYS_rt_sigaction, SIGUSR1, NULL, act, 4L), EINVAL, "[7.16] rt_sigaction with size 4");
	CHECK_ERR(syscall(SYS_rt_sigaction, SIGUSR1, NULL, act, 16L), EINVAL, "[7.16] with size 16");
	CHECK_ERR(syscall(SYS_rt_sigaction, 0, NULL, act, 8L), EINVAL, "[7.16] signal 0");
	CHECK_ERR(syscall(SYS_rt_sigaction, 65, NULL, act, 8L), EINVAL, "[7.16] signal 65");
	CHECK_ERR(syscall(SYS_rt_sigaction, -1, NULL, act, 8L), EINVAL, "[7.16] signal -1");
	CHECK_ERR(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 4L), EINVAL, "[7.16] rt_sigprocmask with size 4");
	CHECK_ERR(syscall(SYS_rt_sigprocmask, 99, &set, NULL, 8L), EINVAL, "[7.16] a bad `how` with a set");
	CHECK_OK(syscall(SYS_rt_sigprocmask, 99, NULL, &set, 8L), "[7.16] a bad `how` without one is fine");
	CHECK_ERR(syscall(SYS_rt_sigpending, &set, 16L), EINVAL, "[7.16] rt_sigpending with size 16");
	CHECK_OK(syscall(SYS_rt_sigpending, &set, 4L), "[7.16] less is fine for it");
	CHECK_ERR(syscall(SYS_rt_sigtimedwait, &set, NULL, &now, 4L), EINVAL, "[7.16,7.34] rt_sigtimedwait with size 4");
	CHECK_ERR(syscall(SYS_rt_sigsuspend, &set, 4L), EINVAL, "[7.16] rt_sigsuspend with size 4");
}

static volatile int depth, max_depth, seen_default, masked, raise_again;
static void again(int sig)
{
	struct sigaction sa;
	sigset_t s;
	sigaction(sig, NULL, &sa);
	seen_default = sa.sa_handler == SIG_DFL;
	sigprocmask(SIG_BLOCK, NULL, &s);
	masked = sigismember(&s, sig);
	if (++depth > max_depth)
		max_depth = depth;
	if (raise_again-- > 0)
		sys_tgkill(getpid(), sys_gettid(), sig);
	depth--;
}

CASE(handler_flags)
{
	struct sigaction sa = { .sa_handler = again };
	sigaction(SIGUSR1, &sa, NULL);
	max_depth = 0;
	raise_again = 1;
	ag_raise(SIGUSR1);
	CHECK(masked && max_depth == 1, "[7.17] the signal is blocked in its handler");
	sa.sa_flags = SA_NODEFER;
	sigaction(SIGUSR1, &sa, NULL);
	max_depth = 0;
	raise_again = 1;
	ag_raise(SIGUSR1);
	CHECK(!masked && max_depth == 2, "[7.17] SA_NODEFER leaves it open");
	sa.sa_flags = SA_RESETHAND;
	sigaction(SIGUSR2, &sa, NULL);
	raise_again = 0;
	ag_raise(SIGUSR2);
	CHECK(seen_default, "[7.17] SA_RESETHAND resets before the handler runs");
	CHECK(masked, "[7.17] and the signal is blocked all the same");
	sigset_t s;
	sigprocmask(SIG_BLOCK, NULL, &s);
	CHECK(!sigismember(&s, SIGUSR1) && !sigismember(&s, SIGUSR2), "[7.17] after the handler the mask is as before");
	sa.sa_flags = SA_RESTART | SA_ONSTACK | SA_NOCLDSTOP;
	sigaddset(&sa.sa_mask, SIGHUP);
	sigaction(SIGUSR1, &sa, NULL);
	struct sigaction old;
	sigaction(SIGUSR1, NULL, &old);
	CHECK(old.sa_handler == again && sigismember(&old.sa_mask, SIGHUP) &&
		      (old.sa_flags & (SA_RESTART | SA_ONSTACK | SA_NOCLDSTOP | SA_NODEFER)) == (SA_RESTART | SA_ONSTACK | SA_NOCLDSTOP),
	      "[7.17] sigaction reads back handler, flags and mask");
}

/* ---- what the kernel keeps of a siginfo_t, and which argument is looked at first ---- */

static long raw_sigqueue(pid_t pid, int sig, void *info) { return syscall(SYS_rt_sigqueueinfo, pid, sig, info); }
static long raw_tgsigqueue(pid_t tgid, pid_t tid, int sig, void *info)
{
	return syscall(SYS_rt_tgsigqueueinfo, tgid, tid, sig, info);
}

CASE(queued_bytes)
{
	unsigned char given[128], got[128], zero[128] = { 0 };
	sigset_t set;
	struct timespec now = { 0, 0 };
	sigemptyset(&set);
	sigaddset(&set, RT);
	MUST(sigprocmask(SIG_BLOCK, &set, NULL));
	memset(given, 0x5a, sizeof given);
	*(int *)(given + 8) = SI_QUEUE;
	REQUIRE(raw_sigqueue(getpid(), RT, given) == 0);
	memset(got, 0xff, sizeof got);
	CHECK_EQ(syscall(SYS_rt_sigtimedwait, &set, got, &now, 8), RT, "[7.7] bytes that no field has");
	CHECK_EQ(*(int *)got, RT, "[7.7] si_signo is overwritten");
	CHECK(!memcmp(got + 4, given + 4, 44), "[7.7] si_errno, padding and all of the first 48 bytes come through");
	CHECK(!memcmp(got + 48, zero, 80), "[7.7] the rest is zero");

	REQUIRE(raw_sigqueue(getpid(), RT, given) == 0);
	int fd = MUST(syscall(SYS_signalfd4, -1, &set, 8, 0));
	CHECK(read(fd, got, 128) == 128 && *(int *)(got + 4) == 0x5a5a5a5a, "[7.33] ssi_errno is what was queued");
}

CASE(queue_order)
{
	unsigned char info[128] = { 0 };
	int *code = (int *)(info + 8);
	*code = SI_USER;
	struct agent *a = spawn(NULL);
	CHECK_ERR(raw_tgsigqueue(0, a->pid, 0, info), EINVAL, "[7.7] tgsigqueue: ids before who may say what");
	CHECK_ERR(raw_tgsigqueue(a->pid, a->pid, 0, info), EPERM, "[7.7] a bad si_code: EPERM");
	CHECK_ERR(raw_tgsigqueue(0x7ffffff, 0x7ffffff, 0, info), EPERM, "[7.7] before the target is looked for");
	CHECK_ERR(raw_tgsigqueue(0, 0, 0, BADPTR), EFAULT, "[7.7] a bad pointer before all");
	CHECK_ERR(raw_sigqueue(0, 0, info), EPERM, "[7.7] sigqueue: si_code before the pid");
	*code = SI_QUEUE;
	CHECK_ERR(raw_sigqueue(0, 0, info), ESRCH, "[7.7] then pid 0: ESRCH");
	CHECK_ERR(raw_sigqueue(a->pid, 65, info), EINVAL, "[7.7] a bad signal to who is there");
	CHECK_ERR(raw_sigqueue(0x7ffffff, 65, info), ESRCH, "[7.7] to nobody: ESRCH");
	retire(a, NULL);
	pid_t dead = fork();
	if (dead == 0)
		_exit(0);
	await_zombie(dead);
	CHECK_OK(raw_sigqueue(dead, 0, info), "[7.7,3.12] to a zombie: 0");
	CHECK_OK(raw_tgsigqueue(dead, dead, RT, info), "[7.7,3.12] and to its thread");
	CHECK_ERR(raw_tgsigqueue(dead, dead, 65, info), EINVAL, "[7.7] a bad signal to it");
	CHECK_ERR(raw_tgsigqueue(getpid(), dead, 0, info), ESRCH, "[7.7] that is not of this process: ESRCH");
	reap(dead);

	CHECK_EQ(syscall(SYS_rt_sigaction, 65, BADPTR, 0, 8) < 0 ? errno : 0, EFAULT, "[7.16] sigaction reads the action before it looks at the signal");
	CHECK_EQ(syscall(SYS_rt_sigaction, 65, BADPTR, 0, 4) < 0 ? errno : 0, EINVAL, "[7.16] and at the size before that");
	CHECK_EQ(syscall(SYS_rt_sigaction, 65, 0, BADPTR, 8) < 0 ? errno : 0, EINVAL, "[7.16] where to write the old one counts last");
}

/* ---- more on the choice of thread and of signal ---- */

static void stay(int sig)
{
	(void)sig;
	__atomic_fetch_add(&sh->w[0], 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&sh->w[1], __ATOMIC_SEQ_CST))
		usleep(500);
	__atomic_fetch_add(&sh->w[2], 1, __ATOMIC_SEQ_CST);
}
static long ag_stay(long sig)
{
	struct sigaction sa = { .sa_handler = stay };
	return sigaction(sig, &sa, NULL);
}

CASE(addressed_thread)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
	call(p, ag_catch, SIGUSR1);
	int right = 0;
	for (int i = 0; i < 20; i++) {
		struct agent *to = i % 3 == 0 ? p : i % 3 == 1 ? t1 : t2;
		kill(to->tid, SIGUSR1);
		AWAIT(siglog_count(p->pid, SIGUSR1) == i + 1);
		right += siglog_get(p->pid, SIGUSR1, i)->tid == to->tid;
	}
	CHECK_EQ(right, 20, "[7.1,7.11] the thread whose id was given takes it, if it can");
	retire(p, NULL);
}

CASE(busy_threads)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	(void)t;
	call(p, ag_stay, SIGUSR1);
	kill(p->pid, SIGUSR1);
	CHECK(AWAIT(sh->w[0] == 1), "[7.11] one thread is in its handler, where the signal is blocked");
	kill(p->pid, SIGUSR1);
	CHECK(AWAIT(sh->w[0] == 2), "[7.11,7.12] the next signal goes to the other");
	kill(p->pid, SIGUSR1);
	unsigned long pending = 0;
	char text[32];
	if (proc_status(p->pid, "ShdPnd", text, sizeof text))
		pending = strtoul(text, NULL, 16);
	CHECK_EQ(pending, 1UL << (SIGUSR1 - 1), "[7.11] with both busy a third is pending for the process");
	sh->w[1] = 1;
	CHECK(AWAIT(sh->w[2] == 3), "[7.11] until one comes back from its handler");
	retire(p, NULL);
}

CASE(faults_first)
{
	unsigned long all = ~0UL, both = 1UL << (SIGHUP - 1) | 1UL << (SIGSEGV - 1);
	struct timespec now = { 0, 0 };
	REQUIRE(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8L) == 0);
	REQUIRE(raise(SIGHUP) == 0 && raise(SIGSEGV) == 0 && raise(SIGBUS) == 0);
	both |= 1UL << (SIGBUS - 1);
	CHECK_EQ(syscall(SYS_rt_sigtimedwait, &both, NULL, &now, 8L), SIGBUS, "[7.13] signals of faults come before those of lower numbers");
	CHECK_EQ(syscall(SYS_rt_sigtimedwait, &both, NULL, &now, 8L), SIGSEGV, "[7.13] among each other by number");
	CHECK_EQ(syscall(SYS_rt_sigtimedwait, &both, NULL, &now, 8L), SIGHUP, "[7.13] and then the rest");
}

CASE(first_fatal_signal_decides)
{
	int first = 0, n = 40;
	for (int i = 0; i < n; i++) {
		pid_t p = fork();
		if (p == 0)
			for (;;)
				if (i % 2)
					pause();
		if (i % 2)
			await_blocked(p);
		kill(p, SIGTERM);
		kill(p, SIGINT);
		kill(p, SIGKILL);
		first += reap(p) == SIGTERM;
	}
	CHECK_EQ(first, n, "[7.14] the first fatal signal decides the status when it is sent");
}

CASE(unmaskable_in_signalfd)
{
	unsigned long mask = ~0UL;
	int fd = MUST(syscall(SYS_signalfd4, -1, &mask, 8L, 0L));
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	REQUIRE(read_file(path, text, sizeof text) > 0);
	char *line = strstr(text, "sigmask:");
	REQUIRE(line);
	CHECK_EQ(strtoul(line + 8, NULL, 16), ~(1UL << (SIGKILL - 1) | 1UL << (SIGSTOP - 1)),
		 "[7.15] signalfd drops SIGKILL and SIGSTOP from its mask as well");
}
