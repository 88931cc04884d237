/* events.c - epoll, eventfd, signalfd, timerfd, and record locks beyond what exit and fork need. */
#include "lib/tap.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static int ep, pfd[2];

static int add(int epfd, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.u64 = 0xabcd000000000000ULL + fd };
	return epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &e);
}

static int mod(int epfd, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.u64 = 0xabcd000000000000ULL + fd };
	return epoll_ctl(epfd, EPOLL_CTL_MOD, fd, &e);
}

static int del(int epfd, int fd) { return epoll_ctl(epfd, EPOLL_CTL_DEL, fd, NULL); }

/* The events of the only ready file if that is `fd`, 0 if none is ready, -1 for anything else. */
static int one(int epfd, int fd)
{
	struct epoll_event e[4];
	int n = epoll_wait(epfd, e, 4, 0);
	if (n == 0)
		return 0;
	return n == 1 && e[0].data.u64 == 0xabcd000000000000ULL + fd ? (int)e[0].events : -1;
}

static void set_up(void)
{
	ep = MUST(epoll_create1(0));
	MUST(pipe(pfd));
}

static void put(const char *text) { REQUIRE(write(pfd[1], text, strlen(text)) == (ssize_t)strlen(text)); }
static void take(int n)
{
	char b[64];
	REQUIRE(read(pfd[0], b, n) == n);
}

/* ---- epoll ---- */

CASE(epoll_errors)
{
	CHECK_ERR(epoll_create(0), EINVAL, "[event] epoll_create(0): EINVAL");
	CHECK(epoll_create(1) >= 0, "[event] epoll_create(1)");
	CHECK_ERR(epoll_create1(1), EINVAL, "[event] epoll_create1 with an unknown flag: EINVAL");
	int fd = epoll_create1(EPOLL_CLOEXEC);
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC, "[event] EPOLL_CLOEXEC");
	set_up();
	struct epoll_event e[2];
	CHECK_ERR(epoll_ctl(ep, EPOLL_CTL_ADD, pfd[0], BADPTR), EFAULT, "[event] epoll_ctl, bad event: EFAULT");
	CHECK_ERR(add(ep, 999, EPOLLIN), EBADF, "[event] the file is not open: EBADF");
	CHECK_ERR(add(999, pfd[0], EPOLLIN), EBADF, "[event] the epoll is not open: EBADF");
	CHECK_ERR(add(ep, MUST(open("/", O_RDONLY)), EPOLLIN), EPERM, "[event] a directory: EPERM");
	CHECK_ERR(add(ep, MUST(open(self_path, O_RDONLY)), EPOLLIN), EPERM, "[event] a regular file: EPERM");
	CHECK_ERR(add(ep, ep, EPOLLIN), EINVAL, "[event] itself: EINVAL");
	CHECK_ERR(add(pfd[1], pfd[0], EPOLLIN), EINVAL, "[event] not an epoll: EINVAL");
	CHECK_OK(add(ep, pfd[0], EPOLLIN), "[event] EPOLL_CTL_ADD");
	CHECK_ERR(add(ep, pfd[0], EPOLLIN), EEXIST, "[event] twice: EEXIST");
	CHECK_ERR(mod(ep, pfd[1], EPOLLIN), ENOENT, "[event] EPOLL_CTL_MOD of another file: ENOENT");
	CHECK_ERR(del(ep, pfd[1]), ENOENT, "[event] EPOLL_CTL_DEL of another file: ENOENT");
	CHECK_ERR(epoll_ctl(ep, 99, pfd[0], e), EINVAL, "[event] unknown operation: EINVAL");
	CHECK_OK(del(ep, pfd[0]), "[event] EPOLL_CTL_DEL");
	CHECK_ERR(del(ep, pfd[0]), ENOENT, "[event] twice: ENOENT");
	CHECK_ERR(epoll_wait(ep, e, 0, 0), EINVAL, "[event] epoll_wait for 0 events: EINVAL");
	CHECK_ERR(epoll_wait(ep, e, -1, 0), EINVAL, "[event] for -1: EINVAL");
	CHECK_ERR(epoll_wait(ep, e, INT_MAX, 0), EINVAL, "[event] for too many: EINVAL");
	CHECK_ERR(epoll_wait(pfd[0], e, 1, 0), EINVAL, "[event] on a pipe: EINVAL");
	CHECK_ERR(epoll_wait(999, e, 1, 0), EBADF, "[event] on nothing: EBADF");
	REQUIRE(add(ep, pfd[1], EPOLLOUT) == 0);
	CHECK_ERR(epoll_wait(ep, BADPTR, 1, 0), EFAULT, "[event] into a bad buffer: EFAULT");
	CHECK_EQ(one(ep, pfd[1]), EPOLLOUT, "[event] and the event is still there");
	CHECK_ERR(syscall(SYS_epoll_pwait, ep, e, 1, 0, e, 4), EINVAL, "[event] epoll_pwait, mask size 4: EINVAL");
	struct timespec bad = { 0, 1000000000 };
	CHECK_ERR(syscall(SYS_epoll_pwait2, ep, e, 1, &bad, NULL, 8), EINVAL, "[event] epoll_pwait2, bad time: EINVAL");
	CHECK_EQ(lseek(ep, 5, SEEK_SET), 0, "[event] lseek goes nowhere");
	CHECK_ERR(read(ep, e, 8), EINVAL, "[event] read: EINVAL");
}

