//! Several consecutive pages at a time: what a fault handler needs that does more than the page that was touched.
//!
//! All of it stays within the table of level 1 that covers the first page, so each call walks the tables once.

use super::{Mapper, PageFlags, check_page, group_mask, pfn};
use crate::arch::x86::paging::{ENTRIES, index};
use crate::mm::{Frame, OutOfMemory, PAGE_SIZE, Vaddr};

impl Mapper<'_> {
    /// Maps `frame` at `va` unless something is mapped there; returns whether it was. Panics as [`map`](Self::map).
    #[inline]
    pub fn map_absent(&mut self, va: Vaddr, frame: Frame, flags: PageFlags) -> Result<bool, OutOfMemory> {
        check_page(va);
        let table = self.table_for(va)?;
        let i = index(va, 1);
        if table.get(i) != 0 {
            return Ok(false);
        }
        table.insert(i, flags.entry(frame.into_pfn()));
        Ok(true)
    }

    /// Maps new `frames` at `va` and the pages that follow, up to the end of the table (2 MiB boundary) or the first page
    /// that is mapped already; returns how many were mapped.
    #[inline]
    pub fn map_fresh_run(
        &mut self,
        va: Vaddr,
        frames: impl IntoIterator<Item = Frame>,
        flags: PageFlags,
    ) -> Result<usize, OutOfMemory> {
        check_page(va);
        let table = self.table_for(va)?;
        let first = index(va, 1);
        let mut i = first;
        let mut frames = frames.into_iter();
        while i < ENTRIES && table.get(i) == 0 {
            let Some(frame) = frames.next() else { break };
            table.set_uncounted(i, flags.entry(frame.into_pfn()));
            i += 1;
        }
        if i > first {
            table.add_used((i - first) as u32, group_mask(&(first..i)));
        }
        Ok(i - first)
    }

    /// Maps the pages of an object that `frames` has, the first at `va`, where nothing is mapped yet, up to the end of the
    /// table (2 MiB boundary); returns how many were mapped.
    #[inline]
    pub fn map_object_run(
        &mut self,
        va: Vaddr,
        frames: &[Option<Frame>],
        flags: PageFlags,
    ) -> Result<usize, OutOfMemory> {
        check_page(va);
        let table = self.table_for(va)?;
        let first = index(va, 1);
        let frames = &frames[..frames.len().min(ENTRIES - first)];
        let mut mapped = 0;
        for (i, frame) in frames.iter().enumerate() {
            if let Some(frame) = frame
                && table.get(first + i) == 0
            {
                table.set_uncounted(first + i, flags.entry(frame.clone().into_pfn()));
                mapped += 1;
            }
        }
        if mapped > 0 {
            table.add_used(mapped, group_mask(&(first..first + frames.len())));
        }
        Ok(mapped as usize)
    }

    /// How many of the at most `max` pages right below `va` are mapped without a hole, within the table that covers `va`.
    #[inline]
    pub fn mapped_below(&self, va: Vaddr, max: usize) -> usize {
        check_page(va);
        let Some(table) = self.find_table(va) else { return 0 };
        let i = index(va, 1);
        (i.saturating_sub(max)..i).rev().take_while(|&i| table.get(i) != 0).count()
    }

    /// How many of the at most `max` pages from `va` on are not mapped, within the table that covers `va`.
    #[inline]
    pub fn absent_from(&self, va: Vaddr, max: usize) -> usize {
        check_page(va);
        let i = index(va, 1);
        let end = (i + max).min(ENTRIES);
        match self.find_table(va) {
            Some(table) => (i..end).take_while(|&i| table.get(i) == 0).count(),
            None => end - i,
        }
    }

    /// Adds `add` to the flags of the page at `va` and of those that follow, at most `max` in all and within one table, for
    /// as long as `while_` holds for the flags and the number of references of a page. Returns how many it was.
    /// Only for flags that give rights.
    #[inline]
    pub fn grant_run(
        &mut self,
        va: Vaddr,
        max: usize,
        add: PageFlags,
        while_: impl Fn(PageFlags, u32) -> bool,
    ) -> usize {
        check_page(va);
        let Some(table) = self.find_table(va) else { return 0 };
        let first = index(va, 1);
        let mut i = first;
        while i < (first + max).min(ENTRIES) {
            let entry = table.get(i);
            let flags = PageFlags::of(entry);
            if entry == 0 || !while_(flags, crate::mm::frame::refcount(pfn(entry))) {
                break;
            }
            let new = (flags | add).entry(pfn(entry));
            table.replace(i, new);
            if super::takes_rights(entry, new) {
                self.tlb.add(va + (i - first) * PAGE_SIZE);
            }
            i += 1;
        }
        i - first
    }
}
