/* posix_timers.c - timer_create and its relatives (timer_create(2), timer_settime(2), signal(7), proc(5)). */
#include "lib/tap.h"

#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/timex.h>

#ifndef PR_TIMER_CREATE_RESTORE_IDS
#define PR_TIMER_CREATE_RESTORE_IDS 77
#endif

#define MS 1000000L
#define SEC 1000000000LL

/* Raw calls: glibc hides the kernel's numbers. */
static int create(int clock, struct sigevent *ev, int *id) { return syscall(SYS_timer_create, (long)clock, ev, id); }
static int settime(int id, int flags, long long value, long long interval, struct itimerspec *old)
{
	struct itimerspec its = { { interval / SEC, interval % SEC }, { value / SEC, value % SEC } };
	return syscall(SYS_timer_settime, (long)id, (long)flags, &its, old);
}
static int gettime(int id, struct itimerspec *its) { return syscall(SYS_timer_gettime, (long)id, its); }
static int getoverrun(int id) { return syscall(SYS_timer_getoverrun, (long)id); }
static int delete(int id) { return syscall(SYS_timer_delete, (long)id); }

static long long ns(const struct timespec *t) { return t->tv_sec * SEC + t->tv_nsec; }

static long long now_ns(clockid_t c)
{
	struct timespec t = { 0, 0 };
	syscall(SYS_clock_gettime, (long)c, &t);
	return ns(&t);
}

static struct sigevent event(int how, int sig, int value)
{
	struct sigevent ev;
	memset(&ev, 0, sizeof ev);
	ev.sigev_notify = how;
	ev.sigev_signo = sig;
	ev.sigev_value.sival_int = value;
	return ev;
}

static int block(int sig)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, sig);
	return sigprocmask(SIG_BLOCK, &set, NULL);
}

static bool pending(int sig)
{
	sigset_t set;
	sigpending(&set);
	return sigismember(&set, sig) == 1;
}

static int take(int sig, siginfo_t *info, long ms)
{
	sigset_t set;
	struct timespec t = { ms / 1000, ms % 1000 * MS };
	sigemptyset(&set);
	sigaddset(&set, sig);
	memset(info, 0, sizeof *info);
	return sigtimedwait(&set, info, &t);
}

static void burn_until(clockid_t c, long long until)
{
	long long end = now_ms() + deadline_ms;
	while (now_ns(c) < until && now_ms() < end)
		for (volatile int i = 0; i < 1000; i++)
			;
}

CASE(one_shot)
{
	timer_t t;
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77 };
	struct itimerspec its = { { 0, 0 }, { 0, 10000000 } }, old;
	siglog_catch(SIGUSR1, 0);
	int r = timer_create(CLOCK_MONOTONIC, &ev, &t);
	CHECK(r == 0, "[time] timer_create");
	if (r)
		return;
	CHECK_OK(timer_settime(t, 0, &its, NULL), "[time] timer_settime");
	CHECK(AWAIT(siglog_count(0, SIGUSR1) == 1), "[time] its signal comes");
	struct sigrec *s = siglog_get(0, SIGUSR1, 0);
	CHECK(s && s->code == SI_TIMER, "[time] with SI_TIMER");
	CHECK(timer_gettime(t, &old) == 0 && old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0, "[time] and it is off");
	CHECK_OK(timer_delete(t), "[time] timer_delete");
	CHECK_ERR(syscall(SYS_timer_delete, 12345), EINVAL, "[time] of none: EINVAL");
}

