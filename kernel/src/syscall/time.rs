//! Clock system calls: clock_gettime(2), nanosleep(2), setitimer(2), alarm(2), gettimeofday(2), time(2).

use ostd::{time, user::mem};

use super::{Args, Context};
use crate::{
    prelude::*,
    process::Cap,
    time::{
        self as clocks, Clock, NSEC_PER_SEC, Timespec, adjust, clock,
        itimer::{self, Setting, Which},
        read_timespec, read_timeval_ns, timespec_to_ns, write_timespec,
    },
};

pub fn sys_clock_gettime(ctx: &mut Context, args: Args) -> Result<usize> {
    let clock = Clock::from_raw(args[0], ctx.thread)?;
    write_timespec(args[1], Timespec::from_ns(clock.now_ns()))?;
    Ok(0)
}

pub fn sys_clock_getres(ctx: &mut Context, args: Args) -> Result<usize> {
    Clock::from_raw(args[0], ctx.thread)?;
    if args[1] != 0 {
        write_timespec(args[1], Timespec::from_ns(Clock::resolution_ns(args[0])))?;
    }
    Ok(0)
}

pub fn sys_clock_settime(ctx: &mut Context, args: Args) -> Result<usize> {
    // No other clock can be set, and a CPU clock that exists says so by EPERM.
    let settable = args[0] as i32 == clock::id::REALTIME;
    if !settable && (args[0] as i32) >= 0 {
        return Err(EINVAL);
    }
    let value = read_timespec(args[1])?;
    if !settable {
        Clock::from_raw(args[0], ctx.thread)?;
        return Err(EPERM);
    }
    set_time(ctx, timespec_to_ns(value)?)
}

/// The last time that the clock can be set to: 30 years before its end at 2^63 ns.
const LAST_SETTABLE_NS: u64 = i64::MAX as u64 - 30 * 365 * 24 * 3600 * NSEC_PER_SEC;

fn set_time(ctx: &Context, realtime_ns: u64) -> Result<usize> {
    if realtime_ns > LAST_SETTABLE_NS {
        return Err(EINVAL);
    }
    if !ctx.thread.creds().capable(Cap::SysTime) {
        return Err(EPERM);
    }
    clocks::set_realtime_ns(realtime_ns);
    Ok(0)
}

/// The time zone is kept for nobody: it is checked, and is 0 again when it is asked for.
pub fn sys_settimeofday(ctx: &mut Context, [time, zone, ..]: Args) -> Result<usize> {
    const USEC_PER_SEC: i64 = 1_000_000;
    /// The most that `tz_minuteswest` may be, in both directions.
    const FARTHEST: i32 = 15 * 60;
    let given = if time == 0 { None } else { Some(mem::read::<[i64; 2]>(time)?) };
    if given.is_some_and(|[_, usec]| !(0..USEC_PER_SEC).contains(&usec)) {
        return Err(EINVAL);
    }
    let zone = if zone == 0 { None } else { Some(mem::read::<[i32; 2]>(zone)?) };
    let realtime_ns = match given {
        None => None,
        Some([sec, usec]) => {
            let ns = (sec as u64).saturating_mul(NSEC_PER_SEC).saturating_add(usec as u64 * 1000);
            if sec < 0 || ns > LAST_SETTABLE_NS {
                return Err(EINVAL);
            }
            Some(ns)
        }
    };
    if !ctx.thread.creds().capable(Cap::SysTime) {
        return Err(EPERM);
    }
    if zone.is_some_and(|[west, _]| !(-FARTHEST..=FARTHEST).contains(&west)) {
        return Err(EINVAL);
    }
    realtime_ns.map_or(Ok(0), |ns| set_time(ctx, ns))
}

const TIMER_ABSTIME: u32 = 1;

pub fn sys_clock_nanosleep(ctx: &mut Context, args: Args) -> Result<usize> {
    let [which, flags, request, remaining, ..] = args;
    Clock::check_sleep(which)?;
    let value = timespec_to_ns(read_timespec(request)?)?;
    let clock = Clock::for_sleep(which, ctx.thread)?;
    if flags as u32 & TIMER_ABSTIME != 0 {
        return clocks::sleep_absolute(&clock, value);
    }
    // A relative sleep on the settable clock is not moved by setting it.
    let clock = match clock {
        Clock::Realtime => Clock::Monotonic,
        other => other,
    };
    let target = clock.now_ns().saturating_add(value);
    clocks::sleep_relative(ctx, clock, target, remaining)
}

