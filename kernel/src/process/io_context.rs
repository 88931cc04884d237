//! What belongs to the input and output of a thread: its priority (ioprio_set(2)).
//!
//! A thread has none until it is given a priority. A new thread or process gets a copy, with CLONE_IO the same (rule 6.24).
//! Threads without, as good as all, have a flag that says so.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use ostd::sync::SpinLock;

use crate::{lock_order, prelude::*};

/// A thread's part.
pub struct IoContext {
    has: AtomicBool,
    priority: SpinLock<Option<Arc<AtomicU32>>>,
}

impl IoContext {
    fn with(priority: Option<Arc<AtomicU32>>) -> IoContext {
        let has = AtomicBool::new(priority.is_some());
        IoContext { has, priority: SpinLock::new(lock_order::PROCESS_MISC, priority) }
    }

    /// That of a thread which `creator` makes.
    pub fn inherit(creator: Option<&IoContext>) -> IoContext {
        let priority = creator.map_or(0, IoContext::priority);
        IoContext::with((priority != 0).then(|| Arc::new(AtomicU32::new(priority))))
    }

    /// CLONE_IO: `child`, which does not run yet, shares this one.
    pub fn share_with(&self, child: &IoContext) {
        if self.has.load(Relaxed) {
            let shared = self.priority.lock().clone();
            *child.priority.lock() = shared;
            child.has.store(true, Relaxed);
        }
    }

    /// As ioprio_set(2) has it; 0 before anything was set.
    pub fn priority(&self) -> u32 {
        if !self.has.load(Relaxed) {
            return 0;
        }
        self.priority.lock().as_ref().map_or(0, |priority| priority.load(Relaxed))
    }

    pub fn set_priority(&self, value: u32) {
        self.has.store(true, Relaxed);
        self.priority.lock().get_or_insert_with(Arc::default).store(value, Relaxed);
    }

    /// What is the same for all that share it and for nobody else.
    pub fn id(&self) -> Option<usize> {
        self.priority.lock().as_ref().map(|priority| Arc::as_ptr(priority) as usize)
    }
}
