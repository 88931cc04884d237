//! The map of one address space: which ranges of addresses are mapped, and with what attributes.
//!
//! **Data structure.** The vmas lie sorted and disjoint in a sequence of small chunks (at most [`CHUNK`] each). A small
//! program has one chunk, so that a look-up is one binary search over a few dozen neighbours in memory and a fork copies one
//! or two blocks. A program with tens of thousands of vmas moves at most one chunk per insertion, plus now and then the
//! list of chunks: both stay small.
//!
//! **Merging.** Neighbours that describe one thing (see [`Attributes::continues`]) are always merged, so `/proc/pid/maps`
//! looks as it does on Linux and the map does not grow by repeated `mmap`.
//!
//! **Gaps.** [`VmaMap::find_gap_top_down`] gives the highest hole that is large enough. It remembers how far down the last
//! search came without luck, so that a program that maps ten thousand single pages does not pay for ten thousand scans.
//!
//! **Locks.** None: the owner holds a lock. Addresses are multiples of the page size; this crate does not care which.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Most vmas in one chunk.
const CHUNK: usize = 32;

/// What a vma needs to know of its attributes.
pub trait Attributes: Clone {
    /// The attributes of the rest of a vma that begins `bytes` after the start of this one (a file offset moves along).
    fn tail(&self, bytes: usize) -> Self;

    /// The attributes of a vma that begins `bytes` *before* this one: the reverse of [`Attributes::tail`].
    /// Only asked of vmas that grow down.
    fn grown_down(&self, bytes: usize) -> Self;

    /// Whether a vma with these attributes and `bytes` long is one with a directly following vma with the attributes `next`.
    fn continues(&self, bytes: usize, next: &Self) -> bool;

    /// Bytes below the vma that a search for a gap must leave free (the guard gap of a stack).
    fn guard_below(&self) -> usize {
        0
    }
}

/// A mapped range `start..end` with one set of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vma<A> {
    pub start: usize,
    pub end: usize,
    pub attr: A,
}

impl<A: Attributes> Vma<A> {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Never true for a vma in a map.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether `addr` lies in it.
    pub fn contains(&self, addr: usize) -> bool {
        self.start <= addr && addr < self.end
    }

    /// The part of this vma inside `start..end`, which must overlap it.
    fn clip(&self, start: usize, end: usize) -> Self {
        let from = self.start.max(start);
        let attr = if from == self.start { self.attr.clone() } else { self.attr.tail(from - self.start) };
        Vma { start: from, end: self.end.min(end), attr }
    }
}

/// The range is (partly) mapped already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied;

/// Where a vma is: chunk and index within it. One past the last vma is `(chunks.len(), 0)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    chunk: usize,
    index: usize,
}

/// "Between `below` and `top` there is no hole of `len` bytes or more."
#[derive(Clone, Copy, Debug)]
struct NoHole {
    top: usize,
    below: usize,
    len: usize,
}

const NO_HINT: NoHole = NoHole { top: 0, below: 0, len: usize::MAX };

/// Where the last search ended, for programs come back to the same area several times in a row. Only a guess, which may be of
/// a map that has changed since.
#[derive(Debug, Default)]
struct Recent(AtomicU32);

impl Recent {
    const INDEX_BITS: u32 = 8;

    #[inline]
    fn get(&self) -> Position {
        let bits = self.0.load(Relaxed) as usize;
        Position { chunk: bits >> Self::INDEX_BITS, index: bits & ((1 << Self::INDEX_BITS) - 1) }
    }

    #[inline]
    fn set(&self, at: Position) {
        self.0.store((at.chunk << Self::INDEX_BITS | at.index) as u32, Relaxed);
    }
}

const _: () = assert!(CHUNK < 1 << Recent::INDEX_BITS);

impl Clone for Recent {
    fn clone(&self) -> Recent {
        Recent(AtomicU32::new(self.0.load(Relaxed)))
    }
}

