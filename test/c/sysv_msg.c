/* sysv_msg.c - System V message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2). */
#include "lib/tap.h"

#include <sys/ipc.h>
#include <sys/msg.h>

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13
#endif
#ifndef MSG_COPY
#define MSG_COPY 040000
#endif

/* The queue of the case, for its agents too. */
#define id (sh->w[60])

struct message {
	long type;
	char text[16384];
};

static int new_queue(void)
{
	return id = MUST(msgget(IPC_PRIVATE, IPC_CREAT | 0600));
}

static void remove_queue(void)
{
	msgctl(id, IPC_RMID, NULL);
}

static struct msqid_ds stat_of(int queue)
{
	struct msqid_ds ds;
	memset(&ds, 0xff, sizeof ds);
	if (msgctl(queue, IPC_STAT, &ds))
		ds.msg_qnum = -1;
	return ds;
}

/* A message of `n` bytes that begins with a number: 0 or -errno. */
static long put(long type, int number, size_t n, int flags)
{
	static struct message m;
	m.type = type;
	memset(m.text, 'x', n);
	if (n >= sizeof number)
		memcpy(m.text, &number, sizeof number);
	return msgsnd(id, &m, n, flags) ? -errno : 0;
}

static long last_type, last_length;

/* The number in the message, or -errno. */
static long take(long type, size_t n, int flags)
{
	static struct message m;
	int number = 0;
	m.type = 0;
	last_length = msgrcv(id, &m, n, type, flags);
	if (last_length < 0)
		return -errno;
	last_type = m.type;
	memcpy(&number, m.text, sizeof number);
	return number;
}

/* Agents' work.  The argument has a type, a number and a length. */
static long do_put(long x)
{
	return put(x >> 40, x >> 20 & 0xfffff, x & 0xfffff, 0);
}

static long do_take(long type)
{
	long r = take(type, 64, 0);
	me->out[0] = last_type;
	return r;
}

static long do_take_short(long type)
{
	return take(type, 4, 0);
}

static long message(long type, long number, long len)
{
	return type << 40 | number << 20 | len;
}

CASE(get)
{
	key_t key = 0x46580000 + getpid();
	CHECK_ERR(msgget(key, 0600), ENOENT, "[ipc] msgget: no queue of the key: ENOENT");
	id = msgget(key, IPC_CREAT | 0640);
	CHECK(id >= 0, "[ipc] msgget: a new one");
	if (id < 0)
		return;
	CHECK_EQ(msgget(key, 0), id, "[ipc] msgget: found by its key");
	CHECK_EQ(msgget(key, IPC_CREAT | 0600), id, "[ipc] msgget: IPC_CREAT finds it");
	CHECK_ERR(msgget(key, IPC_CREAT | IPC_EXCL | 0600), EEXIST, "[ipc] msgget: IPC_EXCL: EEXIST");
	struct msqid_ds ds = stat_of(id);
	CHECK(ds.msg_perm.__key == key && ds.msg_perm.mode == 0640 && ds.msg_qbytes == 16384, "[ipc] msgctl: key, mode, size");
	CHECK(ds.msg_qnum == 0 && ds.__msg_cbytes == 0 && ds.msg_stime == 0 && ds.msg_rtime == 0 && ds.msg_lspid == 0 && ds.msg_lrpid == 0,
	      "[ipc] msgctl: empty, never used");
	CHECK(ds.msg_perm.uid == geteuid() && ds.msg_perm.cuid == geteuid() && ds.msg_perm.gid == getegid(), "[ipc] msgctl: owner");
	CHECK(llabs((long long)ds.msg_ctime - time(NULL)) <= 2, "[ipc] msgctl: time of the last change");
	ds.msg_perm.mode = 0600;
	ds.msg_perm.uid = geteuid() + 1;
	ds.msg_qbytes = 100;
	CHECK_OK(msgctl(id, IPC_SET, &ds), "[ipc] msgctl: IPC_SET");
	ds = stat_of(id);
	CHECK(ds.msg_perm.mode == 0600 && ds.msg_perm.uid == geteuid() + 1 && ds.msg_perm.cuid == geteuid() && ds.msg_qbytes == 100,
	      "[ipc] msgctl: changes mode, owner and size");
	CHECK_OK(msgctl(id, IPC_RMID, NULL), "[ipc] msgctl: IPC_RMID");
	CHECK_ERR(msgctl(id, IPC_STAT, &ds), EINVAL, "[ipc] msgctl: a queue that was removed: EINVAL");
	CHECK_ERR(msgget(key, 0), ENOENT, "[ipc] msgget: its key is free");
	int old = id;
	new_queue();
	CHECK(id != old, "[ipc] msgget: an id is not used again at once");
	remove_queue();
}

