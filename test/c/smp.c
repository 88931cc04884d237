/* smp.c - what one CPU does to memory must count on the others at once: TLB, copy-on-write, preemption, migration. */
#include "lib/tap.h"

#include <pthread.h>
#include <setjmp.h>

#define PAGE 4096UL

static int cpus(void)
{
	unsigned long m[16] = { 0 };
	int n = 0;
	if (syscall(SYS_sched_getaffinity, 0, sizeof m, m) < 0)
		return 1;
	for (int i = 0; i < 16; i++)
		n += __builtin_popcountl(m[i]);
	return n;
}

/* A thread that writes a counter to *cell until told to stop; a fault parks it until `go_on`. */
static volatile unsigned long *cell;
static volatile int stop_writer, parked, go_on;
static __thread sigjmp_buf fault_back;

static void on_segv(int sig)
{
	(void)sig;
	siglongjmp(fault_back, 1);
}

static void *writer(void *x)
{
	static volatile unsigned long i;	/* survives the longjmp */
	while (!stop_writer) {
		if (sigsetjmp(fault_back, 1)) {
			__atomic_add_fetch(&parked, 1, __ATOMIC_SEQ_CST);
			while (!go_on && !stop_writer)
				sched_yield();
			go_on = 0;
		} else {
			while (!stop_writer)
				*cell = ++i;
		}
	}
	return x;
}

static pthread_t start_writer(void *at)
{
	pthread_t t;
	signal(SIGSEGV, on_segv);
	cell = at;
	stop_writer = parked = go_on = 0;
	REQUIRE(pthread_create(&t, NULL, writer, NULL) == 0);
	REQUIRE(AWAIT(*cell != 0));
	return t;
}

static void pause_a_little(void)
{
	for (volatile int i = 0; i < 3000; i++)
		;
}

CASE_T(mprotect_reaches_all, 60)
{
	int n = iterations(300) / 3 + 1, late = 0;
	char *p = map_pages(1);
	pthread_t t = start_writer(p);
	for (int i = 0; i < n; i++) {
		MUST(mprotect(p, PAGE, PROT_READ));
		unsigned long a = *cell;
		pause_a_little();
		late += *cell != a;
		MUST(mprotect(p, PAGE, PROT_READ | PROT_WRITE));
		if (parked) {
			parked = 0;
			go_on = 1;
		}
		unsigned long b = *cell;
		REQUIRE(AWAIT(*cell != b || parked));
	}
	stop_writer = 1;
	pthread_join(t, NULL);
	CHECK_EQ(late, 0, "[mm] after mprotect has returned no other thread can write");
}

CASE_T(munmap_reaches_all, 60)
{
	/* the page is replaced: the writer must write to the new one or fault, never to the old frame, which another has by then */
	int n = iterations(300) / 3 + 1, lost = 0;
	/* far away, so that no other mapping is placed there while it is free */
	char *p = mmap((void *)0x5f0000000000, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	REQUIRE(p != MAP_FAILED);
	pthread_t t = start_writer(p);
	for (int i = 0; i < n; i++) {
		MUST(munmap(p, PAGE));
		/* the freed frame is likely to be handed out here */
		unsigned long *q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		REQUIRE(q != MAP_FAILED);
		for (int k = 0; k < 512; k++)
			q[k] = 0;
		pause_a_little();
		for (int k = 0; k < 512; k++)
			lost += q[k] != 0;
		munmap(q, PAGE);
		REQUIRE(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (void *)p);
		if (parked) {
			parked = 0;
			go_on = 1;
		}
		REQUIRE(AWAIT(*cell != 0 || parked));
		if (parked) {
			parked = 0;
			go_on = 1;
		}
	}
	stop_writer = 1;
	pthread_join(t, NULL);
	CHECK_EQ(lost, 0, "[mm] after munmap has returned no other thread reaches the freed page");
}

CASE_T(fork_is_a_snapshot, 60)
{
	/* a thread writes while another forks: the child's copy must stand still */
	int n = iterations(300) / 3 + 1, moved = 0, dead = 0;
	char *p = map_pages(1);
	pthread_t t = start_writer(p);
	for (int i = 0; i < n; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			unsigned long a = *cell;
			pause_a_little();
			syscall(SYS_exit_group, *cell != a);
		}
		unsigned long a = *cell;
		REQUIRE(AWAIT(*cell != a));	/* the writer goes on, in the parent's copy */
		int st = reap(pid);
		moved += st == 1 << 8;
		dead += st != 0 && st != 1 << 8;
	}
	stop_writer = 1;
	pthread_join(t, NULL);
	CHECK_EQ(moved, 0, "[mm,6.1] fork with a writing thread: the child's memory is a snapshot");
	CHECK_EQ(dead, 0, "[mm,6.1] and the children live");
}

