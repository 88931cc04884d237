//! Which child a wait gets (section 4).
//!
//! Linux walks the calling thread's children in list order, then those of its sibling threads, and takes the
//! first with anything to report (4.10). Here the answer is looked up:
//!
//! | wait for | with something to report | ECHILD or not |
//! |---|---|---|
//! | any child | leftmost match in the event tree: O(log z) | counters by class: O(1) |
//! | one process | its own node: O(1) | the same |
//! | a group | whichever is shorter: the thread's reportable children in order, or the members of the group | members, up to the first match |
//!
//! times the threads of the caller's process (one, as a rule, and with `own_only`).
//!
//! A wait that finds [`Found::Nothing`] sleeps. It can't miss its wake-up if it registers with its process's
//! waiters before it lets go of the table's lock (4.33): whatever becomes reportable later, becomes so
//! under this lock, and wakes ([`Sink::wake_waiters`](crate::Sink::wake_waiters)) the waiters of the process
//! that is its parent then.

use crate::{
    arena::{PidId, ProcId, ThreadId},
    events,
    kernel::Kernel,
    node::{ADOPTED, CLASSES, CLONED, Children, OWN, PidLink, ProcLink, ThreadLink},
    table::Table,
};

/// Which children a wait is for (rules 4.2-4.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitFor {
    /// The children.
    pub who: Who,
    /// WEXITED
    pub exited: bool,
    /// WSTOPPED, WUNTRACED
    pub stopped: bool,
    /// WCONTINUED
    pub continued: bool,
    /// None, __WCLONE or __WALL.
    pub class: Class,
    /// Not of Linux: only those that the caller's process made, or only those that it adopted.
    pub origin: Origin,
    /// __WNOTHREAD: only the calling thread's own.
    pub own_only: bool,
}

/// The children that a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Any child.
    Any,
    /// This process (P_PID, P_PIDFD). A stale id is nobody's child.
    Process(ProcId),
    /// The members of this group. A stale id has none.
    Pgrp(PidId),
}

/// Children by exit signal (rule 4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// SIGCHLD only.
    Normal,
    /// __WCLONE: all others.
    Clone,
    /// __WALL: both.
    All,
}

/// Children by how they came to their parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Either way.
    Any,
    /// Made by it.
    Own,
    /// Adopted by it (cases b and c of rule 2.1; a sibling thread's children stay what they were).
    Adopted,
}

/// What a wait found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No such child: ECHILD.
    NoChild,
    /// There is such a child, but none has anything to report: block, or return 0.
    Nothing,
    /// To be reaped with [`Table::reap`] (unless WNOWAIT).
    Zombie(ProcId),
    /// Group-stopped by this signal; [`Table::take_report`] consumes it (unless WNOWAIT).
    Stopped(ProcId, u8),
    /// Continued; [`Table::take_report`] consumes it (unless WNOWAIT).
    Continued(ProcId),
}

impl WaitFor {
    /// What waitpid(-1, .., 0) waits for.
    pub const ANY_EXIT: Self = WaitFor {
        who: Who::Any,
        exited: true,
        stopped: false,
        continued: false,
        class: Class::Normal,
        origin: Origin::Any,
        own_only: false,
    };

    /// The classes of children that it is for: the lowest event bit of each.
    fn classes(&self) -> u16 {
        const fn one(class: usize) -> u16 {
            events::bits(1, class)
        }
        const { assert!(CLASSES == 3) };
        let by_signal = match self.class {
            Class::Normal => one(OWN) | one(ADOPTED),
            Class::Clone => one(CLONED),
            Class::All => one(OWN) | one(CLONED) | one(ADOPTED),
        };
        let by_origin = match self.origin {
            Origin::Any => one(OWN) | one(CLONED) | one(ADOPTED),
            Origin::Own => one(OWN) | one(CLONED),
            Origin::Adopted => one(ADOPTED),
        };
        by_signal & by_origin
    }

    fn wants_class(&self, class: usize) -> bool {
        self.classes() & events::bits(1, class) != 0
    }

    /// The event bits that end the wait.
    fn mask(&self) -> u16 {
        let reports = self.exited as u16 * events::ZOMBIE
            + self.stopped as u16 * events::STOPPED
            + self.continued as u16 * events::CONTINUED;
        // Reports of one class fit between those of two others: no carry.
        reports * self.classes()
    }
}

impl<K: Kernel> Table<K> {
    /// Looks for a child to report, in Linux's order (4.8-4.15): the calling thread's children in list order,
    /// then those of the following sibling threads, cyclically. Changes nothing. A stale caller has no
    /// children.
    pub fn find_child(&self, caller: ThreadId, what: &WaitFor) -> Found {
        let Some(caller) = self.threads.resolve(caller) else {
            return Found::NoChild;
        };
        let found = match what.who {
            Who::Any => self.find_any(caller, what),
            Who::Process(child) => self.find_process(caller, child, what),
            Who::Pgrp(pgrp) => self.find_in_pgrp(caller, pgrp, what),
        };
        match found {
            Ok(child) => self.found(child),
            Err(true) => Found::Nothing,
            Err(false) => Found::NoChild,
        }
    }

