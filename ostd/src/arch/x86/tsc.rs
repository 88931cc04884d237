//! The time-stamp counter as a clock, and how fast it and the APIC timer run.
//!
//! The frequency is read from CPUID where it says (leaf 0x15, a hypervisor's leaf 0x40000010), else both are measured
//! against the 8254 timer: three runs of 2 ms, of which the median counts. A run in which a hypervisor took the CPU away
//! proves nothing (the 8254's count wraps after 55 ms), and is made again.

use super::{apic, io};
use core::{
    arch::x86_64::{__cpuid, __cpuid_count, _rdtsc},
    cell::UnsafeCell,
};

/// Conversions: `(x * mult) >> 32`.
#[derive(Clone, Copy)]
struct Clock {
    /// The counter when the clock was 0.
    start: u64,
    /// Nanoseconds per tick, times 2^32.
    ns_per_tick: u64,
    /// APIC timer ticks per nanosecond, times 2^32.
    apic_per_ns: u64,
}

struct ClockCell(UnsafeCell<Clock>);
// SAFETY: written once by the boot CPU, before there are other CPUs or tasks.
unsafe impl Sync for ClockCell {}
static CLOCK: ClockCell = ClockCell(UnsafeCell::new(Clock { start: 0, ns_per_tick: 0, apic_per_ns: 0 }));

#[inline(always)]
fn clock() -> &'static Clock {
    // SAFETY: not written any more when there is a second user.
    unsafe { &*CLOCK.0.get() }
}

#[inline(always)]
fn scale(value: u64, mult: u64) -> u64 {
    ((u128::from(value) * u128::from(mult)) >> 32) as u64
}

/// Nanoseconds since the boot; 0 before [`init`].
#[inline]
pub(crate) fn now_ns() -> u64 {
    let clock = clock();
    // SAFETY: every x86_64 processor has the counter, and ring 0 may read it.
    let now = unsafe { _rdtsc() };
    // A counter that is slightly behind the boot CPU's at the very start must not wrap.
    scale(now.saturating_sub(clock.start), clock.ns_per_tick)
}

/// How the counter becomes nanoseconds: what it was when the clock was 0, and ns per tick times 2^32.
pub(crate) fn conversion() -> (u64, u64) {
    (clock().start, clock().ns_per_tick)
}

/// How many ticks of the APIC timer are `ns`: at least 1, at most what the register holds.
#[inline]
pub(crate) fn apic_ticks(ns: u64) -> u32 {
    // An hour is more than the register holds anyway, and keeps the product in range.
    scale(ns.min(3_600_000_000_000), clock().apic_per_ns).clamp(1, u64::from(u32::MAX)) as u32
}

/// Finds the frequencies. Once, on the boot CPU, when its local APIC is on and interrupts are off.
pub(crate) fn init() {
    // SAFETY: as in `now_ns`.
    let start = unsafe { _rdtsc() };
    let measured = measure();
    let tsc_hz = tsc_hz_from_cpuid().unwrap_or(measured.tsc_hz);
    let clock = Clock {
        start,
        ns_per_tick: ((1_000_000_000u128 << 32) / u128::from(tsc_hz.max(1))) as u64,
        apic_per_ns: ((u128::from(measured.apic_hz) << 32) / 1_000_000_000) as u64,
    };
    // SAFETY: only the boot CPU runs, and it holds no reference to the clock here.
    unsafe { *CLOCK.0.get() = clock };
    log::info!("TSC {} kHz, APIC timer {} kHz", tsc_hz / 1000, measured.apic_hz / 1000);
}

fn tsc_hz_from_cpuid() -> Option<u64> {
    let max_leaf = __cpuid(0).eax;
    if max_leaf >= 0x15 {
        let leaf = __cpuid_count(0x15, 0);
        if leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0 {
            return Some(u64::from(leaf.ecx) * u64::from(leaf.ebx) / u64::from(leaf.eax));
        }
    }
    if super::features::get().hypervisor && __cpuid(0x4000_0000).eax >= 0x4000_0010 {
        let khz = __cpuid(0x4000_0010).eax;
        if khz != 0 {
            return Some(u64::from(khz) * 1000);
        }
    }
    None
}

struct Measured {
    tsc_hz: u64,
    apic_hz: u64,
    /// In thousandths of the run.
    longest_look: u64,
}

/// The longest look, in thousandths, of a run that nothing disturbed.
const STEADY: u64 = 50;

const PIT_HZ: u64 = 1_193_182;
/// 2 ms.
const PIT_TICKS: u16 = (PIT_HZ / 500) as u16;

fn measure() -> Measured {
    // Channel 0, both bytes, mode 2: counts down from 65,536 again and again. Its interrupt line is masked.
    // SAFETY: nobody else uses the timer.
    unsafe {
        io::outb(0x43, 0b0011_0100);
        io::outb(0x40, 0);
        io::outb(0x40, 0);
    }
    apic::set_timer(u32::MAX);
    let mut runs = [measure_steady(), measure_steady(), measure_steady()];
    apic::set_timer(0);
    runs.sort_unstable_by_key(|run| run.tsc_hz);
    let [_, median, _] = runs;
    median
}

/// Measures until the longest look at the 8254 was a small part of the run, so that the CPU was ours all the time: on a
/// busy host that may take a few attempts. After many, the best of them has to do.
fn measure_steady() -> Measured {
    const ATTEMPTS: u32 = 50;
    let mut best = measure_once();
    for _ in 1..ATTEMPTS {
        if best.longest_look <= STEADY {
            break;
        }
        let run = measure_once();
        if run.longest_look < best.longest_look {
            best = run;
        }
    }
    best
}

/// The 8254's count at this moment.
fn pit_count() -> u16 {
    // SAFETY: latches and reads channel 0.
    unsafe {
        io::outb(0x43, 0);
        u16::from_le_bytes([io::inb(0x40), io::inb(0x40)])
    }
}

/// Reads all three clocks twice, at least 2 ms apart.
fn measure_once() -> Measured {
    /// Polls before a machine without the timer is given up.
    const PATIENCE: u32 = 1 << 20;
    // SAFETY: as in `now_ns`.
    let tsc_before = unsafe { _rdtsc() };
    let pit_start = pit_count();
    let apic_start = apic::timer_current();
    // SAFETY: as in `now_ns`.
    let tsc_start = unsafe { _rdtsc() };
    let (mut last, mut longest) = (tsc_before, 0);
    for _ in 0..PATIENCE {
        // Down-counting, modulo 2^16.
        let ticks = pit_start.wrapping_sub(pit_count());
        let apic_ticks = u64::from(apic_start.wrapping_sub(apic::timer_current()));
        // SAFETY: as above.
        let now = unsafe { _rdtsc() };
        longest = longest.max(now - last);
        last = now;
        if ticks >= PIT_TICKS {
            let tsc_ticks = (now - tsc_start).max(1);
            let hz = |clock_ticks: u64| clock_ticks * PIT_HZ / u64::from(ticks);
            let longest_look = longest * 1000 / tsc_ticks;
            return Measured { tsc_hz: hz(tsc_ticks), apic_hz: hz(apic_ticks), longest_look };
        }
    }
    log::warn!("no 8254 timer to measure the clocks against: taken to run at 1 GHz");
    Measured { tsc_hz: 1_000_000_000, apic_hz: 1_000_000_000, longest_look: 0 }
}
