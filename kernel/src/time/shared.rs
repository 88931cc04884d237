//! The clocks that programs read without a system call, in a page that they have mapped (`mm::vdso`).
//!
//! The page is where the offsets *are*: system calls read them there too, so that both always show the same clock. All clocks of
//! the monotonic kind have the offset 0 (the machine never sleeps); a namespace of clocks would have a page of its own.

use ostd::{
    mm::Frame,
    sync::SpinLock,
    time,
    user::vdso::{self, ClockPage},
};
use spin::Once;

use super::{
    NSEC_PER_SEC,
    clock::{Clock, id},
};
use crate::{lock_order, prelude::*};

/// The offsets in the page.
#[derive(Clone, Copy)]
#[repr(usize)]
pub enum Offset {
    /// Monotonic clocks.
    Monotonic,
    /// From there to nanoseconds since 1970.
    Realtime,
    /// The same, plus the distance to TAI.
    Tai,
}

static PAGE: Once<ClockPage> = Once::new();

/// Makes the page, once. Returns its frame.
///
/// # Errors
/// ENOMEM.
pub fn init() -> Result<&'static Frame> {
    let clock = |number: i32, slot: Offset| vdso::Clock {
        number: number as usize,
        slot: slot as usize,
        resolution_ns: Clock::resolution_ns(number as usize),
    };
    let clocks = [
        clock(id::REALTIME, Offset::Realtime),
        clock(id::MONOTONIC, Offset::Monotonic),
        clock(id::MONOTONIC_RAW, Offset::Monotonic),
        clock(id::REALTIME_COARSE, Offset::Realtime),
        clock(id::MONOTONIC_COARSE, Offset::Monotonic),
        clock(id::BOOTTIME, Offset::Monotonic),
        clock(id::TAI, Offset::Tai),
    ];
    let page = PAGE.try_call_once(|| -> Result<ClockPage> {
        let page = ClockPage::new(&clocks)?;
        for slot in [Offset::Realtime, Offset::Tai] {
            page.set_offset(slot as usize, time::boot_epoch_ns());
        }
        Ok(page)
    })?;
    Ok(page.frame())
}

/// What a clock is ahead of the monotonic one, ns.
#[inline]
pub fn offset(which: Offset) -> u64 {
    match (PAGE.get(), which) {
        (Some(page), which) => page.offset(which as usize),
        (None, Offset::Monotonic) => 0,
        (None, _) => time::boot_epoch_ns(),
    }
}

/// By how many seconds TAI is ahead of UTC. Held while offsets change.
static TAI_SECONDS: SpinLock<i32> = SpinLock::new(lock_order::CLOCK_OFFSETS, 0);

/// Sets what the wall clock is ahead of the monotonic one. TAI moves with it.
pub fn set_realtime(ns: u64) {
    set(ns, &TAI_SECONDS.lock());
}

/// See adjtimex(2).
pub fn tai_seconds() -> i32 {
    *TAI_SECONDS.lock()
}

pub fn set_tai_seconds(seconds: i32) {
    let mut tai = TAI_SECONDS.lock();
    *tai = seconds;
    set(offset(Offset::Realtime), &tai);
}

fn set(realtime: u64, tai_seconds: &i32) {
    let ahead = i64::from(*tai_seconds) * NSEC_PER_SEC as i64;
    if let Some(page) = PAGE.get() {
        page.set_offset(Offset::Realtime as usize, realtime);
        page.set_offset(Offset::Tai as usize, realtime.wrapping_add_signed(ahead));
    }
}
