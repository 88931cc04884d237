//! Asynchronous input and output: io_submit(2) and its relatives.
//!
//! **What is asynchronous.** Reads, writes and syncs are done when they are submitted, as Linux does with files that have a
//! page cache; their events are there when io_submit returns. A poll (IOCB_CMD_POLL) waits without anybody.
//!
//! **Structures.** A [`Context`] belongs to an address space, in its [`Contexts`]; its name is the address of the
//! [`Ring`] of events that is mapped there. A [`Request`] has a place in the ring reserved from its submission on, so its event
//! always fits. A [`PollRequest`](poll::PollRequest) hangs on the wait queues of its file until there is what it
//! waits for, or somebody cancels it.
//!
//! **Life.** fork(2) gives the child the mapping of the ring, but not the context (rule 6.18). Contexts end with io_destroy(2),
//! or with the address space: at the exit of its last user (3.23) and at execve(2) (10.10). Then what waits is cancelled.
//!
//! **Locks.** [`AIO_READERS`](lock_order::AIO_READERS) (sleeping): who takes events out, while they are copied to the program.
//! [`AIO`](lock_order::AIO): the state of a context, and what a poll hangs on. The files themselves are used with none.
//!
//! Rules: io_setup(2), io_submit(2), io_getevents(2), io_cancel(2), io_destroy(2), proc_sys_fs(5).

pub mod poll;
mod ring;

use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ostd::{
    sync::{Mutex, SpinLock, WaitQueue},
    user::mem,
};

use self::{poll::PollRequest, ring::Ring};
use crate::{
    fs::{event::eventfd, file::File},
    lock_order,
    mm::{MapRequest, MemoryLimits, Placement, Vm, VmFlags},
    prelude::*,
    process::{Thread, signal, wait_event::wait_interruptible_until},
};

ostd::pod_struct! {
    /// `struct io_event`: what has become of a request.
    pub struct Event {
        /// What the program gave with the request.
        pub data: u64,
        /// Address of the `struct iocb`.
        pub obj: u64,
        /// Bytes, or an error, negative.
        pub res: i64,
        pub res2: i64,
    }
}

/// Requests that all contexts together have asked for (fs.aio-nr), and the most that they may (fs.aio-max-nr).
static NR: AtomicUsize = AtomicUsize::new(0);
static MAX_NR: AtomicUsize = AtomicUsize::new(0x1_0000);

pub fn nr() -> usize {
    NR.load(Relaxed)
}

pub fn max_nr() -> usize {
    MAX_NR.load(Relaxed)
}

pub fn set_max_nr(max: usize) {
    MAX_NR.store(max, Relaxed);
}

/// The contexts of an address space. They end with it.
pub struct Contexts(SpinLock<Vec<Option<Arc<Context>>>>);

impl Contexts {
    fn new() -> Box<Contexts> {
        Box::new(Contexts(SpinLock::new(lock_order::AIO, Vec::new())))
    }

    /// Enters a context and returns its index.
    fn add(&self, context: Arc<Context>) -> usize {
        let mut all = self.0.lock();
        let free = all.iter().position(Option::is_none);
        let index = free.unwrap_or(all.len());
        match free {
            Some(index) => all[index] = Some(context),
            None => all.push(Some(context)),
        }
        index
    }

    fn find(&self, is_it: impl Fn(&Context) -> bool) -> Option<Arc<Context>> {
        self.0.lock().iter().flatten().find(|context| is_it(context)).cloned()
    }

    fn remove(&self, context: &Arc<Context>) {
        let mut all = self.0.lock();
        let place = all.iter_mut().find(|place| place.as_ref().is_some_and(|it| Arc::ptr_eq(it, context)));
        let removed = place.and_then(Option::take);
        drop(all);
        drop(removed);
    }
}

impl Drop for Contexts {
    fn drop(&mut self) {
        for context in core::mem::take(self.0.get_mut()).into_iter().flatten() {
            context.kill();
        }
    }
}

/// A context: requests, and the ring of their events.
pub struct Context {
    ring: Arc<Ring>,
    /// What io_setup asked for: counted in [`NR`].
    max_requests: usize,
    state: SpinLock<State>,
    readers: Mutex<()>,
    /// Woken by each event, and by the end.
    changed: WaitQueue,
}

