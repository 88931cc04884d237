//! Memory: frames, heap, kernel stacks, page tables and user address spaces.

mod addr_space;
mod buddy;
mod frame;
mod frame_alloc;
mod heap;
mod kernel_space;
mod kstack;
mod local;
mod meta;
mod table;
#[cfg(feature = "ktest")]
mod test;
mod tlb;

use core::ops::Range;

use spin::Once;

pub(crate) use kernel_space::{map_device, map_firmware, root as kernel_root};
pub(crate) use kstack::{KStack, is_guard as is_stack_guard, trim as trim_stacks};
pub(crate) use local::MmLocal;

pub use addr_space::{AddrSpace, Mapper, PageFlags};
pub use frame::{AllocClass, Frame, FrameWriter};
pub use heap::{HeapClass, classes as heap_classes};

/// A virtual address.
pub type Vaddr = usize;
/// A physical address.
pub type Paddr = usize;

/// Bytes in a page and in a frame.
pub const PAGE_SIZE: usize = 4096;
/// The first address that user mappings can not use; Linux's `TASK_SIZE` on x86_64.
pub const USER_END: usize = 0x7fff_ffff_f000;

/// Where all physical memory is mapped.
pub(crate) const DIRECT_MAP: Vaddr = 0xffff_8000_0000_0000;

/// The address of physical memory in the direct map.
#[inline]
pub(crate) const fn paddr_to_vaddr(paddr: Paddr) -> Vaddr {
    DIRECT_MAP + paddr
}

/// Brings up the final kernel page tables, the frame allocator and the heap.
///
/// # Safety
/// Called once, on the boot CPU, before anything is allocated. `memory` is the machine's, and nothing in its usable
/// regions is in use but the kernel image and `initramfs`.
pub(crate) unsafe fn init(
    mut memory: crate::boot::MemoryMap,
    initramfs: Option<Range<Paddr>>,
) -> Result<(), OutOfMemory> {
    let end = memory.usable().map(|range| range.end).max().ok_or(OutOfMemory)?;
    // The first MiB belongs to the firmware, and the start of other CPUs takes a page of it.
    memory.reserve(0..1 << 20);
    memory.reserve(kernel_space::image());
    let total: usize = memory.usable().map(|range| range.len() / PAGE_SIZE).sum();
    if let Some(range) = &initramfs {
        memory.reserve(range.clone());
    }
    // SAFETY: what is in use is no longer in the map's usable regions.
    unsafe { kernel_space::init(&mut memory, initramfs, end)? };
    frame_alloc::init(frame_alloc::pfn_of(end), total);
    for range in memory.usable() {
        // SAFETY: nobody uses what is left, and the records are there.
        unsafe {
            frame_alloc::add_range(frame_alloc::pfn_of(range.start), frame_alloc::pfn_of(range.end));
        }
    }
    Ok(())
}

/// Gives memory that was kept from the frame allocator at boot to it.
///
/// # Safety
/// The pages that `range` touches were reserved by [`init`] and nobody uses them any more.
pub(crate) unsafe fn free_boot_memory(range: Range<Paddr>) {
    // SAFETY: the caller's promise.
    unsafe {
        frame_alloc::add_range(
            frame_alloc::pfn_of(range.start),
            frame_alloc::pfn_of(range.end.next_multiple_of(PAGE_SIZE)),
        );
    }
}

/// No frame is free (or only those of the kernel's reserve).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

/// How the frames of the machine are used; all figures in frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemStats {
    /// All usable memory, used by the kernel image and its tables or not.
    pub total: usize,
    /// Free, the per-CPU caches included.
    pub free: usize,
    /// Of `free`, those in per-CPU caches.
    pub cached: usize,
    /// Kernel heap.
    pub kernel_heap: usize,
    /// Page tables.
    pub page_tables: usize,
    /// Kernel stacks, those kept for reuse included.
    pub kernel_stacks: usize,
}

/// All usable memory, in frames: [`MemStats::total`], which never changes, without counting what is free.
#[inline]
pub fn total_frames() -> usize {
    frame_alloc::total()
}

/// The present use of memory. A snapshot: counters of other CPUs may be moving.
pub fn stats() -> MemStats {
    let (total, buddy, cached) = frame_alloc::counts();
    MemStats {
        total,
        free: buddy + cached,
        cached,
        kernel_heap: heap::frames(),
        page_tables: table::frames(),
        kernel_stacks: kstack::frames(),
    }
}

/// Frames of page tables and kernel stacks that are kept for reuse. A snapshot, as [`stats`].
pub fn kept_frames() -> usize {
    table::kept() + kstack::kept()
}

/// Whether the kernel can take `frames` more frames for itself and keep its reserve. Callers that are about to
/// make long-lived kernel objects (fork, exec, mount) fail with ENOMEM early when it says no.
#[inline]
pub fn kernel_reserve_ok(frames: usize) -> bool {
    frame_alloc::reserve_ok(frames)
}

/// Whether user programs can take `frames` more frames before their allocations fail. A new process is of no use to
/// anybody when its first page fault finds no memory.
#[inline]
pub fn user_room_ok(frames: usize) -> bool {
    frame_alloc::user_room(frames)
}

static LOW_MEMORY: Once<fn()> = Once::new();

/// Sets what is called when the kernel's own allocations have used up half of its reserve, at each that takes new frames.
/// It runs in the middle of an allocation, in interrupt handlers too: it may set a flag, not allocate or lock.
pub fn set_low_memory_hook(hook: fn()) {
    LOW_MEMORY.call_once(|| hook);
}

/// Whether half of the kernel's reserve is used: somebody has to give memory back before the rest is.
pub fn is_low() -> bool {
    frame_alloc::is_low()
}

fn tell_if_low() {
    if frame_alloc::is_low()
        && let Some(hook) = LOW_MEMORY.get()
    {
        hook();
    }
}

/// Gives memory that is kept for reuse (stacks, page tables, empty slabs, free frames of this CPU) back to the
/// frame allocator. For leak tests and memory pressure. In a task, with no lock held.
pub fn drain_caches() {
    kstack::drain();
    table::drain();
    heap::drain();
    frame_alloc::drain();
}
