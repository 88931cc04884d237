/* pdeath.c - section 1b: the parent-death signal (rules 1.17-1.30). */
#include "lib/hold.h"
#include "lib/tap.h"

#include <sys/fsuid.h>

#define RT (SIGRTMIN + 1)

/* A child of `in` that catches `sig` and has it as its parent-death signal. */
static struct agent *mourner(struct agent *in, int sig)
{
	struct agent *c = spawn(in);
	call(c, ag_catch, sig);
	REQUIRE(call(c, ag_pdeathsig, sig) == 0);
	return c;
}

/* How often `c` has been signalled; a round trip first, so that what was sent has been handled. */
static int hits(struct agent *c, int sig)
{
	call(c, ag_getpid, 0);
	return siglog_count(c->pid, sig);
}

CASE(set_values)
{
	int bad = 0;
	for (long s = 0; s <= 64; s++)
		bad += ag_pdeathsig(s) != 0 || ag_get_pdeathsig(0) != s;
	CHECK_EQ(bad, 0, "[1.17] SET accepts 0..64 and GET reads each back");
	ag_pdeathsig(10);
	CHECK_ERR(prctl(PR_SET_PDEATHSIG, 65UL, 0, 0, 0), EINVAL, "[1.17] 65 is EINVAL");
	CHECK_ERR(prctl(PR_SET_PDEATHSIG, -1UL, 0, 0, 0), EINVAL, "[1.17] -1 is EINVAL");
	CHECK_ERR(prctl(PR_SET_PDEATHSIG, 1UL << 32 | 1, 0, 0, 0), EINVAL, "[1.17] the argument is compared in 64 bits");
	CHECK_EQ(ag_get_pdeathsig(0), 10, "[1.17] a refused SET changes nothing");
	CHECK_OK(prctl(PR_SET_PDEATHSIG, 12UL, 1, -1UL, 77), "[1.17] arg3..arg5 are ignored");
	CHECK_EQ(ag_get_pdeathsig(0), 12, "[1.17] and the value is set");
	CHECK_OK(prctl(PR_SET_PDEATHSIG, 0UL, 0, 0, 0), "[1.17] SET 0");
	CHECK_EQ(ag_get_pdeathsig(0), 0, "[1.17] 0 clears");
}

CASE(get_pointer)
{
	unsigned char buf[12];
	ag_pdeathsig(33);
	memset(buf, 0xaa, sizeof buf);
	CHECK_OK(prctl(PR_GET_PDEATHSIG, buf + 3, 0, 0, 0), "[1.18] GET returns 0");
	CHECK(buf[2] == 0xaa && buf[3] == 33 && !buf[4] && !buf[5] && !buf[6] && buf[7] == 0xaa,
	      "[1.18] GET stores one int at any address");
	CHECK_ERR(prctl(PR_GET_PDEATHSIG, NULL, 0, 0, 0), EFAULT, "[1.18] NULL is EFAULT");
	CHECK_ERR(prctl(PR_GET_PDEATHSIG, map_readonly(), 0, 0, 0), EFAULT, "[1.18] read-only memory is EFAULT");
	CHECK_ERR(prctl(PR_GET_PDEATHSIG, map_edge() - 1, 0, 0, 0), EFAULT, "[1.18] an int that runs into a hole is EFAULT");
}

static long vfork_get(long x)
{
	(void)x;
	volatile long v = -2;
	pid_t pid = vfork();
	if (pid == 0) {
		int f = -1;
		v = prctl(PR_GET_PDEATHSIG, &f, 0, 0, 0) ? -1 : f;
		_exit(0);
	}
	return pid > 0 && reap(pid) == 0 ? v : -3;
}

CASE(per_thread)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_pdeathsig, 10);
	CHECK_EQ(call(t, ag_get_pdeathsig, 0), 0, "[1.19] setting it in one thread does not show in another");
	struct agent *t2 = spawn_thread(p), *c = spawn(p);
	CHECK_EQ(call(t2, ag_get_pdeathsig, 0), 0, "[1.19] a new thread starts at 0");
	CHECK_EQ(call(c, ag_get_pdeathsig, 0), 0, "[1.19,6.20] a fork child starts at 0");
	CHECK_EQ(call(p, vfork_get, 0), 0, "[1.19] a vfork child starts at 0");
	CHECK_EQ(call(p, ag_get_pdeathsig, 0), 10, "[1.19] the setter keeps it");
	retire(c, p);
	retire(p, NULL);
}

