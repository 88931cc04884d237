//! Sleeping in a syscall until something happens: the only ways to block on behalf of user mode.
//!
//! A waiter registers with the queue, then tests its condition, then parks; whoever makes the condition true
//! changes the state first and wakes the queue after. So a change between the test and the park finds the
//! waiter registered, and the park token makes the park return at once (rule 4.33). A condition is always
//! tested before a pending signal is: what is already there wins over the signal (rule 4.27).

use core::sync::atomic::{
    Ordering::{Relaxed, SeqCst},
    fence,
};

use ostd::sync::{WaitGuard, WaitQueue};

use crate::{
    prelude::*,
    process::{Thread, signal},
};

/// What may end a wait early.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Breaker {
    AnySignal,
    FatalSignal,
}

impl Breaker {
    fn fires(self, thread: &Thread) -> bool {
        match self {
            Breaker::AnySignal => signal::signal_pending(thread),
            Breaker::FatalSignal => signal::fatal_signal_pending(thread),
        }
    }
}

fn wait<R>(
    queue: &WaitQueue,
    deadline: Option<u64>,
    breaker: Breaker,
    mut cond: impl FnMut() -> Option<R>,
) -> Result<Option<R>> {
    if let Some(result) = cond() {
        return Ok(Some(result));
    }
    let thread = Thread::current();
    let place = queue.enqueue();
    loop {
        if let Some(result) = cond() {
            return Ok(Some(result));
        }
        if breaker.fires(&thread) {
            place.pass_on();
            return Err(ERESTARTSYS);
        }
        match deadline {
            None => place.sleep(),
            Some(deadline) => {
                if place.sleep_until(deadline) {
                    place.pass_on();
                    return Ok(cond());
                }
            }
        }
    }
}

/// Sleeps until `cond` gives a value.
///
/// # Errors
/// `ERESTARTSYS` when a signal is pending for the calling thread and `cond` gives none.
pub fn wait_interruptible<R>(queue: &WaitQueue, cond: impl FnMut() -> Option<R>) -> Result<R> {
    match wait(queue, None, Breaker::AnySignal, cond)? {
        Some(result) => Ok(result),
        None => Err(ERESTARTSYS),
    }
}

/// What a look under a lock found.
pub enum Looked<'q, R> {
    Found(R),
    /// Nothing yet. The place in the queue that will be woken was taken before the lock was released.
    Nothing(WaitGuard<'q>),
}

/// As [`wait_interruptible`], for what changes under a lock that whoever wakes the queue has held since: one look is enough
/// before the sleep. `look` is given its place in the queue, if it has taken one.
///
/// # Errors
/// `ERESTARTSYS` when a signal is pending for the calling thread and there is nothing.
pub fn wait_registered<'q, R>(mut look: impl FnMut(Option<WaitGuard<'q>>) -> Looked<'q, R>) -> Result<R> {
    let mut place = None;
    loop {
        let taken = match look(place) {
            Looked::Found(result) => return Ok(result),
            Looked::Nothing(taken) => taken,
        };
        if signal::signal_pending(&Thread::current()) {
            taken.pass_on();
            return Err(ERESTARTSYS);
        }
        taken.sleep();
        place = Some(taken);
    }
}

/// As [`wait_interruptible`], until `deadline` (ns of the monotonic clock) at the latest; `Ok(None)` then.
pub fn wait_interruptible_until<R>(
    queue: &WaitQueue,
    deadline: Option<u64>,
    cond: impl FnMut() -> Option<R>,
) -> Result<Option<R>> {
    wait(queue, deadline, Breaker::AnySignal, cond)
}

/// Sleeps until `cond` gives a value or the thread is being killed (`ERESTARTSYS`, which user mode never sees).
pub fn wait_killable<R>(queue: &WaitQueue, cond: impl FnMut() -> Option<R>) -> Result<R> {
    let thread = Thread::current();
    thread.in_killable_sleep.store(true, Relaxed);
    let result = wait(queue, None, Breaker::FatalSignal, cond);
    thread.in_killable_sleep.store(false, Relaxed);
    // Pairs with the sender's two accesses in `Thread::wake_for_signal`: one that left the thread asleep had set its flag before, which
    // is found from here on.
    fence(SeqCst);
    result?.ok_or(ERESTARTSYS)
}
