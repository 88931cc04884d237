/*
 * fuzz.c - the master.
 *
 *	fuzz [-v] [-h] [-n OPS] seeds A-B	OPS operations (120) for each seed
 *	fuzz [-n ROUNDS] races A-B	operations at the same time (race.c)
 *	fuzz [-v] script FILE		operations as they were printed; blocks are parted by lines "seed NAME"
 *
 * -v writes every line at once, for kernels that do not survive the seed. As PID 1 of a guest it takes its arguments
 * from the kernel's command line and switches the machine off at the end. Elsewhere it needs root: it makes a pid and
 * a mount namespace and is PID 1 there. -h ends with a table of what each operation returned, and how often. -o leaves out what Linux 6.1 answers
 * otherwise than 6.18. Exit status: 0 done, 1 something hung, 77 the namespaces cannot be had.
 *
 * What is printed of a step: the operation, what it returned, then everything that is different in the tree.
 */
#include "fuzz.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/futex.h>

int step;
bool race_failed, racing;
static bool verbose, stuck;

static void flush(void)
{
	fflush(stdout);
}

/* ---- one step ---- */
/* What actor `who` calls it. */
static long value_of(struct ref r, int who)
{
	if (r.kind == NUMBER)
		return r.n;
	long pid = r.n == INIT ? 1 : name_number(actor[who].ns, r.n);
	return r.kind == PID ? pid : -pid;
}

static bool resolvable(const struct op *op)
{
	if (op->code == OP_FORK)
		return op->arg[0].kind == PID && op->arg[0].n > 0 && !actor[op->arg[0].n].used;
	for (int i = 0; i < op_args[op->code]; i++)
		if (op->arg[i].kind != NUMBER && op->arg[i].n != INIT && !actor[op->arg[i].n].used)
			return false;
	return true;
}

static void prepare_child(const struct op *op)
{
	struct slot *s = &sh->slot[op->arg[0].n];
	memset((void *)s, 0, sizeof *s);
	s->self = s;
}

/* Gives the command to its actor; the master runs its own at once. */
void post(const struct op *op)
{
	struct actor *a = &actor[op->actor];
	struct slot *s = &sh->slot[op->actor];
	s->op = op->code;
	for (int i = 0; i < op_args[op->code]; i++)
		s->arg[i] = value_of(op->arg[i], op->actor);
	if (op->code == OP_SETNS && op->arg[1].n != SETNS_PIDFD)	/* by a path in the master's /proc */
		s->arg[0] = value_of(op->arg[0], INIT);
	if (op->code == OP_OPENTTY)
		s->arg[0] = terminal_index(op->arg[0].n);
	if (op->code == OP_FORK) {
		s->arg[0] = op->arg[0].n;
		prepare_child(op);
	}
	a->busy = true;
	a->busy_step = step;
	a->op = *op;
	if (op->actor == INIT) {
		flush();
		s->ret = terminal_run(s);
		if (s->ret == -ENOSYS)
			s->ret = actor_run(s);
		s->answered = ++s->command;
		return;
	}
	s->command++;
	futex_word(&s->command, FUTEX_WAKE, 1, NULL);
}

void meet_child(const struct op *op)
{
	int id = op->arg[0].n;
	struct actor *a = &actor[id], *maker = &actor[op->actor];
	bool thread = op->arg[1].n & 0x10000;	/* CLONE_THREAD */
	memset(&a->now, 0, sizeof a->now);
	a->used = true;
	a->thread = thread;
	a->maker = op->actor;
	a->leader = thread ? maker->leader : id;
	a->pid = sh->slot[id].pid;
	a->tid = sh->slot[id].tid;
	a->vm = !thread && op->arg[1].n & 0x100;
	if (a->vm)
		actor[maker->leader].vm = true;
	a->nocldwait = actor[maker->leader].nocldwait;
	if (id >= nactor)
		nactor = id + 1;
	a->has_tty = maker->has_tty;
	a->pidfds = maker->pidfds;
	/* Among operations at the same time it is not known for sure where it is. */
	if (!racing && maker->ns == INIT && maker->next_ns == INIT && !(op->arg[1].n & CLONE_NEWPID)) {
		name_set(INIT, a->tid, id);
		state_meet(id);
		return;
	}
	/* It does not know the number that the master needs, and everybody on the way up has one of his own for it. */
	if (!state_find(id))
		a->ns = INIT;	/* gone before it was met */
	else if (maker->next_ns == NEW_NS || (racing && !thread && !(op->arg[1].n & CLONE_NEWPID)))
		maker->next_ns = a->ns;
	a->next_ns = a->ns;
}

/* Signals whose story is over are no longer in doubt. */
static void clear_taints(void)
{
	for (int id = 1; id < nactor; id++) {
		struct actor *a = &actor[id];
		uint64_t rt_and_chld = 1ull << (SIGCHLD - 1) | 1ull << 33 | 1ull << (SIGUSR1 - 1);
		if (a->used && a->tainted && !(a->now.shared & rt_and_chld))
			a->tainted = false;
	}
}

