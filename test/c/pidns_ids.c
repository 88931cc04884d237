/*
 * pidns_ids.c - numbers across pid namespaces: whatever hands a pid from one process to another translates it (9.14), and
 * how numbers are given out and chosen in a namespace (6.7, 6.10, 6.12, 6.17).
 */
#include "lib/tap.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <termios.h>

#define RT (SIGRTMIN + 1)

/* The number that the case knows an agent in a namespace below by, from its own view in NSpid: agents say who they are. */
static pid_t outer(struct agent *a, struct agent *init)
{
	char children[4096], path[64], v[128];
	/* only direct children of the init are looked for */
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", init->pid, init->pid);
	if (read_file(path, children, sizeof children) < 0)
		return -1;
	for (char *at = children; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
		int pid = atoi(at);
		if (pid <= 0)
			break;
		char *last = proc_status(pid, "NSpid", v, sizeof v) ? strrchr(v, '\t') : NULL;
		if (last && atoi(last + 1) == a->self)
			return pid;
	}
	return -1;
}

static long own_kill(long sig) { return kill(getpid(), sig); }
static long group_kill(long sig) { return kill(0, sig); }
static long kill_1(long sig) { return kill(1, sig); }
static long exists(long pid) { return kill(pid, 0) == 0 ? 0 : -errno; }
static long pgid_of(long pid) { return getpgid(pid) < 0 ? -errno : getpgid(pid); }
static long sid_of(long pid) { return getsid(pid) < 0 ? -errno : getsid(pid); }

/* ---- parents and children ---- */

static long wait_info(long pid)
{
	siginfo_t si;
	memset(&si, 0x55, sizeof si);
	if (sys_waitid(P_PID, pid, &si, WEXITED | WNOWAIT, NULL) < 0)
		return -errno;
	return si.si_pid;
}

CASE(wait_numbers)
{
	siglog_catch(SIGCHLD, SA_RESTART);
	struct agent *i = new_ns(NULL), *a = spawn(i), *b = spawn(a);
	call(a, ag_catch, SIGCHLD);
	pid_t number = b->self;
	CHECK_EQ(b->pid, b->self, "[4.34,9.1] fork returns the child's number in the caller's namespace");
	quit(b, 3);
	CHECK(AWAIT(siglog_count(a->self, SIGCHLD) == 1), "[5.1] SIGCHLD to a parent inside");
	CHECK_EQ(siglog_get(a->self, SIGCHLD, 0)->pid, number, "[5.1,9.14] has the child's number inside");
	CHECK_EQ(call(a, wait_info, number), number, "[4.16,9.14] and so has waitid");
	CHECK_EQ(call(a, ag_reap, -1), number, "[4.34] and wait4");
	retire(a, i);
	quit(i, 0);
	CHECK(AWAIT(siglog_count(getpid(), SIGCHLD) == 1), "[5.1] SIGCHLD of the init to its parent outside");
	CHECK_EQ(siglog_get(getpid(), SIGCHLD, 0)->pid, i->pid, "[5.1,5.14] has its number outside");
	CHECK_EQ(wait_info(i->pid), i->pid, "[4.16,5.14] and so has waitid");
	CHECK_EQ(wait_info(1000000), -ECHILD, "[4.6] (no such child)");
	REQUIRE(reap(i->pid) == 0);
}

CASE(foreign_parent)
{
	/* a child that its parent put into a namespace below dies, and stops: the parent hears its own numbers */
	struct agent *x = spawn(NULL), *i;
	REQUIRE(call(x, (long (*)(long))(void *)unshare, CLONE_NEWPID) == 0);
	i = spawn(x);
	REQUIRE(i->self == 1);
	struct agent *c = spawn(x);
	call(x, ag_catch, SIGCHLD);
	quit(c, 4);
	CHECK(AWAIT(siglog_count(x->self, SIGCHLD) == 1), "[5.14] SIGCHLD from a child in a namespace below");
	CHECK_EQ(siglog_get(x->self, SIGCHLD, 0)->pid, c->pid, "[5.14] has the parent's numbering");
	REQUIRE(call(x, ag_reap, c->pid) == c->pid);
	quit(i, 0);
	REQUIRE(call(x, ag_reap, i->pid) == i->pid);
	retire(x, NULL);
}

/* ---- process groups ---- */

