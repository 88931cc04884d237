/* proc.c - section 12: the per-process files of /proc, and the global ones that programs read. */
#include "lib/tap.h"

#include <ctype.h>
#include <dirent.h>
#include <stddef.h>
#include <sys/utsname.h>

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

/* Linux adds up what a CPU has counted of resident pages from time to time only. */
static long touch_some(long x)
{
	volatile char *p = map_pages(300);
	for (int i = 0; i < 300; i++)
		p[i * 4096] = 1;
	return x;
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
	call(c, touch_some, 0);
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
	IF_ROOT("[12.3] fd/ is empty") CHECK(d && n == 0, "[12.3] fd/ is empty");
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
	IF_ROOT("[proc] /proc/slabinfo") CHECK(has("/proc/slabinfo", "slabinfo - version: 2.1\n") && strstr(buf, "\nkmalloc-96 "), "[proc] /proc/slabinfo");
	double up = 0;
	CHECK(read_file("/proc/uptime", buf, sizeof buf) > 0 && sscanf(buf, "%lf", &up) == 1 && up > 0, "[proc] /proc/uptime");
	CHECK(has("/proc/version", "Linux"), "[proc] /proc/version");
	CHECK(has("/proc/stat", "cpu ") && strstr(buf, "cpu0 ") && strstr(buf, "btime"), "[proc] /proc/stat");
	double l = -1;
	CHECK(read_file("/proc/loadavg", buf, sizeof buf) > 0 && sscanf(buf, "%lf", &l) == 1 && l >= 0, "[proc] /proc/loadavg");
	CHECK(has("/proc/cpuinfo", "processor"), "[proc] /proc/cpuinfo");
	CHECK(has("/proc/mounts", in_chroot() ? " /proc " : " / "), "[proc] /proc/mounts");
	CHECK(has("/proc/filesystems", "proc"), "[proc] /proc/filesystems");
	CHECK(read_file("/proc/cmdline", buf, sizeof buf) >= 0, "[proc] /proc/cmdline");
	CHECK(read_file("/proc/sys/kernel/pid_max", buf, sizeof buf) > 0 && atoi(buf) > 300, "[proc] /proc/sys/kernel/pid_max");
	CHECK_ERR(open("/proc/0/stat", O_RDONLY), ENOENT, "[proc] no process 0");
	CHECK_ERR(open("/proc/0001/stat", O_RDONLY), ENOENT, "[proc] a number with zeros in front is no process");
	CHECK_ERR(open("/proc/99999999999/stat", O_RDONLY), ENOENT, "[proc] nor one that is too large");
	CHECK_ERR(open("/proc/newfile", O_RDWR | O_CREAT, 0600), ENOENT, "[proc] nothing can be made in /proc");
	CHECK_ERR(unlink("/proc/meminfo"), geteuid() == 0 ? EPERM : EACCES, "[proc] nor removed");
}

CASE(open_file_of_dead)
{
	struct agent *c = spawn(NULL);
	int fd = MUST(open(of(c->pid, "stat"), O_RDONLY)), d = MUST(open(of(c->pid, ""), O_RDONLY | O_DIRECTORY));
	retire(c, NULL);
	CHECK_ERR(read(fd, buf, 100), ESRCH, "[12.9] an open file of a reaped process: ESRCH");
	CHECK_ERR(openat(d, "stat", O_RDONLY), ESRCH, "[12.9] an open directory can't be gone into any more: ESRCH");
	CHECK_ERR(openat(d, "nothing", O_RDONLY), ESRCH, "[12.9] whatever the name");
	CHECK_ERR(syscall(SYS_getdents64, d, buf, sizeof buf), ENOENT, "[12.9] nor listed: ENOENT");
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

/* ---- stat, field by field ---- */

static long field(pid_t pid, int n) { return proc_stat(pid, n); }

static unsigned long ufield(pid_t pid, int n)
{
	char *s;
	if (read_file(of(pid, "stat"), buf, sizeof buf) <= 0 || !(s = strrchr(buf, ')')))
		return -1;
	for (s += 2; n > 3 && s; n--)
		s = strchr(s, ' ') ? strchr(s, ' ') + 1 : NULL;
	return s ? strtoul(s, NULL, 10) : -1UL;
}

static long burn_ms(long ms)
{
	struct timespec a, b;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	do
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	while ((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000 < ms);
	return 0;
}

static long touch_pages(long n)
{
	volatile char *p = map_pages(n);
	for (long i = 0; i < n; i++)
		p[i * 4096] = 1;
	return 0;
}

static long be_nice_batch(long x)
{
	struct sched_param sp = { 0 };
	(void)x;
	return nice(5) == 5 ? sched_setscheduler(0, SCHED_BATCH, &sp) : -1;
}

static long pin_to_last(long x)
{
	cpu_set_t set;
	(void)x;
	sched_getaffinity(0, sizeof set, &set);
	int last = 0;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set))
			last = i;
	CPU_ZERO(&set);
	CPU_SET(last, &set);
	return sched_setaffinity(0, sizeof set, &set) ? -1 : last;
}

