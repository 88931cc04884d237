/* sysv_sem.c - System V semaphores: semget(2), semop(2), semctl(2), and what exit, fork, clone and exec do with SEM_UNDO. */
#include "lib/hold.h"

#include <sys/ipc.h>
#include <sys/sem.h>

#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY 20
#endif

union semun {
	int val;
	struct semid_ds *buf;
	unsigned short *array;
	struct seminfo *info;
};

/* The set of the case, for its agents too. */
static int id;

static int new_set(int n, int mode)
{
	return id = MUST(semget(IPC_PRIVATE, n, IPC_CREAT | mode));
}

static void remove_set(void)
{
	semctl(id, 0, IPC_RMID);
}

static int op1(int num, int change, int flags)
{
	struct sembuf b = { num, change, flags };
	return semop(id, &b, 1);
}

static int op2(int a, int ca, int fa, int b, int cb, int fb)
{
	struct sembuf s[2] = { { a, ca, fa }, { b, cb, fb } };
	return semop(id, s, 2);
}

static int val(int num)
{
	return semctl(id, num, GETVAL);
}

static int set_val(int num, int v)
{
	return semctl(id, num, SETVAL, (union semun){ .val = v });
}

/* Agents' work: 0 or -errno.  The argument is a change, with the semaphore's number in the higher bits. */
static long do_op(long x)
{
	return op1(x >> 20, (int)(x & 0xfffff) - 0x8000, 0) ? -errno : 0;
}

static long do_undo(long x)
{
	return op1(x >> 20, (int)(x & 0xfffff) - 0x8000, SEM_UNDO) ? -errno : 0;
}

static long arg(int num, int change)
{
	return (long)num << 20 | (change + 0x8000);
}

static int waiting(int num)
{
	return semctl(id, num, GETNCNT);
}

CASE(get)
{
	key_t key = 0x46530000 + getpid();
	CHECK_ERR(semget(key, 1, 0600), ENOENT, "[ipc] semget: no set of the key: ENOENT");
	CHECK_ERR(semget(key, 0, IPC_CREAT | 0600), EINVAL, "[ipc] semget: a new one of no semaphores: EINVAL");
	CHECK_ERR(semget(key, -1, IPC_CREAT | 0600), EINVAL, "[ipc] semget: of less than none: EINVAL");
	CHECK_ERR(semget(key, 32001, IPC_CREAT | 0600), EINVAL, "[ipc] semget: of more than SEMMSL: EINVAL");
	id = semget(key, 3, IPC_CREAT | 0640);
	CHECK(id >= 0, "[ipc] semget: a new one");
	if (id < 0)
		return;
	CHECK_EQ(semget(key, 0, 0), id, "[ipc] semget: found by its key, of any size");
	CHECK_EQ(semget(key, 3, IPC_CREAT | 0600), id, "[ipc] semget: IPC_CREAT finds it");
	CHECK_ERR(semget(key, 3, IPC_CREAT | IPC_EXCL | 0600), EEXIST, "[ipc] semget: IPC_EXCL: EEXIST");
	CHECK_ERR(semget(key, 4, 0600), EINVAL, "[ipc] semget: more semaphores than it has: EINVAL");
	struct semid_ds ds;
	CHECK_OK(semctl(id, 0, IPC_STAT, (union semun){ .buf = &ds }), "[ipc] semctl: IPC_STAT");
	CHECK(ds.sem_perm.__key == key && ds.sem_perm.mode == 0640 && ds.sem_nsems == 3 && ds.sem_otime == 0,
	      "[ipc] semctl: key, mode, number, never operated on");
	CHECK(ds.sem_perm.uid == geteuid() && ds.sem_perm.cuid == geteuid() && ds.sem_perm.gid == getegid(), "[ipc] semctl: owner");
	CHECK(llabs((long long)ds.sem_ctime - time(NULL)) <= 2, "[ipc] semctl: time of the last change");
	CHECK_OK(op1(0, 1, 0), "[ipc] semop: a change");
	CHECK(semctl(id, 0, IPC_STAT, (union semun){ .buf = &ds }) == 0 && llabs((long long)ds.sem_otime - time(NULL)) <= 2,
	      "[ipc] semctl: time of the last operation");
	ds.sem_perm.mode = 0600;
	ds.sem_perm.uid = geteuid() + 1;
	CHECK_OK(semctl(id, 0, IPC_SET, (union semun){ .buf = &ds }), "[ipc] semctl: IPC_SET");
	CHECK(semctl(id, 0, IPC_STAT, (union semun){ .buf = &ds }) == 0 && ds.sem_perm.mode == 0600 &&
		      ds.sem_perm.uid == geteuid() + 1 && ds.sem_perm.cuid == geteuid(), "[ipc] semctl: changes mode and owner");
	CHECK_OK(semctl(id, 0, IPC_RMID), "[ipc] semctl: IPC_RMID");
	CHECK_ERR(semctl(id, 0, GETVAL), EINVAL, "[ipc] semctl: a set that was removed: EINVAL");
	CHECK_ERR(semget(key, 0, 0), ENOENT, "[ipc] semget: its key is free");
	int old = id;
	new_set(1, 0600);
	CHECK(id != old, "[ipc] semget: an id is not used again at once");
	remove_set();
}

