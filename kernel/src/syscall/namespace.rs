//! unshare(2) and setns(2): leaving what is shared, joining what others have (rules 6.25, 9.1-9.4).

use super::{Args, Context};
use crate::{
    prelude::*,
    process::{
        clone::CloneFlags,
        namespace::{PidNs, change},
    },
};

pub fn sys_unshare(ctx: &mut Context, args: Args) -> Result<usize> {
    let flags = CloneFlags::from_bits(args[0] as u64).ok_or(EINVAL)?;
    let alone = CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM;
    let known = alone
        | CloneFlags::FS
        | CloneFlags::FILES
        | CloneFlags::SYSVSEM
        | CloneFlags::NEWUSER
        | CloneFlags::NAMESPACES;
    if !known.contains(flags) {
        return Err(EINVAL);
    }
    if flags.intersects(alone) && ctx.process().signals.thread_count() > 1 {
        return Err(EINVAL);
    }
    change::check_new(ctx.thread, flags)?;
    // All that may fail comes first.
    let pid_ns: Option<PidNs> = match flags.contains(CloneFlags::NEWPID) {
        true => Some(change::unshare_pid_ns(ctx.thread)?),
        false => None,
    };
    if flags.contains(CloneFlags::FS) {
        let own = ctx.thread.fs().fork();
        drop(ctx.thread.set_fs(Some(own)));
    }
    if flags.contains(CloneFlags::FILES) {
        let own = ctx.thread.files().dup_for_fork();
        drop(ctx.thread.set_files(Some(own)));
    }
    if let Some(ns) = pid_ns {
        change::set_pid_ns_for_children(ctx.thread, ns);
    }
    Ok(0)
}
