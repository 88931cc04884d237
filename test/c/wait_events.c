/* wait_events.c - section 4, second part: which event a wait returns, when it blocks, wakes and is interrupted. */
#include "lib/tap.h"
#include "lib/hold.h"

#define STOPPED(sig) ((sig) << 8 | 0x7f)
#define CONTINUED 0xffff

static long opt;
static long set_opt(long o)
{
	opt = o;
	return 0;
}

static long ag_wait_opt(long pid)
{
	int st = -1;
	long r = sys_wait4(pid, &st, opt, NULL);
	me->out[0] = st;
	return r < 0 ? -errno : r;
}

/* wait4(pid, options) by agent `a`: pid, 0 or -errno; its out[0] is the status. */
static long wait_in(struct agent *a, long pid, long options)
{
	call(a, set_opt, options);
	return call(a, ag_wait_opt, pid);
}

static void post_wait(struct agent *a, long pid, long options)
{
	call(a, set_opt, options);
	post(a, ag_wait_opt, pid);
	REQUIRE(await_blocked_in(a));
}

static int st;
/* The same by the case itself. */
static long try(long pid, int options)
{
	st = -1;
	long r = sys_wait4(pid, &st, options | WNOHANG, NULL);
	return r < 0 ? -errno : r;
}

static void stop(struct agent *a)
{
	kill(a->pid, SIGSTOP);
	REQUIRE(await_state(a->pid, 'T'));
}

static void cont(struct agent *a)
{
	kill(a->pid, SIGCONT);
	call(a, ag_getpid, 0);
}

static struct agent *zombie(int code)
{
	struct agent *a = spawn(NULL);
	quit(a, code);
	REQUIRE(await_zombie(a->pid));
	return a;
}

/* ---- threads ---- */

CASE(any_thread_waits)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
	struct agent *cp = spawn(p), *c1 = spawn(t1);
	CHECK_EQ(wait_in(t2, c1->pid, WNOHANG), 0, "[4.9] a thread sees the child of a sibling thread");
	CHECK_EQ(wait_in(t2, -1, WNOHANG), 0, "[4.9] also as any child");
	CHECK_EQ(wait_in(t2, c1->pid, WNOHANG | __WNOTHREAD), -ECHILD, "[4.9] not with __WNOTHREAD");
	CHECK_EQ(wait_in(t2, -1, WNOHANG | __WNOTHREAD), -ECHILD, "[4.9] which leaves it no child");
	CHECK_EQ(wait_in(t1, -1, WNOHANG | __WNOTHREAD), 0, "[4.9] __WNOTHREAD sees a thread's own child");
	CHECK_EQ(wait_in(t1, cp->pid, WNOHANG | __WNOTHREAD), -ECHILD, "[4.9] but not the leader's");
	CHECK_EQ(wait_in(p, c1->pid, WNOHANG | __WNOTHREAD), -ECHILD, "[4.9] nor the leader a thread's");
	quit(c1, 5);
	CHECK_EQ(wait_in(t2, c1->pid, 0), c1->pid, "[4.9] a thread reaps the child of a sibling thread");
	CHECK_EQ(t2->out[0], 5 << 8, "[4.9] with its status");
	retire(cp, t1);
	retire(p, NULL);
}

CASE(own_children_first)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
	struct agent *cp = spawn(p), *c1 = spawn(t1), *c2 = spawn(t2), *c2b = spawn(t2);
	struct agent *all[] = { cp, c1, c2, c2b };
	for (int i = 0; i < 4; i++) {
		quit(all[i], i);
		REQUIRE(await_state(all[i]->pid, 'Z'));
	}
	CHECK_EQ(wait_in(t2, -1, WNOHANG), c2->pid, "[4.10] a thread's own children come first, oldest first");
	CHECK_EQ(wait_in(t1, -1, WNOHANG), c1->pid, "[4.10] for each thread its own");
	CHECK_EQ(wait_in(t1, -1, WNOHANG), c2b->pid, "[4.10] then those of the threads that follow it");
	CHECK_EQ(wait_in(t1, -1, WNOHANG), cp->pid, "[4.10] cyclically, the leader again at the end");
	CHECK_EQ(wait_in(t1, -1, WNOHANG), -ECHILD, "[4.10] and no more");
	retire(p, NULL);
}

