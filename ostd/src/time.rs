//! The monotonic clock, based on the time-stamp counter, and the time of day at the boot.

use crate::arch::x86::{io, tsc};
use spin::Once;

/// Nanoseconds since the boot. Never goes back.
#[inline]
pub fn now_ns() -> u64 {
    tsc::now_ns()
}

static BOOT_EPOCH: Once<u64> = Once::new();

/// What the real-time clock said when the monotonic clock was 0: nanoseconds since 1970 (the CMOS clock counts seconds).
pub fn boot_epoch_ns() -> u64 {
    *BOOT_EPOCH.call_once(|| {
        let now = now_ns();
        (read_cmos_clock() * 1_000_000_000).saturating_sub(now)
    })
}

fn cmos(register: u8) -> u8 {
    // SAFETY: port 0x70 selects a CMOS register (and leaves NMIs on), 0x71 reads it; nothing else is changed.
    unsafe {
        io::outb(0x70, register);
        io::inb(0x71)
    }
}

/// Seconds since 1970, by the battery-backed clock, which is taken to run in UTC.
fn read_cmos_clock() -> u64 {
    const STATUS_A: u8 = 0x0a;
    const STATUS_B: u8 = 0x0b;
    const UPDATING: u8 = 1 << 7;
    const BINARY: u8 = 1 << 2;
    const HOURS_24: u8 = 1 << 1;
    const PM: u8 = 1 << 7;
    let read = || [0x00, 0x02, 0x04, 0x07, 0x08, 0x09].map(cmos);
    // Two equal readings outside an update; give up on a clock that never settles.
    let mut fields = read();
    for _ in 0..1000 {
        if cmos(STATUS_A) & UPDATING == 0 {
            let again = read();
            if again == fields {
                break;
            }
            fields = again;
        }
    }
    let status = cmos(STATUS_B);
    let decode =
        |value: u8| u64::from(if status & BINARY != 0 { value } else { (value >> 4) * 10 + (value & 15) });
    let [second, minute, hour, day, month, year] = fields;
    let mut hours = decode(hour & !PM);
    if status & HOURS_24 == 0 {
        hours = hours % 12 + if hour & PM != 0 { 12 } else { 0 };
    }
    let days = days_since_1970(2000 + decode(year), decode(month), decode(day));
    ((days * 24 + hours) * 60 + decode(minute)) * 60 + decode(second)
}

/// Days from 1970-01-01 to the given day of the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Years that begin in March, so that the leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days_to_year = year * 365 + year / 4 - year / 100 + year / 400;
    let days_to_month = (month * 153 + 2) / 5;
    // 719,468 days from 0000-03-01 to 1970-01-01.
    (days_to_year + days_to_month + day).saturating_sub(1 + 719_468)
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;
    use crate::ktest::ktest;

    #[ktest]
    fn calendar_knows_leap_years() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 2, 29), 11_016);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2026, 11, 22), 20_779);
    }

    #[ktest]
    fn clock_goes_forward() {
        let start = now_ns();
        let mut last = start;
        while last < start + 100_000 {
            let now = now_ns();
            assert!(now >= last);
            last = now;
        }
        assert!(boot_epoch_ns() > 1_600_000_000_000_000_000);
    }
}
