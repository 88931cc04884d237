/* aio.c - io_setup, io_submit, io_getevents, io_pgetevents, io_cancel, io_destroy, and what becomes of contexts (3.23, 6.18, 10.10). */
#include "lib/tap.h"

#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#define PAGE 4096UL

/* struct aio_ring, which libraries read. */
struct ring {
	unsigned id, nr, head, tail, magic, compat, incompat, header;
	struct io_event events[];
};

static long setup(unsigned n, aio_context_t *c) { return syscall(SYS_io_setup, n, c); }
static long destroy(aio_context_t c) { return syscall(SYS_io_destroy, c); }
static long submit(aio_context_t c, long n, struct iocb **list) { return syscall(SYS_io_submit, c, n, list); }
static long get(aio_context_t c, long min, long max, void *events, void *timeout)
{
	return syscall(SYS_io_getevents, c, min, max, events, timeout);
}
static long cancel(aio_context_t c, struct iocb *io)
{
	struct io_event e;
	return syscall(SYS_io_cancel, c, io, &e);
}

static aio_context_t ctx;
static struct io_event ev[8];
static struct iocb io, *list[2] = { &io };
static struct timespec zero;
static char buf[64];
static int fd, pfd[2];

static void set_up(void)
{
	ctx = 0;
	MUST(setup(4, &ctx));
	fd = MUST(open(tmp_path("f"), O_RDWR | O_CREAT | O_TRUNC, 0644));
	REQUIRE(write(fd, "0123456789", 10) == 10);
	MUST(pipe(pfd));
}

static struct iocb *request(int op, int file, void *at, size_t len, long long offset)
{
	io = (struct iocb){ .aio_lio_opcode = op, .aio_fildes = file, .aio_buf = (unsigned long)at, .aio_nbytes = len,
			    .aio_offset = offset, .aio_data = 0x1122334455667788ULL, .aio_key = 7 };
	return &io;
}

static long put(int op, int file, void *at, size_t len, long long offset)
{
	request(op, file, at, len, offset);
	return submit(ctx, 1, list);
}

/* Submits, and returns what its event says; -1000 if there is none. */
static long long done(int op, int file, void *at, size_t len, long long offset)
{
	MUST(put(op, file, at, len, offset));
	if (get(ctx, 1, 8, ev, NULL) != 1 || ev[0].data != io.aio_data || ev[0].obj != (unsigned long)&io || ev[0].res2)
		return -1000;
	return ev[0].res;
}

static long aio_nr(void)
{
	char b[32];
	return read_file("/proc/sys/fs/aio-nr", b, sizeof b) > 0 ? atol(b) : -1;
}

static bool ring_in_maps(void)
{
	static char b[65536];
	REQUIRE(read_file("/proc/self/maps", b, sizeof b) > 0);
	return strstr(b, "/[aio] (deleted)\n") != NULL;
}

CASE(setup_errors)
{
	aio_context_t c = 0;
	CHECK_ERR(setup(0, &c), EINVAL, "[fd] io_setup for no requests: EINVAL");
	CHECK_ERR(setup(1, BADPTR), EFAULT, "[fd] io_setup, bad pointer: EFAULT");
	CHECK_ERR(setup(-1, &c), EINVAL, "[fd] for 2^32-1 requests: EINVAL");
	CHECK_ERR(setup(0x800000, &c), EINVAL, "[fd] for 2^23: EINVAL");
	CHECK_ERR(setup(100000, &c), EAGAIN, "[fd] for more than fs.aio-max-nr: EAGAIN");
	c = 5;
	CHECK_ERR(setup(1, &c), EINVAL, "[fd] a name that is not 0 at first: EINVAL");
	char *ro = map_readonly();
	CHECK_ERR(setup(1, (aio_context_t *)ro), EFAULT, "[fd] a name that can't be stored: EFAULT");
	CHECK(!ring_in_maps(), "[fd] then there is no context");
	long before = aio_nr();
	c = 0;
	CHECK_OK(setup(1, &c), "[fd] io_setup");
	struct ring *r = (struct ring *)c;
	CHECK(r->magic == 0xa10a10a1 && r->compat == 1 && r->incompat == 0 && r->header == 32, "[fd] its name is the address of a ring");
	CHECK(r->nr == (PAGE - 32) / 32 && r->head == 0 && r->tail == 0, "[fd] which is a page and empty");
	CHECK(ring_in_maps(), "[fd] maps calls it [aio]");
	CHECK(AWAIT(aio_nr() == before + 1), "[fd] fs.aio-nr counts what was asked for");
	aio_context_t d = 0;
	CHECK_OK(setup(300, &d), "[fd] a second one");
	CHECK(((struct ring *)d)->nr > 600 && ((struct ring *)d)->id != r->id, "[fd] a larger one, with another id");
	CHECK_OK(destroy(d), "[fd] io_destroy");
	CHECK_ERR(destroy(d), EINVAL, "[fd] twice: EINVAL");
	CHECK_ERR(destroy(0), EINVAL, "[fd] of nothing: EINVAL");
	CHECK_OK(destroy(c), "[fd] io_destroy of the first");
	CHECK(!ring_in_maps(), "[fd] unmaps the ring");
	CHECK(AWAIT(aio_nr() == before), "[fd] and counts back");
	CHECK_ERR(submit(c, 1, list), EINVAL, "[fd] io_submit to what was destroyed: EINVAL");
	CHECK_ERR(get(c, 0, 1, ev, &zero), EINVAL, "[fd] io_getevents: EINVAL");
	CHECK_ERR(cancel(c, &io), EINVAL, "[fd] io_cancel: EINVAL");
}

