//! Signals: who gets one, when it is taken, and what it does (signal(7), spec sections 5 and 7).
//!
//! # Data
//! * [`SigHand`] (`action`): the dispositions, shared by the threads of a process and across `CLONE_SIGHAND`.
//! * [`ProcessSignals`]: what a process shares: its pending queue, the list of its live threads, the state of
//!   a group stop and of a group exit. One spin lock, rank `SIGNAL`.
//! * [`ThreadSignals`]: what a thread has of its own: pending queue, mask, alternate stack, its part in a stop.
//! * `Thread::work`: one word of flags, tested on each return to user mode: [`work::SIGNAL`] says that
//!   [`handle_work`] has something to do, [`work::KILL`] that the thread is to die.
//!
//! # Locks
//! The process's signal lock is held for every change to any thread's queue, mask or stop flags, so a sender
//! sees one consistent picture of whom it may wake. A thread's own queue lock and the dispositions' lock nest
//! inside. The process-table lock, where it is needed as well, is taken first: SIGCONT and SIGKILL change
//! what a waiting parent sees (a stop report disappears), so they are sent with the table locked.
//!
//! # The way of a signal
//! `send`: drop it if ignored, let stop and continue signals cancel each other, queue it, choose a thread,
//! wake it; a signal that must kill starts the group's exit at once. `deliver`: on the way to user mode the
//! thread takes the next signal and ignores it, stops, dies, or enters its handler through a `frame`.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use ostd::sync::{LockRank, SpinLock, SpinLockGuard, WaitQueue};

use crate::{
    lock_order,
    prelude::*,
    process::{Process, Thread, coredump::Meeting},
    syscall::Context,
    time::posix_timer,
};

mod action;
mod altstack;
mod deliver;
mod forking;
mod frame;
mod info;
mod queue;
mod send;
mod set;
mod stop;
mod threads;
mod timedwait;
mod xsave;

pub use action::{SaFlags, SigAction, SigHand, SigchldDisposition};
pub use altstack::AltStack;
pub use deliver::handle_work;
pub use forking::Forking;
pub use frame::sigreturn;
pub use info::*;
pub use queue::{Charge, Pending, valid_signo};
pub use send::{
    force, is_unwanted, queue, send_member_in_sink, send_member_in_table, send_process, send_process_in_sink,
    send_process_in_table, send_thread, send_timer,
};
pub use set::*;
pub use stop::Notice;
pub use threads::{
    attach_thread, begin_dump, begin_exec_kill, begin_group_exit, current_dump, detach_thread, end_exec_kill,
    exec_reset, fork_sighand, group_exit_status, override_exit_status, remains, thread_sets, threads,
};
pub use timedwait::{take as take_pending, wait_for};

/// Flags of `Thread::work`.
pub mod work {
    /// A signal, a stop or a restart code waits: call `handle_work` before user mode.
    pub const SIGNAL: u32 = 1;
    /// The thread is being killed: killable sleeps end.
    pub const KILL: u32 = 2;
    /// A mask is to be put back once a handler has been set up or none was (sigsuspend, ppoll).
    pub const RESTORE_MASK: u32 = 4;
    /// The thread's system calls are to be looked at from here on (seccomp, syscall user dispatch).
    pub const SYSCALLS: u32 = 8;
    /// A tick has passed, and somebody watches the CPU time that the process uses.
    pub const CPU_TIME: u32 = 16;
    /// The thread's restartable sequence is to be looked at.
    pub const RSEQ: u32 = 32;
    /// The kernel used up much of its reserve of memory on the thread's behalf.
    pub const MEMORY: u32 = 64;
}

/// Rank of a thread's own queue, inside its process's signal lock.
const THREAD_QUEUE: LockRank = LockRank::new(505, "thread's pending signals");

/// What the threads of a process share.
pub struct ProcessSignals {
    group: SpinLock<Group>,
    thread_count: AtomicU32,
}

/// Guarded by the signal lock.
pub(in crate::process) struct Group {
    sighand: Arc<SigHand>,
    /// Pending for whichever thread takes it first.
    shared: Pending,
    /// Live threads (exit not begun), the leader first, then in order of creation.
    threads: Vec<Arc<Thread>>,
    /// What the leader blocked that has exited before the others: it still stands for the process when a signal is sent (rule 3.6).
    leader_blocked: Option<SigSet>,
    /// Where the search for a willing thread starts: round robin (rule 7.11).
    next_target: usize,
    /// The raw wait status of the whole process once its death has begun; never changes then (rule 3.4).
    exit_status: Option<i32>,
    /// Set while one thread's execve kills the others: who survives.
    exec_survivor: Option<u32>,
    stop: stop::GroupStop,
    /// Default actions do not apply: the init of a pid namespace (rules 7.24, 7.27).
    unkillable: bool,
    /// Where the threads meet when the process leaves a core behind.
    dump: Option<Arc<Meeting>>,
    /// Who waits for signals by a signalfd. Made by the first: most processes never have one.
    signalfd: Option<Arc<WaitQueue>>,
}

