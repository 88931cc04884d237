//! The scheduling policy: fair, preemptive, over all CPUs.
//!
//! ostd switches tasks; this module decides which runs next, where a task that wakes up goes, and when the running one has
//! to give way.
//!
//! *Fairness.* Each task has a virtual run time: the CPU time it used, divided by its weight (nice 0 is 1024, one step of
//! nice is a factor of about 1.25). Of the tasks in a CPU's queue the one with the least runs next. [`CpuQueue::floor`] is
//! the least virtual run time on that CPU, and only grows; a task that comes back from sleep starts no more than
//! [`SLEEPER_CREDIT`] below it, so that it runs soon but can't claim the time it slept.
//!
//! *Data structures.* Per CPU: a binary heap of the waiting tasks by virtual run time (ties in order of arrival), and
//! atomics that others read without the lock: how many wait, the floor, what the running task has used. Virtual run times
//! of different CPUs are not comparable, so a task that changes CPUs keeps its distance to the floor.
//!
//! *Several CPUs.* A task that wakes up goes to an idle CPU it may run on, first to the one it ran on last, and otherwise
//! stays where it was. A CPU that runs out of tasks takes one from the CPU where most wait; the tick of a CPU where tasks
//! wait wakes an idle one.
//!
//! *Preemption.* A woken task interrupts the running one if it is behind by more than [`WAKE_GRANULARITY`]; the tick, when
//! a waiting one is behind at all. Both only mark the CPU: the task gives way before it enters user mode again.
//!
//! *Real-time tasks* come before all this: see [`realtime`].
//!
//! *Locks.* One interrupt-safe lock per queue (`RUN_QUEUE`); never two at a time. Enqueueing runs in wake-ups, in interrupt
//! handlers among others.

mod queue;
mod realtime;
#[cfg(feature = "ktest")]
mod tests;

use core::sync::atomic::{
    Ordering::{Relaxed, SeqCst},
    fence,
};

use ostd::{
    cpu::{self, CpuId, MAX_CPUS, PerCpu},
    task::{self, EnqueueReason, Scheduler, Task},
};

use crate::{prelude::*, time::cpu_time};
use queue::CpuQueue;
pub use realtime::{
    Class, PERIOD_NS, QUANTUM_NS, init_class, realtime_budget_ns, set_class, set_realtime_budget_ns,
};
use realtime::{FAIR_FROM, is_realtime};

/// How far below the floor a task that slept may start, in ns of virtual run time.
const SLEEPER_CREDIT: u64 = 3_000_000;
/// By how much a woken task must be behind the running one to interrupt it.
const WAKE_GRANULARITY: u64 = 1_000_000;
/// The time between ticks: how long a task runs at least while others of its weight wait.
const TICK_NS: u64 = 4_000_000;
/// The weight of nice 0.
const WEIGHT_NORMAL: u32 = 1024;

struct Fair {
    queues: PerCpu<CpuQueue>,
}

static FAIR: Fair = Fair { queues: PerCpu::new([const { CpuQueue::new() }; MAX_CPUS]) };

/// Makes this the policy. Before the other CPUs start.
pub fn init() {
    task::register_scheduler(&FAIR);
}

/// Makes room in the queues for as many tasks as there can be: `tasks` on each CPU that runs. After the other CPUs started.
///
/// # Errors
/// `ENOMEM`.
pub fn reserve(tasks: usize) -> Result<()> {
    cpu::all().try_for_each(|cpu| FAIR.queues.on(cpu).reserve(tasks))
}

/// How many tasks wait for a CPU or run.
pub fn runnable() -> usize {
    cpu::all().map(|cpu| FAIR.queues.on(cpu).waiting() + usize::from(!cpu::is_idle(cpu))).sum()
}

impl Fair {
    /// The CPU for a task that could run: see the head of the module.
    #[inline]
    fn choose(&self, task: &Task) -> CpuId {
        let last = task.sched.last_cpu();
        if cpu::num_cpus() == 1 || (cpu::is_idle(last) && task.sched.may_run_on(last)) {
            return last;
        }
        self.choose_other(task, last)
    }

    fn choose_other(&self, task: &Task, last: CpuId) -> CpuId {
        let candidates = cpu::all().filter(|cpu| task.sched.may_run_on(*cpu));
        if let Some(idle) =
            candidates.clone().find(|cpu| cpu::is_idle(*cpu) && self.queues.on(*cpu).waiting() == 0)
        {
            return idle;
        }
        let busy = |cpu: CpuId| self.queues.on(cpu).running() < FAIR_FROM;
        if task.sched.may_run_on(last) && !busy(last) {
            return last;
        }
        // The shortest queue of those it may use, but not behind a real-time task.
        candidates.min_by_key(|cpu| (busy(*cpu), self.queues.on(*cpu).waiting())).unwrap_or(last)
    }

