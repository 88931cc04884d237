//! The registers of a program, and entering ring 3 with them.
//!
//! *The way in and out.* [`UserContext::execute`] saves the kernel's stack pointer in the context, points `TSS.rsp0` to
//! the end of the context's frame, loads the program's registers and leaves ring 0 by `sysret`, or by `iret` when every
//! register counts. `syscall` comes back to [`syscall_entry`], which stores the registers into the context; an interrupt or
//! an exception arrives with the stack pointer inside the context, so that processor and entry code push the same frame
//! there (`arch::x86::trap`). Both then take the kernel's stack pointer back and return from `execute`. A round trip by
//! `syscall` takes about 60 instructions from and to ring 3.
//!
//! *What is legal* is kept by construction: `cs` and `ss` are only ever written by [`UserContext::new`] and the processor,
//! flags are sanitised when they are set, and an instruction pointer outside the lower half (which must not reach `sysret`)
//! forces the slow way, which refuses one that is not canonical.
//!
//! *Segment bases and selectors and FPU registers* stay in the processor while the task is in the kernel; a task switch saves and
//! loads them (`task::switch`).

use crate::{
    arch::x86::{
        cpu_local, features,
        gdt::{USER_CS, USER_SS},
        trap,
    },
    mm::USER_END,
    task,
};
use core::{arch::asm, arch::global_asm, mem::offset_of};

/// The general registers of a program. The instruction pointer, the flags and the segment bases are behind methods of
/// [`UserContext`], which keep them legal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs)]
pub struct GeneralRegs {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
}

/// A condition of a debug exception: the trap flag was set.
pub const SINGLE_STEP: usize = 1 << 14;

/// The exception that brought a program into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExceptionInfo {
    /// The vector: 0 divide error, 1 debug, 3 breakpoint, 6 invalid opcode, 13 general protection, 14 page fault, ...
    pub vector: u8,
    /// The error code that the processor pushed, or 0.
    pub error_code: u64,
    /// For a page fault: the address (CR2). For a debug exception: its conditions (DR6), such as [`SINGLE_STEP`]. Else 0.
    pub fault_addr: usize,
}

/// Why [`UserContext::execute`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserExit {
    /// The program executed `syscall`: the number is in `rax` (and [`UserContext::orig_rax`]), arguments in rdi, rsi,
    /// rdx, r10, r8, r9. Put the result in `rax`.
    Syscall,
    /// An exception that is the program's own.
    Exception(ExceptionInfo),
    /// An interrupt, which has been handled; or there was work to do before entering at all.
    Interrupt,
}

/// The registers of a program between two stays in ring 3.
///
/// The first 22 words are the frame that the entry code saves; they are laid out as in
/// [`TrapFrame`](crate::arch::x86::trap::TrapFrame).
#[repr(C, align(16))]
#[derive(Debug)]
pub struct UserContext {
    /// The general registers.
    pub regs: GeneralRegs,
    /// The vector, after an exception or interrupt.
    vector: u64,
    /// The error code after an exception; the syscall number after a syscall.
    orig_rax: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
    /// Where `execute` goes on.
    kernel_rsp: u64,
    /// What the next entry has to do beyond the shortest way ([`RESTORE_ALL`], [`LOAD_BASES`]).
    slow: u64,
    /// The segment bases while [`LOAD_BASES`] is set; otherwise the processor has them.
    fs_base: u64,
    gs_base: u64,
}

/// Enter by `iret`, which restores rcx and r11 too.
const RESTORE_ALL: u64 = 1;
/// The segment bases of the context have to be loaded first: the context is new, or they were set.
const LOAD_BASES: u64 = 2;

/// What the entry code returns; anything else means that it did not enter.
const BY_SYSCALL: u64 = 0;
const BY_TRAP: u64 = 1;
/// Ring 3 was entered by `sysret`, or not.
const BY_SYSRET: bool = true;

