//! Dentries: names of files, and the cache of them.
//!
//! A [`Dentry`] is a name in a directory and the inode it stands for; a *negative* one says that the name does not exist.
//! The inode of a dentry never changes: making or removing a file puts another dentry in the cache. Its place (parent and
//! name) changes only by rename, so that an open file or a working directory keeps knowing its path.
//!
//! The cache is one hash table, keyed by parent and name, of the dentries of all file systems. It is only a cache: any
//! entry that nobody else refers to can go, except that a mount point is kept by its mount. In file systems whose names
//! come and go by themselves (procfs) the cache does not keep dentries alive, but finds those that somebody holds, so
//! that a name has one dentry at a time and a mount on it is found.
//!
//! Locks: a bucket's spin lock, then the place's ([`DCACHE`](lock_order::DCACHE), [`DENTRY`](lock_order::DENTRY)).
//! Lookups that miss, and all changes, happen under the directory inode's lock, so that two dentries of one name can't be
//! made at the same time.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use ostd::sync::SpinLock;

use super::{inode::Inode, notify};
use crate::{lock_order, prelude::*};

/// Number of hash buckets, a power of two.
const BUCKETS: usize = 2048;

/// How many names a directory remembers as absent.
const MAX_ABSENT: usize = 128;

/// How many dentries the cache holds before unused ones are thrown out.
const MAX_CACHED: usize = 16 * 1024;

/// A name of a file: see the [module's description](self).
pub struct Dentry {
    place: SpinLock<Place>,
    inode: Option<Arc<dyn Inode>>,
    /// The cache does not keep it alive.
    volatile: bool,
    /// No longer (or never) reachable by its name.
    unhashed: AtomicBool,
    /// In no directory by any name: what happens to the file is not told to who watches it ([`notify`]).
    nowhere: bool,
    /// How many mounts have this as their mount point, in all namespaces.
    mounts: AtomicU32,
    /// What [`notify::generation`] was when nobody watched the directory; changed with the place locked.
    unwatched_at: AtomicU64,
}

struct Place {
    /// `None` for the root of a file system.
    parent: Option<Arc<Dentry>>,
    name: Box<[u8]>,
    /// Hashes of the cached names that do not exist in this directory: they go with it.
    absent: Vec<u32>,
}

impl Place {
    fn new(parent: Option<Arc<Dentry>>, name: &[u8]) -> Place {
        Place { parent, name: Box::from(name), absent: Vec::new() }
    }
}

impl Dentry {
    /// The root of a file system.
    pub fn new_root(inode: Arc<dyn Inode>, volatile: bool) -> Arc<Dentry> {
        Arc::new(Dentry {
            place: SpinLock::new(lock_order::DENTRY, Place::new(None, b"/")),
            inode: Some(inode),
            volatile,
            unhashed: AtomicBool::new(false),
            nowhere: false,
            mounts: AtomicU32::new(0),
            unwatched_at: AtomicU64::new(0),
        })
    }

    /// A dentry that is in no directory: for a file without a name, which is shown as `name`.
    pub fn new_unnamed(name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
        Self::unhashed(None, name, inode)
    }

    /// A dentry for a file that belongs to a directory, but has no name in it (O_TMPFILE).
    pub fn new_unlinked(parent: &Arc<Dentry>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
        Self::unhashed(Some(parent.clone()), name, inode)
    }

    fn unhashed(parent: Option<Arc<Dentry>>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
        Arc::new(Dentry {
            nowhere: parent.is_none(),
            place: SpinLock::new(lock_order::DENTRY, Place::new(parent, name)),
            inode: Some(inode),
            volatile: true,
            unhashed: AtomicBool::new(true),
            mounts: AtomicU32::new(0),
            unwatched_at: AtomicU64::new(0),
        })
    }

    /// The inode; `None` if the name does not exist.
    pub fn inode(&self) -> Option<&Arc<dyn Inode>> {
        self.inode.as_ref()
    }

    /// The directory that this name is in; `None` for a root.
    pub fn parent(&self) -> Option<Arc<Dentry>> {
        self.place.lock().parent.clone()
    }

    pub fn name(&self) -> Box<[u8]> {
        self.place.lock().name.clone()
    }

    /// Parent and name at one moment.
    pub fn place(&self) -> (Option<Arc<Dentry>>, Box<[u8]>) {
        let place = self.place.lock();
        (place.parent.clone(), place.name.clone())
    }

