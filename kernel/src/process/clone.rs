//! Birth: fork(2), vfork(2), clone(2), clone3(2) (spec section 6).
//!
//! [`clone()`] checks everything first, then makes copies of what the child doesn't share, and links the child into the
//! tree as the last step, under the table lock. Until then nobody else has heard of it, so an error half way needs no
//! undoing beyond dropping what was made.
//!
//! | flag | here |
//! |---|---|
//! | VM FS FILES SIGHAND THREAD | share instead of copy |
//! | VFORK | the parent sleeps until the child lets go of the memory (3.14) |
//! | PARENT | the child becomes a sibling |
//! | SETTLS PARENT_SETTID CHILD_SETTID CHILD_CLEARTID | as asked |
//! | CLEAR_SIGHAND | handlers fall back to the default |
//! | SYSVSEM | what SEM_UNDO has to undo is shared, and undone at the end of the last to share it |
//! | IO UNTRACED PTRACE DETACHED | accepted; there is no io context or tracer to share |
//! | NEWPID | the child is the init of a new pid namespace |
//! | other NEW* (namespaces) | EPERM without CAP_SYS_ADMIN, else EINVAL: not built in |
//! | PIDFD | the parent gets a descriptor that refers to the child (6.9), a thread's too |
//! | AUTOREAP | the child never is a zombie: it goes when it dies, and its parent gets no signal |
//! | NNP | the child starts with no_new_privs |
//! | PIDFD_AUTOKILL | the child is killed when the descriptor is closed for good |
//! | INTO_CGROUP | EBADF: there are no cgroups |
//!
//! AUTOREAP, NNP and PIDFD_AUTOKILL are those of Linux 7.1; `docs/pidfd.md` tells their rules.

use core::sync::atomic::Ordering::Relaxed;

use bitflags::bitflags;
use ostd::{
    mm::USER_END,
    task::{self, Task, TaskBuilder},
    user::{UserContext, mem},
};
use proctree::{NewProcess, Numbers, PidId};

use super::{
    Cap, Credentials, Process, Thread,
    namespace::{PidNs, change},
    pid,
    pidfd::{self, PidRef},
    record,
    rlimit::{self, RLIM_INFINITY, Resource},
    signal::{self, AltStack, Forking, SIGCHLD, ThreadSignals},
    thread::{NewThread, TaskThread, VforkDone},
    tree::{self, Effects},
    user_loop,
};
use crate::{
    fs::{File, OpenFlags, fd_table::Fd},
    mm::ForkHints,
    prelude::*,
    syscall::Context,
};

bitflags! {
    /// `CLONE_*`. The low byte of legacy clone's flags, the exit signal, is not part of them.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct CloneFlags: u64 {
        const NEWTIME = 0x80;
        const VM = 0x100;
        const FS = 0x200;
        const FILES = 0x400;
        const SIGHAND = 0x800;
        const PIDFD = 0x1000;
        const PTRACE = 0x2000;
        const VFORK = 0x4000;
        const PARENT = 0x8000;
        const THREAD = 0x1_0000;
        const NEWNS = 0x2_0000;
        const SYSVSEM = 0x4_0000;
        const SETTLS = 0x8_0000;
        const PARENT_SETTID = 0x10_0000;
        const CHILD_CLEARTID = 0x20_0000;
        const DETACHED = 0x40_0000;
        const UNTRACED = 0x80_0000;
        const CHILD_SETTID = 0x100_0000;
        const NEWCGROUP = 0x200_0000;
        const NEWUTS = 0x400_0000;
        const NEWIPC = 0x800_0000;
        const NEWUSER = 0x1000_0000;
        const NEWPID = 0x2000_0000;
        const NEWNET = 0x4000_0000;
        const IO = 0x8000_0000;
        const CLEAR_SIGHAND = 1 << 32;
        const INTO_CGROUP = 1 << 33;
        const AUTOREAP = 1 << 34;
        const NNP = 1 << 35;
        const PIDFD_AUTOKILL = 1 << 36;
    }
}

impl CloneFlags {
    /// New namespaces that need CAP_SYS_ADMIN.
    pub const NAMESPACES: CloneFlags = CloneFlags::NEWNS
        .union(CloneFlags::NEWCGROUP)
        .union(CloneFlags::NEWUTS)
        .union(CloneFlags::NEWIPC)
        .union(CloneFlags::NEWPID)
        .union(CloneFlags::NEWNET)
        .union(CloneFlags::NEWTIME);

