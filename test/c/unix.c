/*
 * unix.c - AF_UNIX sockets: names, connections, data, states of poll, options.  The texts name the man pages unix(7),
 * socket(7), and those of section 2.  Descriptors and credentials in messages are in scm.c.
 */
#include "lib/tap.h"

#include <poll.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#define SUN ((int)offsetof(struct sockaddr_un, sun_path))
#define SIOCINQ 0x541b
#define SIOCOUTQ 0x5411

static int sv[2];
static char b[256];

static void pair(int type) { MUST(socketpair(AF_UNIX, type, 0, sv)); }
static int sock(int type) { return MUST(socket(AF_UNIX, type, 0)); }

/* An address of a path, or with a leading @ an abstract one; returns its length. */
static socklen_t addr(struct sockaddr_un *u, const char *name)
{
	memset(u, 0, sizeof *u);
	u->sun_family = AF_UNIX;
	if (*name == '@') {
		memcpy(u->sun_path + 1, name + 1, strlen(name) - 1);
		return SUN + strlen(name);
	}
	strcpy(u->sun_path, name);
	return SUN + strlen(name) + 1;
}

static int bind_to(int fd, const char *name)
{
	struct sockaddr_un u;
	socklen_t l = addr(&u, name);
	return bind(fd, (void *)&u, l);
}

static int connect_to(int fd, const char *name)
{
	struct sockaddr_un u;
	socklen_t l = addr(&u, name);
	return connect(fd, (void *)&u, l);
}

/* An abstract name that nobody else has. */
static const char *own(const char *what)
{
	static char n[8][64];
	static int i;
	char *s = n[i++ % 8];
	snprintf(s, 64, "@foster-%d-%s", getpid(), what);
	return s;
}

static int listener(int type, const char *name, int backlog)
{
	int fd = sock(type);
	MUST(bind_to(fd, name));
	MUST(listen(fd, backlog));
	return fd;
}

static int nonblock(int fd) { return fcntl(fd, F_SETFL, O_NONBLOCK); }

static int events(int fd)
{
	struct pollfd p = { fd, 0x2fff, 0 };
	return poll(&p, 1, 0) < 0 ? -errno : p.revents;
}

static int get(int fd, int opt)
{
	int v = -12345;
	socklen_t l = sizeof v;
	return getsockopt(fd, SOL_SOCKET, opt, &v, &l) ? -errno : v;
}

static int set(int fd, int opt, int v) { return setsockopt(fd, SOL_SOCKET, opt, &v, sizeof v); }

/* How many one-byte sends go in without waiting; errno is that of the last. */
static int fill(int fd)
{
	int n = 0;
	while (send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
		n++;
	return n;
}

/* ---- making ---- */

CASE(create)
{
	CHECK_ERR(socket(AF_UNIX, 99, 0), EINVAL, "[socket] socket(2): an impossible type is EINVAL");
	CHECK_ERR(socket(AF_UNIX, 10, 0), ESOCKTNOSUPPORT, "[socket] one that AF_UNIX does not have: ESOCKTNOSUPPORT");
	CHECK_ERR(socket(AF_UNIX, SOCK_RDM, 0), ESOCKTNOSUPPORT, "[socket] SOCK_RDM too");
	CHECK_ERR(socket(AF_UNIX, SOCK_STREAM, 7), EPROTONOSUPPORT, "[socket] a protocol: EPROTONOSUPPORT");
	CHECK(socket(AF_UNIX, SOCK_STREAM, PF_UNIX) >= 0, "[socket] but for PF_UNIX");
	CHECK_ERR(socket(99, SOCK_STREAM, 0), EAFNOSUPPORT, "[socket] an impossible family: EAFNOSUPPORT");
	CHECK_ERR(socket(-1, SOCK_STREAM, 0), EAFNOSUPPORT, "[socket] a negative one");
	CHECK_ERR(socket(AF_UNSPEC, SOCK_STREAM, 0), EAFNOSUPPORT, "[socket] AF_UNSPEC");
	CHECK_ERR(socket(45, SOCK_STREAM, 0), EAFNOSUPPORT, "[socket] one that is not built in");
	CHECK_ERR(socket(99, 12, 0), EAFNOSUPPORT, "[socket] the family is looked at before the type");
	CHECK_ERR(socket(AF_UNIX, SOCK_STREAM | 0x1000, 0), EINVAL, "[socket] an unknown flag: EINVAL");
	int fd = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC, "[socket] SOCK_CLOEXEC");
	CHECK_EQ(fcntl(fd, F_GETFL), O_RDWR | O_NONBLOCK, "[socket] SOCK_NONBLOCK; it is open for reading and writing");
	fd = sock(SOCK_RAW);
	CHECK_EQ(get(fd, SO_TYPE), SOCK_DGRAM, "[socket] unix(7): SOCK_RAW is taken for SOCK_DGRAM");
	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), "[socket] socketpair(2)");
	CHECK(fcntl(sv[0], F_GETFD) == FD_CLOEXEC && fcntl(sv[1], F_GETFD) == FD_CLOEXEC, "[socket] both are close-on-exec");
	close(sv[0]);
	close(sv[1]);
	CHECK_ERR(socketpair(AF_UNIX, SOCK_STREAM, 0, BADPTR), EFAULT, "[socket] socketpair(2) to a bad pointer: EFAULT");
	CHECK_EQ(sock(SOCK_STREAM), sv[0], "[socket] and no descriptor is lost");
	CHECK_ERR(socketpair(99, SOCK_STREAM, 0, sv), EAFNOSUPPORT, "[socket] socketpair(2) of an impossible family: EAFNOSUPPORT");
	int top = sock(SOCK_STREAM);
	struct rlimit rl = { top + 1, top + 1 };
	REQUIRE(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	CHECK_ERR(socket(AF_UNIX, SOCK_STREAM, 0), EMFILE, "[socket] no number free: EMFILE");
	CHECK_ERR(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), EMFILE, "[socket] for a pair too");
}

CASE(as_a_file)
{
	struct stat st, st2;
	char path[64], link[64] = "", want[64];
	pair(SOCK_STREAM);
	REQUIRE(fstat(sv[0], &st) == 0 && fstat(sv[1], &st2) == 0);
	CHECK_EQ(st.st_mode, S_IFSOCK | 0777, "[socket] fstat(2): a socket, rwxrwxrwx");
	CHECK(st.st_ino != st2.st_ino && st.st_dev == st2.st_dev, "[socket] each with an inode of its own, on one device");
	CHECK(st.st_uid == geteuid() && st.st_nlink == 1 && st.st_size == 0, "[socket] owner, links, size");
	snprintf(path, sizeof path, "/proc/self/fd/%d", sv[0]);
	snprintf(want, sizeof want, "socket:[%lu]", (long)st.st_ino);
	CHECK(readlink(path, link, sizeof link - 1) > 0 && !strcmp(link, want), "[socket,proc] /proc/self/fd has socket:[inode]");
	CHECK_ERR(open(path, O_RDWR), ENXIO, "[socket,proc] which can't be opened: ENXIO");
	CHECK_ERR(lseek(sv[0], 0, SEEK_CUR), ESPIPE, "[socket] lseek: ESPIPE");
	CHECK_ERR(pread(sv[0], b, 1, 0), ESPIPE, "[socket] pread: ESPIPE");
	CHECK_ERR(fsync(sv[0]), EINVAL, "[socket] fsync: EINVAL");
	CHECK_ERR(ftruncate(sv[0], 0), EINVAL, "[socket] ftruncate: EINVAL");
	CHECK_ERR(ioctl(sv[0], 0x9999, b), ENOTTY, "[socket] an unknown ioctl: ENOTTY");
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, sv[0], 0) == MAP_FAILED && errno == ENODEV, "[socket] mmap: ENODEV");
	int fd = MUST(open("/", O_RDONLY)), p = MUST(open("/", O_PATH));
	CHECK_ERR(listen(fd, 1), ENOTSOCK, "[socket] a socket call on another file: ENOTSOCK");
	CHECK_ERR(send(fd, b, 1, 0), ENOTSOCK, "[socket] send");
	CHECK_ERR(recv(fd, b, 1, 0), ENOTSOCK, "[socket] recv");
	CHECK_ERR(accept(fd, NULL, NULL), ENOTSOCK, "[socket] accept");
	CHECK_ERR(shutdown(fd, 0), ENOTSOCK, "[socket] shutdown");
	CHECK_ERR(listen(p, 1), EBADF, "[socket] on an O_PATH descriptor: EBADF");
	CHECK_ERR(listen(999, 1), EBADF, "[socket] on none: EBADF");
}

/* ---- names ---- */

