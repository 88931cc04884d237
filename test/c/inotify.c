/*
 * inotify.c - inotify(7): which events there are and who hears of them, in which order; watches, reads, limits.
 *
 * A case works in a directory of its own. Events are compared as text: "d:create a" is IN_CREATE of `a` told by the watch
 * `d`, a `/` behind the event is IN_ISDIR, `#1` is a cookie (numbered as they come).
 */
#include "lib/tap.h"

#include <dirent.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>

#ifndef IN_MASK_CREATE
#define IN_MASK_CREATE 0x10000000
#endif

static int in;			/* the instance, non-blocking */
static char label[64];		/* of watch descriptors */
static uint32_t cookies[16];
static int ncookies;

static int watch_as(char name, const char *path, uint32_t mask)
{
	int wd = MUST(inotify_add_watch(in, path, mask));
	REQUIRE(wd > 0 && wd < 64);
	label[wd] = name;
	return wd;
}

static void set_up(void)
{
	REQUIRE(chdir(tmp_path("")) == 0);
	in = MUST(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
}

static const char *event_name(uint32_t bit)
{
	static const char *const names[] = { "access", "modify", "attrib", "close_write", "close_nowrite", "open", "moved_from", "moved_to",
					     "create", "delete", "delete_self", "move_self", "?", "unmount", "overflow", "ignored" };
	return bit < 16 ? names[bit] : "?";
}

static int cookie_number(uint32_t cookie)
{
	for (int i = 0; i < ncookies; i++)
		if (cookies[i] == cookie)
			return i + 1;
	REQUIRE(ncookies < 16);
	cookies[ncookies++] = cookie;
	return ncookies;
}

/* The events in `buf` as text. */
static const char *text_of(const char *buf, ssize_t n)
{
	static char text[4096];
	size_t at = 0;
	text[0] = 0;
	for (const char *p = buf; p < buf + n;) {
		struct inotify_event e;
		memcpy(&e, p, sizeof e);
		const char *name = p + sizeof e;
		REQUIRE(at < sizeof text - 400 && e.len % 16 == 0 && p + sizeof e + e.len <= buf + n);
		at += sprintf(text + at, "%s%c:", at ? ", " : "", e.wd == -1 ? '*' : e.wd > 0 && e.wd < 64 && label[e.wd] ? label[e.wd] : '?');
		for (int bit = 0, first = 1; bit < 16; bit++)
			if (e.mask >> bit & 1)
				at += sprintf(text + at, "%s%s", first ? "" : "+", event_name(bit)), first = 0;
		if (e.mask & IN_ISDIR)
			at += sprintf(text + at, "/");
		if (e.len)
			at += sprintf(text + at, " %s", name);
		if (e.cookie)
			at += sprintf(text + at, " #%d", cookie_number(e.cookie));
		p += sizeof e + e.len;
	}
	return text;
}

static const char *events(void)
{
	static char buf[65536];
	ssize_t n = read(in, buf, sizeof buf);
	REQUIRE(n >= 0 || errno == EAGAIN);
	return text_of(buf, n < 0 ? 0 : n);
}

static void expect(const char *want, const char *text, int line)
{
	char got[4096];
	strcpy(got, events());
	tap_report(!strcmp(got, want), text, __FILE__, line, "got \"%s\", expected \"%s\"", got, want);
}
#define EXPECT(want, text) expect(want, text, __LINE__)
#define QUIET(text) expect("", text, __LINE__)

static void touch(const char *name) { close(MUST(open(name, O_CREAT | O_WRONLY, 0644))); }
static void forget(void) { events(); }

/* ---- calls ---- */

CASE(instances)
{
	CHECK_ERR(inotify_init1(1), EINVAL, "[inotify] init1 with an unknown flag: EINVAL");
	int fd = inotify_init();
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == 0 && fcntl(fd, F_GETFL) == O_RDONLY, "[inotify] init: read-only, no flags");
	close(fd);
	fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) == O_NONBLOCK, "[inotify] init1: IN_NONBLOCK, IN_CLOEXEC");
	CHECK_ERR(write(fd, "x", 1), EBADF, "[inotify] it can't be written to: EBADF");
	CHECK_EQ(lseek(fd, 5, SEEK_SET), 0, "[inotify] its offset goes nowhere, without an error");
	CHECK_EQ(lseek(fd, 0, SEEK_END), 0, "[inotify] nor to an end");
	CHECK_ERR(pread(fd, &fd, 4, 0), ESPIPE, "[inotify] pread: ESPIPE");
	CHECK_ERR(ioctl(fd, 0x4abc, 0), ENOTTY, "[inotify] an unknown ioctl: ENOTTY");
	char path[64], name[64] = "";
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	REQUIRE(readlink(path, name, sizeof name - 1) > 0);
	CHECK(!strcmp(name, "anon_inode:inotify"), "[inotify] its name in /proc");
}

