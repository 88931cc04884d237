//! Which answers of filters are told in the kernel's log (/proc/sys/kernel/seccomp/).

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::Action;
use crate::{prelude::*, process::Thread};

/// kernel.seccomp.actions_logged: one bit for each of [`Action::ALL`]. All but "allow" at first.
static LOGGED: AtomicU32 = AtomicU32::new((1 << (Action::ALL.len() - 1)) - 1);

fn bit(action: Action) -> u32 {
    1 << action as u32
}

/// Tells the log about an answer: that of a filter that asked for it, that to kill, and "log" itself.
pub(super) fn record(thread: &Thread, number: i32, action: Action, asked: bool) {
    let wanted = asked || matches!(action, Action::KillProcess | Action::KillThread | Action::Log);
    if wanted && LOGGED.load(Relaxed) & bit(action) != 0 {
        let comm = thread.comm();
        let comm = comm.split(|&byte| byte == 0).next().unwrap_or_default();
        let comm = String::from_utf8_lossy(comm);
        info!("seccomp: pid {} ({comm}), system call {number}: {}", thread.process.pid(), action.name());
    }
}

fn names(which: impl Fn(Action) -> bool) -> String {
    let names: Vec<&str> =
        Action::ALL.into_iter().filter(|&action| which(action)).map(Action::name).collect();
    names.join(" ")
}

/// kernel.seccomp.actions_avail
pub fn available() -> String {
    names(|_| true)
}

/// kernel.seccomp.actions_logged
pub fn logged() -> String {
    let logged = LOGGED.load(Relaxed);
    names(|action| logged & bit(action) != 0)
}

/// Sets kernel.seccomp.actions_logged.
///
/// # Errors
/// EPERM without CAP_SYS_ADMIN; EINVAL for an unknown name, and for "allow", which can't be logged.
pub fn set_logged(value: &str) -> Result<()> {
    Thread::current().creds().require(crate::process::Cap::SysAdmin)?;
    let mut logged = 0;
    for name in value.split_ascii_whitespace() {
        let action = Action::ALL.into_iter().find(|action| action.name() == name).ok_or(EINVAL)?;
        if action == Action::Allow {
            return Err(EINVAL);
        }
        logged |= bit(action);
    }
    LOGGED.store(logged, Relaxed);
    Ok(())
}
