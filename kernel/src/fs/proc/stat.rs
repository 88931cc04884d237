//! /proc/pid/stat and schedstat (rules 12.1, 12.10).

use core::sync::atomic::Ordering::Relaxed;

use proctree::Body;

use super::task::{self, Numbers, Task, TaskRef};
use crate::{
    device::tty,
    mm::ProgramRanges,
    prelude::*,
    process::{
        Remains, Thread,
        signal::thread_sets,
        thread, tree,
        usage::{self, Usage, ns_to_ticks},
    },
};

/// What the fields are made of.
#[derive(Default)]
struct Fields {
    state: char,
    numbers: Numbers,
    tty: (u64, i64),
    flags: u32,
    own: Usage,
    children: Usage,
    nice: i32,
    start_ns: u64,
    size: usize,
    resident: usize,
    rss_limit: u64,
    ranges: ProgramRanges,
    brk_start: usize,
    /// Pending, blocked, ignored, caught: the first 32 signals of each.
    signals: [u64; 4],
    /// Whether it sleeps: the address where was here once.
    waits: bool,
    cpu: u32,
    rt_priority: u32,
    policy: u32,
    exit_code: i32,
}

const PF_EXITING: u32 = 0x4;
const PF_FORKNOEXEC: u32 = 0x40;

pub fn stat(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let (comm, fields) = match task.find()? {
        Task::Live(thread) => (thread.comm(), live(task, &thread)),
        Task::Zombie(process) => {
            let numbers = task::numbers(task.ns, process);
            let table = tree::lock();
            let remains = Remains::of(&table, process).ok_or(ESRCH)?;
            // How it ended is told as it is to a debugger (rule 12.1).
            let may_see = Thread::current().may_inspect_remains(&remains);
            let Some(Body::Zombie(record)) = table.body(process) else {
                return Err(ESRCH);
            };
            let waited = Usage {
                user_ns: record.usage.user_ns - record.own_ns[0],
                system_ns: record.usage.system_ns - record.own_ns[1],
                ..Usage::default()
            };
            let mut fields = Fields {
                state: 'Z',
                numbers,
                children: waited,
                policy: record.policy,
                rt_priority: record.rt_priority,
                flags: PF_EXITING,
                own: Usage {
                    user_ns: record.own_ns[0],
                    system_ns: record.own_ns[1],
                    minor_faults: record.usage.minor_faults,
                    ..Usage::default()
                },
                nice: i32::from(record.nice),
                start_ns: record.start_ns,
                rss_limit: u64::MAX,
                exit_code: if may_see { record.status } else { 0 },
                ..Fields::default()
            };
            let (comm, claim) = (record.comm, record.tty);
            drop(table);
            fields.tty = tty::stat_numbers(claim, task.ns);
            (comm, fields)
        }
    };
    out.extend_from_slice(format!("{} (", task.nr).as_bytes());
    // As it is: it may contain a bracket or a newline.
    out.extend_from_slice(task::trim_comm(&comm));
    out.extend_from_slice(line(&fields).as_bytes());
    Ok(())
}

fn live(task: &TaskRef, thread: &Thread) -> Fields {
    let process = &thread.process;
    let own = if task.single { usage::of_thread(thread) } else { usage::of_process(process) };
    let (pending, blocked) = thread_sets(thread);
    let (ignored, caught) = process.signals.sighand().ignored_and_caught();
    let forked = { !tree::lock().has_execed(process.id()) };
    let mut fields = Fields {
        state: task::state(thread).0,
        numbers: task::numbers(task.ns, process.id()),
        tty: tty::stat_numbers(process.tty.load(Relaxed), task.ns),
        flags: if forked { PF_FORKNOEXEC } else { 0 },
        own,
        children: *process.waited_children.lock(),
        nice: thread.nice.load(Relaxed),
        start_ns: process.start_ns,
        rss_limit: process.rlimit(crate::process::rlimit::Resource::Rss),
        // What is not a real-time signal; the rest is in status.
        signals: [pending, blocked, ignored, caught].map(|set| set.0 & 0x7fff_ffff),
        cpu: thread.task().map_or(0, |task| task.sched.last_cpu().as_usize() as u32),
        rt_priority: thread.rt_priority.load(Relaxed),
        policy: thread.policy.load(Relaxed),
        ..Fields::default()
    };
    if thread.signals.is_exiting() {
        fields.flags |= PF_EXITING;
    }
    let secret = !Thread::current().may_inspect(thread);
    if !secret {
        // Fixed when the exit begins: the init of a namespace shows it while it waits for its members (rule 9.8).
        fields.exit_code = thread.exit_status.load(Relaxed);
    }
    if let Some(vm) = thread.try_vm() {
        let usage = vm.memory_use();
        fields.waits = !secret && fields.state != 'R' && (task.single || fields.numbers.threads < 2);
        fields.size = usage.size;
        fields.resident = usage.resident / PAGE_SIZE;
        if !secret {
            fields.ranges = vm.ranges();
            fields.brk_start = vm.heap().0;
        } else {
            // As Linux has it: there is a program, and no more.
            (fields.ranges.start_code, fields.ranges.end_code) = (1, 1);
        }
    }
    fields
}

