/* exit.c - section 3: exit statuses, thread and group exit, what is gone and what is kept (rules 3.1-3.25). */
#include "lib/tap.h"

#include <linux/futex.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/file.h>

/* ---- 3.1 - 3.3: statuses and default actions ---- */

static int die_of(int sig)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		sys_tgkill(getpid(), sys_gettid(), sig);
		_exit(0);
	}
	int st = -1;
	if (sys_wait4(pid, &st, WUNTRACED, NULL) != pid)
		return -1;
	if (WIFSTOPPED(st)) {
		kill(pid, SIGCONT);
		reap(pid);
	}
	return st;
}

CASE(default_terminate)
{
	for (int s = 1; s <= 64; s++) {
		char text[96];
		switch (s) {
		case SIGCHLD: case SIGCONT: case SIGURG: case SIGWINCH:
			snprintf(text, sizeof text, "[3.3] signal %d is ignored by default", s);
			CHECK_EQ(die_of(s), 0, text);
			break;
		case SIGSTOP:
			CHECK_EQ(die_of(s), SIGSTOP << 8 | 0x7f, "[3.3] SIGSTOP stops by default");
			break;
		case SIGTSTP: case SIGTTIN: case SIGTTOU:
			/* the case is a session leader, its children are in its (orphaned) group */
			snprintf(text, sizeof text, "[7.20] signal %d is dropped in an orphaned group", s);
			CHECK_EQ(die_of(s), 0, text);
			break;
		default:
			snprintf(text, sizeof text, "[3.1,3.3] signal %d terminates by default, status is its number", s);
			CHECK_EQ(die_of(s), s, text);
		}
	}
}

/* ---- 3.4 - 3.8: threads ---- */

CASE(exit_group_code)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *t2 = spawn_thread(p);
	quit(t2, 5);
	CHECK_EQ(reap(p->pid), 5 << 8, "[3.4] exit_group by a thread ends the group with its code");
	CHECK_ERR(sys_tgkill(p->pid, t->tid, 0), ESRCH, "[3.4] all its threads are gone");
	p = spawn(NULL);
	t = spawn_thread(p);
	kill(p->pid, SIGTERM);
	CHECK_EQ(reap(p->pid), SIGTERM, "[3.4] a fatal signal ends all threads, status is the signal");
	p = spawn(NULL);
	t = spawn_thread(p);
	sys_tgkill(p->pid, t->tid, SIGUSR1);
	CHECK_EQ(reap(p->pid), SIGUSR1, "[3.4] so does one that is sent to a thread alone");
}

static void *exit_group_racer(void *code)
{
	while (!sh->w[1])
		sched_yield();
	syscall(SYS_exit_group, (long)code);
	return NULL;
}

CASE_T(exit_group_race, 60)
{
	int n = iterations(300) / 3 + 1, bad = 0;
	for (int i = 0; i < n; i++) {
		sh->w[1] = 0;
		pid_t pid = MUST(fork());
		if (pid == 0) {
			pthread_t t;
			pthread_create(&t, NULL, exit_group_racer, (void *)11L);
			pthread_create(&t, NULL, exit_group_racer, (void *)22L);
			sh->w[1] = 1;
			syscall(SYS_exit_group, 33);
		}
		int st = reap(pid);
		bad += st != 11 << 8 && st != 22 << 8 && st != 33 << 8;
	}
	CHECK_EQ(bad, 0, "[3.4,I10] several exit_groups at once: the status is one of their codes");
}

CASE(leader_last)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	quit_thread(t, 77);
	REQUIRE(AWAIT(proc_stat(p->pid, 20) == 1));
	CHECK_ERR(sys_tgkill(p->pid, t->tid, 0), ESRCH, "[3.7] a thread that has exited is released at once");
	CHECK_EQ(waitpid(p->pid, NULL, WNOHANG | __WALL), 0, "[3.7] its parent hears nothing");
	quit_thread(p, 33);
	CHECK_EQ(reap(p->pid), 33 << 8, "[3.5] if the leader is last its code counts");
}

CASE(leader_first)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	quit_thread(p, 33);
	CHECK(await_state(p->pid, 'Z'), "[3.6] a leader that exits first shows as a zombie");
	CHECK_EQ(waitpid(p->pid, NULL, WNOHANG), 0, "[3.6] but is not waitable");
	CHECK_OK(kill(p->pid, 0), "[3.6] kill(pid, 0) works");
	call(t, ag_catch, SIGUSR1);
	CHECK_OK(kill(p->pid, SIGUSR1), "[3.6] a signal to the process");
	CHECK(AWAIT(siglog_count(p->pid, SIGUSR1) == 1), "[3.6] is taken by a live thread");
	char path[64];
	struct stat st;
	snprintf(path, sizeof path, "/proc/%d/task/%d", p->pid, p->pid);
	CHECK_OK(stat(path, &st), "[3.6] /proc/pid/task lists the leader");
	snprintf(path, sizeof path, "/proc/%d/task/%d", p->pid, t->tid);
	CHECK_OK(stat(path, &st), "[3.6] and the live thread");
	CHECK_EQ(proc_stat(p->pid, 20), 2, "[3.6,12.4] num_threads counts both");
	CHECK_EQ(call(t, ag_getpid, 0), p->pid, "[3.6] the live thread's getpid is still the leader's id");
	quit_thread(t, 77);
	CHECK_EQ(reap(p->pid), 77 << 8, "[3.5] the code is that of the last thread to exit");
}

CASE(killed_with_zombie_leader)
{
	struct agent *p = spawn(NULL);
	spawn_thread(p);
	quit_thread(p, 33);
	REQUIRE(await_state(p->pid, 'Z'));
	kill(p->pid, SIGKILL);
	CHECK_EQ(reap(p->pid), SIGKILL, "[3.8] killed while its leader is a zombie: the status is the signal");
}

