/*
 * syscalls.c - random system calls with bad input, for a guest whose kernel must stay whole.
 *
 *	syscalls SECONDS SEED		(PID 1; from the kernel's command line)
 *
 * PID 1 keeps a few workers going. A worker is a process with threads, sometimes in a pid namespace of its own, as root with
 * few capabilities or as nobody; it makes random calls with arguments from interesting values until it crashes, ends or
 * its short time is over. All that it does follows from its seed, which is printed for the first of each round.
 * After each round everybody is killed and reaped: who does not die is a hang. At the end there must be as much free
 * memory as there was after the first rounds, and nobody but PID 1. A panic says so itself.
 *
 * Left out is what a machine may not survive by right: the capabilities to reboot, to set the clock, to mount and to take a
 * CPU for oneself are dropped, and a worker may not touch PID 1 but by signals.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/aio_abi.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4
#define THREADS 2
#define ROUND_MS 2000
#define WORKER_MS 600
#define MAX_FORKS 24			/* in one round and worker */
#define LEAK_KB 1024
#define HEAP_LEAK_KB 128
#define PAGE 4096ul
#define ARENA ((char *)0x200000000)
#define ARENA_PAGES 32

static struct shared {
	volatile uint64_t calls;
	volatile int forks[WORKERS];
	volatile int objects[16];	/* ids of System V IPC that were given out lately */
	volatile unsigned nobjects;
} *shared;

/* ---- random values ---- */
struct rng { uint64_t s; int worker; };

static uint32_t below(struct rng *r, uint32_t n)
{
	r->s ^= r->s >> 12;
	r->s ^= r->s << 25;
	r->s ^= r->s >> 27;
	return (uint32_t)((r->s * 0x2545f4914f6cdd1d) >> 32) % n;
}
#define PICK(r, a) (a)[below(r, sizeof (a) / sizeof (a)[0])]

static long number(struct rng *r)
{
	static const long list[] = { 0, 1, 2, 3, 4, 7, 8, 16, 64, 100, 255, 256, 4095, 4096, 4097, 8192, 65535, 65536, 1 << 20, 0x7fffffff,
				     0x80000000, 0xffffffff, 0x100000000, -1, -2, -100, -4095, -4096, 0x7fffffffffffffff,
				     (long)0x8000000000000000 };
	return below(r, 4) ? PICK(r, list) : below(r, 2) ? (long)below(r, 1 << 16) : (long)((uint64_t)below(r, ~0u) << 32 | below(r, ~0u));
}

/* The arena: read-write pages, then one read-only, a hole, one without rights, and read-write ones again. */
static long pointer(struct rng *r)
{
	static const long bad[] = { 0, 1, 8, 4095, -1, -8, 0x7fffffffeff8, 0x7ffffffff000, 0x800000000000, (long)0xffff800000000000,
				    (long)0xffffffff80000000, 0x4141414141414141 };
	uint32_t dice = below(r, 100);
	if (dice < 12)
		return PICK(r, bad);
	long at = (long)ARENA + below(r, ARENA_PAGES) * PAGE;
	if (dice < 30)		/* at an edge */
		return at + PAGE - (1 + below(r, 32));
	if (dice < 75)		/* aligned */
		return (long)ARENA + (below(r, 16 * PAGE) & ~7ul);
	return at + below(r, PAGE);
}

static const char *const paths[] = {
	"", "/", ".", "..", "a", "b", "a/b", "dir", "dir/a", "dir/../a", "link", "loop", "fifo", "/proc/self/status", "/proc/self/stat",
	"/proc/self/maps", "/proc/self/fd", "/proc/self/fd/3", "/proc/self/task", "/proc/self/mem", "/proc/self/oom_score_adj",
	"/proc/self/exe", "/proc/1/status", "/proc/sys/kernel/pid_max", "/proc/meminfo", "/proc", "/proc/self/ns/pid", "/dev/null", "/dev/zero",
	"/dev/full", "/dev/random", "/dev/tty", "/dev/ptmx", "/dev/pts/0", "/dev/pts", "/no/such/file", "/init", "/proc/self/cwd/a",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};

static long path(struct rng *r)
{
	return below(r, 10) ? (long)PICK(r, paths) : pointer(r);
}

