/* sigchld.c - section 5: when SIGCHLD (or another exit signal) is sent, to whom, and with what. */
#include "lib/tap.h"

#define RT (SIGRTMIN + 1)

/* Take a pending `sig` with its siginfo, at once; out: pid code status uid. 0 if none is pending. */
static long take(long sig)
{
	sigset_t s;
	siginfo_t si;
	struct timespec now = { 0, 0 };
	sigemptyset(&s);
	sigaddset(&s, sig);
	int r = sigtimedwait(&s, &si, &now);
	if (r < 0)
		return errno == EAGAIN ? 0 : -errno;
	me->out[0] = si.si_pid;
	me->out[1] = si.si_code;
	me->out[2] = si.si_status;
	me->out[3] = si.si_uid;
	return r;
}

static long set_chld(long flags)
{
	siglog_catch(SIGCHLD, flags);
	return 0;
}

CASE(exit_siginfo)
{
	struct agent *p = spawn(NULL), *c = spawn(p), *k = spawn(p);
	call(p, ag_block, SIGCHLD);
	quit(c, 300);
	REQUIRE(await_state(c->pid, 'Z'));
	CHECK_EQ(call(p, take, SIGCHLD), SIGCHLD, "[5.1] SIGCHLD at the child's death");
	CHECK(p->out[0] == c->pid && p->out[1] == CLD_EXITED && p->out[2] == 44 && p->out[3] == getuid(),
	      "[5.1] si_pid, si_code CLD_EXITED, si_status the exit code, si_uid");
	kill(k->pid, SIGUSR1);
	REQUIRE(await_state(k->pid, 'Z'));
	REQUIRE(call(p, take, SIGCHLD) == SIGCHLD);
	CHECK(p->out[0] == k->pid && p->out[1] == CLD_KILLED && p->out[2] == SIGUSR1, "[5.1] CLD_KILLED and the signal");
	REQUIRE(call(p, ag_reap, c->pid) > 0 && call(p, ag_reap, k->pid) > 0);
	retire(p, NULL);
}

CASE(after_last_thread)
{
	struct agent *p = spawn(NULL), *c = spawn(p), *t = spawn_thread(c), *t2 = spawn_thread(c);
	call(p, ag_block, SIGCHLD);
	quit_thread(t2, 1);
	REQUIRE(AWAIT(proc_stat(c->pid, 20) == 2));
	CHECK_EQ(call(p, take, SIGCHLD), 0, "[5.1,3.7] no SIGCHLD at the exit of a thread");
	quit_thread(c, 1);
	REQUIRE(await_state(c->pid, 'Z'));
	CHECK_EQ(call(p, take, SIGCHLD), 0, "[5.1,3.6] none at the exit of the leader with a live thread");
	quit_thread(t, 9);
	CHECK(AWAIT(call(p, take, SIGCHLD) == SIGCHLD), "[5.1] but when all threads are dead");
	IF_SINCE(6, 18, "[5.1,3.5] with the last thread's code")
		CHECK(p->out[0] == c->pid && p->out[2] == 9, "[5.1,3.5] with the last thread's code");
	REQUIRE(call(p, ag_reap, c->pid) > 0);
	retire(p, NULL);
}

CASE(stop_and_continue)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	call(p, ag_block, SIGCHLD);
	kill(c->pid, SIGSTOP);
	CHECK(AWAIT(call(p, take, SIGCHLD) == SIGCHLD), "[5.2] a stop is told");
	CHECK(p->out[0] == c->pid && p->out[1] == CLD_STOPPED && p->out[2] == SIGSTOP, "[5.2] CLD_STOPPED with the signal");
	kill(c->pid, SIGCONT);
	CHECK(AWAIT(call(p, take, SIGCHLD) == SIGCHLD), "[5.2] a continue is told");
	CHECK(p->out[0] == c->pid && p->out[1] == CLD_CONTINUED && p->out[2] == SIGCONT, "[5.2] CLD_CONTINUED with SIGCONT");
	call(p, set_chld, SA_NOCLDSTOP);
	kill(c->pid, SIGSTOP);
	REQUIRE(await_state(c->pid, 'T'));
	CHECK_EQ(call(p, take, SIGCHLD), 0, "[5.2] SA_NOCLDSTOP suppresses the stop");
	kill(c->pid, SIGCONT);
	call(c, ag_getpid, 0);
	CHECK_EQ(call(p, take, SIGCHLD), 0, "[5.2] and the continue");
	quit(c, 0);
	REQUIRE(await_state(c->pid, 'Z'));
	CHECK_EQ(call(p, take, SIGCHLD), SIGCHLD, "[5.2] but not the death");
	REQUIRE(call(p, ag_reap, c->pid) > 0);
	retire(p, NULL);
}

