//! Segments and the task-state segment of each CPU.
//!
//! The selectors are those of Linux, because programs see some of them (in signal frames): kernel code 0x10 and data
//! 0x18, user data 0x2b and code 0x33. `syscall` and `sysret` want the four in this order. There is no 32-bit user code
//! segment. Segment 0x7b tells programs on which CPU they are.

use super::cpu_local::{self, CpuLocal};
use core::arch::asm;

pub(crate) const KERNEL_CS: u16 = 0x10;
pub(crate) const KERNEL_SS: u16 = 0x18;
pub(crate) const USER_SS: u16 = 0x2b;
pub(crate) const USER_CS: u16 = 0x33;
const TSS_SELECTOR: u16 = 0x40;
/// A segment of which only the limit counts: it is the number of the CPU, which programs read by `lsl`.
pub(crate) const CPU_SEGMENT: u16 = 0x7b;

/// What bits 32..48 and 48..64 of the STAR register hold: the bases of the selectors for `syscall` and `sysret`.
pub(crate) const STAR: u64 = (KERNEL_CS as u64) << 32 | ((USER_SS - 8) as u64) << 48;

const CODE64: u64 = 0x00af_9b00_0000_ffff;
const DATA: u64 = 0x00cf_9300_0000_ffff;
const USER: u64 = 3 << 45;
/// Data that can only be read, by programs too, with a limit in bytes.
const CPU_NUMBER: u64 = 0xf1 << 40;

/// Interrupt stacks: which entry of the TSS table an exception uses.
pub(crate) const IST_DOUBLE_FAULT: u8 = 1;
pub(crate) const IST_NMI: u8 = 2;
pub(crate) const IST_DEBUG: u8 = 3;
pub(crate) const IST_MACHINE_CHECK: u8 = 4;
pub(crate) const IST_COUNT: usize = 4;
/// The size and the alignment of an interrupt stack.
pub(crate) const IST_SIZE: usize = 8192;

/// One interrupt stack. Its last words hold the address of the CPU's [`CpuLocal`], for entry code that can't trust the
/// GS base.
#[repr(C, align(8192))]
pub(crate) struct IstStack([u8; IST_SIZE]);

/// The interrupt stacks of one CPU.
pub(crate) type IstStacks = [IstStack; IST_COUNT];

/// The boot CPU's: there is no heap yet when it needs them.
static mut BOOT_IST: IstStacks = [const { IstStack([0; IST_SIZE]) }; IST_COUNT];

/// The boot CPU's interrupt stacks.
pub(crate) fn boot_ist() -> *mut IstStacks {
    &raw mut BOOT_IST
}

/// Loads this CPU's segments and TSS.
///
/// # Safety
/// Once on each CPU, after [`cpu_local::install`], with stacks that are this CPU's for good.
pub(crate) unsafe fn load(stacks: *mut IstStacks) {
    let local = cpu_local::local();
    let tss = local.tss.get();
    // SAFETY: only this CPU touches its TSS and GDT, and no other reference to them exists. The stacks are the caller's
    // to give.
    unsafe {
        for i in 0..IST_COUNT {
            let end = stacks.cast::<IstStack>().add(i + 1).cast::<u64>();
            end.sub(2).write(core::ptr::from_ref::<CpuLocal>(local) as u64);
            (&raw mut (*tss).ist[i]).write_unaligned(end.sub(2) as u64);
        }
        let base = tss as u64;
        let limit = size_of::<cpu_local::Tss>() as u64 - 1;
        let gdt = &mut *local.gdt.get();
        gdt[2] = CODE64;
        gdt[3] = DATA;
        gdt[5] = DATA | USER;
        gdt[6] = CODE64 | USER;
        gdt[8] = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        gdt[9] = base >> 32;
        gdt[usize::from(CPU_SEGMENT / 8)] = CPU_NUMBER | crate::cpu::current().as_usize() as u64;
        #[repr(C, packed)]
        struct Pointer {
            limit: u16,
            base: u64,
        }
        let pointer = Pointer { limit: size_of_val(gdt) as u16 - 1, base: gdt.as_ptr() as u64 };
        // The GS base is kept: loading a null selector clears it on some processors, so it is written again.
        let gs_base = core::ptr::from_ref::<CpuLocal>(local) as u64;
        asm!(
            "lgdt [{pointer}]",
            "push {cs}",
            "lea {tmp}, [rip + 2f]",
            "push {tmp}",
            "retfq",
            "2:",
            "mov ss, {ss:e}",
            "mov ds, {zero:e}",
            "mov es, {zero:e}",
            "mov fs, {zero:e}",
            "mov gs, {zero:e}",
            "ltr {tr:x}",
            // A processor starts with a local table at address 0: programs' memory, from which their selectors would get
            // descriptors, call gates to ring 0 among them.
            "lldt {zero:x}",
            pointer = in(reg) &pointer,
            cs = const KERNEL_CS,
            tmp = out(reg) _,
            ss = in(reg) u32::from(KERNEL_SS),
            zero = in(reg) 0u32,
            tr = in(reg) TSS_SELECTOR,
        );
        super::features::write_msr(0xc000_0101, gs_base);
    }
}
