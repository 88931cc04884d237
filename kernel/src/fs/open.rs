//! Opening files, open(2).

use alloc::borrow::Cow;
use core::ops::Deref;

use super::{
    access::{self, Access},
    dentry, devpts,
    file::{File, FileOps, OpenFlags, PathOnly},
    inode::{DevId, FileType, Inode, LinkTarget, NewNode},
    mount::MountFlags,
    name_ops,
    notify::{self, Events},
    path::{LastKind, Path, Walker, find_locked, lookup_in},
    pipe,
    regular::{Directory, RegularFile},
};
use crate::{device, prelude::*, process::credentials::Credentials};

/// What an open asks for, with contradictions refused.
#[derive(Clone, Copy)]
pub struct OpenHow {
    flags: OpenFlags,
    /// Permissions of a file that is made, after the umask.
    mode: u32,
}

impl OpenHow {
    /// From the arguments of open(2); unknown flags are ignored, as there.
    pub fn new(flags: u32, mode: u32, umask: u32) -> Result<Self> {
        let mut flags = OpenFlags::from_bits_truncate(flags);
        if flags.contains(OpenFlags::PATH) {
            flags &= OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW | OpenFlags::CLOEXEC;
        } else {
            flags |= OpenFlags::LARGEFILE;
        }
        if flags.contains(OpenFlags::TMPFILE_BIT) {
            if !flags.contains(OpenFlags::DIRECTORY) || !flags.writable() || flags.contains(OpenFlags::CREAT)
            {
                return Err(EINVAL);
            }
        } else if flags.contains(OpenFlags::CREAT | OpenFlags::DIRECTORY) {
            return Err(EINVAL);
        }
        Ok(OpenHow { flags, mode: mode & 0o7777 & !umask })
    }

    /// The permissions that the file must give.
    fn access(&self) -> Access {
        let mut wanted = match self.flags.bits() & 3 {
            0 => Access::READ,
            1 => Access::WRITE,
            _ => Access::READ | Access::WRITE,
        };
        if self.flags.contains(OpenFlags::TRUNC) {
            wanted |= Access::WRITE;
        }
        wanted
    }
}

/// Opens the file that `path` names, from `start` (or `root`, if it begins with a slash).
pub fn open(creds: &Credentials, root: &Path, start: Path, path: &[u8], how: OpenHow) -> Result<Arc<File>> {
    let flags = how.flags;
    let mut path = Cow::Borrowed(path);
    let mut walker = Walker::new(creds, root, start);
    if flags.contains(OpenFlags::TMPFILE) {
        let dir = walker.find(&path, true)?;
        return open_unnamed(creds, dir, how);
    }
    loop {
        let last = walker.walk_parent(&mut path)?;
        let LastKind::Name(range) = last.kind else {
            if flags.contains(OpenFlags::CREAT) {
                return Err(EISDIR);
            }
            let place = walker.finish_directory(&last.kind)?;
            return open_place(creds, place, how);
        };
        walker.check_search()?;
        let name = &path[range];
        let dir = &walker.at;
        let dentry = if flags.contains(OpenFlags::CREAT) {
            if last.slash {
                return Err(EISDIR);
            }
            match find_or_create(creds, dir, name, how)? {
                Found::New(place) => return open_new(place, flags),
                Found::Old(_) if flags.contains(OpenFlags::EXCL) => return Err(EEXIST),
                Found::Old(dentry) => dentry,
            }
        } else {
            lookup_in(&dir.dentry, name)?
        };
        let mut child = Path { mount: dir.mount.clone(), dentry };
        child.cross_mounts();
        let base = child.inode()?.base();
        if base.is_symlink() && (last.slash || !flags.contains(OpenFlags::NOFOLLOW)) {
            match walker.follow(&child)? {
                LinkTarget::Place(place) => return open_place(creds, place, how),
                LinkTarget::Text(mut text) => {
                    if last.slash {
                        text.push(b'/');
                    }
                    path = Cow::Owned(text);
                    continue;
                }
            }
        }
        if last.slash && !base.is_dir() {
            return Err(ENOTDIR);
        }
        return open_place(creds, child, how);
    }
}

enum Found {
    Old(Arc<dentry::Dentry>),
    New(Path),
}

/// The last step of an open with O_CREAT: one look and, if need be, one creation, under the directory's lock.
fn find_or_create(creds: &Credentials, dir: &Path, name: &[u8], how: OpenHow) -> Result<Found> {
    let inode = dir.inode()?;
    let _lock = inode.base().lock.lock();
    if let Some(dentry) = find_locked(&dir.dentry, inode, name)? {
        return Ok(Found::Old(dentry));
    }
    if dir.mount.is_read_only() {
        return Err(EROFS);
    }
    if inode.base().nlink() == 0 {
        return Err(ENOENT);
    }
    access::check_change_dir(dir, creds)?;
    let (gid, mode) = access::inherit(inode.base(), creds, FileType::Regular.mode_bits() | how.mode);
    let node = inode.create(name, NewNode { mode, uid: creds.fsuid, gid, rdev: DevId(0) })?;
    let dentry = dentry::insert(&dir.dentry, name, node.clone());
    notify::created(inode, name, &node);
    Ok(Found::New(Path { mount: dir.mount.clone(), dentry }))
}

