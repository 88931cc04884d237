/* reparent.c - section 2: who adopts an orphan, and what the adoption does (rules 2.1-2.19). */
#include "lib/tap.h"

#define RT (SIGRTMIN + 1)

/* wait4 with flags, as agent function; out[0] is the status. */
static long opt;
static long ag_wait_opt(long pid)
{
	int st = -1;
	long r = sys_wait4(pid, &st, opt, NULL);
	me->out[0] = st;
	return r;
}

static long set_opt(long o)
{
	opt = o;
	return 0;
}

/* The answer of wait4(pid, WNOHANG | extra) made by agent `a`: pid, 0, or -errno. */
static long try_opt(struct agent *a, long pid, long extra)
{
	call(a, set_opt, WNOHANG | extra);
	long r = call(a, ag_wait_opt, pid);
	return r < 0 ? -errno : r;
}

static bool owns(struct agent *thread, pid_t child)
{
	return try_opt(thread, child, __WNOTHREAD | __WALL) == 0;
}

static long make_zombie(long flags_and_code)
{
	long pid = raw_clone(flags_and_code >> 8);
	if (pid == 0)
		syscall(SYS_exit_group, flags_and_code & 0xff);
	return pid > 0 && await_zombie(pid) ? pid : -1;
}

/* A zombie child of `in` (not reaped), with this exit signal and code. */
static pid_t zombie_in(struct agent *in, int exit_signal, int code)
{
	long pid = call(in, make_zombie, (long)exit_signal << 8 | code);
	REQUIRE(pid > 0);
	return pid;
}

/* ---- 2.1: the candidates ---- */

CASE(to_nearest_subreaper)
{
	struct agent *top = spawn(NULL), *mid = spawn(top), *p = spawn(mid), *c = spawn(p);
	call(top, ag_subreaper, 1);
	call(mid, ag_subreaper, 1);
	retire(p, mid);
	CHECK_EQ(call(c, ag_getppid, 0), mid->pid, "[2.1] an orphan goes to the nearest subreaper, not to a farther one");
	CHECK_ERR(call(top, ag_try, c->pid), ECHILD, "[2.1] the farther one cannot wait for it");
	quit(c, 3);
	CHECK_EQ(call(mid, ag_reap, c->pid), c->pid, "[2.1] the nearest one reaps it");
	CHECK_EQ(mid->out[0], 3 << 8, "[2.1] with its exit code");
	retire(mid, top);
	retire(top, NULL);
}

CASE(skips_plain_ancestors)
{
	struct agent *r = spawn(NULL), *a = spawn(r), *b = spawn(a), *p = spawn(b), *c = spawn(p);
	call(r, ag_subreaper, 1);
	retire(p, b);
	CHECK_EQ(call(c, ag_getppid, 0), r->pid, "[2.1] plain ancestors are skipped: a grandparent does not inherit");
	CHECK_ERR(call(b, ag_try, -1), ECHILD, "[2.1] the grandparent has no child left");
	CHECK_EQ(call(a, ag_try, -1), 0, "[2.1] the others keep theirs");
	retire(c, r);
	retire(b, a);
	retire(a, r);
	retire(r, NULL);
}

CASE(many_children)
{
	/* live ones and zombies, made by the leader and by threads: all of them move */
	struct agent *r = spawn(NULL), *p = spawn(r), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
	call(r, ag_subreaper, 1);
	struct agent *c[6] = { spawn(p), spawn(t1), spawn(t2), spawn(p), spawn(t1), spawn(t2) };
	pid_t z[3] = { zombie_in(p, SIGCHLD, 1), zombie_in(t1, SIGCHLD, 2), zombie_in(t2, SIGCHLD, 3) };
	retire(p, r);
	int right = 0, zombies = 0;
	for (int i = 0; i < 6; i++)
		right += call(c[i], ag_getppid, 0) == r->pid;
	CHECK_EQ(right, 6, "[2.1] every child of every thread of the dead process has the new parent");
	for (int i = 0; i < 3; i++)
		zombies += call(r, ag_reap, z[i]) == z[i] && r->out[0] == (i + 1) << 8;
	CHECK_EQ(zombies, 3, "[2.1,2.11] its zombies are reaped by the adopter, with their codes");
	for (int i = 0; i < 6; i++)
		retire(c[i], r);
	CHECK_ERR(call(r, ag_reap, -1), ECHILD, "[2.1] and no child is left at the end");
	retire(r, NULL);
}