static void stat_values_marker(void) { }

CASE(stat_values)
{
	struct agent *c = spawn(NULL);
	long faults = field(c->pid, 10);
	call(c, touch_pages, 200);
	CHECK(field(c->pid, 10) > faults, "[12.1] field 10 counts minor faults");
	CHECK_EQ(field(c->pid, 12), 0, "[12.1] field 12 major faults");
	long size = field(c->pid, 23);
	call(c, touch_pages, 300);
	CHECK(field(c->pid, 23) >= size + 300 * 4096, "[12.1] field 23 is in bytes");
	CHECK(field(c->pid, 24) >= 300 && field(c->pid, 24) * 4096 <= field(c->pid, 23), "[12.1] field 24 in pages");
	REQUIRE(call(c, be_nice_batch, 0) == 0);
	CHECK(field(c->pid, 18) == 25 && field(c->pid, 19) == 5, "[12.1] fields 18, 19 priority and nice");
	CHECK_EQ(field(c->pid, 41), SCHED_BATCH, "[12.1] field 41 policy");
	CHECK_EQ(field(c->pid, 40), 0, "[12.1] field 40 real-time priority");
	long cpu = call(c, pin_to_last, 0);
	CHECK_EQ(field(c->pid, 39), cpu, "[12.1] field 39 the CPU");
	CHECK_EQ(field(c->pid, 21), 0, "[12.1] field 21 is 0");
	struct rlimit rl = { 1 << 30, 1 << 30 };
	REQUIRE(prlimit(c->pid, RLIMIT_RSS, &rl, NULL) == 0);
	CHECK_EQ(field(c->pid, 25), 1 << 30, "[12.1] field 25 the limit of resident memory");
	call(c, ag_block, SIGUSR1);
	call(c, ag_ignore, SIGUSR2);
	call(c, ag_catch, SIGHUP);
	sys_tgkill(c->pid, c->pid, SIGUSR1);
	CHECK_EQ(field(c->pid, 31), 1 << (SIGUSR1 - 1), "[12.1] field 31 pending signals of the thread");
	CHECK_EQ(field(c->pid, 32), 1 << (SIGUSR1 - 1), "[12.1] field 32 blocked signals");
	CHECK(field(c->pid, 33) & 1 << (SIGUSR2 - 1), "[12.1] field 33 ignored signals");
	CHECK(field(c->pid, 34) & 1 << (SIGHUP - 1), "[12.1] field 34 caught signals");
	unsigned long start = ufield(c->pid, 26), end = ufield(c->pid, 27), stack = ufield(c->pid, 28);
	CHECK(start < end && end < stack, "[12.1] fields 26-28 code and stack");
	CHECK(start <= (unsigned long)stat_values_marker && (unsigned long)stat_values_marker < end, "[12.1] the code is between them");
	CHECK(ufield(c->pid, 45) < ufield(c->pid, 46) && ufield(c->pid, 46) <= ufield(c->pid, 47), "[12.1] fields 45-47 data and heap");
	CHECK(ufield(c->pid, 48) < ufield(c->pid, 49) && ufield(c->pid, 49) == ufield(c->pid, 50) && ufield(c->pid, 50) <= ufield(c->pid, 51),
	      "[12.1] fields 48-51 arguments and environment");
	REQUIRE(await_state(c->pid, 'S'));
	CHECK_EQ(field(c->pid, 35), 1, "[12.1] field 35 of a sleeper is 1");
	CHECK_EQ(field(getpid(), 35), 0, "[12.1] of a runner 0");
	CHECK(field(c->pid, 36) == 0 && field(c->pid, 37) == 0, "[12.1] fields 36, 37 are 0");
	CHECK_EQ(field(c->pid, 52), 0, "[12.1] field 52 of the living is 0");
	call(c, ag_setpgid, 0);
	CHECK_EQ(field(c->pid, 8), getsid(0) == 0 ? 0 : field(getpid(), 8), "[12.1] field 8 is the terminal's, not the process's");
	retire(c, NULL);
}

