//! Datagram and sequenced-packet sockets: whole messages.
//!
//! A message is copied from the sender before anything is locked, and to the receiver after it has been taken off the queue.
//! It is charged against its sender's SO_SNDBUF until it is read. A socket that did not ask for messages (it is not
//! connected to their sender) takes [`MAX_DATAGRAMS`](super::MAX_DATAGRAMS) and one more; then senders wait, or poll it
//! and are on its list of hopefuls.

use alloc::collections::VecDeque;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::{Core, State, UnixSocket, name, rights::InFlight, take_off};
use crate::{
    fs::{
        byte_queue::ByteQueue,
        io::{ReadBuf, WriteBuf},
    },
    net::{
        AF_UNSPEC,
        address::SockAddr,
        base::{Direction, Patience, SHUT_RECV, SHUT_SEND, SockType, Switches},
        credentials::Sender,
        message::{Incoming, MsgFlags, Outgoing, ReceivedFiles},
    },
    prelude::*,
};

/// Messages up to this size are on the heap, larger ones in frames.
const SMALL: usize = 2048;
/// What a message counts beside its bytes: about what it costs Linux.
const MESSAGE_COST: usize = 768;
/// What must be left of a send buffer beside the longest message.
const RESERVED: usize = 32;

enum Payload {
    Small(Vec<u8>),
    Large(ByteQueue),
}

impl Payload {
    /// Copies a whole message. EFAULT, ENOMEM.
    fn take(data: &mut WriteBuf) -> Result<Payload> {
        let len = data.left();
        if len <= SMALL {
            let mut bytes = vec![0; len];
            if data.take(&mut bytes)? < len {
                return Err(EFAULT);
            }
            return Ok(Payload::Small(bytes));
        }
        let mut bytes = ByteQueue::default();
        if bytes.write(data, len)? < len {
            return Err(EFAULT);
        }
        Ok(Payload::Large(bytes))
    }

    fn len(&self) -> usize {
        match self {
            Payload::Small(bytes) => bytes.len(),
            Payload::Large(bytes) => bytes.len(),
        }
    }

    /// Copies as much as there is room for. EFAULT if not all of that could be.
    fn give(&self, data: &mut ReadBuf) -> Result<usize> {
        let wanted = self.len().min(data.left());
        if wanted == 0 {
            return Ok(0);
        }
        let moved = match self {
            Payload::Small(bytes) => data.put(bytes)?,
            Payload::Large(bytes) => bytes.peek(data, 0, usize::MAX)?,
        };
        if moved < wanted { Err(EFAULT) } else { Ok(moved) }
    }
}

/// One message on its way.
pub struct Message {
    payload: Payload,
    /// Who is charged for it, and whose name the receiver sees.
    from: Arc<Core>,
    sender: Option<Sender>,
    files: Option<InFlight>,
}

impl Message {
    fn cost(&self) -> usize {
        self.payload.len() + MESSAGE_COST
    }

    fn charge(&self) {
        self.from.charged.fetch_add(self.cost(), SeqCst);
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let cost = self.cost();
        let before = self.from.charged.fetch_sub(cost, SeqCst);
        if !self.from.is_roomy(before) && self.from.is_roomy(before - cost) {
            self.from.base.writable.wake_all();
        }
    }
}

/// What a socket has received and not read.
#[derive(Default)]
pub struct Packets(VecDeque<Message>);

impl Packets {
    /// Bytes in all messages.
    pub fn total(&self) -> usize {
        self.0.iter().map(|message| message.payload.len()).sum()
    }

    pub fn first_len(&self) -> usize {
        self.0.front().map_or(0, |message| message.payload.len())
    }

    /// Takes everything out: to be dropped without the lock.
    pub fn empty(&mut self) -> VecDeque<Message> {
        core::mem::take(&mut self.0)
    }

    /// The descriptors that are in it.
    pub fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.0.iter().filter_map(|message| message.files.as_ref())
    }
}

impl Core {
    /// Whether `other` sends to this socket alone.
    fn is_target_of(&self, other: &Core) -> bool {
        other.target.lock().as_ref().is_some_and(|target| core::ptr::eq(&**target, self))
    }

    /// Whether it takes messages from `sender`: from everybody, unless it is connected to somebody else.
    fn accepts_from(&self, sender: &Core) -> bool {
        self.target.lock().as_ref().is_none_or(|target| core::ptr::eq(&**target, sender))
    }

    /// Whether `sender` has to wait until it has read something.
    fn is_full_for(&self, sender: &Core) -> bool {
        self.is_full()
            && !core::ptr::eq(self, sender)
            && self.base.sock_type == SockType::Datagram
            && !sender.is_target_of(self)
    }

