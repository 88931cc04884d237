/* agent.c - processes and threads that do as they are told; agent.h tells the idea. */
#include "tap.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/mount.h>

__thread struct agent *me;

static _Noreturn void agent_loop(struct agent *a)
{
	int seen = 0;

	me = a;
	a->self = getpid();
	a->tid = sys_gettid();
	set_word(&a->ready, 1);
	for (;;) {
		while (__atomic_load_n(&a->req, __ATOMIC_SEQ_CST) == seen) {
			struct timespec ts = { 1, 0 };
			if (sh->over)
				_exit(0);
			futex(&a->req, FUTEX_WAIT, seen, &ts);
		}
		if (sh->over)
			_exit(0);
		seen++;
		errno = 0;
		a->started = 1;
		a->ret = a->fn(a->arg);
		a->err = errno;
		set_word(&a->rsp, seen);
	}
}

static struct agent *slot(void)
{
	int i = __atomic_fetch_add(&sh->nagents, 1, __ATOMIC_SEQ_CST);
	if (i >= NAGENT)
		tap_die(__FILE__, __LINE__, "out of agents");
	return &sh->agent[i];
}

/* Run by the creator: `arg` is the slot, its `arg` the clone flags. */
static long do_spawn(long arg)
{
	struct agent *a = (struct agent *)arg;
	long pid = raw_clone(a->arg);
	if (pid == 0)
		agent_loop(a);
	return pid;
}

struct agent *spawn_flags(struct agent *in, unsigned long flags)
{
	struct agent *a = slot();
	a->arg = flags;
	long pid = in ? call(in, do_spawn, (long)a) : do_spawn((long)a);
	if (pid <= 0)
		tap_die(__FILE__, __LINE__, "clone(0x%lx) of an agent: errno %d", flags, errno);
	a->pid = pid;
	wait_word(&a->ready, 1);
	return a;
}

struct agent *spawn(struct agent *in)
{
	return spawn_flags(in, SIGCHLD);
}

static void *thread_main(void *a)
{
	agent_loop(a);
}

static long do_thread(long arg)
{
	struct agent *a = (struct agent *)arg;
	pthread_attr_t at;
	pthread_t t;
	pthread_attr_init(&at);
	pthread_attr_setdetachstate(&at, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&at, 256 * 1024);
	int e = pthread_create(&t, &at, thread_main, a);
	pthread_attr_destroy(&at);
	errno = e;
	return e ? -1 : 0;
}

struct agent *spawn_thread(struct agent *in)
{
	struct agent *a = slot();
	long r = in ? call(in, do_thread, (long)a) : do_thread((long)a);
	if (r)
		tap_die(__FILE__, __LINE__, "thread of an agent: errno %d", errno);
	a->pid = in ? in->pid : getpid();
	wait_word(&a->ready, 1);
	return a;
}

void post(struct agent *a, long (*fn)(long), long arg)
{
	a->fn = fn;
	a->arg = arg;
	a->started = 0;
	set_word(&a->req, a->req + 1);
}

bool answered(struct agent *a)
{
	return __atomic_load_n(&a->rsp, __ATOMIC_SEQ_CST) == a->req;
}

/* No deadline but that of the case: an agent may have a lot to do. */
long finish(struct agent *a)
{
	int rsp;
	while ((rsp = __atomic_load_n(&a->rsp, __ATOMIC_SEQ_CST)) != a->req)
		futex(&a->rsp, FUTEX_WAIT, rsp, NULL);
	errno = a->err;
	return a->ret;
}

long call(struct agent *a, long (*fn)(long), long arg)
{
	post(a, fn, arg);
	return finish(a);
}

void quit(struct agent *a, int code)
{
	post(a, ag_exit, code);
}

void quit_thread(struct agent *a, int code)
{
	post(a, ag_thread_exit, code);
}

void retire(struct agent *a, struct agent *parent)
{
	quit(a, 0);
	long r = parent ? call(parent, ag_reap, a->pid) : ag_reap(a->pid);
	if (r != a->pid)
		tap_die(__FILE__, __LINE__, "reaping agent %d: got %ld, errno %d", a->pid, r, errno);
}

