//! Capabilities: the privileges that make up root (capabilities(7)).

use core::ops::{BitAnd, BitOr, Not};

/// The highest capability number, CAP_CHECKPOINT_RESTORE.
pub const LAST_CAP: u32 = 40;

/// One capability, by its number in linux/capability.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(dead_code, reason = "the list is the ABI's; each subsystem asks for its own")]
pub enum Cap {
    Chown = 0,
    DacOverride = 1,
    DacReadSearch = 2,
    Fowner = 3,
    Fsetid = 4,
    Kill = 5,
    Setgid = 6,
    Setuid = 7,
    Setpcap = 8,
    LinuxImmutable = 9,
    NetBindService = 10,
    NetBroadcast = 11,
    NetAdmin = 12,
    NetRaw = 13,
    IpcLock = 14,
    IpcOwner = 15,
    SysModule = 16,
    SysRawio = 17,
    SysChroot = 18,
    SysPtrace = 19,
    SysPacct = 20,
    SysAdmin = 21,
    SysBoot = 22,
    SysNice = 23,
    SysResource = 24,
    SysTime = 25,
    SysTtyConfig = 26,
    Mknod = 27,
    Lease = 28,
    AuditWrite = 29,
    AuditControl = 30,
    Setfcap = 31,
    MacOverride = 32,
    MacAdmin = 33,
    Syslog = 34,
    WakeAlarm = 35,
    BlockSuspend = 36,
    AuditRead = 37,
    Perfmon = 38,
    Bpf = 39,
    CheckpointRestore = 40,
}

/// A set of capabilities: bit n is capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapSet(pub u64);

impl CapSet {
    pub const EMPTY: CapSet = CapSet(0);
    /// Every capability there is.
    pub const FULL: CapSet = CapSet((1 << (LAST_CAP + 1)) - 1);
    /// What file access needs; follows the file-system uid (setfsuid(2)).
    pub const FILE_SYSTEM: CapSet = CapSet(
        1 << Cap::Chown as u32
            | 1 << Cap::DacOverride as u32
            | 1 << Cap::DacReadSearch as u32
            | 1 << Cap::Fowner as u32
            | 1 << Cap::Fsetid as u32
            | 1 << Cap::LinuxImmutable as u32
            | 1 << Cap::Mknod as u32
            | 1 << Cap::MacOverride as u32,
    );

    pub fn has(self, cap: Cap) -> bool {
        self.has_number(cap as u32)
    }

    pub fn has_number(self, number: u32) -> bool {
        self.0 & (1 << number) != 0
    }

    pub fn insert_number(&mut self, number: u32) {
        self.0 |= 1 << number;
    }

    pub fn remove_number(&mut self, number: u32) {
        self.0 &= !(1 << number);
    }

    pub fn is_subset_of(self, other: CapSet) -> bool {
        self.0 & !other.0 == 0
    }
}

impl BitAnd for CapSet {
    type Output = CapSet;
    fn bitand(self, rhs: CapSet) -> CapSet {
        CapSet(self.0 & rhs.0)
    }
}

impl BitOr for CapSet {
    type Output = CapSet;
    fn bitor(self, rhs: CapSet) -> CapSet {
        CapSet(self.0 | rhs.0)
    }
}

impl Not for CapSet {
    type Output = CapSet;
    fn not(self) -> CapSet {
        CapSet(!self.0 & CapSet::FULL.0)
    }
}