CASE(bad_input)
{
	struct message m = { .type = 1 };
	struct msqid_ds ds;
	new_queue();
	CHECK_ERR(msgsnd(id, &m, 8193, 0), EINVAL, "[ipc] msgsnd: longer than MSGMAX: EINVAL");
	CHECK_ERR(msgsnd(id, &m, -1, 0), EINVAL, "[ipc] msgsnd: a negative length: EINVAL");
	CHECK_ERR(msgsnd(-1, &m, 1, 0), EINVAL, "[ipc] msgsnd: bad id: EINVAL");
	CHECK_ERR(msgsnd(0x7fff0123, &m, 1, 0), EINVAL, "[ipc] msgsnd: no such queue: EINVAL");
	CHECK_ERR(msgsnd(id, BADPTR, 1, 0), EFAULT, "[ipc] msgsnd: from nowhere: EFAULT");
	char *edge = map_edge();
	*(long *)(edge - 8) = 1;
	CHECK_ERR(msgsnd(id, edge - 8, 1, 0), EFAULT, "[ipc] msgsnd: a text that is not there: EFAULT");
	CHECK_OK(msgsnd(id, edge - 8, 0, 0), "[ipc] msgsnd: none is needed");
	CHECK_EQ(msgrcv(id, edge - 8, 0, 0, 0), 0, "[ipc] msgrcv: nor to receive it");
	m.type = 0;
	CHECK_ERR(msgsnd(id, &m, 1, 0), EINVAL, "[ipc] msgsnd: type 0: EINVAL");
	m.type = -1;
	CHECK_ERR(msgsnd(id, &m, 1, 0), EINVAL, "[ipc] msgsnd: a negative type: EINVAL");
	CHECK_ERR(msgrcv(id, &m, 1, 0, IPC_NOWAIT), ENOMSG, "[ipc] msgrcv: none there: ENOMSG");
	CHECK_ERR(msgrcv(id, &m, -1, 0, IPC_NOWAIT), EINVAL, "[ipc] msgrcv: a negative length: EINVAL");
	CHECK_ERR(msgrcv(-1, &m, 1, 0, 0), EINVAL, "[ipc] msgrcv: bad id: EINVAL");
	CHECK_ERR(msgrcv(0x7fff0123, &m, 1, 0, 0), EINVAL, "[ipc] msgrcv: no such queue: EINVAL");
	put(1, 7, 8, 0);
	CHECK_ERR(msgrcv(id, BADPTR, 8, 0, 0), EFAULT, "[ipc] msgrcv: to nowhere: EFAULT");
	CHECK_EQ(stat_of(id).msg_qnum, 0, "[ipc] msgrcv: the message is lost");
	CHECK_ERR(msgctl(id, 99, &ds), EINVAL, "[ipc] msgctl: unknown command: EINVAL");
	CHECK_ERR(msgctl(id, -1, &ds), EINVAL, "[ipc] msgctl: negative command: EINVAL");
	CHECK_ERR(msgctl(-1, IPC_INFO, &ds), EINVAL, "[ipc] msgctl: bad id: EINVAL");
	CHECK_ERR(msgctl(id, IPC_STAT, BADPTR), EFAULT, "[ipc] msgctl: IPC_STAT to nowhere: EFAULT");
	CHECK_ERR(msgctl(id, IPC_SET, BADPTR), EFAULT, "[ipc] msgctl: IPC_SET from nowhere: EFAULT");
	CHECK_ERR(msgctl(0, MSG_INFO, BADPTR), EFAULT, "[ipc] msgctl: MSG_INFO to nowhere: EFAULT");
	remove_queue();
}

