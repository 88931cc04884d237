//! The x86_64 signal frame: what a handler finds on its stack, and the way back (rules 7.39-7.41, signal.h).
//!
//! ```text
//!   higher   | red zone, 128 bytes of the interrupted function
//!            | xsave image, 64-byte aligned, with the software words that say how long it is
//!   rsp+312  | siginfo_t, 128 bytes
//!   rsp+8    | ucontext: flags, link, stack, sigcontext (registers), mask
//!   rsp      | return address: the restorer, which calls rt_sigreturn
//! ```

use ostd::{
    mm::USER_END,
    user::{UserContext, fpu, mem},
};

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
const UC_FLAGS: u64 = 0x1 | 0x2 | 0x4;

const UCONTEXT: usize = 8;
const STACK: usize = UCONTEXT + 16;
const SIGCONTEXT: usize = UCONTEXT + 40;
const SIGMASK: usize = SIGCONTEXT + 256;
const SIGINFO: usize = SIGMASK + 8;
const FRAME_SIZE: usize = SIGINFO + SIGINFO_SIZE;

/// Words of `struct sigcontext`, by index.
mod word {
    pub const RSP: usize = 15;
    pub const RIP: usize = 16;
    pub const EFLAGS: usize = 17;
    pub const SEGMENTS: usize = 18;
    pub const ERR: usize = 19;
    pub const TRAPNO: usize = 20;
    pub const OLDMASK: usize = 21;
    pub const CR2: usize = 22;
    pub const FPSTATE: usize = 23;
}

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

    let mut frame = [0u8; FRAME_SIZE];
    put(&mut frame, 0, action.restorer);
    put(&mut frame, UCONTEXT, UC_FLAGS);
    put(&mut frame, STACK, altstack.base);
    put(&mut frame, STACK + 8, altstack.flags_at(sp) as u64);
    put(&mut frame, STACK + 16, altstack.size);
    encode_registers(ctx, &mut frame, fp, saved_mask);
    put(&mut frame, SIGMASK, saved_mask.0);
    frame[SIGINFO..].copy_from_slice(&info.encode());

    xsave::save(fp as usize)?;
    mem::copy_to_user(base as usize, &frame)?;

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

fn put(frame: &mut [u8], offset: usize, value: u64) {
    frame[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
}

fn encode_registers(ctx: &Context, frame: &mut [u8], fp: u64, saved_mask: SigSet) {
    let r = &ctx.user.regs;
    let general = [
        r.r8,
        r.r9,
        r.r10,
        r.r11,
        r.r12,
        r.r13,
        r.r14,
        r.r15,
        r.rdi,
        r.rsi,
        r.rbp,
        r.rbx,
        r.rdx,
        r.rax,
        r.rcx,
        ctx.user.rsp() as u64,
        ctx.user.rip() as u64,
        ctx.user.rflags(),
    ];
    for (i, value) in general.iter().enumerate() {
        put(frame, SIGCONTEXT + i * 8, *value);
    }
    let segments = ctx.user.cs() | ctx.user.ss() << 48;
    put(frame, SIGCONTEXT + word::SEGMENTS * 8, segments);
    let fault = ctx.thread.last_fault();
    put(frame, SIGCONTEXT + word::ERR * 8, fault.error_code);
    put(frame, SIGCONTEXT + word::TRAPNO * 8, fault.vector);
    put(frame, SIGCONTEXT + word::OLDMASK * 8, saved_mask.0);
    put(frame, SIGCONTEXT + word::CR2 * 8, fault.address);
    put(frame, SIGCONTEXT + word::FPSTATE * 8, fp);
}

/// rt_sigreturn(2): everything back as the frame says. Returns the value that `rax` shall have.
/// A frame that makes no sense kills by SIGSEGV.
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
    let base = (ctx.user.rsp() as u64).wrapping_sub(8);
    let mut frame = [0u8; SIGINFO];
    mem::copy_from_user(&mut frame, base as usize)?;
    let get = |offset: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&frame[offset..offset + 8]);
        u64::from_ne_bytes(bytes)
    };
    let register = |index: usize| get(SIGCONTEXT + index * 8);
    // Any privilege in the selector is overruled, but the segment must be the one for 64-bit programs.
    if (register(word::SEGMENTS) & 0xffff) | 3 != ctx.user.cs() {
        return Err(EFAULT);
    }

    set_blocked(ctx.thread, SigSet(get(SIGMASK)));
    match register(word::FPSTATE) {
        0 => fpu::reset(),
        fp if fp < USER_END as u64 => xsave::restore(fp as usize)?,
        _ => return Err(EFAULT),
    }
    restore_altstack(ctx, get(STACK), get(STACK + 8) as u32, get(STACK + 16));
    restore_registers(ctx.user, register);
    ctx.user.set_orig_rax(-1);
    ctx.user.restore_all();
    Ok(ctx.user.regs.rax)
}

fn restore_registers(user: &mut UserContext, register: impl Fn(usize) -> u64) {
    let r = &mut user.regs;
    let general = [
        &mut r.r8, &mut r.r9, &mut r.r10, &mut r.r11, &mut r.r12, &mut r.r13, &mut r.r14, &mut r.r15,
        &mut r.rdi, &mut r.rsi, &mut r.rbp, &mut r.rbx, &mut r.rdx, &mut r.rax, &mut r.rcx,
    ];
    for (i, place) in general.into_iter().enumerate() {
        *place = register(i);
    }
    user.set_rsp(register(word::RSP) as usize);
    user.set_rip(register(word::RIP) as usize);
    user.set_rflags(register(word::EFLAGS));
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