static long up_kill(long x)
{
	(void)x;
	return kill(0, SIGUSR1);
}

CASE(groups)
{
	REQUIRE(getpgrp() == getpid());	/* a case is a session of its own */
	siglog_catch(SIGUSR1, SA_RESTART);
	struct agent *i = new_ns(NULL), *a = spawn(i);
	CHECK_EQ(call(a, pgid_of, 1), 0, "[8.7] getpgid of a group outside: 0");
	CHECK_EQ(call(a, sid_of, 0), 0, "[8.7] getsid: 0");
	CHECK_EQ(call(a, pgid_of, i->pid), i->pid == 1 ? 0 : -ESRCH, "[9.14] an outer number is nobody's inside: ESRCH");
	call(i, ag_ignore, SIGUSR1);
	call(a, ag_ignore, SIGUSR1);
	CHECK_OK(call(a, up_kill, 0), "[7.1] kill(0) reaches a group with members outside");
	CHECK(AWAIT(siglog_count(getpid(), SIGUSR1) == 1), "[7.1] those outside too");
	CHECK_EQ(siglog_get(getpid(), SIGUSR1, 0)->pid, a->self, "[7.10] upwards a sender shows its own number");
	CHECK_OK(setpgid(i->pid, 0), "[8.1] setpgid by the parent outside");
	CHECK_EQ(getpgid(i->pid), i->pid, "[8.1] is the outer number outside");
	CHECK_EQ(call(i, ag_getpgrp, 0), 1, "[8.7,9.14] and 1 inside");
	pid_t oa = outer(a, i);
	REQUIRE(oa > 0);
	CHECK_EQ(call(a, ag_setpgid, 1), 0, "[8.7] joining it from inside");
	CHECK_EQ(getpgid(oa), i->pid, "[9.14] shows outside");
	call(a, ag_catch, SIGUSR2);
	call(i, ag_ignore, SIGUSR2);
	CHECK_OK(kill(-i->pid, SIGUSR2), "[7.1] kill(-pgid) from outside");
	CHECK(AWAIT(siglog_count(a->self, SIGUSR2) == 1) && siglog_get(a->self, SIGUSR2, 0)->pid == 0, "[7.10] arrives with si_pid 0");
	retire(a, i);
	retire(i, NULL);
}

/* ---- targets ---- */

static long by_number(long pid)
{
	/* how many of the calls find a process of that number */
	struct sched_param sp;
	cpu_set_t cpus;
	struct rlimit rl;
	int n = 0;
	n += sched_getscheduler(pid) >= 0;
	n += sched_getparam(pid, &sp) == 0;
	n += sched_getaffinity(pid, sizeof cpus, &cpus) == 0;
	n += prlimit(pid, RLIMIT_CORE, NULL, &rl) == 0;
	errno = 0;
	n += (getpriority(PRIO_PROCESS, pid), errno == 0);
	n += getpgid(pid) >= 0;
	n += getsid(pid) >= 0;
	n += kill(pid, 0) == 0;
	n += sys_tgkill(pid, pid, 0) == 0;
	n += syscall(SYS_tkill, pid, 0) == 0;
	return n;
}

CASE(targets)
{
	struct agent *i = new_ns(NULL), *a = spawn(i), *t = spawn_thread(a);
	pid_t oa = outer(a, i);
	REQUIRE(oa > 0);
	CHECK_EQ(call(i, by_number, a->self), 10, "[9.14,7.1] numbers inside are what calls take: sched_*, prlimit, getpriority, getpgid, kill");
	CHECK_EQ(call(i, by_number, oa), 0, "[9.14,7.1] outer ones are nobody's");
	CHECK_EQ(by_number(oa), 10, "[9.14,7.1] outside it is the other way round");
	CHECK_EQ(call(i, exists, getpid()), -ESRCH, "[7.31,9.14] a process outside can't be named from inside");
	CHECK(call(t, ag_gettid, 0) == t->tid && t->tid == a->self + 1, "[9.1,6.17] threads have numbers inside");
	CHECK_EQ(syscall(SYS_tgkill, oa, oa + 1, 0) == 0 || syscall(SYS_tgkill, oa, t->tid, 0) < 0, 1, "[7.6] tgkill from outside takes outer numbers");
	CHECK_EQ(call(i, exists, t->tid), 0, "[7.1] kill takes a tid of the namespace");
	quit_thread(t, 0);
	retire(a, i);
	retire(i, NULL);
}