CASE(epoll_proc)
{
	set_up();
	char path[64], text[512], want[64];
	REQUIRE(add(ep, pfd[0], EPOLLIN) == 0);
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", ep);
	snprintf(want, sizeof want, "tfd: %8d events: %8x data: %16llx", pfd[0], EPOLLIN | EPOLLERR | EPOLLHUP,
		 0xabcd000000000000ULL + pfd[0]);
	CHECK(read_file(path, text, sizeof text) > 0 && strstr(text, want), "[proc,event] fdinfo tells what an epoll watches");
	CHECK(read_file("/proc/sys/fs/epoll/max_user_watches", text, sizeof text) > 0 && atol(text) > 1000, "[proc,event] and /proc/sys how much it may");
}

CASE(epoll_level)
{
	set_up();
	REQUIRE(add(ep, pfd[0], EPOLLIN) == 0);
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] an empty pipe is not ready");
	put("ab");
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN, "[event] with data it is");
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN, "[event] level-triggered: as long as there is some");
	take(1);
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN, "[event] also after a part was read");
	take(1);
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] no more when all is read");
	put("c");
	CHECK_OK(mod(ep, pfd[0], EPOLLOUT), "[event] EPOLL_CTL_MOD");
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] waits for other events");
	CHECK_OK(mod(ep, pfd[0], EPOLLIN), "[event] and back");
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN, "[event] finds at once what is there");
	REQUIRE(del(ep, pfd[0]) == 0);
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] not after EPOLL_CTL_DEL");
	REQUIRE(add(ep, pfd[0], 0) == 0);
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] nothing wanted: data is not reported");
	close(pfd[1]);
	CHECK_EQ(one(ep, pfd[0]), EPOLLHUP, "[event] but a hang-up is");
}

CASE(epoll_edge)
{
	set_up();
	put("a");
	REQUIRE(add(ep, pfd[0], EPOLLIN | EPOLLET) == 0);
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN, "[event] edge-triggered: what is there is reported");
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] once");
	put("b");
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN, "[event] more data is a new edge");
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] once");
	take(1);
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] a read is none");
	REQUIRE(mod(ep, pfd[0], EPOLLIN | EPOLLET) == 0);
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN, "[event] EPOLL_CTL_MOD looks anew");
	take(1);
	put("c");
	take(1);
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] an edge whose data is gone again is not reported");
	int ev = MUST(eventfd(5, EFD_SEMAPHORE));
	REQUIRE(add(ep, ev, EPOLLIN | EPOLLET) == 0);
	CHECK_EQ(one(ep, ev), EPOLLIN, "[event] an eventfd likewise");
	uint64_t v;
	REQUIRE(read(ev, &v, 8) == 8);
	CHECK_EQ(one(ep, ev), 0, "[event] a read that leaves something makes no edge of its own");
}

CASE(epoll_oneshot)
{
	set_up();
	REQUIRE(add(ep, pfd[0], EPOLLIN | EPOLLONESHOT) == 0);
	put("a");
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN, "[event] one-shot: reported");
	put("b");
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] once");
	close(pfd[1]);
	CHECK_EQ(one(ep, pfd[0]), 0, "[event] not even a hang-up");
	REQUIRE(mod(ep, pfd[0], EPOLLIN | EPOLLONESHOT) == 0);
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN | EPOLLHUP, "[event] until it is armed again");
}

CASE(epoll_exclusive)
{
	set_up();
	int ep2 = MUST(epoll_create1(0));
	CHECK_ERR(add(ep, pfd[0], EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT), EINVAL, "[event] EPOLLEXCLUSIVE with EPOLLONESHOT: EINVAL");
	CHECK_ERR(add(ep, ep2, EPOLLIN | EPOLLEXCLUSIVE), EINVAL, "[event] EPOLLEXCLUSIVE of an epoll: EINVAL");
	CHECK_OK(add(ep, pfd[0], EPOLLIN | EPOLLEXCLUSIVE), "[event] EPOLLEXCLUSIVE");
	CHECK_OK(add(ep2, pfd[0], EPOLLIN | EPOLLEXCLUSIVE), "[event] twice");
	CHECK_ERR(mod(ep, pfd[0], EPOLLIN), EINVAL, "[event] can't be modified: EINVAL");
	REQUIRE(del(ep2, pfd[0]) == 0 && add(ep2, pfd[0], EPOLLIN) == 0);
	CHECK_ERR(mod(ep2, pfd[0], EPOLLIN | EPOLLEXCLUSIVE), EINVAL, "[event] nor set by EPOLL_CTL_MOD: EINVAL");
	put("a");
	CHECK_EQ(one(ep, pfd[0]), EPOLLIN, "[event] it is reported");
}

CASE(epoll_close)
{
	set_up();
	put("a");
	REQUIRE(add(ep, pfd[0], EPOLLIN) == 0);
	int other = MUST(dup(pfd[0]));
	CHECK_OK(add(ep, other, EPOLLIN), "[event] the same file by another descriptor");
	struct epoll_event e[4];
	CHECK_EQ(epoll_wait(ep, e, 4, 0), 2, "[event] is reported twice");
	CHECK_EQ(epoll_wait(ep, e, 1, 0), 1, "[event] or once to a caller with room for one");
	uint64_t first = e[0].data.u64;
	CHECK(epoll_wait(ep, e, 1, 0) == 1 && e[0].data.u64 != first, "[event] who then gets the other");
	close(other);
	CHECK_EQ(epoll_wait(ep, e, 4, 0), 2, "[event] closing one descriptor of two changes nothing");
	close(pfd[0]);
	CHECK_EQ(epoll_wait(ep, e, 4, 0), 0, "[event] closing the last one removes the file");
	int p2[2];
	MUST(pipe(p2));
	REQUIRE(p2[0] == pfd[0] || dup2(p2[0], pfd[0]) == pfd[0]);
	CHECK_ERR(mod(ep, pfd[0], EPOLLIN), ENOENT, "[event] a new file under the old number is another one");
	CHECK_OK(add(ep, pfd[0], EPOLLIN), "[event] that can be added");
	for (int i = 0; i < 100; i++) {
		int fd = MUST(eventfd(1, 0));
		REQUIRE(add(ep, fd, EPOLLIN) == 0);
		close(fd);
	}
	CHECK_EQ(epoll_wait(ep, e, 4, 0), 0, "[event] a hundred closed ready files leave nothing");
	int fd = MUST(eventfd(1, 0));
	REQUIRE(add(ep, fd, EPOLLIN) == 0);
	close(ep);
	uint64_t v = 1;
	CHECK_EQ(write(fd, &v, 8), 8, "[event] a file outlives the epoll that watched it");
}

