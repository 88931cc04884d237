//! What a process's paths start from: its root, its working directory and its umask.
//!
//! Threads of a process share one (CLONE_FS); fork copies it. Both places change seldom and are read by every path walk,
//! so they stand together under one spin lock ([`FS_CONTEXT`](lock_order::FS_CONTEXT)).

use core::sync::atomic::{
    AtomicU32, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
    fence,
};

use ostd::sync::SpinLock;

use super::path::Path;
use crate::{lock_order, prelude::*};

/// Root, working directory and umask of one or more threads.
pub struct FsContext {
    places: SpinLock<Places>,
    umask: AtomicU32,
    /// How many threads have it, as [`FsHolder`]s.
    users: AtomicUsize,
    /// How many of them are in execve.
    execs: AtomicUsize,
}

/// A thread is in execve, which has looked at who else has its context: nobody joins meanwhile.
pub struct Exec(Arc<FsContext>);

impl Drop for Exec {
    fn drop(&mut self) {
        self.0.execs.fetch_sub(1, Relaxed);
    }
}

/// A thread's hold on its context. References besides those of threads don't count as users.
pub struct FsHolder(Arc<FsContext>);

impl FsHolder {
    pub fn new(fs: Arc<FsContext>) -> FsHolder {
        fs.users.fetch_add(1, Relaxed);
        FsHolder(fs)
    }

    pub fn get(&self) -> &Arc<FsContext> {
        &self.0
    }
}

impl Drop for FsHolder {
    fn drop(&mut self) {
        self.0.users.fetch_sub(1, Relaxed);
    }
}

#[derive(Clone)]
struct Places {
    root: Path,
    cwd: Path,
}

impl FsContext {
    /// A context with root and working directory at `root`, and umask 022.
    pub fn new(root: Path) -> Arc<FsContext> {
        let places = Places { cwd: root.clone(), root };
        Arc::new(FsContext {
            places: SpinLock::new(lock_order::FS_CONTEXT, places),
            umask: AtomicU32::new(0o022),
            users: AtomicUsize::new(0),
            execs: AtomicUsize::new(0),
        })
    }

    /// A copy of its own, for fork and unshare(CLONE_FS).
    pub fn fork(&self) -> Arc<FsContext> {
        let places = self.places.lock().clone();
        Arc::new(FsContext {
            places: SpinLock::new(lock_order::FS_CONTEXT, places),
            umask: AtomicU32::new(self.umask()),
            users: AtomicUsize::new(0),
            execs: AtomicUsize::new(0),
        })
    }

    /// Keeps others from joining, until it is dropped.
    pub fn begin_exec(self: &Arc<Self>) -> Exec {
        // SeqCst, here and in `may_join`: either the joining thread sees this, or exec counts it.
        self.execs.fetch_add(1, SeqCst);
        Exec(self.clone())
    }

    /// Whether a thread that has just been given this context may keep it.
    pub fn may_join(&self) -> bool {
        fence(SeqCst);
        self.execs.load(Relaxed) == 0
    }

    /// How many threads have it.
    pub fn users(&self) -> usize {
        self.users.load(Relaxed)
    }

    pub fn root(&self) -> Path {
        self.places.lock().root.clone()
    }

    pub fn cwd(&self) -> Path {
        self.places.lock().cwd.clone()
    }

    /// Root and working directory at one moment.
    pub fn root_and_cwd(&self) -> (Path, Path) {
        let places = self.places.lock();
        (places.root.clone(), places.cwd.clone())
    }

    pub fn set_root(&self, root: Path) {
        let old = core::mem::replace(&mut self.places.lock().root, root);
        drop(old);
    }

    pub fn set_cwd(&self, cwd: Path) {
        let old = core::mem::replace(&mut self.places.lock().cwd, cwd);
        drop(old);
    }

    pub fn umask(&self) -> u32 {
        self.umask.load(Relaxed)
    }

    /// Sets the umask and returns the old one.
    pub fn set_umask(&self, mask: u32) -> u32 {
        self.umask.swap(mask & 0o777, Relaxed)
    }
}
