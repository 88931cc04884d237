/* exec.c - section 10: execve: errors, scripts, limits, what is kept and what is reset (rules 10.1-10.17). */
#include "lib/tap.h"

#include <elf.h>
#include <stddef.h>
#include <sys/auxv.h>

#ifndef AT_EXECVE_CHECK
#define AT_EXECVE_CHECK 0x10000
#endif

static char *const no_args[] = { "x", NULL };
static char *const no_env[] = { NULL };

static long ex(const void *path, const void *argv, const void *envp) { return syscall(SYS_execve, path, argv, envp); }

/* ---- errors ---- */

CASE(path_errors)
{
	char longp[4200], path[256];
	memset(longp, 'a', sizeof longp);
	longp[4199] = 0;
	CHECK_ERR(ex(BADPTR, no_args, no_env), EFAULT, "[10.1] bad path pointer: EFAULT");
	CHECK_ERR(ex(NULL, no_args, no_env), EFAULT, "[10.1] NULL path: EFAULT");
	CHECK_ERR(ex("", no_args, no_env), ENOENT, "[10.1] empty path: ENOENT");
	CHECK_ERR(ex(longp, no_args, no_env), ENAMETOOLONG, "[10.1] a path longer than 4095: ENAMETOOLONG");
	longp[300] = 0;
	longp[0] = '/';
	CHECK_ERR(ex(longp, no_args, no_env), ENAMETOOLONG, "[10.1] a component longer than 255: ENAMETOOLONG");
	CHECK_ERR(ex("/nonexistent/x", no_args, no_env), ENOENT, "[10.1] no such directory: ENOENT");
	CHECK_ERR(ex("/nonexistent", no_args, no_env), ENOENT, "[10.1] no such file: ENOENT");
	IF_SINCE(6, 18, "[10.1] the file is looked up before argv is read")
		CHECK_ERR(ex("/nonexistent", BADPTR, no_env), ENOENT, "[10.1] the file is looked up before argv is read");
	CHECK_ERR(ex("/", no_args, no_env), EACCES, "[10.1] a directory: EACCES");
	snprintf(path, sizeof path, "%s", tmp_path("plain"));
	REQUIRE(write_file(path, "hello", 5, 0644));
	CHECK_ERR(ex(path, no_args, no_env), EACCES, "[10.1] no execute bit: EACCES, for root as well");
	strcat(path, "/x");
	CHECK_ERR(ex(path, no_args, no_env), ENOTDIR, "[10.1] a file as directory: ENOTDIR");
	snprintf(path, sizeof path, "%s", tmp_path("loop"));
	MUST(symlink(path, path));
	CHECK_ERR(ex(path, no_args, no_env), ELOOP, "[10.1] a symlink to itself: ELOOP");
	CHECK_ERR(ex("/dev/null", no_args, no_env), EACCES, "[10.1] a device: EACCES");
	CHECK_ERR(ex(self_path, BADPTR, no_env), EFAULT, "[10.1] bad argv: EFAULT");
	CHECK_ERR(ex(self_path, no_args, BADPTR), EFAULT, "[10.1] bad envp: EFAULT");
	void *bad[] = { "x", BADPTR, NULL };
	CHECK_ERR(ex(self_path, bad, no_env), EFAULT, "[10.1] a bad pointer in argv: EFAULT");
	char **edge = (char **)map_edge();
	edge[-1] = "x";
	CHECK_ERR(ex(self_path, edge - 1, no_env), EFAULT, "[10.1] an argv that runs into a hole: EFAULT");
	char *s = map_edge();
	memset(s - 8, 'a', 8);
	void *unterminated[] = { s - 8, NULL };
	CHECK_ERR(ex(self_path, unterminated, no_env), EFAULT, "[10.1] a string that runs into a hole: EFAULT");
	CHECK_ERR(ex(s - 8, no_args, no_env), EFAULT, "[10.1] a path that runs into a hole: EFAULT");
}

static char *file_of(const char *name, const void *data, size_t n)
{
	static char path[4][256];
	static int at;
	char *p = path[at++ & 3];
	snprintf(p, sizeof path[0], "%s", tmp_path(name));
	REQUIRE(write_file(p, data, n, 0755));
	return p;
}

CASE(format_errors)
{
	CHECK_ERR(ex(file_of("empty", "", 0), no_args, no_env), ENOEXEC, "[10.3] an empty file: ENOEXEC");
	CHECK_ERR(ex(file_of("text", "echo hi\n", 8), no_args, no_env), ENOEXEC, "[10.3] text without #!: ENOEXEC");
	CHECK_ERR(ex(file_of("elf4", "\177ELF", 4), no_args, no_env), ENOEXEC, "[10.3] an ELF file of four bytes: ENOEXEC");
	CHECK_ERR(ex(file_of("blank", "#!   \n", 6), no_args, no_env), ENOEXEC, "[10.3] #! with a blank interpreter: ENOEXEC");
	CHECK_ERR(ex(file_of("bang", "#!", 2), no_args, no_env), EACCES, "[10.3] #! and the end of the file: the name is empty, which is the working directory: EACCES");
	CHECK_ERR(ex(file_of("nul", "#!\0/bin/sh\n", 11), no_args, no_env), EACCES, "[10.3] also #! and a NUL");
	char line[600] = "#!/";
	memset(line + 3, 'x', 400);
	CHECK_ERR(ex(file_of("long", line, 500), no_args, no_env), ENOEXEC, "[10.3] an interpreter's name longer than the buffer: ENOEXEC");
	Elf64_Ehdr h;
	int fd = MUST(open(self_path, O_RDONLY));
	REQUIRE(read(fd, &h, sizeof h) == sizeof h);
	close(fd);
	CHECK_ERR(ex(file_of("trunc", &h, 60), no_args, no_env), ENOEXEC, "[10.3] a truncated ELF header: ENOEXEC");
	Elf64_Ehdr b = h;
	b.e_machine = EM_ARM;
	CHECK_ERR(ex(file_of("arm", &b, sizeof b), no_args, no_env), ENOEXEC, "[10.3] ELF of another machine: ENOEXEC");
	b = h;
	b.e_type = ET_REL;
	CHECK_ERR(ex(file_of("rel", &b, sizeof b), no_args, no_env), ENOEXEC, "[10.3] a relocatable file: ENOEXEC");
	b = h;
	b.e_phnum = 0;
	CHECK_ERR(ex(file_of("noph", &b, sizeof b), no_args, no_env), ENOEXEC, "[10.3] no program headers: ENOEXEC");
	b = h;
	b.e_phentsize = 7;
	CHECK_ERR(ex(file_of("phent", &b, sizeof b), no_args, no_env), ENOEXEC, "[10.3] a wrong program header size: ENOEXEC");
	CHECK_ERR(ex(file_of("nohdrs", &h, sizeof h), no_args, no_env), ENOEXEC, "[10.3] program headers beyond the end of the file: ENOEXEC");
	CHECK_EQ(getppid() > 0, 1, "[10.13] and the process still runs");
}

