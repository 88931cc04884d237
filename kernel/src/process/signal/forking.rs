//! Signals to many processes while one of them forks (rule 6.16).
//!
//! A group that is signalled is one set of processes: a child that is being made is in it or its making starts again
//! afterwards. So a signal that finds the parent on its way through fork(2) is noted there too, and the child has it
//! pending when it first runs.
//!
//! Senders to many hold the process table's lock, and so does the step that links the child: what they note before it is
//! the child's, and after it the child is a member itself. The flag `forking` is set without a lock; together with
//! `Thread::work` it makes a pair of which at least one side sees the other, for the forker sets the flag and then looks
//! for work, while the sender leaves work and then looks for the flag.

use core::sync::atomic::{
    Ordering::{Relaxed, SeqCst},
    fence,
};

use super::{Group, SigInfo, SigSet, send_process_in_table, set::*, signal_pending};
use crate::{
    prelude::*,
    process::{Process, Thread, tree},
};

/// Held by a thread from the start of a fork to the moment at which the child is linked.
pub struct Forking<'a> {
    parent: &'a Thread,
}

impl<'a> Forking<'a> {
    /// # Errors
    /// `ERESTARTNOINTR` if a signal is to be handled first.
    pub fn begin(parent: &'a Thread) -> Result<Forking<'a>> {
        parent.signals.fork_signals.store(0, Relaxed);
        parent.signals.forking.store(true, Relaxed);
        // The flag before the look at `work`; pairs with the fence in `note_for_forks`.
        fence(SeqCst);
        let forking = Forking { parent };
        if signal_pending(parent) { Err(ERESTARTNOINTR) } else { Ok(forking) }
    }

    /// Gives the child, which has just been linked, what was sent meanwhile. With the table locked.
    pub fn hand_over(&self, table: &mut tree::Table, child: &Arc<Process>) {
        self.parent.signals.forking.store(false, Relaxed);
        let mut late = SigSet(self.parent.signals.fork_signals.load(Relaxed));
        while let Some(signo) = late.lowest() {
            late.remove(signo);
            send_process_in_table(table, child, None, SigInfo::anonymous(signo));
        }
    }
}

impl Drop for Forking<'_> {
    fn drop(&mut self) {
        if self.parent.signals.forking.load(Relaxed) {
            // No child came of it. A sender that has seen the flag must have left its note before the next fork begins.
            let _group = self.parent.process.signals.lock();
            self.parent.signals.forking.store(false, Relaxed);
        }
    }
}

impl Group {
    /// Leaves a note for every thread that is making a process. A stop signal and SIGCONT cancel each other (rule 7.18).
    pub(super) fn note_for_forks(&self, signo: Signo) {
        // `work` of the threads before the look at their flags.
        fence(SeqCst);
        for thread in &self.threads {
            if thread.signals.forking.load(Relaxed) {
                let cancelled = match signo {
                    SIGCONT => STOP_SIGNALS,
                    _ if STOP_SIGNALS.contains(signo) => SigSet::of(&[SIGCONT]),
                    _ => SigSet::of(&[]),
                };
                let noted = SigSet(thread.signals.fork_signals.load(Relaxed)) & !cancelled;
                thread.signals.fork_signals.store((noted | SigSet::of(&[signo])).0, Relaxed);
            }
        }
    }
}
