//! Reparenting: who adopts the children of a dying thread, and what each of them goes through (section 2).
//!
//! The adopter is sought once ([`Table::find_reaper`]), then the whole child list and the whole event tree
//! are hooked behind the adopter's (rule 2.13): two steps whatever their length. Then each child is visited,
//! in list order (2.15):
//!
//! - its `parent` becomes the adopter, and its payload's ppid the adopter's number;
//! - parent-death signals are sent, if a thread of it asked for one (1.22);
//! - unless the adopter is a sibling thread, which is silent (2.9): the exit signal becomes SIGCHLD (2.10), a
//!   zombie is announced to the adopter, who may not want it (2.11), and a process group that the dying
//!   process kept from being orphaned is told so, if it is now and has stopped members (2.22).
//!
//! A live child that needs none of these, the usual one, takes the short path: three stores into its node and
//! one into its payload. (An indirection, shared by all children of a thread, would make even that O(1), but
//! every getppid, and every walk up the ancestors, would then have to chase a chain of dead owners: not worth
//! it at this price.)
//!
//! While the loop runs, children further down the list still have the dying thread as `parent`, and that is
//! how the orphaned-group check of an earlier one must see them; their place in list and tree is the
//! adopter's already.

use crate::{
    arena::{Link, ThreadId},
    events,
    kernel::{Body, Dying, Kernel, ProcessPayload, Sink},
    node::{
        ADOPTED, CLASSES, Children, NsLink, PidLink, ProcFlags, ProcLink, SIGCHLD, ThreadLink, ThreadState,
    },
    table::Table,
};

/// What stays the same for all children of a dying thread, or of a reaper that hands over what it adopted.
struct Adoption {
    /// The process they come from.
    father: ProcLink,
    /// Its thread, or it as a whole, is dying: parent-death signals are due.
    death: bool,
    father_pgrp: PidLink,
    reaper: ThreadLink,
    /// Flags of a child that needs more than a new parent.
    special: ProcFlags,
    /// The adopter's number in its own namespace.
    ppid: u32,
}

impl<K: Kernel> Table<K> {
    /// PR_SET_PDEATHSIG: the signal to be sent to the thread's process when the thread's parent *thread*
    /// dies, 0 for none. Under the same lock as exit, so that either the signal is sent or the caller sees
    /// the new parent (rule 1.30).
    pub fn set_pdeath(&mut self, thread: ThreadId, signal: u8) {
        if let Ok(thread) = self.live_thread(thread) {
            let node = &mut self.threads[thread];
            node.pdeath = signal;
            if signal != 0 {
                self.processes[node.process].flags.set(ProcFlags::PDEATH);
            }
        }
    }

    /// PR_GET_PDEATHSIG
    pub fn pdeath(&self, thread: ThreadId) -> u8 {
        self.threads.resolve(thread).map_or(0, |thread| self.threads[thread].pdeath)
    }

    /// Gives all children of a dying thread to an adopter.
    pub(crate) fn reparent_children(&mut self, dying: ThreadLink, sink: &mut impl Sink<K>) {
        let first = self.threads[dying].children.first;
        if first.is_none() {
            return;
        }
        let Some(reaper) = self.find_reaper(dying) else {
            return;
        };
        let father = self.threads[dying].process;
        let orphans = core::mem::replace(&mut self.threads[dying].children, Children::NONE);
        self.give_children(orphans, father, true, reaper, sink);
    }

    /// Gives children, which are in no thread's books any more, to `reaper`.
    pub(crate) fn give_children(
        &mut self,
        orphans: Children,
        father: ProcLink,
        death: bool,
        reaper: ThreadLink,
        sink: &mut impl Sink<K>,
    ) {
        let adopter = &self.processes[self.threads[reaper].process];
        let adoption = Adoption {
            father,
            death,
            father_pgrp: self.processes[father].pgrp,
            reaper,
            special: if adopter.ns == self.processes[father].ns {
                ProcFlags::SPECIAL
            } else {
                ProcFlags::ALL
            },
            ppid: self.pids[adopter.pid].numbers.innermost(),
        };
        let first = orphans.first;
        if self.threads[reaper].process == father {
            self.splice_children(&orphans, reaper, |class| class);
            self.visit_orphans::<true>(first, &adoption, sink);
        } else {
            if orphans.events.is_some() {
                self.adopt_reports(first);
            }
            self.splice_children(&orphans, reaper, |_| ADOPTED);
            self.visit_orphans::<false>(first, &adoption, sink);
        }
    }

