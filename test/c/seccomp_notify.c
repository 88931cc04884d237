/*
 * seccomp_notify.c - filters that ask a process what shall become of a system call (seccomp_unotify(2)).
 *
 * The case is the supervisor. Its target is a child that installs a filter with a listener, which the case takes from it by
 * pidfd_getfd(2), and then makes calls. What a call returned comes back in shared words.
 */
#include "lib/tap.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#ifndef SECCOMP_FILTER_FLAG_TSYNC_ESRCH
#define SECCOMP_FILTER_FLAG_TSYNC_ESRCH (1UL << 4)
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND 2
#endif
#define SET_FLAGS 0x40082104u		/* SECCOMP_IOCTL_NOTIF_SET_FLAGS */
#define WRONG_DIR 0x80082102u		/* SECCOMP_IOCTL_NOTIF_ID_VALID_WRONG_DIR */
#define LISTEN SECCOMP_FILTER_FLAG_NEW_LISTENER
#define KILLABLE (LISTEN | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)

static long seccomp(long op, long flags, void *arg) { return syscall(SYS_seccomp, op, flags, arg); }

/* A filter that answers `action` to `nr` and allows the rest. */
static long filter(long nr, unsigned action, long flags)
{
	struct sock_filter f[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr) },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, nr },
		{ BPF_RET | BPF_K, 0, 0, action },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	struct sock_fprog prog = { 4, f };
	return seccomp(SECCOMP_SET_MODE_FILTER, flags, &prog);
}

static void nnp(void) { prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }
static long listen_to(long nr, long flags) { return filter(nr, SECCOMP_RET_USER_NOTIF, flags); }

/* ---- the supervisor ---- */
static int fd = -1;			/* the listener */
static struct seccomp_notif req;

static long receive(void)
{
	memset(&req, 0, sizeof req);
	return ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req);
}

static long answer_to(uint64_t id, int64_t val, int error, unsigned flags)
{
	struct seccomp_notif_resp r = { id, val, error, flags };
	return ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, &r);
}

static long answer(int64_t val, int error, unsigned flags) { return answer_to(req.id, val, error, flags); }
static long id_valid(uint64_t id) { return ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &id); }

static long add_fd(uint64_t id, int from, unsigned flags, unsigned to, unsigned fd_flags)
{
	struct seccomp_notif_addfd a = { id, flags, from, to, fd_flags };
	return ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
}

static int ready(void)
{
	struct pollfd p = { fd, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM, 0 };
	return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}

/* ---- the target: an agent with a listener for getppid ---- */
static long ag_listen(long flags)
{
	nnp();
	return listen_to(SYS_getppid, flags);
}

static long ag_ask(long x)
{
	errno = 0;
	long r = syscall(SYS_getppid, x, 2, 3, 4, 5, 6);
	return r == -1 ? -errno : r;
}

static long ag_ask_raw(long x)
{
	long r;
	(void)x;
	__asm__ volatile("syscall" : "=a"(r) : "a"(SYS_getppid) : "rcx", "r11", "memory");
	return r;
}

static struct agent *target_in(struct agent *in, long flags)
{
	struct agent *a = in ? new_ns(in) : spawn(NULL);
	int theirs = call(a, ag_listen, flags);
	REQUIRE(theirs >= 0);
	int pidfd = MUST(syscall(SYS_pidfd_open, a->pid, 0));
	fd = MUST(syscall(SYS_pidfd_getfd, pidfd, theirs, 0));
	close(pidfd);
	a->out[7] = theirs;
	return a;
}

static long ag_close(long d) { return close(d); }

/* A target that does not keep the listener itself. */
static struct agent *target(long flags)
{
	struct agent *a = target_in(NULL, flags);
	REQUIRE(call(a, ag_close, a->out[7]) == 0);
	return a;
}

/* ---- installing ---- */

