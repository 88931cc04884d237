/*
 * nsfs.c - namespaces as files: /proc/PID/ns, nsfs, setns, and a procfs that shows a pid namespace (9.3, 9.11, 9.15, 12.3,
 * 12.8).
 */
#include "lib/tap.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#define NSFS_MAGIC 0x6e736673

#define GET_USERNS 0xb701
#define GET_PARENT 0xb702
#define GET_NSTYPE 0xb703
#define GET_OWNER_UID 0xb704
#define GET_PID_FROM 0x8004b706
#define GET_TGID_FROM 0x8004b707
#define GET_PID_IN 0x8004b708
#define GET_TGID_IN 0x8004b709

static int ns_open(long pid, const char *name)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%ld/ns/%s", pid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* The text of a link, "" on error (errno). */
static const char *link_of(long pid, const char *name)
{
	static char text[4][64];
	static int turn;
	char path[64], *t = text[turn++ % 4];
	snprintf(path, sizeof path, "/proc/%ld/ns/%s", pid, name);
	ssize_t n = readlink(path, t, 63);
	t[n < 0 ? 0 : n] = 0;
	return t;
}

/* The inode number behind it, 0 on error (errno). */
static ino_t ino_of(long pid, const char *name)
{
	struct stat st;
	int fd = ns_open(pid, name);
	if (fd < 0)
		return 0;
	MUST(fstat(fd, &st));
	close(fd);
	return st.st_ino;
}

static long do_unshare(long f) { return unshare(f); }
static long try_thread(long x)
{
	pthread_t t;
	(void)x;
	int e = pthread_create(&t, NULL, (void *(*)(void *))(void *)ag_getpid, NULL);
	if (!e)
		pthread_join(t, NULL);
	return -e;
}

static const struct { const char *name, *kind; int type; } kinds[] = {
	{ "cgroup", "cgroup", CLONE_NEWCGROUP }, { "ipc", "ipc", CLONE_NEWIPC }, { "mnt", "mnt", CLONE_NEWNS },
	{ "net", "net", CLONE_NEWNET }, { "pid", "pid", CLONE_NEWPID }, { "pid_for_children", "pid", CLONE_NEWPID },
	{ "time", "time", CLONE_NEWTIME }, { "time_for_children", "time", CLONE_NEWTIME },
	{ "user", "user", CLONE_NEWUSER }, { "uts", "uts", CLONE_NEWUTS },
};
#define NKINDS (int)(sizeof kinds / sizeof *kinds)

CASE(links)
{
	int good_text = 0, good_type = 0, good_file = 0, listed = 0;
	for (int k = 0; k < NKINDS; k++) {
		struct stat st, l;
		struct statfs fs;
		char want[64], path[64], self[64], own[64] = "";
		int fd = MUST(ns_open(getpid(), kinds[k].name));
		MUST(fstat(fd, &st));
		MUST(fstatfs(fd, &fs));
		snprintf(want, sizeof want, "%s:[%lu]", kinds[k].kind, (unsigned long)st.st_ino);
		good_text += !strcmp(link_of(getpid(), kinds[k].name), want);
		good_type += ioctl(fd, GET_NSTYPE) == kinds[k].type;
		snprintf(path, sizeof path, "/proc/self/ns/%s", kinds[k].name);
		MUST(lstat(path, &l));
		snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
		if (readlink(self, own, sizeof own - 1) < 0)
			own[0] = 0;
		good_file += S_ISLNK(l.st_mode) && S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0444 && fs.f_type == NSFS_MAGIC
			  && !strcmp(own, want);
		close(fd);
	}
	DIR *d = opendir("/proc/self/ns");
	for (struct dirent *e; d && (e = readdir(d));)
		for (int k = 0; k < NKINDS; k++)
			listed += !strcmp(e->d_name, kinds[k].name);
	if (d)
		closedir(d);
	CHECK_EQ(good_text, NKINDS, "[9.3,proc] /proc/PID/ns/KIND is a link KIND:[inode]");
	CHECK_EQ(good_type, NKINDS, "[9.3,proc] NS_GET_NSTYPE tells the kind");
	CHECK_EQ(good_file, NKINDS, "[9.3,proc] behind it is a regular file of nsfs, mode 0444");
	CHECK_EQ(listed, NKINDS, "[proc] the directory lists them");
	CHECK(link_of(getpid(), "nonesuch")[0] == 0 && errno == ENOENT, "[proc] another name: ENOENT");
	CHECK_ERR(ns_open(0x3fffffff, "pid"), ENOENT, "[proc] of no process: ENOENT");
	char c;
	int fd = MUST(ns_open(getpid(), "pid"));
	CHECK_ERR(read(fd, &c, 1), EINVAL, "[proc] it can't be read");
	CHECK_ERR(ioctl(fd, 0xb7ff), ENOTTY, "[proc] an unknown ioctl: ENOTTY");
}