CASE(stat_times)
{
	/* the group's times include dead threads; a thread's are its own (12.10) */
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *k = spawn(p);
	call(t, burn_ms, 200);
	char name[64];
	snprintf(name, sizeof name, "task/%d/stat", t->tid);
	long whole = field(p->pid, 14) + field(p->pid, 15), of_thread, of_leader;
	CHECK(whole >= 18, "[12.10] fields 14, 15 of a process are those of all threads");
	REQUIRE(read_file(of(p->pid, name), buf, sizeof buf) > 0);
	unsigned long u, s;
	REQUIRE(sscanf(strrchr(buf, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s) == 2);
	of_thread = u + s;
	CHECK(of_thread >= 18, "[12.10] task/<tid>/stat has the thread's");
	snprintf(name, sizeof name, "task/%d/stat", p->pid);
	REQUIRE(read_file(of(p->pid, name), buf, sizeof buf) > 0);
	REQUIRE(sscanf(strrchr(buf, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s) == 2);
	of_leader = u + s;
	/* a hypervisor's share of the leader's moments is taken for its own: the thread gets ahead of that */
	for (int i = 0; i < 50 && of_leader * 2 >= of_thread; i++) {
		call(t, burn_ms, 200);
		of_thread += 20;
	}
	REQUIRE(read_file(of(p->pid, name), buf, sizeof buf) > 0);
	REQUIRE(sscanf(strrchr(buf, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s) == 2);
	of_leader = u + s;
	CHECK(of_leader < of_thread, "[12.10] and the leader's is its own");
	quit_thread(t, 0);
	REQUIRE(AWAIT(task_state(p->pid, t->tid) == 0));
	CHECK(field(p->pid, 14) + field(p->pid, 15) >= whole, "[12.10] a dead thread's time stays with the process");
	CHECK_EQ(field(p->pid, 16) + field(p->pid, 17), 0, "[12.1] fields 16, 17: no child was waited for");
	call(k, burn_ms, 100);
	quit(k, 0);
	REQUIRE(await_state(k->pid, 'Z'));
	CHECK(field(k->pid, 14) + field(k->pid, 15) >= 8, "[12.10] a zombie keeps its times");
	CHECK_EQ(field(p->pid, 16) + field(p->pid, 17), 0, "[12.1] nor is an unreaped one counted");
	REQUIRE(call(p, ag_reap, k->pid) == k->pid);
	CHECK(field(p->pid, 16) + field(p->pid, 17) >= 8, "[12.1] fields 16, 17 are the reaped children's times");
	retire(p, NULL);
}

static long look_as(long pid)
{
	me->out[0] = ufield(pid, 26);
	me->out[1] = ufield(pid, 28);
	me->out[2] = ufield(pid, 52);
	me->out[3] = ufield(pid, 35);
	me->out[4] = open(of(pid, "environ"), O_RDONLY) < 0 ? errno : 0;
	return readlink(of(pid, "exe"), buf, sizeof buf) < 0 ? errno : 0;
}

CASE(stat_of_others)
{
	NEED_ROOT("[12.1] stat without access");
	struct agent *c = spawn(NULL), *o = spawn(NULL);
	REQUIRE(call(o, ag_drop, 61250) == 0);
	REQUIRE(await_state(c->pid, 'S'));
	long e = call(o, look_as, c->pid);
	CHECK(o->out[0] == 1 && o->out[1] == 0 && o->out[3] == 0, "[12.1] without a debugger's rights addresses are 1 or 0");
	CHECK_EQ(e, EACCES, "[12.1] and exe EACCES");
	CHECK_EQ(o->out[4], EACCES, "[12.1] as is environ");
	quit(c, 7);
	REQUIRE(await_zombie(c->pid));
	call(o, look_as, c->pid);
	CHECK_EQ(o->out[2], 0, "[12.1] field 52 of another's zombie is 0");
	CHECK_EQ(ufield(c->pid, 52), 7 << 8, "[12.1] of an own one its status");
	reap(c->pid);
	retire(o, NULL);
}

/* ---- zombies, and leaders that are ---- */

static long set_dumpable(long value) { return prctl(PR_SET_DUMPABLE, value, 0, 0, 0); }
static long be_user(long uid) { return ag_drop(uid) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) ? -1 : 0; }

static int link_error(long pid, const char *name)
{
	return readlink(of(pid, name), buf, sizeof buf) < 0 ? errno : 0;
}

/* What keeps the looker from a dead task: the errno of each way, 0 for none. */
static long look_at_dead(long pid)
{
	void *head;
	size_t size;
	DIR *d = opendir(of(pid, "fdinfo"));
	me->out[0] = d ? 0 : errno;
	int fd = open(of(pid, "timers"), O_RDONLY);
	me->out[1] = fd >= 0 ? 0 : errno;
	me->out[2] = syscall(SYS_get_robust_list, pid, &head, &size) == 0 ? 0 : errno;
	me->out[3] = link_error(pid, "ns/uts");
	me->out[4] = link_error(pid, "exe");
	me->out[5] = ufield(pid, 52);
	int pidfd = syscall(SYS_pidfd_open, pid, 0);
	me->out[6] = syscall(SYS_pidfd_getfd, pidfd, 1, 0) < 0 ? errno : 0;
	me->out[7] = syscall(SYS_setns, pidfd, CLONE_NEWUTS) < 0 ? errno : 0;
	close(pidfd);
	close(fd);
	if (d)
		closedir(d);
	return link_error(pid, "ns/pid");
}

#define SAW(a, b, c, d, e, f, g, h)                                                                        \
	(o->out[0] == (a) && o->out[1] == (b) && o->out[2] == (c) && o->out[3] == (d) && o->out[4] == (e)  \
	 && o->out[5] == (f) && o->out[6] == (g) && o->out[7] == (h))

/* Whether the memory was dumpable that is gone is remembered. */
CASE(dead_and_dumpable)
{
	NEED_ROOT("[1.37,12.3] who may look at the dead");
	enum { USER = 61250 };
	struct agent *o = spawn(NULL), *open = spawn(NULL), *closed = spawn(NULL);
	REQUIRE(call(o, be_user, USER) == 0 && call(open, be_user, USER) == 0 && call(closed, be_user, USER) == 0);
	call(closed, set_dumpable, 0);
	quit(open, 7);
	quit(closed, 7);
	REQUIRE(await_zombie(open->pid) && await_zombie(closed->pid));
	CHECK_EQ(call(o, look_at_dead, open->pid), 0, "[12.3] its user may look at a zombie that was dumpable: ns/pid");
	CHECK(SAW(0, 0, 0, ENOENT, ENOENT, 7 << 8, ESRCH, ESRCH), "[12.3,1.37] fdinfo, timers, robust list, status; the rest is gone");
	IF_SINCE(6, 18, "[1.37] zombies that were not dumpable") {
		CHECK_EQ(call(o, look_at_dead, closed->pid), EACCES, "[1.37] but not at one that was not: ns/pid");
		CHECK(SAW(EACCES, EACCES, EPERM, EACCES, EACCES, 0, EPERM, EPERM), "[1.37] nor at fdinfo, timers, robust list, status, ..");
	}
	struct agent *root = spawn(NULL);
	CHECK(call(root, look_at_dead, open->pid) == 0 && call(root, look_at_dead, closed->pid) == 0, "[12.3] root may look at both");
	retire(root, NULL);
	reap(open->pid);
	reap(closed->pid);
	retire(o, NULL);
}

static long link_error_pid(long pid) { return link_error(pid, "ns/pid"); }

CASE(dead_leader_and_dumpable)
{
	NEED_ROOT("[1.37,12.4] who may look at a dead leader");
	enum { USER = 61250 };
	struct agent *o = spawn(NULL), *p = spawn(NULL), *t;
	REQUIRE(call(o, be_user, USER) == 0 && call(p, be_user, USER) == 0);
	t = spawn_thread(p);
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	call(t, set_dumpable, 0);
	CHECK_EQ(call(o, link_error_pid, p->pid), 0, "[1.37,12.4] a leader that is dead is judged by the memory at its end");
	CHECK_EQ(call(o, link_error_pid, t->tid), EACCES, "[1.37] the others by what it is now");
	retire(t, NULL);
	p = spawn(NULL);
	REQUIRE(call(p, be_user, USER) == 0);
	t = spawn_thread(p);
	call(p, set_dumpable, 0);
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	call(t, set_dumpable, 1);
	IF_SINCE(6, 18, "[1.37,12.4] dead leaders")
		CHECK_EQ(call(o, link_error_pid, p->pid), EACCES, "[1.37,12.4] and may not be looked at for ever if it was not dumpable");
	retire(t, NULL);
	retire(o, NULL);
}

static unsigned owner_of(pid_t pid, const char *name)
{
	struct stat st;
	return lstat(of(pid, name), &st) == 0 ? st.st_uid : ~0U;
}

CASE(zombie_owner)
{
	NEED_ROOT("[12.3] owner of a zombie's files");
	enum { USER = 61250 };
	struct agent *c = spawn(NULL);
	REQUIRE(call(c, be_user, USER) == 0);
	CHECK(owner_of(c->pid, "status") == USER && owner_of(c->pid, "fd") == USER && owner_of(c->pid, "exe") == USER,
	      "[1.37] the files of a process are its user's");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK(owner_of(c->pid, "status") == 0 && owner_of(c->pid, "fd") == 0 && owner_of(c->pid, "exe") == 0 && owner_of(c->pid, "ns") == 0,
	      "[12.3,1.37] without memory they are root's");
	CHECK(owner_of(c->pid, "") == USER && owner_of(c->pid, "task") == USER && owner_of(c->pid, "fdinfo") == USER,
	      "[12.3,1.37] but for what everybody may list");
	reap(c->pid);
}

CASE(zombie_files_more)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	char name[64];
	quit(c, 0);
	REQUIRE(await_state(c->pid, 'Z'));
	int fd = open(of(c->pid, "environ"), O_RDONLY);
	IF_ROOT("[12.3] a zombie's environ: ESRCH") CHECK(fd < 0 ? errno == ESRCH : read(fd, buf, 10) == -1 && errno == ESRCH, "[12.3] a zombie's environ: ESRCH");
	fd = open(of(c->pid, "auxv"), O_RDONLY);
	IF_ROOT("[12.3] and auxv") CHECK(fd < 0 ? errno == ESRCH : read(fd, buf, 10) == -1 && errno == ESRCH, "[12.3] and auxv");
	static const char *const links[] = { "exe", "cwd", "root", "ns/mnt", "ns/pid_for_children" };
	for (int i = 0; i < 5; i++)
		CHECK_ERR(readlink(of(c->pid, links[i]), buf, sizeof buf), ENOENT, "[12.3] exe, cwd, root and most of ns are ENOENT");
	fd = open(of(c->pid, "mountinfo"), O_RDONLY);
	CHECK(fd < 0 ? errno == EINVAL : read(fd, buf, 10) == -1 && errno == EINVAL, "[12.3] mountinfo is EINVAL");
	snprintf(name, sizeof name, "task/%d/children", p->pid);
	REQUIRE(read_file(of(p->pid, name), buf, sizeof buf) > 0);
	CHECK_EQ(atoi(buf), c->pid, "[12.5] zombies are among the children of a thread");
	CHECK_EQ(read_file(of(c->pid, "wchan"), buf, sizeof buf) > 0 ? buf[0] : -1, '0', "[12.3] wchan is 0");
	REQUIRE(read_file(of(c->pid, "limits"), buf, sizeof buf) > 0);
	CHECK(strstr(buf, "Max open files") != NULL, "[12.3] limits can be read");
	const char *nice_limit = strstr(buf, "Max nice priority");
	CHECK(nice_limit && strcspn(nice_limit, "\n") == 68, "[proc] a limit without a unit ends behind its values");
	REQUIRE(call(p, ag_reap, c->pid) == c->pid);
	retire(p, NULL);
}

CASE(zombie_leader_files)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	char name[64];
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	DIR *d = opendir(of(p->pid, "fd"));
	int n = 0;
	struct dirent *e;
	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	IF_ROOT("[12.4] fd/ of a zombie leader is empty") CHECK(d && n == 0, "[12.4] fd/ of a zombie leader is empty");
	if (d)
		closedir(d);
	CHECK_ERR(readlink(of(p->pid, "exe"), buf, sizeof buf), ENOENT, "[12.4] its exe ENOENT");
	snprintf(name, sizeof name, "task/%d/exe", t->tid);
	CHECK(readlink(of(p->pid, name), buf, sizeof buf) > 0, "[12.4] through the live thread's directory exe works");
	snprintf(name, sizeof name, "task/%d/fd/1", t->tid);
	CHECK(readlink(of(p->pid, name), buf, sizeof buf) > 0, "[12.4] and fd/");
	retire(t, NULL);
}