const FRAME_SIZE: usize = size_of::<trap::TrapFrame>();
/// Where the kernel's stack pointer is in a context.
pub(crate) const KERNEL_RSP_OFFSET: usize = offset_of!(UserContext, kernel_rsp);
const _: () = assert!(KERNEL_RSP_OFFSET == FRAME_SIZE && FRAME_SIZE.is_multiple_of(16));

const FLAG_INTERRUPTS: u64 = 1 << 9;
const FLAG_RESERVED_ONE: u64 = 1 << 1;
const FLAG_TRAP: u64 = 1 << 8;
const FLAG_RESUME: u64 = 1 << 16;
/// CF, PF, AF, ZF, SF, TF, DF, OF, RF, AC: the flags that a signal frame may set, as in Linux (FIX_EFLAGS).
const FLAGS_USER: u64 =
    1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11 | 1 << 16 | 1 << 18;

/// The first address that is not canonical in the lower half.
const CANONICAL_END: u64 = 1 << 47;

global_asm!(
    r#"
    // rdi: the context. Interrupts are off. Comes back with rax = 0 after a syscall, 1 after an exception or
    // interrupt; every register but rsp is lost. Comes back with rax = 2 at once if the context wants the slow way.
    .pushsection .text.user_entry, "ax", @progbits
    .balign 64
    .global enter_user
enter_user:
    cmp qword ptr [rdi + {slow}], 0
    jne 2f
    mov [rdi + {kernel_rsp}], rsp
    lea rax, [rdi + {frame_size}]
    mov gs:[{tss_rsp0}], rax
    mov r15, [rdi + {r15}]
    mov r14, [rdi + {r14}]
    mov r13, [rdi + {r13}]
    mov r12, [rdi + {r12}]
    mov rbp, [rdi + {rbp}]
    mov rbx, [rdi + {rbx}]
    mov r10, [rdi + {r10}]
    mov r9, [rdi + {r9}]
    mov r8, [rdi + {r8}]
    mov rax, [rdi + {rax}]
    mov rdx, [rdi + {rdx}]
    mov rsi, [rdi + {rsi}]
    mov rcx, [rdi + {rip}]
    mov r11, [rdi + {rflags}]
    mov rsp, [rdi + {rsp}]
    mov rdi, [rdi + {rdi}]
    swapgs
    sysretq
2:  mov eax, 2
    ret

    // The same, by `iret`.
    .balign 16
    .global enter_user_slow
enter_user_slow:
    mov [rdi + {kernel_rsp}], rsp
    lea rax, [rdi + {frame_size}]
    mov gs:[{tss_rsp0}], rax
    mov qword ptr [rdi + {slow}], 0
    mov rsp, rdi
    "#,
    crate::arch::x86::pop_registers!(),
    r#"
    add rsp, 16
    swapgs
    iretq

    // From ring 3 by `syscall`: rcx and r11 hold the instruction pointer and the flags, interrupts are off.
    .balign 64
    .global syscall_entry
syscall_entry:
    swapgs
    mov gs:[{user_rsp}], rsp
    mov rsp, gs:[{tss_rsp0}]
    mov [rsp - {frame_size} + {r15}], r15
    mov [rsp - {frame_size} + {r14}], r14
    mov [rsp - {frame_size} + {r13}], r13
    mov [rsp - {frame_size} + {r12}], r12
    mov [rsp - {frame_size} + {rbp}], rbp
    mov [rsp - {frame_size} + {rbx}], rbx
    mov [rsp - {frame_size} + {r11}], r11
    mov [rsp - {frame_size} + {r10}], r10
    mov [rsp - {frame_size} + {r9}], r9
    mov [rsp - {frame_size} + {r8}], r8
    mov [rsp - {frame_size} + {rax}], rax
    mov [rsp - {frame_size} + {rcx}], rcx
    mov [rsp - {frame_size} + {rdx}], rdx
    mov [rsp - {frame_size} + {rsi}], rsi
    mov [rsp - {frame_size} + {rdi}], rdi
    mov [rsp - {frame_size} + {orig_rax}], rax
    mov [rsp - {frame_size} + {rip}], rcx
    mov [rsp - {frame_size} + {rflags}], r11
    mov rax, gs:[{user_rsp}]
    mov [rsp - {frame_size} + {rsp}], rax
    mov rsp, [rsp - {frame_size} + {kernel_rsp}]
    xor eax, eax
    sti
    ret
    .popsection
    "#,
    kernel_rsp = const KERNEL_RSP_OFFSET,
    frame_size = const FRAME_SIZE,
    tss_rsp0 = const cpu_local::TSS_RSP0,
    user_rsp = const cpu_local::USER_RSP,
    slow = const offset_of!(UserContext, slow),
    orig_rax = const offset_of!(UserContext, orig_rax),
    rip = const offset_of!(UserContext, rip),
    rflags = const offset_of!(UserContext, rflags),
    rsp = const offset_of!(UserContext, rsp),
    r15 = const offset_of!(UserContext, regs.r15),
    r14 = const offset_of!(UserContext, regs.r14),
    r13 = const offset_of!(UserContext, regs.r13),
    r12 = const offset_of!(UserContext, regs.r12),
    rbp = const offset_of!(UserContext, regs.rbp),
    rbx = const offset_of!(UserContext, regs.rbx),
    r11 = const offset_of!(UserContext, regs.r11),
    r10 = const offset_of!(UserContext, regs.r10),
    r9 = const offset_of!(UserContext, regs.r9),
    r8 = const offset_of!(UserContext, regs.r8),
    rax = const offset_of!(UserContext, regs.rax),
    rcx = const offset_of!(UserContext, regs.rcx),
    rdx = const offset_of!(UserContext, regs.rdx),
    rsi = const offset_of!(UserContext, regs.rsi),
    rdi = const offset_of!(UserContext, regs.rdi),
);

