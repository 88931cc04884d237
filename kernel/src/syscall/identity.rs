//! Who the caller is: pids, process groups and sessions, user and group ids, capabilities.

use ostd::user::mem;

use super::{Args, Context};
use crate::{
    device::tty,
    prelude::*,
    process::{
        Cap, Credentials,
        credentials::{self, CapSet, NGROUPS_MAX},
        group, pid,
    },
};

// ---- pids --------------------------------------------------------------------------------------------------------

pub fn sys_getpid(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(ctx.process().pid() as usize)
}

pub fn sys_gettid(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(ctx.thread.tid() as usize)
}

pub fn sys_getppid(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(ctx.process().getppid() as usize)
}

// ---- process groups and sessions ---------------------------------------------------------------------------------

pub fn sys_setpgid(ctx: &mut Context, args: Args) -> Result<usize> {
    group::setpgid(ctx.thread, args[0] as i32, args[1] as i32)?;
    Ok(0)
}

pub fn sys_getpgid(ctx: &mut Context, args: Args) -> Result<usize> {
    Ok(group::getpgid(ctx.process(), args[0] as i32)? as usize)
}

pub fn sys_getpgrp(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(group::getpgid(ctx.process(), 0)? as usize)
}

pub fn sys_setsid(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(group::setsid(ctx.thread)? as usize)
}

pub fn sys_getsid(ctx: &mut Context, args: Args) -> Result<usize> {
    Ok(group::getsid(ctx.process(), args[0] as i32)? as usize)
}

// ---- user and group ids ------------------------------------------------------------------------------------------

pub fn sys_getuid(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(ctx.thread.with_creds(|creds| creds.uid) as usize)
}

pub fn sys_geteuid(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(ctx.thread.with_creds(|creds| creds.euid) as usize)
}

pub fn sys_getgid(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(ctx.thread.with_creds(|creds| creds.gid) as usize)
}

pub fn sys_getegid(ctx: &mut Context, _: Args) -> Result<usize> {
    Ok(ctx.thread.with_creds(|creds| creds.egid) as usize)
}

fn write_three(args: Args, ids: [u32; 3]) -> Result<usize> {
    for (addr, id) in args.into_iter().zip(ids) {
        mem::write(addr, &id)?;
    }
    Ok(0)
}

pub fn sys_getresuid(ctx: &mut Context, args: Args) -> Result<usize> {
    write_three(args, ctx.thread.with_creds(|creds| [creds.uid, creds.euid, creds.suid]))
}

pub fn sys_getresgid(ctx: &mut Context, args: Args) -> Result<usize> {
    write_three(args, ctx.thread.with_creds(|creds| [creds.gid, creds.egid, creds.sgid]))
}

/// An id as an argument: -1 is none.
fn id(arg: usize) -> Result<u32> {
    let id = arg as u32;
    if id == u32::MAX { Err(EINVAL) } else { Ok(id) }
}

/// An id that -1 leaves as it is.
fn optional(arg: usize) -> Option<u32> {
    id(arg).ok()
}

fn commit(ctx: &Context, new: Result<Credentials>) -> Result<usize> {
    credentials::commit(ctx.thread, new?);
    Ok(0)
}

pub fn sys_setuid(ctx: &mut Context, args: Args) -> Result<usize> {
    commit(ctx, ctx.thread.creds().setuid(id(args[0])?))
}

pub fn sys_setgid(ctx: &mut Context, args: Args) -> Result<usize> {
    commit(ctx, ctx.thread.creds().setgid(id(args[0])?))
}

pub fn sys_setreuid(ctx: &mut Context, args: Args) -> Result<usize> {
    commit(ctx, ctx.thread.creds().setreuid(optional(args[0]), optional(args[1])))
}

pub fn sys_setregid(ctx: &mut Context, args: Args) -> Result<usize> {
    commit(ctx, ctx.thread.creds().setregid(optional(args[0]), optional(args[1])))
}

pub fn sys_setresuid(ctx: &mut Context, args: Args) -> Result<usize> {
    commit(ctx, ctx.thread.creds().setresuid(optional(args[0]), optional(args[1]), optional(args[2])))
}

pub fn sys_setresgid(ctx: &mut Context, args: Args) -> Result<usize> {
    commit(ctx, ctx.thread.creds().setresgid(optional(args[0]), optional(args[1]), optional(args[2])))
}

/// Returns the old id, whether it changed or not (setfsuid(2)).
pub fn sys_setfsuid(ctx: &mut Context, args: Args) -> Result<usize> {
    let old = ctx.thread.creds();
    if let Some(new) = optional(args[0]).and_then(|uid| old.setfsuid(uid)) {
        credentials::commit(ctx.thread, new);
    }
    Ok(old.fsuid as usize)
}

