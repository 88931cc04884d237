/*
 * procfiles.c - section 12: the files of a process as files: modes, owners, who may open them, what a zombie and a dead process
 * have, seeking and writing; and those that monitors and debuggers read: io, mem, smaps, pagemap, process_vm_readv(2).
 */
#include "lib/tap.h"

#include <dirent.h>
#include <sys/uio.h>

static char buf[65536];
static char path[160];

static const char *of(pid_t pid, const char *name)
{
	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return path;
}

/* A name that agents can see which were made before it was written. */
static char *name;

static void need_name(void)
{
	name = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(name != MAP_FAILED);
}

static long set_dumpable(long on) { return prctl(PR_SET_DUMPABLE, on, 0, 0, 0); }

/* A child of user 1000 that its user may look into. */
static struct agent *user_child(void)
{
	struct agent *u = spawn(NULL);
	REQUIRE(call(u, ag_drop, 1000) == 0 && call(u, set_dumpable, 1) == 0);
	return u;
}

/* ---- modes and owners ---- */

static const struct {
	const char *name;
	unsigned mode;
} modes[] = {
	{ "auxv", 0100400 }, { "cgroup", 0100444 }, { "clear_refs", 0100200 }, { "cmdline", 0100444 }, { "comm", 0100644 },
	{ "coredump_filter", 0100644 }, { "cwd", 0120777 }, { "environ", 0100400 }, { "exe", 0120777 }, { "fd", 040500 },
	{ "fdinfo", 040555 }, { "io", 0100400 }, { "limits", 0100444 }, { "loginuid", 0100644 }, { "maps", 0100444 },
	{ "mem", 0100600 }, { "mountinfo", 0100444 }, { "mounts", 0100444 }, { "mountstats", 0100400 }, { "net", 040555 },
	{ "ns", 040511 }, { "oom_adj", 0100644 }, { "oom_score", 0100444 }, { "oom_score_adj", 0100644 }, { "pagemap", 0100400 },
	{ "personality", 0100400 }, { "root", 0120777 }, { "sched", 0100644 }, { "schedstat", 0100444 }, { "sessionid", 0100444 },
	{ "smaps", 0100444 }, { "smaps_rollup", 0100444 }, { "stat", 0100444 }, { "statm", 0100444 }, { "status", 0100444 },
	{ "task", 040555 }, { "timers", 0100444 }, { "timerslack_ns", 0100666 }, { "wchan", 0100444 },
};
#define NMODES (int)(sizeof modes / sizeof modes[0])

CASE(modes_and_owners)
{
	NEED_ROOT("[proc,12.3] modes and owners");
	struct agent *u = user_child();
	struct stat st;
	bool right = true, owned = true, hidden = true, remains = true;
	for (int i = 0; i < NMODES; i++) {
		MUST(lstat(of(u->pid, modes[i].name), &st));
		if (st.st_mode != modes[i].mode)
			tap_note("%s: mode %o", modes[i].name, st.st_mode), right = false;
		if (st.st_uid != 1000 || st.st_gid != 1000)
			tap_note("%s: owner %u", modes[i].name, st.st_uid), owned = false;
	}
	CHECK(right, "[proc] the mode of each file of a process");
	CHECK(owned, "[proc] they are its user's");
	REQUIRE(call(u, set_dumpable, 0) == 0);
	for (int i = 0; i < NMODES; i++) {
		MUST(lstat(of(u->pid, modes[i].name), &st));
		if (st.st_uid != (modes[i].mode == 040555 ? 1000 : 0))
			tap_note("%s: owner %u", modes[i].name, st.st_uid), hidden = false;
	}
	CHECK(hidden, "[1.37] not dumpable: they are root's, but for the directories that all may enter");
	CHECK(stat(of(u->pid, ""), &st) == 0 && st.st_uid == 1000 && st.st_mode == 040555, "[proc] as is the directory itself");
	REQUIRE(call(u, set_dumpable, 1) == 0);
	quit(u, 0);
	REQUIRE(await_zombie(u->pid));
	for (int i = 0; i < NMODES; i++) {
		MUST(lstat(of(u->pid, modes[i].name), &st));
		if (st.st_mode != modes[i].mode || st.st_uid != (modes[i].mode == 040555 ? 1000 : 0))
			tap_note("%s: mode %o, owner %u", modes[i].name, st.st_mode, st.st_uid), remains = false;
	}
	CHECK(remains, "[12.3] and those of a zombie");
	reap(u->pid);
}

CASE(descriptor_links)
{
	struct agent *c = spawn(NULL);
	int null = MUST(open("/dev/null", O_RDWR)), in = MUST(open("/dev/null", O_RDONLY)), out = MUST(open("/dev/null", O_WRONLY));
	int just = MUST(open("/dev/null", O_PATH));
	static const unsigned want[] = { 0120700, 0120500, 0120300, 0120000 };
	int fds[] = { null, in, out, just };
	struct stat st;
	need_name();
	bool right = true;
	for (int i = 0; i < 4; i++) {
		sprintf(name, "fd/%d", fds[i]);
		MUST(lstat(of(getpid(), name), &st));
		right = right && st.st_mode == want[i] && st.st_size == 64;
	}
	CHECK(right, "[proc] the mode of a descriptor's link says what it is open for");
	sprintf(name, "fd/%d", in);
	MUST(dup2(out, in));
	CHECK(lstat(of(getpid(), name), &st) == 0 && st.st_mode == 0120300, "[proc] also when the number is another file's");
	MUST(stat(of(getpid(), "fd"), &st));
	long before = st.st_size;
	close(just);
	MUST(stat(of(getpid(), "fd"), &st));
	CHECK(before > 3 && st.st_size == before - 1, "[proc] the size of fd/ is the number of descriptors");
	retire(c, NULL);
}

static bool lists(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e = NULL;
	while (d && (e = readdir(d)) && e->d_name[0] == '.')
		;
	if (d)
		closedir(d);
	return e;
}

