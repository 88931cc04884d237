/* tty.c - sections 8.9-8.22: the controlling terminal and job control, on pseudo-terminals. */
#include "lib/tap.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

/* A pair of master and slave, the slave opened without becoming anybody's terminal. */
static int master, slave;
static char slave_name[64];

static bool open_pty(void)
{
	int zero = 0, n;
	need_devpts();
	master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	if (master < 0 || ioctl(master, TIOCSPTLCK, &zero) || ioctl(master, TIOCGPTN, &n))
		return false;
	snprintf(slave_name, sizeof slave_name, "/dev/pts/%d", n);
	slave = open(slave_name, O_RDWR | O_NOCTTY);
	return slave >= 0;
}

static long ag_sctty(long arg) { return ioctl(slave, TIOCSCTTY, arg); }
static long ag_notty(long x) { (void)x; return ioctl(slave, TIOCNOTTY); }
static long ag_open_slave(long flags) { return open(slave_name, O_RDWR | flags); }
static long ag_open_write_only(long x) { (void)x; return open(slave_name, O_WRONLY); }
static long ag_open_tty(long x) { (void)x; return open("/dev/tty", O_RDWR); }
static long ag_tcgetpgrp(long x) { (void)x; return tcgetpgrp(slave); }
static long ag_tcsetpgrp(long g)
{
	int v = g;
	return ioctl(slave, TIOCSPGRP, &v);
}
static long ag_read(long x)
{
	char c;
	(void)x;
	long r = read(slave, &c, 1);
	return r < 0 ? -errno : r;
}
static long ag_write(long x)
{
	(void)x;
	long r = write(slave, "w", 1);
	return r < 0 ? -errno : r;
}
static long ag_setattr(long lflag_set)
{
	struct termios t;
	if (ioctl(slave, TCGETS, &t))
		return -errno;
	t.c_lflag |= lflag_set;
	return ioctl(slave, TCSETS, &t) ? -errno : 0;
}
static long ag_close_master(long x) { (void)x; return close(master); }
static long catch_plain(long sig) { siglog_catch(sig, 0); return 0; }

/*
 * S is a session leader with the pty as terminal; nobody but the case keeps the master.
 */
static struct agent *leader(void)
{
	if (!open_pty())
		tap_die(__FILE__, __LINE__, "no pseudo-terminal, errno %d", errno);
	struct agent *s = spawn(NULL);
	REQUIRE(call(s, ag_close_master, 0) == 0);
	REQUIRE(call(s, ag_setsid, 0) == s->pid);
	REQUIRE(call(s, ag_sctty, 0) == 0);
	return s;
}

/* A child of `s` in a group of its own. */
static struct agent *job(struct agent *s)
{
	struct agent *j = spawn(s);
	REQUIRE(call(j, ag_setpgid, 0) == 0);
	return j;
}

static int hits(struct agent *a, int sig)
{
	call(a, ag_getpid, 0);
	return siglog_count(a->pid, sig);
}

