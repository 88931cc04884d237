//! The sleeping mutex.
//!
//! State: 0 free, 1 held, 2 held and somebody may wait. Taking and releasing an uncontended mutex is one atomic
//! instruction each; a waiter sets 2 and sleeps on the wait queue, a release that finds 2 wakes one of them. A running task
//! may take the mutex before the one that was woken (which then waits on): sections are short and this keeps the CPU busy.

use super::{
    WaitQueue,
    rank::{self, Kind, LockRank, Nesting, StoredRank},
};
use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicU32, Ordering},
};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// A mutex whose holder may sleep. Waiting for it is uninterruptible.
pub struct Mutex<T: ?Sized> {
    state: AtomicU32,
    rank: StoredRank,
    waiters: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: the mutex gives out the value to one task at a time.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}
// SAFETY: the mutex owns its value.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}

impl<T> Mutex<T> {
    /// Makes a free mutex of the given place in the lock order.
    pub const fn new(rank: LockRank, value: T) -> Self {
        Self {
            state: AtomicU32::new(FREE),
            rank: StoredRank::new(rank),
            waiters: WaitQueue::new(),
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the mutex, sleeping until it is free.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.acquire(Nesting::Above)
    }

    /// Takes the mutex while another one of the same rank is held. The caller orders the two.
    #[inline]
    pub fn lock_nested(&self) -> MutexGuard<'_, T> {
        self.acquire(Nesting::SameRank)
    }

    #[inline]
    fn acquire(&self, nesting: Nesting) -> MutexGuard<'_, T> {
        rank::before_acquire(self.rank, Kind::Sleeping, nesting);
        // Acquire pairs with the Release in the guard's drop.
        if self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.acquire_contended();
        }
        self.guard()
    }

    #[cold]
    fn acquire_contended(&self) {
        self.waiters.wait_until(|| {
            // Acquire as above. Leaves the state contended even when nobody else waits: one needless wake-up at most.
            (self.state.swap(CONTENDED, Ordering::Acquire) == FREE).then_some(())
        });
    }

    /// Takes the mutex if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        rank::before_acquire(self.rank, Kind::Sleeping, Nesting::Try);
        // Acquire pairs with the Release in the guard's drop.
        self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(self.guard())
    }

    #[inline(always)]
    fn guard(&self) -> MutexGuard<'_, T> {
        rank::acquired(self.address(), self.rank, Kind::Sleeping);
        MutexGuard { mutex: self, _not_send: PhantomData }
    }

    /// Whether somebody holds the mutex at this moment.
    pub fn is_locked(&self) -> bool {
        self.state.load(Ordering::Relaxed) != FREE
    }

    /// The value, when the mutex is known not to be shared.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn address(&self) -> *const () {
        (&raw const self.state).cast()
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => f.debug_tuple("Mutex").field(&&*value).finish(),
            None => f.write_str("Mutex(<locked>)"),
        }
    }
}

/// The proof that a [`Mutex`] is held; releases it on drop.
#[must_use = "the mutex is released at once when the guard is not kept"]
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// The holder is a task: the guard must be dropped by the task that took it.
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: sharing the guard shares only the value.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard is the only access to the value while it lives.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only access to the value while it lives.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        rank::released(self.mutex.address(), Kind::Sleeping);
        // Release pairs with the Acquire of the next holder.
        if self.mutex.state.swap(FREE, Ordering::Release) == CONTENDED {
            self.mutex.waiters.wake_one();
        }
    }
}
