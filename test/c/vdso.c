/* vdso.c - the shared object in every program's memory: how it is found, what its functions say, what may be done to its pages. */
#include "lib/tap.h"

#include <elf.h>
#include <sys/auxv.h>

typedef int gettime_fn(clockid_t, struct timespec *);
typedef int gettimeofday_fn(struct timeval *, struct timezone *);
typedef time_t time_fn(time_t *);
typedef int getcpu_fn(unsigned *, unsigned *, void *);

static long long ns(const struct timespec *t) { return t->tv_sec * 1000000000LL + t->tv_nsec; }

static long long by_syscall(clockid_t clock)
{
	struct timespec t = { -1, -1 };
	syscall(SYS_clock_gettime, (long)clock, &t);
	return ns(&t);
}

/* ---- finding a function, as a C library does ---- */

static char *image(void) { return (char *)getauxval(AT_SYSINFO_EHDR); }

static unsigned sysv_hash(const char *name)
{
	unsigned h = 0, g;
	for (; *name; name++) {
		h = (h << 4) + (unsigned char)*name;
		g = h & 0xf0000000;
		h = (h ^ g >> 24) & ~g;
	}
	return h;
}

static unsigned gnu_hash(const char *name)
{
	unsigned h = 5381;
	for (; *name; name++)
		h = h * 33 + (unsigned char)*name;
	return h;
}

static void *dynamic(char *base, long tag)
{
	Elf64_Ehdr *e = (void *)base;
	Elf64_Phdr *p = (void *)(base + e->e_phoff);
	for (int i = 0; i < e->e_phnum; i++)
		if (p[i].p_type == PT_DYNAMIC)
			for (Elf64_Dyn *d = (void *)(base + p[i].p_offset); d->d_tag; d++)
				if (d->d_tag == tag)
					return base + d->d_un.d_ptr;
	return NULL;
}

/* Whether symbol `i` is the function of this name, in version LINUX_2.6. */
static bool matches(char *base, unsigned i, const char *name)
{
	Elf64_Sym *sym = (Elf64_Sym *)dynamic(base, DT_SYMTAB) + i;
	char *strings = dynamic(base, DT_STRTAB);
	unsigned short version = ((unsigned short *)dynamic(base, DT_VERSYM))[i] & 0x7fff;
	if (strcmp(strings + sym->st_name, name) || sym->st_shndx == SHN_UNDEF || ELF64_ST_TYPE(sym->st_info) != STT_FUNC)
		return false;
	for (Elf64_Verdef *d = dynamic(base, DT_VERDEF);; d = (void *)((char *)d + d->vd_next)) {
		Elf64_Verdaux *aux = (void *)((char *)d + d->vd_aux);
		if ((d->vd_ndx & 0x7fff) == version && !(d->vd_flags & VER_FLG_BASE))
			return d->vd_hash == sysv_hash("LINUX_2.6") && !strcmp(strings + aux->vda_name, "LINUX_2.6");
		if (!d->vd_next)
			return false;
	}
}

static void *value(char *base, unsigned i) { return base + ((Elf64_Sym *)dynamic(base, DT_SYMTAB))[i].st_value; }

static void *find(char *base, const char *name)
{
	unsigned *table = dynamic(base, DT_HASH);
	if (!table)
		return NULL;
	unsigned *buckets = table + 2, *chains = buckets + table[0];
	for (unsigned i = buckets[sysv_hash(name) % table[0]]; i; i = chains[i])
		if (matches(base, i, name))
			return value(base, i);
	return NULL;
}

static void *find_gnu(char *base, const char *name)
{
	unsigned *table = dynamic(base, DT_GNU_HASH), h = gnu_hash(name);
	if (!table)
		return NULL;
	unsigned *buckets = table + 4 + 2 * table[2], *chains = buckets + table[0];
	unsigned long word = ((unsigned long *)(table + 4))[h / 64 % table[2]];
	if (!(word >> h % 64 & word >> (h >> table[3]) % 64 & 1))
		return NULL;
	for (unsigned i = buckets[h % table[0]]; i; i++) {
		unsigned found = chains[i - table[1]];
		if ((found | 1) == (h | 1) && matches(base, i, name))
			return value(base, i);
		if (found & 1)
			break;
	}
	return NULL;
}

/* ---- the mappings ---- */

struct mapping {
	char *start;
	size_t len;
	char rights[5];
	char name[32];
};