CASE(acquire)
{
	REQUIRE(open_pty());
	struct agent *s = spawn(NULL), *n, *o;
	CHECK_ERR(call(s, ag_open_tty, 0), ENXIO, "[8.12] /dev/tty without a controlling terminal: ENXIO");
	CHECK_ERR(call(s, ag_sctty, 0), EPERM, "[8.9] TIOCSCTTY by one that is no session leader: EPERM");
	REQUIRE(call(s, ag_setsid, 0) == s->pid);
	CHECK_ERR(call(s, ag_tcgetpgrp, 0), ENOTTY, "[8.11] TIOCGPGRP of a terminal that is not the own: ENOTTY");
	CHECK_OK(call(s, ag_sctty, 0), "[8.9] TIOCSCTTY by a session leader");
	CHECK_OK(call(s, ag_sctty, 0), "[8.9] again on the own one: 0");
	CHECK_EQ(call(s, ag_tcgetpgrp, 0), s->pid, "[8.10] the foreground group is the leader's");
	CHECK(call(s, ag_open_tty, 0) >= 0, "[8.9] /dev/tty opens");
	CHECK(proc_stat(s->pid, 7) != 0, "[8.9,12.1] stat shows the terminal");
	CHECK_EQ(proc_stat(s->pid, 8), s->pid, "[8.10,12.1] and its foreground group");
	n = spawn(s);
	CHECK(call(n, ag_open_tty, 0) >= 0, "[6.19] a child inherits it");
	o = spawn(NULL);
	REQUIRE(call(o, ag_setsid, 0) == o->pid);
	CHECK_ERR(call(o, ag_sctty, 0), EPERM, "[8.9] a terminal of another session: EPERM");
	CHECK(call(o, ag_open_slave, 0) >= 0 && call(o, ag_open_tty, 0) == -1, "[8.9] opening it does not take it either");
	if (geteuid() == 0) {
		CHECK_OK(call(o, ag_sctty, 1), "[8.9] with arg 1 and privilege it is stolen");
		CHECK_ERR(call(s, ag_open_tty, 0), ENXIO, "[8.9] the old session loses it");
	}
	retire(n, s);
	retire(s, NULL);
	retire(o, NULL);
}

CASE(acquire_by_open)
{
	REQUIRE(open_pty());
	struct agent *s = spawn(NULL);
	REQUIRE(call(s, ag_setsid, 0) == s->pid);
	REQUIRE(call(s, ag_open_slave, O_NOCTTY) >= 0);
	CHECK_ERR(call(s, ag_open_tty, 0), ENXIO, "[8.9] an open with O_NOCTTY does not make it the terminal");
	REQUIRE(call(s, ag_open_slave, 0) >= 0);
	CHECK(call(s, ag_open_tty, 0) >= 0, "[8.9] one without does, for a session leader without one");
	retire(s, NULL);
}

CASE(foreground)
{
	struct agent *s = leader(), *j = job(s), *o = spawn(NULL);
	REQUIRE(call(o, ag_setsid, 0) > 0);
	CHECK_ERR(call(s, ag_tcsetpgrp, -1), EINVAL, "[8.11] TIOCSPGRP negative: EINVAL");
	CHECK_ERR(call(s, ag_tcsetpgrp, 0x3ffffff0), ESRCH, "[8.11] no such group: ESRCH");
	CHECK_ERR(call(s, ag_tcsetpgrp, o->pid), EPERM, "[8.11] a group of another session: EPERM");
	struct agent *t = spawn_thread(j);
	REQUIRE(call(s, ag_ignore, SIGTTOU) == 0);
	CHECK_OK(call(s, ag_tcsetpgrp, t->tid), "[8.11] any task of the session will do, a thread too");
	CHECK_ERR(call(o, ag_tcsetpgrp, o->pid), ENOTTY, "[8.11] not the own terminal: ENOTTY");
	CHECK_OK(call(s, ag_tcsetpgrp, j->pid), "[8.11] the leader gives the terminal to a job");
	CHECK_EQ(call(j, ag_tcgetpgrp, 0), j->pid, "[8.11] as the job sees");
	REQUIRE(write(master, "a\n", 2) == 2);
	CHECK_EQ(call(j, ag_read, 0), 1, "[8.13] the foreground reads");
	pid_t gone = j->pid;
	retire(j, s);
	CHECK_EQ(call(s, ag_tcgetpgrp, 0), gone, "[8.11] the number of a group that is gone is still told");
	retire(s, NULL);
	retire(o, NULL);
}

