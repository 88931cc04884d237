/*
 * judge.c - which steps have more than one right outcome.
 *
 * One operation may kill or stop several processes, which then die in any order on any kernel. Mostly nobody can
 * tell; the cases in which the order shows in the tree are named here. After such a step the tree is abandoned and
 * the seed goes on with a new one.
 */
#include "fuzz.h"
#include <sys/wait.h>

static bool alive(char state)
{
	return state && state != 'Z';
}

/* What happened to process `id` in this step. */
static bool died(int id)
{
	return !process_dead(id, false) && process_dead(id, true);
}

/* A process is stopped when one of its threads shows it: its leader may be a zombie. */
static bool is_stopped(int id, bool now)
{
	for (int i = 1; i < nactor; i++)
		if (actor[i].used && actor[i].leader == id && (now ? actor[i].now.state : actor[i].was.state) == 'T')
			return true;
	return false;
}

static bool stopped(int id)
{
	return !is_stopped(id, false) && is_stopped(id, true);
}

static bool continued(int id)
{
	return is_stopped(id, false) && !is_stopped(id, true) && !process_dead(id, true);
}

static bool is_process(int id)
{
	return actor[id].used && !actor[id].thread && actor[id].was.state;
}

/* A thread that waits in a system call, in process `id`. */
static bool has_waiter(int id, int step)
{
	for (int i = 1; i < nactor; i++)
		if (actor[i].used && actor[i].leader == id && actor[i].busy && actor[i].busy_step < step)
			return true;
	return false;
}

/*
 * Whether process `c` came to parent `p` in this step. One that its new parent has reaped by now can't be asked: it may have come
 * to anybody whose descendant it was.
 */
static bool came_to(int c, int p)
{
	if (actor[c].was.ppid == actor[p].pid)
		return false;
	if (actor[c].now.state)
		return actor[c].now.ppid == actor[p].pid;
	for (int i = 1; i < nactor; i++)
		if (is_process(i) && actor[i].pid == actor[c].was.ppid)
			return died(i);
	return false;
}

/* A stopped one that went on and died of what was waiting for it, unless it was killed where it stood. */
static bool went_on_and_died(int id)
{
	return is_stopped(id, false) && died(id) && (actor[id].now.exit_code & 0x7f) != SIGKILL;
}

/*
 * A thread reads a signalfd while a sibling would take the same signals: who is first is open. What was sent in this step is not
 * known, so anything that may send is taken for it.
 */
static bool signal_for_either(const struct op *op)
{
	bool sent = op->code == OP_KILL || op->code == OP_TGKILL || op->code == OP_SIGQUEUE || op->code == OP_SIGQUEUES
		 || op->code == OP_PIDFD_KILL || op->code == OP_TYPE;
	for (int i = 1; i < nactor; i++)
		sent |= is_process(i) && (died(i) || stopped(i) || continued(i));
	for (int i = 1; sent && i < nactor; i++) {
		const struct actor *a = &actor[i];
		if (!a->used || !a->busy || a->op.code != OP_SIGNALFD || a->busy_step >= step)
			continue;
		for (int k = 1; k < nactor; k++)
			if (k != i && actor[k].used && actor[k].leader == a->leader && alive(actor[k].was.state)
			    && ~actor[k].was.blocked & ~actor[k].was.ignored)
				return true;
	}
	return false;
}

/*
 * Several signals queued at once for a process with a handler: more than one of its threads is woken, and any of them takes them. It
 * shows in one that was in a system call.
 */
static bool queued_for_several(const struct op *op)
{
	if (op->code != OP_SIGQUEUES || op->arg[0].kind != PID || op->arg[0].n <= 0 || op->arg[2].n < 2)
		return false;
	uint64_t bit = 1ULL << (op->arg[1].n - 1);
	int leader = actor[op->arg[0].n].leader, willing = 0;
	bool caught = false;
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		if (!a->used || a->leader != leader || !alive(a->was.state))
			continue;
		willing += !(a->was.blocked & bit);
		caught |= (a->was.caught & bit) != 0;
	}
	return caught && willing > 1 && has_waiter(leader, step);
}

/*
 * The process group that a thread of `id` waits for, or 0. Linux wakes such a waiter only for members of the group, so it
 * sleeps on when its last member has left (rule 4.29); a kernel may as well tell it that nobody is left.
 */
static int waited_group(int id, int step)
{
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		if (!a->used || a->leader != id || !a->busy || a->busy_step >= step)
			continue;
		struct ref whom = a->op.code == OP_WAIT4 ? a->op.arg[0] : a->op.arg[1];
		bool wait4 = a->op.code == OP_WAIT4;
		if ((wait4 && whom.kind == GROUP) || (a->op.code == OP_WAITID && a->op.arg[0].n == P_PGID && whom.kind == PID))
			return actor[whom.n].pid;
		if (whom.kind == NUMBER && whom.n == 0 && (wait4 || a->op.arg[0].n == P_PGID))
			return a->was.pgrp;
	}
	return 0;
}

/* Tasks that died in this step and had children: two lists of orphans come in any order. */
static int dead_parents(const struct op *op)
{
	int n = 0;
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		if (!a->used || !a->was.nchild || !alive(a->was.state))
			continue;
		bool gone = !alive(a->now.state);
		if (op->code == OP_EXEC && !process_dead(a->leader, true) && actor[op->actor].thread
		    && a->leader == actor[op->actor].leader)
			gone = i != op->actor;	/* the thread lives on under its leader's number */
		n += gone;
	}
	return n;
}

/*
 * Threads of `id` died together: a child of one may have passed to another that was about to die too, or not, and so
 * been sent its parent-death signal once or twice.
 */
