//! Reads ELF64 files for x86-64: what to map where, and nothing else.
//!
//! Everything in the file is an allegation: sizes, counts and addresses are checked here, once, and what comes out is a
//! [`Image`] whose segments are page-aligned, in ascending order, disjoint and inside the user's half of the address space.
//! No input makes this crate panic or allocate more than one small record per program header (there are at most
//! [`MAX_PROGRAM_HEADERS`]).
//!
//! The caller reads the bytes: first the file's head for [`Header::parse`], then the table that the header points to for
//! [`Image::parse`]. Rules: System V ABI (gABI) chapter 5, and the checks of Linux's loader.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod script;
#[cfg(test)]
mod tests;

pub use script::{HEAD as SCRIPT_HEAD, Script};

use alloc::vec::Vec;

/// Page size, and the alignment of whatever is mapped.
pub const PAGE: u64 = 4096;
/// Size of the ELF header.
pub const HEADER_SIZE: usize = 64;
/// Size of one program header.
pub const PROGRAM_HEADER_SIZE: usize = 56;
/// The table of program headers may not be larger than 64 KiB (as on Linux).
pub const MAX_PROGRAM_HEADERS: usize = 65536 / PROGRAM_HEADER_SIZE;
/// An interpreter's path with its NUL fits in this many bytes (PATH_MAX).
pub const MAX_INTERPRETER: u64 = 4096;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;

/// Why a file is no program: ENOEXEC (ELIBBAD for an interpreter) to the user, but for the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not an ELF file at all: another format may be tried.
    NotElf,
    /// An ELF file, but not for this machine, or neither executable nor shared object.
    WrongKind,
    /// A table contradicts itself.
    Malformed,
    /// No segment, or one that contradicts itself, overlaps another or lies outside of the user's half. Linux finds that when it
    /// is too late for an error code.
    BadSegment,
}

/// Whether the addresses in the file are meant literally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ET_EXEC: mapped where the file says.
    Fixed,
    /// ET_DYN (a position-independent program, or an interpreter): the file's addresses are relative to a load bias.
    Relocatable,
}

/// What the ELF header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub entry: u64,
    /// Where the program header table lies in the file.
    pub table_offset: u64,
    /// Number of program headers: 1 to [`MAX_PROGRAM_HEADERS`].
    pub table_len: usize,
}

/// A byte range of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    pub offset: u64,
    pub len: u64,
}

/// One PT_LOAD segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address of the segment, not aligned; relative to the load bias.
    pub vaddr: u64,
    /// Where its bytes lie in the file; congruent to `vaddr` modulo the page size when `file_len` is not 0.
    pub offset: u64,
    pub file_len: u64,
    /// At least `file_len`; what is beyond reads as zero.
    pub mem_len: u64,
    pub read: bool,
    pub write: bool,
    pub exec: bool,
}

impl Segment {
    /// First page of the segment.
    pub fn page_start(&self) -> u64 {
        self.vaddr & !(PAGE - 1)
    }

    /// End of the pages that are mapped from the file (equal to `page_start` when there are none).
    pub fn file_page_end(&self) -> u64 {
        if self.file_len == 0 { self.page_start() } else { align_up(self.vaddr + self.file_len) }
    }

    /// End of all pages of the segment.
    pub fn page_end(&self) -> u64 {
        align_up(self.vaddr + self.mem_len)
    }

    /// Offset in the file that is mapped at `page_start`.
    pub fn page_offset(&self) -> u64 {
        self.offset & !(PAGE - 1)
    }

    /// Bytes at the end of the last file page that the program expects to be zero: `start..end` (empty when none).
    pub fn tail_to_clear(&self) -> (u64, u64) {
        let end = self.vaddr + self.file_len;
        if self.mem_len > self.file_len && self.file_len > 0 { (end, align_up(end)) } else { (end, end) }
    }
}

/// A checked program, interpreter or static position-independent program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub kind: Kind,
    /// Relative to the load bias.
    pub entry: u64,
    /// At least one, in ascending order; no two share a page.
    pub segments: Vec<Segment>,
    /// Address of the program header table in memory (AT_PHDR), relative to the load bias.
    pub table_vaddr: Option<u64>,
    pub table_len: usize,
    /// Where the path of the interpreter (with its NUL) lies in the file: 2 to [`MAX_INTERPRETER`] bytes.
    pub interpreter: Option<FileRange>,
    /// PT_GNU_STACK asks for an executable stack.
    pub exec_stack: bool,
    /// Largest alignment that a segment asks for; a power of two, at least a page, at most 1 GiB.
    pub align: u64,
}

