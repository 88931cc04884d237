//! The file system in memory: rootfs (filled from the initramfs), tmpfs, and the base of devtmpfs.
//!
//! A [`RamFs`] counts pages and inodes against its limits; a [`RamInode`] is a node with its contents. File contents are
//! frames ([`PageMap`]) that programs map as they are; there is nothing behind them.
//!
//! Locks: each node's contents have a spin lock ([`RAMFS`](lock_order::RAMFS)), below the VFS's inode lock. Frames are
//! made before it is taken and dropped after it is released.

use alloc::collections::BTreeMap;
use core::{
    any::Any,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use ostd::{
    mm::{AllocClass, Frame},
    sync::SpinLock,
};
use spin::Once;

use super::{
    caller,
    inode::{DevId, DirEntry, FileType, FsStat, Inode, InodeBase, LinkTarget, NewNode, RenameMode},
    mount::{SuperBlock, anonymous_dev},
    page_map::PageMap,
    pipe::Pipe,
};
use crate::{lock_order, mm::ObjectId, prelude::*};

const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Pages of all file systems in memory, for /proc/meminfo.
static TOTAL_PAGES: AtomicUsize = AtomicUsize::new(0);

/// Pages of all file systems in memory.
pub fn total_pages() -> usize {
    TOTAL_PAGES.load(Relaxed)
}

/// What a node costs beside its pages, for the limit on inodes: Linux counts one page per inode for `nr_inodes`.
const BYTES_PER_ENTRY: u64 = 20;

/// One file system in memory.
pub struct RamFs {
    dev: DevId,
    next_ino: AtomicU64,
    max_pages: u64,
    pages: AtomicU64,
    max_inodes: u64,
    inodes: AtomicU64,
}

/// Limits of a tmpfs, from its mount options.
#[derive(Clone, Copy, Debug)]
pub struct RamFsOptions {
    pub max_pages: u64,
    pub max_inodes: u64,
    /// Permissions of the root directory.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Default for RamFsOptions {
    /// As Linux: half of the memory, as many inodes.
    fn default() -> Self {
        let half = ostd::mm::total_frames() as u64 / 2;
        RamFsOptions { max_pages: half, max_inodes: half, mode: 0o1777, uid: 0, gid: 0 }
    }
}

impl RamFsOptions {
    /// No limits, root directory 0755: for rootfs and devtmpfs.
    pub fn unlimited() -> Self {
        RamFsOptions { max_pages: u64::MAX, max_inodes: u64::MAX, mode: 0o755, uid: 0, gid: 0 }
    }

    /// Reads tmpfs(5) options: `size=`, `nr_blocks=`, `nr_inodes=`, `mode=`, `uid=`, `gid=`. EINVAL for what is unknown.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut options = Self::default();
        for option in text.split(|&b| b == b',').filter(|o| !o.is_empty()) {
            let option = core::str::from_utf8(option).map_err(|_| EINVAL)?;
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key {
                "size" => options.max_pages = parse_size(value)?.div_ceil(PAGE_SIZE as u64),
                "nr_blocks" => options.max_pages = parse_size(value)?,
                "nr_inodes" => options.max_inodes = parse_size(value)?,
                "mode" => options.mode = u32::from_str_radix(value, 8).map_err(|_| EINVAL)? & 0o7777,
                "uid" => options.uid = value.parse().map_err(|_| EINVAL)?,
                "gid" => options.gid = value.parse().map_err(|_| EINVAL)?,
                "huge" | "mpol" | "inode64" | "inode32" | "noswap" | "rw" | "ro" => {}
                _ => return Err(EINVAL),
            }
        }
        // 0 means no limit.
        for limit in [&mut options.max_pages, &mut options.max_inodes] {
            if *limit == 0 {
                *limit = u64::MAX;
            }
        }
        Ok(options)
    }
}

/// A number with an optional suffix k, m, g, or % of memory.
fn parse_size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits.parse().map_err(|_| EINVAL)?;
    let shift = match &text[digits.len()..] {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "%" => {
            let total = ostd::mm::total_frames() as u64 * PAGE_SIZE as u64;
            return Ok(total / 100 * number);
        }
        _ => return Err(EINVAL),
    };
    number.checked_mul(1 << shift).ok_or(EINVAL)
}