    /// Those that may be refused for what the child's end would be.
    const LIFETIME: CloneFlags = CloneFlags::PARENT
        .union(CloneFlags::AUTOREAP)
        .union(CloneFlags::NNP)
        .union(CloneFlags::PIDFD_AUTOKILL);
}

/// What a clone is to do.
#[derive(Clone, Copy, Debug)]
pub struct CloneArgs<'a> {
    pub flags: CloneFlags,
    /// 0..=255; above 64 is "no signal" (rule 5.9).
    pub exit_signal: u8,
    /// The child's stack pointer, 0: the parent's.
    pub stack: usize,
    pub parent_tid: Vaddr,
    pub child_tid: Vaddr,
    pub tls: usize,
    /// The numbers that the child is to have in the innermost namespaces, its own first (clone3(2)).
    pub set_tid: &'a [u32],
    /// Where the number of the pidfd goes.
    pub pidfd: Vaddr,
}

impl CloneArgs<'_> {
    pub fn fork() -> CloneArgs<'static> {
        CloneArgs {
            flags: CloneFlags::empty(),
            exit_signal: SIGCHLD,
            stack: 0,
            parent_tid: 0,
            child_tid: 0,
            tls: 0,
            set_tid: &[],
            pidfd: 0,
        }
    }

    /// Combinations that make no sense (rule 6.2).
    fn check(&self, caller: &Process) -> Result<()> {
        type F = CloneFlags;
        let has = |flags: CloneFlags| self.flags.contains(flags);
        let wrong = has(F::NEWNS | F::FS)
            || has(F::NEWUSER | F::FS)
            || has(F::THREAD) && !has(F::SIGHAND)
            || has(F::SIGHAND) && !has(F::VM)
            || has(F::SIGHAND | F::CLEAR_SIGHAND)
            || has(F::PARENT) && caller.is_init()
            || has(F::THREAD) && self.flags.intersects(F::NEWUSER | F::NEWPID)
            || has(F::PIDFD | F::DETACHED);
        if wrong { Err(EINVAL) } else { Ok(()) }
    }

    /// What the flags of Linux 7.1 go together with. A child that is killed with its pidfd must not become more powerful than who
    /// made it, by a set-id program say, unless its maker is privileged.
    fn check_lifetime(&self, caller: &Thread) -> Result<()> {
        type F = CloneFlags;
        let has = |flags: CloneFlags| self.flags.contains(flags);
        let wrong = has(F::AUTOREAP) && (has(F::THREAD) || has(F::PARENT) || self.exit_signal != 0)
            // A sibling would get its exit signal, none, and wait for a parent that does not hear of it.
            || has(F::PARENT) && caller.process.is_autoreaped()
            || has(F::NNP | F::THREAD)
            || has(F::PIDFD_AUTOKILL) && !has(F::PIDFD | F::AUTOREAP);
        if wrong {
            return Err(EINVAL);
        }
        if has(F::PIDFD_AUTOKILL) && !has(F::NNP) {
            caller.creds().require(Cap::SysAdmin)?;
        }
        Ok(())
    }
}

