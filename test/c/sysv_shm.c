/* sysv_shm.c - System V shared memory: shmget(2), shmat(2), shmctl(2), and what fork, exec, exit and munmap do with attachments. */
#include "lib/hold.h"

#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#ifndef SHM_STAT_ANY
#define SHM_STAT_ANY 15
#endif

#define PAGE 4096

/* The segment of the case, for its agents too; where this process has attached it. */
#define id (sh->w[60])
static char *at;

static int new_segment(size_t bytes)
{
	return id = MUST(shmget(IPC_PRIVATE, bytes, IPC_CREAT | 0600));
}

static void remove_segment(void)
{
	shmctl(id, IPC_RMID, NULL);
}

static struct shmid_ds stat_of(int segment)
{
	struct shmid_ds ds;
	memset(&ds, 0xff, sizeof ds);
	if (shmctl(segment, IPC_STAT, &ds))
		ds.shm_nattch = -1;
	return ds;
}

static long attachments(void)
{
	return stat_of(id).shm_nattch;
}

static char *attach(void *addr, int flags)
{
	char *p = shmat(id, addr, flags);
	return p == (void *)-1 ? NULL : p;
}

static bool gone(int segment)
{
	struct shmid_ds ds;
	return shmctl(segment, IPC_STAT, &ds) == -1 && errno == EINVAL;
}

/* Agents' work: 0 or -errno. */
static long do_attach(long flags)
{
	at = shmat(id, NULL, flags);
	return at == (void *)-1 ? -errno : 0;
}

static long do_detach(long x)
{
	(void)x;
	return shmdt(at) ? -errno : 0;
}

static long do_stat(long x)
{
	struct shmid_ds ds;
	(void)x;
	return shmctl(id, IPC_STAT, &ds) ? -errno : 0;
}

static long do_remove(long x)
{
	(void)x;
	return shmctl(id, IPC_RMID, NULL) ? -errno : 0;
}

static long do_lock(long command)
{
	return shmctl(id, command, NULL) ? -errno : 0;
}

static long do_find(long key)
{
	return shmget(key, 0, 0600) < 0 ? -errno : 0;
}

static long do_peek(long i)
{
	return at[i];
}

static long do_poke(long i)
{
	at[i] = i;
	return 0;
}

CASE(get)
{
	key_t key = 0x46550000 + getpid();
	CHECK_ERR(shmget(key, PAGE, 0600), ENOENT, "[ipc] shmget: no segment of the key: ENOENT");
	CHECK_ERR(shmget(key, 0, IPC_CREAT | 0600), EINVAL, "[ipc] shmget: a new one of no size: EINVAL");
	CHECK_ERR(shmget(key, -1ul, IPC_CREAT | 0600), EINVAL, "[ipc] shmget: beyond SHMMAX: EINVAL");
	CHECK_ERR(shmget(key, 1ul << 62, IPC_CREAT | 0600), ENOMEM, "[ipc] shmget: more than memory ever holds: ENOMEM");
	CHECK_ERR(shmget(key, PAGE, IPC_CREAT | SHM_HUGETLB | 13 << 26 | 0600), EINVAL, "[ipc] shmget: SHM_HUGETLB of no such size: EINVAL");
	id = shmget(key, PAGE + 100, IPC_CREAT | 0640);
	CHECK(id >= 0, "[ipc] shmget: a new one");
	if (id < 0)
		return;
	CHECK_EQ(shmget(key, 0, 0), id, "[ipc] shmget: found by its key, of any size");
	CHECK_EQ(shmget(key, PAGE + 100, IPC_CREAT | 0600), id, "[ipc] shmget: IPC_CREAT finds it");
	CHECK_ERR(shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600), EEXIST, "[ipc] shmget: IPC_EXCL: EEXIST");
	CHECK_ERR(shmget(key, PAGE + 101, 0600), EINVAL, "[ipc] shmget: larger than it is: EINVAL");
	struct shmid_ds ds = stat_of(id);
	CHECK(ds.shm_perm.__key == key && ds.shm_perm.mode == 0640 && ds.shm_segsz == PAGE + 100, "[ipc] shmctl: key, mode, size");
	CHECK(ds.shm_nattch == 0 && ds.shm_atime == 0 && ds.shm_dtime == 0, "[ipc] shmctl: never attached");
	CHECK(ds.shm_cpid == getpid() && ds.shm_lpid == 0, "[ipc] shmctl: who made it, and nobody else");
	CHECK(ds.shm_perm.uid == geteuid() && ds.shm_perm.cuid == geteuid() && ds.shm_perm.gid == getegid(), "[ipc] shmctl: owner");
	CHECK(llabs((long long)ds.shm_ctime - time(NULL)) <= 2, "[ipc] shmctl: time of the last change");
	ds.shm_perm.mode = 0600;
	ds.shm_perm.uid = geteuid() + 1;
	CHECK_OK(shmctl(id, IPC_SET, &ds), "[ipc] shmctl: IPC_SET");
	ds = stat_of(id);
	CHECK(ds.shm_perm.mode == 0600 && ds.shm_perm.uid == geteuid() + 1 && ds.shm_perm.cuid == geteuid(), "[ipc] shmctl: changes mode and owner");
	CHECK_OK(shmctl(id, IPC_RMID, NULL), "[ipc] shmctl: IPC_RMID");
	CHECK(gone(id), "[ipc] shmctl: a segment that was removed: EINVAL");
	CHECK_ERR(shmget(key, 0, 0), ENOENT, "[ipc] shmget: its key is free");
	int old = id;
	new_segment(1);
	CHECK(id != old, "[ipc] shmget: an id is not used again at once");
	remove_segment();
	int sparse = shmget(IPC_PRIVATE, 1ul << 45, IPC_CREAT | SHM_NORESERVE | 0600);
	CHECK(sparse >= 0, "[ipc] shmget: SHM_NORESERVE: as large as one likes");
	shmctl(sparse, IPC_RMID, NULL);
}

