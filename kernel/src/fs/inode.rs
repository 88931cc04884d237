//! Inodes: what a file is, apart from its names.
//!
//! Every file system implements [`Inode`] for its own node type and keeps an [`InodeBase`] in it, which holds what all
//! nodes have in common as atomics, so that a permission check or a stat takes no lock and no virtual call.
//! Directory operations get names that the path walk has checked: not empty, no `/`, not `.` or `..`, at most
//! [`NAME_MAX`] bytes. Permissions are the VFS's business; an implementation never checks them.
//!
//! Locks: the VFS holds the directory's [`InodeBase::lock`] around `lookup`, `create` and the others that read or change
//! a directory, and the file's around writes and truncation. File systems have locks of their own below that.

use core::{
    any::Any,
    sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed},
};

use ostd::{mm::Frame, sync::Mutex};
use spin::Once;

use super::{
    file::FileOps, file::OpenFlags, file_lock::FileLocks, notify::Marks, path::Path, pipe::Pipe,
    xattr::Xattrs,
};
use crate::{lock_order, mm::Mappers, prelude::*};

/// The longest name of a directory entry.
pub const NAME_MAX: usize = 255;

/// The type of a file; the values are those of `d_type` and, shifted by 12, of `st_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FileType {
    Fifo = 1,
    Char = 2,
    Dir = 4,
    Block = 6,
    Regular = 8,
    Symlink = 10,
    Socket = 12,
}

pub const S_IFMT: u32 = 0o170000;
pub const S_ISUID: u32 = 0o4000;
pub const S_ISGID: u32 = 0o2000;
pub const S_ISVTX: u32 = 0o1000;
pub const S_IXGRP: u32 = 0o10;
/// The permission bits with set-id and sticky bits: what chmod changes.
pub const PERM_MASK: u32 = 0o7777;

impl FileType {
    /// The type in a mode; `None` if the bits name none.
    pub fn of_mode(mode: u32) -> Option<Self> {
        Some(match (mode & S_IFMT) >> 12 {
            1 => Self::Fifo,
            2 => Self::Char,
            4 => Self::Dir,
            6 => Self::Block,
            8 => Self::Regular,
            10 => Self::Symlink,
            12 => Self::Socket,
            _ => return None,
        })
    }

    /// The bits of a mode that say this type.
    pub const fn mode_bits(self) -> u32 {
        (self as u32) << 12
    }
}

/// The number of a device, as the kernel keeps it: `major << 20 | minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct DevId(pub u32);

impl DevId {
    pub const fn new(major: u32, minor: u32) -> Self {
        DevId(major << 20 | (minor & 0xf_ffff))
    }

    pub const fn major(self) -> u32 {
        self.0 >> 20
    }

    pub const fn minor(self) -> u32 {
        self.0 & 0xf_ffff
    }

    /// The number as `st_dev`, `st_rdev` and mknod(2) have it.
    pub const fn encode(self) -> u64 {
        let (major, minor) = (self.major() as u64, self.minor() as u64);
        (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12
    }

    /// From the argument of mknod(2).
    pub const fn decode(dev: u64) -> Self {
        let major = (dev >> 8 & 0xfff) as u32;
        let minor = (dev & 0xff | dev >> 12 & 0xf_ff00) as u32;
        DevId::new(major, minor)
    }
}

/// The owner and mode of a node that is about to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewNode {
    /// Type and permissions.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// For device nodes.
    pub rdev: DevId,
}

/// What all inodes have. All times are in ns since the epoch.
pub struct InodeBase {
    pub ino: u64,
    /// The file system's device number.
    pub dev: DevId,
    pub rdev: DevId,
    mode: AtomicU32,
    uid: AtomicU32,
    gid: AtomicU32,
    nlink: AtomicU32,
    size: AtomicU64,
    atime: AtomicI64,
    mtime: AtomicI64,
    ctime: AtomicI64,
    /// Open files that can write (> 0), or running programs that forbid it (< 0).
    writers: AtomicI32,
    /// Serialises changes of a directory's entries and of a file's size.
    pub lock: Mutex<()>,
    /// Who has mapped it, once somebody has.
    pub mappers: Once<Arc<Mappers>>,
    /// Locks of flock(2) and fcntl(2), once there has been one.
    pub locks: Once<Box<FileLocks>>,
    /// Extended attributes, once there has been one.
    pub xattrs: Once<Box<Xattrs>>,
    /// Who hears of what happens to it, once there has been one.
    pub marks: Once<Box<Marks>>,
    /// The permission bits alone do not decide.
    decides_access: bool,
}

