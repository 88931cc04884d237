/*
 * state.c - what the master sees of the tree, and when it is quiet.
 *
 * Quiet is a fact, not a guess: a moment at which every actor is off its CPU, and nobody else is left to wake one.
 *
 * 1. Look at every actor's status file: all sleep, are stopped or dead.
 * 2. Pass through the lock of the process table: reading a `children` file takes it (Linux: tasklist_lock). Who was seen dead,
 *    or was gone, in (1) changed the tree under that lock, and told its parent before it gave the lock back.
 * 3. Look at every actor's `syscall` file. Linux sets the letters S and T before a task gives up its CPU: it may still look for
 *    children to wait for, or tell its parent that it stopped. This file says `running` until the task is really off (and for a
 *    zombie, until its last switch). An actor that has nothing to do must be in futex(2), any other not. Foster has no such
 *    file, and needs none: there S is a parked task, and what T and Z stand for is told under the table's lock.
 * 4. Look at every status file again: it is the same to the byte. It has the number of context switches, so that who slept in
 *    (3) slept in (1) as well.
 *
 * Then nobody ran at the moment between (1) and (3), and as only who runs can wake others, nothing happens by itself after it.
 * One thing does not need the tree: the last member of a pid namespace wakes the namespace's init a little after it is gone. So
 * an init that dies is at rest only while there is somebody left for it to wait for (rule 9.8).
 * Terminals have workers of the kernel between their ends: see terminal.c.
 */
#include "fuzz.h"
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct actor actor[NACTOR];
int nactor;
int patience_ms = 60000;

static void forget_files(struct actor *a)
{
	if (a->fd_status >= 0)
		close(a->fd_status), close(a->fd_stat), close(a->fd_children), close(a->fd_syscall);
	a->fd_status = a->fd_stat = a->fd_children = a->fd_syscall = -1;
}

