//! API skeleton.
#![allow(unused_variables, dead_code, clippy::todo)]
use crate::arena::{Arena, Chunk, NoMemory, NsId, PidId, ProcId, ThreadId, marker};
use crate::kernel::{Body, Error, Ids, Kernel, Reaped, Sink};
use crate::node::{Process, Thread};
use crate::pid::{NumberSpace, Numbers, Pid};

/// The process table.
pub struct Table<K: Kernel> {
    pub(crate) processes: Arena<marker::Process, Process<K>>,
    pub(crate) threads: Arena<marker::Thread, Thread<K>>,
    pub(crate) pids: Arena<marker::Pid, Pid>,
}

/// Memory for more nodes, allocated outside the caller's lock.
pub struct Supply<K: Kernel> {
    processes: Option<Chunk<Process<K>>>,
    threads: Option<Chunk<Thread<K>>>,
    pids: Option<Chunk<Pid>>,
}

impl<K: Kernel> Supply<K> {
    /// Allocates.
    pub fn try_new() -> Result<Self, NoMemory> {
        Ok(Supply {
            processes: Some(Chunk::try_new()?),
            threads: Some(Chunk::try_new()?),
            pids: Some(Chunk::try_new()?),
        })
    }
}

/// A process to be linked by [`Table::fork`].
pub struct NewProcess<K: Kernel> {
    /// From [`Table::alloc_pid`]; used up on success, still the caller's (to use again or cancel) on failure.
    pub pid: PidId,
    /// The payload.
    pub process: K::Process,
    /// The payload of its only thread.
    pub thread: K::Thread,
    /// The signal for the parent; ignored with `sibling` (6.4).
    pub exit_signal: u8,
    /// CLONE_PARENT: the caller's parent becomes the child's parent.
    pub sibling: bool,
}

/// What is left for the caller to drop, outside its lock, when an operation is refused.
pub struct Refused<T> {
    /// Why.
    pub error: Error,
    /// What was to be put into the table.
    pub given: T,
}

/// What [`Table::exit`] did.
pub struct Exited<K: Kernel> {
    /// The payload of the thread.
    pub thread: K::Thread,
    /// How the process fares.
    pub fate: Fate<K>,
}

/// What an exit made of the process.
pub enum Fate<K: Kernel> {
    /// Other threads go on.
    Lives,
    /// It is a zombie; here is its payload, to be dropped outside the lock.
    Zombie(K::Process),
    /// Its parent ignores it: it has left the table.
    Autoreaped(K::Process, Reaped<K>),
}

/// Which children a wait is for (rules 4.2-4.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitFor {
    /// The children.
    pub who: Who,
    /// WEXITED
    pub exited: bool,
    /// WSTOPPED, WUNTRACED
    pub stopped: bool,
    /// WCONTINUED
    pub continued: bool,
    /// none, __WCLONE, __WALL
    pub class: Class,
    /// __WNOTHREAD
    pub own_only: bool,
}

/// The children a wait is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Any child.
    Any,
    /// This process (P_PID, P_PIDFD). A stale id is nobody's child.
    Process(ProcId),
    /// The members of this group. A stale id has none.
    Pgrp(PidId),
}

/// Children by exit signal (rule 4.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// SIGCHLD only.
    Normal,
    /// __WCLONE: all others.
    Clone,
    /// __WALL: both.
    All,
}

/// What a wait found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// No such child: ECHILD.
    NoChild,
    /// There are such children, but none has anything to report: block, or return 0.
    Nothing,
    /// To be reaped with [`Table::reap`] (unless WNOWAIT).
    Zombie(ProcId),
    /// Group-stopped by this signal; [`Table::take_report`] consumes it (unless WNOWAIT).
    Stopped(ProcId, u8),
    /// Continued; [`Table::take_report`] consumes it (unless WNOWAIT).
    Continued(ProcId),
}

/// The pgid argument of setpgid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewPgrp {
    /// 0, or the same number as the target's.
    Own,
    /// Another number: the pid it resolved to, if any.
    Other(Option<PidId>),
}

