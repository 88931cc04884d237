//! Job control: which session a terminal belongs to, and what a background process may do (rules 8.9-8.21).

use core::{
    mem,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use ostd::{sync::SpinLock, user};
use proctree::{KeptPid, NsId, PidId};

use super::{State, Tty, TtyFile};
use crate::{
    fs::file::FileOps,
    lock_order,
    prelude::*,
    process::{
        Process, Thread,
        credentials::Cap,
        pid,
        signal::{self, SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, SigInfo, Signo},
        tree,
    },
};

/// What comes of an operation that only the foreground may do.
enum JobControl {
    Allowed,
    /// Not in the foreground, and the signal would have no effect.
    SignalIgnored,
    Orphaned,
    /// The signal was sent to the caller's group.
    Signalled,
}

impl Tty {
    /// Whether this is the controlling terminal of `process`.
    pub(super) fn is_controlling(&self, process: &Process) -> bool {
        let claim = process.tty.load(Relaxed);
        claim != 0 && self.state.lock().claim == claim
    }

    /// What an open of a terminal does for a session leader that has none (rule 8.9).
    pub fn acquire_on_open(self: &Arc<Self>) {
        let thread = Thread::current();
        if tree::is_session_leader(&thread.process) && controlling_tty(&thread.process).is_none() {
            // Owned by another session: then it is just open.
            let _ = self.acquire(&thread.process, false);
        }
    }

    /// Makes this the controlling terminal of a session leader without one. EPERM if another session owns it, unless
    /// `steal`.
    fn acquire(self: &Arc<Self>, process: &Process, steal: bool) -> Result<()> {
        let (session, pgrp) = (tree::session_of(process), tree::pgrp_of(process));
        let pgrp = pgrp.map(keep).transpose()?.flatten();
        let mut list = CONTROLLING.lock();
        let mut state = self.state.lock();
        if state.session.is_some() && state.session != session && !steal {
            return Err(EPERM);
        }
        // Children of before, and whoever else is in the session, do not have it.
        let claim = NEXT_CLAIM.fetch_add(1, Relaxed);
        state.session = session;
        state.claim = claim;
        state.foreground = pgrp;
        process.tty.store(claim, Relaxed);
        if !list.iter().any(|tty| Arc::ptr_eq(tty, self)) {
            list.push(self.clone());
        }
        Ok(())
    }

    /// The session that this is the controlling terminal of.
    pub(super) fn session(&self) -> Option<PidId> {
        self.state.lock().session
    }

    pub(super) fn foreground(&self) -> Option<PidId> {
        self.state.lock().foreground()
    }

    /// The number of the foreground group as `ns` sees it, 0 if it can't.
    pub(super) fn foreground_nr(&self, ns: NsId) -> Option<u32> {
        let pgrp = self.state.lock().foreground.clone()?;
        Some(tree::lock().kept_nr(&pgrp, ns))
    }

    /// TIOCSCTTY.
    pub(super) fn set_controlling(self: &Arc<Self>, arg: usize) -> Result<usize> {
        let thread = Thread::current();
        let process = &thread.process;
        let leader = tree::is_session_leader(process);
        if leader && self.is_controlling(process) {
            return Ok(0);
        }
        if !leader || controlling_tty(process).is_some() {
            return Err(EPERM);
        }
        let steal = arg == 1 && thread.creds().capable(Cap::SysAdmin);
        self.acquire(process, steal)?;
        Ok(0)
    }

    /// TIOCNOTTY: with a session leader the session loses the terminal, and the foreground is told; another process loses it
    /// for itself and the children that it will have (rule 8.18).
    pub(super) fn give_up(&self, process: &Process) -> Result<usize> {
        if !self.is_controlling(process) {
            return Err(ENOTTY);
        }
        if tree::is_session_leader(process) {
            // As if the leader had called kill(2), unlike a hangup.
            let uid = Thread::current().creds().uid;
            self.disown(&[SIGHUP, SIGCONT], |signo| SigInfo::kill(signo, process.pid(), uid));
        }
        process.tty.store(0, Relaxed);
        Ok(0)
    }

    /// Takes the terminal from its session; returns that and the foreground group.
    fn take_from_session(&self) -> (Option<PidId>, Option<PidId>) {
        let mut list = CONTROLLING.lock();
        let at = list.iter().position(|tty| core::ptr::eq(&**tty, self));
        let listed = at.map(|at| list.swap_remove(at));
        let taken = {
            let mut state = self.state.lock();
            state.claim = 0;
            (state.session.take(), state.foreground.take().map(|pgrp| pgrp.id))
        };
        drop(list);
        drop(listed);
        taken
    }

    /// Takes the terminal from its session; its foreground group gets `signals`, which say of themselves what `info` makes.
    fn disown(&self, signals: &[Signo], info: impl Fn(Signo) -> SigInfo) {
        if let (_, Some(pgrp)) = self.take_from_session() {
            for &signo in signals {
                tree::signal_pgrp(pgrp, &info(signo));
            }
        }
    }

    /// The master of a pseudo-terminal was closed: its files are dead, and the session's leader is told (rules 8.20, 8.22).
    /// The foreground group hears of it when the leader exits (8.21).
    pub(super) fn master_closed(&self) {
        self.is_orphan.store(true, Relaxed);
        self.hangups.fetch_add(1, Relaxed);
        self.leave_session();
        self.wake_all();
    }

    /// Hung up: the session has it no more, of which its leader hears at once and the foreground when the leader exits (8.21).
    fn leave_session(&self) {
        if let (Some(session), foreground) = self.take_from_session() {
            if let Some(pgrp) = foreground {
                LOST.lock().push((session, pgrp));
            }
            let leader = {
                let table = tree::lock();
                table.pid_process(session).and_then(|leader| table.payload(leader).cloned())
            };
            for signo in [SIGHUP, SIGCONT] {
                if let Some(leader) = &leader {
                    signal::send_process(leader, None, SigInfo::kernel(signo));
                }
            }
        }
    }

    /// vhangup(2): its files are dead, and its session loses it; the leader is told.
    pub(super) fn hang_up(&self) {
        self.hangups.fetch_add(1, Relaxed);
        self.leave_session();
        self.wake_all();
    }

    /// The leader of its session exits: the session loses the terminal. Only a pseudo-terminal's files live on (rule 8.19).
    fn leader_exits(&self) {
        if self.driver.is_pty() {
            self.disown(&[SIGHUP], SigInfo::kernel);
            return;
        }
        self.hangups.fetch_add(1, Relaxed);
        self.disown(&[SIGHUP, SIGCONT], SigInfo::kernel);
        self.wake_all();
    }

    /// May the caller do what only the foreground may? If not, its group gets `signo` (rules 8.13-8.15).
    fn job_control(&self, signo: Signo) -> JobControl {
        let thread = Thread::current();
        let process = &thread.process;
        let Some(pgrp) = tree::pgrp_of(process) else {
            return JobControl::Allowed;
        };
        let claim = process.tty.load(Relaxed);
        {
            let state = self.state.lock();
            if state.claim != claim || state.foreground().is_none_or(|foreground| foreground == pgrp) {
                return JobControl::Allowed;
            }
        }
        let ignored = process.signals.sighand().get(signo).ignores(signo);
        if ignored || thread.signals.blocked().contains(signo) {
            return JobControl::SignalIgnored;
        }
        if tree::in_orphaned_pgrp(process) {
            return JobControl::Orphaned;
        }
        tree::signal_pgrp(pgrp, &SigInfo::kernel(signo));
        JobControl::Signalled
    }

    pub(super) fn check_read(&self) -> Result<()> {
        match self.job_control(SIGTTIN) {
            JobControl::Allowed => Ok(()),
            JobControl::SignalIgnored | JobControl::Orphaned => Err(EIO),
            JobControl::Signalled => Err(ERESTARTSYS),
        }
    }

    /// For writes with TOSTOP and changes of the settings.
    pub(super) fn check_change(&self) -> Result<()> {
        match self.job_control(SIGTTOU) {
            JobControl::Allowed | JobControl::SignalIgnored => Ok(()),
            JobControl::Orphaned => Err(EIO),
            JobControl::Signalled => Err(ERESTARTSYS),
        }
    }

    /// TIOCSPGRP.
    pub(super) fn set_foreground(&self, arg: usize) -> Result<usize> {
        self.check_change().map_err(|e| if e == EIO { ENOTTY } else { e })?;
        let nr: i32 = user::mem::read(arg)?;
        let thread = Thread::current();
        let process = &thread.process;
        if nr < 0 {
            return Err(EINVAL);
        }
        if !self.is_controlling(process) {
            return Err(ENOTTY);
        }
        let pgrp = pid::lookup(process.ns(), nr as u32).ok_or(ESRCH)?;
        let session = {
            let table = tree::lock();
            // The number of a process or thread that leads no group will do: nobody is in the foreground then.
            let process = || {
                let thread = table.pid_thread(pgrp).and_then(|thread| table.process_of(thread));
                table.pid_process(pgrp).or(thread)
            };
            table.pgrp_session(pgrp).or_else(|| process().and_then(|process| table.session(process)))
        };
        if session.is_none() || session != tree::session_of(process) {
            return Err(EPERM);
        }
        let pgrp = keep(pgrp)?;
        let before = mem::replace(&mut self.state.lock().foreground, pgrp);
        drop(before);
        Ok(0)
    }
}

impl State {
    pub(super) fn foreground(&self) -> Option<PidId> {
        self.foreground.as_ref().map(|pgrp| pgrp.id)
    }
}

/// A group with its number, which outlives it.
fn keep(pgrp: PidId) -> Result<Option<Arc<KeptPid>>> {
    Ok(tree::lock().keep_numbers(pgrp)?.map(Arc::new))
}

/// The controlling terminal of a process.
pub fn controlling_tty(process: &Process) -> Option<Arc<Tty>> {
    tty_of_claim(process.tty.load(Relaxed))
}

fn tty_of_claim(claim: u64) -> Option<Arc<Tty>> {
    if claim == 0 {
        return None;
    }
    CONTROLLING.lock().iter().find(|tty| tty.state.lock().claim == claim).cloned()
}

/// Numbers the acquisitions of terminals.
static NEXT_CLAIM: AtomicU64 = AtomicU64::new(1);

/// The terminals that belong to a session. Few: a terminal has one session, a session one terminal.
static CONTROLLING: SpinLock<Vec<Arc<Tty>>> = SpinLock::new(lock_order::CONTROLLING, Vec::new());

/// Sessions whose terminal was hung up while their leader lives on, and the group that was in its foreground.
static LOST: SpinLock<Vec<(PidId, PidId)>> = SpinLock::new(lock_order::CONTROLLING, Vec::new());

fn tty_of_session(session: PidId) -> Option<Arc<Tty>> {
    CONTROLLING.lock().iter().find(|tty| tty.session() == Some(session)).cloned()
}

/// The controlling terminal as /proc/pid/stat shows it: its device number, and the foreground group as `ns` numbers it.
/// `claim` is that of the process ([`Process`]'s `tty`).
pub fn stat_numbers(claim: u64, ns: NsId) -> (u64, i64) {
    match tty_of_claim(claim) {
        Some(tty) => (tty.dev.encode(), tty.foreground_nr(ns).map_or(-1, i64::from)),
        None => (0, -1),
    }
}

/// The leader of a session exits: its terminal is hung up.
pub fn session_leader_exits(session: PidId) {
    if let Some(tty) = tty_of_session(session) {
        tty.leader_exits();
        return;
    }
    let mut lost = LOST.lock();
    let found = lost.iter().position(|&(of, _)| of == session).map(|at| lost.swap_remove(at).1);
    drop(lost);
    if let Some(pgrp) = found {
        for signo in [SIGHUP, SIGCONT] {
            tree::signal_pgrp(pgrp, &SigInfo::kernel(signo));
        }
    }
}

/// vhangup(2): of the caller's controlling terminal, if it has one.
pub fn hang_up_own() {
    if let Some(tty) = controlling_tty(&Thread::current().process) {
        tty.hang_up();
    }
}

/// Opens /dev/tty. ENXIO without a controlling terminal.
pub fn open_controlling() -> Result<Box<dyn FileOps>> {
    let thread = Thread::current();
    let tty = controlling_tty(&thread.process).ok_or(ENXIO)?;
    tty.check_open()?;
    Ok(Box::new(TtyFile::new(tty, false)))
}
