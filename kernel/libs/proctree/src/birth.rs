//! Birth: the first process, fork, new threads; and exec, which makes a thread the leader.

use crate::{
    arena::{Link, PidId, ThreadId},
    events,
    kernel::{Body, Error, Ids, Kernel, ProcessPayload, Sink},
    node::{
        Children, EventNode, Neighbours, NsLink, PidLink, ProcFlags, ProcLink, Process, SIGCHLD, Thread,
        ThreadLink, ThreadState, is_clone,
    },
    table::{Refused, Table},
};

/// A process to be linked by [`Table::fork`].
pub struct NewProcess<K: Kernel> {
    /// From [`Table::alloc_pid`]: used up on success, still the caller's (to use again, or to cancel) on
    /// failure.
    pub pid: PidId,
    /// The payload.
    pub process: K::Process,
    /// The payload of its only thread.
    pub thread: K::Thread,
    /// The signal for the parent, 0 for none. With `sibling` that of the caller's process is used instead
    /// (rule 6.4).
    pub exit_signal: u8,
    /// CLONE_PARENT: the caller's parent becomes the child's parent.
    pub sibling: bool,
}

/// What a child takes over from the process that made it.
struct Inheritance {
    parent: ThreadLink,
    pgrp: PidLink,
    exit_signal: u8,
    self_exec_id: u32,
    parent_exec_id: u32,
}

impl<K: Kernel> Table<K> {
    /// The first process of all: its parent is nobody, its group and session are 0, as in Linux.
    /// EEXIST: there is one. ESRCH: stale pid. ENOMEM: no slot.
    pub fn add_init(&mut self, new: NewProcess<K>) -> Result<Ids, Refused<NewProcess<K>>> {
        if self.first_process.is_some() {
            return Err(Refused { error: Error::Exist, given: new });
        }
        let inheritance = Inheritance {
            parent: Link::NONE,
            pgrp: self.pid_zero,
            exit_signal: new.exit_signal,
            self_exec_id: 0,
            parent_exec_id: 0,
        };
        match self.check_new(new.pid) {
            Ok((pid, ns)) => Ok(self.link(new, pid, ns, inheritance)),
            Err(error) => Err(Refused { error, given: new }),
        }
    }

    /// Links a child of `caller`, or with `sibling` of the caller's parent (rule 6.1, last step). The child
    /// is in the caller's group and session; it gets `has_child_subreaper` (rule 1.13) and its ppid. The
    /// first process of a namespace becomes its init.
    ///
    /// ENOMEM: the namespace's init is dead or dying (6.14), or no slot. EINVAL: `sibling` of an init (6.2).
    /// ESRCH: stale ids.
    pub fn fork(&mut self, caller: ThreadId, new: NewProcess<K>) -> Result<Ids, Refused<NewProcess<K>>> {
        match self.check_fork(caller, &new) {
            Ok((pid, ns, inheritance)) => Ok(self.link(new, pid, ns, inheritance)),
            Err(error) => Err(Refused { error, given: new }),
        }
    }

    fn check_fork(
        &self,
        caller: ThreadId,
        new: &NewProcess<K>,
    ) -> Result<(PidLink, NsLink, Inheritance), Error> {
        let thread = self.live_thread(caller)?;
        let process = &self.processes[self.threads[thread].process];
        let mut inheritance = Inheritance {
            parent: thread,
            pgrp: process.pgrp,
            exit_signal: new.exit_signal,
            self_exec_id: process.self_exec_id,
            parent_exec_id: process.self_exec_id,
        };
        if new.sibling {
            if self.is_init(self.threads[thread].process) || process.parent.is_none() {
                return Err(Error::Inval);
            }
            inheritance.parent = process.parent;
            inheritance.exit_signal = process.exit_signal;
            inheritance.parent_exec_id = process.parent_exec_id;
        }
        let (pid, ns) = self.check_new(new.pid)?;
        let node = &self.namespaces[ns];
        // A namespace without init takes number 1 first.
        if node.dead || (node.init.is_none() && self.pids[pid].numbers.innermost() != 1) {
            return Err(Error::NoMem);
        }
        Ok((pid, ns, inheritance))
    }