/* ---- exec ---- */

HELPER(get)
{
	return ag_get_pdeathsig(0);
}

static int exec_get(const char *path, bool nnp)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
		if (nnp)
			prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		exec_helper(path, "get", NULL, NULL, NULL);
		_exit(98);
	}
	int st = reap(pid);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

CASE(exec_keeps)
{
	CHECK_EQ(exec_get(self_path, false), SIGUSR1, "[1.20] a plain execve keeps it");
}

CASE(exec_setid)
{
	NEED_ROOT("[1.20] exec of set-id files");
	char path[256];
	strcpy(path, tmp_path("su"));
	REQUIRE(copy_self(path, 0755) && chown(path, 65533, 65533) == 0 && chmod(path, 04755) == 0);
	CHECK_EQ(exec_get(path, false), 0, "[1.20] exec of a setuid file that changes the id clears it");
	CHECK_EQ(exec_get(path, true), SIGUSR1, "[1.20] no_new_privs suppresses the id change: kept");
	REQUIRE(chmod(path, 02755) == 0);
	CHECK_EQ(exec_get(path, false), 0, "[1.20] exec of a setgid file that changes the id clears it");
	REQUIRE(chown(path, 0, 0) == 0 && chmod(path, 04755) == 0);
	CHECK_EQ(exec_get(path, false), SIGUSR1, "[1.20] root execs a setuid-root file: no id change, kept");
}

/* ---- credentials ---- */

static int after(long nr, long a, long b, long c)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
		if (syscall(nr, a, b, c) < 0)
			_exit(99);
		_exit(ag_get_pdeathsig(0));
	}
	int st = reap(pid);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -1;
}

CASE(credentials)
{
	NEED_ROOT("[1.21] credential changes");
	CHECK_EQ(after(SYS_setresuid, 1000, 1000, 1000), 0, "[1.21] setresuid of all clears it");
	CHECK_EQ(after(SYS_setresuid, -1, 1000, -1), 0, "[1.21] a change of euid clears it");
	CHECK_EQ(after(SYS_setreuid, -1, 1000, 0), 0, "[1.21] setreuid of the euid clears it");
	CHECK_EQ(after(SYS_setuid, 1000, 0, 0), 0, "[1.21] setuid clears it");
	CHECK_EQ(after(SYS_setfsuid, 1000, 0, 0), 0, "[1.21] setfsuid clears it");
	CHECK_EQ(after(SYS_setresgid, -1, 1000, -1), 0, "[1.21] a change of egid clears it");
	CHECK_EQ(after(SYS_setgid, 1000, 0, 0), 0, "[1.21] setgid clears it");
	CHECK_EQ(after(SYS_setfsgid, 1000, 0, 0), 0, "[1.21] setfsgid clears it");
	CHECK_EQ(after(SYS_setresuid, 1000, -1, -1), SIGUSR1, "[1.21] a change of the real uid alone keeps it");
	CHECK_EQ(after(SYS_setresgid, 1000, -1, -1), SIGUSR1, "[1.21] a change of the real gid alone keeps it");
	CHECK_EQ(after(SYS_setresuid, 0, 0, 0), SIGUSR1, "[1.21] setting the ids it has keeps it");
	CHECK_EQ(after(SYS_setgroups, 0, 0, 0), SIGUSR1, "[1.21] setgroups keeps it");
}

/* ---- firing ---- */

CASE(parent_dies)
{
	struct agent *p = spawn(NULL), *c = mourner(p, SIGUSR1);
	pid_t reaper = getppid();
	retire(p, NULL);
	CHECK_EQ(hits(c, SIGUSR1), 1, "[1.22] one signal when the parent process exits");
	struct sigrec *r = siglog_get(c->pid, SIGUSR1, 0);
	REQUIRE(r);
	CHECK_EQ(r->code, SI_USER, "[1.24] si_code is SI_USER");
	CHECK_EQ(r->pid, p->pid, "[1.24] si_pid is the dead parent");
	CHECK_EQ(r->uid, getuid(), "[1.24] si_uid is its real uid");
	CHECK_EQ(r->ppid, reaper, "[1.23] in the handler, getppid shows the new parent");
	CHECK_EQ(call(c, ag_get_pdeathsig, 0), SIGUSR1, "[1.22] the setting stays after it fired");
	quit(c, 0);
}