CASE(identity)
{
	struct agent *a = spawn(NULL), *i = new_ns(NULL), *j = new_ns(NULL), *n = new_ns(i), *m = spawn(i);
	ino_t own = ino_of(getpid(), "pid"), ni = ino_of(i->pid, "pid"), nj = ino_of(j->pid, "pid");
	CHECK(own && ino_of(a->pid, "pid") == own, "[9.3] a child is in the same namespace: same inode number");
	CHECK(ni && nj && ni != own && nj != own && ni != nj, "[9.3] each namespace has a number of its own");
	CHECK_EQ(ino_of(i->pid, "pid"), ni, "[9.3] which stays");
	CHECK(!strcmp(link_of(i->pid, "pid"), link_of(i->pid, "pid_for_children")), "[9.1] its children get into the same one");
	int fd = MUST(ns_open(i->pid, "pid"));
	retire(m, i);
	quit(n, 0);
	REQUIRE(call(i, ag_reap, n->pid) == n->pid);
	retire(i, NULL);
	struct stat st;
	MUST(fstat(fd, &st));
	CHECK_EQ(st.st_ino, ni, "[9.15] an open file keeps the namespace: same number");
	CHECK_EQ(ioctl(fd, GET_NSTYPE), CLONE_NEWPID, "[9.15] and answers");
	struct agent *k = new_ns(NULL);
	CHECK(ino_of(k->pid, "pid") != ni, "[9.15] a number in use is not given to another namespace");
	CHECK_OK(setns(fd, CLONE_NEWPID), "[9.10] setns into a dead namespace");
	CHECK_EQ(ag_try_clone(SIGCHLD), -ENOMEM, "[6.14,9.10] and fork: ENOMEM");
	close(fd);
	CHECK_EQ(ag_try_clone(SIGCHLD), -ENOMEM, "[9.15] the caller's choice keeps it as well");
	retire(a, NULL);
	retire(j, NULL);
	retire(k, NULL);
}

CASE(for_children)
{
	struct agent *u = spawn(NULL);
	ino_t own = ino_of(u->pid, "pid");
	REQUIRE(call(u, do_unshare, CLONE_NEWPID) == 0);
	CHECK_EQ(ino_of(u->pid, "pid"), own, "[9.1] unshare: the caller stays where it is");
	CHECK(link_of(u->pid, "pid_for_children")[0] == 0 && errno == ENOENT, "[9.1] pid_for_children without an init: ENOENT");
	CHECK(ns_open(u->pid, "pid_for_children") < 0 && errno == ENOENT, "[9.1] and to open");
	struct agent *i = spawn(u);
	REQUIRE(i->self == 1);
	ino_t in = ino_of(i->pid, "pid");
	CHECK(in && in != own && ino_of(u->pid, "pid_for_children") == in, "[9.1] then it is that of the first child");
	CHECK_OK(call(u, ag_enter_ns, u->pid), "[9.3] setns to the caller's own namespace");
	CHECK_EQ(ino_of(u->pid, "pid_for_children"), own, "[9.3] takes it back");
	CHECK_EQ(call(u, try_thread, 0), 0, "[9.4] and threads can be made again");
	struct agent *b = spawn(u);
	CHECK_EQ(b->self, b->pid, "[9.3] and children are outside");
	retire(b, u);
	quit(i, 0);
	REQUIRE(call(u, ag_reap, i->pid) == i->pid);
	retire(u, NULL);
}

