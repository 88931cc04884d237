//! POSIX message queues: mq_open(2), mq_unlink(2), mq_timedsend(2), mq_timedreceive(2), mq_notify(2), mq_getsetattr(2).

use ostd::{time, user::mem};

use super::{Args, Context};
use crate::{
    fs::{File, OpenFlags, at::UserPath},
    ipc::mqueue::{self, Capacity, Event, MAX_PRIORITY, Message, fs::OpenQueue},
    prelude::*,
    time::{read_timespec, realtime_ns, timespec_to_ns},
};

/// Words of `struct mq_attr`: flags, messages, size of a message, messages in the queue, and four that are unused.
const ATTR_WORDS: usize = 8;

pub fn sys_mq_open(ctx: &mut Context, [name, flags, mode, attr, ..]: Args) -> Result<usize> {
    let capacity = match attr {
        0 => None,
        addr => {
            let [_, messages, size, ..] = mem::read::<[i64; ATTR_WORDS]>(addr)?;
            Some(Capacity { messages, size })
        }
    };
    let name = UserPath::read(name)?;
    let files = ctx.thread.files();
    files.require_free()?;
    let flags = OpenFlags::from_bits_truncate(flags as u32) - OpenFlags::PATH;
    let mode = mode as u32 & !ctx.thread.fs().umask();
    let file = mqueue::open(ctx.thread, name.bytes(), flags, mode, capacity)?;
    Ok(files.install(file, true, 0)? as usize)
}

pub fn sys_mq_unlink(ctx: &mut Context, [name, ..]: Args) -> Result<usize> {
    mqueue::unlink(ctx.thread, UserPath::read(name)?.bytes())?;
    Ok(0)
}

/// The time until which to wait, on the monotonic clock.
///
/// # Errors
/// EFAULT, EINVAL, whether or not there will be something to wait for.
fn read_deadline(addr: usize) -> Result<Option<u64>> {
    if addr == 0 {
        return Ok(None);
    }
    let at = timespec_to_ns(read_timespec(addr)?)?;
    Ok(Some(time::now_ns().saturating_add(at.saturating_sub(realtime_ns()))))
}

/// The open queue of a descriptor.
fn open_queue(ctx: &Context, fd: usize) -> Result<Arc<File>> {
    let file = ctx.thread.files().get(fd as i32)?;
    OpenQueue::of(&file)?;
    Ok(file)
}

pub fn sys_mq_timedsend(ctx: &mut Context, [fd, addr, len, priority, timeout, ..]: Args) -> Result<usize> {
    let deadline = read_deadline(timeout)?;
    let priority = priority as u32;
    if priority >= MAX_PRIORITY {
        return Err(EINVAL);
    }
    let file = open_queue(ctx, fd)?;
    let queue = OpenQueue::of(&file)?;
    if !file.flags().writable() {
        return Err(EBADF);
    }
    if len > queue.max_size {
        return Err(EMSGSIZE);
    }
    let mut message = Message::with_len(priority, len)?;
    mem::copy_from_user(&mut message.data, addr)?;
    queue.send(ctx.thread, message, file.is_nonblocking(), deadline)?;
    Ok(0)
}

pub fn sys_mq_timedreceive(ctx: &mut Context, [fd, addr, len, priority, timeout, ..]: Args) -> Result<usize> {
    let deadline = read_deadline(timeout)?;
    let file = open_queue(ctx, fd)?;
    let queue = OpenQueue::of(&file)?;
    if !file.flags().readable() {
        return Err(EBADF);
    }
    if len < queue.max_size {
        return Err(EMSGSIZE);
    }
    let message = queue.receive(ctx.thread, file.is_nonblocking(), deadline)?;
    // It is out of its queue: to whom can't take it, it is lost.
    if priority != 0 {
        mem::write(priority, &message.priority)?;
    }
    mem::copy_to_user(addr, &message.data)?;
    Ok(message.data.len())
}

pub fn sys_mq_notify(ctx: &mut Context, [fd, event, ..]: Args) -> Result<usize> {
    let files = ctx.thread.files();
    let event = match event {
        0 => None,
        addr => {
            // The start of `struct sigevent`: value, signal, kind.
            let [low, high, signo, notify] = mem::read::<[u32; 4]>(addr)?;
            let value = u64::from(low) | u64::from(high) << 32;
            let event = Event { value, signo: signo as i32, notify: notify as i32 };
            event.check(&files, |cookie| Ok(mem::read::<[u64; 4]>(cookie).map(drop)?))?;
            Some(event)
        }
    };
    let file = open_queue(ctx, fd)?;
    let queue = OpenQueue::of(&file)?;
    match event {
        None => queue.unregister(ctx.thread),
        Some(event) => {
            files.note_interest_in_closing();
            queue.register(ctx.thread, event)?;
        }
    }
    Ok(0)
}

pub fn sys_mq_getsetattr(ctx: &mut Context, [fd, new, old, ..]: Args) -> Result<usize> {
    let nonblock = OpenFlags::NONBLOCK.bits() as i64;
    let new_flags = match new {
        0 => None,
        addr => {
            let [flags, ..] = mem::read::<[i64; ATTR_WORDS]>(addr)?;
            if flags & !nonblock != 0 {
                return Err(EINVAL);
            }
            Some(flags)
        }
    };
    let file = open_queue(ctx, fd)?;
    let queue = OpenQueue::of(&file)?;
    let flags = file.flags();
    let mut attr = [0i64; ATTR_WORDS];
    attr[0] = i64::from(flags.bits()) & nonblock;
    attr[1..4].copy_from_slice(&[queue.max_messages, queue.max_size, queue.len()].map(|n| n as i64));
    if let Some(new_flags) = new_flags {
        let mut flags = flags;
        flags.set(OpenFlags::NONBLOCK, new_flags & nonblock != 0);
        file.set_flags(flags)?;
    }
    if old != 0 {
        mem::write(old, &attr)?;
    }
    Ok(0)
}
