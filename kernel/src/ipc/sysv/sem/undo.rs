//! SEM_UNDO: what the end of a process takes back of its operations (rules 3.9, 3.10, 6.18, 10.10).
//!
//! A thread that asks for it gets a *list of undos*, which the threads that it makes with CLONE_SYSVSEM share; a fork's child
//! starts without, and execve keeps it. What is to be undone stands in each set, by the list's number. The last thread of a
//! list to exit, or to leave it by unshare(CLONE_SYSVSEM), has it carried out.
//!
//! Threads that have none, as good as all, have a flag that says so.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use ostd::sync::SpinLock;

use super::{MAX_VALUE, REGISTRY, Registry};
use crate::{
    ipc::sysv::{LastPid, check_room, now_seconds},
    lock_order,
    prelude::*,
    process::Thread,
};

struct UndoList {
    number: u64,
    /// How many threads share it. Changed with `ThreadUndo::list` of one of them locked, or before a thread runs.
    sharers: AtomicUsize,
}

impl UndoList {
    fn new() -> Arc<UndoList> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(UndoList { number: NEXT.fetch_add(1, Relaxed), sharers: AtomicUsize::new(1) })
    }
}

/// A thread's list, if it has one. Used by the thread itself, and by its creator before it runs.
pub struct ThreadUndo {
    has: AtomicBool,
    list: SpinLock<Option<Arc<UndoList>>>,
}

impl ThreadUndo {
    pub fn new() -> ThreadUndo {
        ThreadUndo { has: AtomicBool::new(false), list: SpinLock::new(lock_order::PROCESS_MISC, None) }
    }

    fn get(&self) -> Arc<UndoList> {
        let mut list = self.list.lock();
        self.has.store(true, Relaxed);
        list.get_or_insert_with(UndoList::new).clone()
    }

    /// The number of the list, if there is one: other lists have others.
    pub fn id(&self) -> Option<usize> {
        self.list.lock().as_ref().map(|list| list.number as usize)
    }

    /// CLONE_SYSVSEM: `child`, which does not run yet, shares this list.
    pub fn share_with(&self, child: &ThreadUndo) {
        let list = self.get();
        list.sharers.fetch_add(1, Relaxed);
        *child.list.lock() = Some(list);
        child.has.store(true, Relaxed);
    }
}

/// The number of the calling thread's list.
pub(super) fn list_of(thread: &Thread) -> u64 {
    thread.sem_undo.get().number
}

/// The calling thread exits, or no longer shares its list.
#[inline]
pub fn release(thread: &Thread) {
    if thread.sem_undo.has.load(Relaxed) {
        leave(thread);
    }
}

#[cold]
fn leave(thread: &Thread) {
    let undo = &thread.sem_undo;
    undo.has.store(false, Relaxed);
    let Some(list) = undo.list.lock().take() else {
        return;
    };
    if list.sharers.fetch_sub(1, Relaxed) == 1 {
        carry_out(thread, list.number);
    }
}

/// Undoes all that stands in the list `number`, which nobody has any more.
fn carry_out(thread: &Thread, number: u64) {
    let last = LastPid::of(&thread.process);
    let mut registry = REGISTRY.lock();
    let Some(sets) = registry.lists.remove(&number) else {
        return;
    };
    for id in sets {
        let Some(set) = registry.ids.get_mut(id) else { continue };
        let Some(undo) = set.undos.remove(&number) else { continue };
        for (sem, &adjust) in set.sems.iter_mut().zip(&undo).filter(|(_, adjust)| **adjust != 0) {
            // Nobody waits for a semaphore on its way out: what can't be taken off is forgotten.
            sem.value = (sem.value + i32::from(adjust)).clamp(0, MAX_VALUE);
            sem.last = Some(last);
        }
        set.operated = now_seconds();
        set.wake();
    }
}

impl Registry {
    /// Makes room for the undos of `list` in the set `id`, which exists.
    pub(super) fn prepare_undo(&mut self, list: u64, id: i32) -> Result<()> {
        let set = self.ids.get_mut(id).ok_or(EINVAL)?;
        if set.undos.contains_key(&list) {
            return Ok(());
        }
        let count = set.sems.len();
        check_room(count * size_of::<i16>())?;
        let mut adjust: Vec<i16> = Vec::new();
        adjust.try_reserve_exact(count).map_err(|_| ENOMEM)?;
        adjust.resize(count, 0);
        set.undos.insert(list, adjust.into_boxed_slice());
        self.lists.entry(list).or_default().push(id);
        Ok(())
    }

    /// The set `id` is gone, and with it what `list` had to undo there.
    pub(super) fn forget(&mut self, list: u64, id: i32) {
        if let Some(sets) = self.lists.get_mut(&list) {
            sets.retain(|&set| set != id);
            if sets.is_empty() {
                self.lists.remove(&list);
            }
        }
    }
}
