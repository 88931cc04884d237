//! The kernel heap: the global allocator.
//!
//! Small sizes have classes; a class hands out objects of equal size cut from *slabs* of one to four frames. Each
//! CPU keeps a list of free objects per class (see [`local`]), so that neither allocation nor free takes a lock as a
//! rule; an empty list is refilled from the class's slabs, a long one gives a part back, both under the class's lock. A slab that gets empty goes back to the frame allocator, but for one per class.
//! Free objects are linked through their first word; the records of slabs are those of their first frames.
//!
//! What is larger than the largest class is a block of frames.
//!
//! The heap draws on the kernel's reserve of frames (see [`frame_alloc`](super::frame_alloc)). When even that is
//! used up, allocation returns null, which ends the kernel for callers that can not fail.

use super::frame_alloc::{self, pfn_of, vaddr_of};
use super::meta::{KIND_NONE, KIND_SLAB, meta};
use super::{AllocClass, DIRECT_MAP, PAGE_SIZE, local};
use crate::sync::IrqSpinLock;
use crate::sync::rank::ranks;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Object sizes. The alignment of a class is the largest power of two that divides its size (at most a page).
const SIZES: [usize; CLASSES] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048];
const CLASSES: usize = 14;
/// Beyond this, blocks of frames.
const MAX_SMALL: usize = SIZES[CLASSES - 1];

/// The class for each size in units of 16 bytes, rounded up.
static CLASS_OF: [u8; MAX_SMALL / 16 + 1] = {
    let mut table = [0; MAX_SMALL / 16 + 1];
    let mut class = 0;
    let mut i = 0;
    while i < table.len() {
        if i * 16 > SIZES[class] {
            class += 1;
        }
        table[i] = class as u8;
        i += 1;
    }
    table
};

/// The order of the slabs of a class: at least eight objects fit.
const fn slab_order(class: usize) -> usize {
    match SIZES[class] {
        0..=512 => 0,
        513..=1024 => 1,
        _ => 2,
    }
}

/// How many objects move between a CPU's list and the slabs at a time.
const fn batch(class: usize) -> u32 {
    match SIZES[class] {
        0..=256 => 32,
        257..=1024 => 16,
        _ => 8,
    }
}

/// Frames that the heap has.
static FRAMES: AtomicUsize = AtomicUsize::new(0);

/// A free object; the first word of it.
type Object = *mut u8;

/// A CPU's free objects of one class.
struct Magazine {
    head: Object,
    len: u32,
    /// The length that calls for a trim; 0 before the first free.
    max: u32,
}

/// A CPU's free objects.
pub(super) struct Magazines([Magazine; CLASSES]);

impl Magazines {
    pub(super) const fn new() -> Magazines {
        Magazines([const { Magazine { head: null_mut(), len: 0, max: 0 } }; CLASSES])
    }
}

/// The slabs of a class that have free objects, as a list of frame numbers.
struct Slabs {
    class: usize,
    head: u32,
    /// How many of the listed slabs have no object in use.
    empty: u32,
    /// How many slabs the class has, listed or not.
    count: u32,
}

static SLABS: [IrqSpinLock<Slabs>; CLASSES] = {
    let mut all =
        [const { IrqSpinLock::new(ranks::HEAP, Slabs { class: 0, head: 0, empty: 0, count: 0 }) }; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        all[class] = IrqSpinLock::new(ranks::HEAP, Slabs { class, head: 0, empty: 0, count: 0 });
        class += 1;
    }
    all
};

/// Runs `f` on this CPU's list for `class`; `None` in an interrupt handler that came at the wrong moment.
#[inline(always)]
fn with_magazine<R>(class: usize, f: impl FnOnce(&mut Magazine) -> R) -> Option<R> {
    local::with(|local| &local.heap, |magazines| f(&mut magazines.0[class]))
}

impl Magazine {
    #[inline(always)]
    fn pop(&mut self) -> Option<Object> {
        let object = self.head;
        if object.is_null() {
            return None;
        }
        // SAFETY: a free object's first word is the link to the next.
        self.head = unsafe { object.cast::<Object>().read() };
        self.len -= 1;
        Some(object)
    }

    /// # Safety
    /// `object` belongs to this list's class and is free: the caller gives it up.
    #[inline(always)]
    unsafe fn push(&mut self, object: Object) {
        // SAFETY: the object is ours and has at least a word.
        unsafe { object.cast::<Object>().write(self.head) };
        self.head = object;
        self.len += 1;
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self, class: usize) -> Option<Object> {
        let mut slabs = SLABS[class].lock();
        for _ in 0..batch(class) {
            let Some(object) = slabs.take() else { break };
            // SAFETY: a free object of the class, taken from its slab.
            unsafe { self.push(object) };
        }
        drop(slabs);
        self.pop()
    }

    #[cold]
    #[inline(never)]
    fn trim(&mut self, class: usize, keep: u32) {
        self.max = 2 * batch(class);
        if self.len <= self.max && keep != 0 {
            return;
        }
        let mut slabs = SLABS[class].lock();
        while self.len > keep
            && let Some(object) = self.pop()
        {
            // SAFETY: a free object of the class.
            unsafe { slabs.give(object) };
        }
    }
}