CASE(of_a_zombie)
{
	struct agent *i = new_ns(NULL);
	ino_t in = ino_of(i->pid, "pid");
	quit(i, 0);
	REQUIRE(await_zombie(i->pid));
	CHECK(in && ino_of(i->pid, "pid") == in, "[12.3] a zombie's ns/pid can be read and opened");
	CHECK(link_of(i->pid, "mnt")[0] == 0 && errno == ENOENT, "[12.3] ns/mnt: ENOENT");
	CHECK(link_of(i->pid, "uts")[0] == 0 && errno == ENOENT, "[12.3] ns/uts: ENOENT");
	CHECK(link_of(i->pid, "pid_for_children")[0] == 0 && errno == ENOENT, "[12.3] pid_for_children: ENOENT");
	REQUIRE(reap(i->pid) == 0);
	CHECK(link_of(i->pid, "pid")[0] == 0 && errno == ENOENT, "[12.9] reaped: ENOENT");
}

static long parent_of(long pid)
{
	int fd = ns_open(pid, "pid");
	return fd < 0 || ioctl(fd, GET_PARENT) < 0 ? -errno : 0;
}

CASE(ioctls)
{
	struct agent *i = new_ns(NULL), *n = new_ns(i);
	int in = MUST(ns_open(i->pid, "pid")), uts = MUST(ns_open(getpid(), "uts")), user = MUST(ns_open(getpid(), "user"));
	int own = MUST(ns_open(getpid(), "pid"));
	struct stat st;
	int fd = MUST(ioctl(in, GET_PARENT));
	MUST(fstat(fd, &st));
	CHECK_EQ(st.st_ino, ino_of(getpid(), "pid"), "[9.15,proc] NS_GET_PARENT: the namespace above");
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC, "[proc] as a close-on-exec descriptor");
	close(fd);
	CHECK_ERR(ioctl(own, GET_PARENT), EPERM, "[proc] but not above the caller's own: EPERM");
	struct agent *m = spawn(i);
	CHECK_EQ(call(m, parent_of, i->pid), -EPERM, "[proc] nor from inside: EPERM");
	CHECK_ERR(ioctl(uts, GET_PARENT), EINVAL, "[proc] of a kind without a parent: EINVAL");
	CHECK_ERR(ioctl(user, GET_PARENT), EPERM, "[proc] of the user namespace: EPERM");
	fd = MUST(ioctl(in, GET_USERNS));
	CHECK_EQ(ioctl(fd, GET_NSTYPE), CLONE_NEWUSER, "[proc] NS_GET_USERNS: the user namespace");
	close(fd);
	uid_t uid = 99;
	CHECK(ioctl(user, GET_OWNER_UID, &uid) == 0 && uid == 0, "[proc] NS_GET_OWNER_UID");
	CHECK_ERR(ioctl(in, GET_OWNER_UID, &uid), EINVAL, "[proc] of another kind: EINVAL");
	IF_SINCE(6, 11, "[9.14] NS_GET_PID_IN_PIDNS and its relatives") {
		struct agent *t = spawn_thread(i);
		pid_t nested = -1;
		/* the outer number of n: the one child of i whose number inside is n->pid */
		nested = ioctl(in, GET_PID_FROM, n->pid);
		CHECK(nested > 0 && kill(nested, 0) == 0, "[9.14] NS_GET_PID_FROM_PIDNS: a number from inside, as the caller has it");
		CHECK_EQ(ioctl(in, GET_PID_IN, nested), n->pid, "[9.14] NS_GET_PID_IN_PIDNS: the other way");
		CHECK_EQ(ioctl(in, GET_PID_IN, i->pid), 1, "[9.14] its init is 1");
		CHECK_EQ(ioctl(in, GET_TGID_FROM, t->tid), i->pid, "[9.14] NS_GET_TGID_FROM_PIDNS of a thread: its process");
		int ot = ioctl(in, GET_PID_FROM, t->tid);
		CHECK(ot > 0 && ioctl(in, GET_TGID_IN, ot) == 1, "[9.14] NS_GET_TGID_IN_PIDNS");
		CHECK_ERR(ioctl(in, GET_PID_FROM, 0x3ffffff), ESRCH, "[9.14] no such number: ESRCH");
		CHECK_ERR(ioctl(in, GET_PID_IN, getpid()), ESRCH, "[9.14] one that is not visible inside: ESRCH");
		CHECK_ERR(ioctl(uts, GET_PID_IN, i->pid), EINVAL, "[9.14] of another kind of namespace: EINVAL");
		quit_thread(t, 0);
	}
	retire(m, i);
	quit(n, 0);
	REQUIRE(call(i, ag_reap, n->pid) == n->pid);
	retire(i, NULL);
}