    /// There is room again, or never will be.
    pub(super) fn tell_hopefuls(&self) {
        self.room.wake_all();
        let hopefuls = core::mem::take(&mut *self.hopefuls.lock());
        for sender in hopefuls.iter().filter_map(Weak::upgrade) {
            sender.base.writable.wake_all();
        }
    }

    /// Takes everything off the queue.
    pub(super) fn drop_packets(&self) {
        let dropped = {
            let mut packets = self.packets.lock();
            self.waiting.store(0, SeqCst);
            packets.empty()
        };
        drop(dropped);
        self.tell_hopefuls();
    }
}

/// For poll: whether a datagram socket can't send to its peer as that is full. It is then told when there is room.
pub fn waits_for_target(core: &Arc<Core>) -> bool {
    if core.base.sock_type != SockType::Datagram {
        return false;
    }
    let Some(target) = core.target.lock().clone() else { return false };
    if !target.is_full_for(core) {
        return false;
    }
    {
        let mut hopefuls = target.hopefuls.lock();
        hopefuls.retain(|one| one.strong_count() > 0);
        if !hopefuls.iter().any(|one| core::ptr::eq(one.as_ptr(), Arc::as_ptr(core))) {
            hopefuls.push(Arc::downgrade(core));
        }
    }
    target.is_full_for(core) && !target.is_dead()
}

/// connect(2) of a datagram socket: sets where it sends to, and the only one that it receives from. AF_UNSPEC undoes it.
pub fn connect(socket: &UnixSocket, address: &SockAddr) -> Result<()> {
    let core = &socket.core;
    let family = address.family().ok_or(EINVAL)?;
    let other = if family == AF_UNSPEC {
        None
    } else {
        let name = name::parse(address)?;
        socket.autobind_if_wanted()?;
        let other = name::find(&name, SockType::Datagram)?;
        if !other.accepts_from(core) {
            return Err(EPERM);
        }
        Some(other)
    };
    let old = core::mem::replace(&mut *core.target.lock(), other.clone());
    core.set_state(if other.is_some() { State::Connected } else { State::Unconnected });
    if let Some(old) = old
        && other.as_ref().is_none_or(|other| !Arc::ptr_eq(other, &old))
    {
        disconnected(core, &old);
    }
    core.base.wake_all();
    Ok(())
}

/// A datagram socket has left its peer: what that had sent is lost, and it is told if it was connected in turn.
fn disconnected(core: &Arc<Core>, old: &Core) {
    if core.waiting.load(SeqCst) > 0 {
        core.drop_packets();
        if !old.is_dead() && core.is_target_of(old) {
            old.base.set_error(ECONNRESET);
            old.base.wake_all();
        }
    }
}

/// Room in the own send buffer.
fn wait_for_buffer(core: &Core, patience: Patience) -> Result<()> {
    let look = || {
        if let Err(e) = core.base.check_error() {
            return Some(Err(e));
        }
        if core.base.shutdown() & SHUT_SEND != 0 {
            return Some(Err(EPIPE));
        }
        (core.charged.load(SeqCst) < core.send_buffer()).then_some(Ok(()))
    };
    patience.wait(&core.base.writable, look)?
}

/// Sends one message, whole. Other than with streams a broken connection raises no signal.
pub fn send(socket: &UnixSocket, data: &mut WriteBuf, message: &mut Outgoing) -> Result<usize> {
    let core = &socket.core;
    let is_datagram = core.base.sock_type == SockType::Datagram;
    // A connection ignores where the caller wants a message to go.
    let name = match message.to {
        Some(address) if is_datagram => Some(name::parse(address)?),
        _ => None,
    };
    if name.is_none() && socket.other_end().is_none() {
        core.base.check_error()?;
        return Err(ENOTCONN);
    }
    socket.autobind_if_wanted()?;
    let len = data.left();
    if len + RESERVED > core.send_buffer() {
        return Err(EMSGSIZE);
    }
    let patience = core.base.patience(Direction::Send, message.flags.contains(MsgFlags::DONTWAIT));
    wait_for_buffer(core, patience)?;
    let payload = Payload::take(data)?;
    let mut ancillary = message.ancillary.take();
    let mut packet = Message { payload, from: core.clone(), sender: None, files: None };
    packet.charge();
    loop {
        let other = match &name {
            Some(name) => name::find(name, SockType::Datagram)?,
            None => socket.other_end().ok_or(ECONNREFUSED)?,
        };
        if other.is_dead() && name.is_none() {
            return Err(lost_peer(core, &other));
        }
        if !other.accepts_from(core) {
            return Err(EPERM);
        }
        if packet.sender.is_none() {
            packet.sender = core.sender_for(&other, &mut ancillary);
        }
        if packet.files.is_none() {
            packet.files = take_off(ancillary.take(), &other)?;
        }
        packet = match deliver(core, &other, packet)? {
            None => return Ok(len),
            Some(packet) => packet,
        };
        let gone = || other.is_dead() || other.base.shutdown() & SHUT_RECV != 0;
        patience.wait(&other.room, || (gone() || !other.is_full_for(core)).then_some(()))?;
    }
}