impl Slabs {
    /// One free object, from the first slab of the list or a new one.
    fn take(&mut self) -> Option<Object> {
        let pfn = if self.head != 0 { self.head } else { self.grow()? };
        let slab = meta(pfn);
        // `aux` is the place of the first free object in units of 8 bytes, plus one.
        let offset = (slab.aux.load(Relaxed) as usize - 1) * 8;
        let object = vaddr_of(pfn).wrapping_add(offset);
        // SAFETY: a free object of the slab; its first word is the next's place, as in `aux`.
        let next = unsafe { object.cast::<usize>().read() };
        slab.aux.store(next as u16, Relaxed);
        let used = slab.refcount.load(Relaxed);
        if used == 0 {
            self.empty -= 1;
        }
        slab.refcount.store(used + 1, Relaxed);
        if next == 0 {
            self.unlink(pfn);
        }
        Some(object)
    }

    /// Puts a free object back into its slab.
    ///
    /// # Safety
    /// The object is of this class, and the caller gives it up.
    unsafe fn give(&mut self, object: Object) {
        let order = slab_order(self.class);
        let size = PAGE_SIZE << order;
        let start = object as usize & !(size - 1);
        let pfn = pfn_of(start - DIRECT_MAP);
        let slab = meta(pfn);
        debug_assert_eq!(slab.kind.load(Relaxed), KIND_SLAB);
        let first = slab.aux.load(Relaxed);
        // SAFETY: the object is ours.
        unsafe { object.cast::<usize>().write(first as usize) };
        slab.aux.store(((object as usize - start) / 8 + 1) as u16, Relaxed);
        if first == 0 {
            self.link(pfn);
        }
        let used = slab.refcount.load(Relaxed) - 1;
        slab.refcount.store(used, Relaxed);
        if used == 0 {
            if self.empty > 0 {
                self.unlink(pfn);
                FRAMES.fetch_sub(1 << order, Relaxed);
                self.count -= 1;
                frame_alloc::free_block(pfn, order);
            } else {
                self.empty += 1;
            }
        }
    }

    /// A new slab, its objects all free.
    fn grow(&mut self) -> Option<u32> {
        let order = slab_order(self.class);
        let size = SIZES[self.class];
        let pfn = if order == 0 {
            frame_alloc::alloc(AllocClass::Kernel)?
        } else {
            frame_alloc::alloc_block(order)?
        };
        FRAMES.fetch_add(1 << order, Relaxed);
        super::tell_if_low();
        self.count += 1;
        let start = vaddr_of(pfn);
        let count = (PAGE_SIZE << order) / size;
        for i in 0..count {
            let next = if i + 1 < count { (i + 1) * size / 8 + 1 } else { 0 };
            // SAFETY: the frames are new and ours; the object lies in them.
            unsafe { start.add(i * size).cast::<usize>().write(next) };
        }
        let slab = meta(pfn);
        slab.kind.store(KIND_SLAB, Relaxed);
        slab.aux.store(1, Relaxed);
        slab.refcount.store(0, Relaxed);
        self.empty += 1;
        self.link(pfn);
        Some(pfn)
    }

    fn link(&mut self, pfn: u32) {
        let slab = meta(pfn);
        slab.next.store(self.head, Relaxed);
        slab.prev.store(0, Relaxed);
        if self.head != 0 {
            meta(self.head).prev.store(pfn, Relaxed);
        }
        self.head = pfn;
    }

    fn unlink(&mut self, pfn: u32) {
        let slab = meta(pfn);
        let (next, prev) = (slab.next.load(Relaxed), slab.prev.load(Relaxed));
        if next != 0 {
            meta(next).prev.store(prev, Relaxed);
        }
        if prev != 0 {
            meta(prev).next.store(next, Relaxed);
        } else {
            self.head = next;
        }
    }

    /// Gives the slabs without objects in use back.
    fn shrink(&mut self) {
        let order = slab_order(self.class);
        let mut pfn = self.head;
        while pfn != 0 && self.empty > 0 {
            let next = meta(pfn).next.load(Relaxed);
            if meta(pfn).refcount.load(Relaxed) == 0 {
                self.unlink(pfn);
                self.empty -= 1;
                FRAMES.fetch_sub(1 << order, Relaxed);
                self.count -= 1;
                frame_alloc::free_block(pfn, order);
            }
            pfn = next;
        }
    }
}

/// The class for a layout; `None` when it is for blocks of frames.
#[inline(always)]
fn class_of(layout: Layout) -> Option<usize> {
    let (mut size, align) = (layout.size(), layout.align());
    if align > 16 {
        // Powers of two are aligned to themselves, as slabs are to frames.
        size = size.max(align).next_power_of_two();
    }
    if size > MAX_SMALL {
        return None;
    }
    Some(CLASS_OF[size.div_ceil(16)] as usize)
}

