/* ttyio.c - what programs ask of a terminal (tty_ioctl(4), termios(3)): every request from either end of a pseudo-terminal,
   the settings and their locks, exclusive use, packets, external processing, hangups, full buffers, VMIN and VTIME. */
#include "lib/tap.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>

/* The kernel's own structures: those of libc have more characters. */
struct settings {
	unsigned iflag, oflag, cflag, lflag;
	unsigned char line, cc[19];
};
struct settings2 {
	struct settings s;
	unsigned input_speed, output_speed;
};
struct old_settings {
	unsigned short iflag, oflag, cflag, lflag;
	unsigned char line, cc[8];
};
#define GETS2 0x802c542a
#define SETS2 0x402c542b
#define GETA 0x5405
#define SETA 0x5406
#define EXTERNAL 0200000	/* EXTPROC */

static int master, slave;
static char name[40];

static void open_pair(int flags)
{
	int zero = 0, n = 0;
	need_devpts();
	master = MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK));
	MUST(ioctl(master, TIOCSPTLCK, &zero));
	MUST(ioctl(master, TIOCGPTN, &n));
	snprintf(name, sizeof name, "/dev/pts/%d", n);
	slave = MUST(open(name, O_RDWR | O_NOCTTY | flags));
}

static void close_pair(void)
{
	close(slave);
	close(master);
}

static struct settings get(void)
{
	struct settings s = { 0 };
	ioctl(slave, TCGETS, &s);
	return s;
}

static void local(unsigned clear, unsigned set)
{
	struct settings s = get();
	s.lflag = (s.lflag & ~clear) | set;
	MUST(ioctl(slave, TCSETS, &s));
}

/* What comes within the deadline, which has to be `want`. */
static bool reads(int fd, const char *want, int n)
{
	char b[256];
	int got = 0, r;
	AWAIT((r = read(fd, b + got, sizeof b - got), got += r > 0 ? r : 0, got >= n));
	if (got != n || memcmp(b, want, n)) {
		tap_note("%d bytes instead of %d, the first are %02x %02x", got, n, b[0] & 255, b[1] & 255);
		return false;
	}
	return true;
}

static int events(int fd)
{
	struct pollfd p = { fd, POLLIN | POLLPRI | POLLOUT, 0 };
	poll(&p, 1, 0);
	return p.revents;
}

static int waiting(int fd)
{
	int n = -1;
	ioctl(fd, FIONREAD, &n);
	return n;
}

/* errno of a request with this argument, 0 if it works. */
static int asks(int fd, unsigned request, void *arg)
{
	return ioctl(fd, request, arg) < 0 ? errno : 0;
}

