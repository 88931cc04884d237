/* pipes.c - pipes, descriptors, fcntl, poll and select. */
#include "lib/tap.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/uio.h>

CASE(pipe_basic)
{
	int p[2];
	char b[16];
	CHECK_OK(pipe(p), "[pipe] pipe");
	CHECK(p[1] == p[0] + 1, "[pipe] two descriptors, the lowest free");
	CHECK_EQ(write(p[1], "hello", 5), 5, "[pipe] write");
	CHECK_EQ(read(p[0], b, 3), 3, "[pipe] a short read");
	CHECK_EQ(read(p[0], b + 3, 10), 2, "[pipe] the rest");
	CHECK(!memcmp(b, "hello", 5), "[pipe] the data, in order");
	CHECK_ERR(read(p[1], b, 1), EBADF, "[pipe] reading the write end: EBADF");
	CHECK_ERR(write(p[0], b, 1), EBADF, "[pipe] writing the read end: EBADF");
	CHECK_ERR(lseek(p[0], 0, SEEK_SET), ESPIPE, "[pipe] lseek: ESPIPE");
	CHECK_ERR(pread(p[0], b, 1, 0), ESPIPE, "[pipe] pread: ESPIPE");
	CHECK_EQ(read(p[0], b, 0), 0, "[pipe] a read of nothing does not block");
	struct stat st;
	CHECK(fstat(p[0], &st) == 0 && S_ISFIFO(st.st_mode), "[pipe] fstat says FIFO");
	int n = -1;
	REQUIRE(write(p[1], "abc", 3) == 3);
	CHECK(ioctl(p[0], FIONREAD, &n) == 0 && n == 3, "[pipe] FIONREAD");
	close(p[1]);
	CHECK_EQ(read(p[0], b, 10), 3, "[pipe] writer closed: what is left can be read");
	CHECK_EQ(read(p[0], b, 10), 0, "[pipe] then end of file");
	CHECK_ERR(pipe((int *)BADPTR), EFAULT, "[pipe] bad pointer: EFAULT");
	int q[2];
	MUST(pipe(q));
	CHECK(q[0] == p[1], "[pipe] a failed pipe() leaves no descriptor open");
	CHECK_ERR(syscall(SYS_pipe2, q, 0x1), EINVAL, "[pipe] pipe2 with an unknown flag: EINVAL");
	CHECK_OK(syscall(SYS_pipe2, q, O_CLOEXEC | O_NONBLOCK), "[pipe] pipe2");
	CHECK(fcntl(q[0], F_GETFD) == FD_CLOEXEC && (fcntl(q[1], F_GETFL) & O_NONBLOCK), "[pipe] sets its flags");
	CHECK_ERR(read(q[0], b, 1), EAGAIN, "[pipe] empty and non-blocking: EAGAIN");
}

CASE(pipe_broken)
{
	int p[2];
	MUST(pipe(p));
	close(p[0]);
	signal(SIGPIPE, SIG_IGN);
	CHECK_ERR(write(p[1], "x", 1), EPIPE, "[pipe] no reader, SIGPIPE ignored: EPIPE");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		_exit(write(p[1], "x", 1) == 1);
	}
	CHECK_EQ(reap(pid), SIGPIPE, "[pipe] by default the writer dies of SIGPIPE");
}

static int pp[2];

static long do_read(long n)
{
	static char b[65536];
	long r = read(pp[0], b, n);
	return r < 0 ? -errno : r;
}

static long do_write(long n)
{
	static char b[200000];
	long r = write(pp[1], b, n);
	return r < 0 ? -errno : r;
}

static long drop_end(long i) { return close(pp[i]); }

CASE(pipe_blocks)
{
	MUST(pipe(pp));
	struct agent *r = spawn(NULL), *w = spawn(NULL);
	post(r, do_read, 100);
	REQUIRE(await_blocked_in(r));
	REQUIRE(call(w, do_write, 3) == 3);
	CHECK_EQ(finish(r), 3, "[pipe] a blocked reader wakes with the data");
	fcntl(pp[1], F_SETFL, O_NONBLOCK);
	char b[4096] = "";
	long total = 0, k;
	while ((k = write(pp[1], b, sizeof b)) > 0)
		total += k;
	CHECK(errno == EAGAIN && total == 65536, "[pipe] 64 KiB fit, then EAGAIN");
	CHECK_ERR(write(pp[1], b, 1), EAGAIN, "[pipe] not a byte more");
	fcntl(pp[1], F_SETFL, 0);
	post(w, do_write, 10);
	REQUIRE(await_blocked_in(w));
	CHECK_EQ(call(r, do_read, 4096), 4096, "[pipe] a page is read");
	CHECK_EQ(finish(w), 10, "[pipe] a blocked writer goes on");
	call(r, do_read, 65536);
	post(w, do_write, 150000);
	long got = 0;
	while (got < 150000 && (k = read(pp[0], b, sizeof b)) > 0)
		got += k;
	CHECK_EQ(finish(w), 150000, "[pipe] a write larger than the pipe writes all");
	retire(r, NULL);
	retire(w, NULL);
}

