/* times.c - clocks, sleeps, interval timers, alarm, times and rusage. */
#include "lib/tap.h"

#include <sys/times.h>
#include <sys/timex.h>

static long long ns(const struct timespec *t) { return t->tv_sec * 1000000000LL + t->tv_nsec; }

static long long now_ns(clockid_t c)
{
	struct timespec t = { 0, 0 };
	syscall(SYS_clock_gettime, (long)c, &t);
	return ns(&t);
}

CASE(clocks)
{
	static const struct { int id; const char *text; } ok[] = {
		{ CLOCK_REALTIME, "[time] CLOCK_REALTIME" }, { CLOCK_MONOTONIC, "[time] CLOCK_MONOTONIC" },
		{ CLOCK_PROCESS_CPUTIME_ID, "[time] CLOCK_PROCESS_CPUTIME_ID" }, { CLOCK_THREAD_CPUTIME_ID, "[time] CLOCK_THREAD_CPUTIME_ID" },
		{ CLOCK_MONOTONIC_RAW, "[time] CLOCK_MONOTONIC_RAW" }, { CLOCK_REALTIME_COARSE, "[time] CLOCK_REALTIME_COARSE" },
		{ CLOCK_MONOTONIC_COARSE, "[time] CLOCK_MONOTONIC_COARSE" }, { CLOCK_BOOTTIME, "[time] CLOCK_BOOTTIME" },
	};
	for (unsigned i = 0; i < sizeof ok / sizeof *ok; i++) {
		struct timespec t = { -1, -1 };
		CHECK(syscall(SYS_clock_gettime, ok[i].id, &t) == 0 && t.tv_sec >= 0 && t.tv_nsec >= 0 && t.tv_nsec < 1000000000, ok[i].text);
	}
	struct timespec t;
	CHECK_ERR(syscall(SYS_clock_gettime, 9999, &t), EINVAL, "[time] an unknown clock: EINVAL");
	CHECK_ERR(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, BADPTR), EFAULT, "[time] bad pointer: EFAULT");
	CHECK(syscall(SYS_clock_getres, CLOCK_MONOTONIC, &t) == 0 && ns(&t) > 0 && ns(&t) <= 10000000, "[time] clock_getres");
	long long a = now_ns(CLOCK_MONOTONIC), b;
	int back = 0;
	for (int i = 0; i < 2000; i++) {
		b = now_ns(CLOCK_MONOTONIC);
		back += b < a;
		a = b;
	}
	CHECK_EQ(back, 0, "[time] the monotonic clock never goes back");
	struct timeval tv;
	CHECK_OK(gettimeofday(&tv, NULL), "[time] gettimeofday");
	long long d = now_ns(CLOCK_REALTIME) / 1000 - (tv.tv_sec * 1000000LL + tv.tv_usec);
	CHECK(d >= 0 && d < 5000000, "[time] agrees with CLOCK_REALTIME");
	CHECK(syscall(SYS_time, NULL) - tv.tv_sec <= 5, "[time] and time()");
	long long c = now_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (volatile int i = 0; i < 1000000; i++)
		;
	CHECK(now_ns(CLOCK_PROCESS_CPUTIME_ID) > c, "[time] CPU time goes on while computing");
}

CASE(monotonic_across_cpus)
{
	/* a value read by one process is not larger than one that another reads later */
	int bad = 0;
	sh->v[0] = 0;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		while (!sh->w[0])
			__atomic_store_n(&sh->v[0], now_ns(CLOCK_MONOTONIC), __ATOMIC_SEQ_CST);
		_exit(0);
	}
	REQUIRE(AWAIT(sh->v[0] != 0));
	for (int i = 0; i < 2000; i++) {
		long long other = __atomic_load_n(&sh->v[0], __ATOMIC_SEQ_CST);
		bad += now_ns(CLOCK_MONOTONIC) < other;
	}
	sh->w[0] = 1;
	reap(pid);
	CHECK_EQ(bad, 0, "[time] the monotonic clock is one on all CPUs");
}

