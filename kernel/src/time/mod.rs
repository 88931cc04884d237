//! Clocks and timers of user mode (clock_gettime(2), nanosleep(2), setitimer(2)).
//!
//! ostd counts nanoseconds since boot; everything here is that count, an offset to it, or the CPU time of a
//! thread or process. Sleeping is `wait_event` with a deadline. Interval timers live in [`itimer`].

use core::sync::atomic::{AtomicI64, Ordering::Relaxed};

use ostd::{sync::WaitQueue, time, user::mem};

use crate::{
    fs::event::timerfd,
    prelude::*,
    process::{Process, Thread, pid, wait_event},
    syscall::Context,
};

pub mod deferred;
pub mod itimer;

pub const NSEC_PER_SEC: u64 = 1_000_000_000;
/// Clock ticks per second as user mode sees them (`AT_CLKTCK`, times(2), /proc).
pub const USER_HZ: u64 = 100;

/// What has been added to CLOCK_REALTIME by clock_settime(2) since boot, in ns.
static REALTIME_SHIFT: AtomicI64 = AtomicI64::new(0);

/// `struct timespec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timespec {
    pub sec: i64,
    pub nsec: i64,
}

impl Timespec {
    pub fn from_ns(ns: u64) -> Timespec {
        Timespec { sec: (ns / NSEC_PER_SEC) as i64, nsec: (ns % NSEC_PER_SEC) as i64 }
    }
}

/// # Errors
/// `EFAULT`.
pub fn read_timespec(addr: usize) -> Result<Timespec> {
    let [sec, nsec] = mem::read::<[i64; 2]>(addr)?;
    Ok(Timespec { sec, nsec })
}

/// # Errors
/// `EFAULT`.
pub fn write_timespec(addr: usize, value: Timespec) -> Result<()> {
    Ok(mem::write(addr, &[value.sec, value.nsec])?)
}

/// Nanoseconds of a valid time that is not negative; what is too far away is the end of time.
///
/// # Errors
/// `EINVAL` for a negative time or nanoseconds outside 0..10^9.
pub fn timespec_to_ns(value: Timespec) -> Result<u64> {
    if value.sec < 0 || !(0..NSEC_PER_SEC as i64).contains(&value.nsec) {
        return Err(EINVAL);
    }
    Ok((value.sec as u64).saturating_mul(NSEC_PER_SEC).saturating_add(value.nsec as u64))
}

/// `struct timeval` in ns; microseconds must be in 0..10^6.
///
/// # Errors
/// `EFAULT`, `EINVAL`.
pub fn read_timeval_ns(addr: usize) -> Result<u64> {
    let [sec, usec] = mem::read::<[i64; 2]>(addr)?;
    if sec < 0 || !(0..1_000_000).contains(&usec) {
        return Err(EINVAL);
    }
    Ok((sec as u64).saturating_mul(NSEC_PER_SEC).saturating_add(usec as u64 * 1000))
}

/// Nanoseconds since 1970 (UTC).
pub fn realtime_ns() -> u64 {
    (time::boot_epoch_ns() + time::now_ns()).saturating_add_signed(REALTIME_SHIFT.load(Relaxed))
}

/// Makes CLOCK_REALTIME show `ns` now.
pub fn set_realtime_ns(ns: u64) {
    let unshifted = time::boot_epoch_ns() + time::now_ns();
    REALTIME_SHIFT.store(ns.wrapping_sub(unshifted) as i64, Relaxed);
    timerfd::clock_was_set();
}

/// A clock that clock_gettime(2) knows.
#[derive(Clone)]
pub enum Clock {
    Realtime,
    /// MONOTONIC, MONOTONIC_RAW, BOOTTIME and the coarse one: the machine never sleeps and is never slewed.
    Monotonic,
    Process(Arc<Process>),
    Thread(Arc<Thread>),
}

