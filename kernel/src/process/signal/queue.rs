//! A queue of pending signals: the private one of a thread, or the one shared by a process.
//!
//! A standard signal is held once, with the first sender's information; real-time signals queue in order
//! (rule 7.8, signal(7)). The signals of POSIX timers, one of each, stand beside the others, whatever their number.

use core::sync::atomic::Ordering::Relaxed;

use super::{
    info::{SI_USER, SigInfo},
    set::{NSIG, SIGKILL, SIGRTMIN, SYNCHRONOUS, SigSet, Signo},
};
use crate::{prelude::*, process::credentials::User, time::posix_timer::PosixTimer};

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
    /// Whose RLIMIT_SIGPENDING it counts against. A timer pays itself, for as long as it exists.
    _charge: Option<Charge>,
}

/// One queued signal in a user's count, for as long as it lives.
pub struct Charge(Arc<User>);

impl Charge {
    /// `None` if the user has `limit` signals queued already.
    pub fn new(user: Arc<User>, limit: u64) -> Option<Charge> {
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
        if signo == SIGKILL {
            // Nobody is told who sent it.
            self.set.insert(signo);
            return Ok(true);
        }
        let limit = if signo < SIGRTMIN && info.code >= 0 { u64::MAX } else { limit };
        match Charge::new(user, limit) {
            Some(charge) => self.queue.push(Entry { info, _charge: Some(charge) }),
            None if signo >= SIGRTMIN && info.code != SI_USER => return Err(EAGAIN),
            None => {}
        }
        self.set.insert(signo);
        Ok(true)
    }

    /// Adds a timer's signal, beside others of its number.
    pub fn push_timer(&mut self, info: SigInfo) {
        if let Some(timer) = info.sender_timer() {
            timer.set_queued(true);
        }
        self.set.insert(info.signo);
        self.queue.push(Entry { info, _charge: None });
    }

    /// The signal outside `mask` to take next: synchronous ones first, then the lowest number (rule 7.13).
    pub fn next(&self, mask: SigSet) -> Option<Signo> {
        let ready = self.set & !mask;
        (ready & SYNCHRONOUS).lowest().or_else(|| ready.lowest())
    }

    /// Takes the oldest instance of a pending signal.
    #[inline(always)]
    pub fn take(&mut self, signo: Signo) -> SigInfo {
        let Some(first) = self.queue.iter().position(|entry| entry.info.signo == signo) else {
            self.set.remove(signo);
            return SigInfo::lost(signo);
        };
        // The last one, which is mostly the only one, leaves nothing to move.
        let last = if first + 1 == self.queue.len() { self.queue.pop() } else { None };
        let info = last.unwrap_or_else(|| self.queue.remove(first)).info;
        if let Some(timer) = info.sender_timer() {
            timer.set_queued(false);
        }
        let more = self.queue[first..].iter().any(|other| other.info.signo == signo);
        if !more {
            self.set.remove(signo);
        }
        info
    }

    /// Drops every instance of the signals in `which`.
    pub fn flush(&mut self, which: SigSet) {
        if !(self.set & which).is_empty() {
            self.set &= !which;
            self.retain(|info| !which.contains(info.signo), |timer| timer.was_ignored());
        }
    }

    /// Drops the signals of all timers, which do not exist any more.
    pub fn flush_timers(&mut self) {
        let before = self.queued();
        self.retain(|info| info.sender_timer().is_none(), |_| {});
        // What had no entry before stays: it is pending without its information.
        self.set &= !(before & !self.queued());
    }

    /// The signals that have entries.
    fn queued(&self) -> SigSet {
        SigSet(self.queue.iter().fold(0, |set, entry| set | SigSet::of(&[entry.info.signo]).0))
    }

    /// Takes the queue, if there is one; what is pending is known all the same.
    pub fn take_queue(&mut self) -> Option<Box<Pending>> {
        (!self.queue.is_empty()).then(|| Box::new(core::mem::take(self)))
    }

    fn retain(&mut self, wanted: impl Fn(&SigInfo) -> bool, dropped: impl Fn(&PosixTimer)) {
        self.queue.retain(|entry| {
            let stays = wanted(&entry.info);
            if let Some(timer) = entry.info.sender_timer().filter(|_| !stays) {
                timer.set_queued(false);
                dropped(timer);
            }
            stays
        });
    }
}

/// Checks a signal number that user mode gave: 1..=64.
pub fn valid_signo(raw: usize) -> Result<Signo> {
    match raw as u32 as i32 {
        signo @ 1.. if signo <= NSIG as i32 => Ok(signo as Signo),
        _ => Err(EINVAL),
    }
}