CASE(names_path)
{
	char n[100], n2[100], n3[100];
	struct sockaddr_un u;
	struct stat st;
	snprintf(n, sizeof n, "%s", tmp_path("s"));
	snprintf(n2, sizeof n2, "%s", tmp_path("t"));
	snprintf(n3, sizeof n3, "%s", tmp_path("moved"));
	umask(027);
	int l = sock(SOCK_STREAM), c = sock(SOCK_STREAM);
	CHECK_OK(bind_to(l, n), "[socket] bind(2) to a path");
	CHECK(stat(n, &st) == 0 && st.st_mode == (S_IFSOCK | 0750), "[socket] unix(7): makes a node S_IFSOCK; the umask holds");
	CHECK_ERR(bind_to(c, n), EADDRINUSE, "[socket] bind(2): a path that exists is EADDRINUSE");
	CHECK_ERR(bind_to(l, n2), EINVAL, "[socket] bind(2): a bound socket is EINVAL");
	CHECK_ERR(access(n2, F_OK), ENOENT, "[socket] and makes nothing");
	CHECK_ERR(bind_to(l, n), EADDRINUSE, "[socket] a path in use is seen first");
	CHECK_ERR(bind_to(c, tmp_path("no/such")), ENOENT, "[socket] no such directory: ENOENT");
	CHECK_ERR(open(n, O_RDWR), ENXIO, "[socket] open(2) of it: ENXIO");
	socklen_t len = sizeof u;
	CHECK_OK(getsockname(l, (void *)&u, &len), "[socket] getsockname(2)");
	CHECK(len == SUN + strlen(n) + 1 && !strcmp(u.sun_path, n) && u.sun_family == AF_UNIX, "[socket] unix(7): the path with its NUL counted");
	len = SUN + 3;
	memset(&u, 'z', sizeof u);
	CHECK(getsockname(l, (void *)&u, &len) == 0 && len == SUN + strlen(n) + 1 && !memcmp(u.sun_path, n, 3) && u.sun_path[3] == 'z', "[socket] getsockname(2): cut off, the length is the true one");
	len = -1;
	CHECK_ERR(getsockname(l, (void *)&u, &len), EINVAL, "[socket] a negative length: EINVAL");
	CHECK_ERR(connect_to(c, n), ECONNREFUSED, "[socket] connect(2): nobody listens: ECONNREFUSED");
	REQUIRE(listen(l, 3) == 0);
	CHECK_OK(rename(n, n3), "[socket] a bound socket's node can be renamed");
	CHECK_ERR(connect_to(c, n), ENOENT, "[socket] the old path: ENOENT");
	CHECK_OK(connect_to(c, n3), "[socket] it is found by its new path");
	REQUIRE(symlink(n3, n2) == 0);
	int d = sock(SOCK_DGRAM), e = sock(SOCK_STREAM);
	CHECK_OK(connect_to(e, n2), "[socket] and through a symbolic link");
	CHECK_ERR(connect_to(d, n3), EPROTOTYPE, "[socket] connect(2) with another type: EPROTOTYPE");
	CHECK_ERR(bind_to(d, n2), EADDRINUSE, "[socket] bind(2) does not follow a link: EADDRINUSE");
	REQUIRE(unlink(n3) == 0);
	e = sock(SOCK_STREAM);
	CHECK_ERR(connect_to(e, n3), ENOENT, "[socket] unlinked it can't be found");
	CHECK(accept(l, NULL, NULL) >= 0, "[socket] but goes on");
	CHECK_OK(bind_to(d, n3), "[socket] and the path is free");
	close(d);
	CHECK(stat(n3, &st) == 0 && S_ISSOCK(st.st_mode), "[socket] unix(7): the node stays when the socket is closed");
	CHECK_ERR(bind_to(e, n3), EADDRINUSE, "[socket] and is in the way");
	CHECK_ERR(connect_to(e, n3), ECONNREFUSED, "[socket] nobody is behind it: ECONNREFUSED");
	char *file = strdup(tmp_path("file"));
	REQUIRE(write_file(file, "", 0, 0666));
	CHECK_ERR(connect_to(e, file), ECONNREFUSED, "[socket] connect(2) to a regular file: ECONNREFUSED");
	unlink(n3);
	REQUIRE(fchmod(e, 0600) == 0 && bind_to(e, n3) == 0 && stat(n3, &st) == 0);
	CHECK_EQ(st.st_mode, S_IFSOCK | 0600, "[socket] fchmod before bind gives the node its permissions");
	unlink(n3);
	unlink(n2);
}

CASE(names_bad)
{
	struct sockaddr_un u;
	int s = sock(SOCK_STREAM);
	socklen_t l = addr(&u, own("x"));
	u.sun_family = AF_INET;
	CHECK_ERR(bind(s, (void *)&u, l), EINVAL, "[socket] bind(2): another family is EINVAL");
	CHECK_ERR(connect(s, (void *)&u, l), EINVAL, "[socket] connect(2): likewise");
	u.sun_family = AF_UNIX;
	CHECK_ERR(bind(s, (void *)&u, 1), EINVAL, "[socket] one byte: EINVAL");
	CHECK_ERR(bind(s, (void *)&u, 0), EINVAL, "[socket] none: EINVAL");
	CHECK_ERR(bind(s, (void *)&u, -1), EINVAL, "[socket] a negative length: EINVAL");
	CHECK_ERR(bind(s, (void *)&u, sizeof u + 1), EINVAL, "[socket] longer than sockaddr_un: EINVAL");
	CHECK_ERR(bind(s, (void *)&u, 200), EINVAL, "[socket] longer than any address: EINVAL");
	CHECK_ERR(connect(s, (void *)&u, SUN), EINVAL, "[socket] connect(2) without a name: EINVAL");
	memset(u.sun_path, 'a', sizeof u.sun_path);
	memcpy(u.sun_path, "/tmp/", 5);
	unlink(strndupa(u.sun_path, sizeof u.sun_path));
	CHECK_OK(bind(s, (void *)&u, sizeof u), "[socket] unix(7): 108 bytes without a NUL are a path");
	char big[128];
	l = sizeof big;
	CHECK(getsockname(s, (void *)big, &l) == 0 && l == SUN + 109, "[socket] which getsockname(2) returns with one");
	unlink(strndupa(u.sun_path, sizeof u.sun_path));
}

CASE(names_abstract)
{
	struct sockaddr_un u;
	const char *n = own("a");
	int s = sock(SOCK_STREAM), d = sock(SOCK_DGRAM), c = sock(SOCK_STREAM), p = sock(SOCK_STREAM);
	CHECK_OK(bind_to(s, n), "[socket] unix(7): an abstract name");
	CHECK_ERR(bind_to(c, n), EADDRINUSE, "[socket] in use: EADDRINUSE");
	CHECK_OK(bind_to(d, n), "[socket] another type of socket has names of its own");
	CHECK_ERR(bind_to(s, own("b")), EINVAL, "[socket] a second name: EINVAL");
	socklen_t l = sizeof u;
	CHECK(getsockname(s, (void *)&u, &l) == 0 && l == SUN + strlen(n) && !u.sun_path[0] && !memcmp(u.sun_path + 1, n + 1, l - SUN - 1), "[socket] no NUL at its end is counted");
	CHECK_ERR(connect_to(c, own("none")), ECONNREFUSED, "[socket] connect(2) to none: ECONNREFUSED");
	CHECK_ERR(connect_to(c, n), ECONNREFUSED, "[socket] nobody listens: ECONNREFUSED");
	REQUIRE(listen(s, 1) == 0);
	CHECK_OK(connect_to(c, n), "[socket] connect(2)");
	l = addr(&u, n);
	CHECK_ERR(connect(p, (void *)&u, l + 1), ECONNREFUSED, "[socket] unix(7): every byte of the name counts, a NUL too");
	close(s);
	s = sock(SOCK_STREAM);
	CHECK_OK(bind_to(s, n), "[socket] it is free when the socket is closed");
}

CASE(autobind)
{
	struct sockaddr_un u = { .sun_family = AF_UNIX }, v;
	int s = sock(SOCK_DGRAM), t = sock(SOCK_DGRAM);
	CHECK_OK(bind(s, (void *)&u, SUN), "[socket] unix(7): autobind");
	socklen_t l = sizeof u, m = sizeof v;
	CHECK(getsockname(s, (void *)&u, &l) == 0 && l == SUN + 6 && u.sun_path[0] == 0 && strspn(u.sun_path + 1, "0123456789abcdef") >= 5, "[socket] five hexadecimal digits");
	v.sun_family = AF_UNIX;
	REQUIRE(bind(t, (void *)&v, SUN) == 0 && getsockname(t, (void *)&v, &m) == 0);
	CHECK(memcmp(u.sun_path, v.sun_path, 6) != 0, "[socket] another one each time");
	CHECK_OK(bind(s, (void *)&v, SUN), "[socket] on a bound socket it does nothing");
	CHECK_OK(connect(t, (void *)&u, l), "[socket] the name can be used");
	s = sock(SOCK_DGRAM);
	REQUIRE(set(s, SO_PASSCRED, 1) == 0);
	l = sizeof u;
	CHECK(getsockname(s, (void *)&u, &l) == 0 && l == SUN, "[socket] a new socket has no name");
	REQUIRE(connect(s, (void *)&v, m) == -1 || true);
	l = sizeof u;
	CHECK(getsockname(s, (void *)&u, &l) == 0 && l == SUN + 6, "[socket] unix(7): with SO_PASSCRED connect gives it one");
}

CASE(names_unnamed)
{
	struct sockaddr_un u;
	socklen_t l = sizeof u;
	pair(SOCK_STREAM);
	CHECK(getsockname(sv[0], (void *)&u, &l) == 0 && l == SUN && u.sun_family == AF_UNIX, "[socket] unix(7): an unnamed socket has only the family");
	l = sizeof u;
	CHECK(getpeername(sv[0], (void *)&u, &l) == 0 && l == SUN, "[socket] and so has its peer");
	const char *n = own("late");
	CHECK_OK(bind_to(sv[1], n), "[socket] a connected socket can be bound");
	l = sizeof u;
	CHECK(getpeername(sv[0], (void *)&u, &l) == 0 && l == SUN + strlen(n), "[socket] which its peer sees");
	int s = sock(SOCK_STREAM);
	l = sizeof u;
	CHECK_ERR(getpeername(s, (void *)&u, &l), ENOTCONN, "[socket] getpeername(2) without a peer: ENOTCONN");
	close(sv[1]);
	l = sizeof u;
	CHECK(getpeername(sv[0], (void *)&u, &l) == 0 && l == SUN + strlen(n), "[socket] the peer's name outlives it");
}

