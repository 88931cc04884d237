//! What is owed for CPU time that was used: ITIMER_VIRTUAL and ITIMER_PROF, timers of CPU clocks, RLIMIT_CPU (rule 3.24) and
//! RLIMIT_RTTIME.
//!
//! A process that is watched ([`Process::watch_cpu_time`]) has its threads look here on their way to user mode after each tick
//! that meets them, wherever it meets them. A process that nobody watches pays one load per tick.

use core::sync::atomic::Ordering::Relaxed;

use super::{NSEC_PER_SEC, itimer, posix_timer};
use crate::{
    prelude::*,
    process::{
        Process, Thread,
        rlimit::{RLIM_INFINITY, Resource},
        signal::{self, SIGKILL, SIGXCPU, SigInfo, Signo, work},
    },
};

/// The tick, in interrupt context, while a thread runs.
pub fn tick() {
    if let Some(thread) = Thread::try_current()
        && thread.process.is_cpu_time_watched()
    {
        thread.work.fetch_or(work::CPU_TIME, Relaxed);
    }
}

/// Sends what is owed, on the calling thread's way to user mode.
pub fn check(thread: &Arc<Thread>) {
    let process = &thread.process;
    process.unwatch_cpu_time();
    let mut watched = false;
    if process.itimers.any_cpu_armed() {
        itimer::check_cpu_timers(process);
        watched |= process.itimers.any_cpu_armed();
    }
    if posix_timer::any_cpu_armed(process) {
        posix_timer::check_cpu_timers(process);
        watched |= posix_timer::any_cpu_armed(process);
    }
    if process.rlimits().limits_cpu_time() {
        watched = true;
        check_cpu_limit(process);
        check_realtime_limit(thread);
    }
    if watched {
        process.watch_cpu_time();
    }
}

/// RLIMIT_CPU, in seconds.
fn check_cpu_limit(process: &Arc<Process>) {
    if process.rlimit(Resource::Cpu) != RLIM_INFINITY {
        check_limit(process, Resource::Cpu, process.cpu_time_ns() / NSEC_PER_SEC, 1);
    }
}

/// RLIMIT_RTTIME, in microseconds that a real-time thread has used without a sleep.
fn check_realtime_limit(thread: &Thread) {
    const STEP: u64 = 1_000_000;
    let process = &thread.process;
    if process.rlimit(Resource::Rttime) != RLIM_INFINITY
        && let Some(task) = thread.task()
    {
        check_limit(process, Resource::Rttime, task.sched.rt_time.load(Relaxed) / 1000, STEP);
    }
}

/// SIGKILL at the hard limit; SIGXCPU at the soft one, which moves a step further then.
fn check_limit(process: &Arc<Process>, resource: Resource, used: u64, step: u64) {
    let limits = process.rlimits();
    let limit = limits.get(resource);
    let send = |signo: Signo| signal::send_process(process, None, SigInfo::kernel(signo));
    // A limit of 0 is as one of 1.
    if limit.hard != RLIM_INFINITY && used >= limit.hard.max(1) {
        send(SIGKILL);
    } else if used >= limit.soft.max(1) {
        process.set_rlimits(limits.with_soft(resource, limit.soft.saturating_add(step)));
        send(SIGXCPU);
    }
}
