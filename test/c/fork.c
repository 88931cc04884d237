/* fork.c - section 6: fork, vfork, clone and clone3: flags, limits, what a child starts with (rules 6.2-6.25). */
#include "lib/tap.h"

#include <sys/file.h>

static char stack1[65536] __attribute__((aligned(16)));

/* clone(2) through glibc, with a stack: pid or -errno. */
static long clone_fn(int (*fn)(void *), unsigned long flags, void *arg)
{
	long r = clone(fn, stack1 + sizeof stack1, flags, arg, NULL, NULL, NULL);
	return r < 0 ? -errno : r;
}

CASE(fork_returns)
{
	pid_t self = getpid();
	sh->v[0] = 0;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		sh->v[0] = getpid();
		sh->v[1] = getppid();
		sh->v[2] = sys_gettid();
		_exit(0);
	}
	REQUIRE(reap(pid) == 0);
	CHECK(pid > 0 && sh->v[0] == pid, "[6.1] fork returns the child's pid, which is its getpid");
	CHECK_EQ(sh->v[1], self, "[6.1] the child's parent is the caller");
	CHECK_EQ(sh->v[2], pid, "[6.1] the first thread's tid is the pid");
	pid_t next = MUST(fork());
	if (next == 0)
		_exit(0);
	REQUIRE(reap(next) == 0);
	CHECK(next != pid, "[6.17] a pid is not used again at once");
	CHECK(next > pid || next >= 300, "[6.17] pids go up");
}

CASE(memory_is_copied)
{
	volatile int *priv = map_pages(1);
	*priv = 1;
	int on_stack = 1;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		*priv = 2;
		*(volatile int *)&on_stack = 2;
		sh->v[3] = 77;
		_exit(*priv == 2 ? 0 : 1);
	}
	REQUIRE(reap(pid) == 0);
	CHECK_EQ(*priv, 1, "[6.1] private memory written by the child does not change in the parent");
	CHECK_EQ(*(volatile int *)&on_stack, 1, "[6.1] nor does the stack");
	CHECK_EQ(sh->v[3], 77, "[6.1] shared memory does");
	*priv = 5;
	pid = MUST(fork());
	if (pid == 0) {
		while (sh->w[0] == 0)
			sched_yield();
		_exit(*priv);
	}
	*priv = 6;
	sh->w[0] = 1;
	CHECK_EQ(reap(pid), 5 << 8, "[6.1] what the parent writes after the fork the child does not see");
}

CASE(clone_invalid)
{
	static const struct { unsigned long flags; const char *what; } bad[] = {
		{ CLONE_NEWNS | CLONE_FS, "[6.2] NEWNS with FS is EINVAL" },
		{ CLONE_NEWUSER | CLONE_FS, "[6.2] NEWUSER with FS is EINVAL" },
		{ CLONE_THREAD, "[6.2] THREAD without SIGHAND is EINVAL" },
		{ CLONE_THREAD | CLONE_VM, "[6.2] THREAD with VM but without SIGHAND is EINVAL" },
		{ CLONE_SIGHAND, "[6.2] SIGHAND without VM is EINVAL" },
		{ CLONE_THREAD | CLONE_SIGHAND, "[6.2] THREAD and SIGHAND without VM is EINVAL" },
		{ CLONE_PIDFD | CLONE_DETACHED, "[6.2] PIDFD with DETACHED is EINVAL" },
	};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		long r = syscall(SYS_clone, bad[i].flags | SIGCHLD, 0, &sh->v[0], 0, 0);
		if (r == 0)
			_exit(0);
		CHECK(r == -1 && errno == EINVAL, bad[i].what);
		if (r > 0)
			reap(r);
	}
	CHECK_ERR(reap(1), ECHILD, "[6.2] none of them made a child");
}

CASE(clone_high_bits)
{
	long r = syscall(SYS_clone, 0xabcd00000000UL | SIGCHLD, 0, 0, 0, 0);
	if (r == 0)
		_exit(4);
	CHECK(r > 0 && reap(r) == 4 << 8, "[6.3] legacy clone ignores the bits above 31");
	r = syscall(SYS_clone, CLONE_DETACHED | SIGCHLD, 0, 0, 0, 0);
	if (r == 0)
		_exit(4);
	CHECK(r > 0 && reap(r) == 4 << 8, "[6.3] and DETACHED alone");
	signal(SIGUSR1, SIG_IGN);
	struct agent *a = spawn_flags(NULL, SIGUSR1);
	CHECK_EQ(proc_stat(a->pid, 38), SIGUSR1, "[6.3] the low 8 bits are the exit signal");
	quit(a, 0);
	reap(a->pid);
}

CASE(clone_parent_signal)
{
	struct agent *p = spawn_flags(NULL, SIGUSR2), *s = spawn_flags(p, CLONE_PARENT | SIGUSR1);
	signal(SIGUSR2, SIG_IGN);
	CHECK_EQ(proc_stat(s->pid, 38), SIGUSR2, "[6.4] CLONE_PARENT: the exit signal is the caller's, not the low bits");
	CHECK_EQ(proc_stat(s->pid, 4), getpid(), "[6.4] and the parent the caller's parent");
	quit(s, 0);
	CHECK_EQ(reap(s->pid), 0, "[6.4] who reaps it");
	quit(p, 0);
	reap(p->pid);
}

