/*
 * clone_flags.c - the flags that clone3 got with Linux 7.1: CLONE_AUTOREAP, CLONE_NNP, CLONE_PIDFD_AUTOKILL (14.7).
 *
 * An older Linux refuses the bits, so it skips these cases; a newer one runs them as Foster does.
 */
#include "lib/tap.h"

#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>

#ifndef CLONE_AUTOREAP
#define CLONE_AUTOREAP (1ull << 34)
#define CLONE_NNP (1ull << 35)
#define CLONE_PIDFD_AUTOKILL (1ull << 36)
#endif

static bool has_flags(void)
{
	return kernel_since(7, 1) || on_foster();
}
#define NEED_FLAGS(text) do { if (!has_flags()) { tap_skip(text, "needs Linux 7.1"); return; } } while (0)

static long clone3_(uint64_t flags, int *pidfd, int exit_signal)
{
	struct clone_args a = { .flags = flags, .pidfd = (uintptr_t)pidfd, .exit_signal = exit_signal };
	return syscall(SYS_clone3, &a, sizeof a);
}

/* A child with these flags, which sleeps until it is killed. */
static pid_t sleeper(uint64_t flags, int *pidfd)
{
	pid_t pid = MUST(clone3_(flags, pidfd, 0));
	if (pid == 0)
		for (;;)
			pause();
	return pid;
}

static bool ready(int fd, int events)
{
	struct pollfd p = { fd, POLLIN, 0 };
	return AWAIT((poll(&p, 1, 0), p.revents == events));
}
#define is_gone(fd) ready(fd, POLLIN | POLLHUP)

static bool is_alive(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	return poll(&p, 1, 0) == 0;
}

/* The exit status that a pidfd keeps; -1 if there is none. */
static int status_of(int fd)
{
	uint64_t info[8] = { 8 };
	return ioctl(fd, _IOC(_IOC_READ | _IOC_WRITE, 0xff, 11, 64), info) == 0 && info[0] & 8 ? (int)(info[7] >> 32) : -1;
}

CASE(refused)
{
	NEED_FLAGS("[14.7] combinations");
	int fd;
	CHECK_ERR(clone3_(CLONE_AUTOREAP, NULL, SIGCHLD), EINVAL, "[14.7] AUTOREAP with an exit signal: EINVAL");
	CHECK_ERR(clone3_(CLONE_AUTOREAP | CLONE_PARENT, NULL, 0), EINVAL, "[14.7] AUTOREAP with PARENT: EINVAL");
	const uint64_t thread = CLONE_THREAD | CLONE_SIGHAND | CLONE_VM;
	CHECK_ERR(clone3_(CLONE_AUTOREAP | thread, NULL, 0), EINVAL, "[14.7] AUTOREAP with THREAD: EINVAL");
	CHECK_ERR(clone3_(CLONE_NNP | thread, NULL, 0), EINVAL, "[14.7] NNP with THREAD: EINVAL");
	CHECK_ERR(clone3_(CLONE_PIDFD_AUTOKILL | CLONE_AUTOREAP, &fd, 0), EINVAL, "[14.7] AUTOKILL without PIDFD: EINVAL");
	CHECK_ERR(clone3_(CLONE_PIDFD_AUTOKILL | CLONE_PIDFD, &fd, 0), EINVAL, "[14.7] AUTOKILL without AUTOREAP: EINVAL");
	CHECK_ERR(clone3_(CLONE_PIDFD_AUTOKILL | CLONE_PIDFD | CLONE_AUTOREAP | thread, &fd, 0), EINVAL, "[14.7] AUTOKILL with THREAD: EINVAL");
	CHECK_ERR(clone3_(1ull << 63, NULL, 0), EINVAL, "[14.7,6.6] a bit that nobody knows: EINVAL");
	CHECK_ERR(sys_wait4(-1, NULL, WNOHANG | __WALL, NULL), ECHILD, "[14.7] and no child");
	pid_t pid = MUST(syscall(SYS_clone, CLONE_AUTOREAP | SIGCHLD, 0, 0, 0, 0));
	if (pid == 0)
		_exit(3);
	CHECK_EQ(reap(pid), 3 << 8, "[14.7,6.3] the legacy call ignores the bits");
}

