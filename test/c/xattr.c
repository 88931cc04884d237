/* xattr.c - extended attributes of files (xattr(7), setxattr(2) and its relatives). */
#include "lib/tap.h"

#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#define SYS_setxattrat_ 463
#define SYS_getxattrat_ 464
#define SYS_listxattrat_ 465
#define SYS_removexattrat_ 466

/* A tmpfs of its own: what Linux's other file systems say differs in sizes. */
static char dir[256], path[300];

static bool make_file(void)
{
	if (geteuid() != 0) {
		tap_skip("[vfs] extended attributes", "needs root");
		return false;
	}
	snprintf(dir, sizeof dir, "%s", tmp_path("m"));
	MUST(mkdir(dir, 0777));
	MUST(mount("xattr", dir, "tmpfs", 0, "mode=777"));
	snprintf(path, sizeof path, "%s/f", dir);
	REQUIRE(write_file(path, "x", 1, 0644));
	return true;
}

static void done(void)
{
	MUST(umount2(dir, MNT_DETACH));
}

static bool value_is(const char *name, const char *want)
{
	char b[64];
	ssize_t n = getxattr(path, name, b, sizeof b);
	return n == (ssize_t)strlen(want) && !memcmp(b, want, n);
}

CASE(values)
{
	if (!make_file())
		return;
	CHECK_ERR(getxattr(path, "user.a", NULL, 0), ENODATA, "[vfs] none at first: ENODATA");
	CHECK_EQ(listxattr(path, NULL, 0), 0, "[vfs] and an empty list");
	CHECK_OK(setxattr(path, "user.a", "one", 3, 0), "[vfs] setxattr");
	CHECK(value_is("user.a", "one"), "[vfs] getxattr");
	CHECK_EQ(getxattr(path, "user.a", NULL, 0), 3, "[vfs] size 0 asks for the length");
	char b[4] = "....";
	CHECK_ERR(getxattr(path, "user.a", b, 2), ERANGE, "[vfs] a buffer that is too small: ERANGE");
	CHECK_ERR(getxattr(path, "user.a", BADPTR, 3), EFAULT, "[vfs] bad pointer: EFAULT");
	CHECK_ERR(setxattr(path, "user.a", "two", 3, XATTR_CREATE), EEXIST, "[vfs] XATTR_CREATE of an old one: EEXIST");
	CHECK_ERR(setxattr(path, "user.b", "two", 3, XATTR_REPLACE), ENODATA, "[vfs] XATTR_REPLACE of a new one: ENODATA");
	CHECK_OK(setxattr(path, "user.a", "twice", 5, XATTR_REPLACE), "[vfs] XATTR_REPLACE");
	CHECK(value_is("user.a", "twice"), "[vfs] as set");
	CHECK_OK(setxattr(path, "user.empty", "", 0, XATTR_CREATE), "[vfs] an empty value");
	CHECK_EQ(getxattr(path, "user.empty", b, 4), 0, "[vfs] is there");
	CHECK_OK(setxattr(path, "trusted.t", "t", 1, 0), "[vfs] trusted. by root");
	CHECK_OK(setxattr(path, "security.s", "s", 1, 0), "[vfs] security. by root");
	char list[128];
	ssize_t n = listxattr(path, list, sizeof list);
	CHECK_EQ(n, 7 + 11 + 10 + 11, "[vfs] listxattr: names with their NULs");
	int found = 0;
	for (char *p = list; p < list + n; p += strlen(p) + 1)
		found += !strcmp(p, "user.a") + !strcmp(p, "user.empty") + !strcmp(p, "trusted.t") + !strcmp(p, "security.s");
	CHECK_EQ(found, 4, "[vfs] all of them");
	CHECK_EQ(listxattr(path, NULL, 0), n, "[vfs] size 0 asks for the length");
	CHECK_ERR(listxattr(path, list, n - 1), ERANGE, "[vfs] too small: ERANGE");
	CHECK_OK(removexattr(path, "user.a"), "[vfs] removexattr");
	CHECK_ERR(removexattr(path, "user.a"), ENODATA, "[vfs] twice: ENODATA");
	CHECK_ERR(getxattr(path, "user.a", b, 4), ENODATA, "[vfs] it is gone");
	done();
}