CASE(background_read)
{
	struct agent *s = leader(), *j = job(s), *k = spawn(s);
	call(s, ag_ignore, SIGCHLD);
	call(s, ag_default, SIGCHLD);
	REQUIRE(call(k, ag_setpgid, j->pid) == 0);
	REQUIRE(write(master, "a\n", 2) == 2);
	post(j, ag_read, 0);
	CHECK(await_state(j->pid, 'T') && await_state(k->pid, 'T'), "[8.13] a background read: SIGTTIN stops the whole group");
	REQUIRE(call(s, ag_tcsetpgrp, j->pid) == 0);
	kill(-j->pid, SIGCONT);
	CHECK_EQ(finish(j), 1, "[8.13] in the foreground and continued, the read goes on");
	REQUIRE(call(s, ag_ignore, SIGTTOU) == 0);
	REQUIRE(call(s, ag_tcsetpgrp, s->pid) == 0);
	call(j, catch_plain, SIGTTIN);
	call(k, catch_plain, SIGTTIN);
	CHECK_EQ(call(j, ag_read, 0), -EINTR, "[8.13] with a handler: EINTR");
	CHECK(hits(j, SIGTTIN) == 1 && hits(k, SIGTTIN) == 1, "[8.13] in each member");
	call(j, ag_ignore, SIGTTIN);
	CHECK_EQ(call(j, ag_read, 0), -EIO, "[8.13] SIGTTIN ignored: EIO");
	call(j, ag_default, SIGTTIN);
	call(j, ag_block, SIGTTIN);
	CHECK_EQ(call(j, ag_read, 0), -EIO, "[8.13] SIGTTIN blocked: EIO");
	retire(j, s);
	retire(k, s);
	retire(s, NULL);
}

CASE(orphaned_background)
{
	/* the leader's group is its own; a job whose parent is outside the session is orphaned */
	struct agent *s = leader(), *p = spawn(s), *j = job(p);
	retire(p, s);		/* j is adopted by the runner, in another session */
	CHECK_EQ(call(j, ag_read, 0), -EIO, "[8.13] a background read in an orphaned group: EIO");
	REQUIRE(call(s, ag_setattr, TOSTOP) == 0);
	CHECK_EQ(call(j, ag_write, 0), -EIO, "[8.14] a background write with TOSTOP: EIO");
	CHECK_EQ(call(j, ag_setattr, 0), -EIO, "[8.15] tcsetattr: EIO");
	CHECK_ERR(call(j, ag_tcsetpgrp, j->pid), ENOTTY, "[8.15] tcsetpgrp: ENOTTY");
	quit(j, 0);
	retire(s, NULL);
}

CASE(background_write)
{
	struct agent *s = leader(), *j = job(s);
	CHECK_EQ(call(j, ag_write, 0), 1, "[8.14] a background write without TOSTOP proceeds");
	REQUIRE(call(s, ag_setattr, TOSTOP) == 0);
	call(j, catch_plain, SIGTTOU);
	CHECK_EQ(call(j, ag_write, 0), -EINTR, "[8.14] with TOSTOP: SIGTTOU, EINTR if handled");
	CHECK_EQ(hits(j, SIGTTOU), 1, "[8.14] (handled)");
	call(j, ag_ignore, SIGTTOU);
	CHECK_EQ(call(j, ag_write, 0), 1, "[8.14] ignored: it proceeds");
	call(j, ag_default, SIGTTOU);
	call(j, ag_block, SIGTTOU);
	CHECK_EQ(call(j, ag_write, 0), 1, "[8.14] blocked: it proceeds");
	CHECK_OK(call(j, ag_setattr, 0), "[8.15] tcsetattr with SIGTTOU blocked is allowed");
	CHECK_OK(call(j, ag_tcsetpgrp, j->pid), "[8.15] and tcsetpgrp");
	REQUIRE(call(j, ag_tcsetpgrp, s->pid) == 0);
	call(j, ag_unblock, SIGTTOU);
	post(j, ag_setattr, 0);
	CHECK(await_state(j->pid, 'T'), "[8.15] background tcsetattr: SIGTTOU stops, with or without TOSTOP");
	CHECK_EQ(call(s, ag_tcgetpgrp, 0), s->pid, "[8.16] TIOCGPGRP never sends a signal");
	REQUIRE(call(s, ag_tcsetpgrp, j->pid) == 0);
	kill(j->pid, SIGCONT);
	CHECK_EQ(finish(j), 0, "[8.15] it goes on in the foreground");
	retire(j, s);
	retire(s, NULL);
}

