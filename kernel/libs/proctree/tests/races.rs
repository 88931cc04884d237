//! A concurrency model of the process table in a kernel: exit against fork, wait, set-subreaper and adoption.
//!
//! The table is behind one lock, as in the kernel; what is *not* under it is the point here: wait queues, the
//! atomics that `prctl` and `getppid` read, and the order in which the kernel registers, looks and sleeps.
//! Shuttle runs each scenario under many schedules, switching threads at every lock, atomic and wake-up; it
//! reports a lost wake-up as a deadlock. Run with `cargo test -p proctree --test races`; `RACES=20000` sets
//! the number of schedules for a long run.

use proctree::*;
use shuttle::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed, Ordering::SeqCst},
    },
    thread,
};

// ---- the kernel around the table ---------------------------------------------------------------

struct Races;

impl Kernel for Races {
    type Process = ArcProc;
    type Thread = ();
    type Record = &'static str;
}

/// Shuttle's `Arc` is not the one that the table knows to look through.
#[derive(Clone)]
struct ArcProc(Arc<Proc>);

struct Proc {
    is: AtomicBool,
    has: AtomicBool,
    ppid: AtomicU32,
    policy: AtomicU8,
    /// Counts wake-ups of waiters: the wait queue.
    wakes: Mutex<u64>,
    woken: Condvar,
    /// SIGCHLD is pending.
    sigchld: Mutex<bool>,
    signalled: Condvar,
    /// Parent-death signals received.
    pdeath: AtomicU32,
    /// Signals sent to it as one of many: counted with the table locked, read without.
    mass: AtomicU32,
}

impl ProcessPayload for ArcProc {
    fn is_child_subreaper(&self) -> bool {
        self.0.is.load(Relaxed)
    }
    fn set_child_subreaper(&self, on: bool) {
        self.0.is.store(on, Relaxed);
    }
    fn has_child_subreaper(&self) -> bool {
        self.0.has.load(Relaxed)
    }
    fn set_has_child_subreaper(&self) {
        self.0.has.store(true, Relaxed);
    }
    fn set_ppid(&self, ppid: u32) {
        self.0.ppid.store(ppid, Relaxed);
    }
    fn child_policy(&self) -> ChildPolicy {
        [ChildPolicy::Wait, ChildPolicy::Ignore, ChildPolicy::NoWait][self.0.policy.load(Relaxed) as usize]
    }
}

#[derive(Default)]
struct Effects {
    autoreaped: usize,
}

impl Sink<Races> for Effects {
    fn parent_death(&mut self, to: &ArcProc, _: Option<&()>, _: u8, _: Dying<'_, Races>) -> Effect {
        to.0.pdeath.fetch_add(1, SeqCst);
        Effect::None
    }
    fn child_signal(&mut self, to: &Parent<'_, Races>, _: u8, _: &Child<'_, Races>) -> Effect {
        *to.process.0.sigchld.lock().unwrap() = true;
        to.process.0.signalled.notify_all();
        Effect::None
    }
    fn wake_waiters(&mut self, parent: &Parent<'_, Races>, _: &Child<'_, Races>) {
        *parent.process.0.wakes.lock().unwrap() += 1;
        parent.process.0.woken.notify_all();
    }
    fn orphaned_pgrp(&mut self, _: &ArcProc, _: u8) -> Effect {
        Effect::None
    }
    fn autoreaped(&mut self, _: Reaped<Races>) {
        self.autoreaped += 1;
    }
    fn number_freed(&mut self, _: NsId, _: u32) {}
    fn namespace_freed(&mut self, _: NumberSpace) {}
    fn pid_freed(&mut self, _: PidId, _: Numbers) {}
    fn namespace_quiet(&mut self, _: NsId, _: Option<&ArcProc>) {}
}

/// A thread of the simulated machine.
#[derive(Clone)]
struct Task {
    ids: Ids,
    process: ArcProc,
}

#[derive(Clone)]
struct Machine {
    table: Arc<Mutex<Table<Races>>>,
    ns: NsId,
}

