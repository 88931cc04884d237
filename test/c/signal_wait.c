/* signal_wait.c - section 7, third part: waiting for signals, what they interrupt and what restarts (rules 7.34, 7.36-7.38). */
#include "lib/tap.h"

#include <linux/futex.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/socket.h>

static int pfd[2];	/* a pipe that stays empty */

static long catch_plain(long sig) { siglog_catch(sig, 0); return 0; }

/* ---- sigtimedwait ---- */

CASE(timedwait)
{
	unsigned long set = 1UL << (SIGUSR1 - 1), none = 0;
	siginfo_t si;
	struct timespec ts = { 0, 0 }, bad1 = { 0, 1000000000 }, bad2 = { -1, 0 }, bad3 = { 0, -1 };
	ag_block(SIGUSR1);
	CHECK_ERR(syscall(SYS_rt_sigtimedwait, &set, &si, &ts, 8L), EAGAIN, "[7.34] nothing pending and no time: EAGAIN");
	CHECK_ERR(syscall(SYS_rt_sigtimedwait, &set, &si, &bad1, 8L), EINVAL, "[7.34] nsec of a whole second: EINVAL");
	CHECK_ERR(syscall(SYS_rt_sigtimedwait, &set, &si, &bad2, 8L), EINVAL, "[7.34] negative seconds: EINVAL");
	CHECK_ERR(syscall(SYS_rt_sigtimedwait, &set, &si, &bad3, 8L), EINVAL, "[7.34] negative nsec: EINVAL");
	ts.tv_nsec = 30000000;
	long long t = now_ms();
	CHECK_ERR(syscall(SYS_rt_sigtimedwait, &set, &si, &ts, 8L), EAGAIN, "[7.34] the time is up: EAGAIN");
	CHECK(now_ms() - t >= 29, "[7.34] and not before");
	kill(getpid(), SIGUSR1);
	CHECK_EQ(syscall(SYS_rt_sigtimedwait, &set, &si, NULL, 8L), SIGUSR1, "[7.34] returns the signal");
	CHECK(si.si_signo == SIGUSR1 && si.si_pid == getpid(), "[7.34] and its siginfo");
	kill(getpid(), SIGUSR1);
	CHECK_ERR(syscall(SYS_rt_sigtimedwait, &none, &si, &(struct timespec){ 0, 0 }, 8L), EAGAIN, "[7.34] another set: EAGAIN");
	CHECK_EQ(syscall(SYS_rt_sigtimedwait, &set, NULL, &ts, 8L), SIGUSR1, "[7.34] without a siginfo pointer");
	CHECK_ERR(syscall(SYS_rt_sigtimedwait, BADPTR, &si, &ts, 8L), EFAULT, "[7.34] bad set pointer: EFAULT");
	CHECK_ERR(syscall(SYS_rt_sigtimedwait, &set, &si, BADPTR, 8L), EFAULT, "[7.34] bad time pointer: EFAULT");
}

static long waitinfo(long sig)
{
	unsigned long set = 1UL << (sig - 1);
	siginfo_t si;
	long r = syscall(SYS_rt_sigtimedwait, &set, &si, NULL, 8L);
	return r < 0 ? -errno : r;
}

CASE(sigwaitinfo_wakes)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_block, SIGUSR1);
	call(t, ag_block, SIGUSR1);
	post(t, waitinfo, SIGUSR1);
	REQUIRE(await_blocked_in(t));
	kill(p->pid, SIGUSR1);
	CHECK_EQ(finish(t), SIGUSR1, "[7.34] a blocked process-directed signal wakes the thread that waits for it");
	call(p, ag_catch, SIGUSR2);
	post(t, waitinfo, SIGUSR1);
	REQUIRE(await_blocked_in(t));
	sys_tgkill(p->pid, t->tid, SIGUSR2);
	CHECK_EQ(finish(t), -EINTR, "[7.34,7.36] a handler for another signal: EINTR, even with SA_RESTART");
	retire(p, NULL);
}

static long suspend(long unblocked_sig)
{
	unsigned long set = ~(1UL << (unblocked_sig - 1));
	long r = syscall(SYS_rt_sigsuspend, &set, 8L);
	return r < 0 ? -errno : r;
}

