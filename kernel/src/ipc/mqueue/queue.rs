//! A queue: its messages, and who waits for them.
//!
//! Messages are received by priority, those of one priority in the order in which they were sent. A message goes to the receiver of
//! the highest priority (that of scheduling) that has waited longest, past the queue; room goes to such a sender: see [`Waiter`]. A
//! wait is restarted after a signal whose handler has SA_RESTART (rule 7.37).
//!
//! Lock: the queue's spin lock, MQUEUE. Notifications are sent and pollers are woken after it is released.

use alloc::collections::{BTreeMap, VecDeque};
use core::sync::atomic::Ordering::Relaxed;

use ostd::sync::{SpinLock, WaitQueue};

use super::{
    Capacity, Charge,
    notify::{Event, Notification},
};
use crate::{
    fs::poll::{PollEvents, PollTable},
    ipc::{sysv::check_room, waiter::Waiter},
    lock_order,
    prelude::*,
    process::Thread,
};

/// Priorities are below this.
pub const MAX_PRIORITY: u32 = 32768;

pub struct Message {
    pub priority: u32,
    pub data: Vec<u8>,
}

impl Message {
    /// With room for `len` bytes.
    ///
    /// # Errors
    /// ENOMEM.
    pub fn with_len(priority: u32, len: usize) -> Result<Message> {
        check_room(len)?;
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(|_| ENOMEM)?;
        data.resize(len, 0);
        Ok(Message { priority, data })
    }
}

/// A call that waits for room.
struct Sender {
    rank: i32,
    waiter: Arc<Waiter<()>>,
    message: Message,
}

/// A call that waits for a message.
struct Receiver {
    rank: i32,
    waiter: Arc<Waiter<Message>>,
}

/// Whose turn is earlier has the lower one: real-time priorities come before nice values.
fn rank(thread: &Thread) -> i32 {
    match thread.rt_priority.load(Relaxed) as i32 {
        0 => thread.nice.load(Relaxed),
        priority => -100 - priority,
    }
}

pub(super) struct State {
    /// By how far the priority is from the highest, then by the order in which they were sent.
    messages: BTreeMap<(u32, u64), Message>,
    sent: u64,
    bytes: usize,
    /// By rank, then by how long they have waited.
    senders: VecDeque<Sender>,
    receivers: VecDeque<Receiver>,
    notification: Option<Notification>,
}

pub struct Queue {
    pub max_messages: usize,
    /// Bytes of a message.
    pub max_size: usize,
    state: SpinLock<State>,
    /// Woken when a message comes or goes.
    changed: Arc<WaitQueue>,
    _charge: Charge,
}

/// What came of a message.
pub(super) enum Put {
    /// A receiver has it.
    Taken,
    /// It is in the queue; who is to be told.
    Queued(Option<Notification>),
}

impl State {
    pub(super) fn new() -> State {
        State {
            messages: BTreeMap::new(),
            sent: 0,
            bytes: 0,
            senders: VecDeque::new(),
            receivers: VecDeque::new(),
            notification: None,
        }
    }

    pub(super) fn put(&mut self, message: Message) -> Put {
        if let Some(receiver) = self.receivers.pop_front() {
            receiver.waiter.finish(Ok(message));
            return Put::Taken;
        }
        let was_empty = self.messages.is_empty();
        self.insert(message);
        Put::Queued(if was_empty { self.notification.take() } else { None })
    }

    fn insert(&mut self, message: Message) {
        self.bytes += message.data.len();
        self.sent += 1;
        self.messages.insert((MAX_PRIORITY - message.priority, self.sent), message);
    }

    /// The next message; a sender that waits takes its room.
    pub(super) fn take(&mut self) -> Option<Message> {
        let (_, message) = self.messages.pop_first()?;
        self.bytes -= message.data.len();
        if let Some(sender) = self.senders.pop_front() {
            self.insert(sender.message);
            sender.waiter.finish(Ok(()));
        }
        Some(message)
    }
}

impl Queue {
    pub(super) fn new(capacity: Capacity, charge: Charge) -> Queue {
        Queue {
            max_messages: capacity.messages as usize,
            max_size: capacity.size as usize,
            state: SpinLock::new(lock_order::MQUEUE, State::new()),
            changed: Arc::new(WaitQueue::new()),
            _charge: charge,
        }
    }