CASE(huge)
{
	char buf[64] = "";
	read_file("/proc/sys/vm/nr_hugepages", buf, sizeof buf);
	if (atoi(buf) > 0) {
		tap_skip("[ipc] shmget: SHM_HUGETLB without huge pages: ENOMEM", "there are huge pages");
		return;
	}
	IF_ROOT("[ipc] shmget: SHM_HUGETLB without huge pages: ENOMEM") CHECK_ERR(shmget(IPC_PRIVATE, PAGE, IPC_CREAT | SHM_HUGETLB | 0600), ENOMEM, "[ipc] shmget: SHM_HUGETLB without huge pages: ENOMEM");
}

CASE(bad_input)
{
	struct shmid_ds ds;
	new_segment(3 * PAGE);
	CHECK_ERR(shmat(-1, NULL, 0), EINVAL, "[ipc] shmat: bad id: EINVAL");
	CHECK_ERR(shmat(0x7fff0123, NULL, 0), EINVAL, "[ipc] shmat: no such segment: EINVAL");
	CHECK_ERR(shmat(id, (void *)0x10000005, 0), EINVAL, "[ipc] shmat: an address that is not aligned: EINVAL");
	CHECK_ERR(shmat(id, NULL, SHM_REMAP), EINVAL, "[ipc] shmat: SHM_REMAP of nothing: EINVAL");
	CHECK_ERR(shmat(id, (void *)5, SHM_RND | SHM_REMAP), EINVAL, "[ipc] shmat: rounded to nothing: EINVAL");
	CHECK_ERR(shmat(id, (void *)0x7fffffffe000, 0), ENOMEM, "[ipc] shmat: beyond the user's half: ENOMEM");
	CHECK_ERR(shmat(id, (void *)-PAGE, 0), EINVAL, "[ipc] shmat: beyond all addresses: EINVAL");
	CHECK_ERR(shmdt(NULL), EINVAL, "[ipc] shmdt: nothing there: EINVAL");
	CHECK_ERR(shmdt((char *)&ds), EINVAL, "[ipc] shmdt: not aligned: EINVAL");
	CHECK_ERR(shmdt((void *)-PAGE), EINVAL, "[ipc] shmdt: the last page: EINVAL");
	char *mine = map_pages(1);
	CHECK_ERR(shmdt(mine), EINVAL, "[ipc] shmdt: other memory: EINVAL");
	CHECK_ERR(shmctl(id, 99, &ds), EINVAL, "[ipc] shmctl: unknown command: EINVAL");
	CHECK_ERR(syscall(SYS_shmctl, id, IPC_STAT | 0x100, &ds), EINVAL, "[ipc] shmctl: with IPC_64: EINVAL");
	CHECK_ERR(shmctl(id, -1, &ds), EINVAL, "[ipc] shmctl: negative command: EINVAL");
	CHECK_ERR(shmctl(-1, IPC_INFO, &ds), EINVAL, "[ipc] shmctl: bad id, even where none is needed: EINVAL");
	CHECK_ERR(shmctl(id, IPC_STAT, BADPTR), EFAULT, "[ipc] shmctl: IPC_STAT to nowhere: EFAULT");
	CHECK_ERR(shmctl(id, IPC_SET, BADPTR), EFAULT, "[ipc] shmctl: IPC_SET from nowhere: EFAULT");
	CHECK_ERR(shmctl(0, SHM_INFO, BADPTR), EFAULT, "[ipc] shmctl: SHM_INFO to nowhere: EFAULT");
	CHECK_ERR(shmctl(0, IPC_INFO, BADPTR), EFAULT, "[ipc] shmctl: IPC_INFO to nowhere: EFAULT");
	CHECK_EQ(attachments(), 0, "[ipc] shmat: what failed is no attachment");
	remove_segment();
}

