//! Access to user memory of the active address space: copies that may fail, never references.
//!
//! Each function checks that the range lies below [`USER_END`](crate::mm::USER_END), opens the SMAP window only
//! for the instructions that touch user memory, and recovers from a fault through the exception table: the fault
//! is offered to the page-fault handler first (which may sleep to bring the page in), and becomes [`UserFault`]
//! when that refuses. No lock that the fault handler takes, and no spin lock, may be held.

use crate::arch::x86::{ex_table, mem as arch};
use crate::mm::{USER_END, Vaddr};
use core::mem::MaybeUninit;
use spin::Once;

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
impl_pod!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, isize);
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

type FaultHandler = fn(&PageFault) -> Result<(), ()>;

static FAULT_HANDLER: Once<FaultHandler> = Once::new();

/// Sets the function that resolves faults on user addresses by the copies in here. It runs with interrupts
/// enabled and may sleep; `Err` makes the copy fail. Only the first call has an effect.
pub fn set_page_fault_handler(handler: FaultHandler) {
    FAULT_HANDLER.call_once(|| handler);
}

/// Bits of the error code that the processor passes with a page fault.
const ERROR_WRITE: u64 = 1 << 1;
const ERROR_USER: u64 = 1 << 2;
const ERROR_FETCH: u64 = 1 << 4;

/// Handles a page fault in ring 0 that a copy in here (or another instruction of the exception table) caused.
/// Returns where to go on: at the same instruction when the page is there by now, else at its fixup. `None`: the
/// fault is a bug of the kernel.
///
/// Called by the trap handler, with interrupts as they were when the fault came, on the task's stack.
pub(crate) fn handle_fault(addr: Vaddr, error_code: u64, ip: usize) -> Option<usize> {
    let fixup = ex_table::fixup(ip)?;
    if addr >= USER_END || !crate::irq::enabled() {
        return Some(fixup);
    }
    let fault = PageFault {
        addr,
        write: error_code & ERROR_WRITE != 0,
        exec: error_code & ERROR_FETCH != 0,
        user_mode: error_code & ERROR_USER != 0,
    };
    match FAULT_HANDLER.get().map(|handler| handler(&fault)) {
        Some(Ok(())) => Some(ip),
        _ => Some(fixup),
    }
}

/// Whether `addr..addr + len` is in the user half. (That it is mapped is found out by trying.)
#[inline(always)]
fn check(addr: Vaddr, len: usize) -> Result<(), UserFault> {
    // `USER_END` is far from the top: with `len` below it the sum can not wrap.
    if len <= USER_END && addr <= USER_END - len { Ok(()) } else { Err(UserFault) }
}

/// Copies `dst.len()` bytes from user address `src`: all of them or an error (then `dst` is unspecified).
#[inline]
pub fn copy_from_user(dst: &mut [u8], src: Vaddr) -> Result<(), UserFault> {
    if copy_from_user_partial(dst, src) == dst.len() { Ok(()) } else { Err(UserFault) }
}

/// Copies `src` to user address `dst`: all of it or an error (then a part may have been written).
#[inline]
pub fn copy_to_user(dst: Vaddr, src: &[u8]) -> Result<(), UserFault> {
    if copy_to_user_partial(dst, src) == src.len() { Ok(()) } else { Err(UserFault) }
}

/// As [`copy_from_user`], but returns how many bytes were copied before a fault.
#[inline]
pub fn copy_from_user_partial(dst: &mut [u8], src: Vaddr) -> usize {
    if check(src, dst.len()).is_err() {
        return 0;
    }
    // SAFETY: `dst` is the caller's; the source is in the user half.
    dst.len() - unsafe { arch::copy_user(dst.as_mut_ptr(), src as *const u8, dst.len()) }
}

/// As [`copy_to_user`], but returns how many bytes were copied before a fault.
#[inline]
pub fn copy_to_user_partial(dst: Vaddr, src: &[u8]) -> usize {
    if check(dst, src.len()).is_err() {
        return 0;
    }
    // SAFETY: `src` is the caller's; the target is in the user half.
    src.len() - unsafe { arch::copy_user(dst as *mut u8, src.as_ptr(), src.len()) }
}