CASE(epoll_nested)
{
	set_up();
	int outer = MUST(epoll_create1(0));
	REQUIRE(add(ep, pfd[0], EPOLLIN) == 0);
	CHECK_OK(add(outer, ep, EPOLLIN), "[event] an epoll in an epoll");
	CHECK_ERR(add(ep, outer, EPOLLIN), ELOOP, "[event] and the other way round: ELOOP");
	CHECK_EQ(one(outer, ep), 0, "[event] not ready");
	put("a");
	CHECK_EQ(one(outer, ep), EPOLLIN, "[event] ready when its file is");
	struct pollfd p = { outer, POLLIN, 0 };
	CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN, "[event] poll of the outer one");
	take(1);
	CHECK_EQ(poll(&p, 1, 0), 0, "[event] sees through both that it is not ready any more");
	CHECK_EQ(one(outer, ep), 0, "[event] as does epoll_wait");
	int chain[9], n;
	chain[0] = MUST(epoll_create1(0));
	for (n = 1; n < 9; n++) {
		chain[n] = MUST(epoll_create1(0));
		if (add(chain[n], chain[n - 1], EPOLLIN) < 0)
			break;
	}
	CHECK(n >= 4 && n < 9 && (errno == ELOOP || errno == EINVAL), "[event] a chain of at least four, and not of nine: ELOOP");
	int e2 = MUST(epoll_create1(0)), e3 = MUST(epoll_create1(0)), e1 = MUST(epoll_create1(0));
	REQUIRE(add(e1, e2, EPOLLIN) == 0 && add(e2, e3, EPOLLIN) == 0);
	CHECK_ERR(add(e3, e1, EPOLLIN), ELOOP, "[event] a cycle of three: ELOOP");
	close(e2);
	CHECK_OK(add(e3, e1, EPOLLIN), "[event] none once the middle is closed");
}

static long wait_forever(long x)
{
	struct epoll_event e;
	long r = epoll_wait(ep, &e, 1, -1);
	(void)x;
	return r < 0 ? -errno : r;
}

static long wait_edge_then(long ms)
{
	struct epoll_event e;
	long r = epoll_wait(ep, &e, 1, ms);
	return r < 0 ? -errno : r;
}

CASE(epoll_blocks)
{
	set_up();
	struct epoll_event e;
	long long t = now_ms();
	CHECK_EQ(epoll_wait(ep, &e, 1, 30), 0, "[event] a time-out");
	CHECK(now_ms() - t >= 29, "[event] takes its time");
	struct timespec ts = { 0, 30000000 };
	t = now_ms();
	CHECK_EQ(syscall(SYS_epoll_pwait2, ep, &e, 1, &ts, NULL, 8), 0, "[event] so does that of epoll_pwait2");
	CHECK(now_ms() - t >= 29, "[event] in nanoseconds");
	REQUIRE(add(ep, pfd[0], EPOLLIN) == 0);
	struct agent *a = spawn(NULL);
	post(a, wait_forever, 0);
	REQUIRE(await_blocked_in(a));
	put("x");
	CHECK_EQ(finish(a), 1, "[event] a sleeping waiter wakes when a file becomes ready");
	take(1);
	post(a, wait_forever, 0);
	REQUIRE(await_blocked_in(a));
	int ev = MUST(eventfd(1, 0));
	REQUIRE(add(ep, ev, EPOLLIN) == 0);
	CHECK_EQ(finish(a), 1, "[event] or when a ready file is added");
	REQUIRE(del(ep, ev) == 0);
	call(a, ag_catch, SIGUSR1);
	post(a, wait_forever, 0);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[7.36] a handler with SA_RESTART: EINTR all the same");
	/* one edge, two sleepers: one of them gets it */
	struct agent *b = spawn(NULL);
	REQUIRE(add(ep, ev, EPOLLIN | EPOLLET) == 0 && one(ep, ev) == EPOLLIN);
	post(a, wait_edge_then, 400);
	post(b, wait_edge_then, 400);
	REQUIRE(await_blocked_in(a) && await_blocked_in(b));
	uint64_t v = 1;
	REQUIRE(write(ev, &v, 8) == 8);
	long ra = finish(a), rb = finish(b);
	CHECK_EQ(ra + rb, 1, "[event] one edge wakes one of two waiters");
	retire(a, NULL);
	retire(b, NULL);
}

static long pwait_open(long x)
{
	struct epoll_event e;
	sigset_t none;
	sigemptyset(&none);
	(void)x;
	long r = epoll_pwait(ep, &e, 1, -1, &none);
	return r < 0 ? -errno : r;
}

static long is_blocked(long sig)
{
	sigset_t s;
	sigprocmask(SIG_BLOCK, NULL, &s);
	return sigismember(&s, sig);
}