static int open_file(const struct actor *a, const char *name)
{
	char path[80];
	snprintf(path, sizeof path, "/proc/%d/task/%d/%s", a->pid, a->tid, name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void open_files(struct actor *a)
{
	forget_files(a);
	a->fd_status = open_file(a, "status");
	a->fd_stat = open_file(a, "stat");
	a->fd_children = open_file(a, "children");
	a->fd_syscall = open_file(a, "syscall");
}

void state_reset(void)
{
	for (int i = 0; i < nactor; i++) {
		struct actor *a = &actor[i];
		char *text[2] = { a->text[0], a->text[1] };
		if (a->used)
			forget_files(a);
		memset(a, 0, sizeof *a);
		memcpy(a->text, text, sizeof text);
	}
}

bool state_has_children(void)
{
	char buf[16];
	int fd = open("/proc/1/task/1/children", O_RDONLY | O_CLOEXEC);
	ssize_t n = pread(fd, buf, sizeof buf, 0);
	close(fd);
	return n > 0;
}

void state_meet(int id)
{
	struct actor *a = &actor[id];
	for (int i = 0; i < 2; i++)
		if (!a->text[i] && !(a->text[i] = malloc(4096)))
			abort();
	a->fd_status = a->fd_stat = a->fd_children = a->fd_syscall = -1;
	a->len[0] = a->len[1] = 0;
	open_files(a);
}

static int state_numbers(int id, int *numbers, int max)
{
	struct actor *a = &actor[id];
	int n = 0;
	ssize_t len = a->fd_status < 0 ? 0 : pread(a->fd_status, a->text[0], 4095, 0);
	a->text[0][len > 0 ? len : 0] = 0;
	char *at = strstr(a->text[0], "\nNSpid:\t");
	for (at = at ? at + 8 : NULL; at && n < max; n++) {
		char *end;
		numbers[n] = strtol(at, &end, 10);
		if (end == at)
			break;
		at = *end == '\n' ? NULL : end;
	}
	return n;
}

/* The number, in a directory of /proc, of a task that no actor has and that calls itself so. */
static int find_stranger(const char *directory, int id)
{
	DIR *dir = opendir(directory);
	int found = -1;
	char wanted[16];
	snprintf(wanted, sizeof wanted, "p%d\n", id);
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		int number = atoi(entry->d_name);
		char path[350], name[32] = "";
		if (number < 2)
			continue;
		snprintf(path, sizeof path, "%s/%d/comm", directory, number);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && read(fd, name, sizeof name - 1) > 0 && !strcmp(name, wanted))
			found = number;
		if (fd >= 0)
			close(fd);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* The namespace of a task whose numbers are known: by its inode, that of an init met before, or a new one. */
static int find_namespace(int id, const char *directory)
{
	char path[80];
	struct stat st = { 0 };
	snprintf(path, sizeof path, "%s/%d/ns/pid", directory, actor[id].tid);
	if (stat(path, &st) < 0)
		return -1;
	for (int i = 0; i < nactor; i++)
		/* Of those that are there: the inode of a namespace that is gone is given to the next. */
		if (i != id && actor[i].used && actor[i].ns == i && actor[i].ns_inode == st.st_ino && (i == INIT || actor[i].fd_status >= 0))
			return i;
	actor[id].ns_inode = st.st_ino;
	return id;
}

bool state_find(int id)
{
	struct actor *a = &actor[id];
	char directory[48] = "/proc";
	int numbers[8];
	if (a->thread)
		snprintf(directory, sizeof directory, "/proc/%d/task", actor[a->leader].pid);
	a->tid = find_stranger(directory, id);
	a->pid = a->thread ? actor[a->leader].pid : a->tid;
	state_meet(id);
	int n = a->tid < 0 ? 0 : state_numbers(id, numbers, 8);
	a->ns = n ? find_namespace(id, directory) : -1;
	if (a->ns < 0)
		return false;
	if (a->ns == id)
		a->outer_ns = actor[a->maker].ns;
	for (int ns = a->ns; n > 0; ns = actor[ns].outer_ns)
		name_set(ns, numbers[--n], id);
	return true;
}

/* One look at an actor: its status file. True if it does not move now. */
static bool look(struct actor *a, int which)
{
	a->len[which] = 0;
	if (a->execs != sh->slot[a - actor].execs) {	/* a thread's exec gives the leader's number to another task */
		a->execs = sh->slot[a - actor].execs;
		for (int i = 1; i < nactor; i++)
			if (actor[i].used && actor[i].leader == a->leader && actor[i].busy && actor[i].op.code == OP_EXEC)
				a->next_ns = actor[i].next_ns;
		open_files(a);
	}
	if (a->fd_status < 0) {
		a->len[0] = a->len[1] = 0;
		return true;
	}
	ssize_t n = pread(a->fd_status, a->text[which], 4095, 0);
	if (n <= 0) {
		forget_files(a);
		a->len[0] = a->len[1] = 0;
		return false;	/* somebody may be about to hear of it */
	}
	a->text[which][n] = 0;
	a->len[which] = n;
	const char *state = strstr(a->text[which], "\nState:\t");
	if (!state)
		return false;
	switch (state[8]) {
	case 'S': case 'T': case 'Z': return true;
	case 'I': return true;		/* Linux 6.1: the init of a namespace that waits for its members */
	case 'D': return a->busy && a->op.code == OP_FORK;	/* the parent of a vfork */
	default: return false;
	}
}

static bool to_be_seen(const struct actor *a)
{
	return a->used && (a->fd_status >= 0 || a->execs != sh->slot[a - actor].execs);
}

/* Off its CPU, and where it should be: see (3) at the head. */
static bool off_cpu(const struct actor *a)
{
	const struct slot *s = &sh->slot[a - actor];
	char text[128];
	if (a->fd_syscall < 0)
		return true;
	ssize_t n = pread(a->fd_syscall, text, sizeof text - 1, 0);
	if (n <= 0)
		return false;
	text[n] = 0;
	if (!strncmp(text, "running", 7))
		return false;
	const char *state = strstr(a->text[0], "\nState:\t");
	bool idle = s->answered == s->command;
	return !state || state[8] != 'S' || idle == (atoi(text) == SYS_futex);
}

static bool first_looks(void)
{
	bool quiet = true;
	for (int i = 1; i < nactor; i++)
		if (to_be_seen(&actor[i]))
			quiet &= look(&actor[i], 0);
	return quiet;
}

static void pass_the_table(void)
{
	char buf[16];
	if (pread(actor[INIT].fd_children, buf, sizeof buf, 0) < 0)
		abort();
}

static bool second_looks(void)
{
	for (int i = 1; i < nactor; i++)
		if (to_be_seen(&actor[i]) && !(off_cpu(&actor[i]) && look(&actor[i], 1)))
			return false;
	return true;
}

static bool same_looks(void)
{
	for (int i = 1; i < nactor; i++) {
		struct actor *a = &actor[i];
		if (a->used && (a->len[0] != a->len[1] || memcmp(a->text[0], a->text[1], a->len[0])))
			return false;
	}
	return true;
}

bool is_in(int id, int ns)
{
	int at = actor[id].ns;
	while (at != ns && at != INIT)
		at = actor[at].outer_ns;
	return at == ns;
}

/* Does process `id`, not the init of namespace `ns` itself, keep a number of it in use: its own, its group's or session's? */
static bool holds_number(int id, int ns)
{
	const struct actor *a = &actor[id];
	if (!a->used || a->leader == ns || !a->now.state)
		return false;
	int group = name_find(a->now.pgrp), session = name_find(a->now.session);
	return is_in(id, ns) || (group > 0 && is_in(group, ns)) || (session > 0 && is_in(session, ns));
}

/* On the way to death, and nothing is left that could keep it from there. */
static bool somebody_dies(void)
{
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		if (!a->used || !a->now.state || a->now.state == 'Z' || !a->now.exiting)
			continue;
		bool waits = false;
		for (int k = 1; k < nactor && actor[a->leader].ns == a->leader; k++)
			waits |= holds_number(k, a->leader);
		if (!waits)
			return true;
	}
	return false;
}

static long long now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000LL + ts.tv_nsec / 1000;
}