/* Requests with a bad pointer, a pointer to zeros and the number 1, from both ends. */
static const struct {
	unsigned request;
	const char *name;
	int slave[3], master[3];
} table[] = {
	{ TCGETS, "TCGETS", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TCSETS, "TCSETS", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ GETA, "TCGETA", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ SETA, "TCSETA", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ GETS2, "TCGETS2", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ SETS2, "TCSETS2", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TCXONC, "TCXONC", { EINVAL, EINVAL, 0 }, { EINVAL, EINVAL, 0 } },
	{ TCFLSH, "TCFLSH", { EINVAL, EINVAL, 0 }, { EINVAL, EINVAL, 0 } },
	{ TIOCEXCL, "TIOCEXCL", { 0, 0, 0 }, { 0, 0, 0 } },
	{ TIOCNXCL, "TIOCNXCL", { 0, 0, 0 }, { 0, 0, 0 } },
	{ TIOCGEXCL, "TIOCGEXCL", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TIOCNOTTY, "TIOCNOTTY", { ENOTTY, ENOTTY, ENOTTY }, { ENOTTY, ENOTTY, ENOTTY } },
	{ TIOCGPGRP, "TIOCGPGRP", { ENOTTY, ENOTTY, ENOTTY }, { EFAULT, 0, EFAULT } },
	{ TIOCSPGRP, "TIOCSPGRP", { EFAULT, ENOTTY, EFAULT }, { EFAULT, ENOTTY, EFAULT } },
	{ TIOCGSID, "TIOCGSID", { ENOTTY, ENOTTY, ENOTTY }, { ENOTTY, ENOTTY, ENOTTY } },
	{ TIOCOUTQ, "TIOCOUTQ", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TIOCGWINSZ, "TIOCGWINSZ", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TIOCSWINSZ, "TIOCSWINSZ", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TIOCGSOFTCAR, "TIOCGSOFTCAR", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TIOCSSOFTCAR, "TIOCSSOFTCAR", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TIOCGETD, "TIOCGETD", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TIOCSETD, "TIOCSETD", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TCSBRK, "TCSBRK", { 0, 0, 0 }, { 0, 0, 0 } },
	{ TCSBRKP, "TCSBRKP", { 0, 0, 0 }, { 0, 0, 0 } },
	{ TIOCSBRK, "TIOCSBRK", { 0, 0, 0 }, { 0, 0, 0 } },
	{ TIOCCBRK, "TIOCCBRK", { 0, 0, 0 }, { 0, 0, 0 } },
	{ TIOCMGET, "TIOCMGET", { ENOTTY, ENOTTY, ENOTTY }, { ENOTTY, ENOTTY, ENOTTY } },
	{ TIOCGSERIAL, "TIOCGSERIAL", { ENOTTY, ENOTTY, ENOTTY }, { ENOTTY, ENOTTY, ENOTTY } },
	{ TIOCGDEV, "TIOCGDEV", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TIOCGLCKTRMIOS, "TIOCGLCKTRMIOS", { EFAULT, 0, EFAULT }, { EFAULT, 0, EFAULT } },
	{ TIOCGPTN, "TIOCGPTN", { ENOTTY, ENOTTY, ENOTTY }, { EFAULT, 0, EFAULT } },
	{ TIOCSPTLCK, "TIOCSPTLCK", { ENOTTY, ENOTTY, ENOTTY }, { EFAULT, 0, EFAULT } },
	{ TIOCPKT, "TIOCPKT", { ENOTTY, ENOTTY, ENOTTY }, { EFAULT, 0, EFAULT } },
	{ TIOCGPKT, "TIOCGPKT", { ENOTTY, ENOTTY, ENOTTY }, { EFAULT, 0, EFAULT } },
	{ TIOCSIG, "TIOCSIG", { ENOTTY, ENOTTY, ENOTTY }, { EINVAL, EINVAL, EINVAL } },
};

CASE(requests)
{
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		int got[6];
		char text[80];
		long *zeros = map_pages(1);
		for (int end = 0; end < 2; end++) {
			open_pair(O_NONBLOCK);
			int fd = end ? master : slave;
			memset(zeros, 0, 4096);
			got[3 * end] = asks(fd, table[i].request, BADPTR);
			got[3 * end + 1] = asks(fd, table[i].request, zeros);
			got[3 * end + 2] = asks(fd, table[i].request, (void *)1);
			close_pair();
		}
		bool at_slave = !memcmp(got, table[i].slave, sizeof table[i].slave);
		bool at_master = !memcmp(got + 3, table[i].master, sizeof table[i].master);
		if (!at_slave || !at_master)
			tap_note("slave %d %d %d, master %d %d %d", got[0], got[1], got[2], got[3], got[4], got[5]);
		snprintf(text, sizeof text, "[tty] %s from the slave", table[i].name);
		CHECK(at_slave, text);
		snprintf(text, sizeof text, "[tty] %s from the master", table[i].name);
		CHECK(at_master, text);
	}
	open_pair(O_NONBLOCK);
	CHECK_ERR(ioctl(slave, TIOCGPTPEER, 0), EIO, "[tty] TIOCGPTPEER from the slave: EIO");
	int other = 1;
	CHECK_ERR(ioctl(slave, TIOCSETD, &other), EINVAL, "[tty] a line discipline that is not there: EINVAL");
	unsigned dev = 0;
	struct stat st;
	CHECK(ioctl(master, TIOCGDEV, &dev) == 0 && fstat(slave, &st) == 0 && dev == (unsigned)st.st_rdev,
	      "[tty] TIOCGDEV: the slave's number, from the master as well");
	close_pair();
}

/* ---- settings ---- */