static bool set_max_nr(const char *text)
{
	int f = open("/proc/sys/fs/aio-max-nr", O_WRONLY);
	bool ok = f >= 0 && write(f, text, strlen(text)) == (ssize_t)strlen(text);
	close(f);
	return ok;
}

CASE(max_nr)
{
	NEED_ROOT("[fd] fs.aio-max-nr");
	char old[32];
	REQUIRE(read_file("/proc/sys/fs/aio-max-nr", old, sizeof old) > 0);
	long now = aio_nr();
	char text[32];
	sprintf(text, "%ld", now + 10);
	aio_context_t c = 0, d = 0;
	REQUIRE(set_max_nr(text));
	long a = setup(10, &c), b = setup(1, &d);
	int err = errno;
	REQUIRE(set_max_nr(old));
	CHECK(a == 0, "[fd] as many requests as fs.aio-max-nr says");
	CHECK(b == -1 && err == EAGAIN, "[fd] one more: EAGAIN");
}

CASE(submit_errors)
{
	set_up();
	request(IOCB_CMD_PREAD, fd, buf, 4, 0);
	CHECK_EQ(submit(ctx, 0, list), 0, "[fd] io_submit of nothing");
	CHECK_ERR(submit(ctx, -1, list), EINVAL, "[fd] of -1 requests: EINVAL");
	CHECK_ERR(submit(0, 1, list), EINVAL, "[fd] to no context: EINVAL");
	CHECK_ERR(submit((aio_context_t)buf, 1, list), EINVAL, "[fd] to other memory: EINVAL");
	CHECK_ERR(submit(ctx, 1, BADPTR), EFAULT, "[fd] a bad list: EFAULT");
	struct iocb *bad[] = { BADPTR, &io };
	CHECK_ERR(submit(ctx, 2, bad), EFAULT, "[fd] a bad request: EFAULT");
	struct iocb *second[] = { &io, BADPTR };
	CHECK_EQ(submit(ctx, 2, second), 1, "[fd] what comes before a bad request is submitted");
	CHECK_EQ(get(ctx, 0, 8, ev, &zero), 1, "[fd] (its event)");
	CHECK_ERR(put(IOCB_CMD_PREAD, 999, buf, 4, 0), EBADF, "[fd] no such descriptor: EBADF");
	CHECK_ERR(put(IOCB_CMD_PREAD, MUST(open(tmp_path("f"), O_PATH)), buf, 4, 0), EBADF, "[fd] an O_PATH descriptor: EBADF");
	CHECK_ERR(put(IOCB_CMD_NOOP, fd, buf, 4, 0), EINVAL, "[fd] IOCB_CMD_NOOP is none: EINVAL");
	CHECK_ERR(put(4, fd, buf, 4, 0), EINVAL, "[fd] operation 4: EINVAL");
	CHECK_ERR(put(99, fd, buf, 4, 0), EINVAL, "[fd] operation 99: EINVAL");
	CHECK_ERR(put(IOCB_CMD_PWRITE, MUST(open(tmp_path("f"), O_RDONLY)), buf, 4, 0), EBADF, "[fd] a write to what is open for reading: EBADF");
	CHECK_ERR(put(IOCB_CMD_PREAD, MUST(open(tmp_path("f"), O_WRONLY)), buf, 4, 0), EBADF, "[fd] and the other way round: EBADF");
	CHECK_ERR(put(IOCB_CMD_PREAD, MUST(open("/", O_RDONLY)), buf, 4, 0), EINVAL, "[fd] a read of a directory: EINVAL");
	CHECK_ERR(put(IOCB_CMD_PREAD, fd, buf, -5, 0), EINVAL, "[fd] a negative length: EINVAL");
	CHECK_ERR(put(IOCB_CMD_PREAD, fd, buf, 4, -1), EINVAL, "[fd] a negative offset: EINVAL");
	CHECK_ERR(put(IOCB_CMD_PREAD, fd, (void *)-8L, 4, 0), EFAULT, "[fd] a buffer in the kernel: EFAULT");
	request(IOCB_CMD_PREAD, fd, buf, 4, 0)->aio_reserved2 = 1;
	CHECK_ERR(submit(ctx, 1, list), EINVAL, "[fd] the reserved field: EINVAL");
	request(IOCB_CMD_PREAD, fd, buf, 4, 0)->aio_rw_flags = 0x10000;
	CHECK_ERR(submit(ctx, 1, list), EOPNOTSUPP, "[fd] an unknown flag: EOPNOTSUPP");
	request(IOCB_CMD_PREAD, fd, buf, 4, 0)->aio_flags = IOCB_FLAG_RESFD;
	io.aio_resfd = 999;
	CHECK_ERR(submit(ctx, 1, list), EBADF, "[fd] no such eventfd: EBADF");
	io.aio_resfd = fd;
	CHECK_ERR(submit(ctx, 1, list), EINVAL, "[fd] it is none: EINVAL");
	request(IOCB_CMD_PREAD, fd, buf, 4, 0)->aio_flags = IOCB_FLAG_IOPRIO;
	io.aio_reqprio = 7 << 13;
	CHECK_ERR(submit(ctx, 1, list), EINVAL, "[fd] a weight that is none: EINVAL");
	CHECK_ERR(put(IOCB_CMD_FSYNC, fd, buf, 0, 0), EINVAL, "[fd] a sync with a buffer: EINVAL");
	CHECK_ERR(put(IOCB_CMD_FSYNC, pfd[0], NULL, 0, 0), EINVAL, "[fd] a sync of a pipe: EINVAL");
	CHECK_ERR(put(IOCB_CMD_POLL, pfd[0], (void *)0x10000, 0, 0), EINVAL, "[fd] a poll for more than 16 bits: EINVAL");
	CHECK_ERR(put(IOCB_CMD_POLL, pfd[0], (void *)POLLIN, 0, 1), EINVAL, "[fd] with an offset: EINVAL");
	CHECK_ERR(put(IOCB_CMD_POLL, pfd[0], (void *)POLLIN, 1, 0), EINVAL, "[fd] with a length: EINVAL");
	CHECK_ERR(put(IOCB_CMD_POLL, fd, (void *)POLLPRI, 0, 0), EINVAL, "[fd] a poll of a regular file for what never comes: EINVAL");
	CHECK_EQ(get(ctx, 0, 8, ev, &zero), 0, "[fd] none of these has left an event");
}

