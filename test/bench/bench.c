/*
 * bench - what the process lifecycle costs, in instructions or in nanoseconds.
 *
 * Runs as PID 1 of a guest, the same binary on Foster and on Linux, and prints one line per row:
 *
 *	bench-clock: <ticks per instruction> <ticks per nanosecond>
 *	bench: time <ticks per operation> <row>
 *	bench: bytes <bytes per object> <row>
 *
 * A tick is one step of the time stamp counter.  Under QEMU's -icount shift=0 it counts guest instructions, of kernel and
 * user together (the first figure of bench-clock then is 1, which the reader of these lines should check); without -icount
 * it is the host's counter, and the second figure turns ticks into nanoseconds.
 *
 * A row is the median over several samples, so that a timer tick or a background thread in one of them does not count.
 * Nothing may idle inside a measured region: virtual time jumps ahead over an idle guest.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long ticks;

enum { MAX_SAMPLES = 32, CROWD = 1000, STACK = 64 << 10 };

/* What processes other than init measure, where init can read it. */
static struct shared {
	volatile ticks begin;
	int count[8];
	double sample[8][MAX_SAMPLES];
} *shared;

static inline ticks now(void)
{
	unsigned low, high;
	asm volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high)::"memory");
	return (ticks)high << 32 | low;
}

static inline long syscall3(long number, long a, long b, long c)
{
	/* A fourth argument, where there is one (the rusage of wait4), is 0. */
	register long r10 asm("r10") = 0;
	long result;
	asm volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return result;
}

