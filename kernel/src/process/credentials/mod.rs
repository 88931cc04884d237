//! Credentials: who a thread is and what it may do (credentials(7), capabilities(7), rules 1.34-1.42).
//!
//! A [`Credentials`] value is immutable and shared: fork hands on a reference, a change makes a new value and
//! [`commit`]s it to the calling thread alone. Whoever reads a thread's credentials sees one consistent set
//! without a lock.
//!
//! The set*id(2) family below is written as functions from old credentials to new ones, so that a check that
//! fails changes nothing.

mod capability;
mod exec;
mod user;

use core::sync::atomic::AtomicU32;

use bitflags::bitflags;

pub use capability::{Cap, CapSet, LAST_CAP};
pub use exec::{ExecCreds, FileCaps, Privileges};
pub use user::{Charge, User};

use super::{Thread, clone};
use crate::{mm, prelude::*};

/// kernel.overflowuid and overflowgid: what an id is shown as that has no number for the reader.
pub static OVERFLOW_UID: AtomicU32 = AtomicU32::new(65534);
pub static OVERFLOW_GID: AtomicU32 = AtomicU32::new(65534);

bitflags! {
    /// Securebits (rule 1.42); each has a lock bit right above it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SecureBits: u32 {
        const NOROOT = 1 << 0;
        const NOROOT_LOCKED = 1 << 1;
        const NO_SETUID_FIXUP = 1 << 2;
        const NO_SETUID_FIXUP_LOCKED = 1 << 3;
        const KEEP_CAPS = 1 << 4;
        const KEEP_CAPS_LOCKED = 1 << 5;
        const NO_CAP_AMBIENT_RAISE = 1 << 6;
        const NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7;
        const EXEC_RESTRICT_FILE = 1 << 8;
        const EXEC_RESTRICT_FILE_LOCKED = 1 << 9;
        const EXEC_DENY_INTERACTIVE = 1 << 10;
        const EXEC_DENY_INTERACTIVE_LOCKED = 1 << 11;
    }
}

impl SecureBits {
    /// The bits that lock another bit.
    pub const LOCKS: u32 = 0xaaa;
    /// The bits that need no privilege: EXEC_*, and their locks.
    pub const UNPRIVILEGED: u32 = 0xf00;
}

/// The most supplementary groups a thread can have.
pub const NGROUPS_MAX: usize = 65536;

#[derive(Clone)]
pub struct Credentials {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
    /// Supplementary groups, sorted.
    pub groups: Arc<[u32]>,
    pub inheritable: CapSet,
    pub permitted: CapSet,
    pub effective: CapSet,
    pub bounding: CapSet,
    pub ambient: CapSet,
    pub securebits: SecureBits,
    /// The counters of `uid`.
    pub user: Arc<User>,
}

impl Credentials {
    /// Those of the first process: root with every capability.
    pub fn root() -> Arc<Credentials> {
        Arc::new(Credentials {
            uid: 0,
            euid: 0,
            suid: 0,
            fsuid: 0,
            gid: 0,
            egid: 0,
            sgid: 0,
            fsgid: 0,
            groups: Arc::from([]),
            inheritable: CapSet::EMPTY,
            permitted: CapSet::FULL,
            effective: CapSet::FULL,
            bounding: CapSet::FULL,
            ambient: CapSet::EMPTY,
            securebits: SecureBits::empty(),
            user: User::find(0),
        })
    }

    /// Whether `cap` is effective.
    pub fn capable(&self, cap: Cap) -> bool {
        self.effective.has(cap)
    }

    /// `Ok` if `cap` is effective, else EPERM.
    pub fn require(&self, cap: Cap) -> Result<()> {
        if self.capable(cap) { Ok(()) } else { Err(EPERM) }
    }

