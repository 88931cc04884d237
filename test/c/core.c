/* core.c - core dumps: who leaves one, where, and what is in it (rules 1.37, 3.1, 3.2, 3.16, 3.20, core(5)). */
#include "lib/tap.h"

#include <elf.h>
#include <linux/futex.h>
#include <sys/auxv.h>
#include <sys/procfs.h>
#include <sys/utsname.h>

#define MAGIC1 0x1122334455667788UL
#define MAGIC2 0x99aabbccddeeff00UL

static char global_data[64] = "data of the program that died";
static char dir[256];
extern char crash_ip[];

/* Dies of SIGSEGV at crash_ip with known registers. */
static void __attribute__((noinline)) crash(void)
{
	__asm__ volatile("movq %0, %%xmm0\n\tmovq %0, %%rbx\n\tmovq %1, %%r12\n\t.globl crash_ip\ncrash_ip: movl $7, 0x123"
			 : : "r"(MAGIC1), "r"(MAGIC2) : "rbx", "r12", "xmm0", "memory");
}

static void limit_core(rlim_t n)
{
	struct rlimit rl = { n, RLIM_INFINITY };
	getrlimit(RLIMIT_CORE, &rl);
	rl.rlim_cur = n < rl.rlim_max ? n : rl.rlim_max;
	setrlimit(RLIMIT_CORE, &rl);
}

static char *read_sysctl(const char *name, char *buf, size_t n)
{
	char path[128];
	snprintf(path, sizeof path, "/proc/sys/%s", name);
	int len = read_file(path, buf, n);
	buf[len > 0 && buf[len - 1] == '\n' ? len - 1 : len > 0 ? len : 0] = 0;
	return buf;
}

static bool write_sysctl(const char *name, const char *value)
{
	char path[128];
	snprintf(path, sizeof path, "/proc/sys/%s", name);
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* Cores go to a directory of the case's own, as "core": false if this machine wants them elsewhere. */
static bool ready(void)
{
	char pattern[256], pid[16];
	snprintf(dir, sizeof dir, "%s", tmp_path(""));
	MUST(chdir(dir));
	MUST(chmod(dir, 0777));
	read_sysctl("kernel/core_pattern", pattern, sizeof pattern);
	read_sysctl("kernel/core_uses_pid", pid, sizeof pid);
	if (strcmp(pattern, "core") || strcmp(pid, "0")) {
		tap_skip("[3.2] core dumps", "core_pattern is not \"core\"");
		return false;
	}
	unlink("core");
	return true;
}

static int run(void (*fn)(void))
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		limit_core(RLIM_INFINITY);
		fn();
		_exit(99);
	}
	return reap(pid);
}

/* ---- reading a core ---- */

static char *core;
static long core_len;

