#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
//! The process table: who is whose child, who adopts an orphan, who is told of a death, who reaps it.
//!
//! A [`Table`] owns every link of the process tree, by index: parents and children, threads, process groups,
//! sessions, pids and pid namespaces. It is a value without a lock; the kernel keeps it behind *one* lock,
//! and the borrow checker proves that no link is touched without it. The crate knows no hardware and runs its
//! tests on the host:
//!
//! ```text
//! cargo test -p proctree                       all of the below, a few seconds
//! cargo test -p proctree --test all            one example per rule; random operations against a naive model
//!     PROPTEST_CASES=100000 ...                    a long run of the latter
//! cargo test -p proctree --test races          a concurrency model, under many schedules (shuttle)
//!     RACES=20000 ...                              a long run
//! ```
//!
//! # Where is what
//!
//! | file | |
//! |---|---|
//! | `exit` | **what happens when a process dies**: start here |
//! | `reparent` | who adopts the orphans, and what they go through |
//! | `subreaper` | PR_SET_CHILD_SUBREAPER |
//! | `reaper` | what a reaper can ask and do beyond Linux |
//! | `birth` | fork, threads, exec |
//! | `wait`, `events` | which child a wait gets, and the tree that finds it |
//! | `stop` | group stops and their reports |
//! | `pgrp` | process groups, sessions, orphaned groups |
//! | `pid`, `ns` | numbers, who keeps them allocated, namespaces |
//! | `kernel` | what the kernel provides: payloads, and a sink for effects |
//! | `node`, `arena`, `table` | the data structures |
//! | `walk`, `check` | iteration, and the invariants as code |
//!
//! # Rules
//!
//! - An operation is one method, so it is atomic (rule 0.5), and it checks everything before it changes
//!   anything.
//! - Effects go to a [`Sink`] during the operation, in the order of the spec. Nothing is allocated, except in
//!   `try_new` and (the spine of an arena) [`Table::supply`]; what is to be freed is given back to the
//!   caller.
//! - No recursion, and no loop over more than the operation changes, but for the walk up to a subreaper and
//!   over the members of a process group with stopped members that loses a link.
//! - Ids from outside may be stale; links inside never are.
//!
//! Rule numbers are those of `spec/lifecycle.md`.

extern crate alloc;
#[cfg(test)]
extern crate std;

mod arena;
mod birth;
mod check;
mod events;
mod exit;
mod kernel;
mod node;
mod ns;
mod pgrp;
mod pid;
mod reaper;
mod reparent;
#[cfg(test)]
mod sizes;
mod stop;
mod subreaper;
mod table;
mod wait;
mod walk;

pub use arena::{Id, NoMemory, NsId, PidId, ProcId, ThreadId, marker};
pub use birth::NewProcess;
pub use exit::{Exited, Fate};
pub use kernel::{
    Body, Child, ChildChange, ChildPolicy, Dying, Effect, Error, Ids, Kernel, Parent, ProcessPayload, Reaped,
    Sink,
};
pub use node::{SIGCHLD, SIGCONT, SIGHUP};
pub use ns::KeptPid;
pub use pgrp::NewPgrp;
pub use pid::{NumberSpace, Numbers};
pub use reaper::{Autoreap, Descendant, ReaperStatus};
pub use table::{Refused, Supply, Table};
pub use wait::{Class, Found, Origin, WaitFor, Who};
