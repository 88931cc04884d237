//! epoll(7): which of a set of open files are ready.
//!
//! # Data
//! * [`Epoll`]: the files by open file and descriptor, as [`Item`]s.
//! * [`Item`]: one watched file: what for, the caller's word, and its places on the file's wait queues. A wake-up of such
//!   a queue calls [`Item::wake`], which puts the item on the ready list, if it is not there, and wakes one waiter: O(1),
//!   however many files there are.
//! * [`Core`]: the ready list and the waiters: what an item still needs when it is woken.
//! * [`Watchers`]: in every open file, the items that watch it.
//!
//! An item on the ready list *may* be ready. Whoever waits takes it off, asks the file, and reports what it says. A
//! level-triggered item that was reported goes to the end of the list, to be asked again by the next call; an edge-triggered
//! one stays off until the file wakes its queue again; a one-shot one is disarmed until EPOLL_CTL_MOD.
//!
//! # Closing
//! An item goes with the open *file*, not with the descriptor. The last reference to the file marks its items dead and takes
//! them off the queues, without any sleeping lock (it may be dropped while an epoll looks at the file). Dead items
//! are never reported; the next EPOLL_CTL_ADD clears them away.
//!
//! # Locks
//! [`EPOLL`](lock_order::EPOLL) (sleeping): the items; held while files are asked, so it comes before whatever they take. An
//! epoll that watches another takes both, the watching one first; [`nesting`](super::nesting) keeps that free of cycles.
//! [`WATCHERS`](lock_order::WATCHERS): a file's items, an item's places on queues; held for a push only.
//! [`EPOLL_READY`](lock_order::EPOLL_READY) (interrupt-safe): the ready list; taken within a wait queue's lock by `wake`.
//!
//! # Rules
//! 7.23 and 7.36: a wait is never restarted after a signal, not even after a stop. With EPOLLEXCLUSIVE, Linux wakes at least
//! one of the epolls that watch a file; here all of them are.

use alloc::collections::{BTreeMap, VecDeque};
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use ostd::sync::{IrqSpinLock, Mutex, SpinLock, WaitQueue, Wake, WakerRegistration};
use spin::Once;

use super::nesting::{self, Mark};
use proctree::NsId;

use crate::{
    fs::{
        anon,
        fd_table::Fd,
        file::{File, FileOps, OpenFlags},
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    process::{credentials::Charge, wait_event::wait_interruptible_until},
};

pub const EPOLLEXCLUSIVE: u32 = 1 << 28;
const EPOLLWAKEUP: u32 = 1 << 29;
const EPOLLONESHOT: u32 = 1 << 30;
const EPOLLET: u32 = 1 << 31;
/// The bits that are not events.
const MODE_BITS: u32 = EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET;
/// What may go with EPOLLEXCLUSIVE.
const EXCLUSIVE_OK: u32 = PollEvents::IN.union(PollEvents::OUT).union(PollEvents::ALWAYS).bits()
    | EPOLLEXCLUSIVE
    | EPOLLWAKEUP
    | EPOLLET;

/// `struct epoll_event`, without its packing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub events: u32,
    pub data: u64,
}

/// An open file by its address, and the descriptor that named it: dup makes another one.
type Key = (usize, Fd);

pub struct Epoll {
    core: Arc<Core>,
    items: Mutex<BTreeMap<Key, Arc<Item>>>,
    /// For the search for cycles.
    pub(super) mark: Mark,
}

struct Core {
    /// Its capacity is that of all items, so that a wake-up allocates nothing.
    ready: IrqSpinLock<VecDeque<Arc<Item>>>,
    /// Threads in epoll_wait: one is woken for each item that becomes ready.
    waiters: WaitQueue,
    /// Who polls the epoll itself.
    pollers: Arc<WaitQueue>,
    /// There are dead items.
    has_dead: AtomicBool,
}

