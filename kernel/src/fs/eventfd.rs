//! eventfd(2): a counter as a file, to wake whoever polls it.

use core::{
    fmt::Write,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use ostd::sync::WaitQueue;

use super::{
    caller,
    file::{File, FileOps, OpenFlags},
    inode::{DevId, FileType, Inode, InodeBase, NewNode},
    io::{ReadBuf, WriteBuf},
    poll::{PollEvents, PollTable},
};
use crate::{prelude::*, process::wait_event::wait_interruptible};

/// The largest value of the counter; one more would read as an overflow.
const MAX: u64 = u64::MAX - 1;

struct EventFd {
    count: AtomicU64,
    /// A read takes 1 and not everything (EFD_SEMAPHORE).
    semaphore: bool,
    changed: Arc<WaitQueue>,
}

struct EventInode {
    base: InodeBase,
}

impl Inode for EventInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }
}

/// A new counter.
pub fn new(count: u32, semaphore: bool, flags: OpenFlags) -> Result<Arc<File>> {
    let (uid, gid) = caller::fs_ids();
    let node = NewNode { mode: FileType::Fifo.mode_bits() | 0o600, uid, gid, rdev: DevId(0) };
    let inode = Arc::new(EventInode { base: InodeBase::new(1, super::anon_dev(), node) });
    let changed = Arc::new(WaitQueue::new());
    let ops = EventFd { count: AtomicU64::new(count.into()), semaphore, changed };
    File::new(Box::new(ops), inode, None, flags | OpenFlags::RDWR)
}

impl EventFd {
    /// Changes the counter by `step` as soon as that gives a value, and returns the old one.
    fn change(&self, nonblocking: bool, step: impl Fn(u64) -> Option<u64>) -> Result<u64> {
        let attempt = || self.count.fetch_update(SeqCst, SeqCst, &step).ok();
        let old =
            if nonblocking { attempt().ok_or(EAGAIN) } else { wait_interruptible(&self.changed, attempt) }?;
        self.changed.wake_all();
        Ok(old)
    }
}

impl FileOps for EventFd {
    fn read_at(&self, file: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        if buf.left() < 8 {
            return Err(EINVAL);
        }
        let take = |count| match count {
            0 => None,
            count => Some(if self.semaphore { count - 1 } else { 0 }),
        };
        let old = self.change(file.is_nonblocking(), take)?;
        let value = if self.semaphore { 1 } else { old };
        buf.put(&value.to_le_bytes())
    }

    fn write_at(&self, file: &File, buf: &mut WriteBuf, _: u64) -> Result<(usize, u64)> {
        let mut bytes = [0; 8];
        if buf.left() < bytes.len() {
            return Err(EINVAL);
        }
        if buf.take(&mut bytes)? < bytes.len() {
            return Err(EFAULT);
        }
        let value = u64::from_le_bytes(bytes);
        if value > MAX {
            return Err(EINVAL);
        }
        self.change(file.is_nonblocking(), |count| count.checked_add(value).filter(|&sum| sum <= MAX))?;
        Ok((bytes.len(), 0))
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        table.add(&self.changed);
        let count = self.count.load(SeqCst);
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, count > 0);
        events.set(PollEvents::WRITABLE, count < MAX);
        events
    }

    fn anonymous_name(&self) -> String {
        String::from("anon_inode:[eventfd]")
    }

    fn describe(&self, out: &mut String) {
        // Writing to a String does not fail.
        let _ = writeln!(out, "eventfd-count: {:16x}", self.count.load(SeqCst));
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;
    use crate::fs::poll::ready_now;

    fn read(file: &File) -> Result<u64> {
        let mut bytes = [0; 8];
        file.read(&mut ReadBuf::kernel(&mut bytes))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn write(file: &File, value: u64) -> Result<usize> {
        file.write(&mut WriteBuf::kernel(&value.to_le_bytes()))
    }

    #[ktest::ktest]
    fn a_read_takes_the_sum_of_the_writes() {
        let file = new(3, false, OpenFlags::NONBLOCK).unwrap();
        assert_eq!(write(&file, 4), Ok(8));
        assert_eq!(read(&file), Ok(7));
        assert_eq!(read(&file), Err(EAGAIN));
        assert_eq!(ready_now(&file), PollEvents::WRITABLE);
        assert_eq!(write(&file, u64::MAX), Err(EINVAL));
        assert_eq!(write(&file, MAX), Ok(8));
        assert_eq!(write(&file, 1), Err(EAGAIN));
        assert_eq!(ready_now(&file), PollEvents::READABLE);
    }

    #[ktest::ktest]
    fn a_semaphore_gives_one_at_a_time() {
        let file = new(2, true, OpenFlags::NONBLOCK).unwrap();
        assert_eq!((read(&file), read(&file), read(&file)), (Ok(1), Ok(1), Err(EAGAIN)));
    }
}
