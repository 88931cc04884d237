//! What each CPU keeps for itself: free frames, heap objects, page tables and stacks.
//!
//! These lists make the common allocation and release a matter of a dozen instructions: no lock, no atomic operation,
//! and interrupts stay on. Instead, each kind of list has a flag that says it is being used. A task is not preempted in
//! ring 0, so only an interrupt handler can find the flag set, and it then takes the way around the lists.

use super::frame_alloc::FrameList;
use super::heap::Magazines;
use super::kstack::KeptStacks;
use super::table::KeptTables;
use crate::cpu;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering, compiler_fence};

/// A CPU's lists.
pub(crate) struct MmLocal {
    pub(super) frames: Guarded<FrameList>,
    pub(super) heap: Guarded<Magazines>,
    pub(super) tables: Guarded<KeptTables>,
    pub(super) stacks: Guarded<KeptStacks>,
}

impl MmLocal {
    pub(crate) const fn new() -> MmLocal {
        MmLocal {
            frames: Guarded::new(FrameList::new()),
            heap: Guarded::new(Magazines::new()),
            tables: Guarded::new(KeptTables::new()),
            stacks: Guarded::new(KeptStacks::new()),
        }
    }
}

/// A value that only its CPU uses, one piece of code at a time.
pub(super) struct Guarded<T> {
    busy: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through `with`, which is only called for this CPU's (see `here`), and through `peek`.
unsafe impl<T> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    const fn new(value: T) -> Guarded<T> {
        Guarded { busy: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Runs `f` on the value; `None` when that is in use, which only an interrupt handler (or a nested call) can see.
    ///
    /// # Safety
    /// It is this CPU's, and `f` does not sleep.
    #[inline(always)]
    unsafe fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        // Only this CPU looks at the flag, so that the order of the program's instructions is all that matters.
        if self.busy.load(Ordering::Relaxed) {
            return None;
        }
        self.busy.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        // SAFETY: the flag was clear, so nobody on this CPU has a reference, and other CPUs never do.
        let result = f(unsafe { &mut *self.value.get() });
        compiler_fence(Ordering::SeqCst);
        self.busy.store(false, Ordering::Relaxed);
        Some(result)
    }

    /// The value's address, for statistics: what is read there may be changing.
    pub(super) fn peek(&self) -> *const T {
        self.value.get()
    }
}

/// Runs `f` on one of this CPU's lists; `None` when that is in use, which only an interrupt handler (or a nested call)
/// can see. `f` does not sleep.
#[inline(always)]
pub(super) fn with<T: 'static, R>(
    list: impl FnOnce(&'static MmLocal) -> &'static Guarded<T>,
    f: impl FnOnce(&mut T) -> R,
) -> Option<R> {
    // SAFETY: the lists are this CPU's, and the task stays here until it sleeps, which `f` does not.
    unsafe { list(&cpu::local().mm).with(f) }
}

/// The lists of all CPUs that run, for statistics.
pub(super) fn running() -> impl Iterator<Item = &'static MmLocal> {
    cpu::all().map(|cpu| &crate::arch::x86::cpu_local::of(cpu).mm)
}
