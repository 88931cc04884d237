//! File descriptors: small numbers for open files.
//!
//! A [`FileTable`] is shared by the threads of a process (CLONE_FILES). Its contents are copied on write: fork shares
//! them and the first change on either side makes a copy, so that a child that execs or exits at once copies nothing.
//! Sharing is invisible: an entry refers to the same open file from both tables, as it would after a copy.
//!
//! A lookup is one spin lock, an index and a count: this is on the path of every read and write. The lowest free number
//! is found through a bitmap, a word at a time.
//!
//! Locks: [`FILES`](lock_order::FILES). Files are closed after it is released, as that may sleep.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ostd::sync::SpinLock;

use super::{caller, file::File, file_lock::Owner};
use crate::{lock_order, prelude::*};

/// A file descriptor.
pub type Fd = i32;

#[derive(Default)]
struct Contents {
    files: Vec<Option<Arc<File>>>,
    /// Bit per descriptor: in use.
    used: Vec<u64>,
    /// Bit per descriptor: close on exec.
    cloexec: Vec<u64>,
}

impl Contents {
    /// The lowest free number from `min` on.
    fn lowest_free(&self, min: usize) -> usize {
        let mut word = min / 64;
        let mut mask = !0 << (min % 64);
        while let Some(used) = self.used.get(word) {
            let free = !used & mask;
            if free != 0 {
                return word * 64 + free.trailing_zeros() as usize;
            }
            word += 1;
            mask = !0;
        }
        min.max(self.used.len() * 64)
    }

    /// Makes room for `fd`. A table can be large (RLIMIT_NOFILE), so this may fail: ENOMEM.
    fn grow(&mut self, fd: usize) -> Result<()> {
        if fd >= self.files.len() {
            self.files.try_reserve(fd + 1 - self.files.len()).map_err(|_| ENOMEM)?;
            self.files.resize(fd + 1, None);
        }
        if fd / 64 >= self.used.len() {
            self.used.resize(fd / 64 + 1, 0);
            self.cloexec.resize(fd / 64 + 1, 0);
        }
        Ok(())
    }

    fn try_clone(&self) -> Result<Contents> {
        let mut files = Vec::new();
        files.try_reserve_exact(self.files.len()).map_err(|_| ENOMEM)?;
        files.extend_from_slice(&self.files);
        Ok(Contents { files, used: self.used.clone(), cloexec: self.cloexec.clone() })
    }

    /// [`grow`](Self::grow) comes first.
    fn set(&mut self, fd: usize, file: Arc<File>, cloexec: bool) -> Option<Arc<File>> {
        self.used[fd / 64] |= 1 << (fd % 64);
        self.set_cloexec(fd, cloexec);
        self.files[fd].replace(file)
    }

    fn take(&mut self, fd: usize) -> Option<Arc<File>> {
        let file = self.files.get_mut(fd)?.take()?;
        self.used[fd / 64] &= !(1 << (fd % 64));
        self.cloexec[fd / 64] &= !(1 << (fd % 64));
        Some(file)
    }

    fn is_cloexec(&self, fd: usize) -> bool {
        self.cloexec.get(fd / 64).is_some_and(|word| word >> (fd % 64) & 1 != 0)
    }

    fn set_cloexec(&mut self, fd: usize, on: bool) {
        let bit = 1 << (fd % 64);
        let word = &mut self.cloexec[fd / 64];
        *word = if on { *word | bit } else { *word & !bit };
    }
}

/// The contents as this table's own, to change. ENOMEM if they have to be copied and there is no memory for that.
fn own(contents: &mut Arc<Contents>) -> Result<&mut Contents> {
    // Only this table's lock leads from one reference to more, so whether it is the only one does not change.
    if Arc::get_mut(contents).is_none() {
        *contents = Arc::new(contents.try_clone()?);
    }
    Arc::get_mut(contents).ok_or(ENOMEM)
}

