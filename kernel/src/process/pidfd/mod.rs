//! pidfds: descriptors that refer to a process or thread, whoever has its number later (pidfd_open(2), spec section 11).
//!
//! | file | what it tells |
//! |---|---|
//! | this one | what all pidfds of one pid share, and how one is opened |
//! | [`file`](self::file) | an open pidfd: polling, ioctls, the node in pidfs |
//! | [`info`] | PIDFD_GET_INFO |
//!
//! # Data structures
//! A [`PidRef`] is made with the first pidfd of a pid and shared by all of them: it has the queue of those who poll, the exit status
//! once the task was reaped, and the number of the node in pidfs, which no other pid ever gets. It hangs at the pid's entry in
//! the map of numbers until the number is free, so every later pidfd finds the same one (rule 11.7), and a zombie's record has it
//! too. A pid without pidfds has a null pointer there.
//!
//! ```text
//!   number map entry ──▶ PidRef ◀── exit record of a zombie
//!                          ▲
//!      PidFile ── PidFile ─┘      open files, also after the number is free
//! ```
//!
//! # States
//! | state | when | poll (rules 11.2, 11.3) |
//! |---|---|---|
//! | `LIVE` | until the last thread of a process has exited; also for a leader that has exited before | nothing |
//! | `DEAD` | the process is a zombie | IN, RDNORM |
//! | `GONE` | reaped, or a thread that has exited | IN, RDNORM, HUP |
//!
//! [`PidRef::died`] and [`PidRef::gone`] are called with the process table locked, in the step that makes the change, so that whoever
//! saw a zombie finds its pidfd readable. An execve by another thread than the leader ends that thread's own pid and
//! leaves the leader's alone (10.12).
//!
//! # Locks
//! None of its own: the state is atomic, and written with the table locked.

pub mod file;
pub mod info;

use core::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use ostd::sync::WaitQueue;
use proctree::{Body, PidId};

use self::file::PidFile;
use super::{Process, Remains, Thread, namespace::PidNs, pid, tree};
use crate::{
    fs::{
        File, OpenFlags,
        inode::{DevId, InodeBase, NewNode},
        mount,
    },
    prelude::*,
};

/// The flags of pidfd_open(2): a thread instead of a process is O_EXCL.
pub const PIDFD_THREAD: OpenFlags = OpenFlags::EXCL;
/// Kills when it is closed; only clone3(2) makes one.
pub const PIDFD_AUTOKILL: OpenFlags = OpenFlags::TRUNC;

/// What all pidfds of one pid share.
pub struct PidRef {
    /// Where it hangs: the number in the pid's own namespace.
    key: pid::Key,
    /// That namespace: it stays for those who ask who may know of the pid.
    pid_ns: PidNs,
    /// A state, and with [`HAS_STATUS`] the wait status in the upper half.
    state: AtomicU64,
    /// Who polls one of the pidfds.
    queue: Arc<WaitQueue>,
    /// The node in pidfs.
    base: InodeBase,
}

const LIVE: u64 = 0;
const DEAD: u64 = 1;
const GONE: u64 = 2;
const STATE: u64 = 3;
const HAS_STATUS: u64 = 4;

/// How far its task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Live,
    Dead,
    Gone,
}

impl PidRef {
    fn new(key: pid::Key, pid_ns: &PidNs, state: u64) -> Arc<PidRef> {
        static NEXT_INO: AtomicU64 = AtomicU64::new(2);
        let node = NewNode { mode: 0o700, uid: 0, gid: 0, rdev: DevId(0) };
        Arc::new(PidRef {
            key,
            pid_ns: pid_ns.clone(),
            state: AtomicU64::new(state),
            queue: Arc::new(WaitQueue::new()),
            base: InodeBase::new(NEXT_INO.fetch_add(1, Relaxed), dev(), node),
        })
    }

    /// The pid.
    pub fn key(&self) -> pid::Key {
        self.key
    }

    /// Whether those in `ns` know of it (rules 7.31, 11.9).
    pub fn is_visible_in(&self, ns: &PidNs) -> bool {
        self.pid_ns.is_within(ns)
    }

    pub fn state(&self) -> State {
        // Acquire pairs with the Release of the writers: who sees that it died sees what it did before.
        match self.state.load(Acquire) & STATE {
            LIVE => State::Live,
            DEAD => State::Dead,
            _ => State::Gone,
        }
    }

    /// The wait status, once the task was reaped.
    pub fn status(&self) -> Option<i32> {
        let state = self.state.load(Acquire);
        (state & HAS_STATUS != 0).then_some((state >> 32) as i32)
    }

    /// The process is a zombie now. With the table locked.
    pub(super) fn died(&self) {
        self.state.store(DEAD, Release);
        self.queue.wake_all();
    }

    /// The task is in the table no more. With the table locked.
    pub(super) fn gone(&self, status: Option<i32>) {
        let status = status.map_or(0, |status| u64::from(status as u32) << 32 | HAS_STATUS);
        self.state.store(GONE | status, Release);
        self.queue.wake_all();
    }

