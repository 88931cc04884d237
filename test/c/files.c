/* files.c - files, directories, links and devices on the root file system. */
#include "lib/tap.h"

#include <dirent.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/utsname.h>

static char dir[256];
static char path_ring[4][512];
/* `name` in the scratch directory. */
static char *in(const char *name)
{
	static int at;
	char *p = path_ring[at++ & 3];
	if (!dir[0])
		snprintf(dir, sizeof dir, "%s", tmp_path(""));
	snprintf(p, 512, "%s/%s", dir, name);
	return p;
}

CASE(open_flags)
{
	CHECK_ERR(open(in("a"), O_RDWR), ENOENT, "[vfs] open of nothing: ENOENT");
	int fd = open(in("a"), O_RDWR | O_CREAT | O_EXCL, 0640);
	CHECK(fd >= 0, "[vfs] O_CREAT makes it");
	CHECK_ERR(open(in("a"), O_RDWR | O_CREAT | O_EXCL, 0640), EEXIST, "[vfs] O_EXCL again: EEXIST");
	struct stat st;
	CHECK_OK(fstat(fd, &st), "[vfs] fstat");
	CHECK(S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0640 && st.st_size == 0 && st.st_nlink == 1 && st.st_uid == geteuid(),
	      "[vfs] a regular file, mode as asked, empty, one link, own uid");
	CHECK_EQ(write(fd, "0123456789", 10), 10, "[vfs] write");
	int ro = MUST(open(in("a"), O_RDONLY));
	CHECK_ERR(write(ro, "x", 1), EBADF, "[vfs] write to a read-only descriptor: EBADF");
	int wo = MUST(open(in("a"), O_WRONLY | O_APPEND));
	char b[32] = "";
	CHECK_ERR(read(wo, b, 1), EBADF, "[vfs] read from a write-only one: EBADF");
	CHECK(write(wo, "ab", 2) == 2 && pread(ro, b, 20, 0) == 12 && !memcmp(b, "0123456789ab", 12), "[vfs] O_APPEND writes at the end");
	REQUIRE(lseek(wo, 0, SEEK_SET) == 0 && write(wo, "c", 1) == 1);
	CHECK_EQ(lseek(wo, 0, SEEK_CUR), 13, "[vfs] whatever the offset was");
	int tr = open(in("a"), O_WRONLY | O_TRUNC);
	CHECK(tr >= 0 && fstat(ro, &st) == 0 && st.st_size == 0, "[vfs] O_TRUNC empties");
	CHECK_EQ(read(ro, b, 10), 0, "[vfs] for those who have it open as well");
	umask(077);
	fd = MUST(open(in("b"), O_RDWR | O_CREAT, 0777));
	CHECK(fstat(fd, &st) == 0 && (st.st_mode & 07777) == 0700, "[vfs] the umask counts");
	CHECK_ERR(open(in("a"), O_RDONLY | O_DIRECTORY), ENOTDIR, "[vfs] O_DIRECTORY of a file: ENOTDIR");
	CHECK_ERR(open(dir, O_WRONLY), EISDIR, "[vfs] writing a directory: EISDIR");
	CHECK_ERR(open(in("a/b"), O_RDONLY), ENOTDIR, "[vfs] a file in the middle of a path: ENOTDIR");
	CHECK_ERR(open("", O_RDONLY), ENOENT, "[vfs] an empty path: ENOENT");
	CHECK_ERR(open(in("nodir/x"), O_RDWR | O_CREAT, 0600), ENOENT, "[vfs] O_CREAT in no directory: ENOENT");
}

