//! One-shot timers, and the tick.
//!
//! *Data structures.* Each CPU has a binary heap of deadlines. An entry belongs to a [`Timer`] (which it holds a reference
//! to) or to a task that sleeps in [`park_until`](crate::task::park_until); the owner's [`TimerNode`] says on which CPU's
//! heap it is and where, so that it can be taken off in O(log n). The local APIC is set to the earliest deadline of heap and
//! tick; it is only written to when that becomes earlier, and a time that comes too early sets it anew.
//!
//! *The tick* runs only while a task does: the policy is asked whether to give way, and CPU time is sampled. An idle CPU
//! sleeps until its next timer.
//!
//! *Locks.* [`ranks::TIMER_HEAP`], one per CPU. Tasks are unparked with it held (so that one that returns from
//! `park_until` is not touched any more); callbacks run without it.

use crate::{
    arch::x86::{apic, tsc},
    cpu::{self, CpuId, MAX_CPUS, PerCpu},
    irq,
    sync::{IrqSafe, IrqSpinLock, SpinLockGuard, ranks},
    task::{self, Task},
    time,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    cell::Cell,
    mem,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

/// Where a timer is on a heap.
pub(crate) struct TimerNode {
    /// The CPU whose heap it is on, or [`NOWHERE`]. Changed only under that heap's lock.
    cpu: AtomicU32,
    /// The place in the heap. Protected by that heap's lock.
    index: Cell<usize>,
}

const NOWHERE: u32 = u32::MAX;

// SAFETY: `index` is only touched under the lock of the heap that the node is on.
unsafe impl Sync for TimerNode {}

impl TimerNode {
    pub(crate) const fn new() -> Self {
        Self { cpu: AtomicU32::new(NOWHERE), index: Cell::new(0) }
    }

    /// Takes the timer off its heap. Returns whether it was on one.
    pub(crate) fn cancel(&self) -> bool {
        loop {
            let cpu = self.cpu.load(Ordering::Acquire);
            let Some(cpu) = CpuId::new(cpu as usize) else { return false };
            let mut queue = QUEUES.on(cpu).lock();
            if self.cpu.load(Ordering::Relaxed) as usize == cpu.as_usize() {
                let entry = queue.remove(self.index.get());
                self.cpu.store(NOWHERE, Ordering::Release);
                drop(queue);
                // The last reference to a timer may go here: not under the lock.
                drop(entry);
                return true;
            }
        }
    }
}

enum Owner {
    /// A timer with a callback.
    Timer(Arc<Timer>),
    /// A task in `park_until`, which takes its node off the heap, under the lock, before it returns.
    Task(NonNull<Task>),
}

impl Owner {
    fn node(&self) -> &TimerNode {
        match self {
            Owner::Timer(timer) => &timer.node,
            // SAFETY: the task is alive while its node is on a heap.
            Owner::Task(task) => unsafe { task.as_ref() }.timer_node(),
        }
    }
}

struct Entry {
    deadline: u64,
    owner: Owner,
}

/// A binary heap: no entry is earlier than its parent.
struct Queue {
    heap: Vec<Entry>,
}

// SAFETY: tasks and timers may be reached from every CPU; the pointer to a task is good while the entry is on the heap.
unsafe impl Send for Queue {}

impl Queue {
    fn place(&mut self, index: usize) {
        self.heap[index].owner.node().index.set(index);
    }

    fn sift_up(&mut self, mut index: usize) -> usize {
        while index > 0 {
            let parent = (index - 1) / 2;
            if self.heap[parent].deadline <= self.heap[index].deadline {
                break;
            }
            self.heap.swap(parent, index);
            self.place(index);
            index = parent;
        }
        self.place(index);
        index
    }

    fn sift_down(&mut self, mut index: usize) {
        loop {
            let mut least = index;
            for child in [2 * index + 1, 2 * index + 2] {
                if child < self.heap.len() && self.heap[child].deadline < self.heap[least].deadline {
                    least = child;
                }
            }
            if least == index {
                break;
            }
            self.heap.swap(least, index);
            self.place(index);
            index = least;
        }
        self.place(index);
    }

    /// Adds an entry, for which there is room. Returns whether it is the earliest.
    fn push(&mut self, entry: Entry) -> bool {
        let index = self.heap.len();
        self.heap.push(entry);
        self.sift_up(index) == 0
    }

    fn remove(&mut self, index: usize) -> Entry {
        let entry = self.heap.swap_remove(index);
        if index < self.heap.len() {
            let index = self.sift_up(index);
            self.sift_down(index);
        }
        entry
    }

    fn earliest(&self) -> u64 {
        self.heap.first().map_or(NEVER, |entry| entry.deadline)
    }
}

/// No deadline.
const NEVER: u64 = u64::MAX;

static QUEUES: PerCpu<IrqSpinLock<Queue>> =
    PerCpu::new([const { IrqSpinLock::new(ranks::TIMER_HEAP, Queue { heap: Vec::new() }) }; MAX_CPUS]);

/// What a CPU's own timer is set to. Written by that CPU only, with interrupts off.
struct Hardware {
    /// The deadline that the local APIC is set to.
    programmed: AtomicU64,
    /// The next tick.
    tick: AtomicU64,
}

static HARDWARE: PerCpu<Hardware> = PerCpu::new(
    [const { Hardware { programmed: AtomicU64::new(NEVER), tick: AtomicU64::new(NEVER) } }; MAX_CPUS],
);

/// Sets this CPU's APIC timer if `deadline` is earlier than what it is set to. Interrupts are off.
fn program(deadline: u64, now: u64) {
    let hardware = HARDWARE.get();
    if deadline < hardware.programmed.load(Ordering::Relaxed) {
        hardware.programmed.store(deadline, Ordering::Relaxed);
        apic::set_timer(tsc::apic_ticks(deadline.saturating_sub(now)));
    }
}

/// Locks this CPU's heap. Interrupts go off first, so that it is still this CPU's when it is locked.
fn lock_own() -> SpinLockGuard<'static, Queue, IrqSafe> {
    let were_on = irq::save_and_disable();
    let queue = QUEUES.on(cpu::current()).lock();
    // The guard keeps them off, and turns them on again if this function is told that they were.
    queue.with_irqs_restored_to(were_on)
}