static bool load(const char *name)
{
	struct stat st;
	int fd = open(name, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	core_len = st.st_size;
	core = mmap(NULL, core_len + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long done = 0, n;
	while ((n = read(fd, core + done, core_len - done)) > 0)
		done += n;
	close(fd);
	return core_len > (long)sizeof(Elf64_Ehdr) && done == core_len;
}

static Elf64_Phdr *phdr(int i)
{
	Elf64_Ehdr *e = (void *)core;
	return i < e->e_phnum ? (Elf64_Phdr *)(core + e->e_phoff) + i : NULL;
}

/* The nth note of a type, from 0; its length in *len. */
static void *note(unsigned type, int nth, size_t *len)
{
	Elf64_Phdr *p = phdr(0);
	for (char *at = core + p->p_offset, *end = at + p->p_filesz; at < end;) {
		Elf64_Nhdr *n = (void *)at;
		char *desc = at + sizeof *n + ((n->n_namesz + 3) & ~3);
		if (n->n_type == type && nth-- == 0) {
			if (len)
				*len = n->n_descsz;
			return desc;
		}
		at = desc + ((n->n_descsz + 3) & ~3);
	}
	return NULL;
}

static Elf64_Phdr *segment_of(const void *addr)
{
	Elf64_Phdr *p;
	for (int i = 1; (p = phdr(i)); i++)
		if (p->p_type == PT_LOAD && (unsigned long)addr >= p->p_vaddr && (unsigned long)addr < p->p_vaddr + p->p_memsz)
			return p;
	return NULL;
}

/* What the core has at an address; NULL if it is not in it. */
static void *memory(const void *addr)
{
	Elf64_Phdr *p = segment_of(addr);
	unsigned long off = p ? (unsigned long)addr - p->p_vaddr : 0;
	return p && off < p->p_filesz && (long)(p->p_offset + off) < core_len ? core + p->p_offset + off : NULL;
}

/* ---- the contents ---- */

static char *dropped, *shared_page, *untouched;

static void prepare_and_crash(void)
{
	strcpy(dropped, "dropped");
	strcpy(shared_page, "shared");
	madvise(dropped, 4096, MADV_DONTDUMP);
	prctl(PR_SET_NAME, "crasher");
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR2);
	strcpy(global_data, "data of the process that died");
	crash();
}

CASE(contents)
{
	if (!ready())
		return;
	dropped = map_pages(1);
	/* Between holes, so that it is a mapping of its own. */
	untouched = mmap(NULL, 5 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	untouched += 4096;
	MUST(mprotect(untouched, 3 * 4096, PROT_READ | PROT_WRITE));
	shared_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		limit_core(RLIM_INFINITY);
		prepare_and_crash();
	}
	siginfo_t si = { 0 };
	CHECK(sys_waitid(P_PID, pid, &si, WEXITED | WNOWAIT, NULL) == 0 && si.si_code == CLD_DUMPED && si.si_status == SIGSEGV,
	      "[3.1,4.22] waitid says CLD_DUMPED");
	CHECK_EQ(reap(pid), SIGSEGV | 0x80, "[3.1,3.2] the status has the bit 0x80");
	struct stat st;
	CHECK(stat("core", &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0600, "[3.2] there is a file, for its owner alone");
	REQUIRE(load("core"));
	Elf64_Ehdr *e = (void *)core;
	CHECK(!memcmp(e->e_ident, ELFMAG, 4) && e->e_ident[EI_CLASS] == ELFCLASS64 && e->e_type == ET_CORE && e->e_machine == EM_X86_64,
	      "[3.2] an ELF core");
	CHECK(phdr(0) && phdr(0)->p_type == PT_NOTE, "[3.2] that begins with notes");
	size_t len = 0;
	struct elf_prstatus *ps = note(NT_PRSTATUS, 0, &len);
	REQUIRE(ps && len == sizeof *ps);
	struct { unsigned long r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig, rip, cs, fl, rsp, ss, fs, gs; } *r;
	r = (void *)ps->pr_reg;
	CHECK_EQ(r->rip, (long)crash_ip, "[3.2] NT_PRSTATUS: the instruction that failed");
	CHECK(r->rbx == MAGIC1 && r->r12 == MAGIC2, "[3.2] registers");
	CHECK(r->cs == 0x33 && r->ss == 0x2b && r->fs != 0 && (long)r->orig == -1, "[3.2] segments, thread pointer, no system call");
	CHECK(ps->pr_cursig == SIGSEGV && ps->pr_info.si_signo == SIGSEGV, "[3.2] the signal");
	CHECK(ps->pr_pid == pid && ps->pr_ppid == getpid() && ps->pr_pgrp == getpgrp() && ps->pr_sid == getsid(0), "[3.2] who it was");
	CHECK(ps->pr_sighold == (1UL << (SIGUSR1 - 1) | 1UL << (SIGUSR2 - 1)), "[3.2] blocked signals");
	CHECK(ps->pr_sigpend == 1UL << (SIGUSR2 - 1), "[3.2] pending signals of the thread");
	CHECK_EQ(ps->pr_fpvalid, 1, "[3.2] there are FPU registers");
	struct elf_prpsinfo *pi = note(NT_PRPSINFO, 0, &len);
	REQUIRE(pi && len == sizeof *pi);
	CHECK(!strcmp(pi->pr_fname, "crasher") && pi->pr_pid == pid && pi->pr_ppid == getpid(), "[3.2] NT_PRPSINFO: name and numbers");
	CHECK(strstr(pi->pr_psargs, "core") != NULL && pi->pr_sname == 'R', "[3.2] arguments");
	siginfo_t *info = note(0x53494749, 0, &len);
	CHECK(info && len == sizeof *info && info->si_signo == SIGSEGV && info->si_code == SEGV_MAPERR && info->si_addr == (void *)0x123,
	      "[3.2] NT_SIGINFO");
	Elf64_auxv_t *aux = note(NT_AUXV, 0, &len);
	unsigned long entry = 0, n = len / sizeof *aux;
	for (unsigned long i = 0; aux && i < n; i++)
		if (aux[i].a_type == AT_ENTRY)
			entry = aux[i].a_un.a_val;
	CHECK(entry == getauxval(AT_ENTRY) && aux[n - 1].a_type == AT_NULL, "[3.2] NT_AUXV");
	char *vdso = (char *)getauxval(AT_SYSINFO_EHDR);
	CHECK(vdso && memory(vdso) && !memcmp(memory(vdso), vdso, 4096), "[3.2] the vDSO is in it");
	unsigned long *files = note(0x46494c45, 0, &len);
	bool self = false;
	if (files) {
		char *name = (char *)(files + 2 + 3 * files[0]);
		for (unsigned long i = 0; i < files[0]; i++, name += strlen(name) + 1)
			self |= !strcmp(name, self_path) && files[2 + 3 * i] <= (unsigned long)crash_ip && files[3 + 3 * i] > (unsigned long)crash_ip;
	}
	CHECK(self && files[1] == 4096, "[3.2] NT_FILE has the program where it is mapped");
	char *fp = note(NT_FPREGSET, 0, &len);
	CHECK(fp && len == 512 && *(unsigned long *)(fp + 160) == MAGIC1, "[3.2] NT_FPREGSET: xmm0");
	char *xs = note(NT_X86_XSTATE, 0, &len);
	CHECK(!xs || (len >= 576 && *(unsigned long *)(xs + 160) == MAGIC1 && (*(unsigned long *)(xs + 464) & 3) == 3),
	      "[3.2] NT_X86_XSTATE: the same, and the features");
	CHECK(memory(global_data) && !strcmp(memory(global_data), "data of the process that died"), "[3.2] memory that was written");
	CHECK(memory((void *)r->rsp) != NULL, "[3.2] the stack");
	CHECK(memory(shared_page) && !strcmp(memory(shared_page), "shared"), "[3.2] shared anonymous memory");
	CHECK(segment_of(dropped) && !memory(dropped), "[3.2] MADV_DONTDUMP leaves memory out");
	CHECK(segment_of(untouched) && !memory(untouched), "[3.2] what was never touched is not there");
	Elf64_Phdr *text = segment_of(crash_ip);
	CHECK(text && text->p_flags == (PF_R | PF_X) && text->p_filesz <= 4096, "[3.2] of the program's text there is at most a page");
	bool aligned = true;
	for (int i = 1; phdr(i); i++)
		aligned &= phdr(i)->p_offset % 4096 == 0 && phdr(i)->p_vaddr % 4096 == 0;
	CHECK(aligned, "[3.2] segments lie on pages");
}

/* ---- threads ---- */

static long ag_limit(long n) { limit_core(n); return 0; }
static long ag_crash(long x) { (void)x; crash(); return 0; }
static long ag_pause(long x) { (void)x; return syscall(SYS_pause); }
static long ag_spin(long x)
{
	sh->v[0] = x;
	__asm__ volatile("1: movq %0, %%r13\n\tjmp 1b" : : "r"(MAGIC2) : "r13");
	return 0;
}

CASE(threads)
{
	if (!ready())
		return;
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p), *t3 = spawn_thread(p);
	call(p, ag_limit, -1);
	post(t1, ag_pause, 0);
	post(t2, ag_spin, 1);
	REQUIRE(await_blocked_in(t1) && AWAIT(sh->v[0]));
	post(t3, ag_crash, 0);
	CHECK_EQ(reap(p->pid), SIGSEGV | 0x80, "[3.4,3.20] a thread's fault dumps and kills its process");
	REQUIRE(load("core"));
	struct elf_prstatus *ps;
	bool leader = false, paused = false, spinning = false;
	int n = 0;
	for (; (ps = note(NT_PRSTATUS, n, NULL)); n++) {
		unsigned long *r = (void *)ps->pr_reg;
		if (n == 0)
			CHECK_EQ(ps->pr_pid, t3->tid, "[3.20] the thread that died comes first");
		leader |= ps->pr_pid == p->pid;
		paused |= ps->pr_pid == t1->tid && r[15] == SYS_pause;
		spinning |= ps->pr_pid == t2->tid && r[2] == MAGIC2;
	}
	CHECK_EQ(n, 4, "[3.20] all threads are in the core");
	CHECK(leader, "[3.20] the leader");
	CHECK(paused, "[3.20] one that slept in a system call");
	CHECK(spinning, "[3.20] one that ran, with its registers");
	int fps = 0;
	while (note(NT_FPREGSET, fps, NULL))
		fps++;
	CHECK_EQ(fps, 4, "[3.20] each has FPU registers");
	CHECK(note(NT_PRPSINFO, 1, NULL) == NULL, "[3.20] the process is described once");
}

static long ag_clone_vm(long x)
{
	(void)x;
	static char stack[65536] __attribute__((aligned(16)));
	return clone(({ int f(void *a) { (void)a; sh->v[1] = getpid(); wait_word(&sh->w[0], 1); sh->v[2] = 1; return 0; } f; }), stack + sizeof stack,
		     CLONE_VM | SIGCHLD, NULL);
}

CASE(shared_memory)
{
	if (!ready())
		return;
	ag_subreaper(1);
	struct agent *p = spawn(NULL);
	call(p, ag_limit, -1);
	long kid = call(p, ag_clone_vm, 0);
	REQUIRE(kid > 0 && AWAIT(sh->v[1] == kid));
	post(p, ag_crash, 0);
	CHECK_EQ(reap(p->pid), SIGSEGV | 0x80, "[3.20] a process that shares its memory dumps");
	CHECK(proc_state(kid) != 'Z' && proc_state(kid) != 0, "[3.20] the other one lives on");
	set_word(&sh->w[0], 1);
	CHECK_EQ(reap(kid), 0, "[3.20] and ends as it likes");
	CHECK_EQ(sh->v[2], 1, "[3.20] after running on");
}

/* The word of set_tid_address is cleared for another user of the memory, core or not. */
static long ag_tid_word(long x)
{
	(void)x;
	static char stack[65536] __attribute__((aligned(16)));
	static int word;
	word = 77;
	int f(void *a) { (void)a; limit_core(RLIM_INFINITY); syscall(SYS_set_tid_address, &word); crash(); return 0; }
	int kid = clone(f, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL), st;
	if (kid < 0 || waitpid(kid, &st, 0) != kid)
		return -1;
	return st == (SIGSEGV | 0x80) ? word : -2;
}

CASE(clear_tid)
{
	if (!ready())
		return;
	struct agent *p = spawn(NULL);
	CHECK_EQ(call(p, ag_tid_word, 0), 0, "[3.16] clear_child_tid is done after a core dump, too");
	retire(p, NULL);
}

/* ---- who dumps ---- */

static int which;
static void die_of(void) { signal(which, SIG_DFL); raise(which); }

CASE(signals)
{
	if (!ready())
		return;
	static const int cores[] = { SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS };
	static const int others[] = { SIGHUP, SIGINT, SIGKILL, SIGUSR1, SIGPIPE, SIGALRM, SIGTERM, SIGSTKFLT, SIGVTALRM, SIGPROF, SIGIO, SIGPWR, 40 };
	char text[64];
	for (unsigned i = 0; i < sizeof cores / sizeof *cores; i++) {
		which = cores[i];
		snprintf(text, sizeof text, "[3.2] signal %d dumps core", which);
		CHECK_EQ(run(die_of), which | 0x80, text);
	}
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
		which = others[i];
		snprintf(text, sizeof text, "[3.2] signal %d does not", which);
		CHECK_EQ(run(die_of), which, text);
	}
}

