//! eventfd(2): a counter as a file. A write adds to it, a read takes all of it (or one, for a semaphore).
//!
//! Data: the counter; a queue of readers and one of writers, so that an edge-triggered poller hears only of its own side.
//! Locks: the counter's spin lock ([`EVENTFD`](lock_order::EVENTFD)), never held while user memory is touched. The queues
//! are woken after it is released. Waits are restarted after a signal (rule 7.37).

use ostd::sync::{SpinLock, WaitQueue};

use proctree::NsId;

use crate::{
    fs::{
        anon,
        file::{File, FileOps, OpenFlags},
        io::{ReadBuf, WriteBuf},
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    process::wait_event::wait_interruptible,
};

/// The counter never gets beyond this.
const MAX: u64 = u64::MAX - 1;

struct EventFd {
    count: SpinLock<u64>,
    semaphore: bool,
    /// Woken when the counter is no longer 0.
    readable: Arc<WaitQueue>,
    /// Woken when there is room again.
    writable: Arc<WaitQueue>,
}

/// A new eventfd.
pub fn new_file(initial: u32, semaphore: bool, flags: OpenFlags) -> Result<Arc<File>> {
    let event = EventFd {
        count: SpinLock::new(lock_order::EVENTFD, u64::from(initial)),
        semaphore,
        readable: Arc::new(WaitQueue::new()),
        writable: Arc::new(WaitQueue::new()),
    };
    anon::new_file(Box::new(event), flags)
}

/// Whether [`signal`] can be asked of a file.
pub fn is_eventfd(file: &File) -> bool {
    file.downcast::<EventFd>().is_some()
}

/// Adds 1 for the kernel, which never waits: a full counter stays full.
pub fn signal(file: &File) {
    if let Some(event) = file.downcast::<EventFd>() {
        let _ = event.add(1);
        event.readable.wake_all();
    }
}

impl EventFd {
    /// What a read gets; `None` if it has to wait.
    fn take(&self) -> Option<u64> {
        let mut count = self.count.lock();
        let taken = if self.semaphore { (*count).min(1) } else { *count };
        *count -= taken;
        (taken != 0).then_some(taken)
    }

    /// `None` if there is no room.
    fn add(&self, value: u64) -> Option<()> {
        let mut count = self.count.lock();
        *count = count.checked_add(value).filter(|&sum| sum <= MAX)?;
        Some(())
    }
}

impl FileOps for EventFd {
    fn read_at(&self, file: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        if buf.left() < size_of::<u64>() {
            return Err(EINVAL);
        }
        let taken = match self.take() {
            Some(taken) => taken,
            None if file.is_nonblocking() => return Err(EAGAIN),
            None => wait_interruptible(&self.readable, || self.take())?,
        };
        self.writable.wake_all();
        buf.put(&taken.to_ne_bytes())
    }

    fn write_at(&self, file: &File, buf: &mut WriteBuf, _: u64) -> Result<(usize, u64)> {
        let mut bytes = [0; size_of::<u64>()];
        // One number, no less and no more.
        if buf.left() != bytes.len() {
            return Err(EINVAL);
        }
        if buf.take(&mut bytes)? < bytes.len() {
            return Err(EFAULT);
        }
        let value = u64::from_ne_bytes(bytes);
        if value > MAX {
            return Err(EINVAL);
        }
        match self.add(value) {
            Some(()) => {}
            None if file.is_nonblocking() => return Err(EAGAIN),
            None => wait_interruptible(&self.writable, || self.add(value))?,
        }
        self.readable.wake_all();
        Ok((bytes.len(), 0))
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        table.add_for(&self.readable, PollEvents::IN);
        table.add_for(&self.writable, PollEvents::OUT);
        let count = *self.count.lock();
        let mut events = PollEvents::empty();
        events.set(PollEvents::IN, count > 0);
        events.set(PollEvents::OUT, count < MAX);
        events
    }

    fn tells_events(&self) -> bool {
        true
    }

    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }

    fn anonymous_name(&self) -> String {
        String::from("anon_inode:[eventfd]")
    }

    fn describe(&self, _: NsId, out: &mut String) {
        *out += &format!("eventfd-count: {:16x}\n", *self.count.lock());
        *out += &format!("eventfd-semaphore: {}\n", i32::from(self.semaphore));
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;

    fn event(initial: u64, semaphore: bool) -> EventFd {
        EventFd {
            count: SpinLock::new(lock_order::EVENTFD, initial),
            semaphore,
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
        }
    }

    #[ktest::ktest]
    fn counter_stops_below_its_maximum() {
        let e = event(0, false);
        assert_eq!(e.add(MAX), Some(()));
        assert_eq!(e.add(0), Some(()));
        assert_eq!(e.add(1), None);
        assert_eq!(e.add(MAX), None);
        assert_eq!(e.take(), Some(MAX));
        assert_eq!(e.take(), None);
    }

    #[ktest::ktest]
    fn semaphore_gives_one_at_a_time() {
        let e = event(2, true);
        assert_eq!((e.take(), e.take(), e.take()), (Some(1), Some(1), None));
    }
}
