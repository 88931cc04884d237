/* badinput.c - bad pointers in every argument, absurd sizes, unknown system calls: an errno, never more. */
#include "lib/tap.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum kind { IN = 1, OUT = 2, NOEDGE = 4 };	/* read by the kernel / written / a part may succeed at an edge */
#define P 0x7afebabeL				/* stands for the bad pointer */

static int pipe_r, pipe_w, file, dirfd_, socks[2];
static char page[4096] __attribute__((aligned(4096)));

struct entry {
	const char *name;
	long nr, a[6];
	int kind;
};

#define STR(s) ((long)(s))
#define FD_PR -1001
#define FD_PW -1002
#define FD_FILE -1003
#define FD_DIR -1004
#define PAGE_ -1005
#define SELF -1006
#define FD_SOCK -1007

static const struct entry table[] = {
	{ "read from a pipe", SYS_read, { FD_PR, P, 10 }, OUT | NOEDGE },
	{ "read from a file", SYS_read, { FD_FILE, P, 10 }, OUT | NOEDGE },
	{ "write to a pipe", SYS_write, { FD_PW, P, 10 }, IN | NOEDGE },
	{ "write to a file", SYS_write, { FD_FILE, P, 10 }, IN | NOEDGE },
	{ "pread64", SYS_pread64, { FD_FILE, P, 10, 0 }, OUT | NOEDGE },
	{ "pwrite64", SYS_pwrite64, { FD_FILE, P, 10, 0 }, IN | NOEDGE },
	{ "readv, the vector", SYS_readv, { FD_FILE, P, 2 }, IN },
	{ "writev, the vector", SYS_writev, { FD_FILE, P, 2 }, IN },
	{ "open", SYS_open, { P, O_RDONLY }, IN },
	{ "openat", SYS_openat, { AT_FDCWD, P, O_RDONLY }, IN },
	{ "creat", SYS_creat, { P, 0600 }, IN },
	{ "stat, the path", SYS_stat, { P, PAGE_ }, IN },
	{ "stat, the result", SYS_stat, { STR("/"), P }, OUT },
	{ "lstat, the result", SYS_lstat, { STR("/"), P }, OUT },
	{ "fstat", SYS_fstat, { FD_FILE, P }, OUT },
	{ "newfstatat, the path", SYS_newfstatat, { AT_FDCWD, P, PAGE_, 0 }, IN },
	{ "newfstatat, the result", SYS_newfstatat, { AT_FDCWD, STR("/"), P, 0 }, OUT },
	{ "statx, the result", SYS_statx, { AT_FDCWD, STR("/"), 0, 0x7ff, P }, OUT },
	{ "statfs, the path", SYS_statfs, { P, PAGE_ }, IN },
	{ "statfs, the result", SYS_statfs, { STR("/"), P }, OUT },
	{ "fstatfs", SYS_fstatfs, { FD_FILE, P }, OUT },
	{ "access", SYS_access, { P, F_OK }, IN },
	{ "faccessat", SYS_faccessat, { AT_FDCWD, P, F_OK }, IN },
	{ "truncate", SYS_truncate, { P, 0 }, IN },
	{ "chdir", SYS_chdir, { P }, IN },
	{ "chroot", SYS_chroot, { P }, IN },
	{ "mkdir", SYS_mkdir, { P, 0700 }, IN },
	{ "rmdir", SYS_rmdir, { P }, IN },
	{ "unlink", SYS_unlink, { P }, IN },
	{ "rename, the old", SYS_rename, { P, STR("/tmp/zz") }, IN },
	{ "rename, the new", SYS_rename, { STR("/tmp"), P }, IN },
	{ "link, the old", SYS_link, { P, STR("/tmp/zz") }, IN },
	{ "link, the new", SYS_link, { STR("/tmp"), P }, IN },
	{ "symlink, the target", SYS_symlink, { P, STR("/tmp/zz") }, IN },
	{ "symlink, the name", SYS_symlink, { STR("x"), P }, IN },
	{ "readlink, the path", SYS_readlink, { P, PAGE_, 100 }, IN },
	{ "readlink, the buffer", SYS_readlink, { STR("/proc/self"), P, 100 }, OUT },
	{ "chmod", SYS_chmod, { P, 0700 }, IN },
	{ "chown", SYS_chown, { P, -1, -1 }, IN },
	{ "mknod", SYS_mknod, { P, S_IFIFO | 0600, 0 }, IN },
	{ "utimensat, the path", SYS_utimensat, { AT_FDCWD, P, 0, 0 }, IN },
	{ "utimensat, the times", SYS_utimensat, { AT_FDCWD, STR("/tmp"), P, 0 }, IN },
	{ "getcwd", SYS_getcwd, { P, 100 }, OUT },
	{ "getdents64", SYS_getdents64, { FD_DIR, P, 4096 }, OUT | NOEDGE },
	{ "fcntl F_GETLK", SYS_fcntl, { FD_FILE, F_GETLK, P }, IN },
	{ "fcntl F_SETLK", SYS_fcntl, { FD_FILE, F_SETLK, P }, IN },
	{ "ioctl FIONREAD", SYS_ioctl, { FD_PR, 0x541B, P }, OUT },
	{ "ioctl FIONBIO", SYS_ioctl, { FD_PR, 0x5421, P }, IN },
	{ "pipe", SYS_pipe, { P }, OUT },
	{ "pipe2", SYS_pipe2, { P, 0 }, OUT },
	{ "socketpair", SYS_socketpair, { AF_UNIX, SOCK_STREAM, 0, P }, OUT },
	{ "bind", SYS_bind, { FD_SOCK, P, 10 }, IN },
	{ "connect", SYS_connect, { FD_SOCK, P, 10 }, IN },
	{ "getsockname, the length", SYS_getsockname, { FD_SOCK, PAGE_, P }, IN },
	{ "getpeername, the length", SYS_getpeername, { FD_SOCK, PAGE_, P }, IN },
	{ "send", SYS_sendto, { FD_SOCK, P, 10, 0, 0, 0 }, IN | NOEDGE },
	{ "sendto, the address", SYS_sendto, { FD_SOCK, PAGE_, 1, 0, P, 10 }, IN },
	{ "recv", SYS_recvfrom, { FD_SOCK, P, 10, MSG_DONTWAIT, 0, 0 }, OUT | NOEDGE },
	{ "sendmsg", SYS_sendmsg, { FD_SOCK, P, 0 }, IN },
	{ "recvmsg", SYS_recvmsg, { FD_SOCK, P, MSG_DONTWAIT }, IN },
	{ "sendmmsg", SYS_sendmmsg, { FD_SOCK, P, 1, 0 }, IN },
	{ "recvmmsg", SYS_recvmmsg, { FD_SOCK, P, 1, MSG_DONTWAIT, 0 }, IN },
	{ "recvmmsg, the time", SYS_recvmmsg, { FD_SOCK, PAGE_, 1, MSG_DONTWAIT, P }, IN },
	{ "setsockopt", SYS_setsockopt, { FD_SOCK, SOL_SOCKET, SO_PASSCRED, P, 4 }, IN },
	{ "getsockopt, the length", SYS_getsockopt, { FD_SOCK, SOL_SOCKET, SO_TYPE, PAGE_, P }, IN },
	{ "ioctl SIOCOUTQ", SYS_ioctl, { FD_SOCK, 0x5411, P }, OUT },
	{ "poll", SYS_poll, { P, 1, 0 }, IN },
	{ "ppoll, the time", SYS_ppoll, { PAGE_, 0, P, 0, 8 }, IN },
	{ "ppoll, the mask", SYS_ppoll, { PAGE_, 0, 0, P, 8 }, IN },
	{ "select, the set", SYS_select, { 10, P, 0, 0, 0 }, IN },
	{ "select, the time", SYS_select, { 0, 0, 0, 0, P }, IN },
	{ "execve, the path", SYS_execve, { P, 0, 0 }, IN },
	{ "execve, argv", SYS_execve, { SELF, P, 0 }, IN },
	{ "execve, envp", SYS_execve, { SELF, 0, P }, IN },
	{ "rt_sigaction, the new", SYS_rt_sigaction, { SIGUSR1, P, 0, 8 }, IN },
	{ "rt_sigaction, the old", SYS_rt_sigaction, { SIGUSR1, 0, P, 8 }, OUT },
	{ "rt_sigprocmask, the new", SYS_rt_sigprocmask, { SIG_BLOCK, P, 0, 8 }, IN },
	{ "rt_sigprocmask, the old", SYS_rt_sigprocmask, { SIG_BLOCK, 0, P, 8 }, OUT },
	{ "rt_sigpending", SYS_rt_sigpending, { P, 8 }, OUT },
	{ "rt_sigsuspend", SYS_rt_sigsuspend, { P, 8 }, IN },
	{ "rt_sigtimedwait, the set", SYS_rt_sigtimedwait, { P, 0, PAGE_, 8 }, IN },
	{ "rt_sigtimedwait, the time", SYS_rt_sigtimedwait, { PAGE_, 0, P, 8 }, IN },
	{ "sigaltstack, the new", SYS_sigaltstack, { P, 0 }, IN },
	{ "sigaltstack, the old", SYS_sigaltstack, { 0, P }, OUT },
	{ "nanosleep", SYS_nanosleep, { P, 0 }, IN },
	{ "clock_nanosleep", SYS_clock_nanosleep, { 1, 0, P, 0 }, IN },
	{ "clock_gettime", SYS_clock_gettime, { 1, P }, OUT },
	{ "clock_getres", SYS_clock_getres, { 1, P }, OUT },
	{ "gettimeofday", SYS_gettimeofday, { P, 0 }, OUT },
	{ "getitimer", SYS_getitimer, { 0, P }, OUT },
	{ "setitimer, the new", SYS_setitimer, { 0, P, 0 }, IN },
	{ "setitimer, the old", SYS_setitimer, { 0, PAGE_, P }, OUT },
	{ "times", SYS_times, { P }, OUT },
	{ "uname", SYS_uname, { P }, OUT },
	{ "sysinfo", SYS_sysinfo, { P }, OUT },
	{ "getrlimit", SYS_getrlimit, { RLIMIT_NOFILE, P }, OUT },
	{ "setrlimit", SYS_setrlimit, { RLIMIT_NOFILE, P }, IN },
	{ "prlimit64, the new", SYS_prlimit64, { 0, RLIMIT_NOFILE, P, 0 }, IN },
	{ "prlimit64, the old", SYS_prlimit64, { 0, RLIMIT_NOFILE, 0, P }, OUT },
	{ "getrusage", SYS_getrusage, { 0, P }, OUT },
	{ "getresuid, the first", SYS_getresuid, { P, PAGE_, PAGE_ }, OUT },
	{ "getresuid, the last", SYS_getresuid, { PAGE_, PAGE_, P }, OUT },
	{ "getresgid", SYS_getresgid, { PAGE_, P, PAGE_ }, OUT },
	{ "setgroups", SYS_setgroups, { 3, P }, IN },
	{ "capget, the header", SYS_capget, { P, PAGE_ }, IN },
	{ "prctl SET_NAME", SYS_prctl, { PR_SET_NAME, P }, IN },
	{ "prctl GET_NAME", SYS_prctl, { PR_GET_NAME, P }, OUT },
	{ "prctl GET_PDEATHSIG", SYS_prctl, { PR_GET_PDEATHSIG, P }, OUT },
	{ "prctl GET_CHILD_SUBREAPER", SYS_prctl, { PR_GET_CHILD_SUBREAPER, P }, OUT },
	{ "arch_prctl GET_FS", SYS_arch_prctl, { 0x1003, P }, OUT },
	{ "sched_getaffinity", SYS_sched_getaffinity, { 0, 128, P }, OUT },
	{ "sched_setaffinity", SYS_sched_setaffinity, { 0, 8, P }, IN },
	{ "getcpu", SYS_getcpu, { P, 0, 0 }, OUT },
	{ "getrandom", SYS_getrandom, { P, 64, 0 }, OUT | NOEDGE },
	{ "futex wait, the time", SYS_futex, { PAGE_, 0, 0, P }, IN },
	{ "rt_sigqueueinfo", SYS_rt_sigqueueinfo, { 1, SIGUSR1, P }, IN },
	{ "clone3", SYS_clone3, { P, 88 }, IN },
	{ "get_robust_list", SYS_get_robust_list, { 0, P, PAGE_ }, OUT },
	{ "mincore", SYS_mincore, { PAGE_, 4096, P }, OUT | NOEDGE },
};

