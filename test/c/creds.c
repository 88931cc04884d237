/* creds.c - user and group ids, capabilities, and resource limits. */
#include "lib/tap.h"

#include <grp.h>
#include <linux/capability.h>
#include <sys/fsuid.h>

static long resuid(long r, long e, long s) { return syscall(SYS_setresuid, r, e, s); }
static long resgid(long r, long e, long s) { return syscall(SYS_setresgid, r, e, s); }

static bool uids(uid_t r, uid_t e, uid_t s)
{
	uid_t a, b, c;
	return getresuid(&a, &b, &c) == 0 && a == r && b == e && c == s;
}

static bool gids(gid_t r, gid_t e, gid_t s)
{
	gid_t a, b, c;
	return getresgid(&a, &b, &c) == 0 && a == r && b == e && c == s;
}

static long caps(int which)	/* 0 effective 1 permitted */
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	if (syscall(SYS_capget, &h, d))
		return -1;
	return which ? d[0].permitted | (long)d[1].permitted << 32 : d[0].effective | (long)d[1].effective << 32;
}

CASE(as_root)
{
	NEED_ROOT("[cred] id changes by root");
	CHECK(uids(0, 0, 0), "[cred] root to begin with");
	CHECK(caps(0) != 0, "[cred] with capabilities");
	CHECK_OK(resuid(1, 2, 3), "[cred] setresuid by root: anything");
	CHECK(uids(1, 2, 3), "[cred] as set");
	CHECK_EQ(getuid(), 1, "[cred] getuid is the real one");
	CHECK_EQ(geteuid(), 2, "[cred] geteuid the effective one");
	CHECK_EQ(caps(0), 0, "[cred] no id is 0: no effective capability");
	CHECK_EQ(caps(1), 0, "[cred] nor permitted");
	CHECK_OK(resuid(-1, 1, -1), "[cred] an unprivileged process may use its real id");
	CHECK_OK(resuid(-1, 3, -1), "[cred] its saved id");
	CHECK_ERR(resuid(2, -1, -1), EPERM, "[cred] not the effective id of before: EPERM");
	CHECK_ERR(resuid(-1, 0, -1), EPERM, "[cred] not 0: EPERM");
	CHECK(uids(1, 3, 3), "[cred] a refusal changes nothing");
}

CASE(seteuid_root)
{
	NEED_ROOT("[cred] seteuid by root");
	CHECK_OK(resuid(-1, 1000, -1), "[cred] root lowers its effective id");
	CHECK_EQ(caps(0), 0, "[cred] effective capabilities are gone");
	CHECK(caps(1) != 0, "[cred] permitted ones stay");
	CHECK_OK(resuid(-1, 0, -1), "[cred] and raises it again");
	CHECK(caps(0) != 0, "[cred] they are back");
	CHECK_OK(syscall(SYS_setuid, 1000), "[cred] setuid by root sets all three");
	CHECK(uids(1000, 1000, 1000), "[cred] as told");
	CHECK_ERR(syscall(SYS_setuid, 0), EPERM, "[cred] and there is no way back: EPERM");
	CHECK_OK(syscall(SYS_setuid, 1000), "[cred] its own id is fine");
}

CASE(setuid_unprivileged)
{
	NEED_ROOT("[cred] setuid by others");
	REQUIRE(resuid(1000, 1001, 1002) == 0);
	CHECK_OK(syscall(SYS_setuid, 1002), "[cred] setuid to the saved id");
	CHECK(uids(1000, 1002, 1002), "[cred] changes only the effective one");
	CHECK_ERR(syscall(SYS_setuid, 1001), EPERM, "[cred] another: EPERM");
	CHECK_OK(syscall(SYS_setreuid, -1, 1000), "[cred] setreuid");
	CHECK(uids(1000, 1000, 1002), "[cred] of the effective id to the real one keeps the saved one");
	CHECK_OK(syscall(SYS_setreuid, 1000, 1002), "[cred] setting the real id");
	CHECK(uids(1000, 1002, 1002), "[cred] sets the saved one to the new effective id");
	CHECK_ERR(syscall(SYS_setreuid, 5, -1), EPERM, "[cred] another real id: EPERM");
}

