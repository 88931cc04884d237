//! What a reaper can ask and do beyond Linux: who is below it, handing over what it adopted, and not being
//! bothered with it.
//!
//! Nothing here runs unless a program asks for it. What the rest of the table keeps for it is one flag of a
//! child, [`ProcFlags::ADOPTED`], set when the child changes to another process (cases b and c of rule 2.1).
//! Adopted children are a class of their own in their parent's books, so that a wait for them, or for all
//! others, costs what any wait costs (see `events`).
//!
//! A *subtree* is a child of the process asked about, with everything below it: the name of a job, as long as
//! the double fork of one of its members has not made that another child.
//!
//! | operation | cost |
//! |---|---|
//! | [`Table::reaper_status`] | the threads, the ancestors up to the reaper, the descendants |
//! | [`Table::subtree`] | the descendants |
//! | [`Table::release_reaper`] | the children, as an exit's |
//! | [`Table::set_autoreap`], [`Table::is_adopted`] | constant |

use crate::{
    arena::{Link, PidId, ProcId},
    events,
    kernel::{ChildPolicy, Error, Kernel, ProcessPayload, Sink},
    node::{ADOPTED, Children, Neighbours, ProcFlags, ProcLink, ThreadLink},
    table::Table,
};
use core::iter::successors;

/// What becomes of adopted children that die, and of zombies at their adoption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Autoreap {
    /// What becomes of any other child.
    Off,
    /// They vanish, without a signal.
    Quiet,
    /// They vanish, with SIGCHLD unless that is ignored.
    Signal,
}

/// A process as a reaper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaperStatus {
    /// It asked to be a subreaper.
    pub is_subreaper: bool,
    /// It is the init of its namespace.
    pub is_init: bool,
    /// Its parent adopted it.
    pub is_adopted: bool,
    /// All its threads are dead.
    pub is_zombie: bool,
    /// What becomes of the adopted when they die.
    pub autoreap: Autoreap,
    /// Who adopts the orphans among its descendants: it itself, if it is a reaper.
    pub reaper: Option<PidId>,
    /// Who would adopt its children if it died now. `None`: nobody, for an init takes them along.
    pub above: Option<PidId>,
    /// Children of all its threads, zombies included.
    pub children: u32,
    /// How many of them were adopted.
    pub adopted: u32,
    /// How many of them are zombies.
    pub zombies: u32,
    /// Children, their children, and so on; zombies and what is below other reapers included.
    pub descendants: u32,
    /// How many of them are zombies.
    pub dead: u32,
    /// How many of them are reapers.
    pub reapers: u32,
}

/// One of the descendants of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descendant {
    /// It.
    pub process: ProcId,
    /// Its number.
    pub pid: PidId,
    /// Its parent.
    pub parent: ProcId,
    /// The child of the process asked about that it comes from, or that it is.
    pub subtree: ProcId,
    /// It is a child of the process asked about.
    pub is_child: bool,
    /// Its parent adopted it.
    pub is_adopted: bool,
    /// It is a subreaper or the init of a namespace.
    pub is_reaper: bool,
    /// All its threads are dead.
    pub is_zombie: bool,
    /// All its threads have begun to exit, or are dead.
    pub is_exiting: bool,
    /// It is group-stopped.
    pub is_stopped: bool,
}

impl ProcFlags {
    /// What a process that has set [`AUTOREAP`](Self::AUTOREAP) does with an adopted child that dies, and would do
    /// `otherwise` with another one.
    pub(crate) fn policy_for_adopted(self, otherwise: ChildPolicy) -> ChildPolicy {
        if self.has(Self::AUTOREAP_SIGNAL) && otherwise != ChildPolicy::Ignore {
            ChildPolicy::NoWait
        } else {
            ChildPolicy::Ignore
        }
    }
}

impl<K: Kernel> Table<K> {
    // ---- questions -----------------------------------------------------------------------------

    /// The process was adopted by its parent: it is not the one that made it.
    pub fn is_adopted(&self, process: ProcId) -> bool {
        self.has_flag(process, ProcFlags::ADOPTED)
    }

