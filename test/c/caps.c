/* caps.c - capabilities: the sets, prctl's part in them, and what execve makes of them (rules 1.20, 1.35-1.42, 10.16). */
#include "lib/tap.h"

#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/xattr.h>

static long pr(long o, long a, long b, long c, long d) { return syscall(SYS_prctl, o, a, b, c, d); }

#define BIT(c) (1UL << (c))
#define KILL_ BIT(CAP_KILL)
#define CHOWN_ BIT(CAP_CHOWN)
#define NET_ BIT(CAP_NET_RAW)
#define BPF_ BIT(39)

struct sets { unsigned long e, p, i; };

static long getcaps(pid_t pid, struct sets *s)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, pid };
	struct __user_cap_data_struct d[2];
	long r = syscall(SYS_capget, &h, d);
	s->e = d[0].effective | (unsigned long)d[1].effective << 32;
	s->p = d[0].permitted | (unsigned long)d[1].permitted << 32;
	s->i = d[0].inheritable | (unsigned long)d[1].inheritable << 32;
	return r;
}

static long setcaps(unsigned long e, unsigned long p, unsigned long i)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2] = { { e, p, i }, { e >> 32, p >> 32, i >> 32 } };
	return syscall(SYS_capset, &h, d);
}

static struct sets now(void)
{
	struct sets s;
	MUST(getcaps(0, &s));
	return s;
}

/* ---- capget and capset ---- */

CASE(versions)
{
	NEED_ROOT("[cred] versions of capget");
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_1, 0 };
	struct __user_cap_data_struct d[2];
	struct sets s = now();
	memset(d, 0xee, sizeof d);
	CHECK_OK(syscall(SYS_capget, &h, d), "[cred] capget of version 1");
	CHECK(d[0].permitted == (unsigned)s.p && d[1].permitted == 0xeeeeeeee, "[cred] gives the low halves and writes no more");
	h.version = _LINUX_CAPABILITY_VERSION_2;
	CHECK_OK(syscall(SYS_capget, &h, d), "[cred] version 2");
	CHECK(d[1].permitted == (unsigned)(s.p >> 32), "[cred] gives both");
	h.version = 7;
	CHECK_OK(syscall(SYS_capget, &h, NULL), "[cred] an unknown version without data is a question");
	CHECK_EQ(h.version, _LINUX_CAPABILITY_VERSION_3, "[cred] with version 3 as the answer");
	h.version = 7;
	CHECK_ERR(syscall(SYS_capset, &h, d), EINVAL, "[cred] capset of an unknown version: EINVAL");
	h.version = _LINUX_CAPABILITY_VERSION_3;
	h.pid = getppid();
	CHECK_ERR(syscall(SYS_capset, &h, d), EPERM, "[cred] capset of another process: EPERM");
	h.pid = getpid();
	CHECK_OK(syscall(SYS_capset, &h, d), "[cred] by one's own number it works");
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(setcaps(0, KILL_, 0));
	REQUIRE(await_zombie(pid));
	struct sets z;
	CHECK(getcaps(pid, &z) == 0 && z.p == KILL_ && z.e == 0, "[cred,3.11] a zombie's are still there");
	reap(pid);
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	REQUIRE(call(t, ag_drop, 1000) == 0);
	CHECK(getcaps(t->tid, &z) == 0 && z.p == 0, "[cred] capget of a thread by its tid");
	CHECK(getcaps(p->pid, &z) == 0 && z.p != 0, "[cred] is not that of its process");
	retire(p, NULL);
	h.version = _LINUX_CAPABILITY_VERSION_1;
	h.pid = 0;
	d[0] = (struct __user_cap_data_struct){ 0, KILL_, 0 };
	CHECK_OK(syscall(SYS_capset, &h, d), "[cred] capset of version 1");
	CHECK_EQ(now().p, KILL_, "[cred] clears the high halves");
}