CASE(two_waiters)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p), *c = spawn(p);
	post_wait(t1, c->pid, 0);
	post_wait(t2, c->pid, 0);
	quit(c, 8);
	long r1 = finish(t1), r2 = finish(t2);
	CHECK((r1 == c->pid) + (r2 == c->pid) == 1, "[4.28] two threads wait for one child: exactly one gets it");
	CHECK((r1 == -ECHILD) + (r2 == -ECHILD) == 1, "[4.28] the other gets ECHILD");
	CHECK_EQ((r1 == c->pid ? t1 : t2)->out[0], 8 << 8, "[4.28] the one that got it has the status");
	retire(p, NULL);
}

CASE(two_waiters_any)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p), *c = spawn(p), *d = spawn(p);
	post_wait(t1, -1, 0);
	post_wait(t2, -1, 0);
	quit(c, 1);
	REQUIRE(AWAIT(answered(t1) || answered(t2)));
	struct agent *first = answered(t1) ? t1 : t2, *second = first == t1 ? t2 : t1;
	CHECK_EQ(finish(first), c->pid, "[4.28] two threads in wait(-1): one is woken with the first death");
	CHECK(!answered(second), "[4.28] the other stays while a child lives");
	quit(d, 2);
	CHECK_EQ(finish(second), d->pid, "[4.28] and gets the second");
	retire(p, NULL);
}

CASE(last_child_taken)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *c = spawn(p), *d = spawn(p);
	post_wait(t1, c->pid, 0);
	quit(d, 0);
	CHECK_EQ(wait_in(p, d->pid, 0), d->pid, "[4.28] a wait for another child is not disturbed");
	CHECK(!answered(t1), "[4.28] nor does it end the first wait");
	quit(c, 0);
	CHECK_EQ(finish(t1), c->pid, "[4.28] which ends with its own child");
	retire(p, NULL);
}

/* ---- order and priority ---- */

CASE(creation_order)
{
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(NULL), *order[] = { c, a, b };
	for (int i = 0; i < 3; i++) {
		quit(order[i], i);
		REQUIRE(await_zombie(order[i]->pid));
	}
	CHECK_EQ(try(-1, 0), a->pid, "[4.10] zombies are reaped in order of creation, not of death: first");
	CHECK_EQ(try(-1, 0), b->pid, "[4.10] second");
	CHECK_EQ(try(-1, 0), c->pid, "[4.10] third");
	CHECK_EQ(try(-1, 0), -ECHILD, "[4.10] no fourth");
}

CASE(older_stop_beats_younger_zombie)
{
	struct agent *s = spawn(NULL), *z = spawn(NULL);
	stop(s);
	quit(z, 0);
	REQUIRE(await_zombie(z->pid));
	CHECK_EQ(try(-1, WUNTRACED), s->pid, "[4.10] an older stopped child beats a younger zombie");
	CHECK_EQ(st, STOPPED(SIGSTOP), "[4.10] its stop is reported");
	CHECK_EQ(try(-1, WUNTRACED), z->pid, "[4.10] then the zombie");
	kill(s->pid, SIGCONT);
	retire(s, NULL);
	struct agent *z2 = spawn(NULL), *s2 = spawn(NULL);
	stop(s2);
	quit(z2, 0);
	REQUIRE(await_zombie(z2->pid));
	CHECK_EQ(try(-1, WUNTRACED), z2->pid, "[4.10] an older zombie beats a younger stopped child");
	CHECK_EQ(try(-1, WUNTRACED), s2->pid, "[4.10] which comes next");
	kill(s2->pid, SIGCONT);
	retire(s2, NULL);
}

