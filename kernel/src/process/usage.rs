//! Resource usage: what a thread has used, what its process has, what its dead and waited-for children have
//! (getrusage(2), rules 4.20, 4.21; /proc/pid/io).

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ostd::pod_struct;

use super::{Process, Thread, signal};
use crate::prelude::*;

/// A sum of things used. Times in nanoseconds, memory in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub user_ns: u64,
    pub system_ns: u64,
    pub max_rss: u64,
    pub minor_faults: u64,
    pub major_faults: u64,
    pub voluntary_switches: u64,
    pub involuntary_switches: u64,
    pub transfers: Transfers,
}

/// What read(2), write(2) and their relatives moved, and how often they were called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub reads: u64,
    pub writes: u64,
}

/// A thread's own. Only the thread itself counts, so there is nothing to synchronise; others may look at any time.
#[derive(Default)]
pub struct TransferCounters {
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
}

impl TransferCounters {
    /// A call that reads has ended so. One that never got to the file does not count (EBADF, ESPIPE).
    #[inline(always)]
    pub fn count_read(&self, result: &Result<usize>) {
        count(&self.bytes_read, &self.reads, result);
    }

    #[inline(always)]
    pub fn count_write(&self, result: &Result<usize>) {
        count(&self.bytes_written, &self.writes, result);
    }

    fn load(&self) -> Transfers {
        Transfers {
            bytes_read: self.bytes_read.load(Relaxed),
            bytes_written: self.bytes_written.load(Relaxed),
            reads: self.reads.load(Relaxed),
            writes: self.writes.load(Relaxed),
        }
    }
}

#[inline(always)]
fn count(bytes: &AtomicU64, calls: &AtomicU64, result: &Result<usize>) {
    match result {
        Ok(moved) => bytes.store(bytes.load(Relaxed) + *moved as u64, Relaxed),
        Err(EBADF | ESPIPE) => return,
        Err(_) => {}
    }
    calls.store(calls.load(Relaxed) + 1, Relaxed);
}

impl Usage {
    /// Adds another sum; of the two memory peaks the higher counts.
    pub fn add(&mut self, other: &Usage) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.max_rss = self.max_rss.max(other.max_rss);
        self.minor_faults += other.minor_faults;
        self.major_faults += other.major_faults;
        self.voluntary_switches += other.voluntary_switches;
        self.involuntary_switches += other.involuntary_switches;
        self.transfers.bytes_read += other.transfers.bytes_read;
        self.transfers.bytes_written += other.transfers.bytes_written;
        self.transfers.reads += other.transfers.reads;
        self.transfers.writes += other.transfers.writes;
    }

    /// User and system time in clock ticks (1/100 s).
    pub fn ticks(&self) -> (i64, i64) {
        (ns_to_ticks(self.user_ns), ns_to_ticks(self.system_ns))
    }

    pub fn to_abi(self) -> Rusage {
        Rusage {
            utime: timeval(self.user_ns),
            stime: timeval(self.system_ns),
            maxrss: self.max_rss as i64,
            ixrss: 0,
            idrss: 0,
            isrss: 0,
            minflt: self.minor_faults as i64,
            majflt: self.major_faults as i64,
            nswap: 0,
            inblock: 0,
            oublock: 0,
            msgsnd: 0,
            msgrcv: 0,
            nsignals: 0,
            nvcsw: self.voluntary_switches as i64,
            nivcsw: self.involuntary_switches as i64,
        }
    }
}

pod_struct! {
    /// `struct rusage`.
    pub struct Rusage {
        pub utime: [i64; 2],
        pub stime: [i64; 2],
        pub maxrss: i64,
        pub ixrss: i64,
        pub idrss: i64,
        pub isrss: i64,
        pub minflt: i64,
        pub majflt: i64,
        pub nswap: i64,
        pub inblock: i64,
        pub oublock: i64,
        pub msgsnd: i64,
        pub msgrcv: i64,
        pub nsignals: i64,
        pub nvcsw: i64,
        pub nivcsw: i64,
    }
}

/// Clock ticks per second (USER_HZ, AT_CLKTCK).
pub const TICKS_PER_SECOND: u64 = 100;

pub fn ns_to_ticks(ns: u64) -> i64 {
    (ns / (1_000_000_000 / TICKS_PER_SECOND)) as i64
}

fn timeval(ns: u64) -> [i64; 2] {
    [(ns / 1_000_000_000) as i64, (ns % 1_000_000_000 / 1000) as i64]
}

/// What one thread has used so far.
pub fn of_thread(thread: &Thread) -> Usage {
    let mut usage = Usage {
        minor_faults: thread.minor_faults.load(Relaxed),
        major_faults: thread.major_faults.load(Relaxed),
        transfers: thread.transfers.load(),
        ..Usage::default()
    };
    if let Some(task) = thread.task() {
        (usage.user_ns, usage.system_ns) = task.cpu_times_ns();
        usage.voluntary_switches = task.sched.voluntary_switches.load(Relaxed);
        usage.involuntary_switches = task.sched.involuntary_switches.load(Relaxed);
    }
    usage
}

/// What a live process has used so far, its dead threads included.
pub fn of_process(process: &Process) -> Usage {
    let mut usage = *process.dead_threads.lock();
    for thread in signal::threads(process) {
        usage.add(&of_thread(&thread));
        if let Some(vm) = thread.try_vm() {
            usage.max_rss = usage.max_rss.max(max_rss_kib(&vm));
        }
    }
    usage
}

/// The most memory that `vm` has had at a time, in KiB.
pub fn max_rss_kib(vm: &crate::mm::Vm) -> u64 {
    (vm.max_rss() * PAGE_SIZE / 1024) as u64
}
