//! Lock ranks: the lock order as numbers, checked at run time in test builds.
//!
//! Every lock is made with a [`LockRank`]. While the check is on (feature `ktest` or a debug build) taking a lock whose
//! rank is not above every rank already held panics and names both locks; so does sleeping with a spin lock held, and
//! taking a lock that is not interrupt-safe from an interrupt handler. In release builds the rank takes no space in the
//! lock and no instruction at an acquisition.
//!
//! Spin locks are recorded per CPU (a CPU can't switch tasks while it holds one), sleeping locks per task.
//! An interrupt handler starts with an empty record: what the interrupted code holds says nothing about the handler,
//! because handlers only take locks that are never held with interrupts on.

use core::cell::{Cell, UnsafeCell};

/// Whether lock ranks are recorded and checked in this build.
pub const CHECKED: bool = cfg!(any(feature = "ktest", debug_assertions));

/// The place of a lock in the lock order: a lock with a lower level is taken before one with a higher level.
#[derive(Clone, Copy, Debug)]
pub struct LockRank {
    level: u16,
    name: &'static str,
}

impl LockRank {
    /// Makes a rank. The name is what a violation prints.
    pub const fn new(level: u16, name: &'static str) -> Self {
        Self { level, name }
    }

    /// The level: higher is taken later.
    pub const fn level(self) -> u16 {
        self.level
    }

    /// The name that a violation prints.
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// The ranks of ostd's own locks. The kernel's are in `kernel/src/lock_order.rs`; together they are one order.
pub mod ranks {
    use super::LockRank;

    /// The list of a [`WaitQueue`](crate::sync::WaitQueue): wakers are called with it held.
    pub const WAIT_QUEUE: LockRank = LockRank::new(640, "wait queue");
    /// A CPU's timer heap.
    pub const TIMER_HEAP: LockRank = LockRank::new(690, "timer heap");
    /// The user page tables of an address space.
    pub const PAGE_TABLES: LockRank = LockRank::new(800, "page tables");
    /// The serialisation of calls to other CPUs.
    pub const CPU_CALL: LockRank = LockRank::new(850, "cross-CPU call");
    /// A size class of the kernel heap.
    pub const HEAP: LockRank = LockRank::new(870, "heap");
    /// The list of free kernel stacks.
    pub const STACKS: LockRank = LockRank::new(860, "stacks");
    /// The kernel's own page tables.
    pub const KERNEL_SPACE: LockRank = LockRank::new(880, "kernel page tables");
    /// The buddy allocator.
    pub const FRAME_ALLOCATOR: LockRank = LockRank::new(900, "frame allocator");
    /// The random generator.
    pub const RANDOM: LockRank = LockRank::new(930, "random generator");
    /// The routing table of an I/O APIC.
    pub const IO_APIC: LockRank = LockRank::new(940, "I/O APIC");
    /// The serial console.
    pub const CONSOLE: LockRank = LockRank::new(950, "console");
}

/// The rank as a lock stores it: nothing in release builds.
#[derive(Clone, Copy)]
pub(super) struct StoredRank {
    #[cfg(any(feature = "ktest", debug_assertions))]
    rank: LockRank,
}

impl StoredRank {
    #[cfg_attr(not(any(feature = "ktest", debug_assertions)), allow(unused_variables))]
    pub(super) const fn new(rank: LockRank) -> Self {
        Self {
            #[cfg(any(feature = "ktest", debug_assertions))]
            rank,
        }
    }

    #[cfg(any(feature = "ktest", debug_assertions))]
    const fn get(self) -> LockRank {
        self.rank
    }

    #[cfg(not(any(feature = "ktest", debug_assertions)))]
    const fn get(self) -> LockRank {
        LockRank::new(0, "")
    }
}

/// How many locks one CPU or one task can hold at a time before the record is full (a panic).
const MAX_HELD: usize = 24;

#[derive(Clone, Copy)]
struct Held {
    lock: *const (),
    rank: LockRank,
}

/// A record of the locks that a CPU or a task holds. Only ever touched by the CPU that it belongs to (or that runs the
/// task it belongs to); an interrupt handler leaves it as it found it.
pub(crate) struct HeldLocks {
    len: Cell<usize>,
    /// Where the record of the current interrupt handler starts; 0 outside interrupts.
    base: Cell<usize>,
    entries: UnsafeCell<[Held; if CHECKED { MAX_HELD } else { 0 }]>,
}

impl HeldLocks {
    pub(crate) const fn new() -> Self {
        const EMPTY: Held = Held { lock: core::ptr::null(), rank: LockRank::new(0, "") };
        Self {
            len: Cell::new(0),
            base: Cell::new(0),
            entries: UnsafeCell::new([EMPTY; if CHECKED { MAX_HELD } else { 0 }]),
        }
    }

    fn entry(&self, index: usize) -> Held {
        // SAFETY: only this CPU touches the record, and no reference into it outlives a method of this type.
        unsafe { (*self.entries.get())[index] }
    }

    /// The entry of the highest rank that is held.
    fn highest(&self) -> Option<Held> {
        (self.base.get()..self.len.get()).map(|i| self.entry(i)).max_by_key(|held| held.rank.level)
    }