CASE(zombie_beats_stop)
{
	struct agent *c = spawn(NULL);
	stop(c);
	kill(c->pid, SIGKILL);
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(try(c->pid, WUNTRACED | WCONTINUED), c->pid, "[4.11] of one child the death comes first");
	CHECK_EQ(st, SIGKILL, "[4.11] the unread stop is gone with it");
}

CASE(stop_beats_continue)
{
	/* continued (unread), then stopped again: only the stop is left */
	struct agent *c = spawn(NULL);
	stop(c);
	cont(c);
	stop(c);
	CHECK_EQ(try(c->pid, WCONTINUED), 0, "[4.13] a later stop discards the unread continue report");
	CHECK_EQ(try(c->pid, WUNTRACED | WCONTINUED), c->pid, "[4.11] the stop is reported");
	CHECK_EQ(st, STOPPED(SIGSTOP), "[4.11] as such");
	cont(c);
	CHECK_EQ(try(c->pid, WUNTRACED | WCONTINUED), c->pid, "[4.13] then the next continue");
	CHECK_EQ(st, CONTINUED, "[4.13] status 0xffff");
	retire(c, NULL);
}

/* ---- stops and continues ---- */

CASE(stop_report)
{
	struct agent *c = spawn(NULL);
	siginfo_t si;
	stop(c);
	CHECK_EQ(try(c->pid, 0), 0, "[4.12] a stop is not reported without WUNTRACED");
	CHECK_OK(sys_waitid(P_PID, c->pid, &si, WSTOPPED | WNOHANG | WNOWAIT, NULL), "[4.12] waitid(WSTOPPED|WNOWAIT)");
	CHECK(si.si_pid == c->pid && si.si_code == CLD_STOPPED && si.si_status == SIGSTOP && si.si_signo == SIGCHLD,
	      "[4.22] CLD_STOPPED with the stop signal");
	CHECK_EQ(try(c->pid, WUNTRACED), c->pid, "[4.12] WNOWAIT has left it");
	CHECK_EQ(st, STOPPED(SIGSTOP), "[4.12,3.1] status of a stop: signal << 8 | 0x7f");
	CHECK_EQ(try(c->pid, WUNTRACED), 0, "[4.12] it is consumed by the read");
	kill(c->pid, SIGTSTP);
	kill(c->pid, SIGSTOP);
	CHECK_EQ(try(c->pid, WUNTRACED), 0, "[4.12] further stop signals give no second report");
	kill(c->pid, SIGCONT);
	REQUIRE(AWAIT(try(c->pid, WCONTINUED) == c->pid));
	CHECK_EQ(st, CONTINUED, "[4.13,3.1] status of a continue is 0xffff");
	CHECK_EQ(try(c->pid, WCONTINUED), 0, "[4.13] consumed by the read");
	retire(c, NULL);
}

CASE(stop_signals)
{
	/* in a group that is not orphaned: child of a session leader, in its own group */
	struct agent *s = spawn(NULL);
	REQUIRE(call(s, ag_setsid, 0) > 0);
	static const int sigs[] = { SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU };
	for (int i = 0; i < 4; i++) {
		struct agent *c = spawn(s);
		char text[64];
		REQUIRE(call(c, ag_setpgid, 0) == 0);
		kill(c->pid, sigs[i]);
		snprintf(text, sizeof text, "[4.12] the status carries the stop signal %d", sigs[i]);
		CHECK(wait_in(s, c->pid, WUNTRACED) == c->pid && s->out[0] == STOPPED(sigs[i]), text);
		kill(c->pid, SIGKILL);
		REQUIRE(wait_in(s, c->pid, 0) == c->pid);
	}
	retire(s, NULL);
}

CASE(stop_cancelled)
{
	struct agent *c = spawn(NULL);
	stop(c);
	cont(c);
	CHECK_EQ(try(c->pid, WUNTRACED), 0, "[4.12] SIGCONT cancels a stop report that was not read");
	CHECK_EQ(try(c->pid, WCONTINUED), c->pid, "[4.13] the continue is reported");
	retire(c, NULL);
}