/// Everything behind the name.
fn line(f: &Fields) -> String {
    let n = &f.numbers;
    let r = &f.ranges;
    let [pending, blocked, ignored, caught] = f.signals;
    let (utime, stime) = (ns_to_ticks(f.own.user_ns), ns_to_ticks(f.own.system_ns));
    let (cutime, cstime) = (ns_to_ticks(f.children.user_ns), ns_to_ticks(f.children.system_ns));
    let ids =
        format!(") {} {} {} {} {} {} {}", f.state, n.ppid, n.pgrp, n.session, f.tty.0, f.tty.1, f.flags);
    let faults = format!(
        "{} {} {} {}",
        f.own.minor_faults, f.children.minor_faults, f.own.major_faults, f.children.major_faults
    );
    // A real-time task's is below every nice value's.
    let priority = if f.rt_priority > 0 { -1 - f.rt_priority as i32 } else { 20 + f.nice };
    let times = format!(
        "{utime} {stime} {cutime} {cstime} {} {} {} 0 {}",
        priority,
        f.nice,
        n.threads,
        ns_to_ticks(f.start_ns)
    );
    let memory = format!(
        "{} {} {} {} {} {} 0 0",
        f.size, f.resident, f.rss_limit, r.start_code, r.end_code, r.start_stack
    );
    let signals = format!("{pending} {blocked} {ignored} {caught} {} 0 0", u32::from(f.waits));
    let sched = format!(
        "{} {} {} {} 0 0 0",
        n.exit_signal,
        f.cpu,
        f.rt_priority,
        f.policy & !thread::policy::RESET_ON_FORK
    );
    let end = format!(
        "{} {} {} {} {} {} {} {}",
        r.start_data, r.end_data, f.brk_start, r.arg_start, r.arg_end, r.env_start, r.env_end, f.exit_code
    );
    format!("{ids} {faults} {times} {memory} {signals} {sched} {end}\n")
}

/// What a task has used; of a zombie, the process.
struct Used {
    usage: Usage,
    cpu_ns: u64,
}

fn used(task: &TaskRef) -> Result<Used> {
    match task.find()? {
        Task::Live(thread) => Ok(Used { usage: usage::of_thread(&thread), cpu_ns: thread.cpu_time_ns() }),
        Task::Zombie(process) => match tree::lock().body(process) {
            Some(Body::Zombie(record)) => {
                Ok(Used { usage: record.usage, cpu_ns: record.own_ns.iter().sum() })
            }
            _ => Err(ESRCH),
        },
    }
}

impl Used {
    fn switches(&self) -> u64 {
        self.usage.voluntary_switches + self.usage.involuntary_switches
    }
}

/// Time on a CPU, time waiting for one (not measured), number of switches to it.
pub fn schedstat(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let used = used(task)?;
    out.extend_from_slice(format!("{} 0 {}\n", used.cpu_ns, used.switches()).as_bytes());
    Ok(())
}

/// What the scheduler knows of a task, in words. Times are in milliseconds.
pub fn sched(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let used = used(task)?;
    let numbers = |process| task::numbers(task.ns, process).threads;
    let (comm, threads, policy, rt_priority, nice) = match task.find()? {
        Task::Live(thread) => (
            thread.comm(),
            numbers(thread.process.id()),
            thread.policy.load(Relaxed),
            thread.rt_priority.load(Relaxed),
            thread.nice.load(Relaxed),
        ),
        Task::Zombie(process) => match tree::lock().body(process) {
            Some(Body::Zombie(record)) => {
                (record.comm, 1, record.policy, record.rt_priority, i32::from(record.nice))
            }
            _ => return Err(ESRCH),
        },
    };
    out.extend_from_slice(task::trim_comm(&comm));
    out.extend_from_slice(format!(" ({}, #threads: {threads})\n", task.nr).as_bytes());
    out.extend_from_slice(&[b'-'; 67]);
    // 0 to 99 for real-time tasks, the most urgent first; 100 to 139 for nice values.
    let priority = if rt_priority > 0 { 99 - rt_priority as i32 } else { 120 + nice };
    let policy = (policy & !thread::policy::RESET_ON_FORK) as i32;
    let time = format!("{}.{:06}", used.cpu_ns / 1_000_000, used.cpu_ns % 1_000_000);
    let numbers = [
        ("nr_switches", used.switches() as i64),
        ("nr_voluntary_switches", used.usage.voluntary_switches as i64),
        ("nr_involuntary_switches", used.usage.involuntary_switches as i64),
        ("policy", policy.into()),
        ("prio", priority.into()),
    ];
    out.extend_from_slice(format!("\n{:<45}:{time:>21}\n", "se.sum_exec_runtime").as_bytes());
    for (name, value) in numbers {
        out.extend_from_slice(format!("{name:<45}:{value:>21}\n").as_bytes());
    }
    Ok(())
}

/// Linux clears statistics that only kernels with CONFIG_SCHEDSTATS collect.
pub fn set_sched(task: &TaskRef, _: &[u8]) -> Result<()> {
    task.find().map(drop)
}

/// What was read and written, and by how many calls. A process's includes that of its dead threads and the children that it has
/// waited for, as on Linux. Nothing comes from a disk. For those who may debug it.
pub fn io(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    if task.inspect_zombie().map_err(|e| if e == ENOENT { ESRCH } else { e })?.is_zombie() || task.single {
        return put_io(&used(task)?.usage, out);
    }
    let process = &task.live()?.process;
    let mut usage = usage::of_process(process);
    usage.add(&process.waited_children.lock());
    put_io(&usage, out)
}

fn put_io(usage: &Usage, out: &mut Vec<u8>) -> Result<()> {
    let moved = usage.transfers;
    let text = format!(
        "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
        moved.bytes_read, moved.bytes_written, moved.reads, moved.writes
    );
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
