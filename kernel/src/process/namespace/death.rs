//! The end of a pid namespace: its init dies, and all others die before it is seen to have (rules 9.6-9.9).
//!
//! The last thread of init to begin its exit does this when it has let go of all else, right before it leaves the tree:
//!
//! 1. No new process can get in: forks fail with ENOMEM (6.14).
//! 2. SIGCHLD is ignored, so that children that die from here on vanish by themselves, and so do the orphans that still
//!    come to init.
//! 3. Everybody in the namespace and below is killed, inits of namespaces below too (7.25).
//! 4. Children that were zombies already, and those whose exit signal is not SIGCHLD, are waited for.
//! 5. It sleeps until no number of the namespace is in use but those of its own threads. A member whose parent is outside stays
//!    that parent's zombie, and init waits for it to be reaped (9.8).

use proctree::{Class, Found, ProcId, WaitFor};

use crate::{
    prelude::*,
    process::{
        Process, Thread,
        signal::{self, SIGKILL, SigInfo},
        tree::{self, Effects, Table},
    },
};

/// Any child that is a zombie.
const ANY_ZOMBIE: WaitFor = WaitFor { class: Class::All, ..WaitFor::ANY_EXIT };

/// Ends the namespace whose init the calling thread's process is. The thread is the last of its process.
pub fn end_namespace(thread: &Thread) {
    let process = &thread.process;
    signal::ignore_children(process);
    kill_members(process);
    process.child_wait.wait_until(|| is_empty(thread).then_some(()));
    if let Some(signal) = process.pid_ns().reboot() {
        signal::override_exit_status(process, signal as i32);
    }
}

fn kill_members(init: &Arc<Process>) {
    let mut table = tree::lock();
    table.disable_namespace(init.ns());
    let members = tree::processes_in(&table, init.ns());
    for member in members.iter().filter(|member| !Arc::ptr_eq(member, init)) {
        signal::send_process_in_table(&mut table, member, None, SigInfo::kernel(SIGKILL));
    }
    drop(table);
}

/// Reaps what there is to be reaped; whether nobody is left.
fn is_empty(init: &Thread) -> bool {
    loop {
        let table = tree::lock();
        match table.find_child(init.id(), &ANY_ZOMBIE) {
            Found::Zombie(child) => reap(init, table, child),
            _ => {
                let own = table.thread_count(init.process.id()).max(1);
                return table.ns_pids(init.process.ns()) <= own;
            }
        }
    }
}

fn reap(init: &Thread, mut table: impl core::ops::DerefMut<Target = Table>, child: ProcId) {
    let mut effects = Effects::new();
    let reaped = table.reap(child, &mut effects);
    drop(table);
    if let Some(reaped) = reaped {
        init.process.waited_children.lock().add(&reaped.record.usage);
        reaped.record.release();
    }
}
