//! The floating-point and vector registers of the current program, for signal frames and exec.
//!
//! The kernel itself never uses these registers, so between two switches they hold the current program's values. They are
//! saved to the task's area when it is switched out and loaded when it is switched in.

/// A saved state that is not one the processor would accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFpuState;

/// The size in bytes of a saved state: the XSAVE area (standard format) of the features that are enabled, or 512 on a
/// processor that has FXSAVE only.
pub fn size() -> usize {
    todo!()
}

/// The feature mask of a saved state (XCR0); 3 on a processor that has FXSAVE only.
pub fn features() -> u64 {
    todo!()
}

/// Gives `f` the current program's registers, saved, in the format of a signal frame: [`size`] bytes.
pub fn with_saved<R>(_f: impl FnOnce(&[u8]) -> R) -> R {
    todo!()
}

/// Loads the current program's registers from what a signal frame held. `state` is [`size`] bytes, or 512 for a frame
/// without extended state. Nothing is loaded on error.
pub fn restore(_state: &[u8]) -> Result<(), BadFpuState> {
    todo!()
}

/// Gives the current program the state of a fresh one (execve).
pub fn reset() {
    todo!()
}
