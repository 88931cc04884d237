//! Readiness: what a file can do without blocking, and waiting until it can do something (poll(2)).
//!
//! [`FileOps::poll`](super::file::FileOps::poll) first gives its wait queues to a [`PollTable`], then says what is ready:
//! in this order, so that a change in between finds the waiter on the queue. The table of a thread that polls puts that
//! thread on the queues; another kind of table registers a callback, for waiters that outlive the call (epoll).
//!
//! A queue wakes its waiters after each change of readiness; they look again at everything they wait for.

use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

use bitflags::bitflags;
use ostd::{
    sync::{WaitGuard, WaitQueue, Wake, WakerRegistration},
    task::{self, Task},
};

use super::file::File;
use crate::{
    prelude::*,
    process::{Thread, signal},
};

bitflags! {
    /// The bits of `struct pollfd`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PollEvents: u32 {
        const IN = 0x001;
        const PRI = 0x002;
        const OUT = 0x004;
        const ERR = 0x008;
        const HUP = 0x010;
        const NVAL = 0x020;
        const RDNORM = 0x040;
        const RDBAND = 0x080;
        const WRNORM = 0x100;
        const WRBAND = 0x200;
        const MSG = 0x400;
        const RDHUP = 0x2000;
    }
}

impl PollEvents {
    pub const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
    pub const WRITABLE: PollEvents = PollEvents::OUT.union(PollEvents::WRNORM);
    /// Reported whether asked for or not.
    pub const ALWAYS: PollEvents = PollEvents::ERR.union(PollEvents::HUP);
}

/// Collects the wait queues of the files that are polled.
pub enum PollTable<'a> {
    /// Only asks what is ready now.
    None,
    /// The current thread waits.
    Thread(ThreadTable<'a>),
    /// A callback waits, until the registrations are dropped, for some of the events.
    Callback { waker: Arc<dyn Wake>, interest: PollEvents, places: Vec<WakerRegistration> },
}

/// The places of the current thread on queues.
#[derive(Default)]
pub struct ThreadTable<'a> {
    guards: Vec<WaitGuard<'a>>,
    /// On queues that are not the file's: they might go before it does.
    shared: Vec<(Arc<Unpark>, WakerRegistration)>,
}

/// Wakes a thread that waits by callback.
struct Unpark {
    task: Arc<Task>,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(&self) {
        self.woken.store(true, Release);
        self.task.unpark();
    }
}

impl ThreadTable<'_> {
    /// Whether one of the queues was woken since it was joined. The unparking alone does not tell: a file that sleeps
    /// on a lock while it is polled may have used it up.
    fn was_woken(&self) -> bool {
        // Acquire pairs with the Release in `wake`.
        self.guards.iter().any(WaitGuard::was_woken)
            || self.shared.iter().any(|(unpark, _)| unpark.woken.load(Acquire))
    }
}

impl<'a> PollTable<'a> {
    /// Waits on one more queue.
    pub fn add(&mut self, queue: &'a Arc<WaitQueue>) {
        self.add_for(queue, PollEvents::all());
    }

    /// Waits on one more queue, which tells only of `events`.
    pub fn add_for(&mut self, queue: &'a Arc<WaitQueue>, events: PollEvents) {
        match self {
            PollTable::None => {}
            PollTable::Thread(table) => table.guards.push(queue.enqueue()),
            PollTable::Callback { waker, interest, places } => {
                if interest.intersects(events) {
                    places.push(queue.register(waker.clone()));
                }
            }
        }
    }

    /// Waits on a queue that does not belong to the file that is polled.
    pub fn add_shared(&mut self, queue: &Arc<WaitQueue>) {
        match self {
            PollTable::None => {}
            PollTable::Thread(table) => {
                let task = task::current().to_arc();
                let unpark = Arc::new(Unpark { task, woken: AtomicBool::new(false) });
                table.shared.push((unpark.clone(), queue.register(unpark)));
            }
            PollTable::Callback { waker, places, .. } => places.push(queue.register(waker.clone())),
        }
    }
}

/// What `file` is ready for now.
pub fn ready_now(file: &File) -> PollEvents {
    file.poll(&mut PollTable::None)
}

/// Waits until one of `files` has an event of its mask, or until `deadline`. `report` gets the index and the events of each
/// file that is ready. Returns how many were; 0 only when the time is up.
///
/// # Errors
/// EINTR when a signal is pending and nothing is ready.
pub fn wait_for(
    files: &[(Option<Arc<File>>, PollEvents)],
    deadline: Option<u64>,
    mut report: impl FnMut(usize, PollEvents),
) -> Result<usize> {
    let may_wait = deadline != Some(0);
    loop {
        // Once something is ready nobody is going to wait, so no more queues are joined.
        let mut table = if may_wait { PollTable::Thread(ThreadTable::default()) } else { PollTable::None };
        let mut ready = 0;
        for (index, (file, mask)) in files.iter().enumerate() {
            let Some(file) = file else { continue };
            let events = if ready == 0 { file.poll(&mut table) } else { ready_now(file) };
            let events = events & *mask;
            if !events.is_empty() {
                report(index, events);
                ready += 1;
            }
        }
        if ready > 0 || !may_wait {
            return Ok(ready);
        }
        if signal::signal_pending(&Thread::current()) {
            return Err(EINTR);
        }
        if matches!(&table, PollTable::Thread(table) if table.was_woken()) {
            continue;
        }
        match deadline {
            None => task::park(),
            Some(deadline) if ostd::time::now_ns() >= deadline => return Ok(0),
            Some(deadline) => {
                // Whether it was the time or not, what is ready decides; the next round sees that the time is up.
                task::park_until(deadline);
            }
        }
    }
}
