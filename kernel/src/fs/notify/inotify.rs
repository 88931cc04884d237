//! inotify(7): hearing of what happens to files, by reading a descriptor.
//!
//! # Data
//! * [`Instance`]: what inotify_init(2) makes: its watches by descriptor, and the events that nobody has read yet.
//!   A watch is a [`Mark`], whose id is the watch descriptor.
//!
//! An event that is the same as the last one in the queue is not queued again. When the queue is full (max_queued_events, as it
//! was when the instance was made) events are lost, which one event IN_Q_OVERFLOW says, once.
//!
//! Watch descriptors count up from 1, so that a program does not take the events of a new watch for those of an old one.
//!
//! # Locks
//! The instance's ([`INOTIFY`](lock_order::INOTIFY)), a leaf but for memory. Events come with the lock of an inode's marks held; so a
//! mark is looked up here and taken away there in two steps.
//!
//! # Rules
//! A read is restarted after a signal, and goes on after a stop (7.23, 7.37).

use alloc::collections::{BTreeMap, VecDeque};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ostd::sync::{SpinLock, WaitQueue};
use proctree::NsId;

use super::{Event, Events, Listener, Mark, mark, unmark};
use crate::{
    fs::{
        anon,
        file::{File, FileOps, OpenFlags},
        inode::Inode,
        io::ReadBuf,
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    process::{credentials::Charge, wait_event::wait_interruptible},
};

// Bits of an event's mask that only inotify has.
const IN_Q_OVERFLOW: u32 = 0x4000;
const IN_IGNORED: u32 = 0x8000;
// What inotify_add_watch(2) takes besides events.
pub const IN_ONLYDIR: u32 = 0x0100_0000;
pub const IN_DONT_FOLLOW: u32 = 0x0200_0000;
const IN_MASK_CREATE: u32 = 0x1000_0000;
const IN_MASK_ADD: u32 = 0x2000_0000;

/// All bits that may be given.
const KNOWN: u32 = Events::all().bits()
    | IN_Q_OVERFLOW
    | IN_IGNORED
    | IN_ONLYDIR
    | IN_DONT_FOLLOW
    | IN_MASK_CREATE
    | IN_MASK_ADD;

/// Bytes of `struct inotify_event` without the name.
const HEAD: usize = 16;

/// INOTIFY_IOC_SETNEXTWD.
const SET_NEXT_WD: u32 = 0x4004_4900;

/// fs.inotify.max_queued_events, of instances that are made from now on.
pub static MAX_QUEUED_EVENTS: AtomicUsize = AtomicUsize::new(16384);

/// fs.inotify.max_user_instances.
pub static MAX_USER_INSTANCES: AtomicUsize = AtomicUsize::new(128);

/// fs.inotify.max_user_watches, once it was set.
static MAX_USER_WATCHES: AtomicUsize = AtomicUsize::new(usize::MAX);

/// fs.inotify.max_user_watches: as in Linux, what fits in a hundredth of the memory, if each watch keeps an inode.
pub fn max_user_watches() -> usize {
    const COST: usize = 1280;
    match MAX_USER_WATCHES.load(Relaxed) {
        usize::MAX => (ostd::mm::total_frames() * PAGE_SIZE / 100 / COST).clamp(8192, 1 << 20),
        limit => limit,
    }
}

pub fn set_max_user_watches(limit: usize) {
    MAX_USER_WATCHES.store(limit, Relaxed);
}

/// An event that waits to be read.
struct Queued {
    wd: i32,
    mask: u32,
    cookie: u32,
    name: Box<[u8]>,
}

impl Queued {
    /// The name is followed by at least one NUL, up to a multiple of the head.
    fn name_size(&self) -> usize {
        if self.name.is_empty() { 0 } else { (self.name.len() + 1).next_multiple_of(HEAD) }
    }

    fn size(&self) -> usize {
        HEAD + self.name_size()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size());
        bytes.extend_from_slice(&self.wd.to_ne_bytes());
        for word in [self.mask, self.cookie, self.name_size() as u32] {
            bytes.extend_from_slice(&word.to_ne_bytes());
        }
        bytes.extend_from_slice(&self.name);
        bytes.resize(self.size(), 0);
        bytes
    }

    /// Says no more than `last` did. That a watch is gone is said each time.
    fn repeats(&self, last: &Queued) -> bool {
        last.mask & IN_IGNORED == 0 && (self.wd, self.mask) == (last.wd, last.mask) && self.name == last.name
    }

    fn is_overflow(&self) -> bool {
        self.mask == IN_Q_OVERFLOW
    }
}

