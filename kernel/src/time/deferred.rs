//! Work that a timer interrupt asks for but must not do itself.
//!
//! Timer callbacks run in interrupt context, where the locks of the signal code can't be taken. They put a
//! job here, and a kernel task carries it out.

use alloc::collections::VecDeque;

use ostd::{
    sync::{IrqSpinLock, WaitQueue},
    task::TaskBuilder,
};

use crate::{
    lock_order,
    prelude::*,
    sched::{self, Class},
};

/// A job: called by the worker each time that it was queued. It may sleep.
pub trait Repeated: Send + Sync {
    fn run(self: Arc<Self>);
}

static QUEUE: IrqSpinLock<VecDeque<Arc<dyn Repeated>>> =
    IrqSpinLock::new(lock_order::DEFERRED, VecDeque::new());
static WORKER: WaitQueue = WaitQueue::new();

/// Queues `job` for the worker. Callable from interrupt context.
pub fn queue(job: Arc<dyn Repeated>) {
    QUEUE.lock().push_back(job);
    WORKER.wake_one();
}

/// Starts the worker.
///
/// # Errors
/// `ENOMEM`.
pub fn start() -> Result<()> {
    let worker = TaskBuilder::new(|| {
        loop {
            let job = WORKER.wait_until(|| QUEUE.lock().pop_front());
            job.run();
        }
    });
    let worker = worker.build().map_err(|_| ENOMEM)?;
    // What it does would be done in the interrupt handler if it could be: no program waits before it.
    sched::init_class(&worker, Class::Kernel);
    worker.start();
    Ok(())
}
