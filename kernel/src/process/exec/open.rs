//! Finding the file to run (rules 10.1, 10.2, 10.5, 10.8), and the ids that it runs with (10.16).

use alloc::format;
use core::sync::atomic::Ordering::Relaxed;

use crate::{
    fs::{
        access,
        inode::{S_ISGID, S_ISUID, S_IXGRP},
        mount::MountFlags,
        notify::{self, Events},
        open::ExecFile,
        path::{Path, Walker},
        xattr,
    },
    prelude::*,
    process::{
        Thread,
        credentials::{ExecCreds, Privileges},
        signal,
    },
};

/// What execve and execveat name.
pub struct Target {
    pub dirfd: i32,
    /// Without NUL; empty with [`Target::empty_path`].
    pub path: Vec<u8>,
    /// AT_EMPTY_PATH: an empty path means the file of `dirfd` itself.
    pub empty_path: bool,
    /// AT_SYMLINK_NOFOLLOW.
    pub no_follow: bool,
}

/// Flags of execveat(2).
pub mod flags {
    pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
    pub const AT_EMPTY_PATH: u32 = 0x1000;
    /// Only check whether the file could be executed.
    pub const AT_EXECVE_CHECK: u32 = 0x1_0000;
}

/// "The working directory" in place of a descriptor.
pub const AT_FDCWD: i32 = -100;

/// A file that may be executed.
pub struct Opened {
    pub exe: Arc<ExecFile>,
    /// The path as the program will know it (AT_EXECFN; what a script's interpreter gets).
    pub path: Vec<u8>,
    /// Last part of the path, for comm.
    pub name: Vec<u8>,
    /// The path leads through a descriptor that exec will close: an interpreter could not follow it (rule 10.5).
    pub hidden_by_close_on_exec: bool,
}

/// Finds and opens the file to run.
///
/// # Errors
/// As open(2), and EACCES (not regular, not executable, noexec mount), ETXTBSY (open for writing).
pub fn open(thread: &Thread, target: Target) -> Result<Opened> {
    let by_fd = target.dirfd != AT_FDCWD && target.path.first() != Some(&b'/');
    let place = find(thread, &target, by_fd)?;
    let name = match target.path.is_empty() {
        true => place.dentry.name().to_vec(),
        false => basename(&target.path).to_vec(),
    };
    let hidden_by_close_on_exec = by_fd && thread.files().is_cloexec(target.dirfd)?;
    let exe = Arc::new(ExecFile::open(&thread.creds(), place)?);
    // Its head is read next.
    notify::file_event(&exe, Events::ACCESS);
    let path = match (by_fd, target.path.is_empty()) {
        (false, _) => target.path,
        (true, true) => format!("/dev/fd/{}", target.dirfd).into_bytes(),
        (true, false) => [format!("/dev/fd/{}/", target.dirfd).as_bytes(), &target.path].concat(),
    };
    Ok(Opened { exe, path, name, hidden_by_close_on_exec })
}

fn find(thread: &Thread, target: &Target, by_fd: bool) -> Result<Path> {
    if target.path.is_empty() && !target.empty_path {
        return Err(ENOENT);
    }
    let (root, cwd) = thread.fs().root_and_cwd();
    let start = match by_fd {
        true => thread.files().get_any(target.dirfd)?.path().cloned().ok_or(EACCES)?,
        false => cwd,
    };
    if target.path.is_empty() {
        return Ok(start);
    }
    Walker::new(&thread.creds(), &root, start).find(&target.path, !target.no_follow)
}

/// Opens the interpreter of a script or a program.
///
/// # Errors
/// As [`open`]; EACCES for the empty path, which is the working directory here.
pub fn open_interpreter(thread: &Thread, path: &[u8]) -> Result<Opened> {
    if path.is_empty() {
        return Err(EACCES);
    }
    open(thread, Target { dirfd: AT_FDCWD, path: path.to_vec(), empty_path: false, no_follow: false })
}

fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

/// The credentials that a program from `file` runs with.
///
/// Set-id bits count unless the mount or no_new_privs forbids it, capabilities of the file unless the mount does (rule 10.16).
///
/// # Errors
/// EPERM and EINVAL for capabilities that can't be had or make no sense.
pub fn credentials(thread: &Thread, file: &ExecFile) -> Result<ExecCreds> {
    let old = thread.creds();
    let base = file.inode().base();
    let mode = base.mode();
    let no_new_privs = thread.no_new_privs.load(Relaxed);
    let mut privileges = Privileges::default();
    if !file.path().is_some_and(|path| path.mount.flags().contains(MountFlags::NOSUID)) {
        privileges.caps = xattr::file_caps(base)?;
        if !no_new_privs && mode & S_ISUID != 0 {
            privileges.set_uid = Some(base.uid());
        }
        // Without group execution the bit means mandatory locking, which is no more.
        if !no_new_privs && mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP {
            privileges.set_gid = Some(base.gid());
        }
    }
    old.after_exec(&privileges, no_new_privs, || shares_fs(thread))
}

/// Whether another process could change the working directory or root under a program that is about to have more rights.
fn shares_fs(thread: &Thread) -> bool {
    let fs = thread.fs();
    let mine = signal::threads(&thread.process);
    let own = mine.iter().filter(|thread| thread.try_fs().is_some_and(|its| Arc::ptr_eq(&its, &fs)));
    fs.users() > own.count()
}

/// Whether the caller can't read the file that it may execute.
pub fn is_unreadable(thread: &Thread, file: &ExecFile) -> bool {
    access::check(file.inode().base(), &thread.creds(), access::Access::READ).is_err()
}