CASE(arguments)
{
	set_up();
	touch("a");
	symlink("a", "link");
	symlink("nowhere", "dangling");
	CHECK_ERR(inotify_add_watch(in, "a", 0), EINVAL, "[inotify] an empty mask: EINVAL");
	CHECK_ERR(inotify_add_watch(in, "a", 0x1000), EINVAL, "[inotify] an unknown bit: EINVAL");
	CHECK_ERR(inotify_add_watch(-1, "a", 0x1000), EINVAL, "[inotify] an unknown bit is seen before a bad descriptor");
	CHECK_ERR(inotify_add_watch(-1, "a", IN_OPEN), EBADF, "[inotify] a bad descriptor: EBADF");
	CHECK_ERR(inotify_add_watch(-1, "a", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE), EBADF, "[inotify] before a contradiction is seen");
	CHECK_ERR(inotify_add_watch(in, "a", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE), EINVAL, "[inotify] IN_MASK_ADD with IN_MASK_CREATE: EINVAL");
	int fd = MUST(open("a", O_RDONLY));
	CHECK_ERR(inotify_add_watch(fd, "a", IN_OPEN), EINVAL, "[inotify] a descriptor of something else: EINVAL");
	CHECK_ERR(inotify_add_watch(in, "nowhere", IN_OPEN), ENOENT, "[inotify] no such file: ENOENT");
	CHECK_ERR(inotify_add_watch(in, "", IN_OPEN), ENOENT, "[inotify] an empty path: ENOENT");
	CHECK_ERR(inotify_add_watch(in, "a/b", IN_OPEN), ENOTDIR, "[inotify] a file on the way: ENOTDIR");
	CHECK_ERR(inotify_add_watch(in, BADPTR, IN_OPEN), EFAULT, "[inotify] a bad pointer: EFAULT");
	CHECK_ERR(inotify_add_watch(in, "a", IN_OPEN | IN_ONLYDIR), ENOTDIR, "[inotify] IN_ONLYDIR: ENOTDIR for a file");
	CHECK(inotify_add_watch(in, ".", IN_OPEN | IN_ONLYDIR) == 1, "[inotify] IN_ONLYDIR takes a directory; the first watch is 1");
	CHECK_ERR(inotify_add_watch(in, "dangling", IN_OPEN), ENOENT, "[inotify] a symbolic link is followed");
	CHECK_EQ(inotify_add_watch(in, "dangling", IN_OPEN | IN_DONT_FOLLOW), 2, "[inotify] IN_DONT_FOLLOW: the link itself");
	CHECK_ERR(inotify_add_watch(in, "link", IN_OPEN | IN_DONT_FOLLOW | IN_ONLYDIR), ENOTDIR, "[inotify] a link is no directory");
	CHECK_EQ(inotify_add_watch(in, "link", IN_OPEN), 3, "[inotify] watch descriptors count up");
	CHECK_EQ(inotify_add_watch(in, "a", IN_OPEN), 3, "[inotify] the same file by another name has the same one");
	CHECK_EQ(inotify_add_watch(in, "a", IN_ISDIR | IN_UNMOUNT | IN_IGNORED | IN_Q_OVERFLOW), 3, "[inotify] bits that come unasked may be given");
	CHECK_ERR(inotify_rm_watch(in, 99), EINVAL, "[inotify] rm_watch of what is none: EINVAL");
	CHECK_ERR(inotify_rm_watch(in, -1), EINVAL, "[inotify] rm_watch of -1: EINVAL");
	CHECK_ERR(inotify_rm_watch(-1, 1), EBADF, "[inotify] rm_watch of a bad descriptor: EBADF");
	CHECK_ERR(inotify_rm_watch(fd, 1), EINVAL, "[inotify] rm_watch of another kind of descriptor: EINVAL");
	CHECK_OK(inotify_rm_watch(in, 3), "[inotify] rm_watch");
	CHECK_ERR(inotify_rm_watch(in, 3), EINVAL, "[inotify] twice: EINVAL");
	label[3] = 'a';
	EXPECT("a:ignored", "[inotify] a watch that is taken away says IN_IGNORED");
	CHECK_EQ(inotify_add_watch(in, "a", IN_OPEN), 4, "[inotify] a watch descriptor is not used again");
	CHECK_EQ(ioctl(in, 0x40044900, 60), 0, "[inotify] INOTIFY_IOC_SETNEXTWD");
	touch("b");
	touch("c");
	CHECK_EQ(inotify_add_watch(in, "b", IN_OPEN), 60, "[inotify] says which comes next");
	CHECK_EQ(inotify_add_watch(in, "c", IN_OPEN), 61, "[inotify] and it counts on from there");
	CHECK_ERR(ioctl(in, 0x40044900, 0), EINVAL, "[inotify] INOTIFY_IOC_SETNEXTWD of 0: EINVAL");
	CHECK_EQ(ioctl(in, 0x40044900, 2), 0, "[inotify] INOTIFY_IOC_SETNEXTWD to one that is in use");
	touch("e");
	CHECK_EQ(inotify_add_watch(in, "e", IN_OPEN), 3, "[inotify] the next free one is taken");
}