CASE(continue_report)
{
	struct agent *c = spawn(NULL);
	siginfo_t si;
	cont(c);
	CHECK_EQ(try(c->pid, WCONTINUED), 0, "[4.13] SIGCONT to a running process is no event");
	stop(c);
	cont(c);
	CHECK_EQ(try(c->pid, WUNTRACED), 0, "[4.13] a continue is not reported without WCONTINUED");
	CHECK_OK(sys_waitid(P_PID, c->pid, &si, WCONTINUED | WNOWAIT | WNOHANG, NULL), "[4.13] waitid(WCONTINUED|WNOWAIT)");
	CHECK(si.si_pid == c->pid && si.si_code == CLD_CONTINUED && si.si_status == SIGCONT,
	      "[4.22] CLD_CONTINUED with status SIGCONT");
	CHECK_EQ(try(c->pid, WCONTINUED), c->pid, "[4.13] WNOWAIT has left it");
	stop(c);
	cont(c);
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(try(c->pid, WCONTINUED), c->pid, "[4.13] death hides a continue");
	CHECK_EQ(st, 0, "[4.13] the exit status is reported");
}

CASE(zombie_without_wexited)
{
	struct agent *c = zombie(0);
	siginfo_t si;
	CHECK_ERR(sys_waitid(P_PID, c->pid, &si, WSTOPPED | WCONTINUED, NULL), ECHILD,
		  "[4.14] a zombie asked without WEXITED contributes nothing: ECHILD");
	CHECK_ERR(sys_waitid(P_ALL, 0, &si, WCONTINUED | WNOHANG, NULL), ECHILD, "[4.13,4.14] even with WNOHANG");
	struct agent *d = spawn(NULL);
	CHECK_OK(sys_waitid(P_ALL, 0, &si, WSTOPPED | WNOHANG, NULL), "[4.14] with another child alive: 0");
	CHECK_EQ(si.si_pid, 0, "[4.14] nothing to report");
	CHECK_EQ(reap(c->pid), 0, "[4.14] the zombie can be reaped after all");
	retire(d, NULL);
}

CASE(zombie_leader)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	siginfo_t si;
	quit_thread(p, 33);
	REQUIRE(await_state(p->pid, 'Z'));
	CHECK_EQ(try(p->pid, 0), 0, "[4.15,3.6] a zombie leader with a live thread: not waitable, 0 and not ECHILD");
	CHECK_OK(sys_waitid(P_ALL, 0, &si, WEXITED | WNOHANG, NULL), "[4.15] the same from waitid");
	CHECK_EQ(si.si_pid, 0, "[4.15] nothing reported");
	kill(p->pid, SIGSTOP);
	CHECK(AWAIT(try(p->pid, WUNTRACED) == p->pid), "[4.15] a stop of the group is reported");
	CHECK_EQ(st, STOPPED(SIGSTOP), "[4.15] with the signal");
	kill(p->pid, SIGCONT);
	CHECK(AWAIT(try(p->pid, WCONTINUED) == p->pid), "[4.15] and a continue");
	CHECK_EQ(st, CONTINUED, "[4.15] as such");
	quit_thread(t, 77);
	CHECK_EQ(reap(p->pid), 77 << 8, "[3.5] waitable with its last thread, whose code is the status");
}

/* ---- autoreap ---- */

static long set_chld(long flags)
{
	struct sigaction sa = { .sa_handler = flags ? SIG_DFL : SIG_IGN, .sa_flags = flags };
	return sigaction(SIGCHLD, &sa, NULL);
}