CASE(permissions)
{
	NEED_ROOT("[socket] permissions");
	char dir[100], n[120];
	snprintf(dir, sizeof dir, "/tmp/unixperm%d", getpid());
	snprintf(n, sizeof n, "%s/s", dir);
	REQUIRE(mkdir(dir, 0755) == 0);
	int l = listener(SOCK_STREAM, n, 5);
	chmod(n, 0700);
	pid_t pid = fork();
	if (pid == 0) {
		ag_drop(12345);
		int c = socket(AF_UNIX, SOCK_STREAM, 0), bad = 0;
		bad |= !(connect_to(c, n) == -1 && errno == EACCES);
		char m[130];
		snprintf(m, sizeof m, "%s/x", dir);
		bad |= (bind_to(c, m) == -1 && errno == EACCES) ? 0 : 2;
		_exit(bad);
	}
	int st = reap(pid);
	CHECK(WIFEXITED(st) && !(WEXITSTATUS(st) & 1), "[socket] unix(7): connect needs write permission: EACCES");
	CHECK(WIFEXITED(st) && !(WEXITSTATUS(st) & 2), "[socket] unix(7): bind needs to write to the directory: EACCES");
	chmod(n, 0702);
	pid = fork();
	if (pid == 0) {
		ag_drop(12345);
		int c = socket(AF_UNIX, SOCK_STREAM, 0);
		_exit(connect_to(c, n) == 0 ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[socket] write permission is enough");
	close(l);
	unlink(n);
	rmdir(dir);
}

/* ---- connections ---- */

CASE(connections)
{
	struct sockaddr_un u;
	const char *n = own("c");
	int l = sock(SOCK_STREAM), c = sock(SOCK_STREAM);
	CHECK_ERR(listen(l, 1), EINVAL, "[socket] listen(2) without a name: EINVAL");
	CHECK_ERR(accept(l, NULL, NULL), EINVAL, "[socket] accept(2) on one that does not listen: EINVAL");
	CHECK_ERR(listen(sock(SOCK_DGRAM), 1), EOPNOTSUPP, "[socket] listen(2) on datagrams: EOPNOTSUPP");
	CHECK_ERR(accept(sock(SOCK_DGRAM), NULL, NULL), EOPNOTSUPP, "[socket] accept(2) on datagrams: EOPNOTSUPP");
	REQUIRE(bind_to(l, n) == 0);
	CHECK_EQ(get(l, SO_ACCEPTCONN), 0, "[socket] SO_ACCEPTCONN: not yet");
	CHECK_OK(listen(l, 5), "[socket] listen(2)");
	CHECK_EQ(get(l, SO_ACCEPTCONN), 1, "[socket] SO_ACCEPTCONN");
	CHECK_OK(listen(l, 5), "[socket] again, for another backlog");
	nonblock(l);
	CHECK_ERR(accept(l, NULL, NULL), EAGAIN, "[socket] accept(2): nobody there: EAGAIN");
	CHECK_ERR(connect_to(l, n), EINVAL, "[socket] connect(2) of one that listens: EINVAL");
	CHECK_OK(connect_to(c, n), "[socket] connect(2)");
	CHECK_ERR(connect_to(c, n), EISCONN, "[socket] twice: EISCONN");
	CHECK_ERR(listen(c, 1), EINVAL, "[socket] listen(2) of an unnamed one: EINVAL");
	CHECK_EQ(send(c, "early", 5, 0), 5, "[socket] bytes can be sent before anybody accepts");
	CHECK_ERR(accept4(l, NULL, NULL, 0x1000), EINVAL, "[socket] accept4(2): an unknown flag: EINVAL");
	socklen_t len = sizeof u;
	int a = accept4(l, (void *)&u, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	CHECK(a >= 0 && len == SUN, "[socket] accept4(2); the peer is unnamed");
	CHECK(fcntl(a, F_GETFD) == FD_CLOEXEC && (fcntl(a, F_GETFL) & O_NONBLOCK), "[socket] with its flags");
	CHECK(recv(a, b, 99, 0) == 5 && !memcmp(b, "early", 5), "[socket] and there are the bytes");
	len = sizeof u;
	CHECK(getsockname(a, (void *)&u, &len) == 0 && len == SUN + strlen(n), "[socket] an accepted socket has the listener's name");
	len = sizeof u;
	CHECK(getpeername(c, (void *)&u, &len) == 0 && len == SUN + strlen(n), "[socket] which is what its peer sees");
	CHECK(send(a, "xy", 2, 0) == 2 && recv(c, b, 99, 0) == 2, "[socket] and the other way");
	CHECK_ERR(connect_to(a, n), EISCONN, "[socket] connect(2) of an accepted socket: EISCONN");
	CHECK_ERR(recv(l, b, 1, 0), EINVAL, "[socket] recv on one that listens: EINVAL");
	CHECK_ERR(send(l, b, 1, MSG_NOSIGNAL), ENOTCONN, "[socket] send: ENOTCONN");
	CHECK_EQ(events(l), 0, "[socket] poll(2): a listener without connections is not ready");
	int c2 = sock(SOCK_STREAM);
	REQUIRE(connect_to(c2, n) == 0);
	CHECK_EQ(events(l), POLLIN | POLLRDNORM, "[socket] with one it is readable");
	close(c2);
	a = accept(l, NULL, NULL);
	CHECK(a >= 0 && recv(a, b, 1, 0) == 0, "[socket] a connection whose peer is gone can be accepted: end of file");
	c2 = sock(SOCK_STREAM);
	REQUIRE(connect_to(c2, n) == 0);
	close(l);
	CHECK_ERR(recv(c2, b, 1, 0), ECONNRESET, "[socket] the listener goes: ECONNRESET for who was not accepted");
	CHECK_EQ(recv(c2, b, 1, 0), 0, "[socket] then end of file");
	CHECK_ERR(send(c2, b, 1, MSG_NOSIGNAL), EPIPE, "[socket] and EPIPE");
	CHECK_ERR(connect_to(sock(SOCK_STREAM), n), ECONNREFUSED, "[socket] nobody is there any more");
}

static const char *where;
static long do_connect(long fd)
{
	long r = connect_to(fd, where);
	return r < 0 ? -errno : r;
}
static long do_accept(long fd)
{
	long r = accept(fd, NULL, NULL);
	return r < 0 ? -errno : r;
}
static long catch_plain(long sig) { siglog_catch(sig, 0); return 0; }

CASE(backlog)
{
	where = own("q");
	int l = listener(SOCK_STREAM, where, 0), s[6];
	for (int i = 0; i < 6; i++)
		s[i] = sock(SOCK_STREAM);
	CHECK_OK(connect_to(s[0], where), "[socket] listen(2) with 0: one connection waits");
	nonblock(s[1]);
	CHECK_ERR(connect_to(s[1], where), EAGAIN, "[socket] connect(2): no room and O_NONBLOCK: EAGAIN");
	CHECK_OK(listen(l, 2), "[socket] a larger backlog");
	CHECK(connect_to(s[1], where) == 0 && connect_to(s[2], where) == 0, "[socket] n + 1 connections wait");
	nonblock(s[3]);
	CHECK_ERR(connect_to(s[3], where), EAGAIN, "[socket] and no more");
	struct timeval tv = { 0, 30000 };
	REQUIRE(setsockopt(s[4], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) == 0);
	long long t = now_ms();
	CHECK_ERR(connect_to(s[4], where), EAGAIN, "[socket] SO_SNDTIMEO: connect(2) waits no longer: EAGAIN");
	CHECK(now_ms() - t >= 29, "[socket] and not shorter");
	struct agent *a = spawn(NULL);
	call(a, catch_plain, SIGUSR1);
	call(a, ag_catch, SIGUSR2);
	post(a, do_connect, s[5]);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[7.37,socket] a waiting connect(2) is interrupted");
	post(a, do_connect, s[5]);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR2);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR2) == 1));
	CHECK(await_state(a->pid, 'S') && !answered(a), "[7.37,socket] and restarted with SA_RESTART");
	int c = accept(l, NULL, NULL);
	CHECK_EQ(finish(a), 0, "[socket] accept(2) makes room for it");
	post(a, do_connect, sock(SOCK_STREAM));
	retire(a, NULL);
	close(c);
}

CASE(backlog_closed)
{
	where = own("q");
	int l = listener(SOCK_STREAM, where, 0), s = sock(SOCK_STREAM), s2 = sock(SOCK_STREAM);
	REQUIRE(connect_to(s, where) == 0);
	struct agent *a = spawn(NULL);
	post(a, do_connect, s2);
	REQUIRE(await_blocked_in(a));
	pid_t pid = a->pid;
	struct agent *h = spawn(NULL);	/* has the listener too: only the last close counts */
	close(l);
	CHECK(await_state(pid, 'S') && !answered(a), "[socket] connect(2) waits while anybody has the listener");
	quit(h, 0);
	reap(h->pid);
	/* the agent that waits has it too */
	kill(pid, SIGKILL);
	reap(pid);
	CHECK_ERR(recv(s, b, 1, 0), ECONNRESET, "[socket] then it is gone");
}

