/*
 * Build with: gcc -O1 -static -no-pie -fno-stack-protector -mno-red-zone -D_GNU_SOURCE; run as root, or as PID 1 of a guest.
 * DO(actor, operation, arguments) makes one process or thread do one thing, prints what it returned and then
 * every process: state, parent, group, session, terminal, exit signal. Actors are numbers; P(3) is the pid of actor 3, as the
 * one who acts knows it, I(3) as init does; actor 0 is init. The comments are what the fuzzer saw.
 */
#include <asm/termbits.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OP_FORK, OP_EXIT, OP_EXIT_GROUP, OP_KILL, OP_TGKILL, OP_SIGQUEUE, OP_WAIT4, OP_WAITID, OP_SUBREAPER, OP_PDEATHSIG,
       OP_SIGACTION, OP_SIGMASK, OP_TAKE, OP_SETSID, OP_SETPGID, OP_EXEC, OP_SETUID, OP_AUDIT, OP_GETPGID, OP_GETSID,
       OP_PIDFD_OPEN, OP_PIDFD_KILL, OP_PIDFD_POLL, OP_CLOSE, OP_UNSHARE, OP_SIGQUEUES, OP_SIGWAIT, OP_SIGNALFD, OP_SETNS,
       OP_NPROC, OP_OPENTTY, OP_SCTTY, OP_NOTTY, OP_TCSETPGRP, OP_TTYINFO, OP_TTYREAD, OP_TTYWRITE, OP_TOSTOP, OP_DEVTTY,
       OP_PTY, OP_TYPE, OP_HANGUP };
#define N 192
enum { BOX_FD = 3, PROGRAM_FD, TTY_FD = 20, USER = 1234567 };
/* `tid` is the number that init knows, `nr` all of them, the outermost first. */
static struct box {
	volatile unsigned ask, told;
	volatile int born, tid, pid, nr[4], op;
	volatile long a, b, c, ret, out[6];
} *box;
static char stacks[N][65536] __attribute__((aligned(64)));
static struct { int master, slave, index; } terminal[3];
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

static long call6(long nr, long a, long b, long c, long d, long e)
{
	long ret;
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	asm volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return ret;
}