CASE(line_settings)
{
	open_pair(O_NONBLOCK);
	struct settings s = get();
	CHECK(s.iflag == 0x500 && s.oflag == 5 && s.cflag == 0xbf && s.lflag == 0x8a3b && s.line == 0,
	      "[tty] what a fresh pseudo-terminal has");
	static const struct { unsigned set, got, input, output; } speeds[] = {
		{ 0, 0xb0, 0, 0 },
		{ 0xf, 0xbf, 38400, 38400 },
		{ 0x1003, 0x10b3, 230400, 230400 },
		{ 0x100, 0xb0, 0, 0 },		/* no parity */
		{ 0x10, 0xb0, 0, 0 },		/* no bytes of 6 bits */
		{ 0x440, 0x4f0, 0, 0 },
		{ 0xd000d, 0xd00bd, 9600, 9600 },
		{ 0x0002000d, 0x000200bd, 75, 9600 },
		{ 0xffffffff, 0xdffffeff, 4000000, 4000000 },
	};
	int wrong = 0;
	for (unsigned i = 0; i < sizeof speeds / sizeof *speeds; i++) {
		struct settings2 t = { 0 };
		s = get();
		s.cflag = speeds[i].set;
		if (ioctl(slave, TCSETS, &s) || ioctl(slave, GETS2, &t) || t.s.cflag != speeds[i].got ||
		    t.input_speed != speeds[i].input || t.output_speed != speeds[i].output) {
			tap_note("%x: %x, %u, %u", speeds[i].set, t.s.cflag, t.input_speed, t.output_speed);
			wrong++;
		}
	}
	CHECK_EQ(wrong, 0, "[tty] control modes: 8 bits without parity; the names of speeds");
	struct settings2 t = { .s = s };
	t.s.cflag = 0x1000;
	t.input_speed = 11111;
	t.output_speed = 54321;
	CHECK(ioctl(slave, SETS2, &t) == 0 && ioctl(slave, GETS2, &t) == 0 && t.output_speed == 54321 && t.input_speed == 54321,
	      "[tty] BOTHER: a speed that is given as a number, for both directions");
	t.s.cflag = 0x1000000f;
	t.input_speed = 12345;
	CHECK(ioctl(slave, SETS2, &t) == 0 && ioctl(slave, GETS2, &t) == 0 && t.output_speed == 38400 && t.input_speed == 12345,
	      "[tty] or for the input alone");
	s = get();
	s.cflag = 0x1000;
	CHECK(ioctl(slave, TCSETS, &s) == 0 && ioctl(slave, GETS2, &t) == 0 && t.output_speed == 38400,
	      "[tty] where no number can be given it stays");
	close_pair();

	open_pair(O_NONBLOCK);
	struct old_settings o;
	memset(&o, 0xee, sizeof o);
	CHECK(ioctl(slave, GETA, &o) == 0 && o.iflag == 0x500 && o.cflag == 0xbf && o.lflag == 0x8a3b && o.cc[0] == 3 && o.cc[6] == 1,
	      "[tty] TCGETA");
	o.lflag = 3;
	o.cc[0] = 9;
	s = get();
	s.lflag |= 0x70000000;
	s.cc[11] = 'z';
	ioctl(slave, TCSETS, &s);
	CHECK_OK(ioctl(slave, SETA, &o), "[tty] TCSETA");
	s = get();
	CHECK(s.lflag == 0x70000003 && s.cc[0] == 9 && s.cc[11] == 'z', "[tty] keeps what it has no place for");
	close_pair();
}

CASE(locked_settings)
{
	NEED_ROOT("[tty] TIOCSLCKTRMIOS");
	open_pair(O_NONBLOCK);
	struct settings s = { 0 };
	CHECK(ioctl(slave, TIOCGLCKTRMIOS, &s) == 0 && s.lflag == 0, "[tty] nothing is locked at first");
	s.lflag = ECHO;
	s.cc[3] = 1;
	CHECK_OK(ioctl(slave, TIOCSLCKTRMIOS, &s), "[tty] TIOCSLCKTRMIOS");
	s = get();
	s.lflag = 0;
	s.cc[3] = 7;
	s.cc[2] = 6;
	CHECK_OK(ioctl(slave, TCSETS, &s), "[tty] a change of what is locked is no error");
	s = get();
	CHECK(s.lflag == ECHO && s.cc[3] == 0x15 && s.cc[2] == 6, "[tty] but has no effect, the rest has");
	struct agent *a = spawn(NULL);
	REQUIRE(call(a, ag_drop, 61240) == 0);
	retire(a, NULL);
	pid_t child = fork();
	if (child == 0) {
		setresuid(61240, 61240, 61240);
		_exit(asks(slave, TIOCSLCKTRMIOS, &s));
	}
	CHECK_EQ(WEXITSTATUS(reap(child)), EPERM, "[tty] and is for the privileged");
	close_pair();
}

