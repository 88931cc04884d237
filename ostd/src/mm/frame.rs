//! Frames: counted references to 4 KiB of untyped memory.

use super::frame_alloc::{self, paddr_of, vaddr_of};
use super::meta::{KIND_UNTYPED, meta};
use super::{OutOfMemory, PAGE_SIZE, Paddr, USER_END, Vaddr};
use crate::arch::x86::mem;
use crate::user::mem::UserFault;
use core::num::NonZeroU32;
use core::sync::atomic::{Ordering, fence};

/// Who asks for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocClass {
    /// For user programs: fails while the kernel's reserve is all that is left.
    User,
    /// For the kernel itself: may use the reserve.
    Kernel,
}

/// An owned, counted reference to one frame of untyped memory, as an `Arc` is: `clone` adds a reference, `drop`
/// takes one away and frees the frame with the last. A mapping in an [`AddrSpace`](super::AddrSpace) owns one.
///
/// User programs may have the frame mapped and write to it at any time, so there is no `&` to its bytes: only copies.
#[derive(PartialEq, Eq)]
pub struct Frame(
    /// The frame number. The frame's kind is `KIND_UNTYPED`, and one of its `refcount` is ours.
    NonZeroU32,
);

impl Frame {
    /// Takes a frame whose contents are undefined, and must not get out of this module before they are written.
    #[inline]
    fn uninit(class: AllocClass) -> Result<Frame, OutOfMemory> {
        let pfn = frame_alloc::alloc(class).and_then(NonZeroU32::new).ok_or(OutOfMemory)?;
        let record = meta(pfn.get());
        record.kind.store(KIND_UNTYPED, Ordering::Relaxed);
        record.refcount.store(1, Ordering::Relaxed);
        Ok(Frame(pfn))
    }

    /// A frame full of zeros.
    #[inline]
    pub fn zeroed(class: AllocClass) -> Result<Frame, OutOfMemory> {
        let frame = Frame::uninit(class)?;
        // SAFETY: the frame is new: only we know it, and it is in the direct map.
        unsafe { mem::clear_page(frame.ptr()) };
        Ok(frame)
    }

    /// A new frame with the contents of `src`.
    #[inline]
    pub fn copy_of(src: &Frame, class: AllocClass) -> Result<Frame, OutOfMemory> {
        Frame::copy_of_pfn(src.0.get(), class)
    }

    /// As [`copy_of`](Self::copy_of), of a frame that the caller has a reference to.
    #[inline]
    pub(super) fn copy_of_pfn(src: u32, class: AllocClass) -> Result<Frame, OutOfMemory> {
        let frame = Frame::uninit(class)?;
        // SAFETY: the target is new; the source is kept by the caller's reference.
        unsafe { mem::copy_page(frame.ptr(), vaddr_of(src)) };
        Ok(frame)
    }

    /// A new frame that `fill` writes from its start; what it does not write is zero.
    pub fn new_with(class: AllocClass, fill: impl FnOnce(&mut FrameWriter)) -> Result<Frame, OutOfMemory> {
        let mut writer = FrameWriter { frame: Frame::uninit(class)?, at: 0 };
        fill(&mut writer);
        let FrameWriter { frame, at } = writer;
        frame.fill_zero(at, PAGE_SIZE - at);
        Ok(frame)
    }

    /// Copies from the frame at `offset`. Panics when the range leaves the frame.
    #[inline]
    pub fn read(&self, offset: usize, dst: &mut [u8]) {
        check(offset, dst.len());
        // SAFETY: the range lies in the frame, which is ours, and `dst` is not in a frame.
        unsafe { mem::copy_shared(dst.as_mut_ptr(), self.ptr().add(offset), dst.len()) };
    }

    /// Copies into the frame at `offset`. Panics when the range leaves the frame.
    #[inline]
    pub fn write(&self, offset: usize, src: &[u8]) {
        check(offset, src.len());
        // SAFETY: as in `read`.
        unsafe { mem::copy_shared(self.ptr().add(offset), src.as_ptr(), src.len()) };
    }

    /// Clears a part. Panics when the range leaves the frame.
    pub fn fill_zero(&self, offset: usize, len: usize) {
        check(offset, len);
        // SAFETY: as in `read`.
        unsafe { mem::clear_shared(self.ptr().add(offset), len) };
    }

    /// Copies `len` bytes at `offset` to user memory; returns how many were copied before a fault, or the fault when none.
    pub fn copy_to_user(&self, offset: usize, len: usize, dst: Vaddr) -> Result<usize, UserFault> {
        check(offset, len);
        check_user(dst, len)?;
        // SAFETY: the one range lies in the frame, the other in user memory.
        let left = unsafe { mem::copy_user(dst as *mut u8, self.ptr().add(offset), len) };
        progress(len, left)
    }