CASE(killed_parent)
{
	struct agent *r = spawn(NULL), *p = spawn(r), *c = spawn(p);
	call(r, ag_subreaper, 1);
	kill(p->pid, SIGKILL);
	REQUIRE(call(r, ag_reap, p->pid) == p->pid);
	CHECK_EQ(r->out[0], SIGKILL, "[2.1] (the parent was killed)");
	CHECK_EQ(call(c, ag_getppid, 0), r->pid, "[2.1] children of a killed process are adopted alike");
	retire(c, r);
	retire(r, NULL);
}

CASE(stopped_orphan)
{
	struct agent *r = spawn(NULL), *p = spawn(r), *c = spawn(p);
	call(r, ag_subreaper, 1);
	kill(c->pid, SIGSTOP);
	REQUIRE(await_state(c->pid, 'T'));
	retire(p, r);
	CHECK_EQ(proc_stat(c->pid, 4), r->pid, "[2.1] a stopped orphan is adopted");
	CHECK_EQ(try_opt(r, c->pid, WUNTRACED), c->pid, "[2.1,4.12] and its stop is reported to the adopter");
	CHECK_EQ(r->out[0], SIGSTOP << 8 | 0x7f, "[2.1] as a stop");
	kill(c->pid, SIGCONT);
	retire(c, r);
	retire(r, NULL);
}

CASE(deep_chain)
{
	/* 24 generations under one subreaper; the deepest parent dies, then each one above */
	struct agent *a[25];
	struct agent *r = spawn(NULL);
	call(r, ag_subreaper, 1);
	a[0] = r;
	for (int i = 1; i < 25; i++)
		a[i] = spawn(a[i - 1]);
	int right = 0;
	for (int i = 23; i >= 1; i--) {
		retire(a[i], a[i - 1]);
		right += call(a[24], ag_getppid, 0) == r->pid;
	}
	CHECK_EQ(right, 23, "[2.1] from any depth the orphan stays with the subreaper");
	retire(a[24], r);
	CHECK_ERR(call(r, ag_reap, -1), ECHILD, "[2.1] and nothing is left");
	retire(r, NULL);
}

CASE(siblings_first)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p), *t3 = spawn_thread(p);
	struct agent *c = spawn(t2);
	CHECK(owns(t2, c->pid) && !owns(p, c->pid), "[2.1,4.9] (a child belongs to the thread that made it)");
	quit_thread(t2, 0);
	REQUIRE(AWAIT(proc_stat(p->pid, 20) == 3));
	CHECK(owns(p, c->pid), "[2.1] at its thread's exit the child goes to the leader, first in the thread list");
	CHECK(!owns(t1, c->pid) && !owns(t3, c->pid), "[2.1] and to no other thread");
	CHECK_EQ(call(c, ag_getppid, 0), p->pid, "[2.1,2.9] getppid is unchanged");
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	CHECK(owns(t1, c->pid), "[2.1] at the leader's exit it goes to the next live thread in creation order");
	CHECK(!owns(t3, c->pid), "[2.1] not to a later one");
	CHECK_EQ(call(c, ag_getppid, 0), p->pid, "[2.1,2.18] and getppid is still the thread group id");
	quit_thread(t1, 0);
	CHECK(AWAIT(owns(t3, c->pid)), "[2.1] then to the last one");
	retire(c, t3);
	quit(t3, 4);
	CHECK_EQ(reap(p->pid), 4 << 8, "[2.1,3.5] the process ends with its last thread");
}

CASE(sibling_before_subreaper)
{
	struct agent *r = spawn(NULL), *p = spawn(r), *t = spawn_thread(p), *c = spawn(p);
	call(r, ag_subreaper, 1);
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	CHECK_EQ(call(c, ag_getppid, 0), p->pid, "[2.1] a live sibling thread comes before any subreaper");
	CHECK_ERR(call(r, ag_try, c->pid), ECHILD, "[2.1] the subreaper has not got it");
	quit(t, 0);
	REQUIRE(call(r, ag_reap, p->pid) == p->pid);
	CHECK_EQ(call(c, ag_getppid, 0), r->pid, "[2.1] with the last thread gone it does");
	retire(c, r);
	retire(r, NULL);
}

