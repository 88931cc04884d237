//! User address spaces: page tables whose upper half is the kernel's.
//!
//! An [`AddrSpace`] owns its tables, and through them one reference to each frame that is mapped. An entry is in
//! use when it is not zero: a page without [`PageFlags::READ`] is not present for the processor and keeps its frame.
//!
//! One spin lock per address space covers the tables; [`Mapper`] is its guard. Whatever takes rights away is noted
//! in a batch and flushed from the TLBs before the lock is released; frames and tables that were unmapped are freed
//! after that. Pages that gain rights need no flush: the fault of whoever has the old entry in its TLB discards it,
//! and the fault handler finds that the access is fine by now.
//!
//! The hot paths are fork ([`AddrSpace::fork_range`]) and the end of an address space (its `drop`, which has it to
//! itself and needs neither lock nor flush: better than unmapping areas one by one). Both work table by table.

mod runs;

use super::frame::{self, Frame};
use super::frame_alloc::{FreeBatch, paddr_of, pfn_of};
use super::table::{self, Table, group_mask, part, span};
use super::tlb::TlbBatch;
use super::{AllocClass, OutOfMemory, PAGE_SIZE, Paddr, USER_END, Vaddr, kernel_space};
use crate::arch::x86::paging::{self, ADDR_MASK, NO_EXEC, PRESENT, USER, WRITE, index};
use crate::cpu::{self, AtomicCpuSet, PerCpu};
use crate::sync::rank::ranks;
use crate::sync::{SpinLock, SpinLockGuard};
use alloc::sync::Arc;
use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

bitflags::bitflags! {
    /// What a page table entry says beside the frame.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PageFlags: u64 {
        /// User mode may read; implied by WRITE and EXEC. Without any of them the page keeps its frame, and every
        /// access faults (PROT_NONE).
        const READ = 1;
        /// User mode may write.
        const WRITE = 1 << 1;
        /// The processor accessed the page.
        const ACCESSED = 1 << 5;
        /// The processor wrote to the page. Changes of rights while other CPUs use the page may lose it.
        const DIRTY = 1 << 6;
        /// For the owner of the address space: the mapping was writable and is shared until it is written.
        /// Set by [`AddrSpace::fork_range`], otherwise without a meaning here.
        const COW = 1 << 9;
        /// For the owner of the address space, without a meaning here.
        const SOFT1 = 1 << 10;
        /// For the owner of the address space, without a meaning here.
        const SOFT2 = 1 << 11;
        /// User mode may fetch instructions.
        const EXEC = 1 << 63;
    }
}

impl PageFlags {
    /// The entry for a frame with these flags; never zero.
    #[inline(always)]
    fn entry(self, pfn: u32) -> u64 {
        let mut bits = (self.bits() ^ NO_EXEC) | USER | paddr_of(pfn) as u64;
        if self.bits() & (WRITE | NO_EXEC) != 0 {
            bits |= PRESENT;
        }
        bits
    }

    /// The flags in an entry. EXEC is the inverse of the processor's bit.
    #[inline(always)]
    fn of(entry: u64) -> PageFlags {
        PageFlags::from_bits_truncate(entry ^ NO_EXEC)
    }
}

/// The frame of an entry.
#[inline(always)]
fn pfn(entry: u64) -> u32 {
    pfn_of((entry & ADDR_MASK) as Paddr)
}

/// Whether the change from `old` to `new` may leave something in a TLB that is wrong.
#[inline(always)]
fn takes_rights(old: u64, new: u64) -> bool {
    // Rights that can be lost: present, write, and (inverted) execute; or another frame.
    let rights = |entry: u64| (entry ^ NO_EXEC) & (PRESENT | WRITE | NO_EXEC);
    old & PRESENT != 0 && (rights(old) & !rights(new) != 0 || (old ^ new) & ADDR_MASK != 0)
}

/// The page tables of a user address space.
pub struct AddrSpace {
    /// The top-level table. Its lower half is changed under `lock`.
    root: Table,
    /// The CPUs that have it loaded.
    active: AtomicCpuSet,
    /// Frames that the tables take.
    tables: AtomicUsize,
    lock: SpinLock<()>,
}