CASE(attach)
{
	new_segment(2 * PAGE + 1);
	char *p = attach(NULL, 0), *q = attach(NULL, 0);
	REQUIRE(p && q);
	CHECK(p != q && attachments() == 2, "[ipc] shmat: twice in a process: two attachments");
	CHECK(p[0] == 0 && p[3 * PAGE - 1] == 0, "[ipc] shmat: zeros up to the end of the last page");
	strcpy(p + PAGE, "shared");
	CHECK_EQ(strcmp(q + PAGE, "shared"), 0, "[ipc] shmat: what one writes, the other shows");
	struct shmid_ds ds = stat_of(id);
	CHECK(ds.shm_lpid == getpid() && llabs((long long)ds.shm_atime - time(NULL)) <= 2 && ds.shm_dtime == 0, "[ipc] shmat: who and when");
	CHECK_ERR(shmat(id, p, 0), EINVAL, "[ipc] shmat: where there is something: EINVAL");
	CHECK(attach(p, SHM_REMAP) == p && attachments() == 2, "[ipc] shmat: SHM_REMAP takes its place");
	CHECK(attach(p + 7, SHM_REMAP | SHM_RND) == p && attachments() == 2, "[ipc] shmat: SHM_RND rounds down");
	CHECK_EQ(strcmp(p + PAGE, "shared"), 0, "[ipc] shmat: the contents stay");
	CHECK_OK(shmdt(q), "[ipc] shmdt");
	CHECK_EQ(attachments(), 1, "[ipc] shmdt: one less");
	ds = stat_of(id);
	CHECK(ds.shm_lpid == getpid() && llabs((long long)ds.shm_dtime - time(NULL)) <= 2, "[ipc] shmdt: who and when");
	CHECK_ERR(shmdt(q), EINVAL, "[ipc] shmdt: not twice: EINVAL");
	CHECK(attach(q, 0) == q, "[ipc] shmat: at an address that is free");
	shmdt(q);
	CHECK_OK(shmdt(p), "[ipc] shmdt: the last");
	p = attach(NULL, 0);
	CHECK(p && strcmp(p + PAGE, "shared") == 0, "[ipc] shmdt: the contents stay without attachments");
	shmdt(p);
	remove_segment();
}

CASE(rights)
{
	NEED_ROOT("[ipc] shmat: what a segment's mode allows");
	new_segment(PAGE);
	char *p = attach(NULL, 0), *r = attach(NULL, SHM_RDONLY), *x = attach(NULL, SHM_EXEC);
	REQUIRE(p && r && x);
	p[5] = 42;
	CHECK_EQ(r[5], 42, "[ipc] shmat: SHM_RDONLY can be read");
	pid_t pid = fork();
	if (pid == 0) {
		r[5] = 1;
		_exit(0);
	}
	int st = reap(pid);
	CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV, "[ipc] shmat: and not be written: SIGSEGV");
	CHECK_ERR(mprotect(r, PAGE, PROT_READ | PROT_WRITE), EACCES, "[ipc] shmat: nor made writable: EACCES");
	CHECK_OK(mprotect(r, PAGE, PROT_READ | PROT_EXEC), "[ipc] shmat: but executable");
	x[0] = (char)0xc3; /* ret */
	((void (*)(void))x)();
	CHECK(true, "[ipc] shmat: SHM_EXEC can be executed");
	/* write(r) into the segment by the kernel */
	int fd[2];
	MUST(pipe(fd));
	MUST(write(fd[1], "abc", 3));
	CHECK_ERR(read(fd[0], r, 3), EFAULT, "[ipc] shmat: the kernel does not write to it either: EFAULT");
	CHECK(read(fd[0], p, 3) == 3 && memcmp(r, "abc", 3) == 0, "[ipc] shmat: it does to one that is writable");
	shmdt(p);
	shmdt(r);
	shmdt(x);
	CHECK_EQ(attachments(), 0, "[ipc] shmdt: of each kind");
	remove_segment();
}