/* One that may not is told so; with NNP it may. */
static long ag_autokill(long nnp)
{
	int fd;
	pid_t pid = clone3_(CLONE_PIDFD_AUTOKILL | CLONE_PIDFD | CLONE_AUTOREAP | (nnp ? CLONE_NNP : 0), &fd, 0);
	if (pid == 0)
		for (;;)
			pause();
	if (pid < 0)
		return -1;
	int other = syscall(SYS_pidfd_open, pid, 0);
	close(fd);
	return is_gone(other) ? status_of(other) : -2;
}

CASE(autokill_unprivileged)
{
	NEED_FLAGS("[14.7] AUTOKILL without privilege");
	NEED_ROOT("[14.7] AUTOKILL without privilege");
	struct agent *u = spawn(NULL);
	REQUIRE(call(u, ag_drop, 1234) == 0);
	CHECK(call(u, ag_autokill, 0) == -1 && u->err == EPERM, "[14.7] AUTOKILL without CAP_SYS_ADMIN: EPERM");
	CHECK_EQ(call(u, ag_autokill, 1), SIGKILL, "[14.7] with NNP anybody may");
	retire(u, NULL);
}

CASE(autoreap)
{
	NEED_FLAGS("[14.7] AUTOREAP");
	int fd;
	siglog_catch(SIGCHLD, 0);
	pid_t pid = clone3_(CLONE_AUTOREAP | CLONE_PIDFD, &fd, 0);
	if (pid == 0) {
		wait_word(&sh->w[0], 1);
		_exit(5);
	}
	MUST(pid);
	CHECK_EQ(sys_wait4(pid, NULL, WNOHANG | __WALL, NULL), 0, "[14.7] alive: it can be waited for");
	CHECK_ERR(sys_wait4(pid, NULL, WNOHANG, NULL), ECHILD, "[14.7,4.8] but is no normal child: ECHILD");
	set_word(&sh->w[0], 1);
	CHECK_ERR(sys_wait4(-1, NULL, __WALL, NULL), ECHILD, "[14.7] who waits is woken, and it is gone: ECHILD");
	CHECK(is_gone(fd), "[14.7,11.4] its pidfd becomes ready with HUP");
	CHECK_EQ(status_of(fd), 5 << 8, "[14.7,11.9] and has the exit status");
	CHECK_EQ(siglog_count(0, SIGCHLD), 0, "[14.7] no signal");
	CHECK_ERR(kill(pid, 0), ESRCH, "[14.7] no zombie");
	close(fd);
	pid = sleeper(CLONE_AUTOREAP | CLONE_PIDFD, &fd);
	kill(pid, SIGTERM);
	CHECK(is_gone(fd) && status_of(fd) == SIGTERM, "[14.7] killed: the signal");
	pid = clone3_(CLONE_AUTOREAP, NULL, 0);
	if (pid == 0)
		_exit(0);
	CHECK(pid > 0 && AWAIT(kill(pid, 0) == -1 && errno == ESRCH), "[14.7] also without a pidfd");
}

static void *last_words(void *x)
{
	wait_word(&sh->w[0], 1);
	syscall(SYS_exit, 9);
	return x;
}

