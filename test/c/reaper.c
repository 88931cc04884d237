/* reaper.c - reaper control, beyond Linux (docs/reaper.md).  Linux refuses all of it: `unknown` runs there too. */
#include "lib/tap.h"
#include "lib/reaper.h"

#define NEED_FOSTER(text) do { if (!on_foster()) { tap_skip(text, "Linux does not have it"); return; } } while (0)

#define pr(option, a, b, c, d) syscall(SYS_prctl, (long)(option), (long)(a), (long)(b), (long)(c), (long)(d))

static long ag_setid(long uid) { return setresuid(uid, uid, uid); }
static long ag_quiet(long mode) { return pr(PR_REAP_SET_AUTOREAP, mode, 0, 0, 0); }
static long ag_release(long x) { (void)x; return pr(PR_REAP_RELEASE, 0, 0, 0, 0); }

/* waitpid(-1, flags): pid or -1; out[0] is the status. */
static long ag_wait_flags(long flags)
{
	int st = 0;
	long r = sys_wait4(-1, &st, flags | __WALL, NULL);
	me->out[0] = st;
	return r;
}

static struct reap_status status_of(pid_t pid)
{
	struct reap_status s;
	memset(&s, 0xaa, sizeof s);
	if (pr(PR_REAP_STATUS, pid, &s, sizeof s, 0) != sizeof s)
		tap_die(__FILE__, __LINE__, "PR_REAP_STATUS of %d: errno %d", pid, errno);
	return s;
}

/* The caller's: into sh->v[] by the agent itself. */
static long ag_status(long pid)
{
	struct reap_status s;
	long r = pr(PR_REAP_STATUS, pid, &s, sizeof s, 0);
	me->out[0] = s.children, me->out[1] = s.adopted, me->out[2] = s.zombies, me->out[3] = s.descendants;
	me->out[4] = s.reaper, me->out[5] = s.above, me->out[6] = s.flags, me->out[7] = s.pid;
	return r;
}

static struct reap_pid list[64];

static struct reap_pid *listed(int n, pid_t pid)
{
	for (int i = 0; i < n; i++)
		if (list[i].pid == (uint32_t)pid)
			return &list[i];
	return NULL;
}

/* Kills from within an agent: arg is the request in shared memory's sh->v[]. */
static long ag_kill(long pid)
{
	struct reap_kill k = { .signal = sh->v[0], .flags = sh->v[1], .subtree = sh->v[2], .killed = 99, .failed = 99 };
	long r = pr(PR_REAP_KILL, pid, &k, 0, 0);
	int e = errno;
	sh->v[3] = k.killed, sh->v[4] = k.failed;
	errno = e;
	return r;
}

static long kill_by(struct agent *a, pid_t pid, int sig, int flags, pid_t subtree)
{
	sh->v[0] = sig, sh->v[1] = flags, sh->v[2] = subtree, sh->v[3] = sh->v[4] = -1;
	return call(a, ag_kill, pid);
}

/* ---- what Linux says ---- */

CASE(unknown)
{
	/* On Linux every option of the range and every bit is unknown; on Foster those that are not given out. */
	bool foster = on_foster();
	for (unsigned option = 0x466f7300; option <= 0x466f7310; option++) {
		if (foster && option >= PR_REAP_STATUS && option <= PR_REAP_GET_AUTOREAP)
			continue;
		char text[80];
		snprintf(text, sizeof text, "[reaper] prctl option 0x%x is EINVAL", option);
		CHECK_ERR(pr(option, 0, 0, 0, 0), EINVAL, text);
	}
	static const unsigned bits[] = { 0x10, 0x8000, 0x100000, 0x2000000, 0x10000000, __WOWN | __WADOPTED };
	for (unsigned i = 0; i < sizeof bits / sizeof *bits; i++) {
		char text[80];
		snprintf(text, sizeof text, "[reaper,4.1] option 0x%x of wait4 is EINVAL", bits[i]);
		CHECK_ERR(sys_wait4(-1, NULL, bits[i] | WNOHANG, NULL), EINVAL, text);
		snprintf(text, sizeof text, "[reaper,4.1] option 0x%x of waitid is EINVAL", bits[i]);
		CHECK_ERR(sys_waitid(P_ALL, 0, NULL, bits[i] | WEXITED | WNOHANG, NULL), EINVAL, text);
	}
	CHECK_ERR(sys_wait4(-1, NULL, __WOWN | WNOHANG, NULL), foster ? ECHILD : EINVAL,
		  "[reaper] __WOWN: refused by Linux, no child here");
	CHECK_ERR(sys_waitid(P_ALL, 0, NULL, __WADOPTED | WEXITED | WNOHANG, NULL), foster ? ECHILD : EINVAL,
		  "[reaper] __WADOPTED: refused by Linux, no child here");
}

/* ---- status ---- */

