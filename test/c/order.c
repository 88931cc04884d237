/* order.c - which of several wrong arguments a call complains of. */
#include "lib/tap.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/xattr.h>

static long fails(long n, long a, long b, long c, long d, long e, long f)
{
	long r = syscall(n, a, b, c, d, e, f);
	return r < 0 ? errno : 0;
}
#define FAILS(n, a, b, c, d, e, f) fails(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static int pidfd_of_self(void) { return syscall(SYS_pidfd_open, getpid(), 0); }

CASE(offsets)
{
	int p[2], ev = MUST(eventfd(0, 0)), null = MUST(open("/dev/null", O_RDWR)), pid = pidfd_of_self();
	MUST(pipe(p));
	CHECK(lseek(p[0], 0, SEEK_SET) < 0 && errno == ESPIPE, "[fd] lseek of a pipe: ESPIPE");
	CHECK_ERR(lseek(p[0], 0, 5), EINVAL, "[fd] with a bad whence: EINVAL, which comes first");
	CHECK_ERR(lseek(p[0], 0, -1), EINVAL, "[fd] or a negative one");
	CHECK_ERR(lseek(pid, 0, 5), EINVAL, "[fd] so on a pidfd");
	CHECK(lseek(null, 99, SEEK_SET) == 0 && lseek(ev, -1, SEEK_END) == 0, "[fd] /dev/null and eventfds stay at 0");
	CHECK_ERR(lseek(null, 0, 5), EINVAL, "[fd] bad whence on /dev/null");
	CHECK_ERR(lseek(ev, 0, 5), EINVAL, "[fd] and on an eventfd");
	CHECK_ERR(lseek(999, 0, 5), EBADF, "[fd] no file: EBADF comes before");
}

CASE(lists)
{
	char b[16];
	struct iovec nothing = { b, 0 }, some = { b, 1 }, negative = { b, -1 };
	int p[2], ev = MUST(eventfd(0, 0)), ep = MUST(epoll_create1(0)), pid = pidfd_of_self();
	int file = MUST(open(tmp_path("f"), O_RDWR | O_CREAT, 0600)), only = MUST(open(tmp_path("f"), O_RDONLY));
	MUST(pipe(p));
	CHECK_EQ(readv(p[1], BADPTR, 1) < 0 ? errno : 0, EBADF, "[fd] readv: the mode of the file before the list");
	CHECK_EQ(writev(only, &negative, 1) < 0 ? errno : 0, EBADF, "[fd] writev as well");
	CHECK_EQ(FAILS(SYS_read, p[1], -1, 0, 0, 0, 0), EBADF, "[fd] read: before the address");
	CHECK_EQ(FAILS(SYS_write, p[0], -1, 0, 0, 0, 0), EBADF, "[fd] and write");
	CHECK_EQ(FAILS(SYS_read, p[0], -1, 0, 0, 0, 0), EFAULT, "[fd] an impossible address: EFAULT, even for no bytes");
	CHECK_EQ(FAILS(SYS_read, ep, -1, 0, 0, 0, 0), EINVAL, "[fd] what can never be read: EINVAL before that");
	CHECK_EQ(FAILS(SYS_write, pid, -1, 0, 0, 0, 0), EINVAL, "[fd] or written");
	CHECK_EQ(readv(ev, &nothing, 1), 0, "[fd] a list of nothing is done before the file is asked");
	CHECK_EQ(read(ev, b, 0) < 0 ? errno : 0, EINVAL, "[fd] a read of nothing is not");
	CHECK_EQ(readv(pid, &nothing, 1) < 0 ? errno : 0, EINVAL, "[fd] but not where nothing is ever read");
	CHECK_EQ(FAILS(SYS_preadv, p[0], BADPTR, 1, 0, 0, 0), ESPIPE, "[fd] preadv: ESPIPE before the list");
	CHECK_EQ(FAILS(SYS_preadv, p[0], BADPTR, 1, -1, -1, 0), EINVAL, "[fd] a negative offset before that");
	CHECK_EQ(FAILS(SYS_preadv2, file, &nothing, 1, -1, -1, 1 << 30), 0, "[fd] preadv2: flags are looked at when there is something to move");
	CHECK_EQ(FAILS(SYS_preadv2, file, &some, 1, -1, -1, 1 << 30), EOPNOTSUPP, "[fd] a flag that nobody knows: EOPNOTSUPP");
	CHECK_EQ(FAILS(SYS_preadv2, file, BADPTR, 1, -1, -1, 1 << 30), EFAULT, "[fd] after the list");
	CHECK_EQ(FAILS(SYS_preadv2, p[0], &some, 1, 0, 0, 1 << 30), ESPIPE, "[fd] and the offset");
	CHECK_EQ(FAILS(SYS_pwritev2, only, &some, 1, 0, 0, 1 << 30), EBADF, "[fd] and the mode");
	CHECK_EQ(FAILS(SYS_pwritev2, file, &some, 1, -2, -1, 1 << 30), EINVAL, "[fd] pwritev2: a negative offset");
	CHECK_EQ(FAILS(SYS_pwritev2, file, &some, 1, -1, -1, 1 << 30), EOPNOTSUPP, "[fd] pwritev2: a flag that nobody knows");
	CHECK_EQ(FAILS(SYS_sendfile, only, only, BADPTR, 0, 0, 0), EFAULT, "[fd] sendfile: the offset is read before the files are looked at");
	CHECK_EQ(FAILS(SYS_fallocate, 999, 0, -1, 0, 0, 0), EBADF, "[fd] fallocate: the file first");
	CHECK_EQ(FAILS(SYS_fallocate, only, 1 << 20, 0, 1, 0, 0), EOPNOTSUPP, "[fd] its mode before the file's");
	CHECK_EQ(FAILS(SYS_fadvise64, file, 0, -1, 0, 0, 0), EINVAL, "[fd] fadvise of a negative length: EINVAL");
	int full = MUST(open("/dev/full", O_RDWR));
	CHECK_ERR(write(full, b, 0), ENOSPC, "[fd] /dev/full has no room for nothing");
}