static long own_fds(long name) { return lists((const char *)name); }
static long open_fails(long name)
{
	int fd = open((const char *)name, O_RDONLY);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? errno : 0;
}
static long read_fails(long name)
{
	char b[64];
	int fd = open((const char *)name, O_RDONLY);
	if (fd < 0)
		return -1;
	long n = read(fd, b, sizeof b), e = errno;
	close(fd);
	return n < 0 ? e : 0;
}

/* A process that changed its user, as a daemon does, does not own its directory. */
CASE(own_descriptors)
{
	NEED_ROOT("[proc] one's own descriptors after a change of the user");
	need_name();
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	REQUIRE(call(a, ag_drop, 1000) == 0 && call(b, ag_drop, 1000) == 0);
	struct stat st;
	CHECK(stat(of(a->pid, "fd"), &st) == 0 && st.st_uid == 0, "[1.37,proc] fd/ of who has changed its user is root's");
	CHECK_EQ(call(a, own_fds, (long)"/proc/self/fd"), 1, "[proc] it can list its own descriptors all the same");
	CHECK_EQ(call(a, own_fds, (long)"/proc/self/fdinfo"), 1, "[proc] and fdinfo/");
	CHECK_EQ(call(a, open_fails, (long)"/proc/self/fdinfo/0"), 0, "[proc] and the files in it");
	sprintf(name, "/proc/%d/fd", b->pid);
	CHECK_EQ(call(a, open_fails, (long)name), EACCES, "[1.37,proc] but not those of another process of the same user");
	sprintf(name, "/proc/%d/fdinfo", b->pid);
	CHECK_EQ(call(a, open_fails, (long)name), EACCES, "[1.37,proc] nor its fdinfo/, whatever the mode says");
	sprintf(name, "/proc/%d/fdinfo/0", b->pid);
	CHECK_EQ(call(a, open_fails, (long)name), EACCES, "[1.37,proc] nor a file in it");
	REQUIRE(call(b, set_dumpable, 1) == 0);
	CHECK_EQ(call(a, open_fails, (long)name), 0, "[1.37,proc] until it is dumpable");
	retire(a, NULL);
	retire(b, NULL);
}

/* What another user gets. */
CASE(of_another_user)
{
	NEED_ROOT("[proc] files of another user");
	static const char *const closed[] = { "auxv", "environ", "io", "maps", "mem", "mountstats", "pagemap", "personality", "smaps",
		"smaps_rollup", "timers", "fd", "fdinfo", "ns", "clear_refs" };
	static const char *const free_to_all[] = { "cgroup", "cmdline", "comm", "coredump_filter", "limits", "loginuid", "mountinfo",
		"mounts", "oom_adj", "oom_score", "oom_score_adj", "sched", "schedstat", "sessionid", "stat", "statm", "status", "wchan" };
	need_name();
	struct agent *u = user_child(), *v = spawn(NULL);
	REQUIRE(call(v, ag_drop, 1001) == 0);
	bool refused = true, allowed = true;
	for (int i = 0; i < (int)(sizeof closed / sizeof *closed); i++) {
		sprintf(name, "/proc/%d/%s", u->pid, closed[i]);
		if (call(v, open_fails, (long)name) != EACCES)
			tap_note("%s can be opened", name), refused = false;
	}
	CHECK(refused, "[proc] what is for a debugger can't be opened: EACCES");
	for (int i = 0; i < (int)(sizeof free_to_all / sizeof *free_to_all); i++) {
		sprintf(name, "/proc/%d/%s", u->pid, free_to_all[i]);
		if (call(v, read_fails, (long)name) != 0)
			tap_note("%s can't be read", name), allowed = false;
	}
	CHECK(allowed, "[proc] all else can be read");
	sprintf(name, "/proc/%d/timerslack_ns", u->pid);
	CHECK_EQ(call(v, open_fails, (long)name), 0, "[proc,1.43] timerslack_ns can be opened");
	CHECK_EQ(call(v, read_fails, (long)name), EPERM, "[proc,1.43] but not read without CAP_SYS_NICE: EPERM");
	retire(u, NULL);
	retire(v, NULL);
}

/* ---- zombies and the dead ---- */

CASE(of_a_zombie)
{
	NEED_ROOT("[12.3] files of a zombie");
	static const struct {
		const char *name;
		int open_err, read_err;	/* read_err -1: the end at once */
	} want[] = {
		{ "auxv", ESRCH, 0 }, { "environ", ESRCH, 0 }, { "mem", ESRCH, 0 }, { "pagemap", ESRCH, 0 }, { "smaps_rollup", ESRCH, 0 },
		{ "mounts", EINVAL, 0 }, { "mountinfo", EINVAL, 0 }, { "mountstats", EINVAL, 0 },
		{ "maps", 0, -1 }, { "smaps", 0, -1 }, { "cmdline", 0, -1 }, { "timers", 0, -1 }, { "coredump_filter", 0, -1 },
		{ "clear_refs", 0, EINVAL },
		{ "io", 0, 0 }, { "personality", 0, 0 }, { "loginuid", 0, 0 }, { "sessionid", 0, 0 }, { "schedstat", 0, 0 },
		{ "sched", 0, 0 }, { "timerslack_ns", 0, 0 }, { "oom_adj", 0, 0 }, { "oom_score", 0, 0 }, { "oom_score_adj", 0, 0 },
		{ "limits", 0, 0 }, { "stat", 0, 0 }, { "statm", 0, 0 }, { "status", 0, 0 }, { "wchan", 0, 0 }, { "cgroup", 0, 0 },
		{ "comm", 0, 0 },
	};
	need_name();
	struct agent *u = user_child(), *v = spawn(NULL);
	REQUIRE(call(v, ag_drop, 1000) == 0);
	quit(u, 0);
	REQUIRE(await_zombie(u->pid));
	bool right = true;
	for (int i = 0; i < (int)(sizeof want / sizeof *want); i++) {
		int fd = open(of(u->pid, want[i].name), O_RDONLY), e = fd < 0 ? errno : 0;
		long n = fd < 0 ? 0 : read(fd, buf, 100);
		int got = fd < 0 ? 0 : n < 0 ? errno : n == 0 ? -1 : 0;
		if (e != want[i].open_err || got != want[i].read_err)
			tap_note("%s: open %d, read %d", want[i].name, e, got), right = false;
		if (fd >= 0)
			close(fd);
	}
	CHECK(right, "[12.3] what a zombie's files say, or why they can't be opened");
	int fd = MUST(open(of(u->pid, "comm"), O_WRONLY));
	CHECK_ERR(write(fd, "x", 1), EINVAL, "[12.3] its name can't be changed: EINVAL");
	close(fd);
	int dir = MUST(open(of(u->pid, "net"), O_RDONLY | O_DIRECTORY));
	CHECK_ERR(syscall(SYS_getdents64, dir, buf, sizeof buf), EINVAL, "[12.3] net/ can't be listed");
	close(dir);
	sprintf(name, "/proc/%d/environ", u->pid);
	CHECK_EQ(call(v, open_fails, (long)name), EACCES, "[12.3] to its user, too, most is closed: the files are root's");
	reap(u->pid);
	retire(v, NULL);
}