CASE(capset_rules)
{
	NEED_ROOT("[cred] rules of capset");
	struct sets s = now();
	CHECK_ERR(setcaps(s.e, s.p & ~KILL_, s.i), EPERM, "[cred] effective beyond permitted: EPERM");
	CHECK_OK(setcaps(s.e, s.p, KILL_), "[cred] with CAP_SETPCAP what is in the bounding set may become inheritable");
	CHECK_OK(pr(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0), "[1.40] out of the bounding set");
	CHECK_ERR(setcaps(s.e, s.p, NET_), EPERM, "[cred] what isn't may not: EPERM");
	CHECK_OK(setcaps(s.e & ~BIT(CAP_SETPCAP), s.p, KILL_), "[cred] without CAP_SETPCAP");
	CHECK_OK(setcaps(s.e & ~BIT(CAP_SETPCAP), s.p, CHOWN_), "[cred] permitted ones may be made inheritable");
	CHECK_OK(setcaps(0, KILL_, CHOWN_), "[cred] dropping permitted ones");
	CHECK_ERR(setcaps(0, KILL_, NET_ | CHOWN_), EPERM, "[cred] what is neither permitted nor inheritable: EPERM");
	CHECK_ERR(setcaps(0, KILL_ | CHOWN_, CHOWN_), EPERM, "[cred] nothing comes back to permitted: EPERM");
	CHECK_OK(setcaps(~0UL << 41, KILL_ | ~0UL << 41, CHOWN_), "[cred] bits beyond the last capability are ignored");
	s = now();
	CHECK(s.e == 0 && s.p == KILL_ && s.i == CHOWN_, "[cred] as set");
}

CASE(ambient_sets)
{
	NEED_ROOT("[1.41] ambient capabilities");
	struct sets s = now();
	MUST(setcaps(s.e, s.p, KILL_ | CHOWN_));
	CHECK_OK(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), "[1.41] RAISE of what is permitted and inheritable");
	CHECK_EQ(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 1, "[1.41] IS_SET");
	CHECK_OK(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0), "[1.41] another");
	CHECK_OK(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_CHOWN, 0, 0), "[1.41] LOWER");
	CHECK_EQ(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0), 0, "[1.41] lowered");
	CHECK_ERR(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 41, 0, 0), EINVAL, "[1.41] an invalid one: EINVAL");
	char text[32];
	proc_status(getpid(), "CapAmb", text, sizeof text);
	CHECK_EQ(strtoul(text, NULL, 16), KILL_, "[1.41] CapAmb in /proc/pid/status");
	MUST(setcaps(s.e, s.p, CHOWN_));
	CHECK_EQ(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 0, "[1.41] what is no longer inheritable leaves the ambient set");
	MUST(setcaps(s.e, s.p, KILL_));
	MUST(pr(PR_SET_SECUREBITS, SECBIT_NO_CAP_AMBIENT_RAISE, 0, 0, 0));
	CHECK_ERR(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0), EPERM, "[1.41] with SECBIT_NO_CAP_AMBIENT_RAISE: EPERM");
	MUST(pr(PR_SET_SECUREBITS, 0, 0, 0, 0));
	MUST(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	REQUIRE(ag_drop(1000) == 0);
	CHECK_EQ(pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_KILL, 0, 0), 0, "[1.41] leaving root clears it");
}

/* ---- securebits ---- */

static long ag_secbits(long v) { return pr(PR_SET_SECUREBITS, v, 0, 0, 0); }
static long ag_keepcaps(long v) { return pr(PR_SET_KEEPCAPS, v, 0, 0, 0); }
static long ag_get_keepcaps(long x) { (void)x; return pr(PR_GET_KEEPCAPS, 0, 0, 0, 0); }