/// The address space that a CPU has loaded (kernel tasks run in that of whoever ran before): a counted reference,
/// or null for the kernel's own tables.
static LOADED: PerCpu<AtomicPtr<AddrSpace>> =
    PerCpu::new([const { AtomicPtr::new(null_mut()) }; cpu::MAX_CPUS]);

impl AddrSpace {
    /// An empty address space.
    pub fn new() -> Result<Arc<AddrSpace>, OutOfMemory> {
        Ok(Arc::new(AddrSpace {
            root: table::new_root()?,
            active: AtomicCpuSet::new(),
            tables: AtomicUsize::new(1),
            lock: SpinLock::new(ranks::PAGE_TABLES, ()),
        }))
    }

    /// Locks the page tables for reading and changing.
    #[inline]
    pub fn lock(&self) -> Mapper<'_> {
        Mapper::new(self, self.lock.lock())
    }

    /// As [`lock`](Self::lock) while another address space is locked: for the child of a fork, which nobody else
    /// knows yet.
    #[inline]
    pub fn lock_nested(&self) -> Mapper<'_> {
        Mapper::new(self, self.lock.lock_nested())
    }

    /// Makes this the address space of the CPU. Done by the task switch, with interrupts off.
    #[inline]
    pub(crate) fn activate(self: &Arc<Self>) {
        let loaded = LOADED.get();
        let old = loaded.load(Ordering::Relaxed);
        if core::ptr::eq(old, Arc::as_ptr(self)) {
            return;
        }
        // Before the tables are loaded; see `tlb`.
        self.active.add(cpu::current());
        // SAFETY: the upper half is the kernel's; `LOADED` keeps the space alive.
        unsafe { paging::load_root(paddr_of(self.root.0)) };
        loaded.store(Arc::into_raw(self.clone()).cast_mut(), Ordering::Relaxed);
        drop(loaded);
        Self::release_loaded(old);
    }

    /// Leaves the address space that the CPU has loaded, if any, for the kernel's own tables: the way to let go of it.
    /// With interrupts off; drop the result, which may be the last reference, with interrupts on.
    #[inline]
    pub(crate) fn deactivate() -> Option<Arc<AddrSpace>> {
        let loaded = LOADED.get();
        let old = loaded.load(Ordering::Relaxed);
        if old.is_null() {
            return None;
        }
        kernel_space::activate();
        loaded.store(null_mut(), Ordering::Relaxed);
        // SAFETY: `activate` stored a reference, and `LOADED` does not have it any more.
        let old = unsafe { Arc::from_raw(old) };
        old.active.remove(cpu::current());
        Some(old)
    }

    /// Whether the CPU has the address space of some program loaded.
    #[inline]
    pub(crate) fn is_any_active() -> bool {
        !LOADED.get().load(Ordering::Relaxed).is_null()
    }

    /// Gives up the reference of `LOADED` to a space that is no longer loaded on this CPU.
    #[inline]
    fn release_loaded(old: *mut AddrSpace) {
        if old.is_null() {
            return;
        }
        // SAFETY: `activate` stored a reference, and `LOADED` does not have it any more.
        let old = unsafe { Arc::from_raw(old) };
        old.active.remove(cpu::current());
    }

    /// Counts tables, under the lock.
    #[inline(always)]
    fn count_tables(&self, more: isize) {
        self.tables.store(self.tables.load(Ordering::Relaxed).wrapping_add_signed(more), Ordering::Relaxed);
    }

    /// How many frames the page tables take.
    pub fn page_table_frames(&self) -> usize {
        self.tables.load(Ordering::Relaxed)
    }

    /// Copies the mappings of `range` from `parent` to `child` for fork: both share the frames, and where the
    /// page is writable both lose WRITE and gain COW. `child` must have nothing mapped there. Returns the number
    /// of pages. On error a part is copied: drop the child.
    pub fn fork_range(
        parent: &mut Mapper,
        child: &mut Mapper,
        range: Range<Vaddr>,
    ) -> Result<usize, OutOfMemory> {
        copy_range(parent, child, range, true)
    }

    /// As [`fork_range`](Self::fork_range) for shared mappings: the pages stay writable.
    pub fn share_range(
        parent: &mut Mapper,
        child: &mut Mapper,
        range: Range<Vaddr>,
    ) -> Result<usize, OutOfMemory> {
        copy_range(parent, child, range, false)
    }

    /// Ends the sharing of the page at `va` that [`fork_range`](Self::fork_range) began: `child` gets a copy, and both may
    /// write again. Does nothing if the page is not such a one, if it lacks some of `flags`, or if anybody but the two has its
    /// frame.
    pub fn copy_shared_page(
        parent: &mut Mapper,
        child: &mut Mapper,
        va: Vaddr,
        flags: PageFlags,
    ) -> Result<(), OutOfMemory> {
        check_page(va);
        let (Some(source), Some(target)) = (parent.find_table(va), child.find_table(va)) else {
            return Ok(());
        };
        let i = index(va, 1);
        let (theirs, shared) = (source.get(i), target.get(i));
        let pfn = pfn(shared);
        let wanted = PageFlags::COW | flags;
        if theirs != shared || !PageFlags::of(shared).contains(wanted) || frame::refcount(pfn) != 2 {
            return Ok(());
        }
        let copy = Frame::copy_of_pfn(pfn, AllocClass::User)?;
        let entry = shared & !PageFlags::COW.bits() | WRITE;
        target.replace(i, entry & !ADDR_MASK | paddr_of(copy.into_pfn()) as u64);
        source.replace(i, entry);
        // The child's: the parent has its own.
        let was_last = frame::release(pfn);
        debug_assert!(!was_last);
        Ok(())
    }
}

