//! System V message queues (msgget(2), msgsnd(2), msgrcv(2), msgctl(2)).
//!
//! **Structures.** A [`Queue`] has its messages, oldest first, and the calls that wait: senders for room, receivers for a message.
//! One registry has all queues.
//!
//! | file | what |
//! |---|---|
//! | here | queues, limits, sending and receiving |
//! | [`control`] | msgctl(2) |
//! | [`report`] | /proc/sysvipc/msg |
//!
//! **Order.** A message goes to the receiver that has waited longest of those who want it, past the queue; room goes to the sender
//! that has waited longest of those whose message fits. See [`Waiter`]. A call that is possible at once does not queue
//! behind others, as on Linux.
//!
//! A wait that a signal ends is EINTR, whatever the handler's SA_RESTART says, and goes on if there is no handler, as after a stop
//! and a continue (rules 7.23, 7.37).
//!
//! **Lock.** One, SYSV_MSG, over all queues. Memory for a message is allocated before it is taken and freed after.

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use ostd::sync::SpinLock;

use super::{Ids, LastPid, Perm, READ, WRITE, check_room, now_seconds};
use crate::{
    ipc::waiter::Waiter,
    lock_order,
    prelude::*,
    process::{Credentials, Thread},
};

pub mod control;
pub mod report;
#[cfg(feature = "ktest")]
mod tests;

pub const IPC_NOWAIT: i32 = 0o4000;
const MSG_NOERROR: i32 = 0o10000;
const MSG_EXCEPT: i32 = 0o20000;
const MSG_COPY: i32 = 0o40000;

/// kernel.msgmax, msgmnb, msgmni: bytes of a message, bytes of a new queue, queues.
pub static MAX_MESSAGE: AtomicI32 = AtomicI32::new(8192);
pub static MAX_BYTES: AtomicI32 = AtomicI32::new(16384);
pub static MAX_QUEUES: AtomicI32 = AtomicI32::new(32000);

/// A message. The type is positive.
#[derive(Debug)]
pub struct Message {
    pub kind: i64,
    pub data: Vec<u8>,
}

impl Message {
    /// With room for `len` bytes.
    ///
    /// # Errors
    /// EINVAL for more than kernel.msgmax, ENOMEM.
    pub fn with_len(len: usize) -> Result<Message> {
        if len > MAX_MESSAGE.load(Relaxed).max(0) as usize {
            return Err(EINVAL);
        }
        check_room(len)?;
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(|_| ENOMEM)?;
        data.resize(len, 0);
        Ok(Message { kind: 0, data })
    }

    fn copy(&self) -> Result<Message> {
        let mut copy = Message { kind: self.kind, data: Vec::new() };
        copy.data.try_reserve_exact(self.data.len()).map_err(|_| ENOMEM)?;
        copy.data.extend_from_slice(&self.data);
        Ok(copy)
    }
}

/// Which message a receiver wants.
#[derive(Clone, Copy)]
enum Wanted {
    First,
    Of(i64),
    NotOf(i64),
    /// The lowest type up to this one.
    UpTo(i64),
}

impl Wanted {
    fn new(kind: i64, flags: i32) -> Wanted {
        match kind {
            0 => Wanted::First,
            ..0 => Wanted::UpTo(kind.checked_neg().unwrap_or(i64::MAX)),
            _ if flags & MSG_EXCEPT != 0 => Wanted::NotOf(kind),
            _ => Wanted::Of(kind),
        }
    }

    fn takes(self, kind: i64) -> bool {
        match self {
            Wanted::First => true,
            Wanted::Of(wanted) => kind == wanted,
            Wanted::NotOf(other) => kind != other,
            Wanted::UpTo(highest) => kind <= highest,
        }
    }

    /// The place of the message that it gets.
    fn find(self, messages: &VecDeque<Message>) -> Option<usize> {
        let mut fitting = messages.iter().enumerate().filter(|(_, message)| self.takes(message.kind));
        let found = match self {
            Wanted::UpTo(_) => fitting.min_by_key(|(_, message)| message.kind),
            _ => fitting.next(),
        };
        found.map(|(at, _)| at)
    }
}

