//! Tasks: threads of execution of the kernel, each with its own stack; a task may also run a program in user mode.
//!
//! *Life.* [`TaskBuilder::build`] makes a task, [`Task::start`] hands it to the scheduler, [`exit`] ends it. A task that is
//! not finished owns itself: it lives on while it sleeps even if nobody else has a reference.
//!
//! *Sleeping.* [`park`] sleeps until somebody calls [`Task::unpark`], which leaves a token when the task is not asleep.
//! Everything else that sleeps (wait queues, mutexes) is built on the two.
//!
//! *Scheduling.* What runs next is decided by a [`Scheduler`], registered by the kernel. The kernel is not preempted in
//! ring 0: a task gives way when it sleeps, calls [`yield_now`], or is about to enter user mode while
//! [`need_resched`] is set.

pub mod scheduler;

pub use scheduler::{EnqueueReason, SchedEntity, Scheduler, register_scheduler};

use crate::mm::{AddrSpace, OutOfMemory};
use crate::sync::{rank::HeldLocks, wait_queue::WaitNode};
use alloc::sync::Arc;
use core::{any::Any, marker::PhantomData, ops::Deref, ptr::NonNull};

/// A thread of execution.
pub struct Task {
    /// What the scheduling policy keeps for each task.
    pub sched: SchedEntity,
    held_locks: HeldLocks,
    wait_node: WaitNode,
}

/// Makes tasks.
pub struct TaskBuilder<F> {
    _body: F,
    _data: Option<Arc<dyn Any + Send + Sync>>,
    _inherit_fpu: bool,
}

impl<F: FnOnce() + Send + 'static> TaskBuilder<F> {
    /// A task that will run `body` and end when it returns (or at [`exit`]).
    pub fn new(body: F) -> Self {
        Self { _body: body, _data: None, _inherit_fpu: false }
    }

    /// Attaches the kernel's own data, found again with [`CurrentTask::data`]. The task drops it when it ends.
    pub fn data<T: Any + Send + Sync>(self, _data: Arc<T>) -> Self {
        todo!()
    }

    /// Gives the new task a copy of the current program's FPU registers instead of fresh ones.
    pub fn inherit_fpu(self) -> Self {
        Self { _inherit_fpu: true, ..self }
    }

    /// Makes the task. It runs after [`Task::start`].
    pub fn build(self) -> Result<Arc<Task>, OutOfMemory> {
        todo!()
    }

    /// Makes the task and starts it.
    pub fn spawn(self) -> Result<Arc<Task>, OutOfMemory> {
        let task = self.build()?;
        task.start();
        Ok(task)
    }
}

impl Task {
    /// Hands the task to the scheduler for the first time. Once only: further calls do nothing.
    pub fn start(self: &Arc<Self>) {
        todo!()
    }

    /// Ends the current or the next [`park`] of the task. May be called from an interrupt handler.
    pub fn unpark(&self) {
        todo!()
    }

    /// Makes the task leave user mode if it is there at this moment on another CPU, so that it looks at its work flags.
    pub fn kick(&self) {
        todo!()
    }

    /// Whether the task is the current one of some CPU at this moment.
    pub fn is_running(&self) -> bool {
        todo!()
    }

    /// CPU time used so far in user and kernel mode, in ns, including the part that is running.
    pub fn cpu_time_ns(&self) -> u64 {
        todo!()
    }

    /// CPU time used so far as (user, system), in ns: the exact sum, split in the proportion of sampled ticks.
    pub fn cpu_times_ns(&self) -> (u64, u64) {
        todo!()
    }

    pub(crate) fn held_locks(&self) -> &HeldLocks {
        &self.held_locks
    }

    pub(crate) fn wait_node(&self) -> &WaitNode {
        &self.wait_node
    }
}

/// A reference to the task that runs the caller. Can't leave it.
pub struct CurrentTask {
    task: NonNull<Task>,
    _not_send: PhantomData<*mut ()>,
}

impl CurrentTask {
    /// A counted reference, which can be kept and given to others.
    pub fn to_arc(&self) -> Arc<Task> {
        // SAFETY: every task was made by `Arc::new`, and the current one is alive.
        unsafe {
            Arc::increment_strong_count(self.task.as_ptr());
            Arc::from_raw(self.task.as_ptr())
        }
    }

    /// The data that was attached with [`TaskBuilder::data`], if it is a `T`. Costs one compare. It is the current task's
    /// own until the task ends.
    #[inline]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<&T> {
        todo!()
    }
}

impl Deref for CurrentTask {
    type Target = Task;
    #[inline(always)]
    fn deref(&self) -> &Task {
        // SAFETY: the current task is alive.
        unsafe { self.task.as_ref() }
    }
}

/// The task that runs the caller. In an interrupt handler: the one that was interrupted.
#[inline(always)]
pub fn current() -> CurrentTask {
    try_current().expect("no task runs on this CPU yet")
}

/// As [`current`]; `None` while the CPU still boots.
#[inline(always)]
pub fn try_current() -> Option<CurrentTask> {
    let task = NonNull::new(crate::arch::x86::cpu_local::current_task().cast_mut())?;
    Some(CurrentTask { task, _not_send: PhantomData })
}

/// Sleeps until the task is unparked. Returns at once if it was since the last park. May return without cause.
pub fn park() {
    todo!()
}

/// As [`park`], until the time `deadline_ns` at most. Returns whether the time has come without an unpark.
pub fn park_until(_deadline_ns: u64) -> bool {
    todo!()
}

/// Gives way to other tasks that could run.
pub fn yield_now() {
    todo!()
}

/// Whether the current task should give way.
#[inline(always)]
pub fn need_resched() -> bool {
    crate::arch::x86::cpu_local::need_resched()
}

/// Gives way if the current task should.
#[inline]
pub fn schedule_if_needed() {
    if need_resched() {
        yield_now();
    }
}

/// Gives the current task a user address space, or none, and switches this CPU to it. The old one is released.
pub fn set_addr_space(_space: Option<Arc<AddrSpace>>) {
    todo!()
}

/// Ends the current task. Its data is dropped first, in its own context; its stack is freed by whoever runs next here.
pub fn exit() -> ! {
    todo!()
}
