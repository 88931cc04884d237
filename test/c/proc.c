/* proc.c - section 12: the per-process files of /proc, and the global ones that programs read. */
#include "lib/tap.h"

#include <ctype.h>
#include <dirent.h>

static char buf[65536];
static char path[128];

static const char *of(pid_t pid, const char *name)
{
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return path;
}

static bool status_is(pid_t pid, const char *key, const char *want)
{
	char v[128];
	return proc_status(pid, key, v, sizeof v) && !strcmp(v, want);
}

static long status_num(pid_t pid, const char *key, int base)
{
	char v[128];
	return proc_status(pid, key, v, sizeof v) ? strtol(v, NULL, base) : -1;
}

CASE(stat_fields)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	REQUIRE(call(c, ag_setpgid, 0) == 0);
	REQUIRE(read_file(of(c->pid, "stat"), buf, sizeof buf) > 0);
	char *t = strrchr(buf, ')');
	REQUIRE(t);
	int fields = 2;
	for (char *s = t + 1; *s; s++)
		fields += *s == ' ';
	CHECK_EQ(fields, 52, "[12.1] stat has 52 fields");
	CHECK_EQ(atoi(buf), c->pid, "[12.1] field 1 is the pid");
	CHECK(strstr(buf, " (proc) ") != NULL, "[12.1] field 2 the name in parentheses");
	CHECK(t[2] == 'S' || t[2] == 'R', "[12.1] field 3 the state");
	CHECK_EQ(proc_stat(c->pid, 4), p->pid, "[12.1] field 4 ppid");
	CHECK_EQ(proc_stat(c->pid, 5), c->pid, "[12.1] field 5 pgrp");
	CHECK_EQ(proc_stat(c->pid, 6), getsid(0), "[12.1] field 6 session");
	CHECK_EQ(proc_stat(c->pid, 20), 1, "[12.1] field 20 num_threads");
	CHECK_EQ(proc_stat(c->pid, 38), SIGCHLD, "[12.1] field 38 exit_signal");
	CHECK_EQ(proc_stat(c->pid, 19), 0, "[12.1] field 19 nice");
	CHECK(proc_stat(c->pid, 22) > 0 && proc_stat(c->pid, 22) >= proc_stat(p->pid, 22), "[12.1] field 22 start time");
	CHECK(proc_stat(c->pid, 23) > 4096 && proc_stat(c->pid, 24) > 0, "[12.1] fields 23, 24 memory size and resident pages");
	kill(c->pid, SIGSTOP);
	CHECK(await_state(c->pid, 'T'), "[12.1] T when stopped");
	kill(c->pid, SIGCONT);
	quit(c, 5);
	CHECK(await_state(c->pid, 'Z'), "[12.1] Z when a zombie");
	CHECK_EQ(proc_stat(c->pid, 52), 5 << 8, "[12.1] field 52 of a zombie is its status word");
	CHECK_EQ(proc_stat(c->pid, 4), p->pid, "[12.1] its ppid is there until it is reaped");
	REQUIRE(call(p, ag_reap, c->pid) == c->pid);
	CHECK_ERR(open(of(c->pid, "stat"), O_RDONLY), ENOENT, "[12.9] reaped: ENOENT");
	retire(p, NULL);
}

static long set_name(long s) { return prctl(PR_SET_NAME, s, 0, 0, 0); }

CASE(odd_names)
{
	struct agent *c = spawn(NULL);
	call(c, set_name, (long)") R 1 (\n\\x");
	REQUIRE(read_file(of(c->pid, "stat"), buf, sizeof buf) > 0);
	CHECK(strstr(buf, "() R 1 (\n\\x) "), "[12.1] the name is raw in stat");
	CHECK(proc_state(c->pid) == 'S' || proc_state(c->pid) == 'R', "[12.1] parsed from the last parenthesis");
	CHECK(status_is(c->pid, "Name", ") R 1 (\\n\\\\x"), "[12.2] status escapes newline and backslash");
	read_file(of(c->pid, "comm"), buf, sizeof buf);
	CHECK(!strcmp(buf, ") R 1 (\n\\x\n"), "[12.1] comm is raw with a newline");
	retire(c, NULL);
}