CASE(arguments)
{
	nnp();
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, BADPTR), EINVAL,
		  "[1.46] WAIT_KILLABLE_RECV without NEW_LISTENER: EINVAL, before the filter is read");
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_FILTER, LISTEN | SECCOMP_FILTER_FLAG_TSYNC, BADPTR), EINVAL,
		  "[1.46] NEW_LISTENER with TSYNC: EINVAL");
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_FILTER, LISTEN | SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH, BADPTR), EFAULT,
		  "[1.46] but with TSYNC_ESRCH they go together");
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_FILTER, LISTEN, BADPTR), EFAULT, "[1.46] a bad pointer: EFAULT");
	int before = MUST(dup(0));
	close(before);
	struct sock_filter bad = { 0xffff, 0, 0, 0 };
	struct sock_fprog prog = { 1, &bad };
	CHECK_ERR(seccomp(SECCOMP_SET_MODE_FILTER, LISTEN, &prog), EINVAL, "[1.46] a bad filter: EINVAL");
	int after = MUST(dup(0));
	close(after);
	CHECK_EQ(after, before, "[1.46] no descriptor is left behind");
	struct rlimit old, none = { 0, 0 };
	getrlimit(RLIMIT_NOFILE, &old);
	none.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_NOFILE, &none);
	long r = listen_to(SYS_getppid, LISTEN);
	int error = errno;
	setrlimit(RLIMIT_NOFILE, &old);
	CHECK(r == -1 && error == EMFILE, "[1.46] no room for the descriptor: EMFILE");
	CHECK_EQ(prctl(PR_GET_SECCOMP, 0, 0, 0, 0), 0, "[1.46] none of these turned it on");
	unsigned action = SECCOMP_RET_USER_NOTIF;
	CHECK_OK(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action), "[1.46] the action is available");
	char b[256];
	REQUIRE(read_file("/proc/sys/kernel/seccomp/actions_avail", b, sizeof b) > 0);
	CHECK(!strcmp(b, "kill_process kill_thread trap errno user_notif trace log allow\n"), "[1.46] actions_avail has user_notif");
	struct seccomp_notif_sizes sizes = { 0 };
	CHECK(seccomp(SECCOMP_GET_NOTIF_SIZES, 0, &sizes) == 0 && sizes.seccomp_notif == sizeof(struct seccomp_notif) &&
	      sizes.seccomp_notif_resp == sizeof(struct seccomp_notif_resp), "[1.46] GET_NOTIF_SIZES");
	fd = listen_to(SYS_getppid, LISTEN);
	CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR,
	      "[1.46] NEW_LISTENER: a descriptor, close-on-exec, read-write");
	char path[64], name[64] = "";
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	REQUIRE(readlink(path, name, sizeof name - 1) > 0);
	CHECK(!strcmp(name, "anon_inode:seccomp notify"), "[1.46] its name in /proc");
	CHECK_ERR(read(fd, b, 1), EINVAL, "[1.46] it can't be read");
	CHECK_ERR(lseek(fd, 0, SEEK_SET), ESPIPE, "[1.46] nor moved");
	CHECK_ERR(listen_to(SYS_getpgrp, LISTEN), EBUSY, "[1.46] a second listener: EBUSY");
	CHECK_EQ(listen_to(SYS_getpgrp, 0), 0, "[1.46] a filter that asks but has no listener may be installed");
	CHECK_ERR(syscall(SYS_getpgrp), ENOSYS, "[1.46] its calls are ENOSYS");
	close(fd);
	CHECK_ERR(syscall(SYS_getppid), ENOSYS, "[1.46] as are those of a filter whose listener is closed");
	fd = listen_to(SYS_getpgid, LISTEN);
	CHECK(fd >= 0, "[1.46] then there may be another listener");
}

CASE(ioctls)
{
	nnp();
	fd = MUST(listen_to(SYS_getppid, LISTEN));
	uint64_t id = 1;
	char zero[128] = { 0 };
	CHECK_ERR(ioctl(fd, 0x2150, 0), EINVAL, "[1.46] an unknown ioctl: EINVAL");
	CHECK_ERR(ioctl(fd, TIOCGWINSZ, zero), EINVAL, "[1.46] one of terminals: EINVAL");
	CHECK_ERR(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, BADPTR), EFAULT, "[1.46] RECV with a bad pointer: EFAULT");
	memset(&req, 0, sizeof req);
	req.flags = 1;
	CHECK_ERR(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, &req), EINVAL, "[1.46] RECV into what is not zero: EINVAL");
	CHECK_ERR(ioctl(fd, SECCOMP_IOCTL_NOTIF_SEND, BADPTR), EFAULT, "[1.46] SEND with a bad pointer: EFAULT");
	CHECK_ERR(answer_to(1, 0, 0, 2), EINVAL, "[1.46] SEND with an unknown flag: EINVAL");
	CHECK_ERR(answer_to(1, 1, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE), EINVAL, "[1.46] CONTINUE with a value: EINVAL");
	CHECK_ERR(answer_to(1, 0, -1, SECCOMP_USER_NOTIF_FLAG_CONTINUE), EINVAL, "[1.46] CONTINUE with an error: EINVAL");
	CHECK_ERR(answer_to(1, 0, 0, 0), ENOENT, "[1.46] SEND to an unknown id: ENOENT");
	CHECK_ERR(ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, BADPTR), EFAULT, "[1.46] ID_VALID with a bad pointer: EFAULT");
	CHECK_ERR(id_valid(1), ENOENT, "[1.46] ID_VALID of an unknown id: ENOENT");
	CHECK_ERR(ioctl(fd, WRONG_DIR, &id), ENOENT, "[1.46] its old number works too");
	CHECK_OK(ioctl(fd, SET_FLAGS, 1), "[1.46] SET_FLAGS: SYNC_WAKE_UP");
	CHECK_OK(ioctl(fd, SET_FLAGS, 0), "[1.46] and off");
	CHECK_ERR(ioctl(fd, SET_FLAGS, 2), EINVAL, "[1.46] SET_FLAGS with an unknown flag: EINVAL");
	CHECK_ERR(add_fd(1, 0, 4, 0, 0), EINVAL, "[1.46] ADDFD with an unknown flag: EINVAL");
	CHECK_ERR(add_fd(1, 0, 0, 0, O_NONBLOCK), EINVAL, "[1.46] ADDFD with a flag for the descriptor but O_CLOEXEC: EINVAL");
	CHECK_ERR(add_fd(1, 0, 0, 5, 0), EINVAL, "[1.46] ADDFD with a number but without SETFD: EINVAL");
	CHECK_ERR(add_fd(1, 999, 0, 0, 0), EBADF, "[1.46] ADDFD of what is not open: EBADF, before the id is looked at");
	CHECK_ERR(add_fd(1, 0, 0, 0, 0), ENOENT, "[1.46] ADDFD to an unknown id: ENOENT");
	CHECK_ERR(ioctl(fd, _IOC(_IOC_WRITE, '!', 3, 23), zero), EINVAL, "[1.46] ADDFD with too small a structure: EINVAL");
	CHECK_ERR(ioctl(fd, _IOC(_IOC_WRITE, '!', 3, 32), zero), ENOENT, "[1.46] a larger one, with zeros behind what is known");
	zero[30] = 1;
	CHECK_ERR(ioctl(fd, _IOC(_IOC_WRITE, '!', 3, 32), zero), E2BIG, "[1.46] and with something behind it: E2BIG");
	CHECK_ERR(ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, BADPTR), EFAULT, "[1.46] ADDFD with a bad pointer: EFAULT");
	CHECK_EQ(ready(), 0, "[1.46] nothing was asked");
}

