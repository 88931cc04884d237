/* pidfd.c - section 11 and what sections 4, 6 and 7 say of pidfds. */
#include "lib/tap.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#define PIDFD_THREAD O_EXCL

static long pidfd_open_(long pid, long flags) { return syscall(SYS_pidfd_open, pid, flags); }
static long send_(long fd, long sig, void *si, long flags) { return syscall(SYS_pidfd_send_signal, fd, sig, si, flags); }

static int events(int fd)
{
	struct pollfd p = { fd, POLLIN | POLLRDNORM, 0 };
	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

CASE(open_errors)
{
	struct agent *c = spawn(NULL), *t = spawn_thread(c);
	CHECK_ERR(pidfd_open_(0, 0), EINVAL, "[11.1] pid 0: EINVAL");
	CHECK_ERR(pidfd_open_(-5, 0), EINVAL, "[11.1] negative: EINVAL");
	CHECK_ERR(pidfd_open_(c->pid, 1), EINVAL, "[11.1] an unknown flag: EINVAL");
	CHECK_ERR(pidfd_open_(0x3ffffff0, 0), ESRCH, "[11.1] no such process: ESRCH");
	IF_SINCE(6, 15, "[11.1] a non-leader tid")
		CHECK_ERR(pidfd_open_(t->tid, 0), ENOENT, "[11.1] a tid that is not a leader's: ENOENT");
	int fd = pidfd_open_(c->pid, 0), nb = pidfd_open_(c->pid, O_NONBLOCK);
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC, "[11.1] always close-on-exec");
	CHECK(fcntl(fd, F_GETFL) == 2 && fcntl(nb, F_GETFL) == (2 | O_NONBLOCK), "[11.1] F_GETFL");
	IF_SINCE(6, 9, "[11.1] PIDFD_THREAD")
		CHECK(pidfd_open_(t->tid, PIDFD_THREAD) >= 0, "[11.1] PIDFD_THREAD");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK(pidfd_open_(c->pid, 0) >= 0, "[11.1,3.12] of a zombie");
	reap(c->pid);
	CHECK_ERR(pidfd_open_(c->pid, 0), ESRCH, "[11.1,3.12] reaped: ESRCH");
}

CASE(poll_states)
{
	struct agent *c = spawn(NULL);
	int fd = MUST(pidfd_open_(c->pid, 0));
	CHECK_EQ(events(fd), 0, "[11.2] alive: not ready");
	kill(c->pid, SIGSTOP);
	REQUIRE(await_state(c->pid, 'T'));
	CHECK_EQ(events(fd), 0, "[11.2] stopped: not ready");
	kill(c->pid, SIGCONT);
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(events(fd), POLLIN | POLLRDNORM, "[11.2] a zombie: readable");
	reap(c->pid);
	IF_SINCE(6, 9, "[11.2] reaped: also HUP")
		CHECK_EQ(events(fd), POLLIN | POLLRDNORM | POLLHUP, "[11.2] reaped: also HUP");
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	fd = MUST(pidfd_open_(p->pid, 0));
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	CHECK_EQ(events(fd), 0, "[11.2,3.6] a zombie leader with a live thread: not ready");
	quit_thread(t, 0);
	struct pollfd pf = { fd, POLLIN, 0 };
	CHECK_EQ(poll(&pf, 1, deadline_ms), 1, "[11.2] ready when the last thread has gone");
	REQUIRE(reap(p->pid) == 0);
	signal(SIGCHLD, SIG_IGN);
	c = spawn(NULL);
	fd = MUST(pidfd_open_(c->pid, 0));
	quit(c, 0);
	pf.fd = fd;
	CHECK_EQ(poll(&pf, 1, deadline_ms), 1, "[11.4] an autoreaped child's pidfd wakes the poller");
}