struct State {
    queue: VecDeque<Queued>,
    watches: BTreeMap<i32, Arc<Mark>>,
    /// Where the search for a free watch descriptor begins.
    next_wd: i32,
    /// There is an overflow event in the queue.
    overflowed: bool,
}

impl State {
    /// Puts an event at the end. False if nothing was added.
    fn push(&mut self, event: Queued, max: usize) -> bool {
        if self.queue.len() >= max {
            return self.overflow();
        }
        if self.queue.back().is_some_and(|last| event.repeats(last)) {
            return false;
        }
        if !ostd::mm::kernel_reserve_ok(1) || self.queue.try_reserve(1).is_err() {
            return self.overflow();
        }
        self.queue.push_back(event);
        true
    }

    fn overflow(&mut self) -> bool {
        if self.overflowed || self.queue.try_reserve(1).is_err() {
            return false;
        }
        self.overflowed = true;
        self.queue.push_back(Queued { wd: -1, mask: IN_Q_OVERFLOW, cookie: 0, name: Box::default() });
        true
    }

    /// The next event, if it fits in `room`: EINVAL if it does not.
    fn take(&mut self, room: usize) -> Option<Result<Queued>> {
        if self.queue.front()?.size() > room {
            return Some(Err(EINVAL));
        }
        let event = self.queue.pop_front()?;
        if event.is_overflow() {
            self.overflowed = false;
        }
        Some(Ok(event))
    }

    fn free_wd(&mut self) -> Result<i32> {
        let from = |first: i32| (first..=i32::MAX).find(|wd| !self.watches.contains_key(wd));
        let wd = from(self.next_wd).or_else(|| from(1)).ok_or(ENOSPC)?;
        self.next_wd = wd.checked_add(1).unwrap_or(1);
        Ok(wd)
    }
}

/// What the open file is about: see the [module's description](self).
pub struct Instance {
    state: SpinLock<State>,
    readable: Arc<WaitQueue>,
    max_events: usize,
    _charge: Charge,
}

impl Instance {
    fn push(&self, event: Queued) {
        let added = self.state.lock().push(event, self.max_events);
        if added {
            self.readable.wake_all();
        }
    }
}

impl Listener for Instance {
    fn tell(&self, wd: i32, event: &Event) {
        let mut mask = event.mask;
        if mask.intersects(Events::SELF) {
            mask -= Events::ISDIR;
        }
        let name = event.name.unwrap_or_default().into();
        self.push(Queued { wd, mask: mask.bits(), cookie: event.cookie, name });
    }

    fn mark_gone(&self, wd: i32) {
        self.push(Queued { wd, mask: IN_IGNORED, cookie: 0, name: Box::default() });
        let watch = self.state.lock().watches.remove(&wd);
        drop(watch);
    }
}

/// What the mask of a new or changed watch asks for.
fn wanted(mask: u32, before: Option<Events>) -> Result<Events> {
    let new = Events::from_bits_truncate(mask) & Events::OF_MARK;
    match before {
        Some(_) if mask & IN_MASK_CREATE != 0 => Err(EEXIST),
        Some(old) if mask & IN_MASK_ADD != 0 => Ok(old | new),
        _ => Ok(new),
    }
}

/// Whether inotify_add_watch(2) takes `mask`, before it looks at anything else. EINVAL.
pub fn check_mask(mask: u32) -> Result<()> {
    if mask & !KNOWN != 0 || mask & KNOWN == 0 { Err(EINVAL) } else { Ok(()) }
}

/// The same, after it has looked at the descriptor.
pub fn check_combination(mask: u32) -> Result<()> {
    let both = IN_MASK_ADD | IN_MASK_CREATE;
    if mask & both == both { Err(EINVAL) } else { Ok(()) }
}

/// The open file of an instance; its watches go with it.
pub struct Inotify(Arc<Instance>);

