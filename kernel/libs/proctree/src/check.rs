//! The invariants of the spec as code: a walk over everything, for tests and test builds.
//!
//! Of I1-I12 the table sees I1 (tree), I2 (each process is reaped once: a record has one owner, so by type),
//! I3 and I4 in part (event trees agree with the children's state), I5 (no live process below a dead
//! namespace init that was reaped), I6 (numbers and their users), I7 (`has_child_subreaper`), I11 in part (a
//! zombie has no stop or continue report). The others are about things the kernel keeps.

use crate::{
    arena::Link,
    events,
    kernel::{Body, Kernel, ProcessPayload},
    node::{
        ADOPTED, CLASSES, CLONED, NsLink, OWN, PidLink, ProcFlags, ProcLink, ThreadLink, ThreadState,
        is_clone,
    },
    table::Table,
};
use alloc::{format, string::String};

/// Fails with a text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

type Check = Result<(), String>;

impl<K: Kernel> Table<K> {
    /// Walks the whole table and says what is inconsistent. O(processes x depth).
    pub fn check_invariants(&self) -> Check {
        let mut linked = 0;
        let mut last = Link::NONE;
        for process in self.all_processes() {
            ensure!(self.processes[process].all.prev == last, "list of all processes, at {process:?}");
            last = process;
            linked += 1;
            self.check_process(process)?;
        }
        ensure!(last == self.last_process, "end of the list of all processes");
        ensure!(
            linked == self.processes.used(),
            "{linked} processes linked, {} in use",
            self.processes.used()
        );
        for thread in self.threads.links() {
            self.check_children(thread)?;
        }
        for pid in self.pids.links() {
            self.check_pid(pid)?;
        }
        self.namespaces.links().try_for_each(|ns| self.check_namespace(ns))
    }

    /// I1: the process has a parent that is present, and is in its child list.
    fn check_process(&self, process: ProcLink) -> Check {
        let node = &self.processes[process];
        if node.parent.is_none() {
            ensure!(process == self.first_process, "{process:?} has no parent");
        } else {
            let parent = &self.threads[node.parent];
            ensure!(parent.state != ThreadState::Dead, "the parent of {process:?} is dead");
            let found = self.siblings_from(parent.children.first).any(|child| child == process);
            ensure!(found, "{process:?} is not among its parent's children");
            self.check_depth(process)?;
        }
        ensure!(self.pids[node.pid].process == process, "pid of {process:?}");
        ensure!(self.pids[node.pid].ns == node.ns, "namespace of {process:?}");
        ensure!(self.namespaces[node.ns].level == node.level, "level of {process:?}");
        let class_fits = match node.flags.class() {
            OWN | ADOPTED => !is_clone(node.exit_signal),
            CLONED => is_clone(node.exit_signal),
            _ => false,
        };
        ensure!(class_fits, "class of {process:?}");
        let parent_ns = node.parent.some().map(|parent| self.processes[self.threads[parent].process].ns);
        let foreign = node.flags.has(ProcFlags::FOREIGN);
        ensure!(
            node.is_zombie() || foreign == parent_ns.is_some_and(|ns| ns != node.ns),
            "flags of {process:?}"
        );
        let member = self.members_from(self.pids[node.pgrp].first_member).any(|member| member == process);
        ensure!(member, "{process:?} is not a member of its group");
        self.check_event(process)?;
        self.check_threads(process)?;
        self.check_subreaper(process)
    }

    /// I1: it is a tree.
    fn check_depth(&self, process: ProcLink) -> Check {
        let mut above = process;
        for _ in 0..=self.processes.used() {
            match self.processes[above].parent.some() {
                None => return Ok(()),
                Some(thread) => above = self.threads[thread].process,
            }
        }
        Err(format!("{process:?} is its own ancestor"))
    }