/* Files that were opened before their process ended. */
CASE(opened_before)
{
	static const struct {
		const char *name;
		int zombie, dead;	/* what a read gives: 1 something, 0 the end, or -errno */
	} want[] = {
		{ "maps", 0, -ESRCH }, { "smaps", 0, -ESRCH }, { "smaps_rollup", -ESRCH, -ESRCH }, { "mem", 0, 0 }, { "pagemap", 0, 0 },
		{ "environ", 0, 0 }, { "auxv", 1, 1 }, { "mounts", 1, 1 }, { "mountinfo", 1, 1 }, { "mountstats", 1, 1 },
		{ "io", 1, -ESRCH }, { "personality", 1, -ESRCH }, { "loginuid", 1, -ESRCH }, { "schedstat", 1, -ESRCH },
		{ "stat", 1, -ESRCH }, { "status", 1, -ESRCH }, { "comm", 1, -ESRCH }, { "limits", 1, -ESRCH }, { "statm", 1, -ESRCH },
		{ "cgroup", 1, -ESRCH }, { "wchan", 1, -ESRCH }, { "oom_score_adj", 1, -ESRCH },
	};
	enum { N = sizeof want / sizeof *want };
	struct agent *c = spawn(NULL);
	int fd[N];
	for (int i = 0; i < N; i++)
		fd[i] = MUST(open(of(c->pid, want[i].name), O_RDONLY));
	int dir = MUST(open(of(c->pid, ""), O_RDONLY | O_DIRECTORY));
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	bool right = true;
	for (int i = 0; i < N; i++) {
		long n = pread(fd[i], buf, 64, 0), got = n < 0 ? -errno : n > 0;
		if (got != want[i].zombie)
			tap_note("%s of a zombie: %ld", want[i].name, got), right = false;
	}
	CHECK(right, "[12.3] what was opened before: of a zombie");
	reap(c->pid);
	right = true;
	for (int i = 0; i < N; i++) {
		long n = pread(fd[i], buf, 64, 0), got = n < 0 ? -errno : n > 0;
		if (got != want[i].dead)
			tap_note("%s of a dead one: %ld", want[i].name, got), right = false;
		close(fd[i]);
	}
	CHECK(right, "[12.9] and of a reaped process");
	CHECK_ERR(openat(dir, "net", O_RDONLY), ESRCH, "[12.9] nothing can be opened below its directory: ESRCH");
	CHECK_ERR(openat(dir, "io", O_RDONLY), ESRCH, "[12.9] whatever it is");
	close(dir);
}

HELPER(wait_for_kill)
{
	while (getppid() > 0)
		pause();
	return 0;
}

/* execve replaces the memory that files were opened for. */
CASE(opened_before_exec)
{
	pid_t c = MUST(fork());
	if (c == 0) {
		wait_word(&sh->w[0], 1);
		exec_self("wait_for_kill", NULL, NULL, NULL);
		_exit(1);
	}
	int maps = MUST(open(of(c, "maps"), O_RDONLY)), mem = MUST(open(of(c, "mem"), O_RDONLY));
	int env = MUST(open(of(c, "environ"), O_RDONLY)), status = MUST(open(of(c, "status"), O_RDONLY));
	CHECK(read(maps, buf, 100) > 0 && read(status, buf, 100) > 0, "[proc] (files of a process that will exec)");
	set_word(&sh->w[0], 1);
	CHECK(AWAIT(read_file(of(c, "cmdline"), buf, sizeof buf) > 0 && !strcmp(buf + strlen(buf) + 1, "@wait_for_kill")), "[proc] (it has)");
	CHECK_EQ(pread(maps, buf, 100, 0), 0, "[10.10,proc] maps was about the old memory, which is gone");
	CHECK_EQ(pread(mem, buf, 100, (long)buf), 0, "[10.10,proc] and so was mem");
	CHECK_EQ(pread(env, buf, 100, 0), 0, "[10.10,proc] and environ");
	CHECK(pread(status, buf, 100, 0) > 0, "[10.9,proc] status is about the process, which goes on");
	kill(c, SIGKILL);
	reap(c);
	close(maps), close(mem), close(env), close(status);
}

/* ---- writing and seeking ---- */

