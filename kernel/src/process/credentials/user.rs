//! What is counted per real uid: processes (RLIMIT_NPROC), queued signals (RLIMIT_SIGPENDING), files watched by epoll and
//! inotify, descriptors in messages.
//!
//! Every set of credentials holds the [`User`] of its real uid. A user lives as long as any credentials
//! name it; the table below only finds it again, so it holds weak references.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ostd::sync::SpinLock;

use crate::{lock_order, prelude::*, process::Thread};

pub struct User {
    pub uid: u32,
    /// Threads and unreaped zombies (rules 6.13, 3.11).
    processes: AtomicUsize,
    /// Signals queued on behalf of this user (rule 7.8).
    pub sigpending: AtomicUsize,
    /// Files that this user's epolls watch.
    pub epoll_watches: AtomicUsize,
    pub inotify_instances: AtomicUsize,
    pub inotify_watches: AtomicUsize,
    /// Descriptors in messages that this user sent and nobody has received.
    pub in_flight: AtomicUsize,
    /// Pages that this user's pipes may fill.
    pub pipe_pages: AtomicUsize,
}

static USERS: SpinLock<BTreeMap<u32, Weak<User>>> = SpinLock::new(lock_order::PROCESS_MISC, BTreeMap::new());

impl User {
    /// The user of `uid`, made if nobody has it yet.
    pub fn find(uid: u32) -> Arc<User> {
        let mut users = USERS.lock();
        if let Some(user) = users.get(&uid).and_then(Weak::upgrade) {
            return user;
        }
        let zero = || AtomicUsize::new(0);
        let user = Arc::new(User {
            uid,
            processes: zero(),
            sigpending: zero(),
            epoll_watches: zero(),
            inotify_instances: zero(),
            inotify_watches: zero(),
            in_flight: zero(),
            pipe_pages: zero(),
        });
        users.insert(uid, Arc::downgrade(&user));
        user
    }

    pub fn processes(&self) -> usize {
        self.processes.load(Relaxed)
    }

    /// Counts one more thread, and returns how many there were before (13.16).
    pub fn add_process(&self) -> usize {
        self.processes.fetch_add(1, Relaxed)
    }

    pub fn remove_process(&self) {
        self.processes.fetch_sub(1, Relaxed);
    }
}

/// One more of something in its user's count, for as long as this lives.
pub struct Charge {
    user: Arc<User>,
    counter: fn(&User) -> &AtomicUsize,
}

impl Charge {
    /// Counts one more for the caller; `None` when there are `limit` already.
    pub fn new(counter: fn(&User) -> &AtomicUsize, limit: usize) -> Option<Charge> {
        // A kernel task has no user of its own.
        let user = Thread::try_current().map_or_else(|| User::find(0), |thread| thread.creds().user.clone());
        let count = counter(&user).fetch_add(1, Relaxed);
        let charge = Charge { user, counter };
        (count < limit).then_some(charge)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        (self.counter)(&self.user).fetch_sub(1, Relaxed);
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut users = USERS.lock();
        // A new user of the same uid may have taken the place already.
        if users.get(&self.uid).is_some_and(|user| user.strong_count() == 0) {
            users.remove(&self.uid);
        }
    }
}
