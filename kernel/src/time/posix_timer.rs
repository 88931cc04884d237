//! POSIX timers: timer_create(2) and its relatives.
//!
//! *Life.* A timer belongs to a process. It ends by timer_delete, with the last thread of its process, and at execve; fork does
//! not hand it on (rules 3.9, 6.18, 10.10). Its number is the next one of its process, or the one that the program asks for
//! after PR_TIMER_CREATE_RESTORE_IDS. It counts against RLIMIT_SIGPENDING from the start, and so its signal always has
//! room.
//!
//! *One signal per timer.* An interval timer is not set again before its signal is taken: then the times that passed
//! meanwhile are counted (the overrun), and the next expiry is in the future again. So the shortest interval costs no more
//! than the program takes signals. A signal that waits in a queue belongs to one setting of its timer
//! ([`generation`](PosixTimer::generation)): setting or deleting the timer makes it stale, and a stale one is thrown away
//! when it would be taken. The signal of an interval timer that is ignored is remembered, and sent when it is ignored no
//! longer.
//!
//! *Clocks.* A timer of the machine's clocks is an ostd timer, whose expiry the deferred worker carries out. An absolute time
//! of the wall clock follows that clock when it is set ([`clock_was_set`]). A timer of CPU time is in the list of the process
//! whose time it measures, and looked at by that process's threads on their way to user mode after a tick.
//!
//! *Locks.* A process's table (rank `POSIX_TIMERS`); a timer's state (`TIMERS`), which may be taken inside the signal lock, since
//! taking a signal asks whether it is stale; a process's list of armed CPU timers (`CPU_TIMERS`) inside that. CPU clocks are
//! read with none of them held, because that takes the signal lock.

