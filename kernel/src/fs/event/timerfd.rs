//! timerfd_create(2): a timer whose expiries are read as a file.
//!
//! Data: the setting, in the time of its clock, and the expiries that nobody has read yet. The kernel's timer runs once for
//! each time that somebody hears of it: a periodic timer that nobody reads does not tick on, what it missed is computed
//! when it is looked at. So the shortest of intervals costs nothing.
//!
//! An absolute time of CLOCK_REALTIME follows that clock: [`clock_was_set`] arms such timers anew, and with
//! TFD_TIMER_CANCEL_ON_SET lets their readers know (ECANCELED).
//!
//! Locks: the state's interrupt-safe spin lock ([`TIMERFD`](lock_order::TIMERFD)), held while the kernel's timer is
//! armed; the list of the timers that follow the wall clock ([`CLOCK_FILES`](lock_order::CLOCK_FILES)) before it.

use ostd::{
    sync::{IrqSpinLock, SpinLock, WaitQueue},
    time,
    timer::Timer,
};

use proctree::NsId;

use crate::{
    fs::{
        anon,
        file::{File, FileOps, OpenFlags},
        io::ReadBuf,
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    process::wait_event::wait_interruptible,
    time::{itimer::Setting, realtime_ns},
};

/// Which clock the timer goes by. The machine never sleeps, so CLOCK_BOOTTIME is CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Monotonic,
    Realtime,
}

impl Base {
    fn now(self) -> u64 {
        match self {
            Base::Monotonic => time::now_ns(),
            Base::Realtime => realtime_ns(),
        }
    }
}

struct State {
    base: Base,
    /// The next expiry, by `base`.
    next: Option<u64>,
    interval: u64,
    /// Expiries not read yet.
    ticks: u64,
    /// Tell the reader when the clock is set.
    cancel_on_set: bool,
    cancelled: bool,
}

impl State {
    /// Counts what has expired by `now`.
    fn advance(&mut self, now: u64) {
        let Some(next) = self.next.filter(|&next| next <= now) else {
            return;
        };
        match (now - next).checked_div(self.interval) {
            // No interval: it expires once.
            None => {
                self.ticks += 1;
                self.next = None;
            }
            Some(missed) => {
                let expired = missed + 1;
                self.ticks = self.ticks.saturating_add(expired);
                self.next = Some(next.saturating_add(self.interval.saturating_mul(expired)));
            }
        }
    }

    fn setting(&self, now: u64) -> Setting {
        // What is about to expire still has something left: 0 would say that it is off.
        let value_ns = self.next.map_or(0, |next| next.saturating_sub(now).max(1));
        Setting { value_ns, interval_ns: self.interval }
    }
}

/// What the timer's callback shares with the file.
struct Shared {
    state: IrqSpinLock<State>,
    readable: Arc<WaitQueue>,
}

impl Shared {
    /// In interrupt context. Stale if the timer was set again meanwhile: then nothing has expired.
    fn expired(&self) {
        let mut state = self.state.lock();
        let now = state.base.now();
        state.advance(now);
        let ticks = state.ticks;
        drop(state);
        if ticks > 0 {
            self.readable.wake_all();
        }
    }
}

pub struct TimerFd {
    shared: Arc<Shared>,
    timer: Arc<Timer>,
    follows_realtime: bool,
    clock: u32,
}

/// Timers set to a wall-clock time, and those that want to know when it is set.
static BY_REALTIME: SpinLock<Vec<Weak<Inner>>> = SpinLock::new(lock_order::CLOCK_FILES, Vec::new());

/// The part that [`clock_was_set`] reaches: as long as the file is open.
struct Inner(TimerFd);

/// A new timer, not set. `clock` is 0 for the wall clock, else one of the monotonic ones.
pub fn new_file(clock: u32, flags: OpenFlags) -> Result<Arc<File>> {
    let follows_realtime = matches!(clock, 0 | 8);
    let state = State {
        base: Base::Monotonic,
        next: None,
        interval: 0,
        ticks: 0,
        cancel_on_set: false,
        cancelled: false,
    };
    let state = IrqSpinLock::new(lock_order::TIMERFD, state);
    let shared = Arc::new(Shared { state, readable: Arc::new(WaitQueue::new()) });
    let theirs = shared.clone();
    let timer = Timer::new(move || theirs.expired());
    let inner = Arc::new(Inner(TimerFd { shared, timer, follows_realtime, clock }));
    anon::new_file(Box::new(TimerFile(inner)), flags)
}

impl TimerFd {
    /// Arms the kernel's timer for the next expiry.
    fn arm(&self, state: &State) {
        match state.next {
            None => {
                self.timer.cancel();
            }
            Some(next) => {
                let left = next.saturating_sub(state.base.now());
                self.timer.arm(time::now_ns().saturating_add(left));
            }
        }
    }

    /// What is left to the next expiry. A periodic timer goes on.
    fn get(&self) -> Setting {
        let mut state = self.shared.state.lock();
        let now = state.base.now();
        state.advance(now);
        if state.interval != 0 {
            self.arm(&state);
        }
        state.setting(now)
    }

    fn set(&self, new: Setting, absolute: bool, cancel_on_set: bool) -> Setting {
        let mut state = self.shared.state.lock();
        let now = state.base.now();
        state.advance(now);
        let old = state.setting(now);
        let base = if absolute && self.follows_realtime { Base::Realtime } else { Base::Monotonic };
        let start = if absolute { 0 } else { base.now() };
        *state = State {
            base,
            next: (new.value_ns != 0).then(|| start.saturating_add(new.value_ns)),
            interval: if new.value_ns == 0 { 0 } else { new.interval_ns },
            ticks: 0,
            cancel_on_set: cancel_on_set && base == Base::Realtime,
            cancelled: false,
        };
        self.arm(&state);
        old
    }

