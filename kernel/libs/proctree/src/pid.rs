//! Pids: numbers per namespace level, how they are given out, and who keeps them allocated.
//!
//! A [`Pid`] is a node of its own, as in Linux: the thread, the process, the process group and the session of
//! the same number share it, and the number is free when none of them is left (rule 0.4). Groups and sessions
//! need no other node, so `setpgid` and `setsid` allocate nothing.

use crate::{
    arena::{Link, NoMemory},
    node::{NsLink, PidLink, ProcLink, ThreadLink},
};
use alloc::{boxed::Box, vec::Vec};

/// Numbers below this are not given out again once the cursor went past them (rule 6.17).
const RESERVED: u32 = 300;

/// The numbers of one pid: one for each namespace from the initial one (level 0) to its own.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Numbers {
    inner: u32,
    outer: Option<Box<[u32]>>,
}

impl Numbers {
    /// Room for the numbers of a pid in a namespace of this level. Allocates for levels above 0: call it
    /// without the lock.
    pub fn for_level(level: u32) -> Result<Self, NoMemory> {
        if level == 0 {
            return Ok(Numbers { inner: 0, outer: None });
        }
        let mut outer = Vec::new();
        outer.try_reserve_exact(level as usize).map_err(|_| NoMemory)?;
        outer.resize(level as usize, 0);
        Ok(Numbers { inner: 0, outer: Some(outer.into_boxed_slice()) })
    }

    /// Those of a pid of the initial namespace.
    pub fn initial(nr: u32) -> Self {
        Numbers { inner: nr, outer: None }
    }

    /// Takes over the numbers of a pid of the same level.
    pub fn copy_from(&mut self, other: &Numbers) {
        self.inner = other.inner;
        if let (Some(to), Some(from)) = (&mut self.outer, &other.outer)
            && to.len() == from.len()
        {
            to.copy_from_slice(from);
        }
    }

    /// The level of the pid's own namespace.
    pub fn level(&self) -> u32 {
        self.outer.as_ref().map_or(0, |outer| outer.len() as u32)
    }

    /// The number in the pid's own namespace.
    pub fn innermost(&self) -> u32 {
        self.inner
    }

    /// The number at a level; `None` below the pid's own.
    pub fn at(&self, level: u32) -> Option<u32> {
        let outer = self.outer.as_deref().unwrap_or_default();
        match outer.get(level as usize) {
            Some(&nr) => Some(nr),
            None => (level as usize == outer.len()).then_some(self.inner),
        }
    }

    pub(crate) fn set(&mut self, level: u32, nr: u32) {
        match self.outer.as_deref_mut().and_then(|outer| outer.get_mut(level as usize)) {
            Some(slot) => *slot = nr,
            None => self.inner = nr,
        }
    }
}

/// A pid and its users.
pub(crate) struct Pid {
    pub(crate) numbers: Numbers,
    pub(crate) ns: NsLink,
    /// Taken by `alloc_pid`, not yet given to a thread.
    pub(crate) reserved: bool,
    /// The thread with this tid, a dead leader included.
    pub(crate) thread: ThreadLink,
    /// The process with this tgid, a zombie included.
    pub(crate) process: ProcLink,
    /// Members of the process group of this number, newest first.
    pub(crate) first_member: ProcLink,
    /// How many of them are group-stopped.
    pub(crate) stopped: u32,
    /// The session of the process group.
    pub(crate) session: PidLink,
    /// Processes in the session of this number.
    pub(crate) session_members: u32,
}

impl Pid {
    pub(crate) fn new(numbers: Numbers, ns: NsLink) -> Self {
        Pid {
            numbers,
            ns,
            reserved: true,
            thread: Link::NONE,
            process: Link::NONE,
            first_member: Link::NONE,
            stopped: 0,
            session: Link::NONE,
            session_members: 0,
        }
    }

    /// Nobody uses it.
    pub(crate) fn is_unused(&self) -> bool {
        !self.reserved
            && self.thread.is_none()
            && self.process.is_none()
            && self.first_member.is_none()
            && self.session_members == 0
    }
}

/// The numbers of one namespace: a bitmap and a cursor.
///
/// The bitmap may be shorter than the bound, so that a namespace with few members is small: the caller replaces it by a
/// longer one ([`grow`](Self::grow)) when [`Table::short_of_numbers`](crate::Table::short_of_numbers) asks for that.
pub struct NumberSpace {
    bits: Vec<u64>,
    /// The next number to try.
    cursor: u32,
    /// Exclusive upper bound.
    pid_max: u32,
}

impl NumberSpace {
    /// Numbers 1 to `pid_max - 1`, all free. Allocates `pid_max / 8` bytes: call it without the lock.
    pub fn try_new(pid_max: u32) -> Result<Self, NoMemory> {
        Self::try_with_room(pid_max, pid_max)
    }

