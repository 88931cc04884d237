/*
 * print.c - what a step led to, as text: answers, signals that handlers took, and what is different in the tree.
 */
#include "fuzz.h"
#include <errno.h>
#include <sched.h>
#include <string.h>

static const char *sig_name(int sig)
{
	static char other[16];
	switch (sig) {
	case SIGHUP: return "HUP";
	case SIGTERM: return "TERM";
	case SIGUSR1: return "USR1";
	case SIGCHLD: return "CHLD";
	case SIGCONT: return "CONT";
	case SIGTSTP: return "TSTP";
	}
	snprintf(other, sizeof other, "%d", sig);
	return other;
}

static const char *user_name(long uid)
{
	static char other[16];
	if (uid == sh->user)
		return "user";
	snprintf(other, sizeof other, "%ld", uid);
	return other;
}

void print_changes(int id)
{
	struct actor *a = &actor[id];
	struct view *was = &a->was, *now = &a->now;
	bool any = false;
#define DIFFERENT(field) (now->field != was->field || !was->state)
#define BEGIN if (!any) { any = true; printf(id == INIT ? "  init" : "  p%d", id); }
#define PRINT(field, format, value) if (DIFFERENT(field)) { BEGIN printf(" " #field "=" format, value); }
	if (!now->state) {
		if (was->state)
			printf("  p%d gone\n", id);
		return;
	}
	if (id != INIT) {
		PRINT(state, "%c", now->state)
		if (!was->state && a->thread) {
			BEGIN printf(" thread=%s", name_of(actor[a->leader].pid));
		}
		PRINT(pending, "%lx", now->pending)
		PRINT(blocked, "%lx", now->blocked)
		if (!a->thread) {
			PRINT(ppid, "%s", name_of(now->ppid))
			PRINT(pgrp, "%s", name_of(now->pgrp))
			PRINT(session, "%s", name_of(now->session))
			PRINT(tty, "%s", terminal_name(now->tty))
			PRINT(exit_signal, "%ld", now->exit_signal)
			PRINT(exit_code, "%#lx", now->exit_code)
			PRINT(threads, "%ld", now->threads)
			PRINT(shared, "%lx", now->shared)
			PRINT(ignored, "%lx", now->ignored)
			PRINT(caught, "%lx", now->caught)
		}
		PRINT(uid, "%s", user_name(now->uid))
	}
	if (now->nchild != was->nchild || memcmp(now->child, was->child, now->nchild * sizeof(int))) {
		BEGIN printf(" children=");
		for (int i = 0; i < now->nchild; i++)
			printf("%s%s", i ? "," : "", name_of(now->child[i]));
	}
	if (any)
		putchar('\n');
}

/*
 * Are there pid namespaces? Linux forgets who sent a signal to a group after the first member that does not know the
 * sender's number, so who sent it is left out then.
 */
static bool namespaces(void)
{
	for (int i = 1; i < nactor; i++)
		if (actor[i].used && actor[i].ns != INIT)
			return true;
	return false;
}

/* What a signal says of itself to actor `id`. */
static void print_info(int id, const struct record *r)
{
	int ns = actor[id].ns;
	if (r->code > 0 && r->code < 7) {
		if (actor[actor[id].leader].tainted)
			printf(" of several");
		else
			printf(" code=%d %s status=%d uid=%s", r->code, name_in(ns, r->pid), r->status, user_name(r->uid));
		return;
	}
	printf(" code=%d", r->code);
	if (r->code == SI_QUEUE)
		printf(" pid=%d value=%d", r->pid, r->value);
	else if (!namespaces())
		printf(" %s", name_in(ns, r->pid));
	printf(" uid=%s", user_name(r->uid));
}