/* Fork, exec, and tell how it ended: an exit status word, or -errno if execve returned. */
static int run(const char *path, char *const argv[], char *const envp[])
{
	sh->v[10] = 0;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		setrlimit(RLIMIT_CORE, &none);
		ex(path, argv, envp);
		sh->v[10] = -errno;
		_exit(111);
	}
	int st = reap(pid);
	return sh->v[10] ? (int)sh->v[10] : st;
}

CASE(hostile_elf)
{
	/* whatever the headers say: an error or a killed process, no more */
	char buf[8192];
	int fd = MUST(open(self_path, O_RDONLY)), survived = 0;
	REQUIRE(read(fd, buf, sizeof buf) == sizeof buf);
	close(fd);
	unsigned seed = 12345;
	for (int i = 0; i < 40; i++) {
		char bad[8192];
		memcpy(bad, buf, sizeof bad);
		Elf64_Ehdr *h = (Elf64_Ehdr *)bad;
		Elf64_Phdr *p = (Elf64_Phdr *)(bad + sizeof *h);
		switch (i) {
		case 0: h->e_entry = 0xffffffff80000000UL; break;
		case 1: h->e_phoff = ~0UL - 10; break;
		case 2: h->e_phnum = 0xffff; break;
		case 3: p[0].p_vaddr = 0xffff800000000000UL; break;
		case 4: p[0].p_memsz = ~0UL; break;
		case 5: p[0].p_filesz = ~0UL; break;
		case 6: p[0].p_offset = ~0UL - 4095; break;
		case 7: p[0].p_vaddr = 0; break;
		case 8: p[0].p_align = 3; break;
		case 9: p[0].p_filesz = p[0].p_memsz + 4096; break;
		case 10: h->e_entry = 0; break;
		case 11: for (int k = 0; k < h->e_phnum; k++) p[k].p_type = PT_INTERP; break;
		case 12: for (int k = 0; k < h->e_phnum; k++) p[k].p_type = PT_NULL; break;
		default:
			for (int k = 0; k < 8; k++) {
				seed = seed * 1103515245 + 12345;
				bad[16 + (seed >> 8) % 600] = seed >> 20;
			}
		}
		char *path = file_of("bad", bad, sizeof bad);
		run(path, no_args, no_env);
		survived++;
	}
	CHECK_EQ(survived, 40, "[10.3] hostile ELF headers end in an error or a signal");
}

CASE(busy)
{
	char path[256];
	snprintf(path, sizeof path, "%s", tmp_path("busy"));
	REQUIRE(copy_self(path, 0755));
	int fd = MUST(open(path, O_WRONLY));
	CHECK_ERR(ex(path, no_args, no_env), ETXTBSY, "[10.2] a file that is open for writing: ETXTBSY");
	IF_SINCE(6, 18, "[10.1] before argv is read")
		CHECK_ERR(ex(path, BADPTR, no_env), ETXTBSY, "[10.1] before argv is read");
	close(fd);
	char *const argv[] = { path, "@status", "7", NULL };
	CHECK_EQ(run(path, argv, no_env), 7 << 8, "[10.2] closed, it runs");
	int go[2];
	char in[16];
	MUST(pipe(go));
	snprintf(in, sizeof in, "%d", go[0]);
	pid_t pid = vfork();
	if (pid == 0) {
		char *const a[] = { path, "@wait_eof", in, NULL };
		close(go[1]);
		execv(path, a);
		_exit(98);
	}
	CHECK_ERR(open(path, O_WRONLY), ETXTBSY, "[10.2] a running program cannot be opened for writing");
	CHECK_ERR(truncate(path, 0), ETXTBSY, "[10.2] nor truncated");
	CHECK_OK(rename(path, tmp_path("other")), "[10.2] but renamed");
	CHECK_OK(unlink(tmp_path("other")), "[10.2] and unlinked");
	close(go[1]);
	CHECK_EQ(reap(pid), 0, "[10.2] and goes on");
}

HELPER(status)
{
	return argc > 1 ? atoi(argv[1]) : 0;
}

HELPER(wait_eof)
{
	char c;
	while (read(atoi(argv[1]), &c, 1) > 0)
		;
	return 0;
}

/* ---- arguments ---- */

HELPER(args)
{
	/* argv[1..] are "want" and the strings that must follow */
	extern char **environ;
	if (argc != 4 || strcmp(argv[1], "one") || strcmp(argv[2], "") || strcmp(argv[3], "three words here"))
		return 1;
	if (!environ[0] || strcmp(environ[0], "A=1") || !environ[1] || strcmp(environ[1], "B=") || environ[2])
		return 2;
	return argv[4] == NULL ? 0 : 3;
}

HELPER(count)
{
	long n = 0;
	for (int i = 1; i < argc; i++)
		n += strlen(argv[i]) + 1;
	return n == atol(getenv("WANT")) ? 0 : 1;
}

CASE(arguments)
{
	char *const argv[] = { self_path, "@args", "one", "", "three words here", NULL };
	char *const env[] = { "A=1", "B=", NULL };
	CHECK_EQ(run(self_path, argv, env), 0, "[10.1] arguments and environment arrive, empty ones too");
}

