//! What happens when a process dies.
//!
//! 1. **A thread begins to exit** ([`Table::mark_exiting`]): from here on it adopts nobody (rule 2.2), while
//!    the kernel releases its memory, files and so on, which takes a while and no table lock (rule 3.9).
//! 2. **It is gone** ([`Table::exit`]). Everything below is one atomic step (rules 0.5, 2.17):
//!    1. Its children get a new parent, each in turn, in list order (`reparent`): a live sibling thread, else
//!       the nearest live subreaper, else the namespace's init. Children that have died already are announced
//!       to the adopter *before* the dying process is announced to its own parent (rule 2.12).
//!    2. Is it not the last thread, that is all. A thread other than the leader vanishes without a word
//!       (3.7); a leader stays as a dead thread, since its pid is the process's (3.6).
//!    3. With the last thread the process dies. If it was the only link that kept its process group from
//!       being orphaned, and a member is stopped, the group gets SIGHUP and SIGCONT (2.21).
//!    4. The process becomes a zombie: the payload goes back to the caller, the record stays.
//!    5. Its parent is signalled and woken (section 5), and if it ignores its children, the zombie is
//!       released at once (4.23), as is one that was made to be (CLONE_AUTOREAP), without a signal; else it stands in the parent's event tree until it is reaped
//!       ([`Table::reap`]).
//!
//! Nothing here allocates. What is to be freed goes to the caller or its sink.

use crate::{
    arena::{Link, ProcId, ThreadId, marker},
    events,
    kernel::{Body, Child, ChildChange, ChildPolicy, Effect, Kernel, Parent, ProcessPayload, Reaped, Sink},
    node::{Neighbours, ProcFlags, ProcLink, SIGCHLD, ThreadLink, ThreadState},
    table::Table,
};

/// What [`Table::exit`] did.
pub struct Exited<K: Kernel> {
    /// The payload of the thread, to be dropped outside the lock.
    pub thread: K::Thread,
    /// How its process fares.
    pub fate: Fate<K>,
}

/// What an exit made of the process.
pub enum Fate<K: Kernel> {
    /// Other threads go on.
    Lives,
    /// It is a zombie. Here is its payload, to be dropped outside the lock.
    Zombie(K::Process),
    /// Its parent ignores it: it has left the table.
    Autoreaped(K::Process, Reaped<K>),
}

impl<K: Kernel> Table<K> {
    /// The thread begins to exit: it adopts nobody any more (rule 2.2). Returns how many threads of its
    /// process have not begun (0: the caller is the last to begin). `None`: stale id.
    pub fn mark_exiting(&mut self, thread: ThreadId) -> Option<u32> {
        let thread = self.threads.resolve(thread)?;
        self.begin_exit(thread);
        Some(self.processes[self.threads[thread].process].live)
    }

    fn begin_exit(&mut self, thread: ThreadLink) {
        let node = &mut self.threads[thread];
        if node.state == ThreadState::Live {
            node.state = ThreadState::Exiting;
            let process = node.process;
            let node = &mut self.processes[process];
            node.live -= 1;
            // A process that has begun to die is neither stopped nor continued (3.19).
            if node.live == 0 && (node.event.own != 0 || node.flags.has(ProcFlags::STOPPED)) {
                self.apply(process, Effect::Killed);
            }
        }
    }

    /// The thread is gone: steps 2.1 to 2.5 of the story above. `record` is asked for what will be left of
    /// the process, if this was its last thread.
    ///
    /// `None`, and nothing changed: the id is stale, or this is the last thread of the global init, which
    /// must not exit (2.19).
    pub fn exit(
        &mut self,
        thread: ThreadId,
        record: impl FnOnce(&K::Process) -> K::Record,
        sink: &mut impl Sink<K>,
    ) -> Option<Exited<K>> {
        let thread = self.live_thread(thread).ok()?;
        let process = self.threads[thread].process;
        let last = self.is_last(thread, process);
        if last && self.processes[process].parent.is_none() {
            return None;
        }
        // Taken first, because a thread that has not exited always has one.
        let payload = self.threads[thread].payload.take()?;
        self.begin_exit(thread);
        self.reparent_children(thread, sink);
        let fate = if last {
            self.die(process, thread, record, sink)?
        } else {
            self.leave(process, thread, sink);
            Fate::Lives
        };
        Some(Exited { thread: payload, fate })
    }

    /// No other thread is left but perhaps a dead leader.
    fn is_last(&self, thread: ThreadLink, process: ProcLink) -> bool {
        let node = &self.processes[process];
        match node.threads {
            1 => true,
            2 => node.first_thread != thread && self.threads[node.first_thread].state == ThreadState::Dead,
            _ => false,
        }
    }

