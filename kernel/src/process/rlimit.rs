//! Resource limits (getrlimit(2)): one immutable table, shared until somebody changes a limit.

use core::sync::atomic::AtomicUsize;

use super::{Credentials, credentials::Cap, tree};
use crate::prelude::*;

pub const RLIM_INFINITY: u64 = u64::MAX;

/// A limit, by its number in the ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, int_to_c_enum::TryFromInt)]
#[repr(u32)]
pub enum Resource {
    Cpu = 0,
    Fsize = 1,
    Data = 2,
    Stack = 3,
    Core = 4,
    Rss = 5,
    Nproc = 6,
    Nofile = 7,
    Memlock = 8,
    As = 9,
    Locks = 10,
    Sigpending = 11,
    Msgqueue = 12,
    Nice = 13,
    Rtprio = 14,
    Rttime = 15,
}

const COUNT: usize = 16;

/// The most descriptors that RLIMIT_NOFILE may allow (fs.nr_open).
pub const NR_OPEN: u64 = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rlimit {
    /// What is enforced.
    pub soft: u64,
    /// How far an unprivileged process may raise `soft`.
    pub hard: u64,
}

/// The limits of a process.
#[derive(Clone, Debug)]
pub struct Rlimits([Rlimit; COUNT]);

impl Rlimits {
    /// Those of the first process. `max_threads` is what memory allows (RLIMIT_NPROC and RLIMIT_SIGPENDING are
    /// half of it, as on Linux).
    pub fn initial(max_threads: u64) -> Rlimits {
        const UNLIMITED: Rlimit = Rlimit { soft: RLIM_INFINITY, hard: RLIM_INFINITY };
        let fixed = |value| Rlimit { soft: value, hard: value };
        let mut limits = Rlimits([UNLIMITED; COUNT]);
        limits.set(Resource::Stack, Rlimit { soft: 8 << 20, hard: RLIM_INFINITY });
        limits.set(Resource::Core, Rlimit { soft: 0, hard: RLIM_INFINITY });
        limits.set(Resource::Nproc, fixed(max_threads / 2));
        limits.set(Resource::Nofile, Rlimit { soft: 1024, hard: 4096 });
        limits.set(Resource::Memlock, fixed(8 << 20));
        limits.set(Resource::Sigpending, fixed(max_threads / 2));
        limits.set(Resource::Msgqueue, fixed(819_200));
        limits.set(Resource::Nice, fixed(0));
        limits.set(Resource::Rtprio, fixed(0));
        limits
    }

    pub fn get(&self, resource: Resource) -> Rlimit {
        self.0[resource as usize]
    }

    pub fn soft(&self, resource: Resource) -> u64 {
        self.get(resource).soft
    }

    /// Whether CPU time is limited, of the process or of a real-time thread without a sleep.
    pub fn limits_cpu_time(&self) -> bool {
        self.soft(Resource::Cpu) != RLIM_INFINITY || self.soft(Resource::Rttime) != RLIM_INFINITY
    }

    /// The same limits with another soft one: what the kernel itself moves.
    pub fn with_soft(&self, resource: Resource, soft: u64) -> Rlimits {
        let mut new = self.clone();
        new.0[resource as usize].soft = soft;
        new
    }

    fn set(&mut self, resource: Resource, limit: Rlimit) {
        self.0[resource as usize] = limit;
    }

    /// The table after setrlimit(2) by a caller with `creds`.
    ///
    /// # Errors
    /// `EINVAL` if soft exceeds hard; `EPERM` for raising a hard limit without CAP_SYS_RESOURCE, or
    /// RLIMIT_NOFILE beyond [`NR_OPEN`].
    pub fn with(&self, resource: Resource, limit: Rlimit, creds: &Credentials) -> Result<Rlimits> {
        if limit.soft > limit.hard {
            return Err(EINVAL);
        }
        if resource == Resource::Nofile && limit.hard > NR_OPEN {
            return Err(EPERM);
        }
        if limit.hard > self.get(resource).hard {
            creds.require(Cap::SysResource)?;
        }
        let mut new = self.clone();
        new.set(resource, limit);
        Ok(new)
    }
}

/// How many tasks there can be at most: threads, with room for forks that look at the limit at the same moment, and the
/// kernel's own.
pub fn max_tasks() -> usize {
    const SPARE: usize = 256;
    max_threads().min(tree::PID_MAX as u64) as usize + SPARE
}

/// kernel.threads-max: how many threads and zombies there may be. What memory allows, until somebody says otherwise.
pub static THREADS_MAX: AtomicUsize = AtomicUsize::new(0);
pub const THREADS_MAX_LIMIT: usize = 0x3fff_ffff;

/// What memory allows in threads: one eighth of it for their kernel stacks.
pub fn max_threads() -> u64 {
    const STACK_PAGES: u64 = 4;
    (ostd::mm::total_frames() as u64 / (8 * STACK_PAGES)).max(20)
}
