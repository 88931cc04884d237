/* signal_stop.c - section 7, second part: stop and continue (rules 7.18-7.23, 6.23). */
#include "lib/tap.h"

#define STOPPED(sig) ((sig) << 8 | 0x7f)

static bool stop(struct agent *a)
{
	kill(a->pid, SIGSTOP);
	return await_state(a->pid, 'T');
}

static int hits(struct agent *a, int sig)
{
	call(a, ag_getpid, 0);
	return siglog_count(a->pid, sig);
}

CASE(stop_removes_cont)
{
	struct agent *a = spawn(NULL);
	call(a, ag_catch, SIGCONT);
	call(a, ag_block, SIGCONT);
	call(a, ag_block, SIGTSTP);
	call(a, ag_catch, SIGTSTP);
	kill(a->pid, SIGCONT);
	CHECK_EQ(call(a, ag_pending, SIGCONT), 1, "[7.19] a blocked SIGCONT is pending");
	kill(a->pid, SIGTSTP);
	CHECK_EQ(call(a, ag_pending, SIGCONT), 0, "[7.18] a stop signal deletes a pending SIGCONT");
	CHECK_EQ(call(a, ag_pending, SIGTSTP), 1, "[7.18] (and is pending itself)");
	kill(a->pid, SIGCONT);
	CHECK_EQ(call(a, ag_pending, SIGTSTP), 0, "[7.18] SIGCONT deletes a pending stop signal");
	CHECK_EQ(call(a, ag_pending, SIGCONT), 1, "[7.19] and is pending");
	sys_tgkill(a->pid, a->pid, SIGTSTP);
	CHECK_EQ(call(a, ag_pending, SIGCONT), 0, "[7.18] a thread-directed stop signal clears the shared queue, too");
	retire(a, NULL);
}

CASE(cont_resumes_always)
{
	static const char *const text[] = { "[7.18] SIGCONT resumes when it is blocked", "[7.18] when it is ignored",
					    "[7.18] when it is handled" };
	for (int how = 0; how < 3; how++) {
		struct agent *a = spawn(NULL);
		if (how == 0)
			call(a, ag_block, SIGCONT);
		else if (how == 1)
			call(a, ag_ignore, SIGCONT);
		else
			call(a, ag_catch, SIGCONT);
		REQUIRE(stop(a));
		kill(a->pid, SIGCONT);
		CHECK_EQ(call(a, ag_getpid, 0), a->pid, text[how]);
		if (how == 0)
			CHECK_EQ(call(a, ag_pending, SIGCONT), 1, "[7.19] and stays pending");
		if (how == 2)
			CHECK_EQ(hits(a, SIGCONT), 1, "[7.19] and its handler runs");
		retire(a, NULL);
	}
}

CASE(stop_all_threads)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
	sys_tgkill(p->pid, t1->tid, SIGSTOP);
	int st = 0;
	CHECK(sys_wait4(p->pid, &st, WUNTRACED, NULL) == p->pid && st == STOPPED(SIGSTOP),
	      "[7.20] a stop signal for one thread stops the process");
	CHECK(task_state(p->pid, p->tid) == 'T' && task_state(p->pid, t1->tid) == 'T' && task_state(p->pid, t2->tid) == 'T',
	      "[7.20] reported when the last of its threads has stopped");
	CHECK_EQ(waitpid(p->pid, &st, WUNTRACED | WNOHANG), 0, "[7.20] once");
	kill(p->pid, SIGCONT);
	CHECK(call(p, ag_getpid, 0) == p->pid && call(t1, ag_getpid, 0) == p->pid && call(t2, ag_getpid, 0) == p->pid,
	      "[7.18] SIGCONT resumes all of them");
	retire(p, NULL);
}

CASE(job_stop_in_orphaned_group)
{
	struct agent *a = spawn(NULL);	/* in the case's group, which is orphaned */
	static const int sigs[] = { SIGTSTP, SIGTTIN, SIGTTOU };
	for (int i = 0; i < 3; i++) {
		char text[80];
		kill(a->pid, sigs[i]);
		snprintf(text, sizeof text, "[7.20] signal %d does not stop a process in an orphaned group", sigs[i]);
		CHECK(call(a, ag_getpid, 0) == a->pid && proc_state(a->pid) != 'T', text);
	}
	CHECK(stop(a), "[7.20] SIGSTOP always does");
	kill(a->pid, SIGCONT);
	retire(a, NULL);
}

CASE(job_stop_handled)
{
	struct agent *s = spawn(NULL);
	REQUIRE(call(s, ag_setsid, 0) > 0);
	struct agent *a = spawn(s);
	REQUIRE(call(a, ag_setpgid, 0) == 0);
	call(a, ag_catch, SIGTSTP);
	kill(a->pid, SIGTSTP);
	CHECK_EQ(hits(a, SIGTSTP), 1, "[7.20] a handled SIGTSTP runs its handler and does not stop");
	call(a, ag_ignore, SIGTSTP);
	kill(a->pid, SIGTSTP);
	CHECK(call(a, ag_getpid, 0) == a->pid, "[7.20] an ignored one does nothing");
	call(a, ag_default, SIGTSTP);
	kill(a->pid, SIGTSTP);
	CHECK(await_state(a->pid, 'T'), "[7.20] by default it stops");
	kill(a->pid, SIGCONT);
	retire(a, s);
	retire(s, NULL);
}

