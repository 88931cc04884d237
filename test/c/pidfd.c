/* pidfd.c - section 11 and what sections 4, 6 and 7 say of pidfds. */
#include "lib/tap.h"

#include <grp.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#define PIDFD_THREAD O_EXCL
#define FUTEX_WAIT_ 0

static long pidfd_open_(long pid, long flags) { return syscall(SYS_pidfd_open, pid, flags); }
static long send_(long fd, long sig, void *si, long flags) { return syscall(SYS_pidfd_send_signal, fd, sig, si, flags); }

static long getfd_(long fd, long target, long flags) { return syscall(SYS_pidfd_getfd, fd, target, flags); }

/* struct pidfd_info as Linux 6.18 has it. */
struct info {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
	uint32_t coredump_mask, spare;
	uint64_t beyond;
};
enum { I_PID = 1, I_CREDS = 2, I_CGROUP = 4, I_EXIT = 8, I_CORE = 16, I_ALWAYS = 7 };
#define GET_INFO(size) _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, size)

static int get_info(int fd, struct info *i, uint64_t mask, int size)
{
	memset(i, 0xaa, sizeof *i);
	i->mask = mask;
	return ioctl(fd, GET_INFO(size), i);
}

static long clone3_(struct clone_args *a) { return syscall(SYS_clone3, a, sizeof *a); }

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
	CHECK_ERR(pread(fd, b, 8, 0), EINVAL, "[11.6] pread: EINVAL, not ESPIPE");
	CHECK_ERR(pwrite(fd, b, 8, 0), EINVAL, "[11.6] pwrite: EINVAL");
	CHECK_ERR((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), ENODEV, "[11.6] mmap: ENODEV");
	CHECK_ERR(lseek(fd, 0, SEEK_SET), ESPIPE, "[11.6] lseek: ESPIPE");
	CHECK_ERR(ioctl(fd, 0x5401, b), ENOTTY, "[11.6] an unknown ioctl: ENOTTY");
	IF_SINCE(6, 9, "[11.6] attributes") {
		CHECK_ERR(ftruncate(fd, 0), EOPNOTSUPP, "[11.6] ftruncate: EOPNOTSUPP");
		CHECK_ERR(fallocate(fd, 0, 0, 10), EOPNOTSUPP, "[11.6] fallocate: EOPNOTSUPP");
		CHECK_ERR(fallocate(fd, 0, 0, 0), EINVAL, "[11.6] of nothing: EINVAL");
		CHECK_ERR(fchmod(fd, 0600), EOPNOTSUPP, "[11.6] fchmod: EOPNOTSUPP");
		CHECK_ERR(fchown(fd, 0, 0), EOPNOTSUPP, "[11.6] fchown: EOPNOTSUPP");
	}
	char link[64] = "", path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	REQUIRE(readlink(path, link, sizeof link - 1) > 0);
	CHECK(!strcmp(link, "anon_inode:[pidfd]"), "[11.7] its link's text");
	char info[512], want[32];
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	REQUIRE(read_file(path, info, sizeof info) > 0);
	snprintf(want, sizeof want, "\nPid:\t%d\n", c->pid);
	CHECK(strstr(info, want), "[11.8] fdinfo has the Pid");
	snprintf(want, sizeof want, "\nNSpid:\t%d\n", c->pid);
	CHECK(strstr(info, want), "[11.8] and NSpid");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	read_file(path, info, sizeof info);
	CHECK(strstr(info, want), "[11.8] also of a zombie");
	reap(c->pid);
	read_file(path, info, sizeof info);
	CHECK(strstr(info, "\nPid:\t-1\n") && strstr(info, "\nNSpid:\t-1\n"), "[11.8] -1 after the reap");
}

CASE(inode)
{
	struct agent *c = spawn(NULL), *d = spawn(NULL);
	struct stat a, b, e;
	struct statfs fs;
	int fd = MUST(pidfd_open_(c->pid, 0)), again = MUST(pidfd_open_(c->pid, O_NONBLOCK)), other = MUST(pidfd_open_(d->pid, 0));
	MUST(fstat(fd, &a));
	MUST(fstat(again, &b));
	MUST(fstat(other, &e));
	IF_SINCE(6, 9, "[11.7] pidfs") {
		CHECK(a.st_ino == b.st_ino && a.st_dev == b.st_dev, "[11.7] two opens of one process: one inode");
		CHECK(a.st_ino != e.st_ino && a.st_dev == e.st_dev, "[11.7] another process: another inode");
		CHECK_EQ(a.st_mode, 0700, "[11.7] st_mode");
		CHECK(fstatfs(fd, &fs) == 0 && fs.f_type == 0x50494446, "[11.7] f_type");
		close(fd);
		close(again);
		fd = MUST(pidfd_open_(c->pid, 0));
		MUST(fstat(fd, &b));
		CHECK_EQ(a.st_ino, b.st_ino, "[11.7] the same when all had been closed between");
		char path[64];
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		IF_ROOT("[11.7] opened through /proc: a pidfd of the same process") {
			int reopened = MUST(open(path, O_RDONLY));
			MUST(fstat(reopened, &b));
			CHECK(a.st_ino == b.st_ino && send_(reopened, 0, NULL, 0) == 0, "[11.7] opened through /proc: a pidfd of the same process");
		}
		quit(c, 0);
		REQUIRE(await_zombie(c->pid));
		again = MUST(pidfd_open_(c->pid, 0));
		MUST(fstat(again, &b));
		CHECK_EQ(a.st_ino, b.st_ino, "[11.7] the same of the zombie");
		reap(c->pid);
		MUST(fstat(fd, &b));
		CHECK_EQ(a.st_ino, b.st_ino, "[11.7] and after the reap");
	}
}