    /// Rule 2.1: (a) the first live thread of the dying one's process, (b) the nearest ancestor that is a
    /// subreaper and has a live thread, (c) the init of the dying process's namespace.
    fn find_reaper(&self, dying: ThreadLink) -> Option<ThreadLink> {
        let father = self.threads[dying].process;
        self.first_live_thread(father)
            .or_else(|| self.find_subreaper(father))
            .or_else(|| self.find_init_thread(self.processes[father].ns, dying))
    }

    fn first_live_thread(&self, process: ProcLink) -> Option<ThreadLink> {
        if self.processes[process].live == 0 {
            return None;
        }
        self.group_from(self.processes[process].first_thread)
            .find(|&t| self.threads[t].state == ThreadState::Live)
    }

    /// Rules 2.3, 2.4: up the real parents, as long as they are on the dying process's namespace level, and
    /// only if a subreaper has ever been above it.
    pub(crate) fn find_subreaper(&self, father: ProcLink) -> Option<ThreadLink> {
        let dying = &self.processes[father];
        if dying.payload().is_some_and(|payload| !payload.has_child_subreaper()) {
            return None;
        }
        let level = dying.level;
        let mut above = dying.parent;
        while let Some(thread) = above.some() {
            let process = self.threads[thread].process;
            let ancestor = &self.processes[process];
            if ancestor.level != level {
                return None;
            }
            if ancestor.payload().is_some_and(|payload| payload.is_child_subreaper())
                && let Some(thread) = self.first_live_thread(process)
            {
                return Some(thread);
            }
            above = ancestor.parent;
        }
        None
    }

    /// A live thread of the namespace's init, or one that is dying but not gone: an init that waits for its
    /// namespace to empty still takes its orphans (9.6). The inits above are for a namespace whose init is
    /// dead, which has no members.
    pub(crate) fn find_init_thread(&self, ns: NsLink, dying: ThreadLink) -> Option<ThreadLink> {
        let mut ns = ns;
        while ns.is_some() {
            if let Some(init) = self.namespaces[ns].init.some() {
                let present = |&t: &ThreadLink| t != dying && self.threads[t].state != ThreadState::Dead;
                let thread = self
                    .first_live_thread(init)
                    .or_else(|| self.group_from(self.processes[init].first_thread).find(present));
                if thread.is_some() {
                    return thread;
                }
            }
            ns = self.namespaces[ns].parent;
        }
        None
    }

    /// Reports of orphans become those of adopted children, while their tree is one of its own: later, each of them would
    /// change all that is above it.
    fn adopt_reports(&mut self, first: ProcLink) {
        let mut child = first;
        while child.is_some() {
            let node = &mut self.processes[child];
            if node.event.own != 0 {
                events::adopt(&mut node.event);
            }
            child = node.siblings.next;
        }
    }

    /// Hooks the list and the event tree of the orphans behind those of `to`, where a class becomes that which
    /// `new_class` says. The `seq`s and the flags follow in [`visit_orphans`](Self::visit_orphans).
    fn splice_children(&mut self, orphans: &Children, to: ThreadLink, new_class: impl Fn(usize) -> usize) {
        let to = &mut self.threads[to];
        self.processes[to.process].flags.set(ProcFlags::PARENT);
        let children = &mut to.children;
        if children.last.is_some() {
            self.processes[children.last].siblings.next = orphans.first;
            self.processes[orphans.first].siblings.prev = children.last;
        } else {
            children.first = orphans.first;
        }
        children.last = orphans.last;
        for class in 0..CLASSES {
            children.count[new_class(class)] += orphans.count[class];
            children.zombies[new_class(class)] += orphans.zombies[class];
        }
        children.events = events::join(&mut self.processes, children.events, orphans.events);
    }

    /// Visits each orphan from `first` to the end of the adopter's list. Only the current one may leave the
    /// list meanwhile. SILENT: the adopter is a sibling thread (rule 2.9).
    fn visit_orphans<const SILENT: bool>(
        &mut self,
        first: ProcLink,
        adoption: &Adoption,
        sink: &mut impl Sink<K>,
    ) {
        let mut seq = self.next_seq;
        let mut child = first;
        while child.is_some() {
            (child, seq) = self.visit_plain_orphans::<SILENT>(child, seq, adoption);
            if child.is_none() {
                break;
            }
            let node = &mut self.processes[child];
            node.parent = adoption.reaper;
            node.seq = seq;
            seq += 1;
            let next = node.siblings.next;
            self.visit_orphan::<SILENT>(child, (next, seq), adoption, sink);
            child = next;
        }
        self.next_seq = seq;
    }

