//! /proc/pid/mem and pagemap: the memory of a process as a file, where an address is a position, and what its page tables say of
//! it (proc(5)).
//!
//! Who may open them has a debugger's rights, so reads and writes get as far as a debugger's: pages that the program itself may
//! not read are read, and those of private mappings that it may not write are written, in a copy of its own. The files are about
//! the memory that the process had when they were opened, and do not keep it: after its end nothing is there to read.

use alloc::sync::Weak;

use super::{memory::inspected_vm, task::TaskRef};
use crate::{
    fs::{
        file::{File, FileOps, SEEK_CUR, SEEK_SET},
        io::{ReadBuf, WriteBuf},
    },
    mm::{Access, PageInfo, Vm},
    prelude::*,
    process::{Cap, Thread},
};

/// ESRCH for a zombie, EACCES without a debugger's rights.
pub fn open(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    Ok(Box::new(MemFile { vm: Arc::downgrade(&inspected_vm(task)?.ok_or(ESRCH)?) }))
}

/// The same. Where the frames are in the machine's memory is told to CAP_SYS_ADMIN.
pub fn open_pagemap(task: &TaskRef) -> Result<Box<dyn FileOps>> {
    let vm = Arc::downgrade(&inspected_vm(task)?.ok_or(ESRCH)?);
    Ok(Box::new(PageMapFile { vm, shows_frames: Thread::current().creds().capable(Cap::SysAdmin) }))
}

/// An open mem.
struct MemFile {
    vm: Weak<Vm>,
}

impl MemFile {
    /// Moves the parts of pages that hold `pos` and what follows it, `len` bytes in all.
    ///
    /// # Errors
    /// EIO if there is not one byte there; what `step` says.
    fn transfer(
        &self,
        pos: u64,
        len: usize,
        access: Access,
        mut step: impl FnMut(&ostd::mm::Frame, usize, usize) -> Result<usize>,
    ) -> Result<usize> {
        // Positions are addresses: they go up to the last, but not around.
        if (pos as i64) < 0 && len as u64 >= pos.wrapping_neg() {
            return Err(EOVERFLOW);
        }
        let Some(vm) = self.vm.upgrade() else { return Ok(0) };
        let mut done = 0;
        while done < len {
            let at = pos as usize + done;
            let offset = at % PAGE_SIZE;
            let part = (PAGE_SIZE - offset).min(len - done);
            match vm.foreign_frame(at, access, true) {
                Ok(frame) => done += step(&frame, offset, part)?,
                Err(_) if done == 0 => return Err(EIO),
                Err(_) => break,
            }
        }
        Ok(done)
    }
}

/// Addresses of the upper half are positions too, and there is no end.
fn seek(current: u64, offset: i64, whence: u32) -> Result<u64> {
    match whence {
        SEEK_SET => Ok(offset as u64),
        SEEK_CUR => Ok(current.wrapping_add_signed(offset)),
        _ => Err(EINVAL),
    }
}

impl FileOps for MemFile {
    fn read_at(&self, _: &File, buf: &mut ReadBuf, pos: u64) -> Result<usize> {
        self.transfer(pos, buf.left(), Access::Read, |frame, offset, len| buf.put_frame(frame, offset, len))
    }

    fn write_at(&self, _: &File, buf: &mut WriteBuf, pos: u64) -> Result<(usize, u64)> {
        let len = buf.left();
        let done = self
            .transfer(pos, len, Access::Write, |frame, offset, part| buf.take_frame(frame, offset, part))?;
        Ok((done, pos.wrapping_add(done as u64)))
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &File, current: u64, offset: i64, whence: u32) -> Result<u64> {
        seek(current, offset, whence)
    }
}

/// An open pagemap: a word for each page.
struct PageMapFile {
    vm: Weak<Vm>,
    shows_frames: bool,
}

const ENTRY: usize = size_of::<u64>();
const PRESENT: u64 = 1 << 63;
const FILE_OR_SHARED: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;

impl PageMapFile {
    fn entry(&self, page: PageInfo) -> u64 {
        let flag = |on, bit| if on { bit } else { 0 };
        let frame = if self.shows_frames { (page.paddr / PAGE_SIZE) as u64 } else { 0 };
        PRESENT | frame | flag(!page.owned, FILE_OR_SHARED) | flag(page.mappings == 1, EXCLUSIVE)
    }
}

impl FileOps for PageMapFile {
    /// EINVAL unless position and length are whole entries.
    fn read_at(&self, _: &File, buf: &mut ReadBuf, pos: u64) -> Result<usize> {
        if !pos.is_multiple_of(ENTRY as u64) || !buf.left().is_multiple_of(ENTRY) {
            return Err(EINVAL);
        }
        let Some(vm) = self.vm.upgrade() else { return Ok(0) };
        let first = usize::try_from(pos).unwrap_or(usize::MAX) / ENTRY;
        let end = ostd::mm::USER_END.div_ceil(PAGE_SIZE);
        let mut done = 0;
        for page in first..end.max(first) {
            if buf.left() == 0 {
                break;
            }
            let entry = vm.page_info(page * PAGE_SIZE).map_or(0, |info| self.entry(info));
            done += buf.put(&entry.to_ne_bytes())?;
        }
        Ok(done)
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &File, current: u64, offset: i64, whence: u32) -> Result<u64> {
        seek(current, offset, whence)
    }
}