CASE(not_the_dying)
{
	/* p is a subreaper with two threads and dies as a whole: no thread of it may adopt */
	struct agent *r = spawn(NULL), *p = spawn(r), *t = spawn_thread(p), *c1 = spawn(p), *c2 = spawn(t);
	call(r, ag_subreaper, 1);
	call(p, ag_subreaper, 1);
	quit(t, 9);
	REQUIRE(call(r, ag_reap, p->pid) == p->pid);
	CHECK_EQ(r->out[0], 9 << 8, "[2.2] (exit_group by a thread)");
	CHECK_EQ(call(c1, ag_getppid, 0), r->pid, "[2.2,2.8] a dying subreaper does not adopt: the leader's child goes up");
	CHECK_EQ(call(c2, ag_getppid, 0), r->pid, "[2.2,2.8] and the thread's child too");
	retire(c1, r);
	retire(c2, r);
	retire(r, NULL);
}

CASE(subreaper_leader_zombie)
{
	struct agent *r = spawn(NULL), *t1 = spawn_thread(r), *t2 = spawn_thread(r), *c, *m = spawn(r);
	call(r, ag_subreaper, 1);
	c = spawn(m);
	quit_thread(r, 0);
	REQUIRE(await_state(r->pid, 'Z'));
	CHECK(owns(t1, m->pid), "[2.1,2.7] the leader's child is now the first live thread's");
	quit(m, 0);
	REQUIRE(call(t1, ag_reap, m->pid) == m->pid);
	CHECK_EQ(call(c, ag_getppid, 0), r->pid, "[2.7] a subreaper with a zombie leader and a live thread adopts");
	CHECK(owns(t1, c->pid), "[2.7] the adopter is its first live thread");
	CHECK(!owns(t2, c->pid), "[2.7] not a later one");
	quit(c, 6);
	CHECK_EQ(call(t2, ag_reap, c->pid), c->pid, "[2.7,4.9] any thread of it can reap");
	retire(t2, NULL);
}

CASE(dying_subreaper)
{
	struct agent *top = spawn(NULL), *s2 = spawn(top), *s1 = spawn(s2), *c = spawn(s1);
	call(top, ag_subreaper, 1);
	call(s2, ag_subreaper, 1);
	call(s1, ag_subreaper, 1);
	retire(s1, s2);
	CHECK_EQ(call(c, ag_getppid, 0), s2->pid, "[2.8] orphans of a subreaper go to the next ancestor subreaper");
	call(s2, ag_subreaper, 0);
	quit(s2, 0);
	REQUIRE(call(top, ag_reap, s2->pid) == s2->pid);
	CHECK_EQ(call(c, ag_getppid, 0), top->pid, "[2.8,1.11] and on to the next, the flag of the dying one cleared or not");
	retire(c, top);
	retire(top, NULL);
}

/* ---- 2.3 ---- */

CASE(starts_at_real_parent)
{
	/* r is a subreaper and parent of p: p's orphans go to r, though r's own parent is one as well */
	struct agent *top = spawn(NULL), *r = spawn(top), *p = spawn(r), *c1 = spawn(p), *c2 = spawn(p);
	call(r, ag_subreaper, 1);
	call(top, ag_subreaper, 1);
	retire(p, r);
	CHECK_EQ(call(c1, ag_getppid, 0), r->pid, "[2.3] the walk starts at the dying process's own parent");
	CHECK_EQ(call(c2, ag_getppid, 0), r->pid, "[2.3] for each child");
	retire(r, top);
	CHECK_EQ(call(c1, ag_getppid, 0), top->pid, "[2.3] for adopted children it starts at their adopter's parent");
	retire(c1, top);
	retire(c2, top);
	retire(top, NULL);
}

/* ---- 2.9: a change between threads is silent ---- */