CASE(autoreap_threads)
{
	NEED_FLAGS("[14.7] AUTOREAP of a process with threads");
	int fd;
	pid_t pid = clone3_(CLONE_AUTOREAP | CLONE_PIDFD, &fd, 0);
	if (pid == 0) {
		pthread_t t;
		pthread_create(&t, NULL, last_words, NULL);
		syscall(SYS_exit, 1);
	}
	REQUIRE(await_state(pid, 'Z'));
	CHECK(is_alive(fd), "[14.7,3.6] the leader is dead, a thread lives: not yet");
	set_word(&sh->w[0], 1);
	CHECK(is_gone(fd), "[14.7] gone with the last thread");
	CHECK_EQ(status_of(fd), 9 << 8, "[14.7,3.5] whose status is the process's");
}

static long ag_autoreap_sleeper(long x)
{
	int fd;
	(void)x;
	return sleeper(CLONE_AUTOREAP | CLONE_PIDFD, &fd);
}

CASE(autoreap_reparented)
{
	NEED_FLAGS("[14.7] AUTOREAP of an orphan");
	struct agent *m = spawn(NULL), *c = spawn(m);
	call(m, ag_subreaper, 1);
	call(m, ag_catch, SIGCHLD);
	pid_t g = call(c, ag_autoreap_sleeper, 0);
	REQUIRE(g > 0);
	int fd = MUST(syscall(SYS_pidfd_open, g, 0));
	quit(c, 0);
	REQUIRE(call(m, ag_reap, c->pid) == c->pid);
	REQUIRE(AWAIT(proc_stat(g, 4) == m->pid));
	int before = siglog_count(m->pid, SIGCHLD);
	kill(g, SIGKILL);
	CHECK(is_gone(fd), "[14.7] adopted, it still goes when it dies");
	CHECK(call(m, ag_try, g) == -1 && m->err == ECHILD, "[14.7] the adopter has nothing to reap: ECHILD");
	CHECK_EQ(siglog_count(m->pid, SIGCHLD), before, "[14.7] and gets no signal");
	retire(m, NULL);
}

HELPER(leave)
{
	return 7;
}

CASE(autoreap_kept_and_inherited)
{
	NEED_FLAGS("[14.7] AUTOREAP over exec and fork");
	int fd;
	siglog_catch(SIGCHLD, 0);
	pid_t pid = clone3_(CLONE_AUTOREAP | CLONE_PIDFD, &fd, 0);
	if (pid == 0) {
		exec_self("leave", NULL, NULL, NULL);
		_exit(1);
	}
	CHECK(is_gone(fd) && status_of(fd) == 7 << 8, "[14.7] an exec keeps it");
	CHECK_EQ(siglog_count(0, SIGCHLD), 0, "[14.7] though the exit signal is SIGCHLD now: none is sent");
	close(fd);
	pid = clone3_(CLONE_AUTOREAP | CLONE_PIDFD, &fd, 0);
	if (pid == 0) {
		pid_t child = fork();
		if (child == 0)
			_exit(6);
		sh->v[0] = await_zombie(child);
		sh->v[1] = reap(child);
		errno = 0;
		sh->v[2] = clone3_(CLONE_PARENT, NULL, 0);
		sh->v[3] = errno;
		_exit(0);
	}
	CHECK(is_gone(fd), "[14.7] its own children are its own business");
	CHECK(sh->v[0] && sh->v[1] == 6 << 8, "[14.7] they become zombies");
	CHECK(sh->v[2] == -1 && sh->v[3] == EINVAL, "[14.7] it makes no sibling with CLONE_PARENT: EINVAL");
}

CASE(nnp)
{
	NEED_FLAGS("[14.7] NNP");
	pid_t pid = clone3_(CLONE_NNP, NULL, SIGCHLD);
	if (pid == 0)
		_exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 && prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == -1 ? 1 : 0);
	CHECK_EQ(reap(pid), 1 << 8, "[14.7] NNP: the child starts with no_new_privs, for good");
	CHECK_EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0, "[14.7] its parent has it not");
	pid = MUST(clone3_(0, NULL, SIGCHLD));
	if (pid == 0)
		_exit(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	CHECK_EQ(reap(pid), 0, "[14.7] nor has another child");
}

