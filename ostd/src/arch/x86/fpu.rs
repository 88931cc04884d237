//! Saving and loading the FPU registers: `xsave` and its kin, or `fxsave` where that is all there is.

use super::features;
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::{arch::asm, ptr::NonNull};

/// The alignment of an area.
const ALIGN: usize = 64;
/// Where MXCSR is in an area.
pub(crate) const MXCSR: usize = 24;
/// Where the XSAVE header is: XSTATE_BV, XCOMP_BV, reserved words.
pub(crate) const HEADER: usize = 512;
/// The MXCSR of a fresh program: all exceptions masked.
pub(crate) const MXCSR_INIT: u32 = 0x1f80;
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

    /// The bytes of the saved state.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the area is that long and initialised, and `&mut self` is needed to write to it.
        unsafe { core::slice::from_raw_parts(self.0.as_ptr(), features::get().fpu_size) }
    }

    /// The bytes of the saved state, for writing. What is written is validated before it is loaded.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.0.as_ptr(), features::get().fpu_size) }
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