CASE(keys)
{
	struct agent *s = leader(), *j = job(s);
	call(j, ag_catch, SIGINT);
	call(j, ag_catch, SIGQUIT);
	call(s, ag_catch, SIGINT);
	REQUIRE(call(s, ag_tcsetpgrp, j->pid) == 0);
	REQUIRE(write(master, "\003", 1) == 1);
	CHECK(AWAIT(siglog_count(j->pid, SIGINT) == 1), "[8.17] VINTR: SIGINT to the foreground group");
	CHECK(siglog_get(j->pid, SIGINT, 0)->code == SI_KERNEL, "[8.17] from the kernel");
	CHECK_EQ(hits(s, SIGINT), 0, "[8.17] and to nobody else");
	REQUIRE(write(master, "\034", 1) == 1);
	CHECK(AWAIT(siglog_count(j->pid, SIGQUIT) == 1), "[8.17] VQUIT: SIGQUIT");
	REQUIRE(write(master, "\032", 1) == 1);
	CHECK(await_state(j->pid, 'T'), "[8.17] VSUSP: SIGTSTP stops");
	kill(j->pid, SIGCONT);
	retire(j, s);
	retire(s, NULL);
}

CASE(give_up)
{
	struct agent *s = leader(), *m = spawn(s), *j = job(s);
	CHECK_OK(call(m, ag_notty, 0), "[8.18] TIOCNOTTY by a member");
	CHECK_ERR(call(m, ag_open_tty, 0), ENXIO, "[8.18] which loses its own only");
	CHECK(call(s, ag_open_tty, 0) >= 0, "[8.18] the leader keeps it");
	call(j, ag_catch, SIGHUP);
	call(j, ag_catch, SIGCONT);
	call(s, ag_catch, SIGHUP);
	REQUIRE(call(s, ag_tcsetpgrp, j->pid) == 0);
	CHECK_OK(call(s, ag_notty, 0), "[8.18] TIOCNOTTY by the leader");
	CHECK(AWAIT(siglog_count(j->pid, SIGHUP) == 1 && siglog_count(j->pid, SIGCONT) == 1), "[8.18] the foreground group gets SIGHUP and SIGCONT");
	struct sigrec *hup = siglog_get(j->pid, SIGHUP, 0);
	CHECK(hup && hup->code == SI_USER && hup->pid == s->pid, "[8.18] as from the leader's kill");
	CHECK_ERR(call(j, ag_open_tty, 0), ENXIO, "[8.18] all members lose the terminal");
	retire(m, s);
	retire(j, s);
	retire(s, NULL);
}

CASE(leader_exits)
{
	struct agent *s = leader(), *j = job(s), *b = job(s);
	call(j, ag_catch, SIGHUP);
	call(j, ag_catch, SIGCONT);
	call(b, ag_catch, SIGHUP);
	REQUIRE(call(s, ag_tcsetpgrp, j->pid) == 0);
	retire(s, NULL);
	CHECK(AWAIT(siglog_count(j->pid, SIGHUP) == 1), "[8.19] the leader's exit: SIGHUP to the foreground group");
	CHECK_EQ(hits(j, SIGCONT), 0, "[8.19] no SIGCONT");
	CHECK_EQ(hits(b, SIGHUP), 0, "[8.19] nothing to background groups");
	CHECK_ERR(call(j, ag_open_tty, 0), ENXIO, "[8.19] the terminal is dropped for all");
	CHECK_EQ(proc_stat(j->pid, 7), 0, "[8.19] tty_nr is 0");
	CHECK_EQ(call(j, ag_write, 0), 1, "[8.19] open descriptors keep working");
	quit(j, 0);
	quit(b, 0);
}