CASE(no_argv)
{
	char path[256];
	snprintf(path, sizeof path, "%s", tmp_path("tiny"));
	/* a program that exits with argc | (argv[0][0] == 0) << 4 */
	static const unsigned char code[] = {
		0x48, 0x8b, 0x3c, 0x24,				/* mov (%rsp), %rdi */
		0x48, 0x8b, 0x44, 0x24, 0x08,			/* mov 8(%rsp), %rax */
		0x48, 0x85, 0xc0, 0x74, 0x08,			/* test %rax,%rax; jz out */
		0x80, 0x38, 0x00, 0x75, 0x03,			/* cmpb $0,(%rax); jne out */
		0x83, 0xcf, 0x10,				/* or $16, %edi */
		0xb8, 0xe7, 0x00, 0x00, 0x00, 0x0f, 0x05,	/* mov $231, %eax; syscall */
	};
	struct { Elf64_Ehdr h; Elf64_Phdr p; unsigned char code[sizeof code]; } f = {
		.h = { .e_ident = "\177ELF\2\1\1", .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = 1,
		       .e_entry = 0x400000 + sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr), .e_phoff = sizeof(Elf64_Ehdr),
		       .e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1 },
		.p = { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = 0x400000, .p_filesz = sizeof f, .p_memsz = sizeof f,
		       .p_align = 4096 },
	};
	memcpy(f.code, code, sizeof code);
	REQUIRE(write_file(path, &f, sizeof f, 0755));
	CHECK_EQ(run(path, no_args, no_env), 1 << 8, "[10.7] (a tiny ELF file runs)");
	char *const empty[] = { NULL };
	CHECK_EQ(run(path, NULL, no_env), 17 << 8, "[10.7] argv NULL: argc 1 and an empty argv[0]");
	CHECK_EQ(run(path, empty, no_env), 17 << 8, "[10.7] an empty argv is the same");
	char *const three[] = { "a", "b", "c", NULL };
	CHECK_EQ(run(path, three, NULL), 3 << 8, "[10.7] argc is counted; a NULL envp is fine");
}

CASE(argument_limits)
{
	char *big = mmap(NULL, 131072 + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(big != MAP_FAILED);
	memset(big, 'x', 131072 + 1);
	char *argv[40] = { self_path, "@count", big };
	char want[32];
	char *env[] = { want, NULL };
	big[131072] = 0;
	CHECK_EQ(run(self_path, argv, env), -E2BIG, "[10.6] a string of 131072 bytes and its NUL: E2BIG");
	big[131071] = 0;
	snprintf(want, sizeof want, "WANT=%d", 131072);
	CHECK_EQ(run(self_path, argv, env), 0, "[10.6] one byte less works");
	struct rlimit rl = { 8 << 20, RLIM_INFINITY };
	setrlimit(RLIMIT_STACK, &rl);
	for (int i = 2; i < 17; i++)
		argv[i] = big;
	snprintf(want, sizeof want, "WANT=%d", 15 * 131072);
	CHECK_EQ(run(self_path, argv, env), 0, "[10.6] 8 MiB stack: 15 strings of 128 KiB fit");
	argv[17] = big;
	CHECK_EQ(run(self_path, argv, env), -E2BIG, "[10.6] 16 do not: E2BIG");
	rl.rlim_cur = 256 * 1024;
	setrlimit(RLIMIT_STACK, &rl);
	argv[3] = NULL;
	big[120000] = 0;
	snprintf(want, sizeof want, "WANT=%d", 120001);
	CHECK_EQ(run(self_path, argv, env), 0, "[10.6] a small stack limit: 128 KiB are always allowed");
	argv[3] = big;
	argv[4] = NULL;
	CHECK_EQ(run(self_path, argv, env), -E2BIG, "[10.6] more are not");
	/* garbage and too big: the arguments are copied before the format is looked at */
	char *path = file_of("garbage", "garbage", 7);
	CHECK_EQ(run(path, argv, env), -E2BIG, "[10.1] garbage with too many arguments: E2BIG before ENOEXEC");
}

/* ---- scripts ---- */

/* A copy of this program with one word of its headers changed. */
static char *patched(const char *name, size_t at, const void *data, size_t n)
{
	static char path[256];
	snprintf(path, sizeof path, "%s", tmp_path(name));
	REQUIRE(copy_self(path, 0755));
	int fd = MUST(open(path, O_WRONLY));
	REQUIRE(pwrite(fd, data, n, at) == (ssize_t)n);
	close(fd);
	return path;
}

/* The file offset of the first program header of a type. */
static size_t header_of(unsigned type, Elf64_Phdr *out)
{
	Elf64_Ehdr h;
	int fd = MUST(open(self_path, O_RDONLY));
	REQUIRE(read(fd, &h, sizeof h) == sizeof h);
	for (int i = 0; i < h.e_phnum; i++) {
		size_t at = h.e_phoff + i * sizeof *out;
		REQUIRE(pread(fd, out, sizeof *out, at) == sizeof *out);
		if (out->p_type == type) {
			close(fd);
			return at;
		}
	}
	REQUIRE(!"a program header of this type");
	return 0;
}

/* As run(), of this program as helper `status`, with a limit. */
static int run_limited(int resource, rlim_t value)
{
	sh->v[10] = 0;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		struct rlimit none = { 0, 0 }, small = { value, value };
		setrlimit(RLIMIT_CORE, &none);
		setrlimit(resource, &small);
		exec_self("status", NULL, NULL, NULL);
		sh->v[10] = -errno;
		_exit(111);
	}
	int st = reap(pid);
	return sh->v[10] ? (int)sh->v[10] : st;
}

