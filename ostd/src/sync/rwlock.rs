//! The sleeping reader-writer lock.
//!
//! State: the number of readers, or [`WRITER`]. While a writer waits ([`WRITER_WAITS`]), new readers wait too, so that
//! writers are not starved; when a writer leaves, everybody who waits is woken and tries again, so readers are not either.
//! Taking and releasing it uncontended is one atomic instruction each.

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

const WRITER: u32 = 1 << 31;
const WRITER_WAITS: u32 = 1 << 30;
const READERS: u32 = WRITER_WAITS - 1;

/// A reader-writer lock whose holders may sleep. Waiting for it is uninterruptible.
pub struct RwLock<T: ?Sized> {
    state: AtomicU32,
    rank: StoredRank,
    waiters: WaitQueue,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives out `&T` to many tasks at a time and `&mut T` to one.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}
// SAFETY: the lock owns its value.
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}

impl<T> RwLock<T> {
    /// Makes a free lock of the given place in the lock order.
    pub const fn new(rank: LockRank, value: T) -> Self {
        Self {
            state: AtomicU32::new(0),
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

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock for reading, sleeping while a writer holds it or waits for it.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.acquire_read(Nesting::Above)
    }

    /// Takes the lock for reading while another one of the same rank is held. The caller orders the two.
    #[inline]
    pub fn read_nested(&self) -> RwLockReadGuard<'_, T> {
        self.acquire_read(Nesting::SameRank)
    }

    /// Takes the lock for writing, sleeping until it is free.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.acquire_write(Nesting::Above)
    }

    /// Takes the lock for writing while another one of the same rank is held. The caller orders the two.
    #[inline]
    pub fn write_nested(&self) -> RwLockWriteGuard<'_, T> {
        self.acquire_write(Nesting::SameRank)
    }

    #[inline]
    fn acquire_read(&self, nesting: Nesting) -> RwLockReadGuard<'_, T> {
        rank::before_acquire(self.rank, Kind::Sleeping, nesting);
        if !self.try_add_reader() {
            self.waiters.wait_until(|| self.try_add_reader().then_some(()));
        }
        rank::acquired(self.address(), self.rank, Kind::Sleeping);
        RwLockReadGuard { lock: self, _not_send: PhantomData }
    }

    #[inline]
    fn acquire_write(&self, nesting: Nesting) -> RwLockWriteGuard<'_, T> {
        rank::before_acquire(self.rank, Kind::Sleeping, nesting);
        // Acquire pairs with the Release of the last holder.
        if self.state.compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.acquire_write_contended();
        }
        rank::acquired(self.address(), self.rank, Kind::Sleeping);
        RwLockWriteGuard { lock: self, _not_send: PhantomData }
    }

    #[cold]
    fn acquire_write_contended(&self) {
        self.waiters.wait_until(|| {
            let mut state = self.state.load(Ordering::Relaxed);
            loop {
                // The waiting bit is dropped by the writer that gets in: others that wait set it again when they look.
                let free = state & (WRITER | READERS) == 0;
                let new = if free { WRITER } else { state | WRITER_WAITS };
                // Acquire as above.
                match self.state.compare_exchange_weak(state, new, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => return free.then_some(()),
                    Err(now) => state = now,
                }
            }
        });
    }

    #[inline]
    fn try_add_reader(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & (WRITER | WRITER_WAITS) == 0 {
            // Acquire pairs with the Release of the last writer.
            match self.state.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Takes the lock for reading if no writer holds it or waits for it.
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        rank::before_acquire(self.rank, Kind::Sleeping, Nesting::Try);
        if !self.try_add_reader() {
            return None;
        }
        rank::acquired(self.address(), self.rank, Kind::Sleeping);
        Some(RwLockReadGuard { lock: self, _not_send: PhantomData })
    }

    /// Takes the lock for writing if it is free.
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        rank::before_acquire(self.rank, Kind::Sleeping, Nesting::Try);
        // Acquire pairs with the Release of the last holder.
        self.state.compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed).ok()?;
        rank::acquired(self.address(), self.rank, Kind::Sleeping);
        Some(RwLockWriteGuard { lock: self, _not_send: PhantomData })
    }

    /// The value, when the lock is known not to be shared.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn address(&self) -> *const () {
        (&raw const self.state).cast()
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_read() {
            Some(value) => f.debug_tuple("RwLock").field(&&*value).finish(),
            None => f.write_str("RwLock(<locked>)"),
        }
    }
}

/// The proof that a [`RwLock`] is held for reading; releases it on drop.
#[must_use = "the lock is released at once when the guard is not kept"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    _not_send: PhantomData<*mut ()>,
}

/// The proof that a [`RwLock`] is held for writing; releases it on drop.
#[must_use = "the lock is released at once when the guard is not kept"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    lock: &'a RwLock<T>,
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: sharing the guard shares only the value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: sharing the guard shares only the value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Lets other readers in without letting a writer in between.
    pub fn downgrade(self) -> RwLockReadGuard<'a, T> {
        let lock = self.lock;
        core::mem::forget(self);
        // Release pairs with the Acquire of the readers that come in. WRITER becomes one reader; the waiting bit stays.
        let old = lock.state.fetch_sub(WRITER - 1, Ordering::Release);
        if old & WRITER_WAITS == 0 {
            lock.waiters.wake_all();
        }
        RwLockReadGuard { lock, _not_send: PhantomData }
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: while the guard lives there are readers only.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard is the only access to the value while it lives.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only access to the value while it lives.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        rank::released(self.lock.address(), Kind::Sleeping);
        // Release pairs with the Acquire of the next writer.
        let old = self.lock.state.fetch_sub(1, Ordering::Release);
        if old & WRITER_WAITS != 0 && old & READERS == 1 {
            self.lock.waiters.wake_all();
        }
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        rank::released(self.lock.address(), Kind::Sleeping);
        // Release pairs with the Acquire of the next holder. The waiting bit goes too: the writers that wait are woken
        // and set it again if they have to.
        self.lock.state.swap(0, Ordering::Release);
        self.lock.waiters.wake_all();
    }
}
