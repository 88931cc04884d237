//! Attachments of System V shared memory: vmas whose object wants to know of each of them (shmat(2), shmdt(2)).
//!
//! A segment counts its attachments by the references to it, so every vma that goes gives its reference to
//! [`MemoryObject::detach`] instead of dropping it. Such vmas are marked [`SEGMENT`](VmFlags::SEGMENT), never merge, and are
//! as many as Linux has of them.

use ostd::mm::USER_END;

use super::{Backing, Layout, Vm, VmFlags, Vma};
use crate::prelude::*;

/// Whether `vma` is a piece of an attachment that was made at `addr`.
fn begins_at(vma: &Vma, addr: Vaddr) -> bool {
    match &vma.attr.backing {
        Backing::Object(_, offset) => {
            vma.attr.flags.contains(VmFlags::SEGMENT)
                && vma.start >= addr
                && (vma.start - addr) as u64 == *offset
        }
        Backing::Anonymous => false,
    }
}

impl Vm {
    /// shmdt(2): takes what is left of the attachment that was made at `addr` out of the map.
    ///
    /// # Errors
    /// EINVAL when there is none.
    pub fn detach_segment(&self, addr: Vaddr) -> Result<()> {
        if !addr.is_multiple_of(PAGE_SIZE) || addr >= USER_END {
            return Err(EINVAL);
        }
        let mut layout = self.layout.write();
        let mut pieces = layout.vmas.overlapping(addr, USER_END).filter(|vma| begins_at(vma, addr));
        let first = pieces.next().ok_or(EINVAL)?;
        let Backing::Object(object, _) = &first.attr.backing else { return Err(EINVAL) };
        let (id, end) = (object.id(), (addr as u64).saturating_add(object.size()));
        let same = |vma: &&Vma| matches!(&vma.attr.backing, Backing::Object(object, _) if object.id() == id);
        let ranges: Vec<_> = core::iter::once(first)
            .chain(pieces.take_while(|vma| (vma.start as u64) < end).filter(same))
            .map(|vma| vma.start..vma.end)
            .collect();
        for range in ranges {
            layout.forget(range.start, range.end);
            self.unmap_pages(range);
        }
        Ok(())
    }
}

impl Layout {
    /// A copy of the address space has been made: its attachments are new ones.
    pub(super) fn note_attachments(&self) {
        for vma in self.vmas.iter().filter(|vma| vma.attr.flags.contains(VmFlags::SEGMENT)) {
            if let Backing::Object(object, _) = &vma.attr.backing {
                object.attached();
            }
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let layout = self.layout.get_mut();
        if layout.has_segments {
            layout.forget(0, USER_END);
        }
    }
}