CASE(epoll_pwait_mask)
{
	set_up();
	struct agent *a = spawn(NULL);
	call(a, ag_catch, SIGUSR1);
	call(a, ag_block, SIGUSR1);
	post(a, pwait_open, 0);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[event] a signal that only epoll_pwait's mask lets through: EINTR");
	CHECK_EQ(siglog_count(a->pid, SIGUSR1), 1, "[event] its handler has run");
	CHECK_EQ(call(a, is_blocked, SIGUSR1), 1, "[event] and the mask is back");
	kill(a->pid, SIGUSR1);
	REQUIRE(add(ep, pfd[1], EPOLLOUT) == 0);
	CHECK_EQ(call(a, pwait_open, 0), 1, "[event] what is ready wins over a pending signal");
	CHECK_EQ(call(a, is_blocked, SIGUSR1), 1, "[event] and the mask is back");
	retire(a, NULL);
}

/* One thread opens, watches, unwatches and closes; one makes ready what it finds; the case waits. */
static int race_fd[16];

static long race_churn(long n)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	for (long i = 0; i < n; i++) {
		int fd = eventfd(0, EFD_NONBLOCK), at = i % 16;
		if (fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
			return -errno;
		int old = __atomic_exchange_n(&race_fd[at], fd, __ATOMIC_SEQ_CST);
		if (old > 0 && i % 3 == 0 && del(ep, old) < 0)
			return -errno;
		if (old > 0)
			close(old);
	}
	return 0;
}

static long race_wake(long x)
{
	uint64_t one = 1;
	long n = 0;
	(void)x;
	while (!sh->v[0])
		for (int i = 0; i < 16; i++)
			n += write(race_fd[i], &one, 8) == 8;	/* may be closed already: EBADF */
	return n;
}

CASE(epoll_races)
{
	ep = MUST(epoll_create1(0));
	for (int i = 0; i < 16; i++)
		race_fd[i] = -1;
	struct agent *a = spawn(NULL), *churn = spawn_thread(a), *wake = spawn_thread(a);
	post(wake, race_wake, 0);
	post(churn, race_churn, iterations(300) * 10);
	long got = 0;
	struct epoll_event e[4];
	while (!answered(churn))
		got += epoll_wait(ep, e, 4, 1) > 0;
	CHECK_EQ(finish(churn), 0, "[event] files come and go while they become ready");
	sh->v[0] = 1;
	CHECK(finish(wake) > 0, "[event] (some became ready)");
	CHECK(got > 0, "[event] and a waiter is told of some");
	retire(a, NULL);
	while (epoll_wait(ep, e, 4, 0) > 0)
		;
	CHECK_EQ(epoll_wait(ep, e, 4, 0), 0, "[event] in the end nothing is ready");
}

/* ---- eventfd ---- */

static long read_u64(long fd)
{
	uint64_t v = 0;
	long r = read(fd, &v, 8);
	me->out[0] = v;
	return r < 0 ? -errno : r;
}

static long write_u64(long fd)
{
	uint64_t v = 1;
	long r = write(fd, &v, 8);
	return r < 0 ? -errno : r;
}

static int ready(int fd)
{
	struct pollfd p = { fd, POLLIN | POLLOUT, 0 };
	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

CASE(eventfd_counter)
{
	uint64_t v;
	CHECK_ERR(eventfd(0, 2), EINVAL, "[event] eventfd2 with an unknown flag: EINVAL");
	int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) == (O_RDWR | O_NONBLOCK), "[event] flags of an eventfd");
	CHECK_EQ(ready(fd), POLLIN | POLLOUT, "[event] with a count: readable and writable");
	CHECK(read(fd, &v, 8) == 8 && v == 3, "[event] a read takes the whole count");
	CHECK_EQ(ready(fd), POLLOUT, "[event] then only writable");
	CHECK_ERR(read(fd, &v, 8), EAGAIN, "[event] a read of 0: EAGAIN");
	CHECK_ERR(read(fd, &v, 7), EINVAL, "[event] of less than 8 bytes: EINVAL");
	CHECK_ERR(write(fd, &v, 7), EINVAL, "[event] a write of less than 8 bytes: EINVAL");
	uint64_t two[2] = { 1, 1 };
	CHECK_ERR(write(fd, two, 9), EINVAL, "[event] nor of more");
	v = UINT64_MAX;
	CHECK_ERR(write(fd, &v, 8), EINVAL, "[event] of 2^64-1: EINVAL");
	v = UINT64_MAX - 1;
	CHECK_EQ(write(fd, &v, 8), 8, "[event] of 2^64-2");
	CHECK_EQ(ready(fd), POLLIN, "[event] fills it: not writable");
	v = 1;
	CHECK_ERR(write(fd, &v, 8), EAGAIN, "[event] one more: EAGAIN");
	v = 0;
	CHECK_EQ(write(fd, &v, 8), 8, "[event] but 0 fits");
	CHECK(read(fd, &v, 8) == 8 && v == UINT64_MAX - 1, "[event] all of it comes back");
	int sem = MUST(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
	CHECK(read(sem, &v, 8) == 8 && v == 1 && read(sem, &v, 8) == 8 && v == 1, "[event] EFD_SEMAPHORE gives one at a time");
	CHECK_ERR(read(sem, &v, 8), EAGAIN, "[event] as often as it was added to");
	struct stat st;
	CHECK(fstat(fd, &st) == 0 && st.st_size == 0, "[event] fstat");
	char path[64], name[64] = "";
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	CHECK(readlink(path, name, sizeof name - 1) > 0 && !strcmp(name, "anon_inode:[eventfd]"), "[proc,event] its name in /proc/self/fd");
}