/// One watched file.
pub struct Item {
    this: Weak<Item>,
    core: Arc<Core>,
    /// The epoll's own open file.
    owner: Weak<File>,
    file: Weak<File>,
    fd: Fd,
    /// What it waits for, with the mode bits. Only mode bits: disarmed.
    events: AtomicU32,
    data: AtomicU64,
    /// On the ready list: changed under its lock.
    listed: AtomicBool,
    /// The file was closed.
    dead: AtomicBool,
    places: SpinLock<Vec<WakerRegistration>>,
    _charge: Charge,
}

/// /proc/sys/fs/epoll/max_user_watches: as in Linux, what fits in 1/25 of the memory.
pub fn max_user_watches() -> usize {
    static LIMIT: Once<usize> = Once::new();
    *LIMIT.call_once(|| ostd::mm::total_frames() * PAGE_SIZE / 25 / (size_of::<Item>() + 128))
}

impl Core {
    fn has_ready(&self) -> bool {
        !self.ready.lock().is_empty()
    }

    /// Takes the first item off the list.
    fn take_ready(&self) -> Option<Arc<Item>> {
        let mut ready = self.ready.lock();
        let item = ready.pop_front()?;
        item.listed.store(false, Relaxed);
        Some(item)
    }

    fn put_ready(&self, item: Arc<Item>) {
        let mut ready = self.ready.lock();
        if !item.listed.swap(true, Relaxed) {
            ready.push_back(item);
        }
    }

    fn put_back(&self, item: Arc<Item>) {
        let mut ready = self.ready.lock();
        if !item.listed.swap(true, Relaxed) {
            ready.push_front(item);
        }
    }

    fn tell(&self) {
        self.waiters.wake_one();
        self.pollers.wake_all();
    }
}

impl Wake for Item {
    /// Runs with the file's queue locked, perhaps in an interrupt handler. That queue holds a reference to the item, so the
    /// one made here is never the last.
    fn wake(&self) {
        if self.is_disarmed() {
            return;
        }
        if let Some(this) = self.this.upgrade() {
            self.core.put_ready(this);
            self.core.tell();
        }
    }
}

impl Item {
    fn new(core: &Arc<Core>, owner: &Arc<File>, file: &Arc<File>, fd: Fd, event: Event) -> Result<Arc<Item>> {
        let charge = Charge::new(|user| &user.epoll_watches, max_user_watches()).ok_or(ENOSPC)?;
        Ok(Arc::new_cyclic(|this: &Weak<Item>| Item {
            this: this.clone(),
            core: core.clone(),
            owner: Arc::downgrade(owner),
            file: Arc::downgrade(file),
            fd,
            events: AtomicU32::new(event.events),
            data: AtomicU64::new(event.data),
            listed: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            places: SpinLock::new(lock_order::WATCHERS, Vec::new()),
            _charge: charge,
        }))
    }

    /// The epoll file that it belongs to.
    pub(super) fn owner(&self) -> Option<Arc<File>> {
        self.owner.upgrade()
    }

    fn mode(&self) -> u32 {
        self.events.load(Relaxed) & MODE_BITS
    }

    fn interest(&self) -> PollEvents {
        PollEvents::from_bits_truncate(self.events.load(Relaxed) & !MODE_BITS)
    }

    fn is_disarmed(&self) -> bool {
        self.events.load(Relaxed) & !MODE_BITS == 0
    }

    fn disarm(&self) {
        self.events.fetch_and(MODE_BITS, Relaxed);
    }

    fn is_dead(&self) -> bool {
        // Acquire pairs with the Release in `Watchers::file_closes`.
        self.dead.load(Acquire)
    }

    /// What it would report now.
    fn look(&self, file: &File) -> PollEvents {
        file.poll(&mut PollTable::None) & self.interest()
    }