impl<K: Kernel> Table<K> {
    // ---- memory -------------------------------------------------------------------------------------------------

    /// A table with the initial namespace and no process. Allocates.
    pub fn try_new(numbers: NumberSpace) -> Result<(Self, NsId), NoMemory> {
        todo!()
    }
    /// Fewer than 8 free slots of some kind: supply more before the next clone. Checked at every clone, cheap.
    pub fn is_short(&self) -> bool {
        todo!()
    }
    /// Takes from the supply what is needed. The caller drops the rest outside its lock.
    pub fn supply(&mut self, supply: &mut Supply<K>) -> Result<(), NoMemory> {
        todo!()
    }

    // ---- pids and namespaces -------------------------------------------------------------------------------------

    /// Takes numbers in `ns` and all above it. `numbers` is from [`Numbers::for_level`] with the level of `ns`.
    /// EAGAIN: exhausted; ENOMEM: the namespace's init is dead (6.14) or no slot.
    pub fn alloc_pid(&mut self, ns: NsId, numbers: Numbers) -> Result<PidId, Refused<Numbers>> {
        todo!()
    }
    /// The same with given numbers, innermost first, for the innermost levels (clone3's set_tid, rule 6.7).
    /// `permitted` is asked for each such namespace after the range checks. EINVAL, EPERM, EEXIST besides.
    pub fn alloc_pid_exact(
        &mut self,
        ns: NsId,
        numbers: Numbers,
        tids: &[u32],
        permitted: &mut dyn FnMut(NsId) -> bool,
    ) -> Result<PidId, Refused<Numbers>> {
        todo!()
    }
    /// Gives a pid back that was not used.
    pub fn cancel_pid(&mut self, pid: PidId) -> Option<Numbers> {
        todo!()
    }
    /// A namespace below `parent`. ENOSPC beyond 32 levels; ENOMEM: no slot.
    pub fn add_namespace(
        &mut self,
        parent: NsId,
        numbers: NumberSpace,
    ) -> Result<NsId, Refused<NumberSpace>> {
        todo!()
    }
    /// Removes a namespace without pids and namespaces below; the caller drops the rest outside its lock.
    pub fn remove_namespace(&mut self, ns: NsId) -> Option<NumberSpace> {
        todo!()
    }
    /// No more pids in this namespace (its init is dying, 9.6).
    pub fn disable_namespace(&mut self, ns: NsId) {
        todo!()
    }
    /// 0 for the initial namespace.
    pub fn ns_level(&self, ns: NsId) -> u32 {
        todo!()
    }
    /// The init of a namespace, once there is one and until it is reaped.
    pub fn ns_init(&self, ns: NsId) -> Option<ProcId> {
        todo!()
    }
    /// Pids in the namespace and below it: the init of a dying one waits until this is the number of its own threads (9.6).
    pub fn ns_pids(&self, ns: NsId) -> usize {
        todo!()
    }
    /// The numbers of a namespace: pid_max, last.
    pub fn ns_numbers(&mut self, ns: NsId) -> Option<&mut NumberSpace> {
        todo!()
    }
    /// The number of a pid as seen from a namespace, 0 if it is not visible there.
    pub fn nr(&self, pid: PidId, ns: NsId) -> u32 {
        todo!()
    }
    /// The process whose tgid this is, zombies included.
    pub fn pid_process(&self, pid: PidId) -> Option<ProcId> {
        todo!()
    }
    /// The thread whose tid this is; not those of zombies.
    pub fn pid_thread(&self, pid: PidId) -> Option<ThreadId> {
        todo!()
    }

    // ---- birth ---------------------------------------------------------------------------------------------------