    /// The short path, as long as it goes. Returns the first orphan that needs the long one, with its key.
    #[inline(never)]
    fn visit_plain_orphans<const SILENT: bool>(
        &mut self,
        first: ProcLink,
        seq: u64,
        adoption: &Adoption,
    ) -> (ProcLink, u64) {
        let Adoption { father_pgrp, reaper, special, ppid, .. } = *adoption;
        let (mut child, mut seq) = (first, seq);
        while child.is_some() {
            let node = &mut self.processes[child];
            let plain = !node.flags.has(special) && node.pgrp == father_pgrp;
            let Body::Live(payload) = &node.body else { break };
            if !plain {
                break;
            }
            payload.set_ppid(ppid);
            node.parent = reaper;
            node.seq = seq;
            seq += 1;
            if !SILENT {
                node.flags.set(ProcFlags::ADOPTED);
            }
            child = node.siblings.next;
        }
        (child, seq)
    }

    /// The long path: an orphan for which something may be due. `rest` is the next one and its new key.
    #[inline(never)]
    fn visit_orphan<const SILENT: bool>(
        &mut self,
        child: ProcLink,
        rest: (ProcLink, u64),
        adoption: &Adoption,
        sink: &mut impl Sink<K>,
    ) {
        let node = &mut self.processes[child];
        let zombie = node.is_zombie();
        if !SILENT {
            // Rule 2.10. The adopter's books and its event tree count the child as an adopted one already.
            node.exit_signal = SIGCHLD;
            node.flags.clear(ProcFlags::CLONE);
            node.flags.set(ProcFlags::ADOPTED);
        }
        if !zombie {
            self.visit_live_orphan(child, rest, adoption, sink);
        }
        if SILENT {
            return;
        }
        let unwanted = zombie && self.announce_death(child, sink);
        let pgrp = self.processes[child].pgrp;
        if pgrp != adoption.father_pgrp && self.pids[pgrp].stopped != 0 {
            self.renumber(rest);
            self.hang_up_jobs(pgrp, adoption.father_pgrp, Link::NONE, sink);
        }
        if unwanted && let Some(gone) = self.release(child, sink) {
            sink.autoreaped(gone);
        }
    }

    fn visit_live_orphan(
        &mut self,
        child: ProcLink,
        rest: (ProcLink, u64),
        adoption: &Adoption,
        sink: &mut impl Sink<K>,
    ) {
        let node = &self.processes[child];
        let adopter = self.processes[self.threads[adoption.reaper].process].pid;
        let ppid = self.number_in(adopter, node.ns);
        if let Some(payload) = node.payload() {
            payload.set_ppid(ppid);
        }
        if adoption.death && node.flags.has(ProcFlags::PDEATH) {
            self.renumber(rest);
            self.send_pdeath(child, adoption, sink);
        }
        self.note_namespaces(child);
    }

    /// Signals can make a child reportable, which needs its key: the rest of the list gets new ones early,
    /// for they are still those of the old list. Does nothing if that was done before.
    fn renumber(&mut self, rest: (ProcLink, u64)) {
        let (mut child, mut seq) = rest;
        while child.is_some() && self.processes[child].seq < seq {
            self.processes[child].seq = seq;
            seq += 1;
            child = self.processes[child].siblings.next;
        }
    }

    /// Rules 1.22-1.26: once for each thread that asked for it, to the process.
    fn send_pdeath(&mut self, child: ProcLink, adoption: &Adoption, sink: &mut impl Sink<K>) {
        let mut wanted = false;
        let mut thread = self.processes[child].first_thread;
        while thread.is_some() {
            let node = &self.threads[thread];
            let (next, signal) = (node.group.next, node.pdeath);
            let father = &self.processes[adoption.father];
            if let (1.., Some(to), Some(process)) =
                (signal, self.processes[child].payload(), father.payload())
            {
                wanted = true;
                let dying = Dying {
                    process,
                    pid: self.number_in(father.pid, self.processes[child].ns),
                    same_session: self.session_of(adoption.father) == self.session_of(child),
                };
                let effect = sink.parent_death(to, node.payload.as_ref(), signal, dying);
                self.apply(child, effect);
            }
            thread = next;
        }
        if !wanted {
            self.processes[child].flags.clear(ProcFlags::PDEATH);
        }
    }
}