CASE(get_info)
{
	struct agent *c = spawn(NULL), *z = spawn(NULL);
	struct info i;
	int fd = MUST(pidfd_open_(c->pid, 0)), zfd;
	IF_SINCE(6, 15, "[11.9] PIDFD_GET_INFO") {
		CHECK_OK(get_info(fd, &i, 0, 64), "[11.9] PIDFD_GET_INFO");
		CHECK_EQ(i.mask, I_ALWAYS, "[11.9] PID, CREDS and CGROUPID without being asked for");
		CHECK(i.pid == (uint32_t)c->pid && i.tgid == i.pid && i.ppid == (uint32_t)getpid(), "[11.9] pid, tgid, ppid");
		CHECK(i.cgroupid != 0 && i.cgroupid != ~0ull / 3 * 2, "[11.9] a cgroup id");
		CHECK(i.ruid == getuid() && i.egid == getegid() && i.fsuid == geteuid(), "[11.9] credentials");
		CHECK(i.exit_code == 0 && i.coredump_mask == 0xaaaaaaaa, "[11.9] nothing is written beyond the caller's size");
		CHECK(get_info(fd, &i, I_EXIT, 64) == 0 && i.mask == I_ALWAYS, "[11.9] alive: no exit status");
		CHECK(get_info(fd, &i, ~0ull, 80) == 0 && i.beyond == 0, "[11.9] a longer structure is filled with zeros");
		IF_SINCE(6, 16, "[11.9] coredump mask")
			CHECK(get_info(fd, &i, I_CORE, 72) == 0 && i.mask == (I_ALWAYS | I_CORE) && i.coredump_mask == 4, "[11.9] a dump would be the user's");
		if (geteuid() == 0) {
			REQUIRE(call(c, ag_drop, 1234) == 0);
			CHECK(get_info(fd, &i, 0, 64) == 0 && i.ruid == 1234 && i.euid == 1234 && i.suid == 1234 && i.rgid == 1234, "[11.9] its credentials, not the caller's");
		}
		CHECK_ERR(ioctl(fd, GET_INFO(64), NULL), EINVAL, "[11.9] NULL: EINVAL");
		CHECK_ERR(ioctl(fd, GET_INFO(64), BADPTR), EFAULT, "[11.9] a bad pointer: EFAULT");
		CHECK_ERR(get_info(fd, &i, 0, 56), ENOTTY, "[11.9] too small: ENOTTY");
		CHECK_ERR(ioctl(fd, _IOC(_IOC_READ, 0xff, 11, 64), &i), ENOTTY, "[11.9] another direction: ENOTTY");

		quit(c, 7);
		REQUIRE(await_zombie(c->pid));
		CHECK(get_info(fd, &i, I_EXIT, 64) == 0 && i.mask == I_ALWAYS && i.pid == (uint32_t)c->pid, "[11.9] a zombie: ids, and no exit status yet");
		reap(c->pid);
		CHECK(get_info(fd, &i, I_EXIT, 64) == 0 && i.mask == (I_EXIT | I_CGROUP) && i.exit_code == 7 << 8, "[11.9] reaped: the exit status");
		CHECK_EQ(i.pid, 0, "[11.9] and no ids");
		IF_SINCE(6, 16, "[11.9] coredump mask")
			CHECK(get_info(fd, &i, I_EXIT | I_CORE, 72) == 0 && i.mask == (I_EXIT | I_CGROUP | I_CORE) && i.coredump_mask == 0, "[11.9] nor anything about dumps");
		CHECK_ERR(get_info(fd, &i, I_PID | I_CREDS, 64), ESRCH, "[11.9] reaped, not asked for the exit status: ESRCH");
		zfd = MUST(pidfd_open_(z->pid, 0));
		close(zfd);
		kill(z->pid, SIGKILL);
		REQUIRE(await_zombie(z->pid));
		zfd = MUST(pidfd_open_(z->pid, 0));
		reap(z->pid);
		CHECK(get_info(zfd, &i, I_EXIT, 64) == 0 && i.exit_code == SIGKILL, "[11.9] opened of a zombie, killed: the signal");
		signal(SIGCHLD, SIG_IGN);
		struct agent *a = spawn(NULL);
		fd = MUST(pidfd_open_(a->pid, 0));
		quit(a, 9);
		CHECK(AWAIT(events(fd) & POLLHUP), "[11.4,11.2] autoreaped: HUP");
		CHECK(get_info(fd, &i, I_EXIT, 64) == 0 && i.exit_code == 9 << 8, "[11.9,11.4] autoreaped: the exit status");
	}
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
	CHECK_ERR(sys_waitid(P_PIDFD, nb, &si, WEXITED, NULL), ECHILD, "[11.11,4.5] also with a non-blocking one: ECHILD");
	CHECK_ERR(sys_waitid(P_PIDFD, -1, &si, WEXITED, NULL), EINVAL, "[4.4] a negative id: EINVAL");
	CHECK_ERR(sys_waitid(P_PIDFD, 999, &si, WEXITED, NULL), EBADF, "[4.4] not open: EBADF");
	CHECK_ERR(sys_waitid(P_PIDFD, 1, &si, WEXITED, NULL), EBADF, "[4.4] not a pidfd: EBADF");
	int d = MUST(open("/proc/self", O_RDONLY | O_DIRECTORY));
	CHECK_ERR(sys_waitid(P_PIDFD, d, &si, WEXITED, NULL), EBADF, "[4.4] a directory of /proc: EBADF");
	c = spawn(NULL);
	fd = MUST(pidfd_open_(c->pid, 0));
	kill(c->pid, SIGSTOP);
	CHECK(sys_waitid(P_PIDFD, fd, &si, WSTOPPED, NULL) == 0 && si.si_status == SIGSTOP, "[11.11] a stop is reported too");
	kill(c->pid, SIGCONT);
	CHECK(sys_waitid(P_PIDFD, fd, &si, WCONTINUED, NULL) == 0 && si.si_status == SIGCONT, "[11.11] and its end");
	IF_SINCE(6, 15, "[11.11] PIDFD_THREAD of a leader") {
		int lf = MUST(pidfd_open_(c->pid, PIDFD_THREAD));
		quit(c, 3);
		CHECK(sys_waitid(P_PIDFD, lf, &si, WEXITED, NULL) == 0 && si.si_status == 3, "[11.11] a leader's thread pidfd waits for the process");
	}
}

