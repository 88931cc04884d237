//! Sockets in flight: those whose descriptors are in messages, and the cycles that these can make.
//!
//! A socket that is sent to itself, and then closed, is held by the message in its own queue alone; nobody can ever
//! receive it. Reference counts do not see that. So it is looked for, as in Linux, when a socket is closed while there may be
//! cycles:
//!
//! 1. *Candidates* are the sockets in flight whose open files have no reference but those from messages.
//! 2. From a candidate's count of messages, those are taken away that wait in queues of candidates. Where something
//!    is left, a message waits in the queue of a socket that somebody has: it can be received, and all that it leads to.
//! 3. The other candidates are garbage: the descriptors in their queues are closed.
//!
//! Candidates can't change sides meanwhile: to send one on, a thread needs a reference to its file, and tells
//! [`take_off`], which waits for the search. One that is received meanwhile still counts as in flight, and lives. Who closes
//! a socket during a search does not wait: the searching thread begins again.
//!
//! A cycle is closed by a message to a socket that is itself in flight. Until there has been one, nothing is looked for: so
//! who passes connections from process to process pays nothing.
//!
//! Closing files in a queue may close sockets with files in their queues, and so on without end: [`close`] works that off in
//! a loop, so that it does not need the stack.
//!
//! Locks: [`UNIX_GC`](lock_order::UNIX_GC) (sleeping) for the search, and within it the queues; the table of sockets in flight
//! has a spin lock ([`UNIX_IN_FLIGHT`](lock_order::UNIX_IN_FLIGHT)). Files are closed with none held.

use alloc::collections::{BTreeMap, VecDeque};
use core::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use ostd::{
    sync::{Mutex, SpinLock},
    task,
};

use super::{Core, State, UnixSocket, packet::Message, rights::InFlight};
use crate::{fs::File, lock_order, net::Socket, prelude::*};

/// With more sockets in flight than this, a send looks for garbage first.
const MANY: usize = 16_000;

#[derive(Clone)]
struct Entry {
    core: Arc<Core>,
    /// In how many messages.
    count: usize,
}

/// By [`Core::key`].
type Sockets = BTreeMap<usize, Entry>;

static IN_FLIGHT: SpinLock<Sockets> = SpinLock::new(lock_order::UNIX_IN_FLIGHT, BTreeMap::new());

/// Held by the thread that looks for garbage.
static SEARCH: Mutex<()> = Mutex::new(lock_order::UNIX_GC, ());
/// A search is going on: nobody takes off. Written under the lock of [`IN_FLIGHT`].
static SEARCHING: AtomicBool = AtomicBool::new(false);
/// Another search is wanted.
static WANTED: AtomicBool = AtomicBool::new(false);

/// How many sockets are in [`IN_FLIGHT`]. Written under its lock.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// There may be a cycle. Written under the lock of [`IN_FLIGHT`].
static MAYBE_CYCLIC: AtomicBool = AtomicBool::new(false);

/// The AF_UNIX socket behind an open file.
fn core_of(file: &File) -> Option<&Arc<Core>> {
    let socket: &UnixSocket = file.downcast::<Socket>()?.protocol().as_any().downcast_ref()?;
    Some(socket.core())
}

fn cores(files: &[Arc<File>]) -> impl Iterator<Item = &Arc<Core>> {
    files.iter().filter_map(|file| core_of(file))
}

