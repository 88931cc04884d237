//! System calls: decode the arguments, call the subsystem, encode the result.
//!
//! One thin file per family; [`table`] maps numbers to handlers. A handler gets its six raw arguments and
//! returns the value for `rax` or an error number. Nothing on the way from the entry to the handler takes a
//! lock, changes a reference count or allocates: the null syscall is the first row of the benchmarks.

use core::sync::atomic::Ordering::Relaxed;

use ostd::user::UserContext;

use crate::{
    prelude::*,
    process::{Process, Thread, signal::work},
};

pub mod aio;
pub mod barrier;
pub mod event;
pub mod exec;
pub mod fcntl;
pub mod fd;
pub mod file;
pub mod futex;
pub mod identity;
pub mod ioprio;
mod kcmp;
pub mod mm;
pub mod mount;
mod mqueue;
pub mod namespace;
pub mod path;
pub mod pidfd;
pub mod poll;
pub mod process;
mod process_vm;
pub mod resource;
pub mod sched;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod stat;
pub mod system;
mod sysv;
pub mod table;
pub mod time;
pub mod timer;
pub mod wait;
pub mod xattr;

/// What a handler works on: the calling thread and its user registers.
pub struct Context<'a> {
    pub thread: &'a Arc<Thread>,
    pub user: &'a mut UserContext,
}

impl Context<'_> {
    pub fn process(&self) -> &Arc<Process> {
        &self.thread.process
    }

    #[inline(always)]
    fn args(&self) -> Args {
        let regs = &self.user.regs;
        [
            regs.rdi as usize,
            regs.rsi as usize,
            regs.rdx as usize,
            regs.r10 as usize,
            regs.r8 as usize,
            regs.r9 as usize,
        ]
    }
}

/// Raw arguments, in the order rdi, rsi, rdx, r10, r8, r9.
pub type Args = [usize; 6];

pub type Handler = fn(&mut Context, Args) -> Result<usize>;

/// A handler as the table has it.
pub type Entry = fn(&mut Context) -> Result<usize>;

/// Runs the syscall that the user registers name and stores its result in `rax`.
#[inline(always)]
pub fn dispatch(ctx: &mut Context) {
    // The high half does not count.
    let number = ctx.user.regs.rax as u32 as usize;
    let entry = table::TABLE.get(number).copied().unwrap_or(|ctx| unknown(ctx, [0; 6]));
    let rax = match entry(ctx) {
        Ok(value) => value as u64,
        Err(errno) => {
            if errno.is_restart() {
                // Delivery replaces the code, even if the signal itself is gone by then.
                ctx.thread.work.fetch_or(work::SIGNAL, Relaxed);
            }
            -(errno as i64) as u64
        }
    };
    ctx.user.regs.rax = rax;
}

/// ENOSYS for a number that has no handler; each number is logged once, at debug level.
pub fn unknown(ctx: &mut Context, _: Args) -> Result<usize> {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static SEEN: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

    let number = ctx.user.orig_rax() as usize;
    let bit = 1u64 << (number % 64);
    let first = SEEN.get(number / 64).is_some_and(|word| word.fetch_or(bit, Relaxed) & bit == 0);
    if first {
        debug!("syscall {number} is not implemented (pid {})", ctx.process().pid());
    }
    Err(ENOSYS)
}