CASE(master_closed)
{
	struct agent *s = leader(), *j = job(s);
	call(s, ag_catch, SIGHUP);
	call(s, ag_catch, SIGCONT);
	call(j, ag_catch, SIGHUP);
	REQUIRE(call(s, ag_tcsetpgrp, j->pid) == 0);
	post(j, ag_read, 0);
	REQUIRE(await_blocked_in(j));
	close(master);
	CHECK_EQ(finish(j), -EIO, "[8.22] a read that waits when the master is closed: EIO");
	CHECK(AWAIT(siglog_count(s->pid, SIGHUP) == 1 && siglog_count(s->pid, SIGCONT) == 1), "[8.20] the master is closed: SIGHUP and SIGCONT to the leader");
	CHECK_EQ(hits(j, SIGHUP), 0, "[8.20] not to others in the foreground");
	CHECK_EQ(call(j, ag_read, 0), 0, "[8.22] the slave reads 0");
	CHECK_EQ(call(j, ag_write, 0), -EIO, "[8.22] writes EIO");
	CHECK_EQ(call(j, ag_setattr, 0), -EIO, "[8.22] tcgetattr EIO");
	struct pollfd p = { slave, POLLIN | POLLOUT, 0 };
	CHECK(poll(&p, 1, 0) == 1 && p.revents == (POLLIN | POLLOUT | POLLERR | POLLHUP), "[8.22] poll: IN, OUT, ERR, HUP");
	CHECK(call(j, ag_open_slave, O_NOCTTY) == -1, "[8.22] it cannot be opened again");
	quit(j, 0);
	REQUIRE(call(s, ag_reap, j->pid) == j->pid);
	retire(s, NULL);
}

CASE(line_discipline)
{
	char b[64];
	REQUIRE(open_pty());
	REQUIRE(write(master, "abc", 3) == 3);
	fcntl(slave, F_SETFL, O_NONBLOCK);
	CHECK_ERR(read(slave, b, 64), EAGAIN, "[tty] canonical: nothing before the end of the line");
	REQUIRE(write(master, "\177d\n", 3) == 3);
	CHECK(read(slave, b, 64) == 4 && !memcmp(b, "abd\n", 4), "[tty] the line, with what was erased taken out");
	int n = read(master, b, 64);
	CHECK(n > 0 && !memcmp(b, "abc", 3), "[tty] and it is echoed");
	REQUIRE(write(master, "\004", 1) == 1);
	CHECK_EQ(read(slave, b, 64), 0, "[tty] VEOF: end of file");
	REQUIRE(write(slave, "x\n", 2) == 2);
	struct pollfd p = { master, POLLIN, 0 };
	REQUIRE(poll(&p, 1, deadline_ms) == 1);
	n = read(master, b, 64);
	CHECK(n >= 3 && !memcmp(b + n - 3, "x\r\n", 3), "[tty] output: newline becomes carriage return and newline");
	struct termios t;
	CHECK_OK(tcgetattr(slave, &t), "[tty] tcgetattr");
	cfmakeraw(&t);
	CHECK_OK(tcsetattr(slave, TCSANOW, &t), "[tty] tcsetattr");
	REQUIRE(write(master, "q", 1) == 1);
	CHECK(read(slave, b, 64) == 1 && b[0] == 'q', "[tty] raw: each byte at once");
	struct winsize w = { 33, 77, 0, 0 }, got;
	CHECK_OK(ioctl(master, TIOCSWINSZ, &w), "[tty] TIOCSWINSZ");
	CHECK(ioctl(slave, TIOCGWINSZ, &got) == 0 && got.ws_row == 33 && got.ws_col == 77, "[tty] TIOCGWINSZ");
	CHECK(isatty(slave) && !isatty(MUST(open("/dev/null", O_RDONLY))), "[tty] isatty");
}