CASE(pipe_eof_wakes)
{
	MUST(pipe(pp));
	struct agent *r = spawn(NULL), *w = spawn(NULL);
	close(pp[1]);
	call(r, drop_end, 1);
	post(r, do_read, 10);
	REQUIRE(await_blocked_in(r));
	quit(w, 0);
	CHECK_EQ(finish(r), 0, "[pipe] the exit of the last writer wakes a reader with end of file");
	reap(w->pid);
	retire(r, NULL);
	MUST(pipe(pp));
	r = spawn(NULL);
	w = spawn(NULL);
	close(pp[0]);
	call(w, drop_end, 0);
	call(w, ag_ignore, SIGPIPE);
	post(w, do_write, 200000);
	REQUIRE(await_blocked_in(w));
	kill(r->pid, SIGKILL);
	reap(r->pid);
	long got = finish(w);
	CHECK_EQ(got, 65536, "[pipe] the death of the last reader ends a blocked write with what was written");
	CHECK_EQ(call(w, do_write, 1), -EPIPE, "[pipe] the next one is EPIPE");
	retire(w, NULL);
}

CASE(pipe_atomic)
{
	/* writes up to PIPE_BUF do not mix */
	int p[2], n = iterations(300), mixed = 0, total = 0;
	MUST(pipe(p));
	for (int k = 0; k < 3; k++)
		if (fork() == 0) {
			char b[512];
			memset(b, 'a' + k, sizeof b);
			for (int i = 0; i < n; i++)
				if (write(p[1], b, sizeof b) != sizeof b)
					_exit(1);
			_exit(0);
		}
	close(p[1]);
	char b[512];
	while (total < 3 * n) {
		size_t got = 0;
		ssize_t r = 0;
		while (got < sizeof b && (r = read(p[0], b + got, sizeof b - got)) > 0)
			got += r;
		if (r <= 0)
			break;
		total++;
		for (int i = 1; i < 512; i++)
			mixed += b[i] != b[0];
	}
	CHECK(total == 3 * n && mixed == 0, "[pipe] writes of up to PIPE_BUF bytes are atomic");
	for (int k = 0; k < 3; k++)
		reap_any(NULL);
}

CASE(vectors)
{
	int p[2];
	char a[3], b[4];
	MUST(pipe(p));
	struct iovec w[2] = { { "abc", 3 }, { "defg", 4 } }, r[2] = { { a, 3 }, { b, 4 } };
	CHECK_EQ(writev(p[1], w, 2), 7, "[pipe] writev");
	CHECK(readv(p[0], r, 2) == 7 && !memcmp(a, "abc", 3) && !memcmp(b, "defg", 4), "[pipe] readv");
	CHECK_ERR(writev(p[1], w, -1), EINVAL, "[pipe] a negative count: EINVAL");
	CHECK_ERR(writev(p[1], w, 1025), EINVAL, "[pipe] more than 1024 vectors: EINVAL");
	CHECK_ERR(writev(p[1], BADPTR, 1), EFAULT, "[pipe] bad vector: EFAULT");
	CHECK_EQ(writev(p[1], w, 0), 0, "[pipe] no vector: 0");
	w[1].iov_len = ~0UL;
	CHECK_ERR(writev(p[1], w, 2), EINVAL, "[pipe] a negative length: EINVAL");
}

/* ---- descriptors ---- */