CASE(values)
{
	unsigned short got[3] = { 9, 9, 9 }, set[3] = { 1, 2, 3 };
	new_set(3, 0600);
	CHECK(semctl(id, 0, GETALL, (union semun){ .array = got }) == 0 && !got[0] && !got[1] && !got[2], "[ipc] semctl: they start at zero");
	CHECK_OK(semctl(id, 0, SETALL, (union semun){ .array = set }), "[ipc] semctl: SETALL");
	CHECK(val(0) == 1 && val(1) == 2 && val(2) == 3, "[ipc] semctl: GETVAL");
	CHECK_EQ(semctl(id, 1, GETPID), getpid(), "[ipc] semctl: GETPID after SETALL");
	CHECK_OK(set_val(1, 32767), "[ipc] semctl: SETVAL");
	CHECK(semctl(id, 0, GETALL, (union semun){ .array = got }) == 0 && got[0] == 1 && got[1] == 32767 && got[2] == 3, "[ipc] semctl: GETALL");
	CHECK_ERR(set_val(1, 32768), ERANGE, "[ipc] semctl: SETVAL above SEMVMX: ERANGE");
	CHECK_ERR(set_val(1, -1), ERANGE, "[ipc] semctl: below zero: ERANGE");
	set[2] = 40000;
	CHECK_ERR(semctl(id, 0, SETALL, (union semun){ .array = set }), ERANGE, "[ipc] semctl: SETALL: ERANGE");
	CHECK_ERR(semctl(id, 0, SETALL, (union semun){ .array = BADPTR }), EFAULT, "[ipc] semctl: SETALL from nowhere: EFAULT");
	CHECK_ERR(semctl(id, 0, GETALL, (union semun){ .array = BADPTR }), EFAULT, "[ipc] semctl: GETALL to nowhere: EFAULT");
	CHECK_ERR(val(3), EINVAL, "[ipc] semctl: no such semaphore: EINVAL");
	CHECK_ERR(set_val(-1, 0), EINVAL, "[ipc] semctl: nor of a negative number: EINVAL");
	CHECK_ERR(semctl(id, 0, 99), EINVAL, "[ipc] semctl: unknown command: EINVAL");
	CHECK_ERR(semctl(-1, 0, GETVAL), EINVAL, "[ipc] semctl: bad id: EINVAL");
	remove_set();
}