static long descriptor(struct rng *r)
{
	static const long list[] = { -1, -100 /* AT_FDCWD */, -10000, -10001, 63, 64, 1000, 0x7fffffff };
	return below(r, 8) ? 3 + (long)below(r, 28) : PICK(r, list);
}

static long some_pid(struct rng *r)
{
	static const long list[] = { 0, -1, 2, 3, 1 << 22, 0x7fffffff, (int)0x80000000 };
	switch (below(r, 4)) {
	case 0: return syscall(SYS_getpid);
	case 1: return PICK(r, list);
	case 2: return syscall(SYS_gettid) + (long)below(r, 5) - 2;
	default: return 2 + below(r, 200);
	}
}

/* What a pointer points to: words that mean something in many structures. */
static void fill(struct rng *r, long at, int words)
{
	uint64_t *word = (uint64_t *)(at & ~7l);
	for (int i = 0; i < words; i++) {
		if ((char *)(word + i + 1) > ARENA + 16 * PAGE || (char *)(word + i) < ARENA)
			return;
		switch (below(r, 6)) {
		case 0: word[i] = pointer(r); break;
		case 1: word[i] = descriptor(r) | (uint64_t)number(r) << 32; break;
		case 2: word[i] = below(r, 64); break;
		case 3: word[i] = path(r); break;
		default: word[i] = number(r);
		}
	}
}

/* ---- calls ---- */
/*
 * What each call takes: f descriptor, p pointer, s path, n size or count, i flags or small number, d pid, g signal,
 * t pointer to a short time or 0, a address for mappings, c a context of asynchronous I/O, r and b requests to one, k key and o id of
 * System V IPC, q request of an ioctl, w mask of a watch, x anything. Calls that are not named get anything.
 */
