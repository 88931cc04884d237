/*
 * terminal.c - pseudo-terminals.
 *
 * The master of the fuzzer holds the masters of the terminals, as a terminal emulator does, and a slave of each, so that
 * none is hung up before it is asked for. Actors open the slaves; each has at most one, as TTY_FD.
 *
 * Between the two ends work threads of Linux: what is written at one end is handed to the line discipline of the other a
 * little later, and that is what sends ^C's signal. Both ways can be waited for:
 *
 *	typed		the echo comes back after the signal was sent, so the echo is waited for
 *	^D		which has no echo: poll of a slave with nothing to be read waits for the work of its own end
 *	written		poll of a master with nothing to be read waits for that work to be done
 *
 * All that was written is read after each step, for what waits there is thrown away when a signal character comes.
 */
#include "fuzz.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define END_OF_FILE 4

static struct terminal {
	bool there;
	int master, slave, index;
	int pgrp, session;	/* as printed last */
	char said[256];
	int nsaid;
} terminals[NTTY];

void terminals_mount(void)
{
	mkdir("/dev", 0755);
	mkdir("/dev/pts", 0755);
	mknod("/dev/tty", S_IFCHR | 0666, makedev(5, 0));
	chmod("/dev/tty", 0666);
	if (mount("devpts", "/dev/pts", "devpts", 0, "newinstance,ptmxmode=0666") < 0)
		printf("fuzz: no devpts\n");
}

bool terminal_there(int n)
{
	return n >= 0 && n < NTTY && terminals[n].there;
}

int terminal_index(int n)
{
	return terminal_there(n) ? terminals[n].index : 999;
}

const char *terminal_name(long device)
{
	static const char *const names[NTTY] = { "t0", "t1", "t2" };
	if (device == 0)
		return "0";
	for (int n = 0; n < NTTY; n++)
		if (terminals[n].there && device == (long)makedev(136, terminals[n].index))
			return names[n];
	return "?";
}

static long open_terminal(int n)
{
	struct terminal *t = &terminals[n];
	char path[32];
	int unlock = 0;
	if (n < 0 || n >= NTTY || t->there)
		return -EBUSY;
	*t = (struct terminal){ .pgrp = 0 };
	t->master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (t->master < 0)
		return -errno;
	if (ioctl(t->master, TIOCSPTLCK, &unlock) < 0 || ioctl(t->master, TIOCGPTN, &t->index) < 0)
		return -errno;
	snprintf(path, sizeof path, "/dev/pts/%d", t->index);
	t->slave = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (t->slave < 0)
		return -errno;
	t->there = true;
	return 0;
}

/* Takes what is there; `timeout` in ms for the first byte. False if nothing came. */
static bool listen_to(struct terminal *t, int timeout)
{
	struct pollfd fd = { t->master, POLLIN, 0 };
	if (poll(&fd, 1, timeout) != 1 || !(fd.revents & POLLIN))
		return false;
	ssize_t n = read(t->master, t->said + t->nsaid, sizeof t->said - t->nsaid);
	if (n > 0)
		t->nsaid += n;
	return n > 0;
}

static long type(int n, char byte)
{
	if (!terminal_there(n))
		return -ENODEV;
	struct terminal *t = &terminals[n];
	while (listen_to(t, 0))
		;
	struct pollfd slave = { t->slave, POLLIN, 0 };
	int echo = t->nsaid + (byte == END_OF_FILE ? 0 : byte < ' ' ? 2 : 1);
	if (byte == END_OF_FILE && poll(&slave, 1, 0))
		return -EAGAIN;		/* it is not echoed, and this poll would not wait for it */
	if (write(t->master, &byte, 1) != 1)
		return -errno;
	if (byte == END_OF_FILE)
		poll(&slave, 1, 0);
	while (t->nsaid < echo)
		if (!listen_to(t, 5000))
			return -ETIMEDOUT;
	return 1;
}

static long hang_up(int n)
{
	if (!terminal_there(n))
		return -ENODEV;
	struct terminal *t = &terminals[n];
	t->there = false;
	close(t->slave);
	close(t->master);
	return 0;
}

long terminal_run(struct slot *me)
{
	switch ((enum code)me->op) {
	case OP_PTY: return open_terminal(me->arg[0]);
	case OP_TYPE: return type(me->arg[0], me->arg[1]);
	case OP_HANGUP: return hang_up(me->arg[0]);
	default: return -ENOSYS;
	}
}

static void print_said(struct terminal *t)
{
	while (t->nsaid < (int)sizeof t->said && listen_to(t, 0))
		;
	if (!t->nsaid)
		return;
	printf("  t%d said \"", (int)(t - terminals));
	for (int i = 0; i < t->nsaid; i++) {
		unsigned char c = t->said[i];
		printf(c < ' ' || c > '~' ? "\\x%02x" : "%c", c);
	}
	printf("\"\n");
	t->nsaid = 0;
}

void terminals_print(void)
{
	for (int n = 0; n < NTTY; n++) {
		struct terminal *t = &terminals[n];
		int pgrp = 0, session = 0;
		if (!t->there)
			continue;
		print_said(t);
		if (ioctl(t->master, TIOCGPGRP, &pgrp) < 0)
			pgrp = 0;
		if (ioctl(t->master, TIOCGSID, &session) < 0)
			session = 0;
		if (pgrp != t->pgrp || session != t->session)
			printf("  t%d pgrp=%s session=%s\n", n, name_of(pgrp), name_of(session));
		t->pgrp = pgrp;
		t->session = session;
	}
}

void terminals_close(void)
{
	for (int n = 0; n < NTTY; n++)
		hang_up(n);
}