unsafe extern "C" {
    fn syscall_entry();
}

/// Points `syscall` to its entry on this CPU.
pub(crate) fn init_this_cpu() {
    const MSR_STAR: u32 = 0xc000_0081;
    const MSR_LSTAR: u32 = 0xc000_0082;
    const MSR_FMASK: u32 = 0xc000_0084;
    /// Interrupts, traps, direction, alignment check (which opens SMAP) and the rest are off in the kernel.
    const CLEARED_FLAGS: u64 = 0x25_7fd5;
    // SAFETY: long mode has these registers; the entry is the code above, the selectors those of our GDT.
    unsafe {
        features::write_msr(MSR_STAR, crate::arch::x86::gdt::STAR);
        features::write_msr(MSR_LSTAR, syscall_entry as *const () as u64);
        features::write_msr(MSR_FMASK, CLEARED_FLAGS);
    }
}

/// Whether the processor takes it for an address. In the kernel's half a program comes no further than a page fault.
fn is_canonical(addr: u64) -> bool {
    let sign = addr as i64 >> (CANONICAL_END.trailing_zeros());
    sign == 0 || sign == -1
}

impl Default for UserContext {
    fn default() -> Self {
        Self::new()
    }
}

impl UserContext {
    /// All registers 0, interrupts on.
    pub fn new() -> Self {
        Self {
            regs: GeneralRegs::default(),
            vector: 0,
            orig_rax: u64::MAX,
            rip: 0,
            cs: u64::from(USER_CS),
            rflags: FLAG_INTERRUPTS | FLAG_RESERVED_ONE,
            rsp: 0,
            ss: u64::from(USER_SS),
            kernel_rsp: 0,
            slow: RESTORE_ALL | LOAD_BASES,
            fs_base: 0,
            gs_base: 0,
        }
    }

