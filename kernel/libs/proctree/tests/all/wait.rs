//! Exit, wait and reap: sections 3, 4 and 5 as far as the table decides.

use crate::world::*;
use std::sync::atomic::Ordering::Relaxed;

use proctree::{ChildPolicy, Class, WaitFor, Who};

const ANY: WaitFor = WaitFor::ANY_EXIT;
const ALL: WaitFor = WaitFor { class: Class::All, ..ANY };
const STOPS: WaitFor = WaitFor { exited: false, stopped: true, continued: false, ..ANY };
const CONTINUES: WaitFor = WaitFor { exited: false, stopped: false, continued: true, ..ANY };
const EVERYTHING: WaitFor = WaitFor { exited: true, stopped: true, continued: true, ..ANY };

impl World {
    fn one(&self, name: &str, what: WaitFor) -> WaitFor {
        WaitFor { who: Who::Process(self.ids[name].process), ..what }
    }
    fn group(&self, name: &str, what: WaitFor) -> WaitFor {
        WaitFor { who: Who::Pgrp(self.ids[name].pid), ..what }
    }
}

fn parent_with(children: &[&str]) -> World {
    let mut w = World::line(&["p"]);
    for child in children {
        w.fork("p", child);
    }
    w
}

#[test]
fn zombies_are_reaped_in_order_of_creation() {
    // 4.10
    let mut w = parent_with(&["a", "b", "c", "d"]);
    for child in ["d", "b", "a"] {
        w.exit(child);
    }
    for child in ["a", "b", "d"] {
        assert_eq!(w.wait_any("p"), format!("zombie {child}"));
    }
    assert_eq!(w.wait_any("p"), "nothing");
    w.exit("c");
    assert_eq!(w.wait_any("p"), "zombie c");
    assert_eq!(w.wait_any("p"), "ECHILD"); // 4.6
}

#[test]
fn an_older_stopped_child_beats_a_younger_zombie() {
    // 4.10
    let mut w = parent_with(&["a", "b", "c"]);
    w.exit("b");
    w.stop("c");
    w.stop("a");
    assert_eq!(w.find("p", ANY), "zombie b");
    assert_eq!(w.wait("p", EVERYTHING), "stopped a by 19");
    assert_eq!(w.wait("p", EVERYTHING), "zombie b");
    assert_eq!(w.wait("p", EVERYTHING), "stopped c by 19");
    assert_eq!(w.wait("p", EVERYTHING), "nothing");
}

#[test]
fn a_stop_is_reported_once_and_cancelled_by_a_continue() {
    // 4.12, 4.13, 4.20
    let mut w = parent_with(&["a"]);
    w.stop("a");
    assert_eq!(w.find("p", STOPS), "stopped a by 19");
    assert_eq!(w.wait("p", STOPS), "stopped a by 19");
    assert_eq!(w.wait("p", STOPS), "nothing");
    w.cont("a");
    w.stop("a");
    assert_eq!(w.find("p", CONTINUES), "nothing", "a later stop discards the continue report");
    w.cont("a");
    assert_eq!(w.find("p", STOPS), "nothing");
    assert_eq!(w.wait("p", CONTINUES), "continued a");
    assert_eq!(w.wait("p", CONTINUES), "nothing");
    assert!(!w.t.is_stopped(w.ids["a"].process));
}

#[test]
fn death_hides_other_reports() {
    // 4.13, 4.14
    let mut w = parent_with(&["a"]);
    w.stop("a");
    w.cont("a");
    w.exit("a");
    assert_eq!(w.find("p", CONTINUES), "ECHILD");
    assert_eq!(w.find("p", STOPS), "ECHILD");
    assert_eq!(w.find("p", w.one("a", STOPS)), "ECHILD");
    assert_eq!(w.find("p", EVERYTHING), "zombie a");
}

#[test]
fn killing_a_stopped_child_voids_the_stop() {
    // 3.19
    let mut w = parent_with(&["a"]);
    w.stop("a");
    w.t.void_stop(w.ids["a"].process);
    assert_eq!(w.find("p", EVERYTHING), "nothing");
}

