//! futex(2), set_robust_list(2), get_robust_list(2).

use core::sync::atomic::Ordering::Relaxed;

use ostd::{time, user::mem};

use super::{Args, Context};
use crate::{
    ipc::futex::{self, MATCH_ANY, Wait, WakeOp},
    prelude::*,
    process::pid,
    time::{read_timespec, realtime_ns, timespec_to_ns},
};

const PRIVATE_FLAG: u32 = 128;
const CLOCK_REALTIME: u32 = 256;

const WAIT: u32 = 0;
const WAKE: u32 = 1;
const REQUEUE: u32 = 3;
const CMP_REQUEUE: u32 = 4;
const WAKE_OP: u32 = 5;
const WAIT_BITSET: u32 = 9;
const WAKE_BITSET: u32 = 10;

pub fn sys_futex(ctx: &mut Context, args: Args) -> Result<usize> {
    let [addr, op, val, timeout, addr2, val3] = args;
    let (op, val, val3) = (op as u32, val as u32, val3 as u32);
    let private = op & PRIVATE_FLAG != 0;
    let realtime = op & CLOCK_REALTIME != 0;
    let command = op & !(PRIVATE_FLAG | CLOCK_REALTIME);
    if realtime && !matches!(command, WAIT | WAIT_BITSET) {
        return Err(ENOSYS);
    }
    let vm = ctx.thread.vm();
    // For the commands without a timeout its place holds a count.
    let count2 = timeout as u32 as i32;
    match command {
        WAIT | WAIT_BITSET => {
            let absolute = command == WAIT_BITSET;
            let deadline = deadline(timeout, absolute, realtime)?;
            let bitset = if absolute { val3 } else { MATCH_ANY };
            futex::wait(ctx, Wait { addr, expected: val, bitset, private, deadline })
        }
        WAKE => futex::wake(&vm, addr, private, wake_count(val), MATCH_ANY),
        WAKE_BITSET => futex::wake(&vm, addr, private, wake_count(val), val3),
        REQUEUE | CMP_REQUEUE => {
            let count = usize::try_from(val as i32).map_err(|_| EINVAL)?;
            let moved = usize::try_from(count2).map_err(|_| EINVAL)?;
            let expected = (command == CMP_REQUEUE).then_some(val3);
            futex::requeue(&vm, addr, addr2, private, count, moved, expected)
        }
        WAKE_OP => {
            let op = WakeOp::decode(val3)?;
            futex::wake_op(&vm, addr, addr2, private, wake_count(val), wake_count(count2 as u32), op)
        }
        _ => Err(ENOSYS),
    }
}

/// A negative count wakes one, as 0 does.
fn wake_count(raw: u32) -> usize {
    usize::try_from(raw as i32).unwrap_or(1)
}

/// The timeout at `addr` (0: none) as a time of the monotonic clock.
fn deadline(addr: usize, absolute: bool, realtime: bool) -> Result<Option<u64>> {
    if addr == 0 {
        return Ok(None);
    }
    let given = timespec_to_ns(read_timespec(addr)?)?;
    let now = time::now_ns();
    Ok(Some(match (absolute, realtime) {
        (false, _) => now.saturating_add(given),
        (true, false) => given,
        (true, true) => now.saturating_add(given.saturating_sub(realtime_ns())),
    }))
}

/// Size of `struct robust_list_head`.
const ROBUST_HEAD: usize = 24;

pub fn sys_set_robust_list(ctx: &mut Context, args: Args) -> Result<usize> {
    if args[1] != ROBUST_HEAD {
        return Err(EINVAL);
    }
    ctx.thread.robust_list.store(args[0], Relaxed);
    Ok(0)
}

/// That of another thread. A zombie has none any more, which is for those to know who might look into it.
fn robust_list_of(ctx: &Context, tid: u32) -> Result<usize> {
    let ns = ctx.process().ns();
    let (may_inspect, head) = match pid::thread(ns, tid) {
        Some(thread) => (ctx.thread.may_inspect_really(&thread), thread.robust_list.load(Relaxed)),
        None => {
            let remains = pid::remains(ns, tid).ok_or(ESRCH)?;
            (ctx.thread.may_inspect_remains_really(&remains), 0)
        }
    };
    if may_inspect { Ok(head) } else { Err(EPERM) }
}

pub fn sys_get_robust_list(ctx: &mut Context, args: Args) -> Result<usize> {
    let [tid, head, len, ..] = args;
    let value = match tid as i32 {
        0 => ctx.thread.robust_list.load(Relaxed),
        tid => robust_list_of(ctx, u32::try_from(tid).map_err(|_| ESRCH)?)?,
    };
    mem::write(len, &ROBUST_HEAD)?;
    mem::write(head, &value)?;
    Ok(0)
}
