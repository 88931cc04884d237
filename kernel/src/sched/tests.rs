//! Tests of the policy, with tasks that do nothing but use the CPU.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ktest::ktest;
use ostd::{task::TaskBuilder, time};

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

#[ktest]
fn equal_tasks_share_a_cpu() {
    settle();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..3).map(|_| spinner(&stop, WEIGHT_NORMAL, 1)).collect();
    let shares = shares(&tasks, 300_000_000);
    stop.store(true, Ordering::Relaxed);
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(most - least < most / 3 + 2 * TICK_NS, "{shares:?}");
    settle();
}

#[ktest]
fn weight_divides_the_cpu() {
    settle();
    let stop = Arc::new(AtomicBool::new(false));
    let heavy = spinner(&stop, 3072, 1);
    let light = spinner(&stop, 1024, 1);
    let shares = shares(&[heavy, light], 400_000_000);
    stop.store(true, Ordering::Relaxed);
    let tenths = shares[0] * 10 / shares[1];
    assert!((20..45).contains(&tenths), "{shares:?}");
    settle();
}

#[ktest]
fn busy_tasks_spread_over_the_cpus() {
    settle();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..cpu::num_cpus()).map(|_| spinner(&stop, WEIGHT_NORMAL, u64::MAX)).collect();
    let deadline = time::now_ns() + 10_000_000_000;
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
        let deadline = time::now_ns() + 10_000_000_000;
        while tasks.iter().any(|task| task.sched.last_cpu().as_usize() != other) {
            assert!(time::now_ns() < deadline, "a task stayed on a CPU that it may not use");
            sleep(2_000_000);
        }
    }
    stop.store(true, Ordering::Relaxed);
    settle();
}

#[ktest]
fn sleeper_interrupts_a_busy_task() {
    settle();
    let stop = Arc::new(AtomicBool::new(false));
    let _busy: Vec<_> = cpu::all().map(|_| spinner(&stop, WEIGHT_NORMAL, u64::MAX)).collect();
    sleep(20_000_000);
    // With every CPU busy, a short sleep still ends within a few ticks.
    let mut late = Vec::new();
    for _ in 0..10 {
        let deadline = time::now_ns() + 1_000_000;
        while !task::park_until(deadline) {}
        late.push(time::now_ns() - deadline);
    }
    stop.store(true, Ordering::Relaxed);
    late.sort_unstable();
    assert!(late[5] < 5 * TICK_NS, "{late:?}");
    settle();
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
        assert!(time::now_ns() - start < 20_000_000_000, "somebody starves");
    }
    stop.store(true, Ordering::Relaxed);
    drop(napping);
    settle();
}

#[ktest]
fn virtual_time_never_falls_behind_the_floor_by_more_than_the_credit() {
    settle();
    let lag = Arc::new(AtomicU64::new(0));
    let most = lag.clone();
    let body = move || {
        for _ in 0..20 {
            sleep(500_000);
            let task = task::current();
            let floor = FAIR.queues.on(cpu::current()).floor();
            most.fetch_max(floor.saturating_sub(task.sched.vruntime.load(Relaxed)), Ordering::Relaxed);
        }
    };
    let task = TaskBuilder::new(body).spawn().unwrap();
    while Arc::strong_count(&task) > 1 {
        sleep(1_000_000);
    }
    assert!(lag.load(Ordering::Relaxed) <= SLEEPER_CREDIT + TICK_NS);
    settle();
}
