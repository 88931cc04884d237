//! Spin locks.
//!
//! [`SpinLock<T>`] may be held with interrupts on, so no interrupt handler may take it. [`IrqSpinLock<T>`] disables
//! interrupts for as long as it is held and is the one to share with handlers. The kernel is not preempted while it runs
//! in ring 0, so neither has to count preemption; test builds record what is held (see [`rank`](super::rank)).
//!
//! The lock is one byte, taken by an exchange and waited for by plain reads (test and test-and-set): critical sections
//! are a few dozen instructions long and contended by few CPUs, where the simplest lock is the fastest.

use super::rank::{self, Kind, LockRank, Nesting, StoredRank};
use core::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicBool, Ordering},
};

/// What a lock does to interrupts while it is held.
pub trait Guardian: 'static {
    /// What has to be remembered to undo it.
    type State: Copy;
    #[doc(hidden)]
    const IRQ_SAFE: bool;
    #[doc(hidden)]
    fn enter() -> Self::State;
    #[doc(hidden)]
    fn leave(state: Self::State);
}

/// Leaves interrupts as they are. Not for locks that an interrupt handler takes.
pub enum Plain {}

/// Disables interrupts while the lock is held.
pub enum IrqSafe {}

/// For locks that are only ever taken with interrupts off already, as those of a scheduling policy: saves looking. Test
/// builds assert it.
pub enum IrqsOff {}

impl Guardian for IrqsOff {
    type State = ();
    const IRQ_SAFE: bool = true;
    #[inline(always)]
    fn enter() {
        if rank::CHECKED {
            assert!(!crate::irq::enabled(), "a lock for interrupts off was taken with interrupts on");
        }
    }
    #[inline(always)]
    fn leave((): ()) {}
}

impl Guardian for Plain {
    type State = ();
    const IRQ_SAFE: bool = false;
    #[inline(always)]
    fn enter() {}
    #[inline(always)]
    fn leave((): ()) {}
}

impl Guardian for IrqSafe {
    type State = bool;
    const IRQ_SAFE: bool = true;
    #[inline(always)]
    fn enter() -> bool {
        crate::irq::save_and_disable()
    }
    #[inline(always)]
    fn leave(were_on: bool) {
        crate::irq::restore(were_on);
    }
}

/// A spin lock around a value.
pub struct SpinLock<T: ?Sized, G: Guardian = Plain> {
    locked: AtomicBool,
    rank: StoredRank,
    _guardian: PhantomData<fn() -> G>,
    value: UnsafeCell<T>,
}

/// A spin lock that disables interrupts while it is held.
pub type IrqSpinLock<T> = SpinLock<T, IrqSafe>;

// SAFETY: the lock gives out the value to one CPU at a time, so that sending the value is all that has to be allowed.
unsafe impl<T: ?Sized + Send, G: Guardian> Sync for SpinLock<T, G> {}
// SAFETY: the lock owns its value.
unsafe impl<T: ?Sized + Send, G: Guardian> Send for SpinLock<T, G> {}

impl<T, G: Guardian> SpinLock<T, G> {
    /// Makes an unlocked lock of the given place in the lock order.
    pub const fn new(rank: LockRank, value: T) -> Self {
        Self {
            locked: AtomicBool::new(false),
            rank: StoredRank::new(rank),
            _guardian: PhantomData,
            value: UnsafeCell::new(value),
        }
    }

    /// Takes the value out of the lock.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized, G: Guardian> SpinLock<T, G> {
    const KIND: Kind = if G::IRQ_SAFE { Kind::IrqSpin } else { Kind::Spin };