static const struct { short nr; const char *takes; } signatures[] = {
	{ SYS_read, "fpn" }, { SYS_write, "fpn" }, { SYS_open, "sii" }, { SYS_close, "f" }, { SYS_stat, "sp" }, { SYS_fstat, "fp" },
	{ SYS_lstat, "sp" }, { SYS_poll, "pit" }, { SYS_lseek, "fni" }, { SYS_mmap, "aniifn" }, { SYS_mprotect, "ani" },
	{ SYS_munmap, "an" }, { SYS_brk, "a" }, { SYS_rt_sigaction, "gppn" }, { SYS_rt_sigprocmask, "ippn" }, { SYS_ioctl, "fqp" },
	{ SYS_pread64, "fpnn" }, { SYS_pwrite64, "fpnn" }, { SYS_readv, "fpi" }, { SYS_writev, "fpi" }, { SYS_access, "si" },
	{ SYS_pipe, "p" }, { SYS_select, "ipppt" }, { SYS_mremap, "annia" }, { SYS_msync, "ani" }, { SYS_mincore, "anp" },
	{ SYS_madvise, "ani" }, { SYS_dup, "f" }, { SYS_dup2, "ff" }, { SYS_nanosleep, "tp" }, { SYS_getitimer, "ip" },
	{ SYS_setitimer, "ipp" }, { SYS_sendfile, "ffpn" }, { SYS_socket, "iii" }, { SYS_connect, "fpi" }, { SYS_accept, "fpp" },
	{ SYS_sendto, "fpnipi" }, { SYS_recvfrom, "fpnipp" }, { SYS_sendmsg, "fpi" }, { SYS_recvmsg, "fpi" }, { SYS_shutdown, "fi" },
	{ SYS_bind, "fpi" }, { SYS_listen, "fi" }, { SYS_getsockname, "fpp" }, { SYS_getpeername, "fpp" }, { SYS_socketpair, "iiip" },
	{ SYS_setsockopt, "fiipi" }, { SYS_getsockopt, "fiipp" }, { SYS_fork, "" }, { SYS_vfork, "" }, { SYS_clone, "ippp" },
	{ SYS_execve, "spp" }, { SYS_wait4, "dpip" }, { SYS_kill, "dg" }, { SYS_uname, "p" }, { SYS_fcntl, "fii" }, { SYS_flock, "fi" },
	{ SYS_fsync, "f" }, { SYS_truncate, "sn" }, { SYS_ftruncate, "fn" }, { SYS_getdents, "fpn" }, { SYS_getcwd, "pn" },
	{ SYS_chdir, "s" }, { SYS_fchdir, "f" }, { SYS_rename, "ss" }, { SYS_mkdir, "si" }, { SYS_rmdir, "s" }, { SYS_creat, "si" },
	{ SYS_link, "ss" }, { SYS_unlink, "s" }, { SYS_symlink, "ss" }, { SYS_readlink, "spn" }, { SYS_chmod, "si" },
	{ SYS_fchmod, "fi" }, { SYS_chown, "sii" }, { SYS_umask, "i" }, { SYS_gettimeofday, "pp" }, { SYS_getrlimit, "ip" },
	{ SYS_getrusage, "ip" }, { SYS_sysinfo, "p" }, { SYS_times, "p" }, { SYS_syslog, "ipn" }, { SYS_setpgid, "dd" },
	{ SYS_getgroups, "ip" }, { SYS_setgroups, "ip" }, { SYS_getpgid, "d" }, { SYS_getsid, "d" }, { SYS_capget, "pp" },
	{ SYS_capset, "pp" }, { SYS_rt_sigpending, "pn" }, { SYS_rt_sigtimedwait, "pptn" }, { SYS_rt_sigqueueinfo, "dgp" },
	{ SYS_rt_sigsuspend, "pn" }, { SYS_sigaltstack, "pp" }, { SYS_mknod, "sii" }, { SYS_personality, "i" }, { SYS_statfs, "sp" },
	{ SYS_fstatfs, "fp" }, { SYS_getpriority, "id" }, { SYS_setpriority, "idi" }, { SYS_sched_getparam, "dp" },
	{ SYS_sched_setscheduler, "dip" }, { SYS_mlock, "an" }, { SYS_munlock, "an" }, { SYS_mlockall, "i" }, { SYS_prctl, "ipppp" },
	{ SYS_arch_prctl, "ip" }, { SYS_setrlimit, "ip" }, { SYS_chroot, "s" }, { SYS_tkill, "dg" }, { SYS_futex, "piitpi" },
	{ SYS_sched_setaffinity, "dnp" }, { SYS_sched_getaffinity, "dnp" }, { SYS_getdents64, "fpn" }, { SYS_set_tid_address, "p" },
	{ SYS_timer_create, "ipp" }, { SYS_timer_settime, "iipp" }, { SYS_timer_gettime, "ip" }, { SYS_timer_delete, "i" },
	{ SYS_clock_gettime, "ip" }, { SYS_clock_nanosleep, "iitp" }, { SYS_epoll_create, "i" }, { SYS_epoll_ctl, "fifp" },
	{ SYS_epoll_wait, "fpit" }, { SYS_tgkill, "ddg" }, { SYS_utimes, "sp" }, { SYS_waitid, "idpip" }, { SYS_openat, "fsii" },
	{ SYS_mkdirat, "fsi" }, { SYS_newfstatat, "fspi" }, { SYS_unlinkat, "fsi" }, { SYS_renameat2, "fsfsi" }, { SYS_linkat, "fsfsi" },
	{ SYS_symlinkat, "sfs" }, { SYS_readlinkat, "fspn" }, { SYS_faccessat, "fsi" }, { SYS_pselect6, "ipppt" }, { SYS_ppoll, "pitpn" },
	{ SYS_unshare, "i" }, { SYS_set_robust_list, "pn" }, { SYS_get_robust_list, "dpp" }, { SYS_utimensat, "fspi" },
	{ SYS_epoll_pwait, "fpitpn" }, { SYS_signalfd4, "fpni" }, { SYS_timerfd_create, "ii" }, { SYS_eventfd2, "ii" },
	{ SYS_timerfd_settime, "fipp" }, { SYS_timerfd_gettime, "fp" }, { SYS_accept4, "fppi" }, { SYS_epoll_create1, "i" },
	{ SYS_dup3, "ffi" }, { SYS_pipe2, "pi" }, { SYS_preadv, "fpinn" }, { SYS_pwritev, "fpinn" }, { SYS_rt_tgsigqueueinfo, "ddgp" },
	{ SYS_prlimit64, "dipp" }, { SYS_setns, "fi" }, { SYS_getcpu, "pp" }, { SYS_process_vm_readv, "dpipin" },
	{ SYS_process_vm_writev, "dpipin" }, { SYS_seccomp, "iip" }, { SYS_getrandom, "pni" }, { SYS_memfd_create, "si" },
	{ SYS_execveat, "fsppi" }, { SYS_membarrier, "iii" }, { SYS_copy_file_range, "fpfpni" }, { SYS_statx, "fsiip" },
	{ SYS_rseq, "piii" }, { SYS_pidfd_send_signal, "fgpi" }, { SYS_pidfd_open, "di" }, { SYS_clone3, "pn" },
	{ SYS_close_range, "ffi" }, { SYS_openat2, "fspn" }, { SYS_pidfd_getfd, "ffi" }, { SYS_faccessat2, "fsii" },
	{ SYS_setxattr, "sspni" }, { SYS_getxattr, "sspn" }, { SYS_listxattr, "spn" }, { SYS_removexattr, "ss" }, { SYS_splice, "fpfpni" },
	{ SYS_semget, "kii" }, { SYS_semop, "opi" }, { SYS_semctl, "oiip" }, { SYS_semtimedop, "opit" }, { SYS_shmget, "kni" },
	{ SYS_shmat, "oai" }, { SYS_shmdt, "a" }, { SYS_shmctl, "oip" }, { SYS_msgget, "ki" }, { SYS_msgsnd, "opni" }, { SYS_msgrcv, "opnni" },
	{ SYS_msgctl, "oip" }, { SYS_mq_open, "siip" }, { SYS_mq_unlink, "s" }, { SYS_mq_timedsend, "fpnit" },
	{ SYS_mq_timedreceive, "fpnpt" }, { SYS_mq_notify, "fp" }, { SYS_mq_getsetattr, "fpp" },
	{ SYS_inotify_init, "" }, { SYS_inotify_init1, "i" }, { SYS_inotify_add_watch, "fsw" }, { SYS_inotify_rm_watch, "fi" },
	{ SYS_tee, "ffni" }, { SYS_vmsplice, "fpni" }, { SYS_fallocate, "finn" }, { SYS_fadvise64, "fnni" }, { SYS_readahead, "fnn" },
	{ SYS_io_setup, "ip" }, { SYS_io_submit, "cir" }, { SYS_io_cancel, "cbp" }, { SYS_io_getevents, "ciipt" },
	{ SYS_io_pgetevents, "ciiptp" }, { SYS_io_destroy, "c" },
};
static aio_context_t aio;
#define SIGNATURES (sizeof signatures / sizeof signatures[0])

