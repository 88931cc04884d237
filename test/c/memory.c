/* memory.c - mmap, munmap, mprotect, mremap, brk, madvise, copy-on-write, and what faults say. */
#include "lib/tap.h"

#include <setjmp.h>

#define PAGE 4096UL

static long map6(unsigned long a, unsigned long l, long p, long f, long fd, unsigned long o)
{
	return syscall(SYS_mmap, a, l, p, f, fd, o);
}

/* ---- probing: does an access fault, and how? ---- */

static sigjmp_buf back;
static volatile int f_sig, f_code;
static void *volatile f_addr;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	f_sig = sig;
	f_code = si->si_code;
	f_addr = si->si_addr;
	siglongjmp(back, 1);
}

/* 0: fine, else the signal. */
static int probe(volatile char *p, bool write)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	f_sig = 0;
	if (sigsetjmp(back, 1) == 0) {
		if (write)
			*p = 1;
		else
			(void)*p;
	}
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	return f_sig;
}
#define READABLE(p) (probe((char *)(p), false) == 0)
#define WRITABLE(p) (probe((char *)(p), true) == 0)

CASE(mmap_anonymous)
{
	char *p = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED && ((unsigned long)p & 4095) == 0, "[mm] an anonymous mapping, page aligned");
	REQUIRE(p != MAP_FAILED);
	bool zero = true;
	for (unsigned i = 0; i < 5 * PAGE; i++)
		zero &= p[i] == 0;
	CHECK(zero, "[mm] is full of zeros");
	memset(p, 1, 5 * PAGE);
	CHECK(WRITABLE(p + 5 * PAGE - 1), "[mm] can be written to its end");
	CHECK_OK(munmap(p + PAGE, PAGE), "[mm] munmap of a page in the middle");
	CHECK(probe(p + PAGE, false) == SIGSEGV && f_code == SEGV_MAPERR && f_addr == p + PAGE, "[mm] it faults, SEGV_MAPERR, si_addr");
	CHECK(READABLE(p) && READABLE(p + 2 * PAGE) && p[0] == 1 && p[2 * PAGE] == 1, "[mm] its neighbours stay");
	CHECK_OK(munmap(p + PAGE, PAGE), "[mm] munmap of nothing is fine");
	CHECK_OK(munmap(p, 5 * PAGE), "[mm] munmap of a range with a hole");
	CHECK(!READABLE(p) && !READABLE(p + 4 * PAGE), "[mm] all is gone");
	CHECK_ERR(map6(0, 0, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL, "[mm] length 0: EINVAL");
	CHECK_ERR(map6(0, PAGE, 3, MAP_ANONYMOUS, -1, 0), EINVAL, "[mm] neither private nor shared: EINVAL");
	CHECK_ERR(map6(0, PAGE, 3, MAP_PRIVATE, -1, 0), EBADF, "[mm] no file: EBADF");
	CHECK_ERR(map6(0, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 123), EINVAL, "[mm] an offset within a page: EINVAL");
	CHECK_ERR(map6(0, ~0UL, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM, "[mm] all of the address space: ENOMEM");
	CHECK_ERR(map6(0, 1UL << 47, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM, "[mm] 128 TiB: ENOMEM");
	CHECK_ERR(munmap(p + 1, PAGE), EINVAL, "[mm] munmap of an unaligned address: EINVAL");
	CHECK_ERR(munmap(p, 0), EINVAL, "[mm] munmap of length 0: EINVAL");
	CHECK_ERR(syscall(SYS_munmap, 0x7ffffffff000UL, 1UL << 40), EINVAL, "[mm] munmap beyond the user's half: EINVAL");
	CHECK_ERR(syscall(SYS_munmap, 0xffff800000000000UL, PAGE), EINVAL, "[mm] munmap of kernel addresses: EINVAL");
}

CASE(mmap_fixed)
{
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(p != MAP_FAILED);
	memset(p, 7, 4 * PAGE);
	char *q = mmap(p + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(q == p + PAGE && q[0] == 0 && p[0] == 7 && p[2 * PAGE] == 7, "[mm] MAP_FIXED replaces what was there, and only that");
	CHECK_ERR(map6((unsigned long)p, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | 0x100000, -1, 0), EEXIST,
		  "[mm] MAP_FIXED_NOREPLACE over a mapping: EEXIST");
	MUST(munmap(p, PAGE));
	CHECK_EQ(map6((unsigned long)p, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | 0x100000, -1, 0), (long)p,
		 "[mm] MAP_FIXED_NOREPLACE in free space");
	CHECK_ERR(map6((unsigned long)p + 1, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EINVAL,
		  "[mm] MAP_FIXED unaligned: EINVAL");
	CHECK_ERR(map6(0xffff800000000000UL, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), ENOMEM,
		  "[mm] MAP_FIXED in the kernel's half: ENOMEM");
	CHECK_ERR(map6(0x7ffffffff000UL, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), ENOMEM,
		  "[mm] MAP_FIXED at the last page: ENOMEM");
	MUST(munmap(p + 2 * PAGE, PAGE));
	char *h = mmap(p + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ((long)h, (long)(p + 2 * PAGE), "[mm] a free hint is taken");
	h = mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(h != MAP_FAILED && h != p, "[mm] a hint that is taken is not");
}

CASE(protection)
{
	char *p = map_pages(4);
	memset(p, 3, 4 * PAGE);
	CHECK_OK(mprotect(p + PAGE, PAGE, PROT_READ), "[mm] mprotect of one page");
	CHECK(probe(p + PAGE + 5, true) == SIGSEGV && f_code == SEGV_ACCERR && f_addr == p + PAGE + 5, "[mm] a write: SEGV_ACCERR");
	CHECK(READABLE(p + PAGE) && WRITABLE(p) && WRITABLE(p + 2 * PAGE), "[mm] reads and its neighbours are fine");
	CHECK_OK(mprotect(p, 4 * PAGE, PROT_NONE), "[mm] PROT_NONE");
	CHECK(!READABLE(p) && f_code == SEGV_ACCERR, "[mm] no access");
	CHECK_OK(mprotect(p, 4 * PAGE, PROT_READ | PROT_WRITE), "[mm] and back");
	CHECK(p[0] == 1 && p[PAGE + 9] == 3, "[mm] with the data");
	CHECK_ERR(mprotect(p + 1, PAGE, PROT_READ), EINVAL, "[mm] unaligned: EINVAL");
	CHECK_OK(mprotect(p, 0, PROT_READ), "[mm] length 0 is fine");
	CHECK(WRITABLE(p), "[mm] and does nothing");
	MUST(munmap(p + 2 * PAGE, PAGE));
	CHECK_ERR(mprotect(p, 4 * PAGE, PROT_READ), ENOMEM, "[mm] over a hole: ENOMEM");
	CHECK_ERR(syscall(SYS_mprotect, p, PAGE, 0x100), EINVAL, "[mm] unknown protection: EINVAL");
	/* execute */
	static const unsigned char ret7[] = { 0xb8, 7, 0, 0, 0, 0xc3 };
	char *x = map_pages(1);
	memcpy(x, ret7, sizeof ret7);
	MUST(mprotect(x, PAGE, PROT_READ | PROT_EXEC));
	CHECK_EQ(((int (*)(void))(void *)x)(), 7, "[mm] PROT_EXEC makes it runnable");
}

CASE(cow)
{
	char *p = map_pages(64);
	memset(p, 1, 64 * PAGE);
	pid_t pid[4];
	for (int i = 0; i < 4; i++) {
		pid[i] = MUST(fork());
		if (pid[i] == 0) {
			int bad = 0;
			for (int k = 0; k < 64; k++)
				bad += p[k * PAGE] != 1;
			for (int k = 0; k < 64; k++)
				p[k * PAGE] = 10 + i;
			while (sh->w[0] == 0)
				sched_yield();
			for (int k = 0; k < 64; k++)
				bad += p[k * PAGE] != 10 + i || p[k * PAGE + 1] != 1;
			_exit(bad ? 1 : 0);
		}
	}
	for (int k = 0; k < 64; k += 2)
		p[k * PAGE] = 99;
	sh->w[0] = 1;
	int good = 0;
	for (int i = 0; i < 4; i++)
		good += reap(pid[i]) == 0;
	CHECK_EQ(good, 4, "[mm] four children write one memory: each sees its own and the old contents");
	bool mine = true;
	for (int k = 0; k < 64; k++)
		mine &= p[k * PAGE] == (k % 2 ? 1 : 99);
	CHECK(mine, "[mm] and the parent its own");
}

CASE(cow_system_calls)
{
	/* a system call that writes to a shared page must copy it as well */
	int pf[2];
	char *p = map_pages(1);
	MUST(pipe(pf));
	memset(p, 'a', PAGE);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		while (sh->w[0] == 0)
			sched_yield();
		_exit(p[0] == 'a' ? 0 : 1);
	}
	REQUIRE(write(pf[1], "zz", 2) == 2);
	CHECK_EQ(read(pf[0], p, 2), 2, "[mm] a read into memory shared with a child");
	sh->w[0] = 1;
	CHECK_EQ(reap(pid), 0, "[mm] does not write to the child's");
	CHECK_EQ(p[0], 'z', "[mm] but to the caller's");
}

CASE(grandchildren_cow)
{
	char *p = map_pages(1);
	int st = 0;
	*p = 0;
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			if (*p != i)
				_exit(1);
			*p = i + 1;
			continue;	/* the child goes on as the next parent */
		}
		st = reap(pid);
		if (*p != i)
			st = 2;
		if (i == 0)
			break;
		_exit(st >> 8 | (st & 0x7f));
	}
	if (*p == 20)
		_exit(0);
	CHECK_EQ(st, 0, "[mm] twenty generations, each with its own copy");
}

CASE(zero_page)
{
	/* reads of untouched memory, then a write */
	volatile char *p = map_pages(8);
	int sum = 0;
	for (int i = 0; i < 8; i++)
		sum += p[i * PAGE + 77];
	CHECK_EQ(sum, 0, "[mm] untouched memory reads as zero");
	p[77] = 5;
	CHECK(p[77] == 5 && p[78] == 0 && p[PAGE + 77] == 0, "[mm] and is private once written");
}

CASE(shared_anonymous)
{
	volatile int *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	REQUIRE(p != MAP_FAILED);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		p[0] = 4;
		p[1024] = 5;	/* first touched by the child */
		_exit(0);
	}
	REQUIRE(reap(pid) == 0);
	CHECK(p[0] == 4 && p[1024] == 5 && p[2048] == 0, "[mm] MAP_SHARED memory is shared over fork, touched before or not");
}

CASE(file_private)
{
	char buf[3 * PAGE];
	for (unsigned i = 0; i < sizeof buf; i++)
		buf[i] = i / PAGE + 'A';
	REQUIRE(write_file(tmp_path("f"), buf, 2 * PAGE + 100, 0644));
	int fd = MUST(open(tmp_path("f"), O_RDWR));
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED, "[mm] a private file mapping");
	REQUIRE(p != MAP_FAILED);
	CHECK(p[0] == 'A' && p[PAGE] == 'B' && p[2 * PAGE + 99] == 'C', "[mm] shows the file");
	CHECK(p[2 * PAGE + 100] == 0 && p[3 * PAGE - 1] == 0, "[mm] zeros behind its end in the last page");
	p[0] = 'z';
	CHECK(pread(fd, buf, 1, 0) == 1 && buf[0] == 'A', "[mm] a write does not reach the file");
	char *q = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, PAGE);
	CHECK(q != MAP_FAILED && q[0] == 'B', "[mm] an offset");
	MUST(close(fd));
	CHECK_EQ(p[PAGE + 1], 'B', "[mm] the mapping outlives the descriptor");
	MUST(unlink(tmp_path("f")));
	CHECK_EQ(p[2 * PAGE], 'C', "[mm] and the name");
	fd = MUST(open(self_path, O_RDONLY));
	CHECK_ERR(map6(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), EACCES, "[mm] shared and writable of a read-only descriptor: EACCES");
	CHECK(map6(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) > 0, "[mm] private and writable is fine");
	int w = MUST(open(tmp_path("w"), O_WRONLY | O_CREAT, 0600));
	CHECK_ERR(map6(0, PAGE, PROT_READ, MAP_PRIVATE, w, 0), EACCES, "[mm] of a write-only descriptor: EACCES");
	int pf[2];
	MUST(pipe(pf));
	CHECK_ERR(map6(0, PAGE, PROT_READ, MAP_PRIVATE, pf[0], 0), ENODEV, "[mm] of a pipe: ENODEV");
	int d = MUST(open("/", O_RDONLY | O_DIRECTORY));
	CHECK_ERR(map6(0, PAGE, PROT_READ, MAP_PRIVATE, d, 0), ENODEV, "[mm] of a directory: ENODEV");
}

