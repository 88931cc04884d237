//! Tests with processes that the kernel makes for itself: they have no memory and run a closure instead of a program, and
//! are processes in every other respect.

use core::{
    mem,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
};

use ktest::ktest;
use ostd::{
    sync::{SpinLock, WaitQueue},
    task, time,
};
use proctree::{Numbers, ProcessPayload};
use spin::Once;

use super::{
    clone::{self, CloneArgs, CloneFlags},
    credentials::{Cap, CapSet, Credentials, SecureBits},
    exit, group, pid,
    pidfd::{self, PidRef, State},
    prctl, record,
    rlimit::{Resource, Rlimit, Rlimits},
    signal::{self, AltStack, SIGCHLD, SaFlags, SigAction, SigHand, SigSet, Signo, ThreadSignals},
    thread::NewThread,
    tree,
    wait::{self, Target},
    *,
};
use crate::{
    fs::{self, File, FileTable, OpenFlags},
    lock_order,
    mm::{ForkHints, tests::memory_in_use},
    prelude::*,
};

/// What the tests need of the user's ABI and the kernel itself does not.
const SIGUSR1: Signo = 10;
const SIG_IGN: u64 = 1;

// ---- the stage --------------------------------------------------------------------------------------------------

type Job = Box<dyn FnOnce(&Arc<Thread>) + Send>;

/// PID 1 of the tests: carries out one job after the other.
struct Stage {
    job: SpinLock<Option<Job>>,
    queue: WaitQueue,
}

static STAGE: Stage = Stage { job: SpinLock::new(lock_order::PROCESS_MISC, None), queue: WaitQueue::new() };
static STARTED: Once<()> = Once::new();

fn start_init() {
    let ns = tree::root_ns();
    let pid = tree::lock().alloc_pid(ns, Numbers::default()).ok().unwrap();
    let creds = Credentials::root();
    let new = NewThread {
        process: Process::new(
            Numbers::initial(1),
            namespace::PidNs::INITIAL,
            SigHand::new_default(),
            Arc::new(Rlimits::initial(4096)),
            creds.clone(),
        ),
        tid: 1,
        signals: ThreadSignals::new(SigSet::EMPTY, AltStack::DISABLED),
        creds,
        vm: None,
        files: FileTable::new(),
        fs: fs::FsContext::new(fs::root()),
        vfork: None,
    };
    let run = |thread: Arc<Thread>| {
        loop {
            let job = STAGE.queue.wait_until(|| STAGE.job.lock().take());
            job(&thread);
        }
    };
    clone::make_init(new, pid, run).unwrap().task().unwrap().start();
}

/// Runs `f` as PID 1 and waits for its end; whatever children it leaves behind are reaped.
pub(super) fn as_init(f: impl FnOnce(&Arc<Thread>) + Send + 'static) {
    STARTED.call_once(start_init);
    let done = Arc::new((AtomicBool::new(false), WaitQueue::new()));
    let signal = done.clone();
    let job = move |init: &Arc<Thread>| {
        f(init);
        while wait(init, Target::Any).is_ok() {}
        tree::lock().check_invariants().unwrap();
        signal.0.store(true, SeqCst);
        signal.1.wake_all();
    };
    *STAGE.job.lock() = Some(Box::new(job));
    STAGE.queue.wake_all();
    done.1.wait_until(|| done.0.load(SeqCst).then_some(()));
}

pub(super) fn spawn(
    parent: &Arc<Thread>,
    flags: CloneFlags,
    body: impl FnOnce(&Arc<Thread>) -> i32 + Send + 'static,
) -> u32 {
    let args = CloneArgs { flags, ..CloneArgs::fork() };
    let run = move |thread: Arc<Thread>| {
        let code = body(&thread);
        exit::exit(&thread, code);
    };
    let child = clone::make(parent, &args, ForkHints::default(), None, run).unwrap();
    child.task().unwrap().start();
    match flags.contains(CloneFlags::THREAD) {
        true => child.tid(),
        false => child.process.pid_in(parent.process.ns()),
    }
}

/// A child process.
pub(super) fn fork(parent: &Arc<Thread>, body: impl FnOnce(&Arc<Thread>) -> i32 + Send + 'static) -> u32 {
    spawn(parent, CloneFlags::empty(), body)
}

/// A thread of the same process.
pub(super) fn thread(parent: &Arc<Thread>, body: impl FnOnce(&Arc<Thread>) -> i32 + Send + 'static) -> u32 {
    spawn(parent, CloneFlags::VM | CloneFlags::SIGHAND | CloneFlags::THREAD, body)
}