/* The machine's own business, whoever asks; and what would only end the worker before it has done anything. */
static bool left_out(long nr)
{
	switch (nr) {
	case SYS_reboot: case SYS_kexec_load: case SYS_init_module: case SYS_delete_module: case SYS_iopl: case SYS_ioperm:
	case SYS_exit: case SYS_exit_group: case SYS_pause: case SYS_rt_sigreturn: case SYS_vhangup: case SYS_sync: case SYS_mount:
	case SYS_umount2: case SYS_pivot_root: case SYS_swapon: case SYS_swapoff:
		return true;
	}
	return false;
}

static long short_time(struct rng *r)
{
	static const struct timespec times[] = { { 0, 0 }, { 0, 1000 }, { 0, 1000000 }, { 0, -1 }, { -1, 0 }, { 0, 1000000000 } };
	return below(r, 8) ? (long)&PICK(r, times) : pointer(r);
}

/* Requests that make some sense, and a list of them. */
static long requests(struct rng *r, bool listed)
{
	static struct iocb iocbs[8], *list[8];
	static const int operations[] = { IOCB_CMD_PREAD, IOCB_CMD_PWRITE, IOCB_CMD_FSYNC, IOCB_CMD_POLL, IOCB_CMD_POLL, IOCB_CMD_PREADV };
	if (!listed)
		return (long)&iocbs[below(r, 8)];
	for (int i = 0; i < 8; i++) {
		struct iocb *io = list[i] = &iocbs[i];
		*io = (struct iocb){ .aio_fildes = descriptor(r), .aio_lio_opcode = PICK(r, operations) };
		if (io->aio_lio_opcode == IOCB_CMD_POLL)
			io->aio_buf = below(r, 0x40);
		else if (io->aio_lio_opcode != IOCB_CMD_FSYNC)
			io->aio_buf = pointer(r), io->aio_nbytes = below(r, 100), io->aio_offset = below(r, 1000);
		if (below(r, 3) == 0)
			io->aio_flags = below(r, 4), io->aio_resfd = descriptor(r);
	}
	return (long)list;
}

