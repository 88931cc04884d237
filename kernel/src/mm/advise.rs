//! madvise(2), msync(2), mincore(2) and the mlock(2) family.

use super::{Layout, MAX_MAP_COUNT, MemoryLimits, Vm, VmFlags, Vma, page_ceil, user_range};
use crate::prelude::*;

/// What to do with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// A hint without effect here.
    Hint,
    /// Bring in what is at hand.
    WillNeed,
    /// Throw private pages away: they read as zero, or as the file, again.
    DontNeed,
    /// Private anonymous pages may be thrown away; here that happens at once.
    Free,
    SetFlags(VmFlags),
    ClearFlags(VmFlags),
    /// Bring all pages in, for reading or writing; errors are reported (MADV_POPULATE_*).
    Populate,
}

impl Advice {
    /// Decodes the advice argument of madvise(2). What Linux without the respective option refuses is EINVAL.
    pub fn decode(advice: usize) -> Result<Advice> {
        Ok(match advice {
            // NORMAL RANDOM SEQUENTIAL, COLD PAGEOUT
            0..=2 | 20 | 21 => Advice::Hint,
            3 => Advice::WillNeed,
            4 | 24 => Advice::DontNeed,
            8 => Advice::Free,
            10 => Advice::SetFlags(VmFlags::DONT_FORK),
            11 => Advice::ClearFlags(VmFlags::DONT_FORK),
            // MERGEABLE, UNMERGEABLE, HUGEPAGE, NOHUGEPAGE: configured out
            12..=15 => return Err(EINVAL),
            16 => Advice::SetFlags(VmFlags::DONT_DUMP),
            17 => Advice::ClearFlags(VmFlags::DONT_DUMP),
            18 => Advice::SetFlags(VmFlags::WIPE_ON_FORK),
            19 => Advice::ClearFlags(VmFlags::WIPE_ON_FORK),
            22 | 23 => Advice::Populate,
            _ => return Err(EINVAL),
        })
    }
}

impl Vm {
    /// madvise(2). A hole is ENOMEM, but the mapped parts are treated all the same.
    pub fn madvise(&self, addr: Vaddr, len: usize, advice: Advice) -> Result<()> {
        let end = checked_end(addr, len, EINVAL)?;
        if addr == end {
            return Ok(());
        }
        match advice {
            Advice::Hint | Advice::WillNeed => self.require_mapped(addr, end),
            Advice::Populate => {
                self.require_mapped(addr, end)?;
                self.populate(addr, end).map_err(Errno::from)
            }
            Advice::DontNeed => self.discard(addr, end, |vma| !vma.attr.flags.contains(VmFlags::LOCKED)),
            Advice::Free => self.discard(addr, end, |vma| {
                matches!(vma.attr.backing, super::Backing::Anonymous)
                    && !vma.attr.flags.contains(VmFlags::LOCKED)
            }),
            Advice::SetFlags(flags) => self.change_flags(addr, end, flags, true),
            Advice::ClearFlags(flags) => self.change_flags(addr, end, flags, false),
        }
    }

    fn require_mapped(&self, addr: Vaddr, end: Vaddr) -> Result<()> {
        if self.layout.read().vmas.covers(addr, end) { Ok(()) } else { Err(ENOMEM) }
    }

    /// Unmaps the pages of `addr..end`, the vmas stay. EINVAL at the first vma that is not `allowed`.
    fn discard(&self, addr: Vaddr, end: Vaddr, allowed: impl Fn(&Vma) -> bool) -> Result<()> {
        let layout = self.layout.read();
        let (mut at, mut hole, mut refused) = (addr, false, false);
        for vma in layout.vmas.overlapping(addr, end) {
            refused = !allowed(vma);
            if refused {
                break;
            }
            hole |= vma.start > at;
            at = vma.end;
        }
        // In one go: there are no pages in a hole.
        self.unmap_pages(addr..at.min(end));
        match (refused, hole || at < end) {
            (true, _) => Err(EINVAL),
            (false, true) => Err(ENOMEM),
            (false, false) => Ok(()),
        }
    }

    fn change_flags(&self, addr: Vaddr, end: Vaddr, flags: VmFlags, set: bool) -> Result<()> {
        let mut layout = self.layout.write();
        if layout.vmas.len() + 2 > MAX_MAP_COUNT || !ostd::mm::kernel_reserve_ok(1) {
            return Err(ENOMEM);
        }
        // Only private anonymous memory can be wiped.
        let anonymous = |vma: &Vma| matches!(vma.attr.backing, super::Backing::Anonymous);
        if set && flags.contains(VmFlags::WIPE_ON_FORK) && !layout.vmas.overlapping(addr, end).all(anonymous)
        {
            return Err(EINVAL);
        }
        let special = |vma: &Vma| vma.attr.flags.contains(VmFlags::SPECIAL);
        if !set && layout.vmas.overlapping(addr, end).any(special) {
            return Err(EINVAL);
        }
        layout.vmas.update(addr, end, |attr| attr.flags.set(flags, set));
        if layout.vmas.covers(addr, end) { Ok(()) } else { Err(ENOMEM) }
    }

