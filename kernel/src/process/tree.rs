//! The process table: the one value that holds the tree, and the lock in front of it.
//!
//! The pure crate `proctree` knows who is whose child and what follows from a death; here it gets its lock, the kernel's
//! processes as payload, and hands and feet: [`Effects`] sends the signals, wakes the waiters and frees the numbers that the
//! table decides on, in its order, while the lock is held (rule 0.5).
//!
//! # Locks
//! [`lock`] has rank `TABLE`: pid buckets and signal state are locked inside it. It is held for what changes together and
//! never while user memory is touched. What a table operation gives back (payloads, records) is dropped after unlocking.

use ostd::sync::{SpinLock, SpinLockGuard};
use proctree::{
    Body, Child, ChildChange, Dying, Effect, Kernel, NsId, NumberSpace, Numbers, Parent, PidId, ProcId,
    Reaped, Sink, Supply,
};
use spin::Once;

use super::{
    Credentials, ExitRecord, Process, Thread, pid,
    signal::{
        self, CLD_CONTINUED, CLD_STOPPED, Notice, SIGCHLD, SIGCONT, SaFlags, SigInfo, SigchldDisposition,
        Signo, send_member_in_sink, send_process_in_sink,
    },
    usage,
};
use crate::{lock_order, prelude::*};

/// The kernel's types, for the table.
pub struct Foster;

impl Kernel for Foster {
    type Process = Arc<Process>;
    type Thread = Arc<Thread>;
    type Record = Box<ExitRecord>;
}

pub type Table = proctree::Table<Foster>;

/// Numbers below this are given out in the initial namespace unless /proc/sys/kernel/pid_max says otherwise.
pub const PID_MAX: u32 = 32768;
/// What pid_max can be set to, and what it is in any other namespace (rule 6.17).
pub const PID_MAX_LIMIT: u32 = 4 << 20;
pub const PID_MAX_MIN: u32 = 301;

struct Root {
    table: SpinLock<Table>,
    ns: NsId,
}

static ROOT: Once<Root> = Once::new();

/// Makes the empty table. Once, at boot.
///
/// # Errors
/// `ENOMEM`.
pub fn init() -> Result<()> {
    let numbers = NumberSpace::try_new(PID_MAX)?;
    let (mut table, ns) = Table::try_new(numbers)?;
    table.supply(&mut Supply::try_new()?)?;
    ROOT.call_once(|| Root { table: SpinLock::new(lock_order::TABLE, table), ns });
    Ok(())
}

fn root() -> &'static Root {
    ROOT.get().expect("made before the first process")
}

/// Locks the process table.
pub fn lock() -> SpinLockGuard<'static, Table> {
    root().table.lock()
}

/// Locks the process table when it has slots for one more of everything.
///
/// # Errors
/// `ENOMEM`.
pub fn lock_with_room() -> Result<SpinLockGuard<'static, Table>> {
    let mut table = lock();
    if table.is_short() {
        // Whoever takes slots looks here at every time: what another one takes meanwhile is in the reserve.
        drop(table);
        let mut supply = Supply::try_new()?;
        table = lock();
        let supplied = table.supply(&mut supply);
        if supplied.is_err() {
            drop(table);
            return Err(ENOMEM);
        }
        // What is left of the supply is small: it is dropped with the table locked.
    }
    Ok(table)
}

/// As [`lock_with_room`], and `ns` and those above it can give out another number (or those of `set_tid`).
///
/// # Errors
/// `ENOMEM`.
pub fn lock_with_numbers(ns: NsId, set_tid: &[u32]) -> Result<SpinLockGuard<'static, Table>> {
    loop {
        let mut table = lock_with_room()?;
        let Some((short, room)) = table.short_of_numbers(ns, set_tid) else {
            return Ok(table);
        };
        drop(table);
        let longer = NumberSpace::try_with_room(room, room)?;
        table = lock();
        let old = table.ns_numbers(short).map(|numbers| numbers.grow(longer));
        drop(table);
        drop(old);
    }
}

/// The initial pid namespace.
pub fn root_ns() -> NsId {
    root().ns
}

impl From<proctree::Error> for Errno {
    fn from(error: proctree::Error) -> Errno {
        Errno::try_from(error.errno() as usize).unwrap_or(EINVAL)
    }
}

impl From<proctree::NoMemory> for Errno {
    fn from(_: proctree::NoMemory) -> Errno {
        ENOMEM
    }
}

/// Carries out what the table decides, under its lock.
#[derive(Default)]
pub struct Effects {
    /// The sender of parent-death signals: the dying thread's.
    sender: Option<Arc<Credentials>>,
    /// What was found behind a freed number. Its memory is freed with `Effects`, after the lock was released.
    pub(super) freed: pid::Held,
    /// Whether a parent throws SIGCHLD away.
    unwanted: Option<(ProcId, bool)>,
    /// The numbers of namespaces that went.
    spaces: Vec<NumberSpace>,
    #[cfg(feature = "ktest")]
    _walk: super::check::Walk,
}