CASE(sigsuspend)
{
	struct agent *a = spawn(NULL);
	call(a, ag_catch, SIGUSR1);
	call(a, ag_block, SIGUSR1);
	kill(a->pid, SIGUSR1);
	CHECK_EQ(siglog_count(a->pid, SIGUSR1), 0, "[7.36] (blocked)");
	CHECK_EQ(call(a, suspend, SIGUSR1), -EINTR, "[7.36] sigsuspend takes a pending signal and returns EINTR");
	CHECK_EQ(siglog_count(a->pid, SIGUSR1), 1, "[7.36] its handler has run");
	kill(a->pid, SIGUSR1);
	CHECK_EQ(call(a, ag_pending, SIGUSR1), 1, "[7.36] and the old mask is back");
	retire(a, NULL);
}

/* ---- classes of restart ---- */

static long do_read(long fd)
{
	char c;
	long r = read(fd, &c, 1);
	return r < 0 ? -errno : r;
}

static long do_nanosleep(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 }, rem = { 0, 0 };
	long r = nanosleep(&ts, &rem);
	me->out[0] = rem.tv_sec * 1000 + rem.tv_nsec / 1000000;
	return r < 0 ? -errno : r;
}

static long do_clock_nanosleep(long ms)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += ms / 1000;
	long r = syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
	return r < 0 ? -errno : r;
}

static long do_pause(long x)
{
	(void)x;
	pause();
	return -errno;
}

static long do_poll(long x)
{
	struct pollfd p = { pfd[0], POLLIN, 0 };
	(void)x;
	long r = syscall(SYS_poll, &p, 1L, 20000L);
	return r < 0 ? -errno : r;
}

static long do_select(long x)
{
	fd_set s;
	struct timeval tv = { 20, 0 };
	(void)x;
	FD_ZERO(&s);
	FD_SET(pfd[0], &s);
	long r = select(pfd[0] + 1, &s, NULL, NULL, &tv);
	return r < 0 ? -errno : r;
}

static long do_futex_timed(long x)
{
	struct timespec ts = { 20, 0 };
	long r = futex(&sh->w[x], FUTEX_WAIT, 0, &ts);
	return r < 0 ? -errno : r;
}

static long do_futex(long x)
{
	long r = futex(&sh->w[x], FUTEX_WAIT, 0, NULL);
	return r < 0 ? -errno : r;
}

static long do_write_full(long fd)
{
	char c = 'x';
	long r = write(fd, &c, 1);
	return r < 0 ? -errno : r;
}

static long do_setlkw(long fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	long r = fcntl(fd, F_SETLKW, &fl);
	return r < 0 ? -errno : r;
}

static long do_flock(long x)
{
	(void)x;
	int fd = open(tmp_path("lock"), O_RDWR);
	long r = flock(fd, LOCK_EX);
	return r < 0 ? -errno : r;
}

/* `fn` sleeps; a handler without SA_RESTART ends it with EINTR. */
static void plain(struct agent *a, long (*fn)(long), long arg, const char *text)
{
	call(a, catch_plain, SIGUSR1);
	post(a, fn, arg);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, text);
}

/* The same with SA_RESTART. */
static void never(struct agent *a, long (*fn)(long), long arg, const char *text)
{
	call(a, ag_catch, SIGUSR2);
	post(a, fn, arg);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR2);
	CHECK_EQ(finish(a), -EINTR, text);
}

CASE(never_restarted)
{
	struct agent *a;
	MUST(pipe(pfd));
	a = spawn(NULL);
	plain(a, do_nanosleep, 20000, "[7.36] nanosleep: EINTR");
	CHECK(a->out[0] > 10000 && a->out[0] <= 20000, "[7.36] with the remaining time");
	never(a, do_nanosleep, 20000, "[7.36] nanosleep: EINTR even with SA_RESTART");
	never(a, do_clock_nanosleep, 20000, "[7.36] clock_nanosleep (absolute)");
	never(a, do_pause, 0, "[7.36] pause");
	never(a, do_poll, 0, "[7.36] poll");
	never(a, do_select, 0, "[7.36] select");
	never(a, do_futex_timed, 0, "[7.36] futex wait with a time-out");
	never(a, suspend, SIGUSR2, "[7.36] sigsuspend");
	retire(a, NULL);
}

static void restarts(struct agent *a, long (*fn)(long), long arg, const char *t1, const char *t2)
{
	int before = siglog_count(a->pid, SIGUSR2);
	plain(a, fn, arg, t1);
	call(a, ag_catch, SIGUSR2);
	post(a, fn, arg);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR2);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR2) == before + 1));
	bool back = await_state(a->pid, 'S');
	CHECK(back && !answered(a), t2);
}

