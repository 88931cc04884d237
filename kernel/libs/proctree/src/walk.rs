//! Ways through the tree. None recurses: a kernel stack is small, and a tree of processes may be as deep as
//! there are pids.

use crate::{
    arena::{Link, NsId, PidId, ProcId, ThreadId},
    kernel::Kernel,
    node::{ProcFlags, ProcLink, ThreadLink},
    table::Table,
};
use core::iter::successors;

impl<K: Kernel> Table<K> {
    /// Threads of a process, a dead leader included: leader first, then in order of creation. None in a
    /// zombie.
    pub fn threads(&self, process: ProcId) -> impl Iterator<Item = ThreadId> + '_ {
        let first = self
            .processes
            .resolve(process)
            .map_or(Link::NONE, |process| self.processes[process].first_thread);
        self.group_from(first).map(|thread| self.threads.id(thread))
    }

    /// Children of one thread, zombies included, in list order: creation, the adopted behind.
    pub fn children(&self, thread: ThreadId) -> impl Iterator<Item = ProcId> + '_ {
        let first =
            self.threads.resolve(thread).map_or(Link::NONE, |thread| self.threads[thread].children.first);
        self.siblings_from(first).map(|process| self.processes.id(process))
    }

    /// Members of a process group, zombies included, newest first.
    pub fn pgrp_members(&self, pgrp: PidId) -> impl Iterator<Item = ProcId> + '_ {
        let first = self.pids.resolve(pgrp).map_or(Link::NONE, |pgrp| self.pids[pgrp].first_member);
        self.members_from(first).map(|process| self.processes.id(process))
    }

    /// All processes, zombies included, in order of creation.
    pub fn processes(&self) -> impl Iterator<Item = ProcId> + '_ {
        self.all_processes().map(|process| self.processes.id(process))
    }

    /// All processes that are visible in a namespace, in order of creation.
    pub fn processes_in(&self, ns: NsId) -> impl Iterator<Item = ProcId> + '_ {
        let ns = self.namespaces.resolve(ns);
        self.all_processes()
            .filter(move |&process| ns.is_some_and(|ns| self.sees(ns, self.processes[process].ns)))
            .map(|process| self.processes.id(process))
    }

    /// All descendants, zombies included, each before its own: not the process itself.
    pub fn descendants(&self, process: ProcId) -> impl Iterator<Item = ProcId> + '_ {
        let root = self.processes.resolve(process);
        let first = root.and_then(|root| self.first_child(root));
        successors(first, move |&process| self.next_descendant(root?, process, true))
            .map(|process| self.processes.id(process))
    }

    pub(crate) fn group_from(&self, first: ThreadLink) -> impl Iterator<Item = ThreadLink> + '_ {
        successors(first.some(), |&thread| self.threads[thread].group.next.some())
    }

    pub(crate) fn siblings_from(&self, first: ProcLink) -> impl Iterator<Item = ProcLink> + '_ {
        successors(first.some(), |&process| self.processes[process].siblings.next.some())
    }

    pub(crate) fn members_from(&self, first: ProcLink) -> impl Iterator<Item = ProcLink> + '_ {
        successors(first.some(), |&process| self.processes[process].pgrp_members.next.some())
    }

    pub(crate) fn all_processes(&self) -> impl Iterator<Item = ProcLink> + '_ {
        successors(self.first_process.some(), |&process| self.processes[process].all.next.some())
    }

    /// The first child of the process's first thread that has any.
    pub(crate) fn first_child(&self, process: ProcLink) -> Option<ProcLink> {
        self.first_child_from(self.processes[process].first_thread)
    }

    fn first_child_from(&self, first: ThreadLink) -> Option<ProcLink> {
        self.group_from(first).find_map(|thread| self.threads[thread].children.first.some())
    }

    /// What comes behind `process` on a walk over the descendants of `root`, with or without its own
    /// descendants.
    #[inline(always)]
    pub(crate) fn next_descendant(
        &self,
        root: ProcLink,
        process: ProcLink,
        descend: bool,
    ) -> Option<ProcLink> {
        let node = &self.processes[process];
        if descend
            && node.flags.has(ProcFlags::PARENT)
            && let Some(child) = self.first_child(process)
        {
            return Some(child);
        }
        match node.siblings.next.some() {
            Some(sibling) => Some(sibling),
            None => self.next_above(root, process),
        }
    }

    /// The younger sibling of the nearest ancestor of `process` below `root` that has one; `process` itself has none.
    #[inline(never)]
    fn next_above(&self, root: ProcLink, process: ProcLink) -> Option<ProcLink> {
        let mut process = process;
        loop {
            let node = &self.processes[process];
            if node.siblings.next.is_some() {
                return Some(node.siblings.next);
            }
            let parent = &self.threads[node.parent.some()?];
            if let Some(child) = self.first_child_from(parent.group.next) {
                return Some(child);
            }
            process = parent.process;
            if process == root {
                return None;
            }
        }
    }
}