CASE(operations)
{
	new_set(2, 0600);
	struct sembuf many[501] = { { 0, 0, 0 } };
	CHECK_OK(op1(0, 5, 0), "[ipc] semop: add");
	CHECK_OK(op1(0, -3, 0), "[ipc] semop: take");
	CHECK_EQ(val(0), 2, "[ipc] semop: what is left");
	CHECK_ERR(op1(0, -3, IPC_NOWAIT), EAGAIN, "[ipc] semop: more than there is: EAGAIN");
	CHECK_ERR(op1(0, 0, IPC_NOWAIT), EAGAIN, "[ipc] semop: not zero: EAGAIN");
	CHECK_OK(op1(1, 0, IPC_NOWAIT), "[ipc] semop: zero");
	CHECK_ERR(op2(0, -1, 0, 1, -1, IPC_NOWAIT), EAGAIN, "[ipc] semop: one of two is not possible: EAGAIN");
	CHECK_EQ(val(0), 2, "[ipc] semop: and the other was not done");
	CHECK_OK(op2(1, 0, 0, 1, 7, 0), "[ipc] semop: zero, then add, on one semaphore");
	CHECK_EQ(val(1), 7, "[ipc] semop: in their order");
	CHECK_OK(op2(0, -2, 0, 0, 2, 0), "[ipc] semop: take, then add");
	CHECK_ERR(op1(0, 32766, 0), ERANGE, "[ipc] semop: above SEMVMX: ERANGE");
	CHECK_ERR(op1(2, 1, 0), EFBIG, "[ipc] semop: no such semaphore: EFBIG");
	CHECK_ERR(semop(id, many, 501), E2BIG, "[ipc] semop: more than SEMOPM operations: E2BIG");
	CHECK_ERR(semop(id, many, 0), EINVAL, "[ipc] semop: none: EINVAL");
	CHECK_ERR(semop(id, BADPTR, 1), EFAULT, "[ipc] semop: from nowhere: EFAULT");
	CHECK_ERR(semop(-1, many, 1), EINVAL, "[ipc] semop: bad id: EINVAL");
	CHECK_ERR(semop(0x7fff0123, many, 1), EINVAL, "[ipc] semop: no such set: EINVAL");
	struct timespec wrong = { 0, 1000000000 }, none = { 0, 0 }, soon = { 0, 20000000 };
	CHECK_ERR(semtimedop(id, many, 1, &wrong), EINVAL, "[ipc] semtimedop: wrong time: EINVAL");
	CHECK_ERR(semtimedop(id, many, 1, BADPTR), EFAULT, "[ipc] semtimedop: time from nowhere: EFAULT");
	CHECK_ERR(semtimedop(id, many, 1, &none), EAGAIN, "[ipc] semtimedop: no time: EAGAIN");
	long long start = now_ms();
	CHECK_ERR(semtimedop(id, many, 1, &soon), EAGAIN, "[ipc] semtimedop: the time is over: EAGAIN");
	CHECK(now_ms() - start >= 19, "[ipc] semtimedop: and not before");
	CHECK_EQ(semctl(id, 0, GETZCNT), 0, "[ipc] semtimedop: nobody waits any more");
	CHECK_EQ(semctl(id, 0, GETPID), getpid(), "[ipc] semctl: GETPID after semop");
	remove_set();
}

CASE(waiting)
{
	new_set(2, 0600);
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(NULL);
	post(a, do_op, arg(0, -2));
	REQUIRE(await_blocked_in(a));
	CHECK_EQ(waiting(0), 1, "[ipc] semctl: GETNCNT: one waits");
	CHECK_EQ(waiting(1), 0, "[ipc] semctl: for that semaphore only");
	post(b, do_op, arg(0, -2));
	REQUIRE(await_blocked_in(b));
	CHECK_EQ(waiting(0), 2, "[ipc] semctl: two");
	op1(0, 1, 0);
	CHECK(!answered(a) && !answered(b), "[ipc] semop: too little for either");
	op1(0, 1, 0);
	CHECK_EQ(finish(a), 0, "[ipc] semop: enough for one: the first");
	CHECK(!answered(b) && waiting(0) == 1, "[ipc] semop: the second waits on");
	CHECK_EQ(semctl(id, 0, GETPID), a->pid, "[ipc] semctl: GETPID: who waited");
	post(c, do_op, arg(0, -1));
	REQUIRE(await_blocked_in(c));
	op1(0, 1, 0);
	CHECK_EQ(finish(c), 0, "[ipc] semop: enough for a later one that wants less: it does not wait behind");
	set_val(0, 2);
	CHECK_EQ(finish(b), 0, "[ipc] semctl: SETVAL lets one go on");
	CHECK_EQ(val(0), 0, "[ipc] semop: all was taken");

	set_val(1, 2);
	post(a, do_op, arg(1, 0));
	REQUIRE(await_blocked_in(a));
	CHECK(semctl(id, 1, GETZCNT) == 1 && waiting(1) == 0, "[ipc] semctl: GETZCNT");
	op1(1, -2, 0);
	CHECK_EQ(finish(a), 0, "[ipc] semop: zero is seen");

	unsigned short all[2] = { 1, 1 };
	post(a, do_op, arg(1, -1));
	post(b, do_op, arg(0, -1));
	REQUIRE(await_blocked_in(a) && await_blocked_in(b));
	semctl(id, 0, SETALL, (union semun){ .array = all });
	CHECK(finish(a) == 0 && finish(b) == 0, "[ipc] semctl: SETALL lets all go on");

	post(a, do_op, arg(0, -1));
	post(b, do_op, arg(1, -1));
	REQUIRE(await_blocked_in(a) && await_blocked_in(b));
	remove_set();
	CHECK_EQ(finish(a), -EIDRM, "[ipc] semop: the set is removed: EIDRM");
	CHECK_EQ(finish(b), -EIDRM, "[ipc] semop: for each");
	retire(a, NULL);
	retire(b, NULL);
	retire(c, NULL);
}