impl InodeBase {
    /// A node with one link, made now.
    pub fn new(ino: u64, dev: DevId, new: NewNode) -> Self {
        let now = now();
        InodeBase {
            ino,
            dev,
            rdev: new.rdev,
            mode: AtomicU32::new(new.mode),
            uid: AtomicU32::new(new.uid),
            gid: AtomicU32::new(new.gid),
            nlink: AtomicU32::new(1),
            size: AtomicU64::new(0),
            atime: AtomicI64::new(now),
            mtime: AtomicI64::new(now),
            ctime: AtomicI64::new(now),
            writers: AtomicI32::new(0),
            lock: Mutex::new(lock_order::INODE, ()),
            mappers: Once::new(),
            locks: Once::new(),
            xattrs: Once::new(),
            marks: Once::new(),
            decides_access: false,
        }
    }

    /// From now on [`Inode::decide_access`] is asked.
    pub fn ask_for_access(&mut self) {
        self.decides_access = true;
    }

    pub fn decides_access(&self) -> bool {
        self.decides_access
    }

    pub fn mode(&self) -> u32 {
        self.mode.load(Relaxed)
    }

    pub fn file_type(&self) -> FileType {
        // The type is checked when a node is made and never changes.
        FileType::of_mode(self.mode()).unwrap_or(FileType::Regular)
    }

    pub fn is_dir(&self) -> bool {
        self.mode() & S_IFMT == FileType::Dir.mode_bits()
    }

    pub fn is_symlink(&self) -> bool {
        self.mode() & S_IFMT == FileType::Symlink.mode_bits()
    }

    pub fn is_regular(&self) -> bool {
        self.mode() & S_IFMT == FileType::Regular.mode_bits()
    }

    /// Changes the permission bits; the type stays.
    pub fn set_perm(&self, perm: u32) {
        let mode = self.mode() & S_IFMT | perm & PERM_MASK;
        self.mode.store(mode, Relaxed);
        self.touch_ctime();
    }

    pub fn uid(&self) -> u32 {
        self.uid.load(Relaxed)
    }

    pub fn gid(&self) -> u32 {
        self.gid.load(Relaxed)
    }

    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) {
        if let Some(uid) = uid {
            self.uid.store(uid, Relaxed);
        }
        if let Some(gid) = gid {
            self.gid.store(gid, Relaxed);
        }
    }

    pub fn nlink(&self) -> u32 {
        self.nlink.load(Relaxed)
    }

    pub fn set_nlink(&self, nlink: u32) {
        self.nlink.store(nlink, Relaxed);
    }

    /// One more name.
    pub fn inc_nlink(&self) {
        self.nlink.fetch_add(1, Relaxed);
        self.touch_ctime();
    }

    /// One name less.
    pub fn dec_nlink(&self) {
        self.nlink.fetch_sub(1, Relaxed);
        self.touch_ctime();
    }

    pub fn size(&self) -> u64 {
        self.size.load(Relaxed)
    }

    pub fn set_size(&self, size: u64) {
        self.size.store(size, Relaxed);
    }

    pub fn atime(&self) -> i64 {
        self.atime.load(Relaxed)
    }

    pub fn mtime(&self) -> i64 {
        self.mtime.load(Relaxed)
    }

    pub fn ctime(&self) -> i64 {
        self.ctime.load(Relaxed)
    }

    pub fn set_atime(&self, ns: i64) {
        self.atime.store(ns, Relaxed);
    }

    pub fn set_mtime(&self, ns: i64) {
        self.mtime.store(ns, Relaxed);
    }

    pub fn set_ctime(&self, ns: i64) {
        self.ctime.store(ns, Relaxed);
    }

    /// The node was changed, its contents were not.
    pub fn touch_ctime(&self) {
        self.set_ctime(now());
    }

    /// The contents were changed.
    pub fn touch_mtime(&self) {
        let now = now();
        self.set_mtime(now);
        self.set_ctime(now);
    }

    /// The contents were read: the access time follows as with Linux's `relatime`, only if it is older than the last
    /// change or than a day.
    pub fn touch_atime(&self) {
        let atime = self.atime();
        if atime <= self.mtime() || atime <= self.ctime() {
            self.set_atime(now());
        }
    }

    /// Counts an open file that can write. ETXTBSY while a program runs from this file.
    pub fn get_write_access(&self) -> Result<()> {
        self.writers.fetch_update(Relaxed, Relaxed, |n| (n >= 0).then_some(n + 1)).map_err(|_| ETXTBSY)?;
        Ok(())
    }

    pub fn put_write_access(&self) {
        self.writers.fetch_sub(1, Relaxed);
    }

    /// Forbids opening for writing, for as long as a program is started or runs from this file. ETXTBSY while it is
    /// open for writing.
    pub fn deny_write_access(&self) -> Result<()> {
        self.writers.fetch_update(Relaxed, Relaxed, |n| (n <= 0).then_some(n - 1)).map_err(|_| ETXTBSY)?;
        Ok(())
    }

    pub fn allow_write_access(&self) {
        self.writers.fetch_add(1, Relaxed);
    }
}