CASE(errors)
{
	if (!make_file())
		return;
	char big[70000], name[300];
	memset(big, 'v', sizeof big);
	memset(name, 'n', sizeof name);
	memcpy(name, "user.", 5);
	name[256] = 0;
	CHECK_ERR(setxattr(path, name, "", 0, 0), ERANGE, "[vfs] a name of 256 bytes: ERANGE");
	name[255] = 0;
	CHECK_OK(setxattr(path, name, "", 0, 0), "[vfs] 255 are fine");
	CHECK_ERR(setxattr(path, "", "", 0, 0), ERANGE, "[vfs] an empty name: ERANGE");
	CHECK_ERR(setxattr(path, "user.", "", 0, 0), EINVAL, "[vfs] a namespace without a name: EINVAL");
	CHECK_ERR(setxattr(path, "user", "", 0, 0), EOPNOTSUPP, "[vfs] no namespace: EOPNOTSUPP");
	CHECK_ERR(setxattr(path, "other.x", "", 0, 0), EOPNOTSUPP, "[vfs] an unknown one: EOPNOTSUPP");
	CHECK_ERR(getxattr(path, "other.x", NULL, 0), EOPNOTSUPP, "[vfs] reading it, too");
	CHECK_ERR(removexattr(path, "other.x"), EOPNOTSUPP, "[vfs] and removing");
	CHECK_ERR(setxattr(path, "user.x", "", 0, 4), EINVAL, "[vfs] an unknown flag: EINVAL");
	CHECK_ERR(setxattr(path, "user.x", big, 65537, 0), E2BIG, "[vfs] more than 64 KiB: E2BIG");
	CHECK_OK(setxattr(path, "user.x", big, 65536, 0), "[vfs] 64 KiB are fine");
	CHECK_EQ(getxattr(path, "user.x", big, sizeof big), 65536, "[vfs] and come back");
	CHECK_ERR(setxattr(path, "user.x", BADPTR, 4, 0), EFAULT, "[vfs] bad value: EFAULT");
	CHECK_ERR(setxattr(path, BADPTR, "", 0, 0), EFAULT, "[vfs] bad name: EFAULT");
	CHECK_ERR(setxattr("/nonesuch", "user.x", "", 0, 0), ENOENT, "[vfs] no such file: ENOENT");
	CHECK_ERR(getxattr("/nonesuch", "", NULL, 0), ERANGE, "[vfs] the name is looked at before the path");
	CHECK_ERR(fsetxattr(-1, "user.x", "", 0, 0), EBADF, "[vfs] no such descriptor: EBADF");
	int fd = MUST(open(path, O_PATH));
	CHECK_ERR(fgetxattr(fd, "user.x", NULL, 0), EBADF, "[vfs] O_PATH is not enough: EBADF");
	close(fd);
	CHECK_ERR(setxattr("/proc/self/status", "user.x", "", 0, 0), EOPNOTSUPP, "[vfs] procfs has none: EOPNOTSUPP");
	CHECK_EQ(listxattr("/proc/self/status", NULL, 0), 0, "[vfs] its list is empty");
	MUST(mount(NULL, dir, NULL, MS_REMOUNT | MS_RDONLY, NULL));
	CHECK_ERR(setxattr(path, "user.y", "", 0, 0), EROFS, "[vfs] read-only file system: EROFS");
	CHECK_ERR(removexattr(path, "user.x"), EROFS, "[vfs] removing, too");
	done();
}

static long ag_set(long name) { return setxattr(path, (char *)name, "v", 1, 0); }
static long ag_get(long name) { return getxattr(path, (char *)name, NULL, 0); }
static long ag_remove(long name) { return removexattr(path, (char *)name); }
static long ag_list(long x) { (void)x; return listxattr(path, NULL, 0); }

#define AG_ERR(call, want, text) CHECK((call) == -1 && a->err == (want), text)