static void autoreap(long flags, const char *t1, const char *t2, const char *t3, const char *t4, const char *t5)
{
	struct agent *p = spawn(NULL), *a = spawn(p), *b = spawn(p);
	call(p, set_chld, flags);
	CHECK_EQ(wait_in(p, -1, WNOHANG), 0, t1);
	post_wait(p, a->pid, 0);
	quit(b, 0);
	CHECK(AWAIT(proc_state(b->pid) == 0), t2);
	CHECK(!answered(p), t3);
	quit(a, 0);
	CHECK_EQ(finish(p), -ECHILD, t4);
	CHECK_EQ(wait_in(p, -1, WNOHANG), -ECHILD, t5);
	retire(p, NULL);
}

CASE(autoreap_ignore)
{
	autoreap(0, "[4.23] SIGCHLD ignored: WNOHANG is 0 while a child lives", "[4.23] SIGCHLD ignored: a dead child is gone",
		 "[4.23] waitpid of another child goes on", "[4.23] and ends with ECHILD when that one is gone",
		 "[4.23] no child is left");
}

CASE(autoreap_nocldwait)
{
	autoreap(SA_NOCLDWAIT, "[4.23] SA_NOCLDWAIT: WNOHANG is 0 while a child lives", "[4.23] SA_NOCLDWAIT: a dead child is gone",
		 "[4.23] waitpid of another child goes on", "[4.23] and ends with ECHILD when that one is gone",
		 "[4.23] no child is left");
}

CASE(autoreap_any)
{
	struct agent *p = spawn(NULL), *a = spawn(p), *b = spawn(p);
	call(p, set_chld, 0);
	post_wait(p, -1, 0);
	quit(a, 0);
	REQUIRE(AWAIT(proc_state(a->pid) == 0));
	CHECK(!answered(p), "[4.23] wait(-1) blocks until all are gone");
	quit(b, 0);
	CHECK_EQ(finish(p), -ECHILD, "[4.23] and fails then");
	retire(p, NULL);
}

CASE(old_zombie_stays)
{
	struct agent *c = zombie(6);
	signal(SIGCHLD, SIG_IGN);
	CHECK_EQ(proc_state(c->pid), 'Z', "[4.24] a zombie older than SIG_IGN stays");
	CHECK_EQ(try(c->pid, 0), c->pid, "[4.24] and is reaped normally");
	CHECK_EQ(st, 6 << 8, "[4.24] with its status");
}

CASE(other_exit_signal_not_autoreaped)
{
	signal(SIGCHLD, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	struct agent *a = spawn_flags(NULL, SIGUSR1), *b = spawn_flags(NULL, 0);
	quit(a, 1);
	quit(b, 2);
	CHECK_EQ(reap(a->pid), 1 << 8, "[4.25] a child with exit signal SIGUSR1 becomes a zombie whatever is ignored");
	CHECK_EQ(reap(b->pid), 2 << 8, "[4.25] and one with exit signal 0");
}

CASE(reports_with_ignored_sigchld)
{
	signal(SIGCHLD, SIG_IGN);
	struct agent *c = spawn(NULL);
	kill(c->pid, SIGSTOP);
	CHECK(sys_wait4(c->pid, &st, WUNTRACED, NULL) == c->pid && st == STOPPED(SIGSTOP),
	      "[4.26] a stop is reported with SIGCHLD ignored");
	kill(c->pid, SIGCONT);
	CHECK(sys_wait4(c->pid, &st, WCONTINUED, NULL) == c->pid && st == CONTINUED,
	      "[4.26] and a continue");
	quit(c, 0);
	CHECK_ERR(sys_wait4(c->pid, &st, 0, NULL), ECHILD, "[4.26,4.23] the death is not");
}

/* ---- blocking, waking, interruption ---- */

CASE(wakes_on_event)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	post_wait(p, c->pid, WUNTRACED | WCONTINUED);
	kill(c->pid, SIGSTOP);
	CHECK(finish(p) == c->pid && p->out[0] == STOPPED(SIGSTOP), "[4.33] a blocked wait wakes on a stop");
	post_wait(p, c->pid, WUNTRACED | WCONTINUED);
	kill(c->pid, SIGCONT);
	CHECK(finish(p) == c->pid && p->out[0] == CONTINUED, "[4.33] and on a continue");
	post_wait(p, -1, 0);
	kill(c->pid, SIGSTOP);
	REQUIRE(await_state(c->pid, 'T'));
	CHECK(!answered(p), "[4.12] a wait without WUNTRACED sleeps through a stop");
	kill(c->pid, SIGKILL);
	CHECK(finish(p) == c->pid && p->out[0] == SIGKILL, "[4.33] and wakes on a death");
	retire(p, NULL);
}

