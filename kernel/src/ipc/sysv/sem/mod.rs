//! System V semaphores (semget(2), semop(2), semctl(2)).
//!
//! **Structures.** A [`Set`] has its semaphores, the operations that wait for them, and what is to be undone of them. One
//! [`Registry`] has all sets.
//!
//! | file | what |
//! |---|---|
//! | here | sets, the registry, limits, the syscalls' work but for waiting |
//! | [`ops`] | carrying out operations, waiting, who goes on when |
//! | [`undo`] | SEM_UNDO: what the end of a process takes back |
//! | [`report`] | /proc/sysvipc/sem |
//!
//! **Lock.** One, SYSV_SEM, over the registry and all in it: operations on many sets and exits that undo in several are
//! atomic without more ado. It is held for a few instructions; memory for a set is allocated before, freed after.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use ostd::sync::SpinLock;

use super::{Ids, LastPid, Perm, READ, Stat, WRITE, check_room, now_seconds, put_long};
use crate::{
    lock_order,
    prelude::*,
    process::{Credentials, Thread},
};

mod ops;
pub mod report;
pub mod undo;

pub use ops::{Operation, operate};

/// The most that a semaphore can count to, and that can be undone of it.
pub const MAX_VALUE: i32 = 32767;

/// /proc/sys/kernel/sem: semaphores of a set, of all sets, operations of a call, sets.
pub static LIMITS: [AtomicI32; 4] =
    [AtomicI32::new(32000), AtomicI32::new(1_024_000_000), AtomicI32::new(500), AtomicI32::new(32000)];
pub const LIMIT_PER_SET: usize = 0;
pub const LIMIT_TOTAL: usize = 1;
pub const LIMIT_OPS: usize = 2;
pub const LIMIT_SETS: usize = 3;

pub fn limit(which: usize) -> usize {
    LIMITS[which].load(Relaxed).max(0) as usize
}

#[derive(Clone, Copy)]
struct Semaphore {
    value: i32,
    last: Option<LastPid>,
}

struct Set {
    perm: Perm,
    sems: Vec<Semaphore>,
    /// Operations that wait, the oldest first.
    queue: Vec<ops::Pending>,
    /// By list of undos, what its end adds to each semaphore.
    undos: BTreeMap<u64, Box<[i16]>>,
    operated: i64,
    changed: i64,
}

struct Registry {
    ids: Ids<Set>,
    /// Semaphores in all sets.
    total: usize,
    /// The sets that each list of undos is about.
    lists: BTreeMap<u64, Vec<i32>>,
}

static REGISTRY: SpinLock<Registry> =
    SpinLock::new(lock_order::SYSV_SEM, Registry { ids: Ids::new(), total: 0, lists: BTreeMap::new() });

/// semget(2): the set of `key`, or a new one.
pub fn get(creds: &Credentials, key: i32, count: i32, flags: i32) -> Result<i32> {
    let count = usize::try_from(count).ok().filter(|count| *count <= limit(LIMIT_PER_SET)).ok_or(EINVAL)?;
    let existing = |registry: &Registry| -> Result<Option<i32>> {
        let Some((id, set)) = registry.ids.by_key(key, flags)? else { return Ok(None) };
        if count > set.sems.len() {
            return Err(EINVAL);
        }
        set.perm.check_flags(creds, flags)?;
        Ok(Some(id))
    };
    // First without a new set, which most calls don't need.
    if let Some(id) = existing(&REGISTRY.lock())? {
        return Ok(id);
    }
    if count == 0 {
        return Err(EINVAL);
    }
    let set = Set {
        perm: Perm::new(key, flags, creds),
        sems: zeroed(count)?,
        queue: Vec::new(),
        undos: BTreeMap::new(),
        operated: 0,
        changed: now_seconds(),
    };
    let mut registry = REGISTRY.lock();
    if let Some(id) = existing(&registry)? {
        drop(registry);
        return Ok(id);
    }
    if registry.total + count > limit(LIMIT_TOTAL) {
        return Err(ENOSPC);
    }
    let id = registry.ids.add(key, set, limit(LIMIT_SETS))?;
    registry.total += count;
    Ok(id)
}

fn zeroed(count: usize) -> Result<Vec<Semaphore>> {
    check_room(count * size_of::<Semaphore>())?;
    let mut sems = Vec::new();
    sems.try_reserve_exact(count).map_err(|_| ENOMEM)?;
    sems.resize(count, Semaphore { value: 0, last: None });
    Ok(sems)
}

/// What `f` says of the set `id`, once `creds` may do what is `wanted`.
fn with_set<R>(
    creds: &Credentials,
    id: i32,
    wanted: u32,
    f: impl FnOnce(&mut Set) -> Result<R>,
) -> Result<R> {
    let mut registry = REGISTRY.lock();
    let set = registry.ids.get_mut(id).ok_or(EINVAL)?;
    set.perm.check(creds, wanted)?;
    f(set)
}

/// What semctl(2) can ask about one semaphore.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Question {
    Value,
    Pid,
    /// How many wait for it to grow.
    Growing,
    /// How many wait for it to be zero.
    Zero,
}