    /// Parent and name, if somebody watches what happens in the parent. That nobody does is a question of two loads, once
    /// it has been asked.
    pub fn watched_place(&self) -> Option<(Arc<Dentry>, Box<[u8]>)> {
        let generation = notify::generation();
        if self.unwatched_at.load(Relaxed) == generation {
            return None;
        }
        let place = self.place.lock();
        match &place.parent {
            Some(parent) if parent.inode.as_ref().is_some_and(|dir| notify::has_marks(dir.base())) => {
                Some((parent.clone(), place.name.clone()))
            }
            _ => {
                self.unwatched_at.store(generation, Relaxed);
                None
            }
        }
    }

    /// Whether it is in no directory by any name, and never was.
    pub fn is_nowhere(&self) -> bool {
        self.nowhere
    }

    /// Whether names of this file system come and go by themselves.
    pub fn is_volatile(&self) -> bool {
        self.volatile
    }

    /// Whether the file was unlinked from this name (shown as " (deleted)").
    pub fn is_unhashed(&self) -> bool {
        self.unhashed.load(Relaxed)
    }

    pub fn is_mount_point(&self) -> bool {
        self.mounts.load(Relaxed) != 0
    }

    /// A mount on this dentry begins or ends.
    pub fn count_mount(&self, begins: bool) {
        if begins {
            self.mounts.fetch_add(1, Relaxed);
        } else {
            self.mounts.fetch_sub(1, Relaxed);
        }
    }

    /// The path from the root of its file system.
    pub fn path_in_fs(self: &Arc<Self>) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = self.clone();
        while let (Some(parent), name) = at.place() {
            names.push(name);
            at = parent;
        }
        if names.is_empty() {
            return b"/".to_vec();
        }
        names.iter().rev().flat_map(|name| [b"/", &name[..]].concat()).collect()
    }

    /// Whether `self` is `other` or below it.
    pub fn is_below(self: &Arc<Self>, other: &Arc<Dentry>) -> bool {
        let mut at = self.clone();
        loop {
            if Arc::ptr_eq(&at, other) {
                return true;
            }
            let Some(parent) = at.parent() else {
                return false;
            };
            at = parent;
        }
    }

    /// Enters the cache under a new name.
    fn move_to(self: &Arc<Self>, parent: Arc<Dentry>, name: Box<[u8]>) {
        let hash = hash(&parent, &name);
        let old = {
            let mut place = self.place.lock();
            place.name = name;
            self.unwatched_at.store(0, Relaxed);
            place.parent.replace(parent)
        };
        drop(old);
        self.unhashed.store(false, Relaxed);
        add(self, hash);
    }

    fn forget_absent(&self, hash: u32) {
        let mut place = self.place.lock();
        if let Some(at) = place.absent.iter().position(|&h| h == hash) {
            place.absent.swap_remove(at);
        }
    }

    fn is(&self, parent: &Arc<Dentry>, name: &[u8]) -> bool {
        let place = self.place.lock();
        *place.name == *name && place.parent.as_ref().is_some_and(|p| Arc::ptr_eq(p, parent))
    }
}

impl Drop for Dentry {
    /// A dentry whose removed ancestors live for it alone takes them along, one after the other: a program can make the chain
    /// longer than a kernel stack is deep.
    fn drop(&mut self) {
        let address: *const Dentry = self;
        self.leave_cache(address);
        let mut next = self.place.get_mut().parent.take();
        while let Some(last) = next {
            let address = Arc::as_ptr(&last);
            let Some(mut dentry) = Arc::into_inner(last) else { return };
            dentry.leave_cache(address);
            next = dentry.place.get_mut().parent.take();
        }
    }
}

impl Dentry {
    /// A volatile dentry that goes leaves no trace in the cache, which knows it by the `address` that it has lived at.
    fn leave_cache(&mut self, address: *const Dentry) {
        // Taken, so that it is told once.
        if let Some(inode) = self.inode.take() {
            notify::dentry_gone(&inode);
        }
        if !self.volatile || *self.unhashed.get_mut() {
            return;
        }
        let place = self.place.get_mut();
        let Some(parent) = &place.parent else { return };
        let hash = hash(parent, &place.name);
        let slot = {
            let mut bucket = bucket(hash).lock();
            let at = bucket.iter().position(|slot| slot.points_to(address));
            at.map(|at| bucket.swap_remove(at))
        };
        if slot.is_some() {
            CACHED.fetch_sub(1, Relaxed);
        }
    }
}

/// How the cache refers to a dentry.
enum Ref {
    Strong(Arc<Dentry>),
    /// For volatile file systems.
    Weak(Weak<Dentry>),
}

struct Slot {
    hash: u32,
    dentry: Ref,
}

impl Slot {
    fn get(&self) -> Option<Arc<Dentry>> {
        match &self.dentry {
            Ref::Strong(dentry) => Some(dentry.clone()),
            Ref::Weak(dentry) => dentry.upgrade(),
        }
    }