/// Makes a file system; `fs_type` is what /proc/mounts calls it.
pub fn new(fs_type: &'static str, options: RamFsOptions) -> Arc<SuperBlock> {
    let fs = Arc::new(RamFs {
        dev: anonymous_dev(),
        next_ino: AtomicU64::new(1),
        max_pages: options.max_pages,
        pages: AtomicU64::new(0),
        max_inodes: options.max_inodes,
        inodes: AtomicU64::new(0),
    });
    let mode = FileType::Dir.mode_bits() | options.mode;
    let new = NewNode { mode, uid: options.uid, gid: options.gid, rdev: DevId(0) };
    // The root is within every limit.
    let root = RamInode::with_content(&fs, new, Content::of_type(FileType::Dir));
    SuperBlock::new(fs_type, root, false)
}

/// A file of memory without a name in any directory, as memfd_create(2) makes.
pub fn new_unnamed_file(uid: u32, gid: u32) -> Arc<dyn Inode> {
    static FS: Once<Arc<RamFs>> = Once::new();
    let fs = FS.call_once(|| {
        Arc::new(RamFs {
            dev: anonymous_dev(),
            next_ino: AtomicU64::new(1),
            max_pages: u64::MAX,
            pages: AtomicU64::new(0),
            max_inodes: u64::MAX,
            inodes: AtomicU64::new(0),
        })
    });
    let new = NewNode { mode: FileType::Regular.mode_bits() | 0o777, uid, gid, rdev: DevId(0) };
    let inode = RamInode::with_content(fs, new, Content::of_type(FileType::Regular));
    inode.base.set_nlink(0);
    inode
}

enum Content {
    Dir(SpinLock<Entries>),
    File(SpinLock<Pages>),
    Symlink(Box<[u8]>),
    Fifo(Once<Arc<Pipe>>),
    /// Devices and sockets.
    Special,
}

impl Content {
    fn of_type(file_type: FileType) -> Self {
        match file_type {
            FileType::Dir => Content::Dir(SpinLock::new(lock_order::RAMFS, Entries::default())),
            FileType::Regular => Content::File(SpinLock::new(lock_order::RAMFS, Pages::default())),
            FileType::Fifo => Content::Fifo(Once::new()),
            _ => Content::Special,
        }
    }
}

#[derive(Default)]
struct Pages {
    map: PageMap,
    count: u64,
}

/// A node and its position in the directory.
type Positioned = (u64, Arc<dyn Inode>);

/// The entries of a directory, by name, and in the order of creation for readdir: an entry keeps its position while
/// others come and go.
#[derive(Default)]
struct Entries {
    by_name: BTreeMap<Arc<[u8]>, Positioned>,
    by_position: BTreeMap<u64, Arc<[u8]>>,
    last_position: u64,
}

impl Entries {
    fn get(&self, name: &[u8]) -> Option<&Arc<dyn Inode>> {
        self.by_name.get(name).map(|(_, inode)| inode)
    }

    fn insert(&mut self, name: &[u8], inode: Arc<dyn Inode>) -> Result<()> {
        if self.by_name.contains_key(name) {
            return Err(EEXIST);
        }
        // 0 and 1 are `.` and `..`.
        self.last_position = self.last_position.max(1) + 1;
        let name: Arc<[u8]> = Arc::from(name);
        self.by_position.insert(self.last_position, name.clone());
        self.by_name.insert(name, (self.last_position, inode));
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) -> Option<Arc<dyn Inode>> {
        let (position, inode) = self.by_name.remove(name)?;
        self.by_position.remove(&position);
        Some(inode)
    }
}

/// A node: see the [module's description](self).
pub struct RamInode {
    base: InodeBase,
    fs: Arc<RamFs>,
    content: Content,
}

impl RamInode {
    /// What is in a directory that nobody refers to any more.
    fn take_entries(&mut self) -> Vec<Arc<dyn Inode>> {
        match &mut self.content {
            Content::Dir(entries) => core::mem::take(&mut entries.get_mut().by_name)
                .into_values()
                .map(|(_, inode)| inode)
                .collect(),
            _ => Vec::new(),
        }
    }

    fn new(fs: &Arc<RamFs>, new: NewNode, content: Content) -> Result<Arc<RamInode>> {
        if fs.inodes.load(Relaxed) >= fs.max_inodes {
            return Err(ENOSPC);
        }
        if !ostd::mm::kernel_reserve_ok(1) {
            return Err(ENOMEM);
        }
        Ok(Self::with_content(fs, new, content))
    }

    fn with_content(fs: &Arc<RamFs>, new: NewNode, content: Content) -> Arc<RamInode> {
        fs.inodes.fetch_add(1, Relaxed);
        let base = InodeBase::new(fs.next_ino.fetch_add(1, Relaxed), fs.dev, new);
        if base.is_dir() {
            base.set_nlink(2);
        }
        Arc::new(RamInode { base, fs: fs.clone(), content })
    }

