//! What is left of a dead process until somebody waits for it (rule 3.11): this record, in its table slot.

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proctree::{Body, ProcId};

use super::{
    Credentials, Rlimits, Usage,
    namespace::PidNs,
    pidfd::PidRef,
    signal::{Pending, SigSet},
    thread::COMM_LEN,
    tree::Table,
    usage::ns_to_ticks,
};
use crate::prelude::*;

pub struct ExitRecord {
    /// The raw wait status (rule 3.1).
    pub status: i32,
    /// The leader's. They hold its RLIMIT_NPROC charge.
    pub creds: Arc<Credentials>,
    pub rlimits: Arc<Rlimits>,
    pub pid_ns: PidNs,
    pub comm: [u8; COMM_LEN],
    pub nice: i8,
    /// Policy, real-time priority and allowed CPUs.
    pub policy: u32,
    pub rt_priority: u32,
    pub affinity: u64,
    pub oom_score_adj: i16,
    pub no_new_privs: bool,
    /// Signals to the process that nobody took, and what was queued with them.
    pub pending: SigSet,
    pub queue: Option<Box<Pending>>,
    /// Of the leader, and of the process.
    pub blocked: SigSet,
    pub ignored: SigSet,
    pub caught: SigSet,
    pub personality: u32,
    /// Who logged in, and in which session.
    pub login: [u32; 2],
    pub timer_slack_ns: u64,
    /// As the leader's memory was when it let go of it.
    pub dumpable: bool,
    /// As in [`Process`](super::Process): it has its terminal until it is reaped (rule 3.22).
    pub tty: u64,
    pub start_ns: u64,
    /// User and system time of the process alone, ns.
    pub own_ns: [u64; 2],
    /// All that the process used, and its waited-for children with it: what wait4 gives (rule 4.21).
    pub usage: Usage,
    /// What its pidfds refer to, if it has any.
    pub pid_ref: Option<Arc<PidRef>>,
}

// A zombie is one small object of the heap.
const _: () = assert!(size_of::<ExitRecord>() <= 256);

/// What decides who may look into what is left of a process.
pub struct Remains {
    pub creds: Arc<Credentials>,
    pub dumpable: bool,
}

impl Remains {
    /// Those of a zombie; `None` for a process that lives, or is gone.
    pub fn of(table: &Table, process: ProcId) -> Option<Remains> {
        match table.body(process)? {
            Body::Zombie(record) => Some(Remains { creds: record.creds.clone(), dumpable: record.dumpable }),
            Body::Live(_) => None,
        }
    }
}

/// Threads and zombies in the system (kernel.threads-max).
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// How many were ever made.
static FORKS: AtomicUsize = AtomicUsize::new(0);

pub fn forks() -> usize {
    FORKS.load(Relaxed)
}

/// How many threads and zombies there are.
pub fn thread_total() -> usize {
    THREADS.load(Relaxed)
}

/// Counts a new thread, against its user and in all. Returns how many the user had before.
pub(super) fn charge(creds: &Credentials) -> usize {
    THREADS.fetch_add(1, Relaxed);
    FORKS.fetch_add(1, Relaxed);
    creds.user.add_process()
}

/// The opposite of [`charge`]: when a thread other than the leader exits, when a zombie is reaped.
pub(super) fn uncharge(creds: &Credentials) {
    creds.user.remove_process();
    THREADS.fetch_sub(1, Relaxed);
}

impl ExitRecord {
    /// User and system time in clock ticks, as SIGCHLD shows them (rule 5.1).
    pub fn own_ticks(&self) -> (i64, i64) {
        (ns_to_ticks(self.own_ns[0]), ns_to_ticks(self.own_ns[1]))
    }

    /// The process has left the table: its pidfds get the exit status (rules 11.2, 11.9). Called with the table locked, so that
    /// nobody finds the number free and the status missing.
    pub(super) fn tell_pidfds(&self) {
        if let Some(pid_ref) = &self.pid_ref {
            pid_ref.gone(Some(self.status));
        }
    }

    /// The process is reaped: gives up what it still held.
    pub(super) fn release(&self) {
        uncharge(&self.creds);
    }
}