    /// I3, I4, I11: what it has to report agrees with its state.
    fn check_event(&self, process: ProcLink) -> Check {
        let node = &self.processes[process];
        let report = events::report(node.event.own);
        let class_fits = events::bits(report, node.flags.class()) == node.event.own;
        ensure!(class_fits, "event bits {:#x} of {process:?} are of the other class", node.event.own);
        let stopped = node.flags.has(ProcFlags::STOPPED);
        match node.body {
            Body::Zombie(_) => {
                ensure!(report == events::ZOMBIE, "zombie {process:?} reports {report}");
                ensure!(!stopped, "zombie {process:?} is stopped");
                ensure!(node.first_thread.is_none() && node.threads == 0, "zombie {process:?} has threads");
            }
            Body::Live(_) => match report {
                0 => {}
                events::STOPPED => {
                    ensure!(stopped, "{process:?} reports a stop but is not stopped")
                }
                events::CONTINUED => {
                    ensure!(!stopped, "{process:?} reports a continue but is stopped")
                }
                _ => return Err(format!("live {process:?} reports {report}")),
            },
        }
        Ok(())
    }

    fn check_threads(&self, process: ProcLink) -> Check {
        let node = &self.processes[process];
        let (mut threads, mut live) = (0, 0);
        let mut last = Link::NONE;
        for thread in self.group_from(node.first_thread) {
            let member = &self.threads[thread];
            ensure!(member.process == process && member.group.prev == last, "threads of {process:?}");
            ensure!(self.pids[member.pid].thread == thread, "pid of {thread:?}");
            let leader = threads == 0;
            ensure!(leader == (member.pid == node.pid), "the leader of {process:?} is not its first thread");
            ensure!(leader || member.state != ThreadState::Dead, "{thread:?} is dead but not the leader");
            let gone = member.state == ThreadState::Dead;
            ensure!(gone == member.payload.is_none(), "payload of {thread:?}");
            ensure!(member.pdeath == 0 || node.flags.has(ProcFlags::PDEATH), "death signal of {thread:?}");
            threads += 1;
            live += (member.state == ThreadState::Live) as u32;
            last = thread;
        }
        ensure!(last == node.last_thread, "last thread of {process:?}");
        ensure!(threads == node.threads && live == node.live, "thread counts of {process:?}");
        let alone = threads == 1 && self.threads[node.first_thread].state == ThreadState::Dead;
        ensure!(!alone, "{process:?} has only a dead leader");
        ensure!(node.is_zombie() == (threads == 0), "{process:?} without threads is no zombie");
        Ok(())
    }

    /// I7: below a subreaper all are marked, up to the init of the namespace.
    fn check_subreaper(&self, process: ProcLink) -> Check {
        let node = &self.processes[process];
        let Some(payload) = node.payload() else {
            return Ok(());
        };
        if payload.has_child_subreaper() || self.is_init(process) {
            return Ok(());
        }
        let mut above = node.parent;
        while let Some(thread) = above.some() {
            let ancestor = self.threads[thread].process;
            let node_above = &self.processes[ancestor];
            // An init adopts with or without the mark, and takes orphans of processes put into its namespace
            // from outside, which have none (rules 1.15, 2.5).
            if node_above.level != node.level || self.is_init(ancestor) {
                break;
            }
            let subreaper = node_above.payload().is_some_and(|payload| payload.is_child_subreaper());
            ensure!(!subreaper, "{process:?} is not marked, below subreaper {ancestor:?}");
            above = node_above.parent;
        }
        Ok(())
    }