CASE(status)
{
	NEED_FOSTER("[reaper] PR_REAP_STATUS");
	/* top (subreaper) - s (subreaper) - a - x, y; s - b */
	struct agent *top = spawn(NULL), *s = spawn(top), *a = spawn(s), *x = spawn(a), *y = spawn(a), *b = spawn(s);
	call(top, ag_subreaper, 1);
	call(s, ag_subreaper, 1);
	struct reap_status st = status_of(s->pid);
	CHECK_EQ(st.pid, s->pid, "[reaper] its number");
	CHECK_EQ(st.flags, REAP_IS_SUBREAPER, "[reaper] it is a subreaper and was not adopted");
	CHECK(st.reaper == (uint32_t)s->pid && st.above == (uint32_t)top->pid, "[reaper] it is its own reaper, with one above");
	CHECK(st.children == 2 && st.adopted == 0 && st.zombies == 0, "[reaper] two children, all its own");
	CHECK(st.descendants == 4 && st.dead == 0 && st.reapers == 0, "[reaper] four descendants");
	st = status_of(x->pid);
	CHECK(st.reaper == (uint32_t)s->pid && st.above == (uint32_t)s->pid, "[reaper] a leaf's reaper is the nearest subreaper");
	CHECK(st.children == 0 && st.descendants == 0 && st.flags == 0, "[reaper] and it has nobody");
	st = status_of(top->pid);
	CHECK(st.descendants == 5 && st.reapers == 1, "[reaper] descendants below another reaper count, and the reaper");
	CHECK_EQ(st.above, getppid(), "[reaper] above the top is the runner");

	uint64_t id = status_of(x->pid).id;
	quit(y, 3);
	CHECK(await_state(y->pid, 'Z'), "[reaper] (a grandchild has died)");
	quit(a, 0);
	CHECK(AWAIT(status_of(s->pid).adopted == 2), "[reaper] two orphans are adopted");
	st = status_of(s->pid);
	CHECK(st.children == 4 && st.zombies == 2 && st.descendants == 4 && st.dead == 2, "[reaper] two of four are dead");
	st = status_of(x->pid);
	CHECK_EQ(st.flags, REAP_IS_ADOPTED, "[reaper] the orphan knows that it is adopted");
	CHECK_EQ(st.id, id, "[reaper] and is the same process as before");
	st = status_of(y->pid);
	CHECK_EQ(st.flags, REAP_IS_ADOPTED | REAP_IS_ZOMBIE, "[reaper] a zombie can be asked about");
	CHECK_EQ(call(s, ag_status, 0), (long)sizeof st, "[reaper] 0 is the caller");
	CHECK(s->out[0] == 4 && s->out[1] == 2 && s->out[7] == s->pid, "[reaper] and tells the same");
	CHECK_EQ(call(s, ag_status, s->pid), (long)sizeof st, "[reaper] so does the caller's number");

	quit(x, 0), quit(b, 0);
	for (int i = 0; i < 4; i++)
		call(s, ag_reap, -1);
	retire(s, top);
	retire(top, NULL);
}

CASE(status_errors)
{
	NEED_FOSTER("[reaper] errors of PR_REAP_STATUS");
	struct reap_status s[2];
	memset(s, 0xaa, sizeof s);
	CHECK_ERR(pr(PR_REAP_STATUS, 0, s, sizeof *s - 1, 0), EINVAL, "[reaper] too small");
	CHECK_EQ(pr(PR_REAP_STATUS, 0, s, sizeof s, 0), (long)sizeof *s, "[reaper] larger: says what it knows");
	CHECK(*(unsigned char *)&s[1] == 0xaa, "[reaper] and writes no more");
	CHECK_ERR(pr(PR_REAP_STATUS, 0, s, sizeof *s, 1), EINVAL, "[reaper] the fifth argument is 0");
	CHECK_ERR(pr(PR_REAP_STATUS, 0, NULL, sizeof *s, 0), EFAULT, "[reaper] nowhere to write");
	CHECK_ERR(pr(PR_REAP_STATUS, 0, map_edge() - 8, sizeof *s, 0), EFAULT, "[reaper] not enough memory there");
	CHECK_ERR(pr(PR_REAP_STATUS, 4000000, s, sizeof *s, 0), ESRCH, "[reaper] no such process");
	CHECK_ERR(pr(PR_REAP_STATUS, -1, s, sizeof *s, 0), ESRCH, "[reaper] no such number");
}

CASE(strangers)
{
	NEED_FOSTER("[reaper] who may ask");
	NEED_ROOT("[reaper] who may ask");
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(a);
	call(c, ag_setid, 65533);
	call(a, ag_setid, 65534);
	CHECK_EQ(call(a, ag_status, c->pid), (long)sizeof(struct reap_status), "[reaper] a descendant of another user may be asked about");
	CHECK_ERR(call(a, ag_status, b->pid), EPERM, "[reaper] a process of root that is none may not");
	CHECK_ERR(kill_by(a, b->pid, SIGKILL, 0, 0), EPERM, "[reaper] and what is below it may not be killed");
	CHECK_ERR(kill_by(b, a->pid, SIGKILL, 0, 0), EPERM, "[reaper] not even by root, who is not above it");
	char path[64], buf[64];
	snprintf(path, sizeof path, "/proc/%d/reaper", b->pid);
	sh->v[10] = 0;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		if (setresuid(65534, 65534, 65534))
			_exit(1);
		_exit(read_file(path, buf, sizeof buf) < 0 && errno == EACCES ? 0 : 2);
	}
	CHECK_EQ(reap(pid), 0, "[reaper] /proc/pid/reaper of root is not for others");
	retire(c, a);
	retire(a, NULL);
	retire(b, NULL);
}