/* A path: the first % is a number, the second a word. No C library: this runs on bare stacks. */
static void text(char *at, const char *format, long n, const char *word)
{
	for (int percents = 0; *format; format++) {
		if (*format != '%') {
			*at++ = *format;
		} else if (percents++) {
			while (*word)
				*at++ = *word++;
		} else {
			long scale = 1;
			while (n / scale > 9)
				scale *= 10;
			for (; scale; scale /= 10)
				*at++ = '0' + n / scale % 10;
		}
	}
	*at = 0;
}

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
					   .pidfd = b & CLONE_PIDFD ? (long)&me->out[0] : 0,
					   .stack = top ? (long)stacks[a] : 0, .stack_size = top ? sizeof stacks[a] : 0 };
		return c == 1 ? call(SYS_clone3, (long)&args, sizeof args, 0, 0, &box[a]) : call(SYS_clone, b, (long)top, (long)&me->out[0], 0, &box[a]);
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
	case OP_EXEC: {
		char number[4] = { '0' + b / 100, '0' + b / 10 % 10, '0' + b % 10, 0 }, *argv[] = { "r", number, 0 }, *envp[] = { 0 };
		return a ? CALL(execve, "/no/such/program", argv, envp, 0)
			 : call6(SYS_execveat, PROGRAM_FD, (long)"", (long)argv, (long)envp, AT_EMPTY_PATH);
	}
	case OP_SETUID: return a == 2 ? CALL(setresuid, -1, 0, -1, 0) : CALL(setresuid, a ? USER : -1, USER, a ? USER : -1, 0);
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
	case OP_SIGQUEUES: {
		long ret = 0;
		for (info.si_code = SI_QUEUE; ret == 0 && info.si_value.sival_int++ < c;)
			ret = CALL(rt_sigqueueinfo, a, b, &info, 0);
		return ret;
	}
	case OP_SIGWAIT: {
		long ret = CALL(rt_sigtimedwait, &a, &info, 0, 8);
		return me->out[0] = info.si_pid, me->out[1] = info.si_code, me->out[2] = info.si_value.sival_int, ret;
	}
	case OP_SIGNALFD: {
		struct signalfd_siginfo got = { 0 };
		long fd = CALL(signalfd4, -1, &a, 8, b), ret = CALL(read, fd, &got, sizeof got, 0);
		CALL(close, fd, 0, 0, 0);
		return me->out[0] = got.ssi_pid, me->out[1] = got.ssi_code, me->out[2] = got.ssi_int, ret < 0 ? ret : got.ssi_signo;
	}
	case OP_SETNS: {
		char path[64];
		text(path, "/proc/%/ns/%", a, b == 1 ? "pid" : "pid_for_children");
		long fd = b ? CALL(open, path, O_RDONLY, 0, 0) : CALL(pidfd_open, a, 0, 0, 0);
		long ret = fd < 0 ? fd : CALL(setns, fd, CLONE_NEWPID, 0, 0);
		return CALL(close, fd, 0, 0, 0), ret;
	}
	case OP_NPROC: {
		unsigned long limit[2];
		CALL(getrlimit, 6, limit, 0, 0);
		return limit[0] = a, CALL(setrlimit, 6, limit, 0, 0);
	}
	case OP_OPENTTY: {
		char path[64];
		text(path, "/dev/pts/%", a, "");
		long fd = CALL(open, path, O_RDWR | b, 0, 0), ret = fd < 0 ? fd : CALL(dup2, fd, TTY_FD, 0, 0);
		return CALL(close, fd, 0, 0, 0), ret;
	}
	case OP_SCTTY: return CALL(ioctl, TTY_FD, TIOCSCTTY, a, 0);
	case OP_NOTTY: return CALL(ioctl, TTY_FD, TIOCNOTTY, 0, 0);
	case OP_TCSETPGRP: return me->out[5] = a, CALL(ioctl, TTY_FD, TIOCSPGRP, &me->out[5], 0);
	case OP_TTYINFO: CALL(ioctl, TTY_FD, TIOCGSID, &me->out[1], 0); return CALL(ioctl, TTY_FD, TIOCGPGRP, &me->out[0], 0);
	case OP_TTYREAD: return CALL(read, TTY_FD, &me->out[0], 8, 0);
	case OP_TTYWRITE: return CALL(write, TTY_FD, "w", 1, 0);
	case OP_TOSTOP: {
		struct termios t;
		CALL(ioctl, TTY_FD, TCGETS, &t, 0);
		return t.c_lflag = a ? t.c_lflag | TOSTOP : t.c_lflag & ~TOSTOP, CALL(ioctl, TTY_FD, TCSETS, &t, 0);
	}
	case OP_DEVTTY: {
		long fd = CALL(open, "/dev/tty", O_RDWR | O_NOCTTY, 0, 0);
		return fd < 0 ? fd : CALL(close, fd, 0, 0, 0);
	}
	/* Init's own. */
	case OP_PTY: {
		int unlock = 0;
		char path[64];
		terminal[a].master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
		CALL(ioctl, terminal[a].master, TIOCSPTLCK, &unlock, 0), CALL(ioctl, terminal[a].master, TIOCGPTN, &terminal[a].index, 0);
		text(path, "/dev/pts/%", terminal[a].index, "");
		return terminal[a].slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC), terminal[a].slave < 0 ? -1 : 0;
	}
	case OP_TYPE: return CALL(write, terminal[a].master, &b, 1, 0);
	case OP_HANGUP: return CALL(close, terminal[a].slave, 0, 0, 0), CALL(close, terminal[a].master, 0, 0, 0);
	}
	return -38;
}

static void act(struct box *me)
{
	if (!me->born && me->c == 2)
		CALL(setsid, 0, 0, 0, 0), CALL(close_range, PROGRAM_FD + 1, ~0u, 0, 0);
	me->born = 1;
	for (unsigned seen = me->told = me->ask;; me->told = seen) {
		while (me->ask == seen)
			CALL(futex, &me->ask, FUTEX_WAIT, seen, 0);
		seen = me->ask;
		me->ret = run(me);
	}
}

static int who;	/* speaks: what it calls others depends on its namespace */

static long I(int id) { return id ? box[id].tid : 1; }

static long P(int id)
{
	int level = 0;
	while (level < 3 && box[who].nr[level + 1])
		level++;
	return !who ? I(id) : id && box[id].nr[level] ? box[id].nr[level] : id || level ? 4100000 : 1;
}

/* The one number in a directory that nobody has. */
static int stranger(const char *directory)
{
	DIR *dir = opendir(directory);
	int found = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		int number = atoi(entry->d_name), known = number < 2;
		for (int i = 1; i < N; i++)
			known |= box[i].tid == number;
		found = known ? found : number;
	}
	return dir ? closedir(dir), found : 0;
}

