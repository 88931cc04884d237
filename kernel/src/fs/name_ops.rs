//! Operations on names: making, linking, removing and renaming files, and changing their attributes.
//!
//! A [`NameOp`] is a path walked up to its last component. The operations look that up under the directory's lock, check
//! permissions in the order of Linux (which errno wins is visible), ask the file system, and put the dentry cache right.
//! Nothing here depends on the calling thread: whose rights count is said by the [`NameOp`].

use alloc::borrow::Cow;

use ostd::sync::{Mutex, MutexGuard};

use super::{
    access::{self, Access},
    at::Target,
    dentry::{self, Dentry},
    file::MAX_FILE_SIZE,
    inode::{
        DevId, FileType, Inode, InodeBase, NewNode, PERM_MASK, RenameMode, S_ISGID, S_ISUID, S_ISVTX,
        S_IXGRP, same,
    },
    notify::{self, Events, Place},
    path::{Last, LastKind, PATH_MAX, Path, Walker, find_locked},
    xattr,
};
use crate::{
    lock_order,
    prelude::*,
    process::credentials::{Cap, Credentials},
};

/// Held while an entry moves between directories, so that two renames can't make a loop of directories.
static RENAME: Mutex<()> = Mutex::new(lock_order::RENAME, ());

/// A path walked up to its last component.
pub struct NameOp<'a> {
    creds: &'a Credentials,
    dir: Path,
    path: Cow<'a, [u8]>,
    last: Last,
}

impl<'a> NameOp<'a> {
    pub fn new(creds: &'a Credentials, root: &Path, start: Path, path: &'a [u8]) -> Result<Self> {
        let mut path = Cow::Borrowed(path);
        let mut walker = Walker::new(creds, root, start);
        let last = walker.walk_parent(&mut path)?;
        walker.check_search()?;
        Ok(NameOp { creds, dir: walker.at, path, last })
    }

    /// The last component; `error` if it is `.`, `..` or the root.
    fn name(&self, error: Errno) -> Result<&[u8]> {
        match &self.last.kind {
            LastKind::Name(range) => Ok(&self.path[range.clone()]),
            _ => Err(error),
        }
    }

    fn dir_inode(&self) -> Result<&Arc<dyn Inode>> {
        self.dir.inode()
    }

    /// The last component as an entry that exists, with the directory locked by the caller.
    fn existing(&self, name: &[u8]) -> Result<(Arc<Dentry>, Arc<dyn Inode>)> {
        let dentry = find_locked(&self.dir.dentry, self.dir_inode()?, name)?.ok_or(ENOENT)?;
        let inode = dentry.inode().ok_or(ENOENT)?.clone();
        Ok((dentry, inode))
    }

    fn check_writable_mount(&self) -> Result<()> {
        if self.dir.mount.is_read_only() { Err(EROFS) } else { Ok(()) }
    }

    /// Makes a new entry with `make(directory, name)`.
    fn make_entry(
        &self,
        is_dir: bool,
        make: impl FnOnce(&Arc<dyn Inode>, &[u8]) -> Result<Arc<dyn Inode>>,
    ) -> Result<Path> {
        let name = self.name(EEXIST)?;
        let dir = self.dir_inode()?;
        let _lock = dir.base().lock.lock();
        if find_locked(&self.dir.dentry, dir, name)?.is_some() {
            return Err(EEXIST);
        }
        if self.last.slash && !is_dir {
            return Err(ENOENT);
        }
        self.check_writable_mount()?;
        if dir.base().nlink() == 0 {
            return Err(ENOENT);
        }
        access::check_change_dir(&self.dir, self.creds)?;
        let inode = make(dir, name)?;
        let dentry = dentry::insert(&self.dir.dentry, name, inode.clone());
        notify::created(dir, name, &inode);
        Ok(Path { mount: self.dir.mount.clone(), dentry })
    }

    fn new_node(&self, dir: &InodeBase, mode: u32, rdev: DevId) -> NewNode {
        let (gid, mode) = access::inherit(dir, self.creds, mode);
        NewNode { mode, uid: self.creds.fsuid, gid, rdev }
    }

    /// mkdir(2). `mode` is after the umask.
    pub fn mkdir(&self, mode: u32) -> Result<Path> {
        self.make_entry(true, |dir, name| {
            let mode = FileType::Dir.mode_bits() | mode & (0o777 | S_ISVTX);
            dir.create(name, self.new_node(dir.base(), mode, DevId(0)))
        })
    }

