//! Memory: frames, heap, kernel stacks, page tables and user address spaces.

mod addr_space;
mod frame;
mod heap;

pub use addr_space::{AddrSpace, Mapper, PageFlags};
pub use frame::{AllocClass, Frame, FrameWriter};

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
/// Called once, on the boot CPU, before anything is allocated. `map` is the machine's, and nothing in its usable
/// regions is in use but the kernel image and `initramfs`.
pub(crate) unsafe fn init(
    _map: crate::boot::MemoryMap,
    _initramfs: Option<core::ops::Range<Paddr>>,
) {
}

/// Gives memory that was kept from the frame allocator at boot to it.
///
/// # Safety
/// The pages that `range` touches were reserved by [`init`] and nobody uses them any more.
pub(crate) unsafe fn free_boot_memory(_range: core::ops::Range<Paddr>) {}

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

/// The present use of memory. A snapshot: counters of other CPUs may be moving.
pub fn stats() -> MemStats {
    todo!()
}

/// Whether the kernel can take `frames` more frames for itself and keep its reserve. Callers that are about to
/// make long-lived kernel objects (fork, exec, mount) fail with ENOMEM early when it says no.
pub fn kernel_reserve_ok(_frames: usize) -> bool {
    todo!()
}

/// Gives memory that is kept for reuse (stacks, page tables, empty slabs, per-CPU frames of this CPU) back to
/// the frame allocator. For leak tests and memory pressure.
pub fn drain_caches() {
    todo!()
}