/// Locks this CPU's heap with room for one more entry.
fn lock_with_room() -> SpinLockGuard<'static, Queue, IrqSafe> {
    loop {
        let queue = lock_own();
        if queue.heap.len() < queue.heap.capacity() {
            return queue;
        }
        let wanted = (queue.heap.capacity() * 2).max(32);
        drop(queue);
        // Memory is taken without the lock; the task may be on another CPU by then, whose heap may need it or not.
        let mut larger = Vec::with_capacity(wanted);
        let mut queue = lock_own();
        if queue.heap.capacity() < larger.capacity() {
            larger.append(&mut queue.heap);
            let old = mem::replace(&mut queue.heap, larger);
            drop(queue);
            drop(old);
        }
    }
}

/// Puts an entry on this CPU's heap.
fn insert(deadline: u64, owner: Owner) {
    let mut queue = lock_with_room();
    let node = owner.node();
    // Somebody else may have armed the same timer in between; the later call wins only one of the places.
    if node
        .cpu
        .compare_exchange(NOWHERE, cpu::current().as_usize() as u32, Ordering::AcqRel, Ordering::Relaxed)
        .is_err()
    {
        return;
    }
    if queue.push(Entry { deadline, owner }) {
        program(deadline, time::now_ns());
    }
}

/// Wakes the current task, which is about to park, at `deadline`.
pub(crate) fn arm_for_task(task: &Task, deadline: u64) {
    insert(deadline, Owner::Task(NonNull::from(task)));
}