CASE(permissions)
{
	if (!make_file())
		return;
	struct agent *a = spawn(NULL);
	REQUIRE(call(a, ag_drop, 1000) == 0);
	MUST(setxattr(path, "user.r", "1", 1, 0));
	MUST(setxattr(path, "trusted.r", "1", 1, 0));
	MUST(setxattr(path, "security.r", "1", 1, 0));
	CHECK_EQ(call(a, ag_get, (long)"user.r"), 1, "[vfs] who may read the file may read user.");
	AG_ERR(call(a, ag_set, (long)"user.w"), EACCES, "[vfs] who may not write it: EACCES");
	AG_ERR(call(a, ag_remove, (long)"user.r"), EACCES, "[vfs] nor remove: EACCES");
	AG_ERR(call(a, ag_get, (long)"trusted.r"), ENODATA, "[vfs] trusted. without CAP_SYS_ADMIN: ENODATA");
	AG_ERR(call(a, ag_set, (long)"trusted.w"), EPERM, "[vfs] setting: EPERM");
	CHECK_EQ(call(a, ag_get, (long)"security.r"), 1, "[vfs] everybody may read security.");
	AG_ERR(call(a, ag_set, (long)"security.w"), EPERM, "[vfs] setting needs CAP_SYS_ADMIN: EPERM");
	CHECK_EQ(call(a, ag_list, 0), 7 + 11, "[vfs] the list has no trusted. ones for others");
	MUST(chmod(path, 0));
	AG_ERR(call(a, ag_get, (long)"user.r"), EACCES, "[vfs] unreadable file: EACCES");
	MUST(chown(path, 1000, 1000));
	MUST(chmod(path, 0600));
	CHECK_OK(call(a, ag_set, (long)"user.w"), "[vfs] the owner may");
	snprintf(path, sizeof path, "%s/d", dir);
	MUST(mkdir(path, 01777));
	chmod(path, 01777);
	retire(a, NULL);
	a = spawn(NULL);
	REQUIRE(call(a, ag_drop, 1000) == 0);
	AG_ERR(call(a, ag_set, (long)"user.w"), EPERM, "[vfs] in a sticky directory of somebody else's: EPERM");
	retire(a, NULL);
	done();
}

CASE(kinds)
{
	if (!make_file())
		return;
	char link[300];
	snprintf(link, sizeof link, "%s/l", dir);
	MUST(symlink(path, link));
	CHECK_OK(setxattr(link, "user.a", "v", 1, 0), "[vfs] setxattr follows links");
	CHECK(value_is("user.a", "v"), "[vfs] to the file");
	CHECK_ERR(lsetxattr(link, "user.a", "v", 1, 0), EPERM, "[vfs] a link has no user. attributes: EPERM");
	CHECK_ERR(lgetxattr(link, "user.a", NULL, 0), ENODATA, "[vfs] reading: ENODATA");
	CHECK_OK(lsetxattr(link, "trusted.a", "lnk", 3, 0), "[vfs] but trusted. ones");
	CHECK_EQ(lgetxattr(link, "trusted.a", NULL, 0), 3, "[vfs] lgetxattr");
	CHECK_EQ(llistxattr(link, NULL, 0), 10, "[vfs] llistxattr");
	CHECK_ERR(getxattr(link, "trusted.a", NULL, 0), ENODATA, "[vfs] of its own");
	CHECK_OK(lremovexattr(link, "trusted.a"), "[vfs] lremovexattr");
	int fd = MUST(open(path, O_RDONLY));
	CHECK_OK(fsetxattr(fd, "user.f", "ff", 2, 0), "[vfs] fsetxattr");
	CHECK_EQ(fgetxattr(fd, "user.f", NULL, 0), 2, "[vfs] fgetxattr");
	CHECK_EQ(flistxattr(fd, NULL, 0), 14, "[vfs] flistxattr");
	CHECK_OK(fremovexattr(fd, "user.f"), "[vfs] fremovexattr");
	CHECK_OK(setxattr(dir, "user.d", "", 0, 0), "[vfs] directories have them");
	char fifo[300];
	snprintf(fifo, sizeof fifo, "%s/p", dir);
	MUST(mkfifo(fifo, 0600));
	CHECK_ERR(setxattr(fifo, "user.d", "", 0, 0), EPERM, "[vfs] FIFOs no user. ones: EPERM");
	IF_SINCE(6, 13, "[vfs] the *at calls") {
		struct { unsigned long value; unsigned size, flags; } arg = { (unsigned long)"at", 2, 0 };
		int dfd = MUST(open(dir, O_RDONLY | O_DIRECTORY));
		char b[8] = "";
		CHECK_OK(syscall(SYS_setxattrat_, dfd, "f", 0, "user.at", &arg, sizeof arg), "[vfs] setxattrat");
		arg.value = (unsigned long)b;
		arg.size = sizeof b;
		CHECK(syscall(SYS_getxattrat_, dfd, "f", 0, "user.at", &arg, sizeof arg) == 2 && !strcmp(b, "at"), "[vfs] getxattrat");
		CHECK_ERR(syscall(SYS_getxattrat_, dfd, "f", 0, "user.at", &arg, 8L), EINVAL, "[vfs] a struct that is too small: EINVAL");
		CHECK_ERR(syscall(SYS_getxattrat_, dfd, "f", 0x400, "user.at", &arg, sizeof arg), EINVAL, "[vfs] an unknown flag: EINVAL");
		CHECK_EQ(syscall(SYS_listxattrat_, fd, "", AT_EMPTY_PATH, NULL, 0L), 15, "[vfs] listxattrat of a descriptor");
		CHECK_OK(syscall(SYS_removexattrat_, dfd, "l", 0, "user.at"), "[vfs] removexattrat");
		CHECK_ERR(syscall(SYS_removexattrat_, dfd, "l", AT_SYMLINK_NOFOLLOW, "user.at"), EPERM, "[vfs] of the link itself: EPERM");
	}
	done();
}

