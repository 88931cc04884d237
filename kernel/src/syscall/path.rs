//! Syscalls on names: directories, links, renames, attributes, the working directory.

use ostd::user::mem;

use super::{Args, Context, file::file};
use crate::{
    fs::{
        Path,
        access::{self, Access},
        at::{AT_FDCWD, AtFlags, Names, Target, UserPath},
        inode::{DevId, DirEntry, FileType, S_IFMT},
        mount::MountFlags,
        name_ops::{self, NewTime},
        path::PATH_MAX,
    },
    prelude::*,
    process::{Cap, Credentials, credentials::CapSet},
};

const CWD: usize = AT_FDCWD as usize;

// ---- making ---------------------------------------------------------------------------------------------------------

pub fn sys_mkdirat(ctx: &mut Context, [dirfd, path, mode, ..]: Args) -> Result<usize> {
    let path = UserPath::read(path)?;
    let mode = mode as u32 & !ctx.thread.fs().umask();
    Names::of(ctx.thread).op(dirfd as i32, path.bytes())?.mkdir(mode)?;
    Ok(0)
}

pub fn sys_mkdir(ctx: &mut Context, [path, mode, ..]: Args) -> Result<usize> {
    sys_mkdirat(ctx, [CWD, path, mode, 0, 0, 0])
}

pub fn sys_mknodat(ctx: &mut Context, [dirfd, path, mode, dev, ..]: Args) -> Result<usize> {
    // What cannot be made is found before the name is looked at.
    const KINDS: [FileType; 5] =
        [FileType::Regular, FileType::Char, FileType::Block, FileType::Fifo, FileType::Socket];
    match mode as u32 & S_IFMT {
        0 => {}
        bits if bits == FileType::Dir.mode_bits() => return Err(EPERM),
        bits if KINDS.iter().any(|kind| kind.mode_bits() == bits) => {}
        _ => return Err(EINVAL),
    }
    let path = UserPath::read(path)?;
    let umask = ctx.thread.fs().umask();
    // The type may be left out for a regular file.
    let file_type = match mode as u32 & S_IFMT {
        0 => FileType::Regular.mode_bits(),
        bits => bits,
    };
    let mode = file_type | mode as u32 & 0o7777 & !umask;
    Names::of(ctx.thread).op(dirfd as i32, path.bytes())?.mknod(mode, DevId::decode(dev as u32 as u64))?;
    Ok(0)
}

pub fn sys_mknod(ctx: &mut Context, [path, mode, dev, ..]: Args) -> Result<usize> {
    sys_mknodat(ctx, [CWD, path, mode, dev, 0, 0])
}

pub fn sys_symlinkat(ctx: &mut Context, [target, dirfd, path, ..]: Args) -> Result<usize> {
    let (target, path) = (UserPath::read(target)?, UserPath::read(path)?);
    if target.bytes().is_empty() {
        return Err(ENOENT);
    }
    Names::of(ctx.thread).op(dirfd as i32, path.bytes())?.symlink(target.bytes())?;
    Ok(0)
}

pub fn sys_symlink(ctx: &mut Context, [target, path, ..]: Args) -> Result<usize> {
    sys_symlinkat(ctx, [target, CWD, path, 0, 0, 0])
}

pub fn sys_linkat(ctx: &mut Context, [old_dirfd, old, new_dirfd, new, flags, _]: Args) -> Result<usize> {
    let flags = AtFlags::parse(flags, AtFlags::SYMLINK_FOLLOW | AtFlags::EMPTY_PATH)?;
    // Here following is what has to be asked for.
    let follow = flags.contains(AtFlags::SYMLINK_FOLLOW);
    let how = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    let how = how | flags & AtFlags::EMPTY_PATH;
    if flags.contains(AtFlags::EMPTY_PATH) && !ctx.thread.creds().capable(Cap::DacReadSearch) {
        return Err(ENOENT);
    }
    let target = Target::find(ctx.thread, old_dirfd as i32, old, how)?;
    let path = UserPath::read(new)?;
    let names = Names::of(ctx.thread);
    let op = names.op(new_dirfd as i32, path.bytes())?;
    op.link(target.path().ok_or(EXDEV)?)?;
    Ok(0)
}