CASE(partial)
{
	new_segment(5 * PAGE);
	char *p = attach(NULL, 0);
	REQUIRE(p);
	munmap(p + 2 * PAGE, PAGE);
	CHECK_EQ(attachments(), 2, "[ipc] munmap: a hole makes two of an attachment");
	CHECK_ERR(shmdt(p + 3 * PAGE), EINVAL, "[ipc] shmdt: by its start only: EINVAL");
	CHECK_OK(shmdt(p), "[ipc] shmdt: all that is left of it");
	CHECK_EQ(attachments(), 0, "[ipc] shmdt: both pieces are gone");
	p = attach(NULL, 0);
	munmap(p, PAGE);
	CHECK_EQ(attachments(), 1, "[ipc] munmap: of its start");
	CHECK_OK(shmdt(p), "[ipc] shmdt: by the start that it had");
	p = attach(NULL, 0);
	MUST(mprotect(p + PAGE, PAGE, PROT_READ));
	CHECK_EQ(attachments(), 3, "[ipc] mprotect: three of one");
	MUST(mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE));
	CHECK_EQ(attachments(), 3, "[ipc] mprotect: which do not become one again");
	munmap(p, 5 * PAGE);
	CHECK_EQ(attachments(), 0, "[ipc] munmap: of all");

	p = attach(NULL, 0);
	p[4 * PAGE] = 9;
	char *q = mremap(p, 5 * PAGE, 6 * PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && attachments() == 1 && q[4 * PAGE] == 9, "[ipc] mremap: it moves, and is one still");
	pid_t pid = fork();
	if (pid == 0) {
		q[5 * PAGE] = 1;
		_exit(0);
	}
	int st = reap(pid);
	CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGBUS, "[ipc] mremap: beyond the segment: SIGBUS");
	char *r = mremap(q, 0, PAGE, MREMAP_MAYMOVE);
	CHECK(r != MAP_FAILED && attachments() == 2, "[ipc] mremap: of nothing: one more");
	CHECK_OK(shmdt(r), "[ipc] shmdt: the copy");
	CHECK_OK(shmdt(q), "[ipc] shmdt: what was moved");
	CHECK_EQ(attachments(), 0, "[ipc] shmdt: none is left");
	remove_segment();
}

CASE(two_of_one)
{
	/* Side by side: each is an attachment of its own. */
	new_segment(PAGE);
	char *room = map_pages(2);
	munmap(room, 2 * PAGE);
	char *p = attach(room, 0), *q = attach(room + PAGE, 0);
	CHECK(p == room && q == room + PAGE && attachments() == 2, "[ipc] shmat: side by side");
	p[1] = 7;
	CHECK_EQ(q[1], 7, "[ipc] shmat: both show the same");
	CHECK_OK(shmdt(p), "[ipc] shmdt: the first");
	CHECK(attachments() == 1 && q[1] == 7, "[ipc] shmdt: the second stays");
	shmdt(q);
	remove_segment();
}

CASE(fork_exit)
{
	new_segment(2 * PAGE);
	struct agent *a = spawn(NULL);
	CHECK_EQ(call(a, do_attach, 0), 0, "[ipc] shmat by another process");
	CHECK_EQ(stat_of(id).shm_lpid, a->pid, "[ipc] shmctl: shm_lpid: who attached it last");
	struct agent *b = spawn(a);
	CHECK_EQ(attachments(), 2, "[6.19] a child inherits attachments");
	CHECK_EQ(stat_of(id).shm_lpid, a->pid, "[6.19] by the work of its parent");
	call(a, do_poke, 77);
	CHECK_EQ(call(b, do_peek, 77), 77, "[6.19] the memory is one");
	CHECK_EQ(call(b, do_detach, 0), 0, "[ipc] shmdt: an inherited one");
	CHECK_EQ(stat_of(id).shm_lpid, b->pid, "[ipc] shmctl: shm_lpid: who detached it last");
	CHECK_EQ(attachments(), 1, "[6.19] the parent's stays");
	pid_t dead = b->pid;
	retire(b, a);
	struct agent *c = spawn_flags(a, CLONE_FILES | SIGCHLD);
	CHECK_EQ(attachments(), 2, "[6.19] once more");
	quit(c, 0);
	CHECK(call(a, ag_reap, c->pid) == c->pid && attachments() == 1, "[3.10] the end of a process detaches");
	CHECK(stat_of(id).shm_lpid == c->pid && c->pid != dead, "[3.10] by itself");
	kill(a->pid, SIGKILL);
	REQUIRE(await_zombie(a->pid));
	CHECK_EQ(attachments(), 0, "[3.10] a zombie has no attachments");
	reap(a->pid);
	remove_segment();
}

CASE(vfork_threads)
{
	new_segment(PAGE);
	struct agent *a = spawn(NULL);
	call(a, do_attach, 0);
	struct agent *t = spawn_thread(a);
	CHECK_EQ(attachments(), 1, "[6.19] a thread shares attachments");
	CHECK_EQ(call(t, do_detach, 0), 0, "[ipc] shmdt: by another thread");
	CHECK_EQ(attachments(), 0, "[ipc] shmdt: gone for all");
	call(t, do_attach, 0);
	quit_thread(t, 0);
	REQUIRE(AWAIT(syscall(SYS_tgkill, a->pid, t->tid, 0) == -1));
	CHECK_EQ(attachments(), 1, "[ipc] the end of a thread detaches nothing");
	retire(a, NULL);
	CHECK_EQ(attachments(), 0, "[3.10] the process's does");
	remove_segment();
}

static long dontfork(long on)
{
	return madvise(at, PAGE, on ? MADV_DONTFORK : MADV_DOFORK) ? -errno : 0;
}

