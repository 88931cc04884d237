//! System V shared memory (shmget(2), shmat(2), shmctl(2)).
//!
//! **Structures.** A [`Segment`](segment::Segment) is memory that can be mapped. The [`Registry`] has all of them, each in an
//! [`Entry`] with what is known of it. How often a segment is attached is nowhere counted: it is the number of references to it
//! besides the registry's, which every vma of an attachment has one of. So fork, exec, exit, partial munmap and mremap keep it
//! right by themselves; what they tell ([`MemoryObject::detach`](crate::mm::MemoryObject::detach)) is when, and who.
//!
//! | file | what |
//! |---|---|
//! | here | the registry, limits, making and attaching segments, their end |
//! | [`segment`] | a segment as memory to be mapped |
//! | [`control`] | shmctl(2) |
//! | [`report`] | /proc/sysvipc/shm |
//!
//! **The end of a segment.** IPC_RMID takes away its key and marks it SHM_DEST; it goes with the last attachment, at once if
//! there is none. With kernel.shm_rmid_forced, so does any segment; one that was never attached goes with its creator.
//!
//! **Lock.** One, SYSV_SHM, over the registry. References come from the registry or from a vma that exists, and those of vmas are
//! given back with the lock held: who finds no other than the registry's knows that the segment is its own. Pages
//! are freed without it.

use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};

use ostd::sync::SpinLock;

use self::segment::Segment;
use super::{Ids, LastPid, Perm, READ, WRITE, now_seconds};
use crate::{
    lock_order,
    mm::{MapRequest, Placement, VmFlags},
    prelude::*,
    process::Thread,
};

pub mod control;
pub mod report;
mod segment;
#[cfg(feature = "ktest")]
mod tests;

/// Flags of shmget(2).
const SHM_HUGETLB: i32 = 0o4000;
const SHM_NORESERVE: i32 = 0o10000;
const HUGE_SHIFT: u32 = 26;
const HUGE_MASK: i32 = 0x3f;

/// Flags of shmat(2).
const SHM_RDONLY: i32 = 0o10000;
const SHM_RND: i32 = 0o20000;
const SHM_REMAP: i32 = 0o40000;
const SHM_EXEC: i32 = 0o100000;

/// Bits in the mode of a segment: it goes with the last attachment; it is locked in memory.
const SHM_DEST: u32 = 0o1000;
const SHM_LOCKED: u32 = 0o2000;

const EXECUTE: u32 = 0o111;

/// kernel.shmmax, shmall, shmmni: bytes of a segment, pages of all, segments.
pub static MAX_BYTES: AtomicU64 = AtomicU64::new(NO_LIMIT);
pub static MAX_PAGES: AtomicU64 = AtomicU64::new(NO_LIMIT);
pub static MAX_SEGMENTS: AtomicI32 = AtomicI32::new(4096);
const NO_LIMIT: u64 = u64::MAX - (1 << 24);

/// kernel.shm_rmid_forced
static FORCED: AtomicBool = AtomicBool::new(false);

/// What is known of a segment.
struct Entry {
    perm: Perm,
    segment: Arc<Segment>,
    bytes: u64,
    creator: LastPid,
    /// Who attached or detached it last.
    last: Option<LastPid>,
    attached: i64,
    detached: i64,
    changed: i64,
    /// IPC_RMID was called.
    removed: bool,
    /// SHM_LOCK: on whose account.
    locked_by: Option<u32>,
    /// The thread that made it, while it lives.
    made_by: Option<usize>,
}

impl Entry {
    fn attachments(&self) -> usize {
        Arc::strong_count(&self.segment) - 1
    }

    fn pages(&self) -> u64 {
        self.bytes.div_ceil(PAGE_SIZE as u64)
    }

    fn mode(&self) -> u32 {
        let flag = |set, bit| if set { bit } else { 0 };
        self.perm.mode | flag(self.removed, SHM_DEST) | flag(self.locked_by.is_some(), SHM_LOCKED)
    }