    /// A copy for a new task. The segment bases are read from the processor: only for the current task's own context.
    #[inline]
    pub fn fork(&self) -> UserContext {
        UserContext {
            regs: self.regs,
            vector: 0,
            orig_rax: self.orig_rax,
            rip: self.rip,
            cs: self.cs,
            rflags: self.rflags,
            rsp: self.rsp,
            ss: self.ss,
            kernel_rsp: 0,
            slow: RESTORE_ALL | LOAD_BASES,
            fs_base: self.fs_base() as u64,
            gs_base: self.gs_base() as u64,
        }
    }

    /// Runs the program until its next syscall, exception or interrupt.
    ///
    /// `has_work` is asked with interrupts off, right before ring 3 is entered: when it is true, or the task should give
    /// way to another, the function returns [`UserExit::Interrupt`] without entering. An interrupt (a kick from another
    /// CPU) that comes after this question ends the stay in ring 3, so work that is announced by a flag and then
    /// [`Task::kick`](crate::task::Task::kick) is never missed.
    #[inline(always)]
    pub fn execute(&mut self, has_work: impl FnOnce() -> bool) -> UserExit {
        // SAFETY: interrupts are turned on again on every way out.
        unsafe { asm!("cli", options(nostack, preserves_flags)) };
        if has_work() || task::need_resched() {
            // SAFETY: they were on before.
            unsafe { asm!("sti", options(nostack, preserves_flags)) };
            return UserExit::Interrupt;
        }
        let entered: u64;
        // SAFETY: the context is legal (see the head of the module). Whatever the program does, control comes back here
        // with this stack pointer, and all registers are declared lost but rbx and rbp, which are saved.
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "call enter_user",
                "pop rbp",
                "pop rbx",
                inout("rdi") &raw mut *self => _,
                out("rax") entered,
                out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            );
        }
        match entered {
            BY_SYSCALL => UserExit::Syscall,
            BY_TRAP => self.after_trap(BY_SYSRET),
            _ => self.execute_slowly(),
        }
    }

    /// The slow way in: by `iret`, and with what a first entry or a change of special registers asks for.
    #[cold]
    #[inline(never)]
    fn execute_slowly(&mut self) -> UserExit {
        if let Err(exit) = self.prepare_slow_entry() {
            return exit;
        }
        let entered: u64;
        // SAFETY: as in `execute`.
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "call enter_user_slow",
                "pop rbp",
                "pop rbx",
                inout("rdi") &raw mut *self => _,
                out("rax") entered,
                out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            );
        }
        if entered == BY_SYSCALL { UserExit::Syscall } else { self.after_trap(!BY_SYSRET) }
    }

    /// What a first entry, or one after a change of special registers, has to do. Interrupts are off; on `Err` they are
    /// on again.
    fn prepare_slow_entry(&mut self) -> Result<(), UserExit> {
        if self.slow & LOAD_BASES != 0 {
            task::switch::become_user_task();
            write_fs_base(self.fs_base);
            write_user_gs_base(self.gs_base);
            task::switch::set_bases(self.fs_base, self.gs_base);
            self.slow &= !LOAD_BASES;
        }
        if !is_canonical(self.rip) {
            // SAFETY: they were on when `execute` was called.
            unsafe { asm!("sti", options(nostack, preserves_flags)) };
            self.orig_rax = u64::MAX;
            return Err(UserExit::Exception(ExceptionInfo {
                vector: trap::GENERAL_PROTECTION as u8,
                error_code: 0,
                fault_addr: 0,
            }));
        }
        Ok(())
    }

    /// Finds out what an exception or interrupt was and handles the interrupt. Interrupts are off, and on afterwards.
    /// `by_sysret` tells how ring 3 was entered.
    fn after_trap(&mut self, by_sysret: bool) -> UserExit {
        clear_ac();
        let (vector, error_code) = (self.vector, self.orig_rax);
        self.slow = RESTORE_ALL;
        self.orig_rax = u64::MAX;
        let exit = if vector >= trap::FIRST_IRQ {
            trap::handle_irq(vector, true);
            UserExit::Interrupt
        } else {
            let fault_addr = match vector {
                trap::PAGE_FAULT => features::read_cr2(),
                trap::DEBUG => features::take_debug_conditions() as usize,
                _ => 0,
            };
            if vector == trap::DEBUG && by_sysret && self.is_where_sysret_leads() {
                // `sysret` traps before the program's next instruction, `iret` after it, and a single step over a system
                // call is to include that.
                UserExit::Interrupt
            } else {
                UserExit::Exception(ExceptionInfo { vector: vector as u8, error_code, fault_addr })
            }
        };
        // SAFETY: the program ran with interrupts on.
        unsafe { asm!("sti", options(nostack, preserves_flags)) };
        exit
    }

    /// Whether the registers are those that `sysret` leaves, with the trap flag set.
    fn is_where_sysret_leads(&self) -> bool {
        self.regs.rcx == self.rip && self.regs.r11 & FLAG_TRAP != 0
    }

    /// The instruction pointer.
    #[inline]
    pub fn rip(&self) -> usize {
        self.rip as usize
    }

    /// Sets the instruction pointer. A non-canonical one makes the next `execute` return a general protection exception.
    #[inline]
    pub fn set_rip(&mut self, rip: usize) {
        self.rip = rip as u64;
        if self.rip >= CANONICAL_END {
            self.slow |= RESTORE_ALL;
        }
    }

    /// The stack pointer.
    #[inline]
    pub fn rsp(&self) -> usize {
        self.rsp as usize
    }

    /// Sets the stack pointer.
    #[inline]
    pub fn set_rsp(&mut self, rsp: usize) {
        self.rsp = rsp as u64;
    }

    /// The flags register.
    #[inline]
    pub fn rflags(&self) -> u64 {
        self.rflags
    }

    /// Sets the flags that a program may set in a signal frame; the others stay as they are, which is as the processor let
    /// the program have them.
    #[inline]
    pub fn set_rflags(&mut self, rflags: u64) {
        self.rflags = rflags & FLAGS_USER | self.rflags & !FLAGS_USER;
    }

    /// The code segment selector (0x33).
    pub fn cs(&self) -> u64 {
        self.cs
    }

    /// The stack segment selector (0x2b).
    pub fn ss(&self) -> u64 {
        self.ss
    }

    /// The syscall number with which the kernel was entered; -1 when it was not by a syscall.
    #[inline]
    pub fn orig_rax(&self) -> i64 {
        self.orig_rax as i64
    }

    /// Sets what [`orig_rax`](Self::orig_rax) says: -1 marks that no syscall is to be restarted.
    pub fn set_orig_rax(&mut self, value: i64) {
        self.orig_rax = value as u64;
    }

    /// Makes the next entry restore every register, rcx and r11 too: after rt_sigreturn, and when another process wrote the
    /// registers. A `sysret` will do if they hold what it leaves in them, as where a syscall was interrupted.
    pub fn restore_all(&mut self) {
        let as_after_syscall = self.regs.rcx == self.rip && self.regs.r11 == self.rflags;
        if !as_after_syscall || self.rflags & (FLAG_TRAP | FLAG_RESUME) != 0 {
            self.slow |= RESTORE_ALL;
        }
    }

    /// The base of the FS segment: thread-local storage. Only for the current task's own context.
    pub fn fs_base(&self) -> usize {
        if self.slow & LOAD_BASES != 0 { self.fs_base as usize } else { read_fs_base(self.fs_base) as usize }
    }

    /// Sets the base of the FS segment. Only for the current task's own context, or one that was never entered. Fails if
    /// it is not a user address.
    pub fn set_fs_base(&mut self, base: usize) -> Result<(), BadBase> {
        if base >= USER_END {
            return Err(BadBase);
        }
        self.make_bases_pending();
        self.fs_base = base as u64;
        Ok(())
    }

    /// The base of the GS segment. Only for the current task's own context.
    pub fn gs_base(&self) -> usize {
        if self.slow & LOAD_BASES != 0 {
            self.gs_base as usize
        } else {
            read_user_gs_base(self.gs_base) as usize
        }
    }

    /// Sets the base of the GS segment. As [`set_fs_base`](Self::set_fs_base).
    pub fn set_gs_base(&mut self, base: usize) -> Result<(), BadBase> {
        if base >= USER_END {
            return Err(BadBase);
        }
        self.make_bases_pending();
        self.gs_base = base as u64;
        Ok(())
    }

    /// Takes the bases out of the processor: the next entry loads them again.
    fn make_bases_pending(&mut self) {
        if self.slow & LOAD_BASES == 0 {
            self.fs_base = read_fs_base(self.fs_base);
            self.gs_base = read_user_gs_base(self.gs_base);
            self.slow |= LOAD_BASES;
        }
    }
}