CASE(status_flags)
{
	int p[2], s[2];
	MUST(pipe(p));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
	int null = MUST(open("/dev/null", O_RDWR)), ev = MUST(eventfd(0, 0)), dir = MUST(open("/proc/self", O_RDONLY));
	int proc = MUST(open("/proc/self/stat", O_RDONLY));
	CHECK_ERR(fcntl(null, F_SETFL, O_DIRECT | O_NONBLOCK), EINVAL, "[fd] O_DIRECT on a device without a cache: EINVAL");
	CHECK_EQ(fcntl(null, F_GETFL) & (O_DIRECT | O_NONBLOCK), 0, "[fd] and nothing is set");
	CHECK_ERR(fcntl(s[0], F_SETFL, O_DIRECT), EINVAL, "[fd] on a socket");
	CHECK_ERR(fcntl(ev, F_SETFL, O_DIRECT), EINVAL, "[fd] on an eventfd");
	CHECK_ERR(fcntl(dir, F_SETFL, O_DIRECT), EINVAL, "[fd] on a directory");
	CHECK_ERR(fcntl(proc, F_SETFL, O_DIRECT), EINVAL, "[fd] on a file of /proc");
	CHECK_OK(fcntl(p[0], F_SETFL, O_DIRECT), "[fd] pipes take it");
	CHECK(fcntl(p[0], F_SETFL, O_ASYNC) == 0 && fcntl(p[0], F_GETFL) & O_ASYNC, "[fd] O_ASYNC on a pipe");
	CHECK(fcntl(s[0], F_SETFL, O_ASYNC) == 0 && fcntl(s[0], F_GETFL) & O_ASYNC, "[fd] on a socket");
	CHECK(fcntl(null, F_SETFL, O_ASYNC) == 0 && !(fcntl(null, F_GETFL) & O_ASYNC), "[fd] where nobody would be told it does not stick");
	CHECK(fcntl(ev, F_SETFL, O_ASYNC) == 0 && !(fcntl(ev, F_GETFL) & O_ASYNC), "[fd] nor on an eventfd");
	CHECK_ERR(fchmod(ev, 0644), EOPNOTSUPP, "[fd] the mode of an eventfd cannot be changed");
}

CASE(names)
{
	char b[8], *far = tmp_path("none/at/all") ? strdup(tmp_path("none/at/all")) : NULL;
	CHECK_ERR(readlink("", b, 0), EINVAL, "[vfs] readlink: the size before the name");
	CHECK_ERR(readlink(BADPTR, b, -1), EINVAL, "[vfs] even a bad one");
	CHECK_ERR(readlink(BADPTR, b, 5), EFAULT, "[vfs] a bad name");
	CHECK_EQ(FAILS(SYS_readlinkat, 999, 0, b, 5, 0, 0), EFAULT, "[vfs] readlinkat: the name before the directory");
	CHECK_EQ(FAILS(SYS_readlinkat, AT_FDCWD, "", b, 5, 0, 0), ENOENT, "[vfs] an empty name is no link: ENOENT");
	CHECK_EQ(FAILS(SYS_mknod, BADPTR, S_IFDIR, 0, 0, 0, 0), EPERM, "[vfs] mknod of a directory: EPERM, whatever the name");
	CHECK_EQ(FAILS(SYS_mknod, far, S_IFLNK, 0, 0, 0, 0), EINVAL, "[vfs] of a link: EINVAL, whatever the name");
	CHECK_EQ(FAILS(SYS_mknod, "", S_IFMT, 0, 0, 0, 0), EINVAL, "[vfs] of what there is not: EINVAL");
	CHECK_EQ(FAILS(SYS_mknod, far, S_IFREG, 0, 0, 0, 0), ENOENT, "[vfs] of a file: then the name counts");
}

