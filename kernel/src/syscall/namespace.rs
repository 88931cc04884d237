//! unshare(2) and setns(2): leaving what is shared, joining what others have (rules 6.25, 9.1-9.4).

use super::{Args, Context};
use crate::{
    fs::{
        self,
        nsfs::{Namespace, NsFile, NsKind},
    },
    ipc::sysv::sem::undo,
    prelude::*,
    process::{
        Cap, Thread,
        clone::CloneFlags,
        namespace::{PidNs, change},
        pidfd::{PidRef, file::pid_of},
        signal::threads,
        tree,
    },
};

pub fn sys_unshare(ctx: &mut Context, args: Args) -> Result<usize> {
    let flags = CloneFlags::from_bits(args[0] as u64).ok_or(EINVAL)?;
    let known = CloneFlags::THREAD
        | CloneFlags::SIGHAND
        | CloneFlags::VM
        | CloneFlags::FS
        | CloneFlags::FILES
        | CloneFlags::SYSVSEM
        | CloneFlags::NEWUSER
        | CloneFlags::NAMESPACES;
    if !known.contains(flags) {
        return Err(EINVAL);
    }
    check_alone(ctx, flags)?;
    change::check_new(ctx.thread, flags)?;
    // All that may fail comes first.
    let pid_ns: Option<PidNs> = match flags.contains(CloneFlags::NEWPID) {
        true => Some(change::unshare_pid_ns(ctx.thread)?),
        false => None,
    };
    if flags.contains(CloneFlags::SYSVSEM) {
        undo::release(ctx.thread);
    }
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

/// What can't be given up is accepted where it is not shared: with other threads, a leader that is dead included, and with processes
/// that have the same handlers or the same memory. EINVAL if it is.
fn check_alone(ctx: &Context, flags: CloneFlags) -> Result<()> {
    let own = ctx.process();
    if !flags.intersects(CloneFlags::THREAD | CloneFlags::SIGHAND | CloneFlags::VM) {
        return Ok(());
    }
    if tree::lock().thread_count(own.id()) > 1 {
        return Err(EINVAL);
    }
    if flags.intersects(CloneFlags::SIGHAND | CloneFlags::VM) {
        let (handlers, vm) = (own.signals.sighand(), ctx.thread.vm());
        let has_vm = |thread: &Arc<Thread>| thread.try_vm().is_some_and(|other| Arc::ptr_eq(&other, &vm));
        let shared = tree::all_processes().iter().filter(|other| !Arc::ptr_eq(other, own)).any(|other| {
            Arc::ptr_eq(&other.signals.sighand(), &handlers)
                || flags.contains(CloneFlags::VM) && threads(other).iter().any(has_vm)
        });
        if shared {
            return Err(EINVAL);
        }
    }
    Ok(())
}

/// setns(2): by an open namespace (rule 9.3), or by a pidfd into several of a process's.
pub fn sys_setns(ctx: &mut Context, [fd, flags, ..]: Args) -> Result<usize> {
    let file = ctx.thread.files().get(fd as i32)?;
    if let Ok(pid_ref) = pid_of(&file) {
        enter_those_of(ctx, pid_ref, flags as u32)?;
        return Ok(0);
    }
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

/// The target of setns(2) by a pidfd, and of pidfd_getfd(2). Who may not look into it hears of that before it hears that it is dead.
///
/// # Errors
/// `EPERM`; `ESRCH`: one that has exited has no namespaces and no files any more, though its group may live.
pub(super) fn inspectable(ctx: &Context, pid_ref: &PidRef) -> Result<Arc<Thread>> {
    let Some(target) = pid_ref.thread() else {
        let remains = pid_ref.remains().ok_or(ESRCH)?;
        return Err(if ctx.thread.may_inspect_remains_really(&remains) { ESRCH } else { EPERM });
    };
    if !ctx.thread.may_inspect_really(&target) {
        return Err(EPERM);
    }
    if target.try_files().is_none() { Err(ESRCH) } else { Ok(target) }
}

/// Into the namespaces of a process that `flags` name (rule 11.12). Those that can only be refused come first, so that nothing
/// has changed then.
fn enter_those_of(ctx: &Context, pid_ref: &PidRef, flags: u32) -> Result<()> {
    const ORDER: [NsKind; 7] =
        [NsKind::User, NsKind::Uts, NsKind::Ipc, NsKind::Cgroup, NsKind::Net, NsKind::Time, NsKind::Mnt];
    let flags = CloneFlags::from_bits(u64::from(flags)).ok_or(EINVAL)?;
    let kinds = CloneFlags::NAMESPACES | CloneFlags::NEWUSER;
    if flags.is_empty() || !kinds.contains(flags) {
        return Err(EINVAL);
    }
    let target = inspectable(ctx, pid_ref)?;
    let pid_ns = flags.contains(CloneFlags::NEWPID).then(|| target.process.pid_ns());
    if let Some(ns) = pid_ns {
        ctx.thread.creds().require(Cap::SysAdmin)?;
        if !ns.is_within(ctx.process().pid_ns()) {
            return Err(EINVAL);
        }
    }
    for kind in ORDER.into_iter().filter(|kind| flags.contains(kind.flag())) {
        enter_initial(ctx, kind)?;
    }
    match pid_ns {
        Some(ns) => change::enter_pid_ns(ctx.thread, ns),
        None => Ok(()),
    }
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