CASE(procfile)
{
	NEED_FOSTER("[reaper] /proc/pid/reaper");
	struct agent *s = spawn(NULL), *a = spawn(s), *x = spawn(a);
	call(s, ag_subreaper, 1);
	call(s, ag_quiet, REAP_AUTOREAP_SIGNAL);
	quit(a, 0);
	CHECK(AWAIT(status_of(s->pid).adopted == 1), "[reaper] (an orphan is adopted)");
	char path[64], buf[1024], want[512];
	snprintf(path, sizeof path, "/proc/%d/reaper", s->pid);
	int n = read_file(path, buf, sizeof buf);
	CHECK(n > 0, "[reaper] /proc/pid/reaper can be read");
	snprintf(want, sizeof want,
		 "Pid:\t%d\nId:\t%llu\nReaper:\t%d\nAbove:\t%d\nSubreaper:\t1\nInit:\t0\nAdopted:\t0\nAutoreap:\tsignal\n"
		 "Children:\t2\nAdoptedChildren:\t1\nZombieChildren:\t1\nDescendants:\t2\nZombies:\t1\nReapers:\t0\n",
		 s->pid, (unsigned long long)status_of(s->pid).id, s->pid, getppid());
	CHECK(!strcmp(buf, want), "[reaper] and tells a line for each value");
	if (strcmp(buf, want))
		tap_note("%s", buf);
	snprintf(path, sizeof path, "/proc/%d/reaper", a->pid);
	CHECK(read_file(path, buf, sizeof buf) > 0 && strstr(buf, "Children:\t0\n"), "[reaper] also of a zombie");
	retire(a, s);
	quit(x, 0);
	CHECK_ERR(call(s, ag_reap, -1), ECHILD, "[reaper] (the orphan is reaped by itself)");
	retire(s, NULL);
}

/* ---- list ---- */

CASE(list)
{
	NEED_FOSTER("[reaper] PR_REAP_GETPIDS");
	struct agent *s = spawn(NULL), *a = spawn(s), *x = spawn(a), *y = spawn(x), *b = spawn(s);
	call(s, ag_subreaper, 1);
	call(x, ag_subreaper, 1);
	int n = pr(PR_REAP_GETPIDS, s->pid, list, 64, 0);
	CHECK_EQ(n, 4, "[reaper] all descendants");
	struct reap_pid *p = listed(n, x->pid);
	CHECK(p && p->parent == (uint32_t)a->pid && p->subtree == (uint32_t)a->pid && p->flags == REAP_REAPER,
	      "[reaper] a grandchild, with parent and subtree; it is a reaper");
	p = listed(n, y->pid);
	CHECK(p && p->parent == (uint32_t)x->pid && p->subtree == (uint32_t)a->pid && p->flags == 0,
	      "[reaper] what is below another reaper is listed with its subtree");
	p = listed(n, b->pid);
	CHECK(p && p->parent == (uint32_t)s->pid && p->subtree == (uint32_t)b->pid && p->flags == REAP_CHILD,
	      "[reaper] a child is its own subtree");
	uint64_t id = listed(n, x->pid)->id;

	memset(list, 0xaa, sizeof list);
	CHECK_EQ(pr(PR_REAP_GETPIDS, s->pid, list, 2, 0), 4, "[reaper] with too little room it says how much is needed");
	CHECK(list[1].pid != 0xaaaaaaaa && list[2].pid == 0xaaaaaaaa, "[reaper] and fills the room, no more");
	CHECK_EQ(pr(PR_REAP_GETPIDS, s->pid, NULL, 0, 0), 4, "[reaper] without room it counts");
	CHECK_EQ(pr(PR_REAP_GETPIDS, s->pid, list, -1L, 0), 4, "[reaper] any room is fine");
	CHECK_ERR(pr(PR_REAP_GETPIDS, s->pid, NULL, 4, 0), EFAULT, "[reaper] nowhere to write");
	CHECK_ERR(pr(PR_REAP_GETPIDS, s->pid, list, 4, 1), EINVAL, "[reaper] the fifth argument is 0");

	kill(b->pid, SIGSTOP);
	await_state(b->pid, 'T');
	quit(a, 0);
	CHECK(AWAIT(status_of(s->pid).adopted == 1), "[reaper] (the grandchild is adopted)");
	n = pr(PR_REAP_GETPIDS, s->pid, list, 64, 0);
	CHECK_EQ(n, 4, "[reaper] the dead one is still listed");
	p = listed(n, x->pid);
	CHECK(p && p->flags == (REAP_CHILD | REAP_ADOPTED | REAP_REAPER), "[reaper] the orphan is an adopted child");
	CHECK(p && p->id == id && p->parent == (uint32_t)s->pid, "[reaper] the same process with another parent: reparented, not reused");
	p = listed(n, a->pid);
	CHECK(p && p->flags == (REAP_CHILD | REAP_ZOMBIE), "[reaper] a zombie");
	p = listed(n, b->pid);
	CHECK(p && p->flags == (REAP_CHILD | REAP_STOPPED), "[reaper] a stopped one");
	kill(b->pid, SIGCONT);
	retire(y, x);
	quit(x, 0), quit(b, 0);
	for (int i = 0; i < 3; i++)
		call(s, ag_reap, -1);
	retire(s, NULL);
}