#[test]
fn the_parent_hears_of_stop_and_continue() {
    // 5.2, 5.3
    let mut w = parent_with(&["a"]);
    let a = w.nr("a");
    w.stop("a");
    assert_eq!(w.take_log(), [format!("p: signal 17, a({a}) stopped by 19"), "wake p for a".into()]);
    w.cont("a");
    assert_eq!(w.take_log(), Vec::<String>::new(), "the first thread to run tells");
    w.t.notify_parent(w.ids["a"].process, proctree::ChildChange::Continued, &mut w.log);
    assert_eq!(w.take_log(), [format!("p: signal 17, a({a}) continued"), "wake p for a".into()]);
}

#[test]
fn classes_are_told_apart() {
    // 4.8
    let mut w = parent_with(&["normal"]);
    w.fork_with("p", "clone", Opts { exit_signal: 10, ..FORK });
    w.exit("clone");
    let clone = WaitFor { class: Class::Clone, ..ANY };
    assert_eq!(w.find("p", ANY), "nothing");
    assert_eq!(w.find("p", w.one("clone", ANY)), "ECHILD");
    assert_eq!(w.find("p", w.one("clone", ALL)), "zombie clone");
    assert_eq!(w.find("p", ALL), "zombie clone");
    assert_eq!(w.wait("p", clone), "zombie clone");
    assert_eq!(w.find("p", clone), "ECHILD");
}

#[test]
fn any_thread_waits_for_all_children_unless_own_only() {
    // 4.9, 13.7
    let mut w = parent_with(&["a"]);
    w.thread("p", "p2");
    let own = WaitFor { own_only: true, ..ANY };
    assert_eq!(w.find("p2", own), "ECHILD");
    assert_eq!(w.find("p2", ANY), "nothing");
    w.exit("a");
    assert_eq!(w.find("p2", w.one("a", own)), "ECHILD");
    assert_eq!(w.find("p2", w.group("init", ANY)), "ECHILD");
    w.exit("p");
    assert_eq!(w.find("p2", own), "zombie a", "p2 owns it now (2.9)");
}

#[test]
fn the_callers_children_come_first_then_the_next_threads() {
    // 4.10: cyclic
    let mut w = World::line(&["t1"]);
    w.thread("t1", "t2");
    w.thread("t1", "t3");
    for (thread, child) in [("t1", "c1"), ("t2", "c2"), ("t3", "c3")] {
        w.fork(thread, child);
        w.exit(child);
    }
    assert_eq!(w.find("t3", ANY), "zombie c3");
    assert_eq!(w.wait("t2", ANY), "zombie c2");
    assert_eq!(w.wait("t2", ANY), "zombie c3");
    assert_eq!(w.wait("t2", ANY), "zombie c1");
}

#[test]
fn a_group_is_waited_for_in_list_order() {
    // 4.2, 4.32
    let mut w = parent_with(&["a", "b", "c", "d", "e"]);
    for (child, group) in [("b", "b"), ("e", "b"), ("d", "b"), ("c", "c")] {
        w.setpgid("p", child, group).unwrap();
    }
    assert_eq!(w.find("p", w.group("b", ANY)), "nothing");
    for child in ["e", "c", "d", "a"] {
        w.exit(child);
    }
    let group = w.group("b", ANY);
    assert_eq!(w.wait("p", group), "zombie d");
    assert_eq!(w.wait("p", group), "zombie e");
    assert_eq!(w.wait("p", group), "nothing");
    assert_eq!(w.find("p", w.group("c", STOPS)), "ECHILD");
    assert_eq!(w.find("p", w.group("p", ANY)), "ECHILD", "a group without children of p");
    w.exit("b");
    assert_eq!(w.wait("p", group), "zombie b");
    assert_eq!(w.wait("p", group), "ECHILD");
}

#[test]
fn the_oldest_member_comes_first_when_the_group_is_walked() {
    // 4.10, by the way of the members, which are listed newest first
    let mut w = parent_with(&["o1", "o2", "o3", "o4", "o5", "o6", "m1", "m2", "m3"]);
    for child in ["m1", "m2", "m3"] {
        w.setpgid("p", child, "m1").unwrap();
    }
    for child in ["o1", "o2", "o3", "o4", "o5", "o6", "m3", "m2", "m1"] {
        w.exit(child);
    }
    let group = w.group("m1", ANY);
    for child in ["m1", "m2", "m3"] {
        assert_eq!(w.wait("p", group), format!("zombie {child}"));
    }
}