CASE(transfers)
{
	set_up();
	CHECK_EQ(done(IOCB_CMD_PREAD, fd, buf, 4, 2), 4, "[fd] a read");
	CHECK(!memcmp(buf, "2345", 4), "[fd] reads from its offset");
	CHECK_EQ(io.aio_key, 0, "[fd] the key is set to 0");
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 10, "[fd] and leaves the file's alone");
	CHECK_EQ(done(IOCB_CMD_PREAD, fd, buf, 4, 1000), 0, "[fd] beyond the end: 0");
	CHECK_EQ(done(IOCB_CMD_PWRITE, fd, "ab", 2, 8), 2, "[fd] a write");
	struct iovec v[2] = { { buf, 3 }, { buf + 10, 4 } };
	CHECK_EQ(done(IOCB_CMD_PREADV, fd, v, 2, 5), 5, "[fd] a read into a list");
	CHECK(!memcmp(buf, "567", 3) && !memcmp(buf + 10, "ab", 2), "[fd] finds what was written");
	CHECK_EQ(done(IOCB_CMD_PWRITEV, fd, v, 2, 0), 7, "[fd] a write from a list");
	CHECK_EQ(done(IOCB_CMD_PREADV, fd, NULL, 0, 0), 0, "[fd] an empty list");
	CHECK_ERR(put(IOCB_CMD_PREADV, fd, v, 1025, 0), EINVAL, "[fd] a list too long: EINVAL");
	CHECK_ERR(put(IOCB_CMD_PREADV, fd, BADPTR, 1, 0), EFAULT, "[fd] a bad list of buffers: EFAULT");
	CHECK_EQ(done(IOCB_CMD_PWRITE, fd, BADPTR, 4, 0), -EFAULT, "[fd] a bad buffer shows in the event");
	CHECK_EQ(done(IOCB_CMD_FSYNC, fd, NULL, 0, 0), 0, "[fd] a sync");
	CHECK_EQ(done(IOCB_CMD_FDSYNC, fd, NULL, 0, 0), 0, "[fd] of data");
	REQUIRE(write(pfd[1], "xyz", 3) == 3);
	CHECK_EQ(done(IOCB_CMD_PREAD, pfd[0], buf, 8, 0), 3, "[fd] a read of a pipe");
	int ef = MUST(eventfd(0, EFD_NONBLOCK));
	CHECK_EQ(done(IOCB_CMD_PREAD, ef, buf, 4, 0), -EINVAL, "[fd] errors of the file show in the event");
	CHECK_EQ(done(IOCB_CMD_PREAD, ef, buf, 8, 0), -EAGAIN, "[fd] EAGAIN of an empty eventfd");
	request(IOCB_CMD_PREAD, fd, buf, 4, 0)->aio_flags = IOCB_FLAG_RESFD;
	io.aio_resfd = ef;
	CHECK_EQ(submit(ctx, 1, list), 1, "[fd] a request that tells an eventfd");
	uint64_t n = 0;
	CHECK(read(ef, &n, 8) == 8 && n == 1, "[fd] which counts its event");
	CHECK_EQ(get(ctx, 1, 8, ev, NULL), 1, "[fd] (the event)");
}