/* ---- kill ---- */

CASE(kill_all)
{
	NEED_FOSTER("[reaper] PR_REAP_KILL");
	struct agent *s = spawn(NULL), *a = spawn(s), *x = spawn(a), *b = spawn(s);
	call(s, ag_subreaper, 1);
	CHECK_OK(kill_by(s, 0, SIGKILL, 0, 0), "[reaper] kill of all descendants");
	CHECK(sh->v[3] == 3 && sh->v[4] == 0, "[reaper] tells how many, and that none was left out");
	for (int i = 0; i < 3; i++) {
		CHECK(call(s, ag_reap, -1) > 0, "[reaper] one of them is reaped");
		CHECK_EQ(s->out[0], SIGKILL, "[reaper] killed by the signal");
	}
	CHECK_ERR(call(s, ag_reap, -1), ECHILD, "[reaper] and there is nobody left");
	CHECK_ERR(kill_by(s, 0, SIGKILL, 0, 0), ESRCH, "[reaper] a kill of nobody");
	(void)a, (void)x, (void)b;
	retire(s, NULL);
}

CASE(kill_some)
{
	NEED_FOSTER("[reaper] PR_REAP_KILL of some");
	struct agent *s = spawn(NULL), *a = spawn(s), *x = spawn(a), *b = spawn(s), *y = spawn(b);
	struct agent *all[] = { a, x, b, y };
	for (int i = 0; i < 4; i++)
		call(all[i], ag_catch, SIGUSR1);
	CHECK_OK(kill_by(s, 0, SIGUSR1, REAP_KILL_CHILDREN, 0), "[reaper] children only");
	CHECK_EQ(sh->v[3], 2, "[reaper] which are two");
	CHECK(AWAIT(siglog_count(a->pid, SIGUSR1) == 1 && siglog_count(b->pid, SIGUSR1) == 1), "[reaper] they get it");
	CHECK_OK(kill_by(s, 0, SIGUSR1, REAP_KILL_SUBTREE, b->pid), "[reaper] one subtree");
	CHECK_EQ(sh->v[3], 2, "[reaper] of two");
	CHECK(AWAIT(siglog_count(b->pid, SIGUSR1) == 2 && siglog_count(y->pid, SIGUSR1) == 1), "[reaper] they get it");
	CHECK_OK(kill_by(s, a->pid, SIGUSR1, 0, 0), "[reaper] all below a descendant");
	CHECK_EQ(sh->v[3], 1, "[reaper] which is one, without it itself");
	CHECK(AWAIT(siglog_count(x->pid, SIGUSR1) == 1), "[reaper] which gets it");
	CHECK_EQ(siglog_count(a->pid, SIGUSR1), 1, "[reaper] the others did not get more");
	struct sigrec *r = siglog_get(x->pid, SIGUSR1, 0);
	CHECK(r && r->code == SI_USER && r->pid == s->pid, "[reaper] it comes as from kill(2)");
	CHECK_ERR(kill_by(s, 0, SIGUSR1, REAP_KILL_SUBTREE, x->pid), ESRCH, "[reaper] a grandchild is no subtree");
	CHECK_ERR(kill_by(s, 0, SIGUSR1, REAP_KILL_SUBTREE, 4000000), ESRCH, "[reaper] nor is nobody");
	CHECK_ERR(kill_by(s, 0, 0, 0, 0), EINVAL, "[reaper] signal 0");
	CHECK_ERR(kill_by(s, 0, 65, 0, 0), EINVAL, "[reaper] signal 65");
	CHECK_ERR(kill_by(s, 0, -1, 0, 0), EINVAL, "[reaper] signal -1");
	CHECK_ERR(kill_by(s, 0, SIGUSR1, 3, b->pid), EINVAL, "[reaper] both flags");
	CHECK_ERR(kill_by(s, 0, SIGUSR1, 4, 0), EINVAL, "[reaper] an unknown flag");
	CHECK_ERR(kill_by(s, 0, SIGUSR1, 0, b->pid), EINVAL, "[reaper] a subtree without its flag");
	CHECK_ERR(pr(PR_REAP_KILL, 0, NULL, 0, 0), EFAULT, "[reaper] no request");
	struct reap_kill k = { .signal = SIGUSR1, .reserved = 1 };
	CHECK_ERR(pr(PR_REAP_KILL, 0, &k, 0, 0), EINVAL, "[reaper] what is reserved is 0");
	retire(x, a), retire(a, s), retire(y, b), retire(b, s), retire(s, NULL);
}

