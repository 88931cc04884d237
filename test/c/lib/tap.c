/* tap.c - runner, assertions and helpers of the C suite; tap.h tells what each is for. */
#include "tap.h"

#include <dirent.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <sys/utsname.h>

struct shared *sh;
char self_path[PATH_MAX];
const char *case_name = "(none)";
int deadline_ms = 60000;

static struct tcase *cases, **last_case = &cases;
static struct helper *helpers;
static int case_secs = 180;

void tap_add(struct tcase *c)
{
	*last_case = c;
	last_case = &c->next;
}

void tap_add_helper(struct helper *h)
{
	h->next = helpers;
	helpers = h;
}

/* ---- output: each report is one write, so that lines of several processes do not mix ---- */

static void put(const char *buf, int n)
{
	while (n > 0) {
		ssize_t w = write(1, buf, n);
		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return;
		buf += w;
		n -= w;
	}
}

static int clip(int n, int max)
{
	return n < 0 ? 0 : n >= max ? max - 1 : n;
}

bool tap_report(bool ok, const char *text, const char *file, int line, const char *fmt, ...)
{
	char buf[1024];
	int saved = errno;
	int nr = __atomic_add_fetch(&sh->count, 1, __ATOMIC_SEQ_CST);
	int n = clip(snprintf(buf, 512, "%sok %d - %s\n", ok ? "" : "not ", nr, text), 512);

	if (!ok) {
		__atomic_add_fetch(&sh->failed, 1, __ATOMIC_SEQ_CST);
		n += clip(snprintf(buf + n, sizeof buf - n, "# case %s, %s:%d: ", case_name, file, line), sizeof buf - n);
		va_list ap;
		va_start(ap, fmt);
		errno = saved;
		n += clip(vsnprintf(buf + n, sizeof buf - n - 1, fmt, ap), sizeof buf - n - 1);
		va_end(ap);
		buf[n++] = '\n';
	}
	put(buf, n);
	errno = saved;
	return ok;
}

bool tap_eq(long long got, long long want, const char *gs, const char *text, const char *file, int line)
{
	return tap_report(got == want, text, file, line, "%s: got %lld (0x%llx), expected %lld (0x%llx), errno %d", gs, got,
			  got, want, want, errno);
}

bool tap_err(long ret, int err, int want, const char *gs, const char *text, const char *file, int line)
{
	return tap_report(ret == -1 && err == want, text, file, line, "%s: got %ld, errno %d (%s), expected -1, errno %d (%s)",
			  gs, ret, err, strerror(err), want, strerror(want));
}

void tap_die(const char *file, int line, const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(buf, sizeof buf, fmt, ap);
	va_end(ap);
	tap_report(false, case_name, file, line, "%s", buf);
	_exit(99);
}

void tap_skip(const char *text, const char *why)
{
	char buf[512];
	int nr = __atomic_add_fetch(&sh->count, 1, __ATOMIC_SEQ_CST);
	put(buf, clip(snprintf(buf, sizeof buf, "ok %d - %s # SKIP %s\n", nr, text, why), sizeof buf));
}

void tap_note(const char *fmt, ...)
{
	char buf[512];
	va_list ap;
	int n = snprintf(buf, sizeof buf, "# ");
	va_start(ap, fmt);
	n += clip(vsnprintf(buf + n, sizeof buf - n - 1, fmt, ap), sizeof buf - n - 1);
	va_end(ap);
	buf[n++] = '\n';
	put(buf, n);
}

/* ---- time and meeting ---- */

long long now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

void nap(int *round)
{
	if (++*round < 20) {
		sched_yield();
	} else {
		struct timespec ts = { 0, 200000 };
		nanosleep(&ts, NULL);
	}
}

int iterations(int dflt)
{
	const char *s = getenv("FOSTER_ITER");
	int n = s ? atoi(s) : dflt;
	return n > 0 ? n : dflt;
}

void wait_word(volatile int *w, int want)
{
	int v, tenths = 0;
	while ((v = __atomic_load_n(w, __ATOMIC_SEQ_CST)) != want) {
		struct timespec ts = { 0, 100000000 };
		if (futex(w, FUTEX_WAIT, v, &ts) < 0 && errno == ETIMEDOUT && ++tenths > deadline_ms / 100)
			tap_die(__FILE__, __LINE__, "word is %d, not %d, after the deadline", v, want);
	}
}

void set_word(volatile int *w, int val)
{
	__atomic_store_n(w, val, __ATOMIC_SEQ_CST);
	futex(w, FUTEX_WAKE, INT_MAX, NULL);
}

