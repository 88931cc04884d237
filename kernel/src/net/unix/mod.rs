//! AF_UNIX: sockets between processes of one machine (unix(7)).
//!
//! # Data
//! * [`UnixSocket`]: what an open file has: its own [`Core`] and, once connected, its peer's.
//! * [`Core`]: what others see of a socket: its name, what it has received and not yet read, the connections that wait to be
//!   accepted. Senders put into the *receiver's* queue. A closed core refers to no other, so that there are no cycles.
//! * [`stream`]: the queue of a stream socket: bytes in frames, with marks where ancillary data came in.
//! * [`packet`]: the queue of the other two types: whole messages.
//! * [`name`]: addresses and who is bound to them.
//! * [`connection`]: listen, connect, accept.
//! * [`rights`], [`gc`]: descriptors on their way, and how cycles of sockets that hold one another are found.
//! * [`report`] makes /proc/net/unix.
//!
//! # Locks
//! Sleeping: [`UNIX_BIND`](lock_order::UNIX_BIND) while a socket gets its name; [`UNIX_GC`](lock_order::UNIX_GC) for the
//! sockets in flight; [`UNIX_QUEUE`](lock_order::UNIX_QUEUE) of a receiver, held while data is copied from or to a program.
//! Spin: the tables of names and sockets, a socket's small state. A send or receive takes the receiver's queue and nothing
//! that sockets share.
//!
//! # Rules
//! The order of checks is Linux's, as which errno wins is visible. A wait is restarted after a signal unless it has a
//! timeout (rules 7.36, 7.37). Not built in: MSG_OOB (EOPNOTSUPP), SO_PEEK_OFF, SIOCUNIXFILE, io_uring.

mod connection;
pub mod gc;
mod name;
mod packet;
pub mod report;
pub mod rights;
mod stream;