/* Edge-triggered: one event when it is a zombie, one more when it is reaped. */
CASE(edge_triggered)
{
	struct agent *c = spawn(NULL);
	int fd = MUST(pidfd_open_(c->pid, 0)), ep = MUST(epoll_create1(0));
	struct epoll_event ev = { EPOLLIN | EPOLLET, { .u32 = 5 } };
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	CHECK_EQ(epoll_wait(ep, &ev, 1, 0), 0, "[11.2] alive: no event");
	quit(c, 0);
	CHECK(epoll_wait(ep, &ev, 1, deadline_ms) == 1 && ev.events == EPOLLIN, "[11.2] epoll fires at the death");
	REQUIRE(await_zombie(c->pid));
	CHECK_EQ(epoll_wait(ep, &ev, 1, 0), 0, "[11.2] once");
	reap(c->pid);
	IF_SINCE(6, 9, "[11.2] HUP")
		CHECK(epoll_wait(ep, &ev, 1, deadline_ms) == 1 && ev.events == (EPOLLIN | EPOLLHUP), "[11.2] and again at the reap");
}

static long ag_send0(long fd) { return send_(fd, 0, NULL, 0); }
static long ag_getfd0(long fd) { return getfd_(fd, 0, 0); }

/* Real ids 1234, effective and file system uid 5678: without capabilities, and dumpable again. */
static long be_two(long x)
{
	(void)x;
	return setresgid(1234, 1234, 1234) || setresuid(1234, 5678, 5678) || prctl(PR_SET_DUMPABLE, 1) ? -1 : 0;
}

static long be_one(long uid)
{
	return setresgid(1234, 1234, 1234) || setresuid(uid, uid, uid) || prctl(PR_SET_DUMPABLE, 1) ? -1 : 0;
}

static long read_environ(long pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%ld/environ", pid);
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
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
	CHECK_OK(send_(d, SIGUSR1, NULL, 0), "[7.30] a /proc/pid directory is accepted");
	CHECK(AWAIT(siglog_count(c->pid, SIGUSR1) == 2), "[7.30] and the signal delivered");
	snprintf(path, sizeof path, "/proc/%d/fd", c->pid);
	CHECK_ERR(send_(MUST(open(path, O_RDONLY | O_DIRECTORY)), 0, NULL, 0), EBADF, "[7.30] another directory there is not: EBADF");
	si.si_signo = SIGUSR1;
	si.si_code = SI_TKILL;
	CHECK_ERR(send_(fd, SIGUSR1, &si, 0), EPERM, "[7.30] si_code of tkill to another: EPERM");
	si.si_code = SI_QUEUE;
	si.si_value.sival_int = 77;
	CHECK_OK(send_(fd, SIGUSR1, &si, 0), "[7.30] with a siginfo");
	CHECK(AWAIT(siglog_count(c->pid, SIGUSR1) == 3) && siglog_get(c->pid, SIGUSR1, 2)->status == 77, "[7.30] which the handler gets");
	if (geteuid() == 0) {
		struct agent *u = spawn(NULL);
		REQUIRE(call(u, ag_drop, 1234) == 0);
		sh->v[0] = fd;
		CHECK(call(u, ag_send0, fd) == -1 && u->err == EPERM, "[7.30,7.5] without permission: EPERM");
		retire(u, NULL);
	}
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_OK(send_(fd, SIGKILL, NULL, 0), "[7.30,3.12] to a zombie: 0");
	CHECK_ERR(send_(fd, 65, NULL, 0), EINVAL, "[7.30] a bad signal to a zombie: EINVAL");
	reap(c->pid);
	CHECK_ERR(send_(fd, SIGKILL, NULL, 0), ESRCH, "[7.30] after the reap: ESRCH");
	CHECK_ERR(send_(fd, 65, NULL, 0), ESRCH, "[7.30] even with a bad signal: ESRCH");
	CHECK_ERR(send_(d, SIGKILL, NULL, 0), ESRCH, "[7.30,12.9] by the /proc directory of a reaped one: ESRCH");
}

/* ---- scopes ---- */

/* What arrived at thread `tid` only. */
static int caught_by(pid_t tid, int sig)
{
	int n = 0;
	for (int k = 0; k < sh->nsig; k++)
		n += sh->sig[k].tid == tid && sh->sig[k].sig == sig;
	return n;
}

CASE(scopes)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *m = spawn(p);
	IF_SINCE(6, 9, "[7.29] scopes") {
		call(p, ag_catch_plain, SIGUSR1);
		call(m, ag_catch_plain, SIGUSR1);
		int pf = MUST(pidfd_open_(p->pid, 0)), tf = MUST(pidfd_open_(t->tid, PIDFD_THREAD)), mf = MUST(pidfd_open_(m->pid, 0));
		CHECK_OK(send_(tf, SIGUSR1, NULL, 0), "[7.29] flags 0 on a thread pidfd");
		CHECK(AWAIT(caught_by(t->tid, SIGUSR1) == 1), "[7.29] reaches that thread");
		CHECK_EQ(siglog_get(p->pid, SIGUSR1, 0)->code, SI_TKILL, "[7.29] as tkill does");
		CHECK_OK(send_(pf, SIGUSR1, NULL, 1), "[7.29] THREAD on a process's pidfd");
		CHECK(AWAIT(caught_by(p->tid, SIGUSR1) == 1), "[7.29] reaches the leader");
		CHECK_OK(send_(tf, SIGUSR1, NULL, 2), "[7.29] THREAD_GROUP on a thread pidfd");
		CHECK(AWAIT(siglog_count(p->pid, SIGUSR1) == 3), "[7.29] reaches the process");
		CHECK_EQ(siglog_get(p->pid, SIGUSR1, 2)->code, SI_USER, "[7.29] as kill does");
		CHECK_ERR(send_(pf, SIGUSR1, NULL, 4), ESRCH, "[7.30] PROCESS_GROUP when it leads none: ESRCH");
		CHECK_ERR(send_(tf, SIGUSR1, NULL, 4), ESRCH, "[7.30] nor does a thread: ESRCH");
		REQUIRE(call(p, ag_setpgid, 0) == 0);
		REQUIRE(setpgid(m->pid, p->pid) == -1);
		REQUIRE(call(m, ag_setpgid, p->pid) == 0);
		CHECK_OK(send_(pf, SIGUSR1, NULL, 4), "[7.29] PROCESS_GROUP");
		CHECK(AWAIT(siglog_count(p->pid, SIGUSR1) == 4 && siglog_count(m->pid, SIGUSR1) == 1), "[7.29] reaches each member");
		CHECK_ERR(send_(mf, SIGUSR1, NULL, 4), ESRCH, "[7.30] by a member that does not lead it: ESRCH");
		siginfo_t si;
		memset(&si, 0, sizeof si);
		si.si_signo = SIGUSR1;
		si.si_code = SI_QUEUE;
		si.si_value.sival_int = 5;
		CHECK_OK(send_(pf, SIGUSR1, &si, 4), "[7.29] PROCESS_GROUP with a siginfo");
		CHECK(AWAIT(siglog_count(m->pid, SIGUSR1) == 2) && siglog_get(m->pid, SIGUSR1, 1)->status == 5, "[7.29] which each gets");
		quit(p, 0);
		REQUIRE(reap(p->pid) == 0);
		CHECK_OK(send_(pf, 0, NULL, 4), "[7.29,8.8] the group outlives its leader");
		CHECK_ERR(send_(pf, 0, NULL, 0), ESRCH, "[7.30] the leader itself is gone: ESRCH");
		CHECK_ERR(pidfd_open_(p->pid, 0), ESRCH, "[11.1] a number that only a group uses: ESRCH");
	}
}