static void no_limit_left(void) { limit_core(0); crash(); }
static void small_limit(void) { limit_core(4095); crash(); }
static void cut_off(void) { limit_core(8192); crash(); }
static void undumpable(void) { prctl(PR_SET_DUMPABLE, 0); crash(); }
static void nowhere(void) { chdir("/proc"); crash(); }
static void odd_umask(void) { umask(0777); crash(); }

CASE(refusals)
{
	if (!ready())
		return;
	CHECK_EQ(run(no_limit_left), SIGSEGV, "[3.2] RLIMIT_CORE 0: no core");
	CHECK_EQ(run(small_limit), SIGSEGV, "[3.2] nor with less than a page");
	CHECK_EQ(run(undumpable), SIGSEGV, "[1.37,3.2] not dumpable: no core");
	CHECK_EQ(run(nowhere), SIGSEGV, "[3.2] where no file can be made: none");
	CHECK_EQ(run(odd_umask), SIGSEGV, "[3.2] a umask that takes the owner's rights: none");
	CHECK(access("core.x", F_OK) != 0, "[3.2] nothing is left");
	unlink("core");
	CHECK_EQ(run(cut_off), SIGSEGV | 0x80, "[3.2] a limit that cuts it off: a core all the same");
	struct stat st;
	CHECK(stat("core", &st) == 0 && st.st_size <= 8192, "[3.2] of at most that size");
	CHECK_EQ(run(crash), SIGSEGV | 0x80, "[3.2] a second one");
	CHECK(stat("core", &st) == 0 && st.st_size > 8192, "[3.2] takes the place of the first");
	unlink("core");
	MUST(mkdir("core", 0700));
	CHECK_EQ(run(crash), SIGSEGV, "[3.2] a directory in its place: none");
	MUST(rmdir("core"));
	MUST(symlink("elsewhere", "core"));
	CHECK_EQ(run(crash), SIGSEGV | 0x80, "[3.2] a symbolic link makes way");
	CHECK(lstat("core", &st) == 0 && S_ISREG(st.st_mode) && access("elsewhere", F_OK) != 0, "[3.2] and is not followed");
}

