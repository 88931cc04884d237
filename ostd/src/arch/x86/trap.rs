//! Exceptions and interrupts: the IDT, the entry code and the dispatch.
//!
//! *From ring 3* the processor switches to the stack in `TSS.rsp0`, which is the end of the frame in the current
//! [`UserContext`](crate::user::UserContext): it and the entry code save the registers straight there, and then
//! [`UserContext::execute`](crate::user::UserContext::execute) returns to its caller. *From ring 0* the registers are
//! saved on the current stack and [`kernel_trap`] is called. Double fault, NMI, debug and machine check have stacks of
//! their own, because they can come when the stack pointer or the GS base is not the kernel's yet; their entry code finds
//! this CPU's data at the end of the stack.

use super::{
    apic, cpu_local, ex_table, features,
    gdt::{self, IST_DEBUG, IST_DOUBLE_FAULT, IST_MACHINE_CHECK, IST_NMI, IST_SIZE, KERNEL_CS},
};
use crate::{
    cpu::{self, MAX_CPUS, PerCpu},
    irq, mm,
    sync::rank,
    user::context,
};
use core::{
    arch::{asm, global_asm},
    cell::UnsafeCell,
    fmt,
    sync::atomic::{AtomicPtr, Ordering},
};

pub(crate) const DEBUG: u64 = 1;
pub(crate) const NMI: u64 = 2;
pub(crate) const DOUBLE_FAULT: u64 = 8;
pub(crate) const GENERAL_PROTECTION: u64 = 13;
pub(crate) const PAGE_FAULT: u64 = 14;
pub(crate) const MACHINE_CHECK: u64 = 18;
/// The first vector that is not an exception.
pub(crate) const FIRST_IRQ: u64 = 32;

/// The registers at an exception or interrupt in ring 0, as the entry code saves them.
#[repr(C)]
#[allow(missing_docs)]
pub(crate) struct TrapFrame {
    pub(crate) r15: u64,
    pub(crate) r14: u64,
    pub(crate) r13: u64,
    pub(crate) r12: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    pub(crate) r11: u64,
    pub(crate) r10: u64,
    pub(crate) r9: u64,
    pub(crate) r8: u64,
    pub(crate) rax: u64,
    pub(crate) rcx: u64,
    pub(crate) rdx: u64,
    pub(crate) rsi: u64,
    pub(crate) rdi: u64,
    pub(crate) vector: u64,
    pub(crate) error_code: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

impl fmt::Display for TrapFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "rip {:016x}  cs {:04x}  rflags {:08x}  rsp {:016x}",
            self.rip, self.cs, self.rflags, self.rsp
        )?;
        writeln!(
            f,
            "rax {:016x}  rbx {:016x}  rcx {:016x}  rdx {:016x}",
            self.rax, self.rbx, self.rcx, self.rdx
        )?;
        writeln!(
            f,
            "rsi {:016x}  rdi {:016x}  rbp {:016x}  r8  {:016x}",
            self.rsi, self.rdi, self.rbp, self.r8
        )?;
        writeln!(
            f,
            "r9  {:016x}  r10 {:016x}  r11 {:016x}  r12 {:016x}",
            self.r9, self.r10, self.r11, self.r12
        )?;
        write!(
            f,
            "r13 {:016x}  r14 {:016x}  r15 {:016x}  cr2 {:016x}",
            self.r13,
            self.r14,
            self.r15,
            features::read_cr2()
        )
    }
}

/// The name of an exception.
pub(crate) fn name(vector: u64) -> &'static str {
    match vector {
        0 => "divide error",
        1 => "debug exception",
        2 => "non-maskable interrupt",
        3 => "breakpoint",
        4 => "overflow",
        5 => "bound range exceeded",
        6 => "invalid opcode",
        7 => "device not available",
        8 => "double fault",
        10 => "invalid TSS",
        11 => "segment not present",
        12 => "stack fault",
        13 => "general protection fault",
        14 => "page fault",
        16 => "x87 floating-point error",
        17 => "alignment check",
        18 => "machine check",
        19 => "SIMD floating-point error",
        20 => "virtualisation exception",
        21 => "control protection exception",
        _ => "exception",
    }
}

