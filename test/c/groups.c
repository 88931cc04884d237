/* groups.c - sections 8.1-8.8: process groups and sessions. */
#include "lib/hold.h"
#include "lib/tap.h"

static long setpgid_of, setpgid_to;
static long do_setpgid(long x)
{
	(void)x;
	return setpgid(setpgid_of, setpgid_to);
}
static long set_of(long v) { setpgid_of = v; return 0; }
static long set_to(long v) { setpgid_to = v; return 0; }

/* setpgid(pid, pgid) made by agent `a` (NULL: the case): 0 or -errno. */
static long pgid_by(struct agent *a, long pid, long pgid)
{
	if (!a)
		return setpgid(pid, pgid) ? -errno : 0;
	call(a, set_of, pid);
	call(a, set_to, pgid);
	long r = call(a, do_setpgid, 0);
	return r < 0 ? -errno : r;
}

static struct agent *session(void)
{
	struct agent *s = spawn(NULL);
	REQUIRE(call(s, ag_setsid, 0) == s->pid);
	return s;
}

CASE(setpgid_basic)
{
	struct agent *s = session(), *a = spawn(s), *b = spawn(s);
	CHECK_EQ(getpgid(a->pid), s->pid, "[8.1] a child starts in its parent's group");
	CHECK_EQ(pgid_by(a, 0, 0), 0, "[8.1] setpgid(0, 0)");
	CHECK_EQ(getpgid(a->pid), a->pid, "[8.1] makes a group of its own");
	CHECK_EQ(pgid_by(a, 0, 0), 0, "[8.1] again is no error");
	CHECK_EQ(pgid_by(s, b->pid, a->pid), 0, "[8.1] the parent moves a child into it");
	CHECK_EQ(call(b, ag_getpgrp, 0), a->pid, "[8.1] as the child sees");
	CHECK_EQ(pgid_by(b, b->pid, 0), 0, "[8.1] pgid 0 is the pid");
	CHECK_EQ(getpgid(b->pid), b->pid, "[8.1] (moved)");
	CHECK_EQ(pgid_by(a, 0, -1), -EINVAL, "[8.1] negative pgid: EINVAL");
	CHECK_EQ(pgid_by(a, -1, 0), -EINVAL, "[8.1] negative pid with pgid 0: EINVAL");
	CHECK_EQ(pgid_by(a, -1, a->pid), -ESRCH, "[8.2] negative pid with a pgid: ESRCH");
	retire(a, s);
	retire(b, s);
	retire(s, NULL);
}

CASE(setpgid_whom)
{
	struct agent *s = session(), *a = spawn(s), *b = spawn(a), *t = spawn_thread(a), *tc = spawn(t);
	CHECK_EQ(pgid_by(s, b->pid, 0), -ESRCH, "[8.2] a grandchild: ESRCH");
	CHECK_EQ(pgid_by(a, s->pid, 0), -ESRCH, "[8.2] the parent: ESRCH");
	CHECK_EQ(pgid_by(a, 1, 0), -ESRCH, "[8.2] PID 1: ESRCH");
	CHECK_EQ(pgid_by(s, 0x3ffffff0, 0), -ESRCH, "[8.2] no such process: ESRCH");
	CHECK_EQ(pgid_by(a, tc->pid, 0), 0, "[8.2] the child of a sibling thread");
	CHECK_EQ(pgid_by(t, b->pid, 0), 0, "[8.2] and a thread moves a child of its leader");
	CHECK_EQ(pgid_by(a, t->tid, 0), -EINVAL, "[8.2] the tid of a thread that is not the leader: EINVAL");
	retire(b, a);
	retire(tc, a);
	retire(a, s);
	retire(s, NULL);
}