static long dropped_setns(long fd)
{
	if (ag_drop(1000) != 0)
		return -1;
	return setns(fd, 0) == 0 ? 0 : -errno;
}

CASE(setns_rules)
{
	struct agent *i = new_ns(NULL), *j = new_ns(NULL), *x = spawn(NULL), *d = spawn(NULL), *m = spawn(i);
	int in = MUST(ns_open(i->pid, "pid"));
	int uts = MUST(ns_open(getpid(), "uts")), user = MUST(ns_open(getpid(), "user"));
	int dir = MUST(open("/proc", O_RDONLY | O_DIRECTORY)), path = MUST(open("/proc/self/ns/pid", O_PATH));
	struct agent *y = spawn(i), *z = spawn(NULL);
	CHECK_ERR(setns(in, CLONE_NEWUTS), EINVAL, "[9.3] flags of another kind: EINVAL");
	CHECK_ERR(setns(in, CLONE_NEWPID | CLONE_NEWUTS), EINVAL, "[9.3] of more than one: EINVAL");
	CHECK_ERR(setns(dir, 0), EINVAL, "[9.3] not a namespace: EINVAL");
	CHECK_ERR(setns(path, 0), EBADF, "[9.3] O_PATH: EBADF");
	CHECK_ERR(setns(-1, 0), EBADF, "[9.3] no descriptor: EBADF");
	CHECK_ERR(setns(user, 0), EINVAL, "[9.3] the user namespace that one is in: EINVAL");
	CHECK_OK(setns(uts, CLONE_NEWUTS), "[9.3] the uts namespace that one is in: nothing happens");
	CHECK_ERR(call(y, ag_enter_ns, getpid()), EINVAL, "[9.3] from inside into the one above: EINVAL");
	CHECK_ERR(call(y, ag_enter_ns, j->pid), EINVAL, "[9.3] into one beside: EINVAL");
	CHECK_OK(call(y, ag_enter_ns, i->pid), "[9.3] into one's own");
	CHECK_EQ(call(z, dropped_setns, in), -EPERM, "[9.3] without CAP_SYS_ADMIN: EPERM");
	CHECK_OK(call(x, ag_enter_ns, i->pid), "[9.3] into one below");
	CHECK_ERR(call(x, do_unshare, CLONE_NEWPID), EINVAL, "[9.2] unshare after setns: EINVAL");
	CHECK_EQ(call(x, ag_try_clone, NS), -EINVAL, "[9.2] clone(NEWPID) as well");
	CHECK_EQ(call(x, try_thread, 0), -EINVAL, "[9.4,6.2] no threads: EINVAL");
	CHECK_OK(call(x, ag_enter_ns, j->pid), "[9.3] and into another, from where one is oneself");
	CHECK_EQ(ino_of(x->pid, "pid_for_children"), ino_of(j->pid, "pid"), "[9.3] which replaces the first");
	struct agent *c = spawn(x);
	CHECK_EQ(c->self, 2, "[9.3] that is where children go");
	retire(c, x);
	retire(x, NULL);
	retire(d, NULL);
	retire(z, NULL);
	retire(y, i);
	retire(m, i);
	retire(i, NULL);
	retire(j, NULL);
}

/* ---- a procfs of a namespace ---- */

static char *view;	/* where it is mounted */

static long mount_view(long x)
{
	(void)x;
	return mount("proc", view, "proc", 0, NULL);
}

static long self_in_view(long thread)
{
	char path[PATH_MAX], text[64];
	snprintf(path, sizeof path, "%s/%s", view, thread ? "thread-self" : "self");
	ssize_t n = readlink(path, text, sizeof text - 1);
	if (n < 0)
		return -errno;
	text[n] = 0;
	char *last = strrchr(text, '/');
	return atol(thread && last ? last + 1 : text);
}

static int read_view(const char *file, char *buf, size_t n)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", view, file);
	return read_file(path, buf, n);
}

/* The numbers of the processes in it, as a bit set of those below 64; -1 if others are there. */
static long listed(void)
{
	long set = 0;
	DIR *d = opendir(view);
	for (struct dirent *e; d && (e = readdir(d));) {
		int pid = atoi(e->d_name);
		if (pid > 0)
			set = set < 0 || pid >= 64 ? -1 : set | 1L << pid;
	}
	if (d)
		closedir(d);
	return set;
}