CASE(create_arguments)
{
	int id = -1;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 1);
	static const struct { int clock, err; const char *text; } clocks[] = {
		{ CLOCK_REALTIME, 0, "[time] CLOCK_REALTIME" }, { CLOCK_MONOTONIC, 0, "[time] CLOCK_MONOTONIC" },
		{ CLOCK_PROCESS_CPUTIME_ID, 0, "[time] CLOCK_PROCESS_CPUTIME_ID" },
		{ CLOCK_THREAD_CPUTIME_ID, 0, "[time] CLOCK_THREAD_CPUTIME_ID" },
		{ CLOCK_BOOTTIME, 0, "[time] CLOCK_BOOTTIME" }, { CLOCK_TAI, 0, "[time] CLOCK_TAI" },
		{ CLOCK_MONOTONIC_RAW, EOPNOTSUPP, "[time] CLOCK_MONOTONIC_RAW has no timers: EOPNOTSUPP" },
		{ CLOCK_REALTIME_COARSE, EOPNOTSUPP, "[time] CLOCK_REALTIME_COARSE: EOPNOTSUPP" },
		{ CLOCK_MONOTONIC_COARSE, EOPNOTSUPP, "[time] CLOCK_MONOTONIC_COARSE: EOPNOTSUPP" },
		{ 10, EINVAL, "[time] clock 10: EINVAL" }, { 99, EINVAL, "[time] clock 99: EINVAL" },
	};
	for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
		errno = 0;
		int r = create(clocks[i].clock, &ev, &id);
		CHECK(clocks[i].err ? r == -1 && errno == clocks[i].err : r == 0, clocks[i].text);
	}
	CHECK_ERR(create(CLOCK_MONOTONIC, BADPTR, &id), EFAULT, "[time] event at a bad address: EFAULT");
	CHECK_ERR(create(99, BADPTR, &id), EFAULT, "[time] before the clock is looked at");
	CHECK_ERR(create(CLOCK_MONOTONIC, &ev, BADPTR), EFAULT, "[time] number to a bad address: EFAULT");
	ev = event(SIGEV_SIGNAL, 0, 0);
	CHECK_ERR(create(CLOCK_MONOTONIC, &ev, &id), EINVAL, "[time] signal 0: EINVAL");
	ev = event(SIGEV_SIGNAL, 65, 0);
	CHECK_ERR(create(CLOCK_MONOTONIC, &ev, &id), EINVAL, "[time] signal 65: EINVAL");
	ev = event(SIGEV_NONE, 65, 0);
	CHECK_OK(create(CLOCK_MONOTONIC, &ev, &id), "[time] SIGEV_NONE does not look at the signal");
	ev = event(3, SIGUSR1, 0);
	CHECK_ERR(create(CLOCK_MONOTONIC, &ev, &id), EINVAL, "[time] unknown notification: EINVAL");
	ev = event(SIGEV_THREAD | SIGEV_THREAD_ID, SIGUSR1, 0);
	CHECK_ERR(create(CLOCK_MONOTONIC, &ev, &id), EINVAL, "[time] THREAD with THREAD_ID: EINVAL");
	ev = event(SIGEV_THREAD_ID, SIGUSR1, 0);
	ev._sigev_un._tid = getppid();
	CHECK_ERR(create(CLOCK_MONOTONIC, &ev, &id), EINVAL, "[time] a thread of another process: EINVAL");
	ev._sigev_un._tid = sys_gettid();
	CHECK_OK(create(CLOCK_MONOTONIC, &ev, &id), "[time] an own thread");
	CHECK_ERR(syscall(SYS_timer_settime, id, 0, NULL, NULL), EINVAL, "[time] no setting: EINVAL");
	CHECK_ERR(syscall(SYS_timer_settime, id, 0, BADPTR, NULL), EFAULT, "[time] bad address: EFAULT");
	CHECK_ERR(settime(id, 0, 0, 0, BADPTR), EFAULT, "[time] old setting to a bad address: EFAULT");
	struct itimerspec its = { { 0, 0 }, { 0, 1000000000 } };
	CHECK_ERR(syscall(SYS_timer_settime, id, 0, &its, NULL), EINVAL, "[time] nanoseconds of 10^9: EINVAL");
	its = (struct itimerspec){ { -1, 0 }, { 0, 0 } };
	CHECK_ERR(syscall(SYS_timer_settime, id, 0, &its, NULL), EINVAL, "[time] negative interval: EINVAL");
	CHECK_OK(settime(id, 0x80, 0, 0, NULL), "[time] unknown flags are passed over");
	CHECK_ERR(settime(9999, 0, 1, 0, NULL), EINVAL, "[time] timer_settime of none: EINVAL");
	struct itimerspec far = { .it_interval.tv_sec = INT64_MAX, .it_value.tv_sec = INT64_MAX };
	CHECK_OK(syscall(SYS_timer_settime, id, 0, &far, NULL), "[time] the far future is accepted");
	CHECK_OK(syscall(SYS_timer_gettime, id, &far), "[time] and told");
	CHECK_EQ(far.it_interval.tv_sec, INT64_MAX / 1000000000, "[time] as the end of what counts in nanoseconds");
	CHECK(far.it_value.tv_sec > INT64_MAX / 1000000000 - 1000000000, "[time] the next expiry too");
	settime(id, 0, 0, 0, NULL);
	CHECK_ERR(gettime(9999, &its), EINVAL, "[time] timer_gettime of none: EINVAL");
	CHECK_ERR(gettime(id, BADPTR), EFAULT, "[time] to a bad address: EFAULT");
	CHECK_ERR(getoverrun(-1), EINVAL, "[time] timer_getoverrun of none: EINVAL");
	CHECK_OK(delete(id), "[time] timer_delete");
	CHECK_ERR(delete(id), EINVAL, "[time] twice: EINVAL");
}