CASE(permission)
{
	NEED_ROOT("[inotify] a file that can't be read");
	set_up();
	close(MUST(open("secret", O_CREAT | O_WRONLY, 0600)));
	close(MUST(open("public", O_CREAT | O_WRONLY, 0604)));
	chmod(".", 0711);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		ag_drop(1000);
		int secret = inotify_add_watch(in, "secret", IN_ATTRIB) == -1 ? errno : 0;
		int dir = inotify_add_watch(in, ".", IN_CREATE) == -1 ? errno : 0;
		_exit(secret == EACCES && dir == EACCES && inotify_add_watch(in, "public", IN_ATTRIB) > 0 ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[inotify] what can't be read can't be watched: EACCES");
}

/* ---- events ---- */

CASE(file_events)
{
	char b[16];
	struct iovec iov = { b, sizeof b }, none = { b, 0 };
	set_up();
	watch_as('d', ".", IN_ALL_EVENTS);
	int fd = MUST(open("a", O_CREAT | O_RDWR, 0644));
	EXPECT("d:create a, d:open a", "[inotify] open with O_CREAT: created, then opened");
	watch_as('a', "a", IN_ALL_EVENTS);
	MUST(write(fd, "hello", 5));
	EXPECT("d:modify a, a:modify", "[inotify] write: the directory hears first, with the name");
	MUST(write(fd, "x", 0));
	QUIET("[inotify] a write of nothing is no event");
	MUST(pwrite(fd, "x", 1, 0));
	EXPECT("d:modify a, a:modify", "[inotify] pwrite");
	MUST(pread(fd, b, 5, 0));
	EXPECT("d:access a, a:access", "[inotify] pread");
	MUST(read(fd, b, 5));
	QUIET("[inotify] a read at the end is no event");
	MUST(readv(fd, &iov, 1));
	EXPECT("d:access a, a:access", "[inotify] but a readv at the end is");
	MUST(readv(fd, &none, 1));
	EXPECT("d:access a, a:access", "[inotify] and a readv of nothing");
	MUST(writev(fd, &none, 1));
	QUIET("[inotify] a writev of nothing is not");
	int w = MUST(open("a", O_WRONLY | O_TRUNC));
	EXPECT("d:open a, a:open, d:modify a, a:modify", "[inotify] O_TRUNC: opened, then changed");
	close(w);
	EXPECT("d:close_write a, a:close_write", "[inotify] close of what could be written");
	int r = MUST(open("a", O_RDONLY)), r2 = MUST(dup(r));
	EXPECT("d:open a, a:open", "[inotify] open");
	close(r);
	QUIET("[inotify] close of one of two descriptors is no event");
	close(r2);
	EXPECT("d:close_nowrite a, a:close_nowrite", "[inotify] of the last it is");
	MUST(ftruncate(fd, 3));
	EXPECT("d:modify a, a:modify", "[inotify] ftruncate");
	MUST(truncate("a", 3));
	EXPECT("d:modify a, a:modify", "[inotify] truncate, even to the size that it has");
	MUST(fallocate(fd, 0, 0, 100));
	EXPECT("d:modify a, a:modify", "[inotify] fallocate");
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	REQUIRE(map != MAP_FAILED);
	*(volatile char *)map = 1;
	munmap(map, 4096);
	QUIET("[inotify] what is done in a mapping is not told");
	MUST(rename("a", "b"));
	forget();
	MUST(write(fd, "x", 1));
	EXPECT("d:modify b, a:modify", "[inotify] the name is the one that the file has now");
	close(fd);
	EXPECT("d:close_write b, a:close_write", "[inotify] also when it is closed");
	fd = MUST(open("b", O_PATH));
	close(fd);
	QUIET("[inotify] O_PATH is not told");
	CHECK(open("b", O_CREAT | O_EXCL, 0644) == -1 && open("c", O_RDONLY) == -1, "[inotify] opens that fail");
	QUIET("[inotify] are not told");
	MUST(access("b", R_OK));
	struct stat st;
	MUST(stat("b", &st));
	QUIET("[inotify] nor are access and stat");
}

CASE(copies)
{
	set_up();
	int from = MUST(open("from", O_CREAT | O_RDWR, 0644)), to = MUST(open("to", O_CREAT | O_RDWR, 0644));
	MUST(write(from, "abc", 3));
	watch_as('f', "from", IN_ALL_EVENTS);
	watch_as('t', "to", IN_ALL_EVENTS);
	off_t at = 0;
	MUST(sendfile(to, from, &at, 3));
	EXPECT("f:access, t:modify", "[inotify] sendfile");
	MUST(sendfile(to, from, &at, 3));
	QUIET("[inotify] sendfile at the end");
	loff_t pos = 0;
	ssize_t n = copy_file_range(from, &pos, to, NULL, 3, 0);
	REQUIRE(n == 3);
	EXPECT("f:access, t:modify", "[inotify] copy_file_range");
	struct iovec iov = { "xy", 2 };
	MUST(pwritev(to, &iov, 1, 0));
	EXPECT("t:modify", "[inotify] pwritev");
}

CASE(attributes)
{
	set_up();
	touch("a");
	mkdir("sub", 0755);
	watch_as('d', ".", IN_ALL_EVENTS);
	watch_as('a', "a", IN_ALL_EVENTS);
	int fd = MUST(open("a", O_RDWR));
	forget();
	MUST(chmod("a", 0600));
	EXPECT("d:attrib a, a:attrib", "[inotify] chmod");
	MUST(fchmod(fd, 0600));
	EXPECT("d:attrib a, a:attrib", "[inotify] fchmod, even to the mode that it has");
	MUST(chmod("sub", 0700));
	EXPECT("d:attrib/ sub", "[inotify] of a directory: with IN_ISDIR");
	MUST(chown("a", -1, -1));
	QUIET("[inotify] a chown that changes nothing is not told");
	MUST(chown("a", getuid(), -1));
	EXPECT("d:attrib a, a:attrib", "[inotify] chown");
	MUST(fchown(fd, -1, getgid()));
	EXPECT("d:attrib a, a:attrib", "[inotify] fchown");
	MUST(chmod("a", 04755));
	forget();
	MUST(chown("a", -1, -1));
	EXPECT("d:attrib a, a:attrib", "[inotify] a chown that only drops the set-id bit is told");
	MUST(utimensat(AT_FDCWD, "a", NULL, 0));
	EXPECT("d:attrib a, a:attrib", "[inotify] both times: attributes");
	struct timespec ts[2] = { { 0, UTIME_OMIT }, { 5, 0 } };
	MUST(utimensat(AT_FDCWD, "a", ts, 0));
	EXPECT("d:modify a, a:modify", "[inotify] the modification time alone: changed");
	ts[0] = ts[1];
	ts[1].tv_nsec = UTIME_OMIT;
	MUST(futimens(fd, ts));
	EXPECT("d:access a, a:access", "[inotify] the access time alone: read");
	ts[0].tv_nsec = UTIME_OMIT;
	MUST(futimens(fd, ts));
	QUIET("[inotify] neither: nothing");
	if (setxattr("a", "user.x", "1", 1, 0) == 0) {
		EXPECT("d:attrib a, a:attrib", "[inotify] setxattr");
		MUST(fremovexattr(fd, "user.x"));
		EXPECT("d:attrib a, a:attrib", "[inotify] fremovexattr");
	} else {
		tap_skip("[inotify] setxattr", "no extended attributes here");
		tap_skip("[inotify] fremovexattr", "no extended attributes here");
	}
	NEED_ROOT("[inotify] set-id bits that go");
	chmod("a", 06777);
	MUST(write(fd, "abc", 3));
	forget();
	pid_t pid = MUST(fork());
	if (pid == 0) {
		ag_drop(1000);
		_exit(ftruncate(fd, 1) != 0);
	}
	REQUIRE(reap(pid) == 0);
	EXPECT("d:modify+attrib a, a:modify+attrib", "[inotify] a truncation that drops set-id bits is one event of both kinds");
	chmod("a", 06777);
	forget();
	pid = MUST(fork());
	if (pid == 0) {
		ag_drop(1000);
		_exit(write(fd, "x", 1) != 1);
	}
	REQUIRE(reap(pid) == 0);
	EXPECT("d:attrib a, a:attrib, d:modify a, a:modify", "[inotify] a write that does is two");
}

CASE(directories)
{
	set_up();
	watch_as('d', ".", IN_ALL_EVENTS);
	MUST(mkdir("sub", 0755));
	EXPECT("d:create/ sub", "[inotify] mkdir");
	watch_as('s', "sub", IN_ALL_EVENTS);
	DIR *dir = opendir("sub");
	REQUIRE(dir);
	EXPECT("d:open/ sub, s:open/", "[inotify] opendir");
	char b[1024];
	REQUIRE(syscall(SYS_getdents64, dirfd(dir), b, sizeof b) > 0);
	EXPECT("d:access/ sub, s:access/", "[inotify] getdents");
	REQUIRE(syscall(SYS_getdents64, dirfd(dir), b, sizeof b) == 0);
	EXPECT("d:access/ sub, s:access/", "[inotify] getdents at the end too");
	touch("sub/x");
	EXPECT("s:create x, s:open x, s:close_write x", "[inotify] what happens in a directory below is told to its own watch alone");
	MUST(unlink("sub/x"));
	EXPECT("s:delete x", "[inotify] unlink");
	closedir(dir);
	EXPECT("d:close_nowrite/ sub, s:close_nowrite/", "[inotify] closedir");
	MUST(symlink("nowhere", "l"));
	EXPECT("d:create l", "[inotify] symlink");
	REQUIRE(readlink("l", b, sizeof b) > 0);
	QUIET("[inotify] readlink is not told");
	MUST(mkfifo("p", 0600));
	EXPECT("d:create p", "[inotify] mkfifo");
	int s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	struct sockaddr_un un = { .sun_family = AF_UNIX, .sun_path = "sock" };
	MUST(bind(s, (void *)&un, sizeof un));
	EXPECT("d:create sock", "[inotify] bind of a socket");
	MUST(unlink("l"));
	EXPECT("d:delete l", "[inotify] unlink of a link");
	MUST(rmdir("sub"));
	EXPECT("s:delete_self, s:ignored, d:delete/ sub", "[inotify] rmdir: the directory says so first, without IN_ISDIR");
	CHECK(rmdir("nowhere") == -1 && mkdir("p", 0755) == -1 && unlink("sub") == -1, "[inotify] changes that fail");
	QUIET("[inotify] are not told");
	int fd = open(".", O_TMPFILE | O_RDWR, 0600);
	if (fd < 0) {
		tap_skip("[inotify] O_TMPFILE", "no O_TMPFILE here");
		return;
	}
	const char *got = events();
	CHECK(!strncmp(got, "d:open #", 8), "[inotify] O_TMPFILE: opened, by a name that is none");
	MUST(write(fd, "x", 1));
	got = events();
	CHECK(!strncmp(got, "d:modify #", 10), "[inotify] and written to");
	close(fd);
	got = events();
	CHECK(!strncmp(got, "d:close_write #", 15), "[inotify] and closed");
}

CASE(moves)
{
	set_up();
	MUST(mkdir("x", 0755));
	MUST(mkdir("y", 0755));
	touch("x/a");
	watch_as('x', "x", IN_ALL_EVENTS);
	watch_as('y', "y", IN_ALL_EVENTS);
	watch_as('a', "x/a", IN_ALL_EVENTS);
	MUST(rename("x/a", "x/b"));
	EXPECT("x:moved_from a #1, x:moved_to b #1, a:move_self", "[inotify] rename: two halves with one cookie, then the file itself");
	MUST(rename("x/b", "y/c"));
	EXPECT("x:moved_from b #2, y:moved_to c #2, a:move_self", "[inotify] to another directory, with another cookie");
	MUST(rename("y/c", "y/c"));
	QUIET("[inotify] to its own name: nothing");
	MUST(rename("y/c", "c"));
	EXPECT("y:moved_from c #3, a:move_self", "[inotify] out of sight: one half");
	MUST(rename("c", "x/a"));
	EXPECT("x:moved_to a #4, a:move_self", "[inotify] and back");
	MUST(rename("y", "x/y"));
	EXPECT("x:moved_to/ y #5, y:move_self", "[inotify] a directory: IN_ISDIR, but not about itself");
	touch("x/y/t");
	watch_as('t', "x/y/t", IN_ALL_EVENTS);
	forget();
	MUST(rename("x/a", "x/y/t"));
	EXPECT("x:moved_from a #6, y:moved_to t #6, t:attrib, a:move_self, t:delete_self, t:ignored",
	       "[inotify] over a file: that loses a name, and with it itself");
	touch("e");
	watch_as('e', "e", IN_ALL_EVENTS);
	MUST(syscall(SYS_renameat2, AT_FDCWD, "e", AT_FDCWD, "x/y/t", 2 /* RENAME_EXCHANGE */));
	EXPECT("y:moved_to t #7, e:move_self, y:moved_from t #8, a:move_self", "[inotify] an exchange is two moves");
	CHECK(rename("nowhere", "x/q") == -1 && rename("x", "x/y/z") == -1, "[inotify] moves that fail");
	QUIET("[inotify] are not told");
	MUST(mkdir("x/y/e", 0755));
	watch_as('f', "x/y/e", IN_ALL_EVENTS);
	MUST(mkdir("g", 0755));
	forget();
	MUST(rename("g", "x/y/e"));
	EXPECT("y:moved_to/ e #9, f:attrib/, f:delete_self, f:ignored", "[inotify] over an empty directory");
}

CASE(links)
{
	set_up();
	touch("a");
	watch_as('d', ".", IN_ALL_EVENTS);
	watch_as('a', "a", IN_ALL_EVENTS);
	MUST(link("a", "b"));
	EXPECT("a:attrib, d:create b", "[inotify] link: the file has one more name");
	MUST(rename("a", "b"));
	QUIET("[inotify] a rename between two names of a file is nothing");
	MUST(unlink("b"));
	EXPECT("a:attrib, d:delete b", "[inotify] unlink of one of two names");
	int fd = MUST(open("a", O_RDWR));
	forget();
	MUST(unlink("a"));
	EXPECT("a:attrib, d:delete a", "[inotify] unlink of the last name of an open file: it is not deleted yet");
	MUST(write(fd, "x", 1));
	EXPECT("d:modify a, a:modify", "[inotify] what happens to it is still told, with its last name");
	MUST(fchmod(fd, 0600));
	EXPECT("d:attrib a, a:attrib", "[inotify] also that it is changed");
	close(fd);
	EXPECT("d:close_write a, a:close_write, a:delete_self, a:ignored", "[inotify] the close deletes it");
	touch("c");
	watch_as('c', "c", IN_ALL_EVENTS);
	forget();
	MUST(unlink("c"));
	EXPECT("c:attrib, c:delete_self, c:ignored, d:delete c", "[inotify] unlink of a file that nobody has open");
	touch("e");
	MUST(link("e", "f"));
	watch_as('e', "e", IN_DELETE_SELF);
	int one = MUST(open("e", O_RDONLY));
	forget();
	MUST(unlink("e"));
	MUST(unlink("f"));
	EXPECT("d:delete e, e:delete_self, e:ignored, d:delete f", "[inotify] the last name goes: deleted, though open by another");
	close(one);
	EXPECT("d:close_nowrite e", "[inotify] the other name's close is told to the directory alone");
	int removed = MUST(open(".", O_RDONLY | O_DIRECTORY));
	close(removed);
	MUST(mkdir("sub", 0755));
	watch_as('s', "sub", IN_DELETE_SELF | IN_OPEN);
	int dir = MUST(open("sub", O_RDONLY | O_DIRECTORY));
	forget();
	MUST(rmdir("sub"));
	EXPECT("d:delete/ sub", "[inotify] an open directory that is removed is not deleted yet");
	close(dir);
	EXPECT("d:close_nowrite/ sub, s:delete_self, s:ignored", "[inotify] but when it is closed");
}

CASE(special_files)
{
	char b[4], name[64];
	set_up();
	MUST(mkfifo("p", 0600));
	watch_as('d', ".", IN_ALL_EVENTS);
	int fd = MUST(open("p", O_RDWR));
	EXPECT("d:open p", "[inotify] a FIFO is opened");
	MUST(write(fd, "a", 1));
	MUST(read(fd, b, 1));
	IF_SINCE(6, 14, "[inotify] reads and writes of a FIFO")
		QUIET("[inotify] reads and writes of a FIFO are not told to who watches the directory");
	forget();
	watch_as('p', "p", IN_ALL_EVENTS);
	MUST(write(fd, "a", 1));
	EXPECT("p:modify", "[inotify] but to who watches it");
	close(fd);
	EXPECT("d:close_write p, p:close_write", "[inotify] a FIFO is closed");
	int pfd[2];
	MUST(pipe(pfd));
	snprintf(name, sizeof name, "/proc/self/fd/%d", pfd[0]);
	watch_as('q', name, IN_ALL_EVENTS);
	MUST(write(pfd[1], "a", 1));
	MUST(read(pfd[0], b, 1));
	EXPECT("q:modify, q:access", "[inotify] a pipe can be watched");
	close(pfd[1]);
	close(pfd[0]);
	EXPECT("q:close_write, q:close_nowrite", "[inotify] until it is gone");
	int mem = MUST(syscall(SYS_memfd_create, "m", 0));
	snprintf(name, sizeof name, "/proc/self/fd/%d", mem);
	watch_as('m', name, IN_ALL_EVENTS);
	MUST(write(mem, "a", 1));
	QUIET("[inotify] what is done to a memfd is not told");
	close(mem);
	EXPECT("m:delete_self, m:ignored", "[inotify] but that it is gone");
	watch_as('n', "/dev/null", IN_ALL_EVENTS);
	fd = MUST(open("/dev/null", O_WRONLY));
	MUST(write(fd, "a", 1));
	close(fd);
	/* Others may use it too. */
	CHECK(strstr(events(), "n:open"), "[inotify] a device can be watched");
}

HELPER(nothing) { return 0; }

CASE(programs)
{
	set_up();
	REQUIRE(copy_self(tmp_path("prog"), 0755));
	watch_as('p', "prog", IN_ALL_EVENTS);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		exec_helper(tmp_path("prog"), "nothing", NULL, NULL, NULL);
		_exit(1);
	}
	REQUIRE(reap(pid) == 0);
	/* The helper's start may read its own file. */
	const char *got = events();
	CHECK(!strncmp(got, "p:open, p:access", 16), "[inotify] execve opens the program and reads it");
	CHECK(strstr(got, "p:close_nowrite"), "[inotify] and closes it when it has ended");
}

