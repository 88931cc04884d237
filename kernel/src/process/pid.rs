//! From numbers to processes: the lookup behind kill(2), pidfds and every syscall that takes a pid.
//!
//! A hash of numbers with a spin lock per bucket, so that `kill(pid, 0)` does not touch the process table. Each
//! entry belongs to a number that is allocated (rule 0.4) and says which thread has it. The entry outlives the
//! thread: a zombie's or a process group's number has no thread any more, and whoever wants to know more asks
//! the table by the entry's [`PidId`].
//!
//! Entries are made and removed with the table locked, in the same step as the table's own change; readers need
//! the bucket's lock only. Rank: `PID_SHARD`, inside `TABLE`.
//!
//! What pidfds share ([`PidRef`]) hangs at the entry of the number in the pid's own namespace, from the first pidfd on and as
//! long as the number is allocated: a task without pidfds pays for a null pointer.

use proctree::{Body, NsId, Numbers, PidId};

use ostd::sync::SpinLock;

use super::{
    Credentials, Process, Remains, Thread,
    namespace::PidNs,
    pidfd::PidRef,
    tree::{self, Table},
};
use crate::{lock_order, prelude::*};

struct Entry {
    ns: NsId,
    nr: u32,
    pid: PidId,
    /// The thread of this number; a leader that is dead while its group lives is still here.
    thread: Option<Arc<Thread>>,
    /// What the pidfds of this pid refer to, once there has been one.
    pid_ref: Option<Arc<PidRef>>,
}

/// What an entry held, to be dropped outside the table's lock.
#[derive(Default)]
pub(super) struct Held {
    pub thread: Option<Arc<Thread>>,
    pub pid_ref: Option<Arc<PidRef>>,
}

/// A pid by a number and its identity: another pid that gets the number later is not taken for it (rule 13.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub ns: NsId,
    pub nr: u32,
    pub pid: PidId,
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
    if let Some(numbers) = table.numbers(pid) {
        for_each_level(ns, numbers, |ns, nr| insert_number(ns, nr, pid, thread.clone()));
    }
}

/// Calls `f` for each namespace that knows a pid of `ns`, and its number there: the innermost first.
fn for_each_level(ns: &PidNs, numbers: &Numbers, mut f: impl FnMut(NsId, u32)) {
    f(ns.id(), numbers.innermost());
    let mut at = ns;
    while let Some(above) = at.parent() {
        f(above.id(), numbers.at(above.level()).unwrap_or(0));
        at = above;
    }
}

fn insert_number(ns: NsId, nr: u32, pid: PidId, thread: Arc<Thread>) {
    let entry = Entry { ns, nr, pid, thread: Some(thread), pid_ref: None };
    let mut bucket = bucket(ns, nr).lock();
    if bucket.first.is_none() {
        bucket.first = Some(entry);
    } else {
        if bucket.more.is_empty() {
            // Among a thousand processes there is one more as a rule, where push would make room for four.
            bucket.more.reserve_exact(1);
        }
        bucket.more.push(entry);
    }
}

/// Forgets a number that is free again. What was left there is the caller's to drop outside the table's lock.
pub(super) fn remove(ns: NsId, nr: u32) -> Held {
    let mut bucket = bucket(ns, nr).lock();
    let entry = if bucket.first.as_ref().is_some_and(|entry| entry.nr == nr && entry.ns == ns) {
        bucket.first.take()
    } else {
        let position = bucket.more.iter().position(|entry| entry.nr == nr && entry.ns == ns);
        let entry = position.map(|position| bucket.more.swap_remove(position));
        if bucket.more.is_empty() {
            bucket.more = Vec::new();
        }
        entry
    };
    entry.map_or_else(Held::default, |entry| Held { thread: entry.thread, pid_ref: entry.pid_ref })
}

/// The task of a pid of `ns` has exited: takes the thread away at all levels, and tells of the pidfds. The numbers may live on,
/// as those of a zombie, a group or a session. Called with the table locked.
pub(super) fn retire(ns: &PidNs, numbers: &Numbers) -> Held {
    let mut held = Held::default();
    for_each_level(ns, numbers, |ns, nr| {
        if let Some(entry) = bucket(ns, nr).lock().find(ns, nr) {
            // All levels had the same one.
            held.thread = entry.thread.take();
            if let Some(pid_ref) = &entry.pid_ref {
                held.pid_ref = Some(pid_ref.clone());
            }
        }
    });
    held
}

