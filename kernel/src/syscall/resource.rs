//! Resources: limits, usage, times, priorities.

use core::sync::atomic::Ordering::Relaxed;

use ostd::{time, user::mem};
use proctree::Body;

use super::{Args, Context};
use crate::{
    prelude::*,
    process::{
        Cap, Credentials, Process, Rlimits, Thread, group, pid,
        rlimit::{Resource, Rlimit},
        tree,
        usage::{self, Usage, ns_to_ticks},
    },
};

// ---- limits ------------------------------------------------------------------------------------------------------

fn resource(arg: usize) -> Result<Resource> {
    Resource::try_from(arg as u32).map_err(|_| EINVAL)
}

fn write_rlimit(addr: usize, limit: Rlimit) -> Result<()> {
    mem::write(addr, &[limit.soft, limit.hard])?;
    Ok(())
}

fn read_rlimit(addr: usize) -> Result<Rlimit> {
    let [soft, hard] = mem::read::<[u64; 2]>(addr)?;
    Ok(Rlimit { soft, hard })
}

fn set_rlimit(process: &Process, resource: Resource, limit: Rlimit, creds: &Credentials) -> Result<()> {
    let new = process.rlimits().with(resource, limit, creds)?;
    process.set_rlimits(new);
    Ok(())
}

pub fn sys_getrlimit(ctx: &mut Context, args: Args) -> Result<usize> {
    write_rlimit(args[1], ctx.process().rlimits().get(resource(args[0])?))?;
    Ok(0)
}

pub fn sys_setrlimit(ctx: &mut Context, args: Args) -> Result<usize> {
    let limit = read_rlimit(args[1])?;
    set_rlimit(ctx.process(), resource(args[0])?, limit, &ctx.thread.creds())?;
    Ok(0)
}

pub fn sys_prlimit64(ctx: &mut Context, args: Args) -> Result<usize> {
    let [pid, number, new, old, ..] = args;
    let new = if new == 0 { None } else { Some(read_rlimit(new)?) };
    let creds = ctx.thread.creds();
    let target = match pid as i32 {
        0 => Some(ctx.process().clone()),
        nr => pid::process(ctx.process().ns(), nr as u32),
    };
    let before = match &target {
        Some(process) => {
            if !Arc::ptr_eq(process, ctx.process()) {
                may_limit(&creds, &process.creds())?;
            }
            let resource = resource(number)?;
            let before = process.rlimits().get(resource);
            if let Some(limit) = new {
                set_rlimit(process, resource, limit, &creds)?;
            }
            before
        }
        // A zombie's limits can be read still; setting them has no effect (rule 3.12).
        None => {
            let (theirs, limits) = zombie(ctx.process(), pid as u32).ok_or(ESRCH)?;
            may_limit(&creds, &theirs)?;
            let resource = resource(number)?;
            if let Some(limit) = new {
                limits.with(resource, limit, &creds)?;
            }
            limits.get(resource)
        }
    };
    if old != 0 {
        write_rlimit(old, before)?;
    }
    Ok(0)
}

/// Real, effective and saved ids of the target must all be the caller's real ones (prlimit(2)).
fn may_limit(caller: &Credentials, target: &Credentials) -> Result<()> {
    let same = [target.uid, target.euid, target.suid].iter().all(|&uid| uid == caller.uid)
        && [target.gid, target.egid, target.sgid].iter().all(|&gid| gid == caller.gid);
    if same { Ok(()) } else { caller.require(Cap::SysResource) }
}

/// What a zombie still tells.
fn zombie(caller: &Process, nr: u32) -> Option<(Arc<Credentials>, Arc<Rlimits>)> {
    let pid = pid::lookup(caller.ns(), nr)?;
    let table = tree::lock();
    match table.body(table.pid_process(pid)?)? {
        Body::Zombie(record) => Some((record.creds.clone(), record.rlimits.clone())),
        Body::Live(process) => Some((process.creds(), process.rlimits())),
    }
}

// ---- usage and times ---------------------------------------------------------------------------------------------

const RUSAGE_SELF: i32 = 0;
const RUSAGE_CHILDREN: i32 = -1;
const RUSAGE_THREAD: i32 = 1;

pub fn sys_getrusage(ctx: &mut Context, args: Args) -> Result<usize> {
    let usage: Usage = match args[0] as i32 {
        RUSAGE_SELF => usage::of_process(ctx.process()),
        RUSAGE_CHILDREN => *ctx.process().waited_children.lock(),
        RUSAGE_THREAD => {
            let mut usage = usage::of_thread(ctx.thread);
            usage.max_rss = usage::max_rss_kib(&ctx.thread.vm());
            usage
        }
        _ => return Err(EINVAL),
    };
    mem::write(args[1], &usage.to_abi())?;
    Ok(0)
}