/* ---- the filter ---- */

static void filtered(void)
{
	strcpy(shared_page, "shared");
	int fd = open("/proc/self/coredump_filter", O_WRONLY);
	if (write(fd, "0x15", 4) != 4)
		_exit(98);
	crash();
}

static void filter_inherited(void)
{
	char b[32];
	int fd = open("/proc/self/coredump_filter", O_WRONLY);
	write(fd, "1", 1);
	pid_t pid = fork();
	if (pid == 0)
		_exit(read_file("/proc/self/coredump_filter", b, sizeof b) > 0 && !strcmp(b, "00000001\n") ? 0 : 1);
	_exit(WEXITSTATUS(reap(pid)));
}

CASE(filter)
{
	if (!ready())
		return;
	char b[32];
	CHECK(read_file("/proc/self/coredump_filter", b, sizeof b) > 0 && !strcmp(b, "00000033\n"), "[proc] coredump_filter is 33 at first");
	shared_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK_EQ(run(filtered), SIGSEGV | 0x80, "[3.2] with another filter");
	REQUIRE(load("core"));
	CHECK(segment_of(shared_page) && !memory(shared_page), "[3.2] shared anonymous memory may be left out");
	CHECK(memory(crash_ip) && !memcmp(memory(crash_ip), crash_ip, 8), "[3.2] private mappings of files taken in");
	CHECK_EQ(run(filter_inherited), 0, "[proc] the filter is inherited");
}

