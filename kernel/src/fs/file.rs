//! Open files: what a file descriptor refers to (an "open file description").
//!
//! A [`File`] has what is the same for all kinds (status flags, offset, path, inode); what differs is behind
//! [`FileOps`]: regular files, directories, pipe ends, devices, generated files of procfs. A `File` is shared by `dup` and
//! fork; it is closed when the last reference goes, by dropping its `FileOps`.
//!
//! Locks: the offset has a sleeping lock of its own ([`FILE_POS`](lock_order::FILE_POS)), held while a seekable file
//! is read or written through it, so that two threads that share it do not read the same bytes (POSIX 2.9.7).

use core::{
    any::Any,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use bitflags::bitflags;
use ostd::{
    cpu::{self, MAX_CPUS, PerCpu},
    sync::Mutex,
};
use proctree::{NsId, PidId};

use super::{
    dentry::Dentry,
    event::Watchers,
    file_lock::Owner,
    inode::{DirEntry, FileType, Inode},
    io::{ReadBuf, WriteBuf},
    notify::{self, Events},
    path::Path,
    poll::{PollEvents, PollTable},
};
use crate::{lock_order, prelude::*};

bitflags! {
    /// Flags of open(2), x86_64 values.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct OpenFlags: u32 {
        const WRONLY = 0o1;
        const RDWR = 0o2;
        const CREAT = 0o100;
        const EXCL = 0o200;
        const NOCTTY = 0o400;
        const TRUNC = 0o1000;
        const APPEND = 0o2000;
        const NONBLOCK = 0o4000;
        const DSYNC = 0o10000;
        const ASYNC = 0o20000;
        const DIRECT = 0o40000;
        const LARGEFILE = 0o100000;
        const DIRECTORY = 0o200000;
        const NOFOLLOW = 0o400000;
        const NOATIME = 0o1000000;
        const CLOEXEC = 0o2000000;
        const SYNC_BIT = 0o4000000;
        const PATH = 0o10000000;
        const TMPFILE_BIT = 0o20000000;
    }
}

impl OpenFlags {
    const ACCESS_MODE: OpenFlags = OpenFlags::WRONLY.union(OpenFlags::RDWR);
    /// O_TMPFILE contains O_DIRECTORY, so that old kernels fail it.
    pub const TMPFILE: OpenFlags = OpenFlags::TMPFILE_BIT.union(OpenFlags::DIRECTORY);
    /// Flags that only open looks at.
    const CREATION: OpenFlags = OpenFlags::CREAT
        .union(OpenFlags::EXCL)
        .union(OpenFlags::NOCTTY)
        .union(OpenFlags::TRUNC)
        .union(OpenFlags::CLOEXEC);
    /// Flags that F_SETFL can change.
    const SETTABLE: OpenFlags = OpenFlags::APPEND
        .union(OpenFlags::NONBLOCK)
        .union(OpenFlags::ASYNC)
        .union(OpenFlags::DIRECT)
        .union(OpenFlags::NOATIME);

    /// Opened for reading (and not with the access mode 3, which allows neither).
    pub fn readable(self) -> bool {
        !self.contains(OpenFlags::PATH) && !self.contains(OpenFlags::WRONLY)
    }

    pub fn writable(self) -> bool {
        let mode = self & OpenFlags::ACCESS_MODE;
        !self.contains(OpenFlags::PATH) && (mode == OpenFlags::WRONLY || mode == OpenFlags::RDWR)
    }
}

/// How a file can be mapped into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// Not at all: ENODEV.
    None,
    /// The inode's pages.
    Pages,
    /// As if no file had been given (/dev/zero).
    Anonymous,
}

/// What an open file of one kind does. Reads and writes come with the position (meaningless unless
/// [`is_seekable`](Self::is_seekable)); the flags have been checked.
#[allow(unused_variables)]
pub trait FileOps: Send + Sync {
    /// Reads at `pos`. Less than asked means the end, or that more would have to be waited for.
    fn read_at(&self, file: &File, buf: &mut ReadBuf, pos: u64) -> Result<usize> {
        Err(EINVAL)
    }

