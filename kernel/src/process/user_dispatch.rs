//! Syscall user dispatch (PR_SET_SYSCALL_USER_DISPATCH): system calls that become SIGSYS, for emulators (Wine).
//!
//! A program says from which part of its memory system calls are to be let through, and names a byte, the *selector*, with which
//! it turns the dispatch on and off without a system call. A call from elsewhere, with the selector at "block", is not made: the
//! thread gets SIGSYS with the code SYS_USER_DISPATCH and its registers as they were.
//!
//! # Data
//! Each thread has a [`UserDispatch`], which only the thread itself uses. A new thread and a forked child start without, execve
//! ends it.
//!
//! # The way of a system call
//! As for [`seccomp`](super::seccomp): a thread that has asked for it runs in the loop that looks at calls ([`work::SYSCALLS`]),
//! and asks [`admits`] before seccomp is asked. Others pay nothing.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use ostd::{mm::USER_END, user::mem};

use super::{
    Thread, coredump, seccomp,
    signal::{self, SIGSEGV, SIGSYS, SYS_USER_DISPATCH, SigInfo, work},
};
use crate::{prelude::*, syscall::Context};

/// Values of the selector.
mod selector {
    pub const ALLOW: u8 = 0;
    pub const BLOCK: u8 = 1;
}

/// A thread's part.
#[derive(Default)]
pub struct UserDispatch {
    on: AtomicBool,
    /// Calls are let through if the instruction behind them is less than `len` from `start`, both modulo 2^64.
    start: AtomicUsize,
    len: AtomicUsize,
    /// Where the selector is; 0: there is none, and it blocks.
    selector: AtomicUsize,
}

impl UserDispatch {
    /// A new program: it runs as one that has never asked.
    pub fn end(&self) {
        self.on.store(false, Relaxed);
    }
}

/// PR_SET_SYSCALL_USER_DISPATCH.
///
/// # Errors
/// EINVAL for an unknown mode, arguments where there is nothing to say, and a range that is empty or wraps round; EFAULT for a
/// selector outside of user memory.
pub fn set(thread: &Thread, mode: usize, start: usize, len: usize, selector: Vaddr) -> Result<usize> {
    const OFF: usize = 0;
    const EXCLUSIVE_ON: usize = 1;
    const INCLUSIVE_ON: usize = 2;
    let is_range = start.wrapping_add(len) > start;
    let (start, len) = match mode {
        OFF if start == 0 && len == 0 && selector == 0 => (0, 0),
        EXCLUSIVE_ON if start == 0 || is_range => (start, len),
        // Calls from the range are caught: let through is what is outside.
        INCLUSIVE_ON if len != 0 && is_range => (start.wrapping_add(len), len.wrapping_neg()),
        _ => return Err(EINVAL),
    };
    if selector >= USER_END {
        return Err(EFAULT);
    }
    let dispatch = &thread.user_dispatch;
    dispatch.start.store(start, Relaxed);
    dispatch.len.store(len, Relaxed);
    dispatch.selector.store(selector, Relaxed);
    dispatch.on.store(mode != OFF, Relaxed);
    if mode != OFF {
        thread.work.fetch_or(work::SYSCALLS, Relaxed);
    }
    Ok(0)
}

/// Whether the system call that the calling thread has just made is to be served. If not, the thread has been sent a signal.
#[inline]
pub fn admits(ctx: &mut Context) -> bool {
    !ctx.thread.user_dispatch.on.load(Relaxed) || look(ctx)
}

fn look(ctx: &mut Context) -> bool {
    let dispatch = &ctx.thread.user_dispatch;
    if ctx.user.rip().wrapping_sub(dispatch.start.load(Relaxed)) < dispatch.len.load(Relaxed) {
        return true;
    }
    let selector = dispatch.selector.load(Relaxed);
    if selector != 0 {
        match mem::read::<u8>(selector) {
            Ok(selector::ALLOW) => return true,
            Ok(selector::BLOCK) => {}
            Ok(_) => return die(ctx, SIGSYS),
            Err(_) => return die(ctx, SIGSEGV),
        }
    }
    let (number, addr) = (ctx.user.orig_rax() as i32, ctx.user.rip() as u64);
    let info = SigInfo::syscall(SIGSYS, SYS_USER_DISPATCH, 0, addr, number, seccomp::ARCH);
    // The registers are as they were at the call: a handler may make it itself, and set its result.
    signal::force(ctx.thread, info);
    false
}

/// No handler is asked what to do without a selector that says something.
fn die(ctx: &mut Context, signo: signal::Signo) -> bool {
    coredump::die(ctx, &SigInfo::kernel(signo));
    false
}
