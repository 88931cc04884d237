/*
 * scm.c - descriptors and credentials in messages of AF_UNIX sockets (unix(7): SCM_RIGHTS, SCM_CREDENTIALS, SO_PEERCRED;
 * cmsg(3)).
 */
#include "lib/tap.h"

#include <grp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#define SO_PEERPIDFD 77
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif
#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

static int sv[2];
static char b[256];

static void pair(int type) { MUST(socketpair(AF_UNIX, type, 0, sv)); }
static int set(int fd, int opt, int v) { return setsockopt(fd, SOL_SOCKET, opt, &v, sizeof v); }

/* Sends `len` bytes with a control message of `size` bytes of data. */
static ssize_t send_ctl(int fd, size_t len, int type, const void *data, size_t size)
{
	static char buf[4096] __attribute__((aligned(8)));
	struct iovec v = { b, len };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = CMSG_SPACE(size) };
	memset(buf, 0, sizeof buf);
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(c), data, size);
	return sendmsg(fd, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static ssize_t send_fds(int fd, size_t len, const int *fds, int n) { return send_ctl(fd, len, SCM_RIGHTS, fds, n * sizeof *fds); }
static ssize_t send_fd(int fd, int one) { return send_fds(fd, 1, &one, 1); }

/* What came: descriptors, credentials, the flags of the result. */
static struct {
	int n, fd[300], flags, ncred, nctl, npidfd, pidfd;
	size_t controllen;
	struct ucred cred;
} got;

static ssize_t receive(int fd, size_t len, int flags, size_t room)
{
	static char buf[4096] __attribute__((aligned(8)));
	struct iovec v = { b, len };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = room ? buf : NULL, .msg_controllen = room };
	memset(&got, 0, sizeof got);
	memset(buf, 0, sizeof buf);
	ssize_t r = recvmsg(fd, &h, flags | MSG_DONTWAIT);
	got.flags = h.msg_flags;
	got.controllen = h.msg_controllen;
	if (r < 0)
		return r;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		got.nctl++;
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			int n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(got.fd + got.n, CMSG_DATA(c), n * sizeof(int));
			got.n += n;
		}
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&got.cred, CMSG_DATA(c), sizeof got.cred);
			got.ncred++;
		}
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_PIDFD) {
			memcpy(&got.pidfd, CMSG_DATA(c), sizeof got.pidfd);
			got.npidfd++;
		}
	}
	return r;
}

static ssize_t take(int fd) { return receive(fd, 9, 0, 2048); }

/* Whether both descriptors are of one open file: they share the offset. */
static bool same_file(int a, int c)
{
	off_t at = lseek(a, 0, SEEK_CUR);
	bool same = lseek(a, 17, SEEK_SET) == 17 && lseek(c, 0, SEEK_CUR) == 17;
	lseek(a, at, SEEK_SET);
	return same;
}

static int some_file(void) { return MUST(open(self_path, O_RDONLY)); }

/* ---- descriptors ---- */

CASE(rights)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
	for (int i = 0; i < 3; i++) {
		pair(types[i]);
		int f = some_file();
		CHECK_EQ(send_fd(sv[0], f), 1, "[socket] unix(7): SCM_RIGHTS is sent");
		CHECK(take(sv[1]) == 1 && got.n == 1, "[socket] and received");
		CHECK(got.fd[0] != f && same_file(f, got.fd[0]), "[socket] it refers to the same open file");
		CHECK(got.flags == 0 && got.controllen == CMSG_SPACE(4), "[socket] cmsg(3): the length used");
		CHECK_EQ(fcntl(got.fd[0], F_GETFD), 0, "[socket] not close-on-exec");
		REQUIRE(send_fd(sv[0], f) == 1);
		CHECK(receive(sv[1], 9, MSG_CMSG_CLOEXEC, 2048) == 1 && fcntl(got.fd[0], F_GETFD) == FD_CLOEXEC, "[socket] recvmsg(2): MSG_CMSG_CLOEXEC");
		REQUIRE(send_fd(sv[0], f) == 1);
		close(f);
		CHECK(take(sv[1]) == 1 && got.n == 1 && lseek(got.fd[0], 0, SEEK_SET) == 0, "[socket] the sender may close its own");
	}
	int many[253], f = some_file();
	for (int i = 0; i < 253; i++)
		many[i] = f;
	CHECK_EQ(send_fds(sv[0], 1, many, 253), 1, "[socket] 253 descriptors in a message");
	CHECK(take(sv[1]) == 1 && got.n == 253 && same_file(got.fd[0], got.fd[252]), "[socket] arrive");
	for (int i = 0; i < got.n; i++)
		close(got.fd[i]);
	int more[254];
	for (int i = 0; i < 254; i++)
		more[i] = f;
	CHECK_ERR(send_fds(sv[0], 1, more, 254), EINVAL, "[socket] one more: EINVAL");
	many[100] = 999;
	CHECK_ERR(send_fds(sv[0], 1, many, 253), EBADF, "[socket] one that is not open: EBADF");
	CHECK(take(sv[1]) == -1 && errno == EAGAIN, "[socket] and nothing is sent");
	many[0] = -1;
	CHECK_ERR(send_fds(sv[0], 1, many, 1), EBADF, "[socket] a negative one: EBADF");
	int p = MUST(open("/", O_PATH));
	CHECK(send_fd(sv[0], p) == 1 && take(sv[1]) == 1 && got.n == 1 && fcntl(got.fd[0], F_GETFL) & O_PATH, "[socket] an O_PATH descriptor can be sent");
	CHECK(send_fds(sv[0], 1, many, 0) == 1 && take(sv[1]) == 1 && got.nctl == 0, "[socket] none at all is no message");
	int order[3] = { some_file(), MUST(open("/", O_RDONLY)), sv[0] };
	struct stat s[3], t;
	for (int i = 0; i < 3; i++)
		fstat(order[i], &s[i]);
	REQUIRE(send_fds(sv[0], 1, order, 3) == 1 && take(sv[1]) == 1 && got.n == 3);
	int ok = 0;
	for (int i = 0; i < 3; i++)
		ok += fstat(got.fd[i], &t) == 0 && t.st_ino == s[i].st_ino && t.st_dev == s[i].st_dev;
	CHECK_EQ(ok, 3, "[socket] several keep their order");
}

