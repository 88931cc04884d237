//! Process groups and sessions (8.1-8.8), and orphaned groups (2.20-2.26).

use crate::world::*;
use proctree::{Error, NewPgrp, SIGCONT, SIGHUP};
use std::sync::atomic::Ordering::Relaxed;

/// init - sh (session leader) - job (own group) - work (in job's group)
fn shell() -> World {
    let mut w = World::line(&["sh", "job"]);
    w.setsid("sh").unwrap();
    // Made before the session was: move it there by making it anew.
    w.exit("job");
    w.wait_any("sh");
    w.fork("sh", "job");
    w.setpgid("sh", "job", "job").unwrap();
    w.fork("job", "work");
    w.take_log();
    w
}

fn hangups(w: &mut World) -> Vec<String> {
    let mut log = w.take_log();
    log.retain(|line| line.contains("orphaned group"));
    log
}

#[test]
fn setpgid_refuses_in_the_order_of_linux() {
    let mut w = shell();
    w.thread("sh", "sh2");
    w.thread("job", "job2");
    w.fork("sh2", "other");
    let (sh, job2) = (w.ids["sh"], w.ids["job2"]);
    // 8.2
    assert_eq!(w.setpgid("sh", "init", "init"), Err(Error::Srch));
    assert_eq!(w.setpgid("sh", "work", "work"), Err(Error::Srch), "a grandchild");
    assert_eq!(w.t.setpgid(sh.thread, job2.pid, NewPgrp::Own, &mut w.log), Err(Error::Inval));
    assert_eq!(w.setpgid("sh", "other", "other"), Ok(()), "a sibling thread's child");
    // 8.4
    assert_eq!(w.setpgid("sh", "other", "init"), Err(Error::Perm), "no such group in the session");
    assert_eq!(w.setpgid("sh", "other", "work"), Err(Error::Perm), "no such group at all");
    let target = w.ids["other"].pid;
    assert_eq!(w.t.setpgid(sh.thread, target, NewPgrp::Other(None), &mut w.log), Err(Error::Perm));
    assert_eq!(w.setpgid("sh", "other", "job"), Ok(()));
    // 8.3
    assert_eq!(w.setpgid("sh", "sh", "sh"), Err(Error::Perm), "a session leader");
    w.t.exec(w.ids["other"].thread, &mut w.log).unwrap();
    assert_eq!(w.setpgid("sh", "other", "other"), Err(Error::Access));
    assert_eq!(w.setpgid("other", "other", "other"), Ok(()), "itself it may");
    w.fork("sh", "away");
    w.setsid("away").unwrap();
    assert_eq!(w.setpgid("sh", "away", "job"), Err(Error::Perm), "another session");
}

#[test]
fn a_zombie_can_be_moved_if_it_never_did_an_exec() {
    // 3.12
    let mut w = shell();
    w.fork("sh", "dead");
    w.exit("dead");
    assert_eq!(w.setpgid("sh", "dead", "job"), Ok(()));
    assert_eq!(w.t.pgrp(w.ids["dead"].process), Some(w.ids["job"].pid));
}

#[test]
fn setsid_refuses_while_the_number_is_a_group() {
    // 8.6
    let mut w = shell();
    assert_eq!(w.setsid("sh"), Err(Error::Perm));
    assert_eq!(w.setsid("job"), Err(Error::Perm), "a group leader");
    w.setpgid("sh", "job", "sh").unwrap();
    assert_eq!(w.setsid("job"), Err(Error::Perm), "left its group, but a member remains");
    w.exit("work");
    w.wait_any("job");
    let session = w.setsid("job").unwrap();
    let job = w.ids["job"];
    assert_eq!(session, job.pid);
    assert_eq!((w.t.pgrp(job.process), w.t.session(job.process)), (Some(job.pid), Some(job.pid)));
    assert!(w.t.is_session_leader(job.process));
}

#[test]
fn the_first_process_is_in_group_zero_until_setsid() {
    let mut w = World::new();
    let init = w.ids["init"];
    assert_eq!(w.t.nr(w.t.pgrp(init.process).unwrap(), w.ns), 0);
    assert_eq!(w.setsid("init"), Ok(init.pid));
}

#[test]
fn a_group_outlives_its_leader_and_keeps_the_number() {
    // 8.4, 8.8, 0.4
    let mut w = shell();
    let (job, nr) = (w.ids["job"].pid, w.nr("job"));
    w.fork("sh", "late");
    w.exit("job");
    w.take_log();
    assert_eq!(w.wait_any("sh"), "zombie job");
    assert!(w.take_log().is_empty(), "the number is not free");
    assert_eq!(w.t.nr(job, w.ns), nr);
    assert_eq!(w.t.pid_process(job), None);
    assert_eq!(w.setpgid("sh", "late", "job"), Ok(()), "a group without leader can be joined");
    assert_eq!(w.t.pgrp_members(job).count(), 2);
    w.setpgid("sh", "late", "late").unwrap();
    w.exit("work");
    w.wait_any("init");
    assert!(w.take_log().contains(&format!("free {nr}")));
    assert_eq!(w.t.nr(job, w.ns), 0);
}

