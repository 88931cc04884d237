/* signalfd.c - signals read from a descriptor (rule 7.33). */
#include "lib/tap.h"

#include <poll.h>
#include <sys/signalfd.h>

static long sigfd(int fd, unsigned long set, int flags) { return syscall(SYS_signalfd4, (long)fd, &set, 8L, (long)flags); }

CASE(signalfd)
{
	unsigned long usr1 = 1UL << (SIGUSR1 - 1), usr2 = 1UL << (SIGUSR2 - 1);
	struct signalfd_siginfo si[2];
	long fd = sigfd(-1, usr1, SFD_NONBLOCK | SFD_CLOEXEC);
	CHECK(fd >= 0, "[7.33] signalfd4 with NONBLOCK and CLOEXEC");
	if (fd < 0)
		return;
	CHECK_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC, "[7.33] close-on-exec is set");
	CHECK_ERR(sigfd(-1, usr1, 1), EINVAL, "[7.33] unknown flag: EINVAL");
	CHECK_ERR(syscall(SYS_signalfd4, -1L, &usr1, 4L, 0L), EINVAL, "[7.33] mask size 4: EINVAL");
	CHECK_ERR(sigfd(999, usr1, 0), EBADF, "[7.33] not open: EBADF");
	CHECK_ERR(sigfd(1, usr1, 0), EINVAL, "[7.33] another kind of file: EINVAL");
	ag_block(SIGUSR1);
	ag_block(SIGUSR2);
	CHECK_ERR(read(fd, si, sizeof si), EAGAIN, "[7.33] nothing pending: EAGAIN");
	CHECK_ERR(read(fd, si, 127), EINVAL, "[7.33] less than 128 bytes: EINVAL");
	kill(getpid(), SIGUSR1);
	kill(getpid(), SIGUSR2);
	struct pollfd p = { fd, POLLIN, 0 };
	CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN, "[7.33] poll says readable");
	CHECK_EQ(read(fd, si, sizeof si), 128, "[7.33] reads the one it is for");
	CHECK(si[0].ssi_signo == SIGUSR1 && si[0].ssi_pid == (unsigned)getpid() && si[0].ssi_code == SI_USER, "[7.33] with its siginfo");
	CHECK_EQ(ag_pending(SIGUSR1), 0, "[7.33] which takes it from the queue");
	CHECK_EQ(sigfd(fd, usr2, 0), fd, "[7.33] a new mask for an open one");
	CHECK(read(fd, si, sizeof si) == 128 && si[0].ssi_signo == SIGUSR2, "[7.33] counts at once");
	kill(getpid(), SIGUSR2);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		bool none = read(fd, si, 128) < 0 && errno == EAGAIN;
		kill(getpid(), SIGUSR2);
		_exit(none && read(fd, si, 128) == 128 && si[0].ssi_pid == (unsigned)getpid() ? 0 : 1);
	}
	CHECK_EQ(reap(pid), 0, "[7.33] a forked child reads its own queue through it");
	CHECK_EQ(read(fd, si, 128), 128, "[7.33] and the parent its own");
	/* Linux tells by signal and code what is in a siginfo: a child's death told by another signal looks like a ready file. */
	pid = MUST(syscall(SYS_clone, SIGUSR2, NULL, NULL, NULL, NULL));
	if (pid == 0)
		_exit(5);
	p.revents = 0;
	REQUIRE(poll(&p, 1, 5000) == 1);
	CHECK(read(fd, si, 128) == 128 && si[0].ssi_signo == SIGUSR2 && si[0].ssi_code == CLD_EXITED,
	      "[7.33,5.8] the exit signal of a child, if not SIGCHLD, is read with its code");
	CHECK(si[0].ssi_pid == 0 && si[0].ssi_status == 0 && si[0].ssi_band == (unsigned)pid && si[0].ssi_fd == 5,
	      "[7.33,5.8] but its pid and status are where those of a ready file would be");
	CHECK_EQ(waitpid(pid, NULL, __WALL), pid, "[7.33] and the child is there to be reaped");
}
