/*
 * state.c - what the master sees of the tree, and when it is quiet.
 *
 * Quiet is a fact, not a guess. Whoever runs shows state R; whoever was woken and ran between two looks has
 * another count of context switches in its status file. So: look at every actor's status; all sleep, are stopped or
 * dead. Look again; the files are the same to the byte. Then there was a moment between the two looks at which nobody
 * ran, and as only who runs can wake others, nothing will happen by itself after it. A death is told to the parent a
 * few instructions after it can be seen in /proc, so a step in which somebody died is looked at again after a while, and again when all else has been read.
 */
#include "fuzz.h"
#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct actor actor[NACTOR];
int nactor;
int patience_ms = 60000;

static void forget_files(struct actor *a)
{
	if (a->fd_status >= 0)
		close(a->fd_status), close(a->fd_stat), close(a->fd_children);
	a->fd_status = a->fd_stat = a->fd_children = -1;
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

void state_meet(int id)
{
	struct actor *a = &actor[id];
	for (int i = 0; i < 2; i++)
		if (!a->text[i] && !(a->text[i] = malloc(4096)))
			abort();
	a->fd_status = a->fd_stat = a->fd_children = -1;
	a->len[0] = a->len[1] = 0;
	open_files(a);
}

int state_find_stranger(const char *directory)
{
	DIR *dir = opendir(directory);
	int found = -1;
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		int number = atoi(entry->d_name);
		if (number > 1 && name_find(number) < 0)
			found = number;
	}
	if (dir)
		closedir(dir);
	return found;
}

int state_numbers(int id, int *numbers, int max)
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

/* One look at an actor: its status file. True if it does not move now. */
static bool look(struct actor *a, int which)
{
	a->len[which] = 0;
	if (a->execs != sh->slot[a - actor].execs) {	/* a thread's exec gives the leader's number to another task */
		a->execs = sh->slot[a - actor].execs;
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
	case 'D': return a->busy && a->op.code == OP_FORK;	/* the parent of a vfork */
	default: return false;
	}
}

static bool look_at_all(int which)
{
	bool quiet = true;
	for (int i = 1; i < nactor; i++)
		if (actor[i].used && (actor[i].fd_status >= 0 || actor[i].execs != sh->slot[i].execs))
			quiet &= look(&actor[i], which);
	return quiet;
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

static bool somebody_died(void)
{
	for (int i = 1; i < nactor; i++) {
		struct actor *a = &actor[i];
		bool alive = a->was.state && a->was.state != 'Z';
		if (a->used && alive && (!a->len[0] || strstr(a->text[0], "\nState:\tZ")))
			return true;
	}
	return false;
}

/* Somebody sleeps on the way to death: the init of a pid namespace, until its last member is gone. */
static bool somebody_dies(void)
{
	for (int i = 1; i < nactor; i++)
		if (actor[i].used && actor[i].now.state && actor[i].now.state != 'Z' && actor[i].now.exiting)
			return true;
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
	a->now.state = at[2];
	at += 3;
	for (int field = 4; field <= 52; field++) {
		long value = strtol(at, &at, 10);
		switch (field) {
		case 4: a->now.ppid = value; break;
		case 5: a->now.pgrp = value; break;
		case 6: a->now.session = value; break;
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

bool state_settle(int id)
{
	long long end = now_us() + patience_ms * 1000LL;
	for (int round = 0; ; round++) {
		uint32_t event = sh->event;
		if (reported(id)) {
			struct actor *a = &actor[id];
			if (a->busy && a->op.code == OP_FORK) {
				int child = a->op.arg[0].n;
				if (sh->slot[child].born && !actor[child].used)
					return true;	/* the master has to meet it first */
			}
			if (look_at_all(0) && look_at_all(1) && same_looks()) {
				bool died = somebody_died();
				state_read();
				if (!died && !somebody_dies())
					return true;
				pause_us(200);
				if (look_at_all(1) && same_looks() && sh->event == event) {
					state_read();
					if (!somebody_dies() && look_at_all(1) && same_looks() && sh->event == event)
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
