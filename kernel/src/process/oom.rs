//! Out of memory: a program touched its memory and there is no frame for it.
//!
//! The caller can't be told by an error number, so somebody has to die: the process with the most memory, biased by
//! oom_score_adj as on Linux, but never init. Where no process is large, many small ones are at fault, and the youngest
//! goes: in a fork bomb it is one of the bomb, and not the shell that somebody started it from. The victim's memory
//! comes back when it exits; the faulting thread tries again until then. One victim at a time: while one is dying,
//! nobody else is chosen.

use ostd::task;

use super::{
    Process, Thread,
    signal::{self, SIGKILL, SigInfo},
    tree,
};
use crate::prelude::*;
use core::sync::atomic::Ordering::Relaxed;

/// How long the faulting thread sleeps before it tries again.
const RETRY_NS: u64 = 2_000_000;

/// Processes whose sizes differ by less than this part of all memory are of the same size.
const STEPS: i64 = 128;

/// A process that can't be chosen (oom_score_adj).
const UNKILLABLE: i32 = -1000;

/// Makes memory come free, some time soon. The caller repeats what failed.
pub fn out_of_memory(thread: &Arc<Thread>) {
    let processes = tree::all_processes();
    let dying = processes.iter().any(|process| is_dying(process));
    if !dying {
        match processes
            .iter()
            .filter_map(|process| Some(((badness(process)?, process.start_ns), process)))
            .max_by_key(|(points, _)| *points)
        {
            Some((_, victim)) => kill(victim),
            None => signal::force(thread, SigInfo::kernel(SIGKILL)),
        }
    }
    drop(processes);
    if !signal::fatal_signal_pending(thread) {
        task::park_until(ostd::time::now_ns() + RETRY_NS);
    }
}

/// Whether memory is about to come back from this process.
fn is_dying(process: &Process) -> bool {
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
    let vm = signal::threads(process).iter().find_map(|thread| thread.try_vm())?;
    let pages = vm.rss() as i64;
    let total = ostd::mm::stats().total as i64;
    Some((pages + bias as i64 * total / 1000) * STEPS / total.max(1))
}

fn kill(victim: &Arc<Process>) {
    let comm = signal::threads(victim).first().map(|thread| thread.comm()).unwrap_or_default();
    let name = comm.split(|&byte| byte == 0).next().unwrap_or_default();
    warn!("out of memory: killed process {} ({})", victim.global_pid(), String::from_utf8_lossy(name));
    signal::send_process(victim, None, SigInfo::kernel(SIGKILL));
}