impl Effects {
    /// For operations that end no thread.
    pub fn new() -> Effects {
        Effects::default()
    }

    /// For the exit of `thread`.
    pub fn of_exit(thread: &Thread) -> Effects {
        Effects { sender: Some(thread.creds()), ..Effects::default() }
    }
}

impl Effects {
    /// Whether a parent throws SIGCHLD away. Whoever adopts a thousand zombies in one operation is asked once.
    fn is_unwanted_by(&mut self, parent: &Parent<'_, Foster>) -> bool {
        match self.unwanted {
            Some((id, unwanted)) if id == parent.id => unwanted,
            _ => {
                let unwanted = signal::is_unwanted(parent.process, parent.thread, SIGCHLD);
                self.unwanted = Some((parent.id, unwanted));
                unwanted
            }
        }
    }
}

impl Sink<Foster> for Effects {
    fn parent_death(
        &mut self,
        to: &Arc<Process>,
        thread: Option<&Arc<Thread>>,
        signal: u8,
        from: Dying<'_, Foster>,
    ) -> Effect {
        let sender = match &self.sender {
            Some(creds) => creds.clone(),
            None => from.process.creds(),
        };
        let target = thread.map_or_else(|| to.creds(), |thread| thread.creds());
        if !(sender.may_signal(&target) || signal == SIGCONT && from.same_session) {
            return Effect::None;
        }
        send_process_in_sink(to, thread, SigInfo::kill(signal, from.pid, sender.uid))
    }

    fn wants_child_signal(&mut self, to: &Parent<'_, Foster>, signal: u8) -> bool {
        signal != SIGCHLD || !self.is_unwanted_by(to)
    }

    fn child_signal(&mut self, to: &Parent<'_, Foster>, signal: u8, child: &Child<'_, Foster>) -> Effect {
        match child_info(to.process, signal, child) {
            Some(info) => send_process_in_sink(to.process, to.thread, info),
            None => Effect::None,
        }
    }

    fn wake_waiters(&mut self, parent: &Parent<'_, Foster>, _child: &Child<'_, Foster>) {
        parent.process.child_wait.wake_all();
    }

    fn orphaned_pgrp(&mut self, to: &Arc<Process>, signal: u8) -> Effect {
        send_member_in_sink(to, SigInfo::kernel(signal))
    }

    fn autoreaped(&mut self, gone: Reaped<Foster>) {
        gone.record.tell_pidfds();
        gone.record.release();
    }

    fn number_freed(&mut self, ns: NsId, nr: u32) {
        let held = pid::remove(ns, nr);
        if held.thread.is_some() {
            self.freed.thread = held.thread;
        }
        if held.pid_ref.is_some() {
            self.freed.pid_ref = held.pid_ref;
        }
    }

    fn pid_freed(&mut self, _pid: PidId, _numbers: Numbers) {}

    fn namespace_freed(&mut self, numbers: NumberSpace) {
        self.spaces.push(numbers);
    }

    fn namespace_quiet(&mut self, _ns: NsId, init: Option<&Arc<Process>>) {
        if let Some(init) = init {
            init.child_wait.wake_all();
        }
    }
}

/// What the parent's handler reads about a child (rules 5.1, 5.2). `None`: the parent doesn't want to hear of a stop or
/// continue.
fn child_info(parent: &Process, signo: Signo, child: &Child<'_, Foster>) -> Option<SigInfo> {
    let (code, status) = match child.change {
        ChildChange::Exited => match &child.body {
            Body::Zombie(record) => SigInfo::child_code(record.status),
            Body::Live(_) => return None,
        },
        ChildChange::Stopped(signo) => (CLD_STOPPED, signo as i32),
        ChildChange::Continued => (CLD_CONTINUED, SIGCONT as i32),
    };
    let (uid, times) = match &child.body {
        Body::Zombie(record) => (record.creds.uid, record.own_ticks()),
        Body::Live(process) => {
            if !wants_stop_notices(parent) {
                return None;
            }
            (process.creds().uid, usage::of_process(process).ticks())
        }
    };
    Some(SigInfo::child(signo, code, child.pid, uid, status, times))
}

fn wants_stop_notices(parent: &Process) -> bool {
    let sighand = parent.signals.sighand();
    let quiet = sighand.get(SIGCHLD).flags.contains(SaFlags::NOCLDSTOP);
    !quiet && sighand.sigchld() != SigchldDisposition::Ignored
}

// ---- stop and continue, for the signal code ---------------------------------------------------------------------

/// SIGCONT was generated for `process` and ended or aborted a stop: its parent may wait for that (rule 4.13).
pub fn mark_continued(table: &mut Table, process: &Process) {
    table.continued(process.id());
}

/// `process` was killed while stopped (rule 3.19).
pub fn void_stop(table: &mut Table, process: &Process) {
    table.void_stop(process.id());
}

