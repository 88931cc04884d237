/* orphan_pgrp.c - section 2, second part: orphaned process groups with stopped members (rules 2.20-2.26). */
#include "lib/tap.h"

/*
 * Each tree has its own session: S is its leader.  The runner, in another session, adopts what S does not.
 *	S - A - B
 */
static struct agent *session(void)
{
	struct agent *s = spawn(NULL);
	REQUIRE(call(s, ag_setsid, 0) == s->pid);
	return s;
}

static void stop(struct agent *a)
{
	kill(a->pid, SIGSTOP);
	REQUIRE(await_state(a->pid, 'T'));
}

static void watch(struct agent *a)
{
	call(a, ag_catch, SIGHUP);
	call(a, ag_catch, SIGCONT);
}

static int hits(struct agent *a, int sig)
{
	call(a, ag_getpid, 0);
	return siglog_count(a->pid, sig);
}

/* The order in which `a` ran the handlers: 1 if SIGCONT's body ran before SIGHUP's. */
static bool cont_before_hup(struct agent *a)
{
	struct sigrec *c = siglog_get(a->pid, SIGCONT, 0), *h = siglog_get(a->pid, SIGHUP, 0);
	return c && h && c < h;
}

CASE(exit_orphans_own_group)
{
	/* A (own group, with B) is what ties the group to the session */
	struct agent *s = session(), *a = spawn(s);
	REQUIRE(call(a, ag_setpgid, 0) == 0);
	struct agent *b = spawn(a), *b2 = spawn(a);
	watch(b);
	watch(b2);
	CHECK_EQ(call(b, ag_getpgrp, 0), a->pid, "[2.21] (the children are in their parent's group)");
	stop(b);
	retire(a, s);
	CHECK(AWAIT(siglog_count(b->pid, SIGHUP) == 1 && siglog_count(b->pid, SIGCONT) == 1),
	      "[2.21] a stopped member of the newly orphaned group gets SIGHUP and SIGCONT");
	CHECK(AWAIT(siglog_count(b2->pid, SIGHUP) == 1 && siglog_count(b2->pid, SIGCONT) == 1),
	      "[2.21] and so does a member that was not stopped: all of the group");
	CHECK(hits(b, SIGHUP) == 1 && hits(b, SIGCONT) == 1 && hits(b2, SIGHUP) == 1, "[2.21] once each");
	CHECK(cont_before_hup(b), "[2.25] with handlers for both, SIGCONT's body runs before SIGHUP's");
	struct sigrec *h = siglog_get(b->pid, SIGHUP, 0), *c = siglog_get(b->pid, SIGCONT, 0);
	REQUIRE(h && c);
	CHECK(h->code == SI_KERNEL && c->code == SI_KERNEL, "[2.24] both are from the kernel: SI_KERNEL");
	CHECK(h->pid == 0 && c->pid == 0, "[2.24] si_pid 0");
	quit(b, 0);
	quit(b2, 0);
	retire(s, NULL);
}

CASE(default_action)
{
	struct agent *s = session(), *a = spawn(s), *b;
	REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	REQUIRE(call(a, ag_setpgid, 0) == 0);
	b = spawn(a);
	stop(b);
	retire(a, s);
	CHECK_EQ(reap(b->pid), SIGHUP, "[2.25] by default the stopped job dies of SIGHUP");
	retire(s, NULL);
}

CASE(reparenting_orphans_childs_group)
{
	/* F in S's group, C in a group of its own: F's death leaves C's group without a tie */
	struct agent *s = session(), *f = spawn(s), *c = spawn(f);
	watch(c);
	REQUIRE(call(c, ag_setpgid, 0) == 0);
	stop(c);
	retire(f, s);
	CHECK(AWAIT(siglog_count(c->pid, SIGHUP) == 1 && siglog_count(c->pid, SIGCONT) == 1),
	      "[2.22] the father's death orphans the child's stopped group: SIGHUP and SIGCONT");
	CHECK(cont_before_hup(c), "[2.22,2.25] in that order of delivery");
	struct sigrec *h = siglog_get(c->pid, SIGHUP, 0);
	CHECK(h && h->code == SI_KERNEL && h->pid == 0, "[2.24] SI_KERNEL, si_pid 0");
	quit(c, 0);
	retire(s, NULL);
}

