//! A shared place for an `Arc` that can be replaced while others read it: credentials, the signal table, a namespace set.
//!
//! A reader must take its reference before a writer drops the last one, so both hold a one-byte spin lock for the two or
//! three instructions that this takes. Nothing is dropped with the lock held, so the lock never nests and needs no rank.

use alloc::sync::Arc;
use core::{
    cell::UnsafeCell,
    fmt, mem,
    sync::atomic::{AtomicBool, Ordering},
};

/// An atomically replaceable `Arc<T>`.
pub struct ArcCell<T: ?Sized> {
    locked: AtomicBool,
    value: UnsafeCell<Arc<T>>,
}

// SAFETY: the cell hands out and takes in `Arc<T>`, one CPU at a time.
unsafe impl<T: ?Sized + Send + Sync> Sync for ArcCell<T> {}
// SAFETY: the cell owns an `Arc<T>`.
unsafe impl<T: ?Sized + Send + Sync> Send for ArcCell<T> {}

impl<T: ?Sized> ArcCell<T> {
    /// Makes a cell that holds `value`.
    pub const fn new(value: Arc<T>) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// A counted reference to the current value.
    #[inline]
    pub fn load(&self) -> Arc<T> {
        self.locked(|value| value.clone())
    }

    /// Replaces the value; the old one is dropped unless others still hold it.
    #[inline]
    pub fn store(&self, value: Arc<T>) {
        drop(self.swap(value));
    }

    /// Replaces the value and returns the old one.
    #[inline]
    pub fn swap(&self, value: Arc<T>) -> Arc<T> {
        self.locked(move |slot| mem::replace(slot, value))
    }

    /// Reads from the current value without touching its count. `f` runs with interrupts off under the cell's spin
    /// lock: it must be a few instructions long and take no lock.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        self.locked(|value| f(value))
    }

    #[inline]
    fn locked<R>(&self, f: impl FnOnce(&mut Arc<T>) -> R) -> R {
        let irqs = crate::irq::save_and_disable();
        // Acquire pairs with the Release below.
        while self.locked.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        // SAFETY: `locked` makes this the only access to the value.
        let result = f(unsafe { &mut *self.value.get() });
        // Release: the next holder sees the value that `f` left.
        self.locked.store(false, Ordering::Release);
        crate::irq::restore(irqs);
        result
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for ArcCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ArcCell").field(&self.load()).finish()
    }
}