CASE(exclusive)
{
	NEED_ROOT("[tty] TIOCEXCL");
	int is = -1;
	open_pair(O_NONBLOCK);
	MUST(chmod(name, 0666));
	CHECK(ioctl(slave, TIOCGEXCL, &is) == 0 && is == 0, "[tty] TIOCGEXCL");
	CHECK_OK(ioctl(slave, TIOCEXCL), "[tty] TIOCEXCL");
	CHECK(ioctl(slave, TIOCGEXCL, &is) == 0 && is == 1, "[tty] shows");
	is = open(name, O_RDWR | O_NOCTTY);
	CHECK(is >= 0, "[tty] the privileged open it all the same");
	close(is);
	for (int round = 0; round < 2; round++) {
		pid_t child = fork();
		if (child == 0) {
			setresuid(61240, 61240, 61240);
			_exit(open(name, O_RDWR | O_NOCTTY) < 0 ? errno : 0);
		}
		int status = WEXITSTATUS(reap(child));
		if (round == 0) {
			CHECK_EQ(status, EBUSY, "[tty] others get EBUSY");
			MUST(ioctl(slave, TIOCNXCL));
		} else {
			CHECK_EQ(status, 0, "[tty] until TIOCNXCL");
		}
	}
	close_pair();
}

/* ---- the two ends ---- */

CASE(feigned_input)
{
	NEED_ROOT("[tty] TIOCSTI");
	open_pair(O_NONBLOCK);
	CHECK_OK(ioctl(slave, TIOCSTI, "x"), "[tty] TIOCSTI");
	CHECK(reads(master, "x", 1), "[tty] is echoed like what is typed");
	CHECK_OK(ioctl(slave, TIOCSTI, "\n"), "[tty] a newline");
	CHECK(reads(slave, "x\n", 2) && reads(master, "\r\n", 2), "[tty] and read");
	CHECK_OK(ioctl(master, TIOCSTI, "m"), "[tty] TIOCSTI of the master");
	CHECK(reads(master, "m", 1), "[tty] is what the slave would have sent");
	pid_t child = fork();
	if (child == 0) {
		setresuid(61240, 61240, 61240);
		_exit(asks(slave, TIOCSTI, "y"));
	}
	CHECK_EQ(WEXITSTATUS(reap(child)), EPERM, "[tty] into a terminal that is not the own: EPERM");
	child = fork();
	if (child == 0) {
		setsid();
		ioctl(slave, TIOCSCTTY, 0);
		setresuid(61240, 61240, 61240);
		_exit(asks(slave, TIOCSTI, "y"));
	}
	CHECK_EQ(WEXITSTATUS(reap(child)), 0, "[tty] but into the own one");
	close_pair();
}

CASE(masters_requests)
{
	open_pair(O_NONBLOCK);
	MUST(write(slave, "abc", 3));
	AWAIT(waiting(master) == 3);
	CHECK_OK(tcflush(master, TCIFLUSH), "[tty] TCIFLUSH of the master");
	CHECK_ERR(read(master, name, 1), EAGAIN, "[tty] throws away what the slave has sent");
	MUST(write(master, "x\n", 2));
	AWAIT(waiting(slave) == 2);
	CHECK(tcflush(master, TCOFLUSH) == 0 && waiting(slave) == 2, "[tty] TCOFLUSH not what has arrived at the slave");
	CHECK(reads(master, "x\r\n", 3), "[tty] nor its echo");
	CHECK_OK(tcflow(master, TCOOFF), "[tty] TCOOFF of the master");
	CHECK_ERR(write(master, "q", 1), EAGAIN, "[tty] stops its writes");
	CHECK_EQ(events(master) & POLLOUT, 0, "[tty] as poll says");
	CHECK_EQ(write(slave, "q", 1), 1, "[tty] not those of the slave");
	CHECK(tcflow(master, TCOON) == 0 && write(master, "q", 1) == 1, "[tty] until TCOON");
	CHECK(reads(master, "qq", 2), "[tty] and it reads all the while");
	CHECK_OK(tcflow(master, TCIOFF), "[tty] TCIOFF of the master");
	CHECK(AWAIT(!(events(slave) & POLLOUT)), "[tty] stops the slave");
	CHECK_ERR(write(slave, "q", 1), EAGAIN, "[tty] whose writes wait");
	CHECK_OK(tcflow(master, TCION), "[tty] until TCION");
	CHECK(AWAIT(events(slave) & POLLOUT), "[tty] starts it");
	close_pair();

	pid_t child = fork();
	if (child == 0) {
		setsid();
		open_pair(O_NONBLOCK);
		int self = getpid(), none = 0x7ffffff, negative = -1, what = 0;
		what |= asks(master, TIOCSCTTY, 0) != 0;
		what |= (tcgetsid(master) != self) << 1;
		what |= (asks(master, TIOCSPGRP, &self) != 0) << 2;
		what |= (asks(master, TIOCSPGRP, &none) != ESRCH) << 3;
		what |= (asks(master, TIOCSPGRP, &negative) != EINVAL) << 4;
		what |= (asks(master, TIOCNOTTY, 0) != ENOTTY) << 5;
		what |= (open("/dev/tty", O_RDWR) < 0) << 6;
		_exit(what);
	}
	CHECK_EQ(WEXITSTATUS(reap(child)), 0, "[tty,8.9,8.11] TIOCSCTTY, TIOCSPGRP and TIOCGSID of a master are about its slave");
}