/// The realtime clock, in ns since the epoch.
pub fn now() -> i64 {
    crate::time::realtime_ns() as i64
}

/// Where a symbolic link leads.
pub enum LinkTarget {
    /// A path to walk, from the link's directory.
    Text(Vec<u8>),
    /// A place, whatever its name may be: the links of procfs.
    Place(Path),
}

/// One entry of a directory.
pub struct DirEntry<'a> {
    pub name: &'a [u8],
    pub ino: u64,
    pub file_type: FileType,
    /// The position that continues behind this entry.
    pub next: u64,
}

/// What a change of a directory by `rename` does to an entry that is in the way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// It is replaced.
    Replace,
    /// The two change places.
    Exchange,
}

/// Figures of a file system for statfs(2), in blocks of `block_size`.
#[derive(Clone, Copy, Default)]
pub struct FsStat {
    pub magic: u64,
    pub block_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub files: u64,
    pub files_free: u64,
}

/// A file, directory or other node: see the [module's description](self).
///
/// The methods have defaults for what a node can not do, with the error that Linux gives.
#[allow(unused_variables)]
pub trait Inode: Any + Send + Sync {
    fn base(&self) -> &InodeBase;

    /// Finds an entry of this directory. ENOENT if there is none.
    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        Err(ENOTDIR)
    }

    /// Whether what a cached name says still holds, and brings the attributes up to date. Asked only in file systems
    /// whose names come and go by themselves ([`super::dentry::Dentry::is_volatile`]).
    fn revalidate(&self) -> bool {
        true
    }

    /// Makes a new node of any type but a symbolic link.
    fn create(&self, name: &[u8], new: NewNode) -> Result<Arc<dyn Inode>> {
        Err(EPERM)
    }

    /// Makes a node without a name (O_TMPFILE).
    fn create_unnamed(&self, new: NewNode) -> Result<Arc<dyn Inode>> {
        Err(EOPNOTSUPP)
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: NewNode) -> Result<Arc<dyn Inode>> {
        Err(EPERM)
    }

    /// Gives `inode` (of the same file system) one more name.
    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        Err(EPERM)
    }

    /// Removes an entry that is not a directory.
    fn unlink(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<()> {
        Err(EPERM)
    }

    /// Removes an empty directory. ENOTEMPTY if it is not.
    fn rmdir(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<()> {
        Err(EPERM)
    }

    /// Moves an entry to `new_dir`, of the same file system. The VFS has checked that types fit.
    fn rename(&self, name: &[u8], new_dir: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        Err(EPERM)
    }

    /// Gives the entries from position `from` on to `emit` until that returns false. Position 0 and 1 are `.` and
    /// `..`, which the VFS adds; an implementation starts with 2.
    fn read_dir(&self, from: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
        Err(ENOTDIR)
    }

    /// Where this symbolic link leads.
    fn read_link(&self) -> Result<LinkTarget> {
        Err(EINVAL)
    }

    /// What readlink(2) shows, where this differs from [`read_link`](Self::read_link)'s path.
    fn link_text(&self) -> Result<Vec<u8>> {
        match self.read_link()? {
            LinkTarget::Text(text) => Ok(text),
            LinkTarget::Place(_) => Err(EINVAL),
        }
    }

    /// How an open of this node behaves. Called for regular files and whatever else the VFS does not know itself
    /// (directories, FIFOs and devices it does).
    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
        Err(ENXIO)
    }

    /// The pipe of a FIFO, made when it is first opened. `None` if this is no FIFO.
    fn fifo(&self) -> Option<Arc<Pipe>> {
        None
    }

    /// The frame of a page of the file, read in or made if need be; it can be mapped into programs. `ENXIO` behind
    /// the end of the file.
    fn page(&self, index: u64) -> Result<Frame> {
        Err(ENODEV)
    }

    /// The frame of a page of the file for reading; `None` for a hole, which reads as zeros.
    fn page_if_present(&self, index: u64) -> Result<Option<Frame>> {
        self.page(index).map(Some)
    }

    /// The frame of a page for writing, also behind the end of the file. ENOSPC if there is no room for it.
    fn page_for_write(&self, index: u64) -> Result<Frame> {
        Err(EINVAL)
    }

    /// Shows `look` the pages from `index` on, at most `max`, as far as they are there, under the lock that guards them. May
    /// show fewer or none. For faults that map neighbouring pages along.
    fn with_pages(&self, index: u64, max: usize, look: &mut dyn FnMut(&[Option<Frame>])) {}

    /// Whether [`page`](Self::page) gives pages.
    fn has_pages(&self) -> bool {
        false
    }

    /// Changes the size of a regular file. The VFS holds the inode's lock.
    fn resize(&self, size: u64) -> Result<()> {
        Err(EINVAL)
    }

    /// fallocate(2) within `offset..offset + len`: make sure of space (`punch` false) or free it.
    fn allocate(&self, offset: u64, len: u64, punch: bool) -> Result<()> {
        Err(EOPNOTSUPP)
    }

    /// Asked by ftruncate(2) of what is no regular file; without an objection it is EINVAL.
    fn may_resize(&self) -> Result<()> {
        Ok(())
    }

    /// Whether an access is allowed about which the permission bits say `by_mode`. Asked only of nodes whose base says so
    /// ([`InodeBase::ask_for_access`]).
    fn decide_access(&self, by_mode: Result<()>) -> Result<()> {
        by_mode
    }

    /// Whether it can have extended attributes.
    fn has_xattrs(&self) -> bool {
        false
    }

    /// Whether it can have those of the namespace `trusted.` alone.
    fn has_trusted_xattrs(&self) -> bool {
        false
    }

    /// One of the kernel's own, which security modules are not asked about.
    fn is_private(&self) -> bool {
        false
    }

    /// The attributes are about to be changed by chmod, chown or utimensat.
    fn may_change_attributes(&self) -> Result<()> {
        Ok(())
    }

    /// `st_blocks`: units of 512 bytes.
    fn blocks(&self) -> u64 {
        0
    }

    fn block_size(&self) -> u32 {
        PAGE_SIZE as u32
    }

    fn statfs(&self) -> Result<FsStat> {
        Err(ENOSYS)
    }
}