static long arg(long v, long bad)
{
	switch (v) {
	case P: return bad;
	case FD_PR: return pipe_r;
	case FD_PW: return pipe_w;
	case FD_FILE: return file;
	case FD_DIR: return dirfd_;
	case PAGE_: return (long)page;
	case SELF: return (long)self_path;
	case FD_SOCK: return socks[0];
	}
	return v;
}

CASE(bad_pointers)
{
	int p[2];
	MUST(pipe(p));
	pipe_r = p[0];
	pipe_w = p[1];
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	REQUIRE(write(socks[1], "0123456789abcdef", 16) == 16);
	file = MUST(open(tmp_path("file"), O_RDWR | O_CREAT, 0600));
	dirfd_ = MUST(open(tmp_path(""), O_RDONLY | O_DIRECTORY));
	REQUIRE(write(pipe_w, "0123456789abcdef", 16) == 16 && write(file, "0123456789abcdef", 16) == 16);
	char *edge = map_edge(), *ro = map_readonly();
	for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
		const struct entry *e = &table[i];
		/* nothing, the kernel, not canonical, a hole; the last byte for programs, the page behind it, the last of the lower half,
		 * the last of all */
		long bad[10] = { 0x10, 0xffff800000001000L, (long)0x8000000000000000UL, (long)edge, 0x7fffffffefffL, 0x7ffffffff000L,
				 0x7fffffffffffL, -1 };
		int n = 8;
		if (!(e->kind & NOEDGE)) {
			edge[-1] = 'a';
			bad[n++] = (long)edge - 1;
		}
		if (e->kind & OUT)
			bad[n++] = (long)ro;
		char diag[256] = "";
		int k = 0;
		for (; k < n; k++) {
			long a[6], r;
			for (int j = 0; j < 6; j++)
				a[j] = arg(e->a[j], bad[k]);
			memset(page, 0, sizeof page);
			lseek(file, 0, SEEK_SET);
			lseek(dirfd_, 0, SEEK_SET);
			errno = 0;
			r = syscall(e->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
			if (r != -1 || errno != EFAULT) {
				snprintf(diag, sizeof diag, "with 0x%lx: got %ld, errno %d (%s)", bad[k], r, errno, strerror(errno));
				break;
			}
		}
		char text[128];
		snprintf(text, sizeof text, "[bad] %s: a bad pointer is EFAULT", e->name);
		if (e->nr == SYS_setgroups && geteuid() != 0)
			tap_skip(text, "needs root");
		else
			tap_report(k == n, text, __FILE__, __LINE__, "%s", diag);
	}
	char c[16];
	CHECK(read(pipe_r, c, 16) == 16 && !memcmp(c, "0123456789abcdef", 16), "[bad] and nothing was lost from the pipe");
	CHECK(read(socks[0], c, 16) == 16 && !memcmp(c, "0123456789abcdef", 16), "[bad] nor from the socket");
}

