//! A call that waits until somebody else carries it out on its behalf.
//!
//! Who can't go on leaves what it wants in a queue, with a [`Waiter`]. Whoever changes things carries out what has become possible
//! *before* it gives the queue's lock back, so that nobody comes in between, and gives the result to the waiter:
//! calls are served in the order in which they came. A result that is there wins over a signal and the end of the time.

use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

use ostd::{
    sync::SpinLock,
    task::{self, Task},
};

use crate::{
    lock_order,
    prelude::*,
    process::{Thread, signal},
};

pub struct Waiter<T> {
    task: Arc<Task>,
    done: AtomicBool,
    result: SpinLock<Option<Result<T>>>,
}

impl<T> Waiter<T> {
    /// For the calling thread.
    pub fn new() -> Arc<Waiter<T>> {
        Arc::new(Waiter {
            task: task::current().to_arc(),
            done: AtomicBool::new(false),
            result: SpinLock::new(lock_order::WAITER, None),
        })
    }

    /// Ends the wait. Called once, by whoever took it out of its queue.
    pub fn finish(&self, result: Result<T>) {
        *self.result.lock() = Some(result);
        // Release pairs with the Acquire in `outcome`.
        self.done.store(true, Release);
        self.task.unpark();
    }

    fn outcome(&self) -> Option<Result<T>> {
        if self.done.load(Acquire) { self.result.lock().take() } else { None }
    }

    /// Sleeps until there is a result, until `deadline` (ns of the monotonic clock) at most. `leave` takes the waiter out of its
    /// queue, if it is still in it.
    ///
    /// # Errors
    /// The result's; `interrupted` for a signal; ETIMEDOUT.
    pub fn wait(
        &self,
        thread: &Thread,
        deadline: Option<u64>,
        interrupted: Errno,
        leave: impl FnOnce(),
    ) -> Result<T> {
        let mut error = None;
        while error.is_none() {
            if let Some(result) = self.outcome() {
                return result;
            }
            if signal::signal_pending(thread) {
                error = Some(interrupted);
                break;
            }
            match deadline {
                Some(deadline) if task::park_until(deadline) => error = Some(ETIMEDOUT),
                Some(_) => {}
                None => task::park(),
            }
        }
        leave();
        self.outcome().unwrap_or(Err(error.unwrap_or(interrupted)))
    }
}