impl dyn Inode {
    /// The node as the type of its file system, if it is of that type.
    pub fn downcast<T: Inode>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// Whether two references are to the same node.
pub fn same(a: &Arc<dyn Inode>, b: &Arc<dyn Inode>) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;

    #[ktest::ktest]
    fn device_numbers_round_trip() {
        for (major, minor) in [(0, 0), (1, 3), (4, 64), (5, 1), (136, 300), (259, 0xf_ffff)] {
            let dev = DevId::new(major, minor);
            assert_eq!((dev.major(), dev.minor()), (major, minor));
            assert_eq!(DevId::decode(dev.encode()), dev);
        }
        assert_eq!(DevId::new(5, 1).encode(), 0x501);
    }

    #[ktest::ktest]
    fn writers_and_running_programs_exclude_each_other() {
        let new = NewNode { mode: FileType::Regular.mode_bits() | 0o755, uid: 0, gid: 0, rdev: DevId(0) };
        let base = InodeBase::new(1, DevId(1), new);
        base.get_write_access().unwrap();
        assert_eq!(base.deny_write_access(), Err(ETXTBSY));
        base.put_write_access();
        base.deny_write_access().unwrap();
        base.deny_write_access().unwrap();
        assert_eq!(base.get_write_access(), Err(ETXTBSY));
        base.allow_write_access();
        base.allow_write_access();
        base.get_write_access().unwrap();
    }
}