    /// Whether nobody has it and nobody shall.
    fn is_over(&self) -> bool {
        self.attachments() == 0 && (self.removed || FORCED.load(Relaxed))
    }
}

struct Registry {
    ids: Ids<Entry>,
    /// Pages in all segments, there or not.
    pages: u64,
}

static REGISTRY: SpinLock<Registry> =
    SpinLock::new(lock_order::SYSV_SHM, Registry { ids: Ids::new(), pages: 0 });

impl Registry {
    /// Takes a segment out. What is returned is to be dropped without the lock.
    fn take(&mut self, id: i32) -> Option<Entry> {
        let key = self.ids.get(id)?.perm.key;
        let entry = self.ids.remove(id, key)?;
        self.pages -= entry.pages();
        Some(entry)
    }

    /// Gives a reference back, and takes the segment out if that was what kept it.
    fn release(&mut self, segment: Arc<Segment>) -> Option<Entry> {
        let id = segment.id();
        // The registry has another one, for as long as there are any.
        drop(segment);
        if self.ids.get(id)?.is_over() { self.take(id) } else { None }
    }

    /// The segments that meet `condition`, taken out.
    fn take_all(&mut self, condition: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let ids: Vec<i32> = self.ids.iter().filter(|(_, entry)| condition(entry)).map(|(id, _)| id).collect();
        ids.into_iter().filter_map(|id| self.take(id)).collect()
    }
}

/// shmget(2): the segment of `key`, or a new one of `bytes`.
pub fn get(thread: &Thread, key: i32, bytes: usize, flags: i32) -> Result<i32> {
    let creds = thread.creds();
    let existing = |registry: &Registry| -> Result<Option<i32>> {
        let Some((id, entry)) = registry.ids.by_key(key, flags)? else { return Ok(None) };
        if bytes as u64 > entry.bytes {
            return Err(EINVAL);
        }
        entry.perm.check_flags(&creds, flags)?;
        Ok(Some(id))
    };
    // First without a new segment, which most calls don't need.
    let pages = {
        let registry = REGISTRY.lock();
        if let Some(id) = existing(&registry)? {
            return Ok(id);
        }
        check_size(&registry, bytes, flags)?
    };
    let segment = Segment::new(bytes, key)?;
    let entry = Entry {
        perm: Perm::new(key, flags, &creds),
        segment: segment.clone(),
        bytes: bytes as u64,
        creator: LastPid::of(&thread.process),
        last: None,
        attached: 0,
        detached: 0,
        changed: now_seconds(),
        removed: false,
        locked_by: None,
        made_by: Some(identity(thread)),
    };
    let mut registry = REGISTRY.lock();
    if let Some(id) = existing(&registry)? {
        drop(registry);
        return Ok(id);
    }
    check_size(&registry, bytes, flags)?;
    let limit = MAX_SEGMENTS.load(Relaxed).max(0) as usize;
    let id = registry.ids.add(key, entry, limit)?;
    registry.pages += pages;
    segment.set_id(id);
    thread.made_segments.store(true, Relaxed);
    // With the lock held: nobody may take it for an attachment.
    drop(segment);
    Ok(id)
}

/// The pages of a new segment.
///
/// # Errors
/// EINVAL for a size that is out of range, ENOSPC beyond kernel.shmall, ENOMEM for what memory can never hold.
fn check_size(registry: &Registry, bytes: usize, flags: i32) -> Result<u64> {
    if bytes == 0 || bytes as u64 > MAX_BYTES.load(Relaxed) {
        return Err(EINVAL);
    }
    let pages = (bytes as u64).div_ceil(PAGE_SIZE as u64);
    if registry.pages.saturating_add(pages) > MAX_PAGES.load(Relaxed) {
        return Err(ENOSPC);
    }
    if flags & SHM_HUGETLB != 0 {
        // Of the sizes that the processor has, there are none to be had.
        return Err(match flags >> HUGE_SHIFT & HUGE_MASK {
            0 | 21 | 30 => ENOMEM,
            _ => EINVAL,
        });
    }
    if i64::try_from(bytes).is_err() {
        return Err(EINVAL);
    }
    if flags & SHM_NORESERVE == 0 && pages > ostd::mm::total_frames() as u64 {
        return Err(ENOMEM);
    }
    Ok(pages)
}