static _Noreturn void give_up(const char *what)
{
	printf("bench-error: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	_exit(1);
}

#define MUST(call)                                                                                                             \
	({                                                                                                                     \
		__typeof__(call) result_ = (call);                                                                             \
		if (result_ == (__typeof__(call))-1)                                                                           \
			give_up(#call);                                                                                        \
		result_;                                                                                                       \
	})

/* Samples and rows */

static void sample(int row, double value)
{
	if (shared->count[row] < MAX_SAMPLES)
		shared->sample[row][shared->count[row]++] = value;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void print_row(int row, const char *name)
{
	int count = shared->count[row];
	if (!count) {
		printf("bench-error: %s: no sample\n", name);
	} else {
		qsort(shared->sample[row], count, sizeof(double), by_value);
		printf("bench: time %.1f %s\n", shared->sample[row][count / 2], name);
	}
	fflush(stdout);
	shared->count[row] = 0;
}

/* Lets everything that is still runnable come to rest. */
static void settle(void)
{
	struct timespec pause = { .tv_nsec = 30 * 1000 * 1000 };
	nanosleep(&pause, NULL);
}

static pid_t fork_or_die(void)
{
	return MUST(fork());
}

static void reap(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0)
		if (errno != EINTR)
			give_up("waitpid");
}

/* Runs `body` in a process of its own, so that what it leaves behind (flags, children, mappings) does not outlive it. */
static void in_child(void (*body)(long), long argument)
{
	pid_t pid = fork_or_die();
	if (pid == 0) {
		body(argument);
		_exit(0);
	}
	reap(pid);
}

/* Calls the statement many times per sample; each call is one operation. */
#define MEASURE(name, samples, operations, operation)                                                                          \
	do {                                                                                                                   \
		operation;                                                                                                     \
		for (int s_ = 0; s_ < (samples); s_++) {                                                                       \
			ticks begin_ = now();                                                                                  \
			for (int o_ = 0; o_ < (operations); o_++) {                                                            \
				operation;                                                                                     \
			}                                                                                                      \
			sample(0, (double)(now() - begin_) / (operations));                                                    \
		}                                                                                                              \
		print_row(0, name);                                                                                            \
	} while (0)

/* The clock */

static void print_clock(void)
{
	double per_instruction = 1e9;
	for (int i = 0; i < 5; i++) {
		long loops = 1000000;
		ticks begin = now();
		asm volatile("1: dec %0; jnz 1b" : "+r"(loops));
		double each = (double)(now() - begin) / 2e6;
		if (each < per_instruction)
			per_instruction = each;
	}
	struct timespec from, to;
	clock_gettime(CLOCK_MONOTONIC, &from);
	ticks begin = now();
	double ns;
	do {
		clock_gettime(CLOCK_MONOTONIC, &to);
		ns = (to.tv_sec - from.tv_sec) * 1e9 + (to.tv_nsec - from.tv_nsec);
	} while (ns < 50e6);
	printf("bench-clock: %.4f %.6f\n", per_instruction, (now() - begin) / ns);
}

/* One operation after the other */

static void *nothing(void *unused)
{
	return unused;
}

static void thread_create_join(void)
{
	pthread_t thread;
	errno = pthread_create(&thread, NULL, nothing, NULL);
	if (errno)
		give_up("pthread_create");
	pthread_join(thread, NULL);
}

static void fork_exit_wait(void)
{
	pid_t pid = fork_or_die();
	if (pid == 0)
		_exit(0);
	reap(pid);
}

static void fork_exec_wait(const char *path)
{
	char *argv[] = { (char *)path, NULL }, *envp[] = { NULL };
	pid_t pid = fork_or_die();
	if (pid == 0) {
		execve(path, argv, envp);
		_exit(127);
	}
	reap(pid);
}

static void vfork_exec_wait(const char *path)
{
	char *argv[] = { (char *)path, NULL }, *envp[] = { NULL };
	pid_t pid = vfork();
	if (pid == 0) {
		execve(path, argv, envp);
		_exit(127);
	}
	if (pid < 0)
		give_up("vfork");
	reap(pid);
}

static void check_exec(const char *path)
{
	int status;
	pid_t pid = fork_or_die();
	if (pid == 0) {
		execl(path, path, NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		give_up(path);
}

static int ping[2], pong[2];

static void pipe_round_trip(void)
{
	char byte = 0;
	if (write(ping[1], &byte, 1) != 1 || read(pong[0], &byte, 1) != 1)
		give_up("pipe");
}

static void pipes(void)
{
	MUST(pipe(ping));
	MUST(pipe(pong));
	pid_t pid = fork_or_die();
	if (pid == 0) {
		char byte;
		close(ping[1]);
		while (read(ping[0], &byte, 1) == 1)
			if (write(pong[1], &byte, 1) != 1)
				break;
		_exit(0);
	}
	close(ping[0]);
	MEASURE("pipe round trip", 15, 100, pipe_round_trip());
	close(ping[1]);
	close(pong[0]);
	close(pong[1]);
	reap(pid);
}

static int master, slave;

static void pty_round_trip(void)
{
	char byte = 'x';
	if (write(master, &byte, 1) != 1 || read(slave, &byte, 1) != 1 || write(slave, &byte, 1) != 1 ||
	    read(master, &byte, 1) != 1)
		give_up("pty");
}

/* Both ends in one process, raw: what the line itself costs. */
static void ptys(void)
{
	char name[32];
	int unlock = 0;
	unsigned number;
	struct termios raw;
	mkdir("/dev/pts", 0755);
	if (access("/dev/pts/ptmx", F_OK) < 0)
		MUST(mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=666"));
	master = MUST(open("/dev/pts/ptmx", O_RDWR | O_NOCTTY));
	MUST(ioctl(master, TIOCSPTLCK, &unlock));
	MUST(ioctl(master, TIOCGPTN, &number));
	snprintf(name, sizeof name, "/dev/pts/%u", number);
	slave = MUST(open(name, O_RDWR | O_NOCTTY));
	MUST(tcgetattr(slave, &raw));
	cfmakeraw(&raw);
	MUST(tcsetattr(slave, TCSANOW, &raw));
	MEASURE("pty round trip, raw", 15, 100, pty_round_trip());
	close(slave);
	close(master);
}

static int pair[2];

static void socket_round_trip(void)
{
	char byte = 0;
	if (write(pair[0], &byte, 1) != 1 || read(pair[0], &byte, 1) != 1)
		give_up("socketpair");
}

/* One descriptor there and back to oneself: sent, received and closed. */
static void pass_descriptor(void)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	*header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	int fd = STDOUT_FILENO;
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	if (sendmsg(pair[0], &message, 0) != 1 || recvmsg(pair[1], &message, 0) != 1 || message.msg_controllen == 0)
		give_up("SCM_RIGHTS");
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	close(fd);
}

static char block[64 << 10];

static void stream_block(void)
{
	if (write(pair[0], block, sizeof block) != sizeof block || read(pair[1], block, sizeof block) != sizeof block)
		give_up("stream");
}

static void sockets(void)
{
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid_t pid = fork_or_die();
	if (pid == 0) {
		char byte;
		close(pair[0]);
		while (read(pair[1], &byte, 1) == 1)
			if (write(pair[1], &byte, 1) != 1)
				break;
		_exit(0);
	}
	close(pair[1]);
	MEASURE("socketpair round trip", 15, 100, socket_round_trip());
	close(pair[0]);
	reap(pid);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MEASURE("socketpair, 64 KiB through a stream", 15, 20, stream_block());
	MEASURE("pass a descriptor (SCM_RIGHTS)", 15, 100, pass_descriptor());
	close(pair[0]);
	close(pair[1]);
}

static volatile int handled;

static void count_signal(int signal)
{
	handled += signal == SIGUSR1;
}

static void signals(void)
{
	struct sigaction action = { .sa_handler = count_signal };
	MUST(sigaction(SIGUSR1, &action, NULL));
	pid_t self = getpid();
	int before = handled;
	MEASURE("signal to self, with handler", 15, 100, syscall3(SYS_tgkill, self, self, SIGUSR1));
	if (handled - before != 15 * 100 + 1)
		give_up("a signal was lost");
}

/* Descriptors of processes */

static void pidfd_open_close(pid_t pid)
{
	close(MUST(syscall3(SYS_pidfd_open, pid, 0, 0)));
}

static void fork_poll_wait(void)
{
	pid_t pid = fork_or_die();
	if (pid == 0)
		_exit(0);
	struct pollfd pollfd = { .fd = MUST(syscall3(SYS_pidfd_open, pid, 0, 0)), .events = POLLIN };
	MUST(poll(&pollfd, 1, -1));
	reap(pid);
	close(pollfd.fd);
}

static void pidfds(void)
{
	pid_t pid = fork_or_die();
	if (pid == 0)
		for (;;)
			pause();
	settle();
	MEASURE("pidfd_open + close", 15, 100, pidfd_open_close(pid));
	kill(pid, SIGKILL);
	reap(pid);
	MEASURE("fork + exit + poll of its pidfd + wait", 15, 10, fork_poll_wait());
}

/* Small regions, so that no huge page fits in. */
static void page_faults(void)
{
	enum { PAGES = 128 };
	for (int s = 0; s < 15; s++) {
		char *region = MUST(mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		madvise(region, PAGES * 4096, MADV_NOHUGEPAGE);
		region[0] = 1;
		ticks begin = now();
		for (int page = 1; page < PAGES; page++)
			((volatile char *)region)[page * 4096] = 1;
		sample(0, (double)(now() - begin) / (PAGES - 1));
		munmap(region, PAGES * 4096);
	}
	print_row(0, "page fault, anonymous");
}

/* Crowds of children */

static _Noreturn void idle(void)
{
	for (;;)
		pause();
}

/* `count` children that live until they are killed. They inherit the process group that the caller chose. */
static void live_children(int count)
{
	for (int i = 0; i < count; i++)
		if (fork_or_die() == 0)
			idle();
	settle();
}

/* `count` children that are dead and not reaped. */
static void zombie_children(int count)
{
	for (int i = 0; i < count; i++) {
		pid_t pid = fork_or_die();
		if (pid == 0)
			_exit(0);
		siginfo_t info;
		MUST(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
	}
}

/* The pids of the last light children. */
static pid_t light_pid[10000];

/*
 * Children that share the caller's memory and need no stack: for crowds that would not fit into the guest otherwise.
 * They never return to C.
 */
static void light_children(int count)
{
	for (int i = 0; i < count; i++) {
		long pid;
		asm volatile("xor %%edx, %%edx\n\t"
			     "xor %%r10d, %%r10d\n\t"
			     "xor %%r8d, %%r8d\n\t"
			     "syscall\n\t"
			     "test %%rax, %%rax\n\t"
			     "jnz 2f\n"
			     "1:\tmov %[pause], %%eax\n\t"
			     "syscall\n\t"
			     "jmp 1b\n"
			     "2:"
			     : "=a"(pid)
			     : "a"(SYS_clone), "D"(CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD), "S"(0L), [pause] "i"(SYS_pause)
			     : "rcx", "r11", "rdx", "r10", "r8", "memory");
		if (pid < 0) {
			errno = -pid;
			give_up("clone");
		}
		light_pid[i] = pid;
	}
	settle();
}

/* Kills the caller's process group members except itself, and reaps all children. */
static void end_crowd(void)
{
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	while (wait(NULL) > 0 || errno == EINTR)
		;
}

/* wait for any child */

static void wait_any(long siblings)
{
	setpgid(0, 0);
	light_children(siblings);
	for (int s = 0; s < 15; s++) {
		zombie_children(1);
		ticks begin = now();
		MUST(waitpid(-1, NULL, 0));
		sample(0, now() - begin);
	}
	end_crowd();
}

/* kill(pid, 0) among many processes: each time another one, far from the last */
static void find_pid(long processes)
{
	setpgid(0, 0);
	light_children(processes);
	int at = 0;
	for (int s = 0; s < 15; s++) {
		ticks begin = now();
		for (int i = 0; i < 1000; i++) {
			if (syscall3(SYS_kill, light_pid[at], 0, 0))
				give_up("kill");
			at = (at + 4999) % processes;
		}
		sample(0, (double)(now() - begin) / 1000);
	}
	end_crowd();
}

/* wait for a group: its only member died last, behind `others` zombies of another group */

static void wait_group(long others)
{
	setpgid(0, 0);
	zombie_children(others);
	for (int s = 0; s < 15; s++) {
		pid_t pid = fork_or_die();
		if (pid == 0) {
			setpgid(0, 0);
			_exit(0);
		}
		siginfo_t info;
		MUST(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
		ticks begin = now();
		if (syscall3(SYS_wait4, -pid, 0, 0) != pid)
			give_up("wait for a group");
		sample(0, now() - begin);
	}
	end_crowd();
}

/* kill of a process group, until all its members are reaped: how much of it is in the call is the scheduler's business */
static void kill_group(long members)
{
	setpgid(0, 0);
	light_children(members);
	signal(SIGTERM, SIG_IGN);
	ticks begin = now();
	syscall3(SYS_kill, 0, SIGTERM, 0);
	for (long i = 0; i < members; i++)
		syscall3(SYS_wait4, -1, 0, 0);
	sample(0, now() - begin);
	if (wait(NULL) >= 0)
		give_up("children left over");
}

/* set-subreaper: row 0 the first call, row 1 the second */

static void set_subreaper(long descendants)
{
	setpgid(0, 0);
	live_children(descendants);
	ticks begin = now();
	syscall3(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0);
	ticks middle = now();
	syscall3(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0);
	ticks end = now();
	sample(0, middle - begin);
	sample(1, end - middle);
	end_crowd();
}

/* exit with children */

enum adopter { SUBREAPER, INIT, IGNORER };

static const char *const adopter_name[] = { "subreaper", "init", "subreaper that ignores SIGCHLD" };

struct exit_case {
	int live, zombies;
	enum adopter adopter;
};

/*
 * The caller's child makes a crowd and exits; row 0 is the time from its exit to the return of the caller's wait for it,
 * row 1 the time to reap one of the zombies that came from it (by the subreaper).
 */
static void exit_with_children(long which)
{
	const struct exit_case *c = (const struct exit_case *)which;
	setpgid(0, 0);
	if (c->adopter != INIT)
		MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	int ready[2];
	MUST(pipe(ready));
	pid_t pid = fork_or_die();
	if (pid == 0) {
		live_children(c->live);
		zombie_children(c->zombies);
		char byte;
		if (read(ready[0], &byte, 1) != 1)
			give_up("read");
		/* The parent has to be blocked in its wait when we go. */
		settle();
		shared->begin = now();
		syscall3(SYS_exit_group, 0, 0, 0);
	}
	if (c->adopter == IGNORER)
		signal(SIGCHLD, SIG_IGN);
	if (write(ready[1], "", 1) != 1)
		give_up("write");
	/* Where SIGCHLD is ignored, wait returns only when no child is left, so the live ones would hold it up. */
	pid_t waited = syscall3(SYS_wait4, pid, 0, 0);
	ticks end = now();
	if (c->adopter == IGNORER ? waited != -ECHILD : waited != pid)
		give_up("wait");
	sample(0, end - shared->begin);
	if (c->adopter == SUBREAPER && c->zombies) {
		ticks begin = now();
		for (int i = 0; i < c->zombies; i++)
			syscall3(SYS_wait4, -1, 0, 0);
		sample(1, (double)(now() - begin) / c->zombies);
	}
	signal(SIGCHLD, SIG_DFL);
	if (c->adopter != INIT) {
		end_crowd();
	} else {
		signal(SIGTERM, SIG_IGN);
		kill(0, SIGTERM);
	}
}

static void exit_rows(int live, int zombies, enum adopter adopter)
{
	struct exit_case c = { live, zombies, adopter };
	int crowd = live + zombies;
	for (int s = 0; s < (crowd ? 3 : 15); s++) {
		in_child(exit_with_children, (long)&c);
		if (adopter == INIT && crowd) {
			settle();
			ticks begin = now();
			for (int i = 0; i < crowd; i++)
				MUST(waitpid(-1, NULL, 0));
			if (zombies)
				sample(1, (double)(now() - begin) / crowd);
		}
		if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD)
			give_up("children left over");
	}
	char name[128];
	if (!crowd) {
		print_row(0, "exit, no children");
		return;
	}
	snprintf(name, sizeof name, "exit with %d %s children, to %s", crowd, live ? "live" : "zombie", adopter_name[adopter]);
	print_row(0, name);
	if (shared->count[1]) {
		snprintf(name, sizeof name, "reap one of %d adopted zombies, by %s", crowd, adopter_name[adopter]);
		print_row(1, name);
	}
}

/* Chains of ancestors */

/*
 * At the end of a chain of forks: row 0 is exit and wait of a child without children, row 1 of one with a live child,
 * whose adopter is the subreaper at the top of the chain.
 */
static void chain_end(void)
{
	for (int s = 0; s < 9; s++) {
		for (int orphans = 0; orphans < 2; orphans++) {
			pid_t pid = fork_or_die();
			if (pid == 0) {
				live_children(orphans);
				settle();
				shared->begin = now();
				syscall3(SYS_exit_group, 0, 0, 0);
			}
			syscall3(SYS_wait4, pid, 0, 0);
			sample(orphans, now() - shared->begin);
		}
	}
}

static void chain(long length)
{
	if (length == 0)
		chain_end();
	else
		in_child(chain, length - 1);
}

static void chain_top(long length)
{
	setpgid(0, 0);
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	in_child(chain, length - 1);
	end_crowd();
}

/* Pid namespaces */

static pid_t fork_into(unsigned long flags)
{
	return MUST((pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0));
}

static void namespace_and_end(void)
{
	pid_t pid = fork_into(CLONE_NEWPID);
	if (pid == 0)
		_exit(0);
	reap(pid);
}

/* In `depth` namespaces, one in the other. */
static void in_namespaces(long depth)
{
	if (depth > 0) {
		pid_t pid = fork_into(CLONE_NEWPID);
		if (pid == 0) {
			in_namespaces(depth - 1);
			_exit(0);
		}
		reap(pid);
		return;
	}
	fork_exit_wait();
	for (int s = 0; s < 15; s++) {
		ticks begin = now();
		for (int i = 0; i < 10; i++)
			fork_exit_wait();
		sample(0, (double)(now() - begin) / 10);
	}
}

static void namespace_rows(void)
{
	MEASURE("clone(NEWPID) + exit + wait", 15, 10, namespace_and_end());
	for (int depth = 1; depth <= 5; depth += 4) {
		char name[64];
		in_child(in_namespaces, depth);
		snprintf(name, sizeof name, "fork + exit + wait in a pid namespace of depth %d", depth);
		print_row(0, name);
	}
}

/* Memory */

static long free_bytes(void)
{
	char text[4096];
	int fd = MUST(open("/proc/meminfo", O_RDONLY));
	ssize_t size = MUST(read(fd, text, sizeof text - 1));
	close(fd);
	text[size] = 0;
	char *field = strstr(text, "MemFree:");
	if (!field)
		give_up("no MemFree in /proc/meminfo");
	return atol(field + strlen("MemFree:")) * 1024;
}

static void *idle_thread(void *unused)
{
	idle();
	return unused;
}

static void crowd_of_threads(void)
{
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	for (int i = 0; i < CROWD; i++) {
		pthread_t thread;
		errno = pthread_create(&thread, &attributes, idle_thread, NULL);
		if (errno)
			give_up("pthread_create");
	}
	settle();
}

static void crowd(long kind)
{
	if (kind == 0)
		live_children(CROWD);
	else if (kind == 1)
		crowd_of_threads();
	else
		zombie_children(CROWD);
	settle();
}

/* The first crowd takes what allocators still had in stock; the second is the one that is measured. */
static void memory(long kind)
{
	setpgid(0, 0);
	crowd(kind);
	long before = free_bytes();
	crowd(kind);
	shared->sample[0][0] = (double)(before - free_bytes()) / CROWD;
	end_crowd();
}

static void memory_row(long kind, const char *name)
{
	in_child(memory, kind);
	printf("bench: bytes %.0f %s\n", shared->sample[0][0], name);
	fflush(stdout);
	/* What was freed late must not be counted for the next row. */
	settle();
}

int main(void)
{
	ticks boot = now();
	if (getpid() == 1) {
		mkdir("/proc", 0755);
		mkdir("/dev", 0755);
		mount("proc", "/proc", "proc", 0, NULL);
		if (fcntl(0, F_GETFD) < 0) {
			mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
			for (int i = 0; i < 3; i++)
				open("/dev/console", O_RDWR);
		}
	}
	shared = MUST(mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	print_clock();
	if (getpid() == 1)
		printf("bench: time %llu boot to the first user instruction\n", boot);

	memory_row(0, "memory per idle process");
	memory_row(1, "memory per thread");
	memory_row(2, "memory per zombie");

	MEASURE("null system call (getpid)", 15, 1000, syscall3(SYS_getpid, 0, 0, 0));
	int flag;
	MEASURE("PR_GET_CHILD_SUBREAPER", 15, 1000, syscall3(SYS_prctl, PR_GET_CHILD_SUBREAPER, (long)&flag, 0));
	struct timespec time;
	MEASURE("clock_gettime (CLOCK_MONOTONIC)", 15, 1000, clock_gettime(CLOCK_MONOTONIC, &time));
	MEASURE("fork + exit + wait", 15, 10, fork_exit_wait());
	check_exec("/bench/tiny");
	check_exec("/bench/true");
	MEASURE("vfork + exec + wait (small program)", 15, 10, vfork_exec_wait("/bench/tiny"));
	MEASURE("fork + exec + wait (static glibc program)", 15, 5, fork_exec_wait("/bench/true"));
	MEASURE("thread create + join", 15, 20, thread_create_join());
	pipes();
	ptys();
	sockets();
	signals();
	pidfds();
	page_faults();

	for (int siblings = 1; siblings <= 10000; siblings *= 100) {
		char name[64];
		in_child(wait_any, siblings);
		snprintf(name, sizeof name, "wait(-1) with %d idle sibling%s", siblings, siblings > 1 ? "s" : "");
		print_row(0, name);
	}

	in_child(find_pid, 10000);
	print_row(0, "kill(pid, 0) of one of 10000 processes");
	for (int s = 0; s < 3; s++)
		in_child(kill_group, CROWD);
	print_row(0, "kill and reap a group of 1000");
	in_child(wait_group, CROWD);
	print_row(0, "wait(-pgid) among 1000 zombies of another group");

	for (int s = 0; s < 9; s++)
		in_child(set_subreaper, 0);
	print_row(0, "set subreaper, no descendants");
	print_row(1, "set subreaper again, no descendants");
	for (int s = 0; s < 3; s++)
		in_child(set_subreaper, CROWD);
	print_row(0, "set subreaper, 1000 descendants");
	print_row(1, "set subreaper again, 1000 descendants");

	exit_rows(0, 0, SUBREAPER);
	for (enum adopter adopter = SUBREAPER; adopter <= INIT; adopter++)
		exit_rows(CROWD, 0, adopter);
	for (enum adopter adopter = SUBREAPER; adopter <= IGNORER; adopter++)
		exit_rows(0, CROWD, adopter);

	namespace_rows();

	for (int length = 1; length <= 100; length *= 10) {
		char name[96];
		in_child(chain_top, length);
		snprintf(name, sizeof name, "exit below %d ancestor%s", length, length > 1 ? "s" : "");
		print_row(0, name);
		snprintf(name, sizeof name, "exit with 1 orphan below %d ancestor%s, to the top", length, length > 1 ? "s" : "");
		print_row(1, name);
	}

	printf("bench-done\n");
	fflush(stdout);
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	return 0;
}
