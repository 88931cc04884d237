//! Stream sockets: bytes without bounds.
//!
//! Bytes are in a [`ByteQueue`] of the receiver. Credentials and descriptors belong to ranges of them, the [`Segment`]s,
//! of which there are none as long as nobody uses such things. A receive never glues together bytes of different senders if
//! it was asked who sends, and stops behind bytes that brought descriptors (unix(7)).
//!
//! What is sent and not read is charged against the sender's SO_SNDBUF; a sender that had to wait is woken when three
//! quarters are free again, as in Linux.

use alloc::collections::VecDeque;
use core::sync::atomic::Ordering::Relaxed;

use ostd::sync::MutexGuard;

use super::{Core, State, UnixSocket, name, rights::InFlight, take_off};
use crate::{
    fs::{
        byte_queue::ByteQueue,
        caller,
        io::{ReadBuf, WriteBuf, moved_or},
    },
    net::{
        base::{Direction, Patience, SHUT_RECV, SHUT_SEND, Switches},
        credentials::Sender,
        message::{Incoming, MsgFlags, Outgoing, ReceivedFiles},
    },
    prelude::*,
};

/// What a segment counts beside its bytes, so that many small ones can't fill the memory.
const SEGMENT_COST: usize = 256;

/// Bytes that brought something along.
struct Segment {
    /// Positions in the stream since its beginning.
    start: u64,
    end: u64,
    sender: Option<Sender>,
    files: Option<InFlight>,
}

/// What a stream socket has received and not read.
#[derive(Default)]
pub struct Stream {
    bytes: ByteQueue,
    /// The position of the first byte.
    head: u64,
    /// In ascending order; they do not overlap.
    segments: VecDeque<Segment>,
}

impl Stream {
    #[inline]
    pub fn unread(&self) -> usize {
        self.bytes.len()
    }

    /// What counts against the sender's buffer.
    #[inline]
    pub fn used(&self) -> usize {
        self.bytes.len() + self.segments.len() * SEGMENT_COST
    }

    /// Takes everything out, for the end of the socket: what is returned is to be dropped without the lock.
    pub fn empty(&mut self) -> Vec<InFlight> {
        self.head += self.bytes.len() as u64;
        self.bytes.clear();
        core::mem::take(&mut self.segments).into_iter().filter_map(|segment| segment.files).collect()
    }

    /// The descriptors that are in it.
    pub fn in_flight(&self) -> impl Iterator<Item = &InFlight> {
        self.segments.iter().filter_map(|segment| segment.files.as_ref())
    }

    #[inline]
    fn write(
        &mut self,
        data: &mut WriteBuf,
        room: usize,
        sender: &Option<Sender>,
        files: &mut Option<InFlight>,
    ) -> Result<usize> {
        let start = self.head + self.bytes.len() as u64;
        let moved = self.bytes.write(data, room)?;
        if moved > 0 && (sender.is_some() || files.is_some()) {
            self.mark(start, start + moved as u64, sender, files.take());
        }
        Ok(moved)
    }

    fn mark(&mut self, start: u64, end: u64, sender: &Option<Sender>, files: Option<InFlight>) {
        if let Some(last) = self.segments.back_mut()
            && files.is_none()
            && last.files.is_none()
            && last.end == start
            && last.sender == *sender
        {
            last.end = end;
            return;
        }
        self.segments.push_back(Segment { start, end, sender: sender.clone(), files });
    }

    /// Moves bytes out; returns how many, and whether the receive ends here whatever room is left. `skip` bytes have been
    /// peeked at before.
    #[inline]
    fn read(
        &mut self,
        data: &mut ReadBuf,
        message: &mut Incoming,
        wants_sender: bool,
        skip: usize,
    ) -> Result<(usize, bool)> {
        let peek = message.flags.contains(MsgFlags::PEEK);
        if !peek && !wants_sender && self.segments.is_empty() {
            let moved = self.bytes.read(data, usize::MAX)?;
            self.head += moved as u64;
            return Ok((moved, false));
        }
        self.read_marked(data, message, wants_sender, if peek { Some(skip) } else { None })
    }