/* ---- questions and answers ---- */

CASE(answers)
{
	struct agent *a = target(LISTEN);
	CHECK_EQ(ready(), 0, "[1.46] poll: nothing yet");
	post(a, ag_ask, 0x123456789abcdef0);
	CHECK(await_blocked_in(a), "[1.46] a call that is asked about waits");
	CHECK_EQ(ready(), POLLIN | POLLRDNORM, "[1.46] poll: a question can be received");
	CHECK_OK(receive(), "[1.46] RECV");
	CHECK_EQ(req.pid, a->pid, "[1.46] it says who asks");
	CHECK(req.flags == 0 && req.data.nr == SYS_getppid && req.data.arch == AUDIT_ARCH_X86_64, "[1.46] and about which call");
	CHECK(req.data.args[0] == 0x123456789abcdef0 && req.data.args[1] == 2 && req.data.args[5] == 6, "[1.46] with its arguments");
	CHECK(req.data.instruction_pointer > 4096, "[1.46] and its place");
	CHECK_EQ(ready(), POLLOUT | POLLWRNORM, "[1.46] poll: an answer can be sent");
	CHECK_OK(id_valid(req.id), "[1.46] ID_VALID");
	uint64_t first = req.id;
	CHECK_OK(ioctl(fd, WRONG_DIR, &first), "[1.46] ID_VALID by its old number");
	CHECK_OK(answer(4711, 0, 0), "[1.46] SEND");
	CHECK_EQ(finish(a), 4711, "[1.46] the call returns the value");
	CHECK_ERR(answer(1, 0, 0), ENOENT, "[1.46] another answer: ENOENT");
	CHECK_ERR(id_valid(req.id), ENOENT, "[1.46] ID_VALID: no more");
	CHECK_EQ(ready(), 0, "[1.46] poll: nothing again");
	post(a, ag_ask, 0);
	CHECK_OK(receive(), "[1.46] RECV waits for a question");
	CHECK_EQ(req.id, first + 1, "[1.46] ids count up");
	CHECK_OK(answer(0, -EXDEV, 0), "[1.46] an error");
	CHECK_EQ(finish(a), -EXDEV, "[1.46] the call fails with it");
	post(a, ag_ask, 0);
	MUST(receive());
	CHECK_OK(answer(7, -EXDEV, 0), "[1.46] an error and a value");
	CHECK_EQ(finish(a), -EXDEV, "[1.46] the error counts");
	post(a, ag_ask_raw, 0);
	MUST(receive());
	MUST(answer(-100000, 0, 0));
	CHECK_EQ(finish(a), -100000, "[1.46] a value may be anything");
	post(a, ag_ask, 0);
	MUST(receive());
	CHECK_OK(answer(0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE), "[1.46] CONTINUE");
	CHECK_EQ(finish(a), getpid(), "[1.46] the call is served");
	retire(a, NULL);
}