    /// Writes at `pos`, or at the end with O_APPEND. Returns the bytes written and the position behind them.
    fn write_at(&self, file: &File, buf: &mut WriteBuf, pos: u64) -> Result<(usize, u64)> {
        Err(EINVAL)
    }

    /// Whether the file has an offset, and pread and pwrite work.
    fn is_seekable(&self) -> bool {
        false
    }

    /// Whether pread and pwrite get as far as `read_at` and `write_at`, though there is no offset.
    fn takes_positions(&self) -> bool {
        self.is_seekable()
    }

    /// Moves the offset (already locked); returns the new one.
    fn seek(&self, file: &File, current: u64, offset: i64, whence: u32) -> Result<u64> {
        if self.is_seekable() {
            seek_by_size(file.inode().base().size(), current, offset, whence)
        } else if self.tells_events() {
            Ok(current)
        } else {
            Err(ESPIPE)
        }
    }

    /// Gives the queues to wait on to `table`, then says what is ready.
    fn poll<'a>(&'a self, file: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        PollEvents::READABLE | PollEvents::WRITABLE
    }

    /// Whether it is one of the files of [`event`](super::event): made to be waited for, and with an offset that goes
    /// nowhere, as in Linux, where moving it is no error.
    fn tells_events(&self) -> bool {
        false
    }

    /// Whether waiting for it makes sense: epoll refuses what is always ready (EPERM).
    fn can_poll(&self) -> bool {
        self.tells_events()
    }

    /// Itself, for syscalls that work on one kind of file only.
    fn as_any(&self) -> Option<&dyn Any> {
        None
    }

    /// Requests that only this kind of file knows.
    fn ioctl(&self, file: &File, request: u32, arg: usize) -> Result<usize> {
        Err(ENOTTY)
    }

    /// Gives directory entries from position `pos` on to `emit` until it returns false.
    fn read_dir(&self, file: &File, pos: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
        Err(ENOTDIR)
    }

    fn map_kind(&self, file: &File) -> MapKind {
        MapKind::None
    }

    /// fsync(2). EINVAL for what can't be synced.
    fn sync(&self, file: &File) -> Result<()> {
        Err(EINVAL)
    }

    /// Bytes that can be read at once, for FIONREAD.
    fn available(&self, file: &File) -> Result<usize> {
        Err(ENOTTY)
    }

    /// Whether its kind can be read and written at all: if not, that is EINVAL whatever the buffer.
    fn directions(&self) -> (bool, bool) {
        (true, true)
    }

    /// Whether it tells an owner when it is ready (O_ASYNC); elsewhere that flag does not stick.
    fn has_owner(&self) -> bool {
        false
    }

    /// The pipe, if this is an end of one.
    fn as_pipe(&self) -> Option<&Arc<super::pipe::Pipe>> {
        None
    }

    /// What /proc/pid/fd shows for a file that has no path.
    fn anonymous_name(&self) -> String {
        String::from("anon_inode:[file]")
    }

    /// A descriptor is closed, maybe not the last one. Called if the caller's table was told that it matters.
    fn flush(&self) {}

    /// More lines for /proc/pid/fdinfo of a procfs that shows namespace `ns`.
    fn describe(&self, ns: NsId, out: &mut String) {}
}

pub const SEEK_SET: u32 = 0;
pub const SEEK_CUR: u32 = 1;
pub const SEEK_END: u32 = 2;
pub const SEEK_DATA: u32 = 3;
pub const SEEK_HOLE: u32 = 4;

/// The largest offset of a file.
pub const MAX_FILE_SIZE: u64 = i64::MAX as u64;

