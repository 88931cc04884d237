//! adjtimex(2): what a time daemon tells the kernel of the wall clock, and how it steps it.
//!
//! The clock can be stepped (ADJ_SETOFFSET) and its distance to TAI set; errors, status and time constant are kept and
//! reported, the errors growing as Linux has them grow. The clock's rate can't be changed: a frequency, a tick or an offset that would
//! have to be slewed is refused with EINVAL.
//!
//! Lock: [`CLOCK_ADJUST`](lock_order::CLOCK_ADJUST).

use ostd::{sync::SpinLock, time};

use super::{NSEC_PER_SEC, realtime_ns, set_realtime_ns, shared};
use crate::{
    lock_order,
    prelude::*,
    process::{Cap, Credentials},
};

ostd::pod_struct! {
    /// `struct timex`.
    pub struct Timex {
        pub modes: u32,
        pad: u32,
        pub offset: i64,
        pub freq: i64,
        pub maxerror: i64,
        pub esterror: i64,
        pub status: i32,
        pad2: u32,
        pub constant: i64,
        pub precision: i64,
        pub tolerance: i64,
        pub time: [i64; 2],
        pub tick: i64,
        pub ppsfreq: i64,
        pub jitter: i64,
        pub shift: i32,
        pad3: u32,
        pub stabil: i64,
        pub counters: [i64; 4],
        pub tai: i32,
        pad4: [u32; 11],
    }
}

mod mode {
    pub const OFFSET: u32 = 0x1;
    pub const FREQUENCY: u32 = 0x2;
    pub const MAXERROR: u32 = 0x4;
    pub const ESTERROR: u32 = 0x8;
    pub const STATUS: u32 = 0x10;
    pub const TIMECONST: u32 = 0x20;
    pub const TAI: u32 = 0x80;
    pub const SETOFFSET: u32 = 0x100;
    pub const MICRO: u32 = 0x1000;
    pub const NANO: u32 = 0x2000;
    pub const TICK: u32 = 0x4000;
    /// With OFFSET: adjtime(3). With NANO as well: only to read what is left of that.
    pub const ADJTIME: u32 = 0x8000;
}

/// Microseconds per tick of USER_HZ, and by how much it may differ.
const TICK_US: i64 = 10_000;
const TICKS_US: core::ops::RangeInclusive<i64> = 9_000..=11_000;
/// The most that an error grows to, in us; it does by 500 each second.
const ERROR_LIMIT: i64 = 16_000_000;
const ERROR_PER_SEC: u64 = 500;
/// 500 parts per million, in units of 2^-16 of them.
const TOLERANCE: i64 = 500 << 16;
const CONSTANT_LIMIT: i64 = 10;

const STA_UNSYNC: i32 = 0x40;
const STA_NANO: i32 = 0x2000;
/// Bits of the status that are the kernel's.
const STA_READONLY: i32 = 0xff00;
const TIME_OK: usize = 0;
const TIME_ERROR: usize = 5;

struct State {
    status: i32,
    /// In us, as of `since` (ns since boot).
    maxerror: i64,
    esterror: i64,
    since: u64,
    constant: i64,
}

static STATE: SpinLock<State> = SpinLock::new(
    lock_order::CLOCK_ADJUST,
    State { status: STA_UNSYNC, maxerror: ERROR_LIMIT, esterror: ERROR_LIMIT, since: 0, constant: 2 },
);

