//! Paths: places in the tree of mounts, and the walk that finds them (path_resolution(7)).
//!
//! A [`Path`] is a dentry as seen through a mount. A [`Walker`] goes from a start to the place that a string names:
//! component by component through the dentry cache, across mount points in both directions, through symbolic links
//! (40 at most: ELOOP), never above the process's root. Errors come in the order of Linux: a component's directory must
//! be one (ENOTDIR) and searchable (EACCES) before the name is looked up in it (ENAMETOOLONG, ENOENT).
//!
//! Operations on names (create, unlink, rename, ...) stop the walk before the last component ([`Walker::walk_parent`]).

use alloc::borrow::Cow;
use core::ops::Range;

use super::{
    access::{self, Access},
    dentry::{self, Dentry},
    inode::{Inode, LinkTarget, NAME_MAX},
    mount::{self, Mount},
};
use crate::{prelude::*, process::credentials::Credentials};

/// The longest path, with its NUL.
pub const PATH_MAX: usize = 4096;

/// How many symbolic links a walk follows.
const MAX_LINKS: u32 = 40;

/// A place: a dentry seen through a mount.
#[derive(Clone)]
pub struct Path {
    pub mount: Arc<Mount>,
    pub dentry: Arc<Dentry>,
}

impl Path {
    /// The inode at this place; ENOENT for a negative dentry (which a finished walk never gives).
    pub fn inode(&self) -> Result<&Arc<dyn Inode>> {
        self.dentry.inode().ok_or(ENOENT)
    }

    pub fn is_same(&self, other: &Path) -> bool {
        Arc::ptr_eq(&self.dentry, &other.dentry) && Arc::ptr_eq(&self.mount, &other.mount)
    }

    /// Goes to the root of the topmost mount on this place.
    pub fn cross_mounts(&mut self) {
        while let Some(mount) = mount::mounted_on(&self.mount, &self.dentry) {
            self.dentry = mount.root.clone();
            self.mount = mount;
        }
    }

    /// Goes to the parent directory, but not above `root`.
    fn step_up(&mut self, root: &Path) {
        loop {
            if self.is_same(root) {
                break;
            }
            if !Arc::ptr_eq(&self.dentry, &self.mount.root) {
                if let Some(parent) = self.dentry.parent() {
                    self.dentry = parent;
                }
                break;
            }
            match self.mount.mount_point() {
                Some(point) => *self = point,
                None => break,
            }
        }
        self.cross_mounts();
    }

    /// The path's text as seen from `root`, and whether it is reachable from there. " (deleted)" is appended for an
    /// unlinked file.
    pub fn text(&self, root: &Path) -> (Vec<u8>, bool) {
        // Collected from the end, each component behind its slash, and turned round at the end.
        let mut names: Vec<Box<[u8]>> = Vec::new();
        let mut at = self.clone();
        let mut reachable = true;
        let mut unnamed = None;
        while !at.is_same(root) {
            if Arc::ptr_eq(&at.dentry, &at.mount.root) {
                match at.mount.mount_point() {
                    Some(point) => at = point,
                    None => {
                        reachable = false;
                        break;
                    }
                }
                continue;
            }
            match at.dentry.place() {
                (Some(parent), name) => {
                    names.push(name);
                    at.dentry = parent;
                }
                (None, name) => {
                    unnamed = Some(name);
                    reachable = false;
                    break;
                }
            }
        }
        let mut text = Vec::new();
        if let Some(name) = unnamed {
            text.extend_from_slice(&name);
        }
        for name in names.iter().rev() {
            text.push(b'/');
            text.extend_from_slice(name);
        }
        if text.is_empty() {
            text.push(b'/');
        }
        if self.dentry.is_unhashed() && self.dentry.parent().is_some() {
            text.extend_from_slice(b" (deleted)");
        }
        (text, reachable)
    }
}