struct State {
    /// The slot of the next event.
    tail: u32,
    /// Requests whose event is still to come.
    in_flight: u32,
    dead: bool,
    polls: Vec<Arc<PollRequest>>,
}

/// Makes a context for `requests` at a time in `vm`; returns its name.
///
/// # Errors
/// EINVAL (absurd), EAGAIN (over fs.aio-max-nr), ENOMEM.
pub fn setup(vm: &Arc<Vm>, requests: u32, limits: &MemoryLimits) -> Result<Vaddr> {
    const MOST: u32 = 0x1000_0000 / size_of::<Event>() as u32;
    let wanted = requests.max(ostd::cpu::num_cpus() as u32 * 4).wrapping_mul(2);
    if wanted > MOST {
        return Err(EINVAL);
    }
    let max = max_nr();
    let max_requests = requests as usize;
    NR.fetch_update(Relaxed, Relaxed, |nr| nr.checked_add(max_requests).filter(|&nr| nr <= max))
        .map_err(|_| EAGAIN)?;
    let made = Ring::new(wanted).and_then(|ring| Ok((map_ring(vm, &ring, limits)?, ring)));
    let (start, ring) = made.inspect_err(|_| {
        NR.fetch_sub(max_requests, Relaxed);
    })?;
    let context = Arc::new(Context {
        ring,
        max_requests,
        state: SpinLock::new(
            lock_order::AIO,
            State { tail: 0, in_flight: 0, dead: false, polls: Vec::new() },
        ),
        readers: Mutex::new(lock_order::AIO_READERS, ()),
        changed: WaitQueue::new(),
    });
    let index = vm.aio.call_once(Contexts::new).add(context.clone());
    context.ring.set_id(index as u32);
    Ok(start)
}

fn map_ring(vm: &Arc<Vm>, ring: &Arc<Ring>, limits: &MemoryLimits) -> Result<Vaddr> {
    let flags = VmFlags::READ
        | VmFlags::WRITE
        | VmFlags::SHARED
        | VmFlags::MAP_SHARED
        | VmFlags::MAY_READ
        | VmFlags::MAY_WRITE;
    let request = MapRequest {
        placement: Placement::Hint(0),
        len: ring.bytes(),
        flags,
        object: Some((ring.clone(), 0)),
        populate: false,
    };
    vm.mmap(request, limits).or(Err(ENOMEM))
}

/// The context of `vm` with the name `id`.
///
/// # Errors
/// EINVAL if there is none.
pub fn find(vm: &Vm, id: Vaddr) -> Result<Arc<Context>> {
    let contexts = vm.aio.get().ok_or(EINVAL)?;
    // The ring may have been moved (mremap); where it is now is the name.
    let object = vm.object_starting_at(id).ok_or(EINVAL)?;
    contexts.find(|context| context.ring.object_id() == object).ok_or(EINVAL)
}

/// io_destroy(2): cancels what waits, and waits for what is being done.
///
/// # Errors
/// EINVAL if there is no such context, or another thread was faster.
pub fn destroy(vm: &Vm, id: Vaddr) -> Result<()> {
    let context = find(vm, id)?;
    if !context.kill() {
        return Err(EINVAL);
    }
    if let Some(contexts) = vm.aio.get() {
        contexts.remove(&context);
    }
    // Nobody but the program itself can have unmapped it meanwhile.
    let _ = vm.munmap(id, context.ring.bytes());
    context.changed.wait_until(|| (context.state.lock().in_flight == 0).then_some(()));
    Ok(())
}

impl Context {
    /// How many requests io_submit looks at.
    pub fn slots(&self) -> usize {
        self.ring.slots() as usize
    }