CASE(states)
{
	struct agent *a = target(LISTEN);
	post(a, ag_ask, 0);
	REQUIRE(await_blocked_in(a));
	/* Somebody else's listener knows no id of this one; an id that was not received can only be guessed from the last. */
	MUST(receive());
	uint64_t id = req.id;
	MUST(answer(1, 0, 0));
	finish(a);
	post(a, ag_ask, 0);
	REQUIRE(await_blocked_in(a));
	CHECK_ERR(answer_to(id + 1, 0, 0, 0), EINPROGRESS, "[1.46] SEND before RECV: EINPROGRESS");
	CHECK_ERR(id_valid(id + 1), ENOENT, "[1.46] ID_VALID before RECV: ENOENT");
	CHECK_ERR(add_fd(id + 1, 0, 0, 0, 0), EINPROGRESS, "[1.46] ADDFD before RECV: EINPROGRESS");
	CHECK_ERR(ioctl(fd, SECCOMP_IOCTL_NOTIF_RECV, map_readonly()), EFAULT, "[1.46] RECV into what can't be written: EFAULT");
	CHECK_EQ(ready(), POLLIN | POLLRDNORM, "[1.46] the question is still there");
	CHECK_OK(receive(), "[1.46] and can be received");
	CHECK_EQ(req.id, id + 1, "[1.46] with the id that it had");
	MUST(answer(2, 0, 0));
	CHECK_EQ(finish(a), 2, "[1.46] and answered");
	retire(a, NULL);
}

CASE(several)
{
	struct agent *a = target(LISTEN), *b = spawn(a), *t = spawn_thread(a);
	int ep = MUST(epoll_create1(0));
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
	post(a, ag_ask, 1);
	REQUIRE(await_blocked_in(a));
	CHECK_EQ(epoll_wait(ep, &e, 1, 0), 1, "[1.46] epoll hears of a question");
	post(b, ag_ask, 2);
	REQUIRE(await_blocked_in(b));
	CHECK_EQ(epoll_wait(ep, &e, 1, 0), 1, "[1.46] and of the next");
	post(t, ag_ask, 3);
	REQUIRE(await_blocked_in(t));
	struct seccomp_notif q[3];
	for (int i = 0; i < 3; i++) {
		MUST(receive());
		q[i] = req;
		if (i == 0)
			CHECK_EQ(ready(), POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM, "[1.46] poll: questions, and one to be answered");
	}
	CHECK(q[0].data.args[0] == 1 && q[1].data.args[0] == 2 && q[2].data.args[0] == 3, "[1.46] the oldest question comes first");
	CHECK_EQ(q[1].pid, b->pid, "[1.46] a child asks the same listener");
	CHECK_EQ(q[2].pid, t->tid, "[1.46] a thread asks by its own number");
	MUST(answer_to(q[2].id, 33, 0, 0));
	CHECK_EQ(finish(t), 33, "[1.46] answers come in any order");
	MUST(answer_to(q[0].id, 11, 0, 0));
	MUST(answer_to(q[1].id, 22, 0, 0));
	CHECK_EQ(finish(a), 11, "[1.46] each");
	CHECK_EQ(finish(b), 22, "[1.46] to whom it is for");
	retire(b, a);
	retire(a, NULL);
}

static long ag_deny(long what) { return filter(SYS_getppid, what, 0); }

CASE(order)
{
	struct agent *a = target(LISTEN);
	CHECK_EQ(call(a, ag_deny, SECCOMP_RET_LOG), 0, "[1.46] a newer filter that would allow");
	post(a, ag_ask, 0);
	MUST(receive());
	MUST(answer(5, 0, 0));
	CHECK_EQ(finish(a), 5, "[1.46] asking comes before LOG");
	REQUIRE(call(a, ag_deny, SECCOMP_RET_TRACE) == 0);
	post(a, ag_ask, 0);
	MUST(receive());
	MUST(answer(0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE));
	CHECK_EQ(finish(a), getpid(), "[1.46] and before TRACE; CONTINUE asks no other filter");
	REQUIRE(call(a, ag_deny, SECCOMP_RET_ERRNO | 77) == 0);
	CHECK_EQ(call(a, ag_ask, 0), -77, "[1.46] ERRNO comes before it");
	CHECK_EQ(ready(), 0, "[1.46] nobody is asked then");
	retire(a, NULL);
}

/* ---- files for the caller ---- */

static long ag_identity(long d)
{
	struct stat st;
	return fstat(d, &st) < 0 ? -errno : (long)(st.st_ino ^ st.st_dev);
}

static long identity(int d) { return ag_identity(d); }
static long ag_cloexec(long d) { return fcntl(d, F_GETFD); }
static long ag_limit(long n)
{
	struct rlimit r = { n, n };
	return setrlimit(RLIMIT_NOFILE, &r);
}