/// lseek in a file of `size` bytes without holes.
pub fn seek_by_size(size: u64, current: u64, offset: i64, whence: u32) -> Result<u64> {
    let base = match whence {
        SEEK_SET => 0,
        SEEK_CUR => current,
        SEEK_END => size,
        SEEK_DATA | SEEK_HOLE => {
            if offset < 0 || offset as u64 >= size {
                return Err(ENXIO);
            }
            return Ok(if whence == SEEK_DATA { offset as u64 } else { size });
        }
        _ => return Err(EINVAL),
    };
    let target = base.checked_add_signed(offset).ok_or(EINVAL)?;
    if target > MAX_FILE_SIZE {
        return Err(EINVAL);
    }
    Ok(target)
}

/// How many more files were opened than closed on each CPU, modulo 2^64.
static OPEN: PerCpu<AtomicU64> = PerCpu::new([const { AtomicU64::new(0) }; MAX_CPUS]);

/// How many open files there are.
pub fn count() -> u64 {
    let sum = cpu::all().fold(0, |sum: u64, cpu| sum.wrapping_add(OPEN.on(cpu).load(Relaxed)));
    // Some may have been opened on a CPU that was looked at before, and closed on one that was looked at after that.
    (sum as i64).max(0) as u64
}

fn add_open(more: u64) {
    let open = OPEN.get();
    // Only this CPU writes it.
    open.store(open.load(Relaxed).wrapping_add(more), Relaxed);
}

/// An open file: see the [module's description](self).
pub struct File {
    ops: Box<dyn FileOps>,
    inode: Arc<dyn Inode>,
    /// `None` for pipes and other files that never had a name.
    path: Option<Path>,
    flags: AtomicU32,
    seekable: bool,
    /// Counted as a writer of its inode.
    counted_writer: bool,
    /// What is done through it is told to who watches the inode or its directory.
    told_of: bool,
    /// Changed with [`pos_lock`](Self::pos_lock) held; read without it by those who only look.
    pos: AtomicU64,
    pos_lock: Mutex<()>,
    /// Who gets SIGIO (F_SETOWN), and whether that is a process group: kept for F_GETOWN.
    owner: AtomicU64,
    owner_is_group: AtomicBool,
    /// The epolls that wait for it.
    pub watchers: Watchers,
}

impl File {
    /// An open file. For a regular file with a path that is opened for writing: ETXTBSY if a program runs from it.
    pub fn new(
        ops: Box<dyn FileOps>,
        inode: Arc<dyn Inode>,
        path: Option<Path>,
        flags: OpenFlags,
    ) -> Result<Arc<File>> {
        let counted_writer = flags.writable() && inode.base().is_regular();
        if counted_writer {
            inode.base().get_write_access()?;
        }
        let seekable = ops.is_seekable();
        let told_of = !flags.contains(OpenFlags::PATH)
            && match &path {
                Some(path) => !path.dentry.is_nowhere(),
                // Pipes and sockets have inodes of their own.
                None => FileType::of_mode(inode.base().mode()).is_some(),
            };
        add_open(1);
        Ok(Arc::new(File {
            ops,
            inode,
            path,
            flags: AtomicU32::new((flags - OpenFlags::CREATION).bits()),
            seekable,
            counted_writer,
            told_of,
            pos: AtomicU64::new(0),
            pos_lock: Mutex::new(lock_order::FILE_POS, ()),
            owner: AtomicU64::new(PidId::INVALID.to_bits()),
            owner_is_group: AtomicBool::new(false),
            watchers: Watchers::new(),
        }))
    }

    pub fn ops(&self) -> &dyn FileOps {
        &*self.ops
    }

