//! Sockets: decode the arguments, call the socket's protocol.

use ostd::{pod_struct, time, user::mem};

use super::{Args, Context, file};
use crate::{
    fs::{
        File, OpenFlags,
        io::{IOV_MAX, IoVec, ReadBuf, WriteBuf, read_iovec, read_iovecs},
    },
    net::{
        self, Protocol, Socket,
        address::{MAX_LEN, SockAddr},
        base::{SHUT_BOTH, SHUT_RECV, SHUT_SEND},
        control,
        message::{Incoming, MsgFlags, Outgoing},
        option,
        socket::wait_flag,
    },
    prelude::*,
    time::{read_timespec, timespec_to_ns, write_timespec},
};

/// SOCK_NONBLOCK and SOCK_CLOEXEC in the type, or in the flags of accept4.
fn open_flags(flags: usize) -> Result<OpenFlags> {
    let flags = OpenFlags::from_bits(flags as u32).ok_or(EINVAL)?;
    let allowed = OpenFlags::NONBLOCK | OpenFlags::CLOEXEC;
    if allowed.contains(flags) { Ok(flags) } else { Err(EINVAL) }
}

/// The type argument: a type, and flags above it.
fn split_type(raw: usize) -> Result<(u32, OpenFlags)> {
    const TYPE_MASK: usize = 0xf;
    Ok(((raw & TYPE_MASK) as u32, open_flags(raw as u32 as usize & !TYPE_MASK)?))
}

fn install(ctx: &Context, file: Arc<File>, flags: OpenFlags) -> Result<usize> {
    Ok(ctx.thread.files().install(file, flags.contains(OpenFlags::CLOEXEC), 0)? as usize)
}

pub fn sys_socket(ctx: &mut Context, [family, kind, protocol, ..]: Args) -> Result<usize> {
    let (kind, flags) = split_type(kind)?;
    let socket = net::create(family as i32, kind, protocol as i32)?;
    install(ctx, Socket::open(socket, flags)?, flags)
}

pub fn sys_socketpair(ctx: &mut Context, [family, kind, protocol, fds, ..]: Args) -> Result<usize> {
    let (kind, flags) = split_type(kind)?;
    // The place for the numbers is looked at before what is to be made.
    ctx.thread.files().require_free()?;
    mem::write(fds, &mem::read::<[i32; 2]>(fds)?)?;
    let (a, b) = net::create_pair(family as i32, kind, protocol as i32)?;
    let pair = (Socket::open(a, flags)?, Socket::open(b, flags)?);
    let files = ctx.thread.files();
    let (a, b) = files.install_pair(pair, flags.contains(OpenFlags::CLOEXEC))?;
    if let Err(e) = mem::write(fds, &[a, b]) {
        for fd in [a, b] {
            // Another thread may have closed it meanwhile.
            let _ = files.close(fd);
        }
        return Err(e.into());
    }
    Ok(0)
}

pub fn sys_bind(ctx: &mut Context, [fd, addr, len, ..]: Args) -> Result<usize> {
    let file = file::file(ctx, fd)?;
    let socket = Socket::of(&file)?;
    socket.protocol().bind(&file, &SockAddr::read(addr, len)?)?;
    Ok(0)
}

pub fn sys_listen(ctx: &mut Context, [fd, backlog, ..]: Args) -> Result<usize> {
    let file = file::file(ctx, fd)?;
    Socket::of(&file)?.protocol().listen(backlog as i32)?;
    Ok(0)
}

pub fn sys_connect(ctx: &mut Context, [fd, addr, len, ..]: Args) -> Result<usize> {
    let file = file::file(ctx, fd)?;
    let socket = Socket::of(&file)?;
    socket.protocol().connect(&SockAddr::read(addr, len)?, file.is_nonblocking())?;
    Ok(0)
}

pub fn sys_accept(ctx: &mut Context, [fd, addr, len, ..]: Args) -> Result<usize> {
    accept(ctx, fd, addr, len, OpenFlags::empty())
}

pub fn sys_accept4(ctx: &mut Context, [fd, addr, len, flags, ..]: Args) -> Result<usize> {
    file::open_file(ctx, fd)?;
    accept(ctx, fd, addr, len, open_flags(flags)?)
}

fn accept(ctx: &Context, fd: usize, addr: Vaddr, len: Vaddr, flags: OpenFlags) -> Result<usize> {
    let listener = file::file(ctx, fd)?;
    let socket = Socket::of(&listener)?;
    // So that a connection is not lost for want of a number.
    ctx.thread.files().require_free()?;
    let accepted = socket.protocol().accept(listener.is_nonblocking())?;
    if addr != 0 {
        let name = accepted.peer_name().map_err(|_| ECONNABORTED)?;
        SockAddr::write(Some(&name), addr, len)?;
    }
    install(ctx, Socket::open(accepted, flags)?, flags)
}

