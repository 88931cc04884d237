//! Who maps a file: the address spaces to visit when the file loses pages (what Linux's `i_mmap` is for).
//!
//! **Structures.** A file that a program maps has [`Mappers`], a list of address spaces. An address space has the other
//! end: a [`Registration`] in each file that it maps, in its [`Registrations`]; it is in the list for as long as it has that.
//! The list is a superset: an address space leaves it some time after its last mapping of the file has gone (at
//! the next fork, before the next few registrations, or at its end), and whoever walks the list looks at the vmas.
//!
//! **The running program's own file is not registered.** Nobody can shorten it: it can't be open for writing while
//! the address space refers to it ([`ExecFile`](crate::fs::open::ExecFile)), and it can't be exchanged while it is mapped. So
//! a static program pays nothing for this at fork, exec and exit.
//!
//! **Why nobody is missed.** A file first loses its pages, then the list is walked, in the order of registration. Who
//! registers after the walk can only bring in what the file has then. A child is registered while its parent's
//! layout is still locked by the fork, and later than its parent. The walk locks the layout of each address space that it
//! visits. So if it finds the parent before the fork, the child inherits nothing stale; if after, the child is on the
//! list already, further on.
//!
//! **Locks.** The list's ([`MAPPERS`](lock_order::MAPPERS)) is taken with a layout locked, and never held over a visit.

use core::ops::Range;

use alloc::sync::Weak;
use ostd::sync::SpinLock;

use super::{Backing, Layout, MemoryObject, OWNED, ObjectId, Vm, Vma};
use crate::{lock_order, prelude::*};

/// The address spaces that map one file.
pub struct Mappers(SpinLock<List>);

#[derive(Default)]
struct List {
    /// In the order of their numbers. Those that have left are taken out when they are the half.
    entries: Vec<(u64, Option<Weak<Vm>>)>,
    left: usize,
    last: u64,
}

impl Mappers {
    pub fn new() -> Arc<Mappers> {
        Arc::new(Mappers(SpinLock::new(lock_order::MAPPERS, List::default())))
    }

    fn register(self: &Arc<Self>, vm: Weak<Vm>) -> Registration {
        let mut list = self.0.lock();
        list.last += 1;
        let number = list.last;
        list.entries.push((number, Some(vm)));
        Registration { mappers: self.clone(), number }
    }

    /// The first that registered after number `after`.
    fn next(&self, after: u64) -> Option<(u64, Weak<Vm>)> {
        let list = self.0.lock();
        let from = list.entries.partition_point(|(number, _)| *number <= after);
        list.entries[from..].iter().find_map(|(number, vm)| Some((*number, vm.clone()?)))
    }

    /// Takes the pages `range` of the file, which has lost them, out of all programs that have mapped them. `copies`: also
    /// the copies that programs made of them by writing to private mappings.
    pub fn unmap(&self, id: ObjectId, range: Range<u64>, copies: bool) {
        let mut at = 0;
        while let Some((number, vm)) = self.next(at) {
            at = number;
            if let Some(vm) = vm.upgrade() {
                vm.unmap_object(id, &range, copies);
            }
        }
    }
}

/// An address space's place in the list of a file; it is left by dropping this.
pub struct Registration {
    mappers: Arc<Mappers>,
    number: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut list = self.mappers.0.lock();
        let at = list.entries.partition_point(|(number, _)| *number < self.number);
        let Some((_, vm)) = list.entries.get_mut(at) else { return };
        let vm = vm.take();
        list.left += 1;
        if list.left > list.entries.len() / 2 {
            list.entries.retain(|(_, vm)| vm.is_some());
            list.left = 0;
        }
        drop(list);
        drop(vm);
    }
}

/// Registrations below which nobody looks for those that are not needed any more.
const FEW: usize = 16;

/// The files that an address space is registered in.
#[derive(Default)]
pub(super) struct Registrations {
    /// In the order of the addresses of the lists.
    all: Vec<Registration>,
    /// A mapping of an object has gone: some may not be needed any more.
    pub(super) stale: bool,
    /// Registrations at which to look for those.
    look_at: usize,
}

impl Registrations {
    /// The same for a child.
    pub(super) fn for_child(&self, child: &Weak<Vm>) -> Registrations {
        let all = self.all.iter().map(|own| own.mappers.register(child.clone())).collect();
        Registrations { all, stale: false, look_at: self.look_at }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn find(&self, mappers: &Arc<Mappers>) -> Result<usize, usize> {
        self.all.binary_search_by_key(&Arc::as_ptr(mappers), |own| Arc::as_ptr(&own.mappers))
    }
}

impl Layout {
    /// Registers `vm`, whose layout this is, with `object`, before a mapping of it is entered.
    pub(super) fn register(&mut self, object: &dyn MemoryObject, vm: &Arc<Vm>) {
        let own = |exe: &super::ExecFile| exe.file().id() == object.id();
        if self.exe.as_deref().is_some_and(own) {
            return;
        }
        let Some(mappers) = object.mappers() else { return };
        if self.registrations.find(mappers).is_ok() {
            return;
        }
        if self.registrations.stale && self.registrations.all.len() >= self.registrations.look_at.max(FEW) {
            self.drop_stale_registrations();
        }
        if let Err(at) = self.registrations.find(mappers) {
            self.registrations.all.insert(at, mappers.register(Arc::downgrade(vm)));
        }
    }

    /// Leaves the files that are not mapped any more.
    pub(super) fn drop_stale_registrations(&mut self) {
        let mut mapped: Vec<_> = self.vmas.iter().filter_map(object_of).filter_map(|o| o.mappers()).collect();
        mapped.sort_unstable_by_key(|mappers| Arc::as_ptr(mappers));
        let is_mapped = |own: &Registration| {
            mapped.binary_search_by_key(&Arc::as_ptr(&own.mappers), |mappers| Arc::as_ptr(mappers)).is_ok()
        };
        self.registrations.all.retain(is_mapped);
        self.registrations.stale = false;
        self.registrations.look_at = 2 * self.registrations.all.len();
    }
}

fn object_of(vma: &Vma) -> Option<&Arc<dyn MemoryObject>> {
    match &vma.attr.backing {
        Backing::Object(object, _) => Some(object),
        Backing::Anonymous => None,
    }
}

impl Vm {
    fn unmap_object(&self, id: ObjectId, range: &Range<u64>, copies: bool) {
        // For writing, so that no fault is on its way with a page that it got before.
        let layout = self.layout.write();
        let page = PAGE_SIZE as u64;
        for vma in layout.vmas.iter() {
            let Backing::Object(object, offset) = &vma.attr.backing else { continue };
            if object.id() != id {
                continue;
            }
            let index = offset / page;
            let end = index + vma.len() as u64 / page;
            let (from, to) = (range.start.clamp(index, end), range.end.clamp(index, end));
            if from < to {
                let at = |page: u64| vma.start + (page - index) as usize * PAGE_SIZE;
                if copies {
                    self.unmap_pages(at(from)..at(to));
                } else {
                    self.unmap_pages_of_object(at(from)..at(to));
                }
            }
        }
    }

    /// Takes away what a range shows of an object, but not the program's own copies.
    fn unmap_pages_of_object(&self, range: Range<Vaddr>) {
        let mut mapper = self.space.lock();
        let mut pages = Vec::new();
        mapper.for_each_present(range, |page, flags, _| {
            if !flags.contains(OWNED) {
                pages.push(page);
            }
        });
        let unmapped = pages.into_iter().map(|page| mapper.unmap(page..page + PAGE_SIZE)).sum();
        self.count_out(unmapped);
    }
}