CASE(file_shared)
{
	int fd = MUST(open(tmp_path("f"), O_RDWR | O_CREAT, 0644));
	MUST(ftruncate(fd, 2 * PAGE));
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED, "[mm] a shared file mapping");
	REQUIRE(p != MAP_FAILED);
	char c = 0;
	p[10] = 'x';
	CHECK(pread(fd, &c, 1, 10) == 1 && c == 'x', "[mm] what is written to it is in the file at once");
	REQUIRE(pwrite(fd, "y", 1, PAGE + 3) == 1);
	CHECK_EQ(p[PAGE + 3], 'y', "[mm] and what is written to the file is in the mapping");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		p[20] = 'c';
		_exit(0);
	}
	REQUIRE(reap(pid) == 0);
	CHECK_EQ(p[20], 'c', "[mm] shared with a child");
	CHECK(probe(p + 2 * PAGE, false) == SIGBUS && f_code == BUS_ADRERR && f_addr == p + 2 * PAGE, "[mm] beyond the end of the file: SIGBUS");
	MUST(ftruncate(fd, 3 * PAGE));
	CHECK(WRITABLE(p + 2 * PAGE), "[mm] not any more when the file has grown");
	MUST(ftruncate(fd, PAGE));
	CHECK_EQ(probe(p + PAGE, false), SIGBUS, "[mm] again when it has shrunk");
	CHECK_EQ(p[10], 'x', "[mm] what is left stays");
	CHECK_OK(msync(p, PAGE, MS_SYNC), "[mm] msync");
}

