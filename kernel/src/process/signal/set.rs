//! Signal numbers, sets of them, and what each does by default (signal(7), rules 3.2, 3.3).

use core::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Not};

/// A signal number, 1..=64.
pub type Signo = u8;

/// The highest signal number.
pub const NSIG: Signo = 64;

pub const SIGHUP: Signo = 1;
pub const SIGINT: Signo = 2;
pub const SIGQUIT: Signo = 3;
pub const SIGILL: Signo = 4;
pub const SIGTRAP: Signo = 5;
pub const SIGABRT: Signo = 6;
pub const SIGBUS: Signo = 7;
pub const SIGFPE: Signo = 8;
pub const SIGKILL: Signo = 9;
pub const SIGSEGV: Signo = 11;
pub const SIGPIPE: Signo = 13;
pub const SIGALRM: Signo = 14;
pub const SIGCHLD: Signo = 17;
pub const SIGCONT: Signo = 18;
pub const SIGSTOP: Signo = 19;
pub const SIGTSTP: Signo = 20;
pub const SIGTTIN: Signo = 21;
pub const SIGTTOU: Signo = 22;
pub const SIGURG: Signo = 23;
pub const SIGXCPU: Signo = 24;
pub const SIGXFSZ: Signo = 25;
pub const SIGVTALRM: Signo = 26;
pub const SIGPROF: Signo = 27;
pub const SIGWINCH: Signo = 28;
pub const SIGSYS: Signo = 31;
/// The first real-time signal of the kernel (glibc keeps 32 and 33 for itself).
pub const SIGRTMIN: Signo = 32;

/// A set of signals in the layout of the kernel ABI: bit n-1 is signal n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SigSet(pub u64);

impl SigSet {
    pub const EMPTY: SigSet = SigSet(0);

    pub const fn of(signals: &[Signo]) -> SigSet {
        let mut bits = 0;
        let mut i = 0;
        while i < signals.len() {
            bits |= 1 << (signals[i] - 1);
            i += 1;
        }
        SigSet(bits)
    }

    pub fn contains(self, signo: Signo) -> bool {
        self.0 & (1 << (signo - 1)) != 0
    }

    pub fn insert(&mut self, signo: Signo) {
        self.0 |= 1 << (signo - 1);
    }

    pub fn remove(&mut self, signo: Signo) {
        self.0 &= !(1 << (signo - 1));
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest signal number in the set.
    pub fn lowest(self) -> Option<Signo> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as Signo + 1)
    }

    /// The set without SIGKILL and SIGSTOP, which no mask can hold (rule 7.15).
    pub fn maskable(self) -> SigSet {
        self & !UNBLOCKABLE
    }
}

impl BitAnd for SigSet {
    type Output = SigSet;
    fn bitand(self, rhs: SigSet) -> SigSet {
        SigSet(self.0 & rhs.0)
    }
}

impl BitAndAssign for SigSet {
    fn bitand_assign(&mut self, rhs: SigSet) {
        self.0 &= rhs.0;
    }
}

impl BitOr for SigSet {
    type Output = SigSet;
    fn bitor(self, rhs: SigSet) -> SigSet {
        SigSet(self.0 | rhs.0)
    }
}

impl BitOrAssign for SigSet {
    fn bitor_assign(&mut self, rhs: SigSet) {
        self.0 |= rhs.0;
    }
}

impl Not for SigSet {
    type Output = SigSet;
    fn not(self) -> SigSet {
        SigSet(!self.0)
    }
}

/// Cannot be caught, blocked or ignored.
pub const UNBLOCKABLE: SigSet = SigSet::of(&[SIGKILL, SIGSTOP]);
/// Stop the process by default.
pub const STOP_SIGNALS: SigSet = SigSet::of(&[SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU]);
/// Those that cancel what is pending of one another.
pub const STOPS_AND_CONT: SigSet = SigSet(STOP_SIGNALS.0 | SigSet::of(&[SIGCONT]).0);
/// Ignored by default (SIGCONT after it has continued the process).
pub const DEFAULT_IGNORED: SigSet = SigSet::of(&[SIGCHLD, SIGCONT, SIGURG, SIGWINCH]);
/// Dump core by default.
pub const CORE_SIGNALS: SigSet =
    SigSet::of(&[SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGXCPU, SIGXFSZ, SIGSYS]);
/// Raised by the instruction that the thread was executing: taken before all others (rule 7.13).
pub const SYNCHRONOUS: SigSet = SigSet::of(&[SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS]);

/// What a signal with the default disposition does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    Ignore,
    Stop,
    Terminate,
    CoreDump,
}

pub fn default_action(signo: Signo) -> DefaultAction {
    if DEFAULT_IGNORED.contains(signo) {
        DefaultAction::Ignore
    } else if STOP_SIGNALS.contains(signo) {
        DefaultAction::Stop
    } else if CORE_SIGNALS.contains(signo) {
        DefaultAction::CoreDump
    } else {
        DefaultAction::Terminate
    }
}