/// What the last component of a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastKind {
    /// The path is `/`.
    Root,
    Dot,
    DotDot,
    /// A name, at this range of the walked string.
    Name(Range<usize>),
}

/// The last component of a path.
#[derive(Clone, Debug)]
pub struct Last {
    pub kind: LastKind,
    /// Slashes follow it, so it must be a directory.
    pub slash: bool,
}

/// A walk through the tree: see the [module's description](self).
pub struct Walker<'a> {
    creds: &'a Credentials,
    root: &'a Path,
    /// Where the walk stands: a directory, as far as it has been checked.
    pub at: Path,
    links: u32,
}

impl<'a> Walker<'a> {
    /// A walk from `start`; a path that begins with a slash starts at `root` instead.
    pub fn new(creds: &'a Credentials, root: &'a Path, start: Path) -> Self {
        Walker { creds, root, at: start, links: 0 }
    }

    /// Finds the place that `path` names. The last component is followed if it is a symbolic link and `follow` says so
    /// (or slashes follow it).
    pub fn find(&mut self, path: &[u8], follow: bool) -> Result<Path> {
        let mut path = Cow::Borrowed(path);
        loop {
            let last = self.walk_parent(&mut path)?;
            let LastKind::Name(range) = last.kind else {
                return self.finish_directory(&last.kind);
            };
            let child = self.step(&path[range])?;
            let base = child.inode()?.base();
            if base.is_symlink() && (follow || last.slash) {
                match self.follow(&child)? {
                    LinkTarget::Place(place) => return checked_slash(place, last.slash),
                    LinkTarget::Text(mut text) => {
                        if last.slash {
                            text.push(b'/');
                        }
                        path = Cow::Owned(text);
                        continue;
                    }
                }
            }
            return checked_slash(child, last.slash);
        }
    }

    /// The place of a last component that is not a name.
    pub fn finish_directory(&mut self, kind: &LastKind) -> Result<Path> {
        if *kind == LastKind::DotDot {
            self.check_search()?;
            self.at.step_up(self.root);
        } else if *kind == LastKind::Dot {
            self.check_search()?;
        }
        Ok(self.at.clone())
    }

    /// Walks all components but the last, which is described by the result; [`at`](Self::at) is then the directory that
    /// it is in. `path` is replaced when a symbolic link was on the way.
    pub fn walk_parent(&mut self, path: &mut Cow<'_, [u8]>) -> Result<Last> {
        if path.is_empty() {
            return Err(ENOENT);
        }
        let mut pos = self.begin(path);
        if pos == path.len() {
            return Ok(Last { kind: LastKind::Root, slash: true });
        }
        loop {
            let end = path[pos..].iter().position(|&b| b == b'/').map_or(path.len(), |n| pos + n);
            let next = skip_slashes(path, end);
            let name = &path[pos..end];
            if next == path.len() {
                let kind = match name {
                    b"." => LastKind::Dot,
                    b".." => LastKind::DotDot,
                    _ => LastKind::Name(pos..end),
                };
                return Ok(Last { kind, slash: end != next });
            }
            match name {
                b"." => self.check_search()?,
                b".." => {
                    self.check_search()?;
                    self.at.step_up(self.root);
                }
                _ => {
                    let child = self.step(name)?;
                    if child.inode()?.base().is_symlink() {
                        match self.follow(&child)? {
                            LinkTarget::Place(place) => self.at = place,
                            LinkTarget::Text(mut text) => {
                                text.push(b'/');
                                text.extend_from_slice(&path[next..]);
                                *path = Cow::Owned(text);
                                pos = self.begin(path);
                                continue;
                            }
                        }
                    } else {
                        self.at = child;
                    }
                }
            }
            if !self.at.inode()?.base().is_dir() {
                return Err(ENOTDIR);
            }
            pos = next;
        }
    }

    /// Starts on a string: at the root if it begins with slashes. Returns where its first component begins.
    fn begin(&mut self, path: &[u8]) -> usize {
        if path.first() == Some(&b'/') {
            self.at = self.root.clone();
        }
        skip_slashes(path, 0)
    }

