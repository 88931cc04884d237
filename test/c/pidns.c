/*
 * pidns.c - pid namespaces: what sections 1, 2, 6, 7 and 8 say of them, and section 9.
 *
 * Agents inside a namespace know themselves by their inner number (a->self); a->pid is the number that their
 * creator sees.  /proc is the outer one, outer() finds the outer number of an agent in it.
 */
#include "lib/hold.h"
#include "lib/tap.h"

#include <dirent.h>
#include <linux/reboot.h>
#include <pthread.h>

#define RT (SIGRTMIN + 1)

/* The outer pid of the process whose innermost number is a->self and that lies in init's namespace. */
static pid_t outer(struct agent *a)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	pid_t found = 0;
	while (d && (e = readdir(d))) {
		char v[128];
		int pid = atoi(e->d_name);
		if (pid <= 0 || !proc_status(pid, "NSpid", v, sizeof v))
			continue;
		char *last = strrchr(v, '\t');
		if (last && atoi(last + 1) == a->self) {
			/* ours: it shares our memory, so it has our name */
			char n[32];
			if (proc_status(pid, "Name", n, sizeof n) && !strcmp(n, "pidns"))
				found = pid;
		}
	}
	if (d)
		closedir(d);
	return found;
}

static long do_unshare(long f) { return unshare(f); }
static long own_kill(long sig) { return kill(getpid(), sig); }
static long kill_1(long sig) { return kill(1, sig); }
static long kill_all(long sig) { return kill(-1, sig); }

CASE(init_basics)
{
	struct agent *i = new_ns(NULL);
	CHECK_EQ(i->self, 1, "[9.1] clone(NEWPID): the child is pid 1 in its namespace");
	CHECK_EQ(call(i, ag_getppid, 0), 0, "[9.1,2.18] its parent is outside: getppid is 0");
	CHECK(i->pid > 1 && kill(i->pid, 0) == 0, "[9.1] outside it has a number of its own");
	struct agent *a = spawn(i), *b = spawn(i);
	CHECK(a->self == 2 && b->self == 3, "[9.1,6.17] numbers count from there");
	CHECK_EQ(call(a, ag_getppid, 0), 1, "[9.1] their parent is pid 1");
	pid_t o = outer(a);
	CHECK(o > 0 && o != 2 && proc_stat(o, 4) == i->pid, "[9.1] each process has a number per level");
	char v[64], want[64];
	proc_status(i->pid, "NSpid", v, sizeof v);
	snprintf(want, sizeof want, "%d\t1", i->pid);
	CHECK(!strcmp(v, want), "[12.8] NSpid lists them, from the mount's namespace inward");
	CHECK_EQ(call(i, ag_getpgrp, 0), 0, "[8.7] the group from outside reads 0");
	CHECK_EQ(call(i, ag_setsid, 0), 1, "[8.7] setsid works inside");
	CHECK_EQ(call(i, ag_getpgrp, 0), 1, "[8.7] and the group is 1");
	CHECK_EQ(call(i, ag_try_clone, CLONE_PARENT | SIGCHLD), -EINVAL, "[6.2] CLONE_PARENT by a namespace's init: EINVAL");
	retire(a, i);
	retire(b, i);
	quit(i, 9);
	CHECK_EQ(reap(i->pid), 9 << 8, "[9.6] the outer parent reaps it, with its own code");
}

CASE(orphans_to_ns_init)
{
	REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	struct agent *i = new_ns(NULL), *p = spawn(i), *c = spawn(p);
	retire(p, i);
	CHECK_EQ(call(c, ag_getppid, 0), 1, "[2.1] an orphan in a namespace goes to its init");
	CHECK_EQ(proc_stat(outer(c), 4), i->pid, "[2.4] a subreaper outside never adopts one whose parent lived inside");
	retire(c, i);
	CHECK_ERR(call(i, ag_reap, -1), ECHILD, "[2.1] init has reaped all");
	retire(i, NULL);
}

