//! Futexes: sleeping until somebody changes a word of user memory (futex(2)).
//!
//! **Structures.** A waiter stands in the bucket that its [`Key`] hashes to, with the key, a bitset and an
//! `Arc<Waiter>`; who wakes it takes the entry out and unparks the task. There is no object per futex: a word that nobody
//! waits on costs nothing.
//!
//! **Keys.** A private mapping is known by address space and address. A word in a shared mapping is known by the object and
//! the offset in it, so that processes that map it at different addresses meet.
//!
//! **Order.** A waiter enters the bucket *first* and reads the word *then*; a waker changes the word first and looks into the
//! bucket then. So either the waiter sees the new value, or the waker sees the waiter, and user memory is never touched
//! with a bucket locked. A waiter that finds the word changed leaves again; if a waker has picked it in the meantime, it
//! hands that wake-up on to the next waiter.
//!
//! **Locks.** Each bucket has a spin lock (rank FUTEX); requeueing takes two, the lower index first.
//!
//! Not built: the priority-inheriting operations (ENOSYS, as a Linux without CONFIG_FUTEX_PI).

use core::sync::atomic::{AtomicUsize, Ordering};

use ostd::{
    sync::{SpinLock, SpinLockGuard},
    task::{self, Task},
    user::mem,
};

use crate::{
    lock_order,
    mm::{ObjectId, Vm},
    prelude::*,
    process::{Thread, signal},
    syscall::Context,
};

mod robust;

pub use robust::{exit_robust_list, release_child_tid};

/// A bitset that meets every other one.
pub const MATCH_ANY: u32 = u32::MAX;

const BUCKETS: usize = 256;
/// [`Waiter::bucket`] once it has been woken.
const WOKEN: usize = usize::MAX;

static TABLE: [SpinLock<Vec<Entry>>; BUCKETS] =
    [const { SpinLock::new(lock_order::FUTEX, Vec::new()) }; BUCKETS];

/// Gives back the room that buckets without waiters keep for the next ones.
pub fn shrink() {
    for bucket in &TABLE {
        let mut bucket = bucket.lock();
        let room = if bucket.is_empty() { core::mem::take(&mut *bucket) } else { Vec::new() };
        drop(bucket);
        drop(room);
    }
}

/// What a word of user memory is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Private { vm: u64, addr: Vaddr },
    Shared { object: ObjectId, offset: u64 },
}

impl Key {
    /// The key of the word at `addr`. `private`: the caller promises that only threads of this address space use it, which
    /// saves the search for the mapping.
    ///
    /// # Errors
    /// EINVAL when misaligned, EFAULT when not a user address (or not mapped, unless private).
    pub fn new(vm: &Vm, addr: Vaddr, private: bool) -> Result<Key> {
        if !addr.is_multiple_of(4) {
            return Err(EINVAL);
        }
        if addr >= ostd::mm::USER_END {
            return Err(EFAULT);
        }
        let shared = if private { None } else { vm.shared_word(addr)? };
        Ok(match shared {
            Some((object, offset)) => Key::Shared { object, offset },
            None => Key::Private { vm: vm.id(), addr },
        })
    }

    fn bucket(self) -> usize {
        let (a, b) = match self {
            Key::Private { vm, addr } => (vm, addr as u64),
            Key::Shared { object, offset } => (object.0 as u64, offset),
        };
        let mixed = (b ^ a.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as usize % BUCKETS
    }
}

struct Entry {
    key: Key,
    bitset: u32,
    waiter: Arc<Waiter>,
}

struct Waiter {
    task: Arc<Task>,
    /// Index of the bucket that holds the entry, or [`WOKEN`]. Changed under the lock of the bucket that is left.
    bucket: AtomicUsize,
}

impl Waiter {
    /// Called with the entry taken out of its bucket and that one still locked.
    fn wake(&self) {
        // Release pairs with the Acquire of `is_woken`: what the waker did before is visible to the waiter.
        self.bucket.store(WOKEN, Ordering::Release);
        self.task.unpark();
    }

    fn is_woken(&self) -> bool {
        self.bucket.load(Ordering::Acquire) == WOKEN
    }
}

/// A waiter's place in the table. Leaves it on drop.
struct Queued {
    waiter: Arc<Waiter>,
}

impl Queued {
    fn enter(key: Key, bitset: u32) -> Queued {
        let index = key.bucket();
        let waiter = Arc::new(Waiter { task: task::current().to_arc(), bucket: AtomicUsize::new(index) });
        TABLE[index].lock().push(Entry { key, bitset, waiter: waiter.clone() });
        Queued { waiter }
    }

