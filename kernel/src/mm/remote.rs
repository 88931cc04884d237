//! Reading and writing the memory of a program that is not the running one (procfs, process_vm_readv, ptrace), and of a new
//! one (exec).

use ostd::mm::{AllocClass, Frame};

use super::{Access, Backing, FaultError, OWNED, Vm, VmFlags, fault, page_floor};
use crate::prelude::*;

impl Vm {
    /// Copies from `addr` on into `buffer`; returns how many bytes could be read.
    pub fn read_remote(&self, addr: Vaddr, buffer: &mut [u8]) -> usize {
        self.for_pages(addr, buffer.len(), Access::Read, |frame, offset, done| {
            frame.read(offset, &mut buffer[done])
        })
    }

    /// Copies `bytes` to `addr` and on, as the program itself could; returns how many bytes could be written.
    #[cfg(feature = "ktest")]
    pub fn write_remote(&self, addr: Vaddr, bytes: &[u8]) -> usize {
        self.for_pages(addr, bytes.len(), Access::Write, |frame, offset, done| {
            frame.write(offset, &bytes[done])
        })
    }

    /// Clears `len` bytes from `addr` on; returns how many could be.
    pub fn clear_remote(&self, addr: Vaddr, len: usize) -> usize {
        self.for_pages(addr, len, Access::Write, |frame, offset, done| frame.fill_zero(offset, done.len()))
    }

    /// Calls `work` with the frame of each page in the range, the offset in it and the part of the whole that it holds.
    fn for_pages(
        &self,
        addr: Vaddr,
        len: usize,
        access: Access,
        mut work: impl FnMut(&Frame, usize, core::ops::Range<usize>),
    ) -> usize {
        let mut done = 0;
        while done < len {
            let Some(at) = addr.checked_add(done) else { break };
            let offset = at % PAGE_SIZE;
            let part = (PAGE_SIZE - offset).min(len - done);
            let Ok(frame) = self.frame_for(at, access) else { break };
            work(&frame, offset, done..done + part);
            done += part;
        }
        done
    }

    /// The frame of the page that holds `addr`, brought in as an access would.
    pub fn frame_for(&self, addr: Vaddr, access: Access) -> Result<Frame, FaultError> {
        if addr >= ostd::mm::USER_END {
            return Err(FaultError::NotMapped);
        }
        let needed = match access {
            Access::Read => ostd::mm::PageFlags::READ,
            Access::Write => ostd::mm::PageFlags::WRITE,
            Access::Exec => ostd::mm::PageFlags::EXEC,
        };
        loop {
            if let Some((frame, flags)) = self.space.lock().query(page_floor(addr))
                && flags.contains(needed)
            {
                return Ok(frame);
            }
            // With no reference to the page: a fault looks at how many there are.
            self.handle_fault(addr, access)?;
        }
    }

    /// The frame of the page that holds `addr`, for another program: as its own accesses get it, and not more, even where the
    /// processor can't help reading what it executes. With `force`, as a debugger gets it: what is mapped without the right is
    /// read all the same, and of a private mapping written, in a page of the program's own.
    pub fn foreign_frame(&self, addr: Vaddr, access: Access, force: bool) -> Result<Frame, FaultError> {
        if addr >= ostd::mm::USER_END {
            return Err(FaultError::NotMapped);
        }
        let (right, may) = match access {
            Access::Write => (VmFlags::WRITE, VmFlags::MAY_WRITE),
            _ => (VmFlags::READ, VmFlags::MAY_READ),
        };
        let found = self.layout.read().vmas.find(addr).map(|vma| vma.attr.flags);
        match found {
            Some(flags) if !flags.contains(right) => {
                if !force || !flags.contains(may) {
                    return Err(FaultError::Denied);
                }
                if access == Access::Write { self.own_page(page_floor(addr)) } else { self.hidden_page(addr) }
            }
            // Nothing there, unless it is a stack that grows.
            _ => self.frame_for(addr, access),
        }
    }

    /// What a page holds, or would, that the program may not read. It is not mapped for that.
    fn hidden_page(&self, addr: Vaddr) -> Result<Frame, FaultError> {
        let page = page_floor(addr);
        let layout = self.layout.read();
        let vma = layout.vmas.find(page).ok_or(FaultError::NotMapped)?;
        let present = self.space.lock().query(page);
        match (present, vma.attr.object_page(page - vma.start)) {
            (Some((frame, _)), _) => Ok(frame),
            (None, Some((object, index))) => object.frame(index, false),
            (None, None) => fault::zero_page(),
        }
    }

    /// A page of the program's own that it may not write, made if need be, for somebody else to write: a breakpoint in a text.
    fn own_page(&self, page: Vaddr) -> Result<Frame, FaultError> {
        let mut layout = self.layout.write();
        let vma = layout.vmas.find(page).ok_or(FaultError::NotMapped)?;
        let (start, end, flags) = (vma.start, vma.end, vma.attr.flags);
        if flags.contains(VmFlags::MAP_SHARED) || !flags.contains(VmFlags::MAY_WRITE) {
            return Err(FaultError::Denied);
        }
        let original = match vma.attr.object_page(page - start) {
            Some((object, index)) => object.frame(index, false)?,
            None => fault::zero_page()?,
        };
        if matches!(vma.attr.backing, Backing::Object(..)) && !flags.contains(VmFlags::MAY_OWN_PAGES) {
            layout.vmas.update(start, end, |attr| attr.flags |= VmFlags::MAY_OWN_PAGES);
        }
        let mut mapper = self.space.lock();
        let references = mapper.query_refcount(page);
        if let Some((present, 1)) = references
            && present.contains(OWNED)
            && let Some((frame, _)) = mapper.query(page)
        {
            return Ok(frame);
        }
        let from = mapper.query(page).map_or(original, |(frame, _)| frame);
        let copy = Frame::copy_of(&from, AllocClass::User)?;
        mapper.map(page, copy.clone(), flags.page_flags() | OWNED)?;
        if references.is_none() {
            self.count_in(1);
        }
        Ok(copy)
    }
}