/* The mappings with a name that begins so, lowest first; how many. */
static int mappings(const char *name, struct mapping *out, int max)
{
	char text[16384], *line = text;
	REQUIRE(read_file("/proc/self/maps", text, sizeof text) > 0);
	int n = 0;
	for (line = strtok(text, "\n"); line && n < max; line = strtok(NULL, "\n")) {
		unsigned long from, to;
		struct mapping m;
		if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %*d %31s", &from, &to, m.rights, m.name) == 4 && !strncmp(m.name, name, strlen(name))) {
			m.start = (char *)from;
			m.len = to - from;
			out[n++] = m;
		}
	}
	return n;
}

CASE(found)
{
	char *base = image();
	REQUIRE(base != NULL);
	CHECK((unsigned long)base % 4096 == 0 && !memcmp(base, ELFMAG, SELFMAG), "[10.17] AT_SYSINFO_EHDR names an ELF image");
	Elf64_Ehdr *e = (void *)base;
	CHECK(e->e_type == ET_DYN && e->e_machine == EM_X86_64, "[10.17] a shared object for this processor");
	struct mapping m;
	CHECK(mappings("[vdso]", &m, 1) == 1 && m.start == base && !strcmp(m.rights, "r-xp"), "[10.17] [vdso] is where it says, r-xp");
	CHECK(mappings("[vvar]", &m, 1) == 1 && m.start < base && !strcmp(m.rights, "r--p"), "[10.17] [vvar] is below, r--p");
	static const char *names[] = { "clock_gettime", "gettimeofday", "time", "clock_getres", "getcpu" };
	int missing = 0;
	for (unsigned i = 0; i < 5; i++) {
		char name[32];
		snprintf(name, sizeof name, "__vdso_%s", names[i]);
		void *f = find(base, name);
		missing += !f || f != find_gnu(base, name) || f != find(base, names[i]) || f != find_gnu(base, names[i]);
	}
	CHECK_EQ(missing, 0, "[time] all functions by both names and both hash tables, in version LINUX_2.6");
	CHECK(!find(base, "__vdso_nothing") && !find_gnu(base, "__vdso_nothing"), "[time] and no others");
	char *strings = dynamic(base, DT_STRTAB);
	Elf64_Phdr *p = (void *)(base + e->e_phoff);
	unsigned long soname = 0;
	for (int i = 0; i < e->e_phnum; i++)
		if (p[i].p_type == PT_DYNAMIC)
			for (Elf64_Dyn *d = (void *)(base + p[i].p_offset); d->d_tag; d++)
				if (d->d_tag == DT_SONAME)
					soname = d->d_un.d_val;
	CHECK(!strcmp(strings + soname, "linux-vdso.so.1"), "[time] its name is linux-vdso.so.1");
}

CASE(clocks)
{
	const struct { int id; const char *text; } clock[] = {
		{ CLOCK_REALTIME, "[time] CLOCK_REALTIME of the vDSO is between two system calls" },
		{ CLOCK_MONOTONIC, "[time] CLOCK_MONOTONIC" }, { CLOCK_MONOTONIC_RAW, "[time] CLOCK_MONOTONIC_RAW" },
		{ CLOCK_REALTIME_COARSE, "[time] CLOCK_REALTIME_COARSE" }, { CLOCK_MONOTONIC_COARSE, "[time] CLOCK_MONOTONIC_COARSE" },
		{ CLOCK_BOOTTIME, "[time] CLOCK_BOOTTIME" }, { CLOCK_TAI, "[time] CLOCK_TAI" },
		{ CLOCK_PROCESS_CPUTIME_ID, "[time] CLOCK_PROCESS_CPUTIME_ID" }, { CLOCK_THREAD_CPUTIME_ID, "[time] CLOCK_THREAD_CPUTIME_ID" },
		{ ~getpid() << 3 | 2, "[time] the CPU clock of a process by its number" },
	};
	gettime_fn *gettime = find(image(), "__vdso_clock_gettime");
	gettime_fn *getres = find(image(), "__vdso_clock_getres");
	REQUIRE(gettime && getres);
	int differ = 0;
	for (unsigned i = 0; i < sizeof clock / sizeof *clock; i++) {
		int wrong = 0;
		for (int round = 0; round < 500; round++) {
			struct timespec t = { -1, -1 };
			long long before = by_syscall(clock[i].id);
			wrong += gettime(clock[i].id, &t) != 0 || t.tv_nsec < 0 || t.tv_nsec >= 1000000000;
			wrong += ns(&t) < before || by_syscall(clock[i].id) < ns(&t);
		}
		CHECK_EQ(wrong, 0, clock[i].text);
		struct timespec a = { -1, -1 }, b = { -2, -2 };
		differ += getres(clock[i].id, &a) || syscall(SYS_clock_getres, (long)clock[i].id, &b) || ns(&a) != ns(&b);
		differ += getres(clock[i].id, NULL) != 0;
	}
	CHECK_EQ(differ, 0, "[time] clock_getres as the system call");
	struct timespec t;
	CHECK_EQ(gettime(9999, &t), -EINVAL, "[time] an unknown clock: EINVAL");
	CHECK_EQ(gettime(16, &t), -EINVAL, "[time] the first number beyond: EINVAL");
	CHECK_EQ(gettime(10, &t), -EINVAL, "[time] a number that is not used: EINVAL");
	CHECK_EQ(getres(9999, &t), -EINVAL, "[time] resolution of an unknown clock: EINVAL");
	int back = 0;
	long long last = 0;
	for (int i = 0; i < 20000; i++) {
		gettime(CLOCK_MONOTONIC, &t);
		back += ns(&t) < last;
		last = ns(&t);
	}
	CHECK_EQ(back, 0, "[time] the monotonic clock never goes back");
	struct timespec libc;
	long long before = by_syscall(CLOCK_MONOTONIC);
	REQUIRE(clock_gettime(CLOCK_MONOTONIC, &libc) == 0);
	CHECK(ns(&libc) >= before && by_syscall(CLOCK_MONOTONIC) >= ns(&libc), "[time] the C library's clock_gettime agrees");
}

