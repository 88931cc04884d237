//! Descriptors in messages (SCM_RIGHTS): open files on their way from one process to another.
//!
//! An [`InFlight`] owns them. It counts them against the user who sent them, and tells [`gc`] of those that are sockets;
//! both end when it lands or is dropped.

use core::sync::atomic::Ordering::Relaxed;

use super::{Core, gc};
use crate::{
    fs::{File, caller},
    prelude::*,
    process::{Cap, Thread, credentials::User},
};

/// See the [module's description](self).
pub struct InFlight {
    files: Vec<Arc<File>>,
    user: Arc<User>,
}

impl InFlight {
    /// Begins the way to `to`. ETOOMANYREFS if the user has more descriptors in flight than a process may have open (RLIMIT_NOFILE), but for
    /// CAP_SYS_RESOURCE and CAP_SYS_ADMIN.
    pub(super) fn take_off(files: Vec<Arc<File>>, to: &Core) -> Result<InFlight> {
        // A kernel task has no user of its own.
        let user = Thread::try_current().map_or_else(|| User::find(0), |thread| thread.creds().user.clone());
        let privileged = || caller::is_capable(Cap::SysResource) || caller::is_capable(Cap::SysAdmin);
        if user.in_flight.load(Relaxed) > caller::max_fds() && !privileged() {
            return Err(ETOOMANYREFS);
        }
        user.in_flight.fetch_add(files.len(), Relaxed);
        gc::take_off(&files, to);
        Ok(InFlight { files, user })
    }

    /// More references to the files, which stay in flight.
    pub fn files(&self) -> Vec<Arc<File>> {
        self.files.clone()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<File>> {
        self.files.iter()
    }

    /// They have arrived.
    pub fn land(mut self) -> Vec<Arc<File>> {
        self.end()
    }

    fn end(&mut self) -> Vec<Arc<File>> {
        let files = core::mem::take(&mut self.files);
        if !files.is_empty() {
            self.user.in_flight.fetch_sub(files.len(), Relaxed);
            gc::land(&files);
        }
        files
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let files = self.end();
        gc::close(files);
    }
}