CASE(clone_pidfd)
{
	int fd = -1;
	int lowest = MUST(dup(0));
	close(lowest);
	long pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0, &fd, 0, 0);
	if (pid == 0)
		_exit(fcntl(lowest, F_GETFD) < 0 ? 5 : 6);
	CHECK(pid > 0 && fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC, "[6.9,6.3] CLONE_PIDFD stores a close-on-exec descriptor");
	siginfo_t si;
	CHECK(sys_waitid(P_PIDFD, fd, &si, WEXITED, NULL) == 0 && si.si_pid == pid, "[6.9] of the child");
	CHECK(fd == lowest && si.si_status == 5, "[6.9] which has it not");
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
	errno = 0;
	pid = syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, 0, &fd, 0, 0);
	if (pid == 0)
		_exit(0);
	CHECK(pid == -1 && errno == EINVAL, "[6.2] with DETACHED: EINVAL");

	pid_t tid = 0;
	struct clone_args a = { .flags = CLONE_PIDFD | CLONE_PARENT_SETTID, .exit_signal = SIGCHLD, .pidfd = (uintptr_t)&fd, .parent_tid = (uintptr_t)&fd };
	errno = 0;
	pid = clone3_(&a);
	if (pid == 0)
		_exit(0);
	CHECK(pid == -1 && errno == EINVAL, "[6.2] pidfd and parent_tid at one address: EINVAL");
	a.parent_tid = (uintptr_t)&tid;
	pid = clone3_(&a);
	if (pid == 0)
		_exit(4);
	CHECK(pid > 0 && tid == pid && sys_waitid(P_PIDFD, fd, &si, WEXITED, NULL) == 0 && si.si_status == 4, "[6.9] both, by clone3");
	lowest = MUST(dup(0));
	close(lowest);
	a.flags = CLONE_PIDFD;
	a.pidfd = 0x10;
	errno = 0;
	pid = clone3_(&a);
	if (pid == 0)
		_exit(0);
	CHECK(pid == -1 && errno == EFAULT && fcntl(lowest, F_GETFD) == -1, "[6.9] a bad address in clone3: EFAULT, and no descriptor is left");
	CHECK_ERR(sys_wait4(-1, NULL, WNOHANG, NULL), ECHILD, "[6.9] and no child");
	struct rlimit old, none;
	getrlimit(RLIMIT_NOFILE, &old);
	none = (struct rlimit){ 0, old.rlim_max };
	setrlimit(RLIMIT_NOFILE, &none);
	a.pidfd = (uintptr_t)&fd;
	errno = 0;
	pid = clone3_(&a);
	if (pid == 0)
		_exit(0);
	setrlimit(RLIMIT_NOFILE, &old);
	CHECK(pid == -1 && errno == EMFILE, "[6.9] no descriptor to be had: EMFILE");
	CHECK_ERR(sys_wait4(-1, NULL, WNOHANG, NULL), ECHILD, "[6.9] and no child");
}

static int sleeper(void *x)
{
	while (!*(volatile int *)x)
		syscall(SYS_futex, x, FUTEX_WAIT_, 0, NULL, NULL, 0);
	syscall(SYS_exit, 6);
	return 0;
}

CASE(clone_thread_pidfd)
{
	IF_SINCE(6, 9, "[6.9] CLONE_PIDFD with CLONE_THREAD") {
		static volatile int leave;
		static char stack[65536] __attribute__((aligned(64)));
		int fd = -1;
		struct info i;
		int tid = clone(sleeper, stack + sizeof stack, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_PIDFD, (void *)&leave, &fd, NULL, NULL);
		MUST(tid);
		CHECK(fd >= 0 && fcntl(fd, F_GETFL) == (2 | PIDFD_THREAD), "[6.9] CLONE_PIDFD of a thread is a thread pidfd");
		CHECK_EQ(events(fd), 0, "[6.9,11.3] not ready while it lives");
		IF_SINCE(6, 15, "[11.9] thread")
			CHECK(get_info(fd, &i, 0, 64) == 0 && i.pid == (uint32_t)tid && i.tgid == (uint32_t)getpid(), "[11.9] a thread's pid and tgid");
		leave = 1;
		syscall(SYS_futex, &leave, 1, 1, NULL, NULL, 0);
		struct pollfd p = { fd, POLLIN, 0 };
		CHECK_EQ(poll(&p, 1, deadline_ms), 1, "[11.3] ready when it has exited");
		CHECK_EQ(events(fd), POLLIN | POLLRDNORM | POLLHUP, "[11.3] with HUP at once");
		CHECK_ERR(send_(fd, 0, NULL, 0), ESRCH, "[7.30] a thread that is gone: ESRCH");
		IF_SINCE(6, 15, "[11.9] thread")
			CHECK(get_info(fd, &i, I_EXIT, 64) == 0 && i.exit_code == 6 << 8, "[11.9] its own exit status");
		struct agent *c = spawn(NULL), *t = spawn_thread(c);
		int tf = MUST(pidfd_open_(t->tid, PIDFD_THREAD));
		quit(c, 9);
		REQUIRE(reap(c->pid) == 9 << 8);
		IF_SINCE(6, 15, "[11.9] thread")
			CHECK(get_info(tf, &i, I_EXIT, 64) == 0 && i.exit_code == 9 << 8, "[11.9] of a thread that died with its process: the process's");
	}
}