CASE(sleeps)
{
	struct timespec t = { 0, 20000000 }, bad = { 0, 1000000000 }, neg = { -1, 0 };
	long long a = now_ns(CLOCK_MONOTONIC);
	CHECK_OK(nanosleep(&t, NULL), "[time] nanosleep");
	CHECK(now_ns(CLOCK_MONOTONIC) - a >= 20000000, "[time] sleeps at least its time");
	CHECK_ERR(nanosleep(&bad, NULL), EINVAL, "[time] nsec of a whole second: EINVAL");
	CHECK_ERR(nanosleep(&neg, NULL), EINVAL, "[time] negative: EINVAL");
	CHECK_ERR(syscall(SYS_nanosleep, BADPTR, NULL), EFAULT, "[time] bad pointer: EFAULT");
	t.tv_nsec = 0;
	CHECK_OK(nanosleep(&t, NULL), "[time] of nothing returns at once");
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += 20000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	CHECK_OK(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), "[time] clock_nanosleep to an absolute time");
	CHECK(now_ns(CLOCK_MONOTONIC) >= ns(&until), "[time] not before it");
	CHECK_OK(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), "[time] one that is over: at once");
	CHECK_ERR(syscall(SYS_clock_nanosleep, 9999, 0, &t, NULL), EINVAL, "[time] an unknown clock: EINVAL");
	CHECK_ERR(syscall(SYS_clock_nanosleep, 9999, 0, NULL, NULL), EINVAL, "[time] before the time is read");
	CHECK_ERR(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, NULL, NULL), EOPNOTSUPP, "[time] so is one that can't be slept on: EOPNOTSUPP");
	/* the CPU clock of a process that does not exist */
	CHECK_ERR(syscall(SYS_clock_nanosleep, (int)(~4999999u << 3 | 2), 0, NULL, NULL), EFAULT, "[time] whose clock it is comes after: EFAULT");
	CHECK_ERR(syscall(SYS_clock_nanosleep, (int)(~4999999u << 3 | 2), 0, &t, NULL), EINVAL, "[time] nobody's: EINVAL");
	CHECK_ERR(syscall(SYS_clock_nanosleep, -5, 0, &t, NULL), EOPNOTSUPP, "[time] a device's clock: EOPNOTSUPP");
}

CASE(many_sleepers)
{
	/* twenty processes wake in order of their times */
	pid_t pid[20];
	long long start = now_ms();
	for (int i = 0; i < 20; i++) {
		pid[i] = MUST(fork());
		if (pid[i] == 0) {
			struct timespec t = { 0, (20 - i) * 3000000 };
			nanosleep(&t, NULL);
			_exit(now_ms() - start >= (20 - i) * 3 - 1 ? 0 : 1);
		}
	}
	int ok = 0;
	for (int i = 0; i < 20; i++)
		ok += reap(pid[i]) == 0;
	CHECK_EQ(ok, 20, "[time] twenty sleepers wake, none before its time");
}

