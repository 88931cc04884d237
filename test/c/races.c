/* races.c - section 13: what must hold however the events interleave.  Other races are with their subject:
   13.4 and 13.17 in exec.c, 13.6 in wait_events.c, 13.10 in pdeath.c, 13.11 in signal_stop.c, 13.13 in groups.c,
   13.16 in fork.c and exhaust.c.  6.16 is here. */
#include "lib/tap.h"

#include <pthread.h>

/* Jitter: a delay that differs between iterations and processes, no synchronisation. */
static void jitter(unsigned n)
{
	for (volatile unsigned i = 0; i < n % 97 * 23; i++)
		;
}

static void quiet_exit(int code) { syscall(SYS_exit_group, code); }

/* ---- 13.1 ---- */

CASE_T(subreaper_dies, 60)
{
	/* top (subreaper) - M (subreaper) - 4 workers - 4 children each; M dies at any time; all are reaped once */
	int n = iterations(300), lost = 0, errors = 0;
	long created_all = 0, reaped_all = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int i = 0; i < n; i++) {
		sh->v[0] = 0;	/* created below M */
		sh->v[1] = 0;	/* reaped by M */
		pid_t m = MUST(fork());
		if (m == 0) {
			prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
			for (int w = 0; w < 4; w++) {
				if (fork() == 0) {
					for (int k = 0; k < 4; k++) {
						pid_t c = fork();
						if (c == 0) {
							jitter(i * 13 + w * 5 + k * 3);
							quiet_exit(0);
						}
						if (c > 0)
							__atomic_add_fetch(&sh->v[0], 1, __ATOMIC_SEQ_CST);
					}
					jitter(i * 7 + w);
					quiet_exit(0);
				}
				__atomic_add_fetch(&sh->v[0], 1, __ATOMIC_SEQ_CST);
			}
			for (int k = 0; k < i % 21; k++)
				if (waitpid(-1, NULL, i & 1 ? WNOHANG : 0) > 0)
					__atomic_add_fetch(&sh->v[1], 1, __ATOMIC_SEQ_CST);
			quiet_exit(0);
		}
		long r, here = 0;
		while ((r = reap_any(NULL)) > 0)
			here++;
		errors += r != -ECHILD;
		lost += here - 1 + sh->v[1] != sh->v[0];
		created_all += sh->v[0] + 1;
		reaped_all += here + sh->v[1];
	}
	CHECK_EQ(lost, 0, "[13.1] a subreaper dies while its grandchildren exit: each process is reaped exactly once");
	CHECK_EQ(reaped_all, created_all, "[13.1,I2] created equals reaped");
	CHECK_EQ(errors, 0, "[13.1] and then there is no child: ECHILD");
}

/* ---- 13.2 ---- */

CASE_T(set_against_fork, 60)
{
	/* descendants fork while the flag is set; a parent that dies after SET hands its child to the setter */
	int n = iterations(300), wrong = 0;
	for (int i = 0; i < n; i++) {
		sh->w[0] = sh->w[1] = 0;
		sh->v[0] = 0;
		pid_t s = MUST(fork());
		if (s == 0) {
			if (fork() == 0) {			/* p, forks q, which forks the orphan to be */
				jitter(i);
				pid_t q = fork();
				if (q == 0) {
					jitter(i * 3);
					pid_t c = fork();
					if (c == 0) {
						sh->v[0] = getpid();
						set_word(&sh->w[0], 1);
						while (!__atomic_load_n(&sh->w[1], __ATOMIC_SEQ_CST))
							sched_yield();
						quiet_exit(0);
					}
					while (!__atomic_load_n(&sh->w[0], __ATOMIC_SEQ_CST))
						sched_yield();
					while (!__atomic_load_n(&sh->w[2], __ATOMIC_SEQ_CST))
						sched_yield();
					quiet_exit(0);		/* after SET has returned */
				}
				waitpid(q, NULL, 0);
				quiet_exit(0);
			}
			jitter(i * 5);
			prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
			__atomic_store_n(&sh->w[2], 1, __ATOMIC_SEQ_CST);
			pid_t p = waitpid(-1, NULL, 0);		/* p: by then its child q is reaped */
			bool ok = p > 0 && sh->v[0] > 0 && proc_stat(sh->v[0], 4) == getpid();
			__atomic_store_n(&sh->w[1], 1, __ATOMIC_SEQ_CST);
			ok = ok && waitpid(-1, NULL, 0) == sh->v[0] && waitpid(-1, NULL, 0) < 0 && errno == ECHILD;
			quiet_exit(ok ? 0 : 1);
		}
		wrong += reap(s) != 0;
		sh->w[2] = 0;
	}
	CHECK_EQ(wrong, 0, "[13.2,I7] a parent that dies after SET has returned hands its child to the setter");
}

