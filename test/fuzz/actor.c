/*
 * actor.c - what runs in the tree.
 *
 * Nothing here uses the C library: threads and CLONE_VM children are bare clones without thread-local storage of
 * their own, and errno would be shared. %gs points to the slot of the actor that runs.
 */
#include "fuzz.h"
#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>

#define STACK_SIZE (64 << 10)
static char stacks[NACTOR][STACK_SIZE] __attribute__((aligned(4096)));

#define AT_EMPTY_PATH 0x1000
#define ARCH_SET_GS 0x1001
#define ME ({ struct slot *s_; asm volatile("mov %%gs:0, %0" : "=r"(s_)); s_; })

static inline long call6(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	asm volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return ret;
}
#define call(nr, a, b, c, d, e) call6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

long futex_word(volatile uint32_t *word, int op, uint32_t value, const void *timeout)
{
	return call6(SYS_futex, (long)word, op, value, (long)timeout, 0, 0);
}

/* A clone whose child, on whatever stack it gets, becomes the actor `child`. */
static __attribute__((noinline)) long clone_actor(long nr, long a, long b, long c, long d, long e, struct slot *child)
{
	long ret;
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register struct slot *r12 asm("r12") = child;
	asm volatile("syscall\n\t"
		     "test %%rax, %%rax\n\t"
		     "jnz 1f\n\t"
		     "xor %%ebp, %%ebp\n\t"
		     "sub $256, %%rsp\n\t"
		     "and $-16, %%rsp\n\t"
		     "mov %%r12, %%rdi\n\t"
		     "call actor_main\n\t"
		     "ud2\n"
		     "1:"
		     : "=a"(ret)
		     : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r12)
		     : "rcx", "r11", "memory");
	return ret;
}

static void tell(void)
{
	__atomic_add_fetch(&sh->event, 1, __ATOMIC_SEQ_CST);
	futex_word(&sh->event, FUTEX_WAKE, 1, 0);
}

/* ---- signals ---- */
static void on_signal(int sig, siginfo_t *info, void *context)
{
	(void)context;
	uint32_t at = __atomic_fetch_add(&sh->nrec, 1, __ATOMIC_SEQ_CST);
	if (at < NREC)
		sh->rec[at] = (struct record){ ME - sh->slot, sig, info->si_code, info->si_pid, info->si_status,
					       info->si_uid, info->si_value.sival_int };
}

asm("signal_return: mov $15, %eax\n\tsyscall\n\tud2");
extern void signal_return(void);

struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static long set_disposition(int sig, long what, unsigned long flags)
{
	struct kernel_sigaction act = { what == 2 ? (void *)on_signal : (void *)what,
					flags | SA_SIGINFO | 0x04000000 /* SA_RESTORER */, signal_return, 0 };
	return call(SYS_rt_sigaction, sig, &act, 0, 8, 0);
}

/* ---- operations ---- */
static long do_fork(struct slot *me, struct slot *child, unsigned long flags, int how)
{
	child->how = how;
	me->out[0] = 0;	/* the pidfd, if there is to be one */
	char *top = 0;
	if (flags & CLONE_VM)
		top = stacks[child - sh->slot] + STACK_SIZE;
	if (how != HOW_CLONE3)
		return clone_actor(SYS_clone, flags, (long)top, (long)&me->out[0], 0, 0, child);
	struct clone_args args = { 0 };
	args.flags = flags & ~0xfful;
	args.exit_signal = flags & 0xff;
	if (flags & CLONE_PIDFD)
		args.pidfd = (uint64_t)&me->out[0];
	if (top) {
		args.stack = (uint64_t)(top - STACK_SIZE);
		args.stack_size = STACK_SIZE;
	}
	return clone_actor(SYS_clone3, (long)&args, sizeof args, 0, 0, 0, child);
}

static long do_waitid(struct slot *me)
{
	siginfo_t info = { 0 };
	long ret = call(SYS_waitid, me->arg[0], me->arg[1], &info, me->arg[2], 0);
	me->out[0] = info.si_pid;
	me->out[1] = info.si_code;
	me->out[2] = info.si_status;
	me->out[3] = info.si_uid;
	me->out[4] = info.si_signo;
	return ret;
}

