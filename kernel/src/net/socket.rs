//! An open file that is a socket.
//!
//! A [`Socket`] is what the file has; its family's part is behind [`Protocol`]. It has an inode of its own without a name,
//! of type S_IFSOCK, which /proc shows as `socket:[number]`.

use core::{
    any::Any,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use spin::Once;

use super::{
    address::SockAddr,
    base::SockBase,
    message::{Incoming, MsgFlags, Outgoing},
    option::OptionBuf,
};
use crate::{
    fs::{
        File, OpenFlags, caller,
        file::FileOps,
        inode::{DevId, FileType, Inode, InodeBase, NewNode},
        io::{ReadBuf, WriteBuf},
        mount,
        poll::{PollEvents, PollTable},
    },
    prelude::*,
};

/// What a family of protocols does with a socket; dropped when the last descriptor is gone. The defaults are for what a
/// family does not have.
#[allow(unused_variables)]
pub trait Protocol: Send + Sync {
    fn base(&self) -> &SockBase;

    /// Itself, for what only the family knows.
    fn as_any(&self) -> &dyn Any;

    /// The socket has become an open file.
    fn opened(&self, file: &Arc<File>) {}

    fn bind(&self, file: &File, address: &SockAddr) -> Result<()> {
        Err(EOPNOTSUPP)
    }

    fn connect(&self, address: &SockAddr, nonblocking: bool) -> Result<()> {
        Err(EOPNOTSUPP)
    }

    fn listen(&self, backlog: i32) -> Result<()> {
        Err(EOPNOTSUPP)
    }

    /// Takes a connection that waits.
    fn accept(&self, nonblocking: bool) -> Result<Box<dyn Protocol>> {
        Err(EOPNOTSUPP)
    }

    /// `how`: bits of [`SHUT_RECV`](super::base::SHUT_RECV) and [`SHUT_SEND`](super::base::SHUT_SEND).
    fn shutdown(&self, how: u8) -> Result<()> {
        Err(EOPNOTSUPP)
    }

    /// getsockname(2).
    fn local_name(&self) -> Result<SockAddr>;

    /// getpeername(2).
    fn peer_name(&self) -> Result<SockAddr>;

    /// Sends a message, or bytes of a stream; returns how many bytes. What the message takes along is taken out of it.
    fn send(&self, data: &mut WriteBuf, message: &mut Outgoing) -> Result<usize>;

    /// Receives; returns how many bytes, or with MSG_TRUNC how long the message was.
    fn recv(&self, data: &mut ReadBuf, message: &mut Incoming) -> Result<usize>;

    fn poll<'a>(&'a self, table: &mut PollTable<'a>) -> PollEvents;

    /// For SO_ACCEPTCONN.
    fn is_listening(&self) -> bool {
        false
    }

    /// SIOCINQ.
    fn unread(&self) -> Result<usize> {
        Err(ENOTTY)
    }

    /// SIOCOUTQ.
    fn unsent(&self) -> Result<usize> {
        Err(ENOTTY)
    }

    /// An option of level SOL_SOCKET that is not common to all families.
    fn socket_option(&self, name: i32, out: &mut OptionBuf) -> Result<()> {
        Err(ENOPROTOOPT)
    }

    /// An option of another level.
    fn option(&self, level: i32, name: i32, out: &mut OptionBuf) -> Result<()> {
        Err(EOPNOTSUPP)
    }

    fn set_option(&self, level: i32, name: i32, addr: Vaddr, len: usize) -> Result<()> {
        Err(EOPNOTSUPP)
    }
}

/// See the [module's description](self).
pub struct Socket {
    protocol: Box<dyn Protocol>,
    ino: u64,
}

impl Socket {
    /// Makes an open file of a socket. Of `flags`, O_NONBLOCK counts.
    pub fn open(protocol: Box<dyn Protocol>, flags: OpenFlags) -> Result<Arc<File>> {
        static DEV: Once<DevId> = Once::new();
        static NEXT_INO: AtomicU64 = AtomicU64::new(1);
        let (uid, gid) = caller::fs_ids();
        let new = NewNode { mode: FileType::Socket.mode_bits() | 0o777, uid, gid, rdev: DevId(0) };
        let ino = NEXT_INO.fetch_add(1, Relaxed);
        let base = InodeBase::new(ino, *DEV.call_once(mount::anonymous_dev), new);
        let socket = Socket { protocol, ino };
        let flags = OpenFlags::RDWR | flags & OpenFlags::NONBLOCK;
        let file = File::new(Box::new(socket), Arc::new(SocketInode { base }), None, flags)?;
        if let Some(socket) = file.downcast::<Socket>() {
            socket.protocol.opened(&file);
        }
        Ok(file)
    }

    /// The socket behind an open file. ENOTSOCK.
    #[inline]
    pub fn of(file: &File) -> Result<&Socket> {
        file.downcast().ok_or(ENOTSOCK)
    }

    #[inline]
    pub fn protocol(&self) -> &dyn Protocol {
        &*self.protocol
    }

    #[inline]
    pub fn base(&self) -> &SockBase {
        self.protocol.base()
    }
}

/// MSG_DONTWAIT for a file with O_NONBLOCK.
#[inline]
pub fn wait_flag(file: &File) -> MsgFlags {
    if file.is_nonblocking() { MsgFlags::DONTWAIT } else { MsgFlags::empty() }
}

const SIOCOUTQ: u32 = 0x5411;

impl FileOps for Socket {
    #[inline]
    fn read_at(&self, file: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        if buf.left() == 0 {
            return Ok(0);
        }
        self.protocol.recv(buf, &mut Incoming::new(wait_flag(file)))
    }

    #[inline]
    fn write_at(&self, file: &File, buf: &mut WriteBuf, _: u64) -> Result<(usize, u64)> {
        Ok((self.protocol.send(buf, &mut Outgoing::plain(wait_flag(file)))?, 0))
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        self.protocol.poll(table)
    }

    fn has_owner(&self) -> bool {
        true
    }

    fn can_poll(&self) -> bool {
        true
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn available(&self, _: &File) -> Result<usize> {
        self.protocol.unread()
    }

    fn ioctl(&self, _: &File, request: u32, arg: usize) -> Result<usize> {
        if request != SIOCOUTQ {
            return Err(ENOTTY);
        }
        let bytes = self.protocol.unsent()?;
        ostd::user::mem::write(arg, &i32::try_from(bytes).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn anonymous_name(&self) -> String {
        format!("socket:[{}]", self.ino)
    }
}

/// The inode of a socket.
struct SocketInode {
    base: InodeBase,
}

impl Inode for SocketInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }
}