CASE(packets)
{
	int on = 1;
	open_pair(O_NONBLOCK);
	MUST(ioctl(master, TIOCPKT, &on));
	MUST(write(slave, "hi", 2));
	CHECK(reads(master, "\0hi", 3), "[tty] data comes behind a zero");
	MUST(tcflow(slave, TCOOFF));
	CHECK(reads(master, "\4", 1), "[tty] a stop of the output is told");
	MUST(tcflow(slave, TCOON));
	CHECK(reads(master, "\10", 1), "[tty] and its start");
	MUST(tcflush(slave, TCIFLUSH));
	CHECK(events(master) & POLLPRI, "[tty] poll says that something is to be told");
	CHECK(reads(master, "\1", 1), "[tty] a flush of the input");
	MUST(tcflush(slave, TCOFLUSH));
	CHECK(reads(master, "\2", 1), "[tty] of the output");
	MUST(tcflush(slave, TCIOFLUSH));
	CHECK(reads(master, "\3", 1), "[tty] of both");
	struct settings s = get();
	s.iflag &= ~IXON;
	MUST(ioctl(slave, TCSETS, &s));
	CHECK(reads(master, "\20", 1), "[tty] flow control switched off");
	s.iflag |= IXON;
	MUST(ioctl(slave, TCSETS, &s));
	CHECK(reads(master, "\40", 1), "[tty] and on");
	local(0, EXTERNAL);
	CHECK(reads(master, "\100", 1), "[tty] external processing switched on");
	local(ECHO, 0);
	CHECK(reads(master, "\100", 1), "[tty] then every change of the settings");
	s = get();
	MUST(ioctl(slave, TCSETSF, &s));
	CHECK(reads(master, "\101", 1), "[tty] with the flush of TCSETSF");
	local(EXTERNAL, 0);
	CHECK(reads(master, "\100", 1), "[tty] its end");
	local(0, ECHONL);
	CHECK_ERR(read(master, name, 1), EAGAIN, "[tty] and then no more");
	close_pair();
}

CASE(external_processing)
{
	open_pair(O_NONBLOCK);
	local(0, EXTERNAL);
	MUST(write(master, "ab\3\r\x7f", 5));
	CHECK(reads(slave, "ab\3\r\x7f", 5), "[tty] EXTPROC: bytes are given as they come, in canonical mode too");
	CHECK_ERR(read(master, name, 1), EAGAIN, "[tty] without echo or signal");
	MUST(write(master, "\4", 1));
	AWAIT(waiting(slave) == 1);
	CHECK_EQ(read(slave, name, 9), 0, "[tty] an end-of-file character alone is the end of the file");
	MUST(write(master, "a\4", 2));
	CHECK(reads(slave, "a\4", 2), "[tty] among others it is a byte like them");
	MUST(write(master, "half", 4));
	AWAIT(waiting(slave) == 4);
	local(EXTERNAL, 0);
	CHECK_EQ(waiting(slave), 4, "[tty] without it what is there becomes a line");
	close_pair();
}

/* ---- vhangup ---- */

