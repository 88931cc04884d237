#![no_std]
#![forbid(unsafe_code)]
//! The process table: who is whose child, who adopts an orphan, who is told of a death, who reaps it.

extern crate alloc;

mod arena;
mod kernel;
mod node;
mod pid;
mod table;

pub use arena::{Id, NoMemory, NsId, PidId, ProcId, ThreadId, marker};
pub use kernel::{
    Body, Child, ChildChange, ChildPolicy, Dying, Effect, Error, Ids, Kernel, Parent,
    ProcessPayload, Reaped, Sink,
};
pub use node::{SIGCHLD, SIGCONT, SIGHUP};
pub use pid::{NumberSpace, Numbers};
pub use table::*;
