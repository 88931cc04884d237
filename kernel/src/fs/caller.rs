//! What operations on files need of the calling thread: its limits, and signals to it.

use crate::process::{
    Thread, pid,
    rlimit::Resource,
    signal::{self, SIGPIPE, SIGXFSZ, SigInfo},
};

/// RLIMIT_NOFILE of the caller: descriptors must be below.
pub fn max_fds() -> usize {
    Thread::current().process.rlimit(Resource::Nofile) as usize
}

/// RLIMIT_FSIZE of the caller; none in a kernel task.
pub fn max_file_size() -> u64 {
    Thread::try_current().map_or(u64::MAX, |thread| thread.process.rlimit(Resource::Fsize))
}

/// The caller tried to exceed RLIMIT_FSIZE.
pub fn raise_sigxfsz() {
    raise(SigInfo::kernel(SIGXFSZ));
}

/// The caller wrote to a pipe that nobody can read from.
pub fn raise_sigpipe() {
    let thread = Thread::current();
    raise(SigInfo::kill(SIGPIPE, thread.process.pid(), thread.with_creds(|creds| creds.uid)));
}

fn raise(info: SigInfo) {
    let thread = Thread::current();
    if let Some(thread) = pid::thread(thread.process.ns(), thread.tid()) {
        signal::send_thread(&thread, info);
    }
}