use core::{
    any::Any,
    sync::atomic::{
        AtomicBool, AtomicU8, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

use ostd::sync::{Mutex, SpinLock, WaitQueue};
use spin::Once;

pub use self::connection::MAX_BACKLOG;
use self::{connection::Backlog, name::Name, packet::Packets, stream::Stream};
use super::{
    AF_UNIX,
    address::SockAddr,
    base::{SHUT_BOTH, SHUT_RECV, SHUT_SEND, SockBase, SockType, Switches},
    credentials::{Peer, Sender},
    message::{Ancillary, Incoming, MsgFlags, Outgoing},
    option::{OptionBuf, SO_PEERCRED, SO_PEERGROUPS, SO_PEERPIDFD},
    socket::Protocol,
};
use crate::{
    fs::{
        File, OpenFlags,
        io::{ReadBuf, WriteBuf},
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    process::Thread,
};

/// /proc/sys/net/unix/max_dgram_qlen: more than this many messages wait in no socket that did not ask for them.
pub const MAX_DATAGRAMS: usize = 10;

/// Where a socket is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Unconnected = 0,
    Listening = 1,
    Connected = 2,
}

/// What others see of a socket: see the [module's description](self).
pub struct Core {
    this: Weak<Core>,
    base: SockBase,
    state: AtomicU8,
    /// Closed: nobody will ever read what is sent to it.
    dead: AtomicBool,
    /// What it is bound to.
    name: SpinLock<Option<Arc<Name>>>,
    /// Held while it is bound.
    bind_lock: Mutex<()>,
    /// Received by a stream socket.
    stream: Mutex<Stream>,
    /// Received by a socket of another type.
    packets: Mutex<Packets>,
    /// How many messages, or connections, wait.
    waiting: AtomicUsize,
    /// More than this many is full.
    max_waiting: AtomicUsize,
    /// Woken when it is no longer full.
    room: Arc<WaitQueue>,
    /// Bytes that it has sent in messages and nobody has read.
    charged: AtomicUsize,
    backlog: SpinLock<Backlog>,
    /// Who wants to send to it and found it full.
    hopefuls: SpinLock<Vec<Weak<Core>>>,
    /// Where a datagram socket sends to by default.
    target: SpinLock<Option<Arc<Core>>>,
    peer: SpinLock<Option<Arc<Peer>>>,
    /// Its open file, once there is one.
    file: Once<Weak<File>>,
}

impl Core {
    fn new(sock_type: SockType, protocol: i32) -> Arc<Core> {
        let core = Arc::new_cyclic(|this: &Weak<Core>| Core {
            this: this.clone(),
            base: SockBase::new(AF_UNIX, sock_type, protocol),
            state: AtomicU8::new(State::Unconnected as u8),
            dead: AtomicBool::new(false),
            name: SpinLock::new(lock_order::UNIX_STATE, None),
            bind_lock: Mutex::new(lock_order::UNIX_BIND, ()),
            stream: Mutex::new(lock_order::UNIX_QUEUE, Stream::default()),
            packets: Mutex::new(lock_order::UNIX_QUEUE, Packets::default()),
            waiting: AtomicUsize::new(0),
            max_waiting: AtomicUsize::new(MAX_DATAGRAMS),
            room: Arc::new(WaitQueue::new()),
            charged: AtomicUsize::new(0),
            backlog: SpinLock::new(lock_order::UNIX_BACKLOG, Backlog::default()),
            hopefuls: SpinLock::new(lock_order::UNIX_STATE, Vec::new()),
            target: SpinLock::new(lock_order::UNIX_STATE, None),
            peer: SpinLock::new(lock_order::UNIX_STATE, None),
            file: Once::new(),
        });
        report::add(&core);
        core
    }

    /// Another reference to it; `None` while it is dropped.
    fn this(&self) -> Option<Arc<Core>> {
        self.this.upgrade()
    }

    /// What it is known by, where an order of sockets is needed.
    fn key(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    fn state(&self) -> State {
        match self.state.load(SeqCst) {
            1 => State::Listening,
            2 => State::Connected,
            _ => State::Unconnected,
        }
    }

    /// Goes from one state to another, unless it is in yet another.
    fn change_state(&self, from: State, to: State) -> bool {
        self.state.compare_exchange(from as u8, to as u8, SeqCst, SeqCst).is_ok()
    }

    fn set_state(&self, to: State) {
        self.state.store(to as u8, SeqCst);
    }

    fn is_dead(&self) -> bool {
        self.dead.load(SeqCst)
    }

    fn name(&self) -> Option<Arc<Name>> {
        self.name.lock().clone()
    }

    fn send_buffer(&self) -> usize {
        self.base.send_buffer.load(Relaxed)
    }

    /// More is waiting than it wants.
    fn is_full(&self) -> bool {
        self.waiting.load(SeqCst) > self.max_waiting.load(Relaxed)
    }

    /// Whether less than a quarter of `used` bytes of the send buffer is in use: what poll calls writable.
    fn is_roomy(&self, used: usize) -> bool {
        used * 4 <= self.send_buffer()
    }

    fn is_connection_based(&self) -> bool {
        self.base.sock_type != SockType::Datagram
    }

    /// Who sent a message from this socket to `to`, if one of them wants to know it or the sender said it.
    #[inline]
    fn sender_for(&self, to: &Core, ancillary: &mut Option<Ancillary>) -> Option<Sender> {
        let claimed = ancillary.as_mut().and_then(|ancillary| ancillary.sender.take());
        let switches = self.base.switches() | to.base.switches();
        if !switches.intersects(Switches::WANTS_SENDER) {
            return claimed;
        }
        let mut sender = claimed.unwrap_or_else(Sender::current);
        if switches.contains(Switches::PASS_PIDFD) {
            sender.keep_for_pidfd();
        }
        Some(sender)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        report::remove(self);
    }
}

/// What an open file has of a socket.
pub struct UnixSocket {
    core: Arc<Core>,
    /// The other end of a connection.
    peer: Once<Arc<Core>>,
}

fn parse_type(socket_type: u32, protocol: i32) -> Result<SockType> {
    if protocol != 0 && protocol != i32::from(AF_UNIX) {
        return Err(EPROTONOSUPPORT);
    }
    match socket_type {
        1 => Ok(SockType::Stream),
        // SOCK_RAW is taken for SOCK_DGRAM, as BSD did.
        2 | 3 => Ok(SockType::Datagram),
        5 => Ok(SockType::SeqPacket),
        _ => Err(ESOCKTNOSUPPORT),
    }
}

pub fn create(socket_type: u32, protocol: i32) -> Result<UnixSocket> {
    let sock_type = parse_type(socket_type, protocol)?;
    if !ostd::mm::kernel_reserve_ok(1) {
        return Err(ENOMEM);
    }
    Ok(UnixSocket::new(sock_type))
}

/// Two sockets that are each other's peers.
pub fn create_pair(socket_type: u32, protocol: i32) -> Result<(UnixSocket, UnixSocket)> {
    let (a, b) = (create(socket_type, protocol)?, create(socket_type, protocol)?);
    let me = Peer::current();
    for (one, other) in [(&a, &b), (&b, &a)] {
        *one.core.peer.lock() = me.clone();
        if one.core.is_connection_based() {
            one.peer.call_once(|| other.core.clone());
        } else {
            *one.core.target.lock() = Some(other.core.clone());
        }
        one.core.set_state(State::Connected);
    }
    Ok((a, b))
}

impl UnixSocket {
    fn new(sock_type: SockType) -> UnixSocket {
        UnixSocket { core: Core::new(sock_type, 0), peer: Once::new() }
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The socket at the other end, dead or alive.
    fn other_end(&self) -> Option<Arc<Core>> {
        match self.peer.get() {
            Some(peer) => Some(peer.clone()),
            None => self.core.target.lock().clone(),
        }
    }

    /// A socket that wants credentials gets a name before it sends, so that it can be answered.
    fn autobind_if_wanted(&self) -> Result<()> {
        if self.core.base.switches().intersects(Switches::WANTS_SENDER) && self.core.name.lock().is_none() {
            name::autobind(&self.core)?;
        }
        Ok(())
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        connection::release(self);
    }
}

/// The descriptors of a message on their way to `to`.
fn take_off(ancillary: Option<Ancillary>, to: &Core) -> Result<Option<rights::InFlight>> {
    let files = ancillary.map(|a| a.files).filter(|files| !files.is_empty());
    let Some(files) = files else { return Ok(None) };
    if to.base.switches().contains(Switches::NO_RIGHTS) {
        return Err(EPERM);
    }
    rights::InFlight::take_off(files, to).map(Some)
}

impl Protocol for UnixSocket {
    #[inline]
    fn base(&self) -> &SockBase {
        &self.core.base
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn opened(&self, file: &Arc<File>) {
        self.core.file.call_once(|| Arc::downgrade(file));
    }

    fn bind(&self, file: &File, address: &SockAddr) -> Result<()> {
        name::bind(&self.core, file, address)
    }

    fn connect(&self, address: &SockAddr, nonblocking: bool) -> Result<()> {
        match self.core.base.sock_type {
            SockType::Datagram => packet::connect(self, address),
            _ => connection::connect(self, address, nonblocking),
        }
    }

    fn listen(&self, backlog: i32) -> Result<()> {
        connection::listen(self, backlog)
    }

    fn accept(&self, nonblocking: bool) -> Result<Box<dyn Protocol>> {
        Ok(Box::new(connection::accept(self, nonblocking)?))
    }

    /// As in Linux a socket without a connection can be shut down too.
    fn shutdown(&self, how: u8) -> Result<()> {
        self.core.base.shut_down(how);
        if let Some(peer) = self.peer.get() {
            let mut theirs = 0;
            if how & SHUT_RECV != 0 {
                theirs |= SHUT_SEND;
            }
            if how & SHUT_SEND != 0 {
                theirs |= SHUT_RECV;
            }
            peer.base.shut_down(theirs);
        }
        // Whoever waits to connect, or to send, looks again.
        self.core.room.wake_all();
        Ok(())
    }

    fn local_name(&self) -> Result<SockAddr> {
        Ok(name::address(self.core.name().as_deref()))
    }

    fn peer_name(&self) -> Result<SockAddr> {
        let peer = self.other_end().ok_or(ENOTCONN)?;
        Ok(name::address(peer.name().as_deref()))
    }

    #[inline]
    fn send(&self, data: &mut WriteBuf, message: &mut Outgoing) -> Result<usize> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(EOPNOTSUPP);
        }
        match self.core.base.sock_type {
            SockType::Stream => stream::send(self, data, message),
            _ => packet::send(self, data, message),
        }
    }

    #[inline]
    fn recv(&self, data: &mut ReadBuf, message: &mut Incoming) -> Result<usize> {
        if message.flags.contains(MsgFlags::OOB) {
            return Err(if self.core.base.sock_type == SockType::Stream { EINVAL } else { EOPNOTSUPP });
        }
        match self.core.base.sock_type {
            SockType::Stream => stream::recv(self, data, message),
            _ => packet::recv(self, data, message),
        }
    }

    fn poll<'a>(&'a self, table: &mut PollTable<'a>) -> PollEvents {
        let core = &*self.core;
        table.add(&core.base.readable);
        table.add(&core.base.writable);
        let state = core.state();
        let shutdown = core.base.shutdown();
        let mut events = PollEvents::empty();
        events.set(PollEvents::ERR, core.base.has_error());
        events.set(PollEvents::HUP, shutdown == SHUT_BOTH);
        if shutdown & SHUT_RECV != 0 {
            events |= PollEvents::RDHUP | PollEvents::READABLE;
        }
        if core.is_connection_based() && state == State::Unconnected {
            events |= PollEvents::HUP;
        }
        let (readable, used) = match core.base.sock_type {
            SockType::Stream if state != State::Listening => {
                let used = self.peer.get().map_or(0, |peer| peer.stream.lock().used());
                (core.stream.lock().unread() > 0, used)
            }
            _ => (core.waiting.load(SeqCst) > 0, core.charged.load(SeqCst)),
        };
        if readable {
            events |= PollEvents::READABLE;
        }
        if state != State::Listening && core.is_roomy(used) && !packet::waits_for_target(&self.core) {
            events |= PollEvents::WRITABLE | PollEvents::WRBAND;
        }
        events
    }

    fn is_listening(&self) -> bool {
        self.core.state() == State::Listening
    }

    fn unread(&self) -> Result<usize> {
        match (self.core.base.sock_type, self.core.state()) {
            (_, State::Listening) => Err(EINVAL),
            (SockType::Stream, _) => Ok(self.core.stream.lock().unread()),
            // All that waits in a connection, but the next datagram only.
            (SockType::SeqPacket, _) => Ok(self.core.packets.lock().total()),
            (SockType::Datagram, _) => Ok(self.core.packets.lock().first_len()),
        }
    }

    fn unsent(&self) -> Result<usize> {
        match self.core.base.sock_type {
            SockType::Stream => Ok(self.peer.get().map_or(0, |peer| peer.stream.lock().used())),
            _ => Ok(self.core.charged.load(SeqCst)),
        }
    }

    fn socket_option(&self, name: i32, out: &mut OptionBuf) -> Result<()> {
        let peer = self.core.peer.lock().clone();
        match name {
            SO_PEERCRED => {
                let (pid, uid, gid) = peer.map_or((0, u32::MAX, u32::MAX), |peer| {
                    let ucred = peer.for_caller();
                    (ucred.pid, ucred.uid, ucred.gid)
                });
                out.put_int(pid);
                out.put(&uid.to_ne_bytes());
                out.put(&gid.to_ne_bytes());
                Ok(())
            }
            SO_PEERPIDFD => {
                let peer = peer.ok_or(ENODATA)?;
                let file = peer.pidfd.clone().ok_or(ESRCH)?.open(OpenFlags::empty())?;
                out.put_int(Thread::current().files().install(file, true, 0)?);
                Ok(())
            }
            SO_PEERGROUPS => {
                let groups = peer.ok_or(ENODATA)?.groups.clone();
                let enough = groups.len() * size_of::<u32>() <= out.room;
                groups.iter().for_each(|gid| out.put(&gid.to_ne_bytes()));
                if enough { Ok(()) } else { Err(ERANGE) }
            }
            _ => Err(ENOPROTOOPT),
        }
    }
}
