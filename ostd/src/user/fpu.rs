//! The floating-point and vector registers of the current program, for signal frames and exec.
//!
//! The kernel itself never uses these registers, so between two switches they hold the current program's values. They are
//! saved to the task's area when it is switched out and loaded when it is switched in. Signal frames are written and read
//! by the processor itself, straight to and from user memory: it checks what it loads.

use alloc::{vec, vec::Vec};

use super::mem::UserFault;
use crate::{
    arch::x86::{
        features,
        fpu::{self, LEGACY_SIZE},
    },
    mm::USER_END,
    task,
};

/// The size in bytes of a saved state: the XSAVE area (standard format) of the features that are enabled, or 512 on a
/// processor that has FXSAVE only.
#[inline]
pub fn size() -> usize {
    features::get().fpu_size
}

/// The feature mask of a saved state (XCR0); 3 on a processor that has FXSAVE only.
#[inline]
pub fn features() -> u64 {
    features::get().xcr0
}

/// Whether an area of `len` bytes may be at `addr`.
fn check(addr: usize, len: usize) -> Result<(), UserFault> {
    let aligned = addr.is_multiple_of(64);
    if aligned && addr <= USER_END - len { Ok(()) } else { Err(UserFault) }
}

/// Saves the current program's registers to its memory: [`size`] bytes at `addr`, a multiple of 64, and then `mark`. Of the
/// area, `software` fills the 48 bytes that the processor leaves to software.
pub fn save_to_user(addr: usize, software: &[u64; 6], mark: u32) -> Result<(), UserFault> {
    check(addr, size() + size_of_val(&mark))?;
    // SAFETY: checked above.
    unsafe { fpu::save_to_user(addr, software, mark) }
}

/// Loads the current program's registers from its memory at `addr`, a multiple of 64: [`size`] bytes, or 512 if not
/// `extended` (then the registers that FXSAVE does not know become fresh). On error, which is also what the processor says
/// to an illegal state, all registers become fresh.
pub fn restore_from_user(addr: usize, extended: bool) -> Result<(), UserFault> {
    let extended = extended && size() > LEGACY_SIZE;
    check(addr, if extended { size() } else { LEGACY_SIZE })?;
    if !extended {
        reset();
    }
    // SAFETY: checked above.
    let result = unsafe { fpu::load_from_user(addr, extended) };
    if result.is_err() {
        reset();
    }
    result
}

/// A copy of the current program's registers: [`size`] bytes, laid out as XSAVE lays them out (core dumps).
pub fn snapshot() -> Vec<u8> {
    let mut copy = vec![0; size()];
    task::with_current_fpu(|area| {
        area.save_all();
        area.copy_to(&mut copy);
    });
    copy
}

/// Gives the current program the registers of a fresh one (execve).
pub fn reset() {
    task::with_current_fpu(|area| {
        area.reset();
        area.load();
    });
}