/// Pid and exit code of a child that ended.
pub(super) fn wait(thread: &Thread, target: Target) -> Result<(u32, i32)> {
    let report = wait::wait(thread, target, wait::WEXITED)?.unwrap();
    Ok((report.pid, report.status >> 8))
}

/// A flag that one process raises and another waits for.
#[derive(Clone, Default)]
pub(super) struct Event(Arc<(AtomicBool, WaitQueue)>);

impl Event {
    pub(super) fn raise(&self) {
        self.0.0.store(true, SeqCst);
        self.0.1.wake_all();
    }

    pub(super) fn wait(&self) {
        self.0.1.wait_until(|| self.0.0.load(SeqCst).then_some(()));
    }
}

/// Gives way until `cond` holds. Others get a minute and many turns: neither a slow machine nor one that stood still is a
/// failure.
pub(super) fn eventually(cond: impl Fn() -> bool) {
    let deadline = time::now_ns() + 60_000_000_000;
    let mut turns = 0;
    while !cond() {
        assert!(turns < 2000 || time::now_ns() < deadline, "it did not happen in a minute");
        task::park_until(time::now_ns() + 100_000);
        turns += 1;
    }
}

fn ppid_of(nr: u32) -> u32 {
    pid::process(tree::root_ns(), nr).map_or(0, |process| process.getppid())
}

// ---- exit and wait ----------------------------------------------------------------------------------------------

#[ktest]
fn wait_returns_the_code_and_frees_the_number() {
    as_init(|init| {
        let child = fork(init, |_| 7);
        assert_eq!(wait(init, Target::Pid(child)), Ok((child, 7)));
        assert!(pid::lookup(tree::root_ns(), child).is_none());
        assert_eq!(wait(init, Target::Pid(child)), Err(ECHILD));
    });
}

#[ktest]
fn wait_sleeps_until_a_child_dies() {
    as_init(|init| {
        let go = Event::default();
        let child = fork(init, {
            let go = go.clone();
            move |_| {
                go.wait();
                3
            }
        });
        let nothing = wait::wait(init, Target::Any, wait::WEXITED | wait::WNOHANG).unwrap();
        assert!(nothing.is_none(), "the child lives, but was reported");
        let other = fork(init, move |_| {
            go.raise();
            4
        });
        assert_eq!(wait(init, Target::Pid(child)), Ok((child, 3)));
        assert_eq!(wait(init, Target::Any), Ok((other, 4)));
    });
}

#[ktest]
fn a_zombie_is_a_record_and_no_process() {
    as_init(|init| {
        let seen: Arc<Once<Weak<Process>>> = Arc::default();
        let child = fork(init, {
            let seen = seen.clone();
            move |thread| {
                seen.call_once(|| Arc::downgrade(&thread.process));
                0
            }
        });
        eventually(|| matches!(pid::find(child), Some(pid::Target::Zombie(_))));
        eventually(|| seen.get().is_some_and(|process| process.strong_count() == 0));
        assert_eq!(wait(init, Target::Any), Ok((child, 0)));
    });
}

#[ktest]
fn children_of_one_that_ignores_sigchld_vanish() {
    as_init(|init| {
        let parent = fork(init, |me| {
            let ignore = SigAction { handler: SIG_IGN, ..SigAction::default() };
            signal::set_action(&me.process, SIGCHLD, ignore).unwrap();
            let child = fork(me, |_| 1);
            assert_eq!(wait(me, Target::Pid(child)), Err(ECHILD));
            assert!(pid::lookup(tree::root_ns(), child).is_none());
            0
        });
        assert_eq!(wait(init, Target::Pid(parent)), Ok((parent, 0)));
    });
}

#[ktest]
fn no_child_wait_also_reaps_at_once() {
    as_init(|init| {
        let parent = fork(init, |me| {
            let action = SigAction { flags: SaFlags::NOCLDWAIT, ..SigAction::default() };
            signal::set_action(&me.process, SIGCHLD, action).unwrap();
            fork(me, |_| 1);
            wait(me, Target::Any).err().map_or(1, |error| (error != ECHILD) as i32)
        });
        assert_eq!(wait(init, Target::Pid(parent)), Ok((parent, 0)));
    });
}

#[ktest]
fn the_last_thread_gives_the_status() {
    as_init(|init| {
        let child = fork(init, |me| {
            let leader_gone = me.clone();
            thread(me, move |_| {
                eventually(|| leader_gone.has_exited());
                77
            });
            33
        });
        assert_eq!(wait(init, Target::Pid(child)), Ok((child, 77)));
    });
}