CASE(secure_bits)
{
	NEED_ROOT("[1.42] securebits");
	CHECK_OK(ag_secbits(SECBIT_KEEP_CAPS), "[1.42] KEEP_CAPS by SET_SECUREBITS");
	CHECK_EQ(ag_get_keepcaps(0), 1, "[1.39,1.42] is what GET_KEEPCAPS shows");
	CHECK_OK(ag_secbits(SECBIT_KEEP_CAPS_LOCKED), "[1.42] off and locked");
	CHECK_ERR(ag_keepcaps(1), EPERM, "[1.39] SET_KEEPCAPS while locked: EPERM");
	CHECK_ERR(ag_keepcaps(0), EPERM, "[1.39] 0 as well");
	CHECK_ERR(ag_keepcaps(2), EINVAL, "[1.39] 2 is EINVAL all the same");
	CHECK_ERR(ag_secbits(0), EPERM, "[1.42] a lock is not cleared: EPERM");
	CHECK_ERR(pr(PR_SET_SECUREBITS, 1L << 32 | SECBIT_KEEP_CAPS_LOCKED, 0, 0, 0), EPERM, "[1.42] the value is a word: EPERM");
	IF_SINCE(6, 14, "[1.42] SECBIT_EXEC_*") {
		struct agent *a = spawn(NULL);
		REQUIRE(call(a, ag_drop, 1000) == 0);
		long base = SECBIT_KEEP_CAPS_LOCKED;
		CHECK(call(a, ag_secbits, base) == -1 && a->err == EPERM, "[1.42] unprivileged: no change is EPERM");
		CHECK_OK(call(a, ag_secbits, base | 0x100), "[1.42] unprivileged: EXEC_RESTRICT_FILE may be set");
		CHECK_OK(call(a, ag_secbits, base | 0x500), "[1.42] and EXEC_DENY_INTERACTIVE");
		CHECK_OK(call(a, ag_secbits, base | 0x700), "[1.42] and locked");
		CHECK(call(a, ag_secbits, base | 0x600) == -1 && a->err == EPERM, "[1.42] a locked one stays: EPERM");
		CHECK(call(a, ag_secbits, base | 0x701) == -1 && a->err == EPERM, "[1.42] others need CAP_SETPCAP: EPERM");
		retire(a, NULL);
	}
}

CASE(no_fixup)
{
	NEED_ROOT("[1.42] SECBIT_NO_SETUID_FIXUP");
	struct sets s = now(), t;
	MUST(ag_secbits(SECBIT_NO_SETUID_FIXUP));
	REQUIRE(ag_drop(1000) == 0);
	t = now();
	CHECK(t.e == s.e && t.p == s.p, "[1.42] with NO_SETUID_FIXUP a change of ids leaves the sets alone");
}