/// The order of the block of frames for a layout.
#[inline]
fn block_order(layout: Layout) -> usize {
    let frames = layout.size().max(layout.align()).div_ceil(PAGE_SIZE);
    frames.next_power_of_two().trailing_zeros() as usize
}

#[cold]
#[inline(never)]
fn alloc_large(layout: Layout) -> *mut u8 {
    let order = block_order(layout);
    let pfn =
        if order == 0 { frame_alloc::alloc(AllocClass::Kernel) } else { frame_alloc::alloc_block(order) };
    match pfn {
        Some(pfn) => {
            FRAMES.fetch_add(1 << order, Relaxed);
            super::tell_if_low();
            meta(pfn).kind.store(KIND_NONE, Relaxed);
            vaddr_of(pfn)
        }
        None => null_mut(),
    }
}

#[cold]
#[inline(never)]
fn free_large(ptr: *mut u8, layout: Layout) {
    let order = block_order(layout);
    FRAMES.fetch_sub(1 << order, Relaxed);
    let pfn = pfn_of(ptr as usize - DIRECT_MAP);
    if order == 0 {
        frame_alloc::free(pfn);
    } else {
        frame_alloc::free_block(pfn, order);
    }
}

/// The way around the lists.
#[cold]
#[inline(never)]
fn alloc_in_handler(class: usize) -> *mut u8 {
    SLABS[class].lock().take().unwrap_or(null_mut())
}

/// The way around the lists.
///
/// # Safety
/// The object is of this class, and the caller gives it up.
#[cold]
#[inline(never)]
unsafe fn free_in_handler(class: usize, object: Object) {
    // SAFETY: as the caller says.
    unsafe { SLABS[class].lock().give(object) };
}

/// The global allocator.
struct KernelHeap;

#[cfg_attr(target_os = "none", global_allocator)]
static HEAP: KernelHeap = KernelHeap;

// SAFETY: objects are cut from frames that nobody else has, are as large and aligned as their class says, and are in
// one list or with one owner at a time.
unsafe impl GlobalAlloc for KernelHeap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(layout) else {
            return alloc_large(layout);
        };
        let object = with_magazine(class, |magazine| match magazine.pop() {
            Some(object) => object,
            None => magazine.refill(class).unwrap_or(null_mut()),
        });
        match object {
            Some(object) => object,
            None => alloc_in_handler(class),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        let Some(class) = class_of(layout) else {
            return free_large(ptr, layout);
        };
        let done = with_magazine(class, |magazine| {
            // SAFETY: the caller gives up an object that was allocated with this layout, so of this class.
            unsafe { magazine.push(ptr) };
            if magazine.len > magazine.max {
                magazine.trim(class, batch(class));
            }
        });
        if done.is_none() {
            // SAFETY: as above.
            unsafe { free_in_handler(class, ptr) };
        }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller vouches for the new size.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class_of(layout), class_of(new)) {
            (Some(old), Some(new)) if old == new => return ptr,
            (None, None) if block_order(layout) == block_order(new) => return ptr,
            _ => {}
        }
        // SAFETY: the layouts are valid; the two objects are distinct, and both as long as the bytes copied.
        unsafe {
            let target = self.alloc(new);
            if !target.is_null() {
                core::ptr::copy_nonoverlapping(ptr, target, layout.size().min(new_size));
                self.dealloc(ptr, layout);
            }
            target
        }
    }
}

/// The frames that the heap has.
pub(super) fn frames() -> usize {
    FRAMES.load(Relaxed)
}

/// A size class of the heap.
#[derive(Clone, Copy, Debug)]
pub struct HeapClass {
    /// Bytes of an object.
    pub size: usize,
    /// Objects that are in use.
    pub used: usize,
    /// Slabs, and what each consists of.
    pub slabs: usize,
    pub objects_per_slab: usize,
    pub frames_per_slab: usize,
}

/// What the size classes of the heap hold at this moment. A snapshot: the lists of other CPUs may be moving.
pub fn classes() -> impl Iterator<Item = HeapClass> {
    SLABS.iter().enumerate().map(|(class, slabs)| {
        let (size, frames_per_slab) = (SIZES[class], 1 << slab_order(class));
        let objects_per_slab = PAGE_SIZE * frames_per_slab / size;
        let slabs = slabs.lock();
        let mut used = slabs.count as usize * objects_per_slab;
        let mut pfn = slabs.head;
        while pfn != 0 {
            used -= objects_per_slab - meta(pfn).refcount.load(Relaxed) as usize;
            pfn = meta(pfn).next.load(Relaxed);
        }
        let listed: usize = local::running()
            // SAFETY: a racy read of a number, for statistics.
            .map(|local| unsafe { (&raw const (*local.heap.peek()).0[class].len).read_volatile() as usize })
            .sum();
        let used = used.saturating_sub(listed);
        HeapClass { size, used, slabs: slabs.count as usize, objects_per_slab, frames_per_slab }
    })
}

/// Gives this CPU's free objects and the empty slabs back.
pub(super) fn drain() {
    for (class, slabs) in SLABS.iter().enumerate() {
        with_magazine(class, |magazine| magazine.trim(class, 0));
        slabs.lock().shrink();
    }
}
