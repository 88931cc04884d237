//! mount(2) and umount2(2).

use ostd::user::mem;

use super::{Args, Context};
use crate::{
    fs::{
        self, Path,
        at::{AT_FDCWD, Names, UserPath},
        mount::MountFlags,
    },
    prelude::*,
    process::Cap,
};

const MS_REMOUNT: usize = 32;
const MS_BIND: usize = 4096;
const MS_MOVE: usize = 8192;
const MS_REC: usize = 16384;
const MS_SILENT: usize = 1 << 15;
const MS_UNBINDABLE: usize = 1 << 17;
const MS_PRIVATE: usize = 1 << 18;
const MS_SLAVE: usize = 1 << 19;
const MS_SHARED: usize = 1 << 20;
const MS_STRICTATIME: usize = 1 << 24;
/// An old mark that says that there are flags at all.
const MS_MGC_VAL: usize = 0xc0ed_0000;
const MS_MGC_MSK: usize = 0xffff_0000;

/// A string argument that may be missing.
fn optional(addr: usize) -> Result<Option<UserPath>> {
    if addr == 0 { Ok(None) } else { UserPath::read(addr).map(Some) }
}

/// The options: up to a page, which need not be terminated or wholly readable.
fn options(addr: usize) -> Result<Vec<u8>> {
    if addr == 0 {
        return Ok(Vec::new());
    }
    let mut text = vec![0; PAGE_SIZE];
    let len = mem::copy_from_user_partial(&mut text, addr);
    if len == 0 {
        return Err(EFAULT);
    }
    let end = text[..len].iter().position(|&b| b == 0).unwrap_or(len);
    text.truncate(end);
    Ok(text)
}

fn mount_flags(flags: usize) -> MountFlags {
    let mut parsed = MountFlags::from_bits_truncate(flags as u32);
    if !parsed.contains(MountFlags::NOATIME) && flags & MS_STRICTATIME == 0 {
        parsed |= MountFlags::RELATIME;
    }
    parsed
}

pub fn sys_mount(ctx: &mut Context, [source, target, fs_type, flags, data, _]: Args) -> Result<usize> {
    let flags = if flags & MS_MGC_MSK == MS_MGC_VAL { flags & !MS_MGC_MSK } else { flags };
    let fs_type = optional(fs_type)?;
    let source = optional(source)?;
    let options = options(data)?;
    let target = UserPath::read(target)?;
    let names = Names::of(ctx.thread);
    let at = names.find(AT_FDCWD, target.bytes(), true)?;
    names.creds.require(Cap::SysAdmin)?;
    let source = source.as_ref().map(UserPath::bytes);
    let namespace = fs::mount_ns();
    if flags & MS_REMOUNT != 0 {
        return remount(&at, mount_flags(flags));
    }
    if flags & MS_BIND != 0 {
        let from = names.find(AT_FDCWD, source.ok_or(EINVAL)?, true)?;
        return namespace.bind(&from, &at).map(|()| 0);
    }
    if flags & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE) != 0 {
        return set_propagation(&at, flags);
    }
    if flags & MS_MOVE != 0 {
        let from = names.find(AT_FDCWD, source.ok_or(EINVAL)?, true)?;
        return namespace.move_mount(&from, &at).map(|()| 0);
    }
    let sb = fs::new_file_system(fs_type.as_ref().ok_or(EINVAL)?.bytes(), &options)?;
    namespace.mount(&at, sb, source.unwrap_or(b"none"), mount_flags(flags & !MS_SILENT))?;
    Ok(0)
}

/// Only a mount's root can be remounted.
fn check_root(at: &Path) -> Result<()> {
    if Arc::ptr_eq(&at.dentry, &at.mount.root) { Ok(()) } else { Err(EINVAL) }
}

fn remount(at: &Path, flags: MountFlags) -> Result<usize> {
    check_root(at)?;
    at.mount.set_flags(flags);
    Ok(0)
}

/// Mounts are private: there is one namespace, so that is also all that can be asked for.
fn set_propagation(at: &Path, flags: usize) -> Result<usize> {
    let kinds = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
    if flags & !(kinds | MS_REC | MS_SILENT) != 0 || !(flags & kinds).is_power_of_two() {
        return Err(EINVAL);
    }
    check_root(at)?;
    // A mount without peers has no use for the other kinds; a slave of nobody is private.
    if flags & (MS_SHARED | MS_UNBINDABLE) != 0 { Err(EINVAL) } else { Ok(0) }
}

pub fn sys_umount2(ctx: &mut Context, [target, flags, ..]: Args) -> Result<usize> {
    const FORCE: usize = 1;
    const DETACH: usize = 2;
    const EXPIRE: usize = 4;
    const NOFOLLOW: usize = 8;
    if flags & !(FORCE | DETACH | EXPIRE | NOFOLLOW) != 0 {
        return Err(EINVAL);
    }
    let target = UserPath::read(target)?;
    let names = Names::of(ctx.thread);
    let at = names.find(AT_FDCWD, target.bytes(), flags & NOFOLLOW == 0)?;
    names.creds.require(Cap::SysAdmin)?;
    // An expiring mount would have to be marked first, which none ever is.
    if flags & EXPIRE != 0 {
        return Err(if flags & (FORCE | DETACH) != 0 { EINVAL } else { EAGAIN });
    }
    fs::mount_ns().unmount(&at, flags & DETACH != 0)?;
    Ok(0)
}
