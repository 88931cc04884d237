//! Real-time tasks: SCHED_FIFO and SCHED_RR (sched(7)).
//!
//! *In the same queue.* Where a fair task has its virtual run time, a real-time one has `100 - priority`, which is below
//! [`FAIR_FROM`] and so before every fair task; tasks of one priority run in order of arrival. So the queue needs no second
//! structure, and the fair path is what it would be without this file, but for a look at [`WAITING`].
//!
//! *Order.* A task that wakes up goes behind its equals; one that had to give way to a higher priority goes before them; one that
//! yields, or has used up its quantum (RR), behind. A task that runs gives way to none but a higher priority.
//!
//! *Several CPUs.* The n highest priorities should run on n CPUs. A task that may not run where it is at once goes to the CPU
//! that runs the least urgent task; a CPU that looks for its next task takes a more urgent one that waits elsewhere.
//!
//! *Throttling.* In each second real-time tasks get [`RUNTIME_NS`] of a CPU on which a fair task waits, so that a loop does not
//! take the machine away from the one who could stop it. With nobody else to run they go on.
//!
//! *The kernel's own* tasks that carry out what timer interrupts ask for come before all of them.

use core::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence,
};

use ostd::{
    cpu::{self, CpuId},
    irq,
    task::{self, EnqueueReason, Scheduler, Task},
    time,
};

use super::{FAIR, Fair};
use crate::prelude::*;

/// The least virtual run time of a fair task.
pub(super) const FAIR_FROM: u64 = 128;
/// How long an RR task runs while others of its priority wait.
pub const QUANTUM_NS: u64 = 100_000_000;
/// The time in which [`RUNTIME_NS`] is counted.
pub const PERIOD_NS: u64 = 1_000_000_000;
/// What real-time tasks may use of a CPU in each period while a fair one waits; all of it if it is the whole
/// (kernel.sched_rt_runtime_us).
static RUNTIME_NS: AtomicU64 = AtomicU64::new(950_000_000);

/// What real-time tasks may use, ns of [`PERIOD_NS`].
pub fn realtime_budget_ns() -> u64 {
    RUNTIME_NS.load(Relaxed)
}

/// Sets that.
pub fn set_realtime_budget_ns(ns: u64) {
    RUNTIME_NS.store(ns.min(PERIOD_NS), Relaxed);
}

/// How many tasks wait anywhere that are not fair ones.
pub(super) static WAITING: AtomicUsize = AtomicUsize::new(0);

/// What kind of task the policy takes it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Fair.
    Ordinary,
    /// Fair, and never interrupts another task when it wakes up.
    Batch,
    /// Of this priority, 1 to 99.
    Fifo(u8),
    RoundRobin(u8),
    /// Before all others: for tasks of the kernel that do a little and sleep again.
    Kernel,
}

// What `SchedEntity::policy` holds: 0 for an ordinary task, else these.
const PRIORITY: u64 = 0xff;
const ROUND_ROBIN: u64 = 0x100;
const BATCH: u64 = 0x200;
const KERNEL_PRIORITY: u64 = 100;

impl Class {
    fn to_bits(self) -> u64 {
        match self {
            Class::Ordinary => 0,
            Class::Batch => BATCH,
            Class::Fifo(priority) => u64::from(priority.clamp(1, 99)),
            Class::RoundRobin(priority) => u64::from(priority.clamp(1, 99)) | ROUND_ROBIN,
            Class::Kernel => KERNEL_PRIORITY,
        }
    }
}

/// Whether the task is a real-time one, or the kernel's.
#[inline]
pub(super) fn is_realtime(task: &Task) -> bool {
    task.sched.policy.load(Relaxed) & PRIORITY != 0
}

/// What a real-time task is queued under.
fn key(task: &Task) -> u64 {
    KERNEL_PRIORITY.saturating_sub(task.sched.policy.load(Relaxed) & PRIORITY)
}

fn is_round_robin(task: &Task) -> bool {
    task.sched.policy.load(Relaxed) & ROUND_ROBIN != 0
}

fn quantum_is_over(task: &Task) -> bool {
    is_round_robin(task) && task.sched.rt_slice.load(Relaxed) >= QUANTUM_NS
}

/// Gives a task that has not started its class.
#[inline]
pub fn init_class(task: &Task, class: Class) {
    task.sched.policy.store(class.to_bits(), Relaxed);
}