/// The peer has been closed: what a send returns.
fn lost_peer(core: &Core, other: &Core) -> Errno {
    if core.base.sock_type == SockType::SeqPacket {
        return EPIPE;
    }
    if other.is_target_of(core) {
        let target = core.target.lock().take();
        drop(target);
        core.set_state(State::Unconnected);
    }
    ECONNREFUSED
}

/// Puts a message into the receiver's queue; gives it back if there is no room, or it has just been closed. EPIPE if it
/// does not want any more.
fn deliver(core: &Core, other: &Core, packet: Message) -> Result<Option<Message>> {
    let mut queue = other.packets.lock();
    // Looked at with the queue locked: who closes it empties it after this is set.
    if other.is_dead() {
        return Ok(Some(packet));
    }
    if other.base.shutdown() & SHUT_RECV != 0 {
        drop(queue);
        return Err(EPIPE);
    }
    if other.is_full_for(core) {
        return Ok(Some(packet));
    }
    other.waiting.fetch_add(1, SeqCst);
    queue.0.push_back(packet);
    drop(queue);
    other.base.readable.wake_all();
    Ok(None)
}

/// The own queue with a message in it; `None` at the end of a connection.
fn wait_for_message(core: &Core, patience: Patience) -> Result<Option<ostd::sync::MutexGuard<'_, Packets>>> {
    let look = || {
        // Other than with streams, the error comes first.
        if let Err(e) = core.base.check_error() {
            return Some(Err(e));
        }
        let queue = core.packets.lock();
        if !queue.0.is_empty() {
            return Some(Ok(Some(queue)));
        }
        // A datagram socket that does not wait can't see its end.
        let sees_end = patience != Patience::None || core.is_connection_based();
        (sees_end && core.base.shutdown() & SHUT_RECV != 0).then_some(Ok(None))
    };
    patience.wait(&core.base.readable, look)?
}

pub fn recv(socket: &UnixSocket, data: &mut ReadBuf, message: &mut Incoming) -> Result<usize> {
    let core = &*socket.core;
    if core.is_connection_based() && socket.peer.get().is_none() {
        return Err(ENOTCONN);
    }
    let patience = core.base.patience(Direction::Recv, message.flags.contains(MsgFlags::DONTWAIT));
    let Some(mut queue) = wait_for_message(core, patience)? else { return Ok(0) };
    if message.flags.contains(MsgFlags::PEEK) {
        let Some(packet) = queue.0.front() else { return Ok(0) };
        let files = packet.files.as_ref().map(|files| ReceivedFiles::Peeked(files.files()));
        return give(core, packet, files, data, message);
    }
    let Some(mut packet) = queue.0.pop_front() else { return Ok(0) };
    core.waiting.fetch_sub(1, SeqCst);
    drop(queue);
    core.tell_hopefuls();
    let files = packet.files.take().map(ReceivedFiles::Taken);
    give(core, &packet, files, data, message)
}

/// Hands a message to the program.
fn give(
    core: &Core,
    packet: &Message,
    files: Option<ReceivedFiles>,
    data: &mut ReadBuf,
    message: &mut Incoming,
) -> Result<usize> {
    let len = packet.payload.len();
    let moved = packet.payload.give(data)?;
    if moved < len {
        message.result |= MsgFlags::TRUNC;
    }
    if core.base.switches().intersects(Switches::WANTS_SENDER) {
        message.sender = Some(packet.sender.clone().unwrap_or_else(Sender::unknown));
    }
    message.files = files;
    if message.wants_name {
        message.from = packet.from.name().map(|name| name::address(Some(&name)));
    }
    Ok(if message.flags.contains(MsgFlags::TRUNC) { len } else { moved })
}

/// How full a socket's queue may be before senders wait: kept where listen(2) changes it too.
pub fn set_limit(core: &Core, limit: usize) {
    core.max_waiting.store(limit, Relaxed);
}