    /// Leaves the table; false when somebody has woken the waiter before.
    fn leave(&self) -> bool {
        loop {
            let index = self.waiter.bucket.load(Ordering::Acquire);
            if index == WOKEN {
                return false;
            }
            let mut bucket = TABLE[index].lock();
            // Requeued or woken before the lock was had?
            if self.waiter.bucket.load(Ordering::Relaxed) != index {
                continue;
            }
            bucket.retain(|entry| !Arc::ptr_eq(&entry.waiter, &self.waiter));
            self.waiter.bucket.store(WOKEN, Ordering::Relaxed);
            return true;
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.leave();
    }
}

/// When to give up, on the monotonic clock, and what the wait is restarted as after a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    pub addr: Vaddr,
    pub expected: u32,
    pub bitset: u32,
    pub private: bool,
    pub deadline: Option<u64>,
}

/// FUTEX_WAIT, FUTEX_WAIT_BITSET: sleeps while the word at `addr` is `expected`, until woken.
///
/// # Errors
/// EAGAIN (the word has another value), ETIMEDOUT, EFAULT, EINVAL (misaligned, empty bitset); interrupted by a signal:
/// ERESTARTSYS without a timeout, else a restart that keeps the deadline.
pub fn wait(ctx: &mut Context, wait: Wait) -> Result<usize> {
    if wait.bitset == 0 {
        return Err(EINVAL);
    }
    let key = Key::new(&ctx.thread.vm(), wait.addr, wait.private)?;
    let queued = Queued::enter(key, wait.bitset);
    let found = mem::atomic_load_u32(wait.addr);
    if found != Ok(wait.expected) {
        if !queued.leave() {
            wake_key(key, 1, wait.bitset);
        }
        return Err(if found.is_ok() { EAGAIN } else { EFAULT });
    }
    match sleep(ctx.thread, &queued.waiter, wait.deadline) {
        // Woken at the last moment counts as woken.
        Err(_) if !queued.leave() => Ok(0),
        Err(ERESTARTSYS) if wait.deadline.is_some() => {
            let resume = move |ctx: &mut Context| self::wait(ctx, wait);
            Err(ctx.thread.signals.set_restart(Box::new(resume)))
        }
        result => result,
    }
}

fn sleep(thread: &Thread, waiter: &Waiter, deadline: Option<u64>) -> Result<usize> {
    let mut timed_out = false;
    loop {
        if waiter.is_woken() {
            return Ok(0);
        }
        if timed_out {
            return Err(ETIMEDOUT);
        }
        if signal::signal_pending(thread) {
            return Err(ERESTARTSYS);
        }
        match deadline {
            Some(deadline) => timed_out = task::park_until(deadline),
            None => task::park(),
        }
    }
}

/// FUTEX_WAKE, FUTEX_WAKE_BITSET: wakes at most `count` waiters (at least one, as Linux does for 0), the longest
/// waiting first; returns how many.
pub fn wake(vm: &Vm, addr: Vaddr, private: bool, count: usize, bitset: u32) -> Result<usize> {
    if bitset == 0 {
        return Err(EINVAL);
    }
    Ok(wake_key(Key::new(vm, addr, private)?, count.max(1), bitset))
}

fn wake_key(key: Key, count: usize, bitset: u32) -> usize {
    wake_in(&mut TABLE[key.bucket()].lock(), key, count, bitset)
}

fn wake_in(bucket: &mut Vec<Entry>, key: Key, count: usize, bitset: u32) -> usize {
    let mut woken = 0;
    bucket.retain(|entry| {
        let hit = woken < count && entry.key == key && entry.bitset & bitset != 0;
        if hit {
            entry.waiter.wake();
            woken += 1;
        }
        !hit
    });
    woken
}

/// Two buckets, locked; the second is `None` when it is the same one.
type TwoBuckets = (SpinLockGuard<'static, Vec<Entry>>, Option<SpinLockGuard<'static, Vec<Entry>>>);

/// Locks the buckets of `first` and `second`, lower index first.
fn lock_two(first: Key, second: Key) -> TwoBuckets {
    let (a, b) = (first.bucket(), second.bucket());
    match a.cmp(&b) {
        core::cmp::Ordering::Equal => (TABLE[a].lock(), None),
        core::cmp::Ordering::Less => {
            let a = TABLE[a].lock();
            (a, Some(TABLE[b].lock_nested()))
        }
        core::cmp::Ordering::Greater => {
            let b = TABLE[b].lock();
            (TABLE[a].lock_nested(), Some(b))
        }
    }
}

/// FUTEX_REQUEUE, FUTEX_CMP_REQUEUE: wakes `count` waiters of the word at `from` and makes `requeue` others wait for the word
/// at `to`. With `expected`, only if the word at `from` has that value (EAGAIN). Returns woken plus moved.
pub fn requeue(
    vm: &Vm,
    from: Vaddr,
    to: Vaddr,
    private: bool,
    count: usize,
    requeue: usize,
    expected: Option<u32>,
) -> Result<usize> {
    let source = Key::new(vm, from, private)?;
    let target = Key::new(vm, to, private)?;
    let buckets = loop {
        let buckets = lock_two(source, target);
        let Some(expected) = expected else { break buckets };
        // Compared with the buckets locked: who waits for a later value of the word is not moved.
        match vm.resident_word(from) {
            Some(found) if found == expected => break buckets,
            Some(_) => return Err(EAGAIN),
            None => drop(buckets),
        }
        mem::atomic_load_u32(from)?;
    };
    let (woken, moved) = requeue_keys(buckets, source, target, count, requeue);
    Ok(woken + moved)
}

/// Wakes `count` waiters of `source` and moves `requeue` others to `target`; returns how many were woken and moved.
fn requeue_keys(
    buckets: TwoBuckets,
    source: Key,
    target: Key,
    count: usize,
    requeue: usize,
) -> (usize, usize) {
    let (mut bucket, mut other) = buckets;
    let woken = wake_in(&mut bucket, source, count, MATCH_ANY);
    let mut moved = 0;
    match &mut other {
        None => {
            for entry in bucket.iter_mut().filter(|entry| entry.key == source).take(requeue) {
                entry.key = target;
                moved += 1;
            }
        }
        Some(other) => {
            let hit = |entry: &mut Entry| {
                let hit = moved < requeue && entry.key == source;
                moved += usize::from(hit);
                hit
            };
            for mut entry in bucket.extract_if(.., hit) {
                entry.key = target;
                entry.waiter.bucket.store(target.bucket(), Ordering::Release);
                other.push(entry);
            }
        }
    }
    (woken, moved)
}

/// The operation that FUTEX_WAKE_OP carries out on its second word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeOp(u32);

impl WakeOp {
    /// Decodes `val3`.
    ///
    /// # Errors
    /// ENOSYS for an unknown operation or comparison.
    pub fn decode(raw: u32) -> Result<WakeOp> {
        if raw >> 28 & 7 > 4 || raw >> 24 & 0xf > 5 {
            return Err(ENOSYS);
        }
        Ok(WakeOp(raw))
    }

