//! Extended attributes: setxattr(2), getxattr(2), listxattr(2), removexattr(2) and their l, f and *at kinds.

use ostd::user::mem;

use super::{Args, Context, file::file};
use crate::{
    fs::{
        at::{AT_FDCWD, AtFlags, Target, UserPath},
        notify::{self, Events},
        xattr::{self, SetFlags},
    },
    prelude::*,
};

const CWD: usize = AT_FDCWD as usize;
const NO_FOLLOW: AtFlags = AtFlags::SYMLINK_NOFOLLOW;

/// What a call is about.
#[derive(Clone, Copy)]
enum Whose {
    Path(usize, Vaddr, AtFlags),
    Fd(usize),
}

impl Whose {
    /// Of the *at calls: an empty path means the descriptor, which must be open for more than its path.
    fn at(dirfd: usize, path: Vaddr, flags: usize) -> Result<Whose> {
        let flags = AtFlags::parse(flags, NO_FOLLOW | AtFlags::EMPTY_PATH)?;
        if flags.contains(AtFlags::EMPTY_PATH) && dirfd as i32 >= 0 {
            let empty = path == 0 || UserPath::read(path)?.bytes().is_empty();
            if empty {
                return Ok(Whose::Fd(dirfd));
            }
        }
        Ok(Whose::Path(dirfd, path, flags))
    }

    fn find(self, ctx: &Context) -> Result<Target> {
        match self {
            Whose::Path(dirfd, path, flags) => Target::find(ctx.thread, dirfd as i32, path, flags),
            Whose::Fd(fd) => Ok(Target::File(file(ctx, fd)?)),
        }
    }
}

/// ERANGE for an empty name, or one that is too long.
fn read_name(addr: Vaddr) -> Result<Vec<u8>> {
    let mut name = vec![0; xattr::NAME_MAX + 1];
    let len = mem::strncpy_from_user(&mut name, addr)?;
    match len {
        None | Some(0) => Err(ERANGE),
        Some(len) => {
            name.truncate(len);
            Ok(name)
        }
    }
}

