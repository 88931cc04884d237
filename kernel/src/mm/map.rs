//! mmap(2): choosing the place, checking the limits, entering the vma.

use super::{
    Backing, Layout, MAX_MAP_COUNT, MMAP_MIN_ADDR, MemoryLimits, MemoryObject, STACK_GUARD, SharedMemory, Vm,
    VmFlags, VmaAttr, page_ceil, user_range,
};
use crate::prelude::*;
use ostd::mm::USER_END;

/// Where a mapping is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Anywhere; at the hint if that is free (0: no hint).
    Hint(Vaddr),
    /// Anywhere in the low 2 GiB (MAP_32BIT); at the hint if that is free and low.
    Low(Vaddr),
    /// Exactly there, in place of what was there (MAP_FIXED).
    Fixed(Vaddr),
    /// Exactly there, if it is free (MAP_FIXED_NOREPLACE).
    FixedNoReplace(Vaddr),
}

/// A mapping to be made.
pub struct MapRequest {
    pub placement: Placement,
    /// In bytes, not rounded.
    pub len: usize,
    /// Access rights, SHARED and so on; the MAY rights are those that the file's open mode leaves.
    pub flags: VmFlags,
    /// The object and a page-aligned offset in it; `None` for anonymous memory.
    pub object: Option<(Arc<dyn MemoryObject>, u64)>,
    /// MAP_POPULATE: bring all pages in.
    pub populate: bool,
}

impl MapRequest {
    /// A private anonymous mapping.
    #[cfg(feature = "ktest")]
    pub fn anonymous(placement: Placement, len: usize, access: VmFlags) -> MapRequest {
        MapRequest { placement, len, flags: access | VmFlags::MAY_ACCESS, object: None, populate: false }
    }
}

impl Vm {
    /// Makes a mapping and returns its address.
    ///
    /// # Errors
    /// EINVAL (length 0, misaligned fixed address), ENOMEM (no room, limits, too many mappings, absurd size), EEXIST
    /// (NOREPLACE), EACCES (PR_SET_MDWE), EPERM (below mmap_min_addr), EAGAIN (over RLIMIT_MEMLOCK).
    pub fn mmap(self: &Arc<Self>, request: MapRequest, limits: &MemoryLimits) -> Result<Vaddr> {
        if request.len == 0 {
            return Err(EINVAL);
        }
        let len = page_ceil(request.len).ok_or(ENOMEM)?;
        if let Some((_, offset)) = request.object {
            offset.checked_add(len as u64).filter(|&end| i64::try_from(end).is_ok()).ok_or(EOVERFLOW)?;
        }
        if self.denies_exec(VmFlags::EXEC, request.flags) {
            return Err(EACCES);
        }
        let mut layout = self.layout.write();
        if layout.vmas.len() >= MAX_MAP_COUNT {
            return Err(ENOMEM);
        }
        let start = layout.place(request.placement, len)?;
        if start < MMAP_MIN_ADDR && !limits.low_addresses {
            return Err(EPERM);
        }
        let mut attr = VmaAttr { flags: request.flags, backing: backing(request.object, request.flags, len) };
        if layout.lock_future {
            attr.flags |= VmFlags::LOCKED;
        }
        layout.settle(&mut attr, start, len, limits)?;
        if let Backing::Object(object, _) = &attr.backing {
            layout.register(&**object, self);
        }
        if matches!(request.placement, Placement::Fixed(_)) && !layout.vmas.is_free(start, start + len) {
            layout.forget(start, start + len);
            self.unmap_pages(start..start + len);
        }
        let populate = (request.populate || attr.flags.contains(VmFlags::LOCKED))
            && attr.flags.intersects(VmFlags::ACCESS);
        layout.enter(start, start + len, attr)?;
        drop(layout);
        if populate {
            // Only a help: what fails here fails again, with the right signal, when it is touched.
            let _ = self.populate(start, start + len);
        }
        Ok(start)
    }
}

/// What is behind a new mapping; shared anonymous memory becomes an object of its own.
fn backing(object: Option<(Arc<dyn MemoryObject>, u64)>, flags: VmFlags, len: usize) -> Backing {
    match object {
        Some((object, offset)) => Backing::Object(object, offset),
        None if flags.contains(VmFlags::SHARED) => Backing::Object(Arc::new(SharedMemory::new(len)), 0),
        None => Backing::Anonymous,
    }
}