pub fn sys_link(ctx: &mut Context, [old, new, ..]: Args) -> Result<usize> {
    sys_linkat(ctx, [CWD, old, CWD, new, 0, 0])
}

// ---- removing and renaming ------------------------------------------------------------------------------------------

pub fn sys_unlinkat(ctx: &mut Context, [dirfd, path, flags, ..]: Args) -> Result<usize> {
    let flags = AtFlags::parse(flags, AtFlags::REMOVEDIR)?;
    let path = UserPath::read(path)?;
    let names = Names::of(ctx.thread);
    let op = names.op(dirfd as i32, path.bytes())?;
    if flags.contains(AtFlags::REMOVEDIR) {
        op.rmdir()?;
    } else {
        op.unlink()?;
    }
    Ok(0)
}

pub fn sys_unlink(ctx: &mut Context, [path, ..]: Args) -> Result<usize> {
    sys_unlinkat(ctx, [CWD, path, 0, 0, 0, 0])
}

pub fn sys_rmdir(ctx: &mut Context, [path, ..]: Args) -> Result<usize> {
    sys_unlinkat(ctx, [CWD, path, AtFlags::REMOVEDIR.bits() as usize, 0, 0, 0])
}

pub fn sys_renameat2(ctx: &mut Context, [old_dirfd, old, new_dirfd, new, flags, _]: Args) -> Result<usize> {
    const NOREPLACE: usize = 1;
    const EXCHANGE: usize = 2;
    if flags & !(NOREPLACE | EXCHANGE) != 0 || flags == NOREPLACE | EXCHANGE {
        return Err(EINVAL);
    }
    let (old, new) = (UserPath::read(old)?, UserPath::read(new)?);
    let names = Names::of(ctx.thread);
    let from = names.op(old_dirfd as i32, old.bytes())?;
    let to = names.op(new_dirfd as i32, new.bytes())?;
    from.rename(&to, flags == NOREPLACE, flags == EXCHANGE)?;
    Ok(0)
}

pub fn sys_renameat(ctx: &mut Context, [old_dirfd, old, new_dirfd, new, ..]: Args) -> Result<usize> {
    sys_renameat2(ctx, [old_dirfd, old, new_dirfd, new, 0, 0])
}

pub fn sys_rename(ctx: &mut Context, [old, new, ..]: Args) -> Result<usize> {
    sys_renameat2(ctx, [CWD, old, CWD, new, 0, 0])
}

// ---- reading --------------------------------------------------------------------------------------------------------

pub fn sys_readlinkat(ctx: &mut Context, [dirfd, path, buf, size, ..]: Args) -> Result<usize> {
    if size as i32 <= 0 {
        return Err(EINVAL);
    }
    let is_empty = mem::read::<u8>(path)? == 0;
    // "" names the link that the descriptor was opened for.
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let target = Target::find(ctx.thread, dirfd as i32, path, flags)?;
    let inode = target.inode()?;
    if !inode.base().is_symlink() {
        return Err(if is_empty { ENOENT } else { EINVAL });
    }
    inode.base().touch_atime();
    let text = inode.link_text()?;
    let len = text.len().min(size);
    mem::copy_to_user(buf, &text[..len])?;
    Ok(len)
}

pub fn sys_readlink(ctx: &mut Context, [path, buf, size, ..]: Args) -> Result<usize> {
    sys_readlinkat(ctx, [CWD, path, buf, size, 0, 0])
}

/// How an entry is laid out in the program's buffer.
#[derive(Clone, Copy)]
enum DirentKind {
    /// `struct linux_dirent`: the type is its last byte.
    Old,
    /// `struct linux_dirent64`.
    New,
}

fn getdents(ctx: &Context, fd: usize, buf: usize, size: usize, kind: DirentKind) -> Result<usize> {
    let file = file(ctx, fd)?;
    if !file.inode().base().is_dir() {
        return Err(ENOTDIR);
    }
    let size = size as u32 as usize;
    let mut done = 0;
    let mut failure = None;
    file.read_dir(&mut |entry| {
        let mut raw = [0u8; 288];
        let len = encode_dirent(&mut raw, entry, kind);
        if done + len > size {
            failure.get_or_insert(EINVAL);
            return false;
        }
        if mem::copy_to_user(buf.wrapping_add(done), &raw[..len]).is_err() {
            failure = Some(EFAULT);
            return false;
        }
        done += len;
        true
    })?;
    match failure {
        Some(e) if done == 0 => Err(e),
        _ => Ok(done),
    }
}

