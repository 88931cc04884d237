/*
 * pty - pseudo-terminals: data, settings, and what they do to sessions (rules 8.9-8.22).
 *
 * The case holds the master; agents in sessions of their own hold slaves.
 */
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "lib/tap.h"

static int master = -1;
static char slave[32];

static void open_master(void)
{
	int zero = 0, n = -1;
	need_devpts();
	master = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
	MUST(ioctl(master, TIOCSPTLCK, &zero));
	MUST(ioctl(master, TIOCGPTN, &n));
	snprintf(slave, sizeof slave, "/dev/pts/%d", n);
}

static struct termios raw(struct termios t)
{
	t.c_lflag &= ~(ICANON | ECHO | ISIG);
	t.c_oflag &= ~OPOST;
	t.c_iflag &= ~(ICRNL | IXON);
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	return t;
}

/* ---- what agents do ---- */
static long ag_open(long flags)
{
	return open(slave, (int)flags);
}
static long ag_close(long fd)
{
	return close((int)fd);
}
static long ag_drop_master(long x)
{
	(void)x;
	return close(master);
}
static long ag_dev_tty(long x)
{
	(void)x;
	int fd = open("/dev/tty", O_RDWR);
	if (fd >= 0)
		close(fd);
	return fd < 0 ? -1 : 0;
}
static long ag_read(long fd)
{
	char b[64];
	return read((int)fd, b, sizeof b);
}
static long ag_write(long fd)
{
	return write((int)fd, "x", 1);
}
static long ag_getfg(long fd)
{
	return tcgetpgrp((int)fd);
}
static long ag_sid(long fd)
{
	return tcgetsid((int)fd);
}
static long ag_take_fg(long fd)
{
	return tcsetpgrp((int)fd, getpgrp());
}
static long ag_give_fg(long fd)
{
	return tcsetpgrp((int)fd, (pid_t)sh->v[0]);
}
static long ag_setctty(long fd)
{
	return ioctl((int)fd, TIOCSCTTY, 0);
}
static long ag_notty(long fd)
{
	return ioctl((int)fd, TIOCNOTTY);
}
static long ag_tostop(long fd)
{
	struct termios t;
	if (tcgetattr((int)fd, &t) != 0)
		return -1;
	t.c_lflag |= TOSTOP;
	return tcsetattr((int)fd, TCSANOW, &t);
}
static long ag_setattr(long fd)
{
	struct termios t;
	return tcgetattr((int)fd, &t) != 0 ? -1 : tcsetattr((int)fd, TCSANOW, &t);
}
static long ag_getattr(long fd)
{
	struct termios t;
	return tcgetattr((int)fd, &t);
}
static long ag_poll(long fd)
{
	struct pollfd p = { (int)fd, POLLIN | POLLOUT, 0 };
	poll(&p, 1, 0);
	return p.revents;
}

/* A session leader with the slave as its controlling terminal: the slave's descriptor is in v[1]. */
static struct agent *leader(void)
{
	open_master();
	struct agent *l = spawn(NULL);
	REQUIRE(call(l, ag_setsid, 0) == l->pid);
	REQUIRE((sh->v[1] = call(l, ag_open, O_RDWR)) >= 0);
	REQUIRE(call(l, ag_drop_master, 0) == 0);
	return l;
}

/* A child of the leader in a process group of its own, in the background. */
static struct agent *background(struct agent *l)
{
	struct agent *b = spawn(l);
	REQUIRE(call(b, ag_setpgid, 0) == 0);
	return b;
}