bool kernel_since(int major, int minor)
{
	struct utsname u;
	int a = 0, b = 0;
	return uname(&u) < 0 || sscanf(u.release, "%d.%d", &a, &b) != 2 || a > major || (a == major && b >= minor);
}

bool on_foster(void)
{
	struct utsname u;
	return uname(&u) == 0 && strstr(u.release, "foster");
}

bool in_chroot(void)
{
	char line[512];
	FILE *mounts = fopen("/proc/self/mounts", "re");
	bool is_mount = on_foster();
	while (mounts && fgets(line, sizeof line, mounts))
		is_mount |= strstr(line, " / ") != NULL;
	if (mounts)
		fclose(mounts);
	return !is_mount;
}

/* ---- processes ---- */

int read_file(const char *path, char *buf, size_t n)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	size_t got = 0;
	ssize_t r = 0;
	while (got < n - 1 && (r = read(fd, buf + got, n - 1 - got)) > 0)
		got += r;
	int bad = got == 0 && r < 0;
	close(fd);
	buf[got] = 0;
	return bad ? -1 : (int)got;
}

long write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	long n = write(fd, text, strlen(text));
	int e = errno;
	close(fd);
	errno = e;
	return n;
}

bool write_file(const char *path, const void *buf, size_t n, int mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	if (fd < 0)
		return false;
	bool ok = write(fd, buf, n) == (ssize_t)n && fchmod(fd, mode) == 0;
	return close(fd) == 0 && ok;
}

/* The text after "(comm) " of a stat file: the state letter first (12.1: from the LAST parenthesis). */
static char *stat_tail(const char *path, char *buf, size_t n)
{
	if (read_file(path, buf, n) <= 0)
		return NULL;
	char *p = strrchr(buf, ')');
	return p && p[1] == ' ' ? p + 2 : NULL;
}

