//! User mode: its memory, and the way in and out.

pub mod context;
pub mod fpu;
pub mod mem;
pub mod vdso;

#[cfg(feature = "ktest")]
mod test;

pub use context::{ExceptionInfo, GeneralRegs, SINGLE_STEP, UserContext, UserExit};

/// Whether the current program may read the processor's time-stamp counter; if not, it is a general protection exception. Children
/// that [inherit the FPU](crate::task::TaskBuilder::inherit_fpu) inherit this.
pub fn allow_tsc(allowed: bool) {
    crate::task::set_no_tsc(!allowed);
}

/// Gives the current program the segment selectors of a fresh one (execve): none. Its context has to be a new one too, from which
/// the bases are loaded.
pub fn clear_selectors() {
    crate::task::clear_selectors();
}
