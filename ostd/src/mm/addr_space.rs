//! User address spaces: page tables whose upper half is the kernel's.

use super::{Frame, OutOfMemory, Paddr, Vaddr};
use alloc::sync::Arc;
use core::ops::Range;

bitflags::bitflags! {
    /// What a page table entry says beside the frame.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PageFlags: u64 {
        /// User mode may read. Without it the page keeps its frame, and every access faults (PROT_NONE).
        const READ = 1;
        /// User mode may write.
        const WRITE = 1 << 1;
        /// The processor accessed the page.
        const ACCESSED = 1 << 5;
        /// The processor wrote to the page.
        const DIRTY = 1 << 6;
        /// For the owner of the address space: the mapping was writable and is shared until it is written.
        const COW = 1 << 9;
        /// For the owner of the address space, without a meaning here.
        const SOFT1 = 1 << 10;
        /// For the owner of the address space, without a meaning here.
        const SOFT2 = 1 << 11;
        /// User mode may fetch instructions.
        const EXEC = 1 << 63;
    }
}

/// The page tables of a user address space.
pub struct AddrSpace(());

impl AddrSpace {
    /// An empty address space.
    pub fn new() -> Result<Arc<AddrSpace>, OutOfMemory> {
        todo!()
    }

    /// Locks the page tables for reading and changing.
    pub fn lock(&self) -> Mapper<'_> {
        todo!()
    }

    /// Makes this the address space of the CPU. Done by the task switch.
    pub(crate) fn activate(self: &Arc<Self>) {
        todo!()
    }

    /// How many frames the page tables take.
    pub fn page_table_frames(&self) -> usize {
        todo!()
    }

    /// Copies the mappings of `range` from `parent` to `child` for fork: both share the frames, and where the
    /// page is writable both lose WRITE. `child` must have nothing mapped there. Returns the number of pages.
    pub fn fork_range(
        _parent: &mut Mapper,
        _child: &mut Mapper,
        _range: Range<Vaddr>,
    ) -> Result<usize, OutOfMemory> {
        todo!()
    }

    /// As [`fork_range`](Self::fork_range) for shared mappings: the pages stay writable.
    pub fn share_range(
        _parent: &mut Mapper,
        _child: &mut Mapper,
        _range: Range<Vaddr>,
    ) -> Result<usize, OutOfMemory> {
        todo!()
    }
}

/// The locked page tables of an address space. What changes is visible to all CPUs when it is dropped or flushed:
/// frames that were unmapped are freed only then.
pub struct Mapper<'a>(core::marker::PhantomData<&'a AddrSpace>);

impl Mapper<'_> {
    /// Maps `frame` at `va` in place of what was there. Panics when `va` is not a page address below `USER_END`.
    pub fn map(&mut self, _va: Vaddr, _frame: Frame, _flags: PageFlags) -> Result<(), OutOfMemory> {
        todo!()
    }

    /// The page at `va`: its frame and flags.
    pub fn query(&self, _va: Vaddr) -> Option<(Frame, PageFlags)> {
        todo!()
    }

    /// The flags of the page at `va`.
    pub fn query_flags(&self, _va: Vaddr) -> Option<PageFlags> {
        todo!()
    }

    /// The flags of the page at `va` and the number of references to its frame, this mapping included.
    pub fn query_refcount(&self, _va: Vaddr) -> Option<(PageFlags, u32)> {
        todo!()
    }

    /// Gives each mapped page in `range` the flags that `change` makes of the present ones; returns the number of pages.
    pub fn protect(
        &mut self,
        _range: Range<Vaddr>,
        _change: impl FnMut(PageFlags) -> PageFlags,
    ) -> usize {
        todo!()
    }

    /// Unmaps `range`; returns the number of pages that were mapped.
    pub fn unmap(&mut self, _range: Range<Vaddr>) -> usize {
        todo!()
    }

    /// Moves the mappings of `old..old+len` to `new..new+len`, which must not overlap; what was there is unmapped.
    /// On error some pages may have moved; calling it the other way round moves them back.
    pub fn move_range(
        &mut self,
        _old: Vaddr,
        _new: Vaddr,
        _len: usize,
    ) -> Result<usize, OutOfMemory> {
        todo!()
    }

    /// Calls `f` for each mapped page in `range`, in ascending order.
    pub fn for_each_present(&self, _range: Range<Vaddr>, _f: impl FnMut(Vaddr, PageFlags, Paddr)) {
        todo!()
    }

    /// Makes all changes visible to all CPUs now, and frees what was unmapped.
    pub fn flush(&mut self) {
        todo!()
    }
}