    /// Copies `len` bytes from user memory to `offset`; returns how many were copied before a fault, or the fault when none.
    pub fn copy_from_user(&self, offset: usize, len: usize, src: Vaddr) -> Result<usize, UserFault> {
        check(offset, len);
        check_user(src, len)?;
        // SAFETY: the one range lies in the frame, the other in user memory.
        let left = unsafe { mem::copy_user(self.ptr().add(offset), src as *const u8, len) };
        progress(len, left)
    }

    /// The number of references: handles and mappings.
    #[inline]
    pub fn refcount(&self) -> u32 {
        refcount(self.0.get())
    }

    /// Whether this is the only reference. Stable as long as the caller keeps others from getting at the frame.
    #[inline]
    pub fn is_unique(&self) -> bool {
        self.refcount() == 1
    }

    /// Where the frame is in physical memory.
    #[inline]
    pub fn paddr(&self) -> Paddr {
        paddr_of(self.0.get())
    }

    #[inline(always)]
    fn ptr(&self) -> *mut u8 {
        vaddr_of(self.0.get())
    }

    /// Gives the reference away as a frame number; [`from_pfn`](Self::from_pfn) takes it back.
    #[inline(always)]
    pub(super) fn into_pfn(self) -> u32 {
        let pfn = self.0.get();
        core::mem::forget(self);
        pfn
    }

    /// Makes a handle of a reference that is the caller's.
    ///
    /// # Safety
    /// The caller owns one reference to frame `pfn`, and gives it up.
    #[inline(always)]
    pub(super) unsafe fn from_pfn(pfn: u32) -> Frame {
        // SAFETY: frame 0 is never allocated, so there is no reference to it.
        Frame(unsafe { NonZeroU32::new_unchecked(pfn) })
    }
}

/// The references to frame `pfn`, of which one is the caller's to look at.
#[inline(always)]
pub(super) fn refcount(pfn: u32) -> u32 {
    // Acquire: who sees 1 sees what former owners wrote; pairs with the Release in `release`.
    meta(pfn).refcount.load(Ordering::Acquire)
}

/// Adds a reference to frame `pfn`, to which one exists.
///
/// The count has room for 2^31 references. Each handle or page table entry is one, so that this takes 16 GiB of page
/// tables full of one frame; who has them ends the kernel instead of making the count wrap, which would free the frame
/// under its users.
#[inline(always)]
pub(super) fn acquire(pfn: u32) {
    let count = meta(pfn).refcount.as_ptr();
    // SAFETY: an atomic increment, of relaxed order at least, of the counter that `meta` gave; written by hand because
    // the compiler would get the old value into a register and compare it, where the flags say it all.
    unsafe {
        core::arch::asm!("lock inc dword ptr [{}]", "js {}", in(reg) count, label { overflow() }, options(nostack));
    }
}

#[cold]
#[inline(never)]
fn overflow() -> ! {
    panic!("too many references to a frame");
}

/// Gives up a reference to frame `pfn`; true when it was the last and the frame is the caller's to free.
#[inline(always)]
pub(super) fn release(pfn: u32) -> bool {
    // Release: what we did to the frame happens before its next use; pairs with the fence of the last owner.
    if meta(pfn).refcount.fetch_sub(1, Ordering::Release) != 1 {
        return false;
    }
    fence(Ordering::Acquire);
    true
}

impl Clone for Frame {
    #[inline]
    fn clone(&self) -> Frame {
        acquire(self.0.get());
        Frame(self.0)
    }
}

impl Drop for Frame {
    #[inline]
    fn drop(&mut self) {
        if release(self.0.get()) {
            frame_alloc::free(self.0.get());
        }
    }
}

impl core::fmt::Debug for Frame {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Frame({:#x}, {} refs)", self.paddr(), self.refcount())
    }
}

#[inline]
fn check(offset: usize, len: usize) {
    assert!(offset <= PAGE_SIZE && len <= PAGE_SIZE - offset, "access beyond a frame");
}

#[inline]
fn check_user(addr: Vaddr, len: usize) -> Result<(), UserFault> {
    match addr.checked_add(len) {
        Some(end) if end <= USER_END => Ok(()),
        _ => Err(UserFault),
    }
}

#[inline]
fn progress(len: usize, left: usize) -> Result<usize, UserFault> {
    if left == len && len > 0 { Err(UserFault) } else { Ok(len - left) }
}

/// Fills a new frame from its start.
pub struct FrameWriter {
    frame: Frame,
    at: usize,
}

impl FrameWriter {
    /// Appends `src` (what does not fit is left out); returns how many bytes went in.
    pub fn write(&mut self, src: &[u8]) -> usize {
        let len = src.len().min(self.remaining());
        self.frame.write(self.at, &src[..len]);
        self.at += len;
        len
    }

    /// Appends `len` bytes of user memory (what does not fit is left out); returns how many were copied before a fault.
    pub fn write_user(&mut self, src: Vaddr, len: usize) -> usize {
        let len = len.min(self.remaining());
        let copied = self.frame.copy_from_user(self.at, len, src).unwrap_or(0);
        self.at += copied;
        copied
    }

    /// The bytes that are left.
    pub fn remaining(&self) -> usize {
        PAGE_SIZE - self.at
    }
}