CASE(subreaper_inside)
{
	struct agent *i = new_ns(NULL), *s = spawn(i), *p = spawn(s), *c = spawn(p);
	call(s, ag_subreaper, 1);
	retire(p, s);
	CHECK_EQ(call(c, ag_getppid, 0), s->self, "[2.6] a subreaper inside a namespace works for orphans there");
	retire(s, i);
	CHECK_EQ(call(c, ag_getppid, 0), 1, "[2.6] and then its init");
	CHECK_OK(call(i, ag_subreaper, 1), "[1.15] SET by the init is harmless");
	struct agent *q = spawn(i), *d = spawn(q);
	retire(q, i);
	CHECK_EQ(call(d, ag_getppid, 0), 1, "[1.15] orphans go to it as before");
	retire(c, i);
	retire(d, i);
	retire(i, NULL);
}

CASE(set_does_not_cross)
{
	/* the flag of an outer process set late, with a namespace below it, has no effect inside */
	struct agent *r = spawn(NULL), *i = new_ns(r), *p = spawn(i), *c = spawn(p);
	call(r, ag_subreaper, 1);
	retire(p, i);
	CHECK_EQ(call(c, ag_getppid, 0), 1, "[1.13,2.4] a late SET does not reach below a namespace's init");
	retire(c, i);
	retire(i, r);
	retire(r, NULL);
}

CASE(init_is_adopted)
{
	REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	struct agent *p = spawn(NULL), *i = new_ns(p);
	retire(p, NULL);
	CHECK_EQ(proc_stat(i->pid, 4), getpid(), "[2.5] a namespace's init whose outer parent dies is adopted by the outer subreaper");
	CHECK_EQ(call(i, ag_getppid, 0), 0, "[2.5] inside its getppid stays 0");
	quit(i, 3);
	CHECK_EQ(reap(i->pid), 3 << 8, "[2.5] who reaps it");
}

CASE(injected)
{
	REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	struct agent *i = new_ns(NULL), *x = spawn(NULL);
	CHECK_OK(call(x, ag_enter_ns, i->pid), "[9.3] setns into the namespace");
	CHECK_EQ(call(x, ag_getpid, 0), x->pid, "[9.3] changes nothing for the caller");
	struct agent *y = spawn(x), *z = spawn(y);
	CHECK_EQ(y->self, 2, "[9.3] but its next child is in it");
	CHECK_EQ(call(y, ag_getppid, 0), 0, "[2.18] with a parent outside: getppid 0");
	CHECK_EQ(call(z, ag_getppid, 0), 2, "[9.3] that one's child has it as parent");
	pid_t oz = outer(z), oy = outer(y);
	REQUIRE(oz > 0 && oy > 0);
	call(z, ag_catch, RT);
	call(z, ag_pdeathsig, RT);
	quit(z, 0);
	REQUIRE(call(y, ag_reap, z->self) == z->self);
	z = spawn(y);
	struct agent *v = spawn(x);
	call(v, ag_catch, RT);
	call(v, ag_pdeathsig, RT);
	pid_t ov = outer(v);
	REQUIRE(ov > 0);
	quit(y, 0);
	REQUIRE(call(x, ag_reap, oy) == oy);
	CHECK_EQ(call(z, ag_getppid, 0), 1, "[2.4] an orphan of the injected process goes to the namespace's init, not outside");
	retire(z, i);
	quit(x, 0);
	REQUIRE(reap(x->pid) == 0);
	CHECK_EQ(call(v, ag_getppid, 0), 0, "[2.5] an injected process whose outer parent dies: getppid stays 0");
	CHECK_EQ(proc_stat(ov, 4), getpid(), "[2.5] it is adopted outside: what counts is the dying parent's namespace");
	CHECK_ERR(call(i, ag_try, v->self), ECHILD, "[2.5] the namespace's init cannot wait for it");
	struct sigrec *r = siglog_get(v->self, RT, 0);
	CHECK(r && r->pid == 0, "[1.24,7.10] its parent-death signal has si_pid 0: the sender is not in its namespace");
	quit(v, 4);
	CHECK_EQ(reap(ov), 4 << 8, "[2.5] its new parent reaps it");
	retire(i, NULL);
}

