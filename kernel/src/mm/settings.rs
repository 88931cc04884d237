//! What programs have set for their address space as a whole. All but the dumpable state outlives execve; fork copies all of it.

use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

use super::{Vm, VmFlags};

/// fs.suid_dumpable: what a program is marked as whose memory is not its user's business (rule 1.35).
static SUID_DUMPABLE: AtomicU8 = AtomicU8::new(0);

pub fn suid_dumpable() -> u8 {
    SUID_DUMPABLE.load(Relaxed)
}

/// `value` is 0, 1 or 2.
pub fn set_suid_dumpable(value: u8) {
    SUID_DUMPABLE.store(value, Relaxed);
}

/// Which parts of memory a core dump has (/proc/PID/coredump_filter): written private memory, shared memory without a file, the
/// first page of programs, huge pages.
const DUMP_FILTER: u16 = 0x33;
/// The bits that there are.
const DUMP_FILTER_MASK: u16 = 0x1ff;

/// Memory-deny-write-execute, as PR_SET_MDWE takes it (rule 1.51).
pub mod mdwe {
    pub const REFUSE_EXEC_GAIN: u8 = 1;
    /// Children don't have it.
    pub const NO_INHERIT: u8 = 2;
}

/// A part of each [`Vm`].
pub(super) struct Settings {
    /// 0, 1 or 2 as PR_GET_DUMPABLE gives it.
    dumpable: AtomicU8,
    dump_filter: AtomicU16,
    mdwe: AtomicU8,
    /// As PR_GET_THP_DISABLE gives it (rule 1.47).
    thp_disable: AtomicU8,
    /// As PR_GET_MEMORY_MERGE gives it: pages that are the same may be merged. Nobody does.
    merge: AtomicU8,
    /// What membarrier(2) was registered for, as GET_REGISTRATIONS gives it.
    barriers: AtomicU32,
    /// PR_FUTEX_HASH: buckets of the table of its futexes, [`NO_BUCKETS`] before there is one.
    futex_buckets: AtomicU32,
}

const NO_BUCKETS: u32 = u32::MAX;
/// Of a program with threads that has not said how many it wants.
const THREADED_BUCKETS: u32 = 16;

impl Settings {
    pub(super) fn new() -> Settings {
        Settings {
            dumpable: AtomicU8::new(1),
            dump_filter: AtomicU16::new(DUMP_FILTER),
            mdwe: AtomicU8::new(0),
            thp_disable: AtomicU8::new(0),
            merge: AtomicU8::new(0),
            barriers: AtomicU32::new(0),
            futex_buckets: AtomicU32::new(NO_BUCKETS),
        }
    }

    /// Those of a copy of the address space.
    pub(super) fn inherited(&self) -> Settings {
        let settings = Settings::new();
        settings.dumpable.store(self.dumpable.load(Relaxed), Relaxed);
        settings.barriers.store(self.barriers.load(Relaxed), Relaxed);
        settings.take_over(self);
        settings
    }

    fn take_over(&self, old: &Settings) {
        self.dump_filter.store(old.dump_filter.load(Relaxed), Relaxed);
        self.thp_disable.store(old.thp_disable.load(Relaxed), Relaxed);
        self.merge.store(old.merge.load(Relaxed), Relaxed);
        let mdwe = old.mdwe.load(Relaxed);
        if mdwe & mdwe::NO_INHERIT == 0 {
            self.mdwe.store(mdwe, Relaxed);
        }
    }
}

impl Vm {
    /// The registrations of membarrier(2).
    pub fn barriers(&self) -> u32 {
        self.settings.barriers.load(Relaxed)
    }

    pub fn register_barrier(&self, command: u32) {
        self.settings.barriers.fetch_or(command, Relaxed);
    }

    /// `None` before the first thread beside the program's own, unless it was set.
    pub fn futex_buckets(&self) -> Option<u32> {
        Some(self.settings.futex_buckets.load(Relaxed)).filter(|&buckets| buckets != NO_BUCKETS)
    }

    pub fn set_futex_buckets(&self, buckets: u32) {
        self.settings.futex_buckets.store(buckets, Relaxed);
    }

    /// A second thread is made.
    pub fn has_threads(&self) {
        if self.settings.futex_buckets.load(Relaxed) == NO_BUCKETS {
            self.set_futex_buckets(THREADED_BUCKETS);
        }
    }

    /// Takes over from the address space of the program before what execve keeps.
    pub fn keep_settings(&self, old: &Vm) {
        self.settings.take_over(&old.settings);
    }

    /// Whether the program may dump core and be looked at by its user: 0 no, 1 yes, 2 by root only (rules 1.34-1.37).
    pub fn dumpable(&self) -> u8 {
        self.settings.dumpable.load(Relaxed)
    }

    pub fn set_dumpable(&self, value: u8) {
        self.settings.dumpable.store(value, Relaxed);
    }

    pub fn dump_filter(&self) -> u16 {
        self.settings.dump_filter.load(Relaxed)
    }

    pub fn set_dump_filter(&self, filter: u16) {
        self.settings.dump_filter.store(filter & DUMP_FILTER_MASK, Relaxed);
    }

    pub fn mdwe(&self) -> u8 {
        self.settings.mdwe.load(Relaxed)
    }

    pub fn set_mdwe(&self, bits: u8) {
        self.settings.mdwe.store(bits, Relaxed);
    }

    /// Whether PR_SET_MDWE forbids that something with the rights `old` gets the rights `new`.
    pub(super) fn denies_exec(&self, old: VmFlags, new: VmFlags) -> bool {
        self.mdwe() != 0
            && new.contains(VmFlags::EXEC)
            && (new.contains(VmFlags::WRITE) || !old.contains(VmFlags::EXEC))
    }

    pub fn thp_disable(&self) -> u8 {
        self.settings.thp_disable.load(Relaxed)
    }

    pub fn merge(&self) -> u8 {
        self.settings.merge.load(Relaxed)
    }

    pub fn set_merge(&self, on: bool) {
        self.settings.merge.store(on.into(), Relaxed);
    }

    pub fn set_thp_disable(&self, value: u8) {
        self.settings.thp_disable.store(value, Relaxed);
    }
}
