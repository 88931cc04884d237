/*
 * generate.c - from a seed to operations.
 *
 * Each operation is chosen when its turn comes, by the seed and by what the tree is then, so that most of them do
 * something; some are wrong on purpose. Left out is what cannot have one right outcome: two threads of one process
 * that wait for children at a time, and mostly signals that kill a whole crowd.
 */
#include "fuzz.h"
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/wait.h>

#define CROWD 12		/* from this many live actors on, more die than are born */
#define COUNT(a) (int)(sizeof (a) / sizeof (a)[0])
#define PICK(a) (a)[random_below(COUNT(a))]
#define BIT(sig) (1ull << ((sig) - 1))

static uint64_t state;
bool old_kernel;

void random_seed(uint64_t seed)
{
	state = (seed + 1) * 0x9e3779b97f4a7c15;
	for (int i = 0; i < 8; i++)
		random_below(2);
}

uint32_t random_below(uint32_t n)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1d) >> 33) % n;
}

static bool chance(uint32_t percent)
{
	return random_below(100) < percent;
}

static struct ref number(long n)
{
	return (struct ref){ NUMBER, n };
}

bool actor_idle(int id)
{
	const struct actor *a = &actor[id];
	return id == INIT || (a->used && !a->busy && a->now.state == 'S' && !a->now.exiting);
}

/* A random actor for which `good` holds; -1 if there is none. */
static int some(bool (*good)(int))
{
	int list[NACTOR], n = 0;
	for (int i = 1; i < nactor; i++)
		if (actor[i].used && good(i))
			list[n++] = i;
	return n ? list[random_below(n)] : -1;
}

static bool alive(int id)
{
	return actor[id].now.state && actor[id].now.state != 'Z';
}

static bool there(int id)
{
	return actor[id].now.state != 0;
}

static bool stopped(int id)
{
	return actor[id].now.state == 'T';
}

static bool anybody(int id)
{
	(void)id;
	return true;
}

static bool inside(int id)
{
	return there(id) && actor[id].ns != INIT;
}

static int subject;

static bool child_of_subject(int id)
{
	return there(id) && !actor[id].thread && actor[id].now.ppid == actor[subject].pid;
}

/* Somebody to do something to: most often a child of `who`, sometimes one that has been gone for long. */
static struct ref target(int who)
{
	subject = who;
	uint32_t dice = random_below(100);
	int id = -1;
	if (dice < 40)
		id = some(child_of_subject);
	if (id < 0 && dice < 55)
		return number(0);	/* for most calls: oneself */
	if (id < 0)
		id = some(dice < 95 ? there : anybody);
	return id < 0 ? number(0) : (struct ref){ PID, id };
}

/* A descriptor that may be a pidfd. */
static struct ref some_pidfd(int who)
{
	int list[32], n = 0;
	for (int fd = 0; fd < 32; fd++)
		if (actor[who].pidfds >> fd & 1)
			list[n++] = fd;
	if (n && chance(85))
		return number(list[random_below(n)]);
	return number(PROGRAM_FD + random_below(4));
}

/* kill's target: a process, mostly; groups seldom, for what they do is often judged to be open. */
static struct ref kill_target(int who, int sig)
{
	uint32_t dice = random_below(100);
	bool harmless = sig == 0 || sig == SIGCONT || sig == SIGCHLD || sig > 64;
	int id = some(dice < 30 && sig == SIGCONT ? stopped : there);
	bool inside = actor[who].ns != INIT;	/* where -1 is not everybody */
	if (who != INIT && chance(inside ? 12 : harmless ? 4 : 0))
		return number(-1);
	if (dice < (harmless ? 25 : 8) && id >= 0) {
		int leader = name_find(actor[id].now.pgrp);
		if (chance(30))
			leader = id;
		if (leader > 0)
			return (struct ref){ GROUP, leader };
	}
	struct ref r = target(who);
	if (r.kind == NUMBER)	/* 0 would be the whole group */
		r = who == INIT ? (struct ref){ PID, id < 0 ? INIT : id }
				: harmless || chance(10) ? r : (struct ref){ PID, chance(80) && id >= 0 ? id : who };
	return r;
}

