//! Who adopts an orphan, and what the orphan goes through: section 2, and 1a and 1b with it.

use crate::world::*;
use proctree::{ChildPolicy, Error, SIGCHLD, WaitFor};
use std::sync::atomic::Ordering::Relaxed;

// ---- the adopter -------------------------------------------------------------------------------

#[test]
fn orphans_go_to_init_without_a_subreaper() {
    // 2.1 (c), 2.18
    let mut w = World::line(&["a", "b", "c"]);
    assert_eq!(w.getppid("c"), w.nr("b"));
    assert_eq!(w.exit("b"), "zombie");
    assert_eq!(w.parent("c"), "init");
    assert_eq!(w.getppid("c"), 1);
}

#[test]
fn orphans_go_to_the_nearest_subreaper() {
    // 2.1 (b), 2.3
    let mut w = World::line(&["outer", "inner", "a", "b"]);
    w.subreaper("outer", true);
    w.subreaper("inner", true);
    w.exit("a");
    assert_eq!(w.parent("b"), "inner");
    assert_eq!(w.getppid("b"), w.nr("inner"));
    assert_eq!(w.children("inner"), ["a", "b"]);
}

#[test]
fn a_sibling_thread_comes_before_a_subreaper() {
    // 2.1 (a)
    let mut w = World::line(&["s", "a", "b"]);
    w.subreaper("s", true);
    w.thread("a", "a2");
    w.exit("a");
    assert_eq!(w.parent("b"), "a2");
    assert_eq!(w.getppid("b"), w.nr("a"));
}

#[test]
fn the_first_live_thread_in_list_order_adopts() {
    // 2.1 (a): leader first, then creation order
    let mut w = World::line(&["a"]);
    w.thread("a", "a2");
    w.thread("a", "a3");
    w.fork("a3", "x");
    w.fork("a2", "y");
    w.exit("a3");
    assert_eq!(w.parent("x"), "a");
    w.exit("a");
    assert_eq!(w.parent("x"), "a2");
    w.thread("a2", "a4");
    w.exit("a2");
    assert_eq!(w.children("a4"), ["y", "x"]);
}

#[test]
fn a_thread_that_has_begun_to_exit_adopts_nobody() {
    // 2.2
    let mut w = World::line(&["s", "a", "b"]);
    w.subreaper("s", true);
    w.thread("a", "a2");
    assert_eq!(w.mark_exiting("a2"), 1);
    w.exit("a");
    assert_eq!(w.parent("b"), "s");
}

#[test]
fn a_subreaper_that_has_begun_to_exit_is_passed_over() {
    // 2.2, 13.14
    let mut w = World::line(&["outer", "inner", "a", "b"]);
    w.subreaper("outer", true);
    w.subreaper("inner", true);
    assert_eq!(w.mark_exiting("inner"), 0);
    w.exit("a");
    assert_eq!(w.parent("b"), "outer");
    assert_eq!(w.children("inner"), ["a"]);
}

#[test]
fn a_subreaper_with_a_dead_leader_adopts_by_a_live_thread() {
    // 1.16, 2.7
    let mut w = World::line(&["s", "a", "b"]);
    w.thread("s", "s2");
    assert_eq!(w.exit("s"), "lives");
    w.subreaper("s", true);
    w.exit("a");
    assert_eq!(w.parent("b"), "s2");
    assert_eq!(w.getppid("b"), w.nr("s"));
}

#[test]
fn orphans_of_a_subreaper_go_to_the_next_one() {
    // 2.8
    let mut w = World::line(&["outer", "inner", "a"]);
    w.subreaper("outer", true);
    w.subreaper("inner", true);
    w.exit("inner");
    assert_eq!(w.parent("a"), "outer");
}

#[test]
fn adopted_children_are_appended_in_their_order() {
    // 2.13
    let mut w = World::line(&["s", "a"]);
    w.subreaper("s", true);
    w.fork("a", "x");
    w.fork("s", "b");
    w.fork("a", "y");
    w.fork("a", "z");
    w.exit("y");
    w.exit("a");
    w.fork("s", "c");
    assert_eq!(w.children("s"), ["a", "b", "x", "y", "z", "c"]);
    assert_eq!(w.wait_any("s"), "zombie a", "the dead parent is older than the orphan");
    assert_eq!(w.wait_any("s"), "zombie y");
}