    /// mknod(2). `mode` is after the umask; a device needs CAP_MKNOD.
    pub fn mknod(&self, mode: u32, rdev: DevId) -> Result<Path> {
        let file_type = FileType::of_mode(mode).ok_or(EINVAL)?;
        if file_type == FileType::Dir {
            return Err(EPERM);
        }
        if file_type == FileType::Symlink {
            return Err(EINVAL);
        }
        self.make_entry(false, |dir, name| {
            if matches!(file_type, FileType::Char | FileType::Block) {
                self.creds.require(Cap::Mknod)?;
            }
            dir.create(name, self.new_node(dir.base(), mode, rdev))
        })
    }

    /// symlink(2).
    pub fn symlink(&self, target: &[u8]) -> Result<Path> {
        if target.is_empty() {
            return Err(ENOENT);
        }
        if target.len() >= PATH_MAX {
            return Err(ENAMETOOLONG);
        }
        self.make_entry(false, |dir, name| {
            let mode = FileType::Symlink.mode_bits() | 0o777;
            dir.symlink(name, target, self.new_node(dir.base(), mode, DevId(0)))
        })
    }

    /// link(2): one more name for the file at `old`.
    pub fn link(&self, old: &Path) -> Result<Path> {
        let inode = old.inode()?;
        self.make_entry(false, |dir, name| {
            if !Arc::ptr_eq(&old.mount, &self.dir.mount) {
                return Err(EXDEV);
            }
            if inode.base().is_dir() {
                return Err(EPERM);
            }
            if inode.base().nlink() == 0 {
                return Err(ENOENT);
            }
            dir.link(name, inode)?;
            notify::link_count_changed(inode);
            Ok(inode.clone())
        })
    }

    /// unlink(2).
    pub fn unlink(&self) -> Result<()> {
        let name = self.name(EISDIR)?;
        let dir = self.dir_inode()?;
        // The file's pages, if this was its last name, are freed with the directory unlocked.
        let removed = {
            let _lock = dir.base().lock.lock();
            let (dentry, victim) = self.existing(name)?;
            let is_dir = victim.base().is_dir();
            if self.last.slash {
                return Err(if is_dir { EISDIR } else { ENOTDIR });
            }
            self.check_writable_mount()?;
            access::check_delete(&self.dir, victim.base(), self.creds)?;
            if is_dir {
                return Err(EISDIR);
            }
            if dentry.is_mount_point() {
                return Err(EBUSY);
            }
            dir.unlink(name, &victim)?;
            notify::link_count_changed(&victim);
            dentry::remove(&dentry);
            // Where nobody else has it, the file is deleted before its name is.
            drop(dentry);
            notify::removed(dir, name, &victim);
            victim
        };
        drop(removed);
        Ok(())
    }

    /// rmdir(2).
    pub fn rmdir(&self) -> Result<()> {
        let name = match self.last.kind {
            LastKind::Name(_) => self.name(EINVAL)?,
            LastKind::Dot => return Err(EINVAL),
            LastKind::DotDot => return Err(ENOTEMPTY),
            LastKind::Root => return Err(EBUSY),
        };
        let dir = self.dir_inode()?;
        let _lock = dir.base().lock.lock();
        let (dentry, victim) = self.existing(name)?;
        self.check_writable_mount()?;
        access::check_delete(&self.dir, victim.base(), self.creds)?;
        if !victim.base().is_dir() {
            return Err(ENOTDIR);
        }
        if dentry.is_mount_point() {
            return Err(EBUSY);
        }
        // Nobody adds an entry to it between the check that it is empty and its end.
        let _victim_lock = victim.base().lock.lock_nested();
        dir.rmdir(name, &victim)?;
        dentry::remove_directory(&dentry);
        drop(dentry);
        notify::removed(dir, name, &victim);
        Ok(())
    }

    /// renameat2(2): moves this entry to `to`. `no_replace` and `exchange` are its flags.
    pub fn rename(&self, to: &NameOp, no_replace: bool, exchange: bool) -> Result<()> {
        if !Arc::ptr_eq(&self.dir.mount, &to.dir.mount) {
            return Err(EXDEV);
        }
        let old_name = self.name(EBUSY)?;
        let new_name = to.name(if no_replace { EEXIST } else { EBUSY })?;
        self.check_writable_mount()?;
        let locks = DirLocks::take(self.dir_inode()?, to.dir_inode()?);
        let (old, moved) = self.existing(old_name)?;
        let new = find_locked(&to.dir.dentry, to.dir_inode()?, new_name)?;
        let target = new.as_ref().and_then(|new| new.inode()).cloned();
        match &target {
            Some(_) if no_replace => return Err(EEXIST),
            None if exchange => return Err(ENOENT),
            _ => {}
        }
        self.check_rename(to, &old, new.as_ref(), exchange)?;
        if target.as_ref().is_some_and(|target| same(target, &moved)) {
            return Ok(());
        }
        let mode = if exchange { RenameMode::Exchange } else { RenameMode::Replace };
        let (dir, to_dir) = (self.dir_inode()?, to.dir_inode()?);
        dir.rename(old_name, to_dir, new_name, mode)?;
        match &new {
            Some(new) if exchange => dentry::exchange(&old, new),
            _ => dentry::rename(&old, &to.dir.dentry, new_name),
        }
        let (from, place) = (Place { dir, name: old_name }, Place { dir: to_dir, name: new_name });
        notify::moved(from, place, &moved, target.as_ref().filter(|_| !exchange));
        if let Some(target) = target.filter(|_| exchange) {
            notify::moved(place, from, &target, None);
        }
        drop(locks);
        Ok(())
    }