/* ---- the small files ---- */

static void timer_slack(struct agent *c)
{
	NEED_ROOT("[proc,1.43] timerslack_ns of another process");
	CHECK(read_file(of(c->pid, "timerslack_ns"), buf, sizeof buf) > 0 && atoi(buf) == 50000, "[proc,1.43] timerslack_ns");
	int fd = MUST(open(of(c->pid, "timerslack_ns"), O_WRONLY));
	CHECK_EQ(write(fd, "70000", 5), 5, "[proc,1.43] can be written");
	close(fd);
	CHECK(read_file(of(c->pid, "timerslack_ns"), buf, sizeof buf) > 0 && atoi(buf) == 70000, "[proc,1.43] and shows it");
	fd = MUST(open(of(c->pid, "timerslack_ns"), O_WRONLY));
	CHECK_EQ(write(fd, "0", 1), 1, "[proc,1.43] 0");
	close(fd);
	CHECK(read_file(of(c->pid, "timerslack_ns"), buf, sizeof buf) > 0 && atoi(buf) == 50000, "[proc,1.43] is the default");
}

CASE(small_files)
{
	struct agent *c = spawn(NULL);
	timer_slack(c);
	unsigned long ran, waited, count;
	CHECK(read_file(of(c->pid, "schedstat"), buf, sizeof buf) > 0 && sscanf(buf, "%lu %lu %lu", &ran, &waited, &count) == 3 && count > 0,
	      "[proc] schedstat");
	CHECK(read_file(of(c->pid, "personality"), buf, sizeof buf) > 0 && !strcmp(buf, "00000000\n"), "[proc] personality");
	CHECK(read_file(of(c->pid, "oom_score_adj"), buf, sizeof buf) > 0 && !strcmp(buf, "0\n"), "[proc] oom_score_adj");
	int fd = MUST(open(of(c->pid, "oom_score_adj"), O_WRONLY));
	CHECK_ERR(write(fd, "1001", 4), EINVAL, "[proc] beyond 1000: EINVAL");
	CHECK_ERR(write(fd, "x", 1), EINVAL, "[proc] no number: EINVAL");
	bool resource = status_num(getpid(), "CapEff", 16) >> 24 & 1;
	CHECK_EQ(write(fd, "-1000", 5), resource ? 5 : -1, "[proc] below what it was: with CAP_SYS_RESOURCE only");
	close(fd);
	retire(c, NULL);
}

