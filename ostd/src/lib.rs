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
// The `#[ktest]` macro names this crate by its name, from outside and from inside.
extern crate self as ostd;

pub(crate) mod arch;
pub mod boot;
pub mod console;
pub mod cpu;
pub mod irq;
pub mod ktest;
pub mod logger;
pub mod mm;
pub mod panic;
pub mod power;
pub mod random;
pub mod sync;
pub mod task;
pub mod time;
pub mod timer;
pub mod user;