impl ProcessSignals {
    pub fn new(sighand: Arc<SigHand>, unkillable: bool) -> ProcessSignals {
        let group = Group {
            sighand,
            shared: Pending::new(),
            threads: Vec::new(),
            leader_blocked: None,
            next_target: 0,
            exit_status: None,
            exec_survivor: None,
            stop: stop::GroupStop::default(),
            unkillable,
            dump: None,
            signalfd: None,
        };
        ProcessSignals { group: SpinLock::new(lock_order::SIGNAL, group), thread_count: AtomicU32::new(0) }
    }

    pub(in crate::process) fn lock(&self) -> SpinLockGuard<'_, Group> {
        self.group.lock()
    }

    pub fn sighand(&self) -> Arc<SigHand> {
        self.lock().sighand.clone()
    }

    /// How many threads have not begun to exit.
    pub fn thread_count(&self) -> usize {
        self.thread_count.load(Relaxed) as usize
    }

    /// How this process takes its children's deaths.
    pub fn sigchld_disposition(&self) -> SigchldDisposition {
        self.lock().sighand.sigchld()
    }

    /// The shared pending set, for /proc/PID/status.
    pub fn shared_pending(&self) -> SigSet {
        self.lock().shared.set()
    }
}

/// What a thread has of its own. All but the alternate stack changes only under the process's signal lock;
/// the atomics are for readers that need no exact picture.
pub struct ThreadSignals {
    pending: SpinLock<Pending>,
    blocked: AtomicU64,
    /// The mask to go back to when [`work::RESTORE_MASK`] is set.
    saved_mask: AtomicU64,
    /// The mask as it was before sigtimedwait(2) opened it: what it holds is neither dropped as ignored nor
    /// fatal at once, since the waiter is about to take it.
    real_blocked: AtomicU64,
    stop: AtomicU32,
    altstack: SpinLock<AltStack>,
    restart: SpinLock<Option<RestartBlock>>,
    /// The thread makes a process at this moment; what is sent to many processes meanwhile, the child is to get as well.
    forking: AtomicBool,
    fork_signals: AtomicU64,
}

/// How restart_syscall(2) goes on with an interrupted sleep.
pub type RestartBlock = Box<dyn FnOnce(&mut Context) -> Result<usize> + Send>;

impl ThreadSignals {
    /// A new thread starts without pending signals (rule 6.18), with its creator's mask (6.19).
    pub fn new(blocked: SigSet, altstack: AltStack) -> ThreadSignals {
        ThreadSignals {
            pending: SpinLock::new(THREAD_QUEUE, Pending::new()),
            blocked: AtomicU64::new(blocked.0),
            saved_mask: AtomicU64::new(0),
            real_blocked: AtomicU64::new(0),
            stop: AtomicU32::new(0),
            restart: SpinLock::new(THREAD_QUEUE, None),
            altstack: SpinLock::new(THREAD_QUEUE, altstack),
            forking: AtomicBool::new(false),
            fork_signals: AtomicU64::new(0),
        }
    }

    pub fn blocked(&self) -> SigSet {
        SigSet(self.blocked.load(Relaxed))
    }

    fn real_blocked(&self) -> SigSet {
        SigSet(self.real_blocked.load(Relaxed))
    }

    fn set_real_blocked(&self, mask: SigSet) {
        self.real_blocked.store(mask.0, Relaxed);
    }

    /// Remembers how to go on with a sleep after a stop; returns the code that asks for it.
    pub fn set_restart(&self, block: RestartBlock) -> Errno {
        *self.restart.lock() = Some(block);
        ERESTART_RESTARTBLOCK
    }

    pub fn take_restart(&self) -> Option<RestartBlock> {
        self.restart.lock().take()
    }

    /// The private pending set.
    pub fn pending(&self) -> SigSet {
        self.pending.lock().set()
    }

    pub fn altstack(&self) -> AltStack {
        *self.altstack.lock()
    }

    pub fn set_altstack(&self, stack: AltStack) {
        *self.altstack.lock() = stack;
    }

    /// Whether the thread's exit has begun, so that it is no target any more.
    pub fn is_exiting(&self) -> bool {
        self.stop.load(Relaxed) & stop::EXITING != 0
    }

    /// Whether the thread takes part in a completed or nearly completed stop: state T of /proc.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed) & stop::STOPPED != 0
    }
}

/// Whether `thread` has a signal to take: interruptible sleeps end.
pub fn signal_pending(thread: &Thread) -> bool {
    thread.work.load(Relaxed) & (work::SIGNAL | work::KILL) != 0
}

/// As [`signal_pending`], at the start of a fork: a signal that woke a sibling, which has not taken it yet (it may be in
/// vfork), is this thread's as much, and is handled before there is a child (rule 6.16).
pub fn signal_pending_before_fork(thread: &Thread) -> bool {
    let signals = &thread.process.signals;
    if signals.thread_count() > 1 {
        signals.lock().recalculate(thread);
    }
    signal_pending(thread)
}

