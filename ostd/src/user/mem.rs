//! Access to user memory of the active address space: copies that may fail, never references.
//!
//! Each function checks that the range lies below [`USER_END`](crate::mm::USER_END), opens the SMAP window only
//! for the instructions that touch user memory, and recovers from a fault through the exception table: the fault
//! is offered to the page-fault handler first (which may sleep to bring the page in), and becomes [`UserFault`]
//! when that refuses. No lock that the fault handler takes, and no spin lock, may be held.

use crate::mm::Vaddr;

/// The user range can not be accessed: EFAULT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserFault;

/// A fault on a user address, taken by a copy in here.
#[derive(Clone, Copy, Debug)]
pub struct PageFault {
    /// The address that was accessed.
    pub addr: Vaddr,
    /// The access was a write.
    pub write: bool,
    /// The access was an instruction fetch.
    pub exec: bool,
    /// The fault came from user mode (false for copies by the kernel).
    pub user_mode: bool,
}

/// Types that may be read from and written to user memory as they are.
///
/// # Safety
/// Any bit pattern must be a valid value, and the type has no padding (which would leak kernel memory).
pub unsafe trait Pod: Copy + 'static {}

macro_rules! impl_pod {
    ($($ty:ty),*) => { $(
        // SAFETY: integers take every bit pattern and have no padding.
        unsafe impl Pod for $ty {}
    )* };
}
impl_pod!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
// SAFETY: an array has no padding beyond its elements'.
unsafe impl<T: Pod, const N: usize> Pod for [T; N] {}

/// Declares `#[repr(C)]` structs that are [`Pod`]: all fields must be, and there must be no padding (checked at
/// compile time).
#[macro_export]
macro_rules! pod_struct {
    ($( $(#[$meta:meta])* $vis:vis struct $name:ident { $( $(#[$fmeta:meta])* $fvis:vis $field:ident : $ty:ty ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy)]
        #[repr(C)]
        $vis struct $name { $( $(#[$fmeta])* $fvis $field: $ty ),* }
        const _: () = {
            const fn assert_pod<T: $crate::user::mem::Pod>() {}
            $( assert_pod::<$ty>(); )*
            assert!(core::mem::size_of::<$name>() == 0 $( + core::mem::size_of::<$ty>() )*, "padding in a Pod struct");
        };
        // SAFETY: all fields are Pod and the sizes add up, so there is no padding; both are checked above.
        #[allow(unsafe_code)]
        unsafe impl $crate::user::mem::Pod for $name {}
    )* };
}

/// Sets the function that resolves faults on user addresses by the copies in here. It runs with interrupts
/// enabled and may sleep; `Err` makes the copy fail.
pub fn set_page_fault_handler(_handler: fn(&PageFault) -> Result<(), ()>) {
    todo!()
}

/// Copies `dst.len()` bytes from user address `src`: all of them or an error (then `dst` is unspecified).
pub fn copy_from_user(_dst: &mut [u8], _src: Vaddr) -> Result<(), UserFault> {
    todo!()
}

/// Copies `src` to user address `dst`: all of it or an error (then a part may have been written).
pub fn copy_to_user(_dst: Vaddr, _src: &[u8]) -> Result<(), UserFault> {
    todo!()
}

/// As [`copy_from_user`], but returns how many bytes were copied before a fault.
pub fn copy_from_user_partial(_dst: &mut [u8], _src: Vaddr) -> usize {
    todo!()
}

/// As [`copy_to_user`], but returns how many bytes were copied before a fault.
pub fn copy_to_user_partial(_dst: Vaddr, _src: &[u8]) -> usize {
    todo!()
}

/// Reads a value; any alignment.
pub fn read<T: Pod>(_addr: Vaddr) -> Result<T, UserFault> {
    todo!()
}

/// Writes a value; any alignment.
pub fn write<T: Pod>(_addr: Vaddr, _value: &T) -> Result<(), UserFault> {
    todo!()
}

/// Copies a NUL-terminated string of at most `buf.len()` bytes (NUL included) into `buf`. Returns its length
/// without the NUL, or `Ok(None)` when there is no NUL in the first `buf.len()` bytes (all copied).
pub fn strncpy_from_user(_buf: &mut [u8], _src: Vaddr) -> Result<Option<usize>, UserFault> {
    todo!()
}

/// Clears `len` bytes at `addr`.
pub fn clear_user(_addr: Vaddr, _len: usize) -> Result<(), UserFault> {
    todo!()
}

/// Loads a naturally aligned u32 atomically. `Err` when it faults or is unaligned.
pub fn atomic_load_u32(_addr: Vaddr) -> Result<u32, UserFault> {
    todo!()
}

/// Compare-and-exchange on a naturally aligned u32: returns the value found (the exchange took place when it is `old`).
pub fn atomic_cmpxchg_u32(_addr: Vaddr, _old: u32, _new: u32) -> Result<u32, UserFault> {
    todo!()
}

/// Replaces a naturally aligned u32 by `f` of it, atomically; returns the old value. Loops until no one interferes.
pub fn atomic_rmw_u32(addr: Vaddr, f: impl Fn(u32) -> u32) -> Result<u32, UserFault> {
    let mut old = atomic_load_u32(addr)?;
    loop {
        let found = atomic_cmpxchg_u32(addr, old, f(old))?;
        if found == old {
            return Ok(old);
        }
        old = found;
    }
}
