//! A queue of pending signals: the private one of a thread, or the one shared by a process.
//!
//! A standard signal is held once, with the first sender's information; real-time signals queue in order
//! (rule 7.8, signal(7)).

use super::{
    info::SigInfo,
    set::{NSIG, SIGRTMIN, SYNCHRONOUS, SigSet, Signo},
};
use crate::prelude::*;

#[derive(Default)]
pub struct Pending {
    /// Which signals are pending.
    set: SigSet,
    /// One entry for each standard signal in `set`; for each real-time one, as many as were queued, oldest
    /// first, and none at all for an instance whose information was lost.
    queue: Vec<SigInfo>,
}

impl Pending {
    pub const fn new() -> Pending {
        Pending { set: SigSet::EMPTY, queue: Vec::new() }
    }

    pub fn set(&self) -> SigSet {
        self.set
    }

    /// Whether sending `signo` now would have no effect: a standard signal that is pending already.
    pub fn absorbs(&self, signo: Signo) -> bool {
        signo < SIGRTMIN && self.set.contains(signo)
    }

    /// Adds a signal; `false` if it was absorbed by one that is pending already.
    pub fn push(&mut self, info: SigInfo) -> bool {
        if self.absorbs(info.signo) {
            return false;
        }
        self.set.insert(info.signo);
        self.queue.push(info);
        true
    }

    /// Marks a signal pending without any information (no memory or no room in the sender's limit).
    pub fn push_lost(&mut self, signo: Signo) {
        self.set.insert(signo);
    }

    /// The signal outside `mask` to take next: synchronous ones first, then the lowest number (rule 7.13).
    pub fn next(&self, mask: SigSet) -> Option<Signo> {
        let ready = self.set & !mask;
        (ready & SYNCHRONOUS).lowest().or_else(|| ready.lowest())
    }

    /// Takes the oldest instance of a pending signal.
    pub fn take(&mut self, signo: Signo) -> SigInfo {
        let Some(first) = self.queue.iter().position(|info| info.signo == signo) else {
            self.set.remove(signo);
            return SigInfo::lost(signo);
        };
        let info = self.queue.remove(first);
        let more = signo >= SIGRTMIN && self.queue[first..].iter().any(|other| other.signo == signo);
        if !more {
            self.set.remove(signo);
        }
        info
    }

    /// Drops every instance of the signals in `which`.
    pub fn flush(&mut self, which: SigSet) -> usize {
        if (self.set & which).is_empty() {
            return 0;
        }
        let before = self.queue.len();
        self.set &= !which;
        self.queue.retain(|info| !which.contains(info.signo));
        before - self.queue.len()
    }

    /// How many instances are queued.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

/// Checks a signal number that user mode gave: 1..=64.
pub fn valid_signo(raw: usize) -> Result<Signo> {
    match raw as u32 as i32 {
        signo @ 1.. if signo <= NSIG as i32 => Ok(signo as Signo),
        _ => Err(EINVAL),
    }
}
