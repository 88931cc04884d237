//! Who sent a message, and who is at the other end of a connection (unix(7): SCM_CREDENTIALS, SO_PEERCRED).
//!
//! A pid crosses namespaces here, so what is kept is not a number but [`PidNumbers`]: all numbers that the process had, each
//! with its namespace. As in Linux the number stays what it was when the process is long gone.

use core::sync::atomic::Ordering::Relaxed;

use proctree::NsId;

use crate::{
    prelude::*,
    process::{
        Cap, Process, Thread, credentials, pid,
        pidfd::{self, PidRef},
        tree,
    },
};

/// A process that may be gone, by its numbers.
#[derive(Clone, PartialEq, Eq)]
pub struct PidNumbers {
    ns: NsId,
    nr: u32,
    /// In the namespaces above, innermost first; none for a process of the initial namespace.
    above: Option<Arc<[(NsId, u32)]>>,
}

impl PidNumbers {
    pub fn of(process: &Process) -> PidNumbers {
        let ns = process.ns();
        PidNumbers { ns, nr: process.pid(), above: if ns == tree::root_ns() { None } else { above(process) } }
    }

    /// The number as a process of `ns` sees it; 0 if it does not.
    #[inline]
    pub fn nr_in(&self, ns: NsId) -> u32 {
        if self.ns == ns {
            return self.nr;
        }
        let above = self.above.as_deref().unwrap_or(&[]);
        above.iter().find(|(of, _)| *of == ns).map_or(0, |(_, nr)| *nr)
    }
}

#[cold]
fn above(process: &Process) -> Option<Arc<[(NsId, u32)]>> {
    let namespaces = process.pid_ns().upwards().skip(1);
    Some(namespaces.map(|ns| (ns.id(), process.pid_in(ns.id()))).collect())
}

/// The sender of a message, as it is or as it claims to be.
#[derive(Clone)]
pub struct Sender {
    /// `None`: not known.
    pub pid: Option<PidNumbers>,
    pub uid: u32,
    pub gid: u32,
    /// What a pidfd of it refers to, if one of the sockets wants one.
    pub pidfd: Option<Arc<PidRef>>,
}

/// Whether bytes of both may be read together.
impl PartialEq for Sender {
    fn eq(&self, other: &Sender) -> bool {
        self.pid == other.pid && self.uid == other.uid && self.gid == other.gid
    }
}

ostd::pod_struct! {
    /// `struct ucred`.
    pub struct Ucred {
        pub pid: i32,
        pub uid: u32,
        pub gid: u32,
    }
}

impl Sender {
    /// The calling process, with its real ids.
    pub fn current() -> Sender {
        let Some(thread) = Thread::try_current() else { return Sender::unknown() };
        let (uid, gid) = thread.with_creds(|creds| (creds.uid, creds.gid));
        Sender { pid: Some(PidNumbers::of(&thread.process)), uid, gid, pidfd: None }
    }

    /// Keeps what is needed for a pidfd, as long as the process is there.
    pub fn keep_for_pidfd(&mut self) {
        let process = self.pid.as_ref().and_then(|pid| pid::process(pid.ns, pid.nr));
        if self.pidfd.is_none() {
            self.pidfd = process.and_then(|process| pidfd::of_process(&process).ok());
        }
    }

    /// Of a message that was sent when nobody wanted to know.
    pub fn unknown() -> Sender {
        Sender {
            pid: None,
            uid: credentials::OVERFLOW_UID.load(Relaxed),
            gid: credentials::OVERFLOW_GID.load(Relaxed),
            pidfd: None,
        }
    }

    /// What the caller claims to be. EPERM if it may not: the pid must be its own (or CAP_SYS_ADMIN), the ids among
    /// its real, effective and saved ones (or CAP_SETUID, CAP_SETGID). ESRCH if there is no such process.
    pub fn claimed(claim: &Ucred) -> Result<Sender> {
        let thread = Thread::current();
        let creds = thread.creds();
        let own_pid = claim.pid == thread.process.pid() as i32;
        let uid_ok = [creds.uid, creds.euid, creds.suid].contains(&claim.uid) || creds.capable(Cap::Setuid);
        let gid_ok = [creds.gid, creds.egid, creds.sgid].contains(&claim.gid) || creds.capable(Cap::Setgid);
        if !(own_pid || creds.capable(Cap::SysAdmin)) || !uid_ok || !gid_ok {
            return Err(EPERM);
        }
        let pid = if own_pid { PidNumbers::of(&thread.process) } else { pid_by_number(claim.pid)? };
        if claim.uid == u32::MAX || claim.gid == u32::MAX {
            return Err(EINVAL);
        }
        Ok(Sender { pid: Some(pid), uid: claim.uid, gid: claim.gid, pidfd: None })
    }

    /// As the calling process is to see it.
    pub fn for_caller(&self) -> Ucred {
        let ns = caller_ns();
        let pid = self.pid.as_ref().map_or(0, |pid| pid.nr_in(ns));
        Ucred { pid: pid as i32, uid: self.uid, gid: self.gid }
    }
}

/// The namespace in which the caller sees pids.
fn caller_ns() -> NsId {
    Thread::try_current().map_or_else(tree::root_ns, |thread| thread.process.ns())
}

/// Any number in use will do, a zombie's or a thread's too. ESRCH.
fn pid_by_number(nr: i32) -> Result<PidNumbers> {
    let ns = caller_ns();
    let nr = u32::try_from(nr).map_err(|_| ESRCH)?;
    let id = pid::lookup(ns, nr).ok_or(ESRCH)?;
    let table = tree::lock();
    let mut numbers = Vec::new();
    let mut at = Some(ns);
    while let Some(level) = at {
        numbers.push((level, table.nr(id, level)));
        at = table.ns_parent(level);
    }
    drop(table);
    numbers.remove(0);
    Ok(PidNumbers { ns, nr, above: (!numbers.is_empty()).then(|| numbers.into()) })
}

/// Who is at the other end of a connection: as it was when it called connect, listen or socketpair.
pub struct Peer {
    pub pid: PidNumbers,
    pub uid: u32,
    pub gid: u32,
    pub groups: Arc<[u32]>,
    /// What a pidfd of it refers to, also when it is gone (SO_PEERPIDFD).
    pub pidfd: Option<Arc<PidRef>>,
}

impl Peer {
    /// The calling process, with its effective ids; `None` in a kernel task.
    pub fn current() -> Option<Arc<Peer>> {
        let thread = Thread::try_current()?;
        let pid = PidNumbers::of(&thread.process);
        let pidfd = pidfd::of_process(&thread.process).ok();
        Some(thread.with_creds(|creds| {
            Arc::new(Peer { pid, uid: creds.euid, gid: creds.egid, groups: creds.groups.clone(), pidfd })
        }))
    }

    pub fn for_caller(&self) -> Ucred {
        Ucred { pid: self.pid.nr_in(caller_ns()) as i32, uid: self.uid, gid: self.gid }
    }
}
