//! What `/proc` and the OOM policy want to know of an address space.

use core::fmt::Write;

use super::{Backing, ProgramRanges, Vm, VmFlags, Vma};
use crate::prelude::*;

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryUse {
    /// All that is mapped (VmSize).
    pub size: usize,
    /// Present pages (VmRSS).
    pub resident: usize,
    /// Of the present pages, those of files and shared memory.
    pub shared: usize,
    /// Of those, the ones of shared memory that is no file's (RssShmem).
    pub shmem: usize,
    /// Private writable mappings without the stack (VmData).
    pub data: usize,
    /// Stack (VmStk).
    pub stack: usize,
    /// Program text (VmExe).
    pub text: usize,
    /// Locked (VmLck).
    pub locked: usize,
    /// Page tables (VmPTE).
    pub page_tables: usize,
}

impl Vm {
    /// How much memory there is of each kind. Walks the page tables: not for hot paths.
    pub fn memory_use(&self) -> MemoryUse {
        let layout = self.layout.read();
        let stack = |vma: &&Vma| vma.attr.flags.contains(VmFlags::GROWS_DOWN);
        let (mut resident, mut owned, mut shmem) = (0, 0, 0);
        let mapper = self.space.lock();
        for vma in layout.vmas.iter() {
            let before = resident - owned;
            mapper.for_each_present(vma.start..vma.end, |_, flags, _| {
                resident += PAGE_SIZE;
                owned += if flags.contains(super::OWNED) { PAGE_SIZE } else { 0 };
            });
            if matches!(&vma.attr.backing, Backing::Object(object, _) if object.is_shared_memory()) {
                shmem += resident - owned - before;
            }
        }
        drop(mapper);
        MemoryUse {
            size: layout.vmas.mapped_bytes(),
            resident,
            shared: resident - owned,
            shmem,
            data: layout.data,
            stack: layout.vmas.iter().filter(stack).map(Vma::len).sum(),
            text: layout.ranges.end_code.saturating_sub(layout.ranges.start_code),
            locked: layout.locked,
            page_tables: self.space.page_table_frames() * PAGE_SIZE,
        }
    }

    /// Where the pieces of the program lie.
    pub fn ranges(&self) -> ProgramRanges {
        self.layout.read().ranges
    }

    /// The auxiliary vector that the program was started with.
    pub fn auxv(&self) -> Arc<[u64]> {
        self.layout.read().auxv.clone()
    }

    /// The lines of `/proc/pid/maps`. They may be as many as there can be vmas: ENOMEM.
    pub fn maps(&self) -> Result<Vec<u8>> {
        self.describe(0, |_, _| {})
    }

    /// A line for each vma, and behind it what `more` writes, about `room` bytes.
    pub(super) fn describe(&self, room: usize, mut more: impl FnMut(&Vma, &mut Vec<u8>)) -> Result<Vec<u8>> {
        const LINE: usize = 128;
        let layout = self.layout.read();
        let heap = layout.brk_start..layout.brk;
        let stack = layout.ranges.start_stack;
        let mut out = Vec::new();
        for vma in layout.vmas.iter() {
            let name = match &vma.attr.backing {
                Backing::Object(object, offset) => Some((object.name(), *offset)),
                Backing::Anonymous => None,
            };
            let special: &[u8] = if vma.start < heap.end && heap.start < vma.end {
                b"[heap]"
            } else if vma.contains(stack) {
                b"[stack]"
            } else {
                b""
            };
            let path = name.as_ref().map_or(0, |(name, _)| name.path.len());
            out.try_reserve(LINE + path + room).map_err(|_| ENOMEM)?;
            map_line(&mut out, vma, name, special);
            more(vma, &mut out);
        }
        Ok(out)
    }
}

/// One line: range, rights, offset, device, inode and, from column 73 on, the name.
fn map_line(out: &mut Vec<u8>, vma: &Vma, object: Option<(super::ObjectName, u64)>, special: &[u8]) {
    let flags = vma.attr.flags;
    let right = |flag, letter| if flags.contains(flag) { letter } else { '-' };
    let (object, offset) = object.unwrap_or_default();
    let mut head = String::new();
    // Writing to a String does not fail.
    let _ = write!(
        head,
        "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ",
        vma.start,
        vma.end,
        right(VmFlags::READ, 'r'),
        right(VmFlags::WRITE, 'w'),
        right(VmFlags::EXEC, 'x'),
        if flags.contains(VmFlags::MAP_SHARED) { 's' } else { 'p' },
        offset,
        object.dev >> 8 & 0xfff,
        object.dev & 0xff | object.dev >> 12 & 0xfff00,
        object.ino,
    );
    let name = if object.path.is_empty() { special } else { &object.path };
    out.extend(head.bytes());
    if !name.is_empty() {
        out.resize(out.len() + 73usize.saturating_sub(head.len()), b' ');
        // A newline in a name must not look like a new mapping.
        for &byte in name {
            if byte == b'\n' { out.extend(b"\\012") } else { out.push(byte) }
        }
    }
    out.push(b'\n');
}