static long do_sigtimedwait(struct slot *me, const void *timeout)
{
	uint64_t set = me->arg[0];
	siginfo_t info = { 0 };
	long ret = call(SYS_rt_sigtimedwait, &set, &info, timeout, 8, 0);
	me->out[0] = info.si_pid;
	me->out[1] = info.si_code;
	me->out[2] = info.si_status;
	me->out[3] = info.si_uid;
	me->out[4] = info.si_value.sival_int;
	return ret;
}

static long do_signalfd(struct slot *me)
{
	uint64_t set = me->arg[0];
	struct signalfd_siginfo info = { 0 };
	long fd = call(SYS_signalfd4, -1, &set, 8, me->arg[1] | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	long ret = call(SYS_read, fd, &info, sizeof info, 0, 0);
	call(SYS_close, fd, 0, 0, 0, 0);
	me->out[0] = info.ssi_pid;
	me->out[1] = info.ssi_code;
	me->out[2] = info.ssi_status;
	me->out[3] = info.ssi_uid;
	me->out[4] = info.ssi_int;
	return ret < 0 ? ret : info.ssi_signo;
}

static long do_sigqueues(long target, long sig, long count)
{
	for (long i = 0; i < count; i++) {
		siginfo_t info = { 0 };
		info.si_code = SI_QUEUE;
		info.si_pid = 77;
		info.si_uid = 78;
		info.si_value.sival_int = i + 1;
		long ret = call(SYS_rt_sigqueueinfo, target, sig, &info, 0, 0);
		if (ret < 0)
			return ret;
	}
	return count;
}

static long do_exec(struct slot *me)
{
	static const char digits[] = "0123456789";
	char number[4] = { digits[me->arg[1] / 100 % 10], digits[me->arg[1] / 10 % 10], digits[me->arg[1] % 10], 0 };
	char *argv[] = { "fuzz", "-actor", number, 0 };
	char *envp[] = { 0 };
	if (me->arg[0])
		return call(SYS_execve, "/no/such/program", argv, envp, 0, 0);
	return call(SYS_execveat, PROGRAM_FD, "", argv, envp, AT_EMPTY_PATH);
}

static long do_setuid(long kind)
{
	if (kind == 2)
		return call(SYS_setresuid, -1, 0, -1, 0, 0);
	long id = sh->user;
	return call(SYS_setresuid, kind ? id : -1, id, kind ? id : -1, 0, 0);
}

static long do_audit(struct slot *me)
{
	int value = -1;
	uint64_t pending = 0;
	me->out[0] = call(SYS_getppid, 0, 0, 0, 0, 0);
	me->out[1] = call(SYS_getpgid, 0, 0, 0, 0, 0);
	me->out[2] = call(SYS_getsid, 0, 0, 0, 0, 0);
	call(SYS_prctl, 37 /* PR_GET_CHILD_SUBREAPER */, &value, 0, 0, 0);
	me->out[3] = value;
	value = -1;
	call(SYS_prctl, 2 /* PR_GET_PDEATHSIG */, &value, 0, 0, 0);
	me->out[4] = value;
	call(SYS_rt_sigpending, &pending, 8, 0, 0, 0);
	me->out[5] = pending;
	me->out[6] = call(SYS_getpid, 0, 0, 0, 0, 0);
	me->out[7] = call(SYS_gettid, 0, 0, 0, 0, 0);
	return 0;
}

static long do_poll(long fd)
{
	struct { int fd; short events, revents; } poll = { fd, 0x41 /* POLLIN | POLLRDNORM */, 0 };
	long ret = call(SYS_poll, &poll, 1, 0, 0, 0);
	return ret < 0 ? ret : poll.revents;
}

/* ---- namespaces ---- */
static char *put(char *at, const char *text)
{
	while (*text)
		*at++ = *text++;
	*at = 0;
	return at;
}

static char *put_number(char *at, unsigned long n)
{
	char digits[20];
	int i = 20;
	do
		digits[--i] = '0' + n % 10;
	while (n /= 10);
	while (i < 20)
		*at++ = digits[i++];
	*at = 0;
	return at;
}

static long do_setns(long pid, long how)
{
	char path[64];
	long fd;
	if (how == SETNS_PIDFD) {
		fd = call(SYS_pidfd_open, pid, 0, 0, 0, 0);
	} else {
		put(put_number(put(path, "/proc/"), pid), how == SETNS_PID ? "/ns/pid" : "/ns/pid_for_children");
		fd = call(SYS_open, path, O_RDONLY | O_CLOEXEC, 0, 0, 0);
	}
	if (fd < 0)
		return fd;
	long ret = call(SYS_setns, fd, CLONE_NEWPID, 0, 0, 0);
	call(SYS_close, fd, 0, 0, 0, 0);
	return ret;
}

/* ---- terminals ---- */
static long open_tty(long index, long flags)
{
	char path[32];
	put_number(put(path, "/dev/pts/"), index);
	long fd = call(SYS_open, path, O_RDWR | flags, 0, 0, 0);
	if (fd < 0)
		return fd;
	long ret = call(SYS_dup2, fd, TTY_FD, 0, 0, 0);
	call(SYS_close, fd, 0, 0, 0, 0);
	return ret;
}

static long ask_tty(struct slot *me)
{
	int pgrp = -1, session = -1;
	long ret = call(SYS_ioctl, TTY_FD, TIOCGPGRP, &pgrp, 0, 0);
	me->out[0] = pgrp;
	me->out[1] = call(SYS_ioctl, TTY_FD, TIOCGSID, &session, 0, 0);
	me->out[2] = session;
	return ret;
}

static long set_tostop(long on)
{
	struct { uint32_t iflag, oflag, cflag, lflag; uint8_t line, cc[19]; } termios;
	long ret = call(SYS_ioctl, TTY_FD, TCGETS, &termios, 0, 0);
	if (ret < 0)
		return ret;
	termios.lflag = (termios.lflag & ~(uint32_t)TOSTOP) | (on ? TOSTOP : 0);
	return call(SYS_ioctl, TTY_FD, TCSETS, &termios, 0, 0);
}

static long read_tty(struct slot *me)
{
	me->out[0] = 0;
	return call(SYS_read, TTY_FD, &me->out[0], 8, 0, 0);
}

static long open_dev_tty(void)
{
	long fd = call(SYS_open, "/dev/tty", O_RDWR | O_NOCTTY, 0, 0, 0);
	if (fd < 0)
		return fd;
	return call(SYS_close, fd, 0, 0, 0, 0);
}

static long set_nproc(long n)
{
	struct { uint64_t soft, hard; } limit;
	call(SYS_getrlimit, 6 /* RLIMIT_NPROC */, &limit, 0, 0, 0);
	limit.soft = n;
	return call(SYS_setrlimit, 6 /* RLIMIT_NPROC */, &limit, 0, 0, 0);
}

long actor_run(struct slot *me)
{
	long a = me->arg[0], b = me->arg[1], c = me->arg[2];
	int status = -1;
	long ret;
	switch ((enum code)me->op) {
	case OP_FORK: return do_fork(me, &sh->slot[a], b, c);
	case OP_EXIT: return call(SYS_exit, a, 0, 0, 0, 0);
	case OP_EXIT_GROUP: return call(SYS_exit_group, a, 0, 0, 0, 0);
	case OP_KILL: return call(SYS_kill, a, b, 0, 0, 0);
	case OP_TGKILL: return call(SYS_tgkill, a, b, c, 0, 0);
	case OP_SIGQUEUE: {
		siginfo_t info = { 0 };
		info.si_code = c;
		info.si_pid = 77;
		info.si_uid = 78;
		info.si_value.sival_int = 79;
		return call(SYS_rt_sigqueueinfo, a, b, &info, 0, 0);
	}
	case OP_SIGQUEUES: return do_sigqueues(a, b, c);
	case OP_WAIT4:
		ret = call(SYS_wait4, a, &status, b, 0, 0);
		me->out[0] = status;
		return ret;
	case OP_WAITID: return do_waitid(me);
	case OP_SUBREAPER: return call(SYS_prctl, 36 /* PR_SET_CHILD_SUBREAPER */, a, 0, 0, 0);
	case OP_PDEATHSIG: return call(SYS_prctl, 1 /* PR_SET_PDEATHSIG */, a, 0, 0, 0);
	case OP_SIGACTION: return set_disposition(a, b, c);
	case OP_SIGMASK: {
		uint64_t set = b;
		return call(SYS_rt_sigprocmask, a, &set, 0, 8, 0);
	}
	case OP_TAKE: {
		struct { long sec, nsec; } none = { 0, 0 };
		return do_sigtimedwait(me, &none);
	}
	case OP_SIGWAIT: return do_sigtimedwait(me, 0);
	case OP_SIGNALFD: return do_signalfd(me);
	case OP_SETSID: return call(SYS_setsid, 0, 0, 0, 0, 0);
	case OP_SETPGID: return call(SYS_setpgid, a, b, 0, 0, 0);
	case OP_EXEC: return do_exec(me);
	case OP_SETUID: return do_setuid(a);
	case OP_AUDIT: return do_audit(me);
	case OP_GETPGID: return call(SYS_getpgid, a, 0, 0, 0, 0);
	case OP_GETSID: return call(SYS_getsid, a, 0, 0, 0, 0);
	case OP_PIDFD_OPEN: return call(SYS_pidfd_open, a, b, 0, 0, 0);
	case OP_PIDFD_KILL: return call(SYS_pidfd_send_signal, a, b, 0, c, 0);
	case OP_PIDFD_POLL: return do_poll(a);
	case OP_CLOSE: return call(SYS_close, a, 0, 0, 0, 0);
	case OP_UNSHARE: return call(SYS_unshare, a, 0, 0, 0, 0);
	case OP_SETNS: return do_setns(a, b);
	case OP_NPROC: return set_nproc(a);
	case OP_OPENTTY: return open_tty(a, b);
	case OP_SCTTY: return call(SYS_ioctl, TTY_FD, TIOCSCTTY, a, 0, 0);
	case OP_NOTTY: return call(SYS_ioctl, TTY_FD, TIOCNOTTY, 0, 0, 0);
	case OP_TCSETPGRP: {
		int pgrp = a;
		return call(SYS_ioctl, TTY_FD, TIOCSPGRP, &pgrp, 0, 0);
	}
	case OP_TTYINFO: return ask_tty(me);
	case OP_TTYREAD: return read_tty(me);
	case OP_TTYWRITE: return call(SYS_write, TTY_FD, "w", 1, 0, 0);
	case OP_TOSTOP: return set_tostop(a);
	case OP_DEVTTY: return open_dev_tty();
	default: return -38;
	}
}

void actor_main(struct slot *me)
{
	char name[16] = "p";
	put_number(name + 1, me - sh->slot);
	call(SYS_arch_prctl, ARCH_SET_GS, me, 0, 0, 0);
	call(SYS_prctl, 15 /* PR_SET_NAME */, name, 0, 0, 0);
	if (me->how == HOW_ROOT) {
		call(SYS_setsid, 0, 0, 0, 0, 0);
		call(SYS_close_range, PROGRAM_FD + 1, ~0u, 0, 0, 0);
	}
	me->pid = call(SYS_getpid, 0, 0, 0, 0, 0);
	me->tid = call(SYS_gettid, 0, 0, 0, 0, 0);
	uint32_t seen = me->answered;
	if (me->command != seen) {	/* a new program: the command that started it is done */
		seen = me->command;
		me->ret = RAN_EXEC;
		me->answered = seen;
	}
	me->born = 1;
	tell();
	for (;;) {
		while (me->command == seen)
			futex_word(&me->command, FUTEX_WAIT, seen, 0);
		seen = me->command;
		me->ret = actor_run(me);
		me->answered = seen;
		tell();
	}
}
