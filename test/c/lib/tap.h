/*
 * tap.h - the frame of the C suite.
 *
 * A test program is a list of CASE()s.  Each case runs in a child of its own (the runner is its parent), with
 * a time-out, so that a crash or a hang costs one `not ok` line and not the program.  The runner is a child
 * subreaper: whatever a case leaves behind comes to it, and it reaps until ECHILD before the next case; a
 * process that is still there after a grace period is a failure (spec 15.4).
 *
 * Output is TAP version 13, the plan last.  Every assertion is one line, which names the rules of the
 * specification that it stands for in one fixed form, comma separated, at the start of its text:
 *
 *	ok 3 - [2.10] exit_signal of an orphan becomes SIGCHLD
 *	not ok 4 - [2.10,4.8] ...
 *	# subreaper.c:88: proc_exit_signal(c->pid): got 0, expected 17
 *
 * Nothing here sleeps to be right: processes meet through futex words in shared memory (agent.h), through
 * waitid(WNOWAIT), or by looking again at a condition until it holds or a deadline passes (AWAIT).
 *
 * Environment: FOSTER_ITER iterations of race tests, FOSTER_TIMEOUT seconds a case may take, FOSTER_DEADLINE
 * milliseconds a single event may take.
 */
#ifndef TAP_H
#define TAP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

/* One record of a caught signal, see siglog_catch(). */
struct sigrec {
	pid_t who, tid;		/* receiver */
	int sig, code;
	pid_t pid;		/* si_pid */
	uid_t uid;
	int status;		/* si_status, or si_value for queued signals */
	pid_t ppid;		/* getppid() of the receiver inside the handler */
};

#define NAGENT 64
#define NSIGREC 256

/* Memory that every process of the program shares. */
struct shared {
	int count, failed;		/* assertions so far, of which failed */
	volatile int over;		/* the case has ended: agents leave */
	int nagents;
	int nsig;
	volatile long v[64];		/* scratch words, zero at the start of each case */
	volatile int w[64];		/* futex words, zero at the start of each case */
	struct agent agent[NAGENT];
	struct sigrec sig[NSIGREC];
};
extern struct shared *sh;
extern char self_path[PATH_MAX];	/* absolute name of this program, to exec it again */
extern const char *case_name;
extern int deadline_ms;

/* ---- registration ---- */
struct tcase {
	const char *name;
	void (*fn)(void);
	int secs;
	struct tcase *next;
};
struct helper {
	const char *name;
	int (*fn)(int argc, char **argv);
	struct helper *next;
};
void tap_add(struct tcase *c);
void tap_add_helper(struct helper *h);

#define CASE_T(id, seconds)                                                                      \
	static void case_##id(void);                                                             \
	static struct tcase tc_##id = { #id, case_##id, seconds, 0 };                            \
	__attribute__((constructor)) static void reg_##id(void) { tap_add(&tc_##id); }           \
	static void case_##id(void)
#define CASE(id) CASE_T(id, 0)

/* HELPER(x) { ... }: what `exec_self("x", ...)` runs after execve; argv[0] is "x". */
#define HELPER(id)                                                                               \
	static int helper_##id(int argc, char **argv);                                           \
	static struct helper hp_##id = { #id, helper_##id, 0 };                                  \
	__attribute__((constructor)) static void regh_##id(void) { tap_add_helper(&hp_##id); }   \
	static int helper_##id(int argc __attribute__((unused)), char **argv __attribute__((unused)))

/* execve this program (or `path`, a copy of it) as helper `name` with up to three arguments; returns on error. */
int exec_helper(const char *path, const char *name, const char *a1, const char *a2, const char *a3);
#define exec_self(name, a1, a2, a3) exec_helper(self_path, name, a1, a2, a3)

