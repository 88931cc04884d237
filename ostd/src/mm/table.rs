//! Page tables of user address spaces: one table, and where tables come from and go to.
//!
//! A table's record ([`meta`](super::meta)) counts its used entries, and has a bitmap of the groups of 8 entries (a cache
//! line) that may be in use, so that walking a sparse table does not look at 512 entries. A table whose last entry was
//! cleared is full of zeros again. Such tables are kept in a per-CPU list for the next one that is needed, which
//! then has not to be cleared; top-level tables are kept with the kernel's entries in place.

use super::frame_alloc::{self, FreeBatch, vaddr_of};
use super::meta::{KIND_NONE, KIND_TABLE, meta};
use super::{AllocClass, OutOfMemory, Vaddr, kernel_space, local};
use crate::arch::x86::mem;
use crate::arch::x86::paging::{ENTRIES, index};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Entries per bit of the bitmap.
const GROUP: usize = 8;

/// A table of a user address space, by frame number. Copying the handle gives no rights: whoever uses it holds the
/// lock of the address space or is its only owner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Table(pub(super) u32);

impl Table {
    #[inline(always)]
    fn entry(&self, i: usize) -> &AtomicU64 {
        debug_assert!(i < ENTRIES);
        // SAFETY: the frame holds a table of 512 entries as long as the address space that the handle is from.
        unsafe { &*(vaddr_of(self.0).cast::<AtomicU64>()).add(i) }
    }

    /// Entry `i`.
    #[inline(always)]
    pub(super) fn get(&self, i: usize) -> u64 {
        self.entry(i).load(Relaxed)
    }

    /// Changes entry `i`, which is in use and stays in use.
    #[inline(always)]
    pub(super) fn replace(&self, i: usize, value: u64) {
        self.entry(i).store(value, Relaxed);
    }

    /// Sets entry `i`, which is not in use, to a value that is.
    #[inline(always)]
    pub(super) fn insert(&self, i: usize, value: u64) {
        self.entry(i).store(value, Relaxed);
        self.add_used(1, 1 << (i / GROUP));
    }

    /// Clears entry `i`, which is in use.
    #[inline(always)]
    pub(super) fn clear(&self, i: usize) {
        self.entry(i).store(0, Relaxed);
        self.sub_used(1);
    }

    /// Clears entry `i` without counting; [`sub_used`](Self::sub_used) counts several at once.
    #[inline(always)]
    pub(super) fn clear_uncounted(&self, i: usize) {
        self.entry(i).store(0, Relaxed);
    }

    /// Sets entry `i` without counting; [`add_used`](Self::add_used) counts several at once.
    #[inline(always)]
    pub(super) fn set_uncounted(&self, i: usize, value: u64) {
        self.entry(i).store(value, Relaxed);
    }

    #[inline(always)]
    pub(super) fn sub_used(&self, count: u32) {
        let used = &meta(self.0).refcount;
        used.store(used.load(Relaxed) - count, Relaxed);
    }

    /// Counts `count` entries more, which lie in `groups`.
    #[inline(always)]
    pub(super) fn add_used(&self, count: u32, groups: u64) {
        let record = meta(self.0);
        record.refcount.store(record.refcount.load(Relaxed) + count, Relaxed);
        record.bitmap().store(record.bitmap().load(Relaxed) | groups, Relaxed);
    }

    /// The number of entries in use.
    #[inline(always)]
    pub(super) fn used(&self) -> u32 {
        meta(self.0).refcount.load(Relaxed)
    }

    /// The groups that may have entries in use.
    #[inline(always)]
    pub(super) fn groups(&self) -> u64 {
        meta(self.0).bitmap().load(Relaxed)
    }

    /// Forgets all groups of a table that has no entries in use.
    #[inline(always)]
    fn clear_groups(&self) {
        meta(self.0).bitmap().store(0, Relaxed);
    }

    /// Calls `f` with each entry of `range` that is in use. `f` may change the entry.
    #[inline(always)]
    pub(super) fn for_each_used(&self, range: Range<usize>, mut f: impl FnMut(usize, u64)) {
        let mut groups = self.groups() & group_mask(&range);
        while groups != 0 {
            let first = groups.trailing_zeros() as usize * GROUP;
            groups &= groups - 1;
            for i in first.max(range.start)..(first + GROUP).min(range.end) {
                let value = self.get(i);
                if value != 0 {
                    f(i, value);
                }
            }
        }
    }

    /// Takes all entries out of a table that nobody else has: calls `f` with each that was in use.
    #[inline(always)]
    pub(super) fn take_all(&self, mut f: impl FnMut(u64)) {
        let mut left = self.used();
        let mut groups = self.groups();
        while left != 0 && groups != 0 {
            let first = groups.trailing_zeros() as usize * GROUP;
            groups &= groups - 1;
            for i in first..first + GROUP {
                let value = self.get(i);
                if value != 0 {
                    self.clear_uncounted(i);
                    f(value);
                    left -= 1;
                    if left == 0 {
                        break;
                    }
                }
            }
        }
        meta(self.0).refcount.store(0, Relaxed);
        self.clear_groups();
    }
}

/// The bitmap of the groups that `range`, which is not empty, touches.
#[inline(always)]
pub(super) fn group_mask(range: &Range<usize>) -> u64 {
    let (first, last) = (range.start / GROUP, (range.end - 1) / GROUP);
    (u64::MAX << first) & (u64::MAX >> (63 - last))
}

/// Tables in use and kept.
static FRAMES: AtomicUsize = AtomicUsize::new(0);