static const struct vfs_cap_data v2 = { VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, { { 1 << CAP_KILL, 0 }, { 0, 0 } } };

CASE(capability)
{
	if (!make_file())
		return;
	struct vfs_ns_cap_data v3 = { VFS_CAP_REVISION_3, { { 1 << CAP_KILL, 0 }, { 0, 0 } }, 0 };
	char b[64];
	CHECK_ERR(setxattr(path, "security.capability", "x", 1, 0), EINVAL, "[cred] security.capability must make sense: EINVAL");
	CHECK_ERR(setxattr(path, "security.capability", &v2, 19, 0), EINVAL, "[cred] a wrong size: EINVAL");
	CHECK_OK(setxattr(path, "security.capability", &v2, sizeof v2, 0), "[cred] version 2");
	CHECK(getxattr(path, "security.capability", b, sizeof b) == sizeof v2 && !memcmp(b, &v2, sizeof v2), "[cred] comes back");
	CHECK_OK(setxattr(path, "security.capability", &v3, sizeof v3, 0), "[cred] version 3");
	CHECK_EQ(getxattr(path, "security.capability", b, sizeof b), 20, "[cred] of one's own root is shown as version 2");
	struct agent *a = spawn(NULL);
	REQUIRE(call(a, ag_drop, 1000) == 0);
	MUST(chown(path, 1000, 1000));
	CHECK_ERR(getxattr(path, "security.capability", b, sizeof b), ENODATA, "[cred] a change of the owner takes it away");
	AG_ERR(call(a, ag_set, (long)"security.capability"), EINVAL, "[cred] nonsense: EINVAL even without privilege");
	MUST(setxattr(path, "security.capability", &v2, sizeof v2, 0));
	AG_ERR(call(a, ag_remove, (long)"security.capability"), EPERM, "[cred] removing it needs CAP_SETFCAP: EPERM");
	int fd = MUST(open(path, O_WRONLY));
	MUST(write(fd, "y", 1));
	CHECK_ERR(getxattr(path, "security.capability", b, sizeof b), ENODATA, "[cred] so does a write");
	MUST(setxattr(path, "security.capability", &v2, sizeof v2, 0));
	MUST(ftruncate(fd, 0));
	CHECK_ERR(getxattr(path, "security.capability", b, sizeof b), ENODATA, "[cred] and a change of the size");
	retire(a, NULL);
	done();
}