/* ---- exec by another thread than the leader ---- */

HELPER(rest)
{
	pause();
	return 0;
}

static long ag_exec_rest(long x) { (void)x; exec_self("rest", NULL, NULL, NULL); return -1; }

CASE(mt_exec)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *u = spawn_thread(p);
	struct info i;
	IF_SINCE(6, 15, "[10.12] pidfds over an exec") {
		int pf = MUST(pidfd_open_(p->pid, 0)), lf = MUST(pidfd_open_(p->pid, PIDFD_THREAD));
		int tf = MUST(pidfd_open_(t->tid, PIDFD_THREAD)), uf = MUST(pidfd_open_(u->tid, PIDFD_THREAD));
		struct stat a, b;
		MUST(fstat(pf, &a));
		post(t, ag_exec_rest, 0);
		struct pollfd w = { tf, POLLIN, 0 };
		CHECK_EQ(poll(&w, 1, deadline_ms), 1, "[10.12,11.5] the exec'ing thread's pidfd becomes ready");
		CHECK_EQ(events(tf), POLLIN | POLLRDNORM | POLLHUP, "[10.12] with HUP");
		CHECK_ERR(send_(tf, 0, NULL, 0), ESRCH, "[10.12] its old tid is gone: ESRCH");
		CHECK(events(pf) == 0 && events(lf) == 0, "[10.12,14.2] the leader's pidfds stay silent");
		CHECK_EQ(events(uf), POLLIN | POLLRDNORM | POLLHUP, "[10.12] a killed sibling's is ready");
		CHECK(get_info(tf, &i, I_EXIT, 64) == 0 && i.mask == (I_EXIT | I_CGROUP) && i.exit_code == 0, "[11.9] the exit status of the old tid: 0");
		CHECK(get_info(uf, &i, I_EXIT, 64) == 0 && i.exit_code == 0, "[11.9] of a killed sibling: 0");
		CHECK(get_info(pf, &i, 0, 64) == 0 && i.pid == (uint32_t)p->pid && i.tgid == i.pid, "[10.12] the leader's refers to the process");
		int again = MUST(pidfd_open_(p->pid, 0));
		MUST(fstat(again, &b));
		CHECK_EQ(a.st_ino, b.st_ino, "[10.12,11.7] and has the same inode");
		CHECK_OK(send_(lf, SIGKILL, NULL, 0), "[10.12] and signals it");
		w.fd = pf;
		CHECK_EQ(poll(&w, 1, deadline_ms), 1, "[10.12] which ends it");
		CHECK_EQ(reap(p->pid), SIGKILL, "[10.12] the status of the process");
		CHECK(get_info(lf, &i, I_EXIT, 64) == 0 && i.exit_code == SIGKILL, "[11.9] and of its pidfd");
	}
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
	CHECK_ERR(getfd_(999, 0, 0), EBADF, "[11.10] not open: EBADF");
	if (geteuid() == 0) {
		struct agent *u = spawn(NULL);
		REQUIRE(call(u, ag_drop, 1234) == 0);
		CHECK(call(u, ag_getfd0, fd) == -1 && u->err == EPERM, "[11.10] without the right to trace: EPERM");
		retire(u, NULL);
		/* who asks by a system call is who it really is; who opens a file of /proc, as whom it uses files */
		struct agent *real = spawn(NULL), *effective = spawn(NULL);
		REQUIRE(call(real, be_one, 1234) == 0 && call(effective, be_one, 5678) == 0);
		int real_fd = MUST(pidfd_open_(real->pid, 0)), effective_fd = MUST(pidfd_open_(effective->pid, 0));
		u = spawn(NULL);
		REQUIRE(call(u, be_two, 0) == 0);
		CHECK(call(u, ag_getfd0, real_fd) >= 0, "[11.10] from a process of the same real user");
		CHECK(call(u, ag_getfd0, effective_fd) == -1 && u->err == EPERM, "[11.10] not from one of the effective user: EPERM");
		CHECK_EQ(call(u, read_environ, effective->pid), 0, "[11.10,proc] whose files in /proc it may read");
		CHECK_EQ(call(u, read_environ, real->pid), -EACCES, "[11.10,proc] and not the other's: EACCES");
		retire(u, NULL);
		retire(real, NULL);
		retire(effective, NULL);
	}
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_ERR(syscall(SYS_pidfd_getfd, fd, p[0], 0), ESRCH, "[11.10,3.12] of a zombie: ESRCH");
	reap(c->pid);
}

/* What a process with these ids may learn of `target`, whose ids are all 1000: 1 its descriptors, 2 its robust list, 4 its maps. */
static int may_look(pid_t target, int fd, int real, int effective)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char path[32];
		void *head;
		size_t len;
		if (setresgid(real, effective, effective) || setresuid(real, effective, effective))
			_exit(100);
		int can = getfd_(fd, 0, 0) >= 0;
		can += 2 * (syscall(SYS_get_robust_list, target, &head, &len) == 0);
		snprintf(path, sizeof path, "/proc/%d/maps", target);
		_exit(can + 4 * (open(path, O_RDONLY) >= 0));
	}
	int st = reap(pid);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

