//! What operations on files need of the calling thread: its limits, and signals to it.

use crate::{
    prelude::*,
    process::{
        Cap, Thread,
        credentials::User,
        pid,
        rlimit::Resource,
        signal::{self, SIGKILL, SIGPIPE, SIGXFSZ, SigInfo},
    },
};

/// RLIMIT_NOFILE of the caller: descriptors must be below. A kernel task has the usual one.
pub fn max_fds() -> usize {
    Thread::try_current().map_or(1024, |thread| thread.process.rlimit(Resource::Nofile) as usize)
}

/// RLIMIT_FSIZE of the caller; none in a kernel task.
pub fn max_file_size() -> u64 {
    Thread::try_current().map_or(u64::MAX, |thread| thread.process.rlimit(Resource::Fsize))
}

/// Whether a signal waits for the caller, so that what takes long should end.
pub fn signal_pending() -> bool {
    Thread::try_current().is_some_and(|thread| signal::signal_pending(&thread))
}

/// The file-system ids of the caller; a kernel task is root.
pub fn fs_ids() -> (u32, u32) {
    Thread::try_current().map_or((0, 0), |thread| thread.with_creds(|creds| (creds.fsuid, creds.fsgid)))
}

/// The user to whose account the caller's files go; a kernel task's go to root's.
pub fn user() -> Arc<User> {
    Thread::try_current()
        .map_or_else(|| User::find(0), |thread| thread.with_creds(|creds| creds.user.clone()))
}

/// Whether the caller has a capability; a kernel task has all.
pub fn is_capable(cap: Cap) -> bool {
    Thread::try_current().is_none_or(|thread| thread.with_creds(|creds| creds.capable(cap)))
}

/// The caller tried to exceed RLIMIT_FSIZE.
pub fn raise_sigxfsz() {
    raise(SigInfo::kernel(SIGXFSZ));
}

/// The caller wrote to a pipe that nobody can read from.
pub fn raise_sigpipe() {
    if let Some(thread) = Thread::try_current() {
        raise(SigInfo::kill(SIGPIPE, thread.process.pid(), thread.with_creds(|creds| creds.uid)));
    }
}

/// Kills the caller's thread group, for a failure that can't be reported any more.
pub fn kill() {
    raise(SigInfo::kernel(SIGKILL));
}

fn raise(info: SigInfo) {
    let Some(thread) = Thread::try_current() else { return };
    if let Some(thread) = pid::thread(thread.process.ns(), thread.tid()) {
        signal::send_thread(&thread, info);
    }
}