static void nothing(int sig) { (void)sig; }

CASE(signals)
{
	set_up();
	struct sigaction sa = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	MUST(sigaction(SIGALRM, &sa, NULL));
	ualarm(20000, 20000);
	CHECK_EQ(put(IOCB_CMD_PREAD, pfd[0], buf, 4, 0), 1, "[fd] a read of an empty pipe waits in io_submit");
	CHECK(get(ctx, 0, 8, ev, &zero) == 1 && ev[0].res == -EINTR, "[fd] a signal ends it with EINTR, which is never restarted");
	CHECK_ERR(get(ctx, 1, 1, ev, NULL), EINTR, "[fd] io_getevents is ended by a signal: EINTR");
	ualarm(0, 0);
	CHECK_EQ(put(IOCB_CMD_PREAD, fd, buf, 4, 0), 1, "[fd] (a request)");
	ualarm(20000, 20000);
	CHECK_EQ(get(ctx, 2, 2, ev, NULL), 1, "[fd] with fewer events than asked for, a signal ends it with what there is");
	ualarm(0, 0);

	struct { void *mask; size_t size; } s = { buf, 7 };
	CHECK_EQ(syscall(SYS_io_pgetevents, ctx, 0, 1, ev, &zero, NULL), 0, "[fd] io_pgetevents without a mask");
	CHECK_ERR(syscall(SYS_io_pgetevents, ctx, 0, 1, ev, &zero, &s), EINVAL, "[fd] a mask of a wrong size: EINVAL");
	CHECK_ERR(syscall(SYS_io_pgetevents, ctx, 0, 1, ev, &zero, BADPTR), EFAULT, "[fd] no mask: EFAULT");
	s.mask = BADPTR;
	s.size = 8;
	CHECK_ERR(syscall(SYS_io_pgetevents, ctx, 0, 1, ev, &zero, &s), EFAULT, "[fd] a bad mask: EFAULT");
	sigset_t blocked, empty, now;
	sigemptyset(&empty);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGALRM);
	MUST(sigprocmask(SIG_SETMASK, &blocked, NULL));
	siglog_catch(SIGALRM, 0);
	raise(SIGALRM);
	s.mask = &empty;
	CHECK_ERR(syscall(SYS_io_pgetevents, ctx, 1, 1, ev, NULL, &s), EINTR, "[fd] a signal that the mask lets through: EINTR");
	CHECK_EQ(siglog_count(0, SIGALRM), 1, "[fd] its handler ran");
	MUST(sigprocmask(SIG_SETMASK, NULL, &now));
	CHECK(sigismember(&now, SIGALRM), "[fd] the old mask is back");
	CHECK_EQ(done(IOCB_CMD_PREAD, fd, buf, 4, 0), 4, "[fd] (a request)");
	CHECK_EQ(put(IOCB_CMD_PREAD, fd, buf, 4, 0), 1, "[fd] (another)");
	CHECK_EQ(syscall(SYS_io_pgetevents, ctx, 1, 1, ev, NULL, &s), 1, "[fd] events are taken under the mask");
	MUST(sigprocmask(SIG_SETMASK, NULL, &now));
	CHECK(sigismember(&now, SIGALRM), "[fd] which is put back after");
}

