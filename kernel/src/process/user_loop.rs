//! The life of a user thread in the kernel: enter user mode, serve what it came back for, see whether anything else is to
//! be done, enter again.

use core::sync::atomic::Ordering::Relaxed;

use ostd::{
    mm::USER_END,
    task,
    user::{
        ExceptionInfo, SINGLE_STEP, UserContext, UserExit,
        fpu::{self, exceptions},
    },
};

use super::{
    Thread, oom, rseq, seccomp,
    signal::{
        self, BUS_ADRALN, BUS_ADRERR, FPE_FLTDIV, FPE_FLTINV, FPE_FLTOVF, FPE_FLTRES, FPE_FLTUND, FPE_INTDIV,
        ILL_ILLOPN, SEGV_ACCERR, SEGV_MAPERR, SI_KERNEL, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP, SigInfo,
        TRAP_BRKPT, TRAP_TRACE, work,
    },
    user_dispatch,
};
use crate::{
    mm::{Access, FaultError},
    prelude::*,
    syscall::{self, Context},
    time::cpu_time,
};

/// Runs a thread in user mode until it has exited. The caller's task ends after it.
pub fn run(thread: Arc<Thread>, mut user: Box<UserContext>) {
    let mut ctx = Context { thread: &thread, user: &mut user };
    loop {
        // Work that a syscall or an exception left is found by the question that `execute` asks before it enters.
        match ctx.user.execute(|| thread.work.load(Relaxed) != 0) {
            UserExit::Syscall => syscall::dispatch(&mut ctx),
            UserExit::Exception(info) => exception(&mut ctx, &info),
            UserExit::Interrupt => {
                between_stays(&mut ctx);
                if thread.has_exited() {
                    return;
                }
                if thread.work.load(Relaxed) & work::SYSCALLS != 0 {
                    return run_filtered(ctx);
                }
            }
        }
    }
}

/// The same for a thread whose system calls seccomp or its own dispatch looks at. There is no way back, so those without don't
/// pay for the question.
#[inline(never)]
fn run_filtered(mut ctx: Context) {
    let thread = ctx.thread;
    thread.work.fetch_and(!work::SYSCALLS, Relaxed);
    loop {
        match ctx.user.execute(|| thread.work.load(Relaxed) != 0) {
            UserExit::Syscall => {
                if user_dispatch::admits(&mut ctx) && seccomp::admits(&mut ctx) {
                    syscall::dispatch(&mut ctx);
                }
            }
            UserExit::Exception(info) => exception(&mut ctx, &info),
            UserExit::Interrupt => {
                thread.work.fetch_and(!work::SYSCALLS, Relaxed);
                between_stays(&mut ctx);
                if thread.has_exited() {
                    return;
                }
            }
        }
    }
}

/// What is to be done before user mode is entered again: after an interrupt, or when the flags of the thread say so.
#[inline(never)]
fn between_stays(ctx: &mut Context) {
    if ctx.thread.has_exited() {
        return;
    }
    let work = ctx.thread.work.load(Relaxed);
    if work & (work::CPU_TIME | work::RSEQ | work::MEMORY) != 0 {
        ctx.thread.work.fetch_and(!(work::CPU_TIME | work::RSEQ | work::MEMORY), Relaxed);
        if work & work::MEMORY != 0 {
            oom::relieve(ctx.thread);
        }
        if work & work::CPU_TIME != 0 {
            cpu_time::check(ctx.thread);
        }
    }
    if ctx.thread.work.load(Relaxed) != 0 {
        signal::handle_work(ctx);
        if ctx.thread.has_exited() {
            return;
        }
    }
    let others_ran = task::schedule_if_needed();
    let interrupted = others_ran || work & work::RSEQ != 0;
    if (interrupted || task::has_moved()) && ctx.thread.rseq.is_registered() {
        rseq::before_user(ctx, interrupted);
    }
}

/// Numbers of the exceptions that a program can cause.
mod vector {
    pub const DIVIDE_ERROR: u8 = 0;
    pub const DEBUG: u8 = 1;
    pub const BREAKPOINT: u8 = 3;
    pub const OVERFLOW: u8 = 4;
    pub const BOUND_RANGE: u8 = 5;
    pub const INVALID_OPCODE: u8 = 6;
    pub const DEVICE_NOT_AVAILABLE: u8 = 7;
    pub const SEGMENT_NOT_PRESENT: u8 = 11;
    pub const STACK_SEGMENT: u8 = 12;
    pub const PAGE_FAULT: u8 = 14;
    pub const X87: u8 = 16;
    pub const ALIGNMENT: u8 = 17;
    pub const SIMD: u8 = 19;
}