static volatile char *shared_region;
static void *toucher(void *x)
{
	/* each thread touches every page once, in its own order */
	long me_nr = (long)x, bad = 0;
	for (int round = 0; round < 64; round++) {
		int page = (round * 7 + me_nr * 13) % 64;
		__atomic_add_fetch(&shared_region[page * PAGE + 8 * me_nr], 1, __ATOMIC_SEQ_CST);
	}
	return (void *)bad;
}

CASE_T(faults_together, 60)
{
	int n = iterations(300) / 3 + 1, bad = 0;
	for (int i = 0; i < n; i++) {
		pthread_t t[4];
		shared_region = map_pages(64);
		for (long k = 0; k < 4; k++)
			REQUIRE(pthread_create(&t[k], NULL, toucher, (void *)k) == 0);
		for (int k = 0; k < 4; k++)
			pthread_join(t[k], NULL);
		for (int pg = 0; pg < 64; pg++)
			for (int k = 0; k < 4; k++)
				bad += shared_region[pg * PAGE + 8 * k] != 1;
		munmap((void *)shared_region, 64 * PAGE);
	}
	CHECK_EQ(bad, 0, "[mm] threads that fault on the same pages at once all write to the same one");
}

CASE_T(cow_by_threads, 60)
{
	/* after a fork the threads of the parent break the sharing of the same pages at once */
	int n = iterations(300) / 3 + 1, bad = 0;
	for (int i = 0; i < n; i++) {
		pthread_t t[4];
		shared_region = map_pages(64);
		memset((void *)shared_region, 0, 64 * PAGE);
		sh->w[0] = 0;
		pid_t pid = MUST(fork());
		if (pid == 0) {
			while (!sh->w[0])
				sched_yield();
			for (int o = 0; o < (int)(64 * PAGE); o += 64)
				if (shared_region[o])
					syscall(SYS_exit_group, 1);
			syscall(SYS_exit_group, 0);
		}
		for (long k = 0; k < 4; k++)
			REQUIRE(pthread_create(&t[k], NULL, toucher, (void *)k) == 0);
		for (int k = 0; k < 4; k++)
			pthread_join(t[k], NULL);
		sh->w[0] = 1;
		bad += reap(pid) != 0;
		for (int pg = 0; pg < 64; pg++)
			for (int k = 0; k < 4; k++)
				bad += shared_region[pg * PAGE + 8 * k] != 1;
		munmap((void *)shared_region, 64 * PAGE);
	}
	CHECK_EQ(bad, 0, "[mm] threads that break copy-on-write at once lose no write, and the child sees none");
}

static void *mapper(void *x)
{
	long n = (long)x, bad = 0;
	for (long i = 0; i < n; i++) {
		char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) {
			bad++;
			continue;
		}
		for (int k = 0; k < 4; k++)
			bad += p[k * PAGE] != 0;
		memset(p, (int)i, 4 * PAGE);
		mprotect(p + PAGE, PAGE, PROT_READ);
		bad += p[PAGE] != (char)i;
		munmap(p + 2 * PAGE, PAGE);
		munmap(p, 4 * PAGE);
	}
	return (void *)bad;
}

CASE_T(map_together, 60)
{
	pthread_t t[4];
	long n = iterations(300), bad = 0;
	for (int k = 0; k < 4; k++)
		REQUIRE(pthread_create(&t[k], NULL, mapper, (void *)n) == 0);
	for (int k = 0; k < 4; k++) {
		void *r;
		pthread_join(t[k], &r);
		bad += (long)r;
	}
	CHECK_EQ(bad, 0, "[mm] threads that map and unmap at once get memory of their own, and zeros");
}

/* ---- registers across preemption and migration ---- */

static void *float_spinner(void *x)
{
	/* a sum whose result is known; SSE and x87 state must survive every switch */
	long k = (long)x;
	volatile double d = 0;
	volatile long double l = 0;
	long rounds = sh->v[5];
	for (long i = 0; i < rounds; i++) {
		d = d * 0.5 + k;
		l = l * 0.25L + k;
	}
	double wd = 2.0 * k, wl = k / 0.75;
	return (void *)(long)((d - wd > 1e-9 || wd - d > 1e-9) + ((double)l - wl > 1e-9 || wl - (double)l > 1e-9));
}