static long take_both(long x)
{
	(void)x;
	return op2(0, -1, 0, 1, -1, 0) ? -errno : 0;
}

CASE(atomic)
{
	new_set(2, 0600);
	struct agent *a = spawn(NULL);
	post(a, take_both, 0);
	REQUIRE(await_blocked_in(a));
	op1(0, 1, 0);
	CHECK(AWAIT(waiting(1) == 1) && waiting(0) == 0, "[ipc] semctl: it waits for the other one now");
	CHECK_EQ(val(0), 1, "[ipc] semop: and has taken nothing yet");
	op1(1, 1, 0);
	CHECK(finish(a) == 0 && !val(0) && !val(1), "[ipc] semop: both at once");
	retire(a, NULL);
	remove_set();
}

CASE(interrupted)
{
	new_set(1, 0600);
	struct agent *a = spawn(NULL);
	post(a, do_op, arg(0, -1));
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGSTOP);
	REQUIRE(await_state(a->pid, 'T'));
	kill(a->pid, SIGCONT);
	CHECK_EQ(finish(a), -EINTR, "[7.23] semop returns EINTR after a stop and a continue without a handler");
	call(a, ag_catch, SIGUSR1);
	post(a, do_op, arg(0, -1));
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[7.36] semop: EINTR, even with SA_RESTART");
	CHECK_EQ(waiting(0), 0, "[7.36] and nobody waits any more");
	post(a, do_op, arg(0, -1));
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGKILL);
	waitpid(a->pid, NULL, 0);
	CHECK_EQ(waiting(0), 0, "[ipc] semop: nor does one that was killed");
	remove_set();
}

CASE(undo)
{
	new_set(2, 0600);
	struct agent *a = spawn(NULL);
	CHECK_EQ(call(a, do_undo, arg(0, 5)), 0, "[ipc] semop: SEM_UNDO");
	CHECK_EQ(call(a, do_undo, arg(0, -2)), 0, "[ipc] semop: again");
	CHECK_EQ(call(a, do_op, arg(0, 10)), 0, "[ipc] semop: and without");
	set_val(1, 3);
	CHECK_EQ(call(a, do_undo, arg(1, -3)), 0, "[ipc] semop: of another");
	CHECK(val(0) == 13 && val(1) == 0, "[ipc] semop: the values");
	quit(a, 0);
	REQUIRE(await_zombie(a->pid));
	CHECK(val(0) == 10 && val(1) == 3, "[3.10] when a zombie is seen, what it did with SEM_UNDO is undone");
	CHECK_EQ(semctl(id, 0, GETPID), a->pid, "[3.10] by the process itself");
	waitpid(a->pid, NULL, 0);
	CHECK_EQ(semctl(id, 0, GETPID), a->pid, "[ipc] semctl: GETPID knows a process that is gone");

	a = spawn(NULL);
	set_val(0, 1);
	CHECK_EQ(call(a, do_undo, arg(0, -1)), 0, "[ipc] semop: the lock is taken");
	struct agent *b = spawn(NULL);
	post(b, do_op, arg(0, -1));
	REQUIRE(await_blocked_in(b));
	kill(a->pid, SIGKILL);
	CHECK_EQ(finish(b), 0, "[3.10] the death of the holder lets the waiter go on");
	waitpid(a->pid, NULL, 0);

	a = spawn(NULL);
	set_val(0, 0);
	call(a, do_undo, arg(0, 4));
	op1(0, -3, 0);
	quit(a, 0);
	waitpid(a->pid, NULL, 0);
	CHECK_EQ(val(0), 0, "[ipc] semop: what is not there any more is not taken off");

	a = spawn(NULL);
	call(a, do_undo, arg(0, 4));
	set_val(0, 6);
	quit(a, 0);
	waitpid(a->pid, NULL, 0);
	CHECK_EQ(val(0), 6, "[ipc] semctl: SETVAL forgets what is to be undone");

	a = spawn(NULL);
	set_val(0, 0);
	CHECK_EQ(call(a, do_undo, arg(0, 32767)), 0, "[ipc] semop: as much as can be undone");
	op1(0, -32767, 0);
	CHECK_EQ(call(a, do_undo, arg(0, 2)), -ERANGE, "[ipc] semop: more: ERANGE");
	CHECK_EQ(val(0), 0, "[ipc] semop: and nothing was done");
	retire(a, NULL);
	retire(b, NULL);
	remove_set();
}