CASE(threaded_init)
{
	struct agent *i = new_ns(NULL), *t = spawn_thread(i), *p = spawn(t), *c = spawn(p);
	quit_thread(i, 0);
	REQUIRE(await_state(i->pid, 'Z'));
	CHECK_EQ(call(p, ag_getppid, 0), 1, "[9.9] the namespace lives while any thread of its init does");
	quit(p, 0);
	REQUIRE(call(t, ag_reap, p->self) == p->self);
	CHECK_EQ(call(c, ag_getppid, 0), 1, "[2.19] an init with an exited leader keeps adopting");
	quit(c, 6);
	CHECK_EQ(call(t, ag_reap, -1), c->self, "[2.19] and reaping");
	CHECK_EQ(call(t, ag_try_clone, SIGCHLD), 0, "[9.9] and forking");
	quit(t, 7);
	CHECK_EQ(reap(i->pid), 7 << 8, "[9.9] until its last thread ends");
}

CASE(init_death_kills)
{
	int p[2];
	char b;
	MUST(pipe(p));
	struct agent *i = new_ns(NULL), *a = spawn(i), *m = spawn(i), *s = spawn(m), *inner = new_ns(i), *deep = spawn(inner);
	pid_t out[] = { outer(a), outer(m), outer(s), 0 };
	call(m, ag_block, SIGTERM);
	kill(out[2], SIGSTOP);
	REQUIRE(await_state(out[2], 'T'));
	(void)deep;
	close(p[1]);
	/* every member holds the write end */
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	CHECK(read(p[0], &b, 1) < 0 && errno == EAGAIN, "[9.7] (members hold a pipe)");
	quit(i, 5);
	CHECK_EQ(reap(i->pid), 5 << 8, "[9.6] the status of a namespace's init is its own");
	CHECK_EQ(read(p[0], &b, 1), 0, "[9.7] once its death is seen no member exists: the pipe is at its end");
	int left = 0;
	for (int k = 0; k < 3; k++)
		left += kill(out[k], 0) == 0;
	CHECK_EQ(left, 0, "[9.6,9.7] masked, stopped and nested members are gone");
}

CASE(init_killed)
{
	struct agent *i = new_ns(NULL), *a = spawn(i);
	pid_t oa = outer(a);
	kill(i->pid, SIGTERM);
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[7.25] from outside, default-action signals other than KILL and STOP are ignored");
	kill(i->pid, SIGSTOP);
	CHECK(await_state(i->pid, 'T'), "[7.25] STOP is forced");
	kill(i->pid, SIGCONT);
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[7.25] (continued)");
	kill(i->pid, SIGKILL);
	CHECK_EQ(reap(i->pid), SIGKILL, "[7.25] KILL is forced");
	CHECK_ERR(kill(oa, 0), ESRCH, "[9.6] and takes all with it");
}

CASE(init_protected)
{
	struct agent *i = new_ns(NULL), *a = spawn(i);
	CHECK_OK(call(a, kill_1, SIGKILL), "[7.24] kill(1, SIGKILL) from inside returns 0");
	CHECK_OK(call(a, kill_1, SIGSTOP), "[7.24] and SIGSTOP");
	CHECK_OK(call(a, kill_1, SIGTERM), "[7.24] and SIGTERM");
	CHECK_OK(call(i, own_kill, SIGKILL), "[7.24] its own as well");
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[7.24,9.13] init lives on");
	call(i, ag_block, SIGTERM);
	REQUIRE(call(a, kill_1, SIGTERM) == 0);
	CHECK_EQ(call(i, ag_pending, SIGTERM), 1, "[7.24] a blocked one becomes pending");
	call(i, ag_unblock, SIGTERM);
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[7.24] and is discarded when unblocked");
	call(i, ag_catch, SIGUSR1);
	REQUIRE(call(a, kill_1, SIGUSR1) == 0);
	CHECK(AWAIT(siglog_count(1, SIGUSR1) == 1), "[7.24] a handled one is delivered");
	CHECK_EQ(siglog_get(1, SIGUSR1, 0)->pid, a->self, "[7.10] with the sender's inner pid");
	kill(i->pid, SIGUSR1);
	CHECK(AWAIT(siglog_count(1, SIGUSR1) == 2) && siglog_get(1, SIGUSR1, 1)->pid == 0, "[7.10] from outside si_pid is 0");
	retire(a, i);
	retire(i, NULL);
}