static void meet(int id, long flags, int maker)
{
	char path[64] = "/proc", line[256];
	if (flags & CLONE_THREAD)
		snprintf(path, sizeof path, "/proc/%d/task", box[maker].pid);
	box[id].tid = stranger(path);
	box[id].pid = flags & CLONE_THREAD ? box[maker].pid : box[id].tid;
	snprintf(path, sizeof path, "/proc/%d/status", box[id].tid);
	FILE *f = fopen(path, "r");
	while (f && fgets(line, sizeof line, f))
		sscanf(line, "NSpid: %d %d %d %d", (int *)&box[id].nr[0], (int *)&box[id].nr[1], (int *)&box[id].nr[2], (int *)&box[id].nr[3]);
	if (f)
		fclose(f);
}

static void DO_(int line, int id, const char *text, int op, long a, long b, long c)
{
	struct box *b_ = &box[id];
	b_->op = op, b_->a = op == OP_OPENTTY ? terminal[a].index : a, b_->b = b, b_->c = c;
	if (op == OP_FORK)
		box[a].c = c;
	unsigned number = ++b_->ask;
	if (id)
		CALL(futex, &b_->ask, FUTEX_WAKE, 1, 0);
	else
		b_->ret = run(b_), b_->told = number;
	usleep(100000);		/* a reproducer may: whatever it led to has happened by now */
	if (op == OP_FORK && box[a].born && !box[a].tid)
		meet(a, b, id);
	printf("line %d: %d %s: ", line, id, text);
	if (b_->told == number)
		printf("%ld (%#lx %ld %ld)\n", b_->ret, b_->out[0], b_->out[1], b_->out[2]);
	else
		printf("has not returned\n");
	for (int n = 0; n < 3; n++) {
		int pgrp = 0, session = 0;
		if (terminal[n].master && ioctl(terminal[n].master, TIOCGPGRP, &pgrp) == 0)
			printf("\tterminal %d: pgrp %d session %d\n", n, pgrp, ioctl(terminal[n].master, TIOCGSID, &session) ? 0 : session);
	}
	for (int i = 1; i < N; i++) {
		char path[64], stat[512] = "";
		snprintf(path, sizeof path, "/proc/%d/stat", box[i].tid);
		FILE *f = box[i].tid ? fopen(path, "r") : 0;
		if (f && fgets(stat, sizeof stat, f) && strrchr(stat, ')')) {
			long v[53] = { 0 };
			char state, *at = strrchr(stat, ')') + 2;
			state = *at++;
			for (int field = 4; field < 53; field++)
				v[field] = strtol(at, &at, 10);
			printf("\t%d: pid %d %c ppid %ld pgrp %ld session %ld tty %ld exit_signal %ld exit_code %#lx\n", i, box[i].tid,
			       state, v[4], v[5], v[6], v[7], v[38], v[52]);
		}
		if (f)
			fclose(f);
	}
}
#define DO(id, op, a, b, c) who = id; DO_(__LINE__, id, #op " " #a " " #b " " #c, op, a, b, c)

static void operations(void)
{
	/* OPERATIONS */
}

static void share(int argc, char **argv)
{
	int fd = memfd_create("box", 0), program = open("/proc/self/exe", O_RDONLY);
	if (argc < 2 && (ftruncate(fd, N * sizeof *box) || dup2(fd, BOX_FD) < 0 || dup2(program, PROGRAM_FD) < 0))
		exit(1);
	box = mmap(0, N * sizeof *box, PROT_READ | PROT_WRITE, MAP_SHARED, BOX_FD, 0);
	if (argc == 2)	/* a new program of an actor */
		act(&box[atoi(argv[1])]);
}

int main(int argc, char **argv)
{
	int guest = getpid() == 1 && argc < 2;
	if (argc == 2)
		share(argc, argv);
	setvbuf(stdout, 0, _IONBF, 0);
	if (!guest) {
		if (unshare(CLONE_NEWPID | CLONE_NEWNS) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0))
			return perror("unshare (root?)"), 1;
		if (fork())
			return wait(0), 0;
	}
	mkdir("/proc", 0755), mount("proc", "/proc", "proc", 0, 0);
	mkdir("/dev/pts", 0755), mknod("/dev/tty", S_IFCHR | 0666, 5 << 8), mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666");
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	share(1, 0);
	setsid();
	operations();
	if (guest)
		reboot(RB_POWER_OFF);
	kill(-1, SIGKILL);
	return 0;
}
