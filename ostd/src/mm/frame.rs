//! Frames: counted references to 4 KiB of untyped memory.

use super::{OutOfMemory, Paddr, Vaddr};
use crate::user::mem::UserFault;
use core::num::NonZeroU32;

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
pub struct Frame(#[allow(dead_code)] NonZeroU32);

impl Frame {
    /// A frame full of zeros.
    pub fn zeroed(_class: AllocClass) -> Result<Frame, OutOfMemory> {
        todo!()
    }

    /// A new frame with the contents of `src`.
    pub fn copy_of(_src: &Frame, _class: AllocClass) -> Result<Frame, OutOfMemory> {
        todo!()
    }

    /// A new frame that `fill` writes from its start; what it does not write is zero.
    pub fn new_with(
        _class: AllocClass,
        _fill: impl FnOnce(&mut FrameWriter),
    ) -> Result<Frame, OutOfMemory> {
        todo!()
    }

    /// Copies from the frame at `offset`. Panics when the range leaves the frame.
    pub fn read(&self, _offset: usize, _dst: &mut [u8]) {
        todo!()
    }

    /// Copies into the frame at `offset`. Panics when the range leaves the frame.
    pub fn write(&self, _offset: usize, _src: &[u8]) {
        todo!()
    }

    /// Clears a part. Panics when the range leaves the frame.
    pub fn fill_zero(&self, _offset: usize, _len: usize) {
        todo!()
    }

    /// Copies `len` bytes at `offset` to user memory; returns how many were copied before a fault, or the fault when none.
    pub fn copy_to_user(
        &self,
        _offset: usize,
        _len: usize,
        _dst: Vaddr,
    ) -> Result<usize, UserFault> {
        todo!()
    }

    /// Copies `len` bytes from user memory to `offset`; returns how many were copied before a fault, or the fault when none.
    pub fn copy_from_user(
        &self,
        _offset: usize,
        _len: usize,
        _src: Vaddr,
    ) -> Result<usize, UserFault> {
        todo!()
    }

    /// The number of references: handles and mappings.
    pub fn refcount(&self) -> u32 {
        todo!()
    }

    /// Whether this is the only reference. Stable as long as the caller keeps others from getting at the frame.
    pub fn is_unique(&self) -> bool {
        self.refcount() == 1
    }

    /// Where the frame is in physical memory.
    pub fn paddr(&self) -> Paddr {
        todo!()
    }
}

impl Clone for Frame {
    fn clone(&self) -> Frame {
        todo!()
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        todo!()
    }
}

/// Fills a new frame from its start.
pub struct FrameWriter(());

impl FrameWriter {
    /// Appends `src` (what does not fit is left out); returns how many bytes went in.
    pub fn write(&mut self, _src: &[u8]) -> usize {
        todo!()
    }

    /// The bytes that are left.
    pub fn remaining(&self) -> usize {
        todo!()
    }
}
