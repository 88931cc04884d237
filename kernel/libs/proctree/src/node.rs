//! The nodes: what a process and a thread are made of.
//!
//! ```text
//!            parent (a thread)                    pgrp (a pid) ── session (a pid)
//!                 ▲                                 │
//!                 │ parent        members, newest first
//!   Thread ── children ─▶ Process ◀─▶ Process ◀─▶ Process      siblings in list order: creation, adopted last
//!                            │
//!                          threads ─▶ Thread ◀─▶ Thread        leader first, then creation order
//! ```
//!
//! Children belong to the *thread* that made or adopted them (rules 0.2, 2.9, 4.9), so a process has as many
//! child lists as threads. Everything else is the process's. There is room for a tracer: a link from a thread
//! to the thread that traces it, with a list of tracees beside [`Children`], does not change anything here:
//! `parent` is always the *real* parent.

use crate::{
    arena::{Link, marker},
    kernel::{Body, Kernel},
};

pub(crate) type ProcLink = Link<marker::Process>;
pub(crate) type ThreadLink = Link<marker::Thread>;
pub(crate) type PidLink = Link<marker::Pid>;
pub(crate) type NsLink = Link<marker::Namespace>;

/// Linux's number of SIGCHLD.
pub const SIGCHLD: u8 = 17;
/// Linux's number of SIGHUP.
pub const SIGHUP: u8 = 1;
/// Linux's number of SIGCONT.
pub const SIGCONT: u8 = 18;

/// Two neighbours in a list.
pub(crate) struct Neighbours<M> {
    pub(crate) prev: Link<M>,
    pub(crate) next: Link<M>,
}

impl<M> Neighbours<M> {
    pub(crate) const NONE: Self = Neighbours { prev: Link::NONE, next: Link::NONE };
}

/// A process: a thread group.
pub(crate) struct Process<K: Kernel> {
    /// Payload or exit record.
    pub(crate) body: Body<K::Process, K::Record>,

    /// The thread whose child this is: `NONE` for the global init only.
    pub(crate) parent: ThreadLink,
    /// Place in the parent's child list.
    pub(crate) siblings: Neighbours<marker::Process>,
    /// Grows along every child list: the key of the event tree.
    pub(crate) seq: u64,
    /// Place in the parent's tree of children with something to report.
    pub(crate) event: EventNode,

    /// The pid of the leader: tgid.
    pub(crate) pid: PidLink,
    /// The process group; its session is the process's.
    pub(crate) pgrp: PidLink,
    pub(crate) pgrp_members: Neighbours<marker::Process>,
    pub(crate) ns: NsLink,

    /// Threads that have not been released: empty in a zombie.
    pub(crate) first_thread: ThreadLink,
    pub(crate) last_thread: ThreadLink,
    /// How many, a dead leader included.
    pub(crate) threads: u32,
    /// How many of them have not begun to exit.
    pub(crate) live: u32,

    /// All processes, in order of creation.
    pub(crate) all: Neighbours<marker::Process>,

    /// Execs that this process did, and its parent had done when it was made (rule 5.8).
    pub(crate) self_exec_id: u32,
    pub(crate) parent_exec_id: u32,
    /// The level of `ns`.
    pub(crate) level: u8,
    pub(crate) exit_signal: u8,
    /// The signal of the last completed group stop.
    pub(crate) stop_signal: u8,
    pub(crate) flags: ProcFlags,
}

/// Packed booleans of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ProcFlags(u16);