/* ---- the name ---- */

static void set_comm_and_crash(void)
{
	prctl(PR_SET_NAME, "a/b");
	crash();
}

static bool with_pattern(const char *pattern, void (*fn)(void), int want, const char *file, const char *text)
{
	char old[256];
	read_sysctl("kernel/core_pattern", old, sizeof old);
	REQUIRE(write_sysctl("kernel/core_pattern", pattern));
	unlink(file);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		limit_core(RLIM_INFINITY);
		fn();
		_exit(99);
	}
	int st = reap(pid);
	write_sysctl("kernel/core_pattern", *old ? old : "core");
	char name[300];
	snprintf(name, sizeof name, file, pid);
	bool there = access(name, F_OK) == 0;
	unlink(name);
	return tap_report(st == want && there == (want & 0x80 ? true : false), text, __FILE__, __LINE__, "status %#x, %s %s", st, name,
			  there ? "exists" : "does not exist");
}

static void drop_and_crash(void)
{
	prctl(PR_SET_DUMPABLE, 1);
	ag_drop(1000);		/* now it is suid_dumpable */
	crash();
}

CASE(names)
{
	if (!ready())
		return;
	NEED_ROOT("[3.2] core_pattern");
	int dumped = SIGSEGV | 0x80;
	struct utsname u;
	uname(&u);
	char want[400], pattern[400];
	with_pattern("c.%p", crash, dumped, "c.%d", "[3.2] core_pattern: %p");
	with_pattern("c.%i.%P", crash, dumped, "c.%1$d.%1$d", "[3.2] %i, %P");
	snprintf(want, sizeof want, "c.core.%d.0.0.%%%%", SIGSEGV);
	with_pattern("c.%e.%s.%u.%g.%%", crash, dumped, want, "[3.2] %e, %s, %u, %g, %%");
	snprintf(want, sizeof want, "c.%s", u.nodename);
	with_pattern("c.%h", crash, dumped, want, "[3.2] %h");
	with_pattern("c.%e", set_comm_and_crash, dumped, "c.a!b", "[3.2] a slash in a name becomes !");
	with_pattern("c.%f.%q%", crash, dumped, "c.core.", "[3.2] %f; what is unknown, and a last %, go");
	snprintf(pattern, sizeof pattern, "%s/abs", dir);
	with_pattern(pattern, crash, dumped, pattern, "[3.2] an absolute path");
	with_pattern("nodir/core", crash, SIGSEGV, "nodir/core", "[3.2] a directory that is not there: none");
	MUST(mkdir("sub", 0777));
	with_pattern("sub/core", crash, dumped, "sub/core", "[3.2] one that is");
	REQUIRE(write_sysctl("kernel/core_uses_pid", "1"));
	with_pattern("core", crash, dumped, "core.%d", "[3.2] core_uses_pid appends it");
	with_pattern("c.%p", crash, dumped, "c.%d", "[3.2] unless it is there");
	REQUIRE(write_sysctl("kernel/core_uses_pid", "0"));
	/* fs.suid_dumpable */
	with_pattern("core", drop_and_crash, SIGSEGV, "core", "[1.36,1.37] suid_dumpable 0: none after a change of ids");
	REQUIRE(write_sysctl("fs/suid_dumpable", "2"));
	with_pattern("core", drop_and_crash, SIGSEGV, "core", "[1.36,1.37] suid_dumpable 2: none with a relative name");
	snprintf(pattern, sizeof pattern, "%s/root-core", dir);
	char old[256];
	read_sysctl("kernel/core_pattern", old, sizeof old);
	REQUIRE(write_sysctl("kernel/core_pattern", pattern));
	struct stat st;
	if (in_chroot()) {
		tap_skip("[1.36,1.37] with an absolute one there is a core", IN_CHROOT);
		tap_skip("[1.37] that is root's", IN_CHROOT);
	} else {
		CHECK_EQ(run(drop_and_crash), dumped, "[1.36,1.37] with an absolute one there is a core");
		CHECK(stat(pattern, &st) == 0 && st.st_uid == 0, "[1.37] that is root's");
	}
	write_sysctl("kernel/core_pattern", *old ? old : "core");
	REQUIRE(write_sysctl("fs/suid_dumpable", "0"));
	CHECK(!write_sysctl("fs/suid_dumpable", "3"), "[1.35] suid_dumpable is 0, 1 or 2");
}

