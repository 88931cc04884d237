//! Advisory locks of whole files, flock(2).
//!
//! An inode that was ever locked has a [`Flocks`]; a lock belongs to an open file and goes with its last reference.
//! Locks are few, so they stand in a plain list under a spin lock.

use ostd::sync::{SpinLock, WaitQueue};

use super::file::File;
use crate::{lock_order, prelude::*, process::wait_event::wait_interruptible};

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlockKind {
    Shared,
    Exclusive,
}

/// The locks of one inode: each an open file (by address) and its kind.
pub struct Flocks {
    held: SpinLock<Vec<(usize, FlockKind)>>,
    released: WaitQueue,
}

impl Default for Flocks {
    fn default() -> Self {
        Flocks { held: SpinLock::new(lock_order::FLOCK, Vec::new()), released: WaitQueue::new() }
    }
}

impl Flocks {
    /// Takes or converts the lock of `file`. EWOULDBLOCK if another file's lock is in the way and `wait` is false.
    pub fn acquire(&self, file: &File, kind: FlockKind, wait: bool) -> Result<()> {
        if self.try_acquire(file, kind) {
            return Ok(());
        }
        if !wait {
            return Err(EAGAIN);
        }
        wait_interruptible(&self.released, || self.try_acquire(file, kind).then_some(()))
    }

    fn try_acquire(&self, file: &File, kind: FlockKind) -> bool {
        let key = core::ptr::from_ref(file) as usize;
        let mut held = self.held.lock();
        let free = held
            .iter()
            .all(|&(owner, other)| owner == key || (kind == FlockKind::Shared && other == FlockKind::Shared));
        // A conversion gives the old lock up even if the new one has to be waited for, as in Linux.
        held.retain(|&(owner, _)| owner != key);
        if free {
            held.push((key, kind));
        }
        free
    }

    /// Gives up the lock of `file`, if it has one.
    pub fn release_file(&self, file: &File) {
        let key = core::ptr::from_ref(file) as usize;
        self.held.lock().retain(|&(owner, _)| owner != key);
        self.released.wake_all();
    }
}
