/* subreaper.c - section 1a: PR_SET_CHILD_SUBREAPER and PR_GET_CHILD_SUBREAPER (rules 1.3-1.16). */
#include "lib/tap.h"

/* A middle process of `top` with one child: the pair that most cases orphan. */
static struct agent *middle(struct agent *top, struct agent **child)
{
	struct agent *p = spawn(top);
	*child = spawn(p);
	return p;
}

CASE(set_values)
{
	CHECK_EQ(ag_get_subreaper(0), 0, "[1.3] a process starts without the flag");
	CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, 1UL, 0, 0, 0), "[1.3] SET 1");
	CHECK_EQ(ag_get_subreaper(0), 1, "[1.3] SET 1 sets it");
	CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, 0UL, 0, 0, 0), "[1.3] SET 0");
	CHECK_EQ(ag_get_subreaper(0), 0, "[1.3] SET 0 clears it");
	CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, 1UL << 32, 0, 0, 0), "[1.3] SET 1<<32");
	CHECK_EQ(ag_get_subreaper(0), 1, "[1.3] only the high half set: still non-zero, sets it");
	prctl(PR_SET_CHILD_SUBREAPER, 0UL, 0, 0, 0);
	CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, -1UL, 0, 0, 0), "[1.3] SET -1");
	CHECK_EQ(ag_get_subreaper(0), 1, "[1.3,1.4] -1 sets it and reads back as 1");
	CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, 0UL, 1, -1UL, 77), "[1.3] SET ignores arg3..arg5");
	CHECK_EQ(ag_get_subreaper(0), 0, "[1.3] extra arguments of SET do not count");
	int v = -1;
	CHECK_OK(prctl(PR_GET_CHILD_SUBREAPER, &v, 1, -1UL, 77), "[1.3] GET ignores arg3..arg5");
	CHECK_EQ(v, 0, "[1.4] GET stores 0 for a cleared flag");
}

CASE(option_width)
{
	CHECK_OK(syscall(SYS_prctl, (1UL << 32) | PR_SET_CHILD_SUBREAPER, 1UL, 0, 0, 0),
		 "[1.1] the high half of option is ignored for SET");
	CHECK_EQ(ag_get_subreaper(0), 1, "[1.1] and the flag is set");
	int v = -1;
	CHECK_OK(syscall(SYS_prctl, (0xdeadUL << 32) | PR_GET_CHILD_SUBREAPER, &v, 0, 0, 0),
		 "[1.1] the high half of option is ignored for GET");
	CHECK_EQ(v, 1, "[1.1] and the value is stored");
}

CASE(unknown_options)
{
	static const long bad[] = { 0, -1, 5, 6, 9, 10, 11, 12, 19, 20, 43, 44, 50, 51, 54, 55, 56, 0x7fffffff };
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[64];
		snprintf(text, sizeof text, "[1.2] unknown option %ld is EINVAL", bad[i]);
		CHECK_ERR(syscall(SYS_prctl, bad[i], 1, 0, 0, 0), EINVAL, text);
	}
}

