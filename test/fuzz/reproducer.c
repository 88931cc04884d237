/*
 * Build with: gcc -O1 -static -no-pie -fno-stack-protector -mno-red-zone -D_GNU_SOURCE; run as root, or as PID 1 of a guest.
 * DO(actor, operation, arguments) makes one process or thread do one thing, prints what it returned and then
 * every process: state, parent, group, session, exit signal. Actors are numbers; P(3) is the pid of actor 3; actor 0
 * is init. The comments are what the fuzzer saw.
 */
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OP_FORK, OP_EXIT, OP_EXIT_GROUP, OP_KILL, OP_TGKILL, OP_SIGQUEUE, OP_WAIT4, OP_WAITID, OP_SUBREAPER, OP_PDEATHSIG,
       OP_SIGACTION, OP_SIGMASK, OP_TAKE, OP_SETSID, OP_SETPGID, OP_EXEC, OP_SETUID, OP_AUDIT, OP_GETPGID, OP_GETSID,
       OP_PIDFD_OPEN, OP_PIDFD_KILL, OP_PIDFD_POLL, OP_CLOSE, OP_UNSHARE };
#define N 192
static struct box { volatile unsigned ask, told; volatile int tid, op; volatile long a, b, c, ret, out[6]; } *box;
static char stacks[N][65536] __attribute__((aligned(64)));
int unshare(int flags);
static void act(struct box *me) __attribute__((noreturn, used));

static long call(long nr, long a, long b, long c, long d, struct box *child)
{
	long ret;
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = 0;
	register struct box *r12 asm("r12") = child;
	asm volatile("syscall\n test %%r12, %%r12\n jz 1f\n test %%rax, %%rax\n jnz 1f\n sub $256, %%rsp\n and $-16, %%rsp\n"
		     "mov %%r12, %%rdi\n call act\n 1:"
		     : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r12) : "rcx", "r11", "memory");
	return ret;
}
#define CALL(nr, a, b, c, d) call(SYS_##nr, (long)(a), (long)(b), (long)(c), (long)(d), 0)

asm("back: mov $15, %eax\n syscall");
extern void back(void);
static void caught(int sig) { CALL(write, 2, "caught\n", 7, 0); (void)sig; }

static long run(struct box *me)
{
	long a = me->a, b = me->b, c = me->c;
	siginfo_t info = { 0 };
	switch (me->op) {
	case OP_FORK: {
		char *top = b & CLONE_VM ? stacks[a] + sizeof stacks[a] : 0;
		struct clone_args args = { .flags = b & ~0xffl, .exit_signal = b & 0xff,
					   .stack = top ? (long)stacks[a] : 0, .stack_size = top ? sizeof stacks[a] : 0 };
		return c == 1 ? call(SYS_clone3, (long)&args, sizeof args, 0, 0, &box[a]) : call(SYS_clone, b, (long)top, 0, 0, &box[a]);
	}
	case OP_EXIT: return CALL(exit, a, 0, 0, 0);
	case OP_EXIT_GROUP: return CALL(exit_group, a, 0, 0, 0);
	case OP_KILL: return CALL(kill, a, b, 0, 0);
	case OP_TGKILL: return CALL(tgkill, a, b, c, 0);
	case OP_SIGQUEUE: info.si_code = c; return CALL(rt_sigqueueinfo, a, b, &info, 0);
	case OP_WAIT4: return CALL(wait4, a, &me->out[0], b, 0);
	case OP_WAITID: {
		long ret = CALL(waitid, a, b, &info, c);
		return me->out[0] = info.si_pid, me->out[1] = info.si_code, me->out[2] = info.si_status, ret;
	}
	case OP_SUBREAPER: return CALL(prctl, PR_SET_CHILD_SUBREAPER, a, 0, 0);
	case OP_PDEATHSIG: return CALL(prctl, PR_SET_PDEATHSIG, a, 0, 0);
	case OP_SIGACTION: {
		struct { long handler, flags; void *restorer; long mask; } act = { b == 2 ? (long)caught : b, c | 0x4000000, back, 0 };
		return CALL(rt_sigaction, a, &act, 0, 8);
	}
	case OP_SIGMASK: return CALL(rt_sigprocmask, a, &b, 0, 8);
	case OP_TAKE: {
		long none[2] = { 0, 0 }, ret = CALL(rt_sigtimedwait, &a, &info, none, 8);
		return me->out[0] = info.si_pid, me->out[1] = info.si_code, me->out[2] = info.si_status, ret;
	}
	case OP_SETSID: return CALL(setsid, 0, 0, 0, 0);
	case OP_SETPGID: return CALL(setpgid, a, b, 0, 0);
	case OP_EXEC: return CALL(execve, a ? "/no/such/program" : "/proc/self/exe", 0, 0, 0);	/* ends: no actor after it */
	case OP_SETUID: return a == 2 ? CALL(setresuid, -1, 0, -1, 0) : CALL(setresuid, a ? 65534 : -1, 65534, a ? 65534 : -1, 0);
	case OP_AUDIT: {
		CALL(prctl, PR_GET_CHILD_SUBREAPER, &me->out[1], 0, 0), CALL(prctl, PR_GET_PDEATHSIG, &me->out[2], 0, 0);
		return CALL(rt_sigpending, &me->out[3], 8, 0, 0), CALL(getppid, 0, 0, 0, 0);
	}
	case OP_GETPGID: return CALL(getpgid, a, 0, 0, 0);
	case OP_GETSID: return CALL(getsid, a, 0, 0, 0);
	case OP_PIDFD_OPEN: return CALL(pidfd_open, a, b, 0, 0);
	case OP_PIDFD_KILL: return CALL(pidfd_send_signal, a, b, 0, c);
	case OP_PIDFD_POLL: {
		struct pollfd fd = { a, POLLIN, 0 };
		return CALL(poll, &fd, 1, 0, 0), fd.revents;
	}
	case OP_CLOSE: return CALL(close, a, 0, 0, 0);
	case OP_UNSHARE: return CALL(unshare, a, 0, 0, 0);
	}
	return -38;
}