/// Makes a process or thread as `args` say, and returns its number.
///
/// # Errors
/// `EINVAL` for flags that contradict each other or are not built in; `EPERM`; `EAGAIN` at a limit (rule 6.13); `ENOMEM`.
/// `ERESTARTNOINTR` if a signal is to be handled first (rule 6.16).
pub fn clone(ctx: &mut Context, args: &CloneArgs) -> Result<usize> {
    args.check(ctx.process())?;
    if args.flags.contains(CloneFlags::THREAD) && ctx.thread.children_leave_pid_ns() {
        // Before any limit (rules 6.1, 9.4).
        return Err(EINVAL);
    }
    if args.flags.intersects(CloneFlags::LIFETIME) {
        args.check_lifetime(ctx.thread)?;
    }
    if signal::signal_pending_before_fork(ctx.thread) {
        return Err(ERESTARTNOINTR);
    }
    ctx.thread.nproc_exceeded.store(false, Relaxed);
    let creds = ctx.thread.creds();
    check_limits(ctx.process(), &creds)?;
    if args.flags.intersects(CloneFlags::NAMESPACES | CloneFlags::NEWUSER) {
        change::check_new(ctx.thread, args.flags)?;
    }

    let vfork = args.flags.contains(CloneFlags::VFORK).then(Arc::<VforkDone>::default);
    drop(creds);
    let user = child_registers(ctx, args)?;
    let set_tid = args.flags.contains(CloneFlags::CHILD_SETTID).then_some(args.child_tid);
    let body = move |thread: Arc<Thread>| {
        if let Some(addr) = set_tid {
            // In the child's own memory, before its first instruction; a fault is ignored (rule 6.10).
            let _ = mem::write(addr, &thread.tid());
        }
        user_loop::run(thread, user);
    };
    let hints = ForkHints { code: ctx.user.rip(), writes: [ctx.user.rsp(), set_tid.unwrap_or(0)] };
    let child = make(ctx.thread, args, hints, vfork.clone(), body)?;
    // What the caller knows the child by.
    let tid = match args.flags.contains(CloneFlags::THREAD) {
        true => child.tid(),
        false => child.process.pid_in(ctx.process().ns()),
    };
    if args.flags.contains(CloneFlags::PARENT_SETTID) {
        // A fault is the program's own loss (rule 6.10).
        let _ = mem::write(args.parent_tid, &tid);
    }
    if args.flags.contains(CloneFlags::THREAD) {
        // With more than one thread its number in the memory is another (rseq's mm_cid).
        ctx.thread.restart_sequences();
    }
    if let Some(task) = child.task() {
        task.start();
    }
    // The child may be gone before the parent looks again.
    drop(child);
    if let Some(vfork) = vfork {
        vfork.wait();
    }
    Ok(tid as usize)
}

/// Whether a user with `count` processes may not have another (rule 6.13).
fn over_nproc(process: &Process, creds: &Credentials, count: usize) -> bool {
    let limit = process.rlimit(Resource::Nproc);
    if limit == RLIM_INFINITY || (count as u64) < limit {
        return false;
    }
    creds.uid != 0 && !creds.capable(Cap::SysResource) && !creds.capable(Cap::SysAdmin)
}

/// Counts the new thread. Between [`check_limits`] and here others of the same user may have forked, so the limit
/// is looked at again, with the count as it was at the moment of counting: it is never exceeded.
fn charge(process: &Process, creds: &Credentials) -> Result<()> {
    let before = record::charge(creds);
    if over_nproc(process, creds, before) {
        record::uncharge(creds);
        return Err(EAGAIN);
    }
    Ok(())
}

/// EAGAIN at RLIMIT_NPROC and threads-max (rule 6.13).
fn check_limits(process: &Process, creds: &Credentials) -> Result<()> {
    if over_nproc(process, creds, creds.user.processes()) {
        return Err(EAGAIN);
    }
    if record::thread_total() >= rlimit::THREADS_MAX.load(Relaxed).min(rlimit::max_threads() as usize) {
        return Err(EAGAIN);
    }
    // Page tables, kernel stack and bookkeeping of one more process, and the pages that it touches first. To fail here is
    // better than to let it in and have somebody killed at its first page fault.
    const FRAMES: usize = 128;
    if !ostd::mm::user_room_ok(FRAMES) {
        return Err(ENOMEM);
    }
    Ok(())
}

/// Whether the user has more processes than the limit, whoever it is.
fn exceeds_nproc(process: &Process, creds: &Credentials) -> bool {
    let limit = process.rlimit(Resource::Nproc);
    limit != RLIM_INFINITY && creds.user.processes() as u64 > limit
}

/// What a change of the real uid does with the limit: nothing yet, but the next execve looks again (rule 6.15).
pub(super) fn note_nproc(thread: &Thread, new: &Credentials) {
    let exceeded = new.uid != 0 && exceeds_nproc(&thread.process, new);
    thread.nproc_exceeded.store(exceeded, Relaxed);
}

/// The check of execve for a thread whose new user had too many processes already.
///
/// # Errors
/// `EAGAIN` if it still has.
pub fn check_nproc_at_exec(thread: &Thread) -> Result<()> {
    if thread.nproc_exceeded.load(Relaxed) && exceeds_nproc(&thread.process, &thread.creds()) {
        return Err(EAGAIN);
    }
    thread.nproc_exceeded.store(false, Relaxed);
    Ok(())
}

