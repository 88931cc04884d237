//! Clocks and timers of user mode (clock_gettime(2), nanosleep(2), setitimer(2)).
//!
//! ostd counts nanoseconds since boot; everything here is that count, an offset to it, or the CPU time of a
//! thread or process ([`clock`]). Sleeping is `wait_event` with a deadline. Interval timers live in [`itimer`], POSIX timers
//! in [`posix_timer`]. Programs read most clocks without a system call ([`shared`]).

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ostd::{cpu, sync::WaitQueue, time, user::mem};

use crate::{fs::event::timerfd, prelude::*, process::wait_event, syscall::Context};

pub mod adjust;
pub mod clock;
pub mod cpu_time;
pub mod deferred;
pub mod itimer;
pub mod posix_timer;
pub mod shared;

pub use clock::Clock;
use shared::Offset;

pub const NSEC_PER_SEC: u64 = 1_000_000_000;
/// Clock ticks per second as user mode sees them (`AT_CLKTCK`, times(2), /proc).
pub const USER_HZ: u64 = 100;

/// Who sleeps until a time of the wall clock: woken when that is set.
static CLOCK_SET: WaitQueue = WaitQueue::new();

/// The end of time: the most that Linux counts in nanoseconds.
const LONGEST_NS: u64 = i64::MAX as u64;

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
    Ok((value.sec as u64).saturating_mul(NSEC_PER_SEC).saturating_add(value.nsec as u64).min(LONGEST_NS))
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
    Ok((sec as u64).saturating_mul(NSEC_PER_SEC).saturating_add(usec as u64 * 1000).min(LONGEST_NS))
}

/// Nanoseconds since 1970 (UTC).
pub fn realtime_ns() -> u64 {
    time::now_ns().wrapping_add(shared::offset(Offset::Realtime))
}

/// How often that was.
static CLOCK_SETTINGS: AtomicU64 = AtomicU64::new(0);

/// How often a sleeper looks at a CPU clock at most.
const CPU_CLOCK_STEP_NS: u64 = 1_000_000;

/// Makes CLOCK_REALTIME show `ns` now.
pub fn set_realtime_ns(ns: u64) {
    shared::set_realtime(ns.wrapping_sub(time::now_ns()));
    CLOCK_SETTINGS.fetch_add(1, Relaxed);
    timerfd::clock_was_set();
    posix_timer::clock_was_set();
    CLOCK_SET.wake_all();
}

/// Sleeps until the clock shows `target_ns`.
///
/// # Errors
/// `ERESTARTNOHAND` when a signal came first.
fn sleep_until(clock: &Clock, target_ns: u64) -> Result<()> {
    let nobody = WaitQueue::new();
    let queue = if clock.follows_realtime() { &CLOCK_SET } else { &nobody };
    let sleep = |deadline, set_at: u64| -> Result<()> {
        // Only the wall clock is ever set, which ends the wait to look again.
        let was_set = || (CLOCK_SETTINGS.load(Relaxed) != set_at && clock.follows_realtime()).then_some(());
        let slept = wait_event::wait_interruptible_until(queue, Some(deadline), was_set);
        slept.map(drop).map_err(|_| ERESTARTNOHAND)
    };
    loop {
        let set_at = CLOCK_SETTINGS.load(Relaxed);
        let left = target_ns.saturating_sub(clock.now_ns());
        if left == 0 {
            return Ok(());
        }
        let step = match clock.is_cpu_clock() {
            // The threads of a process may use all CPUs, or none: look again when it could have arrived.
            true => (left / cpu::num_cpus() as u64).max(CPU_CLOCK_STEP_NS),
            false => left,
        };
        sleep(time::now_ns().saturating_add(step), set_at)?;
    }
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
