//! The process side of execve(2): one thread stays, and gets a new program (spec section 10).
//!
//! The loader calls [`de_thread`] as the last step that may fail, and then [`commit`], which can't: from there on the old
//! program does not exist any more.

use super::{
    Credentials, Thread, exit, pid, record, signal,
    tree::{self, Effects, Table},
    wait_event,
};
use crate::{fs, mm::Vm, prelude::*};

/// Leaves the calling thread as the only one of its process: the others are killed, and the caller waits until they have
/// exited (rule 10.12). A leader among them stays in the table as a dead one until [`commit`].
///
/// # Errors
/// `EAGAIN` or `ERESTARTNOINTR` if the process dies first, or another thread's execve is ahead: the caller is to die then.
pub fn de_thread(thread: &Arc<Thread>) -> Result<()> {
    let process = &thread.process;
    if process.signals.thread_count() == 1 && is_alone(&tree::lock(), thread) {
        return Ok(());
    }
    signal::begin_exec_kill(thread)?;
    let alone = || is_alone(&tree::lock(), thread).then_some(());
    let waited = wait_event::wait_killable(&process.threads_gone, alone);
    signal::end_exec_kill(process);
    waited.map_err(|_| ERESTARTNOINTR)
}

/// Whether all other threads are out of the table, but for a leader that is dead.
fn is_alone(table: &Table, thread: &Thread) -> bool {
    let others_alive =
        table.threads(thread.process.id()).any(|id| id != thread.id() && table.thread(id).is_some());
    !others_alive
}

/// Makes the calling thread, the only one, the process: new memory, a new name, signals reset, its credentials.
pub fn commit(thread: &Arc<Thread>, vm: Arc<Vm>, name: &[u8], creds: Arc<Credentials>) {
    take_over_leader(thread);
    if let Some(old) = thread.try_vm() {
        exit::release_user_words(thread, &old);
        drop(thread.set_vm(Some(vm)));
        // The parent of a vfork goes on here (rule 10.15).
        thread.complete_vfork();
    } else {
        thread.set_vm(Some(vm));
    }
    signal::exec_reset(thread);
    unshare_files(thread);
    thread.set_comm(name);
    set_credentials(thread, creds);
}

/// In the tree: the exit signal becomes SIGCHLD, the parent can't move the process any more, and a thread other than the
/// leader takes over the leader's pid.
fn take_over_leader(thread: &Arc<Thread>) {
    let process = &thread.process;
    let (old_tid, pid) = (thread.tid(), process.pid());
    let mut effects = Effects::new();
    let mut table = tree::lock();
    let done = table.exec(thread.id(), &mut effects);
    let mut dead_leader = None;
    if done.is_ok() && old_tid != pid {
        // The caller's own pid ends here, the leader's goes on (rule 10.12).
        if let Some(pid_ref) = &effects.freed.pid_ref {
            pid_ref.gone(Some(0));
        }
        let number = table.pid(process.id());
        dead_leader = pid::set_thread(&table, process.pid_ns(), number, Some(thread));
        thread.set_tid(pid);
    }
    drop(table);
    drop(effects);
    if let Some(leader) = dead_leader {
        record::uncharge(&leader.creds());
        // Others check the process by its leader's credentials.
        process.set_creds(thread.creds());
    }
}

/// The program gets a descriptor table of its own, without what was marked close-on-exec (rules 10.10, 10.11).
fn unshare_files(thread: &Thread) {
    let files = thread.files();
    // Two references are the thread's and this function's.
    let files = match Arc::strong_count(&files) > 2 {
        true => {
            let own = files.dup_for_fork();
            thread.set_files(Some(own.clone()));
            own
        }
        false => files,
    };
    // There is no way back: a program that can't have a table of its own is killed (rule 10.13).
    if files.close_on_exec().is_err() {
        fs::caller::kill();
    }
}

/// The credentials of the new program. A change of ids makes it a stranger to its parent (rule 1.20).
fn set_credentials(thread: &Thread, creds: Arc<Credentials>) {
    if creds.is_sensitive_change(&thread.creds()) {
        thread.clear_pdeath();
    }
    thread.set_creds(creds);
}