    fn push(&self, lock: *const (), rank: LockRank) {
        let at = self.len.get();
        assert!(at < MAX_HELD, "too many locks held while taking {}", rank.name);
        // The length first: an interrupt between the two lines then writes above this entry, not over it.
        self.len.set(at + 1);
        // SAFETY: as in `entry`.
        unsafe { (*self.entries.get())[at] = Held { lock, rank } };
    }

    fn remove(&self, lock: *const ()) {
        let len = self.len.get();
        for i in (0..len).rev() {
            if self.entry(i).lock == lock {
                for j in i..len - 1 {
                    // SAFETY: as in `entry`.
                    unsafe { (*self.entries.get())[j] = (*self.entries.get())[j + 1] };
                }
                self.len.set(len - 1);
                return;
            }
        }
        panic!("a lock was released that its holder did not hold");
    }

    /// Whether no lock is in the record.
    pub(crate) fn none_held(&self) -> bool {
        self.len.get() == 0
    }

    fn is_empty(&self) -> bool {
        self.len.get() == self.base.get()
    }
}

/// What kind of lock is taken, for the check.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Spin,
    IrqSpin,
    Sleeping,
}

/// How an acquisition relates to what is held.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Nesting {
    /// Above everything that is held.
    Above,
    /// A second lock of the same rank, which the caller orders by address.
    SameRank,
    /// A `try_lock`: can't deadlock, so any order goes.
    Try,
}

/// Checks an acquisition before it is tried.
#[inline(always)]
pub(super) fn before_acquire(rank: StoredRank, kind: Kind, nesting: Nesting) {
    if CHECKED {
        check(rank.get(), kind, nesting);
    }
}

/// Records a lock that was acquired.
#[inline(always)]
pub(super) fn acquired(lock: *const (), rank: StoredRank, kind: Kind) {
    if CHECKED {
        with_record(kind, |held| held.push(lock, rank.get()));
    }
}

/// Forgets a lock that is about to be released.
#[inline(always)]
pub(super) fn released(lock: *const (), kind: Kind) {
    if CHECKED {
        with_record(kind, |held| held.remove(lock));
    }
}

/// Panics when this CPU holds a spin lock or runs an interrupt handler: the caller is about to sleep.
#[inline(always)]
pub fn assert_may_sleep() {
    if CHECKED {
        let local = crate::cpu::local();
        assert!(local.irq_depth() == 0, "sleeping in an interrupt handler");
        if let Some(held) = local.held_locks().highest() {
            panic!("sleeping while the spin lock \"{}\" is held", held.rank.name);
        }
        assert!(local.pin_depth() == 0, "sleeping while pinned to a CPU");
    }
}

/// Whether taking a lock of this rank would be a violation, for tests: the check itself ends the kernel.
#[cfg(feature = "ktest")]
pub(super) fn violates_order(rank: LockRank) -> bool {
    clashing(rank, Nesting::Above).is_some()
}

/// Whether the caller may sleep, for tests.
#[cfg(feature = "ktest")]
pub(super) fn may_sleep() -> bool {
    let local = crate::cpu::local();
    local.irq_depth() == 0 && local.held_locks().is_empty() && local.pin_depth() == 0
}

/// Called at the entry of an interrupt handler; give the result to [`leave_irq`].
pub(crate) fn enter_irq() -> usize {
    let held = crate::cpu::local().held_locks();
    let old = held.base.get();
    held.base.set(held.len.get());
    old
}

/// Called at the end of an interrupt handler.
pub(crate) fn leave_irq(old_base: usize) {
    let held = crate::cpu::local().held_locks();
    assert!(held.is_empty(), "an interrupt handler returned with a lock held");
    held.base.set(old_base);
}

fn with_record(kind: Kind, f: impl FnOnce(&HeldLocks)) {
    match kind {
        Kind::Spin | Kind::IrqSpin => f(crate::cpu::local().held_locks()),
        Kind::Sleeping => {
            if let Some(task) = crate::task::try_current() {
                f(task.held_locks());
            }
        }
    }
}

#[cold]
#[inline(never)]
fn violation(new: LockRank, held: LockRank) -> ! {
    panic!(
        "lock order violation: taking \"{}\" (rank {}) while holding \"{}\" (rank {})",
        new.name, new.level, held.name, held.level
    );
}

/// The held lock that forbids taking one of this rank.
fn clashing(rank: LockRank, nesting: Nesting) -> Option<LockRank> {
    let local = crate::cpu::local();
    let clashes = |held: &Held| match nesting {
        Nesting::Above => held.rank.level >= rank.level,
        Nesting::SameRank => held.rank.level > rank.level,
        Nesting::Try => false,
    };
    let spin = local.held_locks().highest().filter(clashes);
    let sleeping = || match local.irq_depth() {
        0 => crate::task::try_current()?.held_locks().highest().filter(clashes),
        _ => None,
    };
    spin.or_else(sleeping).map(|held| held.rank)
}

fn check(rank: LockRank, kind: Kind, nesting: Nesting) {
    if crate::cpu::local().irq_depth() != 0 && kind != Kind::IrqSpin {
        panic!("the lock \"{}\" was taken in an interrupt handler but is not interrupt-safe", rank.name);
    }
    if kind == Kind::Sleeping && nesting != Nesting::Try {
        assert_may_sleep();
    }
    if let Some(held) = clashing(rank, nesting) {
        violation(rank, held);
    }
}