/// The timer interrupt of this CPU.
pub(crate) fn handle_interrupt(user: bool) {
    let hardware = HARDWARE.get();
    hardware.programmed.store(NEVER, Ordering::Relaxed);
    let now = time::now_ns();
    run_expired(now);
    if hardware.tick.load(Ordering::Relaxed) <= now {
        let next = task::switch::tick(user, now);
        hardware.tick.store(now.saturating_add(next), Ordering::Relaxed);
    }
    let heap = lock_own().earliest();
    program(heap.min(hardware.tick.load(Ordering::Relaxed)), now);
}

fn run_expired(now: u64) {
    loop {
        let mut queue = lock_own();
        if queue.earliest() > now {
            return;
        }
        let entry = queue.remove(0);
        match entry.owner {
            Owner::Task(task) => {
                // SAFETY: the task is in `park_until`, which takes the lock before it returns.
                let task = unsafe { task.as_ref() };
                task.unpark();
                task.timer_node().cpu.store(NOWHERE, Ordering::Release);
            }
            Owner::Timer(timer) => {
                timer.node.cpu.store(NOWHERE, Ordering::Release);
                drop(queue);
                (timer.callback)();
            }
        }
    }
}

/// A task is about to run on this CPU: the tick runs if it does not yet. Interrupts are off.
#[inline]
pub(crate) fn start_tick(now: u64, interval: impl FnOnce() -> u64) {
    let hardware = HARDWARE.get();
    if hardware.tick.load(Ordering::Relaxed) == NEVER {
        let deadline = now.saturating_add(interval());
        hardware.tick.store(deadline, Ordering::Relaxed);
        program(deadline, now);
    }
}

/// This CPU is about to idle: no tick. Interrupts are off.
#[inline]
pub(crate) fn stop_tick() {
    HARDWARE.get().tick.store(NEVER, Ordering::Relaxed);
}

/// A timer: calls back once each time that it is armed.
pub struct Timer {
    node: TimerNode,
    callback: Box<dyn Fn() + Send + Sync>,
}

impl Timer {
    /// Makes a timer, not armed. The callback runs in an interrupt handler, on the CPU that armed the timer: it must be
    /// short, not sleep and take only interrupt-safe locks. It may arm the timer again.
    pub fn new(callback: impl Fn() + Send + Sync + 'static) -> Arc<Timer> {
        Arc::new(Timer { node: TimerNode::new(), callback: Box::new(callback) })
    }

    /// Lets the callback run at the time `deadline_ns` (see [`now_ns`](crate::time::now_ns)) or as soon as possible after
    /// it. A timer that is armed already is moved. Two calls at the same time on two CPUs: one of them wins.
    pub fn arm(self: &Arc<Self>, deadline_ns: u64) {
        self.node.cancel();
        insert(deadline_ns, Owner::Timer(self.clone()));
    }

    /// Takes the deadline back. Returns whether the timer was armed; if not, the callback has run or runs at this moment
    /// on another CPU.
    pub fn cancel(&self) -> bool {
        self.node.cancel()
    }

