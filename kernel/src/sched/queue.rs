//! The run queue of one CPU: the tasks that wait, and the figures that other CPUs look at.

use alloc::collections::BinaryHeap;
use core::{
    cmp::Ordering as Order,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use ostd::{
    irq,
    sync::{IrqsOff, SpinLock},
    task::Task,
};

use super::{
    SLEEPER_CREDIT,
    realtime::{Budget, FAIR_FROM},
};
use crate::{lock_order, prelude::*};

/// A waiting task. Ordered so that the heap's greatest is the one to run next.
struct Entry {
    vruntime: u64,
    /// Order of arrival among equals; what goes before them all has a negative one.
    number: i64,
    task: Arc<Task>,
}

impl Entry {
    fn key(&self) -> (u64, i64) {
        (self.vruntime, self.number)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Order {
        other.key().cmp(&self.key())
    }
}

/// The tasks that wait. The first is kept apart from the others, so that a CPU whose tasks take turns two by two never
/// moves anything in the heap.
struct Waiting {
    /// Goes before all in the heap; if there is none, the heap is empty.
    first: Option<Entry>,
    heap: BinaryHeap<Entry>,
    next_number: i64,
    /// For what goes before its equals.
    front_number: i64,
}

impl Waiting {
    const fn new() -> Self {
        Self { first: None, heap: BinaryHeap::new(), next_number: 0, front_number: -1 }
    }

    fn len(&self) -> usize {
        self.heap.len() + usize::from(self.first.is_some())
    }

    #[inline]
    fn push(&mut self, entry: Entry) {
        let later = match &mut self.first {
            // `Entry`'s order has the next one last.
            Some(first) if entry > *first => core::mem::replace(first, entry),
            Some(_) => entry,
            none => {
                *none = Some(entry);
                return;
            }
        };
        self.heap.push(later);
    }

    #[inline]
    fn pop(&mut self) -> Option<Entry> {
        let first = self.first.take();
        if !self.heap.is_empty() {
            self.first = self.heap.pop();
        }
        first
    }

    fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.first.iter().chain(self.heap.iter())
    }

    /// Takes one out, by the number that it has got.
    fn remove(&mut self, number: i64) {
        if self.first.as_ref().is_some_and(|first| first.number == number) {
            self.pop();
        } else {
            self.heap.retain(|entry| entry.number != number);
        }
    }
}

/// No task waits: later than every virtual run time.
const NONE: u64 = u64::MAX;

pub(super) struct CpuQueue {
    /// Interrupts are off whenever the policy is asked.
    tasks: SpinLock<Waiting, IrqsOff>,
    /// How many tasks wait. Written under the lock.
    waiting: AtomicUsize,
    /// The virtual run time of the first of them, or [`NONE`]. Written under the lock.
    first: AtomicU64,
    /// The least virtual run time of this CPU's tasks; only grows. Written by this CPU.
    floor: AtomicU64,
    /// The virtual run time of the task that runs, as of the last account. Written by this CPU.
    running: AtomicU64,
    /// What real-time tasks have used of this CPU.
    pub(super) realtime: Budget,
}

impl CpuQueue {
    pub(super) const fn new() -> Self {
        Self {
            tasks: SpinLock::new(lock_order::RUN_QUEUE, Waiting::new()),
            waiting: AtomicUsize::new(0),
            first: AtomicU64::new(NONE),
            floor: AtomicU64::new(FAIR_FROM + SLEEPER_CREDIT),
            running: AtomicU64::new(0),
            realtime: Budget::new(),
        }
    }

    /// Makes room for `tasks` tasks, so that enqueueing never has to ask for memory: it happens in interrupt handlers,
    /// and when memory has run out. With nothing in the queue that must not wait: the heap is exchanged.
    pub(super) fn reserve(&self, tasks: usize) -> Result<()> {
        let mut roomy = Vec::new();
        roomy.try_reserve_exact(tasks).map_err(|_| ENOMEM)?;
        let mut heap = BinaryHeap::from(roomy);
        irq::without(|| {
            let mut tasks = self.tasks.lock();
            heap.extend(tasks.heap.drain());
            core::mem::swap(&mut heap, &mut tasks.heap);
        });
        Ok(())
    }

    /// How many tasks wait. Without the lock: a hint.
    #[inline]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// The least virtual run time of this CPU's tasks.
    #[inline]
    pub(super) fn floor(&self) -> u64 {
        self.floor.load(Relaxed)
    }

    /// What the running task has used.
    #[inline]
    pub(super) fn running(&self) -> u64 {
        self.running.load(Relaxed)
    }

    /// Notes what the running task has used, and raises the floor to it or to the first that waits.
    #[inline]
    pub(super) fn set_running(&self, vruntime: u64) {
        self.running.store(vruntime, Relaxed);
        let least = vruntime.min(self.first());
        if least > self.floor.load(Relaxed) {
            self.floor.store(least, Relaxed);
        }
    }

    /// The virtual run time of the task that is to run next; `u64::MAX` if none waits.
    #[inline]
    pub(super) fn first(&self) -> u64 {
        self.first.load(Relaxed)
    }

    fn update_figures(&self, tasks: &Waiting) {
        self.waiting.store(tasks.len(), Relaxed);
        self.first.store(tasks.first.as_ref().map_or(NONE, |entry| entry.vruntime), Relaxed);
    }

    #[inline]
    pub(super) fn push(&self, vruntime: u64, task: Arc<Task>) {
        let mut tasks = self.tasks.lock();
        let number = tasks.next_number;
        tasks.next_number = number + 1;
        tasks.push(Entry { vruntime, number, task });
        self.update_figures(&tasks);
    }

    /// As [`push`](Self::push), before all that are equal to it.
    pub(super) fn push_front(&self, vruntime: u64, task: Arc<Task>) {
        let mut tasks = self.tasks.lock();
        let number = tasks.front_number;
        tasks.front_number = number - 1;
        tasks.push(Entry { vruntime, number, task });
        self.update_figures(&tasks);
    }

    /// Takes the task that is to run next, and what it was queued under.
    #[inline]
    pub(super) fn pop(&self) -> Option<(u64, Arc<Task>)> {
        if self.waiting() == 0 {
            return None;
        }
        self.pop_if(|_, _| true)
    }

    /// As [`pop`](Self::pop), if the task is one that `wanted` accepts.
    #[inline]
    pub(super) fn pop_if(&self, wanted: impl Fn(u64, &Task) -> bool) -> Option<(u64, Arc<Task>)> {
        let mut tasks = self.tasks.lock();
        let first = tasks.first.as_ref()?;
        if !wanted(first.vruntime, &first.task) {
            return None;
        }
        let entry = tasks.pop()?;
        self.update_figures(&tasks);
        Some((entry.vruntime, entry.task))
    }

    /// Takes the first of the tasks that `wanted` accepts, wherever it is. Looks at them all.
    pub(super) fn take_first(&self, wanted: impl Fn(u64, &Task) -> bool) -> Option<(u64, Arc<Task>)> {
        let mut tasks = self.tasks.lock();
        let found = tasks.iter().filter(|entry| wanted(entry.vruntime, &entry.task)).max()?;
        let (vruntime, number, task) = (found.vruntime, found.number, found.task.clone());
        tasks.remove(number);
        self.update_figures(&tasks);
        Some((vruntime, task))
    }

    /// Whether any task waits that `wanted` accepts.
    pub(super) fn has(&self, wanted: impl Fn(u64) -> bool) -> bool {
        self.tasks.lock().iter().any(|entry| wanted(entry.vruntime))
    }
}