CASE(sockets)
{
	int fds[2], sock = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), p[2];
	MUST(pipe(p));
	CHECK_EQ(FAILS(SYS_accept4, 999, 0, 0, -1, 0, 0), EBADF, "[socket] accept4: no file before bad flags");
	CHECK_EQ(FAILS(SYS_accept4, p[0], 0, 0, -1, 0, 0), EINVAL, "[socket] bad flags before no socket");
	CHECK_EQ(FAILS(SYS_accept4, p[0], 0, 0, 0, 0, 0), ENOTSOCK, "[socket] no socket");
	CHECK_EQ(FAILS(SYS_accept4, sock, 0, 0, 0, 0, 0), EINVAL, "[socket] one that does not listen");
	CHECK_EQ(FAILS(SYS_socketpair, 99, 1, 0, BADPTR, 0, 0), EFAULT, "[socket] socketpair: the place for the numbers before the family");
	CHECK_EQ(FAILS(SYS_socketpair, AF_UNIX, 99, 0, BADPTR, 0, 0), EINVAL, "[socket] but after the flags");
	CHECK_EQ(FAILS(SYS_socketpair, -1, SOCK_STREAM, 0, fds, 0, 0), EAFNOSUPPORT, "[socket] no such family");
	struct rlimit rl = { 3, 3 };
	MUST(setrlimit(RLIMIT_NOFILE, &rl));
	CHECK_EQ(FAILS(SYS_socketpair, 99, 1, 0, BADPTR, 0, 0), EMFILE, "[socket] and numbers to be had before both");
}

CASE(waiting)
{
	struct timespec bad = { 0, 1000000000 };
	CHECK_EQ(FAILS(SYS_pselect6, 0, 0, 0, 0, &bad, BADPTR), EFAULT, "[poll] pselect6: where the mask is before the time");
	CHECK_EQ(FAILS(SYS_pselect6, 0, 0, 0, 0, &bad, 0), EINVAL, "[poll] the time");
	CHECK_EQ(FAILS(SYS_ppoll, BADPTR, 1, &bad, BADPTR, 4, 0), EINVAL, "[poll] ppoll: the time before mask and list");
	int id;
	struct { long raw; const char *text; } clocks[] = {
		{ ~0x3fffffL * 8 | 2, "[time] timer_create: the place of the number before the clock of nobody" },
		{ ~(long)getpid() * 8 | 7, "[time] or one that there is not" },
	};
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(FAILS(SYS_timer_create, (int)clocks[i].raw, 0, BADPTR, 0, 0, 0), EFAULT, clocks[i].text);
		CHECK_EQ(FAILS(SYS_timer_create, (int)clocks[i].raw, 0, &id, 0, 0, 0), EINVAL, "[time] which is EINVAL then");
	}
	pid_t dead = fork();
	if (dead == 0)
		_exit(0);
	await_zombie(dead);
	struct timespec ts;
	CHECK_OK(FAILS(SYS_timer_create, (int)(~(long)dead * 8 | 2), 0, &id, 0, 0, 0), "[time] a timer on the clock of a zombie");
	CHECK_OK(FAILS(SYS_clock_gettime, (int)(~(long)dead * 8 | 2), &ts, 0, 0, 0, 0), "[time] which can be read");
	reap(dead);
	CHECK_EQ(FAILS(SYS_timer_create, (int)(~(long)dead * 8 | 2), 0, &id, 0, 0, 0), EINVAL, "[time] on that of a reaped one: EINVAL");
}

