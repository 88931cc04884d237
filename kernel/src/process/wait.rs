//! Waiting for children: wait4(2), waitid(2) (spec section 4).
//!
//! Both come down to [`wait`]: look for a child with something to report, and sleep until there is one. The search is the
//! table's ([`proctree::Table::find_child`]): in child-list order, at a cost that does not depend on how many children just live.
//! A waiter that finds nothing takes its place in the process's `child_wait` queue before it lets go of the table, and whoever
//! makes a child reportable does so under the table's lock and wakes the queue after: no wake-up is lost (rule 4.33).

use ostd::{sync::SpinLockGuard, user::mem};
use proctree::{Body, Class, Found, NsId, Origin, PidId, ProcId, WaitFor, Who};

use super::{
    ExitRecord, Process, Thread, Usage, pid,
    signal::{CLD_CONTINUED, CLD_STOPPED, SIGCONT, SigInfo},
    tree::{self, Effects, Table},
    usage,
    wait_event::{self, Looked},
};
use crate::prelude::*;

pub const WNOHANG: u32 = 1;
pub const WUNTRACED: u32 = 2;
pub const WSTOPPED: u32 = WUNTRACED;
pub const WEXITED: u32 = 4;
pub const WCONTINUED: u32 = 8;
pub const WNOWAIT: u32 = 0x0100_0000;
/// Not of Linux, which refuses it: only children that the caller's process made (docs/reaper.md).
pub const __WOWN: u32 = 0x0400_0000;
/// Not of Linux, which refuses it: only children that the caller's process adopted.
pub const __WADOPTED: u32 = 0x0800_0000;
pub const __WNOTHREAD: u32 = 0x2000_0000;
pub const __WALL: u32 = 0x4000_0000;
pub const __WCLONE: u32 = 0x8000_0000;

/// What a wait came back with.
pub struct Report {
    /// The child's number in the caller's namespace (rule 4.34).
    pub pid: u32,
    pub uid: u32,
    /// The raw wait status (rule 3.1).
    pub status: i32,
    used: Used,
}

/// What the child and its waited-for descendants used: in the record of a dead one.
enum Used {
    Dead(Box<ExitRecord>),
    Live(Box<Usage>),
}

impl Report {
    /// What the child and its waited-for descendants used.
    pub fn usage(&self) -> &Usage {
        match &self.used {
            Used::Dead(record) => &record.usage,
            Used::Live(usage) => usage,
        }
    }

    /// `si_code` and `si_status` of waitid(2).
    pub fn child_code(&self) -> (i32, i32) {
        match self.status {
            CONTINUED => (CLD_CONTINUED, SIGCONT as i32),
            status if status & 0xff == 0x7f => (CLD_STOPPED, status >> 8 & 0xff),
            status => SigInfo::child_code(status),
        }
    }
}

const CONTINUED: i32 = 0xffff;

/// Which children, before numbers are resolved.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    Any,
    Pid(u32),
    OwnPgrp,
    Pgrp(u32),
    /// By a pidfd: the number may be another process's by now.
    Exact(PidId),
}

/// Waits for a child of `thread`'s process. `Ok(None)`: nothing to report yet, and `WNOHANG` is set.
///
/// # Errors
/// `ECHILD` if there is no such child; `ERESTARTSYS` if a signal came first.
pub fn wait(thread: &Thread, target: Target, options: u32) -> Result<Option<Report>> {
    let process = &thread.process;
    let who = resolve(process, target)?;
    let what = WaitFor {
        who,
        exited: options & WEXITED != 0,
        stopped: options & WSTOPPED != 0,
        continued: options & WCONTINUED != 0,
        class: match options {
            _ if options & __WALL != 0 => Class::All,
            _ if options & __WCLONE != 0 => Class::Clone,
            _ => Class::Normal,
        },
        origin: match options {
            _ if options & __WOWN != 0 => Origin::Own,
            _ if options & __WADOPTED != 0 => Origin::Adopted,
            _ => Origin::Any,
        },
        own_only: options & __WNOTHREAD != 0,
    };
    let keep = options & WNOWAIT != 0;
    let no_hang = options & WNOHANG != 0;
    wait_event::wait_registered(|place| {
        let table = tree::lock();
        let mut found = table.find_child(thread.id(), &what);
        if found == Found::NoChild && place.is_some() && has_nothing_new(&table, thread, &what) {
            found = Found::Nothing;
        }
        match found {
            Found::Nothing if !no_hang => {
                Looked::Nothing(place.unwrap_or_else(|| process.child_wait.enqueue()))
            }
            found => Looked::Found(take(table, thread, found, keep)),
        }
    })?
}