CASE(late_failures)
{
	char *const argv[] = { "x", "@status", NULL };
	Elf64_Phdr load, note;
	size_t at = header_of(PT_LOAD, &load);
	unsigned char other[] = { 1, 2 };
	CHECK_EQ(run(patched("class", EI_CLASS, other, 2), argv, no_env), 0, "[10.3] class and byte order are not looked at");
	uint64_t kernel = 0xffff800000000000UL, huge = 1UL << 47, one = load.p_vaddr + 1;
	CHECK_EQ(run(patched("kernel", at + offsetof(Elf64_Phdr, p_vaddr), &kernel, 8), argv, no_env), SIGSEGV, "[10.13] a segment outside of user memory is found too late: SIGSEGV");
	CHECK_EQ(run(patched("huge", at + offsetof(Elf64_Phdr, p_memsz), &huge, 8), argv, no_env), SIGSEGV, "[10.13] one that is too large");
	CHECK_EQ(run(patched("odd", at + offsetof(Elf64_Phdr, p_vaddr), &one, 8), argv, no_env), SIGSEGV, "[10.13] one that does not fit its place in the file");
	CHECK_EQ(run_limited(RLIMIT_AS, 1 << 20), SIGSEGV, "[10.13] too little address space for the new program");
	CHECK_EQ(run_limited(RLIMIT_DATA, 0), SIGSEGV, "[10.13] no room for its data");
	CHECK_EQ(run_limited(RLIMIT_STACK, 0), SIGSEGV, "[10.13] nor for its stack");
	CHECK_EQ(run_limited(RLIMIT_FSIZE, 0), 0, "[10.13] other limits do not matter");
	/* interpreters */
	at = header_of(PT_NOTE, &note);
	static char head[128];
	const struct {
		const char *content;
		size_t n;
		int want;
		const char *text;
	} interp[] = {
		{ "abc", 3, -EIO, "[10.3] an interpreter that is too short for an ELF header: EIO" },
		{ head, sizeof head, -ELIBBAD, "[10.3] one that is none: ELIBBAD" },
		{ NULL, 0, -ENOENT, "[10.3] one that is not there: ENOENT" },
	};
	memset(head, 'x', sizeof head);
	for (int i = 0; i < 3; i++) {
		char name[256];
		snprintf(name, sizeof name, "%s", tmp_path("interp"));
		unlink(name);
		if (interp[i].content)
			REQUIRE(write_file(name, interp[i].content, interp[i].n, 0755));
		char *path = patched("dyn", 0, "\177ELF", 4);
		int fd = MUST(open(path, O_RDWR));
		struct stat st;
		MUST(fstat(fd, &st));
		Elf64_Phdr p = note;
		p.p_type = PT_INTERP, p.p_offset = st.st_size, p.p_filesz = strlen(name) + 1;
		REQUIRE(pwrite(fd, &p, sizeof p, at) == sizeof p && pwrite(fd, name, strlen(name) + 1, st.st_size) > 0);
		close(fd);
		CHECK_EQ(run(path, argv, no_env), interp[i].want, interp[i].text);
	}
}

HELPER(script_args)
{
	/* called as: interp @script_args[ arg] script a b; prints argc and the argument seen, as status */
	return argc == 4 && !strcmp(argv[2], "a") && !strcmp(argv[3], "b") ? 0 : 10 + argc;
}

static char *script(const char *name, const char *fmt, const char *interp, const char *arg)
{
	char line[1024];
	snprintf(line, sizeof line, fmt, interp, arg);
	return file_of(name, line, strlen(line));
}

HELPER(script_one)
{
	/* "@script_one" is the optional argument: whole rest of the line; then the script's path as given */
	return argc == 3 && !strcmp(argv[2], "x y") && strstr(argv[1], "/sc") ? 0 : 10 + argc;
}

CASE(scripts)
{
	char dir[256];
	snprintf(dir, sizeof dir, "%s", tmp_path(""));
	char *argv[] = { "ignored", "a", "b", NULL };
	char *p = script("s1", "#!%s %s\n", self_path, "@script_args");
	CHECK_EQ(run(p, argv, no_env), 0, "[10.4] a script: interpreter, argument, path, the rest of argv");
	p = script("s2", "#!   %s \t %s \t \n", self_path, "@script_args");
	CHECK_EQ(run(p, argv, no_env), 0, "[10.4] blanks around are stripped");
	p = script("s3", "#!%s %s", self_path, "@script_args");
	CHECK_EQ(run(p, argv, no_env), 0, "[10.4] a missing final newline is fine");
	char *one[] = { "ignored", "x y", NULL };
	p = script("sc4", "#!%s %s\n", self_path, "@script_one");
	CHECK_EQ(run(p, one, no_env), 0, "[10.4] the path is passed as given");
	p = script("s5", "#!%s %s\n", "/nonexistent", "");
	CHECK_EQ(run(p, argv, no_env), -ENOENT, "[10.4] no such interpreter: ENOENT");
	p = script("s6", "#!%s %s\n", "/", "");
	CHECK_EQ(run(p, argv, no_env), -EACCES, "[10.4] an interpreter that cannot be executed: EACCES");
	/* nesting */
	char name[8], prev[PATH_MAX];
	snprintf(prev, sizeof prev, "%s", self_path);
	int got[8];
	for (int i = 1; i <= 6; i++) {
		snprintf(name, sizeof name, "n%d", i);
		p = script(name, "#!%s %s\n", prev, i == 1 ? "@status" : "");
		snprintf(prev, sizeof prev, "%s", p);
		char *a[] = { p, NULL };
		got[i] = run(p, a, no_env);
	}
	CHECK(got[1] == 0 && got[2] == 0 && got[5] == 0, "[10.4] up to 5 nested scripts are ok");
	CHECK_EQ(got[6], -ELOOP, "[10.4] the sixth: ELOOP");
	int fd = MUST(open(prev, O_WRONLY | O_APPEND));
	CHECK_EQ(run(prev, argv, no_env), -ETXTBSY, "[10.2] a script that is open for writing: ETXTBSY");
	close(fd);
	char line[1024] = "#!";
	strcat(line, self_path);
	strcat(line, " @status");
	size_t n = strlen(line);
	memset(line + n, ' ', 300);
	strcpy(line + n + 300, "\n");
	p = file_of("s7", line, strlen(line));
	char *a[] = { p, NULL };
	CHECK_EQ(run(p, a, no_env), 0, "[10.3] a line longer than 256 with a complete interpreter is accepted");
}

HELPER(names)
{
	char comm[16];
	prctl(PR_GET_NAME, comm, 0, 0, 0);
	const char *fn = (const char *)getauxval(AT_EXECFN);
	return (strcmp(comm, getenv("COMM")) ? 0 : 1) | (fn && strstr(fn, getenv("COMM")) ? 2 : 0);
}

CASE(names)
{
	char *env[] = { "COMM=a-very-long-nam", NULL };
	char path[256];
	snprintf(path, sizeof path, "%s", tmp_path("a-very-long-name-of-a-program"));
	REQUIRE(copy_self(path, 0755));
	char *argv[] = { "whatever", "@names", NULL };
	CHECK_EQ(run(path, argv, env), 3 << 8, "[1.33] comm is the basename of the path, 15 bytes; AT_EXECFN the path");
	char *p = script("scriptname", "#!%s %s\n", self_path, "@names");
	char *env2[] = { "COMM=scriptname", NULL };
	CHECK_EQ(run(p, argv, env2), 3 << 8, "[1.33,10.4] comm and AT_EXECFN of a script are the script's");
}

/* ---- execveat ---- */