CASE(getevents)
{
	set_up();
	struct ring *r = (struct ring *)ctx;
	CHECK_ERR(get(ctx, 2, 1, ev, NULL), EINVAL, "[fd] io_getevents, at least 2 and at most 1: EINVAL");
	CHECK_ERR(get(ctx, -1, 1, ev, NULL), EINVAL, "[fd] at least -1: EINVAL");
	CHECK_ERR(get(ctx, 0, -1, ev, NULL), EINVAL, "[fd] at most -1: EINVAL");
	CHECK_EQ(get(ctx, 0, 0, ev, NULL), 0, "[fd] none");
	CHECK_ERR(get(ctx, 0, 1, ev, BADPTR), EFAULT, "[fd] a bad time: EFAULT");
	long long start = now_ms();
	struct timespec t = { 0, 30000000 };
	CHECK_EQ(get(ctx, 1, 1, ev, &t), 0, "[fd] the time is up: 0");
	CHECK(now_ms() - start >= 29, "[fd] not before");
	CHECK_EQ(put(IOCB_CMD_PREAD, fd, buf, 4, 0), 1, "[fd] (a request)");
	CHECK(r->head == 0 && r->tail == 1 && r->events[0].res == 4, "[fd] the event lies in the ring");
	CHECK_ERR(get(ctx, 1, 1, BADPTR, NULL), EFAULT, "[fd] a bad list: EFAULT");
	CHECK_EQ(r->head, 0, "[fd] which takes nothing");
	CHECK_EQ(get(ctx, 2, 4, ev, &t), 1, "[fd] one event and the time is up: 1");
	CHECK_EQ(r->head, 1, "[fd] it is taken");
	CHECK_EQ(put(IOCB_CMD_PREAD, fd, buf, 4, 0), 1, "[fd] (a request)");
	r->head = r->tail;
	CHECK_EQ(get(ctx, 0, 4, ev, &zero), 0, "[fd] the program may take events out itself");
	int n = 0;
	while (put(IOCB_CMD_PREAD, fd, buf, 4, 0) == 1)
		n++;
	CHECK(errno == EAGAIN && n >= 4 && n < (int)r->nr, "[fd] no place for one more event: EAGAIN");
	int found = 0;
	long k;
	while ((k = get(ctx, 0, 8, ev, &zero)) > 0)
		found += k;
	CHECK_EQ(found, n, "[fd] none was lost");
	for (int i = 0; i < 300; i++)
		if (done(IOCB_CMD_PREAD, fd, buf, 4, 0) != 4)
			n = -1;
	CHECK(n >= 0, "[fd] the ring goes round");
	r->head = 0xfffffff0;
	CHECK(get(ctx, 0, 8, ev, &zero) >= 0, "[fd] a ring that the program has scribbled on harms nobody");
	char *to = (char *)0x500000000000;
	void *moved = mremap((void *)ctx, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	CHECK(moved == to, "[fd] a ring can be moved");
	CHECK_ERR(destroy(ctx), EINVAL, "[fd] its old address is no name any more: EINVAL");
	ctx = (aio_context_t)to;
	CHECK_EQ(put(IOCB_CMD_PREAD, fd, buf, 4, 0), 1, "[fd] its new one is");
	CHECK_OK(munmap(to, PAGE), "[fd] a ring can be unmapped");
	CHECK_ERR(put(IOCB_CMD_PREAD, fd, buf, 4, 0), EINVAL, "[fd] then it has no name: EINVAL");
}

static bool tells_later(int ef, uint64_t want)
{
	struct pollfd p = { ef, POLLIN, 0 };
	uint64_t n = 0;
	return poll(&p, 1, deadline_ms) == 1 && read(ef, &n, 8) == 8 && n == want;
}

CASE(polls)
{
	set_up();
	CHECK_EQ(put(IOCB_CMD_POLL, pfd[0], (void *)POLLIN, 0, 0), 1, "[fd] a poll");
	CHECK_EQ(get(ctx, 0, 8, ev, &zero), 0, "[fd] waits without a thread");
	REQUIRE(write(pfd[1], "x", 1) == 1);
	CHECK(get(ctx, 1, 8, ev, NULL) == 1 && (ev[0].res & POLLIN) && ev[0].obj == (unsigned long)&io, "[fd] until the file is ready");
	CHECK_EQ(done(IOCB_CMD_POLL, pfd[0], (void *)POLLIN, 0, 0), POLLIN, "[fd] what is ready already is told at once");
	REQUIRE(read(pfd[0], buf, 1) == 1);
	CHECK_EQ(done(IOCB_CMD_POLL, fd, (void *)(POLLIN | POLLOUT), 0, 0), POLLIN | POLLOUT, "[fd] a regular file is always");

	int ef = MUST(eventfd(0, 0));
	request(IOCB_CMD_POLL, pfd[0], (void *)POLLIN, 0, 0)->aio_flags = IOCB_FLAG_RESFD;
	io.aio_resfd = ef;
	CHECK_EQ(submit(ctx, 1, list), 1, "[fd] (a poll with an eventfd)");
	CHECK_ERR(cancel(ctx, BADPTR), EFAULT, "[fd] io_cancel of nothing: EFAULT");
	struct iocb other = io;
	CHECK_ERR(cancel(ctx, &other), EINVAL, "[fd] of what was not submitted: EINVAL");
	io.aio_key = 3;
	CHECK_ERR(cancel(ctx, &io), EINVAL, "[fd] with a wrong key: EINVAL");
	io.aio_key = 0;
	CHECK_ERR(cancel(0, &io), EINVAL, "[fd] in no context: EINVAL");
	CHECK_ERR(cancel(ctx, &io), EINPROGRESS, "[fd] io_cancel of a poll: EINPROGRESS");
	CHECK(tells_later(ef, 1), "[fd] a cancelled poll tells its eventfd");
	CHECK(get(ctx, 1, 8, ev, NULL) == 1 && ev[0].res == 0 && ev[0].obj == (unsigned long)&io, "[fd] and its event says 0");
	CHECK_ERR(cancel(ctx, &io), EINVAL, "[fd] io_cancel again: EINVAL");

	CHECK_EQ(submit(ctx, 1, list), 1, "[fd] (the poll again)");
	close(pfd[0]);
	void (*old)(int) = signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(write(pfd[1], "x", 1), 1, "[fd] a poll keeps its file open when the descriptor is closed");
	CHECK(get(ctx, 1, 8, ev, NULL) == 1 && (ev[0].res & POLLIN), "[fd] and hears of it");
	CHECK(AWAIT(write(pfd[1], "x", 1) == -1 && errno == EPIPE), "[fd] until it is done");
	signal(SIGPIPE, old);

	MUST(pipe(pfd));
	request(IOCB_CMD_POLL, pfd[0], (void *)POLLIN, 0, 0)->aio_flags = IOCB_FLAG_RESFD;
	io.aio_resfd = ef;
	uint64_t n;
	REQUIRE(read(ef, &n, 8) == 8);
	CHECK_EQ(submit(ctx, 1, list), 1, "[fd] (a poll)");
	CHECK_OK(destroy(ctx), "[fd] io_destroy cancels what waits");
	CHECK(tells_later(ef, 1), "[fd] which tells its eventfd");
}

static void *get_one(void *x)
{
	long n = get(ctx, 1, 1, ev, NULL);
	*(long *)x = n < 0 ? -errno : n;
	return x;
}

CASE(destroy_wakes)
{
	set_up();
	pthread_t t;
	long result = 1000;
	REQUIRE(pthread_create(&t, NULL, get_one, &result) == 0);
	struct timespec a_little = { 0, 20000000 };
	nanosleep(&a_little, NULL);
	CHECK_OK(destroy(ctx), "[fd] io_destroy while another thread waits for events");
	pthread_join(t, NULL);
	CHECK_EQ(result, -EINVAL, "[fd] which gets EINVAL");
}

CASE(fork_leaves_contexts)
{
	set_up();
	CHECK_EQ(put(IOCB_CMD_PREAD, fd, buf, 4, 0), 1, "[6.18] (an event that nobody has taken)");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		bool none = submit(ctx, 1, list) == -1 && errno == EINVAL && get(ctx, 0, 8, ev, &zero) == -1 && errno == EINVAL &&
			    destroy(ctx) == -1 && errno == EINVAL && cancel(ctx, &io) == -1 && errno == EINVAL;
		struct ring *r = (struct ring *)ctx;
		bool shared = ring_in_maps() && r->tail == 1 && r->events[0].res == 4;
		aio_context_t own = 0;
		bool fresh = setup(1, &own) == 0 && own != ctx;
		_exit(none | shared << 1 | fresh << 2);
	}
	int st = reap(pid);
	REQUIRE(WIFEXITED(st));
	CHECK(WEXITSTATUS(st) & 1, "[6.18] a child does not inherit contexts of asynchronous I/O");
	CHECK(WEXITSTATUS(st) & 2, "[6.18] but it has the ring's memory");
	CHECK(WEXITSTATUS(st) & 4, "[6.18] and can make its own");
	CHECK_EQ(get(ctx, 1, 8, ev, NULL), 1, "[6.18] the parent's go on");
}

