//! Pipes and FIFOs (pipe(7), fifo(7)).
//!
//! A [`Pipe`] is a [`ByteQueue`] with a capacity. A [`PipeEnd`] is what an open file has of it; the counts of ends
//! tell the other side about the end of file and the broken pipe.
//!
//! A write of up to [`PIPE_BUF`] bytes is atomic: it goes in as a whole, or waits (or is EAGAIN). Capacity is in bytes,
//! 64 KiB unless changed by F_SETPIPE_SZ; unlike in Linux, small writes never use up more of it than their bytes.
//!
//! Locks: the ring's sleeping lock ([`PIPE`](lock_order::PIPE)), held while user memory is copied. The counts are
//! atomics, changed before the other side is woken.

use core::sync::atomic::{
    AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use ostd::sync::{Mutex, MutexGuard, WaitQueue};

use super::{
    byte_queue::ByteQueue,
    caller,
    file::{File, FileOps, OpenFlags},
    inode::{DevId, FileType, Inode, InodeBase, NewNode},
    io::{ReadBuf, WriteBuf},
    poll::{PollEvents, PollTable},
};
use crate::{
    lock_order,
    prelude::*,
    process::{
        credentials::{Cap, User},
        wait_event::wait_interruptible,
    },
};

/// Writes up to this size are atomic.
pub const PIPE_BUF: usize = 4096;

const DEFAULT_CAPACITY: usize = 64 * 1024;

/// What a user gets who has more pipes than the soft limit says.
const SMALL_CAPACITY: usize = 2 * PAGE_SIZE;

/// /proc/sys/fs/pipe-max-size: how large an unprivileged process may make a pipe.
pub static MAX_CAPACITY: AtomicUsize = AtomicUsize::new(1 << 20);

/// /proc/sys/fs/pipe-user-pages-soft and -hard: how many pages the pipes of an unprivileged user may have together before new
/// ones get small, and before there are no new ones. 0: as many as it likes.
pub static USER_PAGES_SOFT: AtomicUsize = AtomicUsize::new(16384);
pub static USER_PAGES_HARD: AtomicUsize = AtomicUsize::new(0);

fn exceeds(limit: &AtomicUsize, pages: usize) -> bool {
    let limit = limit.load(Relaxed);
    limit != 0 && pages > limit
}

/// Whether the limits of users are none of the caller's.
fn is_privileged() -> bool {
    caller::is_capable(Cap::SysResource) || caller::is_capable(Cap::SysAdmin)
}

/// A capacity that a pipe can have: a power of two pages. EINVAL if it gets too large.
pub fn round_capacity(bytes: usize) -> Result<usize> {
    if bytes > 1 << 31 {
        return Err(EINVAL);
    }
    Ok(bytes.max(PAGE_SIZE).next_power_of_two())
}

/// The bytes in a pipe.
struct Ring {
    bytes: ByteQueue,
    capacity: usize,
    /// Whose [`pipe_pages`](User::pipe_pages) count the capacity. A FIFO's, which stays when nobody has it open, are nobody's.
    user: Option<Arc<User>>,
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Some(user) = &self.user {
            user.pipe_pages.fetch_sub(self.capacity / PAGE_SIZE, Relaxed);
        }
    }
}

impl Ring {
    fn room(&self) -> usize {
        self.capacity - self.bytes.len()
    }
}

/// The pipe itself: see the [module's description](self).
pub struct Pipe {
    ring: Mutex<Ring>,
    /// Open ends.
    readers: AtomicU32,
    writers: AtomicU32,
    /// How many ends were ever opened: lets an open of a FIFO see that somebody came, even if they are gone again.
    reader_opens: AtomicU32,
    writer_opens: AtomicU32,
    /// Woken when there is something to read, or the last writer is gone.
    readable: Arc<WaitQueue>,
    /// Woken when there is room, or the last reader is gone.
    writable: Arc<WaitQueue>,
}

impl Pipe {
    /// A FIFO's.
    pub fn new() -> Arc<Pipe> {
        Self::with(Ring { bytes: ByteQueue::default(), capacity: DEFAULT_CAPACITY, user: None })
    }

    /// One of the caller's. ENFILE beyond the hard limit.
    fn new_charged() -> Result<Arc<Pipe>> {
        let mut capacity = DEFAULT_CAPACITY;
        if capacity > MAX_CAPACITY.load(Relaxed) && !caller::is_capable(Cap::SysResource) {
            capacity = MAX_CAPACITY.load(Relaxed);
        }
        let user = caller::user();
        let mut pages = user.pipe_pages.fetch_add(capacity / PAGE_SIZE, Relaxed) + capacity / PAGE_SIZE;
        if exceeds(&USER_PAGES_SOFT, pages) && capacity > SMALL_CAPACITY && !is_privileged() {
            let less = (capacity - SMALL_CAPACITY) / PAGE_SIZE;
            pages = user.pipe_pages.fetch_sub(less, Relaxed) - less;
            capacity = SMALL_CAPACITY;
        }
        let ring = Ring { bytes: ByteQueue::default(), capacity, user: Some(user) };
        if exceeds(&USER_PAGES_HARD, pages) && !is_privileged() {
            return Err(ENFILE);
        }
        Ok(Self::with(ring))
    }