CASE(accept_waits)
{
	where = own("w");
	int l = listener(SOCK_STREAM, where, 5);
	struct agent *a = spawn(NULL);
	call(a, catch_plain, SIGUSR1);
	call(a, ag_catch, SIGUSR2);
	post(a, do_accept, l);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[7.37,socket] a waiting accept(2) is interrupted");
	post(a, do_accept, l);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR2);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR2) == 1));
	CHECK(await_state(a->pid, 'S') && !answered(a), "[7.37,socket] and restarted with SA_RESTART");
	int c = sock(SOCK_STREAM);
	REQUIRE(connect_to(c, where) == 0);
	CHECK(finish(a) >= 0, "[socket] a connection wakes it");
	post(a, do_accept, l);
	REQUIRE(await_blocked_in(a));
	CHECK_OK(shutdown(l, SHUT_RD), "[socket] shutdown(2) of a listener");
	CHECK_EQ(finish(a), -EINVAL, "[socket] ends accept(2): EINVAL");
	CHECK_ERR(connect_to(sock(SOCK_STREAM), where), ECONNREFUSED, "[socket] and refuses connections");
	struct timeval tv = { 0, 30000 };
	int m = listener(SOCK_STREAM, own("w2"), 5);
	REQUIRE(setsockopt(m, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0);
	CHECK_ERR(accept(m, NULL, NULL), EAGAIN, "[socket] socket(7): SO_RCVTIMEO holds for accept(2): EAGAIN");
	retire(a, NULL);
	struct rlimit rl = { m + 1, m + 1 };
	while (dup(0) >= 0 && dup(0) < m + 1)
		;
	REQUIRE(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	CHECK_ERR(accept(m, NULL, NULL), EMFILE, "[socket] accept(2) without a free number: EMFILE at once");
}

CASE(shutdowns)
{
	signal(SIGPIPE, SIG_IGN);
	pair(SOCK_STREAM);
	CHECK_ERR(shutdown(sv[0], 3), EINVAL, "[socket] shutdown(2): EINVAL");
	CHECK_ERR(shutdown(sv[0], -1), EINVAL, "[socket] a negative one too");
	REQUIRE(send(sv[0], "ab", 2, 0) == 2);
	CHECK_OK(shutdown(sv[0], SHUT_WR), "[socket] SHUT_WR");
	CHECK_ERR(send(sv[0], "x", 1, 0), EPIPE, "[socket] no more can be sent");
	CHECK(recv(sv[1], b, 9, 0) == 2 && recv(sv[1], b, 9, 0) == 0, "[socket] the peer reads what was sent, then the end");
	CHECK_EQ(send(sv[1], "cd", 2, 0), 2, "[socket] the other way still works");
	CHECK_EQ(recv(sv[0], b, 9, 0), 2, "[socket] to its end");
	CHECK_EQ(send(sv[1], "ef", 2, 0), 2, "[socket] more");
	CHECK_OK(shutdown(sv[0], SHUT_RD), "[socket] SHUT_RD");
	CHECK_EQ(recv(sv[0], b, 9, 0), 2, "[socket] what has come in can still be read");
	CHECK_EQ(recv(sv[0], b, 9, 0), 0, "[socket] then the end");
	CHECK_ERR(send(sv[1], "x", 1, 0), EPIPE, "[socket] and the peer can't send");
	CHECK_OK(shutdown(sock(SOCK_STREAM), SHUT_RDWR), "[socket] a socket without a connection can be shut down");
	pair(SOCK_DGRAM);
	REQUIRE(shutdown(sv[1], SHUT_RD) == 0);
	CHECK_ERR(send(sv[0], "x", 1, 0), EPIPE, "[socket] datagrams to one that was shut down: EPIPE");
	CHECK_ERR(recv(sv[1], b, 1, MSG_DONTWAIT), EAGAIN, "[socket] which without waiting finds nothing: EAGAIN");
	CHECK_EQ(recv(sv[1], b, 1, 0), 0, "[socket] and with waiting its end");
}

static long do_read(long fd)
{
	long r = read(fd, b, 1);
	return r < 0 ? -errno : r;
}

CASE(shutdown_wakes)
{
	pair(SOCK_STREAM);
	struct agent *a = spawn(NULL);
	post(a, do_read, sv[0]);
	REQUIRE(await_blocked_in(a));
	REQUIRE(shutdown(sv[1], SHUT_WR) == 0);
	CHECK_EQ(finish(a), 0, "[socket] the peer's SHUT_WR ends a read that waits");
	pair(SOCK_STREAM);
	quit(a, 0);
	reap(a->pid);
	a = spawn(NULL);
	post(a, do_read, sv[0]);
	REQUIRE(await_blocked_in(a));
	REQUIRE(shutdown(sv[0], SHUT_RD) == 0);
	CHECK_EQ(finish(a), 0, "[socket] and so does one's own SHUT_RD");
	retire(a, NULL);
}

/* ---- streams ---- */

CASE(stream_errors)
{
	siglog_catch(SIGPIPE, 0);
	struct sockaddr_un u;
	socklen_t l = addr(&u, own("x"));
	int s = sock(SOCK_STREAM);
	CHECK_ERR(recv(s, b, 1, 0), EINVAL, "[socket] recv without a connection: EINVAL");
	CHECK_ERR(send(s, b, 1, 0), ENOTCONN, "[socket] send: ENOTCONN");
	CHECK_ERR(sendto(s, b, 1, 0, (void *)&u, l), EOPNOTSUPP, "[socket] sendto an address: EOPNOTSUPP");
	pair(SOCK_STREAM);
	CHECK_ERR(sendto(sv[0], b, 1, 0, (void *)&u, l), EISCONN, "[socket] with a connection: EISCONN");
	CHECK_EQ(sendto(sv[0], b, 1, 0, (void *)&u, 0), 1, "[socket] an empty address is none");
	close(sv[1]);
	CHECK_ERR(send(sv[0], "x", 1, MSG_NOSIGNAL), EPIPE, "[socket] send(2): the peer is gone: EPIPE");
	CHECK_EQ(siglog_count(0, SIGPIPE), 0, "[socket] send(2): MSG_NOSIGNAL: no SIGPIPE");
	CHECK_ERR(send(sv[0], "x", 1, 0), EPIPE, "[socket] without it");
	CHECK_EQ(siglog_count(0, SIGPIPE), 1, "[socket] there is one");
	CHECK_ERR(write(sv[0], "x", 1), EPIPE, "[socket] write(2)");
	CHECK_EQ(siglog_count(0, SIGPIPE), 2, "[socket] too");
	CHECK_ERR(recv(sv[0], b, 1, 0), ECONNRESET, "[socket] unread bytes at the peer's end: ECONNRESET, once");
	CHECK_EQ(recv(sv[0], b, 1, 0), 0, "[socket] then the end");
	pair(SOCK_STREAM);
	REQUIRE(send(sv[0], "x", 1, 0) == 1);
	close(sv[1]);
	CHECK_EQ(get(sv[0], SO_ERROR), ECONNRESET, "[socket] socket(7): SO_ERROR returns it");
	CHECK_EQ(get(sv[0], SO_ERROR), 0, "[socket] and clears it");
	pair(SOCK_STREAM);
	REQUIRE(send(sv[1], "xyz", 3, 0) == 3);
	close(sv[1]);
	CHECK_EQ(recv(sv[0], b, 9, 0), 3, "[socket] what the peer sent before it was closed is read");
	CHECK_EQ(recv(sv[0], b, 9, 0), 0, "[socket] before the end");
}

CASE(stream_flags)
{
	pair(SOCK_STREAM);
	CHECK_ERR(recv(sv[1], b, 1, MSG_DONTWAIT), EAGAIN, "[socket] recv(2): MSG_DONTWAIT: EAGAIN");
	CHECK_EQ(read(sv[1], b, 0), 0, "[socket] read(2) of nothing returns 0");
	CHECK_ERR(recv(sv[1], b, 0, MSG_DONTWAIT), EAGAIN, "[socket] recv(2) of nothing: EAGAIN if there is none");
	CHECK_EQ(send(sv[0], b, 0, 0), 0, "[socket] nothing can be sent");
	CHECK_ERR(recv(sv[1], b, 1, MSG_DONTWAIT), EAGAIN, "[socket] and does not arrive");
	REQUIRE(send(sv[0], "abcdef", 6, 0) == 6);
	CHECK(recv(sv[1], b, 4, MSG_PEEK) == 4 && !memcmp(b, "abcd", 4), "[socket] recv(2): MSG_PEEK");
	CHECK(recv(sv[1], b, 9, MSG_PEEK) == 6 && !memcmp(b, "abcdef", 6), "[socket] leaves it there");
	CHECK(recv(sv[1], b, 2, 0) == 2 && recv(sv[1], b, 9, 0) == 4 && !memcmp(b, "cdef", 4), "[socket] a stream has no bounds: parts");
	REQUIRE(send(sv[0], "ab", 2, 0) == 2 && send(sv[0], "cd", 2, 0) == 2);
	CHECK(recv(sv[1], b, 9, 0) == 4 && !memcmp(b, "abcd", 4), "[socket] and what came in two is read as one");
	REQUIRE(send(sv[0], "ab", 2, 0) == 2);
	CHECK_EQ(recv(sv[1], b, 9, MSG_WAITALL | MSG_DONTWAIT), 2, "[socket] MSG_WAITALL and MSG_DONTWAIT: what is there");
	nonblock(sv[1]);
	CHECK_ERR(read(sv[1], b, 1), EAGAIN, "[socket] O_NONBLOCK");
	struct iovec v[3] = { { b, 2 }, { NULL, 0 }, { b + 10, 5 } };
	memcpy(b, "12", 2);
	memcpy(b + 10, "34567", 5);
	CHECK_EQ(writev(sv[0], v, 3), 7, "[socket] writev(2)");
	memset(b, 0, sizeof b);
	CHECK(readv(sv[1], v, 3) == 7 && !memcmp(b, "12", 2) && !memcmp(b + 10, "34567", 5), "[socket] readv(2)");
}

static long do_waitall(long fd) { return recv(fd, b, 6, MSG_WAITALL); }

CASE(stream_waitall)
{
	pair(SOCK_STREAM);
	struct agent *a = spawn(NULL);
	call(a, catch_plain, SIGUSR1);
	post(a, do_waitall, sv[1]);
	REQUIRE(await_blocked_in(a));
	REQUIRE(send(sv[0], "abc", 3, 0) == 3);
	CHECK(await_state(a->pid, 'S') && !answered(a), "[socket] recv(2): MSG_WAITALL waits for all");
	REQUIRE(send(sv[0], "def", 3, 0) == 3);
	CHECK_EQ(finish(a), 6, "[socket] and then returns it");
	post(a, do_waitall, sv[1]);
	REQUIRE(await_blocked_in(a));
	REQUIRE(send(sv[0], "abc", 3, 0) == 3);
	int n = 1;
	REQUIRE(AWAIT(ioctl(sv[1], SIOCINQ, &n) == 0 && n == 0));
	REQUIRE(await_state(a->pid, 'S'));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), 3, "[socket] a signal ends it with what there is");
	post(a, do_waitall, sv[1]);
	REQUIRE(await_blocked_in(a));
	REQUIRE(send(sv[0], "abcd", 4, 0) == 4 && shutdown(sv[0], SHUT_WR) == 0);
	CHECK_EQ(finish(a), 4, "[socket] and so does the end of the stream");
	pair(SOCK_STREAM);
	CHECK_OK(set(sv[1], SO_RCVLOWAT, 4), "[socket] SO_RCVLOWAT");
	CHECK_EQ(get(sv[1], SO_RCVLOWAT), 4, "[socket] is kept");
	REQUIRE(send(sv[0], "abc", 3, 0) == 3);
	CHECK_EQ(recv(sv[1], b, 9, MSG_DONTWAIT), 3, "[socket] less than that is returned without waiting");
	retire(a, NULL);
}

static unsigned char pattern(unsigned long i) { return (unsigned char)(i * 7 + i / 4093); }

static long send_much(long bytes)
{
	static unsigned char buf[70000];
	unsigned long done = 0;
	while (done < (unsigned long)bytes) {
		unsigned long n = 1 + (done * 31) % sizeof buf;
		if (n > bytes - done)
			n = bytes - done;
		for (unsigned long i = 0; i < n; i++)
			buf[i] = pattern(done + i);
		if (write(sv[0], buf, n) != (ssize_t)n)
			return -1;
		done += n;
	}
	return done;
}

CASE_T(stream_volume, 60)
{
	static unsigned char buf[50000];
	long total = 3 << 20;
	pair(SOCK_STREAM);
	struct agent *a = spawn(NULL);
	post(a, send_much, total);
	long done = 0, bad = 0, n, k = 0;
	while (done < total && (n = read(sv[1], buf, 1 + (k++ * 977) % sizeof buf)) > 0) {
		for (long i = 0; i < n; i++)
			bad += buf[i] != pattern(done + i);
		done += n;
	}
	CHECK_EQ(done, total, "[socket] three megabytes arrive");
	CHECK_EQ(bad, 0, "[socket] unharmed");
	CHECK_EQ(finish(a), total, "[socket] a sender waits for room");
	retire(a, NULL);
}

