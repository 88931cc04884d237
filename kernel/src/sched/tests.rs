//! Tests of the policy, with tasks that do nothing but use the CPU.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ktest::ktest;
use ostd::{irq, task::TaskBuilder, time};

use super::*;

/// A task that is busy until `stop`, giving way when it should.
fn spinner(stop: &Arc<AtomicBool>, weight: u32, affinity: u64) -> Arc<Task> {
    let stop = stop.clone();
    let body = move || {
        while !stop.load(Ordering::Relaxed) {
            task::schedule_if_needed();
            core::hint::spin_loop();
        }
    };
    let task = TaskBuilder::new(body).build().unwrap();
    task.sched.weight.store(weight, Relaxed);
    task.sched.affinity.store(affinity, Relaxed);
    task.start();
    task
}

fn sleep(ns: u64) {
    let deadline = time::now_ns() + ns;
    while !task::park_until(deadline) {}
}

/// Waits until nothing but this task wants to run.
fn settle() {
    while runnable() > 1 {
        sleep(500_000);
    }
}

/// CPU time that each of the tasks uses until they have used `total_ns` together.
fn shares(tasks: &[Arc<Task>], total_ns: u64) -> Vec<u64> {
    let used = || -> Vec<u64> { tasks.iter().map(|task| task.cpu_time_ns()).collect() };
    let before: Vec<u64> = used();
    loop {
        sleep(5_000_000);
        let now: Vec<u64> = used().iter().zip(&before).map(|(now, before)| now - before).collect();
        if now.iter().sum::<u64>() >= total_ns {
            return now;
        }
    }
}

/// Whether one of a few attempts goes well, each with more time (in ns) than the one before: a host that takes the CPUs
/// away for a while makes shares uneven.
fn sometimes(attempt: impl Fn(u64) -> bool) -> bool {
    (1..=16).any(|n| {
        settle();
        attempt(n * 120_000_000)
    })
}

#[ktest]
fn equal_tasks_share_a_cpu() {
    assert!(sometimes(|ns| {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks: Vec<_> = (0..3).map(|_| spinner(&stop, WEIGHT_NORMAL, 1)).collect();
        let shares = shares(&tasks, ns);
        stop.store(true, Ordering::Relaxed);
        let (least, most) =
            shares.iter().fold((u64::MAX, 0), |(least, most), ns| (least.min(*ns), most.max(*ns)));
        most - least < most / 4 + 2 * TICK_NS
    }));
    settle();
}

#[ktest]
fn weight_divides_the_cpu() {
    assert!(sometimes(|ns| {
        let stop = Arc::new(AtomicBool::new(false));
        let heavy = spinner(&stop, 3 * WEIGHT_NORMAL, 1);
        let light = spinner(&stop, WEIGHT_NORMAL, 1);
        let shares = shares(&[heavy, light], ns);
        stop.store(true, Ordering::Relaxed);
        (22..42).contains(&(shares[0] * 10 / shares[1].max(1)))
    }));
    settle();
}

#[ktest]
fn busy_tasks_spread_over_the_cpus() {
    settle();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..cpu::num_cpus()).map(|_| spinner(&stop, WEIGHT_NORMAL, u64::MAX)).collect();
    let deadline = time::now_ns() + 60_000_000_000;
    loop {
        sleep(2_000_000);
        let cpus: u64 = tasks.iter().fold(0, |set, task| set | 1 << task.sched.last_cpu().as_usize());
        if cpus.count_ones() as usize == cpu::num_cpus() {
            break;
        }
        assert!(time::now_ns() < deadline, "a CPU is idle while tasks wait");
    }
    stop.store(true, Ordering::Relaxed);
    settle();
}

