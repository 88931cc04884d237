/* hold.h - an agent that execs this program again, which tells that it runs, and stays until the pipe is closed. */
#ifndef HOLD_H
#define HOLD_H

#include "tap.h"

/* `up` carries the word of the new image, the end of `down` ends it.  The case makes both,
 * or fork_hold(). */
static int up[2], down[2];

HELPER(hold)
{
	char c = 'x';
	if (write(atoi(argv[1]), &c, 1) != 1)
		return 1;
	while (read(atoi(argv[2]), &c, 1) > 0)
		;
	return 0;
}

static inline long exec_hold(long x)
{
	char a[16], b[16];
	(void)x;
	close(down[1]);
	snprintf(a, sizeof a, "%d", up[1]);
	snprintf(b, sizeof b, "%d", down[0]);
	exec_self("hold", a, b, NULL);
	return -1;
}

/* A child that calls `first` and then execs this program, which runs when this returns. */
static inline pid_t fork_hold(long (*first)(long), long x)
{
	char c;
	MUST(pipe(up));
	MUST(pipe(down));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		first(x);
		exec_hold(0);
		_exit(1);
	}
	close(up[1]);
	REQUIRE(read(up[0], &c, 1) == 1);
	return pid;
}

#endif
