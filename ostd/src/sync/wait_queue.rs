//! Wait queues: sleeping until a condition becomes true.
//!
//! The condition is the user's own data under its own lock (or an atomic). A waiter links itself first and looks at the
//! condition then; a waker changes the condition first and looks for waiters then. With a full fence between the two
//! steps on both sides, at least one of them sees the other, so no wake-up is lost:
//!
//! ```text
//!   waiter                                waker
//!   1. link the entry (head != null)      1. condition = true
//!   2. full fence ----------------------- 2. full fence
//!   3. condition?  true: leave            3. head == null?  nobody waits: done (one load, no lock)
//!   4. park()  <------------------------- 4. lock, unlink the entry, unpark its task
//! ```
//!
//! `park` consumes a token that `unpark` leaves, so a wake-up between 3 and 4 is not lost either. A waiter may be woken
//! without cause and always looks at the condition again.
//!
//! *Data structures.* A doubly linked list of entries under an interrupt-safe spin lock. A task has one entry built in
//! ([`Task`](crate::task::Task)), so that the usual wait needs no allocation; entries of further queues that a task waits
//! on at the same time, and callbacks ([`Wake`]: poll, epoll), are on the heap.
//!
//! *Fairness.* First come, first served. `wake_one` takes the entry off the list, so two calls wake two waiters. A waiter
//! that was taken off but leaves for another reason (a signal, a time-out) passes the wake-up on with
//! [`WaitGuard::pass_on`].
//!
//! *Locks.* The list lock ([`ranks::WAIT_QUEUE`]) is held while callbacks run and while tasks are unparked. A callback may
//! wake further queues; whoever registers such callbacks keeps the chains free of cycles.

use super::{IrqSpinLock, ranks};
use crate::task::{self, Task};
use alloc::{boxed::Box, sync::Arc};
use core::{
    cell::{Cell, UnsafeCell},
    marker::PhantomData,
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, AtomicPtr, Ordering, fence},
};

/// Something to be told of a wake-up: what poll and epoll put on a queue.
///
/// `wake` runs with the queue's lock held and perhaps in an interrupt handler: it must be short, not sleep, and take
/// only interrupt-safe locks that come after the wait queue in the lock order. It may wake another queue, if it sees to it
/// that no chain of wake-ups leads back to the first.
pub trait Wake: Send + Sync {
    /// The queue was woken. The entry stays on the queue until its registration is dropped.
    fn wake(&self);
}

enum Waiter {
    /// An entry that is linked nowhere.
    None,
    /// A task that parks; the entry is unlinked when it is woken. The pointer is good while the entry is linked: a task whose
    /// own entry is linked at its end is kept for good (see [`WaitNode::is_forgotten`]), and an entry on the heap has a
    /// reference to it.
    Task(NonNull<Task>),
    /// A callback, which stays linked.
    Callback(Arc<dyn Wake>),
}

/// An entry of a wait queue. Everything in it but the two atomics is protected by the lock of the queue it is linked to.
pub(crate) struct WaitNode {
    prev: Cell<*const WaitNode>,
    next: Cell<*const WaitNode>,
    waiter: UnsafeCell<Waiter>,
    /// On a list. Written under the queue's lock; read without it by the waiter.
    linked: AtomicBool,
    /// Some guard uses this entry (only the task that owns the entry reads or writes this).
    in_use: AtomicBool,
}

// SAFETY: the links and the waiter are only touched under the queue's lock, or by the owner while the entry is not linked.
unsafe impl Sync for WaitNode {}
// SAFETY: nothing in a node is tied to a CPU.
unsafe impl Send for WaitNode {}

impl WaitNode {
    pub(crate) const fn new() -> Self {
        Self {
            prev: Cell::new(ptr::null()),
            next: Cell::new(ptr::null()),
            waiter: UnsafeCell::new(Waiter::None),
            linked: AtomicBool::new(false),
            in_use: AtomicBool::new(false),
        }
    }

    /// Whether a forgotten guard left the entry on a queue: asked by the task that owns it, at its end. The queue may have been
    /// moved since, so there is no way to take the entry off.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.linked.load(Ordering::Acquire)
    }
}

struct List {
    tail: *const WaitNode,
}

// SAFETY: the list owns no thread-bound data; nodes are reached under the lock only.
unsafe impl Send for List {}

/// A queue of tasks (and callbacks) that wait for a condition.
pub struct WaitQueue {
    /// The first entry, or null. Written under the lock, read without it by `wake_*` to see that nobody waits.
    head: AtomicPtr<WaitNode>,
    list: IrqSpinLock<List>,
}