CASE(parent_killed)
{
	struct agent *p = spawn(NULL), *c = mourner(p, RT);
	kill(p->pid, SIGKILL);
	CHECK_EQ(reap(p->pid), SIGKILL, "[1.22] (the parent was killed)");
	CHECK_EQ(hits(c, RT), 1, "[1.22] one signal when the parent is killed");
	quit(c, 0);
}

CASE(default_action)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
	call(c, ag_pdeathsig, SIGKILL);
	retire(p, NULL);
	CHECK_EQ(reap(c->pid), SIGKILL, "[1.22] SIGKILL as parent-death signal kills the child");
}

CASE(not_set)
{
	struct agent *p = spawn(NULL), *c = mourner(p, SIGUSR1);
	call(c, ag_pdeathsig, 0);
	retire(p, NULL);
	CHECK_EQ(hits(c, SIGUSR1), 0, "[1.17,1.22] cleared: no signal");
	quit(c, 0);
}

CASE(parent_thread_dies)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	struct agent *ct = mourner(t, RT), *cl = mourner(p, RT);
	quit_thread(t, 0);
	REQUIRE(AWAIT(proc_stat(p->pid, 20) == 1));
	CHECK(AWAIT(hits(ct, RT) >= 1), "[1.22,2.9] fires when the thread that forked it exits, the process living on");
	CHECK_EQ(hits(ct, RT), 1, "[1.22] once");
	CHECK_EQ(call(ct, ag_getppid, 0), p->pid, "[1.22] and getppid stays the same");
	CHECK_EQ(siglog_get(ct->pid, RT, 0)->pid, p->pid, "[1.24] si_pid is the thread group id, not the tid");
	CHECK_EQ(hits(cl, RT), 0, "[1.22] a child of another thread gets nothing");
	retire(ct, p);
	quit(p, 0);
	REQUIRE(reap(p->pid) == 0);
	CHECK_EQ(hits(cl, RT), 1, "[1.22] and its own when its parent thread ends with the process");
	quit(cl, 0);
}

CASE(leader_exits_first)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p), *c = mourner(p, RT);
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	CHECK_EQ(hits(c, RT), 1, "[1.22] the exit of a leader with live threads fires it for the leader's children");
	CHECK_EQ(call(c, ag_getppid, 0), p->pid, "[1.22,2.18] getppid stays the same");
	retire(t, NULL);
	CHECK_EQ(hits(c, RT), 2, "[1.22] and once more when the thread that took it over ends");
	quit(c, 0);
}

CASE(every_reparenting)
{
	struct agent *s1 = spawn(NULL), *s2 = spawn(s1), *p = spawn(s2), *c = mourner(p, RT);
	pid_t runner = getppid();
	call(s1, ag_subreaper, 1);
	call(s2, ag_subreaper, 1);
	retire(p, s2);
	CHECK_EQ(hits(c, RT), 1, "[1.23] fires at the parent's death");
	retire(s2, s1);
	CHECK_EQ(hits(c, RT), 2, "[1.23] again when the adopter dies");
	retire(s1, NULL);
	CHECK_EQ(hits(c, RT), 3, "[1.23] and again when the next adopter dies");
	struct sigrec *a = siglog_get(c->pid, RT, 0), *b = siglog_get(c->pid, RT, 1), *d = siglog_get(c->pid, RT, 2);
	REQUIRE(a && b && d);
	CHECK(a->pid == p->pid && b->pid == s2->pid && d->pid == s1->pid, "[1.23] si_pid is the dying parent each time");
	CHECK(a->ppid == s2->pid && b->ppid == s1->pid && d->ppid == runner,
	      "[1.23] the handler sees the new parent each time");
	quit(c, 0);
}

static long ruid(long x)
{
	return syscall(SYS_setresuid, x, -1L, -1L);
}

