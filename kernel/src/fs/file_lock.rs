//! Advisory locks: of whole files (flock(2)) and of ranges (fcntl(2), F_SETLK).
//!
//! An inode that was ever locked has a [`FileLocks`]. A lock of flock belongs to an open file and goes with its last
//! reference. A range lock belongs to a descriptor table, and goes as soon as that closes *any* descriptor of the file
//! (POSIX), or to an open file (F_OFD_SETLK). Owners are told apart by address; each gives its locks up before it dies.
//!
//! Processes that would wait for each other's ranges for ever are told (EDEADLK): whoever waits for a range notes whose
//! lock is in the way, and first follows such notes from there. As in Linux, ten steps far, and not for open files' locks.
//!
//! An owner's ranges of one kind that touch are one, as programs see by F_GETLK, which tells the first in the way: the owners
//! in the order in which they came, each one's ranges from the start of the file.
//!
//! Locks are few, so they stand in plain lists under a spin lock ([`FILE_LOCKS`](lock_order::FILE_LOCKS)); so do the
//! notes ([`FILE_LOCK_WAITS`](lock_order::FILE_LOCK_WAITS)), and all inodes that have locks, for /proc/locks, in a tree
//! ([`LOCKED_INODES`](lock_order::LOCKED_INODES)).

use alloc::{collections::BTreeMap, sync::Weak};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ostd::sync::{SpinLock, WaitQueue};

use super::{file::File, inode::Inode};
use crate::{
    lock_order,
    prelude::*,
    process::{Thread, wait_event::wait_interruptible},
};

/// How something is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    Shared,
    Exclusive,
}

impl LockKind {
    fn excludes(self, other: LockKind) -> bool {
        self == LockKind::Exclusive || other == LockKind::Exclusive
    }
}

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(usize);

impl Owner {
    /// An open file, or a descriptor table.
    pub fn of<T>(value: &T) -> Owner {
        Owner(core::ptr::from_ref(value) as usize)
    }
}

/// A locked range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub start: u64,
    /// Included.
    pub last: u64,
}

impl Range {
    fn overlaps(self, other: Range) -> bool {
        self.start <= other.last && other.start <= self.last
    }
}

/// A range lock.
#[derive(Clone, Copy, Debug)]
pub struct RangeLock {
    pub range: Range,
    pub kind: LockKind,
    pub owner: Owner,
    /// The process that took it, by its number in the initial namespace, for F_GETLK; `None` for the lock of an open file.
    pub pid: Option<u32>,
}

impl RangeLock {
    /// Whether `next` goes on where this one ends, and is of the same kind.
    fn touches(&self, next: &RangeLock) -> bool {
        self.kind == next.kind && self.range.last.checked_add(1) == Some(next.range.start)
    }

    fn excludes(&self, other: &RangeLock) -> bool {
        self.owner != other.owner && self.range.overlaps(other.range) && self.kind.excludes(other.kind)
    }
}

/// An flock: of an open file. The process that took it is kept for /proc/locks, by its number in the initial namespace.
#[derive(Clone, Copy, Debug)]
pub struct WholeLock {
    pub owner: Owner,
    pub kind: LockKind,
    pub pid: u32,
}

#[derive(Default)]
struct Held {
    whole: Vec<WholeLock>,
    /// Those of one owner together and in order; they don't overlap.
    ranges: Vec<RangeLock>,
}

/// What became of the wish for a range.
enum Taken {
    Done,
    /// The owner of a lock that is in the way.
    Held(Owner),
    /// There is no memory for another lock.
    NoRoom,
}

/// Who waits for a range, and who has it: the notes of all that wait.
static WAITS: SpinLock<Vec<(Owner, Owner)>> = SpinLock::new(lock_order::FILE_LOCK_WAITS, Vec::new());

/// How far [`Note::set`] follows the notes.
const MAX_CHAIN: usize = 10;

/// One waiter's note, for as long as it waits.
struct Note {
    waiter: Owner,
    holder: Option<Owner>,
}