static int some_signal(void)
{
	static const int list[] = { SIGKILL, SIGKILL, SIGKILL, SIGTERM, SIGTERM, SIGSTOP, SIGSTOP, SIGSTOP, SIGCONT, SIGCONT,
				    SIGCONT, SIGTSTP, SIGTSTP, SIGUSR1, SIGUSR1, SIGCHLD, SIGHUP, SIGTTIN, SIGINT, 0, 34, SIGQUIT,
				    65 };
	return PICK(list);
}

static uint64_t some_set(void)
{
	static const uint64_t list[] = { BIT(SIGCHLD), BIT(SIGCHLD), BIT(SIGUSR1), BIT(SIGHUP) | BIT(SIGTERM), BIT(SIGCONT),
					 BIT(SIGTSTP) | BIT(SIGTTIN), BIT(34), ~0ull, 0,
					 BIT(SIGCHLD) | BIT(SIGUSR1) | BIT(SIGCONT) | BIT(34) };
	return PICK(list);
}

static int free_id(void)
{
	return nactor < NACTOR ? nactor : -1;
}

/* Does the process of `who` have a handler for what a terminal sends to the background? */
static bool catches_background(int who)
{
	return actor[actor[who].leader].now.caught & (BIT(SIGTTIN) | BIT(SIGTTOU));
}

static void fork_op(struct op *op, int live)
{
	int id = free_id();
	if (id < 0 || (live >= CROWD && chance(80)))
		return;
	static const int exit_signals[] = { SIGCHLD, SIGCHLD, SIGCHLD, SIGCHLD, SIGCHLD, SIGCHLD, SIGCHLD, 0, SIGUSR1, 34 };
	static const uint64_t extras[] = { CLONE_PARENT, CLONE_FILES, CLONE_FS, CLONE_VM, CLONE_VM | CLONE_SIGHAND,
					   CLONE_VM | CLONE_VFORK, CLONE_PIDFD, CLONE_PIDFD, CLONE_NEWPID, CLONE_NEWPID, CLONE_IO, CLONE_UNTRACED, CLONE_SYSVSEM };
	static const uint64_t wrong[] = { CLONE_SIGHAND, CLONE_THREAD, CLONE_THREAD | CLONE_VM, CLONE_NEWNS | CLONE_FS,
					  CLONE_NEWIPC | CLONE_SYSVSEM, CLONE_THREAD | CLONE_SIGHAND,
					  CLONE_NEWPID | CLONE_THREAD | CLONE_VM | CLONE_SIGHAND };
	uint64_t flags = PICK(exit_signals);
	int how = chance(30) ? HOW_CLONE3 : HOW_CLONE;
	if (op->actor == INIT)
		flags = SIGCHLD, how = HOW_ROOT;
	else if (chance(25) && !catches_background(op->actor))
		flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | (chance(70) ? CLONE_FS | CLONE_FILES | CLONE_SYSVSEM : 0)
			| (how == HOW_CLONE && chance(20) ? SIGCHLD : 0);
	else if (chance(40))
		flags |= PICK(extras);
	else if (chance(6))
		flags |= PICK(wrong);
	if (how == HOW_CLONE3 && chance(10))
		flags |= 1ull << 32;	/* CLONE_CLEAR_SIGHAND */
	if (how == HOW_CLONE3 && flags & CLONE_PARENT && chance(80))
		flags &= ~0xffull;	/* it wants no exit signal with it */
	*op = (struct op){ op->actor, OP_FORK, { { PID, id }, number(flags), number(how) } };
}

/* Another thread of its process waits already: which of two gets a child would be open. */
static bool may_block(int who)
{
	int idle = 0;
	if (who == INIT)
		return false;
	for (int i = 1; i < nactor; i++) {
		if (!actor[i].used)
			continue;
		if (actor[i].leader == actor[who].leader && actor[i].busy)
			return false;
		idle += actor_idle(i);
	}
	return idle > 1;
}

