//! Tests in the booted kernel, below the system call: keys are made up.

use ktest::ktest;
use ostd::task::TaskBuilder;

use super::*;

const A: Key = Key::Private { vm: u64::MAX, addr: 0x1000 };
const B: Key = Key::Private { vm: u64::MAX, addr: 0x2004 };
const SHARED: Key = Key::Shared { object: ObjectId(0xdead_0000), offset: 64 };

#[ktest]
fn waiters_are_woken_in_order_and_counted() {
    let waiters: Vec<_> = (0..4).map(|_| Queued::enter(A, MATCH_ANY)).collect();
    let other = Queued::enter(SHARED, MATCH_ANY);
    assert_eq!(wake_key(A, 1, MATCH_ANY), 1);
    let woken: Vec<_> = waiters.iter().map(|queued| queued.waiter.is_woken()).collect();
    assert_eq!(woken, [true, false, false, false]);
    assert_eq!(wake_key(A, usize::MAX, MATCH_ANY), 3);
    assert_eq!(wake_key(A, usize::MAX, MATCH_ANY), 0);
    assert!(!other.waiter.is_woken() && other.leave());
    assert!(!waiters[0].leave());
}

#[ktest]
fn a_bitset_selects_waiters() {
    let (first, second) = (Queued::enter(A, 0b01), Queued::enter(A, 0b10));
    assert_eq!(wake_key(A, usize::MAX, 0b10), 1);
    assert!(!first.waiter.is_woken() && second.waiter.is_woken());
}

#[ktest]
fn who_leaves_is_not_woken() {
    drop(Queued::enter(A, MATCH_ANY));
    assert_eq!(wake_key(A, usize::MAX, MATCH_ANY), 0);
}

#[ktest]
fn requeued_waiters_wait_for_the_other_word() {
    for target in [B, SHARED] {
        let waiters: Vec<_> = (0..5).map(|_| Queued::enter(A, MATCH_ANY)).collect();
        assert_eq!(requeue_keys(lock_two(A, target), A, target, 1, 2), (1, 2));
        assert_eq!(wake_key(target, usize::MAX, MATCH_ANY), 2);
        assert_eq!(requeue_keys(lock_two(A, target), A, target, 0, usize::MAX), (0, 2));
        assert_eq!(wake_key(A, usize::MAX, MATCH_ANY), 0);
        let left = waiters.iter().filter(|queued| queued.leave()).count();
        assert_eq!(left, 2);
        assert_eq!(wake_key(target, usize::MAX, MATCH_ANY), 0);
    }
}

#[ktest]
fn wake_op_computes_as_documented() {
    let op = |op: u32, cmp: u32, oparg: u32, cmparg: u32| {
        WakeOp::decode(op << 28 | cmp << 24 | oparg << 12 | cmparg)
    };
    assert_eq!(op(0, 0, 5, 0).unwrap().apply(9), 5);
    assert_eq!(op(1, 0, 0xfff, 0).unwrap().apply(9), 8);
    assert_eq!(op(2, 0, 6, 0).unwrap().apply(9), 15);
    assert_eq!(op(3, 0, 1, 0).unwrap().apply(9), 8);
    assert_eq!(op(4, 0, 3, 0).unwrap().apply(9), 10);
    assert_eq!(op(8 | 2, 0, 4, 0).unwrap().apply(0), 16);
    assert!(op(0, 2, 0, 0).unwrap().holds(u32::MAX));
    assert!(op(0, 4, 0, 0xffe).unwrap().holds(u32::MAX));
    assert_eq!(op(5, 0, 0, 0), Err(ENOSYS));
    assert_eq!(op(0, 6, 0, 0), Err(ENOSYS));
}

#[ktest]
fn a_sleeping_task_is_woken() {
    let (ready, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let key = Key::Private { vm: u64::MAX, addr: 0x3000 };
    let (their_ready, their_done) = (ready.clone(), done.clone());
    let body = move || {
        let queued = Queued::enter(key, MATCH_ANY);
        their_ready.store(1, Ordering::Release);
        while !queued.waiter.is_woken() {
            task::park();
        }
        their_done.store(1, Ordering::Release);
    };
    TaskBuilder::new(body).spawn().unwrap();
    while ready.load(Ordering::Acquire) == 0 {
        task::yield_now();
    }
    assert_eq!(done.load(Ordering::Acquire), 0);
    assert_eq!(wake_key(key, 1, MATCH_ANY), 1);
    while done.load(Ordering::Acquire) == 0 {
        task::yield_now();
    }
}
