//! The monotonic clock, based on the time-stamp counter.

/// Nanoseconds since the boot. Never goes back, on any CPU.
#[inline]
pub fn now_ns() -> u64 {
    0
}

/// What the real-time clock said when the monotonic clock was 0: nanoseconds since 1970 (the CMOS clock counts seconds).
pub fn boot_epoch_ns() -> u64 {
    todo!()
}