CASE(files)
{
	struct agent *a = target(LISTEN);
	int pfd[2];
	MUST(pipe(pfd));
	post(a, ag_ask, 0);
	MUST(receive());
	int first = add_fd(req.id, pfd[0], 0, 0, 0);
	CHECK(first > 0, "[1.46] ADDFD: the caller gets a file, its number comes back");
	int second = add_fd(req.id, pfd[1], 0, 0, O_CLOEXEC);
	CHECK(second > first, "[1.46] and another");
	CHECK_EQ(add_fd(req.id, pfd[1], SECCOMP_ADDFD_FLAG_SETFD, 77, 0), 77, "[1.46] SETFD: at a number");
	CHECK_EQ(add_fd(req.id, pfd[0], SECCOMP_ADDFD_FLAG_SETFD, 77, O_CLOEXEC), 77, "[1.46] even if it is in use");
	CHECK_ERR(add_fd(req.id, pfd[0], SECCOMP_ADDFD_FLAG_SETFD, -1, 0), EBADF, "[1.46] SETFD beyond the limit: EBADF");
	CHECK_OK(id_valid(req.id), "[1.46] the question is not answered by that");
	MUST(answer(9, 0, 0));
	CHECK_EQ(finish(a), 9, "[1.46] but by an answer");
	CHECK_EQ(call(a, ag_identity, first), identity(pfd[0]), "[1.46] the file is the one");
	CHECK_EQ(call(a, ag_cloexec, first), 0, "[1.46] without close-on-exec");
	CHECK_EQ(call(a, ag_identity, second), identity(pfd[1]), "[1.46] the other is the other");
	CHECK_EQ(call(a, ag_cloexec, second), FD_CLOEXEC, "[1.46] with close-on-exec");
	CHECK_EQ(call(a, ag_identity, 77), identity(pfd[0]), "[1.46] the number was given anew");
	CHECK_EQ(call(a, ag_cloexec, 77), FD_CLOEXEC, "[1.46] with its flag");
	post(a, ag_ask, 0);
	MUST(receive());
	int sent = add_fd(req.id, pfd[0], SECCOMP_ADDFD_FLAG_SEND, 0, 0);
	CHECK(sent > 0, "[1.46] SEND: the file, and the answer with it");
	CHECK_EQ(finish(a), sent, "[1.46] the call returns its number");
	CHECK_EQ(call(a, ag_identity, sent), identity(pfd[0]), "[1.46] which is the file's");
	CHECK_ERR(add_fd(req.id, pfd[0], SECCOMP_ADDFD_FLAG_SEND, 0, 0), ENOENT, "[1.46] after the answer: ENOENT");
	post(a, ag_ask, 0);
	MUST(receive());
	CHECK_EQ(add_fd(req.id, pfd[1], SECCOMP_ADDFD_FLAG_SEND | SECCOMP_ADDFD_FLAG_SETFD, 55, 0), 55, "[1.46] SEND with SETFD");
	CHECK_EQ(finish(a), 55, "[1.46] the call returns that");
	REQUIRE(call(a, ag_limit, 3) == 0);
	post(a, ag_ask, 0);
	MUST(receive());
	CHECK_ERR(add_fd(req.id, pfd[0], 0, 0, 0), EMFILE, "[1.46] the caller's limit counts: EMFILE");
	CHECK_ERR(add_fd(req.id, pfd[0], SECCOMP_ADDFD_FLAG_SEND, 0, 0), EMFILE, "[1.46] with SEND too");
	CHECK_OK(id_valid(req.id), "[1.46] then the question is still open");
	MUST(answer(1, 0, 0));
	CHECK_EQ(finish(a), 1, "[1.46] and can be answered");
	retire(a, NULL);
}

/* ---- signals ---- */

static void on_signal(int sig)
{
	(void)sig;
	sh->v[1]++;
}

static long ag_handle(long flags)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = flags };
	return sigaction(SIGUSR1, &act, NULL);
}

CASE(signals)
{
	struct agent *a = target(LISTEN);
	call(a, ag_handle, 0);
	post(a, ag_ask, 0);
	REQUIRE(await_blocked_in(a));
	MUST(receive());
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[1.46] a signal interrupts the wait");
	CHECK_ERR(answer(1, 0, 0), ENOENT, "[1.46] the listener learns that the question is gone");
	CHECK_ERR(id_valid(req.id), ENOENT, "[1.46] ID_VALID says so too");
	post(a, ag_ask, 0);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[1.46] before it is received as well");
	CHECK_EQ(ready(), 0, "[1.46] poll: nothing is there any more");
	CHECK_ERR(receive(), ENOENT, "[1.46] RECV: a question was there, ENOENT");
	call(a, ag_handle, SA_RESTART);
	sh->v[1] = 0;
	post(a, ag_ask, 0);
	MUST(receive());
	uint64_t id = req.id;
	kill(a->pid, SIGUSR1);
	CHECK(AWAIT(sh->v[1] == 1), "[1.46] a handler with SA_RESTART runs");
	CHECK_OK(receive(), "[1.46] the call is made again, and asks again");
	CHECK(req.id == id + 1, "[1.46] as another question");
	kill(a->pid, SIGSTOP);
	REQUIRE(await_state(a->pid, 'T'));
	CHECK_ERR(id_valid(req.id), ENOENT, "[1.46] a stop ends the question too");
	kill(a->pid, SIGCONT);
	CHECK_OK(receive(), "[1.46] and after it the call asks again");
	MUST(answer(3, 0, 0));
	CHECK_EQ(finish(a), 3, "[1.46] and gets its answer");
	retire(a, NULL);
}

