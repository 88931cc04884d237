/* socketpair.c - connected sockets between relatives: data, end of file, interruption (rule 7.37). */
#include "lib/tap.h"

#include <sys/socket.h>

static long do_read(long fd)
{
	char c;
	long r = read(fd, &c, 1);
	return r < 0 ? -errno : r;
}

static long catch_plain(long sig)
{
	siglog_catch(sig, 0);
	return 0;
}

CASE(data)
{
	int sv[2];
	char b[16];
	CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), "[socket] socketpair");
	REQUIRE(write(sv[0], "abc", 3) == 3);
	CHECK(read(sv[1], b, 16) == 3 && !memcmp(b, "abc", 3), "[socket] data goes one way");
	REQUIRE(write(sv[1], "de", 2) == 2);
	CHECK(read(sv[0], b, 16) == 2, "[socket] and the other");
	close(sv[0]);
	CHECK_EQ(read(sv[1], b, 16), 0, "[socket] end of file when the peer is closed");
	signal(SIGPIPE, SIG_IGN);
	CHECK_ERR(write(sv[1], "x", 1), EPIPE, "[socket] and EPIPE");
}

CASE(restart)
{
	int sv[2];
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	struct agent *a = spawn(NULL);
	call(a, catch_plain, SIGUSR1);
	call(a, ag_catch, SIGUSR2);
	post(a, do_read, sv[0]);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR1);
	CHECK_EQ(finish(a), -EINTR, "[7.37] read of a socket: EINTR");
	post(a, do_read, sv[0]);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGUSR2);
	REQUIRE(AWAIT(siglog_count(a->pid, SIGUSR2) == 1));
	CHECK(await_state(a->pid, 'S') && !answered(a), "[7.37] and restarted with SA_RESTART");
	REQUIRE(write(sv[1], "x", 1) == 1);
	CHECK_EQ(finish(a), 1, "[7.37] it then returns the data");
	retire(a, NULL);
}