    /// One thread of several is gone.
    fn leave(&mut self, process: ProcLink, thread: ThreadLink, sink: &mut impl Sink<K>) {
        if self.processes[process].first_thread == thread {
            self.threads[thread].state = ThreadState::Dead;
            return;
        }
        let group = &self.threads[thread].group;
        let (prev, next) = (group.prev, group.next);
        self.threads[prev].group.next = next;
        match next.some() {
            None => self.processes[process].last_thread = prev,
            Some(next) => self.threads[next].group.prev = prev,
        }
        self.processes[process].threads -= 1;
        let pid = self.threads.remove(thread).pid;
        self.pids[pid].thread = Link::NONE;
        self.release_pid(pid, sink);
    }

    /// The last thread is gone, and with it the process. `None` can't be: its body is live.
    fn die(
        &mut self,
        process: ProcLink,
        thread: ThreadLink,
        record: impl FnOnce(&K::Process) -> K::Record,
        sink: &mut impl Sink<K>,
    ) -> Option<Fate<K>> {
        if self.is_init(process) {
            let ns = self.processes[process].ns;
            self.namespaces[ns].dead = true;
        }
        self.hang_up_jobs_at_exit(process, sink);
        if self.processes[process].first_thread != thread {
            self.leave(process, thread, sink);
        }
        let payload = self.become_zombie(process, record)?;
        let unwanted = if payload.is_autoreaped() {
            self.tell_parent(process, 0, ChildChange::Exited, sink);
            true
        } else {
            self.announce_death(process, sink)
        };
        if unwanted {
            Some(Fate::Autoreaped(payload, self.release(process, sink)?))
        } else {
            self.set_event(process, events::ZOMBIE);
            Some(Fate::Zombie(payload))
        }
    }

    /// Drops all but the record and the pid. The event tree learns of the zombie once it is known that it
    /// stays.
    fn become_zombie(
        &mut self,
        process: ProcLink,
        record: impl FnOnce(&K::Process) -> K::Record,
    ) -> Option<K::Process> {
        self.set_event(process, 0);
        self.unset_stopped(process);
        let node = &mut self.processes[process];
        let record = record(node.payload()?);
        let leader = core::mem::replace(&mut node.first_thread, Link::NONE);
        node.last_thread = Link::NONE;
        node.threads = 0;
        let (pid, parent, class) = (node.pid, node.parent, node.flags.class());
        let body = core::mem::replace(&mut node.body, Body::Zombie(record));
        self.threads.remove(leader);
        self.pids[pid].thread = Link::NONE;
        self.threads[parent].children.zombies[class] += 1;
        match body {
            Body::Live(payload) => Some(payload),
            Body::Zombie(_) => None,
        }
    }

    /// Signals and wakes the parent of a zombie. Returns whether it is to be released at once.
    ///
    /// The signal is the exit signal, but SIGCHLD if the parent did an exec since the child was made (5.8):
    /// the parent's new program may not expect the other one. Only SIGCHLD can be ignored (4.25); SIG_IGN
    /// also drops the signal, SA_NOCLDWAIT does not (5.7). Waiters are woken in any case (5.12): one that
    /// waits for the last child is to fail. An adopted child goes the same way if its adopter asked for that
    /// ([`Table::set_autoreap`]).
    pub(crate) fn announce_death(&mut self, zombie: ProcLink, sink: &mut impl Sink<K>) -> bool {
        let node = &self.processes[zombie];
        let parent = self.threads[node.parent].process;
        let parent = &self.processes[parent];
        let mut policy = parent.payload().map_or(ChildPolicy::Ignore, |payload| payload.child_policy());
        if node.flags.has(ProcFlags::ADOPTED) && parent.flags.has(ProcFlags::AUTOREAP) {
            policy = parent.flags.policy_for_adopted(policy);
        }
        let signal = if node.parent_exec_id != parent.self_exec_id { SIGCHLD } else { node.exit_signal };
        let ignorable = signal == SIGCHLD;
        let signal = if ignorable && policy == ChildPolicy::Ignore { 0 } else { signal };
        self.tell_parent(zombie, signal, ChildChange::Exited, sink);
        ignorable && policy != ChildPolicy::Wait
    }