fn set(ctx: &Context, whose: Whose, name: Vaddr, value: Vaddr, size: usize, flags: usize) -> Result<usize> {
    let flags = SetFlags::from_bits(flags as u32).ok_or(EINVAL)?;
    let name = read_name(name)?;
    if size > xattr::SIZE_MAX {
        return Err(E2BIG);
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(size).map_err(|_| ENOMEM)?;
    bytes.resize(size, 0);
    mem::copy_from_user(&mut bytes, value)?;
    let target = whose.find(ctx)?;
    xattr::set(target.inode()?, target.is_read_only(), &ctx.thread.creds(), &name, bytes, flags)?;
    notify::changed(target.inode()?, target.dentry(), Events::ATTRIB);
    Ok(0)
}

/// Gives `bytes` to the program, or with size 0 only their number.
fn give(bytes: &[u8], addr: Vaddr, size: usize) -> Result<usize> {
    let room = size.min(xattr::SIZE_MAX);
    if size != 0 {
        if bytes.len() > room {
            return Err(if size > xattr::SIZE_MAX { E2BIG } else { ERANGE });
        }
        mem::copy_to_user(addr, bytes)?;
    }
    Ok(bytes.len())
}

fn get(ctx: &Context, whose: Whose, name: Vaddr, value: Vaddr, size: usize) -> Result<usize> {
    let name = read_name(name)?;
    let target = whose.find(ctx)?;
    give(&xattr::get(target.inode()?, &ctx.thread.creds(), &name)?, value, size)
}

fn list(ctx: &Context, whose: Whose, addr: Vaddr, size: usize) -> Result<usize> {
    let target = whose.find(ctx)?;
    give(&xattr::list(target.inode()?, &ctx.thread.creds()), addr, size)
}

fn remove(ctx: &Context, whose: Whose, name: Vaddr) -> Result<usize> {
    let name = read_name(name)?;
    let target = whose.find(ctx)?;
    xattr::remove(target.inode()?, target.is_read_only(), &ctx.thread.creds(), &name)?;
    notify::changed(target.inode()?, target.dentry(), Events::ATTRIB);
    Ok(0)
}

fn followed(path: Vaddr) -> Whose {
    Whose::Path(CWD, path, AtFlags::empty())
}

fn itself(path: Vaddr) -> Whose {
    Whose::Path(CWD, path, NO_FOLLOW)
}

pub fn sys_setxattr(ctx: &mut Context, [path, name, value, size, flags, _]: Args) -> Result<usize> {
    set(ctx, followed(path), name, value, size, flags)
}

pub fn sys_lsetxattr(ctx: &mut Context, [path, name, value, size, flags, _]: Args) -> Result<usize> {
    set(ctx, itself(path), name, value, size, flags)
}

pub fn sys_fsetxattr(ctx: &mut Context, [fd, name, value, size, flags, _]: Args) -> Result<usize> {
    set(ctx, Whose::Fd(fd), name, value, size, flags)
}

pub fn sys_getxattr(ctx: &mut Context, [path, name, value, size, ..]: Args) -> Result<usize> {
    get(ctx, followed(path), name, value, size)
}

pub fn sys_lgetxattr(ctx: &mut Context, [path, name, value, size, ..]: Args) -> Result<usize> {
    get(ctx, itself(path), name, value, size)
}

pub fn sys_fgetxattr(ctx: &mut Context, [fd, name, value, size, ..]: Args) -> Result<usize> {
    get(ctx, Whose::Fd(fd), name, value, size)
}

pub fn sys_listxattr(ctx: &mut Context, [path, addr, size, ..]: Args) -> Result<usize> {
    list(ctx, followed(path), addr, size)
}

pub fn sys_llistxattr(ctx: &mut Context, [path, addr, size, ..]: Args) -> Result<usize> {
    list(ctx, itself(path), addr, size)
}

pub fn sys_flistxattr(ctx: &mut Context, [fd, addr, size, ..]: Args) -> Result<usize> {
    list(ctx, Whose::Fd(fd), addr, size)
}

pub fn sys_removexattr(ctx: &mut Context, [path, name, ..]: Args) -> Result<usize> {
    remove(ctx, followed(path), name)
}

pub fn sys_lremovexattr(ctx: &mut Context, [path, name, ..]: Args) -> Result<usize> {
    remove(ctx, itself(path), name)
}

pub fn sys_fremovexattr(ctx: &mut Context, [fd, name, ..]: Args) -> Result<usize> {
    remove(ctx, Whose::Fd(fd), name)
}

/// Reads a `struct xattr_args`: address and size of the value, flags.
///
/// # Errors
/// EINVAL when it is too small, E2BIG when it is larger than a page or has something behind what is known.
fn read_args(addr: Vaddr, size: usize) -> Result<(Vaddr, usize, usize)> {
    const KNOWN: usize = 16;
    if size < KNOWN {
        return Err(EINVAL);
    }
    if size > PAGE_SIZE {
        return Err(E2BIG);
    }
    let mut rest = vec![0u8; size - KNOWN];
    mem::copy_from_user(&mut rest, addr.wrapping_add(KNOWN))?;
    if rest.iter().any(|&byte| byte != 0) {
        return Err(E2BIG);
    }
    let [value, size_and_flags] = mem::read::<[u64; 2]>(addr)?;
    Ok((value as usize, size_and_flags as u32 as usize, (size_and_flags >> 32) as usize))
}

pub fn sys_setxattrat(ctx: &mut Context, [dirfd, path, at, name, args, size]: Args) -> Result<usize> {
    let (value, len, flags) = read_args(args, size)?;
    set(ctx, Whose::at(dirfd, path, at)?, name, value, len, flags)
}

pub fn sys_getxattrat(ctx: &mut Context, [dirfd, path, at, name, args, size]: Args) -> Result<usize> {
    let (value, len, flags) = read_args(args, size)?;
    if flags != 0 {
        return Err(EINVAL);
    }
    get(ctx, Whose::at(dirfd, path, at)?, name, value, len)
}

pub fn sys_listxattrat(ctx: &mut Context, [dirfd, path, at, addr, size, _]: Args) -> Result<usize> {
    list(ctx, Whose::at(dirfd, path, at)?, addr, size)
}

pub fn sys_removexattrat(ctx: &mut Context, [dirfd, path, at, name, ..]: Args) -> Result<usize> {
    remove(ctx, Whose::at(dirfd, path, at)?, name)
}