CASE(numbers)
{
	int a, b, c;
	MUST(create(CLOCK_MONOTONIC, NULL, &a));
	MUST(create(CLOCK_MONOTONIC, NULL, &b));
	CHECK(a == 0 && b == 1, "[time] numbers count from 0");
	MUST(delete(a));
	MUST(create(CLOCK_MONOTONIC, NULL, &c));
	CHECK_EQ(c, 2, "[time] and are not given again at once");
	siginfo_t info;
	block(SIGALRM);
	MUST(settime(c, 0, 1, 0, NULL));
	CHECK_EQ(take(SIGALRM, &info, deadline_ms), SIGALRM, "[time] without an event it is SIGALRM");
	CHECK(info.si_code == SI_TIMER && info.si_value.sival_int == c && info.si_timerid == c, "[time] with the number as its value");
	IF_SINCE(6, 15, "[time] PR_TIMER_CREATE_RESTORE_IDS") {
		CHECK_EQ(prctl(PR_TIMER_CREATE_RESTORE_IDS, 2, 0, 0, 0), 0, "[time] PR_TIMER_CREATE_RESTORE_IDS: off at first");
		CHECK_ERR(prctl(PR_TIMER_CREATE_RESTORE_IDS, 3, 0, 0, 0), EINVAL, "[time] unknown operation: EINVAL");
		CHECK_ERR(prctl(PR_TIMER_CREATE_RESTORE_IDS, 1, 1, 0, 0), EINVAL, "[time] unused arguments are 0");
		CHECK_OK(prctl(PR_TIMER_CREATE_RESTORE_IDS, 1, 0, 0, 0), "[time] on");
		CHECK_EQ(prctl(PR_TIMER_CREATE_RESTORE_IDS, 2, 0, 0, 0), 1, "[time] and it is");
		int id = 1000;
		CHECK(create(CLOCK_MONOTONIC, NULL, &id) == 0 && id == 1000, "[time] the number that was asked for");
		CHECK_ERR(create(CLOCK_MONOTONIC, NULL, &id), EBUSY, "[time] that is taken: EBUSY");
		id = -5;
		CHECK_ERR(create(CLOCK_MONOTONIC, NULL, &id), EINVAL, "[time] negative: EINVAL");
		pid_t pid = MUST(fork());
		if (pid == 0)
			_exit(prctl(PR_TIMER_CREATE_RESTORE_IDS, 2, 0, 0, 0));
		CHECK_EQ(reap(pid), 0, "[time] a child does not inherit it");
		CHECK_OK(prctl(PR_TIMER_CREATE_RESTORE_IDS, 0, 0, 0, 0), "[time] off");
		CHECK(create(CLOCK_MONOTONIC, NULL, &id) == 0 && id == 1001, "[time] counting goes on behind it");
	}
}

CASE(signal_information)
{
	int id;
	siginfo_t info;
	int sig = SIGRTMIN + 3;
	struct sigevent ev = event(SIGEV_SIGNAL, sig, 0);
	ev.sigev_value.sival_ptr = (void *)0x123456789abcdefL;
	block(sig);
	MUST(create(CLOCK_MONOTONIC, &ev, &id));
	MUST(settime(id, 0, 1, 0, NULL));
	CHECK_EQ(take(sig, &info, deadline_ms), sig, "[time] a real-time signal");
	CHECK(info.si_code == SI_TIMER && info.si_timerid == id && info.si_overrun == 0, "[time] si_code, si_timerid, si_overrun");
	CHECK(info.si_value.sival_ptr == (void *)0x123456789abcdefL, "[time] si_value is the pointer");
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, sig);
	int fd = MUST(signalfd(-1, &set, 0));
	struct signalfd_siginfo si;
	MUST(settime(id, 0, 1, 0, NULL));
	CHECK(read(fd, &si, sizeof si) == sizeof si && (int)si.ssi_signo == sig && si.ssi_code == SI_TIMER, "[time,7.33] by signalfd");
	CHECK(si.ssi_tid == (unsigned)id && si.ssi_overrun == 0 && si.ssi_ptr == 0x123456789abcdefUL, "[time,7.33] with ssi_tid, ssi_overrun, ssi_ptr");
}

