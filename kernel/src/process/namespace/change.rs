//! Who gets into which namespace: clone(2), unshare(2), setns(2) (rules 6.2, 6.12, 9.1-9.5).

use super::{NamespaceSet, PidNs};
use crate::{
    prelude::*,
    process::{Cap, Thread, clone::CloneFlags},
};

/// The kinds that clone(2) and unshare(2) can make new ones of.
pub const BUILT_IN: CloneFlags = CloneFlags::NEWPID;

/// What clone(2) and unshare(2) ask of whoever wants new namespaces.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN; `EINVAL` for kinds that are not built in.
pub fn check_new(thread: &Thread, flags: CloneFlags) -> Result<()> {
    if flags.contains(CloneFlags::NEWUSER) {
        return Err(EINVAL);
    }
    if flags.intersects(CloneFlags::NAMESPACES) {
        thread.creds().require(Cap::SysAdmin)?;
    }
    // Who may not make one hears of that first, also where NEWIPC contradicts SYSVSEM.
    if flags.intersects(CloneFlags::NAMESPACES - BUILT_IN) { Err(EINVAL) } else { Ok(()) }
}

/// The pid namespace of a child of `thread`: a new one if `flags` say so.
///
/// # Errors
/// `EINVAL`: the thread's children leave its namespace already (rule 9.2), or the child were a thread of the process and in
/// another namespace (9.4). `ENOSPC`, `ENOMEM`.
pub fn pid_ns_of_child(thread: &Thread, flags: CloneFlags) -> Result<PidNs> {
    let new = flags.contains(CloneFlags::NEWPID);
    if !thread.children_leave_pid_ns() {
        let own = thread.process.pid_ns();
        return if new { PidNs::new_below(own) } else { Ok(own.clone()) };
    }
    if new || flags.contains(CloneFlags::THREAD) {
        return Err(EINVAL);
    }
    Ok(thread.namespaces().pid_for_children)
}

/// unshare(CLONE_NEWPID): the calling thread's next child will be the init of a new namespace (rule 9.1).
///
/// # Errors
/// `EINVAL`: its children leave its namespace already (rule 9.2). `ENOSPC`, `ENOMEM`.
pub fn unshare_pid_ns(thread: &Thread) -> Result<PidNs> {
    if thread.children_leave_pid_ns() {
        return Err(EINVAL);
    }
    PidNs::new_below(thread.process.pid_ns())
}

/// The calling thread's next children will be in `ns`.
pub fn set_pid_ns_for_children(thread: &Thread, ns: PidNs) {
    thread.set_namespaces(NamespaceSet { pid_for_children: ns });
}

/// setns(2) to a pid namespace (rule 9.3).
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN; `EINVAL` if it is neither the caller's own nor below it.
pub fn enter_pid_ns(thread: &Thread, ns: &PidNs) -> Result<()> {
    thread.creds().require(Cap::SysAdmin)?;
    if !ns.is_within(thread.process.pid_ns()) {
        return Err(EINVAL);
    }
    set_pid_ns_for_children(thread, ns.clone());
    Ok(())
}
