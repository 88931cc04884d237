/* threads.c - threads by raw clone and by pthread, and futexes. */
#include "lib/tap.h"

#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

static char stacks[8][65536] __attribute__((aligned(16)));
static volatile int word, tidword;

static int store_ids(void *x)
{
	(void)x;
	sh->v[0] = syscall(SYS_getpid);
	sh->v[1] = syscall(SYS_gettid);
	sh->v[2] = syscall(SYS_getppid);
	set_word(&word, 1);
	syscall(SYS_exit, 0);
	return 0;
}

CASE(raw_thread)
{
	word = 0;
	int tid = clone(store_ids, stacks[0] + sizeof stacks[0],
			THREAD_FLAGS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID, NULL, (void *)&tidword, NULL, (void *)&tidword);
	CHECK(tid > 0 && tid != getpid(), "[6.4] clone(THREAD) returns a new tid");
	wait_word(&word, 1);
	CHECK_EQ(sh->v[0], getpid(), "[6.4] getpid of the thread is the process's");
	CHECK_EQ(sh->v[1], tid, "[6.4] gettid its own");
	CHECK_EQ(sh->v[2], getppid(), "[6.4] getppid the process's");
	CHECK(AWAIT(tidword == 0), "[3.16] its tid word is cleared at its exit");
	CHECK(AWAIT(sys_tgkill(getpid(), tid, 0) < 0 && errno == ESRCH), "[3.7] and it is released at once");
	CHECK_ERR(sys_wait4(-1, NULL, __WALL | WNOHANG, NULL), ECHILD, "[3.7,4.7] there is nothing to wait for");
}

static int read_fs(void *x)
{
	unsigned long v;
	(void)x;
	__asm__ volatile("mov %%fs:0, %0" : "=r"(v));
	sh->v[0] = v;
	set_word(&word, 1);
	syscall(SYS_exit, 0);
	return 0;
}

CASE(settls)
{
	static unsigned long tls[64] = { 0xfeedface };
	word = 0;
	int tid = clone(read_fs, stacks[0] + sizeof stacks[0], THREAD_FLAGS | CLONE_SETTLS, NULL, NULL, tls, NULL);
	REQUIRE(tid > 0);
	wait_word(&word, 1);
	CHECK_EQ(sh->v[0], 0xfeedface, "[6.11] SETTLS sets the thread's FS base");
	unsigned long own = 0;
	CHECK_OK(syscall(SYS_arch_prctl, 0x1003, &own), "[6.11] arch_prctl(GET_FS)");
	CHECK(own && own != (unsigned long)tls, "[6.11] the creator keeps its own");
	CHECK_ERR(syscall(SYS_arch_prctl, 0x1002, 0xffff800000000000UL), EPERM, "[6.11] SET_FS outside user space: EPERM");
	CHECK_ERR(syscall(SYS_arch_prctl, 0x9999, 0), EINVAL, "[6.11] unknown code: EINVAL");
}