    /// msync(2): the page cache is the file, so there is nothing to write; the range is checked.
    pub fn msync(&self, addr: Vaddr, len: usize, invalidate: bool) -> Result<()> {
        let end = checked_end(addr, len, ENOMEM)?;
        let layout = self.layout.read();
        let locked = |vma: &Vma| vma.attr.flags.contains(VmFlags::LOCKED);
        if invalidate && layout.vmas.overlapping(addr, end).any(locked) {
            return Err(EBUSY);
        }
        if layout.vmas.covers(addr, end) { Ok(()) } else { Err(ENOMEM) }
    }

    /// mincore(2): calls `report` with the state of each page from `addr` on; ENOMEM at a hole.
    pub fn mincore(
        &self,
        addr: Vaddr,
        len: usize,
        mut report: impl FnMut(usize, bool) -> Result<()>,
    ) -> Result<()> {
        let end = checked_end(addr, len, ENOMEM)?;
        if !self.layout.read().vmas.covers(addr, end) {
            return Err(ENOMEM);
        }
        for (index, page) in (addr..end).step_by(PAGE_SIZE).enumerate() {
            let present = self.space.lock().query_flags(page).is_some() || self.object_page_at_hand(page);
            report(index, present)?;
        }
        Ok(())
    }

    fn object_page_at_hand(&self, page: Vaddr) -> bool {
        let layout = self.layout.read();
        let Some(vma) = layout.vmas.find(page) else { return false };
        let Some((object, index)) = vma.attr.object_page(page - vma.start) else { return false };
        let mut present = false;
        object.with_run(index, 1, &mut |run| present = matches!(run, [Some(_)]));
        present
    }

    /// mlock(2) and munlock(2). `on_fault`: lock, but bring nothing in (MLOCK_ONFAULT).
    ///
    /// # Errors
    /// EINVAL on overflow, ENOMEM for holes or over RLIMIT_MEMLOCK, EPERM when that is 0.
    pub fn mlock(
        &self,
        addr: Vaddr,
        len: usize,
        lock: bool,
        on_fault: bool,
        limits: &MemoryLimits,
    ) -> Result<()> {
        if lock && limits.locked == 0 {
            return Err(EPERM);
        }
        let start = super::page_floor(addr);
        // A length that wraps around is one of few pages, as on Linux.
        let len = page_ceil(len.wrapping_add(addr - start)).unwrap_or(0);
        let mut layout = self.layout.write();
        let already = start.checked_add(len).map_or(0, |end| layout.locked_bytes(start, end));
        if lock && layout.locked.saturating_add(len) - already.min(len) > limits.locked {
            return Err(ENOMEM);
        }
        let end = start.checked_add(len).ok_or(EINVAL)?;
        if len == 0 {
            return Ok(());
        }
        if layout.vmas.len() + 2 > MAX_MAP_COUNT || !ostd::mm::kernel_reserve_ok(1) {
            return Err(ENOMEM);
        }
        let covered = layout.vmas.covers(start, end);
        layout.vmas.update(start, end, |attr| attr.flags.set(VmFlags::LOCKED, lock));
        layout.locked = layout.locked - already + layout.locked_bytes(start, end);
        drop(layout);
        if !covered {
            return Err(ENOMEM);
        }
        if lock && !on_fault {
            return self.populate(start, end).or(Err(ENOMEM));
        }
        Ok(())
    }

    /// mlockall(2) and munlockall(2): `current` and `future` as MCL_CURRENT and MCL_FUTURE; both false unlocks all.
    pub fn mlockall(&self, current: bool, future: bool, on_fault: bool, limits: &MemoryLimits) -> Result<()> {
        let mut layout = self.layout.write();
        if current && layout.vmas.mapped_bytes() > limits.locked {
            return Err(ENOMEM);
        }
        layout.lock_future = future;
        if !current && future {
            return Ok(());
        }
        layout.vmas.update(0, usize::MAX, |attr| attr.flags.set(VmFlags::LOCKED, current));
        layout.locked = if current { layout.vmas.mapped_bytes() } else { 0 };
        let ranges: Vec<_> = layout.vmas.iter().map(|vma| (vma.start, vma.end)).collect();
        drop(layout);
        if current && !on_fault {
            for (start, end) in ranges {
                // Pages that can't be had (PROT_NONE, beyond the end of a file) are skipped, as on Linux.
                let _ = self.populate(start, end);
            }
        }
        Ok(())
    }
}

impl Layout {
    fn locked_bytes(&self, start: Vaddr, end: Vaddr) -> usize {
        self.vmas
            .overlapping(start, end)
            .filter(|vma| vma.attr.flags.contains(VmFlags::LOCKED))
            .map(|vma| vma.end.min(end) - vma.start.max(start))
            .sum()
    }
}

/// End of a page-aligned range; `outside` when it leaves the user's half.
fn checked_end(addr: Vaddr, len: usize, outside: Errno) -> Result<Vaddr> {
    if !addr.is_multiple_of(PAGE_SIZE) {
        return Err(EINVAL);
    }
    let len = page_ceil(len).ok_or(outside)?;
    if user_range(addr, len) { Ok(addr + len) } else { Err(ENOMEM) }
}