CASE(stop_uses_sigchld)
{
	struct agent *p = spawn(NULL), *c = spawn_flags(p, RT);
	call(p, ag_block, SIGCHLD);
	call(p, ag_block, RT);
	kill(c->pid, SIGSTOP);
	REQUIRE(await_state(c->pid, 'T'));
	CHECK_EQ(call(p, take, RT), 0, "[5.3] a stop is not told by the child's exit signal");
	CHECK_EQ(call(p, take, SIGCHLD), SIGCHLD, "[5.3] but by SIGCHLD");
	kill(c->pid, SIGCONT);
	quit(c, 1);
	REQUIRE(await_state(c->pid, 'Z'));
	CHECK_EQ(call(p, take, RT), RT, "[5.8] the death by its exit signal");
	CHECK(p->out[0] == c->pid && p->out[1] == CLD_EXITED && p->out[2] == 1, "[5.8] with the same siginfo");
	REQUIRE(call(p, ag_reap, c->pid) > 0);
	retire(p, NULL);
}

CASE(not_queued)
{
	struct agent *p = spawn(NULL), *c[3] = { spawn(p), spawn(p), spawn(p) };
	call(p, ag_block, SIGCHLD);
	for (int i = 0; i < 3; i++) {
		quit(c[i], i);
		REQUIRE(await_state(c[i]->pid, 'Z'));
	}
	CHECK_EQ(call(p, ag_reap, c[0]->pid), c[0]->pid, "[5.6] (the first is reaped while its signal is pending)");
	CHECK_EQ(call(p, take, SIGCHLD), SIGCHLD, "[5.6] reaping does not remove the pending SIGCHLD");
	CHECK_EQ(p->out[0], c[0]->pid, "[5.5] the first one's siginfo is kept");
	CHECK_EQ(call(p, take, SIGCHLD), 0, "[5.5] the later ones have vanished");
	REQUIRE(call(p, ag_reap, c[1]->pid) > 0 && call(p, ag_reap, c[2]->pid) > 0);
	retire(p, NULL);
}

CASE(real_time_queues)
{
	struct agent *p = spawn(NULL), *c[3] = { spawn_flags(p, RT), spawn_flags(p, RT), spawn_flags(p, RT) };
	call(p, ag_block, RT);
	for (int i = 0; i < 3; i++) {
		quit(c[i], i);
		REQUIRE(await_state(c[i]->pid, 'Z'));
	}
	int right = 0;
	for (int i = 0; i < 3; i++)
		right += call(p, take, RT) == RT && p->out[0] == c[i]->pid && p->out[2] == i;
	CHECK_EQ(right, 3, "[5.5] a real-time exit signal queues, in order of death");
	CHECK_EQ(call(p, take, RT), 0, "[5.5] one per child");
	for (int i = 0; i < 3; i++)
		REQUIRE(call(p, ag_reap, c[i]->pid) > 0);
	retire(p, NULL);
}

CASE(nocldwait_handler)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	call(p, set_chld, SA_NOCLDWAIT | SA_RESTART);
	quit(c, 3);
	CHECK(AWAIT(siglog_count(p->pid, SIGCHLD) == 1), "[5.7] SA_NOCLDWAIT with a handler: still signalled");
	struct sigrec *r = siglog_get(p->pid, SIGCHLD, 0);
	CHECK(r && r->pid == c->pid && r->status == 3, "[5.7] about that child");
	CHECK(AWAIT(proc_state(c->pid) == 0), "[5.7] and the child is autoreaped");
	CHECK_ERR(call(p, ag_reap, -1), ECHILD, "[5.7] nothing to wait for");
	retire(p, NULL);
}

CASE(ignored_and_blocked)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	call(p, ag_ignore, SIGCHLD);
	call(p, ag_block, SIGCHLD);
	kill(c->pid, SIGSTOP);
	REQUIRE(await_state(c->pid, 'T'));
	CHECK_EQ(call(p, ag_pending, SIGCHLD), 0, "[5.7] SIG_IGN: a stop notice does not become pending, even blocked");
	kill(c->pid, SIGCONT);
	quit(c, 0);
	REQUIRE(AWAIT(proc_state(c->pid) == 0));
	CHECK_EQ(call(p, ag_pending, SIGCHLD), 0, "[5.7] nor does an exit notice");
	kill(p->pid, SIGCHLD);
	CHECK_EQ(call(p, ag_pending, SIGCHLD), 1, "[5.13] a kill() does, ignored and blocked");
	retire(p, NULL);
}

