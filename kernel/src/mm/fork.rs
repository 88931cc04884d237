//! Fork: a copy of the address space that shares all pages until one side writes.
//!
//! Only what the child can't fault in again is copied page by page: private pages that were written. Clean pages of files
//! and shared memory come back by a fault (mostly one that maps the neighbours along), if the child ever needs them: most
//! children exec.

use core::{ops::Range, sync::atomic::AtomicUsize};

use ostd::{
    mm::{AddrSpace, AllocClass, Frame, Mapper, PageFlags},
    sync::RwLock,
};
use spin::Once;

use super::{Backing, Layout, OWNED, Vm, VmFlags, fault::FORK_WINDOW, mappers::Registrations, page_floor};
use crate::{lock_order, prelude::*};

/// What both sides will touch as soon as they run; addresses that mean nothing are ignored. Each saves faults: what must be
/// copied anyway is copied at once, so that the parent keeps its page and none of the two faults.
#[derive(Clone, Copy, Debug, Default)]
pub struct ForkHints {
    /// Where they run.
    pub code: Vaddr,
    /// Where they write: the stack, and the thread's id.
    pub writes: [Vaddr; 2],
}

impl Vm {
    /// A copy for a child process (rule 6.18: locks on memory are not inherited).
    ///
    /// # Errors
    /// ENOMEM; the child's part is given back, the parent has lost nothing but write permissions that come back by faults.
    pub fn fork(&self, hints: ForkHints) -> Result<Arc<Vm>> {
        let mut parent = self.layout.write();
        // The map's copy lives in the kernel's memory, 48 bytes for each vma.
        if !ostd::mm::kernel_reserve_ok(2 + parent.vmas.len() / 64) {
            return Err(ENOMEM);
        }
        if parent.registrations.stale {
            parent.drop_stale_registrations();
        }
        let mut layout = parent.copy();
        layout.drop_unforked();
        let space = AddrSpace::new()?;
        let mut resident = 0;
        {
            let mut from = self.space.lock();
            let mut to = space.lock_nested();
            for range in parent.ranges_to_copy(hints.code) {
                resident += AddrSpace::fork_range(&mut from, &mut to, range)?;
            }
            for addr in hints.writes {
                copy_now(&mut from, &mut to, page_floor(addr))?;
            }
        }
        if layout.has_segments {
            layout.note_attachments();
        }
        let child = |layout| Vm {
            space,
            layout: RwLock::new(lock_order::VM, layout),
            resident: AtomicUsize::new(resident),
            peak: AtomicUsize::new(0),
            window: FORK_WINDOW,
            settings: self.settings.inherited(),
            aio: Once::new(),
            id: super::next_id(),
        };
        if parent.registrations.is_empty() {
            return Ok(Arc::new(child(layout)));
        }
        // Files learn of the child before the parent's map is unlocked: see `mappers`.
        Ok(Arc::new_cyclic(|this| {
            layout.registrations = parent.registrations.for_child(this);
            child(layout)
        }))
    }
}

/// Gives the child a copy of a page that the two would share until they write to it, and the parent its right to write
/// back.
fn copy_now(parent: &mut Mapper, child: &mut Mapper, page: Vaddr) -> Result<()> {
    if page >= ostd::mm::USER_END {
        return Ok(());
    }
    // The child's references are this mapping's and the parent's; whoever else has the page makes it stay as it is.
    let Some((flags, 2)) = child.query_refcount(page) else { return Ok(()) };
    if !flags.contains(OWNED | PageFlags::COW) {
        return Ok(());
    }
    let Some((shared, _)) = child.query(page) else { return Ok(()) };
    let copy = Frame::copy_of(&shared, AllocClass::User)?;
    let writable = flags.difference(PageFlags::COW) | PageFlags::WRITE;
    child.map(page, copy, writable)?;
    parent.set_flags(page, writable);
    Ok(())
}

impl Layout {
    /// The same for a child, that no file knows of yet.
    fn copy(&self) -> Layout {
        Layout {
            vmas: self.vmas.clone(),
            registrations: Registrations::default(),
            auxv: self.auxv.clone(),
            exe: self.exe.clone(),
            ..*self
        }
    }

    /// What of the page tables a child gets: private pages, and a window of the code that it will run.
    fn ranges_to_copy(&self, code: Vaddr) -> impl Iterator<Item = Range<Vaddr>> {
        let window = code & !(FORK_WINDOW - 1);
        self.vmas.iter().filter_map(move |vma| {
            let flags = vma.attr.flags;
            if flags.intersects(VmFlags::DONT_FORK | VmFlags::WIPE_ON_FORK) {
                None
            } else if vma.attr.may_own_pages() {
                Some(vma.start..vma.end)
            } else if vma.contains(code) && !flags.contains(VmFlags::SHARED) {
                Some(window.max(vma.start)..(window + FORK_WINDOW).min(vma.end))
            } else {
                None
            }
        })
    }

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
        let (mut locked, mut data, mut of_object) = (0, 0, false);
        self.vmas.remove(start, end, |vma| {
            if vma.attr.flags.contains(VmFlags::LOCKED) {
                locked += vma.len();
            }
            if vma.attr.flags.is_data() {
                data += vma.len();
            }
            of_object |= matches!(vma.attr.backing, Backing::Object(..));
            if vma.attr.flags.contains(VmFlags::SEGMENT)
                && let Backing::Object(object, _) = vma.attr.backing
            {
                object.detach();
            }
        });
        self.registrations.stale |= of_object && !self.registrations.is_empty();
        self.locked -= locked;
        self.data -= data;
    }
}