CASE(dup_family)
{
	int fd = MUST(open("/dev/null", O_RDWR)), d = dup(fd);
	CHECK(d == fd + 1, "[fd] dup takes the lowest free");
	CHECK_EQ(dup2(fd, 60), 60, "[fd] dup2");
	CHECK_EQ(dup2(fd, fd), fd, "[fd] dup2 to itself");
	CHECK_ERR(dup2(999, 999), EBADF, "[fd] dup2 of a closed one to itself: EBADF");
	CHECK_ERR(dup2(999, fd), EBADF, "[fd] dup2 of a closed one: EBADF");
	CHECK_OK(fcntl(fd, F_GETFD), "[fd] and the target stays open");
	CHECK_ERR(dup2(fd, -1), EBADF, "[fd] dup2 to -1: EBADF");
	CHECK_ERR(dup2(fd, 1 << 30), EBADF, "[fd] dup2 beyond the limit: EBADF");
	CHECK_ERR(syscall(SYS_dup3, fd, fd, 0), EINVAL, "[fd] dup3 to itself: EINVAL");
	CHECK_ERR(syscall(SYS_dup3, fd, 61, 1), EINVAL, "[fd] dup3 with an unknown flag: EINVAL");
	CHECK(syscall(SYS_dup3, fd, 61, O_CLOEXEC) == 61 && fcntl(61, F_GETFD) == FD_CLOEXEC, "[fd] dup3 with O_CLOEXEC");
	CHECK_EQ(fcntl(60, F_GETFD), 0, "[fd] a duplicate has no close-on-exec");
	CHECK_EQ(fcntl(fd, F_DUPFD, 100), 100, "[fd] F_DUPFD");
	CHECK_EQ(fcntl(fd, F_DUPFD, 100), 101, "[fd] takes the next free from there");
	CHECK(fcntl(fd, F_DUPFD_CLOEXEC, 110) == 110 && fcntl(110, F_GETFD) == FD_CLOEXEC, "[fd] F_DUPFD_CLOEXEC");
	CHECK_ERR(fcntl(fd, F_DUPFD, -1), EINVAL, "[fd] F_DUPFD negative: EINVAL");
	CHECK_ERR(fcntl(fd, F_DUPFD, 1 << 30), EINVAL, "[fd] F_DUPFD beyond the limit: EINVAL");
	CHECK_OK(close(fd), "[fd] close");
	CHECK_ERR(close(fd), EBADF, "[fd] again: EBADF");
	CHECK_ERR(close(-1), EBADF, "[fd] of -1: EBADF");
	CHECK_OK(fcntl(d, F_GETFD), "[fd] the duplicate stays open");
	CHECK_ERR(fcntl(999, F_GETFD), EBADF, "[fd] fcntl of a closed one: EBADF");
	CHECK_ERR(fcntl(d, 9999), EINVAL, "[fd] an unknown command: EINVAL");
	CHECK_OK(syscall(SYS_close_range, 60, 61, 0), "[fd] close_range");
	CHECK(fcntl(60, F_GETFD) < 0 && fcntl(61, F_GETFD) < 0 && fcntl(100, F_GETFD) >= 0, "[fd] closes what is in the range");
	CHECK_ERR(syscall(SYS_close_range, 5, 4, 0), EINVAL, "[fd] a reversed range: EINVAL");
}

CASE(flags)
{
	int fd = MUST(open(tmp_path("f"), O_RDWR | O_CREAT | O_APPEND, 0600)), d = MUST(dup(fd));
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK | O_CREAT), O_RDWR | O_APPEND, "[fd] F_GETFL");
	CHECK_OK(fcntl(d, F_SETFL, O_NONBLOCK), "[fd] F_SETFL");
	CHECK_EQ(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK), O_RDWR | O_NONBLOCK, "[fd] is shared by duplicates; the access mode stays");
	CHECK_OK(fcntl(fd, F_SETFD, FD_CLOEXEC), "[fd] F_SETFD");
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(d, F_GETFD) == 0, "[fd] is each descriptor's own");
	int one = 1;
	CHECK_OK(ioctl(d, FIOCLEX), "[fd] FIOCLEX");
	CHECK_EQ(fcntl(d, F_GETFD), FD_CLOEXEC, "[fd] is the same");
	CHECK_OK(ioctl(d, FIONBIO, &one), "[fd] FIONBIO");
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK, "[fd] is O_NONBLOCK");
}

