//! A queue of pending signals: the private one of a thread, or the one shared by a process.
//!
//! A standard signal is held once, with the first sender's information; real-time signals queue in order
//! (rule 7.8, signal(7)).

use core::sync::atomic::Ordering::Relaxed;

use super::{
    info::{SI_USER, SigInfo},
    set::{NSIG, SIGRTMIN, SYNCHRONOUS, SigSet, Signo},
};
use crate::{prelude::*, process::credentials::User};

#[derive(Default)]
pub struct Pending {
    /// Which signals are pending.
    set: SigSet,
    /// One entry for each standard signal in `set`; for each real-time one, as many as were queued, oldest
    /// first; none at all for an instance whose information was lost.
    queue: Vec<Entry>,
}

struct Entry {
    info: SigInfo,
    /// Whose RLIMIT_SIGPENDING it counts against.
    _charge: Charge,
}

/// One queued signal in a user's count, for as long as it lives.
struct Charge(Arc<User>);

impl Charge {
    /// `None` if the user has `limit` signals queued already.
    fn new(user: Arc<User>, limit: u64) -> Option<Charge> {
        let count = user.sigpending.fetch_add(1, Relaxed) as u64;
        let charge = Charge(user);
        (count < limit).then_some(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.0.sigpending.fetch_sub(1, Relaxed);
    }
}

impl Pending {
    pub const fn new() -> Pending {
        Pending { set: SigSet::EMPTY, queue: Vec::new() }
    }

    pub fn set(&self) -> SigSet {
        self.set
    }

    /// Adds a signal at the cost of `user`, who may have `limit` of them queued. `Ok(false)` if it was absorbed by
    /// one that is pending already. Beyond the limit a signal keeps its number and loses its information, but for
    /// a standard one of the kernel or of kill(2).
    ///
    /// # Errors
    /// `EAGAIN` for a real-time signal of sigqueue(3) beyond the limit: nothing is pending then (rule 7.8).
    pub fn push(&mut self, info: SigInfo, user: Arc<User>, limit: u64) -> Result<bool> {
        let signo = info.signo;
        if signo < SIGRTMIN && self.set.contains(signo) {
            return Ok(false);
        }
        let limit = if signo < SIGRTMIN && info.code >= 0 { u64::MAX } else { limit };
        match Charge::new(user, limit) {
            Some(charge) => self.queue.push(Entry { info, _charge: charge }),
            None if signo >= SIGRTMIN && info.code != SI_USER => return Err(EAGAIN),
            None => {}
        }
        self.set.insert(signo);
        Ok(true)
    }

    /// The signal outside `mask` to take next: synchronous ones first, then the lowest number (rule 7.13).
    pub fn next(&self, mask: SigSet) -> Option<Signo> {
        let ready = self.set & !mask;
        (ready & SYNCHRONOUS).lowest().or_else(|| ready.lowest())
    }

    /// Takes the oldest instance of a pending signal.
    pub fn take(&mut self, signo: Signo) -> SigInfo {
        let Some(first) = self.queue.iter().position(|entry| entry.info.signo == signo) else {
            self.set.remove(signo);
            return SigInfo::lost(signo);
        };
        let info = self.queue.remove(first).info;
        let more = signo >= SIGRTMIN && self.queue[first..].iter().any(|other| other.info.signo == signo);
        if !more {
            self.set.remove(signo);
        }
        info
    }

    /// Drops every instance of the signals in `which`.
    pub fn flush(&mut self, which: SigSet) {
        if !(self.set & which).is_empty() {
            self.set &= !which;
            self.queue.retain(|entry| !which.contains(entry.info.signo));
        }
    }
}

/// Checks a signal number that user mode gave: 1..=64.
pub fn valid_signo(raw: usize) -> Result<Signo> {
    match raw as u32 as i32 {
        signo @ 1.. if signo <= NSIG as i32 => Ok(signo as Signo),
        _ => Err(EINVAL),
    }
}
