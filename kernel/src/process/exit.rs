//! What happens when a process dies: the whole way, from the last instruction in user mode to the parent's wait.
//!
//! A *thread* exits for one of three reasons: it asked to (exit(2)), its process is dying (exit_group(2), or a signal
//! whose action is to terminate), or a sibling replaces the program (execve(2)). All three end in [`exit_thread`]. A *process*
//! dies when its last thread has exited. The steps, in the order in which others can see them (rule 3.9):
//!
//! 1. **The status is fixed.** A process that dies as a whole has one status, that of whoever came first (3.4). If instead
//!    every thread leaves by exit(2) on its own, the status is that of the last one (3.5).
//! 2. **It stops being a target.** No signal is given to the thread any more, those it would have taken go to its siblings,
//!    and it adopts nobody from here on (2.2): a process that is dying never becomes a parent.
//! 3. **Timers stop**, with the last thread.
//! 4. **Memory.** Robust futexes it holds are marked as orphaned, the word that pthread_join waits on is cleared, a parent
//!    that waits in vfork(2) goes on, and the address space is let go of: it is freed when the last user leaves, and its
//!    contexts of asynchronous input and output end (3.23).
//! 5. **Semaphores**: what was done with SEM_UNDO is undone, by the last thread that shares it; shared memory segments learn of their
//!    creator's end. Then **files**: descriptors,
//!    working directory and root. The peer of a pipe sees the end of file *before* anybody sees a zombie (3.10).
//! 6. **The controlling terminal**, if the process led its session (8.19).
//! 7. **The namespace**, if the process was its init: everybody in it is killed and gone before the tree changes (9.6).
//! 8. **The tree**, in one step under the process-table lock, so that nobody ever sees a half (0.5, 2.17):
//!    * The children get a new parent: a live sibling thread, else the nearest live subreaper among the ancestors, else init
//!      (2.1). Each is sent its parent-death signal, if it asked for one; orphans that are zombies already are announced to
//!      their new parent, or vanish if that ignores its children; process groups that become orphaned with a stopped
//!      member get SIGHUP and SIGCONT (2.15, 2.20-2.26).
//!    * The last thread turns its process into a zombie: an [`ExitRecord`] in the table is all that stays. The parent is
//!      sent the exit signal and woken. If it ignores its children, there is no zombie at all (4.23).
//!
//! Step 8 is told in `proctree::Table::exit`; what it does to the world is [`tree::Effects`].
//!
//! The other end of the story is [`wait`](super::wait): the parent takes the record out of the table, and with it the pid.

use core::sync::atomic::Ordering::Relaxed;

use ostd::power;
use proctree::{Exited, Fate};

use super::{
    ExitRecord, Process, Thread, Usage,
    namespace::death,
    pid, record, seccomp,
    signal::{self, SigSet},
    thread::WORK_EXITED,
    tree::{self, Effects},
    usage,
};
use crate::{
    device,
    ipc::{
        futex,
        sysv::{sem::undo, shm},
    },
    mm::Vm,
    prelude::*,
};

/// The wait status of a process that calls `exit(code)` (rule 3.1).
pub const fn exit_status(code: i32) -> i32 {
    (code & 0xff) << 8
}

/// exit(2): ends the calling thread alone.
pub fn exit(thread: &Arc<Thread>, code: i32) {
    exit_thread(thread, exit_status(code));
}

/// exit_group(2): ends the calling thread's process.
pub fn exit_group(thread: &Arc<Thread>, code: i32) {
    let status = signal::begin_group_exit(&thread.process, exit_status(code));
    exit_thread(thread, status);
}

/// Ends the calling thread, with the wait status that its process has if this thread is the last.
///
/// It returns, so that whatever the caller holds is dropped; the thread has no memory and no files any more, and leaves
/// the kernel's loop at the next look at its work flags.
pub fn exit_thread(thread: &Arc<Thread>, status: i32) {
    if thread.has_exited() {
        return;
    }
    thread.exit_status.store(status, Relaxed);
    let is_last = leave_group(thread);
    seccomp::release(thread);
    if is_last {
        if thread.process.is_global_init() {
            end_of_init(&thread.process, status);
        }
        thread.process.itimers.cancel();
        thread.process.posix_timers.delete_all();
        thread.process.posix_timers.stop_cpu_timers();
    }
    release_memory(thread, is_last);
    undo::release(thread);
    shm::release(thread);
    drop(thread.set_files(None));
    drop(thread.set_fs(None));
    if is_last {
        release_terminal(&thread.process);
    }
    thread.release_namespaces();
    if is_last && thread.process.is_init() {
        death::end_namespace(thread);
    }
    leave_tree(thread, status, is_last);
    thread.work.fetch_or(WORK_EXITED, Relaxed);
}

/// Step 2. Returns whether no other thread is left that has not begun to exit.
fn leave_group(thread: &Thread) -> bool {
    let mut table = tree::lock();
    table.mark_exiting(thread.id());
    let left = signal::detach_thread(thread);
    if let Some(signo) = left.completed_stop {
        // All others had stopped already: the stop that waited for this thread is complete.
        tree::report_stopped(table, &thread.process, signo);
    }
    left.remaining == 0
}

/// Step 4.
pub(super) fn release_memory(thread: &Thread, is_last: bool) {
    let Some(vm) = thread.try_vm() else {
        return;
    };
    if is_last {
        let rss = usage::max_rss_kib(&vm);
        let mut dead = thread.process.dead_threads.lock();
        dead.max_rss = dead.max_rss.max(rss);
    }
    release_user_words(thread, &vm);
    thread.release_vm();
    thread.complete_vfork();
    // Here the last user frees the memory: after the parent of a vfork was let go, before any file is closed.
    drop(vm);
}