CASE(get_pointer)
{
	unsigned char buf[16];
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	memset(buf, 0xaa, sizeof buf);
	CHECK_OK(prctl(PR_GET_CHILD_SUBREAPER, buf + 4, 0, 0, 0), "[1.4] GET returns 0");
	static const unsigned char want[16] = { 0xaa, 0xaa, 0xaa, 0xaa, 1,    0,    0,	  0,
						0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa };
	CHECK(!memcmp(buf, want, 16), "[1.4] GET writes exactly four bytes");
	memset(buf, 0xaa, sizeof buf);
	CHECK_OK(prctl(PR_GET_CHILD_SUBREAPER, buf + 3, 0, 0, 0), "[1.4] an unaligned pointer is fine");
	CHECK(buf[2] == 0xaa && buf[3] == 1 && buf[4] == 0 && buf[6] == 0 && buf[7] == 0xaa,
	      "[1.4] four bytes at the unaligned place");
	CHECK_ERR(prctl(PR_GET_CHILD_SUBREAPER, NULL, 0, 0, 0), EFAULT, "[1.5] NULL is EFAULT");
	CHECK_ERR(prctl(PR_GET_CHILD_SUBREAPER, BADPTR, 0, 0, 0), EFAULT, "[1.5] an unmapped pointer is EFAULT");
	CHECK_ERR(prctl(PR_GET_CHILD_SUBREAPER, map_readonly(), 0, 0, 0), EFAULT, "[1.5] read-only memory is EFAULT");
	char *edge = map_edge();
	CHECK_ERR(prctl(PR_GET_CHILD_SUBREAPER, edge - 2, 0, 0, 0), EFAULT, "[1.5] an int that runs into a hole is EFAULT");
	CHECK_ERR(prctl(PR_GET_CHILD_SUBREAPER, edge, 0, 0, 0), EFAULT, "[1.5] the hole itself is EFAULT");
	CHECK_OK(prctl(PR_GET_CHILD_SUBREAPER, edge - 4, 0, 0, 0), "[1.5] the last int before the hole works");
	CHECK_ERR(prctl(PR_GET_CHILD_SUBREAPER, 0xffff800000000000UL, 0, 0, 0), EFAULT, "[1.5] a kernel address is EFAULT");
	CHECK_ERR(prctl(PR_GET_CHILD_SUBREAPER, 0x8000000000000000UL, 0, 0, 0), EFAULT,
		  "[1.5] a non-canonical address is EFAULT");
	CHECK_EQ(ag_get_subreaper(0), 1, "[1.5] the flag survives failed GETs");
}

CASE(no_privilege)
{
	NEED_ROOT("[1.3] SET needs no privilege");
	struct agent *a = spawn(NULL);
	REQUIRE(call(a, ag_drop, 65534) == 0);
	CHECK_OK(call(a, ag_subreaper, 1), "[1.3] SET needs no privilege");
	CHECK_EQ(call(a, ag_get_subreaper, 0), 1, "[1.3] and sets the flag of an unprivileged process");
	retire(a, NULL);
}

CASE(process_wide)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
	CHECK_OK(call(t1, ag_subreaper, 1), "[1.6] a thread may set it");
	CHECK_EQ(call(p, ag_get_subreaper, 0), 1, "[1.6] the leader sees it");
	CHECK_EQ(call(t2, ag_get_subreaper, 0), 1, "[1.6,1.7] a sibling thread sees it");
	quit_thread(t1, 0);
	CHECK(AWAIT(proc_stat(p->pid, 20) == 2), "[1.6] (the setting thread is gone)");
	CHECK_EQ(call(p, ag_get_subreaper, 0), 1, "[1.6] it outlives the thread that set it");
	struct agent *c, *m = middle(p, &c);
	quit(m, 0);
	REQUIRE(call(p, ag_reap, m->pid) == m->pid);
	CHECK_EQ(call(c, ag_getppid, 0), p->pid, "[1.6] and the process still adopts");
	quit(c, 0);
	CHECK_EQ(call(t2, ag_reap, c->pid), c->pid, "[1.6] any of its threads can reap the orphan");
	retire(p, NULL);
}

static long vfork_get(long x)
{
	(void)x;
	volatile long v = -2;
	pid_t pid = vfork();
	if (pid == 0) {
		int f = -1;
		v = prctl(PR_GET_CHILD_SUBREAPER, &f, 0, 0, 0) ? -1 : f;
		_exit(0);
	}
	return pid > 0 && reap(pid) == 0 ? v : -3;
}

