//! Fork: a copy of the address space that shares all pages until one side writes.
//!
//! Only what the child can't fault in again is copied page by page: private pages that were written. Clean pages of files
//! and shared memory come back by a fault (mostly one that maps the neighbours along), if the child ever needs them: most
//! children exec.

use core::sync::atomic::{AtomicU8, AtomicUsize};

use ostd::{mm::AddrSpace, sync::RwLock};

use super::{Layout, Vm, VmFlags, fault::FORK_WINDOW};
use crate::{lock_order, prelude::*};

impl Vm {
    /// A copy for a child process (rule 6.18: locks on memory are not inherited).
    ///
    /// # Errors
    /// ENOMEM; the child's part is given back, the parent has lost nothing but write permissions that come back by faults.
    pub fn fork(&self) -> Result<Vm> {
        let parent = self.layout.write();
        let mut layout = parent.clone();
        layout.drop_unforked();
        let space = AddrSpace::new()?;
        let mut resident = 0;
        {
            let mut from = self.space.lock();
            let mut to = space.lock_nested();
            for vma in layout.vmas.iter() {
                if vma.attr.may_own_pages() && !vma.attr.flags.contains(VmFlags::WIPE_ON_FORK) {
                    resident += AddrSpace::fork_range(&mut from, &mut to, vma.start..vma.end)?;
                }
            }
        }
        drop(parent);
        Ok(Vm {
            space,
            layout: RwLock::new(lock_order::VM, layout),
            resident: AtomicUsize::new(resident),
            peak: AtomicUsize::new(0),
            window: FORK_WINDOW,
            dumpable: AtomicU8::new(self.dumpable()),
            id: super::next_id(),
        })
    }
}

impl Layout {
    /// Takes away what a child does not inherit: MADV_DONTFORK ranges and memory locks.
    fn drop_unforked(&mut self) {
        let special = VmFlags::DONT_FORK | VmFlags::LOCKED;
        if self.locked == 0 && !self.vmas.iter().any(|vma| vma.attr.flags.intersects(special)) {
            return;
        }
        let gone: Vec<_> = self
            .vmas
            .iter()
            .filter(|vma| vma.attr.flags.contains(VmFlags::DONT_FORK))
            .map(|vma| (vma.start, vma.end))
            .collect();
        for (start, end) in gone {
            self.forget(start, end);
        }
        self.vmas.update(0, usize::MAX, |attr| attr.flags.remove(VmFlags::LOCKED));
        self.locked = 0;
        self.lock_future = false;
    }

    /// Removes `start..end` from the map and from the sums; the page tables are the caller's business.
    pub(super) fn forget(&mut self, start: Vaddr, end: Vaddr) {
        let (mut locked, mut data) = (0, 0);
        self.vmas.remove(start, end, |vma| {
            if vma.attr.flags.contains(VmFlags::LOCKED) {
                locked += vma.len();
            }
            if vma.attr.flags.is_data() {
                data += vma.len();
            }
        });
        self.locked -= locked;
        self.data -= data;
    }
}
