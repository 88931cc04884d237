//! Tests of tasks: life, sleep, switches.

use super::*;
use crate::{cpu::CpuId, ktest::ktest, sync::WaitQueue};
use core::sync::atomic::{AtomicBool, AtomicUsize};

/// Waits for a flag that another task sets.
fn wait_for(flag: &AtomicBool) {
    while !flag.load(Ordering::Acquire) {
        yield_now();
    }
}

#[ktest]
fn spawned_task_runs() {
    let ran = Arc::new(AtomicBool::new(false));
    let flag = ran.clone();
    TaskBuilder::new(move || flag.store(true, Ordering::Release)).spawn().unwrap();
    wait_for(&ran);
}

#[ktest]
fn body_keeps_what_it_captured() {
    let words: [u64; 64] = core::array::from_fn(|i| i as u64 * 0x0101_0101_0101);
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    let task = TaskBuilder::new(move || {
        for (i, word) in words.iter().enumerate() {
            assert_eq!(*word, i as u64 * 0x0101_0101_0101);
        }
        flag.store(true, Ordering::Release);
    });
    task.spawn().unwrap();
    wait_for(&done);
}

#[ktest]
fn body_of_a_task_that_never_starts_is_dropped() {
    let captured = Arc::new(());
    let witness = captured.clone();
    let task = TaskBuilder::new(move || drop(captured)).build().unwrap();
    assert_eq!(Arc::strong_count(&witness), 2);
    drop(task);
    assert_eq!(Arc::strong_count(&witness), 1);
    // And of one that has run: by itself, once.
    let (captured, done) = (witness.clone(), Arc::new(AtomicBool::new(false)));
    let flag = done.clone();
    let body = move || {
        drop(captured);
        flag.store(true, Ordering::Release);
    };
    let task = TaskBuilder::new(body).spawn().unwrap();
    wait_for(&done);
    drop(task);
    assert_eq!(Arc::strong_count(&witness), 1);
}

