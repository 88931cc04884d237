//! The format of page table entries, and the registers and instructions around them.

use crate::mm::{Paddr, Vaddr};
use core::arch::asm;

/// The entry is used by the processor.
pub(crate) const PRESENT: u64 = 1;
pub(crate) const WRITE: u64 = 1 << 1;
pub(crate) const USER: u64 = 1 << 2;
/// With `NO_CACHE`: device memory.
pub(crate) const WRITE_THROUGH: u64 = 1 << 3;
pub(crate) const NO_CACHE: u64 = 1 << 4;
/// At level 2 and 3: maps 2 MiB or 1 GiB.
pub(crate) const HUGE: u64 = 1 << 7;
/// Stays in the TLB when CR3 is loaded: all kernel mappings.
pub(crate) const GLOBAL: u64 = 1 << 8;
pub(crate) const NO_EXEC: u64 = 1 << 63;
/// The physical address in an entry.
pub(crate) const ADDR_MASK: u64 = 0x000f_ffff_ffff_f000;

/// Entries in a table.
pub(crate) const ENTRIES: usize = 512;

/// The index into the table of `level` (1 to 4) for address `va`.
#[inline(always)]
pub(crate) const fn index(va: Vaddr, level: usize) -> usize {
    va >> (12 + 9 * (level - 1)) & (ENTRIES - 1)
}

/// Loads CR3: the address space of this CPU, and flushes its TLB but for global entries.
///
/// # Safety
/// `root` is a top-level table that maps the kernel as the current one does, and lives as long as it is loaded.
#[inline(always)]
pub(crate) unsafe fn load_root(root: Paddr) {
    // SAFETY: the caller's promise keeps all kernel addresses valid.
    unsafe { asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// Flushes this CPU's TLB but for global entries.
#[inline(always)]
pub(crate) fn flush_user() {
    // SAFETY: loads what is loaded.
    unsafe { asm!("mov {0}, cr3", "mov cr3, {0}", out(reg) _, options(nostack, preserves_flags)) };
}

/// Flushes the entry for `va` from this CPU's TLB.
#[inline(always)]
pub(crate) fn flush_page(va: Vaddr) {
    // SAFETY: a flush has no effect but time.
    unsafe { asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags)) };
}

/// Whether pages of 1 GiB can be used.
pub(crate) fn has_gib_pages() -> bool {
    core::arch::x86_64::__cpuid(0x8000_0000).eax >= 0x8000_0001
        && core::arch::x86_64::__cpuid(0x8000_0001).edx & (1 << 26) != 0
}