    /// Whether file access counts this thread to group `gid`.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.binary_search(&gid).is_ok()
    }

    /// Whether a sender with these credentials may signal `target` (rule 7.5; same group and SIGCONT within
    /// a session are the caller's to check).
    pub fn may_signal(&self, target: &Credentials) -> bool {
        self.may_signal_ids(target.uid, target.suid)
    }

    /// [`may_signal`](Self::may_signal) for a target of which only the real and saved uid are left.
    pub fn may_signal_ids(&self, uid: u32, suid: u32) -> bool {
        self.euid == uid
            || self.euid == suid
            || self.uid == uid
            || self.uid == suid
            || self.capable(Cap::Kill)
    }

    /// Whether somebody with these credentials may set how `target` is scheduled: its owner or CAP_SYS_NICE, and only the latter who
    /// could otherwise hold up those with more capabilities (setpriority(2), sched_setscheduler(2)).
    pub fn may_schedule(&self, target: &Credentials) -> bool {
        let owner = self.euid == target.uid || self.euid == target.euid;
        self.capable(Cap::SysNice) || owner && target.permitted.is_subset_of(self.permitted)
    }

    fn has_uid(&self, id: u32) -> bool {
        id == self.uid || id == self.euid || id == self.suid
    }

    fn has_gid(&self, id: u32) -> bool {
        id == self.gid || id == self.egid || id == self.sgid
    }

    fn is_root_anywhere(&self) -> bool {
        self.has_uid(0)
    }

    fn set_ruid(&mut self, uid: u32) {
        if self.uid != uid {
            self.uid = uid;
            self.user = User::find(uid);
        }
    }

    /// setuid(2).
    pub fn setuid(&self, uid: u32) -> Result<Credentials> {
        let mut new = self.clone();
        if self.capable(Cap::Setuid) {
            new.set_ruid(uid);
            new.suid = uid;
        } else if uid != self.uid && uid != self.suid {
            return Err(EPERM);
        }
        new.euid = uid;
        new.fsuid = uid;
        new.fix_caps(self);
        Ok(new)
    }

    /// setreuid(2).
    pub fn setreuid(&self, ruid: Option<u32>, euid: Option<u32>) -> Result<Credentials> {
        let privileged = self.capable(Cap::Setuid);
        let mut new = self.clone();
        if let Some(ruid) = ruid {
            if ruid != self.uid && ruid != self.euid && !privileged {
                return Err(EPERM);
            }
            new.set_ruid(ruid);
        }
        if let Some(euid) = euid {
            if !self.has_uid(euid) && !privileged {
                return Err(EPERM);
            }
            new.euid = euid;
        }
        if ruid.is_some() || euid.is_some_and(|euid| euid != self.uid) {
            new.suid = new.euid;
        }
        new.fsuid = new.euid;
        new.fix_caps(self);
        Ok(new)
    }

    /// setresuid(2).
    pub fn setresuid(&self, ruid: Option<u32>, euid: Option<u32>, suid: Option<u32>) -> Result<Credentials> {
        let allowed = |id: Option<u32>| id.is_none_or(|id| self.has_uid(id));
        if !(self.capable(Cap::Setuid) || allowed(ruid) && allowed(euid) && allowed(suid)) {
            return Err(EPERM);
        }
        let mut new = self.clone();
        new.set_ruid(ruid.unwrap_or(self.uid));
        new.euid = euid.unwrap_or(self.euid);
        new.suid = suid.unwrap_or(self.suid);
        new.fsuid = new.euid;
        new.fix_caps(self);
        Ok(new)
    }

    /// setfsuid(2): `None` if nothing changes, whether allowed or not.
    pub fn setfsuid(&self, uid: u32) -> Option<Credentials> {
        let allowed = self.has_uid(uid) || uid == self.fsuid || self.capable(Cap::Setuid);
        if !allowed || uid == self.fsuid {
            return None;
        }
        let mut new = self.clone();
        new.fsuid = uid;
        if !self.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
            if self.fsuid == 0 {
                new.effective = self.effective & !CapSet::FILE_SYSTEM;
            } else if uid == 0 {
                new.effective = self.effective | (self.permitted & CapSet::FILE_SYSTEM);
            }
        }
        Some(new)
    }

    /// setgid(2).
    pub fn setgid(&self, gid: u32) -> Result<Credentials> {
        let mut new = self.clone();
        if self.capable(Cap::Setgid) {
            new.gid = gid;
            new.sgid = gid;
        } else if gid != self.gid && gid != self.sgid {
            return Err(EPERM);
        }
        new.egid = gid;
        new.fsgid = gid;
        Ok(new)
    }

    /// setregid(2).
    pub fn setregid(&self, rgid: Option<u32>, egid: Option<u32>) -> Result<Credentials> {
        let privileged = self.capable(Cap::Setgid);
        let mut new = self.clone();
        if let Some(rgid) = rgid {
            if rgid != self.gid && rgid != self.egid && !privileged {
                return Err(EPERM);
            }
            new.gid = rgid;
        }
        if let Some(egid) = egid {
            if !self.has_gid(egid) && !privileged {
                return Err(EPERM);
            }
            new.egid = egid;
        }
        if rgid.is_some() || egid.is_some_and(|egid| egid != self.gid) {
            new.sgid = new.egid;
        }
        new.fsgid = new.egid;
        Ok(new)
    }

    /// setresgid(2).
    pub fn setresgid(&self, rgid: Option<u32>, egid: Option<u32>, sgid: Option<u32>) -> Result<Credentials> {
        let allowed = |id: Option<u32>| id.is_none_or(|id| self.has_gid(id));
        if !(self.capable(Cap::Setgid) || allowed(rgid) && allowed(egid) && allowed(sgid)) {
            return Err(EPERM);
        }
        let mut new = self.clone();
        new.gid = rgid.unwrap_or(self.gid);
        new.egid = egid.unwrap_or(self.egid);
        new.sgid = sgid.unwrap_or(self.sgid);
        new.fsgid = new.egid;
        Ok(new)
    }

    /// setfsgid(2): `None` if nothing changes.
    pub fn setfsgid(&self, gid: u32) -> Option<Credentials> {
        let allowed = self.has_gid(gid) || gid == self.fsgid || self.capable(Cap::Setgid);
        (allowed && gid != self.fsgid).then(|| Credentials { fsgid: gid, ..self.clone() })
    }

    /// setgroups(2), after the privilege check.
    pub fn setgroups(&self, mut groups: Vec<u32>) -> Credentials {
        groups.sort_unstable();
        Credentials { groups: groups.into(), ..self.clone() }
    }

    /// capset(2): EPERM for any set that grows beyond what the old ones allow.
    pub fn capset(&self, effective: CapSet, permitted: CapSet, inheritable: CapSet) -> Result<Credentials> {
        let free_inheritable = self.capable(Cap::Setpcap);
        let legal = (free_inheritable || inheritable.is_subset_of(self.inheritable | self.permitted))
            && inheritable.is_subset_of(self.inheritable | self.bounding)
            && permitted.is_subset_of(self.permitted)
            && effective.is_subset_of(permitted);
        if !legal {
            return Err(EPERM);
        }
        let ambient = self.ambient & permitted & inheritable;
        Ok(Credentials { effective, permitted, inheritable, ambient, ..self.clone() })
    }

    /// What a change of the uids does to the capabilities (capabilities(7), "Effect of user ID changes").
    fn fix_caps(&mut self, old: &Credentials) {
        if old.securebits.contains(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        if old.is_root_anywhere() && !self.is_root_anywhere() {
            if !old.securebits.contains(SecureBits::KEEP_CAPS) {
                self.permitted = CapSet::EMPTY;
                self.effective = CapSet::EMPTY;
            }
            self.ambient = CapSet::EMPTY;
        }
        if old.euid == 0 && self.euid != 0 {
            self.effective = CapSet::EMPTY;
        } else if old.euid != 0 && self.euid == 0 {
            self.effective = self.permitted;
        }
    }

    /// Whether the step from `old` to `self` makes the program untouchable for its old self: resets `dumpable`
    /// and the parent-death signal (rules 1.21, 1.36).
    pub fn is_sensitive_change(&self, old: &Credentials) -> bool {
        self.euid != old.euid
            || self.egid != old.egid
            || self.fsuid != old.fsuid
            || self.fsgid != old.fsgid
            || !self.permitted.is_subset_of(old.permitted)
    }
}

/// Makes `new` the credentials of the calling thread, with the side effects that any change has.
pub fn commit(thread: &Thread, new: Credentials) {
    let old = thread.creds();
    if new.is_sensitive_change(&old) {
        if let Some(vm) = thread.try_vm() {
            vm.set_dumpable(mm::suid_dumpable());
        }
        thread.clear_pdeath();
    }
    if !Arc::ptr_eq(&new.user, &old.user) {
        clone::note_nproc(thread, &new);
        // Before the old count goes down, so that no observer sees the thread missing.
        new.user.add_process();
        old.user.remove_process();
    }
    thread.set_creds(Arc::new(new));
}