CASE(groups)
{
	NEED_ROOT("[cred] groups");
	CHECK_OK(resgid(1, 2, 3), "[cred] setresgid");
	CHECK(gids(1, 2, 3) && getgid() == 1 && getegid() == 2, "[cred] as set");
	CHECK(caps(0) != 0, "[cred] group ids have no capabilities to lose");
	gid_t g[3] = { 7, 5, 6 }, got[8];
	CHECK_OK(setgroups(3, g), "[cred] setgroups");
	CHECK(getgroups(8, got) == 3 && got[0] + got[1] + got[2] == 18, "[cred] getgroups");
	CHECK_EQ(getgroups(0, NULL), 3, "[cred] with size 0: the number");
	CHECK_ERR(getgroups(2, got), EINVAL, "[cred] too small: EINVAL");
	CHECK_ERR(syscall(SYS_setgroups, 65537L, g), EINVAL, "[cred] too many: EINVAL");
	CHECK_ERR(syscall(SYS_setgroups, 3L, BADPTR), EFAULT, "[cred] bad pointer: EFAULT");
	REQUIRE(resuid(1000, 1000, 1000) == 0);
	CHECK_ERR(setgroups(0, NULL), EPERM, "[cred] setgroups by others: EPERM");
	CHECK_ERR(resgid(9, -1, -1), EPERM, "[cred] setresgid to another: EPERM");
	CHECK_OK(resgid(-1, 3, -1), "[cred] to the saved one");
	CHECK_EQ(getgroups(8, got), 3, "[cred] the list is kept over setuid");
}

CASE(fs_ids)
{
	NEED_ROOT("[cred] file system ids");
	CHECK_EQ(syscall(SYS_setfsuid, 1000), 0, "[cred] setfsuid returns the old one");
	CHECK_EQ(syscall(SYS_setfsuid, -1), 1000, "[cred] -1 only asks");
	CHECK_EQ(geteuid(), 0, "[cred] the effective id stays");
	char path[256];
	snprintf(path, sizeof path, "%s", tmp_path("f"));
	MUST(chmod(tmp_path(""), 0777));
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	struct stat st;
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == 1000, "[cred] files are made with it");
	REQUIRE(resuid(-1, 0, -1) == 0 && syscall(SYS_setfsuid, 1000) >= 0);
	REQUIRE(resuid(-1, 5, -1) == 0);
	CHECK_EQ(syscall(SYS_setfsuid, -1), 5, "[cred] a change of the effective id sets it, too");
}

static long drop_uid(long u) { return resuid(u, u, u); }
static long get_uid(long x) { (void)x; return syscall(SYS_getuid); }

CASE(per_thread)
{
	NEED_ROOT("[cred] credentials of threads");
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	REQUIRE(call(t, drop_uid, 1000) == 0);
	CHECK_EQ(call(t, get_uid, 0), 1000, "[cred] the raw call changes its own thread");
	CHECK_EQ(call(p, get_uid, 0), 0, "[cred] and no other");
	retire(p, NULL);
}

CASE(capget_errors)
{
	struct __user_cap_header_struct h = { 0x1234, 0 };
	struct __user_cap_data_struct d[2];
	CHECK_ERR(syscall(SYS_capget, &h, d), EINVAL, "[cred] an unknown version: EINVAL");
	CHECK_EQ(h.version, _LINUX_CAPABILITY_VERSION_3, "[cred] and the known one is told");
	h.pid = -1;
	CHECK_ERR(syscall(SYS_capget, &h, d), EINVAL, "[cred] a negative pid: EINVAL");
	h.pid = 0x3ffffff0;
	CHECK_ERR(syscall(SYS_capget, &h, d), ESRCH, "[cred] no such process: ESRCH");
	CHECK_ERR(syscall(SYS_capget, BADPTR, d), EFAULT, "[cred] bad pointer: EFAULT");
}

CASE(capset_drop)
{
	NEED_ROOT("[cred] capset");
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];
	REQUIRE(syscall(SYS_capget, &h, d) == 0);
	d[0].effective &= ~(1u << CAP_KILL);
	CHECK_OK(syscall(SYS_capset, &h, d), "[cred] capset drops an effective capability");
	CHECK(!(caps(0) & 1L << CAP_KILL) && caps(1) & 1L << CAP_KILL, "[cred] which stays permitted");
	d[0].permitted &= ~(1u << CAP_KILL);
	CHECK_OK(syscall(SYS_capset, &h, d), "[cred] and a permitted one");
	d[0].permitted |= 1u << CAP_KILL;
	CHECK_ERR(syscall(SYS_capset, &h, d), EPERM, "[cred] which does not come back: EPERM");
	struct agent *a = spawn(NULL);
	REQUIRE(call(a, drop_uid, 1000) == 0);
	CHECK_ERR(kill(a->pid, 0), EPERM, "[cred] without CAP_KILL uid 0 may not signal others");
	quit(a, 0);
	reap(a->pid);
}

