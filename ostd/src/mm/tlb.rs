//! Keeping TLBs right: which flushes a change of page tables needs, and on which CPUs.
//!
//! A CPU that has an address space loaded is in its `active` set: it enters the set before it loads the tables.
//! Whoever removes something from the tables reads the set afterwards, with a fence between; so either it sees the
//! CPU and tells it, or the CPU walks the tables after the change.
//!
//! ```text
//!   changer                          CPU that switches to the space
//!   write entry                      active.add(cpu)      (SeqCst)
//!   fence(SeqCst)                    load CR3             (serialising)
//!   active.load()                    walk the tables
//! ```

use super::Vaddr;
use crate::arch::x86::paging;
use crate::cpu::{self, AtomicCpuSet, CpuSet};
use core::mem::MaybeUninit;
use core::sync::atomic::{Ordering, fence};

/// With more pages than this, everything is flushed.
const MAX_PAGES: usize = 8;

/// What has to be flushed.
pub(super) struct TlbBatch {
    /// The first `count` (or all) are written.
    pages: [MaybeUninit<Vaddr>; MAX_PAGES],
    /// How many pages; beyond `MAX_PAGES`: everything.
    count: usize,
}

impl TlbBatch {
    #[inline]
    pub(super) const fn new() -> TlbBatch {
        TlbBatch { pages: [const { MaybeUninit::uninit() }; MAX_PAGES], count: 0 }
    }

    /// Notes a page whose entry lost rights or went away.
    #[inline(always)]
    pub(super) fn add(&mut self, va: Vaddr) {
        if self.count < MAX_PAGES {
            self.pages[self.count].write(va);
        }
        self.count += 1;
    }

    /// Notes that a whole table went away or many entries changed.
    #[inline(always)]
    pub(super) fn add_all(&mut self) {
        self.count = MAX_PAGES + 1;
    }

    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn flush_here(&self) {
        if self.count > MAX_PAGES {
            paging::flush_user();
        } else {
            for va in &self.pages[..self.count] {
                // SAFETY: the first `count` are written.
                paging::flush_page(unsafe { va.assume_init() });
            }
        }
    }

    /// Flushes on the CPUs of `active` and waits until it is done.
    #[inline]
    pub(super) fn flush(&mut self, active: &AtomicCpuSet) {
        if self.is_empty() {
            return;
        }
        // The entries were changed before the set is read; see the diagram above.
        fence(Ordering::SeqCst);
        let targets = active.load();
        let here = cpu::current();
        if targets.contains(here) {
            self.flush_here();
        }
        let others = targets.without(here);
        if !others.is_empty() {
            self.flush_others(others);
        }
        self.count = 0;
    }

    #[cold]
    #[inline(never)]
    fn flush_others(&self, others: CpuSet) {
        cpu::call_on(others, &|| self.flush_here());
    }
}

/// Runs `f` on all CPUs that run.
pub(super) fn on_all_cpus(f: &(dyn Fn() + Sync)) {
    let mut set = 0;
    for cpu in cpu::all() {
        set |= 1 << cpu.as_usize();
    }
    let others = CpuSet(set).without(cpu::current());
    f();
    if !others.is_empty() {
        cpu::call_on(others, f);
    }
}