/* ---- watches ---- */

CASE(masks)
{
	set_up();
	touch("a");
	int wd = watch_as('a', "a", IN_OPEN);
	close(MUST(open("a", O_RDONLY)));
	EXPECT("a:open", "[inotify] only what was asked for");
	CHECK_EQ(inotify_add_watch(in, "a", IN_CLOSE), wd, "[inotify] the mask is replaced");
	close(MUST(open("a", O_RDONLY)));
	EXPECT("a:close_nowrite", "[inotify] by the new one");
	CHECK_EQ(inotify_add_watch(in, "a", IN_OPEN | IN_MASK_ADD), wd, "[inotify] IN_MASK_ADD");
	close(MUST(open("a", O_RDONLY)));
	EXPECT("a:open, a:close_nowrite", "[inotify] adds to it");
	CHECK_ERR(inotify_add_watch(in, "a", IN_OPEN | IN_MASK_CREATE), EEXIST, "[inotify] IN_MASK_CREATE: EEXIST for what is watched");
	close(MUST(open("a", O_RDONLY)));
	EXPECT("a:open, a:close_nowrite", "[inotify] which stays as it was");
	touch("b");
	CHECK(inotify_add_watch(in, "b", IN_OPEN | IN_MASK_CREATE) > 0, "[inotify] IN_MASK_CREATE of what is not");
	int other = MUST(inotify_init1(IN_NONBLOCK));
	CHECK_EQ(inotify_add_watch(other, "a", IN_OPEN | IN_MASK_CREATE), 1, "[inotify] another instance has watches of its own");
	close(MUST(open("a", O_RDONLY)));
	char b[256];
	CHECK_EQ(read(other, b, sizeof b), 16, "[inotify] and hears of the same thing");
	EXPECT("a:open, a:close_nowrite", "[inotify] each does");
	close(other);
	close(MUST(open("a", O_RDONLY)));
	EXPECT("a:open, a:close_nowrite", "[inotify] closing the one leaves the other alone");
	MUST(inotify_rm_watch(in, wd));
	close(MUST(open("a", O_RDONLY)));
	EXPECT("a:ignored", "[inotify] nothing comes behind IN_IGNORED");
}