CASE(partial_transfers)
{
	int p[2];
	MUST(pipe(p));
	char *edge = map_edge(), b[16];
	memset(edge - 4, 'q', 4);
	/* Linux writes a page or nothing; what counts is that both sides agree */
	ssize_t w = write(p[1], edge - 4, 10);
	CHECK((w == -1 && errno == EFAULT) || w == 4, "[bad] a write to a pipe from a buffer that runs into a hole: EFAULT, or what is there");
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	CHECK_EQ(read(p[0], b, 16), w, "[bad] and the reader sees just that");
	int f = MUST(open(tmp_path("f"), O_RDWR | O_CREAT, 0600));
	CHECK_EQ(write(f, edge - 4, 10), 4, "[bad] a write to a file writes what is there");
	CHECK(pread(f, b, 16, 0) == 4 && !memcmp(b, "qqqq", 4), "[bad] as a read shows");
	MUST(ftruncate(f, 0));
	MUST(lseek(f, 0, SEEK_SET));
	REQUIRE(write(f, "0123456789", 10) == 10);
	MUST(lseek(f, 0, SEEK_SET));
	CHECK_EQ(read(f, edge - 4, 10), 4, "[bad] a read of a file likewise");
	CHECK(!memcmp(edge - 4, "0123", 4) && lseek(f, 0, SEEK_CUR) == 4, "[bad] and the offset moves by that");
	struct iovec v[2] = { { b, 4 }, { (void *)0x10, 4 } };
	CHECK_EQ(pwritev(f, v, 2, 0), 4, "[bad] writev up to the bad vector");
	char *last = map_edge();
	strcpy(last - 10, "/dev/null");
	CHECK(open(last - 10, O_RDONLY) >= 0, "[bad] a path whose NUL is the last byte before a hole is fine");
	CHECK_ERR(open(last - 5, O_RDONLY), ENOENT, "[bad] (and is read as it is)");
}

