/* mqueue.c - POSIX message queues: mq_overview(7), mq_notify(2), the file system mqueue. */
#include "lib/hold.h"

#include <mqueue.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/vfs.h>

/* The name of the case's queue, with its slash, and the queue, which agents inherit. */
static char name[64];
static mqd_t q = -1;

static const char *new_name(void)
{
	static int n;
	snprintf(name, sizeof name, "/foster-%d-%d", getpid(), n++);
	return name;
}

static mqd_t new_queue(long messages, long size, int flags)
{
	struct mq_attr attr = { .mq_maxmsg = messages, .mq_msgsize = size };
	new_name();
	return q = MUST(mq_open(name, O_CREAT | O_EXCL | O_RDWR | flags, 0600, &attr));
}

static void remove_queue(void)
{
	mq_unlink(name);
	mq_close(q);
}

static long raw_open(const char *path, int flags, int mode, void *attr)
{
	return syscall(SYS_mq_open, path, flags, mode, attr);
}

static struct mq_attr attr_of(mqd_t queue)
{
	struct mq_attr attr;
	memset(&attr, 0xff, sizeof attr);
	mq_getattr(queue, &attr);
	return attr;
}

/* A message that is a number: 0 or -errno. */
static long put(long number, unsigned priority)
{
	return mq_send(q, (char *)&number, sizeof number, priority) ? -errno : 0;
}

static unsigned last_priority;

/* The number, or -errno. */
static long take(void)
{
	char buf[16384];
	long number;
	ssize_t n = mq_receive(q, buf, sizeof buf, &last_priority);
	if (n < 0)
		return -errno;
	memcpy(&number, buf, sizeof number);
	return n == sizeof number ? number : -EPROTO;
}

/* Agents' work. */
static long do_put(long number)
{
	return put(number, 0);
}

static long do_take(long x)
{
	(void)x;
	return take();
}

static long do_close(long x)
{
	(void)x;
	return mq_close(q) ? -errno : 0;
}