    /// The pid is there to be used, and there is a slot for what will use it.
    fn check_new(&self, pid: PidId) -> Result<(PidLink, NsLink), Error> {
        let pid = self.pids.resolve(pid).ok_or(Error::Srch)?;
        if !self.pids[pid].reserved {
            return Err(Error::Srch);
        }
        if self.processes.free() == 0 || self.threads.free() == 0 {
            return Err(Error::NoMem);
        }
        Ok((pid, self.pids[pid].ns))
    }

    pub(crate) fn live_thread(&self, thread: ThreadId) -> Result<ThreadLink, Error> {
        let thread = self.threads.resolve(thread).ok_or(Error::Srch)?;
        if self.threads[thread].state == ThreadState::Dead { Err(Error::Srch) } else { Ok(thread) }
    }

    /// Takes the slots, which [`check_new`](Self::check_new) has found, and links the new process.
    fn link(&mut self, new: NewProcess<K>, pid: PidLink, ns: NsLink, from: Inheritance) -> Ids {
        let node = Process::new(new.process, &from, pid, ns, self.namespaces[ns].level);
        let child = self.processes.insert(node);
        let leader = self.threads.insert(Thread::new(new.thread, child, pid));
        let process = &mut self.processes[child];
        (process.first_thread, process.last_thread) = (leader, leader);
        let pid_node = &mut self.pids[pid];
        (pid_node.reserved, pid_node.thread, pid_node.process) = (false, leader, child);
        if self.namespaces[ns].init.is_none() {
            self.namespaces[ns].init = child;
        }
        self.append_to_all(child);
        self.join_pgrp(child, from.pgrp);
        let session = self.pids[from.pgrp].session;
        self.pids[session].session_members += 1;
        if from.parent.is_some() {
            self.link_parent(child, from.parent);
            self.note_namespaces(child);
        }
        self.ids(leader)
    }

    /// Appends a new child to its parent's list, and tells its payload.
    fn link_parent(&mut self, child: ProcLink, parent: ThreadLink) {
        let seq = self.next_seq;
        self.next_seq += 1;
        let owner = &mut self.threads[parent];
        let children = &mut owner.children;
        let last = children.last;
        children.last = child;
        if last.is_none() {
            children.first = child;
            self.processes[owner.process].flags.set(ProcFlags::PARENT);
        }
        let node = &mut self.processes[child];
        children.count[node.flags.class()] += 1;
        node.seq = seq;
        node.siblings.prev = last;
        let (pid, ns) = (node.pid, node.ns);
        if last.is_some() {
            self.processes[last].siblings.next = child;
        }
        debug_assert!(self.pids[pid].ns == ns);
        let parent = self.threads[parent].process;
        let ppid = self.number_in(self.processes[parent].pid, ns);
        if let (Some(child), Some(parent)) =
            (self.processes[child].payload(), self.processes[parent].payload())
        {
            child.set_ppid(ppid);
            if parent.has_child_subreaper() || parent.is_child_subreaper() {
                child.set_has_child_subreaper();
            }
        }
    }

    fn append_to_all(&mut self, process: ProcLink) {
        let last = self.last_process;
        self.last_process = process;
        self.processes[process].all.prev = last;
        match last.some() {
            None => self.first_process = process,
            Some(last) => self.processes[last].all.next = process,
        }
    }

    /// Links another thread of the caller's process, behind all others. ESRCH: stale ids. ENOMEM: no slot.
    /// EINVAL: the pid is of another namespace than the process (rule 9.4).
    pub fn clone_thread(
        &mut self,
        caller: ThreadId,
        pid: PidId,
        thread: K::Thread,
    ) -> Result<Ids, Refused<K::Thread>> {
        let checked = self.live_thread(caller).and_then(|caller| {
            let (pid, ns) = self.check_new(pid)?;
            let process = self.threads[caller].process;
            if self.processes[process].ns == ns { Ok((process, pid)) } else { Err(Error::Inval) }
        });
        let (process, pid) = match checked {
            Ok(checked) => checked,
            Err(error) => {
                return Err(Refused { error, given: thread });
            }
        };
        let new = self.threads.insert(Thread::new(thread, process, pid));
        let last = self.processes[process].last_thread;
        self.threads[last].group.next = new;
        self.threads[new].group.prev = last;
        let node = &mut self.processes[process];
        node.last_thread = new;
        node.threads += 1;
        node.live += 1;
        let pid = &mut self.pids[pid];
        (pid.reserved, pid.thread) = (false, new);
        Ok(self.ids(new))
    }

