//! The floating-point and vector registers of the current program, for signal frames and exec.
//!
//! The kernel itself never uses these registers, so between two switches they hold the current program's values. They are
//! saved to the task's area when it is switched out and loaded when it is switched in.

use crate::{
    arch::x86::{
        features,
        fpu::{HEADER, MXCSR, MXCSR_INIT},
    },
    task,
};

/// A saved state that is not one the processor would accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFpuState;

/// Where the mask of legal MXCSR bits is in a saved state.
const MXCSR_MASK: usize = 28;
/// The legal MXCSR bits of a processor that says nothing.
const MXCSR_MASK_DEFAULT: u32 = 0xffbf;
/// The size of the part that FXSAVE knows.
const LEGACY_SIZE: usize = 512;
/// The feature bits of x87 and SSE.
const LEGACY_FEATURES: u64 = 3;

/// The size in bytes of a saved state: the XSAVE area (standard format) of the features that are enabled, or 512 on a
/// processor that has FXSAVE only.
pub fn size() -> usize {
    features::get().fpu_size
}

/// The feature mask of a saved state (XCR0); 3 on a processor that has FXSAVE only.
pub fn features() -> u64 {
    features::get().xcr0
}

/// Gives `f` the current program's registers, saved, in the format of a signal frame: [`size`] bytes. `f` runs with
/// interrupts off: it copies the bytes elsewhere, not to user memory.
pub fn with_saved<R>(f: impl FnOnce(&[u8]) -> R) -> R {
    task::with_current_fpu(|area| {
        area.save();
        f(area.bytes())
    })
}

/// Loads the current program's registers from what a signal frame held. `state` is [`size`] bytes, or 512 for a frame
/// without extended state. Nothing is loaded on error.
pub fn restore(state: &[u8]) -> Result<(), BadFpuState> {
    let features = features::get();
    if state.len() != LEGACY_SIZE && state.len() != features.fpu_size {
        return Err(BadFpuState);
    }
    validate(state, features.xcr0)?;
    task::with_current_fpu(|area| {
        // Which bits of MXCSR exist, the processor says in what it saves itself.
        area.save();
        let mask = match u32_at(area.bytes(), MXCSR_MASK) {
            0 => MXCSR_MASK_DEFAULT,
            mask => mask,
        };
        if u32_at(state, MXCSR) & !mask != 0 {
            return Err(BadFpuState);
        }
        let bytes = area.bytes_mut();
        bytes[..state.len()].copy_from_slice(state);
        if state.len() == LEGACY_SIZE && bytes.len() > LEGACY_SIZE {
            // Only x87 and SSE are there: the rest goes back to its initial state.
            bytes[HEADER..HEADER + 64].fill(0);
            bytes[HEADER..HEADER + 8].copy_from_slice(&LEGACY_FEATURES.to_le_bytes());
        }
        area.load();
        Ok(())
    })
}

/// What XRSTOR would not accept in the header: features that are not enabled, the compacted format, reserved words.
fn validate(state: &[u8], xcr0: u64) -> Result<(), BadFpuState> {
    if state.len() > LEGACY_SIZE {
        let (present, rest) = state[HEADER..HEADER + 64].split_at(8);
        let present = u64::from_le_bytes(present.try_into().map_err(|_| BadFpuState)?);
        if present & !xcr0 != 0 || rest.iter().any(|byte| *byte != 0) {
            return Err(BadFpuState);
        }
    }
    Ok(())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Gives the current program the state of a fresh one (execve).
pub fn reset() {
    task::with_current_fpu(|area| {
        let bytes = area.bytes_mut();
        bytes[..HEADER].fill(0);
        // All exceptions masked, extended precision.
        bytes[..2].copy_from_slice(&0x037fu16.to_le_bytes());
        bytes[MXCSR..MXCSR + 4].copy_from_slice(&MXCSR_INIT.to_le_bytes());
        if bytes.len() > LEGACY_SIZE {
            bytes[HEADER..HEADER + 64].fill(0);
        }
        area.load();
    });
}
