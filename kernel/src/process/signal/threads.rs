//! The live threads of a process as signals see them: joining, leaving, dying together.

use core::sync::atomic::Ordering::Relaxed;

use super::{AltStack, Pending, SigHand, SigSet, Signo, stop::EXITING, work};
use crate::{
    prelude::*,
    process::{Process, Thread, coredump::Meeting, seccomp},
};

/// A thread that left, and what its leaving means.
pub struct Detached {
    /// Threads that have not begun to exit.
    pub remaining: usize,
    /// Its leaving completed a group stop of the others: report it.
    pub completed_stop: Option<Signo>,
}

/// Makes a new thread a target of signals. The first one is the leader. What siblings may change of each other, it takes over
/// from its creator in the same step.
///
/// # Errors
/// `ERESTARTNOINTR` if the group has begun to die or one of its threads is in execve: the caller is among the
/// dying and never sees it.
pub fn attach_thread(thread: &Arc<Thread>, creator: Option<&Thread>) -> Result<()> {
    let signals = &thread.process.signals;
    let mut group = signals.lock();
    if group.exit_status.is_some() || group.exec_survivor.is_some() {
        return Err(ERESTARTNOINTR);
    }
    if let Some(creator) = creator {
        seccomp::inherit(thread, creator);
    }
    group.join_stop(thread);
    group.threads.push(thread.clone());
    signals.thread_count.store(group.threads.len() as u32, Relaxed);
    Ok(())
}

/// Begins the exit of `thread`: it is no target any more; shared signals that it would have taken go to its
/// siblings; it no longer counts in a group stop (rule 3.9).
pub fn detach_thread(thread: &Thread) -> Detached {
    let signals = &thread.process.signals;
    let mut group = signals.lock();
    let completed_stop = group.take_part(thread);
    thread.signals.stop.store(EXITING, Relaxed);
    if let Some(position) = group.threads.iter().position(|t| core::ptr::eq(&**t, thread)) {
        group.threads.remove(position);
        if group.next_target >= group.threads.len() {
            group.next_target = 0;
        }
    }
    let remaining = group.threads.len();
    signals.thread_count.store(remaining as u32, Relaxed);
    if let Some(meeting) = &group.dump {
        meeting.thread_left();
    }
    if remaining > 0 {
        if thread.is_leader() {
            group.leader_blocked = Some(thread.signals.blocked());
        }
        let would_take = !thread.signals.blocked();
        group.retarget_shared(thread, would_take);
    }
    // A stop of nobody is none.
    let completed_stop = completed_stop.filter(|_| remaining > 0);
    Detached { remaining, completed_stop }
}

/// The live threads, the leader first.
pub fn threads(process: &Process) -> Vec<Arc<Thread>> {
    process.signals.lock().threads.clone()
}

/// Starts the death of the whole process with the raw wait status `status`, and returns the status that
/// counts: that of whoever came first (rule 3.4).
pub fn begin_group_exit(process: &Process, status: i32) -> i32 {
    process.signals.lock().start_exit(status)
}

/// As [`begin_group_exit`], for a death with a core dump: the others will join the meeting on their way out.
///
/// # Errors
/// The status that counts, when the process is dying already; that of a thread killed by a sibling's execve.
pub fn begin_dump(process: &Process, signo: i32) -> core::result::Result<Arc<Meeting>, i32> {
    let mut group = process.signals.lock();
    if let Some(status) = group.exit_status {
        return Err(status);
    }
    if group.exec_survivor.is_some() {
        return Err(group.start_exit(signo));
    }
    let meeting = Meeting::new();
    group.dump = Some(meeting.clone());
    group.start_exit(signo);
    Ok(meeting)
}

/// The meeting for a core of the process that is being written.
pub fn current_dump(process: &Process) -> Option<Arc<Meeting>> {
    process.signals.lock().dump.clone().filter(|meeting| meeting.is_on())
}

/// What is left of a process's signals when its last thread is gone.
pub struct Remains {
    /// The status of the whole process, if its death was one.
    pub exit_status: Option<i32>,
    /// What was sent to the process and nobody took.
    pub pending: SigSet,
    /// Their information, if there is any: it counts against the sender's user until the zombie is reaped (rule 3.11).
    pub queue: Option<Box<Pending>>,
    pub ignored: SigSet,
    pub caught: SigSet,
}

pub fn remains(process: &Process) -> Remains {
    let mut group = process.signals.lock();
    let (ignored, caught) = group.sighand.ignored_and_caught();
    let pending = group.shared.set();
    let queue = group.shared.take_queue();
    Remains { exit_status: group.exit_status, pending, queue, ignored, caught }
}

pub fn group_exit_status(process: &Process) -> Option<i32> {
    process.signals.lock().exit_status
}

/// The process dies with another status than it would have (a core was written; reboot(2) in a namespace, rule 9.12).
pub fn override_exit_status(process: &Process, status: i32) {
    process.signals.lock().exit_status = Some(status);
}

/// Kills every other thread of the caller's process, without an exit status: execve(2) by one of many threads.
///
/// # Errors
/// `EAGAIN` if the group is dying already or another thread's execve is ahead: the caller is to die.
pub fn begin_exec_kill(survivor: &Thread) -> Result<()> {
    let mut group = survivor.process.signals.lock();
    if group.exit_status.is_some() || group.exec_survivor.is_some() {
        return Err(EAGAIN);
    }
    group.exec_survivor = Some(survivor.tid());
    group.clear_stop();
    for thread in &group.threads {
        if thread.tid() != survivor.tid() {
            thread.wake_for_signal(work::SIGNAL | work::KILL);
        }
    }
    Ok(())
}

/// The other threads are gone: the survivor is an ordinary single thread again.
pub fn end_exec_kill(process: &Process) {
    let mut group = process.signals.lock();
    group.exec_survivor = None;
    group.leader_blocked = None;
}

/// What execve does to signals once there is no way back: handlers to the default in a table of its own,
/// no alternate stack, no POSIX timers. Masks, both pending queues and ignored signals stay (rules 10.9, 10.10).
pub fn exec_reset(thread: &Thread) {
    let timers = &thread.process.posix_timers;
    timers.delete_all();
    let mut group = thread.process.signals.lock();
    if timers.is_used() {
        group.flush_timers();
    }
    if Arc::strong_count(&group.sighand) > 1 {
        group.sighand = group.sighand.fork_copy(true);
    } else {
        group.sighand.reset_handlers();
    }
    drop(group);
    // The flags stay.
    let flags = thread.signals.altstack().flags;
    thread.signals.set_altstack(AltStack { flags, ..AltStack::NONE });
}

/// The dispositions for a forked child.
pub fn fork_sighand(parent: &Process, share: bool, clear_handlers: bool) -> Arc<SigHand> {
    let sighand = parent.signals.sighand();
    if share { sighand } else { sighand.fork_copy(clear_handlers) }
}

/// SigPnd, SigBlk of one thread for /proc.
pub fn thread_sets(thread: &Thread) -> (SigSet, SigSet) {
    (thread.signals.pending(), thread.signals.blocked())
}