global_asm!(
    r#"
    // One stub per vector: error code (0 where the processor pushes none), vector, and on. 16 bytes each.
    .pushsection .text.trap_stubs, "ax", @progbits
    .balign 16
    .global trap_stubs
trap_stubs:
    .irp vector, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    .balign 16
    .if (\vector != 8) && ((\vector < 10) || (\vector > 14)) && (\vector != 17) && (\vector != 21) && (\vector != 29) && (\vector != 30)
    push 0
    .endif
    push \vector
    .if (\vector == 1)
    jmp debug_entry
    .elseif (\vector == 2) || (\vector == 8) || (\vector == 18)
    jmp paranoid_entry
    .else
    jmp trap_entry
    .endif
    .endr
    .macro irq_stubs vectors:vararg
    .irp vector, \vectors
    .balign 16
    push 0
    push \vector
    jmp trap_entry
    .endr
    .endm
    irq_stubs 32,33,34,35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59,60,61,62,63
    irq_stubs 64,65,66,67,68,69,70,71,72,73,74,75,76,77,78,79,80,81,82,83,84,85,86,87,88,89,90,91,92,93,94,95
    irq_stubs 96,97,98,99,100,101,102,103,104,105,106,107,108,109,110,111,112,113,114,115,116,117,118,119
    irq_stubs 120,121,122,123,124,125,126,127,128,129,130,131,132,133,134,135,136,137,138,139,140,141,142,143
    irq_stubs 144,145,146,147,148,149,150,151,152,153,154,155,156,157,158,159,160,161,162,163,164,165,166,167
    irq_stubs 168,169,170,171,172,173,174,175,176,177,178,179,180,181,182,183,184,185,186,187,188,189,190,191
    irq_stubs 192,193,194,195,196,197,198,199,200,201,202,203,204,205,206,207,208,209,210,211,212,213,214,215
    irq_stubs 216,217,218,219,220,221,222,223,224,225,226,227,228,229,230,231,232,233,234,235,236,237,238,239
    irq_stubs 240,241,242,243,244,245,246,247,248,249,250,251,252,253,254,255

    .macro push_registers
    push rdi
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    .endm

    .macro pop_registers
    "#,
    super::pop_registers!(),
    r#"
    .endm

    .balign 16
trap_entry:
    test byte ptr [rsp + 24], 3
    jnz 2f
    push_registers
    cld
    mov rdi, rsp
    call {kernel_trap}
    pop_registers
    add rsp, 16
    iretq
2:  // From ring 3: the stack pointer is in the user context.
    swapgs
    push_registers
    .global user_trap_exit
user_trap_exit:
    mov rsp, [rsp + {kernel_rsp}]
    cld
    mov eax, 1
    ret

    // On a stack of its own. From ring 3 the frame is moved to where it would have been without that.
    .balign 16
debug_entry:
    test byte ptr [rsp + 24], 3
    jz paranoid_entry
    swapgs
    push_registers
    mov rsi, rsp
    mov rdi, gs:[{tss_rsp0}]
    sub rdi, {frame_size}
    mov rdx, rdi
    mov ecx, {frame_size} / 8
    cld
    rep movsq
    mov rsp, rdx
    jmp user_trap_exit

    // On a stack of its own, in whatever state the GS base is.
    .balign 16
paranoid_entry:
    push_registers
    cld
    mov ecx, 0xc0000101
    rdmsr
    mov r12d, eax
    mov r13d, edx
    mov rax, rsp
    or rax, {ist_size} - 1
    mov rax, [rax - 15]
    mov rdx, rax
    shr rdx, 32
    wrmsr
    mov rdi, rsp
    call {paranoid_trap}
    mov ecx, 0xc0000101
    mov eax, r12d
    mov edx, r13d
    wrmsr
    pop_registers
    add rsp, 16
    iretq
    .popsection
    "#,
    kernel_trap = sym kernel_trap,
    paranoid_trap = sym paranoid_trap,
    kernel_rsp = const context::KERNEL_RSP_OFFSET,
    tss_rsp0 = const cpu_local::TSS_RSP0,
    frame_size = const size_of::<TrapFrame>(),
    ist_size = const IST_SIZE,
);

