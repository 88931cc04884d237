//! /proc/pid/status and the small files of a process (rules 12.2, 12.3, 12.5, 12.7, 12.8).

use core::{fmt::Write, sync::atomic::Ordering::Relaxed};

use proctree::Body;

use super::task::{self, Task, TaskRef};
use crate::{
    prelude::*,
    process::{
        Cap, Credentials, ExitRecord, Thread, coredump,
        rlimit::{RLIM_INFINITY, Resource, Rlimits},
        signal::{SigSet, thread_sets, threads},
        tree, usage,
    },
    time::posix_timer,
};

/// Writing to a `String` does not fail.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        let _ = write!($out, $($arg)*);
    };
}

pub fn status(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let found = task.find()?;
    let (comm, creds, last_sets, no_new_privs) = match &found {
        Task::Live(thread) => (thread.comm(), thread.creds(), [SigSet::EMPTY; 5], false),
        Task::Zombie(process) => match tree::lock().body(*process) {
            Some(Body::Zombie(record)) => {
                let sets = [SigSet::EMPTY, record.pending, record.blocked, record.ignored, record.caught];
                (record.comm, record.creds.clone(), sets, record.no_new_privs)
            }
            _ => return Err(ESRCH),
        },
    };
    out.extend_from_slice(b"Name:\t");
    escape_name(task::trim_comm(&comm), out);
    out.push(b'\n');
    let text = match &found {
        Task::Live(thread) => live(task, &found, thread, &creds),
        Task::Zombie(process) => {
            let numbers = task::numbers(task.ns, *process);
            let mut text =
                ids(task, (&numbers, task::nested_numbers(task, &found)), ('Z', "zombie"), &creds, None, 0);
            put!(text, "Threads:\t1\n");
            signals(&mut text, creds.user.sigpending.load(Relaxed), queue_limit(task), last_sets);
            rights(&mut text, &creds, [no_new_privs.into(), 0, 0]);
            text
        }
    };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// A newline or backslash in a name must not look like a new line of the file.
fn escape_name(name: &[u8], out: &mut Vec<u8>) {
    for &byte in name {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => out.push(byte),
        }
    }
}

fn live(task: &TaskRef, found: &Task, thread: &Thread, creds: &Credentials) -> String {
    let process = &thread.process;
    let numbers = task::numbers(task.ns, process.id());
    let umask = thread.try_fs().map(|fs| fs.umask());
    let fd_size = thread.try_files().map_or(0, |files| files.capacity());
    let nested = task::nested_numbers(task, found);
    let mut text = ids(task, (&numbers, nested), task::state(thread), creds, umask, fd_size);
    memory(&mut text, thread);
    put!(text, "Threads:\t{}\n", numbers.threads);
    let (pending, blocked) = thread_sets(thread);
    let (ignored, caught) = process.signals.sighand().ignored_and_caught();
    let sets = [pending, process.signals.shared_pending(), blocked, ignored, caught];
    let queued = creds.user.sigpending.load(Relaxed);
    signals(&mut text, queued, process.rlimit(Resource::Sigpending), sets);
    let seccomp = &thread.seccomp;
    let no_new_privs = thread.no_new_privs.load(Relaxed).into();
    rights(&mut text, creds, [no_new_privs, seccomp.mode() as u32, seccomp.filter_count()]);
    cpus(&mut text, thread);
    let usage = usage::of_thread(thread);
    put!(text, "voluntary_ctxt_switches:\t{}\n", usage.voluntary_switches);
    put!(text, "nonvoluntary_ctxt_switches:\t{}\n", usage.involuntary_switches);
    text
}

/// The lines up to NSsid.
fn ids(
    task: &TaskRef,
    (numbers, nested): (&task::Numbers, [Vec<u32>; 4]),
    state: (char, &str),
    creds: &Credentials,
    umask: Option<u32>,
    fd_size: usize,
) -> String {
    let mut text = String::new();
    if let Some(umask) = umask {
        put!(text, "Umask:\t{umask:04o}\n");
    }
    put!(text, "State:\t{} ({})\n", state.0, state.1);
    put!(
        text,
        "Tgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\nTracerPid:\t0\n",
        numbers.tgid,
        task.nr,
        numbers.ppid
    );
    put!(text, "Uid:\t{}\t{}\t{}\t{}\n", creds.uid, creds.euid, creds.suid, creds.fsuid);
    put!(text, "Gid:\t{}\t{}\t{}\t{}\n", creds.gid, creds.egid, creds.sgid, creds.fsgid);
    put!(text, "FDSize:\t{fd_size}\nGroups:\t");
    for group in creds.groups.iter() {
        put!(text, "{group} ");
    }
    text.push_str(" \n");
    for (name, levels) in ["NStgid", "NSpid", "NSpgid", "NSsid"].iter().zip(nested) {
        put!(text, "{name}:");
        for nr in levels {
            put!(text, "\t{nr}");
        }
        text.push('\n');
    }
    text.push_str("Kthread:\t0\n");
    text
}