    fn read_marked(
        &mut self,
        data: &mut ReadBuf,
        message: &mut Incoming,
        wants_sender: bool,
        mut peek: Option<usize>,
    ) -> Result<(usize, bool)> {
        let mut total = 0;
        loop {
            let at = self.head + peek.unwrap_or(0) as u64;
            let end = self.head + self.bytes.len() as u64;
            if at >= end || data.left() == 0 {
                return Ok((total, false));
            }
            // The run of bytes from here on that belong together.
            let index = self.segments.partition_point(|segment| segment.end <= at);
            let segment = self.segments.get_mut(index);
            let (run_end, segment) = match segment {
                Some(segment) if segment.start <= at => (segment.end, Some(segment)),
                Some(segment) => (segment.start, None),
                None => (end, None),
            };
            if wants_sender {
                let sender = segment.as_ref().and_then(|s| s.sender.clone()).unwrap_or_else(Sender::unknown);
                match &message.sender {
                    Some(before) if *before != sender => return Ok((total, true)),
                    _ => message.sender = Some(sender),
                }
            }
            let wanted = (run_end - at) as usize;
            let moved = match peek {
                Some(skip) => self.bytes.peek(data, skip, wanted),
                None => self.bytes.read(data, wanted),
            };
            let moved = match moved {
                Ok(moved) => moved,
                Err(_) if total > 0 => return Ok((total, true)),
                Err(e) => return Err(e),
            };
            total += moved;
            let mut brought_files = false;
            if let Some(segment) = segment
                && segment.files.is_some()
            {
                brought_files = true;
                message.files = match peek {
                    Some(_) => segment.files.as_ref().map(|files| ReceivedFiles::Peeked(files.files())),
                    None => segment.files.take().map(ReceivedFiles::Taken),
                };
            }
            match &mut peek {
                Some(skip) => *skip += moved,
                None => {
                    self.head += moved as u64;
                    while self.segments.front().is_some_and(|segment| segment.end <= self.head) {
                        self.segments.pop_front();
                    }
                }
            }
            if brought_files || moved < wanted {
                return Ok((total, brought_files));
            }
        }
    }
}

/// The peer's queue with room for more. EPIPE if nobody will read it; the pending error.
fn wait_for_room<'a>(
    socket: &UnixSocket,
    peer: &'a Core,
    patience: Patience,
) -> Result<(MutexGuard<'a, Stream>, usize)> {
    let core = &*socket.core;
    let look = || {
        if let Err(e) = core.base.check_error() {
            return Some(Err(e));
        }
        if core.base.shutdown() & SHUT_SEND != 0 {
            return Some(Err(EPIPE));
        }
        let queue = peer.stream.lock();
        // Looked at with the queue locked: who closes it empties it after these are set.
        if peer.is_dead() || peer.base.shutdown() & SHUT_RECV != 0 {
            return Some(Err(EPIPE));
        }
        let room = core.send_buffer().saturating_sub(queue.used());
        (room > 0).then_some(Ok((queue, room)))
    };
    patience.wait(&core.base.writable, look)?
}

pub fn send(socket: &UnixSocket, data: &mut WriteBuf, message: &mut Outgoing) -> Result<usize> {
    let core = &*socket.core;
    if message.to.is_some() {
        return Err(if core.state() == State::Connected { EISCONN } else { EOPNOTSUPP });
    }
    let peer = socket.peer.get().ok_or(ENOTCONN)?;
    let result = send_to(socket, peer, data, message);
    if result == Err(EPIPE) && !message.flags.contains(MsgFlags::NOSIGNAL) {
        caller::raise_sigpipe();
    }
    result
}