    /// Whether the timer is armed.
    pub fn is_armed(&self) -> bool {
        self.node.cpu.load(Ordering::Relaxed) != NOWHERE
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;
    use crate::{ktest::ktest, sync::LockRank, sync::SpinLock, task::yield_now};
    use core::sync::atomic::AtomicUsize;

    fn wait_until(deadline: u64) {
        while time::now_ns() < deadline {
            yield_now();
        }
    }

    #[ktest]
    fn timers_fire_in_order_of_their_deadlines() {
        static FIRED: IrqSpinLock<Vec<(usize, u64)>> =
            IrqSpinLock::new(LockRank::new(650, "test"), Vec::new());
        FIRED.lock().reserve(16);
        let start = time::now_ns();
        let offsets = [9, 3, 7, 1, 8, 2, 6, 4, 5, 0];
        let timers = offsets.map(|n| Timer::new(move || FIRED.lock().push((n, time::now_ns()))));
        irq::without(|| {
            for (timer, n) in timers.iter().zip(offsets) {
                timer.arm(start + 1_000_000 + n as u64 * 200_000);
            }
            assert!(timers.iter().all(|timer| timer.is_armed()));
        });
        while FIRED.lock().len() < timers.len() {
            yield_now();
        }
        let fired = core::mem::take(&mut *FIRED.lock());
        assert_eq!(fired.iter().map(|(n, _)| *n).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        for (n, at) in fired {
            assert!(at >= start + 1_000_000 + n as u64 * 200_000);
        }
        assert!(timers.iter().all(|timer| !timer.is_armed()));
    }

    #[ktest]
    fn cancelled_timer_does_not_fire() {
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = count.clone();
        let timer = Timer::new(move || {
            theirs.fetch_add(1, Ordering::Relaxed);
        });
        let start = time::now_ns();
        // Interrupts stay off in between: the machine may stand still for longer than any time that is worth waiting.
        let cancelled = irq::without(|| {
            timer.arm(start + 2_000_000);
            timer.cancel()
        });
        assert!(cancelled);
        assert!(!timer.cancel());
        wait_until(start + 4_000_000);
        assert_eq!(count.load(Ordering::Relaxed), 0);
        // Armed twice, it fires once, at the later time.
        let start = time::now_ns();
        irq::without(|| {
            timer.arm(start + 500_000);
            timer.arm(start + 3_000_000);
        });
        while count.load(Ordering::Relaxed) == 0 {
            yield_now();
        }
        assert!(time::now_ns() >= start + 3_000_000);
        wait_until(start + 6_000_000);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        assert!(!timer.cancel());
        drop(timer);
        // The CPU on which it fired may still be about to let go of it.
        while Arc::strong_count(&count) > 1 {
            yield_now();
        }
    }

    #[ktest]
    fn callback_may_arm_its_timer_again() {
        static TIMER: SpinLock<Option<Arc<Timer>>> = SpinLock::new(LockRank::new(1, "test"), None);
        let count = Arc::new(AtomicUsize::new(0));
        let theirs = count.clone();
        let slot: Arc<spin::Once<alloc::sync::Weak<Timer>>> = Arc::new(spin::Once::new());
        let own = slot.clone();
        let timer = Timer::new(move || {
            if theirs.fetch_add(1, Ordering::Relaxed) < 4
                && let Some(timer) = own.get().and_then(|timer| timer.upgrade())
            {
                timer.arm(time::now_ns() + 100_000);
            }
        });
        slot.call_once(|| Arc::downgrade(&timer));
        *TIMER.lock() = Some(timer.clone());
        timer.arm(0);
        let deadline = time::now_ns() + 5_000_000_000;
        while count.load(Ordering::Relaxed) < 5 {
            assert!(time::now_ns() < deadline);
            yield_now();
        }
        wait_until(time::now_ns() + 1_000_000);
        assert_eq!(count.load(Ordering::Relaxed), 5);
        TIMER.lock().take();
    }

    /// Random insertions and removals keep the heap in order.
    #[ktest]
    fn heap_stays_a_heap() {
        let timers: Vec<_> = (0..64).map(|_| Timer::new(|| {})).collect();
        let far = time::now_ns() + 1_000_000_000_000;
        let mut seed = 12345u64;
        for _ in 0..1000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let timer = &timers[(seed >> 33) as usize % timers.len()];
            if seed >> 63 == 0 {
                timer.arm(far + (seed >> 40));
            } else {
                timer.cancel();
            }
            let queue = lock_own();
            for (i, entry) in queue.heap.iter().enumerate() {
                assert_eq!(entry.owner.node().index.get(), i);
                assert!(i == 0 || queue.heap[(i - 1) / 2].deadline <= entry.deadline);
            }
        }
        for timer in &timers {
            timer.cancel();
        }
    }
}
