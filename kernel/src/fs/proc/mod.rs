//! procfs: the kernel's view of processes and of itself as files (proc(5), spec section 12).
//!
//! | file | what it tells |
//! |---|---|
//! | [`node`] | the inodes: fixed directories and files made when they are read |
//! | [`task`] | finding the process or thread behind a number, dead or alive |
//! | [`pid`], [`ns`] | the directories of processes and threads, and their links |
//! | [`stat`], [`status`], [`memory`] | what stands in the files of a process |
//! | [`mem`] | its memory itself, and its page tables |
//! | [`global`], [`cpuinfo`], [`sys`], [`mounts`] | the files about the system |
//!
//! Nothing is stored: an inode says what it is about, and a file's text is made when it is read from the start. Names come
//! and go with processes, so the dentry cache holds nothing alive here, and asks ([`Inode::revalidate`]) whether a name it
//! finds still means what it did.
//!
//! [`Inode::revalidate`]: super::inode::Inode::revalidate

use super::{
    inode::DevId,
    mount::{SuperBlock, anonymous_dev},
};
use crate::{
    prelude::*,
    process::{Thread, namespace::PidNs},
};

mod cpuinfo;
mod files;
mod global;
mod mem;
mod memory;
mod mounts;
mod node;
mod ns;
mod pid;
mod reaper;
mod stat;
mod status;
mod sys;
mod task;

pub use node::process_of;

const PROC_MAGIC: u64 = 0x9fa0;

/// What a procfs has for all its inodes.
pub struct ProcFs {
    dev: DevId,
    /// The pid namespace that it shows: that of whoever mounted it (rule 9.11).
    ns: PidNs,
}

/// A procfs for mount(2). EINVAL for options that it does not know.
pub fn new(options: &[u8]) -> Result<Arc<SuperBlock>> {
    for option in options.split(|&b| b == b',').filter(|o| !o.is_empty()) {
        if !matches!(option, b"hidepid=0" | b"hidepid=off" | b"rw" | b"ro") {
            return Err(EINVAL);
        }
    }
    let ns = Thread::try_current().map_or(PidNs::INITIAL, |thread| thread.process.pid_ns().clone());
    let fs = Arc::new(ProcFs { dev: anonymous_dev(), ns });
    Ok(SuperBlock::new("proc", pid::root(&fs), true))
}
