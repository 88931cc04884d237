//! Kernel stacks: 12 KiB each (16 in test builds, 128 in debug builds) in an area of their own, with unmapped pages below, so that
//! an overflow faults.
//!
//! A stack that is no longer used keeps its mapping and is given to the next task. Lists of free stacks: a short one
//! per CPU (see [`local`]), and a global one. When that gets long, stacks beyond [`KEEP`] are unmapped by the next task
//! that ends ([`trim`]): freeing happens in the scheduler, where the other CPUs can not be told.

use super::frame_alloc;
use super::kernel_space::{self, STACKS};
use super::meta::{KIND_NONE, meta};
use super::{AllocClass, OutOfMemory, PAGE_SIZE, Vaddr, local};
use crate::arch::x86::paging;
use crate::sync::IrqSpinLock;
use crate::sync::rank::ranks;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// Bytes of a stack. Test builds check more, which takes room, and see to it that nobody comes near the end of a shorter one:
/// [`depth`]. Code that is not optimized builds every value on the stack before it moves it, such as the 42 KiB that
/// gzip's state takes.
pub(crate) const KSTACK_SIZE: usize = match (cfg!(debug_assertions), cfg!(feature = "ktest")) {
    (true, _) => 128 * 1024,
    (false, true) => 16 * 1024,
    (false, false) => 12 * 1024,
};
const FRAMES: usize = KSTACK_SIZE / PAGE_SIZE;
/// Distance of stacks: the lower half of each slot stays unmapped.
const SLOT_SIZE: usize = 2 * KSTACK_SIZE;
/// Slots in the area; far more than frames for them.
const SLOTS: usize = 1 << 26;
/// Free stacks that a CPU keeps.
const PER_CPU: usize = 8;
/// Free stacks that are kept in the global list for good.
const KEEP: usize = 64;
/// The length of the global list that starts unmapping.
const HIGH: usize = 128;

/// A kernel stack of [`KSTACK_SIZE`] bytes. Its contents are undefined; its pages stay mapped while it lives.
pub(crate) struct KStack {
    slot: u32,
}

struct Free {
    /// Free slots that have their frames mapped.
    mapped: Vec<u32>,
    /// Free slots without frames.
    bare: Vec<u32>,
    /// Slots from here on were never used.
    top: u32,
}

static FREE: IrqSpinLock<Free> =
    IrqSpinLock::new(ranks::STACKS, Free { mapped: Vec::new(), bare: Vec::new(), top: 0 });

/// The free stacks of a CPU, by slot.
pub(super) struct KeptStacks {
    slots: [u32; PER_CPU],
    len: usize,
}

impl KeptStacks {
    pub(super) const fn new() -> KeptStacks {
        KeptStacks { slots: [0; PER_CPU], len: 0 }
    }

    #[inline]
    fn pop(&mut self) -> Option<u32> {
        self.len = self.len.checked_sub(1)?;
        Some(self.slots[self.len])
    }

    #[inline]
    fn push(&mut self, slot: u32) -> bool {
        let room = self.len < PER_CPU;
        if room {
            self.slots[self.len] = slot;
            self.len += 1;
        }
        room
    }
}

/// The global list has grown beyond `HIGH`.
static LONG: AtomicBool = AtomicBool::new(false);

/// Stacks that have frames, in use or not.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// Runs `f` on this CPU's free stacks; `None` in an interrupt handler that came at the wrong moment.
#[inline(always)]
fn with_kept<R>(f: impl FnOnce(&mut KeptStacks) -> R) -> Option<R> {
    local::with(|local| &local.stacks, f)
}

const fn bottom_of(slot: u32) -> Vaddr {
    STACKS + slot as usize * SLOT_SIZE + (SLOT_SIZE - KSTACK_SIZE)
}

impl KStack {
    /// A stack, used before or new. In a task, with interrupts on and no lock held.
    pub(crate) fn new() -> Result<KStack, OutOfMemory> {
        if let Some(slot) = with_kept(KeptStacks::pop).flatten() {
            return Ok(KStack { slot });
        }
        let slot = FREE.lock().mapped.pop();
        match slot {
            Some(slot) => Ok(KStack { slot }),
            None => KStack::map_new(),
        }
    }

    fn map_new() -> Result<KStack, OutOfMemory> {
        if !frame_alloc::reserve_ok(FRAMES) {
            return Err(OutOfMemory);
        }
        let slot = {
            let mut free = FREE.lock();
            match free.bare.pop() {
                Some(slot) => slot,
                None if (free.top as usize) < SLOTS => {
                    free.top += 1;
                    let (needed, top) = (free.top as usize, free.top - 1);
                    // So that giving a slot back, in the scheduler, never has to allocate.
                    reserve(&mut free.mapped, needed);
                    reserve(&mut free.bare, needed);
                    top
                }
                None => return Err(OutOfMemory),
            }
        };
        let mut frames = [0; FRAMES];
        for i in 0..FRAMES {
            let Some(pfn) = frame_alloc::alloc(AllocClass::Kernel) else {
                for &pfn in &frames[..i] {
                    frame_alloc::free(pfn);
                }
                FREE.lock().bare.push(slot);
                return Err(OutOfMemory);
            };
            meta(pfn).kind.store(KIND_NONE, Relaxed);
            frames[i] = pfn;
        }
        // SAFETY: the slot is ours and has no frames mapped; the frames are new.
        if unsafe { kernel_space::map_stack(bottom_of(slot), &frames) }.is_err() {
            for i in 0..FRAMES {
                // SAFETY: of this slot, whose pages nobody has used.
                unsafe { kernel_space::unmap_stack_page(bottom_of(slot) + i * PAGE_SIZE) };
            }
            for pfn in frames {
                frame_alloc::free(pfn);
            }
            // The slot is not used again: TLBs may have seen a part of it.
            return Err(OutOfMemory);
        }
        MAPPED.fetch_add(1, Relaxed);
        let stack = KStack { slot };
        #[cfg(feature = "ktest")]
        depth::paint(&stack);
        Ok(stack)
    }

