//! fcntl(2) and flock(2).

use ostd::{pod_struct, user::mem};
use proctree::PidId;

use super::{Args, Context, file::file};
use crate::{
    fs::{
        File, FileTable, OpenFlags, caller,
        file::{MAX_FILE_SIZE, SEEK_CUR, SEEK_END, SEEK_SET},
        file_lock::{FileLocks, LockKind, Owner, Range, RangeLock},
        pipe::Pipe,
    },
    prelude::*,
    process::{pid, tree},
};

const F_DUPFD: usize = 0;
const F_GETFD: usize = 1;
const F_SETFD: usize = 2;
const F_GETFL: usize = 3;
const F_SETFL: usize = 4;
const F_GETLK: usize = 5;
const F_SETLK: usize = 6;
const F_SETLKW: usize = 7;
const F_SETOWN: usize = 8;
const F_GETOWN: usize = 9;
const F_SETOWN_EX: usize = 15;
const F_GETOWN_EX: usize = 16;
const F_OFD_GETLK: usize = 36;
const F_OFD_SETLK: usize = 37;
const F_OFD_SETLKW: usize = 38;
const F_DUPFD_CLOEXEC: usize = 1030;
const F_SETPIPE_SZ: usize = 1031;
const F_GETPIPE_SZ: usize = 1032;

/// Kinds of owners in `struct f_owner_ex`.
const F_OWNER_TID: i32 = 0;
const F_OWNER_PID: i32 = 1;
const F_OWNER_PGRP: i32 = 2;

const FD_CLOEXEC: usize = 1;

pub fn sys_fcntl(ctx: &mut Context, [fd, command, arg, ..]: Args) -> Result<usize> {
    let files = ctx.thread.files();
    let any = files.get_any(fd as i32)?;
    // What works on a place as well as on an open file.
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => return dup_from(&files, any, arg, command == F_DUPFD_CLOEXEC),
        F_GETFD => return Ok(usize::from(files.is_cloexec(fd as i32)?)),
        F_SETFD => {
            files.set_cloexec(fd as i32, arg & FD_CLOEXEC != 0)?;
            return Ok(0);
        }
        F_GETFL => return Ok(any.flags().bits() as usize),
        _ => {}
    }
    let file = file(ctx, fd)?;
    match command {
        F_SETFL => file.set_flags(OpenFlags::from_bits_truncate(arg as u32))?,
        F_GETOWN => return Ok(get_owner(&file) as usize),
        F_SETOWN => set_owner(ctx, &file, arg as i32)?,
        F_GETOWN_EX => {
            let owner = get_owner(&file);
            let kind = if owner < 0 { F_OWNER_PGRP } else { F_OWNER_PID };
            mem::write(arg, &[kind, owner.abs()])?;
        }
        F_SETOWN_EX => {
            let [kind, id]: [i32; 2] = mem::read(arg)?;
            match kind {
                F_OWNER_TID | F_OWNER_PID => set_owner(ctx, &file, id.checked_abs().ok_or(ESRCH)?)?,
                F_OWNER_PGRP => set_owner(ctx, &file, -id.checked_abs().ok_or(ESRCH)?)?,
                _ => return Err(EINVAL),
            }
        }
        F_GETPIPE_SZ => return Ok(pipe_of(&file)?.capacity()),
        F_SETPIPE_SZ => return pipe_of(&file)?.set_capacity(arg),
        F_GETLK | F_OFD_GETLK => get_lock(ctx, &files, &file, arg, command == F_OFD_GETLK)?,
        F_SETLK | F_SETLKW => set_lock(ctx, &files, &file, arg, false, command == F_SETLKW)?,
        F_OFD_SETLK | F_OFD_SETLKW => set_lock(ctx, &files, &file, arg, true, command == F_OFD_SETLKW)?,
        _ => return Err(EINVAL),
    }
    Ok(0)
}

fn dup_from(files: &FileTable, file: Arc<File>, min: usize, cloexec: bool) -> Result<usize> {
    let min = i32::try_from(min).map_err(|_| EINVAL)?;
    if min as usize >= caller::max_fds() {
        return Err(EINVAL);
    }
    Ok(files.install(file, cloexec, min)? as usize)
}

/// The owner's number in the caller's namespace, negative for a process group; 0 if it is gone or not visible there.
pub(super) fn get_owner(file: &File) -> i32 {
    let (pid, is_group) = file.owner();
    let nr = tree::pid_nr(pid) as i32;
    if is_group { -nr } else { nr }
}

/// F_SETOWN: a process, or a group as a negative number; 0 for nobody. ESRCH if there is none.
pub(super) fn set_owner(ctx: &Context, file: &File, owner: i32) -> Result<()> {
    if owner == 0 {
        file.set_owner(PidId::INVALID, false);
        return Ok(());
    }
    let nr = owner.checked_abs().ok_or(EINVAL)?;
    let pid = pid::lookup(ctx.process().ns(), nr as u32).ok_or(ESRCH)?;
    file.set_owner(pid, owner < 0);
    Ok(())
}