/* ---- 3.10: gone ---- */

CASE(fds_closed_first)
{
	int p[2], n = iterations(300) / 3 + 1, late = 0;
	char c;
	for (int i = 0; i < n; i++) {
		MUST(pipe(p));
		pid_t pid = MUST(fork());
		if (pid == 0)
			_exit(0);
		close(p[1]);
		REQUIRE(await_zombie(pid));
		fcntl(p[0], F_SETFL, O_NONBLOCK);
		late += read(p[0], &c, 1) != 0;
		close(p[0]);
		reap(pid);
	}
	CHECK_EQ(late, 0, "[3.10] when a zombie is seen its descriptors are closed: end of file, not EAGAIN");
}

static long lock_file(long fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	return fcntl(fd, F_SETLK, &fl);
}

static long flock_own(long x)
{
	(void)x;
	int fd = open(tmp_path("flock"), O_RDWR);
	return fd < 0 ? -1 : flock(fd, LOCK_EX);
}

CASE(locks_released)
{
	int fd = MUST(open(tmp_path("lock"), O_RDWR | O_CREAT, 0600));
	int fd2 = MUST(open(tmp_path("flock"), O_RDWR | O_CREAT, 0600));
	struct agent *c = spawn(NULL);
	CHECK_OK(call(c, lock_file, fd), "[3.10] (the child takes a record lock)");
	CHECK_OK(call(c, flock_own, 0), "[3.10] (and an flock)");
	CHECK(lock_file(fd) < 0 && (errno == EAGAIN || errno == EACCES), "[3.10] (a record lock excludes)");
	CHECK_ERR(flock(fd2, LOCK_EX | LOCK_NB), EAGAIN, "[3.10] (an flock excludes)");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_OK(lock_file(fd), "[3.10] a zombie's record locks are gone");
	CHECK_OK(flock(fd2, LOCK_EX | LOCK_NB), "[3.10] and its flocks");
	reap(c->pid);
}

CASE(links_gone)
{
	struct agent *c = spawn(NULL);
	char path[64], buf[64];
	static const char *const name[] = { "cwd", "root", "exe" };
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "/proc/%d/%s", c->pid, name[i]);
		CHECK(readlink(path, buf, sizeof buf) > 0, "[3.10] (a live process's link can be read)");
	}
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	for (int i = 0; i < 3; i++) {
		char text[64];
		snprintf(path, sizeof path, "/proc/%d/%s", c->pid, name[i]);
		snprintf(text, sizeof text, "[3.10] a zombie's %s is ENOENT", name[i]);
		CHECK_ERR(readlink(path, buf, sizeof buf), ENOENT, text);
	}
	reap(c->pid);
}

/* ---- 3.11, 3.12: kept until reaped ---- */

CASE(zombie_keeps)
{
	struct agent *c = spawn(NULL);
	MUST(setpgid(c->pid, c->pid));
	setpriority(PRIO_PROCESS, c->pid, 5);
	quit(c, 1);
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(getpgid(c->pid), c->pid, "[3.11,3.12] a zombie keeps its process group");
	CHECK_EQ(getsid(c->pid), getsid(0), "[3.11,3.12] and its session");
	errno = 0;
	CHECK(getpriority(PRIO_PROCESS, c->pid) == 5 && !errno, "[3.11,3.12] and its nice value");
	struct rlimit rl;
	CHECK_OK(prlimit(c->pid, RLIMIT_NOFILE, NULL, &rl), "[3.11,3.12] and its limits");
	CHECK_OK(kill(c->pid, 0), "[3.12] kill(zombie, 0) is 0");
	CHECK_OK(kill(c->pid, SIGKILL), "[3.12] kill(zombie, SIGKILL) is 0");
	CHECK_OK(kill(-c->pid, SIGTERM), "[3.12,7.3] kill of its group is 0");
	CHECK_OK(setpgid(c->pid, getpgrp()), "[3.12] its parent may still move it to another group");
	CHECK_EQ(proc_stat(c->pid, 5), getpgrp(), "[3.12] which shows in its stat");
	CHECK_EQ(reap(c->pid), 1 << 8, "[3.12] signals to a zombie do not change its status");
	CHECK_ERR(kill(c->pid, 0), ESRCH, "[3.12] reaped: kill is ESRCH");
	CHECK_ERR(getpgid(c->pid), ESRCH, "[3.12] reaped: getpgid is ESRCH");
	CHECK_ERR(getsid(c->pid), ESRCH, "[3.12] reaped: getsid is ESRCH");
	CHECK_ERR(setpgid(c->pid, 0), ESRCH, "[3.12] reaped: setpgid is ESRCH");
	CHECK_ERR(prlimit(c->pid, RLIMIT_NOFILE, NULL, &rl), ESRCH, "[3.12] reaped: prlimit is ESRCH");
	CHECK_ERR(sys_tgkill(c->pid, c->pid, 0), ESRCH, "[3.12] reaped: tgkill is ESRCH");
}

HELPER(nothing)
{
	return 4;
}

CASE(zombie_that_execed)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		exec_self("nothing", NULL, NULL, NULL);
		_exit(98);
	}
	REQUIRE(await_zombie(pid));
	CHECK_ERR(setpgid(pid, pid), EACCES, "[3.12,8.3] setpgid of a zombie that has exec'ed is EACCES");
	CHECK_EQ(reap(pid), 4 << 8, "[3.12] (it ran)");
}

static long limit_nproc(long n)
{
	struct rlimit rl = { n, n };
	return setrlimit(RLIMIT_NPROC, &rl);
}