/// The vmas of one address space, sorted, disjoint and merged.
#[derive(Clone, Debug)]
pub struct VmaMap<A> {
    /// No chunk is empty.
    chunks: Vec<Vec<Vma<A>>>,
    count: usize,
    bytes: usize,
    no_hole: NoHole,
    recent: Recent,
}

impl<A: Attributes> Default for VmaMap<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Attributes> VmaMap<A> {
    /// An empty map. Allocates nothing.
    pub const fn new() -> Self {
        VmaMap { chunks: Vec::new(), count: 0, bytes: 0, no_hole: NO_HINT, recent: Recent(AtomicU32::new(0)) }
    }

    /// Number of vmas.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Sum of the lengths of all vmas (what RLIMIT_AS limits).
    pub fn mapped_bytes(&self) -> usize {
        self.bytes
    }

    /// The vma that contains `addr`.
    #[inline]
    pub fn find(&self, addr: usize) -> Option<&Vma<A>> {
        self.get(self.locate(addr)).filter(|vma| vma.start <= addr)
    }

    /// The first vma that ends after `addr`: the one that contains it, or the next one above.
    #[inline]
    pub fn find_at_or_above(&self, addr: usize) -> Option<&Vma<A>> {
        self.get(self.locate(addr))
    }

    /// The last vma that ends at or below `addr`.
    pub fn find_below(&self, addr: usize) -> Option<&Vma<A>> {
        self.before(self.locate(addr)).and_then(|position| self.get(position))
    }