CASE(time_of_day)
{
	gettimeofday_fn *tod = find(image(), "__vdso_gettimeofday");
	time_fn *seconds = find(image(), "__vdso_time");
	REQUIRE(tod && seconds);
	struct timeval tv = { -1, -1 };
	struct timezone tz = { 77, 77 };
	int wrong = 0;
	for (int i = 0; i < 500; i++) {
		long long before = by_syscall(CLOCK_REALTIME) / 1000;
		wrong += tod(&tv, NULL) != 0 || tv.tv_usec < 0 || tv.tv_usec >= 1000000;
		long long now = tv.tv_sec * 1000000LL + tv.tv_usec;
		wrong += now < before || by_syscall(CLOCK_REALTIME) / 1000 < now;
	}
	CHECK_EQ(wrong, 0, "[time] gettimeofday is between two system calls");
	CHECK(tod(&tv, &tz) == 0 && tz.tz_minuteswest == 0 && tz.tz_dsttime == 0, "[time] and says that there is no zone");
	tz.tz_dsttime = 77;
	CHECK(tod(NULL, &tz) == 0 && tz.tz_dsttime == 0, "[time] the zone alone");
	CHECK_EQ(tod(NULL, NULL), 0, "[time] neither");
	time_t stored = 0, before = by_syscall(CLOCK_REALTIME_COARSE) / 1000000000, t = seconds(&stored);
	CHECK(t == stored && t >= before && t <= by_syscall(CLOCK_REALTIME) / 1000000000, "[time] time");
	CHECK(seconds(NULL) >= t, "[time] time without a place to store it");
}

CASE(cpu)
{
	getcpu_fn *getcpu = find(image(), "__vdso_getcpu");
	REQUIRE(getcpu);
	cpu_set_t all, one;
	REQUIRE(sched_getaffinity(0, sizeof all, &all) == 0);
	int wrong = 0, cpus = 0;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &all))
			continue;
		CPU_ZERO(&one);
		CPU_SET(i, &one);
		REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
		unsigned cpu = 999, node = 999;
		wrong += getcpu(&cpu, &node, NULL) != 0 || cpu != (unsigned)i || node != 0;
		wrong += getcpu(&cpu, NULL, NULL) != 0 || getcpu(NULL, &node, NULL) != 0 || getcpu(NULL, NULL, NULL) != 0;
		cpus++;
	}
	CHECK(cpus > 0 && !wrong, "[sched] getcpu on each CPU");
}

/* One process publishes what the vDSO says, the other compares it with a system call, and the other way round. */
CASE(across_cpus)
{
	gettime_fn *gettime = find(image(), "__vdso_clock_gettime");
	REQUIRE(gettime);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct timespec t;
		for (long i = 0; !sh->w[0]; i++) {
			if (i & 1)
				gettime(CLOCK_MONOTONIC, &t);
			else
				syscall(SYS_clock_gettime, (long)CLOCK_MONOTONIC, &t);
			__atomic_store_n(&sh->v[0], ns(&t), __ATOMIC_SEQ_CST);
		}
		_exit(0);
	}
	int back = 0;
	for (int i = 0; i < 100000; i++) {
		struct timespec t;
		long seen = __atomic_load_n(&sh->v[0], __ATOMIC_SEQ_CST);
		if (i & 1)
			gettime(CLOCK_MONOTONIC, &t);
		else
			syscall(SYS_clock_gettime, (long)CLOCK_MONOTONIC, &t);
		back += ns(&t) < seen;
	}
	set_word(&sh->w[0], 1);
	reap(pid);
	CHECK_EQ(back, 0, "[time] neither goes back against the other on another CPU");
}

