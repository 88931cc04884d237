//! Scheduling: sched_yield(2), sched_setaffinity(2), sched_setscheduler(2), sched_setattr(2) and their relatives.
//!
//! The policy itself is [`sched`](crate::sched). SCHED_DEADLINE is checked as on Linux and then refused with EBUSY, what Linux
//! says when it can't promise the time; SCHED_EXT and utilisation clamps answer as on a Linux without them.

use core::sync::atomic::Ordering::Relaxed;

use ostd::{cpu, task, user::mem};
use proctree::Body;

use super::{Args, Context};
use crate::{
    prelude::*,
    process::{Cap, Credentials, ExitRecord, Thread, group, pid, rlimit::Resource, thread::policy, tree},
    sched,
};

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

/// EPERM unless the caller may change affinity and policy of who has these credentials.
fn may_change(ctx: &Context, theirs: &Credentials) -> Result<()> {
    if ctx.thread.creds().may_schedule(theirs) { Ok(()) } else { Err(EPERM) }
}

/// Does something to what is left of a zombie; ESRCH if there is none of this number.
fn with_zombie<R>(ctx: &Context, nr: usize, f: impl FnOnce(&mut ExitRecord) -> Result<R>) -> Result<R> {
    let pid = pid::lookup(ctx.process().ns(), nr as u32).ok_or(ESRCH)?;
    let mut table = tree::lock();
    let process = group::process_of(&table, pid).ok_or(ESRCH)?;
    f(table.record_mut(process).ok_or(ESRCH)?)
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
    let mask = u64::from_ne_bytes(bytes) & all_cpus();
    let valid = if mask == 0 { Err(EINVAL) } else { Ok(()) };
    let Ok(thread) = affinity_target(ctx, pid) else {
        return with_zombie(ctx, pid, |record| {
            may_change(ctx, &record.creds)?;
            valid?;
            record.affinity = mask;
            Ok(0)
        });
    };
    may_change(ctx, &thread.creds())?;
    valid?;
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
    nice: i32,
    wish_ns: u64,
    affinity: u64,
}

impl Schedule {
    fn of(thread: &Thread) -> Self {
        Self {
            policy: thread.policy.load(Relaxed),
            rt_priority: thread.rt_priority.load(Relaxed),
            nice: thread.nice.load(Relaxed),
            wish_ns: thread.slice_ns.load(Relaxed),
            affinity: thread.task().map_or(u64::MAX, |task| task.sched.affinity.load(Relaxed)),
        }
    }

