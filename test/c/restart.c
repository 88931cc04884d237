/* restart.c - rules 7.23, 7.36-7.38: what each call that waits does when a handler runs, and across a stop.

   A call is interrupted in three ways: by a handler, by one with SA_RESTART, by a stop and a continue without a handler.
   After each it has either returned EINTR or waits again, which is seen from outside; a second handler ends what waits. */
#include "lib/tap.h"

#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>

static int empty[2], full[2], pair[2], packets[2], listener, event, event_full, timer, signals, epoll, watch, locked, ranges;
static int queue, sem, msgs, tty;
static mqd_t mqueue = -1;
static int never;
static char byte[128];

static const struct timespec long_time = { 100, 0 };
static struct timespec much(void) { return long_time; }

static long b_read(void) { return read(empty[0], byte, 1); }
static long b_readv(void) { return readv(empty[0], &(struct iovec){ byte, 1 }, 1); }
static long b_write(void) { return write(full[1], byte, 1); }
static long b_recv(void) { return recv(pair[0], byte, 1, 0); }
static long b_recvmsg(void)
{
	struct iovec v = { byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	return recvmsg(pair[0], &m, 0);
}
static long b_send(void) { return send(packets[0], byte, 1, 0); }
static long b_accept(void) { return accept(listener, NULL, NULL); }
static long b_recv_timed(void) { return recv(pair[1], byte, 1, 0); }
static long b_event_read(void) { return read(event, byte, 8); }
static long b_event_write(void)
{
	unsigned long most = ~0UL - 1;
	return write(event_full, &most, 8);
}
static long b_timerfd(void) { return read(timer, byte, 8); }
static long b_signalfd(void) { return read(signals, byte, 128); }
static long b_inotify(void) { return read(watch, byte, sizeof byte); }
static long b_tty(void) { return read(tty, byte, 1); }
static long b_fifo(void) { return open(tmp_path("fifo"), O_RDONLY); }
static long b_futex(void) { return futex(&never, FUTEX_WAIT, 0, NULL); }
static long b_futex_bits(void) { return syscall(SYS_futex, &never, FUTEX_WAIT_BITSET, 0, NULL, NULL, -1); }
static long b_futex_timed(void) { struct timespec t = much(); return futex(&never, FUTEX_WAIT, 0, &t); }
static long b_wait4(void) { return waitpid(-1, NULL, 0); }
static long b_waitid(void) { siginfo_t si; return waitid(P_ALL, 0, &si, WEXITED); }
static long b_flock(void) { return flock(locked, LOCK_EX); }
static long b_setlkw(void)
{
	struct flock f = { .l_type = F_WRLCK, .l_len = 1 };
	return fcntl(ranges, F_SETLKW, &f);
}
static long b_mqueue(void) { return mq_receive(mqueue, byte, 100, NULL); }
static long b_epoll(void) { struct epoll_event e; return epoll_wait(epoll, &e, 1, 100000); }
static long b_epoll_p(void) { struct epoll_event e; return epoll_pwait(epoll, &e, 1, 100000, NULL); }
static long b_epoll_p2(void) { struct epoll_event e; return syscall(SYS_epoll_pwait2, epoll, &e, 1, &long_time, NULL, 8); }
static long b_poll(void) { struct pollfd p = { empty[0], POLLIN, 0 }; return poll(&p, 1, 100000); }
static long b_poll_forever(void) { struct pollfd p = { empty[0], POLLIN, 0 }; return poll(&p, 1, -1); }
static long b_ppoll(void) { struct pollfd p = { empty[0], POLLIN, 0 }; struct timespec t = much(); return ppoll(&p, 1, &t, NULL); }
static long b_select(void)
{
	struct timeval t = { 100, 0 };
	fd_set set;
	FD_ZERO(&set);
	FD_SET(empty[0], &set);
	return select(empty[0] + 1, &set, NULL, NULL, &t);
}
static long b_pselect(void)
{
	fd_set set;
	FD_ZERO(&set);
	FD_SET(empty[0], &set);
	return pselect(empty[0] + 1, &set, NULL, NULL, &long_time, NULL);
}
static long b_nanosleep(void) { return nanosleep(&long_time, NULL); }
static long b_clock_nanosleep(void) { return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &long_time, NULL); }
static long b_sleep_until(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += 100;
	return syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}