CASE(fs_capabilities)
{
	NEED_ROOT("[cred] setfsuid and capabilities");
	unsigned long fs = CHOWN_ | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) |
			   BIT(CAP_LINUX_IMMUTABLE) | BIT(CAP_MKNOD) | BIT(CAP_MAC_OVERRIDE);
	struct sets s = now();
	syscall(SYS_setfsuid, 1000);
	CHECK_EQ(now().e, s.e & ~fs, "[cred] setfsuid from 0 drops the capabilities about files");
	syscall(SYS_setfsuid, 0);
	CHECK_EQ(now().e, s.e, "[cred] and back to 0 raises them");
	pr(PR_SET_DUMPABLE, 1, 0, 0, 0);
	pr(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
	syscall(SYS_setfsuid, 1000);
	int sig = -1;
	pr(PR_GET_PDEATHSIG, (long)&sig, 0, 0, 0);
	CHECK(sig == 0 && pr(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0, "[1.21,1.36] a change of the fsuid clears pdeathsig and dumpable");
	pr(PR_SET_DUMPABLE, 1, 0, 0, 0);
	pr(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
	syscall(SYS_setfsgid, 1000);
	pr(PR_GET_PDEATHSIG, (long)&sig, 0, 0, 0);
	CHECK(sig == 0 && pr(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0, "[1.21,1.36] so does one of the fsgid");
	pr(PR_SET_DUMPABLE, 1, 0, 0, 0);
	pr(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
	syscall(SYS_setresuid, 1000L, -1L, -1L);
	syscall(SYS_setfsuid, 1000);
	pr(PR_GET_PDEATHSIG, (long)&sig, 0, 0, 0);
	/* setresuid sets the fsuid back to the euid first: only the second call changed an id that counts, twice. */
	CHECK(sig == 0, "[1.21] setresuid sets the fsuid");
}

/* ---- execve ---- */

struct report {
	uid_t ruid, euid, suid;
	gid_t egid;
	struct sets s;
	unsigned long ambient;
	int secure, dumpable, pdeath, securebits, nnp;
	unsigned personality;
	unsigned long stack;
};

HELPER(report)
{
	struct report r = { 0 };
	uid_t u;
	gid_t g;
	getresuid(&r.ruid, &r.euid, &r.suid);
	getresgid(&g, &r.egid, &g);
	(void)u;
	getcaps(0, &r.s);
	for (int c = 0; c <= 40; c++)
		r.ambient |= (unsigned long)pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) << c;
	r.secure = getauxval(AT_SECURE);
	r.dumpable = pr(PR_GET_DUMPABLE, 0, 0, 0, 0);
	pr(PR_GET_PDEATHSIG, (long)&r.pdeath, 0, 0, 0);
	r.securebits = pr(PR_GET_SECUREBITS, 0, 0, 0, 0);
	r.nnp = pr(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
	r.personality = personality(0xffffffff);
	struct rlimit rl;
	getrlimit(RLIMIT_STACK, &rl);
	r.stack = rl.rlim_cur;
	return write(atoi(argv[1]), &r, sizeof r) == sizeof r ? 0 : 1;
}

static char prog[300];
static int report_fd;

static void make_prog(int mode, unsigned long fp, unsigned long fi, int effective)
{
	snprintf(prog, sizeof prog, "%s", tmp_path("prog"));
	MUST(chmod(tmp_path(""), 0755));
	unlink(prog);
	REQUIRE(copy_self(prog, mode));
	if (fp | fi) {
		struct vfs_cap_data d = { VFS_CAP_REVISION_2 | (effective ? VFS_CAP_FLAGS_EFFECTIVE : 0),
					  { { fp, fi }, { fp >> 32, fi >> 32 } } };
		MUST(setxattr(prog, "security.capability", &d, sizeof d, 0));
	}
}

static void exec_report(void)
{
	char fd[16];
	snprintf(fd, sizeof fd, "%d", report_fd);
	exec_helper(prog, "report", fd, NULL, NULL);
	_exit(errno == EPERM ? 101 : 100);
}

/* Runs `before` in a child that then execs prog; false if the exec failed. */
static int status;
static bool run(void (*before)(void), struct report *r)
{
	int p[2];
	MUST(pipe(p));
	report_fd = p[1];
	memset(r, 0xff, sizeof *r);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		close(p[0]);
		if (before)
			before();
		exec_report();
	}
	close(p[1]);
	ssize_t n = read(p[0], r, sizeof *r);
	close(p[0]);
	status = reap(pid);
	return n == sizeof *r;
}

static void as_user(void) { ag_drop(1000); pr(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0); pr(PR_SET_DUMPABLE, 1, 0, 0, 0); }
static void user_nnp(void) { as_user(); pr(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }
static void root_pdeath(void) { pr(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0); }

CASE(exec_root)
{
	NEED_ROOT("[10.16] exec by root");
	struct report r;
	unsigned long bset = 0;
	for (int c = 0; c <= 40; c++)
		bset |= (unsigned long)pr(PR_CAPBSET_READ, c, 0, 0, 0) << c;
	make_prog(0755, 0, 0, 0);
	REQUIRE(run(root_pdeath, &r));
	CHECK(r.s.p == bset && r.s.e == bset, "[cred] root has what the bounding set allows");
	CHECK(r.secure == 0 && r.dumpable == 1 && r.pdeath == SIGUSR1, "[1.20,1.35] and is neither secure nor undumpable");
	make_prog(04755, 0, 0, 0);
	REQUIRE(run(root_pdeath, &r));
	CHECK(r.secure == 0 && r.pdeath == SIGUSR1, "[1.20] set-uid-root run by root changes nothing");
	MUST(pr(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0));
	REQUIRE(run(NULL, &r));
	CHECK_EQ(r.s.p, bset & ~NET_, "[1.40] what left the bounding set does not come back by exec");
	MUST(ag_secbits(SECBIT_NOROOT));
	REQUIRE(run(NULL, &r));
	CHECK(r.s.p == 0 && r.s.e == 0, "[1.42] with SECBIT_NOROOT root is nobody");
	CHECK_EQ(r.securebits, SECBIT_NOROOT, "[1.42] securebits are kept");
}

static void keepcaps_user(void) { pr(PR_SET_KEEPCAPS, 1, 0, 0, 0); ag_drop(1000); }
static void ambient_user(void)
{
	pr(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	ag_drop(1000);
	setcaps(0, KILL_ | CHOWN_, KILL_);
	pr(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0);
	pr(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
	pr(PR_SET_DUMPABLE, 1, 0, 0, 0);
}
static void root_becomes_half(void) { syscall(SYS_setresuid, 0L, 1000L, 1000L); }

CASE(exec_plain)
{
	NEED_ROOT("[cred] exec of a file without capabilities");
	struct report r;
	make_prog(0755, 0, 0, 0);
	REQUIRE(run(as_user, &r));
	CHECK(r.s.p == 0 && r.s.e == 0, "[cred] a user has none");
	CHECK(r.secure == 0 && r.dumpable == 1, "[1.35] dumpable becomes 1 again");
	CHECK_EQ(r.pdeath, SIGUSR1, "[1.20] pdeathsig is kept");
	REQUIRE(run(keepcaps_user, &r));
	CHECK(r.s.p == 0 && r.securebits == 0, "[1.39] kept capabilities end with exec, and KEEPCAPS with them");
	REQUIRE(run(ambient_user, &r));
	CHECK(r.s.p == KILL_ && r.s.e == KILL_ && r.ambient == KILL_, "[1.41] ambient capabilities stay and are effective");
	CHECK(r.s.i == KILL_, "[1.41] the inheritable set is kept");
	CHECK(r.secure == 0 && r.dumpable == 1 && r.pdeath == SIGUSR1, "[1.41] they are no gain");
	REQUIRE(run(root_becomes_half, &r));
	CHECK(r.ruid == 0 && r.euid == 1000 && r.s.p != 0 && r.s.e == 0, "[cred] real uid 0 alone: permitted, not effective");
	CHECK(r.secure == 1 && r.dumpable == 0, "[1.35,10.16] ids that differ: AT_SECURE, not dumpable");
}

static void drop_bset(void) { pr(PR_CAPBSET_DROP, CAP_CHOWN, 0, 0, 0); as_user(); }
static void inheriting(void)
{
	pr(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	ag_drop(1000);
	setcaps(0, NET_ | BPF_, NET_ | BPF_);
	setcaps(0, 0, NET_ | BPF_);
	pr(PR_SET_DUMPABLE, 1, 0, 0, 0);
}
static void personal(void)
{
	struct rlimit rl = { 32 << 20, RLIM_INFINITY };
	setrlimit(RLIMIT_STACK, &rl);
	personality(ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | 0x4000000);
	as_user();
}
static void nnp_caps(void)
{
	pr(PR_SET_KEEPCAPS, 1, 0, 0, 0);
	ag_drop(1000);
	setcaps(0, KILL_, 0);
	pr(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

CASE(exec_file_caps)
{
	NEED_ROOT("[1.20,1.35] file capabilities");
	struct report r;
	make_prog(0755, KILL_ | CHOWN_ | BPF_, 0, 1);
	REQUIRE(run(as_user, &r));
	CHECK(r.s.p == (KILL_ | CHOWN_ | BPF_) && r.s.e == r.s.p, "[cred] a file's permitted capabilities, effective");
	CHECK(r.euid == 1000 && r.secure == 1, "[10.16] AT_SECURE is 1");
	CHECK_EQ(r.pdeath, 0, "[1.20] exec gaining file capabilities clears pdeathsig");
	CHECK_EQ(r.dumpable, 0, "[1.35] and dumpable");
	REQUIRE(run(ambient_user, &r));
	CHECK(r.ambient == 0 && r.s.p == (KILL_ | CHOWN_ | BPF_), "[1.41] a file with capabilities ends ambient ones");
	CHECK(!run(drop_bset, &r) && status == 101 << 8, "[cred] what the bounding set withholds: EPERM when they are to be effective");
	REQUIRE(run(personal, &r));
	CHECK_EQ(r.personality, 0x4000000u, "[10.9] personality bits that help an attacker go");
	CHECK_EQ(r.stack, 8ul << 20, "[10.16] a large stack limit goes back to 8 MiB");
	REQUIRE(run(user_nnp, &r));
	CHECK(r.s.p == 0 && r.s.e == 0 && r.nnp == 1, "[1.38] no_new_privs: nothing is gained");
	CHECK(r.secure == 1 && r.pdeath == 0 && r.dumpable == 1, "[1.20,1.38] but AT_SECURE is 1 and pdeathsig gone");
	REQUIRE(run(nnp_caps, &r));
	CHECK_EQ(r.s.p, KILL_, "[1.38] no_new_privs: what was permitted may stay");
	make_prog(0755, KILL_ | CHOWN_, 0, 0);
	REQUIRE(run(as_user, &r));
	CHECK(r.s.p == (KILL_ | CHOWN_) && r.s.e == 0, "[cred] permitted only, without the effective bit");
	REQUIRE(run(drop_bset, &r));
	CHECK(r.s.p == KILL_ && r.s.e == 0, "[cred] then the bounding set just withholds");
	make_prog(0755, 0, NET_ | KILL_, 1);
	REQUIRE(run(inheriting, &r));
	CHECK(r.s.p == NET_ && r.s.e == NET_ && r.s.i == (NET_ | BPF_), "[cred] inheritable of both become permitted");
	CHECK_EQ(r.secure, 1, "[10.16] AT_SECURE is 1");
	make_prog(0755, KILL_, 0, 1);
	REQUIRE(run(NULL, &r));
	CHECK(r.s.p & CHOWN_ && r.s.e & CHOWN_ && r.secure == 0, "[cred] root gets everything from a file with some");
	make_prog(04755, KILL_, 0, 1);
	REQUIRE(run(as_user, &r));
	CHECK(r.euid == 0 && r.s.p == KILL_, "[cred] set-uid-root with capabilities gives a user only those");
}

static void setgid_member(void)
{
	gid_t g = 55;
	setgroups(1, &g);
	syscall(SYS_setresgid, 1000L, 1000L, 1000L);
	syscall(SYS_setresuid, 1000L, 1000L, 1000L);
	pr(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
	pr(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

CASE(exec_set_id)
{
	NEED_ROOT("[10.16] set-id files");
	struct report r;
	make_prog(04755, 0, 0, 0);
	REQUIRE(run(as_user, &r));
	CHECK(r.ruid == 1000 && r.euid == 0 && r.suid == 0 && r.s.e != 0, "[10.16] set-uid-root: euid 0 and capabilities");
	CHECK(r.secure == 1 && r.dumpable == 0 && r.pdeath == 0, "[1.20,1.35,10.16] AT_SECURE, not dumpable, no pdeathsig");
	REQUIRE(run(user_nnp, &r));
	CHECK(r.euid == 1000 && r.secure == 0 && r.dumpable == 1 && r.pdeath == SIGUSR1, "[1.20,1.38,10.16] no_new_privs: as a plain file");
	make_prog(04755, 0, 0, 0);
	MUST(chown(prog, 2000, 55));
	MUST(chmod(prog, 04755));
	REQUIRE(run(as_user, &r));
	CHECK(r.euid == 2000 && r.s.p == 0 && r.secure == 1 && r.dumpable == 0, "[10.16] another user's");
	MUST(chmod(prog, 02755));
	REQUIRE(run(as_user, &r));
	CHECK(r.egid == 55 && r.secure == 1 && r.dumpable == 0 && r.pdeath == 0, "[1.20,10.16] set-gid");
	MUST(chmod(prog, 02745));
	REQUIRE(run(as_user, &r));
	CHECK(r.egid == 1000 && r.secure == 0, "[10.16] set-gid without group execution is none");
	MUST(chmod(prog, 02755));
	REQUIRE(run(setgid_member, &r));
	CHECK(r.egid == 55 && r.secure == 1 && r.pdeath == 0, "[1.20,10.16] set-gid for a member of the group, too");
	MUST(chmod(prog, 0711));
	REQUIRE(run(as_user, &r));
	CHECK(r.dumpable == 0 && r.secure == 0 && r.pdeath == SIGUSR1, "[1.35] a file that can't be read: not dumpable, nothing else");
}

CASE(exec_nosuid)
{
	NEED_ROOT("[10.16] nosuid mounts");
	char dir[256];
	struct report r;
	snprintf(dir, sizeof dir, "%s", tmp_path("m"));
	MUST(mkdir(dir, 0755));
	MUST(chmod(tmp_path(""), 0755));
	MUST(mount("caps", dir, "tmpfs", MS_NOSUID, "mode=755"));
	snprintf(prog, sizeof prog, "%s/prog", dir);
	REQUIRE(copy_self(prog, 04755));
	REQUIRE(run(as_user, &r));
	CHECK(r.euid == 1000 && r.secure == 0 && r.dumpable == 1, "[10.16] set-uid on a nosuid mount is not honoured");
	struct vfs_cap_data d = { VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE, { { KILL_, 0 }, { 0, 0 } } };
	MUST(chmod(prog, 0755));
	MUST(setxattr(prog, "security.capability", &d, sizeof d, 0));
	REQUIRE(run(as_user, &r));
	CHECK(r.s.p == 0 && r.secure == 0, "[10.16] nor are capabilities");
	MUST(umount2(dir, MNT_DETACH));
}

/* A process that shares its working directory with another one gains nothing. */
CASE(exec_shared_fs)
{
	NEED_ROOT("[10.16] shared fs_struct");
	make_prog(04755, 0, 0, 0);
	int p[2];
	struct report r;
	MUST(pipe(p));
	report_fd = p[1];
	memset(&r, 0xff, sizeof r);
	pid_t outer = MUST(fork());
	if (outer == 0) {
		as_user();
		pid_t pid = raw_clone(CLONE_FS | SIGCHLD);
		if (pid == 0)
			exec_report();
		_exit(reap(pid) ? 1 : 0);
	}
	close(p[1]);
	REQUIRE(read(p[0], &r, sizeof r) == sizeof r);
	reap(outer);
	CHECK(r.euid == 1000 && r.s.p == 0, "[10.16] fs shared with another process: set-uid is not honoured");
	CHECK_EQ(r.secure, 1, "[10.16] but AT_SECURE is 1");
	MUST(pipe(p));
	report_fd = p[1];
	outer = MUST(fork());
	if (outer == 0) {
		as_user();
		/* The only one besides is gone when it counts. */
		pid_t pid = raw_clone(CLONE_FS | SIGCHLD);
		if (pid == 0)
			_exit(0);
		reap(pid);
		exec_report();
	}
	close(p[1]);
	memset(&r, 0xff, sizeof r);
	REQUIRE(read(p[0], &r, sizeof r) == sizeof r);
	reap(outer);
	CHECK_EQ(r.euid, 0, "[10.16] when the other has gone it is");
}

/* ---- changes of ids ---- */

static long set_ruid(long u) { return syscall(SYS_setresuid, u, -1L, -1L); }
static long set_egid(long g) { return syscall(SYS_setresgid, -1L, g, -1L); }
static long ag_dumpable(long x) { (void)x; return pr(PR_GET_DUMPABLE, 0, 0, 0, 0); }

CASE(sensitive_changes)
{
	NEED_ROOT("[1.21,1.36] changes of ids");
	struct agent *a = spawn(NULL);
	call(a, ag_pdeathsig, SIGUSR1);
	CHECK(call(a, set_ruid, 1000) == 0 && call(a, ag_get_pdeathsig, 0) == SIGUSR1 && call(a, ag_dumpable, 0) == 1,
	      "[1.21,1.36] a change of the real uid alone keeps both");
	CHECK(call(a, set_egid, 1000) == 0 && call(a, ag_get_pdeathsig, 0) == 0 && call(a, ag_dumpable, 0) == 0,
	      "[1.21,1.36] one of the effective gid clears both");
	call(a, set_egid, 0);
	CHECK_EQ(call(a, ag_dumpable, 0), 0, "[1.36] changing back does not restore");
	retire(a, NULL);
}

/* ---- who may schedule whom ---- */

CASE(schedule_of_the_privileged)
{
	NEED_ROOT("[cred,sched] scheduling of who has more capabilities");
	struct agent *privileged = spawn(NULL), *weak = spawn(NULL), *equal = spawn(NULL);
	long drop_all(long x)
	{
		(void)x;
		struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
		struct __user_cap_data_struct d[2] = { { 0, 0, 0 }, { 0, 0, 0 } };
		return syscall(SYS_capset, &h, d);
	}
	REQUIRE(call(weak, drop_all, 0) == 0 && call(equal, drop_all, 0) == 0);
	long nice_it(long pid) { return setpriority(PRIO_PROCESS, pid, 9); }
	long better(long pid) { return setpriority(PRIO_PROCESS, pid, -9); }
	long batch_it(long pid) { struct sched_param p = { 0 }; return sched_setscheduler(pid, SCHED_BATCH, &p); }
	long pin_it(long pid) { unsigned long m[16] = { 1 }; return syscall(SYS_sched_setaffinity, pid, sizeof m, m); }
	long io_it(long pid) { return syscall(SYS_ioprio_set, 1L, pid, (2L << 13) | 3); }
	CHECK(call(weak, nice_it, privileged->pid) == -1 && weak->err == EPERM, "[cred,sched] the same user with fewer capabilities may not set the nice value: EPERM");
	CHECK(call(weak, better, privileged->pid) == -1 && weak->err == EACCES, "[cred,sched] a better one: EACCES, from the limit");
	CHECK(call(weak, batch_it, privileged->pid) == -1 && weak->err == EPERM, "[cred,sched] nor the policy");
	CHECK(call(weak, pin_it, privileged->pid) == -1 && weak->err == EPERM, "[cred,sched] nor the CPUs");
	CHECK(call(weak, io_it, privileged->pid) == -1 && weak->err == EPERM, "[cred,sched] nor the priority of input and output");
	CHECK_OK(call(weak, nice_it, equal->pid), "[cred,sched] with the same capabilities it may");
	CHECK_OK(call(weak, batch_it, equal->pid), "[cred,sched] the policy");
	CHECK_OK(call(weak, pin_it, equal->pid), "[cred,sched] the CPUs");
	CHECK_OK(call(weak, io_it, equal->pid), "[cred,sched] the priority of input and output");
	CHECK_OK(call(privileged, nice_it, weak->pid), "[cred,sched] CAP_SYS_NICE may all");
	retire(privileged, NULL);
	retire(weak, NULL);
	retire(equal, NULL);
}