    /// Signals (unless 0 or no signal number, rule 5.9) and wakes the parent.
    pub(crate) fn tell_parent(
        &mut self,
        child: ProcLink,
        signal: u8,
        change: ChildChange,
        sink: &mut impl Sink<K>,
    ) {
        let node = &self.processes[child];
        let Some(thread) = node.parent.some() else {
            return;
        };
        let process = self.threads[thread].process;
        let parent_node = &self.processes[process];
        let Some(payload) = parent_node.payload() else {
            return;
        };
        let parent = Parent {
            process: payload,
            thread: self.threads[thread].payload.as_ref(),
            id: self.processes.id(process),
        };
        let wanted = matches!(signal, 1..=64) && sink.wants_child_signal(&parent, signal);
        let child = Child {
            id: self.processes.id(child),
            pid: if wanted { self.number_in(node.pid, parent_node.ns) } else { 0 },
            pgrp: self.pids.id(node.pgrp),
            change,
            body: match &node.body {
                Body::Live(payload) => Body::Live(payload),
                Body::Zombie(record) => Body::Zombie(record),
            },
        };
        let effect = if wanted { sink.child_signal(&parent, signal, &child) } else { Effect::None };
        sink.wake_waiters(&parent, &child);
        self.apply(process, effect);
    }

    // ---- reaping -------------------------------------------------------------------------------

    /// Takes a zombie out of the table. `None`: stale, or not a zombie: another thread was quicker (4.28).
    pub fn reap(&mut self, zombie: ProcId, sink: &mut impl Sink<K>) -> Option<Reaped<K>> {
        let zombie = self.processes.resolve(zombie)?;
        if self.processes[zombie].is_zombie() { self.release(zombie, sink) } else { None }
    }

    /// Unlinks a zombie from everything, and frees the numbers that nobody else uses. `None` can't be: it is
    /// a zombie.
    pub(crate) fn release(&mut self, zombie: ProcLink, sink: &mut impl Sink<K>) -> Option<Reaped<K>> {
        self.set_event(zombie, 0);
        let id = self.processes.id(zombie);
        let node = self.processes.remove(zombie);
        self.unlink_child(node.parent, node.siblings, node.flags.class());
        self.unlink_from_all(node.all);
        self.unlink_member(node.pgrp, node.pgrp_members);
        let group = &self.pids[node.pgrp];
        let (session, group_left) = (group.session, group.first_member.is_none());
        let members = &mut self.pids[session].session_members;
        *members -= 1;
        let session_left = *members == 0;
        if self.namespaces[node.ns].init == zombie {
            self.namespaces[node.ns].init = Link::NONE;
        }
        let own = &mut self.pids[node.pid];
        own.process = Link::NONE;
        let mut pid = own.numbers.innermost();
        if let Some(parent) = node.parent.some() {
            let ns = self.processes[self.threads[parent].process].ns;
            if ns != node.ns {
                pid = self.number_in(node.pid, ns);
            }
        }
        self.release_pid(node.pid, sink);
        if group_left && node.pgrp != node.pid {
            self.release_pid(node.pgrp, sink);
        }
        if session_left && session != node.pid && session != node.pgrp {
            self.release_pid(session, sink);
        }
        match node.body {
            Body::Zombie(record) => Some(Reaped { id, record, pid }),
            Body::Live(_) => None,
        }
    }

    fn unlink_child(&mut self, parent: ThreadLink, siblings: Neighbours<marker::Process>, class: usize) {
        let Some(parent) = parent.some() else { return };
        self.unlink_sibling(parent, siblings);
        let children = &mut self.threads[parent].children;
        children.count[class] -= 1;
        children.zombies[class] -= 1;
    }

    /// Takes a child out of its parent's list.
    #[inline]
    pub(crate) fn unlink_sibling(&mut self, parent: ThreadLink, siblings: Neighbours<marker::Process>) {
        let Neighbours { prev, next } = siblings;
        if prev.is_some() {
            self.processes[prev].siblings.next = next;
        }
        if next.is_some() {
            self.processes[next].siblings.prev = prev;
        }
        let children = &mut self.threads[parent].children;
        if prev.is_none() {
            children.first = next;
        }
        if next.is_none() {
            children.last = prev;
        }
    }

    fn unlink_from_all(&mut self, all: Neighbours<marker::Process>) {
        match all.prev.some() {
            None => self.first_process = all.next,
            Some(prev) => self.processes[prev].all.next = all.next,
        }
        match all.next.some() {
            None => self.last_process = all.prev,
            Some(next) => self.processes[next].all.prev = all.prev,
        }
    }

    /// What this child has to report to its parent from now on.
    pub(crate) fn set_event(&mut self, child: ProcLink, report: u16) {
        let node = &self.processes[child];
        let own = events::bits(report, node.flags.class());
        if own == node.event.own {
            return;
        }
        if let Some(parent) = node.parent.some() {
            let root = &mut self.threads[parent].children.events;
            events::set(&mut self.processes, root, child, own);
        }
    }
}
