//! PR_SET_CHILD_SUBREAPER (rules 1.3-1.16).
//!
//! `is_child_subreaper` says that a process adopts orphans below it; `has_child_subreaper`, that looking for
//! one above is worth while when the process dies. The second is sticky: it is inherited at fork, spread when
//! the first is set, and never cleared, so a process that has it can rely on all its descendants having it.
//!
//! Both are in the payload, to be read without the lock; only this file and fork write them.

use crate::{
    arena::{Link, ProcId},
    kernel::{Kernel, ProcessPayload},
    node::{ProcFlags, ProcLink},
    table::Table,
};

impl<K: Kernel> Table<K> {
    /// Makes the process a subreaper, or ends that. Existing descendants are covered when this returns (1.9,
    /// 13.2); nothing that was adopted elsewhere comes back (1.10). Setting it again costs nothing while it
    /// is set.
    pub fn set_child_subreaper(&mut self, process: ProcId, on: bool) {
        let Some(process) = self.processes.resolve(process) else {
            return;
        };
        let Some(payload) = self.processes[process].payload() else {
            return;
        };
        let was = payload.is_child_subreaper();
        payload.set_child_subreaper(on);
        if on && !was {
            self.spread(process);
        }
    }

    /// Marks the descendants, leaving out whole subtrees: of those that are marked, for theirs are too; and
    /// of namespace inits, for nothing below them ever looks further up (1.13). The process's own mark plays
    /// no part.
    fn spread(&self, subreaper: ProcLink) {
        let mut next = self.first_child(subreaper);
        // The init of the namespace that was met last: nearly always the only one.
        let (mut ns, mut init) = (Link::NONE, Link::NONE);
        while let Some(process) = next {
            let node = &self.processes[process];
            if node.ns != ns {
                (ns, init) = (node.ns, self.namespaces[node.ns].init);
            }
            let descend = match node.payload() {
                Some(payload) if !payload.has_child_subreaper() && process != init => {
                    payload.set_has_child_subreaper();
                    node.flags.has(ProcFlags::PARENT)
                }
                _ => false,
            };
            next = match node.siblings.next.some() {
                Some(sibling) if !descend => Some(sibling),
                _ => self.next_descendant(subreaper, process, descend),
            };
        }
    }
}