CASE(offsets)
{
	int fd = MUST(open(in("f"), O_RDWR | O_CREAT, 0600));
	char b[64];
	REQUIRE(write(fd, "abcdef", 6) == 6);
	CHECK_EQ(lseek(fd, 2, SEEK_SET), 2, "[vfs] SEEK_SET");
	CHECK_EQ(lseek(fd, 1, SEEK_CUR), 3, "[vfs] SEEK_CUR");
	CHECK_EQ(lseek(fd, -1, SEEK_END), 5, "[vfs] SEEK_END");
	CHECK_ERR(lseek(fd, -1, SEEK_SET), EINVAL, "[vfs] negative: EINVAL");
	CHECK_ERR(lseek(fd, 0, 99), EINVAL, "[vfs] unknown whence: EINVAL");
	CHECK_EQ(lseek(fd, 100, SEEK_SET), 100, "[vfs] beyond the end");
	CHECK_EQ(read(fd, b, 10), 0, "[vfs] there, end of file");
	CHECK(write(fd, "z", 1) == 1 && lseek(fd, 0, SEEK_END) == 101, "[vfs] a write there makes a hole");
	memset(b, 7, sizeof b);
	CHECK(pread(fd, b, 60, 40) == 60 && b[0] == 0 && b[59] == 0, "[vfs] of zeros");
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 101, "[vfs] pread does not move the offset");
	CHECK_EQ(pwrite(fd, "Q", 1, 1), 1, "[vfs] pwrite");
	CHECK(pread(fd, b, 3, 0) == 3 && !memcmp(b, "aQc", 3), "[vfs] writes in place");
	CHECK_ERR(pread(fd, b, 1, -1), EINVAL, "[vfs] pread at -1: EINVAL");
	CHECK_OK(ftruncate(fd, 3), "[vfs] ftruncate");
	CHECK_EQ(pread(fd, b, 60, 0), 3, "[vfs] cuts");
	CHECK_OK(ftruncate(fd, 6), "[vfs] and grows");
	CHECK(pread(fd, b, 60, 0) == 6 && b[3] == 0 && b[5] == 0, "[vfs] with zeros");
	CHECK_ERR(ftruncate(fd, -1), EINVAL, "[vfs] to -1: EINVAL");
	CHECK_ERR(truncate(in("none"), 0), ENOENT, "[vfs] truncate of nothing: ENOENT");
	CHECK_ERR(truncate(dir, 0), EISDIR, "[vfs] of a directory: EISDIR");
	CHECK_ERR(write(fd, BADPTR, 5), EFAULT, "[vfs] a bad buffer: EFAULT");
	CHECK_EQ(write(fd, BADPTR, 0), 0, "[vfs] of no bytes: 0");
}

CASE(large_file)
{
	int fd = MUST(open(in("big"), O_RDWR | O_CREAT, 0600));
	static char b[65536], c[65536];
	bool ok = true;
	for (int i = 0; i < 32; i++) {
		memset(b, i + 1, sizeof b);
		ok &= write(fd, b, sizeof b) == sizeof b;
	}
	CHECK(ok, "[vfs] two mebibytes are written");
	MUST(lseek(fd, 0, SEEK_SET));
	for (int i = 0; i < 32; i++) {
		memset(b, i + 1, sizeof b);
		ok &= read(fd, c, sizeof c) == sizeof c && !memcmp(b, c, sizeof c);
	}
	CHECK(ok, "[vfs] and read back");
	struct stat st;
	CHECK(fstat(fd, &st) == 0 && st.st_size == 2 << 20 && st.st_blocks >= 4096 - 8, "[vfs] size and blocks");
	struct rlimit rl = { 1 << 20, 1 << 20 };
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &rl);
	CHECK_ERR(pwrite(fd, "x", 1, 1 << 20), EFBIG, "[vfs] beyond RLIMIT_FSIZE: EFBIG");
	CHECK_ERR(ftruncate(fd, (2 << 20) + 1), EFBIG, "[vfs] so is a file made longer");
	CHECK_ERR(syscall(SYS_fallocate, fd, 0, 2L << 20, 4096L), EFBIG, "[vfs] and one with room made beyond it");
	CHECK_EQ(pwrite(fd, b, 100, (1 << 20) - 10), 10, "[vfs] across it: a short write");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGXFSZ, SIG_DFL);
		_exit(pwrite(fd, "x", 1, 2 << 20) == 1);
	}
	CHECK_EQ(reap(pid), SIGXFSZ, "[vfs] by default the writer dies of SIGXFSZ");
}

/* Names in a directory, sorted into a word: count, or -1. */
static int list(const char *d, char *out, size_t n)
{
	DIR *dp = opendir(d);
	struct dirent *e;
	int k = 0;
	if (!dp)
		return -1;
	out[0] = 0;
	while ((e = readdir(dp))) {
		k++;
		if (strlen(out) + strlen(e->d_name) + 2 < n) {
			strcat(out, e->d_name);
			strcat(out, " ");
		}
	}
	closedir(dp);
	return k;
}