char proc_state(pid_t pid)
{
	char path[64], buf[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	char *p = stat_tail(path, buf, sizeof buf);
	return p && *p != 'X' ? *p : 0;		/* X: reaped, about to vanish */
}

char task_state(pid_t pid, pid_t tid)
{
	char path[64], buf[1024];
	snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
	char *p = stat_tail(path, buf, sizeof buf);
	return p ? *p : 0;
}

long proc_stat(pid_t pid, int field)
{
	char path[64], buf[1024];
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	char *p = stat_tail(path, buf, sizeof buf);
	for (int i = 3; p && i < field; i++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	return p ? strtol(p, NULL, 10) : -1;
}

bool proc_status(pid_t pid, const char *key, char *out, size_t n)
{
	char path[64], buf[4096];
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	out[0] = 0;
	if (read_file(path, buf, sizeof buf) <= 0)
		return false;
	size_t k = strlen(key);
	for (char *p = buf; p && *p;) {
		char *eol = strchr(p, '\n');
		if (eol)
			*eol = 0;
		if (!strncmp(p, key, k) && p[k] == ':') {
			p += k + 1;
			while (*p == '\t' || *p == ' ')
				p++;
			snprintf(out, n, "%s", p);
			return true;
		}
		p = eol ? eol + 1 : NULL;
	}
	return false;
}

bool await_state(pid_t pid, char state)
{
	return AWAIT(proc_state(pid) == state);
}

bool stop_and_continue(pid_t pid)
{
	return kill(pid, SIGSTOP) == 0 && await_state(pid, 'T') && kill(pid, SIGCONT) == 0 && await_state(pid, 'S');
}

bool await_blocked(pid_t pid)
{
	return await_state(pid, 'S');
}

bool await_zombie(pid_t child)
{
	siginfo_t si;
	long r;
	do
		r = sys_waitid(P_PID, child, &si, WEXITED | WNOWAIT | __WALL, NULL);
	while (r < 0 && errno == EINTR);
	return r == 0;
}

int reap(pid_t pid)
{
	int st = 0;
	long r;
	do
		r = sys_wait4(pid, &st, __WALL, NULL);
	while (r < 0 && errno == EINTR);
	return r == pid ? st : -1;
}

int reap_any(int *st)
{
	int dummy;
	long r;
	do
		r = sys_wait4(-1, st ? st : &dummy, __WALL, NULL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : (int)r;
}

/* ---- signal log ---- */

static void siglog_handler(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	int saved = errno;
	int i = __atomic_load_n(&sh->nsig, __ATOMIC_SEQ_CST);
	do {
		if (i >= NSIGREC)
			goto out;
	} while (!__atomic_compare_exchange_n(&sh->nsig, &i, i + 1, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	struct sigrec *r = &sh->sig[i];
	r->tid = sys_gettid();
	r->sig = sig;
	r->code = si->si_code;
	r->pid = si->si_pid;
	r->uid = si->si_uid;
	r->status = si->si_status;
	r->ppid = getppid();
	/* the record counts from here on */
	__atomic_store_n(&r->who, getpid(), __ATOMIC_SEQ_CST);
out:
	errno = saved;
}

void siglog_catch(int sig, int flags)
{
	struct sigaction sa = { .sa_sigaction = siglog_handler, .sa_flags = flags | SA_SIGINFO };
	sigemptyset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
}

struct sigrec *siglog_get(pid_t who, int sig, int nth)
{
	int n = __atomic_load_n(&sh->nsig, __ATOMIC_SEQ_CST);
	for (int i = 0; i < n && i < NSIGREC; i++) {
		pid_t w = __atomic_load_n(&sh->sig[i].who, __ATOMIC_SEQ_CST);
		if (w && sh->sig[i].sig == sig && (!who || who == w) && nth-- == 0)
			return &sh->sig[i];
	}
	return NULL;
}

int siglog_count(pid_t who, int sig)
{
	int n = 0;
	while (siglog_get(who, sig, n))
		n++;
	return n;
}

/* ---- memory and files ---- */

void *map_pages(int n)
{
	void *p = mmap(NULL, n * 4096L, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(p != MAP_FAILED);
	return p;
}

char *map_edge(void)
{
	/* far from where the kernel places mappings by itself, so that the hole stays one */
	static unsigned long next = 0x5e0000000000UL;
	char *p = mmap((void *)next, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	REQUIRE(p != MAP_FAILED);
	next += 0x10000;
	return p + 4096;
}

char *map_readonly(void)
{
	char *p = map_pages(1);
	MUST(mprotect(p, 4096, PROT_READ));
	return p;
}

static char tmp_dir[64];
static pid_t tmp_owner;

const char *tmp_path(const char *name)
{
	static char ring[4][256];
	static int at;
	if (!tmp_dir[0]) {
		tmp_owner = getpid();
		if (mkdir("/tmp", 01777) == 0)
			chmod("/tmp", 01777);
		snprintf(tmp_dir, sizeof tmp_dir, "/tmp/fc-%s-%d", program_invocation_short_name, tmp_owner);
		if (mkdir(tmp_dir, 0755) < 0 && errno != EEXIST)
			tap_die(__FILE__, __LINE__, "mkdir %s: errno %d", tmp_dir, errno);
	}
	char *p = ring[at++ & 3];
	snprintf(p, sizeof ring[0], "%s%s%s", tmp_dir, *name ? "/" : "", name);
	return p;
}

/* Remove a directory and what is in it. */
static void remove_tree(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[512];
	while (d && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		if (unlink(path) < 0)
			remove_tree(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

bool copy_self(const char *to, int mode)
{
	static char buf[65536];
	int in = open(self_path, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
	bool ok = in >= 0 && out >= 0;
	ssize_t n;
	while (ok && (n = read(in, buf, sizeof buf)) > 0)
		ok = write(out, buf, n) == n;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return ok && chmod(to, mode) == 0;
}

int exec_helper(const char *path, const char *name, const char *a1, const char *a2, const char *a3)
{
	char tag[64];
	snprintf(tag, sizeof tag, "@%s", name);
	char *argv[] = { (char *)path, tag, (char *)a1, (char *)a2, (char *)a3, NULL };
	return execv(path, argv);
}

/* ---- the runner ---- */

/* Quarters of a second that this process has lived through: one that the machine slept through, or gave to others, is none. */
static volatile int ticks;
#define TICKS 4		/* in a second */

static void tick(int sig)
{
	(void)sig;
	ticks++;
}

/* Kill every child of the runner that /proc shows; how many there were. */
static int kill_children(void)
{
	int n = 0;
	DIR *d = opendir("/proc");
	struct dirent *e;
	while (d && (e = readdir(d))) {
		int pid = atoi(e->d_name);
		if (pid > 1 && proc_stat(pid, 4) == getpid()) {
			char comm[32];
			if (proc_state(pid) != 'Z') {
				proc_status(pid, "Name", comm, sizeof comm);
				tap_note("left behind: pid %d (%s) state %c", pid, comm, proc_state(pid));
				n++;
			}
			kill(pid, SIGKILL);
		}
	}
	if (d)
		closedir(d);
	return n;
}

/* Reap until ECHILD or for so many ticks, which interrupt the wait; true on ECHILD. */
static bool reap_all(int patience)
{
	int end = ticks + patience;
	for (;;) {
		if (waitpid(-1, NULL, __WALL) < 0 && errno != EINTR)
			return errno == ECHILD;
		if (ticks > end)
			return waitpid(-1, NULL, __WALL | WNOHANG) < 0 && errno == ECHILD;
	}
}

static void run_case(struct tcase *c)
{
	char what[128];
	int secs = c->secs > 30 ? c->secs * case_secs / 30 : case_secs;
	int end = ticks + secs * TICKS;
	bool timed_out = false;
	int st = 0;
	long r;

	case_name = c->name;
	sh->over = 0;
	sh->nagents = sh->nsig = 0;
	memset((void *)sh->v, 0, sizeof sh->v);
	memset((void *)sh->w, 0, sizeof sh->w);
	memset(sh->agent, 0, sizeof sh->agent);
	memset(sh->sig, 0, sizeof sh->sig);

	pid_t pid = fork();
	if (pid == 0) {
		struct itimerval off = { { 0, 0 }, { 0, 0 } };
		setitimer(ITIMER_REAL, &off, NULL);
		signal(SIGALRM, SIG_DFL);
		setsid();	/* out of reach of a kill(0) gone wrong */
		c->fn();
		if (tmp_dir[0] && tmp_owner == getpid())
			remove_tree(tmp_dir);
		_exit(0);
	}
	if (pid < 0) {
		tap_report(false, c->name, __FILE__, __LINE__, "fork: errno %d", errno);
		return;
	}
	while ((r = waitpid(pid, &st, 0)) != pid) {
		if (r < 0 && errno != EINTR)
			break;
		if (ticks > end && !timed_out) {
			tap_note("case %s: no end after %d s, state %c; killed", c->name, secs, proc_state(pid));
			timed_out = true;
			kill(pid, SIGKILL);
			end = ticks + 20 * TICKS;
		} else if (timed_out && ticks > end) {
			break;
		}
	}
	set_word(&sh->over, 1);
	for (int i = 0; i < sh->nagents && i < NAGENT; i++)
		futex(&sh->agent[i].req, FUTEX_WAKE, INT_MAX, NULL);
	bool clean = reap_all(60 * TICKS);
	if (!clean) {
		kill_children();
		reap_all(20 * TICKS);
	}
	snprintf(what, sizeof what, "[15.4] case %s ran to its end and left no process behind", c->name);
	tap_report(r == pid && !timed_out && st == 0 && clean, what, __FILE__, __LINE__, "%s, status 0x%x%s",
		   timed_out ? "timed out" : "ended", st, clean ? "" : ", processes left behind");
}

static bool chosen(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc < 2;
}

int main(int argc, char **argv)
{
	if (argc > 1 && argv[1][0] == '@') {
		for (struct helper *h = helpers; h; h = h->next)
			if (!strcmp(h->name, argv[1] + 1))
				return h->fn(argc - 1, argv + 1);
		return 127;
	}
	if (!argv[0] || (argv[0][0] == '/' ? snprintf(self_path, sizeof self_path, "%s", argv[0]) < 0
					   : !realpath(argv[0], self_path)))
		snprintf(self_path, sizeof self_path, "/proc/self/exe");
	const char *s;
	if ((s = getenv("FOSTER_TIMEOUT")) && atoi(s) > 0)
		case_secs = atoi(s);
	if ((s = getenv("FOSTER_DEADLINE")) && atoi(s) > 0)
		deadline_ms = atoi(s);

	sh = mmap(NULL, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED) {
		put("TAP version 13\nBail out! no shared memory\n", 42);
		return 2;
	}
	put("TAP version 13\n", 15);

	/* a clean slate, whatever the caller left us */
	struct { void *handler; unsigned long flags, restorer, mask; } dfl = { 0 };
	unsigned long none = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8L);
	for (long i = 1; i <= 64; i++)
		syscall(SYS_rt_sigaction, i, &dfl, NULL, 8L);
	umask(022);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	struct sigaction sa = { .sa_handler = tick };
	sigaction(SIGALRM, &sa, NULL);
	struct itimerval it = { { 0, 250000 }, { 0, 250000 } };
	setitimer(ITIMER_REAL, &it, NULL);
	while (waitpid(-1, NULL, __WALL | WNOHANG) > 0)
		;

	for (struct tcase *c = cases; c; c = c->next)
		if (chosen(c->name, argc, argv))
			run_case(c);

	char buf[128];
	put(buf, snprintf(buf, sizeof buf, "1..%d\n# %d passed, %d failed\n", sh->count, sh->count - sh->failed, sh->failed));
	return sh->failed || !sh->count;
}