CASE(overrun)
{
	int id;
	siginfo_t info;
	struct itimerspec its;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 5);
	block(SIGUSR1);
	MUST(create(CLOCK_MONOTONIC, &ev, &id));
	long long start = now_ns(CLOCK_MONOTONIC);
	MUST(settime(id, 0, 2 * MS, 2 * MS, NULL));
	CHECK(AWAIT(pending(SIGUSR1)), "[time] an interval timer's signal is pending");
	CHECK(AWAIT(now_ns(CLOCK_MONOTONIC) - start > 30 * MS), "[time] (some intervals later)");
	CHECK_OK(getoverrun(id), "[time] no overrun before a signal is taken");
	CHECK_EQ(take(SIGUSR1, &info, 0), SIGUSR1, "[time] one signal is queued");
	long long took = now_ns(CLOCK_MONOTONIC) - start;
	CHECK(info.si_overrun >= 14 && info.si_overrun <= took / (2 * MS), "[time] its overrun is what passed meanwhile");
	CHECK_EQ(getoverrun(id), info.si_overrun, "[time] timer_getoverrun says the same");
	CHECK(gettime(id, &its) == 0 && ns(&its.it_value) > 0 && ns(&its.it_value) <= 2 * MS && ns(&its.it_interval) == 2 * MS, "[time] it goes on");
	CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] the next signal");
	CHECK_OK(settime(id, 0, 0, 0, &its), "[time] off");
	CHECK_EQ(ns(&its.it_interval), 2 * MS, "[time] the interval before");
	CHECK_OK(getoverrun(id), "[time] setting it forgets the overrun");
	MUST(settime(id, 0, 1, 1, NULL));
	/* the signal of the setting before may be pending still, and is thrown away */
	CHECK(AWAIT(pending(SIGUSR1)), "[time] an interval of 1 ns");
	CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] is no more than a signal");
	CHECK(info.si_overrun > 0, "[time] with a large overrun");
}

CASE(two_timers_one_signal)
{
	int a, b;
	siginfo_t one, two;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 10);
	block(SIGUSR1);
	MUST(create(CLOCK_MONOTONIC, &ev, &a));
	ev.sigev_value.sival_int = 20;
	MUST(create(CLOCK_MONOTONIC, &ev, &b));
	MUST(settime(a, 0, 1, 0, NULL));
	REQUIRE(AWAIT(pending(SIGUSR1)));
	MUST(settime(b, 0, 1, 0, NULL));
	struct itimerspec its;
	REQUIRE(AWAIT(gettime(b, &its) == 0 && ns(&its.it_value) == 0));
	CHECK_EQ(take(SIGUSR1, &one, deadline_ms), SIGUSR1, "[time] a standard signal of one timer");
	CHECK_EQ(take(SIGUSR1, &two, deadline_ms), SIGUSR1, "[time] and of another queue both");
	CHECK(one.si_value.sival_int == 10 && two.si_value.sival_int == 20, "[time] in order");
	CHECK(!pending(SIGUSR1), "[time] and no more");
}

CASE(stale_signal)
{
	int id;
	siginfo_t info;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 5);
	block(SIGUSR1);
	MUST(create(CLOCK_MONOTONIC, &ev, &id));
	MUST(settime(id, 0, 1, 0, NULL));
	REQUIRE(AWAIT(pending(SIGUSR1)));
	MUST(settime(id, 0, 100 * SEC, 0, NULL));
	IF_SINCE(6, 13, "[time] a timer that is set anew takes its signal back") {
		CHECK_ERR(take(SIGUSR1, &info, 0), EAGAIN, "[time] a timer that is set anew takes its signal back");
	}
	MUST(settime(id, 0, 1, 0, NULL));
	REQUIRE(AWAIT(pending(SIGUSR1)));
	MUST(delete(id));
	IF_SINCE(6, 13, "[time] and one that is deleted") {
		CHECK_ERR(take(SIGUSR1, &info, 0), EAGAIN, "[time] and one that is deleted");
	}
}

CASE(ignored)
{
	int id;
	siginfo_t info;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 5);
	signal(SIGUSR1, SIG_IGN);
	MUST(create(CLOCK_MONOTONIC, &ev, &id));
	long long start = now_ns(CLOCK_MONOTONIC);
	MUST(settime(id, 0, 1 * MS, 1 * MS, NULL));
	CHECK(AWAIT(now_ns(CLOCK_MONOTONIC) - start > 20 * MS), "[time] an ignored timer goes on quietly");
	block(SIGUSR1);
	siglog_catch(SIGUSR1, 0);
	CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] its signal comes when it is ignored no longer");
	MUST(settime(id, 0, 1 * MS, 1 * MS, NULL));
	REQUIRE(AWAIT(pending(SIGUSR1)));
	signal(SIGUSR1, SIG_IGN);
	CHECK(!pending(SIGUSR1), "[time,7.9] ignoring throws the pending one away");
	siglog_catch(SIGUSR1, 0);
	CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] and the interval timer goes on after it");
}