/* The name of a result: a pid for the calls that return one. */
static void print_result(const struct op *op, const struct slot *s)
{
	long ret = s->ret;
	int ns = actor[op->actor].ns;
	if (ret == RAN_EXEC) {
		printf("new program");
	} else if (ret < 0) {
		printf("%s", strerrorname_np(-ret) ? strerrorname_np(-ret) : "strange");
	} else switch (op->code) {
	case OP_FORK:
		printf("%s", name_in(ns, ret));
		if (op->arg[1].n & CLONE_PIDFD)
			printf(" pidfd=%d", (int)s->out[0]);
		break;
	case OP_SETSID: case OP_GETPGID: case OP_GETSID:
		printf("%s", name_in(ns, ret));
		break;
	case OP_WAIT4:
		printf("%s", name_in(ns, ret));
		if (ret > 0)
			printf(" status=%#lx", s->out[0]);
		break;
	case OP_WAITID:
		printf("%ld %s", ret, name_in(ns, s->out[0]));
		if (s->out[0])
			printf(" code=%ld status=%ld uid=%s", s->out[1], s->out[2], user_name(s->out[3]));
		break;
	case OP_TAKE: case OP_SIGWAIT: case OP_SIGNALFD:
		printf("%s", sig_name(ret));
		print_info(op->actor, &(struct record){ .code = s->out[1], .pid = s->out[0], .status = s->out[2], .uid = s->out[3],
							.value = s->out[4] });
		break;
	case OP_TTYINFO:
		printf("pgrp=%s session=", name_in(ns, s->out[0]));
		if (s->out[1] < 0)
			printf("%s", strerrorname_np(-s->out[1]));
		else
			printf("%s", name_in(ns, s->out[2]));
		break;
	case OP_TTYREAD:
		printf("%ld", ret);
		for (int i = 0; i < ret; i++)
			printf(" %02x", ((unsigned char *)&s->out[0])[i]);
		break;
	case OP_AUDIT:
		printf("ppid=%s pgrp=%s session=%s subreaper=%ld pdeathsig=%ld pending=%lx pid=%s tid=%s tpgid=%s", name_in(ns, s->out[0]),
		       name_in(ns, s->out[1]), name_in(ns, s->out[2]), s->out[3], s->out[4], s->out[5], name_in(ns, s->out[6]),
		       name_in(ns, s->out[7]), actor[op->actor].now.tpgid < 0 ? "-1" : name_of(actor[op->actor].now.tpgid));
		break;
	case OP_PIDFD_POLL:
		printf("%ld", old_kernel ? ret & ~0x10 : ret);	/* no POLLHUP after the reaping */
		break;
	default:
		printf("%ld", ret);
	}
}

/*
 * What handlers saw. Once per process and signal, for how often, and which thread, is open; a real-time signal that only one
 * thread can take comes as often as it was sent.
 */
void print_records(void)
{
	uint32_t n = sh->nrec < NREC ? sh->nrec : NREC;
	for (int id = 1; id < nactor; id++) {
		if (!actor[id].used || actor[id].thread || process_dead(id, true))
			continue;
		for (int sig = 1; sig <= 64; sig++) {
			for (uint32_t i = 0; i < n; i++) {
				struct record *r = &sh->rec[i];
				if (actor[r->slot].leader != id || r->sig != sig)
					continue;
				printf("  p%d caught %s", id, sig_name(sig));
				bool shared = actor[id].now.threads > 1 || actor[id].was.threads > 1 || actor[id].vm;
				if (!shared)
					print_info(id, r);
				printf("\n");
				if (shared || sig < 32)
					break;
			}
		}
	}
	sh->nrec = 0;
}

/* ---- what was returned, and how often ---- */
enum { MAX_OUTCOMES = 12 };
static struct { long outcome[MAX_OUTCOMES]; int times[MAX_OUTCOMES], n, total; } outcomes[NOPS];
static bool counting;

void count_outcomes(void)
{
	counting = true;
}