CASE(no_file_operations)
{
	struct agent *c = spawn(NULL);
	int fd = MUST(pidfd_open_(c->pid, 0));
	char b[8] = "";
	CHECK_ERR(read(fd, b, 8), EINVAL, "[11.6] read: EINVAL");
	CHECK_ERR(write(fd, b, 8), EINVAL, "[11.6] write: EINVAL");
	CHECK_ERR((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), ENODEV, "[11.6] mmap: ENODEV");
	CHECK_ERR(lseek(fd, 0, SEEK_SET), ESPIPE, "[11.6] lseek: ESPIPE");
	char link[64] = "", path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	REQUIRE(readlink(path, link, sizeof link - 1) > 0);
	CHECK(!strcmp(link, "anon_inode:[pidfd]"), "[11.7] its link's text");
	char info[512], want[32];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	REQUIRE(read_file(path, info, sizeof info) > 0);
	snprintf(want, sizeof want, "Pid:\t%d\n", c->pid);
	CHECK(strstr(info, want), "[11.8] fdinfo has the Pid");
	retire(c, NULL);
	read_file(path, info, sizeof info);
	CHECK(strstr(info, "Pid:\t-1\n"), "[11.8] -1 after the reap");
}

CASE(waitid_pidfd)
{
	siginfo_t si;
	struct agent *c = spawn(NULL), *g = spawn(c);
	int fd = MUST(pidfd_open_(c->pid, 0)), nb = MUST(pidfd_open_(c->pid, O_NONBLOCK)), gf = MUST(pidfd_open_(g->pid, 0));
	memset(&si, 0xff, sizeof si);
	CHECK(sys_waitid(P_PIDFD, fd, &si, WEXITED | WNOHANG, NULL) == 0 && si.si_pid == 0, "[4.4] P_PIDFD, nothing to report: 0");
	CHECK_ERR(sys_waitid(P_PIDFD, nb, &si, WEXITED, NULL), EAGAIN, "[4.5] a non-blocking pidfd, child not ready: EAGAIN");
	CHECK_OK(sys_waitid(P_PIDFD, nb, &si, WEXITED | WNOHANG, NULL), "[4.5] with WNOHANG: 0");
	CHECK_ERR(sys_waitid(P_PIDFD, gf, &si, WEXITED | WNOHANG, NULL), ECHILD, "[11.11,4.5] not a child: ECHILD");
	quit(g, 0);
	REQUIRE(call(c, ag_reap, g->pid) == g->pid);
	quit(c, 7);
	CHECK(sys_waitid(P_PIDFD, fd, &si, WEXITED, NULL) == 0 && si.si_pid == c->pid && si.si_status == 7, "[11.11] waits for and reaps the child");
	CHECK_ERR(sys_waitid(P_PIDFD, fd, &si, WEXITED, NULL), ECHILD, "[11.11] after the reap: ECHILD");
}

CASE(send_signal)
{
	struct agent *c = spawn(NULL);
	siginfo_t si;
	memset(&si, 0, sizeof si);
	call(c, ag_catch, SIGUSR1);
	int fd = MUST(pidfd_open_(c->pid, 0));
	CHECK_OK(send_(fd, 0, NULL, 0), "[7.30] signal 0");
	CHECK_OK(send_(fd, SIGUSR1, NULL, 0), "[7.29] pidfd_send_signal");
	CHECK(AWAIT(siglog_count(c->pid, SIGUSR1) == 1), "[7.29] delivers");
	CHECK(siglog_get(c->pid, SIGUSR1, 0)->pid == getpid() && siglog_get(c->pid, SIGUSR1, 0)->code == SI_USER, "[7.29] like kill");
	CHECK_ERR(send_(fd, SIGUSR1, NULL, 1 << 10), EINVAL, "[7.29] an unknown flag: EINVAL");
	IF_SINCE(6, 9, "[7.29] more than one scope")
		CHECK_ERR(send_(fd, SIGUSR1, NULL, 3), EINVAL, "[7.29] more than one scope: EINVAL");
	CHECK_ERR(send_(1, SIGUSR1, NULL, 0), EBADF, "[7.30] not a pidfd: EBADF");
	CHECK_ERR(send_(fd, 65, NULL, 0), EINVAL, "[7.30] bad signal: EINVAL");
	si.si_signo = SIGUSR2;
	si.si_code = SI_QUEUE;
	CHECK_ERR(send_(fd, SIGUSR1, &si, 0), EINVAL, "[7.30] another si_signo: EINVAL");
	si.si_signo = SIGUSR1;
	si.si_code = SI_USER;
	CHECK_ERR(send_(fd, SIGUSR1, &si, 0), EPERM, "[7.30] si_code of kill to another: EPERM");
	CHECK_ERR(send_(fd, SIGUSR1, BADPTR, 0), EFAULT, "[7.30] bad pointer: EFAULT");
	char path[32];
	snprintf(path, sizeof path, "/proc/%d", c->pid);
	int d = MUST(open(path, O_RDONLY | O_DIRECTORY));
	CHECK_OK(send_(d, 0, NULL, 0), "[7.30] a /proc/pid directory is accepted");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_OK(send_(fd, SIGKILL, NULL, 0), "[7.30] to a zombie: 0");
	reap(c->pid);
	CHECK_ERR(send_(fd, SIGKILL, NULL, 0), ESRCH, "[7.30] after the reap: ESRCH");
}