CASE(types)
{
	new_queue();
	put(5, 1, 8, 0);
	put(3, 2, 8, 0);
	put(4, 3, 8, 0);
	put(3, 4, 8, 0);
	put(9, 5, 8, 0);
	struct msqid_ds ds = stat_of(id);
	CHECK(ds.msg_qnum == 5 && ds.__msg_cbytes == 40 && ds.msg_lspid == getpid() && llabs((long long)ds.msg_stime - time(NULL)) <= 2,
	      "[ipc] msgctl: messages, bytes, who sent and when");
	CHECK_EQ(take(7, 64, IPC_NOWAIT), -ENOMSG, "[ipc] msgrcv: none of the type: ENOMSG");
	CHECK_EQ(take(-2, 64, IPC_NOWAIT), -ENOMSG, "[ipc] msgrcv: none of so low a type: ENOMSG");
	CHECK(take(4, 64, 0) == 3 && last_type == 4 && last_length == 8, "[ipc] msgrcv: by type");
	CHECK(take(-4, 64, 0) == 2 && last_type == 3, "[ipc] msgrcv: the lowest type up to one, the oldest of it");
	CHECK(take(-5, 64, 0) == 4 && last_type == 3, "[ipc] msgrcv: lower ones before older ones");
	CHECK(take(5, 64, MSG_EXCEPT) == 5 && last_type == 9, "[ipc] msgrcv: MSG_EXCEPT: any other");
	CHECK_EQ(take(5, 64, MSG_EXCEPT | IPC_NOWAIT), -ENOMSG, "[ipc] msgrcv: MSG_EXCEPT: none: ENOMSG");
	CHECK(take(LONG_MIN, 64, 0) == 1 && last_type == 5, "[ipc] msgrcv: up to the highest of all");
	put(8, 6, 8, 0);
	put(2, 7, 8, 0);
	CHECK(take(0, 64, 0) == 6 && take(0, 64, 0) == 7, "[ipc] msgrcv: type 0: the oldest");
	ds = stat_of(id);
	CHECK(ds.msg_qnum == 0 && ds.__msg_cbytes == 0 && ds.msg_lrpid == getpid() && llabs((long long)ds.msg_rtime - time(NULL)) <= 2,
	      "[ipc] msgctl: empty, who received and when");
	put(1, 8, 64, 0);
	CHECK_EQ(take(0, 63, 0), -E2BIG, "[ipc] msgrcv: too long: E2BIG");
	CHECK_EQ(stat_of(id).msg_qnum, 1, "[ipc] msgrcv: it stays");
	CHECK(take(0, 10, MSG_NOERROR) == 8 && last_length == 10, "[ipc] msgrcv: MSG_NOERROR cuts it");
	CHECK_EQ(stat_of(id).msg_qnum, 0, "[ipc] msgrcv: the rest is lost");
	remove_queue();
}

CASE(copy)
{
	struct message m;
	new_queue();
	CHECK_EQ(take(0, 64, MSG_COPY), -EINVAL, "[ipc] msgrcv: MSG_COPY without IPC_NOWAIT: EINVAL");
	CHECK_EQ(take(0, 64, MSG_COPY | MSG_EXCEPT | IPC_NOWAIT), -EINVAL, "[ipc] msgrcv: MSG_COPY with MSG_EXCEPT: EINVAL");
	if (msgrcv(id, &m, 64, 0, MSG_COPY | IPC_NOWAIT) == -1 && errno == ENOSYS) {
		tap_skip("[ipc] msgrcv: MSG_COPY", "not built in");
		remove_queue();
		return;
	}
	put(5, 1, 8, 0);
	put(3, 2, 20, 0);
	CHECK(take(1, 64, MSG_COPY | IPC_NOWAIT) == 2 && last_type == 3 && last_length == 20, "[ipc] msgrcv: MSG_COPY: by place");
	CHECK_EQ(take(2, 64, MSG_COPY | IPC_NOWAIT), -ENOMSG, "[ipc] msgrcv: MSG_COPY: none there: ENOMSG");
	CHECK_EQ(take(-1, 64, MSG_COPY | IPC_NOWAIT), -ENOMSG, "[ipc] msgrcv: MSG_COPY: a negative place: ENOMSG");
	CHECK_EQ(take(1, 19, MSG_COPY | IPC_NOWAIT), -E2BIG, "[ipc] msgrcv: MSG_COPY: too long: E2BIG");
	CHECK_EQ(take(1, 19, MSG_COPY | MSG_NOERROR | IPC_NOWAIT), -EINVAL, "[ipc] msgrcv: MSG_COPY does not cut: EINVAL");
	CHECK(stat_of(id).msg_qnum == 2 && stat_of(id).msg_lrpid == 0, "[ipc] msgrcv: MSG_COPY takes nothing");
	remove_queue();
}

