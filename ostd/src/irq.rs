//! Interrupts: the CPU's interrupt flag, and handlers for the lines of the I/O APIC.

use core::arch::asm;

/// Disables interrupts on this CPU; returns whether they were on.
#[inline(always)]
pub fn save_and_disable() -> bool {
    let flags: u64;
    // SAFETY: reading the flags and disabling interrupts breaks nobody's memory. No `nomem`: accesses must not move out
    // of the section that this opens.
    unsafe { asm!("pushfq", "pop {}", "cli", out(reg) flags, options(preserves_flags)) };
    flags & (1 << 9) != 0
}

/// Undoes [`save_and_disable`].
#[inline(always)]
pub fn restore(were_on: bool) {
    if were_on {
        // SAFETY: interrupts were on when the section began, so handlers may run. No `nomem`, as above.
        unsafe { asm!("sti", options(nostack, preserves_flags)) };
    }
}

/// Whether interrupts are on.
#[inline(always)]
pub fn enabled() -> bool {
    let flags: u64;
    // SAFETY: only reads the flags.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags, nomem)) };
    flags & (1 << 9) != 0
}

/// Runs `f` with interrupts off.
#[inline]
pub fn without<R>(f: impl FnOnce() -> R) -> R {
    let were_on = save_and_disable();
    let result = f();
    restore(were_on);
    result
}

/// Whether this CPU runs an interrupt handler.
#[inline]
pub fn in_handler() -> bool {
    crate::cpu::local().irq_depth() != 0
}

/// Installs the handler of an ISA interrupt line (COM1 is 4) and unmasks it. The handler runs with interrupts off, on the
/// boot CPU, must not sleep and takes only interrupt-safe locks. One handler per line.
pub fn set_isa_handler(line: u8, handler: fn()) {
    crate::arch::x86::apic::set_isa_handler(line, handler);
}

/// How often a CPU has been interrupted, by what.
pub struct Counts {
    /// By each of the first lines of the I/O APICs.
    pub lines: [u32; 16],
    /// By its own timer.
    pub timer: u32,
    /// By another CPU, to look for another task.
    pub reschedule: u32,
    /// By another CPU, to call a function (TLB flushes).
    pub call: u32,
}

/// The interrupts of `cpu` since it came up. The numbers wrap at 2^32.
pub fn counts(cpu: crate::cpu::CpuId) -> Counts {
    let [timer, reschedule, call] = crate::arch::x86::apic::local_counts(cpu);
    Counts { lines: crate::arch::x86::apic::line_counts(cpu), timer, reschedule, call }
}