CASE(stream_full)
{
	static char big[1 << 20];
	pair(SOCK_STREAM);
	ssize_t n = send(sv[0], big, sizeof big, MSG_DONTWAIT);
	CHECK(n > 65536 && n < (ssize_t)sizeof big, "[socket] without waiting, a part of a long send goes in");
	CHECK_ERR(send(sv[0], big, 1, MSG_DONTWAIT), EAGAIN, "[socket] then EAGAIN");
	int in = 0, out = 0;
	CHECK(ioctl(sv[1], SIOCINQ, &in) == 0 && in == n, "[socket] SIOCINQ: what can be read");
	CHECK(ioctl(sv[0], SIOCOUTQ, &out) == 0 && out >= n, "[socket] SIOCOUTQ: what was sent and not read");
	CHECK(!(events(sv[0]) & POLLOUT), "[socket] poll(2): not writable");
	REQUIRE(recv(sv[1], big, n, MSG_WAITALL) == n);
	CHECK(ioctl(sv[0], SIOCOUTQ, &out) == 0 && out == 0, "[socket] SIOCOUTQ: all was read");
	CHECK(events(sv[0]) & POLLOUT, "[socket] writable again");
	CHECK_OK(set(sv[0], SO_SNDBUF, 5000), "[socket] SO_SNDBUF");
	CHECK_EQ(get(sv[0], SO_SNDBUF), 10000, "[socket] socket(7): is doubled");
	n = send(sv[0], big, sizeof big, MSG_DONTWAIT);
	CHECK(n > 0 && n <= 20000, "[socket] and bounds what is sent");
}

CASE(timeouts)
{
	pair(SOCK_STREAM);
	struct timeval tv = { 0, 30000 }, got;
	socklen_t l = sizeof got;
	CHECK_OK(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), "[socket] SO_RCVTIMEO");
	CHECK(getsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &got, &l) == 0 && got.tv_sec == 0 && got.tv_usec >= 30000 && got.tv_usec < 42000, "[socket] is kept, up to a tick");
	long long t = now_ms();
	CHECK_ERR(read(sv[0], b, 1), EAGAIN, "[socket] socket(7): the time is up: EAGAIN");
	CHECK(now_ms() - t >= 29, "[socket] not before");
	CHECK_ERR(recv(sv[0], b, 4, MSG_WAITALL), EAGAIN, "[socket] MSG_WAITALL too");
	REQUIRE(send(sv[1], "ab", 2, 0) == 2);
	CHECK_EQ(recv(sv[0], b, 4, MSG_WAITALL), 2, "[socket] which returns what has come till then");
	tv.tv_usec = 1000000;
	CHECK_ERR(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), EDOM, "[socket] a million microseconds: EDOM");
	tv.tv_usec = -1;
	CHECK_ERR(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), EDOM, "[socket] negative ones: EDOM");
	CHECK_ERR(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, 8), EINVAL, "[socket] too short: EINVAL");
	tv = (struct timeval){ -1, 0 };
	CHECK_OK(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), "[socket] a negative time");
	CHECK_ERR(read(sv[0], b, 1), EAGAIN, "[socket] does not wait at all");
	tv = (struct timeval){ 0, 0 };
	CHECK_OK(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), "[socket] 0 waits for ever");
	CHECK(getsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &got, &l) == 0 && got.tv_sec == 0 && got.tv_usec == 0, "[socket] and is 0");
	tv = (struct timeval){ 60, 0 };
	REQUIRE(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0);
	struct agent *a = spawn(NULL);
	call(a, ag_catch, SIGUSR2);
	post(a, do_read, sv[0]);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR2);
	CHECK_EQ(finish(a), -EINTR, "[7.36,socket] with a timeout, recv is never restarted");
	retire(a, NULL);
	tv = (struct timeval){ 0, 30000 };
	REQUIRE(setsockopt(sv[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) == 0);
	static char big[1 << 20];
	t = now_ms();
	ssize_t n = send(sv[0], big, sizeof big, 0);
	CHECK(n > 0 && n < (ssize_t)sizeof big && now_ms() - t >= 29, "[socket] SO_SNDTIMEO: a part was sent");
	CHECK_ERR(send(sv[0], big, sizeof big, 0), EAGAIN, "[socket] then EAGAIN");
}

static long do_send_big(long fd)
{
	static char big[1 << 20];
	long r = send(fd, big, sizeof big, 0);
	return r < 0 ? -errno : r;
}

CASE(restarts)
{
	pair(SOCK_STREAM);
	fill(sv[0]);
	struct agent *a = spawn(NULL);
	call(a, catch_plain, SIGUSR1);
	call(a, ag_catch, SIGUSR2);
	post(a, do_send_big, sv[0]);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[7.37,socket] a send that waits is interrupted");
	post(a, do_send_big, sv[0]);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR2);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR2) == 1));
	CHECK(await_state(a->pid, 'S') && !answered(a), "[7.37,socket] and restarted with SA_RESTART");
	kill(a->pid, SIGSTOP);
	REQUIRE(await_state(a->pid, 'T'));
	kill(a->pid, SIGCONT);
	CHECK(await_state(a->pid, 'S') && !answered(a), "[7.37,socket] and goes on after a stop");
	kill(a->pid, SIGKILL);
	reap(a->pid);
	CHECK(true, "[socket] a sender that waits can be killed");
}

/* ---- datagrams ---- */

CASE(datagrams)
{
	struct sockaddr_un u, from;
	const char *n = own("r"), *m = own("s");
	int r = sock(SOCK_DGRAM), s = sock(SOCK_DGRAM), o = sock(SOCK_DGRAM);
	REQUIRE(bind_to(r, n) == 0);
	socklen_t l = addr(&u, n), fl = sizeof from;
	CHECK_ERR(send(s, "x", 1, 0), ENOTCONN, "[socket] send without a target: ENOTCONN");
	CHECK_EQ(sendto(s, "hello", 5, 0, (void *)&u, l), 5, "[socket] sendto");
	CHECK_EQ(sendto(s, "", 0, 0, (void *)&u, l), 0, "[socket] an empty message");
	CHECK_EQ(sendto(s, "abc", 3, 0, (void *)&u, l), 3, "[socket] another");
	CHECK(recvfrom(r, b, 99, 0, (void *)&from, &fl) == 5 && fl == 0, "[socket] recvfrom: from an unnamed socket");
	CHECK_EQ(recv(r, b, 99, MSG_DONTWAIT), 0, "[socket] the empty one arrives");
	CHECK_EQ(recv(r, b, 2, MSG_PEEK | MSG_TRUNC), 3, "[socket] recv(2): MSG_TRUNC returns the true length");
	CHECK(recv(r, b, 2, 0) == 2 && recv(r, b, 2, MSG_DONTWAIT) == -1 && errno == EAGAIN, "[socket] what does not fit is lost");
	struct iovec v = { b, 2 };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1 };
	REQUIRE(sendto(s, "abc", 3, 0, (void *)&u, l) == 3);
	CHECK(recvmsg(r, &h, 0) == 2 && (h.msg_flags & MSG_TRUNC), "[socket] recvmsg(2): MSG_TRUNC says so");
	REQUIRE(bind_to(s, m) == 0 && sendto(s, "x", 1, 0, (void *)&u, l) == 1);
	fl = sizeof from;
	CHECK(recvfrom(r, b, 9, 0, (void *)&from, &fl) == 1 && fl == SUN + strlen(m), "[socket] recvfrom: the sender's name");
	CHECK_OK(connect_to(r, m), "[socket] connect(2)");
	CHECK_EQ(send(r, "back", 4, 0), 4, "[socket] sends to it");
	CHECK_EQ(recv(s, b, 9, 0), 4, "[socket] which gets it");
	CHECK_ERR(sendto(o, "x", 1, 0, (void *)&u, l), EPERM, "[socket] others can't send to a connected socket: EPERM");
	CHECK_ERR(connect_to(o, n), EPERM, "[socket] nor connect to it: EPERM");
	CHECK_EQ(sendto(s, "x", 1, 0, (void *)&u, l), 1, "[socket] its peer can");
	struct sockaddr un = { AF_UNSPEC, "" };
	CHECK_OK(connect(r, &un, 2), "[socket] connect(2) with AF_UNSPEC undoes it");
	CHECK_ERR(recv(r, b, 9, MSG_DONTWAIT), EAGAIN, "[socket] and what the peer had sent is lost");
	CHECK_ERR(send(r, "x", 1, 0), ENOTCONN, "[socket] no target");
	CHECK_EQ(sendto(o, "x", 1, 0, (void *)&u, l), 1, "[socket] others can send again");
	CHECK_ERR(connect(r, &un, 1), EINVAL, "[socket] too short: EINVAL");
	REQUIRE(recv(r, b, 9, 0) == 1 && connect_to(s, n) == 0);
	close(r);
	CHECK_ERR(send(s, "x", 1, 0), ECONNREFUSED, "[socket] the target is closed: ECONNREFUSED");
	CHECK_ERR(send(s, "x", 1, 0), ENOTCONN, "[socket] and then there is none");
	CHECK_ERR(sendto(s, "x", 1, 0, (void *)&u, l), ECONNREFUSED, "[socket] by name: ECONNREFUSED");
	pair(SOCK_DGRAM);
	siglog_catch(SIGPIPE, 0);
	close(sv[1]);
	CHECK_ERR(write(sv[0], "x", 1), ECONNREFUSED, "[socket] the peer of a pair is closed: ECONNREFUSED");
	CHECK_EQ(siglog_count(0, SIGPIPE), 0, "[socket] without SIGPIPE");
}

