//! Entry from the boot loader: PVH's 32-bit protected mode to 64-bit code in the higher half.
//!
//! The PVH note names `__pvh_start`; the loader enters it with paging off and the physical address of the start
//! info in `ebx`. The code here builds the first page tables (the low 4 GiB at 0, at the direct map's address and,
//! its first GiB, at the kernel's link address), turns on long mode and calls [`crate::boot::start`].
//! These tables stay as they are for the other CPUs, whose start needs the identity mapping too; see [`pml4`].

use crate::mm::Paddr;
use core::arch::global_asm;

/// Bytes of the stack that the boot CPU runs on until the first task.
const BOOT_STACK_SIZE: usize = 64 * 1024;

global_asm!(
    r#"
    // Xen ELF note 18, PHYS32_ENTRY: the physical address of the 32-bit entry point.
    .pushsection .note.pvh, "a", @note
    .balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long __pvh_start
    .popsection

    .pushsection .boot, "awx", @progbits
    .code32
    .global __pvh_start
__pvh_start:
    cli
    cld
    mov esi, ebx

    // Four page directories: 2048 large pages of 2 MiB, present and writable.
    mov edi, offset __boot_pd
    mov eax, 0x83
    mov ecx, 2048
2:
    mov [edi], eax
    add edi, 8
    add eax, 0x200000
    dec ecx
    jnz 2b

    // One page directory pointer table for the low 4 GiB, used by the identity and the direct mapping.
    mov edi, offset __boot_pdpt
    mov eax, offset __boot_pd + 3
    mov ecx, 4
3:
    mov [edi], eax
    add edi, 8
    add eax, 0x1000
    dec ecx
    jnz 3b

    // The kernel's link address: its second last GiB is the first GiB of memory.
    mov dword ptr [__boot_pdpt_high + 510 * 8], offset __boot_pd + 3

    mov dword ptr [__boot_pml4], offset __boot_pdpt + 3
    mov dword ptr [__boot_pml4 + 256 * 8], offset __boot_pdpt + 3
    mov dword ptr [__boot_pml4 + 511 * 8], offset __boot_pdpt_high + 3

    // PAE, then long mode with no-execute, then paging with write protection for the kernel too.
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov eax, offset __boot_pml4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0x9fffffff
    or eax, 0x80010001
    mov cr0, eax

    lgdt [__boot_gdt_ptr]
    // A far jump, by hand: the assembler's Intel syntax has no spelling for it.
    .byte 0xea
    .long __boot_long_mode
    .word 8

    .code64
__boot_long_mode:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    movabs rsp, offset __boot_stack_top
    xor ebp, ebp
    mov edi, esi
    movabs rax, offset {start}
    call rax
    ud2

    .balign 16
__boot_gdt:
    .quad 0
    .quad 0x00209a0000000000
    .quad 0x0000920000000000
__boot_gdt_ptr:
    .word . - __boot_gdt - 1
    .long __boot_gdt
    .popsection

    .pushsection .boot.bss, "aw", @nobits
    .balign 4096
    .global __boot_pml4
__boot_pml4:      .skip 4096
__boot_pdpt:      .skip 4096
__boot_pdpt_high: .skip 4096
__boot_pd:        .skip 4 * 4096
    .popsection

    .pushsection .bss.boot_stack, "aw", @nobits
    .balign 4096
    .skip {stack_size}
__boot_stack_top:
    .popsection
    "#,
    start = sym crate::boot::start,
    stack_size = const BOOT_STACK_SIZE,
);

/// The page tables of the first moments: identity, direct and kernel mapping of the low 4 GiB (1 GiB for the last).
/// They lie below 4 GiB, as a CPU that starts in 32-bit mode needs.
#[allow(dead_code)] // For the start of the other CPUs.
pub(crate) fn pml4() -> Paddr {
    let paddr: usize;
    // SAFETY: loads a constant. The `boot` segment is linked at its physical address, too far away from the code
    // for an address relative to it.
    unsafe {
        core::arch::asm!("movabs {}, offset __boot_pml4", out(reg) paddr, options(nomem, nostack, preserves_flags));
    }
    paddr
}