CASE(restarted)
{
	MUST(pipe(pfd));
	struct agent *a = spawn(NULL);
	restarts(a, do_read, pfd[0], "[7.37] read of an empty pipe: EINTR without SA_RESTART", "[7.37] and restarted with it");
	REQUIRE(write(pfd[1], "x", 1) == 1);
	CHECK_EQ(finish(a), 1, "[7.37] it then returns the data");
	restarts(a, do_futex, 1, "[7.37] futex wait without a time-out: EINTR", "[7.37] and restarted with SA_RESTART");
	sh->w[1] = 1;
	futex(&sh->w[1], FUTEX_WAKE, 1, NULL);
	long r = finish(a);
	CHECK(r == 0 || r == -EAGAIN, "[7.37] it then wakes");
	fcntl(pfd[1], F_SETFL, O_NONBLOCK);
	char buf[4096] = "";
	while (write(pfd[1], buf, sizeof buf) > 0)
		;
	fcntl(pfd[1], F_SETFL, 0);
	restarts(a, do_write_full, pfd[1], "[7.37] write to a full pipe: EINTR", "[7.37] and restarted with SA_RESTART");
	REQUIRE(read(pfd[0], buf, sizeof buf) > 0);
	CHECK_EQ(finish(a), 1, "[7.37] it then writes");
	retire(a, NULL);
}

CASE(restarted_locks)
{
	int fd = MUST(open(tmp_path("lock"), O_RDWR | O_CREAT, 0600));
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	MUST(fcntl(fd, F_SETLK, &fl));
	struct agent *a = spawn(NULL);
	restarts(a, do_setlkw, fd, "[7.37] F_SETLKW: EINTR", "[7.37] and restarted with SA_RESTART");
	fl.l_type = F_UNLCK;
	MUST(fcntl(fd, F_SETLK, &fl));
	CHECK_EQ(finish(a), 0, "[7.37] it then gets the lock");
	retire(a, NULL);
	MUST(flock(fd, LOCK_EX));
	a = spawn(NULL);
	restarts(a, do_flock, 0, "[7.37] flock: EINTR", "[7.37] and restarted with SA_RESTART");
	MUST(flock(fd, LOCK_UN));
	CHECK_EQ(finish(a), 0, "[7.37] it then gets the lock");
	retire(a, NULL);
}

CASE(no_handler_restarts)
{
	/* 7.38: a stop and continue without a handler restarts everything but what 7.23 lists */
	MUST(pipe(pfd));
	struct agent *a = spawn(NULL);
	static long (*const fn[])(long) = { do_read, do_poll, do_select, do_futex_timed, do_nanosleep, do_pause };
	static const char *const text[] = { "[7.38] read goes on after a stop", "[7.38] poll", "[7.38] select",
					    "[7.38] futex wait with a time-out", "[7.38] nanosleep", "[7.38] pause" };
	for (int i = 0; i < 6; i++) {
		post(a, fn[i], i == 0 ? pfd[0] : i == 4 ? 20000 : 2);
		REQUIRE(await_blocked_in(a));
		kill(a->pid, SIGSTOP);
		REQUIRE(await_state(a->pid, 'T'));
		kill(a->pid, SIGCONT);
		CHECK(await_state(a->pid, 'S') && !answered(a), text[i]);
		kill(a->pid, SIGKILL);
		reap(a->pid);
		a = spawn(NULL);
	}
	retire(a, NULL);
}

static long do_open_fifo(long flags)
{
	int fd = open(tmp_path("fifo"), flags);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

CASE(restarted_open)
{
	MUST(mkfifo(tmp_path("fifo"), 0600));
	struct agent *a = spawn(NULL);
	restarts(a, do_open_fifo, O_RDONLY, "[7.37] open of a FIFO without a writer: EINTR", "[7.37] and restarted with SA_RESTART");
	int fd = MUST(open(tmp_path("fifo"), O_WRONLY));
	CHECK_EQ(finish(a), 0, "[7.37] it then opens");
	close(fd);
	retire(a, NULL);
}

static long do_recv(long fd)
{
	char c;
	long r = recv(fd, &c, 1, 0);
	return r < 0 ? -errno : r;
}

CASE(timed_recv)
{
	int sv[2];
	struct timeval tv = { 20, 0 };
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	struct agent *a = spawn(NULL);
	restarts(a, do_recv, sv[0], "[7.37] recv: EINTR", "[7.37] and restarted with SA_RESTART");
	REQUIRE(write(sv[1], "x", 1) == 1);
	CHECK_EQ(finish(a), 1, "[7.37] it then returns the data");
	MUST(setsockopt(sv[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
	never(a, do_recv, sv[0], "[7.36] recv with SO_RCVTIMEO: EINTR even with SA_RESTART");
	retire(a, NULL);
}