static long raise_and_lower(long x)
{
	(void)x;
	int fd = open("/proc/self/oom_score_adj", O_WRONLY);
	if (fd < 0)
		return -1;
	me->out[0] = write(fd, "300", 3) == 3;
	me->out[1] = write(fd, "100", 3) == 3;
	me->out[2] = write(fd, "-1", 2) == -1 ? errno : 0;
	close(fd);
	return 0;
}

CASE(oom_adj_unprivileged)
{
	NEED_ROOT("[proc] oom_score_adj without privilege");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		/* not dumpable after a change of ids, so that /proc/self would be root's: exec is not needed, only the flag */
		MUST(syscall(SYS_setresuid, 61251, 61251, 61251));
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		struct agent self = { 0 };
		me = &self;
		long r = raise_and_lower(0);
		_exit(r ? 9 : self.out[0] + 2 * self.out[1] + 4 * (self.out[2] == EACCES));
	}
	CHECK_EQ(reap(pid), 7 << 8, "[proc] oom_score_adj: anyone may raise it, and lower it to what it was; below that EACCES");
}

CASE(audit_ids)
{
	/* who logged in: of a kernel with audit; login programs write it, systemd and others read it */
	if (access("/proc/self/loginuid", F_OK)) {
		tap_skip("[proc] loginuid", "no audit");
		return;
	}
	NEED_ROOT("[proc] loginuid");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		int bad = 0, fd = open("/proc/self/loginuid", O_WRONLY);
		bad |= fd < 0 || write(fd, "x", 1) != -1 || errno != EINVAL ? 1 : 0;
		bad |= pwrite(fd, "1234", 4, 0) != 4 ? 2 : 0;
		bad |= read_file("/proc/self/loginuid", buf, sizeof buf) <= 0 || strcmp(buf, "1234") ? 4 : 0;
		bad |= read_file("/proc/self/sessionid", buf, sizeof buf) <= 0 || strtoul(buf, NULL, 10) == 4294967295 ? 8 : 0;
		pid_t c = fork();
		if (c == 0)
			_exit(read_file("/proc/self/loginuid", buf, sizeof buf) > 0 && !strcmp(buf, "1234") ? 0 : 1);
		bad |= reap(c) != 0 ? 16 : 0;
		_exit(bad);
	}
	CHECK_EQ(reap(pid), 0, "[proc] loginuid can be set, begins an audit session, and is inherited");
	struct agent *c = spawn(NULL);
	int fd = MUST(open(of(c->pid, "loginuid"), O_WRONLY));
	CHECK_ERR(write(fd, "7", 1), EPERM, "[proc] that of another process cannot");
	close(fd);
	retire(c, NULL);
}