CASE(room)
{
	new_queue();
	struct msqid_ds ds = stat_of(id);
	ds.msg_qbytes = 100;
	MUST(msgctl(id, IPC_SET, &ds));
	CHECK_EQ(put(1, 1, 60, IPC_NOWAIT), 0, "[ipc] msgsnd: within the size of the queue");
	CHECK_EQ(put(1, 2, 41, IPC_NOWAIT), -EAGAIN, "[ipc] msgsnd: beyond it: EAGAIN");
	CHECK_EQ(put(1, 3, 40, IPC_NOWAIT), 0, "[ipc] msgsnd: exactly");
	CHECK_EQ(put(1, 4, 0, IPC_NOWAIT), 0, "[ipc] msgsnd: an empty message takes no room");
	for (int i = 0; i < 97; i++)
		put(1, 5, 0, IPC_NOWAIT);
	CHECK_EQ(stat_of(id).msg_qnum, 100, "[ipc] msgsnd: as many messages as bytes");
	CHECK_EQ(put(1, 6, 0, IPC_NOWAIT), -EAGAIN, "[ipc] msgsnd: and no more: EAGAIN");
	remove_queue();

	/* Which of those who wait comes first is Linux's secret; that all come is not. */
	new_queue();
	MUST(msgctl(id, IPC_SET, &ds));
	put(1, 0, 100, 0);
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(NULL);
	post(a, do_put, message(2, 11, 50));
	REQUIRE(await_blocked_in(a));
	post(b, do_put, message(2, 12, 50));
	REQUIRE(await_blocked_in(b));
	post(c, do_put, message(2, 13, 10));
	REQUIRE(await_blocked_in(c));
	CHECK_EQ(stat_of(id).msg_qnum, 1, "[ipc] msgsnd: three wait for room");
	CHECK_EQ(take(1, 100, 0), 0, "[ipc] msgrcv: which is made");
	CHECK(AWAIT(stat_of(id).msg_qnum == 2), "[ipc] msgsnd: for two of them");
	pid_t last = stat_of(id).msg_lspid;
	CHECK(last == a->pid || last == b->pid || last == c->pid, "[ipc] msgctl: msg_lspid: one of them");
	CHECK_EQ(put(3, 0, 51, IPC_NOWAIT), -EAGAIN, "[ipc] msgsnd: there is none for others: EAGAIN");
	CHECK_EQ(take(2, 100, 0) + take(2, 100, 0) + take(2, 100, 0), 11 + 12 + 13, "[ipc] msgrcv: all three come");
	CHECK(finish(a) == 0 && finish(b) == 0 && finish(c) == 0, "[ipc] msgsnd: and nobody waits any more");

	put(1, 0, 95, 0);
	post(a, do_put, message(2, 21, 50));
	REQUIRE(await_blocked_in(a));
	post(b, do_put, message(2, 22, 10));
	REQUIRE(await_blocked_in(b));
	ds.msg_qbytes = 110;
	MUST(msgctl(id, IPC_SET, &ds));
	CHECK(finish(b) == 0 && !answered(a), "[ipc] msgctl: IPC_SET makes room for one that is short enough");
	ds.msg_qbytes = 200;
	MUST(msgctl(id, IPC_SET, &ds));
	CHECK_EQ(finish(a), 0, "[ipc] msgctl: and for the other");
	remove_queue();
	retire(a, NULL);
	retire(b, NULL);
	retire(c, NULL);
}