CASE(default_disposition)
{
	struct agent *p = spawn(NULL), *c = spawn(p), *d = spawn(p);
	quit(c, 0);
	REQUIRE(await_state(c->pid, 'Z'));
	call(p, ag_block, SIGCHLD);
	CHECK_EQ(call(p, ag_pending, SIGCHLD), 0, "[5.13] default and not blocked: discarded when sent");
	quit(d, 0);
	REQUIRE(await_state(d->pid, 'Z'));
	CHECK_EQ(call(p, ag_pending, SIGCHLD), 1, "[5.13] default and blocked: pending");
	REQUIRE(call(p, ag_reap, -1) > 0 && call(p, ag_reap, -1) > 0);
	retire(p, NULL);
}

/* ---- the signal that is used ---- */

HELPER(spin_until_gone)
{
	/* a child with exit signal USR1 was made before this exec; it ends when told by a byte */
	sigset_t s;
	siginfo_t si;
	char c = 'x';
	struct timespec ts = { 8, 0 };
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, SIGCHLD);
	sigprocmask(SIG_BLOCK, &s, NULL);
	if (write(atoi(argv[1]), &c, 1) != 1)
		return 90;
	return sigtimedwait(&s, &si, &ts);
}

CASE(exec_of_parent)
{
	pid_t p = MUST(fork());
	if (p == 0) {
		int go[2];
		char fd[16];
		if (pipe(go))
			_exit(91);
		if (raw_clone(SIGUSR1) == 0) {
			char c;
			_exit(read(go[0], &c, 1) == 1 ? 0 : 1);
		}
		snprintf(fd, sizeof fd, "%d", go[1]);
		exec_self("spin_until_gone", fd, NULL, NULL);
		_exit(92);
	}
	CHECK_EQ(reap(p), SIGCHLD << 8, "[5.8] the parent has exec'ed since the clone: SIGCHLD instead of the exit signal");
}

HELPER(nothing)
{
	return 3;
}

static long exec_nothing(long x)
{
	(void)x;
	exec_self("nothing", NULL, NULL, NULL);
	return -1;
}

CASE(exec_of_child)
{
	struct agent *p = spawn(NULL), *c = spawn_flags(p, SIGUSR1);
	call(p, ag_block, SIGUSR1);
	call(p, ag_block, SIGCHLD);
	post(c, exec_nothing, 0);
	REQUIRE(await_state(c->pid, 'Z'));
	CHECK_EQ(call(p, take, SIGUSR1), 0, "[5.8] a child's own exec replaces its exit signal");
	CHECK_EQ(call(p, take, SIGCHLD), SIGCHLD, "[5.8] by SIGCHLD");
	CHECK_EQ(proc_stat(c->pid, 38), SIGCHLD, "[5.8,10.10] as its stat shows");
	REQUIRE(call(p, ag_reap, c->pid) == c->pid);
	CHECK_EQ(p->out[0], 3 << 8, "[5.8] (it ran)");
	retire(p, NULL);
}

CASE(no_signal)
{
	struct agent *p = spawn(NULL), *c = spawn_flags(p, 0);
	call(p, ag_block, SIGCHLD);
	quit(c, 0);
	REQUIRE(await_state(c->pid, 'Z'));
	CHECK_EQ(call(p, ag_pending, SIGCHLD), 0, "[5.9] exit signal 0: no signal");
	CHECK_EQ(call(p, ag_reap, c->pid), c->pid, "[5.9] the zombie stays to be reaped");
	long pid = call(p, ag_getpid, 0);
	CHECK(pid == p->pid, "[5.9] (the parent lives)");
	retire(p, NULL);
}

