//! The attributes of a vma: permissions, kind, and what is behind it.

use ::vma::Attributes;
use ostd::mm::PageFlags;

use super::{MemoryObject, STACK_GUARD};
use crate::prelude::*;

/// A mapped range.
pub type Vma = ::vma::Vma<VmaAttr>;

bitflags::bitflags! {
    /// What a vma allows and how it behaves.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct VmFlags: u32 {
        const READ = 1;
        const WRITE = 1 << 1;
        const EXEC = 1 << 2;
        /// Writes reach the object.
        const SHARED = 1 << 3;
        /// mprotect may grant it (a file opened without write access can't be mapped shared and made writable).
        const MAY_READ = 1 << 4;
        const MAY_WRITE = 1 << 5;
        const MAY_EXEC = 1 << 6;
        /// A stack: a fault just below makes it grow.
        const GROWS_DOWN = 1 << 8;
        /// mlock: pages are present as soon as they are mapped.
        const LOCKED = 1 << 9;
        /// madvise: not copied by fork.
        const DONT_FORK = 1 << 10;
        /// madvise: empty in the child after fork.
        const WIPE_ON_FORK = 1 << 11;
        /// Not counted against the limit of memory that may be promised.
        const NO_RESERVE = 1 << 12;
        /// A private mapping of an object that is or was writable: it may hold pages that a child can't fault in again.
        const MAY_OWN_PAGES = 1 << 13;
        /// The vma was made by mmap(MAP_SHARED), whether or not writes are possible (the `s` in maps).
        const MAP_SHARED = 1 << 14;

        /// madvise: not part of a core dump.
        const DONT_DUMP = 1 << 15;
        /// An attachment of a shared memory segment.
        const SEGMENT = 1 << 16;

        /// Pages of the kernel's that all programs have: they can't grow, and always are in a core dump or never.
        const SPECIAL = 1 << 17;

        const ACCESS = Self::READ.bits() | Self::WRITE.bits() | Self::EXEC.bits();
        const MAY_ACCESS = Self::MAY_READ.bits() | Self::MAY_WRITE.bits() | Self::MAY_EXEC.bits();
    }
}

impl VmFlags {
    /// The flags for a page, without the right to write.
    pub(super) fn page_flags(self) -> PageFlags {
        let mut flags = PageFlags::empty();
        if self.intersects(VmFlags::ACCESS) {
            flags |= PageFlags::READ;
        }
        if self.contains(VmFlags::EXEC) {
            flags |= PageFlags::EXEC;
        }
        flags
    }

    /// Whether the vma counts for RLIMIT_DATA.
    pub(super) fn is_data(self) -> bool {
        self.contains(VmFlags::WRITE) && !self.intersects(VmFlags::SHARED | VmFlags::GROWS_DOWN)
    }
}

/// What is behind a vma.
#[derive(Clone)]
pub enum Backing {
    /// Private zero pages.
    Anonymous,
    /// The pages of an object from a byte offset (a multiple of the page size) on.
    Object(Arc<dyn MemoryObject>, u64),
}

/// Everything about a vma but its range.
#[derive(Clone)]
pub struct VmaAttr {
    pub flags: VmFlags,
    pub backing: Backing,
}

impl VmaAttr {
    /// Index of the page of the object that lies `bytes` after the start of the vma.
    pub(super) fn object_page(&self, bytes: usize) -> Option<(&Arc<dyn MemoryObject>, u64)> {
        match &self.backing {
            Backing::Anonymous => None,
            Backing::Object(object, offset) => Some((object, (offset + bytes as u64) / PAGE_SIZE as u64)),
        }
    }

    /// Whether the vma may hold pages that exist nowhere else.
    pub(super) fn may_own_pages(&self) -> bool {
        match self.backing {
            Backing::Anonymous => true,
            Backing::Object(..) => self.flags.contains(VmFlags::MAY_OWN_PAGES),
        }
    }

    fn moved(&self, by: i64) -> Self {
        let backing = match &self.backing {
            Backing::Anonymous => Backing::Anonymous,
            Backing::Object(object, offset) => {
                Backing::Object(object.clone(), offset.wrapping_add_signed(by))
            }
        };
        VmaAttr { flags: self.flags, backing }
    }
}

impl Attributes for VmaAttr {
    fn tail(&self, bytes: usize) -> Self {
        self.moved(bytes as i64)
    }

    fn grown_down(&self, bytes: usize) -> Self {
        self.moved(-(bytes as i64))
    }

    fn continues(&self, bytes: usize, next: &Self) -> bool {
        self.flags == next.flags
            && !self.flags.contains(VmFlags::SEGMENT)
            && match (&self.backing, &next.backing) {
                (Backing::Anonymous, Backing::Anonymous) => true,
                (Backing::Object(object, offset), Backing::Object(next, next_offset)) => {
                    core::ptr::addr_eq(Arc::as_ptr(object), Arc::as_ptr(next))
                        && offset + bytes as u64 == *next_offset
                }
                _ => false,
            }
    }

    fn guard_below(&self) -> usize {
        if self.flags.contains(VmFlags::GROWS_DOWN) { STACK_GUARD } else { 0 }
    }
}