impl Default for WaitQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl WaitQueue {
    /// Makes an empty queue.
    pub const fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
            list: IrqSpinLock::new(ranks::WAIT_QUEUE, List { tail: ptr::null() }),
        }
    }

    /// Wakes the task that has waited longest, and every callback before it. Returns how many tasks were woken.
    #[inline]
    pub fn wake_one(&self) -> usize {
        self.wake_n(1)
    }

    /// Wakes every waiter. Returns how many tasks were woken.
    #[inline]
    pub fn wake_all(&self) -> usize {
        self.wake_n(usize::MAX)
    }

    /// Wakes up to `n` tasks, in the order in which they came, and the callbacks met on the way. Returns how many tasks
    /// were woken. Costs one load when nobody waits.
    #[inline]
    pub fn wake_n(&self, n: usize) -> usize {
        // Pairs with the fence in `link`: see the diagram above.
        fence(Ordering::SeqCst);
        if self.head.load(Ordering::Relaxed).is_null() {
            return 0;
        }
        self.wake_waiters(n)
    }

    /// Whether nobody waits. Without a lock: only a hint.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    /// How many entries there are, for tests.
    #[cfg(feature = "ktest")]
    pub(crate) fn len(&self) -> usize {
        let _list = self.list.lock();
        let mut count = 0;
        let mut at = self.head.load(Ordering::Relaxed).cast_const();
        // SAFETY: linked entries are alive while the lock is held.
        while let Some(node) = unsafe { at.as_ref() } {
            count += 1;
            at = node.next.get();
        }
        count
    }

    #[inline(never)]
    fn wake_waiters(&self, n: usize) -> usize {
        let mut woken = 0;
        // Nested: a callback on another queue may have brought us here. Such chains have no cycles (see `Wake`).
        let mut list = self.list.lock_nested();
        let mut at = self.head.load(Ordering::Relaxed).cast_const();
        while !at.is_null() && woken < n {
            // SAFETY: the entries of the list are alive while the lock is held: they unlink themselves under it first.
            let node = unsafe { &*at };
            at = node.next.get();
            // SAFETY: the waiter is protected by the lock that is held.
            match unsafe { &*node.waiter.get() } {
                Waiter::Task(task) => {
                    // Once its entry is off the list, the task may leave without the lock, and end: hold on to it.
                    // SAFETY: every task was made by `Arc::new`, and it is alive as long as its entry is linked.
                    let task = unsafe {
                        Arc::increment_strong_count(task.as_ptr());
                        Arc::from_raw(task.as_ptr())
                    };
                    self.unlink_locked(&mut list, node);
                    task.unpark_with_irqs_off();
                    woken += 1;
                }
                Waiter::Callback(waker) => waker.wake(),
                Waiter::None => {}
            }
        }
        woken
    }

    /// Puts the current task on the queue until the guard is dropped. Then look at the condition, and
    /// [`sleep`](WaitGuard::sleep) when it does not hold: see [`WaitGuard`].
    #[inline]
    pub fn enqueue(&self) -> WaitGuard<'_> {
        let task = task::current();
        let own = task.wait_node();
        let (node, heap) = if own.in_use.load(Ordering::Relaxed) {
            // Its reference to the task, which the guard gives up.
            core::mem::forget(task.to_arc());
            (NonNull::from(Box::leak(Box::new(WaitNode::new()))), true)
        } else {
            own.in_use.store(true, Ordering::Relaxed);
            (NonNull::from(own), false)
        };
        let guard = WaitGuard { queue: self, node, heap, _not_send: PhantomData };
        // SAFETY: the entry is not linked, so it is the current task's alone.
        unsafe { *guard.node().waiter.get() = Waiter::Task(NonNull::from(&*task)) };
        self.link(guard.node());
        guard
    }

    /// Puts a callback on the queue until the registration is dropped.
    pub fn register(self: &Arc<Self>, waker: Arc<dyn Wake>) -> WakerRegistration {
        let node = Box::new(WaitNode::new());
        // SAFETY: the entry is not linked yet.
        unsafe { *node.waiter.get() = Waiter::Callback(waker) };
        self.link(&node);
        WakerRegistration { queue: self.clone(), node }
    }

    /// Waits, uninterruptibly, until `condition` gives a value.
    #[inline]
    pub fn wait_until<R>(&self, mut condition: impl FnMut() -> Option<R>) -> R {
        if let Some(result) = condition() {
            return result;
        }
        let guard = self.enqueue();
        loop {
            if let Some(result) = condition() {
                return result;
            }
            guard.sleep();
        }
    }

    /// Waits, uninterruptibly, until `condition` gives a value or the time `deadline_ns` has come (then `None`).
    pub fn wait_until_deadline<R>(
        &self,
        deadline_ns: u64,
        mut condition: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        let guard = self.enqueue();
        loop {
            if let Some(result) = condition() {
                return Some(result);
            }
            if guard.sleep_until(deadline_ns) {
                guard.pass_on();
                return condition();
            }
        }
    }

    fn link(&self, node: &WaitNode) {
        let mut list = self.list.lock();
        let tail = list.tail;
        node.prev.set(tail);
        node.next.set(ptr::null());
        let at: *const WaitNode = node;
        if tail.is_null() {
            self.head.store(at.cast_mut(), Ordering::Relaxed);
        } else {
            // SAFETY: the tail is linked, so it is alive while the lock is held.
            unsafe { (*tail).next.set(at) };
        }
        list.tail = at;
        node.linked.store(true, Ordering::Relaxed);
        drop(list);
        // Pairs with the fence in `wake_n`: see the diagram above.
        fence(Ordering::SeqCst);
    }

    fn unlink(&self, node: &WaitNode) {
        let mut list = self.list.lock();
        if node.linked.load(Ordering::Relaxed) {
            self.unlink_locked(&mut list, node);
        }
    }

    fn unlink_locked(&self, list: &mut List, node: &WaitNode) {
        let (prev, next) = (node.prev.get(), node.next.get());
        if prev.is_null() {
            self.head.store(next.cast_mut(), Ordering::Relaxed);
        } else {
            // SAFETY: neighbours of a linked entry are linked, hence alive while the lock is held.
            unsafe { (*prev).next.set(next) };
        }
        if next.is_null() {
            list.tail = prev;
        } else {
            // SAFETY: as above.
            unsafe { (*next).prev.set(prev) };
        }
        // Release pairs with the Acquire loads without the lock: who sees `false` owns the entry.
        node.linked.store(false, Ordering::Release);
    }
}

