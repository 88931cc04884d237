//! ostd: the framework of Foster, and the only crate that has `unsafe` code.
//!
//! It offers mechanism and knows no policy: frames, page tables, address spaces, tasks and a scheduler hook,
//! entry to user mode, locks, wait queues, timers, interrupts, per-CPU data, boot information, console and
//! power-off. There is no pid, no file and no signal in here.
//!
//! The property that the rest of the kernel rests on: whatever safe code does with this API, it can not break
//! memory safety. A frame that safe code can name holds untyped bytes only; page tables, stacks and the heap are
//! never reachable as frames, and user memory is reached by copies that may fail.
#![no_std]

extern crate alloc;

pub mod arch;
pub mod boot;
pub mod console;
pub mod logger;
pub mod mm;
pub mod panic;
pub mod power;
pub mod random;
pub mod user;

/// Until the clock is there.
mod time {
    pub(crate) fn now_ns() -> u64 {
        0
    }
}