/// The descriptors of one or more threads: see the [module's description](self).
pub struct FileTable {
    contents: SpinLock<Arc<Contents>>,
    /// Range locks were taken in its name, so that closing a file may have to give some up.
    told_of_closing: AtomicBool,
}

impl FileTable {
    pub fn new() -> Arc<FileTable> {
        Self::with(Arc::new(Contents::default()))
    }

    fn with(contents: Arc<Contents>) -> Arc<FileTable> {
        Arc::new(FileTable {
            contents: SpinLock::new(lock_order::FILES, contents),
            told_of_closing: AtomicBool::new(false),
        })
    }

    /// A table of its own with the same files, for fork and unshare(CLONE_FILES).
    pub fn dup_for_fork(&self) -> Arc<FileTable> {
        Self::with(self.contents.lock().clone())
    }

    /// The open file of a descriptor, those opened with O_PATH too. EBADF.
    #[inline]
    pub fn get_any(&self, fd: Fd) -> Result<Arc<File>> {
        // A negative number becomes one that no table reaches.
        match self.contents.lock().files.get(fd as u32 as usize) {
            Some(Some(file)) => Ok(file.clone()),
            _ => Err(EBADF),
        }
    }

    /// The open file of a descriptor, for operations on its contents: EBADF also for O_PATH.
    #[inline]
    pub fn get(&self, fd: Fd) -> Result<Arc<File>> {
        let file = self.get_any(fd)?;
        if file.is_path_only() { Err(EBADF) } else { Ok(file) }
    }

    /// Gives `file` the lowest free number from `min` on. EMFILE at RLIMIT_NOFILE.
    pub fn install(&self, file: Arc<File>, cloexec: bool, min: Fd) -> Result<Fd> {
        let limit = caller::max_fds();
        let mut contents = self.contents.lock();
        let fd = contents.lowest_free(min.max(0) as usize);
        if fd >= limit {
            drop(contents);
            return Err(EMFILE);
        }
        let contents = own(&mut contents)?;
        contents.grow(fd)?;
        contents.set(fd, file, cloexec);
        Ok(fd as Fd)
    }

    /// EMFILE if [`install`](Self::install) would say so: before something is done that could not be taken back.
    pub fn require_free(&self) -> Result<()> {
        let lowest = self.contents.lock().lowest_free(0);
        if lowest < caller::max_fds() { Ok(()) } else { Err(EMFILE) }
    }

    /// Gives two files numbers, or neither.
    pub fn install_pair(&self, files: (Arc<File>, Arc<File>), cloexec: bool) -> Result<(Fd, Fd)> {
        let first = self.install(files.0, cloexec, 0)?;
        match self.install(files.1, cloexec, 0) {
            Ok(second) => Ok((first, second)),
            Err(e) => {
                // Another thread may have closed it meanwhile.
                let _ = self.close(first);
                Err(e)
            }
        }
    }

    /// Makes `fd` refer to `file`; what it was before is closed. EBADF if `fd` is beyond RLIMIT_NOFILE.
    pub fn replace(&self, fd: Fd, file: Arc<File>, cloexec: bool) -> Result<()> {
        let index = usize::try_from(fd).map_err(|_| EBADF)?;
        if index >= caller::max_fds() {
            return Err(EBADF);
        }
        let old = {
            let mut contents = self.contents.lock();
            let contents = own(&mut contents)?;
            contents.grow(index)?;
            contents.set(index, file, cloexec)
        };
        self.closed(old);
        Ok(())
    }

    /// close(2).
    pub fn close(&self, fd: Fd) -> Result<()> {
        let file = {
            let mut contents = self.contents.lock();
            if !matches!(contents.files.get(fd as u32 as usize), Some(Some(_))) {
                return Err(EBADF);
            }
            own(&mut contents)?.take(fd as usize)
        };
        self.closed(file);
        Ok(())
    }

