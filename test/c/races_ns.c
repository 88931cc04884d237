/* races_ns.c - section 13: races between the death of a pid namespace and whatever happens in it. */
#include "lib/tap.h"



/* Jitter: a delay that differs between iterations. */
static void jitter(unsigned n)
{
	for (volatile unsigned i = 0; i < n % 97 * 23; i++)
		;
}

CASE_T(injected_fork_against_death, 120)
{
	/* 13.18: the child of a process that has entered is killed, or its fork fails with ENOMEM; init's exit completes */
	int n = iterations(300), wrong = 0, refused = 0;
	for (int k = 0; k < n; k++) {
		sh->nagents = 0;
		memset(sh->agent, 0, 2 * sizeof *sh->agent);
		struct agent *i = new_ns(NULL), *x = spawn(NULL);
		REQUIRE(call(x, ag_enter_ns, i->pid) == 0);
		if (k & 1) {
			quit(i, 3);
			jitter(k);
			post(x, ag_try_clone, SIGCHLD);
		} else {
			post(x, ag_try_clone, SIGCHLD);
			REQUIRE(AWAIT(x->started));
			jitter(k);
			quit(i, 3);
		}
		long r = finish(x);
		wrong += r != 0 && r != -ENOMEM;
		refused += r == -ENOMEM;
		wrong += reap(i->pid) != 3 << 8;
		retire(x, NULL);
	}
	tap_note("%d forks, %d refused", n, refused);
	CHECK_EQ(wrong, 0, "[13.18] fork into a namespace against its init's death: the child dies or ENOMEM, and init's exit completes");
}

CASE_T(init_exit_against_forks, 120)
{
	/* 13.3 */
	int n = iterations(300), wrong = 0;
	for (int k = 0; k < n; k++) {
		int p[2];
		char b;
		MUST(pipe(p));
		sh->v[0] = 0;
		pid_t i = MUST(raw_clone(NS));
		if (i == 0) {
			for (int m = 0; m < 3; m++)
				if (raw_clone(SIGCHLD) == 0)
					for (;;) {
						long c = raw_clone(SIGCHLD);
						if (c == 0)
							syscall(SYS_exit_group, 0);
						if (c < 0 && errno != ENOMEM)
							sh->v[0]++;
						if (c > 0)
							syscall(SYS_wait4, c, NULL, 0, NULL);
					}
			for (volatile int d = 0; d < k % 31 * 300; d++)
				;
			syscall(SYS_exit_group, 6);
		}
		close(p[1]);
		wrong += reap(i) != 6 << 8;
		fcntl(p[0], F_SETFL, O_NONBLOCK);
		wrong += read(p[0], &b, 1) != 0;	/* no member holds the pipe */
		wrong += sh->v[0] != 0;
		close(p[0]);
	}
	CHECK_EQ(wrong, 0, "[13.3,9.6,9.7,I5] init exits while members fork: its status is right, none survives, forks fail with ENOMEM");
}

CASE_T(nested_forks_against_kill, 120)
{
	/* as 13.3, with members that make threads, namespaces below and orphans, and an init that is killed from outside */
	int n = iterations(300), wrong = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int k = 0; k < n; k++) {
		int p[2];
		char b;
		MUST(pipe(p));
		pid_t i = MUST(raw_clone(NS));
		if (i == 0) {
			if (raw_clone(SIGCHLD) == 0)
				for (;;) {
					/* an init below that dies at once or is left behind, with a child of its own */
					long c = raw_clone(NS);
					if (c == 0) {
						if (raw_clone(SIGCHLD) == 0)
							for (;;)
								syscall(SYS_pause);
						syscall(SYS_exit_group, 0);
					}
					if (c > 0 && k & 1)
						syscall(SYS_wait4, c, NULL, 0, NULL);
				}
			if (raw_clone(SIGCHLD) == 0)
				for (;;) {
					long c = raw_clone(SIGCHLD);
					if (c == 0) {
						/* an orphan for the init */
						if (raw_clone(SIGCHLD) == 0)
							syscall(SYS_exit_group, 0);
						syscall(SYS_exit_group, 0);
					}
					if (c > 0)
						syscall(SYS_wait4, c, NULL, 0, NULL);
				}
			for (;;)
				syscall(SYS_wait4, -1, NULL, __WALL, NULL);
		}
		close(p[1]);
		jitter(k * 7);
		kill(i, SIGKILL);
		wrong += reap(i) != SIGKILL;
		fcntl(p[0], F_SETFL, O_NONBLOCK);
		wrong += read(p[0], &b, 1) != 0;
		close(p[0]);
	}
	CHECK_EQ(wrong, 0, "[13.3,9.6,9.7] an init is killed while members fork, nest and leave orphans: none survives");
	CHECK_ERR(waitpid(-1, NULL, WNOHANG), ECHILD, "[2.4,9.6] and none of them comes to a subreaper outside");
}

CASE_T(entering_against_release, 120)
{
	/* setns by a path that goes away, and the last reference of all kinds dropped at once */
	int n = iterations(300), wrong = 0;
	for (int k = 0; k < n; k++) {
		pid_t i = MUST(raw_clone(NS));
		if (i == 0) {
			jitter(k);
			syscall(SYS_exit_group, 0);
		}
		pid_t x = MUST(raw_clone(SIGCHLD));
		if (x == 0) {
			long r = 0;
			if (ag_enter_ns(i) == 0)
				r = ag_try_clone(SIGCHLD);
			/* ESRCH and the like do not come here: it was entered, or it was not */
			syscall(SYS_exit_group, r == 0 || r == -ENOMEM ? 0 : 1);
		}
		jitter(k * 5);
		wrong += reap(i) != 0;
		wrong += reap(x) != 0;
	}
	CHECK_EQ(wrong, 0, "[13.18,9.10,9.15] setns and fork against the end of a namespace");
}