CASE(eventfd_blocks)
{
	int fd = MUST(eventfd(0, 0));
	struct agent *a = spawn(NULL);
	post(a, read_u64, fd);
	REQUIRE(await_blocked_in(a));
	uint64_t v = 7;
	REQUIRE(write(fd, &v, 8) == 8);
	CHECK(finish(a) == 8 && a->out[0] == 7, "[event] a sleeping reader gets what is written");
	v = UINT64_MAX - 1;
	REQUIRE(write(fd, &v, 8) == 8);
	post(a, write_u64, fd);
	REQUIRE(await_blocked_in(a));
	REQUIRE(read(fd, &v, 8) == 8);
	CHECK_EQ(finish(a), 8, "[event] a sleeping writer goes on when there is room");
	REQUIRE(read(fd, &v, 8) == 8);
	call(a, ag_catch, SIGUSR1);
	post(a, read_u64, fd);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR1) == 1) && await_blocked_in(a));
	CHECK(!answered(a), "[7.37] a read of an eventfd is restarted with SA_RESTART");
	v = 1;
	REQUIRE(write(fd, &v, 8) == 8);
	CHECK_EQ(finish(a), 8, "[7.37] and then gets its count");
	retire(a, NULL);
}

/* ---- signalfd ---- */

static long read_signal(long fd)
{
	struct signalfd_siginfo si;
	long r = read(fd, &si, sizeof si);
	me->out[0] = si.ssi_signo;
	me->out[1] = si.ssi_pid;
	me->out[2] = si.ssi_int;
	return r < 0 ? -errno : r;
}

static long poll_forever(long fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	long r = poll(&p, 1, -1);
	return r < 0 ? -errno : p.revents;
}

CASE(signalfd_blocks)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	sigaddset(&set, SIGCHLD);
	struct agent *a = spawn(NULL);
	int fd = MUST(signalfd(-1, &set, 0));
	quit(a, 0);
	reap(a->pid);
	a = spawn(NULL);
	call(a, ag_block, SIGUSR1);
	call(a, ag_block, SIGRTMIN);
	call(a, ag_block, SIGCHLD);
	post(a, read_signal, fd);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK(finish(a) == 128 && a->out[0] == SIGUSR1 && a->out[1] == getpid(), "[7.33] a blocked signal wakes a reader");
	post(a, poll_forever, fd);
	REQUIRE(await_blocked_in(a));
	sigqueue(a->pid, SIGRTMIN, (union sigval){ .sival_int = 42 });
	CHECK_EQ(finish(a), POLLIN, "[7.33] or a poller");
	CHECK(call(a, read_signal, fd) == 128 && a->out[0] == SIGRTMIN && a->out[2] == 42, "[7.33] the value of sigqueue comes along");
	post(a, read_signal, fd);
	REQUIRE(await_blocked_in(a));
	sys_tgkill(a->pid, a->pid, SIGUSR1);
	CHECK(finish(a) == 128 && a->out[0] == SIGUSR1, "[7.33] a signal to the thread alone");
	call(a, ag_catch, SIGUSR2);
	post(a, read_signal, fd);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR2);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR2) == 1) && await_blocked_in(a));
	CHECK(!answered(a), "[7.37] the read is restarted with SA_RESTART");
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), 128, "[7.37] and then gets its signal");
	struct agent *t = spawn_thread(a);
	post(t, read_signal, fd);
	REQUIRE(await_blocked_in(t));
	kill(a->pid, SIGUSR1);
	CHECK(finish(t) == 128 && t->out[0] == SIGUSR1, "[7.33] any thread of the process reads its signals");
	retire(a, NULL);
}

static long wait_epoll_self(long fd)
{
	struct epoll_event e;
	ep = epoll_create1(0);
	if (ep < 0 || add(ep, fd, EPOLLIN) < 0)
		return -errno;
	long r = epoll_wait(ep, &e, 1, -1);
	return r < 0 ? -errno : r;
}

CASE(signalfd_sigchld)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	struct signalfd_siginfo si[3];
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = MUST(signalfd(-1, &set, SFD_NONBLOCK));
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(7);
	struct pollfd p = { fd, POLLIN, 0 };
	CHECK_EQ(poll(&p, 1, deadline_ms), 1, "[5.1,7.33] a child's death wakes a poller");
	CHECK(read(fd, si, sizeof si) == 128 && si[0].ssi_signo == SIGCHLD && si[0].ssi_pid == (unsigned)pid && si[0].ssi_status == 7
	      && si[0].ssi_code == CLD_EXITED && si[0].ssi_uid == getuid(), "[5.1,7.33] with its pid, status and uid");
	reap(pid);
	struct agent *a = spawn(NULL);
	call(a, ag_block, SIGCHLD);
	post(a, wait_epoll_self, fd);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGCHLD);
	CHECK_EQ(finish(a), 1, "[7.33] epoll on a signalfd");
	retire(a, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	MUST(signalfd(fd, &set, 0));
	for (int i = 1; i <= 4; i++)
		sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i });
	CHECK(read(fd, si, sizeof si) == 3 * 128 && si[0].ssi_int == 1 && si[1].ssi_int == 2 && si[2].ssi_int == 3,
	      "[7.33] a read takes as many as fit, in order");
	CHECK(read(fd, si, sizeof si - 1) == 128 && si[0].ssi_int == 4, "[7.33] and no parts");
}

/* ---- timerfd ---- */

static long settime(int fd, int flags, long ms, long interval_ms)
{
	struct itimerspec it = { { interval_ms / 1000, interval_ms % 1000 * 1000000 }, { ms / 1000, ms % 1000 * 1000000 } };
	return timerfd_settime(fd, flags, &it, NULL);
}