CASE(killable)
{
	IF_SINCE(6, 0, "[1.46] WAIT_KILLABLE_RECV") {
		struct agent *a = target(KILLABLE);
		call(a, ag_handle, 0);
		post(a, ag_ask, 0);
		REQUIRE(await_blocked_in(a));
		kill(a->pid, SIGUSR1);
		CHECK_EQ(finish(a), -EINTR, "[1.46] WAIT_KILLABLE_RECV: before RECV a signal interrupts");
		CHECK_ERR(receive(), ENOENT, "[1.46] the question is gone");
		sh->v[1] = 0;
		post(a, ag_ask, 0);
		MUST(receive());
		kill(a->pid, SIGUSR1);
		CHECK_OK(id_valid(req.id), "[1.46] after RECV it does not");
		CHECK(AWAIT(proc_state(a->pid) == 'D' || proc_state(a->pid) == 'S') && sh->v[1] == 0, "[1.46] the handler waits");
		int copied = add_fd(req.id, 0, 0, 0, 0);
		CHECK(copied > 0, "[1.46] files can be installed meanwhile");
		CHECK_OK(answer(8, 0, 0), "[1.46] the answer arrives");
		CHECK_EQ(finish(a), 8, "[1.46] and counts");
		CHECK_EQ(sh->v[1], 1, "[1.46] then the handler runs");
		post(a, ag_ask, 0);
		MUST(receive());
		kill(a->pid, SIGKILL);
		CHECK_EQ(reap(a->pid), SIGKILL, "[1.46] SIGKILL ends the wait");
		CHECK_ERR(answer(1, 0, 0), ENOENT, "[1.46] the question is gone with it");
	}
}

static long receive_once(long x)
{
	(void)x;
	return receive() == 0 ? 0 : -errno;
}

static long catch_plain(long x)
{
	(void)x;
	return ag_handle(0);
}

CASE(receivers)
{
	struct agent *a = target(LISTEN), *s = spawn(NULL);
	call(s, catch_plain, 0);
	post(s, receive_once, 0);
	CHECK(await_blocked_in(s), "[1.46] RECV waits");
	kill(s->pid, SIGUSR1);
	CHECK_EQ(finish(s), -EINTR, "[1.46] a signal interrupts it");
	post(s, receive_once, 0);
	REQUIRE(await_blocked_in(s));
	post(a, ag_ask, 0);
	CHECK_EQ(finish(s), 0, "[1.46] a question ends it");
	MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
	CHECK_EQ(ready(), POLLOUT | POLLWRNORM, "[1.46] it is received for all who share the listener");
	fcntl(fd, F_SETFL, 0);
	post(s, receive_once, 0);
	REQUIRE(await_blocked_in(s));
	kill(a->pid, SIGKILL);
	REQUIRE(reap(a->pid) == SIGKILL);
	CHECK_EQ(finish(s), -ENOENT, "[1.46] RECV ends with ENOENT when nobody is left to ask");
	retire(s, NULL);
}

/* ---- ends ---- */

CASE(listener_closes)
{
	struct agent *a = target(LISTEN), *b = spawn(a), *c = spawn(a);
	post(a, ag_ask, 0);
	MUST(receive());
	post(b, ag_ask, 0);
	REQUIRE(await_blocked_in(b));
	close(fd);
	CHECK_EQ(finish(a), -ENOSYS, "[1.46] the listener is closed: a call that waits for its answer is ENOSYS");
	CHECK_EQ(finish(b), -ENOSYS, "[1.46] one that was not received as well");
	CHECK_EQ(call(c, ag_ask, 0), -ENOSYS, "[1.46] and every later one");
	fd = call(a, ag_listen, LISTEN);
	CHECK(fd >= 0, "[1.46] a new filter with a new listener can be installed");
	retire(b, a);
	retire(c, a);
	retire(a, NULL);
}

