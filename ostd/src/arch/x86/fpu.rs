//! Saving and loading the FPU registers: `xsave` and its kin, or `fxsave` where that is all there is.

use super::{
    features,
    mem::{self, user_access},
};
use crate::user::{self, mem::UserFault};
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::{arch::asm, ptr::NonNull};

/// The alignment of an area.
const ALIGN: usize = 64;
/// The size of what FXSAVE knows.
pub(crate) const LEGACY_SIZE: usize = 512;
/// Where MXCSR is in an area.
const MXCSR: usize = 24;
/// Where the bytes are that the processor leaves to software.
const SOFTWARE: usize = 464;
/// Where the XSAVE header is: XSTATE_BV, XCOMP_BV, reserved words.
pub(crate) const HEADER: usize = 512;
pub(crate) const HEADER_SIZE: usize = 64;
/// The MXCSR of a fresh program: all exceptions masked.
const MXCSR_INIT: u32 = 0x1f80;
/// The control word of a fresh program: all exceptions masked, extended precision.
const FCW_INIT: u16 = 0x037f;

/// Memory for one saved state.
pub(crate) struct FpuArea(NonNull<u8>);

// SAFETY: the area is plain memory that it owns.
unsafe impl Send for FpuArea {}
// SAFETY: a shared reference gives no access to the memory but through unsafe functions.
unsafe impl Sync for FpuArea {}

fn layout() -> Layout {
    // The size comes from the processor and is far below `isize::MAX`.
    Layout::from_size_align(features::get().fpu_size, ALIGN).unwrap_or(Layout::new::<[u8; 4096]>())
}

impl FpuArea {
    /// An area that holds the state of a fresh program; `None` when there is no memory.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: the size is not 0.
        let area = FpuArea(NonNull::new(unsafe { alloc_zeroed(layout()) })?);
        // An XSAVE header of zeros means that every feature is in its initial state; FXRSTOR (and MXCSR) need values.
        // SAFETY: both lie in the first 512 bytes.
        unsafe {
            area.0.as_ptr().cast::<u16>().write(FCW_INIT);
            area.0.as_ptr().add(MXCSR).cast::<u32>().write(MXCSR_INIT);
        }
        Some(area)
    }

    /// Saves the registers of this CPU.
    #[inline]
    pub(crate) fn save(&mut self) {
        // SAFETY: the area is as large as the enabled features need, and aligned.
        unsafe { save_to(self.0.as_ptr()) }
    }

    /// As [`save`](Self::save), for an area from which the registers were not loaded: everything is written.
    pub(crate) fn save_all(&mut self) {
        let features = features::get();
        if features.xsave {
            // SAFETY: as in `save`.
            unsafe {
                asm!("xsave64 [{}]", in(reg) self.0.as_ptr(), in("eax") features.xcr0 as u32,
                     in("edx") (features.xcr0 >> 32) as u32, options(nostack, preserves_flags));
            }
        } else {
            self.save();
        }
    }

    /// Copies the saved state, or as much of it as `to` has room for.
    pub(crate) fn copy_to(&self, to: &mut [u8]) {
        let len = to.len().min(features::get().fpu_size);
        // SAFETY: the area is `fpu_size` bytes of initialised memory that it owns, and `to` is other memory.
        unsafe { core::ptr::copy_nonoverlapping(self.0.as_ptr(), to.as_mut_ptr(), len) };
    }

    /// Loads the registers of this CPU.
    #[inline]
    pub(crate) fn load(&self) {
        let features = features::get();
        // SAFETY: the area holds a state that was saved or validated, so loading it can't fault.
        unsafe {
            if features.xsave {
                asm!("xrstor64 [{}]", in(reg) self.0.as_ptr(), in("eax") features.xcr0 as u32,
                     in("edx") (features.xcr0 >> 32) as u32, options(nostack, preserves_flags));
            } else {
                asm!("fxrstor64 [{}]", in(reg) self.0.as_ptr(), options(nostack, preserves_flags));
            }
        }
    }

    /// Makes the state in the area that of a fresh program.
    pub(crate) fn reset(&mut self) {
        // SAFETY: an area has at least 512 bytes, and 576 with XSAVE.
        unsafe {
            let area = self.0.as_ptr();
            area.write_bytes(0, LEGACY_SIZE);
            area.cast::<u16>().write(FCW_INIT);
            area.add(MXCSR).cast::<u32>().write(MXCSR_INIT);
            if features::get().xsave {
                area.add(HEADER).write_bytes(0, HEADER_SIZE);
            }
        }
    }
}

impl Drop for FpuArea {
    fn drop(&mut self) {
        // SAFETY: it was allocated with the same layout.
        unsafe { dealloc(self.0.as_ptr(), layout()) };
    }
}

/// # Safety
/// `area` is aligned to 64 and as large as the enabled features need.
#[inline]
unsafe fn save_to(area: *mut u8) {
    let features = features::get();
    let (low, high) = (features.xcr0 as u32, (features.xcr0 >> 32) as u32);
    // SAFETY: as the caller says.
    unsafe {
        if features.xsaveopt {
            asm!("xsaveopt64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack, preserves_flags));
        } else if features.xsave {
            asm!("xsave64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack, preserves_flags));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
        }
    }
}

/// The x87 status and control words of this CPU.
pub(crate) fn x87_words() -> (u16, u16) {
    let (mut status, mut control) = (0u16, 0u16);
    // SAFETY: writes the two words; neither instruction waits for pending exceptions.
    unsafe {
        asm!("fnstsw word ptr [{}]", "fnstcw word ptr [{}]", in(reg) &raw mut status, in(reg) &raw mut control,
             options(nostack, preserves_flags));
    }
    (status, control)
}

/// The MXCSR of this CPU.
pub(crate) fn mxcsr() -> u32 {
    let mut value = 0u32;
    // SAFETY: writes the word.
    unsafe { asm!("stmxcsr dword ptr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    value
}

/// Saves the registers of this CPU to user memory at `addr`, with the words in it that belong to software, and `mark` right
/// behind it.
///
/// # Safety
/// `addr` is a multiple of 64, and the mark ends below `USER_END`.
pub(crate) unsafe fn save_to_user(addr: usize, software: &[u64; 6], mark: u32) -> Result<(), UserFault> {
    let features = features::get();
    if features.xsave {
        // SAFETY: as the caller says.
        return unsafe { mem::xsave_user(addr, software, features.xcr0, features.fpu_size, mark) };
    }
    // SAFETY: as the caller says; a fault is recovered from.
    unsafe { user_access!("fxsave64 [{addr}]", addr = in(reg) addr)? };
    user::mem::write(addr + SOFTWARE, software)?;
    user::mem::write(addr + features.fpu_size, &mark)
}

/// Loads the registers of this CPU from user memory: the XSAVE area at `addr`, or only the part of FXSAVE. On error,
/// some of them may have been loaded. The processor refuses what is not legal, whoever changes the memory meanwhile.
///
/// # Safety
/// As for [`save_to_user`]; without `extended`, a multiple of 16 will do.
pub(crate) unsafe fn load_from_user(addr: usize, extended: bool) -> Result<(), UserFault> {
    let features = features::get();
    let (low, high) = (features.xcr0 as u32, (features.xcr0 >> 32) as u32);
    // SAFETY: as the caller says; a fault is recovered from.
    unsafe {
        if extended && features.xsave {
            user_access!("xrstor64 [{addr}]", addr = in(reg) addr, in("eax") low, in("edx") high)
        } else {
            user_access!("fxrstor64 [{addr}]", addr = in(reg) addr)
        }
    }
}