static bool line_of(const char *file, const char *key, const char *want)
{
	char buf[4096], *at;
	if (read_view(file, buf, sizeof buf) < 0 || !(at = strstr(buf, key)))
		return false;
	at += strlen(key);
	return !strncmp(at, want, strlen(want)) && at[strlen(want)] == '\n';
}

CASE(view)
{
	if (in_chroot()) {
		tap_skip("[9.11] a procfs of a pid namespace", IN_CHROOT);
		return;
	}
	/* mounts of our own where the kernel has mount namespaces */
	if (unshare(CLONE_NEWNS) == 0)
		MUST(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	view = (char *)tmp_path("view");
	MUST(mkdir(view, 0755));
	struct agent *i = new_ns(NULL), *a = spawn(i), *b = spawn(a), *n = new_ns(b), *t = spawn_thread(a);
	REQUIRE(call(i, mount_view, 0) == 0);
	CHECK_EQ(listed(), 1L << 1 | 1L << a->self | 1L << b->self | 1L << n->pid, "[9.11] a procfs shows the namespace of whoever mounted it");
	CHECK_EQ(call(a, self_in_view, 0), a->self, "[9.11] self is the reader's number there");
	CHECK_EQ(call(t, self_in_view, 1), t->tid, "[9.11] thread-self as well");
	CHECK_EQ(call(n, self_in_view, 0), n->pid, "[9.11] also of a reader in a namespace below");
	CHECK_EQ(self_in_view(0), -ENOENT, "[9.11] a reader outside: ENOENT");
	CHECK_EQ(self_in_view(1), -ENOENT, "[9.11] (thread-self)");
	char buf[4096], want[64], file[64];
	CHECK(AWAIT(read_view("1/stat", buf, sizeof buf) > 0 && !strncmp(buf, "1 (nsfs) S 0 0 0 ", 17)), "[9.11,12.1] what is outside shows as 0: parent, group, session");
	snprintf(file, sizeof file, "%d/stat", b->self);
	snprintf(want, sizeof want, "%d (nsfs) S %d 0 0 ", b->self, a->self);
	CHECK(AWAIT(read_view(file, buf, sizeof buf) > 0 && !strncmp(buf, want, strlen(want))), "[9.11] what is inside in its numbers");
	CHECK(line_of("1/status", "\nNSpid:", "\t1"), "[12.8] NSpid begins with the mount's namespace");
	CHECK(line_of("1/status", "\nNSpgid:", "\t0"), "[9.11,12.8] a group from outside: 0");
	snprintf(file, sizeof file, "%d/status", n->pid);
	snprintf(want, sizeof want, "\t%d\t1", n->pid);
	CHECK(line_of(file, "\nNSpid:", want), "[12.8] and ends with the innermost");
	CHECK(line_of(file, "\nNStgid:", want), "[12.8] NStgid as well");
	CHECK(line_of(file, "\nNSsid:", "\t0\t0"), "[12.8] NSsid has as many");
	REQUIRE(call(n, ag_setsid, 0) == 1);
	CHECK(line_of(file, "\nNSsid:", want), "[12.8,8.7] after setsid it is the namespace's own");
	snprintf(want, sizeof want, "\t%d", b->self);
	CHECK(line_of(file, "\nPPid:", want), "[12.2] PPid in the mount's namespace");
	snprintf(file, sizeof file, "%d/task/%d/status", a->self, t->tid);
	snprintf(want, sizeof want, "\t%d", t->tid);
	CHECK(line_of(file, "\nPid:", want), "[9.11] threads by their numbers inside");
	snprintf(file, sizeof file, "%d/task/%d/children", a->self, a->self);
	snprintf(want, sizeof want, "%d ", b->self);
	CHECK(read_view(file, buf, sizeof buf) > 0 && !strcmp(buf, want), "[12.5] children too");
	snprintf(file, sizeof file, "%d", i->pid + 1000000);
	CHECK_ERR(read_view(file, buf, sizeof buf), ENOENT, "[9.11] no other numbers");
	quit_thread(t, 0);
	retire(n, b);
	quit(i, 0);
	REQUIRE(reap(i->pid) == 0);
	CHECK_EQ(listed(), 0, "[9.15] the mount outlives the namespace's processes");
	CHECK_OK(umount(view), "[9.15] and can be taken away");
}
