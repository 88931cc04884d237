//! What a reaper can ask and do beyond Linux: docs/reaper.md.

use crate::world::*;
use proctree::{Autoreap, ChildPolicy, Class, Error, Origin, WaitFor};

const ANY: WaitFor = WaitFor::ANY_EXIT;
const OWN: WaitFor = WaitFor { origin: Origin::Own, ..ANY };
const ADOPTED: WaitFor = WaitFor { origin: Origin::Adopted, ..ANY };

/// top (subreaper) - s (subreaper) - a - x, y; and s - b
fn family() -> World {
    let mut w = World::line(&["top", "s", "a", "x"]);
    w.fork("a", "y");
    w.fork("s", "b");
    w.subreaper("top", true);
    w.subreaper("s", true);
    w
}

impl World {
    fn release(&mut self, name: &str) -> Result<u32, Error> {
        let result = self.t.release_reaper(self.ids[name].process, &mut self.log);
        self.check();
        result
    }

    fn autoreap(&mut self, name: &str, autoreap: Autoreap) {
        self.t.set_autoreap(self.ids[name].process, autoreap);
    }

    fn is_adopted(&self, name: &str) -> bool {
        self.t.is_adopted(self.ids[name].process)
    }

    /// Each descendant as "name of its subtree/name".
    fn below(&self, name: &str) -> Vec<String> {
        let below = self.t.subtree(self.ids[name].process);
        let line =
            |subtree, process| format!("{}/{}", self.process_name(subtree), self.process_name(process));
        below.map(|one| line(one.subtree, one.process)).collect()
    }
}

// ---- who is adopted ----------------------------------------------------------------------------

#[test]
fn an_orphan_is_adopted_and_the_children_of_a_dead_sibling_thread_are_not() {
    let mut w = family();
    assert!(!w.is_adopted("x"));
    w.thread("a", "a2");
    w.exit("a");
    assert!(!w.is_adopted("x"), "it is still the child of the process that made it");
    w.exit("a2");
    assert!(w.is_adopted("x") && w.is_adopted("y"));
    assert!(!w.is_adopted("a"));
    assert_eq!(w.t.reaper_status(w.ids["s"].process).unwrap().adopted, 2);
    // The adopter's leader dies: what it adopted stays adopted, what it made stays made.
    w.thread("s", "s2");
    w.exit("s");
    assert_eq!(w.children("s2"), ["a", "b", "x", "y"]);
    assert!(w.is_adopted("x") && !w.is_adopted("b"));
}

// ---- the wait filter ---------------------------------------------------------------------------

#[test]
fn a_wait_for_ones_own_leaves_the_adopted_alone_and_the_other_way_round() {
    let mut w = family();
    w.exit("x");
    w.exit("a");
    assert_eq!(w.find("s", ADOPTED), "zombie x");
    assert_eq!(w.wait("s", OWN), "zombie a");
    assert_eq!(w.wait("s", OWN), "nothing", "b lives");
    w.exit("b");
    assert_eq!(w.wait("s", OWN), "zombie b");
    assert_eq!(w.wait("s", OWN), "ECHILD");
    assert_eq!(w.find("s", ANY), "zombie x");
    assert_eq!(w.wait("s", ADOPTED), "zombie x");
    assert_eq!(w.wait("s", ADOPTED), "nothing", "y lives");
    w.exit("y");
    assert_eq!(w.wait("s", ADOPTED), "zombie y");
    assert_eq!(w.wait("s", ADOPTED), "ECHILD");
}

#[test]
fn an_unread_stop_report_is_adopted_with_its_child() {
    let mut w = family();
    w.stop("x");
    w.exit("a");
    let stops = WaitFor { exited: false, stopped: true, ..ANY };
    assert_eq!(w.find("s", WaitFor { origin: Origin::Own, ..stops }), "nothing");
    assert_eq!(w.wait("s", WaitFor { origin: Origin::Adopted, ..stops }), "stopped x by 19");
}

#[test]
fn a_clone_child_becomes_an_adopted_one() {
    // 2.10
    let mut w = family();
    w.fork_with("a", "c", Opts { exit_signal: 0, ..FORK });
    w.exit("c");
    w.exit("a");
    assert_eq!(w.find("s", WaitFor { class: Class::Clone, ..ANY }), "ECHILD");
    assert_eq!(w.wait("s", ADOPTED), "zombie c");
}

#[test]
fn the_filter_holds_for_one_process_and_for_a_group() {
    let mut w = family();
    w.setpgid("a", "x", "x").unwrap();
    w.exit("x");
    w.exit("a");
    let one = proctree::Who::Process(w.ids["x"].process);
    let group = proctree::Who::Pgrp(w.ids["x"].pid);
    for who in [one, group] {
        assert_eq!(w.find("s", WaitFor { who, ..OWN }), "ECHILD");
        assert_eq!(w.find("s", WaitFor { who, ..ADOPTED }), "zombie x");
    }
}

// ---- automatic reaping -------------------------------------------------------------------------

#[test]
fn adopted_children_vanish_quietly_and_the_others_stay() {
    let mut w = family();
    w.autoreap("s", Autoreap::Quiet);
    w.exit("x");
    w.take_log();
    assert_eq!(w.exit("a"), "zombie");
    assert_eq!(w.signals(), ["autoreaped x", "s: signal 17, a(4) exited"]);
    assert_eq!(w.exit("y"), "autoreaped");
    assert_eq!(w.signals(), [""; 0]);
    assert_eq!(w.wait("s", ADOPTED), "ECHILD");
    assert_eq!(w.wait_any("s"), "zombie a");
}

