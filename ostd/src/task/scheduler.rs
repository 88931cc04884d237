//! The scheduler hook: ostd switches tasks, the policy decides which.

use super::{Task, fifo::FIFO, switch};
use crate::{
    arch::x86::smp,
    cpu::{self, CpuId},
};
use alloc::sync::Arc;
use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

/// Why a task is given to [`Scheduler::enqueue`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EnqueueReason {
    /// Its first time.
    New,
    /// It slept and was woken.
    Wake,
    /// It gave way of its own will.
    Yield,
    /// It had to give way.
    Preempted,
}

/// A scheduling policy. Its functions are called with interrupts off, often in interrupt handlers, and take only
/// interrupt-safe locks.
///
/// A task is in exactly one place: running, parked, or in the policy's queues (which own it: between `enqueue` and
/// `pick_next` the `Arc` is the policy's). A task in the queues is never running at the same time, on any CPU.
pub trait Scheduler: Sync + 'static {
    /// Takes a task that can run. Returns the CPU that should look at its queue at once because the task should run
    /// there soon (an idle CPU, or one whose task should be preempted); ostd notifies it.
    fn enqueue(&self, task: Arc<Task>, reason: EnqueueReason) -> Option<CpuId>;

    /// Gives the task that `cpu` (the caller) should run next; `None` if there is none, then the current task goes on
    /// if it can and else the CPU idles. `current` is the current task if it can, and why it was asked to give way.
    fn pick_next(&self, cpu: CpuId, current: Option<(&Task, EnqueueReason)>) -> Option<Arc<Task>>;

    /// `task` has run on `cpu` for `ran_ns` since it was picked or since the last call, and goes on or stops.
    fn account(&self, cpu: CpuId, task: &Task, ran_ns: u64);

    /// The tick while `task` runs on `cpu`, after `account`. Returns whether it should give way.
    fn tick(&self, cpu: CpuId, task: &Task) -> bool;

    /// How long from now until the next tick while a task runs on `cpu`.
    fn tick_ns(&self, cpu: CpuId) -> u64;
}

/// What the scheduling policy keeps for each task.
#[derive(Debug)]
pub struct SchedEntity {
    /// The weighted CPU time: free for the policy.
    pub vruntime: AtomicU64,
    /// The weight: free for the policy. 1024 at first.
    pub weight: AtomicU32,
    /// A `CpuId`: see [`last_cpu`](Self::last_cpu).
    last_cpu: AtomicU32,
    /// The CPUs that the task may run on. All at first.
    pub affinity: AtomicU64,
    /// CPU time used, in ns (written by ostd at each switch and tick).
    pub sum_exec: AtomicU64,
    /// When the part that is not in `sum_exec` yet began; 0 while the task does not run.
    pub exec_start: AtomicU64,
    /// Ticks that met the task in user mode.
    pub user_ticks: AtomicU64,
    /// Ticks that met the task in the kernel.
    pub system_ticks: AtomicU64,
    /// Voluntary context switches: it slept.
    pub voluntary_switches: AtomicU64,
    /// Involuntary context switches: it had to give way.
    pub involuntary_switches: AtomicU64,
    /// Free for the policy.
    pub policy: AtomicU64,
    /// Free for the policy.
    pub rt_time: AtomicU64,
    /// Free for the policy.
    pub rt_slice: AtomicU64,
}

impl SchedEntity {
    /// A fresh one.
    pub const fn new() -> Self {
        Self {
            vruntime: AtomicU64::new(0),
            weight: AtomicU32::new(1024),
            last_cpu: AtomicU32::new(0),
            affinity: AtomicU64::new(u64::MAX),
            sum_exec: AtomicU64::new(0),
            exec_start: AtomicU64::new(0),
            user_ticks: AtomicU64::new(0),
            system_ticks: AtomicU64::new(0),
            voluntary_switches: AtomicU64::new(0),
            involuntary_switches: AtomicU64::new(0),
            policy: AtomicU64::new(0),
            rt_time: AtomicU64::new(0),
            rt_slice: AtomicU64::new(0),
        }
    }

    /// Whether `affinity` allows `cpu`. A mask without any CPU that runs allows all.
    #[inline]
    pub fn may_run_on(&self, cpu: CpuId) -> bool {
        let mask = self.affinity.load(Ordering::Relaxed);
        mask >> cpu.as_usize() & 1 != 0 || mask & (u64::MAX >> (64 - cpu::num_cpus())) == 0
    }

    /// The CPU that the task runs on, ran on last, or was sent to by the policy.
    #[inline]
    pub fn last_cpu(&self) -> CpuId {
        // SAFETY: only `set_last_cpu` writes it.
        unsafe { CpuId::new_unchecked(self.last_cpu.load(Ordering::Relaxed)) }
    }

    /// Notes where the task will run next: for policies, and for ostd when it runs there.
    #[inline]
    pub fn set_last_cpu(&self, cpu: CpuId) {
        self.last_cpu.store(cpu.as_usize() as u32, Ordering::Relaxed);
    }
}

impl Default for SchedEntity {
    fn default() -> Self {
        Self::new()
    }
}

struct Policy(UnsafeCell<&'static dyn Scheduler>);

// SAFETY: written only while there is one CPU, with interrupts off: see `register_scheduler`.
unsafe impl Sync for Policy {}

static POLICY: Policy = Policy(UnsafeCell::new(&FIFO));

/// Installs the policy. Before [`start_aps`](crate::cpu::start_aps); until then tasks run first come, first served.
/// What was queued before is handed over.
///
/// # Panics
/// When other CPUs run.
pub fn register_scheduler(scheduler: &'static dyn Scheduler) {
    crate::irq::without(|| {
        assert!(!smp::has_started(), "the policy is chosen before the other CPUs start");
        // SAFETY: no other CPU reads it, and nothing on this one between here and the end of the store.
        unsafe { *POLICY.0.get() = scheduler };
        while let Some(task) = FIFO.pick_next(CpuId::BOOT, None) {
            switch::enqueue(task, EnqueueReason::New);
        }
    });
}

/// The policy.
#[inline]
pub(super) fn policy() -> &'static dyn Scheduler {
    // SAFETY: not written while anybody else reads: see `register_scheduler`.
    unsafe { *POLICY.0.get() }
}
