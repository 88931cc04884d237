//! ioprio_set(2), ioprio_get(2): the weight of a thread's input and output.
//!
//! It is kept, inherited and reported; there is no disk whose queue it could order.

use core::sync::atomic::Ordering::Relaxed;

use super::{Args, Context, resource};
use crate::{
    prelude::*,
    process::{Cap, Credentials, Thread, pid},
};

const CLASS_SHIFT: u32 = 13;
const LEVEL: u32 = 7;

mod class {
    pub const NONE: u32 = 0;
    pub const REALTIME: u32 = 1;
    pub const BEST_EFFORT: u32 = 2;
    pub const IDLE: u32 = 3;
}

const PROCESS: i32 = 1;

/// The threads that are meant; the numbers are those of getpriority(2), counted from 1.
fn targets(ctx: &Context, which: usize, who: usize) -> Result<Vec<Arc<Thread>>> {
    match which as i32 {
        which @ 1..=3 => resource::priority_targets(ctx, which - 1, who as i32),
        _ => Err(EINVAL),
    }
}

/// Whether a program with `creds` may ask for a weight.
///
/// # Errors
/// EINVAL if there is no such weight, EPERM.
pub(super) fn check(creds: &Credentials, value: u32) -> Result<()> {
    match value >> CLASS_SHIFT {
        class::REALTIME if !creds.capable(Cap::SysAdmin) && !creds.capable(Cap::SysNice) => Err(EPERM),
        class::REALTIME | class::BEST_EFFORT | class::IDLE => Ok(()),
        class::NONE if value & LEVEL == 0 => Ok(()),
        _ => Err(EINVAL),
    }
}

pub fn sys_ioprio_set(ctx: &mut Context, args: Args) -> Result<usize> {
    let value = args[2] as u32;
    let creds = ctx.thread.creds();
    check(&creds, value)?;
    let mut result = Err(ESRCH);
    let targets = targets(ctx, args[0], args[1])?;
    if targets.is_empty() && args[0] as i32 == PROCESS {
        // A zombie has no input and output any more (rule 3.12).
        let theirs = u32::try_from(args[1] as i32).ok().and_then(pid::creds).ok_or(ESRCH)?;
        return may_set(&creds, &theirs).map(|()| 0);
    }
    for thread in targets {
        may_set(&creds, &thread.creds())?;
        thread.io.set_priority(value);
        result = Ok(0);
    }
    result
}

/// EPERM for others than the owner and CAP_SYS_NICE, and for who has less capabilities.
fn may_set(mine: &Credentials, theirs: &Credentials) -> Result<()> {
    let owner = theirs.uid == mine.euid || theirs.uid == mine.uid;
    let allowed = mine.capable(Cap::SysNice) || owner && theirs.permitted.is_subset_of(mine.permitted);
    if allowed { Ok(()) } else { Err(EPERM) }
}

/// The value of one thread as it was set; of several the best, which for a thread that has none follows from how nice it is.
pub fn sys_ioprio_get(ctx: &mut Context, args: Args) -> Result<usize> {
    let threads = targets(ctx, args[0], args[1])?;
    if args[0] as i32 == PROCESS {
        return match threads.first() {
            Some(thread) => Ok(thread.io.priority() as usize),
            // A zombie has none any more.
            None => pid::remains(ctx.process().ns(), args[1] as u32).map(|_| 0).ok_or(ESRCH),
        };
    }
    threads.iter().map(|thread| effective(thread) as usize).min().ok_or(ESRCH)
}

fn effective(thread: &Thread) -> u32 {
    use crate::process::thread::policy;
    let value = thread.io.priority();
    if value >> CLASS_SHIFT != class::NONE {
        return value;
    }
    let class = match thread.policy.load(Relaxed) & !policy::RESET_ON_FORK {
        policy::IDLE => class::IDLE,
        policy::FIFO | policy::RR => class::REALTIME,
        _ => class::BEST_EFFORT,
    };
    class << CLASS_SHIFT | ((thread.nice.load(Relaxed) + 20) / 5) as u32
}