CASE(rights_lost)
{
	int p[2], f = some_file();
	struct pollfd pf;
	pair(SOCK_STREAM);
	MUST(pipe(p));
	REQUIRE(send_fd(sv[0], p[1]) == 1);
	close(p[1]);
	pf = (struct pollfd){ p[0], POLLIN, 0 };
	CHECK(poll(&pf, 1, 0) == 0, "[socket] a descriptor in a message keeps its file open");
	CHECK(receive(sv[1], 9, 0, 0) == 1 && (got.flags & MSG_CTRUNC), "[socket] recvmsg(2) without room for it: MSG_CTRUNC");
	CHECK(poll(&pf, 1, deadline_ms) == 1 && (pf.revents & POLLHUP), "[socket] and it is closed");
	MUST(pipe(p));
	REQUIRE(send_fd(sv[0], p[1]) == 1);
	close(p[1]);
	CHECK_EQ(read(sv[1], b, 9), 1, "[socket] read(2) takes the bytes");
	pf = (struct pollfd){ p[0], POLLIN, 0 };
	CHECK(poll(&pf, 1, deadline_ms) == 1 && (pf.revents & POLLHUP), "[socket] and loses the descriptor");
	int three[3] = { f, f, f };
	REQUIRE(send_fds(sv[0], 1, three, 3) == 1);
	CHECK(receive(sv[1], 9, 0, CMSG_LEN(8)) == 1 && got.n == 2 && (got.flags & MSG_CTRUNC), "[socket] room for two of three: MSG_CTRUNC");
	REQUIRE(send_fds(sv[0], 1, three, 3) == 1);
	CHECK(receive(sv[1], 9, 0, CMSG_LEN(0)) == 1 && got.n == 0 && (got.flags & MSG_CTRUNC) && got.controllen == 0, "[socket] room for a header only: none");
	REQUIRE(send_fds(sv[0], 1, three, 3) == 1);
	CHECK(receive(sv[1], 9, 0, 8) == 1 && got.n == 0 && (got.flags & MSG_CTRUNC), "[socket] not even that");
	REQUIRE(send_fds(sv[0], 1, three, 3) == 1);
	struct rlimit old, rl;
	getrlimit(RLIMIT_NOFILE, &old);
	int top = dup(0);
	close(top);
	rl = (struct rlimit){ top + 1, old.rlim_max };
	REQUIRE(setrlimit(RLIMIT_NOFILE, &rl) == 0);
	CHECK(take(sv[1]) == 1 && got.n == 1 && (got.flags & MSG_CTRUNC), "[socket] unix(7): RLIMIT_NOFILE holds: one of three, MSG_CTRUNC");
	REQUIRE(setrlimit(RLIMIT_NOFILE, &old) == 0);
	MUST(pipe(p));
	REQUIRE(send_fd(sv[0], p[1]) == 1);
	close(p[1]);
	close(sv[1]);
	pf = (struct pollfd){ p[0], POLLIN, 0 };
	CHECK(poll(&pf, 1, deadline_ms) == 1 && (pf.revents & POLLHUP), "[socket] closing the receiver closes what it has not read");
}

CASE(rights_peek)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };
	for (int i = 0; i < 2; i++) {
		pair(types[i]);
		int f = some_file(), one;
		REQUIRE(send_fd(sv[0], f) == 1);
		CHECK(receive(sv[1], 9, MSG_PEEK, 2048) == 1 && got.n == 1 && same_file(f, got.fd[0]), "[socket] MSG_PEEK gives a descriptor");
		one = got.fd[0];
		CHECK(take(sv[1]) == 1 && got.n == 1 && got.fd[0] != one && same_file(f, got.fd[0]), "[socket] and leaves it there");
	}
}