static bool master_says(const char *want)
{
	char b[256];
	size_t n = 0, len = strlen(want);
	while (n < len) {
		struct pollfd p = { master, POLLIN, 0 };
		if (poll(&p, 1, deadline_ms) != 1)
			break;
		ssize_t r = read(master, b + n, len - n);
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	return n == len && memcmp(b, want, len) == 0;
}

CASE(data)
{
	char b[64];
	open_master();
	int fd = MUST(open(slave, O_RDWR | O_NOCTTY));
	CHECK(isatty(fd) && isatty(master), "[pty] both ends are terminals");
	CHECK_EQ(write(master, "ab\x7f" "c\r", 5), 5, "[pty] typing");
	CHECK(read(fd, b, sizeof b) == 3 && memcmp(b, "ac\n", 3) == 0, "[pty] the slave reads an edited line");
	CHECK(master_says("ab\b \bc\r\n"), "[pty] the master reads the echo");
	CHECK_EQ(write(fd, "x\n", 2), 2, "[pty] output");
	CHECK(master_says("x\r\n"), "[pty] is processed");
	struct termios t;
	MUST(tcgetattr(fd, &t));
	struct termios r = raw(t);
	CHECK_OK(tcsetattr(fd, TCSANOW, &r), "[pty] raw mode");
	CHECK(write(master, "\3\n\r", 3) == 3 && read(fd, b, sizeof b) == 3 && memcmp(b, "\3\n\r", 3) == 0,
	      "[pty] raw bytes pass unchanged");
	CHECK_OK(tcgetattr(master, &t), "[pty] the master sees the settings");
	CHECK((t.c_lflag & ICANON) == 0, "[pty] of the slave");
	CHECK_OK(fcntl(fd, F_SETFL, O_NONBLOCK), "[pty] O_NONBLOCK");
	CHECK_ERR(read(fd, b, 1), EAGAIN, "[pty] nothing to read: EAGAIN");
	struct winsize w = { 11, 22, 0, 0 }, got = { 0, 0, 0, 0 };
	CHECK_OK(ioctl(master, TIOCSWINSZ, &w), "[pty] the master sets the window size");
	CHECK(ioctl(fd, TIOCGWINSZ, &got) == 0 && got.ws_row == 11 && got.ws_col == 22, "[pty] the slave sees it");
	close(fd);
	CHECK_ERR(read(master, b, 1), EIO, "[pty] with every slave closed the master reads EIO");
	struct pollfd p = { master, POLLIN, 0 };
	CHECK(poll(&p, 1, 0) == 1 && (p.revents & POLLHUP), "[pty] and polls HUP");
	fd = MUST(open(slave, O_RDWR | O_NOCTTY));
	CHECK(write(fd, "y", 1) == 1 && read(master, b, 1) == 1 && b[0] == 'y', "[pty] it can be opened again");
}

/* The byte that a master in packet mode reads instead of data; -1 for something else. */
static int packet_status(void)
{
	char b[8];
	struct pollfd p = { master, POLLIN | POLLPRI, 0 };
	if (poll(&p, 1, deadline_ms) != 1 || !(p.revents & POLLPRI) || !(p.revents & POLLIN))
		return -1;
	return read(master, b, sizeof b) == 1 ? b[0] : -1;
}

CASE(packet_mode)
{
	char b[64];
	int on = 1, off = 0, got = 7;
	open_master();
	int fd = MUST(open(slave, O_RDWR | O_NOCTTY));
	struct pollfd p = { master, POLLIN | POLLPRI, 0 };
	CHECK(ioctl(master, TIOCGPKT, &got) == 0 && got == 0, "[pty] packet mode is off at first");
	CHECK_ERR(ioctl(fd, TIOCPKT, &on), ENOTTY, "[pty] and a slave has none: ENOTTY");
	CHECK_OK(tcflush(fd, TCIFLUSH), "[pty] nothing is told");
	CHECK_OK(ioctl(master, TIOCPKT, &on), "[pty] TIOCPKT");
	CHECK(ioctl(master, TIOCGPKT, &got) == 0 && got == 1, "[pty] TIOCGPKT");
	CHECK_EQ(poll(&p, 1, 0), 0, "[pty] of what was before it");
	MUST(write(fd, "ab", 2));
	REQUIRE(poll(&p, 1, deadline_ms) == 1);
	CHECK(read(master, b, sizeof b) == 3 && !memcmp(b, "\0ab", 3), "[pty] data have a 0 in front");
	MUST(write(fd, "c", 1));
	REQUIRE(poll(&p, 1, deadline_ms) == 1);
	CHECK(read(master, b, 1) == 1 && b[0] == 0, "[pty] which alone fills a buffer of one byte");
	CHECK(read(master, b, sizeof b) == 2 && b[0] == 0 && b[1] == 'c', "[pty] the data are still there");
	MUST(tcflush(fd, TCIFLUSH));
	CHECK_EQ(packet_status(), TIOCPKT_FLUSHREAD, "[pty] input thrown away");
	MUST(tcflush(fd, TCOFLUSH));
	CHECK_EQ(packet_status(), TIOCPKT_FLUSHWRITE, "[pty] output thrown away");
	MUST(tcflush(fd, TCIOFLUSH));
	CHECK_EQ(packet_status(), TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE, "[pty] both");
	MUST(tcflow(fd, TCOOFF));
	CHECK_EQ(packet_status(), TIOCPKT_STOP, "[pty] output stopped");
	MUST(tcflow(fd, TCOON));
	CHECK_EQ(packet_status(), TIOCPKT_START, "[pty] and started");
	MUST(write(master, "\x13", 1));
	CHECK_EQ(packet_status(), TIOCPKT_STOP, "[pty] stopped by ^S");
	MUST(write(master, "\x11", 1));
	CHECK_EQ(packet_status(), TIOCPKT_START, "[pty] started by ^Q");
	struct termios t;
	MUST(tcgetattr(fd, &t));
	t.c_iflag &= ~IXON;
	MUST(tcsetattr(fd, TCSANOW, &t));
	CHECK_EQ(packet_status(), TIOCPKT_NOSTOP, "[pty] ^S and ^Q without meaning");
	t.c_iflag |= IXON;
	MUST(tcsetattr(fd, TCSANOW, &t));
	CHECK_EQ(packet_status(), TIOCPKT_DOSTOP, "[pty] and with it");
	CHECK_OK(ioctl(master, TIOCPKT, &off), "[pty] packet mode off");
	MUST(write(fd, "d", 1));
	REQUIRE(poll(&p, 1, deadline_ms) == 1);
	CHECK(read(master, b, sizeof b) == 1 && b[0] == 'd', "[pty] data come as they are");
}

CASE(nodes)
{
	struct stat st;
	need_devpts();
	master = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
	int n = -1, locked = 0;
	CHECK_OK(ioctl(master, TIOCGPTN, &n), "[pty] TIOCGPTN");
	snprintf(slave, sizeof slave, "/dev/pts/%d", n);
	CHECK(ioctl(master, TIOCGPTLCK, &locked) == 0 && locked == 1, "[pty] a new slave is locked");
	CHECK_ERR(open(slave, O_RDWR | O_NOCTTY), EIO, "[pty] opening it: EIO");
	locked = 0;
	CHECK_OK(ioctl(master, TIOCSPTLCK, &locked), "[pty] unlocked");
	int fd = open(slave, O_RDWR | O_NOCTTY);
	CHECK(fd >= 0, "[pty] it can be opened");
	CHECK(stat(slave, &st) == 0 && S_ISCHR(st.st_mode) && st.st_uid == geteuid(), "[pty] the node is the opener's");
	int peer = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY);
	CHECK(peer >= 0 && isatty(peer), "[pty] TIOCGPTPEER opens the slave");
	int other = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY)), m = -1;
	CHECK(ioctl(other, TIOCGPTN, &m) == 0 && m != n, "[pty] another master has another number");
	close(master);
	CHECK_ERR(stat(slave, &st), ENOENT, "[pty] the node goes with the master");
	CHECK_EQ(read(fd, slave, 1), 0, "[8.22] the slave of a closed master reads 0");
	CHECK_ERR(write(fd, "x", 1), EIO, "[8.22] and writes EIO");
}