CASE(out_of_fds)
{
	struct rlimit rl = { 40, 40 };
	setrlimit(RLIMIT_NOFILE, &rl);
	int n = 0, fd, last = -1, p[2] = { -7, -7 };
	while ((fd = open("/dev/null", O_RDONLY)) >= 0) {
		last = fd;
		n++;
	}
	CHECK(errno == EMFILE && last == 39, "[fd] out of descriptors: EMFILE, the highest is the limit less one");
	CHECK_ERR(dup(0), EMFILE, "[fd] dup: EMFILE");
	CHECK_ERR(pipe(p), EMFILE, "[fd] pipe: EMFILE");
	CHECK(p[0] == -7 && p[1] == -7, "[fd] and stores nothing");
	close(last);
	CHECK_ERR(pipe(p), EMFILE, "[fd] pipe with room for one: EMFILE");
	CHECK_EQ(open("/dev/null", O_RDONLY), last, "[fd] and that one is free again");
	CHECK_ERR(dup2(0, 40), EBADF, "[fd] dup2 to the limit: EBADF");
	CHECK_ERR(open("/nonexistent", O_RDONLY), EMFILE, "[fd] the descriptor is taken before the file is looked up");
	for (fd = 20; fd < 40; fd++)
		close(fd);
	CHECK_OK(pipe(p), "[fd] after closing some all is well");
	(void)n;
}

static long try_fcntl(long fd) { return fcntl(fd, F_GETFD); }

CASE(cloexec)
{
	int a = MUST(open("/dev/null", O_RDONLY | O_CLOEXEC)), b = MUST(open("/dev/null", O_RDONLY));
	struct agent *c = spawn(NULL);
	CHECK(call(c, try_fcntl, a) == FD_CLOEXEC && call(c, try_fcntl, b) == 0, "[fd] fork copies descriptors with their flag");
	char sa[16], sb[16];
	snprintf(sa, sizeof sa, "%d", a);
	snprintf(sb, sizeof sb, "%d", b);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		exec_self("open_fds", sa, sb, NULL);
		_exit(98);
	}
	CHECK_EQ(reap(pid), 0, "[10.11] exec closes the one and leaves the other");
	retire(c, NULL);
}

HELPER(open_fds)
{
	return fcntl(atoi(argv[1]), F_GETFD) < 0 && fcntl(atoi(argv[2]), F_GETFD) == 0 ? 0 : 1;
}

/* ---- poll, select ---- */

static long do_poll(long ms)
{
	struct pollfd f = { pp[0], POLLIN, 0 };
	long r = poll(&f, 1, ms);
	me->out[0] = f.revents;
	return r < 0 ? -errno : r;
}

CASE(poll_states)
{
	int p[2];
	MUST(pipe(p));
	struct pollfd f[3] = { { p[0], POLLIN, 0 }, { p[1], POLLOUT, 0 }, { -1, POLLIN, 77 } };
	CHECK_EQ(poll(f, 3, 0), 1, "[poll] an empty pipe: only the write end is ready");
	CHECK(f[0].revents == 0 && f[1].revents == POLLOUT && f[2].revents == 0, "[poll] POLLOUT; a negative descriptor is skipped");
	REQUIRE(write(p[1], "x", 1) == 1);
	CHECK(poll(f, 1, -1) == 1 && f[0].revents == POLLIN, "[poll] POLLIN with data");
	close(p[1]);
	CHECK(poll(f, 1, 0) == 1 && f[0].revents == (POLLIN | POLLHUP), "[poll] writer gone: POLLIN and POLLHUP");
	char c;
	REQUIRE(read(p[0], &c, 1) == 1);
	CHECK(poll(f, 1, -1) == 1 && f[0].revents == POLLHUP, "[poll] and empty: POLLHUP alone");
	CHECK(poll(&f[1], 1, 0) == 1 && f[1].revents == POLLNVAL, "[poll] a closed descriptor: POLLNVAL");
	MUST(pipe(p));
	close(p[0]);
	f[1].fd = p[1];
	CHECK(poll(&f[1], 1, 0) == 1 && f[1].revents == (POLLOUT | POLLERR), "[poll] reader gone: POLLOUT and POLLERR");
	long long t = now_ms();
	MUST(pipe(p));
	f[0].fd = p[0];
	CHECK_EQ(poll(f, 1, 30), 0, "[poll] the time is up: 0");
	CHECK(now_ms() - t >= 29, "[poll] and not before");
	CHECK_EQ(poll(NULL, 0, 1), 0, "[poll] nothing to poll is a sleep");
	CHECK_ERR(syscall(SYS_poll, BADPTR, 1L, 0L), EFAULT, "[poll] bad pointer: EFAULT");
	CHECK_ERR(syscall(SYS_poll, f, 1L << 31, 0L), EINVAL, "[poll] more descriptors than the limit: EINVAL");
	f[0].fd = MUST(open(self_path, O_RDONLY));
	f[0].events = POLLIN | POLLOUT;
	CHECK(poll(f, 1, 0) == 1 && f[0].revents == (POLLIN | POLLOUT), "[poll] a file is always ready");
}