CASE(rights_in_streams)
{
	int f = some_file();
	pair(SOCK_STREAM);
	REQUIRE(send(sv[0], b, 3, 0) == 3 && send_fds(sv[0], 4, &f, 1) == 4 && send(sv[0], b, 5, 0) == 5);
	CHECK(receive(sv[1], 99, 0, 2048) == 7 && got.n == 1, "[socket] bytes before come with those that brought a descriptor, and it ends there");
	CHECK(receive(sv[1], 99, 0, 2048) == 5 && got.n == 0, "[socket] those behind come later");
	REQUIRE(send_fds(sv[0], 4, &f, 1) == 4 && send_fds(sv[0], 4, &f, 1) == 4);
	CHECK(receive(sv[1], 99, 0, 2048) == 4 && got.n == 1, "[socket] two such messages are not glued");
	CHECK(receive(sv[1], 2, 0, 2048) == 2 && got.n == 1, "[socket] the descriptor comes with the first byte");
	REQUIRE(send(sv[0], b, 3, 0) == 3);
	CHECK(receive(sv[1], 99, 0, 2048) == 5 && got.n == 0, "[socket] the rest is like other bytes");
	REQUIRE(send_fds(sv[0], 4, &f, 1) == 4);
	CHECK(receive(sv[1], 99, MSG_WAITALL, 2048) == 4 && got.n == 1, "[socket] MSG_WAITALL ends there too");
	CHECK_EQ(send_fds(sv[0], 0, &f, 1), 0, "[socket] with no byte");
	CHECK(take(sv[1]) == -1 && errno == EAGAIN, "[socket] a stream brings no descriptor");
	pair(SOCK_SEQPACKET);
	CHECK(send_fds(sv[0], 0, &f, 1) == 0 && take(sv[1]) == 0 && got.n == 1, "[socket] but an empty message does");
}

CASE(control_bad)
{
	char buf[256] __attribute__((aligned(8)));
	struct iovec v = { b, 1 };
	struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof buf };
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);
	int f = 0;
	pair(SOCK_STREAM);
	memset(buf, 0, sizeof buf);
	*c = (struct cmsghdr){ .cmsg_len = 0, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	CHECK_ERR(sendmsg(sv[0], &h, 0), EINVAL, "[socket] a control message of length 0: EINVAL");
	c->cmsg_len = 15;
	CHECK_ERR(sendmsg(sv[0], &h, 0), EINVAL, "[socket] shorter than its header: EINVAL");
	c->cmsg_len = 257;
	CHECK_ERR(sendmsg(sv[0], &h, 0), EINVAL, "[socket] longer than the buffer: EINVAL");
	c->cmsg_len = (size_t)-8;
	CHECK_ERR(sendmsg(sv[0], &h, 0), EINVAL, "[socket] absurdly long: EINVAL");
	c->cmsg_len = 256;
	c->cmsg_type = 99;
	CHECK_ERR(sendmsg(sv[0], &h, 0), EINVAL, "[socket] of an unknown type: EINVAL");
	c->cmsg_level = 99;
	CHECK_EQ(sendmsg(sv[0], &h, 0), 1, "[socket] another level is not looked at");
	h.msg_control = BADPTR;
	CHECK_ERR(sendmsg(sv[0], &h, 0), EFAULT, "[socket] a bad pointer: EFAULT");
	h.msg_controllen = (size_t)1 << 40;
	CHECK_ERR(sendmsg(sv[0], &h, 0), ENOBUFS, "[socket] an absurd length: ENOBUFS");
	h.msg_controllen = 100 << 20;
	CHECK_ERR(sendmsg(sv[0], &h, 0), ENOBUFS, "[socket] a large one: ENOBUFS");
	h.msg_control = buf;
	h.msg_controllen = 10;
	CHECK_EQ(sendmsg(sv[0], &h, 0), 1, "[socket] less than a header is none");
	CHECK_EQ(send_ctl(sv[0], 1, SCM_RIGHTS, &f, 3), 1, "[socket] less than a descriptor is none");
	CHECK_ERR(send_ctl(sv[0], 1, SCM_CREDENTIALS, &got, 8), EINVAL, "[socket] SCM_CREDENTIALS of a wrong length: EINVAL");
}

CASE(rights_refused)
{
	int f = some_file();
	pair(SOCK_STREAM);
	IF_SINCE(6, 16, "[socket] SO_PASSRIGHTS") {
		REQUIRE(set(sv[1], SO_PASSRIGHTS, 0) == 0);
		CHECK_ERR(send_fd(sv[0], f), EPERM, "[socket] SO_PASSRIGHTS off: descriptors are refused with EPERM");
		REQUIRE(set(sv[1], SO_PASSRIGHTS, 1) == 0);
		CHECK_EQ(send_fd(sv[0], f), 1, "[socket] and on again");
	}
}