static void report_stuck(void)
{
	printf("  STUCK: the tree does not come to rest\n");
	for (int id = 1; id < nactor; id++) {
		struct actor *a = &actor[id];
		if (a->used && a->fd_status >= 0) {
			char *state = a->len[0] ? strstr(a->text[0], "\nState:\t") : NULL;
			char call[64] = "";
			ssize_t n = a->fd_syscall < 0 ? 0 : pread(a->fd_syscall, call, sizeof call - 1, 0);
			call[strcspn(call, "\n")] = 0;
			printf("  STUCK p%d %.9s%s %s %s\n", id, state ? state + 8 : "?", a->busy ? " busy" : "", n < 0 ? strerror(errno) : "",
			       call);
		}
	}
	stuck = true;
}

/* One operation; false when the tree had to be given up. */
static bool do_step(const struct op *op)
{
	char text[128];
	op_text(op, text, sizeof text);
	printf("%d %s\n", step, text);
	if (verbose)
		flush();
	if (!actor[op->actor].used || !actor_idle(op->actor) || !resolvable(op)) {
		printf("  skipped\n");
		step++;
		return true;
	}
	for (int i = 0; i < nactor; i++)
		actor[i].was = actor[i].now;
	post(op);
	bool quiet = state_settle(op->actor);
	if (quiet && op->code == OP_FORK && sh->slot[op->arg[0].n].born) {
		meet_child(op);
		quiet = state_settle(op->actor);
	}
	if (!quiet) {
		report_stuck();
		return new_tree();
	}
	if (judge(op)) {
		/* Not why: that may depend on which outcome it was. */
		printf("  given up: several outcomes are right\n");
		return new_tree();
	}
	print_answers();
	print_records();
	terminals_print();
	for (int i = 0; i < nactor; i++)
		if (actor[i].used)
			print_changes(i);
	clear_taints();
	if (verbose)
		flush();
	step++;
	return true;
}

/* ---- trees ---- */
static void meet_init(void)
{
	actor[INIT] = (struct actor){ .used = true, .pid = 1, .tid = 1, .text = { actor[INIT].text[0], actor[INIT].text[1] } };
	struct stat st = { 0 };
	stat("/proc/self/ns/pid", &st);
	actor[INIT].ns_inode = st.st_ino;
	sh->slot[INIT].self = &sh->slot[INIT];
	state_meet(INIT);
	if (nactor == 0)
		nactor = 1;
	state_read();
	actor[INIT].was = actor[INIT].now;
}

static void on_alarm(int sig)
{
	(void)sig;
	static const char text[] = "STUCK: a killed process does not die\nfuzz: stuck\n";
	if (write(1, text, sizeof text - 1) < 0 || getpid() != 1)
		_exit(1);
	reboot(RB_POWER_OFF);
	_exit(1);
}

/* Ends everybody and forgets them; ids are not used again in this seed. */
bool new_tree(void)
{
	state_reset();
	name_reset();
	terminals_close();
	signal(SIGALRM, on_alarm);
	alarm(20);	/* nobody is left to help when this hangs */
	for (;;) {
		kill(-1, SIGKILL);
		int pid = waitpid(-1, NULL, __WALL);
		if (pid < 0 && errno == ECHILD)
			break;
	}
	/* A child that reaps itself is no longer waited for a little before it leaves the list. */
	while (state_has_children())
		;
	alarm(0);
	signal(SIGALRM, SIG_DFL);
	sh->nrec = 0;
	meet_init();
	step++;
	return false;
}

void begin(const char *name)
{
	printf("seed %s\n", name);
	state_reset();		/* closes init's files too */
	nactor = 0;
	step = 0;
	memset((void *)sh->slot, 0, sizeof sh->slot);
	meet_init();
}

static void end(void)
{
	new_tree();
	printf("end\n");
	flush();
}

static void run_seeds(long from, long to, int ops)
{
	for (long seed = from; seed <= to; seed++) {
		char name[32];
		struct op op;
		snprintf(name, sizeof name, "%ld", seed);
		random_seed(seed);
		begin(name);
		while (step < ops && generate(&op))
			do_step(&op);
		end();
	}
}

static bool run_script(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[256];
	bool begun = false;
	if (!f) {
		printf("fuzz: cannot open %s\n", path);
		return false;
	}
	while (fgets(line, sizeof line, f)) {
		struct op op;
		line[strcspn(line, "\n")] = 0;
		if (!strncmp(line, "seed ", 5)) {
			if (begun)
				end();
			begin(line + 5);
			begun = true;
		} else if (begun && op_parse(line, &op)) {
			do_step(&op);
		} else if (*line && *line != '#') {
			printf("fuzz: what is '%s'?\n", line);
		}
	}
	if (begun)
		end();
	fclose(f);
	return true;
}

