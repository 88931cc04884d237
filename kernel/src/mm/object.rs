//! What can be mapped: files through their page cache, and memory shared between processes.

use alloc::collections::{BTreeMap, btree_map::Entry};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrayvec::ArrayVec;
use ostd::{
    mm::{AllocClass, Frame},
    sync::SpinLock,
};

use super::{FaultError, Mappers};
use crate::{lock_order, prelude::*};

/// Some consecutive pages.
type FrameRun = ArrayVec<Option<Frame>, 16>;

/// Identity of an object: two mappings with equal ids and pages show the same memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectId(pub usize);

/// What `/proc/pid/maps` shows for a mapping.
#[derive(Clone, Debug, Default)]
pub struct ObjectName {
    /// Device number, in the kernel's encoding.
    pub dev: u64,
    pub ino: u64,
    /// Path, or another name; empty for none.
    pub path: Vec<u8>,
}

/// Memory that can be mapped, by pages.
pub trait MemoryObject: Send + Sync {
    /// The frame of page `index`. `write`: the program will be able to write to it (a shared writable mapping).
    /// May sleep.
    ///
    /// # Errors
    /// `Bus` beyond the end of the object, or when the page can't be read; `OutOfMemory`.
    fn frame(&self, index: u64, write: bool) -> Result<Frame, FaultError>;

    /// Shows `look` the pages from `index` on, at most `max`, that are at hand without sleeping; `None` for one that is
    /// not. May show fewer, or call it not at all. `look` runs under the object's spin lock.
    fn with_run(&self, index: u64, max: usize, look: &mut dyn FnMut(&[Option<Frame>]));

    /// Size in bytes.
    fn size(&self) -> u64;

    /// Which memory this is.
    fn id(&self) -> ObjectId;

    /// What to show in `/proc/pid/maps`.
    fn name(&self) -> ObjectName;

    /// The list of those who map it, if it can lose pages.
    fn mappers(&self) -> Option<&Arc<Mappers>> {
        None
    }

    /// Whether there is no file of this name: the memory is nowhere else.
    fn is_unlinked(&self) -> bool {
        true
    }

    /// Whether the memory is that of processes that share it, and not a file's.
    fn is_shared_memory(&self) -> bool {
        false
    }

    /// A fork has made one more vma of the kind that is marked [`SEGMENT`](super::VmFlags::SEGMENT).
    fn attached(&self) {}

    /// Takes the reference of a vma of that kind that is gone. Called with the layout of an address space locked.
    fn detach(self: Arc<Self>) {}
}

/// Pages in all [`SharedMemory`].
static PAGES: AtomicUsize = AtomicUsize::new(0);

/// Pages of memory that processes share, without files.
pub fn shared_pages() -> usize {
    PAGES.load(Relaxed)
}

/// Anonymous memory shared by a process and its descendants (MAP_SHARED | MAP_ANONYMOUS), and what is in a System V segment.
///
/// Pages are made when first touched, so that a huge sparse mapping costs what is used of it.
pub struct SharedMemory {
    pages: SpinLock<BTreeMap<u64, Frame>>,
    /// Size in pages.
    len: u64,
    ino: u64,
}

impl SharedMemory {
    /// `bytes` of zeros; nothing is allocated yet.
    pub fn new(bytes: usize) -> SharedMemory {
        SharedMemory {
            pages: SpinLock::new(lock_order::SHARED_MEMORY, BTreeMap::new()),
            len: bytes.div_ceil(PAGE_SIZE) as u64,
            ino: super::next_id(),
        }
    }

    /// How many of its pages there are.
    pub fn resident(&self) -> usize {
        self.pages.lock().len()
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        PAGES.fetch_sub(self.pages.get_mut().len(), Relaxed);
    }
}

impl MemoryObject for SharedMemory {
    fn frame(&self, index: u64, _write: bool) -> Result<Frame, FaultError> {
        if index >= self.len {
            return Err(FaultError::Bus);
        }
        if let Some(frame) = self.pages.lock().get(&index) {
            return Ok(frame.clone());
        }
        // Allocated without the lock; whoever comes first wins.
        let fresh = Frame::zeroed(AllocClass::User)?;
        let mut pages = self.pages.lock();
        Ok(match pages.entry(index) {
            Entry::Occupied(first) => first.get().clone(),
            Entry::Vacant(place) => {
                PAGES.fetch_add(1, Relaxed);
                place.insert(fresh).clone()
            }
        })
    }

    fn with_run(&self, index: u64, max: usize, look: &mut dyn FnMut(&[Option<Frame>])) {
        let mut run = FrameRun::new();
        let pages = self.pages.lock();
        let wanted = index..(index + max.min(run.remaining_capacity()) as u64).min(self.len);
        run.extend(wanted.map(|index| pages.get(&index).cloned()));
        look(&run);
    }

    fn size(&self) -> u64 {
        self.len * PAGE_SIZE as u64
    }

    fn id(&self) -> ObjectId {
        ObjectId(core::ptr::from_ref(self) as usize)
    }

    fn name(&self) -> ObjectName {
        ObjectName { dev: 1, ino: self.ino, path: b"/dev/zero (deleted)".to_vec() }
    }

    fn is_shared_memory(&self) -> bool {
        true
    }
}