CASE(pending_while_stopped)
{
	struct agent *a = spawn(NULL);
	call(a, ag_catch, SIGUSR1);
	REQUIRE(stop(a));
	kill(a->pid, SIGUSR1);
	kill(a->pid, SIGTERM);
	CHECK_EQ(proc_state(a->pid), 'T', "[7.21] a stopped process stays stopped on other signals, fatal ones too");
	CHECK_EQ(siglog_count(a->pid, SIGUSR1), 0, "[7.21] a handler does not run");
	kill(a->pid, SIGCONT);
	CHECK_EQ(reap(a->pid), SIGTERM, "[7.21] they act after SIGCONT");
}

CASE(kill_stopped)
{
	struct agent *a = spawn(NULL);
	REQUIRE(stop(a));
	kill(a->pid, SIGKILL);
	CHECK_EQ(reap(a->pid), SIGKILL, "[7.22] SIGKILL terminates a stopped process directly");
}

static long sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };
	long long start = now_ms();
	long r = nanosleep(&ts, NULL);
	me->out[0] = now_ms() - start;
	return r < 0 ? -errno : r;
}

CASE(sleep_goes_on)
{
	struct agent *a = spawn(NULL);
	post(a, sleep_ms, 300);
	REQUIRE(await_blocked_in(a));
	REQUIRE(stop(a));
	kill(a->pid, SIGCONT);
	CHECK_EQ(finish(a), 0, "[7.23] nanosleep goes on after a stop and a continue");
	CHECK(a->out[0] >= 299, "[7.23] and lasts its full time");
	retire(a, NULL);
}

CASE_T(stop_cont_storm, 60)
{
	/* 13.11: stops and continues are reported in turn, none is invented */
	int n = iterations(300), stops = 0, conts = 0, wrong = 0;
	struct agent *a = spawn(NULL), *t = spawn_thread(a);
	(void)t;
	for (int i = 0; i < n; i++) {
		int st;
		kill(a->pid, SIGSTOP);
		if (sys_wait4(a->pid, &st, WUNTRACED | WCONTINUED, NULL) == a->pid && st == STOPPED(SIGSTOP))
			stops++;
		else
			wrong++;
		kill(a->pid, SIGCONT);
		if (sys_wait4(a->pid, &st, WUNTRACED | WCONTINUED, NULL) == a->pid && st == 0xffff)
			conts++;
		else
			wrong++;
	}
	CHECK(stops == n && conts == n && !wrong, "[13.11] one report for each stop and each continue, in turn");
	CHECK_EQ(waitpid(a->pid, NULL, WNOHANG | WUNTRACED | WCONTINUED), 0, "[13.11] and none is left");
	retire(a, NULL);
}

CASE_T(storm_unsynchronised, 60)
{
	/* one process stops and continues without waiting for either; the reports alternate */
	int n = iterations(300), stops = 0, conts = 0, twice = 0, last = 0;
	struct agent *a = spawn(NULL);
	pid_t k = MUST(fork());
	if (k == 0) {
		for (int i = 0; i < n; i++) {
			kill(a->pid, SIGSTOP);
			if (i % 3 == 0)
				sched_yield();
			kill(a->pid, SIGCONT);
			if (i % 5 == 0)
				sched_yield();
		}
		kill(a->pid, SIGKILL);
		_exit(0);
	}
	for (;;) {
		int st;
		REQUIRE(sys_wait4(a->pid, &st, WUNTRACED | WCONTINUED, NULL) == a->pid);
		if (!WIFSTOPPED(st) && !WIFCONTINUED(st))
			break;
		if (WIFSTOPPED(st))
			stops++;
		else
			conts++;
		/* two stops in a row happen when the continue between them was overtaken; two continues, likewise
		   for the stop, which a SIGCONT cancels: I11 limits the numbers */
		twice += last == st;
		last = st;
	}
	CHECK(stops <= n && conts <= n, "[13.11,I11] never more reports than stops or continues");
	CHECK(twice <= 2 * n, "[13.11] (the storm ended with the death)");
	CHECK_EQ(reap(k), 0, "[13.11] and the sender is done");
}

static void *thread_counter(void *x)
{
	volatile long *c = x;
	for (;;)
		++*c;
	return NULL;
}

CASE(threads_frozen)
{
	/* 6.23: threads made around a stop do not run while the group is reported stopped */
	pid_t pid = MUST(fork());
	if (pid == 0) {
		static char st[4][16384] __attribute__((aligned(16)));
		for (int i = 0; i < 4; i++)
			clone((int (*)(void *))(void *)thread_counter, st[i] + sizeof st[i],
			      CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_FS | CLONE_FILES, (void *)&sh->v[i]);
		for (;;)
			sh->v[4]++;
	}
	REQUIRE(AWAIT(sh->v[0] && sh->v[1] && sh->v[2] && sh->v[3]));
	int moved = 0;
	for (int k = 0; k < 20; k++) {
		int st;
		long before[5];
		kill(pid, SIGSTOP);
		REQUIRE(sys_wait4(pid, &st, WUNTRACED, NULL) == pid);
		for (int i = 0; i < 5; i++)
			before[i] = sh->v[i];
		for (int i = 0; i < 20; i++)
			sched_yield();
		for (int i = 0; i < 5; i++)
			moved += before[i] != sh->v[i];
		kill(pid, SIGCONT);
	}
	CHECK_EQ(moved, 0, "[6.23,7.20] no thread runs while the group is reported stopped");
	kill(pid, SIGKILL);
	CHECK_EQ(reap(pid), SIGKILL, "[6.23] (killed)");
}