pub fn sys_times(ctx: &mut Context, args: Args) -> Result<usize> {
    if args[0] != 0 {
        let (user, system) = usage::of_process(ctx.process()).ticks();
        let (child_user, child_system) = ctx.process().waited_children.lock().ticks();
        mem::write(args[0], &[user, system, child_user, child_system])?;
    }
    Ok(ns_to_ticks(time::now_ns()) as usize)
}

// ---- priorities --------------------------------------------------------------------------------------------------

const PRIO_PROCESS: i32 = 0;
const PRIO_PGRP: i32 = 1;
const PRIO_USER: i32 = 2;

/// The threads that getpriority(2) and setpriority(2) are about.
pub(super) fn priority_targets(ctx: &Context, which: i32, who: i32) -> Result<Vec<Arc<Thread>>> {
    use crate::process::signal::threads;
    let ns = ctx.process().ns();
    Ok(match which {
        PRIO_PROCESS if who == 0 => vec![ctx.thread.clone()],
        PRIO_PROCESS => pid::thread(ns, who as u32).into_iter().collect(),
        PRIO_PGRP => {
            let group = if who == 0 { tree::Group::Own } else { tree::Group::Number(who as u32) };
            let members = tree::group_members(&tree::lock(), ctx.process(), group).live;
            members.iter().flat_map(|process| threads(process)).collect()
        }
        PRIO_USER => {
            let uid = if who == 0 { ctx.thread.creds().uid } else { who as u32 };
            let all = tree::processes_in(&tree::lock(), ns);
            all.iter()
                .flat_map(|process| threads(process))
                .filter(|thread| thread.creds().uid == uid)
                .collect()
        }
        _ => return Err(EINVAL),
    })
}

/// Returns 20 - nice, so that no value looks like an error; a zombie keeps its nice value (rule 3.11).
pub fn sys_getpriority(ctx: &mut Context, args: Args) -> Result<usize> {
    let (which, who) = (args[0] as i32, args[1] as i32);
    let targets = priority_targets(ctx, which, who)?;
    let nice = match targets.iter().map(|thread| thread.nice.load(Relaxed)).min() {
        Some(nice) => nice,
        None if which == PRIO_PROCESS => zombie_nice(ctx.process(), who as u32).ok_or(ESRCH)?,
        None => return Err(ESRCH),
    };
    Ok((20 - nice) as usize)
}

fn zombie_nice(caller: &Process, nr: u32) -> Option<i32> {
    let pid = pid::lookup(caller.ns(), nr)?;
    let table = tree::lock();
    let process = group_process(&table, pid)?;
    match table.body(process)? {
        Body::Zombie(record) => Some(i32::from(record.nice)),
        Body::Live(_) => None,
    }
}

fn group_process(table: &tree::Table, pid: proctree::PidId) -> Option<proctree::ProcId> {
    group::process_of(table, pid)
}

pub fn sys_setpriority(ctx: &mut Context, args: Args) -> Result<usize> {
    let nice = (args[2] as i32).clamp(-20, 19);
    let (which, who) = (args[0] as i32, args[1] as i32);
    let targets = priority_targets(ctx, which, who)?;
    if targets.is_empty() && which == PRIO_PROCESS {
        return set_zombie_nice(ctx, who as u32, nice);
    }
    let mut result = Err(ESRCH);
    for thread in targets {
        // The last error counts, unless one was changed.
        match set_nice(ctx, &thread, nice) {
            Ok(()) if result == Err(ESRCH) => result = Ok(0),
            Ok(()) => {}
            Err(error) => result = Err(error),
        }
    }
    result
}

fn set_nice(ctx: &Context, thread: &Thread, nice: i32) -> Result<()> {
    let old = thread.nice.load(Relaxed);
    may_set_nice(ctx, &thread.creds(), thread.process.rlimit(Resource::Nice), old, nice)?;
    thread.set_nice(nice);
    Ok(())
}

/// Of a zombie (rule 3.12).
fn set_zombie_nice(ctx: &Context, nr: u32, nice: i32) -> Result<usize> {
    let pid = pid::lookup(ctx.process().ns(), nr).ok_or(ESRCH)?;
    let mut table = tree::lock();
    let process = group_process(&table, pid).ok_or(ESRCH)?;
    let record = table.record_mut(process).ok_or(ESRCH)?;
    may_set_nice(ctx, &record.creds, record.rlimits.soft(Resource::Nice), i32::from(record.nice), nice)?;
    record.nice = nice as i8;
    Ok(0)
}

/// EPERM for who is not the owner, EACCES for a better value than the limit allows, EPERM again for who has less capabilities.
fn may_set_nice(ctx: &Context, theirs: &Credentials, limit: u64, old: i32, new: i32) -> Result<()> {
    let mine = ctx.thread.creds();
    let privileged = mine.capable(Cap::SysNice);
    if !privileged && mine.euid != theirs.uid && mine.euid != theirs.euid {
        return Err(EPERM);
    }
    let floor = 20 - limit.min(40) as i32;
    if !privileged && new < old && new < floor {
        return Err(EACCES);
    }
    if mine.may_schedule(theirs) { Ok(()) } else { Err(EPERM) }
}