impl Note {
    /// Notes that `holder` is in the way.
    ///
    /// # Errors
    /// The holder waits for this waiter, directly or through others.
    fn set(&mut self, holder: Owner) -> Result<(), ()> {
        self.clear();
        let mut waits = WAITS.lock();
        let mut at = holder;
        for _ in 0..MAX_CHAIN {
            let Some(&(_, next)) = waits.iter().find(|&&(waiter, _)| waiter == at) else { break };
            if next == self.waiter {
                return Err(());
            }
            at = next;
        }
        waits.push((self.waiter, holder));
        self.holder = Some(holder);
        Ok(())
    }

    fn clear(&mut self) {
        if let Some(holder) = self.holder.take() {
            let mut waits = WAITS.lock();
            if let Some(at) = waits.iter().position(|&note| note == (self.waiter, holder)) {
                waits.swap_remove(at);
            }
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The inodes that have [`FileLocks`], by number.
static LOCKED: SpinLock<BTreeMap<u64, Weak<dyn Inode>>> =
    SpinLock::new(lock_order::LOCKED_INODES, BTreeMap::new());

/// The inodes that were ever locked and are still there, in the order in which they were first.
pub fn locked_inodes() -> impl Iterator<Item = Arc<dyn Inode>> {
    let mut next = 0;
    core::iter::from_fn(move || {
        loop {
            // One that is about to go is passed over, and its entry goes with its locks.
            let (number, inode) =
                LOCKED.lock().range(next..).next().map(|(&number, inode)| (number, inode.upgrade()))?;
            next = number + 1;
            if inode.is_some() {
                return inode;
            }
        }
    })
}

/// The locks of one inode.
pub struct FileLocks {
    held: SpinLock<Held>,
    released: WaitQueue,
    /// In [`LOCKED`].
    number: u64,
}

impl Drop for FileLocks {
    fn drop(&mut self) {
        let entry = LOCKED.lock().remove(&self.number);
        drop(entry);
    }
}

impl FileLocks {
    /// The locks of a file, made at the first use.
    pub fn of(file: &File) -> &FileLocks {
        file.inode().base().locks.call_once(|| {
            let locks = FileLocks::new();
            LOCKED.lock().insert(locks.number, Arc::downgrade(file.inode()));
            Box::new(locks)
        })
    }

    fn new() -> FileLocks {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        FileLocks {
            held: SpinLock::new(lock_order::FILE_LOCKS, Held::default()),
            released: WaitQueue::new(),
            number: NEXT.fetch_add(1, Relaxed),
        }
    }

    /// flock(2): takes or converts the lock of `file`. EAGAIN if another file's lock is in the way and `wait` is false.
    pub fn lock_whole(&self, file: &File, kind: LockKind, wait: bool) -> Result<()> {
        let pid = Thread::current().process.global_pid();
        let lock = WholeLock { owner: Owner::of(file), kind, pid };
        let take = || {
            let (taken, converted) = self.held.lock().take_whole(lock);
            if converted {
                // From exclusive to shared, or given up: this may let others in.
                self.released.wake_all();
            }
            taken
        };
        if take() {
            return Ok(());
        }
        if !wait {
            return Err(EAGAIN);
        }
        wait_interruptible(&self.released, || take().then_some(()))
    }

    /// fcntl(2): as above for a range. EDEADLK if the holder waits for the caller; ENOLCK without memory for it.
    pub fn lock_range(&self, lock: RangeLock, wait: bool) -> Result<()> {
        let taken = self.held.lock().take_range(lock);
        match taken {
            Taken::Done => {}
            Taken::NoRoom => return Err(ENOLCK),
            Taken::Held(_) if !wait => return Err(EAGAIN),
            Taken::Held(_) => self.wait_for_range(lock)?,
        }
        // A conversion from exclusive to shared lets others in.
        self.released.wake_all();
        Ok(())
    }

    fn wait_for_range(&self, lock: RangeLock) -> Result<()> {
        let mut note = Note { waiter: lock.owner, holder: None };
        wait_interruptible(&self.released, || {
            let taken = self.held.lock().take_range(lock);
            let holder = match taken {
                Taken::Done => return Some(Ok(())),
                Taken::NoRoom => return Some(Err(ENOLCK)),
                Taken::Held(holder) => holder,
            };
            let deadlock = lock.pid.is_some() && note.set(holder).is_err();
            deadlock.then_some(Err(EDEADLK))
        })?
    }

    /// All that are held, of whole files and of ranges.
    pub fn list(&self) -> (Vec<WholeLock>, Vec<RangeLock>) {
        let held = self.held.lock();
        (held.whole.clone(), held.ranges.clone())
    }

    /// A lock that keeps `wanted` from being taken.
    pub fn conflict(&self, wanted: &RangeLock) -> Option<RangeLock> {
        self.held.lock().ranges.iter().find(|lock| lock.excludes(wanted)).copied()
    }

    /// ENOLCK if the middle of a lock goes and there is no memory for its second end.
    pub fn unlock_range(&self, owner: Owner, range: Range) -> Result<()> {
        let done = self.held.lock().cut(owner, range);
        self.released.wake_all();
        done.ok_or(ENOLCK)
    }

    /// Gives up the lock of a whole file.
    pub fn unlock_whole(&self, file: &File) {
        let owner = Owner::of(file);
        self.held.lock().whole.retain(|lock| lock.owner != owner);
        self.released.wake_all();
    }

    /// Gives up everything that `owner` has.
    pub fn release(&self, owner: Owner) {
        {
            let mut held = self.held.lock();
            held.whole.retain(|lock| lock.owner != owner);
            held.ranges.retain(|lock| lock.owner != owner);
        }
        self.released.wake_all();
    }
}

impl Held {
    /// Whether the lock was taken, and whether an older one of this owner is gone.
    fn take_whole(&mut self, lock: WholeLock) -> (bool, bool) {
        let owner = lock.owner;
        let free = self.whole.iter().all(|held| held.owner == owner || !held.kind.excludes(lock.kind));
        let before = self.whole.len();
        // A conversion gives the old lock up even if the new one has to be waited for, as in Linux.
        self.whole.retain(|lock| lock.owner != owner);
        let converted = self.whole.len() != before;
        if free {
            self.whole.push(lock);
        }
        (free, converted)
    }

    fn take_range(&mut self, lock: RangeLock) -> Taken {
        if let Some(held) = self.ranges.iter().find(|held| held.excludes(&lock)) {
            return Taken::Held(held.owner);
        }
        // One for this lock, one for the second end of what it is cut out of.
        if !self.has_room(2) || self.cut(lock.owner, lock.range).is_none() {
            return Taken::NoRoom;
        }
        let own = self.of_owner(lock.owner);
        let mut from =
            own.start + self.ranges[own.clone()].partition_point(|held| held.range.last < lock.range.start);
        let mut to = from;
        let mut whole = lock;
        if from > own.start && self.ranges[from - 1].touches(&lock) {
            from -= 1;
            whole.range.start = self.ranges[from].range.start;
        }
        if to < own.end && lock.touches(&self.ranges[to]) {
            whole.range.last = self.ranges[to].range.last;
            to += 1;
        }
        self.ranges.splice(from..to, [whole]);
        Taken::Done
    }

    /// Takes `range` out of what `owner` has locked. `None` without memory for what is left.
    fn cut(&mut self, owner: Owner, range: Range) -> Option<()> {
        let own = self.of_owner(owner);
        let locks = &self.ranges[own.clone()];
        let from = own.start + locks.partition_point(|held| held.range.last < range.start);
        let to = own.start + locks.partition_point(|held| held.range.start <= range.last);
        if from >= to {
            return Some(());
        }
        let (first, last) = (self.ranges[from], self.ranges[to - 1]);
        let before = (first.range.start < range.start)
            .then(|| RangeLock { range: Range { last: range.start - 1, ..first.range }, ..first });
        let behind = (last.range.last > range.last)
            .then(|| RangeLock { range: Range { start: range.last + 1, ..last.range }, ..last });
        if to - from == 1 && before.is_some() && behind.is_some() && !self.has_room(1) {
            return None;
        }
        self.ranges.splice(from..to, before.into_iter().chain(behind));
        Some(())
    }

    /// Where the locks of `owner` are, or would be.
    fn of_owner(&self, owner: Owner) -> core::ops::Range<usize> {
        let start = self.ranges.iter().position(|held| held.owner == owner).unwrap_or(self.ranges.len());
        let len = self.ranges[start..].iter().take_while(|held| held.owner == owner).count();
        start..start + len
    }

    fn has_room(&mut self, count: usize) -> bool {
        self.ranges.try_reserve(count).is_ok()
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;

    fn lock(owner: usize, start: u64, last: u64, kind: LockKind) -> RangeLock {
        RangeLock { range: Range { start, last }, kind, owner: Owner(owner), pid: None }
    }

    #[ktest::ktest]
    fn ranges_of_different_owners_exclude_each_other_only_where_they_overlap() {
        let locks = FileLocks::new();
        locks.lock_range(lock(1, 0, 9, LockKind::Exclusive), false).unwrap();
        assert_eq!(locks.lock_range(lock(2, 9, 20, LockKind::Shared), false), Err(EAGAIN));
        locks.lock_range(lock(2, 10, 20, LockKind::Shared), false).unwrap();
        locks.lock_range(lock(3, 15, 30, LockKind::Shared), false).unwrap();
        assert_eq!(locks.lock_range(lock(1, 15, 15, LockKind::Exclusive), false), Err(EAGAIN));
        assert_eq!(locks.conflict(&lock(4, 5, 5, LockKind::Shared)).unwrap().owner, Owner(1));
    }

    #[ktest::ktest]
    fn unlocking_the_middle_leaves_both_ends() {
        let locks = FileLocks::new();
        locks.lock_range(lock(1, 0, u64::MAX, LockKind::Exclusive), false).unwrap();
        locks.unlock_range(Owner(1), Range { start: 10, last: 19 }).unwrap();
        locks.lock_range(lock(2, 10, 19, LockKind::Exclusive), false).unwrap();
        assert_eq!(locks.lock_range(lock(2, 9, 9, LockKind::Shared), false), Err(EAGAIN));
        assert_eq!(locks.lock_range(lock(2, 20, 20, LockKind::Shared), false), Err(EAGAIN));
        locks.release(Owner(1));
        locks.lock_range(lock(2, 0, u64::MAX, LockKind::Exclusive), false).unwrap();
    }

    #[ktest::ktest]
    fn a_cycle_of_waiters_is_found() {
        let note = |waiter| Note { waiter: Owner(waiter), holder: None };
        let (mut a, mut b, mut c) = (note(1), note(2), note(3));
        assert_eq!((a.set(Owner(2)), b.set(Owner(3))), (Ok(()), Ok(())));
        assert_eq!(c.set(Owner(1)), Err(()));
        // Once the middle no longer waits there is no cycle.
        drop(b);
        assert_eq!(c.set(Owner(1)), Ok(()));
        assert_eq!(a.set(Owner(3)), Err(()));
        drop((a, c));
    }

    #[ktest::ktest]
    fn an_owner_converts_its_own_lock() {
        let locks = FileLocks::new();
        locks.lock_range(lock(1, 0, 9, LockKind::Exclusive), false).unwrap();
        locks.lock_range(lock(1, 5, 9, LockKind::Shared), false).unwrap();
        locks.lock_range(lock(2, 5, 9, LockKind::Shared), false).unwrap();
        assert_eq!(locks.lock_range(lock(2, 4, 9, LockKind::Shared), false), Err(EAGAIN));
    }
}