CASE(writing_and_seeking)
{
	NEED_ROOT("[proc] writing and seeking");
	static const char *const plain[] = { "auxv", "cgroup", "cmdline", "environ", "io", "limits", "maps", "mountinfo", "mounts",
		"pagemap", "personality", "sessionid", "smaps", "smaps_rollup", "stat", "statm", "status", "timers", "wchan", "fdinfo/0" };
	static const char *const no_end[] = { "cgroup", "comm", "io", "limits", "maps", "mem", "mountinfo", "mounts", "oom_score",
		"pagemap", "personality", "sched", "schedstat", "smaps", "smaps_rollup", "stat", "statm", "status", "timers", "wchan",
		"fdinfo/0" };
	static const char *const end[] = { "auxv", "cmdline", "environ", "loginuid", "sessionid", "oom_adj", "oom_score_adj",
		"coredump_filter" };
	struct agent *c = spawn(NULL);
	bool right = true;
	for (int i = 0; i < (int)(sizeof plain / sizeof *plain); i++) {
		int fd = open(of(c->pid, plain[i]), O_WRONLY);
		if (fd < 0 || write(fd, "1", 1) != -1 || errno != EINVAL)
			tap_note("%s: %d, errno %d", plain[i], fd, errno), right = false;
		close(fd);
	}
	CHECK(right, "[proc] root can open for writing what can't be written; a write is EINVAL");
	right = true;
	for (int i = 0; i < (int)(sizeof no_end / sizeof *no_end); i++) {
		int fd = MUST(open(of(c->pid, no_end[i]), O_RDONLY));
		if (lseek(fd, 0, SEEK_END) != -1 || errno != EINVAL || lseek(fd, 0, SEEK_SET) != 0)
			tap_note("%s can be sought from its end", no_end[i]), right = false;
		close(fd);
	}
	CHECK(right, "[proc] most files have no end to seek from: EINVAL");
	right = true;
	for (int i = 0; i < (int)(sizeof end / sizeof *end); i++) {
		int fd = MUST(open(of(c->pid, end[i]), O_RDONLY));
		if (lseek(fd, 0, SEEK_END) != 0)
			tap_note("%s: errno %d", end[i], errno), right = false;
		close(fd);
	}
	CHECK(right, "[proc] that of others is at 0");
	int fd = MUST(open(of(c->pid, "loginuid"), O_WRONLY));
	CHECK_ERR(write(fd, "x", 1), EPERM, "[proc] loginuid of another process: EPERM before EINVAL");
	close(fd);
	retire(c, NULL);
}

static int read_int(pid_t pid, const char *name)
{
	return read_file(of(pid, name), buf, sizeof buf) > 0 ? atoi(buf) : -10000;
}

CASE(oom_adj)
{
	NEED_ROOT("[proc,3.25] oom_adj");
	struct agent *c = spawn(NULL);
	static const struct {
		int adj, score, back;
	} want[] = { { 0, 0, 0 }, { 5, 294, 4 }, { 14, 823, 13 }, { 15, 1000, 15 }, { -17, -1000, -17 }, { -8, -470, -7 } };
	bool right = true;
	char text[32];
	/* A container's root may only make it worse. */
	proc_status(getpid(), "CapEff", text, sizeof text);
	int n = strtol(text, NULL, 16) >> 24 & 1 ? 6 : 4;
	for (int i = 0; i < n; i++) {
		int fd = MUST(open(of(c->pid, "oom_adj"), O_WRONLY));
		snprintf(text, sizeof text, "%d\n", want[i].adj);
		if (write(fd, text, strlen(text)) < 0 || read_int(c->pid, "oom_score_adj") != want[i].score ||
		    read_int(c->pid, "oom_adj") != want[i].back)
			tap_note("%d: %d, %d", want[i].adj, read_int(c->pid, "oom_score_adj"), read_int(c->pid, "oom_adj")), right = false;
		close(fd);
	}
	CHECK(right, "[proc,3.25] oom_adj is oom_score_adj in seventeenths");
	int fd = MUST(open(of(c->pid, "oom_adj"), O_WRONLY));
	CHECK_ERR(write(fd, "16", 2), EINVAL, "[proc,3.25] above 15: EINVAL");
	CHECK_ERR(write(fd, "-18", 3), EINVAL, "[proc,3.25] below -17: EINVAL");
	close(fd);
	retire(c, NULL);
}

/* ---- io ---- */

struct io {
	long rchar, wchar, syscr, syscw;
};

static struct io io_of(pid_t pid, pid_t tid)
{
	struct io io = { -1, -1, -1, -1 };
	char file[32] = "io";
	if (tid)
		snprintf(file, sizeof file, "task/%d/io", tid);
	if (read_file(of(pid, file), buf, sizeof buf) > 0)
		sscanf(buf, "rchar: %ld\nwchar: %ld\nsyscr: %ld\nsyscw: %ld\n", &io.rchar, &io.wchar, &io.syscr, &io.syscw);
	return io;
}

static bool io_differs(struct io a, struct io b, long rchar, long wchar, long syscr, long syscw)
{
	if (b.rchar - a.rchar == rchar && b.wchar - a.wchar == wchar && b.syscr - a.syscr == syscr && b.syscw - a.syscw == syscw)
		return true;
	tap_note("rchar %ld wchar %ld syscr %ld syscw %ld", b.rchar - a.rchar, b.wchar - a.wchar, b.syscr - a.syscr, b.syscw - a.syscw);
	return false;
}

static long ag_write(long n)
{
	static char big[8192];
	int null = open("/dev/null", O_WRONLY);
	long r = write(null, big, n);
	close(null);
	return r;
}

static long ag_all_kinds(long unused)
{
	(void)unused;
	char b[100] = { 0 };
	struct iovec v[2] = { { b, 10 }, { b + 10, 20 } };
	int p[2], f = open(tmp_path("io"), O_RDWR | O_CREAT, 0600), null = open("/dev/null", O_RDWR);
	if (pipe(p) || f < 0 || null < 0)
		return -1;
	bool ok = write(p[1], b, 50) == 50 && read(p[0], b, 100) == 50;		/* 50 50 1 1 */
	ok = ok && pwrite(f, b, 40, 0) == 40 && pread(f, b, 7, 1) == 7;		/* 7 40 1 1 */
	ok = ok && writev(null, v, 2) == 30 && preadv(f, v, 2, 0) == 30;		/* 30 30 1 1 */
	ok = ok && pwritev(f, v, 2, 0) == 30 && readv(f, v, 2) == 30;		/* 30 30 1 1 */
	ok = ok && read(null, b, 5) == 0;						/* 0 0 1 0 */
	ok = ok && read(99, b, 5) == -1 && write(p[0], b, 5) == -1;		/* not counted: EBADF */
	ok = ok && pread(p[0], b, 5, 0) == -1;					/* nor ESPIPE */
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	ok = ok && read(p[0], b, 5) == -1 && errno == EAGAIN;			/* 0 0 1 0 */
	ok = ok && write(p[1], BADPTR, 5) == -1 && errno == EFAULT;		/* 0 0 0 1 */
	off_t from = 0;
	ok = ok && syscall(SYS_sendfile, p[1], f, &from, 12L) == 12;			/* 12 12 1 1 */
	close(p[0]), close(p[1]), close(f), close(null);
	return ok;
}