static int run_at(int fd, const char *path, int flags, const char *arg)
{
	sh->v[10] = 0;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char *const argv[] = { "x", "@status", (char *)arg, NULL };
		long r = syscall(SYS_execveat, (long)fd, path, argv, no_env, (long)flags);
		sh->v[10] = r == 0 ? 1000 : -errno;
		_exit(111);
	}
	int st = reap(pid);
	return sh->v[10] ? (int)sh->v[10] : st;
}

CASE(execveat)
{
	char dir[256];
	snprintf(dir, sizeof dir, "%s", tmp_path(""));
	REQUIRE(copy_self(tmp_path("prog"), 0755));
	MUST(symlink("prog", tmp_path("link")));
	int d = MUST(open(dir, O_RDONLY | O_DIRECTORY)), f = MUST(open(self_path, O_RDONLY)), o = MUST(open(self_path, O_PATH));
	CHECK_EQ(run_at(d, "prog", 0, "3"), 3 << 8, "[10.8] relative to a directory");
	CHECK_EQ(run_at(f, "", AT_EMPTY_PATH, "4"), 4 << 8, "[10.8] by descriptor with AT_EMPTY_PATH");
	CHECK_EQ(run_at(o, "", AT_EMPTY_PATH, "5"), 5 << 8, "[10.8] an O_PATH descriptor is fine");
	CHECK_EQ(run_at(f, "", 0, "4"), -ENOENT, "[10.8] an empty path without the flag: ENOENT");
	CHECK_EQ(run_at(d, "", AT_EMPTY_PATH, "4"), -EACCES, "[10.8] a directory: EACCES");
	CHECK_EQ(run_at(d, BADPTR, 0x40000000, "4"), -EFAULT, "[10.1] the path is read before the flags are looked at: EFAULT");
	CHECK_EQ(run_at(d, "link", AT_SYMLINK_NOFOLLOW, "4"), -ELOOP, "[10.8] a symlink with NOFOLLOW: ELOOP");
	CHECK_EQ(run_at(d, "link", 0, "6"), 6 << 8, "[10.8] followed otherwise");
	CHECK_EQ(run_at(d, "prog", 0x4, "4"), -EINVAL, "[10.8] unknown flag: EINVAL");
	CHECK_EQ(run_at(999, "prog", 0, "4"), -EBADF, "[10.8] a descriptor that is not open: EBADF");
	CHECK_EQ(run_at(f, "prog", 0, "4"), -ENOTDIR, "[10.8] relative to a file: ENOTDIR");
	CHECK_EQ(run_at(999, self_path, 0, "7"), 7 << 8, "[10.8] an absolute path ignores the descriptor");
	REQUIRE(write_file(tmp_path("plain"), "x", 1, 0644));
	IF_SINCE(6, 14, "[10.8] AT_EXECVE_CHECK") {
		CHECK_EQ(run_at(d, "prog", AT_EXECVE_CHECK, "4"), 1000, "[10.8] AT_EXECVE_CHECK only checks");
		CHECK_EQ(run_at(d, "plain", AT_EXECVE_CHECK, "4"), -EACCES, "[10.8] and finds a missing permission");
	}
}

HELPER(fd_script)
{
	/* the script's name as the interpreter sees it */
	return argc > 1 && !strncmp(argv[1], getenv("WANT"), strlen(getenv("WANT"))) ? 0 : 10 + argc;
}

static int run_script_fd(int fd, const char *path, int flags, const char *want)
{
	sh->v[10] = 0;
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char w[64];
		char *const argv[] = { "x", NULL }, *const env[] = { w, NULL };
		snprintf(w, sizeof w, "WANT=%s", want);
		syscall(SYS_execveat, (long)fd, path, argv, env, (long)flags);
		sh->v[10] = -errno;
		_exit(111);
	}
	int st = reap(pid);
	return sh->v[10] ? (int)sh->v[10] : st;
}

CASE(script_by_fd)
{
	script("fds", "#!%s %s\n", self_path, "@fd_script");
	int fd = MUST(open(tmp_path("fds"), O_RDONLY)), ce = MUST(open(tmp_path("fds"), O_RDONLY | O_CLOEXEC)),
	    d = MUST(open(tmp_path(""), O_RDONLY | O_DIRECTORY));
	char want[32];
	snprintf(want, sizeof want, "/dev/fd/%d", fd);
	CHECK_EQ(run_script_fd(fd, "", AT_EMPTY_PATH, want), 0, "[10.5] a script by descriptor: its name is /dev/fd/N");
	snprintf(want, sizeof want, "/dev/fd/%d/fds", d);
	CHECK_EQ(run_script_fd(d, "fds", 0, want), 0, "[10.5] relative to a directory: /dev/fd/N/path");
	CHECK_EQ(run_script_fd(ce, "", AT_EMPTY_PATH, "x"), -ENOENT, "[10.5] ENOENT if the descriptor is close-on-exec");
}

/* ---- limits and flags ---- */

HELPER(fork_and_move)
{
	/* has exec'ed: its own child has not, so it may be moved to another group */
	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	int r = setpgid(pid, pid) ? errno : 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r;
}

CASE(exec_flag)
{
	char *argv[] = { self_path, "@fork_and_move", NULL };
	CHECK_EQ(run(self_path, argv, no_env), 0, "[10.19] the mark of exec is cleared by fork: setpgid of a child works");
}

static long limit_nproc(long n)
{
	struct rlimit rl = { n, n };
	return setrlimit(RLIMIT_NPROC, &rl);
}

CASE(nproc)
{
	NEED_ROOT("[6.15] RLIMIT_NPROC and exec");
	/* this program itself may be below a directory that is root's alone */
	char *copy = strdup(tmp_path("nproc"));
	REQUIRE(chmod(tmp_path(""), 0755) == 0 && copy_self(copy, 0755));
	struct agent *a = spawn(NULL), *b = spawn(NULL);
	REQUIRE(call(a, ag_drop, 61239) == 0 && call(b, ag_drop, 61239) == 0);
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char *argv[] = { copy, "@status", "7", NULL };
		limit_nproc(1);
		if (ag_drop(61239))		/* the user is over its limit now */
			_exit(90);
		errno = 0;
		execv(copy, argv);
		if (errno != EAGAIN)
			_exit(91);
		set_word(&sh->w[0], 1);		/* the others leave */
		wait_word(&sh->w[1], 1);
		execv(copy, argv);
		_exit(errno);
	}
	wait_word(&sh->w[0], 1);
	retire(a, NULL);
	retire(b, NULL);
	set_word(&sh->w[1], 1);
	CHECK_EQ(reap(pid), 7 << 8, "[6.15] setuid to a user over its limit works, exec is EAGAIN until it is under it again");
}