static long argument(struct rng *r, char kind)
{
	static const int flags[] = { 0, 1, 2, 3, 4, 5, 8, 16, 17, 18, 0x22, 0x32, 0x80, 0x100, 0x400, 0x800, 0x1000, 0x8000, 0x80000, 0x10000, 0x541b,
				     01600 /* IPC_CREAT */, 01666, 040000 /* SHM_REMAP, MSG_COPY */, 0102 /* O_CREAT | O_RDWR */ };
	/* FIONREAD, FIOCLEX, a window size, inotify's next watch, and what a listener of seccomp does, with an ADDFD that is too large. */
	static const unsigned ioctls[] = { 0x541b, 0x5421, 0x5451, 0x5413, 0x40044900, 0xc0502100, 0xc0182101, 0x40082102, 0x80082102, 0x40182103,
					     0x40302103, 0x40082104 };
	/* Masks of watches: all, some, once, not if unlinked, more, new. */
	static const unsigned watches[] = { 0xfff, 0x20, 0x700, 0x80000fff, 0x04000fff, 0x20000002, 0x10000fff, 0x03000fff };
	long p;
	if (below(r, 20) == 0)
		kind = "fpsnidgtxcr"[below(r, 11)];
	switch (kind) {
	case 'f': return descriptor(r);
	case 'p':
		p = pointer(r);
		if (below(r, 2))
			fill(r, p, 1 + below(r, 12));
		return p;
	case 's': return path(r);
	case 'n': return below(r, 3) ? (long)below(r, 8192) : number(r);
	case 'i': return below(r, 4) ? below(r, 3) ? PICK(r, flags) : (int)below(r, 64) : number(r);
	case 'q': return below(r, 3) ? PICK(r, ioctls) : below(r, 2) ? PICK(r, flags) : number(r);
	case 'w': return below(r, 4) ? PICK(r, watches) : number(r);
	case 'd': return some_pid(r);
	case 'g': return below(r, 10) ? (long)below(r, 66) : number(r);
	case 'k': return below(r, 4) ? (long)below(r, 4) : number(r);
	case 'o': return below(r, 5) ? shared->objects[below(r, 16)] : number(r);
	case 't': return short_time(r);
	case 'c': return (long)aio;
	case 'r': return requests(r, true);
	case 'b': return requests(r, false);
	case 'a': return below(r, 2) ? (long)((long)ARENA + below(r, ARENA_PAGES) * PAGE) : below(r, 3) ? 0 : pointer(r);
	default: return below(r, 2) ? number(r) : pointer(r);
	}
}

/* Forks are counted, and a thread or process that shares memory gets a place of its own to run. */
static bool fork_allowed(struct rng *r)
{
	return __atomic_add_fetch(&shared->forks[r->worker], 1, __ATOMIC_RELAXED) <= MAX_FORKS;
}

static void one_call(struct rng *r)
{
	long a[6] = { 0 };
	const char *takes = "xxxxxx";
	long nr = below(r, 470);
	if (below(r, 100) < 85) {
		int i = below(r, SIGNATURES);
		nr = signatures[i].nr;
		takes = signatures[i].takes;
	}
	if (left_out(nr))
		return;
	for (int i = 0; takes[i]; i++)
		a[i] = argument(r, takes[i]);
	bool forks = nr == SYS_fork || nr == SYS_vfork || nr == SYS_clone || nr == SYS_clone3;
	if (forks && !fork_allowed(r))
		return;
	if (nr == SYS_vfork || (nr == SYS_clone && below(r, 2)))
		nr = SYS_fork;		/* a child on the same stack would only crash */
	if (nr == SYS_kill && (int)a[0] == -1 && below(r, 8))
		return;
	/* Their limits, memory and scheduling are what keeps PID 1 at work. */
	if (a[0] == 1 && (nr == SYS_prlimit64 || nr == SYS_process_vm_writev))
		return;
	shared->calls++;
	long ret = syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (ret >= 0 && (nr == SYS_semget || nr == SYS_shmget || nr == SYS_msgget))
		shared->objects[shared->nobjects++ % 16] = ret;
	if (forks && ret == 0) {
		r->s ^= syscall(SYS_getpid) * 0x9e3779b97f4a7c15;
		for (int i = below(r, 40); i > 0; i--)
			one_call(r);
		syscall(SYS_exit_group, below(r, 4));
	}
}