CASE(zombie_counts_for_nproc)
{
	NEED_ROOT("[3.11] a zombie keeps its RLIMIT_NPROC charge");
	struct agent *p = spawn(NULL);
	REQUIRE(call(p, ag_drop, 61234) == 0);
	REQUIRE(call(p, limit_nproc, 2) == 0);
	long z = call(p, ag_fork_exit, 0);
	REQUIRE(z > 0);
	REQUIRE(await_state(z, 'Z'));
	CHECK_ERR(call(p, ag_fork_exit, 0), EAGAIN, "[3.11,6.13] an unreaped zombie counts against RLIMIT_NPROC");
	REQUIRE(call(p, ag_reap, z) == z);
	z = call(p, ag_fork_exit, 0);
	CHECK(z > 0, "[3.11,6.13] reaped, there is room again");
	REQUIRE(call(p, ag_reap, z) == z);
	retire(p, NULL);
}

CASE(zombie_oom_score_adj)
{
	char path[64], b[32];
	struct agent *c = spawn(NULL);
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", c->pid);
	CHECK(read_file(path, b, sizeof b) > 0 && atoi(b) == 0, "[3.25] oom_score_adj of a live process");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK(read_file(path, b, sizeof b) > 0 && atoi(b) == 0, "[3.25] and of a zombie");
	reap(c->pid);
}

/* ---- 3.14, 3.15: vfork ---- */

CASE(vfork_shares_and_blocks)
{
	volatile int in_child = 0;
	pid_t pid = vfork();
	if (pid == 0) {
		for (volatile int i = 0; i < 100000; i++)
			;
		in_child = 1;
		_exit(5);
	}
	CHECK_EQ(in_child, 1, "[3.14] vfork returns in the parent after the child's exit, and memory is shared");
	CHECK_EQ(reap(pid), 5 << 8, "[3.14] the status is as usual");
}

HELPER(wait_go)
{
	char c;
	return read(atoi(argv[1]), &c, 1) == 1 ? 6 : 7;
}

CASE(vfork_exec)
{
	int go[2];
	char fd[16];
	MUST(pipe(go));
	snprintf(fd, sizeof fd, "%d", go[0]);
	volatile int failed = 0;
	char *argv[] = { self_path, "@wait_go", fd, NULL };
	pid_t pid = vfork();
	if (pid == 0) {
		execv("/nonexistent", argv);
		failed = 1;	/* a failed exec does not release the parent */
		execv(self_path, argv);
		_exit(98);
	}
	CHECK_EQ(failed, 1, "[3.15] a failed exec has not released the vfork parent");
	CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0, "[3.14,10.15] a successful exec releases the parent while the child runs");
	REQUIRE(write(go[1], "x", 1) == 1);
	CHECK_EQ(reap(pid), 6 << 8, "[3.14] (and the child ran)");
}

/* vfork a child that waits for w[2] and exits; the answer is its pid. */
static long vfork_wait(long x)
{
	(void)x;
	pid_t pid = vfork();
	if (pid == 0) {
		sh->w[3] = sys_gettid();
		set_word(&sh->w[1], 1);
		while (sh->w[2] == 0)
			futex(&sh->w[2], FUTEX_WAIT, 0, NULL);
		syscall(SYS_exit_group, 8);
	}
	return pid;
}

CASE(vfork_signals)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_catch, SIGUSR1);
	call(t, ag_block, SIGUSR1);
	post(p, vfork_wait, 0);
	wait_word(&sh->w[1], 1);
	CHECK(await_state(p->pid, 'D'), "[3.14] a vfork parent waits in state D");
	CHECK_EQ(call(t, ag_getpid, 0), p->pid, "[3.14] its sibling threads run");
	kill(p->pid, SIGUSR1);
	call(t, ag_getpid, 0);
	CHECK_EQ(siglog_count(p->pid, SIGUSR1), 0, "[3.14] a handled signal does not end the wait");
	set_word(&sh->w[2], 1);
	CHECK_EQ(finish(p), sh->w[3], "[3.14] vfork returns when the child has exited");
	CHECK(AWAIT(siglog_count(p->pid, SIGUSR1) == 1), "[3.14] and the handler runs then");
	REQUIRE(call(p, ag_reap, sh->w[3]) > 0);
	retire(p, NULL);
}

CASE(vfork_killed)
{
	REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	struct agent *p = spawn(NULL);
	post(p, vfork_wait, 0);
	wait_word(&sh->w[1], 1);
	kill(p->pid, SIGKILL);
	CHECK_EQ(reap(p->pid), SIGKILL, "[3.14] SIGKILL ends a vfork parent at once");
	pid_t c = sh->w[3];
	CHECK(kill(c, 0) == 0 && proc_state(c) != 'Z', "[3.14] and the child lives on");
	set_word(&sh->w[2], 1);
	CHECK_EQ(reap(c), 8 << 8, "[3.14] to its own end");
}

/* ---- 3.16: clear_child_tid ---- */

static volatile int ctid __attribute__((aligned(4)));
static char stack1[32768] __attribute__((aligned(16)));

static int just_exit(void *arg)
{
	if (arg)
		set_word(&sh->w[4], ctid);
	syscall(SYS_exit, 0);
	return 0;
}