/* ---- races ---- */

/* Waits for the start, then does what it was told. */
static long ag_act(long what)
{
	wait_word(&sh->w[1], 1);
	switch (what) {
	case 0: crash(); break;
	case 1: _exit(5);
	case 2: exec_self("exit_7", NULL, NULL, NULL); break;
	}
	return 0;
}
HELPER(exit_7) { return 7; }

/* Crashes of two threads, exit_group, execve and SIGKILL at once: one of them decides, and nobody hangs. */
CASE_T(races, 120)
{
	if (!ready())
		return;
	int n = iterations(300) / 6;
	bool good = true, consistent = true;
	for (int i = 0; i < n; i++) {
		sh->nagents = 0;
		memset(sh->agent, 0, 5 * sizeof *sh->agent);
		struct agent *p = spawn(NULL), *t[4];
		call(p, ag_limit, -1);
		for (int j = 0; j < 4; j++)
			t[j] = spawn_thread(p);
		unlink("core");
		sh->w[1] = 0;
		for (int j = 0; j < 4; j++)
			post(t[(i + j) % 4], ag_act, j < 2 ? 0 : j == 2 && i & 1 ? 1 : j == 3 && i & 2 ? 2 : 3);
		set_word(&sh->w[1], 1);
		if (i & 4)
			kill(p->pid, SIGKILL);
		int st = reap(p->pid);
		good &= st == SIGSEGV || st == (SIGSEGV | 0x80) || st == SIGKILL || st == 5 << 8 || st == 7 << 8;
		struct stat f;
		bool there = stat("core", &f) == 0;
		/* SIGKILL may end a dump half way: then there is a file, and the status does not say so. */
		consistent &= there == !!(st & 0x80) || (i & 4 && there);
		if (!good || !consistent)
			tap_note("round %d: status %#x, core %d", i, st, there);
	}
	CHECK(good, "[3.4,3.20,10.14] crash, exit_group, execve and SIGKILL at once: one of them decides");
	CHECK(consistent, "[3.1] there is a core when the status says so, and but for SIGKILL only then");
}