CASE(io_counts)
{
	struct agent *c = spawn(NULL);
	tmp_path("io");
	struct io a = io_of(c->pid, 0);
	REQUIRE(a.syscw >= 0);
	CHECK(strstr(buf, "read_bytes: ") && strstr(buf, "\nwrite_bytes: ") && strstr(buf, "\ncancelled_write_bytes: 0\n"), "[proc] io has seven lines");
	REQUIRE(call(c, ag_write, 1000) == 1000);
	struct io b = io_of(c->pid, 0);
	CHECK(io_differs(a, b, 0, 1000, 0, 1), "[proc] io counts a write and its bytes");
	REQUIRE(call(c, ag_all_kinds, 0) == 1);
	a = io_of(c->pid, 0);
	CHECK(io_differs(b, a, 129, 162, 7, 6), "[proc] all kinds of reads and writes, failed ones too, but not those that never got to a file");
	struct agent *t = spawn_thread(c);
	struct io lead = io_of(c->pid, c->pid);
	REQUIRE(call(t, ag_write, 77) == 77);
	CHECK(io_differs((struct io){ 0 }, io_of(c->pid, t->tid), 0, 77, 0, 1), "[proc] a thread's io is its own");
	CHECK(io_differs(lead, io_of(c->pid, c->pid), 0, 0, 0, 0), "[proc] not its siblings'");
	b = io_of(c->pid, 0);
	CHECK(io_differs(a, b, 0, 77, 0, 1), "[proc] the process's has all threads'");
	pid_t tid = t->tid;
	quit_thread(t, 0);
	snprintf(path, sizeof path, "/proc/%d/task/%d", c->pid, tid);
	char gone[64];
	strcpy(gone, path);
	REQUIRE(AWAIT(access(gone, F_OK) != 0));
	CHECK(io_differs(b, io_of(c->pid, 0), 0, 0, 0, 0), "[proc] also when they are dead");
	struct agent *g = spawn(c);
	CHECK(io_differs((struct io){ 0 }, io_of(g->pid, 0), 0, 0, 0, 0), "[proc] a child begins with nothing");
	REQUIRE(call(g, ag_write, 500) == 500);
	CHECK(io_differs(b, io_of(c->pid, 0), 0, 0, 0, 0), "[proc] a child's is not its parent's");
	quit(g, 0);
	REQUIRE(await_state(g->pid, 'Z'));
	CHECK(io_differs((struct io){ 0 }, io_of(g->pid, 0), 0, 500, 0, 1), "[proc,12.3] a zombie keeps its");
	REQUIRE(call(c, ag_reap, g->pid) == g->pid);
	CHECK(io_differs(b, io_of(c->pid, 0), 0, 500, 0, 1), "[proc] until it is waited for: now it is its parent's");
	retire(c, NULL);
}

/* ---- mem, process_vm_readv ---- */

static char *region;	/* at the same address in forked agents */

static long ag_peek(long at) { return ((volatile char *)at)[0]; }
static long ag_poke(long at) { ((volatile char *)at)[0] = 'p'; return 0; }
static long ag_unmap(long at) { return munmap((void *)at, 4096); }