static void set_realtime(long long to)
{
	struct timespec t = { to / 1000000000, to % 1000000000 };
	if (syscall(SYS_clock_settime, (long)CLOCK_REALTIME, &t))
		_exit(1);
}

/* Small steps, which are taken back: the machine may not be the test's alone. */
CASE(setting)
{
	NEED_ROOT("[time] setting the clock");
	enum { STEP = 20000000 };
	gettime_fn *gettime = find(image(), "__vdso_clock_gettime");
	REQUIRE(gettime);
	struct timespec t;
	long long now = by_syscall(CLOCK_REALTIME);
	t = (struct timespec){ (now + STEP) / 1000000000, (now + STEP) % 1000000000 };
	if (syscall(SYS_clock_settime, (long)CLOCK_REALTIME, &t)) {
		tap_skip("[time] setting the clock", "not allowed here");
		return;
	}
	gettime(CLOCK_REALTIME, &t);
	CHECK(ns(&t) >= now + STEP, "[time] what was set is seen at once");
	set_realtime(by_syscall(CLOCK_REALTIME) - STEP);
	CHECK_ERR(syscall(SYS_clock_settime, (long)CLOCK_REALTIME, &((struct timespec){ 9000000000, 0 })), EINVAL, "[time] too far in the future: EINVAL");
	/* Another process steps the clock to and fro: each reading is of the time before or of the time after. */
	long long base = by_syscall(CLOCK_REALTIME) - by_syscall(CLOCK_MONOTONIC);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		for (int i = 0; i < 100; i++) {
			set_realtime(by_syscall(CLOCK_MONOTONIC) + base + (i & 1 ? 0 : STEP));
			usleep(200);
		}
		set_realtime(by_syscall(CLOCK_MONOTONIC) + base);
		set_word(&sh->w[0], 1);
		_exit(0);
	}
	/* From the calculation to the setting time passes: up to there a reading may be behind. */
	enum { SLACK = 10000000 };
	long rounds = 0, mixed = 0;
	int waited = 0;
	while (!sh->w[0] && (rounds < 1000000 || !waited++)) {
		long long from = by_syscall(CLOCK_MONOTONIC) + base;
		gettime(CLOCK_REALTIME, &t);
		long long to = by_syscall(CLOCK_MONOTONIC) + base, at = ns(&t);
		mixed += !((at >= from - SLACK && at <= to + SLACK) || (at >= from + STEP - SLACK && at <= to + STEP + SLACK));
		rounds++;
	}
	CHECK_EQ(reap(pid), 0, "[time] the clock was stepped");
	CHECK(rounds > 0 && mixed == 0, "[time] no reading is a mixture of before and after");
}

/* ---- the pages ---- */

CASE(pages)
{
	struct mapping vvar, vdso;
	REQUIRE(mappings("[vvar]", &vvar, 1) == 1 && mappings("[vdso]", &vdso, 1) == 1);
	CHECK_ERR(mprotect(vvar.start, vvar.len, PROT_READ | PROT_WRITE), EACCES, "[mm] nobody can write to [vvar]");
	CHECK_ERR(mprotect(vvar.start, vvar.len, PROT_READ | PROT_EXEC), EACCES, "[mm] nor execute it");
	int p[2];
	MUST(pipe(p));
	CHECK_EQ(write(p[1], vvar.start, 64), 64, "[mm] the kernel reads [vvar] for a program");
	CHECK_ERR(read(p[0], vvar.start, 64), EFAULT, "[mm] and does not write to it");
	CHECK_ERR(madvise(vvar.start, vvar.len, MADV_DODUMP), EINVAL, "[mm] [vvar] stays out of core dumps");
	CHECK_ERR(mremap(vdso.start, vdso.len, vdso.len + 4096, MREMAP_MAYMOVE), EFAULT, "[mm] [vdso] does not grow");
	CHECK(write(p[1], vdso.start, 4096) == 4096, "[mm] and [vdso]");
	pid_t pid = MUST(fork());
	if (pid == 0) {
		/* a breakpoint of one's own */
		if (mprotect(vdso.start, vdso.len, PROT_READ | PROT_WRITE | PROT_EXEC))
			_exit(1);
		*(volatile char *)find(vdso.start, "__vdso_time") = (char)0xc3;
		_exit(*(unsigned char *)find(vdso.start, "__vdso_time") == 0xc3 ? 0 : 2);
	}
	CHECK_EQ(reap(pid), 0, "[mm] a debugger can write to [vdso]");
	CHECK(*(unsigned char *)find(vdso.start, "__vdso_time") != 0xc3, "[mm] which nobody else sees");
}