fn memory(text: &mut String, thread: &Thread) {
    let Some(vm) = thread.try_vm() else { return };
    let usage = vm.memory_use();
    let peak = vm.max_rss().max(usage.resident / PAGE_SIZE) * PAGE_SIZE;
    let anonymous = usage.resident - usage.shared;
    let lines = [
        ("VmPeak", usage.size),
        ("VmSize", usage.size),
        ("VmLck", usage.locked),
        ("VmPin", 0),
        ("VmHWM", peak),
        ("VmRSS", usage.resident),
        ("RssAnon", anonymous),
        ("RssFile", usage.shared - usage.shmem),
        ("RssShmem", usage.shmem),
        ("VmData", usage.data),
        ("VmStk", usage.stack),
        ("VmExe", usage.text),
        ("VmLib", 0),
        ("VmPTE", usage.page_tables),
        ("VmSwap", 0),
    ];
    for (name, bytes) in lines {
        put!(text, "{name}:\t{:8} kB\n", bytes / 1024);
    }
    put!(text, "CoreDumping:\t{}\nTHP_enabled:\t0\n", u32::from(coredump::is_dumping(thread)));
}

fn signals(text: &mut String, queued: usize, limit: u64, sets: [SigSet; 5]) {
    put!(text, "SigQ:\t{queued}/{limit}\n");
    for (name, set) in ["SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt"].iter().zip(sets) {
        put!(text, "{name}:\t{:016x}\n", set.0);
    }
}

/// `restrictions`: no_new_privs, the seccomp mode and how many filters it has.
fn rights(text: &mut String, creds: &Credentials, restrictions: [u32; 3]) {
    let sets = [
        ("CapInh", creds.inheritable),
        ("CapPrm", creds.permitted),
        ("CapEff", creds.effective),
        ("CapBnd", creds.bounding),
        ("CapAmb", creds.ambient),
    ];
    for (name, set) in sets {
        put!(text, "{name}:\t{:016x}\n", set.0);
    }
    for (name, value) in ["NoNewPrivs", "Seccomp", "Seccomp_filters"].iter().zip(restrictions) {
        put!(text, "{name}:\t{value}\n");
    }
}

fn cpus(text: &mut String, thread: &Thread) {
    let all = u64::MAX >> (64 - ostd::cpu::num_cpus().clamp(1, 64));
    let allowed = thread.task().map_or(all, |task| task.sched.affinity.load(Relaxed) & all);
    put!(text, "Cpus_allowed:\t{allowed:x}\nCpus_allowed_list:\t{}\n", ranges(allowed));
    put!(text, "Mems_allowed:\t1\nMems_allowed_list:\t0\n");
}

/// A set of numbers as "0-3,5".
fn ranges(set: u64) -> String {
    let mut text = String::new();
    let mut bit = 0;
    while bit < 64 {
        if set >> bit & 1 == 0 {
            bit += 1;
            continue;
        }
        let len = (set >> bit).trailing_ones();
        let separator = if text.is_empty() { "" } else { "," };
        if len == 1 {
            put!(text, "{separator}{bit}");
        } else {
            put!(text, "{separator}{bit}-{}", bit + len - 1);
        }
        bit += len;
    }
    text
}

/// RLIMIT_SIGPENDING of a zombie.
fn queue_limit(task: &TaskRef) -> u64 {
    limits_of(task).map_or(0, |limits| limits.soft(Resource::Sigpending))
}

fn limits_of(task: &TaskRef) -> Result<Arc<Rlimits>> {
    match task.find()? {
        Task::Live(thread) => Ok(thread.process.rlimits()),
        Task::Zombie(process) => match tree::lock().body(process) {
            Some(Body::Zombie(record)) => Ok(record.rlimits.clone()),
            _ => Err(ESRCH),
        },
    }
}