/// Returns the length of the record.
fn encode_dirent(raw: &mut [u8; 288], entry: &DirEntry, kind: DirentKind) -> usize {
    let name_at = match kind {
        DirentKind::Old => 18,
        DirentKind::New => 19,
    };
    let tail = match kind {
        DirentKind::Old => 2,
        DirentKind::New => 1,
    };
    let len = (name_at + entry.name.len() + tail).next_multiple_of(8);
    raw[0..8].copy_from_slice(&entry.ino.to_le_bytes());
    raw[8..16].copy_from_slice(&entry.next.to_le_bytes());
    raw[16..18].copy_from_slice(&(len as u16).to_le_bytes());
    raw[name_at..name_at + entry.name.len()].copy_from_slice(entry.name);
    match kind {
        DirentKind::Old => raw[len - 1] = entry.file_type as u8,
        DirentKind::New => raw[18] = entry.file_type as u8,
    }
    len
}

pub fn sys_getdents(ctx: &mut Context, [fd, buf, size, ..]: Args) -> Result<usize> {
    getdents(ctx, fd, buf, size, DirentKind::Old)
}

pub fn sys_getdents64(ctx: &mut Context, [fd, buf, size, ..]: Args) -> Result<usize> {
    getdents(ctx, fd, buf, size, DirentKind::New)
}

// ---- attributes -----------------------------------------------------------------------------------------------------

