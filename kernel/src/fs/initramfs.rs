//! Unpacking the initramfs into the root file system.
//!
//! The image is one or more newc cpio archives, each plain or compressed with gzip (RFC 1952), with zero bytes between
//! them. It is taken apart as a stream: what gzip gives goes straight to the [`cpio`] parser, and file data straight into
//! the frames of the files.
//!
//! A bad image is reported and does not stop the boot: what came before the damage is there.

use alloc::collections::BTreeMap;

use cpio::{Crc32, Header, Parser, Sink};
use miniz_oxide::{
    DataFormat, MZError, MZFlush, MZStatus,
    inflate::stream::{InflateState, inflate},
};

use super::{
    inode::{DevId, FileType, Inode, PERM_MASK},
    name_ops::NameOp,
    path::{Path, Walker},
};
use crate::{prelude::*, process::credentials::Credentials};

/// Unpacks `image` below `root`. Returns the number of entries; the error says what is wrong with the image.
pub fn unpack(image: &[u8], root: &Path) -> Result<usize, String> {
    let creds = Credentials::root();
    let mut sink = Unpacker { creds: &creds, root, links: BTreeMap::new(), open: None };
    let mut parser = Parser::new();
    let mut rest = image;
    while !rest.is_empty() {
        let used = parser.push(rest, &mut sink).map_err(|e| e.to_string())?;
        rest = &rest[used..];
        if rest.starts_with(&GZIP_MAGIC) {
            let used = gunzip(rest, &mut parser, &mut sink)?;
            rest = &rest[used..];
        } else if !rest.is_empty() {
            return Err(String::from("it is neither a newc cpio archive nor gzip"));
        }
    }
    parser.finish::<Errno>().map_err(|e| e.to_string())?;
    Ok(parser.entries())
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Length of the gzip header, with its optional parts (RFC 1952, 2.3).
fn gzip_header_len(data: &[u8]) -> Option<usize> {
    const FHCRC: u8 = 2;
    const FEXTRA: u8 = 4;
    const FNAME: u8 = 8;
    const FCOMMENT: u8 = 16;
    let (&method, &flags) = (data.get(2)?, data.get(3)?);
    if method != 8 {
        return None;
    }
    let mut at = 10;
    if flags & FEXTRA != 0 {
        let len = data.get(at..at + 2)?;
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for text in [FNAME, FCOMMENT] {
        if flags & text != 0 {
            at += data.get(at..)?.iter().position(|&b| b == 0)? + 1;
        }
    }
    if flags & FHCRC != 0 {
        at += 2;
    }
    (at <= data.len()).then_some(at)
}

/// Feeds one gzip member to the parser; returns its length.
fn gunzip(data: &[u8], parser: &mut Parser, sink: &mut Unpacker) -> Result<usize, String> {
    let bad = |what: &str| format!("bad gzip data: {what}");
    let mut at = gzip_header_len(data).ok_or_else(|| bad("header"))?;
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let mut out = vec![0; 32 * 1024];
    let mut total = 0u32;
    let mut crc = Crc32::new();
    loop {
        let step = inflate(&mut state, &data[at..], &mut out, MZFlush::None);
        at += step.bytes_consumed;
        total = total.wrapping_add(step.bytes_written as u32);
        let piece = &out[..step.bytes_written];
        crc.add(piece);
        if parser.push(piece, sink).map_err(|e| e.to_string())? < piece.len() {
            return Err(String::from("its compressed part is no newc cpio archive"));
        }
        match step.status {
            Ok(MZStatus::StreamEnd) => break,
            Ok(_) if step.bytes_consumed > 0 || step.bytes_written > 0 => {}
            Ok(_) | Err(MZError::Buf) => return Err(bad("truncated")),
            Err(_) => return Err(bad("corrupt")),
        }
    }
    let trailer = data.get(at..at + 8).ok_or_else(|| bad("truncated"))?;
    if trailer[..4] != crc.value().to_le_bytes() {
        return Err(bad("wrong checksum"));
    }
    if trailer[4..] != total.to_le_bytes() {
        return Err(bad("wrong length"));
    }
    Ok(at + 8)
}

/// Makes files of archive entries.
struct Unpacker<'a> {
    creds: &'a Credentials,
    root: &'a Path,
    /// First names of files with several links, by device and inode number in the archive.
    links: BTreeMap<((u32, u32), u32), Path>,
    open: Option<Open>,
}

/// The entry whose data is coming.
struct Open {
    header: Header,
    name: Vec<u8>,
    /// The file that data goes to; `None` for what has no data, or could not be made.
    file: Option<Path>,
    /// The text of a symbolic link, as far as it came.
    target: Vec<u8>,
    pos: u64,
}

impl Sink for Unpacker<'_> {
    type Error = Errno;

    fn entry(&mut self, header: &Header, name: &[u8]) -> Result<()> {
        // Names are relative to the root, whatever they look like.
        let name = name.to_vec();
        let is_link = FileType::of_mode(header.mode) == Some(FileType::Symlink);
        let file = if is_link {
            None
        } else {
            match self.make(header, &name) {
                Ok(file) => file,
                Err(e) if e == ENOMEM || e == ENOSPC => return Err(e),
                Err(e) => {
                    warn!("initramfs: {}: {e}", String::from_utf8_lossy(&name));
                    None
                }
            }
        };
        self.open = Some(Open { header: *header, name, file, target: Vec::new(), pos: 0 });
        Ok(())
    }

    fn data(&mut self, piece: &[u8]) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        match &open.file {
            Some(file) => {
                append(file.inode()?, open.pos, piece)?;
                open.pos += piece.len() as u64;
            }
            None if open.target.len() + piece.len() < super::path::PATH_MAX => {
                open.target.extend_from_slice(piece);
            }
            None => {}
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if FileType::of_mode(open.header.mode) == Some(FileType::Symlink)
            && let Err(e) = self.make_symlink(&open)
        {
            warn!("initramfs: {}: {e}", String::from_utf8_lossy(&open.name));
        }
        if let Some(file) = &open.file {
            set_attributes(file.inode()?, &open.header);
        }
        Ok(())
    }

    fn trailer(&mut self) {
        self.links.clear();
    }
}

