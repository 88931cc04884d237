//! What a file is: stat, statx, statfs.

use ostd::{pod_struct, user::mem};

use super::{Args, Context};
use crate::{
    fs::{
        at::{AT_FDCWD, AtFlags, Names, Target, UserPath},
        inode::{FsStat, Inode, NAME_MAX},
        mount::Mount,
    },
    prelude::*,
};

const CWD: usize = AT_FDCWD as usize;

pod_struct! {
    /// `struct stat` of x86_64.
    struct Stat {
        dev: u64,
        ino: u64,
        nlink: u64,
        mode: u32,
        uid: u32,
        gid: u32,
        pad: u32,
        rdev: u64,
        size: i64,
        block_size: i64,
        blocks: i64,
        atime: [i64; 2],
        mtime: [i64; 2],
        ctime: [i64; 2],
        unused: [i64; 3],
    }

    /// `struct statx_timestamp`.
    struct StatxTime {
        sec: i64,
        nsec: u32,
        pad: u32,
    }

    /// `struct statx`.
    struct Statx {
        mask: u32,
        block_size: u32,
        attributes: u64,
        nlink: u32,
        uid: u32,
        gid: u32,
        mode: u16,
        pad: u16,
        ino: u64,
        size: u64,
        blocks: u64,
        attributes_mask: u64,
        atime: StatxTime,
        btime: StatxTime,
        ctime: StatxTime,
        mtime: StatxTime,
        rdev: [u32; 2],
        dev: [u32; 2],
        mount_id: u64,
        dio: [u32; 2],
        spare: [u64; 12],
    }

    /// `struct statfs`.
    struct Statfs {
        magic: u64,
        block_size: u64,
        blocks: u64,
        blocks_free: u64,
        blocks_available: u64,
        files: u64,
        files_free: u64,
        id: [i32; 2],
        name_len: u64,
        fragment_size: u64,
        flags: u64,
        spare: [u64; 4],
    }
}

/// Seconds and nanoseconds; the latter are never negative.
fn split(ns: i64) -> [i64; 2] {
    const NS: i64 = 1_000_000_000;
    [ns.div_euclid(NS), ns.rem_euclid(NS)]
}

fn write_stat(addr: usize, inode: &Arc<dyn Inode>) -> Result<usize> {
    let base = inode.base();
    let stat = Stat {
        dev: base.dev.encode(),
        ino: base.ino,
        nlink: base.nlink().into(),
        mode: base.mode(),
        uid: base.uid(),
        gid: base.gid(),
        pad: 0,
        rdev: base.rdev.encode(),
        size: base.size() as i64,
        block_size: inode.block_size().into(),
        blocks: inode.blocks() as i64,
        atime: split(base.atime()),
        mtime: split(base.mtime()),
        ctime: split(base.ctime()),
        unused: [0; 3],
    };
    mem::write(addr, &stat)?;
    Ok(0)
}

pub fn sys_newfstatat(ctx: &mut Context, [dirfd, path, buf, flags, ..]: Args) -> Result<usize> {
    let allowed = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    let flags = AtFlags::parse(flags, allowed)?;
    let target = Target::find(ctx.thread, dirfd as i32, path, flags)?;
    write_stat(buf, target.inode()?)
}

pub fn sys_stat(ctx: &mut Context, [path, buf, ..]: Args) -> Result<usize> {
    sys_newfstatat(ctx, [CWD, path, buf, 0, 0, 0])
}

pub fn sys_lstat(ctx: &mut Context, [path, buf, ..]: Args) -> Result<usize> {
    sys_newfstatat(ctx, [CWD, path, buf, AtFlags::SYMLINK_NOFOLLOW.bits() as usize, 0, 0])
}

pub fn sys_fstat(ctx: &mut Context, [fd, buf, ..]: Args) -> Result<usize> {
    let file = ctx.thread.files().get_any(fd as i32)?;
    write_stat(buf, file.inode())
}