    /// What a fair thread runs at once while others wait, ns; `None` for a real-time one.
    fn slice_ns(&self) -> Option<u64> {
        /// For one CPU; the more there are the longer, by its logarithm.
        const BASE_NS: u64 = 700_000;
        match (self.policy & !policy::RESET_ON_FORK, self.wish_ns) {
            (policy::FIFO | policy::RR, _) => None,
            (_, 0) => Some(BASE_NS * u64::from(1 + cpu::num_cpus().min(8).ilog2())),
            (_, wish) => Some(wish),
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
                nice: i32::from(record.nice),
                wish_ns: 0,
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
    const SCHED_EXT: u32 = 7;
    match policy {
        policy::FIFO | policy::RR => Ok((1, 99)),
        policy::OTHER | policy::BATCH | policy::IDLE | policy::DEADLINE | SCHED_EXT => Ok((0, 0)),
        _ => Err(EINVAL),
    }
}

pub fn sys_sched_get_priority_max(_: &mut Context, args: Args) -> Result<usize> {
    Ok(priority_range(args[0] as u32)?.1 as usize)
}

pub fn sys_sched_get_priority_min(_: &mut Context, args: Args) -> Result<usize> {
    Ok(priority_range(args[0] as u32)?.0 as usize)
}

/// What a thread's scheduling is to become.
struct Change {
    /// `None`: as it is.
    policy: Option<u32>,
    reset_on_fork: Option<bool>,
    priority: u32,
    /// `None`: as it is.
    nice: Option<i32>,
    /// The time that a fair thread would like to run at once, ns; 0: no wish. `None`: as it is.
    slice_ns: Option<u64>,
    /// runtime, deadline, period of SCHED_DEADLINE.
    deadline: [u64; 3],
    clamps: bool,
}

pub fn sys_sched_setscheduler(ctx: &mut Context, args: Args) -> Result<usize> {
    let [pid, policy, param, ..] = args;
    if (policy as i32) < 0 {
        return Err(EINVAL);
    }
    set_param(ctx, pid, Some(policy as u32), param)
}

pub fn sys_sched_setparam(ctx: &mut Context, args: Args) -> Result<usize> {
    set_param(ctx, args[0], None, args[1])
}

fn set_param(ctx: &Context, pid: usize, policy: Option<u32>, param: usize) -> Result<usize> {
    if param == 0 || (pid as i32) < 0 {
        return Err(EINVAL);
    }
    let priority = mem::read::<i32>(param)?;
    let change = Change {
        policy: policy.map(|policy| policy & !policy::RESET_ON_FORK),
        reset_on_fork: policy.map(|policy| policy & policy::RESET_ON_FORK != 0),
        priority: priority as u32,
        nice: None,
        slice_ns: None,
        deadline: [0; 3],
        clamps: false,
    };
    change_schedule(ctx, pid, &change)
}

/// What a thread's or a zombie's scheduling is before a change, and who may make one.
struct Before {
    policy: u32,
    priority: u32,
    nice: i32,
    nice_limit: u64,
    priority_limit: u64,
    creds: Arc<Credentials>,
}

/// What it is to be.
struct After {
    policy: u32,
    priority: u32,
    is_realtime: bool,
    nice: Option<i32>,
    slice_ns: Option<u64>,
}

/// Changes the scheduling of whom the argument names, also of a zombie (rule 3.12).
fn change_schedule(ctx: &Context, pid: usize, change: &Change) -> Result<usize> {
    match target(ctx, pid) {
        Ok(thread) => change_thread(ctx, &thread, change),
        Err(ESRCH) => with_zombie(ctx, pid, |record| change_zombie(ctx, record, change)),
        Err(error) => Err(error),
    }
}

fn change_thread(ctx: &Context, thread: &Thread, change: &Change) -> Result<usize> {
    let before = Before {
        policy: thread.policy.load(Relaxed),
        priority: thread.rt_priority.load(Relaxed),
        nice: thread.nice.load(Relaxed),
        nice_limit: thread.process.rlimit(Resource::Nice),
        priority_limit: thread.process.rlimit(Resource::Rtprio),
        creds: thread.creds(),
    };
    let after = decide(ctx, &before, change)?;
    if let Some(nice) = after.nice {
        thread.nice.store(nice, Relaxed);
    }
    if let Some(slice) = after.slice_ns {
        thread.slice_ns.store(slice, Relaxed);
    }
    thread.forget_slack(after.is_realtime);
    thread.policy.store(after.policy, Relaxed);
    thread.rt_priority.store(after.priority, Relaxed);
    thread.update_schedule();
    Ok(0)
}

fn change_zombie(ctx: &Context, record: &mut ExitRecord, change: &Change) -> Result<usize> {
    let before = Before {
        policy: record.policy,
        priority: record.rt_priority,
        nice: i32::from(record.nice),
        nice_limit: record.rlimits.soft(Resource::Nice),
        priority_limit: record.rlimits.soft(Resource::Rtprio),
        creds: record.creds.clone(),
    };
    let after = decide(ctx, &before, change)?;
    record.nice = after.nice.map_or(record.nice, |nice| nice as i8);
    record.policy = after.policy;
    record.rt_priority = after.priority;
    Ok(0)
}

/// Checks all, in Linux's order.
///
/// # Errors
/// `EINVAL` for parameters that do not go together, `EPERM`, `EOPNOTSUPP` for utilisation clamps, `EBUSY` for
/// SCHED_DEADLINE.
fn decide(ctx: &Context, before: &Before, change: &Change) -> Result<After> {
    let old = before.policy;
    let old_reset = old & policy::RESET_ON_FORK != 0;
    let new = change.policy.unwrap_or(old & !policy::RESET_ON_FORK);
    let reset = change.reset_on_fork.unwrap_or(old_reset);
    let is_realtime = matches!(new, policy::FIFO | policy::RR);
    let is_deadline = new == policy::DEADLINE;
    if !is_realtime && !is_deadline && !matches!(new, policy::OTHER | policy::BATCH | policy::IDLE) {
        return Err(EINVAL);
    }
    if change.priority > 99
        || is_realtime != (change.priority != 0)
        || (is_deadline && !is_deadline_possible(change.deadline))
    {
        return Err(EINVAL);
    }
    let mine = ctx.thread.creds();
    if needs_privilege(before, change, new, reset) {
        mine.require(Cap::SysNice)?;
    }
    if !mine.may_schedule(&before.creds) {
        return Err(EPERM);
    }
    if change.clamps {
        return Err(EOPNOTSUPP);
    }
    if is_deadline {
        return Err(EBUSY);
    }
    Ok(After {
        policy: new | if reset { policy::RESET_ON_FORK } else { 0 },
        priority: change.priority,
        is_realtime,
        nice: change.nice.filter(|_| !is_realtime && new != policy::IDLE),
        slice_ns: change.slice_ns.filter(|_| !is_realtime),
    })
}

/// Whether the change is more than the owner may do within the limits (sched(7)).
fn needs_privilege(before: &Before, change: &Change, new: u32, reset: bool) -> bool {
    let old = before.policy & !policy::RESET_ON_FORK;
    let may_have_nice = |nice: i32| (20 - nice) as u64 <= before.nice_limit;
    match new {
        policy::FIFO | policy::RR => {
            let limit = before.priority_limit;
            let raises = change.priority > before.priority;
            if (new != old && limit == 0) || (raises && u64::from(change.priority) > limit) {
                return true;
            }
        }
        policy::DEADLINE => return true,
        // It keeps its nice value, whatever is asked for.
        policy::IDLE => {}
        _ if change.nice.is_some_and(|new| new < before.nice && !may_have_nice(new)) => return true,
        _ => {}
    }
    (old == policy::IDLE && new != policy::IDLE && !may_have_nice(before.nice))
        || (before.policy & policy::RESET_ON_FORK != 0 && !reset)
}

/// Whether the parameters of SCHED_DEADLINE make sense: runtime <= deadline <= period, each neither too short nor too long.
fn is_deadline_possible([runtime, deadline, period]: [u64; 3]) -> bool {
    const LEAST_RUNTIME_NS: u64 = 1024;
    const PERIODS_NS: core::ops::RangeInclusive<u64> = 100_000..=(1 << 22) * 1000;
    let period_or_deadline = if period == 0 { deadline } else { period };
    deadline != 0
        && runtime >= LEAST_RUNTIME_NS
        && deadline >> 63 == 0
        && period >> 63 == 0
        && period_or_deadline >= deadline
        && deadline >= runtime
        && PERIODS_NS.contains(&period_or_deadline)
}

// ---- struct sched_attr -------------------------------------------------------------------------------------------

/// What a program writes to `struct sched_attr`: size, policy, flags, nice, priority; runtime, deadline and period; then two
/// clamps, which nobody looks at.
struct SchedAttr {
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    /// Of a fair thread, the time that it would like to run at once.
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// The first published size, and the one with the clamps.
const ATTR_SIZE_V0: usize = 48;
const ATTR_SIZE: usize = 56;
const PAGE: usize = 4096;

mod attr_flag {
    pub const RESET_ON_FORK: u64 = 1;
    pub const KEEP_POLICY: u64 = 8;
    pub const KEEP_PARAMS: u64 = 0x10;
    pub const UTIL_CLAMP: u64 = 0x60;
    pub const ALL: u64 = 0x7f;
}

/// Reads the structure in the size that the program gives it. What a newer one has beyond ours must be 0.
///
/// # Errors
/// `E2BIG` for an impossible size or a field that is not known: then the size that is known is stored.
fn read_attr(addr: usize) -> Result<(SchedAttr, usize)> {
    let size = match mem::read::<u32>(addr)? as usize {
        0 => ATTR_SIZE_V0,
        size => size,
    };
    let mut bytes = [0u8; ATTR_SIZE];
    let fits = (ATTR_SIZE_V0..=PAGE).contains(&size);
    if fits {
        mem::copy_from_user(&mut bytes[..size.min(ATTR_SIZE)], addr)?;
    }
    if !fits || !is_zero(addr + ATTR_SIZE, size.saturating_sub(ATTR_SIZE))? {
        mem::write(addr, &(ATTR_SIZE as u32))?;
        return Err(E2BIG);
    }
    let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    let attr = SchedAttr {
        policy: word(4),
        flags: long(8),
        nice: word(16) as i32,
        priority: word(20),
        runtime: long(24),
        deadline: long(32),
        period: long(40),
    };
    Ok((attr, size))
}

fn is_zero(addr: usize, len: usize) -> Result<bool> {
    let mut block = [0u8; 64];
    for at in (0..len).step_by(block.len()) {
        let part = &mut block[..(len - at).min(64)];
        mem::copy_from_user(part, addr + at)?;
        if part.iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

pub fn sys_sched_setattr(ctx: &mut Context, args: Args) -> Result<usize> {
    let [pid, addr, flags, ..] = args;
    if addr == 0 || (pid as i32) < 0 || flags as u32 != 0 {
        return Err(EINVAL);
    }
    let (attr, size) = read_attr(addr)?;
    if attr.flags & attr_flag::UTIL_CLAMP != 0 && size < ATTR_SIZE {
        return Err(EINVAL);
    }
    if (attr.policy as i32) < 0 {
        return Err(EINVAL);
    }
    let old = Schedule::find(ctx, pid)?;
    if attr.flags & !attr_flag::ALL != 0 {
        return Err(EINVAL);
    }
    let keeps = |flag: u64| attr.flags & flag != 0;
    let keeps_params = keeps(attr_flag::KEEP_PARAMS);
    let change = Change {
        // Parameters and policy go together: who keeps those keeps this.
        policy: (!keeps(attr_flag::KEEP_POLICY) && !keeps_params).then_some(attr.policy),
        reset_on_fork: (!keeps(attr_flag::KEEP_POLICY)).then_some(keeps(attr_flag::RESET_ON_FORK)),
        priority: if keeps_params { old.rt_priority } else { attr.priority },
        nice: (!keeps_params).then_some(attr.nice.clamp(-20, 19)),
        slice_ns: (!keeps_params).then_some(match attr.runtime {
            0 => 0,
            wish => wish.clamp(100_000, 100_000_000),
        }),
        deadline: [attr.runtime, attr.deadline, attr.period],
        clamps: keeps(attr_flag::UTIL_CLAMP),
    };
    change_schedule(ctx, pid, &change)
}

pub fn sys_sched_getattr(ctx: &mut Context, args: Args) -> Result<usize> {
    let [pid, addr, size, flags, ..] = args;
    let size = size as u32 as usize;
    if addr == 0 || (pid as i32) < 0 || !(ATTR_SIZE_V0..=PAGE).contains(&size) || flags as u32 != 0 {
        return Err(EINVAL);
    }
    let schedule = Schedule::find(ctx, pid)?;
    let flags = if schedule.policy & policy::RESET_ON_FORK != 0 { attr_flag::RESET_ON_FORK } else { 0 };
    let mut bytes = [0u8; ATTR_SIZE];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &(size.min(ATTR_SIZE) as u32).to_ne_bytes());
    put(4, &(schedule.policy & !policy::RESET_ON_FORK).to_ne_bytes());
    put(8, &flags.to_ne_bytes());
    put(20, &schedule.rt_priority.to_ne_bytes());
    if let Some(slice) = schedule.slice_ns() {
        put(16, &schedule.nice.to_ne_bytes());
        put(24, &slice.to_ne_bytes());
    }
    mem::copy_to_user(addr, &bytes[..size.min(ATTR_SIZE)])?;
    for at in (ATTR_SIZE..size).step_by(64) {
        mem::copy_to_user(addr + at, &[0; 64][..(size - at).min(64)])?;
    }
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

/// The quantum of RR; none for FIFO; what a fair thread runs at once, in whole ticks.
pub fn sys_sched_rr_get_interval(ctx: &mut Context, args: Args) -> Result<usize> {
    const TICK_NS: u64 = 4_000_000;
    let schedule = Schedule::find(ctx, args[0])?;
    let ns = match (schedule.policy & !policy::RESET_ON_FORK, schedule.slice_ns()) {
        (policy::RR, _) => sched::QUANTUM_NS,
        (_, Some(slice)) => slice / TICK_NS * TICK_NS,
        (_, None) => 0,
    };
    mem::write(args[1], &[0, ns])?;
    Ok(0)
}