CASE(dont_fork)
{
	new_segment(PAGE);
	struct agent *a = spawn(NULL);
	call(a, do_attach, 0);
	CHECK_EQ(call(a, dontfork, 1), 0, "[ipc] madvise of an attachment");
	struct agent *b = spawn(a);
	CHECK_EQ(attachments(), 1, "[ipc] MADV_DONTFORK: the child has none");
	retire(b, a);
	retire(a, NULL);
	CHECK_EQ(attachments(), 0, "[ipc] and nothing was counted twice");
	remove_segment();
}

CASE(exec)
{
	char maps[32];
	new_segment(PAGE);
	pid_t pid = fork_hold(do_attach, 0);
	CHECK_EQ(attachments(), 0, "[10.10] exec detaches shared memory");
	CHECK_EQ(stat_of(id).shm_lpid, pid, "[10.10] as the process's own doing");
	snprintf(maps, sizeof maps, "/proc/%d/maps", pid);
	char text[8192] = "";
	read_file(maps, text, sizeof text);
	CHECK(*text && !strstr(text, "SYSV"), "[10.10] the new program's map has none of it");
	close(down[1]);
	reap(pid);
	remove_segment();
}

CASE(removed)
{
	key_t key = 0x46560000 + getpid();
	id = MUST(shmget(key, PAGE, IPC_CREAT | 0600));
	char *p = attach(NULL, 0);
	REQUIRE(p);
	CHECK_OK(shmctl(id, IPC_RMID, NULL), "[ipc] shmctl: IPC_RMID of a segment that is attached");
	struct shmid_ds ds = stat_of(id);
	CHECK(ds.shm_nattch == 1 && ds.shm_perm.mode == (SHM_DEST | 0600), "[ipc] shmctl: it stays, marked SHM_DEST");
	CHECK_EQ(ds.shm_perm.__key, IPC_PRIVATE, "[ipc] shmctl: without its key");
	CHECK_ERR(shmget(key, 0, 0600), ENOENT, "[ipc] shmget: which finds nothing: ENOENT");
	p[3] = 4;
	char *q = attach(NULL, 0);
	CHECK(q && q[3] == 4, "[ipc] shmat: by its id it can be attached still");
	CHECK_OK(shmctl(id, IPC_RMID, NULL), "[ipc] shmctl: IPC_RMID once more changes nothing");
	int other = shmget(key, PAGE, IPC_CREAT | IPC_EXCL | 0600);
	CHECK(other >= 0 && other != id, "[ipc] shmget: another one of the key");
	ds.shm_perm.mode = 0640;
	CHECK_OK(shmctl(id, IPC_SET, &ds), "[ipc] shmctl: IPC_SET");
	CHECK_EQ(stat_of(id).shm_perm.mode, SHM_DEST | 0640, "[ipc] shmctl: leaves the mark");
	shmdt(p);
	CHECK_EQ(attachments(), 1, "[ipc] shmdt: one of two");
	shmdt(q);
	CHECK(gone(id), "[ipc] shmdt: with the last the segment goes");
	CHECK_OK(shmctl(other, IPC_RMID, NULL), "[ipc] shmctl: the other one is there still");

	new_segment(PAGE);
	struct agent *a = spawn(NULL);
	call(a, do_attach, 0);
	struct agent *b = spawn(a);
	remove_segment();
	retire(b, a);
	CHECK(!gone(id), "[3.10] the end of one of two keeps it");
	quit(a, 0);
	REQUIRE(await_zombie(a->pid));
	CHECK(gone(id), "[3.10] when a zombie is seen, the segment that only it had is gone");
	reap(a->pid);
}