impl Clock {
    /// Decodes a `clockid_t`: a small number, or a CPU clock made of a pid (clock_getcpuclockid(3)).
    ///
    /// # Errors
    /// `EINVAL` for an unknown clock or a pid that isn't there.
    pub fn from_raw(raw: usize, caller: &Arc<Thread>) -> Result<Clock> {
        match raw as i32 {
            0 | 5 | 11 => Ok(Clock::Realtime),
            1 | 4 | 6 | 7 => Ok(Clock::Monotonic),
            2 => Ok(Clock::Process(caller.process.clone())),
            3 => Ok(Clock::Thread(caller.clone())),
            id if id < 0 => Clock::from_cpu_clock(id, caller),
            _ => Err(EINVAL),
        }
    }

    fn from_cpu_clock(id: i32, caller: &Arc<Thread>) -> Result<Clock> {
        let (number, per_thread, kind) = (!(id >> 3) as u32, id & 4 != 0, id & 3);
        if kind == 3 {
            return Err(EINVAL);
        }
        let thread = match number {
            0 => caller.clone(),
            _ => match pid::find(number) {
                Some(pid::Target::Thread(thread)) => thread,
                _ => return Err(EINVAL),
            },
        };
        match per_thread {
            true if Arc::ptr_eq(&thread.process, &caller.process) => Ok(Clock::Thread(thread)),
            true => Err(EINVAL),
            false => Ok(Clock::Process(thread.process.clone())),
        }
    }

    pub fn now_ns(&self) -> u64 {
        match self {
            Clock::Realtime => realtime_ns(),
            Clock::Monotonic => time::now_ns(),
            Clock::Process(process) => process.cpu_time_ns(),
            Clock::Thread(thread) => thread.cpu_time_ns(),
        }
    }

    /// Resolution in ns; the coarse clocks (5 and 6) are told apart by their number.
    pub fn resolution_ns(raw: usize) -> u64 {
        if matches!(raw as i32, 5 | 6) { 4_000_000 } else { 1 }
    }

    /// The monotonic time at which this clock shows `target_ns`; the past if it does already.
    fn monotonic_deadline(&self, target_ns: u64) -> u64 {
        time::now_ns().saturating_add(target_ns.saturating_sub(self.now_ns()))
    }
}

/// Sleeps until the clock shows `target_ns`.
///
/// # Errors
/// `ERESTARTNOHAND` when a signal came first.
fn sleep_until(clock: &Clock, target_ns: u64) -> Result<()> {
    let nobody = WaitQueue::new();
    // A CPU clock may stand still while its owner sleeps: look again whenever it could have arrived.
    while clock.now_ns() < target_ns {
        let deadline = Some(clock.monotonic_deadline(target_ns));
        let slept: Result<Option<()>> = wait_event::wait_interruptible_until(&nobody, deadline, || None);
        slept.map_err(|_| ERESTARTNOHAND)?;
    }
    Ok(())
}

/// clock_nanosleep(2) until an absolute time: restarted as it is if no handler runs (rule 7.38).
///
/// # Errors
/// `ERESTARTNOHAND`.
pub fn sleep_absolute(clock: &Clock, target_ns: u64) -> Result<usize> {
    sleep_until(clock, target_ns).map(|()| 0)
}

/// nanosleep(2): interrupted by a handler it stores what is left at `remaining` (if not 0) and fails with
/// EINTR; after a stop it goes on (rule 7.23).
///
/// # Errors
/// `EFAULT`, `ERESTART_RESTARTBLOCK`.
pub fn sleep_relative(ctx: &mut Context, clock: Clock, target_ns: u64, remaining: usize) -> Result<usize> {
    if sleep_until(&clock, target_ns).is_ok() {
        return Ok(0);
    }
    let left = target_ns.saturating_sub(clock.now_ns());
    if left == 0 {
        return Ok(0);
    }
    if remaining != 0 {
        write_timespec(remaining, Timespec::from_ns(left))?;
    }
    let resume = move |ctx: &mut Context| sleep_relative(ctx, clock, target_ns, remaining);
    Err(ctx.thread.signals.set_restart(Box::new(resume)))
}