CASE(waiting)
{
	new_queue();
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(NULL);
	post(a, do_take, 0);
	REQUIRE(await_blocked_in(a));
	post(b, do_take, 7);
	REQUIRE(await_blocked_in(b));
	post(c, do_take, 0);
	REQUIRE(await_blocked_in(c));
	put(7, 1, 8, 0);
	CHECK(finish(a) == 1 && a->out[0] == 7, "[ipc] msgrcv: a message goes to who has waited longest");
	CHECK(!answered(b) && !answered(c), "[ipc] msgrcv: and to nobody else");
	CHECK_EQ(stat_of(id).msg_lrpid, a->pid, "[ipc] msgctl: msg_lrpid: who waited");
	put(8, 2, 8, 0);
	CHECK_EQ(finish(c), 2, "[ipc] msgrcv: one that others don't want goes past them");
	CHECK(!answered(b), "[ipc] msgrcv: who waits for a type waits on");
	put(7, 3, 8, 0);
	CHECK_EQ(finish(b), 3, "[ipc] msgrcv: until it comes");

	post(a, do_take_short, 0);
	REQUIRE(await_blocked_in(a));
	post(b, do_take, 0);
	REQUIRE(await_blocked_in(b));
	put(1, 4, 8, 0);
	CHECK_EQ(finish(a), -E2BIG, "[ipc] msgrcv: too long for the first who waits: E2BIG");
	CHECK_EQ(finish(b), 4, "[ipc] msgrcv: the next gets it");

	post(a, do_take, 0);
	post(b, do_take, -5);
	REQUIRE(await_blocked_in(a) && await_blocked_in(b));
	remove_queue();
	CHECK(finish(a) == -EIDRM && finish(b) == -EIDRM, "[ipc] msgrcv: the queue is removed: EIDRM");
	new_queue();
	while (put(1, 0, 8192, IPC_NOWAIT) == 0)
		;
	post(a, do_put, message(1, 1, 10));
	post(b, do_put, message(2, 1, 10));
	REQUIRE(await_blocked_in(a) && await_blocked_in(b));
	remove_queue();
	CHECK(finish(a) == -EIDRM && finish(b) == -EIDRM, "[ipc] msgsnd: the queue is removed: EIDRM");
	retire(a, NULL);
	retire(b, NULL);
	retire(c, NULL);
}

CASE(signals)
{
	new_queue();
	struct agent *a = spawn(NULL);
	call(a, ag_catch_plain, SIGUSR1);
	call(a, ag_catch, SIGUSR2);
	struct {
		long (*fn)(long);
		long x;
		const char *stop, *plain, *restart, *left;
	} t[] = {
		{ do_take, 5, "[7.23] msgrcv goes on after a stop and a continue without a handler", "[7.37] msgrcv: EINTR",
		  "[7.37] msgrcv is never restarted, even with SA_RESTART", "[7.37] and takes nothing any more" },
		{ do_put, message(6, 1, 8000), "[7.23] msgsnd goes on after a stop and a continue without a handler", "[7.37] msgsnd: EINTR",
		  "[7.37] msgsnd is never restarted, even with SA_RESTART", "[7.37] and sends nothing any more" },
	};
	for (int i = 0; i < 2; i++) {
		if (i)
			while (put(1, 0, 8000, IPC_NOWAIT) == 0)
				;
		post(a, t[i].fn, t[i].x);
		REQUIRE(await_blocked_in(a));
		REQUIRE(stop_and_continue(a->pid));
		CHECK(!answered(a), t[i].stop);
		kill(a->pid, SIGUSR1);
		CHECK_EQ(finish(a), -EINTR, t[i].plain);
		post(a, t[i].fn, t[i].x);
		REQUIRE(await_blocked_in(a));
		kill(a->pid, SIGUSR2);
		CHECK_EQ(finish(a), -EINTR, t[i].restart);
		if (i) {
			while (take(1, 8192, IPC_NOWAIT) >= 0)
				;
			CHECK_EQ(stat_of(id).msg_qnum, 0, t[i].left);
		} else {
			put(5, 1, 8, 0);
			CHECK_EQ(take(5, 8, IPC_NOWAIT), 1, t[i].left);
		}
	}
	post(a, do_take, 5);
	REQUIRE(await_blocked_in(a));
	kill(a->pid, SIGKILL);
	reap(a->pid);
	put(5, 2, 8, 0);
	CHECK_EQ(take(5, 8, IPC_NOWAIT), 2, "[ipc] msgrcv: one that was killed takes nothing");
	remove_queue();
}

