//! Group stops and what the parent hears of them (rules 4.12, 4.13, 5.2-5.4).
//!
//! Three things are kept apart: that a process *is* stopped (which orphaned groups ask, 2.20-2.26), the
//! *report*, stopped or continued, that a wait consumes, and the *notice* to the parent.

use crate::{
    arena::ProcId,
    events,
    kernel::{ChildChange, Effect, Kernel, Sink},
    node::{ProcFlags, ProcLink, SIGCHLD},
    table::Table,
};

impl<K: Kernel> Table<K> {
    /// A group stop by `signal` is complete: its last thread stopped. A report is due, an unread continue
    /// report is lost (4.13), and the parent is told. Nothing for a zombie or a stale id.
    pub fn stopped(&mut self, process: ProcId, signal: u8, sink: &mut impl Sink<K>) {
        let Some(process) = self.live_process(process) else {
            return;
        };
        let node = &mut self.processes[process];
        node.stop_signal = signal;
        if !node.flags.has(ProcFlags::STOPPED) {
            node.flags.set(ProcFlags::STOPPED);
            let pgrp = node.pgrp;
            self.pids[pgrp].stopped += 1;
        }
        self.set_event(process, events::STOPPED);
        self.tell_parent(process, SIGCHLD, ChildChange::Stopped(signal), sink);
    }

    /// SIGCONT was generated, and ended or aborted a group stop: a continue report is due at once, an unread
    /// stop report is lost (4.12). The parent is told later, when a thread runs again:
    /// [`notify_parent`](Self::notify_parent) (5.3).
    pub fn continued(&mut self, process: ProcId) {
        if let Some(process) = self.live_process(process) {
            self.apply(process, Effect::Continued);
        }
    }

    /// The process was killed: no stop, no report any more (rule 3.19).
    pub fn void_stop(&mut self, process: ProcId) {
        if let Some(process) = self.live_process(process) {
            self.apply(process, Effect::Killed);
        }
    }

    /// A group stop is complete and was not continued.
    pub fn is_stopped(&self, process: ProcId) -> bool {
        self.has_flag(process, ProcFlags::STOPPED)
    }

    /// Signals and wakes the parent for a stop or a continue, and leaves the reports alone (5.3, 5.4).
    pub fn notify_parent(&mut self, process: ProcId, change: ChildChange, sink: &mut impl Sink<K>) {
        if let Some(process) = self.live_process(process) {
            self.tell_parent(process, SIGCHLD, change, sink);
        }
    }

    /// What a signal did to the stop of its target.
    pub(crate) fn apply(&mut self, process: ProcLink, effect: Effect) {
        let report = match effect {
            Effect::None => return,
            Effect::Continued => events::CONTINUED,
            Effect::Killed => 0,
        };
        if !self.processes[process].is_zombie() {
            self.unset_stopped(process);
            self.set_event(process, report);
        }
    }

    pub(crate) fn unset_stopped(&mut self, process: ProcLink) {
        let node = &mut self.processes[process];
        if node.flags.has(ProcFlags::STOPPED) {
            node.flags.clear(ProcFlags::STOPPED);
            let pgrp = node.pgrp;
            self.pids[pgrp].stopped -= 1;
        }
    }

    fn live_process(&self, process: ProcId) -> Option<ProcLink> {
        self.processes.resolve(process).filter(|&process| !self.processes[process].is_zombie())
    }
}