    fn entries(&self) -> Result<&SpinLock<Entries>> {
        match &self.content {
            Content::Dir(entries) => Ok(entries),
            _ => Err(ENOTDIR),
        }
    }

    fn pages(&self) -> Result<&SpinLock<Pages>> {
        match &self.content {
            Content::File(pages) => Ok(pages),
            _ => Err(EINVAL),
        }
    }

    /// Adds a new node; directories count as a link to this one.
    fn add(&self, name: &[u8], node: Arc<RamInode>) -> Result<Arc<dyn Inode>> {
        let is_dir = node.base.is_dir();
        self.entries()?.lock().insert(name, node.clone())?;
        if is_dir {
            self.base.inc_nlink();
        }
        self.grow(1);
        Ok(node)
    }

    /// Linux's tmpfs shows 20 bytes per entry as a directory's size.
    fn grow(&self, entries: i64) {
        let size = self.base.size().saturating_add_signed(entries * BYTES_PER_ENTRY as i64);
        self.base.set_size(size);
        self.base.touch_mtime();
    }

    fn charge_page(&self) -> Result<()> {
        let fs = &self.fs;
        let charged = fs.pages.fetch_update(Relaxed, Relaxed, |n| (n < fs.max_pages).then_some(n + 1));
        charged.map(|_| ()).map_err(|_| ENOSPC)
    }

    /// Pages that are gone from the file must go from the programs that have mapped them: they get SIGBUS, or a new page.
    /// `copies`: so must the copies that programs have made of them.
    fn unmap_from_programs(&self, first: u64, last: u64, copies: bool) {
        if let Some(mappers) = self.base.mappers.get() {
            mappers.unmap(ObjectId::of_inode(self), first..last, copies);
        }
    }

    /// The frame of a page, made if there is none yet.
    fn get_or_make(&self, index: u64) -> Result<Frame> {
        Ok(self.get_or_tell_made(index)?.0)
    }

    /// The same, and whether it was made now.
    fn get_or_tell_made(&self, index: u64) -> Result<(Frame, bool)> {
        let pages = self.pages()?;
        if let Some(frame) = pages.lock().map.get(index) {
            return Ok((frame.clone(), false));
        }
        self.charge_page()?;
        let Ok(fresh) = Frame::zeroed(AllocClass::User) else {
            self.fs.pages.fetch_sub(1, Relaxed);
            return Err(ENOMEM);
        };
        let mut locked = pages.lock();
        if let Some(frame) = locked.map.get(index) {
            // Another thread was faster.
            let frame = frame.clone();
            drop(locked);
            self.fs.pages.fetch_sub(1, Relaxed);
            return Ok((frame, false));
        }
        locked.map.insert(index, fresh.clone());
        locked.count += 1;
        TOTAL_PAGES.fetch_add(1, Relaxed);
        Ok((fresh, true))
    }

