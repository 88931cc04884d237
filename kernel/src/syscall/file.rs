//! Reading, writing and other operations on open files.

use ostd::user::mem;

use super::{Args, Context, fcntl};
use crate::{
    fs::{
        File,
        file::{MAX_FILE_SIZE, OpenFlags},
        io::{IoVec, MAX_RW_COUNT, ReadBuf, WriteBuf, read_iovecs},
        name_ops,
        notify::{self, Events},
    },
    net::Socket,
    prelude::*,
};

/// The open file of a descriptor argument.
#[inline]
pub(super) fn file(ctx: &Context, fd: usize) -> Result<Arc<File>> {
    ctx.thread.with_files(|files| files.get(fd as i32))
}

/// A file that is open for more than its path. EBADF.
pub(super) fn open_file(ctx: &Context, fd: usize) -> Result<Arc<File>> {
    let file = file(ctx, fd)?;
    if file.is_path_only() { Err(EBADF) } else { Ok(file) }
}

/// The end of a program's buffer must not lie beyond its half of the address space.
pub(super) fn check_range(addr: usize, len: usize) -> Result<()> {
    match addr.checked_add(len) {
        Some(end) if end <= ostd::mm::USER_END => Ok(()),
        _ => Err(EFAULT),
    }
}

// The two that are called most: inlined, they load no argument that they don't look at.
#[inline(always)]
pub fn sys_read(ctx: &mut Context, [fd, addr, len, ..]: Args) -> Result<usize> {
    let file = file(ctx, fd)?;
    check_range(addr, len).or_else(|e| file.check_can_read().and(Err(e)))?;
    let result = file.read(&mut ReadBuf::user(addr, len));
    ctx.thread.transfers.count_read(&result);
    result
}

#[inline(always)]
pub fn sys_write(ctx: &mut Context, [fd, addr, len, ..]: Args) -> Result<usize> {
    let file = file(ctx, fd)?;
    check_range(addr, len).or_else(|e| file.check_can_write().and(Err(e)))?;
    let result = file.write(&mut WriteBuf::user(addr, len));
    ctx.thread.transfers.count_write(&result);
    result
}

pub fn sys_readv(ctx: &mut Context, [fd, list, count, ..]: Args) -> Result<usize> {
    let file = file(ctx, fd)?;
    file.check_can_read()?;
    let list = read_iovecs(list, count)?;
    if is_nothing(&list) {
        return Ok(read_by_list(&file, 0));
    }
    let result = file.read(&mut ReadBuf::user_list(&list));
    ctx.thread.transfers.count_read(&result);
    Ok(read_by_list(&file, result?))
}

/// To who watches the file, a read by a list counts even if there was nothing to read.
fn read_by_list(file: &File, n: usize) -> usize {
    if n == 0 {
        notify::file_event(file, Events::ACCESS);
    }
    n
}

/// A list without a byte is done before the file is asked: what it does with reads and writes of nothing is not seen.
fn is_nothing(list: &[IoVec]) -> bool {
    list.iter().all(|iov| iov.len == 0)
}

pub fn sys_writev(ctx: &mut Context, [fd, list, count, ..]: Args) -> Result<usize> {
    let file = file(ctx, fd)?;
    file.check_can_write()?;
    let list = read_iovecs(list, count)?;
    if is_nothing(&list) {
        return Ok(0);
    }
    let result = file.write(&mut WriteBuf::user_list(&list));
    ctx.thread.transfers.count_write(&result);
    result
}

pub(super) fn position(raw: usize) -> Result<u64> {
    if raw as i64 >= 0 { Ok(raw as u64) } else { Err(EINVAL) }
}

/// The end of a transfer must be a position too.
fn check_end(pos: u64, len: usize) -> Result<()> {
    position(pos.wrapping_add(len as u64) as usize).map(drop)
}

pub fn sys_pread64(ctx: &mut Context, [fd, addr, len, pos, ..]: Args) -> Result<usize> {
    let pos = position(pos)?;
    let file = file(ctx, fd)?;
    check_range(addr, len)?;
    check_end(pos, len)?;
    let result = file.read_at(&mut ReadBuf::user(addr, len), pos);
    ctx.thread.transfers.count_read(&result);
    result
}