    /// What a read gets; `None` if it has to wait.
    fn take(&self) -> Option<Result<u64>> {
        let mut state = self.shared.state.lock();
        if core::mem::take(&mut state.cancelled) {
            return Some(Err(ECANCELED));
        }
        if state.ticks == 0 {
            return None;
        }
        let now = state.base.now();
        state.advance(now);
        if state.interval != 0 {
            self.arm(&state);
        }
        Some(Ok(core::mem::take(&mut state.ticks)))
    }

    fn clock_was_set(&self) {
        let mut state = self.shared.state.lock();
        if state.base == Base::Monotonic {
            return;
        }
        state.cancelled |= state.cancel_on_set;
        let tell = state.cancelled;
        self.arm(&state);
        drop(state);
        if tell {
            self.shared.readable.wake_all();
        }
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        self.timer.cancel();
    }
}

/// CLOCK_REALTIME was set: timers that wait for a time of it may be due earlier or later.
pub fn clock_was_set() {
    let timers: Vec<_> = {
        let mut list = BY_REALTIME.lock();
        list.retain(|timer| timer.strong_count() > 0);
        list.iter().filter_map(Weak::upgrade).collect()
    };
    for timer in timers {
        timer.0.clock_was_set();
    }
}

/// The open file.
pub struct TimerFile(Arc<Inner>);

impl TimerFile {
    fn timer(&self) -> &TimerFd {
        &self.0.0
    }

    /// Whether setting it needs CAP_WAKE_ALARM.
    pub fn is_alarm(&self) -> bool {
        matches!(self.timer().clock, 8 | 9)
    }

    /// timerfd_gettime(2).
    pub fn get(&self) -> Setting {
        self.timer().get()
    }

    /// timerfd_settime(2): returns the setting before.
    pub fn set(&self, new: Setting, absolute: bool, cancel_on_set: bool) -> Setting {
        if absolute && self.timer().follows_realtime {
            let mut list = BY_REALTIME.lock();
            let this = Arc::downgrade(&self.0);
            list.retain(|timer| timer.strong_count() > 0 && !timer.ptr_eq(&this));
            list.push(this);
        }
        self.timer().set(new, absolute, cancel_on_set)
    }
}

impl FileOps for TimerFile {
    fn directions(&self) -> (bool, bool) {
        (true, false)
    }

    fn read_at(&self, file: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        if buf.left() < size_of::<u64>() {
            return Err(EINVAL);
        }
        let ticks = match self.timer().take() {
            Some(ticks) => ticks,
            None if file.is_nonblocking() => return Err(EAGAIN),
            None => wait_interruptible(&self.timer().shared.readable, || self.timer().take())?,
        };
        buf.put(&ticks?.to_ne_bytes())
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        let shared = &self.timer().shared;
        table.add(&shared.readable);
        let state = shared.state.lock();
        if state.ticks > 0 || state.cancelled { PollEvents::IN } else { PollEvents::empty() }
    }

    fn tells_events(&self) -> bool {
        true
    }

    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }

    fn anonymous_name(&self) -> String {
        String::from("anon_inode:[timerfd]")
    }

    fn describe(&self, _: NsId, out: &mut String) {
        let setting = self.get();
        let ticks = self.timer().shared.state.lock().ticks;
        let pair = |ns: u64| format!("({}, {})", ns / 1_000_000_000, ns % 1_000_000_000);
        *out += &format!("clockid: {}\nticks: {ticks}\n", self.timer().clock);
        *out +=
            &format!("it_value: {}\nit_interval: {}\n", pair(setting.value_ns), pair(setting.interval_ns));
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;

    fn periodic(next: u64, interval: u64) -> State {
        let base = Base::Monotonic;
        State { base, next: Some(next), interval, ticks: 0, cancel_on_set: false, cancelled: false }
    }

    #[ktest::ktest]
    fn missed_intervals_are_counted() {
        let mut state = periodic(100, 10);
        state.advance(99);
        assert_eq!((state.ticks, state.next), (0, Some(100)));
        state.advance(100);
        assert_eq!((state.ticks, state.next), (1, Some(110)));
        state.advance(139);
        assert_eq!((state.ticks, state.next), (4, Some(140)));
        assert_eq!(state.setting(139), Setting { value_ns: 1, interval_ns: 10 });
    }

    #[ktest::ktest]
    fn single_shot_expires_once() {
        let mut state = periodic(100, 0);
        state.advance(500);
        state.advance(900);
        assert_eq!((state.ticks, state.next), (1, None));
        assert_eq!(state.setting(900), Setting::default());
    }

    /// The shortest interval at the end of time neither overflows nor loops.
    #[ktest::ktest]
    fn extreme_intervals_do_not_overflow() {
        let mut state = periodic(1, 1);
        state.advance(u64::MAX);
        assert_eq!((state.ticks, state.next), (u64::MAX, Some(u64::MAX)));
        state.advance(u64::MAX);
        assert_eq!(state.ticks, u64::MAX);
        let mut state = periodic(1, u64::MAX);
        state.advance(5);
        assert_eq!((state.ticks, state.next), (1, Some(u64::MAX)));
    }
}