/* ---- pthread ---- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long counter;
static int turn;

static void *add(void *n)
{
	for (long i = 0; i < (long)n; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		pthread_mutex_unlock(&mutex);
	}
	return n;
}

CASE(pthreads)
{
	pthread_t t[8];
	long n = iterations(300) * 10, sum = 0;
	for (int i = 0; i < 8; i++)
		REQUIRE(pthread_create(&t[i], NULL, add, (void *)n) == 0);
	for (int i = 0; i < 8; i++) {
		void *r;
		REQUIRE(pthread_join(t[i], &r) == 0);
		sum += (long)r;
	}
	CHECK_EQ(counter, 8 * n, "[futex] a mutex excludes: eight threads count without loss");
	CHECK_EQ(sum, 8 * n, "[futex] join returns each thread's value");
	CHECK_EQ(proc_stat(getpid(), 20), 1, "[3.7] after the joins one thread is left");
}

static void *ping(void *me_)
{
	long me_nr = (long)me_;
	for (int i = 0; i < 200; i++) {
		pthread_mutex_lock(&mutex);
		while (turn != me_nr)
			pthread_cond_wait(&cond, &mutex);
		turn = !me_nr;
		counter++;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

CASE(condition)
{
	pthread_t a, b;
	counter = 0;
	REQUIRE(pthread_create(&a, NULL, ping, (void *)0L) == 0 && pthread_create(&b, NULL, ping, (void *)1L) == 0);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	CHECK_EQ(counter, 400, "[futex] a condition variable: two threads take turns");
}

static void *nothing(void *x) { return x; }

CASE(create_join_many)
{
	int n = iterations(300), ok = 0;
	for (int i = 0; i < n; i++) {
		pthread_t t;
		void *r;
		ok += pthread_create(&t, NULL, nothing, (void *)(long)i) == 0 && pthread_join(t, &r) == 0 && r == (void *)(long)i;
	}
	CHECK_EQ(ok, n, "[futex] threads are created and joined in turn");
}

static void *spin_yield(void *x)
{
	while (!word)
		sched_yield();
	return x;
}

CASE(many_at_once)
{
	pthread_t t[40];
	pthread_attr_t a;
	word = 0;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 64 * 1024);
	int made = 0;
	for (int i = 0; i < 40; i++)
		made += pthread_create(&t[i], &a, spin_yield, NULL) == 0;
	CHECK_EQ(made, 40, "[6.4] forty threads at once");
	CHECK_EQ(proc_stat(getpid(), 20), 41, "[12.1] num_threads counts them");
	word = 1;
	for (int i = 0; i < 40; i++)
		pthread_join(t[i], NULL);
	CHECK(AWAIT(proc_stat(getpid(), 20) == 1), "[3.7] and is 1 again");
}

static __thread int tls_value = 5;
static void *own_tls(void *x)
{
	int old = tls_value;
	tls_value = (int)(long)x;
	sched_yield();
	return (void *)(long)(old == 5 && tls_value == (int)(long)x);
}

CASE(thread_local)
{
	pthread_t t[4];
	long ok = 0;
	for (long i = 0; i < 4; i++)
		REQUIRE(pthread_create(&t[i], NULL, own_tls, (void *)(i + 100)) == 0);
	for (int i = 0; i < 4; i++) {
		void *r;
		pthread_join(t[i], &r);
		ok += (long)r;
	}
	CHECK(ok == 4 && tls_value == 5, "[6.11] thread-local variables are each thread's own");
}

static void *cancel_me(void *x)
{
	(void)x;
	for (;;)
		pause();
	return NULL;
}

CASE(cancel)
{
	pthread_t t;
	void *r;
	REQUIRE(pthread_create(&t, NULL, cancel_me, NULL) == 0);
	REQUIRE(pthread_cancel(t) == 0);
	pthread_join(t, &r);
	CHECK(r == PTHREAD_CANCELED, "[7.6] pthread_cancel works (a thread-directed signal)");
}

static void *fork_in_thread(void *x)
{
	(void)x;
	pid_t pid = fork();
	if (pid == 0)
		_exit(proc_stat(getpid(), 20) == 1 && sys_gettid() == getpid() ? 4 : 5);
	return (void *)(long)reap(pid);
}

CASE(fork_from_thread)
{
	pthread_t t;
	void *r;
	REQUIRE(pthread_create(&t, NULL, fork_in_thread, NULL) == 0);
	pthread_join(t, &r);
	CHECK_EQ((long)r, 4 << 8, "[6.1] fork by a thread: the child has one thread, its leader");
}

/* ---- futex ---- */

static long futex_wait(long i)
{
	struct timespec ts = { deadline_ms / 1000, 0 };
	long r = futex(&sh->w[i], FUTEX_WAIT, 0, &ts);
	return r < 0 ? -errno : r;
}

static long futex_wait_private(long i)
{
	(void)i;
	long r = futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL);
	return r < 0 ? -errno : r;
}

CASE(futex_errors)
{
	struct timespec now = { 0, 0 }, ms20 = { 0, 20000000 }, bad = { 0, 1000000000 }, neg = { -1, 0 };
	int w = 5;
	CHECK_ERR(futex(&w, FUTEX_WAIT, 4, &now), EAGAIN, "[futex] another value: EAGAIN");
	CHECK_ERR(futex(&w, FUTEX_WAIT, 5, &now), ETIMEDOUT, "[futex] time 0: ETIMEDOUT");
	long long t = now_ms();
	CHECK_ERR(futex(&w, FUTEX_WAIT, 5, &ms20), ETIMEDOUT, "[futex] the time is up: ETIMEDOUT");
	CHECK(now_ms() - t >= 19, "[futex] and not before");
	CHECK_ERR(futex(&w, FUTEX_WAIT, 5, &bad), EINVAL, "[futex] nsec of a whole second: EINVAL");
	CHECK_ERR(futex(&w, FUTEX_WAIT, 5, &neg), EINVAL, "[futex] negative time: EINVAL");
	CHECK_ERR(futex((char *)&w + 1, FUTEX_WAIT, 5, &now), EINVAL, "[futex] unaligned: EINVAL");
	CHECK_ERR(futex((int *)BADPTR, FUTEX_WAIT, 5, &now), EFAULT, "[futex] bad address: EFAULT");
	CHECK_ERR(futex(NULL, FUTEX_WAIT, 5, &now), EFAULT, "[futex] NULL: EFAULT");
	CHECK_ERR(futex(&w, FUTEX_WAIT, 5, BADPTR), EFAULT, "[futex] bad time pointer: EFAULT");
	CHECK_ERR(futex(&w, 99, 5, &now), ENOSYS, "[futex] unknown operation: ENOSYS");
	CHECK_EQ(futex(&w, FUTEX_WAKE, 1, NULL), 0, "[futex] a wake without waiters: 0");
	CHECK_ERR(futex((char *)&w + 2, FUTEX_WAKE, 1, NULL), EINVAL, "[futex] wake unaligned: EINVAL");
	CHECK_ERR(syscall(SYS_futex, &w, FUTEX_WAIT_BITSET, 5, &now, NULL, 0), EINVAL, "[futex] a bitset of 0: EINVAL");
	struct timespec abs;
	clock_gettime(CLOCK_MONOTONIC, &abs);
	abs.tv_nsec += 20000000;
	if (abs.tv_nsec >= 1000000000) {
		abs.tv_sec++;
		abs.tv_nsec -= 1000000000;
	}
	t = now_ms();
	CHECK_ERR(syscall(SYS_futex, &w, FUTEX_WAIT_BITSET, 5, &abs, NULL, -1), ETIMEDOUT, "[futex] WAIT_BITSET takes an absolute time");
	CHECK(now_ms() - t >= 18, "[futex] and waits for it");
}