CASE(no_signal)
{
	int id;
	struct itimerspec its;
	struct sigevent ev = event(SIGEV_NONE, 0, 0);
	MUST(create(CLOCK_MONOTONIC, &ev, &id));
	MUST(settime(id, 0, 5 * MS, 0, NULL));
	CHECK(gettime(id, &its) == 0 && ns(&its.it_value) <= 5 * MS, "[time] SIGEV_NONE: time runs");
	CHECK(AWAIT(gettime(id, &its) == 0 && ns(&its.it_value) == 0), "[time] and out");
	MUST(settime(id, 0, 5 * MS, 5 * MS, NULL));
	long long start = now_ns(CLOCK_MONOTONIC);
	REQUIRE(AWAIT(now_ns(CLOCK_MONOTONIC) - start > 12 * MS));
	CHECK(gettime(id, &its) == 0 && ns(&its.it_value) > 0 && ns(&its.it_value) <= 5 * MS, "[time] an interval starts again");
}

CASE(absolute)
{
	static const int clocks[] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI };
	siginfo_t info;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 5);
	block(SIGUSR1);
	for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
		int id;
		MUST(create(clocks[i], &ev, &id));
		long long at = now_ns(clocks[i]) + 10 * MS;
		MUST(settime(id, TIMER_ABSTIME, at, 0, NULL));
		CHECK(take(SIGUSR1, &info, deadline_ms) == SIGUSR1 && now_ns(clocks[i]) >= at, "[time] TIMER_ABSTIME: at its time");
		MUST(settime(id, TIMER_ABSTIME, 1, 0, NULL));
		CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] in the past: at once");
		MUST(settime(id, TIMER_ABSTIME, at, 10000 * SEC, NULL));
		CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] with an interval");
		struct itimerspec its;
		CHECK(gettime(id, &its) == 0 && ns(&its.it_value) > 9000 * SEC, "[time] the next is the interval after");
		MUST(delete(id));
	}
}

/* The clock is set to what it shows: that moves nothing by more than the time of the call. */
CASE(clock_set)
{
	NEED_ROOT("[time] setting the clock");
	int id;
	siginfo_t info;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 5);
	block(SIGUSR1);
	MUST(create(CLOCK_REALTIME, &ev, &id));
	long long at = now_ns(CLOCK_REALTIME) + 20 * MS;
	MUST(settime(id, TIMER_ABSTIME, at, 0, NULL));
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	CHECK_OK(syscall(SYS_clock_settime, CLOCK_REALTIME, &t), "[time] clock_settime");
	CHECK(take(SIGUSR1, &info, deadline_ms) == SIGUSR1 && now_ns(CLOCK_REALTIME) >= at, "[time] an absolute timer still comes at its time");
	CHECK_ERR(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &t), EINVAL, "[time] CLOCK_MONOTONIC can't be set: EINVAL");
	CHECK_ERR(syscall(SYS_clock_settime, CLOCK_PROCESS_CPUTIME_ID, &t), EINVAL, "[time] nor CPU time");
	CHECK_ERR(syscall(SYS_clock_settime, -6, &t), EPERM, "[time] by its other number: EPERM");
	t.tv_nsec = 1000000000;
	CHECK_ERR(syscall(SYS_clock_settime, CLOCK_REALTIME, &t), EINVAL, "[time] nanoseconds of 10^9: EINVAL");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		t.tv_nsec = 0;
		REQUIRE(setresuid(1, 1, 1) == 0);
		_exit(syscall(SYS_clock_settime, CLOCK_REALTIME, &t) == -1 ? errno : 0);
	}
	CHECK_EQ(reap(pid), EPERM << 8, "[time,cred] without CAP_SYS_TIME: EPERM");
}

static long ag_sleep_until(long ns_at)
{
	struct timespec t = { ns_at / SEC, ns_at % SEC };
	return syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL);
}