static long do_find(long key)
{
	return msgget(key, 0600) < 0 ? -errno : 0;
}

static long do_stat(long x)
{
	struct msqid_ds ds;
	(void)x;
	return msgctl(id, IPC_STAT, &ds) ? -errno : 0;
}

static long do_remove(long x)
{
	(void)x;
	return msgctl(id, IPC_RMID, NULL) ? -errno : 0;
}

static long do_grow(long bytes)
{
	struct msqid_ds ds = stat_of(id);
	ds.msg_qbytes = bytes;
	return msgctl(id, IPC_SET, &ds) ? -errno : 0;
}

CASE(permissions)
{
	NEED_ROOT("[ipc] msgctl: permissions");
	key_t key = 0x46590000 + getpid();
	id = MUST(msgget(key, IPC_CREAT | 0604));
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	call(a, ag_drop, 12345);
	call(b, ag_drop, 12345);
	CHECK_EQ(call(a, do_put, message(1, 1, 8)), -EACCES, "[ipc] msgsnd: needs to write: EACCES");
	put(1, 3, 8, 0);
	CHECK_EQ(call(a, do_take, 0), 3, "[ipc] msgrcv: others may read");
	CHECK_EQ(call(a, do_stat, 0), 0, "[ipc] msgctl: IPC_STAT needs to read");
	CHECK_EQ(call(a, do_find, key), -EACCES, "[ipc] msgget: asks for the mode: EACCES");
	CHECK_EQ(call(a, do_remove, 0), -EPERM, "[ipc] msgctl: IPC_RMID is the owner's: EPERM");
	post(a, do_take, 0);
	REQUIRE(await_blocked_in(a));
	struct msqid_ds ds = stat_of(id);
	ds.msg_perm.mode = 0602;
	MUST(msgctl(id, IPC_SET, &ds));
	CHECK_EQ(finish(a), -EACCES, "[ipc] msgctl: who waits and may not read any more gets EACCES");
	CHECK_EQ(call(a, do_stat, 0), -EACCES, "[ipc] msgctl: nor look: EACCES");
	while (put(1, 0, 8000, IPC_NOWAIT) == 0)
		;
	post(a, do_put, message(1, 1, 8000));
	REQUIRE(await_blocked_in(a));
	ds.msg_perm.mode = 0604;
	MUST(msgctl(id, IPC_SET, &ds));
	take(1, 8192, 0);
	CHECK_EQ(finish(a), -EACCES, "[ipc] msgctl: who waits for room and may not write any more too");
	ds.msg_perm.uid = 12345;
	ds.msg_perm.mode = 0600;
	MUST(msgctl(id, IPC_SET, &ds));
	CHECK_EQ(call(a, do_put, message(1, 1, 8)), 0, "[ipc] msgctl: a new owner may");
	CHECK_EQ(call(a, do_grow, 16384), 0, "[ipc] msgctl: change the size up to MSGMNB");
	CHECK_EQ(call(a, do_grow, 16385), -EPERM, "[ipc] msgctl: and beyond not: EPERM");
	CHECK_EQ(call(a, do_remove, 0), 0, "[ipc] msgctl: and remove it");
	retire(a, NULL);
	retire(b, NULL);
}