/* Makes a context with a poll that waits and tells `ef`. */
static void wait_in_context(int ef)
{
	aio_context_t c = 0;
	if (setup(500, &c))
		_exit(1);
	request(IOCB_CMD_POLL, pfd[0], (void *)POLLIN, 0, 0)->aio_flags = IOCB_FLAG_RESFD;
	io.aio_resfd = ef;
	if (submit(c, 1, list) != 1)
		_exit(2);
}

CASE(exit_kills_contexts)
{
	set_up();
	long before = aio_nr();
	int ef = MUST(eventfd(0, 0));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		wait_in_context(ef);
		_exit(aio_nr() == before + 500 ? 0 : 3);
	}
	CHECK_EQ(reap(pid), 0, "[3.23] (a process exits with a context)");
	CHECK(AWAIT(aio_nr() == before), "[3.23] its contexts end with its memory");
	CHECK(tells_later(ef, 1), "[3.23] and what waited is cancelled");
	close(pfd[0]);
	signal(SIGPIPE, SIG_IGN);
	CHECK(AWAIT(write(pfd[1], "x", 1) == -1 && errno == EPIPE), "[3.23] and lets go of its file");
	pid = MUST(fork());
	if (pid == 0) {
		MUST(pipe(pfd));
		wait_in_context(ef);
		pause();
	}
	REQUIRE(AWAIT(aio_nr() == before + 500));
	kill(pid, SIGKILL);
	CHECK_EQ(reap(pid), SIGKILL, "[3.23] (one is killed)");
	CHECK(AWAIT(aio_nr() == before), "[3.23] a signal ends them as well");
}