CASE(too_many)
{
	NEED_ROOT("[socket] ETOOMANYREFS");
	pid_t pid = fork();
	if (pid == 0) {
		ag_drop(23456);
		struct rlimit rl = { 30, 30 };
		int bad = 0, f[10], n = 0, x = MUST(open("/", O_RDONLY));
		for (int i = 0; i < 10; i++)
			f[i] = x;
		pair(SOCK_DGRAM);
		setrlimit(RLIMIT_NOFILE, &rl);
		while (n < 20 && send_fds(sv[0], 1, f, 10) == 1)
			n++;
		bad |= n != 4 || errno != ETOOMANYREFS;
		char c;
		if (recv(sv[1], &c, 1, 0) != 1 || send_fds(sv[0], 1, f, 10) != 1)
			bad |= 2;
		_exit(bad);
	}
	int st = reap(pid);
	CHECK(WIFEXITED(st) && !(WEXITSTATUS(st) & 1), "[socket] unix(7): more in flight than RLIMIT_NOFILE: ETOOMANYREFS");
	CHECK(WIFEXITED(st) && !(WEXITSTATUS(st) & 2), "[socket] what is received does not count any more");
}

/* ---- sockets that hold one another ---- */

/* The write end of a pipe in the queue of a socket: while it is open, the read end has no end of file. */
static int tracer(int into)
{
	int p[2];
	MUST(pipe(p));
	REQUIRE(send_fd(into, p[1]) == 1);
	close(p[1]);
	return p[0];
}

static bool is_closed(int p)
{
	struct pollfd f = { p, POLLIN, 0 };
	return poll(&f, 1, 0) == 1 && (f.revents & POLLHUP);
}

/* Linux looks for garbage when some socket is closed, and in a worker. */
static bool gets_closed(int p)
{
	return AWAIT((close(socket(AF_UNIX, SOCK_STREAM, 0)), is_closed(p)));
}

CASE(garbage)
{
	pair(SOCK_STREAM);
	int p = tracer(sv[0]);
	REQUIRE(send_fd(sv[0], sv[1]) == 1);
	close(sv[1]);
	CHECK(!is_closed(p), "[socket] a socket in its own queue is not closed with its last descriptor");
	close(sv[0]);
	CHECK(gets_closed(p), "[socket,leak] then it is found, and closed with what is in its queue");

	int sw[2];
	pair(SOCK_DGRAM);
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, sw));
	p = tracer(sv[0]);
	REQUIRE(send_fd(sv[0], sw[1]) == 1 && send_fd(sw[0], sv[1]) == 1);
	close(sv[0]);
	close(sv[1]);
	close(sw[0]);
	close(sw[1]);
	CHECK(gets_closed(p), "[socket,leak] two datagram sockets in each other's queue");

	pair(SOCK_STREAM);
	p = tracer(sv[0]);
	REQUIRE(send_fd(sv[0], sv[0]) == 1 && send_fd(sv[0], sv[1]) == 1 && send_fd(sv[1], sv[0]) == 1 && send_fd(sv[1], sv[1]) == 1);
	close(sv[0]);
	close(sv[1]);
	CHECK(gets_closed(p), "[socket,leak] all ways at once");

	/* A chain: sv[1] holds a, a holds b, b holds a pipe; nothing is garbage until the first goes. */
	int a[2], c[2];
	pair(SOCK_STREAM);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, c));
	p = tracer(c[0]);
	REQUIRE(send_fd(a[0], c[1]) == 1 && send_fd(sv[0], a[1]) == 1);
	close(c[1]);
	close(a[1]);
	for (int i = 0; i < 50; i++)
		close(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK(!is_closed(p), "[socket] a chain of sockets in queues lives");
	CHECK(take(sv[1]) == 1 && got.n == 1, "[socket] and can be taken apart: the first");
	int first = got.fd[0];
	CHECK(take(first) == 1 && got.n == 1, "[socket] the second");
	int second = got.fd[0];
	CHECK(take(second) == 1 && got.n == 1 && !is_closed(p), "[socket] and what that held");
	close(got.fd[0]);
	CHECK(is_closed(p), "[socket] which was the last");
}

CASE(garbage_reachable)
{
	/* A cycle that somebody can still receive from. */
	int a[2], c[2];
	pair(SOCK_STREAM);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, a));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, c));
	int p = tracer(a[0]);
	REQUIRE(send_fd(a[0], c[1]) == 1 && send_fd(c[0], a[1]) == 1 && send_fd(sv[0], a[1]) == 1);
	close(a[0]);
	close(a[1]);
	close(c[0]);
	close(c[1]);
	for (int i = 0; i < 50; i++)
		close(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK(!is_closed(p), "[socket] a cycle with a message in a queue outside of it lives");
	REQUIRE(take(sv[1]) == 1 && got.n == 1);
	int r = got.fd[0];
	CHECK(take(r) == 1 && got.n == 1 && !is_closed(p), "[socket] it can be received from there");
	close(got.fd[0]);
	CHECK(is_closed(p), "[socket] with what it held");
	CHECK(take(r) == 1 && got.n == 1, "[socket] and the other half of the cycle");
}