#[ktest]
fn a_process_group_is_waited_for_as_one() {
    as_init(|init| {
        let first = fork(init, |_| 1);
        group::setpgid(init, first as i32, 0).unwrap();
        let second = fork(init, |_| 2);
        assert_eq!(wait(init, Target::Pgrp(first)), Ok((first, 1)));
        assert_eq!(wait(init, Target::Pgrp(first)), Err(ECHILD));
        assert_eq!(wait(init, Target::Pid(second)), Ok((second, 2)));
    });
}

// ---- reparenting ------------------------------------------------------------------------------------------------

/// A child that makes a grandchild and dies; returns the grandchild, which lives until `end`.
fn orphan(parent: &Arc<Thread>, end: &Event) -> u32 {
    let grandchild = Arc::new(AtomicU32::new(0));
    let child = fork(parent, {
        let (grandchild, end) = (grandchild.clone(), end.clone());
        move |me| {
            let nr = fork(me, move |_| {
                end.wait();
                9
            });
            grandchild.store(nr, SeqCst);
            0
        }
    });
    assert_eq!(wait(parent, Target::Pid(child)), Ok((child, 0)));
    grandchild.load(SeqCst)
}

#[ktest]
fn init_adopts_orphans() {
    as_init(|init| {
        let end = Event::default();
        let nr = orphan(init, &end);
        assert_eq!(ppid_of(nr), 1);
        end.raise();
        assert_eq!(wait(init, Target::Pid(nr)), Ok((nr, 9)));
    });
}

#[ktest]
fn the_nearest_subreaper_adopts_orphans() {
    as_init(|init| {
        let reaper = fork(init, |me| {
            tree::lock().set_child_subreaper(me.process.id(), true);
            assert!(me.process.is_child_subreaper());
            let end = Event::default();
            let middle = fork(me, {
                let end = end.clone();
                let reaper = me.process.pid();
                move |me| {
                    assert!(me.process.has_child_subreaper());
                    let nr = fork(me, {
                        let end = end.clone();
                        move |me| {
                            let nr = orphan(me, &end);
                            (ppid_of(nr) != reaper) as i32
                        }
                    });
                    wait(me, Target::Pid(nr)).map_or(1, |(_, code)| code)
                }
            });
            assert_eq!(wait(me, Target::Pid(middle)), Ok((middle, 0)));
            end.raise();
            // The orphan of two generations further down.
            wait(me, Target::Any).map_or(1, |(_, code)| (code != 9) as i32)
        });
        assert_eq!(wait(init, Target::Pid(reaper)), Ok((reaper, 0)));
    });
}

#[ktest]
fn a_live_sibling_thread_adopts_first() {
    as_init(|init| {
        let child = fork(init, |me| {
            let (grandchild, end) = (Arc::new(AtomicU32::new(0)), Event::default());
            let tid = thread(me, {
                let (grandchild, end) = (grandchild.clone(), end.clone());
                move |me| {
                    let nr = fork(me, move |_| {
                        end.wait();
                        5
                    });
                    grandchild.store(nr, SeqCst);
                    0
                }
            });
            eventually(|| pid::lookup(tree::root_ns(), tid).is_none());
            let nr = grandchild.load(SeqCst);
            assert_eq!(ppid_of(nr), me.process.pid());
            end.raise();
            let own_only = wait::WEXITED | wait::__WNOTHREAD;
            let report = wait::wait(me, Target::Pid(nr), own_only).unwrap().unwrap();
            (report.status != exit::exit_status(5)) as i32
        });
        assert_eq!(wait(init, Target::Pid(child)), Ok((child, 0)));
    });
}

#[ktest]
fn a_parents_death_is_signalled_to_who_asked() {
    as_init(|init| {
        let asked = Event::default();
        let pending = Arc::new(AtomicBool::new(false));
        let child = fork(init, {
            let (asked, pending) = (asked.clone(), pending.clone());
            move |me| {
                let parent = me.process.pid();
                let ready = asked.clone();
                fork(me, move |me| {
                    signal::set_blocked(me, SigSet::of(&[SIGUSR1]));
                    tree::lock().set_pdeath(me.id(), SIGUSR1);
                    ready.raise();
                    eventually(|| me.process.getppid() != parent);
                    // The new parent is seen a moment before the signal is there.
                    eventually(|| signal::pending_set(me).contains(SIGUSR1));
                    pending.store(true, SeqCst);
                    0
                });
                asked.wait();
                0
            }
        });
        assert_eq!(wait(init, Target::Pid(child)), Ok((child, 0)));
        wait(init, Target::Any).unwrap();
        assert!(pending.load(SeqCst), "no parent-death signal");
    });
}

// ---- pidfds -----------------------------------------------------------------------------------------------------