/// Changes what `timex.modes` names and fills in the rest. Returns the state of the clock.
///
/// # Errors
/// `EPERM` for a change without CAP_SYS_TIME; `EINVAL` for values out of range, or a change of the clock's rate.
pub fn adjust(timex: &mut Timex, creds: &Credentials) -> Result<usize> {
    let modes = timex.modes;
    check(timex, creds)?;
    if modes & mode::SETOFFSET != 0 {
        step(timex);
    }
    let mut state = STATE.lock();
    state.grow();
    if modes & mode::ADJTIME == 0 {
        state.change(timex);
    }
    let nano = state.status & STA_NANO != 0;
    timex.offset = 0;
    timex.freq = 0;
    timex.maxerror = state.maxerror;
    timex.esterror = state.esterror;
    timex.status = state.status;
    timex.constant = state.constant;
    let result = if state.status & STA_UNSYNC != 0 { TIME_ERROR } else { TIME_OK };
    drop(state);
    timex.precision = 1;
    timex.tolerance = TOLERANCE;
    timex.tick = TICK_US;
    timex.tai = shared::tai_seconds();
    (timex.ppsfreq, timex.jitter, timex.shift, timex.stabil, timex.counters) = (0, 0, 0, 0, [0; 4]);
    let now = realtime_ns();
    let fraction = now % NSEC_PER_SEC / if nano { 1 } else { 1000 };
    timex.time = [(now / NSEC_PER_SEC) as i64, fraction as i64];
    Ok(result)
}

fn check(timex: &Timex, creds: &Credentials) -> Result<()> {
    let modes = timex.modes;
    if modes & mode::ADJTIME != 0 {
        if modes & mode::OFFSET == 0 {
            return Err(EINVAL);
        }
        // Nothing is ever left of an adjustment: to ask is free.
        if modes & mode::NANO == 0 {
            creds.require(Cap::SysTime)?;
            return Err(EINVAL);
        }
        return Ok(());
    }
    if modes != 0 {
        creds.require(Cap::SysTime)?;
    }
    if modes & mode::TICK != 0 && (!TICKS_US.contains(&timex.tick) || timex.tick != TICK_US) {
        return Err(EINVAL);
    }
    let per_sec = if modes & mode::NANO != 0 { NSEC_PER_SEC as i64 } else { 1_000_000 };
    if modes & mode::SETOFFSET != 0 && !(0..per_sec).contains(&timex.time[1]) {
        return Err(EINVAL);
    }
    let slews =
        (modes & mode::FREQUENCY != 0 && timex.freq != 0) || (modes & mode::OFFSET != 0 && timex.offset != 0);
    if slews { Err(EINVAL) } else { Ok(()) }
}

/// Moves the clock by the time in `timex`, which may be negative in its seconds.
fn step(timex: &Timex) {
    let [sec, fraction] = timex.time;
    let ns = if timex.modes & mode::NANO != 0 { fraction } else { fraction * 1000 };
    let by = sec.saturating_mul(NSEC_PER_SEC as i64).saturating_add(ns);
    set_realtime_ns(realtime_ns().saturating_add_signed(by));
}

impl State {
    /// Errors grow while nobody corrects the clock.
    fn grow(&mut self) {
        let seconds = time::now_ns().saturating_sub(self.since) / NSEC_PER_SEC;
        self.since += seconds * NSEC_PER_SEC;
        let grown = self.maxerror.saturating_add_unsigned(seconds.saturating_mul(ERROR_PER_SEC));
        if grown > ERROR_LIMIT {
            self.status |= STA_UNSYNC;
        }
        self.maxerror = grown.min(ERROR_LIMIT);
    }

    fn change(&mut self, timex: &Timex) {
        let has = |bit: u32| timex.modes & bit != 0;
        if has(mode::STATUS) {
            self.status = self.status & STA_READONLY | timex.status & !STA_READONLY;
        }
        if has(mode::NANO) {
            self.status |= STA_NANO;
        }
        if has(mode::MICRO) {
            self.status &= !STA_NANO;
        }
        if has(mode::MAXERROR) {
            self.maxerror = timex.maxerror.clamp(0, ERROR_LIMIT);
            self.since = time::now_ns();
        }
        if has(mode::ESTERROR) {
            self.esterror = timex.esterror.clamp(0, ERROR_LIMIT);
        }
        if has(mode::TIMECONST) {
            // In units of seconds a nanosecond clock's constant is 4 less.
            let shift = if self.status & STA_NANO != 0 { 0 } else { 4 };
            self.constant = (timex.constant.clamp(0, CONSTANT_LIMIT) + shift).min(CONSTANT_LIMIT);
        }
        if has(mode::TAI) && (0..=1_000_000).contains(&timex.constant) {
            shared::set_tai_seconds(timex.constant as i32);
        }
    }
}