pub fn sys_pwrite64(ctx: &mut Context, [fd, addr, len, pos, ..]: Args) -> Result<usize> {
    let pos = position(pos)?;
    let file = file(ctx, fd)?;
    check_range(addr, len)?;
    check_end(pos, len)?;
    let result = file.write_at(&mut WriteBuf::user(addr, len), pos);
    ctx.thread.transfers.count_write(&result);
    result
}

pub fn sys_preadv(ctx: &mut Context, [fd, list, count, pos, ..]: Args) -> Result<usize> {
    let pos = position(pos)?;
    let file = file(ctx, fd)?;
    file.check_positional()?;
    file.check_can_read()?;
    let list = read_iovecs(list, count)?;
    if is_nothing(&list) {
        return Ok(read_by_list(&file, 0));
    }
    let result = file.read_at(&mut ReadBuf::user_list(&list), pos);
    ctx.thread.transfers.count_read(&result);
    Ok(read_by_list(&file, result?))
}

pub fn sys_pwritev(ctx: &mut Context, [fd, list, count, pos, ..]: Args) -> Result<usize> {
    let pos = position(pos)?;
    let file = file(ctx, fd)?;
    file.check_positional()?;
    file.check_can_write()?;
    let list = read_iovecs(list, count)?;
    if is_nothing(&list) {
        return Ok(0);
    }
    let result = file.write_at(&mut WriteBuf::user_list(&list), pos);
    ctx.thread.transfers.count_write(&result);
    result
}

/// preadv2 and pwritev2 take a position of -1 for "the file's own", and flags, of which none is known. That is found only when
/// there is something to move.
pub fn sys_preadv2(ctx: &mut Context, args: Args) -> Result<usize> {
    if args[5] as u32 != 0 {
        return refuse_flags(ctx, args, File::check_can_read);
    }
    if args[3] as i64 == -1 { sys_readv(ctx, args) } else { sys_preadv(ctx, args) }
}

pub fn sys_pwritev2(ctx: &mut Context, args: Args) -> Result<usize> {
    if args[5] as u32 != 0 {
        return refuse_flags(ctx, args, File::check_can_write);
    }
    if args[3] as i64 == -1 { sys_writev(ctx, args) } else { sys_pwritev(ctx, args) }
}

/// What a call with flags fails with: everything else is looked at first.
fn refuse_flags(
    ctx: &Context,
    [fd, list, count, pos, ..]: Args,
    check: fn(&File) -> Result<()>,
) -> Result<usize> {
    let own_position = pos as i64 == -1;
    if !own_position {
        position(pos)?;
    }
    let file = file(ctx, fd)?;
    if !own_position {
        file.check_positional()?;
    }
    check(&file)?;
    let list = read_iovecs(list, count)?;
    if is_nothing(&list) { Ok(0) } else { Err(EOPNOTSUPP) }
}

pub fn sys_lseek(ctx: &mut Context, [fd, offset, whence, ..]: Args) -> Result<usize> {
    let file = file(ctx, fd)?;
    Ok(file.seek(offset as i64, whence as u32)? as usize)
}

pub fn sys_ftruncate(ctx: &mut Context, [fd, size, ..]: Args) -> Result<usize> {
    if (size as i64) < 0 {
        return Err(EINVAL);
    }
    let file = file(ctx, fd)?;
    if !file.inode().base().is_regular() || !file.flags().writable() {
        // A node of pidfs counts as a regular file, though its mode does not say so (rule 11.6).
        file.inode().may_resize()?;
        return Err(EINVAL);
    }
    let dentry = file.path().map(|path| &path.dentry);
    name_ops::resize(file.inode(), dentry, size as u64, &ctx.thread.creds())?;
    Ok(0)
}