/* ---- 13.5 ---- */

CASE_T(reaper_by_signal, 60)
{
	/* a reaper that sleeps in sigwait(SIGCHLD) and then reaps with WNOHANG until there is none, never misses one */
	int n = iterations(300), wrong = 0;
	for (int i = 0; i < n; i++) {
		pid_t r = MUST(fork());
		if (r == 0) {
			sigset_t s;
			int made = 0, got = 0;
			struct timespec ts = { deadline_ms / 1000, 0 };
			sigemptyset(&s);
			sigaddset(&s, SIGCHLD);
			sigprocmask(SIG_BLOCK, &s, NULL);
			prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
			for (int w = 0; w < 3; w++, made += 3)
				if (fork() == 0) {
					for (int k = 0; k < 2; k++)
						if (fork() == 0) {
							jitter(i * 3 + k * 7 + w);
							quiet_exit(0);
						}
					jitter(i * 5 + w);
					quiet_exit(0);
				}
			while (got < made) {
				if (sigtimedwait(&s, NULL, &ts) < 0)
					quiet_exit(1);		/* a wake-up was lost */
				pid_t p;
				while ((p = waitpid(-1, NULL, WNOHANG)) > 0)
					got++;
				if (p < 0)
					break;
			}
			quiet_exit(got == made ? 0 : 2);
		}
		wrong += reap(r) != 0;
	}
	CHECK_EQ(wrong, 0, "[13.5,I4] a reaper driven by sigwait and WNOHANG reaps all, adoptions included");
}

/* ---- 6.16 ---- */

static volatile sig_atomic_t told;
static void tell(int sig) { told = sig; }

CASE_T(group_signal_against_fork, 60)
{
	/* a group is signalled while its member forks: the child inherits the parent's memory from after the handler, or
	   gets the signal itself */
	enum { CHILDREN = 6 };
	int n = iterations(300), wrong = 0, during = 0;
	for (int i = 0; i < n; i++) {
		sh->w[0] = sh->w[1] = sh->w[2] = 0;
		told = 0;
		pid_t p = MUST(fork());
		if (p == 0) {
			int missed = 0, st, before = 0;
			setpgid(0, 0);
			signal(SIGUSR1, tell);
			set_word(&sh->w[0], 1);
			for (int k = 0; k < CHILDREN; k++) {
				before += !told;
				__atomic_store_n(&sh->w[2], k, __ATOMIC_SEQ_CST);
				if (fork() == 0) {
					while (!__atomic_load_n(&sh->w[1], __ATOMIC_SEQ_CST))
						sched_yield();
					quiet_exit(told ? 0 : 1);
				}
			}
			while (waitpid(-1, &st, 0) > 0)
				missed += st != 0;
			quiet_exit(missed ? 99 : before);
		}
		wait_word(&sh->w[0], 1);
		while (__atomic_load_n(&sh->w[2], __ATOMIC_SEQ_CST) < i % CHILDREN)
			;
		for (volatile int k = 0; k < i % 29 * 900; k++)
			;
		kill(-p, SIGUSR1);
		__atomic_store_n(&sh->w[1], 1, __ATOMIC_SEQ_CST);
		int st = reap(p);
		wrong += !WIFEXITED(st) || WEXITSTATUS(st) > CHILDREN;
		during += WIFEXITED(st) && WEXITSTATUS(st) > 0 && WEXITSTATUS(st) < CHILDREN;
	}
	CHECK_EQ(wrong, 0, "[6.16] a signal to a group during a fork reaches the child as well");
	tap_note("the signal came between the forks in %d of %d", during, n);
}

/* ---- 13.7 ---- */

static void *maker(void *x)
{
	long pid = raw_clone(SIGCHLD);
	if (pid == 0) {
		while (!sh->w[3])
			syscall(SYS_sched_yield);
		syscall(SYS_exit_group, 7);
	}
	*(long *)x = pid;
	set_word(&sh->w[0], 1);
	sys_exit_thread(0);
	return NULL;
}

