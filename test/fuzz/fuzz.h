/*
 * fuzz.h - the differential fuzzer of the process tree: what its parts share.
 *
 * The master (PID 1 of its namespace, or of a guest) drives a tree of actors: processes and threads that wait on a
 * word in shared memory, run the one operation that they are told, store what it returned and wait again.
 *
 *	actor.c		what runs in the tree: raw system calls only, no C library, because threads are bare clones
 *	state.c		what the master sees: /proc of every actor, and when the tree is quiet
 *	names.c		numbers to names (p3) and back, the text of operations
 *	generate.c	from a seed to operations
 *	terminal.c	pseudo-terminals, whose other ends the master holds
 *	race.c		operations at the same time, and what holds after them
 *	judge.c		which steps have more than one right outcome
 *	print.c		what a step led to, as text
 *	fuzz.c		the master: steps, seeds and scripts
 *
 * Two kernels that agree print the same text: only what does not depend on pids, time or CPUs is printed.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define NACTOR 192		/* actors per seed; an id is used once */
#define NREC 1024
#define NCHILD 96
#define SHARED_ADDR ((void *)0x100000000)
#define SHARED_FD 3		/* both stay open in every actor, over execs too */
#define PROGRAM_FD 4
#define TTY_FD 20		/* an actor's terminal */
#define NTTY 3			/* terminals at a time */
#define INIT 0			/* the master as an actor: pid 1 */
#define RAN_EXEC 0x7ec0000	/* what an actor answers when it has become a new program */

/* X(code, text, arguments) */
#define OPS(X)                                                                                   \
	X(FORK, "fork", 3)		/* new actor, flags, how */                              \
	X(EXIT, "exit", 1)		/* of the thread: code */                                \
	X(EXIT_GROUP, "exit_group", 1)                                                           \
	X(KILL, "kill", 2)		/* target, signal */                                     \
	X(TGKILL, "tgkill", 3)		/* tgid, tid, signal */                                  \
	X(SIGQUEUE, "sigqueue", 3)	/* target, signal, si_code */                            \
	X(SIGQUEUES, "sigqueues", 3)	/* target, signal, how many: with values 1, 2, .. */     \
	X(WAIT4, "wait4", 2)		/* target, options */                                    \
	X(WAITID, "waitid", 3)		/* id type, id, options */                               \
	X(SUBREAPER, "subreaper", 1)                                                             \
	X(PDEATHSIG, "pdeathsig", 1)                                                             \
	X(SIGACTION, "sigaction", 3)	/* signal, 0 default 1 ignore 2 catch, flags */          \
	X(SIGMASK, "sigmask", 2)	/* how, set */                                           \
	X(TAKE, "take", 1)		/* sigtimedwait without waiting: set */                  \
	X(SIGWAIT, "sigwait", 1)	/* sigwaitinfo: set */                                   \
	X(SIGNALFD, "signalfd", 2)	/* one signal by one read: set, 0 or SFD_NONBLOCK */     \
	X(SETSID, "setsid", 0)                                                                   \
	X(SETPGID, "setpgid", 2)                                                                 \
	X(EXEC, "exec", 2)		/* 0 itself, 1 no such file; who it will be */           \
	X(SETUID, "setuid", 1)		/* 0 effective, 1 all, 2 back */                         \
	X(AUDIT, "audit", 0)		/* what only the actor itself can ask */                 \
	X(GETPGID, "getpgid", 1)                                                                 \
	X(GETSID, "getsid", 1)                                                                   \
	X(PIDFD_OPEN, "pidfd_open", 2)	/* target, flags */                                      \
	X(PIDFD_KILL, "pidfd_kill", 3)	/* descriptor, signal, flags */                          \
	X(PIDFD_POLL, "pidfd_poll", 1)                                                           \
	X(CLOSE, "close", 1)                                                                     \
	X(UNSHARE, "unshare", 1)                                                                 \
	X(SETNS, "setns", 2)		/* whose pid namespace, SETNS_... */                     \
	X(NPROC, "nproc", 1)		/* the soft limit */                                     \
	X(OPENTTY, "opentty", 2)	/* terminal, flags; it becomes TTY_FD */                 \
	X(SCTTY, "sctty", 1)		/* TIOCSCTTY: 1 steals */                                \
	X(NOTTY, "notty", 0)                                                                     \
	X(TCSETPGRP, "tcsetpgrp", 1)                                                             \
	X(TTYINFO, "ttyinfo", 0)	/* TIOCGPGRP, TIOCGSID */                                \
	X(TTYREAD, "ttyread", 0)                                                                 \
	X(TTYWRITE, "ttywrite", 0)                                                               \
	X(TOSTOP, "tostop", 1)                                                                   \
	X(DEVTTY, "devtty", 0)		/* opens and closes /dev/tty */                          \
	X(PTY, "pty", 1)		/* the master's: makes terminal number n */              \
	X(TYPE, "type", 2)		/* terminal, byte */                                     \
	X(HANGUP, "hangup", 1)		/* closes the master's end */

enum code {
#define X(code, text, arguments) OP_##code,
	OPS(X)
#undef X
	NOPS
};

/* A child made with these does something before it reports. */
enum { HOW_CLONE, HOW_CLONE3, HOW_ROOT /* clone, then setsid */ };

enum { SETNS_PIDFD, SETNS_PID, SETNS_FOR_CHILDREN };