CASE(not_inherited)
{
	struct agent *p = spawn(NULL);
	call(p, ag_subreaper, 1);
	struct agent *c = spawn(p);
	CHECK_EQ(call(c, ag_get_subreaper, 0), 0, "[1.7,6.20] a fork child reads 0");
	CHECK_EQ(call(p, ag_get_subreaper, 0), 1, "[1.7] the parent keeps it");
	CHECK_EQ(call(p, vfork_get, 0), 0, "[1.7] a vfork child (CLONE_VM|CLONE_VFORK) reads 0");
	struct agent *s = spawn_flags(p, CLONE_PARENT | SIGCHLD);
	CHECK_EQ(call(s, ag_get_subreaper, 0), 0, "[1.7] a CLONE_PARENT child reads 0");
	retire(s, NULL);
	retire(c, p);
	retire(p, NULL);
}

static char vm_stack[16384] __attribute__((aligned(16)));

static int vm_child(void *x)
{
	int f = -1;
	(void)x;
	sh->v[0] = prctl(PR_GET_CHILD_SUBREAPER, &f, 0, 0, 0) ? -1 : f;
	syscall(SYS_exit, 0);
	return 0;
}

CASE(not_inherited_clone_vm)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	sh->v[0] = -2;
	int pid = MUST(clone(vm_child, vm_stack + sizeof vm_stack, CLONE_VM | SIGCHLD, NULL));
	REQUIRE(reap(pid) == 0);
	CHECK_EQ(sh->v[0], 0, "[1.7] a CLONE_VM child without CLONE_THREAD reads 0");
}

/* After the exec: report the flag and who adopts an orphan made now. */
HELPER(show)
{
	int f = -1, p[2];
	prctl(PR_GET_CHILD_SUBREAPER, &f, 0, 0, 0);
	if (pipe(p))
		return 90;
	pid_t m = fork();
	if (m == 0) {
		if (fork() == 0) {
			char c;
			close(p[1]);
			if (read(p[0], &c, 1))	/* EOF: the middle process has closed its end, by its death */
				_exit(91);
			_exit(0);
		}
		_exit(0);
	}
	close(p[1]);
	int st;
	if (waitpid(m, &st, 0) != m)
		return 92;
	pid_t o = waitpid(-1, &st, 0);
	return (f == 1 ? 1 : 0) | (o > 0 && o != m ? 2 : 0);
}

CASE(exec_keeps)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
		exec_self("show", NULL, NULL, NULL);
		_exit(98);
	}
	int st = reap(pid);
	CHECK(WIFEXITED(st) && WEXITSTATUS(st) < 4 && (WEXITSTATUS(st) & 1), "[1.8] the flag survives execve");
	CHECK_EQ(st, 3 << 8, "[1.8] and the exec'ed image adopts and reaps an orphan");
	pid = MUST(fork());
	if (pid == 0) {
		exec_self("show", NULL, NULL, NULL);
		_exit(98);
	}
	st = reap(pid);
	CHECK_EQ(st, 0, "[1.8] without the flag, execve does not set it and nothing is adopted");
}

static long exec_show(long x)
{
	(void)x;
	exec_self("show", NULL, NULL, NULL);
	return -1;
}

CASE(thread_exec_keeps)
{
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	call(p, ag_subreaper, 1);
	post(t, exec_show, 0);
	CHECK_EQ(reap(p->pid), 3 << 8, "[1.8] the flag survives an exec by a thread that is not the leader");
}

CASE(exec_keeps_setuid)
{
	NEED_ROOT("[1.8] the flag survives the exec of a setuid file");
	char path[256];
	strcpy(path, tmp_path("su"));
	REQUIRE(copy_self(path, 0755) && chown(path, 65533, 65533) == 0 && chmod(path, 04755) == 0);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
		exec_helper(path, "show", NULL, NULL, NULL);
		_exit(98);
	}
	CHECK_EQ(reap(pid), 3 << 8, "[1.8] the flag survives the exec of a setuid file");
}