static void count_outcome(enum code code, long ret)
{
	long outcome = ret < 0 ? ret : ret > 0 && code != OP_PIDFD_POLL && ret != RAN_EXEC ? 1 : ret;
	int i = 0;
	outcomes[code].total++;
	while (i < outcomes[code].n && outcomes[code].outcome[i] != outcome)
		i++;
	if (i == outcomes[code].n && i < MAX_OUTCOMES) {
		outcomes[code].outcome[i] = outcome;
		outcomes[code].n++;
	}
	if (i < MAX_OUTCOMES)
		outcomes[code].times[i]++;
}

void print_outcomes(void)
{
	for (int code = 0; counting && code < NOPS; code++) {
		printf("%-12s %6d:", op_name[code], outcomes[code].total);
		for (int i = 0; i < outcomes[code].n; i++) {
			long outcome = outcomes[code].outcome[i];
			if (outcome == RAN_EXEC)
				printf(" exec");
			else if (outcome < 0)
				printf(" %s", strerrorname_np(-outcome) ? strerrorname_np(-outcome) : "strange");
			else
				printf(" %ld", outcome);
			printf(" x%d", outcomes[code].times[i]);
		}
		printf("\n");
	}
}

/* ---- answers ---- */
static void follow_namespace(struct actor *a)
{
	const struct op *op = &a->op;
	if (op->code == OP_UNSHARE && op->arg[0].n & CLONE_NEWPID)
		a->next_ns = NEW_NS;
	if (op->code == OP_SETNS) {
		const struct actor *of = &actor[op->arg[0].kind == NUMBER ? a - actor : op->arg[0].n];
		a->next_ns = op->arg[1].n == SETNS_FOR_CHILDREN ? of->next_ns : of->ns;
	}
}

static void follow_descriptors(struct actor *a, const struct slot *s)
{
	const struct op *op = &a->op;
	long made = op->code == OP_PIDFD_OPEN ? s->ret : op->code == OP_FORK && op->arg[1].n & CLONE_PIDFD && s->ret > 0 ? s->out[0] : 0;
	if (made > 0 && made < 32)
		a->pidfds |= 1u << made;
	if (op->code == OP_CLOSE && s->ret == 0 && op->arg[0].n < 32)
		a->pidfds &= ~(1u << op->arg[0].n);
	if (op->code == OP_CLOSE && s->ret == 0 && op->arg[0].n == TTY_FD)
		a->has_tty = false;
	if (op->code == OP_OPENTTY && s->ret == TTY_FD)
		a->has_tty = true;
	if (s->ret == RAN_EXEC)
		a->pidfds = 0;
}

/* What an answer says of things that /proc does not show. */
void follow_answer(int id)
{
	struct actor *a = &actor[id];
	const struct slot *s = &sh->slot[id];
	follow_descriptors(a, s);
	if (s->ret)
		return;
	follow_namespace(a);
	if (a->op.code == OP_PDEATHSIG)
		a->pdeathsig = a->op.arg[0].n;
	if (a->op.code == OP_SIGACTION && a->op.arg[0].n == SIGCHLD)
		actor[a->leader].nocldwait = a->op.arg[2].n & SA_NOCLDWAIT && a->op.arg[1].n != 1;
}

/* Operations that have come to an end, in the order of their actors. */
void print_answers(void)
{
	for (int id = 0; id < nactor; id++) {
		struct actor *a = &actor[id];
		struct slot *s = &sh->slot[id];
		if (!a->used || !a->busy)
			continue;
		/* The last instructions before a stop or a death may have run or not. */
		if (id != INIT && (a->now.state == 'T' || a->now.state == 'Z' || !a->now.state)) {
			a->busy &= a->now.state == 'T';
			continue;
		}
		if (s->answered != s->command)
			continue;
		a->busy = false;
		count_outcome(a->op.code, s->ret);
		char text[128] = "";
		if (a->busy_step != step)
			op_text(&a->op, text, sizeof text);
		printf("  %s%s= ", text, *text ? " " : "");
		print_result(&a->op, s);
		putchar('\n');
		follow_answer(id);
	}
}

