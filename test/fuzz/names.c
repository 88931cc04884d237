/*
 * names.c - numbers to names that do not depend on pids, and the text of operations.
 *
 * An operation is one line: who, what, and arguments that are numbers or actors:
 *
 *	p3 fork p7 0x11 0
 *	p7 kill -p3 9		the process group whose id is p3's pid
 */
#include "fuzz.h"
#include <stdlib.h>
#include <string.h>

#define X(code, text, arguments) text,
const char *const op_name[NOPS] = { OPS(X) };
#undef X
#define X(code, text, arguments) arguments,
const int op_args[NOPS] = { OPS(X) };
#undef X

/* Each number that an actor has, by the namespace that knows it: the id of that namespace's init. */
static struct { int ns, pid, id; } names[4 * NACTOR];
static int nnames;

void name_reset(void)
{
	nnames = 0;
}

void name_set(int ns, int pid, int id)
{
	if (nnames < 4 * NACTOR) {
		names[nnames].ns = ns;
		names[nnames].pid = pid;
		names[nnames++].id = id;
	}
}

static int find_in(int ns, long pid)
{
	for (int i = nnames - 1; i >= 0; i--)
		if (names[i].ns == ns && names[i].pid == pid)
			return names[i].id;
	return -1;
}

int name_find(int pid)
{
	return find_in(INIT, pid);
}

int name_number(int ns, int id)
{
	for (int i = nnames - 1; i >= 0; i--)
		if (names[i].ns == ns && names[i].id == id)
			return names[i].pid;
	return NOBODY;
}

const char *name_in(int ns, long pid)
{
	static char ring[8][16];
	static int at;
	char *buf = ring[at++ % 8];
	int id = pid == 1 && ns == INIT ? INIT : find_in(ns, pid);
	if (pid == 0)
		return "0";
	if (id == INIT)
		return "init";
	if (id < 0)
		return "?";
	snprintf(buf, sizeof ring[0], "p%d", id);
	return buf;
}

const char *name_of(long pid)
{
	return name_in(INIT, pid);
}

static int put_ref(char *buf, size_t n, struct ref r)
{
	if (r.kind == NUMBER)
		return snprintf(buf, n, r.n > 255 || r.n < -255 ? " %#lx" : " %ld", r.n);
	if (r.n == INIT)
		return snprintf(buf, n, r.kind == PID ? " init" : " -init");
	return snprintf(buf, n, r.kind == PID ? " p%ld" : " -p%ld", r.n);
}

void op_text(const struct op *op, char *buf, size_t n)
{
	size_t at = op->actor == INIT ? snprintf(buf, n, "init %s", op_name[op->code])
				      : snprintf(buf, n, "p%d %s", op->actor, op_name[op->code]);
	for (int i = 0; i < op_args[op->code] && at < n; i++)
		at += put_ref(buf + at, n - at, op->arg[i]);
}

static bool parse_ref(const char *word, struct ref *r)
{
	bool minus = word[0] == '-';
	const char *name = word + minus;
	if (!strcmp(name, "init"))
		return *r = (struct ref){ minus ? GROUP : PID, INIT }, true;
	char *end;
	if (*name == 'p') {
		*r = (struct ref){ minus ? GROUP : PID, strtol(name + 1, &end, 10) };
		return end > name + 1 && !*end && r->n > 0 && r->n < NACTOR;
	}
	*r = (struct ref){ NUMBER, strtoul(name, &end, 0) };
	if (minus)
		r->n = -r->n;
	return end > name && !*end;
}

bool op_parse(const char *line, struct op *op)
{
	char copy[256], *save = NULL;
	snprintf(copy, sizeof copy, "%s", line);
	char *word = strtok_r(copy, " \n", &save);
	struct ref who;
	if (!word || !parse_ref(word, &who) || who.kind != PID || !(word = strtok_r(NULL, " \n", &save)))
		return false;
	*op = (struct op){ .actor = who.n, .code = NOPS };
	for (int i = 0; i < NOPS; i++)
		if (!strcmp(op_name[i], word))
			op->code = i;
	if (op->code == NOPS)
		return false;
	for (int i = 0; i < op_args[op->code]; i++)
		if (!(word = strtok_r(NULL, " \n", &save)) || !parse_ref(word, &op->arg[i]))
			return false;
	return true;
}