CASE(wakes_with_blocked_or_caught)
{
	struct agent *p = spawn(NULL), *c = spawn(p), *d = spawn_flags(p, 0);
	call(p, ag_block, SIGCHLD);
	post_wait(p, c->pid, 0);
	quit(c, 0);
	CHECK_EQ(finish(p), c->pid, "[5.12] a wait wakes with SIGCHLD blocked");
	post_wait(p, d->pid, __WALL);
	quit(d, 0);
	CHECK_EQ(finish(p), d->pid, "[5.12,5.9] and for a child that sends no signal");
	retire(p, NULL);
}

static long catch_plain(long sig) { siglog_catch(sig, 0); return 0; }

/* A waiter for one child sleeps on while others die, whatever has become of that child meanwhile. */
static long wait_clone(long pid) { return sys_wait4(pid, NULL, __WCLONE, NULL); }
static long become(long x) { (void)x; return exec_hold(0); }

CASE(class_changes_under_waiter)
{
	REQUIRE(pipe(up) == 0 && pipe(down) == 0);
	struct agent *p = spawn(NULL), *c = spawn_flags(p, SIGUSR1), *d = spawn(p);
	char byte;
	call(p, ag_block, SIGUSR1);
	post(p, wait_clone, c->pid);
	REQUIRE(await_blocked_in(p));
	post(c, become, 0);
	REQUIRE(read(up[0], &byte, 1) == 1);
	quit(d, 0);
	REQUIRE(await_state(d->pid, 'Z'));
	REQUIRE(await_blocked_in(p));
	CHECK(!answered(p), "[4.8] a wait with __WCLONE for a child that execve made a normal one sleeps on when others die");
	kill(c->pid, SIGKILL);
	CHECK_ERR(finish(p), ECHILD, "[4.8] and learns of it with that child's own death");
	REQUIRE(call(p, ag_reap, c->pid) == c->pid && call(p, ag_reap, d->pid) == d->pid);
	retire(p, NULL);
}

CASE(interrupted)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	call(p, catch_plain, SIGUSR1);
	call(p, ag_catch, SIGUSR2);
	post_wait(p, c->pid, 0);
	kill(p->pid, SIGUSR1);
	CHECK_EQ(finish(p), -EINTR, "[4.27] a handler without SA_RESTART: EINTR");
	post_wait(p, c->pid, 0);
	kill(p->pid, SIGUSR2);
	REQUIRE(AWAIT(siglog_count(p->pid, SIGUSR2) == 1));
	CHECK(await_state(p->pid, 'S') && !answered(p), "[4.27] a handler with SA_RESTART: the wait goes on");
	kill(p->pid, SIGURG);
	kill(p->pid, SIGSTOP);
	REQUIRE(await_state(p->pid, 'T'));
	kill(p->pid, SIGCONT);
	REQUIRE(AWAIT(proc_state(p->pid) == 'S'));
	CHECK(!answered(p), "[4.27] a stop, a continue and an ignored signal do not end it");
	quit(c, 4);
	CHECK(finish(p) == c->pid && p->out[0] == 4 << 8, "[4.27] and then returns the child");
	retire(p, NULL);
}

static long waitid_zeroed(long pid)
{
	unsigned char raw[128] __attribute__((aligned(8)));
	siginfo_t *si = (siginfo_t *)raw;
	memset(raw, 0xa5, sizeof raw);
	long r = sys_waitid(P_PID, pid, si, WEXITED, NULL);
	int e = errno;
	me->out[0] = si->si_signo | si->si_pid | si->si_code | si->si_status;
	return r < 0 ? -e : r;
}

