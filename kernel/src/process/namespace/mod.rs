//! Namespaces: what a set of processes sees of the system (namespaces(7), spec section 9).
//!
//! Pid namespaces are built in. The kinds that are not (mnt, uts, ipc, net, user, cgroup, time) have one instance each, the
//! initial one, which [`fs::nsfs`](crate::fs::nsfs) shows in /proc/PID/ns.
//!
//! | file | what it tells |
//! |---|---|
//! | [`pid`] | a pid namespace: its place, its lifetime |
//! | [`death`] | the end of a namespace's init, which ends all in it |
//! | [`change`] | clone, unshare, setns: who gets into which |
//! | here | what a thread hands on to its children |
//!
//! # What a thread has
//! A process is in one pid namespace for life ([`Process::pid_ns`](super::Process::pid_ns)); what unshare(2) and setns(2) change
//! is where the *next children* of the calling thread go: its [`NamespaceSet`]. A thread without a set of its own, as good
//! as every one, hands on what it has. Kinds that a thread can really change (uts, mnt, net and so on) are to become fields
//! of the set beside `pid_for_children`, and the set is then shared between a thread and its children as Linux's nsproxy is.
//!
//! The initial namespace is represented by nothing at all ([`PidNs`]), so a system without others counts no references
//! and follows no pointers for it.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ostd::sync::SpinLock;

use super::{Process, Thread};
use crate::lock_order;

pub mod change;
pub mod death;
pub mod pid;
#[cfg(feature = "ktest")]
mod tests;

pub use pid::PidNs;

/// The namespaces that a thread's next children get.
#[derive(Clone)]
pub struct NamespaceSet {
    pub pid_for_children: PidNs,
}

impl NamespaceSet {
    /// What a child gets if nothing was changed.
    fn of(process: &Process) -> NamespaceSet {
        NamespaceSet { pid_for_children: process.pid_ns().clone() }
    }
}

/// A thread's set, if it has one of its own. Changed by the thread itself only.
pub struct ThreadNamespaces {
    /// Whether there is one: read without the lock.
    own: AtomicBool,
    set: SpinLock<Option<NamespaceSet>>,
}

impl ThreadNamespaces {
    pub(super) fn new() -> ThreadNamespaces {
        ThreadNamespaces { own: AtomicBool::new(false), set: SpinLock::new(lock_order::PROCESS_MISC, None) }
    }

    fn replace(&self, set: Option<NamespaceSet>) {
        self.own.store(set.is_some(), Relaxed);
        let old = core::mem::replace(&mut *self.set.lock(), set);
        drop(old);
    }
}

impl Thread {
    /// The namespaces of the next children.
    pub fn namespaces(&self) -> NamespaceSet {
        let own = match self.namespaces.own.load(Relaxed) {
            true => self.namespaces.set.lock().clone(),
            false => None,
        };
        own.unwrap_or_else(|| NamespaceSet::of(&self.process))
    }

    /// Whether its next children get into another pid namespace than its own.
    pub fn children_leave_pid_ns(&self) -> bool {
        self.namespaces.own.load(Relaxed) && self.namespaces().pid_for_children.id() != self.process.ns()
    }

    fn set_namespaces(&self, set: NamespaceSet) {
        let changed = set.pid_for_children.id() != self.process.ns();
        self.namespaces.replace(changed.then_some(set));
    }

    /// The thread exits and makes no children any more.
    pub(super) fn release_namespaces(&self) {
        if self.namespaces.own.load(Relaxed) {
            self.namespaces.replace(None);
        }
    }
}
