//! Sockets in flight: those whose descriptors are in messages, and the cycles that these can make.
//!
//! A socket that is sent to itself, and then closed, is held by the message in its own queue alone; nobody can ever
//! receive it. Reference counts do not see that. So it is looked for, as in Linux, when a socket is closed while others
//! are in flight:
//!
//! 1. *Candidates* are the sockets in flight whose open files have no reference but those from messages.
//! 2. From a candidate's count of messages, those are taken away that wait in queues of candidates. Where something
//!    is left, a message waits in the queue of a socket that somebody has: it can be received, and all that it leads to.
//! 3. The other candidates are garbage: the descriptors in their queues are closed.
//!
//! Candidates can't change sides meanwhile: to send one on, a thread needs a reference to its file, and tells
//! [`take_off`], which waits for the search. One that is received meanwhile still counts as in flight, and lives.
//!
//! Closing files in a queue may close sockets with files in their queues, and so on without end: [`close`] works that off in
//! a loop, so that it does not need the stack.
//!
//! Locks: [`UNIX_GC`](lock_order::UNIX_GC) for the table of sockets in flight, held for the whole search, and within it the
//! queues. Files are closed with neither held.

use alloc::collections::{BTreeMap, VecDeque};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ostd::{
    sync::{Mutex, SpinLock},
    task,
};

use super::{Core, State, UnixSocket, packet::Message, rights::InFlight};
use crate::{fs::File, lock_order, net::Socket, prelude::*};

/// With more sockets in flight than this, a send looks for garbage first.
const MANY: usize = 16_000;

struct Entry {
    core: Arc<Core>,
    /// In how many messages.
    count: usize,
}

/// By [`Core::key`].
type Sockets = BTreeMap<usize, Entry>;

static IN_FLIGHT: Mutex<Sockets> = Mutex::new(lock_order::UNIX_GC, BTreeMap::new());

/// How many sockets are in [`IN_FLIGHT`]. Written under its lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The AF_UNIX socket behind an open file.
fn core_of(file: &File) -> Option<&Arc<Core>> {
    let socket: &UnixSocket = file.downcast::<Socket>()?.protocol().as_any().downcast_ref()?;
    Some(socket.core())
}

fn cores(files: &[Arc<File>]) -> impl Iterator<Item = &Arc<Core>> {
    files.iter().filter_map(|file| core_of(file))
}

/// Files have been put into a message.
pub fn take_off(files: &[Arc<File>]) {
    if cores(files).next().is_none() {
        return;
    }
    if COUNT.load(Relaxed) > MANY {
        collect();
    }
    let mut sockets = IN_FLIGHT.lock();
    for core in cores(files) {
        let entry = sockets.entry(core.key()).or_insert_with(|| Entry { core: core.clone(), count: 0 });
        entry.count += 1;
    }
    COUNT.store(sockets.len(), Relaxed);
}

/// Files have been taken out of a message.
pub fn land(files: &[Arc<File>]) {
    if cores(files).next().is_none() {
        return;
    }
    let mut sockets = IN_FLIGHT.lock();
    let mut gone = Vec::new();
    for core in cores(files) {
        if let Some(entry) = sockets.get_mut(&core.key()) {
            entry.count -= 1;
            if entry.count == 0 {
                gone.extend(sockets.remove(&core.key()));
            }
        }
    }
    COUNT.store(sockets.len(), Relaxed);
    drop(sockets);
    drop(gone);
}

/// A socket was closed: others may have become unreachable.
pub fn collect_if_needed() {
    if COUNT.load(Relaxed) > 0 {
        collect();
    }
}

/// Shows `look` the keys of the sockets in the messages that wait in a socket's queues, and in those of connections that it
/// has not accepted.
fn for_each_child(core: &Core, look: &mut dyn FnMut(usize)) {
    for queue in queues(core) {
        let of = |in_flight: &InFlight, look: &mut dyn FnMut(usize)| {
            in_flight.iter().filter_map(|file| core_of(file)).for_each(|core| look(core.key()));
        };
        queue.stream.lock().in_flight().for_each(|in_flight| of(in_flight, look));
        queue.packets.lock().in_flight().for_each(|in_flight| of(in_flight, look));
    }
}

/// The socket itself and its connections that nobody has accepted.
fn queues(core: &Core) -> Vec<Arc<Core>> {
    let mut all = Vec::new();
    if core.state() == State::Listening {
        all = core.backlog.lock().cores();
    }
    all.extend(core.this());
    all
}

/// What the queues of garbage held.
#[derive(Default)]
struct Garbage {
    in_flight: Vec<InFlight>,
    messages: Vec<VecDeque<Message>>,
}

/// Finds the sockets in flight that nobody can receive, and empties their queues.
pub fn collect() {
    let sockets = IN_FLIGHT.lock();
    let garbage = find(&sockets);
    let mut taken = Garbage::default();
    for queue in garbage.iter().flat_map(|core| queues(core)) {
        taken.in_flight.extend(queue.stream.lock().empty());
        taken.messages.push(queue.packets.lock().empty());
    }
    drop(sockets);
    drop(taken);
}

fn find(sockets: &Sockets) -> Vec<Arc<Core>> {
    let is_candidate = |entry: &Entry| {
        let references = entry.core.file.get().map_or(usize::MAX, Weak::strong_count);
        references == entry.count
    };
    // How many messages are not yet accounted for.
    let mut left: BTreeMap<usize, usize> = sockets
        .iter()
        .filter(|(_, entry)| is_candidate(entry))
        .map(|(key, entry)| (*key, entry.count))
        .collect();
    let candidates: Vec<usize> = left.keys().copied().collect();
    for key in &candidates {
        for_each_child(&sockets[key].core, &mut |child| {
            if let Some(count) = left.get_mut(&child) {
                *count = count.saturating_sub(1);
            }
        });
    }
    // Everything that a reachable candidate leads to is reachable.
    let mut reached: Vec<usize> = candidates.iter().copied().filter(|key| left[key] > 0).collect();
    left.retain(|_, count| *count == 0);
    while let Some(key) = reached.pop() {
        for_each_child(&sockets[&key].core, &mut |child| {
            if left.remove(&child).is_some() {
                reached.push(child);
            }
        });
    }
    left.keys().map(|key| sockets[key].core.clone()).collect()
}

/// Files that a task is closing.
type Closing = Vec<(usize, VecDeque<Arc<File>>)>;

static CLOSING: SpinLock<Closing> = SpinLock::new(lock_order::UNIX_CLOSING, Vec::new());

/// Closes files that were in a message. If this is called because another such file is being closed, that call does it.
pub fn close(files: Vec<Arc<File>>) {
    if files.is_empty() {
        return;
    }
    let me = core::ptr::from_ref(&*task::current()) as usize;
    {
        let mut closing = CLOSING.lock();
        if let Some((_, waiting)) = closing.iter_mut().find(|(task, _)| *task == me) {
            waiting.extend(files);
            return;
        }
        closing.push((me, files.into()));
    }
    while let Some(file) = next_to_close(me) {
        drop(file);
    }
}

/// The next file that the task has to close; at the end it is no longer closing.
fn next_to_close(me: usize) -> Option<Arc<File>> {
    let mut closing = CLOSING.lock();
    let index = closing.iter().position(|(task, _)| *task == me)?;
    let file = closing[index].1.pop_front();
    if file.is_none() {
        closing.swap_remove(index);
    }
    file
}

/// How many sockets are in flight, for tests.
#[cfg(feature = "ktest")]
pub fn count() -> usize {
    COUNT.load(Relaxed)
}
