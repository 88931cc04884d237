/* stress.c - many processes do everything at once; what counts is that all of them can be accounted for at the end. */
#include "lib/tap.h"

#include <dirent.h>
#include <pthread.h>

static unsigned seed;
static unsigned rnd(unsigned n)
{
	seed = seed * 1103515245 + 12345;
	return (seed >> 16) % n;
}

static bool over(void) { return __atomic_load_n(&sh->w[0], __ATOMIC_SEQ_CST) != 0; }

static void *idle_thread(void *x)
{
	for (long i = 0; i < (long)x && !over(); i++)
		sched_yield();
	return x;
}

static volatile int handled;
static void count(int sig)
{
	(void)sig;
	handled++;
}

#define MAXKIDS 4

/* Whether `pid` is a child of the caller still: a number of one that was autoreaped may be another's by now. */
static bool mine(pid_t pid)
{
	return pid && sys_waitid(P_PID, pid, NULL, WEXITED | WNOHANG | WNOWAIT | __WALL, NULL) == 0;
}

/* One process of the storm: random operations on itself and its own children, until the word says stop. */
static void storm(int depth)
{
	pid_t kid[MAXKIDS] = { 0 };
	seed = getpid() * 2654435761u;
	signal(SIGUSR1, count);
	signal(SIGTERM, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
	for (long op = 0; !over() && op < sh->v[10]; op++) {
		int i = rnd(MAXKIDS);
		switch (rnd(18)) {
		case 0 ... 3:
			if (!kid[i] && depth < 4) {
				unsigned long flags = rnd(8) ? SIGCHLD : rnd(2) ? 0 : SIGUSR1;
				long pid = raw_clone(flags);
				if (pid == 0) {
					__atomic_add_fetch(&sh->v[0], 1, __ATOMIC_SEQ_CST);
					storm(depth + 1);
				}
				kid[i] = pid > 0 ? pid : 0;
			}
			break;
		case 4 ... 6:
			if (kid[i] && waitpid(kid[i], NULL, __WALL | WNOHANG) != 0)
				kid[i] = 0;
			break;
		case 7:
			if (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
				memset(kid, 0, sizeof kid);	/* whichever it was: forget all, orphans are nobody's loss */
			break;
		case 8:
			if (mine(kid[i]))
				kill(kid[i], SIGUSR1);
			break;
		case 9:
			if (mine(kid[i])) {
				kill(kid[i], SIGSTOP);
				kill(kid[i], SIGCONT);
			}
			break;
		case 10:
			if (!rnd(4) && mine(kid[i]))
				kill(kid[i], rnd(2) ? SIGKILL : SIGTERM);
			break;
		case 11:
			prctl(PR_SET_CHILD_SUBREAPER, rnd(2), 0, 0, 0);
			break;
		case 12:
			if (rnd(4))
				setpgid(rnd(2) ? 0 : kid[i], 0);
			else
				setsid();
			break;
		case 13: {
			char *p = mmap(NULL, 16 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (p != MAP_FAILED) {
				for (int k = 0; k < 16; k++)
					p[k * 4096] = k;
				munmap(p, 16 * 4096);
			}
			break;
		}
		case 14: {
			pthread_t t;
			pthread_attr_t a;
			pthread_attr_init(&a);
			pthread_attr_setstacksize(&a, 65536);
			pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
			pthread_create(&t, &a, idle_thread, (void *)(long)rnd(20));
			break;
		}
		case 15: {
			int p[2];
			char c;
			if (pipe(p) == 0) {
				if (write(p[1], "x", 1) == 1 && read(p[0], &c, 1) != 1)
					sh->v[1]++;
				close(p[0]);
				close(p[1]);
			}
			break;
		}
		case 16:
			signal(SIGCHLD, rnd(3) ? SIG_DFL : SIG_IGN);
			break;
		case 17:
			if (depth > 0 && !rnd(3)) {
				if (rnd(2))
					syscall(SYS_exit_group, rnd(256));
				if (rnd(2))
					sys_exit_thread(0);	/* the leader leaves, threads may stay a while */
				exec_self("brief", NULL, NULL, NULL);
			}
			break;
		}
	}
	syscall(SYS_exit_group, 0);
}

HELPER(brief)
{
	return 0;
}

/* Kill all that is a child of the caller and not dead. */
static void kill_kids(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	while (d && (e = readdir(d))) {
		int pid = atoi(e->d_name);
		if (pid > 1 && proc_stat(pid, 4) == getpid() && proc_state(pid) != 'Z')
			kill(pid, SIGKILL);
	}
	if (d)
		closedir(d);
}

CASE_T(storm, 60)
{
	REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	/* where PID 1 is the runner's parent, an exit in the storm can orphan this process group while a member is
	 * stopped (2.20, 2.22): its SIGHUP is not for us */
	signal(SIGHUP, SIG_IGN);
	sh->v[10] = iterations(300);	/* operations per process */
	for (int round = 0; round < 4; round++) {
		int started = 0, reaped = 0;
		sh->w[0] = 0;
		for (int i = 0; i < 6; i++) {
			pid_t pid = MUST(fork());
			if (pid == 0)
				storm(0);
			started++;
		}
		/* those of the first generation end by themselves; then the rest is told to */
		for (int i = 0; i < started; i++)
			if (reap_any(NULL) > 0)
				reaped++;
		__atomic_store_n(&sh->w[0], 1, __ATOMIC_SEQ_CST);
		long long end = now_ms() + deadline_ms;
		long r;
		while ((r = waitpid(-1, NULL, __WALL | WNOHANG)) >= 0 && now_ms() < end)
			if (r == 0) {
				/* stopped ones, and threads of exited leaders that still spin, need help */
				kill_kids();
				sched_yield();
			} else {
				reaped++;
			}
		CHECK(r < 0 && errno == ECHILD, "[I2] after a storm of forks, signals, threads, execs and exits all are reaped");
		CHECK(reaped >= started, "[I2] the first generation by its maker");
	}
	CHECK_EQ(sh->v[1], 0, "[I2] and their pipes worked");
	tap_note("%ld processes in the storm", sh->v[0] + 24);
	/* and the machine is as before */
	struct agent *a = spawn(NULL), *b = spawn(a);
	retire(a, NULL);
	CHECK_EQ(call(b, ag_getppid, 0), getpid(), "[I1] the tree is in order: an orphan is adopted");
	retire(b, NULL);
}

/* ---- signals to a moving target ---- */

CASE_T(signal_hail, 60)
{
	/* each of four processes signals the others' group as fast as it can; real-time signals queue up to the limit */
	int n = iterations(300), wrong = 0;
	int rt = SIGRTMIN + 1;
	for (int round = 0; round < 3; round++) {
		pid_t lead = MUST(fork());
		if (lead == 0) {
			setpgid(0, 0);
			signal(SIGUSR1, count);
			signal(SIGUSR2, count);
			signal(rt, count);
			pid_t k[3];
			for (int i = 0; i < 3; i++) {
				k[i] = fork();
				if (k[i] == 0) {
					for (int j = 0; j < n; j++)
						kill(0, j % 3 == 0 ? SIGUSR1 : j % 3 == 1 ? SIGUSR2 : rt);
					_exit(handled > 0 ? 0 : 1);
				}
			}
			int bad = 0;
			for (int i = 0; i < 3; i++)
				bad += reap(k[i]) != 0;
			_exit(bad);
		}
		wrong += reap(lead) != 0;
	}
	CHECK_EQ(wrong, 0, "[7.1] a hail of group signals is survived and handled");
}

/* ---- threads that come and go while the process forks and dies ---- */

static void *spawner(void *x)
{
	long n = (long)x;
	for (long i = 0; i < n; i++) {
		long pid = raw_clone(SIGCHLD);
		if (pid == 0)
			syscall(SYS_exit_group, 3);
		if (pid > 0) {
			int st = 0;
			if (sys_wait4(pid, &st, __WNOTHREAD, NULL) != pid || st != 3 << 8)
				__atomic_add_fetch(&sh->v[2], 1, __ATOMIC_SEQ_CST);
		}
	}
	return x;
}

CASE_T(threads_fork_and_wait, 60)
{
	pthread_t t[6];
	long n = iterations(300) / 2 + 1;
	sh->v[2] = 0;
	for (int i = 0; i < 6; i++)
		REQUIRE(pthread_create(&t[i], NULL, spawner, (void *)n) == 0);
	for (int i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	CHECK_EQ(sh->v[2], 0, "[4.9] six threads fork and wait for their own children at once: each gets its own");
	CHECK_ERR(sys_wait4(-1, NULL, WNOHANG | __WALL, NULL), ECHILD, "[4.9] none is left");
}

static void *exiter(void *x)
{
	for (volatile long i = 0; i < (long)x; i++)
		;
	if ((long)x % 3 == 0)
		syscall(SYS_exit_group, 50 + (long)x % 7);
	return NULL;
}

CASE_T(group_exit_races, 60)
{
	int n = iterations(300), wrong = 0;
	for (int i = 0; i < n; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			pthread_t t[4];
			for (int k = 0; k < 4; k++)
				pthread_create(&t[k], NULL, exiter, (void *)(long)((i * 7 + k * 41) % 500));
			if (i % 4 == 0)
				kill(getpid(), SIGKILL);
			if (i % 4 == 1)
				sys_exit_thread(40);
			for (int k = 0; k < 4; k++)
				pthread_join(t[k], NULL);
			_exit(45);
		}
		int st = reap(pid);
		bool ok = WIFSIGNALED(st) ? WTERMSIG(st) == SIGKILL && i % 4 == 0
					  : (WEXITSTATUS(st) >= 50 && WEXITSTATUS(st) < 57) || WEXITSTATUS(st) == 45 ||
						    (i % 4 == 1 && (WEXITSTATUS(st) == 40 || WEXITSTATUS(st) == 0));
		wrong += !ok;
	}
	CHECK_EQ(wrong, 0, "[3.4,3.5] exits, exit_groups and kills at once: the status is one that somebody gave");
}