#[ktest]
fn data_is_found_by_type_and_dropped_at_the_end() {
    struct Probe(Arc<AtomicBool>);
    impl Drop for Probe {
        fn drop(&mut self) {
            // In the task's own context, where it may sleep.
            assert!(current().data::<Probe>().is_none());
            self.0.store(true, Ordering::Release);
        }
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let probe = Arc::new(Probe(dropped.clone()));
    let task = TaskBuilder::new(|| {
        assert!(current().data::<Probe>().is_some());
        assert!(current().data::<u32>().is_none());
        exit();
    });
    let task = task.data(probe).spawn().unwrap();
    wait_for(&dropped);
    while Arc::strong_count(&task) > 1 {
        yield_now();
    }
    assert!(!task.is_running());
}

#[ktest]
fn unpark_before_park_leaves_a_token() {
    current().unpark();
    park();
    // Two tokens are one.
    current().unpark();
    current().unpark();
    park();
    assert!(park_until(time::now_ns() + 1_000_000));
}

#[ktest]
fn two_tasks_wake_each_other_in_turn() {
    const ROUNDS: usize = 2000;
    let turn = Arc::new(AtomicUsize::new(0));
    let main = current().to_arc();
    let (his_turn, him) = (turn.clone(), main.clone());
    let other = TaskBuilder::new(move || {
        for round in 0..ROUNDS {
            while his_turn.load(Ordering::Acquire) != 2 * round + 1 {
                park();
            }
            his_turn.store(2 * round + 2, Ordering::Release);
            him.unpark();
        }
    });
    let other = other.spawn().unwrap();
    for round in 0..ROUNDS {
        turn.store(2 * round + 1, Ordering::Release);
        other.unpark();
        while turn.load(Ordering::Acquire) != 2 * round + 2 {
            park();
        }
    }
}

/// Many tasks that park and wake one another at random, on all CPUs: nobody must be lost.
#[ktest]
fn park_and_unpark_storm() {
    const TASKS: usize = 16;
    const ROUNDS: usize = 500;
    static COUNTERS: [AtomicUsize; TASKS] = [const { AtomicUsize::new(0) }; TASKS];
    static PEERS: spin::Mutex<alloc::vec::Vec<Arc<Task>>> = spin::Mutex::new(alloc::vec::Vec::new());
    static GO: AtomicBool = AtomicBool::new(false);
    let done = Arc::new(AtomicUsize::new(0));
    for number in 0..TASKS {
        let done = done.clone();
        let body = move || {
            wait_for(&GO);
            let next = PEERS.lock()[(number + 1) % TASKS].clone();
            for round in 0..ROUNDS {
                // A ring: everybody waits for the one before him to be as far as he is.
                COUNTERS[number].store(round + 1, Ordering::SeqCst);
                next.unpark();
                while COUNTERS[(number + TASKS - 1) % TASKS].load(Ordering::SeqCst) < round + 1 {
                    park();
                }
            }
            done.fetch_add(1, Ordering::AcqRel);
        };
        let task = TaskBuilder::new(body).spawn().unwrap();
        PEERS.lock().push(task);
    }
    GO.store(true, Ordering::Release);
    while done.load(Ordering::Acquire) < TASKS {
        yield_now();
    }
    PEERS.lock().clear();
}

#[ktest]
fn park_until_comes_back_in_time() {
    for ns in [10_000, 500_000, 3_000_000] {
        // The machine may stand still for a while: the most punctual of a few tells.
        let late = (0..20).map(|_| {
            let deadline = time::now_ns() + ns;
            while !park_until(deadline) {}
            let now = time::now_ns();
            assert!(now >= deadline);
            now - deadline
        });
        let least = late.min().unwrap_or_default();
        assert!(least < 100_000_000, "{least} ns late each time");
    }
    assert!(park_until(0));
}

#[ktest]
fn wake_up_beats_the_deadline() {
    let me = current().to_arc();
    let deadline = time::now_ns() + 60_000_000_000;
    TaskBuilder::new(move || me.unpark()).spawn().unwrap();
    assert!(!park_until(deadline));
    assert!(time::now_ns() < deadline);
}

#[ktest]
fn finished_tasks_give_back_their_stacks() {
    for _ in 0..50 {
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        TaskBuilder::new(move || flag.store(true, Ordering::Release)).spawn().unwrap();
        wait_for(&done);
    }
    let before = mm::stats().kernel_stacks;
    for _ in 0..200 {
        let done = Arc::new(AtomicBool::new(false));
        let flag = done.clone();
        TaskBuilder::new(move || flag.store(true, Ordering::Release)).spawn().unwrap();
        wait_for(&done);
    }
    let after = mm::stats().kernel_stacks;
    assert!(after <= before + 64, "{before} frames of stacks became {after}");
}

#[ktest]
fn cpu_time_grows_while_running_only() {
    let task = current().to_arc();
    let before = task.cpu_time_ns();
    let start = time::now_ns();
    while time::now_ns() < start + 2_000_000 {}
    let used = task.cpu_time_ns() - before;
    assert!(used >= 1_000_000, "{used}");
    let (user, system) = task.cpu_times_ns();
    assert!(user + system >= used);
    // Ticks come in between all the time; it must never go back.
    let mut last = 0;
    let start = time::now_ns();
    while time::now_ns() < start + 20_000_000 {
        let now = task.cpu_time_ns();
        assert!(now >= last);
        last = now;
    }
    let queue = WaitQueue::new();
    // Time in which the whole machine stands still counts for whoever runs: one undisturbed sleep is enough.
    let slept = (0..50).any(|_| {
        let (before, start) = (task.cpu_time_ns(), time::now_ns());
        queue.wait_until_deadline(start + 5_000_000, || None::<()>);
        task.cpu_time_ns() - before < 2_500_000
    });
    assert!(slept, "CPU time passes in sleep");
}

#[ktest]
fn idle_cpus_say_so() {
    let me = cpu::current();
    assert!(!cpu::is_idle(me));
    for other in cpu::all().filter(|cpu| *cpu != me) {
        let deadline = time::now_ns() + 60_000_000_000;
        while !cpu::is_idle(other) && time::now_ns() < deadline {
            core::hint::spin_loop();
        }
        assert!(cpu::is_idle(other), "{other:?}");
    }
    assert!(CpuId::new(cpu::MAX_CPUS).is_none());
}