CASE(directories)
{
	char names[512];
	struct stat st;
	CHECK_OK(mkdir(in("d"), 0751), "[vfs] mkdir");
	CHECK_ERR(mkdir(in("d"), 0751), EEXIST, "[vfs] again: EEXIST");
	CHECK_ERR(mkdir(in("x/y"), 0751), ENOENT, "[vfs] without its parent: ENOENT");
	CHECK(stat(in("d"), &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 0777) == 0751 && st.st_nlink == 2, "[vfs] mode and two links");
	CHECK_OK(mkdir(in("d/e"), 0755), "[vfs] a directory in it");
	CHECK(stat(in("d"), &st) == 0 && st.st_nlink == 3, "[vfs] makes three");
	REQUIRE(write_file(in("d/f"), "x", 1, 0600));
	CHECK(list(in("d"), names, sizeof names) == 4 && strstr(names, "e ") && strstr(names, "f ") && strstr(names, ".. "),
	      "[vfs] readdir: ., .., and the entries");
	CHECK_ERR(rmdir(in("d")), ENOTEMPTY, "[vfs] rmdir of a directory that is not empty: ENOTEMPTY");
	CHECK_ERR(rmdir(in("d/f")), ENOTDIR, "[vfs] of a file: ENOTDIR");
	CHECK_ERR(unlink(in("d/e")), EISDIR, "[vfs] unlink of a directory: EISDIR");
	CHECK_OK(rmdir(in("d/e")), "[vfs] rmdir");
	CHECK_ERR(rmdir(in("d/e")), ENOENT, "[vfs] again: ENOENT");
	CHECK_ERR(rmdir(in("d/.")), EINVAL, "[vfs] of .: EINVAL");
	CHECK_OK(unlink(in("d/f")), "[vfs] unlink");
	int fd = MUST(open(in("d"), O_RDONLY | O_DIRECTORY));
	char cwd[256];
	CHECK_OK(fchdir(fd), "[vfs] fchdir");
	CHECK(getcwd(cwd, sizeof cwd) && !strcmp(cwd, in("d")), "[vfs] getcwd");
	CHECK_ERR((long)syscall(SYS_getcwd, cwd, 3), ERANGE, "[vfs] a small buffer: ERANGE");
	CHECK_OK(rmdir(in("d")), "[vfs] rmdir of the working directory");
	CHECK_ERR(open("x", O_RDWR | O_CREAT, 0600), ENOENT, "[vfs] nothing can be made in it");
	CHECK_ERR((long)syscall(SYS_getcwd, cwd, sizeof cwd), ENOENT, "[vfs] getcwd there: ENOENT");
	MUST(chdir("/"));
	CHECK_ERR(chdir(in("none")), ENOENT, "[vfs] chdir to nothing: ENOENT");
	CHECK_ERR(chdir("/dev/null"), ENOTDIR, "[vfs] to a file: ENOTDIR");
	CHECK_ERR(read(fd, names, 10), EISDIR, "[vfs] read of a directory: EISDIR");
	CHECK(getcwd(cwd, sizeof cwd) && !strcmp(cwd, "/"), "[vfs] getcwd of the root");
	MUST(chdir(".."));
	CHECK(getcwd(cwd, sizeof cwd) && !strcmp(cwd, "/"), "[vfs] .. of the root is the root");
}

CASE(many_entries)
{
	char name[32];
	int made = 0, seen = 0;
	mkdir(in("m"), 0755);
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof name, "m/file-%d", i);
		made += write_file(in(name), "", 0, 0600);
	}
	CHECK_EQ(made, 300, "[vfs] three hundred files");
	int fd = MUST(open(in("m"), O_RDONLY | O_DIRECTORY));
	char buf[1024];
	long n;
	while ((n = syscall(SYS_getdents64, fd, buf, sizeof buf)) > 0)
		for (long o = 0; o < n;) {
			struct { uint64_t ino, off; unsigned short len; unsigned char type; char name[]; } *e = (void *)(buf + o);
			if (e->name[0] != '.')
				seen++;
			o += e->len;
		}
	CHECK_EQ(seen, 300, "[vfs] getdents64 in small portions gives each once");
	CHECK_EQ(syscall(SYS_getdents64, fd, buf, sizeof buf), 0, "[vfs] and 0 at the end, again and again");
	MUST(lseek(fd, 0, SEEK_SET));
	CHECK_ERR(syscall(SYS_getdents64, fd, buf, 10), EINVAL, "[vfs] a buffer too small for one: EINVAL");
	CHECK(syscall(SYS_getdents64, fd, buf, sizeof buf) > 0, "[vfs] rewound, it starts again");
	int f = MUST(open(self_path, O_RDONLY));
	CHECK_ERR(syscall(SYS_getdents64, f, buf, sizeof buf), ENOTDIR, "[vfs] of a file: ENOTDIR");
}