/* ---- kept and reset ---- */

/* What the new program found: a word of bits, one for each of `text`, set for what is wrong. */
static void report_state(pid_t pid, int p[2], const char *const *text, int count)
{
	unsigned bad = ~0u;
	close(p[1]);
	if (read(p[0], &bad, 4) != 4)
		bad = ~0u;
	CHECK_EQ(reap(pid), 0, "[10.9] (the program ran)");
	for (int i = 0; i < count; i++)
		tap_report(!(bad >> i & 1), text[i], __FILE__, __LINE__, "result word 0x%x", bad);
}

HELPER(state)
{
	unsigned bad = 0;
	struct sigaction sa;
	sigset_t s;
	stack_t ss;
	int v = -1;
	if (getpid() != atoi(argv[1]) || getppid() != atoi(argv[2]))
		bad |= 1;
	sigaction(SIGUSR1, NULL, &sa);
	if (sa.sa_handler != SIG_IGN)
		bad |= 2;
	sigaction(SIGUSR2, NULL, &sa);
	if (sa.sa_handler != SIG_DFL)
		bad |= 4;
	sigprocmask(SIG_BLOCK, NULL, &s);
	if (!sigismember(&s, SIGHUP) || sigismember(&s, SIGTERM))
		bad |= 8;
	sigpending(&s);
	if (!sigismember(&s, SIGHUP))
		bad |= 16;
	sigaltstack(NULL, &ss);
	if (ss.ss_flags != SS_DISABLE)
		bad |= 32;
	if (umask(022) != 031)
		bad |= 64;
	char cwd[64];
	if (!getcwd(cwd, sizeof cwd) || strcmp(cwd, "/proc"))
		bad |= 128;
	struct itimerval it;
	getitimer(ITIMER_REAL, &it);
	if (it.it_value.tv_sec < 500)
		bad |= 256;
	if (getpriority(PRIO_PROCESS, 0) != 4)
		bad |= 512;
	struct rlimit rl;
	getrlimit(RLIMIT_NOFILE, &rl);
	if (rl.rlim_cur != 333)
		bad |= 1024;
	prctl(PR_GET_CHILD_SUBREAPER, &v, 0, 0, 0);
	if (v != 1)
		bad |= 2048;
	if (getpgrp() != getpid())
		bad |= 4096;
	sh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fcntl(100, F_GETFD) >= 0)
		bad |= 8192;
	if (fcntl(101, F_GETFD) < 0)
		bad |= 16384;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 1 || prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0) != 0)
		bad |= 32768;
	if (write(101, &bad, 4) != 4)
		return 1;
	return 0;
}

static void nothing(int sig) { (void)sig; }

CASE(kept_and_reset)
{
	static char alt[16384];
	int p[2];
	MUST(pipe(p));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char a[16], b[16];
		stack_t ss = { .ss_sp = alt, .ss_size = sizeof alt };
		struct itimerval it = { { 0, 0 }, { 1000, 0 } };
		struct rlimit rl = { 333, 333 };
		dup3(p[1], 100, O_CLOEXEC);
		dup2(p[1], 101);
		setrlimit(RLIMIT_NOFILE, &rl);
		signal(SIGUSR1, SIG_IGN);
		signal(SIGUSR2, nothing);
		ag_block(SIGHUP);
		kill(getpid(), SIGHUP);
		sigaltstack(&ss, NULL);
		umask(031);
		if (chdir("/proc"))
			_exit(97);
		setitimer(ITIMER_REAL, &it, NULL);
		setpriority(PRIO_PROCESS, 0, 4);
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
		prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
		setpgid(0, 0);
		snprintf(a, sizeof a, "%d", getpid());
		snprintf(b, sizeof b, "%d", getppid());
		exec_self("state", a, b, NULL);
		_exit(98);
	}
	static const char *const text[] = {
		"[10.9] kept: pid and ppid", "[10.9] kept: ignored dispositions", "[10.10] reset: handlers become default",
		"[10.9] kept: the mask", "[10.9] kept: pending signals", "[10.10] reset: the alternate stack", "[10.9] kept: umask",
		"[10.9] kept: working directory", "[10.9] kept: ITIMER_REAL", "[10.9] kept: nice", "[10.9] kept: limits",
		"[10.9,1.8] kept: subreaper flag", "[10.9] kept: process group", "[10.11] close-on-exec descriptors are closed",
		"[10.11] others stay open", "[10.10,1.35,1.39] reset: dumpable and keepcaps",
	};
	report_state(pid, p, text, 16);
}

static long bad_exec(long x)
{
	(void)x;
	write_file(tmp_path("bad"), "bad", 3, 0755);
	ex(tmp_path("bad"), no_args, no_env);
	return -errno;
}

CASE(failed_exec_keeps)
{
	int fd = MUST(fcntl(1, F_DUPFD_CLOEXEC, 50));
	signal(SIGUSR2, nothing);
	CHECK_ERR(ex("/nonexistent", no_args, no_env), ENOENT, "[10.11] (an exec that fails)");
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC, "[10.11] a failed exec closes no descriptor");
	struct sigaction sa;
	sigaction(SIGUSR2, NULL, &sa);
	CHECK(sa.sa_handler == nothing, "[10.11] and resets no handler");
	struct agent *p = spawn(NULL), *t = spawn_thread(p);
	CHECK_EQ(call(p, bad_exec, 0), -ENOEXEC, "[10.13] an exec that fails with threads");
	CHECK_EQ(call(t, ag_getpid, 0), p->pid, "[10.13] leaves the other threads alive");
	retire(p, NULL);
}


/* ---- threads ---- */

HELPER(alone)
{
	/* the only thread, with the leader's id */
	char buf[16];
	snprintf(buf, sizeof buf, "%d", getpid());
	bool ok = sys_gettid() == getpid() && !strcmp(buf, argv[1]) && proc_stat(getpid(), 20) == 1;
	return ok ? 5 : 6;
}

static long exec_alone(long x)
{
	char a[16];
	(void)x;
	snprintf(a, sizeof a, "%d", getpid());
	exec_self("alone", a, NULL, NULL);
	return -1;
}

