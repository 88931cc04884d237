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

/// How areas are aligned: those of XSAVE, and those of FXSAVE.
const AREA_ALIGN: usize = 64;
const LEGACY_ALIGN: usize = 16;

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

/// Whether an area of `len` bytes may be at `addr`, a multiple of `align`.
fn check(addr: usize, align: usize, len: usize) -> Result<(), UserFault> {
    let aligned = addr.is_multiple_of(align);
    if aligned && addr <= USER_END - len { Ok(()) } else { Err(UserFault) }
}

/// Saves the current program's registers to its memory: [`size`] bytes at `addr`, a multiple of 64, and then `mark`. Of the
/// area, `software` fills the 48 bytes that the processor leaves to software.
pub fn save_to_user(addr: usize, software: &[u64; 6], mark: u32) -> Result<(), UserFault> {
    check(addr, AREA_ALIGN, size() + size_of_val(&mark))?;
    // SAFETY: checked above.
    unsafe { fpu::save_to_user(addr, software, mark) }
}

/// Loads the current program's registers from its memory at `addr`, a multiple of 64: [`size`] bytes, or, from a multiple of
/// 16, 512 if not `extended` (then the registers that FXSAVE does not know become fresh). On error, which is also what the processor says
/// to an illegal state, all registers become fresh.
pub fn restore_from_user(addr: usize, extended: bool) -> Result<(), UserFault> {
    let extended = extended && size() > LEGACY_SIZE;
    let (align, len) = if extended { (AREA_ALIGN, size()) } else { (LEGACY_ALIGN, LEGACY_SIZE) };
    if !extended {
        reset();
    }
    // SAFETY: checked before.
    let result = check(addr, align, len).and_then(|()| unsafe { fpu::load_from_user(addr, extended) });
    if result.is_err() {
        reset();
    }
    result
}

/// Exceptions of floating-point arithmetic, in the order of the bits that unmask and report them.
pub mod exceptions {
    /// The operands make no sense.
    pub const INVALID: u16 = 1;
    /// An operand is denormal.
    pub const DENORMAL: u16 = 1 << 1;
    /// Division by zero.
    pub const ZERO_DIVIDE: u16 = 1 << 2;
    /// The result is too large.
    pub const OVERFLOW: u16 = 1 << 3;
    /// The result is too small.
    pub const UNDERFLOW: u16 = 1 << 4;
    /// The result is not exact.
    pub const INEXACT: u16 = 1 << 5;
    pub(super) const ALL: u16 = 0x3f;
}

/// Which [`exceptions`] the current program's x87 instructions have raised and do not mask.
pub fn x87_exceptions() -> u16 {
    let (status, control) = fpu::x87_words();
    status & !control & exceptions::ALL
}

/// The same for its SSE and AVX instructions.
pub fn simd_exceptions() -> u16 {
    let control = fpu::mxcsr();
    (control & !(control >> 7)) as u16 & exceptions::ALL
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
