//! The clocks that a `clockid_t` names (clock_gettime(2), clock_getcpuclockid(3)).
//!
//! Small numbers are the system's clocks and the caller's own CPU clocks. A negative one is a CPU clock of some process or
//! thread: `~pid << 3`, with 4 for a thread, and which of its times in the low two bits; a pid of 0 is the caller. The CPU
//! clock of a process needs no permission to read, and outlives the process as long as it is a zombie.
//!
//! What each clock can do, besides being read:
//!
//! | clock | set | sleep | timer |
//! |---|---|---|---|
//! | REALTIME | yes | yes | yes |
//! | MONOTONIC, BOOTTIME, TAI | - | yes | yes |
//! | PROCESS_CPUTIME_ID, CPU clocks of others | - | yes | yes |
//! | THREAD_CPUTIME_ID | - | - | yes |
//! | MONOTONIC_RAW, *_COARSE | - | - | - |
//! | *_ALARM | needs a clock that wakes the machine, and there is none: can't be read either | | |

use ostd::time;
use proctree::Body;

use super::{
    realtime_ns,
    shared::{self, Offset},
};
use crate::{
    prelude::*,
    process::{Process, Thread, pid, tree, usage},
};

/// `clockid_t` of the clocks that have a number of their own.
pub mod id {
    pub const REALTIME: i32 = 0;
    pub const MONOTONIC: i32 = 1;
    pub const PROCESS_CPUTIME: i32 = 2;
    pub const THREAD_CPUTIME: i32 = 3;
    pub const MONOTONIC_RAW: i32 = 4;
    pub const REALTIME_COARSE: i32 = 5;
    pub const MONOTONIC_COARSE: i32 = 6;
    pub const BOOTTIME: i32 = 7;
    pub const REALTIME_ALARM: i32 = 8;
    pub const BOOTTIME_ALARM: i32 = 9;
    pub const TAI: i32 = 11;
}

/// The number by which /proc calls a clock: the caller's own CPU clocks are those of pid 0.
pub fn long_id(id: i32) -> i32 {
    match id {
        id::PROCESS_CPUTIME => -6,
        id::THREAD_CPUTIME => -2,
        id => id,
    }
}

/// The time between two looks of the coarse clocks, and the resolution of the sampled CPU clocks: a tick.
const TICK_NS: u64 = 4_000_000;

/// Whether a negative `clockid_t` names the clock of an open device. There are none.
const fn is_device(id: i32) -> bool {
    id & 7 == 3
}

/// Which of the times of a thread or process a CPU clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuTime {
    /// User and system time.
    All,
    /// User time.
    User,
}

/// A clock.
#[derive(Clone)]
pub enum Clock {
    Realtime,
    Tai,
    /// MONOTONIC, MONOTONIC_RAW, BOOTTIME and the coarse one: the machine never sleeps and is never slewed.
    Monotonic,
    Process(Arc<Process>, CpuTime),
    Thread(Arc<Thread>, CpuTime),
    /// The CPU clock of a dead process stands still.
    Zombie(u64),
}

impl Clock {
    /// Decodes a `clockid_t` for reading.
    ///
    /// # Errors
    /// `EINVAL` for an unknown clock, or a CPU clock whose owner isn't there.
    pub fn from_raw(raw: usize, caller: &Arc<Thread>) -> Result<Clock> {
        match raw as i32 {
            id::REALTIME | id::REALTIME_COARSE => Ok(Clock::Realtime),
            id::MONOTONIC | id::MONOTONIC_RAW | id::MONOTONIC_COARSE | id::BOOTTIME => Ok(Clock::Monotonic),
            id::TAI => Ok(Clock::Tai),
            id::PROCESS_CPUTIME => Ok(Clock::Process(caller.process.clone(), CpuTime::All)),
            id::THREAD_CPUTIME => Ok(Clock::Thread(caller.clone(), CpuTime::All)),
            id if id < 0 => Clock::from_cpu_clock(id, caller, true),
            _ => Err(EINVAL),
        }
    }

    /// Decodes a `clockid_t` for clock_nanosleep(2).
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a clock that nobody can sleep by; `EINVAL`, also for the caller's own CPU time, of which it uses
    /// none in its sleep.
    pub fn for_sleep(raw: usize, caller: &Arc<Thread>) -> Result<Clock> {
        match raw as i32 {
            id::THREAD_CPUTIME..=id::MONOTONIC_COARSE | id::REALTIME_ALARM | id::BOOTTIME_ALARM => {
                Err(EOPNOTSUPP)
            }
            id if id < 0 => match Clock::from_cpu_clock(id, caller, false)? {
                Clock::Thread(thread, _) if Arc::ptr_eq(&thread, caller) => Err(EINVAL),
                clock => Ok(clock),
            },
            _ => Clock::from_raw(raw, caller),
        }
    }