/// A call that waits for room.
struct Sender {
    waiter: Arc<Waiter<()>>,
    message: Message,
    creds: Arc<Credentials>,
    pid: LastPid,
}

/// A call that waits for a message.
struct Receiver {
    waiter: Arc<Waiter<Message>>,
    wanted: Wanted,
    /// The longest message that it takes.
    longest: usize,
    creds: Arc<Credentials>,
    pid: LastPid,
}

struct Queue {
    perm: Perm,
    messages: VecDeque<Message>,
    senders: VecDeque<Sender>,
    receivers: VecDeque<Receiver>,
    /// In all messages, and the most there may be.
    bytes: usize,
    max_bytes: usize,
    last_sender: Option<LastPid>,
    last_receiver: Option<LastPid>,
    sent: i64,
    received: i64,
    changed: i64,
}

static REGISTRY: SpinLock<Ids<Queue>> = SpinLock::new(lock_order::SYSV_MSG, Ids::new());

impl Queue {
    fn new(perm: Perm) -> Queue {
        Queue {
            perm,
            messages: VecDeque::new(),
            senders: VecDeque::new(),
            receivers: VecDeque::new(),
            bytes: 0,
            max_bytes: MAX_BYTES.load(Relaxed).max(0) as usize,
            last_sender: None,
            last_receiver: None,
            sent: 0,
            received: 0,
            changed: now_seconds(),
        }
    }

    /// Empty messages count too, or there would be no end of them.
    fn has_room(&self, len: usize) -> bool {
        self.bytes.saturating_add(len) <= self.max_bytes && self.messages.len() < self.max_bytes
    }

    /// Gives a message to the first who waits for it, or else puts it last.
    fn put(&mut self, message: Message, by: LastPid) {
        self.last_sender = Some(by);
        self.sent = now_seconds();
        let mut at = 0;
        while let Some(receiver) = self.receivers.get(at) {
            if !receiver.wanted.takes(message.kind) {
                at += 1;
                continue;
            }
            let Some(receiver) = self.receivers.remove(at) else { break };
            if message.data.len() > receiver.longest {
                receiver.waiter.finish(Err(E2BIG));
                continue;
            }
            self.last_receiver = Some(receiver.pid);
            self.received = now_seconds();
            receiver.waiter.finish(Ok(message));
            return;
        }
        self.bytes += message.data.len();
        self.messages.push_back(message);
    }

    /// Takes the message at `at` out, and lets senders in.
    fn take(&mut self, at: usize, by: LastPid) -> Option<Message> {
        let message = self.messages.remove(at)?;
        self.bytes -= message.data.len();
        self.last_receiver = Some(by);
        self.received = now_seconds();
        self.admit();
        Some(message)
    }

    /// Lets those senders have their way whose messages fit now. One that may not send any more is told so.
    fn admit(&mut self) {
        let mut at = 0;
        while let Some(sender) = self.senders.get(at) {
            if !self.has_room(sender.message.data.len()) {
                at += 1;
                continue;
            }
            let Some(sender) = self.senders.remove(at) else { break };
            let allowed = self.perm.check(&sender.creds, WRITE);
            if allowed.is_ok() {
                self.put(sender.message, sender.pid);
            }
            sender.waiter.finish(allowed);
        }
    }

    /// Sends those receivers away who may not read any more.
    fn refuse_receivers(&mut self) {
        let perm = self.perm;
        self.receivers.retain(|receiver| {
            let allowed = perm.check(&receiver.creds, READ);
            if let Err(error) = allowed {
                receiver.waiter.finish(Err(error));
            }
            allowed.is_ok()
        });
    }

    /// The queue is removed.
    fn dissolve(&self) {
        for receiver in &self.receivers {
            receiver.waiter.finish(Err(EIDRM));
        }
        for sender in &self.senders {
            sender.waiter.finish(Err(EIDRM));
        }
    }
}

