//! Data of which each CPU has its own.
//!
//! The kernel is not preempted in ring 0, so a task stays on its CPU until it sleeps: holding a guard across a sleep is a
//! bug that test builds catch ([`assert_may_sleep`](crate::sync::assert_may_sleep)). An interrupt handler on the same CPU
//! may see the value between any two instructions, and `T: Sync` because nothing stronger than that test-build check keeps
//! a guard on its CPU: use atomics or an [`IrqSpinLock`](crate::sync::IrqSpinLock) that nobody else contends for.

use super::{CpuId, MAX_CPUS};
use crate::sync::rank::CHECKED;
use core::{marker::PhantomData, ops::Deref};

#[repr(align(64))]
struct Slot<T>(T);

/// One `T` per CPU.
pub struct PerCpu<T> {
    slots: [Slot<T>; MAX_CPUS],
}

impl<T: Sync> PerCpu<T> {
    /// Makes the data from a value for each CPU: `PerCpu::new([const { Cell::new(0) }; MAX_CPUS])`.
    pub const fn new(values: [T; MAX_CPUS]) -> Self {
        // SAFETY: `Slot<T>` can't be made from `T` element by element in a const function without `T: Copy`, so the
        // values are moved one by one from where they are; the source array is forgotten, so none is dropped twice.
        unsafe {
            let mut slots = core::mem::MaybeUninit::<[Slot<T>; MAX_CPUS]>::uninit();
            let source = (&raw const values).cast::<T>();
            let target = slots.as_mut_ptr().cast::<Slot<T>>();
            let mut i = 0;
            while i < MAX_CPUS {
                target.add(i).write(Slot(source.add(i).read()));
                i += 1;
            }
            core::mem::forget(values);
            Self { slots: slots.assume_init() }
        }
    }

    /// This CPU's value. The task must not sleep while it holds the guard.
    #[inline(always)]
    pub fn get(&self) -> PerCpuGuard<'_, T> {
        if CHECKED {
            let local = super::local();
            local.set_pin_depth(local.pin_depth() + 1);
        }
        // SAFETY: the number of a CPU is below `MAX_CPUS`.
        let slot = unsafe { self.slots.get_unchecked(super::current().as_usize()) };
        PerCpuGuard { value: &slot.0, _not_send: PhantomData }
    }

    /// The value of any CPU.
    #[inline]
    pub fn on(&self, cpu: CpuId) -> &T {
        // SAFETY: as in `get`: there is no `CpuId` that is not below `MAX_CPUS`.
        unsafe { &self.slots.get_unchecked(cpu.as_usize()).0 }
    }
}

/// Access to this CPU's value of a [`PerCpu`].
pub struct PerCpuGuard<'a, T> {
    value: &'a T,
    _not_send: PhantomData<*mut ()>,
}

impl<T> Deref for PerCpuGuard<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> Drop for PerCpuGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if CHECKED {
            let local = super::local();
            local.set_pin_depth(local.pin_depth() - 1);
        }
    }
}
