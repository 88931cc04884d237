//! CPUs: their numbers, data of which each CPU has its own, and calls to other CPUs.

mod per_cpu;

pub use per_cpu::{PerCpu, PerCpuGuard};

pub(crate) use crate::arch::x86::cpu_local::local;
use crate::arch::x86::{cpu_local, smp};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most CPUs that are used; a machine with more runs on the first ones.
pub const MAX_CPUS: usize = 64;

/// The number of a CPU: dense, 0 is the one that booted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CpuId(u32);

impl CpuId {
    /// The CPU that booted.
    pub const BOOT: CpuId = CpuId(0);

    /// The CPU with this number, if it is below [`MAX_CPUS`].
    pub const fn new(number: usize) -> Option<Self> {
        if number < MAX_CPUS { Some(Self(number as u32)) } else { None }
    }

    /// As [`new`](Self::new), without the check.
    ///
    /// # Safety
    /// `number` is below [`MAX_CPUS`].
    #[inline(always)]
    pub(crate) const unsafe fn new_unchecked(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[inline(always)]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

static NUM_CPUS: AtomicU32 = AtomicU32::new(1);

/// How many CPUs run: their numbers are below this.
#[inline]
pub fn num_cpus() -> usize {
    NUM_CPUS.load(Ordering::Relaxed) as usize
}

/// All CPUs that run.
pub fn all() -> impl Iterator<Item = CpuId> + Clone {
    (0..num_cpus() as u32).map(CpuId)
}

/// The CPU that the caller runs on. A task may be elsewhere after it sleeps.
#[inline(always)]
pub fn current() -> CpuId {
    CpuId(cpu_local::current_cpu())
}

/// A set of CPUs that can be changed by several CPUs at a time.
#[derive(Debug, Default)]
pub struct AtomicCpuSet(AtomicU64);

impl AtomicCpuSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds a CPU. Sequentially consistent.
    #[inline]
    pub fn add(&self, cpu: CpuId) {
        self.0.fetch_or(1 << cpu.0, Ordering::SeqCst);
    }

    /// Removes a CPU. Sequentially consistent.
    #[inline]
    pub fn remove(&self, cpu: CpuId) {
        self.0.fetch_and(!(1 << cpu.0), Ordering::SeqCst);
    }

    /// The set as a mask: bit n is CPU n.
    #[inline]
    pub fn load(&self) -> CpuSet {
        CpuSet(self.0.load(Ordering::SeqCst))
    }
}

/// A set of CPUs: bit n is CPU n.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuSet(pub u64);

impl CpuSet {
    /// Whether `cpu` is in the set.
    #[inline]
    pub const fn contains(self, cpu: CpuId) -> bool {
        self.0 >> cpu.0 & 1 != 0
    }

    /// The set without `cpu`.
    #[inline]
    pub const fn without(self, cpu: CpuId) -> CpuSet {
        CpuSet(self.0 & !(1 << cpu.0))
    }

    /// Whether no CPU is in the set.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// Whether `cpu` sleeps because it has nothing to run (or is about to).
#[inline]
pub fn is_idle(cpu: CpuId) -> bool {
    cpu_local::of(cpu).idle.load(Ordering::Relaxed)
}

/// Counts one more CPU that runs. CPUs start one after the other.
pub(crate) fn add_online() {
    NUM_CPUS.fetch_add(1, Ordering::Release);
}

/// Runs `f` on each CPU of `set`, in its interrupt handler, and waits until all have returned. On this CPU, if it is in
/// the set, it runs directly. Used for TLB shoot-downs among others.
///
/// `f` must be short and take no lock. The caller holds no interrupt-safe lock (a CPU that spins for it with interrupts
/// off would not answer) and is not an interrupt handler.
pub fn call_on(set: CpuSet, f: &(dyn Fn() + Sync)) {
    smp::call_on(set, f);
}

/// Starts the other CPUs; each enters its idle loop and takes work from the scheduler. Call it once, when the scheduler is
/// registered.
pub fn start_aps() {
    smp::start_aps();
}