CASE(thread_exec)
{
	struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
	post(t1, exec_alone, 0);
	CHECK_EQ(reap(p->pid), 5 << 8, "[10.12] exec by a thread: the new image is alone and has the process's id");
	CHECK_ERR(sys_tgkill(p->pid, t1->tid, 0), ESRCH, "[10.12] its old tid is gone");
	(void)t2;
	p = spawn(NULL);
	t1 = spawn_thread(p);
	quit_thread(p, 0);
	REQUIRE(await_state(p->pid, 'Z'));
	post(t1, exec_alone, 0);
	CHECK_EQ(reap(p->pid), 5 << 8, "[10.12] also when the leader is a zombie");
	p = spawn(NULL);
	t1 = spawn_thread(p);
	post(p, exec_alone, 0);
	CHECK_EQ(reap(p->pid), 5 << 8, "[10.12] exec by the leader ends the other threads");
}

/* ---- set-id, auxv ---- */

HELPER(ids)
{
	return getuid() == (uid_t)atoi(argv[1]) && geteuid() == (uid_t)atoi(argv[2]) && getauxval(AT_SECURE) == (unsigned)atoi(argv[3]) &&
	       getauxval(AT_UID) == getuid() && getauxval(AT_EUID) == geteuid() && getauxval(AT_GID) == getgid() &&
	       getauxval(AT_EGID) == getegid() ? 0 : 1;
}

CASE(setuid)
{
	NEED_ROOT("[10.16] setuid files");
	char path[256];
	snprintf(path, sizeof path, "%s", tmp_path("su"));
	REQUIRE(copy_self(path, 0755) && chown(path, 0, 0) == 0 && chmod(path, 04755) == 0);
	REQUIRE(chmod(tmp_path(""), 0755) == 0);
	for (int nnp = 0; nnp < 2; nnp++) {
		pid_t pid = MUST(fork());
		if (pid == 0) {
			ag_drop(1000);
			if (nnp)
				prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
			exec_helper(path, "ids", "1000", nnp ? "1000" : "0", nnp ? "0" : "1");
			_exit(98);
		}
		CHECK_EQ(reap(pid), 0, nnp ? "[10.16] no_new_privs suppresses setuid, AT_SECURE is 0"
					   : "[10.16] setuid is honoured, AT_SECURE is 1");
	}
}

HELPER(auxv)
{
	extern char **environ;
	unsigned bad = 0;
	char **e = environ;
	while (*e)
		e++;
	int seen[64] = { 0 };
	for (Elf64_auxv_t *a = (Elf64_auxv_t *)(e + 1); a->a_type; a++)
		if (a->a_type < 64)
			seen[a->a_type]++;
	static const int want[] = { AT_PHDR, AT_PHENT, AT_PHNUM, AT_PAGESZ, AT_BASE, AT_FLAGS, AT_ENTRY, AT_UID, AT_EUID, AT_GID, AT_EGID,
				    AT_PLATFORM, AT_HWCAP, AT_CLKTCK, AT_SECURE, AT_RANDOM, AT_EXECFN, AT_SYSINFO_EHDR };
	for (unsigned i = 0; i < sizeof want / sizeof *want; i++)
		bad |= seen[want[i]] != 1;
	bad |= (getauxval(AT_PAGESZ) != 4096) << 1;
	bad |= (getauxval(AT_CLKTCK) != 100) << 2;
	bad |= (getauxval(AT_PHENT) != sizeof(Elf64_Phdr)) << 3;
	bad |= (strcmp((char *)getauxval(AT_PLATFORM), "x86_64") != 0) << 4;
	unsigned long r[2];
	memcpy(r, (void *)getauxval(AT_RANDOM), 16);
	bad |= (!r[0] && !r[1]) << 5;
	bad |= (((unsigned long)e & 7) != 0) << 6;
	return bad;
}

CASE(auxv)
{
	char *argv[] = { self_path, "@auxv", NULL };
	CHECK_EQ(run(self_path, argv, no_env), 0, "[10.17] the auxiliary vector has its entries with the right values");
}

CASE(memory_of_new_image)
{
	/* the old image is gone: mapped memory of before does not show */
	char *p = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	REQUIRE(p != MAP_FAILED);
	char *argv[] = { self_path, "@unmapped", NULL };
	CHECK_EQ(run(self_path, argv, no_env), 0, "[10.10] memory that was mapped before is gone");
}

HELPER(unmapped)
{
	unsigned char vec;
	return mincore((void *)0x10000000, 4096, &vec) == -1 && errno == ENOMEM ? 0 : 1;
}

CASE_T(exec_against_exit_group, 60)
{
	/* 10.14, 13.4 */
	int n = iterations(300), bad = 0, execs = 0;
	for (int i = 0; i < n; i++) {
		sh->w[1] = 0;
		sh->nagents = 0;
		memset(sh->agent, 0, 2 * sizeof *sh->agent);
		struct agent *p = spawn(NULL), *t = spawn_thread(p);
		if (i & 1) {
			post(t, exec_alone, 0);
			quit(p, 9);
		} else {
			quit(p, 9);
			post(t, exec_alone, 0);
		}
		int st = reap(p->pid);
		execs += st == 5 << 8;
		bad += st != 5 << 8 && st != 9 << 8;
	}
	CHECK_EQ(bad, 0, "[10.14,13.4] exec in one thread against exit_group in another: one of both, never a third");
	tap_note("exec won %d of %d", execs, n);
}

static long fork_many(long k)
{
	while (k--)
		if (ag_fork_exit(0) < 0)
			break;
	return 0;
}

static long exec_reap(long x)
{
	(void)x;
	exec_self("reap_all_children", NULL, NULL, NULL);
	return -1;
}

CASE_T(exec_against_fork, 60)
{
	/* 13.17: exec by a thread while a sibling forks: the children remain children of the process */
	int n = iterations(300), wrong = 0;
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	for (int i = 0; i < n; i++) {
		sh->nagents = 0;
		memset(sh->agent, 0, 3 * sizeof *sh->agent);
		sh->v[1] = 0;
		struct agent *p = spawn(NULL), *t1 = spawn_thread(p), *t2 = spawn_thread(p);
		post(t1, fork_many, 8);
		post(t2, exec_reap, 0);
		int st = reap(p->pid);
		wrong += st != 0;
		wrong += reap_any(NULL) != -ECHILD;
	}
	CHECK_EQ(wrong, 0, "[13.17] after exec one thread is left, and children of killed threads are still its children");
}