CASE(futex_wake)
{
	struct agent *a[3] = { spawn(NULL), spawn(NULL), spawn(NULL) };
	for (int i = 0; i < 3; i++) {
		post(a[i], futex_wait, 10);
		REQUIRE(await_blocked_in(a[i]));
	}
	CHECK_EQ(futex(&sh->w[10], FUTEX_WAKE, 1, NULL), 1, "[futex] wake 1 of 3 wakes one");
	CHECK(AWAIT(answered(a[0]) + answered(a[1]) + answered(a[2]) == 1), "[futex] one returns");
	CHECK(answered(a[0]), "[futex] the one that waited first");
	CHECK_EQ(futex(&sh->w[10], FUTEX_WAKE, INT_MAX, NULL), 2, "[futex] wake all wakes the rest");
	int ok = 0;
	for (int i = 0; i < 3; i++)
		ok += finish(a[i]) == 0;
	CHECK_EQ(ok, 3, "[futex] each returns 0");
	for (int i = 0; i < 3; i++)
		retire(a[i], NULL);
}

static long wake_own(long x)
{
	(void)x;
	return futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL);
}

CASE(futex_private)
{
	/* a private futex of one process is not one of another, the address being the same */
	word = 0;
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	post(t, futex_wait_private, 0);
	REQUIRE(await_blocked_in(t));
	CHECK_EQ(futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL), 0, "[futex] a private wake does not cross processes");
	CHECK_EQ(call(p, wake_own, 0), 1, "[futex] but threads");
	CHECK_EQ(finish(t), 0, "[futex] who wake");
	retire(p, NULL);
}

CASE(futex_shared_mappings)
{
	/* the same shared page at two addresses is one futex */
	char name[256];
	snprintf(name, sizeof name, "%s", tmp_path("f"));
	int fd = MUST(open(name, O_RDWR | O_CREAT, 0600));
	MUST(ftruncate(fd, 4096));
	volatile int *a = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	volatile int *b = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(a != MAP_FAILED && b != MAP_FAILED && a != b, "[futex] (one file page at two addresses)");
	if (a == MAP_FAILED || b == MAP_FAILED)
		return;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct timespec ts = { deadline_ms / 1000, 0 };
		long r = futex(a, FUTEX_WAIT, 0, &ts);
		_exit(r == 0 || errno == EAGAIN ? 0 : 1);
	}
	REQUIRE(await_blocked(pid));
	CHECK_EQ(futex(b, FUTEX_WAKE, 1, NULL), 1, "[futex] a wake at one address wakes a waiter at the other");
	CHECK_EQ(reap(pid), 0, "[futex] it returned");
}