CASE(open)
{
	char deep[400];
	struct mq_attr attr = { .mq_maxmsg = 3, .mq_msgsize = 100 }, wrong;
	new_name();
	CHECK_ERR(mq_open(name, O_RDWR), ENOENT, "[mq] mq_open: no such queue: ENOENT");
	CHECK_ERR(raw_open("", O_CREAT | O_RDWR, 0600, NULL), ENOENT, "[mq] mq_open: no name: ENOENT");
	CHECK_ERR(raw_open("a/b", O_CREAT | O_RDWR, 0600, NULL), EACCES, "[mq] mq_open: a slash inside: EACCES");
	CHECK_ERR(raw_open("/ab", O_CREAT | O_RDWR, 0600, NULL), EACCES, "[mq] mq_open: the system call takes no slash before: EACCES");
	CHECK_ERR(raw_open(".", O_RDONLY, 0, NULL), EACCES, "[mq] mq_open: a dot: EACCES");
	CHECK_ERR(raw_open("..", O_RDONLY, 0, NULL), EACCES, "[mq] mq_open: two: EACCES");
	CHECK_ERR(raw_open(BADPTR, O_RDWR, 0, NULL), EFAULT, "[mq] mq_open: a name from nowhere: EFAULT");
	CHECK_ERR(raw_open(name + 1, O_CREAT | O_RDWR, 0600, BADPTR), EFAULT, "[mq] mq_open: attributes from nowhere: EFAULT");
	memset(deep, 'n', sizeof deep);
	deep[256] = 0;
	CHECK_ERR(raw_open(deep, O_CREAT | O_RDWR, 0600, NULL), ENAMETOOLONG, "[mq] mq_open: a name of 256 bytes: ENAMETOOLONG");
	deep[255] = 0;
	int fd = raw_open(deep, O_CREAT | O_RDWR, 0600, NULL);
	CHECK(fd >= 0 && syscall(SYS_mq_unlink, deep) == 0, "[mq] mq_open: a name of 255 bytes");
	close(fd);
	wrong = attr;
	wrong.mq_maxmsg = 0;
	CHECK_ERR(mq_open(name, O_CREAT | O_RDWR, 0600, &wrong), EINVAL, "[mq] mq_open: for no messages: EINVAL");
	wrong.mq_maxmsg = 65537;
	CHECK_ERR(mq_open(name, O_CREAT | O_RDWR, 0600, &wrong), EINVAL, "[mq] mq_open: for more than anybody may have: EINVAL");
	wrong.mq_maxmsg = 1;
	wrong.mq_msgsize = (16 << 20) + 1;
	CHECK_ERR(mq_open(name, O_CREAT | O_RDWR, 0600, &wrong), EINVAL, "[mq] mq_open: for longer messages than anybody may have: EINVAL");
	wrong.mq_msgsize = -1;
	CHECK_ERR(mq_open(name, O_CREAT | O_RDWR, 0600, &wrong), EINVAL, "[mq] mq_open: for messages of less than nothing: EINVAL");
	CHECK_ERR(mq_open(name, O_RDWR), ENOENT, "[mq] mq_open: what failed has made nothing");

	mode_t mask = umask(022);
	q = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0662, &attr);
	umask(mask);
	CHECK(q >= 0, "[mq] mq_open: a new one");
	if (q < 0)
		return;
	struct stat st;
	MUST(fstat(q, &st));
	CHECK(S_ISREG(st.st_mode) && (st.st_mode & 07777) == 0640 && st.st_uid == geteuid() && st.st_nlink == 1, "[mq] mq_open: mode and umask, owner");
	CHECK_EQ(fcntl(q, F_GETFD), FD_CLOEXEC, "[mq] mq_open: closed on exec");
	CHECK_EQ(fcntl(q, F_GETFL), O_RDWR, "[mq] mq_open: flags");
	struct mq_attr got = attr_of(q);
	CHECK(got.mq_maxmsg == 3 && got.mq_msgsize == 100 && got.mq_curmsgs == 0 && got.mq_flags == 0, "[mq] mq_getattr");
	CHECK_ERR(mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr), EEXIST, "[mq] mq_open: O_EXCL: EEXIST");
	CHECK_ERR(raw_open(name + 1, O_ACCMODE, 0, NULL), EINVAL, "[mq] mq_open: neither to read nor to write: EINVAL");
	wrong.mq_msgsize = -1;
	fd = mq_open(name, O_CREAT | O_RDONLY | O_NONBLOCK, 0600, &wrong);
	CHECK(fd >= 0, "[mq] mq_open: attributes mean nothing for one that exists");
	CHECK(attr_of(fd).mq_flags == O_NONBLOCK && attr_of(fd).mq_msgsize == 100, "[mq] mq_getattr: flags are the descriptor's");
	CHECK_ERR(mq_send(fd, "x", 1, 0), EBADF, "[mq] mq_send: opened for reading only: EBADF");
	close(fd);
	fd = mq_open(name, O_WRONLY);
	char buf[100];
	CHECK_ERR(mq_receive(fd, buf, 100, NULL), EBADF, "[mq] mq_receive: opened for writing only: EBADF");
	close(fd);
	put(42, 1);
	CHECK_OK(mq_unlink(name), "[mq] mq_unlink");
	CHECK_ERR(mq_unlink(name), ENOENT, "[mq] mq_unlink: not twice: ENOENT");
	CHECK_ERR(mq_open(name, O_RDWR), ENOENT, "[mq] mq_unlink: its name is gone");
	fd = mq_open(name, O_CREAT | O_RDWR, 0600, NULL);
	CHECK(fd >= 0 && attr_of(fd).mq_curmsgs == 0 && attr_of(fd).mq_maxmsg == 10 && attr_of(fd).mq_msgsize == 8192,
	      "[mq] mq_open: another one of the name, of the default size");
	CHECK_EQ(take(), 42, "[mq] mq_unlink: who has it open keeps it");
	mq_unlink(name);
	close(fd);
	close(q);
	CHECK_ERR(syscall(SYS_mq_unlink, "a/b"), EACCES, "[mq] mq_unlink: a slash inside: EACCES");
	CHECK_ERR(syscall(SYS_mq_unlink, ""), ENOENT, "[mq] mq_unlink: no name: ENOENT");
	CHECK_ERR(syscall(SYS_mq_unlink, BADPTR), EFAULT, "[mq] mq_unlink: from nowhere: EFAULT");
}