CASE(kill_permission)
{
	NEED_FOSTER("[reaper] permission of PR_REAP_KILL");
	NEED_ROOT("[reaper] permission of PR_REAP_KILL");
	struct agent *s = spawn(NULL), *a = spawn(s), *b = spawn(s);
	call(s, ag_setid, 65534);
	CHECK_ERR(kill_by(s, 0, SIGKILL, 0, 0), EPERM, "[reaper,7.5] children that are root's cannot be killed by another");
	CHECK(sh->v[3] == 0 && sh->v[4] == a->pid, "[reaper] the first of them is told");
	call(b, ag_setid, 65534);
	CHECK_OK(kill_by(s, 0, SIGKILL, 0, 0), "[reaper] success if one could be");
	CHECK(sh->v[3] == 1 && sh->v[4] == a->pid, "[reaper] with the first that could not");
	CHECK_EQ(call(s, ag_reap, b->pid), b->pid, "[reaper] the other one is dead");
	retire(a, s);
	retire(s, NULL);
}

/* A tree that forks as fast as it can, until it is killed or there are enough. */
static void rest(void)
{
	for (;;)
		pause();
}

static void grow(int depth)
{
	for (int i = 0; i < 6; i++) {
		if (fork() == 0) {
			if (depth < 3)
				grow(depth + 1);
			rest();
		}
		if (i == 1 && depth == 2)
			_exit(0);	/* a double fork: its children are adopted by the reaper */
	}
}

static void kill_against_fork(int sig, const char *text)
{
	int n = iterations(300) / 3 + 1, escaped = 0, hit = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int i = 0; i < n; i++) {
		pid_t root = MUST(fork());
		if (root == 0) {
			grow(0);
			rest();
		}
		for (volatile int j = 0; j < i * 4000; j++)
			;
		/* All that is there at one moment is hit.  Nobody that is hit forks on, so nobody is left. */
		struct reap_kill k = { .signal = sig };
		int r = pr(PR_REAP_KILL, 0, &k, 0, 0);
		hit += r == 0 && k.failed == 0;
		long long end = now_ms() + deadline_ms;
		pid_t pid = 0;
		int round = 0;
		while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 && now_ms() < end)
			if (pid == 0)
				nap(&round);
		if (pid >= 0) {
			escaped++;
			while (pr(PR_REAP_KILL, 0, &(struct reap_kill){ .signal = SIGKILL }, 0, 0) == 0)
				while (waitpid(-1, NULL, WNOHANG) > 0)
					;
			while (waitpid(-1, NULL, 0) > 0)
				;
		}
	}
	CHECK_EQ(hit, n, "[reaper] the kill finds somebody each time");
	CHECK_EQ(escaped, 0, text);
}

CASE_T(kill_against_fork, 60)
{
	NEED_FOSTER("[reaper] SIGKILL against fork");
	kill_against_fork(SIGKILL, "[reaper] one SIGKILL to a forking tree leaves nobody");
}

CASE_T(term_against_fork, 60)
{
	NEED_FOSTER("[reaper] SIGTERM against fork");
	kill_against_fork(SIGTERM, "[reaper] one SIGTERM to a forking tree leaves nobody");
}

/* ---- release ---- */

CASE(release)
{
	NEED_FOSTER("[reaper] PR_REAP_RELEASE");
	struct agent *top = spawn(NULL), *s = spawn(top), *own = spawn(s), *m = spawn(s), *x = spawn(m), *z = spawn(m);
	call(top, ag_subreaper, 1);
	call(s, ag_subreaper, 1);
	call(top, ag_catch, SIGCHLD);
	call(x, ag_pdeathsig, SIGUSR1);
	call(x, ag_catch, SIGUSR1);
	struct agent *t = spawn_thread(s);
	quit(z, 5);
	CHECK(await_state(z->pid, 'Z'), "[reaper] (a grandchild has died)");
	retire(m, s);
	CHECK(AWAIT(siglog_count(x->pid, SIGUSR1) == 1), "[reaper] (the orphan has had its death signal)");
	post(t, ag_wait_flags, __WADOPTED | __WNOTHREAD);
	CHECK_ERR(finish(t), ECHILD, "[reaper] (the adopted are the leader's)");
	CHECK_EQ(call(s, ag_release, 0), 2, "[reaper] release hands over two");
	CHECK_EQ(call(s, ag_get_subreaper, 0), 0, "[reaper] the process is no subreaper any more");
	CHECK_EQ(call(x, ag_getppid, 0), top->pid, "[reaper] the orphan's parent is the next subreaper");
	CHECK_EQ(call(own, ag_getppid, 0), s->pid, "[reaper] a child that the process made stays");
	CHECK(AWAIT(siglog_count(top->pid, SIGCHLD) == 1), "[reaper] the zombie is announced to the new parent");
	struct sigrec *r = siglog_get(top->pid, SIGCHLD, 0);
	CHECK(r && r->pid == z->pid && r->status == 5, "[reaper] with its status");
	CHECK_EQ(siglog_count(x->pid, SIGUSR1), 1, "[reaper] no death signal, for nobody died");
	CHECK_EQ(call(top, ag_reap, z->pid), z->pid, "[reaper] which reaps it");
	CHECK_ERR(call(s, ag_try, x->pid), ECHILD, "[reaper] the former reaper can't wait for it");
	CHECK_ERR(call(s, ag_release, 0), EINVAL, "[reaper] there is nothing more to release");
	CHECK_ERR(pr(PR_REAP_RELEASE, 1, 0, 0, 0), EINVAL, "[reaper] no arguments");
	struct agent *g = spawn(own);
	retire(own, s);
	CHECK_EQ(call(g, ag_getppid, 0), top->pid, "[reaper] orphans made later go past it");
	retire(g, top), retire(x, top);
	quit(s, 0);
	CHECK_EQ(call(top, ag_reap, s->pid), s->pid, "[reaper] (end)");
	retire(top, NULL);
}