unsafe extern "C" {
    static trap_stubs: [[u8; 16]; 256];
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Gate {
    offset_low: u16,
    selector: u16,
    ist: u8,
    kind: u8,
    offset_middle: u16,
    offset_high: u32,
    _reserved: u32,
}

#[repr(align(16))]
struct Idt(UnsafeCell<[Gate; 256]>);

// SAFETY: written once, by the boot CPU before the others start; then only the processors read it.
unsafe impl Sync for Idt {}

static IDT: Idt = Idt(UnsafeCell::new(
    [Gate { offset_low: 0, selector: 0, ist: 0, kind: 0, offset_middle: 0, offset_high: 0, _reserved: 0 };
        256],
));

/// An interrupt gate that is present.
const INTERRUPT_GATE: u8 = 0x8e;
const DPL3: u8 = 3 << 5;

/// Fills the IDT. Once, on the boot CPU.
pub(crate) fn init() {
    for vector in 0..256 {
        let stub = (&raw const trap_stubs).cast::<[u8; 16]>().wrapping_add(vector) as u64;
        let gate = Gate {
            offset_low: stub as u16,
            selector: KERNEL_CS,
            ist: match vector as u64 {
                DOUBLE_FAULT => IST_DOUBLE_FAULT,
                NMI => IST_NMI,
                DEBUG => IST_DEBUG,
                MACHINE_CHECK => IST_MACHINE_CHECK,
                _ => 0,
            },
            // Ring 3 may execute int3 and into.
            kind: INTERRUPT_GATE | if matches!(vector, 3 | 4) { DPL3 } else { 0 },
            offset_middle: (stub >> 16) as u16,
            offset_high: (stub >> 32) as u32,
            _reserved: 0,
        };
        // SAFETY: nobody else uses the table yet.
        unsafe { (*IDT.0.get())[vector] = gate };
    }
}

/// Makes this CPU use the segments and the IDT: from here on a fault is reported.
///
/// # Safety
/// As for [`gdt::load`].
pub(crate) unsafe fn load(stacks: *mut gdt::IstStacks) {
    #[repr(C, packed)]
    struct Pointer {
        limit: u16,
        base: u64,
    }
    let pointer = Pointer { limit: size_of::<Idt>() as u16 - 1, base: IDT.0.get() as u64 };
    // SAFETY: the caller vouches for the stacks; the table was filled.
    unsafe {
        gdt::load(stacks);
        asm!("lidt [{}]", in(reg) &pointer, options(nostack, preserves_flags));
    }
}

/// An exception or interrupt in ring 0.
extern "C" fn kernel_trap(frame: &mut TrapFrame) {
    // A handler does not inherit an open window to user memory.
    context::clear_ac();
    if frame.vector >= FIRST_IRQ {
        handle_irq(frame.vector, false);
        return;
    }
    match frame.vector {
        PAGE_FAULT => {
            let addr = features::read_cr2();
            if !handle_page_fault(frame, addr) {
                fatal(frame, addr);
            }
        }
        GENERAL_PROTECTION => match ex_table::fixup(frame.rip as usize) {
            Some(target) => frame.rip = target as u64,
            None => fatal(frame, 0),
        },
        _ => fatal(frame, 0),
    }
}

/// A page fault in ring 0: user copies may cause it. They run with SMAP opened by AC, which is put back by the `iret`.
fn handle_page_fault(frame: &mut TrapFrame, addr: usize) -> bool {
    const FLAG_INTERRUPTS: u64 = 1 << 9;
    let were_on = frame.rflags & FLAG_INTERRUPTS != 0;
    irq::restore(were_on);
    let target = crate::user::mem::handle_fault(addr, frame.error_code, frame.rip as usize);
    irq::save_and_disable();
    match target {
        Some(target) => {
            frame.rip = target as u64;
            true
        }
        None => false,
    }
}

/// An exception on a stack of its own.
extern "C" fn paranoid_trap(frame: &mut TrapFrame) {
    match frame.vector {
        // A panic stops the other CPUs this way.
        NMI => super::smp::handle_nmi(),
        // A program's trap flag that survived into the first instruction of an entry (MOV SS): nothing to report.
        DEBUG => {
            features::take_debug_conditions();
            frame.rflags &= !(1 << 8);
        }
        _ => fatal(frame, 0),
    }
}

/// The registers of the exception that this CPU panics about; null otherwise.
static FATAL_FRAME: PerCpu<AtomicPtr<TrapFrame>> =
    PerCpu::new([const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_CPUS]);

/// The registers of the exception that this CPU panics about, for the report.
pub(crate) fn fatal_frame() -> Option<&'static TrapFrame> {
    // SAFETY: null or the frame in `fatal`, which does not return.
    unsafe { FATAL_FRAME.on(cpu::current()).load(Ordering::Relaxed).as_ref() }
}

/// Ends with a report.
fn fatal(frame: &mut TrapFrame, fault_addr: usize) -> ! {
    FATAL_FRAME.on(cpu::current()).store(frame, Ordering::Relaxed);
    // Without stack the page fault of an overflow can not be delivered: it comes as a double fault.
    if matches!(frame.vector, PAGE_FAULT | DOUBLE_FAULT) && mm::is_stack_guard(features::read_cr2()) {
        panic!("kernel stack overflow");
    }
    if frame.vector != PAGE_FAULT {
        panic!("{} in the kernel (error code {:#x})", name(frame.vector), frame.error_code);
    }
    let access = match frame.error_code {
        code if code & 16 != 0 => "fetching from",
        code if code & 2 != 0 => "writing to",
        _ => "reading from",
    };
    panic!("page fault in the kernel {access} {fault_addr:#018x}");
}

/// Handles the interrupt `vector`, with interrupts off. `user` tells whether it met a program.
pub(crate) fn handle_irq(vector: u64, user: bool) {
    let local = cpu_local::local();
    local.set_irq_depth(local.irq_depth() + 1);
    let held = if rank::CHECKED { rank::enter_irq() } else { 0 };
    apic::dispatch(vector as u8, user);
    if rank::CHECKED {
        rank::leave_irq(held);
    }
    local.set_irq_depth(local.irq_depth() - 1);
}
