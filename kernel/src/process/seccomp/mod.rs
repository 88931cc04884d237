//! seccomp(2): threads that gave up system calls, for good (rule 1.46).
//!
//! # Data
//! Each thread has a [`Seccomp`]: its mode, and the newest of its [`Filter`]s, each of which leads to the one that was installed
//! before it. Filters never change, so a chain is shared by whoever inherited it (fork, clone; execve keeps it), and never get
//! fewer.
//!
//! # The way of a system call
//! A thread without seccomp pays nothing: its loop ([`user_loop`](super::user_loop)) serves calls as they come. With it, it is in
//! another loop that asks [`admits`] first. What moves it there is the flag [`work::SYSCALLS`], set once: by the thread itself, by
//! a sibling ([TSYNC](install)) or at birth. A sibling in user mode is interrupted before TSYNC returns, so there is no call after
//! that which its filter has not seen.
//!
//! # Locks
//! A process's signal lock serialises new filters with new threads and with each other, as a chain may be given to all threads at
//! once. The lock around a thread's newest filter is a leaf, held for a copy of the reference.

mod act;
mod filter;
pub mod log;
pub mod notify;

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use ostd::{
    cpu::{self, CpuSet},
    sync::SpinLock,
};

use self::notify::Notifier;
pub use self::{
    act::{Action, admits},
    filter::{ARCH, Filter, FilterFlags},
};
use super::{
    Cap, Thread,
    signal::{self, work},
};
use crate::{lock_order, prelude::*};

/// What PR_GET_SECCOMP and /proc/PID/status say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    Disabled = 0,
    /// read, write, exit and rt_sigreturn, and no more.
    Strict = 1,
    Filter = 2,
}

/// A thread's part.
pub struct Seccomp {
    mode: AtomicU8,
    newest: SpinLock<Option<Arc<Filter>>>,
}

impl Seccomp {
    pub fn new() -> Seccomp {
        let mode = AtomicU8::new(Mode::Disabled as u8);
        Seccomp { mode, newest: SpinLock::new(lock_order::PROCESS_MISC, None) }
    }

    pub fn mode(&self) -> Mode {
        match self.mode.load(Relaxed) {
            0 => Mode::Disabled,
            1 => Mode::Strict,
            _ => Mode::Filter,
        }
    }

    fn newest(&self) -> Option<Arc<Filter>> {
        self.newest.lock().clone()
    }

    /// How many filters there are.
    pub fn filter_count(&self) -> u32 {
        self.newest.lock().as_ref().map_or(0, |filter| filter.count())
    }

    fn set_filter(&self, filter: Arc<Filter>) {
        let old = self.newest.lock().replace(filter);
        self.mode.store(Mode::Filter as u8, Relaxed);
        drop(old);
    }
}

/// Whether `thread` may enter `mode`: there is no way from one mode to another.
fn may_enter(thread: &Thread, mode: Mode) -> Result<()> {
    let now = thread.seccomp.mode();
    if now == Mode::Disabled || now == mode { Ok(()) } else { Err(EINVAL) }
}

/// Puts the calling thread into strict mode.
///
/// # Errors
/// EINVAL when it has filters.
pub fn set_strict(thread: &Thread) -> Result<()> {
    // A sibling may be giving this thread a filter.
    let _group = thread.process.signals.lock();
    may_enter(thread, Mode::Strict)?;
    thread.seccomp.mode.store(Mode::Strict as u8, Relaxed);
    thread.work.fetch_or(work::SYSCALLS, Relaxed);
    Ok(())
}

/// Whether the caller may install filters: they could otherwise lead a set-id program astray.
///
/// # Errors
/// EACCES
pub fn check_privilege(thread: &Thread) -> Result<()> {
    let allowed =
        thread.no_new_privs.load(Relaxed) || thread.with_creds(|creds| creds.capable(Cap::SysAdmin));
    if allowed { Ok(()) } else { Err(EACCES) }
}