#[ktest]
fn affinity_is_obeyed() {
    settle();
    let stop = Arc::new(AtomicBool::new(false));
    for cpu in cpu::all() {
        let tasks: Vec<_> = (0..2).map(|_| spinner(&stop, WEIGHT_NORMAL, 1 << cpu.as_usize())).collect();
        for _ in 0..5 {
            sleep(2_000_000);
            assert!(tasks.iter().all(|task| !task.is_running() || task.sched.last_cpu() == cpu));
        }
        // Moved while they run.
        let other = (cpu.as_usize() + 1) % cpu::num_cpus();
        for task in &tasks {
            task.sched.affinity.store(1 << other, Relaxed);
        }
        let deadline = time::now_ns() + 60_000_000_000;
        while tasks.iter().any(|task| task.sched.last_cpu().as_usize() != other) {
            assert!(time::now_ns() < deadline, "a task stayed on a CPU that it may not use");
            sleep(2_000_000);
        }
    }
    stop.store(true, Ordering::Relaxed);
    settle();
}

/// A policy that nobody uses, and a task in the state of one that woke up on this CPU.
fn woken_task(vruntime: u64) -> Arc<Task> {
    let task = TaskBuilder::new(|| {}).build().unwrap();
    task.sched.vruntime.store(vruntime, Relaxed);
    task.sched.set_last_cpu(cpu::current());
    task.sched.affinity.store(1 << cpu::current().as_usize(), Relaxed);
    task
}

#[ktest]
fn woken_task_interrupts_one_that_is_far_ahead() {
    irq::without(check_wake_ups);
}

fn check_wake_ups() {
    static POLICY: Fair = Fair { queues: PerCpu::new([const { CpuQueue::new() }; MAX_CPUS]) };
    let here = cpu::current();
    let queue = POLICY.queues.on(here);
    const NOW: u64 = 100_000_000;
    queue.set_running(NOW);
    assert_eq!(queue.floor(), NOW);
    // One that slept for long gets the credit and no more, which is enough to run at once.
    assert_eq!(POLICY.enqueue(woken_task(0), EnqueueReason::Wake), Some(here));
    assert_eq!(queue.first(), NOW - SLEEPER_CREDIT);
    drop(POLICY.pick_next(here, None));
    // One that is just behind waits for the tick.
    let close = NOW - WAKE_GRANULARITY / 2;
    assert_eq!(POLICY.enqueue(woken_task(close), EnqueueReason::Wake), None);
    assert_eq!(queue.first(), close);
    // A new one has neither credit nor debt.
    assert_eq!(POLICY.enqueue(woken_task(0), EnqueueReason::New), None);
    assert_eq!(queue.waiting(), 2);
    let order = [POLICY.pick_next(here, None), POLICY.pick_next(here, None)];
    let times = order.map(|task| task.unwrap().sched.vruntime.load(Relaxed));
    assert_eq!(times, [close, NOW]);
    assert!(POLICY.pick_next(here, None).is_none());
}

#[ktest]
fn tick_asks_who_is_behind() {
    irq::without(check_ticks);
}

fn check_ticks() {
    static POLICY: Fair = Fair { queues: PerCpu::new([const { CpuQueue::new() }; MAX_CPUS]) };
    let here = cpu::current();
    let running = woken_task(1000);
    assert!(!POLICY.tick(here, &running));
    POLICY.queues.on(here).push(2000, woken_task(2000));
    assert!(!POLICY.tick(here, &running));
    // Twice the weight, half the charge.
    running.sched.weight.store(2 * WEIGHT_NORMAL, Relaxed);
    POLICY.account(here, &running, 1000);
    assert_eq!(running.sched.vruntime.load(Relaxed), 1500);
    assert!(!POLICY.tick(here, &running));
    POLICY.account(here, &running, 2000);
    assert!(POLICY.tick(here, &running));
    // Not allowed here any more.
    running.sched.vruntime.store(0, Relaxed);
    running.sched.affinity.store(!(1 << here.as_usize()), Relaxed);
    assert_eq!(POLICY.tick(here, &running), cpu::num_cpus() > 1);
    drop(POLICY.queues.on(here).pop());
}