    fn with(ring: Ring) -> Arc<Pipe> {
        Arc::new(Pipe {
            ring: Mutex::new(lock_order::PIPE, ring),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            reader_opens: AtomicU32::new(0),
            writer_opens: AtomicU32::new(0),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
        })
    }

    fn has_readers(&self) -> bool {
        self.readers.load(SeqCst) != 0
    }

    fn has_writers(&self) -> bool {
        self.writers.load(SeqCst) != 0
    }

    /// The ring with something in it; `None` at the end of file.
    fn wait_for_data(&self, nonblocking: bool) -> Result<Option<MutexGuard<'_, Ring>>> {
        let look = || {
            let ring = self.ring.lock();
            if ring.bytes.len() > 0 {
                return Some(Some(ring));
            }
            (!self.has_writers()).then_some(None)
        };
        if nonblocking {
            return look().ok_or(EAGAIN);
        }
        wait_interruptible(&self.readable, look)
    }

    fn read(&self, buf: &mut ReadBuf, nonblocking: bool) -> Result<usize> {
        if buf.left() == 0 {
            return Ok(0);
        }
        let Some(mut ring) = self.wait_for_data(nonblocking)? else {
            return Ok(0);
        };
        let was_full = ring.room() < PIPE_BUF;
        let result = ring.bytes.read(buf, usize::MAX);
        drop(ring);
        if was_full {
            self.writable.wake_all();
        }
        result
    }

    /// The ring with room for the next part of a write that has `left` bytes, `atomic`ally if it is small. EPIPE if
    /// nobody can read any more.
    fn wait_for_room(&self, left: usize, atomic: bool, nonblocking: bool) -> Result<MutexGuard<'_, Ring>> {
        let needed = if atomic { left } else { 1 };
        let look = || {
            if !self.has_readers() {
                return Some(Err(EPIPE));
            }
            let ring = self.ring.lock();
            (ring.room() >= needed).then_some(Ok(ring))
        };
        if nonblocking {
            return look().unwrap_or(Err(EAGAIN));
        }
        wait_interruptible(&self.writable, look)?
    }

    fn write(&self, buf: &mut WriteBuf, nonblocking: bool) -> Result<usize> {
        let total = buf.left();
        let atomic = total <= PIPE_BUF;
        let mut done = 0;
        while done < total {
            let room = self.wait_for_room(total - done, atomic, nonblocking);
            let step = room.and_then(|mut ring| {
                let room = ring.room();
                ring.bytes.write(buf, room)
            });
            match step {
                Ok(n) => {
                    done += n;
                    self.readable.wake_all();
                    if buf.left() + done < total {
                        // A fault ended the copy in the middle.
                        break;
                    }
                }
                Err(e) => {
                    if e == EPIPE {
                        caller::raise_sigpipe();
                    }
                    return super::io::moved_or(done, Err(e));
                }
            }
        }
        Ok(done)
    }

    pub fn capacity(&self) -> usize {
        self.ring.lock().capacity
    }

    /// F_SETPIPE_SZ: rounded up to a power of two pages. EBUSY if what is in the pipe would not fit; EPERM for an unprivileged
    /// caller beyond [`MAX_CAPACITY`], or when its user has more than the limits in all.
    pub fn set_capacity(&self, bytes: usize) -> Result<usize> {
        let bytes = round_capacity(bytes)?;
        let mut ring = self.ring.lock();
        let grows = bytes > ring.capacity;
        if grows && bytes > MAX_CAPACITY.load(Relaxed) && !caller::is_capable(Cap::SysResource) {
            return Err(EPERM);
        }
        if bytes < ring.bytes.len() {
            return Err(EBUSY);
        }
        if let Some(user) = &ring.user {
            let (old, new) = (ring.capacity / PAGE_SIZE, bytes / PAGE_SIZE);
            let pages = user.pipe_pages.fetch_add(new, Relaxed) + new - old;
            let too_many = exceeds(&USER_PAGES_HARD, pages) || exceeds(&USER_PAGES_SOFT, pages);
            if grows && too_many && !is_privileged() {
                user.pipe_pages.fetch_sub(new, Relaxed);
                return Err(EPERM);
            }
            user.pipe_pages.fetch_sub(old, Relaxed);
        }
        ring.capacity = bytes;
        drop(ring);
        self.writable.wake_all();
        Ok(bytes)
    }
}

/// An end of a pipe, or both (a FIFO opened with O_RDWR).
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    reads: bool,
    writes: bool,
    /// `writer_opens` when this end was opened: a FIFO that has had no writer since is at no end of file yet for poll.
    writers_before: u32,
    /// Inode number, for the name; 0 for a FIFO.
    ino: u64,
}