fn send_to(
    socket: &UnixSocket,
    peer: &Arc<Core>,
    data: &mut WriteBuf,
    message: &mut Outgoing,
) -> Result<usize> {
    let core = &*socket.core;
    if core.base.shutdown() & SHUT_SEND != 0 {
        return Err(EPIPE);
    }
    let switches = core.base.switches() | peer.base.switches();
    if message.ancillary.is_none() && !switches.intersects(Switches::WANTS_SENDER) {
        return send_bytes(socket, peer, data, message.flags, &None, &mut None);
    }
    let sender = core.sender_for(peer, &mut message.ancillary);
    let mut files = take_off(message.ancillary.take(), peer)?;
    send_bytes(socket, peer, data, message.flags, &sender, &mut files)
}

/// Sends bytes and what they bring along.
fn send_bytes(
    socket: &UnixSocket,
    peer: &Core,
    data: &mut WriteBuf,
    flags: MsgFlags,
    sender: &Option<Sender>,
    files: &mut Option<InFlight>,
) -> Result<usize> {
    let total = data.left();
    let patience = socket.core.base.patience(Direction::Send, flags.contains(MsgFlags::DONTWAIT));
    let mut done = 0;
    while done < total {
        let step = wait_for_room(socket, peer, patience)
            .and_then(|(mut queue, room)| queue.write(data, room, sender, files));
        match step {
            Ok(moved) => {
                done += moved;
                peer.base.readable.wake_all();
                if data.left() + done < total {
                    // A fault ended the copy in the middle.
                    break;
                }
            }
            Err(e) => return moved_or(done, Err(e)),
        }
    }
    Ok(done)
}

/// What is to be read next.
enum Next<'a> {
    Data(MutexGuard<'a, Stream>),
    End,
}

/// The own queue with more than `skip` bytes in it, or the end. The pending error comes behind the data.
fn wait_for_data(core: &Core, skip: usize, patience: Patience) -> Result<Next<'_>> {
    let look = || {
        let queue = core.stream.lock();
        if queue.unread() > skip {
            return Some(Ok(Next::Data(queue)));
        }
        if let Err(e) = core.base.check_error() {
            return Some(Err(e));
        }
        (core.base.shutdown() & SHUT_RECV != 0).then_some(Ok(Next::End))
    };
    patience.wait(&core.base.readable, look)?
}

pub fn recv(socket: &UnixSocket, data: &mut ReadBuf, message: &mut Incoming) -> Result<usize> {
    let core = &*socket.core;
    let peer = socket.peer.get().ok_or(EINVAL)?;
    let flags = message.flags;
    let peek = flags.contains(MsgFlags::PEEK);
    let low = core.base.recv_low.load(Relaxed).min(data.left()).max(1);
    let target = if flags.contains(MsgFlags::WAITALL) { data.left() } else { low };
    let wants_sender = core.base.switches().intersects(Switches::WANTS_SENDER);
    let patience = core.base.patience(Direction::Recv, flags.contains(MsgFlags::DONTWAIT));
    let mut done = 0;
    loop {
        let next = wait_for_data(core, if peek { done } else { 0 }, patience);
        let mut queue = match next {
            Ok(Next::Data(queue)) => queue,
            Ok(Next::End) => break,
            Err(e) => return moved_or(done, Err(e)),
        };
        let before = queue.used();
        let step = queue.read(data, message, wants_sender, done);
        let after = queue.used();
        drop(queue);
        if !peer.is_roomy(before) && peer.is_roomy(after) {
            peer.base.writable.wake_all();
        }
        let (moved, stop) = match step {
            Ok(step) => step,
            Err(e) => return moved_or(done, Err(e)),
        };
        done += moved;
        if stop || done >= target || data.left() == 0 || moved == 0 {
            break;
        }
    }
    if message.wants_name && done > 0 {
        message.from = peer.name().map(|name| name::address(Some(&name)));
    }
    Ok(done)
}