impl Header {
    /// Reads the first bytes of a file. `head` may be shorter than [`HEADER_SIZE`] when the file is.
    pub fn parse(head: &[u8]) -> Result<Header, Error> {
        if head.get(..4) != Some(b"\x7fELF") {
            return Err(Error::NotElf);
        }
        let head = head.get(..HEADER_SIZE).ok_or(Error::NotElf)?;
        // Class and byte order are not looked at: the machine says it all.
        if u16_at(head, 18) != EM_X86_64 {
            return Err(Error::WrongKind);
        }
        let kind = match u16_at(head, 16) {
            ET_EXEC => Kind::Fixed,
            ET_DYN => Kind::Relocatable,
            _ => return Err(Error::WrongKind),
        };
        let table_len = usize::from(u16_at(head, 56));
        if usize::from(u16_at(head, 54)) != PROGRAM_HEADER_SIZE
            || table_len == 0
            || table_len > MAX_PROGRAM_HEADERS
        {
            return Err(Error::Malformed);
        }
        let table_offset = u64_at(head, 32);
        if table_offset > i64::MAX as u64 - 65536 {
            return Err(Error::Malformed);
        }
        Ok(Header { kind, entry: u64_at(head, 24), table_offset, table_len })
    }

    /// Size of the program header table in bytes: at most 64 KiB.
    pub fn table_size(&self) -> usize {
        self.table_len * PROGRAM_HEADER_SIZE
    }
}

impl Image {
    /// Checks the program headers. `table` holds the bytes at [`Header::table_offset`]; a shorter one is a truncated file.
    /// Addresses must lie in `min_addr..user_end` (`min_addr` only counts for [`Kind::Fixed`]).
    pub fn parse(header: &Header, table: &[u8], min_addr: u64, user_end: u64) -> Result<Image, Error> {
        let table = table.get(..header.table_size()).ok_or(Error::Malformed)?;
        let mut image = Image {
            kind: header.kind,
            entry: header.entry,
            segments: Vec::with_capacity(header.table_len.min(8)),
            table_vaddr: None,
            table_len: header.table_len,
            interpreter: None,
            exec_stack: false,
            align: PAGE,
        };
        let lowest = if header.kind == Kind::Fixed { min_addr } else { 0 };
        for entry in table.chunks_exact(PROGRAM_HEADER_SIZE) {
            image.take_program_header(header, entry, lowest, user_end)?;
        }
        if image.segments.is_empty() {
            return Err(Error::BadSegment);
        }
        Ok(image)
    }

    fn take_program_header(
        &mut self,
        header: &Header,
        entry: &[u8],
        lowest: u64,
        user_end: u64,
    ) -> Result<(), Error> {
        let flags = u32_at(entry, 4);
        let offset = u64_at(entry, 8);
        let file_len = u64_at(entry, 32);
        match u32_at(entry, 0) {
            PT_LOAD => {
                let segment = Segment {
                    vaddr: u64_at(entry, 16),
                    offset,
                    file_len,
                    mem_len: u64_at(entry, 40),
                    read: flags & 4 != 0,
                    write: flags & 2 != 0,
                    exec: flags & 1 != 0,
                };
                self.take_segment(header, segment, u64_at(entry, 48), lowest, user_end)
            }
            PT_INTERP if self.interpreter.is_none() => {
                if !(2..=MAX_INTERPRETER).contains(&file_len) || offset > i64::MAX as u64 - MAX_INTERPRETER {
                    return Err(Error::Malformed);
                }
                self.interpreter = Some(FileRange { offset, len: file_len });
                Ok(())
            }
            PT_GNU_STACK => {
                self.exec_stack = flags & 1 != 0;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_segment(
        &mut self,
        header: &Header,
        segment: Segment,
        align: u64,
        lowest: u64,
        user_end: u64,
    ) -> Result<(), Error> {
        if segment.mem_len == 0 && segment.file_len == 0 {
            return Ok(());
        }
        let end = segment.vaddr.checked_add(segment.mem_len).ok_or(Error::BadSegment)?;
        let file_end = segment.offset.checked_add(segment.file_len).ok_or(Error::BadSegment)?;
        let floor = self.segments.last().map_or(lowest, Segment::page_end);
        if segment.mem_len < segment.file_len
            || end > user_end
            || file_end > i64::MAX as u64
            || segment.page_start() < floor
            || (segment.file_len > 0 && segment.vaddr % PAGE != segment.offset % PAGE)
        {
            return Err(Error::BadSegment);
        }
        if align.is_power_of_two() && align <= 1 << 30 {
            self.align = self.align.max(align);
        }
        let holds_table = segment.offset <= header.table_offset && header.table_offset < file_end;
        if self.table_vaddr.is_none() && holds_table {
            self.table_vaddr = Some(header.table_offset - segment.offset + segment.vaddr);
        }
        self.segments.push(segment);
        Ok(())
    }

    /// First page of the image, relative to the load bias.
    pub fn page_start(&self) -> u64 {
        self.segments.first().map_or(0, Segment::page_start)
    }

    /// End of the last page of the image, relative to the load bias; the heap may begin here.
    pub fn page_end(&self) -> u64 {
        self.segments.last().map_or(0, Segment::page_end)
    }
}

fn align_up(value: u64) -> u64 {
    // No overflow: callers have checked that the value lies below the end of the user's half.
    (value + PAGE - 1) & !(PAGE - 1)
}

// The slices are as long as the constant offsets need: callers cut them to a header's size.

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
