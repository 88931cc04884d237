//! Tests of locks and wait queues.

use super::*;
use crate::{
    irq,
    ktest::ktest,
    task::{self, TaskBuilder, current, yield_now},
    time,
};
use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const LOW: LockRank = LockRank::new(10, "low");
const HIGH: LockRank = LockRank::new(20, "high");

/// Runs `body` in `tasks` tasks at a time and waits for all.
fn in_parallel(tasks: usize, body: impl Fn(usize) + Send + Sync + 'static) {
    let body = Arc::new(body);
    let running = Arc::new(AtomicUsize::new(tasks));
    for number in 0..tasks {
        let (body, running) = (body.clone(), running.clone());
        let task = move || {
            body(number);
            running.fetch_sub(1, Ordering::AcqRel);
        };
        TaskBuilder::new(task).spawn().unwrap();
    }
    while running.load(Ordering::Acquire) > 0 {
        yield_now();
    }
}

#[ktest]
fn spin_lock_excludes() {
    static LOCK: SpinLock<usize> = SpinLock::new(LOW, 0);
    in_parallel(4, |_| {
        for _ in 0..5000 {
            let mut value = LOCK.lock();
            let old = *value;
            core::hint::black_box(&mut *value);
            *value = old + 1;
        }
    });
    assert_eq!(*LOCK.lock(), 20_000);
    let held = LOCK.lock();
    assert!(LOCK.try_lock().is_none());
    drop(held);
    assert!(LOCK.try_lock().is_some());
}

#[ktest]
fn irq_lock_keeps_interrupts_off() {
    let outer = IrqSpinLock::new(LOW, ());
    let inner = IrqSpinLock::new(HIGH, ());
    assert!(irq::enabled());
    let first = outer.lock();
    assert!(!irq::enabled());
    let second = inner.lock();
    drop(second);
    assert!(!irq::enabled());
    drop(first);
    assert!(irq::enabled());
    let held = outer.lock();
    assert!(outer.try_lock().is_none());
    assert!(!irq::enabled());
    drop(held);
    assert!(irq::enabled());
}

#[ktest]
fn mutex_excludes_over_sleeps() {
    static MUTEX: Mutex<usize> = Mutex::new(LOW, 0);
    in_parallel(4, |_| {
        for _ in 0..200 {
            let mut value = MUTEX.lock();
            let old = *value;
            yield_now();
            *value = old + 1;
        }
    });
    assert_eq!(*MUTEX.lock(), 800);
    assert!(!MUTEX.is_locked());
    let held = MUTEX.lock();
    assert!(MUTEX.try_lock().is_none());
    drop(held);
}

#[ktest]
fn readers_share_and_writers_exclude() {
    static LOCK: RwLock<(usize, usize)> = RwLock::new(LOW, (0, 0));
    static READERS: AtomicUsize = AtomicUsize::new(0);
    in_parallel(6, |number| {
        for _ in 0..100 {
            if number % 3 == 0 {
                let mut value = LOCK.write();
                assert_eq!(READERS.load(Ordering::SeqCst), 0);
                value.0 += 1;
                yield_now();
                value.1 += 1;
            } else {
                let value = LOCK.read();
                READERS.fetch_add(1, Ordering::SeqCst);
                yield_now();
                assert_eq!(value.0, value.1);
                READERS.fetch_sub(1, Ordering::SeqCst);
            }
        }
    });
    assert_eq!(*LOCK.read(), (200, 200));
    let first = LOCK.read();
    assert!(LOCK.try_read().is_some(), "readers do not share the lock");
    drop(first);
    let writer = LOCK.write();
    assert!(LOCK.try_read().is_none());
    let reader = writer.downgrade();
    assert!(LOCK.try_read().is_some());
    assert!(LOCK.try_write().is_none());
    drop(reader);
    assert!(LOCK.try_write().is_some());
}

#[ktest]
fn waiting_writer_stops_new_readers() {
    static LOCK: RwLock<()> = RwLock::new(LOW, ());
    static WROTE: AtomicBool = AtomicBool::new(false);
    let reader = LOCK.read();
    let writer = || {
        let guard = LOCK.write();
        WROTE.store(true, Ordering::SeqCst);
        drop(guard);
    };
    TaskBuilder::new(writer).spawn().unwrap();
    while LOCK.try_read().is_some() {
        yield_now();
    }
    assert!(!WROTE.load(Ordering::SeqCst));
    drop(reader);
    drop(LOCK.read());
    while !WROTE.load(Ordering::SeqCst) {
        yield_now();
    }
}

