/*
 * reaper.h - reaper control, which Linux does not have: docs/reaper.md is its manual.
 */
#ifndef REAPER_H
#define REAPER_H

#include <stdint.h>

/* options of prctl(2) */
#define PR_REAP_STATUS		0x466f7301	/* pid, struct reap_status *, size: size known to the kernel */
#define PR_REAP_GETPIDS		0x466f7302	/* pid, struct reap_pid [], capacity: number of descendants */
#define PR_REAP_KILL		0x466f7303	/* pid, struct reap_kill * */
#define PR_REAP_RELEASE		0x466f7304	/* number of children handed over */
#define PR_REAP_SET_AUTOREAP	0x466f7305	/* REAP_AUTOREAP_... */
#define PR_REAP_GET_AUTOREAP	0x466f7306

/* options of wait4(2) and waitid(2) */
#define __WOWN			0x04000000	/* only children that the process made */
#define __WADOPTED		0x08000000	/* only children that the process adopted */

struct reap_status {
	uint64_t id;		/* identity: never given to another process */
	uint32_t flags;
	uint32_t pid;
	uint32_t reaper;	/* who adopts orphans below: the process itself if it is a reaper */
	uint32_t above;		/* who would adopt its children if it died; 0: nobody, or out of sight */
	uint32_t children;
	uint32_t adopted;	/* of the children */
	uint32_t zombies;	/* of the children */
	uint32_t descendants;
	uint32_t dead;		/* of the descendants: zombies */
	uint32_t reapers;	/* of the descendants */
	uint32_t autoreap;
	uint32_t reserved;
};
#define REAP_IS_SUBREAPER	1
#define REAP_IS_INIT		2
#define REAP_IS_ADOPTED		4
#define REAP_IS_ZOMBIE		8

struct reap_pid {
	uint64_t id;
	uint32_t pid;
	uint32_t parent;
	uint32_t subtree;	/* the child of the process asked about that it comes from */
	uint32_t flags;
};
#define REAP_CHILD		1
#define REAP_ADOPTED		2
#define REAP_REAPER		4
#define REAP_ZOMBIE		8
#define REAP_EXITING		16
#define REAP_STOPPED		32

struct reap_kill {
	int32_t signal;
	uint32_t flags;		/* 0: all descendants */
	uint32_t subtree;	/* with REAP_KILL_SUBTREE */
	uint32_t killed;	/* out: how many were signalled */
	uint32_t failed;	/* out: the first that could not be, or 0 */
	uint32_t reserved;
};
#define REAP_KILL_CHILDREN	1
#define REAP_KILL_SUBTREE	2

#define REAP_AUTOREAP_OFF	0
#define REAP_AUTOREAP_QUIET	1	/* adopted children that die vanish */
#define REAP_AUTOREAP_SIGNAL	2	/* and SIGCHLD is sent */

#endif