CASE(hung_up)
{
	NEED_ROOT("[8.22] vhangup");
	for (int how = 0; how < 2; how++) {
		pid_t child = fork();
		if (child == 0) {
			setsid();
			open_pair(O_NONBLOCK);
			siglog_catch(SIGHUP, 0);
			siglog_catch(SIGCONT, 0);
			ioctl(slave, TIOCSCTTY, 0);
			pid_t job = fork();
			if (job == 0) {
				setpgid(0, 0);
				signal(SIGTTOU, SIG_IGN);
				tcsetpgrp(slave, getpid());
				set_word(&sh->w[2 * how], 1);
				wait_word(&sh->w[2 * how + 1], 1);
				_exit(open("/dev/tty", O_RDWR) >= 0 || errno != ENXIO);
			}
			wait_word(&sh->w[2 * how], 1);
			sh->v[0] = how ? syscall(SYS_vhangup) : ioctl(slave, TIOCVHANGUP);
			sh->v[1] = siglog_count(getpid(), SIGHUP) == 1 && siglog_count(getpid(), SIGCONT) == 1;
			sh->v[2] = siglog_count(job, SIGHUP) + siglog_count(job, SIGCONT);
			sh->v[3] = open("/dev/tty", O_RDWR) < 0 ? errno : 0;
			char c;
			sh->v[4] = read(slave, &c, 1) == 0 && write(slave, "w", 1) < 0 && errno == EIO;
			sh->v[5] = asks(slave, TCGETS, map_pages(1)) == EIO && asks(slave, TIOCSPGRP, &job) == ENOTTY;
			sh->v[6] = events(slave);
			sh->v[7] = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
			sh->v[8] = sh->v[7] >= 0 && write(sh->v[7], "n", 1) == 1 && reads(master, "n", 1);
			sh->v[9] = write(slave, "w", 1) < 0 && errno == EIO;
			set_word(&sh->w[2 * how + 1], 1);
			int status;
			waitpid(job, &status, 0);
			_exit(status != 0);
		}
		int status = reap(child);
		CHECK_EQ(sh->v[0], 0, how ? "[8.22] vhangup(2)" : "[8.22] TIOCVHANGUP");
		CHECK(sh->v[1], "[8.20] the session's leader gets SIGHUP and SIGCONT");
		CHECK_EQ(sh->v[2], 0, "[8.20] nobody else does");
		CHECK_EQ(sh->v[3], ENXIO, "[8.22] and has no terminal any more");
		CHECK_EQ(status, 0, "[8.22] nor do others of the session");
		CHECK(sh->v[4], "[8.22] what was open reads 0 and writes EIO");
		CHECK(sh->v[5], "[8.22] requests are EIO, TIOCSPGRP ENOTTY");
		CHECK_EQ(sh->v[6] & (POLLIN | POLLOUT | POLLERR | POLLHUP), POLLIN | POLLOUT | POLLERR | POLLHUP,
			 "[8.22] poll says IN, OUT, ERR, HUP");
		CHECK(sh->v[8], "[8.22] opened again, the terminal works");
		CHECK(sh->v[9], "[8.22] but not by the old descriptor");
	}
	pid_t child = fork();
	if (child == 0) {
		open_pair(O_NONBLOCK);
		setresuid(61240, 61240, 61240);
		_exit(asks(slave, TIOCVHANGUP, 0) != EPERM || syscall(SYS_vhangup) == 0 || errno != EPERM);
	}
	CHECK_EQ(WEXITSTATUS(reap(child)), 0, "[8.22] both are for the privileged");
}

/* ---- buffers and timing ---- */

CASE(full_buffers)
{
	static char big[20000];
	memset(big, 'a', sizeof big);
	open_pair(O_NONBLOCK);
	local(ECHO | ICANON, 0);
	CHECK_EQ(write(master, big, 6000), 6000, "[tty] more can be typed than the line discipline holds");
	CHECK(AWAIT(waiting(slave) == 4095), "[tty] which is 4095 bytes");
	CHECK_EQ(read(slave, big, sizeof big), 4095, "[tty] a read takes them");
	CHECK(AWAIT(waiting(slave) == 1905), "[tty] and then the rest has room");
	MUST(tcflush(slave, TCIFLUSH));
	CHECK_EQ(waiting(slave), 0, "[tty] TCIFLUSH throws all away");
	close_pair();

	open_pair(O_NONBLOCK);
	local(ECHO, 0);
	for (int i = 0; i < 6; i++)
		write(master, big, 1000);
	write(master, "\n", 1);
	CHECK(AWAIT(waiting(slave) == 4096), "[tty] a line of 6000 bytes is cut to 4095 and its newline");
	CHECK(read(slave, big, sizeof big) == 4096 && big[4095] == '\n', "[tty] as it is read");
	CHECK_ERR(read(slave, big, sizeof big), EAGAIN, "[tty] and nothing is left of it");
	close_pair();

	open_pair(O_NONBLOCK);
	local(ECHO, 0);
	memset(big, 'b', 3000);
	big[2999] = '\n';
	for (int i = 0; i < 3; i++)
		write(master, big, 3000);
	char line[4096];
	int lines = 0, got;
	AWAIT((got = read(slave, line, sizeof line), lines += got == 3000, lines == 3));
	CHECK_EQ(lines, 3, "[tty] lines that wait for room come whole");
	close_pair();
}