pub fn ask(thread: &Thread, id: i32, number: usize, question: Question) -> Result<usize> {
    let last = with_set(&thread.creds(), id, READ, |set| {
        let sem = *set.sems.get(number).ok_or(EINVAL)?;
        Ok(match question {
            Question::Value => Ok(sem.value as usize),
            Question::Growing => Ok(set.queue.iter().filter(|p| p.waits_for(number, false)).count()),
            Question::Zero => Ok(set.queue.iter().filter(|p| p.waits_for(number, true)).count()),
            Question::Pid => Err(sem.last),
        })
    })?;
    // A number is translated with the lock given back.
    Ok(last.unwrap_or_else(|last| LastPid::seen_from(last, thread.process.ns()) as usize))
}

/// SETVAL.
pub fn set_value(thread: &Thread, id: i32, number: i32, value: i32) -> Result<()> {
    if !(0..=MAX_VALUE).contains(&value) {
        return Err(ERANGE);
    }
    let mut registry = REGISTRY.lock();
    let set = registry.ids.get_mut(id).ok_or(EINVAL)?;
    let number = usize::try_from(number).ok().filter(|at| *at < set.sems.len()).ok_or(EINVAL)?;
    set.perm.check(&thread.creds(), WRITE)?;
    set.sems[number] = Semaphore { value, last: Some(LastPid::of(&thread.process)) };
    for undo in set.undos.values_mut() {
        undo[number] = 0;
    }
    set.changed = now_seconds();
    set.wake();
    Ok(())
}

/// GETALL.
pub fn values(creds: &Credentials, id: i32) -> Result<Vec<u16>> {
    let count = with_set(creds, id, READ, |set| Ok(set.sems.len()))?;
    let mut values = Vec::new();
    values.try_reserve_exact(count).map_err(|_| ENOMEM)?;
    let registry = REGISTRY.lock();
    let set = registry.ids.get(id).ok_or(EIDRM)?;
    values.extend(set.sems.iter().map(|sem| sem.value as u16));
    Ok(values)
}

/// How many values SETALL takes.
pub fn count_for_setting(creds: &Credentials, id: i32) -> Result<usize> {
    with_set(creds, id, WRITE, |set| Ok(set.sems.len()))
}

/// SETALL; the caller asked for their number.
pub fn set_values(thread: &Thread, id: i32, values: &[u16]) -> Result<()> {
    if values.iter().any(|value| i32::from(*value) > MAX_VALUE) {
        return Err(ERANGE);
    }
    let mut registry = REGISTRY.lock();
    let set = registry.ids.get_mut(id).ok_or(EIDRM)?;
    let last = Some(LastPid::of(&thread.process));
    for (sem, value) in set.sems.iter_mut().zip(values) {
        *sem = Semaphore { value: i32::from(*value), last };
    }
    for undo in set.undos.values_mut() {
        undo.fill(0);
    }
    set.changed = now_seconds();
    set.wake();
    Ok(())
}

/// IPC_RMID: who waits gets EIDRM.
pub fn remove(creds: &Credentials, id: i32) -> Result<()> {
    let mut registry = REGISTRY.lock();
    let perm = registry.ids.get(id).ok_or(EINVAL)?.perm;
    perm.check_owner(creds)?;
    let Some(set) = registry.ids.remove(id, perm.key) else {
        return Err(EINVAL);
    };
    registry.total -= set.sems.len();
    for list in set.undos.keys() {
        registry.forget(*list, id);
    }
    for pending in &set.queue {
        pending.wake(Err(EIDRM));
    }
    drop(registry);
    drop(set);
    Ok(())
}

/// IPC_SET.
pub fn set_owner(creds: &Credentials, id: i32, uid: u32, gid: u32, mode: u32) -> Result<()> {
    let mut registry = REGISTRY.lock();
    let set = registry.ids.get_mut(id).ok_or(EINVAL)?;
    set.perm.check_owner(creds)?;
    if uid == u32::MAX || gid == u32::MAX {
        return Err(EINVAL);
    }
    set.perm.set(uid, gid, mode);
    set.changed = now_seconds();
    Ok(())
}

/// Number of 32-bit words of `struct semid64_ds`.
pub const STAT_WORDS: usize = 26;

/// IPC_STAT and its like: the id, and `struct semid64_ds`.
pub fn stat(creds: &Credentials, id: i32, which: Stat) -> Result<(i32, [u32; STAT_WORDS])> {
    let registry = REGISTRY.lock();
    let (id, set) = registry.ids.asked(creds, id, which, |set| &set.perm)?;
    let mut words = [0; STAT_WORDS];
    words[..12].copy_from_slice(&set.perm.encode(id));
    put_long(&mut words, 12, set.operated as u64);
    put_long(&mut words, 16, set.changed as u64);
    put_long(&mut words, 20, set.sems.len() as u64);
    Ok((id, words))
}

/// IPC_INFO, or SEM_INFO with what is in `use`: the highest index, and `struct seminfo`.
pub fn info(in_use: bool) -> (usize, [i32; 10]) {
    let registry = REGISTRY.lock();
    let [per_set, total, ops, sets] = LIMITS.each_ref().map(|limit| limit.load(Relaxed));
    // What Linux keeps for an undo of one semaphore, and the most to be undone.
    let (usage, most) = match in_use {
        true => (registry.ids.len() as i32, registry.total as i32),
        false => (20, MAX_VALUE),
    };
    (registry.ids.max_index(), [total, sets, total, total, per_set, ops, ops, usage, MAX_VALUE, most])
}