    /// Consumes the stop or continue report of a child. (A zombie's is consumed by [`reap`](Self::reap).)
    pub fn take_report(&mut self, child: ProcId) {
        if let Some(child) = self.processes.resolve(child)
            && !self.processes[child].is_zombie()
        {
            self.set_event(child, 0);
        }
    }

    fn found(&self, child: ProcLink) -> Found {
        let id = self.processes.id(child);
        let node = &self.processes[child];
        match events::report(node.event.own) {
            events::STOPPED => Found::Stopped(id, node.stop_signal),
            events::CONTINUED => Found::Continued(id),
            _ => Found::Zombie(id),
        }
    }

    /// The reportable child, or whether there is a matching one at all.
    fn find_any(&self, caller: ThreadLink, what: &WaitFor) -> Result<ProcLink, bool> {
        let mask = what.mask();
        let mut exists = false;
        let mut thread = caller;
        loop {
            let children = &self.threads[thread].children;
            // The oldest child, which is often the one, needs no search.
            let oldest = children.first;
            if oldest.is_some() && self.processes[oldest].event.own & mask != 0 {
                return Ok(oldest);
            }
            if let Some(child) = events::first(&self.processes, children.events, mask) {
                return Ok(child);
            }
            exists |= children.any_for(what);
            thread = self.next_waiting(caller, thread, what).ok_or(exists)?;
        }
    }

    fn find_process(&self, caller: ThreadLink, child: ProcId, what: &WaitFor) -> Result<ProcLink, bool> {
        let child = self.processes.resolve(child).ok_or(false)?;
        if !self.is_candidate(caller, child, what) {
            return Err(false);
        }
        if self.processes[child].event.own & what.mask() != 0 { Ok(child) } else { Err(true) }
    }

    fn find_in_pgrp(&self, caller: ThreadLink, pgrp: PidId, what: &WaitFor) -> Result<ProcLink, bool> {
        let pgrp = self.pids.resolve(pgrp).ok_or(false)?;
        let mut thread = Some(caller);
        while let Some(at) = thread {
            if let Some(child) = self.first_in_pgrp(at, pgrp, what.mask()) {
                return Ok(child);
            }
            thread = self.next_waiting(caller, at, what);
        }
        let first = self.pids[pgrp].first_member;
        Err(self.members_from(first).any(|member| self.is_candidate(caller, member, what)))
    }

    /// The first reportable child of a thread in a group. Walks the reportable children in order until one is
    /// a member, and the members (in no useful order) to their end, in step: the cost is that of the shorter
    /// walk.
    fn first_in_pgrp(&self, thread: ThreadLink, pgrp: PidLink, mask: u16) -> Option<ProcLink> {
        let mut reportable = events::first(&self.processes, self.threads[thread].children.events, mask);
        let mut members = self.members_from(self.pids[pgrp].first_member);
        let mut best: Option<ProcLink> = None;
        loop {
            let child = reportable?;
            if self.processes[child].pgrp == pgrp {
                return Some(child);
            }
            reportable = events::next(&self.processes, child, mask);
            let Some(member) = members.next() else {
                return best;
            };
            let node = &self.processes[member];
            let older = best.is_none_or(|best| node.seq < self.processes[best].seq);
            if node.parent == thread && node.event.own & mask != 0 && older {
                best = Some(member);
            }
        }
    }

    /// A child of the caller that counts for this wait, whether it has something to report or not.
    fn is_candidate(&self, caller: ThreadLink, child: ProcLink, what: &WaitFor) -> bool {
        let node = &self.processes[child];
        let Some(parent) = node.parent.some() else {
            return false;
        };
        let own = parent == caller;
        let ours = own || (!what.own_only && self.threads[parent].process == self.threads[caller].process);
        ours && what.wants_class(node.flags.class()) && (what.exited || !node.is_zombie())
    }

    /// The thread whose children are looked at after those of `thread`: the one behind it, cyclically, until
    /// the caller's turn comes again.
    fn next_waiting(&self, caller: ThreadLink, thread: ThreadLink, what: &WaitFor) -> Option<ThreadLink> {
        if what.own_only {
            return None;
        }
        let node = &self.threads[thread];
        let next = node.group.next.some().unwrap_or_else(|| self.processes[node.process].first_thread);
        (next != caller).then_some(next)
    }
}

impl Children {
    /// There is a child that counts for this wait. A zombie is nothing to one that is not for zombies (4.14).
    fn any_for(&self, what: &WaitFor) -> bool {
        (0..CLASSES).any(|class| {
            let hidden = if what.exited { 0 } else { self.zombies[class] };
            what.wants_class(class) && self.count[class] > hidden
        })
    }
}