/// The last thread of `process` stopped: tells the parent (rule 5.3). The table was locked before the thread was marked, so
/// that whoever sees the process stopped can wait for the stop, and a SIGCONT comes either before or after both.
pub fn report_stopped(mut table: SpinLockGuard<'static, Table>, process: &Process, signo: Signo) {
    let mut effects = Effects::new();
    table.stopped(process.id(), signo, &mut effects);
    drop(table);
}

/// The first thread of `process` runs again: tells the parent (rules 5.3, 5.4).
pub fn report_continued(process: &Process, notice: Notice) {
    let change = match notice {
        Notice::Continued => ChildChange::Continued,
        Notice::StopAborted => ChildChange::Stopped(0),
    };
    let mut effects = Effects::new();
    lock().notify_parent(process.id(), change, &mut effects);
}

// ---- groups and sessions ---------------------------------------------------------------------------------------

/// The process group of a process that is in the table.
pub fn pgrp_of(process: &Process) -> Option<PidId> {
    lock().pgrp(process.id())
}

/// The session of a process that is in the table.
pub fn session_of(process: &Process) -> Option<PidId> {
    lock().session(process.id())
}

pub fn is_session_leader(process: &Process) -> bool {
    lock().is_session_leader(process.id())
}

/// The number of a pid in the caller's namespace; 0 if it has none there, or is stale.
pub fn pid_nr(pid: PidId) -> u32 {
    let ns = Thread::try_current().map_or_else(root_ns, |thread| thread.process.ns());
    lock().nr(pid, ns)
}

/// Whether the default action of a terminal's stop signal does not apply to `process` (rule 7.20).
pub fn in_orphaned_pgrp(process: &Process) -> bool {
    let table = lock();
    table.pgrp(process.id()).is_some_and(|pgrp| table.is_orphaned_pgrp(pgrp))
}

pub fn same_session(one: &Process, other: &Process) -> bool {
    same_session_in(&lock(), one, other)
}

/// As [`same_session`], with the table locked by the caller.
pub fn same_session_in(table: &Table, one: &Process, other: &Process) -> bool {
    let session = table.session(one.id());
    session.is_some() && session == table.session(other.id())
}

/// A process group, as kill(2) names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The caller's.
    Own,
    Number(u32),
    /// That of a pidfd: the number may be another group's by now.
    Exact(PidId),
}

/// The members of a group. Drop them with the table unlocked.
pub fn group_members(table: &Table, caller: &Process, group: Group) -> Members {
    let number = match group {
        Group::Own => None,
        Group::Exact(pid) => Some(pid),
        Group::Number(nr) => match pid::lookup(caller.ns(), nr) {
            Some(pid) => Some(pid),
            None => return Members::default(),
        },
    };
    match number.or_else(|| table.pgrp(caller.id())) {
        Some(pgrp) => members(table, table.pgrp_members(pgrp)),
        None => Members::default(),
    }
}

/// Sends `info` to every live member of a process group, atomically with regard to forks and moves (rule 13.13). Returns
/// whether there was any.
pub fn signal_pgrp(pgrp: PidId, info: &SigInfo) -> bool {
    let mut table = lock();
    let members = members(&table, table.pgrp_members(pgrp)).live;
    for member in &members {
        signal::send_member_in_table(&mut table, member, info.clone());
    }
    drop(table);
    !members.is_empty()
}

/// Every process that a namespace knows, in order of creation. Drop them with the table unlocked.
pub fn everybody_in(table: &Table, ns: NsId) -> Members {
    members(table, table.processes_in(ns))
}

/// Every live process that a namespace knows, in order of creation. Drop them with the table unlocked.
pub fn processes_in(table: &Table, ns: NsId) -> Vec<Arc<Process>> {
    everybody_in(table, ns).live
}

/// Every live process there was a moment ago.
pub fn all_processes() -> Vec<Arc<Process>> {
    let table = lock();
    members(&table, table.processes()).live
}

/// What kill(2) goes by when a target is dead but not waited for: signalling it does nothing, and yet needs the right to.
pub struct Corpse {
    pub uid: u32,
    pub suid: u32,
    pub session: Option<PidId>,
}

/// Some processes, the live ones and the others.
#[derive(Default)]
pub struct Members {
    pub live: Vec<Arc<Process>>,
    pub dead: Vec<Corpse>,
}

pub fn corpse(table: &Table, id: ProcId) -> Option<Corpse> {
    match table.body(id)? {
        Body::Zombie(record) => {
            Some(Corpse { uid: record.creds.uid, suid: record.creds.suid, session: table.session(id) })
        }
        Body::Live(_) => None,
    }
}

fn members(table: &Table, ids: impl Iterator<Item = ProcId>) -> Members {
    let mut members = Members::default();
    for id in ids {
        match table.body(id) {
            Some(Body::Live(process)) => members.live.push(process.clone()),
            Some(Body::Zombie(_)) => members.dead.extend(corpse(table, id)),
            None => {}
        }
    }
    members
}