/// Files have been put into a message to `to`.
pub fn take_off(files: &[Arc<File>], to: &Core) {
    if cores(files).next().is_none() {
        return;
    }
    if COUNT.load(Relaxed) > MANY && MAYBE_CYCLIC.load(Relaxed) {
        collect();
    }
    let mut sockets = IN_FLIGHT.lock();
    while SEARCHING.load(Relaxed) {
        drop(sockets);
        drop(SEARCH.lock());
        sockets = IN_FLIGHT.lock();
    }
    for core in cores(files) {
        let entry = sockets.entry(core.key()).or_insert_with(|| Entry { core: core.clone(), count: 0 });
        entry.count += 1;
    }
    // What waits to be accepted is found through the one that listens, which is not known here.
    if to.file.get().is_none() || sockets.contains_key(&to.key()) {
        MAYBE_CYCLIC.store(true, Relaxed);
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
    if sockets.is_empty() {
        MAYBE_CYCLIC.store(false, Relaxed);
    }
    drop(sockets);
    drop(gone);
}

/// A socket was closed: others may have become unreachable.
pub fn collect_if_needed() {
    if MAYBE_CYCLIC.load(Relaxed) {
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

/// Finds the sockets in flight that nobody can receive, and empties their queues. If another thread is at it, that does it
/// once more.
pub fn collect() {
    WANTED.store(true, SeqCst);
    while WANTED.load(SeqCst) {
        let Some(search) = SEARCH.try_lock() else { return };
        // From here on; who wants one before this is content with it.
        WANTED.store(false, SeqCst);
        let taken = search_once();
        drop(search);
        drop(taken);
    }
}

fn search_once() -> Garbage {
    let sockets = {
        let sockets = IN_FLIGHT.lock();
        SEARCHING.store(true, Relaxed);
        sockets.clone()
    };
    let mut taken = Garbage::default();
    for queue in find(&sockets).iter().flat_map(|core| queues(core)) {
        taken.in_flight.extend(queue.stream.lock().empty());
        taken.messages.push(queue.packets.lock().empty());
    }
    let unlocked = IN_FLIGHT.lock();
    SEARCHING.store(false, Relaxed);
    drop(unlocked);
    taken
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

#[cfg(feature = "ktest")]
mod test {
    use super::*;
    use crate::{
        fs::{
            OpenFlags,
            io::{ReadBuf, WriteBuf},
        },
        net::{
            self, AF_UNIX,
            address::SockAddr,
            message::{Ancillary, Incoming, MsgFlags, Outgoing},
        },
    };

    const STREAM: u32 = 1;
    const DATAGRAM: u32 = 2;

    fn pair(socket_type: u32) -> (Arc<File>, Arc<File>) {
        let (a, b) = net::create_pair(AF_UNIX.into(), socket_type, 0).unwrap();
        let open = |socket| Socket::open(socket, OpenFlags::empty()).unwrap();
        (open(a), open(b))
    }

    /// Sends a byte and `file`.
    fn send(from: &File, file: &Arc<File>) {
        let ancillary = Ancillary { files: vec![file.clone()], sender: None };
        let mut message = Outgoing { flags: MsgFlags::DONTWAIT, to: None, ancillary: Some(ancillary) };
        let protocol = Socket::of(from).unwrap().protocol();
        assert_eq!(protocol.send(&mut WriteBuf::kernel(b"x"), &mut message), Ok(1));
    }

    fn receive(at: &File) -> Vec<Arc<File>> {
        let mut message = Incoming::new(MsgFlags::DONTWAIT);
        let protocol = Socket::of(at).unwrap().protocol();
        assert_eq!(protocol.recv(&mut ReadBuf::kernel(&mut [0; 8]), &mut message), Ok(1));
        message.files.unwrap().into_files()
    }

    fn in_flight() -> usize {
        IN_FLIGHT.lock().len()
    }

    #[ktest::ktest]
    fn socket_in_its_own_queue_is_garbage() {
        for socket_type in [STREAM, DATAGRAM] {
            let (a, b) = pair(socket_type);
            let freed = Arc::downgrade(&b);
            send(&a, &b);
            drop(b);
            assert_eq!((in_flight(), freed.strong_count()), (1, 1));
            drop(a);
            assert_eq!((in_flight(), freed.strong_count()), (0, 0));
        }
    }

    #[ktest::ktest]
    fn sockets_in_each_others_queues_are_garbage() {
        let ((a, b), (c, d)) = (pair(STREAM), pair(DATAGRAM));
        let freed = [&a, &b, &c, &d].map(Arc::downgrade);
        send(&a, &d);
        send(&c, &b);
        send(&a, &a);
        send(&d, &c);
        drop((a, b, c, d));
        collect();
        assert_eq!(in_flight(), 0);
        assert!(freed.iter().all(|file| file.strong_count() == 0));
    }

    #[ktest::ktest]
    fn cycle_that_can_be_received_lives() {
        let ((a, b), (c, d), (e, f)) = (pair(STREAM), pair(STREAM), pair(STREAM));
        send(&a, &d);
        send(&c, &b);
        send(&e, &b);
        drop((a, b, c, d));
        collect();
        assert_eq!(in_flight(), 2);
        let b = receive(&f);
        let d = receive(&b[0]);
        assert_eq!(in_flight(), 1);
        drop((b, d, e, f));
        collect();
        assert_eq!(in_flight(), 0);
    }

    #[ktest::ktest]
    fn listener_in_its_own_backlog_is_garbage() {
        let open = || {
            let socket = net::create(AF_UNIX.into(), STREAM, 0).unwrap();
            Socket::open(socket, OpenFlags::empty()).unwrap()
        };
        let (listener, client) = (open(), open());
        let address = SockAddr::new(AF_UNIX, b"\0ktest listener");
        let listening = Socket::of(&listener).unwrap().protocol();
        listening.bind(&listener, &address).unwrap();
        listening.listen(1).unwrap();
        Socket::of(&client).unwrap().protocol().connect(&address, true).unwrap();
        send(&client, &listener);
        let freed = Arc::downgrade(&listener);
        drop(listener);
        assert_eq!(freed.strong_count(), 1);
        drop(client);
        assert_eq!((in_flight(), freed.strong_count()), (0, 0));
    }

    #[ktest::ktest]
    fn deep_nest_is_closed_without_deep_stack() {
        let (mut outer, _) = pair(STREAM);
        let innermost = Arc::downgrade(&outer);
        for _ in 0..2000 {
            let (a, b) = pair(STREAM);
            send(&a, &outer);
            outer = b;
        }
        collect();
        assert_eq!(innermost.strong_count(), 1);
        drop(outer);
        assert_eq!((in_flight(), innermost.strong_count()), (0, 0));
        assert!(CLOSING.lock().is_empty());
    }

    #[ktest::ktest]
    fn nothing_is_searched_without_cycles() {
        let ((a, b), (c, _d)) = (pair(STREAM), pair(STREAM));
        send(&a, &c);
        assert!(!MAYBE_CYCLIC.load(Relaxed));
        send(&c, &b);
        send(&a, &c);
        assert!(MAYBE_CYCLIC.load(Relaxed));
        drop((a, b, c, _d));
        assert_eq!(in_flight(), 0);
        assert!(!MAYBE_CYCLIC.load(Relaxed));
    }
}