#[test]
fn the_initial_init_does_not_exit() {
    // 2.19
    let mut w = World::line(&["a"]);
    let init = w.ids["init"].thread;
    let record = |_: &_| panic!("asked for a record");
    assert!(w.t.exit(init, record, &mut w.log).is_none());
    w.check();
    w.thread("init", "init2");
    assert_eq!(w.exit("init"), "lives");
    assert_eq!(w.parent("a"), "init2");
}

// ---- subreaper attribute -----------------------------------------------------------------------

#[test]
fn the_attribute_is_not_inherited() {
    // 1.7, 1.13
    let mut w = World::line(&["s"]);
    w.subreaper("s", true);
    w.fork("s", "a");
    assert!(!w.procs["a"].is.load(Relaxed));
    assert!(w.procs["a"].has.load(Relaxed));
    assert!(!w.procs["s"].has.load(Relaxed));
}

#[test]
fn setting_it_late_covers_existing_descendants() {
    // 1.9, 13.2
    let mut w = World::line(&["s", "a", "b", "c"]);
    w.thread("a", "a2");
    w.fork("a2", "d");
    w.fork("d", "e");
    w.subreaper("s", true);
    w.exit("d");
    assert_eq!(w.parent("e"), "s");
    w.exit("b");
    assert_eq!(w.parent("c"), "s");
}

#[test]
fn setting_it_steals_nobody() {
    // 1.10
    let mut w = World::line(&["s", "a", "b"]);
    w.exit("a");
    w.subreaper("s", true);
    assert_eq!(w.parent("b"), "init");
}

#[test]
fn clearing_it_ends_adoption_but_not_the_adopted() {
    // 1.11, 1.12
    let mut w = World::line(&["s", "a", "b", "c", "d"]);
    w.subreaper("s", true);
    w.exit("a");
    w.subreaper("s", false);
    w.exit("b");
    assert_eq!(w.parent("b"), "s");
    assert_eq!(w.parent("c"), "init");
    w.fork("s", "x");
    w.fork("x", "y");
    w.fork("y", "z");
    w.subreaper("s", true);
    w.exit("y");
    assert_eq!(w.parent("z"), "s", "set again, the ones made in between are covered");
}

#[test]
fn a_clone_parent_child_is_a_sibling() {
    // 1.13, 1.14, 1.28
    let mut w = World::line(&["outer", "x"]);
    w.fork_with("x", "sib", Opts { sibling: true, ..FORK });
    w.fork("sib", "orphan");
    w.subreaper("x", true);
    assert_eq!(w.parent("sib"), "outer");
    assert!(!w.procs["sib"].has.load(Relaxed));
    w.subreaper("outer", true);
    w.exit("sib");
    assert_eq!(w.parent("orphan"), "outer");
}

#[test]
fn spreading_stops_at_marked_processes_and_namespace_inits() {
    // 1.13
    let mut w = World::line(&["s", "a", "b"]);
    w.subreaper("a", true);
    let ns = w.namespace_below(w.ns);
    w.fork_with("s", "nsinit", Opts { ns: Some(ns), ..FORK });
    w.fork("nsinit", "inside");
    w.fork("s", "last");
    w.subreaper("s", true);
    for (name, marked) in [("a", true), ("b", true), ("nsinit", false), ("inside", false), ("last", true)] {
        assert_eq!(w.procs[name].has.load(Relaxed), marked, "{name}");
    }
}

// ---- parent-death signal ------------------------------------------------------------------------------------------------

