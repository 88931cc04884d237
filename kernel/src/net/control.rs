//! Ancillary data as programs write and read it: a buffer of control messages (cmsg(3)), each a header of 16 bytes and data,
//! padded to 8 bytes.

use ostd::user::mem;

use super::{
    credentials::{Sender, Ucred},
    message::{Ancillary, Incoming, MsgFlags},
    socket::Socket,
};
use crate::{
    fs::{File, OpenFlags},
    prelude::*,
    process::Thread,
};

pub const SOL_SOCKET: i32 = 1;

const SCM_RIGHTS: i32 = 1;
const SCM_CREDENTIALS: i32 = 2;
const SCM_PIDFD: i32 = 4;

/// The most descriptors in one message.
const SCM_MAX_FD: usize = 253;
/// /proc/sys/net/core/optmem_max: the largest buffer of control messages.
pub const MAX_CONTROL: usize = 131_072;

/// Most buffers of control messages are no longer, and need no memory of their own.
const SHORT_CONTROL: usize = 64;

ostd::pod_struct! {
    /// `struct cmsghdr`.
    struct Header {
        len: u64,
        level: i32,
        kind: i32,
    }
}

const HEADER: usize = size_of::<Header>();

fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<u64>())
}

/// Reads the control messages of a send. EINVAL for anything that is malformed or not known, EBADF, EPERM, ENOBUFS.
pub fn read(addr: Vaddr, len: usize) -> Result<Option<Ancillary>> {
    if len > i32::MAX as usize || len > MAX_CONTROL {
        return Err(ENOBUFS);
    }
    if len == 0 {
        return Ok(None);
    }
    // The whole at once: the program must not change a part that has been checked.
    let (mut short, mut long) = ([0u8; SHORT_CONTROL], Vec::new());
    let buffer = if len <= SHORT_CONTROL {
        &mut short[..len]
    } else {
        long.resize(len, 0);
        &mut long[..]
    };
    mem::copy_from_user(buffer, addr)?;
    let mut found = Ancillary::default();
    let mut rest = &*buffer;
    while rest.len() >= HEADER {
        let word = |at: usize| i32::from_ne_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let length = u64::from(word(0) as u32) | u64::from(word(4) as u32) << 32;
        if length < HEADER as u64 || length > rest.len() as u64 {
            return Err(EINVAL);
        }
        let length = length as usize;
        if word(8) == SOL_SOCKET {
            let data = &rest[HEADER..length];
            match word(12) {
                SCM_RIGHTS => read_rights(data, &mut found.files)?,
                SCM_CREDENTIALS => found.sender = Some(read_claim(data)?),
                _ => return Err(EINVAL),
            }
        }
        rest = &rest[align(length).min(rest.len())..];
    }
    Ok((found.sender.is_some() || !found.files.is_empty()).then_some(found))
}

fn read_rights(data: &[u8], files: &mut Vec<Arc<File>>) -> Result<()> {
    let (fds, _) = data.as_chunks::<4>();
    if files.len() + fds.len() > SCM_MAX_FD {
        return Err(EINVAL);
    }
    let table = Thread::current().files();
    for fd in fds {
        files.push(table.get_any(i32::from_ne_bytes(*fd))?);
    }
    Ok(())
}

fn read_claim(data: &[u8]) -> Result<Sender> {
    if data.len() != size_of::<Ucred>() {
        return Err(EINVAL);
    }
    let word = |at: usize| u32::from_ne_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]]);
    Sender::claimed(&Ucred { pid: word(0) as i32, uid: word(4), gid: word(8) })
}

/// The buffer for the control messages of a receive.
pub struct Writer {
    addr: Vaddr,
    room: usize,
    written: usize,
}

impl Writer {
    /// `addr` 0: the program does not want any.
    pub fn new(addr: Vaddr, room: usize) -> Writer {
        Writer { addr, room: if addr == 0 { 0 } else { room }, written: 0 }
    }