    /// What forbids a rename; both directories are locked.
    fn check_rename(
        &self,
        to: &NameOp,
        old: &Arc<Dentry>,
        new: Option<&Arc<Dentry>>,
        exchange: bool,
    ) -> Result<()> {
        let moved = old.inode().ok_or(ENOENT)?.base();
        let target = new.and_then(|new| new.inode()).map(|inode| inode.base());
        if !moved.is_dir() && (self.last.slash || !exchange && to.last.slash) {
            return Err(ENOTDIR);
        }
        if exchange && to.last.slash && target.is_some_and(|t| !t.is_dir()) {
            return Err(ENOTDIR);
        }
        if to.dir.dentry.is_below(old) {
            return Err(EINVAL);
        }
        if new.is_some_and(|new| self.dir.dentry.is_below(new)) {
            return Err(if exchange { EINVAL } else { ENOTEMPTY });
        }
        access::check_delete(&self.dir, moved, self.creds)?;
        match target {
            Some(target) => {
                access::check_delete(&to.dir, target, self.creds)?;
                if !exchange && moved.is_dir() != target.is_dir() {
                    return Err(if target.is_dir() { EISDIR } else { ENOTDIR });
                }
            }
            None => access::check_change_dir(&to.dir, self.creds)?,
        }
        if to.dir_inode()?.base().nlink() == 0 {
            return Err(ENOENT);
        }
        // A directory that gets another parent is changed itself: its `..`.
        if !Arc::ptr_eq(&self.dir.dentry, &to.dir.dentry) {
            let changed = [Some(moved), target.filter(|_| exchange)];
            for base in changed.into_iter().flatten().filter(|base| base.is_dir()) {
                access::check(base, self.creds, Access::WRITE)?;
            }
        }
        if old.is_mount_point() || new.is_some_and(|new| new.is_mount_point()) {
            return Err(EBUSY);
        }
        Ok(())
    }
}

/// The locks of the one or two directories of a rename.
struct DirLocks<'a> {
    _rename: Option<MutexGuard<'static, ()>>,
    _first: MutexGuard<'a, ()>,
    _second: Option<MutexGuard<'a, ()>>,
}

impl<'a> DirLocks<'a> {
    /// Ordered by address, after the rename lock: two renames can't wait for each other.
    fn take(a: &'a Arc<dyn Inode>, b: &'a Arc<dyn Inode>) -> Self {
        if same(a, b) {
            return DirLocks { _rename: None, _first: a.base().lock.lock(), _second: None };
        }
        let rename = RENAME.lock();
        let (first, second) = if Arc::as_ptr(a).addr() < Arc::as_ptr(b).addr() { (a, b) } else { (b, a) };
        DirLocks {
            _rename: Some(rename),
            _first: first.base().lock.lock(),
            _second: Some(second.base().lock.lock_nested()),
        }
    }
}

/// Attributes that can be changed through a path or an open file.
fn check_setattr(path_read_only: bool, inode: &Arc<dyn Inode>) -> Result<()> {
    if path_read_only {
        return Err(EROFS);
    }
    inode.may_change_attributes()
}

/// chmod(2).
pub fn chmod(target: &Target, creds: &Credentials, mode: u32) -> Result<()> {
    let inode = target.inode()?;
    check_setattr(target.is_read_only(), inode)?;
    let base = inode.base();
    if base.is_symlink() {
        return Err(EOPNOTSUPP);
    }
    access::check_owner(base, creds)?;
    let mut perm = mode & PERM_MASK;
    if !creds.in_group(base.gid()) && !creds.capable(Cap::Fsetid) {
        perm &= !S_ISGID;
    }
    base.set_perm(perm);
    notify::changed(inode, target.dentry(), Events::ATTRIB);
    Ok(())
}