CASE(links)
{
	struct stat a, b;
	char buf[64];
	REQUIRE(write_file(in("f"), "data", 4, 0600));
	CHECK_OK(link(in("f"), in("g")), "[vfs] link");
	CHECK(stat(in("f"), &a) == 0 && stat(in("g"), &b) == 0 && a.st_ino == b.st_ino && a.st_nlink == 2, "[vfs] one inode, two links");
	CHECK_ERR(link(in("f"), in("g")), EEXIST, "[vfs] again: EEXIST");
	CHECK_ERR(link(dir, in("h")), EPERM, "[vfs] of a directory: EPERM");
	CHECK_OK(unlink(in("f")), "[vfs] unlink one");
	CHECK(stat(in("g"), &b) == 0 && b.st_nlink == 1 && read_file(in("g"), buf, sizeof buf) == 4, "[vfs] the other stays, with the data");
	int fd = MUST(open(in("g"), O_RDWR));
	CHECK_OK(unlink(in("g")), "[vfs] unlink while open");
	CHECK(pread(fd, buf, 4, 0) == 4 && fstat(fd, &b) == 0 && b.st_nlink == 0, "[vfs] the open file lives on without links");
	CHECK_ERR(unlink(in("g")), ENOENT, "[vfs] unlink again: ENOENT");
	CHECK_OK(symlink("target", in("s")), "[vfs] symlink");
	CHECK(readlink(in("s"), buf, sizeof buf) == 6 && !memcmp(buf, "target", 6), "[vfs] readlink");
	CHECK(readlink(in("s"), buf, 3) == 3, "[vfs] cut to the buffer");
	CHECK_ERR(readlink(dir, buf, 10), EINVAL, "[vfs] of a directory: EINVAL");
	CHECK(lstat(in("s"), &a) == 0 && S_ISLNK(a.st_mode) && a.st_size == 6, "[vfs] lstat");
	CHECK_ERR(stat(in("s"), &a), ENOENT, "[vfs] stat of a dangling one: ENOENT");
	CHECK_ERR(open(in("s"), O_RDONLY), ENOENT, "[vfs] open of it: ENOENT");
	CHECK_ERR(open(in("s"), O_RDONLY | O_NOFOLLOW), ELOOP, "[vfs] O_NOFOLLOW: ELOOP");
	fd = open(in("s"), O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && stat(in("target"), &a) == 0, "[vfs] O_CREAT through it makes the target");
	CHECK_ERR(open(in("s"), O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST, "[vfs] with O_EXCL: EEXIST");
	MUST(symlink("loop2", in("loop1")));
	MUST(symlink("loop1", in("loop2")));
	CHECK_ERR(open(in("loop1"), O_RDONLY), ELOOP, "[vfs] a loop: ELOOP");
	MUST(mkdir(in("dd"), 0755));
	MUST(symlink("dd", in("ds")));
	REQUIRE(write_file(in("dd/x"), "q", 1, 0600));
	CHECK(read_file(in("ds/x"), buf, 8) == 1 && buf[0] == 'q', "[vfs] a symlink in the middle of a path");
	CHECK(read_file(in("ds/../dd/./x"), buf, 8) == 1, "[vfs] . and ..");
	CHECK(read_file(in("dd//x"), buf, 8) == 1, "[vfs] double slashes");
}

CASE(rename_cases)
{
	char b[8];
	struct stat st;
	REQUIRE(write_file(in("a"), "A", 1, 0600) && write_file(in("b"), "B", 1, 0600));
	CHECK_OK(rename(in("a"), in("c")), "[vfs] rename");
	CHECK_ERR(stat(in("a"), &st), ENOENT, "[vfs] the old name is gone");
	CHECK_OK(rename(in("c"), in("b")), "[vfs] over an existing file");
	CHECK(read_file(in("b"), b, 8) == 1 && b[0] == 'A', "[vfs] replaces it");
	CHECK_OK(rename(in("b"), in("b")), "[vfs] onto itself");
	CHECK_ERR(rename(in("none"), in("b")), ENOENT, "[vfs] of nothing: ENOENT");
	MUST(mkdir(in("d"), 0755));
	MUST(mkdir(in("d/e"), 0755));
	CHECK_ERR(rename(in("b"), in("d")), EISDIR, "[vfs] a file over a directory: EISDIR");
	CHECK_ERR(rename(in("d"), in("b")), ENOTDIR, "[vfs] a directory over a file: ENOTDIR");
	CHECK_ERR(rename(in("d"), in("d/e/f")), EINVAL, "[vfs] a directory into itself: EINVAL");
	MUST(mkdir(in("g"), 0755));
	CHECK_ERR(rename(in("g"), in("d")), ENOTEMPTY, "[vfs] over a directory that is not empty: ENOTEMPTY");
	CHECK_OK(rename(in("d"), in("g")), "[vfs] over an empty one");
	CHECK(stat(in("g/e"), &st) == 0 && S_ISDIR(st.st_mode), "[vfs] with its contents");
	CHECK_OK(rename(in("b"), in("g/b")), "[vfs] into another directory");
	CHECK_ERR(syscall(SYS_renameat2, AT_FDCWD, in("g/b"), AT_FDCWD, in("g/e"), 1), EEXIST, "[vfs] RENAME_NOREPLACE: EEXIST");
}

CASE(attributes)
{
	struct stat st;
	REQUIRE(write_file(in("f"), "data", 4, 0600));
	CHECK_OK(chmod(in("f"), 04711), "[vfs] chmod");
	CHECK(stat(in("f"), &st) == 0 && (st.st_mode & 07777) == 04711, "[vfs] sets all twelve bits");
	int fd = MUST(open(in("f"), O_RDWR));
	CHECK_OK(fchmod(fd, 0600), "[vfs] fchmod");
	struct timespec ts[2] = { { 1000, 5 }, { 2000, 7 } };
	CHECK_OK(utimensat(AT_FDCWD, in("f"), ts, 0), "[vfs] utimensat");
	CHECK(stat(in("f"), &st) == 0 && st.st_atime == 1000 && st.st_mtime == 2000, "[vfs] sets access and change time");
	REQUIRE(write(fd, "x", 1) == 1);
	CHECK(fstat(fd, &st) == 0 && st.st_mtime > 1000000, "[vfs] a write updates the change time");
	CHECK_OK(access(in("f"), F_OK | R_OK | W_OK), "[vfs] access");
	CHECK_ERR(access(in("f"), X_OK), EACCES, "[vfs] without any x bit root may not execute: EACCES");
	CHECK_ERR(access(in("none"), F_OK), ENOENT, "[vfs] of nothing: ENOENT");
	CHECK_ERR(access(in("f"), 8), EINVAL, "[vfs] an unknown mode: EINVAL");
	struct statfs sf;
	CHECK(statfs("/", &sf) == 0 && sf.f_bsize > 0 && sf.f_namelen == 255, "[vfs] statfs");
	CHECK(statfs("/proc", &sf) == 0 && sf.f_type == 0x9fa0, "[vfs] of /proc");
	if (geteuid() == 0) {
		CHECK_OK(chown(in("f"), 1000, 1001), "[vfs] chown");
		CHECK(stat(in("f"), &st) == 0 && st.st_uid == 1000 && st.st_gid == 1001, "[vfs] sets both ids");
		CHECK_OK(chown(in("f"), -1, 7), "[vfs] -1 leaves one");
		CHECK(stat(in("f"), &st) == 0 && st.st_uid == 1000 && st.st_gid == 7, "[vfs] alone");
		MUST(chmod(in("f"), 06755));
		MUST(chown(in("f"), 0, 0));
		CHECK(stat(in("f"), &st) == 0 && (st.st_mode & 07777) == 0755, "[vfs] chown takes the set-id bits away");
	}
}

CASE(permissions)
{
	NEED_ROOT("[vfs] permission checks");
	REQUIRE(write_file(in("f"), "data", 4, 0604) && write_file(in("g"), "data", 4, 0640));
	MUST(chown(in("g"), 0, 2000));
	MUST(mkdir(in("d"), 0700));
	REQUIRE(write_file(in("d/x"), "x", 1, 0666));
	MUST(mkdir(in("t"), 0777));
	MUST(chmod(in("t"), 01777));
	REQUIRE(write_file(in("t/x"), "x", 1, 0666));
	MUST(chmod(dir, 0755));
	char f[512], g[512], x[512], tx[512], nf[512], script[512];
	snprintf(f, sizeof f, "%s", in("f"));
	snprintf(g, sizeof g, "%s", in("g"));
	snprintf(x, sizeof x, "%s", in("d/x"));
	snprintf(tx, sizeof tx, "%s", in("t/x"));
	snprintf(nf, sizeof nf, "%s", in("new"));
	snprintf(script, sizeof script, "%s", in("t/own"));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		gid_t groups[1] = { 2000 };
		REQUIRE(setgroups(1, groups) == 0);
		REQUIRE(ag_drop(1000) == 0);
		CHECK(open(f, O_RDONLY) >= 0, "[vfs] others may read what they may");
		CHECK_ERR(open(f, O_WRONLY), EACCES, "[vfs] not write");
		CHECK(open(g, O_RDONLY) >= 0, "[vfs] a supplementary group counts");
		CHECK_ERR(open(x, O_RDONLY), EACCES, "[vfs] no search permission: EACCES");
		CHECK_ERR(open(nf, O_RDWR | O_CREAT, 0600), EACCES, "[vfs] no write permission for the directory: EACCES");
		CHECK_ERR(unlink(f), EACCES, "[vfs] nor to unlink");
		CHECK_ERR(chmod(f, 0777), EPERM, "[vfs] chmod of another's file: EPERM");
		CHECK_ERR(chown(f, 1000, -1), EPERM, "[vfs] chown: EPERM");
		CHECK_ERR(unlink(tx), EPERM, "[vfs] a sticky directory: EPERM for another's file");
		CHECK(open(script, O_RDWR | O_CREAT, 0600) >= 0, "[vfs] one's own can be made there");
		CHECK_OK(unlink(script), "[vfs] and removed");
		CHECK_ERR(mknod(script, S_IFCHR | 0600, makedev(1, 3)), EPERM, "[vfs] mknod of a device: EPERM");
		CHECK_ERR(chroot("/"), EPERM, "[vfs] chroot: EPERM");
		_exit(0);
	}
	CHECK_EQ(reap(pid), 0, "[vfs] (the unprivileged part ran)");
}