CASE(settid)
{
	sh->w[0] = sh->w[1] = 0;
	long r = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, &sh->w[0], &sh->w[1], 0);
	if (r == 0)
		_exit(sh->w[0] == getpid() && sh->w[1] == getpid() ? 0 : 1);
	CHECK_EQ(sh->w[0], r, "[6.10] PARENT_SETTID is stored when the parent returns");
	CHECK_EQ(reap(r), 0, "[6.10] both are stored before the child runs user code");
	int priv = 0;
	r = syscall(SYS_clone, CLONE_CHILD_SETTID | SIGCHLD, 0, 0, &priv, 0);
	if (r == 0)
		_exit(priv == getpid() ? 0 : 1);
	CHECK(reap(r) == 0 && priv == 0, "[6.10] CHILD_SETTID writes the child's memory, not the parent's");
	r = syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, 0, 0x10, 0x18, 0);
	if (r == 0)
		_exit(6);
	CHECK(r > 0 && reap(r) == 6 << 8, "[6.10] faults in these stores are ignored");
}

CASE(settls)
{
	long r = syscall(SYS_clone, CLONE_SETTLS | SIGCHLD, 0, 0, 0, 0xffff800000000000UL);
	int e = errno;
	if (r == 0)
		syscall(SYS_exit_group, 0);
	CHECK(r == -1 && e == EPERM, "[6.11] SETTLS with an address outside user space is EPERM");
	if (r > 0)
		reap(r);
}

/* ---- what a child starts with ---- */

static long pending_any(long x)
{
	unsigned long set = ~0UL;
	(void)x;
	return syscall(SYS_rt_sigpending, &set, 8L) ? -1 : set != 0;
}

static long arm(long x)
{
	struct itimerval it = { { 0, 0 }, { 1000, 0 } };
	(void)x;
	return setitimer(ITIMER_REAL, &it, NULL) | setitimer(ITIMER_VIRTUAL, &it, NULL);
}

static long armed(long x)
{
	struct itimerval a, b;
	(void)x;
	getitimer(ITIMER_REAL, &a);
	getitimer(ITIMER_VIRTUAL, &b);
	return a.it_value.tv_sec || a.it_value.tv_usec || b.it_value.tv_sec || b.it_value.tv_usec;
}

static long burn(long us)
{
	struct rusage ru;
	long long end = now_ms() + deadline_ms;
	do
		getrusage(RUSAGE_SELF, &ru);
	while (ru.ru_utime.tv_sec * 1000000L + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec < us && now_ms() < end);
	return 0;
}