CASE(getfd_by_real_ids)
{
	NEED_ROOT("[11.10] ids");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		/* No other gid may be left, nor a group of root's. */
		if (setgroups(0, NULL) || setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000) || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
			_exit(1);
		set_word(&sh->w[0], 1);
		for (;;)
			pause();
	}
	wait_word(&sh->w[0], 1);
	int fd = MUST(pidfd_open_(pid, 0));
	CHECK_EQ(may_look(pid, fd, 1000, 1000), 7, "[11.10] pidfd_getfd, get_robust_list, /proc/PID/maps: to the same user");
	CHECK_EQ(may_look(pid, fd, 2000, 2000), 0, "[11.10] to no other");
	CHECK_EQ(may_look(pid, fd, 1000, 2000), 3, "[11.10] pidfd_getfd and get_robust_list look at real ids");
	CHECK_EQ(may_look(pid, fd, 2000, 1000), 4, "[11.10] /proc/PID/maps at those of the file system");
	kill(pid, SIGKILL);
	reap(pid);
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

static long ag_send_self(long sig) { return send_(-10000, sig, NULL, 0); }

static long ag_setns(long fd) { return setns(fd, CLONE_NEWPID); }

CASE(self_and_setns)
{
	IF_SINCE(6, 14, "[7.32] the self sentinels") {
		siglog_catch(SIGUSR1, 0);
		CHECK_OK(send_(-10000, SIGUSR1, NULL, 0), "[7.32] -10000: the own thread");
		CHECK_OK(send_(-10001, SIGUSR1, NULL, 0), "[7.32] -10001: the own process");
		CHECK_EQ(siglog_count(0, SIGUSR1), 2, "[7.32] both arrive");
		CHECK_ERR(send_(-10002, SIGUSR1, NULL, 0), EBADF, "[7.32] another negative one: EBADF");
		CHECK_ERR(send_(-10001, 65, NULL, 0), EINVAL, "[7.32,7.30] a bad signal: EINVAL");
		siginfo_t si;
		memset(&si, 0, sizeof si);
		si.si_signo = SIGUSR1;
		si.si_code = SI_USER;
		CHECK_OK(send_(-10000, SIGUSR1, &si, 0), "[7.32,7.30] to itself any si_code");
		struct agent *p = spawn(NULL), *t = spawn_thread(p);
		call(p, ag_catch_plain, SIGUSR1);
		CHECK_OK(call(t, ag_send_self, SIGUSR1), "[7.32] -10000 by another thread than the leader");
		CHECK_EQ(caught_by(t->tid, SIGUSR1), 1, "[7.32] reaches that thread");
		retire(p, NULL);
	}
	struct agent *c = spawn(NULL);
	int fd = MUST(pidfd_open_(c->pid, 0));
	CHECK_ERR(setns(fd, 0), EINVAL, "[11.12] setns with a pidfd and no flags: EINVAL");
	quit(c, 0);
	REQUIRE(await_zombie(c->pid));
	CHECK_ERR(setns(fd, CLONE_NEWUTS), ESRCH, "[11.12,3.12] of a zombie: ESRCH");
	struct agent *stranger = spawn(NULL);
	REQUIRE(call(stranger, ag_drop, 1234) == 0);
	CHECK(call(stranger, ag_setns, fd) == -1 && stranger->err == EPERM, "[11.12,3.12] for who may not look into it: EPERM");
	retire(stranger, NULL);
	reap(c->pid);
	CHECK_ERR(setns(fd, CLONE_NEWUTS), ESRCH, "[11.12] of a dead one: ESRCH");
}

/* ---- namespaces ---- */

enum { NS_CGROUP = 1, NS_PID = 5, NS_PID_FOR_CHILDREN = 6, NS_UTS = 10 };
#define GET_NS(n) _IO(0xff, n)