/// chown(2); `None` leaves an id as it is.
pub fn chown(target: &Target, creds: &Credentials, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let inode = target.inode()?;
    check_setattr(target.is_read_only(), inode)?;
    let base = inode.base();
    let owner = creds.fsuid == base.uid();
    let uid_ok = uid.is_none_or(|uid| owner && uid == base.uid());
    let gid_ok = gid.is_none_or(|gid| owner && (gid == base.gid() || creds.in_group(gid)));
    if !(uid_ok && gid_ok) {
        creds.require(Cap::Chown)?;
    }
    base.set_owner(uid, gid);
    let mut changed = uid.is_some() || gid.is_some();
    if !base.is_dir() {
        changed |= drop_set_id_always(base);
        xattr::drop_file_caps(base);
    }
    base.touch_ctime();
    if changed {
        notify::changed(inode, target.dentry(), Events::ATTRIB);
    }
    Ok(())
}

/// Returns whether there were any.
fn drop_set_id_always(base: &InodeBase) -> bool {
    let mode = base.mode();
    let mut perm = mode & PERM_MASK & !S_ISUID;
    if mode & S_IXGRP != 0 {
        perm &= !S_ISGID;
    }
    let had_any = perm != mode & PERM_MASK;
    if had_any {
        base.set_perm(perm);
    }
    had_any
}

/// Takes the set-id bits from a file whose contents somebody without CAP_FSETID changes. Returns whether there were any.
pub fn drop_set_id_bits(base: &InodeBase, creds: &Credentials) -> bool {
    !creds.capable(Cap::Fsetid) && drop_set_id_always(base)
}

/// A new time of utimensat(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewTime {
    Now,
    Omit,
    /// ns since the epoch.
    At(i64),
}

/// utimensat(2): access and modification time. Now for both needs only write permission.
pub fn set_times(path: &Path, creds: &Credentials, atime: NewTime, mtime: NewTime) -> Result<()> {
    if atime == NewTime::Omit && mtime == NewTime::Omit {
        return Ok(());
    }
    let inode = path.inode()?;
    let base = inode.base();
    check_setattr(path.mount.is_read_only(), inode)?;
    if atime == NewTime::Now && mtime == NewTime::Now {
        if access::check_owner(base, creds).is_err() {
            access::check(base, creds, Access::WRITE)?;
        }
    } else {
        access::check_owner(base, creds)?;
    }
    let now = super::inode::now();
    let value = |time| match time {
        NewTime::Now => Some(now),
        NewTime::At(ns) => Some(ns),
        NewTime::Omit => None,
    };
    if let Some(ns) = value(atime) {
        base.set_atime(ns);
    }
    if let Some(ns) = value(mtime) {
        base.set_mtime(ns);
    }
    base.set_ctime(now);
    let what = match (atime, mtime) {
        (NewTime::Omit, _) => Events::MODIFY,
        (_, NewTime::Omit) => Events::ACCESS,
        _ => Events::ATTRIB,
    };
    notify::changed(inode, Some(&path.dentry), what);
    Ok(())
}

/// Changes the size of a regular file: for truncate(2), after the permission check, and ftruncate(2). EFBIG beyond
/// RLIMIT_FSIZE. `dentry` is the name that it was found by.
pub fn resize(
    inode: &Arc<dyn Inode>,
    dentry: Option<&Arc<Dentry>>,
    size: u64,
    creds: &Credentials,
) -> Result<()> {
    if size > MAX_FILE_SIZE {
        return Err(EFBIG);
    }
    let base = inode.base();
    let _lock = base.lock.lock();
    check_growth(base, size)?;
    inode.resize(size)?;
    let also = if drop_set_id_bits(base, creds) { Events::ATTRIB } else { Events::empty() };
    xattr::drop_file_caps(base);
    notify::changed(inode, dentry, Events::MODIFY | also);
    Ok(())
}

/// Whether the caller may let a file grow to `size`: EFBIG and SIGXFSZ beyond RLIMIT_FSIZE.
pub fn check_growth(base: &InodeBase, size: u64) -> Result<()> {
    if size > base.size() && size > super::caller::max_file_size() {
        super::caller::raise_sigxfsz();
        return Err(EFBIG);
    }
    Ok(())
}

/// truncate(2), for a path that was found.
pub fn truncate(path: &Path, size: u64, creds: &Credentials) -> Result<()> {
    let inode = path.inode()?;
    let base = inode.base();
    if base.is_dir() {
        return Err(EISDIR);
    }
    if !base.is_regular() {
        return Err(EINVAL);
    }
    access::check_path(path, creds, Access::WRITE)?;
    base.get_write_access()?;
    let result = resize(inode, Some(&path.dentry), size, creds);
    base.put_write_access();
    result
}