static void *waiter(void *x)
{
	int st = 0;
	long r = sys_wait4(-1, &st, x ? __WNOTHREAD : 0, NULL);
	long e = errno;
	return (void *)(r > 0 ? (long)st : -e);
}

CASE_T(thread_exit_with_children, 60)
{
	/* a thread makes a child and exits, the child passes to the leader; siblings wait with and without __WNOTHREAD */
	int n = iterations(300), wrong = 0;
	for (int i = 0; i < n; i++) {
		sh->w[0] = sh->w[3] = 0;
		pid_t p = MUST(fork());
		if (p == 0) {
			pthread_t m, a, b;
			long child = 0;
			void *ra, *rb;
			pthread_create(&m, NULL, maker, &child);
			jitter(i);
			wait_word(&sh->w[0], 1);
			pthread_create(&a, NULL, waiter, NULL);
			pthread_create(&b, NULL, waiter, (void *)1);
			jitter(i * 3);
			sh->w[3] = 1;
			pthread_join(a, &ra);
			pthread_join(b, &rb);
			quiet_exit((long)ra == 7 << 8 && (long)rb == -ECHILD && waitpid(-1, NULL, 0) < 0 ? 0 : 1);
		}
		wrong += reap(p) != 0;
	}
	CHECK_EQ(wrong, 0, "[13.7] a child of an exiting thread: a sibling's wait gets it, one with __WNOTHREAD has none");
}

/* ---- 13.8, the part without pidfds ---- */

static volatile int go;
static void *reaper_thread(void *x)
{
	int st;
	while (!go)
		sched_yield();
	long r = x ? sys_wait4((long)x, &st, 0, NULL) : sys_wait4(-1, &st, 0, NULL);
	return (void *)(r > 0 ? 1L : errno == ECHILD ? 0L : 2L);
}

CASE_T(one_reap, 60)
{
	int n = iterations(300), wrong = 0;
	for (int i = 0; i < n; i++) {
		pthread_t t[3];
		go = 0;
		pid_t pid = MUST(fork());
		if (pid == 0) {
			jitter(i * 7);
			quiet_exit(0);
		}
		for (int k = 0; k < 3; k++)
			REQUIRE(pthread_create(&t[k], NULL, reaper_thread, k == 1 ? NULL : (void *)(long)pid) == 0);
		go = 1;
		long sum = 0;
		for (int k = 0; k < 3; k++) {
			void *r;
			pthread_join(t[k], &r);
			sum += (long)r;
		}
		wrong += sum != 1;
	}
	CHECK_EQ(wrong, 0, "[13.8,4.28] three threads wait for one child, by pid and for any: one success, the others ECHILD");
}

/* ---- 13.12 ---- */

CASE_T(ignore_against_exit, 60)
{
	int n = iterations(300), wrong = 0, by_wait = 0;
	for (int i = 0; i < n; i++) {
		pid_t p = MUST(fork());
		if (p == 0) {
			int got = 0;
			pid_t kid[4];
			for (int k = 0; k < 4; k++) {
				kid[k] = fork();
				if (kid[k] == 0) {
					jitter(i * 3 + k * 11);
					quiet_exit(0);
				}
			}
			jitter(i * 5);
			signal(SIGCHLD, SIG_IGN);
			while (waitpid(-1, NULL, 0) > 0)
				got++;
			if (errno != ECHILD || got > 4)
				quiet_exit(99);
			for (int k = 0; k < 4; k++)	/* neither a child nor a zombie of ours is left */
				if (proc_stat(kid[k], 4) == getpid())
					quiet_exit(98);
			quiet_exit(got);
		}
		int st = reap(p);
		wrong += !WIFEXITED(st) || WEXITSTATUS(st) > 4;
		by_wait += WIFEXITED(st) ? WEXITSTATUS(st) : 0;
	}
	CHECK_EQ(wrong, 0, "[13.12,I3] SIG_IGN set while children exit: each is reaped or autoreaped, none is left after ECHILD");
	tap_note("%d of %d were reaped by wait", by_wait, 4 * n);
}

/* ---- 13.14 ---- */

static void *late_thread(void *x)
{
	jitter((long)x);
	sys_exit_thread(0);
	return NULL;
}