/// Builds the child and links it. It does not run yet; when it does, it runs `body`.
pub(super) fn make(
    parent: &Arc<Thread>,
    args: &CloneArgs,
    hints: ForkHints,
    vfork: Option<Arc<VforkDone>>,
    body: impl FnOnce(Arc<Thread>) + Send + 'static,
) -> Result<Arc<Thread>> {
    let is_thread = args.flags.contains(CloneFlags::THREAD);
    let forking = if is_thread { None } else { Some(Forking::begin(parent)?) };
    let vm = match parent.try_vm() {
        Some(vm) => Some(share_or(args, CloneFlags::VM, vm, |vm| vm.fork(hints))?),
        // Processes that the kernel makes for itself have no memory.
        None => None,
    };
    if is_thread && let Some(vm) = &vm {
        vm.has_threads();
    }
    let files = share_or(args, CloneFlags::FILES, parent.files(), |files| Ok(files.dup_for_fork()))?;
    let fs = share_or(args, CloneFlags::FS, parent.fs(), |fs| Ok(fs.fork()))?;

    let creds = parent.creds();
    let pid_ns = change::pid_ns_of_child(parent, args.flags)?;
    let (reserved, numbers) = ReservedPid::take(parent, &pid_ns, args.set_tid)?;
    let tid = numbers.innermost();
    let process = match is_thread {
        true => parent.process.clone(),
        false => new_process(&parent.process, args, (numbers, pid_ns), &creds),
    };
    let new = NewThread {
        process,
        tid,
        signals: ThreadSignals::new(parent.signals.blocked(), child_altstack(parent, args)),
        creds: creds.clone(),
        vm,
        files,
        fs,
        vfork,
    };
    let child = Thread::new(new, Some(parent));
    if args.flags.contains(CloneFlags::FS) && !parent.fs().may_join() {
        return Err(EAGAIN);
    }
    if !args.flags.contains(CloneFlags::VM) {
        child.rseq.inherit(&parent.rseq);
    }
    if args.flags.contains(CloneFlags::CHILD_CLEARTID) {
        child.clear_child_tid.store(args.child_tid, Relaxed);
    }
    if args.flags.contains(CloneFlags::IO) {
        parent.io.share_with(&child.io);
    }
    if args.flags.contains(CloneFlags::NNP) {
        child.no_new_privs.store(true, Relaxed);
    }
    let task = build_task(&child, body)?;
    let pidfd = match args.flags.contains(CloneFlags::PIDFD) {
        true => Some(NewPidfd::install(parent, &child, &reserved, args)?),
        false => None,
    };
    if args.flags.contains(CloneFlags::INTO_CGROUP) {
        // There are no cgroups yet, so no descriptor is that of one (rule 6.8). It is looked at after all else (rule 6.1).
        return Err(EBADF);
    }
    signal::attach_thread(&child, Some(parent))?;
    if let Err(error) = charge(&parent.process, &creds) {
        signal::detach_thread(&child);
        return Err(error);
    }
    match link(parent, &child, args, reserved, task, forking, pidfd) {
        Ok(()) => {
            if args.flags.contains(CloneFlags::SYSVSEM) {
                parent.sem_undo.share_with(&child.sem_undo);
            }
            child.init_schedule();
            Ok(child)
        }
        Err(error) => {
            signal::detach_thread(&child);
            record::uncharge(&creds);
            Err(error)
        }
    }
}

/// The parent's descriptor for a child that is not there yet (rule 6.9). Taken back when dropped, unless the child was linked.
struct NewPidfd<'a> {
    parent: &'a Thread,
    fd: Fd,
    file: Arc<File>,
    pid_ref: Arc<PidRef>,
    published: bool,
}

