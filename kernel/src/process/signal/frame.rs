//! The x86_64 signal frame: what a handler finds on its stack, and the way back (rules 7.39-7.41, signal.h).
//!
//! ```text
//!   higher   | red zone, 128 bytes of the interrupted function
//!            | xsave image, 64-byte aligned, with the software words that say how long it is
//!   rsp+312  | siginfo_t, 128 bytes
//!   rsp+8    | ucontext: flags, link, stack, sigcontext (registers), mask
//!   rsp      | return address: the restorer, which calls rt_sigreturn
//! ```

use core::mem::{MaybeUninit, offset_of};

use ostd::user::{GeneralRegs, UserContext, fpu, mem};

use super::{
    SigInfo, SigSet, Signo,
    action::{SIG_DFL, SaFlags, SigAction},
    altstack::{AltStack, SS_AUTODISARM},
    info::SIGINFO_SIZE,
    send,
    set::SIGSEGV,
    set_blocked, xsave,
};
use crate::{prelude::*, process::Thread, syscall::Context};

const RED_ZONE: u64 = 128;
/// `uc_flags`: xsave image present, ss saved, ss restored strictly.
const UC_FLAGS: u64 = 0x1 | 0x2 | UC_STRICT_RESTORE_SS;
const UC_STRICT_RESTORE_SS: u64 = 0x4;

ostd::pod_struct! {
    /// `struct sigcontext`.
    struct SigContext {
        r8: u64,
        r9: u64,
        r10: u64,
        r11: u64,
        r12: u64,
        r13: u64,
        r14: u64,
        r15: u64,
        rdi: u64,
        rsi: u64,
        rbp: u64,
        rbx: u64,
        rdx: u64,
        rax: u64,
        rcx: u64,
        rsp: u64,
        rip: u64,
        eflags: u64,
        /// cs, gs, fs and ss, 16 bits each.
        segments: u64,
        err: u64,
        trapno: u64,
        oldmask: u64,
        cr2: u64,
        /// Where the xsave image is; 0 for none.
        fpstate: u64,
        reserved: [u64; 8],
    }

    /// `struct ucontext`.
    struct UContext {
        flags: u64,
        link: u64,
        /// `ss_sp`, `ss_flags`, `ss_size`.
        stack: [u64; 3],
        context: SigContext,
        mask: u64,
    }

    struct Frame {
        /// What the handler returns to.
        restorer: u64,
        ucontext: UContext,
        info: [u64; SIGINFO_SIZE / 8],
    }
}

const FRAME_SIZE: usize = size_of::<Frame>();
const UCONTEXT: usize = offset_of!(Frame, ucontext);
const SIGINFO: usize = offset_of!(Frame, info);

const RF: u64 = 1 << 16;
const TF: u64 = 1 << 8;
const DF: u64 = 1 << 10;

/// Puts a frame on the right stack and points the registers at the handler.
///
/// # Errors
/// `EFAULT` if the stack can't be written or the action has no restorer (rule 7.40).
pub(super) fn push(ctx: &mut Context, info: &SigInfo, action: &SigAction, saved_mask: SigSet) -> Result<()> {
    if !action.flags.contains(SaFlags::RESTORER) {
        return Err(EFAULT);
    }
    let altstack = ctx.thread.signals.altstack();
    let sp = ctx.user.rsp() as u64;
    let top = choose_stack(&altstack, sp, action);
    let fp_size = xsave::frame_size();
    let fp = top.checked_sub(fp_size as u64).ok_or(EFAULT)? & !63;
    let base = (fp.checked_sub(FRAME_SIZE as u64).ok_or(EFAULT)? & !15).checked_sub(8).ok_or(EFAULT)?;
    // An alternate stack that is too small must not be run over at its lower end (rule 7.41).
    if altstack.contains(top) && !altstack.contains(base) {
        return Err(EFAULT);
    }

    let r = &ctx.user.regs;
    let fault = ctx.thread.last_fault();
    let mut frame = Frame {
        restorer: action.restorer,
        ucontext: UContext {
            flags: UC_FLAGS,
            link: 0,
            stack: [altstack.base, altstack.flags.into(), altstack.size],
            context: SigContext {
                r8: r.r8,
                r9: r.r9,
                r10: r.r10,
                r11: r.r11,
                r12: r.r12,
                r13: r.r13,
                r14: r.r14,
                r15: r.r15,
                rdi: r.rdi,
                rsi: r.rsi,
                rbp: r.rbp,
                rbx: r.rbx,
                rdx: r.rdx,
                rax: r.rax,
                rcx: r.rcx,
                rsp: sp,
                rip: ctx.user.rip() as u64,
                eflags: ctx.user.rflags(),
                segments: ctx.user.cs() | ctx.user.ss() << 48,
                err: fault.error_code,
                trapno: fault.vector,
                oldmask: saved_mask.0,
                cr2: fault.address,
                fpstate: fp,
                reserved: [0; 8],
            },
            mask: saved_mask.0,
        },
        info: [0; SIGINFO_SIZE / 8],
    };
    info.encode_to(&mut frame.info);
    xsave::save(fp as usize)?;
    mem::write(base as usize, &frame)?;

    if altstack.flags & SS_AUTODISARM != 0 {
        ctx.thread.signals.set_altstack(AltStack::DISABLED);
    }
    let regs = &mut ctx.user.regs;
    regs.rdi = info.signo as u64;
    regs.rsi = base + SIGINFO as u64;
    regs.rdx = base + UCONTEXT as u64;
    regs.rax = 0;
    ctx.user.set_rsp(base as usize);
    ctx.user.set_rip(action.handler as usize);
    ctx.user.set_rflags(ctx.user.rflags() & !(DF | RF | TF));
    ctx.user.set_orig_rax(-1);
    Ok(())
}