/// A segment base that is not a user address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBase;

const MSR_FS_BASE: u32 = 0xc000_0100;
/// What `swapgs` exchanges with the GS base: the program's, while the kernel runs.
const MSR_KERNEL_GS_BASE: u32 = 0xc000_0102;

/// A program may have set AC, which would leave user memory open to the kernel.
#[inline]
pub(crate) fn clear_ac() {
    if features::get().smap {
        // SAFETY: the processor has SMAP, hence the instruction.
        unsafe { asm!("clac", options(nomem, nostack)) };
    }
}

/// The FS base in the processor. Without FSGSBASE programs can't change it, so it is what was loaded: `loaded`.
#[inline]
pub(crate) fn read_fs_base(loaded: u64) -> u64 {
    if !features::get().fsgsbase {
        return loaded;
    }
    let base;
    // SAFETY: FSGSBASE is enabled.
    unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
    base
}

#[inline]
pub(crate) fn write_fs_base(base: u64) {
    if features::get().fsgsbase {
        // SAFETY: FSGSBASE is enabled; the kernel does not use FS, and the value is a program's own or below USER_END.
        unsafe { asm!("wrfsbase {}", in(reg) base, options(nostack, preserves_flags)) };
    } else {
        // SAFETY: long mode has the register; as above.
        unsafe { features::write_msr(MSR_FS_BASE, base) };
    }
}