pub fn sys_shutdown(ctx: &mut Context, [fd, how, ..]: Args) -> Result<usize> {
    let file = file::file(ctx, fd)?;
    let socket = Socket::of(&file)?;
    let how = match how as i32 {
        0 => SHUT_RECV,
        1 => SHUT_SEND,
        2 => SHUT_BOTH,
        _ => return Err(EINVAL),
    };
    socket.protocol().shutdown(how)?;
    Ok(0)
}

fn give_name(
    ctx: &Context,
    [fd, addr, len, ..]: Args,
    name: impl FnOnce(&dyn Protocol) -> Result<SockAddr>,
) -> Result<usize> {
    let file = file::file(ctx, fd)?;
    let name = name(Socket::of(&file)?.protocol())?;
    SockAddr::write(Some(&name), addr, len)?;
    Ok(0)
}

pub fn sys_getsockname(ctx: &mut Context, args: Args) -> Result<usize> {
    give_name(ctx, args, |protocol| protocol.local_name())
}

pub fn sys_getpeername(ctx: &mut Context, args: Args) -> Result<usize> {
    give_name(ctx, args, |protocol| protocol.peer_name())
}

pub fn sys_getsockopt(ctx: &mut Context, [fd, level, name, addr, len, ..]: Args) -> Result<usize> {
    let file = file::file(ctx, fd)?;
    option::get(Socket::of(&file)?, level as i32, name as i32, addr, len)?;
    Ok(0)
}

pub fn sys_setsockopt(ctx: &mut Context, [fd, level, name, addr, len, ..]: Args) -> Result<usize> {
    let file = file::file(ctx, fd)?;
    option::set(Socket::of(&file)?, level as i32, name as i32, addr, len)?;
    Ok(0)
}

// ---- one buffer -----------------------------------------------------------------------------------------------------

/// The flags of a call; unknown ones are ignored, as in Linux.
fn msg_flags(raw: usize, file: &File) -> MsgFlags {
    MsgFlags::from_bits_truncate(raw as u32) | wait_flag(file)
}

pub fn sys_sendto(ctx: &mut Context, [fd, buf, len, flags, addr, addr_len]: Args) -> Result<usize> {
    file::check_range(buf, len)?;
    let file = file::file(ctx, fd)?;
    let socket = Socket::of(&file)?;
    let to = if addr == 0 { None } else { Some(SockAddr::read(addr, addr_len)?) };
    // An empty address is none.
    let to = to.as_ref().filter(|_| addr_len as i32 != 0);
    let mut message = Outgoing { flags: msg_flags(flags, &file), to, ancillary: None };
    socket.protocol().send(&mut WriteBuf::user(buf, len), &mut message)
}

pub fn sys_recvfrom(ctx: &mut Context, [fd, buf, len, flags, addr, addr_len]: Args) -> Result<usize> {
    file::check_range(buf, len)?;
    let file = file::file(ctx, fd)?;
    let socket = Socket::of(&file)?;
    let mut message = Incoming::new(msg_flags(flags, &file));
    message.wants_name = addr != 0;
    let received = socket.protocol().recv(&mut ReadBuf::user(buf, len), &mut message)?;
    if addr != 0 {
        SockAddr::write(message.from.as_ref(), addr, addr_len)?;
    }
    Ok(received)
}

// ---- messages -------------------------------------------------------------------------------------------------------

pod_struct! {
    /// `struct msghdr`, with `struct mmsghdr`'s length behind it.
    struct MsgHdr {
        name: usize,
        name_len: i32,
        pad: u32,
        iov: usize,
        iov_count: usize,
        control: usize,
        control_len: usize,
        flags: i32,
        pad_end: u32,
    }
}

/// Where the fields are that a receive changes.
const NAME_LEN: usize = 8;
const CONTROL_LEN: usize = 40;
const FLAGS: usize = 48;
/// The size of `struct mmsghdr`, and where its length is.
const MMSGHDR: usize = 64;
const MMSG_LEN: usize = 56;

impl MsgHdr {
    fn read(addr: Vaddr) -> Result<MsgHdr> {
        let mut header: MsgHdr = mem::read(addr)?;
        if header.name == 0 {
            header.name_len = 0;
        }
        if header.name_len < 0 {
            return Err(EINVAL);
        }
        header.name_len = header.name_len.min(MAX_LEN as i32);
        if header.iov_count > IOV_MAX {
            return Err(EMSGSIZE);
        }
        Ok(header)
    }
}

/// The buffers of a message: nearly always one.
enum Buffers {
    One(IoVec),
    Many(Vec<IoVec>),
}

impl Buffers {
    fn read(header: &MsgHdr) -> Result<Buffers> {
        match header.iov_count {
            1 => Ok(Buffers::One(read_iovec(header.iov)?)),
            count => Ok(Buffers::Many(read_iovecs(header.iov, count)?)),
        }
    }
}

/// A bit that programs must not give: the caller's address size.
const MSG_CMSG_COMPAT: usize = 0x8000_0000;