CASE(setpgid_refused)
{
	char c;
	MUST(pipe(up));
	MUST(pipe(down));
	struct agent *s = session(), *a = spawn(s), *l = spawn(s), *x = spawn(s);
	REQUIRE(call(l, ag_setsid, 0) == l->pid);
	CHECK_EQ(pgid_by(s, l->pid, s->pid), -EPERM, "[8.3] a child in another session: EPERM");
	CHECK_EQ(pgid_by(s, 0, 0), -EPERM, "[8.3] a session leader: EPERM");
	CHECK_EQ(pgid_by(a, 0, s->pid), 0, "[8.4] joining an existing group of the session");
	CHECK_EQ(pgid_by(a, 0, l->pid), -EPERM, "[8.4] a group of another session: EPERM");
	CHECK_EQ(pgid_by(a, 0, 0x3ffffff0), -EPERM, "[8.4] a group that does not exist: EPERM");
	CHECK_EQ(pgid_by(a, 0, x->pid), -EPERM, "[8.4] the pid of a process that leads no group: EPERM");
	post(x, exec_hold, 0);
	REQUIRE(read(up[0], &c, 1) == 1);
	CHECK_EQ(pgid_by(s, x->pid, 0), -EACCES, "[8.3] a child that has exec'ed: EACCES");
	/* agents hold copies of the write end of `down`: kill it */
	kill(x->pid, SIGKILL);
	REQUIRE(call(s, ag_reap, x->pid) == x->pid);
	retire(a, s);
	retire(l, s);
	retire(s, NULL);
}

CASE(leaderless_group)
{
	struct agent *s = session(), *a = spawn(s), *b = spawn(s), *c = spawn(s);
	REQUIRE(pgid_by(s, a->pid, 0) == 0 && pgid_by(s, b->pid, a->pid) == 0);
	pid_t g = a->pid;
	retire(a, s);
	CHECK_EQ(getpgid(b->pid), g, "[8.8] a group persists after its leader's death");
	CHECK_EQ(pgid_by(s, c->pid, g), 0, "[8.4,8.8] and can be joined while it has members");
	CHECK_OK(kill(-g, 0), "[8.8] and signalled");
	CHECK_ERR(kill(g, 0), ESRCH, "[8.8] although no process has that id");
	retire(b, s);
	retire(c, s);
	CHECK_ERR(kill(-g, 0), ESRCH, "[8.8] without members it is gone");
	struct agent *d = spawn(s);
	CHECK_EQ(pgid_by(s, d->pid, g), -EPERM, "[8.4,8.8] and cannot be joined");
	retire(d, s);
	retire(s, NULL);
}

CASE(get)
{
	struct agent *s = session(), *a = spawn(s), *t = spawn_thread(a);
	CHECK_EQ(getpgid(0), getpgrp(), "[8.5] getpgid(0) is the own group");
	CHECK_EQ(getsid(a->pid), s->pid, "[8.5] getsid across sessions");
	CHECK_EQ(getpgid(a->pid), s->pid, "[8.5] getpgid across sessions");
	CHECK_EQ(getpgid(t->tid), s->pid, "[8.5] getpgid of a thread id");
	CHECK_EQ(getsid(t->tid), s->pid, "[8.5] getsid of a thread id");
	CHECK_ERR(getpgid(-1), ESRCH, "[8.5] getpgid of a negative id: ESRCH");
	CHECK_ERR(getsid(-1), ESRCH, "[8.5] getsid of a negative id: ESRCH");
	CHECK_ERR(getpgid(0x3ffffff0), ESRCH, "[8.5] unknown: ESRCH");
	CHECK_ERR(getsid(0x3ffffff0), ESRCH, "[8.5] unknown: ESRCH");
	quit(a, 0);
	REQUIRE(await_state(a->pid, 'Z'));
	CHECK_EQ(getsid(a->pid), s->pid, "[8.5] of a zombie");
	REQUIRE(call(s, ag_reap, a->pid) == a->pid);
	retire(s, NULL);
}