/* ---- the system ---- */

static bool lock_line(const char *kind, const char *mode, pid_t pid, unsigned long ino, const char *range)
{
	char want[128], *line = buf;
	if (read_file("/proc/locks", buf, sizeof buf) <= 0)
		return false;
	snprintf(want, sizeof want, "%s  ADVISORY  %s %d ", kind, mode, pid);
	for (; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		unsigned maj, min;
		unsigned long i;
		char rest[64] = "", *at = strstr(line, want), *nl = strchr(line, '\n');
		if (at && at < nl && sscanf(at + strlen(want), "%x:%x:%lu %63[^\n]", &maj, &min, &i, rest) == 4 && i == ino && !strcmp(rest, range))
			return true;
	}
	return false;
}

CASE(locks)
{
	struct stat st;
	int fd = MUST(open(tmp_path("locked"), O_RDWR | O_CREAT, 0600)), other = MUST(open(tmp_path("other"), O_RDWR | O_CREAT, 0600));
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20 };
	MUST(fstat(fd, &st));
	CHECK(!lock_line("POSIX", "WRITE", getpid(), st.st_ino, "10 29"), "[proc] (nothing is locked)");
	MUST(fcntl(fd, F_SETLK, &fl));
	CHECK(lock_line("POSIX", "WRITE", getpid(), st.st_ino, "10 29"), "[proc] /proc/locks: a record lock, with its range");
	fl.l_type = F_RDLCK;
	fl.l_start = 100;
	fl.l_len = 0;
	MUST(fcntl(fd, F_SETLK, &fl));
	CHECK(lock_line("POSIX", "READ", getpid(), st.st_ino, "100 EOF"), "[proc] a shared one to the end of the file");
	close(fd);
	CHECK(!lock_line("POSIX", "READ", getpid(), st.st_ino, "100 EOF"), "[proc] closed, they are gone");
	MUST(fstat(other, &st));
	MUST(syscall(SYS_flock, other, 2));
	CHECK(lock_line("FLOCK", "WRITE", getpid(), st.st_ino, "0 EOF"), "[proc] an flock");
	close(other);
	CHECK(!lock_line("FLOCK", "WRITE", getpid(), st.st_ino, "0 EOF"), "[proc] gone with its file");
}