CASE(messages)
{
	char buf[100];
	unsigned priority = 0;
	new_queue(5, 20, O_NONBLOCK);
	CHECK_EQ(put(1, 5), 0, "[mq] mq_send");
	put(2, 9);
	put(3, 5);
	put(4, 0);
	CHECK_EQ(put(5, 32767), 0, "[mq] mq_send: of the highest priority");
	CHECK_EQ(put(6, 0), -EAGAIN, "[mq] mq_send: full: EAGAIN");
	CHECK_EQ(attr_of(q).mq_curmsgs, 5, "[mq] mq_getattr: messages");
	CHECK(take() == 5 && last_priority == 32767, "[mq] mq_receive: by priority");
	CHECK(take() == 2 && take() == 1 && take() == 3 && take() == 4, "[mq] mq_receive: those of one priority in their order");
	CHECK_EQ(take(), -EAGAIN, "[mq] mq_receive: empty: EAGAIN");
	CHECK_EQ(put(7, 32768), -EINVAL, "[mq] mq_send: beyond the highest priority: EINVAL");
	CHECK_ERR(mq_send(q, buf, 21, 0), EMSGSIZE, "[mq] mq_send: too long: EMSGSIZE");
	CHECK_ERR(mq_send(q, BADPTR, 5, 0), EFAULT, "[mq] mq_send: from nowhere: EFAULT");
	CHECK_OK(mq_send(q, NULL, 0, 3), "[mq] mq_send: nothing at all");
	CHECK_ERR(mq_receive(q, buf, 19, &priority), EMSGSIZE, "[mq] mq_receive: less room than the longest needs: EMSGSIZE");
	CHECK(mq_receive(q, buf, 20, &priority) == 0 && priority == 3, "[mq] mq_receive: nothing at all");
	put(8, 0);
	CHECK_ERR(mq_receive(q, (char *)BADPTR, 20, NULL), EFAULT, "[mq] mq_receive: to nowhere: EFAULT");
	CHECK_EQ(attr_of(q).mq_curmsgs, 0, "[mq] mq_receive: the message is lost");
	int fd = open("/dev/null", O_RDWR);
	CHECK_ERR(mq_send(fd, buf, 1, 0), EBADF, "[mq] mq_send: to another file: EBADF");
	CHECK_ERR(mq_receive(fd, buf, 100, NULL), EBADF, "[mq] mq_receive: from another file: EBADF");
	CHECK_ERR(mq_send(-1, buf, 1, 0), EBADF, "[mq] mq_send: no descriptor: EBADF");
	struct mq_attr attr;
	CHECK_ERR(syscall(SYS_mq_getsetattr, fd, NULL, &attr), EBADF, "[mq] mq_getattr: of another file: EBADF");
	close(fd);
	CHECK_ERR(write(q, "x", 1), EINVAL, "[mq] write to a queue: EINVAL");
	CHECK_ERR(syscall(SYS_mq_getsetattr, q, NULL, BADPTR), EFAULT, "[mq] mq_getattr: to nowhere: EFAULT");
	CHECK_ERR(syscall(SYS_mq_getsetattr, q, BADPTR, NULL), EFAULT, "[mq] mq_setattr: from nowhere: EFAULT");
	attr = attr_of(q);
	CHECK_ERR(mq_setattr(q, &(struct mq_attr){ .mq_flags = O_APPEND }, NULL), EINVAL, "[mq] mq_setattr: another flag: EINVAL");
	memset(&attr, 0, sizeof attr);
	struct mq_attr old = { 0 };
	CHECK(mq_setattr(q, &attr, &old) == 0 && old.mq_flags == O_NONBLOCK && old.mq_maxmsg == 5 && old.mq_msgsize == 20,
	      "[mq] mq_setattr: the flags before");
	CHECK(!(fcntl(q, F_GETFL) & O_NONBLOCK) && attr_of(q).mq_maxmsg == 5, "[mq] mq_setattr: changes the flags only");
	remove_queue();
}

CASE(timeouts)
{
	char buf[20];
	struct timespec at;
	new_queue(1, 20, 0);
	CHECK_ERR(mq_timedreceive(q, buf, 20, NULL, &(struct timespec){ 1, 0 }), ETIMEDOUT, "[mq] mq_timedreceive: a time that is over: ETIMEDOUT");
	CHECK_ERR(mq_timedreceive(q, buf, 20, NULL, &(struct timespec){ 1, 1000000000 }), EINVAL, "[mq] mq_timedreceive: a wrong time: EINVAL");
	CHECK_ERR(mq_timedreceive(q, buf, 20, NULL, &(struct timespec){ -1, 0 }), EINVAL, "[mq] mq_timedreceive: a negative time: EINVAL");
	CHECK_ERR(syscall(SYS_mq_timedreceive, q, buf, 20, NULL, BADPTR), EFAULT, "[mq] mq_timedreceive: a time from nowhere: EFAULT");
	CHECK_ERR(mq_timedsend(q, "x", 1, 0, &(struct timespec){ 1, -1 }), EINVAL, "[mq] mq_timedsend: a wrong time, even with room: EINVAL");
	CHECK_OK(mq_timedsend(q, "x", 1, 0, &(struct timespec){ 1, 0 }), "[mq] mq_timedsend: with room the time does not matter");
	CHECK_ERR(mq_timedsend(q, "x", 1, 0, &(struct timespec){ 1, 0 }), ETIMEDOUT, "[mq] mq_timedsend: a time that is over: ETIMEDOUT");
	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_nsec += 30000000;
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	long long start = now_ms();
	CHECK_ERR(mq_timedsend(q, "y", 1, 0, &at), ETIMEDOUT, "[mq] mq_timedsend: the time comes: ETIMEDOUT");
	CHECK(now_ms() - start >= 25, "[mq] mq_timedsend: and not before");
	CHECK_EQ(attr_of(q).mq_curmsgs, 1, "[mq] mq_timedsend: nothing was sent");
	CHECK(mq_receive(q, buf, 20, NULL) == 1 && attr_of(q).mq_curmsgs == 0, "[mq] mq_timedsend: nor is any more");
	remove_queue();
}

static long do_nice(long value)
{
	return setpriority(PRIO_PROCESS, 0, value) ? -errno : 0;
}

