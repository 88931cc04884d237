//! The segment selectors of a program: ds, es, fs and gs.
//!
//! In 64-bit mode they mean next to nothing, and programs leave them 0; but a program may load them, so they are registers of
//! its thread like the others. The kernel never looks at them. While they are all 0, as ever, a task switch finds that out by
//! reading them.
//!
//! Loading fs or gs changes that segment's base too: bases are saved before and loaded after.

use core::arch::asm;

/// The selectors, packed: ds in the lowest 16 bits, then es, fs, gs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Selectors(u64);

impl Selectors {
    /// Those of a fresh program.
    pub(crate) const NULL: Selectors = Selectors(0);

    #[inline(always)]
    pub(crate) fn are_null(self) -> bool {
        self.0 == 0
    }

    /// Those in the processor.
    pub(crate) fn read() -> Selectors {
        let (ds, es, fs, gs): (u64, u64, u64, u64);
        // SAFETY: reading them has no effect.
        unsafe {
            asm!("mov {:r}, ds", "mov {:r}, es", "mov {:r}, fs", "mov {:r}, gs",
                 out(reg) ds, out(reg) es, out(reg) fs, out(reg) gs, options(nomem, nostack, preserves_flags));
        }
        Selectors(ds & 0xffff | (es & 0xffff) << 16 | (fs & 0xffff) << 32 | (gs & 0xffff) << 48)
    }

    /// Loads them. The bases of fs and gs are undefined afterwards.
    ///
    /// # Safety
    /// Interrupts are off, and they are [`NULL`](Self::NULL) or were read from a processor while a program ran.
    #[cold]
    pub(crate) unsafe fn load(self) {
        let part = |n: u32| (self.0 >> (16 * n)) as u16;
        // SAFETY: a program had loaded them, and all CPUs have the same segments, so no load is refused. The kernel's data and
        // stack are not reached by these registers, and its GS base is out of the way while gs is loaded: no interrupt comes,
        // and an exception on a stack of its own (NMI, machine check) finds this CPU's data without it.
        unsafe {
            asm!("mov ds, {:e}", "mov es, {:e}", "mov fs, {:e}", "swapgs", "mov gs, {:e}", "swapgs",
                 in(reg) u32::from(part(0)), in(reg) u32::from(part(1)), in(reg) u32::from(part(2)),
                 in(reg) u32::from(part(3)), options(nostack, preserves_flags));
        }
    }
}

/// Whether any is not 0: the question of every task switch.
#[inline(always)]
pub(crate) fn any() -> bool {
    let all: u32;
    // SAFETY: reading them has no effect.
    unsafe {
        asm!("mov {all:e}, ds", "mov {one:e}, es", "or {all:e}, {one:e}", "mov {one:e}, fs", "or {all:e}, {one:e}",
             "mov {one:e}, gs", "or {all:e}, {one:e}", all = out(reg) all, one = out(reg) _, options(nomem, nostack));
    }
    all != 0
}
