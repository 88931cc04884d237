//! unshare(2) and setns(2): leaving what is shared, joining what others have (rules 6.25, 9.1-9.4).

use super::{Args, Context};
use crate::{
    fs::{
        self,
        nsfs::{Namespace, NsFile, NsKind},
    },
    prelude::*,
    process::{
        Cap,
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

/// setns(2): by an open namespace (rule 9.3).
pub fn sys_setns(ctx: &mut Context, [fd, flags, ..]: Args) -> Result<usize> {
    let file = ctx.thread.files().get(fd as i32)?;
    let NsFile { ns } = file.downcast().ok_or(EINVAL)?;
    let flags = flags as u32;
    if flags != 0 && u64::from(flags) != ns.kind().flag().bits() {
        return Err(EINVAL);
    }
    match ns {
        Namespace::Pid(ns) => change::enter_pid_ns(ctx.thread, ns)?,
        Namespace::Initial(kind) => enter_initial(ctx, *kind)?,
    }
    Ok(0)
}

/// Joining the only namespace of a kind changes nothing, and may be refused as on Linux.
fn enter_initial(ctx: &Context, kind: NsKind) -> Result<()> {
    let creds = ctx.thread.creds();
    match kind {
        // Who is in a user namespace can't enter it again.
        NsKind::User => return Err(EINVAL),
        NsKind::Time if ctx.process().signals.thread_count() > 1 => return Err(EUSERS),
        NsKind::Mnt => {
            creds.require(Cap::SysAdmin)?;
            creds.require(Cap::SysChroot)?;
            let fs = ctx.thread.fs();
            // Two references are the thread's and this function's.
            if Arc::strong_count(&fs) > 2 {
                return Err(EINVAL);
            }
            fs.set_root(fs::root());
            fs.set_cwd(fs::root());
        }
        _ => creds.require(Cap::SysAdmin)?,
    }
    Ok(())
}
