/* kcmp.c - kcmp(2): which tasks share what. */
#include "lib/tap.h"

#include <sys/epoll.h>
#include <sys/sem.h>

enum { FILE_, VM, FILES, FS, SIGHAND, IO, SYSVSEM, EPOLL_TFD };

struct slot { unsigned epoll, target, offset; };

static long kcmp(long a, long b, long type, unsigned long x, unsigned long y) { return syscall(SYS_kcmp, a, b, type, x, y); }
static bool same(long a, long b, int type) { return kcmp(a, b, type, 0, 0) == 0; }
/* 1 and 2 are an order: the other way round it is the other one. */
static bool differ(long a, long b, int type) { return kcmp(a, b, type, 0, 0) + kcmp(b, a, type, 0, 0) == 3; }

static int sleeps(void *a) { (void)a; for (;;) pause(); return 0; }
static char *stack(void) { return (char *)map_pages(8) + 8 * 4096; }
static pid_t child(int flags) { return MUST(clone(sleeps, stack(), flags | SIGCHLD, NULL)); }
static void end(pid_t pid) { kill(pid, SIGKILL); reap(pid); }

CASE(what_is_shared)
{
	static const struct { int flags; int type; const char *name; } share[] = {
		{ CLONE_VM, VM, "memory" }, { CLONE_FILES, FILES, "descriptors" }, { CLONE_FS, FS, "directories" },
		{ CLONE_VM | CLONE_SIGHAND, SIGHAND, "dispositions" },
	};
	pid_t me = getpid(), plain = child(0);
	for (unsigned i = 0; i < 4; i++) {
		pid_t pid = child(share[i].flags);
		char text[96];
		snprintf(text, sizeof text, "[kcmp] %s: shared by who was made so", share[i].name);
		CHECK(same(me, pid, share[i].type), text);
		snprintf(text, sizeof text, "[kcmp] %s: a plain child has others", share[i].name);
		CHECK(differ(me, plain, share[i].type), text);
		snprintf(text, sizeof text, "[kcmp] %s: and so have two children", share[i].name);
		CHECK(differ(pid, plain, share[i].type), text);
		snprintf(text, sizeof text, "[kcmp] %s: one's own are the same", share[i].name);
		CHECK(same(me, me, share[i].type), text);
		end(pid);
	}
	CHECK(same(me, plain, IO) && same(me, plain, SYSVSEM), "[kcmp] who has no priority of input and output, and nothing to undo, has the same");
	end(plain);
}

CASE(threads_share)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	CHECK(same(p->pid, t->tid, VM) && same(p->pid, t->tid, FILES) && same(p->pid, t->tid, FS) && same(p->pid, t->tid, SIGHAND), "[kcmp] threads share all");
	CHECK(differ(getpid(), t->tid, VM), "[kcmp] the number of any thread will do");
	retire(p, NULL);
}

CASE(io_priority)
{
	pid_t me = getpid(), before = child(0);
	REQUIRE(syscall(SYS_ioprio_set, 1L, 0L, (2L << 13) | 3) == 0);
	CHECK(differ(me, before, IO), "[kcmp] a priority makes the difference");
	pid_t plain = child(0), with = child(CLONE_IO);
	CHECK(differ(me, plain, IO), "[kcmp,6.24] a child has its own");
	CHECK(same(me, with, IO), "[kcmp,6.24] with CLONE_IO the parent's");
	CHECK_EQ(syscall(SYS_ioprio_get, 1L, (long)with), (2L << 13) | 3, "[6.24] its priority is the parent's");
	REQUIRE(syscall(SYS_ioprio_set, 1L, (long)with, (2L << 13) | 5) == 0);
	CHECK_EQ(syscall(SYS_ioprio_get, 1L, 0L), (2L << 13) | 5, "[6.24] a change of one is a change of both");
	CHECK_EQ(syscall(SYS_ioprio_get, 1L, (long)plain), (2L << 13) | 3, "[6.24] but not of others");
	end(before);
	end(plain);
	end(with);
}