    /// Gives the task its virtual run time for the queue of `target`.
    #[inline]
    fn place(&self, task: &Task, target: CpuId, reason: EnqueueReason) {
        let entity = &task.sched;
        let floor = self.queues.on(target).floor();
        let last = entity.last_cpu();
        let mut vruntime = entity.vruntime.load(Relaxed);
        if last != target {
            let old_floor = self.queues.on(last).floor();
            vruntime = floor.saturating_add(vruntime).saturating_sub(old_floor);
            // Until it runs, this is the CPU whose floor its time refers to.
            entity.set_last_cpu(target);
        }
        vruntime = match reason {
            // It owes nothing and has no credit: it runs when the others had a turn.
            EnqueueReason::New => floor,
            // Nobody is further behind who has waited; one who was a real-time task until now may seem to be.
            EnqueueReason::Wake | EnqueueReason::Yield | EnqueueReason::Preempted => {
                vruntime.max(floor.saturating_sub(SLEEPER_CREDIT))
            }
        };
        entity.vruntime.store(vruntime, Relaxed);
    }

    /// Takes a task from the CPU where most wait.
    #[cold]
    fn steal(&self, thief: CpuId) -> Option<(u64, Arc<Task>)> {
        let victim = cpu::all()
            .filter(|cpu| *cpu != thief && self.queues.on(*cpu).waiting() > 0)
            .max_by_key(|cpu| self.queues.on(*cpu).waiting())?;
        let (key, task) = self.queues.on(victim).pop_if(|_, task| task.sched.may_run_on(thief))?;
        if is_realtime(&task) {
            task.sched.set_last_cpu(thief);
        } else {
            self.place(&task, thief, EnqueueReason::Preempted);
        }
        Some((key, task))
    }

    /// Finds another CPU for a task that may no longer run on this one.
    #[cold]
    fn send_away(&self, task: Arc<Task>) {
        if let Some(cpu) = self.enqueue(task, EnqueueReason::Preempted) {
            task::notify_cpu(cpu);
        }
    }
}

impl Fair {
    /// `interrupts`: whether a task that wakes up may interrupt the one that runs.
    #[inline]
    fn enqueue_fair(&self, task: Arc<Task>, reason: EnqueueReason, interrupts: bool) -> Option<CpuId> {
        let woken = matches!(reason, EnqueueReason::New | EnqueueReason::Wake);
        let target = if woken || !task.sched.may_run_on(task.sched.last_cpu()) {
            self.choose(&task)
        } else {
            task.sched.last_cpu()
        };
        self.place(&task, target, reason);
        let vruntime = task.sched.vruntime.load(Relaxed);
        let queue = self.queues.on(target);
        queue.push(vruntime, task);
        // A CPU that goes idle says so and looks at its queue then; we put something there and look whether it is idle
        // then. With a fence in both places (an exchange there), one of the two sees the other.
        fence(SeqCst);
        let interrupts = cpu::is_idle(target)
            || (reason == EnqueueReason::Wake
                && interrupts
                && vruntime.saturating_add(WAKE_GRANULARITY) < queue.running());
        (interrupts || (!woken && target != cpu::current())).then_some(target)
    }

    /// The first task of this CPU, or else one of another.
    #[inline]
    fn pick_first(&self, cpu: CpuId) -> Option<Arc<Task>> {
        let queue = self.queues.on(cpu);
        loop {
            let (key, task) = match queue.pop() {
                Some(entry) => entry,
                None if cpu::num_cpus() > 1 => self.steal(cpu)?,
                None => return None,
            };
            realtime::note_taken(key);
            if task.sched.may_run_on(cpu) {
                queue.set_running(task.sched.vruntime.load(Relaxed));
                return Some(task);
            }
            self.send_away(task);
        }
    }
}

impl Scheduler for Fair {
    #[inline]
    fn enqueue(&self, task: Arc<Task>, reason: EnqueueReason) -> Option<CpuId> {
        if task.sched.policy.load(Relaxed) != 0 {
            return self.enqueue_special(task, reason);
        }
        self.enqueue_fair(task, reason, true)
    }

    fn pick_next(&self, cpu: CpuId, current: Option<(&Task, EnqueueReason)>) -> Option<Arc<Task>> {
        if realtime::WAITING.load(Relaxed) != 0 || current.is_some_and(|(task, _)| is_realtime(task)) {
            return self.pick_with_realtime(cpu, current);
        }
        self.pick_first(cpu)
    }

    fn account(&self, cpu: CpuId, task: &Task, ran_ns: u64) {
        let entity = &task.sched;
        if is_realtime(task) {
            return self.account_realtime(cpu, task, ran_ns);
        }
        let weight = entity.weight.load(Relaxed);
        let charge = if weight == WEIGHT_NORMAL {
            ran_ns
        } else {
            ran_ns.saturating_mul(u64::from(WEIGHT_NORMAL)) / u64::from(weight.max(1))
        };
        let vruntime = entity.vruntime.load(Relaxed) + charge;
        entity.vruntime.store(vruntime, Relaxed);
        self.queues.on(cpu).set_running(vruntime);
    }

    fn tick(&self, cpu: CpuId, task: &Task) -> bool {
        cpu_time::tick();
        if is_realtime(task) {
            return self.tick_realtime(cpu, task);
        }
        let queue = self.queues.on(cpu);
        if queue.waiting() == 0 {
            return !task.sched.may_run_on(cpu);
        }
        if let Some(idle) = cpu::all().find(|other| cpu::is_idle(*other)) {
            // It steals when it looks.
            task::notify_cpu(idle);
        }
        !task.sched.may_run_on(cpu) || queue.first() < task.sched.vruntime.load(Relaxed)
    }

    fn tick_ns(&self, _cpu: CpuId) -> u64 {
        TICK_NS
    }
}