    fn points_to(&self, dentry: *const Dentry) -> bool {
        match &self.dentry {
            Ref::Strong(d) => Arc::as_ptr(d) == dentry,
            Ref::Weak(d) => d.as_ptr() == dentry,
        }
    }

    /// A name that does not exist in `parent`.
    fn is_absent_in(&self, parent: &Arc<Dentry>) -> bool {
        let Ref::Strong(dentry) = &self.dentry else { return false };
        dentry.inode.is_none() && dentry.place.lock().parent.as_ref().is_some_and(|p| Arc::ptr_eq(p, parent))
    }

    /// Nobody would miss it.
    fn is_unused(&self) -> bool {
        match &self.dentry {
            Ref::Strong(dentry) => Arc::strong_count(dentry) == 1,
            Ref::Weak(dentry) => dentry.strong_count() == 0,
        }
    }
}

type Bucket = SpinLock<Vec<Slot>>;

static TABLE: [Bucket; BUCKETS] = [const { SpinLock::new(lock_order::DCACHE, Vec::new()) }; BUCKETS];

static CACHED: AtomicUsize = AtomicUsize::new(0);

/// Where the next search for unused entries starts.
static HAND: AtomicUsize = AtomicUsize::new(0);

/// FNV-1a over eight bytes at a time, from the parent's address.
fn hash(parent: &Arc<Dentry>, name: &[u8]) -> u32 {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = (Arc::as_ptr(parent) as usize as u64 >> 4).wrapping_mul(PRIME);
    let mut chunks = name.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(PRIME).rotate_left(29);
    }
    let mut last = name.len() as u64;
    for &byte in chunks.remainder() {
        last = last << 8 | u64::from(byte);
    }
    hash = (hash ^ last).wrapping_mul(PRIME);
    (hash >> 32) as u32
}

fn bucket(hash: u32) -> &'static Bucket {
    &TABLE[hash as usize % BUCKETS]
}

/// The cached dentry of `name` in `parent`.
pub fn lookup(parent: &Arc<Dentry>, name: &[u8]) -> Option<Arc<Dentry>> {
    let hash = hash(parent, name);
    // Dropped with the bucket unlocked, which the drop of a volatile dentry locks.
    let mut others = Vec::new();
    let bucket = bucket(hash).lock();
    for slot in bucket.iter().filter(|slot| slot.hash == hash) {
        match slot.get() {
            Some(dentry) if dentry.is(parent, name) => {
                drop(bucket);
                return Some(dentry);
            }
            Some(dentry) => others.push(dentry),
            None => {}
        }
    }
    drop(bucket);
    None
}

/// Puts the dentry of a file in the cache, in place of one of the same name. The directory inode's lock is held.
pub fn insert(parent: &Arc<Dentry>, name: &[u8], inode: Arc<dyn Inode>) -> Arc<Dentry> {
    let dentry = new_child(parent, name, Some(inode));
    remove_name(parent, name);
    add(&dentry, hash(parent, name));
    dentry
}

/// The dentry of a name that does not exist, remembered unless there are too many of them in the directory. The directory
/// inode's lock is held.
pub fn insert_negative(parent: &Arc<Dentry>, name: &[u8]) -> Arc<Dentry> {
    let dentry = new_child(parent, name, None);
    let hash = hash(parent, name);
    let remembered = {
        let mut place = parent.place.lock();
        let room = place.absent.len() < MAX_ABSENT;
        if room {
            place.absent.push(hash);
        }
        room
    };
    if remembered {
        add(&dentry, hash);
    }
    dentry
}

fn new_child(parent: &Arc<Dentry>, name: &[u8], inode: Option<Arc<dyn Inode>>) -> Arc<Dentry> {
    Arc::new(Dentry {
        place: SpinLock::new(lock_order::DENTRY, Place::new(Some(parent.clone()), name)),
        inode,
        volatile: parent.volatile,
        unhashed: AtomicBool::new(false),
        nowhere: false,
        mounts: AtomicU32::new(0),
        unwatched_at: AtomicU64::new(0),
    })
}

fn add(dentry: &Arc<Dentry>, hash: u32) {
    let reference =
        if dentry.volatile { Ref::Weak(Arc::downgrade(dentry)) } else { Ref::Strong(dentry.clone()) };
    bucket(hash).lock().push(Slot { hash, dentry: reference });
    if CACHED.fetch_add(1, Relaxed) >= MAX_CACHED {
        shrink(BUCKETS / 16);
    }
}

