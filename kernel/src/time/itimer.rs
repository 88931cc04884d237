//! Interval timers of a process: ITIMER_REAL by the clock, ITIMER_VIRTUAL and ITIMER_PROF by its CPU time
//! (setitimer(2), alarm(2); rules 3.18, 6.18, 10.9).
//!
//! They belong to the process, survive execve and the thread that set them, and end with the process. The real
//! timer is ostd's; its expiry is handed to the deferred worker, which sends SIGALRM. The CPU timers are
//! looked at when a thread of the process comes from user mode by the timer interrupt.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ostd::{sync::SpinLock, time, timer::Timer};

use super::deferred::{self, Repeated};
use crate::{
    lock_order,
    prelude::*,
    process::{
        Process,
        signal::{self, SIGALRM, SIGPROF, SIGVTALRM, SigInfo},
    },
};

/// Which interval timer, by its number in setitimer(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, int_to_c_enum::TryFromInt)]
#[repr(i32)]
pub enum Which {
    Real = 0,
    Virtual = 1,
    Prof = 2,
}

/// Time to the next expiry and the interval after it, in ns; 0 is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setting {
    pub value_ns: u64,
    pub interval_ns: u64,
}

/// An armed timer: when it expires on its clock.
#[derive(Clone, Copy, Default)]
struct Armed {
    deadline_ns: u64,
    interval_ns: u64,
}

#[derive(Default)]
struct State {
    real: Armed,
    virt: Armed,
    prof: Armed,
    /// Made when ITIMER_REAL is first used: most processes never do.
    alarm: Option<Arc<Alarm>>,
}

/// The interval timers of one process.
pub struct ITimers {
    state: SpinLock<State>,
    /// Whether a CPU timer is armed, for the check on the way to user mode.
    cpu_armed: AtomicBool,
}

struct Alarm {
    process: Weak<Process>,
    timer: Arc<Timer>,
}

impl Default for ITimers {
    fn default() -> Self {
        Self::new()
    }
}

impl ITimers {
    pub const fn new() -> ITimers {
        let off = Armed { deadline_ns: 0, interval_ns: 0 };
        let state = State { real: off, virt: off, prof: off, alarm: None };
        ITimers { state: SpinLock::new(lock_order::TIMERS, state), cpu_armed: AtomicBool::new(false) }
    }

    /// Stops them all, when the last thread of the process exits.
    pub fn cancel(&self) {
        let alarm = {
            let mut state = self.state.lock();
            self.cpu_armed.store(false, Relaxed);
            core::mem::take(&mut *state).alarm
        };
        if let Some(alarm) = alarm {
            alarm.timer.cancel();
        }
    }

    pub fn any_cpu_armed(&self) -> bool {
        self.cpu_armed.load(Relaxed)
    }
}

impl State {
    fn slot(&mut self, which: Which) -> &mut Armed {
        match which {
            Which::Real => &mut self.real,
            Which::Virtual => &mut self.virt,
            Which::Prof => &mut self.prof,
        }
    }
}

fn clock_ns(process: &Process, which: Which) -> u64 {
    match which {
        Which::Real => time::now_ns(),
        Which::Virtual => process.user_time_ns(),
        Which::Prof => process.cpu_time_ns(),
    }
}

impl Armed {
    fn setting(&self, now: u64) -> Setting {
        if self.deadline_ns == 0 {
            return Setting::default();
        }
        // A timer about to fire still has something left: 0 would say that it is off.
        let value_ns = self.deadline_ns.saturating_sub(now).max(1);
        Setting { value_ns, interval_ns: self.interval_ns }
    }

    /// Whether it has expired by `now`; if so it is set for its next time, or off.
    fn expire(&mut self, now: u64) -> bool {
        if self.deadline_ns == 0 || now < self.deadline_ns {
            return false;
        }
        self.deadline_ns = match self.interval_ns {
            0 => 0,
            interval => {
                let missed = (now - self.deadline_ns) / interval;
                self.deadline_ns.saturating_add(interval.saturating_mul(missed + 1))
            }
        };
        true
    }
}

/// What the timer is set to now.
pub fn get(process: &Process, which: Which) -> Setting {
    let now = clock_ns(process, which);
    process.itimers.state.lock().slot(which).setting(now)
}

/// Sets the timer and returns what it was set to.
pub fn set(process: &Arc<Process>, which: Which, new: Setting) -> Setting {
    let now = clock_ns(process, which);
    let armed = match new.value_ns {
        0 => Armed::default(),
        value => Armed { deadline_ns: now.saturating_add(value), interval_ns: new.interval_ns },
    };
    let fresh = (which == Which::Real && armed.deadline_ns != 0).then(|| Alarm::new(process));
    let mut state = process.itimers.state.lock();
    let old = core::mem::replace(state.slot(which), armed).setting(now);
    let cpu_armed = state.virt.deadline_ns != 0 || state.prof.deadline_ns != 0;
    process.itimers.cpu_armed.store(cpu_armed, Relaxed);
    if cpu_armed {
        process.watch_cpu_time();
    }
    if which == Which::Real {
        if state.alarm.is_none() {
            state.alarm = fresh;
        }
        if let Some(alarm) = &state.alarm {
            alarm.rearm(armed.deadline_ns);
        }
    }
    old
}

impl Alarm {
    fn new(process: &Arc<Process>) -> Arc<Alarm> {
        let process = Arc::downgrade(process);
        Arc::new_cyclic(|this: &Weak<Alarm>| {
            let alarm = this.clone();
            let timer = Timer::new(move || {
                if let Some(alarm) = alarm.upgrade() {
                    deferred::queue(alarm);
                }
            });
            Alarm { process, timer }
        })
    }

    fn rearm(&self, deadline_ns: u64) {
        match deadline_ns {
            0 => {
                self.timer.cancel();
            }
            deadline => self.timer.arm(deadline),
        }
    }
}

impl Repeated for Alarm {
    fn run(self: Arc<Self>) {
        let Some(process) = self.process.upgrade() else {
            return;
        };
        let fired = {
            let mut state = process.itimers.state.lock();
            let fired = state.real.expire(time::now_ns());
            self.rearm(state.real.deadline_ns);
            fired
        };
        if fired {
            signal::send_process(&process, None, SigInfo::kernel(SIGALRM));
        }
    }
}

/// Sends what the CPU timers owe; called on the way to user mode after a timer interrupt.
pub fn check_cpu_timers(process: &Arc<Process>) {
    let (user, total) = (process.user_time_ns(), process.cpu_time_ns());
    let (virt, prof) = {
        let mut state = process.itimers.state.lock();
        let expired = (state.virt.expire(user), state.prof.expire(total));
        let cpu_armed = state.virt.deadline_ns != 0 || state.prof.deadline_ns != 0;
        process.itimers.cpu_armed.store(cpu_armed, Relaxed);
        expired
    };
    if virt {
        signal::send_process(process, None, SigInfo::kernel(SIGVTALRM));
    }
    if prof {
        signal::send_process(process, None, SigInfo::kernel(SIGPROF));
    }
}