CASE(all_of_a_user)
{
	/* PRIO_USER is about the processes of a user that the caller can see */
	struct agent *o = spawn(NULL), *i = new_ns(NULL), *a = spawn(i);
	call(o, ag_drop, 4711);
	call(a, ag_drop, 4711);
	pid_t oa = outer(a, i);
	REQUIRE(oa > 0);
	MUST(setpriority(PRIO_PROCESS, o->pid, 3));
	MUST(setpriority(PRIO_PROCESS, oa, 7));
	CHECK_EQ(getpriority(PRIO_USER, 4711), 3, "[9.14] PRIO_USER outside: the best of all");
	CHECK_EQ(call(i, (long (*)(long))(void *)getpriority, PRIO_PROCESS) >= -20, 1, "[9.14] (getpriority inside)");
	retire(o, NULL);
	retire(a, i);
	retire(i, NULL);
}

/* ---- signals from above ---- */

static long queue_1(long sig)
{
	union sigval v = { .sival_int = 5 };
	return sigqueue(1, sig, v);
}

CASE(queued_from_above)
{
	struct agent *i = new_ns(NULL), *a = spawn(i);
	union sigval v = { .sival_int = 77 };
	call(i, ag_catch, RT);
	CHECK_OK(call(a, queue_1, RT), "[7.7] sigqueue inside");
	CHECK(AWAIT(siglog_count(1, RT) == 1) && siglog_get(1, RT, 0)->pid == a->self, "[7.10] has the sender's number");
	CHECK_OK(sigqueue(i->pid, RT, v), "[7.28] sigqueue from above");
	CHECK(AWAIT(siglog_count(1, RT) == 2), "[7.28] arrives");
	struct sigrec *r = siglog_get(1, RT, 1);
	CHECK(r && r->pid == 0 && r->status == 77 && r->code == SI_QUEUE, "[7.28,7.10] with si_pid 0, and its value");
	CHECK_OK(call(a, queue_1, SIGKILL), "[7.24] sigqueue(1, SIGKILL) from inside returns 0");
	CHECK_OK(call(a, queue_1, SIGSTOP), "[7.24] SIGSTOP as well");
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[7.24] and does nothing");
	CHECK_OK(sigqueue(i->pid, SIGTERM, v), "[7.25] SIGTERM from above");
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[7.25] does nothing either");
	CHECK_OK(sigqueue(i->pid, SIGSTOP, v), "[7.28,7.25] SIGSTOP");
	CHECK(await_state(i->pid, 'T'), "[7.28,7.25] stops it");
	CHECK_OK(sigqueue(i->pid, SIGKILL, v), "[7.28,7.25] SIGKILL");
	CHECK_EQ(reap(i->pid), SIGKILL, "[7.28,7.25] kills it");
}

CASE(group_signals_from_inside)
{
	/* the init is protected against its own group and against itself, by every way to send */
	struct agent *i = new_ns(NULL), *a = spawn(i);
	REQUIRE(call(i, ag_setsid, 0) == 1);
	REQUIRE(call(a, ag_setsid, 0) == a->self);
	CHECK_OK(call(i, group_kill, SIGTERM), "[7.24,9.13] kill(0, SIGTERM) by the init");
	CHECK_OK(call(i, own_kill, SIGINT), "[7.24,9.13] kill(self, SIGINT)");
	CHECK_OK(call(i, ag_raise, SIGQUIT), "[7.24,9.13] raise");
	CHECK_OK(call(a, kill_1, SIGTSTP), "[7.24,9.13] SIGTSTP from a member");
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[7.24,9.13] it lives on");
	CHECK(proc_state(i->pid) != 'T', "[7.24,9.13] and is not stopped");
	kill(i->pid, SIGTSTP);
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[7.25,9.13] SIGTSTP from outside is ignored as well");
	retire(a, i);
	retire(i, NULL);
}

/* ---- files ---- */

static int shared_file;