    /// The same with a bitmap for the numbers below `room` only.
    pub fn try_with_room(pid_max: u32, room: u32) -> Result<Self, NoMemory> {
        let mut bits = Vec::new();
        let words = (room as usize).div_ceil(64).max(1);
        bits.try_reserve_exact(words).map_err(|_| NoMemory)?;
        bits.resize(words, 0);
        // 0 is nobody's number.
        bits[0] = 1;
        Ok(NumberSpace { bits, cursor: 1, pid_max })
    }

    /// Exclusive upper bound of the numbers that are given out.
    pub fn pid_max(&self) -> u32 {
        self.pid_max
    }

    /// Changes the bound. Numbers above a lower one stay in use until they are freed.
    pub fn set_pid_max(&mut self, pid_max: u32) {
        self.pid_max = pid_max;
    }

    fn room(&self) -> u32 {
        self.bits.len() as u32 * 64
    }

    /// The numbers that the bitmap must have room for so that the next one, or `tid`, can be taken; `None` if it has.
    pub(crate) fn wanted_room(&self, tid: Option<u32>) -> Option<u32> {
        let room = self.room();
        if room >= self.pid_max {
            return None;
        }
        let least = match tid {
            Some(tid) if tid < room || tid >= self.pid_max => return None,
            Some(tid) => tid,
            None => {
                let (_, start) = self.search();
                if start >= self.pid_max || self.first_free(start, room).is_some() {
                    return None;
                }
                start
            }
        };
        Some(least.max(room).saturating_add(1).saturating_mul(2).min(self.pid_max))
    }

    /// Takes over a longer bitmap, made by [`try_with_room`](Self::try_with_room); what is returned is to be dropped
    /// outside the lock.
    pub fn grow(&mut self, longer: NumberSpace) -> NumberSpace {
        let mut longer = longer;
        if longer.bits.len() > self.bits.len() {
            longer.bits[..self.bits.len()].copy_from_slice(&self.bits);
            core::mem::swap(&mut self.bits, &mut longer.bits);
        }
        longer
    }

    /// The number given out last, or set by `ns_last_pid`.
    pub fn last(&self) -> u32 {
        self.cursor - 1
    }

    /// The next number to be tried becomes `last + 1`.
    pub fn set_last(&mut self, last: u32) {
        self.cursor = last.saturating_add(1);
    }

    /// Takes the next free number after the last one, wrapping to 300 (to 1 if the cursor has never been past
    /// 300).
    pub(crate) fn alloc(&mut self) -> Option<u32> {
        let (low, start) = self.search();
        let nr = self.first_free(start, self.pid_max).or_else(|| self.first_free(low, start))?;
        self.mark(nr);
        self.cursor = nr + 1;
        Some(nr)
    }

    /// The lowest number that may be given out, and the one to try first.
    fn search(&self) -> (u32, u32) {
        let low = if self.cursor > RESERVED { RESERVED } else { 1 };
        (low, self.cursor.max(low))
    }

    /// Takes this very number, without moving the cursor; `false` if it is in use or out of range.
    pub(crate) fn alloc_exact(&mut self, nr: u32) -> bool {
        if nr >= self.pid_max || self.is_used(nr) {
            return false;
        }
        self.mark(nr);
        true
    }

    pub(crate) fn free(&mut self, nr: u32) {
        if let Some(word) = self.bits.get_mut(nr as usize / 64) {
            *word &= !(1 << (nr % 64));
        }
    }

    pub(crate) fn is_used(&self, nr: u32) -> bool {
        self.bits.get(nr as usize / 64).is_none_or(|word| word >> (nr % 64) & 1 == 1)
    }

    fn mark(&mut self, nr: u32) {
        if let Some(word) = self.bits.get_mut(nr as usize / 64) {
            *word |= 1 << (nr % 64);
        }
    }

    /// The first number in use from `from` on, a word at a time.
    pub fn next_used(&self, from: u32) -> Option<u32> {
        let first = from as usize / 64;
        let mut used = self.bits.get(first)? & (u64::MAX << (from % 64));
        if first == 0 {
            // 0 is nobody's number.
            used &= !1;
        }
        for index in first.. {
            if index > first {
                used = *self.bits.get(index)?;
            }
            if used != 0 {
                return Some(index as u32 * 64 + used.trailing_zeros());
            }
        }
        None
    }

    /// The first free number in `from..to`, a word at a time.
    fn first_free(&self, from: u32, to: u32) -> Option<u32> {
        let mut index = from as usize / 64;
        let mut free = !self.bits.get(index)? & (u64::MAX << (from % 64));
        loop {
            if free != 0 {
                let nr = index as u32 * 64 + free.trailing_zeros();
                return (nr < to).then_some(nr);
            }
            index += 1;
            if index as u64 * 64 >= to as u64 {
                return None;
            }
            free = !*self.bits.get(index)?;
        }
    }
}
