//! The machine's memory map, and what is taken out of it before the frame allocator gets the rest.

use crate::mm::{PAGE_SIZE, Paddr};
use core::ops::Range;

/// More regions than any boot loader of the machines we know passes.
const MAX_REGIONS: usize = 128;

/// What a region is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegionKind {
    /// Memory that we may use.
    Usable,
    /// ACPI tables and what ACPI wants kept.
    Acpi,
    /// Firmware, devices.
    Reserved,
}

/// A range of physical addresses of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub(crate) range: Range<Paddr>,
    pub(crate) kind: RegionKind,
}

/// A list of regions, in no order.
pub(crate) struct MemoryMap {
    regions: [Region; MAX_REGIONS],
    len: usize,
}

impl MemoryMap {
    pub(crate) const fn new() -> MemoryMap {
        MemoryMap {
            regions: [const { Region { range: 0..0, kind: RegionKind::Reserved } }; MAX_REGIONS],
            len: 0,
        }
    }

    /// Adds a region. What does not fit in the table any more is lost memory, not an error.
    pub(crate) fn push(&mut self, range: Range<Paddr>, kind: RegionKind) {
        if self.len < MAX_REGIONS && !range.is_empty() {
            self.regions[self.len] = Region { range, kind };
            self.len += 1;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Region> {
        self.regions[..self.len].iter()
    }

    /// The regions that may be used, in whole pages.
    pub(crate) fn usable(&self) -> impl Iterator<Item = Range<Paddr>> {
        self.iter().filter(|region| region.kind == RegionKind::Usable).filter_map(|region| {
            let range =
                region.range.start.next_multiple_of(PAGE_SIZE)..region.range.end / PAGE_SIZE * PAGE_SIZE;
            (!range.is_empty()).then_some(range)
        })
    }

    /// Takes `hole` out of the usable regions: each page that it touches is used for something else.
    pub(crate) fn reserve(&mut self, hole: Range<Paddr>) {
        let hole = hole.start / PAGE_SIZE * PAGE_SIZE..hole.end.next_multiple_of(PAGE_SIZE);
        for i in 0..self.len {
            let Region { range, kind } = self.regions[i].clone();
            if kind != RegionKind::Usable || range.end <= hole.start || hole.end <= range.start {
                continue;
            }
            self.regions[i].range = range.start..hole.start.max(range.start);
            self.push(hole.end.min(range.end)..range.end, RegionKind::Usable);
        }
    }

    /// Takes `len` bytes, a multiple of the page size, aligned to `align`, out of the end of the largest usable
    /// region below `limit`.
    pub(crate) fn allocate(&mut self, len: usize, align: usize, limit: Paddr) -> Option<Paddr> {
        let best =
            self.usable().map(|range| range.start..range.end.min(limit)).max_by_key(|range| range.len())?;
        let start = best.end.checked_sub(len)? / align * align;
        if start < best.start {
            return None;
        }
        self.reserve(start..start + len);
        Some(start)
    }
}
