//! Birth and death: fork(2), vfork(2), clone(2), clone3(2), exit(2), exit_group(2), and what threads tell the kernel of
//! themselves at their start.

use core::sync::atomic::Ordering::Relaxed;

use ostd::user::mem;

use super::{Args, Context};
use crate::{
    prelude::*,
    process::{
        clone::{self, CloneArgs, CloneFlags},
        exit, prctl,
        signal::NSIG,
    },
};

pub fn sys_fork(ctx: &mut Context, _: Args) -> Result<usize> {
    clone::clone(ctx, &CloneArgs::fork())
}

pub fn sys_vfork(ctx: &mut Context, _: Args) -> Result<usize> {
    let flags = CloneFlags::VFORK | CloneFlags::VM;
    clone::clone(ctx, &CloneArgs { flags, ..CloneArgs::fork() })
}

/// Legacy clone: flags above bit 31 are ignored, the low byte is the exit signal (rule 6.3).
pub fn sys_clone(ctx: &mut Context, args: Args) -> Result<usize> {
    let [raw, stack, parent_tid, child_tid, tls, _] = args;
    let flags = CloneFlags::from_bits_truncate(raw as u64 & 0xffff_ff00);
    // The pidfd goes where the parent's tid would: both together can't be.
    if flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) {
        return Err(EINVAL);
    }
    let pidfd = parent_tid;
    let args =
        CloneArgs { flags, exit_signal: raw as u8, stack, parent_tid, child_tid, tls, set_tid: &[], pidfd };
    clone::clone(ctx, &args)
}

/// `struct clone_args`, in words.
mod field {
    pub const FLAGS: usize = 0;
    pub const PIDFD: usize = 1;
    pub const CHILD_TID: usize = 2;
    pub const PARENT_TID: usize = 3;
    pub const EXIT_SIGNAL: usize = 4;
    pub const STACK: usize = 5;
    pub const STACK_SIZE: usize = 6;
    pub const TLS: usize = 7;
    pub const SET_TID: usize = 8;
    pub const SET_TID_SIZE: usize = 9;
    pub const CGROUP: usize = 10;
    pub const COUNT: usize = 11;
}

/// Sizes of `struct clone_args`: the first published, and the largest that is looked at (rule 6.5).
const CLONE_ARGS_MIN: usize = 64;
const CLONE_ARGS_MAX: usize = PAGE_SIZE;

/// Numbers that clone3 can be given (rule 6.7).
const MAX_SET_TID: usize = 32;

pub fn sys_clone3(ctx: &mut Context, args: Args) -> Result<usize> {
    let words = read_clone_args(args[0], args[1])?;
    let mut tids = [0; MAX_SET_TID];
    let args = decode_clone_args(&words, args[1], &mut tids)?;
    clone::clone(ctx, &args)
}

/// Reads a structure that may be shorter or longer than ours; what is beyond ours must be zero.
fn read_clone_args(addr: usize, size: usize) -> Result<[u64; field::COUNT]> {
    match size {
        _ if size > CLONE_ARGS_MAX => return Err(E2BIG),
        _ if size < CLONE_ARGS_MIN => return Err(EINVAL),
        _ => {}
    }
    const KNOWN: usize = field::COUNT * 8;
    let mut bytes = [0u8; KNOWN];
    let len = size.min(KNOWN);
    mem::copy_from_user(&mut bytes[..len], addr)?;
    for offset in KNOWN..size.max(KNOWN) {
        if mem::read::<u8>(addr + offset)? != 0 {
            return Err(E2BIG);
        }
    }
    let mut words = [0; field::COUNT];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    Ok(words)
}

/// Rules 6.6-6.8.
fn decode_clone_args<'a>(
    words: &[u64; field::COUNT],
    size: usize,
    tids: &'a mut [u32; MAX_SET_TID],
) -> Result<CloneArgs<'a>> {
    const CSIGNAL: u64 = 0xff;
    let word = |index: usize| words[index] as usize;
    let (set_tid, set_tid_size) = (words[field::SET_TID], words[field::SET_TID_SIZE]);
    if set_tid_size > MAX_SET_TID as u64 || (set_tid == 0) != (set_tid_size == 0) {
        return Err(EINVAL);
    }
    let exit_signal = words[field::EXIT_SIGNAL];
    if exit_signal & !CSIGNAL != 0 || exit_signal > NSIG as u64 {
        return Err(EINVAL);
    }
    let raw = words[field::FLAGS];
    if raw & CloneFlags::INTO_CGROUP.bits() != 0 && (words[field::CGROUP] > i32::MAX as u64 || size < 88) {
        return Err(EINVAL);
    }
    let tids = &mut tids[..set_tid_size as usize];
    for (index, tid) in tids.iter_mut().enumerate() {
        let addr = (set_tid as usize).checked_add(index * 4).ok_or(EFAULT)?;
        *tid = mem::read(addr)?;
    }
    let flags = CloneFlags::from_bits(raw).ok_or(EINVAL)?;
    let silent = flags.intersects(CloneFlags::THREAD | CloneFlags::PARENT);
    if flags.contains(CloneFlags::DETACHED) || silent && exit_signal != 0 {
        return Err(EINVAL);
    }
    let same_word = words[field::PIDFD] == words[field::PARENT_TID];
    if flags.contains(CloneFlags::PIDFD | CloneFlags::PARENT_SETTID) && same_word {
        return Err(EINVAL);
    }
    let (stack, stack_size) = (word(field::STACK), word(field::STACK_SIZE));
    if (stack == 0) != (stack_size == 0) || !clone::is_user_range(stack, stack_size) {
        return Err(EINVAL);
    }
    Ok(CloneArgs {
        flags,
        exit_signal: exit_signal as u8,
        stack: stack + stack_size,
        parent_tid: word(field::PARENT_TID),
        child_tid: word(field::CHILD_TID),
        tls: word(field::TLS),
        set_tid: tids,
        pidfd: word(field::PIDFD),
    })
}

pub fn sys_exit(ctx: &mut Context, args: Args) -> Result<usize> {
    exit::exit(ctx.thread, args[0] as i32);
    Ok(0)
}

pub fn sys_exit_group(ctx: &mut Context, args: Args) -> Result<usize> {
    exit::exit_group(ctx.thread, args[0] as i32);
    Ok(0)
}

pub fn sys_set_tid_address(ctx: &mut Context, args: Args) -> Result<usize> {
    ctx.thread.clear_child_tid.store(args[0], Relaxed);
    Ok(ctx.thread.tid() as usize)
}

pub fn sys_prctl(ctx: &mut Context, args: Args) -> Result<usize> {
    // Those that are used often go the short way.
    match args[0] as i32 {
        prctl::option::GET_CHILD_SUBREAPER => prctl::get_child_subreaper(ctx.thread, args[1]),
        prctl::option::SET_CHILD_SUBREAPER => prctl::set_child_subreaper(ctx.thread, args[1] != 0),
        _ => prctl::prctl(ctx, args),
    }
}
