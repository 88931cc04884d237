//! Descriptors: opening, closing, duplicating, pipes, fcntl.

use ostd::user::mem;

use super::{Args, Context};
use crate::{
    fs::{
        File, FileTable, OpenFlags, Path,
        at::{AT_FDCWD, Names, UserPath},
        dentry::Dentry,
        file::FileOps,
        open::OpenHow,
        pipe, ramfs, regular,
    },
    prelude::*,
};

fn open(ctx: &Context, dirfd: usize, path: usize, flags: usize, mode: usize) -> Result<usize> {
    let thread = ctx.thread;
    let how = OpenHow::new(flags as u32, mode as u32, thread.fs().umask())?;
    let path = UserPath::read(path)?;
    thread.files().require_free()?;
    let file = Names::of(thread).open(dirfd as i32, path.bytes(), how)?;
    let cloexec = flags as u32 & OpenFlags::CLOEXEC.bits() != 0;
    Ok(thread.files().install(file, cloexec, 0)? as usize)
}

pub fn sys_open(ctx: &mut Context, [path, flags, mode, ..]: Args) -> Result<usize> {
    open(ctx, AT_FDCWD as usize, path, flags, mode)
}

pub fn sys_openat(ctx: &mut Context, [dirfd, path, flags, mode, ..]: Args) -> Result<usize> {
    open(ctx, dirfd, path, flags, mode)
}

pub fn sys_creat(ctx: &mut Context, [path, mode, ..]: Args) -> Result<usize> {
    let flags = OpenFlags::CREAT | OpenFlags::WRONLY | OpenFlags::TRUNC;
    open(ctx, AT_FDCWD as usize, path, flags.bits() as usize, mode)
}

pub fn sys_close(ctx: &mut Context, [fd, ..]: Args) -> Result<usize> {
    ctx.thread.files().close(fd as i32)?;
    Ok(0)
}

pub fn sys_close_range(ctx: &mut Context, [first, last, flags, ..]: Args) -> Result<usize> {
    const UNSHARE: usize = 2;
    const CLOEXEC: usize = 4;
    let (first, last) = (first as u32, last as u32);
    if flags & !(UNSHARE | CLOEXEC) != 0 || first > last {
        return Err(EINVAL);
    }
    if flags & UNSHARE != 0 {
        let own = ctx.thread.files().dup_for_fork();
        ctx.thread.set_files(Some(own));
    }
    ctx.thread.files().close_range(first, last, flags & CLOEXEC != 0)?;
    Ok(0)
}

pub fn sys_dup(ctx: &mut Context, [fd, ..]: Args) -> Result<usize> {
    let files = ctx.thread.files();
    let file = files.get_any(fd as i32)?;
    Ok(files.install(file, false, 0)? as usize)
}

fn dup_to(files: &FileTable, old: usize, new: usize, cloexec: bool) -> Result<usize> {
    let file = files.get_any(old as i32)?;
    files.replace(new as i32, file, cloexec)?;
    Ok(new as u32 as usize)
}

pub fn sys_dup2(ctx: &mut Context, [old, new, ..]: Args) -> Result<usize> {
    let files = ctx.thread.files();
    if old as i32 == new as i32 {
        files.get_any(old as i32)?;
        return Ok(new as u32 as usize);
    }
    dup_to(&files, old, new, false)
}

pub fn sys_dup3(ctx: &mut Context, [old, new, flags, ..]: Args) -> Result<usize> {
    if flags as u32 & !OpenFlags::CLOEXEC.bits() != 0 || old as i32 == new as i32 {
        return Err(EINVAL);
    }
    dup_to(&ctx.thread.files(), old, new, flags != 0)
}

fn new_pipe(ctx: &Context, fds: usize, flags: OpenFlags) -> Result<usize> {
    let allowed = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK | OpenFlags::DIRECT;
    if !allowed.contains(flags) {
        return Err(EINVAL);
    }
    let files = ctx.thread.files();
    let pair = pipe::new_pair(flags - OpenFlags::CLOEXEC)?;
    let (reader, writer) = files.install_pair(pair, flags.contains(OpenFlags::CLOEXEC))?;
    if let Err(e) = mem::write(fds, &[reader, writer]) {
        for fd in [reader, writer] {
            // Another thread may have closed it meanwhile.
            let _ = files.close(fd);
        }
        return Err(e.into());
    }
    Ok(0)
}

pub fn sys_pipe(ctx: &mut Context, [fds, ..]: Args) -> Result<usize> {
    new_pipe(ctx, fds, OpenFlags::empty())
}

pub fn sys_pipe2(ctx: &mut Context, [fds, flags, ..]: Args) -> Result<usize> {
    new_pipe(ctx, fds, OpenFlags::from_bits(flags as u32).ok_or(EINVAL)?)
}

/// memfd_create(2), without seals and huge pages.
pub fn sys_memfd_create(ctx: &mut Context, [name, flags, ..]: Args) -> Result<usize> {
    const CLOEXEC: usize = 1;
    const ALLOW_SEALING: usize = 2;
    const NOEXEC_SEAL: usize = 8;
    const EXEC: usize = 0x10;
    if flags & !(CLOEXEC | ALLOW_SEALING | NOEXEC_SEAL | EXEC) != 0 {
        return Err(EINVAL);
    }
    let name = UserPath::read(name)?;
    if name.bytes().len() > 249 {
        return Err(EINVAL);
    }
    let creds = ctx.thread.creds();
    let inode = ramfs::new_unnamed_file(creds.fsuid, creds.fsgid);
    let shown = [b"/memfd:", name.bytes(), b" (deleted)"].concat();
    let dentry = Dentry::new_unnamed(&shown, inode.clone());
    let path = Path { mount: crate::fs::root().mount, dentry };
    let ops: Box<dyn FileOps> = Box::new(regular::RegularFile);
    let file = File::new(ops, inode, Some(path), OpenFlags::RDWR | OpenFlags::LARGEFILE)?;
    Ok(ctx.thread.files().install(file, flags & CLOEXEC != 0, 0)? as usize)
}