CASE(oneshot)
{
	set_up();
	touch("a");
	int wd = watch_as('a', "a", IN_OPEN | IN_ONESHOT);
	close(MUST(open("a", O_RDONLY)));
	EXPECT("a:open, a:ignored", "[inotify] IN_ONESHOT: one event, then it is gone");
	CHECK_ERR(inotify_rm_watch(in, wd), EINVAL, "[inotify] really gone");
	close(MUST(open("a", O_RDONLY)));
	QUIET("[inotify] nothing more");
	watch_as('b', "a", IN_CLOSE_WRITE | IN_ONESHOT);
	close(MUST(open("a", O_RDONLY)));
	QUIET("[inotify] another event than the wanted one does not count");
	close(MUST(open("a", O_WRONLY)));
	EXPECT("b:close_write, b:ignored", "[inotify] the wanted one does");
	watch_as('d', ".", IN_CREATE | IN_ONESHOT);
	touch("x");
	touch("y");
	EXPECT("d:create x, d:ignored", "[inotify] IN_ONESHOT of a directory");
	wd = watch_as('e', "a", IN_OPEN | IN_ONESHOT);
	inotify_add_watch(in, "a", IN_OPEN);
	close(MUST(open("a", O_RDONLY)));
	EXPECT("e:open", "[inotify] replacing the mask takes IN_ONESHOT away");
	inotify_add_watch(in, "a", IN_CLOSE | IN_ONESHOT | IN_MASK_ADD);
	close(MUST(open("a", O_RDONLY)));
	EXPECT("e:open, e:ignored", "[inotify] IN_MASK_ADD adds it");
}

CASE(excl_unlink)
{
	set_up();
	touch("a");
	watch_as('d', ".", IN_ALL_EVENTS | IN_EXCL_UNLINK);
	int fd = MUST(open("a", O_RDWR));
	MUST(write(fd, "x", 1));
	EXPECT("d:open a, d:modify a", "[inotify] IN_EXCL_UNLINK: at first as ever");
	MUST(unlink("a"));
	EXPECT("d:delete a", "[inotify] until it is unlinked");
	MUST(write(fd, "x", 1));
	QUIET("[inotify] then not");
	MUST(fchmod(fd, 0600));
	EXPECT("d:attrib a", "[inotify] but for changes of attributes");
	close(fd);
	QUIET("[inotify] nor the close");
	touch("b");
	watch_as('b', "b", IN_ALL_EVENTS | IN_EXCL_UNLINK);
	fd = MUST(open("b", O_RDWR));
	MUST(unlink("b"));
	forget();
	MUST(write(fd, "x", 1));
	QUIET("[inotify] the file's own watch is the same");
	close(fd);
	EXPECT("b:delete_self, b:ignored", "[inotify] that it is deleted is told");
}

