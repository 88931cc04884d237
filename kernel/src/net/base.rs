//! What sockets of all families have: options, buffer sizes, timeouts, shutdown, the pending error, wait queues.
//!
//! Everything here is read and changed without a lock: each value stands for itself. Who changes a state that
//! others wait for wakes their queue afterwards.

use core::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use bitflags::bitflags;
use ostd::{sync::WaitQueue, time};

use crate::{
    prelude::*,
    process::{wait_event::wait_interruptible, wait_event::wait_interruptible_until},
};

bitflags! {
    /// Options that are on or off.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Switches: u32 {
        const PASS_CRED = 1 << 0;
        const PASS_PIDFD = 1 << 1;
        /// SO_PASSRIGHTS is on unless switched off.
        const NO_RIGHTS = 1 << 2;
        const DEBUG = 1 << 3;
        const REUSE_ADDR = 1 << 4;
        const REUSE_PORT = 1 << 5;
        const KEEP_ALIVE = 1 << 6;
        const BROADCAST = 1 << 7;
        const DONT_ROUTE = 1 << 8;
        const OOB_INLINE = 1 << 9;
        const LINGER = 1 << 10;
        const PASS_SEC = 1 << 11;
    }
}

impl Switches {
    /// Handed from a listening socket to those that it accepts.
    pub const INHERITED: Switches = Switches::PASS_CRED.union(Switches::PASS_PIDFD).union(Switches::PASS_SEC);
    /// Who has one of these wants to know who sent a message.
    pub const WANTS_SENDER: Switches = Switches::PASS_CRED.union(Switches::PASS_PIDFD);
}

/// No more data comes in.
pub const SHUT_RECV: u8 = 1;
/// No more data goes out.
pub const SHUT_SEND: u8 = 2;
pub const SHUT_BOTH: u8 = SHUT_RECV | SHUT_SEND;

/// /proc/sys/net/core/{r,w}mem_{default,max}
pub const DEFAULT_BUFFER: usize = 212_992;
pub const MAX_BUFFER: usize = 212_992;

/// The type of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SockType {
    Stream = 1,
    Datagram = 2,
    SeqPacket = 5,
}

/// See the [module's description](self).
pub struct SockBase {
    pub family: u16,
    pub sock_type: SockType,
    pub protocol: i32,
    /// Woken when there is something to receive or accept, or never will be again.
    pub readable: Arc<WaitQueue>,
    /// Woken when there is room to send, or never will be again, and when a connection is made.
    pub writable: Arc<WaitQueue>,
    switches: AtomicU32,
    shutdown: AtomicU8,
    error: AtomicU32,
    pub send_buffer: AtomicUsize,
    pub recv_buffer: AtomicUsize,
    pub recv_low: AtomicUsize,
    pub linger_secs: AtomicU32,
    pub priority: AtomicU32,
    pub mark: AtomicU32,
    recv_timeout: AtomicU64,
    send_timeout: AtomicU64,
}

/// A timeout that never comes; in ns otherwise.
pub const FOREVER: u64 = u64::MAX;

/// Which way data goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Recv,
    Send,
}

impl SockBase {
    pub fn new(family: u16, sock_type: SockType, protocol: i32) -> SockBase {
        SockBase {
            family,
            sock_type,
            protocol,
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
            switches: AtomicU32::new(0),
            shutdown: AtomicU8::new(0),
            error: AtomicU32::new(0),
            send_buffer: AtomicUsize::new(DEFAULT_BUFFER),
            recv_buffer: AtomicUsize::new(DEFAULT_BUFFER),
            recv_low: AtomicUsize::new(1),
            linger_secs: AtomicU32::new(0),
            priority: AtomicU32::new(0),
            mark: AtomicU32::new(0),
            recv_timeout: AtomicU64::new(FOREVER),
            send_timeout: AtomicU64::new(FOREVER),
        }
    }

    #[inline]
    pub fn switches(&self) -> Switches {
        Switches::from_bits_retain(self.switches.load(Relaxed))
    }

    pub fn switch(&self, which: Switches, on: bool) {
        if on {
            self.switches.fetch_or(which.bits(), Relaxed);
        } else {
            self.switches.fetch_and(!which.bits(), Relaxed);
        }
    }

    /// The bits of [`SHUT_RECV`] and [`SHUT_SEND`].
    #[inline]
    pub fn shutdown(&self) -> u8 {
        self.shutdown.load(SeqCst)
    }

    /// Adds to what is shut down, and tells everybody who waits.
    pub fn shut_down(&self, how: u8) {
        self.shutdown.fetch_or(how, SeqCst);
        self.wake_all();
    }

    /// Something changed that both readers and writers look at.
    pub fn wake_all(&self) {
        self.readable.wake_all();
        self.writable.wake_all();
    }

    /// Leaves an error for the next operation.
    pub fn set_error(&self, error: Errno) {
        self.error.store(error as u32, SeqCst);
    }

    #[inline]
    pub fn has_error(&self) -> bool {
        self.error.load(SeqCst) != 0
    }

    /// The pending error, which is then no more; 0 if there is none.
    pub fn take_error_number(&self) -> u32 {
        if self.has_error() { self.error.swap(0, SeqCst) } else { 0 }
    }

    /// `Err` with the pending error, once.
    #[inline]
    pub fn check_error(&self) -> Result<()> {
        match self.take_error_number() {
            0 => Ok(()),
            number => Err(Errno::try_from(number as usize).unwrap_or(EIO)),
        }
    }

    pub fn timeout(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Recv => &self.recv_timeout,
            Direction::Send => &self.send_timeout,
        }
    }

    /// How long an operation may wait that begins now.
    #[inline]
    pub fn patience(&self, direction: Direction, nonblocking: bool) -> Patience {
        if nonblocking {
            return Patience::None;
        }
        match self.timeout(direction).load(Relaxed) {
            FOREVER => Patience::Forever,
            0 => Patience::None,
            ns => Patience::Until(time::now_ns().saturating_add(ns)),
        }
    }
}

/// How long an operation waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all: EAGAIN.
    None,
    Forever,
    /// Until this time of the monotonic clock, then EAGAIN.
    Until(u64),
}

impl Patience {
    /// Waits on `queue` until `cond` gives a value. EAGAIN when patience is at its end. A wait that has a timeout
    /// is not restarted after a signal (rule 7.36): EINTR; else ERESTARTSYS.
    #[inline]
    pub fn wait<R>(self, queue: &WaitQueue, mut cond: impl FnMut() -> Option<R>) -> Result<R> {
        match self {
            Patience::None => cond().ok_or(EAGAIN),
            Patience::Forever => wait_interruptible(queue, cond),
            Patience::Until(deadline) => match wait_interruptible_until(queue, Some(deadline), cond) {
                Ok(result) => result.ok_or(EAGAIN),
                Err(ERESTARTSYS) => Err(EINTR),
                Err(e) => Err(e),
            },
        }
    }
}