CASE(release_wakes)
{
	NEED_FOSTER("[reaper] release against a waiter");
	struct agent *s = spawn(NULL), *t = spawn_thread(s), *m = spawn(s), *x = spawn(m);
	call(s, ag_subreaper, 1);
	retire(m, s);
	post(t, ag_wait_flags, 0);
	CHECK(await_blocked_in(t), "[reaper] (a thread waits for the adopted child)");
	CHECK_EQ(call(s, ag_release, 0), 1, "[reaper] another hands it over");
	CHECK_ERR(finish(t), ECHILD, "[reaper] the wait ends: there is no child");
	quit(x, 0);
	quit(s, 0);
	CHECK_EQ(reap(s->pid), 0, "[reaper] (end)");
}

/* ---- the wait filter ---- */

CASE(filter)
{
	NEED_FOSTER("[reaper] __WOWN and __WADOPTED");
	struct agent *s = spawn(NULL), *own = spawn(s), *m = spawn(s), *x = spawn(m), *y = spawn(m);
	call(s, ag_subreaper, 1);
	CHECK_ERR(call(s, ag_wait_flags, __WADOPTED), ECHILD, "[reaper] nobody is adopted yet");
	quit(x, 1);
	CHECK(await_state(x->pid, 'Z'), "[reaper] (dies before its parent)");
	quit(m, 2);
	CHECK(AWAIT(status_of(s->pid).zombies == 2), "[reaper] (both are dead)");
	CHECK_EQ(call(s, ag_wait_flags, __WADOPTED), x->pid, "[reaper] __WADOPTED gets the orphan, though the other is older");
	CHECK_EQ(s->out[0], 1 << 8, "[reaper] with its status");
	CHECK_EQ(call(s, ag_wait_flags, __WADOPTED | WNOHANG), 0, "[reaper] the other orphan lives");
	CHECK_EQ(call(s, ag_wait_flags, __WOWN), m->pid, "[reaper] __WOWN gets its own child");
	quit(y, 3);
	CHECK(AWAIT(status_of(s->pid).zombies == 1), "[reaper] (the other orphan is dead)");
	CHECK_EQ(call(s, ag_wait_flags, __WOWN | WNOHANG), 0, "[reaper] which __WOWN does not see");
	kill(own->pid, SIGSTOP);
	await_state(own->pid, 'T');
	CHECK_EQ(call(s, ag_wait_flags, __WADOPTED | WUNTRACED), y->pid, "[reaper] nor __WADOPTED a stop of an own child");
	CHECK_EQ(call(s, ag_wait_flags, __WOWN | WUNTRACED), own->pid, "[reaper] which __WOWN sees");
	CHECK_EQ(s->out[0], SIGSTOP << 8 | 0x7f, "[reaper] as a stop");
	CHECK_ERR(call(s, ag_wait_flags, __WADOPTED), ECHILD, "[reaper] no adopted child is left");
	kill(own->pid, SIGCONT);
	retire(own, s);
	CHECK_ERR(call(s, ag_wait_flags, __WOWN), ECHILD, "[reaper] and no own one");
	retire(s, NULL);
}

/* One thread waits for its own, another drains the adopted: neither takes the other's. */
static long ag_drain(long n)
{
	long got = 0;
	int round = 0;
	while (got < n) {
		pid_t pid = waitpid(-1, NULL, __WADOPTED);
		if (pid > 0)
			got++, round = 0;
		else if (errno == ECHILD)
			nap(&round);		/* none there yet */
		else
			return -1;
	}
	return got;
}

static long ag_jobs(long n)
{
	long wrong = 0;
	for (long i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			if (fork() == 0)
				_exit(77);	/* an orphan to be */
			_exit(i & 63);
		}
		int st;
		wrong += waitpid(pid, &st, 0) != pid || st != (i & 63) << 8;
	}
	return wrong;
}

CASE_T(filter_threads, 60)
{
	NEED_FOSTER("[reaper] two waiters");
	int n = iterations(300) / 20 * 20;
	long wrong = 0;
	struct agent *s = spawn(NULL), *t = spawn_thread(s);
	call(s, ag_subreaper, 1);
	post(t, ag_drain, n);
	for (int i = 0; i < n; i += 20)
		wrong += call(s, ag_jobs, 20);
	CHECK_EQ(wrong, 0, "[reaper] a reaper of the adopted never takes a job's status from the thread that waits for it");
	CHECK_EQ(finish(t), n, "[reaper] and gets every orphan");
	retire(s, NULL);
}

/* ---- automatic reaping ---- */