CASE(after_fork)
{
	gettime_fn *gettime = find(image(), "__vdso_clock_gettime");
	REQUIRE(gettime);
	long long before = by_syscall(CLOCK_MONOTONIC);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct timespec t;
		struct mapping m;
		if (gettime(CLOCK_MONOTONIC, &t) || ns(&t) < before || mappings("[vdso]", &m, 1) != 1 || m.start != image())
			_exit(1);
		pid = fork();
		if (pid == 0)
			_exit(gettime(CLOCK_MONOTONIC, &t) || ns(&t) < before);
		_exit(reap(pid) != 0);
	}
	CHECK_EQ(reap(pid), 0, "[mm] fork's children and grandchildren have it at the same place");
}

HELPER(there)
{
	struct mapping m;
	struct timespec t;
	gettime_fn *gettime = find(image(), "__vdso_clock_gettime");
	return !gettime || gettime(CLOCK_MONOTONIC, &t) || mappings("[vdso]", &m, 1) != 1 || m.start != image();
}

CASE(after_exec)
{
	struct mapping m[4];
	pid_t pid = MUST(fork());
	if (pid == 0) {
		for (int n = mappings("[v", m, 4); n--;)
			munmap(m[n].start, m[n].len);
		exec_self("there", NULL, NULL, NULL);
		_exit(98);
	}
	CHECK_EQ(reap(pid), 0, "[10.17] a new program has it, whatever the old one did to its own");
}

static int use_after(void (*change)(void))
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		gettime_fn *gettime = find(image(), "__vdso_clock_gettime");
		struct timespec t;
		gettime(CLOCK_MONOTONIC, &t);
		change();
		gettime(CLOCK_MONOTONIC, &t);
		_exit(0);
	}
	return reap(pid);
}

static void unmap(void)
{
	struct mapping m;
	if (mappings("[vdso]", &m, 1) != 1 || munmap(m.start, m.len) || mappings("[vdso]", &m, 1))
		_exit(1);
}

static void unmap_data(void)
{
	struct mapping m[4];
	for (int n = mappings("[vvar", m, 4); n--;)
		munmap(m[n].start, m[n].len);
}

static void cover(void)
{
	struct mapping m;
	if (mappings("[vdso]", &m, 1) != 1 ||
	    mmap(m.start, m.len, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != m.start)
		_exit(1);
	for (size_t i = 0; i < m.len; i++)
		if (m.start[i])
			_exit(2);
	memset(m.start, 0xc3, m.len);
}

CASE(taken_away)
{
	CHECK_EQ(use_after(unmap) & 0x7f, SIGSEGV, "[mm] without [vdso] a call is a SIGSEGV");
	CHECK_EQ(use_after(unmap_data) & 0x7f, SIGSEGV, "[mm] without [vvar], too");
	CHECK_EQ(use_after(cover), 0, "[mm] another mapping can take its place");
}

/* All of it moves together, as a checkpointed program is put together again. */
CASE(moved)
{
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct mapping m[4];
		int n = mappings("[v", m, 4);
		char *base = image(), *lowest = m[0].start;
		size_t room = base + 65536 - lowest;
		char *to = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (to == MAP_FAILED)
			_exit(1);
		for (int i = 0; i < n; i++)
			if (m[i].start < base + 65536 &&
			    mremap(m[i].start, m[i].len, m[i].len, MREMAP_MAYMOVE | MREMAP_FIXED, to + (m[i].start - lowest)) == MAP_FAILED)
				_exit(2);
		char *moved = to + (base - lowest);
		struct mapping now;
		if (mappings("[vdso]", &now, 1) != 1 || now.start != moved)
			_exit(3);
		gettime_fn *gettime = find(moved, "__vdso_clock_gettime");
		struct timespec t;
		long long before = by_syscall(CLOCK_MONOTONIC);
		if (!gettime || gettime(CLOCK_MONOTONIC, &t) || ns(&t) < before || by_syscall(CLOCK_MONOTONIC) < ns(&t))
			_exit(4);
		_exit(0);
	}
	CHECK_EQ(reap(pid), 0, "[mm] moved by mremap it goes on working");
}