    /// A place for the event of a request.
    ///
    /// # Errors
    /// EAGAIN when as many are under way, or lie in the ring, as fit.
    pub fn reserve(self: &Arc<Self>, data: u64, obj: u64) -> Result<Request> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(EINVAL);
        }
        let slots = self.ring.slots();
        let uncollected = (state.tail + slots - self.ring.head()) % slots;
        if uncollected + state.in_flight >= slots - 1 {
            return Err(EAGAIN);
        }
        state.in_flight += 1;
        Ok(Request { context: self.clone(), data, obj, resfd: None })
    }

    /// Puts the event of a request into the ring.
    fn post(&self, event: Event) {
        let mut state = self.state.lock();
        let tail = state.tail;
        state.tail = (tail + 1) % self.ring.slots();
        self.ring.put(tail, &event, state.tail);
    }

    /// A request is over, with an event or without.
    fn release(&self) {
        self.state.lock().in_flight -= 1;
        self.changed.wake_all();
    }

    /// io_getevents(2): takes up to `max` events out to `list`, and waits for at least `min`, until `deadline`. Returns
    /// how many there were; fewer than `min` if the time is up or a signal is pending.
    ///
    /// # Errors
    /// EFAULT; EINVAL when the context is destroyed.
    pub fn events(&self, min: usize, max: usize, list: Vaddr, deadline: Option<u64>) -> Result<usize> {
        let mut taken = 0;
        loop {
            let step = self.take_events(max - taken, list.wrapping_add(taken * size_of::<Event>()));
            taken += *step.as_ref().unwrap_or(&0);
            let step = if self.state.lock().dead { Err(EINVAL) } else { step };
            match step {
                Err(error) if taken == 0 => return Err(error),
                Err(_) => return Ok(taken),
                Ok(_) if taken >= min || deadline == Some(0) => return Ok(taken),
                Ok(_) => {}
            }
            let something = || {
                let state = self.state.lock();
                (state.dead || self.ring.head() != state.tail).then_some(())
            };
            match wait_interruptible_until(&self.changed, deadline, something) {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => return Ok(taken),
            }
        }
    }

    /// Takes events out that are there.
    fn take_events(&self, max: usize, list: Vaddr) -> Result<usize> {
        let _readers = self.readers.lock();
        let slots = self.ring.slots();
        let mut head = self.ring.head();
        let tail = self.state.lock().tail;
        let mut taken = 0;
        while head != tail && taken < max {
            mem::write(list.wrapping_add(taken * size_of::<Event>()), &self.ring.get(head))?;
            head = (head + 1) % slots;
            taken += 1;
        }
        if taken > 0 {
            self.ring.set_head(head);
        }
        Ok(taken)
    }

    /// io_cancel(2): the request that was made from the `struct iocb` at `obj`. Its event comes all the same.
    ///
    /// # Errors
    /// EINPROGRESS, which is the success; EINVAL if it does not wait.
    pub fn cancel(&self, obj: u64) -> Result<()> {
        let found = self.state.lock().polls.iter().find(|poll| poll.obj() == obj).cloned();
        if found.is_some_and(|poll| poll.finish(0)) { Err(EINPROGRESS) } else { Err(EINVAL) }
    }

    /// Ends the context; false if that has happened already.
    fn kill(&self) -> bool {
        let polls = {
            let mut state = self.state.lock();
            if state.dead {
                return false;
            }
            state.dead = true;
            state.polls.clone()
        };
        NR.fetch_sub(self.max_requests, Relaxed);
        for poll in polls {
            poll.finish(0);
        }
        self.changed.wake_all();
        true
    }

    fn enter_poll(&self, poll: Arc<PollRequest>) {
        self.state.lock().polls.push(poll);
    }

    fn remove_poll(&self, poll: &PollRequest) {
        let removed = {
            let polls = &mut self.state.lock().polls;
            let at = polls.iter().position(|other| core::ptr::eq(&**other, poll));
            at.map(|at| polls.swap_remove(at))
        };
        drop(removed);
    }
}

/// A request under way. Dropped without [`complete`](Self::complete) it leaves no event.
pub struct Request {
    context: Arc<Context>,
    data: u64,
    obj: u64,
    /// The eventfd that is told.
    pub resfd: Option<Arc<File>>,
}

impl Request {
    /// It is done: tells the program.
    pub fn complete(self, result: Result<usize>) {
        let res = match result {
            Ok(value) => value as i64,
            // A request can't be restarted.
            Err(error) if error.is_restart() => -(EINTR as i64),
            Err(error) => -(error as i64),
        };
        self.context.post(Event { data: self.data, obj: self.obj, res, res2: 0 });
        if let Some(file) = &self.resfd {
            eventfd::signal(file);
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.context.release();
    }
}

/// What io_getevents says when `taken` events were there: with none and a signal, that.
pub fn interrupted(thread: &Thread, taken: usize) -> bool {
    taken == 0 && signal::signal_pending(thread)
}