CASE(thread_silent)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_catch, SIGCHLD);
	call(p, ag_catch, RT);
	struct agent *c = spawn_flags(t, RT), *d = spawn_flags(t, 0);
	pid_t z = zombie_in(t, RT, 3);
	CHECK(AWAIT(siglog_count(p->pid, RT) == 1), "[2.9] (the zombie's own notice)");
	quit_thread(t, 0);
	REQUIRE(AWAIT(proc_stat(p->pid, 20) == 1));
	REQUIRE(AWAIT(owns(p, c->pid)));
	CHECK_EQ(proc_stat(c->pid, 38), RT, "[2.9] exit_signal does not change when a thread hands its child to a sibling");
	CHECK_EQ(proc_stat(d->pid, 38), 0, "[2.9] nor does exit_signal 0");
	call(p, ag_getpid, 0);
	CHECK_EQ(siglog_count(p->pid, SIGCHLD), 0, "[2.9] no SIGCHLD for a zombie that moves between threads");
	CHECK_EQ(siglog_count(p->pid, RT), 1, "[2.9] and its exit signal is not sent again");
	CHECK_EQ(call(p, ag_reap, z), z, "[2.9] it can be reaped by the sibling");
	retire(c, p);
	retire(d, p);
	retire(p, NULL);
}

/* ---- 2.10 ---- */

CASE(exit_signal_reset)
{
	struct agent *r = spawn(NULL), *p = spawn(r);
	call(r, ag_subreaper, 1);
	struct agent *c0 = spawn_flags(p, 0), *c1 = spawn_flags(p, SIGUSR1);
	CHECK_EQ(proc_stat(c0->pid, 38), 0, "[2.10] (exit_signal 0 before)");
	CHECK_EQ(proc_stat(c1->pid, 38), SIGUSR1, "[2.10] (exit_signal SIGUSR1 before)");
	pid_t z = zombie_in(p, 0, 5);
	CHECK_EQ(try_opt(p, z, 0), -ECHILD, "[2.10,4.8] (a plain wait does not see the exit_signal 0 zombie)");
	retire(p, r);
	CHECK_EQ(proc_stat(c0->pid, 38), SIGCHLD, "[2.10] exit_signal of an orphan becomes SIGCHLD: was 0");
	CHECK_EQ(proc_stat(c1->pid, 38), SIGCHLD, "[2.10] exit_signal of an orphan becomes SIGCHLD: was SIGUSR1");
	CHECK_EQ(try_opt(r, z, 0), z, "[2.10] a zombie with exit_signal 0 becomes a normal child, too");
	CHECK_EQ(try_opt(r, c0->pid, 0), 0, "[2.10] it can be waited for without __WCLONE");
	CHECK_EQ(try_opt(r, c0->pid, __WCLONE), -ECHILD, "[2.10] and no longer with it");
	call(r, ag_catch, SIGUSR1);
	call(r, ag_catch, SIGCHLD);
	retire(c1, r);
	CHECK_EQ(siglog_count(r->pid, SIGUSR1), 0, "[2.10] at its end the adopter does not get the old signal");
	CHECK(AWAIT(siglog_count(r->pid, SIGCHLD) == 1), "[2.10] but SIGCHLD");
	retire(c0, r);
	retire(r, NULL);
}

/* ---- 2.11, 2.12, 2.13 ---- */

static long take_sigchld(long x)
{
	sigset_t s;
	siginfo_t si;
	struct timespec now = { 0, 0 };
	(void)x;
	sigemptyset(&s);
	sigaddset(&s, SIGCHLD);
	int r = sigtimedwait(&s, &si, &now);
	me->out[0] = si.si_pid;
	me->out[1] = si.si_code;
	me->out[2] = si.si_status;
	me->out[3] = si.si_uid;
	return r;
}

