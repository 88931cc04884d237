//! The FPU part of a signal frame: an XSAVE image and the words by which software tells its length.
//!
//! Bytes 464..512 of the legacy area belong to software: a magic number, the length with and without the second
//! magic number that ends the image, and the features in it (sigcontext.h, `_fpx_sw_bytes`).

use ostd::user::{fpu, mem};

use crate::prelude::*;

const SW_RESERVED: usize = 464;
const MAGIC1: u32 = 0x4650_5853;
const MAGIC2: u32 = 0x4650_5845;
const MAGIC2_SIZE: usize = 4;

/// Bytes that the image takes on the stack.
pub(super) fn frame_size() -> usize {
    fpu::size() + MAGIC2_SIZE
}

/// The first of software's words: the magic number, and the length in the upper half.
fn first_word() -> u64 {
    u64::from(MAGIC1) | (frame_size() as u64) << 32
}

/// Writes the calling thread's FPU state to `addr`, which is 64-byte aligned.
///
/// # Errors
/// `EFAULT`.
pub(super) fn save(addr: usize) -> Result<()> {
    let software = [first_word(), fpu::features(), fpu::size() as u64, 0, 0, 0];
    Ok(fpu::save_to_user(addr, &software, MAGIC2)?)
}

/// Loads the FPU state from `addr`: the whole image if its software words are those that [`save`] writes, else
/// the legacy part alone.
///
/// # Errors
/// `EFAULT`, also for a state that the processor refuses. Then the registers are those of a fresh program.
pub(super) fn restore(addr: usize) -> Result<()> {
    match is_extended(addr) {
        Ok(extended) => Ok(fpu::restore_from_user(addr, extended)?),
        Err(error) => {
            fpu::reset();
            Err(error)
        }
    }
}

fn is_extended(addr: usize) -> Result<bool> {
    let at = |offset: usize| addr.checked_add(offset).ok_or(EFAULT);
    let size = fpu::size();
    Ok(mem::read::<u64>(at(SW_RESERVED)?)? as u32 == MAGIC1
        && mem::read::<u32>(at(SW_RESERVED + 16)?)? as usize == size
        && mem::read::<u32>(at(size)?)? == MAGIC2)
}
