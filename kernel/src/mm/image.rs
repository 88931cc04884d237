//! What exec needs to fill an address space that nobody runs in yet.

use ostd::mm::{Frame, PageFlags};

use super::{Backing, MemoryLimits, OWNED, ProgramRanges, Vm, VmFlags, VmaAttr};
use crate::prelude::*;

impl Vm {
    /// Free room for `len` bytes in the mmap area.
    ///
    /// # Errors
    /// ENOMEM
    pub fn find_gap(&self, len: usize) -> Result<Vaddr> {
        self.layout.write().find_gap(len)
    }

    /// Maps a stack at `low..top`, and `frames` as its pages from `start` on.
    ///
    /// # Errors
    /// ENOMEM, also when something is mapped there already.
    pub fn map_stack(
        &self,
        low: Vaddr,
        top: Vaddr,
        executable: bool,
        start: Vaddr,
        frames: Vec<Frame>,
        limits: &MemoryLimits,
    ) -> Result<()> {
        let mut flags = VmFlags::READ | VmFlags::WRITE | VmFlags::GROWS_DOWN | VmFlags::MAY_ACCESS;
        flags.set(VmFlags::EXEC, executable);
        let mut layout = self.layout.write();
        layout.may_expand(top - low, 0, flags, limits)?;
        layout.enter(low, top, VmaAttr { flags, backing: Backing::Anonymous })?;
        let mut mapper = self.space.lock();
        self.count_in(frames.len());
        for (addr, frame) in (start..).step_by(PAGE_SIZE).zip(frames) {
            mapper.map(addr, frame, flags.page_flags() | PageFlags::WRITE | OWNED)?;
        }
        Ok(())
    }

    /// Records what the address space was filled with; the heap begins at `heap`.
    pub fn set_program(&self, heap: Vaddr, ranges: ProgramRanges, auxv: Arc<[u64]>) {
        let mut layout = self.layout.write();
        layout.brk_start = heap;
        layout.brk = heap;
        layout.ranges = ranges;
        layout.auxv = auxv;
    }
}
