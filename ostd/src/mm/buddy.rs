//! The global frame allocator: free blocks of 2^order frames, split and merged as buddies.
//!
//! The free blocks of each order form a list through the records of their first frames ([`meta`](super::meta)).
//! Most single frames never get here: they go through the per-CPU caches of [`frame_alloc`](super::frame_alloc),
//! which takes and gives whole batches. The lock is innermost but for the console's.

use super::meta::{KIND_FREE, KIND_NONE, meta};
use core::sync::atomic::Ordering::Relaxed;

/// Orders 0 to 18: up to 1 GiB.
pub(super) const ORDERS: usize = 19;

/// Blocks from this order on count as large: 128 KiB.
const LARGE: usize = 5;

/// The free blocks. Frame number 0 ends a list: frame 0 is never given to the allocator.
pub(super) struct Buddy {
    heads: [u32; ORDERS],
    /// Bit n: there are free blocks of order n.
    nonempty: u32,
    /// The frame after the last one that has a record.
    end: u32,
    free: usize,
    /// Of those, the frames in large blocks.
    large: usize,
}

impl Buddy {
    pub(super) const fn new() -> Buddy {
        Buddy { heads: [0; ORDERS], nonempty: 0, end: 0, free: 0, large: 0 }
    }

    /// The number of free frames.
    #[inline]
    pub(super) fn free_frames(&self) -> usize {
        self.free
    }

    /// The number of free frames in large blocks.
    #[inline]
    pub(super) fn large_frames(&self) -> usize {
        self.large
    }

    /// Whether a frame can be had without splitting a large block.
    #[inline]
    pub(super) fn has_small(&self) -> bool {
        self.nonempty & ((1 << LARGE) - 1) != 0
    }

    /// Tells how many frames have a record.
    pub(super) fn set_end(&mut self, end: u32) {
        self.end = end;
    }

    fn push(&mut self, pfn: u32, order: usize) {
        let head = self.heads[order];
        let record = meta(pfn);
        record.kind.store(KIND_FREE, Relaxed);
        record.order.store(order as u8, Relaxed);
        record.next.store(head, Relaxed);
        record.prev.store(0, Relaxed);
        if head != 0 {
            meta(head).prev.store(pfn, Relaxed);
        }
        self.heads[order] = pfn;
        self.nonempty |= 1 << order;
        if order >= LARGE {
            self.large += 1 << order;
        }
    }

    fn remove(&mut self, pfn: u32, order: usize) {
        let record = meta(pfn);
        let (next, prev) = (record.next.load(Relaxed), record.prev.load(Relaxed));
        record.kind.store(KIND_NONE, Relaxed);
        if order >= LARGE {
            self.large -= 1 << order;
        }
        if next != 0 {
            meta(next).prev.store(prev, Relaxed);
        }
        if prev != 0 {
            meta(prev).next.store(next, Relaxed);
        } else {
            self.heads[order] = next;
            if next == 0 {
                self.nonempty &= !(1 << order);
            }
        }
    }

    /// Takes a block of exactly 2^`order` frames.
    pub(super) fn alloc(&mut self, order: usize) -> Option<u32> {
        let fitting = self.nonempty.checked_shr(order as u32)? << order;
        if fitting == 0 {
            return None;
        }
        let mut have = fitting.trailing_zeros() as usize;
        let pfn = self.heads[have];
        self.remove(pfn, have);
        while have > order {
            have -= 1;
            self.push(pfn + (1 << have), have);
        }
        self.free -= 1 << order;
        Some(pfn)
    }

    /// The order of the largest free block, at most `limit`; `None` when nothing is free.
    pub(super) fn largest(&self, limit: usize) -> Option<usize> {
        if self.nonempty == 0 { None } else { Some((31 - self.nonempty.leading_zeros() as usize).min(limit)) }
    }

    /// Gives a block back. The caller owned it: nothing refers to it any more.
    pub(super) fn free(&mut self, mut pfn: u32, mut order: usize) {
        self.free += 1 << order;
        while order < ORDERS - 1 {
            let buddy = pfn ^ 1 << order;
            if buddy >= self.end {
                break;
            }
            let record = meta(buddy);
            if record.kind.load(Relaxed) != KIND_FREE || record.order.load(Relaxed) as usize != order {
                break;
            }
            self.remove(buddy, order);
            pfn = pfn.min(buddy);
            order += 1;
        }
        self.push(pfn, order);
    }

    /// Gives the frames `start..end` to the allocator.
    pub(super) fn add_range(&mut self, mut start: u32, end: u32) {
        while start < end {
            let aligned = (start.trailing_zeros() as usize).min(ORDERS - 1);
            let order = aligned.min((end - start).ilog2() as usize);
            self.free(start, order);
            start += 1 << order;
        }
    }
}