pub fn limits(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    const NAMES: [(Resource, &str, &str); 16] = [
        (Resource::Cpu, "Max cpu time", "seconds"),
        (Resource::Fsize, "Max file size", "bytes"),
        (Resource::Data, "Max data size", "bytes"),
        (Resource::Stack, "Max stack size", "bytes"),
        (Resource::Core, "Max core file size", "bytes"),
        (Resource::Rss, "Max resident set", "bytes"),
        (Resource::Nproc, "Max processes", "processes"),
        (Resource::Nofile, "Max open files", "files"),
        (Resource::Memlock, "Max locked memory", "bytes"),
        (Resource::As, "Max address space", "bytes"),
        (Resource::Locks, "Max file locks", "locks"),
        (Resource::Sigpending, "Max pending signals", "signals"),
        (Resource::Msgqueue, "Max msgqueue size", "bytes"),
        (Resource::Nice, "Max nice priority", ""),
        (Resource::Rtprio, "Max realtime priority", ""),
        (Resource::Rttime, "Max realtime timeout", "us"),
    ];
    let limits = limits_of(task)?;
    let value =
        |limit: u64| if limit == RLIM_INFINITY { String::from("unlimited") } else { limit.to_string() };
    let mut text = format!("{:25} {:20} {:20} {:10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (resource, name, unit) in NAMES {
        let limit = limits.get(resource);
        put!(text, "{name:25} {:20} {:20} ", value(limit.soft), value(limit.hard));
        if unit.is_empty() {
            text.push('\n');
        } else {
            put!(text, "{unit:10}\n");
        }
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// The children of one thread, zombies included, each number with a space behind it.
pub fn children(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let Task::Live(thread) = task.find()? else {
        return Ok(());
    };
    let table = tree::lock();
    let pids: Vec<u32> = table
        .children(thread.id())
        .filter_map(|child| table.pid(child))
        .map(|pid| table.nr(pid, task.ns))
        .collect();
    drop(table);
    for pid in pids {
        out.extend_from_slice(format!("{pid} ").as_bytes());
    }
    Ok(())
}

pub fn comm(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let comm = match task.find()? {
        Task::Live(thread) => thread.comm(),
        Task::Zombie(process) => match tree::lock().body(process) {
            Some(Body::Zombie(record)) => record.comm,
            _ => return Err(ESRCH),
        },
    };
    out.extend_from_slice(task::trim_comm(&comm));
    out.push(b'\n');
    Ok(())
}

/// A process may rename its own threads. EINVAL for others.
pub fn set_comm(task: &TaskRef, value: &[u8]) -> Result<()> {
    let Task::Live(thread) = task.find()? else { return Err(EINVAL) };
    if !Arc::ptr_eq(&thread.process, &Thread::current().process) {
        return Err(EINVAL);
    }
    thread.set_comm(value.split(|&b| b == 0).next().unwrap_or(value));
    Ok(())
}

fn oom_adjustment(task: &TaskRef) -> Result<i32> {
    match task.find()? {
        Task::Live(thread) => Ok(thread.process.oom_score_adj.load(Relaxed)),
        Task::Zombie(process) => match tree::lock().body(process) {
            Some(Body::Zombie(record)) => Ok(i32::from(record.oom_score_adj)),
            _ => Err(ESRCH),
        },
    }
}

pub fn oom_score_adj(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(format!("{}\n", oom_adjustment(task)?).as_bytes());
    Ok(())
}

/// -1000..=1000. Below what a privileged process set last it needs CAP_SYS_RESOURCE (EACCES).
pub fn set_oom_score_adj(task: &TaskRef, value: &[u8]) -> Result<()> {
    let value: i32 = number(value)?;
    if !(OOM_MIN..=OOM_MAX).contains(&value) {
        return Err(EINVAL);
    }
    let thread = task.live()?;
    adjust_oom(&thread, value, thread.process.oom_score_adj_min.load(Relaxed))
}

const OOM_MIN: i32 = -1000;
const OOM_MAX: i32 = 1000;
/// The same in the old unit: -17 is never, 15 first.
const OLD_MIN: i32 = -17;
const OLD_MAX: i32 = 15;

/// The adjustment as it was before Linux 2.6.36.
pub fn oom_adj(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let old = (oom_adjustment(task)? * -OLD_MIN / OOM_MAX).min(OLD_MAX);
    out.extend_from_slice(format!("{old}\n").as_bytes());
    Ok(())
}

/// Lower than it is only with CAP_SYS_RESOURCE (EACCES).
pub fn set_oom_adj(task: &TaskRef, value: &[u8]) -> Result<()> {
    let old: i32 = number(value)?;
    if !(OLD_MIN..=OLD_MAX).contains(&old) {
        return Err(EINVAL);
    }
    let value = if old == OLD_MAX { OOM_MAX } else { old * OOM_MAX / -OLD_MIN };
    let thread = task.live()?;
    adjust_oom(&thread, value, thread.process.oom_score_adj.load(Relaxed))
}

fn adjust_oom(thread: &Thread, value: i32, least: i32) -> Result<()> {
    let process = &thread.process;
    let privileged = Thread::current().creds().capable(Cap::SysResource);
    if value < least && !privileged {
        return Err(EACCES);
    }
    if privileged {
        process.oom_score_adj_min.store(value, Relaxed);
    }
    process.oom_score_adj.store(value, Relaxed);
    Ok(())
}

/// Share of the memory in use, in thousandths, moved by the adjustment; 0 without memory (rule 3.25). A dead leader's is that of
/// its threads.
pub fn oom_score(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let Task::Live(thread) = task.find()? else {
        out.extend_from_slice(b"0\n");
        return Ok(());
    };
    let process = &thread.process;
    let Some(vm) = thread.try_vm().or_else(|| threads(process).iter().find_map(|thread| thread.try_vm()))
    else {
        out.extend_from_slice(b"0\n");
        return Ok(());
    };
    let resident = vm.rss() as i64;
    let adj = i64::from(process.oom_score_adj.load(Relaxed));
    let total = (ostd::mm::total_frames() as i64).max(1);
    let score = (resident * 1000 / total + adj + 1000) * 2 / 3;
    out.extend_from_slice(format!("{}\n", score.max(0)).as_bytes());
    Ok(())
}

/// Of the leader, also of a dead one.
fn of_leader<T>(
    task: &TaskRef,
    live: impl FnOnce(&Thread) -> T,
    dead: impl FnOnce(&ExitRecord) -> T,
) -> Result<T> {
    match task.find()? {
        Task::Live(thread) => Ok(live(&thread)),
        Task::Zombie(process) => match tree::lock().body(process) {
            Some(Body::Zombie(record)) => Ok(dead(record)),
            _ => Err(ESRCH),
        },
    }
}

/// For those who may debug it (EACCES).
pub fn personality(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    task.inspect_zombie().map_err(|e| if e == ENOENT { ESRCH } else { e })?;
    let personality =
        of_leader(task, |thread| thread.personality.load(Relaxed), |record| record.personality)?;
    out.extend_from_slice(format!("{personality:08x}\n").as_bytes());
    Ok(())
}

/// All processes are in the root of the one (version 2) hierarchy.
pub fn cgroup(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    task.find()?;
    out.extend_from_slice(b"0::/\n");
    Ok(())
}

/// Where in the kernel a task waits is not told, as on a Linux that hides its symbols.
pub fn wchan(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    task.find()?;
    out.push(b'0');
    Ok(())
}

/// The POSIX timers of a process (proc(5)).
pub fn timers(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    if let Task::Live(thread) = task.find()? {
        out.extend_from_slice(posix_timer::describe(&thread.process).as_bytes());
    }
    Ok(())
}

fn number<T: core::str::FromStr>(value: &[u8]) -> Result<T> {
    core::str::from_utf8(value).ok().and_then(|value| value.trim().parse().ok()).ok_or(EINVAL)
}

/// Of another process it is for CAP_SYS_NICE (EPERM).
fn check_slack(task: &TaskRef) -> Result<()> {
    let own = |thread: &Arc<Thread>| Arc::ptr_eq(thread, &Thread::current());
    match task.find()? {
        Task::Live(thread) if own(&thread) => Ok(()),
        _ => Thread::current().creds().require(Cap::SysNice),
    }
}

pub fn timer_slack(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    check_slack(task)?;
    let live = |thread: &Thread| thread.timer_slack_ns[0].load(Relaxed);
    let slack = of_leader(task, live, |record| record.timer_slack_ns)?;
    out.extend_from_slice(format!("{slack}\n").as_bytes());
    Ok(())
}

/// 0 is the default, as for `PR_SET_TIMERSLACK` (rule 1.43).
pub fn set_timer_slack(task: &TaskRef, value: &[u8]) -> Result<()> {
    let value: u64 = number(value)?;
    check_slack(task)?;
    task.live()?.set_timer_slack(value);
    Ok(())
}

/// The user who logged in, -1 (as unsigned) before anybody has. Login programs set it; children inherit it.
pub fn login_uid(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let uid = of_leader(task, |thread| thread.login.uid.load(Relaxed), |record| record.login[0])?;
    out.extend_from_slice(format!("{uid}").as_bytes());
    Ok(())
}

/// One's own only (EPERM), and once only without CAP_AUDIT_CONTROL. Begins a session.
pub fn set_login_uid(task: &TaskRef, value: &[u8]) -> Result<()> {
    let thread = task.live().map_err(|_| EPERM)?;
    if !Arc::ptr_eq(&thread, &Thread::current()) {
        return Err(EPERM);
    }
    let uid: u32 = number(value)?;
    if thread.login.uid.load(Relaxed) != u32::MAX {
        thread.creds().require(Cap::AuditControl)?;
    }
    thread.login.begin(uid);
    Ok(())
}

pub fn session_id(task: &TaskRef, out: &mut Vec<u8>) -> Result<()> {
    let live = |thread: &Thread| thread.login.session.load(Relaxed);
    let session = of_leader(task, live, |record| record.login[1])?;
    out.extend_from_slice(format!("{session}").as_bytes());
    Ok(())
}
