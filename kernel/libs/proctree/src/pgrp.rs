//! Process groups and sessions (rules 8.1-8.8), and what becomes of a group that is orphaned (2.20-2.26).
//!
//! A group is the list of members in the pid of its number, and its session is a link there; so joining and
//! leaving allocate nothing. A group without members does not exist.

use crate::{
    arena::{Link, PidId, ProcId, ThreadId, marker},
    kernel::{Error, Kernel, Sink},
    node::{Neighbours, PidLink, ProcFlags, ProcLink, SIGCONT, SIGHUP},
    table::Table,
};

/// The second argument of setpgid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewPgrp {
    /// 0, or the same number as the target's: the group of the target's own number.
    Own,
    /// Another number: the pid that it resolved to, if any.
    Other(Option<PidId>),
}

impl<K: Kernel> Table<K> {
    /// setpgid by `caller`. `target` is what its first argument resolved to, the caller's own pid for 0; a
    /// negative pgid (EINVAL) and a number that does not resolve (ESRCH) are the caller's to refuse.
    ///
    /// In this order: ESRCH: stale. EINVAL: a thread that is not a leader. For a child: EPERM: other session,
    /// EACCES: did an exec. Neither child nor self: ESRCH. EPERM: session leader; no such group in the
    /// session.
    pub fn setpgid(
        &mut self,
        caller: ThreadId,
        target: PidId,
        pgrp: NewPgrp,
        sink: &mut impl Sink<K>,
    ) -> Result<(), Error> {
        let caller = self.threads[self.live_thread(caller)?].process;
        let pid = self.pids.resolve(target).ok_or(Error::Srch)?;
        let process = match self.pids[pid].process.some() {
            Some(process) => process,
            None if self.pids[pid].thread.is_some() => return Err(Error::Inval),
            None => return Err(Error::Srch),
        };
        self.check_setpgid(caller, process)?;
        let new = match pgrp {
            NewPgrp::Own => pid,
            NewPgrp::Other(None) => return Err(Error::Perm),
            NewPgrp::Other(Some(id)) => self.pids.resolve(id).ok_or(Error::Perm)?,
        };
        let session = self.session_of(process);
        let exists = self.pids[new].first_member.is_some();
        if new != pid && !(exists && self.pids[new].session == session) {
            return Err(Error::Perm);
        }
        if new != self.processes[process].pgrp {
            let old = self.move_to_pgrp(process, new, session);
            self.release_pid(old, sink);
        }
        Ok(())
    }

    fn check_setpgid(&self, caller: ProcLink, process: ProcLink) -> Result<(), Error> {
        let node = &self.processes[process];
        let parent = node.parent.some().map(|parent| self.threads[parent].process);
        if parent == Some(caller) {
            if self.session_of(process) != self.session_of(caller) {
                return Err(Error::Perm);
            }
            if node.flags.has(ProcFlags::EXECED) {
                return Err(Error::Access);
            }
        } else if process != caller {
            return Err(Error::Srch);
        }
        if node.flags.has(ProcFlags::SESSION_LEADER) { Err(Error::Perm) } else { Ok(()) }
    }

    /// setsid: a new session, and in it a new group, of the caller's pid, which is returned (8.6). EPERM: a
    /// group of that number exists. The controlling terminal is the caller's business. ESRCH: stale.
    pub fn setsid(&mut self, caller: ThreadId, sink: &mut impl Sink<K>) -> Result<PidId, Error> {
        let process = self.threads[self.live_thread(caller)?].process;
        let node = &mut self.processes[process];
        let pid = node.pid;
        if node.flags.has(ProcFlags::SESSION_LEADER) || self.pids[pid].first_member.is_some() {
            return Err(Error::Perm);
        }
        node.flags.set(ProcFlags::SESSION_LEADER);
        let old_session = self.session_of(process);
        self.pids[old_session].session_members -= 1;
        self.pids[pid].session_members += 1;
        let old = self.move_to_pgrp(process, pid, pid);
        self.release_pid(old, sink);
        if old_session != old {
            self.release_pid(old_session, sink);
        }
        Ok(self.pids.id(pid))
    }

    /// Returns the old group: the caller looks whether its number is free.
    fn move_to_pgrp(&mut self, process: ProcLink, pgrp: PidLink, session: PidLink) -> PidLink {
        let old = self.leave_pgrp(process);
        self.pids[pgrp].session = session;
        self.join_pgrp(process, pgrp);
        old
    }

    /// Newest first, as in Linux.
    pub(crate) fn join_pgrp(&mut self, process: ProcLink, pgrp: PidLink) {
        let pid = &mut self.pids[pgrp];
        let first = core::mem::replace(&mut pid.first_member, process);
        let node = &mut self.processes[process];
        node.pgrp = pgrp;
        node.pgrp_members = Neighbours { prev: Link::NONE, next: first };
        pid.stopped += node.flags.has(ProcFlags::STOPPED) as u32;
        if first.is_some() {
            self.processes[first].pgrp_members.prev = process;
        }
    }