CASE(absurd_sizes)
{
	int p[2];
	MUST(pipe(p));
	file = MUST(open(tmp_path("f"), O_RDWR | O_CREAT, 0600));
	CHECK(syscall(SYS_read, p[0], page, -1L) == -1 && (errno == EFAULT || errno == EINVAL), "[bad] read of -1 bytes: EFAULT or EINVAL");
	CHECK(syscall(SYS_write, p[1], page, -1L) == -1 && (errno == EFAULT || errno == EINVAL), "[bad] write of -1 bytes: EFAULT or EINVAL");
	CHECK(syscall(SYS_write, p[1], page, 1L << 63) == -1 && (errno == EFAULT || errno == EINVAL), "[bad] of 2^63: EFAULT or EINVAL");
	CHECK_ERR(syscall(SYS_pread64, file, page, 10L, -5L), EINVAL, "[bad] pread at -5: EINVAL");
	CHECK(syscall(SYS_pwrite64, file, page, 10L, LONG_MAX) == -1 && (errno == EINVAL || errno == EFBIG), "[bad] pwrite at 2^63-1: EINVAL or EFBIG");
	CHECK_ERR(syscall(SYS_lseek, file, LONG_MIN, SEEK_CUR), EINVAL, "[bad] lseek by -2^63: EINVAL");
	CHECK_ERR(syscall(SYS_readv, file, page, -1L), EINVAL, "[bad] readv of -1 vectors: EINVAL");
	CHECK_ERR(syscall(SYS_ftruncate, file, LONG_MIN), EINVAL, "[bad] ftruncate to -2^63: EINVAL");
	CHECK_ERR(syscall(SYS_getgroups, -1L, page), EINVAL, "[bad] getgroups of -1: EINVAL");
	CHECK_ERR(syscall(SYS_poll, page, -1L, 0L), EINVAL, "[bad] poll of -1: EINVAL");
	CHECK_ERR(syscall(SYS_sched_getaffinity, 0L, 0L, page), EINVAL, "[bad] sched_getaffinity of size 0: EINVAL");
	CHECK_ERR(syscall(SYS_getcwd, page, 0L), ERANGE, "[bad] getcwd of size 0: ERANGE");
	CHECK_ERR(syscall(SYS_readlink, "/proc/self", page, 0L), EINVAL, "[bad] readlink of size 0: EINVAL");
	CHECK_ERR(syscall(SYS_readlink, "/proc/self", page, -1L), EINVAL, "[bad] of size -1: EINVAL");
	IF_ROOT("[bad] sethostname of 100 bytes: EINVAL") CHECK_ERR(syscall(SYS_sethostname, page, 100L), EINVAL, "[bad] sethostname of 100 bytes: EINVAL");
	CHECK_ERR(syscall(SYS_dup2, 0L, (long)INT_MAX), EBADF, "[bad] dup2 to 2^31-1: EBADF");
	CHECK_ERR(syscall(SYS_fcntl, 0L, F_DUPFD, (long)INT_MAX), EINVAL, "[bad] F_DUPFD from 2^31-1: EINVAL");
	CHECK_ERR(syscall(SYS_kill, 0x7fffffffL, 0L), ESRCH, "[bad] kill of 2^31-1: ESRCH");
	long fds[] = { -1, 1 << 20, INT_MAX, INT_MIN };
	int bad = 0;
	for (int i = 0; i < 4; i++) {
		bad += syscall(SYS_read, fds[i], page, 1L) != -1 || errno != EBADF;
		bad += syscall(SYS_close, fds[i]) != -1 || errno != EBADF;
		bad += syscall(SYS_fstat, fds[i], page) != -1 || errno != EBADF;
		bad += syscall(SYS_lseek, fds[i], 0L, 0L) != -1 || errno != EBADF;
		bad += syscall(SYS_dup, fds[i]) != -1 || errno != EBADF;
		bad += syscall(SYS_ioctl, fds[i], 0x5401L, page) != -1 || errno != EBADF;
		bad += syscall(SYS_fcntl, fds[i], F_GETFL, 0L) != -1 || errno != EBADF;
		bad += syscall(SYS_getdents64, fds[i], page, 100L) != -1 || errno != EBADF;
	}
	CHECK_EQ(bad, 0, "[bad] absurd descriptors are EBADF everywhere");
}

