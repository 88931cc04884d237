//! Process groups and sessions: setpgid(2), setsid(2), getpgid(2), getsid(2) (spec section 8).

use core::sync::atomic::Ordering::Relaxed;

use proctree::{NewPgrp, PidId, ProcId};

use super::{
    Process, Thread, pid,
    tree::{self, Effects, Table},
};
use crate::prelude::*;

/// setpgid(2); `target` and `pgid` as the program gave them, 0 for "self" and "the target's own number".
///
/// # Errors
/// Rules 8.1-8.4.
pub fn setpgid(caller: &Thread, target: i32, pgid: i32) -> Result<()> {
    let ns = caller.process.ns();
    let own = caller.process.pid();
    let target = match target {
        0 => own,
        nr => nr as u32,
    };
    let pgid = match pgid {
        0 => target as i32,
        pgid => pgid,
    };
    if pgid < 0 {
        return Err(EINVAL);
    }
    let target_pid = pid::lookup(ns, target).ok_or(ESRCH)?;
    let pgrp = match pgid as u32 == target {
        true => NewPgrp::Own,
        false => NewPgrp::Other(pid::lookup(ns, pgid as u32)),
    };
    let mut effects = Effects::new();
    tree::lock().setpgid(caller.id(), target_pid, pgrp, &mut effects)?;
    Ok(())
}

/// setsid(2): the number of the new session.
///
/// # Errors
/// `EPERM` if the caller's pid is a process group's already (rule 8.6).
pub fn setsid(caller: &Thread) -> Result<u32> {
    let mut effects = Effects::new();
    let mut table = tree::lock();
    let session = table.setsid(caller.id(), &mut effects)?;
    caller.process.tty.store(0, Relaxed);
    Ok(table.nr(session, caller.process.ns()))
}

/// getpgid(2): of a process, a zombie, or the process of a thread; 0 is the caller's.
///
/// # Errors
/// `ESRCH`.
pub fn getpgid(caller: &Process, nr: i32) -> Result<u32> {
    number_of(caller, nr, Table::pgrp)
}

/// getsid(2).
///
/// # Errors
/// `ESRCH`.
pub fn getsid(caller: &Process, nr: i32) -> Result<u32> {
    number_of(caller, nr, Table::session)
}

fn number_of(caller: &Process, nr: i32, which: fn(&Table, ProcId) -> Option<PidId>) -> Result<u32> {
    let pid = match nr {
        0 => None,
        nr => Some(pid::lookup(caller.ns(), nr as u32).ok_or(ESRCH)?),
    };
    let table = tree::lock();
    let process = match pid {
        None => caller.id(),
        Some(pid) => process_of(&table, pid).ok_or(ESRCH)?,
    };
    let pid = which(&table, process).ok_or(ESRCH)?;
    Ok(table.nr(pid, caller.ns()))
}

/// The process that a pid names as its tgid, or as the tid of one of its threads.
pub fn process_of(table: &Table, pid: PidId) -> Option<ProcId> {
    table.pid_process(pid).or_else(|| table.process_of(table.pid_thread(pid)?))
}