/// The check itself is a panic, which would end the run: so only what it must allow is done here, and the forbidden order
/// is asked for with `violates_order`.
#[ktest]
fn lock_order_is_checked() {
    let low: SpinLock<()> = SpinLock::new(LOW, ());
    let high: SpinLock<()> = SpinLock::new(HIGH, ());
    let high_mutex = Mutex::new(HIGH, ());
    assert!(!rank::violates_order(LOW));
    let first = low.lock();
    assert!(!rank::violates_order(HIGH));
    assert!(rank::violates_order(LOW), "the same rank again");
    let second = high.lock();
    assert!(rank::violates_order(LOW), "a lower rank");
    // Releases in another order than the opposite one are fine.
    drop(first);
    assert!(rank::violates_order(LOW));
    drop(second);
    assert!(!rank::violates_order(LOW));
    // Of two locks of one rank.
    let other: SpinLock<()> = SpinLock::new(LOW, ());
    let first = low.lock();
    let second = other.lock_nested();
    drop((first, second));
    // Sleeping locks count too, and a try is always allowed.
    let held = high_mutex.lock();
    assert!(rank::violates_order(LOW));
    assert!(low.try_lock().is_some());
    drop(held);
}

#[ktest]
fn no_sleep_with_a_spin_lock() {
    let lock: SpinLock<()> = SpinLock::new(LOW, ());
    assert!(rank::may_sleep());
    let held = lock.lock();
    assert!(!rank::may_sleep());
    drop(held);
    assert!(rank::may_sleep());
}

#[ktest]
fn interrupt_handler_starts_a_new_record() {
    let lock: SpinLock<()> = SpinLock::new(HIGH, ());
    let seen = Arc::new(AtomicUsize::new(0));
    let in_handler = seen.clone();
    let timer = crate::timer::Timer::new(move || {
        assert!(irq::in_handler());
        assert!(!rank::may_sleep());
        let clean = !rank::violates_order(LOW);
        in_handler.store(1 + usize::from(clean), Ordering::SeqCst);
    });
    let held = lock.lock();
    timer.arm(time::now_ns() + 100_000);
    while seen.load(Ordering::SeqCst) == 0 {
        core::hint::spin_loop();
    }
    drop(held);
    assert_eq!(seen.load(Ordering::SeqCst), 2, "what the interrupted task held counted for the handler");
}

#[ktest]
fn arc_cell_never_loses_a_value() {
    let cell = Arc::new(ArcCell::new(Arc::new(0usize)));
    let mine = cell.clone();
    in_parallel(4, move |number| {
        for i in 0..1000 {
            if number == 0 {
                mine.store(Arc::new(i));
            } else {
                assert!(*mine.load() < 1000);
                mine.with(|value| assert!(*value < 1000));
            }
        }
    });
    assert_eq!(*cell.load(), 999);
    let old = cell.swap(Arc::new(1));
    assert_eq!((*old, Arc::strong_count(&old)), (999, 1));
}

/// A waker that changes the condition right when a waiter looks at it: over many rounds every interleaving comes up.
#[ktest]
fn no_wake_up_is_lost() {
    const ROUNDS: usize = 3000;
    static QUEUE: WaitQueue = WaitQueue::new();
    static VALUE: AtomicUsize = AtomicUsize::new(0);
    static ANSWER: AtomicUsize = AtomicUsize::new(0);
    static BACK: WaitQueue = WaitQueue::new();
    let waiter = || {
        for round in 1..=ROUNDS {
            QUEUE.wait_until(|| (VALUE.load(Ordering::Relaxed) >= round).then_some(()));
            ANSWER.store(round, Ordering::Relaxed);
            BACK.wake_all();
        }
    };
    TaskBuilder::new(waiter).spawn().unwrap();
    for round in 1..=ROUNDS {
        VALUE.store(round, Ordering::Relaxed);
        QUEUE.wake_one();
        let deadline = time::now_ns() + 60_000_000_000;
        let answer =
            BACK.wait_until_deadline(deadline, || (ANSWER.load(Ordering::Relaxed) >= round).then_some(()));
        assert!(answer.is_some(), "a wake-up was lost in round {round}");
    }
    assert!(QUEUE.is_empty() && BACK.is_empty());
}

