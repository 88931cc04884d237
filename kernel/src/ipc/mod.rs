//! Communication between processes that is not a file.

pub mod futex;
pub mod mqueue;
pub mod sysv;
mod waiter;