static bool same_file(int fd, const char *path)
{
	struct stat a, b;
	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

CASE(namespace_ioctls)
{
	struct agent *c = spawn(NULL);
	int fd = MUST(pidfd_open_(c->pid, 0)), ok = 0;
	char path[64];
	IF_SINCE(6, 11, "[11.9] namespaces") {
		for (int n = NS_CGROUP; n <= NS_UTS; n++) {
			int ns = ioctl(fd, GET_NS(n), 0);
			ok += ns >= 0 && fcntl(ns, F_GETFD) == FD_CLOEXEC;
		}
		CHECK_EQ(ok, 10, "[11.9] ioctls 1 to 10 give descriptors of namespaces");
		snprintf(path, sizeof path, "/proc/%d/ns/pid", c->pid);
		CHECK(same_file(ioctl(fd, GET_NS(NS_PID), 0), path), "[11.9] the pid namespace");
		snprintf(path, sizeof path, "/proc/%d/ns/uts", c->pid);
		CHECK(same_file(ioctl(fd, GET_NS(NS_UTS), 0), path), "[11.9] the uts namespace");
		CHECK_ERR(ioctl(fd, GET_NS(NS_PID), 1), EINVAL, "[11.9] with an argument: EINVAL");
		CHECK_ERR(ioctl(fd, GET_NS(NS_UTS + 3), 0), ENOTTY, "[11.9] another number: ENOTTY");
		quit(c, 0);
		REQUIRE(await_zombie(c->pid));
		CHECK_ERR(ioctl(fd, GET_NS(NS_PID), 0), ESRCH, "[11.9,3.12] of a zombie: ESRCH");
		reap(c->pid);
		CHECK_ERR(ioctl(fd, GET_NS(NS_PID), 0), ESRCH, "[11.9] of a reaped one: ESRCH");
	}
}

static long ag_info_pid(long fd)
{
	struct info i;
	return get_info(fd, &i, 0, 64) == 0 ? (long)i.pid : -1;
}
static long ag_open(long pid) { return pidfd_open_(pid, 0); }

CASE(pid_namespaces)
{
	NEED_ROOT("[7.31,11.9] pid namespaces");
	int own = MUST(pidfd_open_(getpid(), 0));
	struct agent *i = spawn_flags(NULL, CLONE_NEWPID | SIGCHLD);
	REQUIRE(i->self == 1);
	struct agent *c = spawn(i);
	int fd = MUST(pidfd_open_(i->pid, 0));
	struct info info;
	char text[512], path[64], want[64];

	CHECK(call(i, ag_send0, own) == -1 && i->err == EINVAL, "[7.31] a target outside of the caller's namespace: EINVAL");
	IF_SINCE(6, 17, "[11.9] EREMOTE")
		CHECK(call(i, ag_info_pid, own) == -1 && i->err == EREMOTE, "[11.9] nor is it told about: EREMOTE");
	CHECK_OK(send_(fd, 0, NULL, 0), "[7.31] a target below is fine");
	IF_SINCE(6, 13, "[11.9] GET_INFO")
		CHECK(get_info(fd, &info, 0, 64) == 0 && info.pid == (uint32_t)i->pid && info.ppid == (uint32_t)getpid(), "[11.9] by the caller's numbers");
	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
	read_file(path, text, sizeof text);
	snprintf(want, sizeof want, "\nPid:\t%d\nNSpid:\t%d\t1\n", i->pid, i->pid);
	CHECK(strstr(text, want), "[11.8] NSpid: from the mount's namespace inward");

	/* what the inner init opened, as seen inside and, as a copy, outside */
	long inner = call(i, ag_open, c->self);
	REQUIRE(inner >= 0);
	IF_SINCE(6, 13, "[11.9] GET_INFO")
		CHECK_EQ(call(i, ag_info_pid, inner), c->self, "[11.9] inside: the inner number");
	int copy = MUST(getfd_(fd, inner, 0));
	IF_SINCE(6, 13, "[11.9] GET_INFO") {
		REQUIRE(get_info(copy, &info, 0, 64) == 0);
		CHECK(info.pid > 0 && info.pid != (uint32_t)c->self && info.ppid == (uint32_t)i->pid, "[11.9] outside: the outer number");
		int outer = MUST(pidfd_open_(info.pid, 0));
		struct stat a, b;
		fstat(copy, &a);
		fstat(outer, &b);
		CHECK_EQ(a.st_ino, b.st_ino, "[11.7] opened by either number: one inode");
	}
	CHECK(call(i, ag_open, 1) >= 0, "[11.1] a number is one of the caller's namespace");
	CHECK(call(i, ag_open, getpid()) == -1 && i->err == ESRCH, "[11.1] an outer one is nobody there: ESRCH");

	/* setns */
	struct agent *x = spawn(NULL), *u = spawn(NULL);
	CHECK_OK(call(x, ag_setns, fd), "[9.3,11.12] setns by pidfd into a namespace below");
	struct agent *y = spawn(x);
	CHECK(y->self > 1 && y->self != y->pid, "[9.3] where its next child is");
	IF_SINCE(6, 11, "[11.9] namespaces") {
		int xfd = MUST(pidfd_open_(x->pid, 0));
		snprintf(path, sizeof path, "/proc/%d/ns/pid", i->pid);
		CHECK(same_file(ioctl(xfd, GET_NS(NS_PID_FOR_CHILDREN), 0), path), "[11.9] ioctl 6: that of the children");
		snprintf(path, sizeof path, "/proc/%d/ns/pid", x->pid);
		CHECK(same_file(ioctl(xfd, GET_NS(NS_PID), 0), path), "[11.9] ioctl 5: its own");
	}
	CHECK(call(i, ag_setns, own) == -1 && i->err == EINVAL, "[9.3,11.12] into one above: EINVAL");
	REQUIRE(call(u, ag_drop, 1234) == 0);
	CHECK(call(u, ag_setns, fd) == -1 && u->err == EPERM, "[9.3,11.12] without privilege: EPERM");
	quit(y, 0);
	call(x, ag_reap, y->pid);
	retire(x, NULL);
	retire(u, NULL);

	siginfo_t si;
	memset(&si, 0, sizeof si);
	si.si_signo = SIGTERM;
	si.si_code = SI_QUEUE;
	CHECK_OK(send_(fd, SIGTERM, NULL, 0), "[7.28,7.25] SIGTERM to an init without a handler: 0");
	CHECK_OK(send_(fd, SIGTERM, &si, 0), "[7.28,7.25] with a siginfo too");
	CHECK_EQ(call(i, ag_getpid, 0), 1, "[7.28,7.25] and ignored");
	CHECK_OK(send_(fd, SIGKILL, NULL, 0), "[7.28,7.25] SIGKILL from above");
	struct pollfd p = { copy, POLLIN, 0 };
	CHECK_EQ(poll(&p, 1, deadline_ms), 1, "[9.6] ends the namespace: a member's pidfd is ready");
	CHECK_EQ(reap(i->pid), SIGKILL, "[7.28] and its init");
	CHECK_EQ(events(copy), POLLIN | POLLRDNORM | POLLHUP, "[11.4] the member was autoreaped");
	IF_SINCE(6, 15, "[11.9] exit status")
		CHECK(get_info(copy, &info, I_EXIT, 64) == 0 && info.exit_code == SIGKILL, "[11.9] its exit status outlives the namespace");
	CHECK_ERR(send_(copy, 0, NULL, 0), ESRCH, "[7.30] it is gone: ESRCH");
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

/* ---- opening against dying and reaping ---- */

enum { OPENERS = 2, MOST = 64 };
static struct { int fd[MOST], n; } opened[OPENERS];
static volatile pid_t dying;

static void *opener(void *x)
{
	int me_ = (int)(long)x;
	while (!go)
		sched_yield();
	for (int fd; opened[me_].n < MOST && (fd = pidfd_open_(dying, 0)) >= 0;)
		opened[me_].fd[opened[me_].n++] = fd;
	return NULL;
}

CASE_T(open_against_reap, 60)
{
	IF_SINCE(6, 15, "[13.8] opening against the reap") {
		int n = iterations(300), wrong = 0;
		for (int i = 0; i < n; i++) {
			pthread_t t[OPENERS];
			struct stat a, b;
			struct info info;
			go = 0;
			pid_t pid = dying = MUST(fork());
			if (pid == 0) {
				for (volatile int d = 0; d < i % 50 * 40; d++)
					;
				_exit(i & 0x7f);
			}
			int first = MUST(pidfd_open_(pid, 0));
			MUST(fstat(first, &a));
			if (i & 1)
				close(first);
			for (long k = 0; k < OPENERS; k++) {
				opened[k].n = 0;
				REQUIRE(pthread_create(&t[k], NULL, opener, (void *)k) == 0);
			}
			go = 1;
			REQUIRE(reap(pid) == (i & 0x7f) << 8);
			for (int k = 0; k < OPENERS; k++) {
				pthread_join(t[k], NULL);
				for (int f = 0; f < opened[k].n; f++) {
					int fd = opened[k].fd[f];
					wrong += fstat(fd, &b) != 0 || b.st_ino != a.st_ino;
					wrong += events(fd) != (POLLIN | POLLRDNORM | POLLHUP);
					wrong += get_info(fd, &info, I_EXIT, 64) != 0 || info.exit_code != (i & 0x7f) << 8;
					close(fd);
				}
			}
			if (!(i & 1))
				close(first);
		}
		CHECK_EQ(wrong, 0, "[13.8,11.7,11.9] opened while it dies and is reaped: one inode, ready, with the status");
	}
}

/* ---- 13.9 ---- */

static volatile int spamming;

/* Kills through the pidfd of a dead process, again and again: how often it worked after the reap. */
static void *spam(void *x)
{
	long wrong = 0;
	(void)x;
	for (int phase; (phase = spamming);)
		wrong += send_(the_fd, SIGKILL, NULL, 0) == 0 && phase > 1;
	return (void *)wrong;
}

/* A child with this very pid; -1 if it is in use. */
static pid_t fork_as(pid_t pid)
{
	struct clone_args a = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1 };
	return clone3_(&a);
}

CASE_T(reused_pid, 60)
{
	NEED_ROOT("[13.9] a chosen pid");
	int n = iterations(300), wrong = 0, reused = 0;
	for (int i = 0; i < n; i++) {
		pthread_t t;
		pid_t pid = MUST(fork());
		if (pid == 0) {
			pause();
			_exit(0);
		}
		the_fd = MUST(pidfd_open_(pid, 0));
		spamming = 1;
		REQUIRE(pthread_create(&t, NULL, spam, NULL) == 0);
		REQUIRE(reap(pid) == SIGKILL);
		spamming = 2;
		int owner;
		do {
			owner = fork_as(pid);
			if (owner == 0) {
				for (volatile int d = 0; d < i % 50 * 40; d++)
					;
				_exit(42);
			}
		} while (owner < 0 && errno == EAGAIN);
		if (owner > 0) {
			reused++;
			wrong += owner != pid || reap(owner) != 42 << 8;
		} else
			REQUIRE(errno == EEXIST);	/* somebody else was quicker */
		spamming = 0;
		void *hits;
		pthread_join(t, &hits);
		wrong += hits != NULL;
		close(the_fd);
	}
	CHECK_EQ(wrong, 0, "[13.9,I6] a kill through a pidfd never hits the number's next owner");
	CHECK(reused > n / 2, "[13.9] and the number was used again");
}

/* ---- every flag, size and mask ---- */

CASE(every_open_flag)
{
	struct agent *c = spawn(NULL);
	bool right = true;
	for (int bit = 0; bit < 32; bit++) {
		unsigned flag = 1u << bit;
		int fd = pidfd_open_(c->pid, flag);
		bool known = flag == O_NONBLOCK || flag == 0x80;
		if (known ? fd < 0 || fcntl(fd, F_GETFL) != (int)(2 | flag) || fcntl(fd, F_GETFD) != FD_CLOEXEC : fd != -1 || errno != EINVAL)
			tap_note("flag %x: %d, errno %d", flag, fd, errno), right = false;
		if (fd >= 0)
			close(fd);
	}
	IF_SINCE(6, 9, "[11.1] every flag but two: EINVAL") CHECK(right, "[11.1] every flag but two: EINVAL");
	retire(c, NULL);
}

/* Asks with this size and mask; whether the answer is `err`, or `mask` in an answer that is not longer than asked for. */
static bool info_is(int fd, int size, uint64_t ask, int err, uint64_t mask)
{
	unsigned char b[256];
	memset(b, 0x55, sizeof b);
	memcpy(b, &ask, sizeof ask);
	errno = 0;
	int r = ioctl(fd, GET_INFO(size), b), e = errno;
	uint64_t got;
	memcpy(&got, b, sizeof got);
	bool right = err ? r == -1 && e == err : r == 0 && got == mask;
	for (int i = size; i < 256 && i >= 8; i++)
		right = right && b[i] == 0x55;
	if (!right)
		tap_note("size %d, mask %llx: %d, errno %d, mask %llx", size, (unsigned long long)ask, r, e, (unsigned long long)got);
	return right;
}

CASE(every_info)
{
	static const int sizes[] = { 0, 8, 16, 32, 56, 60, 63, 64, 65, 68, 72, 76, 80, 96, 128, 255 };
	struct agent *c = spawn(NULL);
	int fd = MUST(pidfd_open_(c->pid, 0));
	bool live = true, zombie = true, reaped = true;
	IF_SINCE(6, 18, "[11.9] every size and mask") {
		for (int stage = 0; stage < 3; stage++) {
			bool *right = stage == 0 ? &live : stage == 1 ? &zombie : &reaped;
			for (int k = 0; k < 16; k++)
				for (int bit = -1; bit < 65; bit++) {
					uint64_t ask = bit < 0 ? 0 : bit == 64 ? ~0ull : 1ull << bit, core = ask & I_CORE;
					int err = sizes[k] < 64 ? ENOTTY : stage == 2 && !(ask & I_EXIT) ? ESRCH : 0;
					*right &= info_is(fd, sizes[k], ask, err, stage == 2 ? I_EXIT | I_CGROUP | core : I_ALWAYS | core);
				}
			if (stage == 0) {
				quit(c, 0);
				REQUIRE(await_zombie(c->pid));
			} else if (stage == 1) {
				reap(c->pid);
			}
		}
		CHECK(live, "[11.9] every size and mask, of a live process");
		CHECK(zombie, "[11.9] of a zombie");
		CHECK(reaped, "[11.9] of a reaped one");
	}
	if (proc_state(c->pid))
		retire(c, NULL);
}