CASE(controlling)
{
	struct agent *l = leader();
	long fd = sh->v[1];
	CHECK_EQ(call(l, ag_sid, fd), l->pid, "[8.9] an open by a session leader makes it the controlling terminal");
	CHECK_EQ(call(l, ag_getfg, fd), l->pid, "[8.10] the leader's group is in the foreground");
	CHECK_OK(call(l, ag_dev_tty, 0), "[8.12] /dev/tty is there");
	CHECK_OK(call(l, ag_setctty, fd), "[8.9] TIOCSCTTY on its own terminal: 0");
	struct agent *s = spawn(NULL);
	CHECK_EQ(call(s, ag_setsid, 0), s->pid, "[8.6] another session");
	long other = call(s, ag_open, O_RDWR);
	CHECK(other >= 0, "[8.9] that opens a terminal of somebody else's");
	CHECK_ERR(call(s, ag_getfg, other), ENOTTY, "[8.11] gets no controlling terminal: TIOCGPGRP is ENOTTY");
	CHECK_ERR(call(s, ag_setctty, other), EPERM, "[8.9] TIOCSCTTY on it: EPERM");
	CHECK_ERR(call(s, ag_dev_tty, 0), ENXIO, "[8.12] no /dev/tty: ENXIO");
	retire(s, NULL);
	retire(l, NULL);
}

