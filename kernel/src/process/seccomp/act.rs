//! What is done with a system call, as the thread's mode and filters say.

use core::sync::atomic::Ordering::Relaxed;

use bpf::Data;

use super::{
    Mode, end_thread, filter,
    filter::Filter,
    log,
    notify::{self, Answer},
};
use crate::{
    prelude::*,
    process::{
        coredump,
        signal::{self, SIGKILL, SIGSYS, SYS_SECCOMP, SigInfo, work},
    },
    syscall::Context,
};

/// What a filter may answer, from the strictest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    KillProcess,
    KillThread,
    Trap,
    Errno,
    /// Asks a process that listens.
    UserNotif,
    /// Asks a tracer; there is none.
    Trace,
    Log,
    Allow,
}

/// The part of an answer that is the action; the rest is data for it.
const ACTION_MASK: u32 = 0xffff_0000;
const DATA_MASK: u32 = 0xffff;

/// The highest errno that a filter can give.
const MAX_ERRNO: u32 = 4095;

impl Action {
    /// The answer that allows a call.
    pub const ALLOW: u32 = 0x7fff_0000;

    pub const ALL: [Action; 8] = [
        Action::KillProcess,
        Action::KillThread,
        Action::Trap,
        Action::Errno,
        Action::UserNotif,
        Action::Trace,
        Action::Log,
        Action::Allow,
    ];

    /// The number in an answer.
    pub const fn number(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno => 0x0005_0000,
            Action::UserNotif => 0x7fc0_0000,
            Action::Trace => 0x7ff0_0000,
            Action::Log => 0x7ffc_0000,
            Action::Allow => Action::ALLOW,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Action::KillProcess => "kill_process",
            Action::KillThread => "kill_thread",
            Action::Trap => "trap",
            Action::Errno => "errno",
            Action::UserNotif => "user_notif",
            Action::Trace => "trace",
            Action::Log => "log",
            Action::Allow => "allow",
        }
    }

    /// The action with exactly this number.
    pub fn from_number(number: u32) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.number() == number)
    }

    /// The action of an answer. What is unknown kills the process.
    fn of(answer: u32) -> Action {
        Action::from_number(answer & ACTION_MASK).unwrap_or(Action::KillProcess)
    }

    /// The order of answers: the lower, the stricter.
    pub fn rank(answer: u32) -> i32 {
        (answer & ACTION_MASK) as i32
    }
}

/// Whether the system call that the calling thread has just made is to be served. If not, its result has been stored, or the
/// thread is about to be told by a signal, or has exited.
pub fn admits(ctx: &mut Context) -> bool {
    match ctx.thread.seccomp.mode() {
        Mode::Disabled => true,
        Mode::Strict => strict(ctx),
        Mode::Filter => {
            let number = ctx.user.orig_rax() as u32 as usize;
            let newest = {
                let newest = ctx.thread.seccomp.newest.lock();
                match &*newest {
                    Some(filter) if !filter.always_allows(number) => filter.clone(),
                    _ => return true,
                }
            };
            filtered(ctx, &newest)
        }
    }
}

fn strict(ctx: &mut Context) -> bool {
    const READ: i64 = 0;
    const WRITE: i64 = 1;
    const RT_SIGRETURN: i64 = 15;
    const EXIT: i64 = 60;
    let number = ctx.user.orig_rax();
    if matches!(number, READ | WRITE | RT_SIGRETURN | EXIT) {
        return true;
    }
    log::record(ctx.thread, number as i32, Action::KillThread, true);
    end_thread(ctx.thread, SIGKILL);
    false
}

fn filtered(ctx: &mut Context, newest: &Filter) -> bool {
    let number = ctx.user.orig_rax() as i32;
    let regs = &ctx.user.regs;
    let data = Data {
        number,
        arch: filter::ARCH,
        instruction_pointer: ctx.user.rip() as u64,
        args: [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9],
    };
    let (answer, from) = newest.ask(&data);
    let value = answer & DATA_MASK;
    let action = Action::of(answer);
    if action != Action::Allow {
        log::record(ctx.thread, number, action, from.log);
    }
    let result = match action {
        Action::Allow | Action::Log => return true,
        Action::Errno => -i64::from(value.min(MAX_ERRNO)),
        Action::UserNotif => match notify::ask(ctx.thread, from, &data) {
            Ok(Answer::Continue) => return true,
            Ok(Answer::Value(value)) => value,
            Err(errno) => {
                if errno.is_restart() {
                    // As for a call that was interrupted: it is made again, and asked about again.
                    ctx.thread.work.fetch_or(work::SIGNAL, Relaxed);
                }
                -(errno as i64)
            }
        },
        Action::Trace => -(ENOSYS as i64),
        Action::Trap => {
            // The registers are as they were at the call; a handler may set its result.
            signal::force(ctx.thread, siginfo(ctx, number, value));
            return false;
        }
        Action::KillThread if ctx.process().signals.thread_count() > 1 => {
            end_thread(ctx.thread, SIGSYS);
            return false;
        }
        Action::KillThread | Action::KillProcess => {
            let info = siginfo(ctx, number, value);
            coredump::die(ctx, &info);
            return false;
        }
    };
    ctx.user.regs.rax = result as u64;
    false
}

/// SIGSYS about the call that was not allowed.
fn siginfo(ctx: &Context, number: i32, value: u32) -> SigInfo {
    SigInfo::syscall(SIGSYS, SYS_SECCOMP, value as i32, ctx.user.rip() as u64, number, filter::ARCH)
}