CASE_T(reaper_threads_exit, 60)
{
	/* top (subreaper) - R (subreaper, two threads that exit at any time) - M - orphan to be: it gets to R or to top, never lost */
	int n = iterations(300), wrong = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int i = 0; i < n; i++) {
		sh->v[0] = 0;
		pid_t r = MUST(fork());
		if (r == 0) {
			pthread_t t;
			prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
			pid_t m = fork();
			if (m == 0) {
				if (fork() == 0) {
					jitter(i * 11);
					quiet_exit(0);
				}
				__atomic_add_fetch(&sh->v[0], 1, __ATOMIC_SEQ_CST);
				jitter(i * 3);
				quiet_exit(0);
			}
			pthread_create(&t, NULL, late_thread, (void *)(long)(i * 5));
			jitter(i * 7);
			sys_exit_thread(0);	/* the leader exits, perhaps first, perhaps last */
		}
		int got = 0;
		long p;
		bool saw_r = false;
		while ((p = reap_any(NULL)) > 0) {
			saw_r |= p == r;
			got++;
		}
		/* nobody waits in R: its children come to us when it is dead */
		wrong += !saw_r || got != 3 || p != -ECHILD;
	}
	CHECK_EQ(wrong, 0, "[13.14] threads of a subreaper exit while it adopts: the orphan moves on and is reaped");
}

CASE_T(adoption_chain, 60)
{
	/* a chain of five subreapers dies from the inside out and from the outside in, at once */
	int n = iterations(300), wrong = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int i = 0; i < n; i++) {
		for (int depth = 0; depth < 6; depth++) {
			pid_t pid = fork();
			if (pid < 0)
				break;
			if (depth == 0 && pid > 0)
				goto top;
			if (pid > 0) {	/* this level: die after a while */
				prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
				jitter(i * (depth + 3) + depth * 31);
				quiet_exit(0);
			}
		}
		jitter(i);
		quiet_exit(0);
	top:;
		int got = 0;
		long p;
		while ((p = reap_any(NULL)) > 0)
			got++;
		wrong += got != 6 || p != -ECHILD;
	}
	CHECK_EQ(wrong, 0, "[13.1,13.14] a chain of subreapers that die in any order: all six are reaped above");
}

/* ---- accounting ---- */

CASE_T(children_time_monotone, 60)
{
	int n = iterations(300), back = 0;
	struct rusage ru;
	long long last = 0;
	for (int i = 0; i < n; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0)
			quiet_exit(0);
		reap(pid);
		getrusage(RUSAGE_CHILDREN, &ru);
		long long t = (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000LL + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec;
		back += t < last;
		last = t;
	}
	CHECK_EQ(back, 0, "[I9] RUSAGE_CHILDREN never goes back");
}

/* ---- 13.6 ---- */

static void *wait_two(void *x)
{
	long got = 0;
	int st;
	(void)x;
	while (sys_wait4(-1, &st, 0, NULL) > 0)
		got++;
	return (void *)got;
}

static void *idle_thread(void *x)
{
	(void)x;
	while (!sh->w[4])
		futex(&sh->w[4], 0, 0, NULL);
	return NULL;
}

CASE_T(wait_against_adoption, 60)
{
	/* thread A sleeps in wait(-1); M, another thread's child, dies at any time and leaves a child that is or will be a zombie */
	int n = iterations(300), wrong = 0;
	for (int i = 0; i < n; i++) {
		sh->w[4] = 0;
		pid_t p = MUST(fork());
		if (p == 0) {
			pthread_t a, idle;
			void *got;
			prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
			pthread_create(&idle, NULL, idle_thread, NULL);
			pid_t m = fork();
			if (m == 0) {
				if (fork() == 0) {
					jitter(i * 7);
					quiet_exit(0);
				}
				jitter(i * 11);
				quiet_exit(0);
			}
			pthread_create(&a, NULL, wait_two, NULL);
			pthread_join(a, &got);
			set_word(&sh->w[4], 1);
			quiet_exit((long)got == 2 ? 0 : 1);
		}
		wrong += reap(p) != 0;
	}
	CHECK_EQ(wrong, 0, "[13.6,I4] a wait that sleeps is woken by the adoption of a zombie, whichever thread adopts");
}

/* ---- 13.11, the part about vfork ---- */

HELPER(exit_5) { return 5; }

