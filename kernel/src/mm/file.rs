//! Files as mappable objects: their pages are those of the page cache.

use ostd::mm::Frame;

use super::{FaultError, Mappers, MemoryObject, ObjectId, ObjectName};
use crate::{
    fs::{
        file::{File, MapKind},
        inode::Inode,
        mount::MountFlags,
    },
    prelude::*,
    process::Thread,
};

impl MemoryObject for File {
    fn frame(&self, index: u64, _write: bool) -> Result<Frame, FaultError> {
        self.inode().page(index).map_err(|error| match error {
            ENOMEM => FaultError::OutOfMemory,
            _ => FaultError::Bus,
        })
    }

    #[inline]
    fn with_run(&self, index: u64, max: usize, look: &mut dyn FnMut(&[Option<Frame>])) {
        self.inode().with_pages(index, max, look);
    }

    fn size(&self) -> u64 {
        self.inode().base().size()
    }

    fn id(&self) -> ObjectId {
        ObjectId::of_inode(&**self.inode())
    }

    fn mappers(&self) -> Option<&Arc<Mappers>> {
        Some(self.inode().base().mappers.call_once(Mappers::new))
    }

    fn is_unlinked(&self) -> bool {
        self.inode().base().nlink() == 0
    }

    fn name(&self) -> ObjectName {
        let base = self.inode().base();
        let path = match Thread::try_current() {
            Some(thread) => File::name(self, &thread.fs().root()),
            None => Vec::new(),
        };
        ObjectName { dev: base.dev.encode(), ino: base.ino, path }
    }
}

/// An open file about to be mapped: what mmap(2) asks of it.
pub struct FileMapping(Arc<File>);

impl FileMapping {
    /// # Errors
    /// EBADF for a descriptor that was opened with O_PATH.
    pub fn new(file: Arc<File>) -> Result<FileMapping> {
        if file.is_path_only() { Err(EBADF) } else { Ok(FileMapping(file)) }
    }

    pub fn readable(&self) -> bool {
        self.0.flags().readable()
    }

    pub fn writable(&self) -> bool {
        self.0.flags().writable()
    }

    /// The file lies on a mount with `noexec`.
    pub fn no_exec(&self) -> bool {
        self.0.path().is_some_and(|path| path.mount.flags().contains(MountFlags::NOEXEC))
    }

    pub fn can_map(&self) -> bool {
        self.0.map_kind() != MapKind::None
    }

    /// What will be behind the mapping; `None` for anonymous memory (/dev/zero).
    pub fn into_object(self) -> Option<Arc<dyn MemoryObject>> {
        match self.0.map_kind() {
            MapKind::Pages => Some(self.0),
            _ => None,
        }
    }
}

impl ObjectId {
    /// The identity of a file's pages.
    pub fn of_inode(inode: &dyn Inode) -> ObjectId {
        ObjectId(core::ptr::from_ref(inode).cast::<()>() as usize)
    }
}

/// Reads from an object into kernel memory; returns how many bytes there were, at most `buffer.len()`.
///
/// # Errors
/// EIO when a page can't be read, ENOMEM.
pub fn read_object(object: &dyn MemoryObject, pos: u64, buffer: &mut [u8]) -> Result<usize> {
    let size = object.size();
    let len = buffer.len().min(usize::try_from(size.saturating_sub(pos)).unwrap_or(usize::MAX));
    let mut done = 0;
    while done < len {
        let at = pos + done as u64;
        let offset = (at % PAGE_SIZE as u64) as usize;
        let part = (PAGE_SIZE - offset).min(len - done);
        let frame = object.frame(at / PAGE_SIZE as u64, false).map_err(|error| match error {
            FaultError::OutOfMemory => ENOMEM,
            _ => EIO,
        })?;
        frame.read(offset, &mut buffer[done..done + part]);
        done += part;
    }
    Ok(len)
}