/* The number behind `key` in a file. */
static long long figure(const char *file, const char *key)
{
	if (read_file(file, buf, sizeof buf) <= 0)
		return -1;
	char *at = strstr(buf, key);
	return at && (at == buf || at[-1] == '\n') ? atoll(at + strlen(key)) : -1;
}

CASE(figures)
{
	long long forks = figure("/proc/stat", "processes "), switches = figure("/proc/stat", "ctxt "), irqs = figure("/proc/stat", "intr ");
	long long faults = figure("/proc/vmstat", "pgfault ");
	struct agent *c = spawn(NULL);
	call(c, ag_getpid, 0);
	call(c, touch_pages, 50);
	call(c, burn_ms, 30);
	retire(c, NULL);
	CHECK(forks > 0 && figure("/proc/stat", "processes ") > forks, "[proc] /proc/stat counts forks");
	CHECK(switches > 0 && figure("/proc/stat", "ctxt ") > switches, "[proc] context switches");
	CHECK(irqs > 0 && figure("/proc/stat", "intr ") > irqs, "[proc] and interrupts");
	CHECK(faults > 0 && figure("/proc/vmstat", "pgfault ") > faults, "[proc] /proc/vmstat counts page faults");
	CHECK(figure("/proc/vmstat", "nr_free_pages ") > 0, "[proc] and free pages");
	/* the sums of all that ran never go back, whoever reaped it or did not */
	int back = 0;
	unsigned long long last[4] = { 0 }, now[4];
	signal(SIGCHLD, SIG_IGN);
	for (int i = 0; i < 10; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			burn_ms(12);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		REQUIRE(read_file("/proc/stat", buf, sizeof buf) > 0);
		REQUIRE(sscanf(buf, "cpu %llu %llu %llu %llu", &now[0], &now[1], &now[2], &now[3]) == 4);
		back += now[0] < last[0] || now[2] < last[2];
		memcpy(last, now, sizeof last);
	}
	CHECK_EQ(back, 0, "[proc] the CPUs' times never go back");
	REQUIRE(read_file("/proc/interrupts", buf, sizeof buf) > 0);
	CHECK(strstr(buf, "CPU0") && strstr(buf, "LOC:"), "[proc] /proc/interrupts");
	char *loc = strstr(buf, "LOC:");
	CHECK(loc && atol(loc + 4) > 0, "[proc] has the timer's");
	CHECK(read_file("/proc/swaps", buf, sizeof buf) > 0 && !strncmp(buf, "Filename\t", 9), "[proc] /proc/swaps");
	CHECK(read_file("/proc/partitions", buf, sizeof buf) >= 0, "[proc] /proc/partitions");
	CHECK(read_file("/proc/diskstats", buf, sizeof buf) >= 0, "[proc] /proc/diskstats");
	CHECK(has("/proc/devices", "Character devices:") && has("/proc/devices", "Block devices:"), "[proc] /proc/devices");
	CHECK(has("/proc/consoles", "tty"), "[proc] /proc/consoles");
	CHECK(has("/proc/tty/drivers", "/dev/tty") && has("/proc/tty/drivers", "pty_slave"), "[proc] /proc/tty/drivers");
}