CASE(waiting)
{
	new_queue(2, 20, 0);
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(NULL);
	post(a, do_take, 0);
	REQUIRE(await_blocked_in(a));
	post(b, do_take, 0);
	REQUIRE(await_blocked_in(b));
	put(1, 0);
	CHECK(finish(a) == 1 && !answered(b), "[mq] mq_receive: a message goes to who has waited longest");
	put(2, 7);
	CHECK_EQ(finish(b), 2, "[mq] mq_receive: the next to the next");
	put(3, 0);
	put(4, 0);
	post(a, do_put, 5);
	REQUIRE(await_blocked_in(a));
	post(b, do_put, 6);
	REQUIRE(await_blocked_in(b));
	CHECK_EQ(take(), 3, "[mq] mq_receive: makes room");
	CHECK(finish(a) == 0 && !answered(b), "[mq] mq_send: for who has waited longest");
	CHECK(take() == 4 && take() == 5 && take() == 6 && finish(b) == 0, "[mq] mq_receive: in the order in which they came");
	call(a, do_nice, 10);
	post(a, do_take, 0);
	REQUIRE(await_blocked_in(a));
	post(b, do_take, 0);
	REQUIRE(await_blocked_in(b));
	put(7, 0);
	CHECK(finish(b) == 7 && !answered(a), "[mq] mq_receive: who is nice lets others go first");
	put(8, 0);
	CHECK_EQ(finish(a), 8, "[mq] mq_receive: and comes after them");
	post(c, do_take, 0);
	REQUIRE(await_blocked_in(c));
	mq_unlink(name);
	CHECK(!answered(c), "[mq] mq_unlink: who waits waits on");
	put(7, 0);
	CHECK_EQ(finish(c), 7, "[mq] mq_unlink: and gets its message");
	retire(a, NULL);
	retire(b, NULL);
	retire(c, NULL);
	mq_close(q);
}

CASE(signals)
{
	new_queue(1, 20, 0);
	struct agent *a = spawn(NULL);
	call(a, ag_catch_plain, SIGUSR1);
	call(a, ag_catch, SIGUSR2);
	struct {
		long (*fn)(long);
		const char *stop, *plain, *restart, *then;
	} t[] = {
		{ do_take, "[7.23] mq_receive goes on after a stop and a continue", "[7.37] mq_receive: EINTR", "[7.37] and restarted with SA_RESTART",
		  "[7.37] it then gets the message" },
		{ do_put, "[7.23] mq_send goes on after a stop and a continue", "[7.37] mq_send: EINTR", "[7.37] and restarted with SA_RESTART",
		  "[7.37] it then sends" },
	};
	for (int i = 0; i < 2; i++) {
		if (i)
			put(0, 0);
		post(a, t[i].fn, 9);
		REQUIRE(await_blocked_in(a));
		REQUIRE(stop_and_continue(a->pid));
		CHECK(!answered(a), t[i].stop);
		kill(a->pid, SIGUSR1);
		CHECK_EQ(finish(a), -EINTR, t[i].plain);
		int n = siglog_count(a->pid, SIGUSR2);
		post(a, t[i].fn, 9);
		REQUIRE(await_blocked_in(a));
		kill(a->pid, SIGUSR2);
		REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR2) > n));
		REQUIRE(await_state(a->pid, 'S'));
		CHECK(!answered(a), t[i].restart);
		if (i)
			CHECK(take() == 0 && finish(a) == 0 && take() == 9, t[i].then);
		else
			CHECK(put(8, 0) == 0 && finish(a) == 8, t[i].then);
	}
	post(a, do_take, 0);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGKILL);
	reap(a->pid);
	put(3, 0);
	CHECK_EQ(take(), 3, "[leak] one that was killed takes nothing");
	remove_queue();
}

CASE(poll)
{
	new_queue(2, 20, O_NONBLOCK);
	struct pollfd p = { q, POLLIN | POLLOUT, 0 };
	CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLOUT, "[mq] poll: empty: to write");
	put(1, 0);
	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLOUT), "[mq] poll: to read and to write");
	put(2, 0);
	CHECK(poll(&p, 1, 0) == 1 && p.revents == POLLIN, "[mq] poll: full: to read");
	take();
	take();
	struct epoll_event e = { .events = EPOLLIN, .data.fd = 77 };
	int ep = MUST(epoll_create1(0));
	CHECK_OK(epoll_ctl(ep, EPOLL_CTL_ADD, q, &e), "[mq] epoll takes a queue");
	CHECK_EQ(epoll_wait(ep, &e, 1, 0), 0, "[mq] epoll: nothing to read");
	struct agent *a = spawn(NULL);
	post(a, do_put, 5);
	CHECK(epoll_wait(ep, &e, 1, deadline_ms) == 1 && e.events == EPOLLIN && e.data.fd == 77, "[mq] epoll: a message");
	finish(a);
	CHECK_EQ(take(), 5, "[mq] epoll: which is there");
	p.events = POLLIN;
	post(a, do_put, 6);
	CHECK(poll(&p, 1, deadline_ms) == 1 && p.revents == POLLIN, "[mq] poll waits for a message");
	finish(a);
	take();
	put(1, 0);
	put(2, 0);
	p.events = POLLOUT;
	post(a, do_take, 0);
	CHECK(poll(&p, 1, deadline_ms) == 1 && p.revents == POLLOUT, "[mq] poll waits for room");
	finish(a);
	retire(a, NULL);
	close(ep);
	remove_queue();
}

/* What a read of the file says. */
static const char *shown(void)
{
	static char text[128];
	ssize_t n = pread(q, text, sizeof text - 1, 0);
	text[n < 0 ? 0 : n] = 0;
	return text;
}

static bool shows(int size, int notify, int signo, int pid)
{
	char want[128];
	snprintf(want, sizeof want, "QSIZE:%-10d NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n", size, notify, signo, pid);
	return strcmp(shown(), want) == 0;
}