CASE(datagram_bounds)
{
	static char big[300000];
	pair(SOCK_DGRAM);
	REQUIRE(set(sv[0], SO_SNDBUF, 20000) == 0);
	CHECK_ERR(send(sv[0], big, 50000, 0), EMSGSIZE, "[socket] longer than the send buffer: EMSGSIZE");
	pair(SOCK_DGRAM);
	for (unsigned i = 0; i < 100000; i++)
		big[i] = pattern(i);
	CHECK_EQ(send(sv[0], big, 100000, 0), 100000, "[socket] a long message");
	memset(big, 0, sizeof big);
	CHECK_EQ(recv(sv[1], big, sizeof big, 0), 100000, "[socket] arrives whole");
	int bad = 0;
	for (unsigned i = 0; i < 100000; i++)
		bad += (unsigned char)big[i] != pattern(i);
	CHECK_EQ(bad, 0, "[socket] unharmed");
	int n = fill(sv[0]);
	CHECK(n > 20 && errno == EAGAIN, "[socket] a pair holds as many as the buffer allows, then EAGAIN");
	CHECK(!(events(sv[0]) & POLLOUT), "[socket] and is not writable");
	while (recv(sv[1], b, 1, MSG_DONTWAIT) == 1)
		;
	CHECK(events(sv[0]) & POLLOUT, "[socket] till they are read");
}

static long do_send1(long fd)
{
	long r = send(fd, "x", 1, 0);
	return r < 0 ? -errno : r;
}

CASE(datagram_queue)
{
	char text[32];
	REQUIRE(read_file("/proc/sys/net/unix/max_dgram_qlen", text, sizeof text) > 0);
	int limit = atoi(text) + 1;
	const char *n = own("r");
	int r = sock(SOCK_DGRAM), s = sock(SOCK_DGRAM), ep = MUST(epoll_create1(0));
	REQUIRE(bind_to(r, n) == 0 && connect_to(s, n) == 0);
	struct epoll_event e = { .events = EPOLLOUT | EPOLLET }, got;
	REQUIRE(epoll_ctl(ep, EPOLL_CTL_ADD, s, &e) == 0 && epoll_wait(ep, &got, 1, 0) == 1);
	CHECK_EQ(fill(s), limit, "[socket] a receiver that is not connected takes max_dgram_qlen + 1 messages");
	CHECK_EQ(errno, EAGAIN, "[socket] then EAGAIN");
	CHECK(!(events(s) & POLLOUT), "[socket] poll(2): the sender is not writable");
	CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0, "[socket] epoll is told nothing");
	REQUIRE(recv(r, b, 1, 0) == 1);
	CHECK(events(s) & POLLOUT, "[socket] till one was read");
	CHECK_EQ(epoll_wait(ep, &got, 1, deadline_ms), 1, "[socket] and epoll is told, edge-triggered");
	REQUIRE(fill(s) == 1);
	struct agent *a = spawn(NULL);
	call(a, ag_catch, SIGUSR2);
	post(a, do_send1, s);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR2);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR2) == 1));
	CHECK(await_state(a->pid, 'S') && !answered(a), "[7.37,socket] a sender waits for room, and is restarted");
	REQUIRE(recv(r, b, 1, 0) == 1);
	CHECK_EQ(finish(a), 1, "[socket] until there is some");
	retire(a, NULL);
	int t = sock(SOCK_DGRAM);
	REQUIRE(bind_to(t, own("self")) == 0);
	struct sockaddr_un u;
	socklen_t l = addr(&u, own("self"));
	CHECK(sendto(t, "me", 2, 0, (void *)&u, l) == 2 && recv(t, b, 9, 0) == 2, "[socket] a socket can send to itself");
}

CASE(seqpackets)
{
	const char *n = own("p");
	siglog_catch(SIGPIPE, 0);
	int l = listener(SOCK_SEQPACKET, n, 5), c = sock(SOCK_SEQPACKET), st = sock(SOCK_STREAM);
	CHECK_ERR(recv(c, b, 1, 0), ENOTCONN, "[socket] recv without a connection: ENOTCONN");
	CHECK_ERR(send(c, b, 1, 0), ENOTCONN, "[socket] send too");
	CHECK_ERR(connect_to(st, n), ECONNREFUSED, "[socket] a stream does not find it");
	CHECK_OK(connect_to(c, n), "[socket] connect(2)");
	int a = MUST(accept(l, NULL, NULL));
	CHECK(send(c, "abc", 3, 0) == 3 && send(c, "de", 2, 0) == 2 && send(c, "", 0, 0) == 0 && send(c, "fgh", 3, 0) == 3, "[socket] messages");
	int in = 0;
	CHECK(ioctl(a, SIOCINQ, &in) == 0 && in == 8, "[socket] SIOCINQ: all that waits");
	CHECK(recv(a, b, 99, 0) == 3 && recv(a, b, 99, 0) == 2, "[socket] keep their bounds");
	CHECK_EQ(recv(a, b, 99, 0), 0, "[socket] an empty one");
	CHECK_EQ(recv(a, b, 2, MSG_TRUNC), 3, "[socket] MSG_TRUNC");
	struct sockaddr_un u;
	socklen_t len = addr(&u, "@whatever");
	CHECK(sendto(c, "x", 1, 0, (void *)&u, len) == 1 && recv(a, b, 9, 0) == 1, "[socket] an address is ignored");
	REQUIRE(send(c, "last", 4, 0) == 4);
	close(c);
	CHECK(recv(a, b, 99, 0) == 4 && recv(a, b, 99, 0) == 0, "[socket] the end comes behind the last");
	CHECK_ERR(send(a, "x", 1, 0), EPIPE, "[socket] EPIPE");
	CHECK_EQ(siglog_count(0, SIGPIPE), 0, "[socket] without SIGPIPE, as in Linux");
	pair(SOCK_SEQPACKET);
	REQUIRE(send(sv[0], "x", 1, 0) == 1);
	close(sv[1]);
	CHECK_ERR(recv(sv[0], b, 1, 0), ECONNRESET, "[socket] an unread message at the peer's end: ECONNRESET");
	pair(SOCK_SEQPACKET);
	shutdown(sv[0], SHUT_RD);
	CHECK_EQ(recv(sv[0], b, 1, MSG_DONTWAIT), 0, "[socket] a shut down one is at its end without waiting too");
}

CASE(socketpair_datagram_names)
{
	struct sockaddr_un u;
	socklen_t l = sizeof u;
	pair(SOCK_DGRAM);
	CHECK(getpeername(sv[0], (void *)&u, &l) == 0 && l == SUN, "[socket] the peer of a pair of datagram sockets");
	close(sv[1]);
	l = sizeof u;
	CHECK(getpeername(sv[0], (void *)&u, &l) == 0, "[socket] also when it is closed");
}

/* ---- poll ---- */

#define IN_ (POLLIN | POLLRDNORM)
#define OUT_ (POLLOUT | POLLWRNORM | POLLWRBAND)

CASE(poll_states)
{
	CHECK_EQ(events(sock(SOCK_STREAM)), OUT_ | POLLHUP, "[socket] poll(2): a stream without a connection");
	CHECK_EQ(events(sock(SOCK_SEQPACKET)), OUT_ | POLLHUP, "[socket] a sequenced one");
	CHECK_EQ(events(sock(SOCK_DGRAM)), OUT_, "[socket] a datagram socket");
	int s = sock(SOCK_STREAM);
	shutdown(s, SHUT_RDWR);
	CHECK_EQ(events(s), IN_ | OUT_ | POLLHUP | POLLRDHUP, "[socket] one that was shut down");
	pair(SOCK_STREAM);
	CHECK_EQ(events(sv[0]), OUT_, "[socket] a connection");
	REQUIRE(send(sv[1], "x", 1, 0) == 1);
	CHECK_EQ(events(sv[0]), IN_ | OUT_, "[socket] with data");
	REQUIRE(recv(sv[0], b, 1, 0) == 1 && shutdown(sv[1], SHUT_WR) == 0);
	CHECK_EQ(events(sv[0]), IN_ | OUT_ | POLLRDHUP, "[socket] the peer's SHUT_WR: POLLRDHUP");
	CHECK_EQ(events(sv[1]), OUT_, "[socket] and at its own end");
	REQUIRE(shutdown(sv[1], SHUT_RD) == 0);
	CHECK_EQ(events(sv[0]), IN_ | OUT_ | POLLRDHUP | POLLHUP, "[socket] both ways: POLLHUP");
	CHECK_EQ(events(sv[1]), IN_ | OUT_ | POLLRDHUP | POLLHUP, "[socket] at both ends");
	pair(SOCK_STREAM);
	close(sv[1]);
	CHECK_EQ(events(sv[0]), IN_ | OUT_ | POLLRDHUP | POLLHUP, "[socket] the peer is closed");
	pair(SOCK_STREAM);
	REQUIRE(send(sv[0], "x", 1, 0) == 1);
	close(sv[1]);
	CHECK_EQ(events(sv[0]), IN_ | OUT_ | POLLRDHUP | POLLHUP | POLLERR, "[socket] with unread data: POLLERR");
	pair(SOCK_DGRAM);
	close(sv[1]);
	CHECK_EQ(events(sv[0]), OUT_, "[socket] the peer of a datagram socket is closed: as before");
	pair(SOCK_SEQPACKET);
	shutdown(sv[0], SHUT_RD);
	CHECK_EQ(events(sv[0]), IN_ | OUT_ | POLLRDHUP, "[socket] SHUT_RD of a sequenced one");
	CHECK_EQ(events(sv[1]), OUT_, "[socket] and its peer");
	close(sv[1]);
	CHECK_EQ(events(sv[0]), IN_ | OUT_ | POLLRDHUP | POLLHUP, "[socket] closed");
	fd_set f, g, x;
	FD_ZERO(&f);
	FD_ZERO(&g);
	FD_ZERO(&x);
	FD_SET(sv[0], &f);
	FD_SET(sv[0], &g);
	FD_SET(sv[0], &x);
	CHECK_EQ(select(sv[0] + 1, &f, &g, &x, &(struct timeval){ 0, 0 }), 2, "[socket] select(2): readable and writable");
}

static long do_poll(long fd)
{
	struct pollfd p = { fd, POLLIN | POLLRDHUP, 0 };
	return poll(&p, 1, deadline_ms) == 1 ? p.revents : -1;
}

static long do_poll_out(long fd)
{
	struct pollfd p = { fd, POLLOUT, 0 };
	return poll(&p, 1, deadline_ms) == 1 ? p.revents : -1;
}