CASE(mem)
{
	region = mmap(NULL, 6 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int f = MUST(open(tmp_path("file"), O_RDWR | O_CREAT, 0600));
	REQUIRE(ftruncate(f, 8192) == 0 && pwrite(f, "file", 4, 0) == 4);
	char *readonly = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, f, 0);
	int g = MUST(open(tmp_path("file"), O_RDONLY));
	char *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED, g, 0), *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
	strcpy(region, "hello");
	strcpy(region + 2 * 4096, "secret");
	REQUIRE(mprotect(region + 2 * 4096, 4096, PROT_NONE) == 0);
	strcpy(region + 3 * 4096, "fixed");
	REQUIRE(mprotect(region + 3 * 4096, 4096, PROT_READ) == 0);
	REQUIRE(mprotect(region + 4 * 4096, 4096, PROT_NONE) == 0);
	struct agent *c = spawn(NULL);
	int fd = MUST(open(of(c->pid, "mem"), O_RDWR));
	long at = (long)region;
	CHECK(pread(fd, buf, 6, at) == 6 && !strcmp(buf, "hello"), "[proc] mem is a process's memory");
	CHECK(lseek(fd, at + 1, SEEK_SET) == at + 1 && read(fd, buf, 4) == 4 && !memcmp(buf, "ello", 4), "[proc] positions are addresses");
	CHECK_EQ(lseek(fd, -1, SEEK_CUR), at + 4, "[proc] also from where it is");
	CHECK(pwrite(fd, "jelly", 5, at) == 5 && call(c, ag_peek, at) == 'j', "[proc] it can be written");
	CHECK_EQ(region[0], 'h', "[proc] that of this process alone");
	CHECK(pread(fd, buf, 6, at + 2 * 4096) == 6 && !strcmp(buf, "secret"), "[proc] what the process may not read is read");
	CHECK(pread(fd, buf, 6, at + 4 * 4096) == 6 && !buf[0], "[proc] also where no page is yet");
	CHECK(pwrite(fd, "X", 1, at + 3 * 4096) == 1 && call(c, ag_peek, at + 3 * 4096) == 'X', "[proc] and what it may not write written");
	CHECK_EQ(region[3 * 4096], 'f', "[proc] in a copy");
	CHECK(pwrite(fd, "Y", 1, at + 4 * 4096 + 9) == 1 && pread(fd, buf, 10, at + 4 * 4096) == 10 && buf[9] == 'Y' && !buf[0], "[proc] also without any rights");
	CHECK(pwrite(fd, "F", 1, (long)readonly) == 1 && call(c, ag_peek, (long)readonly) == 'F', "[proc] the private mapping of a file");
	CHECK(pread(f, buf, 4, 0) == 4 && !memcmp(buf, "file", 4) && *readonly == 'f', "[proc] but not the file");
	struct agent *k = spawn(c);
	CHECK(call(k, ag_peek, (long)readonly) == 'F' && call(k, ag_peek, at + 3 * 4096) == 'X', "[proc] a child has what was written so");
	CHECK(pwrite(fd, "G", 1, (long)readonly) == 1 && call(c, ag_peek, (long)readonly) == 'G' && call(k, ag_peek, (long)readonly) == 'F', "[proc] and not what comes later");
	quit(k, 0);
	REQUIRE(call(c, ag_reap, k->pid) == k->pid);
	CHECK_ERR(pwrite(fd, "S", 1, (long)shared), EIO, "[proc] a shared mapping without the right is not written: EIO");
	CHECK(pwrite(fd, "B", 1, (long)both) == 1 && *both == 'B' && *shared == 'B', "[proc] one with it is");
	CHECK(pwrite(fd, "12345678", 8, at + 4096 - 4) == 8 && call(c, ag_peek, at + 4096 + 3) == '8', "[proc] across pages");
	REQUIRE(call(c, ag_unmap, at + 5 * 4096) == 0);
	CHECK_ERR(pread(fd, buf, 10, at + 5 * 4096), EIO, "[proc] where nothing is: EIO");
	CHECK_EQ(pread(fd, buf, 10, at + 5 * 4096 - 4), 4, "[proc] up to there");
	CHECK_ERR(pread(fd, BADPTR, 10, at), EFAULT, "[proc] a bad buffer: EFAULT");
	CHECK_ERR(pread(fd, buf, 10, -4096), EINVAL, "[proc] pread takes no negative position");
	CHECK(lseek(fd, -4096, SEEK_SET) == -4096, "[proc] lseek does: the upper half are addresses, too");
	CHECK_ERR(read(fd, buf, 10), EIO, "[proc] where nothing can be read");
	CHECK_ERR(read(fd, buf, 4096), EOVERFLOW, "[proc] nor beyond the last address: EOVERFLOW");
	int self = MUST(open("/proc/self/mem", O_RDWR));
	CHECK(pwrite(self, "own", 3, at) == 3 && !memcmp(region, "own", 3), "[proc] one's own");
	CHECK(pwrite(self, "T", 1, (long)ag_peek) == 1 && *(char *)ag_peek == 'T', "[proc] and one's own text");
	close(self);
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(pread(fd, buf, 6, at), 0, "[12.3] of a zombie nothing is left");
	reap(c->pid);
	close(fd);
}

static long vm_call(long nr, pid_t pid, const struct iovec *l, long nl, const struct iovec *r, long nr_, long flags)
{
	return syscall(nr, (long)pid, l, nl, r, nr_, flags);
}
#define vm_read(pid, l, nl, r, nr, fl) vm_call(SYS_process_vm_readv, pid, l, nl, r, nr, fl)
#define vm_write(pid, l, nl, r, nr, fl) vm_call(SYS_process_vm_writev, pid, l, nl, r, nr, fl)

static long foreign_read(long pid)
{
	char b[4];
	struct iovec l = { b, 4 }, r = { region, 4 };
	return vm_read(pid, &l, 1, &r, 1, 0) < 0 ? errno : 0;
}