impl Machine {
    fn new() -> (Self, Task) {
        let (mut table, ns) = Table::try_new(NumberSpace::try_new(1000).unwrap()).unwrap();
        let pid = table.alloc_pid(ns, Numbers::default()).unwrap();
        let process = new_process();
        let new =
            NewProcess { pid, process: process.clone(), thread: (), exit_signal: SIGCHLD, sibling: false };
        let ids = table.add_init(new).map_err(|refused| refused.error).unwrap();
        (Machine { table: Arc::new(Mutex::new(table)), ns }, Task { ids, process })
    }

    /// Takes the table's lock; every holder leaves the invariants behind.
    fn lock(&self) -> Checked<'_> {
        Checked(self.table.lock().unwrap())
    }

    fn fork(&self, parent: &Task) -> Task {
        let mut table = self.lock();
        let pid = table.0.alloc_pid(self.ns, Numbers::default()).unwrap();
        let process = new_process();
        let new =
            NewProcess { pid, process: process.clone(), thread: (), exit_signal: SIGCHLD, sibling: false };
        let ids = table.0.fork(parent.ids.thread, new).map_err(|refused| refused.error).unwrap();
        Task { ids, process }
    }

    /// As the kernel forks: a signal to many that comes while it is at it makes it begin anew. Returns how many such
    /// signals the parent had seen at the beginning; no child if it has to begin anew.
    fn fork_slowly(&self, parent: &Task) -> (u32, Option<Task>) {
        let seen = parent.process.0.mass.load(Relaxed);
        // Here the copies are made.
        thread::yield_now();
        let mut table = self.lock();
        if parent.process.0.mass.load(Relaxed) != seen {
            return (seen, None);
        }
        let pid = table.0.alloc_pid(self.ns, Numbers::default()).unwrap();
        let process = new_process();
        let new =
            NewProcess { pid, process: process.clone(), thread: (), exit_signal: SIGCHLD, sibling: false };
        let ids = table.0.fork(parent.ids.thread, new).map_err(|refused| refused.error).unwrap();
        (seen, Some(Task { ids, process }))
    }

    /// Signals all that is below, under one hold of the lock.
    fn kill_below(&self, root: &Task) {
        let table = self.lock();
        for one in table.0.subtree(root.ids.process) {
            if let Some(process) = table.0.payload(one.process) {
                process.0.mass.fetch_add(1, Relaxed);
            }
        }
    }

    fn thread(&self, of: &Task) -> Task {
        let mut table = self.lock();
        let pid = table.0.alloc_pid(self.ns, Numbers::default()).unwrap();
        let ids = table.0.clone_thread(of.ids.thread, pid, ()).map_err(|refused| refused.error).unwrap();
        Task { ids, process: of.process.clone() }
    }

    /// Exits as the kernel does: the mark first, the rest later. Returns how many processes were autoreaped
    /// by that.
    fn exit(&self, task: &Task) -> usize {
        self.lock().0.mark_exiting(task.ids.thread);
        thread::yield_now();
        let mut effects = Effects::default();
        let exited = self.lock().0.exit(task.ids.thread, |_| "", &mut effects).unwrap();
        effects.autoreaped + matches!(exited.fate, Fate::Autoreaped(..)) as usize
    }

    fn subreaper(&self, task: &Task, on: bool) {
        self.lock().0.set_child_subreaper(task.ids.process, on);
    }

    /// One look, and the reaping if there is something to reap.
    fn try_wait(&self, task: &Task, what: &WaitFor) -> Found {
        let mut table = self.lock();
        let found = table.0.find_child(task.ids.thread, what);
        if let Found::Zombie(child) = found {
            assert!(table.0.reap(child, &mut Effects::default()).is_some());
        }
        found
    }

    /// Blocks until a child is reaped (true) or there is none (false): registers, looks, sleeps (4.33).
    fn wait(&self, task: &Task, what: &WaitFor) -> bool {
        loop {
            let registered = *task.process.0.wakes.lock().unwrap();
            match self.try_wait(task, what) {
                Found::NoChild => return false,
                Found::Nothing => {}
                _ => return true,
            }
            let mut wakes = task.process.0.wakes.lock().unwrap();
            while *wakes == registered {
                wakes = task.process.0.woken.wait(wakes).unwrap();
            }
        }
    }

    fn parent(&self, task: &Task) -> Option<ProcId> {
        self.lock().0.parent(task.ids.process).map(|ids| ids.process)
    }
}