impl Unpacker<'_> {
    fn op<'n>(&'n self, name: &'n [u8]) -> Result<NameOp<'n>> {
        NameOp::new(self.creds, self.root, self.root.clone(), name)
    }

    fn find(&self, name: &[u8]) -> Result<Path> {
        Walker::new(self.creds, self.root, self.root.clone()).find(name, false)
    }

    /// Makes the entry, or takes what is there if it is of the same type. The result takes data.
    fn make(&mut self, header: &Header, name: &[u8]) -> Result<Option<Path>> {
        let file_type = FileType::of_mode(header.mode).ok_or(EINVAL)?;
        if let Ok(old) = self.find(name) {
            let base = old.inode()?.base();
            if base.file_type() == FileType::Dir && file_type == FileType::Dir {
                set_attributes(old.inode()?, header);
                return Ok(None);
            }
            if base.file_type() == FileType::Dir {
                self.op(name)?.rmdir()?;
            } else {
                self.op(name)?.unlink()?;
            }
        }
        let mode = header.mode & PERM_MASK;
        let is_file = file_type == FileType::Regular;
        if is_file
            && header.nlink > 1
            && let Some(first) = self.links.get(&(header.dev, header.ino))
        {
            self.op(name)?.link(first)?;
            let first = first.clone();
            // The data comes with any one of the names.
            return Ok((header.size > 0).then_some(first));
        }
        let made = match file_type {
            FileType::Dir => self.op(name)?.mkdir(mode)?,
            _ => {
                let rdev = DevId::new(header.rdev.0, header.rdev.1);
                self.op(name)?.mknod(file_type.mode_bits() | mode, rdev)?
            }
        };
        set_attributes(made.inode()?, header);
        if is_file && header.nlink > 1 {
            self.links.insert((header.dev, header.ino), made.clone());
        }
        Ok(is_file.then_some(made))
    }

    fn make_symlink(&self, open: &Open) -> Result<()> {
        if self.find(&open.name).is_ok() {
            self.op(&open.name)?.unlink()?;
        }
        let made = self.op(&open.name)?.symlink(&open.target)?;
        set_attributes(made.inode()?, &open.header);
        Ok(())
    }
}

fn append(inode: &Arc<dyn Inode>, pos: u64, mut piece: &[u8]) -> Result<()> {
    let mut pos = pos;
    while !piece.is_empty() {
        let offset = (pos % PAGE_SIZE as u64) as usize;
        let len = piece.len().min(PAGE_SIZE - offset);
        inode.page_for_write(pos / PAGE_SIZE as u64)?.write(offset, &piece[..len]);
        pos += len as u64;
        piece = &piece[len..];
    }
    inode.base().set_size(pos);
    Ok(())
}

fn set_attributes(inode: &Arc<dyn Inode>, header: &Header) {
    const NS: i64 = 1_000_000_000;
    let base = inode.base();
    base.set_owner(Some(header.uid), Some(header.gid));
    if !base.is_symlink() {
        base.set_perm(header.mode);
    }
    base.set_mtime(i64::from(header.mtime) * NS);
}