impl<'a> NewPidfd<'a> {
    /// Installs it and tells the program. It is after the child's table was copied, so the child has none.
    fn install(
        parent: &'a Thread,
        child: &Thread,
        reserved: &ReservedPid,
        args: &CloneArgs,
    ) -> Result<NewPidfd<'a>> {
        let mut flags = OpenFlags::empty();
        flags.set(pidfd::PIDFD_THREAD, args.flags.contains(CloneFlags::THREAD));
        flags.set(pidfd::PIDFD_AUTOKILL, args.flags.contains(CloneFlags::PIDFD_AUTOKILL));
        let pid_ref = pidfd::unborn(child.process.pid_ns(), child.tid(), reserved.pid.ok_or(EAGAIN)?);
        let file = pid_ref.clone().open(flags)?;
        let fd = parent.files().install(file.clone(), true, 0)?;
        let new = NewPidfd { parent, fd, file, pid_ref, published: false };
        mem::write(args.pidfd, &fd)?;
        Ok(new)
    }

    /// The child is in the tree. With the table locked.
    fn publish(&mut self) {
        pidfd::publish(self.pid_ref.clone());
        self.published = true;
    }
}

impl Drop for NewPidfd<'_> {
    fn drop(&mut self) {
        if !self.published {
            // Another thread may have copied the descriptor already: it refers to nobody.
            self.pid_ref.gone(None);
            self.parent.files().close_if(self.fd, &self.file);
        }
    }
}

/// The parent's `part` itself, or a copy of it.
fn share_or<T>(
    args: &CloneArgs,
    flag: CloneFlags,
    part: Arc<T>,
    copy: impl FnOnce(&T) -> Result<Arc<T>>,
) -> Result<Arc<T>> {
    if args.flags.contains(flag) { Ok(part) } else { copy(&part) }
}

/// The parent's registers, but for the result, the stack and the thread-local storage. On the heap, where they stay: on the way
/// to the child's own loop they change hands half a dozen times.
fn child_registers(ctx: &Context, args: &CloneArgs) -> Result<Box<UserContext>> {
    let mut user = Box::new(ctx.user.fork());
    user.regs.rax = 0;
    if args.stack != 0 {
        user.set_rsp(args.stack);
    }
    if args.flags.contains(CloneFlags::SETTLS) {
        user.set_fs_base(args.tls).map_err(|_| EPERM)?;
    }
    Ok(user)
}

/// The alternate signal stack goes to a child that has its own copy of the memory, or borrows it for a vfork (rule 6.19).
fn child_altstack(parent: &Thread, args: &CloneArgs) -> AltStack {
    if args.flags.contains(CloneFlags::VM) && !args.flags.contains(CloneFlags::VFORK) {
        AltStack::DISABLED
    } else {
        parent.signals.altstack()
    }
}

fn new_process(
    parent: &Process,
    args: &CloneArgs,
    (numbers, pid_ns): (Numbers, PidNs),
    creds: &Arc<Credentials>,
) -> Arc<Process> {
    let share = args.flags.contains(CloneFlags::SIGHAND);
    let clear = args.flags.contains(CloneFlags::CLEAR_SIGHAND);
    let sighand = signal::fork_sighand(parent, share, clear);
    let process = Process::new(numbers, pid_ns, sighand, parent.rlimits(), creds.clone());
    process.oom_score_adj.store(parent.oom_score_adj.load(Relaxed), Relaxed);
    process.oom_score_adj_min.store(parent.oom_score_adj_min.load(Relaxed), Relaxed);
    process.tty.store(parent.tty.load(Relaxed), Relaxed);
    if args.flags.contains(CloneFlags::AUTOREAP) {
        process.set_autoreaped();
    }
    process
}

/// The task that will run the child. The two own each other from the moment at which the thread is told of its task: that
/// is when nothing can fail any more.
fn build_task(child: &Arc<Thread>, body: impl FnOnce(Arc<Thread>) + Send + 'static) -> Result<Arc<Task>> {
    let thread = child.clone();
    let mut task = TaskBuilder::new(move || body(thread)).data(Arc::new(TaskThread(child.clone())));
    if let Some(vm) = child.try_vm() {
        task = task.addr_space(vm.space().clone()).inherit_fpu();
    }
    if child.rseq.is_registered() {
        task = task.inherit_cpu_watch();
    }
    let task = task.build().map_err(|_| ENOMEM)?;
    // The CPUs that it may run on are its creator's (sched_setaffinity(2)).
    task.sched.affinity.store(task::current().sched.affinity.load(Relaxed), Relaxed);
    Ok(task)
}