CASE(autoreap)
{
	NEED_FOSTER("[reaper] automatic reaping");
	struct agent *s = spawn(NULL), *m = spawn(s), *x = spawn(m), *y = spawn(m), *own = spawn(s);
	call(s, ag_subreaper, 1);
	call(s, ag_catch, SIGCHLD);
	CHECK_OK(call(s, ag_quiet, REAP_AUTOREAP_QUIET), "[reaper] PR_REAP_SET_AUTOREAP");
	CHECK_EQ(status_of(s->pid).autoreap, REAP_AUTOREAP_QUIET, "[reaper] can be read");
	quit(x, 0);
	CHECK(await_state(x->pid, 'Z'), "[reaper] a grandchild is no adopted child, and becomes a zombie");
	quit(m, 0);
	CHECK(await_state(x->pid, 0), "[reaper] which vanishes at its adoption");
	CHECK_EQ(call(s, ag_reap, -1), m->pid, "[reaper] its parent, the reaper's own child, is waited for");
	int before = siglog_count(s->pid, SIGCHLD);
	quit(y, 0);
	CHECK(await_state(y->pid, 0), "[reaper] an adopted child that dies vanishes");
	CHECK_EQ(siglog_count(s->pid, SIGCHLD), before, "[reaper] without a signal");
	CHECK_EQ(call(s, ag_try, -1), 0, "[reaper] only the own child is left, and lives");

	CHECK_OK(call(s, ag_quiet, REAP_AUTOREAP_SIGNAL), "[reaper] with the signal");
	struct agent *m2 = spawn(s), *z = spawn(m2);
	retire(m2, s);
	before = siglog_count(s->pid, SIGCHLD);
	quit(z, 4);
	CHECK(AWAIT(siglog_count(s->pid, SIGCHLD) == before + 1), "[reaper] SIGCHLD comes");
	CHECK(await_state(z->pid, 0), "[reaper] and the child vanishes all the same");

	CHECK_OK(call(s, ag_quiet, REAP_AUTOREAP_OFF), "[reaper] off");
	struct agent *m3 = spawn(s), *w = spawn(m3);
	retire(m3, s);
	quit(w, 6);
	CHECK_EQ(call(s, ag_reap, -1), w->pid, "[reaper] an adopted child is waited for again");
	retire(own, s);
	retire(s, NULL);
	CHECK_ERR(pr(PR_REAP_SET_AUTOREAP, 3, 0, 0, 0), EINVAL, "[reaper] there is no mode 3");
	CHECK_ERR(pr(PR_REAP_SET_AUTOREAP, 1, 1, 0, 0), EINVAL, "[reaper] the other arguments are 0");
	CHECK_EQ(pr(PR_REAP_GET_AUTOREAP, 0, 0, 0, 0), 0, "[reaper] it is off at first");
	REQUIRE(pr(PR_REAP_SET_AUTOREAP, 2, 0, 0, 0) == 0);
	CHECK_EQ(pr(PR_REAP_GET_AUTOREAP, 0, 0, 0, 0), 2, "[reaper] and reads back");
	pid_t pid = MUST(fork());
	if (pid == 0)
		_exit(pr(PR_REAP_GET_AUTOREAP, 0, 0, 0, 0));
	CHECK_EQ(reap(pid), 0, "[reaper] it is not inherited");
}

static long ag_flood(long n)
{
	for (long i = 0; i < n; i++) {
		pid_t pid = fork();
		if (pid < 0)
			return i;
		if (pid == 0)
			_exit(fork() < 0);
		int st;
		if (waitpid(pid, &st, 0) != pid)
			return -1;
		if (st)
			return i;
	}
	return n;
}

static long ag_limit(long n)
{
	struct rlimit r = { n, n };
	return setrlimit(RLIMIT_NPROC, &r);
}

CASE(no_flood)
{
	NEED_FOSTER("[reaper] a flood of orphans");
	NEED_ROOT("[reaper] a flood of orphans");
	struct agent *s = spawn(NULL);
	call(s, ag_subreaper, 1);
	call(s, ag_limit, 30);
	call(s, ag_setid, 65532);
	long made = call(s, ag_flood, 200);
	CHECK(made > 10 && made < 30, "[reaper] zombies that nobody waits for fill the user's limit");
	while (call(s, ag_try, -1) > 0)
		;
	call(s, ag_quiet, REAP_AUTOREAP_QUIET);
	/* The last of them may not have been dead yet when it was waited for: it dies by itself now. */
	CHECK_EQ(call(s, ag_flood, 200), 200, "[reaper] with automatic reaping they don't");
	while (call(s, ag_try, -1) > 0)
		;
	retire(s, NULL);
}

/* ---- pid namespaces ---- */