    /// Takes places on the file's queues, instead of those it has, and looks. In this order: what happens in between
    /// finds the places taken.
    fn join_queues(self: &Arc<Self>, file: &File) -> PollEvents {
        let interest = self.interest();
        let mut table = PollTable::Callback { waker: self.clone(), interest, places: Vec::new() };
        let events = file.poll(&mut table);
        if let PollTable::Callback { places, .. } = table {
            let old = core::mem::replace(&mut *self.places.lock(), places);
            drop(old);
        }
        events & interest
    }

    /// After this, no wake-up calls the item any more.
    fn leave_queues(&self) {
        let places = core::mem::take(&mut *self.places.lock());
        drop(places);
    }
}

/// The items that watch one open file.
pub struct Watchers(SpinLock<Vec<Arc<Item>>>);

impl Watchers {
    pub const fn new() -> Watchers {
        Watchers(SpinLock::new(lock_order::WATCHERS, Vec::new()))
    }

    fn add(&self, item: Arc<Item>) {
        self.0.lock().push(item);
    }

    fn remove(&self, item: &Item) {
        let removed = {
            let mut items = self.0.lock();
            let at = items.iter().position(|other| core::ptr::eq(&**other, item));
            at.map(|at| items.swap_remove(at))
        };
        drop(removed);
    }

    pub(super) fn list(&self) -> Vec<Arc<Item>> {
        self.0.lock().clone()
    }

    /// The last reference to the file goes.
    pub fn file_closes(&mut self) {
        for item in core::mem::take(self.0.get_mut()) {
            item.leave_queues();
            // Release pairs with the Acquire in `is_dead`.
            item.dead.store(true, Release);
            item.core.has_dead.store(true, Release);
        }
    }
}

impl Default for Watchers {
    fn default() -> Self {
        Self::new()
    }
}

/// A new epoll.
pub fn new_file() -> Result<Arc<File>> {
    let core = Core {
        ready: IrqSpinLock::new(lock_order::EPOLL_READY, VecDeque::new()),
        waiters: WaitQueue::new(),
        pollers: Arc::new(WaitQueue::new()),
        has_dead: AtomicBool::new(false),
    };
    let items = Mutex::new(lock_order::EPOLL, BTreeMap::new());
    let epoll = Epoll { core: Arc::new(core), items, mark: Mark::new() };
    anon::new_file(Box::new(epoll), OpenFlags::empty())
}

/// A change of what an epoll watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Add(Event),
    Modify(Event),
    Delete,
}

/// epoll_ctl(2): changes what the epoll `owner` watches.
pub fn control(owner: &Arc<File>, file: &Arc<File>, fd: Fd, change: Option<Change>) -> Result<()> {
    if !file.ops().can_poll() {
        return Err(EPERM);
    }
    let epoll = owner.downcast::<Epoll>().filter(|_| !Arc::ptr_eq(owner, file)).ok_or(EINVAL)?;
    let target = file.downcast::<Epoll>();
    let exclusive = |event: Event| event.events & EPOLLEXCLUSIVE != 0;
    let allowed = match change {
        Some(Change::Modify(event)) => !exclusive(event),
        Some(Change::Add(event)) if exclusive(event) => target.is_none() && event.events & !EXCLUSIVE_OK == 0,
        _ => true,
    };
    if !allowed {
        return Err(EINVAL);
    }
    let key = (Arc::as_ptr(file) as usize, fd);
    match change {
        None => Err(EINVAL),
        Some(Change::Add(event)) => {
            // Held until the new edge is there, so that no two threads close a cycle together.
            let _nesting = match target {
                Some(target) => Some(nesting::check(owner, epoll, target)?),
                None => None,
            };
            epoll.add(owner, file, key, event)
        }
        Some(Change::Modify(event)) => epoll.modify(file, key, event),
        Some(Change::Delete) => epoll.delete(file, key),
    }
}