HELPER(after_exec)
{
	aio_context_t old = strtoul(argv[1], NULL, 16);
	return (submit(old, 0, list) == -1 && errno == EINVAL) + 2 * !ring_in_maps() + 4 * (aio_nr() == atol(argv[2]));
}

CASE(exec_drops_contexts)
{
	set_up();
	long before = aio_nr();
	int ef = MUST(eventfd(0, 0));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char name[32], count[32];
		wait_in_context(ef);
		sprintf(name, "%lx", (long)ctx);
		sprintf(count, "%ld", before);
		exec_self("after_exec", name, count, NULL);
		_exit(100);
	}
	int st = reap(pid);
	REQUIRE(WIFEXITED(st));
	CHECK_EQ(WEXITSTATUS(st), 7, "[10.10] execve drops contexts of asynchronous I/O, and their rings");
	CHECK(tells_later(ef, 1), "[10.10] what waited is cancelled");

	/* the memory's other user keeps them */
	request(IOCB_CMD_PREAD, fd, buf, 4, 0);
	pid = MUST(vfork());
	if (pid == 0) {
		exec_self("after_exec", "0", "0", NULL);
		_exit(100);
	}
	reap(pid);
	CHECK_EQ(submit(ctx, 1, list), 1, "[10.10] a child that shared the memory until its exec takes none from the parent");
}