CASE(status_lines)
{
	struct agent *p = spawn(NULL), *c = spawn(p), *t = spawn_thread(c);
	call(c, ag_block, SIGUSR1);
	call(c, ag_ignore, SIGUSR2);
	call(c, ag_catch, SIGHUP);
	call(t, ag_block, SIGUSR1);
	kill(c->pid, SIGUSR1);
	sys_tgkill(c->pid, c->tid, SIGUSR1);
	CHECK(status_is(c->pid, "Name", "proc"), "[12.2] Name");
	char s[64];
	CHECK(AWAIT(proc_status(c->pid, "State", s, sizeof s) && !strcmp(s, "S (sleeping)")), "[12.2] State S (sleeping)");
	CHECK_EQ(status_num(c->pid, "Tgid", 10), c->pid, "[12.2] Tgid");
	CHECK_EQ(status_num(c->pid, "Pid", 10), c->pid, "[12.2] Pid");
	CHECK_EQ(status_num(c->pid, "PPid", 10), p->pid, "[12.2] PPid");
	CHECK_EQ(status_num(c->pid, "TracerPid", 10), 0, "[12.2] TracerPid");
	CHECK_EQ(status_num(c->pid, "Threads", 10), 2, "[12.2] Threads");
	CHECK(status_num(c->pid, "FDSize", 10) > 0, "[12.2] FDSize");
	CHECK(status_num(c->pid, "VmSize", 10) > 0 && status_num(c->pid, "VmRSS", 10) > 0, "[12.2] VmSize and VmRSS");
	proc_status(c->pid, "Uid", s, sizeof s);
	unsigned id[4];
	CHECK(sscanf(s, "%u %u %u %u", &id[0], &id[1], &id[2], &id[3]) == 4 && id[0] == getuid() && id[3] == geteuid(), "[12.2] Uid: four of them");
	CHECK_EQ(status_num(c->pid, "SigPnd", 16), 1L << (SIGUSR1 - 1), "[12.7] SigPnd of the thread");
	CHECK_EQ(status_num(c->pid, "ShdPnd", 16), 1L << (SIGUSR1 - 1), "[12.7] ShdPnd of the process");
	CHECK_EQ(status_num(c->pid, "SigBlk", 16), 1L << (SIGUSR1 - 1), "[12.7] SigBlk");
	CHECK(status_num(c->pid, "SigIgn", 16) & 1L << (SIGUSR2 - 1), "[12.7] SigIgn");
	CHECK(status_num(c->pid, "SigCgt", 16) & 1L << (SIGHUP - 1), "[12.7] SigCgt");
	proc_status(c->pid, "SigBlk", s, sizeof s);
	CHECK_EQ(strlen(s), 16, "[12.7] sixteen hex digits");
	unsigned used = 0, limit = 0;
	proc_status(c->pid, "SigQ", s, sizeof s);
	CHECK(sscanf(s, "%u/%u", &used, &limit) == 2 && used >= 2 && limit > 0, "[12.7] SigQ: used/limit");
	proc_status(c->pid, "NSpid", s, sizeof s);
	CHECK_EQ(atoi(s), c->pid, "[12.8] NSpid begins with the mount's number");
	quit(c, 0);
	REQUIRE(await_state(c->pid, 'Z'));
	CHECK(status_is(c->pid, "State", "Z (zombie)"), "[12.2] State Z (zombie)");
	CHECK_EQ(status_num(c->pid, "VmSize", 10), -1, "[12.3] no Vm lines of a zombie");
	CHECK_EQ(status_num(c->pid, "FDSize", 10), 0, "[12.3] FDSize 0");
	/* the leader can be a zombie before the other thread is gone */
	CHECK(AWAIT(status_num(c->pid, "Threads", 10) == 1), "[12.3] Threads 1");
	REQUIRE(call(p, ag_reap, c->pid) == c->pid);
	kill(p->pid, SIGSTOP);
	CHECK(await_state(p->pid, 'T') && status_is(p->pid, "State", "T (stopped)"), "[12.2] State T (stopped)");
	kill(p->pid, SIGCONT);
	retire(p, NULL);
}

CASE(zombie_files)
{
	struct agent *c = spawn(NULL);
	CHECK(read_file(of(c->pid, "cmdline"), buf, sizeof buf) > 0 && strstr(buf, "proc"), "[12.3] (cmdline of a live process)");
	CHECK(read_file(of(c->pid, "maps"), buf, sizeof buf) > 0 && strchr(buf, '-'), "[12.3] (maps of a live process)");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(read_file(of(c->pid, "cmdline"), buf, sizeof buf), 0, "[12.3] a zombie's cmdline is empty");
	CHECK_EQ(read_file(of(c->pid, "maps"), buf, sizeof buf), 0, "[12.3] and its maps");
	CHECK(read_file(of(c->pid, "statm"), buf, sizeof buf) > 0 && !strncmp(buf, "0 0 0 0", 7), "[12.3] statm is zeros");
	CHECK(read_file(of(c->pid, "comm"), buf, sizeof buf) > 0 && !strcmp(buf, "proc\n"), "[3.11] comm stays");
	DIR *d = opendir(of(c->pid, "fd"));
	int n = 0;
	struct dirent *e;
	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	CHECK(d && n == 0, "[12.3] fd/ is empty");
	if (d)
		closedir(d);
	reap(c->pid);
}