CASE(futex_requeue)
{
	struct agent *a[3] = { spawn(NULL), spawn(NULL), spawn(NULL) };
	for (int i = 0; i < 3; i++) {
		post(a[i], futex_wait, 11);
		REQUIRE(await_blocked_in(a[i]));
	}
	CHECK_ERR(syscall(SYS_futex, &sh->w[11], FUTEX_CMP_REQUEUE, 1, 1L, &sh->w[12], 7), EAGAIN, "[futex] CMP_REQUEUE, another value: EAGAIN");
	CHECK_EQ(syscall(SYS_futex, &sh->w[11], FUTEX_CMP_REQUEUE, 1, 1L, &sh->w[12], 0), 2, "[futex] CMP_REQUEUE: one woken, one moved");
	CHECK(AWAIT(answered(a[0])), "[futex] the first wakes");
	CHECK_EQ(futex(&sh->w[11], FUTEX_WAKE, INT_MAX, NULL), 1, "[futex] one is left at the old word");
	CHECK_EQ(futex(&sh->w[12], FUTEX_WAKE, INT_MAX, NULL), 1, "[futex] one is at the new");
	for (int i = 0; i < 3; i++) {
		finish(a[i]);
		retire(a[i], NULL);
	}
}

CASE(futex_wake_op)
{
	struct agent *a = spawn(NULL);
	post(a, futex_wait, 13);
	REQUIRE(await_blocked_in(a));
	sh->w[14] = 5;
	/* w[14] += 3; wake 1 at w[13]; and at w[14] if its old value was > 100 */
	CHECK_EQ(syscall(SYS_futex, &sh->w[13], FUTEX_WAKE_OP, 1, 1L, &sh->w[14], FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_GT, 100)), 1,
		 "[futex] WAKE_OP wakes at the first word");
	CHECK_EQ(sh->w[14], 8, "[futex] and changes the second");
	CHECK_EQ(finish(a), 0, "[futex] the waiter returns");
	retire(a, NULL);
}

CASE_T(futex_no_lost_wake, 60)
{
	/* two processes hand a word to and fro */
	int n = iterations(300) * 3;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		for (int i = 0; i < n; i++) {
			while (sh->w[20] != 2 * i + 1)
				futex(&sh->w[20], FUTEX_WAIT, 2 * i, NULL);
			sh->w[20] = 2 * i + 2;
			futex(&sh->w[20], FUTEX_WAKE, 1, NULL);
		}
		_exit(0);
	}
	for (int i = 0; i < n; i++) {
		sh->w[20] = 2 * i + 1;
		futex(&sh->w[20], FUTEX_WAKE, 1, NULL);
		while (sh->w[20] == 2 * i + 1)
			futex(&sh->w[20], FUTEX_WAIT, 2 * i + 1, NULL);
	}
	CHECK_EQ(reap(pid), 0, "[futex] no wake is lost between wait and wake");
	CHECK_EQ(sh->w[20], 2 * n, "[futex] all hand-overs happened");
}

CASE(killed_waiter)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	post(t, futex_wait, 30);
	REQUIRE(await_blocked_in(t));
	kill(p->pid, SIGKILL);
	CHECK_EQ(reap(p->pid), SIGKILL, "[futex] a process in a futex wait can be killed");
	CHECK_EQ(futex(&sh->w[30], FUTEX_WAKE, 1, NULL), 0, "[futex] and is no waiter any more");
}

CASE(semaphores)
{
	sem_t *s = (sem_t *)&sh->v[20];
	sem_init(s, 1, 0);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		for (int i = 0; i < 5; i++)
			sem_wait(s);
		_exit(0);
	}
	for (int i = 0; i < 5; i++)
		sem_post(s);
	CHECK_EQ(reap(pid), 0, "[futex] a POSIX semaphore between processes");
}

CASE(scheduling)
{
	unsigned long mask[16] = { 0 };
	long r = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
	CHECK(r > 0 && (mask[0] & 1 || mask[0]), "[sched] sched_getaffinity tells the CPUs");
	CHECK_OK(sched_yield(), "[sched] sched_yield");
	unsigned cpu = 99, node = 99;
	CHECK(syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && (mask[cpu / 64] >> cpu % 64 & 1), "[sched] getcpu is one of them");
	unsigned long one = 1UL << cpu;
	CHECK_OK(syscall(SYS_sched_setaffinity, 0, sizeof one, &one), "[sched] sched_setaffinity to one CPU");
	unsigned now = 99;
	syscall(SYS_getcpu, &now, NULL, NULL);
	CHECK_EQ(now, cpu, "[sched] and runs there");
	unsigned long none = 0;
	CHECK_ERR(syscall(SYS_sched_setaffinity, 0, sizeof none, &none), EINVAL, "[sched] an empty mask: EINVAL");
	/* a spinning process does not keep another from running */
	pid_t pid = MUST(fork());
	if (pid == 0)
		for (;;)
			;
	pid_t pid2 = MUST(fork());
	if (pid2 == 0)
		_exit(3);
	CHECK_EQ(reap(pid2), 3 << 8, "[sched] on one CPU a spinning process is preempted");
	kill(pid, SIGKILL);
	CHECK_EQ(reap(pid), SIGKILL, "[sched] and can be killed");
}