CASE(poll_waits)
{
	pair(SOCK_STREAM);
	struct agent *a = spawn(NULL);
	post(a, do_poll, sv[0]);
	REQUIRE(await_blocked_in(a));
	REQUIRE(send(sv[1], "x", 1, 0) == 1);
	CHECK_EQ(finish(a), POLLIN, "[socket] poll(2) waits for data");
	REQUIRE(recv(sv[0], b, 1, 0) == 1);
	post(a, do_poll, sv[0]);
	REQUIRE(await_blocked_in(a));
	REQUIRE(shutdown(sv[1], SHUT_WR) == 0);
	CHECK_EQ(finish(a), POLLIN | POLLRDHUP, "[socket] for the end");
	fill(sv[0]);
	post(a, do_poll_out, sv[0]);
	REQUIRE(await_blocked_in(a));
	while (recv(sv[1], b, sizeof b, MSG_DONTWAIT) > 0)
		;
	CHECK_EQ(finish(a), POLLOUT, "[socket] and for room");
	where = own("l");
	int l = listener(SOCK_STREAM, where, 5);
	quit(a, 0);
	reap(a->pid);
	a = spawn(NULL);
	post(a, do_poll, l);
	REQUIRE(await_blocked_in(a));
	REQUIRE(connect_to(sock(SOCK_STREAM), where) == 0);
	CHECK_EQ(finish(a), POLLIN, "[socket] a listener for connections");
	retire(a, NULL);
}

CASE(epoll_edges)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET }, got = { 0 };
	int ep = MUST(epoll_create1(0)), s = sock(SOCK_STREAM);
	const char *n = own("e");
	REQUIRE(epoll_ctl(ep, EPOLL_CTL_ADD, s, &e) == 0);
	CHECK(epoll_wait(ep, &got, 1, 0) == 1 && got.events == (EPOLLOUT | EPOLLHUP), "[socket] epoll(7): before the connection");
	CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0, "[socket] once");
	int l = listener(SOCK_STREAM, n, 5);
	REQUIRE(connect_to(s, n) == 0);
	int a = MUST(accept(l, NULL, NULL));
	epoll_wait(ep, &got, 1, 0);
	REQUIRE(send(a, "x", 1, 0) == 1);
	CHECK(epoll_wait(ep, &got, 1, deadline_ms) == 1 && got.events == (EPOLLIN | EPOLLOUT), "[socket] watched since before the connection, data is told");
	REQUIRE(send(a, "x", 1, 0) == 1);
	CHECK(epoll_wait(ep, &got, 1, deadline_ms) == 1 && (got.events & EPOLLIN), "[socket] more data is another edge");
	CHECK_EQ(epoll_wait(ep, &got, 1, 0), 0, "[socket] no more than that");
	close(a);
	CHECK(epoll_wait(ep, &got, 1, deadline_ms) == 1 && got.events == (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP), "[socket] and so is the end");
}

/* ---- options ---- */

CASE(options)
{
	pair(SOCK_SEQPACKET);
	int v = 1;
	socklen_t l;
	CHECK_EQ(get(sv[0], SO_TYPE), SOCK_SEQPACKET, "[socket] socket(7): SO_TYPE");
	CHECK_EQ(get(sv[0], SO_DOMAIN), AF_UNIX, "[socket] SO_DOMAIN");
	CHECK_EQ(get(sv[0], SO_PROTOCOL), 0, "[socket] SO_PROTOCOL");
	CHECK_EQ(get(sv[0], SO_ACCEPTCONN), 0, "[socket] SO_ACCEPTCONN");
	CHECK_EQ(get(sv[0], SO_ERROR), 0, "[socket] SO_ERROR");
	static const int ro[] = { SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, SO_ERROR };
	int n = 0;
	for (unsigned i = 0; i < sizeof ro / sizeof *ro; i++)
		n += set(sv[0], ro[i], 1) == -1 && errno == ENOPROTOOPT;
	CHECK_EQ(n, 5, "[socket] which can't be set: ENOPROTOOPT");
	CHECK_ERR(set(sv[0], 999, 1), ENOPROTOOPT, "[socket] an unknown option: ENOPROTOOPT");
	CHECK_EQ(get(sv[0], 999), -ENOPROTOOPT, "[socket] for getsockopt(2) too");
	CHECK_ERR(setsockopt(sv[0], 99, 1, &v, 4), EOPNOTSUPP, "[socket] another level: EOPNOTSUPP");
	l = 4;
	CHECK_ERR(getsockopt(sv[0], 99, 1, &v, &l), EOPNOTSUPP, "[socket] likewise");
	CHECK_ERR(setsockopt(sv[0], SOL_SOCKET, SO_PASSCRED, &v, 3), EINVAL, "[socket] a short value: EINVAL");
	CHECK_ERR(setsockopt(sv[0], SOL_SOCKET, SO_PASSCRED, &v, -1), EINVAL, "[socket] a negative length: EINVAL");
	CHECK_ERR(setsockopt(sv[0], SOL_SOCKET, SO_PASSCRED, BADPTR, 4), EFAULT, "[socket] a bad pointer: EFAULT");
	l = -1;
	CHECK_ERR(getsockopt(sv[0], SOL_SOCKET, SO_TYPE, &v, &l), EINVAL, "[socket] getsockopt(2), a negative length: EINVAL");
	l = 2, v = 0x77777777;
	CHECK(getsockopt(sv[0], SOL_SOCKET, SO_TYPE, &v, &l) == 0 && l == 2 && v == 0x77770005, "[socket] a short buffer is filled");
	l = 100;
	char buf[100];
	CHECK(getsockopt(sv[0], SOL_SOCKET, SO_TYPE, buf, &l) == 0 && l == 4, "[socket] the length is the value's");
	static const int sw[] = { SO_PASSCRED, SO_REUSEADDR, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE };
	n = 0;
	for (unsigned i = 0; i < sizeof sw / sizeof *sw; i++)
		n += get(sv[0], sw[i]) == 0 && set(sv[0], sw[i], 5) == 0 && get(sv[0], sw[i]) == 1 && set(sv[0], sw[i], 0) == 0 && get(sv[0], sw[i]) == 0;
	CHECK_EQ(n, 5, "[socket] switches are off, and read back as 0 and 1");
	CHECK(get(sv[0], SO_SNDBUF) >= 4608 && get(sv[0], SO_RCVBUF) >= 2304, "[socket] SO_SNDBUF and SO_RCVBUF");
	CHECK(set(sv[0], SO_SNDBUF, 0) == 0 && get(sv[0], SO_SNDBUF) == 4608, "[socket] SO_SNDBUF has a least size");
	CHECK(set(sv[0], SO_RCVBUF, 0) == 0 && get(sv[0], SO_RCVBUF) == 2304, "[socket] SO_RCVBUF too");
	CHECK(set(sv[0], SO_RCVBUF, 30000) == 0 && get(sv[0], SO_RCVBUF) == 60000, "[socket] what is asked for is doubled");
	CHECK(set(sv[0], SO_RCVLOWAT, 0) == 0 && get(sv[0], SO_RCVLOWAT) == 1, "[socket] SO_RCVLOWAT is 1 at least");
	CHECK_EQ(get(sv[0], SO_SNDLOWAT), 1, "[socket] SO_SNDLOWAT is 1");
	CHECK_ERR(set(sv[0], SO_SNDLOWAT, 2), ENOPROTOOPT, "[socket] and can't be set");
	struct linger lg = { 1, 7 };
	CHECK_OK(setsockopt(sv[0], SOL_SOCKET, SO_LINGER, &lg, sizeof lg), "[socket] SO_LINGER");
	memset(&lg, 0, sizeof lg);
	l = sizeof lg;
	CHECK(getsockopt(sv[0], SOL_SOCKET, SO_LINGER, &lg, &l) == 0 && lg.l_onoff == 1 && lg.l_linger == 7, "[socket] is kept");
	CHECK_ERR(set(sv[0], SO_REUSEPORT, 1), EOPNOTSUPP, "[socket] SO_REUSEPORT: EOPNOTSUPP");
	pid_t pid = fork();
	if (pid == 0) {
		ag_drop(12345);
		int bad = 0;
		bad |= !(set(sv[0], SO_SNDBUFFORCE, 100000) == -1 && errno == EPERM);
		bad |= !(set(sv[0], SO_PRIORITY, 7) == -1 && errno == EPERM) * 2;
		bad |= !(set(sv[0], SO_PRIORITY, 6) == 0 && get(sv[0], SO_PRIORITY) == 6) * 4;
		_exit(bad);
	}
	CHECK_EQ(reap(pid), 0, "[socket] SO_SNDBUFFORCE and a high SO_PRIORITY need CAP_NET_ADMIN: EPERM");
}

CASE(ioctls)
{
	int v = -1;
	pair(SOCK_DGRAM);
	REQUIRE(send(sv[0], "abc", 3, 0) == 3 && send(sv[0], "de", 2, 0) == 2);
	CHECK(ioctl(sv[1], SIOCINQ, &v) == 0 && v == 3, "[socket] unix(7): SIOCINQ: the next datagram");
	CHECK(ioctl(sv[0], SIOCOUTQ, &v) == 0 && v >= 5, "[socket] SIOCOUTQ");
	CHECK_ERR(ioctl(sv[0], SIOCINQ, BADPTR), EFAULT, "[socket] a bad pointer: EFAULT");
	int l = listener(SOCK_STREAM, own("i"), 1);
	CHECK_ERR(ioctl(l, SIOCINQ, &v), EINVAL, "[socket] SIOCINQ of a listener: EINVAL");
	v = 1;
	CHECK(ioctl(sv[0], FIONBIO, &v) == 0 && (fcntl(sv[0], F_GETFL) & O_NONBLOCK), "[socket] FIONBIO");
	v = getpid();
	CHECK(ioctl(sv[0], 0x8901 /* FIOSETOWN */, &v) == 0 && fcntl(sv[0], F_GETOWN) == getpid(), "[socket] FIOSETOWN");
	v = 0;
	CHECK(ioctl(sv[0], 0x8904 /* SIOCGPGRP */, &v) == 0 && v == getpid(), "[socket] SIOCGPGRP");
}