/// The program's GS base; `loaded` as in [`read_fs_base`].
#[inline]
pub(crate) fn read_user_gs_base(loaded: u64) -> u64 {
    if !features::get().fsgsbase {
        return loaded;
    }
    // SAFETY: long mode has the register.
    unsafe { features::read_msr(MSR_KERNEL_GS_BASE) }
}

#[inline]
pub(crate) fn write_user_gs_base(base: u64) {
    // SAFETY: long mode has the register; the kernel's own GS base is in the other one.
    unsafe { features::write_msr(MSR_KERNEL_GS_BASE, base) };
}

/// The program's segment bases (fs, gs), for a task switch.
///
/// # Safety
/// FSGSBASE is enabled, and interrupts are off.
#[inline]
pub(crate) unsafe fn read_bases_fast() -> (u64, u64) {
    let (fs, gs);
    // SAFETY: as the caller says. No interrupt comes while the program's GS base is in place; an exception on a stack of
    // its own (NMI, machine check) finds this CPU's data without it.
    unsafe {
        asm!("rdfsbase {}", "swapgs", "rdgsbase {}", "swapgs", out(reg) fs, out(reg) gs,
             options(nomem, nostack, preserves_flags));
    }
    (fs, gs)
}

/// Loads a program's segment bases.
///
/// # Safety
/// As for [`read_bases_fast`].
#[inline]
pub(crate) unsafe fn write_bases_fast(fs: u64, gs: u64) {
    // SAFETY: as above; the values are a program's own or below `USER_END`.
    unsafe {
        asm!("wrfsbase {}", "swapgs", "wrgsbase {}", "swapgs", in(reg) fs, in(reg) gs,
             options(nostack, preserves_flags));
    }
}
