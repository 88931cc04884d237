//! From numbers to processes: the lookup behind kill(2), pidfds and every syscall that takes a pid.
//!
//! A hash of numbers with a spin lock per bucket, so that `kill(pid, 0)` does not touch the process table. Each
//! entry belongs to a number that is allocated (rule 0.4) and says which thread has it. The entry outlives the
//! thread: a zombie's or a process group's number has no thread any more, and whoever wants to know more asks
//! the table by the entry's [`PidId`].
//!
//! Entries are made and removed with the table locked, in the same step as the table's own change; readers need
//! the bucket's lock only. Rank: `PID_SHARD`, inside `TABLE`.

use proctree::{Body, NsId, PidId};

use ostd::sync::SpinLock;

use super::{
    Process, Thread,
    namespace::PidNs,
    tree::{self, Table},
};
use crate::{lock_order, prelude::*};

struct Entry {
    ns: NsId,
    nr: u32,
    pid: PidId,
    /// The thread of this number; a leader that is dead while its group lives is still here.
    thread: Option<Arc<Thread>>,
}

/// Most buckets hold one entry at most, which needs no memory of its own.
struct Bucket {
    first: Option<Entry>,
    more: Vec<Entry>,
}

impl Bucket {
    fn find(&mut self, ns: NsId, nr: u32) -> Option<&mut Entry> {
        self.first.iter_mut().chain(&mut self.more).find(|entry| entry.nr == nr && entry.ns == ns)
    }
}

const BUCKETS: usize = 1024;

static MAP: [SpinLock<Bucket>; BUCKETS] =
    [const { SpinLock::new(lock_order::PID_SHARD, Bucket { first: None, more: Vec::new() }) }; BUCKETS];

/// Numbers are given out in sequence, so the low bits spread them perfectly; namespaces are told apart by
/// their index.
fn bucket(ns: NsId, nr: u32) -> &'static SpinLock<Bucket> {
    let spread = (ns.to_bits() as u32).wrapping_mul(0x9e37_79b1) >> 22;
    &MAP[(nr ^ spread) as usize % BUCKETS]
}

/// Enters the numbers of a new pid in `ns`, one for each level.
pub(super) fn insert(table: &Table, ns: &PidNs, pid: PidId, thread: &Arc<Thread>) {
    for_each_level(table, ns, pid, |ns, nr| insert_number(ns, nr, pid, thread.clone()));
}

/// Calls `f` for each namespace that knows `pid`, which is one of `ns`, and its number there: the innermost first.
fn for_each_level(table: &Table, ns: &PidNs, pid: PidId, mut f: impl FnMut(NsId, u32)) {
    let Some(numbers) = table.numbers(pid) else {
        return;
    };
    f(ns.id(), numbers.innermost());
    let mut at = ns;
    while let Some(above) = at.parent() {
        f(above.id(), numbers.at(above.level()).unwrap_or(0));
        at = above;
    }
}

fn insert_number(ns: NsId, nr: u32, pid: PidId, thread: Arc<Thread>) {
    let entry = Entry { ns, nr, pid, thread: Some(thread) };
    let mut bucket = bucket(ns, nr).lock();
    if bucket.first.is_none() {
        bucket.first = Some(entry);
    } else {
        bucket.more.push(entry);
    }
}

/// Forgets a number that is free again. The thread, if one was left, is the caller's to drop outside the table's lock.
pub(super) fn remove(ns: NsId, nr: u32) -> Option<Arc<Thread>> {
    let mut bucket = bucket(ns, nr).lock();
    if bucket.first.as_ref().is_some_and(|entry| entry.nr == nr && entry.ns == ns) {
        return bucket.first.take()?.thread;
    }
    let position = bucket.more.iter().position(|entry| entry.nr == nr && entry.ns == ns)?;
    let entry = bucket.more.swap_remove(position);
    if bucket.more.is_empty() {
        bucket.more = Vec::new();
    }
    entry.thread
}

/// Replaces the thread behind a pid of `ns` at all levels, and returns the old one to be dropped outside the table's lock.
pub(super) fn set_thread(
    table: &Table,
    ns: &PidNs,
    pid: Option<PidId>,
    thread: Option<&Arc<Thread>>,
) -> Option<Arc<Thread>> {
    let mut old = None;
    for_each_level(table, ns, pid?, |ns, nr| {
        if let Some(entry) = bucket(ns, nr).lock().find(ns, nr) {
            // All levels had the same one: it is freed with the last that is returned.
            old = core::mem::replace(&mut entry.thread, thread.cloned());
        }
    });
    old
}

/// The pid of a number in use, whoever uses it.
pub fn lookup(ns: NsId, nr: u32) -> Option<PidId> {
    bucket(ns, nr).lock().find(ns, nr).map(|entry| entry.pid)
}

/// The thread with this tid: also a dead leader's while its group lives, but not a zombie's.
pub fn thread(ns: NsId, tid: u32) -> Option<Arc<Thread>> {
    bucket(ns, tid).lock().find(ns, tid)?.thread.clone()
}

/// The live process that the thread with this number belongs to (kill(2) takes a tid as well, rule 7.1).
pub fn process(ns: NsId, nr: u32) -> Option<Arc<Process>> {
    thread(ns, nr).map(|thread| thread.process.clone())
}

/// What kill(2) finds behind a number.
pub enum Target {
    Thread(Arc<Thread>),
    /// A dead process that nobody has waited for yet, with the ids that decide who may signal it (rule 3.12).
    Zombie {
        uid: u32,
        suid: u32,
    },
}

/// The thread or zombie of a number in the caller's namespace. Only a zombie takes the table's lock.
pub fn find(nr: u32) -> Option<Target> {
    let ns = Thread::try_current().map_or_else(tree::root_ns, |thread| thread.process.ns());
    let pid = {
        let mut bucket = bucket(ns, nr).lock();
        let entry = bucket.find(ns, nr)?;
        if let Some(thread) = &entry.thread {
            return Some(Target::Thread(thread.clone()));
        }
        entry.pid
    };
    let table = tree::lock();
    match table.body(table.pid_process(pid)?)? {
        Body::Zombie(record) => Some(Target::Zombie { uid: record.creds.uid, suid: record.creds.suid }),
        Body::Live(_) => None,
    }
}

/// The number in `ns` of a pid that the initial namespace knows by `nr`: 0 if it has none there.
pub fn translate(nr: u32, ns: NsId) -> u32 {
    if ns == tree::root_ns() {
        return nr;
    }
    lookup(tree::root_ns(), nr).map_or(0, |pid| tree::lock().nr(pid, ns))
}

/// How many numbers are in use: the leak check of the test suite compares it before and after.
#[cfg_attr(not(ktest), allow(dead_code))]
pub fn count() -> usize {
    MAP.iter()
        .map(|bucket| {
            let bucket = bucket.lock();
            bucket.first.is_some() as usize + bucket.more.len()
        })
        .sum()
}