CASE(sender_uid)
{
	NEED_ROOT("[1.24] si_uid is the real uid");
	struct agent *p = spawn(NULL), *c = mourner(p, SIGUSR1);
	REQUIRE(call(p, ag_drop, 0) == 0);
	pid_t pid = p->pid;
	REQUIRE(call(p, ruid, 1234) == 0);
	retire(p, NULL);
	CHECK_EQ(hits(c, SIGUSR1), 1, "[1.24,1.26] a parent with euid 0 and real uid 1234 may signal");
	struct sigrec *r = siglog_get(c->pid, SIGUSR1, 0);
	REQUIRE(r);
	CHECK(r->pid == pid && r->uid == 1234, "[1.24] si_uid is the real uid of the dying parent");
	quit(c, 0);
}

CASE(each_thread_of_child)
{
	struct agent *p = spawn(NULL), *c = spawn(p), *t1 = spawn_thread(c), *t2 = spawn_thread(c);
	call(c, ag_catch, RT);
	call(c, ag_catch, RT + 1);
	call(c, ag_pdeathsig, RT);
	call(t1, ag_pdeathsig, RT);
	call(t2, ag_pdeathsig, RT + 1);
	retire(p, NULL);
	CHECK(AWAIT(siglog_count(c->pid, RT) + siglog_count(c->pid, RT + 1) >= 3),
	      "[1.25] one signal per thread of the child with a value");
	call(c, ag_getpid, 0);
	call(t1, ag_getpid, 0);
	call(t2, ag_getpid, 0);
	CHECK_EQ(siglog_count(c->pid, RT), 2, "[1.25] two for the two threads with the same signal");
	CHECK_EQ(siglog_count(c->pid, RT + 1), 1, "[1.25] one for the third");
	quit(c, 0);
}

CASE(process_directed)
{
	struct agent *p = spawn(NULL), *c = spawn(p), *t = spawn_thread(c);
	call(c, ag_catch, RT);
	call(t, ag_pdeathsig, RT);
	call(t, ag_block, RT);
	retire(p, NULL);
	CHECK(AWAIT(siglog_count(c->pid, RT) == 1), "[1.25] the thread that set it blocks it: another thread takes it");
	struct sigrec *r = siglog_get(c->pid, RT, 0);
	REQUIRE(r);
	CHECK_EQ(r->tid, c->tid, "[1.25] here the leader");
	quit(c, 0);
}

CASE(permission)
{
	NEED_ROOT("[1.26] kill permission");
	struct agent *p = spawn(NULL), *c = mourner(p, RT), *u = mourner(p, RT);
	REQUIRE(call(u, ag_drop, 65534) == 0);
	REQUIRE(call(u, ag_pdeathsig, RT) == 0);	/* the change of ids has cleared it, 1.21 */
	REQUIRE(call(p, ag_drop, 65534) == 0);
	retire(p, NULL);
	CHECK_EQ(hits(c, RT), 0, "[1.26] an unprivileged parent does not signal a root child");
	CHECK_EQ(hits(u, RT), 1, "[1.26] but one with its own uid");
	quit(c, 0);
	quit(u, 0);
}

static long set_real_ids_of_thread(long uid) { return syscall(SYS_setresuid, uid, uid, uid); }
static long new_session(long x) { (void)x; return setsid(); }

CASE(permission_to_continue)
{
	NEED_ROOT("[1.26] kill permission");
	struct agent *p = spawn(NULL), *c = mourner(p, SIGCONT), *other = mourner(p, SIGCONT);
	REQUIRE(call(other, new_session, 0) > 0);
	struct agent *m = spawn(p), *t = spawn_thread(m);
	call(m, ag_catch, RT);
	REQUIRE(call(t, set_real_ids_of_thread, 65534) == 0 && call(t, ag_pdeathsig, RT) == 0);
	REQUIRE(call(p, ag_drop, 65534) == 0);
	retire(p, NULL);
	CHECK_EQ(hits(c, SIGCONT), 1, "[1.26] an unprivileged parent sends SIGCONT to whom it likes in its session");
	CHECK_EQ(hits(other, SIGCONT), 0, "[1.26] but not beyond");
	call(t, ag_getpid, 0);		/* either thread may have taken it */
	CHECK_EQ(hits(m, RT), 1, "[1.26] what counts are the ids of the thread that asked for the signal");
	quit(c, 0);
	quit(other, 0);
	quit(m, 0);
}

