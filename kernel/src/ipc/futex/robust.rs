//! What a dying thread owes to others: the mutexes it holds, and the word that its joiner waits for (rules 3.16, 3.17).

use ostd::user::mem;

use super::{Key, MATCH_ANY, wake_key};
use crate::{mm::Vm, prelude::*};

const WAITERS: u32 = 1 << 31;
const OWNER_DIED: u32 = 1 << 30;
const TID_MASK: u32 = OWNER_DIED - 1;

/// Most entries of a robust list that are looked at: a circular list must end somewhere.
const MAX_ENTRIES: usize = 2048;

/// Marks the futexes that the calling thread dies with, and wakes a waiter of each. `head` is what it gave to
/// set_robust_list(2), not 0; it must still run in `vm`. Faults end the walk, silently.
pub fn exit_robust_list(vm: &Vm, head: Vaddr, tid: u32) {
    let Ok([first, offset, pending]) = mem::read::<[usize; 3]>(head) else { return };
    // Bit 0 of a link says that the futex is a priority-inheriting one; those have no waiters here.
    let pending_entry = pending & !1;
    let mut link = first;
    for _ in 0..MAX_ENTRIES {
        let entry = link & !1;
        if entry == head {
            break;
        }
        // The next link is read first: the mark hands the memory over to somebody else.
        let next = mem::read::<usize>(entry);
        if entry != pending_entry
            && mark_owner_died(vm, entry.wrapping_add(offset), tid, link & 1 != 0, false).is_err()
        {
            return;
        }
        let Ok(next) = next else { return };
        link = next;
    }
    if pending_entry != 0 {
        let _ = mark_owner_died(vm, pending_entry.wrapping_add(offset), tid, pending & 1 != 0, true);
    }
}

fn mark_owner_died(vm: &Vm, addr: Vaddr, tid: u32, inheriting: bool, pending: bool) -> Result<()> {
    if !addr.is_multiple_of(4) {
        return Err(EINVAL);
    }
    let mut word = mem::atomic_load_u32(addr)?;
    if pending && !inheriting && word == 0 {
        // Died between the unlock and its wake-up.
        wake_one(vm, addr);
        return Ok(());
    }
    while word & TID_MASK == tid {
        let found = mem::atomic_cmpxchg_u32(addr, word, word & WAITERS | OWNER_DIED)?;
        if found == word {
            if !inheriting && word & WAITERS != 0 {
                wake_one(vm, addr);
            }
            break;
        }
        word = found;
    }
    Ok(())
}

/// Stores 0 at a thread's `clear_child_tid` and wakes one waiter: the end of pthread_join(3). The caller has checked that
/// somebody else uses the address space, and still runs in it.
pub fn release_child_tid(vm: &Vm, addr: Vaddr) {
    if mem::write(addr, &0u32).is_ok() {
        wake_one(vm, addr);
    }
}

fn wake_one(vm: &Vm, addr: Vaddr) {
    if let Ok(key) = Key::new(vm, addr, false) {
        wake_key(key, 1, MATCH_ANY);
    }
}
