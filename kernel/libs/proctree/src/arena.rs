//! Slots that never move, reached by index.
//!
//! Every link of the process tree is a [`Link`]: 32 bits, typed by what it points to, so that a thread's
//! index cannot be used to reach a process. The outside world gets an [`Id`]: a link with the generation of
//! the slot, so that an id kept over the death of its process is recognised as stale instead of reaching
//! whoever lives in the slot now.
//!
//! An [`Arena`] grows by chunks of [`CHUNK`] slots that the caller allocates beforehand, outside its lock:
//! taking and returning a slot never allocates, frees or moves memory.

use alloc::{boxed::Box, vec::Vec};
use core::{fmt, hash::Hash, hash::Hasher, marker::PhantomData};

/// Slots per chunk.
pub(crate) const CHUNK: usize = 32;
const CHUNK_BITS: u32 = CHUNK.trailing_zeros();
const CHUNK_MASK: u32 = CHUNK as u32 - 1;
const NONE: u32 = u32::MAX;

/// What an [`Id`] points to.
pub mod marker {
    /// A process (thread group).
    pub enum Process {}
    /// A thread.
    pub enum Thread {}
    /// A pid: a number per namespace level, and the process group and session of that number.
    pub enum Pid {}
    /// A pid namespace.
    pub enum Namespace {}
}

/// A handle of a process: stale, never wrong, once it was reaped.
pub type ProcId = Id<marker::Process>;
/// A handle of a thread.
pub type ThreadId = Id<marker::Thread>;
/// A handle of a pid, valid as long as the number is allocated (rule 0.4).
pub type PidId = Id<marker::Pid>;
/// A handle of a pid namespace.
pub type NsId = Id<marker::Namespace>;

/// An index into one of the table's arenas with the generation of the slot.
pub struct Id<M> {
    index: u32,
    generation: u32,
    kind: PhantomData<fn() -> M>,
}

impl<M> Id<M> {
    /// An id that nothing has or will have.
    pub const INVALID: Self = Id { index: NONE, generation: 0, kind: PhantomData };

    /// The id as one word, to keep it in an atomic.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The id of a word made by [`to_bits`](Self::to_bits). Any other word makes an id that is at worst
    /// stale.
    pub const fn from_bits(bits: u64) -> Self {
        Id { index: bits as u32, generation: (bits >> 32) as u32, kind: PhantomData }
    }
}

/// An index into the arena of `M`, or [`Link::NONE`].
pub(crate) struct Link<M>(u32, PhantomData<fn() -> M>);

impl<M> Link<M> {
    pub(crate) const NONE: Self = Link(NONE, PhantomData);

    pub(crate) fn is_none(self) -> bool {
        self.0 == NONE
    }

    pub(crate) fn is_some(self) -> bool {
        self.0 != NONE
    }

    pub(crate) fn some(self) -> Option<Self> {
        if self.is_some() { Some(self) } else { None }
    }

    /// The bare index, for hashing.
    pub(crate) fn raw(self) -> u32 {
        self.0
    }
}

macro_rules! plain_value {
    ($type:ident, $key:expr) => {
        impl<M> Clone for $type<M> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<M> Copy for $type<M> {}
        impl<M> PartialEq for $type<M> {
            fn eq(&self, other: &Self) -> bool {
                $key(self) == $key(other)
            }
        }
        impl<M> Eq for $type<M> {}
        impl<M> Hash for $type<M> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                $key(self).hash(state);
            }
        }
        impl<M> PartialOrd for $type<M> {
            fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }
        impl<M> Ord for $type<M> {
            fn cmp(&self, other: &Self) -> core::cmp::Ordering {
                $key(self).cmp(&$key(other))
            }
        }
    };
}
plain_value!(Id, |id: &Id<M>| (id.index, id.generation));
plain_value!(Link, |link: &Link<M>| link.0);

impl<M> fmt::Debug for Id<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.index, self.generation)
    }
}

impl<M> fmt::Debug for Link<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() { f.write_str("-") } else { write!(f, "#{}", self.0) }
    }
}

/// The caller has no memory for another chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoMemory;

struct Slot<T> {
    /// Counts the lives of the slot; wraps after 2^32 of them.
    generation: u32,
    /// The next free slot, while this one is free.
    next_free: u32,
    value: Option<T>,
}

/// Memory for [`CHUNK`] slots, allocated outside the caller's lock.
pub(crate) struct Chunk<T>(Box<[Slot<T>; CHUNK]>);