CASE(parent_thread_first)
{
	/* a RT exit signal and a non-blocking creator thread: it gets it although the leader is free */
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *t2 = spawn_thread(p), *c = spawn(t), *d = spawn(t);
	call(p, set_chld, SA_RESTART);
	quit(c, 0);
	CHECK(AWAIT(siglog_count(p->pid, SIGCHLD) == 1), "[5.10] (SIGCHLD is handled)");
	CHECK_EQ(siglog_get(p->pid, SIGCHLD, 0)->tid, t->tid, "[5.10] by the thread that made the child, though the leader is free");
	call(t, ag_block, SIGCHLD);
	quit(d, 0);
	CHECK(AWAIT(siglog_count(p->pid, SIGCHLD) == 2), "[5.10] when that thread blocks it, it is still handled");
	struct sigrec *r = siglog_get(p->pid, SIGCHLD, 1);
	CHECK(r && (r->tid == p->tid || r->tid == t2->tid), "[5.10] by another one");
	REQUIRE(call(p, ag_reap, -1) > 0 && call(p, ag_reap, -1) > 0);
	retire(p, NULL);
}

static long burn_ticks(long ms)
{
	struct timespec ts;
	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	while (ts.tv_sec * 1000 + ts.tv_nsec / 1000000 < ms);
	return 0;
}

/* Takes a pending SIGCHLD; out: utime + stime. */
static long take_times(long x)
{
	sigset_t s;
	siginfo_t si;
	struct timespec now = { 0, 0 };
	(void)x;
	sigemptyset(&s);
	sigaddset(&s, SIGCHLD);
	int r = sigtimedwait(&s, &si, &now);
	me->out[0] = si.si_utime + si.si_stime;
	return r;
}

CASE(times_in_siginfo)
{
	struct agent *p = spawn(NULL), *c = spawn(p), *g = spawn(c);
	call(p, ag_block, SIGCHLD);
	call(g, burn_ticks, 300);
	retire(g, c);
	call(c, burn_ticks, 60);
	quit(c, 0);
	REQUIRE(await_state(c->pid, 'Z'));
	REQUIRE(call(p, take_times, 0) == SIGCHLD);
	CHECK(p->out[0] >= 5, "[5.1] si_utime and si_stime are clock ticks");
	CHECK(p->out[0] < 28, "[5.1] of its own, without its children's");
	REQUIRE(call(p, ag_reap, c->pid) == c->pid);
	retire(p, NULL);
}

static long vfork_until_told(long x)
{
	(void)x;
	pid_t pid = vfork();
	if (pid == 0) {
		sh->v[0] = sys_gettid();
		set_word(&sh->w[0], 1);
		while (!sh->w[1])
			futex(&sh->w[1], 0, 0, NULL);
		syscall(SYS_exit_group, 0);
	}
	return pid;
}

static long wait_report(long pid)
{
	int st = -1;
	long r = waitpid(pid, &st, WNOHANG | WUNTRACED | WCONTINUED);
	me->out[0] = st;
	return r;
}

CASE(continued_while_stopping)
{
	/* one thread of C has stopped, another waits for its vfork child: the stop is still being collected */
	struct agent *p = spawn(NULL), *c = spawn(p), *t = spawn_thread(c);
	call(p, ag_block, SIGCHLD);
	post(t, vfork_until_told, 0);
	wait_word(&sh->w[0], 1);
	REQUIRE(AWAIT(task_state(c->pid, t->tid) == 'D'));
	kill(c->pid, SIGSTOP);
	REQUIRE(AWAIT(task_state(c->pid, c->pid) == 'T'));
	CHECK_EQ(call(p, wait_report, c->pid), 0, "[5.4,5.3] a stop that is not complete is not reported");
	CHECK_EQ(call(p, take, SIGCHLD), 0, "[5.4,5.3] nor told");
	kill(c->pid, SIGCONT);
	REQUIRE(call(c, ag_getpid, 0) == c->pid);
	CHECK_EQ(call(p, take, SIGCHLD), SIGCHLD, "[5.4] SIGCONT while the stop is collected: one SIGCHLD");
	CHECK(p->out[0] == c->pid && p->out[1] == CLD_STOPPED, "[5.4] with CLD_STOPPED");
	CHECK_EQ(p->out[2], 0, "[5.4] and no signal as its status");
	CHECK_EQ(call(p, wait_report, c->pid), c->pid, "[5.4] wait reports");
	CHECK_EQ(p->out[0], 0xffff, "[5.4] that it was continued");
	CHECK_EQ(call(p, wait_report, c->pid), 0, "[5.4] and nothing else");
	CHECK_EQ(call(p, take, SIGCHLD), 0, "[5.4] there is no second signal");
	set_word(&sh->w[1], 1);
	REQUIRE(finish(t) == sh->v[0]);
	retire(c, p);
	retire(p, NULL);
}