CASE(unknown_syscalls)
{
	static const long nr[] = { 156, 174, 177, 178, 180, 181, 182, 183, 184, 185, 214, 215, 236, 390, 400, 423, 500, 511, 512, 547, 548, 600,
				   1000, 4095, 4096, 65536, 0x3fffffff, 0x40000000 | 39, 0x7fffffff, -1, -2, -4095, -4096 };
	int wrong = 0;
	long which = 0;
	for (unsigned i = 0; i < sizeof nr / sizeof *nr; i++) {
		errno = 0;
		if (syscall(nr[i], -1L, -1L, -1L, -1L, -1L, -1L) != -1 || errno != ENOSYS) {
			wrong++;
			which = nr[i];
		}
	}
	tap_report(wrong == 0, "[bad] unknown system calls are ENOSYS", __FILE__, __LINE__, "%d wrong, the last %ld", wrong, which);
	long r;
	__asm__ volatile("syscall" : "=a"(r) : "a"((0xdeadUL << 32) | SYS_getpid) : "rcx", "r11", "memory");
	CHECK_EQ(r, getpid(), "[bad] the high half of the number is ignored");
	__asm__ volatile("syscall" : "=a"(r) : "a"(LONG_MIN), "D"(-1L), "S"(0L), "d"(0L) : "rcx", "r11", "memory");
	CHECK_EQ(r, -EBADF, "[bad] (2^63 is read, here of no descriptor)");
}

