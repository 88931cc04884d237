/* epoll.c - epoll: what it tells, and what interrupts it (rules 7.23, 7.36). */
#include "lib/tap.h"

#include <sys/epoll.h>

CASE(basic)
{
	int e = epoll_create1(EPOLL_CLOEXEC), p[2];
	CHECK(e >= 0, "[epoll] epoll_create1");
	if (e < 0)
		return;
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 0x1122334455667788 }, got[4];
	MUST(pipe(p));
	CHECK_OK(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev), "[epoll] EPOLL_CTL_ADD");
	CHECK_ERR(epoll_ctl(e, EPOLL_CTL_ADD, p[0], &ev), EEXIST, "[epoll] again: EEXIST");
	CHECK_ERR(epoll_ctl(e, EPOLL_CTL_DEL, p[1], &ev), ENOENT, "[epoll] DEL of one that is not in it: ENOENT");
	CHECK_ERR(epoll_ctl(e, EPOLL_CTL_ADD, e, &ev), EINVAL, "[epoll] itself: EINVAL");
	CHECK_EQ(epoll_wait(e, got, 4, 0), 0, "[epoll] nothing ready");
	REQUIRE(write(p[1], "x", 1) == 1);
	CHECK(epoll_wait(e, got, 4, -1) == 1 && got[0].events == EPOLLIN && got[0].data.u64 == ev.data.u64, "[epoll] readable, with its data");
	CHECK_EQ(epoll_wait(e, got, 4, 0), 1, "[epoll] level-triggered: still");
	ev.events = EPOLLIN | EPOLLET;
	CHECK_OK(epoll_ctl(e, EPOLL_CTL_MOD, p[0], &ev), "[epoll] EPOLL_CTL_MOD");
	CHECK(epoll_wait(e, got, 4, 0) == 1 && epoll_wait(e, got, 4, 0) == 0, "[epoll] edge-triggered: once");
	CHECK_ERR(epoll_wait(e, got, 0, 0), EINVAL, "[epoll] no room for events: EINVAL");
	CHECK_OK(epoll_ctl(e, EPOLL_CTL_DEL, p[0], NULL), "[epoll] EPOLL_CTL_DEL");
}

static long epoll_forever(long x)
{
	struct epoll_event ev;
	(void)x;
	int fd = epoll_create1(0);
	long r = epoll_wait(fd, &ev, 1, 20000);
	int e = errno;
	close(fd);
	return r < 0 ? -e : r;
}

CASE(epoll_interrupted)
{
	struct agent *a = spawn(NULL);
	int fd = epoll_create1(0);
	CHECK(fd >= 0, "[7.23] epoll_create1 works");
	if (fd < 0)
		return;
	post(a, epoll_forever, 0);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGSTOP);
	REQUIRE(await_state(a->pid, 'T'));
	kill(a->pid, SIGCONT);
	CHECK_EQ(finish(a), -EINTR, "[7.23] epoll_wait returns EINTR after a stop and a continue without a handler");
	retire(a, NULL);
}

CASE(never_restarted)
{
	struct agent *a = spawn(NULL);
	call(a, ag_catch, SIGUSR1);
	post(a, epoll_forever, 0);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[7.36] epoll_wait is not restarted, even with SA_RESTART");
	retire(a, NULL);
}