static bool shows_zero(const volatile char *p)
{
	return READABLE((char *)p) && *p == 0;
}

CASE(file_loses_pages)
{
	/* two programs, two kinds of mapping, clean pages and written ones; many files, so that the kernel's records are cleaned up */
	int fd = MUST(open(tmp_path("f"), O_RDWR | O_CREAT, 0644));
	REQUIRE(pwrite(fd, "a", 1, 0) == 1 && pwrite(fd, "b", 1, PAGE) == 1 && pwrite(fd, "c", 1, 2 * PAGE) == 1);
	char *s = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	REQUIRE(s != MAP_FAILED && p != MAP_FAILED && s[0] == 'a' && p[0] == 'a');
	p[PAGE] = 'B';
	for (int i = 0; i < 100; i++) {
		char name[16];
		sprintf(name, "g%d", i);
		int g = MUST(open(tmp_path(name), O_RDWR | O_CREAT, 0644));
		MUST(ftruncate(g, PAGE));
		char *q = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, g, 0);
		REQUIRE(q != MAP_FAILED);
		q[0] = 1;
		MUST(ftruncate(g, 0));
		if (i == 99)
			CHECK_EQ(probe(q, false), SIGBUS, "[mm] one of many files that were mapped loses its page");
		MUST(munmap(q, PAGE));
		close(g);
	}
	pid_t pid = MUST(fork());
	if (pid == 0) {
		volatile int *step = &sh->w[0];
		bool ok = s[0] == 'a' && p[PAGE] == 'B' && p[2 * PAGE] == 'c';
		set_word(step, 1);
		wait_word(step, 2);
		ok = ok && shows_zero(s) && shows_zero(s + PAGE) && shows_zero(p) && p[PAGE] == 'B' && p[2 * PAGE] == 'c';
		set_word(step, 3);
		wait_word(step, 4);
		ok = ok && shows_zero(s) && probe(s + PAGE, false) == SIGBUS && probe(p + PAGE, false) == SIGBUS &&
		     probe(p + 2 * PAGE, false) == SIGBUS;
		_exit(!ok);
	}
	wait_word(&sh->w[0], 1);
	MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * PAGE));
	CHECK(shows_zero(s) && shows_zero(s + PAGE) && shows_zero(p), "[mm] a hole in a file is one in its mappings");
	CHECK_EQ(p[PAGE], 'B', "[mm] but a copy that a private mapping has made stays");
	set_word(&sh->w[0], 2);
	wait_word(&sh->w[0], 3);
	MUST(ftruncate(fd, PAGE));
	CHECK(probe(p + PAGE, false) == SIGBUS && probe(p + 2 * PAGE, false) == SIGBUS, "[mm] copies go with the end of the file");
	set_word(&sh->w[0], 4);
	CHECK_EQ(reap(pid), 0, "[mm] a child sees the same of what it has inherited");
}

