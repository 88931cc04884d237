//! Scheduling: sched_yield(2), sched_setaffinity(2), sched_setscheduler(2) and their relatives.
//!
//! The scheduler is fair for everybody. Policies and real-time priorities are checked and kept as Linux does, so that
//! programs that set them work; FIFO and RR threads run with the weight of the highest nice value.

use core::sync::atomic::Ordering::Relaxed;

use ostd::{cpu, task, user::mem};
use proctree::Body;

use super::{Args, Context};
use crate::{
    prelude::*,
    process::{Cap, Thread, group, pid, rlimit::Resource, tree},
};

const SCHED_OTHER: u32 = 0;
const SCHED_FIFO: u32 = 1;
const SCHED_RR: u32 = 2;
const SCHED_BATCH: u32 = 3;
const SCHED_IDLE: u32 = 5;
const SCHED_RESET_ON_FORK: u32 = 0x4000_0000;

pub fn sys_sched_yield(_: &mut Context, _: Args) -> Result<usize> {
    task::yield_now();
    Ok(0)
}

/// The thread that an argument names; 0 is the caller.
fn target(ctx: &Context, arg: usize) -> Result<Arc<Thread>> {
    match arg as i32 {
        0 => Ok(ctx.thread.clone()),
        1.. => pid::thread(ctx.process().ns(), arg as u32).ok_or(ESRCH),
        _ => Err(EINVAL),
    }
}

/// Affinity and policy are the owner's and CAP_SYS_NICE's to change.
fn may_change(ctx: &Context, thread: &Thread) -> Result<()> {
    let (mine, theirs) = (ctx.thread.creds(), thread.creds());
    if mine.euid == theirs.uid || mine.euid == theirs.euid { Ok(()) } else { mine.require(Cap::SysNice) }
}

fn all_cpus() -> u64 {
    match cpu::num_cpus() {
        64.. => u64::MAX,
        count => (1 << count) - 1,
    }
}

fn affinity_target(ctx: &Context, arg: usize) -> Result<Arc<Thread>> {
    if arg as i32 == 0 {
        return Ok(ctx.thread.clone());
    }
    pid::thread(ctx.process().ns(), arg as u32).ok_or(ESRCH)
}

pub fn sys_sched_setaffinity(ctx: &mut Context, args: Args) -> Result<usize> {
    let [pid, len, addr, ..] = args;
    let mut bytes = [0; 8];
    let len = (len as u32 as usize).min(bytes.len());
    mem::copy_from_user(&mut bytes[..len], addr)?;
    let thread = affinity_target(ctx, pid)?;
    may_change(ctx, &thread)?;
    let mask = u64::from_ne_bytes(bytes) & all_cpus();
    if mask == 0 {
        return Err(EINVAL);
    }
    if let Some(task) = thread.task() {
        task.sched.affinity.store(mask, Relaxed);
        if mask & 1 << task.sched.last_cpu().as_usize() == 0 {
            task.kick();
        }
    }
    if core::ptr::eq(&*thread, &**ctx.thread) {
        // Off this CPU, if it is not among those allowed.
        task::yield_now();
    }
    Ok(0)
}

/// What can be asked of a thread, and of a zombie as well (rule 3.12).
struct Schedule {
    policy: u32,
    rt_priority: u32,
    affinity: u64,
}

impl Schedule {
    fn of(thread: &Thread) -> Self {
        Self {
            policy: thread.policy.load(Relaxed),
            rt_priority: thread.rt_priority.load(Relaxed),
            affinity: thread.task().map_or(u64::MAX, |task| task.sched.affinity.load(Relaxed)),
        }
    }

    /// Of whom the argument names; 0 is the caller.
    fn find(ctx: &Context, arg: usize) -> Result<Self> {
        match target(ctx, arg) {
            Ok(thread) => Ok(Self::of(&thread)),
            Err(error) => Self::of_zombie(ctx.process().ns(), arg as u32).ok_or(error),
        }
    }

    fn of_zombie(ns: proctree::NsId, nr: u32) -> Option<Self> {
        let pid = pid::lookup(ns, nr)?;
        let table = tree::lock();
        match table.body(group::process_of(&table, pid)?)? {
            Body::Zombie(record) => Some(Self {
                policy: record.policy,
                rt_priority: record.rt_priority,
                affinity: record.affinity,
            }),
            Body::Live(_) => None,
        }
    }
}