CASE(unmount)
{
	NEED_ROOT("[inotify] unmount");
	set_up();
	MUST(mkdir("m", 0755));
	MUST(mount("x", "m", "tmpfs", 0, NULL));
	touch("m/f");
	int wd = watch_as('m', "m", IN_OPEN);
	watch_as('f', "m/f", IN_OPEN);
	CHECK_OK(umount("m"), "[inotify] a watch does not keep a file system busy");
	EXPECT("f:unmount, f:ignored, m:unmount/, m:ignored", "[inotify] IN_UNMOUNT comes unasked, and then the watch goes");
	CHECK_ERR(inotify_rm_watch(in, wd), EINVAL, "[inotify] it is gone");
	MUST(mount("x", "m", "tmpfs", 0, NULL));
	watch_as('m', "m", IN_CREATE);
	int fd = MUST(open("m/g", O_CREAT | O_RDWR, 0644));
	EXPECT("m:create g", "[inotify] the same again");
	MUST(umount2("m", MNT_DETACH));
	QUIET("[inotify] a lazy unmount waits for the last file");
	close(fd);
	EXPECT("m:unmount/, m:ignored", "[inotify] whose close is the end");
}

/* ---- reading ---- */

CASE(names)
{
	set_up();
	watch_as('d', ".", IN_CREATE);
	char name[256], buf[512];
	const struct { int len, padded; } sizes[] = { { 1, 16 }, { 15, 16 }, { 16, 32 }, { 31, 32 }, { 32, 48 }, { 255, 256 } };
	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		memset(name, 'n', sizes[i].len);
		name[sizes[i].len] = 0;
		touch(name);
		memset(buf, 'x', sizeof buf);
		ssize_t n = read(in, buf, sizeof buf);
		struct inotify_event *e = (void *)buf;
		bool zero = true;
		for (int at = 16 + sizes[i].len; at < 16 + sizes[i].padded; at++)
			zero &= buf[at] == 0;
		char text[96];
		snprintf(text, sizeof text, "[inotify] a name of %d bytes is padded with zeros to %d", sizes[i].len, sizes[i].padded);
		CHECK(n == 16 + sizes[i].padded && (int)e->len == sizes[i].padded && !strcmp(e->name, name) && zero, text);
		unlink(name);
	}
}

CASE(reads)
{
	set_up();
	watch_as('d', ".", IN_CREATE);
	char b[64];
	CHECK_ERR(read(in, b, sizeof b), EAGAIN, "[inotify] nothing there: EAGAIN");
	CHECK_ERR(read(in, b, 1), EAGAIN, "[inotify] also with too small a buffer");
	touch("a");
	touch("b");
	touch("c");
	int bytes = 0;
	CHECK(ioctl(in, FIONREAD, &bytes) == 0 && bytes == 96, "[inotify] FIONREAD: the bytes of all events");
	CHECK_ERR(read(in, b, 16), EINVAL, "[inotify] a buffer too small for the next event: EINVAL");
	CHECK_ERR(read(in, b, 31), EINVAL, "[inotify] by a byte");
	CHECK_ERR(read(in, b, 0), EINVAL, "[inotify] or empty");
	CHECK_EQ(read(in, b, 63), 32, "[inotify] no event is split");
	CHECK(!strcmp(text_of(b, 32), "d:create a"), "[inotify] the first comes first");
	CHECK_ERR(read(in, map_readonly(), 64), EFAULT, "[inotify] a buffer that can't be written: EFAULT");
	CHECK_EQ(read(in, b, 64), 32, "[inotify] the event that could not be given is lost");
	CHECK(!strcmp(text_of(b, 32), "d:create c"), "[inotify] and no other");
	CHECK(ioctl(in, FIONREAD, &bytes) == 0 && bytes == 0, "[inotify] FIONREAD: 0 when all is read");
}

CASE(merging)
{
	set_up();
	touch("a");
	touch("b");
	watch_as('a', "a", IN_MODIFY | IN_ATTRIB);
	int fd = MUST(open("a", O_WRONLY));
	for (int i = 0; i < 5; i++)
		MUST(write(fd, "x", 1));
	EXPECT("a:modify", "[inotify] the same event again and again is one");
	MUST(write(fd, "x", 1));
	MUST(fchmod(fd, 0600));
	MUST(write(fd, "x", 1));
	MUST(write(fd, "x", 1));
	EXPECT("a:modify, a:attrib, a:modify", "[inotify] only next to each other");
	watch_as('d', ".", IN_MODIFY);
	MUST(write(fd, "x", 1));
	MUST(write(fd, "x", 1));
	EXPECT("d:modify a, a:modify, d:modify a, a:modify", "[inotify] and of one watch");
	inotify_rm_watch(in, 1);
	forget();
	int other = MUST(open("b", O_WRONLY));
	MUST(write(fd, "x", 1));
	MUST(write(other, "x", 1));
	MUST(write(other, "x", 1));
	MUST(write(fd, "x", 1));
	EXPECT("d:modify a, d:modify b, d:modify a", "[inotify] and of one name");
}

CASE(overflow)
{
	set_up();
	touch("a");
	char b[32];
	REQUIRE(read_file("/proc/sys/fs/inotify/max_queued_events", b, sizeof b) > 0);
	int max = atoi(b), bytes;
	REQUIRE(max > 100 && max < 1 << 20);
	watch_as('a', "a", IN_OPEN | IN_CLOSE);
	for (int i = 0; i < max / 2 + 10; i++)
		close(MUST(open("a", O_RDONLY)));
	CHECK(ioctl(in, FIONREAD, &bytes) == 0 && bytes == (max + 1) * 16, "[inotify] max_queued_events and one more are queued");
	char *buf = malloc(bytes);
	struct inotify_event last;
	CHECK_EQ(read(in, buf, bytes), bytes, "[inotify] all can be read at once");
	memcpy(&last, buf + bytes - 16, 16);
	CHECK(last.wd == -1 && last.mask == IN_Q_OVERFLOW && last.cookie == 0 && last.len == 0, "[inotify] the last says that some are lost");
	close(MUST(open("a", O_RDONLY)));
	EXPECT("a:open, a:close_nowrite", "[inotify] then it goes on");
	free(buf);
}

/* ---- waiting ---- */