    /// Takes a process out of its group, which it returns: the caller looks whether its number is free.
    fn leave_pgrp(&mut self, process: ProcLink) -> PidLink {
        let node = &mut self.processes[process];
        let pgrp = node.pgrp;
        let stopped = node.flags.has(ProcFlags::STOPPED) as u32;
        let members = core::mem::replace(&mut node.pgrp_members, Neighbours::NONE);
        self.pids[pgrp].stopped -= stopped;
        self.unlink_member(pgrp, members);
        pgrp
    }

    pub(crate) fn unlink_member(&mut self, pgrp: PidLink, members: Neighbours<marker::Process>) {
        let Neighbours { prev, next } = members;
        match prev.some() {
            None => self.pids[pgrp].first_member = next,
            Some(prev) => self.processes[prev].pgrp_members.next = next,
        }
        if next.is_some() {
            self.processes[next].pgrp_members.prev = prev;
        }
    }

    // ---- questions -----------------------------------------------------------------------------

    /// The process group.
    pub fn pgrp(&self, process: ProcId) -> Option<PidId> {
        let process = self.processes.resolve(process)?;
        Some(self.pids.id(self.processes[process].pgrp))
    }

    /// The session.
    pub fn session(&self, process: ProcId) -> Option<PidId> {
        let process = self.processes.resolve(process)?;
        Some(self.pids.id(self.session_of(process)))
    }

    /// Called setsid.
    pub fn is_session_leader(&self, process: ProcId) -> bool {
        self.has_flag(process, ProcFlags::SESSION_LEADER)
    }

    /// The session of a process group; `None` if the group has no members.
    pub fn pgrp_session(&self, pgrp: PidId) -> Option<PidId> {
        let pgrp = self.pids.resolve(pgrp)?;
        self.pids[pgrp].first_member.some()?;
        Some(self.pids.id(self.pids[pgrp].session))
    }

    /// No member has a parent outside the group but inside the session (rule 2.20): stop signals of the
    /// terminal are not acted on (7.20).
    pub fn is_orphaned_pgrp(&self, pgrp: PidId) -> bool {
        self.pids.resolve(pgrp).is_none_or(|pgrp| self.is_orphaned(pgrp, Link::NONE))
    }

    pub(crate) fn session_of(&self, process: ProcLink) -> PidLink {
        self.pids[self.processes[process].pgrp].session
    }

    // ---- orphaned groups -----------------------------------------------------------------------

    /// A process dies that may have been the only link of its group to the rest of the session (2.21).
    pub(crate) fn hang_up_jobs_at_exit(&mut self, process: ProcLink, sink: &mut impl Sink<K>) {
        let node = &self.processes[process];
        if let Some(parent) = node.parent.some() {
            let parent = self.threads[parent].process;
            self.hang_up_jobs(node.pgrp, self.processes[parent].pgrp, process, sink);
        }
    }

    /// A link between `pgrp` and a parent in the group `outside` is cut: if it was one inside the session,
    /// `pgrp` has a stopped member and is orphaned now, all members get SIGHUP, then all get SIGCONT
    /// (2.21-2.24).
    pub(crate) fn hang_up_jobs(
        &mut self,
        pgrp: PidLink,
        outside: PidLink,
        ignored: ProcLink,
        sink: &mut impl Sink<K>,
    ) {
        let group = &self.pids[pgrp];
        if group.stopped == 0 || pgrp == outside || group.session != self.pids[outside].session {
            return;
        }
        if self.is_orphaned(pgrp, ignored) {
            self.signal_pgrp(pgrp, SIGHUP, sink);
            self.signal_pgrp(pgrp, SIGCONT, sink);
        }
    }

    /// Members that are dead, or children of the global init, do not count (2.20).
    fn is_orphaned(&self, pgrp: PidLink, ignored: ProcLink) -> bool {
        let session = self.pids[pgrp].session;
        let mut member = self.pids[pgrp].first_member;
        while member.is_some() {
            let node = &self.processes[member];
            if member != ignored && !node.is_zombie() && node.parent.is_some() {
                let parent = &self.processes[self.threads[node.parent].process];
                let by_global_init = parent.parent.is_none();
                if !by_global_init && parent.pgrp != pgrp && self.pids[parent.pgrp].session == session {
                    return false;
                }
            }
            member = node.pgrp_members.next;
        }
        true
    }

    fn signal_pgrp(&mut self, pgrp: PidLink, signal: u8, sink: &mut impl Sink<K>) {
        let mut member = self.pids[pgrp].first_member;
        while member.is_some() {
            let node = &self.processes[member];
            let next = node.pgrp_members.next;
            if let Some(payload) = node.payload() {
                let effect = sink.orphaned_pgrp(payload, signal);
                self.apply(member, effect);
            }
            member = next;
        }
    }
}
