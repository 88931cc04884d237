//! The registers of a program, and entering ring 3 with them.

/// The general registers of a program. The instruction pointer, the flags and the segment bases are behind methods of
/// [`UserContext`], which keep them legal.
#[derive(Clone, Copy, Debug, Default)]
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

/// The exception that brought a program into the kernel.
#[derive(Clone, Copy, Debug)]
pub struct ExceptionInfo {
    /// The vector: 0 divide error, 1 debug, 3 breakpoint, 6 invalid opcode, 13 general protection, 14 page fault, ...
    pub vector: u8,
    /// The error code that the processor pushed, or 0.
    pub error_code: u64,
    /// For a page fault: the address (CR2); else 0.
    pub fault_addr: usize,
}

/// Why [`UserContext::execute`] returned.
#[derive(Clone, Copy, Debug)]
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
#[repr(C, align(16))]
#[derive(Debug)]
pub struct UserContext {
    /// The general registers.
    pub regs: GeneralRegs,
    vector: u64,
    orig_rax: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
    kernel_rsp: u64,
    flags: u64,
    fs_base: u64,
    gs_base: u64,
}

impl Default for UserContext {
    fn default() -> Self {
        Self::new()
    }
}

impl UserContext {
    /// All registers 0, interrupts on.
    pub fn new() -> Self {
        todo!()
    }

    /// A copy for a new task: the segment bases are read from the processor. Only for the current task's own context.
    pub fn fork(&self) -> UserContext {
        todo!()
    }

    /// Runs the program until its next syscall, exception or interrupt.
    ///
    /// `has_work` is asked with interrupts off, right before ring 3 is entered: when it is true, or the task should give
    /// way to another, the function returns [`UserExit::Interrupt`] without entering. An interrupt (a kick from another
    /// CPU) that comes after this question ends the stay in ring 3, so work that is announced by a flag and then
    /// [`Task::kick`](crate::task::Task::kick) is never missed.
    #[inline]
    pub fn execute(&mut self, _has_work: impl FnOnce() -> bool) -> UserExit {
        todo!()
    }

    /// The instruction pointer.
    pub fn rip(&self) -> usize {
        self.rip as usize
    }

    /// Sets the instruction pointer. A non-canonical one makes the next `execute` return a general protection exception.
    pub fn set_rip(&mut self, _rip: usize) {
        todo!()
    }

    /// The stack pointer.
    pub fn rsp(&self) -> usize {
        self.rsp as usize
    }

    /// Sets the stack pointer.
    pub fn set_rsp(&mut self, rsp: usize) {
        self.rsp = rsp as u64;
    }

    /// The flags register.
    pub fn rflags(&self) -> u64 {
        self.rflags
    }

    /// Sets the flags that a program may set (CF, PF, AF, ZF, SF, TF, DF, OF, RF, AC, ID ...); the others stay legal.
    pub fn set_rflags(&mut self, _rflags: u64) {
        todo!()
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
    pub fn orig_rax(&self) -> i64 {
        self.orig_rax as i64
    }

    /// Sets what [`orig_rax`](Self::orig_rax) says: -1 marks that no syscall is to be restarted.
    pub fn set_orig_rax(&mut self, value: i64) {
        self.orig_rax = value as u64;
    }

    /// Makes the next entry restore every register, rcx and r11 too (a `sysret` can't): after rt_sigreturn, and when
    /// another process wrote the registers.
    pub fn restore_all(&mut self) {
        todo!()
    }

    /// The base of the FS segment: thread-local storage. Only for the current task's own context.
    pub fn fs_base(&self) -> usize {
        todo!()
    }

    /// Sets the base of the FS segment. Fails if it is not a user address.
    pub fn set_fs_base(&mut self, _base: usize) -> Result<(), BadBase> {
        todo!()
    }

    /// The base of the GS segment.
    pub fn gs_base(&self) -> usize {
        todo!()
    }

    /// Sets the base of the GS segment. Fails if it is not a user address.
    pub fn set_gs_base(&mut self, _base: usize) -> Result<(), BadBase> {
        todo!()
    }
}

/// A segment base that is not a user address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBase;