/* ---- start ---- */
static void share(void)
{
	int fd = memfd_create("fuzz", 0);
	int program = open("/proc/self/exe", O_RDONLY);
	if (fd < 0 || program < 0 || ftruncate(fd, sizeof(struct shared)) < 0) {
		perror("fuzz: no shared memory");
		exit(1);
	}
	/* Both away from where they have to be, then there. */
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 10);
	program = fcntl(program, F_DUPFD_CLOEXEC, 10);
	dup2(fd, SHARED_FD);
	dup2(program, PROGRAM_FD);
	close(fd);
	close(program);
}

static void map_shared(void)
{
	void *at = mmap(SHARED_ADDR, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, SHARED_FD, 0);
	if (at != SHARED_ADDR)
		_exit(99);
}

/* In a child that is PID 1 of new namespaces, with a /proc of its own. Returns there; the parent waits and exits. */
static void enter_namespaces(bool guest)
{
	if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		fprintf(stderr, "fuzz: no pid namespace here: %s\n", strerror(errno));
		exit(77);
	}
	pid_t pid = fork();
	if (pid) {
		int status = 1;
		if ((pid < 0 || waitpid(pid, &status, 0) < 0) && !guest)
			exit(77);
		if (guest)
			reboot(RB_POWER_OFF);
		exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (mount("proc", "/proc", "proc", 0, NULL) < 0) {
		fprintf(stderr, "fuzz: cannot mount /proc: %s\n", strerror(errno));
		exit(77);
	}
}

static void prepare_guest(void)
{
	struct stat st;
	mkdir("/proc", 0755);
	if (stat("/proc/self", &st) < 0)
		mount("proc", "/proc", "proc", 0, NULL);
	if (fcntl(0, F_GETFD) < 0) {
		int fd = open("/dev/console", O_RDWR);
		dup2(fd, 0), dup2(fd, 1), dup2(fd, 2);
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "-actor")) {
		map_shared();
		struct slot *me = &sh->slot[atoi(argv[2])];
		me->how = 0;
		__atomic_add_fetch(&me->execs, 1, __ATOMIC_SEQ_CST);
		actor_main(me);
	}
	bool guest = getpid() == 1;
	int user = 1000000 + getpid();	/* RLIMIT_NPROC counts the processes of a user on the whole machine */
	int at = 1, ops = 120;
	for (; at < argc && (argv[at][0] == '-' || !strcmp(argv[at], "check_tree")); at++) {	/* the kernel hands that on */
		if (!strcmp(argv[at], "-v"))
			verbose = true;
		else if (!strcmp(argv[at], "-h"))
			count_outcomes();
		else if (!strcmp(argv[at], "-o"))
			old_kernel = true;
		else if (!strcmp(argv[at], "-n") && at + 1 < argc)
			ops = atoi(argv[++at]);
	}
	if (guest)
		prepare_guest();
	/* Linux has threads of its own in the first namespace: it is left to them. */
	if (guest && access("/proc/2/comm", F_OK) == 0)
		enter_namespaces(true), guest = false;
	else if (!guest)
		enter_namespaces(false);
	static char buffer[1 << 16];
	setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
	for (int fd = 3; fd < 64; fd++)
		close(fd);
	share();
	map_shared();
	struct rlimit none = { 0, 0 };
	setrlimit(RLIMIT_CORE, &none);
	terminals_mount();
	sh->user = user;
	setsid();
	/* Whatever the one who started us ignored or blocked; 32 and 33 are the C library's own, so it is left out. */
	for (int sig = 1; sig <= 64; sig++) {
		struct { long handler, flags, restorer, mask; } plain = { 0 };
		syscall(SYS_rt_sigaction, sig, &plain, NULL, 8);
	}
	uint64_t nothing = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &nothing, NULL, 8);
	bool good = at + 1 < argc;
	if (good && !strcmp(argv[at], "seeds")) {
		long from = 1, to;
		int n = sscanf(argv[at + 1], "%ld-%ld", &from, &to);
		run_seeds(from, n == 2 ? to : from, ops);
	} else if (good && !strcmp(argv[at], "races")) {
		long from = 1, to;
		int n = sscanf(argv[at + 1], "%ld-%ld", &from, &to);
		racing = true;
		run_races(from, n == 2 ? to : from, ops);
		good = !race_failed;
	} else if (good && !strcmp(argv[at], "script")) {
		good = run_script(argv[at + 1]);
	} else {
		good = false;
		printf("usage: fuzz [-v] [-n OPS] seeds A-B | races A-B | script FILE\n");
	}
	print_outcomes();
	printf("fuzz: %s\n", !good ? "failed" : stuck ? "stuck" : "done");
	flush();
	if (guest) {
		sync();
		reboot(RB_POWER_OFF);
	}
	return !good || stuck;
}