static long own_cpu(long x)
{
	struct rusage ru;
	(void)x;
	getrusage(RUSAGE_SELF, &ru);
	return (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000L + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec;
}

CASE(child_starts_without)
{
	struct agent *p = spawn(NULL);
	call(p, ag_block, SIGUSR1);
	kill(p->pid, SIGUSR1);
	sys_tgkill(p->pid, p->pid, SIGUSR1);
	CHECK_EQ(call(p, pending_any, 0), 1, "[6.18] (the parent has pending signals)");
	call(p, arm, 0);
	CHECK_EQ(call(p, armed, 0), 1, "[6.18] (and timers)");
	call(p, burn, 300000);
	struct agent *c = spawn(p);
	CHECK_EQ(call(c, pending_any, 0), 0, "[6.18] a child starts with no pending signals");
	CHECK_EQ(call(c, armed, 0), 0, "[6.18] no interval timers");
	CHECK(call(c, own_cpu, 0) < 300000, "[6.18] its own rusage starts at zero");
	call(p, ag_catch, SIGALRM);
	retire(c, p);
	retire(p, NULL);
}

static long record_lock(long fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	return fcntl(fd, F_SETLK, &fl);
}

CASE(child_locks)
{
	int fd = MUST(open(tmp_path("lock"), O_RDWR | O_CREAT, 0600));
	CHECK_OK(record_lock(fd), "[6.18] (the parent takes a record lock)");
	struct agent *c = spawn(NULL);
	CHECK_ERR(call(c, record_lock, fd), EAGAIN, "[6.18] a child does not inherit record locks");
	retire(c, NULL);
	CHECK_OK(flock(fd, LOCK_EX), "[6.18] (and an flock)");
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(flock(fd, LOCK_EX | LOCK_NB) ? 1 : 0);
	CHECK_EQ(reap(pid), 0, "[6.18,6.19] an flock is shared through the open file");
}

static long get_mask_bit(long sig)
{
	sigset_t s;
	sigprocmask(SIG_BLOCK, NULL, &s);
	return sigismember(&s, sig);
}

static long is_ignored(long sig)
{
	struct sigaction sa;
	sigaction(sig, NULL, &sa);
	return sa.sa_handler == SIG_IGN;
}

static long is_default(long sig)
{
	struct sigaction sa;
	sigaction(sig, NULL, &sa);
	return sa.sa_handler == SIG_DFL;
}

static long altstack_size(long x)
{
	stack_t ss;
	(void)x;
	return sigaltstack(NULL, &ss) ? -1 : ss.ss_flags & SS_DISABLE ? 0 : (long)ss.ss_size;
}

static long comm_is(long x)
{
	char name[16];
	prctl(PR_GET_NAME, name, 0, 0, 0);
	return !strcmp(name, (char *)x);
}

static long cwd_is(long x)
{
	char b[256];
	return getcwd(b, sizeof b) && !strcmp(b, (char *)x);
}

CASE(child_inherits)
{
	static char alt[16384];
	char dir[256];
	signal(SIGUSR1, SIG_IGN);
	siglog_catch(SIGUSR2, 0);
	ag_block(SIGHUP);
	stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
	MUST(sigaltstack(&ss, NULL));
	prctl(PR_SET_NAME, "inherit-me", 0, 0, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	setpriority(PRIO_PROCESS, 0, 3);
	umask(037);
	snprintf(dir, sizeof dir, "%s", tmp_path(""));
	MUST(chdir(dir));
	struct rlimit rl = { 77, 99 };
	setrlimit(RLIMIT_NOFILE, &rl);
	struct agent *c = spawn(NULL);
	CHECK_EQ(call(c, get_mask_bit, SIGHUP), 1, "[6.19] a child inherits the signal mask");
	CHECK_EQ(call(c, is_ignored, SIGUSR1), 1, "[6.19] an ignored disposition");
	CHECK(!call(c, is_ignored, SIGUSR2) && !call(c, is_default, SIGUSR2), "[6.19] a handler");
	CHECK_EQ(call(c, altstack_size, 0), sizeof alt, "[6.19] the alternate stack");
	CHECK(call(c, comm_is, (long)"inherit-me"), "[6.19,1.31] the name");
	CHECK_EQ(syscall(SYS_getpriority, PRIO_PROCESS, c->pid), 17, "[6.19] the nice value");
	CHECK(call(c, cwd_is, (long)dir), "[6.19] the working directory");
	CHECK_EQ(getpgid(c->pid), getpgrp(), "[6.19] the process group");
	CHECK_EQ(getsid(c->pid), getsid(0), "[6.19] the session");
	struct rlimit got = { 0, 0 };
	CHECK(prlimit(c->pid, RLIMIT_NOFILE, NULL, &got) == 0 && got.rlim_cur == 77 && got.rlim_max == 99, "[6.19] limits");
	char v[32];
	CHECK(proc_status(c->pid, "Umask", v, sizeof v) && strtol(v, NULL, 8) == 037, "[6.19] the umask");
	CHECK(proc_status(c->pid, "NoNewPrivs", v, sizeof v) && atoi(v) == 1, "[6.19,1.38] no_new_privs");
	MUST(chdir("/"));
	CHECK(call(c, cwd_is, (long)dir), "[6.19] as a copy: the parent's chdir does not move it");
	call(c, ag_default, SIGUSR1);
	CHECK(is_ignored(SIGUSR1), "[6.19] and its dispositions are its own");
	retire(c, NULL);
}

CASE(child_fds)
{
	int p[2];
	MUST(pipe(p));
	int fd = MUST(open(tmp_path("f"), O_RDWR | O_CREAT, 0600));
	REQUIRE(write(fd, "abcdef", 6) == 6);
	MUST(lseek(fd, 0, SEEK_SET));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char b[3];
		close(p[0]);
		_exit(read(fd, b, 3) == 3 && write(p[1], b, 3) == 3 && close(p[1]) == 0 ? 0 : 1);
	}
	char b[8] = "";
	CHECK_EQ(reap(pid), 0, "[6.18] a child has copies of the descriptors");
	CHECK(read(p[0], b, 3) == 3 && !memcmp(b, "abc", 3), "[6.18] (its data)");
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 3, "[6.18] which share the file offset");
	CHECK_OK(fcntl(p[1], F_GETFD), "[6.18] what it closes stays open in the parent");
}

/* ---- sharing flags ---- */

static int do_chdir(void *x)
{
	umask(0123);
	_exit(chdir(x) ? 1 : 0);
}

CASE(clone_fs)
{
	char b[256];
	umask(022);
	MUST(chdir("/"));
	REQUIRE(reap(clone_fn(do_chdir, SIGCHLD, "/proc")) == 0);
	CHECK(getcwd(b, sizeof b) && !strcmp(b, "/"), "[6.24] without CLONE_FS a child's chdir is its own");
	CHECK_EQ(umask(022), 022, "[6.24] and its umask");
	REQUIRE(reap(clone_fn(do_chdir, CLONE_FS | SIGCHLD, "/proc")) == 0);
	CHECK(getcwd(b, sizeof b) && !strcmp(b, "/proc"), "[6.24] CLONE_FS shares the working directory");
	CHECK_EQ(umask(022), 0123, "[6.24] and the umask");
	MUST(chdir("/"));
}

static int do_close(void *x)
{
	_exit(close((long)x) ? 1 : 0);
}

CASE(clone_files)
{
	int fd = MUST(dup(1));
	REQUIRE(reap(clone_fn(do_close, CLONE_FILES | SIGCHLD, (void *)(long)fd)) == 0);
	CHECK_ERR(fcntl(fd, F_GETFD), EBADF, "[6.24] CLONE_FILES shares the descriptor table");
	fd = MUST(dup(1));
	REQUIRE(reap(clone_fn(do_close, CLONE_FILES | CLONE_VM | SIGCHLD, (void *)(long)fd)) == 0);
	CHECK_ERR(fcntl(fd, F_GETFD), EBADF, "[6.24] also together with CLONE_VM; the child's exit closes nothing else");
	CHECK_OK(fcntl(1, F_GETFD), "[6.24] the others stay open");
}

static volatile int vm_word;

static int do_write(void *x)
{
	vm_word = (long)x;
	syscall(SYS_exit, 0);
	return 0;
}

static int do_sigaction(void *x)
{
	signal((long)x, SIG_IGN);
	syscall(SYS_exit, 0);
	return 0;
}

