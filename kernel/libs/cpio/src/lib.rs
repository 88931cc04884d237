//! A streaming parser of "newc" cpio archives (cpio(5); magic 070701, or 070702 with checksums), the format of an
//! initramfs.
//!
//! The archive is pushed in, in pieces of any size, because it may come out of a decompressor: the whole of it never has
//! to be in memory twice. What is found goes to a [`Sink`].
//!
//! An initramfs may be several archives one after the other, with zero bytes between them, each compressed or not. So
//! after a trailer the parser accepts zero bytes and another header; at any other byte it stops, and says how far it
//! came ([`Parser::push`]), for the caller to try a decompressor on the rest.
//!
//! The checksum of gzip, in which archives come, is here too ([`Crc32`]).
//!
//! Nothing here trusts the input: each number is checked, no name longer than [`PATH_MAX`] is accepted, and memory is
//! allocated only for what has really arrived.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod crc;

use alloc::vec::Vec;
use core::fmt;

pub use crc::Crc32;

/// The longest accepted name, with its terminating NUL, as in Linux.
pub const PATH_MAX: usize = 4096;

/// Bytes of a header: the magic and 13 numbers of 8 hexadecimal digits.
const HEADER_LEN: usize = 110;

const TRAILER: &[u8] = b"TRAILER!!!";

/// What the header of an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Inode number: entries with the same `ino` and `dev` and `nlink > 1` are hard links of one file.
    pub ino: u32,
    /// File type and permissions, as in `st_mode`.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    /// Seconds since the epoch.
    pub mtime: u32,
    /// Bytes of data (file content, or target of a symbolic link).
    pub size: u32,
    /// Major and minor number of the file system that the archive was made from.
    pub dev: (u32, u32),
    /// Major and minor number of a device node.
    pub rdev: (u32, u32),
}

/// Why an archive was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// An entry does not start with 070701 or 070702.
    BadMagic,
    /// A header field is not 8 hexadecimal digits.
    BadNumber,
    /// A name is empty, longer than [`PATH_MAX`], or not terminated.
    BadName,
    /// The archive ends within an entry.
    Truncated,
    /// The sink refused an entry.
    Sink(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BadMagic => f.write_str("no newc cpio magic at the start of an entry"),
            Error::BadNumber => f.write_str("a header field is not a hexadecimal number"),
            Error::BadName => f.write_str("a name is empty, too long or not terminated"),
            Error::Truncated => f.write_str("the archive is truncated"),
            Error::Sink(e) => e.fmt(f),
        }
    }
}

/// Takes what the parser finds. For each entry: `entry`, then `data` any number of times with `header.size` bytes in all,
/// then `end`.
pub trait Sink {
    type Error;

    /// A new entry. `name` has no NUL and is not empty; it may well contain `..` or start with `/`.
    fn entry(&mut self, header: &Header, name: &[u8]) -> Result<(), Self::Error>;

    /// The next piece of the entry's data, never empty.
    fn data(&mut self, piece: &[u8]) -> Result<(), Self::Error>;

    /// The entry is complete.
    fn end(&mut self) -> Result<(), Self::Error>;

    /// An archive is complete: hard links do not reach over this point.
    fn trailer(&mut self) {}
}

/// What the next byte of the input belongs to.
enum State {
    /// Between entries, or before the first one; zero bytes are skipped here.
    Between,
    Header,
    Name(Header, usize),
    /// Padding before the data.
    NamePad(Header),
    Data(u32),
    /// Padding after the data.
    DataPad,
}

/// The parser: see the [module's description](self).
pub struct Parser {
    state: State,
    /// Header or name, as far as it has come.
    partial: Vec<u8>,
    /// Bytes consumed since the start of the current archive, from which the padding is computed.
    offset: u64,
    trailer: bool,
    entries: usize,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    pub const fn new() -> Self {
        Parser { state: State::Between, partial: Vec::new(), offset: 0, trailer: false, entries: 0 }
    }

    /// The number of complete entries so far.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Whether the parser stands between entries, where an archive may end or another format may begin.
    pub fn at_boundary(&self) -> bool {
        matches!(self.state, State::Between)
    }

    /// Takes the next piece of the archive and returns how much of it was used. Less than everything is used only if the
    /// parser is [at a boundary](Self::at_boundary) and the next byte begins no cpio header.
    pub fn push<S: Sink>(&mut self, input: &[u8], sink: &mut S) -> Result<usize, Error<S::Error>> {
        let mut rest = input;
        while let Some(&first) = rest.first() {
            let used = match self.state {
                State::Between if first == 0 => {
                    // Linux aligns every archive to 4 bytes from the start of the image; after the zeros of the
                    // padding a new archive starts at offset 0 again, which keeps the alignment for any padding
                    // that a concatenation with plain `cat` leaves.
                    let zeros = rest.iter().take_while(|&&b| b == 0).count();
                    self.offset += zeros as u64;
                    zeros
                }
                State::Between if first == b'0' => {
                    self.offset = 0;
                    self.trailer = false;
                    self.state = State::Header;
                    0
                }
                State::Between => return Ok(input.len() - rest.len()),
                State::Header => self.header(rest)?,
                State::Name(header, len) => self.name(rest, header, len, sink)?,
                State::NamePad(header) => self.name_pad(rest, header, sink)?,
                State::Data(left) => self.data(rest, left, sink)?,
                State::DataPad => self.data_pad(rest),
            };
            rest = &rest[used..];
        }
        Ok(input.len())
    }