#[test]
fn the_signal_can_be_had_all_the_same_unless_it_is_ignored() {
    let mut w = family();
    w.autoreap("s", Autoreap::Signal);
    w.exit("a");
    w.take_log();
    assert_eq!(w.exit("x"), "autoreaped");
    assert_eq!(w.signals().len(), 1);
    w.policy("s", ChildPolicy::Ignore);
    assert_eq!(w.exit("y"), "autoreaped");
    assert_eq!(w.signals(), [""; 0]);
}

#[test]
fn a_waiter_for_the_last_adopted_child_is_woken_when_that_vanishes() {
    // 5.12
    let mut w = family();
    w.autoreap("s", Autoreap::Quiet);
    w.exit("a");
    w.exit("x");
    w.take_log();
    w.exit("y");
    assert!(w.take_log().contains(&"wake s for y".to_string()));
}

// ---- release -----------------------------------------------------------------------------------

#[test]
fn release_hands_the_adopted_to_the_next_reaper_and_keeps_the_others() {
    let mut w = family();
    w.exit("a");
    assert_eq!(w.release("s"), Ok(2));
    assert_eq!(w.children("s"), ["a", "b"]);
    assert_eq!(w.children("top"), ["s", "x", "y"]);
    assert_eq!(w.getppid("x"), w.nr("top"));
    w.fork("b", "z");
    w.exit("b");
    assert_eq!(w.parent("z"), "top", "it is no subreaper any more");
    assert_eq!(w.release("s"), Err(Error::Inval));
}

#[test]
fn release_announces_zombies_and_sends_no_death_signal() {
    // 2.11, 2.14
    let mut w = family();
    w.pdeath("y", 10);
    w.exit("a");
    w.exit("x");
    w.take_log();
    assert_eq!(w.release("s"), Ok(2));
    assert_eq!(w.signals(), ["top: signal 17, x(5) exited"]);
    assert_eq!(w.wait("top", ADOPTED), "zombie x");
    assert_eq!(w.wait("s", ADOPTED), "ECHILD");
}

#[test]
fn release_without_a_subreaper_above_goes_to_init() {
    let mut w = World::line(&["s", "a", "x"]);
    w.subreaper("s", true);
    w.exit("a");
    assert_eq!(w.release("s"), Ok(1));
    assert_eq!(w.parent("x"), "init");
    assert_eq!(w.release("init"), Err(Error::Inval));
}

#[test]
fn release_gives_up_what_is_left_of_an_earlier_subreaper() {
    let mut w = family();
    w.exit("a");
    w.subreaper("s", false);
    assert_eq!(w.children("s"), ["a", "b", "x", "y"]);
    assert_eq!(w.release("s"), Ok(2));
    assert_eq!(w.release("b"), Err(Error::Inval));
}

#[test]
fn release_hangs_up_a_stopped_group_that_it_orphans() {
    // 2.22
    let mut w = World::line(&["top", "s", "a", "x"]);
    w.subreaper("s", true);
    w.setsid("s").unwrap();
    w.fork("s", "c");
    w.fork("c", "z");
    w.setpgid("c", "z", "z").unwrap();
    w.stop("z");
    w.exit("c");
    w.take_log();
    assert_eq!(w.release("s"), Ok(1), "z, whose parent was in its session");
    let hung_up = ["z: orphaned group, signal 1", "z: orphaned group, signal 18"];
    assert_eq!(w.signals(), hung_up);
}

// ---- questions ---------------------------------------------------------------------------------

#[test]
fn each_descendant_is_listed_with_the_child_that_it_comes_from() {
    let mut w = family();
    assert_eq!(w.below("s"), ["a/a", "a/x", "a/y", "b/b"]);
    assert_eq!(w.below("top"), ["s/s", "s/a", "s/x", "s/y", "s/b"]);
    w.exit("a");
    assert_eq!(w.below("s"), ["a/a", "b/b", "x/x", "y/y"]);
    let status = w.t.reaper_status(w.ids["s"].process).unwrap();
    assert_eq!((status.children, status.adopted, status.zombies), (4, 2, 1));
    assert_eq!((status.descendants, status.dead, status.reapers), (4, 1, 0));
    let status = w.t.reaper_status(w.ids["top"].process).unwrap();
    assert_eq!((status.descendants, status.dead, status.reapers), (5, 1, 1));
}

#[test]
fn a_process_knows_its_reaper_and_the_one_above() {
    let w = family();
    let who = |name: &str| {
        let status = w.t.reaper_status(w.ids[name].process).unwrap();
        let of = |pid| w.ids.iter().find(|(_, ids)| Some(ids.pid) == pid).map(|(name, _)| name.clone());
        (of(status.reaper), of(status.above))
    };
    let names = |reaper: &str, above: &str| (Some(reaper.to_string()), Some(above.to_string()));
    assert_eq!(who("x"), names("s", "s"));
    assert_eq!(who("s"), names("s", "top"));
    assert_eq!(who("top"), names("top", "init"));
    assert_eq!(who("init"), (Some("init".to_string()), None));
}