/// The address below which the frame goes.
fn choose_stack(altstack: &AltStack, sp: u64, action: &SigAction) -> u64 {
    if action.flags.contains(SaFlags::ONSTACK) && altstack.is_enabled() && !altstack.contains(sp) {
        altstack.base.wrapping_add(altstack.size)
    } else {
        sp.wrapping_sub(RED_ZONE)
    }
}

/// rt_sigreturn(2): everything back as the frame says. Returns the value that `rax` shall have.
/// A frame that makes no sense is SIGSEGV: in the registers of before, or, if they are good but for a segment, in those of the
/// frame.
pub fn sigreturn(ctx: &mut Context) -> usize {
    match restore(ctx) {
        Ok(rax) => rax as usize,
        Err(_) => {
            bad_frame(ctx.thread, SIGSEGV + 1);
            0
        }
    }
}

fn restore(ctx: &mut Context) -> Result<u64> {
    // The restorer has popped the return address.
    let mut place = MaybeUninit::<UContext>::uninit();
    let frame = mem::read_to(ctx.user.rsp(), &mut place)?;
    let context = &frame.context;
    set_blocked(ctx.thread, SigSet(frame.mask));
    match context.fpstate {
        0 => fpu::reset(),
        fp => xsave::restore(fp as usize)?,
    }
    let [base, flags, size] = frame.stack;
    restore_altstack(ctx, base, flags as u32, size);
    restore_registers(ctx.user, context);
    ctx.user.set_orig_rax(-1);
    ctx.user.restore_all();
    if let Some(selector) = refused_segment(ctx.user, context.segments, frame.flags) {
        ctx.thread.set_last_fault(0, selector, GENERAL_PROTECTION);
        send::force(ctx.thread, SigInfo::kernel(SIGSEGV));
    }
    Ok(ctx.user.regs.rax)
}

/// The number of the exception that the processor raises for a segment which a program can't have.
const GENERAL_PROTECTION: u64 = 13;

/// The selector, if there is one, at which an `iret` to the segments of a frame would fail, without its privilege level: that is
/// overruled. There is one code segment and one stack segment for programs.
#[inline]
fn refused_segment(user: &UserContext, segments: u64, flags: u64) -> Option<u64> {
    let (cs, ss) = (segments & 0xffff | 3, segments >> 48 | 3);
    if cs != user.cs() {
        return Some(cs & !3);
    }
    // Before there was the flag, frames had no ss.
    (ss != user.ss() && flags & UC_STRICT_RESTORE_SS != 0).then_some(ss & !3)
}

fn restore_registers(user: &mut UserContext, context: &SigContext) {
    let SigContext { r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, .. } = *context;
    user.regs = GeneralRegs { r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi };
    user.set_rsp(context.rsp as usize);
    user.set_rip(context.rip as usize);
    user.set_rflags(context.eflags);
}

/// The handler may have changed `uc_stack`; nonsense there is passed over, as Linux passes it over. So is all of it while the
/// frame itself is on the alternate stack, which would be EPERM for sigaltstack(2).
fn restore_altstack(ctx: &Context, base: u64, flags: u32, size: u64) {
    let current = ctx.thread.signals.altstack();
    if current.contains(ctx.user.rsp() as u64) {
        return;
    }
    if let Ok(stack) = AltStack::from_user(base, flags, size) {
        ctx.thread.signals.set_altstack(stack);
    }
}

/// A frame that can't be written or read: SIGSEGV. If it was SIGSEGV's own frame its handler is dropped.
pub(super) fn bad_frame(thread: &Arc<Thread>, signo: Signo) {
    if signo == SIGSEGV {
        let group = thread.process.signals.lock();
        let action = group.sighand.get(SIGSEGV);
        group.sighand.set(SIGSEGV, SigAction { handler: SIG_DFL, ..action });
    }
    send::force(thread, SigInfo::kernel(SIGSEGV));
}
