/* posix_timers.c - timer_create and its relatives. */
#include "lib/tap.h"

CASE(one_shot)
{
	timer_t t;
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77 };
	struct itimerspec its = { { 0, 0 }, { 0, 10000000 } }, old;
	siglog_catch(SIGUSR1, 0);
	int r = timer_create(CLOCK_MONOTONIC, &ev, &t);
	CHECK(r == 0, "[time] timer_create");
	if (r)
		return;
	CHECK_OK(timer_settime(t, 0, &its, NULL), "[time] timer_settime");
	CHECK(AWAIT(siglog_count(0, SIGUSR1) == 1), "[time] its signal comes");
	struct sigrec *s = siglog_get(0, SIGUSR1, 0);
	CHECK(s && s->code == SI_TIMER, "[time] with SI_TIMER");
	CHECK(timer_gettime(t, &old) == 0 && old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0, "[time] and it is off");
	CHECK_OK(timer_delete(t), "[time] timer_delete");
	CHECK_ERR(syscall(SYS_timer_delete, 12345), EINVAL, "[time] of none: EINVAL");
}
