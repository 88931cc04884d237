/*
 * agent.h - processes and threads that do as they are told.
 *
 * A test of the process tree needs many processes that each do one thing at a given moment.  An agent is a
 * process (or thread) that waits on a word in shared memory, runs the function it is given, stores the result
 * and waits again.  The case stays in command: a test reads top to bottom in one function, whoever does the
 * work.  Function pointers are good in every agent, because all are forks of one program without an exec.
 *
 *	struct agent *m = spawn(NULL);			// child of the case
 *	struct agent *c = spawn(m);			// child of m
 *	call(m, ag_subreaper, 1);
 *	quit(m, 0);
 *	CHECK_EQ(call(c, ag_getppid, 0), ...);
 */
#ifndef AGENT_H
#define AGENT_H

#include <sys/types.h>

struct agent {
	volatile int req, rsp;		/* futex words: number of the last command given / answered */
	volatile int ready;
	volatile int started;		/* the posted function has been entered */
	long (*fn)(long);
	long arg, ret;
	int err;
	pid_t pid;			/* as the creator sees it (for a thread: the process) */
	pid_t self, tid;		/* as it sees itself */
	volatile long out[8];		/* further results of the last command */
	void *stack;
};

extern __thread struct agent *me;	/* the agent that runs here; NULL in the case itself */

struct agent *spawn(struct agent *in);					/* fork by `in` (NULL: by the caller) */
struct agent *spawn_flags(struct agent *in, unsigned long flags);	/* clone flags | exit signal, no CLONE_VM */
struct agent *spawn_thread(struct agent *in);				/* a new thread of `in` */

#define NS (CLONE_NEWPID | SIGCHLD)
struct agent *new_ns(struct agent *in);			/* the init of a new pid namespace, forked by `in` */

long call(struct agent *a, long (*fn)(long), long arg);	/* run and wait for the answer; errno is the agent's */
void post(struct agent *a, long (*fn)(long), long arg);	/* start, do not wait */
long finish(struct agent *a);				/* the answer of a posted call */
bool answered(struct agent *a);
void quit(struct agent *a, int code);			/* exit_group, not waited for */
void quit_thread(struct agent *a, int code);		/* exit of this thread alone */

void retire(struct agent *a, struct agent *parent);	/* quit(a, 0), reaped by `parent` (NULL: the caller) */
bool await_blocked_in(struct agent *a);			/* until the posted function sleeps in its system call */

/* Things that agents do; arguments and results are longs. */
long ag_getpid(long), ag_getppid(long), ag_gettid(long);
long ag_subreaper(long on);		/* prctl(SET) result */
long ag_get_subreaper(long);		/* 0/1, or -1 */
long ag_pdeathsig(long sig);
long ag_get_pdeathsig(long);
long ag_catch_plain(long sig);	/* siglog_catch(sig, SA_SIGINFO) */
long ag_catch(long sig);		/* siglog_catch(sig, SA_SIGINFO|SA_RESTART) */
long ag_ignore(long sig), ag_default(long sig);
long ag_block(long sig), ag_unblock(long sig);
long ag_pending(long sig);		/* 1 if pending */
long ag_reap(long pid);			/* waitpid(pid, __WALL): pid or -1; out[0] = status */
long ag_try(long pid);			/* the same with WNOHANG */
long ag_exit(long code), ag_thread_exit(long code);
long ag_setpgid(long pid);		/* setpgid(0, pid) */
long ag_setsid(long), ag_getpgrp(long);
long ag_fork_exit(long code);		/* fork a child that exits at once: its pid */
long ag_raise(long sig);
long ag_enter_ns(long pid);		/* setns: its next children are born in the pid namespace of `pid` */
long ag_try_clone(long flags);		/* a child that exits and is reaped: 0 or -errno */
long ag_drop(long uid);			/* all user and group ids become `uid` */

void need_devpts(void);			/* mounts /dev/pts: a guest may have none yet */

#endif