impl Layout {
    /// Finds the address for `len` bytes (a multiple of the page size).
    fn place(&mut self, placement: Placement, len: usize) -> Result<Vaddr> {
        if len > USER_END {
            return Err(ENOMEM);
        }
        match placement {
            Placement::Fixed(addr) | Placement::FixedNoReplace(addr) => {
                if addr > USER_END - len {
                    return Err(ENOMEM);
                }
                if !addr.is_multiple_of(PAGE_SIZE) {
                    return Err(EINVAL);
                }
                if matches!(placement, Placement::FixedNoReplace(_)) && !self.vmas.is_free(addr, addr + len) {
                    return Err(EEXIST);
                }
                Ok(addr)
            }
            Placement::Hint(hint) => match self.at_hint(hint, len, USER_END) {
                Some(addr) => Ok(addr),
                None => self.find_gap(len),
            },
            Placement::Low(hint) => match self.at_hint(hint, len, 1 << 31) {
                Some(addr) => Ok(addr),
                None => self.vmas.find_gap_bottom_up(len, 1 << 30, 1 << 31).ok_or(ENOMEM),
            },
        }
    }

    /// The hint, when there is one and the range there is free, with the guard of a stack above it.
    fn at_hint(&self, hint: Vaddr, len: usize, end: usize) -> Option<Vaddr> {
        let addr = page_ceil(hint).filter(|&addr| addr != 0)?.max(MMAP_MIN_ADDR);
        let above = self.vmas.find_at_or_above(addr);
        let guard =
            above.map_or(0, |vma| if vma.attr.flags.contains(VmFlags::GROWS_DOWN) { STACK_GUARD } else { 0 });
        let free = len <= end && addr <= end - len && above.is_none_or(|vma| addr + len + guard <= vma.start);
        free.then_some(addr)
    }

    /// Free room for `len` bytes: the highest below the base of the mmap area, or any at all.
    pub(super) fn find_gap(&mut self, len: usize) -> Result<Vaddr> {
        let base = self.mmap_base;
        self.vmas
            .find_gap_top_down(len, MMAP_MIN_ADDR, base)
            .or_else(|| self.vmas.find_gap_bottom_up(len, USER_END / 3, USER_END))
            .ok_or(ENOMEM)
    }

    /// The checks that come before a mapping of `len` bytes at `start` is entered; sets the flags that follow from others.
    fn settle(&self, attr: &mut VmaAttr, start: Vaddr, len: usize, limits: &MemoryLimits) -> Result<()> {
        let replaced: usize = self
            .vmas
            .overlapping(start, start + len)
            .map(|vma| vma.end.min(start + len) - vma.start.max(start))
            .sum();
        if matches!(attr.backing, Backing::Object(..))
            && attr.flags.contains(VmFlags::WRITE)
            && !attr.flags.contains(VmFlags::SHARED)
        {
            attr.flags |= VmFlags::MAY_OWN_PAGES;
        }
        self.may_expand(len, replaced, attr.flags, limits)
    }

    /// Whether `added` more bytes of a vma with `flags` are within the limits, when `replaced` bytes go away.
    ///
    /// # Errors
    /// ENOMEM over RLIMIT_AS or RLIMIT_DATA, or for a size that memory can never back; EAGAIN over RLIMIT_MEMLOCK.
    pub(super) fn may_expand(
        &self,
        added: usize,
        replaced: usize,
        flags: VmFlags,
        limits: &MemoryLimits,
    ) -> Result<()> {
        if flags.contains(VmFlags::LOCKED) && (self.locked + added).saturating_sub(replaced) > limits.locked {
            return Err(EAGAIN);
        }
        if (self.vmas.mapped_bytes() + added).saturating_sub(replaced) > limits.address_space {
            return Err(ENOMEM);
        }
        if flags.is_data() {
            if (self.data + added).saturating_sub(replaced) > limits.data {
                return Err(ENOMEM);
            }
            // The overcommit heuristic: a single promise that exceeds all memory is refused.
            if !flags.contains(VmFlags::NO_RESERVE) && added / PAGE_SIZE > ostd::mm::total_frames() {
                return Err(ENOMEM);
            }
        }
        // The map itself lives in the kernel's memory.
        if !ostd::mm::kernel_reserve_ok(1) {
            return Err(ENOMEM);
        }
        Ok(())
    }

    /// Enters a vma whose range is free.
    pub(super) fn enter(&mut self, start: Vaddr, end: Vaddr, attr: VmaAttr) -> Result<()> {
        debug_assert!(user_range(start, end - start));
        let flags = attr.flags;
        self.vmas.insert(start, end, attr).map_err(|_| ENOMEM)?;
        if flags.contains(VmFlags::LOCKED) {
            self.locked += end - start;
        }
        if flags.is_data() {
            self.data += end - start;
        }
        self.has_segments |= flags.contains(VmFlags::SEGMENT);
        Ok(())
    }
}