CASE_T(fpu_state, 60)
{
	pthread_t t[6];
	long bad = 0;
	sh->v[5] = iterations(300) * 500;
	for (long k = 0; k < 6; k++)
		REQUIRE(pthread_create(&t[k], NULL, float_spinner, (void *)(k + 1)) == 0);
	for (int k = 0; k < 6; k++) {
		void *r;
		pthread_join(t[k], &r);
		bad += (long)r;
	}
	CHECK_EQ(bad, 0, "[sched] floating-point state survives preemption and migration");
}

CASE(fpu_inherited)
{
	/* a child starts with the parent's FP control words and registers */
	unsigned csr = 0x1f80 | 0x6000, got = 0;
	double v = 3.25;
	__asm__ volatile("ldmxcsr %0; movsd %1, %%xmm5" : : "m"(csr), "m"(v) : "xmm5");
	long pid = raw_clone(SIGCHLD);
	double w = 0;
	__asm__ volatile("stmxcsr %0; movsd %%xmm5, %1" : "=m"(got), "=m"(w));
	if (pid == 0)
		syscall(SYS_exit_group, got == csr ? 0 : 1);
	unsigned dfl = 0x1f80;
	__asm__ volatile("ldmxcsr %0" : : "m"(dfl));
	CHECK_EQ(reap(pid), 0, "[6.19] a fork child inherits the floating-point control word");
	CHECK_EQ(got, csr, "[6.19] and the parent keeps it over the call");
}

CASE(fpu_of_new_image)
{
	unsigned csr = 0x1f80 | 0x6000;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		__asm__ volatile("ldmxcsr %0" : : "m"(csr));
		exec_self("csr", NULL, NULL, NULL);
		_exit(98);
	}
	CHECK_EQ(reap(pid), 0, "[10.10] exec resets the floating-point state");
}

HELPER(csr)
{
	unsigned got;
	__asm__ volatile("stmxcsr %0" : "=m"(got));
	return (got & ~0x3fu) == 0x1f80 ? 0 : 1;
}

CASE_T(migration, 60)
{
	unsigned long m[16] = { 0 };
	int n = iterations(300), wrong = 0;
	if (cpus() < 2) {
		tap_skip("[sched] migration between CPUs", "needs 2 CPUs");
		return;
	}
	REQUIRE(syscall(SYS_sched_getaffinity, 0, sizeof m, m) > 0);
	int cpu[2], found = 0;
	for (int i = 0; i < 1024 && found < 2; i++)
		if (m[i / 64] >> i % 64 & 1)
			cpu[found++] = i;
	for (int i = 0; i < n; i++) {
		unsigned long one[16] = { 0 };
		unsigned now = 9999;
		int c = cpu[i & 1];
		one[c / 64] = 1UL << c % 64;
		wrong += syscall(SYS_sched_setaffinity, 0, sizeof one, one) != 0;
		syscall(SYS_getcpu, &now, NULL, NULL);
		wrong += now != (unsigned)c;
	}
	CHECK_EQ(wrong, 0, "[sched] sched_setaffinity moves the caller before it returns");
	struct agent *a = spawn(NULL);
	CHECK_EQ(call(a, ag_getpid, 0), a->pid, "[sched] (a child runs)");
	retire(a, NULL);
}

/* ---- a file is cut off while who maps it forks ---- */

static bool raises_sigbus(volatile char *p)
{
	if (sigsetjmp(fault_back, 1))
		return true;
	(void)*p;
	return false;
}

/* In the child: both pages are gone with the file's end, the clean one and the written one. */
static int look_after_cut(volatile char *p, int round)
{
	signal(SIGBUS, on_segv);
	while (sh->w[1] != round)
		sched_yield();
	return raises_sigbus(p) + 2 * raises_sigbus(p + PAGE);
}