static long crash(long how)
{
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	if (how)
		abort();
	*(volatile int *)0x10 = 1;
	return 0;
}

CASE(init_faults)
{
	struct agent *i = new_ns(NULL);
	post(i, crash, 0);
	CHECK_EQ(reap(i->pid), SIGSEGV, "[7.26] a fault kills a namespace's init");
	i = new_ns(NULL);
	post(i, crash, 1);
	CHECK_EQ(reap(i->pid), SIGSEGV, "[7.26] abort ends in SEGV, since SIGABRT is ignored");
}

CASE(kill_minus_one)
{
	struct agent *i = new_ns(NULL), *a = spawn(i), *b = spawn(i);
	struct agent *all[] = { i, a, b };
	for (int k = 0; k < 3; k++)
		call(all[k], ag_catch, SIGUSR1);
	CHECK_OK(call(a, kill_all, SIGUSR1), "[7.4] kill(-1)");
	CHECK(AWAIT(siglog_count(b->self, SIGUSR1) == 1), "[7.4] reaches the others in the namespace");
	struct agent *u = spawn(i);
	REQUIRE(call(u, ag_drop, 61240) == 0);
	CHECK_OK(call(u, kill_all, SIGUSR1), "[7.4] kill(-1) by one who may signal nobody: 0");
	CHECK_ERR(call(u, kill_all, 65), EINVAL, "[7.4] with a bad signal: EINVAL");
	call(b, ag_getpid, 0);
	CHECK_EQ(siglog_count(b->self, SIGUSR1), 1, "[7.4] and nobody gets it");
	retire(u, i);
	call(i, ag_getpid, 0);
	call(a, ag_getpid, 0);
	CHECK(siglog_count(1, SIGUSR1) == 0 && siglog_count(a->self, SIGUSR1) == 0, "[7.4] not its init, not the caller");
	retire(a, i);
	retire(b, i);
	CHECK_ERR(call(i, kill_all, SIGUSR1), ESRCH, "[7.4] no candidate at all: ESRCH");
	retire(i, NULL);
}

static long try_thread(long x)
{
	pthread_t t;
	(void)x;
	int e = pthread_create(&t, NULL, (void *(*)(void *))(void *)ag_getpid, NULL);
	if (!e)
		pthread_join(t, NULL);
	return -e;
}

static long no_more_processes(long x)
{
	struct rlimit none = { x, x };
	return setrlimit(RLIMIT_NPROC, &none);
}

static long raw_thread(long x)
{
	(void)x;
	return syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, NULL, NULL, NULL, NULL);
}

CASE(thread_at_limit)
{
	struct agent *u = spawn(NULL);
	REQUIRE(call(u, do_unshare, CLONE_NEWPID) == 0);
	REQUIRE(call(u, no_more_processes, 0) == 0 && call(u, ag_drop, 1234) == 0);
	CHECK_ERR(call(u, raw_thread, 0), EINVAL, "[6.1,9.4] that no thread can be made comes before the limit: EINVAL, not EAGAIN");
	retire(u, NULL);
}

CASE(unshare_ns)
{
	struct agent *u = spawn(NULL);
	CHECK_OK(call(u, do_unshare, CLONE_NEWPID), "[9.1] unshare(NEWPID)");
	CHECK_EQ(call(u, ag_getpid, 0), u->pid, "[9.1] leaves the caller as it is");
	CHECK_ERR(call(u, do_unshare, CLONE_NEWPID), EINVAL, "[9.2] a second one: EINVAL");
	CHECK_EQ(call(u, try_thread, 0), -EINVAL, "[9.4] no threads while the namespace for children differs: EINVAL");
	struct agent *i = spawn(u), *j = spawn(u);
	CHECK(i->self == 1 && j->self == 2, "[9.1] its first child is pid 1, later ones join");
	CHECK_EQ(call(j, ag_getppid, 0), 0, "[9.1] with a parent outside");
	CHECK_ERR(call(u, do_unshare, CLONE_NEWPID), EINVAL, "[9.2] after forking as well");
	struct agent *w = spawn(j);
	quit(j, 0);
	REQUIRE(call(u, ag_reap, j->pid) == j->pid);
	CHECK_EQ(call(w, ag_getppid, 0), 1, "[2.4] orphans of the later ones go to pid 1");
	quit(i, 0);
	REQUIRE(call(u, ag_reap, i->pid) == i->pid);
	CHECK_EQ(call(u, ag_try_clone, SIGCHLD), -ENOMEM, "[6.14,9.6] a fork into a namespace whose init has died: ENOMEM");
	retire(u, NULL);
}