CASE(timerfd_errors)
{
	struct itimerspec it = { { 0, 0 }, { 0, 1000000000 } };
	CHECK_ERR(timerfd_create(99, 0), EINVAL, "[event] timerfd_create of no clock: EINVAL");
	CHECK_ERR(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0), EINVAL, "[event] of a CPU clock: EINVAL");
	CHECK_ERR(timerfd_create(CLOCK_MONOTONIC, 1), EINVAL, "[event] with an unknown flag: EINVAL");
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && fcntl(fd, F_GETFL) == (O_RDWR | O_NONBLOCK), "[event] flags of a timerfd");
	CHECK_ERR(timerfd_settime(fd, 0, &it, NULL), EINVAL, "[event] nanoseconds of 10^9: EINVAL");
	it.it_value.tv_nsec = 1;
	CHECK_ERR(timerfd_settime(fd, 4, &it, NULL), EINVAL, "[event] unknown flag: EINVAL");
	CHECK_ERR(timerfd_settime(999, 0, &it, NULL), EBADF, "[event] not open: EBADF");
	CHECK_ERR(timerfd_settime(1, 0, &it, NULL), EINVAL, "[event] another kind of file: EINVAL");
	CHECK_ERR(timerfd_settime(fd, 0, BADPTR, NULL), EFAULT, "[event] bad pointer: EFAULT");
	CHECK_ERR(timerfd_gettime(fd, BADPTR), EFAULT, "[event] timerfd_gettime, bad pointer: EFAULT");
	uint64_t v;
	CHECK_ERR(read(fd, &v, 8), EAGAIN, "[event] not set: EAGAIN");
	CHECK_ERR(read(fd, &v, 7), EINVAL, "[event] less than 8 bytes: EINVAL");
	CHECK_ERR(write(fd, &v, 8), EINVAL, "[event] write: EINVAL");
	CHECK_EQ(ready(fd), 0, "[event] not readable");
	it.it_value.tv_nsec = 7;
	CHECK(timerfd_gettime(fd, &it) == 0 && it.it_value.tv_sec == 0 && it.it_value.tv_nsec == 0, "[event] timerfd_gettime of one that is off");
}

/* Reads until nothing is left; the sum of what came. */
static uint64_t expiries(int fd)
{
	uint64_t v, sum = 0;
	while (read(fd, &v, 8) == 8)
		sum += v;
	return sum;
}

CASE(timerfd_expires)
{
	static const int clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME };
	static const char *const names[] = { "[event] CLOCK_REALTIME: a read waits for the expiry", "[event] CLOCK_MONOTONIC", "[event] CLOCK_BOOTTIME" };
	uint64_t v = 0;
	for (int i = 0; i < 3; i++) {
		int fd = MUST(timerfd_create(clocks[i], 0));
		long long t = now_ms();
		REQUIRE(settime(fd, 0, 20, 0) == 0);
		CHECK(read(fd, &v, 8) == 8 && v == 1 && now_ms() - t >= 19, names[i]);
		struct timespec now;
		clock_gettime(clocks[i], &now);
		t = now_ms();
		REQUIRE(settime(fd, TFD_TIMER_ABSTIME, now.tv_sec * 1000 + now.tv_nsec / 1000000 + 30, 0) == 0);
		CHECK(read(fd, &v, 8) == 8 && v == 1 && now_ms() - t >= 28, "[event] an absolute time of it");
		REQUIRE(settime(fd, TFD_TIMER_ABSTIME, 1000, 0) == 0);
		CHECK(read(fd, &v, 8) == 8 && v == 1, "[event] one in the past expires at once");
		close(fd);
	}
	int fd = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	long long start = now_ms();
	REQUIRE(settime(fd, 0, 1, 10) == 0);
	CHECK(AWAIT(ready(fd) == POLLIN), "[event] poll sees the expiry");
	usleep(45000);
	CHECK(read(fd, &v, 8) == 8 && v >= 4, "[event] a read counts all expiries of an interval");
	/* a busy machine may let an interval pass between two reads: what counts is that none is told twice */
	v += expiries(fd);
	CHECK(errno == EAGAIN && v <= (uint64_t)(now_ms() - start) / 10 + 1, "[event] once");
	CHECK(AWAIT(read(fd, &v, 8) == 8), "[event] and it goes on");
	struct itimerspec it, old;
	CHECK(timerfd_gettime(fd, &it) == 0 && it.it_interval.tv_nsec == 10000000 && it.it_interval.tv_sec == 0
	      && it.it_value.tv_sec == 0 && it.it_value.tv_nsec > 0 && it.it_value.tv_nsec <= 10000000, "[event] timerfd_gettime: what is left");
	memset(&it, 0, sizeof it);
	CHECK(timerfd_settime(fd, 0, &it, &old) == 0 && old.it_interval.tv_nsec == 10000000, "[event] switched off, the old setting comes back");
	usleep(20000);
	CHECK_ERR(read(fd, &v, 8), EAGAIN, "[event] it is off");
	REQUIRE(settime(fd, 0, 1, 0) == 0);
	REQUIRE(AWAIT(ready(fd) == POLLIN));
	REQUIRE(settime(fd, 0, 100000, 0) == 0);
	CHECK_EQ(ready(fd), 0, "[event] setting it again forgets expiries");
	it.it_interval.tv_nsec = it.it_value.tv_nsec = 1;
	REQUIRE(timerfd_settime(fd, 0, &it, NULL) == 0);
	usleep(1000);
	CHECK(read(fd, &v, 8) == 8 && v > 1000, "[event] an interval of a nanosecond counts and does not storm");
}