CASE(mremap_cases)
{
	char *p = map_pages(4);
	memset(p, 5, 4 * PAGE);
	CHECK_EQ((long)mremap(p, 4 * PAGE, 2 * PAGE, 0), (long)p, "[mm] mremap shrinks in place");
	CHECK(!READABLE(p + 2 * PAGE) && p[PAGE] == 5, "[mm] the tail is gone");
	char *block = mmap(p + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	REQUIRE(block == p + 2 * PAGE);
	CHECK_ERR((long)mremap(p, 2 * PAGE, 8 * PAGE, 0), ENOMEM, "[mm] no room to grow and not allowed to move: ENOMEM");
	char *q = mremap(p, 2 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q != p, "[mm] MREMAP_MAYMOVE moves");
	REQUIRE(q != MAP_FAILED);
	CHECK(q[0] == 5 && q[2 * PAGE - 1] == 5 && q[2 * PAGE] == 0, "[mm] with the data, the rest zero");
	CHECK(!READABLE(p), "[mm] the old place is free");
	char *to = map_pages(8);
	CHECK_EQ((long)mremap(q, 8 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to), (long)to, "[mm] MREMAP_FIXED");
	CHECK(to[0] == 5 && to[7 * PAGE] == 0 && !READABLE(q), "[mm] replaces what was there");
	CHECK_ERR((long)mremap(to + 1, PAGE, PAGE, 0), EINVAL, "[mm] unaligned: EINVAL");
	CHECK_ERR((long)mremap(to, PAGE, 0, 0), EINVAL, "[mm] new size 0: EINVAL");
	CHECK_ERR((long)mremap(q, PAGE, 2 * PAGE, 0), EFAULT, "[mm] of no mapping: EFAULT");
	CHECK_ERR((long)mremap(to, PAGE, PAGE, MREMAP_FIXED, q), EINVAL, "[mm] FIXED without MAYMOVE: EINVAL");
	CHECK_ERR((long)mremap(to, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + PAGE), EINVAL, "[mm] overlapping: EINVAL");
}

CASE(brk_cases)
{
	char *b = (char *)syscall(SYS_brk, 0);
	CHECK(b != NULL, "[mm] brk(0) tells the break");
	char *up = (char *)(((unsigned long)b + 2 * PAGE) & ~4095UL);
	CHECK_EQ(syscall(SYS_brk, up), (long)up, "[mm] brk grows");
	CHECK(WRITABLE(up - 1) && up[-2] == 0, "[mm] the new memory is zero and can be written");
	CHECK(!READABLE(up + 64 * PAGE), "[mm] what is above is not there");
	CHECK_EQ(syscall(SYS_brk, b), (long)b, "[mm] brk shrinks");
	CHECK_EQ(syscall(SYS_brk, up), (long)up, "[mm] and grows again");
	CHECK_EQ(up[-1], 0, "[mm] with zeros: the old contents are gone");
	CHECK_EQ(syscall(SYS_brk, 0x10), (long)up, "[mm] below the start: unchanged");
	CHECK_EQ(syscall(SYS_brk, 0xffff800000000000UL), (long)up, "[mm] absurd: unchanged");
	struct rlimit rl = { 1 << 20, 1 << 20 };
	setrlimit(RLIMIT_DATA, &rl);
	CHECK_EQ(syscall(SYS_brk, up + (64L << 20)), (long)up, "[mm] beyond RLIMIT_DATA: unchanged");
	syscall(SYS_brk, b);
}

CASE(madvise_cases)
{
	char *p = map_pages(4);
	memset(p, 9, 4 * PAGE);
	CHECK_OK(madvise(p + PAGE, PAGE, MADV_DONTNEED), "[mm] MADV_DONTNEED");
	CHECK(p[PAGE] == 0 && p[0] == 9 && p[2 * PAGE] == 9, "[mm] the page is zero again, the others keep theirs");
	CHECK_OK(madvise(p, 4 * PAGE, MADV_WILLNEED), "[mm] MADV_WILLNEED");
	CHECK_ERR(madvise(p + 1, PAGE, MADV_DONTNEED), EINVAL, "[mm] unaligned: EINVAL");
	CHECK_ERR(madvise(p, PAGE, 9999), EINVAL, "[mm] unknown advice: EINVAL");
	MUST(munmap(p + PAGE, PAGE));
	CHECK_ERR(madvise(p, 4 * PAGE, MADV_DONTNEED), ENOMEM, "[mm] over a hole: ENOMEM");
	CHECK_EQ(p[2 * PAGE], 0, "[mm] but the rest is done");
	CHECK_OK(madvise(p, 0, MADV_DONTNEED), "[mm] length 0");
}

CASE(limits)
{
	struct rlimit rl = { 64 << 20, 64 << 20 };
	setrlimit(RLIMIT_AS, &rl);
	CHECK_ERR(map6(0, 128 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM, "[mm] RLIMIT_AS: ENOMEM");
	CHECK(map6(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) > 0, "[mm] within it is fine");
}

CASE(many_mappings)
{
	int n = 0;
	char *p = mmap(NULL, 2000 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(p != MAP_FAILED);
	for (int i = 0; i < 2000; i += 2)
		n += mprotect(p + i * PAGE, PAGE, PROT_READ) == 0;
	CHECK_EQ(n, 1000, "[mm] a mapping is split in 2000");
	bool ok = true;
	for (int i = 0; i < 2000; i += 111)
		ok &= WRITABLE(p + i * PAGE) == (i % 2 == 1);
	CHECK(ok, "[mm] each with its own protection");
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(p[0] || !WRITABLE(p + PAGE) || WRITABLE(p));
	CHECK_EQ(reap(pid), 0, "[mm] and a child has them all");
	CHECK_OK(munmap(p, 2000 * PAGE), "[mm] unmapped at once");
}

CASE(stack_grows)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		volatile char *sp = __builtin_frame_address(0);
		for (long i = 0; i < 1 << 20; i += 4096)
			sp[-i] = 1;
		_exit(0);
	}
	CHECK_EQ(reap(pid), 0, "[mm] the stack grows by a mebibyte");
}

CASE(mincore_and_lock)
{
	char *p = map_pages(4);
	unsigned char vec[4];
	p[0] = p[2 * PAGE] = 1;
	CHECK_OK(mincore(p, 4 * PAGE, vec), "[mm] mincore");
	CHECK((vec[0] & 1) && (vec[2] & 1), "[mm] touched pages are in memory");
	CHECK_ERR(mincore(p + 1, PAGE, vec), EINVAL, "[mm] unaligned: EINVAL");
	CHECK_ERR(mincore(p, 4 * PAGE, BADPTR), EFAULT, "[mm] bad vector: EFAULT");
	MUST(munmap(p + PAGE, PAGE));
	CHECK_ERR(mincore(p, 4 * PAGE, vec), ENOMEM, "[mm] a hole: ENOMEM");
	CHECK_OK(mlock(p, PAGE), "[mm] mlock");
	CHECK_OK(munlock(p, PAGE), "[mm] munlock");
	CHECK_ERR(mlock(p + PAGE, PAGE), ENOMEM, "[mm] mlock of a hole: ENOMEM");
}

CASE_T(fault_race, 60)
{
	/* two processes that share memory fault on the same pages, one of them unmaps: no kernel trouble, right data */
	int n = iterations(300) / 3 + 1, bad = 0;
	for (int i = 0; i < n; i++) {
		int *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		pid_t a = fork();
		if (a == 0) {
			for (int k = 0; k < 16; k++)
				__atomic_add_fetch(&p[k * 1024], 1, __ATOMIC_SEQ_CST);
			_exit(0);
		}
		for (int k = 15; k >= 0; k--)
			__atomic_add_fetch(&p[k * 1024], 1, __ATOMIC_SEQ_CST);
		bad += a < 0 || reap(a) != 0;
		for (int k = 0; k < 16; k++)
			bad += p[k * 1024] != 2;
		munmap(p, 16 * PAGE);
	}
	CHECK_EQ(bad, 0, "[mm] first touches by two processes at once see one page");
}