CASE(clone_pidfd)
{
	int fd = -1;
	long pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
	if (pid == 0)
		_exit(fcntl(3, F_GETFD) < 0 ? 5 : 6);
	CHECK(pid > 0 && fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC, "[6.9,6.3] CLONE_PIDFD stores a close-on-exec descriptor");
	siginfo_t si;
	CHECK(sys_waitid(P_PIDFD, fd, &si, WEXITED, NULL) == 0 && si.si_pid == pid, "[6.9] of the child");
	errno = 0;
	pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, 0x10, 0, 0);
	if (pid == 0)
		_exit(0);
	CHECK(pid == -1 && errno == EFAULT, "[6.9] a bad address: EFAULT");
	CHECK_ERR(sys_wait4(-1, NULL, WNOHANG, NULL), ECHILD, "[6.9] and no child");
	errno = 0;
	pid = syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, &fd, 0, 0);
	if (pid == 0)
		_exit(0);
	CHECK(pid == -1 && errno == EINVAL, "[6.2] with PARENT_SETTID in the legacy call: EINVAL");
}

CASE(getfd)
{
	int p[2];
	struct agent *c;
	MUST(pipe(p));
	c = spawn(NULL);
	int fd = MUST(pidfd_open_(c->pid, 0));
	int got = syscall(SYS_pidfd_getfd, fd, p[0], 0);
	CHECK(got >= 0 && fcntl(got, F_GETFD) == FD_CLOEXEC, "[11.10] pidfd_getfd: a close-on-exec copy");
	REQUIRE(write(p[1], "x", 1) == 1);
	char b;
	CHECK(read(got, &b, 1) == 1 && b == 'x', "[11.10] of the same file");
	CHECK_ERR(syscall(SYS_pidfd_getfd, fd, 999, 0), EBADF, "[11.10] not open there: EBADF");
	CHECK_ERR(syscall(SYS_pidfd_getfd, 1, 0, 0), EBADF, "[11.10] not a pidfd: EBADF");
	CHECK_ERR(syscall(SYS_pidfd_getfd, fd, p[0], 1), EINVAL, "[11.10] flags: EINVAL");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_ERR(syscall(SYS_pidfd_getfd, fd, p[0], 0), ESRCH, "[11.10,3.12] of a zombie: ESRCH");
	reap(c->pid);
}