/* Moves the clock by an hour and back: not on a machine that others use. */
CASE(clock_jumps)
{
	if (!on_foster()) {
		tap_skip("[time] what a jump of the clock does", "it would move this machine's clock");
		return;
	}
	int id, rel;
	siginfo_t info;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 1), ev2 = event(SIGEV_SIGNAL, SIGUSR2, 2);
	block(SIGUSR1);
	block(SIGUSR2);
	MUST(create(CLOCK_REALTIME, &ev, &id));
	MUST(create(CLOCK_REALTIME, &ev2, &rel));
	long long at = now_ns(CLOCK_REALTIME) + 1800 * SEC;
	MUST(settime(id, TIMER_ABSTIME, at, 0, NULL));
	MUST(settime(rel, 0, 1800 * SEC, 0, NULL));
	int fd = MUST(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
	struct itimerspec its = { { 0, 0 }, { at / SEC + 7200, 0 } };
	MUST(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &its, NULL));
	struct agent *a = spawn(NULL);
	post(a, ag_sleep_until, at);
	REQUIRE(await_blocked_in(a));
	struct timex t;
	memset(&t, 0, sizeof t);
	t.modes = ADJ_SETOFFSET;
	t.time.tv_sec = 3600;
	MUST(syscall(SYS_adjtimex, &t));
	CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] a jump brings an absolute timer's time");
	CHECK_EQ(finish(a), 0, "[time] and ends an absolute sleep");
	CHECK(!pending(SIGUSR2), "[time] a relative timer does not notice");
	long long n;
	CHECK_ERR(read(fd, &n, sizeof n), ECANCELED, "[time,event] TFD_TIMER_CANCEL_ON_SET: ECANCELED");
	t.time.tv_sec = -3600;
	MUST(syscall(SYS_adjtimex, &t));
	CHECK(now_ns(CLOCK_REALTIME) < at, "[time] and back");
	retire(a, NULL);
}

static bool slept_for_nothing(clockid_t c)
{
	struct timespec t = { 0, 60 * MS };
	long long start = now_ns(c);
	nanosleep(&t, NULL);
	return now_ns(c) - start < 20 * MS;
}

CASE(cpu_time)
{
	static const int clocks[] = { CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID };
	siginfo_t info;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 5);
	block(SIGUSR1);
	for (int i = 0; i < 2; i++) {
		int id;
		MUST(create(clocks[i], &ev, &id));
		/* what a hypervisor takes from us counts as ours: the shortest of many sleeps tells */
		CHECK(AWAIT(slept_for_nothing(clocks[i])), "[time] CPU time does not pass in sleep");
		long long start = now_ns(clocks[i]);
		MUST(settime(id, 0, 20 * MS, 0, NULL));
		CHECK((take(SIGUSR1, &info, 60) == -1 && errno == EAGAIN) || now_ns(clocks[i]) >= start + 20 * MS, "[time] nor does a timer of it expire");
		start = now_ns(clocks[i]);
		MUST(settime(id, 0, 20 * MS, 0, NULL));
		burn_until(clocks[i], start + 15 * MS);
		CHECK(!pending(SIGUSR1) || now_ns(clocks[i]) >= start + 20 * MS, "[time] nor comes the signal early");
		long long end = now_ms() + deadline_ms;
		while (!pending(SIGUSR1) && now_ms() < end)
			;
		CHECK_EQ(take(SIGUSR1, &info, 0), SIGUSR1, "[time] when it is used the signal comes");
		CHECK(now_ns(clocks[i]) - start >= 20 * MS, "[time] not before");
		MUST(settime(id, TIMER_ABSTIME, 1, 0, NULL));
		CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] an absolute time in the past: at once");
		MUST(settime(id, 0, 5 * MS, 5 * MS, NULL));
		burn_until(clocks[i], now_ns(clocks[i]) + 60 * MS);
		CHECK(take(SIGUSR1, &info, 0) == SIGUSR1 && info.si_overrun >= 1, "[time] intervals of CPU time overrun");
		MUST(delete(id));
	}
}

#define PROCESS_CLOCK(pid) ((int)((~(unsigned)(pid) << 3) | 2))
#define THREAD_CLOCK(tid) ((int)((~(unsigned)(tid) << 3) | 6))

static long ag_burn(long ms)
{
	burn_until(CLOCK_PROCESS_CPUTIME_ID, now_ns(CLOCK_PROCESS_CPUTIME_ID) + ms * MS);
	return 0;
}