    /// `process` is below `ancestor`. Not the process itself.
    pub fn is_descendant(&self, process: ProcId, ancestor: ProcId) -> bool {
        let (Some(process), Some(ancestor)) =
            (self.processes.resolve(process), self.processes.resolve(ancestor))
        else {
            return false;
        };
        successors(self.parent_of(process), |&above| self.parent_of(above)).any(|above| above == ancestor)
    }

    /// How many descendants there are at most: what memory for a list of them is to be made for.
    pub fn max_descendants(&self) -> usize {
        self.processes.used()
    }

    /// What there is to say of a process as a reaper. `None`: a stale id.
    pub fn reaper_status(&self, process: ProcId) -> Option<ReaperStatus> {
        let link = self.processes.resolve(process)?;
        let node = &self.processes[link];
        let pid_of = |process: ProcLink| self.pids.id(self.processes[process].pid);
        let above = self.reaper_above(link);
        let reaper = if self.is_reaper(link) { Some(link) } else { above };
        let mut status = ReaperStatus {
            is_subreaper: node.payload().is_some_and(|payload| payload.is_child_subreaper()),
            is_init: self.is_init(link),
            is_adopted: node.flags.has(ProcFlags::ADOPTED),
            is_zombie: node.is_zombie(),
            autoreap: self.autoreap_of(link),
            reaper: reaper.map(pid_of),
            above: above.map(pid_of),
            children: 0,
            adopted: 0,
            zombies: 0,
            descendants: 0,
            dead: 0,
            reapers: 0,
        };
        for thread in self.group_from(node.first_thread) {
            let children = &self.threads[thread].children;
            status.children += children.count.iter().sum::<u32>();
            status.adopted += children.count[ADOPTED];
            status.zombies += children.zombies.iter().sum::<u32>();
        }
        let mut below = self.first_child(link);
        while let Some(process) = below {
            status.descendants += 1;
            status.dead += self.processes[process].is_zombie() as u32;
            status.reapers += self.is_reaper(process) as u32;
            below = self.next_descendant(link, process, true);
        }
        Some(status)
    }