CASE(thread_pidfd)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	IF_SINCE(6, 15, "[11.3] PIDFD_THREAD") {
		int tf = MUST(pidfd_open_(t->tid, PIDFD_THREAD)), lf = MUST(pidfd_open_(p->pid, PIDFD_THREAD));
		siginfo_t si;
		CHECK_EQ(events(tf), 0, "[11.3] a thread's pidfd: not ready while it lives");
		CHECK_ERR(sys_waitid(P_PIDFD, tf, &si, WEXITED | WNOHANG, NULL), ECHILD, "[11.11] waitid of it: ECHILD");
		quit_thread(t, 0);
		struct pollfd f = { tf, POLLIN, 0 };
		CHECK_EQ(poll(&f, 1, deadline_ms), 1, "[11.3] ready when the thread exits");
		struct agent *t2 = spawn_thread(p);
		quit_thread(p, 0);
		REQUIRE(await_state(p->pid, 'Z'));
		CHECK_EQ(events(lf), 0, "[11.3] on the leader: not ready until the whole group is dead");
		quit_thread(t2, 0);
		f.fd = lf;
		CHECK_EQ(poll(&f, 1, deadline_ms), 1, "[11.3] then it is");
		REQUIRE(reap(p->pid) == 0);
	}
}

CASE(self_and_setns)
{
	IF_SINCE(6, 14, "[7.32] the self sentinels") {
		siglog_catch(SIGUSR1, 0);
		CHECK_OK(send_(-10000, SIGUSR1, NULL, 0), "[7.32] -10000: the own thread");
		CHECK_OK(send_(-10001, SIGUSR1, NULL, 0), "[7.32] -10001: the own process");
		CHECK_EQ(siglog_count(0, SIGUSR1), 2, "[7.32] both arrive");
		CHECK_ERR(send_(-10002, SIGUSR1, NULL, 0), EBADF, "[7.32] another negative one: EBADF");
	}
	struct agent *c = spawn(NULL);
	int fd = MUST(pidfd_open_(c->pid, 0));
	CHECK_ERR(setns(fd, 0), EINVAL, "[11.12] setns with a pidfd and no flags: EINVAL");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_ERR(setns(fd, CLONE_NEWUTS), ESRCH, "[11.12,3.12] of a zombie: ESRCH");
	reap(c->pid);
	CHECK_ERR(setns(fd, CLONE_NEWUTS), ESRCH, "[11.12] of a dead one: ESRCH");
}

/* ---- 13.8 ---- */

static volatile int go;
static int the_fd;

static void *by_pidfd(void *x)
{
	siginfo_t si;
	(void)x;
	while (!go)
		sched_yield();
	return (void *)(long)(sys_waitid(P_PIDFD, the_fd, &si, WEXITED, NULL) == 0 ? 1 : errno == ECHILD ? 0 : 100);
}

static void *by_any(void *x)
{
	(void)x;
	while (!go)
		sched_yield();
	return (void *)(long)(sys_wait4(-1, NULL, 0, NULL) > 0 ? 1 : errno == ECHILD ? 0 : 100);
}

static void *by_poll(void *x)
{
	struct pollfd p = { the_fd, POLLIN, 0 };
	(void)x;
	return (void *)(long)(poll(&p, 1, deadline_ms) == 1 ? 0 : 100);
}

CASE_T(one_reap, 60)
{
	int n = iterations(300), wrong = 0;
	for (int i = 0; i < n; i++) {
		pthread_t t[3];
		go = 0;
		pid_t pid = MUST(fork());
		if (pid == 0) {
			for (volatile int d = 0; d < i % 50 * 40; d++)
				;
			_exit(0);
		}
		the_fd = MUST(pidfd_open_(pid, 0));
		void *(*fn[])(void *) = { by_pidfd, by_any, by_poll };
		for (int k = 0; k < 3; k++)
			REQUIRE(pthread_create(&t[k], NULL, fn[k], NULL) == 0);
		go = 1;
		long sum = 0;
		for (int k = 0; k < 3; k++) {
			void *r;
			pthread_join(t[k], &r);
			sum += (long)r;
		}
		wrong += sum != 1;
		close(the_fd);
	}
	CHECK_EQ(wrong, 0, "[13.8] waitid(P_PIDFD) against wait(-1): one success, one ECHILD; the poller always wakes");
}