CASE(undo_fork)
{
	new_set(1, 0600);
	struct agent *a = spawn(NULL);
	call(a, do_undo, arg(0, 5));
	struct agent *b = spawn(a);
	retire(b, a);
	CHECK_EQ(val(0), 5, "[6.18] a child does not inherit what is to be undone");
	struct agent *c = spawn_flags(a, CLONE_SYSVSEM | SIGCHLD);
	call(c, do_undo, arg(0, 2));
	retire(c, a);
	CHECK_EQ(val(0), 7, "[6.18] with CLONE_SYSVSEM it is shared, and undone when the last is gone");
	retire(a, NULL);
	CHECK_EQ(val(0), 0, "[6.18] all of it");

	a = spawn(NULL);
	struct agent *t = spawn_thread(a);
	call(t, do_undo, arg(0, 3));
	quit_thread(t, 0);
	REQUIRE(AWAIT(syscall(SYS_tgkill, a->pid, t->tid, 0) == -1));
	CHECK_EQ(val(0), 3, "[6.18] a thread's end undoes nothing");
	retire(a, NULL);
	CHECK_EQ(val(0), 0, "[6.18] the process's does");
	remove_set();
}

static long ag_unshare(long flags)
{
	return unshare(flags) ? -errno : 0;
}

CASE(undo_unshare)
{
	new_set(1, 0600);
	struct agent *a = spawn(NULL);
	call(a, do_undo, arg(0, 5));
	CHECK_EQ(call(a, ag_unshare, CLONE_SYSVSEM), 0, "[6.25] unshare(CLONE_SYSVSEM)");
	CHECK_EQ(val(0), 0, "[6.25] undoes, as the end of the process would");
	call(a, do_undo, arg(0, 2));
	retire(a, NULL);
	CHECK_EQ(val(0), 0, "[6.25] what follows has a list of its own");
	remove_set();
}

CASE(undo_exec)
{
	new_set(1, 0600);
	pid_t pid = fork_hold(do_undo, arg(0, 4));
	CHECK_EQ(val(0), 4, "[10.10] exec undoes nothing");
	close(down[1]);
	REQUIRE(await_zombie(pid));
	CHECK_EQ(val(0), 0, "[10.10] the new program's end does");
	waitpid(pid, NULL, 0);
	remove_set();
}

static long stat_set(long x)
{
	struct semid_ds ds;
	(void)x;
	return semctl(id, 0, IPC_STAT, (union semun){ .buf = &ds }) < 0 ? -errno : 0;
}

static long value_of(long num)
{
	int v = val(num);
	return v < 0 ? -errno : v;
}

static long remove_it(long x)
{
	(void)x;
	return semctl(id, 0, IPC_RMID) ? -errno : 0;
}

static long find(long key)
{
	return semget(key, 0, 0600) < 0 ? -errno : 0;
}

static long wait_zero(long x)
{
	(void)x;
	return op1(0, 0, IPC_NOWAIT) ? -errno : 0;
}