#[test]
fn a_session_keeps_its_number() {
    // 0.4
    let mut w = shell();
    let nr = w.nr("sh");
    w.exit("sh");
    w.wait_any("init");
    assert!(!w.take_log().contains(&format!("free {nr}")));
    for name in ["job", "work"] {
        w.exit(name);
        assert_eq!(w.wait_any("init"), format!("zombie {name}"));
    }
    assert!(w.take_log().contains(&format!("free {nr}")));
    assert_eq!(w.t.counts(), (1, 1, 1));
}

#[test]
fn members_are_listed_newest_first() {
    let mut w = shell();
    w.fork("work", "more");
    let names: Vec<_> = w.t.pgrp_members(w.ids["job"].pid).map(|member| w.process_name(member)).collect();
    assert_eq!(names, ["more", "work", "job"]);
}

// ---- orphaned groups ---------------------------------------------------------------------------

#[test]
fn a_stopped_job_is_hung_up_when_the_shell_dies() {
    // 2.22, 2.24: SIGHUP to all, then SIGCONT to all
    let mut w = shell();
    w.stop("work");
    w.take_log();
    assert!(!w.t.is_orphaned_pgrp(w.ids["job"].pid));
    w.exit("sh");
    let line = |name, signal| format!("{name}: orphaned group, signal {signal}");
    assert_eq!(
        hangups(&mut w),
        [line("work", SIGHUP), line("job", SIGHUP), line("work", SIGCONT), line("job", SIGCONT)]
    );
    assert!(w.t.is_orphaned_pgrp(w.ids["job"].pid));
    assert!(!w.t.is_stopped(w.ids["work"].process));
}

#[test]
fn without_a_stopped_member_nothing_is_sent() {
    // 2.24
    let mut w = shell();
    w.exit("sh");
    assert!(hangups(&mut w).is_empty());
}

#[test]
fn the_exit_of_the_last_link_hangs_up_the_rest() {
    // 2.21
    let mut w = shell();
    w.stop("work");
    w.take_log();
    w.exit("job");
    let signals = hangups(&mut w);
    assert_eq!(signals.iter().filter(|line| line.starts_with("work:")).count(), 2);
}

#[test]
fn the_exit_of_a_process_with_another_link_left_sends_nothing() {
    // 2.21
    let mut w = shell();
    w.fork("sh", "job2");
    w.setpgid("sh", "job2", "job").unwrap();
    w.stop("work");
    w.take_log();
    w.exit("job");
    assert!(hangups(&mut w).is_empty());
    w.exit("job2");
    assert!(!hangups(&mut w).is_empty());
}

#[test]
fn an_adopter_of_the_same_session_keeps_the_group_linked() {
    // 2.23
    let mut w = shell();
    w.subreaper("sh", true);
    w.fork("sh", "mid");
    w.setpgid("sh", "mid", "mid").unwrap();
    w.fork("mid", "x");
    w.setpgid("mid", "x", "x").unwrap();
    w.stop("x");
    w.take_log();
    w.exit("mid");
    assert_eq!(w.parent("x"), "sh");
    assert!(hangups(&mut w).is_empty());
    assert!(w.t.is_stopped(w.ids["x"].process));
}

#[test]
fn a_stopped_orphan_that_does_not_handle_hangup_dies() {
    // 2.25: the kill voids the stop, so SIGCONT continues nothing
    let mut w = shell();
    w.procs["work"].dies_of_hup.store(true, Relaxed);
    w.stop("work");
    w.exit("sh");
    assert!(!w.t.is_stopped(w.ids["work"].process));
    w.check();
    w.exit("work");
    assert_eq!(w.wait_any("job"), "zombie work");
}

#[test]
fn a_child_of_the_initial_init_is_no_link() {
    // 2.20
    let mut w = World::new();
    w.setsid("init").unwrap();
    w.fork("init", "a");
    w.setpgid("init", "a", "a").unwrap();
    assert!(w.t.is_orphaned_pgrp(w.ids["a"].pid));
    w.fork("a", "b");
    w.setpgid("a", "b", "b").unwrap();
    assert!(!w.t.is_orphaned_pgrp(w.ids["b"].pid));
}

#[test]
fn later_siblings_still_link_the_group_while_the_first_is_visited() {
    // 2.15, 2.20: two jobs' worth of children in one group, signals come once, at the last of them
    let mut w = shell();
    for name in ["x", "y"] {
        w.fork("job", name);
        w.setpgid("job", name, "x").unwrap();
        w.stop(name);
    }
    w.take_log();
    w.exit("job");
    let signals = hangups(&mut w);
    assert_eq!(signals.iter().filter(|line| line.starts_with("x:")).count(), 2);
    assert_eq!(signals.iter().filter(|line| line.starts_with("y:")).count(), 2);
}