CASE(itimer_real)
{
	struct itimerval it = { { 0, 0 }, { 0, 20000 } }, old;
	siglog_catch(SIGALRM, 0);
	long long a = now_ms();
	CHECK_OK(setitimer(ITIMER_REAL, &it, NULL), "[time] setitimer");
	CHECK(getitimer(ITIMER_REAL, &old) == 0 && old.it_value.tv_sec == 0 && old.it_value.tv_usec <= 20000, "[time] getitimer tells what is left");
	REQUIRE(AWAIT(siglog_count(0, SIGALRM) == 1));
	CHECK(now_ms() - a >= 19, "[time] SIGALRM, not before its time");
	CHECK_EQ(siglog_get(0, SIGALRM, 0)->code, SI_KERNEL, "[time] from the kernel");
	CHECK(getitimer(ITIMER_REAL, &old) == 0 && !old.it_value.tv_sec && !old.it_value.tv_usec, "[time] once: it is off");
	it.it_interval.tv_usec = 5000;
	it.it_value.tv_usec = 5000;
	MUST(setitimer(ITIMER_REAL, &it, NULL));
	CHECK(AWAIT(siglog_count(0, SIGALRM) >= 4), "[time] with an interval it comes again and again");
	it.it_value.tv_usec = it.it_interval.tv_usec = 0;
	CHECK_OK(setitimer(ITIMER_REAL, &it, &old), "[time] switched off");
	CHECK_EQ(old.it_interval.tv_usec, 5000, "[time] with the old setting told");
	int n = siglog_count(0, SIGALRM);
	struct timespec t = { 0, 30000000 };
	nanosleep(&t, NULL);
	CHECK_EQ(siglog_count(0, SIGALRM), n, "[time] no more signals come");
	it.it_value.tv_usec = 1000000;
	CHECK_ERR(setitimer(ITIMER_REAL, &it, NULL), EINVAL, "[time] a whole second in usec: EINVAL");
	it.it_value.tv_usec = 0;
	it.it_value.tv_sec = -1;
	CHECK_ERR(setitimer(ITIMER_REAL, &it, NULL), EINVAL, "[time] negative: EINVAL");
	CHECK_ERR(setitimer(7, &it, NULL), EINVAL, "[time] an unknown timer: EINVAL");
	CHECK_ERR(syscall(SYS_setitimer, ITIMER_REAL, BADPTR, NULL), EFAULT, "[time] bad pointer: EFAULT");
}

CASE(alarm_call)
{
	siglog_catch(SIGALRM, 0);
	long long start = now_ms();
	CHECK_EQ(alarm(1000), 0, "[time] alarm: none before");
	unsigned left = alarm(500), passed = (now_ms() - start) / 1000 + 1;
	CHECK(left <= 1000 && left >= 1000 - passed, "[time] the second tells what was left");
	left = alarm(0);
	passed = (now_ms() - start) / 1000 + 1;
	CHECK(left <= 500 && left >= 500 - passed, "[time] 0 switches off");
	CHECK_EQ(alarm(0), 0, "[time] (off)");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct itimerval it = { { 0, 0 }, { 0, 1000 } };
		signal(SIGALRM, SIG_DFL);
		setitimer(ITIMER_REAL, &it, NULL);
		for (;;)
			pause();
	}
	CHECK_EQ(reap(pid), SIGALRM, "[time] SIGALRM kills by default");
}

CASE(itimer_cpu)
{
	struct itimerval it = { { 0, 0 }, { 0, 20000 } };
	siglog_catch(SIGVTALRM, 0);
	siglog_catch(SIGPROF, 0);
	CHECK_OK(setitimer(ITIMER_VIRTUAL, &it, NULL), "[time] ITIMER_VIRTUAL");
	CHECK_OK(setitimer(ITIMER_PROF, &it, NULL), "[time] ITIMER_PROF");
	long long end = now_ms() + deadline_ms;
	while ((!siglog_count(0, SIGVTALRM) || !siglog_count(0, SIGPROF)) && now_ms() < end)
		for (volatile int i = 0; i < 10000; i++)
			;
	CHECK_EQ(siglog_count(0, SIGVTALRM), 1, "[time] SIGVTALRM after user time");
	CHECK_EQ(siglog_count(0, SIGPROF), 1, "[time] SIGPROF after CPU time");
}

static long user_ms(const struct rusage *ru)
{
	return ru->ru_utime.tv_sec * 1000 + ru->ru_utime.tv_usec / 1000;
}