CASE(claims)
{
	/* a terminal goes from the leader to the children that it has afterwards; who has given it up has none to give */
	REQUIRE(open_pty());
	struct agent *s = spawn(NULL), *before, *m, *c, *n;
	REQUIRE(call(s, ag_close_master, 0) == 0);
	REQUIRE(call(s, ag_setsid, 0) == s->pid);
	before = spawn(s);
	REQUIRE(call(s, ag_sctty, 0) == 0);
	CHECK_ERR(call(before, ag_open_tty, 0), ENXIO, "[8.9] children from before the acquisition do not have the terminal");
	CHECK_EQ(proc_stat(before->pid, 7), 0, "[8.9] nor does their stat show one");
	m = spawn(s);
	CHECK(call(m, ag_open_tty, 0) >= 0, "[8.9,6.19] those of later do");
	REQUIRE(call(m, ag_notty, 0) == 0);
	CHECK_ERR(call(m, ag_notty, 0), ENOTTY, "[8.18] giving it up twice: ENOTTY");
	CHECK_ERR(call(m, ag_tcgetpgrp, 0), ENOTTY, "[8.18] it is not its own any more: TIOCGPGRP is ENOTTY");
	CHECK_EQ(proc_stat(m->pid, 7), 0, "[8.18] its stat shows none");
	c = spawn(m);
	CHECK_ERR(call(c, ag_open_tty, 0), ENXIO, "[8.18] a child of it has none");
	REQUIRE(call(m, ag_setpgid, 0) == 0);
	REQUIRE(write(master, "a\n", 2) == 2);
	CHECK_EQ(call(m, ag_read, 0), 1, "[8.18,8.13] and for whom it is not the own terminal there is no background");
	n = spawn(s);
	REQUIRE(call(n, ag_setsid, 0) == n->pid);
	CHECK_EQ(proc_stat(n->pid, 7), 0, "[8.6] a new session has no terminal");
	retire(c, m);
	retire(m, s);
	retire(n, s);
	retire(before, s);
	retire(s, NULL);
}

CASE(zombie_member)
{
	struct agent *s = leader(), *j = job(s);
	long tty = proc_stat(s->pid, 7);
	REQUIRE(tty != 0);
	quit(j, 0);
	REQUIRE(await_state(j->pid, 'Z'));
	CHECK_EQ(proc_stat(j->pid, 7), tty, "[3.22] a member keeps its terminal until it is reaped");
	quit(s, 0);
	REQUIRE(await_state(s->pid, 'Z'));
	CHECK_EQ(proc_stat(s->pid, 7), 0, "[3.22,8.19] a leader gives it up when it exits");
	CHECK_EQ(AWAIT(proc_stat(j->pid, 7) <= 0), 1, "[3.22,8.19] and with it the session's members lose it");
	reap(s->pid);
}

static long get_nonblock(long x)
{
	char c;
	(void)x;
	fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK);
	long r = read(slave, &c, 1);
	return r < 0 ? -errno : r;
}

CASE(quiet_calls)
{
	struct agent *s = leader(), *j = job(s);
	struct termios t;
	CHECK_EQ(call(j, ag_tcgetpgrp, 0), s->pid, "[8.16] TIOCGPGRP from the background");
	CHECK_EQ(proc_state(j->pid) == 'T', 0, "[8.16] stops nobody");
	CHECK_EQ(call(s, get_nonblock, 0), -EAGAIN, "[8.16] a non-blocking read with nothing to read: EAGAIN");
	call(j, ag_block, SIGTTIN);
	CHECK_EQ(call(j, get_nonblock, 0), -EIO, "[8.16] from the background the checks come first");
	CHECK_OK(tcgetattr(slave, &t), "[8.16] tcgetattr by somebody else");
	pid_t g = -1;
	CHECK(ioctl(master, TIOCGPGRP, &g) == 0 && g == s->pid, "[8.11] a master tells its slave's foreground group");
	retire(j, s);
	retire(s, NULL);
}