/// Gives the calling thread one more filter; with TSYNC, all threads of its process the same chain. Returns 0, or the tid of a
/// thread that has filters of its own, to which the chain can't be given: nothing has changed then.
///
/// # Errors
/// EINVAL in strict mode, ENOMEM when the chain gets too long, ESRCH instead of a tid if the flags say so; EBUSY if the filter has
/// somebody to ask (`notifier`) and so has one before it.
pub fn install(
    thread: &Arc<Thread>,
    program: bpf::Program,
    flags: FilterFlags,
    notifier: Option<Arc<Notifier>>,
) -> Result<usize> {
    may_enter(thread, Mode::Filter)?;
    // The filter is made outside the lock; only a sibling's TSYNC can change what it continues.
    let mut before = thread.seccomp.newest();
    let mut filter = Filter::new(program, before.clone(), flags)?;
    let process = &thread.process;
    let group = loop {
        let group = process.signals.lock();
        may_enter(thread, Mode::Filter)?;
        let now = thread.seccomp.newest();
        if same(&now, &before) {
            break group;
        }
        drop(group);
        filter = filter.continuing(now.clone())?;
        before = now;
    };
    if let Some(notifier) = notifier {
        if before.as_ref().is_some_and(|before| before.has_listener()) {
            return Err(EBUSY);
        }
        filter.set_notifier(notifier);
    }
    if !flags.contains(FilterFlags::TSYNC) {
        enter(thread, &filter);
        return Ok(0);
    }
    let siblings = || group.threads().iter().filter(|sibling| !Arc::ptr_eq(sibling, thread));
    if let Some(stranger) = siblings().find(|sibling| !can_follow(sibling, &before)) {
        let tid = stranger.tid() as usize;
        return if flags.contains(FilterFlags::TSYNC_ESRCH) { Err(ESRCH) } else { Ok(tid) };
    }
    enter(thread, &filter);
    let no_new_privs = thread.no_new_privs.load(Relaxed);
    let mut dropped = Vec::new();
    for sibling in siblings() {
        dropped.push(sibling.seccomp.newest());
        enter(sibling, &filter);
        if no_new_privs {
            sibling.no_new_privs.store(true, Relaxed);
        }
    }
    let alone = dropped.is_empty();
    drop(group);
    drop(dropped);
    if !alone {
        // Who is in user mode now comes in, and sees the flag before its next system call.
        let all = cpu::all().fold(CpuSet::default(), |set, cpu| CpuSet(set.0 | 1 << cpu.as_usize()));
        cpu::call_on(all, &|| {});
    }
    Ok(0)
}

fn same(a: &Option<Arc<Filter>>, b: &Option<Arc<Filter>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

/// Whether the chain that ends in `newest` contains all filters that `sibling` has.
fn can_follow(sibling: &Thread, newest: &Option<Arc<Filter>>) -> bool {
    match sibling.seccomp.mode() {
        Mode::Disabled => true,
        Mode::Strict => false,
        Mode::Filter => {
            let Some(its) = sibling.seccomp.newest() else { return true };
            newest.as_ref().is_some_and(|newest| newest.chain().any(|filter| core::ptr::eq(filter, &*its)))
        }
    }
}

/// The signal lock is held.
fn enter(thread: &Thread, filter: &Arc<Filter>) {
    thread.seccomp.set_filter(filter.clone());
    thread.work.fetch_or(work::SYSCALLS, Relaxed);
}

/// What a new thread takes over. For a thread of the creator's process the signal lock is held, so that it has either the filters
/// that a TSYNC gave to all, or is there to be given them.
pub fn inherit(child: &Thread, creator: &Thread) {
    if creator.no_new_privs.load(Relaxed) {
        child.no_new_privs.store(true, Relaxed);
    }
    if creator.seccomp.mode() == Mode::Disabled {
        return;
    }
    *child.seccomp.newest.lock() = creator.seccomp.newest();
    child.seccomp.mode.store(creator.seccomp.mode.load(Relaxed), Relaxed);
    child.work.fetch_or(work::SYSCALLS, Relaxed);
}

/// The calling thread makes no system call any more: its filters are let go of, so that who listens to them hears of it.
pub fn release(thread: &Thread) {
    if thread.seccomp.mode() == Mode::Filter {
        let newest = thread.seccomp.newest.lock().take();
        drop(newest);
    }
}

/// Ends the calling thread, and its process if it is the last one, as a call that was not allowed does.
fn end_thread(thread: &Arc<Thread>, status: signal::Signo) {
    super::exit::exit_thread(thread, i32::from(status));
}
