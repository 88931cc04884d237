//! The file system mqueue: one directory with all queues, wherever it is mounted.
//!
//! Reading a queue's file tells what is in it; removing it is mq_unlink(2). A queue that is made by open(2) has the default size.
//!
//! Locks: the list of queues has a spin lock ([`MQUEUE_DIR`](lock_order::MQUEUE_DIR)); as in any file system the directory's inode is
//! locked around changes.

use alloc::collections::BTreeMap;
use core::{
    any::Any,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use ostd::sync::SpinLock;
use spin::Once;

use super::{Capacity, Charge, Queue};
use crate::{
    fs::{
        File, OpenFlags, Path,
        file::FileOps,
        inode::{DevId, DirEntry, FileType, FsStat, Inode, InodeBase, NewNode},
        io::ReadBuf,
        mount::{Mount, SuperBlock, anonymous_dev},
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    process::{Credentials, Thread, rlimit::Resource},
};

const MQUEUE_MAGIC: u64 = 0x1980_0202;

/// What `st_size` says of a new queue: the length of what a read shows at most.
const SHOWN_SIZE: u64 = 80;

const ROOT_INO: u64 = 1;

/// Names and queues by inode number.
type Queues = BTreeMap<u64, (Box<[u8]>, Arc<Node>)>;

struct Dir {
    base: InodeBase,
    queues: SpinLock<Queues>,
    next_ino: AtomicU64,
}

struct Node {
    base: InodeBase,
    queue: Queue,
}

struct Instance {
    dir: Arc<Dir>,
    super_block: Arc<SuperBlock>,
    root: Path,
}

fn instance() -> &'static Instance {
    static INSTANCE: Once<Instance> = Once::new();
    INSTANCE.call_once(|| {
        let mode = FileType::Dir.mode_bits() | 0o1777;
        let base =
            InodeBase::new(ROOT_INO, anonymous_dev(), NewNode { mode, uid: 0, gid: 0, rdev: DevId(0) });
        base.set_nlink(2);
        let queues = SpinLock::new(lock_order::MQUEUE_DIR, BTreeMap::new());
        let dir = Arc::new(Dir { base, queues, next_ino: AtomicU64::new(ROOT_INO + 1) });
        let super_block = SuperBlock::new("mqueue", dir.clone(), false);
        let root = Mount::internal(super_block.clone()).root_path();
        Instance { dir, super_block, root }
    })
}

/// For mount(2).
pub fn super_block() -> Arc<SuperBlock> {
    instance().super_block.clone()
}

/// The directory of all queues.
pub fn root() -> &'static Path {
    &instance().root
}

/// A new queue; the directory's inode is locked.
///
/// # Errors
/// ENOSPC, EINVAL, EMFILE: see [`Charge`].
pub fn create(
    name: &[u8],
    new: NewNode,
    creds: &Credentials,
    limit: u64,
    capacity: Option<Capacity>,
) -> Result<Arc<dyn Inode>> {
    let dir = &instance().dir;
    let capacity = capacity.unwrap_or_else(Capacity::default);
    let charge = Charge::new(creds, limit, capacity)?;
    let ino = dir.next_ino.fetch_add(1, Relaxed);
    let base = InodeBase::new(ino, dir.base.dev, new);
    base.set_size(SHOWN_SIZE);
    let node = Arc::new(Node { base, queue: Queue::new(capacity, charge) });
    dir.queues.lock().insert(ino, (Box::from(name), node.clone()));
    dir.base.touch_mtime();
    Ok(node)
}

impl Inode for Dir {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let queues = self.queues.lock();
        let found = queues.values().find(|(other, _)| **other == *name);
        found.map(|(_, node)| node.clone() as Arc<dyn Inode>).ok_or(ENOENT)
    }

    fn create(&self, name: &[u8], new: NewNode) -> Result<Arc<dyn Inode>> {
        if FileType::of_mode(new.mode) != Some(FileType::Regular) {
            return Err(EPERM);
        }
        let thread = Thread::try_current().ok_or(EPERM)?;
        create(name, new, &thread.creds(), thread.process.rlimit(Resource::Msgqueue), None)
    }

    fn unlink(&self, _: &[u8], victim: &Arc<dyn Inode>) -> Result<()> {
        let gone = self.queues.lock().remove(&victim.base().ino).ok_or(ENOENT)?;
        drop(gone);
        victim.base().dec_nlink();
        self.base.touch_mtime();
        Ok(())
    }

    fn read_dir(&self, from: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
        let queues: Vec<_> =
            self.queues.lock().range(from..).map(|(ino, (name, _))| (*ino, name.clone())).collect();
        for (ino, name) in queues {
            if !emit(DirEntry { name: &name, ino, file_type: FileType::Regular, next: ino + 1 }) {
                break;
            }
        }
        Ok(())
    }

    fn statfs(&self) -> Result<FsStat> {
        Ok(FsStat { magic: MQUEUE_MAGIC, block_size: PAGE_SIZE as u64, ..FsStat::default() })
    }
}

impl Inode for Node {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn open(self: Arc<Self>, _: OpenFlags) -> Result<Box<dyn FileOps>> {
        Ok(Box::new(OpenQueue(self)))
    }

    /// It changes nothing.
    fn resize(&self, size: u64) -> Result<()> {
        self.base.set_size(size);
        Ok(())
    }

    fn statfs(&self) -> Result<FsStat> {
        instance().dir.statfs()
    }
}

/// An open queue.
pub struct OpenQueue(Arc<Node>);

impl OpenQueue {
    /// The queue of a file.
    ///
    /// # Errors
    /// EBADF when it is no queue.
    pub fn of(file: &File) -> Result<&Queue> {
        file.downcast::<OpenQueue>().map(|open| &open.0.queue).ok_or(EBADF)
    }
}

impl FileOps for OpenQueue {
    fn read_at(&self, _: &File, buf: &mut ReadBuf, pos: u64) -> Result<usize> {
        let text = self.0.queue.describe();
        let from = usize::try_from(pos).unwrap_or(usize::MAX).min(text.len());
        let rest = &text.as_bytes()[from..];
        let len = rest.len().min(buf.left());
        buf.put(&rest[..len])
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        self.0.queue.poll(table)
    }

    fn can_poll(&self) -> bool {
        true
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    /// A process that closes a descriptor of the queue does not want to be told of messages any more.
    fn flush(&self) {
        if let Some(thread) = Thread::try_current() {
            self.0.queue.unregister(&thread);
        }
    }
}
