//! What the ioctls of a pidfd tell: PIDFD_GET_INFO (rule 11.9) and the descriptors of namespaces.
//!
//! `struct pidfd_info` grows at its end; its size is in the request. The caller says in `mask` what it wants beyond ids and
//! credentials, and reads there what it got. The exit status is there once the task was reaped, and then it is all there is.

use ostd::user::mem;
use proctree::{Body, PidId};

use super::{PidRef, State};
use crate::{
    fs::nsfs::{Namespace, NsKind},
    prelude::*,
    process::{Credentials, Thread, pid, tree},
};

/// `_IOWR(0xff, 11, struct pidfd_info)`, but for the size.
const GET_INFO: u32 = 3 << 30 | 0xff << 8 | 11;
const SIZE_SHIFT: u32 = 16;
const SIZE_MASK: u32 = 0x3fff;
/// The first published size, and ours.
const SIZE_VER0: usize = 64;
const SIZE: usize = 72;

const MASK_PID: u64 = 1;
const MASK_CREDS: u64 = 2;
const MASK_CGROUPID: u64 = 4;
const MASK_EXIT: u64 = 8;
const MASK_COREDUMP: u64 = 16;

/// `coredump_mask`: what would be done about a dump.
const COREDUMP_SKIP: u32 = 2;
const COREDUMP_USER: u32 = 4;
const COREDUMP_ROOT: u32 = 8;

/// There is no cgroup but the root, whose id is this.
const ROOT_CGROUP: u64 = 1;

/// `struct pidfd_info`, as far as we know it.
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid, then real, effective, saved and fs ids in pairs of user and group.
    ids: [u32; 11],
    exit_code: i32,
    coredump_mask: u32,
}

impl Info {
    fn encode(&self) -> [u8; SIZE] {
        let mut raw = [0; SIZE];
        raw[0..8].copy_from_slice(&self.mask.to_le_bytes());
        raw[8..16].copy_from_slice(&self.cgroup.to_le_bytes());
        for (slot, id) in raw[16..60].chunks_exact_mut(4).zip(self.ids) {
            slot.copy_from_slice(&id.to_le_bytes());
        }
        raw[60..64].copy_from_slice(&self.exit_code.to_le_bytes());
        raw[64..68].copy_from_slice(&self.coredump_mask.to_le_bytes());
        raw
    }
}

/// Whether it is PIDFD_GET_INFO of a size that makes sense; any other is ENOTTY.
pub(super) fn is_request(request: u32) -> bool {
    request & !(SIZE_MASK << SIZE_SHIFT) == GET_INFO && size_of_request(request) >= SIZE_VER0
}

pub(super) fn size_of_request(request: u32) -> usize {
    (request >> SIZE_SHIFT & SIZE_MASK) as usize
}

/// PIDFD_GET_INFO.
///
/// # Errors
/// `EINVAL` for a null pointer, `EFAULT`; `EREMOTE` if the task is in a pid namespace that the caller does not see; `ESRCH` if it
/// was reaped and the exit status was not asked for.
pub(super) fn get(pid_ref: &PidRef, size: usize, addr: usize) -> Result<usize> {
    if addr == 0 {
        return Err(EINVAL);
    }
    let wanted = mem::read::<u64>(addr)?;
    let caller = Thread::current();
    if !pid_ref.is_visible_in(caller.process.pid_ns()) {
        return Err(EREMOTE);
    }
    let mut info = Info::default();
    let found = pid_ref.state() != State::Gone && fill(pid_ref, &caller, wanted, &mut info);
    if !found {
        gone(pid_ref, wanted, &mut info)?;
    }
    if wanted & MASK_COREDUMP != 0 {
        info.mask |= MASK_COREDUMP;
    }
    write(addr, size, &info)?;
    Ok(0)
}

/// What is left of a task that was reaped.
fn gone(pid_ref: &PidRef, wanted: u64, info: &mut Info) -> Result<()> {
    if wanted & MASK_EXIT == 0 {
        return Err(ESRCH);
    }
    // The status is stored before the table is unlocked, so it is there for whoever did not find the task in the table.
    if let Some(status) = pid_ref.status() {
        info.mask |= MASK_EXIT | MASK_CGROUPID;
        info.exit_code = status;
        info.cgroup = ROOT_CGROUP;
    }
    Ok(())
}