static long b_pause(void) { return pause(); }
static long b_sigsuspend(void) { sigset_t s; sigemptyset(&s); return sigsuspend(&s); }
static long b_sigtimedwait(void)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGRTMIN + 6);
	return sigtimedwait(&s, NULL, &long_time);
}
static long b_semop(void) { struct sembuf s = { 0, -1, 0 }; return semop(sem, &s, 1); }
static long b_semtimedop(void) { struct sembuf s = { 0, -1, 0 }; return semtimedop(sem, &s, 1, &long_time); }
static long b_msgrcv(void) { return msgrcv(msgs, byte, 50, 0, 0); }

/* For each way: I it is interrupted, W it waits again. */
static const struct {
	const char *name;
	long (*call)(void);
	char is[4];
} calls[] = {
	{ "read", b_read, "IWW" }, { "readv", b_readv, "IWW" }, { "write", b_write, "IWW" }, { "recv", b_recv, "IWW" },
	{ "recvmsg", b_recvmsg, "IWW" }, { "send", b_send, "IWW" }, { "accept", b_accept, "IWW" },
	{ "recv with SO_RCVTIMEO", b_recv_timed, "III" },
	{ "read of an eventfd", b_event_read, "IWW" }, { "write of an eventfd", b_event_write, "IWW" },
	{ "read of a timerfd", b_timerfd, "IWW" }, { "read of a signalfd", b_signalfd, "IWW" },
	{ "read of inotify", b_inotify, "IWW" }, { "read of a terminal", b_tty, "IWW" }, { "open of a FIFO", b_fifo, "IWW" },
	{ "futex wait", b_futex, "IWW" }, { "futex wait for bits", b_futex_bits, "IWW" }, { "futex wait with a time", b_futex_timed, "IIW" },
	{ "wait4", b_wait4, "IWW" }, { "waitid", b_waitid, "IWW" }, { "flock", b_flock, "IWW" }, { "F_SETLKW", b_setlkw, "IWW" },
	{ "mq_receive", b_mqueue, "IWW" },
	{ "epoll_wait", b_epoll, "III" }, { "epoll_pwait", b_epoll_p, "III" }, { "epoll_pwait2", b_epoll_p2, "III" },
	{ "poll", b_poll, "IIW" }, { "poll without a time", b_poll_forever, "IIW" }, { "ppoll", b_ppoll, "IIW" },
	{ "select", b_select, "IIW" }, { "pselect", b_pselect, "IIW" },
	{ "nanosleep", b_nanosleep, "IIW" }, { "clock_nanosleep", b_clock_nanosleep, "IIW" },
	{ "clock_nanosleep to a time", b_sleep_until, "IIW" },
	{ "pause", b_pause, "IIW" }, { "sigsuspend", b_sigsuspend, "IIW" }, { "sigtimedwait", b_sigtimedwait, "III" },
	{ "semop", b_semop, "III" }, { "semtimedop", b_semtimedop, "III" }, { "msgrcv", b_msgrcv, "IIW" },
};

static void count(int sig)
{
	sh->w[sig == SIGUSR1 ? 0 : 1]++;
}

static void fill(int fd)
{
	static char much_data[4096];
	MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
	while (write(fd, much_data, sizeof much_data) > 0)
		;
	MUST(fcntl(fd, F_SETFL, 0));
}

