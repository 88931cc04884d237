//! What a process, a thread and a pid cost in the table (`cargo test -p proctree sizes -- --nocapture`).

use crate::{
    kernel::{ChildPolicy, Kernel, ProcessPayload},
    node::{Process, Thread},
    pid::Pid,
};
use core::mem::size_of;
use std::{println, sync::Arc};

struct Sized;

impl ProcessPayload for () {
    fn is_child_subreaper(&self) -> bool {
        false
    }
    fn set_child_subreaper(&self, _: bool) {}
    fn has_child_subreaper(&self) -> bool {
        false
    }
    fn set_has_child_subreaper(&self) {}
    fn set_ppid(&self, _: u32) {}
    fn child_policy(&self) -> ChildPolicy {
        ChildPolicy::Wait
    }
}

impl Kernel for Sized {
    type Process = Arc<()>;
    type Thread = Arc<()>;
    type Record = Arc<()>;
}

#[test]
fn sizes_of_nodes_stay_small() {
    // With a payload of one word; a slot adds its generation and free link.
    let (process, thread, pid) = (size_of::<Process<Sized>>(), size_of::<Thread<Sized>>(), size_of::<Pid>());
    println!(
        "process {process} bytes, thread {thread} bytes, pid {pid} bytes; a zombie is a process and a pid"
    );
    assert!(process <= 128);
    assert!(thread <= 72);
    assert!(pid <= 64);
}
