//! System V IPC: what its kinds of objects have in common (sysvipc(7)).
//!
//! An object has a *key*, which programs agree on, and an *id*, which the kernel gives out. An id is the index of a slot and,
//! above [`INDEX_BITS`] bits, a sequence number, so that the id of an object that was removed does not name the next one in
//! its slot. [`Ids`] holds the objects of one kind; [`Perm`] is `struct ipc_perm`, who owns an object and who may use it.
//!
//! [`sem`] has the semaphores, [`shm`] the shared memory segments, [`msg`] the message queues.

use alloc::collections::BTreeMap;

use crate::{
    prelude::*,
    process::{Cap, Credentials, Process, pid},
    time,
};

pub mod msg;
pub mod sem;
pub mod shm;

pub const IPC_CREAT: i32 = 0o1000;
pub const IPC_EXCL: i32 = 0o2000;
pub const IPC_PRIVATE: i32 = 0;

/// The low bits of an id are its index.
const INDEX_BITS: u32 = 15;
/// As many objects of a kind as there can be.
pub const MAX_OBJECTS: usize = 1 << INDEX_BITS;
const MAX_SEQUENCE: i32 = i32::MAX >> INDEX_BITS;
/// A slot is used again after this many others at least, so that ids come back late.
const MIN_CYCLE: usize = 64;

/// Permission to read and to change, as bits of any of the three classes.
pub const READ: u32 = 0o444;
pub const WRITE: u32 = 0o222;

/// Who owns an object, and who may do what with it.
#[derive(Clone, Copy, Debug)]
pub struct Perm {
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub creator_uid: u32,
    pub creator_gid: u32,
    pub mode: u32,
}

impl Perm {
    pub fn new(key: i32, flags: i32, creds: &Credentials) -> Perm {
        Perm {
            key,
            uid: creds.euid,
            gid: creds.egid,
            creator_uid: creds.euid,
            creator_gid: creds.egid,
            mode: flags as u32 & 0o777,
        }
    }

    fn is_owner(&self, creds: &Credentials) -> bool {
        creds.euid == self.creator_uid || creds.euid == self.uid
    }

