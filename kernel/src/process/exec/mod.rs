//! execve(2): replacing the program of a process. The story, top to bottom (spec section 10):
//!
//! 1. [`open`]: the path is looked up, the file must be regular, executable and not open for writing (rules 10.1, 10.2).
//! 2. [`args`]: argument and environment strings are copied into the kernel (limits: 10.6; an empty argv: 10.7).
//! 3. [`program`]: the file's format is found; a script makes way for its interpreter, up to five times (10.3, 10.4).
//! 4. [`load`], [`stack`]: a complete new address space is built beside the old one: segments, the program's own
//!    interpreter (ld.so), heap, stack with strings and auxiliary vector (10.17). All that can fail has been done now, and
//!    so far nothing of the caller has changed.
//! 5. [`commit`]: the point of no return: the other threads are killed, the address space is exchanged, a vfork parent is
//!    released, descriptors are closed, signal handlers reset, names and credentials set (10.9 - 10.12, 10.15, 10.16).
//!
//! Locks: none of its own.

mod args;
mod commit;
mod load;
mod open;
mod program;
mod stack;

#[cfg(feature = "ktest")]
mod tests;

pub use self::{
    args::Args,
    open::{AT_FDCWD, Target, flags},
    program::Program,
    stack::AUXV_WORDS,
};
use crate::{
    prelude::*,
    process::{Thread, clone},
    syscall::Context,
};

/// Replaces the calling process's program (execve(2), execveat(2)). Returns only on failure: on success the registers in
/// `ctx` are those of the new program.
///
/// # Errors
/// As execve(2); nothing has changed then.
pub fn execve(ctx: &mut Context, target: Target, argv: Vaddr, envp: Vaddr) -> Result<()> {
    clone::check_nproc_at_exec(ctx.thread)?;
    let fs = ctx.thread.fs();
    let _exec = fs.begin_exec();
    let opened = open::open(ctx.thread, target)?;
    let args = Args::from_user(argv, envp, stack_limit(ctx.thread), opened.path.len())?;
    let program = Program::build(ctx.thread, opened, args)?;
    commit::commit(ctx, program)
}

/// Only the checks of execve (AT_EXECVE_CHECK).
///
/// # Errors
/// As execve(2).
pub fn check(ctx: &mut Context, target: Target, argv: Vaddr, envp: Vaddr) -> Result<()> {
    let opened = open::open(ctx.thread, target)?;
    Args::from_user(argv, envp, stack_limit(ctx.thread), opened.path.len())?;
    Ok(())
}

/// Starts a program on behalf of the kernel: init.
///
/// # Errors
/// As execve(2).
pub fn kernel_execve(ctx: &mut Context, path: &[u8], argv: &[&[u8]], envp: &[&[u8]]) -> Result<()> {
    let opened = open::open_interpreter(ctx.thread, path)?;
    let program = Program::build(ctx.thread, opened, Args::from_kernel(argv, envp))?;
    commit::commit(ctx, program)
}

fn stack_limit(thread: &Thread) -> usize {
    thread.process.memory_limits().stack
}
