/* exhaust.c - running out: of processes, of descriptors, of memory, of pids; and coming back from it. */
#include "lib/tap.h"

#include <pthread.h>
#include <sys/mount.h>

static long limit_nproc(long n)
{
	struct rlimit rl = { n, n };
	return setrlimit(RLIMIT_NPROC, &rl);
}

static long fork_bomb(long max)
{
	/* every process forks until it fails; all wait for the word and leave; how many in sh->v[0] */
	(void)max;
	int go = sh->w[5];
	for (;;) {
		pid_t pid = fork();
		if (pid < 0) {
			me->out[0] = errno;
			break;
		}
		if (pid == 0)
			__atomic_add_fetch(&sh->v[0], 1, __ATOMIC_SEQ_CST);
	}
	if (getpid() != me->self) {
		while (sh->w[5] == go)
			sched_yield();
		while (waitpid(-1, NULL, 0) > 0)
			;
		_exit(0);
	}
	return 0;
}

/* One process forks until it fails: how many children it got. */
static long fill(long x)
{
	long n = 0;
	pid_t pid[128];
	(void)x;
	while (n < 128 && (pid[n] = fork()) >= 0) {
		if (pid[n] == 0)
			for (;;)
				pause();
		n++;
	}
	for (long i = 0; i < n; i++) {
		kill(pid[i], SIGKILL);
		reap(pid[i]);
	}
	return n;
}

CASE_T(fork_bomb_bounded, 60)
{
	NEED_ROOT("[6.13] a fork bomb within RLIMIT_NPROC");
	struct agent *p = spawn(NULL);
	REQUIRE(call(p, ag_drop, 61237) == 0);
	REQUIRE(call(p, limit_nproc, 60) == 0);
	for (int i = 0; i < 2; i++) {
		sh->v[0] = 0;
		call(p, fork_bomb, 0);
		CHECK_EQ(p->out[0], EAGAIN, "[6.13] a fork bomb ends in EAGAIN");
		/* the last ones may be born and not have counted themselves yet; those who fork at the same moment may
		   each be one too many, 13.16 */
		(void)AWAIT(__atomic_load_n(&sh->v[0], __ATOMIC_SEQ_CST) >= 59);
		CHECK(sh->v[0] >= 50 && sh->v[0] <= 59 + 8, "[6.13,13.16] with about as many processes as the limit");
		set_word(&sh->w[5], i + 1);
		while (call(p, ag_reap, -1) > 0)
			;
	}
	CHECK_EQ(call(p, fill, 0), 59, "[13.16] after all are reaped the count is at its baseline: a lone forker gets what is left");
	retire(p, NULL);
}

static int count_fds(void)
{
	int n = 0;
	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

CASE(no_fd_leak)
{
	int before = count_fds(), p[2], n = iterations(300);
	for (int i = 0; i < n; i++) {
		MUST(pipe(p));
		int d = MUST(dup(p[0]));
		close(p[0]);
		close(p[1]);
		close(d);
		open("/nonexistent", O_RDONLY);
		open("/", O_WRONLY);
	}
	CHECK_EQ(count_fds(), before, "[leak] descriptors are all closed after many opens and failures");
}

CASE(memory_limit)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit rl = { 48 << 20, 48 << 20 };
		setrlimit(RLIMIT_AS, &rl);
		long n = 0;
		while (mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED && n < 1000)
			n++;
		_exit(errno == ENOMEM && n > 10 && n <= 48 ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[exhaust] out of address space: ENOMEM");
}

CASE_T(memory_given_back, 60)
{
	/* allocate and touch 16 MiB in 60 processes, one after the other: far more in sum than a guest has */
	int ok = 0, n = iterations(300) / 5 + 1;
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			char *p = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (p == MAP_FAILED)
				_exit(1);
			for (long o = 0; o < 16 << 20; o += 4096)
				p[o] = 1;
			_exit(0);
		}
		ok += pid > 0 && reap(pid) == 0;
	}
	CHECK_EQ(ok, n, "[leak] memory of dead processes is given back");
}

CASE_T(many_processes_in_turn, 60)
{
	int n = iterations(300) * 3, ok = 0;
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(i & 63);
		ok += pid > 0 && reap(pid) == (i & 63) << 8;
	}
	CHECK_EQ(ok, n, "[leak] processes are made and reaped in turn");
}

CASE_T(many_zombies, 60)
{
	int n = iterations(300) * 2, made = 0, reaped = 0;
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		if (pid < 0)
			break;
		made++;
	}
	pid_t last = 0, r;
	bool order = true;
	while ((r = waitpid(-1, NULL, 0)) > 0) {
		reaped++;
		last = r;
	}
	(void)last;
	(void)order;
	CHECK(made == n && reaped == n && errno == ECHILD, "[leak] hundreds of zombies at once are all reaped");
}

static void *thread_stays(void *x)
{
	while (!sh->w[6])
		sched_yield();
	return x;
}