    /// Declares the end of the input: an error if it ends within an entry.
    ///
    /// A missing trailer is not an error, as in Linux.
    pub fn finish<E>(&self) -> Result<(), Error<E>> {
        if self.at_boundary() { Ok(()) } else { Err(Error::Truncated) }
    }

    /// Collects input until `partial` has `want` bytes; returns how many were taken.
    fn collect(&mut self, input: &[u8], want: usize) -> usize {
        let take = input.len().min(want - self.partial.len());
        self.partial.extend_from_slice(&input[..take]);
        self.offset += take as u64;
        take
    }

    fn padding(&self) -> usize {
        (self.offset.wrapping_neg() & 3) as usize
    }

    fn header<E>(&mut self, input: &[u8]) -> Result<usize, Error<E>> {
        let used = self.collect(input, HEADER_LEN);
        // Garbage is refused at its first bytes, not after 110 of them.
        let seen = self.partial.len().min(6);
        if self.partial[..seen] != b"070701"[..seen] && self.partial[..seen] != b"070702"[..seen] {
            return Err(Error::BadMagic);
        }
        if self.partial.len() == HEADER_LEN {
            let mut fields = [0u32; 13];
            for (field, digits) in fields.iter_mut().zip(self.partial[6..].chunks_exact(8)) {
                *field = hex(digits).ok_or(Error::BadNumber)?;
            }
            let [ino, mode, uid, gid, nlink, mtime, size, maj, min, rmaj, rmin, name_len, _] = fields;
            let name_len = name_len as usize;
            if !(2..=PATH_MAX).contains(&name_len) {
                return Err(Error::BadName);
            }
            let header =
                Header { ino, mode, uid, gid, nlink, mtime, size, dev: (maj, min), rdev: (rmaj, rmin) };
            self.partial.clear();
            self.state = State::Name(header, name_len);
        }
        Ok(used)
    }

    fn name<S: Sink>(
        &mut self,
        input: &[u8],
        header: Header,
        len: usize,
        sink: &mut S,
    ) -> Result<usize, Error<S::Error>> {
        let used = self.collect(input, len);
        if self.partial.len() == len {
            // The NUL is part of the length; Linux takes a name up to its first NUL.
            let end = self.partial.iter().position(|&b| b == 0).ok_or(Error::BadName)?;
            if end == 0 {
                return Err(Error::BadName);
            }
            let name = &self.partial[..end];
            self.trailer = name == TRAILER;
            if !self.trailer {
                sink.entry(&header, name).map_err(Error::Sink)?;
            }
            self.partial.clear();
            self.state = State::NamePad(header);
            if self.padding() == 0 {
                self.start_data(header, sink)?;
            }
        }
        Ok(used)
    }

    fn name_pad<S: Sink>(
        &mut self,
        input: &[u8],
        header: Header,
        sink: &mut S,
    ) -> Result<usize, Error<S::Error>> {
        let used = input.len().min(self.padding());
        self.offset += used as u64;
        if self.padding() == 0 {
            self.start_data(header, sink)?;
        }
        Ok(used)
    }

    fn start_data<S: Sink>(&mut self, header: Header, sink: &mut S) -> Result<(), Error<S::Error>> {
        if self.trailer {
            // A trailer with data is nonsense; what follows then fails to parse.
            sink.trailer();
            self.state = State::Between;
        } else if header.size == 0 {
            self.end_entry(sink)?;
        } else {
            self.state = State::Data(header.size);
        }
        Ok(())
    }

    fn data<S: Sink>(&mut self, input: &[u8], left: u32, sink: &mut S) -> Result<usize, Error<S::Error>> {
        let used = input.len().min(left as usize);
        self.offset += used as u64;
        sink.data(&input[..used]).map_err(Error::Sink)?;
        let left = left - used as u32;
        self.state = State::Data(left);
        if left == 0 {
            self.end_entry(sink)?;
        }
        Ok(used)
    }

    fn end_entry<S: Sink>(&mut self, sink: &mut S) -> Result<(), Error<S::Error>> {
        sink.end().map_err(Error::Sink)?;
        self.entries += 1;
        self.state = if self.padding() == 0 { State::Between } else { State::DataPad };
        Ok(())
    }

    fn data_pad(&mut self, input: &[u8]) -> usize {
        let used = input.len().min(self.padding());
        self.offset += used as u64;
        if self.padding() == 0 {
            self.state = State::Between;
        }
        used
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0u32, |acc, &d| {
        let value = (d as char).to_digit(16)?;
        Some(acc << 4 | value)
    })
}