    fn argument(self) -> u32 {
        // A signed field of 12 bits; or the number of the bit that is meant.
        let argument = sign_extend_12(self.0 >> 12);
        if self.0 >> 31 != 0 { 1 << (argument & 31) } else { argument as u32 }
    }

    fn apply(self, old: u32) -> u32 {
        let argument = self.argument();
        match self.0 >> 28 & 7 {
            0 => argument,
            1 => old.wrapping_add(argument),
            2 => old | argument,
            3 => old & !argument,
            _ => old ^ argument,
        }
    }

    fn holds(self, old: u32) -> bool {
        let (old, with) = (old as i32, sign_extend_12(self.0));
        match self.0 >> 24 & 0xf {
            0 => old == with,
            1 => old != with,
            2 => old < with,
            3 => old <= with,
            4 => old > with,
            _ => old >= with,
        }
    }
}

fn sign_extend_12(value: u32) -> i32 {
    ((value << 20) as i32) >> 20
}

/// FUTEX_WAKE_OP: changes the word at `second`, wakes `count` waiters of `first`, and if the old value of `second` passes the
/// comparison also `count_second` waiters of that one.
pub fn wake_op(
    vm: &Vm,
    first: Vaddr,
    second: Vaddr,
    private: bool,
    count: usize,
    count_second: usize,
    op: WakeOp,
) -> Result<usize> {
    let first = Key::new(vm, first, private)?;
    let key = Key::new(vm, second, private)?;
    let old = mem::atomic_rmw_u32(second, |old| op.apply(old))?;
    let mut woken = wake_key(first, count.max(1), MATCH_ANY);
    if op.holds(old) {
        woken += wake_key(key, count_second.max(1), MATCH_ANY);
    }
    Ok(woken)
}

#[cfg(feature = "ktest")]
mod tests;