CASE_T(truncate_races_with_fork, 120)
{
	int n = iterations(300), kept = 0, kept_written = 0, kept_parent = 0;
	int fd = MUST(open(tmp_path("cut"), O_RDWR | O_CREAT, 0644));
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	REQUIRE(p != MAP_FAILED);
	/* makes the fork long, so that the cut falls into it now and then */
	char *ballast = map_pages(256);
	memset(ballast, 1, 256 * PAGE);
	pid_t cutter = MUST(fork());
	if (cutter == 0) {
		for (int i = 1; i <= n; i++) {
			while (sh->w[0] != i)
				if (getppid() == 1)
					_exit(0);
			for (volatile int k = 0; k < (i % 60) * 300; k++)
				;
			if (ftruncate(fd, 0))
				_exit(1);
			sh->w[1] = i;
		}
		_exit(0);
	}
	for (int i = 1; i <= n; i++) {
		MUST(ftruncate(fd, 2 * PAGE));
		(void)*(volatile char *)p;
		p[PAGE] = 1;
		sh->w[0] = i;
		pid_t pid = MUST(fork());
		if (pid == 0)
			_exit(look_after_cut(p, i));
		int st = reap(pid);
		REQUIRE(WIFEXITED(st));
		kept += !(WEXITSTATUS(st) & 1);
		kept_written += !(WEXITSTATUS(st) & 2);
		kept_parent += look_after_cut(p, i) != 3;
	}
	CHECK_EQ(reap(cutter), 0, "[mm] the file was cut off each time");
	CHECK_EQ(kept, 0, "[mm] a child whose fork raced with ftruncate has no page of what was cut off");
	CHECK_EQ(kept_written, 0, "[mm] nor a copy of one");
	CHECK_EQ(kept_parent, 0, "[mm] nor has its parent");
}

/* ---- fairness and latency ---- */

static long burn_until_told(long slot)
{
	struct timespec t;
	while (!sh->w[1])
		;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	sh->v[slot] = t.tv_sec * 1000 + t.tv_nsec / 1000000;
	return 0;
}

static long mask_is(long cpu)
{
	unsigned long m[16] = { 0 };
	unsigned now = 9999, other = 0;
	long n = syscall(SYS_sched_getaffinity, 0, sizeof m, m);
	for (int i = 0; i < 50; i++) {
		syscall(SYS_getcpu, &now, NULL, NULL);
		other += now != (unsigned)cpu;
		sched_yield();
	}
	for (int i = 0; i < 16; i++)
		if (m[i] != (i == cpu / 64 ? 1UL << cpu % 64 : 0))
			return 0;
	return n > 0 && !other;
}

/* Has each of the three at least half of its share by now? */
static bool fair_shares(struct agent **a)
{
	long sum = 0, min = LONG_MAX;
	for (int i = 0; i < 3; i++) {
		struct timespec t;
		clockid_t c;
		REQUIRE(clock_getcpuclockid(a[i]->pid, &c) == 0 && clock_gettime(c, &t) == 0);
		long ms = t.tv_sec * 1000 + t.tv_nsec / 1000000;
		sum += ms;
		min = ms < min ? ms : min;
	}
	return sum >= 300 && min * 6 >= sum;
}

CASE_T(fairness, 60)
{
	/* three spinning processes on one CPU for a while: each gets its share */
	unsigned cpu = 0;
	unsigned long one[16] = { 0 };
	syscall(SYS_getcpu, &cpu, NULL, NULL);
	one[cpu / 64] = 1UL << cpu % 64;
	MUST(syscall(SYS_sched_setaffinity, 0, sizeof one, one));
	struct agent *a[3];
	for (int i = 0; i < 3; i++)
		a[i] = spawn(NULL);
	CHECK(call(a[0], mask_is, cpu), "[sched] a child inherits the CPUs it may run on, and runs nowhere else");
	for (int i = 0; i < 3; i++)
		post(a[i], burn_until_told, 10 + i);
	/* a pause of the whole machine is charged to who runs at that moment, and makes the sleeper late: others follow */
	long long late = LLONG_MAX, end = now_ms() + deadline_ms;
	bool fair = false;
	for (int round = 0; (!fair || late >= 2000) && (round < 10 || now_ms() < end); round++) {
		long long start = now_ms();
		struct timespec ts = { 0, 600000000 };
		nanosleep(&ts, NULL);
		if (now_ms() - start - 600 < late)
			late = now_ms() - start - 600;
		fair = fair_shares(a);
	}
	sh->w[1] = 1;
	for (int i = 0; i < 3; i++)
		finish(a[i]);
	tap_note("shares: %ld %ld %ld ms; the sleeper was %lld ms late", sh->v[10], sh->v[11], sh->v[12], late);
	CHECK(fair, "[sched] three spinning processes on one CPU each get at least half of a fair share");
	CHECK(late < 2000, "[sched] and a sleeper wakes among them");
	for (int i = 0; i < 3; i++)
		retire(a[i], NULL);
}