CASE(polling)
{
	set_up();
	watch_as('d', ".", IN_CREATE);
	struct pollfd p = { in, POLLIN | POLLOUT | POLLRDNORM, 0 };
	CHECK_EQ(poll(&p, 1, 0), 0, "[inotify] poll: nothing");
	int ep = MUST(epoll_create1(0));
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	CHECK_OK(epoll_ctl(ep, EPOLL_CTL_ADD, in, &e), "[inotify] epoll takes it");
	touch("a");
	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLRDNORM), "[inotify] poll: IN");
	CHECK_EQ(epoll_wait(ep, &e, 1, 0), 1, "[inotify] epoll: ready");
	CHECK_EQ(epoll_wait(ep, &e, 1, 0), 0, "[inotify] by edges once");
	touch("b");
	CHECK_EQ(epoll_wait(ep, &e, 1, 0), 1, "[inotify] again with the next event");
	EXPECT("d:create a, d:create b", "[inotify] both are there");
	CHECK_EQ(poll(&p, 1, 0), 0, "[inotify] poll: nothing again");
}

static long read_events(long x)
{
	(void)x;
	char b[256];
	ssize_t n = read(in, b, sizeof b);
	return n < 0 ? -errno : n;
}

CASE(blocking)
{
	set_up();
	fcntl(in, F_SETFL, 0);
	watch_as('d', ".", IN_CREATE);
	struct agent *a = spawn(NULL);
	post(a, read_events, 0);
	CHECK(await_blocked_in(a), "[inotify] a read waits for an event");
	touch("a");
	CHECK_EQ(finish(a), 32, "[inotify] and gets it");
	post(a, read_events, 0);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGSTOP);
	REQUIRE(await_state(a->pid, 'T'));
	kill(a->pid, SIGCONT);
	CHECK(await_blocked_in(a), "[7.23] a read of inotify goes on waiting after a stop and a continue");
	touch("b");
	CHECK_EQ(finish(a), 32, "[7.23] and gets its event");
	call(a, ag_catch, SIGUSR1);
	post(a, read_events, 0);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK(AWAIT(siglog_count(a->pid, SIGUSR1) == 1), "[7.37] a handler runs");
	CHECK(await_blocked_in(a), "[7.37] with SA_RESTART a read of inotify is restarted");
	touch("c");
	CHECK_EQ(finish(a), 32, "[7.37] and gets its event");
	retire(a, NULL);
}

static void on_signal(int sig) { (void)sig; }

static long read_interrupted(long x)
{
	struct sigaction act = { .sa_handler = on_signal };
	sigaction(SIGUSR1, &act, NULL);
	return read_events(x);
}

CASE(interrupted)
{
	set_up();
	fcntl(in, F_SETFL, 0);
	watch_as('d', ".", IN_CREATE);
	struct agent *a = spawn(NULL);
	post(a, read_interrupted, 0);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[7.37] without SA_RESTART a read of inotify is interrupted");
	retire(a, NULL);
}

CASE(shared)
{
	set_up();
	watch_as('d', ".", IN_CREATE);
	struct agent *a = spawn(NULL);
	touch("a");
	CHECK_EQ(call(a, read_events, 0), 32, "[inotify] a child shares the instance");
	QUIET("[inotify] what it has read is read");
	close(in);
	touch("b");
	CHECK_EQ(call(a, read_events, 0), 32, "[inotify] the instance lives as long as a descriptor of it");
	retire(a, NULL);
}

/* ---- /proc and limits ---- */

CASE(fdinfo)
{
	set_up();
	touch("a");
	struct stat st;
	int wd = watch_as('a', "a", IN_OPEN | IN_EXCL_UNLINK | IN_ONESHOT);
	watch_as('d', ".", IN_ALL_EVENTS);
	char path[64], b[1024], want[128];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", in);
	REQUIRE(read_file(path, b, sizeof b) > 0);
	MUST(stat("a", &st));
	snprintf(want, sizeof want, "inotify wd:%x ino:%lx sdev:%x mask:84000020 ignored_mask:0 ", wd, (long)st.st_ino,
		 (unsigned)(major(st.st_dev) << 20 | minor(st.st_dev)));
	char *first = strstr(b, "inotify wd:");
	CHECK(strstr(b, want), "[inotify] fdinfo: a line for each watch");
	CHECK(first && !strncmp(first, "inotify wd:2 ", 13), "[inotify] the newest first");
	CHECK(strstr(b, "flags:\t02004000\n"), "[inotify] its flags");
	inotify_rm_watch(in, wd);
	REQUIRE(read_file(path, b, sizeof b) > 0);
	CHECK(!strstr(b, "inotify wd:1"), "[inotify] a watch that is gone is not shown");
}

static long number(const char *file)
{
	char b[32];
	return read_file(file, b, sizeof b) > 0 ? atol(b) : -1;
}

#define SYSCTL(name) "/proc/sys/fs/inotify/" name

static bool set_number(const char *file, long value)
{
	char b[32];
	int fd = open(file, O_WRONLY), n = sprintf(b, "%ld", value);
	bool ok = fd >= 0 && write(fd, b, n) == n;
	close(fd);
	return ok;
}