CASE(dead_namespace)
{
	struct agent *i = new_ns(NULL), *x = spawn(NULL), *y = spawn(NULL);
	REQUIRE(call(x, ag_enter_ns, i->pid) == 0);
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/ns/pid", i->pid);
	int fd = MUST(open(path, O_RDONLY));
	retire(i, NULL);
	CHECK_EQ(call(x, ag_try_clone, SIGCHLD), -ENOMEM, "[6.14] fork into a dead namespace: ENOMEM");
	CHECK_EQ(call(x, ag_try_clone, CLONE_VM | CLONE_VFORK | SIGCHLD), -ENOMEM, "[6.14] vfork alike");
	CHECK_OK(setns(fd, CLONE_NEWPID), "[9.10] setns into it by descriptor still works");
	CHECK_EQ(ag_try_clone(SIGCHLD), -ENOMEM, "[9.10] and fork is ENOMEM");
	CHECK_ERR(setns(1, CLONE_NEWPID), EINVAL, "[9.3] setns with another kind of file: EINVAL");
	CHECK_ERR(setns(999, CLONE_NEWPID), EBADF, "[9.3] with none: EBADF");
	retire(x, NULL);
	retire(y, NULL);
}

CASE(injected_zombie_holds_init)
{
	/* 9.8: a member with an outside parent stays that parent's zombie: init's exit waits for it */
	struct agent *i = new_ns(NULL), *x = spawn(NULL);
	REQUIRE(call(x, ag_enter_ns, i->pid) == 0);
	struct agent *y = spawn(x);
	pid_t oy = outer(y);
	quit(i, 2);
	CHECK(await_state(oy, 'Z'), "[9.6,9.8] the injected member is killed");
	CHECK_EQ(waitpid(i->pid, NULL, WNOHANG), 0, "[9.8] init is not waitable while that zombie is unreaped");
	CHECK(await_state(i->pid, 'S'), "[9.8] it sleeps, and is no zombie");
	CHECK_OK(kill(i->pid, SIGKILL), "[9.8] a signal does not change that");
	CHECK_EQ(proc_state(i->pid), 'S', "[9.8] not even SIGKILL");
	CHECK_EQ(proc_stat(i->pid, 9) & 4, 4, "[9.8,12.1] its flags say that it exits");
	CHECK_EQ(proc_stat(i->pid, 52), 2 << 8, "[9.8,12.1] and its status is there to be seen");
	REQUIRE(call(x, ag_reap, oy) == oy);
	CHECK_EQ(x->out[0], SIGKILL, "[9.8] its outer parent reaps it");
	CHECK_EQ(reap(i->pid), 2 << 8, "[9.8] and then init's exit completes");
	retire(x, NULL);
}

static long status_mask(pid_t pid, const char *key)
{
	char v[64];
	return proc_status(pid, key, v, sizeof v) ? strtol(v, NULL, 16) : -1;
}