CASE(adopter_in_session)
{
	/* S adopts: same session, another group: the group is not orphaned */
	struct agent *s = session(), *f = spawn(s), *c = spawn(f);
	call(s, ag_subreaper, 1);
	watch(c);
	REQUIRE(call(c, ag_setpgid, 0) == 0);
	stop(c);
	retire(f, s);
	CHECK_EQ(proc_stat(c->pid, 4), s->pid, "[2.23] (adopted within the session)");
	CHECK_EQ(proc_state(c->pid), 'T', "[2.23] an adopter in the session and in another group: the child stays stopped");
	kill(c->pid, SIGCONT);
	CHECK(AWAIT(siglog_count(c->pid, SIGCONT) == 1), "[2.23] (continued by hand)");
	CHECK_EQ(hits(c, SIGHUP), 0, "[2.23] and was sent no SIGHUP");
	CHECK_EQ(hits(c, SIGCONT), 1, "[2.23] and no SIGCONT but that one");
	retire(c, s);
	retire(s, NULL);
}

CASE(adopter_in_same_group)
{
	/* C is in the adopter's own group; that group is tied by the adopter's parent, who is in another one */
	struct agent *s = session(), *r = spawn(s);
	REQUIRE(call(r, ag_setpgid, 0) == 0);
	call(r, ag_subreaper, 1);
	struct agent *f = spawn(r), *c = spawn(f);
	watch(c);
	stop(c);
	retire(f, r);
	CHECK_EQ(proc_state(c->pid), 'T', "[2.20] the group keeps another tie to the session: nothing happens");
	kill(c->pid, SIGCONT);
	CHECK_EQ(hits(c, SIGHUP), 0, "[2.20] and no SIGHUP was sent");
	retire(c, r);
	retire(r, s);
	retire(s, NULL);
}

CASE(another_tie)
{
	/* two members of the group, both children of S: the death of one leaves the other as tie */
	struct agent *s = session(), *a = spawn(s), *a2 = spawn(s);
	REQUIRE(call(a, ag_setpgid, 0) == 0);
	REQUIRE(call(a2, ag_setpgid, a->pid) == 0);
	struct agent *b = spawn(a);
	watch(b);
	stop(b);
	retire(a, s);
	CHECK_EQ(proc_state(b->pid), 'T', "[2.20,2.21] another member still has its parent in the session: no signals");
	CHECK_EQ(siglog_count(b->pid, SIGHUP), 0, "[2.20,2.21] none sent");
	retire(a2, s);
	CHECK(AWAIT(siglog_count(b->pid, SIGHUP) == 1 && siglog_count(b->pid, SIGCONT) == 1),
	      "[2.21] the death of the last tie brings them");
	quit(b, 0);
	retire(s, NULL);
}

CASE(nobody_stopped)
{
	struct agent *s = session(), *a = spawn(s);
	REQUIRE(call(a, ag_setpgid, 0) == 0);
	struct agent *b = spawn(a);
	watch(b);
	retire(a, s);
	CHECK_EQ(hits(b, SIGHUP) + hits(b, SIGCONT), 0, "[2.24] no stopped member: no signals at all");
	kill(b->pid, SIGSTOP);
	CHECK(await_state(b->pid, 'T'), "[2.24] a later stop is not undone");
	CHECK_EQ(siglog_count(b->pid, SIGHUP), 0, "[2.24] nor told");
	kill(b->pid, SIGCONT);
	quit(b, 0);
	retire(s, NULL);
}

CASE(already_orphaned)
{
	/* the group of a session leader's own is orphaned from the start: a death changes nothing */
	struct agent *s = session(), *f = spawn(s), *c = spawn(f);
	watch(c);
	stop(c);
	retire(f, s);
	CHECK_EQ(proc_state(c->pid), 'T', "[2.21,2.22] a death in a group that was orphaned before sends nothing");
	kill(c->pid, SIGCONT);
	CHECK_EQ(hits(c, SIGHUP), 0, "[2.21,2.22] no SIGHUP");
	quit(c, 0);
	retire(s, NULL);
}

CASE(other_session)
{
	/* C has a session of its own: it never was tied to F's */
	struct agent *s = session(), *f = spawn(s), *c = spawn(f);
	watch(c);
	REQUIRE(call(c, ag_setsid, 0) == c->pid);
	stop(c);
	retire(f, s);
	CHECK_EQ(proc_state(c->pid), 'T', "[2.22] a child in another session is left alone");
	kill(c->pid, SIGCONT);
	CHECK_EQ(hits(c, SIGHUP), 0, "[2.22] no SIGHUP");
	quit(c, 0);
	retire(s, NULL);
}

CASE(thread_exit_is_silent)
{
	struct agent *s = session(), *f = spawn(s), *t = spawn_thread(f), *c = spawn(t);
	watch(c);
	REQUIRE(call(c, ag_setpgid, 0) == 0);
	stop(c);
	quit_thread(t, 0);
	REQUIRE(AWAIT(proc_stat(f->pid, 20) == 1));
	CHECK_EQ(proc_state(c->pid), 'T', "[2.9] a thread's exit makes no check of orphaned groups");
	kill(c->pid, SIGCONT);
	CHECK_EQ(hits(c, SIGHUP), 0, "[2.9] no SIGHUP");
	retire(c, f);
	retire(f, s);
	retire(s, NULL);
}