CASE(clear_child_tid)
{
	ctid = 99;
	pid_t pid = MUST(clone(just_exit, stack1 + sizeof stack1, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, NULL,
			       (void *)&ctid));
	REQUIRE(reap(pid) == 0);
	CHECK_EQ(ctid, 0, "[3.16] CLONE_CHILD_CLEARTID: the word is 0 after the death of one that shares the memory");
	ctid = 99;
	pid = MUST(clone(just_exit, stack1 + sizeof stack1, CLONE_VM | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID | SIGCHLD, (void *)1,
			 NULL, NULL, (void *)&ctid));
	int seen = ctid;
	REQUIRE(reap(pid) == 0);
	CHECK(sh->w[4] == pid && (seen == pid || seen == 0 || seen == 99), "[6.10,3.16] CHILD_SETTID: the child sees its tid in the word");
	CHECK_EQ(ctid, 0, "[3.16] and it is cleared at its death");
}

CASE(clear_child_tid_wakes)
{
	struct timespec ts = { 8, 0 };
	ctid = 1;
	sh->w[0] = 0;
	pid_t pid = MUST(clone(just_exit, stack1 + sizeof stack1, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, NULL,
			       (void *)&ctid));
	long r = 0;
	while (ctid == 1 && !r)
		r = futex(&ctid, FUTEX_WAIT, 1, &ts) < 0 && errno == ETIMEDOUT;
	CHECK(!r && ctid == 0, "[3.16] and a futex waiter on it is woken");
	REQUIRE(reap(pid) == 0);
}

CASE(clear_child_tid_sole_user)
{
	/* shared page, but the mm is not shared: the child is the sole user of its mm */
	sh->w[5] = 77;
	pid_t pid = syscall(SYS_clone, CLONE_CHILD_CLEARTID | SIGCHLD, 0, 0, &sh->w[5], 0);
	if (pid == 0)
		syscall(SYS_exit_group, 0);
	REQUIRE(pid > 0 && reap(pid) == 0);
	CHECK_EQ(sh->w[5], 77, "[3.16] a sole user of its memory (fork child) leaves the word alone");
	pid = syscall(SYS_clone, CLONE_CHILD_CLEARTID | SIGCHLD, 0, 0, 0x10, 0);
	if (pid == 0)
		syscall(SYS_exit_group, 3);
	CHECK_EQ(reap(pid), 3 << 8, "[3.16] a bad address does no harm");
}

CASE(clear_child_tid_of_killed)
{
	struct agent *p = spawn(NULL);
	ctid = 0;
	CHECK_EQ(syscall(SYS_set_tid_address, &ctid), sys_gettid(), "[1.44] set_tid_address returns the caller's tid");
	CHECK_EQ(syscall(SYS_set_tid_address, BADPTR), sys_gettid(), "[1.44] and never fails, whatever the pointer");
	syscall(SYS_set_tid_address, NULL);
	retire(p, NULL);
}

/* ---- 3.17: robust list ---- */

struct node {
	struct node *next;
	volatile unsigned word;
};
static struct {
	struct node *list;
	long offset;
	struct node *pending;
} head;
static struct node *nodes;	/* shared memory */

static int robust_child(void)
{
	unsigned tid = sys_gettid();
	head.list = &nodes[0];
	nodes[0].next = &nodes[1];
	nodes[1].next = &nodes[2];
	nodes[2].next = (struct node *)&head;
	head.offset = offsetof(struct node, word);
	head.pending = &nodes[3];
	nodes[0].word = tid;
	nodes[1].word = tid | FUTEX_WAITERS;
	nodes[2].word = tid + 1;
	nodes[3].word = tid;
	return syscall(SYS_set_robust_list, &head, 24L);
}

CASE(robust_list)
{
	nodes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(nodes != MAP_FAILED);
	CHECK_ERR(syscall(SYS_set_robust_list, &head, 23L), EINVAL, "[3.17] a length other than 24 is EINVAL");
	CHECK_ERR(syscall(SYS_set_robust_list, &head, 0L), EINVAL, "[3.17] 0 as well");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		int r = robust_child();
		if (!r)
			set_word(&sh->w[0], 1);
		while (!sh->w[1])
			futex(&sh->w[1], FUTEX_WAIT, 0, NULL);
		_exit(r ? 1 : 0);
	}
	wait_word(&sh->w[0], 1);
	set_word(&sh->w[1], 1);
	CHECK_EQ(reap(pid), 0, "[3.17] set_robust_list of length 24 works");
	CHECK_EQ(nodes[0].word, FUTEX_OWNER_DIED, "[3.17] an entry held by the dead: OWNER_DIED, tid gone");
	CHECK_EQ(nodes[1].word, FUTEX_OWNER_DIED | FUTEX_WAITERS, "[3.17] the WAITERS bit is kept");
	CHECK_EQ(nodes[2].word, (unsigned)pid + 1, "[3.17] an entry of another owner is not touched");
	CHECK_EQ(nodes[3].word, FUTEX_OWNER_DIED, "[3.17] list_op_pending is treated as an entry");
	pid = MUST(fork());
	if (pid == 0) {
		head.list = (void *)0x10;
		syscall(SYS_set_robust_list, &head, 24L);
		_exit(2);
	}
	CHECK_EQ(reap(pid), 2 << 8, "[3.17] a list that cannot be read does no harm");
	pid = MUST(fork());
	if (pid == 0) {
		nodes[0].next = &nodes[0];	/* a loop without end */
		nodes[0].word = 1;
		head.list = &nodes[0];
		head.pending = NULL;
		head.offset = offsetof(struct node, word);
		syscall(SYS_set_robust_list, &head, 24L);
		_exit(2);
	}
	CHECK_EQ(reap(pid), 2 << 8, "[3.17] nor does a list that loops");
	void *got;
	size_t len = 0;
	CHECK_OK(syscall(SYS_get_robust_list, 0, &got, &len), "[3.17] get_robust_list");
	CHECK_EQ(len, 24, "[3.17] gives the length 24");
}