static long do_notify(long sig)
{
	struct sigevent e = { .sigev_notify = sig ? SIGEV_SIGNAL : SIGEV_NONE, .sigev_signo = sig, .sigev_value.sival_int = 1234 };
	return mq_notify(q, &e) ? -errno : 0;
}

static long no_notify(long x)
{
	(void)x;
	return mq_notify(q, NULL) ? -errno : 0;
}

CASE(notify)
{
	new_queue(3, 20, O_NONBLOCK);
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	call(a, ag_catch_plain, SIGUSR1);
	CHECK(shows(0, 0, 0, 0), "[mq] a read of the file: nobody is registered");
	CHECK_EQ(call(a, do_notify, SIGUSR1), 0, "[mq] mq_notify");
	CHECK(shows(0, SIGEV_SIGNAL, SIGUSR1, a->pid), "[mq] a read of the file: who is registered");
	CHECK_EQ(call(a, do_notify, SIGUSR1), -EBUSY, "[mq] mq_notify: twice: EBUSY");
	CHECK_EQ(call(b, do_notify, SIGUSR1), -EBUSY, "[mq] mq_notify: by another: EBUSY");
	CHECK_EQ(call(b, no_notify, 0), 0, "[mq] mq_notify: nothing to take back is no error");
	CHECK_EQ(call(b, do_notify, SIGUSR1), -EBUSY, "[mq] mq_notify: and takes nothing back from others");
	call(b, do_put, 1);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR1) == 1));
	struct sigrec *s = siglog_get(a->pid, SIGUSR1, 0);
	CHECK(s->code == SI_MESGQ && s->pid == b->pid && s->uid == getuid() && s->status == 1234, "[mq] mq_notify: SI_MESGQ, the sender, the value");
	CHECK(shows(8, 0, 0, 0), "[mq] mq_notify: once only");
	CHECK_EQ(call(a, do_notify, SIGUSR1), 0, "[mq] mq_notify: again, with a message there");
	call(b, do_put, 2);
	CHECK(shows(16, 0, SIGUSR1, a->pid), "[mq] mq_notify: a second message tells nobody");
	take();
	take();
	call(b, do_put, 3);
	CHECK(AWAIT(siglog_count(a->pid, SIGUSR1) == 2), "[mq] mq_notify: one to an empty queue does");
	take();
	fcntl(q, F_SETFL, 0);
	call(a, do_notify, SIGUSR1);
	post(b, do_take, 0);
	REQUIRE(await_blocked_in(b));
	put(4, 0);
	CHECK_EQ(finish(b), 4, "[mq] mq_notify: who waits for a message comes first");
	CHECK(shows(0, 0, SIGUSR1, a->pid) && siglog_count(a->pid, SIGUSR1) == 2, "[mq] mq_notify: and nobody is told");
	CHECK_EQ(call(a, no_notify, 0), 0, "[mq] mq_notify: taken back");
	CHECK(shows(0, 0, 0, 0), "[mq] mq_notify: nobody is registered any more");
	CHECK_EQ(call(a, do_notify, 0), 0, "[mq] mq_notify: SIGEV_NONE");
	CHECK_EQ(call(b, do_notify, SIGUSR1), -EBUSY, "[mq] mq_notify: SIGEV_NONE: others get EBUSY");
	CHECK(shows(0, SIGEV_NONE, 0, a->pid), "[mq] a read of the file: SIGEV_NONE");
	put(5, 0);
	CHECK(shows(8, 0, 0, 0), "[mq] mq_notify: SIGEV_NONE: once only too");
	take();

	struct sigevent e = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65 };
	CHECK_ERR(mq_notify(q, &e), EINVAL, "[mq] mq_notify: no such signal: EINVAL");
	e.sigev_signo = -1;
	CHECK_ERR(mq_notify(q, &e), EINVAL, "[mq] mq_notify: a negative signal: EINVAL");
	e.sigev_notify = 99;
	CHECK_ERR(mq_notify(q, &e), EINVAL, "[mq] mq_notify: no such kind: EINVAL");
	e = (struct sigevent){ .sigev_notify = SIGEV_NONE };
	CHECK_ERR(syscall(SYS_mq_notify, 0, &e), EBADF, "[mq] mq_notify: another file: EBADF");
	CHECK_ERR(syscall(SYS_mq_notify, q, BADPTR), EFAULT, "[mq] mq_notify: from nowhere: EFAULT");
	char cookie[32] = "";
	e.sigev_notify = SIGEV_THREAD;
	e.sigev_signo = -1;
	e.sigev_value.sival_ptr = BADPTR;
	CHECK_ERR(syscall(SYS_mq_notify, q, &e), EFAULT, "[mq] mq_notify: SIGEV_THREAD: a cookie from nowhere: EFAULT");
	e.sigev_value.sival_ptr = cookie;
	CHECK_ERR(syscall(SYS_mq_notify, q, &e), EBADF, "[mq] mq_notify: SIGEV_THREAD: no descriptor: EBADF");
	e.sigev_signo = q;
	CHECK_ERR(syscall(SYS_mq_notify, q, &e), ENOTSOCK, "[mq] mq_notify: SIGEV_THREAD: no socket: ENOTSOCK");
	int pair[2];
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	e.sigev_signo = pair[0];
	CHECK_ERR(syscall(SYS_mq_notify, q, &e), EINVAL, "[mq] mq_notify: SIGEV_THREAD: no netlink socket: EINVAL");
	retire(a, NULL);
	retire(b, NULL);
	remove_queue();
}

