//! Processes: the tree of who is whose child, and the life of each from clone to wait.
//!
//! | file | what it tells |
//! |---|---|
//! | [`exit`] | what happens when a process dies, top to bottom |
//! | [`clone`](mod@clone) | how one comes to be |
//! | [`wait`] | how a parent takes leave of it |
//! | [`tree`] | the process table, its lock, and what its decisions do |
//! | [`process`], [`thread`] | what a group shares, what each thread has of its own |
//! | [`record`] | what stays of a zombie |
//! | [`reaper`] | reaper control, beyond Linux |
//! | [`pid`] | from numbers to threads without the table's lock |
//! | [`pidfd`] | descriptors that refer to a process |
//! | [`group`] | process groups and sessions |
//! | [`namespace`] | pid namespaces |
//! | [`signal`] | signals |
//! | [`credentials`], [`rlimit`], [`usage`], [`prctl`] | who it is, what it may use, what it has used, what it may tune |
//! | [`replace`] | execve's view of the above; the loader is in [`exec`] |
//! | [`user_loop`] | how a thread goes in and out of user mode |
//! | [`rseq`] | restartable sequences |
//! | [`oom`] | who dies when memory runs out |
//! | [`init`] | PID 1 |
//!
//! The rules are those of the specification of the process lifecycle; comments give their numbers.
//!
//! # Locks
//! The process table (rank `TABLE`) guards the tree: parents, children, groups, sessions, exit states. What must be read
//! often is mirrored in atomics that only the table writes: getppid, PR_GET_CHILD_SUBREAPER and kill(pid, 0) don't take it.

pub mod clone;
pub mod coredump;
pub mod credentials;
pub mod exec;
pub mod exit;
pub mod group;
pub mod init;
pub mod io_context;
pub mod namespace;
pub mod oom;
pub mod pid;
pub mod pidfd;
pub mod prctl;
mod prctl_mm;
#[expect(clippy::module_inception, reason = "the process subsystem has a file about the process")]
pub mod process;
pub mod reaper;
pub mod record;
pub mod replace;
pub mod rlimit;
pub mod rseq;
pub mod seccomp;
pub mod signal;
pub mod thread;
pub mod tree;
pub mod usage;
pub mod user_dispatch;
pub mod user_loop;
pub mod wait;
pub mod wait_event;

#[cfg(feature = "ktest")]
pub mod check;
#[cfg(feature = "ktest")]
mod tests;

pub use credentials::{Cap, Credentials};
pub use process::Process;
pub use record::{ExitRecord, Remains};
pub use rlimit::Rlimits;
pub use thread::Thread;
pub use usage::Usage;