struct Checked<'a>(MutexGuard<'a, Table<Races>>);

impl Drop for Checked<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.check_invariants().unwrap();
            // No process is in neither list: all are reached from the first.
            let init = self.0.processes().next().unwrap();
            assert_eq!(self.0.descendants(init).count() + 1, self.0.counts().0);
        }
    }
}

fn new_process() -> ArcProc {
    ArcProc(Arc::new(Proc {
        is: AtomicBool::new(false),
        has: AtomicBool::new(false),
        ppid: AtomicU32::new(0),
        policy: AtomicU8::new(0),
        wakes: Mutex::new(0),
        woken: Condvar::new(),
        sigchld: Mutex::new(false),
        signalled: Condvar::new(),
        pdeath: AtomicU32::new(0),
        mass: AtomicU32::new(0),
    }))
}

/// Runs a scenario under random schedules, and under those that need few switches at bad moments.
fn race(scenario: impl Fn() + Send + Sync + Copy + 'static) {
    let schedules = std::env::var("RACES").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    shuttle::check_random(scenario, schedules);
    shuttle::check_pct(scenario, schedules, 3);
}

/// Starts a thread that runs `f` on clones.
macro_rules! go {
    ([$($shared:ident),*] $body:expr) => {{
        $(let $shared = $shared.clone();)*
        thread::spawn(move || $body)
    }};
}

/// init - s (subreaper) - m - g
fn family() -> (Machine, Task, Task, Task) {
    let (k, init) = Machine::new();
    let s = k.fork(&init);
    k.subreaper(&s, true);
    let m = k.fork(&s);
    let g = k.fork(&m);
    (k, s, m, g)
}

const ANY: WaitFor = WaitFor::ANY_EXIT;

// ---- the scenarios -----------------------------------------------------------------------------

