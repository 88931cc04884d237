//! io_setup, io_destroy, io_submit, io_cancel, io_getevents and io_pgetevents.

use ostd::{pod_struct, user::mem};

use super::{
    Args, Context,
    file::{check_range, file, position},
    ioprio,
    poll::{deadline_in, set_mask},
};
use crate::{
    fs::{
        File,
        aio::{self, Request, poll},
        event::eventfd,
        io::{IoVec, ReadBuf, WriteBuf, read_iovecs},
        poll::PollEvents,
    },
    prelude::*,
    process::signal,
    time::{NSEC_PER_SEC, read_timespec},
};

/// io_setup(2).
pub fn sys_io_setup(ctx: &mut Context, [requests, id, ..]: Args) -> Result<usize> {
    let requests = requests as u32;
    if mem::read::<usize>(id)? != 0 || requests == 0 {
        return Err(EINVAL);
    }
    let vm = ctx.thread.vm();
    let made = aio::setup(&vm, requests, &ctx.process().memory_limits())?;
    if let Err(fault) = mem::write(id, &made) {
        aio::destroy(&vm, made)?;
        return Err(fault.into());
    }
    Ok(0)
}

/// io_destroy(2).
pub fn sys_io_destroy(ctx: &mut Context, [id, ..]: Args) -> Result<usize> {
    aio::destroy(&ctx.thread.vm(), id)?;
    Ok(0)
}

pod_struct! {
    /// `struct iocb`.
    struct Iocb {
        data: u64,
        key: u32,
        rw_flags: u32,
        opcode: u16,
        reqprio: u16,
        fd: i32,
        buf: u64,
        nbytes: u64,
        offset: i64,
        reserved: u64,
        flags: u32,
        resfd: i32,
    }
}

/// Where the key is in it.
const KEY_OFFSET: usize = 8;
/// What the key of a submitted request is.
const KEY: u32 = 0;

const IOCB_FLAG_RESFD: u32 = 1;
const IOCB_FLAG_IOPRIO: u32 = 2;

const PREAD: u16 = 0;
const PWRITE: u16 = 1;
const FSYNC: u16 = 2;
const FDSYNC: u16 = 3;
const POLL: u16 = 5;
const PREADV: u16 = 7;
const PWRITEV: u16 = 8;

/// io_submit(2): up to the first request that can't be submitted; its error counts if it is the very first.
pub fn sys_io_submit(ctx: &mut Context, [id, count, list, ..]: Args) -> Result<usize> {
    let count = usize::try_from(count as i64).or(Err(EINVAL))?;
    let context = aio::find(&ctx.thread.vm(), id)?;
    for index in 0..count.min(context.slots()) {
        let submitted = match mem::read::<usize>(list.wrapping_add(index * size_of::<usize>())) {
            Ok(iocb) => submit_one(ctx, &context, iocb),
            Err(fault) => Err(fault.into()),
        };
        match submitted {
            Ok(()) => {}
            Err(error) if index == 0 => return Err(error),
            Err(_) => return Ok(index),
        }
    }
    Ok(count.min(context.slots()))
}

fn submit_one(ctx: &Context, context: &Arc<aio::Context>, addr: Vaddr) -> Result<()> {
    let iocb: Iocb = mem::read(addr)?;
    if iocb.reserved != 0 || (iocb.nbytes as i64) < 0 {
        return Err(EINVAL);
    }
    let mut request = context.reserve(iocb.data, addr as u64)?;
    let target = file(ctx, iocb.fd as usize)?;
    if iocb.flags & IOCB_FLAG_RESFD != 0 {
        let told = file(ctx, iocb.resfd as usize)?;
        if !eventfd::is_eventfd(&told) {
            return Err(EINVAL);
        }
        request.resfd = Some(told);
    }
    mem::write(addr.wrapping_add(KEY_OFFSET), &KEY)?;
    match iocb.opcode {
        PREAD | PREADV | PWRITE | PWRITEV => transfer(ctx, request, &target, &iocb),
        FSYNC | FDSYNC => sync(request, &target, &iocb),
        POLL => start_poll(request, target, &iocb),
        _ => Err(EINVAL),
    }
}