static long lock_all(long type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET };
	return fcntl(shared_file, F_SETLK, &l);
}
static long holder(long x)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	(void)x;
	if (fcntl(shared_file, F_GETLK, &l) < 0)
		return -errno;
	return l.l_type == F_UNLCK ? -1000 : l.l_pid;
}
static long set_owner(long pid) { return fcntl(shared_file, F_SETOWN, pid) == 0 ? 0 : -errno; }
static long get_owner(long x)
{
	(void)x;
	long r = syscall(SYS_fcntl, shared_file, F_GETOWN, 0);
	return r == -1 ? -errno : r;	/* a small group looks like an error */
}

CASE(locks)
{
	shared_file = MUST(open(tmp_path("lock"), O_RDWR | O_CREAT, 0600));
	struct agent *o = spawn(NULL), *i = new_ns(NULL), *a = spawn(i);
	pid_t oa = outer(a, i);
	REQUIRE(oa > 0);
	REQUIRE(call(a, lock_all, F_WRLCK) == 0);
	CHECK_EQ(call(i, holder, 0), a->self, "[9.14] F_GETLK inside: the holder's number there");
	CHECK_EQ(holder(0), oa, "[9.14] outside: its outer number");
	REQUIRE(call(a, lock_all, F_UNLCK) == 0);
	REQUIRE(call(o, lock_all, F_WRLCK) == 0);
	CHECK_EQ(call(i, holder, 0), 0, "[9.14] a holder outside: 0");
	CHECK_EQ(holder(0), o->pid, "[9.14] (for a reader outside: its number)");
	retire(o, NULL);
	retire(a, i);
	retire(i, NULL);
}

CASE(owners)
{
	int p[2];
	MUST(pipe(p));
	shared_file = p[0];
	struct agent *i = new_ns(NULL), *a = spawn(i);
	pid_t oa = outer(a, i);
	REQUIRE(oa > 0);
	CHECK_EQ(get_owner(0), 0, "[9.14] F_GETOWN of a file without owner: 0");
	CHECK_EQ(call(i, set_owner, a->self), 0, "[9.14] F_SETOWN inside");
	CHECK_EQ(call(i, get_owner, 0), a->self, "[9.14] F_GETOWN inside: the number there");
	CHECK_EQ(get_owner(0), oa, "[9.14] outside: the outer number");
	CHECK_EQ(set_owner(getpid()), 0, "[9.14] a process outside as owner");
	CHECK_EQ(call(i, get_owner, 0), 0, "[9.14] is 0 inside");
	CHECK_EQ(set_owner(0x3fffffff), -ESRCH, "[9.14] F_SETOWN of nobody: ESRCH");
	CHECK_EQ(call(i, set_owner, oa), -ESRCH, "[9.14] an outer number inside: ESRCH");
	REQUIRE(call(i, ag_setsid, 0) == 1);
	CHECK_EQ(call(i, set_owner, -1), 0, "[9.14] a process group");
	CHECK_EQ(call(i, get_owner, 0), -1, "[9.14] comes back negative");
	CHECK_EQ(get_owner(0), -i->pid, "[9.14] and translated");
	CHECK_EQ(set_owner(0), 0, "[9.14] nobody");
	CHECK_EQ(get_owner(0), 0, "[9.14] again");
	retire(a, i);
	retire(i, NULL);
}

/* ---- terminals ---- */

static char slave[64];
static int tty_fd;

static long take_tty(long x)
{
	(void)x;
	if (setsid() < 0)
		return -errno;
	tty_fd = open(slave, O_RDWR);
	return tty_fd < 0 ? -errno : 0;
}
static long tty_group(long x)
{
	pid_t g = -1;
	(void)x;
	return ioctl(tty_fd, TIOCGPGRP, &g) == 0 ? g : -errno;
}
static long tty_session(long x)
{
	pid_t s = -1;
	(void)x;
	return ioctl(tty_fd, TIOCGSID, &s) == 0 ? s : -errno;
}
static long set_tty_group(long pgid)
{
	pid_t g = pgid;
	return ioctl(tty_fd, TIOCSPGRP, &g) == 0 ? 0 : -errno;
}