pub fn sys_nanosleep(ctx: &mut Context, args: Args) -> Result<usize> {
    let value = timespec_to_ns(read_timespec(args[0])?)?;
    let target = time::now_ns().saturating_add(value);
    clocks::sleep_relative(ctx, Clock::Monotonic, target, args[1])
}

pub fn sys_gettimeofday(_: &mut Context, args: Args) -> Result<usize> {
    let now = clocks::realtime_ns();
    if args[0] != 0 {
        mem::write(args[0], &[now / NSEC_PER_SEC, now % NSEC_PER_SEC / 1000])?;
    }
    if args[1] != 0 {
        mem::write(args[1], &[0u32; 2])?;
    }
    Ok(0)
}

pub fn sys_time(_: &mut Context, args: Args) -> Result<usize> {
    let now = clocks::realtime_ns() / NSEC_PER_SEC;
    if args[0] != 0 {
        mem::write(args[0], &now)?;
    }
    Ok(now as usize)
}

fn write_setting(addr: usize, setting: Setting) -> Result<()> {
    let timeval = |ns: u64| [ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 1000];
    let ([isec, iusec], [sec, usec]) = (timeval(setting.interval_ns), timeval(round_up(setting.value_ns)));
    Ok(mem::write(addr, &[isec, iusec, sec, usec])?)
}

/// A timer that is armed never reads as 0.
fn round_up(ns: u64) -> u64 {
    ns.div_ceil(1000).saturating_mul(1000)
}

pub fn sys_getitimer(ctx: &mut Context, args: Args) -> Result<usize> {
    let which = Which::try_from(args[0] as i32).map_err(|_| EINVAL)?;
    write_setting(args[1], itimer::get(ctx.process(), which))?;
    Ok(0)
}

pub fn sys_setitimer(ctx: &mut Context, args: Args) -> Result<usize> {
    let [raw, new, old, ..] = args;
    let setting = match new {
        // Linux takes a missing value as "off".
        0 => Setting::default(),
        addr => {
            let interval_ns = read_timeval_ns(addr)?;
            let value_ns = read_timeval_ns(addr.wrapping_add(16))?;
            Setting { value_ns, interval_ns }
        }
    };
    let which = Which::try_from(raw as i32).map_err(|_| EINVAL)?;
    let previous = itimer::set(ctx.process(), which, setting);
    if old != 0 {
        write_setting(old, previous)?;
    }
    Ok(0)
}

/// alarm(2): whole seconds; what was left is rounded, but never to 0.
pub fn sys_alarm(ctx: &mut Context, args: Args) -> Result<usize> {
    let value_ns = (args[0] as u32 as u64) * NSEC_PER_SEC;
    let old = itimer::set(ctx.process(), Which::Real, Setting { value_ns, interval_ns: 0 });
    let rounded = (old.value_ns + NSEC_PER_SEC / 2) / NSEC_PER_SEC;
    Ok(if old.value_ns == 0 { 0 } else { rounded.max(1) as usize })
}

/// adjtimex(2): see [`adjust`].
pub fn sys_adjtimex(ctx: &mut Context, args: Args) -> Result<usize> {
    let mut timex: adjust::Timex = mem::read(args[0])?;
    let state = adjust::adjust(&mut timex, &ctx.thread.creds())?;
    mem::write(args[0], &timex)?;
    Ok(state)
}

/// clock_adjtime(2): there is one clock that can be adjusted.
pub fn sys_clock_adjtime(ctx: &mut Context, args: Args) -> Result<usize> {
    let [raw, addr, ..] = args;
    let _: adjust::Timex = mem::read(addr)?;
    match raw as i32 {
        clock::id::REALTIME => sys_adjtimex(ctx, [addr, 0, 0, 0, 0, 0]),
        ..0 | clock::id::MONOTONIC..=clock::id::BOOTTIME_ALARM | clock::id::TAI => Err(EOPNOTSUPP),
        _ => Err(EINVAL),
    }
}
