//! Locks and waiting.
//!
//! | type | holder may | for |
//! |---|---|---|
//! | [`SpinLock`] | not sleep | short sections, never shared with interrupt handlers |
//! | [`IrqSpinLock`] | not sleep; interrupts are off | short sections shared with interrupt handlers |
//! | [`Mutex`], [`RwLock`] | sleep | long sections; waiters sleep, uninterruptibly |
//! | [`ArcCell`] | (nothing is held) | a pointer that is read often and replaced seldom |
//! | [`WaitQueue`] | (nothing is held) | sleeping until a condition is true |
//!
//! Every lock has a [`LockRank`]; see [`rank`] for the check.

pub mod arc_cell;
pub mod mutex;
pub mod rank;
pub mod rwlock;
pub mod spin;
pub mod wait_queue;

pub use arc_cell::ArcCell;
pub use mutex::{Mutex, MutexGuard};
pub use rank::{LockRank, assert_may_sleep, ranks};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use spin::{IrqSafe, IrqSpinLock, IrqsOff, Plain, SpinLock, SpinLockGuard};
pub use wait_queue::{WaitGuard, WaitQueue, Wake, WakerRegistration};

#[cfg(feature = "ktest")]
mod test;