CASE(clone_vm)
{
	vm_word = 0;
	REQUIRE(reap(clone_fn(do_write, CLONE_VM | SIGCHLD, (void *)5L)) == 0);
	CHECK_EQ(vm_word, 5, "[6.22] CLONE_VM without THREAD: a process that shares memory");
	REQUIRE(reap(clone_fn(do_sigaction, CLONE_VM | SIGCHLD, (void *)(long)SIGUSR1)) == 0);
	CHECK(is_default(SIGUSR1), "[6.19] without SIGHAND its dispositions are its own");
	REQUIRE(reap(clone_fn(do_sigaction, CLONE_VM | CLONE_SIGHAND | SIGCHLD, (void *)(long)SIGUSR1)) == 0);
	CHECK(is_ignored(SIGUSR1), "[6.19] CLONE_SIGHAND shares them");
}

static int report_altstack(void *x)
{
	(void)x;
	sh->v[0] = altstack_size(0);
	syscall(SYS_exit, 0);
	return 0;
}

CASE(altstack_of_child)
{
	static char alt[16384];
	stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
	MUST(sigaltstack(&ss, NULL));
	REQUIRE(reap(clone_fn(report_altstack, CLONE_VM | SIGCHLD, NULL)) == 0);
	CHECK_EQ(sh->v[0], 0, "[6.19] CLONE_VM without VFORK disables the alternate stack");
	REQUIRE(reap(clone_fn(report_altstack, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL)) == 0);
	CHECK_EQ(sh->v[0], sizeof alt, "[6.19] with VFORK it is kept");
}

/* ---- clone3 ---- */

struct args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};

/* clone3 that makes a child which exits with 5: 1 if it did so, 0 if it did something else, -errno on error. */
static long try3(struct args *a, size_t size)
{
	long r = syscall(SYS_clone3, a, size);
	if (r == 0)
		syscall(SYS_exit_group, 5);
	if (r < 0)
		return -errno;
	return reap(r) == 5 << 8;
}

CASE(clone3_basic)
{
	struct args a = { .exit_signal = SIGCHLD };
	CHECK_EQ(try3(&a, 64), 1, "[6.5] clone3 with size 64");
	CHECK_EQ(try3(&a, 80), 1, "[6.5] with size 80");
	CHECK_EQ(try3(&a, 88), 1, "[6.5] with size 88");
	CHECK_EQ(try3(&a, 63), -EINVAL, "[6.5] with size 63: EINVAL");
	CHECK_EQ(try3(&a, 0), -EINVAL, "[6.5] with size 0: EINVAL");
	CHECK_EQ(try3(&a, 4097), -E2BIG, "[6.5] with size 4097: E2BIG");
	CHECK_EQ(try3((void *)0x10, 88), -EFAULT, "[6.5] bad pointer: EFAULT");
	char *page = map_pages(1);
	memcpy(page, &a, sizeof a);
	CHECK_EQ(try3((void *)page, 4096), 1, "[6.5] larger with a zero tail");
	page[200] = 1;
	CHECK_EQ(try3((void *)page, 4096), -E2BIG, "[6.5] larger with a tail that is not zero: E2BIG");
	char *edge = map_edge();
	memcpy(edge - 40, &a, 40);
	CHECK_EQ(try3((void *)(edge - 40), 88), -EFAULT, "[6.5] a struct that runs into a hole: EFAULT");
}

CASE(clone3_invalid)
{
	static const struct { struct args a; const char *what; } bad[] = {
		{ { .flags = 1ULL << 34, .exit_signal = SIGCHLD }, "[6.6] unknown flag, bit 34" },
		{ { .flags = 1ULL << 63, .exit_signal = SIGCHLD }, "[6.6] unknown flag, bit 63" },
		{ { .flags = CLONE_DETACHED, .exit_signal = SIGCHLD }, "[6.6] DETACHED" },
		{ { .flags = SIGCHLD }, "[6.6] an exit signal in the flags" },
		{ { .exit_signal = 65 }, "[6.6] exit_signal 65" },
		{ { .exit_signal = 0x100 | SIGCHLD }, "[6.6] exit_signal with bits above 0xff" },
		{ { .flags = CLONE_PARENT, .exit_signal = SIGCHLD }, "[6.6] exit_signal with CLONE_PARENT" },
		{ { .flags = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM, .exit_signal = SIGCHLD }, "[6.6] exit_signal with CLONE_THREAD" },
		{ { .flags = 1ULL << 32 | CLONE_SIGHAND | CLONE_VM, .exit_signal = SIGCHLD }, "[6.6] CLEAR_SIGHAND with SIGHAND" },
		{ { .stack = 0x10000, .exit_signal = SIGCHLD }, "[6.6] a stack without a size" },
		{ { .stack_size = 0x1000, .exit_signal = SIGCHLD }, "[6.6] a stack size without a stack" },
		{ { .stack = 0xffff800000000000ULL, .stack_size = 0x1000, .exit_signal = SIGCHLD }, "[6.6] a stack outside user space" },
		{ { .flags = CLONE_SIGHAND, .exit_signal = SIGCHLD }, "[6.2] SIGHAND without VM" },
		{ { .set_tid_size = 1, .exit_signal = SIGCHLD }, "[6.7] a set_tid size without a pointer" },
		{ { .set_tid = 0x10000, .exit_signal = SIGCHLD }, "[6.7] a set_tid pointer without a size" },
	};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct args a = bad[i].a;
		CHECK_EQ(try3(&a, sizeof a), -EINVAL, bad[i].what);
	}
}

