//! Permission checks: may these credentials do this to that file?
//!
//! The rules are those of path_resolution(7) and capabilities(7): the owner's, group's or others' bits, by the
//! file-system uid and gid; CAP_DAC_OVERRIDE overrides all but execution of what nobody can execute,
//! CAP_DAC_READ_SEARCH reading and searching.

use bitflags::bitflags;

use super::{
    inode::{FileType, Inode, InodeBase, S_ISGID, S_ISVTX, S_IXGRP},
    path::Path,
};
use crate::{
    prelude::*,
    process::credentials::{Cap, Credentials},
};

bitflags! {
    /// What is to be done; the values are those of access(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Access: u32 {
        const EXEC = 1;
        const WRITE = 2;
        const READ = 4;
    }
}

/// Checks the permission bits. EACCES if they do not allow it.
pub fn check(base: &InodeBase, creds: &Credentials, wanted: Access) -> Result<()> {
    let mode = base.mode();
    // What everybody may do, everybody may do: the owner's and the group's bits matter only if they differ.
    let bits = if creds.fsuid == base.uid() {
        mode >> 6
    } else if (mode >> 3 ^ mode) & 7 & wanted.bits() != 0 && creds.in_group(base.gid()) {
        mode >> 3
    } else {
        mode
    };
    if wanted.bits() & !bits & 7 == 0 {
        return Ok(());
    }
    check_capabilities(mode, creds, wanted)
}

/// Checks the permission bits, and what the node itself has to say.
#[inline]
pub fn check_inode(inode: &dyn Inode, creds: &Credentials, wanted: Access) -> Result<()> {
    let by_mode = check(inode.base(), creds, wanted);
    if inode.base().decides_access() { inode.decide_access(by_mode) } else { by_mode }
}

#[cold]
fn check_capabilities(mode: u32, creds: &Credentials, wanted: Access) -> Result<()> {
    let is_dir = FileType::of_mode(mode) == Some(FileType::Dir);
    let search_only = if is_dir { !wanted.contains(Access::WRITE) } else { wanted == Access::READ };
    if search_only && creds.capable(Cap::DacReadSearch) {
        return Ok(());
    }
    let executable = is_dir || mode & 0o111 != 0;
    if (executable || !wanted.contains(Access::EXEC)) && creds.capable(Cap::DacOverride) {
        return Ok(());
    }
    Err(EACCES)
}

/// Checks the permission bits, and EROFS for a write on a read-only mount.
pub fn check_path(path: &Path, creds: &Credentials, wanted: Access) -> Result<()> {
    let inode = path.inode()?;
    if wanted.contains(Access::WRITE) && !is_special(inode.base()) && path.mount.is_read_only() {
        return Err(EROFS);
    }
    check_inode(&**inode, creds, wanted)
}

/// Devices, FIFOs and sockets can be written to on a read-only file system.
pub fn is_special(base: &InodeBase) -> bool {
    !matches!(base.file_type(), FileType::Regular | FileType::Dir | FileType::Symlink)
}

/// The caller owns the file, or may act as if. EPERM if not.
pub fn check_owner(base: &InodeBase, creds: &Credentials) -> Result<()> {
    if creds.fsuid == base.uid() || creds.capable(Cap::Fowner) { Ok(()) } else { Err(EPERM) }
}

/// May an entry be made in or removed from this directory?
pub fn check_change_dir(dir: &Path, creds: &Credentials) -> Result<()> {
    check_path(dir, creds, Access::WRITE | Access::EXEC)
}

/// May `victim` be removed from `dir` (or renamed away)? EPERM in a sticky directory of somebody else's.
pub fn check_delete(dir: &Path, victim: &InodeBase, creds: &Credentials) -> Result<()> {
    check_change_dir(dir, creds)?;
    let base = dir.inode()?.base();
    let sticky = base.mode() & S_ISVTX != 0 && creds.fsuid != base.uid() && creds.fsuid != victim.uid();
    if sticky && !creds.capable(Cap::Fowner) { Err(EPERM) } else { Ok(()) }
}

/// The group and mode of a new entry of `dir`: a set-gid directory hands its group down, and directories the bit too.
pub fn inherit(dir: &InodeBase, creds: &Credentials, mut mode: u32) -> (u32, u32) {
    if dir.mode() & S_ISGID == 0 {
        return (creds.fsgid, mode);
    }
    let gid = dir.gid();
    if FileType::of_mode(mode) == Some(FileType::Dir) {
        mode |= S_ISGID;
    } else if mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP
        && !creds.in_group(gid)
        && !creds.capable(Cap::Fsetid)
    {
        mode &= !S_ISGID;
    }
    (gid, mode)
}