CASE(zombie_orphan_notified)
{
	struct agent *r = spawn(NULL), *p = spawn(r);
	call(r, ag_subreaper, 1);
	call(r, ag_block, SIGCHLD);
	pid_t z = zombie_in(p, SIGCHLD, 23);
	CHECK_EQ(call(r, ag_pending, SIGCHLD), 0, "[2.11] (the grandparent knows nothing of the zombie)");
	quit(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	CHECK_EQ(call(r, take_sigchld, 0), SIGCHLD, "[2.11] the adopter of a zombie gets SIGCHLD at the adoption");
	CHECK_EQ(r->out[0], z, "[2.11,2.12] si_pid is the orphan: its notice precedes that of the dying parent");
	CHECK_EQ(r->out[1], CLD_EXITED, "[2.11] si_code");
	CHECK_EQ(r->out[2], 23, "[2.11] si_status");
	CHECK_EQ(r->out[3], getuid(), "[2.11] si_uid");
	CHECK_ERR(call(r, take_sigchld, 0), EAGAIN, "[2.12,5.5] the parent's own SIGCHLD is coalesced");
	CHECK_EQ(call(r, ag_reap, -1), p->pid, "[2.13] wait(-1) gives the dead parent, the older child, first");
	CHECK_EQ(call(r, ag_reap, -1), z, "[2.13] then the adopted zombie");
	CHECK_EQ(r->out[0], 23 << 8, "[2.11] with its status");
	retire(r, NULL);
}

CASE(killed_zombie_orphan)
{
	struct agent *r = spawn(NULL), *p = spawn(r), *c = spawn(p);
	call(r, ag_subreaper, 1);
	call(r, ag_block, SIGCHLD);
	kill(c->pid, SIGTERM);
	REQUIRE(await_state(c->pid, 'Z'));
	quit(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	REQUIRE(call(r, take_sigchld, 0) == SIGCHLD);
	CHECK(r->out[0] == c->pid && r->out[1] == CLD_KILLED && r->out[2] == SIGTERM,
	      "[2.11] a killed zombie orphan is told as CLD_KILLED with its signal");
	REQUIRE(call(r, ag_reap, -1) == p->pid);
	CHECK_EQ(call(r, ag_reap, -1), c->pid, "[2.13] and reaped after its parent");
	CHECK_EQ(r->out[0], SIGTERM, "[2.11] with the signal as status");
	retire(r, NULL);
}

CASE(live_orphan_not_notified)
{
	struct agent *r = spawn(NULL), *p = spawn(r), *c = spawn(p);
	call(r, ag_subreaper, 1);
	call(r, ag_block, SIGCHLD);
	quit(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	REQUIRE(call(r, take_sigchld, 0) == SIGCHLD);
	CHECK_EQ(r->out[0], p->pid, "[2.11] a live orphan causes no SIGCHLD: only the parent's death is told");
	REQUIRE(call(r, ag_reap, -1) == p->pid);
	CHECK_EQ(call(r, ag_try, -1), 0, "[2.11] the live orphan is there, with nothing to report");
	quit(c, 2);
	REQUIRE(call(r, ag_reap, -1) == c->pid);
	REQUIRE(call(r, take_sigchld, 0) == SIGCHLD);
	CHECK(r->out[0] == c->pid && r->out[2] == 2, "[2.11] its death is told to the adopter later");
	retire(r, NULL);
}

static long nocldwait(long flags)
{
	struct sigaction sa = { .sa_handler = SIG_DFL, .sa_flags = flags };
	return sigaction(SIGCHLD, &sa, NULL);
}

CASE(zombie_orphan_autoreaped)
{
	for (int how = 0; how < 2; how++) {
		struct agent *r = spawn(NULL), *p = spawn(r);
		call(r, ag_subreaper, 1);
		pid_t z = zombie_in(p, SIGCHLD, 1), z0 = zombie_in(p, 0, 1);
		struct agent *c = spawn(p);
		if (how)
			call(r, nocldwait, SA_NOCLDWAIT);
		else
			call(r, ag_ignore, SIGCHLD);
		quit(p, 0);
		CHECK(AWAIT(proc_state(p->pid) == 0), how ? "[2.11] (the parent is autoreaped, SA_NOCLDWAIT)"
							  : "[2.11] (the parent is autoreaped, SIG_IGN)");
		/* the autoreaped ones may be on their way out of the tables still when the parent is gone */
		CHECK(AWAIT(proc_state(z) == 0), how ? "[2.11] an adopter with SA_NOCLDWAIT: a zombie orphan is gone at once"
					       : "[2.11] an adopter that ignores SIGCHLD: a zombie orphan is gone at once");
		CHECK(AWAIT(kill(z, 0) == -1 && errno == ESRCH), "[2.11] its pid is free");
		CHECK(AWAIT(proc_state(z0) == 0), "[2.10,2.11] one with exit_signal 0 as well, since it is SIGCHLD now");
		CHECK_EQ(call(c, ag_getppid, 0), r->pid, "[2.11] a live orphan is adopted all the same");
		CHECK_EQ(call(r, ag_try, -1), 0, "[2.11] and is all that is left to wait for");
		quit(c, 0);
		CHECK_ERR(call(r, ag_reap, -1), ECHILD, "[2.11,4.23] at its end the wait finds no child");
		retire(r, NULL);
	}
}

CASE(order_of_adopted)
{
	/* r has own children a and b; p's orphans o1..o3 come after them, in their own order */
	struct agent *r = spawn(NULL), *a = spawn(r), *p = spawn(r), *b = spawn(r);
	call(r, ag_subreaper, 1);
	struct agent *o1 = spawn(p), *o2 = spawn(p), *o3 = spawn(p);
	retire(p, r);
	REQUIRE(call(o3, ag_getppid, 0) == r->pid);
	/* die in an order that is not the list's */
	struct agent *dead[] = { o3, b, o1, a, o2 }, *want[] = { a, b, o1, o2, o3 };
	for (int i = 0; i < 5; i++) {
		quit(dead[i], i);
		REQUIRE(await_state(dead[i]->pid, 'Z'));
	}
	bool own = true, adopted = true;
	for (int i = 0; i < 5; i++) {
		long got = call(r, ag_reap, -1);
		if (got != want[i]->pid)
			*(i < 2 ? &own : &adopted) = false;
	}
	CHECK(own, "[2.13,4.10] own children come first, in order of creation");
	CHECK(adopted, "[2.13] adopted ones after them, in their relative order");
	CHECK_ERR(call(r, ag_reap, -1), ECHILD, "[2.13] each once");
	retire(r, NULL);
}

CASE(order_of_two_adoptions)
{
	struct agent *r = spawn(NULL), *p = spawn(r), *q = spawn(r);
	call(r, ag_subreaper, 1);
	struct agent *pc1 = spawn(p), *qc1 = spawn(q), *pc2 = spawn(p), *qc2 = spawn(q);
	retire(q, r);
	struct agent *own = spawn(r);
	retire(p, r);
	struct agent *list[] = { qc1, qc2, own, pc1, pc2 };
	for (int i = 4; i >= 0; i--) {
		quit(list[i], 0);
		REQUIRE(await_state(list[i]->pid, 'Z'));
	}
	int right = 0;
	for (int i = 0; i < 5; i++)
		right += call(r, ag_reap, -1) == list[i]->pid;
	CHECK_EQ(right, 5, "[2.13] the list is in order of arrival: adoption, birth, adoption");
	retire(r, NULL);
}

/* ---- 2.17, 2.18 ---- */

CASE_T(atomic_with_zombie, 60)
{
	int n = iterations(300), stale = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int i = 0; i < n; i++) {
		pid_t me_pid = getpid();
		sh->w[0] = 0;
		sh->v[0] = 0;
		pid_t p = MUST(fork());
		if (p == 0) {
			pid_t c = fork();
			if (c == 0) {
				/* until told, look who the parent is; the last look is after the parent's zombie was seen */
				while (!__atomic_load_n(&sh->w[0], __ATOMIC_SEQ_CST))
					getppid();
				_exit(getppid() == me_pid ? 0 : 1);
			}
			_exit(0);
		}
		REQUIRE(await_zombie(p));
		set_word(&sh->w[0], 1);
		int st;
		REQUIRE(reap(p) == 0);
		REQUIRE(reap_any(&st) > 0);
		stale += st != 0;
	}
	CHECK_EQ(stale, 0, "[2.17] once a parent is seen as a zombie none of its children shows it as getppid");
}

CASE_T(atomic_wait_return, 60)
{
	/* the same with a wait that reaps: no child of a reaped process has it as parent in /proc */
	int n = iterations(300), stale = 0;
	struct agent *c;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid_t self = getpid();
	for (int i = 0; i < n; i++) {
		sh->nagents = 0;
		memset(sh->agent, 0, 2 * sizeof *sh->agent);
		struct agent *p = spawn(NULL);
		c = spawn(p);
		quit(p, 0);
		REQUIRE(reap(p->pid) == 0);
		stale += proc_stat(c->pid, 4) != self;
		stale += call(c, ag_getppid, 0) != self;
		retire(c, NULL);
	}
	CHECK_EQ(stale, 0, "[2.17] after a wait has returned a parent, its child shows the adopter in getppid and /proc");
}

CASE(getppid_of_thread_child)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *c = spawn(t);
	CHECK(t->tid != p->pid, "[2.18] (a thread has a tid of its own)");
	CHECK_EQ(call(c, ag_getppid, 0), p->pid, "[2.18] getppid of a thread's child is the tgid, not the tid");
	CHECK_EQ(proc_stat(c->pid, 4), p->pid, "[2.18,12.1] and so is field 4 of its stat");
	char v[32];
	proc_status(c->pid, "PPid", v, sizeof v);
	CHECK_EQ(atoi(v), p->pid, "[2.18,12.2] and PPid of its status");
	retire(c, p);
	retire(p, NULL);
}

CASE(thread_ppid)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	pid_t self = getpid();
	CHECK_EQ(call(p, ag_getppid, 0), self, "[2.18] getppid of the leader");
	CHECK_EQ(call(t, ag_getppid, 0), self, "[2.18] all threads of a process have the same parent");
	struct agent *t2 = spawn_thread(NULL), *c = spawn(t2), *ct = spawn_thread(c);
	CHECK_EQ(call(ct, ag_getppid, 0), self, "[2.18] a thread's child's thread shows the tgid");
	retire(c, NULL);
	retire(p, NULL);
}