CASE(undo)
{
	pid_t me = getpid(), before = child(0);
	int id = MUST(semget(IPC_PRIVATE, 1, 0600));
	struct sembuf up = { 0, 1, SEM_UNDO };
	REQUIRE(semop(id, &up, 1) == 0);
	CHECK(differ(me, before, SYSVSEM), "[kcmp] something to undo makes the difference");
	pid_t plain = child(0), with = child(CLONE_SYSVSEM);
	CHECK(differ(me, plain, SYSVSEM), "[kcmp,6.18] a child has nothing to undo");
	CHECK(same(me, with, SYSVSEM), "[kcmp,6.18] with CLONE_SYSVSEM it is the parent's");
	end(before);
	end(plain);
	end(with);
	semctl(id, 0, IPC_RMID);
}

CASE(files)
{
	pid_t me = getpid();
	int a = MUST(open("/proc/self/stat", O_RDONLY)), b = MUST(dup(a)), c = MUST(open("/proc/self/stat", O_RDONLY)), path = MUST(open("/", O_PATH));
	pid_t kid = child(0);
	CHECK_EQ(kcmp(me, me, FILE_, a, b), 0, "[kcmp] a duplicate is the same open file");
	CHECK_EQ(kcmp(me, me, FILE_, a, c) + kcmp(me, me, FILE_, c, a), 3, "[kcmp] another open of the same is not");
	CHECK_EQ(kcmp(me, kid, FILE_, a, b), 0, "[kcmp] a child's is the same");
	CHECK_EQ(kcmp(me, me, FILE_, path, path), 0, "[kcmp] O_PATH is a file too");
	CHECK_EQ(kcmp(me, me, FILE_, 1L << 32 | a, b), 0, "[kcmp] the high half of a descriptor is not looked at");
	CHECK_ERR(kcmp(me, me, FILE_, a, 999), EBADF, "[kcmp] a descriptor that is not open: EBADF");
	CHECK_ERR(kcmp(me, me, FILE_, -1, a), EBADF, "[kcmp] also the first one");
	int late = MUST(open("/proc/self/stat", O_RDONLY));
	CHECK_ERR(kcmp(me, kid, FILE_, late, late), EBADF, "[kcmp] one that the child has not");
	end(kid);
}

CASE(epoll)
{
	pid_t me = getpid();
	int ep = MUST(epoll_create1(0)), p[2], q[2];
	REQUIRE(pipe(p) == 0 && pipe(q) == 0);
	struct epoll_event ev = { .events = EPOLLIN };
	REQUIRE(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev) == 0);
	struct slot s = { ep, p[0], 0 };
	CHECK_EQ(kcmp(me, me, EPOLL_TFD, p[0], (long)&s), 0, "[kcmp] the file that an epoll watches");
	CHECK(kcmp(me, me, EPOLL_TFD, p[1], (long)&s) > 0, "[kcmp] is no other");
	s.offset = 1;
	CHECK_ERR(kcmp(me, me, EPOLL_TFD, p[0], (long)&s), ENOENT, "[kcmp] there is no second one of that number: ENOENT");
	s = (struct slot){ ep, q[0], 0 };
	CHECK_ERR(kcmp(me, me, EPOLL_TFD, p[0], (long)&s), ENOENT, "[kcmp] none of another number: ENOENT");
	int other = MUST(dup(p[0])), number = p[0];
	REQUIRE(dup2(q[0], number) == number && epoll_ctl(ep, EPOLL_CTL_ADD, number, &ev) == 0);
	s = (struct slot){ ep, number, 0 };
	int first = kcmp(me, me, EPOLL_TFD, other, (long)&s);
	s.offset = 1;
	int second = kcmp(me, me, EPOLL_TFD, other, (long)&s);
	CHECK((first == 0) + (second == 0) == 1, "[kcmp] two files under one number are told apart by the offset");
	s.offset = 2;
	CHECK_ERR(kcmp(me, me, EPOLL_TFD, other, (long)&s), ENOENT, "[kcmp] a third: ENOENT");
	s = (struct slot){ other, number, 0 };
	CHECK_ERR(kcmp(me, me, EPOLL_TFD, other, (long)&s), EINVAL, "[kcmp] no epoll: EINVAL");
	s.epoll = 999;
	CHECK_ERR(kcmp(me, me, EPOLL_TFD, other, (long)&s), EBADF, "[kcmp] not open: EBADF");
	s.epoll = ep;
	CHECK_ERR(kcmp(me, me, EPOLL_TFD, 999, (long)&s), EBADF, "[kcmp] nor the file: EBADF");
	CHECK_ERR(kcmp(me, me, EPOLL_TFD, 999, (long)BADPTR), EFAULT, "[kcmp] a bad pointer: EFAULT");
}

