/*
 * costs.c - what anybody can make large must cost no more than its size: a number of things is measured against some times
 * as many, each by the best of a few rounds.  The bounds are far above what is linear, and far below its square.
 */
#include "lib/tap.h"

static double clock_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/* The best of a few rounds of `work` with `n`, in ms. */
static double best(void (*work)(int n), int n)
{
	double least = 1e9;
	for (int round = 0; round < 5; round++) {
		double start = clock_ms();
		work(n);
		double took = clock_ms() - start;
		if (took < least)
			least = took;
	}
	return least;
}

static void compare(const char *text, double few, double many, double bound)
{
	tap_report(many < few * bound + 1, text, __FILE__, __LINE__, "%.3f ms against %.3f ms: %.1f times, more than %.0f", many, few,
		   many / few, bound);
}

static int fds[2048];

static void open_terminals(int n)
{
	for (int i = 0; i < n; i++)
		fds[i] = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

CASE(terminals)
{
	need_devpts();
	struct rlimit files = { 2048, 4096 };
	setrlimit(RLIMIT_NOFILE, &files);
	compare("[bad] 600 pseudo-terminals cost no more than 24 times what 75 do", best(open_terminals, 75), best(open_terminals, 600), 24);
}

static void read_locks(int n)
{
	(void)n;
	char text[4096];
	for (int i = 0; i < 20; i++) {
		int fd = MUST(open("/proc/locks", O_RDONLY));
		while (read(fd, text, sizeof text) > 0)
			;
		close(fd);
	}
}

static void read_count(int n)
{
	(void)n;
	char text[64];
	for (int i = 0; i < 20; i++) {
		int fd = MUST(open("/proc/sys/fs/file-nr", O_RDONLY));
		REQUIRE(read(fd, text, sizeof text) > 0);
		close(fd);
	}
}

CASE(open_files)
{
	struct rlimit files = { 2048, 4096 };
	setrlimit(RLIMIT_NOFILE, &files);
	double locks = best(read_locks, 0), count = best(read_count, 0);
	int p[2];
	MUST(pipe(p));
	for (int i = 0; i < 1800; i++)
		MUST(open("/dev/null", O_RDONLY));
	compare("[bad] /proc/locks costs the same with 1800 more files open", locks, best(read_locks, 0), 4);
	compare("[bad] and /proc/sys/fs/file-nr", count, best(read_count, 0), 4);
}

static pid_t children[512];
static int nchildren;

static void grow_to(int n)
{
	while (nchildren < n) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			pause();
			_exit(0);
		}
		children[nchildren++] = pid;
	}
}

/* A directory of n processes by as many calls. */
static void list_processes(int n)
{
	(void)n;
	char entries[64];
	int fd = MUST(open("/proc", O_RDONLY | O_DIRECTORY));
	while (syscall(SYS_getdents64, fd, entries, sizeof entries) > 0)
		;
	close(fd);
}

CASE(processes)
{
	grow_to(50);
	double few = best(list_processes, 50);
	grow_to(400);
	compare("[bad] /proc with 400 processes, one at a time, costs no more than 16 times what 50 do", few, best(list_processes, 400), 16);
	int missing = 0;
	for (int i = 0; i < nchildren; i++) {
		char name[32];
		snprintf(name, sizeof name, "/proc/%d", children[i]);
		missing += access(name, F_OK) != 0;
	}
	CHECK_EQ(missing, 0, "[bad] (they are all there)");
	for (int i = 0; i < nchildren; i++) {
		kill(children[i], SIGKILL);
		reap(children[i]);
	}
}