/// What is asked for: errors and hang-ups are reported in any case. There is no suspend that EPOLLWAKEUP could prevent.
fn wanted(event: Event) -> Event {
    Event { events: (event.events | PollEvents::ALWAYS.bits()) & !EPOLLWAKEUP, ..event }
}

impl Epoll {
    fn add(&self, owner: &Arc<File>, file: &Arc<File>, key: Key, event: Event) -> Result<()> {
        let mut items = self.items.lock();
        self.clear_dead(&mut items);
        if items.contains_key(&key) {
            return Err(EEXIST);
        }
        let item = Item::new(&self.core, owner, file, key.1, wanted(event))?;
        items.insert(key, item.clone());
        self.reserve_ready(items.len());
        file.watchers.add(item.clone());
        if !item.join_queues(file).is_empty() {
            self.core.put_ready(item);
            self.core.tell();
        }
        Ok(())
    }

    /// The `offset`th of the files that are watched as descriptor `fd`.
    pub fn watched(&self, fd: Fd, offset: usize) -> Option<Arc<File>> {
        let items = self.items.lock();
        let mut of_fd = items.values().filter(|item| item.fd == fd && !item.is_dead());
        of_fd.nth(offset)?.file.upgrade()
    }

    fn modify(&self, file: &Arc<File>, key: Key, event: Event) -> Result<()> {
        let items = self.items.lock();
        let item = items.get(&key).filter(|item| !item.is_dead()).ok_or(ENOENT)?;
        if item.mode() & EPOLLEXCLUSIVE != 0 {
            return Err(EINVAL);
        }
        let event = wanted(event);
        item.data.store(event.data, Relaxed);
        item.events.store(event.events, Relaxed);
        if !item.join_queues(file).is_empty() {
            self.core.put_ready(item.clone());
            self.core.tell();
        }
        Ok(())
    }

    fn delete(&self, file: &Arc<File>, key: Key) -> Result<()> {
        let mut items = self.items.lock();
        if items.get(&key).is_none_or(|item| item.is_dead()) {
            return Err(ENOENT);
        }
        if let Some(item) = items.remove(&key) {
            item.leave_queues();
            file.watchers.remove(&item);
            let unlisted = {
                let mut ready = self.core.ready.lock();
                let at = ready.iter().position(|other| Arc::ptr_eq(other, &item));
                at.and_then(|at| ready.remove(at))
            };
            drop(unlisted);
        }
        Ok(())
    }

    fn clear_dead(&self, items: &mut BTreeMap<Key, Arc<Item>>) {
        // Acquire pairs with the Release in `Watchers::file_closes`.
        if self.core.has_dead.swap(false, Acquire) {
            // Those on the ready list are kept alive by the map meanwhile.
            self.core.ready.lock().retain(|item| !item.is_dead());
            items.retain(|_, item| !item.is_dead());
        }
    }

    /// Makes room for as many ready items as there are. The list is filled in interrupt handlers.
    fn reserve_ready(&self, count: usize) {
        let mut ready = self.core.ready.lock();
        let more = count.saturating_sub(ready.len());
        ready.reserve(more);
    }

    /// The epolls among the files that it watches.
    pub(super) fn watched_epolls(&self) -> Vec<Arc<File>> {
        let items = self.items.lock();
        let files = items.values().filter_map(|item| item.file.upgrade());
        files.filter(|file| file.downcast::<Epoll>().is_some()).collect()
    }

    /// epoll_wait(2): gives up to `max` events to `report`; waits for the first until `deadline` (`Some(0)`: not at all).
    /// Returns how many there were.
    ///
    /// # Errors
    /// EINTR; EFAULT if `report` fails for the first.
    pub fn wait(
        &self,
        max: usize,
        deadline: Option<u64>,
        mut report: impl FnMut(usize, Event) -> Result<()>,
    ) -> Result<usize> {
        loop {
            if self.core.has_ready() {
                let count = self.collect(max, &mut report)?;
                if count > 0 {
                    return Ok(count);
                }
            }
            if deadline == Some(0) {
                return Ok(0);
            }
            let ready = || self.core.has_ready().then_some(());
            match wait_interruptible_until(&self.core.waiters, deadline, ready) {
                Ok(Some(())) => {}
                Ok(None) => return Ok(0),
                Err(_) => return Err(EINTR),
            }
        }
    }