/// Gives a task another class, wherever it is.
pub fn set_class(task: &Task, class: Class) {
    let new = class.to_bits();
    irq::without(|| {
        let old = task.sched.policy.swap(new, Relaxed);
        if old == new {
            return;
        }
        let queued = take_out(task);
        if new & PRIORITY != 0 {
            task.sched.vruntime.store(key(task), Relaxed);
        } else if old & PRIORITY != 0 {
            task.sched.rt_time.store(0, Relaxed);
            task.sched.vruntime.store(FAIR.queues.on(task.sched.last_cpu()).floor(), Relaxed);
        }
        // Its CPU looks whether it is still the one to run, and the queue whether it is the one to run now. A task that is
        // between the two puts itself in order when it is queued.
        // One that is lowered goes before its new equals, one that is raised behind them.
        let lowered = old & PRIORITY > new & PRIORITY;
        let reason = if lowered { EnqueueReason::Preempted } else { EnqueueReason::Yield };
        match queued {
            Some(task) => {
                if let Some(cpu) = FAIR.enqueue(task, reason) {
                    task::notify_cpu(cpu);
                }
            }
            None if task.is_running() => task::notify_cpu(task.sched.last_cpu()),
            None => {}
        }
    });
}

/// Takes a task out of whichever queue it waits in.
fn take_out(task: &Task) -> Option<Arc<Task>> {
    let (key, task) = cpu::all()
        .find_map(|cpu| FAIR.queues.on(cpu).take_first(|_, candidate| core::ptr::eq(candidate, task)))?;
    note_taken(key);
    Some(task)
}

/// A task was taken from a queue, where it was under `key`.
#[inline]
pub(super) fn note_taken(key: u64) {
    if key < FAIR_FROM {
        WAITING.fetch_sub(1, Relaxed);
    }
}

/// The time that real-time tasks have used of a CPU. Written by that CPU.
pub(super) struct Budget {
    period_start: AtomicU64,
    used: AtomicU64,
    throttled_until: AtomicU64,
}

impl Budget {
    pub(super) const fn new() -> Self {
        Self { period_start: AtomicU64::new(0), used: AtomicU64::new(0), throttled_until: AtomicU64::new(0) }
    }

    fn charge(&self, ran_ns: u64) {
        let now = time::now_ns();
        if now.saturating_sub(self.period_start.load(Relaxed)) >= PERIOD_NS {
            self.period_start.store(now, Relaxed);
            self.used.store(0, Relaxed);
        }
        let used = self.used.load(Relaxed) + ran_ns;
        self.used.store(used, Relaxed);
        let budget = realtime_budget_ns();
        if budget < PERIOD_NS && used >= budget {
            self.throttled_until.store(self.period_start.load(Relaxed) + PERIOD_NS, Relaxed);
        }
    }

    fn is_throttled(&self) -> bool {
        let until = self.throttled_until.load(Relaxed);
        until != 0 && time::now_ns() < until
    }
}

impl Fair {
    /// As `enqueue`, for a task that is not ordinary.
    #[cold]
    pub(super) fn enqueue_special(&self, task: Arc<Task>, reason: EnqueueReason) -> Option<CpuId> {
        if !is_realtime(&task) {
            return self.enqueue_fair(task, reason, false);
        }
        let key = key(&task);
        let target = self.choose_realtime(&task, key);
        task.sched.set_last_cpu(target);
        task.sched.vruntime.store(key, Relaxed);
        if reason == EnqueueReason::Wake {
            task.sched.rt_time.store(0, Relaxed);
        }
        let goes_before = reason == EnqueueReason::Preempted && !quantum_is_over(&task);
        if !goes_before {
            task.sched.rt_slice.store(0, Relaxed);
        }
        let queue = self.queues.on(target);
        WAITING.fetch_add(1, Relaxed);
        if goes_before {
            queue.push_front(key, task);
        } else {
            queue.push(key, task);
        }
        // As in `enqueue_fair`.
        fence(SeqCst);
        let interrupts = cpu::is_idle(target) || key < queue.running();
        let woken = matches!(reason, EnqueueReason::New | EnqueueReason::Wake);
        (interrupts || (!woken && target != cpu::current())).then_some(target)
    }