/// shmat(2): the address.
pub fn attach(thread: &Thread, id: i32, addr: Vaddr, flags: i32) -> Result<Vaddr> {
    if id < 0 {
        return Err(EINVAL);
    }
    let placement = place(addr, flags)?;
    let (mut access, mut wanted) = (VmFlags::READ | VmFlags::MAY_READ | VmFlags::MAY_EXEC, READ);
    if flags & SHM_RDONLY == 0 {
        access |= VmFlags::WRITE | VmFlags::MAY_WRITE;
        wanted |= WRITE;
    }
    if flags & SHM_EXEC != 0 {
        access |= VmFlags::EXEC;
        wanted |= EXECUTE;
    }
    let creds = thread.creds();
    let (segment, bytes) = {
        let registry = REGISTRY.lock();
        let entry = registry.ids.get(id).ok_or(EINVAL)?;
        entry.perm.check(&creds, wanted)?;
        (entry.segment.clone(), entry.bytes as usize)
    };
    let mapped = match placement {
        Placement::FixedNoReplace(addr) if addr.checked_add(bytes).is_none() => Err(EINVAL),
        _ => {
            let request = MapRequest {
                placement,
                len: bytes,
                flags: access | VmFlags::SHARED | VmFlags::MAP_SHARED | VmFlags::SEGMENT,
                object: Some((segment.clone(), 0)),
                populate: false,
            };
            thread.vm().mmap(request, &thread.process.memory_limits())
        }
    };
    let mut registry = REGISTRY.lock();
    if mapped.is_ok()
        && let Some(entry) = registry.ids.get_mut(id)
    {
        entry.attached = now_seconds();
        entry.last = Some(LastPid::of(&thread.process));
    }
    let gone = registry.release(segment);
    drop(registry);
    drop(gone);
    // An address where there is something already.
    mapped.map_err(|error| if error == EEXIST { EINVAL } else { error })
}

fn place(addr: Vaddr, flags: i32) -> Result<Placement> {
    let replace = flags & SHM_REMAP != 0;
    if addr == 0 {
        return if replace { Err(EINVAL) } else { Ok(Placement::Hint(0)) };
    }
    let aligned = crate::mm::page_floor(addr);
    if aligned != addr && flags & SHM_RND == 0 || aligned == 0 && replace {
        return Err(EINVAL);
    }
    // What lies at address 0 is not looked at.
    Ok(if replace || aligned == 0 { Placement::Fixed(aligned) } else { Placement::FixedNoReplace(aligned) })
}

/// Names a thread for as long as it lives.
fn identity(thread: &Thread) -> usize {
    core::ptr::from_ref(thread) as usize
}

/// The calling thread exits: segments that it made have nobody left to answer for them.
#[inline]
pub fn release(thread: &Thread) {
    if thread.made_segments.load(Relaxed) {
        orphan(thread);
    }
}

#[cold]
fn orphan(thread: &Thread) {
    let mut registry = REGISTRY.lock();
    for entry in registry.ids.iter_mut().filter(|entry| entry.made_by == Some(identity(thread))) {
        entry.made_by = None;
    }
    let gone = registry.take_all(|entry| entry.made_by.is_none() && entry.is_over());
    drop(registry);
    drop(gone);
}

/// kernel.shm_rmid_forced
pub fn forced() -> bool {
    FORCED.load(Relaxed)
}

/// Turned on, it ends what has neither a creator nor an attachment.
pub fn set_forced(on: bool) {
    FORCED.store(on, Relaxed);
    if on {
        let gone = REGISTRY.lock().take_all(|entry| entry.made_by.is_none() && entry.is_over());
        drop(gone);
    }
}
