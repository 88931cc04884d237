//! What of an address space goes into a core dump (core(5), "Controlling which mappings are written").

use ostd::mm::Frame;

use super::{Backing, OWNED, Vm, VmFlags, Vma};
use crate::prelude::*;

/// Bits of /proc/PID/coredump_filter.
mod filter {
    pub const ANON_PRIVATE: u16 = 1 << 0;
    pub const ANON_SHARED: u16 = 1 << 1;
    pub const MAPPED_PRIVATE: u16 = 1 << 2;
    pub const MAPPED_SHARED: u16 = 1 << 3;
    pub const ELF_HEADERS: u16 = 1 << 4;
}

/// A mapping in a core.
pub struct DumpSegment {
    pub start: Vaddr,
    pub end: Vaddr,
    /// As in an ELF program header: 1 execute, 2 write, 4 read.
    pub rights: u32,
    /// How many bytes of it are in the core.
    pub file_len: usize,
    /// Name of the file behind it, and the page of it where the mapping starts.
    pub file: Option<(Vec<u8>, u64)>,
}

impl Vm {
    /// How many mappings there are.
    pub fn mappings(&self) -> usize {
        self.layout.read().vmas.len()
    }

    /// All mappings, in order.
    pub fn dump_segments(&self) -> Vec<DumpSegment> {
        let layout = self.layout.read();
        layout.vmas.iter().map(|vma| self.dump_segment(vma)).collect()
    }

    fn dump_segment(&self, vma: &Vma) -> DumpSegment {
        let flags = vma.attr.flags;
        let right = |flag, bit| if flags.contains(flag) { bit } else { 0 };
        DumpSegment {
            start: vma.start,
            end: vma.end,
            rights: right(VmFlags::EXEC, 1) | right(VmFlags::WRITE, 2) | right(VmFlags::READ, 4),
            file_len: self.dump_len(vma),
            file: match &vma.attr.backing {
                Backing::Object(object, offset) if !flags.contains(VmFlags::SPECIAL) => {
                    Some((object.name().path, offset / PAGE_SIZE as u64))
                }
                _ => None,
            },
        }
    }

    fn dump_len(&self, vma: &Vma) -> usize {
        let wanted = |bit| self.dump_filter() & bit != 0;
        let flags = vma.attr.flags;
        if flags.contains(VmFlags::DONT_DUMP) {
            return 0;
        }
        if flags.contains(VmFlags::SPECIAL) {
            return vma.len();
        }
        let object = match &vma.attr.backing {
            Backing::Object(object, offset) => Some((object, *offset)),
            Backing::Anonymous => None,
        };
        if let Some((object, _)) = object
            && flags.contains(VmFlags::SHARED)
        {
            let bit = if object.is_unlinked() { filter::ANON_SHARED } else { filter::MAPPED_SHARED };
            return if wanted(bit) { vma.len() } else { 0 };
        }
        if wanted(filter::ANON_PRIVATE) && self.owns_pages(vma) {
            return vma.len();
        }
        let Some((object, offset)) = object else { return 0 };
        if wanted(filter::MAPPED_PRIVATE) {
            return vma.len();
        }
        // The first page of a program tells which it is.
        let is_start = offset == 0 && flags.contains(VmFlags::READ);
        let mut magic = [0; 4];
        let mut is_elf = || super::read_object(&**object, 0, &mut magic).is_ok() && magic == *b"\x7fELF";
        if wanted(filter::ELF_HEADERS) && is_start && is_elf() { PAGE_SIZE } else { 0 }
    }

    /// Whether any page of it has been written by this program.
    fn owns_pages(&self, vma: &Vma) -> bool {
        let mut owned = false;
        self.space.lock().for_each_present(vma.start..vma.end, |_, flags, _| owned |= flags.contains(OWNED));
        owned
    }

    /// What the page at `addr` holds; `None` if it reads as zeros because nobody has touched it.
    pub fn dump_page(&self, addr: Vaddr) -> Option<Frame> {
        if let Some((frame, _)) = self.space.lock().query(addr) {
            return Some(frame);
        }
        let layout = self.layout.read();
        let vma = layout.vmas.find(addr)?;
        let (object, index) = vma.attr.object_page(addr - vma.start)?;
        object.frame(index, false).ok()
    }
}