/* ---- assertions ---- */
bool tap_report(bool ok, const char *text, const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
bool tap_eq(long long got, long long want, const char *gs, const char *text, const char *file, int line);
bool tap_err(long ret, int err, int want, const char *gs, const char *text, const char *file, int line);
_Noreturn void tap_die(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void tap_skip(const char *text, const char *why);
void tap_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(e, text) tap_report((e), text, __FILE__, __LINE__, "%s is false (errno %d)", #e, errno)
#define CHECK_EQ(got, want, text) tap_eq((long long)(got), (long long)(want), #got, text, __FILE__, __LINE__)
/* The call fails with -1 and this errno. */
#define CHECK_ERR(call, want, text)                                                              \
	({ errno = 0; long r_ = (long)(call); tap_err(r_, errno, want, #call, text, __FILE__, __LINE__); })
/* The call returns 0. */
#define CHECK_OK(call, text)                                                                     \
	({ errno = 0; long r_ = (long)(call); tap_report(r_ == 0, text, __FILE__, __LINE__,      \
		"%s: got %ld (errno %d), expected 0", #call, r_, errno); })
/* Set-up that has to work for the case to make sense: ends the case when it does not. */
#define MUST(e) ({ errno = 0; __typeof__(e) m_ = (e); if ((long)m_ == -1) {                      \
	tap_die(__FILE__, __LINE__, "set-up %s failed, errno %d (%s)", #e, errno, strerror(errno)); } m_; })
#define REQUIRE(e) do { if (!(e)) tap_die(__FILE__, __LINE__, "set-up condition %s is false (errno %d)", #e, errno); } while (0)

/* The statement after it is for root. */
#define IF_ROOT(text) if (geteuid() != 0) tap_skip(text, "needs root"); else
#define NEED_ROOT(text) do { if (geteuid() != 0) { tap_skip(text, "needs root"); return; } } while (0)

/*
 * The specification is that of Linux 6.18; an older kernel on the host differs here and there.  A block after
 * IF_SINCE runs only on a kernel at least that new (by uname), else one line says that it was skipped.
 */
bool kernel_since(int major, int minor);

/* Does this run in the guest? */
bool on_foster(void);

/* Is our root directory no mount point?  Then it is not that of process 1, from where the kernel resolves some names, and can't
 * be made private. */
bool in_chroot(void);
#define IN_CHROOT "needs the root directory of the machine, not a chroot"
#define IF_SINCE(major, minor, text) if (!kernel_since(major, minor)) tap_skip(text, "needs Linux " #major "." #minor); else

/*
 * ---- time and meeting ----
 *
 * A deadline is for what hangs.  Whoever waits for an event gives it so much time that no load of the machine uses
 * it up, and so many looks that no stall of the whole machine does.
 */
#define LOOKS 2000
long long now_ms(void);
void nap(int *round);			/* yield first, later short sleeps: for use between two looks at a condition */
#define AWAIT(cond)                                                                              \
	({ long long end_ = now_ms() + deadline_ms; int n_ = 0; bool ok_;                        \
	   while (!(ok_ = (cond)) && (now_ms() < end_ || n_ < LOOKS)) { nap(&n_); } ok_; })
int iterations(int dflt);		/* FOSTER_ITER, or the default */

/* ---- raw system calls (no cancellation, no retries, no cached values) ---- */
#define sys_wait4(pid, st, opt, ru) syscall(SYS_wait4, (long)(pid), st, (long)(opt), ru)
#define sys_waitid(t, id, info, opt, ru) syscall(SYS_waitid, (long)(t), (long)(id), info, (long)(opt), ru)
#define raw_clone(flags) syscall(SYS_clone, (unsigned long)(flags), 0, 0, 0, 0)
#define futex(addr, op, val, ts) syscall(SYS_futex, addr, (long)(op), (long)(val), ts, 0, 0)
#define sys_gettid() ((pid_t)syscall(SYS_gettid))
#define sys_tgkill(g, t, s) syscall(SYS_tgkill, (long)(g), (long)(t), (long)(s))
#define sys_exit_thread(c) syscall(SYS_exit, (long)(c))

/* ---- processes ---- */
void wait_word(volatile int *w, int want);	/* block until *w == want; ends the case at the deadline */
void set_word(volatile int *w, int val);	/* store and wake */
char proc_state(pid_t pid);			/* state letter, 0 if there is no such process */
char task_state(pid_t pid, pid_t tid);
long proc_stat(pid_t pid, int field);		/* field of /proc/pid/stat by its number, -1 if gone */
bool proc_status(pid_t pid, const char *key, char *buf, size_t n);	/* value of a line of /proc/pid/status */
int read_file(const char *path, char *buf, size_t n);	/* NUL-terminated; length or -1 */
long write_text(const char *path, const char *text);	/* one write to what is there; its result, and its errno */
bool write_file(const char *path, const void *buf, size_t n, int mode);
bool await_state(pid_t pid, char state);	/* 0 = gone */
bool stop_and_continue(pid_t pid);	/* by signals, until it sleeps again */
bool await_zombie(pid_t child);			/* own child, by waitid(WNOWAIT|__WALL); no /proc needed */
int reap(pid_t pid);				/* waitpid(__WALL), returns the status, -1 on error */
int reap_any(int *st);				/* pid or -errno */
bool await_blocked(pid_t pid);			/* until the process sleeps (state S) */

/* ---- signal log ---- */
void siglog_catch(int sig, int flags);		/* handler that records into sh->sig[] */
int siglog_count(pid_t who, int sig);		/* who 0 = anybody */
struct sigrec *siglog_get(pid_t who, int sig, int nth);	/* nth from 0; NULL if not there */

/* ---- memory ---- */
void *map_pages(int n);				/* private anonymous read-write */
char *map_edge(void);				/* address whose page before is read-write and which itself is unmapped */
char *map_readonly(void);			/* a page that can be read, full of zeros, not written */
#define BADPTR ((void *)0x10)			/* below mmap_min_addr: never mapped */

/* A scratch directory of this case's process, made on first use. */
const char *tmp_path(const char *name);
bool copy_self(const char *to, int mode);	/* a copy of this program as file `to` */

#endif