/// Replaces the thread behind a pid of `ns` at all levels, and returns the old one to be dropped outside the table's lock.
pub(super) fn set_thread(
    table: &Table,
    ns: &PidNs,
    pid: Option<PidId>,
    thread: Option<&Arc<Thread>>,
) -> Option<Arc<Thread>> {
    let mut old = None;
    for_each_level(ns, table.numbers(pid?)?, |ns, nr| {
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

/// The thread of a pid, if the number is still that pid's: see [`thread`].
pub fn thread_of(key: &Key) -> Option<Arc<Thread>> {
    let mut bucket = bucket(key.ns, key.nr).lock();
    bucket.find(key.ns, key.nr).filter(|entry| entry.pid == key.pid)?.thread.clone()
}

/// The pid of a number, and its thread.
pub(super) fn resolve(ns: NsId, nr: u32) -> Option<(PidId, Option<Arc<Thread>>)> {
    bucket(ns, nr).lock().find(ns, nr).map(|entry| (entry.pid, entry.thread.clone()))
}

/// What the pidfds of a pid refer to, if there has been one.
pub(super) fn pid_ref(key: &Key) -> Option<Arc<PidRef>> {
    let mut bucket = bucket(key.ns, key.nr).lock();
    bucket.find(key.ns, key.nr).filter(|entry| entry.pid == key.pid)?.pid_ref.clone()
}

/// Hangs `new` at the entry of its pid, and returns what is there then: `new`, or what another thread was quicker to hang there.
/// `None` if the number has no thread any more; a zombie's is let pass with the table locked, which is `dead`.
pub(super) fn attach(new: Arc<PidRef>, dead: bool) -> Option<Arc<PidRef>> {
    let key = new.key();
    let mut bucket = bucket(key.ns, key.nr).lock();
    let entry = bucket.find(key.ns, key.nr).filter(|entry| entry.pid == key.pid)?;
    if entry.thread.is_none() && !dead {
        return None;
    }
    Some(entry.pid_ref.get_or_insert(new).clone())
}

/// What kill(2) finds behind a number.
pub enum Target {
    Thread(Arc<Thread>),
    /// A dead process that nobody has waited for yet, with what decides who may signal it (rule 3.12).
    Zombie(tree::Corpse),
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
    zombie(pid)
}

/// As [`find`], of a pid whose number may have been given to another one since.
pub fn find_exact(key: &Key) -> Option<Target> {
    match thread_of(key) {
        Some(thread) => Some(Target::Thread(thread)),
        None => zombie(key.pid),
    }
}

fn zombie(pid: PidId) -> Option<Target> {
    let table = tree::lock();
    tree::corpse(&table, table.pid_process(pid)?).map(Target::Zombie)
}

/// The number in `ns` of a pid that the initial namespace knows by `nr`: 0 if it has none there.
pub fn translate(nr: u32, ns: NsId) -> u32 {
    if ns == tree::root_ns() {
        return nr;
    }
    lookup(tree::root_ns(), nr).map_or(0, |pid| tree::lock().nr(pid, ns))
}

/// The credentials behind a number in the caller's namespace: a thread's, or those that a zombie had.
pub fn creds(nr: u32) -> Option<Arc<Credentials>> {
    let ns = Thread::current().process.ns();
    if let Some(thread) = thread(ns, nr) {
        return Some(thread.creds());
    }
    let pid = lookup(ns, nr)?;
    let table = tree::lock();
    match table.body(table.pid_process(pid)?)? {
        Body::Zombie(record) => Some(record.creds.clone()),
        Body::Live(process) => Some(process.creds()),
    }
}

/// What is left of the zombie with this number.
pub fn remains(ns: NsId, nr: u32) -> Option<Remains> {
    let pid = lookup(ns, nr)?;
    let table = tree::lock();
    Remains::of(&table, table.pid_process(pid)?)
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
