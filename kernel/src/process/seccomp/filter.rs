//! Filters, and the chains that they form.

use bitflags::bitflags;
use bpf::{Data, Program};

use spin::Once;

use super::{act::Action, notify::Notifier};
use crate::{prelude::*, syscall::table};

bitflags! {
    /// Flags of SECCOMP_SET_MODE_FILTER.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FilterFlags: usize {
        const TSYNC = 1 << 0;
        /// Log every answer but "allow".
        const LOG = 1 << 1;
        /// Speculative store bypass stays allowed: there is nothing here that would forbid it.
        const SPEC_ALLOW = 1 << 2;
        /// A descriptor is made, whose reader is asked.
        const NEW_LISTENER = 1 << 3;
        const TSYNC_ESRCH = 1 << 4;
        /// Who asks is not interrupted, but by fatal signals, once the question was received.
        const WAIT_KILLABLE_RECV = 1 << 5;
    }
}

/// AUDIT_ARCH_X86_64
pub const ARCH: u32 = 0xc000_003e;

/// The most instructions of all filters of a chain together, four being counted for each filter besides its own.
const MAX_CHAIN_COST: u32 = 32768;
const COST_PER_FILTER: u32 = 4;

/// Bytes of memory for each instruction.
const BYTES_PER_INSN: usize = 8;

/// One bit for each system call.
type CallSet = [u64; table::SIZE.div_ceil(64)];

/// A filter: see the [module's description](super).
pub struct Filter {
    program: Program,
    previous: Option<Arc<Filter>>,
    /// The calls that the whole chain allows whatever their arguments are: most of them, with most filters.
    allowed: CallSet,
    /// Of the whole chain.
    cost: u32,
    count: u32,
    /// Each answer but "allow" is logged.
    pub log: bool,
    /// Whom it asks: set before anybody has the filter.
    notifier: Once<Arc<Notifier>>,
}

impl Filter {
    /// A filter that is asked beside those of `previous`.
    ///
    /// # Errors
    /// ENOMEM, also when the chain gets too long.
    pub fn new(program: Program, previous: Option<Arc<Filter>>, flags: FilterFlags) -> Result<Arc<Filter>> {
        if !ostd::mm::kernel_reserve_ok(1 + program.len() * BYTES_PER_INSN / PAGE_SIZE) {
            return Err(ENOMEM);
        }
        let before = previous.as_ref().map_or(0, |filter| filter.cost);
        if program.cost() + before > MAX_CHAIN_COST {
            return Err(ENOMEM);
        }
        let cost = before + program.cost() + COST_PER_FILTER;
        let count = 1 + previous.as_ref().map_or(0, |filter| filter.count);
        let allowed = allowed_calls(&program, previous.as_deref());
        let log = flags.contains(FilterFlags::LOG);
        Ok(Arc::new(Filter { program, previous, allowed, cost, count, log, notifier: Once::new() }))
    }

    /// The same filter behind another chain, as nobody has it yet.
    pub fn continuing(self: Arc<Filter>, previous: Option<Arc<Filter>>) -> Result<Arc<Filter>> {
        let flags = if self.log { FilterFlags::LOG } else { FilterFlags::empty() };
        Filter::new(self.program.clone(), previous, flags)
    }

    /// Whom it asks.
    pub fn notifier(&self) -> Option<&Arc<Notifier>> {
        self.notifier.get()
    }

    /// Says whom it asks, as long as nobody has it yet.
    pub fn set_notifier(&self, notifier: Arc<Notifier>) {
        self.notifier.call_once(|| notifier);
    }

    /// Whether one of the chain has a listener.
    pub fn has_listener(&self) -> bool {
        self.chain().any(|filter| filter.notifier().is_some_and(|notifier| notifier.is_open()))
    }

    /// This filter and all before it, the newest first.
    pub fn chain(&self) -> impl Iterator<Item = &Filter> {
        core::iter::successors(Some(self), |filter| filter.previous.as_deref())
    }

    /// How many there are in the chain.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether the chain allows every call `number`.
    pub fn always_allows(&self, number: usize) -> bool {
        self.allowed.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// The strictest answer in the chain, the newest filter's among equals, and whose it is.
    pub fn ask(&self, data: &Data) -> (u32, &Filter) {
        let mut answer = (Action::ALLOW, self);
        for filter in self.chain() {
            let said = filter.program.run(data);
            if Action::rank(said) < Action::rank(answer.0) {
                answer = (said, filter);
            }
        }
        answer
    }
}

fn allowed_calls(program: &Program, previous: Option<&Filter>) -> CallSet {
    let mut set = CallSet::default();
    for number in 0..table::SIZE {
        let before = previous.is_none_or(|filter| filter.always_allows(number));
        if before && program.constant(number as i32, ARCH) == Some(Action::ALLOW) {
            set[number / 64] |= 1 << (number % 64);
        }
    }
    set
}

/// The last thread that had it is gone. A long chain must not be dropped by recursion.
impl Drop for Filter {
    fn drop(&mut self) {
        if let Some(notifier) = self.notifier() {
            notifier.abandon();
        }
        let mut next = self.previous.take();
        while let Some(mut filter) = next.and_then(Arc::into_inner) {
            next = filter.previous.take();
        }
    }
}