#[test]
fn the_death_signal_comes_with_every_new_parent() {
    // 1.22, 1.23, 1.24
    let mut w = World::line(&["s1", "s2", "a", "b"]);
    w.subreaper("s1", true);
    w.subreaper("s2", true);
    w.pdeath("b", 10);
    let (s1, s2, a) = (w.nr("s1"), w.nr("s2"), w.nr("a"));
    w.exit("a");
    assert_eq!(
        w.signals(),
        [format!("b: pdeath 10 for b from a({a}) ppid {s2}"), format!("s2: signal 17, a({a}) exited")]
    );
    w.exit("s2");
    assert_eq!(w.signals()[1], format!("b: pdeath 10 for b from s2({s2}) ppid {s1}"));
    w.pdeath("b", 0);
    w.exit("s1");
    assert!(!w.signals().iter().any(|line| line.contains("pdeath")));
}

#[test]
fn the_death_of_the_parent_thread_alone_sends_it() {
    // 1.22, 2.9
    let mut w = World::line(&["a"]);
    w.thread("a", "a2");
    w.fork_with("a2", "b", Opts { exit_signal: 10, ..FORK });
    w.pdeath("b", 12);
    let a = w.nr("a");
    w.exit("a2");
    assert_eq!(w.signals(), [format!("b: pdeath 12 for b from a({a}) ppid {a}")]);
    assert_eq!(w.t.exit_signal(w.ids["b"].process), Some(10), "a sibling thread adopts in silence");
}

#[test]
fn each_thread_that_asked_gets_its_signal_sent() {
    // 1.19, 1.25
    let mut w = World::line(&["a", "b"]);
    w.pdeath("b", 10);
    w.thread("b", "b2");
    w.thread("b", "b3");
    assert_eq!(w.t.pdeath(w.ids["b2"].thread), 0);
    w.pdeath("b3", 12);
    let a = w.nr("a");
    w.exit("a");
    let pdeath = |signal, thread| format!("b: pdeath {signal} for {thread} from a({a}) ppid 1");
    assert_eq!(w.signals()[..2], [pdeath(10, "b"), pdeath(12, "b3")]);
}

#[test]
fn a_late_request_is_not_answered_for_an_earlier_death() {
    // 1.27, 1.30
    let mut w = World::line(&["a", "b"]);
    w.exit("a");
    w.take_log();
    w.pdeath("b", 10);
    assert_eq!(w.getppid("b"), 1, "so b sees that it was too late");
    assert_eq!(w.take_log(), Vec::<String>::new());
}

// ---- what adoption does ------------------------------------------------------------------------

#[test]
fn adoption_makes_a_normal_child() {
    // 2.10
    let mut w = World::line(&["a"]);
    w.fork_with("a", "live", Opts { exit_signal: 0, ..FORK });
    w.fork_with("a", "dead", Opts { exit_signal: 0, ..FORK });
    w.exit("dead");
    assert_eq!(w.find("a", WaitFor::ANY_EXIT), "ECHILD");
    w.exit("a");
    assert_eq!(w.t.exit_signal(w.ids["live"].process), Some(SIGCHLD));
    assert_eq!(w.wait_any("init"), "zombie a");
    assert_eq!(w.wait_any("init"), "zombie dead");
    assert_eq!(w.wait_any("init"), "nothing");
}

#[test]
fn a_zombie_is_announced_before_its_dying_parent() {
    // 2.11, 2.12
    let mut w = World::line(&["a", "b"]);
    let (a, b) = (w.nr("a"), w.nr("b"));
    w.exit("b");
    assert_eq!(w.take_log(), [format!("a: signal 17, b({b}) exited"), "wake a for b".into()]);
    w.exit("a");
    assert_eq!(
        w.take_log(),
        [
            format!("init: signal 17, b({b}) exited"),
            "wake init for b".into(),
            format!("init: signal 17, a({a}) exited"),
            "wake init for a".into(),
        ]
    );
}

