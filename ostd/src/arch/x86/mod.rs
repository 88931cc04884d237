//! x86_64: entry from the boot loader, port I/O, page-table formats, per-CPU data, traps, interrupt controllers.

/// Assembly: takes the registers of a frame off the stack, the last one pushed first.
macro_rules! pop_registers {
    () => {
        "pop r15
        pop r14
        pop r13
        pop r12
        pop rbp
        pop rbx
        pop r11
        pop r10
        pop r9
        pop r8
        pop rax
        pop rcx
        pop rdx
        pop rsi
        pop rdi"
    };
}
pub(crate) use pop_registers;

pub(crate) mod apic;
pub(crate) mod boot;
pub(crate) mod cpu_local;
pub(crate) mod ex_table;
pub(crate) mod features;
pub(crate) mod fpu;
pub(crate) mod gdt;
pub(crate) mod io;
pub(crate) mod madt;
pub(crate) mod mem;
pub(crate) mod paging;
pub(crate) mod selectors;
pub(crate) mod smp;
#[cfg(target_os = "none")]
mod string;
pub(crate) mod trap;
pub(crate) mod tsc;

/// The boot CPU's first steps: per-CPU data (which locks need), segments, the IDT. Needs no memory.
///
/// # Safety
/// Once, on the boot CPU, before anything else.
pub(crate) unsafe fn init_early() {
    // SAFETY: as the caller says: the boot CPU is number 0, and alone.
    unsafe {
        cpu_local::install(crate::cpu::CpuId::BOOT);
        features::detect();
        // User copies that find SMAP on without their windows would fault.
        mem::patch_smap();
        ex_table::sort();
        features::enable();
        mem::init();
        trap::init();
        trap::load(gdt::boot_ist());
    }
}

/// The rest, when memory is there: interrupt controllers, the clock, the syscall entry.
///
/// # Safety
/// Once, on the boot CPU, with interrupts off.
pub(crate) unsafe fn init() -> Result<(), crate::mm::OutOfMemory> {
    crate::user::context::init_this_cpu();
    let madt = madt::Madt::read();
    apic::init(&madt)?;
    apic::init_this_cpu();
    tsc::init();
    smp::init(&madt);
    Ok(())
}