/// Opens a file that was just made: the mode asked for binds others, not the maker.
fn open_new(place: Path, flags: OpenFlags) -> Result<Arc<File>> {
    let inode = place.inode()?.clone();
    let ops = file_ops(&inode, &place, flags)?;
    new_file(ops, inode, place, flags)
}

/// The open file, of which everybody hears who listens.
fn new_file(
    ops: Box<dyn FileOps>,
    inode: Arc<dyn Inode>,
    place: Path,
    flags: OpenFlags,
) -> Result<Arc<File>> {
    let file = File::new(ops, inode, Some(place), flags)?;
    notify::file_event(&file, Events::OPEN);
    Ok(file)
}

/// O_TMPFILE.
fn open_unnamed(creds: &Credentials, dir: Path, how: OpenHow) -> Result<Arc<File>> {
    let inode = dir.inode()?;
    if !inode.base().is_dir() {
        return Err(ENOTDIR);
    }
    access::check_change_dir(&dir, creds)?;
    let (gid, mode) = access::inherit(inode.base(), creds, FileType::Regular.mode_bits() | how.mode);
    let node = inode.create_unnamed(NewNode { mode, uid: creds.fsuid, gid, rdev: DevId(0) })?;
    let name = alloc::format!("#{}", node.base().ino);
    let dentry = dentry::Dentry::new_unlinked(&dir.dentry, name.as_bytes(), node);
    open_new(Path { mount: dir.mount.clone(), dentry }, how.flags - OpenFlags::TMPFILE)
}

/// Opens what was found at the end of a path.
pub fn open_place(creds: &Credentials, place: Path, how: OpenHow) -> Result<Arc<File>> {
    let flags = how.flags;
    let inode = place.inode()?.clone();
    let base = inode.base();
    if flags.contains(OpenFlags::CREAT) && base.is_dir() {
        return Err(EISDIR);
    }
    if flags.contains(OpenFlags::DIRECTORY) && !base.is_dir() {
        return Err(ENOTDIR);
    }
    if flags.contains(OpenFlags::PATH) {
        return File::new(Box::new(PathOnly), inode, Some(place), flags);
    }
    check_may_open(creds, &place, how)?;
    let ops = file_ops(&inode, &place, flags)?;
    let file = new_file(ops, inode, place, flags)?;
    if flags.contains(OpenFlags::TRUNC) && file.inode().base().is_regular() {
        truncate(creds, &file)?;
    }
    Ok(file)
}

fn check_may_open(creds: &Credentials, place: &Path, how: OpenHow) -> Result<()> {
    let base = place.inode()?.base();
    let wanted = how.access();
    match base.file_type() {
        FileType::Symlink => return Err(ELOOP),
        FileType::Dir if wanted.contains(Access::WRITE) => return Err(EISDIR),
        FileType::Char | FileType::Block if place.mount.flags().contains(MountFlags::NODEV) => {
            return Err(EACCES);
        }
        _ => {}
    }
    access::check_path(place, creds, wanted)?;
    if how.flags.contains(OpenFlags::NOATIME) {
        access::check_owner(base, creds)?;
    }
    Ok(())
}

/// O_TRUNC. A file opened for reading only is truncated all the same, as in Linux.
fn truncate(creds: &Credentials, file: &File) -> Result<()> {
    let base = file.inode().base();
    let dentry = file.path().map(|path| &path.dentry);
    if file.flags().writable() {
        return name_ops::resize(file.inode(), dentry, 0, creds);
    }
    base.get_write_access()?;
    let result = name_ops::resize(file.inode(), dentry, 0, creds);
    base.put_write_access();
    result
}

/// What an open file of this inode does.
fn file_ops(inode: &Arc<dyn Inode>, place: &Path, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
    match inode.base().file_type() {
        FileType::Dir => Ok(Box::new(Directory)),
        FileType::Fifo => pipe::open_fifo(&inode.fifo().ok_or(ENXIO)?, flags),
        FileType::Char => match devpts::open_node(inode, place, flags) {
            Some(result) => result,
            None => device::open_char(inode.base().rdev, flags),
        },
        FileType::Block | FileType::Socket => Err(ENXIO),
        FileType::Regular if inode.has_pages() => Ok(Box::new(RegularFile)),
        FileType::Regular | FileType::Symlink => inode.clone().open(flags),
    }
}

/// A file opened for execution: while this lives, nobody can open it for writing (rule 10.2).
pub struct ExecFile(Arc<File>);

impl ExecFile {
    /// Checks that `place` can be executed (EACCES) and opens it. ETXTBSY while it is open for writing.
    pub fn open(creds: &Credentials, place: Path) -> Result<ExecFile> {
        let inode = place.inode()?.clone();
        if inode.base().is_symlink() {
            return Err(ELOOP);
        }
        if !inode.base().is_regular() || place.mount.flags().contains(MountFlags::NOEXEC) {
            return Err(EACCES);
        }
        access::check(inode.base(), creds, Access::EXEC)?;
        let ops = file_ops(&inode, &place, OpenFlags::empty())?;
        let file = new_file(ops, inode, place, OpenFlags::LARGEFILE)?;
        file.inode().base().deny_write_access()?;
        Ok(ExecFile(file))
    }

    pub fn file(&self) -> &Arc<File> {
        &self.0
    }
}

impl Deref for ExecFile {
    type Target = File;
    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for ExecFile {
    fn drop(&mut self) {
        self.0.inode().base().allow_write_access();
    }
}
