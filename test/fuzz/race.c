/*
 * race.c - the second mode: operations at the same time.
 *
 * Several actors get an operation each and run them at once. When the tree is quiet again there is no text to compare, for
 * many outcomes are right; but whatever happened, these hold (numbers as in the specification of the life cycle):
 *
 *	I1	who says that P is its parent is in the list of children of one of P's threads, once; nobody else is
 *	I2	a child is reaped once, and then it is gone
 *	I3	who becomes a zombie has a parent that does not ignore its children
 *	I4	nobody sleeps in a wait that has something to return, or that has no children left to wait for
 *	I5	nobody is left in a pid namespace whose init is dead
 *	I6	no two have one number
 *	I10	the status that wait returns is the one that the zombie showed
 *	I12	no vfork waits for a child that is gone or runs another program
 *
 * The others (I7-I9, I11), and these once more, the kernel checks itself where it can: a guest boots with `check_tree`. At the end of a tree
 * everybody is killed, and nobody may be left.
 */
#include "fuzz.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CROWD 5			/* operations at a time, at most */

static bool reaped[NACTOR];
static struct op running[CROWD];
static int nrunning;

static void violated(const char *rule, const char *what, int id)
{
	race_failed = true;
	printf("VIOLATED %s: p%d %s\n", rule, id, what);
	for (int i = 0; i < nrunning; i++) {
		char text[128];
		op_text(&running[i], text, sizeof text);
		printf("  beside %s\n", text);
	}
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		char text[128] = "-";
		if (!a->used && sh->slot[i].born)
			printf("  p%d not met\n", i);
		if (!a->used || !a->now.state)
			continue;
		if (a->busy)
			op_text(&a->op, text, sizeof text);
		printf("  p%d of p%d %c ppid=%s threads=%ld busy=%s children=", i, a->leader, a->now.state, name_of(a->now.ppid),
		       a->now.threads, text);
		for (int k = 0; k < a->now.nchild; k++)
			printf("%s ", name_of(a->now.child[k]));
		printf("\n");
	}
	fflush(stdout);
}

static void pause_ms(long ms)
{
	struct timespec ts = { 0, ms * 1000000 };
	nanosleep(&ts, NULL);
}

/* Children that have reported since: any fork of this round or an earlier one may have made one. */
static bool meet_born(void)
{
	bool met = false;
	for (int i = 1; i < nactor; i++) {
		if (actor[i].used || !sh->slot[i].born)
			continue;
		struct op *op = &actor[i].op;	/* what made it, left there by post_one */
		meet_child(op);
		met = true;
	}
	return met;
}

static void post_one(const struct op *op)
{
	if (op->code == OP_FORK)
		actor[op->arg[0].n].op = *op;
	post(op);
}

/* Quiet, and quiet again after a while in which late children would have reported. */
static bool settle(void)
{
	for (int tries = 0; tries < 50; tries++) {
		if (!state_settle(INIT))
			return false;
		if (meet_born())
			continue;
		bool unborn = false;
		for (int i = 1; i < nactor; i++)
			unborn |= !actor[i].used && actor[i].op.code == OP_FORK && !sh->slot[i].born && tries < 3;
		if (!unborn)
			return true;
		pause_ms(2);
	}
	return false;
}

/* ---- the invariants ---- */
static int times_listed(int process, int pid)
{
	int n = 0;
	for (int i = 0; i < nactor; i++)
		if (actor[i].used && actor[i].leader == process)
			for (int k = 0; k < actor[i].now.nchild; k++)
				n += actor[i].now.child[k] == pid;
	return n;
}

static void check_tree(void)
{
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		if (!a->used || a->thread || !a->now.state)
			continue;
		int parent = a->now.ppid == 1 ? INIT : name_find(a->now.ppid);
		if (parent < 0)
			violated("I1", "has a parent that nobody knows", i);
		else if (parent != INIT && process_dead(parent, true) && actor[parent].now.threads < 2)	/* a thread may be stopped before it reports */
			violated("I1", "has a dead parent", i);
		else if (times_listed(parent, a->pid) != 1)
			violated("I1", "is not once in its parent's list", i);
		if (reaped[i])
			violated("I2", "was reaped and is still there", i);
	}
	for (int i = 0; i < nactor; i++)
		for (int k = 0; actor[i].used && k < actor[i].now.nchild; k++) {
			int child = name_find(actor[i].now.child[k]);
			if (child > 0 && actor[child].used && actor[child].now.ppid != actor[actor[i].leader].pid)
				violated("I1", "is in the list of somebody who is not its parent", child);
		}
}

static void check_numbers(void)
{
	for (int i = 1; i < nactor; i++)
		for (int k = 1; k < i && actor[i].used && actor[i].now.state; k++)
			if (actor[k].used && actor[k].now.state && actor[k].tid == actor[i].tid)
				violated("I6", "has the number of another one", i);
}

static void check_namespaces(void)
{
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		if (!a->used || a->ns != i || !process_dead(i, true))
			continue;
		for (int k = 1; k < nactor; k++)
			if (actor[k].used && actor[k].leader != i && actor[k].now.state && is_in(k, i))
				violated("I5", "is in a namespace whose init is dead", k);
	}
}

/* Its parent ignored SIGCHLD before this round and does so now, and was its parent all the time. */
static void check_ignored(void)
{
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		if (!a->used || a->thread || a->now.state != 'Z' || process_dead(i, false) || !process_dead(i, true))
			continue;
		int parent = name_find(a->now.ppid);
		const struct actor *p = &actor[parent < 0 ? INIT : parent];
		uint64_t chld = 1ull << (SIGCHLD - 1);
		if (p != &actor[INIT] && a->was.ppid == a->now.ppid && a->was.exit_signal == SIGCHLD && a->now.exit_signal == SIGCHLD
		    && p->was.ignored & p->now.ignored & chld)
			violated("I3", "is a zombie whose parent ignores its children", i);
	}
}

