/*
 * init - PID 1 of a guest that runs the C suite; an ordinary program elsewhere.
 *
 * Reads the list TESTS (one line per program: name, group, tags), runs each program that is asked for, one
 * after the other, with its output on ours, and ends with one line
 *
 *	suite: N programs passed, N failed
 *
 * Arguments choose programs: a name, `@group`, `-tag` (leave out those with the tag), NAME=value (environment).
 * Without any choice all run; in a guest all but those with the tag `next`, which test what is not built yet.
 * A program fails when its status is not 0 or when it is not done in its time, FOSTER_PROGRAM_TIMEOUT seconds.
 * As PID 1 it mounts what is not there yet, reaps every orphan, and switches the machine off at the end.
 *
 * Environment: TESTS path of the list (default: next to this program, then /tests/TESTS).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int timeout_s = 3600;
static int passed, failed;
static char failures[4096];

/* Seconds that we have lived through: what the machine sleeps through does not count. */
static volatile int seconds;

static void tick(int sig)
{
	(void)sig;
	seconds++;
}

static long long now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* Wait for `pid`, reaping orphans on the way; false when its time is up. */
static bool await_program(pid_t pid, int *status)
{
	int end = seconds + timeout_s;
	for (;;) {
		pid_t r = waitpid(-1, status, __WALL);
		if (r == pid)
			return true;
		if (r < 0 && errno == ECHILD)
			return *status = 0x7f00, true;
		if (seconds > end)
			return false;
	}
}

static void run(const char *dir, const char *name)
{
	char path[512], why[96] = "";
	int status = 0;
	long long start = now_ms();

	snprintf(path, sizeof path, "%s/%s", dir, name);
	printf("# running %s\n", name);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		char *argv[] = { path, NULL };
		setpgid(0, 0);
		execv(path, argv);
		fprintf(stderr, "exec %s: %s\n", path, strerror(errno));
		_exit(127);
	}
	if (pid < 0) {
		snprintf(why, sizeof why, "fork: %s", strerror(errno));
	} else if (!await_program(pid, &status)) {
		snprintf(why, sizeof why, "no end after %d s", timeout_s);
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		int end = seconds + 10;
		while (seconds < end && waitpid(pid, &status, __WALL) != pid)
			;
	} else if (WIFSIGNALED(status)) {
		snprintf(why, sizeof why, "killed by signal %d", WTERMSIG(status));
	} else if (WEXITSTATUS(status)) {
		snprintf(why, sizeof why, "status %d", WEXITSTATUS(status));
	}
	if (*why) {
		failed++;
		snprintf(failures + strlen(failures), sizeof failures - strlen(failures), "# FAILED %s: %s\n", name, why);
	} else {
		passed++;
	}
	printf("# %s %s (%lld ms)%s%s\n", *why ? "FAILED" : "passed", name, now_ms() - start, *why ? ": " : "", why);
	fflush(stdout);
}

static bool has_tag(const char *tags, const char *tag)
{
	size_t n = strlen(tag);
	for (const char *p = tags; (p = strstr(p, tag)); p++)
		if ((p == tags || p[-1] == ',') && (p[n] == 0 || p[n] == ','))
			return true;
	return false;
}

static bool chosen(int argc, char **argv, const char *name, const char *group, const char *tags, bool guest)
{
	bool any = false, yes = false;
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		if (a[0] == '-') {
			if (has_tag(tags, a + 1))
				return false;
		} else if (a[0] == '@') {
			any = true;
			yes |= !strcmp(group, a + 1);
		} else if (!strchr(a, '=')) {
			any = true;
			yes |= !strcmp(name, a);
		}
	}
	return yes || (!any && !(guest && has_tag(tags, "next")));
}

int main(int argc, char **argv)
{
	bool first = getpid() == 1;
	char dir[256] = "/tests", list[320], line[256];

	if (first) {
		/* the kernel may have done all this already: errors do not matter */
		mkdir("/proc", 0755);
		mkdir("/dev", 0755);
		mkdir("/tmp", 01777);
		chmod("/tmp", 01777);
		struct stat st;
		if (stat("/proc/self", &st) < 0)
			mount("proc", "/proc", "proc", 0, NULL);
		if (stat("/dev/null", &st) < 0)
			mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
		if (fcntl(0, F_GETFD) < 0) {
			int fd = open("/dev/console", O_RDWR);
			if (fd >= 0) {
				dup2(fd, 0);
				dup2(fd, 1);
				dup2(fd, 2);
			}
		}
	}
	/* Tests count on the lowest free descriptor; what a shell or make left open here is none of theirs. */
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 0);
	for (int i = 1; i < argc; i++)
		if (strchr(argv[i], '=') && argv[i][0] != '-' && argv[i][0] != '@')
			putenv(argv[i]);
	const char *s = getenv("FOSTER_PROGRAM_TIMEOUT");
	if (s && atoi(s) > 0)
		timeout_s = atoi(s);

	const char *want = getenv("TESTS");
	if (want) {
		snprintf(list, sizeof list, "%s", want);
		snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(want, '/') ? strrchr(want, '/') - want : 0), want);
		if (!*dir)
			strcpy(dir, ".");
	} else {
		snprintf(list, sizeof list, "%s/TESTS", dir);
	}

	struct sigaction sa = { .sa_handler = tick };
	sigaction(SIGALRM, &sa, NULL);
	struct itimerval it = { { 1, 0 }, { 1, 0 } };
	setitimer(ITIMER_REAL, &it, NULL);

	FILE *f = fopen(list, "re");
	if (!f)
		printf("# cannot open %s: %s\n", list, strerror(errno));
	while (f && fgets(line, sizeof line, f)) {
		char name[64], group[32] = "", tags[64] = "";
		if (line[0] == '#' || sscanf(line, "%63s %31s %63s", name, group, tags) < 1)
			continue;
		if (!chosen(argc, argv, name, group, tags, first))
			continue;
		if (geteuid() != 0 && has_tag(tags, "pidns"))
			printf("# running %s\nok 1 - [15.4] %s # SKIP needs root\n1..1\n# passed %s (0 ms)\n", name, name, name);
		else
			run(dir, name);
	}
	if (f)
		fclose(f);
	printf("%ssuite: %d programs passed, %d failed\n", failures, passed, failed);
	fflush(stdout);
	if (first) {
		sync();
		reboot(RB_POWER_OFF);
	}
	return failed || !passed;
}