    /// Takes the lock, spinning until it is free.
    #[inline]
    pub fn lock(&self) -> SpinLockGuard<'_, T, G> {
        self.acquire(Nesting::Above)
    }

    /// Takes the lock while another one of the same rank is held. The caller orders the two, by address or by a rule
    /// of its own that it documents.
    #[inline]
    pub fn lock_nested(&self) -> SpinLockGuard<'_, T, G> {
        self.acquire(Nesting::SameRank)
    }

    #[inline]
    fn acquire(&self, nesting: Nesting) -> SpinLockGuard<'_, T, G> {
        rank::before_acquire(self.rank, Self::KIND, nesting);
        let state = G::enter();
        // Acquire pairs with the Release in the guard's drop.
        if self.locked.swap(true, Ordering::Acquire) {
            self.acquire_contended();
        }
        rank::acquired(self.address(), self.rank, Self::KIND);
        SpinLockGuard { lock: self, state, _not_send: PhantomData }
    }

    #[cold]
    fn acquire_contended(&self) {
        loop {
            while self.locked.load(Ordering::Relaxed) {
                core::hint::spin_loop();
            }
            // Acquire: as in `acquire`.
            if !self.locked.swap(true, Ordering::Acquire) {
                return;
            }
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinLockGuard<'_, T, G>> {
        rank::before_acquire(self.rank, Self::KIND, Nesting::Try);
        let state = G::enter();
        // Acquire pairs with the Release in the guard's drop.
        if self.locked.load(Ordering::Relaxed) || self.locked.swap(true, Ordering::Acquire) {
            G::leave(state);
            return None;
        }
        rank::acquired(self.address(), self.rank, Self::KIND);
        Some(SpinLockGuard { lock: self, state, _not_send: PhantomData })
    }

    /// Whether somebody holds the lock at this moment.
    pub fn is_locked(&self) -> bool {
        self.locked.load(Ordering::Relaxed)
    }

    /// The value, when the lock is known not to be shared.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Opens the lock whoever holds it.
    ///
    /// # Safety
    /// Only for a panic, when the holder will never run again.
    #[allow(dead_code)]
    pub(crate) unsafe fn force_unlock(&self) {
        self.locked.store(false, Ordering::Release);
    }

    fn address(&self) -> *const () {
        (&raw const self.locked).cast()
    }
}

impl<T: fmt::Debug, G: Guardian> fmt::Debug for SpinLock<T, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.try_lock() {
            Some(value) => f.debug_tuple("SpinLock").field(&&*value).finish(),
            None => f.write_str("SpinLock(<locked>)"),
        }
    }
}

/// The proof that a [`SpinLock`] is held; releases it on drop.
#[must_use = "the lock is released at once when the guard is not kept"]
pub struct SpinLockGuard<'a, T: ?Sized, G: Guardian = Plain> {
    lock: &'a SpinLock<T, G>,
    state: G::State,
    /// The holder is a CPU: the guard must be dropped on the CPU that took it.
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: sharing the guard shares only the value.
unsafe impl<T: ?Sized + Sync, G: Guardian> Sync for SpinLockGuard<'_, T, G> {}

impl<'a, T: ?Sized, G: Guardian> SpinLockGuard<'a, T, G> {
    /// The lock that this guard holds.
    pub fn lock_ref(&self) -> &'a SpinLock<T, G> {
        self.lock
    }

    #[inline(always)]
    fn release(&mut self) {
        rank::released(self.lock.address(), SpinLock::<T, G>::KIND);
        // Release pairs with the Acquire of the next holder.
        self.lock.locked.store(false, Ordering::Release);
    }
}

impl<'a, T: ?Sized> SpinLockGuard<'a, T, IrqSafe> {
    /// Makes the guard's end turn interrupts on if `were_on`, whatever they were when the lock was taken: for a caller that
    /// turned them off itself just before.
    pub(crate) fn with_irqs_restored_to(mut self, were_on: bool) -> Self {
        self.state = were_on;
        self
    }
}

impl<T: ?Sized, G: Guardian> Deref for SpinLockGuard<'_, T, G> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the guard is the only access to the value while it lives.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized, G: Guardian> DerefMut for SpinLockGuard<'_, T, G> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard is the only access to the value while it lives.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized, G: Guardian> Drop for SpinLockGuard<'_, T, G> {
    #[inline]
    fn drop(&mut self) {
        self.release();
        G::leave(self.state);
    }
}
