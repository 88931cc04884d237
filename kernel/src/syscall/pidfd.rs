//! pidfds: pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2). What they are is told in [`pidfd`](crate::process::pidfd).

use ostd::user::mem;

use super::{
    Args, Context,
    file::file,
    namespace::inspectable,
    signal::{kill_group, may_signal_corpse, sendable, signal_process, signal_thread},
};
use crate::{
    fs::{File, OpenFlags, proc},
    prelude::*,
    process::{
        namespace::PidNs,
        pid,
        pidfd::{
            self, PIDFD_THREAD,
            file::{PidFile, pid_of},
        },
        signal::{self, SI_TKILL, SIGINFO_SIZE, SigInfo},
        tree,
    },
};

pub fn sys_pidfd_open(ctx: &mut Context, [nr, flags, ..]: Args) -> Result<usize> {
    let allowed = OpenFlags::NONBLOCK | PIDFD_THREAD;
    let flags = OpenFlags::from_bits(flags as u32).filter(|flags| allowed.contains(*flags)).ok_or(EINVAL)?;
    let nr = nr as i32;
    if nr <= 0 {
        return Err(EINVAL);
    }
    let file = pidfd::open(nr as u32, flags)?;
    Ok(ctx.thread.files().install(file, true, 0)? as usize)
}

/// A copy of another process's descriptor (rule 11.10).
pub fn sys_pidfd_getfd(ctx: &mut Context, [pidfd, fd, flags, ..]: Args) -> Result<usize> {
    if flags as u32 != 0 {
        return Err(EINVAL);
    }
    let owner = file(ctx, pidfd)?;
    let target = inspectable(ctx, pid_of(&owner)?)?;
    let files = target.try_files().ok_or(ESRCH)?;
    let copy = files.get_any(fd as i32)?;
    Ok(ctx.thread.files().install(copy, true, 0)? as usize)
}

/// Whom a signal is for (rule 7.29).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Thread,
    Process,
    Pgrp,
}

/// In place of a descriptor: the calling thread, and its process (rule 7.32).
const SELF_THREAD: i32 = -10000;
const SELF_PROCESS: i32 = -10001;

/// The pid that a descriptor refers to, and for whom a signal is if the flags don't say.
fn referent(ctx: &Context, fd: usize) -> Result<(pid::Key, Scope)> {
    let own = |nr| -> Result<pid::Key> {
        let ns = ctx.process().ns();
        Ok(pid::Key { ns, nr, pid: pid::lookup(ns, nr).ok_or(ESRCH)? })
    };
    match fd as i32 {
        SELF_THREAD => Ok((own(ctx.thread.tid())?, Scope::Thread)),
        SELF_PROCESS => Ok((own(ctx.process().pid())?, Scope::Process)),
        _ => of_file(ctx.process().pid_ns(), &*file(ctx, fd)?),
    }
}

/// A pidfd, or the directory of a process in procfs (rule 7.30); `EINVAL` unless its pid is known in the namespace `ns` (7.31).
fn of_file(ns: &PidNs, file: &File) -> Result<(pid::Key, Scope)> {
    let Some(pidfd) = file.downcast::<PidFile>() else {
        let key = proc::process_of(file).ok_or(EBADF)?;
        let known = pid::thread_of(&key).is_none_or(|thread| thread.process.pid_ns().is_within(ns));
        return if known { Ok((key, Scope::Process)) } else { Err(EINVAL) };
    };
    let pid_ref = pidfd.pid_ref();
    if !pid_ref.is_visible_in(ns) {
        return Err(EINVAL);
    }
    let scope = if file.flags().contains(PIDFD_THREAD) { Scope::Thread } else { Scope::Process };
    Ok((pid_ref.key(), scope))
}

pub fn sys_pidfd_send_signal(ctx: &mut Context, [fd, raw, info, flags, ..]: Args) -> Result<usize> {
    const FLAG_THREAD: u32 = 1;
    const FLAG_PROCESS: u32 = 2;
    const FLAG_PGRP: u32 = 4;
    let asked = match flags as u32 {
        0 => None,
        FLAG_THREAD => Some(Scope::Thread),
        FLAG_PROCESS => Some(Scope::Process),
        FLAG_PGRP => Some(Scope::Pgrp),
        _ => return Err(EINVAL),
    };
    let (key, scope) = referent(ctx, fd)?;
    let scope = asked.unwrap_or(scope);
    let info = match info {
        0 => None,
        addr => Some(read_siginfo(ctx, addr, raw, &key, scope)?),
    };
    match scope {
        Scope::Pgrp => kill_group(ctx, tree::Group::Exact(key.pid), raw, info.as_ref())?,
        _ => send(ctx, &key, scope, raw, info)?,
    }
    Ok(0)
}

/// Only to itself may a thread claim to be the kernel or kill(2) (rule 7.30).
fn read_siginfo(ctx: &Context, addr: usize, raw: usize, key: &pid::Key, scope: Scope) -> Result<SigInfo> {
    let mut bytes = [0; SIGINFO_SIZE];
    mem::copy_from_user(&mut bytes, addr)?;
    SigInfo::check_user(i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]), &bytes)?;
    let word = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (signo, code) = (word(0), word(8));
    if signo != raw as i32 {
        return Err(EINVAL);
    }
    let to_self =
        scope != Scope::Pgrp && pid::thread_of(key).is_some_and(|task| Arc::ptr_eq(&task, ctx.thread));
    if (code >= 0 || code == SI_TKILL) && !to_self {
        return Err(EPERM);
    }
    Ok(SigInfo::from_user(signo as u8, &bytes))
}

fn send(ctx: &Context, key: &pid::Key, scope: Scope, raw: usize, info: Option<SigInfo>) -> Result<()> {
    let target = match pid::find_exact(key).ok_or(ESRCH)? {
        pid::Target::Thread(thread) => thread,
        // A zombie takes any signal, and nothing happens (rule 3.12).
        pid::Target::Zombie(corpse) => {
            let signo = sendable(raw)?;
            return may_signal_corpse(ctx, &tree::lock(), &corpse, signo);
        }
    };
    match info {
        None if scope == Scope::Thread => signal_thread(ctx, &target, raw),
        None => signal_process(ctx, &target.process, Some(&target), raw),
        Some(info) => {
            let signo = sendable(raw)?;
            super::signal::may_signal_thread(ctx, &target, signo)?;
            match signo {
                Some(_) => signal::queue(&target, scope == Scope::Process, info),
                None => Ok(()),
            }
        }
    }
}