CASE(clocks_of_others)
{
	struct timespec t;
	clockid_t c;
	struct agent *a = spawn(NULL);
	CHECK(clock_getcpuclockid(a->pid, &c) == 0 && c == PROCESS_CLOCK(a->pid), "[time] clock_getcpuclockid's encoding");
	call(a, ag_burn, 20);
	CHECK(now_ns(c) >= 20 * MS, "[time] the CPU clock of another process");
	CHECK_ERR(syscall(SYS_clock_gettime, THREAD_CLOCK(a->pid), &t), EINVAL, "[time] of another process's thread: EINVAL");
	CHECK_OK(syscall(SYS_clock_gettime, THREAD_CLOCK(sys_gettid()), &t), "[time] of an own thread");
	CHECK_OK(syscall(SYS_clock_gettime, -2, &t), "[time] pid 0 is the caller");
	CHECK_ERR(syscall(SYS_clock_gettime, -1, &t), EINVAL, "[time] kind 3 of no clock device: EINVAL");
	CHECK(syscall(SYS_clock_getres, c, &t) == 0 && ns(&t) == 1, "[time] its resolution is 1 ns");
	CHECK(syscall(SYS_clock_getres, c & ~3, &t) == 0 && ns(&t) == 4 * MS, "[time] that of sampled times is a tick");
	CHECK_ERR(syscall(SYS_clock_settime, c, &t), EPERM, "[time] nobody sets it: EPERM");

	int id;
	siginfo_t info;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 5);
	block(SIGUSR1);
	MUST(create(c, &ev, &id));
	MUST(settime(id, 0, 10 * MS, 0, NULL));
	CHECK(!pending(SIGUSR1), "[time] a timer by the clock of another process");
	call(a, ag_burn, 30);
	CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] comes when that has used its time");
	quit(a, 0);
	REQUIRE(await_zombie(a->pid));
	CHECK(now_ns(c) >= 50 * MS, "[time,4.21] the clock of a zombie stands still");
	reap(a->pid);
	CHECK_ERR(syscall(SYS_clock_gettime, c, &t), EINVAL, "[time] of nobody: EINVAL");
	CHECK_ERR(settime(id, 0, 10 * MS, 0, NULL), ESRCH, "[time] and the timer can't be set: ESRCH");
}

CASE(cpu_sleep)
{
	struct timespec t = { 0, 1 };
	CHECK_ERR(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &t, NULL), EOPNOTSUPP, "[time] nobody sleeps by its own CPU time: EOPNOTSUPP");
	CHECK_ERR(syscall(SYS_clock_nanosleep, -2, 0, &t, NULL), EINVAL, "[time] by its other number: EINVAL");
	CHECK_ERR(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &t, NULL), EOPNOTSUPP, "[time] CLOCK_MONOTONIC_RAW: EOPNOTSUPP");
	CHECK_ERR(syscall(SYS_clock_nanosleep, 99, 0, &t, NULL), EINVAL, "[time] unknown clock: EINVAL");
	struct agent *a = spawn(NULL);
	clockid_t c = PROCESS_CLOCK(a->pid);
	post(a, ag_burn, 30);
	t.tv_nsec = 10 * MS;
	long long start = now_ns(c);
	CHECK_OK(syscall(SYS_clock_nanosleep, c, 0, &t, NULL), "[time] clock_nanosleep by the CPU time of another");
	CHECK(now_ns(c) - start >= 10 * MS, "[time] sleeps until that is used");
	finish(a);
	t.tv_nsec = 1;
	CHECK_OK(syscall(SYS_clock_nanosleep, c, TIMER_ABSTIME, &t, NULL), "[time] an absolute one in the past: at once");
	retire(a, NULL);
}

static volatile int thread_tid;
static long ag_timer_here(long sig)
{
	int id;
	struct sigevent ev = event(SIGEV_THREAD_ID, sig, 9);
	ev._sigev_un._tid = thread_tid;
	if (create(CLOCK_MONOTONIC, &ev, &id) || settime(id, 0, 1, 0, NULL))
		return -errno;
	return id;
}

CASE(to_a_thread)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_catch, SIGUSR2);
	thread_tid = t->tid;
	CHECK(call(p, ag_timer_here, SIGUSR2) >= 0 || 1, "[time] (a timer in another process)");
	quit(p, 0);
	reap(p->pid);

	siglog_catch(SIGUSR1, 0);
	struct agent *mine = spawn_thread(NULL);
	thread_tid = mine->tid;
	CHECK(ag_timer_here(SIGUSR1) >= 0, "[time] SIGEV_THREAD_ID");
	CHECK(AWAIT(siglog_count(0, SIGUSR1) == 1), "[time] its signal comes");
	struct sigrec *s = siglog_get(0, SIGUSR1, 0);
	CHECK(s && s->tid == mine->tid, "[time] to that thread");
	quit_thread(mine, 0);
}

HELPER(has_timers)
{
	char buf[4096];
	sigset_t set;
	int n = read_file("/proc/self/timers", buf, sizeof buf);
	sigpending(&set);
	return (n == 0 ? 0 : 1) | (sigismember(&set, SIGUSR1) ? 2 : 0) | (delete(0) == -1 && errno == EINVAL ? 0 : 4);
}