CASE(permissions)
{
	NEED_ROOT("[ipc] shmctl: permissions");
	key_t key = 0x46570000 + getpid();
	id = MUST(shmget(key, PAGE, IPC_CREAT | 0604));
	struct agent *a = spawn(NULL);
	call(a, ag_drop, 12345);
	CHECK_EQ(call(a, do_attach, 0), -EACCES, "[ipc] shmat: to write needs permission: EACCES");
	CHECK_EQ(call(a, do_attach, SHM_RDONLY | SHM_EXEC), -EACCES, "[ipc] shmat: to execute too: EACCES");
	CHECK_EQ(call(a, do_attach, SHM_RDONLY), 0, "[ipc] shmat: others may read");
	CHECK_EQ(call(a, do_detach, 0), 0, "[ipc] shmdt: needs none");
	CHECK_EQ(call(a, do_stat, 0), 0, "[ipc] shmctl: IPC_STAT needs to read");
	CHECK_EQ(call(a, do_find, key), -EACCES, "[ipc] shmget: asks for the mode: EACCES");
	CHECK_EQ(call(a, do_remove, 0), -EPERM, "[ipc] shmctl: IPC_RMID is the owner's: EPERM");
	CHECK_EQ(call(a, do_lock, SHM_LOCK), -EPERM, "[ipc] shmctl: SHM_LOCK is the owner's: EPERM");
	struct shmid_ds ds = stat_of(id);
	ds.shm_perm.mode = 0;
	MUST(shmctl(id, IPC_SET, &ds));
	CHECK_EQ(call(a, do_stat, 0), -EACCES, "[ipc] shmctl: nor to read: EACCES");
	CHECK(attach(NULL, 0) != NULL, "[ipc] shmat: CAP_IPC_OWNER needs no permission");
	ds.shm_perm.uid = 12345;
	ds.shm_perm.mode = 0700;
	MUST(shmctl(id, IPC_SET, &ds));
	CHECK_EQ(call(a, do_attach, SHM_EXEC), 0, "[ipc] shmctl: a new owner may");
	CHECK_EQ(call(a, do_lock, SHM_LOCK), 0, "[ipc] shmctl: and lock it within RLIMIT_MEMLOCK");
	CHECK_EQ(stat_of(id).shm_perm.mode, SHM_LOCKED | 0700, "[ipc] shmctl: SHM_LOCKED shows");
	CHECK_EQ(call(a, do_lock, SHM_UNLOCK), 0, "[ipc] shmctl: SHM_UNLOCK");
	CHECK_EQ(stat_of(id).shm_perm.mode, 0700, "[ipc] shmctl: and shows no more");
	CHECK_EQ(call(a, do_remove, 0), 0, "[ipc] shmctl: and remove it");
	retire(a, NULL);
}

static long memlock(long bytes)
{
	struct rlimit r = { bytes, bytes };
	return setrlimit(RLIMIT_MEMLOCK, &r) ? -errno : 0;
}

CASE(locked)
{
	NEED_ROOT("[ipc] shmctl: SHM_LOCK and its limit");
	struct agent *a = spawn(NULL);
	id = MUST(shmget(IPC_PRIVATE, 4 * PAGE, IPC_CREAT | 0666));
	struct shmid_ds ds = stat_of(id);
	ds.shm_perm.uid = 54321;
	MUST(shmctl(id, IPC_SET, &ds));
	call(a, memlock, 3 * PAGE);
	call(a, ag_drop, 54321);
	CHECK_EQ(call(a, do_lock, SHM_LOCK), -ENOMEM, "[limit] shmctl: SHM_LOCK of more than RLIMIT_MEMLOCK: ENOMEM");
	call(a, memlock, 0);
	CHECK_EQ(call(a, do_lock, SHM_LOCK), -EPERM, "[limit] shmctl: with a limit of 0: EPERM");
	CHECK_OK(shmctl(id, SHM_LOCK, NULL), "[limit] shmctl: CAP_IPC_LOCK knows no limit");
	CHECK_OK(shmctl(id, SHM_LOCK, NULL), "[ipc] shmctl: SHM_LOCK twice");
	CHECK_OK(shmctl(id, SHM_UNLOCK, NULL), "[ipc] shmctl: needs one SHM_UNLOCK");
	CHECK_EQ(stat_of(id).shm_perm.mode, 0666, "[ipc] shmctl: to be unlocked");
	retire(a, NULL);
	remove_segment();
}

static long kib(const char *path, const char *key)
{
	static char text[65536];
	if (read_file(path, text, sizeof text) < 0)
		return -1;
	char *line = strstr(text, key);
	return line ? atol(line + strlen(key)) : -1;
}

CASE(memory)
{
	enum { PAGES = 512 };
	new_segment(PAGES * PAGE);
	long before = kib("/proc/meminfo", "Shmem:"), rss = kib("/proc/self/status", "RssShmem:");
	char *p = attach(NULL, 0);
	REQUIRE(p);
	struct shm_info info;
	int highest = shmctl(0, SHM_INFO, (void *)&info);
	CHECK(highest >= 0 && info.used_ids >= 1 && info.shm_tot >= PAGES, "[ipc] shmctl: SHM_INFO: segments and pages");
	unsigned long resident = info.shm_rss;
	memset(p, 1, PAGES * PAGE);
	long more = kib("/proc/self/status", "RssShmem:") - rss;
	/* The suite's own shared memory may have come in meanwhile. */
	CHECK(more >= PAGES * PAGE / 1024 && more < PAGES * PAGE / 1024 + 64, "[proc] RssShmem counts attached memory");
	long grown = kib("/proc/meminfo", "Shmem:") - before;
	CHECK(grown >= PAGES * PAGE / 1024 / 2 && grown < 4 * PAGES * PAGE / 1024, "[proc] Shmem in meminfo counts it");
	shmctl(0, SHM_INFO, (void *)&info);
	CHECK(info.shm_rss >= resident + PAGES, "[ipc] shmctl: SHM_INFO: pages that are there");
	char line[256], want[64];
	snprintf(want, sizeof want, "%lx-%lx rw-s 00000000 00:01 %d", (long)p, (long)p + PAGES * PAGE, id);
	FILE *f = fopen("/proc/self/maps", "r");
	bool seen = false;
	while (fgets(line, sizeof line, f))
		seen |= strncmp(line, want, strlen(want)) == 0 && strstr(line, " /SYSV00000000 (deleted)\n");
	fclose(f);
	CHECK(seen, "[proc] maps shows its key and its id");
	shmdt(p);
	CHECK(kib("/proc/self/status", "RssShmem:") - rss < 64, "[proc] RssShmem: no more than before");
	remove_segment();
	CHECK(AWAIT(kib("/proc/meminfo", "Shmem:") - before < grown / 2 + 1), "[leak] a segment's memory is given back with it");
}

