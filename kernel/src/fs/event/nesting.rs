//! Epolls that watch epolls: no cycles, and no long chains (ELOOP).
//!
//! A wake-up runs up such a chain, and a poll down, both with a lock of each epoll held; so a chain must end. The search
//! looks down from the epoll that is to be watched, and up from the one that is to watch it. An epoll that is reached on
//! several ways is looked at once: its result stands in its [`Mark`] for the time of the search.
//!
//! Locks: [`EPOLL_NESTING`](lock_order::EPOLL_NESTING), from the search until the new connection is made.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use ostd::sync::{Mutex, MutexGuard};

use super::epoll::Epoll;
use crate::{fs::File, lock_order, prelude::*};

/// The most connections on the way from one end of a chain to the other.
const MAX_NESTING: u32 = 4;

/// The number of the last search, under the lock of all searches.
static SEARCH: Mutex<u64> = Mutex::new(lock_order::EPOLL_NESTING, 0);

/// What a search found out about an epoll.
pub struct Mark {
    search: AtomicU64,
    depth: AtomicU32,
}

impl Mark {
    pub const fn new() -> Mark {
        Mark { search: AtomicU64::new(0), depth: AtomicU32::new(0) }
    }

    /// The result of this search, or of `find` if it has none yet.
    fn depth(&self, search: u64, find: impl FnOnce() -> Result<u32>) -> Result<u32> {
        if self.search.load(Relaxed) == search {
            return Ok(self.depth.load(Relaxed));
        }
        let depth = find()?;
        self.search.store(search, Relaxed);
        self.depth.store(depth, Relaxed);
        Ok(depth)
    }
}

/// Checks whether `epoll` (whose open file is `owner`) may watch `target`, and locks out other searches.
///
/// # Errors
/// ELOOP.
pub fn check(owner: &Arc<File>, epoll: &Epoll, target: &Epoll) -> Result<MutexGuard<'static, u64>> {
    let mut search = SEARCH.lock();
    *search += 1;
    let below = depth_below(target, epoll, *search, 0)?;
    *search += 1;
    let above = depth_above(owner, *search, 0)?;
    if below + 1 + above > MAX_NESTING { Err(ELOOP) } else { Ok(search) }
}

/// How many connections there are below `epoll`. ELOOP if `top` is among them.
fn depth_below(epoll: &Epoll, top: &Epoll, search: u64, level: u32) -> Result<u32> {
    if core::ptr::eq(epoll, top) || level > MAX_NESTING {
        return Err(ELOOP);
    }
    epoll.mark.depth(search, || {
        let mut deepest = 0;
        for file in epoll.watched_epolls() {
            if let Some(next) = file.downcast::<Epoll>() {
                deepest = deepest.max(1 + depth_below(next, top, search, level + 1)?);
            }
        }
        Ok(deepest)
    })
}

/// How many connections there are above the epoll behind `file`.
fn depth_above(file: &Arc<File>, search: u64, level: u32) -> Result<u32> {
    let epoll = file.downcast::<Epoll>().ok_or(EINVAL)?;
    if level > MAX_NESTING {
        return Err(ELOOP);
    }
    epoll.mark.depth(search, || {
        let mut highest = 0;
        for watcher in file.watchers.list() {
            if let Some(owner) = watcher.owner() {
                highest = highest.max(1 + depth_above(&owner, search, level + 1)?);
            }
        }
        Ok(highest)
    })
}