#[ktest]
fn nobody_starves_while_others_wake_all_the_time() {
    settle();
    let stop = Arc::new(AtomicBool::new(false));
    let busy = spinner(&stop, WEIGHT_NORMAL, 1);
    let count = Arc::new(AtomicUsize::new(0));
    let napping: Vec<_> = (0..4)
        .map(|_| {
            let (stop, count) = (stop.clone(), count.clone());
            let body = move || {
                while !stop.load(Ordering::Relaxed) {
                    sleep(200_000);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            };
            let task = TaskBuilder::new(body).build().unwrap();
            task.sched.affinity.store(1, Relaxed);
            task.start();
            task
        })
        .collect();
    let before = busy.cpu_time_ns();
    let start = time::now_ns();
    while busy.cpu_time_ns() - before < 20_000_000 || count.load(Ordering::Relaxed) < 20 {
        sleep(5_000_000);
        assert!(time::now_ns() - start < 60_000_000_000, "somebody starves");
    }
    stop.store(true, Ordering::Relaxed);
    drop(napping);
    settle();
}

/// A task of `class` in the state of one that woke up on this CPU.
fn realtime_task(class: Class) -> Arc<Task> {
    let task = woken_task(0);
    init_class(&task, class);
    task
}

#[ktest]
fn realtime_tasks_come_first_and_in_order() {
    irq::without(check_realtime_order);
}

fn check_realtime_order() {
    static POLICY: Fair = Fair { queues: PerCpu::new([const { CpuQueue::new() }; MAX_CPUS]) };
    let here = cpu::current();
    let queue = POLICY.queues.on(here);
    const NOW: u64 = 100_000_000;
    queue.set_running(NOW);
    let (low, high, other) =
        (realtime_task(Class::Fifo(5)), realtime_task(Class::RoundRobin(9)), realtime_task(Class::Fifo(5)));
    let fair = woken_task(0);
    let _ = POLICY.enqueue(fair.clone(), EnqueueReason::Wake);
    // Whoever runs gives way at once to the first, and to one that is more urgent.
    assert_eq!(POLICY.enqueue(low.clone(), EnqueueReason::Wake), Some(here));
    assert_eq!(POLICY.enqueue(high.clone(), EnqueueReason::Wake), Some(here));
    // One that had to give way goes before its equals.
    let _ = POLICY.enqueue(other.clone(), EnqueueReason::Preempted);
    assert_eq!(queue.floor(), NOW, "a real-time task is no measure for fair ones");
    let order = [&high, &other, &low, &fair];
    for expected in order {
        let next = POLICY.pick_next(here, None).unwrap();
        assert!(Arc::ptr_eq(&next, expected));
    }
    assert!(POLICY.pick_next(here, None).is_none());
}

#[ktest]
fn realtime_task_gives_way_to_the_more_urgent_only() {
    irq::without(check_realtime_turns);
}

fn check_realtime_turns() {
    static POLICY: Fair = Fair { queues: PerCpu::new([const { CpuQueue::new() }; MAX_CPUS]) };
    let here = cpu::current();
    let running = realtime_task(Class::RoundRobin(5));
    POLICY.account(here, &running, 1000);
    let _ = POLICY.enqueue(woken_task(0), EnqueueReason::Wake);
    assert!(!POLICY.tick(here, &running), "not to a fair one");
    assert!(POLICY.pick_next(here, Some((&running, EnqueueReason::Yield))).is_none());
    let equal = realtime_task(Class::Fifo(5));
    let _ = POLICY.enqueue(equal.clone(), EnqueueReason::Wake);
    assert!(!POLICY.tick(here, &running), "not to an equal one before its quantum is over");
    assert!(POLICY.pick_next(here, Some((&running, EnqueueReason::Preempted))).is_none());
    POLICY.account(here, &running, QUANTUM_NS);
    assert!(POLICY.tick(here, &running), "but then");
    let next = POLICY.pick_next(here, Some((&running, EnqueueReason::Preempted))).unwrap();
    assert!(Arc::ptr_eq(&next, &equal));
    // The fair one that is left.
    drop(POLICY.pick_next(here, None));
}