CASE(not_acquired)
{
	REQUIRE(open_pty());
	struct agent *s = spawn(NULL);
	REQUIRE(call(s, ag_setsid, 0) == s->pid);
	int fd = call(s, ag_open_write_only, 0);
	CHECK(fd >= 0, "[8.9] a session leader opens a terminal for writing alone");
	CHECK_ERR(call(s, ag_open_tty, 0), ENXIO, "[8.9] which does not make it the controlling terminal");
	REQUIRE(call(s, ag_sctty, 0) == 0);
	IF_ROOT("[8.9] stealing without privilege") {
		struct agent *o = spawn(NULL);
		REQUIRE(call(o, ag_setsid, 0) == o->pid);
		REQUIRE(call(o, ag_drop, 61240) == 0);
		CHECK_ERR(call(o, ag_sctty, 1), EPERM, "[8.9] arg 1 without CAP_SYS_ADMIN: EPERM");
		retire(o, NULL);
	}
	retire(s, NULL);
}

/* The serial line of a guest is a terminal that is no pseudo-terminal; elsewhere that would be somebody's. */
CASE(serial_line)
{
	int before;
	if (!on_foster() || (before = open("/dev/ttyS0", O_RDWR | O_NOCTTY)) < 0) {
		tap_skip("[8.19] a leader's exit hangs up a terminal that is no pseudo-terminal", "needs a serial line that is nobody's");
		return;
	}
	pid_t leader = fork();
	if (leader == 0) {
		setsid();
		int fd = open("/dev/ttyS0", O_RDWR);
		sh->v[0] = fd >= 0 && tcgetsid(fd) == getpid();
		siglog_catch(SIGHUP, 0);
		siglog_catch(SIGCONT, 0);
		pid_t job = fork();
		if (job == 0) {
			setpgid(0, 0);
			sh->v[5] = getpid();
			signal(SIGTTOU, SIG_IGN);
			sh->v[1] = tcsetpgrp(fd, getpid()) == 0;
			set_word(&sh->w[0], 1);
			AWAIT(siglog_count(getpid(), SIGHUP) && siglog_count(getpid(), SIGCONT));
			AWAIT(getppid() != leader);
			char c;
			struct termios t;
			sh->v[2] = siglog_count(getpid(), SIGHUP) == 1 && siglog_count(getpid(), SIGCONT) == 1;
			sh->v[3] = read(fd, &c, 1) == 0 && write(fd, "x", 1) < 0 && errno == EIO && tcgetattr(fd, &t) < 0 && errno == EIO;
			sh->v[4] = open("/dev/tty", O_RDWR) < 0 && errno == ENXIO;
			set_word(&sh->w[1], 1);
			_exit(0);
		}
		wait_word(&sh->w[0], 1);
		_exit(0);
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	wait_word(&sh->w[0], 1);
	reap(leader);
	wait_word(&sh->w[1], 1);
	reap(sh->v[5]);
	char c;
	CHECK(sh->v[0] && sh->v[1], "[8.19] a session on a serial line, with a job in the foreground");
	CHECK(sh->v[2], "[8.19] its leader exits: the foreground gets SIGHUP and SIGCONT");
	CHECK(sh->v[3], "[8.19] what was open is dead: reads 0, writes EIO, tcgetattr EIO");
	CHECK(sh->v[4], "[8.19] and nobody has the terminal");
	CHECK(read(before, &c, 1) == 0 && write(before, "x", 1) < 0 && errno == EIO, "[8.19] so are others' descriptors");
	int fd = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
	struct termios t;
	CHECK(fd >= 0 && tcgetattr(fd, &t) == 0, "[8.19] opened again, it works");
}
