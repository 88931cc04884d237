//! Reading and writing the memory of a program that is not the running one (procfs, ptrace), and of a new one (exec).

use ostd::mm::Frame;

use super::{Access, FaultError, Vm, page_floor};
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
}