CASE(garbage_listener)
{
	/* A listener in the queue of a connection that it has not accepted. */
	struct sockaddr_un u = { .sun_family = AF_UNIX };
	int n = snprintf(u.sun_path + 1, 100, "foster-gc-%d", getpid());
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1 + n;
	int l = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), c = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	MUST(bind(l, (void *)&u, len));
	MUST(listen(l, 5));
	MUST(connect(c, (void *)&u, len));
	int p = tracer(c);
	REQUIRE(send_fd(c, l) == 1);
	close(l);
	CHECK(!is_closed(p), "[socket] a listener in its own backlog is not closed with its last descriptor");
	close(c);
	CHECK(gets_closed(p), "[socket,leak] then it is garbage");
}

CASE(deep)
{
	/* Sockets in queues of sockets, a thousand deep: closing the first closes all. */
	pair(SOCK_STREAM);
	int p = tracer(sv[0]), held = sv[1], n = 0;
	close(sv[0]);
	for (; n < 1000; n++) {
		pair(SOCK_STREAM);
		if (send_fd(sv[0], held) != 1)
			break;
		close(sv[0]);
		close(held);
		held = sv[1];
	}
	CHECK(n >= 4 || errno == ETOOMANYREFS, "[socket] a deep nest of sockets, or ETOOMANYREFS");
	CHECK(!is_closed(p), "[socket] lives");
	close(held);
	CHECK(gets_closed(p), "[socket,leak] closing the outermost closes all");
}

CASE_T(garbage_given_back, 60)
{
	static char big[30000];
	int n = iterations(300) * 2, ok = 0;
	for (int i = 0; i < n; i++) {
		pair(i & 1 ? SOCK_STREAM : SOCK_DGRAM);
		/* without privileges, what is in flight counts against RLIMIT_NOFILE until it is found to be garbage */
		ok += AWAIT(send_fd(sv[0], sv[1]) == 1) && AWAIT(send_fd(sv[1], sv[0]) == 1) && send(sv[0], big, sizeof big, 0) > 0;
		close(sv[0]);
		close(sv[1]);
	}
	CHECK_EQ(ok, n, "[leak] the memory of cycles of sockets is given back");
}

static long gc_racer(long n)
{
	long bad = 0;
	for (long i = 0; i < n; i++) {
		int a[2], c[2];
		if (socketpair(AF_UNIX, SOCK_DGRAM, 0, a) || socketpair(AF_UNIX, SOCK_DGRAM, 0, c))
			return -1;
		char buf[CMSG_SPACE(4)] __attribute__((aligned(8))), byte = 'x';
		struct iovec v = { &byte, 1 };
		struct msghdr h = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = buf, .msg_controllen = sizeof buf };
		struct cmsghdr *m = CMSG_FIRSTHDR(&h);
		*m = (struct cmsghdr){ .cmsg_len = CMSG_LEN(4), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(m), &c[1], 4);
		bad += sendmsg(a[0], &h, 0) != 1;
		bad += send(c[0], "alive", 5, 0) != 5;
		close(c[1]);
		/* c[1] is only in flight now; another thread closes sockets and so looks for garbage */
		h.msg_controllen = sizeof buf;
		bad += recvmsg(a[1], &h, MSG_DONTWAIT) != 1 || CMSG_FIRSTHDR(&h) == NULL;
		int r = -1;
		memcpy(&r, CMSG_DATA(m), 4);
		char t[8];
		bad += recv(r, t, 8, MSG_DONTWAIT) != 5;
		close(r);
		close(c[0]);
		close(a[0]);
		close(a[1]);
	}
	return bad;
}

CASE_T(garbage_races, 60)
{
	int n = iterations(300) / 5;
	/* As long as there is a cycle somewhere, every close looks for garbage. */
	pair(SOCK_STREAM);
	REQUIRE(send_fd(sv[0], sv[1]) == 1);
	struct agent *p = spawn(NULL), *a[3];
	for (int i = 0; i < 3; i++)
		post(a[i] = spawn_thread(p), gc_racer, n);
	long bad = 0;
	for (int i = 0; i < 3; i++)
		bad += finish(a[i]);
	CHECK_EQ(bad, 0, "[socket] nothing that can be received is taken for garbage");
	retire(p, NULL);
}

/* ---- credentials ---- */