CASE(limits)
{
	long instances = number(SYSCTL("max_user_instances")), watches = number(SYSCTL("max_user_watches"));
	CHECK_EQ(instances, 128, "[inotify] max_user_instances");
	CHECK(watches >= 8192 && watches <= 1 << 20, "[inotify] max_user_watches: by the memory, from 8192 to 1048576");
	CHECK_EQ(number(SYSCTL("max_queued_events")), 16384, "[inotify] max_queued_events");
	NEED_ROOT("[inotify] limits of a user");
	set_up();
	chmod(".", 0755);
	sh->v[0] = -1;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit many = { 1024, 1024 };
		setrlimit(RLIMIT_NOFILE, &many);
		ag_drop(54321);
		int n = 0, fd = -1;
		while (n < 1000 && (fd = inotify_init()) >= 0)
			n++;
		sh->v[0] = n;
		sh->v[1] = errno;
		close(fd == -1 ? 10 : fd);
		sh->v[2] = inotify_init() >= 0;
		_exit(0);
	}
	REQUIRE(reap(pid) == 0);
	CHECK_EQ(sh->v[0], instances, "[inotify] so many instances a user may have");
	CHECK_EQ(sh->v[1], EMFILE, "[inotify] one more: EMFILE");
	CHECK_EQ(sh->v[2], 1, "[inotify] one that is closed makes room");
	for (int i = 0; i < 22; i++) {
		char name[16];
		snprintf(name, sizeof name, "f%d", i);
		touch(name);
	}
	if (!set_number(SYSCTL("max_user_watches"), 20)) {
		tap_skip("[inotify] max_user_watches", "it can't be changed here");
		return;
	}
	pid = MUST(fork());
	if (pid == 0) {
		ag_drop(54322);
		int one = inotify_init(), two = inotify_init(), n = 0, wd = -1;
		char name[16] = "f0";
		while (n < 22 && (wd = inotify_add_watch(n % 2 ? one : two, name, IN_OPEN)) > 0)
			snprintf(name, sizeof name, "f%d", ++n);
		sh->v[3] = n;
		sh->v[4] = errno;
		sh->v[5] = inotify_add_watch(two, "f0", IN_CLOSE) > 0;
		inotify_rm_watch(two, 1);
		sh->v[6] = inotify_add_watch(one, name, IN_OPEN) > 0;
		close(two);
		sh->v[7] = inotify_add_watch(one, "f0", IN_OPEN) > 0;
		_exit(0);
	}
	int status = reap(pid);
	set_number(SYSCTL("max_user_watches"), watches);
	REQUIRE(status == 0);
	CHECK_EQ(sh->v[3], 20, "[inotify] so many watches a user may have, in all instances");
	CHECK_EQ(sh->v[4], ENOSPC, "[inotify] one more: ENOSPC");
	CHECK_EQ(sh->v[5], 1, "[inotify] a watch that is there can be changed");
	CHECK_EQ(sh->v[6], 1, "[inotify] one that is taken away makes room");
	CHECK_EQ(sh->v[7], 1, "[inotify] and so does an instance that is closed");
	int fd = MUST(open(SYSCTL("max_user_watches"), O_WRONLY));
	CHECK_ERR(write(fd, "-1", 2), EINVAL, "[inotify] a negative limit: EINVAL");
	CHECK_ERR(write(fd, "x", 1), EINVAL, "[inotify] no number: EINVAL");
	CHECK_EQ(number(SYSCTL("max_user_watches")), watches, "[inotify] and nothing has changed");
}

/* ---- races ---- */

static long write_on(long fd)
{
	long n = 0;
	for (; !sh->v[0]; n++)
		if (pwrite(fd, "x", 1, 0) != 1 || fchmod(fd, n & 1 ? 0600 : 0644) != 0)
			return -1;
	return n;
}

/* A watch comes and goes while its file is written to: events stop with IN_IGNORED. Linux lets one that was under way come behind. */
CASE_T(removed_while_events_come, 60)
{
	set_up();
	int fd = MUST(open("a", O_CREAT | O_RDWR, 0644)), n = iterations(300), wrong = 0, late = 0, heard = 0;
	struct agent *a = spawn(NULL);
	post(a, write_on, fd);
	for (int i = 0; i < n; i++) {
		static char buf[65536];
		int wd = MUST(inotify_add_watch(in, "a", IN_ALL_EVENTS));
		if (i % 3 == 0)
			sched_yield();
		MUST(inotify_rm_watch(in, wd));
		bool gone = false;
		ssize_t got;
		while ((got = read(in, buf, sizeof buf)) > 0)
			for (char *p = buf; p < buf + got; p += sizeof(struct inotify_event)) {
				struct inotify_event e;
				memcpy(&e, p, sizeof e);
				bool behind = gone || e.wd < wd;
				late += behind;
				wrong += e.wd > wd || (behind && e.mask == IN_IGNORED);
				gone |= e.mask == IN_IGNORED;
				heard++;
			}
		wrong += !gone;
	}
	sh->v[0] = 1;
	CHECK(finish(a) > 0, "[inotify] a file is written to all the time");
	CHECK_EQ(wrong, 0, "[inotify] each watch ends with one IN_IGNORED");
	if (on_foster())
		CHECK_EQ(late, 0, "[inotify] and nothing comes behind it");
	else
		tap_skip("[inotify] and nothing comes behind it", "Linux does not have it");
	CHECK(heard >= n, "[inotify] all ends are heard of");
	retire(a, NULL);
}

static long make_and_remove(long n)
{
	char name[32];
	for (long i = 0; i < n; i++) {
		snprintf(name, sizeof name, "f%ld", i % 4);
		int fd = open(name, O_CREAT | O_RDWR, 0644);
		if (fd < 0)
			return -1;
		unlink(name);
		close(fd);
	}
	sh->v[0] = 1;
	return n;
}

/* Files go while they are about to be watched: every watch that was given ends by itself. */
CASE_T(deleted_while_watched, 60)
{
	set_up();
	struct agent *a = spawn(NULL);
	static char alive[1 << 16];
	int started = 0, ended = 0, strange = 0;
	post(a, make_and_remove, iterations(300) * 4);
	for (int i = 0; !sh->v[0]; i++) {
		char name[32];
		snprintf(name, sizeof name, "f%d", i % 4);
		int wd = inotify_add_watch(in, name, IN_DELETE_SELF);
		if (wd > 0 && wd < 1 << 16 && !alive[wd]) {
			alive[wd] = 1;
			started++;
		}
		strange += wd < 0 && errno != ENOENT;
	}
	CHECK(finish(a) > 0, "[inotify] files come and go");
	static char buf[65536];
	ssize_t got;
	while ((got = read(in, buf, sizeof buf)) > 0)
		for (char *p = buf; p < buf + got; p += sizeof(struct inotify_event)) {
			struct inotify_event e;
			memcpy(&e, p, sizeof e);
			if (e.mask == IN_IGNORED) {
				strange += alive[e.wd] != 1;
				alive[e.wd] = 2;
				ended++;
			}
		}
	CHECK_EQ(strange, 0, "[inotify] a name is there or not, and each watch ends once");
	CHECK_EQ(ended, started, "[inotify] no watch outlives its file");
	tap_note("%d watches", started);
	retire(a, NULL);
}

static long open_and_close_instances(long n)
{
	for (long i = 0; i < n; i++) {
		int fd = inotify_init1(IN_NONBLOCK);
		if (fd < 0 || inotify_add_watch(fd, ".", IN_ALL_EVENTS) != 1 || inotify_add_watch(fd, "a", IN_ALL_EVENTS) != 2)
			return -1;
		close(fd);
	}
	return n;
}

/* Instances are closed while others tell them of events. */
CASE_T(closed_while_events_come, 60)
{
	set_up();
	int fd = MUST(open("a", O_CREAT | O_RDWR, 0644)), n = iterations(300);
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	post(a, write_on, fd);
	post(b, open_and_close_instances, n);
	CHECK_EQ(open_and_close_instances(n), n, "[inotify] instances come and go while their files are written to");
	CHECK_EQ(finish(b), n, "[inotify] two at a time");
	sh->v[0] = 1;
	CHECK(finish(a) > 0, "[inotify] and the writer did not stop");
	retire(a, NULL);
	retire(b, NULL);
}
