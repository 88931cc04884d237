//! A small record for each frame of the machine, at an address that follows from the frame's number.
//!
//! The records form an array in virtual memory of its own, [`FRAME_META`]. Who may use which field follows from
//! `kind`, which the owner of the frame sets:
//!
//! | kind | `refcount` | `next`, `prev` | `aux` |
//! |---|---|---|---|
//! | [`KIND_NONE`] | 0 | next: list of a per-CPU cache | |
//! | [`KIND_FREE`] | | links of a buddy list (first frame of a block) | |
//! | [`KIND_UNTYPED`] | references of a [`Frame`](super::Frame) | next: list while a batch is freed | |
//! | [`KIND_TABLE`] | used entries; when there are none: a list of tables | both: bitmap of used groups | |
//! | [`KIND_SLAB`] | objects in use | links of the class's list | first free object |
//!
//! The fields are relaxed atomics so that a wrong guess is a wrong number and not a data race; what orders the
//! accesses is the lock or the ownership that the table names, and for `refcount` the usual rules of `Arc`.

use super::Vaddr;
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

/// Where the array of records is mapped.
pub(super) const FRAME_META: Vaddr = 0xffff_e000_0000_0000;

/// Not memory that we manage, or in a per-CPU cache, or owned by whoever allocated it without a kind of its own.
pub(super) const KIND_NONE: u8 = 0;
/// The first frame of a free block of the buddy allocator, whose order is in `order`.
pub(super) const KIND_FREE: u8 = 1;
/// Owned by `Frame`s and user mappings.
pub(super) const KIND_UNTYPED: u8 = 2;
/// A page table of a user address space.
pub(super) const KIND_TABLE: u8 = 3;
/// The first frame of a slab of the kernel heap.
pub(super) const KIND_SLAB: u8 = 4;

/// The record of a frame.
#[repr(C, align(16))]
pub(super) struct FrameMeta {
    pub(super) refcount: AtomicU32,
    pub(super) kind: AtomicU8,
    pub(super) order: AtomicU8,
    pub(super) aux: AtomicU16,
    pub(super) next: AtomicU32,
    pub(super) prev: AtomicU32,
}

const _: () = assert!(size_of::<FrameMeta>() == 16 && core::mem::offset_of!(FrameMeta, next) == 8);

impl FrameMeta {
    /// `next` and `prev` as one number: the bitmap of a page table.
    #[inline(always)]
    pub(super) fn bitmap(&self) -> &AtomicU64 {
        // SAFETY: the two make 8 aligned bytes, by the assertion above and the alignment of the structure. Whoever uses a
        // frame as a table uses them in no other way, under the lock of the address space or as its only owner.
        unsafe { &*(&raw const *self).cast::<u8>().add(8).cast::<AtomicU64>() }
    }
}

/// The record of frame number `pfn`.
///
/// `pfn` must be that of a frame of the machine: callers have it from the allocator, a `Frame` or a page table, or
/// checked it against the end of memory.
#[inline(always)]
pub(super) fn meta(pfn: u32) -> &'static FrameMeta {
    // SAFETY: the array covers all frames up to the end of memory and is never unmapped; its fields are atomics.
    // No caller makes up frame numbers.
    unsafe { &*((FRAME_META + pfn as usize * size_of::<FrameMeta>()) as *const FrameMeta) }
}