    /// All vmas, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = &Vma<A>> {
        self.chunks.iter().flatten()
    }

    /// The vmas that overlap `start..end`, lowest first, unclipped.
    pub fn overlapping(&self, start: usize, end: usize) -> impl Iterator<Item = &Vma<A>> {
        let from = self.locate(start);
        let first = self.chunks.get(from.chunk).map_or(&[][..], |chunk| &chunk[from.index..]);
        let rest = self.chunks.get(from.chunk + 1..).unwrap_or(&[]);
        first.iter().chain(rest.iter().flatten()).take_while(move |vma| vma.start < end)
    }

    /// Whether all of `start..end` is mapped.
    pub fn covers(&self, start: usize, end: usize) -> bool {
        let mut at = start;
        for vma in self.overlapping(start, end) {
            if vma.start > at {
                return false;
            }
            at = vma.end;
        }
        at >= end
    }

    /// Whether nothing in `start..end` is mapped.
    pub fn is_free(&self, start: usize, end: usize) -> bool {
        self.find_at_or_above(start).is_none_or(|vma| vma.start >= end)
    }

    /// Maps `start..end` and merges it with its neighbours.
    ///
    /// Fails without a change when a part of the range is mapped already or the range is empty.
    pub fn insert(&mut self, start: usize, end: usize, attr: A) -> Result<(), Occupied> {
        let at = self.locate(start);
        if start >= end || self.get(at).is_some_and(|vma| vma.start < end) {
            return Err(Occupied);
        }
        self.bytes += end - start;
        let joins_previous = self.before(at).filter(|&previous| {
            let vma = &self.chunks[previous.chunk][previous.index];
            vma.end == start && vma.attr.continues(vma.len(), &attr)
        });
        let joins_next =
            self.get(at).is_some_and(|next| next.start == end && attr.continues(end - start, &next.attr));
        match (joins_previous, joins_next) {
            (None, false) => self.insert_at(at, Vma { start, end, attr }),
            (None, true) => {
                let next = &mut self.chunks[at.chunk][at.index];
                next.start = start;
                next.attr = attr;
            }
            (Some(previous), false) => self.chunks[previous.chunk][previous.index].end = end,
            (Some(previous), true) => {
                let next = self.remove_at(at);
                self.chunks[previous.chunk][previous.index].end = next.end;
            }
        }
        Ok(())
    }

    /// Unmaps `start..end`; `removed` sees every piece that was mapped, lowest first, clipped to the range.
    pub fn remove(&mut self, start: usize, end: usize, mut removed: impl FnMut(Vma<A>)) {
        if start >= end || self.is_free(start, end) {
            return;
        }
        if end > self.no_hole.below {
            self.no_hole = NO_HINT;
        }
        self.split_at(start);
        self.split_at(end);
        loop {
            let at = self.locate(start);
            if self.get(at).is_none_or(|vma| vma.start >= end) {
                return;
            }
            let vma = self.remove_at(at);
            self.bytes -= vma.len();
            removed(vma);
        }
    }

    /// Changes the attributes of all that is mapped in `start..end`, splitting and merging as needed.
    pub fn update(&mut self, start: usize, end: usize, mut change: impl FnMut(&mut A)) {
        if start >= end || self.is_free(start, end) {
            return;
        }
        self.split_at(start);
        self.split_at(end);
        let mut at = self.locate(start);
        while let Some(vma) = self.get_mut(at) {
            if vma.start >= end {
                break;
            }
            change(&mut vma.attr);
            at = self.after(at);
        }
        self.merge_between(start, end);
    }

    /// Moves the start of the vma at `old_start` down to `new_start` (a stack grows).
    ///
    /// Fails without a change when there is no vma that starts there or the room below is not free.
    pub fn grow_down(&mut self, old_start: usize, new_start: usize) -> Result<(), Occupied> {
        let at = self.locate(old_start);
        if new_start > old_start || !self.is_free(new_start, old_start) {
            return Err(Occupied);
        }
        let vma = self.get_mut(at).filter(|vma| vma.start == old_start).ok_or(Occupied)?;
        vma.attr = vma.attr.grown_down(old_start - new_start);
        vma.start = new_start;
        self.bytes += old_start - new_start;
        Ok(())
    }

    /// The highest address in `low..high` at which `len` bytes are free, guard gaps of the vmas above respected.
    pub fn find_gap_top_down(&mut self, len: usize, low: usize, high: usize) -> Option<usize> {
        if len == 0 {
            return None;
        }
        let known = self.no_hole.top == high && len >= self.no_hole.len;
        let mut ceiling = if known { self.no_hole.below.min(high) } else { high };
        let mut above = self.locate(ceiling.max(1) - 1);
        // A vma that reaches over the ceiling lowers it.
        if let Some(vma) = self.get(above) {
            ceiling = ceiling.min(vma.start.saturating_sub(vma.attr.guard_below()));
        }
        let found = loop {
            let below = self.before(above).and_then(|position| self.get(position));
            let floor = below.map_or(low, |vma| vma.end.max(low));
            if ceiling.checked_sub(floor).is_some_and(|room| room >= len) {
                break Some(ceiling - len);
            }
            match (below, self.before(above)) {
                (Some(vma), Some(position)) if vma.end > low => {
                    ceiling = ceiling.min(vma.start.saturating_sub(vma.attr.guard_below()));
                    above = position;
                }
                _ => break None,
            }
        };
        if found.is_some() {
            self.no_hole = NoHole { top: high, below: ceiling, len };
        }
        found
    }

    /// The lowest address in `low..high` at which `len` bytes are free.
    pub fn find_gap_bottom_up(&self, len: usize, low: usize, high: usize) -> Option<usize> {
        let mut floor = low;
        let fits = |floor: usize, ceiling: usize| {
            ceiling.checked_sub(floor).is_some_and(|room| len > 0 && room >= len)
        };
        for vma in self.overlapping(low, high) {
            if fits(floor, vma.start.saturating_sub(vma.attr.guard_below())) {
                return Some(floor);
            }
            floor = floor.max(vma.end);
        }
        fits(floor, high).then_some(floor)
    }

    // ---- positions ----

    /// Position of the first vma that ends after `addr`.
    #[inline]
    fn locate(&self, addr: usize) -> Position {
        let recent = self.recent.get();
        if self.get(recent).is_some_and(|vma| vma.contains(addr)) {
            return recent;
        }
        let at = self.search(addr);
        self.recent.set(at);
        at
    }

    fn search(&self, addr: usize) -> Position {
        let ends_after = |chunk: &Vec<Vma<A>>| chunk.last().is_some_and(|vma| vma.end > addr);
        let chunk = match self.chunks.as_slice() {
            [only] if ends_after(only) => 0,
            chunks => chunks.partition_point(|chunk| !ends_after(chunk)),
        };
        let index = self.chunks.get(chunk).map_or(0, |chunk| chunk.partition_point(|vma| vma.end <= addr));
        Position { chunk, index }
    }

    #[inline]
    fn get(&self, at: Position) -> Option<&Vma<A>> {
        self.chunks.get(at.chunk).and_then(|chunk| chunk.get(at.index))
    }

    fn get_mut(&mut self, at: Position) -> Option<&mut Vma<A>> {
        self.chunks.get_mut(at.chunk).and_then(|chunk| chunk.get_mut(at.index))
    }

    fn before(&self, at: Position) -> Option<Position> {
        if at.index > 0 {
            return Some(Position { chunk: at.chunk, index: at.index - 1 });
        }
        let chunk = at.chunk.checked_sub(1)?;
        Some(Position { chunk, index: self.chunks[chunk].len() - 1 })
    }

    fn after(&self, at: Position) -> Position {
        match self.chunks.get(at.chunk) {
            Some(chunk) if at.index + 1 < chunk.len() => Position { chunk: at.chunk, index: at.index + 1 },
            _ => Position { chunk: at.chunk + 1, index: 0 },
        }
    }

    fn insert_at(&mut self, at: Position, vma: Vma<A>) {
        self.count += 1;
        // Past the end: append to the last chunk. At the front of a chunk: rather to the end of the one before.
        let at = match self.before(at) {
            Some(previous) if at.index == 0 => Position { chunk: previous.chunk, index: previous.index + 1 },
            None if self.chunks.is_empty() => {
                self.chunks.push(Vec::with_capacity(8));
                at
            }
            _ => at,
        };
        let chunk = &mut self.chunks[at.chunk];
        if chunk.len() < CHUNK {
            chunk.insert(at.index, vma);
            return;
        }
        // A full chunk is cut in two, but appending (the common case of a growing map) leaves it full.
        let cut = if at.index == CHUNK { CHUNK - 1 } else { CHUNK / 2 };
        let mut upper = Vec::with_capacity(CHUNK);
        upper.extend(chunk.drain(cut..));
        if at.index <= cut {
            chunk.insert(at.index, vma);
        } else {
            upper.insert(at.index - cut, vma);
        }
        self.chunks.insert(at.chunk + 1, upper);
    }

    fn remove_at(&mut self, at: Position) -> Vma<A> {
        self.count -= 1;
        let vma = self.chunks[at.chunk].remove(at.index);
        if self.chunks[at.chunk].is_empty() {
            self.chunks.remove(at.chunk);
        }
        vma
    }

    /// Cuts the vma that `addr` lies strictly inside of.
    fn split_at(&mut self, addr: usize) {
        let at = self.locate(addr);
        let Some(vma) = self.get_mut(at).filter(|vma| vma.start < addr) else {
            return;
        };
        let upper = vma.clip(addr, vma.end);
        vma.end = addr;
        self.insert_at(self.after(at), upper);
    }

    /// Merges all neighbours that touch `start..end`.
    fn merge_between(&mut self, start: usize, end: usize) {
        let mut at = self.locate(start);
        at = self.before(at).unwrap_or(at);
        loop {
            let next = self.after(at);
            let (Some(lower), Some(upper)) = (self.get(at), self.get(next)) else {
                return;
            };
            if lower.start >= end {
                return;
            }
            if lower.end == upper.start && lower.attr.continues(lower.len(), &upper.attr) {
                let upper = self.remove_at(next);
                self.chunks[at.chunk][at.index].end = upper.end;
            } else {
                at = next;
            }
        }
    }
}