    /// All descendants with the subtrees that they belong to, each before its own.
    pub fn subtree(&self, process: ProcId) -> impl Iterator<Item = Descendant> + '_ {
        let root = self.processes.resolve(process);
        let first = root.and_then(|root| self.first_child(root));
        let mut subtree = Link::NONE;
        successors(first, move |&process| self.next_descendant(root?, process, true)).map(move |process| {
            if self.parent_of(process) == root {
                subtree = process;
            }
            self.descendant(process, subtree)
        })
    }

    fn descendant(&self, process: ProcLink, subtree: ProcLink) -> Descendant {
        let node = &self.processes[process];
        // Whoever is found on a way down has a parent.
        let parent = self.parent_of(process).unwrap_or(process);
        Descendant {
            process: self.processes.id(process),
            pid: self.pids.id(node.pid),
            parent: self.processes.id(parent),
            subtree: self.processes.id(subtree),
            is_child: process == subtree,
            is_adopted: node.flags.has(ProcFlags::ADOPTED),
            is_reaper: self.is_reaper(process),
            is_zombie: node.is_zombie(),
            is_exiting: node.live == 0,
            is_stopped: node.flags.has(ProcFlags::STOPPED),
        }
    }

    fn parent_of(&self, process: ProcLink) -> Option<ProcLink> {
        Some(self.threads[self.processes[process].parent.some()?].process)
    }

    /// It adopts orphans: a subreaper or an init, and not dead.
    fn is_reaper(&self, process: ProcLink) -> bool {
        self.processes[process]
            .payload()
            .is_some_and(|payload| payload.is_child_subreaper() || self.is_init(process))
    }

    /// Who gets the children of a process that dies, but for its own threads.
    fn reaper_above(&self, process: ProcLink) -> Option<ProcLink> {
        if self.is_init(process) {
            return None;
        }
        self.adopter_above(process).map(|thread| self.threads[thread].process)
    }

    fn adopter_above(&self, process: ProcLink) -> Option<ThreadLink> {
        let ns = self.processes[process].ns;
        self.find_subreaper(process).or_else(|| self.find_init_thread(ns, Link::NONE))
    }

    // ---- automatic reaping ---------------------------------------------------------------------

    /// From now on, what becomes of adopted children of the process that die, and of zombies that it adopts.
    /// It is not inherited, and it outlives an exec. Zombies that are there already stay to be waited for.
    pub fn set_autoreap(&mut self, process: ProcId, autoreap: Autoreap) {
        if let Some(process) = self.processes.resolve(process) {
            let flags = &mut self.processes[process].flags;
            flags.set_to(ProcFlags::AUTOREAP, autoreap != Autoreap::Off);
            flags.set_to(ProcFlags::AUTOREAP_SIGNAL, autoreap == Autoreap::Signal);
        }
    }

    /// What was set with [`set_autoreap`](Self::set_autoreap).
    pub fn autoreap(&self, process: ProcId) -> Autoreap {
        self.processes.resolve(process).map_or(Autoreap::Off, |process| self.autoreap_of(process))
    }

    fn autoreap_of(&self, process: ProcLink) -> Autoreap {
        let flags = self.processes[process].flags;
        match (flags.has(ProcFlags::AUTOREAP), flags.has(ProcFlags::AUTOREAP_SIGNAL)) {
            (false, _) => Autoreap::Off,
            (true, false) => Autoreap::Quiet,
            (true, true) => Autoreap::Signal,
        }
    }

    // ---- release -------------------------------------------------------------------------------

    /// The process stops being a subreaper, and what it adopted goes to the reaper above it, as if the process
    /// had died: announced if dead, with SIGHUP for process groups that are orphaned by it. But it lives, so no
    /// parent-death signal is sent. What it made itself stays. Automatic reaping ends.
    ///
    /// `has_child_subreaper` stays as it is below the process: it says that there may be a reaper above, and
    /// whoever was below the process is below the reaper above it, too.
    ///
    /// Returns how many children changed over. The caller wakes the waiters of the process, whose last child may have
    /// gone. ESRCH: stale or dead. EINVAL: neither a subreaper nor has it adopted anybody; or the init of a
    /// namespace, which stays the last resort.
    pub fn release_reaper(&mut self, process: ProcId, sink: &mut impl Sink<K>) -> Result<u32, Error> {
        let process = self.processes.resolve(process).ok_or(Error::Srch)?;
        let node = &self.processes[process];
        let payload = node.payload().ok_or(Error::Srch)?;
        let first = node.first_thread;
        let adopted = self.group_from(first).any(|t| self.threads[t].children.count[ADOPTED] > 0);
        if self.is_init(process) || !(adopted || payload.is_child_subreaper()) {
            return Err(Error::Inval);
        }
        payload.set_child_subreaper(false);
        let flags = &mut self.processes[process].flags;
        flags.clear(ProcFlags::AUTOREAP);
        flags.clear(ProcFlags::AUTOREAP_SIGNAL);
        let reaper = self.adopter_above(process).ok_or(Error::Srch)?;
        let mut released = 0;
        let mut thread = first;
        while thread.is_some() {
            let orphans = self.take_adopted(thread);
            released += orphans.count[ADOPTED];
            if orphans.first.is_some() {
                self.give_children(orphans, process, false, reaper, sink);
            }
            thread = self.threads[thread].group.next;
        }
        Ok(released)
    }

    /// Takes the adopted children out of a thread's books, in their order.
    fn take_adopted(&mut self, thread: ThreadLink) -> Children {
        let mut taken = Children::NONE;
        let mut next = self.threads[thread].children.first;
        while let Some(child) = next.some() {
            let node = &mut self.processes[child];
            next = node.siblings.next;
            if !node.flags.has(ProcFlags::ADOPTED) {
                continue;
            }
            let own = node.event.own;
            let siblings =
                core::mem::replace(&mut node.siblings, Neighbours { prev: taken.last, next: Link::NONE });
            events::set(&mut self.processes, &mut self.threads[thread].children.events, child, 0);
            events::set(&mut self.processes, &mut taken.events, child, own);
            self.unlink_sibling(thread, siblings);
            match taken.last.some() {
                None => taken.first = child,
                Some(last) => self.processes[last].siblings.next = child,
            }
            taken.last = child;
        }
        let left = &mut self.threads[thread].children;
        taken.count[ADOPTED] = core::mem::take(&mut left.count[ADOPTED]);
        taken.zombies[ADOPTED] = core::mem::take(&mut left.zombies[ADOPTED]);
        taken
    }
}