CASE(terminal)
{
	need_devpts();
	int master = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY)), zero = 0, n = 0;
	MUST(ioctl(master, TIOCSPTLCK, &zero));
	MUST(ioctl(master, TIOCGPTN, &n));
	snprintf(slave, sizeof slave, "/dev/pts/%d", n);
	struct agent *l = spawn(NULL);
	REQUIRE(call(l, take_tty, 0) == 0);
	struct agent *i = new_ns(l), *a = spawn(i);
	CHECK_EQ(call(l, tty_group, 0), l->pid, "[8.10] (the leader's group is in the foreground)");
	CHECK_EQ(call(a, tty_group, 0), 0, "[9.14,8.11] TIOCGPGRP: a group outside reads 0");
	CHECK_EQ(call(a, tty_session, 0), 0, "[9.14] TIOCGSID: so does the session");
	REQUIRE(call(a, ag_setpgid, 0) == 0);
	call(l, ag_ignore, SIGTTOU);
	call(i, ag_ignore, SIGTTOU);
	call(a, ag_ignore, SIGTTOU);
	CHECK_EQ(call(i, set_tty_group, a->self), 0, "[9.14,8.11] TIOCSPGRP takes a number of the caller's namespace");
	CHECK_EQ(call(i, tty_group, 0), a->self, "[9.14,8.11] TIOCGPGRP gives it back");
	pid_t oa = outer(a, i);
	char v[64];
	/* i is a child of l: its outer number is in l's namespace, ours as well */
	CHECK_EQ(call(l, tty_group, 0), oa, "[9.14,8.11] translated for others");
	CHECK_EQ(proc_stat(l->pid, 8), oa, "[9.11,12.1] tpgid in /proc as well");
	CHECK_EQ(call(i, set_tty_group, oa), oa == a->self ? 0 : -ESRCH, "[9.14,8.11] an outer number: ESRCH");
	CHECK_EQ(call(l, set_tty_group, l->pid), 0, "[8.11] (given back)");
	(void)v;
	retire(a, i);
	quit(i, 0);
	REQUIRE(call(l, ag_reap, i->pid) == i->pid);
	retire(l, NULL);
}

/* ---- words in memory ---- */

CASE(tid_words)
{
	/* the stores of clone: each in the numbering of whom it is for */
	pid_t *w = map_pages(1);
	long pid = syscall(SYS_clone, NS | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID, 0, w, w + 1, 0);
	if (pid == 0)
		syscall(SYS_exit_group, w[1] == 1 && syscall(SYS_set_tid_address, 0) == 1 && sys_gettid() == 1 ? 0 : 1);
	REQUIRE(pid > 0);
	CHECK_EQ(w[0], pid, "[6.10,9.14] PARENT_SETTID stores what clone returns");
	CHECK_EQ(reap(pid), 0, "[6.10,9.14] CHILD_SETTID what gettid returns, set_tid_address too");
}

static struct { struct robust_list_head head; struct robust_list entry; } *robust;

static long hold_robust(long x)
{
	(void)x;
	robust->head.list.next = &robust->entry;
	robust->entry.next = &robust->head.list;
	robust->head.futex_offset = (char *)&sh->w[9] - (char *)&robust->entry;
	robust->head.list_op_pending = NULL;
	sh->w[9] = sys_gettid();
	return syscall(SYS_set_robust_list, &robust->head, sizeof robust->head);
}

CASE(robust_futex)
{
	robust = map_pages(1);
	struct agent *i = new_ns(NULL), *a = spawn(i);
	REQUIRE(call(a, hold_robust, 0) == 0);
	REQUIRE(sh->w[9] == a->self);
	retire(a, i);
	CHECK_EQ(sh->w[9], FUTEX_OWNER_DIED, "[3.17,9.14] a robust futex holds the owner's number in its own namespace");
	retire(i, NULL);
}

/* ---- choosing numbers ---- */