    pub fn len(&self) -> usize {
        self.state.lock().messages.len()
    }

    /// mq_timedsend(2), until `deadline` (ns of the monotonic clock) at most.
    ///
    /// # Errors
    /// EAGAIN when it is full and `nonblocking`; ETIMEDOUT; ERESTARTSYS for a signal.
    pub fn send(
        &self,
        thread: &Thread,
        message: Message,
        nonblocking: bool,
        deadline: Option<u64>,
    ) -> Result<()> {
        let mut state = self.state.lock();
        if state.messages.len() < self.max_messages {
            let put = state.put(message);
            drop(state);
            if let Put::Queued(notification) = put {
                if let Some(notification) = notification {
                    notification.send(thread);
                }
                self.changed.wake_all();
            }
            return Ok(());
        }
        if nonblocking {
            return Err(EAGAIN);
        }
        let (waiter, rank) = (Waiter::new(), rank(thread));
        let at = state.senders.partition_point(|other| other.rank <= rank);
        state.senders.insert(at, Sender { rank, waiter: waiter.clone(), message });
        drop(state);
        waiter.wait(thread, deadline, ERESTARTSYS, || {
            let mut state = self.state.lock();
            let at = state.senders.iter().position(|sender| Arc::ptr_eq(&sender.waiter, &waiter));
            let left = at.and_then(|at| state.senders.remove(at));
            drop(state);
            drop(left);
        })
    }

    /// mq_timedreceive(2), until `deadline` (ns of the monotonic clock) at most.
    ///
    /// # Errors
    /// As [`send`](Self::send) has them.
    pub fn receive(&self, thread: &Thread, nonblocking: bool, deadline: Option<u64>) -> Result<Message> {
        let mut state = self.state.lock();
        if let Some(message) = state.take() {
            drop(state);
            self.changed.wake_all();
            return Ok(message);
        }
        if nonblocking {
            return Err(EAGAIN);
        }
        let (waiter, rank) = (Waiter::new(), rank(thread));
        let at = state.receivers.partition_point(|other| other.rank <= rank);
        state.receivers.insert(at, Receiver { rank, waiter: waiter.clone() });
        drop(state);
        waiter.wait(thread, deadline, ERESTARTSYS, || {
            let mut state = self.state.lock();
            let at = state.receivers.iter().position(|other| Arc::ptr_eq(&other.waiter, &waiter));
            let left = at.and_then(|at| state.receivers.remove(at));
            drop(state);
            drop(left);
        })
    }

    /// mq_notify(2): registers the caller.
    ///
    /// # Errors
    /// EBUSY when somebody is registered.
    pub fn register(&self, thread: &Thread, event: Event) -> Result<()> {
        let notification = Notification::new(thread, event);
        let mut state = self.state.lock();
        if state.notification.as_ref().is_some_and(Notification::is_live) {
            return Err(EBUSY);
        }
        let old = state.notification.replace(notification);
        drop(state);
        drop(old);
        Ok(())
    }

    /// Takes back the registration of the caller's process, if it has one.
    pub fn unregister(&self, thread: &Thread) {
        let mut state = self.state.lock();
        if !state.notification.as_ref().is_some_and(|notification| notification.is_by(thread)) {
            return;
        }
        let old = state.notification.take();
        drop(state);
        drop(old);
    }

    pub fn poll<'a>(&'a self, table: &mut PollTable<'a>) -> PollEvents {
        table.add(&self.changed);
        let count = self.len();
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, count > 0);
        events.set(PollEvents::WRITABLE, count < self.max_messages);
        events
    }

    /// What a read of the file shows.
    pub fn describe(&self) -> String {
        let state = self.state.lock();
        let bytes = state.bytes;
        let notification = state.notification.as_ref().filter(|notification| notification.is_live()).cloned();
        drop(state);
        // A number is translated with the lock given back.
        let (kind, signo, pid) = notification.map_or((0, 0, 0), |notification| notification.describe());
        format!("QSIZE:{bytes:<10} NOTIFY:{kind:<5} SIGNO:{signo:<5} NOTIFY_PID:{pid:<6}\n")
    }
}