CASE(sysctls)
{
	struct utsname u;
	MUST(uname(&u));
	static const struct { const char *name; size_t offset; } same[] = {
		{ "ostype", offsetof(struct utsname, sysname) }, { "hostname", offsetof(struct utsname, nodename) },
		{ "osrelease", offsetof(struct utsname, release) }, { "version", offsetof(struct utsname, version) },
		{ "domainname", offsetof(struct utsname, domainname) },
	};
	for (unsigned i = 0; i < sizeof same / sizeof *same; i++) {
		char file[64];
		snprintf(file, sizeof file, "/proc/sys/kernel/%s", same[i].name);
		int n = read_file(file, buf, sizeof buf);
		CHECK(n > 0 && !strncmp(buf, (char *)&u + same[i].offset, n - 1) && buf[n - 1] == '\n', "[proc] ostype, hostname, osrelease, version and domainname are uname's");
	}
	CHECK_EQ(figure("/proc/sys/kernel/cap_last_cap", ""), 40, "[proc,1.40] cap_last_cap");
	CHECK(figure("/proc/sys/kernel/threads-max", "") > 10, "[proc] threads-max");
	CHECK_EQ(figure("/proc/sys/kernel/overflowuid", ""), 65534, "[proc] overflowuid");
	CHECK_EQ(figure("/proc/sys/kernel/ngroups_max", ""), 65536, "[proc] ngroups_max");
	long long aslr = figure("/proc/sys/kernel/randomize_va_space", "");
	CHECK(aslr >= 0 && aslr <= 2, "[proc] randomize_va_space");
	CHECK(figure("/proc/sys/kernel/tainted", "") >= 0, "[proc] tainted");
	char a[64] = "", b[64] = "";
	CHECK(read_file("/proc/sys/kernel/random/boot_id", a, sizeof a) == 37 && read_file("/proc/sys/kernel/random/boot_id", b, sizeof b) == 37 && !strcmp(a, b),
	      "[proc] random/boot_id is the same at every read");
	CHECK(read_file("/proc/sys/kernel/random/uuid", a, sizeof a) == 37 && read_file("/proc/sys/kernel/random/uuid", b, sizeof b) == 37 && strcmp(a, b),
	      "[proc] random/uuid is not");
	CHECK_EQ(figure("/proc/sys/kernel/random/entropy_avail", ""), 256, "[proc] random/entropy_avail");
	unsigned long used, unused, max;
	CHECK(read_file("/proc/sys/fs/file-nr", buf, sizeof buf) > 0 && sscanf(buf, "%lu %lu %lu", &used, &unused, &max) == 3 && used > 0 && used < max,
	      "[proc] fs/file-nr counts open files");
	int fd = open("/proc/sys/kernel/ostype", O_WRONLY);
	CHECK(fd < 0 && errno == EACCES, "[proc] what is read-only cannot be opened for writing, by root either");
	CHECK(open("/proc/sys/vm/drop_caches", O_RDONLY) < 0 && errno == EACCES, "[proc] nor read what can only be written: EACCES");
	fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
	CHECK(fd >= 0 && write(fd, "3", 1) == 1, "[proc] drop_caches");
	CHECK(pwrite(fd, "0", 1, 0) < 0 && errno == EINVAL, "[proc] drop_caches of nothing: EINVAL");
	CHECK_EQ(pwrite(fd, "0", 1, 1), 1, "[proc] what is written behind the start is ignored");
	close(fd);
}

CASE(fdinfo_of_itself)
{
	/* The number that the next open gets is known: the file tells of itself while it is read. */
	char path[64], text[512];
	int fd = dup(0);
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	int other = MUST(open(path, O_RDONLY)), dir = MUST(open("/proc/self/fdinfo", O_RDONLY));
	close(other);
	snprintf(path, sizeof path, "%d", other);
	int hold = MUST(open("/", O_RDONLY));
	REQUIRE(hold == other);
	int self = MUST(openat(dir, path, O_RDONLY));
	REQUIRE(dup2(self, other) == other);
	CHECK(read(other, text, sizeof text) > 0 && !strncmp(text, "pos:\t0\n", 7), "[proc] a file of fdinfo can tell of itself");
}