    /// Asks each item on the ready list once.
    fn collect(&self, max: usize, report: &mut dyn FnMut(usize, Event) -> Result<()>) -> Result<usize> {
        let items = self.items.lock();
        let mut count = 0;
        let mut result = Ok(());
        let mut looks = self.core.ready.lock().len();
        while count < max && looks > 0 {
            looks -= 1;
            let Some(item) = self.core.take_ready() else { break };
            let Some(file) = item.file.upgrade() else { continue };
            let events = item.look(&file);
            if events.is_empty() {
                continue;
            }
            let event = Event { events: events.bits(), data: item.data.load(Relaxed) };
            if let Err(e) = report(count, event) {
                self.core.put_back(item);
                result = Err(e);
                break;
            }
            count += 1;
            let mode = item.mode();
            if mode & EPOLLONESHOT != 0 {
                item.disarm();
            } else if mode & EPOLLET == 0 {
                self.core.put_ready(item);
            }
        }
        drop(items);
        if self.core.has_ready() {
            self.core.waiters.wake_one();
        }
        if count > 0 { Ok(count) } else { result.map(|()| 0) }
    }

    /// Whether some file is ready. Takes items off the ready list that turn out not to be.
    fn is_ready(&self) -> bool {
        if !self.core.has_ready() {
            return false;
        }
        // Nested: an epoll that watches this one may be asking.
        let _items = self.items.lock_nested();
        let mut looks = self.core.ready.lock().len();
        while looks > 0 {
            looks -= 1;
            let Some(item) = self.core.take_ready() else { break };
            let Some(file) = item.file.upgrade() else { continue };
            if !item.look(&file).is_empty() {
                self.core.put_back(item);
                return true;
            }
        }
        false
    }
}

