//! IOCB_CMD_POLL: a request that waits for a file to be ready, without a thread.
//!
//! It hangs on the file's wait queues with a callback. That runs under the queue's lock, perhaps in an interrupt handler, so
//! it has a worker look at the file ([`deferred`]). Whoever takes the request out completes it: the worker, io_cancel(2), or
//! the end of the context.

use core::sync::atomic::{AtomicBool, Ordering::AcqRel};

use ostd::sync::{SpinLock, Wake, WakerRegistration};

use super::Request;
use crate::{
    fs::{
        file::File,
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    time::deferred::{self, Repeated},
};

pub struct PollRequest {
    this: Weak<PollRequest>,
    obj: u64,
    file: Arc<File>,
    events: PollEvents,
    hook: SpinLock<Hook>,
    /// The worker is going to look.
    queued: AtomicBool,
}

/// What goes when the request is over.
struct Hook {
    request: Option<Request>,
    places: Vec<WakerRegistration>,
}

/// Starts to wait until `file` has one of `events`.
///
/// # Errors
/// EINVAL for a file that is never ready for them.
pub fn start(request: Request, file: Arc<File>, events: PollEvents) -> Result<()> {
    let events = events | PollEvents::ALWAYS;
    let context = request.context.clone();
    let poll = Arc::new_cyclic(|this: &Weak<PollRequest>| PollRequest {
        this: this.clone(),
        obj: request.obj,
        file,
        events,
        hook: SpinLock::new(lock_order::AIO, Hook { request: Some(request), places: Vec::new() }),
        queued: AtomicBool::new(false),
    });
    context.enter_poll(poll.clone());
    let mut table = PollTable::Callback { waker: poll.clone(), interest: events, places: Vec::new() };
    let ready = poll.file.poll(&mut table) & events;
    let places = match table {
        PollTable::Callback { places, .. } => places,
        _ => Vec::new(),
    };
    if !ready.is_empty() {
        drop(places);
        poll.finish(ready.bits() as usize);
    } else if places.is_empty() {
        drop(poll.take());
        return Err(EINVAL);
    } else if let Some(late) = poll.keep(places) {
        drop(late);
    }
    // A context that ended meanwhile has not seen the request.
    if context.state.lock().dead {
        poll.finish(0);
    }
    Ok(())
}

impl PollRequest {
    pub fn obj(&self) -> u64 {
        self.obj
    }

    /// Stores the places on queues; gives them back if the request is over already.
    fn keep(&self, places: Vec<WakerRegistration>) -> Option<Vec<WakerRegistration>> {
        let mut hook = self.hook.lock();
        if hook.request.is_none() {
            return Some(places);
        }
        hook.places = places;
        None
    }

    /// Takes the request out; only the first who asks gets it.
    fn take(&self) -> Option<Request> {
        let (request, places) = {
            let mut hook = self.hook.lock();
            (hook.request.take(), core::mem::take(&mut hook.places))
        };
        drop(places);
        let request = request?;
        request.context.remove_poll(self);
        Some(request)
    }

    /// Completes the request with `events`; false if that has been done.
    pub fn finish(&self, events: usize) -> bool {
        let request = self.take();
        let first = request.is_some();
        if let Some(request) = request {
            request.complete(Ok(events));
        }
        first
    }
}

impl Wake for PollRequest {
    /// The queue holds a reference, so the one made here is never the last.
    fn wake(&self) {
        // AcqRel, here and in `run`: either the worker sees what happened before this, or it is queued again.
        if !self.queued.swap(true, AcqRel)
            && let Some(this) = self.this.upgrade()
        {
            deferred::queue(this);
        }
    }
}

impl Repeated for PollRequest {
    fn run(self: Arc<Self>) {
        self.queued.swap(false, AcqRel);
        let ready = self.file.poll(&mut PollTable::None) & self.events;
        if !ready.is_empty() {
            self.finish(ready.bits() as usize);
        }
    }
}