CASE(at_calls)
{
	struct stat st;
	char b[8];
	MUST(mkdir(in("d"), 0755));
	int d = MUST(open(dir, O_RDONLY | O_DIRECTORY)), f = MUST(open(in("file"), O_RDWR | O_CREAT, 0600));
	int fd = openat(d, "d/x", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0, "[vfs] openat");
	CHECK_ERR(openat(f, "x", O_RDONLY), ENOTDIR, "[vfs] relative to a file: ENOTDIR");
	CHECK_ERR(openat(999, "x", O_RDONLY), EBADF, "[vfs] to nothing: EBADF");
	CHECK(openat(999, "/dev/null", O_RDONLY) >= 0, "[vfs] an absolute path ignores it");
	CHECK_OK(fstatat(d, "d/x", &st, 0), "[vfs] fstatat");
	CHECK(fstatat(f, "", &st, AT_EMPTY_PATH) == 0 && S_ISREG(st.st_mode), "[vfs] with AT_EMPTY_PATH");
	CHECK_ERR(fstatat(d, "d/x", &st, 0x40000000), EINVAL, "[vfs] an unknown flag: EINVAL");
	CHECK_OK(mkdirat(d, "e", 0755), "[vfs] mkdirat");
	CHECK_OK(renameat(d, "d/x", d, "e/y"), "[vfs] renameat");
	CHECK_OK(linkat(d, "e/y", d, "z", 0), "[vfs] linkat");
	CHECK_OK(symlinkat("z", d, "s"), "[vfs] symlinkat");
	CHECK(readlinkat(d, "s", b, 8) == 1 && b[0] == 'z', "[vfs] readlinkat");
	CHECK_OK(faccessat(d, "s", R_OK, 0), "[vfs] faccessat");
	CHECK_OK(unlinkat(d, "z", 0), "[vfs] unlinkat");
	CHECK_ERR(unlinkat(d, "e", 0), EISDIR, "[vfs] of a directory: EISDIR");
	CHECK_OK(unlinkat(d, "d", AT_REMOVEDIR), "[vfs] with AT_REMOVEDIR");
	int o = open(in("file"), O_PATH);
	CHECK(o >= 0, "[vfs] O_PATH");
	CHECK_ERR(read(o, b, 1), EBADF, "[vfs] cannot be read");
	CHECK_OK(fstat(o, &st), "[vfs] but looked at");
}