CASE(lifetime)
{
	char buf[4096], want[400];
	int id;
	siginfo_t info;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 0);
	ev.sigev_value.sival_ptr = (void *)0xabcdef;
	block(SIGUSR1);
	MUST(create(CLOCK_REALTIME, &ev, &id));
	struct sigevent none = event(SIGEV_NONE, 0, 0), self = event(SIGEV_THREAD_ID, SIGUSR2, 0);
	self._sigev_un._tid = sys_gettid();
	int id2, id3;
	MUST(create(CLOCK_MONOTONIC, &none, &id2));
	MUST(create(CLOCK_PROCESS_CPUTIME_ID, &self, &id3));
	REQUIRE(read_file("/proc/self/timers", buf, sizeof buf) > 0);
	snprintf(want, sizeof want, "ID: %d\nsignal: %d/0000000000abcdef\nnotify: signal/pid.%d\nClockID: 0\n", id, SIGUSR1, getpid());
	CHECK(strstr(buf, want), "[12.1] /proc/PID/timers");
	snprintf(want, sizeof want, "ID: %d\nsignal: 0/0000000000000000\nnotify: none/pid.%d\nClockID: 1\n", id2, getpid());
	CHECK(strstr(buf, want), "[12.1] a silent one");
	snprintf(want, sizeof want, "notify: signal/tid.%d\nClockID: -6\n", sys_gettid());
	CHECK(strstr(buf, want), "[12.1] one for a thread, by the other number of its clock");
	MUST(settime(id, 0, 50 * MS, 0, NULL));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		int n = read_file("/proc/self/timers", buf, sizeof buf);
		_exit((n == 0 ? 0 : 1) | (delete(id) == -1 && errno == EINVAL ? 0 : 2) | (take(SIGUSR1, &info, 80) == -1 ? 0 : 4));
	}
	CHECK_EQ(reap(pid), 0, "[6.18] a child has no timers");
	CHECK_EQ(take(SIGUSR1, &info, deadline_ms), SIGUSR1, "[time] and its parent's goes on");

	pid = MUST(fork());
	if (pid == 0) {
		MUST(create(CLOCK_MONOTONIC, &ev, &id));
		MUST(settime(id, 0, 1, 0, NULL));
		REQUIRE(AWAIT(pending(SIGUSR1)));
		exec_self("has_timers", NULL, NULL, NULL);
		_exit(99);
	}
	CHECK_EQ(reap(pid), 0, "[10.10] execve deletes timers, and the signals that they have sent");
}

CASE(limit)
{
	char buf[64];
	int id, n = 0;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		/* a user that has nothing pending */
		if (geteuid() == 0)
			MUST(setresuid(54321, 54321, 54321));
		long queued = proc_status(getpid(), "SigQ", buf, sizeof buf) ? atol(buf) : -1;
		struct rlimit rl = { queued + 3, queued + 3 };
		MUST(setrlimit(RLIMIT_SIGPENDING, &rl));
		while (n < 10 && create(CLOCK_MONOTONIC, NULL, &id) == 0)
			n++;
		CHECK(n == 3 && errno == EAGAIN, "[time,limit] timers count against RLIMIT_SIGPENDING: EAGAIN");
		CHECK(proc_status(getpid(), "SigQ", buf, sizeof buf) && atol(buf) == queued + 3, "[time,12.2] and in SigQ");
		MUST(delete(id));
		CHECK_OK(create(CLOCK_MONOTONIC, NULL, &id), "[time,limit] until they are deleted");
		_exit(0);
	}
	reap(pid);
}

CASE_T(churn, 60)
{
	/* timers that fire while they are set and deleted, and processes that end with timers armed */
	int rounds = iterations(300), id, bad = 0;
	siginfo_t info;
	struct sigevent ev = event(SIGEV_SIGNAL, SIGUSR1, 5);
	block(SIGUSR1);
	for (int i = 0; i < rounds; i++) {
		bad += create(i % 3 == 2 ? CLOCK_PROCESS_CPUTIME_ID : i % 3, &ev, &id) != 0;
		bad += settime(id, 0, 1 + i * 100, i % 2 * 1000, NULL) != 0;
		if (i % 4 == 0)
			take(SIGUSR1, &info, 0);
		if (i % 5 == 0)
			bad += settime(id, 0, 1, 0, NULL) != 0;
		if (i % 10 == 0) {
			pid_t pid = MUST(fork());
			if (pid == 0) {
				for (int k = 0; k < 5; k++)
					if (create(CLOCK_MONOTONIC, &ev, &id) == 0)
						settime(id, 0, 1 + k * 50000, 50000, NULL);
				_exit(0);
			}
			bad += reap(pid) != 0;
		}
		bad += delete(id) != 0;
	}
	CHECK_EQ(bad, 0, "[time,3.9] timers come and go, and end with their process");
	while (take(SIGUSR1, &info, 0) == SIGUSR1)
		;
	CHECK(!pending(SIGUSR1), "[time] no signal is left");
}