CASE(thread_limit)
{
	NEED_ROOT("[6.13] threads within RLIMIT_NPROC");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		pthread_t t[64];
		pthread_attr_t a;
		int n = 0, e = 0;
		REQUIRE(ag_drop(61238) == 0 && limit_nproc(20) == 0);
		pthread_attr_init(&a);
		pthread_attr_setstacksize(&a, 65536);
		while (n < 64 && (e = pthread_create(&t[n], &a, thread_stays, NULL)) == 0)
			n++;
		sh->w[6] = 1;
		for (int i = 0; i < n; i++)
			pthread_join(t[i], NULL);
		_exit(n == 19 && e == EAGAIN ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[6.13] threads count: the twentieth is EAGAIN");
}

CASE_T(pipes_given_back, 60)
{
	/* full pipes, closed without being read */
	static char b[65536];
	int ok = 0, n = iterations(300), p[2];
	for (int i = 0; i < n; i++) {
		if (pipe(p))
			break;
		ok += write(p[1], b, sizeof b) == sizeof b;
		close(p[0]);
		close(p[1]);
	}
	CHECK_EQ(ok, n, "[leak] the memory of pipes is given back");
}

CASE_T(files_given_back, 60)
{
	static char b[65536];
	char name[256];
	int ok = 0, n = iterations(300);
	snprintf(name, sizeof name, "%s", tmp_path("f"));
	for (int i = 0; i < n; i++) {
		int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
		bool w = true;
		for (int k = 0; k < 16 && w; k++)
			w = write(fd, b, sizeof b) == sizeof b;
		ok += fd >= 0 && w && unlink(name) == 0;
		close(fd);
	}
	CHECK_EQ(ok, n, "[leak] the memory of unlinked files is given back");
}

/* ---- what the kernel keeps for programs ---- */

/* A tmpfs of its own to work in. */
static const char *own_tmpfs(void)
{
	static char dir[256];
	snprintf(dir, sizeof dir, "%s", tmp_path("mnt"));
	mkdir(dir, 0755);
	MUST(mount("exhaust", dir, "tmpfs", 0, "nr_inodes=20000"));
	MUST(chdir(dir));
	return dir;
}

static int go_down(int levels)
{
	int n = 0;
	while (n < levels && mkdir("d", 0755) == 0 && chdir("d") == 0)
		n++;
	return n;
}

CASE_T(deep_directories, 60)
{
	NEED_ROOT("[exhaust] directories nested deeper than a kernel stack");
	const char *dir = own_tmpfs();
	CHECK_EQ(go_down(5000), 5000, "[exhaust] directories in one another");
	/* all are removed while somebody works in the last */
	pid_t pid = MUST(fork());
	if (pid == 0)
		for (;;)
			pause();
	int n = 0;
	while (n < 5000 && chdir("..") == 0 && rmdir("d") == 0)
		n++;
	CHECK_EQ(n, 5000, "[exhaust] can all be removed under somebody");
	kill(pid, SIGKILL);
	CHECK_EQ(reap(pid), SIGKILL, "[exhaust] and go when that one does");
	CHECK_EQ(go_down(5000), 5000, "[exhaust] once more");
	MUST(chdir("/"));
	CHECK_OK(umount(dir), "[exhaust] they go with their file system");
}

/* Fills pipes until something runs out; killed if that is memory. */
static void fill_pipes(int ready)
{
	static char b[4096];
	struct rlimit rl = { 4096, 4096 };
	int p[2];
	setrlimit(RLIMIT_NOFILE, &rl);
	while (pipe2(p, O_NONBLOCK) == 0)
		while (write(p[1], b, sizeof b) > 0)
			;
	write(ready, b, 1);
	for (;;)
		pause();
}

CASE_T(kernel_memory, 100)
{
	if (!on_foster()) {
		tap_skip("[exhaust] pipes that fill all memory", "a real machine has too much");
		return;
	}
	pid_t pid[40];
	int p[2], n = 0, killed = 0;
	MUST(pipe(p));
	for (; n < 40 && (pid[n] = fork()) >= 0; n++)
		if (pid[n] == 0)
			fill_pipes(p[1]);
	close(p[1]);
	/* until the first is killed; forks fail too once memory is short */
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	char c;
	int full = 0, status;
	for (int i = 0; i < 6000 && killed == 0 && full < n; i++) {
		full += read(p[0], &c, 1) == 1;
		killed += waitpid(-1, &status, WNOHANG) > 0 && status == SIGKILL;
		usleep(10000);
	}
	for (int i = 0; i < n; i++)
		kill(pid[i], SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	CHECK(killed > 0, "[exhaust] what is in pipes fills the memory, and somebody is killed for it");
	pid_t after = MUST(fork());
	if (after == 0)
		_exit(7);
	CHECK_EQ(reap(after), 7 << 8, "[exhaust] the machine goes on");
}

/* A line of /proc/meminfo, in KiB. */
static long meminfo(const char *format)
{
	char line[128];
	long kib = 0;
	FILE *f = fopen("/proc/meminfo", "r");
	REQUIRE(f != NULL);
	while (fgets(line, sizeof line, f) && sscanf(line, format, &kib) != 1)
		;
	fclose(f);
	return kib;
}

/* A text of /proc that is longer than any piece of memory that is left. */
CASE_T(long_text, 60)
{
	enum { AREAS = 60000, SMALL = 1000000 };
	static char b[4096];
	/* programs have none of Foster's last 32nd, at most 32 MiB: who asks is killed */
	long enough = meminfo("MemTotal: %ld") / 32 + 4000;
	for (long i = 0; i < AREAS; i++)
		MUST(mmap(NULL, 4096, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ? 0 : -1);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		for (long i = 0; meminfo("MemFree: %ld") > enough && meminfo("MemFree: %ld") < SMALL; i++) {
			char *p = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (p == MAP_FAILED)
				break;
			memset(p, 1, 1 << 18);
		}
		for (;;)
			pause();
	}
	REQUIRE(await_blocked(pid));
	int fd = MUST(open("/proc/self/maps", O_RDONLY)), error = 0;
	long n, sum = 0;
	while ((n = read(fd, b, sizeof b)) > 0)
		sum += n;
	if (n < 0)
		error = errno;
	CHECK(n == 0 ? sum > AREAS * 30L : error == ENOMEM, "[exhaust] /proc/self/maps of many areas in a full memory: all of it, or ENOMEM");
	kill(pid, SIGKILL);
	reap(pid);
}