CASE(setsid)
{
	struct agent *p = spawn(NULL), *a = spawn(p), *b = spawn(p), *c = spawn(p);
	pid_t outer = getsid(0);
	CHECK_EQ(getsid(a->pid), outer, "[8.6] a child starts in its parent's session");
	CHECK_EQ(call(a, ag_setsid, 0), a->pid, "[8.6] setsid returns the pid");
	CHECK(getsid(a->pid) == a->pid && getpgid(a->pid) == a->pid, "[8.6] new session and group with that id");
	CHECK_ERR(call(a, ag_setsid, 0), EPERM, "[8.6] again: EPERM");
	CHECK_EQ(proc_stat(a->pid, 7), 0, "[8.6] no controlling terminal");
	CHECK(proc_stat(a->pid, 5) == a->pid && proc_stat(a->pid, 6) == a->pid, "[8.6,12.1] as its stat shows");
	REQUIRE(call(b, ag_setpgid, 0) == 0);
	CHECK_ERR(call(b, ag_setsid, 0), EPERM, "[8.6] a group leader: EPERM");
	/* a leader that left its own group while another member remains */
	REQUIRE(pgid_by(p, c->pid, b->pid) == 0 && pgid_by(p, b->pid, getpgid(p->pid)) == 0);
	CHECK_ERR(call(b, ag_setsid, 0), EPERM, "[8.6] its pid is still a group's id: EPERM");
	retire(c, p);
	CHECK_EQ(call(b, ag_setsid, 0), b->pid, "[8.6] when the group is gone it works");
	retire(a, p);
	retire(b, p);
	retire(p, NULL);
}

CASE(setsid_thread)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	CHECK_EQ(call(t, ag_setsid, 0), p->pid, "[8.6] setsid by a thread returns the process's id");
	CHECK_EQ(getsid(p->pid), p->pid, "[8.6] and counts for the process");
	CHECK_EQ(getpgid(t->tid), p->pid, "[8.6] for all its threads");
	retire(p, NULL);
}

static long open_tty(long x)
{
	(void)x;
	return open("/dev/tty", O_RDWR);
}

CASE(dev_tty)
{
	struct agent *s = session();
	CHECK_ERR(call(s, open_tty, 0), ENXIO, "[8.12] /dev/tty without a controlling terminal: ENXIO");
	retire(s, NULL);
}
CASE_T(group_signal_race, 60)
{
	/* 13.13: children change their group while the parent signals it: once each, or not at all */
	int n = iterations(300), wrong = 0, total = 0;
	for (int i = 0; i < n; i++) {
		sh->nsig = 0;
		memset(sh->sig, 0, sizeof sh->sig);
		sh->w[0] = sh->w[1] = 0;
		pid_t lead = MUST(fork());
		if (lead == 0) {
			setpgid(0, 0);
			siglog_catch(SIGUSR1, SA_RESTART);
			pid_t k[3];
			for (int j = 0; j < 3; j++) {
				k[j] = fork();
				if (k[j] == 0) {
					__atomic_add_fetch(&sh->w[0], 1, __ATOMIC_SEQ_CST);
					for (volatile int d = 0; d < (i * 7 + j * 13) % 40 * 20; d++)
						;
					if (j == 0)
						setsid();
					else
						setpgid(0, 0);
					while (!sh->w[1])
						sched_yield();
					_exit(0);
				}
			}
			while (!sh->w[1])
				sched_yield();
			for (int j = 0; j < 3; j++)
				if (k[j] > 0)
					reap(k[j]);
			_exit(0);
		}
		while (sh->w[0] < 3 && proc_state(lead) != 'Z')
			sched_yield();
		kill(-lead, SIGUSR1);
		sh->w[1] = 1;
		wrong += reap(lead) != 0;
		for (int a = 0; a < sh->nsig; a++) {
			total++;
			for (int b = a + 1; b < sh->nsig; b++)
				wrong += sh->sig[a].who == sh->sig[b].who;
		}
	}
	CHECK_EQ(wrong, 0, "[13.13] each member of a changing group receives a signal once or not at all");
	CHECK(total >= n, "[13.13] the leader, who stays, always");
}

CASE(number_of_a_group)
{
	NEED_ROOT("[8.8] a group's number");
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	pid_t number = a->pid, got = -1;
	REQUIRE(call(a, ag_setpgid, 0) == 0);
	REQUIRE(setpgid(b->pid, number) == 0);
	retire(a, NULL);
	struct { unsigned long flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size; } args = {
		.exit_signal = SIGCHLD, .set_tid = (unsigned long)&number, .set_tid_size = 1 };
	CHECK_ERR(got = syscall(SYS_clone3, &args, sizeof args), EEXIST, "[8.8,6.7] the number of a leaderless group is taken");
	if (got == 0)
		_exit(0);
	retire(b, NULL);
	got = syscall(SYS_clone3, &args, sizeof args);
	if (got == 0)
		_exit(0);
	CHECK_EQ(got, number, "[8.8] without members it is free");
	reap(got);
}