impl Drop for WaitQueue {
    fn drop(&mut self) {
        // Entries are left only by guards that were forgotten.
        let mut list = self.list.lock();
        loop {
            let head = self.head.load(Ordering::Relaxed);
            // SAFETY: a linked entry is alive while the lock is held.
            let Some(node) = (unsafe { head.as_ref() }) else {
                break;
            };
            self.unlink_locked(&mut list, node);
        }
    }
}

/// The current task's place in a [`WaitQueue`]; left on drop.
///
/// The loop that waits is: look at the condition (and at other reasons to leave, such as a signal); [`sleep`](Self::sleep);
/// again.
pub struct WaitGuard<'a> {
    queue: &'a WaitQueue,
    node: NonNull<WaitNode>,
    /// The entry is a heap allocation of this guard, not the one built into the task.
    heap: bool,
    /// The entry belongs to the current task.
    _not_send: PhantomData<*mut ()>,
}

impl WaitGuard<'_> {
    fn node(&self) -> &WaitNode {
        // SAFETY: the entry is this guard's own allocation or the current task's, and the guard stays in the task.
        unsafe { self.node.as_ref() }
    }

    /// Whether a wake-up took the entry off the queue since it was put there.
    #[inline]
    pub fn was_woken(&self) -> bool {
        // Acquire pairs with the Release in `unlink_locked`.
        !self.node().linked.load(Ordering::Acquire)
    }

    /// Sleeps until the queue is woken or the task is unparked for another reason. If a wake-up has taken the entry off
    /// the queue, it is put back instead and the function returns at once. Look at the condition before and after this.
    #[inline]
    pub fn sleep(&self) {
        if !self.rearmed() {
            task::park();
        }
    }

    /// As [`sleep`](Self::sleep), until the time `deadline_ns` at most. Returns whether that time has come.
    #[inline]
    pub fn sleep_until(&self, deadline_ns: u64) -> bool {
        !self.rearmed() && task::park_until(deadline_ns)
    }

    /// Puts the entry back on the queue if a wake-up took it off. That is not done right after the wake-up, because the
    /// condition holds then as a rule and the entry is not needed any more; and it is what tells of a wake-up whose token
    /// was used up meanwhile, by a condition that slept itself (on a mutex, say).
    #[inline]
    fn rearmed(&self) -> bool {
        let woken = self.was_woken();
        if woken {
            self.queue.link(self.node());
        }
        woken
    }

    /// Gives up waiting for another reason than the condition: if a wake-up had already been spent on this waiter, the
    /// next one gets it.
    #[inline]
    pub fn pass_on(self) {
        if self.was_woken() {
            self.queue.wake_one();
        }
    }
}

impl Drop for WaitGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.node().linked.load(Ordering::Acquire) {
            self.queue.unlink(self.node());
        }
        if self.heap {
            // SAFETY: `enqueue` leaked this box for this guard, and it is no longer linked; and a reference to the current task,
            // which has another one.
            unsafe {
                drop(Box::from_raw(self.node.as_ptr()));
                Arc::decrement_strong_count(&raw const *task::current());
            }
        } else {
            self.node().in_use.store(false, Ordering::Relaxed);
        }
    }
}

/// A callback's place on a [`WaitQueue`]; left on drop. Dropping waits for a wake-up that is running.
pub struct WakerRegistration {
    queue: Arc<WaitQueue>,
    node: Box<WaitNode>,
}

impl Drop for WakerRegistration {
    fn drop(&mut self) {
        self.queue.unlink(&self.node);
    }
}