CASE(errors)
{
	pid_t me = getpid();
	CHECK_ERR(kcmp(me, me, 8, 0, 0), EINVAL, "[kcmp] an unknown type: EINVAL");
	CHECK_ERR(kcmp(me, me, -1, 0, 0), EINVAL, "[kcmp] so is -1");
	CHECK_ERR(kcmp(me, 0, VM, 0, 0), ESRCH, "[kcmp] 0 is no task: ESRCH");
	CHECK_ERR(kcmp(-1, me, VM, 0, 0), ESRCH, "[kcmp] nor is -1");
	CHECK_ERR(kcmp(me, 4999999, 99, 0, 0), ESRCH, "[kcmp] ESRCH comes before EINVAL");
	pid_t z[2];
	for (int i = 0; i < 2; i++) {
		z[i] = MUST(fork());
		if (z[i] == 0)
			_exit(0);
		REQUIRE(await_zombie(z[i]));
	}
	CHECK(same(z[0], z[1], VM) && same(z[0], z[1], FILES) && same(z[0], z[1], FS), "[kcmp,3.10] zombies have nothing left");
	CHECK(differ(me, z[0], VM) && differ(me, z[0], FILES), "[kcmp] unlike the living");
	CHECK(same(z[0], z[0], SIGHAND) && differ(z[0], z[1], SIGHAND), "[kcmp] but their dispositions");
	CHECK_ERR(kcmp(z[0], me, FILE_, 0, 0), EBADF, "[kcmp,3.10] no descriptor is open: EBADF");
	NEED_ROOT("[kcmp] permission");
	struct agent *u = spawn(NULL), *v = spawn(NULL);
	REQUIRE(call(u, ag_drop, 1000) == 0 && call(v, ag_drop, 1000) == 0);
	long with_me(long x) { return kcmp(x, getpid(), VM, 0, 0); }
	long unknown(long x) { return kcmp(x, getpid(), 99, 0, 0); }
	long dumpable(long x) { return prctl(PR_SET_DUMPABLE, x, 0, 0, 0); }
	CHECK(call(u, with_me, me) == -1 && u->err == EPERM, "[kcmp] of another user: EPERM");
	CHECK(call(u, unknown, me) == -1 && u->err == EPERM, "[kcmp] before EINVAL");
	CHECK(call(u, with_me, z[0]) == -1 && u->err == EPERM, "[kcmp] another user's zombie: EPERM");
	CHECK(call(u, with_me, v->pid) == -1 && u->err == EPERM, "[kcmp,1.37] one that is not dumpable: EPERM");
	REQUIRE(call(v, dumpable, 1) == 0);
	CHECK(call(u, with_me, v->pid) > 0, "[kcmp,1.37] dumpable, and one's own: allowed");
	reap(z[0]);
	reap(z[1]);
	CHECK_ERR(kcmp(me, z[0], VM, 0, 0), ESRCH, "[kcmp,3.12] reaped: ESRCH");
	retire(u, NULL);
	retire(v, NULL);
}
