//! Paths as syscalls name them: a string of the program, relative to a descriptor.

use ostd::user::mem;

use super::{
    Path,
    dentry::Dentry,
    inode::Inode,
    name_ops::NameOp,
    open::{self, OpenHow},
    path::{PATH_MAX, Walker},
};
use crate::{
    fs::File,
    prelude::*,
    process::{Credentials, Thread},
};

/// "The working directory" in place of a descriptor.
pub const AT_FDCWD: i32 = -100;

bitflags::bitflags! {
    /// The AT_ flags of the *at syscalls.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct AtFlags: u32 {
        const SYMLINK_NOFOLLOW = 0x100;
        /// AT_EACCESS and AT_REMOVEDIR share a bit.
        const EACCESS = 0x200;
        const SYMLINK_FOLLOW = 0x400;
        const NO_AUTOMOUNT = 0x800;
        const EMPTY_PATH = 0x1000;
        const STATX_FORCE_SYNC = 0x2000;
        const STATX_DONT_SYNC = 0x4000;
    }
}

impl AtFlags {
    pub const REMOVEDIR: AtFlags = AtFlags::EACCESS;

    /// EINVAL for flags other than `allowed`.
    pub fn parse(raw: usize, allowed: AtFlags) -> Result<AtFlags> {
        let flags = AtFlags::from_bits(raw as u32).ok_or(EINVAL)?;
        if allowed.contains(flags) { Ok(flags) } else { Err(EINVAL) }
    }
}

/// Most paths are shorter than this, and need no memory of their own.
const SHORT: usize = 112;

/// A path that was read from the program.
pub enum UserPath {
    Short([u8; SHORT], usize),
    Long(Vec<u8>),
}

impl UserPath {
    /// EFAULT; ENAMETOOLONG from [`PATH_MAX`] bytes on, the NUL included.
    pub fn read(addr: Vaddr) -> Result<UserPath> {
        let mut short = [0; SHORT];
        if let Some(len) = mem::strncpy_from_user(&mut short, addr)? {
            return Ok(UserPath::Short(short, len));
        }
        let mut long = vec![0; PATH_MAX];
        let len = mem::strncpy_from_user(&mut long, addr)?.ok_or(ENAMETOOLONG)?;
        long.truncate(len);
        Ok(UserPath::Long(long))
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            UserPath::Short(bytes, len) => &bytes[..*len],
            UserPath::Long(bytes) => bytes,
        }
    }
}

/// Where the paths of one syscall start, and whose rights count.
pub struct Names {
    pub creds: Arc<Credentials>,
    pub root: Path,
    pub cwd: Path,
}

impl Names {
    pub fn of(thread: &Thread) -> Names {
        let (root, cwd) = thread.fs().root_and_cwd();
        Names { creds: thread.creds(), root, cwd }
    }

    /// Where `path` starts if it is relative to `dirfd`. EBADF; ENOTDIR if that is no directory.
    pub fn start(&self, dirfd: i32, path: &[u8]) -> Result<Path> {
        if dirfd == AT_FDCWD {
            return Ok(self.cwd.clone());
        }
        if path.first() == Some(&b'/') {
            return Ok(self.root.clone());
        }
        let file = Thread::current().files().get_any(dirfd)?;
        if path.is_empty() {
            return Err(ENOENT);
        }
        if !file.inode().base().is_dir() {
            return Err(ENOTDIR);
        }
        file.path().cloned().ok_or(ENOTDIR)
    }

    pub fn find(&self, dirfd: i32, path: &[u8], follow: bool) -> Result<Path> {
        let start = self.start(dirfd, path)?;
        Walker::new(&self.creds, &self.root, start).find(path, follow)
    }

    /// The path but its last component.
    pub fn op<'a>(&'a self, dirfd: i32, path: &'a [u8]) -> Result<NameOp<'a>> {
        let start = self.start(dirfd, path)?;
        NameOp::new(&self.creds, &self.root, start, path)
    }

    pub fn open(&self, dirfd: i32, path: &[u8], how: OpenHow) -> Result<Arc<File>> {
        let start = self.start(dirfd, path)?;
        open::open(&self.creds, &self.root, start, path, how)
    }
}

/// What a path with flags names: a place, or with AT_EMPTY_PATH and "" an open file, which may have no place.
pub enum Target {
    Place(Path),
    File(Arc<File>),
}

impl Target {
    /// Finds it. The last component is followed unless AT_SYMLINK_NOFOLLOW.
    pub fn find(thread: &Thread, dirfd: i32, addr: Vaddr, flags: AtFlags) -> Result<Target> {
        // A null pointer counts as "" for AT_EMPTY_PATH, since 6.11.
        let path = if addr == 0 && flags.contains(AtFlags::EMPTY_PATH) {
            UserPath::Long(Vec::new())
        } else {
            UserPath::read(addr)?
        };
        if path.bytes().is_empty() && flags.contains(AtFlags::EMPTY_PATH) {
            return match dirfd {
                AT_FDCWD => Ok(Target::Place(thread.fs().cwd())),
                _ => Ok(Target::File(thread.files().get_any(dirfd)?)),
            };
        }
        let follow = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
        Names::of(thread).find(dirfd, path.bytes(), follow).map(Target::Place)
    }

    pub fn inode(&self) -> Result<&Arc<dyn Inode>> {
        match self {
            Target::Place(path) => path.inode(),
            Target::File(file) => Ok(file.inode()),
        }
    }

    pub fn path(&self) -> Option<&Path> {
        match self {
            Target::Place(path) => Some(path),
            Target::File(file) => file.path(),
        }
    }

    /// The name that it was found by.
    pub fn dentry(&self) -> Option<&Arc<Dentry>> {
        self.path().map(|path| &path.dentry)
    }

    pub fn is_read_only(&self) -> bool {
        self.path().is_some_and(|path| path.mount.is_read_only())
    }
}