CASE(names)
{
	char longname[300];
	memset(longname, 'n', 256);
	longname[256] = 0;
	CHECK_ERR(open(in(longname), O_RDWR | O_CREAT, 0600), ENAMETOOLONG, "[vfs] a name of 256 bytes: ENAMETOOLONG");
	longname[255] = 0;
	CHECK(open(in(longname), O_RDWR | O_CREAT, 0600) >= 0, "[vfs] of 255 is fine");
	CHECK(open(in("\xff\x01 odd\n"), O_RDWR | O_CREAT, 0600) >= 0, "[vfs] any bytes but / and NUL");
	char *p = malloc(5000);
	memset(p, '/', 4999);
	p[4999] = 0;
	CHECK_ERR(open(p, O_RDONLY), ENAMETOOLONG, "[vfs] a path of 4096 bytes and more: ENAMETOOLONG");
	p[4095] = 0;
	CHECK(open(p, O_RDONLY) >= 0, "[vfs] of 4095 is fine");
}

CASE(devices)
{
	char b[64];
	struct stat st;
	int n = MUST(open("/dev/null", O_RDWR)), z = MUST(open("/dev/zero", O_RDWR)), f = MUST(open("/dev/full", O_RDWR)),
	    u = MUST(open("/dev/urandom", O_RDONLY));
	CHECK(write(n, "x", 1) == 1 && read(n, b, 1) == 0, "[vfs] /dev/null swallows and is empty");
	memset(b, 1, sizeof b);
	CHECK(read(z, b, 64) == 64 && !b[0] && !b[63], "[vfs] /dev/zero");
	CHECK_ERR(write(f, "x", 1), ENOSPC, "[vfs] /dev/full: ENOSPC");
	CHECK(read(f, b, 4) == 4, "[vfs] reads zeros");
	char c[64];
	CHECK(read(u, b, 64) == 64 && read(u, c, 64) == 64 && memcmp(b, c, 64), "[vfs] /dev/urandom");
	CHECK(fstat(n, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3), "[vfs] a character device 1:3");
	CHECK(syscall(SYS_getrandom, b, 64, 0) == 64 && memcmp(b, c, 64), "[vfs] getrandom");
	CHECK_ERR(syscall(SYS_getrandom, b, 64, 0x100), EINVAL, "[vfs] an unknown flag: EINVAL");
	CHECK_ERR(syscall(SYS_getrandom, BADPTR, 64, 0), EFAULT, "[vfs] bad buffer: EFAULT");
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, z, 0);
	CHECK(p != MAP_FAILED && p[5] == 0, "[vfs] a private mapping of /dev/zero is zero memory");
	CHECK_ERR(ioctl(n, 0x5401 /* TCGETS */, b), ENOTTY, "[vfs] a terminal call on /dev/null: ENOTTY");
}

CASE(uname_and_sysinfo)
{
	struct utsname u;
	CHECK(uname(&u) == 0 && !strcmp(u.sysname, "Linux") && !strcmp(u.machine, "x86_64") && atoi(u.release) >= 5, "[vfs] uname");
	CHECK_ERR(syscall(SYS_uname, BADPTR), EFAULT, "[vfs] bad pointer: EFAULT");
	struct { long uptime; unsigned long loads[3], total, free, rest[6]; char pad[64]; } si;
	CHECK(syscall(SYS_sysinfo, &si) == 0 && si.total > 0 && si.free <= si.total && si.uptime >= 0, "[vfs] sysinfo");
}
