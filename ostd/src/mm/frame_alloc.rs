//! Frames by number: per-CPU caches over the buddy allocator, and the reserve for the kernel.
//!
//! Each CPU keeps a list of free frames, linked through their records (see [`local`](super::local)). An empty list is
//! refilled with up to [`BATCH`] frames at once, a list that has grown to [`HIGH`] gives a batch back.
//!
//! *The reserve.* When the buddy allocator is down to `low` frames, lists are no longer refilled and allocations
//! for user programs fail; the kernel still gets what is left, frame by frame. What the kernel allocates without
//! a way to fail (the heap) has that much room; whoever starts something big asks [`reserve_ok`] before. As many frames
//! are left in large blocks: user programs don't split those any more, however they scatter what they give back. When
//! the kernel itself has used half of either, it is told ([`set_low_memory_hook`](super::set_low_memory_hook)).

use super::buddy::{Buddy, ORDERS};
use super::meta::{KIND_NONE, meta};
use super::{AllocClass, Paddr, local};
use crate::sync::IrqSpinLock;
use crate::sync::rank::ranks;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How many frames move between a CPU's list and the buddy allocator at a time: 2^`BATCH_ORDER`.
const BATCH: usize = 1 << BATCH_ORDER;
const BATCH_ORDER: usize = 6;
/// How long a CPU's list may get.
const HIGH: u32 = 384;

static BUDDY: IrqSpinLock<Buddy> = IrqSpinLock::new(ranks::FRAME_ALLOCATOR, Buddy::new());

/// Frames in the buddy allocator. Written under its lock, read without.
static FREE: AtomicUsize = AtomicUsize::new(0);
/// Of those, the frames in large blocks.
static LARGE: AtomicUsize = AtomicUsize::new(0);
/// Frames that are or were in the allocator, and those that the boot took before.
static TOTAL: AtomicUsize = AtomicUsize::new(0);
/// The size of the reserve.
static LOW: AtomicUsize = AtomicUsize::new(0);

/// Shows what is free to those who don't hold the lock.
fn publish(buddy: &Buddy) {
    FREE.store(buddy.free_frames(), Relaxed);
    LARGE.store(buddy.large_frames(), Relaxed);
}

/// The free frames of a CPU, linked by `next`.
pub(super) struct FrameList {
    head: u32,
    len: u32,
}

impl FrameList {
    pub(super) const fn new() -> FrameList {
        FrameList { head: 0, len: 0 }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<u32> {
        let pfn = self.head;
        if pfn == 0 {
            return None;
        }
        self.head = meta(pfn).next.load(Relaxed);
        self.len -= 1;
        Some(pfn)
    }

    #[inline(always)]
    fn push(&mut self, pfn: u32) {
        meta(pfn).next.store(self.head, Relaxed);
        self.head = pfn;
        self.len += 1;
    }

    /// Takes frames from the buddy allocator: one to return and, if there are enough, a batch to keep.
    #[cold]
    #[inline(never)]
    fn refill(&mut self, class: AllocClass) -> Option<u32> {
        let mut buddy = BUDDY.lock();
        let low = LOW.load(Relaxed);
        let spare = buddy.free_frames().saturating_sub(low);
        let splits = buddy.large_frames() >= low + BATCH;
        if spare < BATCH || !splits && !buddy.has_small() {
            let pfn = match class {
                AllocClass::User if spare == 0 || buddy.large_frames() <= low && !buddy.has_small() => None,
                _ => buddy.alloc(0),
            };
            publish(&buddy);
            return pfn;
        }
        if !splits {
            for _ in 0..BATCH {
                let Some(pfn) = buddy.has_small().then(|| buddy.alloc(0)).flatten() else {
                    break;
                };
                self.push(pfn);
            }
            publish(&buddy);
            drop(buddy);
            return self.pop();
        }
        let mut missing = BATCH;
        while missing > 0 {
            let Some(order) = buddy.largest(missing.ilog2() as usize) else {
                break;
            };
            let Some(first) = buddy.alloc(order) else {
                break;
            };
            // Downwards, so that they come out in ascending order.
            for pfn in (first..first + (1 << order)).rev() {
                self.push(pfn);
            }
            missing -= 1 << order;
        }
        publish(&buddy);
        drop(buddy);
        self.pop()
    }

    /// Gives frames back until `keep` are left.
    #[cold]
    #[inline(never)]
    fn trim(&mut self, keep: u32) {
        let mut buddy = BUDDY.lock();
        while self.len > keep
            && let Some(pfn) = self.pop()
        {
            buddy.free(pfn, 0);
        }
        publish(&buddy);
    }
}

/// Takes one frame. Its contents and `refcount` are whatever they are; its kind is `KIND_NONE` or `KIND_UNTYPED`.
#[inline]
pub(super) fn alloc(class: AllocClass) -> Option<u32> {
    let pfn = local::with(
        |local| &local.frames,
        |list| match list.pop() {
            Some(pfn) => Some(pfn),
            None => list.refill(class),
        },
    );
    match pfn {
        Some(pfn) => pfn,
        None => alloc_in_handler(class),
    }
}

/// The way around the list.
#[cold]
#[inline(never)]
fn alloc_in_handler(class: AllocClass) -> Option<u32> {
    let mut buddy = BUDDY.lock();
    if class == AllocClass::User && buddy.free_frames() <= LOW.load(Relaxed) {
        return None;
    }
    let pfn = buddy.alloc(0);
    publish(&buddy);
    pfn
}

/// Gives back one frame, which nothing refers to.
#[inline]
pub(super) fn free(pfn: u32) {
    let done = local::with(
        |local| &local.frames,
        |list| {
            list.push(pfn);
            if list.len > HIGH {
                list.trim(HIGH - BATCH as u32);
            }
        },
    );
    if done.is_none() {
        free_block(pfn, 0);
    }
}

/// Frames that are to be freed together, linked by `next`.
pub(super) struct FreeBatch {
    head: u32,
    last: u32,
    len: u32,
}

impl FreeBatch {
    #[inline]
    pub(super) const fn new() -> FreeBatch {
        FreeBatch { head: 0, last: 0, len: 0 }
    }