    /// The first process, whose parent is nobody, in group and session 0.
    pub fn add_init(&mut self, new: NewProcess<K>) -> Result<Ids, Refused<NewProcess<K>>> {
        todo!()
    }
    /// Links a child of the thread `caller` (or of its parent). ENOMEM: namespace dead, or no slot. EINVAL: `sibling` of an
    /// init (6.2). ESRCH: stale ids. Sets `has_child_subreaper` and the ppid of the payload.
    pub fn fork(
        &mut self,
        caller: ThreadId,
        new: NewProcess<K>,
    ) -> Result<Ids, Refused<NewProcess<K>>> {
        todo!()
    }
    /// Links another thread of the caller's process.
    pub fn clone_thread(
        &mut self,
        caller: ThreadId,
        pid: PidId,
        thread: K::Thread,
    ) -> Result<Ids, Refused<K::Thread>> {
        todo!()
    }
    /// The point of no return of execve by `thread`, when all other threads have exited (a dead leader may remain: `thread`
    /// takes over its pid, 10.12). Exit signal becomes SIGCHLD, exec ids move on, setpgid by the parent ends.
    /// EAGAIN: other threads are left.
    pub fn exec(&mut self, thread: ThreadId, sink: &mut impl Sink<K>) -> Result<(), Error> {
        todo!()
    }

    // ---- death ---------------------------------------------------------------------------------------------------

    /// The thread begins to exit: it adopts nobody any more (2.2). Returns how many threads of its process have not begun.
    pub fn mark_exiting(&mut self, thread: ThreadId) -> Option<u32> {
        todo!()
    }
    /// The thread is gone: reparents its children, and if it is the last one, makes its process a zombie or has it
    /// vanish, and tells the parent; all of section 2 and 2.12's order. `record` is asked for if it is the last.
    /// `None`: stale id, or the global init's last thread (which must not exit, 2.19).
    pub fn exit(
        &mut self,
        thread: ThreadId,
        record: impl FnOnce(&K::Process) -> K::Record,
        sink: &mut impl Sink<K>,
    ) -> Option<Exited<K>> {
        todo!()
    }
    /// PR_SET_PDEATHSIG (0 clears).
    pub fn set_pdeath(&mut self, thread: ThreadId, signal: u8) {
        todo!()
    }
    /// PR_GET_PDEATHSIG
    pub fn pdeath(&self, thread: ThreadId) -> u8 {
        todo!()
    }
    /// PR_SET_CHILD_SUBREAPER
    pub fn set_child_subreaper(&mut self, process: ProcId, on: bool) {
        todo!()
    }

    // ---- wait ----------------------------------------------------------------------------------------------------

    /// Looks for a child to report, in Linux's order (4.8-4.15). Changes nothing.
    pub fn find_child(&self, caller: ThreadId, what: &WaitFor) -> Found {
        todo!()
    }
    /// Takes a zombie out of the table. `None`: stale, or not a zombie.
    pub fn reap(&mut self, zombie: ProcId, sink: &mut impl Sink<K>) -> Option<Reaped<K>> {
        todo!()
    }
    /// Consumes the stop or continue report of a child.
    pub fn take_report(&mut self, child: ProcId) {
        todo!()
    }

    // ---- stop and continue ---------------------------------------------------------------------------------------

    /// A group stop is complete: the last thread stopped. Tells the parent.
    pub fn stopped(&mut self, process: ProcId, signal: u8, sink: &mut impl Sink<K>) {
        todo!()
    }
    /// SIGCONT was generated, and ended or aborted a group stop: a continue report is due at once. The parent is told
    /// later, by [`notify_parent`](Self::notify_parent), when a thread runs again (5.3).
    pub fn continued(&mut self, process: ProcId) {
        todo!()
    }
    /// The process was killed while stopped: no stop, no report (3.19).
    pub fn void_stop(&mut self, process: ProcId) {
        todo!()
    }
    /// Completed group stop, not continued yet.
    pub fn is_stopped(&self, process: ProcId) -> bool {
        todo!()
    }
    /// Signals and wakes the parent for a stop or continue (5.2, 5.4) without changing reports.
    pub fn notify_parent(
        &mut self,
        process: ProcId,
        change: crate::ChildChange,
        sink: &mut impl Sink<K>,
    ) {
        todo!()
    }

    // ---- process groups and sessions ------------------------------------------------------------------------------

