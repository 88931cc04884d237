//! A pid namespace: its place in the tree of namespaces, and how long it lives.
//!
//! The numbers themselves, who has them and who is init, are the process table's ([`proctree`]); here is what the rest of the
//! kernel holds in its hands.
//!
//! # Lifetime (rule 9.15)
//! Two things keep a namespace in the table: numbers in use (members, zombies, process groups), which the table counts, and
//! references from elsewhere: [`PidNs`]. When the last reference goes, the table is told, and removes the namespace now or
//! with its last number. The last reference may go anywhere, in an interrupt handler too, where the table can't be locked:
//! so a worker tells it ([`deferred`](crate::time::deferred)). A namespace holds the one above it.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proctree::{NsId, NumberSpace};

use crate::{
    prelude::*,
    process::tree::{self, Effects},
    time::deferred::{self, Repeated},
};

/// Inode numbers of namespaces in nsfs: the initial ones have fixed numbers below this, as on Linux.
const FIRST_DYNAMIC_INO: u32 = 0xf000_0000;

/// Numbers that a new namespace has room for without another allocation.
const FIRST_ROOM: u32 = 1024;

/// A reference to a pid namespace: nothing for the initial one.
#[derive(Clone, Default)]
pub struct PidNs(Option<Arc<Held>>);

/// What all references share. The last to go tells the table.
struct Held(Arc<PidNamespace>);

impl Drop for Held {
    fn drop(&mut self) {
        deferred::queue(self.0.clone());
    }
}

struct PidNamespace {
    id: NsId,
    parent: PidNs,
    /// 1 or more: the initial namespace has level 0.
    level: u32,
    ino: u32,
    /// The signal by which its init is to seem to have died, 0 for none (reboot(2), rule 9.12).
    reboot: AtomicU32,
}

impl Repeated for PidNamespace {
    fn run(self: Arc<Self>) {
        let mut effects = Effects::new();
        tree::lock().release_namespace(self.id, &mut effects);
    }
}

impl PidNs {
    pub const INITIAL: PidNs = PidNs(None);

    /// A namespace without processes below `parent`. The first one that gets into it is its init.
    ///
    /// # Errors
    /// `ENOSPC`: nested too deeply (rule 9.5). `ENOMEM`.
    pub fn new_below(parent: &PidNs) -> Result<PidNs> {
        static NEXT_INO: AtomicU32 = AtomicU32::new(FIRST_DYNAMIC_INO);
        let numbers = NumberSpace::try_with_room(tree::PID_MAX_LIMIT, FIRST_ROOM)?;
        let mut table = tree::lock_with_room()?;
        let added = table.add_namespace(parent.id(), numbers);
        drop(table);
        // What was refused is dropped here, with the table unlocked.
        let id = added.map_err(|refused| refused.error)?;
        let ns = PidNamespace {
            id,
            parent: parent.clone(),
            level: parent.level() + 1,
            ino: NEXT_INO.fetch_add(1, Relaxed),
            reboot: AtomicU32::new(0),
        };
        Ok(PidNs(Some(Arc::new(Held(Arc::new(ns))))))
    }

    fn get(&self) -> Option<&PidNamespace> {
        self.0.as_ref().map(|held| &*held.0)
    }

    pub fn is_initial(&self) -> bool {
        self.0.is_none()
    }

    /// Its node in the process table.
    pub fn id(&self) -> NsId {
        self.get().map_or_else(tree::root_ns, |ns| ns.id)
    }

    /// How many namespaces are above it.
    pub fn level(&self) -> u32 {
        self.get().map_or(0, |ns| ns.level)
    }

    /// The namespace right above; `None` for the initial one.
    pub fn parent(&self) -> Option<&PidNs> {
        self.get().map(|ns| &ns.parent)
    }

    /// Itself, then those above it.
    pub fn upwards(&self) -> impl Iterator<Item = &PidNs> {
        core::iter::successors(Some(self), |ns| ns.parent())
    }

    /// Whether it is `other` or lies below it.
    pub fn is_within(&self, other: &PidNs) -> bool {
        self.upwards().any(|ns| ns.id() == other.id())
    }

    /// The number of its inode in nsfs; `None` for the initial one.
    pub fn ino(&self) -> Option<u32> {
        self.get().map(|ns| ns.ino)
    }

    /// Its init shall seem to have died of `signal`.
    pub fn set_reboot(&self, signal: u32) {
        if let Some(ns) = self.get() {
            ns.reboot.store(signal, Relaxed);
        }
    }

    /// What [`set_reboot`](Self::set_reboot) said last.
    pub fn reboot(&self) -> Option<u32> {
        match self.get().map_or(0, |ns| ns.reboot.load(Relaxed)) {
            0 => None,
            signal => Some(signal),
        }
    }
}
