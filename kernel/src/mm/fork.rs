//! Fork: a copy of the address space that shares all pages until one side writes.
//!
//! Only what the child can't fault in again is copied page by page: private pages that were written. Clean pages of files
//! and shared memory come back by a fault (mostly one that maps the neighbours along), if the child ever needs them: most
//! children exec.

use core::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use ostd::{
    mm::{AddrSpace, USER_END},
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

/// What children touched soon that the last fork had not brought along: the next one does, as what [`ForkHints`] name. Shared by
/// a program and all that it forks, which have the same things at the same addresses. It is a guess, so nothing orders its
/// words.
#[derive(Default)]
pub(super) struct EarlyTouches {
    /// Pages that they wrote to, or their parents while both had them: to copy one costs half of the fault that it saves.
    writes: [AtomicUsize; Self::WRITES],
    /// The place that is written next.
    next: AtomicUsize,
    /// Code that they ran.
    code: AtomicUsize,
    forks: AtomicUsize,
}

impl EarlyTouches {
    const WRITES: usize = 4;
    /// After so many forks the guess is made anew, so that a wrong one is paid for a few times only.
    const FORKS: usize = 32;

    /// A page was copied by a fault.
    pub(super) fn note_write(&self, page: Vaddr) {
        if self.writes.iter().all(|known| known.load(Relaxed) != page) {
            self.writes[self.next.fetch_add(1, Relaxed) % Self::WRITES].store(page, Relaxed);
        }
    }

    /// A child took a fault on code.
    pub(super) fn note_code(&self, page: Vaddr) {
        self.code.store(page, Relaxed);
    }

    /// What a fork brings along. Address 0 stands for nothing: it is never mapped.
    fn guess(&self) -> (Vaddr, [Vaddr; Self::WRITES]) {
        if self.forks.fetch_add(1, Relaxed).is_multiple_of(Self::FORKS) {
            self.writes.iter().chain([&self.code]).for_each(|addr| addr.store(0, Relaxed));
        }
        (self.code.load(Relaxed), self.writes.each_ref().map(|page| page.load(Relaxed)))
    }
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
            let (code, writes) = self.early.guess();
            let near = parent.code_window(hints.code);
            let far = parent.code_window(code).filter(|far| near.as_ref() != Some(far));
            for range in parent.private_ranges().chain(near).chain(far) {
                resident += AddrSpace::fork_range(&mut from, &mut to, range)?;
            }
            for addr in hints.writes.into_iter().chain(writes).filter(|&addr| 0 < addr && addr < USER_END) {
                AddrSpace::copy_shared_page(&mut from, &mut to, page_floor(addr), OWNED)?;
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
            early: self.early.clone(),
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

    /// What of the page tables a child gets: private pages ...
    fn private_ranges(&self) -> impl Iterator<Item = Range<Vaddr>> {
        let unforked = VmFlags::DONT_FORK | VmFlags::WIPE_ON_FORK;
        self.vmas
            .iter()
            .filter(move |vma| vma.attr.may_own_pages() && !vma.attr.flags.intersects(unforked))
            .map(|vma| vma.start..vma.end)
    }

    /// ... and the code around what it will run.
    fn code_window(&self, addr: Vaddr) -> Option<Range<Vaddr>> {
        let unforked = VmFlags::DONT_FORK | VmFlags::WIPE_ON_FORK | VmFlags::SHARED;
        let vma = self.vmas.find(addr)?;
        if vma.attr.may_own_pages() || vma.attr.flags.intersects(unforked) {
            return None;
        }
        let window = addr & !(FORK_WINDOW - 1);
        Some(window.max(vma.start)..(window + FORK_WINDOW).min(vma.end))
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
