//! mprotect(2).

use ostd::mm::PageFlags;

use super::{Backing, Layout, MAX_MAP_COUNT, MemoryLimits, Vm, VmFlags, page_ceil, user_range};
use crate::prelude::*;

impl Vm {
    /// Gives `addr..addr + len` the access rights `access`. As on Linux, the part before the first hole or refusal is changed
    /// even when the call fails.
    ///
    /// # Errors
    /// EINVAL (misaligned), ENOMEM (a hole, too many mappings, over RLIMIT_DATA), EACCES (the file was not opened for it).
    pub fn mprotect(&self, addr: Vaddr, len: usize, access: VmFlags, limits: &MemoryLimits) -> Result<()> {
        if !addr.is_multiple_of(PAGE_SIZE) {
            return Err(EINVAL);
        }
        if len == 0 {
            return Ok(());
        }
        let len = page_ceil(len).ok_or(ENOMEM)?;
        if !user_range(addr, len) {
            return Err(ENOMEM);
        }
        let mut layout = self.layout.write();
        let denied =
            layout.vmas.overlapping(addr, addr + len).find(|vma| self.denies_exec(vma.attr.flags, access));
        let allowed_end = denied.map_or(addr + len, |vma| vma.start.max(addr));
        let (end, mut result) = layout.changeable(addr, allowed_end, access, limits);
        if denied.is_some() && result.is_ok() {
            result = Err(EACCES);
        }
        if end > addr {
            self.apply(&mut layout, addr, end, access);
        }
        result
    }

    fn apply(&self, layout: &mut Layout, start: Vaddr, end: Vaddr, access: VmFlags) {
        let data_before = layout.data_bytes(start, end);
        layout.vmas.update(start, end, |attr| {
            attr.flags = attr.flags.difference(VmFlags::ACCESS) | access;
            let shared = attr.flags.contains(VmFlags::SHARED);
            if matches!(attr.backing, Backing::Object(..)) && access.contains(VmFlags::WRITE) && !shared {
                attr.flags |= VmFlags::MAY_OWN_PAGES;
            }
        });
        layout.data = layout.data - data_before + layout.data_bytes(start, end);
        let rights = PageFlags::READ | PageFlags::WRITE | PageFlags::EXEC;
        let new = access.page_flags();
        let writable = access.contains(VmFlags::WRITE);
        // The right to write is only taken away here: it comes back by a fault, which knows who else uses the page.
        self.space.lock().protect(start..end, |old| {
            let keep_write = if writable { old & PageFlags::WRITE } else { PageFlags::empty() };
            old.difference(rights) | new | keep_write
        });
    }
}

impl Layout {
    /// How far from `start` the rights may be changed, and why not up to `end`.
    fn changeable(
        &self,
        start: Vaddr,
        end: Vaddr,
        access: VmFlags,
        limits: &MemoryLimits,
    ) -> (Vaddr, Result<()>) {
        // Both ends may split a vma.
        if self.vmas.len() + 2 > MAX_MAP_COUNT || !ostd::mm::kernel_reserve_ok(1) {
            return (start, Err(ENOMEM));
        }
        let may_needed = VmFlags::from_bits_truncate(access.bits() << 4);
        let mut at = start;
        let mut data = self.data;
        for vma in self.vmas.overlapping(start, end) {
            if vma.start > at {
                return (at, Err(ENOMEM));
            }
            if !vma.attr.flags.contains(may_needed) {
                return (at, Err(EACCES));
            }
            let private = !vma.attr.flags.intersects(VmFlags::SHARED | VmFlags::GROWS_DOWN);
            if access.contains(VmFlags::WRITE) && private && !vma.attr.flags.contains(VmFlags::WRITE) {
                data += vma.end.min(end) - at;
                if data > limits.data {
                    return (at, Err(ENOMEM));
                }
            }
            at = vma.end.min(end);
        }
        (at, if at < end { Err(ENOMEM) } else { Ok(()) })
    }

    /// Bytes in `start..end` that count for RLIMIT_DATA.
    pub(super) fn data_bytes(&self, start: Vaddr, end: Vaddr) -> usize {
        self.vmas
            .overlapping(start, end)
            .filter(|vma| vma.attr.flags.is_data())
            .map(|vma| vma.end.min(end) - vma.start.max(start))
            .sum()
    }
}