#[test]
fn a_stranger_is_no_child() {
    // 4.6, 4.7
    let mut w = parent_with(&["a"]);
    w.fork("a", "grandchild");
    w.exit("grandchild");
    assert_eq!(w.find("p", w.one("grandchild", ALL)), "ECHILD");
    assert_eq!(w.find("p", w.one("p", ALL)), "ECHILD");
    let a = w.one("a", ALL);
    w.exit("a");
    assert_eq!(w.wait("p", a), "zombie a");
    assert_eq!(w.wait("p", a), "ECHILD", "the id is stale");
    w.fork("p", "b");
    assert_eq!(w.wait("p", a), "ECHILD", "also when the slot has a new owner");
}

#[test]
fn a_dead_leader_is_a_child_with_nothing_to_report() {
    // 3.6, 3.7, 4.15, 3.5
    let mut w = parent_with(&["a"]);
    w.thread("a", "a2");
    let a2 = w.nr("a2");
    assert_eq!(w.exit("a"), "lives");
    assert_eq!(w.find("p", ANY), "nothing");
    assert_eq!(w.take_log(), Vec::<String>::new());
    w.stop("a");
    assert_eq!(w.find("p", EVERYTHING), "stopped a by 19");
    w.cont("a");
    w.take_log();
    assert_eq!(w.exit("a2"), "zombie");
    assert_eq!(w.take_log()[0], format!("free {a2}"));
    assert_eq!(w.find("p", EVERYTHING), "zombie a");
}

#[test]
fn a_thread_exits_without_a_word() {
    // 3.7
    let mut w = parent_with(&["a"]);
    w.thread("a", "a2");
    let a2 = w.nr("a2");
    w.exit("a2");
    assert_eq!(w.take_log(), [format!("free {a2}")]);
    assert_eq!(w.t.thread_count(w.ids["a"].process), 1);
}

#[test]
fn children_of_a_parent_that_ignores_them_vanish() {
    // 4.23, 5.7, 5.12
    let mut w = parent_with(&["a", "b"]);
    let (a, b) = (w.nr("a"), w.nr("b"));
    w.policy("p", ChildPolicy::Ignore);
    assert_eq!(w.exit("a"), "autoreaped");
    assert_eq!(w.take_log(), ["wake p for a".to_string(), format!("free {a}")]);
    w.policy("p", ChildPolicy::NoWait);
    assert_eq!(w.exit("b"), "autoreaped");
    assert_eq!(w.take_log()[0], format!("p: signal 17, b({b}) exited"));
    assert_eq!(w.find("p", ANY), "ECHILD");
}

#[test]
fn a_child_that_was_made_to_vanishes_at_any_parent() {
    // CLONE_AUTOREAP: 14.7
    let mut w = parent_with(&["a", "b", "c"]);
    w.procs["b"].autoreaped.store(true, Relaxed);
    w.fork("a", "orphan");
    w.procs["orphan"].autoreaped.store(true, Relaxed);
    let (b, orphan) = (w.nr("b"), w.nr("orphan"));
    assert_eq!(w.exit("b"), "autoreaped");
    assert_eq!(w.take_log(), ["wake p for b".to_string(), format!("free {b}")]);
    assert_eq!(w.exit("a"), "zombie");
    w.take_log();
    assert_eq!(w.exit("orphan"), "autoreaped");
    let log = w.take_log();
    assert!(log[0].starts_with("wake ") && log[1] == format!("free {orphan}"), "{log:?}");
    assert_eq!(w.exit("c"), "zombie");
    assert_eq!(w.wait_any("p"), "zombie a");
}

#[test]
fn ignoring_later_leaves_zombies_alone() {
    // 4.24
    let mut w = parent_with(&["a"]);
    w.exit("a");
    w.policy("p", ChildPolicy::Ignore);
    assert_eq!(w.wait_any("p"), "zombie a");
}