    /// I1: child lists and parents agree; counters and event tree agree with the list.
    fn check_children(&self, thread: ThreadLink) -> Check {
        let children = &self.threads[thread].children;
        let (mut count, mut zombies, mut reportable) = ([0; CLASSES], [0; CLASSES], 0);
        let mut last = Link::NONE;
        for child in self.siblings_from(children.first) {
            let node = &self.processes[child];
            ensure!(node.parent == thread, "{child:?} is in the list of {thread:?}, not its child");
            ensure!(node.siblings.prev == last, "child list of {thread:?} at {child:?}");
            ensure!(last.is_none() || self.processes[last].seq < node.seq, "order of children at {child:?}");
            ensure!(node.seq < self.next_seq, "{child:?} is younger than the table");
            let class = node.flags.class();
            count[class] += 1;
            zombies[class] += node.is_zombie() as u32;
            reportable += (node.event.own != 0) as usize;
            last = child;
        }
        let owner = self.threads[thread].process;
        let marked = last.is_none() || self.processes[owner].flags.has(ProcFlags::PARENT);
        ensure!(marked, "{owner:?} has children and no mark of it");
        ensure!(last == children.last, "last child of {thread:?}");
        ensure!(count == children.count && zombies == children.zombies, "child counts of {thread:?}");
        let found = self.check_event_tree(children.events, thread)?;
        ensure!(found == reportable, "{reportable} reportable children of {thread:?}, {found} in its tree");
        Ok(())
    }

    /// Walks the event tree in order; returns how many nodes it has.
    fn check_event_tree(&self, root: ProcLink, thread: ThreadLink) -> Result<usize, String> {
        ensure!(root.is_none() || self.processes[root].event.up.is_none(), "event root of {thread:?}");
        let (mut count, mut last) = (0, None);
        let mut next = events::first(&self.processes, root, u16::MAX);
        while let Some(child) = next {
            let node = &self.processes[child];
            let mut all = node.event.own;
            for below in [node.event.left, node.event.right] {
                if below.is_some() {
                    ensure!(self.processes[below].event.up == child, "event tree at {child:?}");
                    all |= self.processes[below].event.all;
                }
            }
            ensure!(all == node.event.all, "event summary of {child:?}");
            ensure!(node.parent == thread, "{child:?} is in the event tree of another");
            ensure!(last.is_none_or(|last| last < node.seq), "order of events at {child:?}");
            last = Some(node.seq);
            count += 1;
            next = events::next(&self.processes, child, u16::MAX);
        }
        Ok(count)
    }

    /// I6: a pid in the table is used, and its numbers are taken.
    fn check_pid(&self, pid: PidLink) -> Check {
        let node = &self.pids[pid];
        if pid != self.pid_zero {
            ensure!(!node.is_unused(), "{pid:?} has no user");
            let mut ns = node.ns;
            for level in (0..=node.numbers.level()).rev() {
                let nr = node.numbers.at(level).unwrap_or(0);
                ensure!(nr != 0 && self.namespaces[ns].numbers.is_used(nr), "number {nr} of {pid:?} is free");
                ns = self.namespaces[ns].parent;
            }
        }
        let mut stopped = 0;
        let mut last = Link::NONE;
        for member in self.members_from(node.first_member) {
            let process = &self.processes[member];
            ensure!(process.pgrp == pid && process.pgrp_members.prev == last, "group {pid:?} at {member:?}");
            stopped += process.flags.has(ProcFlags::STOPPED) as u32;
            last = member;
        }
        ensure!(stopped == node.stopped, "stopped members of {pid:?}");
        let in_session = self.all_processes().filter(|&process| self.session_of(process) == pid).count();
        ensure!(in_session == node.session_members as usize, "session members of {pid:?}");
        Ok(())
    }

    /// I5, and the counters of a namespace.
    fn check_namespace(&self, ns: NsLink) -> Check {
        let node = &self.namespaces[ns];
        let pids =
            self.pids.links().filter(|&pid| pid != self.pid_zero && self.sees(ns, self.pids[pid].ns)).count();
        ensure!(pids == node.pids as usize, "{pids} pids in {ns:?}, counted {}", node.pids);
        let below = self.namespaces.links().filter(|&below| self.namespaces[below].parent == ns).count();
        ensure!(below == node.namespaces as usize, "namespaces below {ns:?}");
        if let Some(init) = node.init.some() {
            let process = &self.processes[init];
            ensure!(process.ns == ns && self.pids[process.pid].numbers.innermost() == 1, "init of {ns:?}");
            ensure!(node.dead || !process.is_zombie(), "{ns:?} outlives its init");
        }
        Ok(())
    }
}