CASE_T(kill_against_vfork, 60)
{
	/* a vfork parent or its child is killed at any time around the child's exec */
	int n = iterations(300), wrong = 0, early = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int i = 0; i < n; i++) {
		bool kill_child = i & 1;
		sh->v[0] = 0;
		pid_t p = MUST(fork());
		if (p == 0) {
			pid_t c = vfork();
			if (c == 0) {
				__atomic_store_n(&sh->v[0], getpid(), __ATOMIC_SEQ_CST);
				for (volatile int k = 0; k < i % 7 * 300; k++)
					;
				exec_self("exit_5", NULL, NULL, NULL);
				_exit(99);
			}
			for (;;)
				pause();
		}
		while (!__atomic_load_n(&sh->v[0], __ATOMIC_SEQ_CST))
			sched_yield();
		jitter(i * 5);
		pid_t c = sh->v[0];
		int st;
		if (kill_child) {
			kill(c, SIGKILL);
			/* the parent goes on: it reaps, or sleeps in pause, and can be killed */
			REQUIRE(AWAIT(proc_state(p) == 'S'));
			kill(p, SIGKILL);
			wrong += reap(p) != SIGKILL;
			st = reap(c);
			wrong += st != SIGKILL && st != 5 << 8;
			early += st == SIGKILL;
		} else {
			kill(p, SIGKILL);
			wrong += reap(p) != SIGKILL;
			wrong += reap(c) != 5 << 8;	/* it lives on, to its own end */
		}
		wrong += reap_any(NULL) != -ECHILD;
	}
	CHECK_EQ(wrong, 0, "[13.11,I12] a vfork parent and its child die of their own signals only, and nobody is left waiting");
	tap_note("%d of %d children died before their end", early, n / 2);
}

/* ---- 13.16 ---- */

#define FORKERS 4
#define LIMIT 12

static void forker(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t pid[6];
		int made = 0;
		for (int k = 0; k < 6; k++) {
			pid[made] = fork();
			if (pid[made] == 0)
				quiet_exit(0);
			if (pid[made] < 0) {
				if (errno != EAGAIN)
					quiet_exit(1);
				sh->v[2] = 1;		/* the limit was met */
				break;
			}
			long now = __atomic_add_fetch(&sh->v[0], 1, __ATOMIC_SEQ_CST), max = sh->v[1];
			while (now > max && !__atomic_compare_exchange_n(&sh->v[1], &max, now, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
				;
			made++;
		}
		for (int k = 0; k < made; k++) {
			__atomic_sub_fetch(&sh->v[0], 1, __ATOMIC_SEQ_CST);	/* counted less before it is */
			if (waitpid(pid[k], NULL, 0) != pid[k])
				quiet_exit(2);
		}
	}
	quiet_exit(0);
}

CASE_T(forks_against_nproc, 60)
{
	NEED_ROOT("[13.16,I8] forks against RLIMIT_NPROC");
	int n = iterations(300), wrong = 0;
	struct rlimit rl = { LIMIT, LIMIT };
	sh->v[0] = sh->v[1] = sh->v[2] = 0;
	pid_t top = MUST(fork());
	if (top == 0) {
		pid_t f[FORKERS];
		int st, bad = 0;
		MUST(syscall(SYS_setresuid, 61240, 61240, 61240));
		setrlimit(RLIMIT_NPROC, &rl);
		for (int k = 0; k < FORKERS; k++) {
			f[k] = fork();
			if (f[k] == 0)
				forker(n / 4 + 1);
		}
		for (int k = 0; k < FORKERS; k++)
			bad += waitpid(f[k], &st, 0) != f[k] || st != 0;
		/* all reaped: there is exactly the rest of the limit again */
		int room = 0;
		pid_t last[LIMIT + 1];
		while (room <= LIMIT && (last[room] = fork()) != -1) {
			if (last[room] == 0)
				for (;;)
					pause();
			room++;
		}
		for (int k = 0; k < room; k++) {
			kill(last[k], SIGKILL);
			waitpid(last[k], NULL, 0);
		}
		quiet_exit(bad ? 1 : room == LIMIT - 1 ? 0 : 2);
	}
	wrong = reap(top);
	CHECK_EQ(wrong, 0, "[13.16,I8] after all are reaped the count is at its baseline");
	CHECK(sh->v[1] + 1 + FORKERS <= LIMIT + FORKERS, "[13.16] the count never exceeds the limit by more than the concurrent forkers");
	tap_note("at most %ld children of %d forkers with limit %d%s", sh->v[1], FORKERS, LIMIT, sh->v[2] ? "" : ", limit never met");
}
