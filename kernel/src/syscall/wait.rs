//! wait4(2) and waitid(2): decoding of options and targets, encoding of what came back.

use ostd::user::mem;

use super::{Args, Context};
use crate::{
    prelude::*,
    process::{
        pidfd::file::pid_of,
        signal::SIGCHLD,
        wait::{self, Report, Target, *},
    },
};

/// Which of the children count.
const CLASS: u32 = __WNOTHREAD | __WCLONE | __WALL | ORIGIN;
/// One of these at most: both are all.
const ORIGIN: u32 = __WOWN | __WADOPTED;

pub fn sys_wait4(ctx: &mut Context, args: Args) -> Result<usize> {
    let [pid, status, options, rusage, ..] = args;
    let (pid, options) = (pid as i32, options as u32);
    if options & !(WNOHANG | WUNTRACED | WCONTINUED | CLASS) != 0 || options & ORIGIN == ORIGIN {
        return Err(EINVAL);
    }
    let target = match pid {
        i32::MIN => return Err(ESRCH),
        -1 => Target::Any,
        0 => Target::OwnPgrp,
        1.. => Target::Pid(pid as u32),
        _ => Target::Pgrp(-pid as u32),
    };
    match wait::wait(ctx.thread, target, options | WEXITED)? {
        None => Ok(0),
        Some(report) => {
            wait::write_wait4(&report, status, rusage)?;
            Ok(report.pid as usize)
        }
    }
}

const P_ALL: i32 = 0;
const P_PID: i32 = 1;
const P_PGID: i32 = 2;
const P_PIDFD: i32 = 3;

pub fn sys_waitid(ctx: &mut Context, args: Args) -> Result<usize> {
    let [idtype, id, infop, options, rusage, ..] = args;
    let result = waitid(ctx, idtype as i32, id as i32, options as u32);
    let report = match &result {
        Ok(Some(report)) => Some(report),
        _ => None,
    };
    if let Some(report) = report
        && rusage != 0
    {
        mem::write(rusage, &report.usage().to_abi())?;
    }
    // Whatever happened, the caller finds the six fields written (rules 4.16, 4.17). A restart is not an end yet, but
    // Linux writes then as well.
    if infop != 0 {
        write_siginfo(infop, report)?;
    }
    result.map(|_| 0)
}

fn waitid(ctx: &Context, idtype: i32, id: i32, options: u32) -> Result<Option<Report>> {
    let wanted = options & (WEXITED | WSTOPPED | WCONTINUED);
    let unknown = options & !(wanted | WNOHANG | WNOWAIT | CLASS) != 0;
    if wanted == 0 || unknown || options & ORIGIN == ORIGIN {
        return Err(EINVAL);
    }
    let target = match idtype {
        P_ALL => Target::Any,
        P_PID if id > 0 => Target::Pid(id as u32),
        P_PGID if id == 0 => Target::OwnPgrp,
        P_PGID if id > 0 => Target::Pgrp(id as u32),
        P_PIDFD if id >= 0 => return wait_pidfd(ctx, id, options),
        _ => return Err(EINVAL),
    };
    wait::wait(ctx.thread, target, options)
}

/// With O_NONBLOCK it does not wait, and says so unless it was not to (rule 4.5).
fn wait_pidfd(ctx: &Context, fd: i32, options: u32) -> Result<Option<Report>> {
    let file = ctx.thread.files().get(fd)?;
    let target = Target::Exact(pid_of(&file)?.key().pid);
    if options & WNOHANG != 0 || !file.is_nonblocking() {
        return wait::wait(ctx.thread, target, options);
    }
    wait::wait(ctx.thread, target, options | WNOHANG)?.map(Some).ok_or(EAGAIN)
}

/// si_signo, si_errno, si_code at 0, 4, 8; si_pid, si_uid, si_status at 16, 20, 24. The rest is left alone.
fn write_siginfo(infop: usize, report: Option<&Report>) -> Result<()> {
    let (mut head, mut tail) = ([0i32; 3], [0i32; 3]);
    if let Some(report) = report {
        let (code, status) = report.child_code();
        head = [SIGCHLD as i32, 0, code];
        tail = [report.pid as i32, report.uid as i32, status];
    }
    mem::write(infop, &head)?;
    mem::write(infop.checked_add(16).ok_or(EFAULT)?, &tail)?;
    Ok(())
}