pub fn sys_setfsgid(ctx: &mut Context, args: Args) -> Result<usize> {
    let old = ctx.thread.creds();
    if let Some(new) = optional(args[0]).and_then(|gid| old.setfsgid(gid)) {
        credentials::commit(ctx.thread, new);
    }
    Ok(old.fsgid as usize)
}

pub fn sys_getgroups(ctx: &mut Context, args: Args) -> Result<usize> {
    let creds = ctx.thread.creds();
    let size = args[0] as i32;
    if size < 0 {
        return Err(EINVAL);
    }
    if size != 0 {
        if (size as usize) < creds.groups.len() {
            return Err(EINVAL);
        }
        for (i, gid) in creds.groups.iter().enumerate() {
            mem::write(args[1].checked_add(4 * i).ok_or(EFAULT)?, gid)?;
        }
    }
    Ok(creds.groups.len())
}

pub fn sys_setgroups(ctx: &mut Context, args: Args) -> Result<usize> {
    let creds = ctx.thread.creds();
    creds.require(Cap::Setgid)?;
    let count = args[0] as u32 as usize;
    if count > NGROUPS_MAX {
        return Err(EINVAL);
    }
    let mut groups = Vec::new();
    groups.try_reserve_exact(count).map_err(|_| ENOMEM)?;
    for i in 0..count {
        let gid = mem::read::<u32>(args[1].checked_add(4 * i).ok_or(EFAULT)?)?;
        groups.push(id(gid as usize)?);
    }
    commit(ctx, Ok(creds.setgroups(groups)))
}

// ---- capabilities ------------------------------------------------------------------------------------------------

const CAPABILITY_VERSION_1: u32 = 0x1998_0330;
const CAPABILITY_VERSION_2: u32 = 0x2007_1026;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// Reads `struct __user_cap_header_struct`: how many 32-bit halves its version has, and the pid. An unknown version is
/// replaced by the one to use, and is an error.
fn read_cap_header(addr: usize) -> Result<(usize, i32)> {
    let [version, pid] = mem::read::<[u32; 2]>(addr)?;
    let halves = match version {
        CAPABILITY_VERSION_1 => 1,
        CAPABILITY_VERSION_2 | CAPABILITY_VERSION_3 => 2,
        _ => {
            mem::write(addr, &CAPABILITY_VERSION_3)?;
            return Err(EINVAL);
        }
    };
    Ok((halves, pid as i32))
}

/// effective, permitted, inheritable of each half.
type CapData = [[u32; 3]; 2];

pub fn sys_capget(ctx: &mut Context, args: Args) -> Result<usize> {
    let [header, data, ..] = args;
    let (halves, pid) = match read_cap_header(header) {
        // Asking for the version only.
        Err(EINVAL) if data == 0 => return Ok(0),
        other => other?,
    };
    if data == 0 {
        return Ok(0);
    }
    let creds = match pid {
        0 => ctx.thread.creds(),
        1.. => pid::creds(pid as u32).ok_or(ESRCH)?,
        _ => return Err(EINVAL),
    };
    let mut words: CapData = [[0; 3]; 2];
    for (half, words) in words.iter_mut().enumerate() {
        *words =
            [creds.effective, creds.permitted, creds.inheritable].map(|set| (set.0 >> (32 * half)) as u32);
    }
    for (half, words) in words.iter().take(halves).enumerate() {
        mem::write(data.checked_add(12 * half).ok_or(EFAULT)?, words)?;
    }
    Ok(0)
}

pub fn sys_capset(ctx: &mut Context, args: Args) -> Result<usize> {
    let [header, data, ..] = args;
    let (halves, pid) = read_cap_header(header)?;
    if pid != 0 && pid as u32 != ctx.thread.tid() {
        return Err(EPERM);
    }
    let mut sets = [CapSet::EMPTY; 3];
    for half in 0..halves {
        let words = mem::read::<[u32; 3]>(data.checked_add(12 * half).ok_or(EFAULT)?)?;
        for (set, word) in sets.iter_mut().zip(words) {
            set.0 |= (word as u64) << (32 * half);
        }
    }
    // Numbers beyond the last capability are no capabilities.
    let [effective, permitted, inheritable] = sets.map(|set| set & CapSet::FULL);
    commit(ctx, ctx.thread.creds().capset(effective, permitted, inheritable))
}

/// vhangup(2): of the controlling terminal.
pub fn sys_vhangup(ctx: &mut Context, _: Args) -> Result<usize> {
    ctx.thread.creds().require(Cap::SysTtyConfig)?;
    tty::hang_up_own();
    Ok(0)
}