CASE(poll_wakes)
{
	MUST(pipe(pp));
	struct agent *a = spawn(NULL);
	post(a, do_poll, -1);
	REQUIRE(await_blocked_in(a));
	REQUIRE(write(pp[1], "x", 1) == 1);
	CHECK(finish(a) == 1 && a->out[0] == POLLIN, "[poll] wakes on data");
	char c;
	REQUIRE(read(pp[0], &c, 1) == 1);
	call(a, drop_end, 1);
	post(a, do_poll, -1);
	REQUIRE(await_blocked_in(a));
	close(pp[1]);
	CHECK(finish(a) == 1 && a->out[0] == POLLHUP, "[poll] and on the close of the last writer");
	retire(a, NULL);
}

CASE(ppoll_and_select)
{
	int p[2];
	MUST(pipe(p));
	REQUIRE(write(p[1], "x", 1) == 1);
	fd_set r, w;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(p[0], &r);
	FD_SET(p[1], &r);
	FD_SET(p[1], &w);
	CHECK_EQ(select(p[1] + 1, &r, &w, NULL, &(struct timeval){ 0, 0 }), 2, "[poll] select counts bits");
	CHECK(FD_ISSET(p[0], &r) && !FD_ISSET(p[1], &r) && FD_ISSET(p[1], &w), "[poll] and leaves those that are ready");
	CHECK_ERR(select(-1, &r, NULL, NULL, NULL), EINVAL, "[poll] a negative count: EINVAL");
	CHECK_ERR(syscall(SYS_select, 5, BADPTR, NULL, NULL, NULL), EFAULT, "[poll] bad set: EFAULT");
	FD_ZERO(&r);
	FD_SET(30, &r);
	CHECK_ERR(select(31, &r, NULL, NULL, NULL), EBADF, "[poll] a closed descriptor: EBADF");
	CHECK_ERR(select(0, NULL, NULL, NULL, &(struct timeval){ -1, 0 }), EINVAL, "[poll] a negative time: EINVAL");
	/* ppoll: the mask is swapped atomically */
	siglog_catch(SIGUSR1, 0);
	ag_block(SIGUSR1);
	kill(getpid(), SIGUSR1);
	sigset_t none;
	sigemptyset(&none);
	struct pollfd f = { p[1], POLLIN, 0 };
	CHECK_ERR(ppoll(&f, 1, NULL, &none), EINTR, "[poll] ppoll lets a blocked signal in: EINTR");
	CHECK_EQ(siglog_count(0, SIGUSR1), 1, "[poll] whose handler has run");
	CHECK_EQ(ag_pending(SIGUSR1), 0, "[poll] (taken)");
	sigset_t cur;
	sigprocmask(SIG_BLOCK, NULL, &cur);
	CHECK(sigismember(&cur, SIGUSR1), "[poll] and the mask is back");
	FD_ZERO(&r);
	FD_SET(p[1], &r);
	kill(getpid(), SIGUSR1);
	CHECK_ERR(pselect(p[1] + 1, &r, NULL, NULL, NULL, &none), EINTR, "[poll] pselect does the same");
}

CASE(fifo)
{
	char name[256], b[8];
	snprintf(name, sizeof name, "%s", tmp_path("fifo"));
	CHECK_OK(mkfifo(name, 0600), "[pipe] mkfifo");
	CHECK_ERR(open(name, O_WRONLY | O_NONBLOCK), ENXIO, "[pipe] a writer without a reader, non-blocking: ENXIO");
	int r = open(name, O_RDONLY | O_NONBLOCK);
	CHECK(r >= 0, "[pipe] a reader, non-blocking");
	int w = open(name, O_WRONLY);
	CHECK(w >= 0 && write(w, "abc", 3) == 3 && read(r, b, 8) == 3, "[pipe] data goes through");
	close(r);
	close(w);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		int fd = open(name, O_WRONLY);	/* blocks until there is a reader */
		_exit(fd >= 0 && write(fd, "x", 1) == 1 ? 0 : 1);
	}
	REQUIRE(await_blocked(pid));
	r = open(name, O_RDONLY);
	CHECK(r >= 0 && read(r, b, 1) == 1, "[pipe] a blocked open is woken by the other side");
	CHECK_EQ(reap(pid), 0, "[pipe] which writes");
}