/// Bits of a page fault's error code.
const PF_PRESENT: u64 = 1;
const PF_WRITE: u64 = 1 << 1;
const PF_EXEC: u64 = 1 << 4;

#[inline(never)]
fn exception(ctx: &mut Context, info: &ExceptionInfo) {
    let rip = ctx.user.rip() as u64;
    let signal = match info.vector {
        vector::PAGE_FAULT => {
            let sleeps = &task::current().sched.voluntary_switches;
            let before = sleeps.load(Relaxed);
            let signal = page_fault(ctx, info);
            if sleeps.load(Relaxed) != before {
                // Others ran in the middle of what may be a restartable sequence.
                ctx.thread.restart_sequences();
            }
            match signal {
                Some(signal) => signal,
                None => return,
            }
        }
        vector::DIVIDE_ERROR => SigInfo::fault(SIGFPE, FPE_INTDIV, rip),
        vector::X87 | vector::SIMD => {
            let raised =
                if info.vector == vector::X87 { fpu::x87_exceptions() } else { fpu::simd_exceptions() };
            match arithmetic_code(raised) {
                Some(code) => SigInfo::fault(SIGFPE, code, rip),
                // The program has dealt with it by now.
                None => return,
            }
        }
        vector::DEBUG if info.fault_addr & SINGLE_STEP != 0 => SigInfo::fault(SIGTRAP, TRAP_TRACE, rip),
        vector::DEBUG => SigInfo::fault(SIGTRAP, TRAP_BRKPT, rip),
        vector::BREAKPOINT => SigInfo::fault(SIGTRAP, SI_KERNEL, 0),
        vector::OVERFLOW | vector::BOUND_RANGE => SigInfo::fault(SIGSEGV, SI_KERNEL, 0),
        vector::INVALID_OPCODE | vector::DEVICE_NOT_AVAILABLE => SigInfo::fault(SIGILL, ILL_ILLOPN, rip),
        vector::SEGMENT_NOT_PRESENT | vector::STACK_SEGMENT => SigInfo::fault(SIGBUS, SI_KERNEL, 0),
        vector::ALIGNMENT => SigInfo::fault(SIGBUS, BUS_ADRALN, 0),
        // General protection and whatever else there is.
        _ => SigInfo::fault(SIGSEGV, SI_KERNEL, 0),
    };
    let (mut address, mut error_code) = (0, info.error_code);
    if info.vector == vector::PAGE_FAULT {
        address = info.fault_addr;
        if address >= USER_END {
            // What is mapped in the kernel's half is none of the program's business.
            error_code |= PF_PRESENT;
        }
    }
    ctx.thread.set_last_fault(address as u64, error_code, info.vector as u64);
    signal::force(ctx.thread, signal);
}

/// The code for arithmetic exceptions that were raised at the same time; `None` for none.
fn arithmetic_code(raised: u16) -> Option<i32> {
    use exceptions::{DENORMAL, INEXACT, INVALID, OVERFLOW, UNDERFLOW, ZERO_DIVIDE};
    [
        (INVALID, FPE_FLTINV),
        (ZERO_DIVIDE, FPE_FLTDIV),
        (OVERFLOW, FPE_FLTOVF),
        (DENORMAL | UNDERFLOW, FPE_FLTUND),
        (INEXACT, FPE_FLTRES),
    ]
    .into_iter()
    .find_map(|(exceptions, code)| (raised & exceptions != 0).then_some(code))
}

/// Brings the page in; the signal for a program that touched what it may not.
fn page_fault(ctx: &mut Context, info: &ExceptionInfo) -> Option<SigInfo> {
    let access = match info.error_code {
        code if code & PF_WRITE != 0 => Access::Write,
        code if code & PF_EXEC != 0 => Access::Exec,
        _ => Access::Read,
    };
    ctx.thread.minor_faults.fetch_add(1, Relaxed);
    let addr = info.fault_addr;
    match ctx.thread.vm().handle_fault(addr, access) {
        Ok(()) => None,
        Err(FaultError::NotMapped) => Some(SigInfo::fault(SIGSEGV, SEGV_MAPERR, addr as u64)),
        Err(FaultError::Denied) => Some(SigInfo::fault(SIGSEGV, SEGV_ACCERR, addr as u64)),
        Err(FaultError::Bus) => Some(SigInfo::fault(SIGBUS, BUS_ADRERR, addr as u64)),
        Err(FaultError::OutOfMemory) => {
            if !oom::give_back() && !oom::out_of_memory(ctx.thread) {
                // Nobody else is left to go.
                signal::force(ctx.thread, SigInfo::kernel(signal::SIGKILL));
            }
            None
        }
    }
}
