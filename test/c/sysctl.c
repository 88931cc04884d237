/* sysctl.c - parameters of the kernel (/proc/sys): how numbers are read, and what some of them limit. */
#include "lib/tap.h"

#include <sys/ioctl.h>
#include <sys/mount.h>

static long store(const char *name, const char *text)
{
	char path[96];
	snprintf(path, sizeof path, "/proc/sys/%s", name);
	return write_text(path, text);
}

static long load(const char *name)
{
	char path[96], b[64];
	snprintf(path, sizeof path, "/proc/sys/%s", name);
	return read_file(path, b, sizeof b) > 0 ? atol(b) : -1;
}

static int mode_of(const char *name)
{
	char path[96];
	struct stat st;
	snprintf(path, sizeof path, "/proc/sys/%s", name);
	return stat(path, &st) == 0 ? (int)(st.st_mode & 07777) : -1;
}

CASE(files)
{
	static const struct { const char *name; int mode; long least; } some[] = {
		{ "kernel/threads-max", 0644, 20 }, { "kernel/overflowuid", 0644, 65534 }, { "kernel/overflowgid", 0644, 65534 },
		{ "fs/overflowuid", 0644, 65534 }, { "fs/overflowgid", 0644, 65534 }, { "kernel/pty/max", 0644, 4096 },
		{ "kernel/pty/reserve", 0644, 1024 }, { "kernel/pty/nr", 0444, 0 }, { "fs/pipe-user-pages-soft", 0644, 16384 },
		{ "fs/pipe-user-pages-hard", 0644, 0 }, { "fs/pipe-max-size", 0644, 1 << 20 }, { "kernel/cap_last_cap", 0444, 40 },
		{ "kernel/ngroups_max", 0444, 65536 }, { "fs/suid_dumpable", 0644, 0 }, { "kernel/ns_last_pid", 0666, 1 },
	};
	for (unsigned i = 0; i < sizeof some / sizeof *some; i++) {
		char text[96];
		snprintf(text, sizeof text, "[sysctl] %s has the mode %o, and a number", some[i].name, some[i].mode);
		CHECK(mode_of(some[i].name) == some[i].mode && load(some[i].name) >= some[i].least, text);
	}
	CHECK_ERR(store("kernel/pty/nr", "0"), EACCES, "[sysctl] root can't open for writing what can't be written: EACCES");
	CHECK_ERR(store("kernel/cap_last_cap", "40"), EACCES, "[sysctl] this neither");
}

/* Refused on both sides: nothing changes on the machine. */
CASE(refused)
{
	long before[3] = { load("kernel/threads-max"), load("kernel/overflowuid"), load("fs/pipe-max-size") };
	CHECK_ERR(store("kernel/threads-max", "0"), EINVAL, "[sysctl] threads-max 0: EINVAL");
	CHECK_ERR(store("kernel/threads-max", "1073741824"), EINVAL, "[sysctl] or more than a tid can be: EINVAL");
	CHECK_ERR(store("kernel/overflowuid", "65536"), EINVAL, "[sysctl] an overflowuid of more than 16 bits: EINVAL");
	CHECK_ERR(store("kernel/overflowgid", "-1"), EINVAL, "[sysctl] a negative one: EINVAL");
	CHECK_ERR(store("fs/pipe-max-size", "4294967295"), EINVAL, "[sysctl] a pipe-max-size that can't be rounded up: EINVAL");
	CHECK_ERR(store("kernel/pty/max", "2147483648"), EINVAL, "[sysctl] a pty/max that is no int: EINVAL");
	CHECK_ERR(store("fs/suid_dumpable", "3"), EINVAL, "[sysctl] suid_dumpable 3: EINVAL");
	CHECK(before[0] == load("kernel/threads-max") && before[1] == load("kernel/overflowuid") && before[2] == load("fs/pipe-max-size"), "[sysctl] nothing has changed");
	char same[32];
	snprintf(same, sizeof same, "%ld\n", before[0]);
	CHECK_EQ(store("kernel/threads-max", same), strlen(same), "[sysctl] the value that it has is taken");
	REQUIRE(ag_drop(1000) == 0);
	CHECK_ERR(store("kernel/threads-max", same), EACCES, "[sysctl] not from others than root: EACCES");
}

/* pid_max is each pid namespace's own. */
static int numbers(void)
{
	const char *max = "kernel/pid_max";
	if (store(max, "5000") != 4 || load(max) != 5000)
		return 1;
	if (store(max, "0x1000") != 6 || load(max) != 4096)
		return 2;
	if (store(max, "010000") != 6 || load(max) != 4096)
		return 3;
	if (store(max, " 5000 6000") != 6 || load(max) != 5000)
		return 4;
	if (store(max, "6000\n7000\n") != 5 || load(max) != 6000)
		return 5;
	if (store(max, "7000\n") != 5 || load(max) != 7000)
		return 6;
	if (store(max, "") != 0 || load(max) != 7000)
		return 7;
	static const char *const bad[] = { "5000x", "+5000", "-5000", "x", "5000-", "300", "99999999", "0x", "--5000" };
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		if (store(max, bad[i]) != -1 || errno != EINVAL || load(max) != 7000)
			return 10 + i;
	return 0;
}