/// A number at each level that is taken but not used yet: given back when dropped.
struct ReservedPid {
    pid: Option<PidId>,
}

impl ReservedPid {
    /// Takes numbers in `ns` and all above it, those that `set_tid` names for the innermost (rule 6.7).
    fn take(parent: &Thread, ns: &PidNs, set_tid: &[u32]) -> Result<(ReservedPid, Numbers)> {
        let room = Numbers::for_level(ns.level())?;
        let mut numbers = Numbers::for_level(ns.level())?;
        let mut may_choose = |_| {
            parent.with_creds(|creds| creds.capable(Cap::SysAdmin) || creds.capable(Cap::CheckpointRestore))
        };
        let mut table = tree::lock_with_numbers(ns.id(), set_tid)?;
        match table.alloc_pid_exact(ns.id(), room, set_tid, &mut may_choose) {
            Ok(pid) => {
                if let Some(taken) = table.numbers(pid) {
                    numbers.copy_from(taken);
                }
                Ok((ReservedPid { pid: Some(pid) }, numbers))
            }
            Err(refused) => {
                drop(table);
                Err(refused.error.into())
            }
        }
    }
}

impl Drop for ReservedPid {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            let mut effects = Effects::new();
            let numbers = tree::lock().cancel_pid(pid, &mut effects);
            drop(numbers);
        }
    }
}

/// The last step: the child is in the tree, findable by its number, and nothing can fail any more.
fn link(
    parent: &Thread,
    child: &Arc<Thread>,
    args: &CloneArgs,
    mut reserved: ReservedPid,
    task: Arc<Task>,
    forking: Option<Forking>,
    mut pidfd: Option<NewPidfd>,
) -> Result<()> {
    let Some(pid) = reserved.pid else {
        return Err(EAGAIN);
    };
    let process = &child.process;
    let mut table = tree::lock();
    // A parent that is being killed makes no child (rule 6.16).
    if signal::fatal_signal_pending(parent) {
        drop(table);
        return Err(ERESTARTNOINTR);
    }
    let linked = if args.flags.contains(CloneFlags::THREAD) {
        table.clone_thread(parent.id(), pid, child.clone()).map_err(|refused| (refused.error, None))
    } else {
        let new = NewProcess {
            pid,
            process: process.clone(),
            thread: child.clone(),
            exit_signal: args.exit_signal,
            sibling: args.flags.contains(CloneFlags::PARENT),
        };
        table.fork(parent.id(), new).map_err(|refused| (refused.error, Some(refused.given)))
    };
    let ids = match linked {
        Ok(ids) => ids,
        Err((error, given)) => {
            drop(table);
            drop(given);
            return Err(error.into());
        }
    };
    reserved.pid = None;
    child.set_task(task);
    child.set_id(ids.thread);
    process.set_id(ids.process);
    pid::insert(&table, process.pid_ns(), ids.pid, child);
    if let Some(pidfd) = &mut pidfd {
        pidfd.publish();
    }
    if let Some(forking) = forking {
        forking.hand_over(&mut table, process);
    }
    Ok(())
}

/// Makes PID 1 from nothing: the first process, with its thread ready for execve.
///
/// # Errors
/// `ENOMEM`.
pub(super) fn make_init(
    new: NewThread,
    pid: PidId,
    body: impl FnOnce(Arc<Thread>) + Send + 'static,
) -> Result<Arc<Thread>> {
    let creds = new.creds.clone();
    let child = Thread::new(new, None);
    let task = build_task(&child, body)?;
    child.set_task(task);
    child.init_schedule();
    signal::attach_thread(&child, None)?;
    record::charge(&creds);
    let mut table = tree::lock();
    let init = NewProcess {
        pid,
        process: child.process.clone(),
        thread: child.clone(),
        exit_signal: SIGCHLD,
        sibling: false,
    };
    let ids = table.add_init(init).map_err(|refused| refused.error)?;
    child.set_id(ids.thread);
    child.process.set_id(ids.process);
    pid::insert(&table, child.process.pid_ns(), ids.pid, &child);
    drop(table);
    Ok(child)
}

/// Whether a stack range that clone3 was given lies in user memory (rule 6.6).
pub fn is_user_range(start: usize, len: usize) -> bool {
    start.checked_add(len).is_some_and(|end| end <= USER_END)
}
