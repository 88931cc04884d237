//! What the table needs from the kernel: its types, a few questions about a process, and a sink for effects.
//!
//! The table decides *that* something happens and in which order; the kernel does it. A [`Sink`] is called
//! during an operation, under the caller's lock, and gets references into the table: it can't call the table
//! again (the borrow checker sees to that), must not sleep, and should not allocate or free.

use crate::{
    arena::{NsId, PidId, ProcId, ThreadId},
    pid::{NumberSpace, Numbers},
};
use alloc::sync::Arc;

/// The caller's types.
pub trait Kernel {
    /// What a live process carries, for example an `Arc` of the kernel's process.
    type Process: ProcessPayload;
    /// What a live thread carries.
    type Thread;
    /// All that is left of a dead process until it is reaped: exit status, uid, times, name.
    type Record;
}

/// What the table asks a live process, and what it writes to it.
///
/// The values live in the payload, not in the table, so that they can be *read* without the table's lock
/// (`PR_GET_CHILD_SUBREAPER`, `getppid`). They are *written* only by the table, under its lock: relaxed
/// atomics suffice.
pub trait ProcessPayload {
    /// Adopts the orphans of its descendants (rule 1.3).
    fn is_child_subreaper(&self) -> bool;
    /// Only the table calls this: [`Table::set_child_subreaper`](crate::Table::set_child_subreaper).
    fn set_child_subreaper(&self, on: bool);
    /// Was ever a descendant of a subreaper: sticky (rule 1.13).
    fn has_child_subreaper(&self) -> bool;
    /// Only the table calls this.
    fn set_has_child_subreaper(&self);
    /// The number of the parent in the process's own pid namespace, 0 if it is not in it: what `getppid`
    /// answers (2.18). Only the table calls this, at fork and whenever the parent becomes another process.
    fn set_ppid(&self, ppid: u32);
    /// It never becomes a zombie: it is released when it dies, and its parent is woken but not signalled, whoever
    /// that is then and whatever it does with other children (CLONE_AUTOREAP).
    fn is_autoreaped(&self) -> bool {
        false
    }
    /// What the process does with its dead children, at this moment (rules 4.23, 5.7).
    fn child_policy(&self) -> ChildPolicy;
}

impl<T: ProcessPayload + ?Sized> ProcessPayload for Arc<T> {
    fn is_child_subreaper(&self) -> bool {
        (**self).is_child_subreaper()
    }
    fn set_child_subreaper(&self, on: bool) {
        (**self).set_child_subreaper(on);
    }
    fn has_child_subreaper(&self) -> bool {
        (**self).has_child_subreaper()
    }
    fn set_has_child_subreaper(&self) {
        (**self).set_has_child_subreaper();
    }
    fn set_ppid(&self, ppid: u32) {
        (**self).set_ppid(ppid);
    }
    fn is_autoreaped(&self) -> bool {
        (**self).is_autoreaped()
    }
    fn child_policy(&self) -> ChildPolicy {
        (**self).child_policy()
    }
}

/// What a parent does with children that die with exit signal SIGCHLD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildPolicy {
    /// They become zombies, and it is signalled.
    Wait,
    /// SIGCHLD is SIG_IGN: they vanish, no signal.
    Ignore,
    /// SA_NOCLDWAIT: they vanish, but it is signalled.
    NoWait,
}

/// What a signal did to the group stop of its target, so that the table can keep its books.
///
/// SIGCONT ends a group stop when it is *generated*, SIGKILL (and any fatal signal) voids it. Signals sent
/// through a [`Sink`] can be either: the sink says so, and the table does what
/// [`Table::continued`](crate::Table::continued) or [`Table::void_stop`](crate::Table::void_stop) would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// It ended or aborted a group stop: a continue report is due (rule 4.13).
    Continued,
    /// It killed the process: the stop is void (rule 3.19).
    Killed,
}

/// A change of a child that its parent hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChildChange {
    /// All its threads are dead: see the record.
    Exited,
    /// A group stop is complete, by this signal.
    Stopped(u8),
    /// It runs again.
    Continued,
}

/// The thread that a child's signal is addressed to: the real parent thread (rule 5.10).
pub struct Parent<'a, K: Kernel> {
    /// The process to be signalled, and whose waiters are woken.
    pub process: &'a K::Process,
    /// Its thread that owns the child; `None` while that is a dead leader.
    pub thread: Option<&'a K::Thread>,
    /// The process's handle.
    pub id: ProcId,
}