CASE(timerfd_epoll)
{
	ep = MUST(epoll_create1(0));
	int fd = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
	REQUIRE(add(ep, fd, EPOLLIN | EPOLLET) == 0);
	struct agent *a = spawn(NULL);
	post(a, wait_forever, 0);
	REQUIRE(await_blocked_in(a));
	REQUIRE(settime(fd, 0, 5, 0) == 0);
	CHECK_EQ(finish(a), 1, "[event] an expiry wakes epoll_wait");
	CHECK_EQ(one(ep, fd), 0, "[event] edge-triggered: once");
	REQUIRE(settime(fd, 0, 1, 0) == 0);
	CHECK(AWAIT(one(ep, fd) == EPOLLIN), "[event] the next expiry is a new edge");
	call(a, ag_catch, SIGUSR1);
	REQUIRE(settime(fd, 0, 0, 0) == 0);
	post(a, read_u64, fd);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR1) == 1) && await_blocked_in(a));
	CHECK(!answered(a), "[7.37] a read of a timerfd is restarted with SA_RESTART");
	REQUIRE(settime(fd, 0, 1, 0) == 0);
	CHECK_EQ(finish(a), 8, "[7.37] and then gets its count");
	retire(a, NULL);
}

/* ---- record locks ---- */

static int lock_fd;
static long set_lock(int cmd, int type, long start, long len)
{
	struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	return fcntl(lock_fd, cmd, &fl);
}

/* In another process: the type of the lock in the way of a write lock of [start, start + len), and the lock. */
static long who_locks(long start)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = 1 };
	if (fcntl(lock_fd, F_GETLK, &fl) < 0)
		return -errno;
	me->out[0] = fl.l_start;
	me->out[1] = fl.l_len;
	me->out[2] = fl.l_pid;
	return fl.l_type;
}

/* The same for the whole file. */
static long first_lock(long x)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	(void)x;
	if (fcntl(lock_fd, F_GETLK, &fl) < 0)
		return -errno;
	me->out[0] = fl.l_start;
	me->out[1] = fl.l_len;
	return fl.l_type;
}

static long read_lock(long start) { return set_lock(F_SETLK, F_RDLCK, start, 1) < 0 ? -errno : 0; }
static long write_lock(long start) { return set_lock(F_SETLK, F_WRLCK, start, 1) < 0 ? -errno : 0; }
static long write_lock_wait(long start) { return set_lock(F_SETLKW, F_WRLCK, start, 1) < 0 ? -errno : 0; }

CASE(record_locks_that_touch)
{
	lock_fd = MUST(open(tmp_path("l"), O_RDWR | O_CREAT, 0600));
	struct agent *a = spawn(NULL);
	set_lock(F_SETLK, F_WRLCK, 10, 10);
	set_lock(F_SETLK, F_WRLCK, 0, 10);
	CHECK(call(a, first_lock, 0) == F_WRLCK && a->out[0] == 0 && a->out[1] == 20, "[event] locks of one owner that touch are one");
	set_lock(F_SETLK, F_RDLCK, 5, 10);
	CHECK(call(a, first_lock, 0) == F_WRLCK && a->out[0] == 0 && a->out[1] == 5, "[event] F_GETLK tells the first: what is left before the part that was converted");
	CHECK(call(a, who_locks, 5) == F_RDLCK && a->out[0] == 5 && a->out[1] == 10, "[event] that part");
	CHECK(call(a, who_locks, 19) == F_WRLCK && a->out[0] == 15 && a->out[1] == 5, "[event] what is left behind it");
	set_lock(F_SETLK, F_UNLCK, 0, 0);
	for (int start = 200; start >= 0; start -= 100)
		set_lock(F_SETLK, F_RDLCK, start, 10);
	CHECK(call(a, first_lock, 0) == F_RDLCK && a->out[0] == 0 && a->out[1] == 10, "[event] the first in the file, not the oldest");
	set_lock(F_SETLK, F_RDLCK, 5, 205);
	CHECK(call(a, first_lock, 0) == F_RDLCK && a->out[0] == 0 && a->out[1] == 210, "[event] a lock over the gaps joins them all");
	set_lock(F_SETLK, F_UNLCK, 50, 10);
	char path[64], info[1024], line[128];
	struct stat st;
	MUST(fstat(lock_fd, &st));
	MUST(flock(lock_fd, LOCK_SH));
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", lock_fd);
	int fd = MUST(open(path, O_RDONLY)), n = MUST(read(fd, info, sizeof info - 1));
	info[n] = 0;
	snprintf(line, sizeof line, "lock:\t1: FLOCK  ADVISORY  READ %d ", getpid());
	CHECK(strstr(info, line) != NULL, "[event,proc] fdinfo shows the lock of the file");
	snprintf(line, sizeof line, ":%lu 0 49\nlock:\t3: POSIX  ADVISORY  READ %d ", (unsigned long)st.st_ino, getpid());
	CHECK(strstr(info, line) != NULL, "[event,proc] and those of its ranges");
	CHECK_OK(syscall(SYS_flock, lock_fd, 32 | LOCK_EX), "[event] flock takes LOCK_MAND, and does nothing");
	retire(a, NULL);
}

