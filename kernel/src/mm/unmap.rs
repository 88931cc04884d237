//! munmap(2).

use super::{MAX_MAP_COUNT, Vm, page_ceil, user_range};
use crate::prelude::*;

impl Vm {
    /// Unmaps `addr..addr + len`; holes in it are no error.
    ///
    /// # Errors
    /// EINVAL (misaligned, empty or outside of the user's half), ENOMEM (a vma would be split and there are too many).
    pub fn munmap(&self, addr: Vaddr, len: usize) -> Result<()> {
        let len = page_ceil(len).filter(|&len| len > 0).ok_or(EINVAL)?;
        if !addr.is_multiple_of(PAGE_SIZE) || !user_range(addr, len) {
            return Err(EINVAL);
        }
        let range = addr..addr + len;
        let mut layout = self.layout.write();
        let splits =
            layout.vmas.find(range.start).is_some_and(|vma| vma.start < range.start && range.end < vma.end);
        if splits && (layout.vmas.len() >= MAX_MAP_COUNT || !ostd::mm::kernel_reserve_ok(1)) {
            return Err(ENOMEM);
        }
        layout.forget(range.start, range.end);
        self.unmap_pages(range);
        Ok(())
    }
}