fn pipe_of(file: &File) -> Result<&Arc<Pipe>> {
    file.ops().as_pipe().ok_or(EBADF)
}

// ---- range locks ----------------------------------------------------------------------------------------------------

const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;

pod_struct! {
    /// `struct flock`.
    struct Flock {
        kind: i16,
        whence: i16,
        pad: u32,
        start: i64,
        len: i64,
        pid: i32,
        pad_end: u32,
    }
}

impl Flock {
    /// The bytes meant. EINVAL if they begin before the file, EOVERFLOW if they end behind the largest offset.
    fn range(&self, file: &File) -> Result<Range> {
        let base = match self.whence as u32 {
            SEEK_SET => 0,
            SEEK_CUR => file.pos() as i64,
            SEEK_END => file.inode().base().size() as i64,
            _ => return Err(EINVAL),
        };
        let start = base.checked_add(self.start).ok_or(EOVERFLOW)?;
        let (start, last) = match self.len {
            0 => (start, MAX_FILE_SIZE as i64),
            1.. => (start, start.checked_add(self.len - 1).ok_or(EOVERFLOW)?),
            // The bytes before `start`.
            _ => (start.checked_add(self.len).ok_or(EINVAL)?, start - 1),
        };
        if start < 0 {
            return Err(EINVAL);
        }
        Ok(Range { start: start as u64, last: last as u64 })
    }

    /// `None` to unlock.
    fn lock_kind(&self) -> Result<Option<LockKind>> {
        match self.kind {
            F_RDLCK => Ok(Some(LockKind::Shared)),
            F_WRLCK => Ok(Some(LockKind::Exclusive)),
            F_UNLCK => Ok(None),
            _ => Err(EINVAL),
        }
    }
}

/// A lock of the open file (`by_file`), or of the descriptor table.
fn owner(files: &FileTable, file: &File, by_file: bool) -> Owner {
    if by_file { Owner::of(file) } else { Owner::of(files) }
}

fn set_lock(
    ctx: &Context,
    files: &FileTable,
    file: &File,
    arg: usize,
    by_file: bool,
    wait: bool,
) -> Result<()> {
    let asked: Flock = mem::read(arg)?;
    if by_file && asked.pid != 0 {
        return Err(EINVAL);
    }
    let range = asked.range(file)?;
    let owner = owner(files, file, by_file);
    let Some(kind) = asked.lock_kind()? else {
        return FileLocks::of(file).unlock_range(owner, range);
    };
    let allowed = match kind {
        LockKind::Shared => file.flags().readable(),
        LockKind::Exclusive => file.flags().writable(),
    };
    if !allowed {
        return Err(EBADF);
    }
    if !by_file {
        files.note_interest_in_closing();
    }
    let pid = (!by_file).then(|| ctx.process().global_pid());
    FileLocks::of(file).lock_range(RangeLock { range, kind, owner, pid }, wait)
}

fn get_lock(ctx: &Context, files: &FileTable, file: &File, arg: usize, by_file: bool) -> Result<()> {
    let mut asked: Flock = mem::read(arg)?;
    if by_file && asked.pid != 0 {
        return Err(EINVAL);
    }
    let kind = asked.lock_kind()?.ok_or(EINVAL)?;
    let pid = Some(ctx.process().global_pid());
    let wanted = RangeLock { range: asked.range(file)?, kind, owner: owner(files, file, by_file), pid };
    match FileLocks::of(file).conflict(&wanted) {
        None => asked.kind = F_UNLCK,
        Some(lock) => {
            asked.kind = if lock.kind == LockKind::Shared { F_RDLCK } else { F_WRLCK };
            asked.whence = SEEK_SET as i16;
            asked.start = lock.range.start as i64;
            let to_the_end = lock.range.last >= MAX_FILE_SIZE;
            asked.len = if to_the_end { 0 } else { (lock.range.last - lock.range.start + 1) as i64 };
            asked.pid = lock.pid.map_or(-1, |nr| pid::translate(nr, ctx.process().ns()) as i32);
        }
    }
    mem::write(arg, &asked)?;
    Ok(())
}

// ---- locks of whole files -------------------------------------------------------------------------------------------

pub fn sys_flock(ctx: &mut Context, [fd, operation, ..]: Args) -> Result<usize> {
    const LOCK_SH: usize = 1;
    const LOCK_EX: usize = 2;
    const LOCK_NB: usize = 4;
    const LOCK_UN: usize = 8;
    const LOCK_MAND: usize = 32;
    if operation & LOCK_MAND != 0 {
        // A kind of lock that Linux had: it is asked for in vain.
        return Ok(0);
    }
    let kind = match operation & !LOCK_NB {
        LOCK_SH => Some(LockKind::Shared),
        LOCK_EX => Some(LockKind::Exclusive),
        LOCK_UN => None,
        _ => return Err(EINVAL),
    };
    let file = file(ctx, fd)?;
    match kind {
        Some(kind) => FileLocks::of(&file).lock_whole(&file, kind, operation & LOCK_NB == 0)?,
        None => FileLocks::of(&file).unlock_whole(&file),
    }
    Ok(0)
}