CASE(info)
{
	struct shminfo info;
	struct shm_info used;
	struct shmid_ds ds;
	char line[256], want[128];
	bool seen = false, by_index = false, any = false;
	new_segment(PAGE + 5);
	int highest = shmctl(0, SHM_INFO, (void *)&used);
	CHECK(shmctl(0, IPC_INFO, (void *)&info) == highest && info.shmmni == 4096 && info.shmmin == 1 && info.shmmax == ~0ul - (1 << 24) &&
		      info.shmall == info.shmmax && info.shmseg == 4096, "[ipc] shmctl: IPC_INFO: the limits");
	for (int i = 0; i <= highest; i++) {
		by_index |= shmctl(i, SHM_STAT, &ds) == id && ds.shm_segsz == PAGE + 5;
		any |= shmctl(i, SHM_STAT_ANY, &ds) == id && ds.shm_segsz == PAGE + 5;
	}
	CHECK(by_index, "[ipc] shmctl: SHM_STAT finds it by its index");
	CHECK(any, "[ipc] shmctl: so does SHM_STAT_ANY");
	char *p = attach(NULL, 0);
	p[0] = 1;
	FILE *f = fopen("/proc/sysvipc/shm", "r");
	REQUIRE(f);
	REQUIRE(fgets(line, sizeof line, f));
	CHECK(strncmp(line, "       key      shmid perms                  size  cpid  lpid nattch   uid", 73) == 0, "[proc] /proc/sysvipc/shm has its heading");
	snprintf(want, sizeof want, "%10d %10d  %4o %21u %5d %5d  %5d %5u", 0, id, 0600, PAGE + 5, getpid(), getpid(), 1, geteuid());
	while (fgets(line, sizeof line, f))
		seen |= strncmp(line, want, strlen(want)) == 0 && atol(line + 125) == PAGE;
	fclose(f);
	CHECK(seen, "[proc] /proc/sysvipc/shm has its line");
	shmdt(p);
	remove_segment();
}

static bool set_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	int e = errno;
	if (fd >= 0)
		close(fd);
	errno = e;
	return ok;
}

static long do_new(long x)
{
	(void)x;
	return shmget(IPC_PRIVATE, PAGE, IPC_CREAT | 0600);
}

CASE(limits)
{
	NEED_ROOT("[proc] /proc/sys/kernel/shm*");
	const char *max = "/proc/sys/kernel/shmmax", *forced = "/proc/sys/kernel/shm_rmid_forced", *mni = "/proc/sys/kernel/shmmni";
	char old[64];
	REQUIRE(read_file(max, old, sizeof old) > 0);
	CHECK(set_sysctl(max, "8192"), "[proc] shmmax can be set");
	CHECK_ERR(shmget(IPC_PRIVATE, 8193, 0600), EINVAL, "[proc] shmmax: no larger segment: EINVAL");
	id = shmget(IPC_PRIVATE, 8192, 0600);
	CHECK(id >= 0, "[proc] shmmax: one of that size");
	remove_segment();
	set_sysctl(max, old);
	CHECK(!set_sysctl(mni, "32769") && errno == EINVAL, "[proc] shmmni beyond all ids: EINVAL");
	CHECK(!set_sysctl(forced, "2") && errno == EINVAL, "[proc] shm_rmid_forced is 0 or 1: EINVAL");
	const char *all = "/proc/sys/kernel/shmall";
	REQUIRE(read_file(all, old, sizeof old) > 0);
	set_sysctl(all, "0");
	CHECK_ERR(shmget(IPC_PRIVATE, PAGE, 0600), ENOSPC, "[proc] shmall: no more pages: ENOSPC");
	set_sysctl(all, old);

	struct agent *a = spawn(NULL);
	int orphan = call(a, do_new, 0);
	retire(a, NULL);
	CHECK(!gone(orphan), "[ipc] a segment outlives its creator");
	CHECK(set_sysctl(forced, "1"), "[proc] shm_rmid_forced can be set");
	CHECK(gone(orphan), "[proc] shm_rmid_forced: what nobody has is gone");
	new_segment(PAGE);
	CHECK(!gone(id), "[proc] shm_rmid_forced: a new one stays");
	char *p = attach(NULL, 0);
	CHECK(p && stat_of(id).shm_nattch == 1, "[proc] shm_rmid_forced: it can be attached");
	shmdt(p);
	CHECK(gone(id), "[proc] shm_rmid_forced: and goes with the last attachment");
	a = spawn(NULL);
	orphan = call(a, do_new, 0);
	CHECK(!gone(orphan), "[proc] shm_rmid_forced: one that was never attached");
	retire(a, NULL);
	CHECK(gone(orphan), "[proc] shm_rmid_forced: goes with its creator");
	set_sysctl(forced, "0");
}