/// A child that lives until the event, and what its pidfds share.
fn child_with_pidfd(init: &Arc<Thread>) -> (u32, Event, Arc<File>, Weak<PidRef>) {
    let end = Event::default();
    let child = fork(init, {
        let end = end.clone();
        move |_| {
            end.wait();
            3
        }
    });
    let file = pidfd::open(child, OpenFlags::empty()).unwrap();
    let shared = Arc::downgrade(pidfd::file::pid_of(&file).unwrap());
    (child, end, file, shared)
}

#[ktest]
fn a_pidfd_closed_before_the_reap_leaves_nothing() {
    as_init(|init| {
        let (child, end, file, shared) = child_with_pidfd(init);
        let ino = file.inode().base().ino;
        drop(file);
        assert!(shared.strong_count() == 1, "only the number keeps it");
        let again = pidfd::open(child, OpenFlags::empty()).unwrap();
        assert_eq!(again.inode().base().ino, ino);
        drop(again);
        end.raise();
        assert_eq!(wait(init, Target::Pid(child)), Ok((child, 3)));
        assert!(shared.upgrade().is_none());
    });
}

#[ktest]
fn a_pidfd_closed_after_the_reap_leaves_nothing() {
    as_init(|init| {
        let (child, end, file, shared) = child_with_pidfd(init);
        assert_eq!(shared.upgrade().unwrap().status(), None);
        end.raise();
        assert_eq!(wait(init, Target::Pid(child)), Ok((child, 3)));
        let pid_ref = shared.upgrade().unwrap();
        assert_eq!((pid_ref.state(), pid_ref.status()), (State::Gone, Some(exit::exit_status(3))));
        drop(pid_ref);
        drop(file);
        assert!(shared.upgrade().is_none());
    });
}

#[ktest]
fn a_zombies_first_pidfd_gets_its_status() {
    as_init(|init| {
        let child = fork(init, |_| 4);
        eventually(|| matches!(pid::find(child), Some(pid::Target::Zombie { .. })));
        let file = pidfd::open(child, OpenFlags::empty()).unwrap();
        let pid_ref = pidfd::file::pid_of(&file).unwrap();
        assert_eq!((pid_ref.state(), pid_ref.status()), (State::Dead, None));
        wait(init, Target::Pid(child)).unwrap();
        assert_eq!((pid_ref.state(), pid_ref.status()), (State::Gone, Some(exit::exit_status(4))));
        let shared = Arc::downgrade(pid_ref);
        drop(file);
        assert!(shared.upgrade().is_none());
    });
}

#[ktest]
fn what_a_socket_keeps_of_its_peer_is_what_pidfds_share() {
    as_init(|init| {
        let (child, end, file, shared) = child_with_pidfd(init);
        let process = pid::process(tree::root_ns(), child).unwrap();
        let kept = pidfd::of_process(&process).unwrap();
        assert!(Arc::ptr_eq(&kept, pidfd::file::pid_of(&file).unwrap()));
        let pid = tree::lock().pid(process.id()).unwrap();
        assert!(Arc::ptr_eq(&kept, &pidfd::of_pid(pid).unwrap()));
        end.raise();
        wait(init, Target::Pid(child)).unwrap();
        // It can be had of a process that is gone, too, if it was kept before.
        let again = kept.clone().open(OpenFlags::empty()).unwrap();
        drop((kept, again, file));
        assert!(shared.upgrade().is_none());
        assert_eq!(pidfd::of_process(&process).err(), Some(ESRCH));
        assert_eq!(pidfd::of_pid(pid).err(), Some(ESRCH));
    });
}

// ---- nothing is left behind -------------------------------------------------------------------------------------

/// What there is of everything that a process takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Census {
    table: (usize, usize, usize),
    numbers: usize,
    threads: usize,
    charges: usize,
}

impl Census {
    pub(super) fn is_init_alone(&self) -> bool {
        self.table.0 == 1 && self.threads == 1
    }
}

pub(super) fn census(thread: &Thread) -> Census {
    Census {
        table: tree::lock().counts(),
        numbers: pid::count(),
        threads: record::thread_total(),
        charges: thread.creds().user.processes(),
    }
}

/// A process with a thread and three children, one of which is orphaned and one autoreaped.
fn family(parent: &Arc<Thread>) -> u32 {
    fork(parent, |me| {
        thread(me, |_| 0);
        fork(me, |me| {
            fork(me, |_| 0);
            0
        });
        fork(me, |_| 0);
        wait(me, Target::Any).map_or(1, |_| 0)
    })
}