impl<T> Chunk<T> {
    pub(crate) fn try_new() -> Result<Self, NoMemory> {
        let mut slots = Vec::new();
        slots.try_reserve_exact(CHUNK).map_err(|_| NoMemory)?;
        slots.extend((0..CHUNK).map(|_| Slot { generation: 0, next_free: NONE, value: None }));
        slots.into_boxed_slice().try_into().map(Chunk).map_err(|_| NoMemory)
    }
}

/// The owner of all nodes of one kind.
pub(crate) struct Arena<M, T> {
    chunks: Vec<Box<[Slot<T>; CHUNK]>>,
    first_free: u32,
    used: u32,
    kind: PhantomData<fn() -> M>,
}

impl<M, T> Arena<M, T> {
    pub(crate) const fn new() -> Self {
        Arena { chunks: Vec::new(), first_free: NONE, used: 0, kind: PhantomData }
    }

    /// Slots in use.
    pub(crate) fn used(&self) -> usize {
        self.used as usize
    }

    /// Slots that can be taken before the next chunk is needed.
    pub(crate) fn free(&self) -> usize {
        self.chunks.len() * CHUNK - self.used()
    }

    /// Adds a chunk. Only the spine (8 bytes a slot of [`CHUNK`] nodes) may be allocated here.
    pub(crate) fn grow(&mut self, mut chunk: Chunk<T>) -> Result<(), NoMemory> {
        self.chunks.try_reserve(1).map_err(|_| NoMemory)?;
        let base = (self.chunks.len() * CHUNK) as u32;
        for (i, slot) in chunk.0.iter_mut().enumerate() {
            let next = base + i as u32 + 1;
            slot.next_free = if i + 1 == CHUNK { self.first_free } else { next };
        }
        self.first_free = base;
        self.chunks.push(chunk.0);
        Ok(())
    }

    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        Some(&self.chunks.get((index >> CHUNK_BITS) as usize)?[(index & CHUNK_MASK) as usize])
    }

    #[inline]
    fn slot_mut(&mut self, index: u32) -> &mut Slot<T> {
        &mut self.chunks[(index >> CHUNK_BITS) as usize][(index & CHUNK_MASK) as usize]
    }

    /// Takes a slot. The caller has seen that there is one: [`free`](Self::free).
    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> Link<M> {
        let index = self.first_free;
        let slot = self.slot_mut(index);
        slot.value = Some(value);
        let next = slot.next_free;
        self.first_free = next;
        self.used += 1;
        Link(index, PhantomData)
    }

    /// Empties a slot: every id of it is stale from here on.
    #[inline]
    pub(crate) fn remove(&mut self, link: Link<M>) -> T {
        let first_free = self.first_free;
        let slot = self.slot_mut(link.0);
        // The table unlinks a node before it removes it, and does so once: the slot is in use.
        let value = slot.value.take().expect("a slot in use");
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = first_free;
        self.first_free = link.0;
        self.used -= 1;
        value
    }

    /// The link of an id that is not stale.
    #[inline]
    pub(crate) fn resolve(&self, id: Id<M>) -> Option<Link<M>> {
        let slot = self.slot(id.index)?;
        (slot.generation == id.generation && slot.value.is_some()).then_some(Link(id.index, PhantomData))
    }

    /// The id of a link.
    #[inline]
    pub(crate) fn id(&self, link: Link<M>) -> Id<M> {
        let generation = self.slot(link.0).map_or(0, |slot| slot.generation);
        Id { index: link.0, generation, kind: PhantomData }
    }

    /// All slots in use, in no order that means anything.
    pub(crate) fn links(&self) -> impl Iterator<Item = Link<M>> + '_ {
        (0..(self.chunks.len() * CHUNK) as u32)
            .filter(|&i| self.slot(i).is_some_and(|slot| slot.value.is_some()))
            .map(|i| Link(i, PhantomData))
    }
}

/// A link held by the table always points to a slot in use: the table removes every link to a node before the
/// node.
impl<M, T> core::ops::Index<Link<M>> for Arena<M, T> {
    type Output = T;

    #[inline]
    fn index(&self, link: Link<M>) -> &T {
        let slot = &self.chunks[(link.0 >> CHUNK_BITS) as usize][(link.0 & CHUNK_MASK) as usize];
        slot.value.as_ref().expect("a link of the table points to a slot in use")
    }
}

impl<M, T> core::ops::IndexMut<Link<M>> for Arena<M, T> {
    #[inline]
    fn index_mut(&mut self, link: Link<M>) -> &mut T {
        self.slot_mut(link.0).value.as_mut().expect("a link of the table points to a slot in use")
    }
}