static long pids_seen(long which)
{
	struct shmid_ds ds = stat_of(id);
	return which ? ds.shm_lpid : ds.shm_cpid;
}

CASE(namespaces)
{
	NEED_ROOT("[ipc] shmctl: pids are the reader's namespace's");
	struct agent *a = new_ns(NULL);
	id = call(a, do_new, 0);
	CHECK_EQ(call(a, pids_seen, 0), 1, "[ipc] shmctl: shm_cpid in its own namespace");
	CHECK_EQ(pids_seen(0), a->pid, "[ipc] shmctl: shm_cpid as the parent namespace numbers it");
	char *p = attach(NULL, 0);
	CHECK_EQ(pids_seen(1), getpid(), "[ipc] shmctl: shm_lpid");
	CHECK_EQ(call(a, pids_seen, 1), 0, "[ipc] shmctl: shm_lpid is 0 for those who can't see the process");
	shmdt(p);
	retire(a, NULL);
	CHECK_EQ(pids_seen(0), a->pid, "[ipc] shmctl: shm_cpid of a process that is gone");
	remove_segment();
}

/* Attaching, forking, dying and detaching against a removal: the segment goes, and with it the memory. */
static long churn(long rounds)
{
	for (long i = 0; i < rounds; i++) {
		char *p = shmat(id, NULL, 0);
		if (p == (void *)-1)
			return errno == EINVAL || errno == EIDRM ? i : -errno;
		p[i % (4 * PAGE)] = i;
		pid_t pid = fork();
		if (pid == 0) {
			if (i & 1)
				munmap(p + PAGE, PAGE);
			if (i & 2)
				shmdt(p);
			_exit(0);
		}
		shmdt(p);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
	return rounds;
}

CASE_T(race, 60)
{
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	bool all = true, ended = true;
	for (int i = 0; i < iterations(300) / 10; i++) {
		new_segment(4 * PAGE);
		int mine = id;
		post(a, churn, 1000000);
		post(b, churn, 1000000);
		while (stat_of(mine).shm_nattch == 0)
			sched_yield();
		remove_segment();
		all &= finish(a) >= 0 && finish(b) >= 0;
		ended &= AWAIT(gone(mine));
	}
	CHECK(all, "[ipc] shmat against IPC_RMID: it is there, or EINVAL");
	CHECK(ended, "[leak] the segment goes with the last attachment, whoever races");
	retire(a, NULL);
	retire(b, NULL);
}

/* A machine of which the whole memory can be taken for a moment. */
CASE_T(exhaustion, 120)
{
	long total = kib("/proc/meminfo", "MemTotal:");
	if (total <= 0 || total > 1 << 20) {
		tap_skip("[exhaust] a segment larger than memory", "the machine has too much of it");
		return;
	}
	id = MUST(shmget(IPC_PRIVATE, total * 2048, IPC_CREAT | SHM_NORESERVE | 0600));
	long before = kib("/proc/meminfo", "MemFree:");
	pid_t pid = fork();
	if (pid == 0) {
		char *p = attach(NULL, 0);
		remove_segment();
		for (long i = 0; p && i < total * 2048; i += PAGE)
			p[i] = 1;
		_exit(0);
	}
	int st = reap(pid);
	CHECK(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL, "[exhaust] who fills a segment larger than memory is killed");
	CHECK(gone(id), "[exhaust] with it goes the segment, if it was removed");
	CHECK(AWAIT(kib("/proc/meminfo", "MemFree:") > before - total / 10), "[exhaust] and the memory is free again");
}

static long killed_churn(long x)
{
	(void)x;
	for (;;) {
		char *p = shmat(id, NULL, 0);
		if (p != (void *)-1) {
			p[0] = 1;
			shmdt(p);
		}
	}
	return 0;
}

CASE_T(killed, 60)
{
	new_segment(4 * PAGE);
	for (int i = 0; i < iterations(300) / 10; i++) {
		struct agent *a = spawn(NULL);
		post(a, killed_churn, 0);
		while (!a->started)
			sched_yield();
		for (int n = 0; n < i * 10; n++)
			sched_yield();
		kill(a->pid, SIGKILL);
		reap(a->pid);
	}
	CHECK_EQ(attachments(), 0, "[leak] whoever is killed in shmat or shmdt leaves no attachment");
	remove_segment();
	CHECK(gone(id), "[leak] and the segment can be removed");
}