CASE(credentials)
{
	struct ucred mine = { getpid(), getuid(), getgid() }, bad = mine;
	pair(SOCK_DGRAM);
	REQUIRE(set(sv[1], SO_PASSCRED, 1) == 0);
	REQUIRE(send(sv[0], "x", 1, 0) == 1);
	CHECK(take(sv[1]) == 1 && got.ncred == 1 && got.controllen == CMSG_SPACE(sizeof mine), "[socket] unix(7): SO_PASSCRED: credentials come with each message");
	CHECK(got.cred.pid == getpid() && got.cred.uid == getuid() && got.cred.gid == getgid(), "[socket] the sender's own");
	CHECK_EQ(send_ctl(sv[0], 1, SCM_CREDENTIALS, &mine, sizeof mine), 1, "[socket] SCM_CREDENTIALS with what one is");
	CHECK(take(sv[1]) == 1 && got.ncred == 1 && got.cred.pid == getpid(), "[socket] arrives");
	REQUIRE(send(sv[0], "x", 1, 0) == 1);
	CHECK(receive(sv[1], 9, 0, 0) == 1 && (got.flags & MSG_CTRUNC), "[socket] no room for them: MSG_CTRUNC");
	REQUIRE(send(sv[0], "x", 1, 0) == 1);
	CHECK(receive(sv[1], 9, 0, 20) == 1 && (got.flags & MSG_CTRUNC) && got.controllen == 20, "[socket] too little room: cut off, MSG_CTRUNC");
	int f = some_file();
	REQUIRE(send_fd(sv[0], f) == 1);
	CHECK(take(sv[1]) == 1 && got.ncred == 1 && got.n == 1 && got.nctl == 2, "[socket] descriptors too, in one receive");
	set(sv[1], SO_PASSCRED, 0);
	CHECK(send_ctl(sv[0], 1, SCM_CREDENTIALS, &mine, sizeof mine) == 1 && take(sv[1]) == 1 && got.nctl == 0, "[socket] without SO_PASSCRED they are not delivered");
	bad.pid = 0x3ffffff0;
	CHECK_ERR(send_ctl(sv[0], 1, SCM_CREDENTIALS, &bad, sizeof bad), geteuid() ? EPERM : ESRCH, "[socket] a pid that nobody has: ESRCH, or EPERM for who may not");
	pair(SOCK_DGRAM);
	REQUIRE(send(sv[0], "x", 1, 0) == 1 && set(sv[1], SO_PASSCRED, 1) == 0);
	CHECK(take(sv[1]) == 1 && got.ncred == 1, "[socket] SO_PASSCRED set after the message was sent");
	IF_SINCE(6, 16, "[socket] nobody asked for its sender")
		CHECK(got.cred.pid == 0 && got.cred.uid == 65534 && got.cred.gid == 65534, "[socket] nobody knows its sender: pid 0, nobody");
}

CASE(credentials_claimed)
{
	NEED_ROOT("[socket] claims of credentials");
	struct ucred claim = { 1, 12, 34 };
	pair(SOCK_DGRAM);
	REQUIRE(set(sv[1], SO_PASSCRED, 1) == 0);
	CHECK_EQ(send_ctl(sv[0], 1, SCM_CREDENTIALS, &claim, sizeof claim), 1, "[socket] unix(7): with privilege anybody's credentials can be sent");
	CHECK(take(sv[1]) == 1 && got.cred.pid == 1 && got.cred.uid == 12 && got.cred.gid == 34, "[socket] and arrive");
	pid_t pid = fork();
	if (pid == 0) {
		int bad = 0;
		REQUIRE(setresgid(100, 200, 300) == 0 && setresuid(1000, 2000, 3000) == 0);
		struct ucred c = { getpid(), 1000, 100 };
		bad |= send_ctl(sv[0], 1, SCM_CREDENTIALS, &c, sizeof c) != 1;
		c = (struct ucred){ getpid(), 2000, 300 };
		bad |= send_ctl(sv[0], 1, SCM_CREDENTIALS, &c, sizeof c) != 1;
		c = (struct ucred){ getpid(), 3000, 200 };
		bad |= send_ctl(sv[0], 1, SCM_CREDENTIALS, &c, sizeof c) != 1;
		c = (struct ucred){ getpid(), 0, 100 };
		bad |= !(send_ctl(sv[0], 1, SCM_CREDENTIALS, &c, sizeof c) == -1 && errno == EPERM) * 2;
		c = (struct ucred){ getpid(), 1000, 0 };
		bad |= !(send_ctl(sv[0], 1, SCM_CREDENTIALS, &c, sizeof c) == -1 && errno == EPERM) * 4;
		c = (struct ucred){ getppid(), 1000, 100 };
		bad |= !(send_ctl(sv[0], 1, SCM_CREDENTIALS, &c, sizeof c) == -1 && errno == EPERM) * 8;
		_exit(bad);
	}
	int st = reap(pid);
	CHECK(WIFEXITED(st) && !(WEXITSTATUS(st) & 1), "[socket] real, effective and saved ids may be claimed");
	CHECK(WIFEXITED(st) && !(WEXITSTATUS(st) & 2), "[socket] another uid: EPERM");
	CHECK(WIFEXITED(st) && !(WEXITSTATUS(st) & 4), "[socket] another gid: EPERM");
	CHECK(WIFEXITED(st) && !(WEXITSTATUS(st) & 8), "[socket] another's pid: EPERM");
	CHECK(take(sv[1]) == 1 && got.cred.pid == pid && got.cred.uid == 1000 && got.cred.gid == 100, "[socket] the pid stays that of a process that is gone");
}

static long send_one(long fd) { return send(fd, "x", 1, 0); }