CASE(callers_end)
{
	struct agent *a = target(LISTEN), *b = spawn(a);
	post(a, ag_ask, 0);
	MUST(receive());
	kill(a->pid, SIGKILL);
	CHECK(await_zombie(a->pid), "[1.46] a caller is killed");
	CHECK_ERR(id_valid(req.id), ENOENT, "[1.46] its question is gone");
	CHECK_ERR(answer(0, 0, 0), ENOENT, "[1.46] and can't be answered");
	CHECK_ERR(add_fd(req.id, 0, 0, 0, 0), ENOENT, "[1.46] nor given files");
	CHECK_EQ(ready(), 0, "[1.46] others still have the filter");
	quit(b, 0);
	REQUIRE(AWAIT(proc_state(b->pid) == 'Z' || proc_state(b->pid) == 0));
	IF_SINCE(6, 11, "[1.46] zombies have no filters")
		CHECK_EQ(ready(), POLLHUP, "[1.46] the last is dead: HUP, though zombies are not reaped");
	reap(a->pid);
	reap(b->pid);
	CHECK_EQ(ready(), POLLHUP, "[1.46] poll: HUP when nobody has the filter");
	CHECK_ERR(receive(), ENOENT, "[1.46] RECV: ENOENT");
}

HELPER(asks)
{
	/* The filter stays across execve: this asks the same listener. */
	return syscall(SYS_getppid) == 42 ? 0 : 1;
}

static long ag_exec(long x)
{
	(void)x;
	exec_self("asks", NULL, NULL, NULL);
	return -1;
}

CASE(exec)
{
	struct agent *a = target(LISTEN);
	struct agent *t = spawn_thread(a);
	post(t, ag_ask, 0);
	MUST(receive());
	uint64_t id = req.id;
	post(a, ag_exec, 0);
	REQUIRE(AWAIT(ready() & POLLIN));
	CHECK_ERR(id_valid(id), ENOENT, "[1.46] execve by another thread ends a question");
	bool asked = false;
	for (int i = 0; i < 20 && !asked; i++) {
		REQUIRE(receive() == 0 || errno == ENOENT);
		asked = req.pid == (unsigned)a->pid;
		if (asked)
			MUST(answer(42, 0, 0));
	}
	CHECK(asked, "[1.46] the new program asks the same listener");
	CHECK_EQ(reap(a->pid), 0, "[1.46] and has its answer");
}

CASE(namespaces)
{
	NEED_ROOT("[1.46] a caller in another namespace");
	struct agent *p = spawn(NULL), *a = target_in(p, LISTEN);
	post(a, ag_ask, 0);
	MUST(receive());
	CHECK_EQ(req.pid, a->pid, "[1.46] the number is that of the listener's namespace");
	MUST(answer(6, 0, 0));
	CHECK_EQ(finish(a), 6, "[1.46] the answer gets there");
	retire(a, p);
	retire(p, NULL);
}

static long receive_pid(long x)
{
	(void)x;
	return receive() == 0 ? (long)req.pid : -errno;
}

CASE(unknown_number)
{
	NEED_ROOT("[1.46] a caller without a number");
	/* A supervisor in a namespace of its own. */
	struct agent *a = target(LISTEN), *other = new_ns(NULL);
	post(a, ag_ask, 0);
	CHECK_EQ(call(other, receive_pid, 0), 0, "[1.46] who is not in the listener's namespace has number 0");
	retire(other, NULL);
	kill(a->pid, SIGKILL);
	reap(a->pid);
}

/* ---- threads ---- */

static long ag_listen_all(long x)
{
	(void)x;
	nnp();
	return listen_to(SYS_getppid, LISTEN | SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH);
}

static long ag_own_filter(long x)
{
	(void)x;
	nnp();
	return filter(SYS_getpgrp, SECCOMP_RET_ERRNO | 5, 0);
}

CASE(tsync)
{
	struct agent *a = spawn(NULL), *t = spawn_thread(a);
	int theirs = call(a, ag_listen_all, 0);
	CHECK(theirs >= 0, "[1.46] NEW_LISTENER with TSYNC and TSYNC_ESRCH: a descriptor");
	int pidfd = MUST(syscall(SYS_pidfd_open, a->pid, 0));
	fd = MUST(syscall(SYS_pidfd_getfd, pidfd, theirs, 0));
	post(t, ag_ask, 0);
	MUST(receive());
	CHECK_EQ(req.pid, t->tid, "[1.46] the other thread asks");
	MUST(answer(12, 0, 0));
	CHECK_EQ(finish(t), 12, "[1.46] and has its answer");
	retire(a, NULL);
	a = spawn(NULL);
	t = spawn_thread(a);
	REQUIRE(call(t, ag_own_filter, 0) == 0);
	CHECK(call(a, ag_listen_all, 0) == -1 && errno == ESRCH, "[1.46] a thread with a filter of its own: ESRCH");
	CHECK_EQ(call(a, ag_ask, 0), getpid(), "[1.46] then nothing is asked about");
	CHECK(call(a, ag_listen, LISTEN) >= 0, "[1.46] and a listener of the thread alone may come");
	retire(a, NULL);
}

/* ---- races ---- */