CASE(vmin_vtime)
{
	static const struct { int min, time, typed, nonblock, poll, got, tenths; } is[] = {
		{ 0, 0, 0, 0, 0, 0, 0 }, { 0, 0, 2, 0, 1, 2, 0 }, { 0, 0, 0, 1, 0, 0, 0 },
		{ 0, 2, 0, 0, 0, 0, 2 }, { 0, 2, 2, 0, 1, 2, 0 }, { 0, 2, 0, 1, 0, -EAGAIN, 0 },
		{ 2, 0, 2, 0, 1, 2, 0 }, { 3, 0, 2, 1, 0, 2, 0 }, { 1, 0, 4, 0, 1, 3, 0 }, { 3, 0, 4, 0, 1, 3, 0 },
		{ 2, 2, 2, 0, 1, 2, 0 }, { 3, 2, 2, 0, 1, 2, 2 }, { 9, 2, 4, 0, 1, 3, 0 }, { 3, 2, 2, 1, 1, 2, 0 },
		{ 3, 2, 0, 1, 0, -EAGAIN, 0 },
	};
	int wrong = 0;
	for (unsigned i = 0; i < sizeof is / sizeof *is; i++) {
		open_pair(is[i].nonblock ? O_NONBLOCK : 0);
		struct settings s = get();
		s.lflag &= ~(ECHO | ICANON);
		s.cc[VMIN] = is[i].min;
		s.cc[VTIME] = is[i].time;
		MUST(ioctl(slave, TCSETS, &s));
		MUST(write(master, "abcd", is[i].typed));
		AWAIT(waiting(slave) == is[i].typed);
		struct pollfd p = { slave, POLLIN, 0 };
		int polled = poll(&p, 1, 0);
		char b[3];
		long long start = now_ms();
		int got = read(slave, b, sizeof b);
		got = got < 0 ? -errno : got;
		long long ms = now_ms() - start;
		if (polled != is[i].poll || got != is[i].got || ms < is[i].tenths * 100 - 5) {
			tap_note("VMIN %d VTIME %d, %d bytes: poll %d, read %d after %lld ms", is[i].min, is[i].time, is[i].typed,
				 polled, got, ms);
			wrong++;
		}
		close_pair();
	}
	CHECK_EQ(wrong, 0, "[tty] VMIN and VTIME: what poll says, what a read gets, and when");
}

/* All of the console's and the modem's that a pseudo-terminal has not. */
CASE(reopened)
{
	open_pair(O_NONBLOCK);
	int other = ioctl(master, TIOCGPTPEER, O_WRONLY | O_NOCTTY);
	CHECK(other >= 0 && read(other, name, 1) < 0 && errno == EBADF, "[tty] TIOCGPTPEER opens as it is told");
	close(other);
	struct settings s = get();
	s.lflag &= ~(ICANON | ECHO);
	MUST(ioctl(slave, TCSETS, &s));
	close(slave);
	CHECK(AWAIT(events(master) & POLLHUP), "[tty] without a slave the master polls HUP");
	char c;
	CHECK_ERR(read(master, &c, 1), EIO, "[tty] and reads EIO");
	CHECK_EQ(write(master, "w", 1), 1, "[tty] but can be written");
	slave = MUST(open(name[0] == '/' ? name : "/dev/null", O_RDWR | O_NOCTTY | O_NONBLOCK));
	CHECK_EQ(events(master) & POLLHUP, 0, "[tty] with a new slave no more");
	CHECK_EQ(get().lflag & (ICANON | ECHO), 0, "[tty] which has the settings of before");
	CHECK(reads(slave, "w", 1), "[tty] and what was typed meanwhile");
	close_pair();
}