impl PipeEnd {
    fn new(pipe: &Arc<Pipe>, flags: OpenFlags, ino: u64) -> PipeEnd {
        let (reads, writes) = (flags.readable(), flags.writable());
        let writers_before = pipe.writer_opens.load(SeqCst);
        if reads {
            pipe.readers.fetch_add(1, SeqCst);
            pipe.reader_opens.fetch_add(1, SeqCst);
        }
        if writes {
            pipe.writers.fetch_add(1, SeqCst);
            pipe.writer_opens.fetch_add(1, SeqCst);
        }
        PipeEnd { pipe: pipe.clone(), reads, writes, writers_before, ino }
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        if self.reads && self.pipe.readers.fetch_sub(1, SeqCst) == 1 {
            self.pipe.writable.wake_all();
        }
        if self.writes && self.pipe.writers.fetch_sub(1, SeqCst) == 1 {
            self.pipe.readable.wake_all();
        }
    }
}

impl FileOps for PipeEnd {
    #[inline]
    fn read_at(&self, file: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        self.pipe.read(buf, file.is_nonblocking())
    }

    #[inline]
    fn write_at(&self, file: &File, buf: &mut WriteBuf, _: u64) -> Result<(usize, u64)> {
        Ok((self.pipe.write(buf, file.is_nonblocking())?, 0))
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        let pipe = &*self.pipe;
        if self.reads {
            table.add(&pipe.readable);
        }
        if self.writes {
            table.add(&pipe.writable);
        }
        let (len, room) = {
            let ring = pipe.ring.lock();
            (ring.bytes.len(), ring.room())
        };
        let mut events = PollEvents::empty();
        if self.reads {
            if len > 0 {
                events |= PollEvents::READABLE;
            }
            if !pipe.has_writers() && pipe.writer_opens.load(SeqCst) != self.writers_before {
                events |= PollEvents::HUP;
            }
        }
        if self.writes {
            if room >= PIPE_BUF {
                events |= PollEvents::WRITABLE;
            }
            if !pipe.has_readers() {
                events |= PollEvents::ERR;
            }
        }
        events
    }

    fn can_poll(&self) -> bool {
        true
    }

    fn available(&self, _: &File) -> Result<usize> {
        Ok(self.pipe.ring.lock().bytes.len())
    }

    fn has_owner(&self) -> bool {
        true
    }

    fn as_pipe(&self) -> Option<&Arc<Pipe>> {
        Some(&self.pipe)
    }

    fn anonymous_name(&self) -> String {
        format!("pipe:[{}]", self.ino)
    }
}

/// The inode of a pipe that has no name.
struct PipeInode {
    base: InodeBase,
    pipe: Arc<Pipe>,
}

impl Inode for PipeInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    /// For an open through /proc/pid/fd.
    fn fifo(&self) -> Option<Arc<Pipe>> {
        Some(self.pipe.clone())
    }
}

/// pipe2(2): the reading and the writing end.
pub fn new_pair(flags: OpenFlags) -> Result<(Arc<File>, Arc<File>)> {
    static NEXT_INO: AtomicU64 = AtomicU64::new(1);
    let (uid, gid) = caller::fs_ids();
    let new = NewNode { mode: FileType::Fifo.mode_bits() | 0o600, uid, gid, rdev: DevId(0) };
    let ino = NEXT_INO.fetch_add(1, SeqCst);
    let pipe = Pipe::new_charged()?;
    let base = InodeBase::new(ino, super::anon_dev(), new);
    let inode: Arc<dyn Inode> = Arc::new(PipeInode { base, pipe: pipe.clone() });
    let end = |flags| {
        let ops = Box::new(PipeEnd::new(&pipe, flags, ino));
        File::new(ops, inode.clone(), None, flags)
    };
    // The reader first, so that the writer counts as one that came later.
    let reader = end(flags)?;
    let writer = end(flags | OpenFlags::WRONLY)?;
    Ok((reader, writer))
}

/// Opens a FIFO: waits for the other side unless O_NONBLOCK (ENXIO then, for a writer without a reader).
pub fn open_fifo(pipe: &Arc<Pipe>, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
    let nonblocking = flags.contains(OpenFlags::NONBLOCK);
    if flags.writable() && !flags.readable() && nonblocking && !pipe.has_readers() {
        return Err(ENXIO);
    }
    // Who is there already is enough, even if it leaves as soon as it sees this end: so look before there is one. The
    // counts come first, for those who come between the two looks.
    let (readers_before, writers_before) = (pipe.reader_opens.load(SeqCst), pipe.writer_opens.load(SeqCst));
    let (had_readers, had_writers) = (pipe.has_readers(), pipe.has_writers());
    let end = PipeEnd::new(pipe, flags, 0);
    if end.reads {
        pipe.writable.wake_all();
    }
    if end.writes {
        pipe.readable.wake_all();
    }
    if !nonblocking && end.reads && !end.writes {
        let came = || had_writers || pipe.writer_opens.load(SeqCst) != writers_before;
        wait_interruptible(&pipe.readable, || came().then_some(()))?;
    }
    if end.writes && !end.reads {
        let came = || had_readers || pipe.reader_opens.load(SeqCst) != readers_before;
        wait_interruptible(&pipe.writable, || came().then_some(()))?;
    }
    Ok(Box::new(end))
}