/// A new instance. EMFILE when the user has too many.
pub fn new_file(flags: OpenFlags) -> Result<Arc<File>> {
    let charge =
        Charge::new(|user| &user.inotify_instances, MAX_USER_INSTANCES.load(Relaxed)).ok_or(EMFILE)?;
    let state = State { queue: VecDeque::new(), watches: BTreeMap::new(), next_wd: 1, overflowed: false };
    let instance = Instance {
        state: SpinLock::new(lock_order::INOTIFY, state),
        readable: Arc::new(WaitQueue::new()),
        max_events: MAX_QUEUED_EVENTS.load(Relaxed),
        _charge: charge,
    };
    anon::new_read_only(Box::new(Inotify(Arc::new(instance))), flags)
}

impl Inotify {
    /// inotify_add_watch(2) for an inode that was found: a new watch, or a change of the one that it has.
    ///
    /// # Errors
    /// EEXIST with IN_MASK_CREATE, ENOSPC when the user has too many, ENOMEM.
    pub fn add_watch(&self, inode: &Arc<dyn Inode>, mask: u32) -> Result<i32> {
        let listener: Arc<dyn Listener> = self.0.clone();
        mark(
            inode,
            &listener,
            |before| wanted(mask, before),
            |wanted| {
                if !ostd::mm::kernel_reserve_ok(1) {
                    return Err(ENOMEM);
                }
                let charge = Charge::new(|user| &user.inotify_watches, max_user_watches()).ok_or(ENOSPC)?;
                let mut state = self.0.state.lock();
                let wd = state.free_wd()?;
                let mark = Mark::new(wd, inode, listener.clone(), wanted, charge);
                state.watches.insert(wd, mark.clone());
                Ok(mark)
            },
        )
    }

    /// inotify_rm_watch(2). EINVAL if there is no such watch.
    pub fn remove_watch(&self, wd: i32) -> Result<()> {
        let mark = self.0.state.lock().watches.get(&wd).cloned().ok_or(EINVAL)?;
        if unmark(&mark, false) { Ok(()) } else { Err(EINVAL) }
    }

    fn has_events(&self) -> bool {
        !self.0.state.lock().queue.is_empty()
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        let watches = core::mem::take(&mut self.0.state.lock().watches);
        for mark in watches.values() {
            unmark(mark, true);
        }
    }
}

impl FileOps for Inotify {
    fn has_owner(&self) -> bool {
        true
    }

    fn read_at(&self, file: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        loop {
            let next = self.0.state.lock().take(buf.left());
            match next {
                Some(Ok(event)) => {
                    // An event that can't be given to the program is lost, with those before it.
                    let bytes = event.encode();
                    if buf.put(&bytes)? < bytes.len() {
                        return Err(EFAULT);
                    }
                }
                _ if buf.done() > 0 => return Ok(buf.done()),
                Some(Err(error)) => return Err(error),
                None if file.is_nonblocking() => return Err(EAGAIN),
                None => wait_interruptible(&self.0.readable, || self.has_events().then_some(()))?,
            }
        }
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        table.add(&self.0.readable);
        if self.has_events() { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn tells_events(&self) -> bool {
        true
    }

    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }

    fn available(&self, _: &File) -> Result<usize> {
        Ok(self.0.state.lock().queue.iter().map(Queued::size).sum())
    }

    fn ioctl(&self, _: &File, request: u32, arg: usize) -> Result<usize> {
        if request != SET_NEXT_WD {
            return Err(ENOTTY);
        }
        let wd = i32::try_from(arg).ok().filter(|&wd| wd >= 1).ok_or(EINVAL)?;
        self.0.state.lock().next_wd = wd;
        Ok(0)
    }

    fn anonymous_name(&self) -> String {
        String::from("anon_inode:inotify")
    }

    fn describe(&self, _: NsId, out: &mut String) {
        // The newest first.
        let marks: Vec<Arc<Mark>> = self.0.state.lock().watches.values().rev().cloned().collect();
        for mark in marks {
            let (base, mask) = (mark.inode().base(), mark.wanted().bits());
            *out += &format!(
                "inotify wd:{:x} ino:{:x} sdev:{:x} mask:{mask:x} ignored_mask:0 \n",
                mark.id, base.ino, base.dev.0,
            );
        }
    }
}