#[test]
fn only_sigchld_can_be_ignored() {
    // 4.25, 5.9
    let mut w = parent_with(&[]);
    w.policy("p", ChildPolicy::Ignore);
    for (name, exit_signal) in [("usr1", 10), ("none", 0), ("absurd", 200)] {
        w.fork_with("p", name, Opts { exit_signal, ..FORK });
        assert_eq!(w.exit(name), "zombie");
    }
    let sent: Vec<_> = w.signals();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].starts_with("p: signal 10"));
}

#[test]
fn stop_reports_survive_ignoring() {
    // 4.26
    let mut w = parent_with(&["a"]);
    w.policy("p", ChildPolicy::Ignore);
    w.stop("a");
    assert_eq!(w.find("p", STOPS), "stopped a by 19");
}

#[test]
fn a_parent_that_did_an_exec_gets_sigchld() {
    // 5.8
    let mut w = parent_with(&[]);
    w.fork_with("p", "before", Opts { exit_signal: 10, ..FORK });
    w.t.exec(w.ids["p"].thread, &mut w.log).unwrap();
    w.fork_with("p", "after", Opts { exit_signal: 10, ..FORK });
    w.exit("before");
    assert!(w.signals()[0].starts_with("p: signal 17"));
    assert_eq!(w.t.exit_signal(w.ids["before"].process), Some(10), "stat shows the old one");
    w.exit("after");
    assert!(w.signals()[0].starts_with("p: signal 10"));
}

#[test]
fn exec_makes_a_normal_child() {
    // 5.8
    let mut w = parent_with(&[]);
    w.fork_with("p", "a", Opts { exit_signal: 10, ..FORK });
    w.stop("a");
    assert_eq!(w.find("p", STOPS), "ECHILD");
    w.t.exec(w.ids["a"].thread, &mut w.log).unwrap();
    w.check();
    assert_eq!(w.find("p", STOPS), "stopped a by 19");
}

#[test]
fn exec_by_a_thread_takes_over_the_leaders_pid() {
    // 10.12
    let mut w = parent_with(&["a"]);
    w.thread("a", "a2");
    w.thread("a", "a3");
    w.fork("a2", "child");
    let (pid, old) = (w.nr("a"), w.nr("a2"));
    let thread = w.ids["a2"].thread;
    assert!(w.t.exec(thread, &mut w.log).is_err(), "others are there");
    w.exit("a3");
    w.exit("a");
    w.take_log();
    w.t.exec(thread, &mut w.log).unwrap();
    w.check();
    assert_eq!(w.take_log(), [format!("free {old}")]);
    assert_eq!(w.t.nr(w.t.tid(thread).unwrap(), w.ns), pid);
    assert_eq!(w.t.thread_count(w.ids["a"].process), 1);
    assert_eq!(w.children("a2"), ["child"]);
    assert_eq!(w.exit("a2"), "zombie");
    assert_eq!(w.find("p", w.one("a", ANY)), "zombie a");
}

#[test]
fn only_one_of_two_reapers_wins() {
    // 4.28, I2
    let mut w = parent_with(&["a"]);
    let a = w.ids["a"].process;
    assert!(w.t.reap(a, &mut w.log).is_none(), "alive");
    w.exit("a");
    assert!(w.t.reap(a, &mut w.log).is_some());
    assert!(w.t.reap(a, &mut w.log).is_none());
}

#[test]
fn the_table_is_empty_again_after_a_storm() {
    let mut w = parent_with(&[]);
    for round in 0..3 {
        for i in 0..60 {
            let name = format!("{round}.{i}");
            w.fork(if i % 7 == 0 { "init" } else { "p" }, &name);
            w.thread(&name, &format!("{name}.t"));
        }
        for i in (0..60).rev() {
            w.exit(&format!("{round}.{i}"));
            w.exit(&format!("{round}.{i}.t"));
        }
        while w.wait_any("p").starts_with("zombie") {}
        while w.wait_any("init").starts_with("zombie") {}
        assert_eq!(w.t.counts(), (2, 2, 2));
    }
}