    /// Makes the pages that are missing: all, or none if there is no room or a signal comes.
    fn make_pages(&self, first: u64, last: u64) -> Result<()> {
        let mut made = Vec::new();
        for index in first..last {
            let step = if caller::signal_pending() { Err(EINTR) } else { self.get_or_tell_made(index) };
            match step {
                Ok((_, true)) => made.push(index),
                Ok((_, false)) => {}
                Err(error) => {
                    for index in made {
                        self.remove_pages(index, index + 1)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn remove_pages(&self, first: u64, end: u64) -> Result<()> {
        let removed = {
            let mut pages = self.pages()?.lock();
            let removed = pages.map.remove_range(first, end);
            pages.count -= removed.len() as u64;
            removed
        };
        self.fs.pages.fetch_sub(removed.len() as u64, Relaxed);
        TOTAL_PAGES.fetch_sub(removed.len(), Relaxed);
        Ok(())
    }

    /// Clears a part of a page, if the page exists.
    fn zero_within_page(&self, from: u64, to: u64) -> Result<()> {
        if from < to
            && let Some(frame) = self.page_if_present(from / PAGE_SIZE as u64)?
        {
            frame.fill_zero((from % PAGE_SIZE as u64) as usize, (to - from) as usize);
        }
        Ok(())
    }

    fn adopt(&self, other: &Arc<dyn Inode>) -> Result<()> {
        let node = other.downcast::<RamInode>().ok_or(EXDEV)?;
        if Arc::ptr_eq(&node.fs, &self.fs) { Ok(()) } else { Err(EXDEV) }
    }

    /// Takes an entry out and corrects the link counts.
    fn take_entry(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let victim = self.entries()?.lock().remove(name).ok_or(ENOENT)?;
        self.grow(-1);
        victim.base().dec_nlink();
        Ok(victim)
    }

    /// Puts a node into a directory under a new name, over an entry that may be there.
    fn put_entry(&self, name: &[u8], node: Arc<dyn Inode>) -> Result<()> {
        let is_dir = node.base().is_dir();
        let replaced = self.entries()?.lock().remove(name);
        if let Some(old) = replaced {
            old.base().dec_nlink();
            if old.base().is_dir() {
                old.base().set_nlink(0);
                self.base.dec_nlink();
            }
            self.grow(-1);
        }
        self.entries()?.lock().insert(name, node)?;
        if is_dir {
            self.base.inc_nlink();
        }
        self.grow(1);
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.entries().is_ok_and(|entries| entries.lock().by_name.is_empty())
    }
}

impl Inode for RamInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        self.entries()?.lock().get(name).cloned().ok_or(ENOENT)
    }

    fn create(&self, name: &[u8], new: NewNode) -> Result<Arc<dyn Inode>> {
        let file_type = FileType::of_mode(new.mode).ok_or(EINVAL)?;
        let node = RamInode::new(&self.fs, new, Content::of_type(file_type))?;
        self.add(name, node)
    }

    fn create_unnamed(&self, new: NewNode) -> Result<Arc<dyn Inode>> {
        let node = RamInode::new(&self.fs, new, Content::of_type(FileType::Regular))?;
        node.base.set_nlink(0);
        Ok(node)
    }

    fn symlink(&self, name: &[u8], target: &[u8], new: NewNode) -> Result<Arc<dyn Inode>> {
        let node = RamInode::new(&self.fs, new, Content::Symlink(Box::from(target)))?;
        node.base.set_size(target.len() as u64);
        self.add(name, node)
    }

    fn link(&self, name: &[u8], inode: &Arc<dyn Inode>) -> Result<()> {
        self.adopt(inode)?;
        self.entries()?.lock().insert(name, inode.clone())?;
        inode.base().inc_nlink();
        self.grow(1);
        Ok(())
    }

    fn unlink(&self, name: &[u8], _: &Arc<dyn Inode>) -> Result<()> {
        self.take_entry(name).map(drop)
    }

    fn rmdir(&self, name: &[u8], victim: &Arc<dyn Inode>) -> Result<()> {
        let node = victim.downcast::<RamInode>().ok_or(EXDEV)?;
        if !node.is_empty() {
            return Err(ENOTEMPTY);
        }
        self.take_entry(name)?;
        node.base.set_nlink(0);
        self.base.dec_nlink();
        Ok(())
    }

    fn rename(&self, name: &[u8], new_dir: &Arc<dyn Inode>, new_name: &[u8], mode: RenameMode) -> Result<()> {
        self.adopt(new_dir)?;
        let to = new_dir.downcast::<RamInode>().ok_or(EXDEV)?;
        let moved = self.entries()?.lock().get(name).cloned().ok_or(ENOENT)?;
        let target = to.entries()?.lock().get(new_name).cloned();
        if let (RenameMode::Replace, Some(target)) = (mode, &target)
            && let Some(target) = target.downcast::<RamInode>()
            && target.base.is_dir()
            && !target.is_empty()
        {
            return Err(ENOTEMPTY);
        }
        // The links of the nodes themselves do not change, apart from one that is replaced.
        let leave = |dir: &RamInode, name: &[u8], node: &Arc<dyn Inode>| -> Result<()> {
            dir.entries()?.lock().remove(name);
            dir.grow(-1);
            if node.base().is_dir() {
                dir.base.dec_nlink();
            }
            Ok(())
        };
        match (mode, target) {
            (RenameMode::Exchange, Some(target)) => {
                leave(self, name, &moved)?;
                leave(to, new_name, &target)?;
                target.base().touch_ctime();
                self.put_entry(name, target)?;
            }
            (RenameMode::Exchange, None) => return Err(ENOENT),
            (RenameMode::Replace, _) => leave(self, name, &moved)?,
        }
        moved.base().touch_ctime();
        to.put_entry(new_name, moved)
    }

    fn read_dir(&self, from: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
        // `emit` copies to the program and may sleep: a batch of entries is taken under the lock, then handed out.
        const BATCH: usize = 32;
        let mut from = from;
        loop {
            let batch: Vec<(u64, Arc<[u8]>, u64, FileType)> = {
                let entries = self.entries()?.lock();
                entries
                    .by_position
                    .range(from..)
                    .take(BATCH)
                    .filter_map(|(&position, name)| {
                        let inode = entries.get(name)?;
                        Some((position, name.clone(), inode.base().ino, inode.base().file_type()))
                    })
                    .collect()
            };
            if batch.is_empty() {
                return Ok(());
            }
            for (position, name, ino, file_type) in &batch {
                let entry = DirEntry { name, ino: *ino, file_type: *file_type, next: position + 1 };
                if !emit(entry) {
                    return Ok(());
                }
                from = position + 1;
            }
        }
    }

    fn read_link(&self) -> Result<LinkTarget> {
        match &self.content {
            Content::Symlink(target) => Ok(LinkTarget::Text(target.to_vec())),
            _ => Err(EINVAL),
        }
    }

    fn has_xattrs(&self) -> bool {
        true
    }

    fn fifo(&self) -> Option<Arc<Pipe>> {
        match &self.content {
            Content::Fifo(pipe) => Some(pipe.call_once(Pipe::new).clone()),
            _ => None,
        }
    }

    fn page(&self, index: u64) -> Result<Frame> {
        if index >= self.base.size().div_ceil(PAGE_SIZE as u64) {
            return Err(ENXIO);
        }
        self.get_or_make(index)
    }

    fn page_if_present(&self, index: u64) -> Result<Option<Frame>> {
        Ok(self.pages()?.lock().map.get(index).cloned())
    }

    fn page_for_write(&self, index: u64) -> Result<Frame> {
        self.get_or_make(index)
    }

    fn with_pages(&self, index: u64, max: usize, look: &mut dyn FnMut(&[Option<Frame>])) {
        if let Content::File(pages) = &self.content {
            look(pages.lock().map.dense_run(index, max));
        }
    }

    fn has_pages(&self) -> bool {
        matches!(self.content, Content::File(_))
    }

    fn resize(&self, size: u64) -> Result<()> {
        let old = self.base.size();
        if size < old {
            // What is behind the end reads as zero when the file grows again.
            self.base.set_size(size);
            let first = size.div_ceil(PAGE_SIZE as u64);
            self.remove_pages(first, u64::MAX)?;
            self.unmap_from_programs(first, u64::MAX, true);
            self.zero_within_page(size, first * PAGE_SIZE as u64)?;
        } else {
            self.pages()?;
            self.base.set_size(size);
        }
        self.base.touch_mtime();
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64, punch: bool) -> Result<()> {
        let end = offset + len;
        let page = PAGE_SIZE as u64;
        if !punch {
            // What does not fit is refused before memory is taken for it.
            let (first, last) = (offset / page, end.div_ceil(page));
            let room = self.fs.max_pages.saturating_sub(self.fs.pages.load(Relaxed));
            if last - first > room + self.pages()?.lock().count {
                return Err(ENOSPC);
            }
            return self.make_pages(first, last);
        }
        let (first, last) = (offset.div_ceil(page), end / page);
        if first > last {
            return self.zero_within_page(offset, end);
        }
        self.zero_within_page(offset, first * page)?;
        self.zero_within_page(last * page, end)?;
        self.remove_pages(first, last)?;
        self.unmap_from_programs(first, last, false);
        Ok(())
    }

    fn blocks(&self) -> u64 {
        match &self.content {
            Content::File(pages) => pages.lock().count * (PAGE_SIZE / 512) as u64,
            _ => 0,
        }
    }

    fn statfs(&self) -> Result<FsStat> {
        let fs = &self.fs;
        let limited = |max: u64, used: &AtomicU64| {
            if max == u64::MAX { (0, 0) } else { (max, max - used.load(Relaxed)) }
        };
        let (blocks, blocks_free) = limited(fs.max_pages, &fs.pages);
        let (files, files_free) = limited(fs.max_inodes, &fs.inodes);
        let block_size = PAGE_SIZE as u64;
        Ok(FsStat { magic: TMPFS_MAGIC, block_size, blocks, blocks_free, files, files_free })
    }
}

impl Drop for RamInode {
    /// A directory goes with what is in it, the subdirectories one after the other: a program can nest them deeper than a
    /// kernel stack is.
    fn drop(&mut self) {
        let mut below = self.take_entries();
        while let Some(child) = below.pop() {
            let child: Arc<dyn Any + Send + Sync> = child;
            if let Ok(child) = child.downcast::<RamInode>()
                && let Some(mut child) = Arc::into_inner(child)
            {
                below.append(&mut child.take_entries());
            }
        }
        self.fs.inodes.fetch_sub(1, Relaxed);
        if let Content::File(pages) = &mut self.content {
            let count = pages.get_mut().count;
            self.fs.pages.fetch_sub(count, Relaxed);
            TOTAL_PAGES.fetch_sub(count as usize, Relaxed);
        }
    }
}