CASE(info)
{
	struct msginfo info;
	struct msqid_ds ds;
	char line[256], want[128];
	bool seen = false, by_index = false, any = false;
	new_queue();
	put(1, 2, 77, 0);
	int highest = msgctl(0, MSG_INFO, (void *)&info);
	CHECK(highest >= 0 && info.msgpool >= 1 && info.msgmap >= 1 && info.msgtql >= 77, "[ipc] msgctl: MSG_INFO: queues, messages and bytes in use");
	CHECK(msgctl(0, IPC_INFO, (void *)&info) == highest && info.msgmax == 8192 && info.msgmnb == 16384 && info.msgmni == 32000 &&
		      info.msgssz == 16 && info.msgtql == 16384 && info.msgpool == 512000 && info.msgmap == 16384 && info.msgseg == 0xffff,
	      "[ipc] msgctl: IPC_INFO: the limits");
	for (int i = 0; i <= highest; i++) {
		by_index |= msgctl(i, MSG_STAT, &ds) == id && ds.__msg_cbytes == 77;
		any |= msgctl(i, MSG_STAT_ANY, &ds) == id && ds.__msg_cbytes == 77;
	}
	CHECK(by_index, "[ipc] msgctl: MSG_STAT finds it by its index");
	CHECK(any, "[ipc] msgctl: so does MSG_STAT_ANY");
	FILE *f = fopen("/proc/sysvipc/msg", "r");
	REQUIRE(f);
	REQUIRE(fgets(line, sizeof line, f));
	CHECK(strncmp(line, "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid", 73) == 0, "[proc] /proc/sysvipc/msg has its heading");
	snprintf(want, sizeof want, "%10d %10d  %4o  %10u %10u %5d %5d %5u", 0, id, 0600, 77, 1, getpid(), 0, geteuid());
	while (fgets(line, sizeof line, f))
		seen |= strncmp(line, want, strlen(want)) == 0;
	fclose(f);
	CHECK(seen, "[proc] /proc/sysvipc/msg has its line");
	char text[64] = "";
	CHECK(read_file("/proc/sys/kernel/msgmax", text, sizeof text) > 0 && atoi(text) == 8192, "[proc] /proc/sys/kernel/msgmax");
	CHECK(read_file("/proc/sys/kernel/msgmnb", text, sizeof text) > 0 && atoi(text) == 16384, "[proc] /proc/sys/kernel/msgmnb");
	CHECK(read_file("/proc/sys/kernel/msgmni", text, sizeof text) > 0 && atoi(text) == 32000, "[proc] /proc/sys/kernel/msgmni");
	remove_queue();
}

static bool set_sysctl(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	int e = errno;
	if (fd >= 0)
		close(fd);
	errno = e;
	return ok;
}

CASE(limits)
{
	NEED_ROOT("[proc] /proc/sys/kernel/msg*");
	new_queue();
	CHECK(set_sysctl("/proc/sys/kernel/msgmax", "9000"), "[proc] msgmax can be set");
	CHECK_EQ(put(1, 1, 9001, IPC_NOWAIT), -EINVAL, "[proc] msgmax: no longer message: EINVAL");
	CHECK_EQ(put(1, 1, 9000, IPC_NOWAIT), 0, "[proc] msgmax: one of that length");
	set_sysctl("/proc/sys/kernel/msgmax", "8192");
	CHECK(!set_sysctl("/proc/sys/kernel/msgmax", "-1") && errno == EINVAL, "[proc] msgmax below 0: EINVAL");
	CHECK(!set_sysctl("/proc/sys/kernel/msgmni", "32769") && errno == EINVAL, "[proc] msgmni beyond all ids: EINVAL");
	set_sysctl("/proc/sys/kernel/msgmnb", "100");
	int small = msgget(IPC_PRIVATE, 0600);
	set_sysctl("/proc/sys/kernel/msgmnb", "16384");
	CHECK(stat_of(small).msg_qbytes == 100 && stat_of(id).msg_qbytes == 16384, "[proc] msgmnb is for queues to come");
	msgctl(small, IPC_RMID, NULL);
	set_sysctl("/proc/sys/kernel/msgmni", "0");
	CHECK_ERR(msgget(IPC_PRIVATE, 0600), ENOSPC, "[proc] msgmni: no more queues: ENOSPC");
	set_sysctl("/proc/sys/kernel/msgmni", "32000");
	remove_queue();
}

static long pid_seen(long which)
{
	return which ? stat_of(id).msg_lrpid : stat_of(id).msg_lspid;
}