fn copy_range(
    parent: &mut Mapper,
    child: &mut Mapper,
    range: Range<Vaddr>,
    cow: bool,
) -> Result<usize, OutOfMemory> {
    check_range(&range);
    let mut pages = 0;
    let mut va = range.start;
    while let Some((source, entries, base, next)) = parent.next_table(va, range.end) {
        va = next;
        let target = child.table_for(base + entries.start * PAGE_SIZE)?;
        let mut copied = 0;
        let mut changed = 0;
        source.for_each_used(entries.clone(), |i, mut entry| {
            if cow && entry & WRITE != 0 {
                entry = entry & !WRITE | PageFlags::COW.bits();
                source.replace(i, entry);
                changed += 1;
            }
            frame::acquire(pfn(entry));
            assert_unused(target.get(i));
            target.set_uncounted(i, entry);
            copied += 1;
        });
        target.add_used(copied, source.groups() & group_mask(&entries));
        if changed > 0 {
            parent.tlb.add_all();
        }
        if copied == 0 {
            child.drop_if_empty(base);
        }
        pages += copied as usize;
    }
    Ok(pages)
}

/// Overwriting a mapping would lose its frame.
#[inline(always)]
fn assert_unused(entry: u64) {
    assert!(entry == 0, "a fork's child has a mapping already");
}

#[inline]
fn check_range(range: &Range<Vaddr>) {
    assert!(
        (range.start | range.end).is_multiple_of(PAGE_SIZE)
            && range.start <= range.end
            && range.end <= USER_END,
        "not a range of user pages"
    );
}

impl Drop for AddrSpace {
    /// Unmaps everything. Nobody has the space loaded (who does has a reference) or locked.
    fn drop(&mut self) {
        let mut batch = FreeBatch::new();
        // The kernel's entries of the root are not counted, nor in its groups.
        clear_table::<4>(self.root, &mut batch);
        table::free_root(self.root);
    }
}

/// Clears a table of level `LEVEL` and everything below, of a space that nobody else has.
fn clear_table<const LEVEL: usize>(table: Table, batch: &mut FreeBatch) {
    table.take_all(|entry| {
        if LEVEL == 1 {
            if frame::release(pfn(entry)) {
                batch.push(pfn(entry));
            }
            return;
        }
        let below = Table(pfn(entry));
        match LEVEL {
            4 => clear_table::<3>(below, batch),
            3 => clear_table::<2>(below, batch),
            _ => clear_table::<1>(below, batch),
        }
        table::free_table(below);
    });
}

