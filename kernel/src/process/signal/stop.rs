//! Job control stops: how all threads of a process come to rest, and go on (rules 7.18-7.22, 5.2-5.4).
//!
//! A stop signal taken with its default action starts a group stop: every live thread is counted and told;
//! each stops at its next way to user mode; the last one completes the stop and reports it to the parent.
//! SIGCONT ends a stop, complete or not, at the moment it is sent; the first thread that runs again reports.
//!
//! Flags and counters here are guarded by the signal lock. The report itself is made by `process::tree` with the process-table
//! lock, which is taken first and held over both, as it is by those who send SIGCONT.

use core::sync::atomic::Ordering::Relaxed;

use ostd::task;

use super::{Group, fatal_signal_pending, set::Signo, work};
use crate::{
    prelude::*,
    process::{Thread, tree},
};

/// Per-thread flag: told to stop, has not done so yet.
pub(super) const STOP_PENDING: u32 = 1;
/// Per-thread flag: at rest.
pub(super) const STOPPED: u32 = 2;

/// Per-thread flag: exit has begun, no signal is for this thread any more.
pub(super) const EXITING: u32 = 4;

/// What the parent is to hear when the first thread runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The stop had completed.
    Continued,
    /// SIGCONT came while threads were still stopping: the parent hears of a stop, by no signal (rule 5.4).
    StopAborted,
}

#[derive(Default)]
pub(super) struct GroupStop {
    /// Threads told to stop that have not yet.
    remaining: usize,
    /// The first stop signal of this stop: what wait reports.
    signo: Signo,
    completed: bool,
    notice: Option<Notice>,
}

impl GroupStop {
    pub(super) fn has_notice(&self) -> bool {
        self.notice.is_some()
    }

    pub(super) fn take_notice(&mut self) -> Option<Notice> {
        self.notice.take()
    }
}

impl Group {
    /// Tells every live thread to stop for `signo`, the calling one included.
    pub(super) fn begin_stop(&mut self, signo: Signo, current: &Thread) {
        if self.stop.remaining == 0 {
            if !self.stop.completed {
                self.stop.signo = signo;
            }
            for thread in &self.threads {
                if thread.signals.stop.load(Relaxed) & (STOPPED | STOP_PENDING) != 0 {
                    continue;
                }
                thread.signals.stop.fetch_or(STOP_PENDING, Relaxed);
                self.stop.remaining += 1;
                if thread.tid() != current.tid() {
                    thread.wake_for_signal(work::SIGNAL);
                } else {
                    thread.work.fetch_or(work::SIGNAL, Relaxed);
                }
            }
        }
    }

    /// The calling thread's share of a stop: `Some(signo)` if it was the last and the stop is complete.
    pub(super) fn take_part(&mut self, thread: &Thread) -> Option<Signo> {
        let flags = thread.signals.stop.load(Relaxed);
        if flags & STOP_PENDING == 0 {
            return None;
        }
        thread.signals.stop.store(flags & !STOP_PENDING, Relaxed);
        self.stop.remaining = self.stop.remaining.saturating_sub(1);
        if self.stop.remaining == 0 && !self.stop.completed {
            self.stop.completed = true;
            return Some(self.stop.signo);
        }
        None
    }

    /// A new thread joins a stop that is under way or complete (rule 6.23).
    pub(super) fn join_stop(&mut self, thread: &Thread) {
        if self.stop.remaining > 0 {
            thread.signals.stop.store(STOP_PENDING, Relaxed);
            self.stop.remaining += 1;
            thread.work.fetch_or(work::SIGNAL, Relaxed);
        } else if self.stop.completed {
            thread.signals.stop.store(STOPPED, Relaxed);
            thread.work.fetch_or(work::SIGNAL, Relaxed);
        }
    }

    /// Ends a stop because of SIGCONT. True if one had completed or was under way.
    pub(super) fn end_stop(&mut self) -> bool {
        let notice = if self.stop.completed {
            Some(Notice::Continued)
        } else if self.stop.remaining > 0 {
            Some(Notice::StopAborted)
        } else {
            None
        };
        self.clear_stop();
        if notice.is_some() {
            self.stop.notice = notice;
            // Whoever runs first makes the report.
            for thread in &self.threads {
                thread.wake_for_signal(work::SIGNAL);
            }
        }
        notice.is_some()
    }

    /// Forgets any stop, as death does (rule 3.19).
    pub(super) fn clear_stop(&mut self) {
        self.stop.remaining = 0;
        self.stop.completed = false;
        for thread in &self.threads {
            if thread.signals.stop.swap(0, Relaxed) & STOPPED != 0 {
                thread.unpark();
            }
        }
    }
}

/// Stops the calling thread, which `begin_stop` or a sibling has told to, until SIGCONT or death.
/// Called without locks.
pub(super) fn stop_here(thread: &Arc<Thread>) {
    let process = &thread.process;
    let table = tree::lock();
    let completed = {
        let mut group = process.signals.lock();
        let told = thread.signals.stop.load(Relaxed) & (STOP_PENDING | STOPPED) != 0;
        if !told || group.must_die(thread) {
            return;
        }
        let completed = group.take_part(thread);
        thread.signals.stop.store(STOPPED, Relaxed);
        completed
    };
    match completed {
        Some(signo) => tree::report_stopped(table, process, signo),
        None => drop(table),
    }
    while thread.signals.stop.load(Relaxed) & STOPPED != 0 && !fatal_signal_pending(thread) {
        task::park();
    }
}