    /// The thread behind it: for a process its leader, dead or alive. `None` for a zombie and what was reaped.
    pub fn thread(&self) -> Option<Arc<Thread>> {
        pid::thread_of(&self.key)
    }

    /// What is left of it, if it is a zombie.
    pub fn remains(&self) -> Option<Remains> {
        let table = tree::lock();
        Remains::of(&table, table.pid_process(self.key.pid)?)
    }

    /// Opens it once more.
    pub fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Arc<File>> {
        PidFile::open(self, flags)
    }
}

/// The device number of pidfs.
fn dev() -> DevId {
    static DEV: spin::Once<DevId> = spin::Once::new();
    *DEV.call_once(mount::anonymous_dev)
}

/// pidfd_open(2). `flags` are NONBLOCK and [`PIDFD_THREAD`].
///
/// # Errors
/// `ESRCH` for a number without a task; `ENOENT` for a thread that leads no process, unless a thread is asked for (rule 11.1).
pub fn open(nr: u32, flags: OpenFlags) -> Result<Arc<File>> {
    let ns = Thread::current().process.ns();
    let thread = flags.contains(PIDFD_THREAD);
    let pid_ref = loop {
        let (pid, task) = pid::resolve(ns, nr).ok_or(ESRCH)?;
        let found = match task {
            Some(task) if !thread && !task.is_leader() => return Err(ENOENT),
            // `None`: it has exited meanwhile.
            Some(task) => live(&task, pid),
            None => Some(zombie(pid)?),
        };
        if let Some(found) = found {
            break found;
        }
    };
    pid_ref.open(flags)
}

/// What the pidfds of a process refer to, by a pid that was kept while the number may have been given to another one
/// since (SO_PEERPIDFD).
///
/// # Errors
/// `ESRCH` if it was reaped.
#[cfg_attr(not(ktest), allow(dead_code))]
pub fn of_pid(pid: PidId) -> Result<Arc<PidRef>> {
    let process = {
        let table = tree::lock();
        match table.body(table.pid_process(pid).ok_or(ESRCH)?) {
            Some(Body::Live(process)) => Some(process.clone()),
            _ => None,
        }
    };
    process.map_or_else(|| zombie(pid), |process| of_process(&process))
}

/// What the pidfds of a live process refer to, for whoever keeps one before there is a descriptor (SO_PEERPIDFD).
///
/// # Errors
/// `ESRCH` if it was reaped.
pub fn of_process(process: &Process) -> Result<Arc<PidRef>> {
    let pid = tree::lock().pid(process.id()).ok_or(ESRCH)?;
    let key = pid::Key { ns: process.ns(), nr: process.pid(), pid };
    match pid::pid_ref(&key).or_else(|| pid::attach(PidRef::new(key, process.pid_ns(), LIVE), false)) {
        Some(found) => Ok(found),
        None => zombie(pid),
    }
}

/// What a pidfd refers to that clone makes before the child is there. It is hung at the number with [`publish`].
pub(super) fn unborn(ns: &PidNs, nr: u32, pid: PidId) -> Arc<PidRef> {
    PidRef::new(pid::Key { ns: ns.id(), nr, pid }, ns, LIVE)
}

/// The child is in the table now. With the table locked, so that nobody else can have made a first pidfd.
pub(super) fn publish(pid_ref: Arc<PidRef>) {
    let _ = pid::attach(pid_ref, false);
}

/// That of a thread that lives, or of a leader whose group does. `None` if it has just exited.
fn live(thread: &Thread, pid: PidId) -> Option<Arc<PidRef>> {
    let key = pid::Key { ns: thread.process.ns(), nr: thread.tid(), pid };
    pid::pid_ref(&key).or_else(|| pid::attach(PidRef::new(key, thread.process.pid_ns(), LIVE), false))
}

/// That of a zombie: hung at the number and at the record, which outlives it in the hands of whoever reaps.
fn zombie(pid: PidId) -> Result<Arc<PidRef>> {
    // Allocated before the table is locked for what counts.
    let new = {
        let table = tree::lock();
        let Some(Body::Zombie(record)) = table.body(table.pid_process(pid).ok_or(ESRCH)?) else {
            return Err(ESRCH);
        };
        let pid_ns = record.pid_ns.clone();
        let key = pid::Key { ns: pid_ns.id(), nr: table.nr(pid, pid_ns.id()), pid };
        drop(table);
        PidRef::new(key, &pid_ns, DEAD)
    };
    let mut table = tree::lock();
    let process = table.pid_process(pid).ok_or(ESRCH)?;
    if !matches!(table.body(process), Some(Body::Zombie(_))) {
        return Err(ESRCH);
    }
    let found = pid::attach(new, true).ok_or(ESRCH)?;
    if let Some(record) = table.record_mut(process) {
        record.pid_ref.get_or_insert_with(|| found.clone());
    }
    Ok(found)
}
