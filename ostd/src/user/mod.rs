//! User mode: its memory, and the way in and out.

pub mod context;
pub mod fpu;
pub mod mem;

#[cfg(feature = "ktest")]
mod test;

pub use context::{ExceptionInfo, GeneralRegs, UserContext, UserExit};