CASE(registers_after_syscall)
{
	/* a system call changes rax, rcx and r11 and nothing else */
	unsigned long in[6] = { 11, 22, 33, 44, 55, 66 }, rdi = 1, rsi = 2, rdx = 3, rbx, r12, r13, flags;
	register unsigned long r8 __asm__("r8") = in[0], r9 __asm__("r9") = in[1], r10 __asm__("r10") = in[2];
	unsigned long rax = SYS_getpid, rcx;
	__asm__ volatile("mov $0x123, %%rbx; mov $0x456, %%r12; mov $0x789, %%r13; stc; syscall; pushfq; pop %[fl];"
			 "mov %%rbx, %[b]; mov %%r12, %[c]; mov %%r13, %[d]"
			 : "+a"(rax), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r8), "+r"(r9), "+r"(r10), "=c"(rcx), [fl] "=m"(flags), [b] "=m"(rbx),
			   [c] "=m"(r12), [d] "=m"(r13)
			 :
			 : "rbx", "r11", "r12", "r13", "memory");
	unsigned long a8 = r8, a9 = r9, a10 = r10;
	(void)rcx;
	CHECK_EQ(rax, getpid(), "[bad] (getpid)");
	CHECK(rdi == 1 && rsi == 2 && rdx == 3 && a8 == 11 && a9 == 22 && a10 == 33, "[bad] argument registers survive a system call");
	CHECK(rbx == 0x123 && r12 == 0x456 && r13 == 0x789, "[bad] and the others");
	CHECK(flags & 1, "[bad] and the flags");
}