CASE(foreground)
{
	struct agent *l = leader(), *b = background(l);
	long fd = sh->v[1];
	sh->v[0] = b->pid;
	CHECK_OK(call(l, ag_give_fg, fd), "[8.11] tcsetpgrp to another group of the session");
	CHECK_EQ(call(l, ag_getfg, fd), b->pid, "[8.11] and back");
	sh->v[0] = -5;
	CHECK_ERR(call(b, ag_give_fg, fd), EINVAL, "[8.11] a negative group: EINVAL");
	sh->v[0] = 0x3ffffff;
	CHECK_ERR(call(b, ag_give_fg, fd), ESRCH, "[8.11] no such group: ESRCH");
	sh->v[0] = getpgrp();
	CHECK_ERR(call(b, ag_give_fg, fd), EPERM, "[8.11] a group of another session: EPERM");
	call(b, ag_catch, SIGINT);
	call(l, ag_catch, SIGINT);
	MUST(write(master, "\3", 1));
	CHECK(AWAIT(siglog_count(b->pid, SIGINT) == 1), "[8.17] VINTR goes to the foreground");
	struct sigrec *r = siglog_get(b->pid, SIGINT, 0);
	CHECK(r && r->code == SI_KERNEL, "[8.17] as SI_KERNEL");
	CHECK_EQ(siglog_count(l->pid, SIGINT), 0, "[8.17] and to nobody else");
	CHECK_ERR(ioctl(master, TIOCSIG, SIGTERM), EINVAL, "[pty] TIOCSIG takes the keyboard's signals only: EINVAL");
	CHECK_OK(ioctl(master, TIOCSIG, SIGINT), "[pty] one of them");
	CHECK(AWAIT(siglog_count(b->pid, SIGINT) == 2), "[pty] goes to the slave's foreground");
	post(b, ag_read, fd);
	await_blocked_in(b);
	MUST(write(master, "\x1a", 1));
	CHECK(await_state(b->pid, 'T'), "[8.17] VSUSP stops the foreground");
	kill(b->pid, SIGCONT);
	MUST(write(master, "z\n", 2));
	CHECK_EQ(finish(b), 2, "[8.17] a read goes on after SIGCONT");
	retire(b, l);
	retire(l, NULL);
}

CASE(background_io)
{
	struct agent *l = leader(), *b = background(l);
	long fd = sh->v[1];
	post(b, ag_read, fd);
	CHECK(await_state(b->pid, 'T'), "[8.13] a read from the background stops the group (SIGTTIN)");
	sh->v[0] = b->pid;
	call(l, ag_give_fg, fd);
	MUST(write(master, "q\n", 2));
	kill(b->pid, SIGCONT);
	CHECK_EQ(finish(b), 2, "[8.13] and goes on in the foreground");
	post(l, ag_write, fd);
	CHECK_EQ(finish(l), 1, "[8.14] a write from the background without TOSTOP proceeds");
	CHECK_OK(call(b, ag_tostop, fd), "[8.14] TOSTOP");
	call(l, ag_ignore, SIGTTIN);
	call(l, ag_ignore, SIGTTOU);
	CHECK_EQ(call(l, ag_write, fd), 1, "[8.14] a background write with SIGTTOU ignored proceeds");
	CHECK_ERR(call(l, ag_read, fd), EIO, "[8.13] a background read with SIGTTIN ignored: EIO");
	CHECK_OK(call(l, ag_getattr, fd), "[8.16] tcgetattr from the background");
	CHECK_OK(call(l, ag_setattr, fd), "[8.15] tcsetattr with SIGTTOU ignored is allowed");
	call(l, ag_default, SIGTTOU);
	call(l, ag_catch, SIGTTOU);
	CHECK_ERR(call(l, ag_take_fg, fd), ENOTTY, "[8.15] tcsetpgrp from an orphaned background group: ENOTTY");
	CHECK_ERR(call(l, ag_setattr, fd), EIO, "[8.15] tcsetattr: EIO");
	call(l, ag_block, SIGTTOU);
	CHECK_OK(call(l, ag_take_fg, fd), "[8.15] allowed with SIGTTOU blocked");
	CHECK_EQ(call(l, ag_getfg, fd), l->pid, "[8.15] the leader is in the foreground again");
	post(b, ag_write, fd);
	CHECK(await_state(b->pid, 'T'), "[8.14] a background write with TOSTOP stops the group");
	kill(b->pid, SIGKILL);
	call(l, ag_reap, b->pid);
	retire(l, NULL);
}