CASE(credentials_in_streams)
{
	pair(SOCK_STREAM);
	REQUIRE(set(sv[1], SO_PASSCRED, 1) == 0);
	struct agent *a = spawn(NULL);
	REQUIRE(send(sv[0], "ab", 2, 0) == 2 && send(sv[0], "c", 1, 0) == 1 && call(a, send_one, sv[0]) == 1 && send(sv[0], "d", 1, 0) == 1);
	CHECK(take(sv[1]) == 3 && got.ncred == 1 && got.cred.pid == getpid(), "[socket] unix(7): bytes of one sender are read together");
	CHECK(take(sv[1]) == 1 && got.cred.pid == a->pid, "[socket] those of another for themselves");
	CHECK(take(sv[1]) == 1 && got.cred.pid == getpid(), "[socket] and the first's again");
	retire(a, NULL);
}

CASE(peer_credentials)
{
	struct ucred c;
	socklen_t l = sizeof c;
	pair(SOCK_STREAM);
	CHECK(getsockopt(sv[0], SOL_SOCKET, SO_PEERCRED, &c, &l) == 0 && l == sizeof c && c.pid == getpid() && c.uid == geteuid() && c.gid == getegid(), "[socket] unix(7): SO_PEERCRED of a pair: who made it");
	int s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	CHECK(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &c, &l) == 0 && c.pid == 0 && c.uid == (uid_t)-1 && c.gid == (gid_t)-1, "[socket] without a peer: 0, -1, -1");
	CHECK_ERR(setsockopt(s, SOL_SOCKET, SO_PEERCRED, &c, sizeof c), ENOPROTOOPT, "[socket] it can't be set");
	struct sockaddr_un u = { .sun_family = AF_UNIX };
	int n = snprintf(u.sun_path + 1, 100, "foster-pc-%d", getpid());
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1 + n;
	MUST(bind(s, (void *)&u, len));
	MUST(listen(s, 5));
	pid_t pid = fork();
	if (pid == 0) {
		int k = socket(AF_UNIX, SOCK_STREAM, 0);
		if (connect(k, (void *)&u, len) || getsockopt(k, SOL_SOCKET, SO_PEERCRED, &c, &l))
			_exit(1);
		_exit(c.pid == getppid() ? 0 : 2);
	}
	CHECK_EQ(reap(pid), 0, "[socket] who connects sees who called listen(2)");
	int a = MUST(accept(s, NULL, NULL));
	CHECK(getsockopt(a, SOL_SOCKET, SO_PEERCRED, &c, &l) == 0 && c.pid == pid, "[socket] who accepts sees who connected, also when that is gone");
	l = 0;
	char g[4096 * 16];
	int ng = getgroups(0, NULL);
	l = sizeof g;
	CHECK(getsockopt(a, SOL_SOCKET, SO_PEERGROUPS, g, &l) == 0 && l == ng * sizeof(gid_t), "[socket] SO_PEERGROUPS: the supplementary groups");
	s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	l = sizeof g;
	CHECK_ERR(getsockopt(s, SOL_SOCKET, SO_PEERGROUPS, g, &l), ENODATA, "[socket] without a peer: ENODATA");
	if (geteuid() == 0) {
		gid_t three[3] = { 7, 3, 5 };
		REQUIRE(setgroups(3, three) == 0);
		pair(SOCK_STREAM);
		l = 4;
		CHECK_ERR(getsockopt(sv[0], SOL_SOCKET, SO_PEERGROUPS, g, &l), ERANGE, "[socket] too little room: ERANGE");
		CHECK_EQ(l, 12, "[socket] and how much is needed");
		CHECK(getsockopt(sv[0], SOL_SOCKET, SO_PEERGROUPS, g, &l) == 0 && ((gid_t *)g)[0] == 3 && ((gid_t *)g)[2] == 7, "[socket] with enough, sorted");
	} else {
		tap_skip("[socket] SO_PEERGROUPS with groups", "needs root");
	}
}

static long receive_pid(long fd)
{
	return take(fd) == 1 && got.ncred == 1 ? got.cred.pid : -1;
}

static long peer_pid(long fd)
{
	struct ucred c;
	socklen_t l = sizeof c;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &l) ? -1 : c.pid;
}

static long claim_pid(long pid)
{
	struct ucred c = { pid, 0, 0 };
	long r = send_ctl(sv[0], 1, SCM_CREDENTIALS, &c, sizeof c);
	return r < 0 ? -errno : r;
}

CASE(credentials_across_namespaces)
{
	NEED_ROOT("[9.14] credentials across pid namespaces");
	pair(SOCK_DGRAM);
	REQUIRE(set(sv[0], SO_PASSCRED, 1) == 0 && set(sv[1], SO_PASSCRED, 1) == 0);
	struct agent *in = spawn_flags(NULL, CLONE_NEWPID | SIGCHLD);
	REQUIRE(in->self == 1);
	struct agent *child = spawn(in);
	REQUIRE(call(in, send_one, sv[0]) == 1);
	CHECK(take(sv[1]) == 1 && got.cred.pid == in->pid, "[9.14,socket] a message from a pid namespace below bears the pid that the receiver knows");
	REQUIRE(call(child, send_one, sv[0]) == 1);
	CHECK_EQ(call(in, receive_pid, sv[1]), child->self, "[9.14,socket] within it, the inner one");
	REQUIRE(send(sv[0], "x", 1, 0) == 1);
	CHECK_EQ(call(in, receive_pid, sv[1]), 0, "[9.14,socket] from above: 0");
	CHECK_EQ(call(in, peer_pid, sv[0]), 0, "[9.14,socket] SO_PEERCRED from above: 0");
	CHECK_EQ(call(in, claim_pid, child->self), 1, "[9.14,socket] a claimed pid is looked up in the sender's namespace");
	CHECK(take(sv[1]) == 1 && got.cred.pid > child->self, "[9.14,socket] and shown in the receiver's");
	CHECK_EQ(call(in, claim_pid, getpid()), -ESRCH, "[9.14,socket] one of above is not found: ESRCH");
	quit(in, 0);
	reap(in->pid);
}