static void check_waiter(int id)
{
	const struct actor *a = &actor[id];
	bool any = a->op.code == OP_WAIT4 && a->op.arg[0].kind == NUMBER && a->op.arg[0].n == -1 && a->now.state == 'S';
	long options = a->op.arg[1].n;
	if (!any || options & (__WNOTHREAD | __WCLONE | WNOHANG))
		return;
	int children = 0;
	for (int i = 1; i < nactor; i++) {
		const struct actor *c = &actor[i];
		if (!c->used || c->thread || !c->now.state || c->now.ppid != actor[a->leader].pid)
			continue;
		if (c->now.exit_signal != SIGCHLD && !(options & __WALL))
			continue;
		children++;
		if (c->now.state == 'Z' && process_dead(i, true) && c->now.threads <= 1)
			violated("I4", "is a zombie that somebody sleeps for", i);
	}
	/* One that nobody has met may be among the children. */
	int listed = 0;
	for (int i = 0; i < nactor; i++)
		if (actor[i].used && actor[i].leader == a->leader)
			listed += actor[i].now.nchild;
	if (!children && !listed)
		violated("I4", "waits and has no children", id);
}

static void check_vfork(int id)
{
	const struct actor *a = &actor[id];
	if (a->op.code != OP_FORK || a->now.state != 'D')
		return;
	int child = a->op.arg[0].n;
	if (actor[child].used && (process_dead(child, true) || sh->slot[child].execs))
		violated("I12", "is in vfork, and its child is done with the memory", id);
}

static void take_answer(int id)
{
	struct actor *a = &actor[id];
	struct slot *s = &sh->slot[id];
	bool dead = id != INIT && (!a->now.state || a->now.state == 'Z');
	if (s->answered != s->command && !dead)
		return;
	a->busy = false;
	if (!dead)
		follow_answer(id);
	bool wait4 = a->op.code == OP_WAIT4 && s->ret > 0;
	bool waitid = a->op.code == OP_WAITID && s->ret == 0 && s->out[0] && !(a->op.arg[2].n & WNOWAIT);
	if (s->answered != s->command || !(wait4 || waitid))
		return;
	int child = name_find(wait4 ? s->ret : s->out[0]);
	bool ended = wait4 ? WIFEXITED(s->out[0]) || WIFSIGNALED(s->out[0]) : s->out[1] <= CLD_DUMPED;
	if (child < 1 || !ended)
		return;
	if (reaped[child])
		violated("I2", "was reaped twice", child);
	reaped[child] = true;
	if (wait4 && actor[child].was.state == 'Z' && process_dead(child, false) && actor[child].was.threads <= 1
	    && actor[child].was.exit_code != s->out[0])
		violated("I10", "showed another exit status than wait returned", child);
}

static void check_all(void)
{
	for (int i = 0; i < nactor; i++)
		if (actor[i].used && actor[i].busy)
			take_answer(i);
	check_tree();
	check_numbers();
	check_namespaces();
	check_ignored();
	for (int i = 1; i < nactor; i++) {
		if (!actor[i].used || !actor[i].busy)
			continue;
		check_waiter(i);
		check_vfork(i);
	}
}

/* Nobody but the master. A thread's last moments may be seen for a little longer. */
static bool alone_now(void)
{
	DIR *dir = opendir("/proc");
	int n = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		n += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
	if (dir)
		closedir(dir);
	return n == 1;
}

static bool alone(void)
{
	for (int tries = 0; tries < 1000; tries++) {
		if (alone_now())
			return true;
		pause_ms(1);
	}
	return false;
}

/* ---- rounds ---- */
/* Chooses operations for as many different actors as will do, and gives them out. */
static void start_round(void)
{
	bool chosen[NACTOR] = { false };
	int want = 2 + random_below(CROWD - 1);
	nrunning = 0;
	for (int tries = 0; nrunning < want && tries < 20; tries++) {
		struct op *op = &running[nrunning];
		if (!generate(op) || chosen[op->actor])
			continue;
		chosen[op->actor] = true;
		if (op->code == OP_FORK) {
			int id = op->arg[0].n;
			memset((void *)&sh->slot[id], 0, sizeof sh->slot[id]);
			actor[id].op = *op;
			nactor = id + 1;	/* nobody else gets it */
		}
		nrunning++;
		if (op->actor == INIT)
			break;
	}
	for (int i = 0; i < nrunning; i++)
		post_one(&running[i]);
}

static void one_tree(int rounds)
{
	memset(reaped, 0, sizeof reaped);
	for (int round = 0; round < rounds && nactor < NACTOR - CROWD; round++) {
		for (int i = 0; i < nactor; i++)
			actor[i].was = actor[i].now;
		start_round();
		if (!settle()) {
			state_read();
			violated("rest", "and the others do not come to rest", 0);
			break;
		}
		check_all();
		sh->nrec = 0;
		step++;
	}
}

void run_races(long from, long to, int ops)
{
	for (long seed = from; seed <= to; seed++) {
		char name[32];
		snprintf(name, sizeof name, "%ld", seed);
		random_seed(seed);
		begin(name);
		one_tree(ops);
		new_tree();
		if (!alone()) {
			nrunning = 0;
			violated("I2", "and nobody else should be left", 0);
		}
		printf("end\n");
		fflush(stdout);
	}
}