struct args3 {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* What sh->v[10..] describe: flags, count, tids. */
static long clone_levels(long size)
{
	pid_t tids[40];
	for (int k = 0; k < 40; k++)
		tids[k] = sh->v[12 + (k < 8 ? k : 7)];
	struct args3 a = { .flags = sh->v[10], .exit_signal = SIGCHLD, .set_tid = (uint64_t)tids, .set_tid_size = sh->v[11] };
	long r = syscall(SYS_clone3, &a, size);
	if (r == 0)
		syscall(SYS_exit_group, getpid() == tids[0] ? 0 : 1);
	if (r < 0)
		return -errno;
	sh->v[20] = r;
	return reap(r);
}
static long with_tids(struct agent *in, long flags, int n, long a, long b, long c)
{
	sh->v[10] = flags;
	sh->v[11] = n;
	sh->v[12] = a;
	sh->v[13] = b;
	sh->v[14] = c;
	return in ? call(in, clone_levels, sizeof(struct args3)) : clone_levels(sizeof(struct args3));
}
static long bad_set_tid(long how)
{
	pid_t tid = 700;
	struct args3 a = { .exit_signal = SIGCHLD };
	if (how == 0)
		a.set_tid = (uint64_t)&tid;
	if (how == 1)
		a.set_tid_size = 1;
	if (how == 2) {
		a.set_tid = (uint64_t)&tid;
		a.set_tid_size = 33;
	}
	if (how == 3) {
		a.set_tid = (uint64_t)BADPTR;
		a.set_tid_size = 1;
	}
	long r = syscall(SYS_clone3, &a, sizeof a);
	if (r == 0)
		syscall(SYS_exit_group, 0);
	if (r > 0)
		reap(r);
	return r < 0 ? -errno : 0;
}

CASE(set_tid_levels)
{
	struct agent *i = new_ns(NULL), *n = new_ns(i), *d = spawn(i);
	CHECK_EQ(with_tids(n, 0, 1, 500, 0, 0), 0, "[6.7] set_tid for the innermost namespace");
	CHECK_EQ(with_tids(n, 0, 2, 501, 601, 0), 0, "[6.7] for two: element 0 is the innermost");
	CHECK_EQ(with_tids(n, 0, 2, 502, 1, 0), -EEXIST, "[6.7] in use at an outer level: EEXIST");
	CHECK_EQ(with_tids(n, 0, 2, 502, 602, 0), 0, "[6.7] and then the inner one was not taken");
	CHECK_EQ(with_tids(n, 0, 2, 503, 0, 0), -EINVAL, "[6.7] 0 at an outer level: EINVAL");
	CHECK_EQ(with_tids(n, 0, 32, 504, 604, 704), -EINVAL, "[6.7] more than there are levels: EINVAL");
	CHECK_EQ(with_tids(i, 0, 1, 4194304, 0, 0), -EINVAL, "[6.7] pid_max: EINVAL");
	CHECK_EQ(with_tids(i, 0, 1, 4194303, 0, 0), 0, "[6.7,6.17] the largest number there is");
	CHECK_EQ(with_tids(i, CLONE_NEWPID, 1, 1, 0, 0), 0, "[6.7] 1 for the init of a new namespace");
	CHECK_EQ(with_tids(i, CLONE_NEWPID, 2, 1, 900, 0), 0, "[6.7] and a number in the one above");
	CHECK_EQ(sh->v[20], 900, "[6.7] which clone3 returns");
	CHECK_EQ(with_tids(i, CLONE_NEWPID, 1, 2, 0, 0), -EINVAL, "[6.7] another number where there is no init: EINVAL");
	CHECK_EQ(call(i, bad_set_tid, 0), -EINVAL, "[6.7] a pointer without a size: EINVAL");
	CHECK_EQ(call(i, bad_set_tid, 1), -EINVAL, "[6.7] a size without a pointer: EINVAL");
	CHECK_EQ(call(i, bad_set_tid, 2), -EINVAL, "[6.7] a size above 32: EINVAL");
	CHECK_EQ(call(i, bad_set_tid, 3), -EFAULT, "[6.7] a bad pointer: EFAULT");
	CHECK_EQ(with_tids(i, 0, 1, 800, 0, 0), 0, "[6.7] (a free number)");
	call(d, ag_drop, 1000);
	CHECK_EQ(with_tids(d, 0, 1, 801, 0, 0), -EPERM, "[6.7] without CAP_SYS_ADMIN: EPERM");
	CHECK_EQ(with_tids(d, 0, 1, 1, 0, 0), -EPERM, "[6.7] EPERM before EEXIST");
	CHECK_EQ(with_tids(d, 0, 1, 0, 0, 0), -EINVAL, "[6.7] but EINVAL first");
	struct agent *b = spawn(i);
	CHECK(b->self < 500, "[6.17] chosen numbers do not move the next one");
	retire(b, i);
	retire(d, i);
	quit(n, 0);
	REQUIRE(call(i, ag_reap, n->pid) == n->pid);
	retire(i, NULL);
}

static long put(const char *file, long value)
{
	char path[64], text[32];
	snprintf(path, sizeof path, "/proc/sys/kernel/%s", file);
	int fd = open(path, O_WRONLY), n = snprintf(text, sizeof text, "%ld", value);
	if (fd < 0)
		return -errno;
	long r = write(fd, text, n) == n ? 0 : -errno;
	close(fd);
	return r;
}
static long get(const char *file)
{
	char path[64], text[64];
	snprintf(path, sizeof path, "/proc/%s", file);
	return read_file(path, text, sizeof text) > 0 ? atol(strrchr(text, ' ') ? strrchr(text, ' ') : text) : -errno;
}
static long put_max(long v) { return put("pid_max", v); }
static long put_last(long v) { return put("ns_last_pid", v); }
static long get_max(long x) { (void)x; return get("sys/kernel/pid_max"); }
static long get_last(long x) { (void)x; return get("sys/kernel/ns_last_pid"); }
static long load_last(long x) { (void)x; return get("loadavg"); }
static long fork_number(long x)
{
	(void)x;
	long pid = raw_clone(SIGCHLD);
	if (pid == 0)
		syscall(SYS_exit_group, 0);
	if (pid < 0)
		return -errno;
	reap(pid);
	return pid;
}
static long fill(long x)
{
	/* children until there are no numbers: how many; they are all left as zombies */
	long n = 0, pid;
	(void)x;
	while ((pid = raw_clone(SIGCHLD)) > 0)
		n++;
	if (pid == 0)
		syscall(SYS_exit_group, 0);
	sh->v[1] = errno;
	while (reap(-1) >= 0)
		;
	return n;
}

CASE(number_order)
{
	IF_SINCE(6, 14, "[6.17] pid_max of a namespace") {
		struct agent *i = new_ns(NULL), *a = spawn(i), *d = spawn(i);
		long outer_max = get_max(0), outer_last = get_last(0);
		CHECK_EQ(call(i, get_max, 0), 4194304, "[6.17] pid_max of a new namespace is the largest there is");
		CHECK_EQ(call(i, get_last, 0), d->self, "[6.17] ns_last_pid: the last number given out");
		CHECK_EQ(call(i, load_last, 0), d->self, "[6.17] loadavg's last field as well");
		CHECK_EQ(call(i, put_max, 300), -EINVAL, "[6.17] pid_max below 301: EINVAL");
		CHECK_EQ(call(i, put_max, 4194305), -EINVAL, "[6.17] above 4194304: EINVAL");
		CHECK_EQ(call(i, put_last, 70000), 0, "[6.17] ns_last_pid far ahead");
		CHECK_EQ(call(i, fork_number, 0), 70001, "[6.17] is followed");
		CHECK_EQ(call(i, put_max, 310), 0, "[6.17] it can be set");
		CHECK(get_max(0) == outer_max && call(a, get_max, 0) == 310, "[6.17] for this namespace alone");
		CHECK_EQ(call(i, put_last, 311), -EINVAL, "[6.17] ns_last_pid above pid_max: EINVAL");
		CHECK_EQ(call(i, put_last, -1), -EINVAL, "[6.17] negative: EINVAL");
		CHECK_EQ(call(i, put_last, 307), 0, "[6.17] ns_last_pid can be set");
		CHECK(get_last(0) >= outer_last || get_last(0) < outer_last, "[6.17] (the outer one goes its own way)");
		CHECK_EQ(call(i, fork_number, 0), 308, "[6.17] the next number is the one behind");
		CHECK_EQ(call(i, fork_number, 0), 309, "[6.17] pid_max is exclusive");
		CHECK_EQ(call(i, fork_number, 0), 300, "[6.17] and then they wrap to 300");
		CHECK_EQ(call(i, put_last, 0), 0, "[6.17] set back to 0");
		CHECK_EQ(call(i, fork_number, 0), d->self + 1, "[6.17] numbers in use are skipped");
		CHECK_EQ(call(i, put_max, 301), 0, "[6.17] (301 is the least)");
		CHECK_EQ(call(i, put_last, 0), 0, "[6.17] (from the start)");
		long n = call(i, fill, 0);
		CHECK_EQ(n, 300 - 3, "[6.17] all numbers below pid_max can be used");
		CHECK_EQ(sh->v[1], EAGAIN, "[6.13,6.17] then fork is EAGAIN");
		call(d, ag_drop, 1000);
		CHECK_EQ(call(d, put_last, 5), -EPERM, "[6.17] ns_last_pid without CAP_SYS_ADMIN: EPERM");
		retire(a, i);
		retire(d, i);
		retire(i, NULL);
	}
}

/* ---- who may ---- */

static long do_unshare(long f) { return unshare(f) == 0 ? 0 : -errno; }

CASE(privilege)
{
	struct agent *a = spawn(NULL), *t = spawn(NULL), *u = spawn_thread(t);
	CHECK_EQ(call(a, ag_try_clone, NS), 0, "[6.12] (root may make a namespace)");
	CHECK_EQ(call(a, do_unshare, CLONE_PARENT), -EINVAL, "[6.25] unshare with a flag that is not its: EINVAL");
	CHECK_EQ(call(a, do_unshare, SIGCHLD), -EINVAL, "[6.25] with a signal: EINVAL");
	call(a, ag_drop, 1000);
	CHECK_EQ(call(a, ag_try_clone, NS), -EPERM, "[6.12] clone(NEWPID) without CAP_SYS_ADMIN: EPERM");
	CHECK_EQ(call(a, do_unshare, CLONE_NEWPID), -EPERM, "[6.12] unshare(NEWPID): EPERM");
	CHECK_EQ(call(u, do_unshare, CLONE_NEWPID), 0, "[6.25] unshare(NEWPID) by one of several threads");
	struct agent *c = spawn(t), *i = spawn(u);
	CHECK_EQ(c->self, c->pid, "[6.25] other threads' children stay");
	CHECK_EQ(i->self, 1, "[6.25] its own are in the new namespace");
	CHECK_EQ(call(t, ag_try_clone, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWPID), -EINVAL, "[6.2] THREAD with NEWPID: EINVAL");
	retire(a, NULL);
	quit(i, 0);
	REQUIRE(call(u, ag_reap, i->pid) == i->pid);
	quit_thread(u, 0);
	retire(c, t);
	retire(t, NULL);
}

/* ---- death ---- */

static long vfork_wait(long x)
{
	(void)x;
	long pid = raw_clone(CLONE_VM | CLONE_VFORK | SIGCHLD);
	if (pid == 0)
		for (;;)
			syscall(SYS_pause);
	return pid;
}
static long clone_children(long x)
{
	/* zombies that are no "normal" children, of the init itself */
	(void)x;
	for (int k = 0; k < 3; k++)
		if (raw_clone(0) == 0)
			syscall(SYS_exit_group, k);
	if (raw_clone(SIGUSR1) == 0)
		for (;;)
			syscall(SYS_pause);
	return 0;
}

CASE(death_of_all_kinds)
{
	int p[2];
	char b;
	MUST(pipe(p));
	struct agent *i = new_ns(NULL), *v = spawn(i), *t = spawn(i), *u = spawn_thread(t), *n = new_ns(i), *m = spawn(n);
	close(p[1]);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	post(v, vfork_wait, 0);
	quit_thread(t, 0);
	REQUIRE(call(i, clone_children, 0) == 0);
	REQUIRE(AWAIT(v->started));
	(void)u;
	(void)m;
	kill(i->pid, SIGKILL);
	CHECK_EQ(reap(i->pid), SIGKILL, "[9.6] a namespace with children of all kinds ends");
	CHECK_EQ(read(p[0], &b, 1), 0, "[9.7] waiters in vfork, dead leaders with threads, inits below and their members are gone");
	CHECK_ERR(reap_any(NULL) < 0 ? (errno = ECHILD, -1) : 0, ECHILD, "[9.6] and nobody of them comes to the outside");
}

CASE(death_by_exec_and_threads)
{
	/* the init's last thread is not its leader, and members are adopted while it ends */
	struct agent *i = new_ns(NULL), *t = spawn_thread(i), *a = spawn(i), *b = spawn(a), *c = spawn(b);
	(void)c;
	quit_thread(i, 0);
	REQUIRE(await_state(i->pid, 'Z'));
	CHECK_EQ(waitpid(i->pid, NULL, WNOHANG), 0, "[9.9,3.6] an init whose leader has exited is no zombie yet");
	kill(i->pid, SIGKILL);
	CHECK_EQ(reap(i->pid), SIGKILL, "[9.6,9.9] and can be killed with its namespace");
	(void)t;
}