CASE(permissions)
{
	NEED_ROOT("[ipc] semctl: permissions");
	key_t key = 0x46540000 + getpid();
	id = MUST(semget(key, 1, IPC_CREAT | 0604));
	struct agent *a = spawn(NULL);
	call(a, ag_drop, 12345);
	CHECK_EQ(call(a, value_of, 0), 0, "[ipc] semctl: others may read");
	CHECK_EQ(call(a, stat_set, 0), 0, "[ipc] semctl: IPC_STAT needs to read");
	CHECK_EQ(call(a, wait_zero, 0), 0, "[ipc] semop: so does waiting for zero");
	CHECK_EQ(call(a, do_op, arg(0, 1)), -EACCES, "[ipc] semop: a change needs to write: EACCES");
	CHECK_EQ(call(a, find, key), -EACCES, "[ipc] semget: asks for the mode: EACCES");
	CHECK_EQ(call(a, remove_it, 0), -EPERM, "[ipc] semctl: IPC_RMID is the owner's: EPERM");
	struct semid_ds ds;
	MUST(semctl(id, 0, IPC_STAT, (union semun){ .buf = &ds }));
	ds.sem_perm.mode = 0;
	MUST(semctl(id, 0, IPC_SET, (union semun){ .buf = &ds }));
	CHECK_EQ(call(a, value_of, 0), -EACCES, "[ipc] semctl: nor to read: EACCES");
	CHECK_OK(op1(0, 1, 0), "[ipc] semop: CAP_IPC_OWNER needs no permission");
	ds.sem_perm.uid = 12345;
	ds.sem_perm.mode = 0600;
	MUST(semctl(id, 0, IPC_SET, (union semun){ .buf = &ds }));
	CHECK_EQ(call(a, do_op, arg(0, 1)), 0, "[ipc] semctl: a new owner may");
	CHECK_EQ(call(a, remove_it, 0), 0, "[ipc] semctl: and remove it");
	retire(a, NULL);
}

CASE(info)
{
	struct seminfo info;
	struct semid_ds ds;
	char line[256], want[64];
	bool seen = false;
	new_set(4, 0600);
	int highest = semctl(0, 0, SEM_INFO, (union semun){ .info = &info });
	CHECK(highest >= 0 && info.semusz >= 1 && info.semaem >= 4, "[ipc] semctl: SEM_INFO: sets and semaphores in use");
	CHECK(semctl(0, 0, IPC_INFO, (union semun){ .info = &info }) >= 0 && info.semmsl == 32000 && info.semmni == 32000 &&
		      info.semopm == 500 && info.semvmx == 32767 && info.semmns == 1024000000, "[ipc] semctl: IPC_INFO: the limits");
	bool by_index = false, any = false;
	for (int i = 0; i <= highest; i++) {
		by_index |= semctl(i, 0, SEM_STAT, (union semun){ .buf = &ds }) == id && ds.sem_nsems == 4;
		any |= semctl(i, 0, SEM_STAT_ANY, (union semun){ .buf = &ds }) == id && ds.sem_nsems == 4;
	}
	CHECK(by_index, "[ipc] semctl: SEM_STAT finds it by its index");
	CHECK(any, "[ipc] semctl: so does SEM_STAT_ANY");
	FILE *f = fopen("/proc/sysvipc/sem", "r");
	REQUIRE(f);
	snprintf(want, sizeof want, "%10d %10d  %4o %10u %5u", 0, id, 0600, 4, geteuid());
	while (fgets(line, sizeof line, f))
		seen |= strncmp(line, want, strlen(want)) == 0;
	fclose(f);
	CHECK(seen, "[proc] /proc/sysvipc/sem has its line");
	int limits[4] = { 0 };
	f = fopen("/proc/sys/kernel/sem", "r");
	REQUIRE(f);
	CHECK(fscanf(f, "%d %d %d %d", &limits[0], &limits[1], &limits[2], &limits[3]) == 4 && limits[0] == 32000 && limits[2] == 500,
	      "[proc] /proc/sys/kernel/sem has the limits");
	fclose(f);
	remove_set();
}

/* Each of two processes takes the one and gives the other, many times: nothing is lost, nobody sleeps through its turn. */
static long ping(long side)
{
	for (int i = 0; i < 2000; i++)
		if (op1(side, -1, SEM_UNDO) || op1(!side, 1, SEM_UNDO))
			return -errno;
	return 0;
}

CASE(ping_pong)
{
	new_set(2, 0600);
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	post(a, ping, 0);
	post(b, ping, 1);
	op1(0, 1, 0);
	CHECK(finish(a) == 0 && finish(b) == 0, "[ipc] semop: two take turns");
	CHECK(val(0) == 1 && val(1) == 0, "[ipc] semop: and nothing is lost");
	retire(a, NULL);
	retire(b, NULL);
	remove_set();
}