    /// Closes `fd` if it still is `file`, which was installed there a moment ago.
    pub fn close_if(&self, fd: Fd, file: &Arc<File>) {
        let closed = {
            let mut contents = self.contents.lock();
            let is_same = |other: &Arc<File>| Arc::ptr_eq(other, file);
            if !contents.files.get(fd as u32 as usize).is_some_and(|slot| slot.as_ref().is_some_and(is_same))
            {
                return;
            }
            match own(&mut contents) {
                Ok(contents) => contents.take(fd as usize),
                Err(_) => None,
            }
        };
        self.closed(closed);
    }

    /// Closes, or marks close-on-exec, all descriptors from `first` to `last` (both included).
    pub fn close_range(&self, first: u32, last: u32, only_mark: bool) -> Result<()> {
        let closed = {
            let mut contents = self.contents.lock();
            let end = contents.files.len().min((last as usize).saturating_add(1));
            let range = first as usize..end;
            if range.is_empty() {
                return Ok(());
            }
            let contents = own(&mut contents)?;
            let mut closed = Vec::new();
            for fd in range {
                if !only_mark {
                    closed.extend(contents.take(fd));
                } else if contents.files[fd].is_some() {
                    contents.set_cloexec(fd, true);
                }
            }
            closed
        };
        self.closed(closed);
        Ok(())
    }

    /// Closes what execve closes. ENOMEM if the table has to be copied first and can't be.
    pub fn close_on_exec(&self) -> Result<()> {
        let closed: Vec<_> = {
            let mut contents = self.contents.lock();
            if contents.cloexec.iter().all(|&word| word == 0) {
                return Ok(());
            }
            let contents = own(&mut contents)?;
            (0..contents.files.len())
                .filter_map(|fd| if contents.is_cloexec(fd) { contents.take(fd) } else { None })
                .collect()
        };
        self.closed(closed);
        Ok(())
    }

    /// Range locks are taken in the name of this table, or one of its files wants to know when a descriptor is closed.
    pub fn note_interest_in_closing(&self) {
        self.told_of_closing.store(true, Relaxed);
    }

    /// Files whose descriptors are closed, with the table unlocked: closing may sleep.
    #[inline]
    fn closed(&self, files: impl IntoIterator<Item = Arc<File>>) {
        let told = self.told_of_closing.load(Relaxed);
        for file in files {
            if told {
                file.ops().flush();
                if let Some(locks) = file.inode().base().locks.get() {
                    locks.release(Owner::of(self));
                }
            }
        }
    }

    /// F_GETFD.
    pub fn is_cloexec(&self, fd: Fd) -> Result<bool> {
        self.get_any(fd)?;
        Ok(self.contents.lock().is_cloexec(fd as usize))
    }

    /// F_SETFD.
    pub fn set_cloexec(&self, fd: Fd, on: bool) -> Result<()> {
        let mut contents = self.contents.lock();
        if !matches!(contents.files.get(fd as u32 as usize), Some(Some(_))) {
            return Err(EBADF);
        }
        if contents.is_cloexec(fd as usize) != on {
            own(&mut contents)?.set_cloexec(fd as usize, on);
        }
        Ok(())
    }

    /// The descriptors in use from `min` on, for /proc/pid/fd.
    pub fn list_from(&self, min: usize) -> Vec<Fd> {
        let contents = self.contents.lock();
        let files = contents.files.iter().enumerate().skip(min);
        files.filter(|(_, file)| file.is_some()).map(|(fd, _)| fd as Fd).collect()
    }

    /// How many descriptors are in use.
    pub fn count(&self) -> usize {
        self.contents.lock().used.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// How many descriptors the table has room for: FDSize of /proc/pid/status, in steps of 64 as in Linux.
    pub fn capacity(&self) -> usize {
        (self.contents.lock().used.len() * 64).max(64)
    }
}

impl Drop for FileTable {
    fn drop(&mut self) {
        if self.told_of_closing.load(Relaxed) {
            let files: Vec<_> = self.contents.get_mut().files.iter().flatten().cloned().collect();
            self.closed(files);
        }
    }
}