/* An init that was stopped and continued, has a SIGCHLD pending, and is killed by a signal to one thread. */
CASE(waiting_init)
{
	struct agent *i = new_ns(NULL), *x = spawn(NULL);
	int st;
	REQUIRE(call(x, ag_enter_ns, i->pid) == 0);
	pid_t oy = outer(spawn(x));
	call(i, ag_block, SIGCHLD);
	REQUIRE(call(i, ag_fork_exit, 0) > 0);
	REQUIRE(AWAIT(status_mask(i->pid, "ShdPnd") == 1L << (SIGCHLD - 1)));
	kill(i->pid, SIGSTOP);
	REQUIRE(waitpid(i->pid, &st, WUNTRACED) == i->pid && WIFSTOPPED(st));
	kill(i->pid, SIGCONT);
	REQUIRE(waitid(P_PID, i->pid, &(siginfo_t){ 0 }, WCONTINUED | WNOWAIT) == 0);
	REQUIRE(syscall(SYS_tgkill, i->pid, i->pid, SIGKILL) == 0);
	REQUIRE(await_state(oy, 'Z') && await_state(i->pid, 'S'));
	CHECK_EQ(waitpid(i->pid, &st, WCONTINUED | WNOHANG), 0, "[3.19,9.8] who is dying is not reported as continued any more");
	CHECK_EQ(status_mask(i->pid, "SigPnd"), 0, "[9.8,7.14] the SIGKILL that it died of is not pending any more");
	CHECK_EQ(status_mask(i->pid, "ShdPnd"), 1L << (SIGCHLD - 1), "[9.6] a SIGCHLD that was pending stays so");
	CHECK(status_mask(i->pid, "SigIgn") & 1L << (SIGCHLD - 1), "[9.6] though SIGCHLD is ignored now");
	REQUIRE(call(x, ag_reap, oy) == oy);
	CHECK_EQ(reap(i->pid), SIGKILL, "[9.8] killed");
	retire(x, NULL);
}

static long nest(long depth)
{
	/* each level is the init of a namespace inside the one before; how deep it got is in sh->v[1] */
	if (depth == 0)
		return 0;
	long pid = raw_clone(NS);
	if (pid == 0) {
		sh->v[1]++;
		nest(depth - 1);
		syscall(SYS_exit_group, 0);
	}
	if (pid < 0) {
		sh->v[2] = errno;
		sh->v[3] = unshare(CLONE_NEWPID) == -1 ? errno : 0;
		pid = raw_clone(SIGCHLD);
		if (pid == 0)
			syscall(SYS_exit_group, 0);
		sh->v[4] = reap(pid) == 0;
	} else {
		reap(pid);
	}
	return 0;
}

CASE(depth)
{
	sh->v[1] = sh->v[2] = 0;
	struct agent *a = spawn(NULL);
	call(a, nest, 40);
	CHECK(sh->v[1] <= 32 && sh->v[1] >= 28 && sh->v[2] == ENOSPC, "[9.5,6.12] nested deeper than 32 levels: ENOSPC");
	CHECK_EQ(sh->v[3], ENOSPC, "[9.5] by unshare as well");
	CHECK(sh->v[4] == 1, "[9.5] which leaves the caller able to fork");
	if (on_foster())
		CHECK_EQ(sh->v[1], 32, "[9.5] 32 below the initial namespace there are");
	retire(a, NULL);
}

static long do_reboot(long cmd) { return syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, cmd, 0); }

CASE(reboot_in_ns)
{
	struct agent *i = new_ns(NULL), *a = spawn(i);
	if (call(a, ag_getpid, 0) != 2)
		return;		/* no namespace: never call reboot */
	CHECK_ERR(call(a, do_reboot, 0x1234), EINVAL, "[9.12] reboot with an unknown command: EINVAL");
	post(a, do_reboot, LINUX_REBOOT_CMD_RESTART);
	CHECK_EQ(reap(i->pid), SIGHUP, "[9.12] RESTART kills the init, reported as SIGHUP");
	i = new_ns(NULL);
	if (call(i, ag_getpid, 0) != 1)
		return;
	post(i, do_reboot, LINUX_REBOOT_CMD_POWER_OFF);
	CHECK_EQ(reap(i->pid), SIGINT, "[9.12] POWER_OFF is reported as SIGINT");
}

static long bad_magic(long x)
{
	(void)x;
	return syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, 1, LINUX_REBOOT_CMD_RESTART, 0) == 0 ? 0 : -errno;
}
static long reboot_error(long cmd) { return do_reboot(cmd) == 0 ? 0 : -errno; }