    /// The directory at which the walk stands can be searched.
    pub fn check_search(&self) -> Result<()> {
        let inode = self.at.inode()?;
        if !inode.base().is_dir() {
            return Err(ENOTDIR);
        }
        access::check_inode(&**inode, self.creds, Access::EXEC)
    }

    /// Looks `name` up in the directory at which the walk stands. ENOENT if it does not exist.
    fn step(&mut self, name: &[u8]) -> Result<Path> {
        self.check_search()?;
        let dentry = lookup_in(&self.at.dentry, name)?;
        if dentry.inode().is_none() {
            return Err(ENOENT);
        }
        let mut child = Path { mount: self.at.mount.clone(), dentry };
        child.cross_mounts();
        Ok(child)
    }

    /// Reads a symbolic link. The walk stays at the link's directory, where its text starts.
    pub fn follow(&mut self, link: &Path) -> Result<LinkTarget> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(ELOOP);
        }
        let inode = link.inode()?;
        let target = inode.read_link()?;
        inode.base().touch_atime();
        match &target {
            LinkTarget::Text(text) if text.is_empty() => Err(ENOENT),
            _ => Ok(target),
        }
    }
}

fn skip_slashes(path: &[u8], from: usize) -> usize {
    from + path[from..].iter().take_while(|&&b| b == b'/').count()
}

fn checked_slash(place: Path, slash: bool) -> Result<Path> {
    if slash && !place.inode()?.base().is_dir() {
        return Err(ENOTDIR);
    }
    Ok(place)
}

/// The dentry of `name` in the directory `dir`, negative if it does not exist.
pub fn lookup_in(dir: &Arc<Dentry>, name: &[u8]) -> Result<Arc<Dentry>> {
    if let Some(found) = lookup_cached(dir, name) {
        return Ok(found);
    }
    if name.len() > NAME_MAX {
        return Err(ENAMETOOLONG);
    }
    let inode = dir.inode().ok_or(ENOENT)?;
    let _lock = inode.base().lock.lock();
    lookup_locked(dir, inode, name)
}

/// As [`lookup_in`], by somebody who holds the directory's lock.
fn lookup_locked(dir: &Arc<Dentry>, inode: &Arc<dyn Inode>, name: &[u8]) -> Result<Arc<Dentry>> {
    if let Some(found) = lookup_cached(dir, name) {
        return Ok(found);
    }
    match find_locked(dir, inode, name)? {
        Some(found) => Ok(found),
        // Nothing new may appear in a directory that was removed, and in a volatile file system nothing at all.
        None if dir.is_unhashed() || dir.is_volatile() => Err(ENOENT),
        None => Ok(dentry::insert_negative(dir, name)),
    }
}

/// The dentry of an existing `name`, by somebody who holds the directory's lock and may be about to make or remove it:
/// that it does not exist is not remembered. ENOENT where nothing can come to exist.
pub fn find_locked(dir: &Arc<Dentry>, inode: &Arc<dyn Inode>, name: &[u8]) -> Result<Option<Arc<Dentry>>> {
    if let Some(found) = lookup_cached(dir, name) {
        return Ok(found.inode().is_some().then_some(found));
    }
    if name.len() > NAME_MAX {
        return Err(ENAMETOOLONG);
    }
    match inode.lookup(name) {
        Ok(found) => Ok(Some(dentry::insert(dir, name, found))),
        Err(ENOENT) if !dir.is_volatile() => Ok(None),
        Err(e) => Err(e),
    }
}

fn lookup_cached(dir: &Arc<Dentry>, name: &[u8]) -> Option<Arc<Dentry>> {
    let found = dentry::lookup(dir, name)?;
    if found.is_volatile() && found.inode().is_some_and(|inode| !inode.revalidate()) {
        dentry::remove(&found);
        return None;
    }
    Some(found)
}