static long dup_and_close(long x)
{
	(void)x;
	return close(dup(q));
}

CASE(unregistered)
{
	new_queue(3, 20, O_NONBLOCK);
	struct agent *a = spawn(NULL);
	call(a, do_notify, SIGUSR1);
	struct agent *b = spawn(a);
	CHECK_EQ(call(b, no_notify, 0), 0, "[mq] a child inherits no registration");
	CHECK(shows(0, 0, SIGUSR1, a->pid), "[mq] and takes none back");
	CHECK_EQ(call(b, do_close, 0), 0, "[mq] nor by closing its descriptor");
	CHECK(shows(0, 0, SIGUSR1, a->pid), "[mq] the parent is registered still");
	retire(b, a);
	CHECK(shows(0, 0, SIGUSR1, a->pid), "[mq] and after the child's end");
	call(a, dup_and_close, 0);
	CHECK(shows(0, 0, 0, 0), "[mq] closing any descriptor of the queue takes it back");
	call(a, do_notify, SIGUSR1);
	quit(a, 0);
	REQUIRE(await_zombie(a->pid));
	CHECK(shows(0, 0, 0, 0), "[3.10] a zombie is registered nowhere");
	reap(a->pid);
	CHECK_EQ(do_notify(0), 0, "[mq] others may register then");
	no_notify(0);

	pid_t pid = fork_hold(do_notify, SIGUSR1);
	CHECK(shows(0, 0, 0, 0), "[mq] exec closes the descriptor, and takes the registration back");
	close(down[1]);
	reap(pid);

	MUST(fcntl(q, F_SETFD, 0));
	pid = fork_hold(do_notify, SIGTERM);
	CHECK(shows(0, 0, SIGTERM, pid), "[mq] a descriptor that exec keeps keeps it");
	put(1, 0);
	close(down[1]);
	CHECK_EQ(reap(pid), 0, "[mq] but the new program gets no signal that the old one asked for");
	CHECK(shows(8, 0, 0, 0), "[mq] and it is used up");
	remove_queue();
}

static long try_open(long flags)
{
	mqd_t fd = mq_open(name, flags);
	if (fd < 0)
		return -errno;
	mq_close(fd);
	return 0;
}

static long try_unlink(long x)
{
	(void)x;
	/* The library's says EACCES for EPERM. */
	return syscall(SYS_mq_unlink, name + 1) ? -errno : 0;
}

/* With room for `messages` messages of `size` bytes: 0 or -errno; it stays open. */
static int made;