#[test]
fn an_adopter_that_ignores_sigchld_reaps_zombies_at_once() {
    // 2.11
    for (policy, signalled) in [(ChildPolicy::Ignore, false), (ChildPolicy::NoWait, true)] {
        let mut w = World::line(&["s", "a", "b"]);
        w.fork("a", "live");
        w.fork_with("a", "quiet", Opts { exit_signal: 0, ..FORK });
        w.subreaper("s", true);
        w.policy("s", policy);
        w.exit("b");
        w.exit("quiet");
        w.take_log();
        assert_eq!(w.exit("a"), "autoreaped");
        let log = w.signals();
        assert!(log.contains(&"autoreaped b".to_string()));
        assert!(log.contains(&"autoreaped quiet".to_string()), "its exit signal has become SIGCHLD");
        assert_eq!(
            log.iter().filter(|line| line.starts_with("s: signal 17")).count(),
            3 * signalled as usize
        );
        assert_eq!(w.children("s"), ["live"]);
    }
}

#[test]
fn a_zombie_leader_with_live_threads_is_not_announced() {
    // 2.11
    let mut w = World::line(&["a", "b"]);
    w.thread("b", "b2");
    w.exit("b");
    w.exit("a");
    assert!(!w.take_log().contains(&"wake init for b".to_string()));
    w.exit("b2");
    assert!(w.take_log().contains(&"wake init for b".to_string()));
}

#[test]
fn each_orphan_is_served_in_full_before_the_next() {
    // 2.15
    let mut w = World::line(&["a", "x"]);
    w.fork("a", "y");
    w.pdeath("y", 10);
    w.fork("a", "z");
    let (a, x, z) = (w.nr("a"), w.nr("x"), w.nr("z"));
    w.exit("x");
    w.exit("z");
    w.take_log();
    w.exit("a");
    assert_eq!(
        w.signals(),
        [
            format!("init: signal 17, x({x}) exited"),
            format!("y: pdeath 10 for y from a({a}) ppid 1"),
            format!("init: signal 17, z({z}) exited"),
            format!("init: signal 17, a({a}) exited"),
        ]
    );
}

#[test]
fn a_death_signal_that_continues_the_child_makes_a_report_for_the_adopter() {
    // 1.22 with SIGCONT, 4.13, in a list whose order keys are being renewed
    let mut w = World::line(&["a"]);
    for name in ["x", "y", "z"] {
        w.fork("a", name);
        w.pdeath(name, 18);
        w.stop(name);
    }
    let stops = WaitFor { exited: false, stopped: true, ..WaitFor::ANY_EXIT };
    assert_eq!(w.wait("a", stops), "stopped x by 19");
    w.exit("a");
    let continues = WaitFor { exited: false, continued: true, ..WaitFor::ANY_EXIT };
    for name in ["x", "y", "z"] {
        assert_eq!(w.wait("init", continues), format!("continued {name}"));
    }
}

// ---- namespaces --------------------------------------------------------------------------------

/// init - outer (subreaper) - nsinit (1 in ns) - a - b
fn with_namespace() -> (World, proctree::NsId) {
    let mut w = World::line(&["outer"]);
    w.subreaper("outer", true);
    let ns = w.namespace_below(w.ns);
    w.fork_with("outer", "nsinit", Opts { ns: Some(ns), ..FORK });
    w.fork("nsinit", "a");
    w.fork("a", "b");
    (w, ns)
}

#[test]
fn orphans_stay_in_their_namespace() {
    // 2.4, 2.1 (c)
    let (mut w, ns) = with_namespace();
    assert_eq!(w.t.nr(w.ids["a"].pid, ns), 2);
    assert_eq!(w.getppid("nsinit"), 0, "the parent is outside (9.1)");
    w.exit("a");
    assert_eq!(w.parent("b"), "nsinit");
    assert_eq!(w.getppid("b"), 1);
}

#[test]
fn a_subreaper_works_inside_its_namespace() {
    // 2.6
    let (mut w, _) = with_namespace();
    w.subreaper("a", true);
    w.fork("b", "c");
    w.exit("b");
    assert_eq!(w.parent("c"), "a");
    assert_eq!(w.getppid("c"), 2);
}