CASE(threads_in_proc)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	struct stat st;
	snprintf(buf, sizeof buf, "/proc/%d", t->tid);
	CHECK_OK(stat(buf, &st), "[12.6] /proc/<tid> of a thread resolves");
	CHECK(status_num(t->tid, "Tgid", 10) == p->pid && status_num(t->tid, "Pid", 10) == t->tid, "[12.6] with Tgid and Pid different");
	DIR *d = opendir("/proc");
	struct dirent *e;
	bool leader = false, thread = false;
	while (d && (e = readdir(d))) {
		leader |= atoi(e->d_name) == p->pid;
		thread |= atoi(e->d_name) == t->tid;
	}
	CHECK(leader && !thread, "[12.6] but is not listed");
	if (d)
		closedir(d);
	d = opendir(of(p->pid, "task"));
	int n = 0;
	while (d && (e = readdir(d)))
		n += atoi(e->d_name) == p->pid || atoi(e->d_name) == t->tid;
	CHECK_EQ(n, 2, "[12.4] task/ lists both");
	if (d)
		closedir(d);
	snprintf(buf, sizeof buf, "/proc/%d/task/%d", p->pid, getpid());
	CHECK_ERR(stat(buf, &st), ENOENT, "[12.4] another process's id there: ENOENT");
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	CHECK_EQ(status_num(p->pid, "Threads", 10), 2, "[12.4] a zombie leader with a live thread: Threads counts both");
	retire(t, NULL);
}

CASE(self)
{
	char link[64];
	int n = readlink("/proc/self", link, sizeof link - 1);
	link[n > 0 ? n : 0] = 0;
	CHECK_EQ(atoi(link), getpid(), "[9.11] /proc/self is the reader");
	n = readlink("/proc/thread-self", link, sizeof link - 1);
	link[n > 0 ? n : 0] = 0;
	snprintf(buf, sizeof buf, "%d/task/%d", getpid(), getpid());
	CHECK(!strcmp(link, buf), "[9.11] /proc/thread-self");
	char exe[PATH_MAX], self[PATH_MAX];
	n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	exe[n > 0 ? n : 0] = 0;
	CHECK(realpath(self_path, self) && !strcmp(exe, self), "[proc] exe is this program");
	MUST(chdir("/proc"));
	n = readlink("/proc/self/cwd", exe, sizeof exe - 1);
	exe[n > 0 ? n : 0] = 0;
	CHECK(!strcmp(exe, "/proc"), "[proc] cwd");
	n = readlink("/proc/self/root", exe, sizeof exe - 1);
	exe[n > 0 ? n : 0] = 0;
	CHECK(!strcmp(exe, "/"), "[proc] root");
	int fd = MUST(open("/dev/null", O_RDONLY));
	snprintf(buf, sizeof buf, "/proc/self/fd/%d", fd);
	n = readlink(buf, exe, sizeof exe - 1);
	exe[n > 0 ? n : 0] = 0;
	CHECK(!strcmp(exe, "/dev/null"), "[proc] fd/N is a link to the file");
	CHECK(open(buf, O_RDONLY) >= 0, "[proc] that can be opened");
	int fds = 0;
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	while (d && (e = readdir(d)))
		fds |= atoi(e->d_name) == fd;
	CHECK(fds, "[proc] and fd/ lists it");
}

CASE(cmdline_and_environ)
{
	int p[2];
	char fd[16];
	MUST(pipe(p));
	snprintf(fd, sizeof fd, "%d", p[0]);
	pid_t pid = vfork();
	if (pid == 0) {
		char *argv[] = { "zero", "@stay", fd, "", "a b", NULL };
		char *env[] = { "X=1", "Y=2", NULL };
		close(p[1]);
		execve(self_path, argv, env);
		_exit(98);
	}
	REQUIRE(await_blocked(pid));	/* vfork returns before the new image is complete */
	int n = read_file(of(pid, "cmdline"), buf, sizeof buf);
	char want[64];
	int k = snprintf(want, sizeof want, "zero%c@stay%c%s%c%ca b", 0, 0, fd, 0, 0) + 1;
	CHECK(n == k && !memcmp(buf, want, k), "[proc] cmdline: the arguments, each with a NUL");
	n = read_file(of(pid, "environ"), buf, sizeof buf);
	CHECK(n == 8 && !memcmp(buf, "X=1\0Y=2", 8), "[proc] environ");
	close(p[1]);
	reap(pid);
}

HELPER(stay)
{
	char c;
	while (read(atoi(argv[1]), &c, 1) > 0)
		;
	return 0;
}