CASE(children_file)
{
	char path[64], buf[128], want[64];
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *c1 = spawn(p), *c2 = spawn(p), *c3 = spawn(t);
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", p->pid, p->pid);
	if (access(path, R_OK) < 0 && errno == ENOENT) {
		tap_skip("[12.5] task/<tid>/children", "the kernel has no such file");
		quit(c1, 0), quit(c2, 0), quit(c3, 0), retire(p, NULL);
		return;
	}
	read_file(path, buf, sizeof buf);
	snprintf(want, sizeof want, "%d %d ", c1->pid, c2->pid);
	CHECK(!strcmp(buf, want), "[12.5] the children of one thread, in order, each followed by a space");
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", p->pid, t->tid);
	read_file(path, buf, sizeof buf);
	snprintf(want, sizeof want, "%d ", c3->pid);
	CHECK(!strcmp(buf, want), "[12.5] those of another thread are in its own file");
	quit_thread(t, 0);
	REQUIRE(AWAIT(proc_stat(p->pid, 20) == 1));
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", p->pid, p->pid);
	read_file(path, buf, sizeof buf);
	snprintf(want, sizeof want, "%d %d %d ", c1->pid, c2->pid, c3->pid);
	CHECK(!strcmp(buf, want), "[12.5,2.1] adopted from a thread: at the end of the list");
	quit(c1, 0), quit(c2, 0), quit(c3, 0), retire(p, NULL);
}