#[test]
fn the_namespace_of_the_dying_parent_counts() {
    // 2.5 (i): the orphan is a namespace's init. (ii): the orphan was put into the namespace from outside.
    let (mut w, ns) = with_namespace();
    w.fork("outer", "mid");
    let below = w.namespace_below(w.ns);
    w.fork_with("mid", "otherinit", Opts { ns: Some(below), ..FORK });
    w.fork_with("mid", "injected", Opts { ns: Some(ns), ..FORK });
    w.exit("mid");
    assert_eq!(w.parent("otherinit"), "outer");
    assert_eq!(w.parent("injected"), "outer");
    assert_eq!(w.getppid("injected"), 0);
    assert_eq!(
        w.find(
            "nsinit",
            WaitFor { who: proctree::Who::Process(w.ids["injected"].process), ..WaitFor::ANY_EXIT }
        ),
        "ECHILD"
    );
}

#[test]
fn orphans_of_an_injected_process_go_to_the_namespace_init() {
    // 2.4: not to the outer subreaper, although that is an ancestor
    let (mut w, ns) = with_namespace();
    w.fork_with("outer", "injected", Opts { ns: Some(ns), ..FORK });
    w.fork("injected", "x");
    w.exit("injected");
    assert_eq!(w.parent("x"), "nsinit");
    assert_eq!(w.getppid("x"), 1);
}

#[test]
fn a_namespace_lives_by_any_thread_of_its_init() {
    // 2.19, 9.9
    let (mut w, _) = with_namespace();
    w.thread("nsinit", "nsinit2");
    w.exit("nsinit");
    w.exit("a");
    assert_eq!(w.parent("b"), "nsinit2");
}

#[test]
fn a_dying_namespace_init_still_takes_its_orphans_and_nothing_is_born() {
    // 9.6, 6.14, I5
    let (mut w, ns) = with_namespace();
    w.policy("nsinit", ChildPolicy::Ignore);
    w.mark_exiting("nsinit");
    w.t.disable_namespace(ns);
    assert_eq!(w.try_fork("b", "late", FORK), Err(Error::NoMem));
    assert_eq!(w.exit("a"), "autoreaped");
    assert_eq!(w.parent("b"), "nsinit");
    assert_eq!(w.t.ns_pids(ns), 2);
    w.take_log();
    assert_eq!(w.exit("b"), "autoreaped");
    assert!(w.take_log().contains(&"quiet, init nsinit".to_string()));
    assert_eq!(w.t.ns_pids(ns), 1);
    assert_eq!(w.exit("nsinit"), "zombie");
    w.release_namespace(ns);
    assert_eq!(w.t.namespace_count(), 2, "its zombie is still there");
    w.take_log();
    assert_eq!(w.wait_any("outer"), "zombie nsinit");
    assert!(w.take_log().contains(&"namespace freed".to_string()));
    assert_eq!(w.t.namespace_count(), 1);
    w.check();
}

#[test]
fn a_number_that_is_given_back_unused_wakes_a_dying_init() {
    // 9.6, 13.18
    let (mut w, ns) = with_namespace();
    w.policy("nsinit", ChildPolicy::Ignore);
    let reserved = w.alloc(ns).unwrap();
    w.mark_exiting("nsinit");
    w.t.disable_namespace(ns);
    w.exit("b");
    w.exit("a");
    assert!(w.t.ns_pids(ns) > 1);
    w.take_log();
    w.t.cancel_pid(reserved, &mut w.log).unwrap();
    assert!(w.take_log().contains(&"quiet, init nsinit".to_string()));
    assert_eq!(w.t.ns_pids(ns), 1);
    w.check();
}

#[test]
fn namespaces_go_with_their_last_user() {
    // 9.15
    let (mut w, outer) = with_namespace();
    let inner = w.namespace_below(outer);
    w.release_namespace(outer);
    assert_eq!(w.t.namespace_count(), 3, "it has members, and a namespace below");
    w.release_namespace(inner);
    assert_eq!(w.t.namespace_count(), 2, "nobody was ever in it");
    w.policy("nsinit", ChildPolicy::Ignore);
    w.exit("b");
    w.exit("a");
    w.exit("nsinit");
    assert_eq!(w.t.namespace_count(), 2, "its init is a zombie");
    assert_eq!(w.wait_any("outer"), "zombie nsinit");
    assert_eq!(w.t.namespace_count(), 1);
    w.check();
}