pub fn sys_fchmodat2(ctx: &mut Context, [dirfd, path, mode, flags, ..]: Args) -> Result<usize> {
    let flags = AtFlags::parse(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    let target = Target::find(ctx.thread, dirfd as i32, path, flags)?;
    name_ops::chmod(&target, &ctx.thread.creds(), mode as u32)?;
    Ok(0)
}

pub fn sys_fchmodat(ctx: &mut Context, [dirfd, path, mode, ..]: Args) -> Result<usize> {
    sys_fchmodat2(ctx, [dirfd, path, mode, 0, 0, 0])
}

pub fn sys_chmod(ctx: &mut Context, [path, mode, ..]: Args) -> Result<usize> {
    sys_fchmodat2(ctx, [CWD, path, mode, 0, 0, 0])
}

pub fn sys_fchmod(ctx: &mut Context, [fd, mode, ..]: Args) -> Result<usize> {
    let target = Target::File(file(ctx, fd)?);
    name_ops::chmod(&target, &ctx.thread.creds(), mode as u32)?;
    Ok(0)
}

/// -1 leaves an id as it is.
fn id(raw: usize) -> Option<u32> {
    (raw as u32 != u32::MAX).then_some(raw as u32)
}

fn chown(ctx: &Context, target: &Target, uid: usize, gid: usize) -> Result<usize> {
    name_ops::chown(target, &ctx.thread.creds(), id(uid), id(gid))?;
    Ok(0)
}

pub fn sys_fchownat(ctx: &mut Context, [dirfd, path, uid, gid, flags, _]: Args) -> Result<usize> {
    let flags = AtFlags::parse(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    let target = Target::find(ctx.thread, dirfd as i32, path, flags)?;
    chown(ctx, &target, uid, gid)
}

pub fn sys_chown(ctx: &mut Context, [path, uid, gid, ..]: Args) -> Result<usize> {
    sys_fchownat(ctx, [CWD, path, uid, gid, 0, 0])
}

pub fn sys_lchown(ctx: &mut Context, [path, uid, gid, ..]: Args) -> Result<usize> {
    sys_fchownat(ctx, [CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW.bits() as usize, 0])
}

pub fn sys_fchown(ctx: &mut Context, [fd, uid, gid, ..]: Args) -> Result<usize> {
    chown(ctx, &Target::File(file(ctx, fd)?), uid, gid)
}

const NS: i64 = 1_000_000_000;

/// A time in ns; what is too far away becomes the farthest.
fn time_ns(sec: i64, nsec: i64) -> NewTime {
    NewTime::At(sec.saturating_mul(NS).saturating_add(nsec))
}

fn set_times(ctx: &Context, target: &Target, times: [NewTime; 2]) -> Result<usize> {
    // A file without a path (a pipe) has times too, which nobody sees.
    match target.path() {
        Some(path) => name_ops::set_times(path, &ctx.thread.creds(), times[0], times[1])?,
        None => target.inode()?.may_change_attributes()?,
    }
    Ok(0)
}

pub fn sys_utimensat(ctx: &mut Context, [dirfd, path, times, flags, ..]: Args) -> Result<usize> {
    const UTIME_NOW: i64 = (1 << 30) - 1;
    const UTIME_OMIT: i64 = (1 << 30) - 2;
    let mut new = [NewTime::Now; 2];
    if times != 0 {
        let raw = mem::read::<[[i64; 2]; 2]>(times)?;
        for (new, [sec, nsec]) in new.iter_mut().zip(raw) {
            *new = match nsec {
                UTIME_NOW => NewTime::Now,
                UTIME_OMIT => NewTime::Omit,
                0..NS => time_ns(sec, nsec),
                _ => return Err(EINVAL),
            };
        }
    }
    let flags = AtFlags::parse(flags, AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH)?;
    if new == [NewTime::Omit; 2] {
        return Ok(0);
    }
    // No path at all: the descriptor's file, as futimens does.
    let target = if path == 0 && dirfd as i32 != AT_FDCWD {
        Target::File(file(ctx, dirfd)?)
    } else {
        Target::find(ctx.thread, dirfd as i32, path, flags)?
    };
    set_times(ctx, &target, new)
}

/// Times in microseconds.
fn read_timevals(addr: usize) -> Result<[NewTime; 2]> {
    if addr == 0 {
        return Ok([NewTime::Now; 2]);
    }
    let raw = mem::read::<[[i64; 2]; 2]>(addr)?;
    if raw.iter().any(|[_, usec]| !(0..1_000_000).contains(usec)) {
        return Err(EINVAL);
    }
    Ok(raw.map(|[sec, usec]| time_ns(sec, usec * 1000)))
}

pub fn sys_futimesat(ctx: &mut Context, [dirfd, path, times, ..]: Args) -> Result<usize> {
    let times = read_timevals(times)?;
    let target = Target::find(ctx.thread, dirfd as i32, path, AtFlags::empty())?;
    set_times(ctx, &target, times)
}

pub fn sys_utimes(ctx: &mut Context, [path, times, ..]: Args) -> Result<usize> {
    sys_futimesat(ctx, [CWD, path, times, 0, 0, 0])
}

pub fn sys_utime(ctx: &mut Context, [path, times, ..]: Args) -> Result<usize> {
    let times = match times {
        0 => [NewTime::Now; 2],
        addr => mem::read::<[i64; 2]>(addr)?.map(|sec| time_ns(sec, 0)),
    };
    let target = Target::find(ctx.thread, AT_FDCWD, path, AtFlags::empty())?;
    set_times(ctx, &target, times)
}

pub fn sys_truncate(ctx: &mut Context, [path, size, ..]: Args) -> Result<usize> {
    if (size as i64) < 0 {
        return Err(EINVAL);
    }
    let path = UserPath::read(path)?;
    let names = Names::of(ctx.thread);
    let place = names.find(AT_FDCWD, path.bytes(), true)?;
    name_ops::truncate(&place, size as u64, &names.creds)?;
    Ok(0)
}

/// access(2) asks for the real ids: credentials with these in place of the file-system ones.
fn real_creds(creds: &Credentials) -> Credentials {
    let mut real = creds.clone();
    real.fsuid = creds.uid;
    real.fsgid = creds.gid;
    real.effective = if creds.uid == 0 { creds.permitted } else { CapSet::EMPTY };
    real
}

pub fn sys_faccessat2(ctx: &mut Context, [dirfd, path, mode, flags, ..]: Args) -> Result<usize> {
    let wanted = Access::from_bits(mode as u32).ok_or(EINVAL)?;
    let allowed = AtFlags::EACCESS | AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let flags = AtFlags::parse(flags, allowed)?;
    let creds = ctx.thread.creds();
    let creds = if flags.contains(AtFlags::EACCESS) { creds } else { Arc::new(real_creds(&creds)) };
    let target = find_as(ctx, &creds, dirfd as i32, path, flags)?;
    if wanted.is_empty() {
        target.inode()?;
        return Ok(0);
    }
    let Some(place) = target.path() else {
        access::check_inode(&**target.inode()?, &creds, wanted)?;
        return Ok(0);
    };
    let base = place.inode()?.base();
    let no_exec = place.mount.flags().contains(MountFlags::NOEXEC);
    if wanted.contains(Access::EXEC) && base.is_regular() && no_exec {
        return Err(EACCES);
    }
    access::check_inode(&**place.inode()?, &creds, wanted)?;
    if wanted.contains(Access::WRITE) && place.mount.is_read_only() && !access::is_special(base) {
        return Err(EROFS);
    }
    Ok(0)
}

/// Finds a path with other rights than the caller's.
fn find_as(
    ctx: &Context,
    creds: &Arc<Credentials>,
    dirfd: i32,
    addr: usize,
    flags: AtFlags,
) -> Result<Target> {
    let path = UserPath::read(addr)?;
    if path.bytes().is_empty() && flags.contains(AtFlags::EMPTY_PATH) {
        return Target::find(ctx.thread, dirfd, addr, flags);
    }
    let names = Names { creds: creds.clone(), ..Names::of(ctx.thread) };
    names.find(dirfd, path.bytes(), !flags.contains(AtFlags::SYMLINK_NOFOLLOW)).map(Target::Place)
}

pub fn sys_faccessat(ctx: &mut Context, [dirfd, path, mode, ..]: Args) -> Result<usize> {
    sys_faccessat2(ctx, [dirfd, path, mode, 0, 0, 0])
}

pub fn sys_access(ctx: &mut Context, [path, mode, ..]: Args) -> Result<usize> {
    sys_faccessat2(ctx, [CWD, path, mode, 0, 0, 0])
}

// ---- where paths start ----------------------------------------------------------------------------------------------

pub fn sys_getcwd(ctx: &mut Context, [buf, size, ..]: Args) -> Result<usize> {
    let (root, cwd) = ctx.thread.fs().root_and_cwd();
    if cwd.dentry.is_unhashed() {
        return Err(ENOENT);
    }
    let (mut text, reachable) = cwd.text(&root);
    if !reachable {
        text = [b"(unreachable)", &text[..]].concat();
    }
    text.push(0);
    if text.len() > PATH_MAX {
        return Err(ENAMETOOLONG);
    }
    if text.len() > size {
        return Err(ERANGE);
    }
    mem::copy_to_user(buf, &text)?;
    Ok(text.len())
}

/// A directory that the caller may go to.
fn directory(place: Path, creds: &Credentials) -> Result<Path> {
    let inode = place.inode()?;
    if !inode.base().is_dir() {
        return Err(ENOTDIR);
    }
    access::check_inode(&**inode, creds, Access::EXEC)?;
    Ok(place)
}

pub fn sys_chdir(ctx: &mut Context, [path, ..]: Args) -> Result<usize> {
    let path = UserPath::read(path)?;
    let names = Names::of(ctx.thread);
    let place = directory(names.find(AT_FDCWD, path.bytes(), true)?, &names.creds)?;
    ctx.thread.fs().set_cwd(place);
    Ok(0)
}

pub fn sys_fchdir(ctx: &mut Context, [fd, ..]: Args) -> Result<usize> {
    let file = ctx.thread.files().get_any(fd as i32)?;
    let place = file.path().cloned().ok_or(ENOTDIR)?;
    ctx.thread.fs().set_cwd(directory(place, &ctx.thread.creds())?);
    Ok(0)
}

pub fn sys_chroot(ctx: &mut Context, [path, ..]: Args) -> Result<usize> {
    let path = UserPath::read(path)?;
    let names = Names::of(ctx.thread);
    let place = directory(names.find(AT_FDCWD, path.bytes(), true)?, &names.creds)?;
    names.creds.require(Cap::SysChroot)?;
    ctx.thread.fs().set_root(place);
    Ok(0)
}

pub fn sys_umask(ctx: &mut Context, [mask, ..]: Args) -> Result<usize> {
    Ok(ctx.thread.fs().set_umask(mask as u32) as usize)
}