/// Reads or writes. What is wrong with the request is said at once, what goes wrong with the file in the event.
fn transfer(ctx: &Context, request: Request, target: &File, iocb: &Iocb) -> Result<()> {
    // Nothing is known that a flag could ask for.
    if iocb.rw_flags != 0 {
        return Err(EOPNOTSUPP);
    }
    if iocb.flags & IOCB_FLAG_IOPRIO != 0 {
        ioprio::check(&ctx.thread.creds(), u32::from(iocb.reqprio))?;
    }
    let reads = matches!(iocb.opcode, PREAD | PREADV);
    let open_for_it = if reads { target.flags().readable() } else { target.flags().writable() };
    if !open_for_it {
        return Err(EBADF);
    }
    if target.inode().base().is_dir() {
        return Err(EINVAL);
    }
    let (addr, len) = (iocb.buf as usize, iocb.nbytes as usize);
    let result = if matches!(iocb.opcode, PREADV | PWRITEV) {
        let list: Vec<IoVec> = read_iovecs(addr, len)?;
        for part in &list {
            check_range(part.base, part.len)?;
        }
        let pos = position(iocb.offset as usize)?;
        match reads {
            true => read(target, &mut ReadBuf::user_list(&list), pos),
            false => write(target, &mut WriteBuf::user_list(&list), pos),
        }
    } else {
        check_range(addr, len)?;
        let pos = position(iocb.offset as usize)?;
        match reads {
            true => read(target, &mut ReadBuf::user(addr, len), pos),
            false => write(target, &mut WriteBuf::user(addr, len), pos),
        }
    };
    request.complete(result);
    Ok(())
}

/// The position does not matter to what has none.
fn read(file: &File, buf: &mut ReadBuf, pos: u64) -> Result<usize> {
    if file.ops().is_seekable() { file.read_at(buf, pos) } else { file.read(buf) }
}

fn write(file: &File, buf: &mut WriteBuf, pos: u64) -> Result<usize> {
    if file.ops().is_seekable() { file.write_at(buf, pos) } else { file.write(buf) }
}

fn sync(request: Request, target: &File, iocb: &Iocb) -> Result<()> {
    if iocb.buf != 0 || iocb.offset != 0 || iocb.nbytes != 0 || iocb.rw_flags != 0 {
        return Err(EINVAL);
    }
    match target.sync() {
        Err(EINVAL) => Err(EINVAL),
        result => {
            request.complete(result.map(|()| 0));
            Ok(())
        }
    }
}

fn start_poll(request: Request, target: Arc<File>, iocb: &Iocb) -> Result<()> {
    let events = u16::try_from(iocb.buf).or(Err(EINVAL))?;
    if iocb.offset != 0 || iocb.nbytes != 0 || iocb.rw_flags != 0 {
        return Err(EINVAL);
    }
    poll::start(request, target, PollEvents::from_bits_truncate(u32::from(events)))
}

/// io_cancel(2): EINPROGRESS is the success, as the event is still to come.
pub fn sys_io_cancel(ctx: &mut Context, [id, iocb, ..]: Args) -> Result<usize> {
    if mem::read::<u32>(iocb.wrapping_add(KEY_OFFSET))? != KEY {
        return Err(EINVAL);
    }
    aio::find(&ctx.thread.vm(), id)?.cancel(iocb as u64)?;
    Ok(0)
}

/// Until when to wait; a time in the past is not to wait at all.
fn deadline(timeout: usize) -> Result<Option<u64>> {
    if timeout == 0 {
        return Ok(None);
    }
    let time = read_timespec(timeout)?;
    let ns = i128::from(time.sec) * i128::from(NSEC_PER_SEC) + i128::from(time.nsec);
    Ok(Some(deadline_in(ns.clamp(0, i128::from(i64::MAX)) as u64)))
}

fn get_events(ctx: &Context, args: Args, deadline: Option<u64>) -> Result<usize> {
    let [id, min, max, list, ..] = args;
    let context = aio::find(&ctx.thread.vm(), id)?;
    let (min, max) = (min as i64, max as i64);
    if min < 0 || min > max {
        return Err(EINVAL);
    }
    let taken = context.events(min as usize, max as usize, list, deadline)?;
    if aio::interrupted(ctx.thread, taken) { Err(EINTR) } else { Ok(taken) }
}

/// io_getevents(2).
pub fn sys_io_getevents(ctx: &mut Context, args: Args) -> Result<usize> {
    let deadline = deadline(args[4])?;
    get_events(ctx, args, deadline)
}

/// io_pgetevents(2): under another signal mask. After EINTR that mask stays until the signal is delivered.
pub fn sys_io_pgetevents(ctx: &mut Context, args: Args) -> Result<usize> {
    let [mask, size] = match args[5] {
        0 => [0; 2],
        addr => mem::read::<[usize; 2]>(addr)?,
    };
    let deadline = deadline(args[4])?;
    let masked = set_mask(ctx, mask, size)?;
    let result = get_events(ctx, args, deadline);
    match result {
        Err(EINTR) => Err(ERESTARTNOHAND),
        other => {
            if masked {
                signal::restore_temporary_mask(ctx.thread);
            }
            other
        }
    }
}
