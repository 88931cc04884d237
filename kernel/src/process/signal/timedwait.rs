//! Taking a signal without a handler: sigtimedwait(2) (rules 7.34, 7.36).

use core::sync::atomic::Ordering::Relaxed;

use ostd::sync::WaitQueue;

use super::{SigInfo, SigSet, set_blocked};
use crate::{
    prelude::*,
    process::{Thread, wait_event},
};

/// Takes the next pending signal of `wanted`, waiting for it until `deadline` (ns, monotonic).
///
/// While it waits the signals count as unblocked, so that a sender wakes this thread; whichever way the wait
/// ends, the mask is back before anybody could deliver one of them.
///
/// # Errors
/// `EAGAIN` at the deadline, `EINTR` when another signal came.
pub fn wait_for(thread: &Arc<Thread>, wanted: SigSet, deadline: Option<u64>) -> Result<SigInfo> {
    if let Some(info) = take(thread, wanted) {
        return Ok(info);
    }
    let mask = thread.signals.blocked();
    thread.signals.set_real_blocked(mask);
    set_blocked(thread, mask & !wanted);
    let nobody = WaitQueue::new();
    let result = wait_event::wait_interruptible_until(&nobody, deadline, || take(thread, wanted));
    set_blocked(thread, mask);
    thread.signals.set_real_blocked(SigSet::EMPTY);
    match result {
        Ok(Some(info)) => Ok(info),
        Ok(None) => take(thread, wanted).ok_or(EAGAIN),
        Err(_) => take(thread, wanted).ok_or(EINTR),
    }
}

/// Takes the next pending signal of `wanted`, if there is one.
pub fn take(thread: &Thread, wanted: SigSet) -> Option<SigInfo> {
    loop {
        let mut group = thread.process.signals.lock();
        let info = group.dequeue_from(thread, !wanted);
        if info.is_some() && thread.work.load(Relaxed) != 0 {
            group.recalculate(thread);
        }
        drop(group);
        if let Some(info) = info?.taken() {
            return Some(info);
        }
    }
}