CASE(group_of_three)
{
	/* a pipeline whose shell dies: the leader is stopped, two run; all three hear of it */
	struct agent *s = session(), *shell = spawn(s), *j[3];
	for (int i = 0; i < 3; i++) {
		j[i] = spawn(shell);
		watch(j[i]);
		REQUIRE(call(j[i], ag_setpgid, i ? j[0]->pid : 0) == 0);
	}
	stop(j[0]);
	retire(shell, s);
	for (int i = 0; i < 3; i++) {
		char text[96];
		snprintf(text, sizeof text, "[2.22] member %d of the stopped job gets SIGHUP and SIGCONT", i);
		CHECK(AWAIT(siglog_count(j[i]->pid, SIGHUP) >= 1 && siglog_count(j[i]->pid, SIGCONT) >= 1), text);
	}
	for (int i = 0; i < 3; i++)
		quit(j[i], 0);
	retire(s, NULL);
}

CASE(completed_stop_in_leaderless_group)
{
	/* the group's leader is long gone; the rule looks at members, not at the leader */
	struct agent *s = session(), *f = spawn(s), *lead = spawn(f), *c = spawn(f);
	watch(c);
	REQUIRE(call(lead, ag_setpgid, 0) == 0);
	REQUIRE(call(c, ag_setpgid, lead->pid) == 0);
	retire(lead, f);
	stop(c);
	retire(f, s);
	CHECK(AWAIT(siglog_count(c->pid, SIGHUP) == 1 && siglog_count(c->pid, SIGCONT) == 1),
	      "[2.22,8.8] a group without its leader is treated the same");
	quit(c, 0);
	retire(s, NULL);
}

CASE(zombies_are_no_tie)
{
	/* D, in B's group, has its parent A in another group of the session, but is a zombie: it ties the group to nobody */
	struct agent *s = session(), *a = spawn(s), *b = spawn(a), *c = spawn(b), *d = spawn(a);
	watch(c);
	REQUIRE(call(a, ag_setpgid, 0) == 0);
	REQUIRE(call(b, ag_setpgid, 0) == 0);
	REQUIRE(call(c, ag_setpgid, b->pid) == 0);
	REQUIRE(call(d, ag_setpgid, b->pid) == 0);
	quit(d, 0);
	REQUIRE(await_state(d->pid, 'Z'));
	stop(c);
	retire(b, a);
	CHECK(AWAIT(siglog_count(c->pid, SIGHUP) == 1 && siglog_count(c->pid, SIGCONT) == 1),
	      "[2.20,2.21] a zombie member is no tie to the session: the group is orphaned");
	REQUIRE(call(a, ag_reap, d->pid) == d->pid);
	quit(c, 0);
	retire(a, s);
	retire(s, NULL);
}

static long vfork_until_told(long x)
{
	(void)x;
	pid_t pid = vfork();
	if (pid == 0) {
		sh->v[0] = sys_gettid();
		set_word(&sh->w[0], 1);
		while (!sh->w[1])
			syscall(SYS_futex, &sh->w[1], 0, 0, NULL);
		syscall(SYS_exit_group, 0);
	}
	return pid;
}

CASE(stop_not_complete)
{
	/* C's second thread waits for its vfork child and cannot stop, so the stop of C has begun and is not complete */
	struct agent *s = session(), *f = spawn(s), *c = spawn(f), *t = spawn_thread(c);
	watch(c);
	REQUIRE(call(c, ag_setpgid, 0) == 0);
	post(t, vfork_until_told, 0);
	wait_word(&sh->w[0], 1);
	REQUIRE(AWAIT(task_state(c->pid, t->tid) == 'D'));
	kill(c->pid, SIGSTOP);
	REQUIRE(AWAIT(task_state(c->pid, c->pid) == 'T'));
	retire(f, s);
	kill(c->pid, SIGCONT);
	CHECK(AWAIT(siglog_count(c->pid, SIGCONT) == 1), "[2.26] (continued by hand)");
	CHECK_EQ(hits(c, SIGHUP), 0, "[2.26] a stop that is not complete does not count: no SIGHUP");
	CHECK_EQ(hits(c, SIGCONT), 1, "[2.26] and no SIGCONT but that one");
	set_word(&sh->w[1], 1);
	REQUIRE(finish(t) == sh->v[0]);
	quit(c, 0);
	retire(s, NULL);
}