CASE(master_closes)
{
	struct agent *l = leader(), *f = background(l);
	long fd = sh->v[1];
	sh->v[0] = f->pid;
	call(l, ag_give_fg, fd);
	call(l, ag_catch, SIGHUP);
	call(l, ag_catch, SIGCONT);
	call(f, ag_catch, SIGHUP);
	call(f, ag_catch, SIGCONT);
	close(master);
	CHECK(AWAIT(siglog_count(l->pid, SIGHUP) == 1 && siglog_count(l->pid, SIGCONT) == 1),
	      "[8.20] the master closes: the session leader gets SIGHUP and SIGCONT");
	CHECK_EQ(siglog_count(f->pid, SIGHUP), 0, "[8.20] the foreground does not");
	CHECK_EQ(call(f, ag_read, fd), 0, "[8.22] a slave reads 0");
	CHECK_ERR(call(f, ag_write, fd), EIO, "[8.22] writes EIO");
	CHECK_ERR(call(f, ag_getattr, fd), EIO, "[8.22] tcgetattr EIO");
	CHECK_EQ(call(f, ag_poll, fd), POLLIN | POLLOUT | POLLERR | POLLHUP, "[8.22] polls IN, OUT, ERR, HUP");
	CHECK_ERR(call(f, ag_take_fg, fd), ENOTTY, "[8.22] TIOCSPGRP ENOTTY");
	CHECK_ERR(call(l, ag_dev_tty, 0), ENXIO, "[8.20] no controlling terminal is left");
	quit(l, 0);
	CHECK(AWAIT(siglog_count(f->pid, SIGHUP) == 1 && siglog_count(f->pid, SIGCONT) >= 1),
	      "[8.21] when the leader exits the old foreground gets SIGHUP and SIGCONT");
	reap(l->pid);
	kill(f->pid, SIGKILL);
	reap(f->pid);
}

CASE(leader_exits)
{
	struct agent *l = leader(), *f = background(l), *o = background(l);
	long fd = sh->v[1];
	sh->v[0] = f->pid;
	call(l, ag_give_fg, fd);
	call(f, ag_catch, SIGHUP);
	call(f, ag_catch, SIGCONT);
	call(o, ag_catch, SIGHUP);
	quit(l, 0);
	reap(l->pid);
	CHECK(AWAIT(siglog_count(f->pid, SIGHUP) == 1), "[8.19] the leader exits: the foreground gets SIGHUP");
	CHECK_EQ(siglog_count(f->pid, SIGCONT), 0, "[8.19] and no SIGCONT");
	CHECK_EQ(siglog_count(o->pid, SIGHUP), 0, "[8.19] the background gets nothing");
	CHECK_ERR(call(f, ag_dev_tty, 0), ENXIO, "[8.19] the session has no terminal any more");
	CHECK_EQ(proc_stat(f->pid, 7), 0, "[8.19] tty_nr is 0");
	CHECK_EQ(call(f, ag_write, fd), 1, "[8.19] open descriptors keep working: write");
	CHECK_OK(call(f, ag_getattr, fd), "[8.19] tcgetattr");
	kill(f->pid, SIGKILL);
	kill(o->pid, SIGKILL);
	reap(f->pid);
	reap(o->pid);
}

CASE(gives_it_up)
{
	struct agent *l = leader(), *f = background(l);
	long fd = sh->v[1];
	sh->v[0] = f->pid;
	call(l, ag_give_fg, fd);
	call(f, ag_catch, SIGHUP);
	call(f, ag_catch, SIGCONT);
	CHECK_OK(call(l, ag_notty, fd), "[8.18] TIOCNOTTY by the leader");
	CHECK(AWAIT(siglog_count(f->pid, SIGHUP) == 1 && siglog_count(f->pid, SIGCONT) == 1),
	      "[8.18] the foreground gets SIGHUP and SIGCONT");
	CHECK_ERR(call(f, ag_dev_tty, 0), ENXIO, "[8.18] all members of the session lose the terminal");
	CHECK_OK(call(l, ag_close, fd), "[8.18] its descriptor stays");
	retire(f, l);
	retire(l, NULL);
}