static long try_make(long x)
{
	struct mq_attr attr = { .mq_maxmsg = x >> 32, .mq_msgsize = x & 0xffffffff };
	char own[64];
	snprintf(own, sizeof own, "/foster-own-%d-%d", getpid(), made);
	mqd_t fd = mq_open(own, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
	if (fd < 0)
		return -errno;
	made++;
	me->out[0] = fd;
	return 0;
}

static long unmake(long fd)
{
	char own[64];
	snprintf(own, sizeof own, "/foster-own-%d-%d", getpid(), --made);
	mq_unlink(own);
	return fd < 0 ? 0 : close(fd);
}

static long set_limit(long bytes)
{
	struct rlimit r = { bytes, bytes };
	return setrlimit(RLIMIT_MSGQUEUE, &r) ? -errno : 0;
}

static long size(long messages, long bytes)
{
	return messages << 32 | bytes;
}

CASE(permissions)
{
	NEED_ROOT("[mq] mq_open: permissions");
	new_queue(3, 20, O_NONBLOCK);
	MUST(fchmod(q, 0604));
	struct agent *a = spawn(NULL);
	call(a, ag_drop, 12345);
	CHECK_EQ(call(a, try_open, O_RDONLY), 0, "[mq] mq_open: others may read");
	CHECK_EQ(call(a, try_open, O_RDWR), -EACCES, "[mq] mq_open: and not write: EACCES");
	CHECK_EQ(call(a, try_open, O_WRONLY), -EACCES, "[mq] mq_open: only: EACCES");
	CHECK_EQ(call(a, try_unlink, 0), -EPERM, "[mq] mq_unlink: the owner's: EPERM");
	MUST(fchown(q, 12345, 12345));
	CHECK_EQ(call(a, try_open, O_RDWR), 0, "[mq] mq_open: a new owner may");
	CHECK_EQ(call(a, try_unlink, 0), 0, "[mq] mq_unlink: and remove it");
	mq_close(q);

	CHECK_EQ(call(a, try_make, size(11, 10)), -EINVAL, "[limit] mq_open: more messages than msg_max: EINVAL");
	CHECK_EQ(call(a, try_make, size(1, 8193)), -EINVAL, "[limit] mq_open: longer ones than msgsize_max: EINVAL");
	/* What Linux counts for a message and for a priority is 48 bytes each. */
	call(a, set_limit, 10 * (8192 + 96) - 1);
	CHECK_EQ(call(a, try_make, size(10, 8192)), -EMFILE, "[limit] mq_open: beyond RLIMIT_MSGQUEUE: EMFILE");
	call(a, set_limit, 10 * (8192 + 96));
	CHECK_EQ(call(a, try_make, size(10, 8192)), -EMFILE, "[limit] mq_open: a limit that was lowered stays low");
	retire(a, NULL);
	a = spawn(NULL);
	struct agent *b = spawn(NULL);
	call(a, set_limit, 10 * (8192 + 96) + 2 * (100 + 96));
	call(b, set_limit, 10 * (8192 + 96) + 2 * (100 + 96));
	call(a, ag_drop, 12346);
	call(b, ag_drop, 12346);
	CHECK_EQ(call(a, try_make, size(10, 8192)), 0, "[limit] mq_open: within RLIMIT_MSGQUEUE");
	int fd = a->out[0];
	CHECK_EQ(call(b, try_make, size(2, 101)), -EMFILE, "[limit] mq_open: it counts all queues of the user: EMFILE");
	CHECK_EQ(call(b, try_make, size(2, 100)), 0, "[limit] mq_open: and no more than that");
	CHECK_EQ(call(b, unmake, b->out[0]), 0, "[mq] mq_unlink: and closed");
	call(a, unmake, -1);
	CHECK_EQ(call(b, try_make, size(10, 8192)), -EMFILE, "[limit] mq_unlink: one that is open still counts: EMFILE");
	quit(a, 0);
	REQUIRE(await_zombie(a->pid));
	CHECK_EQ(call(b, try_make, size(10, 8192)), 0, "[limit] until it is closed, at the latest by exit");
	call(b, unmake, b->out[0]);
	reap(a->pid);
	(void)fd;
	char old[32] = "";
	const char *max = "/proc/sys/fs/mqueue/queues_max";
	REQUIRE(read_file(max, old, sizeof old) > 0);
	int n = open(max, O_WRONLY);
	REQUIRE(n >= 0 && write(n, "0", 1) == 1);
	CHECK_EQ(call(b, try_make, size(1, 1)), -ENOSPC, "[proc] queues_max: no more queues: ENOSPC");
	CHECK(pwrite(n, old, strlen(old), 0) > 0, "[proc] queues_max is set back");
	close(n);
	retire(b, NULL);
}

static bool limit_is(const char *file, long want)
{
	char path[64], text[32] = "";
	snprintf(path, sizeof path, "/proc/sys/fs/mqueue/%s", file);
	return read_file(path, text, sizeof text) > 0 && atol(text) == want;
}

static bool set(const char *file, const char *value)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/sys/fs/mqueue/%s", file);
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	int e = errno;
	close(fd);
	errno = e;
	return ok;
}

CASE(limits)
{
	CHECK(limit_is("msg_default", 10) && limit_is("msg_max", 10) && limit_is("msgsize_default", 8192) && limit_is("msgsize_max", 8192) &&
		      limit_is("queues_max", 256), "[proc] /proc/sys/fs/mqueue");
	NEED_ROOT("[proc] /proc/sys/fs/mqueue can be set");
	CHECK(!set("msg_max", "0") && errno == EINVAL, "[proc] msg_max is 1 at least: EINVAL");
	CHECK(!set("msgsize_max", "127") && errno == EINVAL, "[proc] msgsize_max is 128 at least: EINVAL");
	CHECK(!set("msg_max", "65537") && errno == EINVAL, "[proc] msg_max has a bound: EINVAL");
	set("msg_default", "4");
	set("msgsize_default", "200");
	new_name();
	q = mq_open(name, O_CREAT | O_RDWR, 0600, NULL);
	set("msg_default", "10");
	set("msgsize_default", "8192");
	CHECK(q >= 0 && attr_of(q).mq_maxmsg == 4 && attr_of(q).mq_msgsize == 200, "[proc] msg_default and msgsize_default are what a queue gets");
	remove_queue();
}