use alloc::collections::BTreeMap;
use core::{
    fmt::{self, Write},
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use ostd::{sync::SpinLock, time, timer::Timer};

use super::{
    clock::{self, Clock, CpuTime, process_time, tai_ns, thread_time},
    deferred::{self, Repeated},
    itimer::Setting,
    realtime_ns,
};
use crate::{
    lock_order,
    prelude::*,
    process::{
        Process, Thread,
        rlimit::Resource,
        signal::{self, Charge, SIGALRM, Signo, valid_signo},
        tree,
    },
};

/// How the program hears of an expiry: `sigev_notify`.
pub mod notify {
    pub const SIGNAL: i32 = 0;
    pub const NONE: i32 = 1;
    pub const THREAD: i32 = 2;
    pub const THREAD_ID: i32 = 4;
}

/// What `struct sigevent` asks for.
#[derive(Clone, Copy, Debug)]
pub struct SigEvent {
    pub value: u64,
    pub signo: i32,
    pub notify: i32,
    pub thread: i32,
}

/// Whose time a timer measures. Timers keep nobody alive.
enum Base {
    Realtime,
    Tai,
    Monotonic,
    Process(Weak<Process>, CpuTime),
    Thread(Weak<Thread>, CpuTime),
}

/// Who gets the signal.
enum Receiver {
    Nobody,
    Process,
    Thread(Weak<Thread>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Off,
    Armed,
    /// An interval timer whose signal is on its way: set again when it is taken.
    Expired,
}

struct State {
    status: Status,
    /// A relative time of the wall clock is measured by the monotonic one, which nobody sets.
    relative: bool,
    /// The next expiry, by the clock.
    next: u64,
    interval: u64,
    /// Expiries since the last signal that was taken, less one.
    overrun: i64,
    /// Of the last signal that was taken.
    last_overrun: i64,
}

pub struct PosixTimer {
    id: i32,
    clock_id: i32,
    base: Base,
    event: SigEvent,
    signo: Signo,
    receiver: Receiver,
    /// The number of the receiver, for /proc.
    receiver_nr: u32,
    owner: Weak<Process>,
    state: SpinLock<State>,
    /// Counts settings.
    generation: AtomicU32,
    /// The generation that the signal belongs to.
    sent: AtomicU32,
    /// The signal is in a queue. Written under the owner's signal lock.
    queued: AtomicBool,
    /// The signal was thrown away because it is ignored. Written under the owner's signal lock.
    ignored: AtomicBool,
    alarm: Arc<Timer>,
    _charge: Charge,
}

impl fmt::Debug for PosixTimer {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("PosixTimer").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The timers of a process.
pub struct PosixTimers {
    table: SpinLock<Table>,
    /// There is or was one: most processes never have any.
    used: AtomicBool,
    /// The armed timers, of any process, that measure this one's CPU time.
    cpu: SpinLock<Vec<Arc<PosixTimer>>>,
    /// There is or was one.
    measured: AtomicBool,
}

struct Table {
    timers: BTreeMap<i32, Arc<PosixTimer>>,
    next_id: u32,
    /// PR_TIMER_CREATE_RESTORE_IDS.
    restore_ids: bool,
}

impl Default for PosixTimers {
    fn default() -> Self {
        Self::new()
    }
}

impl PosixTimers {
    pub const fn new() -> PosixTimers {
        let table = Table { timers: BTreeMap::new(), next_id: 0, restore_ids: false };
        PosixTimers {
            table: SpinLock::new(lock_order::POSIX_TIMERS, table),
            used: AtomicBool::new(false),
            cpu: SpinLock::new(lock_order::CPU_TIMERS, Vec::new()),
            measured: AtomicBool::new(false),
        }
    }

    /// Whether the process ever had a timer.
    pub fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }

    pub fn restores_ids(&self) -> bool {
        self.table.lock().restore_ids
    }

    pub fn set_restore_ids(&self, on: bool) {
        self.used.store(true, Relaxed);
        self.table.lock().restore_ids = on;
    }

    /// Deletes them all: at execve and when the last thread exits.
    pub fn delete_all(&self) {
        if !self.is_used() {
            return;
        }
        let timers = {
            let mut table = self.table.lock();
            table.restore_ids = false;
            core::mem::take(&mut table.timers)
        };
        timers.values().for_each(|timer| timer.retire());
    }

    /// Forgets the timers that measure this process, which has used all its time.
    pub fn stop_cpu_timers(&self) {
        if !self.measured.load(Relaxed) {
            return;
        }
        let dropped = core::mem::take(&mut *self.cpu.lock());
        drop(dropped);
    }

    fn find(&self, id: i32) -> Result<Arc<PosixTimer>> {
        if !self.is_used() {
            return Err(EINVAL);
        }
        self.table.lock().timers.get(&id).cloned().ok_or(EINVAL)
    }

    fn all(&self) -> Vec<Arc<PosixTimer>> {
        self.table.lock().timers.values().cloned().collect()
    }
}

impl Table {
    /// Takes a number that is free: the one asked for, or the next.
    fn take_id(&mut self, asked: Option<i32>) -> Result<i32> {
        if let Some(id) = asked {
            if self.timers.contains_key(&id) {
                return Err(EBUSY);
            }
            // What is made after this by counting lies behind what was asked for.
            self.next_id = id as u32 + 1;
            return Ok(id);
        }
        for _ in 0..=self.timers.len() {
            let id = (self.next_id & i32::MAX as u32) as i32;
            self.next_id = self.next_id.wrapping_add(1);
            if !self.timers.contains_key(&id) {
                return Ok(id);
            }
        }
        Err(EAGAIN)
    }
}

/// timer_create(2): a timer that is not set. `asked` is the number that it shall have.
///
/// # Errors
/// `EINVAL` for an event that makes no sense, `EBUSY` if the number is taken, `EAGAIN` at RLIMIT_SIGPENDING.
pub fn create(
    caller: &Arc<Thread>,
    clock_id: i32,
    clock: Clock,
    event: Option<SigEvent>,
    asked: Option<i32>,
) -> Result<i32> {
    let process = &caller.process;
    let limit = process.rlimit(Resource::Sigpending);
    let charge = Charge::new(caller.creds().user.clone(), limit).ok_or(EAGAIN)?;
    process.posix_timers.used.store(true, Relaxed);
    let id = process.posix_timers.table.lock().take_id(asked)?;
    let (receiver, receiver_nr, signo) = match &event {
        Some(event) => receiver(caller, event)?,
        None => (Receiver::Process, process.pid(), SIGALRM),
    };
    let event =
        event.unwrap_or(SigEvent { value: id as u32 as u64, signo: SIGALRM.into(), notify: 0, thread: 0 });
    let base = match clock {
        Clock::Realtime => Base::Realtime,
        Clock::Tai => Base::Tai,
        Clock::Monotonic => Base::Monotonic,
        Clock::Process(process, which) => Base::Process(Arc::downgrade(&process), which),
        Clock::Thread(thread, which) => Base::Thread(Arc::downgrade(&thread), which),
        Clock::Zombie(_) => Base::Process(Weak::new(), CpuTime::All),
    };
    let timer = Arc::new_cyclic(|this: &Weak<PosixTimer>| {
        let this = this.clone();
        let alarm = Timer::new(move || {
            if let Some(timer) = this.upgrade() {
                deferred::queue(timer);
            }
        });
        let state = State {
            status: Status::Off,
            relative: false,
            next: 0,
            interval: 0,
            overrun: -1,
            last_overrun: 0,
        };
        PosixTimer {
            id,
            clock_id: clock::long_id(clock_id),
            base,
            event,
            signo,
            receiver,
            receiver_nr,
            owner: Arc::downgrade(process),
            state: SpinLock::new(lock_order::TIMERS, state),
            generation: AtomicU32::new(0),
            sent: AtomicU32::new(0),
            queued: AtomicBool::new(false),
            ignored: AtomicBool::new(false),
            alarm,
            _charge: charge,
        }
    });
    let mut table = process.posix_timers.table.lock();
    if table.timers.contains_key(&id) {
        // Another thread asked for the same number.
        drop(table);
        return Err(EBUSY);
    }
    table.timers.insert(id, timer);
    Ok(id)
}

/// Checks what the program asked for, and finds who gets the signal.
fn receiver(caller: &Thread, event: &SigEvent) -> Result<(Receiver, u32, Signo)> {
    let process = &caller.process;
    let (receiver, nr) = match event.notify {
        notify::NONE => return Ok((Receiver::Nobody, process.pid(), 0)),
        notify::SIGNAL | notify::THREAD => (Receiver::Process, process.pid()),
        notify::THREAD_ID => {
            let nr = u32::try_from(event.thread).map_err(|_| EINVAL)?;
            let threads = signal::threads(process);
            let thread = threads.iter().find(|thread| thread.tid() == nr).ok_or(EINVAL)?;
            (Receiver::Thread(Arc::downgrade(thread)), nr)
        }
        _ => return Err(EINVAL),
    };
    Ok((receiver, nr, valid_signo(event.signo as usize)?))
}

/// timer_settime(2). Returns what the timer was set to.
///
/// # Errors
/// `EINVAL` if there is no such timer, `ESRCH` if the owner of the CPU clock has gone.
pub fn set(process: &Process, id: i32, new: Setting, absolute: bool) -> Result<Setting> {
    process.posix_timers.find(id)?.set(new, absolute)
}

/// timer_gettime(2).
///
/// # Errors
/// `EINVAL` if there is no such timer.
pub fn get(process: &Process, id: i32) -> Result<Setting> {
    Ok(process.posix_timers.find(id)?.get())
}

/// timer_getoverrun(2): of the last signal that was taken.
///
/// # Errors
/// `EINVAL` if there is no such timer.
pub fn overrun(process: &Process, id: i32) -> Result<i32> {
    let timer = process.posix_timers.find(id)?;
    let overrun = timer.state.lock().last_overrun;
    Ok(clamp(overrun))
}

/// timer_delete(2).
///
/// # Errors
/// `EINVAL` if there is no such timer.
pub fn delete(process: &Process, id: i32) -> Result<()> {
    if !process.posix_timers.is_used() {
        return Err(EINVAL);
    }
    let timer = process.posix_timers.table.lock().timers.remove(&id).ok_or(EINVAL)?;
    timer.retire();
    Ok(())
}

/// The wall clock was set: timers that wait for a time of it are due earlier or later.
pub fn clock_was_set() {
    for process in tree::all_processes() {
        if process.posix_timers.is_used() {
            process.posix_timers.all().iter().for_each(|timer| timer.rearm());
        }
    }
}

/// A signal is ignored no longer: the interval timers whose signal was thrown away go on.
pub fn unignore(process: &Process, signo: Signo) {
    for timer in process.posix_timers.all() {
        if timer.signo == signo && timer.ignored.swap(false, Relaxed) && !timer.is_stale() {
            timer.send();
        }
    }
}

/// Fires what has expired of the timers that measure `process`.
pub fn check_cpu_timers(process: &Process) {
    let timers = process.posix_timers.cpu.lock().clone();
    timers.iter().for_each(|timer| timer.expire());
}

/// Whether a timer measures the CPU time of `process`.
pub fn any_cpu_armed(process: &Process) -> bool {
    let timers = &process.posix_timers;
    timers.measured.load(Relaxed) && !timers.cpu.lock().is_empty()
}

/// The text of /proc/PID/timers.
pub fn describe(process: &Process) -> String {
    let mut out = String::new();
    for timer in process.posix_timers.all() {
        let event = &timer.event;
        let how = ["signal", "none", "thread"][(event.notify & 3) as usize % 3];
        let whom = if event.notify & notify::THREAD_ID != 0 { "tid" } else { "pid" };
        let _ = write!(
            out,
            "ID: {}\nsignal: {}/{:016x}\nnotify: {how}/{whom}.{}\nClockID: {}\n",
            timer.id, event.signo, event.value, timer.receiver_nr, timer.clock_id
        );
    }
    out
}

fn clamp(overrun: i64) -> i32 {
    i32::try_from(overrun).unwrap_or(i32::MAX)
}

impl State {
    /// Moves the expiry beyond `now` in whole intervals, and counts them.
    fn forward(&mut self, now: u64) {
        if now < self.next || self.interval == 0 {
            return;
        }
        let passed = (now - self.next) / self.interval + 1;
        self.next = self.next.saturating_add(self.interval.saturating_mul(passed));
        self.overrun = self.overrun.saturating_add_unsigned(passed);
    }

    fn setting(&mut self, now: u64, silent: bool) -> Setting {
        if self.status == Status::Off && !(silent && self.next != 0) {
            return Setting { value_ns: 0, interval_ns: self.interval };
        }
        if self.status != Status::Armed {
            self.forward(now);
        }
        let left = self.next.saturating_sub(now);
        // A signal is still to come: 0 would say that the timer is off.
        let value_ns = if silent { left } else { left.max(1) };
        Setting { value_ns, interval_ns: self.interval }
    }
}

impl PosixTimer {
    pub fn signo(&self) -> Signo {
        self.signo
    }

    pub fn id(&self) -> i32 {
        self.id
    }

    pub fn value(&self) -> u64 {
        self.event.value
    }

    /// The CPU time that the timer measures; `None` for the other clocks, or if who used it has gone.
    fn cpu_now(&self) -> Option<u64> {
        match &self.base {
            Base::Process(process, which) => Some(process_time(&*process.upgrade()?, *which)),
            Base::Thread(thread, which) => Some(thread_time(&*thread.upgrade()?, *which)),
            _ => None,
        }
    }

    fn is_cpu(&self) -> bool {
        matches!(self.base, Base::Process(..) | Base::Thread(..))
    }

    /// What the clock shows; `cpu` is what [`cpu_now`](Self::cpu_now) said.
    fn now(&self, relative: bool, cpu: Option<u64>) -> u64 {
        match &self.base {
            Base::Realtime if !relative => realtime_ns(),
            Base::Tai if !relative => tai_ns(),
            Base::Process(..) | Base::Thread(..) => cpu.unwrap_or(0),
            _ => time::now_ns(),
        }
    }

    fn is_silent(&self) -> bool {
        matches!(self.receiver, Receiver::Nobody)
    }

    fn set(self: &Arc<Self>, new: Setting, absolute: bool) -> Result<Setting> {
        let (cpu, measured) = (self.cpu_now(), self.measured());
        if self.is_cpu() && cpu.is_none() {
            return Err(ESRCH);
        }
        let mut state = self.state.lock();
        self.generation.fetch_add(1, Relaxed);
        let now = self.now(state.relative, cpu);
        let old = state.setting(now, self.is_silent());
        self.disarm(&mut state, measured.as_deref());
        state.relative = !absolute;
        let start = if absolute { 0 } else { self.now(true, cpu) };
        state.overrun = -1;
        state.last_overrun = 0;
        state.interval = if new.value_ns == 0 { 0 } else { new.interval_ns };
        state.next = if new.value_ns == 0 { 0 } else { start.saturating_add(new.value_ns) };
        if new.value_ns != 0 && !self.is_silent() {
            self.arm(&mut state, measured.as_deref());
        }
        let due = self.is_cpu() && state.status == Status::Armed && cpu.is_some_and(|now| now >= state.next);
        drop(state);
        if due {
            self.expire();
        }
        Ok(old)
    }

    fn get(&self) -> Setting {
        let cpu = self.cpu_now();
        if self.is_cpu() && cpu.is_none() {
            return Setting::default();
        }
        let mut state = self.state.lock();
        let now = self.now(state.relative, cpu);
        state.setting(now, self.is_silent())
    }

    /// `measured` is what [`measured`](Self::measured) said, asked for without the lock: it may be the last reference.
    fn arm(self: &Arc<Self>, state: &mut State, measured: Option<&Process>) {
        state.status = Status::Armed;
        match measured {
            Some(process) => {
                process.posix_timers.measured.store(true, Relaxed);
                let mut list = process.posix_timers.cpu.lock();
                if !list.iter().any(|timer| Arc::ptr_eq(timer, self)) {
                    list.push(self.clone());
                }
                process.watch_cpu_time();
            }
            // Whose time it measures has gone.
            None if self.is_cpu() => {}
            None => {
                let left = state.next.saturating_sub(self.now(state.relative, None));
                self.alarm.arm(time::now_ns().saturating_add(left));
            }
        }
    }

    fn disarm(&self, state: &mut State, measured: Option<&Process>) {
        state.status = Status::Off;
        self.alarm.cancel();
        if let Some(process) = measured {
            process.posix_timers.cpu.lock().retain(|timer| !core::ptr::eq(&**timer, self));
        }
    }

    /// The process whose CPU time, or a thread's of it, the timer measures.
    fn measured(&self) -> Option<Arc<Process>> {
        match &self.base {
            Base::Process(process, _) => process.upgrade(),
            Base::Thread(thread, _) => Some(thread.upgrade()?.process.clone()),
            _ => None,
        }
    }

    /// The clock has been set.
    fn rearm(self: &Arc<Self>) {
        if matches!(self.base, Base::Realtime | Base::Tai) {
            let mut state = self.state.lock();
            if state.status == Status::Armed && !state.relative {
                self.arm(&mut state, None);
            }
        }
    }

    /// The timer exists no longer.
    fn retire(&self) {
        let measured = self.measured();
        let mut state = self.state.lock();
        self.generation.fetch_add(1, Relaxed);
        state.interval = 0;
        self.disarm(&mut state, measured.as_deref());
    }

    /// Sends the signal if the time has come.
    fn expire(self: &Arc<Self>) {
        let (cpu, measured) = (self.cpu_now(), self.measured());
        let mut state = self.state.lock();
        if state.status != Status::Armed {
            return;
        }
        if self.now(state.relative, cpu) < state.next {
            // It was set anew, or the clock was.
            self.arm(&mut state, measured.as_deref());
            return;
        }
        self.disarm(&mut state, measured.as_deref());
        if state.interval != 0 {
            state.status = Status::Expired;
        }
        self.sent.store(self.generation.load(Relaxed), Relaxed);
        drop(state);
        self.send();
    }

    fn send(self: &Arc<Self>) {
        match &self.receiver {
            Receiver::Nobody => {}
            Receiver::Process => {
                if let Some(process) = self.owner.upgrade() {
                    signal::send_timer(&process, None, self.clone());
                }
            }
            Receiver::Thread(thread) => {
                if let Some(thread) = thread.upgrade() {
                    signal::send_timer(&thread.process, Some(&thread), self.clone());
                }
            }
        }
    }

    // ---- called with the signal lock held ----

    /// Whether the signal that was sent belongs to a setting that counts no longer.
    pub fn is_stale(&self) -> bool {
        self.sent.load(Relaxed) != self.generation.load(Relaxed)
    }

    pub fn is_queued(&self) -> bool {
        self.queued.load(Relaxed)
    }

    pub fn set_queued(&self, queued: bool) {
        self.queued.store(queued, Relaxed);
    }

    /// The signal was thrown away.
    pub fn was_ignored(&self) {
        let periodic = self.state.lock().status == Status::Expired;
        self.ignored.store(periodic && !self.is_stale(), Relaxed);
    }

    // ---- called after ----

    /// The signal was taken: an interval timer goes on. Returns the overrun; `None` if the signal was stale after all.
    pub fn taken(self: &Arc<Self>) -> Option<i32> {
        let (cpu, measured) = (self.cpu_now(), self.measured());
        let mut state = self.state.lock();
        if self.is_stale() {
            return None;
        }
        if state.interval == 0 || state.status != Status::Expired {
            return Some(0);
        }
        let now = self.now(state.relative, cpu);
        state.forward(now);
        self.arm(&mut state, measured.as_deref());
        state.last_overrun = state.overrun;
        state.overrun = -1;
        self.generation.fetch_add(1, Relaxed);
        Some(clamp(state.last_overrun))
    }
}

impl Repeated for PosixTimer {
    fn run(self: Arc<Self>) {
        self.expire();
    }
}

impl Drop for PosixTimer {
    fn drop(&mut self) {
        self.alarm.cancel();
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;

    fn state(next: u64, interval: u64, status: Status) -> State {
        State { status, relative: true, next, interval, overrun: -1, last_overrun: 0 }
    }

    #[ktest::ktest]
    fn overrun_counts_the_expiries_beyond_the_first() {
        let mut state = state(100, 10, Status::Expired);
        state.forward(99);
        assert_eq!((state.next, state.overrun), (100, -1));
        state.forward(100);
        assert_eq!((state.next, state.overrun), (110, 0));
        state.forward(139);
        assert_eq!((state.next, state.overrun), (140, 3));
    }

    #[ktest::ktest]
    fn the_end_of_time_does_not_overflow() {
        let mut state = state(1, 1, Status::Expired);
        state.forward(u64::MAX);
        state.forward(u64::MAX);
        assert_eq!(state.next, u64::MAX);
        assert_eq!(clamp(state.overrun), i32::MAX);
    }

    #[ktest::ktest]
    fn a_silent_timer_runs_out_and_another_has_something_left() {
        assert_eq!(state(100, 0, Status::Off).setting(100, true), Setting::default());
        assert_eq!(state(100, 0, Status::Armed).setting(200, false).value_ns, 1);
        assert_eq!(state(100, 0, Status::Off).setting(50, false), Setting::default());
    }
}