    /// setpgid by `caller`. `target` is the pid its first argument resolved to (the caller's own for 0); ESRCH for one that
    /// does not resolve is the caller's. Errors: 8.2-8.4.
    pub fn setpgid(
        &mut self,
        caller: ThreadId,
        target: PidId,
        pgrp: NewPgrp,
        sink: &mut impl Sink<K>,
    ) -> Result<(), Error> {
        todo!()
    }
    /// setsid: the new session's pid (8.6). EPERM.
    pub fn setsid(&mut self, caller: ThreadId, sink: &mut impl Sink<K>) -> Result<PidId, Error> {
        todo!()
    }
    /// The process group.
    pub fn pgrp(&self, process: ProcId) -> Option<PidId> {
        todo!()
    }
    /// The session.
    pub fn session(&self, process: ProcId) -> Option<PidId> {
        todo!()
    }
    /// Called setsid.
    pub fn is_session_leader(&self, process: ProcId) -> bool {
        todo!()
    }
    /// The session of a process group that has members.
    pub fn pgrp_session(&self, pgrp: PidId) -> Option<PidId> {
        todo!()
    }
    /// No member has a parent outside the group but inside the session (2.20).
    pub fn is_orphaned_pgrp(&self, pgrp: PidId) -> bool {
        todo!()
    }
    /// Members, zombies included, newest first.
    pub fn pgrp_members(&self, pgrp: PidId) -> impl Iterator<Item = ProcId> + '_ {
        core::iter::empty()
    }

    // ---- look around -----------------------------------------------------------------------------------------------

    /// Payload or record.
    pub fn body(&self, process: ProcId) -> Option<Body<&K::Process, &K::Record>> {
        todo!()
    }
    /// The record of a zombie, to change.
    pub fn record_mut(&mut self, process: ProcId) -> Option<&mut K::Record> {
        todo!()
    }
    /// The payload of a thread that has not exited.
    pub fn thread(&self, thread: ThreadId) -> Option<&K::Thread> {
        todo!()
    }
    /// The process of a thread.
    pub fn process_of(&self, thread: ThreadId) -> Option<ProcId> {
        todo!()
    }
    /// The pid of a process.
    pub fn pid(&self, process: ProcId) -> Option<PidId> {
        todo!()
    }
    /// The pid of a thread.
    pub fn tid(&self, thread: ThreadId) -> Option<PidId> {
        todo!()
    }
    /// The pid namespace.
    pub fn namespace(&self, process: ProcId) -> Option<NsId> {
        todo!()
    }
    /// The real parent; `None` for the global init.
    pub fn parent(&self, process: ProcId) -> Option<Ids> {
        todo!()
    }
    /// Stat field 38.
    pub fn exit_signal(&self, process: ProcId) -> Option<u8> {
        todo!()
    }
    /// Threads, a dead leader included (leader first, then creation order); none in a zombie.
    pub fn threads(&self, process: ProcId) -> impl Iterator<Item = ThreadId> + '_ {
        core::iter::empty()
    }
    /// How many.
    pub fn thread_count(&self, process: ProcId) -> usize {
        todo!()
    }
    /// Children of one thread, in list order.
    pub fn children(&self, thread: ThreadId) -> impl Iterator<Item = ProcId> + '_ {
        core::iter::empty()
    }
    /// All processes, zombies included, in order of creation.
    pub fn processes(&self) -> impl Iterator<Item = ProcId> + '_ {
        core::iter::empty()
    }
    /// Those visible in a namespace.
    pub fn processes_in(&self, ns: NsId) -> impl Iterator<Item = ProcId> + '_ {
        core::iter::empty()
    }
    /// All descendants, parents before children; not the process itself.
    pub fn descendants(&self, process: ProcId) -> impl Iterator<Item = ProcId> + '_ {
        core::iter::empty()
    }
    /// How many processes (zombies included), threads, pids there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        todo!()
    }
    /// Walks everything and says what is inconsistent (I1-I12 as far as the table sees them).
    pub fn check_invariants(&self) -> Result<(), alloc::string::String> {
        todo!()
    }
}
