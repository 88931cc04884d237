/*
 * classic.c - the demonstration: a subreaper, a child that dies, a grandchild that is adopted.
 *
 *	grandparent (subreaper) ---- child ---- grandchild
 *
 * The child exits; the grandchild, an orphan, is adopted by the grandparent and not by init; the grandparent
 * waits for both and has no child left.  Then the same without the flag, for comparison: the orphan goes past
 * the grandparent.  Each step is told in a sentence, and each claim is an assertion.
 */
#include "lib/tap.h"

#include <stdarg.h>

__attribute__((format(printf, 1, 2))) static void tell(const char *fmt, ...)
{
	char buf[256];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(buf, sizeof buf, fmt, ap);
	va_end(ap);
	tap_note("    %s", buf);
}

static void story(bool with_flag)
{
	pid_t self = getpid(), above = getppid();
	int flag = -1, st = -1;

	tap_note(" ");
	tap_note("%s", with_flag ? "A subreaper adopts its grandchild" : "The same without the flag");
	tell("I am process %d, my parent is %d.", self, above);
	CHECK_OK(prctl(PR_SET_CHILD_SUBREAPER, with_flag, 0, 0, 0), "[1.3] PR_SET_CHILD_SUBREAPER");
	CHECK_OK(prctl(PR_GET_CHILD_SUBREAPER, &flag, 0, 0, 0), "[1.4] PR_GET_CHILD_SUBREAPER");
	CHECK_EQ(flag, with_flag, "[1.3,1.4] the flag is as it was set");
	tell("PR_GET_CHILD_SUBREAPER says %d.", flag);

	struct agent *child = spawn(NULL), *grandchild = spawn(child);
	tell("I have a child, %d; it has a child, %d, my grandchild.", child->pid, grandchild->pid);
	tell("    %d --- %d --- %d", self, child->pid, grandchild->pid);
	CHECK_EQ(call(child, ag_getppid, 0), self, "[2.18] the child's parent is the grandparent");
	CHECK_EQ(call(grandchild, ag_getppid, 0), child->pid, "[2.18] the grandchild's parent is the child");
	CHECK_EQ(call(child, ag_get_subreaper, 0), 0, "[1.7] the child has not inherited the flag");
	CHECK_ERR(waitpid(grandchild->pid, &st, WNOHANG), ECHILD, "[4.6] a grandchild cannot be waited for");
	CHECK_EQ(waitpid(-1, &st, WNOHANG), 0, "[4.6] nobody has died yet");

	quit(child, 42);
	CHECK_EQ(waitpid(-1, &st, 0), child->pid, "[4.2] wait returns the child");
	CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 42, "[3.1] with its exit code");
	tell("The child %d exits with code %d. Its child %d is an orphan.", child->pid, WEXITSTATUS(st), grandchild->pid);

	pid_t now = call(grandchild, ag_getppid, 0);
	if (with_flag) {
		CHECK_EQ(now, self, "[2.1] the orphan's parent is the subreaper");
		tell("The orphan asks for its parent: %d. That is me.", now);
		tell("    %d --- %d", self, grandchild->pid);
		CHECK_EQ(waitpid(-1, &st, WNOHANG), 0, "[2.1] it is a child like any other, alive");
		quit(grandchild, 7);
		CHECK_EQ(waitpid(-1, &st, 0), grandchild->pid, "[2.10] wait returns the adopted grandchild");
		CHECK(WIFEXITED(st) && WEXITSTATUS(st) == 7, "[2.10,3.1] with its exit code");
		tell("The orphan exits with code %d, and I have reaped it.", WEXITSTATUS(st));
	} else {
		CHECK_EQ(now, above, "[1.11,2.1] without the flag the orphan goes to the next reaper above");
		tell("The orphan asks for its parent: %d. That is the next reaper above me.", now);
		CHECK_ERR(waitpid(grandchild->pid, &st, WNOHANG), ECHILD, "[1.11] and is no child of the grandparent");
		quit(grandchild, 7);
	}
	CHECK_ERR(waitpid(-1, &st, 0), ECHILD, "[4.6] at the end there is no child left: ECHILD");
	tell("wait() says: no child left.");
	tap_note(" ");
}

CASE(subreaper) { story(true); }
CASE(no_subreaper) { story(false); }