static void pause_us(long us)
{
	struct timespec ts = { 0, us * 1000 };
	nanosleep(&ts, NULL);
}

/* Is the operation of actor `id` done, as far as it can be: answered, blocked, or its actor gone? */
static bool reported(int id)
{
	struct slot *s = &sh->slot[id];
	struct actor *a = &actor[id];
	if (!a->busy || a->op.code != OP_FORK)
		return true;
	struct slot *child = &sh->slot[a->op.arg[0].n];
	if (s->answered == s->command)
		return s->ret < 0 || child->born;
	return child->born || a->fd_status < 0 || (a->len[0] && strstr(a->text[0], "\nState:\tT"));
}

static uint64_t mask_of(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	return at ? strtoull(at + strlen(key), NULL, 16) : 0;
}

static void read_stat(struct actor *a)
{
	char buf[1024];
	ssize_t n = pread(a->fd_stat, buf, sizeof buf - 1, 0);
	a->now.state = 0;
	if (n <= 0)
		return;
	buf[n] = 0;
	char *at = strrchr(buf, ')');
	if (!at)
		return;
	a->now.state = at[2] == 'I' ? 'S' : at[2];
	at += 3;
	for (int field = 4; field <= 52; field++) {
		long value = strtol(at, &at, 10);
		switch (field) {
		case 4: a->now.ppid = value; break;
		case 5: a->now.pgrp = value; break;
		case 6: a->now.session = value; break;
		case 7: a->now.tty = value; break;
		case 8: a->now.tpgid = value; break;
		case 9: a->now.exiting = value & 4; break;	/* PF_EXITING */
		case 20: a->now.threads = value; break;
		case 38: a->now.exit_signal = value; break;
		case 52: a->now.exit_code = value; break;
		}
	}
}

static void read_status(struct actor *a)
{
	const char *text = a->text[0];
	a->now.pending = mask_of(text, "\nSigPnd:\t");
	a->now.shared = mask_of(text, "\nShdPnd:\t");
	a->now.blocked = mask_of(text, "\nSigBlk:\t");
	a->now.ignored = mask_of(text, "\nSigIgn:\t");
	a->now.caught = mask_of(text, "\nSigCgt:\t");
	const char *uid = strstr(text, "\nUid:\t");
	a->now.uid = uid ? strtol(uid + 6, NULL, 10) : -1;
}

static void read_children(struct actor *a)
{
	char buf[2048];
	ssize_t n = pread(a->fd_children, buf, sizeof buf - 1, 0);
	a->now.nchild = 0;
	if (n <= 0)
		return;
	buf[n] = 0;
	for (char *at = buf, *end; a->now.nchild < NCHILD; at = end) {
		long pid = strtol(at, &end, 10);
		if (end == at)
			break;
		a->now.child[a->now.nchild++] = pid;
	}
}

void state_read(void)
{
	for (int i = 0; i < nactor; i++) {
		struct actor *a = &actor[i];
		if (!a->used)
			continue;
		memset(&a->now, 0, offsetof(struct view, child));
		if (a->fd_status < 0)
			continue;
		read_stat(a);
		if (i != INIT && a->now.state != 'Z')
			read_status(a);
		read_children(a);
	}
}

/* Among operations at the same time: one that the master has to meet before it knows what others wait for. */
static bool somebody_is_born(void)
{
	for (int i = 1; racing && i < nactor; i++)
		if (!actor[i].used && sh->slot[i].born)
			return true;
	return false;
}

bool state_settle(int id)
{
	long long end = now_us() + patience_ms * 1000LL;
	for (int round = 0; ; round++) {
		if (reported(id)) {
			struct actor *a = &actor[id];
			if (a->busy && a->op.code == OP_FORK) {
				int child = a->op.arg[0].n;
				if (sh->slot[child].born && !actor[child].used)
					return true;	/* the master has to meet it first */
			}
			if (first_looks()) {
				pass_the_table();
				if (second_looks() && same_looks()) {
					state_read();
					if (!somebody_dies() || somebody_is_born())
						return true;
				}
			}
		}
		/* after so many looks the machine did not just stand still */
		if (now_us() > end && round > 2000)
			return false;
		if (round < 3)
			sched_yield();
		else
			pause_us(round < 20 ? 50 : 500);
	}
}

bool process_dead(int id, bool now)
{
	for (int i = 1; i < nactor; i++) {
		const struct actor *a = &actor[i];
		char state = now ? a->now.state : a->was.state;
		if (a->used && a->leader == id && state && state != 'Z')
			return false;
	}
	return true;
}