CASE(not_retroactive)
{
	struct agent *p = spawn(NULL), *c = spawn(p);
	call(c, ag_catch, RT);
	retire(p, NULL);
	REQUIRE(call(c, ag_getppid, 0) != p->pid);
	call(c, ag_pdeathsig, RT);
	CHECK_EQ(hits(c, RT), 0, "[1.27] set after the parent's death: no signal");
	quit(c, 0);
}

CASE(clone_parent)
{
	struct agent *top = spawn(NULL), *p = spawn(top);
	struct agent *s = spawn_flags(p, CLONE_PARENT | SIGCHLD);
	call(s, ag_catch, RT);
	call(s, ag_pdeathsig, RT);
	retire(p, top);
	CHECK_EQ(hits(s, RT), 0, "[1.28] a CLONE_PARENT sibling gets nothing when its creator dies");
	CHECK_EQ(call(s, ag_getppid, 0), top->pid, "[1.28] its parent is the creator's parent");
	retire(top, NULL);
	CHECK_EQ(hits(s, RT), 1, "[1.28] and it is signalled when that one dies");
	quit(s, 0);
}

/* ---- exec in the parent ---- */

static long close_it(long fd)
{
	return close(fd);
}

static void exec_in_parent(bool other_thread)
{
	char c;
	MUST(pipe(up));
	MUST(pipe(down));
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
	struct agent *k = mourner(t1, RT);
	call(k, close_it, down[1]);
	post(other_thread ? t2 : t1, exec_hold, 0);
	REQUIRE(read(up[0], &c, 1) == 1);
	int n = hits(k, RT);
	/* two if the child passed through the leader, which was still alive when the parent thread died */
	if (other_thread)
		CHECK(n == 1 || n == 2, "[1.29] exec by another thread kills the parent thread: the child is signalled");
	else
		CHECK_EQ(n, 0, "[1.29] exec by the creating thread itself: no signal");
	CHECK_EQ(call(k, ag_getppid, 0), p->pid, "[1.29] getppid is unchanged by it");
	close(down[1]);
	REQUIRE(reap(p->pid) == 0);
	CHECK_EQ(hits(k, RT), n + 1, "[1.29] and signalled at the death of the exec'ed image");
	quit(k, 0);
}

CASE(exec_by_other_thread) { exec_in_parent(true); }
CASE(exec_by_creator) { exec_in_parent(false); }

/* ---- 1.30, 13.10 ---- */

CASE_T(set_against_death, 60)
{
	/* the child sets it while its parent dies: either it is signalled or a later getppid shows the change */
	int n = iterations(300), lost = 0, fired = 0, saw = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int i = 0; i < n; i++) {
		sh->w[0] = 0;
		pid_t p = MUST(fork());
		if (p == 0) {
			pid_t parent = getpid();
			if (fork() == 0) {
				sigset_t s;
				sigemptyset(&s);
				sigaddset(&s, SIGUSR1);
				sigprocmask(SIG_BLOCK, &s, NULL);
				set_word(&sh->w[0], 1);
				for (volatile int k = 0; k < i % 50 * 20; k++)
					;
				prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0);
				bool changed = getppid() != parent;
				if (!changed) {
					/* it has to come: the parent is on its way out */
					struct timespec ts = { deadline_ms / 1000, 0 };
					_exit(sigtimedwait(&s, NULL, &ts) == SIGUSR1 ? 1 : 3);
				}
				_exit(2);
			}
			wait_word(&sh->w[0], 1);
			for (volatile int k = 0; k < (i / 50) % 50 * 20; k++)
				;
			_exit(0);
		}
		REQUIRE(reap(p) == 0);
		int st;
		REQUIRE(reap_any(&st) > 0);
		fired += st == 1 << 8;
		saw += st == 2 << 8;
		lost += st != 1 << 8 && st != 2 << 8;
	}
	CHECK_EQ(lost, 0, "[1.30,13.10] set against parent death: signalled, or getppid has changed");
	CHECK_EQ(fired + saw, n, "[1.30,13.10] every child said which");
}
