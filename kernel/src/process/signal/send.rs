//! Sending: whether a signal is queued, to which queue, and who is woken (rules 7.8-7.14, 7.18-7.24).

use core::sync::atomic::Ordering::Relaxed;

use proctree::Effect;

use super::{
    Group,
    action::{SIG_DFL, SigAction},
    info::SigInfo,
    set::*,
    stop, work,
};
use crate::{
    prelude::*,
    process::{Process, Thread, rlimit::Resource, tree},
    time::posix_timer::PosixTimer,
};

/// Whose queue a signal goes to.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// The process's; the thread named is asked first (the leader if none is).
    Process(Option<&'a Arc<Thread>>),
    Thread(&'a Arc<Thread>),
}

/// Sends to a whole process. `prefer` is asked first (rules 5.10, 7.11).
pub fn send_process(process: &Arc<Process>, prefer: Option<&Arc<Thread>>, info: SigInfo) {
    send(process, Target::Process(prefer), info);
}

/// Sends to one thread.
pub fn send_thread(thread: &Arc<Thread>, info: SigInfo) {
    send(&thread.process, Target::Thread(thread), info);
}

/// As [`send_process`], from within an operation of the process table: the table updates what a waiting parent
/// sees by the effect that it gets back.
pub fn send_process_in_sink(process: &Arc<Process>, prefer: Option<&Arc<Thread>>, info: SigInfo) -> Effect {
    process.signals.lock().send(Target::Process(prefer), info)
}

/// As [`send_process`], with the process table locked by the caller.
pub fn send_process_in_table(
    table: &mut tree::Table,
    process: &Arc<Process>,
    prefer: Option<&Arc<Thread>>,
    info: SigInfo,
) {
    let effect = send_process_in_sink(process, prefer, info);
    tell(effect, table, process);
}

/// As [`send_process_in_table`], to one of many processes that are signalled together: a child that the process is
/// making at this moment gets it as well (rule 6.16).
pub fn send_member_in_table(table: &mut tree::Table, process: &Arc<Process>, info: SigInfo) {
    let effect = send_member_in_sink(process, info);
    tell(effect, table, process);
}

/// As [`send_member_in_table`], from within an operation of the process table.
pub fn send_member_in_sink(process: &Arc<Process>, info: SigInfo) -> Effect {
    let mut group = process.signals.lock();
    let signo = info.signo;
    let effect = group.send(Target::Process(None), info);
    group.note_for_forks(signo);
    effect
}

/// A signal that the calling thread's own instruction raised: it can't be ignored or blocked. If it is, the
/// disposition falls back to the default and the process dies (rule 3.21), the init of a namespace too.
pub fn force(thread: &Arc<Thread>, info: SigInfo) {
    let signo = info.signo;
    let mut group = thread.process.signals.lock();
    let action = group.sighand.get(signo);
    let blocked = thread.signals.blocked();
    if blocked.contains(signo) || action.handler == super::action::SIG_IGN {
        let action = SigAction { handler: SIG_DFL, ..action };
        group.sighand.set(signo, action);
        thread.signals.blocked.store((blocked & !SigSet::of(&[signo])).0, Relaxed);
    }
    if group.sighand.get(signo).is_default() {
        group.unkillable = false;
    }
    group.send(Target::Thread(thread), info);
}

/// As [`send_process`] and [`send_thread`], for sigqueue(3), which wants to know whether there was room.
///
/// # Errors
/// `EAGAIN` for a real-time signal beyond RLIMIT_SIGPENDING (rule 7.8).
pub fn queue(target: &Arc<Thread>, whole_process: bool, info: SigInfo) -> Result<()> {
    let process = &target.process;
    let target = if whole_process { Target::Process(Some(target)) } else { Target::Thread(target) };
    try_send(process, target, info)
}

/// A POSIX timer's signal, to a thread or to the process. Told of what becomes of it, the timer goes on or waits.
pub fn send_timer(process: &Arc<Process>, thread: Option<&Arc<Thread>>, timer: Arc<PosixTimer>) {
    let target = thread.map_or(Target::Process(None), Target::Thread);
    send(process, target, SigInfo::timer(timer));
}

/// What can't be queued is lost, as the sender asked for no account.
fn send(process: &Arc<Process>, target: Target, info: SigInfo) {
    let _ = try_send(process, target, info);
}

#[inline]
fn try_send(process: &Arc<Process>, target: Target, info: SigInfo) -> Result<()> {
    if matches!(info.signo, SIGCONT | SIGKILL) {
        let mut table = tree::lock();
        let effect = process.signals.lock().try_send(target, info)?;
        tell(effect, &mut table, process);
        Ok(())
    } else {
        process.signals.lock().try_send(target, info).map(|_| ())
    }
}

/// Tells the process table what a signal did to a stop.
fn tell(effect: Effect, table: &mut tree::Table, process: &Process) {
    match effect {
        Effect::None => {}
        Effect::Continued => tree::mark_continued(table, process),
        Effect::Killed => tree::void_stop(table, process),
    }
}

/// Whether `process` would throw `signo` away at this moment, if it is sent by a child: then there is no need to send it.
/// `prefer` is asked first.
pub fn is_unwanted(process: &Process, prefer: Option<&Arc<Thread>>, signo: Signo) -> bool {
    let group = process.signals.lock();
    match prefer.filter(|thread| !thread.signals.is_exiting()).or_else(|| group.threads.first()) {
        Some(thread) => {
            let blocked = thread.signals.blocked() | thread.signals.real_blocked();
            group.drops(blocked, &group.sighand.get(signo), signo, false)
        }
        None => true,
    }
}

impl Group {
    fn send(&mut self, target: Target, info: SigInfo) -> Effect {
        self.try_send(target, info).unwrap_or(Effect::None)
    }

    fn try_send(&mut self, target: Target, info: SigInfo) -> Result<Effect> {
        let mut effect = Effect::None;
        let signo = info.signo;
        // A process on its way out takes nothing more, nor does a thread: a dead leader that is meant alone can't be stopped, nor
        // the stop of its process ended by it.
        let gone = matches!(target, Target::Thread(thread) if thread.signals.is_exiting());
        if gone || self.exit_status.is_some() || self.threads.is_empty() {
            return Ok(effect);
        }
        // One is enough, and the first one's information is kept (rules 5.5, 7.8).
        let queue = match target {
            Target::Process(_) => self.shared.set(),
            Target::Thread(thread) => thread.signals.pending(),
        };
        let absorbed = signo < SIGRTMIN && queue.contains(signo) && info.sender_timer().is_none();
        if absorbed && !STOPS_AND_CONT.contains(signo) {
            return Ok(effect);
        }
        if STOP_SIGNALS.contains(signo) {
            self.flush_everywhere(SigSet::of(&[SIGCONT]));
        } else if signo == SIGCONT {
            self.flush_everywhere(STOP_SIGNALS);
            if self.end_stop() {
                effect = Effect::Continued;
            }
        }

        let (first, blocked) = match target {
            Target::Thread(thread) => (thread.clone(), None),
            Target::Process(Some(thread)) if !thread.signals.is_exiting() => (thread.clone(), None),
            // Nobody was addressed, or a leader that has exited while its process lives (rule 3.6).
            Target::Process(_) => (self.threads[0].clone(), self.leader_blocked),
        };
        let action = self.sighand.get(signo);
        let blocked = blocked.unwrap_or_else(|| first.signals.blocked() | first.signals.real_blocked());
        if self.drops(blocked, &action, signo, info.forced) {
            if let Some(timer) = info.sender_timer() {
                timer.was_ignored();
            }
            return Ok(effect);
        }
        if absorbed {
            return Ok(effect);
        }
        let timer = info.sender_timer();
        if timer.is_some_and(|timer| timer.is_queued()) {
            return Ok(effect);
        }
        let queued = match (target, timer) {
            (Target::Process(_), Some(_)) => {
                self.shared.push_timer(info);
                true
            }
            (Target::Thread(thread), Some(_)) => {
                thread.signals.pending.lock().push_timer(info);
                true
            }
            (target, None) => {
                let user = first.with_creds(|creds| creds.user.clone());
                let limit = first.process.rlimit(Resource::Sigpending);
                match target {
                    Target::Process(_) => self.shared.push(info, user, limit)?,
                    Target::Thread(thread) => thread.signals.pending.lock().push(info, user, limit)?,
                }
            }
        };
        if !queued {
            return Ok(effect);
        }
        // Blocked or not: a signalfd may want it (rule 7.33).
        if let Some(pollers) = &self.signalfd {
            pollers.wake_all();
        }
        let willing = match target {
            Target::Thread(thread) => self.wants(thread, signo).then(|| thread.clone()),
            Target::Process(_) => self.choose(&first, signo),
        };
        let Some(thread) = willing else {
            return Ok(effect);
        };
        if self.kills_at_once(&thread, &action, signo) {
            self.start_exit(signo as i32);
            return Ok(Effect::Killed);
        }
        thread.wake_for_signal(work::SIGNAL);
        Ok(effect)
    }

    /// Whether a signal vanishes at once: ignored and not blocked (rule 7.9), or a default action on an init
    /// (rule 7.24).
    fn drops(&self, blocked: SigSet, action: &SigAction, signo: Signo, forced: bool) -> bool {
        if blocked.contains(signo) {
            return false;
        }
        if self.unkillable && action.is_default() && !(forced && UNBLOCKABLE.contains(signo)) {
            return true;
        }
        action.ignores(signo)
    }

    /// Whether `thread` would take `signo` now (rule 7.12).
    fn wants(&self, thread: &Thread, signo: Signo) -> bool {
        if thread.signals.is_exiting() || thread.signals.blocked().contains(signo) {
            return false;
        }
        // It sleeps where only SIGKILL reaches it and has one to look at already: what comes now waits with that one.
        let deaf = thread.in_killable_sleep.load(Relaxed) && thread.work.load(Relaxed) & work::SIGNAL != 0;
        signo == SIGKILL || !deaf && thread.signals.stop.load(Relaxed) & stop::STOPPED == 0
    }

    /// The thread that a process-directed signal wakes: the one addressed, else the next willing one in turn,
    /// with a preference for one that has nothing to do yet.
    fn choose(&mut self, first: &Arc<Thread>, signo: Signo) -> Option<Arc<Thread>> {
        if self.wants(first, signo) {
            return Some(first.clone());
        }
        let count = self.threads.len();
        let start = self.next_target;
        let found = (0..count)
            .map(|i| (start + i) % count)
            .filter(|&i| self.wants(&self.threads[i], signo))
            .min_by_key(|&i| self.threads[i].work.load(Relaxed) & work::SIGNAL != 0)?;
        self.next_target = found;
        Some(self.threads[found].clone())
    }

    /// Whether the signal is certain to kill once `thread` takes it: default action, no core dump to write first,
    /// not waited for by sigtimedwait(2). Then the whole group starts to die at the moment of sending (rule 7.14).
    fn kills_at_once(&self, thread: &Thread, action: &SigAction, signo: Signo) -> bool {
        action.is_default()
            && default_action(signo) == DefaultAction::Terminate
            && !thread.signals.real_blocked().contains(signo)
            && !self.unkillable_by(signo)
    }

    fn unkillable_by(&self, signo: Signo) -> bool {
        self.unkillable && signo != SIGKILL
    }

    /// Fixes the exit status and makes every thread die. The first status wins (rule 3.4).
    pub(super) fn start_exit(&mut self, status: i32) -> i32 {
        if let Some(first) = self.exit_status {
            return first;
        }
        self.exit_status = Some(status);
        self.clear_stop();
        for thread in &self.threads {
            thread.wake_for_signal(work::SIGNAL | work::KILL);
        }
        status
    }

    /// Hands shared signals that `thread` would have taken to siblings, since it now blocks them or exits.
    #[inline]
    pub(super) fn retarget_shared(&mut self, thread: &Thread, which: SigSet) {
        let which = self.shared.set() & which;
        if !which.is_empty() {
            self.retarget_each(thread, which);
        }
    }

    fn retarget_each(&mut self, thread: &Thread, mut left: SigSet) {
        while let Some(signo) = left.lowest() {
            left.remove(signo);
            let sibling = self.threads.iter().find(|t| t.tid() != thread.tid() && self.wants(t, signo));
            if let Some(sibling) = sibling {
                sibling.wake_for_signal(work::SIGNAL);
            }
        }
    }
}