/* ---- pidfds ---- */

static int peer_pidfd(int fd)
{
	int v = -1;
	socklen_t l = sizeof v;
	return getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &v, &l) ? -errno : v;
}

/* The process that a pidfd refers to, by its /proc/self/fdinfo. */
static int pid_behind(int pidfd)
{
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
	char *at = read_file(path, text, sizeof text) > 0 ? strstr(text, "Pid:") : NULL;
	return at ? atoi(at + 4) : -2;
}

CASE(pidfds)
{
	IF_SINCE(6, 18, "[socket] pidfds of peers and senders") {
		pair(SOCK_STREAM);
		int p = peer_pidfd(sv[0]);
		CHECK(p >= 0 && pid_behind(p) == getpid() && fcntl(p, F_GETFD) == FD_CLOEXEC, "[socket] socket(7): SO_PEERPIDFD of a pair: who made it; close-on-exec");
		int s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
		CHECK_EQ(peer_pidfd(s), -ENODATA, "[socket] without a peer: ENODATA");
		CHECK_ERR(set(s, SO_PEERPIDFD, 1), ENOPROTOOPT, "[socket] it can't be set");
		struct sockaddr_un u = { .sun_family = AF_UNIX };
		int n = snprintf(u.sun_path + 1, 100, "foster-pf-%d", getpid());
		socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1 + n;
		MUST(bind(s, (void *)&u, len));
		MUST(listen(s, 5));
		pid_t pid = fork();
		if (pid == 0) {
			int k = socket(AF_UNIX, SOCK_STREAM, 0);
			if (connect(k, (void *)&u, len) == 0)
				set_word(&sh->w[0], 1);
			for (;;)
				pause();
		}
		wait_word(&sh->w[0], 1);
		int a = MUST(accept(s, NULL, NULL));
		p = peer_pidfd(a);
		CHECK(p >= 0 && pid_behind(p) == pid, "[socket] of an accepted connection: who connected");
		struct pollfd f = { p, POLLIN, 0 };
		CHECK_EQ(poll(&f, 1, 0), 0, "[socket] which lives");
		CHECK_OK(syscall(SYS_pidfd_send_signal, p, SIGKILL, NULL, 0), "[socket] it can be signalled");
		reap(pid);
		CHECK(poll(&f, 1, deadline_ms) == 1, "[socket] and its death is seen");
		p = peer_pidfd(a);
		CHECK(p >= 0 && pid_behind(p) == -1, "[socket] SO_PEERPIDFD when it is gone: a pidfd of what is gone");
		CHECK_EQ(set(sv[1], SO_PASSPIDFD, 1), 0, "[socket] SO_PASSPIDFD");
		int v = 0;
		socklen_t l = sizeof v;
		CHECK(getsockopt(sv[1], SOL_SOCKET, SO_PASSPIDFD, &v, &l) == 0 && v == 1, "[socket] reads back");
		REQUIRE(send(sv[0], "x", 1, 0) == 1);
		CHECK(take(sv[1]) == 1 && got.npidfd == 1 && got.ncred == 0 && pid_behind(got.pidfd) == getpid(), "[socket] SCM_PIDFD: a pidfd of the sender");
		CHECK_EQ(fcntl(got.pidfd, F_GETFD), FD_CLOEXEC, "[socket] close-on-exec");
		set(sv[1], SO_PASSCRED, 1);
		int file = some_file();
		REQUIRE(send_fd(sv[0], file) == 1);
		CHECK(take(sv[1]) == 1 && got.npidfd == 1 && got.ncred == 1 && got.n == 1, "[socket] with credentials and descriptors");
		REQUIRE(send(sv[0], "x", 1, 0) == 1);
		CHECK(receive(sv[1], 9, 0, CMSG_SPACE(sizeof(struct ucred)) + 8) == 1 && got.ncred == 1 && got.npidfd == 0 && (got.flags & MSG_CTRUNC), "[socket] no room: MSG_CTRUNC");
		pid = fork();
		if (pid == 0)
			_exit(send(sv[0], "y", 1, 0) == 1 ? 0 : 1);
		CHECK_EQ(reap(pid), 0, "[socket] a sender that is gone");
		CHECK(take(sv[1]) == 1 && got.npidfd == 1 && got.pidfd >= 0 && pid_behind(got.pidfd) == -1, "[socket] leaves a pidfd of what is gone");
	}
}