static void wait_op(struct op *op)
{
	int who = op->actor;
	subject = who;
	long options = may_block(who) && chance(45) ? 0 : WNOHANG;
	options |= (chance(40) ? WUNTRACED : 0) | (chance(40) ? WCONTINUED : 0);
	options |= chance(50) ? __WALL : 0;
	options |= chance(10) ? __WCLONE : 0;
	options |= chance(10) ? __WNOTHREAD : 0;
	uint32_t dice = random_below(100);
	int child = some(child_of_subject);
	struct ref whom = number(-1);
	if (dice < 30 && child >= 0)
		whom = (struct ref){ PID, child };
	else if (dice < 40)
		whom = target(who);
	else if (dice < 48 && child >= 0 && name_find(actor[child].now.pgrp) > 0)
		whom = (struct ref){ GROUP, name_find(actor[child].now.pgrp) };
	else if (dice < 54)
		whom = number(0);
	if (chance(55)) {
		if (chance(3))
			options |= WNOWAIT;	/* not for wait4 */
		*op = (struct op){ who, OP_WAIT4, { whom, number(options) } };
		return;
	}
	options |= chance(85) ? WEXITED : 0;
	options |= chance(20) ? WNOWAIT : 0;
	long type = P_ALL;
	if (whom.kind == PID)
		type = P_PID;
	else if (whom.kind == GROUP)
		type = P_PGID, whom.kind = PID;
	else if (whom.n == 0)
		type = chance(70) ? P_PGID : P_PID;
	if (chance(8))
		type = P_PIDFD, whom = some_pidfd(who);
	if (chance(2))
		type = 7;
	*op = (struct op){ who, OP_WAITID, { number(type), whom, number(options) } };
}

static void kill_op(struct op *op)
{
	int sig = some_signal();
	if (chance(80)) {
		*op = (struct op){ op->actor, OP_KILL, { kill_target(op->actor, sig), number(sig) } };
	} else if (chance(60)) {
		int id = some(there);
		if (id < 0)
			return;
		struct ref group = { PID, chance(90) ? actor[id].leader : some(there) };
		*op = (struct op){ op->actor, OP_TGKILL, { group, { PID, id }, number(sig) } };
	} else {
		static const int codes[] = { -1, -1, -1, -6, 0, 128 };
		struct ref r = target(op->actor);
		if (r.kind == NUMBER)
			r = (struct ref){ PID, op->actor };
		if (chance(60)) {
			/* Many only to who lives to get them: else it would be open whether the last ones still find it. */
			sig = chance(80) || sig > 64 ? 34 : sig;
			const struct view *v = &actor[actor[r.n].leader].now;
			bool taken = (v->caught | v->blocked) >> (sig ? sig - 1 : 0) & 1;
			*op = (struct op){ op->actor, OP_SIGQUEUES, { r, number(sig), number(taken ? 1 + random_below(5) : 1) } };
		}
		else
			*op = (struct op){ op->actor, OP_SIGQUEUE, { r, number(chance(50) ? 34 : sig), number(PICK(codes)) } };
	}
}

static void sigaction_op(struct op *op)
{
	static const int signals[] = { SIGCHLD, SIGCHLD, SIGCHLD, SIGCHLD, SIGUSR1, SIGHUP, SIGCONT, SIGTSTP, SIGTERM, SIGINT, 34, 34,
				       SIGTTIN, SIGTTOU, SIGKILL };
	int sig = PICK(signals);
	bool background = sig == SIGTTIN || sig == SIGTTOU;
	unsigned long flags = (chance(40) ? SA_RESTART : 0) | (chance(10) ? SA_NODEFER : 0) | (chance(5) ? SA_RESETHAND : 0);
	if (sig == SIGCHLD)
		flags |= (chance(20) ? SA_NOCLDWAIT : 0) | (chance(20) ? SA_NOCLDSTOP : 0);
	if (background)
		flags &= ~SA_RESTART;	/* the call would be started again for ever */
	int what = random_below(3);
	if (background && what == 2 && actor[actor[op->actor].leader].now.threads > 1)
		what = 1;		/* so it would if another thread took the signal */
	*op = (struct op){ op->actor, OP_SIGACTION, { number(sig), number(what), number(flags) } };
}

static bool reads_terminal(int id)
{
	return actor[id].busy && actor[id].op.code == OP_TTYREAD;
}