    /// What is behind it, if it is a file of that kind.
    pub fn downcast<T: FileOps + 'static>(&self) -> Option<&T> {
        self.ops.as_any()?.downcast_ref()
    }

    pub fn inode(&self) -> &Arc<dyn Inode> {
        &self.inode
    }

    pub fn path(&self) -> Option<&Path> {
        self.path.as_ref()
    }

    #[inline]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Relaxed))
    }

    #[inline]
    pub fn is_nonblocking(&self) -> bool {
        self.flags().contains(OpenFlags::NONBLOCK)
    }

    /// Opened with O_PATH: only a place, nothing can be done with the contents.
    pub fn is_path_only(&self) -> bool {
        self.flags().contains(OpenFlags::PATH)
    }

    /// Whether what is done through it is told ([`notify`]).
    pub fn is_told_of(&self) -> bool {
        self.told_of
    }

    /// F_SETFL.
    ///
    /// # Errors
    /// EINVAL for O_DIRECT where nothing could go past a cache, or into packets.
    pub fn set_flags(&self, mut new: OpenFlags) -> Result<()> {
        let has_pages = self.inode.base().is_regular() && self.ops.map_kind(self) == MapKind::Pages;
        if new.contains(OpenFlags::DIRECT) && !has_pages && self.ops.as_pipe().is_none() {
            return Err(EINVAL);
        }
        if !self.ops.has_owner() {
            new.remove(OpenFlags::ASYNC);
        }
        let kept = self.flags() - OpenFlags::SETTABLE;
        self.flags.store((kept | new & OpenFlags::SETTABLE).bits(), Relaxed);
        Ok(())
    }

    /// Flags that F_GETFL shows though they mean nothing to open files in general.
    pub fn add_flags(&self, flags: OpenFlags) {
        self.flags.fetch_or(flags.bits(), Relaxed);
    }

    /// Who gets SIGIO, and whether it is a process group; a stale pid if nobody does.
    pub fn owner(&self) -> (PidId, bool) {
        (PidId::from_bits(self.owner.load(Relaxed)), self.owner_is_group.load(Relaxed))
    }

    pub fn set_owner(&self, owner: PidId, is_group: bool) {
        self.owner.store(owner.to_bits(), Relaxed);
        self.owner_is_group.store(is_group, Relaxed);
    }

    /// EBADF if it is not open for reading.
    pub fn check_readable(&self) -> Result<()> {
        if self.flags().readable() { Ok(()) } else { Err(EBADF) }
    }

    /// EBADF if it is not open for writing.
    pub fn check_writable(&self) -> Result<()> {
        if self.flags().writable() { Ok(()) } else { Err(EBADF) }
    }

    /// EBADF if it is not open for reading, EINVAL if its kind is never read.
    pub fn check_can_read(&self) -> Result<()> {
        self.check_readable()?;
        if self.ops.directions().0 { Ok(()) } else { Err(EINVAL) }
    }

    /// EBADF if it is not open for writing, EINVAL if its kind is never written.
    pub fn check_can_write(&self) -> Result<()> {
        self.check_writable()?;
        if self.ops.directions().1 { Ok(()) } else { Err(EINVAL) }
    }

    /// read(2).
    #[inline(always)]
    pub fn read(&self, buf: &mut ReadBuf) -> Result<usize> {
        self.check_readable()?;
        if !self.seekable {
            let n = self.ops.read_at(self, buf, 0)?;
            return Ok(self.was_read(n));
        }
        let _lock = self.pos_lock.lock();
        let pos = self.pos();
        let n = self.ops.read_at(self, buf, pos)?;
        self.pos.store(pos + n as u64, Relaxed);
        Ok(self.was_read(n))
    }

    /// write(2).
    #[inline(always)]
    pub fn write(&self, buf: &mut WriteBuf) -> Result<usize> {
        self.check_writable()?;
        if !self.seekable {
            let (n, _) = self.ops.write_at(self, buf, 0)?;
            return Ok(self.was_written(n));
        }
        let _lock = self.pos_lock.lock();
        let (n, end) = self.ops.write_at(self, buf, self.pos())?;
        self.pos.store(end, Relaxed);
        Ok(self.was_written(n))
    }

    #[inline]
    fn was_read(&self, n: usize) -> usize {
        if n > 0 {
            notify::file_event(self, Events::ACCESS);
        }
        n
    }

    #[inline]
    fn was_written(&self, n: usize) -> usize {
        if n > 0 {
            notify::file_event(self, Events::MODIFY);
        }
        n
    }

    /// Whether it can be read and written at a position. ESPIPE if it has no offset.
    pub fn check_positional(&self) -> Result<()> {
        if self.seekable || self.ops.takes_positions() {
            return Ok(());
        }
        Err(if self.is_path_only() { EBADF } else { ESPIPE })
    }

    /// pread(2).
    pub fn read_at(&self, buf: &mut ReadBuf, pos: u64) -> Result<usize> {
        self.check_positional()?;
        self.check_readable()?;
        let n = self.ops.read_at(self, buf, pos)?;
        Ok(self.was_read(n))
    }

    /// pwrite(2).
    pub fn write_at(&self, buf: &mut WriteBuf, pos: u64) -> Result<usize> {
        self.check_positional()?;
        self.check_writable()?;
        let (n, _) = self.ops.write_at(self, buf, pos)?;
        Ok(self.was_written(n))
    }

    /// lseek(2).
    pub fn seek(&self, offset: i64, whence: u32) -> Result<u64> {
        if self.is_path_only() {
            return Err(EBADF);
        }
        if whence > SEEK_HOLE {
            return Err(EINVAL);
        }
        let _lock = self.pos_lock.lock();
        let pos = self.ops.seek(self, self.pos(), offset, whence)?;
        self.pos.store(pos, Relaxed);
        Ok(pos)
    }

    /// The offset. Without the lock: /proc/pid/fdinfo may be asked about the very file that is being read.
    pub fn pos(&self) -> u64 {
        self.pos.load(Relaxed)
    }

    /// Gives directory entries from the offset on to `emit`, and moves the offset behind the last that it took.
    pub fn read_dir(&self, emit: &mut dyn FnMut(&DirEntry) -> bool) -> Result<()> {
        if self.is_path_only() {
            return Err(EBADF);
        }
        let _lock = self.pos_lock.lock();
        let pos = self.pos();
        let mut next = pos;
        self.ops.read_dir(self, pos, &mut |entry| {
            let taken = emit(&entry);
            if taken {
                next = entry.next;
            }
            taken
        })?;
        self.pos.store(next, Relaxed);
        notify::file_event(self, Events::ACCESS);
        Ok(())
    }

    /// What the file is ready for, with its wait queues given to `table`.
    pub fn poll<'a>(&'a self, table: &mut PollTable<'a>) -> PollEvents {
        if self.is_path_only() {
            return PollEvents::NVAL;
        }
        self.ops.poll(self, table)
    }

    pub fn ioctl(&self, request: u32, arg: usize) -> Result<usize> {
        if self.is_path_only() {
            return Err(EBADF);
        }
        self.ops.ioctl(self, request, arg)
    }

    pub fn map_kind(&self) -> MapKind {
        self.ops.map_kind(self)
    }

    pub fn sync(&self) -> Result<()> {
        if self.is_path_only() {
            return Err(EBADF);
        }
        self.ops.sync(self)
    }

    /// The file's place; one that never had a name gets a place of its own, outside of every directory.
    pub fn place(&self) -> Path {
        match &self.path {
            Some(path) => path.clone(),
            None => {
                let name = self.ops.anonymous_name();
                let dentry = Dentry::new_unnamed(name.as_bytes(), self.inode.clone());
                Path { mount: super::root().mount, dentry }
            }
        }
    }

    /// What /proc/pid/fd shows, as seen from `root`.
    pub fn name(&self, root: &Path) -> Vec<u8> {
        match &self.path {
            Some(path) => path.text(root).0,
            None => self.ops.anonymous_name().into_bytes(),
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        add_open(1u64.wrapping_neg());
        let how = if self.flags().writable() { Events::CLOSE_WRITE } else { Events::CLOSE_NOWRITE };
        notify::file_event(self, how);
        self.watchers.file_closes();
        if self.counted_writer {
            self.inode.base().put_write_access();
        }
        if let Some(locks) = self.inode.base().locks.get() {
            locks.release(Owner::of(self));
        }
    }
}

/// A file opened with O_PATH.
pub struct PathOnly;

impl FileOps for PathOnly {
    fn read_dir(&self, _: &File, _: u64, _: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
        Err(EBADF)
    }

    fn sync(&self, _: &File) -> Result<()> {
        Err(EBADF)
    }
}