static void prepare(void)
{
	unsigned long most = ~0UL - 1;
	struct timeval t = { 100, 0 };
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 100 };
	sigset_t set;
	int zero = 0, n;
	char slave[32];
	MUST(pipe(empty));
	MUST(pipe(full));
	fill(full[1]);
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	MUST(setsockopt(pair[1], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
	MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, packets));
	fill(packets[0]);
	listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
	MUST(bind(listener, (void *)&name, sizeof name.sun_family));
	MUST(listen(listener, 1));
	event = MUST(eventfd(0, 0));
	event_full = MUST(eventfd(0, 0));
	MUST(write(event_full, &most, 8));
	timer = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + 5);
	signals = MUST(signalfd(-1, &set, 0));
	epoll = MUST(epoll_create1(0));
	watch = MUST(inotify_init());
	sem = MUST(semget(IPC_PRIVATE, 1, IPC_CREAT | 0600));
	msgs = MUST(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
	mqueue = mq_open("/foster-restart", O_RDWR | O_CREAT, 0600, &attr);
	mq_unlink("/foster-restart");
	need_devpts();
	queue = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
	MUST(ioctl(queue, TIOCSPTLCK, &zero));
	MUST(ioctl(queue, TIOCGPTN, &n));
	snprintf(slave, sizeof slave, "/dev/pts/%d", n);
	tty = MUST(open(slave, O_RDWR | O_NOCTTY));
	MUST(mkfifo(tmp_path("fifo"), 0600));
	locked = MUST(open(tmp_path("lock"), O_RDWR | O_CREAT, 0600));
	ranges = MUST(open(tmp_path("ranges"), O_RDWR | O_CREAT, 0600));
}

static int hold_locks(void)
{
	pid_t holder = fork();
	if (holder == 0) {
		struct flock f = { .l_type = F_WRLCK, .l_len = 1 };
		bool ok = flock(open(tmp_path("lock"), O_RDWR), LOCK_EX) == 0 && fcntl(ranges, F_SETLKW, &f) == 0;
		set_word(&sh->w[3], ok ? 1 : 2);
		for (;;)
			pause();
	}
	wait_word(&sh->w[3], 1);
	return holder;
}

/* What call `i` does when it is interrupted in the way `way`. */
static char outcome(int i, int way)
{
	bool waits = calls[i].call == b_wait4 || calls[i].call == b_waitid;
	sh->w[0] = sh->w[1] = 0;
	pid_t p = fork();
	if (p == 0) {
		struct sigaction first = { .sa_handler = count, .sa_flags = way == 1 ? SA_RESTART : 0 }, second = { .sa_handler = count };
		sigaction(SIGUSR1, &first, NULL);
		sigaction(SIGUSR2, &second, NULL);
		pid_t child = waits ? fork() : -1;
		while (child == 0)
			pause();
		sh->v[0] = child;
		errno = 0;
		long r = calls[i].call();
		_exit(r == -1 && errno == EINTR ? 0 : 1);
	}
	char state = 0;
	await_blocked(p);
	if (way < 2) {
		kill(p, SIGUSR1);
		AWAIT(sh->w[0] == 1 && (state = proc_state(p), state == 'S' || state == 'Z'));
	} else {
		kill(p, SIGSTOP);
		await_state(p, 'T');
		kill(p, SIGCONT);
		AWAIT((state = proc_state(p), state == 'S' || state == 'Z'));
	}
	kill(p, SIGUSR2);
	int status = reap(p);
	if (waits) {
		kill(sh->v[0], SIGKILL);
		reap(sh->v[0]);
	}
	if (status != 0)
		return '?';
	return state == 'Z' ? 'I' : 'W';
}

CASE_T(table, 120)
{
	static const char *ways[] = { "with a handler", "with SA_RESTART", "across a stop" };
	/* The child of one that waited comes here. */
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	prepare();
	pid_t holder = hold_locks();
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		char text[128], rule[8];
		if (calls[i].call == b_mqueue && mqueue == (mqd_t)-1)
			continue;
		for (int way = 0; way < 3; way++) {
			char want = calls[i].is[way], got = outcome(i, way);
			snprintf(rule, sizeof rule, "%s", way == 2 ? "7.23" : calls[i].is[1] == 'W' ? "7.37" : "7.36");
			snprintf(text, sizeof text, "[%s,7.38] %s %s: %s", rule, calls[i].name, ways[way], want == 'I' ? "EINTR" : "goes on");
			tap_report(got == want, text, __FILE__, __LINE__, "got %c", got);
		}
	}
	kill(holder, SIGKILL);
	reap(holder);
	semctl(sem, 0, IPC_RMID);
	msgctl(msgs, IPC_RMID, NULL);
}
