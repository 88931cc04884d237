//! Dispositions: what a process does on each signal (sigaction(2)).
//!
//! A [`SigHand`] is shared by the threads of a process, and by processes cloned with `CLONE_SIGHAND`.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use bitflags::bitflags;
use ostd::sync::SpinLock;
use spin::Once;

use super::set::{DEFAULT_IGNORED, NSIG, SIGCHLD, SigSet, Signo};
use crate::{lock_order, prelude::*};

bitflags! {
    /// `sa_flags`. Unknown bits are kept, as Linux keeps them, but `SA_UNSUPPORTED` reads back clear.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct SaFlags: u64 {
        const NOCLDSTOP = 0x1;
        const NOCLDWAIT = 0x2;
        const SIGINFO = 0x4;
        const UNSUPPORTED = 0x400;
        const EXPOSE_TAGBITS = 0x800;
        const RESTORER = 0x0400_0000;
        const ONSTACK = 0x0800_0000;
        const RESTART = 0x1000_0000;
        const NODEFER = 0x4000_0000;
        const RESETHAND = 0x8000_0000;
    }
}

pub const SIG_DFL: u64 = 0;
pub const SIG_IGN: u64 = 1;

/// `struct kernel_sigaction`, in its ABI's order.
#[derive(Clone, Copy, Debug, Default)]
pub struct SigAction {
    pub handler: u64,
    pub flags: SaFlags,
    pub restorer: u64,
    pub mask: SigSet,
}

impl SigAction {
    pub const IGNORE: SigAction =
        SigAction { handler: SIG_IGN, flags: SaFlags::empty(), restorer: 0, mask: SigSet::EMPTY };

    /// Whether the disposition throws `signo` away.
    pub fn ignores(&self, signo: Signo) -> bool {
        self.handler == SIG_IGN || (self.handler == SIG_DFL && DEFAULT_IGNORED.contains(signo))
    }

    pub fn is_default(&self) -> bool {
        self.handler == SIG_DFL
    }

    pub fn is_caught(&self) -> bool {
        self.handler > SIG_IGN
    }
}

/// The dispositions of all signals. The lock nests inside that of the signal state.
///
/// Their table is shared with the process that this one was forked from until one of them changes something, which few
/// do: it takes 2 KiB.
pub struct SigHand {
    table: SpinLock<Arc<Table>>,
    /// What the table says of SIGCHLD, as [`SigchldDisposition`]: each death of a child asks. Written with the table locked.
    sigchld: AtomicU8,
}

#[derive(Clone)]
struct Table {
    actions: [SigAction; NSIG as usize],
    /// Bit n: `actions[n]` was set at some time; the others are as in [`SigAction::default`].
    touched: u64,
}

/// The table with every signal at its default, which programs start with.
static DEFAULTS: Once<Arc<Table>> = Once::new();

impl Table {
    fn defaults() -> Arc<Table> {
        DEFAULTS
            .call_once(|| Arc::new(Table { actions: [SigAction::default(); NSIG as usize], touched: 0 }))
            .clone()
    }

    /// The entries that may differ from the default, by index.
    fn touched(&self) -> impl Iterator<Item = (usize, &SigAction)> {
        let mut left = self.touched;
        core::iter::from_fn(move || {
            let i = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            Some((i, self.actions.get(i)?))
        })
    }

    fn sigchld(&self) -> SigchldDisposition {
        let action = &self.actions[index(SIGCHLD)];
        if action.handler == SIG_IGN {
            SigchldDisposition::Ignored
        } else if action.flags.contains(SaFlags::NOCLDWAIT) {
            SigchldDisposition::NoCldWait
        } else {
            SigchldDisposition::Normal
        }
    }

    /// For changing an entry.
    fn entry(&mut self, signo: Signo) -> &mut SigAction {
        self.touched |= 1 << index(signo);
        &mut self.actions[index(signo)]
    }
}

/// The table of a program that starts where `table` was in force: handlers are gone, ignored signals stay ignored.
fn without_handlers(table: &Arc<Table>) -> Arc<Table> {
    if table.touched == 0 {
        return table.clone();
    }
    let mut new = Table::defaults();
    for (i, _) in table.touched().filter(|(_, action)| action.handler == SIG_IGN) {
        Arc::make_mut(&mut new).entry(i as Signo + 1).handler = SIG_IGN;
    }
    new
}

/// How a parent has said that it takes its children's deaths (rules 4.23, 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SigchldDisposition {
    /// Zombies wait for the parent, SIGCHLD is sent.
    Normal = 0,
    /// `SA_NOCLDWAIT` with a handler or the default: no zombie, SIGCHLD is sent.
    NoCldWait = 1,
    /// `SIG_IGN`: no zombie, no signal.
    Ignored = 2,
}

impl SigHand {
    fn with(table: Arc<Table>) -> Arc<SigHand> {
        let sigchld = AtomicU8::new(table.sigchld() as u8);
        Arc::new(SigHand { table: SpinLock::new(lock_order::SIGHAND, table), sigchld })
    }

    /// Changes the table.
    fn change<R>(&self, f: impl FnOnce(&mut Arc<Table>) -> R) -> R {
        let mut table = self.table.lock();
        let result = f(&mut table);
        self.sigchld.store(table.sigchld() as u8, Relaxed);
        result
    }

    /// Every signal at its default.
    pub fn new_default() -> Arc<SigHand> {
        SigHand::with(Table::defaults())
    }

    /// The dispositions of a forked child; with `CLONE_CLEAR_SIGHAND` handlers fall back to the default while
    /// ignored signals stay ignored (rule 6.21).
    pub fn fork_copy(&self, clear_handlers: bool) -> Arc<SigHand> {
        let table = self.table.lock().clone();
        SigHand::with(if clear_handlers { without_handlers(&table) } else { table })
    }

    /// execve: handlers are gone with the old program, ignored signals stay ignored (rules 10.9, 10.10).
    pub fn reset_handlers(&self) {
        self.change(|table| *table = without_handlers(table));
    }

    #[inline]
    pub fn get(&self, signo: Signo) -> SigAction {
        self.table.lock().actions[index(signo)]
    }

    pub fn set(&self, signo: Signo, action: SigAction) -> SigAction {
        self.change(|table| core::mem::replace(Arc::make_mut(table).entry(signo), action))
    }

    /// `SA_RESETHAND`: back to the default, flags and mask kept.
    pub fn reset(&self, signo: Signo) {
        self.change(|table| Arc::make_mut(table).entry(signo).handler = SIG_DFL);
    }

    pub fn sigchld(&self) -> SigchldDisposition {
        match self.sigchld.load(Relaxed) {
            2 => SigchldDisposition::Ignored,
            1 => SigchldDisposition::NoCldWait,
            _ => SigchldDisposition::Normal,
        }
    }

    /// Which signals are ignored by choice, and which have a handler: SigIgn and SigCgt of /proc/PID/status.
    pub fn ignored_and_caught(&self) -> (SigSet, SigSet) {
        let (mut ignored, mut caught) = (SigSet::EMPTY, SigSet::EMPTY);
        for (i, action) in self.table.lock().touched() {
            let signo = i as Signo + 1;
            if action.handler == SIG_IGN {
                ignored.insert(signo);
            } else if action.is_caught() {
                caught.insert(signo);
            }
        }
        (ignored, caught)
    }
}

fn index(signo: Signo) -> usize {
    signo as usize - 1
}