#[test]
fn a_blocked_reaper_gets_parent_and_orphan_whoever_dies_first() {
    // 13.1, 13.6, 4.33: no wake-up is lost
    race(|| {
        let (k, s, m, g) = family();
        let threads = [go!([k, m] { k.exit(&m); }), go!([k, g] { k.exit(&g); })];
        assert!(k.wait(&s, &ANY));
        assert!(k.wait(&s, &ANY));
        assert!(!k.wait(&s, &ANY));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_thread_gets_what_its_sibling_adopts() {
    // 13.6, 13.14: while the sibling itself is dying
    race(|| {
        let (k, s, m, g) = family();
        let s2 = k.thread(&s);
        let threads = [go!([k, m] { k.exit(&m); }), go!([k, g] { k.exit(&g); }), go!([k, s] { k.exit(&s); })];
        assert!(k.wait(&s2, &ANY));
        assert!(k.wait(&s2, &ANY));
        assert!(!k.wait(&s2, &ANY));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_reaper_driven_by_sigchld_misses_nobody() {
    // 13.5: signals coalesce, so it drains after each
    race(|| {
        let (k, s, m, g) = family();
        let threads = [go!([k, m] { k.exit(&m); }), go!([k, g] { k.exit(&g); })];
        let mut reaped = 0;
        while reaped < 2 {
            let mut pending = s.process.0.sigchld.lock().unwrap();
            while !*pending {
                pending = s.process.0.signalled.wait(pending).unwrap();
            }
            *pending = false;
            drop(pending);
            while let Found::Zombie(_) = k.try_wait(&s, &ANY) {
                reaped += 1;
            }
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn once_set_returned_later_orphans_arrive() {
    // 13.2, against fork and exit of the descendants
    race(|| {
        let (k, init) = Machine::new();
        let s = k.fork(&init);
        let m = k.fork(&s);
        let returned = Arc::new(AtomicBool::new(false));
        let setter = go!([k, s, returned] {
            k.subreaper(&s, true);
            returned.store(true, SeqCst);
        });
        let parent = go!([k, s, m, returned] {
            let g = k.fork(&m);
            let h = k.fork(&g);
            let before = returned.load(SeqCst);
            k.exit(&m);
            let (to, reaper) = (k.parent(&g).unwrap(), s.ids.process);
            assert!(to == reaper || !before, "g went past the subreaper");
            let before = returned.load(SeqCst);
            k.exit(&g);
            let above = k.parent(&h).unwrap();
            assert!(above == reaper || !before || to != reaper, "h went past the subreaper");
        });
        setter.join().unwrap();
        parent.join().unwrap();
    });
}

#[test]
fn fork_in_one_thread_against_exit_of_another_loses_no_child() {
    // 0.5, 2.17; every holder of the lock checks that all are reached from init
    race(|| {
        let (k, s, m, _g) = family();
        let m2 = k.thread(&m);
        let leader = go!([k, m] {
            k.exit(&m);
        });
        let forker = go!([k, m2] {
            let child = k.fork(&m2);
            k.fork(&child);
            k.exit(&m2);
            child
        });
        leader.join().unwrap();
        let child = forker.join().unwrap();
        assert_eq!(k.parent(&child), Some(s.ids.process));
        let children = k.lock().0.children(s.ids.thread).count();
        assert_eq!(children, 3, "m, its first child, its second");
    });
}

#[test]
fn a_dying_subreaper_passes_the_orphan_on() {
    // 2.2, 13.14
    race(|| {
        let (k, s, m, g) = family();
        let threads = [go!([k, s] { k.exit(&s); }), go!([k, m] { k.exit(&m); })];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let init = k.lock().0.processes().next();
        assert_eq!(k.parent(&g), init);
        assert_eq!(g.process.0.ppid.load(Relaxed), 1);
    });
}

#[test]
fn one_of_two_waiters_gets_the_child() {
    // 4.28, I2
    race(|| {
        let (k, s, m, g) = family();
        k.exit(&g);
        let s2 = k.thread(&s);
        let one = WaitFor { who: Who::Process(m.ids.process), ..ANY };
        let waiters = [go!([k, s] k.wait(&s, &one)), go!([k, s2] k.wait(&s2, &one))];
        k.exit(&m);
        let got = waiters.map(|waiter| waiter.join().unwrap());
        assert_eq!(got.iter().filter(|&&got| got).count(), 1);
    });
}

#[test]
fn ignoring_sigchld_while_children_die_leaves_none_behind() {
    // 13.12: each is waited for or autoreaped, never both; a wait for the last one ends
    race(|| {
        let (k, s, m, g) = family();
        let threads = [
            go!([k, m] k.exit(&m)),
            go!([k, g] k.exit(&g)),
            go!([s] {
                s.process.0.policy.store(ChildPolicy::Ignore as u8, SeqCst);
                0
            }),
        ];
        let mut reaped = 0;
        while k.wait(&s, &ANY) {
            reaped += 1;
        }
        reaped += threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>();
        assert_eq!(reaped, 2);
    });
}

#[test]
fn a_death_signal_is_sent_or_the_new_parent_seen() {
    // 1.30, 13.10: getppid takes no lock
    race(|| {
        let (k, _s, m, g) = family();
        let old = g.process.0.ppid.load(Relaxed);
        let parent = go!([k, m] { k.exit(&m); });
        k.lock().0.set_pdeath(g.ids.thread, 10);
        let seen = g.process.0.ppid.load(Relaxed);
        parent.join().unwrap();
        let sent = g.process.0.pdeath.load(SeqCst);
        assert!(sent == 1 || seen != old, "neither");
        assert!(sent <= 1);
    });
}

#[test]
fn a_tree_is_reaped_to_the_last_while_everybody_dies() {
    // 13.1: created == reaped
    race(|| {
        let (k, s, m, g) = family();
        let h = k.fork(&g);
        let m2 = k.thread(&m);
        let threads = [
            go!([k, m] { k.exit(&m); }),
            go!([k, m2] { k.fork(&m2); k.exit(&m2); }),
            go!([k, g] { k.exit(&g); }),
            go!([k, h] { k.exit(&h); }),
        ];
        for _ in 0..3 {
            assert!(k.wait(&s, &ANY));
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(k.try_wait(&s, &ANY), Found::Nothing, "the fork of the second thread lives");
        assert_eq!(k.lock().0.children(s.ids.thread).count(), 1);
    });
}

#[test]
fn a_fork_is_signalled_with_its_subtree_or_begins_after_that() {
    // A child of a signalled parent is signalled too, or its fork saw the signal first.
    race(|| {
        let (k, s, m, g) = family();
        let fork = |parent: &Task| {
            let parent = parent.clone();
            go!([k, parent] {
                let (began, child) = k.fork_slowly(&parent);
                (began, child, parent)
            })
        };
        let forks = [fork(&m), fork(&g)];
        let dying = go!([k, m] { k.lock().0.mark_exiting(m.ids.thread); });
        k.kill_below(&s);
        for fork in forks {
            let (began, child, parent) = fork.join().unwrap();
            let hit = parent.process.0.mass.load(Relaxed);
            assert_eq!(hit, 1);
            if let Some(child) = child {
                let child_hit = child.process.0.mass.load(Relaxed);
                assert!(child_hit == 1 || began == 1, "the child of a fork that was under way escaped");
            }
        }
        dying.join().unwrap();
    });
}

#[test]
fn a_release_against_deaths_and_adoptions_loses_nobody() {
    race(|| {
        let (k, init) = Machine::new();
        let top = k.fork(&init);
        let s = k.fork(&top);
        k.subreaper(&top, true);
        k.subreaper(&s, true);
        let m = k.fork(&s);
        let g = k.fork(&m);
        let h = k.fork(&g);
        let threads = [
            go!([k, m] { k.exit(&m); }),
            go!([k, g] { k.exit(&g); }),
            go!([k, h] { k.exit(&h); }),
            go!([k, s] {
                let released = k.lock().0.release_reaper(s.ids.process, &mut Effects::default());
                assert!(released.is_ok());
                // As the kernel does: the last child may be gone.
                *s.process.0.wakes.lock().unwrap() += 1;
                s.process.0.woken.notify_all();
            }),
        ];
        // s gets its own child and whatever it adopted before it gave that away, top gets the rest.
        let mut reaped = 0;
        while k.wait(&s, &ANY) {
            reaped += 1;
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        while let Found::Zombie(_) = k.try_wait(&s, &ANY) {
            reaped += 1;
        }
        while let Found::Zombie(_) = k.try_wait(&top, &ANY) {
            reaped += 1;
        }
        assert_eq!(reaped, 3);
    });
}

#[test]
fn of_two_waiters_each_gets_what_it_asks_for() {
    // One waits for its own children, one for adopted ones: no wake-up is lost, none takes the other's.
    race(|| {
        let (k, s, m, g) = family();
        let s2 = k.thread(&s);
        let own = WaitFor { origin: Origin::Own, ..ANY };
        let adopted = WaitFor { origin: Origin::Adopted, ..ANY };
        let threads = [go!([k, g] { k.exit(&g); }), go!([k, m] { k.exit(&m); })];
        let own = go!([k, s] k.wait(&s, &own));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(own.join().unwrap());
        // g was adopted, or died before m and was never waited for by it: adopted as a zombie.
        assert!(k.wait(&s2, &adopted));
        assert_eq!(k.try_wait(&s, &ANY), Found::NoChild);
    });
}