static long wait_word1(long x)
{
	struct timespec ts = { 8, 0 };
	(void)x;
	unsigned v = nodes[1].word;
	return v & FUTEX_OWNER_DIED ? 0 : futex(&nodes[1].word, FUTEX_WAIT, v, &ts);
}

CASE(robust_list_wakes)
{
	nodes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(nodes != MAP_FAILED);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		robust_child();
		set_word(&sh->w[0], 1);
		while (!sh->w[1])
			futex(&sh->w[1], FUTEX_WAIT, 0, NULL);
		_exit(0);
	}
	wait_word(&sh->w[0], 1);
	struct agent *a = spawn(NULL);
	post(a, wait_word1, 0);
	REQUIRE(await_blocked_in(a));
	kill(pid, SIGKILL);
	REQUIRE(reap(pid) == SIGKILL);
	CHECK_OK(finish(a), "[3.17] a waiter of a robust futex is woken by the owner's death by a signal");
	retire(a, NULL);
}

/* ---- 3.18 ---- */

static long arm_itimer(long us)
{
	struct itimerval it = { { 0, 0 }, { us / 1000000, us % 1000000 } };
	return setitimer(ITIMER_REAL, &it, NULL);
}

CASE(itimer_of_process)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_catch, SIGALRM);
	REQUIRE(call(t, arm_itimer, 50000) == 0);
	quit_thread(t, 0);
	REQUIRE(AWAIT(proc_stat(p->pid, 20) == 1));
	CHECK(AWAIT(siglog_count(p->pid, SIGALRM) == 1), "[3.18] ITIMER_REAL survives the thread that set it");
	retire(p, NULL);
}

/* ---- 3.19 ---- */

CASE(killed_while_stopped)
{
	struct agent *p = spawn(NULL);
	spawn_thread(p);
	kill(p->pid, SIGSTOP);
	REQUIRE(await_state(p->pid, 'T'));
	kill(p->pid, SIGKILL);
	CHECK_EQ(reap(p->pid), SIGKILL, "[3.19,7.22] SIGKILL ends a stopped group of threads");
}

/* ---- 3.20 ---- */

static int until_told(void *x)
{
	(void)x;
	while (sh->w[2] == 0)
		syscall(SYS_sched_yield);
	syscall(SYS_exit, 9);
	return 0;
}

CASE(vm_peer_survives)
{
	/* a CLONE_VM process outside the group lives on when its maker dies of a core signal */
	REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	pid_t p = MUST(fork());
	if (p == 0) {
		struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		sh->w[3] = clone(until_told, stack1 + sizeof stack1, CLONE_VM | SIGCHLD, NULL);
		sys_tgkill(getpid(), sys_gettid(), SIGQUIT);
		_exit(97);
	}
	CHECK_EQ(reap(p), SIGQUIT, "[3.2,3.20] a core signal without a core limit: no 0x80");
	pid_t c = sh->w[3];
	CHECK(proc_state(c) != 'Z' && kill(c, 0) == 0, "[3.20,6.22] a process that shares the memory lives on");
	sh->w[2] = 1;
	CHECK_EQ(reap(c), 9 << 8, "[3.20,6.22] to its own exit");
}

/* ---- 3.21 ---- */

static int fault(int how, int sig)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		if (how == 1)
			ag_block(sig);
		else if (how == 2)
			signal(sig, SIG_IGN);
		switch (sig) {
		case SIGSEGV: *(volatile int *)0x10 = 1; break;
		case SIGILL: __asm__ volatile("ud2"); break;
		case SIGTRAP: __asm__ volatile("int3"); break;
		case SIGFPE: __asm__ volatile("xor %%edx,%%edx; mov $1,%%eax; xor %%ecx,%%ecx; div %%ecx" ::: "eax", "ecx", "edx");
		}
		_exit(96);
	}
	return reap(pid);
}

CASE(synchronous_faults)
{
	static const int sigs[] = { SIGSEGV, SIGILL, SIGTRAP, SIGFPE };
	static const char *const how[] = { "default", "blocked", "ignored" };
	for (int i = 0; i < 4; i++)
		for (int h = 0; h < 3; h++) {
			char text[96];
			snprintf(text, sizeof text, "[3.21] a fault with signal %d %s kills", sigs[i], how[h]);
			CHECK_EQ(fault(h, sigs[i]), sigs[i], text);
		}
}

/* ---- 3.24 ---- */

CASE(cpu_limit)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit rl = { 1, 2 };
		setrlimit(RLIMIT_CPU, &rl);
		for (;;)
			;
	}
	CHECK_EQ(reap(pid), SIGXCPU, "[3.24] RLIMIT_CPU: the soft limit kills by SIGXCPU");
}

/* ---- 3.11, 3.12: more of what a zombie keeps and what works on it ---- */

static long be_batch(long uid)
{
	struct sched_param sp = { 0 };
	if (sched_setscheduler(0, SCHED_BATCH, &sp))
		return -1;
	return uid ? syscall(SYS_setresuid, uid, uid, uid) : 0;
}