/* One actor's letter box. The first field is what %gs:0 reads. */
struct slot {
	struct slot *self;
	volatile uint32_t command, answered;	/* number of the last command given / answered; futex words */
	volatile int born;			/* it runs and `tid` is right */
	volatile int execs;
	volatile int tid, pid;			/* as it sees itself */
	volatile int how;
	volatile int op;
	volatile long arg[6];
	volatile long ret, out[12];
};

/* A signal that a handler took. */
struct record {
	int slot, sig, code, pid, status, uid, value;
};

struct shared {
	int user;			/* a user id that nobody else on this machine has */
	volatile uint32_t event;	/* futex word: some actor has something to tell */
	volatile uint32_t nrec;
	struct record rec[NREC];
	struct slot slot[NACTOR];
};
#define sh ((struct shared *)SHARED_ADDR)

/* ---- actor.c ---- */
void actor_main(struct slot *me) __attribute__((noreturn));
long actor_run(struct slot *me);
long futex_word(volatile uint32_t *word, int op, uint32_t value, const void *timeout);
void actor_signal_setup(void);

/* ---- operations ---- */
struct ref {		/* a number, or one that stands for an actor */
	enum { NUMBER, PID, GROUP } kind;
	long n;
};
struct op {
	int actor;
	enum code code;
	struct ref arg[3];
};
extern const char *const op_name[NOPS];
extern const int op_args[NOPS];

/* ---- what the master knows of an actor ---- */
struct view {
	char state;		/* S T Z D; 0: gone */
	bool exiting;
	long ppid, pgrp, session, tty, tpgid, exit_signal, exit_code, threads, uid, depth;
	uint64_t pending, shared, blocked, ignored, caught;
	int nchild;
	int child[NCHILD];
};
struct actor {
	bool used, thread;
	int leader;		/* the actor that is its process's leader; itself if it is one */
	int pid, tid;		/* in the master's namespace */
	int execs;
	bool vm;		/* shares its memory with another process */
	int ns;			/* the pid namespace it lives in, by the actor that is its init */
	int outer_ns;		/* of such an init: the namespace around its own */
	unsigned long ns_inode;	/* of such an init: its namespace's */
	int maker;		/* who called fork */
	int next_ns;		/* where its children go; NEW_NS: the next one is the init of a new one */
	int pdeathsig;		/* as it set it last */
	bool has_tty;		/* TTY_FD is open, as far as the master knows */
	uint32_t pidfds;	/* a bit for each of its first descriptors that is one, as far as the master knows */
	bool nocldwait;		/* its own SIGCHLD setting, as far as the master knows */
	bool busy;		/* a command is not answered yet */
	int busy_step;
	struct op op;
	bool tainted;		/* which of several events its pending SIGCHLD tells of is open */
	int fd_status, fd_stat, fd_children, fd_syscall;
	char *text[2];		/* its status file, of the last two looks */
	int len[2];
	struct view was, now;
};
#define NEW_NS (-1)
extern struct actor actor[NACTOR];
extern int nactor;		/* ids below are taken */

/* ---- fuzz.c ---- */
extern int step;
extern bool race_failed, racing;
void post(const struct op *op);			/* gives the command to its actor; the master runs its own at once */
void meet_child(const struct op *op);		/* the child of a fork has reported */
void begin(const char *name);
bool new_tree(void);				/* ends everybody and forgets them */

/* ---- print.c ---- */
void print_answers(void);
void follow_answer(int id);
void print_records(void);
void print_changes(int id);
void count_outcomes(void);			/* from now on */
void print_outcomes(void);

/* ---- terminal.c ---- */
void terminals_mount(void);
long terminal_run(struct slot *me);		/* the master's own operations */
int terminal_index(int n);			/* its name in /dev/pts; a free one if it is not there */
bool terminal_there(int n);
const char *terminal_name(long device);		/* t0, .. for a number in /proc; 0, or ? */
void terminals_print(void);			/* what was said, and whose they are now */
void terminals_close(void);

/* ---- race.c ---- */
void run_races(long from, long to, int rounds);

/* ---- state.c ---- */
void state_reset(void);
void state_meet(int id);			/* a new actor has reported: open its files */
bool state_find(int id);			/* the same for one in a namespace: find out its numbers first; false if it is gone */
bool state_settle(int waiting_for);		/* until nothing moves, then state_read; false when time is up */
void state_read(void);				/* fill every actor's `now` */
bool state_has_children(void);			/* the master has */
bool is_in(int id, int ns);			/* a member of a namespace, or of one inside of it */
bool process_dead(int id, bool now);		/* a process whose every thread is dead */
extern int patience_ms;

/* ---- names.c ---- */
#define NOBODY 4100000				/* no pid gets that far: for who is not in a namespace */
void name_set(int ns, int pid, int id);
void name_reset(void);
int name_find(int pid);				/* by the master's number; -1: nobody */
int name_number(int ns, int id);		/* the number of an actor in a namespace, or NOBODY */
const char *name_in(int ns, long pid);		/* "p3", "init", "0", "?", by the numbers of a namespace */
const char *name_of(long pid);			/* by the master's numbers */
void op_text(const struct op *op, char *buf, size_t n);
bool op_parse(const char *line, struct op *op);

/* ---- generate.c ---- */
extern bool old_kernel;				/* only what Linux 6.1 answers as 6.18 does */
void random_seed(uint64_t seed);
uint32_t random_below(uint32_t n);
bool generate(struct op *op);			/* an operation that can run now */
bool actor_idle(int id);

/* ---- judge.c ---- */
const char *judge(const struct op *op);		/* why the step had several right outcomes; NULL if it had one */

#endif