/// Whether `thread` is about to die of SIGKILL or of its group's exit.
pub fn fatal_signal_pending(thread: &Thread) -> bool {
    thread.work.load(Relaxed) & work::KILL != 0
}

/// Signals that `thread` could see as pending: sigpending(2).
pub fn pending_set(thread: &Thread) -> SigSet {
    let group = thread.process.signals.lock();
    (group.shared.set() | thread.signals.pending()) & thread.signals.blocked()
}

/// Signals that `thread` could take, blocked or not.
pub fn queued_set(thread: &Thread) -> SigSet {
    let group = thread.process.signals.lock();
    group.shared.set() | thread.signals.pending()
}

/// The queue that is woken whenever a signal is queued in `process`: what a signalfd waits on (rule 7.33).
pub fn signalfd_queue(process: &Process) -> Arc<WaitQueue> {
    let mut group = process.signals.lock();
    group.signalfd.get_or_insert_with(|| Arc::new(WaitQueue::new())).clone()
}

/// Replaces the mask of the calling thread and returns the old one. Signals that become unblocked are
/// delivered before the thread returns to user mode.
pub fn set_blocked(thread: &Arc<Thread>, mask: SigSet) -> SigSet {
    let mask = mask.maskable();
    let old = thread.signals.blocked();
    if mask == old {
        return old;
    }
    let mut group = thread.process.signals.lock();
    thread.signals.blocked.store(mask.0, Relaxed);
    // Shared signals that this thread would have taken and now blocks go to a sibling (rule 7.11).
    let newly_blocked = mask & !old;
    if !newly_blocked.is_empty() {
        group.retarget_shared(thread, newly_blocked);
    }
    group.recalculate(thread);
    old
}

/// Installs a mask for the time of one sleep: the old one comes back after the handler of the signal that ends
/// the sleep has been set up, or at once if no handler runs (sigsuspend(2), ppoll(2), pselect(2)).
pub fn set_temporary_mask(thread: &Arc<Thread>, mask: SigSet) {
    let old = set_blocked(thread, mask);
    thread.signals.saved_mask.store(old.0, Relaxed);
    thread.work.fetch_or(work::RESTORE_MASK, Relaxed);
}

/// Puts a temporary mask's predecessor back, if there is one and no signal ended the sleep.
pub fn restore_temporary_mask(thread: &Arc<Thread>) {
    if thread.work.fetch_and(!work::RESTORE_MASK, Relaxed) & work::RESTORE_MASK != 0 {
        set_blocked(thread, SigSet(thread.signals.saved_mask.load(Relaxed)));
    }
}

/// Installs `action` and returns the old one. An action that ignores the signal throws pending instances
/// away, blocked or not (rule 7.9).
///
/// # Errors
/// `EINVAL` for SIGKILL and SIGSTOP.
pub fn set_action(process: &Process, signo: Signo, action: SigAction) -> Result<SigAction> {
    if UNBLOCKABLE.contains(signo) {
        return Err(EINVAL);
    }
    let mut group = process.signals.lock();
    let action = SigAction { mask: action.mask.maskable(), ..action };
    let old = group.sighand.set(signo, action);
    if action.ignores(signo) {
        // A thread woken for what is gone now finds nothing to do, and goes on.
        group.flush_everywhere(SigSet::of(&[signo]));
    }
    drop(group);
    if process.posix_timers.is_used() && old.ignores(signo) && !action.ignores(signo) {
        posix_timer::unignore(process, signo);
    }
    Ok(old)
}

/// SIGCHLD is ignored from here on. One that is pending stays so.
pub fn ignore_children(process: &Process) {
    process.signals.lock().sighand.set(SIGCHLD, SigAction::IGNORE);
}

impl Group {
    /// The live threads, the leader first.
    pub(in crate::process) fn threads(&self) -> &[Arc<Thread>] {
        &self.threads
    }

    /// Recomputes whether `thread` has anything to do before user mode.
    fn recalculate(&mut self, thread: &Thread) {
        let blocked = thread.signals.blocked();
        let pending = self.shared.set() | thread.signals.pending();
        let busy = !(pending & !blocked).is_empty()
            || thread.signals.stop.load(Relaxed) & stop::STOP_PENDING != 0
            || self.stop.has_notice()
            || self.must_die(thread);
        if busy {
            thread.work.fetch_or(work::SIGNAL, Relaxed);
        } else {
            thread.work.fetch_and(!work::SIGNAL, Relaxed);
        }
    }

    /// Drops the signals of POSIX timers, all of which are gone.
    pub(super) fn flush_timers(&mut self) {
        self.shared.flush_timers();
        for thread in &self.threads {
            thread.signals.pending.lock().flush_timers();
        }
    }

    fn flush_everywhere(&mut self, which: SigSet) {
        self.shared.flush(which);
        for thread in &self.threads {
            thread.signals.pending.lock().flush(which);
        }
    }

    /// Whether `thread` has to exit before it does anything else.
    fn must_die(&self, thread: &Thread) -> bool {
        self.exit_status.is_some() || self.exec_survivor.is_some_and(|tid| tid != thread.tid())
    }
}