fn send_message(file: &File, addr: Vaddr, flags: usize) -> Result<usize> {
    let socket = Socket::of(file)?;
    let header = MsgHdr::read(addr)?;
    let to = match header.name_len {
        0 => None,
        len => Some(SockAddr::read(header.name, len as usize)?),
    };
    let buffers = Buffers::read(&header)?;
    let ancillary =
        if header.control == 0 { None } else { control::read(header.control, header.control_len)? };
    let mut message = Outgoing { flags: msg_flags(flags, file), to: to.as_ref(), ancillary };
    match &buffers {
        Buffers::One(one) => socket.protocol().send(&mut WriteBuf::user(one.base, one.len), &mut message),
        Buffers::Many(list) => socket.protocol().send(&mut WriteBuf::user_list(list), &mut message),
    }
}

pub fn sys_sendmsg(ctx: &mut Context, [fd, addr, flags, ..]: Args) -> Result<usize> {
    if flags & MSG_CMSG_COMPAT != 0 {
        return Err(EINVAL);
    }
    let file = file::file(ctx, fd)?;
    send_message(&file, addr, flags)
}

fn receive_message(file: &File, addr: Vaddr, flags: usize) -> Result<usize> {
    let socket = Socket::of(file)?;
    let header = MsgHdr::read(addr)?;
    let buffers = Buffers::read(&header)?;
    let mut message = Incoming::new(msg_flags(flags, file));
    message.wants_name = header.name != 0;
    let received = match &buffers {
        Buffers::One(one) => socket.protocol().recv(&mut ReadBuf::user(one.base, one.len), &mut message),
        Buffers::Many(list) => socket.protocol().recv(&mut ReadBuf::user_list(list), &mut message),
    }?;
    let mut writer = control::Writer::new(header.control, header.control_len);
    control::write(socket, &mut writer, &mut message)?;
    if header.name != 0 {
        SockAddr::write(message.from.as_ref(), header.name, addr.wrapping_add(NAME_LEN))?;
    }
    let result = message.result | message.flags & MsgFlags::CMSG_CLOEXEC;
    mem::write(addr.wrapping_add(FLAGS), &result.bits())?;
    mem::write(addr.wrapping_add(CONTROL_LEN), &writer.written())?;
    Ok(received)
}

pub fn sys_recvmsg(ctx: &mut Context, [fd, addr, flags, ..]: Args) -> Result<usize> {
    if flags & MSG_CMSG_COMPAT != 0 {
        return Err(EINVAL);
    }
    let file = file::file(ctx, fd)?;
    receive_message(&file, addr, flags)
}

/// As [`sys_sendmsg`] for each of several messages; ends at the first that fails, which is an error only if it is the
/// very first.
pub fn sys_sendmmsg(ctx: &mut Context, [fd, list, count, flags, ..]: Args) -> Result<usize> {
    if flags & MSG_CMSG_COMPAT != 0 {
        return Err(EINVAL);
    }
    let file = file::file(ctx, fd)?;
    Socket::of(&file)?;
    let count = (count as u32 as usize).min(IOV_MAX);
    for index in 0..count {
        let at = list.wrapping_add(index * MMSGHDR);
        let sent = send_message(&file, at, flags)
            .and_then(|sent| Ok(mem::write(at.wrapping_add(MMSG_LEN), &(sent as u32))?));
        match sent {
            Ok(()) => {}
            Err(e) if index == 0 => return Err(e),
            Err(_) => return Ok(index),
        }
    }
    Ok(count)
}

/// As [`sys_recvmsg`] for several messages. The time limit is looked at after each message only, as in Linux. An error
/// behind the first message is left for the next call.
pub fn sys_recvmmsg(ctx: &mut Context, [fd, list, count, flags, timeout, ..]: Args) -> Result<usize> {
    if flags & MSG_CMSG_COMPAT != 0 {
        return Err(EINVAL);
    }
    let deadline = match timeout {
        0 => None,
        addr => Some(time::now_ns().saturating_add(timespec_to_ns(read_timespec(addr)?)?)),
    };
    let file = file::file(ctx, fd)?;
    let socket = Socket::of(&file)?;
    socket.base().check_error()?;
    let mut flags = flags;
    let mut done = 0;
    let mut result = Ok(());
    while done < (count as u32 as usize).min(IOV_MAX) {
        let at = list.wrapping_add(done * MMSGHDR);
        let received = receive_message(&file, at, flags & !(MsgFlags::WAITFORONE.bits() as usize))
            .and_then(|len| Ok(mem::write(at.wrapping_add(MMSG_LEN), &(len as u32))?));
        if let Err(e) = received {
            result = Err(e);
            break;
        }
        done += 1;
        if flags & MsgFlags::WAITFORONE.bits() as usize != 0 {
            flags |= MsgFlags::DONTWAIT.bits() as usize;
        }
        if deadline.is_some_and(|deadline| time::now_ns() >= deadline) {
            break;
        }
    }
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(time::now_ns());
        write_timespec(timeout, crate::time::Timespec::from_ns(left))?;
    }
    match result {
        Err(e) if done == 0 => Err(e),
        Err(e) => {
            if e != EAGAIN && !e.is_restart() {
                socket.base().set_error(e);
            }
            Ok(done)
        }
        Ok(()) => Ok(done),
    }
}