#[ktest]
fn wake_one_wakes_in_order() {
    static QUEUE: WaitQueue = WaitQueue::new();
    static ORDER: SpinLock<Vec<usize>> = SpinLock::new(LOW, Vec::new());
    static PASS: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];
    for (number, pass) in PASS.iter().enumerate() {
        let waiter = move || {
            let guard = QUEUE.enqueue();
            while !guard.was_woken() {
                task::park();
            }
            ORDER.lock().push(number);
            pass.store(true, Ordering::Release);
        };
        let waiting = QUEUE.len();
        TaskBuilder::new(waiter).spawn().unwrap();
        while QUEUE.len() == waiting {
            yield_now();
        }
    }
    for pass in &PASS {
        assert_eq!(QUEUE.wake_one(), 1);
        while !pass.load(Ordering::Acquire) {
            yield_now();
        }
    }
    assert_eq!(QUEUE.wake_one(), 0);
    assert_eq!(*ORDER.lock(), [0, 1, 2]);
}

#[ktest]
fn task_can_wait_on_two_queues() {
    let queues = Arc::new((WaitQueue::new(), WaitQueue::new()));
    let theirs = queues.clone();
    let first = queues.0.enqueue();
    let second = queues.1.enqueue();
    TaskBuilder::new(move || {
        theirs.1.wake_all();
    })
    .spawn()
    .unwrap();
    while !second.was_woken() {
        task::park();
    }
    assert!(!first.was_woken());
    assert_eq!(queues.0.len(), 1);
    drop((first, second));
    assert!(queues.0.is_empty() && queues.1.is_empty());
}

#[ktest]
fn condition_that_sleeps_does_not_eat_the_wake_up() {
    static QUEUE: WaitQueue = WaitQueue::new();
    static READY: AtomicBool = AtomicBool::new(false);
    let mut looked = 0;
    QUEUE.wait_until(|| {
        looked += 1;
        let ready = READY.load(Ordering::SeqCst);
        if looked == 2 {
            // The wake-up comes after the look, and its token is taken by a sleep in here.
            READY.store(true, Ordering::SeqCst);
            assert_eq!(QUEUE.wake_one(), 1);
            task::park();
        }
        ready.then_some(())
    });
    assert_eq!(looked, 3);
}

#[ktest]
fn callbacks_are_told_until_they_leave() {
    struct Counter(AtomicUsize);
    impl Wake for Counter {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let queue = Arc::new(WaitQueue::new());
    let counter = Arc::new(Counter(AtomicUsize::new(0)));
    let registration = queue.register(counter.clone());
    assert_eq!(queue.wake_one(), 0);
    queue.wake_all();
    assert_eq!(counter.0.load(Ordering::Relaxed), 2);
    drop(registration);
    queue.wake_all();
    assert_eq!(counter.0.load(Ordering::Relaxed), 2);
    assert_eq!(Arc::strong_count(&counter), 1);
}

#[ktest]
fn forgotten_guards_are_harmless() {
    let queue = WaitQueue::new();
    core::mem::forget(queue.enqueue());
    assert_eq!(queue.len(), 1);
    // The entry that is built into the task is in use for good; others work.
    let guard = queue.enqueue();
    assert_eq!(queue.len(), 2);
    drop(guard);
    drop(queue);
    let done = Arc::new(AtomicBool::new(false));
    let queue = Arc::new(WaitQueue::new());
    let (theirs, flag) = (queue.clone(), done.clone());
    TaskBuilder::new(move || {
        // The one that is built in, and one on the heap.
        core::mem::forget(theirs.enqueue());
        core::mem::forget(theirs.enqueue());
        flag.store(true, Ordering::Release);
    })
    .spawn()
    .unwrap();
    while !done.load(Ordering::Acquire) || Arc::strong_count(&queue) > 1 {
        yield_now();
    }
    // The task is kept for who wakes it, wherever the queue is by then.
    let moved = Box::new(Arc::into_inner(queue).unwrap());
    assert_eq!(moved.len(), 2);
    assert_eq!(moved.wake_all(), 2);
    assert_eq!(moved.len(), 0);
    current().unpark();
    task::park();
}