static void act(struct box *me)
{
	me->tid = CALL(gettid, 0, 0, 0, 0);
	if (CALL(getppid, 0, 0, 0, 0) == 1 && me->c == 2)
		CALL(setsid, 0, 0, 0, 0);
	for (unsigned seen = 0;; me->told = seen) {
		while (me->ask == seen)
			CALL(futex, &me->ask, FUTEX_WAIT, seen, 0);
		seen = me->ask;
		me->ret = run(me);
	}
}

static long P(int id) { return id ? box[id].tid : 1; }

static void DO_(int line, int id, const char *text, int op, long a, long b, long c)
{
	struct box *b_ = &box[id];
	b_->op = op, b_->a = a, b_->b = b, b_->c = c;
	if (op == OP_FORK)
		box[a].c = c;
	unsigned number = ++b_->ask;
	if (id)
		CALL(futex, &b_->ask, FUTEX_WAKE, 1, 0);
	else
		b_->ret = run(b_), b_->told = number;
	usleep(100000);		/* a reproducer may: whatever it led to has happened by now */
	printf("line %d: %d %s: ", line, id, text);
	if (b_->told == number)
		printf("%ld (%#lx %ld %ld)\n", b_->ret, b_->out[0], b_->out[1], b_->out[2]);
	else
		printf("has not returned\n");
	for (int i = 1; i < N; i++) {
		char path[64], stat[512] = "";
		snprintf(path, sizeof path, "/proc/%d/stat", box[i].tid);
		FILE *f = box[i].tid ? fopen(path, "r") : 0;
		if (f && fgets(stat, sizeof stat, f) && strrchr(stat, ')')) {
			long v[53] = { 0 };
			char state, *at = strrchr(stat, ')') + 3;
			state = *at++;
			for (int field = 4; field < 53; field++)
				v[field] = strtol(at, &at, 10);
			printf("\t%d: pid %d %c ppid %ld pgrp %ld session %ld exit_signal %ld exit_code %#lx\n", i, box[i].tid,
			       state, v[4], v[5], v[6], v[38], v[52]);
		}
		if (f)
			fclose(f);
	}
}
#define DO(id, op, a, b, c) DO_(__LINE__, id, #op " " #a " " #b " " #c, op, a, b, c)

static void operations(void)
{
	/* OPERATIONS */
}

int main(void)
{
	int guest = getpid() == 1;
	setvbuf(stdout, 0, _IONBF, 0);
	if (!guest) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0))
			return perror("unshare (root?)"), 1;
		if (fork())
			return wait(0), 0;
	}
	mount("proc", "/proc", "proc", 0, 0);
	box = mmap(0, N * sizeof *box, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setsid();
	operations();
	if (guest)
		reboot(RB_POWER_OFF);
	kill(-1, SIGKILL);
	return 0;
}
