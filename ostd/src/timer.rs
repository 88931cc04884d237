//! One-shot timers with a callback.

use alloc::{boxed::Box, sync::Arc};

/// A timer: calls back once each time that it is armed.
pub struct Timer {
    callback: Box<dyn Fn() + Send + Sync>,
}

impl Timer {
    /// Makes a timer, not armed. The callback runs in an interrupt handler, on the CPU that armed the timer: it must be
    /// short, not sleep and take only interrupt-safe locks. It may arm the timer again.
    pub fn new(callback: impl Fn() + Send + Sync + 'static) -> Arc<Timer> {
        Arc::new(Timer { callback: Box::new(callback) })
    }

    /// Lets the callback run at the time `deadline_ns` (see [`now_ns`](crate::time::now_ns)) or as soon as possible after
    /// it. A timer that is armed already is moved.
    pub fn arm(self: &Arc<Self>, _deadline_ns: u64) {
        let _ = &self.callback;
        todo!()
    }

    /// Takes the deadline back. Returns whether the timer was armed; if not, the callback has run or runs at this moment
    /// on another CPU.
    pub fn cancel(&self) -> bool {
        todo!()
    }

    /// Whether the timer is armed.
    pub fn is_armed(&self) -> bool {
        todo!()
    }
}