/* ---- a worker ---- */
static void on_alarm(int sig)
{
	(void)sig;
}

static int run_calls(void *arg)
{
	struct rng r = *(struct rng *)arg;
	for (int i = 0; i < 4000; i++)
		one_call(&r);
	syscall(SYS_exit_group, 0);
	return 0;
}

static void make_arena(void)
{
	mmap(ARENA, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	mprotect(ARENA + 16 * PAGE, PAGE, PROT_READ);
	munmap(ARENA + 17 * PAGE, PAGE);
	mprotect(ARENA + 18 * PAGE, PAGE, PROT_NONE);
}

/* getpgid is asked about, and nobody need answer: the alarm interrupts it. */
static void make_listener(long flags)
{
	struct sock_filter code[] = {
		{ BPF_LD | BPF_W | BPF_ABS, 0, 0, 0 },
		{ BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_getpgid },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF },
		{ BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW },
	};
	struct sock_fprog prog = { 4, code };
	syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

/* Descriptors 3 to 30: some of each kind. */
static void make_files(struct rng *r)
{
	int pair[2];
	sigset_t set;
	sigfillset(&set);
	open("a", O_RDWR | O_CREAT, 0666);
	open("b", O_WRONLY | O_CREAT | O_APPEND, 0666);
	mkdir("dir", 0777);
	open("dir", O_RDONLY | O_DIRECTORY);
	symlink("a", "link");
	symlink("loop", "loop");
	mkfifo("fifo", 0666);
	open("fifo", O_RDWR | O_NONBLOCK);
	open("dir", O_PATH);
	if (pipe(pair) < 0 || pipe2(pair, O_NONBLOCK) < 0)
		return;
	open("/dev/null", O_RDWR);
	open("/dev/zero", O_RDWR);
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair);
	eventfd(1, EFD_NONBLOCK);
	int poll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN };
	epoll_ctl(poll, EPOLL_CTL_ADD, pair[0], &event);
	timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	signalfd(-1, &set, SFD_NONBLOCK);
	syscall(SYS_pidfd_open, getpid(), 0);
	memfd_create("m", 0);
	syscall(SYS_io_setup, 16, &aio);
	syscall(SYS_mq_open, "queue", O_CREAT | O_RDWR | O_NONBLOCK, 0666, NULL);
	open("/proc/self/status", O_RDONLY);
	open("/proc", O_RDONLY | O_DIRECTORY);
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
	if (master >= 0) {
		int unlock = 0;
		ioctl(master, 0x40045431 /* TIOCSPTLCK */, &unlock);
		ioctl(master, 0x5441 /* TIOCGPTPEER */, O_RDWR | O_NOCTTY | O_NONBLOCK);
	}
	int in = inotify_init1(IN_NONBLOCK);
	inotify_add_watch(in, ".", IN_ALL_EVENTS);
	inotify_add_watch(in, "a", IN_ALL_EVENTS);
	inotify_add_watch(in, "dir", IN_ALL_EVENTS);
	static const long listeners[] = { 8 /* NEW_LISTENER */, 8 | 32 /* WAIT_KILLABLE_RECV */ };
	if (below(r, 2))
		make_listener(PICK(r, listeners));
}

static void limit(int what, rlim_t value)
{
	struct rlimit r = { value, value };
	setrlimit(what, &r);
}