CASE(reboot_rules)
{
	static const struct { long cmd; int status; const char *text; } ends[] = {
		{ LINUX_REBOOT_CMD_HALT, SIGINT, "[9.12] HALT by a member: SIGINT" },
		{ LINUX_REBOOT_CMD_RESTART2, SIGHUP, "[9.12] RESTART2 by a member: SIGHUP" },
		{ LINUX_REBOOT_CMD_POWER_OFF, SIGINT, "[9.12] POWER_OFF by a member: SIGINT" },
	};
	struct agent *i = new_ns(NULL), *a = spawn(i), *d = spawn(i);
	if (call(a, ag_getpid, 0) != 2)
		return;		/* no namespace: never call reboot */
	CHECK_EQ(call(a, bad_magic, 0), -EINVAL, "[9.12] a bad magic number: EINVAL");
	CHECK_EQ(call(a, reboot_error, LINUX_REBOOT_CMD_CAD_ON), -EINVAL, "[9.12] CAD_ON: EINVAL");
	CHECK_EQ(call(a, reboot_error, LINUX_REBOOT_CMD_CAD_OFF), -EINVAL, "[9.12] CAD_OFF: EINVAL");
	call(d, ag_drop, 1000);
	CHECK_EQ(call(d, bad_magic, 0), -EPERM, "[9.12] without CAP_SYS_BOOT: EPERM, before the magic is looked at");
	CHECK_EQ(call(d, reboot_error, LINUX_REBOOT_CMD_RESTART), -EPERM, "[9.12] and with the right one");
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[9.12] nothing of this ends the namespace");
	for (int k = 0; k < 3; k++) {
		if (k > 0) {
			i = new_ns(NULL);
			a = spawn(i);
			if (call(a, ag_getpid, 0) != 2)
				return;
		}
		post(a, do_reboot, ends[k].cmd);
		CHECK_EQ(reap(i->pid), ends[k].status, ends[k].text);
	}
}

struct args3 {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

static long clone_tid(long tid)
{
	pid_t want = tid;
	struct args3 a = { .exit_signal = SIGCHLD, .set_tid = (uint64_t)&want, .set_tid_size = 1 };
	long r = syscall(SYS_clone3, &a, sizeof a);
	if (r == 0)
		syscall(SYS_exit_group, getpid() == tid ? 0 : 1);
	if (r < 0)
		return -errno;
	int st = reap(r);
	return r == tid && st == 0 ? 0 : 1;
}

CASE(set_tid)
{
	struct agent *i = new_ns(NULL), *a = spawn(i);
	CHECK_EQ(call(i, clone_tid, 500), 0, "[6.7] set_tid gives the child that number");
	CHECK_EQ(call(i, clone_tid, a->self), -EEXIST, "[6.7] one in use: EEXIST");
	CHECK_EQ(call(i, clone_tid, 0), -EINVAL, "[6.7] 0: EINVAL");
	CHECK_EQ(call(i, clone_tid, -1), -EINVAL, "[6.7] negative: EINVAL");
	CHECK_EQ(call(i, clone_tid, 1 << 29), -EINVAL, "[6.7] beyond pid_max: EINVAL");
	retire(a, i);
	retire(i, NULL);
}

CASE(protection_survives_exec)
{
	char c;
	MUST(pipe(up));
	MUST(pipe(down));
	long i = MUST(raw_clone(NS));
	if (i == 0) {
		exec_hold(0);
		syscall(SYS_exit_group, 99);
	}
	REQUIRE(read(up[0], &c, 1) == 1);
	kill(i, SIGTERM);
	kill(i, SIGHUP);
	close(down[1]);
	CHECK_EQ(reap(i), 0, "[7.27] the protection of a namespace's init survives exec");
	struct agent *j = new_ns(NULL), *t = spawn_thread(j), *a = spawn(t);
	quit_thread(j, 0);
	REQUIRE(await_state(j->pid, 'Z'));
	CHECK_OK(call(a, kill_1, SIGKILL), "[7.27] (kill of an init whose leader has exited)");
	CHECK_EQ(call(t, ag_getpid, 0), 1, "[7.27] and the exit of its leader");
	quit(t, 0);
	reap(j->pid);
}
