//! The invariants I1-I12 of the process tree, walked after every change of it, in kernels built for tests and booted with
//! `check_tree` (the C suite's races run so once in `make test`).
//!
//! | invariant | where it is checked |
//! |---|---|
//! | I1, I5, I6, I7 and parts of I3, I4, I11 | `proctree`'s own walk, which is called from here |
//! | I1 once more: what is readable without the lock agrees with the table | [`shadows`] |
//! | I3: no zombie of a parent that threw SIGCHLD away at its death | by the order of the table's exit; race 13.12 |
//! | I2, I9, I10, I12 | by type (a record has one owner), and by the assertions of the C suite that name them |
//! | I6: numbers lead to threads of theirs | [`numbers`] |
//! | I8: no user has more threads and zombies than are counted | [`charges`] |

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use proctree::Body;

use super::{
    pid,
    tree::{self, Table},
};
use crate::prelude::*;

static ON: AtomicBool = AtomicBool::new(false);

/// Walks from now on.
pub fn start() {
    ON.store(true, Relaxed);
}

/// Part of what carries out a change: when it is dropped, after the lock was, the change is checked.
#[derive(Default)]
pub(super) struct Walk;

impl Drop for Walk {
    fn drop(&mut self) {
        if ON.load(Relaxed) {
            check(&tree::lock());
        }
    }
}

/// Panics with a text at the first thing that is wrong.
fn check(table: &Table) {
    let wrong = table.check_invariants().and_then(|()| shadows(table)).and_then(|()| numbers(table));
    if let Err(what) = wrong.and_then(|()| charges(table)) {
        panic!("the process tree is broken: {what}");
    }
}

/// getppid reads a number that is kept beside the table.
fn shadows(table: &Table) -> core::result::Result<(), String> {
    for process in table.processes() {
        let Some(Body::Live(live)) = table.body(process) else { continue };
        let parent = table.parent(process).and_then(|ids| table.pid(ids.process));
        let nr = parent.map_or(0, |parent| table.nr(parent, live.ns()));
        if live.getppid() != nr {
            return Err(format!("getppid of {} says {}, the table {nr}", live.pid(), live.getppid()));
        }
    }
    Ok(())
}

/// Every number of a live thread leads to it.
fn numbers(table: &Table) -> core::result::Result<(), String> {
    for process in table.processes() {
        let Some(ns) = table.namespace(process) else { continue };
        for thread in table.threads(process) {
            let (Some(pid), Some(payload)) = (table.tid(thread), table.thread(thread)) else { continue };
            let nr = table.nr(pid, ns);
            if pid::lookup(ns, nr) != Some(pid) {
                return Err(format!("number {nr} does not lead to its pid"));
            }
            // A thread that takes over its leader's number has it in the hash a moment before the table is asked again.
            let found = pid::thread(ns, nr);
            if found.is_none_or(|found| !Arc::ptr_eq(&found.process, &payload.process)) {
                return Err(format!("number {nr} leads to another process"));
            }
        }
    }
    Ok(())
}

/// Threads and zombies of each user, against RLIMIT_NPROC's counter. That one runs ahead of births and behind deaths; a
/// change of a user is in between for a moment on each CPU.
fn charges(table: &Table) -> core::result::Result<(), String> {
    let mut counts: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
    for process in table.processes() {
        if let Some(Body::Zombie(record)) = table.body(process) {
            let user = &record.creds.user;
            counts.entry(user.uid).or_insert((0, user.processes())).0 += 1;
        }
        for thread in table.threads(process).filter_map(|thread| table.thread(thread)) {
            let creds = thread.creds();
            counts.entry(creds.user.uid).or_insert((0, creds.user.processes())).0 += 1;
        }
    }
    for (uid, (found, counted)) in counts {
        if found > counted + ostd::cpu::num_cpus() {
            return Err(format!("user {uid} has {found} threads and zombies, counted {counted}"));
        }
    }
    Ok(())
}