/* Those that the dice choose for an actor when there is a terminal. */
static void terminal_op(struct op *op)
{
	int who = op->actor, terminal = random_below(NTTY);
	const struct actor *a = &actor[who];
	for (int tries = 0; tries < 4 && !terminal_there(terminal); tries++)
		terminal = random_below(NTTY);
	for (int n = 0; n < NTTY && chance(90); n++)	/* his session's, if it has one */
		if (a->now.tty && !strcmp(terminal_name(a->now.tty), n == 0 ? "t0" : n == 1 ? "t1" : "t2"))
			terminal = n;
	if (!a->has_tty || chance(6)) {
		*op = (struct op){ who, OP_OPENTTY, { number(terminal), number(chance(85) ? 0 : O_NOCTTY) } };
		return;
	}
	/* What stops the background does nothing to the init of a namespace: it would try for ever. */
	bool init = a->ns == a->leader;
	static const enum code codes[] = { OP_TTYREAD, OP_TTYREAD, OP_TTYREAD, OP_TTYWRITE, OP_TTYWRITE, OP_TOSTOP, OP_TCSETPGRP,
					   OP_TCSETPGRP, OP_TCSETPGRP, OP_TCSETPGRP, OP_SCTTY, OP_NOTTY, OP_TTYINFO, OP_TTYINFO, OP_DEVTTY, OP_CLOSE };
	enum code code = PICK(codes);
	if (!a->now.tty && (code == OP_TCSETPGRP || code == OP_TTYINFO || code == OP_NOTTY) && chance(75))
		code = chance(40) ? OP_SCTTY : OP_TTYREAD;
	if (init && (code == OP_TTYREAD || code == OP_TTYWRITE || code == OP_TOSTOP || code == OP_TCSETPGRP))
		code = OP_TTYINFO;
	switch (code) {
	case OP_TTYREAD:
		if (may_block(who) && some(reads_terminal) < 0)	/* which of two gets a line would be open */
			*op = (struct op){ .actor = who, .code = code };
		return;
	case OP_TOSTOP: *op = (struct op){ who, code, { number(chance(60)) } }; return;
	case OP_SCTTY: *op = (struct op){ who, code, { number(chance(20)) } }; return;
	case OP_CLOSE: *op = (struct op){ who, code, { number(TTY_FD) } }; return;
	case OP_TCSETPGRP: {
		int id = name_find(a->now.pgrp);
		if (chance(60)) {
			subject = who;
			int child = some(child_of_subject);
			id = child < 0 ? id : name_find(actor[child].now.pgrp);
		}
		struct ref group = id > 0 && chance(90) ? (struct ref){ PID, id } : target(who);
		*op = (struct op){ who, code, { group } };
		return;
	}
	default: *op = (struct op){ .actor = who, .code = code }; return;
	}
}

/* The master at its terminals. */
static void keyboard_op(struct op *op)
{
	static const char bytes[] = { 3, 3, 26, 26, 26, 28, 'a', '\n', '\n', '\n', 4 };
	int terminal = random_below(NTTY);
	if (!terminal_there(terminal)) {
		if (chance(50))
			*op = (struct op){ INIT, OP_PTY, { number(terminal) } };
	} else if (chance(6)) {
		*op = (struct op){ INIT, OP_HANGUP, { number(terminal) } };
	} else {
		*op = (struct op){ INIT, OP_TYPE, { number(terminal), number(PICK(bytes)) } };
	}
}

static bool idle_actor(int id)
{
	return actor_idle(id);
}

static bool has_terminal(int id)
{
	return actor_idle(id) && actor[id].has_tty;
}

/* A session leader without one, or somebody whose session has one that he has not opened. */
static bool wants_terminal(int id)
{
	const struct actor *a = &actor[id];
	return actor_idle(id) && !a->has_tty && !a->thread && (a->now.tty || a->now.session == a->pid);
}

static bool has_pidfd(int id)
{
	return actor_idle(id) && actor[id].pidfds;
}

static bool forks_elsewhere(int id)
{
	return actor_idle(id) && actor[id].next_ns != actor[id].ns;
}

static bool has_pending(int id)
{
	return actor_idle(id) && (actor[id].now.pending || actor[actor[id].leader].now.shared);
}