pub fn sys_sched_getaffinity(ctx: &mut Context, args: Args) -> Result<usize> {
    let [pid, len, addr, ..] = args;
    let len = len as u32 as usize;
    if len * 8 < cpu::num_cpus() || !len.is_multiple_of(8) {
        return Err(EINVAL);
    }
    let schedule = match affinity_target(ctx, pid) {
        Ok(thread) => Schedule::of(&thread),
        Err(error) => Schedule::of_zombie(ctx.process().ns(), pid as u32).ok_or(error)?,
    };
    let mask = schedule.affinity & all_cpus();
    mem::write(addr, &mask)?;
    Ok(8)
}

/// The priorities that a policy allows.
fn priority_range(policy: u32) -> Result<(u32, u32)> {
    const SCHED_DEADLINE: u32 = 6;
    match policy {
        SCHED_FIFO | SCHED_RR => Ok((1, 99)),
        SCHED_OTHER | SCHED_BATCH | SCHED_IDLE | SCHED_DEADLINE => Ok((0, 0)),
        _ => Err(EINVAL),
    }
}

pub fn sys_sched_get_priority_max(_: &mut Context, args: Args) -> Result<usize> {
    Ok(priority_range(args[0] as u32)?.1 as usize)
}

pub fn sys_sched_get_priority_min(_: &mut Context, args: Args) -> Result<usize> {
    Ok(priority_range(args[0] as u32)?.0 as usize)
}

pub fn sys_sched_setscheduler(ctx: &mut Context, args: Args) -> Result<usize> {
    let [pid, policy, param, ..] = args;
    if (policy as i32) < 0 {
        return Err(EINVAL);
    }
    set_scheduler(ctx, pid, Some(policy as u32), param)
}

pub fn sys_sched_setparam(ctx: &mut Context, args: Args) -> Result<usize> {
    set_scheduler(ctx, args[0], None, args[1])
}

fn set_scheduler(ctx: &Context, pid: usize, policy: Option<u32>, param: usize) -> Result<usize> {
    if param == 0 || (pid as i32) < 0 {
        return Err(EINVAL);
    }
    let priority = mem::read::<i32>(param)?;
    let thread = target(ctx, pid)?;
    let old = thread.policy.load(Relaxed);
    let (reset, policy) = match policy {
        Some(policy) => (policy & SCHED_RESET_ON_FORK, policy & !SCHED_RESET_ON_FORK),
        None => (old & SCHED_RESET_ON_FORK, old & !SCHED_RESET_ON_FORK),
    };
    if !matches!(policy, SCHED_OTHER | SCHED_FIFO | SCHED_RR | SCHED_BATCH | SCHED_IDLE) {
        return Err(EINVAL);
    }
    let (low, high) = priority_range(policy)?;
    if priority < low as i32 || priority > high as i32 {
        return Err(EINVAL);
    }
    let priority = priority as u32;
    may_change(ctx, &thread)?;
    let is_realtime = matches!(policy, SCHED_FIFO | SCHED_RR);
    if is_realtime && !ctx.thread.creds().capable(Cap::SysNice) {
        let limit = thread.process.rlimit(Resource::Rtprio);
        let raises = priority > thread.rt_priority.load(Relaxed) && priority as u64 > limit;
        let enters = policy != old & !SCHED_RESET_ON_FORK && limit == 0;
        if raises || enters {
            return Err(EPERM);
        }
    }
    thread.policy.store(policy | reset, Relaxed);
    thread.rt_priority.store(priority, Relaxed);
    thread.update_weight();
    Ok(0)
}

pub fn sys_sched_getscheduler(ctx: &mut Context, args: Args) -> Result<usize> {
    Ok(Schedule::find(ctx, args[0])?.policy as usize)
}

pub fn sys_sched_getparam(ctx: &mut Context, args: Args) -> Result<usize> {
    if args[1] == 0 {
        return Err(EINVAL);
    }
    let schedule = Schedule::find(ctx, args[0])?;
    mem::write(args[1], &(schedule.rt_priority as i32))?;
    Ok(0)
}

pub fn sys_sched_rr_get_interval(ctx: &mut Context, args: Args) -> Result<usize> {
    const SLICE_NS: i64 = 100_000_000;
    const FAIR_SLICE_NS: i64 = 3_000_000;
    let ns = match Schedule::find(ctx, args[0])?.policy & !SCHED_RESET_ON_FORK {
        SCHED_RR => SLICE_NS,
        SCHED_FIFO => 0,
        _ => FAIR_SLICE_NS,
    };
    mem::write(args[1], &[0, ns])?;
    Ok(0)
}