    /// How much of the buffer was used.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Adds one control message; what does not fit is cut off.
    fn put(&mut self, kind: i32, data: &[u8], result: &mut MsgFlags) -> Result<()> {
        if self.room < HEADER {
            *result |= MsgFlags::CTRUNC;
            return Ok(());
        }
        let mut len = HEADER + data.len();
        if self.room < len {
            *result |= MsgFlags::CTRUNC;
            len = self.room;
        }
        mem::write(self.addr, &Header { len: len as u64, level: SOL_SOCKET, kind })?;
        mem::copy_to_user(self.addr.wrapping_add(HEADER), &data[..len - HEADER])?;
        self.advance(len);
        Ok(())
    }

    fn advance(&mut self, len: usize) {
        let used = align(len).min(self.room);
        self.addr = self.addr.wrapping_add(used);
        self.room -= used;
        self.written += used;
    }

    /// Gives the program descriptors of `files`, as many as there is room for.
    fn put_files(&mut self, files: Vec<Arc<File>>, cloexec: bool, result: &mut MsgFlags) {
        let fits = self.room.saturating_sub(HEADER) / size_of::<i32>();
        let table = Thread::current().files();
        let total = files.len();
        let mut given = 0;
        for file in files.into_iter().take(fits) {
            let Ok(fd) = table.install(file, cloexec, 0) else { break };
            let at = self.addr.wrapping_add(HEADER + given * size_of::<i32>());
            if mem::write(at, &fd).is_err() {
                // Nobody was told of it; another thread may have closed it meanwhile.
                let _ = table.close(fd);
                break;
            }
            given += 1;
        }
        if given < total {
            *result |= MsgFlags::CTRUNC;
        }
        if given > 0 {
            let len = HEADER + given * size_of::<i32>();
            let header = Header { len: len as u64, level: SOL_SOCKET, kind: SCM_RIGHTS };
            // As Linux: the descriptors are there, whether the program can be told or not.
            if mem::write(self.addr, &header).is_ok() {
                self.advance(len);
            }
        }
    }
}

/// A pidfd of the sender, for a socket with SO_PASSPIDFD. In place of a descriptor that can't be had stands the error.
fn put_pidfd(sender: &Sender, writer: &mut Writer, result: &mut MsgFlags) -> Result<()> {
    if writer.room < align(HEADER + size_of::<i32>()) {
        *result |= MsgFlags::CTRUNC;
        return Ok(());
    }
    if sender.pid.is_none() {
        return Ok(());
    }
    let pidfd = sender.pidfd.clone().ok_or(ESRCH).and_then(|pid_ref| pid_ref.open(OpenFlags::empty()));
    let table = Thread::current().files();
    let fd = pidfd.and_then(|file| table.install(file, true, 0));
    let value = fd.unwrap_or_else(|e| -(e as i32));
    let written = writer.put(SCM_PIDFD, &value.to_ne_bytes(), result);
    if let (Err(_), Ok(fd)) = (written, fd) {
        // Nobody was told of it; another thread may have closed it meanwhile.
        let _ = table.close(fd);
    }
    written
}

/// Writes what came with a message, in the order of Linux: credentials, descriptors, pidfd.
pub fn write(socket: &Socket, writer: &mut Writer, message: &mut Incoming) -> Result<()> {
    use super::base::Switches;
    let switches = socket.base().switches();
    let result = &mut message.result;
    if writer.addr == 0 {
        if switches.intersects(Switches::WANTS_SENDER) || message.files.is_some() {
            *result |= MsgFlags::CTRUNC;
        }
        message.files = None;
        return Ok(());
    }
    if switches.contains(Switches::PASS_CRED)
        && let Some(sender) = &message.sender
    {
        let ucred = sender.for_caller();
        let mut data = [0; size_of::<Ucred>()];
        data[..4].copy_from_slice(&ucred.pid.to_ne_bytes());
        data[4..8].copy_from_slice(&ucred.uid.to_ne_bytes());
        data[8..].copy_from_slice(&ucred.gid.to_ne_bytes());
        writer.put(SCM_CREDENTIALS, &data, result)?;
    }
    if let Some(files) = message.files.take() {
        let cloexec = message.flags.contains(MsgFlags::CMSG_CLOEXEC);
        writer.put_files(files.into_files(), cloexec, result);
    }
    if switches.contains(Switches::PASS_PIDFD)
        && let Some(sender) = &message.sender
    {
        put_pidfd(sender, writer, result)?;
    }
    Ok(())
}