CASE(zombie_calls)
{
	char v[128];
	unsigned id[4];
	cpu_set_t cpus;
	struct sched_param sp;
	struct timespec ts;
	unsigned uid = geteuid() ? 0 : 61236;
	struct agent *c = spawn(NULL);
	call(c, ag_block, SIGUSR1);
	kill(c->pid, SIGUSR1);
	REQUIRE(call(c, be_batch, uid) == 0);
	quit(c, 1);
	REQUIRE(await_zombie(c->pid));
	CHECK(proc_status(c->pid, "Uid", v, sizeof v) && sscanf(v, "%u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4 &&
		      id[0] == (uid ? uid : getuid()) && id[1] == id[0],
	      "[3.11] a zombie keeps its credentials");
	CHECK_EQ(sched_getscheduler(c->pid), SCHED_BATCH, "[3.11,3.12] and its scheduling policy");
	CHECK_OK(sched_getparam(c->pid, &sp), "[3.12] sched_getparam of a zombie");
	CHECK(syscall(SYS_sched_getaffinity, c->pid, sizeof cpus, &cpus) > 0, "[3.12] sched_getaffinity of a zombie");
	CHECK_OK(sched_rr_get_interval(c->pid, &ts), "[3.12] sched_rr_get_interval of a zombie");
	CHECK_OK(sys_tgkill(c->pid, c->pid, SIGTERM), "[3.12] tgkill of a zombie is 0");
	siginfo_t si = { .si_signo = SIGUSR2, .si_code = SI_QUEUE };
	CHECK_OK(syscall(SYS_rt_sigqueueinfo, c->pid, SIGUSR2, &si), "[3.12] rt_sigqueueinfo to a zombie is 0");
	reap(c->pid);
	CHECK_ERR(sched_getscheduler(c->pid), ESRCH, "[3.12] reaped: sched_getscheduler is ESRCH");
	CHECK_ERR(sched_getparam(c->pid, &sp), ESRCH, "[3.12] reaped: sched_getparam is ESRCH");
	CHECK_ERR(syscall(SYS_sched_getaffinity, c->pid, sizeof cpus, &cpus), ESRCH, "[3.12] reaped: sched_getaffinity is ESRCH");
	CHECK_ERR(syscall(SYS_getpriority, PRIO_PROCESS, c->pid), ESRCH, "[3.12] reaped: getpriority is ESRCH");
	CHECK_ERR(setpriority(PRIO_PROCESS, c->pid, 0), ESRCH, "[3.12] reaped: setpriority is ESRCH");
	CHECK_ERR(syscall(SYS_tkill, c->pid, 0), ESRCH, "[3.12] reaped: tkill is ESRCH");
	CHECK_ERR(syscall(SYS_rt_sigqueueinfo, c->pid, SIGUSR2, &si), ESRCH, "[3.12] reaped: rt_sigqueueinfo is ESRCH");
}

static bool poke(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

CASE(zombie_score)
{
	char path[64], b[32];
	struct agent *c = spawn(NULL);
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", c->pid);
	REQUIRE(poke(path, "300"));
	snprintf(path, sizeof path, "/proc/%d/oom_score", c->pid);
	CHECK(read_file(path, b, sizeof b) > 0 && atoi(b) > 0, "[3.25] (oom_score of a live process)");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK(read_file(path, b, sizeof b) > 0 && atoi(b) == 0, "[3.25] oom_score is 0 when the memory is gone");
	snprintf(path, sizeof path, "/proc/%d/oom_score_adj", c->pid);
	CHECK(read_file(path, b, sizeof b) > 0 && atoi(b) == 300, "[3.25] oom_score_adj stays readable, with its value");
	reap(c->pid);
}

/* ---- 3.14: stops and vfork ---- */

CASE(vfork_stopped)
{
	struct agent *p = spawn(NULL);
	int st;
	post(p, vfork_wait, 0);
	wait_word(&sh->w[1], 1);
	REQUIRE(await_state(p->pid, 'D'));
	kill(p->pid, SIGSTOP);
	for (int i = 0; i < 20; i++)
		sched_yield();
	CHECK_EQ(waitpid(p->pid, &st, WUNTRACED | WNOHANG), 0, "[3.14] SIGSTOP does not stop a vfork parent while it waits");
	CHECK_EQ(proc_state(p->pid), 'D', "[3.14] it stays in state D");
	set_word(&sh->w[2], 1);
	CHECK(waitpid(p->pid, &st, WUNTRACED) == p->pid && WIFSTOPPED(st), "[3.14] the stop takes effect when the wait is over");
	CHECK(!answered(p), "[3.14] before vfork returns to the program");
	kill(p->pid, SIGCONT);
	CHECK_EQ(finish(p), sh->w[3], "[3.14] which it does after SIGCONT");
	REQUIRE(call(p, ag_reap, sh->w[3]) > 0);
	retire(p, NULL);
}

/* ---- 3.16, 3.17: killed, and exec ---- */

static int sleep_for_ever(void *arg)
{
	(void)arg;
	set_word(&sh->w[6], 1);
	for (;;)
		syscall(SYS_pause);
	return 0;
}

static int exec_nothing(void *arg)
{
	(void)arg;
	exec_self("nothing", NULL, NULL, NULL);
	return 99;
}

CASE(clear_child_tid_by_signal)
{
	ctid = 99;
	pid_t pid = MUST(clone(sleep_for_ever, stack1 + sizeof stack1, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, NULL,
			       (void *)&ctid));
	wait_word(&sh->w[6], 1);
	kill(pid, SIGKILL);
	REQUIRE(reap(pid) == SIGKILL);
	CHECK_EQ(ctid, 0, "[3.16] the word is cleared at a death by a signal");
	ctid = 99;
	pid = MUST(clone(exec_nothing, stack1 + sizeof stack1, CLONE_VM | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, NULL, (void *)&ctid));
	CHECK_EQ(reap(pid), 4 << 8, "[3.16] (it exec'ed)");
	CHECK_EQ(ctid, 0, "[3.16] and by exec, for the old memory, if it is shared");
}

HELPER(no_lists)
{
	void *list = (void *)1;
	int *tid = (int *)1;
	size_t len;
	/* the C library has set its own by now, so exec of an image without one would be needed: look at the value's page */
	if (syscall(SYS_get_robust_list, 0, &list, &len) || prctl(PR_GET_TID_ADDRESS, &tid, 0, 0, 0))
		return 1;
	return list == (void *)0x7000 || tid == (int *)0x7004 ? 2 : 0;
}

CASE(robust_list_at_exec)
{
	nodes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(nodes != MAP_FAILED);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		robust_child();
		exec_self("wait_go", NULL, NULL, NULL);
		_exit(99);
	}
	CHECK(AWAIT(nodes[0].word == FUTEX_OWNER_DIED), "[3.17] exec treats the robust list as an exit does");
	CHECK_EQ(nodes[1].word, FUTEX_OWNER_DIED | FUTEX_WAITERS, "[3.17] each entry of it");
	kill(pid, SIGKILL);
	reap(pid);
	pid = MUST(fork());
	if (pid == 0) {
		syscall(SYS_set_robust_list, (void *)0x7000, 24L);
		syscall(SYS_set_tid_address, (void *)0x7004);
		exec_self("no_lists", NULL, NULL, NULL);
		_exit(99);
	}
	CHECK_EQ(reap(pid), 0, "[10.10] exec forgets the robust list and the clear_child_tid address");
}

/* ---- what a zombie still has of its signals ---- */

/* A user of nobody else's, whose queued signals are all ours. */
#define QUEUER 23456

static long queued_of(pid_t pid)
{
	char b[64];
	return proc_status(pid, "SigQ", b, sizeof b) ? atol(b) : -1;
}

static bool mask_is(pid_t pid, const char *key, unsigned long want)
{
	char b[64];
	return proc_status(pid, key, b, sizeof b) && strtoul(b, NULL, 16) == want;
}

static long fill_queue(long n)
{
	for (int sig = SIGRTMIN + 1; sig <= SIGRTMIN + 2; sig++)
		ag_block(sig);
	signal(SIGUSR1, SIG_IGN);
	for (long i = 0; i < n; i++)
		if (sigqueue(getpid(), SIGRTMIN + 1, (union sigval){ 0 }))
			return -1;
	return sys_tgkill(getpid(), getpid(), SIGRTMIN + 2);
}

CASE(signals_of_a_zombie)
{
	NEED_ROOT("[3.11] the signals of a user");
	struct agent *u = spawn(NULL), *z = spawn(NULL);
	REQUIRE(call(u, ag_drop, QUEUER) == 0 && call(z, ag_drop, QUEUER) == 0);
	REQUIRE(queued_of(u->pid) == 0);
	REQUIRE(call(z, fill_queue, 5) == 0);
	CHECK_EQ(queued_of(u->pid), 6, "[3.11,12.7] (what is queued counts against the user)");
	unsigned long one = 1UL << SIGRTMIN, two = 1UL << (SIGRTMIN + 1);
	quit(z, 0);
	REQUIRE(await_zombie(z->pid));
	CHECK(queued_of(u->pid) >= 5, "[3.11] what was sent to a process counts as long as it is a zombie");
	CHECK(mask_is(z->pid, "ShdPnd", one), "[3.11] and is there to be seen");
	CHECK(mask_is(z->pid, "SigPnd", 0) || mask_is(z->pid, "SigPnd", two), "[3.11] what was sent to the thread may be gone");
	CHECK(mask_is(z->pid, "SigBlk", one | two), "[3.11] with what it blocked");
	char ignored[64];
	CHECK(proc_status(z->pid, "SigIgn", ignored, sizeof ignored) && strtoul(ignored, NULL, 16) & 1UL << (SIGUSR1 - 1), "[3.11] and ignored");
	CHECK_OK(kill(z->pid, SIGRTMIN + 3), "[3.12] another signal to it");
	CHECK(mask_is(z->pid, "ShdPnd", one), "[3.12] does not become pending");
	CHECK_EQ(reap(z->pid), 0, "[3.11] it is reaped");
	CHECK_EQ(queued_of(u->pid), 0, "[3.11] and its signals with it");
	struct agent *k = spawn(NULL);
	REQUIRE(call(k, ag_drop, QUEUER) == 0);
	kill(k->pid, SIGKILL);
	REQUIRE(await_zombie(k->pid));
	CHECK(mask_is(k->pid, "ShdPnd", 1UL << (SIGKILL - 1)), "[3.11] who was killed shows SIGKILL");
	CHECK_EQ(queued_of(u->pid), 0, "[7.8] of which nothing is queued");
	reap(k->pid);
	retire(u, NULL);
}

/* ---- 3.17: the ends of a robust list ---- */

CASE(robust_list_ends)
{
	enum { COUNT = 2100, LIMIT = 2048 };
	struct entry { struct entry *next; int word, pad; } *all = mmap(NULL, COUNT * sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static struct { struct entry *next; long offset; struct entry *pending; } list;
	REQUIRE(all != MAP_FAILED);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		for (int i = 0; i < COUNT; i++) {
			all[i].next = i + 1 < COUNT ? &all[i + 1] : (struct entry *)&list;
			all[i].word = sys_gettid();
		}
		list.next = all;
		list.offset = offsetof(struct entry, word);
		_exit(syscall(SYS_set_robust_list, &list, 24L) ? 1 : 0);
	}
	REQUIRE(reap(pid) == 0);
	int done = 0;
	for (int i = 0; i < COUNT; i++)
		done += all[i].word == FUTEX_OWNER_DIED;
	CHECK_EQ(done, LIMIT, "[3.17] 2048 entries are looked at");
	CHECK(all[LIMIT - 1].word == FUTEX_OWNER_DIED && all[LIMIT].word != FUTEX_OWNER_DIED, "[3.17] the first ones");
	/* an entry in the middle that can't be read ends the walk */
	pid = MUST(fork());
	if (pid == 0) {
		for (int i = 0; i < 4; i++) {
			all[i].next = i == 1 ? (struct entry *)0x10 : &all[i + 1];
			all[i].word = sys_gettid();
		}
		list.next = all;
		list.offset = offsetof(struct entry, word);
		_exit(syscall(SYS_set_robust_list, &list, 24L) ? 1 : 0);
	}
	REQUIRE(reap(pid) == 0);
	CHECK(all[0].word == FUTEX_OWNER_DIED && all[1].word == FUTEX_OWNER_DIED, "[3.17] what is before a fault is done");
	CHECK(all[2].word == pid && all[3].word == pid, "[3.17] what is behind it is not");
	/* bit 0 of a pointer says that the futex is one with priority inheritance */
	pid = MUST(fork());
	if (pid == 0) {
		all[0].next = (struct entry *)&list;
		all[0].word = sys_gettid();
		list.next = (struct entry *)((long)all | 1);
		list.offset = offsetof(struct entry, word);
		_exit(syscall(SYS_set_robust_list, &list, 24L) ? 1 : 0);
	}
	REQUIRE(reap(pid) == 0);
	CHECK(all[0].word == FUTEX_OWNER_DIED, "[3.17] bit 0 of an entry's address is no part of it");
}

/* ---- what can be changed of a zombie ---- */

CASE(schedule_of_a_zombie)
{
	struct agent *c = spawn(NULL);
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	pid_t z = c->pid;
	CHECK_OK(setpriority(PRIO_PROCESS, z, 7), "[3.12] setpriority of a zombie");
	errno = 0;
	CHECK_EQ(getpriority(PRIO_PROCESS, z), 7, "[3.12] it has the nice value");
	CHECK_EQ(proc_stat(z, 19), 7, "[3.12] as its stat shows");
	struct sched_param none = { 0 }, some = { 3 };
	CHECK_OK(sched_setscheduler(z, SCHED_BATCH, &none), "[3.12] sched_setscheduler of a zombie");
	CHECK_EQ(sched_getscheduler(z), SCHED_BATCH, "[3.12] it has the policy");
	CHECK_ERR(sched_setscheduler(z, SCHED_BATCH, &some), EINVAL, "[3.12] parameters are checked as ever");
	CHECK_ERR(sched_setscheduler(z, 77, &none), EINVAL, "[3.12] and so is the policy");
	unsigned long cpus[16] = { 1 }, got[16] = { 0 }, zero[16] = { 0 };
	CHECK_OK(syscall(SYS_sched_setaffinity, z, sizeof cpus, cpus), "[3.12] sched_setaffinity of a zombie");
	CHECK(syscall(SYS_sched_getaffinity, z, sizeof got, got) > 0 && got[0] == 1, "[3.12] it has the CPUs");
	CHECK_ERR(syscall(SYS_sched_setaffinity, z, sizeof zero, zero), EINVAL, "[3.12] none at all: EINVAL");
	CHECK_OK(syscall(SYS_ioprio_set, 1L, (long)z, (2L << 13) | 3), "[3.12] ioprio_set of a zombie");
	void *head = &head;
	size_t len = 0;
	CHECK(syscall(SYS_get_robust_list, z, &head, &len) == 0 && head == NULL && len == 24, "[3.12,3.17] the robust list of a zombie is empty");
	IF_ROOT("[3.12] a zombie and another user") {
		struct agent *u = spawn(NULL);
		REQUIRE(call(u, ag_drop, 1000) == 0);
		long nice_it(long pid) { return setpriority(PRIO_PROCESS, pid, 9); }
		long batch_it(long pid) { struct sched_param p = { 0 }; return sched_setscheduler(pid, SCHED_BATCH, &p); }
		long pin_it(long pid) { unsigned long m[16] = { 1 }; return syscall(SYS_sched_setaffinity, pid, sizeof m, m); }
		long io_it(long pid) { return syscall(SYS_ioprio_set, 1L, pid, (2L << 13) | 3); }
		long robust_it(long pid) { void *h; size_t n; return syscall(SYS_get_robust_list, pid, &h, &n); }
		long steal_from(long pid) { int fd = syscall(SYS_pidfd_open, pid, 0); long r = syscall(SYS_pidfd_getfd, fd, 0, 0); int e = errno; close(fd); errno = e; return r; }
		CHECK(call(u, nice_it, z) == -1 && u->err == EPERM, "[3.12] setpriority of another user's: EPERM");
		CHECK(call(u, batch_it, z) == -1 && u->err == EPERM, "[3.12] sched_setscheduler: EPERM");
		CHECK(call(u, pin_it, z) == -1 && u->err == EPERM, "[3.12] sched_setaffinity: EPERM");
		CHECK(call(u, io_it, z) == -1 && u->err == EPERM, "[3.12] ioprio_set: EPERM");
		CHECK(call(u, robust_it, z) == -1 && u->err == EPERM, "[3.12] get_robust_list: EPERM");
		CHECK(call(u, steal_from, z) == -1 && u->err == EPERM, "[3.12,11.10] pidfd_getfd: EPERM, before ESRCH");
		CHECK(steal_from(z) == -1 && errno == ESRCH, "[3.12,11.10] for root: ESRCH");
		retire(u, NULL);
	}
	reap(z);
	CHECK_ERR(sched_setscheduler(z, SCHED_BATCH, &none), ESRCH, "[3.12] reaped: sched_setscheduler is ESRCH");
	CHECK_ERR(syscall(SYS_sched_setaffinity, z, sizeof cpus, cpus), ESRCH, "[3.12] reaped: sched_setaffinity is ESRCH");
	CHECK_ERR(syscall(SYS_ioprio_set, 1L, (long)z, 0L), ESRCH, "[3.12] reaped: ioprio_set is ESRCH");
}