static long sighand_child(long ignored_and_caught)
{
	struct args a = { .flags = 1ULL << 32, .exit_signal = SIGCHLD };
	(void)ignored_and_caught;
	long r = syscall(SYS_clone3, &a, sizeof a);
	if (r == 0)
		syscall(SYS_exit_group, is_ignored(SIGUSR1) | is_default(SIGUSR2) << 1);
	return r < 0 ? -1 : reap(r);
}

CASE(clear_sighand)
{
	signal(SIGUSR1, SIG_IGN);
	siglog_catch(SIGUSR2, 0);
	CHECK_EQ(sighand_child(0), 3 << 8, "[6.21] CLEAR_SIGHAND: handlers become default, ignored stays ignored");
	CHECK(!is_default(SIGUSR2), "[6.21] the parent keeps its handler");
}

CASE(clone3_settid)
{
	struct args a = { .flags = CLONE_PARENT_SETTID | CLONE_CHILD_SETTID, .exit_signal = SIGCHLD,
			  .parent_tid = (uint64_t)&sh->w[0], .child_tid = (uint64_t)&sh->w[1] };
	long r = syscall(SYS_clone3, &a, sizeof a);
	if (r == 0)
		syscall(SYS_exit_group, sh->w[1] == getpid() ? 5 : 6);
	CHECK(r > 0 && reap(r) == 5 << 8, "[6.10] clone3 with CHILD_SETTID");
	CHECK_EQ(sh->w[0], r, "[6.10] and PARENT_SETTID");
}

/* ---- limits ---- */

static long limit_nproc(long n)
{
	struct rlimit rl = { n, n };
	return setrlimit(RLIMIT_NPROC, &rl);
}

/* Fork children that stay until all are made; how many there were, errno of the failure in out[0]. */
static long bomb(long max)
{
	long n = 0;
	pid_t pid[64];
	while (n < max && n < 64) {
		pid[n] = fork();
		if (pid[n] == 0)
			for (;;)
				pause();
		if (pid[n] < 0)
			break;
		n++;
	}
	me->out[0] = errno;
	for (long i = 0; i < n; i++) {
		kill(pid[i], SIGKILL);
		reap(pid[i]);
	}
	return n;
}

CASE(nproc)
{
	NEED_ROOT("[6.13] RLIMIT_NPROC");
	struct agent *p = spawn(NULL);
	REQUIRE(call(p, ag_drop, 61235) == 0);
	REQUIRE(call(p, limit_nproc, 11) == 0);
	CHECK_EQ(call(p, bomb, 60), 10, "[6.13,13.16] RLIMIT_NPROC 11: ten children and then no more");
	CHECK_EQ(p->out[0], EAGAIN, "[6.13] the failure is EAGAIN");
	CHECK_EQ(call(p, bomb, 60), 10, "[13.16] after all are reaped the count is at its baseline");
	struct agent *t[4];
	for (int i = 0; i < 4; i++)
		t[i] = spawn_thread(p);
	CHECK_EQ(call(p, bomb, 60), 6, "[6.13] threads count, too");
	(void)t;
	retire(p, NULL);
	struct agent *r = spawn(NULL);
	REQUIRE(call(r, limit_nproc, 1) == 0);
	CHECK_EQ(call(r, bomb, 5), 5, "[6.13] root is exempt");
	retire(r, NULL);
}

/* ---- unshare ---- */

static long do_unshare(long flags)
{
	return unshare(flags);
}

CASE(unshare_flags)
{
	struct agent *p = spawn(NULL);
	CHECK_OK(call(p, do_unshare, 0), "[6.25] unshare(0)");
	CHECK_OK(call(p, do_unshare, CLONE_FILES | CLONE_FS), "[6.25] unshare of files and fs");
	CHECK_OK(call(p, do_unshare, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM),
		 "[6.25] THREAD, SIGHAND, VM are no-ops for a single thread");
	CHECK_ERR(call(p, do_unshare, SIGCHLD), EINVAL, "[6.25] signal bits: EINVAL");
	CHECK_ERR(call(p, do_unshare, CLONE_PARENT), EINVAL, "[6.25] another flag: EINVAL");
	struct agent *t = spawn_thread(p);
	CHECK_ERR(call(p, do_unshare, CLONE_THREAD), EINVAL, "[6.25] THREAD with two threads: EINVAL");
	CHECK_ERR(call(t, do_unshare, CLONE_SIGHAND), EINVAL, "[6.25] SIGHAND with two threads: EINVAL");
	CHECK_ERR(call(t, do_unshare, CLONE_VM), EINVAL, "[6.25] VM with two threads: EINVAL");
	CHECK_OK(call(t, do_unshare, CLONE_FILES), "[6.25] FILES in one thread of several");
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	CHECK_ERR(call(t, do_unshare, CLONE_THREAD), EINVAL, "[6.25] a leader that is dead counts");
	retire(t, NULL);
}

/* In a child that shares memory: errno of each unshare in w[]. */
static int try_unshares(void *arg)
{
	static const unsigned flags[] = { CLONE_THREAD, CLONE_SIGHAND, CLONE_VM };
	(void)arg;
	for (int i = 0; i < 3; i++)
		sh->w[i] = syscall(SYS_unshare, flags[i]) == 0 ? 0 : errno;
	return 0;
}

static void unshares_of(unsigned flags)
{
	static char stack[32768] __attribute__((aligned(16)));
	reap(MUST(clone(try_unshares, stack + sizeof stack, flags | SIGCHLD, NULL)));
}