/// Does `work` until it leaves as much memory in use as before. Tables that grow with the most that there ever was at a
/// time stop growing; what is lost is lost each time.
pub(super) fn leaves_nothing_behind(init: &Thread, work: impl Fn()) {
    const TIMES: usize = 20;
    let begin = census(init);
    assert!(begin.is_init_alone());
    let mut memory = usize::MAX;
    let times = (0..TIMES).find(|&times| {
        work();
        // The last task of a process ends a moment after its parent knows.
        eventually(|| census(init) == begin);
        let limit = if times == 0 { 0 } else { memory };
        let deadline = time::now_ns() + 500_000_000;
        while time::now_ns() < deadline && memory_in_use() > limit {
            task::park_until(time::now_ns() + 100_000);
        }
        let before = mem::replace(&mut memory, memory_in_use());
        times > 0 && memory <= before
    });
    assert!(times.is_some(), "each of {TIMES} times took memory, up to {memory} bytes");
}

#[ktest]
fn processes_leave_nothing_behind() {
    as_init(|init| {
        eventually(|| census(init).is_init_alone());
        leaves_nothing_behind(init, || {
            for _ in 0..60 {
                family(init);
            }
            while wait(init, Target::Any).is_ok() {}
        });
    });
}

#[ktest]
fn forks_on_all_cpus_keep_the_tree_whole() {
    as_init(|init| {
        for _ in 0..6 {
            fork(init, |me| {
                tree::lock().set_child_subreaper(me.process.id(), true);
                for round in 0..40 {
                    family(me);
                    if round % 3 == 0 {
                        let _ = wait(me, Target::Any);
                    }
                }
                0
            });
        }
        while wait(init, Target::Any).is_ok() {}
        let (processes, threads, _) = tree::lock().counts();
        assert_eq!((processes, threads), (1, 1));
    });
}

// ---- credentials and limits -------------------------------------------------------------------------------------

fn user(uid: u32) -> Credentials {
    Credentials::root().setresuid(Some(uid), Some(uid), Some(uid)).unwrap()
}

#[ktest]
fn giving_up_root_gives_up_the_capabilities() {
    let creds = user(1000);
    assert_eq!((creds.permitted, creds.effective), (CapSet::EMPTY, CapSet::EMPTY));
    assert_eq!(creds.bounding, CapSet::FULL);
    assert_eq!(creds.setuid(0).err(), Some(EPERM));
}

#[ktest]
fn keepcaps_saves_the_permitted_set_only() {
    let mut root = (*Credentials::root()).clone();
    root.securebits |= SecureBits::KEEP_CAPS;
    let creds = root.setuid(1000).unwrap();
    assert_eq!((creds.permitted, creds.effective), (CapSet::FULL, CapSet::EMPTY));
}

#[ktest]
fn effective_root_can_be_left_and_taken_again() {
    let left = Credentials::root().setresuid(None, Some(1000), None).unwrap();
    assert_eq!((left.uid, left.euid, left.suid), (0, 1000, 0));
    assert!(!left.capable(Cap::Setuid) && left.permitted == CapSet::FULL);
    let back = left.setresuid(None, Some(0), None).unwrap();
    assert!(back.capable(Cap::Setuid));
}

#[ktest]
fn the_saved_uid_follows_setreuid() {
    let creds = user(1000).setresuid(Some(1000), Some(1000), Some(1000)).unwrap();
    assert_eq!(creds.setreuid(Some(1001), None).err(), Some(EPERM));
    let root = Credentials::root().setreuid(Some(1000), Some(1001)).unwrap();
    assert_eq!((root.uid, root.euid, root.suid, root.fsuid), (1000, 1001, 1001, 1001));
}

#[ktest]
fn a_stranger_may_not_signal() {
    let (one, other) = (user(1000), user(1001));
    assert!(one.may_signal(&one) && !one.may_signal(&other));
    assert!(Credentials::root().may_signal(&other));
}

#[ktest]
fn hard_limits_come_down_only() {
    let limits = Rlimits::initial(100);
    let lower = Rlimit { soft: 10, hard: 20 };
    let limits = limits.with(Resource::Nofile, lower, &user(1000)).unwrap();
    let higher = Rlimit { soft: 10, hard: 30 };
    assert_eq!(limits.with(Resource::Nofile, higher, &user(1000)).err(), Some(EPERM));
    assert!(limits.with(Resource::Nofile, higher, &Credentials::root()).is_ok());
    let upside_down = Rlimit { soft: 20, hard: 10 };
    assert_eq!(limits.with(Resource::Nofile, upside_down, &Credentials::root()).err(), Some(EINVAL));
}

/// The option numbers are the ABI's.
const _: () = assert!(prctl::option::GET_CHILD_SUBREAPER == 37);