/* ---- init, where this program is a child of PID 1 ---- */

CASE(orphan_chain_up)
{
	/* the runner is a subreaper, so it stands for "whatever is above" */
	struct agent *p = spawn(NULL), *c = spawn(p), *g = spawn(c);
	pid_t runner = getppid();
	retire(p, NULL);
	CHECK_EQ(call(c, ag_getppid, 0), runner, "[2.1] without a subreaper in the case the orphan leaves it");
	CHECK_EQ(call(g, ag_getppid, 0), c->pid, "[2.1] a grandchild keeps its parent");
	CHECK_ERR(reap(c->pid), ECHILD, "[2.1] the case cannot wait for the orphan");
	quit(c, 0);
	CHECK(AWAIT(proc_stat(g->pid, 4) == runner), "[2.1] then it goes the same way");
	CHECK(AWAIT(proc_state(c->pid) == 0 || proc_state(c->pid) == 'Z'), "[2.1] (its parent is dead)");
	quit(g, 0);
}

CASE(order_of_notices)
{
	/* two zombie orphans, the younger died first: the adopter hears of them in the order of the list */
	struct agent *r = spawn(NULL), *p = spawn(r), *a = spawn(p), *b = spawn(p);
	call(r, ag_subreaper, 1);
	call(r, ag_block, SIGCHLD);
	quit(b, 2);
	REQUIRE(await_state(b->pid, 'Z'));
	quit(a, 1);
	REQUIRE(await_state(a->pid, 'Z'));
	quit(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	REQUIRE(call(r, take_sigchld, 0) == SIGCHLD);
	CHECK_EQ(r->out[0], a->pid, "[2.15] orphans are told of in the order of the list, not of their deaths");
	CHECK_EQ(call(r, ag_reap, p->pid), p->pid, "[2.15] (the parent)");
	CHECK(call(r, ag_reap, -1) == a->pid && call(r, ag_reap, -1) == b->pid, "[2.15,2.13] and reaped in that order");
	retire(r, NULL);
}