CASE(cpu_accounting)
{
	struct rusage ru;
	struct tms a, b;
	clock_t r0 = times(&a);
	getrusage(RUSAGE_SELF, &ru);
	long before = user_ms(&ru);
	long long end = now_ms() + deadline_ms;
	do {
		for (volatile int i = 0; i < 100000; i++)
			;
		getrusage(RUSAGE_SELF, &ru);
	} while (user_ms(&ru) < before + 40 && now_ms() < end);
	CHECK(user_ms(&ru) >= before + 40, "[time] getrusage: user time goes on");
	clock_t r1 = times(&b);
	CHECK(r1 - r0 >= 3, "[time] times returns ticks of 1/100 s");
	CHECK(b.tms_utime - a.tms_utime + b.tms_stime - a.tms_stime >= 2, "[time] and counts user time");
	CHECK(b.tms_cutime == 0 && b.tms_cstime == 0, "[time] none for children");
	/* Linux counts pages by CPU, and sees less than there are of a small program. */
	char *some = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(some != MAP_FAILED);
	memset(some, 1, 1 << 20);
	getrusage(RUSAGE_SELF, &ru);
	CHECK(ru.ru_maxrss > 0 && ru.ru_minflt > 0, "[time] maxrss and faults");
	CHECK_ERR(syscall(SYS_getrusage, 99, &ru), EINVAL, "[time] getrusage of an unknown: EINVAL");
	CHECK_ERR(syscall(SYS_getrusage, RUSAGE_SELF, BADPTR), EFAULT, "[time] bad pointer: EFAULT");
	CHECK_OK(syscall(SYS_getrusage, RUSAGE_THREAD, &ru), "[time] RUSAGE_THREAD");
}

CASE(adjusting)
{
	struct timex t;
	memset(&t, 0, sizeof t);
	long long before = now_ns(CLOCK_REALTIME) / 1000;
	int state = syscall(SYS_adjtimex, &t);
	CHECK(state >= 0 && state <= 5, "[time] adjtimex without a mode reads");
	CHECK(t.tick == 10000 && t.tolerance == 32768000 && t.precision >= 1, "[time] tick, tolerance, precision");
	CHECK((state == TIME_ERROR) == ((t.status & STA_UNSYNC) != 0), "[time] a clock that nobody keeps is TIME_ERROR");
	long long now = now_ns(CLOCK_REALTIME) / 1000, told = t.time.tv_sec * 1000000LL + t.time.tv_usec / (t.status & STA_NANO ? 1000 : 1);
	CHECK(told >= before && told <= now, "[time] and the time");
	CHECK_ERR(syscall(SYS_adjtimex, BADPTR), EFAULT, "[time] bad pointer: EFAULT");
	CHECK_EQ(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &t), state, "[time] clock_adjtime of CLOCK_REALTIME is the same");
	CHECK_ERR(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &t), EOPNOTSUPP, "[time] of CLOCK_MONOTONIC: EOPNOTSUPP");
	CHECK_ERR(syscall(SYS_clock_adjtime, -6, &t), EOPNOTSUPP, "[time] of a CPU clock too");
	CHECK_ERR(syscall(SYS_clock_adjtime, 99, &t), EINVAL, "[time] of none: EINVAL");
	CHECK_ERR(syscall(SYS_clock_adjtime, 99, BADPTR), EFAULT, "[time] bad pointer first: EFAULT");
	t.modes = 0x8000;
	CHECK_ERR(syscall(SYS_adjtimex, &t), EINVAL, "[time] half of adjtime's mode: EINVAL");
	t.modes = ADJ_OFFSET_SS_READ;
	CHECK(syscall(SYS_adjtimex, &t) >= 0, "[time] anyone may ask for what is left of an adjustment");
	if (geteuid() == 0) {
		t.modes = ADJ_TICK;
		t.tick = 8000;
		CHECK_ERR(syscall(SYS_adjtimex, &t), EINVAL, "[time] a tick that is far off: EINVAL");
		t.modes = ADJ_SETOFFSET;
		t.time.tv_sec = 0;
		t.time.tv_usec = 1000000;
		CHECK_ERR(syscall(SYS_adjtimex, &t), EINVAL, "[time] a step of 10^6 us: EINVAL");
		t.time.tv_usec = 0;
		CHECK(syscall(SYS_adjtimex, &t) >= 0, "[time] a step of nothing");
	}
	pid_t pid = MUST(fork());
	if (pid == 0) {
		if (geteuid() == 0)
			MUST(setresuid(1, 1, 1));
		t.modes = ADJ_STATUS;
		_exit(syscall(SYS_adjtimex, &t) == -1 ? errno : 0);
	}
	CHECK_EQ(reap(pid), EPERM << 8, "[time,cred] a change without CAP_SYS_TIME: EPERM");
}