    /// The CPU where the task runs soonest: an idle one, the last one if it would run there, the one with the least urgent
    /// task.
    fn choose_realtime(&self, task: &Task, key: u64) -> CpuId {
        let last = task.sched.last_cpu();
        if cpu::num_cpus() == 1 {
            return last;
        }
        let idle = |cpu: CpuId| cpu::is_idle(cpu) && self.queues.on(cpu).waiting() == 0;
        let may_stay = task.sched.may_run_on(last);
        if may_stay && (idle(last) || (self.running_on(last) > key && self.queues.on(last).first() > key)) {
            return last;
        }
        let candidates = cpu::all().filter(|cpu| task.sched.may_run_on(*cpu));
        if let Some(cpu) = candidates.clone().find(|cpu| idle(*cpu)) {
            return cpu;
        }
        let least_urgent = candidates.max_by_key(|cpu| self.running_on(*cpu));
        match least_urgent {
            Some(cpu) if !may_stay || self.running_on(cpu) > key => cpu,
            _ => last,
        }
    }

    fn running_on(&self, cpu: CpuId) -> u64 {
        self.queues.on(cpu).running()
    }

    /// As `pick_next`, when the current task is a real-time one or one waits somewhere.
    #[cold]
    pub(super) fn pick_with_realtime(
        &self,
        cpu: CpuId,
        current: Option<(&Task, EnqueueReason)>,
    ) -> Option<Arc<Task>> {
        let queue = self.queues.on(cpu);
        let current = current.filter(|(task, _)| task.sched.may_run_on(cpu));
        let throttled = queue.realtime.is_throttled();
        if throttled {
            let fair = current.filter(|(task, _)| !is_realtime(task));
            let below = fair.map_or(u64::MAX, |(task, _)| task.sched.vruntime.load(Relaxed));
            // The kernel's own are not throttled.
            let next = queue.take_first(|key, task| {
                (key == 0 || (key >= FAIR_FROM && key < below)) && task.sched.may_run_on(cpu)
            });
            if next.is_some() {
                return self.take_over(cpu, next);
            }
            if fair.is_some() {
                return None;
            }
        }
        if WAITING.load(Relaxed) > 0
            && !throttled
            && let Some(pulled) = self.pull(cpu, current)
        {
            return self.take_over(cpu, Some(pulled));
        }
        if let Some((task, reason)) = current
            && is_realtime(task)
        {
            let (mine, first) = (key(task), queue.first());
            let rotates = reason == EnqueueReason::Yield || quantum_is_over(task);
            if mine < first || (mine == first && !rotates) {
                return None;
            }
        }
        self.pick_first(cpu)
    }

    /// Takes a real-time task that waits on another CPU and is more urgent than all there is here.
    fn pull(&self, cpu: CpuId, current: Option<(&Task, EnqueueReason)>) -> Option<(u64, Arc<Task>)> {
        let mine = current.filter(|(task, _)| is_realtime(task)).map_or(FAIR_FROM, |(task, _)| key(task));
        let least = mine.min(self.queues.on(cpu).first());
        cpu::all().filter(|other| *other != cpu && self.queues.on(*other).first() < least).find_map(|other| {
            self.queues.on(other).pop_if(|key, task| key < least && task.sched.may_run_on(cpu))
        })
    }

    fn take_over(&self, cpu: CpuId, taken: Option<(u64, Arc<Task>)>) -> Option<Arc<Task>> {
        let (key, task) = taken?;
        note_taken(key);
        task.sched.set_last_cpu(cpu);
        self.queues.on(cpu).set_running(task.sched.vruntime.load(Relaxed));
        Some(task)
    }

    /// As `account`, for a real-time task.
    #[cold]
    pub(super) fn account_realtime(&self, cpu: CpuId, task: &Task, ran_ns: u64) {
        let (entity, queue) = (&task.sched, self.queues.on(cpu));
        let key = key(task);
        entity.vruntime.store(key, Relaxed);
        queue.set_running(key);
        if key == 0 {
            return;
        }
        entity.rt_time.fetch_add(ran_ns, Relaxed);
        entity.rt_slice.fetch_add(ran_ns, Relaxed);
        queue.realtime.charge(ran_ns);
    }

    /// As `tick`, for a real-time task.
    #[cold]
    pub(super) fn tick_realtime(&self, cpu: CpuId, task: &Task) -> bool {
        let queue = self.queues.on(cpu);
        if !task.sched.may_run_on(cpu) {
            return true;
        }
        if queue.waiting() == 0 {
            return false;
        }
        let (mine, first) = (key(task), queue.first());
        if first < mine || (first == mine && quantum_is_over(task)) {
            return true;
        }
        if quantum_is_over(task) {
            // Nobody else wants the next one.
            task.sched.rt_slice.store(0, Relaxed);
        }
        mine != 0 && queue.realtime.is_throttled() && queue.has(|key| key >= FAIR_FROM)
    }
}