CASE(namespaces)
{
	NEED_ROOT("[ipc] msgctl: pids are the reader's namespace's");
	new_queue();
	struct agent *a = new_ns(NULL);
	CHECK_EQ(call(a, do_put, message(1, 5, 8)), 0, "[ipc] msgsnd: from a pid namespace");
	CHECK_EQ(call(a, pid_seen, 0), 1, "[ipc] msgctl: msg_lspid in its own namespace");
	CHECK_EQ(pid_seen(0), a->pid, "[ipc] msgctl: msg_lspid as the parent namespace numbers it");
	CHECK_EQ(take(1, 8, 0), 5, "[ipc] msgrcv: outside of it");
	CHECK(pid_seen(1) == getpid() && call(a, pid_seen, 1) == 0, "[ipc] msgctl: msg_lrpid is 0 for those who can't see the process");
	retire(a, NULL);
	remove_queue();
}

/* Numbers from one to the other and back, through a queue that is nearly always full or empty. */
static long sender(long rounds)
{
	for (long i = 0; i < rounds; i++)
		if (put(1 + i % 3, i, 8 + i % 50, 0))
			return -errno;
	return 0;
}

static long receiver(long rounds)
{
	long next[3] = { 0, 1, 2 };
	for (long i = 0; i < rounds; i++) {
		long got = take(i & 1 ? 0 : -3, 64, 0);
		if (got < 0)
			return got;
		if (next[got % 3] != got || last_type != 1 + got % 3)
			return -EPROTO;
		next[got % 3] += 3;
	}
	return 0;
}

CASE_T(stream, 60)
{
	new_queue();
	struct msqid_ds ds = stat_of(id);
	ds.msg_qbytes = 200;
	MUST(msgctl(id, IPC_SET, &ds));
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	long rounds = iterations(300) * 20L;
	post(a, sender, rounds);
	post(b, receiver, rounds);
	CHECK(finish(a) == 0 && finish(b) == 0, "[ipc] msgsnd, msgrcv: nothing is lost, and each type keeps its order");
	CHECK_EQ(stat_of(id).msg_qnum, 0, "[ipc] msgrcv: nothing is left");
	retire(a, NULL);
	retire(b, NULL);
	remove_queue();
}

CASE_T(race, 60)
{
	struct agent *a = spawn(NULL), *b = spawn(NULL), *c = spawn(NULL);
	bool all = true;
	for (int i = 0; i < iterations(300) / 3; i++) {
		new_queue();
		post(a, sender, 1000000);
		post(b, sender, 1000000);
		if (i & 1)
			post(c, do_take, 99);
		for (int n = 0; n < i % 7; n++)
			sched_yield();
		remove_queue();
		long ra = finish(a), rb = finish(b), rc = i & 1 ? finish(c) : -EIDRM;
		all &= (ra == -EIDRM || ra == -EINVAL) && (rb == -EIDRM || rb == -EINVAL) && (rc == -EIDRM || rc == -EINVAL);
	}
	CHECK(all, "[ipc] IPC_RMID against those who send and wait: each gets EIDRM or EINVAL");
	retire(a, NULL);
	retire(b, NULL);
	retire(c, NULL);
}

CASE_T(killed, 60)
{
	new_queue();
	int lost = 0;
	for (int i = 0; i < iterations(300) / 10; i++) {
		struct agent *a = spawn(NULL), *b = spawn(NULL);
		post(a, sender, 1000000);
		post(b, do_take, 99);
		for (int n = 0; n < i; n++)
			sched_yield();
		kill(a->pid, SIGKILL);
		kill(b->pid, SIGKILL);
		reap(a->pid);
		reap(b->pid);
		if (put(99, 1, 8, IPC_NOWAIT) == 0 && take(99, 8, IPC_NOWAIT) != 1)
			lost++;
		while (take(0, 64, IPC_NOWAIT) >= 0)
			;
		lost += stat_of(id).msg_qnum != 0 || stat_of(id).__msg_cbytes != 0;
	}
	CHECK_EQ(lost, 0, "[leak] who is killed while it waits leaves nothing in the queue");
	remove_queue();
}