bool await_blocked_in(struct agent *a)
{
	return AWAIT(a->started) && AWAIT(task_state(a->self, a->tid) == 'S');
}

/* ---- things that agents do ---- */

long ag_getpid(long x) { (void)x; return getpid(); }
long ag_getppid(long x) { (void)x; return getppid(); }
long ag_gettid(long x) { (void)x; return sys_gettid(); }
long ag_subreaper(long on) { return prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0); }

long ag_get_subreaper(long x)
{
	int v = -1;
	(void)x;
	return prctl(PR_GET_CHILD_SUBREAPER, &v, 0, 0, 0) ? -1 : v;
}

long ag_pdeathsig(long sig) { return prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0); }

long ag_get_pdeathsig(long x)
{
	int v = -1;
	(void)x;
	return prctl(PR_GET_PDEATHSIG, &v, 0, 0, 0) ? -1 : v;
}

long ag_catch_plain(long sig) { siglog_catch(sig, SA_SIGINFO); return 0; }
long ag_catch(long sig) { siglog_catch(sig, SA_RESTART); return 0; }
long ag_ignore(long sig) { return signal(sig, SIG_IGN) == SIG_ERR ? -1 : 0; }
long ag_default(long sig) { return signal(sig, SIG_DFL) == SIG_ERR ? -1 : 0; }

static long mask_one(int how, int sig)
{
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, sig);
	return pthread_sigmask(how, &s, NULL) ? -1 : 0;
}

long ag_block(long sig) { return mask_one(SIG_BLOCK, sig); }
long ag_unblock(long sig) { return mask_one(SIG_UNBLOCK, sig); }

long ag_pending(long sig)
{
	sigset_t s;
	return sigpending(&s) ? -1 : sigismember(&s, sig);
}

long ag_reap(long pid)
{
	int st = -1;
	long r = sys_wait4(pid, &st, __WALL, NULL);
	if (me)
		me->out[0] = st;
	return r;
}

long ag_try(long pid)
{
	int st = -1;
	long r = sys_wait4(pid, &st, __WALL | WNOHANG, NULL);
	if (me)
		me->out[0] = st;
	return r;
}

long ag_exit(long code) { syscall(SYS_exit_group, code); return -1; }
long ag_thread_exit(long code) { sys_exit_thread(code); return -1; }
long ag_setpgid(long pid) { return setpgid(0, pid); }
long ag_setsid(long x) { (void)x; return setsid(); }
long ag_getpgrp(long x) { (void)x; return getpgid(0); }

long ag_fork_exit(long code)
{
	long pid = raw_clone(SIGCHLD);
	if (pid == 0)
		syscall(SYS_exit_group, code);
	return pid;
}

long ag_raise(long sig) { return sys_tgkill(getpid(), sys_gettid(), sig); }

/* The raw calls: only this thread's ids, as the kernel has it. */
long ag_drop(long uid)
{
	return syscall(SYS_setresgid, uid, uid, uid) || syscall(SYS_setresuid, uid, uid, uid) ? -1 : 0;
}

/* Without a namespace, kill(-1) and reboot in it would hit the machine. */
struct agent *new_ns(struct agent *in)
{
	struct agent *i = spawn_flags(in, NS);
	REQUIRE(i->self == 1);
	return i;
}

long ag_enter_ns(long pid)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%ld/ns/pid", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	long r = setns(fd, CLONE_NEWPID);
	int e = errno;
	close(fd);
	errno = e;
	return r;
}

long ag_try_clone(long flags)
{
	long pid = raw_clone(flags);
	if (pid == 0)
		syscall(SYS_exit_group, 0);
	if (pid > 0)
		reap(pid);
	return pid > 0 ? 0 : -errno;
}

void need_devpts(void)
{
	if (access("/dev/pts/ptmx", F_OK) != 0 && geteuid() == 0) {
		mkdir("/dev/pts", 0755);
		MUST(mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=666"));
	}
}