#define AUTOKILL (CLONE_PIDFD_AUTOKILL | CLONE_PIDFD | CLONE_AUTOREAP | CLONE_NNP)

CASE(autokill)
{
	NEED_FLAGS("[14.7] AUTOKILL");
	int fd;
	pid_t pid = sleeper(AUTOKILL, &fd);
	CHECK_EQ(fcntl(fd, F_GETFL), O_RDWR | O_TRUNC, "[14.7] AUTOKILL shows in F_GETFL");
	int other = MUST(syscall(SYS_pidfd_open, pid, 0)), copy = MUST(dup(fd));
	CHECK_EQ(fcntl(other, F_GETFL), O_RDWR, "[14.7] not in that of another pidfd");
	close(fd);
	CHECK(is_alive(other), "[14.7] a copy of the descriptor keeps the child alive");
	int third = MUST(syscall(SYS_pidfd_open, pid, 0));
	close(third);
	CHECK(is_alive(other), "[14.7] another pidfd's close kills nobody");
	struct agent *holder = spawn(NULL);
	close(copy);
	CHECK(is_alive(other), "[14.7] nor while a process inherited it");
	quit(holder, 0);
	CHECK(is_gone(other), "[14.7] the last close does");
	CHECK_EQ(status_of(other), SIGKILL, "[14.7] by SIGKILL");
	reap(holder->pid);
	CHECK_ERR(sys_wait4(-1, NULL, WNOHANG | __WALL, NULL), ECHILD, "[14.7] and nothing to reap");
}

static long ag_make_autokill(long x)
{
	static int fd;
	(void)x;
	return sleeper(AUTOKILL, &fd);
}

CASE(autokill_with_parent)
{
	NEED_FLAGS("[14.7] AUTOKILL and the parent's death");
	struct agent *p = spawn(NULL);
	pid_t pid = call(p, ag_make_autokill, 0);
	REQUIRE(pid > 0);
	int fd = MUST(syscall(SYS_pidfd_open, pid, 0));
	kill(p->pid, SIGKILL);
	CHECK(is_gone(fd), "[14.7] the child dies with who held its descriptor");
	CHECK_EQ(status_of(fd), SIGKILL, "[14.7] by SIGKILL");
	reap(p->pid);
}

HELPER(stay)
{
	pause();
	return 0;
}

CASE(autokill_over_exec)
{
	NEED_FLAGS("[14.7] AUTOKILL over exec");
	int fd;
	pid_t pid = clone3_(AUTOKILL, &fd, 0);
	if (pid == 0) {
		exec_self("stay", NULL, NULL, NULL);
		_exit(1);
	}
	int other = MUST(syscall(SYS_pidfd_open, pid, 0));
	REQUIRE(await_blocked(pid));
	close(fd);
	CHECK(is_gone(other) && status_of(other) == SIGKILL, "[14.7] an exec does not disarm it");
}

/* The number of a dead child is given to another process while its descriptor is open: that one is spared. */
CASE(autokill_spares_the_next)
{
	NEED_FLAGS("[14.7,13.9] AUTOKILL and a reused pid");
	NEED_ROOT("[14.7,13.9] AUTOKILL and a reused pid");
	int n = iterations(300), hit = 0;
	for (int i = 0; i < n; i++) {
		int fd;
		pid_t pid = clone3_(AUTOKILL, &fd, 0);
		if (pid == 0)
			_exit(0);
		REQUIRE(is_gone(fd));
		struct clone_args a = { .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&pid, .set_tid_size = 1 };
		pid_t next = syscall(SYS_clone3, &a, sizeof a);
		if (next == 0) {
			wait_word(&sh->w[0], i + 1);
			_exit(4);
		}
		close(fd);
		set_word(&sh->w[0], i + 1);
		hit += next > 0 && reap(next) != 4 << 8;
	}
	CHECK_EQ(hit, 0, "[14.7,13.9] it kills nobody else");
}