impl ProcFlags {
    pub(crate) const EMPTY: Self = Self::ONE;
    /// Did an exec: its parent may not move it to another group any more (rule 8.3).
    pub(crate) const EXECED: Self = ProcFlags(1);
    pub(crate) const SESSION_LEADER: Self = ProcFlags(2);
    /// Group-stopped; stays set when the stop was reported.
    pub(crate) const STOPPED: Self = ProcFlags(4);
    /// Some thread may have a parent-death signal set.
    pub(crate) const PDEATH: Self = ProcFlags(8);
    /// The exit signal is not SIGCHLD: a "clone" child (rule 4.8).
    pub(crate) const CLONE: Self = ProcFlags(1 << Self::CLASS_SHIFT);
    /// Its parent did not make it but adopted it: cases b and c of rule 2.1. Its exit signal is SIGCHLD from then on, so it
    /// is never a clone child as well.
    pub(crate) const ADOPTED: Self = ProcFlags(2 << Self::CLASS_SHIFT);
    /// The parent is in another namespace.
    pub(crate) const FOREIGN: Self = ProcFlags(64);
    /// Has or had children: one without is passed by quickly on a walk over descendants.
    pub(crate) const PARENT: Self = ProcFlags(128);
    /// Always set.
    const ONE: Self = ProcFlags(256);
    /// Adopted children of it that die are reaped at once (see `reaper`) ...
    pub(crate) const AUTOREAP: Self = ProcFlags(512);
    /// ... and it gets SIGCHLD for them all the same.
    pub(crate) const AUTOREAP_SIGNAL: Self = ProcFlags(1024);
    /// What makes a child need more than a new parent, if father and adopter are in the same namespace ...
    pub(crate) const SPECIAL: Self = ProcFlags(Self::PDEATH.0 | Self::CLONE.0 | Self::FOREIGN.0);
    /// ... and if they are not.
    pub(crate) const ALL: Self = Self::ONE;

    const CLASS_SHIFT: u32 = 4;

    pub(crate) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }
    pub(crate) fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }
    pub(crate) fn clear(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }
    pub(crate) fn set_to(&mut self, flag: Self, on: bool) {
        if on { self.set(flag) } else { self.clear(flag) }
    }

    /// The child's class in its parent's books: [`OWN`], [`CLONED`] or [`ADOPTED`].
    pub(crate) fn class(self) -> usize {
        usize::from(self.0 >> Self::CLASS_SHIFT & 3)
    }
}

impl<K: Kernel> Process<K> {
    pub(crate) fn is_zombie(&self) -> bool {
        matches!(self.body, Body::Zombie(_))
    }

    pub(crate) fn payload(&self) -> Option<&K::Process> {
        match &self.body {
            Body::Live(payload) => Some(payload),
            Body::Zombie(_) => None,
        }
    }
}

/// Links of the event tree (see `events`).
pub(crate) struct EventNode {
    pub(crate) up: ProcLink,
    pub(crate) left: ProcLink,
    pub(crate) right: ProcLink,
    /// What this child has to report: 0 if it is in no tree.
    pub(crate) own: u16,
    /// The same, of the whole subtree.
    pub(crate) all: u16,
}

impl EventNode {
    pub(crate) const NONE: Self =
        EventNode { up: Link::NONE, left: Link::NONE, right: Link::NONE, own: 0, all: 0 };
}

/// A thread.
pub(crate) struct Thread<K: Kernel> {
    /// Gone in a dead leader.
    pub(crate) payload: Option<K::Thread>,
    pub(crate) process: ProcLink,
    pub(crate) pid: PidLink,
    /// Place among the threads of the process.
    pub(crate) group: Neighbours<marker::Thread>,
    pub(crate) children: Children,
    /// The parent-death signal, 0 if none.
    pub(crate) pdeath: u8,
    pub(crate) state: ThreadState,
}

/// How far a thread has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub(crate) enum ThreadState {
    Live,
    /// Has begun to exit: adopts nobody (rule 2.2).
    Exiting,
    /// A leader that is done, while other threads go on (rule 3.6).
    Dead,
}

/// The children of a thread.
pub(crate) struct Children {
    pub(crate) first: ProcLink,
    pub(crate) last: ProcLink,
    /// Root of the tree of those with something to report.
    pub(crate) events: ProcLink,
    /// How many, by class.
    pub(crate) count: [u32; CLASSES],
    /// How many of them are zombies, by class.
    pub(crate) zombies: [u32; CLASSES],
}

impl Children {
    pub(crate) const NONE: Self = Children {
        first: Link::NONE,
        last: Link::NONE,
        events: Link::NONE,
        count: [0; CLASSES],
        zombies: [0; CLASSES],
    };
}

/// A child that its parent made, with exit signal SIGCHLD.
pub(crate) const OWN: usize = 0;
/// A child that its parent made, with another exit signal: a "clone" child (rule 4.8).
pub(crate) const CLONED: usize = 1;
/// A child that its parent adopted.
pub(crate) const ADOPTED: usize = 2;
/// How many classes of children there are.
pub(crate) const CLASSES: usize = 3;

/// Whether a child with this exit signal is a "clone" child.
pub(crate) fn is_clone(exit_signal: u8) -> bool {
    exit_signal != SIGCHLD
}