CASE(clock_settings)
{
	NEED_ROOT("[time] settimeofday");
	struct timeval usec = { 0, 1000000 }, negative = { -1, 0 }, fine = { 1, 0 };
	int far[2] = { 901, 0 };
	CHECK_EQ(FAILS(SYS_settimeofday, &usec, BADPTR, 0, 0, 0, 0), EINVAL, "[time] settimeofday: microseconds before the zone");
	CHECK_EQ(FAILS(SYS_settimeofday, &negative, BADPTR, 0, 0, 0, 0), EFAULT, "[time] the zone before the seconds");
	CHECK_EQ(FAILS(SYS_settimeofday, &negative, 0, 0, 0, 0, 0), EINVAL, "[time] negative seconds");
	CHECK_EQ(FAILS(SYS_settimeofday, 0, far, 0, 0, 0, 0), EINVAL, "[time] a zone of more than 15 hours");
	CHECK_EQ(FAILS(SYS_settimeofday, 0, 0, 0, 0, 0, 0), 0, "[time] nothing");
	MUST(setresuid(61240, 61240, 61240));
	CHECK_EQ(FAILS(SYS_settimeofday, &fine, 0, 0, 0, 0, 0), EPERM, "[time] without privilege: EPERM");
	CHECK_EQ(FAILS(SYS_settimeofday, 0, 0, 0, 0, 0, 0), EPERM, "[time] even to set nothing");
	CHECK_EQ(FAILS(SYS_settimeofday, 0, far, 0, 0, 0, 0), EPERM, "[time] before the zone's range");
	CHECK_EQ(FAILS(SYS_settimeofday, &negative, 0, 0, 0, 0, 0), EINVAL, "[time] after that of the time");
}

CASE(locked_memory)
{
	char *m = map_pages(2);
	CHECK_OK(mlock(m, -1), "[mm] a length that wraps around is none");
	CHECK_OK(munlock(m + 1, -1), "[mm] to munlock as well");
	CHECK_ERR(munlock(m, -4096), EINVAL, "[mm] one that ends before it starts: EINVAL");
	CHECK_EQ(FAILS(SYS_mlock2, m, 4096, 2, 0, 0, 0), EINVAL, "[mm] mlock2: the flags");
	IF_ROOT("[mm] mlock without privilege") {
		struct rlimit rl = { 0, 0 };
		MUST(setrlimit(RLIMIT_MEMLOCK, &rl));
		MUST(setresuid(61240, 61240, 61240));
		CHECK_ERR(mlock(m, -1), EPERM, "[mm] RLIMIT_MEMLOCK 0: EPERM comes before the length");
		CHECK_EQ(FAILS(SYS_mlock2, m, 4096, 2, 0, 0, 0), EINVAL, "[mm] but after the flags");
	}
}

CASE(attributes)
{
	NEED_ROOT("[vfs] attributes of descriptors");
	char b[8];
	int pid = pidfd_of_self(), ev = MUST(eventfd(0, 0)), p[2];
	MUST(pipe(p));
	CHECK_ERR(fsetxattr(ev, "system.posix_acl_access", "x", 1, 0), EINVAL, "[vfs] no access control list: EINVAL");
	CHECK_ERR(fgetxattr(ev, "user.a", b, 8), ENODATA, "[vfs] user attributes of an eventfd: ENODATA");
	CHECK_ERR(fsetxattr(ev, "user.a", "x", 1, 0), EPERM, "[vfs] EPERM to set them");
	IF_SINCE(6, 17, "[11.6] trusted attributes of a pidfd") {
		CHECK_OK(fsetxattr(pid, "trusted.a", "x", 1, 0), "[11.6] trusted attributes of a pidfd");
		int again = pidfd_of_self();
		CHECK(fgetxattr(again, "trusted.a", b, 8) == 1 && b[0] == 'x', "[11.6] are the process's: another pidfd has them");
		CHECK_OK(fremovexattr(again, "trusted.a"), "[11.6] and can be removed");
		CHECK_ERR(fgetxattr(pid, "trusted.a", b, 8), ENODATA, "[11.6] then they are gone");
		CHECK_ERR(fsetxattr(pid, "trusted.", "x", 1, 0), EINVAL, "[11.6] one without a name: EINVAL");
		CHECK_ERR(fsetxattr(pid, "user.a", "x", 1, 0), EOPNOTSUPP, "[11.6] it has no others");
		MUST(setresuid(61240, 61240, 61240));
		CHECK_ERR(fgetxattr(pid, "trusted.a", b, 8), ENODATA, "[11.6] nor has it these for the unprivileged");
		CHECK_ERR(fsetxattr(pid, "trusted.a", "x", 1, 0), EPERM, "[11.6] EPERM to set them");
		CHECK_ERR(fsetxattr(pid, "security.a", "x", 1, 0), EOPNOTSUPP, "[11.6] security attributes: EOPNOTSUPP");
	}
}