static bool has_children(int id)
{
	return actor_idle(id) && actor[id].now.nchild;
}

/* Somebody else, most often, for an operation that would do nothing in the hands of `who`. */
static int better(int who, enum code code)
{
	int id = -1;
	if (chance(15))
		return who;
	if (code == OP_PIDFD_KILL || code == OP_PIDFD_POLL || code == OP_CLOSE)
		id = some(has_pidfd);
	else if (code == OP_TAKE || code == OP_SIGNALFD || code == OP_SIGWAIT)
		id = some(has_pending);
	else if (code == OP_WAIT4)
		id = some(has_children);
	else if (code == OP_OPENTTY)
		id = some(chance(30) ? wants_terminal : has_terminal);
	else if (code == OP_FORK && chance(8))
		id = some(forks_elsewhere);
	return id < 0 ? who : id;
}

/* Would it say no more than that there is nothing? */
static bool is_idle_talk(int who, enum code code)
{
	switch (code) {
	case OP_PIDFD_KILL: case OP_PIDFD_POLL: case OP_CLOSE: return !has_pidfd(who);
	case OP_TAKE: case OP_SIGNALFD: return !has_pending(who);
	case OP_WAIT4: return !has_children(who);
	default: return false;
	}
}

/* One try; leaves `op->code` at NOPS when the dice asked for what cannot be. */
static void try(struct op *op, int live)
{
	static const struct { enum code code; int weight; } weights[] = {
		{ OP_FORK, 22 }, { OP_EXIT, 5 }, { OP_EXIT_GROUP, 3 }, { OP_KILL, 16 }, { OP_WAIT4, 24 }, { OP_SUBREAPER, 5 },
		{ OP_PDEATHSIG, 6 }, { OP_SIGACTION, 7 }, { OP_SIGMASK, 6 }, { OP_TAKE, 5 }, { OP_SETSID, 2 },
		{ OP_PIDFD_OPEN, 3 }, { OP_PIDFD_POLL, 3 }, { OP_PIDFD_KILL, 3 }, { OP_CLOSE, 1 },
		{ OP_SETPGID, 7 }, { OP_EXEC, 4 }, { OP_SETUID, 1 }, { OP_AUDIT, 5 }, { OP_GETPGID, 1 }, { OP_GETSID, 1 },
		{ OP_UNSHARE, 2 }, { OP_SETNS, 3 }, { OP_SIGWAIT, 2 }, { OP_SIGNALFD, 2 }, { OP_NPROC, 1 }, { OP_OPENTTY, 26 },
	};
	static const int death_signals[] = { 0, 0, SIGKILL, SIGTERM, SIGUSR1, SIGUSR1, SIGHUP, SIGSTOP, SIGCONT, SIGTSTP, 65 };
	int total = 0, who = op->actor, i;
	for (i = 0; i < COUNT(weights); i++)
		total += weights[i].weight;
	int dice = random_below(total);
	for (i = 0; dice >= weights[i].weight; i++)
		dice -= weights[i].weight;
	enum code code = weights[i].code;
	if (who == INIT && chance(50)) {
		keyboard_op(op);
		return;
	}
	if (who == INIT && code != OP_FORK && code != OP_KILL && code != OP_WAIT4)
		return;
	if (who != INIT)
		op->actor = who = better(who, code);
	if (who != INIT && is_idle_talk(who, code) && chance(75))
		return;
	subject = who;
	switch (code) {
	case OP_FORK: fork_op(op, live); return;
	case OP_KILL: kill_op(op); return;
	case OP_WAIT4: wait_op(op); return;
	case OP_SIGACTION: sigaction_op(op); return;
	case OP_EXIT: case OP_EXIT_GROUP:
		if (live > 3)
			*op = (struct op){ who, code, { number(random_below(chance(90) ? 8 : 1000)) } };
		return;
	case OP_SUBREAPER: *op = (struct op){ who, code, { number(chance(70)) } }; return;
	case OP_PDEATHSIG: *op = (struct op){ who, code, { number(PICK(death_signals)) } }; return;
	case OP_SIGMASK: *op = (struct op){ who, code, { number(chance(50) ? SIG_BLOCK : random_below(3)), number(some_set()) } }; return;
	case OP_TAKE: *op = (struct op){ who, code, { number(chance(70) ? ~0ul : some_set()) } }; return;
	case OP_SETPGID: {
		struct ref group = chance(45) ? number(0) : target(who);
		struct ref whom = chance(40) ? number(0) : target(who);
		/*
		 * The init of a namespace stays out of groups that others lead: Linux has it wait for the number of such a
		 * leader to become free, for ever, if the leader was a member of its namespace.
		 */
		int leader = actor[whom.kind == PID ? whom.n : who].leader;
		if (actor[leader].ns != leader || group.kind == NUMBER)
			*op = (struct op){ who, code, { whom, group } };
		return;
	}
	case OP_PIDFD_OPEN: {
		static const int flags[] = { 0, 0, 0, O_EXCL /* PIDFD_THREAD */, O_EXCL, O_NONBLOCK, 1 };
		struct ref whom = target(who);
		if (whom.kind == NUMBER)
			whom = (struct ref){ PID, who };
		int flag = PICK(flags);
		if (old_kernel) {
			whom.n = actor[whom.n].leader;
			flag &= ~O_EXCL;
		}
		*op = (struct op){ who, code, { whom, number(flag) } };
		return;
	}
	case OP_PIDFD_POLL: case OP_CLOSE: *op = (struct op){ who, code, { some_pidfd(who) } }; return;
	case OP_PIDFD_KILL: {
		static const int flags[] = { 0, 0, 0, 1, 2, 4, 3 };
		int sig = some_signal();
		int flag = PICK(flags);
		*op = (struct op){ who, code, { some_pidfd(who), number(sig), number(old_kernel && flag != 3 ? 0 : flag) } };
		return;
	}
	case OP_OPENTTY:
		if (terminal_there(0) || terminal_there(1) || terminal_there(2))
			terminal_op(op);
		return;
	case OP_SETNS: {
		int id = some(chance(75) ? inside : there);
		struct ref whom = id < 0 ? target(who) : (struct ref){ PID, id };
		if (old_kernel && whom.kind == PID)
			whom.n = actor[whom.n].leader;
		*op = (struct op){ who, code, { whom, number(random_below(3)) } };
		return;
	}
	case OP_SIGWAIT:
		if (may_block(who))
			*op = (struct op){ who, code, { number(chance(50) ? ~0ul : some_set()) } };
		return;
	case OP_SIGNALFD: {
		bool block = may_block(who) && chance(50);
		*op = (struct op){ who, code, { number(chance(60) ? ~0ul : some_set()), number(block ? 0 : O_NONBLOCK) } };
		return;
	}
	case OP_NPROC: {
		static const long limits[] = { 0, 1, 2, 3, 5, 1000, 1000 };
		*op = (struct op){ who, code, { number(PICK(limits)) } };
		return;
	}
	case OP_UNSHARE:
		*op = (struct op){ who, code, { number(chance(80) ? CLONE_NEWPID : chance(50) ? CLONE_FILES : CLONE_THREAD) } };
		return;
	case OP_EXEC:
		*op = (struct op){ who, code, { number(chance(8)), number(actor[who].leader) } };
		return;
	case OP_SETUID: *op = (struct op){ who, code, { number(random_below(3)) } }; return;
	case OP_GETPGID: case OP_GETSID: *op = (struct op){ who, code, { target(who) } }; return;
	default: *op = (struct op){ who, code, { number(0) } }; return;
	}
}

bool generate(struct op *op)
{
	int live = 0;
	for (int i = 1; i < nactor; i++)
		live += actor[i].used && alive(i);
	if (live == 0) {
		op->actor = INIT;
		int id = free_id();
		*op = (struct op){ INIT, OP_FORK, { { PID, id }, number(SIGCHLD), number(HOW_ROOT) } };
		return id >= 0;
	}
	for (int tries = 0; tries < 1000; tries++) {
		int who = some(idle_actor);
		*op = (struct op){ .actor = who < 0 || chance(7) ? INIT : who, .code = NOPS };
		try(op, live);
		if (op->code != NOPS)
			return true;
	}
	return false;
}