CASE(numbers)
{
	IF_SINCE(6, 14, "[sysctl] numbers") {
		pid_t pid = MUST(raw_clone(CLONE_NEWPID | SIGCHLD));
		if (pid == 0)
			_exit(numbers());
		CHECK_EQ(reap(pid), 0, "[sysctl] a number is decimal, octal or hexadecimal; one word is taken, and what else is no number: EINVAL");
	}
}

/* A user nobody else is, so that nothing else counts. */
#define USER 31234

static int pipes_of_one_user(void)
{
	struct rlimit files = { 4096, 4096 };
	if (setrlimit(RLIMIT_NOFILE, &files) || ag_drop(USER))
		return 1;
	int p[2], full = load("fs/pipe-user-pages-soft") / 16;
	for (int i = 0; i < full; i++)
		if (pipe(p) || fcntl(p[0], F_GETPIPE_SZ) != 65536)
			return 2;
	if (pipe(p) || fcntl(p[0], F_GETPIPE_SZ) != 8192)
		return 3;
	if (fcntl(p[0], F_SETPIPE_SZ, 65536) != -1 || errno != EPERM)
		return 4;
	if (fcntl(p[0], F_SETPIPE_SZ, 4096) != 4096)
		return 5;
	/* one of the large ones goes: there is room for one again, less the page of the small one */
	close(p[0] - 2);
	close(p[1] - 2);
	int q[2];
	if (pipe(q) || fcntl(q[0], F_GETPIPE_SZ) != 8192)
		return 6;
	close(p[0]);
	close(p[1]);
	close(q[0]);
	close(q[1]);
	if (pipe(q) || fcntl(q[0], F_GETPIPE_SZ) != 65536)
		return 7;
	return 0;
}

CASE(pages_of_pipes)
{
	if (load("fs/pipe-user-pages-soft") != 16384) {
		tap_skip("[sysctl,pipe] pipe-user-pages-soft", "not at its usual value");
		return;
	}
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(pipes_of_one_user());
	CHECK_EQ(reap(pid), 0, "[sysctl,pipe] a user whose pipes have pipe-user-pages-soft gets small ones, and can't make them larger: EPERM");
}

/* From here on the machine's limits change, which others would feel. */
#define ONLY_GUEST(text) if (!on_foster()) tap_skip(text, "would disturb the machine"); else

static int no_more_pipes(void)
{
	int p[2];
	if (ag_drop(USER))
		return 1;
	for (int i = 0; i < 2; i++)
		if (pipe(p))
			return 2;
	return pipe(p) == -1 && errno == ENFILE ? 0 : 3;
}

static int small_pipe(void)
{
	int p[2];
	if (ag_drop(USER) || pipe(p))
		return 1;
	return fcntl(p[0], F_GETPIPE_SZ) == 16384 && fcntl(p[0], F_SETPIPE_SZ, 32768) == -1 && errno == EPERM ? 0 : 2;
}

static int status_of(int (*fn)(void))
{
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(fn());
	return reap(pid);
}

CASE(limits_of_the_machine)
{
	ONLY_GUEST("[sysctl,pipe] pipe-user-pages-hard, pipe-max-size") {
		REQUIRE(store("fs/pipe-user-pages-hard", "40") == 2);
		int st = status_of(no_more_pipes);
		REQUIRE(store("fs/pipe-user-pages-hard", "0") == 1);
		CHECK_EQ(st, 0, "[sysctl,pipe] beyond pipe-user-pages-hard: ENFILE");
		REQUIRE(store("fs/pipe-max-size", "16000") == 5 && load("fs/pipe-max-size") == 16384);
		st = status_of(small_pipe);
		REQUIRE(store("fs/pipe-max-size", "1048576") == 7);
		CHECK_EQ(st, 0, "[sysctl,pipe] pipe-max-size limits what a user's pipe begins with, and gets");
	}
	ONLY_GUEST("[sysctl,6.13] threads-max") {
		char old[32];
		snprintf(old, sizeof old, "%ld", load("kernel/threads-max"));
		REQUIRE(store("kernel/threads-max", "1") == 1);
		errno = 0;
		pid_t pid = fork();
		int e = errno;
		if (pid == 0)
			_exit(0);
		REQUIRE(store("kernel/threads-max", old) == (long)strlen(old));
		if (pid > 0)
			reap(pid);
		CHECK(pid == -1 && e == EAGAIN, "[sysctl,6.13] at threads-max fork fails: EAGAIN, for root as well");
	}
	ONLY_GUEST("[sysctl,pty] pty/max") {
		need_devpts();
		long had = load("kernel/pty/nr");
		int m = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
		CHECK_EQ(load("kernel/pty/nr"), had + 1, "[sysctl,pty] pty/nr counts pseudo-terminals");
		char text[32];
		snprintf(text, sizeof text, "%ld", had + 2);
		REQUIRE(store("kernel/pty/max", text) > 0);
		int n = open("/dev/ptmx", O_RDWR | O_NOCTTY), e = errno;
		REQUIRE(store("kernel/pty/max", "4096") == 4);
		CHECK(n == -1 && e == ENOSPC, "[sysctl,pty] at pty/max there is no other one: ENOSPC");
		close(m);
		CHECK_EQ(load("kernel/pty/nr"), had, "[sysctl,pty] the count goes down at the close");
	}
}
