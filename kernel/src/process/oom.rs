//! Out of memory: a program touched its memory and there is no frame for it; or the kernel, whose own small objects are
//! allocated without a way to fail, has used half of its reserve for what programs made it keep: open files, pipes and
//! what is in them, locks, names.
//!
//! The caller can't be told by an error number, so what is only kept for reuse is given back, and if that is not enough
//! somebody has to die: the process with the most memory, biased by oom_score_adj as on Linux, but never init. What its
//! descriptors keep in the kernel counts as a page for each. Where no process is large, many small ones are at fault, and
//! the youngest goes: in a fork bomb it is one of the bomb, and not the shell that somebody started it from. The victim's
//! memory comes back when it exits; the thread that asked tries again until then. One victim at a time: while one is dying,
//! nobody else is chosen, unless it takes too long, as an init that waits for its namespace may.

use ostd::{mm, sync::SpinLock, task, time::now_ns};

use super::{
    Process, Thread,
    signal::{self, SIGKILL, SigInfo, work},
    tree,
};
use crate::{fs::dentry, ipc::futex, lock_order, prelude::*};
use core::sync::atomic::Ordering::Relaxed;

/// How long the faulting thread sleeps before it tries again.
const RETRY_NS: u64 = 2_000_000;

/// Frames that are worth another try before anybody dies.
const WORTHWHILE: usize = 64;

/// Processes whose sizes differ by less than this part of all memory are of the same size.
const STEPS: i64 = 128;

/// A process that can't be chosen (oom_score_adj).
const UNKILLABLE: i32 = -1000;

/// How long a victim has time to die before there may be another.
const DYING_NS: u64 = 500_000_000;

/// Who was killed last, and until when that is enough.
static VICTIM: SpinLock<(Weak<Process>, u64)> = SpinLock::new(lock_order::PROCESS_MISC, (Weak::new(), 0));

/// Has [`relieve`] called for whose system calls take the last of the kernel's memory.
pub fn init() {
    mm::set_low_memory_hook(|| {
        if let Some(thread) = Thread::try_current() {
            thread.work.fetch_or(work::MEMORY, Relaxed);
        }
    });
}

/// The kernel's reserve is half used up, after an allocation on behalf of the caller: it goes on when there is more again.
pub fn relieve(thread: &Arc<Thread>) {
    while mm::is_low() && !signal::fatal_signal_pending(thread) {
        if !give_back() && !out_of_memory(thread) {
            return;
        }
    }
}

/// Gives back what is only kept for reuse; whether that was worthwhile. With no lock held.
pub fn give_back() -> bool {
    let before = mm::stats().free;
    dentry::shrink_all();
    futex::shrink();
    mm::drain_caches();
    mm::stats().free > before + WORTHWHILE
}

/// Makes memory come free, some time soon. The caller repeats what failed. Whether there is anybody who can be killed.
pub fn out_of_memory(thread: &Arc<Thread>) -> bool {
    let processes = tree::all_processes();
    let mut found = true;
    if !processes.iter().any(is_dying) {
        let worst = processes
            .iter()
            .filter(|process| signal::group_exit_status(process).is_none())
            .filter_map(|process| Some(((badness(process)?, process.start_ns), process)))
            .max_by_key(|(points, _)| *points);
        match worst {
            Some((_, victim)) => kill(victim),
            None => found = false,
        }
    }
    drop(processes);
    if !signal::fatal_signal_pending(thread) {
        task::park_until(now_ns() + RETRY_NS);
    }
    found
}

/// Whether memory is about to come back from this process: it was killed for it, or dies for another reason.
fn is_dying(process: &Arc<Process>) -> bool {
    let (victim, until) = &*VICTIM.lock();
    if core::ptr::eq(victim.as_ptr(), &**process) {
        return now_ns() < *until;
    }
    signal::group_exit_status(process).is_some()
        && signal::threads(process).iter().any(|t| t.try_vm().is_some())
}

/// The part of all memory that its death would free, with its bias (oom_score_adj / 1000 of all memory), in steps of
/// 1 / [`STEPS`]. `None`: not to be killed.
fn badness(process: &Process) -> Option<i64> {
    let bias = process.oom_score_adj.load(Relaxed);
    if process.is_global_init() || bias == UNKILLABLE {
        return None;
    }
    let threads = signal::threads(process);
    let vm = threads.iter().find_map(|thread| thread.try_vm())?;
    let files = threads.iter().find_map(|thread| thread.try_files());
    let pages = vm.rss() as i64 + files.map_or(0, |files| files.count()) as i64;
    let total = mm::total_frames() as i64;
    Some((pages + bias as i64 * total / 1000) * STEPS / total.max(1))
}

fn kill(victim: &Arc<Process>) {
    let comm = signal::threads(victim).first().map(|thread| thread.comm()).unwrap_or_default();
    let name = comm.split(|&byte| byte == 0).next().unwrap_or_default();
    {
        let mut last = VICTIM.lock();
        if now_ns() < last.1 && last.0.strong_count() != 0 {
            // Another CPU has just chosen.
            return;
        }
        *last = (Arc::downgrade(victim), now_ns() + DYING_NS);
    }
    warn!("out of memory: killed process {} ({})", victim.global_pid(), String::from_utf8_lossy(name));
    signal::send_process(victim, None, SigInfo::kernel(SIGKILL));
}