/// Reads a value; any alignment.
#[inline]
pub fn read<T: Pod>(addr: Vaddr) -> Result<T, UserFault> {
    check(addr, size_of::<T>())?;
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the target is `value`; the source is in the user half. When nothing is left all bytes are written, and
    // any bytes make a `T`.
    unsafe {
        match size_of::<T>() {
            4 => value.as_mut_ptr().cast::<u32>().write_unaligned(arch::load_user_u32(addr)?),
            8 => value.as_mut_ptr().cast::<u64>().write_unaligned(arch::load_user_u64(addr)?),
            size => {
                if arch::copy_user(value.as_mut_ptr().cast(), addr as *const u8, size) != 0 {
                    return Err(UserFault);
                }
            }
        }
        Ok(value.assume_init())
    }
}

/// As [`read`], straight to where the value is to be: for a large one, which would be moved otherwise.
#[inline]
pub fn read_to<T: Pod>(addr: Vaddr, place: &mut MaybeUninit<T>) -> Result<&mut T, UserFault> {
    check(addr, size_of::<T>())?;
    // SAFETY: as in `read`.
    unsafe {
        if arch::copy_user(place.as_mut_ptr().cast(), addr as *const u8, size_of::<T>()) != 0 {
            return Err(UserFault);
        }
        Ok(place.assume_init_mut())
    }
}

/// Writes a value; any alignment.
#[inline]
pub fn write<T: Pod>(addr: Vaddr, value: &T) -> Result<(), UserFault> {
    check(addr, size_of::<T>())?;
    let source = core::ptr::from_ref(value);
    // SAFETY: the source is `value`, which has no padding; the target is in the user half.
    unsafe {
        match size_of::<T>() {
            4 => arch::store_user_u32(addr, source.cast::<u32>().read_unaligned()),
            8 => arch::store_user_u64(addr, source.cast::<u64>().read_unaligned()),
            size => {
                if arch::copy_user(addr as *mut u8, source.cast(), size) != 0 {
                    return Err(UserFault);
                }
                Ok(())
            }
        }
    }
}

/// Copies a NUL-terminated string of at most `buf.len()` bytes (NUL included) into `buf`. Returns its length
/// without the NUL, or `Ok(None)` when there is no NUL in the first `buf.len()` bytes (all copied).
pub fn strncpy_from_user(buf: &mut [u8], src: Vaddr) -> Result<Option<usize>, UserFault> {
    if src >= USER_END {
        return Err(UserFault);
    }
    // A string may end right below the end of user memory: no more than that is looked at.
    let len = buf.len().min(USER_END - src);
    // SAFETY: `buf` is the caller's and has at least `len` bytes; the source is in the user half.
    match unsafe { arch::strncpy_user(buf.as_mut_ptr(), src as *const u8, len) } {
        usize::MAX => Err(UserFault),
        found if found < len => Ok(Some(found)),
        _ if len < buf.len() => Err(UserFault),
        _ => Ok(None),
    }
}

/// Clears `len` bytes at `addr`.
pub fn clear_user(addr: Vaddr, len: usize) -> Result<(), UserFault> {
    check(addr, len)?;
    // SAFETY: the range is in the user half.
    match unsafe { arch::clear_user(addr as *mut u8, len) } {
        0 => Ok(()),
        _ => Err(UserFault),
    }
}

#[inline(always)]
fn check_aligned(addr: Vaddr) -> Result<(), UserFault> {
    if !addr.is_multiple_of(4) {
        return Err(UserFault);
    }
    check(addr, 4)
}

/// Loads a naturally aligned u32 atomically. `Err` when it faults or is unaligned.
#[inline]
pub fn atomic_load_u32(addr: Vaddr) -> Result<u32, UserFault> {
    check_aligned(addr)?;
    // SAFETY: the address is in the user half. An aligned load is atomic.
    unsafe { arch::load_user_u32(addr) }
}

/// Compare-and-exchange on a naturally aligned u32: returns the value found (the exchange took place when it is `old`).
#[inline]
pub fn atomic_cmpxchg_u32(addr: Vaddr, old: u32, new: u32) -> Result<u32, UserFault> {
    check_aligned(addr)?;
    // SAFETY: the address is in the user half.
    unsafe { arch::cmpxchg_user_u32(addr, old, new) }
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