CASE(unshare_what_is_shared)
{
	unshares_of(CLONE_VM);
	CHECK(sh->w[0] == 0 && sh->w[1] == 0, "[6.25] THREAD and SIGHAND with memory shared between processes");
	CHECK_EQ(sh->w[2], EINVAL, "[6.25] VM: EINVAL");
	unshares_of(CLONE_VM | CLONE_SIGHAND);
	CHECK_EQ(sh->w[0], 0, "[6.25] THREAD with handlers shared between processes");
	CHECK(sh->w[1] == EINVAL && sh->w[2] == EINVAL, "[6.25] SIGHAND and VM: EINVAL");
}

static long close_it(long fd) { return close(fd); }
static long is_open(long fd) { return fcntl(fd, F_GETFD) >= 0; }

CASE(unshare_files)
{
	int fd = MUST(dup(1));
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	REQUIRE(call(t, do_unshare, CLONE_FILES) == 0);
	CHECK_OK(call(t, close_it, fd), "[6.24] a thread with a table of its own closes a descriptor");
	CHECK_EQ(call(p, is_open, fd), 1, "[6.24] it stays open in the others");
	retire(p, NULL);
}

/* ---- signals around fork ---- */

CASE_T(fork_with_signals, 60)
{
	/* 6.16: fork under a hail of signals never fails with EINTR and never loses a child */
	int n = iterations(300), made = 0;
	struct itimerval it = { { 0, 500 }, { 0, 500 } }, off = { { 0, 0 }, { 0, 0 } };
	siglog_catch(SIGALRM, 0);
	setitimer(ITIMER_REAL, &it, NULL);
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		if (pid > 0)
			made += reap(pid) == 0;
	}
	setitimer(ITIMER_REAL, &off, NULL);
	CHECK_EQ(made, n, "[6.16] fork restarts by itself when signals arrive");
}

/* ---- what else excludes each other, and in which order it is checked ---- */

CASE(clone_invalid_namespaces)
{
	static const struct { unsigned long flags; const char *what; } bad[] = {
		{ CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWUSER, "[6.2] THREAD with NEWUSER is EINVAL" },
		{ CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWPID, "[6.2] THREAD with NEWPID is EINVAL" },
		{ CLONE_NEWIPC | CLONE_SYSVSEM, "[6.2] NEWIPC with SYSVSEM is EINVAL" },
	};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		long r = syscall(SYS_clone, bad[i].flags | SIGCHLD, stack1 + sizeof stack1, &sh->v[0], 0, 0);
		if (r == 0)
			_exit(0);
		if (errno == EPERM && geteuid() != 0)
			tap_skip(bad[i].what, "needs root");
		else
			CHECK(r == -1 && errno == EINVAL, bad[i].what);
	}
	/* a member of another thread count: unshare of a user namespace */
	struct agent *p = spawn(NULL);
	spawn_thread(p);
	CHECK_ERR(call(p, do_unshare, CLONE_NEWUSER), EINVAL, "[6.25] NEWUSER with two threads: EINVAL");
	CHECK_ERR(call(p, do_unshare, 1UL << 40), EINVAL, "[6.25] a flag above 32 bits: EINVAL");
	retire(p, NULL);
}

static long clone_errno(long flags)
{
	long r = syscall(SYS_clone, flags | SIGCHLD, 0, &sh->v[0], 0, 0);
	if (r == 0)
		syscall(SYS_exit_group, 0);
	if (r > 0)
		reap(r);
	return r < 0 ? -errno : 0;
}

static long set_tid_errno(long tid)
{
	pid_t t = tid;
	struct args a = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&t, .set_tid_size = 1 };
	return try3(&a, sizeof a);
}

CASE(clone_order)
{
	NEED_ROOT("[6.1] order of checks");
	struct agent *p = spawn(NULL);
	REQUIRE(call(p, ag_drop, 61237) == 0);
	REQUIRE(call(p, limit_nproc, 1) == 0);
	CHECK_EQ(call(p, clone_errno, 0), -EAGAIN, "[6.1] (no room for a child)");
	CHECK_EQ(call(p, clone_errno, CLONE_SIGHAND), -EINVAL, "[6.1] flags that exclude each other come before the limit");
	CHECK_EQ(call(p, set_tid_errno, 1), -EAGAIN, "[6.1] the limit comes before the choice of the number");
	CHECK_EQ(call(p, clone_errno, CLONE_NEWUTS), -EAGAIN, "[6.1] and before namespaces");
	retire(p, NULL);
	p = spawn(NULL);
	REQUIRE(call(p, ag_drop, 61237) == 0);
	CHECK_EQ(call(p, set_tid_errno, 1), -EPERM, "[6.7] set_tid without privilege: EPERM");
	CHECK_EQ(call(p, set_tid_errno, 0), -EINVAL, "[6.7] after the check of its range");
	retire(p, NULL);
}