/// Zeroed tables, and top-level tables with only the kernel's entries, that a CPU keeps; linked by `refcount`.
pub(super) struct KeptTables {
    tables: List,
    roots: List,
}

impl KeptTables {
    pub(super) const fn new() -> KeptTables {
        KeptTables { tables: List::new(), roots: List::new() }
    }
}

struct List {
    head: u32,
    len: u32,
}

const MAX_TABLES: u32 = 48;
const MAX_ROOTS: u32 = 8;

impl List {
    const fn new() -> List {
        List { head: 0, len: 0 }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<u32> {
        let pfn = self.head;
        if pfn == 0 {
            return None;
        }
        self.head = meta(pfn).refcount.load(Relaxed);
        self.len -= 1;
        meta(pfn).refcount.store(0, Relaxed);
        Some(pfn)
    }

    #[inline(always)]
    fn push(&mut self, pfn: u32) {
        meta(pfn).refcount.store(self.head, Relaxed);
        self.head = pfn;
        self.len += 1;
    }
}

/// Runs `f` on what this CPU keeps; `None` in an interrupt handler that came at the wrong moment.
#[inline(always)]
fn with_kept<R>(f: impl FnOnce(&mut KeptTables) -> R) -> Option<R> {
    local::with(|local| &local.tables, f)
}

/// A table without entries.
#[inline]
pub(super) fn new_table() -> Result<Table, OutOfMemory> {
    match with_kept(|kept| kept.tables.pop()).flatten() {
        Some(pfn) => Ok(Table(pfn)),
        None => make_table(),
    }
}

#[cold]
#[inline(never)]
fn make_table() -> Result<Table, OutOfMemory> {
    // Page tables grow with what programs do, so they may not use up the kernel's reserve.
    if !frame_alloc::reserve_ok(1) {
        return Err(OutOfMemory);
    }
    let pfn = frame_alloc::alloc(AllocClass::Kernel).ok_or(OutOfMemory)?;
    // SAFETY: a new frame.
    unsafe { mem::clear_page(vaddr_of(pfn)) };
    let record = meta(pfn);
    record.kind.store(KIND_TABLE, Relaxed);
    record.refcount.store(0, Relaxed);
    record.bitmap().store(0, Relaxed);
    FRAMES.fetch_add(1, Relaxed);
    Ok(Table(pfn))
}

/// A top-level table with the kernel's entries.
#[inline]
pub(super) fn new_root() -> Result<Table, OutOfMemory> {
    if let Some(pfn) = with_kept(|kept| kept.roots.pop()).flatten() {
        return Ok(Table(pfn));
    }
    let root = make_table()?;
    let kernel = super::paddr_to_vaddr(kernel_space::root()) as *const u64;
    for i in ENTRIES / 2..ENTRIES {
        // SAFETY: the kernel's table has 512 entries, and its upper half does not change any more.
        let value = unsafe { kernel.add(i).read() };
        if value != 0 {
            root.set_uncounted(i, value);
        }
    }
    Ok(root)
}

/// Gives back a table without used entries, which no TLB or page walk knows any more.
#[inline]
pub(super) fn free_table(table: Table) {
    debug_assert_eq!(table.used(), 0);
    table.clear_groups();
    let kept = with_kept(|kept| {
        let room = kept.tables.len < MAX_TABLES;
        if room {
            kept.tables.push(table.0);
        }
        room
    });
    if kept != Some(true) {
        free_frame(table.0);
    }
}

/// Gives back a top-level table without used entries in the user half, which no CPU has loaded.
#[inline]
pub(super) fn free_root(root: Table) {
    debug_assert_eq!(root.used(), 0);
    root.clear_groups();
    let kept = with_kept(|kept| {
        let room = kept.roots.len < MAX_ROOTS;
        if room {
            kept.roots.push(root.0);
        }
        room
    });
    if kept != Some(true) {
        free_frame(root.0);
    }
}

#[cold]
fn free_frame(pfn: u32) {
    meta(pfn).kind.store(KIND_NONE, Relaxed);
    FRAMES.fetch_sub(1, Relaxed);
    frame_alloc::free(pfn);
}

/// The frames that tables have, those kept included.
pub(super) fn frames() -> usize {
    FRAMES.load(Relaxed)
}

/// Those that CPUs keep for reuse.
pub(super) fn kept() -> usize {
    let kept = local::running().map(|local| {
        let kept = local.tables.peek();
        // SAFETY: racy reads of numbers, for statistics.
        unsafe {
            (&raw const (*kept).tables.len).read_volatile() + (&raw const (*kept).roots.len).read_volatile()
        }
    });
    kept.sum::<u32>() as usize
}

/// Gives what this CPU keeps back to the frame allocator.
pub(super) fn drain() {
    let mut batch = FreeBatch::new();
    while let Some(pfn) = with_kept(|kept| kept.tables.pop().or_else(|| kept.roots.pop())).flatten() {
        meta(pfn).kind.store(KIND_NONE, Relaxed);
        FRAMES.fetch_sub(1, Relaxed);
        batch.push(pfn);
    }
}

/// The bytes that an entry of `level` covers.
#[inline(always)]
pub(super) const fn span(level: usize) -> usize {
    1 << (12 + 9 * (level - 1))
}

/// The indices at `level` of the part of `start..end` that is in one table with `start`, and where that part ends.
#[inline(always)]
pub(super) const fn part(start: Vaddr, end: Vaddr, level: usize) -> (Range<usize>, Vaddr) {
    let table_end = (start | (span(level + 1) - 1)) + 1;
    let stop = if end < table_end { end } else { table_end };
    (index(start, level)..index(stop - 1, level) + 1, stop)
}