pub fn sys_fallocate(ctx: &mut Context, [fd, mode, offset, len, ..]: Args) -> Result<usize> {
    const KEEP_SIZE: usize = 1;
    const PUNCH_HOLE: usize = 2;
    let (offset, len) = (offset as i64, len as i64);
    let file = file(ctx, fd)?;
    if file.is_path_only() {
        return Err(EBADF);
    }
    if offset < 0 || len <= 0 {
        return Err(EINVAL);
    }
    let punch = match mode {
        0 | KEEP_SIZE => false,
        _ if mode == PUNCH_HOLE | KEEP_SIZE => true,
        _ => return Err(EOPNOTSUPP),
    };
    if !file.flags().writable() {
        return Err(EBADF);
    }
    let inode = file.inode();
    let base = inode.base();
    if base.is_dir() {
        return Err(EISDIR);
    }
    if !base.is_regular() {
        inode.may_resize()?;
        return Err(if inode.fifo().is_some() { ESPIPE } else { ENODEV });
    }
    let end = offset.checked_add(len).filter(|&end| end as u64 <= MAX_FILE_SIZE).ok_or(EFBIG)? as u64;
    let _lock = base.lock.lock();
    if !punch {
        // Also if the size is to stay.
        name_ops::check_growth(base, end)?;
    }
    inode.allocate(offset as u64, len as u64, punch)?;
    if mode == 0 && end > base.size() {
        inode.resize(end)?;
    }
    notify::file_event(&file, Events::MODIFY);
    Ok(0)
}

pub fn sys_fsync(ctx: &mut Context, [fd, ..]: Args) -> Result<usize> {
    file(ctx, fd)?.sync()?;
    Ok(0)
}

pub fn sys_syncfs(ctx: &mut Context, [fd, ..]: Args) -> Result<usize> {
    file(ctx, fd)?;
    Ok(0)
}

pub fn sys_fadvise64(ctx: &mut Context, [fd, _, len, advice, ..]: Args) -> Result<usize> {
    let file = file(ctx, fd)?;
    if file.ops().as_pipe().is_some() {
        return Err(ESPIPE);
    }
    if advice > 5 || (len as i64) < 0 { Err(EINVAL) } else { Ok(0) }
}

/// Requests that every file understands; the rest is the file's business.
pub fn sys_ioctl(ctx: &mut Context, [fd, request, arg, ..]: Args) -> Result<usize> {
    const FIONREAD: u32 = 0x541b;
    const FIONBIO: u32 = 0x5421;
    const FIONCLEX: u32 = 0x5450;
    const FIOCLEX: u32 = 0x5451;
    const FIOASYNC: u32 = 0x5452;
    const FIOSETOWN: u32 = 0x8901;
    const SIOCSPGRP: u32 = 0x8902;
    const FIOGETOWN: u32 = 0x8903;
    const SIOCGPGRP: u32 = 0x8904;
    let file = file(ctx, fd)?;
    let request = request as u32;
    match request {
        FIOCLEX | FIONCLEX => ctx.thread.files().set_cloexec(fd as i32, request == FIOCLEX)?,
        FIONBIO | FIOASYNC => {
            let flag = if request == FIONBIO { OpenFlags::NONBLOCK } else { OpenFlags::ASYNC };
            let on = mem::read::<i32>(arg)? != 0;
            let mut flags = file.flags();
            if request == FIOASYNC && flags.contains(flag) != on && !file.ops().has_owner() {
                return Err(ENOTTY);
            }
            flags.set(flag, on);
            file.set_flags(flags)?;
        }
        FIONREAD => mem::write(arg, &i32::try_from(file.ops().available(&file)?).unwrap_or(i32::MAX))?,
        FIOSETOWN | SIOCSPGRP if Socket::of(&file).is_ok() => fcntl::set_owner(ctx, &file, mem::read(arg)?)?,
        FIOGETOWN | SIOCGPGRP if Socket::of(&file).is_ok() => mem::write(arg, &fcntl::get_owner(&file))?,
        _ => return file.ioctl(request, arg),
    }
    Ok(0)
}

/// Copies between two files through a buffer of the kernel.
struct Copier<'a> {
    from: &'a File,
    to: &'a File,
    /// `None`: the file's own offset.
    from_pos: Option<u64>,
    to_pos: Option<u64>,
}