CASE(late_set)
{
	struct agent *r = spawn(NULL), *c, *m = middle(r, &c);
	call(r, ag_subreaper, 1);
	retire(m, r);
	CHECK_EQ(call(c, ag_getppid, 0), r->pid, "[1.9] an existing grandchild comes to a subreaper set after its birth");
	quit(c, 7);
	CHECK_EQ(call(r, ag_reap, -1), c->pid, "[1.9] which reaps it");
	CHECK_EQ(r->out[0], 7 << 8, "[1.9] with its status");
	CHECK_ERR(call(r, ag_reap, -1), ECHILD, "[1.9] and has no child left");
	retire(r, NULL);
}

CASE(late_set_deep)
{
	/* r - a - b - c - d: the flag set after all exist reaches every depth */
	struct agent *r = spawn(NULL), *a = spawn(r), *b = spawn(a), *c = spawn(b), *d = spawn(c);
	call(r, ag_subreaper, 1);
	retire(c, b);
	CHECK_EQ(call(d, ag_getppid, 0), r->pid, "[1.9] a great-great-grandchild is adopted by the late setter");
	retire(b, a);
	retire(a, r);
	retire(d, r);
	CHECK_ERR(call(r, ag_reap, -1), ECHILD, "[1.9] nobody else was adopted");
	retire(r, NULL);
}

CASE(no_steal)
{
	/* top is a subreaper, r under it is not yet: the orphan goes to top and stays there */
	struct agent *top = spawn(NULL), *r = spawn(top), *c, *m;
	call(top, ag_subreaper, 1);
	m = middle(r, &c);
	retire(m, r);
	CHECK_EQ(call(c, ag_getppid, 0), top->pid, "[1.10] (before SET the orphan went further up)");
	call(r, ag_subreaper, 1);
	CHECK_EQ(call(c, ag_getppid, 0), top->pid, "[1.10] SET does not steal a process reparented earlier");
	CHECK_ERR(call(r, ag_try, -1), ECHILD, "[1.10] the setter has no child by it");
	CHECK_ERR(call(r, ag_try, c->pid), ECHILD, "[1.10] and cannot wait for it");
	retire(c, top);
	retire(r, top);
	retire(top, NULL);
}

CASE(clear)
{
	struct agent *top = spawn(NULL), *r = spawn(top), *c1, *c2, *c3, *m1, *m2, *m3;
	call(top, ag_subreaper, 1);
	call(r, ag_subreaper, 1);
	m1 = middle(r, &c1);
	m2 = middle(r, &c2);
	m3 = middle(r, &c3);
	retire(m1, r);
	CHECK_EQ(call(c1, ag_getppid, 0), r->pid, "[1.11] the nearest subreaper adopts");
	call(r, ag_subreaper, 0);
	CHECK_EQ(call(r, ag_get_subreaper, 0), 0, "[1.11] cleared");
	CHECK_EQ(call(c1, ag_getppid, 0), r->pid, "[1.11] clearing does not give back an adopted orphan");
	retire(m2, r);
	CHECK_EQ(call(c2, ag_getppid, 0), top->pid, "[1.11] after clearing, orphans skip to the next ancestor subreaper");
	call(r, ag_subreaper, 1);
	retire(m3, r);
	CHECK_EQ(call(c3, ag_getppid, 0), r->pid, "[1.12] cleared and set again works for the same descendants");
	retire(c1, r);
	retire(c3, r);
	retire(c2, top);
	CHECK_ERR(call(r, ag_reap, -1), ECHILD, "[1.11,1.12] the lower one has reaped its two");
	retire(r, top);
	CHECK_ERR(call(top, ag_reap, -1), ECHILD, "[1.11] and the upper one its one");
	retire(top, NULL);
}

CASE(clear_without_other)
{
	/* no other subreaper in the case: the runner, which is one, stands for what is above */
	struct agent *r = spawn(NULL), *c, *m = middle(r, &c);
	pid_t runner = getppid();
	call(r, ag_subreaper, 1);
	call(r, ag_subreaper, 0);
	retire(m, r);
	CHECK_EQ(call(c, ag_getppid, 0), runner, "[1.11] a flag set and cleared before the death has no effect");
	CHECK_ERR(call(r, ag_reap, -1), ECHILD, "[1.11] the former subreaper has no child");
	quit(c, 0);
	retire(r, NULL);
}