CASE(namespaces)
{
	NEED_FOSTER("[reaper] pid namespaces");
	NEED_ROOT("[reaper] pid namespaces");
	/* s (subreaper) - i (init of a namespace) - a (subreaper in it) - m - x */
	struct agent *s = spawn(NULL), *i = spawn_flags(s, CLONE_NEWPID | SIGCHLD);
	REQUIRE(i->self == 1);
	struct agent *a = spawn(i), *m = spawn(a), *x = spawn(m);
	call(s, ag_subreaper, 1);
	call(a, ag_subreaper, 1);
	struct reap_status st = status_of(s->pid);
	CHECK(st.descendants == 4 && st.reapers == 2 && st.children == 1, "[reaper,9.8] what is in an inner namespace counts");
	int n = pr(PR_REAP_GETPIDS, s->pid, list, 64, 0);
	CHECK_EQ(n, 4, "[reaper,9.8] and is listed");
	bool visible = true;
	for (int k = 0; k < n; k++) {
		char path[64], buf[1024], want[32];
		snprintf(path, sizeof path, "/proc/%u/reaper", list[k].pid);
		snprintf(want, sizeof want, "Pid:\t%u\n", list[k].pid);
		visible = visible && list[k].subtree == (uint32_t)i->pid && read_file(path, buf, sizeof buf) > 0 && strstr(buf, want);
	}
	CHECK(visible, "[reaper] with the caller's numbers, by which they are found");
	struct reap_pid *p = listed(n, i->pid);
	CHECK(p && p->flags == (REAP_CHILD | REAP_REAPER), "[reaper] the init of a namespace is a reaper");

	CHECK_EQ(call(i, ag_status, 0), (long)sizeof st, "[reaper] an init asks about itself");
	CHECK(i->out[6] == REAP_IS_INIT && i->out[7] == 1 && i->out[4] == 1, "[reaper] it is number 1 and its own reaper");
	CHECK_EQ(i->out[5], 0, "[reaper] and above it is nobody");
	CHECK_EQ(call(a, ag_status, 0), (long)sizeof st, "[reaper] a subreaper in a namespace asks about itself");
	CHECK(a->out[7] == a->self && a->out[4] == a->self && a->out[5] == 1, "[reaper] it sees inner numbers");
	CHECK_ERR(call(a, ag_status, s->pid), ESRCH, "[reaper] and nothing that is above");
	CHECK_ERR(kill_by(a, s->pid, SIGKILL, 0, 0), ESRCH, "[reaper] nor can it kill there");

	retire(m, a);
	CHECK_EQ(call(x, ag_getppid, 0), a->self, "[reaper] (an orphan is adopted)");
	CHECK_EQ(call(a, ag_release, 0), 1, "[reaper] release in a namespace");
	CHECK_EQ(call(x, ag_getppid, 0), 1, "[reaper,2.3] goes to its init, not to the subreaper above it");
	CHECK_ERR(call(i, ag_release, 0), EINVAL, "[reaper] the init can't release");
	CHECK_OK(call(i, ag_quiet, REAP_AUTOREAP_QUIET), "[reaper] but can have the adopted reaped");
	quit(x, 0);
	CHECK(AWAIT(status_of(s->pid).descendants == 2), "[reaper] so that they leave nothing");
	CHECK_OK(kill_by(s, 0, SIGKILL, 0, 0), "[reaper] a kill from above reaches the namespace and its init");
	CHECK_EQ(sh->v[3], 2, "[reaper] two are left in it");
	CHECK_EQ(call(s, ag_reap, -1), i->pid, "[reaper] the init is dead");
	CHECK_EQ(s->out[0], SIGKILL, "[reaper] by the signal");
	CHECK_ERR(call(s, ag_reap, -1), ECHILD, "[reaper] and nobody else came to the reaper above");
	retire(s, NULL);
}

/* ---- kernel.subreaper_scope ---- */

#define SCOPE "/proc/sys/kernel/subreaper_scope"

static bool set_scope(const char *text)
{
	int fd = open(SCOPE, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	int e = errno;
	close(fd);
	errno = e;
	return ok;
}

CASE(scope)
{
	NEED_FOSTER("[reaper] kernel.subreaper_scope");
	NEED_ROOT("[reaper] kernel.subreaper_scope");
	char buf[16];
	CHECK(read_file(SCOPE, buf, sizeof buf) == 2 && buf[0] == '0', "[reaper] anybody may become a subreaper");
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(NULL);
	call(a, ag_subreaper, 1);
	call(a, ag_drop, 65534);
	call(b, ag_drop, 65534);
	CHECK(set_scope("1\n"), "[reaper] scope 1");
	CHECK_ERR(call(b, ag_subreaper, 1), EPERM, "[reaper] only with CAP_SYS_ADMIN");
	CHECK_OK(call(c, ag_subreaper, 1), "[reaper] which root has");
	CHECK_OK(call(c, ag_subreaper, 0), "[reaper] and may clear");
	CHECK_EQ(call(a, ag_get_subreaper, 0), 1, "[reaper] who is one stays one");
	CHECK_OK(call(a, ag_subreaper, 1), "[reaper] and may say so again");
	CHECK(set_scope("2"), "[reaper] scope 2");
	CHECK_ERR(call(c, ag_subreaper, 1), EPERM, "[reaper] nobody");
	CHECK_OK(call(b, ag_subreaper, 0), "[reaper] clearing is always allowed");
	CHECK_OK(call(a, ag_subreaper, 0), "[reaper] also for who is one");
	CHECK_ERR(call(a, ag_subreaper, 1), EPERM, "[reaper] who then is none any more");
	CHECK(set_scope("0"), "[reaper] scope 0");
	CHECK_OK(call(b, ag_subreaper, 1), "[reaper] anybody again");
	CHECK(!set_scope("3") && errno == EINVAL, "[reaper] there is no scope 3");
	CHECK(!set_scope("x") && errno == EINVAL, "[reaper] nor scope x");
	retire(a, NULL), retire(b, NULL), retire(c, NULL);
}