impl Copier<'_> {
    fn run(&mut self, count: usize) -> Result<usize> {
        let mut buf = vec![0; count.min(4 * PAGE_SIZE)];
        let mut done = 0;
        while done < count {
            let want = buf.len().min(count - done);
            match self.step(&mut buf[..want]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if done == 0 => return Err(e),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn step(&mut self, buf: &mut [u8]) -> Result<usize> {
        let mut target = ReadBuf::kernel(buf);
        let n = match self.from_pos {
            Some(pos) => self.from.read_at(&mut target, pos)?,
            None => self.from.read(&mut target)?,
        };
        let mut source = WriteBuf::kernel(&buf[..n]);
        let written = match self.to_pos {
            Some(pos) => self.to.write_at(&mut source, pos),
            None => self.to.write(&mut source),
        };
        let written = *written.as_ref().unwrap_or(&0);
        if written < n && self.from_pos.is_none() {
            // What could not be written was not read.
            self.from.seek(written as i64 - n as i64, crate::fs::file::SEEK_CUR)?;
        }
        if written == 0 && n > 0 {
            return Err(EAGAIN);
        }
        for pos in [&mut self.from_pos, &mut self.to_pos].into_iter().flatten() {
            *pos += written as u64;
        }
        Ok(written)
    }
}

/// An optional position in the program's memory.
fn read_position(addr: usize) -> Result<Option<u64>> {
    if addr == 0 {
        return Ok(None);
    }
    position(mem::read::<i64>(addr)? as usize).map(Some)
}

fn write_position(addr: usize, pos: Option<u64>) -> Result<()> {
    match pos {
        Some(pos) if addr != 0 => Ok(mem::write(addr, &pos)?),
        _ => Ok(()),
    }
}

pub fn sys_sendfile(ctx: &mut Context, [to, from, pos, count, ..]: Args) -> Result<usize> {
    let given = if pos == 0 { 0 } else { mem::read::<i64>(pos)? };
    let (from, to) = (file(ctx, from)?, file(ctx, to)?);
    if !from.flags().readable() || !to.flags().writable() {
        return Err(EBADF);
    }
    if !from.ops().is_seekable() || to.flags().contains(OpenFlags::APPEND) {
        return Err(EINVAL);
    }
    let given = position(given as usize)?;
    let from_pos = (pos != 0).then_some(given);
    let mut copier = Copier { from: &from, to: &to, from_pos, to_pos: None };
    let done = copier.run(count.min(MAX_RW_COUNT));
    ctx.thread.transfers.count_read(&done);
    ctx.thread.transfers.count_write(&done);
    let done = done?;
    write_position(pos, copier.from_pos)?;
    Ok(done)
}

pub fn sys_copy_file_range(
    ctx: &mut Context,
    [from, from_at, to, to_at, count, flags]: Args,
) -> Result<usize> {
    if flags != 0 {
        return Err(EINVAL);
    }
    let (from, to) = (file(ctx, from)?, file(ctx, to)?);
    for file in [&from, &to] {
        let base = file.inode().base();
        if base.is_dir() {
            return Err(EISDIR);
        }
        if !base.is_regular() {
            return Err(EINVAL);
        }
    }
    if !from.flags().readable() || !to.flags().writable() || to.flags().contains(OpenFlags::APPEND) {
        return Err(EBADF);
    }
    let (from_pos, to_pos) = (read_position(from_at)?, read_position(to_at)?);
    let (start, target) = (from_pos.unwrap_or_else(|| from.pos()), to_pos.unwrap_or_else(|| to.pos()));
    let overlaps = start < target.saturating_add(count as u64) && target < start.saturating_add(count as u64);
    if overlaps && crate::fs::inode::same(from.inode(), to.inode()) {
        return Err(EINVAL);
    }
    let mut copier = Copier { from: &from, to: &to, from_pos, to_pos };
    let done = copier.run(count.min(MAX_RW_COUNT));
    ctx.thread.transfers.count_read(&done);
    ctx.thread.transfers.count_write(&done);
    let done = done?;
    write_position(from_at, copier.from_pos)?;
    write_position(to_at, copier.to_pos)?;
    Ok(done)
}