/// msgget(2): the queue of `key`, or a new one.
pub fn get(creds: &Credentials, key: i32, flags: i32) -> Result<i32> {
    let queue = Queue::new(Perm::new(key, flags, creds));
    let mut registry = REGISTRY.lock();
    match registry.by_key(key, flags)? {
        Some((id, queue)) => queue.perm.check_flags(creds, flags).map(|()| id),
        None => {
            check_room(size_of::<Queue>())?;
            registry.add(key, queue, MAX_QUEUES.load(Relaxed).max(0) as usize)
        }
    }
}

/// msgsnd(2).
///
/// # Errors
/// EINVAL, EACCES, EAGAIN; EIDRM when the queue is removed meanwhile; ERESTARTNOHAND for a signal.
pub fn send(thread: &Thread, id: i32, message: Message, flags: i32) -> Result<()> {
    if message.kind < 1 || id < 0 {
        return Err(EINVAL);
    }
    let (creds, pid) = (thread.creds(), LastPid::of(&thread.process));
    let mut registry = REGISTRY.lock();
    let queue = registry.get_mut(id).ok_or(EINVAL)?;
    queue.perm.check(&creds, WRITE)?;
    if queue.has_room(message.data.len()) {
        queue.put(message, pid);
        return Ok(());
    }
    if flags & IPC_NOWAIT != 0 {
        return Err(EAGAIN);
    }
    let waiter = Waiter::new();
    queue.senders.push_back(Sender { waiter: waiter.clone(), message, creds, pid });
    drop(registry);
    waiter.wait(thread, None, ERESTARTNOHAND, || {
        let mut registry = REGISTRY.lock();
        let left = registry.get_mut(id).and_then(|queue| {
            let at = queue.senders.iter().position(|sender| Arc::ptr_eq(&sender.waiter, &waiter))?;
            queue.senders.remove(at)
        });
        drop(registry);
        drop(left);
    })
}

/// msgrcv(2): a message of at most `longest` bytes, or of any length with MSG_NOERROR.
///
/// # Errors
/// EINVAL, EACCES, E2BIG, ENOMSG; EIDRM when the queue is removed meanwhile; ERESTARTNOHAND for a signal.
pub fn receive(thread: &Thread, id: i32, longest: usize, kind: i64, flags: i32) -> Result<Message> {
    if id < 0 || i64::try_from(longest).is_err() {
        return Err(EINVAL);
    }
    let copies = flags & MSG_COPY != 0;
    if copies && (flags & MSG_EXCEPT != 0 || flags & IPC_NOWAIT == 0) {
        return Err(EINVAL);
    }
    let (creds, pid) = (thread.creds(), LastPid::of(&thread.process));
    let wanted = Wanted::new(kind, flags);
    let longest_taken = if flags & MSG_NOERROR != 0 { usize::MAX } else { longest };
    let mut registry = REGISTRY.lock();
    let queue = registry.get_mut(id).ok_or(EINVAL)?;
    queue.perm.check(&creds, READ)?;
    // With MSG_COPY the type is a place.
    let found = match copies {
        true => usize::try_from(kind).ok().filter(|at| *at < queue.messages.len()),
        false => wanted.find(&queue.messages),
    };
    if let Some(at) = found {
        let message = &queue.messages[at];
        if message.data.len() > longest_taken {
            return Err(E2BIG);
        }
        if copies {
            // A copy is not cut.
            return if message.data.len() > longest { Err(EINVAL) } else { message.copy() };
        }
        return queue.take(at, pid).ok_or(ENOMSG);
    }
    if flags & IPC_NOWAIT != 0 {
        return Err(ENOMSG);
    }
    let waiter = Waiter::new();
    let receiver = Receiver { waiter: waiter.clone(), wanted, longest: longest_taken, creds, pid };
    queue.receivers.push_back(receiver);
    drop(registry);
    waiter.wait(thread, None, ERESTARTNOHAND, || {
        let mut registry = REGISTRY.lock();
        let left = registry.get_mut(id).and_then(|queue| {
            let at = queue.receivers.iter().position(|receiver| Arc::ptr_eq(&receiver.waiter, &waiter))?;
            queue.receivers.remove(at)
        });
        drop(registry);
        drop(left);
    })
}
