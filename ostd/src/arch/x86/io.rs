//! Port-mapped I/O and the few privileged instructions that many parts need.
//!
//! Everything is `pub(crate)`: a port write can do anything to the machine, so the kernel never gets one.

use core::arch::asm;

/// Writes a byte to `port`.
///
/// # Safety
/// The device behind `port` must not break memory safety by this write.
#[inline]
pub(crate) unsafe fn outb(port: u16, value: u8) {
    // SAFETY: the caller vouches for the effect on the device; no memory is touched.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack, preserves_flags)) }
}

/// Writes a 16-bit word to `port`.
///
/// # Safety
/// As for [`outb`].
#[inline]
pub(crate) unsafe fn outw(port: u16, value: u16) {
    // SAFETY: as in `outb`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) }
}

/// Writes a 32-bit word to `port`.
///
/// # Safety
/// As for [`outb`].
#[inline]
#[allow(dead_code)] // PCI configuration will want it.
pub(crate) unsafe fn outl(port: u16, value: u32) {
    // SAFETY: as in `outb`.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) }
}

/// Reads a byte from `port`.
///
/// # Safety
/// Reading must have no effect on the device that breaks memory safety.
#[inline]
pub(crate) unsafe fn inb(port: u16) -> u8 {
    let value: u8;
    // SAFETY: the caller vouches for the effect on the device; no memory is touched.
    unsafe { asm!("in al, dx", out("al") value, in("dx") port, options(nomem, nostack, preserves_flags)) }
    value
}

/// Reads a 16-bit word from `port`.
///
/// # Safety
/// As for [`inb`].
#[inline]
pub(crate) unsafe fn inw(port: u16) -> u16 {
    let value: u16;
    // SAFETY: as in `inb`.
    unsafe { asm!("in ax, dx", out("ax") value, in("dx") port, options(nomem, nostack, preserves_flags)) }
    value
}

/// Reads a 32-bit word from `port`.
///
/// # Safety
/// As for [`inb`].
#[inline]
#[allow(dead_code)] // The ACPI timer is read with it when there is no better clock.
pub(crate) unsafe fn inl(port: u16) -> u32 {
    let value: u32;
    // SAFETY: as in `inb`.
    unsafe { asm!("in eax, dx", out("eax") value, in("dx") port, options(nomem, nostack, preserves_flags)) }
    value
}

/// Disables interrupts and returns whether they were enabled. Undo with [`irq_restore`].
#[inline]
pub(crate) fn irq_save() -> bool {
    let flags: u64;
    // SAFETY: reading the flags and clearing IF has no effect on memory.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags) };
    flags & (1 << 9) != 0
}

/// Enables interrupts again if `enabled`, the value that [`irq_save`] returned.
#[inline]
pub(crate) fn irq_restore(enabled: bool) {
    if enabled {
        // SAFETY: interrupts were enabled when the matching `irq_save` was called, so handlers are set up.
        unsafe { asm!("sti") };
    }
}

/// Stops this CPU for good.
pub(crate) fn halt_forever() -> ! {
    loop {
        // SAFETY: with interrupts disabled `hlt` waits for an NMI at most, and touches no memory.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