static bool death_signals_vary(int id)
{
	int dead_tasks = 0;
	for (int i = 1; i < nactor; i++)
		if (actor[i].used && actor[i].leader == id)
			dead_tasks += alive(actor[i].was.state) && !alive(actor[i].now.state);
	if (dead_tasks < 2)
		return false;
	for (int i = 1; i < nactor; i++)
		if (actor[i].used && actor[i].pdeathsig && actor[i].was.ppid == actor[id].pid)
			return true;
	return false;
}

/*
 * Somebody stopped for what he did at his terminal goes on, tries again and is stopped again: two events that look like
 * none.
 */
static bool stops_again(const struct op *op)
{
	long sig = op->code == OP_KILL || op->code == OP_SIGQUEUE || op->code == OP_SIGQUEUES || op->code == OP_PIDFD_KILL ? op->arg[1].n
		 : op->code == OP_TGKILL ? op->arg[2].n : 0;
	if (sig != SIGCONT)
		return false;
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		bool at_terminal = a->op.code == OP_TTYREAD || a->op.code == OP_TTYWRITE || a->op.code == OP_TOSTOP || a->op.code == OP_TCSETPGRP;
		if (a->used && a->busy && at_terminal && is_stopped(a->leader, false) && is_stopped(a->leader, true))
			for (int p = 1; p < nactor; p++)
				if (actor[p].used && actor[p].pid == a->now.ppid && has_waiter(actor[p].leader, step))
					return true;
	}
	return false;
}

/*
 * A session leader and others at its terminal died of one signal to all: its exit sends SIGHUP to the foreground, and who has
 * not yet died of the first signal dies of that.
 */
static bool hung_up_while_dying(const struct op *op)
{
	struct ref whom = op->arg[0];
	bool to_many = op->code == OP_TYPE || (op->code == OP_PIDFD_KILL && op->arg[2].n == 4)
		|| (op->code == OP_KILL && (whom.kind == GROUP || (whom.kind == NUMBER && whom.n <= 0)));
	for (int i = 1; i < nactor; i++)
		to_many |= is_process(i) && actor[i].ns == i && died(i);
	for (int i = 1; to_many && i < nactor; i++) {
		if (!is_process(i) || !died(i) || !actor[i].was.tty || actor[i].was.session != actor[i].pid)
			continue;
		for (int k = 1; k < nactor; k++)
			if (k != i && is_process(k) && died(k) && actor[k].was.session == actor[i].pid)
				return true;
	}
	return false;
}

/* Of several threads of an init that died at once, the last waits for the members of its namespace: which one is open. */
static bool init_waits(void)
{
	for (int i = 1; i < nactor; i++) {
		if (!actor[i].used || !actor[i].now.exiting || actor[i].now.state == 'Z' || actor[i].was.exiting)
			continue;
		for (int k = 1; k < nactor; k++)
			if (k != i && actor[k].used && actor[k].leader == actor[i].leader && alive(actor[k].was.state)
			    && !alive(actor[k].now.state))
				return true;
	}
	return false;
}

const char *judge(const struct op *op)
{
	int deaths = 0, was_stopped = 0;
	const char *why = dead_parents(op) > 1 ? "several parents died" : NULL;
	for (int i = 1; i < nactor; i++) {
		if (!is_process(i))
			continue;
		deaths += died(i);
		was_stopped += is_stopped(i, false);
	}
	if (stops_again(op))
		why = "somebody stopped, went on and stopped again beside a waiter";
	if (hung_up_while_dying(op))
		why = "a session leader died beside others at its terminal";
	if (queued_for_several(op))
		why = "signals queued for several threads";
	if (signal_for_either(op))
		why = "a signal for a reader of a signalfd or for his sibling";
	if (init_waits())
		why = "an init of several threads waits for its members";
	if (deaths > 1 && was_stopped)
		why = "several died beside a stopped one";
	for (int p = 0; p < nactor; p++) {
		if (!actor[p].used || actor[p].thread || (p != INIT && !actor[p].was.state))
			continue;
		int events = 0, dead_children = 0, other_groups = 0;
		bool odd_exit_signal = false;
		for (int c = 1; c < nactor; c++) {
			bool came = is_process(c) && came_to(c, p);
			bool was_dead = is_process(c) && process_dead(c, false);
			if (!is_process(c) || !(died(c) || stopped(c) || continued(c) || (came && was_dead)))
				continue;
			if (!came && (was_dead || (actor[c].was.ppid != actor[p].pid && actor[c].now.ppid != actor[p].pid)))
				continue;
			events += 1 + went_on_and_died(c);
			other_groups += actor[c].was.pgrp != waited_group(p, step);
			if (died(c) && actor[c].was.ppid == actor[p].pid) {
				dead_children++;
				odd_exit_signal |= actor[c].was.exit_signal && actor[c].was.exit_signal != SIGCHLD;
			}
		}
		if (events > 1)
			actor[p].tainted = true;
		if (p == INIT)
			continue;
		if (death_signals_vary(p))
			why = "a child of dying threads has a parent-death signal";
		if (events > 1 && has_waiter(p, step))
			why = "several children for one waiter";
		if (events && stopped(p))
			why = "a parent stopped beside its child";
		if (waited_group(p, step) && (other_groups || (!events && actor[p].now.nchild != actor[p].was.nchild)))
			why = "a waiter for a group, and something outside of it";
		if (dead_children && died(p) && (odd_exit_signal || has_waiter(p, step)))
			why = "a parent that would have heard of it died beside its child";
		if (dead_children && died(p) && (actor[p].was.ignored >> 16 & 1 || actor[p].nocldwait))
			why = "a parent that ignores its children died beside one";
	}
	return why;
}