    /// Whether all that `wanted` asks for, in any class of it, is granted to the class that `creds` is in.
    ///
    /// # Errors
    /// EACCES.
    pub fn check(&self, creds: &Credentials, wanted: u32) -> Result<()> {
        let wanted = wanted >> 6 | wanted >> 3 | wanted;
        let granted = if self.is_owner(creds) {
            self.mode >> 6
        } else if creds.in_group(self.creator_gid) || creds.in_group(self.gid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if wanted & !granted & 7 == 0 || creds.capable(Cap::IpcOwner) { Ok(()) } else { Err(EACCES) }
    }

    /// Who may remove an object and change its owner.
    ///
    /// # Errors
    /// EPERM.
    pub fn check_owner(&self, creds: &Credentials) -> Result<()> {
        if self.is_owner(creds) { Ok(()) } else { creds.require(Cap::SysAdmin) }
    }

    /// IPC_SET.
    pub fn set(&mut self, uid: u32, gid: u32, mode: u32) {
        (self.uid, self.gid) = (uid, gid);
        self.mode = mode & 0o777;
    }

    /// Whether all that the `flags` of semget(2) and its like ask for is granted; see [`check`](Self::check).
    ///
    /// # Errors
    /// EACCES.
    pub fn check_flags(&self, creds: &Credentials, flags: i32) -> Result<()> {
        self.check(creds, flags as u32 & 0o777)
    }

    /// `struct ipc64_perm`, in words of 32 bits; `id` tells the sequence number.
    pub fn encode(&self, id: i32) -> [u32; 12] {
        let mut words = [0; 12];
        let shown = [self.key as u32, self.uid, self.gid, self.creator_uid, self.creator_gid, self.mode];
        words[..6].copy_from_slice(&shown);
        words[6] = (id >> INDEX_BITS) as u32;
        words
    }
}

/// The objects of one kind.
pub struct Ids<T> {
    slots: BTreeMap<usize, (i32, T)>,
    keys: BTreeMap<i32, usize>,
    sequence: i32,
    /// The slot that was given out last.
    last: Option<usize>,
}

impl<T> Ids<T> {
    pub const fn new() -> Ids<T> {
        Ids { slots: BTreeMap::new(), keys: BTreeMap::new(), sequence: 0, last: None }
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The highest index in use, 0 if there is none.
    pub fn max_index(&self) -> usize {
        self.slots.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// The object that semget(2) and its like mean by `key`; `None` if they are to make one.
    ///
    /// # Errors
    /// ENOENT when there is none and none is to be made, EEXIST when there is one and only a new one will do.
    pub fn by_key(&self, key: i32, flags: i32) -> Result<Option<(i32, &T)>> {
        if key == IPC_PRIVATE {
            return Ok(None);
        }
        match self.keys.get(&key) {
            None if flags & IPC_CREAT == 0 => Err(ENOENT),
            None => Ok(None),
            Some(_) if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 => Err(EEXIST),
            Some(index) => Ok(self.by_index(*index)),
        }
    }

    pub fn by_index(&self, index: usize) -> Option<(i32, &T)> {
        self.slots.get(&index).map(|(id, object)| (*id, object))
    }

    pub fn get(&self, id: i32) -> Option<&T> {
        self.slots.get(&index_of(id)).filter(|slot| slot.0 == id).map(|slot| &slot.1)
    }

    pub fn get_mut(&mut self, id: i32) -> Option<&mut T> {
        self.slots.get_mut(&index_of(id)).filter(|slot| slot.0 == id).map(|slot| &mut slot.1)
    }

    pub fn iter(&self) -> impl Iterator<Item = (i32, &T)> {
        self.slots.values().map(|(id, object)| (*id, object))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.values_mut().map(|slot| &mut slot.1)
    }

    /// Adds an object and returns its id.
    ///
    /// # Errors
    /// ENOSPC when there are `limit` or as many as there can be.
    pub fn add(&mut self, key: i32, object: T, limit: usize) -> Result<i32> {
        if self.slots.len() >= limit.min(MAX_OBJECTS) {
            return Err(ENOSPC);
        }
        // Cyclic, in a range that is half as large again as what is used.
        let range = (self.slots.len() * 3 / 2).clamp(MIN_CYCLE, MAX_OBJECTS);
        let from = self.last.map_or(0, |last| last + 1);
        let free = |index: &usize| !self.slots.contains_key(index);
        let index = (from..range).find(free).or_else(|| (0..MAX_OBJECTS).find(free)).ok_or(ENOSPC)?;
        if self.last.is_some_and(|last| index <= last) {
            self.sequence = if self.sequence >= MAX_SEQUENCE { 0 } else { self.sequence + 1 };
        }
        self.last = Some(index);
        let id = self.sequence << INDEX_BITS | index as i32;
        self.slots.insert(index, (id, object));
        if key != IPC_PRIVATE {
            self.keys.insert(key, index);
        }
        Ok(id)
    }

    /// The object of `key` is not found by it any more.
    pub fn forget_key(&mut self, key: i32) {
        if key != IPC_PRIVATE {
            self.keys.remove(&key);
        }
    }

    pub fn remove(&mut self, id: i32, key: i32) -> Option<T> {
        self.get(id)?;
        self.forget_key(key);
        self.slots.remove(&index_of(id)).map(|slot| slot.1)
    }
}

/// The index in an id.
pub fn index_of(id: i32) -> usize {
    id as usize & (MAX_OBJECTS - 1)
}

/// Which object is meant, and who may see it: IPC_STAT and its like.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Stat {
    ById,
    ByIndex,
    /// By index, and nobody's permission is needed.
    AnyByIndex,
}

impl<T> Ids<T> {
    /// The object that is asked about, once `creds` may see it.
    ///
    /// # Errors
    /// EINVAL when there is none, EACCES.
    pub fn asked(
        &self,
        creds: &Credentials,
        id: i32,
        which: Stat,
        perm: impl FnOnce(&T) -> &Perm,
    ) -> Result<(i32, &T)> {
        let (id, object) = match which {
            Stat::ById => (id, self.get(id).ok_or(EINVAL)?),
            _ => self.by_index(index_of(id)).ok_or(EINVAL)?,
        };
        if which != Stat::AnyByIndex {
            perm(object).check(creds, READ)?;
        }
        Ok((id, object))
    }
}

/// Which process did something last, such that it can be told when the process is gone.
#[derive(Clone, Copy)]
pub struct LastPid {
    global: u32,
    ns: proctree::NsId,
    own: u32,
}

impl LastPid {
    pub fn of(process: &Process) -> LastPid {
        LastPid { global: process.global_pid(), ns: process.ns(), own: process.pid() }
    }

    #[cfg(feature = "ktest")]
    pub fn nobody(ns: proctree::NsId) -> LastPid {
        LastPid { global: 0, ns, own: 0 }
    }

    /// As readers in `ns` number it; 0 if there was none, or if it is not theirs to see. Takes the process-table lock.
    pub fn seen_from(this: Option<LastPid>, ns: proctree::NsId) -> u32 {
        match this {
            None => 0,
            Some(last) if last.ns == ns => last.own,
            Some(last) => pid::translate(last.global, ns),
        }
    }
}

pub fn now_seconds() -> i64 {
    (time::realtime_ns() / time::NSEC_PER_SEC) as i64
}

/// Whether programs may fill `bytes` more of the kernel's memory.
///
/// # Errors
/// ENOMEM.
pub fn check_room(bytes: usize) -> Result<()> {
    const SPARE_FRAMES: usize = 64;
    if ostd::mm::user_room_ok(bytes / PAGE_SIZE + SPARE_FRAMES) { Ok(()) } else { Err(ENOMEM) }
}

/// Words of 32 bits of a structure that has 64-bit ones at even places.
fn put_long(words: &mut [u32], at: usize, value: u64) {
    words[at] = value as u32;
    words[at + 1] = (value >> 32) as u32;
}