/// Ids and credentials of a task that is there. Returns whether it was.
fn fill(pid_ref: &PidRef, caller: &Thread, wanted: u64, info: &mut Info) -> bool {
    let thread = pid_ref.thread();
    let ns = caller.process.ns();
    let (creds, process) = {
        let table = tree::lock();
        match &thread {
            Some(thread) => (thread.creds(), thread.process.id()),
            None => match table.pid_process(pid_ref.key.pid) {
                Some(process) => match table.body(process) {
                    Some(Body::Zombie(record)) => (record.creds.clone(), process),
                    Some(Body::Live(live)) => (live.creds(), process),
                    None => return false,
                },
                None => return false,
            },
        }
    };
    let table = tree::lock();
    let nr = |pid: Option<PidId>| pid.map_or(0, |pid| table.nr(pid, ns));
    let pid = nr(Some(pid_ref.key.pid));
    let tgid = nr(table.pid(process));
    let ppid = nr(table.parent(process).and_then(|parent| table.pid(parent.process)));
    drop(table);
    if pid == 0 || tgid == 0 {
        return false;
    }
    info.ids[..3].copy_from_slice(&[pid, tgid, ppid]);
    info.ids[3..].copy_from_slice(&user_ids(&creds));
    info.cgroup = ROOT_CGROUP;
    info.mask = MASK_PID | MASK_CREDS | MASK_CGROUPID;
    if wanted & MASK_COREDUMP != 0
        && let Some(vm) = thread.and_then(|thread| thread.try_vm())
    {
        info.coredump_mask = match vm.dumpable() {
            0 => COREDUMP_SKIP,
            1 => COREDUMP_USER,
            _ => COREDUMP_ROOT,
        };
    }
    true
}

fn user_ids(creds: &Credentials) -> [u32; 8] {
    let Credentials { uid, gid, euid, egid, suid, sgid, fsuid, fsgid, .. } = *creds;
    [uid, gid, euid, egid, suid, sgid, fsuid, fsgid]
}

/// As much as the caller's structure holds; what it has beyond ours becomes zero.
fn write(addr: usize, size: usize, info: &Info) -> Result<()> {
    let raw = info.encode();
    mem::copy_to_user(addr, &raw[..size.min(SIZE)])?;
    let zeros = [0; 64];
    let mut at = SIZE;
    while at < size {
        let len = (size - at).min(zeros.len());
        mem::copy_to_user(addr.checked_add(at).ok_or(EFAULT)?, &zeros[..len])?;
        at += len;
    }
    Ok(())
}

/// `_IO(0xff, 1)`, the first of the requests without an argument: PIDFD_GET_CGROUP_NAMESPACE and its like.
const NAMESPACE_FIRST: u32 = 0xff << 8 | 1;

/// What they ask for, in order. Of pid and time there are two: the task's own, and that of its children.
const NAMESPACES: [NsKind; 10] = [
    NsKind::Cgroup,
    NsKind::Ipc,
    NsKind::Mnt,
    NsKind::Net,
    NsKind::Pid,
    NsKind::Pid,
    NsKind::Time,
    NsKind::Time,
    NsKind::User,
    NsKind::Uts,
];
const PID_FOR_CHILDREN: u32 = NAMESPACE_FIRST + 5;

/// A descriptor of one of the task's namespaces.
///
/// # Errors
/// `ENOTTY` for another request; `ESRCH` for a task that has exited; `EINVAL` for an argument; `EACCES` if the caller may not look into
/// the task.
pub(super) fn namespace(pid_ref: &PidRef, request: u32, arg: usize) -> Result<usize> {
    let kind = request.checked_sub(NAMESPACE_FIRST).and_then(|index| NAMESPACES.get(index as usize));
    let kind = *kind.ok_or(ENOTTY)?;
    let thread = pid::thread_of(&pid_ref.key).ok_or(ESRCH)?;
    if arg != 0 {
        return Err(EINVAL);
    }
    // One that has exited has no namespaces any more, though its group may live.
    if thread.try_files().is_none() {
        return Err(ESRCH);
    }
    let caller = Thread::current();
    if !caller.may_inspect(&thread) {
        return Err(EACCES);
    }
    let namespace = match kind {
        NsKind::Pid if request == PID_FOR_CHILDREN => Namespace::Pid(thread.namespaces().pid_for_children),
        NsKind::Pid => Namespace::Pid(thread.process.pid_ns().clone()),
        kind => Namespace::Initial(kind),
    };
    Ok(caller.files().install(namespace.open()?, true, 0)? as usize)
}