CASE(mounted)
{
	NEED_ROOT("[mq] the file system can be mounted");
	char path[PATH_MAX + 128], dir[PATH_MAX];
	snprintf(dir, sizeof dir, "%s", tmp_path("queues"));
	MUST(mkdir(dir, 0700));
	new_queue(3, 20, O_NONBLOCK);
	CHECK_OK(mount("none", dir, "mqueue", 0, NULL), "[mq] mount -t mqueue");
	struct statfs fs;
	CHECK(statfs(dir, &fs) == 0 && fs.f_type == 0x19800202, "[mq] statfs knows it");
	struct stat st, mine;
	CHECK(stat(dir, &st) == 0 && (st.st_mode & 07777) == 01777, "[mq] anybody may make queues");
	snprintf(path, sizeof path, "%s%s", dir, name);
	MUST(fstat(q, &mine));
	CHECK(stat(path, &st) == 0 && st.st_ino == mine.st_ino && st.st_dev == mine.st_dev, "[mq] a queue is a file in it");
	put(1, 0);
	char text[128] = "";
	CHECK(read_file(path, text, sizeof text) > 0 && strcmp(text, shown()) == 0 && strncmp(text, "QSIZE:8 ", 8) == 0, "[mq] its text tells what is in it");
	int fd = open(path, O_RDONLY);
	char buf[20];
	CHECK(fd >= 0 && mq_receive(fd, buf, 20, NULL) == 8, "[mq] opened by its path it is the same");
	close(fd);
	CHECK_ERR(rename(path, tmp_path("other")), EXDEV, "[mq] rename out of it: EXDEV");
	snprintf(path, sizeof path, "%s/made-%d", dir, getpid());
	CHECK_ERR(mkdir(path, 0700), EPERM, "[mq] mkdir in it: EPERM");
	CHECK_ERR(symlink("x", path), EPERM, "[mq] symlink in it: EPERM");
	CHECK_ERR(mkfifo(path, 0600), EPERM, "[mq] mkfifo in it: EPERM");
	fd = open(path, O_CREAT | O_RDWR | O_EXCL, 0600);
	CHECK(fd >= 0 && attr_of(fd).mq_maxmsg == 10 && attr_of(fd).mq_msgsize == 8192, "[mq] open(O_CREAT) makes a queue");
	snprintf(name, sizeof name, "/made-%d", getpid());
	mqd_t other = mq_open(name, O_RDWR);
	CHECK(other >= 0, "[mq] which mq_open finds");
	close(other);
	close(fd);
	CHECK_OK(unlink(path), "[mq] unlink removes it");
	CHECK_ERR(mq_open(name, O_RDWR), ENOENT, "[mq] and its name");
	CHECK_OK(umount(dir), "[mq] umount");
	CHECK_EQ(put(2, 0), 0, "[mq] queues outlive the mount");
	mq_close(q);
	snprintf(name, sizeof name, "/foster-%d-0", getpid());
	mq_unlink(name);
	rmdir(dir);
}

CASE(namespaces)
{
	NEED_ROOT("[mq] mq_notify: pids are the receiver's namespace's");
	new_queue(3, 20, O_NONBLOCK);
	struct agent *a = new_ns(NULL);
	call(a, ag_catch_plain, SIGUSR1);
	CHECK_EQ(call(a, do_notify, SIGUSR1), 0, "[mq] mq_notify: by the init of a pid namespace");
	CHECK(shows(0, 0, SIGUSR1, a->pid), "[mq] a read of the file: as the reader's namespace numbers it");
	put(1, 0);
	REQUIRE(AWAIT(siglog_count(0, SIGUSR1) == 1));
	CHECK_EQ(siglog_get(0, SIGUSR1, 0)->pid, 0, "[mq] mq_notify: si_pid is 0 for a sender that the receiver can't see");
	retire(a, NULL);
	remove_queue();
}

/* Numbers from several to several. */
static long sender(long rounds)
{
	for (long i = 1; i <= rounds; i++)
		if (put(i, i % 3))
			return -errno;
	return 0;
}

static long receiver(long rounds)
{
	long sum = 0;
	for (long i = 0; i < rounds; i++) {
		long got = take();
		if (got < 0)
			return got;
		sum += got;
	}
	return sum;
}

CASE_T(stream, 60)
{
	new_queue(3, 20, 0);
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(NULL), *d = spawn(NULL);
	long rounds = iterations(300) * 10L;
	post(a, sender, rounds);
	post(b, sender, rounds);
	post(c, receiver, rounds);
	post(d, receiver, rounds);
	CHECK(finish(a) == 0 && finish(b) == 0, "[mq] mq_send: two send to two");
	CHECK_EQ(finish(c) + finish(d), rounds * (rounds + 1), "[mq] mq_receive: nothing is lost, nothing comes twice");
	CHECK_EQ(attr_of(q).mq_curmsgs, 0, "[mq] mq_receive: nothing is left");
	retire(a, NULL);
	retire(b, NULL);
	retire(c, NULL);
	retire(d, NULL);
	remove_queue();
}

CASE_T(killed, 60)
{
	new_queue(2, 20, 0);
	bool all = true;
	for (int i = 0; i < iterations(300) / 10; i++) {
		struct agent *a = spawn(NULL), *b = spawn(NULL);
		post(a, sender, 1000000);
		post(b, i & 1 ? do_notify : do_take, SIGUSR2);
		for (int n = 0; n < i; n++)
			sched_yield();
		kill(a->pid, SIGKILL);
		kill(b->pid, SIGKILL);
		reap(a->pid);
		reap(b->pid);
		fcntl(q, F_SETFL, O_NONBLOCK);
		while (take() >= 0)
			;
		all &= put(5, 0) == 0 && put(6, 0) == 0 && put(7, 0) == -EAGAIN && take() == 5 && take() == 6 && take() == -EAGAIN;
		all &= shows(0, 0, 0, 0);
		fcntl(q, F_SETFL, 0);
	}
	CHECK(all, "[leak] who is killed while it waits, or is registered, leaves nothing behind");
	remove_queue();
}
