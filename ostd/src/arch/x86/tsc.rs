//! The time-stamp counter as a clock, and how fast it and the APIC timer run.
//!
//! The frequency is read from CPUID where it says (leaf 0x15, a hypervisor's leaf 0x40000010), else both are measured
//! against the 8254 timer: three runs of 2 ms, of which the shortest counts, because a delay can only lengthen one.

use super::{apic, io};
use core::{
    arch::{
        asm,
        x86_64::{__cpuid, __cpuid_count, _rdtsc},
    },
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
}

const PIT_HZ: u64 = 1_193_182;
/// 2 ms.
const PIT_TICKS: u64 = PIT_HZ / 500;

fn measure() -> Measured {
    let (mut tsc, mut apic) = (u64::MAX, u64::MAX);
    for _ in 0..3 {
        let (tsc_run, apic_run) = measure_once();
        tsc = tsc.min(tsc_run);
        apic = apic.min(apic_run);
    }
    Measured { tsc_hz: tsc * PIT_HZ / PIT_TICKS, apic_hz: apic * PIT_HZ / PIT_TICKS }
}

/// Lets channel 2 of the 8254 count down once; returns how far the TSC and the APIC timer went meanwhile.
fn measure_once() -> (u64, u64) {
    const GATE_PORT: u16 = 0x61;
    const OUTPUT: u8 = 1 << 5;
    /// Polls before a machine without the timer is given up: far more than 2 ms.
    const PATIENCE: u32 = 1 << 22;
    // SAFETY: channel 2 drives nothing but the speaker, which is off; the counters may be read at any time.
    unsafe {
        let gate = io::inb(GATE_PORT) & !3;
        io::outb(GATE_PORT, gate);
        // Channel 2, both bytes, mode 0: the output rises at the end.
        io::outb(0x43, 0b1011_0000);
        io::outb(0x42, PIT_TICKS as u8);
        io::outb(0x42, (PIT_TICKS >> 8) as u8);
        apic::set_timer(u32::MAX);
        io::outb(GATE_PORT, gate | 1);
        let apic_start = apic::timer_current();
        let tsc_start = _rdtsc();
        let mut patience = PATIENCE;
        while io::inb(GATE_PORT) & OUTPUT == 0 && patience > 0 {
            asm!("pause", options(nomem, nostack, preserves_flags));
            patience -= 1;
        }
        let tsc = _rdtsc() - tsc_start;
        let apic = apic_start - apic::timer_current();
        apic::set_timer(0);
        io::outb(GATE_PORT, gate);
        (tsc, u64::from(apic))
    }
}