    /// What clock_nanosleep(2) says of a kind of clock before it looks at the time; whose clock it is comes after.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a clock that can't be slept on, `EINVAL` for what is no clock.
    pub fn check_sleep(raw: usize) -> Result<()> {
        match raw as i32 {
            id if id < 0 && is_device(id) => Err(EOPNOTSUPP),
            id::THREAD_CPUTIME..=id::MONOTONIC_COARSE => Err(EOPNOTSUPP),
            id::REALTIME..=id::PROCESS_CPUTIME | id::BOOTTIME..=id::BOOTTIME_ALARM | id::TAI | ..0 => Ok(()),
            _ => Err(EINVAL),
        }
    }

    /// Decodes a `clockid_t` for timer_create(2).
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a clock that has no timers, `EINVAL`.
    pub fn for_timer(raw: usize, caller: &Arc<Thread>) -> Result<Clock> {
        match raw as i32 {
            id::MONOTONIC_RAW..=id::MONOTONIC_COARSE | id::REALTIME_ALARM | id::BOOTTIME_ALARM => {
                Err(EOPNOTSUPP)
            }
            id if id < 0 && is_device(id) => Err(EOPNOTSUPP),
            id if id < 0 => Clock::from_cpu_clock(id, caller, false),
            _ => Clock::from_raw(raw, caller),
        }
    }

    fn from_cpu_clock(id: i32, caller: &Arc<Thread>, reads: bool) -> Result<Clock> {
        const PER_THREAD: i32 = 4;
        let which = match id & 3 {
            0 | 2 => CpuTime::All,
            1 => CpuTime::User,
            // A file descriptor of a clock device: there are none.
            _ => return Err(EINVAL),
        };
        let (number, per_thread) = (!(id >> 3) as u32, id & PER_THREAD != 0);
        if number == 0 {
            return Ok(match per_thread {
                true => Clock::Thread(caller.clone(), which),
                false => Clock::Process(caller.process.clone(), which),
            });
        }
        let Some(thread) = pid::thread(caller.process.ns(), number) else {
            return if per_thread { Err(EINVAL) } else { Clock::of_zombie(caller, number, which) };
        };
        let own = Arc::ptr_eq(&thread.process, &caller.process);
        if per_thread {
            return if own { Ok(Clock::Thread(thread, which)) } else { Err(EINVAL) };
        }
        // The caller's own thread number will do to read its process's clock.
        if thread.is_leader() || (reads && Arc::ptr_eq(&thread, caller)) {
            return Ok(Clock::Process(thread.process.clone(), which));
        }
        Err(EINVAL)
    }

    fn of_zombie(caller: &Thread, number: u32, which: CpuTime) -> Result<Clock> {
        let pid = pid::lookup(caller.process.ns(), number).ok_or(EINVAL)?;
        let table = tree::lock();
        match table.pid_process(pid).and_then(|process| table.body(process)) {
            Some(Body::Zombie(record)) => {
                let [user, system] = record.own_ns;
                Ok(Clock::Zombie(if which == CpuTime::User { user } else { user + system }))
            }
            _ => Err(EINVAL),
        }
    }

    pub fn now_ns(&self) -> u64 {
        match self {
            Clock::Realtime => realtime_ns(),
            Clock::Tai => tai_ns(),
            Clock::Monotonic => time::now_ns(),
            Clock::Process(process, which) => process_time(process, *which),
            Clock::Thread(thread, which) => thread_time(thread, *which),
            Clock::Zombie(ns) => *ns,
        }
    }

    /// Resolution in ns of the clock with this number.
    pub fn resolution_ns(raw: usize) -> u64 {
        match raw as i32 {
            id::REALTIME_COARSE | id::MONOTONIC_COARSE => TICK_NS,
            // The times that ticks sample, as against the exact sum.
            id if id < 0 && id & 3 != 2 => TICK_NS,
            _ => 1,
        }
    }

    /// Whether setting the wall clock moves it.
    pub fn follows_realtime(&self) -> bool {
        matches!(self, Clock::Realtime | Clock::Tai)
    }

    pub fn is_cpu_clock(&self) -> bool {
        matches!(self, Clock::Process(..) | Clock::Thread(..) | Clock::Zombie(_))
    }
}

/// International atomic time, in ns since 1970.
pub fn tai_ns() -> u64 {
    time::now_ns().wrapping_add(shared::offset(Offset::Tai))
}

pub(super) fn process_time(process: &Process, which: CpuTime) -> u64 {
    let usage = usage::of_process(process);
    if which == CpuTime::User { usage.user_ns } else { usage.user_ns + usage.system_ns }
}

pub(super) fn thread_time(thread: &Thread, which: CpuTime) -> u64 {
    match which {
        CpuTime::All => thread.cpu_time_ns(),
        CpuTime::User => thread.task().map_or(0, |task| task.cpu_times_ns().0),
    }
}