/// What the memory's other users learn from it of the thread's end: robust futexes (rule 3.17), and the word of
/// set_tid_address(2), if there is anybody else to see it (rule 3.16). Faults are ignored: it is the program's own loss.
pub(super) fn release_user_words(thread: &Thread, vm: &Arc<Vm>) {
    let robust = thread.robust_list.swap(0, Relaxed);
    if robust != 0 {
        futex::exit_robust_list(vm, robust, thread.tid());
    }
    let word = thread.clear_child_tid.swap(0, Relaxed);
    // Two references are the caller's and the thread's own.
    if word != 0 && Arc::strong_count(vm) > 2 {
        futex::release_child_tid(vm, word);
    }
}

/// Step 6.
fn release_terminal(process: &Arc<Process>) {
    let session = {
        let table = tree::lock();
        table.session(process.id()).filter(|_| table.is_session_leader(process.id()))
    };
    if let Some(session) = session {
        device::tty::session_leader_exits(session);
    }
}

/// Step 8.
fn leave_tree(thread: &Arc<Thread>, status: i32, is_last: bool) {
    let process = &thread.process;
    let was_leader = thread.is_leader();
    process.dead_threads.lock().add(&usage::of_thread(thread));
    let leader = match was_leader {
        true => Some(thread.clone()),
        false => pid::thread(process.ns(), process.pid()),
    };
    let leader = leader.as_deref().unwrap_or(thread);
    // Made before the lock is taken, by the thread that is likely to need it: the last to begin is mostly the last to end.
    let prepared = is_last.then(|| blank_record(process, leader));

    let mut effects = Effects::of_exit(thread);
    let mut table = tree::lock();
    // A leader stays behind its number while its group lives; any other thread's number goes with it.
    let behind_tid = (!was_leader).then(|| {
        let numbers = table.tid(thread.id()).and_then(|tid| table.numbers(tid));
        numbers.map_or_else(pid::Held::default, |numbers| pid::retire(process.pid_ns(), numbers))
    });
    let mut behind_pid = pid::Held::default();
    let record = |process: &Arc<Process>| {
        let mut record = prepared.unwrap_or_else(|| blank_record(process, leader));
        close_record(&mut record, process, status);
        behind_pid = pid::retire(process.pid_ns(), process.numbers());
        record.pid_ref = behind_pid.pid_ref.take();
        if let Some(pid_ref) = &record.pid_ref {
            pid_ref.died();
        }
        record
    };
    let exited = table.exit(thread.id(), record, &mut effects);
    if let Some(pid::Held { pid_ref: Some(pid_ref), .. }) = &behind_tid {
        pid_ref.gone(Some(status));
    }
    if let Some(Exited { fate: Fate::Autoreaped(_, gone), .. }) = &exited {
        gone.record.tell_pidfds();
    }
    drop(table);

    // What was in the table is dropped here, outside its lock.
    drop((behind_tid, behind_pid, effects));
    if !was_leader {
        record::uncharge(&thread.creds());
    }
    if let Some(exited) = exited {
        match exited.fate {
            Fate::Lives => {
                process.threads_gone.wake_all();
            }
            Fate::Zombie(_) => {}
            Fate::Autoreaped(_, gone) => gone.record.release(),
        }
    }
}

/// All that stays of the process, but for its status and its sums.
fn blank_record(process: &Process, leader: &Thread) -> Box<ExitRecord> {
    Box::new(ExitRecord {
        status: 0,
        creds: leader.creds(),
        rlimits: process.rlimits(),
        pid_ns: process.pid_ns().clone(),
        comm: leader.comm(),
        nice: leader.nice.load(Relaxed) as i8,
        policy: leader.policy.load(Relaxed),
        rt_priority: leader.rt_priority.load(Relaxed),
        affinity: leader.task().map_or(u64::MAX, |task| task.sched.affinity.load(Relaxed)),
        oom_score_adj: process.oom_score_adj.load(Relaxed) as i16,
        no_new_privs: leader.no_new_privs.load(Relaxed),
        pending: SigSet::EMPTY,
        queue: None,
        blocked: leader.signals.blocked(),
        ignored: SigSet::EMPTY,
        caught: SigSet::EMPTY,
        personality: leader.personality.load(Relaxed),
        login: [leader.login.uid.load(Relaxed), leader.login.session.load(Relaxed)],
        timer_slack_ns: leader.timer_slack_ns[0].load(Relaxed),
        dumpable: leader.is_dumpable(),
        tty: process.tty.load(Relaxed),
        start_ns: process.start_ns,
        own_ns: [0; 2],
        usage: Usage::default(),
        pid_ref: None,
    })
}

/// Fills in what only the last thread to leave knows. Called with the table locked.
fn close_record(record: &mut ExitRecord, process: &Process, status: i32) {
    let signals = signal::remains(process);
    record.status = signals.exit_status.unwrap_or(status);
    record.pending = signals.pending;
    record.queue = signals.queue;
    record.ignored = signals.ignored;
    record.caught = signals.caught;
    record.usage = *process.dead_threads.lock();
    record.own_ns = [record.usage.user_ns, record.usage.system_ns];
    record.usage.add(&process.waited_children.lock());
}

/// PID 1 is the ancestor of everybody: with its end the machine has nothing left to do (rule 2.19).
fn end_of_init(process: &Process, status: i32) -> ! {
    let status = signal::group_exit_status(process).unwrap_or(status);
    let (code, value) = signal::SigInfo::child_code(status);
    match code {
        signal::CLD_EXITED => info!("init exited with status {value}: powering off"),
        _ => error!("init was killed by signal {value}: powering off"),
    }
    power::poweroff()
}
