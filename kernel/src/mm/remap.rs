//! mremap(2).

use ::vma::Attributes;

use super::{Layout, MAX_MAP_COUNT, MemoryLimits, Vm, VmFlags, VmaAttr, page_ceil, user_range};
use crate::prelude::*;

/// How a mapping may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Not at all.
    Never,
    /// To wherever there is room.
    Anywhere,
    /// To this address, in place of what is there (MREMAP_FIXED).
    To(Vaddr),
}

impl Vm {
    /// Resizes or moves the mapping at `old`; returns its new address.
    ///
    /// `keep_old` (MREMAP_DONTUNMAP) leaves an empty mapping where the old one was.
    ///
    /// # Errors
    /// EINVAL (misaligned, empty, overlapping, or a flag combination), EFAULT (`old` is not one mapping), ENOMEM, EAGAIN.
    pub fn mremap(
        &self,
        old: Vaddr,
        old_len: usize,
        new_len: usize,
        movement: Move,
        keep_old: bool,
        limits: &MemoryLimits,
    ) -> Result<Vaddr> {
        if !old.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        let old_len = page_ceil(old_len).ok_or(EINVAL)?;
        let new_len = page_ceil(new_len).filter(|&len| len > 0).ok_or(EINVAL)?;
        if !user_range(old, old_len) || (keep_old && old_len != new_len) {
            return Err(EINVAL);
        }
        if let Move::To(new) = movement {
            let apart = new.checked_add(new_len).is_some_and(|end| end <= old) || old + old_len <= new;
            if !new.is_multiple_of(PAGE_SIZE) || !user_range(new, new_len) || !apart {
                return Err(EINVAL);
            }
        }
        let mut layout = self.layout.write();
        let (address, grown) =
            self.remap_locked(&mut layout, old, old_len, new_len, movement, keep_old, limits)?;
        let locked = layout.vmas.find(address).is_some_and(|vma| vma.attr.flags.contains(VmFlags::LOCKED));
        drop(layout);
        if locked && grown {
            let _ = self.populate(address, address + new_len);
        }
        Ok(address)
    }

    #[allow(clippy::too_many_arguments)]
    fn remap_locked(
        &self,
        layout: &mut Layout,
        old: Vaddr,
        old_len: usize,
        new_len: usize,
        movement: Move,
        keep_old: bool,
        limits: &MemoryLimits,
    ) -> Result<(Vaddr, bool)> {
        let vma = layout.vmas.find(old).ok_or(EFAULT)?;
        let attr = if vma.start == old { vma.attr.clone() } else { vma.attr.tail(old - vma.start) };
        let vma_end = vma.end;
        let shared = attr.flags.contains(VmFlags::SHARED);
        if old_len == 0 && !shared {
            // A second mapping of the same pages exists only for shared memory.
            return Err(EINVAL);
        }
        if keep_old && shared {
            return Err(EINVAL);
        }
        let fixed = matches!(movement, Move::To(_));
        if !fixed && !keep_old && old_len > 0 && new_len <= old_len {
            // Shrinking in place needs no single mapping: it is munmap of the tail.
            if new_len < old_len {
                layout.forget(old + new_len, old + old_len);
                self.unmap_pages(old + new_len..old + old_len);
            }
            return Ok((old, false));
        }
        if old + old_len > vma_end || (new_len > old_len && attr.flags.contains(VmFlags::SPECIAL)) {
            return Err(EFAULT);
        }
        let added = if keep_old { new_len } else { new_len.saturating_sub(old_len) };
        layout.may_expand(added, 0, attr.flags, limits)?;
        if !fixed && !keep_old && old_len > 0 && old + old_len == vma_end {
            let extension = (vma_end, old + new_len);
            if user_range(old, new_len) && layout.vmas.is_free(extension.0, extension.1) {
                layout.enter(extension.0, extension.1, attr.tail(old_len))?;
                return Ok((old, true));
            }
        }
        let new = match movement {
            Move::Never => return Err(ENOMEM),
            Move::Anywhere => layout.find_gap(new_len)?,
            Move::To(new) => {
                layout.forget(new, new + new_len);
                self.unmap_pages(new..new + new_len);
                new
            }
        };
        if layout.vmas.len() + 3 > MAX_MAP_COUNT {
            return Err(ENOMEM);
        }
        self.move_pages(old, new, old_len.min(new_len))?;
        layout.finish_move(old, old_len, keep_old, &attr);
        if !keep_old && old_len > new_len {
            self.unmap_pages(old + new_len..old + old_len);
        }
        layout.enter(new, new + new_len, attr)?;
        Ok((new, new_len > old_len))
    }

    /// Moves the page table entries; on failure everything is where it was.
    fn move_pages(&self, old: Vaddr, new: Vaddr, len: usize) -> Result<()> {
        if len == 0 {
            return Ok(());
        }
        let mut mapper = self.space.lock();
        if mapper.move_range(old, new, len).is_err() {
            // The way back needs no new tables: the old ones are there.
            let _ = mapper.move_range(new, old, len);
            return Err(ENOMEM);
        }
        Ok(())
    }
}

impl Layout {
    /// Takes the old place out of the map, or leaves an empty mapping there.
    fn finish_move(&mut self, old: Vaddr, old_len: usize, keep_old: bool, attr: &VmaAttr) {
        if old_len == 0 {
            return;
        }
        self.forget(old, old + old_len);
        if keep_old {
            let mut flags = attr.flags;
            flags.remove(VmFlags::LOCKED);
            let empty = VmaAttr { flags, backing: attr.backing.clone() };
            // The range was just freed, so it can't be occupied.
            let entered = self.enter(old, old + old_len, empty);
            debug_assert!(entered.is_ok());
        }
    }
}