CASE(maps)
{
	char *p = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(p != MAP_FAILED);
	MUST(mprotect(p + 4096, 4096, PROT_READ | PROT_WRITE));
	REQUIRE(read_file("/proc/self/maps", buf, sizeof buf) > 0);
	char want[64];
	snprintf(want, sizeof want, "%lx-%lx rw-p", (long)p + 4096, (long)p + 8192);
	CHECK(strstr(buf, want), "[proc] maps shows a mapping with its protection");
	CHECK(strstr(buf, "[stack]"), "[proc] and the stack");
	char exe[PATH_MAX];
	CHECK(realpath(self_path, exe) && strstr(buf, exe), "[proc] and the program's file");
	unsigned long last = 0, a, b;
	bool sorted = true;
	for (char *l = strtok(buf, "\n"); l; l = strtok(NULL, "\n")) {
		if (sscanf(l, "%lx-%lx", &a, &b) != 2 || a >= b || (a < last && a < 0x8000000000000000UL))
			sorted = false;
		last = b;
	}
	CHECK(sorted, "[proc] in order, without overlap");
}

static bool has(const char *file, const char *word)
{
	return read_file(file, buf, sizeof buf) > 0 && strstr(buf, word) != NULL;
}

CASE(global_files)
{
	CHECK(has("/proc/meminfo", "MemTotal:") && strstr(buf, "MemFree:"), "[proc] /proc/meminfo");
	CHECK(has("/proc/slabinfo", "slabinfo - version: 2.1\n") && strstr(buf, "\nkmalloc-96 "), "[proc] /proc/slabinfo");
	double up = 0;
	CHECK(read_file("/proc/uptime", buf, sizeof buf) > 0 && sscanf(buf, "%lf", &up) == 1 && up > 0, "[proc] /proc/uptime");
	CHECK(has("/proc/version", "Linux"), "[proc] /proc/version");
	CHECK(has("/proc/stat", "cpu ") && strstr(buf, "cpu0 ") && strstr(buf, "btime"), "[proc] /proc/stat");
	double l = -1;
	CHECK(read_file("/proc/loadavg", buf, sizeof buf) > 0 && sscanf(buf, "%lf", &l) == 1 && l >= 0, "[proc] /proc/loadavg");
	CHECK(has("/proc/cpuinfo", "processor"), "[proc] /proc/cpuinfo");
	CHECK(has("/proc/mounts", " / "), "[proc] /proc/mounts");
	CHECK(has("/proc/filesystems", "proc"), "[proc] /proc/filesystems");
	CHECK(read_file("/proc/cmdline", buf, sizeof buf) >= 0, "[proc] /proc/cmdline");
	CHECK(read_file("/proc/sys/kernel/pid_max", buf, sizeof buf) > 0 && atoi(buf) > 300, "[proc] /proc/sys/kernel/pid_max");
	CHECK_ERR(open("/proc/0/stat", O_RDONLY), ENOENT, "[proc] no process 0");
	CHECK_ERR(open("/proc/0001/stat", O_RDONLY), ENOENT, "[proc] a number with zeros in front is no process");
	CHECK_ERR(open("/proc/99999999999/stat", O_RDONLY), ENOENT, "[proc] nor one that is too large");
	CHECK_ERR(open("/proc/newfile", O_RDWR | O_CREAT, 0600), ENOENT, "[proc] nothing can be made in /proc");
	CHECK_ERR(unlink("/proc/meminfo"), EPERM, "[proc] nor removed");
}

CASE(open_file_of_dead)
{
	struct agent *c = spawn(NULL);
	int fd = MUST(open(of(c->pid, "stat"), O_RDONLY)), d = MUST(open(of(c->pid, ""), O_RDONLY | O_DIRECTORY));
	retire(c, NULL);
	CHECK_ERR(read(fd, buf, 100), ESRCH, "[12.9] an open file of a reaped process: ESRCH");
	CHECK(openat(d, "stat", O_RDONLY) < 0 && (errno == ENOENT || errno == ESRCH), "[12.9] an open directory finds nothing");
}

CASE(seek_and_parts)
{
	int fd = MUST(open("/proc/self/status", O_RDONLY));
	char whole[4096], part[4096] = "";
	int n = read(fd, whole, sizeof whole), got = 0;
	MUST(lseek(fd, 0, SEEK_SET));
	for (int k; got < 4000 && (k = read(fd, part + got, 7)) > 0;)
		got += k;
	/* the figures may move between two reads, the first lines do not */
	CHECK(n > 0 && got > 0 && !memcmp(whole, part, 20), "[proc] a file can be read in parts");
	CHECK_EQ(read(fd, part, 10), 0, "[proc] and ends");
}
