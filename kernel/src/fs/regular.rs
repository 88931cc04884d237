//! Open regular files and directories, for all file systems that keep file contents in pages.
//!
//! A read takes the frame of each page from the inode and copies straight to the program; nothing is locked meanwhile, so
//! that a fault in the copy may sleep and may even need a page of the same file. A write holds the inode's lock, which
//! a fault never needs.

use super::{
    dentry::Dentry,
    file::{self, File, FileOps, MAX_FILE_SIZE, MapKind, OpenFlags},
    inode::{DirEntry, FileType, Inode},
    io::{ReadBuf, WriteBuf, moved_or},
    mount::MountFlags,
    notify::{self, Events},
    poll::{PollEvents, PollTable},
};
use crate::{prelude::*, process::Thread};

/// An open regular file whose inode has pages.
pub struct RegularFile;

impl FileOps for RegularFile {
    fn read_at(&self, file: &File, buf: &mut ReadBuf, pos: u64) -> Result<usize> {
        let inode = file.inode();
        let start = buf.done();
        let result = read_pages(inode, buf, pos);
        let done = buf.done() - start;
        if done > 0 {
            update_atime(file);
        }
        moved_or(done, result)
    }

    fn write_at(&self, file: &File, buf: &mut WriteBuf, pos: u64) -> Result<(usize, u64)> {
        if buf.left() == 0 {
            return Ok((0, pos));
        }
        let inode = file.inode();
        let base = inode.base();
        let _lock = base.lock.lock();
        let pos = if file.flags().contains(OpenFlags::APPEND) { base.size() } else { pos };
        limit_write(buf, pos)?;
        let start = buf.done();
        let result = write_pages(inode, buf, pos);
        let done = buf.done() - start;
        if done > 0 {
            base.touch_mtime();
            drop_set_id(file);
        }
        Ok((moved_or(done, result)?, pos + done as u64))
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn map_kind(&self, _: &File) -> MapKind {
        MapKind::Pages
    }

    fn sync(&self, _: &File) -> Result<()> {
        Ok(())
    }

    fn available(&self, file: &File) -> Result<usize> {
        Ok(file.inode().base().size().saturating_sub(file.pos()) as usize)
    }
}

fn read_pages(inode: &Arc<dyn Inode>, buf: &mut ReadBuf, mut pos: u64) -> Result<()> {
    while buf.left() > 0 {
        // The size may change while a fault sleeps.
        let size = inode.base().size();
        if pos >= size {
            break;
        }
        let offset = (pos % PAGE_SIZE as u64) as usize;
        let wanted =
            (PAGE_SIZE - offset).min(usize::try_from(size - pos).unwrap_or(PAGE_SIZE)).min(buf.left());
        let moved = match inode.page_if_present(pos / PAGE_SIZE as u64)? {
            Some(frame) => buf.put_frame(&frame, offset, wanted)?,
            None => buf.put_zeros(wanted)?,
        };
        pos += moved as u64;
        if moved < wanted {
            break;
        }
    }
    Ok(())
}

fn write_pages(inode: &Arc<dyn Inode>, buf: &mut WriteBuf, mut pos: u64) -> Result<()> {
    while buf.left() > 0 {
        let offset = (pos % PAGE_SIZE as u64) as usize;
        let wanted = (PAGE_SIZE - offset).min(buf.left());
        let frame = inode.page_for_write(pos / PAGE_SIZE as u64)?;
        let moved = buf.take_frame(&frame, offset, wanted)?;
        pos += moved as u64;
        if pos > inode.base().size() {
            inode.base().set_size(pos);
        }
        if moved < wanted {
            break;
        }
    }
    Ok(())
}

/// Cuts a write off at the largest file size and at RLIMIT_FSIZE; EFBIG (and SIGXFSZ) if nothing is left.
fn limit_write(buf: &mut WriteBuf, pos: u64) -> Result<()> {
    let limit = super::caller::max_file_size();
    if pos >= limit && pos < MAX_FILE_SIZE {
        super::caller::raise_sigxfsz();
        return Err(EFBIG);
    }
    if pos >= MAX_FILE_SIZE {
        return Err(EFBIG);
    }
    let room = limit.min(MAX_FILE_SIZE) - pos;
    buf.truncate(usize::try_from(room).unwrap_or(usize::MAX));
    Ok(())
}

fn update_atime(file: &File) {
    let no_atime = file.flags().contains(OpenFlags::NOATIME)
        || file.path().is_some_and(|p| p.mount.flags().intersects(MountFlags::NOATIME | MountFlags::RDONLY));
    if !no_atime {
        file.inode().base().touch_atime();
    }
}

/// A write by somebody without CAP_FSETID takes the set-id bits away, and any write a program's capabilities.
fn drop_set_id(file: &File) {
    let base = file.inode().base();
    super::xattr::drop_file_caps(base);
    if base.mode() & 0o6000 != 0 && super::name_ops::drop_set_id_bits(base, &Thread::current().creds()) {
        notify::file_event(file, Events::ATTRIB);
    }
}

/// An open directory.
pub struct Directory;

impl FileOps for Directory {
    fn read_at(&self, _: &File, _: &mut ReadBuf, _: u64) -> Result<usize> {
        Err(EISDIR)
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &File, current: u64, offset: i64, whence: u32) -> Result<u64> {
        match whence {
            file::SEEK_SET | file::SEEK_CUR => file::seek_by_size(0, current, offset, whence),
            _ => Err(EINVAL),
        }
    }

    fn poll<'a>(&'a self, _: &'a File, _: &mut PollTable<'a>) -> PollEvents {
        PollEvents::READABLE | PollEvents::WRITABLE
    }

    fn read_dir(&self, file: &File, pos: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
        let inode = file.inode();
        let dentry = file.path().map(|path| &path.dentry);
        if inode.base().nlink() == 0 {
            return Err(ENOENT);
        }
        let dot = |name, ino, next| DirEntry { name, ino, file_type: FileType::Dir, next };
        if pos == 0 && !emit(dot(b".", inode.base().ino, 1)) {
            return Ok(());
        }
        if pos <= 1 {
            let parent = dentry.and_then(|d| d.parent());
            let ino = parent.as_deref().and_then(Dentry::inode).map_or(inode.base().ino, |i| i.base().ino);
            if !emit(dot(b"..", ino, 2)) {
                return Ok(());
            }
        }
        let _lock = inode.base().lock.lock();
        inode.read_dir(pos.max(2), emit)?;
        inode.base().touch_atime();
        Ok(())
    }

    fn sync(&self, _: &File) -> Result<()> {
        Ok(())
    }
}