pub fn sys_statx(ctx: &mut Context, [dirfd, path, flags, mask, buf, _]: Args) -> Result<usize> {
    /// STATX_BASIC_STATS and STATX_MNT_ID.
    const GIVEN: u32 = 0x7ff | 0x1000;
    const RESERVED: usize = 0x8000_0000;
    /// STATX_ATTR_MOUNT_ROOT.
    const MOUNT_ROOT: u64 = 0x2000;
    let sync = AtFlags::STATX_FORCE_SYNC | AtFlags::STATX_DONT_SYNC;
    let allowed = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH | sync;
    let flags = AtFlags::parse(flags, allowed)?;
    if mask & RESERVED != 0 || flags.contains(sync) {
        return Err(EINVAL);
    }
    let target = Target::find(ctx.thread, dirfd as i32, path, flags)?;
    let inode = target.inode()?;
    let base = inode.base();
    let time = |ns| {
        let [sec, nsec] = split(ns);
        StatxTime { sec, nsec: nsec as u32, pad: 0 }
    };
    let at_mount_root = target.path().is_some_and(|path| Arc::ptr_eq(&path.dentry, &path.mount.root));
    let statx = Statx {
        mask: GIVEN,
        block_size: inode.block_size(),
        attributes: if at_mount_root { MOUNT_ROOT } else { 0 },
        nlink: base.nlink(),
        uid: base.uid(),
        gid: base.gid(),
        mode: base.mode() as u16,
        pad: 0,
        ino: base.ino,
        size: base.size(),
        blocks: inode.blocks(),
        attributes_mask: MOUNT_ROOT,
        atime: time(base.atime()),
        btime: time(0),
        ctime: time(base.ctime()),
        mtime: time(base.mtime()),
        rdev: [base.rdev.major(), base.rdev.minor()],
        dev: [base.dev.major(), base.dev.minor()],
        mount_id: target.path().map_or(0, |path| path.mount.id.into()),
        dio: [0; 2],
        spare: [0; 12],
    };
    mem::write(buf, &statx)?;
    Ok(0)
}

fn write_statfs(addr: usize, stat: FsStat, mount: Option<&Mount>, dev: u64) -> Result<usize> {
    /// ST_VALID: the flags mean something.
    const VALID: u64 = 0x20;
    // ST_RDONLY to ST_NOEXEC have the values of the mount flags; the others differ.
    const NOATIME: u64 = 1 << 10;
    const RELATIME: u64 = 1 << 12;
    let flags = mount.map_or(0, |mount| {
        let bits = mount.flags().bits();
        let mut flags = u64::from(bits & 0xf);
        flags |= if bits & 1 << 10 != 0 { NOATIME } else { 0 };
        flags | if bits & 1 << 21 != 0 { RELATIME } else { 0 }
    });
    let statfs = Statfs {
        magic: stat.magic,
        block_size: stat.block_size,
        blocks: stat.blocks,
        blocks_free: stat.blocks_free,
        blocks_available: stat.blocks_free,
        files: stat.files,
        files_free: stat.files_free,
        id: [dev as i32, (dev >> 32) as i32],
        name_len: NAME_MAX as u64,
        fragment_size: stat.block_size,
        flags: flags | VALID,
        spare: [0; 4],
    };
    mem::write(addr, &statfs)?;
    Ok(0)
}

pub fn sys_statfs(ctx: &mut Context, [path, buf, ..]: Args) -> Result<usize> {
    let path = UserPath::read(path)?;
    let place = Names::of(ctx.thread).find(AT_FDCWD, path.bytes(), true)?;
    write_statfs(buf, place.mount.statfs()?, Some(&place.mount), place.mount.sb.dev.encode())
}

pub fn sys_fstatfs(ctx: &mut Context, [fd, buf, ..]: Args) -> Result<usize> {
    const PIPEFS_MAGIC: u64 = 0x5049_5045;
    let file = ctx.thread.files().get_any(fd as i32)?;
    // A pidfd that was opened by its link in /proc has a place, but is on no mount.
    match file.path().filter(|path| path.dentry.parent().is_some() || !path.dentry.is_unhashed()) {
        Some(path) => write_statfs(buf, path.mount.statfs()?, Some(&path.mount), path.mount.sb.dev.encode()),
        None => {
            let pipefs = FsStat { magic: PIPEFS_MAGIC, block_size: PAGE_SIZE as u64, ..FsStat::default() };
            let stat = file.inode().statfs().unwrap_or(pipefs);
            write_statfs(buf, stat, None, file.inode().base().dev.encode())
        }
    }
}