CASE_T(random_calls, 60)
{
	/* calls with arguments from a list of nasty values; what they return does not matter, that they return does */
	static const long nasty[] = { 0, 1, -1, 0x10, 4095, 4096, LONG_MAX, LONG_MIN, INT_MAX, INT_MIN, (long)0xffff800000000000UL,
				      (long)0x8000000000000000UL, 0x7fffffffffffL, 0xdeadbeef };
	/* none of these can hurt the host, whatever the arguments */
	static const int nr[] = { SYS_read, SYS_write, SYS_open, SYS_stat, SYS_fstat, SYS_lstat, SYS_poll, SYS_lseek, SYS_mprotect, SYS_munmap,
				  SYS_rt_sigprocmask, SYS_ioctl, SYS_pread64, SYS_readv, SYS_access, SYS_pipe, SYS_select, SYS_mremap, SYS_msync,
				  SYS_mincore, SYS_madvise, SYS_dup, SYS_dup2, SYS_nanosleep, SYS_getitimer, SYS_setitimer, SYS_wait4, SYS_uname,
				  SYS_fcntl, SYS_flock, SYS_getdents64, SYS_getcwd, SYS_chdir, SYS_readlink, SYS_umask, SYS_getrlimit,
				  SYS_getrusage, SYS_sysinfo, SYS_times, SYS_setpgid, SYS_getpgid, SYS_getsid, SYS_getgroups, SYS_capget,
				  SYS_rt_sigpending, SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_statfs, SYS_getpriority, SYS_prctl,
				  SYS_arch_prctl, SYS_gettid, SYS_futex, SYS_sched_getaffinity, SYS_set_tid_address, SYS_clock_gettime,
				  SYS_clock_getres, SYS_waitid, SYS_openat, SYS_newfstatat, SYS_set_robust_list, SYS_get_robust_list,
				  SYS_dup3, SYS_pipe2, SYS_getcpu, SYS_getrandom, SYS_statx, SYS_clone3, SYS_close_range };
	int n = iterations(300) * 20, died = 0, timed = 0;
	unsigned seed = 4711;
	for (int round = 0; round < 10; round++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			struct rlimit none = { 0, 0 };
			setrlimit(RLIMIT_CORE, &none);
			close(0);
			close(1);
			close(2);
			signal(SIGALRM, SIG_DFL);
			seed += round * 7919;
			for (int i = 0; i < n / 10; i++) {
				long a[6];
				seed = seed * 1103515245 + 12345;
				int call = nr[(seed >> 16) % (sizeof nr / sizeof *nr)];
				for (int j = 0; j < 6; j++) {
					seed = seed * 1103515245 + 12345;
					a[j] = nasty[(seed >> 16) % (sizeof nasty / sizeof *nasty)];
				}
				/* a child of clone3 (there is none with these) would leave; a wait for ever is cut short */
				struct itimerval it = { { 0, 0 }, { 0, 20000 } };
				if (call == SYS_poll || call == SYS_select || call == SYS_futex || call == SYS_nanosleep ||
				    call == SYS_rt_sigtimedwait || call == SYS_setitimer)
					siglog_catch(SIGALRM, 0);
				syscall(SYS_setitimer, ITIMER_REAL, &it, NULL);
				if (call != SYS_setitimer || a[0] != 0)
					syscall(call, a[0], a[1], a[2], a[3], a[4], a[5]);
				unsigned long mask = 0;
				syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, 8L);
			}
			syscall(SYS_exit_group, 0);
		}
		int st = reap(pid);
		died += st != 0;
		timed += st == SIGALRM;
	}
	tap_note("%d of 10 processes died of what they did (%d by SIGALRM)", died, timed);
	struct agent *a = spawn(NULL);
	CHECK_EQ(call(a, ag_getpid, 0), a->pid, "[bad] after thousands of nasty calls the kernel works");
	retire(a, NULL);
}