CASE(process_vm)
{
	region = mmap(NULL, 6 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(region, "abcdefgh");
	strcpy(region + 4096, "second page");
	REQUIRE(mprotect(region + 2 * 4096, 4096, PROT_NONE) == 0 && mprotect(region + 3 * 4096, 4096, PROT_READ) == 0 &&
		mprotect(region + 4 * 4096, 4096, PROT_EXEC) == 0);
	struct agent *c = spawn(NULL), *t = spawn_thread(c);
	memset(region, 'z', 8);
	struct iovec l = { buf, 8 }, r = { region, 8 };
	memset(buf, 0, 100);
	CHECK(vm_read(c->pid, &l, 1, &r, 1, 0) == 8 && !strcmp(buf, "abcdefgh"), "[proc] process_vm_readv");
	CHECK(vm_read(t->tid, &l, 1, &r, 1, 0) == 8, "[proc] any thread's number will do");
	memcpy(buf, "ABCDEFGH", 8);
	CHECK(vm_write(c->pid, &l, 1, &r, 1, 0) == 8 && call(c, ag_peek, (long)region) == 'A' && region[0] == 'z', "[proc] process_vm_writev");
	struct iovec ll[3] = { { buf, 3 }, { NULL, 0 }, { buf + 10, 90 } }, rr[3] = { { region + 1, 2 }, { region + 4090, 12 }, { region + 7, 1 } };
	memset(buf, 0, 100);
	CHECK(vm_read(c->pid, ll, 3, rr, 3, 0) == 15 && !memcmp(buf, "BC", 2) && !memcmp(buf + 15, "second", 6) && buf[21] == 'H', "[proc] lists on both sides, cut as they like");
	ll[2].iov_len = 4;
	CHECK_EQ(vm_read(c->pid, ll, 3, rr, 3, 0), 7, "[proc] no more than there is room for");
	CHECK_ERR(vm_read(c->pid, &l, 1, &r, 1, 1), EINVAL, "[proc] flags: EINVAL");
	CHECK_ERR(vm_read(c->pid, &l, 1025, &r, 1, 0), EINVAL, "[proc] a list that is too long: EINVAL");
	CHECK_ERR(vm_read(c->pid, &l, 1, &r, 1025, 0), EINVAL, "[proc] on the other side as well");
	CHECK_ERR(vm_read(c->pid, BADPTR, 1, &r, 1, 0), EFAULT, "[proc] a bad list: EFAULT");
	CHECK_ERR(vm_read(c->pid, &l, 1, BADPTR, 1, 0), EFAULT, "[proc] on the other side as well");
	CHECK_EQ(vm_read(999999, &l, 0, BADPTR, 1, 0), 0, "[proc] nothing to move: 0, whatever the rest is");
	struct iovec none = { region, 0 }, bad = { BADPTR, 8 };
	CHECK_EQ(vm_read(999999, &l, 1, &none, 1, 0), 0, "[proc] 0");
	CHECK_ERR(vm_read(999999, &l, 1, &r, 1, 0), ESRCH, "[proc] nobody there: ESRCH");
	CHECK_ERR(vm_read(c->pid, &l, 1, &bad, 1, 0), EFAULT, "[proc] nothing mapped there: EFAULT");
	CHECK_ERR(vm_read(c->pid, &bad, 1, &r, 1, 0), EFAULT, "[proc] nor here: EFAULT");
	r.iov_base = region + 2 * 4096;
	CHECK_ERR(vm_read(c->pid, &l, 1, &r, 1, 0), EFAULT, "[proc] nothing is forced: what can't be read");
	r.iov_base = region + 4 * 4096;
	CHECK_ERR(vm_read(c->pid, &l, 1, &r, 1, 0), EFAULT, "[proc] nor what can be executed only");
	r.iov_base = region + 3 * 4096;
	CHECK(vm_read(c->pid, &l, 1, &r, 1, 0) == 8, "[proc] what can be read is");
	CHECK_ERR(vm_write(c->pid, &l, 1, &r, 1, 0), EFAULT, "[proc] but not written: EFAULT");
	struct iovec edge = { region + 2 * 4096 - 4, 8 };
	CHECK_EQ(vm_read(c->pid, &l, 1, &edge, 1, 0), 4, "[proc] up to where it goes");
	struct iovec own = { region + 4096, 8 };
	CHECK_EQ(vm_read(getpid(), &l, 1, &own, 1, 0), 8, "[proc] one's own");
	IF_ROOT("[proc,1.37] process_vm_readv without the right: EPERM") {
		struct agent *u = user_child(), *v = spawn(NULL);
		REQUIRE(call(v, ag_drop, 1000) == 0);
		CHECK_EQ(call(v, foreign_read, c->pid), EPERM, "[proc,1.37] process_vm_readv without the right: EPERM");
		CHECK_EQ(call(v, foreign_read, u->pid), 0, "[proc,1.37] of a process of the same user");
		REQUIRE(call(u, set_dumpable, 0) == 0);
		CHECK_EQ(call(v, foreign_read, u->pid), EPERM, "[proc,1.37] that is not dumpable: EPERM");
		CHECK_EQ(call(v, foreign_read, v->pid), 0, "[proc,1.37] oneself always");
		retire(u, NULL);
		retire(v, NULL);
	}
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	r.iov_base = region;
	CHECK_ERR(vm_read(c->pid, &l, 1, &r, 1, 0), ESRCH, "[proc] of a zombie: ESRCH");
	reap(c->pid);
}

/* ---- smaps, pagemap ---- */

/* The value of a line of the entry that begins at `at` ("" for the rollup), in KiB; -1 if there is none. */
static long smaps_value(pid_t pid, const void *at, const char *key)
{
	static char text[1 << 18];
	char head[32];
	if (read_file(of(pid, at ? "smaps" : "smaps_rollup"), text, sizeof text) <= 0)
		return -1;
	snprintf(head, sizeof head, "%lx-", (long)at);
	char *p = at ? strstr(text, head) : text;
	if (!p)
		return -1;
	size_t k = strlen(key);
	while ((p = strchr(p, '\n')) && *++p && !(*p >= '0' && *p <= '9') && !(*p >= 'a' && *p <= 'f'))
		if (!strncmp(p, key, k) && p[k] == ':')
			return strtol(p + k + 1, NULL, 10);
	return -1;
}

static bool vm_flag(pid_t pid, const void *at, const char *flag)
{
	char *p;
	if (smaps_value(pid, at, "Rss") < 0)
		return false;
	static char text[1 << 18];
	char head[32];
	read_file(of(pid, "smaps"), text, sizeof text);
	snprintf(head, sizeof head, "%lx-", (long)at);
	if (!(p = strstr(text, head)) || !(p = strstr(p, "VmFlags:")))
		return false;
	*strchr(p, '\n') = 0;
	return strstr(p, flag) != NULL;
}

static unsigned long page_entry(pid_t pid, const void *at)
{
	unsigned long e = ~0ul;
	int fd = MUST(open(of(pid, "pagemap"), O_RDONLY));
	if (pread(fd, &e, 8, (unsigned long)at / 4096 * 8) != 8)
		e = ~0ul;
	close(fd);
	return e;
}

CASE(smaps)
{
	/* Away from others, so that it is a mapping of its own. */
	char *hole = mmap(NULL, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	region = mmap(hole + 16 * 4096, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	char *both = mmap(hole + 32 * 4096, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	madvise(region, 8 * 4096, MADV_NOHUGEPAGE);
	/* Not in ascending order, which a kernel might go on with. */
	region[6 * 4096] = region[3 * 4096] = region[0] = 1;
	both[0] = 1;
	pid_t me = getpid();
	CHECK_EQ(smaps_value(me, region, "Size"), 32, "[proc] smaps has the size of a mapping");
	CHECK_EQ(smaps_value(me, region, "KernelPageSize"), 4, "[proc] its page size");
	CHECK_EQ(smaps_value(me, region, "Rss"), 12, "[proc] what of it is there");
	CHECK_EQ(smaps_value(me, region, "Anonymous"), 12, "[proc] of its own");
	CHECK_EQ(smaps_value(me, region, "Private_Dirty"), 12, "[proc] alone and written");
	CHECK_EQ(smaps_value(me, region, "Pss"), 12, "[proc] its share");
	CHECK_EQ(smaps_value(me, region, "Referenced"), 12, "[proc] what was accessed");
	CHECK_EQ(smaps_value(me, region, "Locked"), 0, "[proc] what is locked");
	CHECK(smaps_value(me, both, "Rss") == 4 && smaps_value(me, both, "Anonymous") == 0, "[proc] shared memory");
	CHECK(vm_flag(me, region, " rd wr mr mw me ac ") && !vm_flag(me, region, "sh"), "[proc] VmFlags");
	CHECK(vm_flag(me, both, " rd wr sh mr mw me ms "), "[proc] of a shared mapping");
	CHECK(smaps_value(me, hole, "Rss") == 0 && vm_flag(me, hole, " mr mw me "), "[proc] and of a reserved one");
	struct agent *c = spawn(NULL);
	REQUIRE(call(c, ag_peek, (long)region) == 1);
	CHECK_EQ(smaps_value(c->pid, region, "Rss"), 12, "[proc] after a fork: as much");
	CHECK_EQ(smaps_value(c->pid, region, "Shared_Dirty"), 12, "[proc] all shared");
	CHECK_EQ(smaps_value(c->pid, region, "Pss"), 6, "[proc] and a half of it the child's share");
	REQUIRE(call(c, ag_poke, (long)region) == 0);
	CHECK(smaps_value(c->pid, region, "Private_Dirty") == 4 && smaps_value(c->pid, region, "Shared_Dirty") == 8, "[proc] less what it has written");
	CHECK(smaps_value(c->pid, NULL, "Rss") >= 12 && smaps_value(c->pid, NULL, "Pss") > 0, "[proc] smaps_rollup has sums");
	long parts = smaps_value(c->pid, NULL, "Pss_Anon") + smaps_value(c->pid, NULL, "Pss_File") + smaps_value(c->pid, NULL, "Pss_Shmem");
	long pss = smaps_value(c->pid, NULL, "Pss");
	CHECK(parts <= pss && parts >= pss - 3, "[proc] of which there are three kinds");
	read_file(of(c->pid, "smaps_rollup"), buf, sizeof buf);
	CHECK(strstr(buf, " ---p 00000000 00:00 0 ") && strstr(buf, "[rollup]\n"), "[proc] under one heading");
	int fd = MUST(open(of(c->pid, "clear_refs"), O_WRONLY));
	CHECK_EQ(write(fd, "1\n", 2), 2, "[proc] clear_refs");
	CHECK_EQ(smaps_value(c->pid, region, "Referenced"), 0, "[proc] forgets what was accessed");
	int own = MUST(open(of(me, "clear_refs"), O_WRONLY));
	MUST(write(own, "1\n", 2));
	close(own);
	/* Linux leaves it in the TLB that a page was accessed; this flushes it. */
	MUST(mprotect(region, 8 * 4096, PROT_READ));
	MUST(mprotect(region, 8 * 4096, PROT_READ | PROT_WRITE));
	CHECK_EQ(*(volatile char *)region, 1, "[proc] (the parent's page is as it was)");
	CHECK_EQ(smaps_value(me, region, "Referenced"), 4, "[proc] what is accessed now is seen");
	CHECK_ERR(write(fd, "0", 1), EINVAL, "[proc] 1 to 5");
	CHECK_ERR(write(fd, "6", 1), EINVAL, "[proc] and nothing else: EINVAL");
	CHECK_EQ(write(fd, "5", 1), 1, "[proc] 5 forgets VmHWM");
	close(fd);
	CHECK(mlock(region, 4096) == 0 && smaps_value(me, region, "Locked") == 4 && vm_flag(me, region, " lo "), "[proc] mlock shows");
	retire(c, NULL);
}

CASE(pagemap)
{
	enum { PRESENT = 63, SHARED = 61, EXCLUSIVE = 56 };
	region = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	madvise(region, 4 * 4096, MADV_NOHUGEPAGE);
	region[0] = 1, both[0] = 1;
	pid_t me = getpid();
	unsigned long e = page_entry(me, region);
	CHECK(e >> PRESENT == 1 && (e >> EXCLUSIVE & 1) && !(e >> SHARED & 1), "[proc] pagemap: a page of its own");
	CHECK_EQ(page_entry(me, region + 2 * 4096), 0, "[proc] none");
	e = page_entry(me, both);
	CHECK(e >> PRESENT == 1 && (e >> SHARED & 1), "[proc] one of shared memory");
	int fd = MUST(open("/proc/self/pagemap", O_RDONLY));
	CHECK_ERR(pread(fd, buf, 7, 0), EINVAL, "[proc] whole entries only");
	CHECK_ERR(pread(fd, buf, 8, 4), EINVAL, "[proc] at whole places: EINVAL");
	CHECK_EQ(pread(fd, buf, 8, 1L << 60), 0, "[proc] behind the last page there is none");
	close(fd);
	struct agent *c = spawn(NULL);
	REQUIRE(call(c, ag_peek, (long)region) == 1);
	CHECK(!(page_entry(me, region) >> EXCLUSIVE & 1) && !(page_entry(c->pid, region) >> EXCLUSIVE & 1), "[proc] after a fork it is not exclusive");
	IF_ROOT("[proc] both have the same frame") {
		unsigned long frame = (1ul << 55) - 1;
		CHECK((page_entry(me, region) & frame) != 0 && (page_entry(me, region) & frame) == (page_entry(c->pid, region) & frame), "[proc] both have the same frame");
		REQUIRE(call(c, ag_poke, (long)region) == 0);
		CHECK((page_entry(me, region) & frame) != (page_entry(c->pid, region) & frame), "[proc] until one writes");
	}
	retire(c, NULL);
	IF_ROOT("[proc] who is no administrator does not learn which") {
		REQUIRE(ag_drop(1000) == 0 && set_dumpable(1) == 0);
		e = page_entry(me, region);
		CHECK(e >> PRESENT == 1 && !(e & ((1ul << 55) - 1)), "[proc] who is no administrator does not learn which");
	}
}