static void work(int worker, uint64_t seed)
{
	struct rng r = { (seed + 1) * 0x9e3779b97f4a7c15, worker };
	char dir[32];
	below(&r, 2);
	snprintf(dir, sizeof dir, "/tmp/w%d", worker);
	mkdir(dir, 0777);
	chmod(dir, 0777);
	if (chdir(dir) < 0)
		_exit(1);
	setsid();
	int null = open("/dev/null", O_RDWR);
	dup2(null, 1);
	dup2(null, 2);
	close(null);
	limit(RLIMIT_AS, 512 << 20);
	limit(RLIMIT_DATA, 64 << 20);
	limit(RLIMIT_FSIZE, 1 << 20);
	limit(RLIMIT_NOFILE, 64);
	limit(RLIMIT_MEMLOCK, 1 << 20);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_CPU, 3);
	limit(RLIMIT_SIGPENDING, 200);
	make_files(&r);
	make_arena();
	static const int dropped[] = { 21 /* SYS_ADMIN */, 22 /* SYS_BOOT */, 23 /* SYS_NICE */, 24 /* SYS_RESOURCE */, 25 /* SYS_TIME */,
				       16 /* SYS_MODULE */, 17 /* SYS_RAWIO */ };
	bool keep_admin = below(&r, 3) == 0;	/* for namespaces; it lives in one then */
	struct { uint32_t version; int pid; } head = { 0x20080522, 0 };
	struct { uint32_t effective, permitted, inheritable; } caps[2] = { { 0 } };
	syscall(SYS_capget, &head, caps);
	for (unsigned i = keep_admin; i < sizeof dropped / sizeof dropped[0]; i++) {
		prctl(PR_CAPBSET_DROP, dropped[i], 0, 0, 0);
		caps[0].effective &= ~(1u << dropped[i]);
		caps[0].permitted &= ~(1u << dropped[i]);
	}
	caps[0].inheritable = caps[1].inheritable = 0;
	syscall(SYS_capset, &head, caps);
	/* Root could take the devices away; in a root directory of its own it may do what it likes. */
	if (below(&r, 4) || chroot(".") < 0)
		syscall(SYS_setresuid, 65534, 65534, 65534);
	struct sigaction act = { .sa_handler = on_alarm };
	sigaction(SIGALRM, &act, NULL);
	struct itimerval often = { { 0, 5000 }, { 0, 5000 } };
	setitimer(ITIMER_REAL, &often, NULL);
	static struct rng rngs[THREADS];
	for (int i = 0; i < THREADS; i++) {
		rngs[i] = (struct rng){ r.s + i * 77777, worker };
		char *stack = mmap(NULL, 256 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (stack != MAP_FAILED)
			clone(run_calls, stack + (256 << 10), CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, &rngs[i]);
	}
	run_calls(&r);
}

/* ---- PID 1 ---- */
static long long now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

static int start(int worker, uint64_t seed)
{
	shared->forks[worker] = 0;
	int pid = syscall(SYS_clone, SIGCHLD | (seed % 2 ? CLONE_NEWPID : 0), 0, 0, 0, 0);
	if (pid == 0) {
		work(worker, seed);
		_exit(0);
	}
	return pid;
}

/* What somebody has, when all that is only kept for reuse was given back. */
struct memory { long free_kb, heap_kb; };

static struct memory memory(void)
{
	struct memory now = { -1, 0 };
	char line[256];
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);
	if (fd >= 0) {
		if (write(fd, "3", 1) != 1)
			printf("drop_caches: %s\n", strerror(errno));
		close(fd);
	}
	FILE *f = fopen("/proc/meminfo", "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "MemFree: %ld", &now.free_kb) == 1)
			break;
	if (f)
		fclose(f);
	long bytes = 0, used, size;
	f = fopen("/proc/slabinfo", "r");
	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "kmalloc-%*d %ld %*d %ld", &used, &size) == 2)
			{bytes += used * size; }
	if (f)
		fclose(f);
	now.heap_kb = bytes / 1024;
	return now;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	remove(path);
	return 0;
}