/* The caller is killed while it is answered: the answer is taken or refused, and nobody hangs. */
CASE_T(killed_while_answered, 120)
{
	int n = iterations(300), taken = 0, refused = 0, strange = 0;
	for (int i = 0; i < n; i++) {
		int pfd[2];
		MUST(pipe(pfd));
		pid_t pid = MUST(fork());
		if (pid == 0) {
			nnp();
			int d = listen_to(SYS_getppid, i & 1 ? KILLABLE : LISTEN);
			sh->w[0] = d;
			set_word(&sh->w[1], i + 1);
			_exit(syscall(SYS_getppid) == 5 ? 0 : 1);
		}
		wait_word(&sh->w[1], i + 1);
		int pidfd = MUST(syscall(SYS_pidfd_open, pid, 0));
		fd = MUST(syscall(SYS_pidfd_getfd, pidfd, sh->w[0], 0));
		MUST(receive());
		pid_t killer = MUST(fork());
		if (killer == 0) {
			for (int spin = i % 50 * 20; spin > 0; spin--)
				__asm__ volatile("pause");
			kill(pid, SIGKILL);
			_exit(0);
		}
		if (i % 3 == 0)
			add_fd(req.id, pfd[0], 0, 0, 0);
		long r = i % 5 == 0 ? add_fd(req.id, pfd[0], SECCOMP_ADDFD_FLAG_SEND | SECCOMP_ADDFD_FLAG_SETFD, 5, 0) >= 0 ? 0 : -1 : answer(5, 0, 0);
		taken += r == 0;
		refused += r == -1 && (errno == ENOENT || errno == ESRCH || errno == EINPROGRESS);
		int status = reap(pid);
		strange += status != SIGKILL && status != 0;
		strange += r == -1 && status == 0;
		reap(killer);
		strange += ready() != (POLLHUP);
		close(fd);
		close(pidfd);
		close(pfd[0]);
		close(pfd[1]);
	}
	CHECK_EQ(taken + refused, n, "[1.46] an answer to who is being killed is taken or refused");
	CHECK_EQ(strange, 0, "[1.46] the caller dies or ends with its answer, and the listener is hung up");
	tap_note("%d taken, %d refused", taken, refused);
}

static long ask_on(long n)
{
	long wrong = 0;
	for (long i = 0; i < n; i++) {
		long r = ag_ask(i);
		wrong += r != 1000 + i && r != -EINTR && r != -ENOSYS;
	}
	return wrong;
}

static long answer_on(long x)
{
	(void)x;
	while (!sh->v[0])
		if (receive() == 0)
			answer(1000 + req.data.args[0], 0, 0);
	return 0;
}

/* Several ask, several answer, signals come: each gets its own answer. */
CASE_T(crowd, 120)
{
	struct agent *a = target(LISTEN), *b = spawn(a), *t = spawn_thread(a), *s[2] = { spawn(NULL), spawn(NULL) };
	long n = iterations(300);
	REQUIRE(call(a, ag_handle, 0) == 0 && call(b, ag_handle, 0) == 0);
	post(s[0], answer_on, 0);
	post(s[1], answer_on, 0);
	post(a, ask_on, n);
	post(b, ask_on, n);
	post(t, ask_on, n);
	for (int i = 1; !(answered(a) && answered(b) && answered(t)); i++) {
		if (i % 64 == 0)
			kill(i % 128 ? a->pid : b->pid, SIGUSR1);
		sched_yield();
	}
	CHECK_EQ(finish(a), 0, "[1.46] each call gets the answer that was for it, or EINTR");
	CHECK_EQ(finish(b), 0, "[1.46] in a child");
	CHECK_EQ(finish(t), 0, "[1.46] in a thread");
	sh->v[0] = 1;
	retire(b, a);
	retire(a, NULL);
	CHECK(finish(s[0]) == 0 && finish(s[1]) == 0, "[1.46] who waits for questions ends when nobody is left");
	retire(s[0], NULL);
	retire(s[1], NULL);
}

/* The listener is closed while calls are made. */
CASE_T(closed_while_asked, 120)
{
	int n = iterations(300), strange = 0;
	for (int i = 0; i < n; i++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			nnp();
			int d = MUST(listen_to(SYS_getppid, LISTEN));
			pid_t child = MUST(fork());
			if (child == 0) {
				close(d);
				for (int k = 0; k < 4; k++)
					if (syscall(SYS_getppid) != -1 || errno != ENOSYS)
						_exit(1);
				_exit(0);
			}
			for (int spin = i % 60 * 40; spin > 0; spin--)
				__asm__ volatile("pause");
			close(d);
			int status = 0;
			waitpid(child, &status, 0);
			_exit(status != 0);
		}
		strange += reap(pid) != 0;
	}
	CHECK_EQ(strange, 0, "[1.46] a listener that goes answers with ENOSYS, whenever the call comes");
}