/// Takes a dentry out of the cache: its name no longer leads to it.
pub fn remove(dentry: &Dentry) {
    let (parent, hash) = {
        let place = dentry.place.lock();
        let Some(parent) = &place.parent else { return };
        (parent.clone(), hash(parent, &place.name))
    };
    let slot = {
        let mut bucket = bucket(hash).lock();
        let at = bucket.iter().position(|slot| slot.points_to(dentry));
        at.map(|at| bucket.swap_remove(at))
    };
    if slot.is_some() {
        CACHED.fetch_sub(1, Relaxed);
        if dentry.inode.is_none() {
            parent.forget_absent(hash);
        }
    }
    dentry.unhashed.store(true, Relaxed);
}

fn remove_name(parent: &Arc<Dentry>, name: &[u8]) {
    if let Some(old) = lookup(parent, name) {
        remove(&old);
    }
}

/// A directory was removed: takes it out of the cache, and with it the names that were looked for in vain in it.
pub fn remove_directory(dentry: &Arc<Dentry>) {
    remove(dentry);
    let absent = core::mem::take(&mut dentry.place.lock().absent);
    for hash in absent {
        let slot = {
            let mut bucket = bucket(hash).lock();
            let at = bucket.iter().position(|slot| slot.hash == hash && slot.is_absent_in(dentry));
            at.map(|at| bucket.swap_remove(at))
        };
        if slot.is_some() {
            CACHED.fetch_sub(1, Relaxed);
        }
    }
}

/// Moves a dentry to another place; what was cached there is dropped. The locks of both directories are held.
pub fn rename(dentry: &Arc<Dentry>, new_parent: &Arc<Dentry>, new_name: &[u8]) {
    remove(dentry);
    if let Some(replaced) = lookup(new_parent, new_name) {
        remove_directory(&replaced);
    }
    dentry.move_to(new_parent.clone(), Box::from(new_name));
}

/// Exchanges the places of two dentries.
pub fn exchange(a: &Arc<Dentry>, b: &Arc<Dentry>) {
    let (Some(a_parent), a_name) = a.place() else { return };
    let (Some(b_parent), b_name) = b.place() else { return };
    remove(a);
    remove(b);
    a.move_to(b_parent, b_name);
    b.move_to(a_parent, a_name);
}

/// Drops unused entries of the next `buckets` buckets, and the directories that they are the last in.
fn shrink(buckets: usize) {
    let start = HAND.fetch_add(buckets, Relaxed);
    for at in start..start + buckets {
        // Dropped with the lock released: a parent's last reference may go with its last child's.
        let mut unused = Vec::new();
        let mut memory = Vec::new();
        {
            let mut bucket = TABLE[at % BUCKETS].lock();
            let mut i = 0;
            while i < bucket.len() {
                if bucket[i].is_unused() {
                    unused.push(bucket.swap_remove(i));
                } else {
                    i += 1;
                }
            }
            if bucket.is_empty() {
                // A bucket without entries keeps no memory either.
                memory = core::mem::take(&mut *bucket);
            }
        }
        drop(memory);
        CACHED.fetch_sub(unused.len(), Relaxed);
        for slot in unused {
            if let Ref::Strong(dentry) = &slot.dentry
                && dentry.inode.is_none()
                && let Some(parent) = dentry.parent()
            {
                parent.forget_absent(slot.hash);
            }
            prune(slot);
        }
    }
}

/// Drops an entry that was taken out of the cache, and its ancestors for as long as nothing else is left of them.
fn prune(mut slot: Slot) {
    loop {
        let Ref::Strong(dentry) = &slot.dentry else { return };
        let Some(parent) = dentry.parent() else { return };
        drop(slot);
        let (Some(above), name) = parent.place() else { return };
        let hash = hash(&above, &name);
        drop(above);
        // Its own reference and the cache's.
        if Arc::strong_count(&parent) > 2 {
            return;
        }
        let place = Arc::as_ptr(&parent);
        drop(parent);
        let mut bucket = bucket(hash).lock();
        let at = bucket.iter().position(|slot| match &slot.dentry {
            Ref::Strong(dentry) => Arc::as_ptr(dentry) == place && slot.is_unused(),
            Ref::Weak(_) => false,
        });
        let Some(at) = at else { return };
        slot = bucket.swap_remove(at);
        drop(bucket);
        CACHED.fetch_sub(1, Relaxed);
    }
}

/// How many entries the cache has.
#[cfg(feature = "ktest")]
pub fn cached() -> usize {
    CACHED.load(Relaxed)
}

/// Drops everything that is not in use, as far as it is not the parent of something in use. For memory pressure and
/// leak tests.
pub fn shrink_all() {
    // A directory becomes unused when its last child is gone: a deep tree needs as many rounds.
    loop {
        let before = CACHED.load(Relaxed);
        shrink(BUCKETS);
        if CACHED.load(Relaxed) == before {
            return;
        }
    }
}