CASE(proc_net_unix)
{
	static char text[1 << 20];
	char n[64], line[128];
	struct stat st;
	snprintf(n, sizeof n, "%s", own("proc"));
	int l = listener(SOCK_STREAM, n, 1);
	REQUIRE(fstat(l, &st) == 0);
	REQUIRE(read_file("/proc/net/unix", text, sizeof text) > 0);
	CHECK(!strncmp(text, "Num       RefCount Protocol Flags    Type St Inode Path\n", 56), "[socket,proc] /proc/net/unix has its heading");
	snprintf(line, sizeof line, " 00000000 00010000 0001 01 %5lu %s", (long)st.st_ino, n);
	CHECK(strstr(text, line) != NULL, "[socket,proc] and a line of a socket that listens");
	pair(SOCK_DGRAM);
	REQUIRE(fstat(sv[0], &st) == 0 && read_file("/proc/self/net/unix", text, sizeof text) > 0);
	snprintf(line, sizeof line, " 00000000 00000000 0002 03 %5lu\n", (long)st.st_ino);
	CHECK(strstr(text, line) != NULL, "[socket,proc] and one of a connected one without a name");
	close(sv[0]);
	REQUIRE(read_file("/proc/self/net/unix", text, sizeof text) > 0);
	CHECK(strstr(text, line) == NULL, "[socket,proc] which goes with it");
}

/* ---- several messages ---- */

CASE(many_messages)
{
	char d[4][8];
	struct iovec v[4];
	struct mmsghdr m[4] = { 0 };
	pair(SOCK_DGRAM);
	for (int i = 0; i < 4; i++) {
		snprintf(d[i], 8, "%.*s", i + 1, "abcdefg");
		v[i] = (struct iovec){ d[i], i + 1 };
		m[i].msg_hdr.msg_iov = &v[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	CHECK_EQ(sendmmsg(sv[0], m, 4, 0), 4, "[socket] sendmmsg(2)");
	CHECK(m[0].msg_len == 1 && m[3].msg_len == 4, "[socket] says how much of each");
	for (int i = 0; i < 4; i++)
		v[i].iov_len = 8, m[i].msg_len = 0;
	CHECK_EQ(recvmmsg(sv[1], m, 3, 0, NULL), 3, "[socket] recvmmsg(2)");
	CHECK(m[0].msg_len == 1 && m[2].msg_len == 3, "[socket] likewise");
	REQUIRE(send(sv[0], "x", 1, 0) == 1);
	CHECK_EQ(recvmmsg(sv[1], m, 4, MSG_WAITFORONE, NULL), 2, "[socket] MSG_WAITFORONE: what is there after the first");
	CHECK_ERR(recvmmsg(sv[1], m, 4, MSG_DONTWAIT, NULL), EAGAIN, "[socket] nothing: EAGAIN");
	struct timespec ts = { 0, 1000000000 };
	CHECK_ERR(recvmmsg(sv[1], m, 4, 0, &ts), EINVAL, "[socket] a bad time: EINVAL");
	ts = (struct timespec){ 0, 0 };
	REQUIRE(send(sv[0], "x", 1, 0) == 1 && send(sv[0], "x", 1, 0) == 1);
	CHECK_EQ(recvmmsg(sv[1], m, 4, 0, &ts), 1, "[socket] the time is looked at after each message");
	CHECK_EQ(sendmmsg(sv[0], m, 0, 0), 0, "[socket] no messages");
	m[1].msg_hdr.msg_iov = BADPTR;
	CHECK_EQ(sendmmsg(sv[0], m, 3, 0), 1, "[socket] an error behind the first: what was sent");
	CHECK_ERR(sendmmsg(sv[0], m + 1, 3, 0), EFAULT, "[socket] at the first: the error");
	CHECK_ERR(sendmmsg(0xfff, m, 1, 0), EBADF, "[socket] no descriptor: EBADF");
}

CASE(message_headers)
{
	struct iovec v = { b, 4 };
	struct sockaddr_un u;
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_name = &u, .msg_namelen = sizeof u, .msg_flags = -1 };
	pair(SOCK_STREAM);
	CHECK_ERR(sendmsg(sv[0], BADPTR, 0), EFAULT, "[socket] sendmsg(2): a bad header: EFAULT");
	CHECK_ERR(recvmsg(sv[0], BADPTR, 0), EFAULT, "[socket] recvmsg(2): likewise");
	struct msghdr k = h;
	k.msg_name = NULL;
	k.msg_iovlen = 1025;
	CHECK_ERR(sendmsg(sv[0], &k, 0), EMSGSIZE, "[socket] too many buffers: EMSGSIZE");
	k = h;
	k.msg_namelen = -1;
	CHECK_ERR(sendmsg(sv[0], &k, 0), EINVAL, "[socket] a negative name length: EINVAL");
	k.msg_name = NULL;
	CHECK_EQ(sendmsg(sv[0], &k, 0), 4, "[socket] which does not count without a name");
	h.msg_controllen = 100;
	CHECK_EQ(recvmsg(sv[1], &h, 0), 4, "[socket] recvmsg(2)");
	CHECK(h.msg_namelen == 0 && h.msg_controllen == 0 && h.msg_flags == 0, "[socket] sets the lengths and the flags");
	REQUIRE(send(sv[0], "abcd", 4, 0) == 4);
	CHECK(recvmsg(sv[1], &h, MSG_CMSG_CLOEXEC) == 4 && h.msg_flags == MSG_CMSG_CLOEXEC, "[socket] MSG_CMSG_CLOEXEC is returned");
	v.iov_base = BADPTR;
	CHECK_ERR(sendmsg(sv[0], &(struct msghdr){ .msg_iov = &v, .msg_iovlen = 1 }, 0), EFAULT, "[socket] a bad buffer: EFAULT");
	REQUIRE(send(sv[0], "abcd", 4, 0) == 4);
	CHECK_ERR(recv(sv[1], BADPTR, 4, 0), EFAULT, "[socket] recv(2) to a bad buffer: EFAULT");
	CHECK_EQ(recv(sv[1], b, 9, MSG_DONTWAIT), 4, "[socket] loses nothing of a stream");
	char *edge = map_edge();
	memset(edge - 2, 'e', 2);
	CHECK_ERR(send(sv[0], BADPTR, 10, 0), EFAULT, "[socket] send(2) from a bad buffer: EFAULT");
	pair(SOCK_DGRAM);
	CHECK_ERR(send(sv[0], edge - 2, 4, 0), EFAULT, "[socket] a datagram is sent whole or not at all: EFAULT");
	CHECK_ERR(recv(sv[1], b, 9, MSG_DONTWAIT), EAGAIN, "[socket] nothing arrives");
}

/* ---- many at once ---- */

static long pingpong(long n)
{
	char c;
	for (long i = 0; i < n; i++)
		if (read(sv[1], &c, 1) != 1 || c != (char)i || write(sv[1], &c, 1) != 1)
			return -i - 1;
	return n;
}

CASE_T(ping_pong, 60)
{
	int n = iterations(300) * 5, bad = 0;
	pair(SOCK_STREAM);
	struct agent *a = spawn(NULL);
	post(a, pingpong, n);
	for (int i = 0; i < n && !bad; i++) {
		char c = (char)i, r = 0;
		bad += write(sv[0], &c, 1) != 1 || read(sv[0], &r, 1) != 1 || r != c;
	}
	CHECK_EQ(bad, 0, "[socket] a byte goes back and forth");
	CHECK_EQ(finish(a), n, "[socket] as often as wanted");
	retire(a, NULL);
}

static long connect_often(long n)
{
	long ok = 0;
	for (long i = 0; i < n; i++) {
		int s = socket(AF_UNIX, SOCK_STREAM, 0);
		char c = 0;
		ok += s >= 0 && connect_to(s, where) == 0 && write(s, "q", 1) == 1 && read(s, &c, 1) == 1 && c == 'q';
		close(s);
	}
	return ok;
}

CASE_T(many_connections, 60)
{
	int n = iterations(300) / 3, served = 0;
	where = own("many");
	int l = listener(SOCK_STREAM, where, 2);
	struct agent *a[3];
	for (int i = 0; i < 3; i++)
		post(a[i] = spawn(NULL), connect_often, n);
	for (; served < 3 * n; served++) {
		char c;
		int s = accept(l, NULL, NULL);
		if (s < 0 || read(s, &c, 1) != 1 || write(s, &c, 1) != 1)
			break;
		close(s);
	}
	CHECK_EQ(served, 3 * n, "[socket] a server serves three that connect at once");
	long ok = 0;
	for (int i = 0; i < 3; i++) {
		ok += finish(a[i]);
		retire(a[i], NULL);
	}
	CHECK_EQ(ok, 3 * n, "[socket] all of whom are answered");
}

static long close_races(long n)
{
	long bad = 0;
	for (long i = 0; i < n; i++) {
		wait_word(&sh->w[0], i + 1);
		ssize_t r = send((int)sh->v[0], b, 100, MSG_NOSIGNAL | MSG_DONTWAIT);
		bad += r == -1 && errno != EPIPE && errno != ECONNRESET && errno != EBADF;
		set_word(&sh->w[1], i + 1);
	}
	return bad;
}

CASE_T(close_against_send, 60)
{
	int n = iterations(300);
	struct agent *t = spawn_thread(spawn(NULL));
	(void)t;
	struct agent *self = spawn_thread(NULL);
	post(self, close_races, n);
	for (int i = 0; i < n; i++) {
		pair(SOCK_STREAM);
		sh->v[0] = sv[0];
		set_word(&sh->w[0], i + 1);
		close(sv[1]);
		wait_word(&sh->w[1], i + 1);
		close(sv[0]);
	}
	CHECK_EQ(finish(self), 0, "[socket] closing one end while the other sends: EPIPE or ECONNRESET, or it was sent");
}

/* ---- memory ---- */

CASE_T(given_back, 60)
{
	static char big[60000];
	int n = iterations(300) * 4, ok = 0;
	for (int i = 0; i < n; i++) {
		int t = i % 3 == 0 ? SOCK_STREAM : i % 3 == 1 ? SOCK_DGRAM : SOCK_SEQPACKET;
		if (socketpair(AF_UNIX, t, 0, sv))
			break;
		ok += write(sv[0], big, sizeof big) == sizeof big && write(sv[1], big, sizeof big) == sizeof big;
		close(sv[i & 1]);
		close(sv[!(i & 1)]);
	}
	CHECK_EQ(ok, n, "[leak] the memory of unread messages is given back");
	where = own("gone");
	for (ok = 0; ok < n / 4; ok++) {
		int l = listener(SOCK_STREAM, where, 5), c = sock(SOCK_STREAM);
		if (connect_to(c, where) || write(c, big, sizeof big) != sizeof big)
			break;
		close(ok & 1 ? l : c);
		close(ok & 1 ? c : l);
	}
	CHECK_EQ(ok, n / 4, "[leak] and that of connections that nobody accepted");
}