    /// Adds a frame, which nothing refers to.
    #[inline(always)]
    pub(super) fn push(&mut self, pfn: u32) {
        meta(pfn).next.store(self.head, Relaxed);
        if self.head == 0 {
            self.last = pfn;
        }
        self.head = pfn;
        self.len += 1;
    }

    /// Frees them.
    #[inline]
    pub(super) fn release(&mut self) {
        if self.len == 0 {
            return;
        }
        let done = local::with(
            |local| &local.frames,
            |list| {
                meta(self.last).next.store(list.head, Relaxed);
                list.head = self.head;
                list.len += self.len;
                if list.len > HIGH {
                    list.trim(HIGH - BATCH as u32);
                }
            },
        );
        if done.is_none() {
            let mut list = FrameList { head: self.head, len: self.len };
            meta(self.last).next.store(0, Relaxed);
            list.trim(0);
        }
        // Not by assignment, which would drop the old value and come back here.
        (self.head, self.len) = (0, 0);
    }
}

impl Drop for FreeBatch {
    #[inline]
    fn drop(&mut self) {
        self.release();
    }
}

/// Takes 2^`order` frames in a row, aligned to their size, for the kernel.
pub(super) fn alloc_block(order: usize) -> Option<u32> {
    if order >= ORDERS {
        return None;
    }
    let mut buddy = BUDDY.lock();
    let pfn = buddy.alloc(order);
    publish(&buddy);
    pfn
}

/// Gives back a block from [`alloc_block`] (or a part of one, aligned to its size), which nothing refers to.
pub(super) fn free_block(pfn: u32, order: usize) {
    meta(pfn).kind.store(KIND_NONE, Relaxed);
    let mut buddy = BUDDY.lock();
    buddy.free(pfn, order);
    publish(&buddy);
}

/// Adds memory to the allocator.
///
/// # Safety
/// Nothing uses the frames `start..end`; they have records of `KIND_NONE`, and frame 0 is not among them.
pub(super) unsafe fn add_range(start: u32, end: u32) {
    let mut buddy = BUDDY.lock();
    buddy.add_range(start, end);
    publish(&buddy);
}

/// Sets the size of the machine: the frame after the last, and how many there are in all.
pub(super) fn init(end: u32, total: usize) {
    BUDDY.lock().set_end(end);
    TOTAL.store(total, Relaxed);
    LOW.store((total / 32).clamp(128, 8192), Relaxed);
}

/// Whether the kernel can take `frames` frames and leave three quarters of its reserve.
#[inline]
pub(super) fn reserve_ok(frames: usize) -> bool {
    FREE.load(Relaxed) >= frames + LOW.load(Relaxed) * 3 / 4
}

/// Whether user programs can take `frames` frames before their allocations fail.
#[inline]
pub(super) fn user_room(frames: usize) -> bool {
    FREE.load(Relaxed) >= frames + LOW.load(Relaxed)
}

/// Whether the kernel has used half of its reserve, or of the large blocks in it.
#[inline]
pub(super) fn is_low() -> bool {
    let half = LOW.load(Relaxed) / 2;
    FREE.load(Relaxed) < half || LARGE.load(Relaxed) < half
}

/// Gives this CPU's list back.
pub(super) fn drain() {
    local::with(|local| &local.frames, |list| list.trim(0));
}

/// All frames; those in the buddy allocator; those in the CPUs' lists.
pub(super) fn counts() -> (usize, usize, usize) {
    let cached = local::running()
        // SAFETY: a racy read of a number, for statistics.
        .map(|local| unsafe { (&raw const (*local.frames.peek()).len).read_volatile() as usize })
        .sum();
    (TOTAL.load(Relaxed), FREE.load(Relaxed), cached)
}

/// All frames.
pub(super) fn total() -> usize {
    TOTAL.load(Relaxed)
}

/// The number of the frame at `paddr`.
#[inline(always)]
pub(super) const fn pfn_of(paddr: Paddr) -> u32 {
    (paddr / super::PAGE_SIZE) as u32
}

/// Where frame `pfn` is.
#[inline(always)]
pub(super) const fn paddr_of(pfn: u32) -> Paddr {
    pfn as usize * super::PAGE_SIZE
}

/// The address of frame `pfn` in the direct map.
#[inline(always)]
pub(super) const fn vaddr_of(pfn: u32) -> *mut u8 {
    super::paddr_to_vaddr(paddr_of(pfn)) as *mut u8
}