CASE(record_locks)
{
	lock_fd = MUST(open(tmp_path("l"), O_RDWR | O_CREAT, 0600));
	struct agent *a = spawn(NULL);
	CHECK_OK(set_lock(F_SETLK, F_WRLCK, 100, 100), "[event] a write lock of a range");
	CHECK_EQ(call(a, who_locks, 99), F_UNLCK, "[event] F_GETLK: the byte before is free");
	CHECK(call(a, who_locks, 100) == F_WRLCK && a->out[0] == 100 && a->out[1] == 100 && a->out[2] == getpid(), "[event] the first is locked, by whom");
	CHECK_EQ(call(a, who_locks, 199), F_WRLCK, "[event] so is the last");
	CHECK_EQ(call(a, who_locks, 200), F_UNLCK, "[event] the one behind is not");
	CHECK_EQ(call(a, read_lock, 150), -EAGAIN, "[event] a lock of it by another: EAGAIN");
	CHECK_OK(set_lock(F_SETLK, F_UNLCK, 140, 20), "[event] the middle is unlocked");
	CHECK(call(a, who_locks, 139) == F_WRLCK && a->out[0] == 100 && a->out[1] == 40, "[event] two locks remain: the first");
	CHECK(call(a, who_locks, 160) == F_WRLCK && a->out[0] == 160 && a->out[1] == 40, "[event] and the second");
	CHECK_EQ(call(a, read_lock, 150), 0, "[event] between them there is room");
	CHECK_OK(set_lock(F_SETLK, F_RDLCK, 100, 0), "[event] a read lock to the end of the file goes over it all");
	CHECK(call(a, who_locks, 1L << 40) == F_RDLCK && a->out[0] == 100 && a->out[1] == 0, "[event] F_GETLK tells its length as 0");
	CHECK_EQ(call(a, read_lock, 120), 0, "[event] readers share");
	CHECK(set_lock(F_SETLK, F_WRLCK, 100, 100) < 0 && errno == EAGAIN, "[event] a reader's lock is in the way of a writer's");
	REQUIRE(ftruncate(lock_fd, 50) == 0);
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = 0, .l_len = -10 };
	CHECK_OK(fcntl(lock_fd, F_SETLK, &fl), "[event] from the end backwards");
	CHECK(call(a, who_locks, 40) == F_WRLCK && a->out[0] == 40 && a->out[1] == 10, "[event] the ten bytes before it");
	fl.l_start = -60;
	CHECK_ERR(fcntl(lock_fd, F_SETLK, &fl), EINVAL, "[event] before the start of the file: EINVAL");
	fl.l_type = 9;
	fl.l_start = 0;
	CHECK_ERR(fcntl(lock_fd, F_SETLK, &fl), EINVAL, "[event] no type of lock: EINVAL");
	int ro = MUST(open(tmp_path("l"), O_RDONLY));
	fl.l_type = F_WRLCK;
	CHECK_ERR(fcntl(ro, F_SETLK, &fl), EBADF, "[event] a write lock needs a writable descriptor: EBADF");
	close(ro);
	CHECK_EQ(call(a, who_locks, 40), F_UNLCK, "[event] closing any descriptor of the file gives up all locks of the process");
	retire(a, NULL);
}

CASE(record_locks_wait)
{
	lock_fd = MUST(open(tmp_path("l"), O_RDWR | O_CREAT, 0600));
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	REQUIRE(write_lock(0) == 0);
	post(a, write_lock_wait, 0);
	REQUIRE(await_blocked_in(a));
	REQUIRE(set_lock(F_SETLK, F_UNLCK, 0, 1) == 0);
	CHECK_EQ(finish(a), 0, "[event] F_SETLKW gets the lock when it is given up");
	CHECK(call(b, who_locks, 0) == F_WRLCK && b->out[2] == a->pid, "[event] and has it");
	/* a has 0, b takes 1 and waits for 0; a waiting for 1 would never end */
	REQUIRE(call(b, write_lock, 1) == 0);
	post(b, write_lock_wait, 0);
	REQUIRE(await_blocked_in(b));
	CHECK_EQ(call(a, write_lock_wait, 1), -EDEADLK, "[event] two that would wait for each other: EDEADLK");
	quit(a, 0);
	reap(a->pid);
	CHECK_EQ(finish(b), 0, "[3.10,event] the death of the holder lets the waiter go on");
	retire(b, NULL);
}

CASE(open_file_locks)
{
	lock_fd = MUST(open(tmp_path("l"), O_RDWR | O_CREAT, 0600));
	int other = MUST(open(tmp_path("l"), O_RDWR));
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	CHECK_OK(fcntl(lock_fd, F_OFD_SETLK, &fl), "[event] a lock of an open file");
	CHECK_ERR(fcntl(other, F_OFD_SETLK, &fl), EAGAIN, "[event] excludes another open file of the same process");
	close(MUST(dup(lock_fd)));
	CHECK_ERR(fcntl(other, F_OFD_SETLK, &fl), EAGAIN, "[event] survives the closing of a copy");
	CHECK(fcntl(other, F_OFD_GETLK, &fl) == 0 && fl.l_type == F_WRLCK && fl.l_pid == -1, "[event] belongs to no process");
	close(lock_fd);
	fl.l_pid = 0;
	CHECK_OK(fcntl(other, F_OFD_SETLK, &fl), "[event] and goes with the file");
	fl.l_pid = 1;
	CHECK_ERR(fcntl(other, F_OFD_SETLK, &fl), EINVAL, "[event] l_pid must be 0: EINVAL");
}

CASE(flock_converts)
{
	int fd = MUST(open(tmp_path("l"), O_RDWR | O_CREAT, 0600)), other = MUST(open(tmp_path("l"), O_RDWR));
	CHECK_ERR(flock(fd, 16), EINVAL, "[event] flock, unknown operation: EINVAL");
	CHECK_OK(flock(fd, LOCK_SH), "[event] a shared flock");
	CHECK_OK(flock(other, LOCK_SH), "[event] and another");
	CHECK_ERR(flock(fd, LOCK_EX | LOCK_NB), EAGAIN, "[event] an exclusive one has to wait: EAGAIN");
	CHECK_OK(flock(other, LOCK_UN), "[event] LOCK_UN");
	CHECK_OK(flock(fd, LOCK_EX | LOCK_NB), "[event] lets it through");
	CHECK_ERR(flock(other, LOCK_SH | LOCK_NB), EAGAIN, "[event] it excludes");
	CHECK_OK(flock(fd, LOCK_SH), "[event] until it is made shared");
	CHECK_OK(flock(other, LOCK_SH | LOCK_NB), "[event] then it does not");
}