    /// The lowest address.
    pub(crate) fn bottom(&self) -> Vaddr {
        bottom_of(self.slot)
    }

    /// The end: where the stack pointer starts. A multiple of 16.
    pub(crate) fn top(&self) -> Vaddr {
        self.bottom() + KSTACK_SIZE
    }
}

/// Makes room for `len` elements, doubling.
fn reserve(list: &mut Vec<u32>, len: usize) {
    if list.capacity() < len {
        let more = (len * 2).max(256) - list.len();
        list.reserve_exact(more);
    }
}

impl Drop for KStack {
    fn drop(&mut self) {
        #[cfg(feature = "ktest")]
        depth::check(self);
        let kept = with_kept(|kept| kept.push(self.slot));
        if kept != Some(true) {
            let mut free = FREE.lock();
            free.mapped.push(self.slot);
            if free.mapped.len() > HIGH {
                LONG.store(true, Relaxed);
            }
        }
    }
}

/// Unmaps stacks if many are free. In a task, with interrupts on and no lock held: tasks do it when they end.
#[inline]
pub(crate) fn trim() {
    if LONG.load(Relaxed) {
        LONG.store(false, Relaxed);
        shrink(KEEP);
    }
}

/// Unmaps free stacks until `keep` are left in the global list. In a task, with interrupts on and no lock held.
fn shrink(keep: usize) {
    const AT_ONCE: usize = 32;
    loop {
        let mut slots = [0; AT_ONCE];
        let mut count = 0;
        {
            let mut free = FREE.lock();
            while count < AT_ONCE
                && free.mapped.len() > keep
                && let Some(slot) = free.mapped.pop()
            {
                slots[count] = slot;
                count += 1;
            }
        }
        if count == 0 {
            return;
        }
        let mut frames = [0; AT_ONCE * FRAMES];
        let mut frame_count = 0;
        for &slot in &slots[..count] {
            for i in 0..FRAMES {
                // SAFETY: a free slot with its frames mapped; we took it out of the list.
                let page = unsafe { kernel_space::unmap_stack_page(bottom_of(slot) + i * PAGE_SIZE) };
                if let Some(pfn) = page {
                    frames[frame_count] = pfn;
                    frame_count += 1;
                }
            }
        }
        // The entries are global: they survive a load of CR3 and have to be flushed one by one, everywhere.
        let slots = &slots[..count];
        super::tlb::on_all_cpus(&|| {
            for &slot in slots {
                for i in 0..FRAMES {
                    paging::flush_page(bottom_of(slot) + i * PAGE_SIZE);
                }
            }
        });
        for &pfn in &frames[..frame_count] {
            frame_alloc::free(pfn);
        }
        MAPPED.fetch_sub(count, Relaxed);
        FREE.lock().bare.extend_from_slice(slots);
    }
}

/// Whether `addr` is in the unmapped part below a stack: what was accessed there is a stack overflow.
pub(crate) fn is_guard(addr: Vaddr) -> bool {
    (STACKS..STACKS + SLOTS * SLOT_SIZE).contains(&addr)
        && (addr - STACKS) % SLOT_SIZE < SLOT_SIZE - KSTACK_SIZE
}

/// The frames that stacks have.
pub(super) fn frames() -> usize {
    MAPPED.load(Relaxed) * FRAMES
}

/// Of these, the frames of stacks that are kept for reuse.
pub(super) fn kept() -> usize {
    let here: usize = local::running()
        // SAFETY: a racy read of a number, for statistics.
        .map(|local| unsafe { (&raw const (*local.stacks.peek()).len).read_volatile() })
        .sum();
    (here + FREE.lock().mapped.len()) * FRAMES
}

/// Unmaps the free stacks of the global list and of this CPU. In a task, with interrupts on and no lock held.
pub(super) fn drain() {
    while let Some(slot) = with_kept(KeptStacks::pop).flatten() {
        FREE.lock().mapped.push(slot);
    }
    shrink(0);
}

/// How deep stacks are used. A new stack is painted, and when its task has ended, what is left of the paint tells.
#[cfg(feature = "ktest")]
pub(super) mod depth {
    use super::{KSTACK_SIZE, KStack};

    /// A byte that was not written to.
    pub(in super::super) const PAINT: u8 = 0x5a;
    /// More than this, interrupts included, leaves too little of the stacks of other builds.
    const MAX: usize = 10 * 1024;

    pub(super) fn paint(stack: &KStack) {
        // SAFETY: the stack is new, its pages are mapped, and nobody runs on it.
        unsafe { core::ptr::write_bytes(stack.bottom() as *mut u8, PAINT, KSTACK_SIZE) };
    }

    pub(super) fn check(stack: &KStack) {
        let words = KSTACK_SIZE / size_of::<u64>();
        // SAFETY: the stack's pages are mapped, and nobody runs on it any more.
        let words = unsafe { core::slice::from_raw_parts(stack.bottom() as *const u64, words) };
        let untouched = words.iter().take_while(|&&word| word == u64::from_ne_bytes([PAINT; 8])).count();
        let used = KSTACK_SIZE - untouched * size_of::<u64>();
        assert!(cfg!(debug_assertions) || used <= MAX, "a task used {used} bytes of its kernel stack");
    }
}