impl FileOps for Epoll {
    fn directions(&self) -> (bool, bool) {
        (false, false)
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        table.add(&self.core.pollers);
        if self.is_ready() { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn tells_events(&self) -> bool {
        true
    }

    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }

    fn anonymous_name(&self) -> String {
        String::from("anon_inode:[eventpoll]")
    }

    fn describe(&self, _: NsId, out: &mut String) {
        for item in self.items.lock().values().filter(|item| !item.is_dead()) {
            let Some(file) = item.file.upgrade() else { continue };
            // What there is no memory for is not shown.
            if out.try_reserve(128).is_err() {
                return;
            }
            let (events, data) = (item.events.load(Relaxed), item.data.load(Relaxed));
            let base = file.inode().base();
            // What has an offset can't be polled: pos is 0.
            *out += &format!(
                "tfd: {:8} events: {events:8x} data: {data:16x}  pos:0 ino:{:x} sdev:{:x}\n",
                item.fd, base.ino, base.dev.0,
            );
        }
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        for item in core::mem::take(self.items.get_mut()).into_values() {
            item.leave_queues();
            if let Some(file) = item.file.upgrade() {
                file.watchers.remove(&item);
            }
        }
        // Items hold the core and its list holds items: the circle ends here.
        let ready = core::mem::take(&mut *self.core.ready.lock());
        drop(ready);
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;
    use crate::{
        fs::{
            event::{eventfd, timerfd},
            io::{ReadBuf, WriteBuf},
        },
        process::credentials::User,
        time::itimer::Setting,
    };

    fn event(events: u32) -> Option<Change> {
        Some(Change::Add(Event { events, data: 0 }))
    }

    fn ready(epoll: &Arc<File>, max: usize) -> usize {
        epoll.downcast::<Epoll>().unwrap().wait(max, Some(0), |_, _| Ok(())).unwrap()
    }

    fn signal(file: &File) {
        file.write(&mut WriteBuf::kernel(&1u64.to_ne_bytes())).unwrap();
    }

    /// A chain of epolls of the greatest length, the one that watches `file` first.
    fn chain(file: &Arc<File>) -> Vec<Arc<File>> {
        let mut list = vec![file.clone()];
        for _ in 0..5 {
            let epoll = new_file().unwrap();
            control(&epoll, list.last().unwrap(), 0, event(1)).unwrap();
            list.push(epoll);
        }
        list.split_off(1)
    }

    /// The checks of the lock order are on here: wake-ups and polls through a chain, from a task.
    #[ktest::ktest]
    fn wake_ups_pass_through_a_chain() {
        let file = eventfd::new_file(0, false, OpenFlags::NONBLOCK).unwrap();
        let epolls = chain(&file);
        assert!(epolls.iter().all(|epoll| ready(epoll, 1) == 0));
        signal(&file);
        assert!(epolls.iter().rev().all(|epoll| ready(epoll, 1) == 1));
        file.read(&mut ReadBuf::kernel(&mut [0; 8])).unwrap();
        assert!(epolls.iter().rev().all(|epoll| ready(epoll, 1) == 0));
        let one_more = new_file().unwrap();
        assert_eq!(control(&one_more, epolls.last().unwrap(), 0, event(1)), Err(ELOOP));
        assert_eq!(control(&epolls[0], epolls.last().unwrap(), 0, event(1)), Err(ELOOP));
    }

    /// The same from an interrupt handler.
    #[ktest::ktest]
    fn an_interrupt_wakes_through_a_chain() {
        let file = timerfd::new_file(1, OpenFlags::NONBLOCK).unwrap();
        let epolls = chain(&file);
        let timer = file.downcast::<timerfd::TimerFile>().unwrap();
        timer.set(Setting { value_ns: 100_000, interval_ns: 0 }, false, false);
        let deadline = ostd::time::now_ns() + 60_000_000_000;
        while ready(epolls.last().unwrap(), 1) == 0 {
            assert!(ostd::time::now_ns() < deadline);
            ostd::task::yield_now();
        }
    }

    #[ktest::ktest]
    fn closed_files_leave_nothing() {
        let owner = new_file().unwrap();
        let epoll = owner.downcast::<Epoll>().unwrap();
        let before = User::find(0).epoll_watches.load(Relaxed);
        for _ in 0..10 {
            let file = eventfd::new_file(1, false, OpenFlags::empty()).unwrap();
            control(&owner, &file, 0, event(1)).unwrap();
        }
        assert_eq!(ready(&owner, 10), 0);
        let last = eventfd::new_file(1, false, OpenFlags::empty()).unwrap();
        control(&owner, &last, 0, event(1)).unwrap();
        assert_eq!((epoll.items.lock().len(), epoll.core.ready.lock().len()), (1, 1));
        drop(owner);
        assert!(last.watchers.list().is_empty());
        assert_eq!(User::find(0).epoll_watches.load(Relaxed), before);
        signal(&last);
    }

    /// A wake-up must not allocate: the list has room for all.
    #[ktest::ktest]
    fn ready_list_never_grows_in_a_wake_up() {
        let owner = new_file().unwrap();
        let epoll = owner.downcast::<Epoll>().unwrap();
        let files: Vec<_> =
            (0..100).map(|_| eventfd::new_file(0, false, OpenFlags::empty()).unwrap()).collect();
        for file in &files {
            control(&owner, file, 0, event(1 | EPOLLET)).unwrap();
        }
        let capacity = epoll.core.ready.lock().capacity();
        files.iter().for_each(|file| signal(file));
        assert_eq!((ready(&owner, 200), epoll.core.ready.lock().capacity()), (100, capacity));
        assert_eq!(ready(&owner, 200), 0);
    }
}