    /// The point of no return of an execve by `thread`, when all other threads have exited. A dead leader may
    /// remain: `thread` takes over its pid, and its own becomes free (rule 10.12). The exit signal becomes
    /// SIGCHLD, the exec id moves on (5.8), and the parent may not `setpgid` it any more (8.3).
    ///
    /// EAGAIN: other threads are left. ESRCH: stale id.
    pub fn exec(&mut self, thread: ThreadId, sink: &mut impl Sink<K>) -> Result<(), Error> {
        let thread = self.live_thread(thread)?;
        let process = self.threads[thread].process;
        let leader = self.processes[process].first_thread;
        if leader != thread {
            if self.processes[process].threads != 2 || self.threads[leader].state != ThreadState::Dead {
                return Err(Error::Again);
            }
            self.take_over(process, leader, thread, sink);
        } else if self.processes[process].threads != 1 {
            return Err(Error::Again);
        }
        self.set_exit_signal(process, SIGCHLD);
        let node = &mut self.processes[process];
        node.self_exec_id = node.self_exec_id.wrapping_add(1);
        node.flags.set(ProcFlags::EXECED);
        Ok(())
    }

    /// `thread`, the only live one, becomes the leader in place of the dead one.
    fn take_over(
        &mut self,
        process: ProcLink,
        leader: ThreadLink,
        thread: ThreadLink,
        sink: &mut impl Sink<K>,
    ) {
        self.threads.remove(leader);
        self.threads[thread].group = Neighbours::NONE;
        let node = &mut self.processes[process];
        (node.first_thread, node.last_thread, node.threads) = (thread, thread, 1);
        let (old, new) = (self.threads[thread].pid, node.pid);
        self.threads[thread].pid = new;
        self.pids[new].thread = thread;
        self.pids[old].thread = Link::NONE;
        self.release_pid(old, sink);
    }

    /// Notes whether parent and child are in the same namespace.
    pub(crate) fn note_namespaces(&mut self, child: ProcLink) {
        let node = &self.processes[child];
        let foreign =
            node.parent.is_some() && node.ns != self.processes[self.threads[node.parent].process].ns;
        self.processes[child].flags.set_to(ProcFlags::FOREIGN, foreign);
    }

    /// Changes the exit signal, and with it the class, in the parent's books.
    pub(crate) fn set_exit_signal(&mut self, process: ProcLink, signal: u8) {
        let node = &mut self.processes[process];
        if node.exit_signal == signal {
            return;
        }
        let old = node.flags.class();
        node.exit_signal = signal;
        node.flags.set_to(ProcFlags::CLONE, is_clone(signal));
        let new = node.flags.class();
        let Some(parent) = node.parent.some() else {
            return;
        };
        if old == new {
            return;
        }
        let (zombie, own) = (node.is_zombie() as u32, events::bits(events::report(node.event.own), new));
        let children = &mut self.threads[parent].children;
        children.count[old] -= 1;
        children.count[new] += 1;
        children.zombies[old] -= zombie;
        children.zombies[new] += zombie;
        events::set(&mut self.processes, &mut children.events, process, own);
    }
}

impl<K: Kernel> Process<K> {
    fn new(payload: K::Process, from: &Inheritance, pid: PidLink, ns: NsLink, level: u8) -> Self {
        let mut flags = ProcFlags::EMPTY;
        flags.set_to(ProcFlags::CLONE, is_clone(from.exit_signal));
        Process {
            body: Body::Live(payload),
            parent: from.parent,
            siblings: Neighbours::NONE,
            seq: 0,
            event: EventNode::NONE,
            pid,
            pgrp: from.pgrp,
            pgrp_members: Neighbours::NONE,
            ns,
            first_thread: Link::NONE,
            last_thread: Link::NONE,
            threads: 1,
            live: 1,
            all: Neighbours::NONE,
            self_exec_id: from.self_exec_id,
            parent_exec_id: from.parent_exec_id,
            level,
            exit_signal: from.exit_signal,
            stop_signal: 0,
            flags,
        }
    }
}

impl<K: Kernel> Thread<K> {
    fn new(payload: K::Thread, process: ProcLink, pid: PidLink) -> Self {
        Thread {
            payload: Some(payload),
            process,
            pid,
            group: Neighbours::NONE,
            children: Children::NONE,
            pdeath: 0,
            state: ThreadState::Live,
        }
    }
}