CASE(into_cgroup)
{
	struct args a = { .flags = 1ULL << 33, .exit_signal = SIGCHLD, .cgroup = 1ULL << 31 };
	CHECK_EQ(try3(&a, sizeof a), -EINVAL, "[6.8] a cgroup above INT_MAX: EINVAL");
	a.cgroup = 0;
	CHECK_EQ(try3(&a, 80), -EINVAL, "[6.8] a size without the field: EINVAL");
	a.cgroup = 999;
	CHECK_EQ(try3(&a, sizeof a), -EBADF, "[6.8] not open: EBADF");
	a.cgroup = MUST(open("/", O_RDONLY | O_DIRECTORY));
	CHECK_EQ(try3(&a, sizeof a), -EBADF, "[6.8] not a directory of cgroups: EBADF");
	a.cgroup = 999;
	a.flags |= CLONE_PIDFD;
	a.pidfd = (uintptr_t)BADPTR;
	CHECK_EQ(try3(&a, sizeof a), -EFAULT, "[6.1] after the pidfd is stored: EFAULT");
	pid_t self = getpid();
	a.flags = 1ULL << 33;
	a.set_tid = (uintptr_t)&self;
	a.set_tid_size = 1;
	if (geteuid() == 0)
		CHECK_EQ(try3(&a, sizeof a), -EEXIST, "[6.1] and after the number is taken: EEXIST");
	a.set_tid_size = a.set_tid = 0;
	a.flags = 0;
	CHECK_EQ(try3(&a, sizeof a), 1, "[6.8] without the flag the field is ignored");
}

/* ---- what is inherited and what is not, second part ---- */

static long locked_kib(long x)
{
	char v[64];
	(void)x;
	return proc_status(getpid(), "VmLck", v, sizeof v) ? atol(v) : -1;
}