CASE(set_twice)
{
	struct agent *r = spawn(NULL), *c, *m = middle(r, &c);
	call(r, ag_subreaper, 1);
	CHECK_OK(call(r, ag_subreaper, 1), "[1.13] setting it again is no error");
	struct agent *c2, *m2 = middle(r, &c2);
	retire(m, r);
	retire(m2, r);
	CHECK_EQ(call(c, ag_getppid, 0), r->pid, "[1.13] a descendant older than SET is adopted");
	CHECK_EQ(call(c2, ag_getppid, 0), r->pid, "[1.13] and one born after it");
	retire(c, r);
	retire(c2, r);
	retire(r, NULL);
}

CASE(nested_marks)
{
	/* inner sets first, outer later: SET of the outer must reach also what hangs under the inner */
	struct agent *o = spawn(NULL), *i = spawn(o), *c, *m = middle(i, &c);
	call(i, ag_subreaper, 1);
	call(o, ag_subreaper, 1);
	retire(m, i);
	CHECK_EQ(call(c, ag_getppid, 0), i->pid, "[1.13] the inner subreaper adopts first");
	struct agent *g = spawn(c);
	retire(i, o);
	CHECK_EQ(call(c, ag_getppid, 0), o->pid, "[1.13,2.8] then the outer one adopts from the inner");
	retire(c, o);
	CHECK_EQ(call(g, ag_getppid, 0), o->pid, "[1.13] and what was under the inner one before");
	retire(g, o);
	retire(o, NULL);
}

CASE(clone_parent)
{
	/* x is a subreaper; its CLONE_PARENT child s is its sibling: orphans of s go past x */
	struct agent *top = spawn(NULL), *x = spawn(top);
	call(top, ag_subreaper, 1);
	call(x, ag_subreaper, 1);
	struct agent *s = spawn_flags(x, CLONE_PARENT | SIGCHLD);
	CHECK_EQ(call(s, ag_getppid, 0), top->pid, "[1.14] a CLONE_PARENT child's parent is the caller's parent");
	struct agent *c = spawn(s);
	retire(s, top);
	CHECK_EQ(call(c, ag_getppid, 0), top->pid, "[1.14] its orphans go past the subreaper that made it");
	retire(c, top);
	CHECK_ERR(call(x, ag_reap, -1), ECHILD, "[1.14] which gets no child");
	retire(x, top);
	retire(top, NULL);
}

CASE(clone_parent_none_above)
{
	/* x sets the flag, but has_child_subreaper of its sibling comes from the parent of both, which has none */
	pid_t runner = getppid();
	struct agent *x = spawn(NULL);
	call(x, ag_subreaper, 1);
	struct agent *s = spawn_flags(x, CLONE_PARENT | SIGCHLD);
	struct agent *c = spawn(s);
	retire(s, NULL);
	CHECK_EQ(call(c, ag_getppid, 0), runner, "[1.13,1.14] the sibling's orphan goes to the next subreaper above both");
	quit(c, 0);
	retire(x, NULL);
}

CASE(leader_gone)
{
	struct agent *r = spawn(NULL), *t = spawn_thread(r), *c, *m = middle(r, &c);
	quit_thread(r, 0);
	REQUIRE(await_state(r->pid, 'Z'));
	CHECK_OK(call(t, ag_subreaper, 1), "[1.16] SET by a process whose leader has exited");
	quit(m, 0);
	REQUIRE(call(t, ag_reap, m->pid) == m->pid);
	CHECK_EQ(call(c, ag_getppid, 0), r->pid, "[1.16] it adopts");
	quit(c, 5);
	CHECK_EQ(call(t, ag_reap, -1), c->pid, "[1.16] the live thread reaps the orphan");
	CHECK_EQ(t->out[0], 5 << 8, "[1.16] with its status");
	retire(t, NULL);
}