/* Without a fork: what the files take may be what is missing for one. */
static void remove_all(const char *dir)
{
	nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Objects of System V IPC and message queues outlive who made them. */
static void remove_objects(void)
{
	static const struct { short ctl; bool is_sem; short info, stat; } kinds[] = {
		{ SYS_semctl, true, 19, 18 }, { SYS_shmctl, false, 14, 13 }, { SYS_msgctl, false, 12, 11 },
	};
	uint64_t words[32];
	for (unsigned k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
		/* semctl has one argument more. */
		int at = kinds[k].is_sem;
		long a[4] = { 0 };
		a[1 + at] = kinds[k].info;
		a[2 + at] = (long)words;
		int highest = syscall(kinds[k].ctl, a[0], a[1], a[2], a[3]);
		for (int i = 0; i <= highest; i++) {
			a[0] = i;
			a[1 + at] = kinds[k].stat;
			int id = syscall(kinds[k].ctl, a[0], a[1], a[2], a[3]);
			a[0] = id;
			a[1 + at] = 0 /* IPC_RMID */;
			if (id >= 0)
				syscall(kinds[k].ctl, a[0], a[1], a[2], a[3]);
		}
	}
	nftw("/dev/mqueue", remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Kills and reaps everybody; false if somebody does not die. */
static bool end_all(void)
{
	long long end = now_ms() + 120000;
	for (;;) {
		kill(-1, SIGKILL);
		int pid = waitpid(-1, NULL, __WALL | WNOHANG);
		if (pid < 0 && errno == ECHILD)
			return true;
		if (pid > 0)
			continue;
		if (now_ms() > end)
			return false;
		usleep(2000);
	}
}

static bool run_round(uint64_t *seed)
{
	struct { int pid; long long end; } worker[WORKERS] = { { 0 } };
	long long end = now_ms() + ROUND_MS;
	while (now_ms() < end) {
		for (int i = 0; i < WORKERS; i++) {
			if (!worker[i].pid) {
				worker[i].pid = start(i, (*seed)++);
				worker[i].end = now_ms() + WORKER_MS;
			}
			if (now_ms() > worker[i].end && worker[i].pid > 0)
				kill(worker[i].pid, SIGKILL);
		}
		usleep(3000);
		int pid;
		while ((pid = waitpid(-1, NULL, __WALL | WNOHANG)) > 0)
			for (int i = 0; i < WORKERS; i++)
				if (worker[i].pid == pid)
					worker[i].pid = 0;
	}
	if (!end_all())
		return false;
	remove_objects();
	for (int i = 0; i < WORKERS; i++) {
		char dir[32];
		snprintf(dir, sizeof dir, "/tmp/w%d", i);
		remove_all(dir);
	}
	return true;
}

static const char *run(int seconds, uint64_t seed)
{
	static char why[128];
	long long end = now_ms() + seconds * 1000LL;
	struct memory before = memory(), after = before;
	for (int round = 0; now_ms() < end || round < 4; round++) {
		printf("round %d seed %lu calls %lu free %ld kB heap %ld kB\n", round, (unsigned long)seed, (unsigned long)shared->calls,
		       after.free_kb, after.heap_kb);
		fflush(stdout);
		if (!run_round(&seed)) {
			if (fork() == 0) {
				execl("/bin/busybox", "busybox", "ps", (char *)NULL);
				_exit(1);
			}
			sleep(3);
			return "stuck: somebody who was killed does not die";
		}
		after = memory();
		/* What the first rounds bring in stays: page tables of the kernel, the buckets of tables. */
		if (round == 2)
			before = after;
	}
	printf("calls %lu, free %ld kB, then %ld kB; heap %ld kB, then %ld kB\n", (unsigned long)shared->calls, before.free_kb,
	       after.free_kb, before.heap_kb, after.heap_kb);
	if (before.free_kb - after.free_kb > LEAK_KB || after.heap_kb - before.heap_kb > HEAP_LEAK_KB) {
		snprintf(why, sizeof why, "leak: %ld kB less are free, %ld kB more of the kernel's heap are in use",
			 before.free_kb - after.free_kb, after.heap_kb - before.heap_kb);
		return why;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	/* A worker may exec this program, also as PID 1 of a namespace. */
	if (argc > 1 && !strcmp(argv[1], "check_tree"))	/* the kernel's own option, which it hands on */
		argc--, argv++;
	if (getpid() != 1 || prctl(PR_CAPBSET_READ, 22, 0, 0, 0) != 1 || argc < 3)
		return 0;
	mkdir("/proc", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mkdir("/dev/pts", 0755);
	mount("devpts", "/dev/pts", "devpts", 0, NULL);
	mkdir("/dev/mqueue", 0755);
	mount("mqueue", "/dev/mqueue", "mqueue", 0, NULL);
	mkdir("/tmp", 01777);
	int null = open("/dev/null", O_RDONLY);
	dup2(null, 0);
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const char *why = run(atoi(argv[1]), strtoul(argv[2], NULL, 0));
	printf("syscalls: %s\n", why ? why : "done");
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 1;
}