/// The child that an event is about, with the ingredients of a siginfo.
pub struct Child<'a, K: Kernel> {
    /// The process's handle.
    pub id: ProcId,
    /// Its number in the parent's pid namespace; 0 if only waiters are to be woken.
    pub pid: u32,
    /// Its process group, for waiters that ask for one.
    pub pgrp: PidId,
    /// What happened.
    pub change: ChildChange,
    /// What it left behind, if it is dead, else its payload.
    pub body: Body<&'a K::Process, &'a K::Record>,
}

/// What a process node carries: illegal states have no representation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<P, R> {
    /// At least one thread has not exited.
    Live(P),
    /// All threads have.
    Zombie(R),
}

/// The dying thread's process, as the sender of parent-death signals (rule 1.24).
pub struct Dying<'a, K: Kernel> {
    /// Its payload (for si_uid and the permission check, rule 1.26).
    pub process: &'a K::Process,
    /// Its number in the receiver's pid namespace, 0 if invisible.
    pub pid: u32,
    /// It is in the receiver's session: SIGCONT needs no other permission.
    pub same_session: bool,
}

/// A process that left the table.
pub struct Reaped<K: Kernel> {
    /// Its handle: stale from now on.
    pub id: ProcId,
    /// What it left.
    pub record: K::Record,
    /// Its number in the pid namespace of its parent, as it was (rule 4.34). The number itself may be in use still (rule 0.4).
    pub pid: u32,
}

/// Where effects go, in the order of the spec.
pub trait Sink<K: Kernel> {
    /// Send `signal` to the process `to`: its parent thread died (rules 1.22-1.26). `thread` is the one that
    /// asked for it. si_code SI_USER. The receiver's `ppid` is the new one already.
    fn parent_death(
        &mut self,
        to: &K::Process,
        thread: Option<&K::Thread>,
        signal: u8,
        from: Dying<'_, K>,
    ) -> Effect;

    /// Whether a parent would take `signal` from a child at this moment. If not, [`child_signal`](Self::child_signal) is
    /// not called: whoever adopts a thousand zombies has a thousand of them.
    fn wants_child_signal(&mut self, _to: &Parent<'_, K>, _signal: u8) -> bool {
        true
    }

    /// Send `signal` to the parent of a child that exited (its exit signal, 5.8) or stopped or continued
    /// (SIGCHLD; not if the parent ignores it or has SA_NOCLDSTOP: the sink looks, rule 5.2).
    /// [`wake_waiters`](Self::wake_waiters) follows.
    fn child_signal(&mut self, to: &Parent<'_, K>, signal: u8, child: &Child<'_, K>) -> Effect;

    /// Wake the threads of `parent` that wait for `child`, whatever it does with signals (rule 5.12).
    fn wake_waiters(&mut self, parent: &Parent<'_, K>, child: &Child<'_, K>);

    /// Send SIGHUP or SIGCONT to a member of a newly orphaned process group, SI_KERNEL (rule 2.24). Zombies
    /// are left out.
    fn orphaned_pgrp(&mut self, to: &K::Process, signal: u8) -> Effect;

    /// A process was reaped without a wait, since its parent ignores its children (rules 2.11, 4.23).
    fn autoreaped(&mut self, gone: Reaped<K>);

    /// Nobody uses this number of a namespace any more; it can be given out again, at once. Called for each level of a
    /// pid, the innermost first.
    fn number_freed(&mut self, ns: NsId, nr: u32);

    /// All numbers of this pid are free.
    fn pid_freed(&mut self, pid: PidId, numbers: Numbers);

    /// A namespace without users is gone; its numbers are to be dropped outside the lock.
    fn namespace_freed(&mut self, numbers: NumberSpace);

    /// All pids of the namespace but those of its init's threads are free: wake the init, if it waits for
    /// this to exit (9.6).
    fn namespace_quiet(&mut self, ns: NsId, init: Option<&K::Process>);
}

/// Identity of a thread for a sink that wants one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// The process.
    pub process: ProcId,
    /// Its thread.
    pub thread: ThreadId,
    /// The thread's pid.
    pub pid: PidId,
}

/// Why an operation was refused; the number is the errno.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Error {
    /// EPERM
    Perm = 1,
    /// ESRCH
    Srch = 3,
    /// EAGAIN: pid numbers exhausted
    Again = 11,
    /// ENOMEM: no slot (see [`Table::is_short`](crate::Table::is_short)), or the namespace is dead (rule
    /// 6.14)
    NoMem = 12,
    /// EACCES
    Access = 13,
    /// EEXIST
    Exist = 17,
    /// EINVAL
    Inval = 22,
    /// ENOSPC: namespaces nested too deeply
    NoSpace = 28,
}

impl Error {
    /// The Linux error number.
    pub const fn errno(self) -> i32 {
        self as i32
    }
}