CASE(waitid_interrupted)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	call(p, catch_plain, SIGUSR1);
	post(p, waitid_zeroed, c->pid);
	REQUIRE(await_blocked_in(p));
	kill(p->pid, SIGUSR1);
	CHECK_EQ(finish(p), -EINTR, "[4.27] waitid is interrupted alike");
	CHECK_EQ(p->out[0], 0, "[4.17] and writes zeros on EINTR");
	retire(c, p);
	retire(p, NULL);
}

CASE(own_sigchld_handler)
{
	struct agent *p = spawn(NULL), *c = spawn(p), *d = spawn(p);
	call(p, catch_plain, SIGCHLD);
	post_wait(p, c->pid, 0);
	quit(c, 1);
	CHECK_EQ(finish(p), c->pid, "[4.27] the awaited child's death returns its pid although the SIGCHLD handler runs");
	CHECK(AWAIT(siglog_count(p->pid, SIGCHLD) == 1), "[4.27] and the handler runs");
	struct agent *e = spawn(p);
	post_wait(p, d->pid, 0);
	quit(e, 1);
	CHECK_EQ(finish(p), -EINTR, "[4.27] another child's death with a non-restarting handler: EINTR");
	call(p, ag_default, SIGCHLD);
	struct agent *f = spawn(p);
	post_wait(p, d->pid, 0);
	quit(f, 1);
	REQUIRE(await_state(f->pid, 'Z'));
	CHECK(!answered(p), "[4.27] with SIGCHLD default another child's death does not interrupt");
	quit(d, 3);
	CHECK_EQ(finish(p), d->pid, "[4.27] and the wait ends with its own child");
	REQUIRE(wait_in(p, -1, 0) > 0 && wait_in(p, -1, 0) > 0);
	retire(p, NULL);
}

CASE(killed_while_waiting)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	post_wait(p, c->pid, 0);
	kill(p->pid, SIGTERM);
	CHECK_EQ(reap(p->pid), SIGTERM, "[4.27] a fatal signal ends a blocked wait");
	quit(c, 0);
}

CASE(wakes_on_adoption)
{
	/* 13.6: wait(-1) sleeps; the middle process and its zombie arrive */
	struct agent *r = spawn(NULL), *t = spawn_thread(r), *m = spawn(r), *c = spawn(m), *keep = spawn(r);
	call(r, ag_subreaper, 1);
	quit(c, 5);
	REQUIRE(await_state(c->pid, 'Z'));
	call(t, set_opt, 0);
	post(t, ag_wait_opt, -1);
	REQUIRE(await_blocked_in(t));
	quit(m, 4);
	CHECK_EQ(finish(t), m->pid, "[4.33,13.6] wait(-1) in one thread returns the middle process");
	CHECK(wait_in(t, -1, 0) == c->pid && t->out[0] == 5 << 8, "[13.6] and the next one the zombie given to another thread");
	retire(keep, r);
	retire(r, NULL);
}

CASE(zombie_in_own_group)
{
	struct agent *c = spawn(NULL);
	REQUIRE(call(c, ag_setpgid, 0) == 0);
	quit(c, 1);
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(try(0, 0), -ECHILD, "[4.32] waitpid(0) from another group: ECHILD");
	CHECK_EQ(try(-c->pid, 0), c->pid, "[4.32] waitpid(-pgid) reaps a zombie that is alone in its group");
}

CASE_T(race_free_wake, 60)
{
	/* 4.33: the child dies at any moment around the parent's wait */
	int n = iterations(300), good = 0;
	for (int i = 0; i < n; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			for (volatile int k = 0; k < i % 60 * 100; k++)
				;
			_exit(i & 0x7f);
		}
		good += sys_wait4(-1, &st, 0, NULL) == pid && st == (i & 0x7f) << 8;
	}
	CHECK_EQ(good, n, "[4.33] a death at any moment around the scan wakes the waiter");
}