HELPER(reap_all_children)
{
	int st;
	if (proc_stat(getpid(), 20) != 1)
		return 1;
	while (waitpid(-1, &st, __WALL) > 0)
		;
	return errno == ECHILD ? 0 : 2;
}

/* ---- kept and reset, second part ---- */

static const char kept_file[] = "kept-lock";

static long start_time(void) { return proc_stat(getpid(), 22); }

/* argv: start time, child, path of the locked file; bits of what is wrong */
HELPER(more_state)
{
	unsigned bad = 0;
	char b[64];
	if (start_time() != atol(argv[1]))
		bad |= 1;
	if (waitpid(atoi(argv[2]), NULL, WNOHANG) != 0)
		bad |= 2;
	int fd = open(argv[3], O_RDWR);
	pid_t peer = fork();
	if (peer == 0) {
		struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		_exit(fcntl(fd, F_SETLK, &fl) == -1 && errno == EAGAIN ? 0 : 1);
	}
	int st = -1;
	waitpid(peer, &st, 0);
	if (st != 0)
		bad |= 4;
	if (prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) != 123456)
		bad |= 8;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		bad |= 16;
	if (read_file("/proc/self/oom_score_adj", b, sizeof b) <= 0 || atoi(b) != 222)
		bad |= 32;
	if (syscall(SYS_personality, 0xffffffffUL) != 0x0040000)
		bad |= 64;
	if (sched_getscheduler(0) != SCHED_BATCH)
		bad |= 128;
	struct rusage ru;
	getrusage(RUSAGE_SELF, &ru);
	if (ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec + ru.ru_stime.tv_sec * 1000000 + ru.ru_stime.tv_usec < 50000)
		bad |= 256;
	struct itimerval it;
	getitimer(ITIMER_VIRTUAL, &it);
	if (it.it_value.tv_sec < 100)
		bad |= 512;
	if (!proc_status(getpid(), "VmLck", b, sizeof b) || atol(b) != 0)
		bad |= 1024;
	char *p = map_pages(1);
	*p = 1;
	if (!proc_status(getpid(), "VmLck", b, sizeof b) || atol(b) != 0)
		bad |= 2048;
	sigset_t s;
	sigpending(&s);
	if (!sigismember(&s, SIGUSR1) || !sigismember(&s, SIGUSR2))
		bad |= 4096;
	if (getsid(0) != getpid() || getpgrp() != getpid())
		bad |= 8192;
	kill(atoi(argv[2]), SIGKILL);
	if (waitpid(atoi(argv[2]), &st, 0) != atoi(argv[2]))
		bad |= 2;
	return write(101, &bad, 4) == 4 ? 0 : 1;
}

CASE(kept_and_reset_more)
{
	int p[2];
	char path[256];
	MUST(pipe(p));
	snprintf(path, sizeof path, "%s", tmp_path(kept_file));
	int file = MUST(open(path, O_RDWR | O_CREAT, 0600));
	pid_t pid = MUST(fork());
	if (pid == 0) {
		char a[32], b[16];
		struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
		struct sched_param sp = { 0 };
		struct itimerval it = { { 0, 0 }, { 1000, 0 } };
		struct timespec ts;
		setsid();
		pid_t child = fork();
		if (child == 0)
			for (;;)
				pause();
		/* one lock that stays on a descriptor that exec keeps */
		fcntl(file, F_SETLK, &fl);
		prctl(PR_SET_TIMERSLACK, 123456, 0, 0, 0);
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		int adj = open("/proc/self/oom_score_adj", O_WRONLY);
		if (write(adj, "222", 3) != 3)
			_exit(96);
		close(adj);
		syscall(SYS_personality, 0x0040000UL);
		sched_setscheduler(0, SCHED_BATCH, &sp);
		setitimer(ITIMER_VIRTUAL, &it, NULL);
		mlockall(MCL_CURRENT | MCL_FUTURE);
		ag_block(SIGUSR1);
		ag_block(SIGUSR2);
		kill(getpid(), SIGUSR1);
		sys_tgkill(getpid(), getpid(), SIGUSR2);
		do
			clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
		while (ts.tv_nsec < 60000000 && ts.tv_sec == 0);
		dup2(p[1], 101);
		snprintf(a, sizeof a, "%ld", start_time());
		snprintf(b, sizeof b, "%d", child);
		exec_self("more_state", a, b, path);
		_exit(98);
	}
	static const char *const text[] = {
		"[10.9] kept: the start time", "[10.9] kept: children", "[10.9] kept: record locks", "[10.9,1.43] kept: timer slack",
		"[10.9,1.38] kept: no_new_privs", "[10.9] kept: oom_score_adj", "[10.9] kept: personality", "[10.9] kept: scheduling policy",
		"[10.9] kept: CPU time used", "[10.9] kept: ITIMER_VIRTUAL", "[10.10] reset: locked memory",
		"[10.10] reset: MCL_FUTURE", "[10.9] kept: both sets of pending signals", "[10.9] kept: session",
	};
	report_state(pid, p, text, 14);
}

static char clone_stack[65536] __attribute__((aligned(16)));
static int cloexec_fd;

static int exec_sharing(void *x)
{
	(void)x;
	exec_self("nothing_at_all", NULL, NULL, NULL);
	return 99;
}

HELPER(nothing_at_all) { return 0; }

CASE(exec_unshares)
{
	cloexec_fd = MUST(fcntl(1, F_DUPFD_CLOEXEC, 60));
	pid_t pid = MUST(clone(exec_sharing, clone_stack + sizeof clone_stack, CLONE_FILES | SIGCHLD, NULL));
	REQUIRE(reap(pid) == 0);
	CHECK(fcntl(cloexec_fd, F_GETFD) == FD_CLOEXEC, "[10.10] exec leaves a shared table of descriptors: its close-on-exec closes nothing of others");
	signal(SIGUSR2, nothing);
	pid = MUST(clone(exec_sharing, clone_stack + sizeof clone_stack, CLONE_VM | CLONE_SIGHAND | SIGCHLD, NULL));
	REQUIRE(reap(pid) == 0);
	struct sigaction sa;
	sigaction(SIGUSR2, NULL, &sa);
	CHECK(sa.sa_handler == nothing, "[10.10] and shared dispositions: the handlers of others stay");
}