/* ---- limits ---- */

CASE(rlimits)
{
	struct rlimit rl, big = { 20, 10 };
	for (int i = 0; i < 16; i++) {
		char text[48];
		snprintf(text, sizeof text, "[limit] getrlimit of %d", i);
		CHECK(getrlimit(i, &rl) == 0 && rl.rlim_cur <= rl.rlim_max, text);
	}
	CHECK_ERR(getrlimit(16, &rl), EINVAL, "[limit] there is no 16: EINVAL");
	CHECK_ERR(getrlimit(-1, &rl), EINVAL, "[limit] nor -1");
	CHECK_ERR(syscall(SYS_getrlimit, RLIMIT_NOFILE, BADPTR), EFAULT, "[limit] bad pointer: EFAULT");
	CHECK_ERR(setrlimit(RLIMIT_NOFILE, &big), EINVAL, "[limit] soft above hard: EINVAL");
	rl.rlim_cur = 50;
	rl.rlim_max = 100;
	CHECK_OK(setrlimit(RLIMIT_NOFILE, &rl), "[limit] lowered");
	rl.rlim_cur = 100;
	CHECK_OK(setrlimit(RLIMIT_NOFILE, &rl), "[limit] the soft one up to the hard one");
	struct rlimit old, new = { 40, 90 };
	CHECK(prlimit(0, RLIMIT_NOFILE, &new, &old) == 0 && old.rlim_cur == 100 && old.rlim_max == 100, "[limit] prlimit sets and tells the old");
	struct agent *c = spawn(NULL);
	CHECK(prlimit(c->pid, RLIMIT_NOFILE, NULL, &old) == 0 && old.rlim_cur == 40, "[limit] a child inherits");
	CHECK_OK(prlimit(c->pid, RLIMIT_NOFILE, &(struct rlimit){ 33, 44 }, NULL), "[limit] prlimit of a child");
	CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0 && old.rlim_cur == 40, "[limit] leaves the caller's alone");
	retire(c, NULL);
}

CASE(rlimit_raise)
{
	NEED_ROOT("[limit] raising a hard limit");
	REQUIRE(resuid(1000, 1000, 1000) == 0);
	struct rlimit rl;
	MUST(getrlimit(RLIMIT_NOFILE, &rl));
	rl.rlim_max = rl.rlim_cur = 64;
	CHECK_OK(setrlimit(RLIMIT_NOFILE, &rl), "[limit] anybody may lower");
	rl.rlim_max = 65;
	CHECK_ERR(setrlimit(RLIMIT_NOFILE, &rl), EPERM, "[limit] but not raise the hard limit: EPERM");
	CHECK_ERR(prlimit(getppid(), RLIMIT_NOFILE, NULL, &rl), EPERM, "[limit] nor look at root's: EPERM");
}

CASE(umask_call)
{
	CHECK_EQ(umask(077), 022, "[cred] umask tells the old one");
	CHECK_EQ(umask(07777), 077, "[cred] again");
	CHECK_EQ(umask(022), 0777, "[cred] only nine bits are kept");
}

CASE(priorities)
{
	CHECK_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 20, "[limit] nice 0 reads as 20");
	CHECK_OK(setpriority(PRIO_PROCESS, 0, 5), "[limit] setpriority");
	CHECK_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 15, "[limit] nice 5 reads as 15");
	CHECK_OK(setpriority(PRIO_PROCESS, 0, 100), "[limit] clamped");
	CHECK_EQ(syscall(SYS_getpriority, PRIO_PROCESS, 0), 1, "[limit] to 19");
	CHECK_ERR(setpriority(7, 0, 0), EINVAL, "[limit] an unknown kind: EINVAL");
	CHECK_ERR(setpriority(PRIO_PROCESS, 0x3ffffff0, 0), ESRCH, "[limit] no such process: ESRCH");
	NEED_ROOT("[limit] nice below zero");
	CHECK_OK(setpriority(PRIO_PROCESS, 0, -5), "[limit] root may lower it");
	REQUIRE(resuid(1000, 1000, 1000) == 0);
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_NICE, &none);
	CHECK_ERR(setpriority(PRIO_PROCESS, 0, -10), EACCES, "[limit] others not: EACCES");
}