/// Frames of entries that were cleared: their references are given up after the flush.
const MAX_PENDING: usize = 128;

/// No page has this address.
const NO_TABLE: (Vaddr, Table) = (Vaddr::MAX, Table(0));

/// The locked page tables of an address space. What changes is visible to all CPUs when it is dropped or flushed:
/// frames that were unmapped are freed only then.
pub struct Mapper<'a> {
    space: &'a AddrSpace,
    tlb: TlbBatch,
    /// The references of the first `pending` frames here are ours.
    frames: [MaybeUninit<u32>; MAX_PENDING],
    pending: usize,
    /// Tables that were taken out, linked by `refcount`; 0 ends the list.
    tables: u32,
    /// The table of level 1 that was used last, behind the first address that it covers; [`NO_TABLE`] if that is gone.
    last: Cell<(Vaddr, Table)>,
    _guard: SpinLockGuard<'a, ()>,
}

impl<'a> Mapper<'a> {
    #[inline]
    fn new(space: &'a AddrSpace, guard: SpinLockGuard<'a, ()>) -> Mapper<'a> {
        Mapper {
            space,
            tlb: TlbBatch::new(),
            frames: [const { MaybeUninit::uninit() }; MAX_PENDING],
            pending: 0,
            tables: 0,
            last: Cell::new(NO_TABLE),
            _guard: guard,
        }
    }

    #[inline(always)]
    fn last_table(&self, base: Vaddr) -> Option<Table> {
        let (at, table) = self.last.get();
        (at == base).then_some(table)
    }

    /// The table of level 1 for `va`, if there is one.
    #[inline]
    fn find_table(&self, va: Vaddr) -> Option<Table> {
        let base = va - va % span(2);
        if let Some(table) = self.last_table(base) {
            return Some(table);
        }
        let mut table = self.space.root;
        for level in [4, 3, 2] {
            let entry = table.get(index(va, level));
            if entry == 0 {
                return None;
            }
            table = Table(pfn(entry));
        }
        self.last.set((base, table));
        Some(table)
    }

    /// The table of level 1 for `va`, made when there is none.
    #[inline]
    fn table_for(&mut self, va: Vaddr) -> Result<Table, OutOfMemory> {
        let base = va - va % span(2);
        if let Some(table) = self.last_table(base) {
            return Ok(table);
        }
        let mut table = self.space.root;
        for level in [4, 3, 2] {
            let i = index(va, level);
            let entry = table.get(i);
            table = if entry != 0 {
                Table(pfn(entry))
            } else {
                let below = table::new_table()?;
                self.space.count_tables(1);
                table.insert(i, paddr_of(below.0) as u64 | PRESENT | WRITE | USER);
                below
            };
        }
        self.last.set((base, table));
        Ok(table)
    }

    /// The first table of level 1 that covers a part of `va..end`: the table, the indices of that part, the first
    /// address that the table covers, and where to go on.
    #[inline]
    fn next_table(&self, mut va: Vaddr, end: Vaddr) -> Option<(Table, Range<usize>, Vaddr, Vaddr)> {
        'walk: while va < end {
            let base = va - va % span(2);
            let (entries, next) = part(va, end, 1);
            if let Some(table) = self.last_table(base) {
                return Some((table, entries, base, next));
            }
            let mut table = self.space.root;
            for level in [4, 3, 2] {
                let entry = table.get(index(va, level));
                if entry == 0 {
                    // Over the hole, whatever its size.
                    va = (va | (span(level) - 1)) + 1;
                    continue 'walk;
                }
                table = Table(pfn(entry));
            }
            self.last.set((base, table));
            return Some((table, entries, base, next));
        }
        None
    }

    /// Takes the table of level 1 for `va` out when it has no entries any more, and those above likewise.
    #[inline]
    fn drop_if_empty(&mut self, va: Vaddr) {
        let mut path = [self.space.root; 4];
        for level in [4, 3, 2] {
            let entry = path[4 - level].get(index(va, level));
            if entry == 0 {
                return;
            }
            path[5 - level] = Table(pfn(entry));
        }
        for level in [2, 3, 4] {
            let below = path[5 - level];
            if below.used() != 0 {
                return;
            }
            path[4 - level].clear(index(va, level));
            self.space.count_tables(-1);
            self.last.set(NO_TABLE);
            self.defer_table(below);
            // The processor may have cached the way to the table.
            self.tlb.add_all();
        }
    }

    /// Keeps a table, which has no entries, until the flush.
    #[inline]
    fn defer_table(&mut self, table: Table) {
        // The count of used entries, which is 0, makes room for the link.
        super::meta::meta(table.0).refcount.store(self.tables, Ordering::Relaxed);
        self.tables = table.0;
    }

    /// Takes over the reference of an entry that was cleared or changed.
    #[inline(always)]
    fn defer(&mut self, entry: u64) {
        if self.pending == MAX_PENDING {
            self.flush();
        }
        self.frames[self.pending].write(pfn(entry));
        self.pending += 1;
    }

    /// Maps `frame` at `va` in place of what was there. Panics when `va` is not a page address below `USER_END`.
    #[inline]
    pub fn map(&mut self, va: Vaddr, frame: Frame, flags: PageFlags) -> Result<(), OutOfMemory> {
        check_page(va);
        let table = self.table_for(va)?;
        let i = index(va, 1);
        let old = table.get(i);
        let new = flags.entry(frame.into_pfn());
        if old == 0 {
            table.insert(i, new);
            return Ok(());
        }
        table.replace(i, new);
        if takes_rights(old, new) {
            self.tlb.add(va);
        }
        self.defer(old);
        Ok(())
    }

    #[inline(always)]
    fn entry(&self, va: Vaddr) -> Option<u64> {
        check_page(va);
        let entry = self.find_table(va)?.get(index(va, 1));
        (entry != 0).then_some(entry)
    }

    /// The page at `va`: its frame and flags.
    #[inline]
    pub fn query(&self, va: Vaddr) -> Option<(Frame, PageFlags)> {
        let entry = self.entry(va)?;
        frame::acquire(pfn(entry));
        // SAFETY: the reference that was just added to that of the mapping.
        Some((unsafe { Frame::from_pfn(pfn(entry)) }, PageFlags::of(entry)))
    }

    /// The flags of the page at `va`.
    #[inline]
    pub fn query_flags(&self, va: Vaddr) -> Option<PageFlags> {
        self.entry(va).map(PageFlags::of)
    }

    /// The flags of the page at `va` and the number of references to its frame, this mapping included.
    #[inline]
    pub fn query_refcount(&self, va: Vaddr) -> Option<(PageFlags, u32)> {
        let entry = self.entry(va)?;
        Some((PageFlags::of(entry), frame::refcount(pfn(entry))))
    }

    /// Gives the page at `va`, if there is one, these flags; returns whether there is.
    #[inline]
    pub fn set_flags(&mut self, va: Vaddr, flags: PageFlags) -> bool {
        check_page(va);
        let Some(table) = self.find_table(va) else {
            return false;
        };
        let i = index(va, 1);
        let old = table.get(i);
        if old == 0 {
            return false;
        }
        let new = flags.entry(pfn(old));
        table.replace(i, new);
        if takes_rights(old, new) {
            self.tlb.add(va);
        }
        true
    }

    /// Gives each mapped page in `range` the flags that `change` makes of the present ones; returns the number of pages.
    pub fn protect(&mut self, range: Range<Vaddr>, mut change: impl FnMut(PageFlags) -> PageFlags) -> usize {
        check_range(&range);
        let mut pages = 0;
        let mut va = range.start;
        while let Some((table, entries, base, next)) = self.next_table(va, range.end) {
            va = next;
            let tlb = &mut self.tlb;
            table.for_each_used(entries, |i, old| {
                pages += 1;
                let new = change(PageFlags::of(old)).entry(pfn(old));
                if new != old {
                    table.replace(i, new);
                    if takes_rights(old, new) {
                        tlb.add(base + i * PAGE_SIZE);
                    }
                }
            });
        }
        pages
    }

    /// Unmaps `range`; returns the number of pages that were mapped.
    pub fn unmap(&mut self, range: Range<Vaddr>) -> usize {
        check_range(&range);
        let mut pages = 0;
        let mut va = range.start;
        while let Some((table, entries, base, next)) = self.next_table(va, range.end) {
            va = next;
            let mut count = 0;
            table.for_each_used(entries, |i, entry| {
                table.clear_uncounted(i);
                count += 1;
                if entry & PRESENT != 0 {
                    self.tlb.add(base + i * PAGE_SIZE);
                }
                self.defer(entry);
            });
            table.sub_used(count);
            pages += count as usize;
            if table.used() == 0 {
                self.drop_if_empty(base);
            }
        }
        pages
    }

    /// Moves the mappings of `old..old+len` to `new..new+len`, which must not overlap; what was there is unmapped.
    /// On error some pages may have moved; calling it the other way round moves them back.
    pub fn move_range(&mut self, old: Vaddr, new: Vaddr, len: usize) -> Result<usize, OutOfMemory> {
        let range = old..old.saturating_add(len);
        check_range(&range);
        check_range(&(new..new.saturating_add(len)));
        assert!(new >= range.end || new + len <= old, "the ranges overlap");
        let mut pages = 0;
        let mut va = old;
        while let Some((source, entries, base, next)) = self.next_table(va, range.end) {
            va = next;
            let mut result = Ok(());
            source.for_each_used(entries, |i, entry| {
                if result.is_err() {
                    return;
                }
                let from = base + i * PAGE_SIZE;
                let to = from - old + new;
                result = self.table_for(to).map(|target| {
                    source.clear(i);
                    if entry & PRESENT != 0 {
                        self.tlb.add(from);
                    }
                    let j = index(to, 1);
                    let there = target.get(j);
                    if there == 0 {
                        target.insert(j, entry);
                    } else {
                        target.replace(j, entry);
                        self.tlb.add(to);
                        self.defer(there);
                    }
                    pages += 1;
                });
            });
            if source.used() == 0 {
                self.drop_if_empty(base);
            }
            result?;
        }
        Ok(pages)
    }

    /// Calls `f` for each mapped page in `range`, in ascending order.
    pub fn for_each_present(&self, range: Range<Vaddr>, mut f: impl FnMut(Vaddr, PageFlags, Paddr)) {
        check_range(&range);
        let mut va = range.start;
        while let Some((table, entries, base, next)) = self.next_table(va, range.end) {
            va = next;
            table.for_each_used(entries, |i, entry| {
                f(base + i * PAGE_SIZE, PageFlags::of(entry), (entry & ADDR_MASK) as Paddr);
            });
        }
    }

    /// Makes all changes visible to all CPUs now, and frees what was unmapped.
    #[inline]
    pub fn flush(&mut self) {
        self.tlb.flush(&self.space.active);
        if self.pending > 0 {
            self.release_frames();
        }
        while self.tables != 0 {
            let table = Table(self.tables);
            let record = super::meta::meta(table.0);
            self.tables = record.refcount.load(Ordering::Relaxed);
            record.refcount.store(0, Ordering::Relaxed);
            table::free_table(table);
        }
    }

    fn release_frames(&mut self) {
        let mut batch = FreeBatch::new();
        for frame in &self.frames[..self.pending] {
            // SAFETY: the first `pending` are written.
            let pfn = unsafe { frame.assume_init() };
            if frame::release(pfn) {
                batch.push(pfn);
            }
        }
        self.pending = 0;
    }
}

impl Drop for Mapper<'_> {
    #[inline]
    fn drop(&mut self) {
        self.flush();
    }
}

#[inline(always)]
fn check_page(va: Vaddr) {
    assert!(va.is_multiple_of(PAGE_SIZE) && va < USER_END, "not a user page");
}