/// Whether the one child that a sleeper waits for has done nothing that would wake it on Linux, where others do not: execve may
/// have made it a child that the wait is not for (rule 4.8), but the waiter learns of that with its next event only.
#[cold]
fn has_nothing_new(table: &Table, thread: &Thread, what: &WaitFor) -> bool {
    let anything = WaitFor { class: Class::All, exited: true, stopped: true, continued: true, ..*what };
    matches!(what.who, Who::Process(_)) && table.find_child(thread.id(), &anything) == Found::Nothing
}

/// Numbers are looked up once, at the call (rule 4.2). One that nobody has is nobody's child.
fn resolve(process: &Process, target: Target) -> Result<Who> {
    let lookup = |nr| pid::lookup(process.ns(), nr).ok_or(ECHILD);
    Ok(match target {
        Target::Any => Who::Any,
        Target::Pid(nr) => {
            let pid = lookup(nr)?;
            Who::Process(tree::lock().pid_process(pid).ok_or(ECHILD)?)
        }
        Target::Exact(pid) => Who::Process(tree::lock().pid_process(pid).ok_or(ECHILD)?),
        Target::OwnPgrp => Who::Pgrp(tree::pgrp_of(process).ok_or(ECHILD)?),
        Target::Pgrp(nr) => Who::Pgrp(lookup(nr)?),
    })
}

/// Reports what was found, and consumes the report (a zombie is reaped) unless `keep`.
fn take(
    mut table: SpinLockGuard<Table>,
    thread: &Thread,
    found: Found,
    keep: bool,
) -> Result<Option<Report>> {
    match found {
        Found::NoChild => Err(ECHILD),
        Found::Nothing => Ok(None),
        Found::Zombie(child) if keep => Ok(report_zombie(&table, child, thread.process.ns())),
        Found::Zombie(child) => {
            let mut effects = Effects::new();
            let reaped = table.reap(child, &mut effects);
            if let Some(reaped) = &reaped {
                reaped.record.tell_pidfds();
            }
            drop(table);
            Ok(reaped.map(|reaped| account(&thread.process, reaped.pid, reaped.record)))
        }
        Found::Stopped(child, signo) => {
            let report = report_live(&table, child, thread.process.ns(), (signo as i32) << 8 | 0x7f);
            if !keep {
                table.take_report(child);
            }
            Ok(report)
        }
        Found::Continued(child) => {
            let report = report_live(&table, child, thread.process.ns(), CONTINUED);
            if !keep {
                table.take_report(child);
            }
            Ok(report)
        }
    }
}

/// The reaped child's usage becomes its parent's (rules 4.20, 4.21), and its charges end.
fn account(process: &Process, nr: u32, record: Box<ExitRecord>) -> Report {
    process.waited_children.lock().add(&record.usage);
    record.release();
    Report { pid: nr, uid: record.creds.uid, status: record.status, used: Used::Dead(record) }
}

fn report_zombie(table: &Table, child: ProcId, ns: NsId) -> Option<Report> {
    match table.body(child)? {
        Body::Zombie(record) => Some(Report {
            pid: table.process_nr(child, ns),
            uid: record.creds.uid,
            status: record.status,
            used: Used::Live(Box::new(record.usage)),
        }),
        Body::Live(_) => None,
    }
}

fn report_live(table: &Table, child: ProcId, ns: NsId, status: i32) -> Option<Report> {
    match table.body(child)? {
        Body::Live(process) => Some(Report {
            pid: table.process_nr(child, ns),
            uid: process.creds().uid,
            status,
            used: Used::Live(Box::new(usage::of_process(process))),
        }),
        // Only a zombie leader's group could be both; the table reports its death first.
        Body::Zombie(_) => None,
    }
}

/// Writes what wait4(2) returns beside the pid. A fault loses the event: the child is reaped (rule 4.18).
pub fn write_wait4(report: &Report, status: usize, rusage: usize) -> Result<()> {
    if status != 0 {
        mem::write(status, &report.status)?;
    }
    if rusage != 0 {
        mem::write(rusage, &report.usage().to_abi())?;
    }
    Ok(())
}
