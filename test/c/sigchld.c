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
	if (proc_stat(atoi(argv[2]), 38) != SIGUSR1)
		return 89;	/* not as it was made with */
	if (write(atoi(argv[1]), &c, 1) != 1)
		return 90;
	return sigtimedwait(&s, &si, &ts);
}

CASE(exec_of_parent)
{
	pid_t p = MUST(fork());
	if (p == 0) {
		int go[2];
		char fd[16], kid[16];
		if (pipe(go))
			_exit(91);
		pid_t pid = raw_clone(SIGUSR1);
		if (pid == 0) {
			char c;
			_exit(read(go[0], &c, 1) == 1 ? 0 : 1);
		}
		snprintf(fd, sizeof fd, "%d", go[1]);
		snprintf(kid, sizeof kid, "%d", pid);
		exec_self("spin_until_gone", fd, kid, NULL);
		_exit(92);
	}
	CHECK_EQ(reap(p), SIGCHLD << 8, "[5.8] the parent has exec'ed since the clone: SIGCHLD instead of the exit signal, which its stat still shows");
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
	call(c, burn_ticks, 90);
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

/* ---- every exit signal ---- */

/* A parent that blocks all signals has a child with this exit signal; what it sees of its death: bit 0, the signal is pending, 1, with
 * the child's siginfo, 2, nothing else is, 3, the zombie is seen with __WALL, 4, and with neither or __WCLONE as the signal says. */
static int death_by(int exit_signal)
{
	sigset_t all, pending, one;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	pid_t pid = raw_clone(exit_signal);
	if (pid == 0)
		_exit(5);
	if (pid < 0)
		return 99;
	siginfo_t si = { 0 };
	if (sys_waitid(P_PID, pid, &si, WEXITED | WNOWAIT | __WALL, NULL))
		return 98;
	int seen = 0;
	sigpending(&pending);
	struct timespec now = { 0, 0 };
	memset(&si, 0, sizeof si);
	if (exit_signal >= 1 && exit_signal <= 64 && sigismember(&pending, exit_signal)) {
		seen |= 1;
		/* the library hides two signals from its sets */
		unsigned long bit = 1UL << (exit_signal - 1);
		if (syscall(SYS_rt_sigtimedwait, &bit, &si, &now, 8) == exit_signal && si.si_code == CLD_EXITED && si.si_pid == pid && si.si_status == 5)
			seen |= 2;
	}
	sigemptyset(&one);
	sigpending(&pending);
	if (!memcmp(&pending, &one, 8))
		seen |= 4;
	bool plain = sys_wait4(pid, NULL, WNOHANG, NULL) == -1, clone = exit_signal == SIGCHLD || sys_wait4(pid, NULL, WNOHANG | __WCLONE, NULL) == pid;
	if (plain == (exit_signal != SIGCHLD))
		seen |= 16;
	if (clone)
		seen |= 8;
	return seen;
}

CASE(every_exit_signal)
{
	for (int sig = 0; sig <= 64; sig++) {
		if (sig == SIGKILL || sig == SIGSTOP || sig == 32 || sig == 33)
			continue;
		pid_t pid = MUST(fork());
		if (pid == 0)
			_exit(death_by(sig));
		char text[96];
		snprintf(text, sizeof text, sig ? "[5.8] exit signal %d: pending with the siginfo of a child, and nothing else" : "[5.9] exit signal %d: none is pending", sig);
		CHECK_EQ(reap(pid), (sig ? 31 : 28) << 8, text);
	}
	IF_SINCE(6, 0, "[5.9] exit signals that there are not") {
		static const int none[] = { 65, 66, 100, 127, 128, 200, 255 };
		for (unsigned i = 0; i < sizeof none / sizeof *none; i++) {
			pid_t pid = MUST(fork());
			if (pid == 0)
				_exit(death_by(none[i]));
			int st = reap(pid);
			char text[96];
			snprintf(text, sizeof text, "[5.9,14.7] clone with exit signal %d: as with none, or refused by newer kernels", none[i]);
			CHECK(st == 28 << 8 || (!on_foster() && st == 99 << 8), text);
		}
	}
	static const struct { int sig; const char *text; } deadly[] = {
		{ SIGKILL, "[5.8] exit signal SIGKILL: the parent dies of it" }, { SIGTERM, "[5.8] exit signal SIGTERM: the parent dies of it" },
	};
	for (int i = 0; i < 2; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			pid_t kid = raw_clone(deadly[i].sig);
			if (kid == 0)
				_exit(0);
			for (;;)
				pause();
		}
		CHECK_EQ(reap(pid), deadly[i].sig, deadly[i].text);
		while (reap_any(NULL) > 0)
			;
	}
	pid_t pid = MUST(fork());
	if (pid == 0) {
		if (raw_clone(SIGSTOP) == 0)
			_exit(0);
		for (;;)
			pause();
	}
	int st = 0;
	CHECK(waitpid(pid, &st, WUNTRACED) == pid && WIFSTOPPED(st), "[5.8] exit signal SIGSTOP: the parent stops");
	kill(pid, SIGKILL);
	reap(pid);
	while (reap_any(NULL) > 0)
		;
}

/* The notice of a continue, too, of who ignores SIGCHLD. */
CASE(ignored_continue)
{
	struct agent *p = spawn(NULL);
	long ignore(long x) { (void)x; signal(SIGCHLD, SIG_IGN); return 0; }
	call(p, ignore, 0);
	call(p, ag_block, SIGCHLD);
	struct agent *c = spawn(p);
	kill(c->pid, SIGSTOP);
	REQUIRE(await_state(c->pid, 'T'));
	kill(c->pid, SIGCONT);
	REQUIRE(await_blocked(c->pid));
	CHECK_EQ(call(p, ag_pending, SIGCHLD), 0, "[5.7,5.2] SIG_IGN: a continue notice does not become pending either");
	retire(p, NULL);
}