static long children_cpu(long x)
{
	struct rusage ru;
	(void)x;
	getrusage(RUSAGE_CHILDREN, &ru);
	return (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000L + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec + ru.ru_minflt;
}

static long robust_head(long x)
{
	void *list = (void *)1;
	size_t len;
	(void)x;
	return syscall(SYS_get_robust_list, 0, &list, &len) ? -1 : (long)list;
}

static long tid_address(long x)
{
	int *tid = (int *)1;
	(void)x;
	return prctl(PR_GET_TID_ADDRESS, &tid, 0, 0, 0) ? -1 : (long)tid;
}

static long prctl_get(long option) { return prctl(option, 0, 0, 0, 0); }
static long personality_of(long x) { (void)x; return syscall(SYS_personality, 0xffffffffUL); }

static long oom_adj(long x)
{
	char b[32];
	(void)x;
	return read_file("/proc/self/oom_score_adj", b, sizeof b) > 0 ? atoi(b) : -9999;
}

static long prepare_attributes(long x)
{
	(void)x;
	prctl(PR_SET_TIMERSLACK, 123456, 0, 0, 0);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	syscall(SYS_personality, 0x0040000);	/* ADDR_NO_RANDOMIZE */
	struct sched_param sp = { 0 };
	sched_setscheduler(0, SCHED_BATCH, &sp);
	return 0;
}

static long set_oom_adj(long x)
{
	(void)x;
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	long r = fd >= 0 && write(fd, "123", 3) == 3 ? 0 : -1;
	close(fd);
	return r;
}

static long lock_page(long x)
{
	(void)x;
	char *p = map_pages(1);
	*p = 1;
	return mlock(p, 4096);
}

static long set_lists(long x)
{
	(void)x;
	syscall(SYS_set_tid_address, (void *)0x7004);
	return syscall(SYS_set_robust_list, (void *)0x7000, 24L);
}

static long policy_of(long x) { (void)x; return sched_getscheduler(0); }

static long batch_reset(long x)
{
	struct sched_param sp = { 0 };
	(void)x;
	return sched_setscheduler(0, SCHED_BATCH | 0x40000000 /* SCHED_RESET_ON_FORK */, &sp);
}

static long fifo_reset(long x)
{
	struct sched_param sp = { .sched_priority = 1 };
	(void)x;
	return sched_setscheduler(0, SCHED_FIFO | 0x40000000, &sp);
}

CASE(child_inherits_more)
{
	struct agent *p = spawn(NULL);
	REQUIRE(call(p, set_oom_adj, 0) == 0);
	call(p, prepare_attributes, 0);
	struct agent *c = spawn(p);
	CHECK_EQ(call(c, prctl_get, PR_GET_TIMERSLACK), 123456, "[6.19,1.43] the timer slack");
	CHECK_EQ(call(c, prctl_get, PR_GET_DUMPABLE), 0, "[6.19,1.34] dumpable");
	CHECK_EQ(call(c, prctl_get, PR_GET_KEEPCAPS), 1, "[6.19,1.39] keepcaps");
	CHECK_EQ(call(c, prctl_get, PR_GET_SECUREBITS), call(p, prctl_get, PR_GET_SECUREBITS), "[6.19,1.42] securebits");
	CHECK_EQ(call(c, personality_of, 0), 0x0040000, "[6.19] the personality");
	CHECK_EQ(call(c, policy_of, 0), SCHED_BATCH, "[6.19] the scheduling policy");
	retire(c, p);
	REQUIRE(call(p, batch_reset, 0) == 0);
	c = spawn(p);
	CHECK_EQ(call(c, policy_of, 0), SCHED_BATCH, "[6.19] a policy that is no real-time one stays with RESET_ON_FORK");
	retire(c, p);
	if (geteuid() == 0) {
		REQUIRE(call(p, fifo_reset, 0) == 0);
		c = spawn(p);
		CHECK_EQ(call(c, policy_of, 0), SCHED_OTHER, "[6.19] a real-time policy does not");
		CHECK_EQ(call(p, policy_of, 0), SCHED_FIFO | 0x40000000, "[6.19] the parent keeps it, and the flag");
		retire(c, p);
	}
	retire(p, NULL);
	p = spawn(NULL);
	REQUIRE(call(p, set_oom_adj, 0) == 0);
	c = spawn(p);
	CHECK_EQ(call(c, oom_adj, 0), 123, "[6.19] oom_score_adj");
	retire(c, p);
	retire(p, NULL);
}

CASE(child_starts_without_more)
{
	struct agent *p = spawn(NULL);
	REQUIRE(call(p, lock_page, 0) == 0);
	CHECK(call(p, locked_kib, 0) >= 4, "[6.18] (the parent has locked memory)");
	long k = call(p, ag_fork_exit, 0);
	REQUIRE(call(p, ag_reap, k) == k);
	CHECK(call(p, children_cpu, 0) > 0, "[6.18] (and a reaped child)");
	REQUIRE(call(p, set_lists, 0) == 0);
	CHECK(call(p, robust_head, 0) == 0x7000 && call(p, tid_address, 0) == 0x7004, "[6.20] (and both lists of thread exit)");
	struct agent *c = spawn(p);
	CHECK_EQ(call(c, locked_kib, 0), 0, "[6.18] a child has no locked memory");
	CHECK_EQ(call(c, children_cpu, 0), 0, "[6.18] and nothing in RUSAGE_CHILDREN");
	CHECK_EQ(call(c, robust_head, 0), 0, "[6.20] its robust list is empty");
	CHECK_EQ(call(c, tid_address, 0), 0, "[6.20,1.44] and its clear_child_tid address");
	retire(c, p);
	retire(p, NULL);
}

/* ---- more of what goes along ---- */

static long fork_errno(long x)
{
	(void)x;
	pid_t p = fork();
	if (p == 0)
		_exit(0);
	if (p < 0)
		return errno;
	waitpid(p, NULL, 0);
	return 0;
}

/* Drops to a user of its own with nothing but capability `cap` (-1: none), allowed one process. */
enum { NO_CAP = 98 };
static int fork_with(int cap)
{
	pid_t p = fork();
	if (p == 0) {
		struct rlimit rl = { 1, 1 };
		prctl(PR_SET_KEEPCAPS, 1);
		if (setrlimit(RLIMIT_NPROC, &rl) || setresuid(61241, 61241, 61241))
			_exit(99);
		struct { unsigned version; int pid; } head = { 0x20080522, 0 };
		struct { unsigned effective, permitted, inheritable; } caps[2] = { 0 };
		if (cap >= 0)
			caps[0].effective = caps[0].permitted = 1U << cap;
		if (syscall(SYS_capset, &head, caps))
			_exit(NO_CAP);
		_exit(fork_errno(0));
	}
	return WEXITSTATUS(reap(p));
}

CASE(exempt_from_limit)
{
	NEED_ROOT("[6.13] who is exempt from RLIMIT_NPROC");
	enum { CAP_KILL_ = 5, CAP_SYS_ADMIN_ = 21, CAP_SYS_RESOURCE_ = 24 };
	CHECK_EQ(fork_with(-1), EAGAIN, "[6.13] a user at its limit: EAGAIN");
	CHECK_EQ(fork_with(CAP_KILL_), EAGAIN, "[6.13] with another capability as well");
	static const struct { int cap; const char *text; } exempt[] = {
		{ CAP_SYS_RESOURCE_, "[6.13] CAP_SYS_RESOURCE is exempt" }, { CAP_SYS_ADMIN_, "[6.13] and CAP_SYS_ADMIN" },
	};
	for (int i = 0; i < 2; i++) {
		int error = fork_with(exempt[i].cap);
		if (error == NO_CAP)
			tap_skip(exempt[i].text, "root has not got it here");
		else
			CHECK_EQ(error, 0, exempt[i].text);
	}
}

CASE(shared_root)
{
	NEED_ROOT("[6.24] CLONE_FS and the root directory");
	for (int share = 0; share < 2; share++) {
		pid_t outer = fork();
		if (outer == 0) {
			mkdir(tmp_path("root"), 0755);
			pid_t p = raw_clone((share ? CLONE_FS : 0) | SIGCHLD);
			if (p == 0)
				_exit(chroot(tmp_path("root")) != 0);
			int status = reap(p);
			_exit(status ? 9 : access("/proc", F_OK) != 0);
		}
		CHECK_EQ(WEXITSTATUS(reap(outer)), share, share ? "[6.24] CLONE_FS shares the root directory" : "[6.24] without it a child's chroot is its own");
	}
}

CASE(inherited_ioprio)
{
	long mine = 2L << 13 | 6;
	REQUIRE(syscall(SYS_ioprio_set, 1L, 0L, mine) == 0);
	pid_t p = fork();
	if (p == 0)
		_exit(syscall(SYS_ioprio_get, 1L, 0L) != mine);
	CHECK_EQ(reap(p), 0, "[6.19] the priority of input and output");
}

static char thread_stack[16384] __attribute__((aligned(16)));
static int thread_of_signal(void *x)
{
	(void)x;
	sh->w[5] = 1;
	syscall(SYS_exit, 0);
	return 0;
}

CASE(exit_signal_of_threads)
{
	pid_t p = fork();
	if (p == 0) {
		siglog_catch(SIGUSR1, 0);
		int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | SIGUSR1;
		pid_t tid = clone(thread_of_signal, thread_stack + sizeof thread_stack, flags, NULL);
		if (tid < 0)
			_exit(9);
		AWAIT(sh->w[5] == 1 && task_state(getpid(), tid) == 0);
		_exit(siglog_count(getpid(), SIGUSR1) != 0);
	}
	CHECK_EQ(reap(p), 0, "[6.4] CLONE_THREAD ignores the exit signal: nobody is told of a thread's end");
}
