//! Numbers (6.7, 6.17, 0.4) and namespaces (section 9).

use crate::world::*;
use proctree::*;

fn alloc(t: &mut Table<Test>, ns: NsId) -> Result<u32, Error> {
    let numbers = Numbers::for_level(t.ns_level(ns).unwrap()).unwrap();
    let pid = t.alloc_pid(ns, numbers).map_err(|refused| refused.error)?;
    Ok(t.nr(pid, ns))
}

#[test]
fn numbers_go_up_and_wrap_to_300() {
    // 6.17
    let mut w = World::new();
    let numbers = w.t.ns_numbers(w.ns).unwrap();
    numbers.set_last(32765);
    assert_eq!(alloc(&mut w.t, w.ns), Ok(32766));
    assert_eq!(alloc(&mut w.t, w.ns), Ok(32767));
    assert_eq!(alloc(&mut w.t, w.ns), Ok(300));
    assert_eq!(w.t.ns_numbers(w.ns).unwrap().last(), 300);
    w.t.ns_numbers(w.ns).unwrap().set_last(32766);
    assert_eq!(alloc(&mut w.t, w.ns), Ok(301), "skips those in use");
}

#[test]
fn numbers_in_use_are_found_in_order() {
    let mut w = World::new();
    let all = |w: &mut World, from| {
        let numbers = w.t.ns_numbers(w.ns).unwrap();
        std::iter::successors(numbers.next_used(from), |nr| numbers.next_used(nr + 1)).collect::<Vec<_>>()
    };
    assert_eq!(all(&mut w, 0), [1], "0 is nobody's");
    for last in [62, 63, 126, 4999] {
        w.t.ns_numbers(w.ns).unwrap().set_last(last);
        alloc(&mut w.t, w.ns).unwrap();
    }
    assert_eq!(all(&mut w, 0), [1, 63, 64, 127, 5000]);
    assert_eq!(all(&mut w, 64), [64, 127, 5000]);
    assert_eq!(all(&mut w, 5001), []);
    assert_eq!(all(&mut w, u32::MAX), [], "beyond the bitmap");
}

#[test]
fn a_freed_number_is_not_given_out_at_once() {
    // 6.17
    let mut w = World::line(&["a"]);
    let a = w.nr("a");
    w.exit("a");
    w.wait_any("init");
    w.fork("init", "b");
    assert_eq!(w.nr("b"), a + 1);
}

#[test]
fn numbers_run_out() {
    // 6.13
    let mut w = World::new();
    let ns = w.namespace_below(w.ns);
    for _ in 1..1000 {
        w.alloc(ns).unwrap();
    }
    assert_eq!(w.alloc(ns), Err(Error::Again));
    w.check();
    assert_eq!(w.t.counts().2, 1000, "the numbers above are given back");
}

#[test]
fn a_low_cursor_wraps_to_one() {
    // 6.17: pid_max may be below 300
    let mut w = World::new();
    w.supply();
    let ns =
        w.t.add_namespace(w.ns, NumberSpace::try_new(5).unwrap()).map_err(|refused| refused.error).unwrap();
    let pids: Vec<_> = (0..4).map(|_| w.alloc(ns).unwrap()).collect();
    let nrs: Vec<_> = pids.iter().map(|&pid| w.t.nr(pid, ns)).collect();
    assert_eq!(nrs, [1, 2, 3, 4]);
    w.t.cancel_pid(pids[1], &mut w.log).unwrap();
    let again = w.alloc(ns).unwrap();
    assert_eq!(w.t.nr(again, ns), 2);
}

#[test]
fn given_numbers_are_checked_in_order() {
    // 6.7
    let mut w = World::line(&["a"]);
    let ns = w.namespace_below(w.ns);
    let mut exact = |tids: &[u32], allowed: bool| {
        let numbers = Numbers::for_level(1).unwrap();
        let pid =
            w.t.alloc_pid_exact(ns, numbers, tids, &mut |_| allowed).map_err(|refused| refused.error)?;
        Ok((w.t.nr(pid, ns), w.t.nr(pid, w.ns)))
    };
    assert_eq!(exact(&[0], true), Err(Error::Inval));
    assert_eq!(exact(&[1000], true), Err(Error::Inval), "pid_max of that namespace");
    assert_eq!(exact(&[5], true), Err(Error::Inval), "no init yet");
    assert_eq!(exact(&[1, 2, 3], true), Err(Error::Inval), "more than levels");
    assert_eq!(exact(&[1], false), Err(Error::Perm));
    assert_eq!(exact(&[1, 1], true), Err(Error::Exist));
    assert_eq!(exact(&[1, 700], true), Ok((1, 700)));
    w.check();
    let next = w.alloc(w.ns).unwrap();
    assert_eq!(w.t.nr(next, w.ns), 3, "the cursor has not moved to a given number");
}

#[test]
fn a_pid_has_a_number_on_each_level() {
    // 9.1
    let mut w = World::line(&["a"]);
    let one = w.namespace_below(w.ns);
    w.fork_with("a", "one", Opts { ns: Some(one), ..FORK });
    let two = w.namespace_below(one);
    w.fork_with("one", "two", Opts { ns: Some(two), ..FORK });
    let pid = w.ids["two"].pid;
    assert_eq!((w.t.nr(pid, two), w.t.nr(pid, one), w.t.nr(pid, w.ns)), (1, 2, 4));
    let other = w.namespace_below(w.ns);
    assert_eq!(w.t.nr(pid, other), 0);
    assert_eq!(w.t.nr(w.ids["one"].pid, two), 0, "not from below");
    assert_eq!(w.t.ns_init(two), Some(w.ids["two"].process));
    let visible: Vec<_> = w.t.processes_in(one).map(|process| w.process_name(process)).collect();
    assert_eq!(visible, ["one", "two"]);
    // 8.7: the group and session are outside ones
    assert_eq!(w.t.nr(w.t.pgrp(w.ids["one"].process).unwrap(), one), 0);
    assert!(w.setsid("one").is_ok());
}

#[test]
fn a_short_bitmap_grows_when_asked() {
    // 6.17
    let mut w = World::line(&["a"]);
    w.supply();
    let numbers = NumberSpace::try_with_room(1000, 64).unwrap();
    let ns = w.t.add_namespace(w.ns, numbers).map_err(|refused| refused.error).unwrap();
    for expected in 1..64 {
        assert_eq!(w.t.short_of_numbers(ns, &[]), None);
        let pid = w.alloc(ns).unwrap();
        assert_eq!(w.t.nr(pid, ns), expected);
    }
    let (short, room) = w.t.short_of_numbers(ns, &[]).unwrap();
    assert!(short == ns && room > 64);
    assert_eq!(w.t.short_of_numbers(ns, &[5]), None);
    assert!(w.t.short_of_numbers(ns, &[999]).unwrap().1 == 1000);
    assert_eq!(w.t.short_of_numbers(ns, &[1000]), None, "out of range is found out later");
    let longer = NumberSpace::try_with_room(room, room).unwrap();
    drop(w.t.ns_numbers(ns).unwrap().grow(longer));
    let pid = w.alloc(ns).unwrap();
    assert_eq!(w.t.nr(pid, ns), 64);
    assert_eq!(w.t.ns_numbers(ns).unwrap().pid_max(), 1000);
    w.t.ns_numbers(ns).unwrap().set_last(500);
    assert!(w.t.short_of_numbers(ns, &[]).unwrap().1 > 501);
    w.check();
}

#[test]
fn nesting_ends_at_level_32() {
    // 9.5
    let mut w = World::new();
    let mut ns = w.ns;
    for _ in 0..32 {
        ns = w.namespace_below(ns);
    }
    w.supply();
    let refused = w.t.add_namespace(ns, NumberSpace::try_new(10).unwrap()).err().unwrap();
    assert_eq!(refused.error, Error::NoSpace);
    let pid = w.alloc(ns).unwrap();
    assert_eq!(w.t.numbers(pid).unwrap().level(), 32);
}

#[test]
fn the_first_number_is_kept_for_the_init() {
    let mut w = World::line(&["a"]);
    let ns = w.namespace_below(w.ns);
    let pid = w.alloc(ns).unwrap();
    w.t.cancel_pid(pid, &mut w.log).unwrap();
    let ids = w.fork_with("a", "nsinit", Opts { ns: Some(ns), ..FORK });
    assert_eq!(w.t.nr(ids.pid, ns), 1);
}

#[test]
fn threads_stay_in_the_namespace_of_their_process() {
    // 9.4
    let mut w = World::line(&["a"]);
    let ns = w.namespace_below(w.ns);
    let pid = w.alloc(ns).unwrap();
    let refused = w.t.clone_thread(w.ids["a"].thread, pid, "t".into()).err().unwrap();
    assert_eq!((refused.error, refused.given.as_str()), (Error::Inval, "t"));
}

#[test]
fn clone_parent_by_an_init_is_refused() {
    // 6.2, 6.4
    let mut w = World::line(&["a"]);
    let sibling = Opts { sibling: true, exit_signal: 0, ..FORK };
    assert_eq!(w.try_fork("init", "x", sibling), Err(Error::Inval));
    let ns = w.namespace_below(w.ns);
    w.fork_with("a", "nsinit", Opts { ns: Some(ns), exit_signal: 12, ..FORK });
    assert_eq!(w.try_fork("nsinit", "x", sibling), Err(Error::Inval));
    w.fork_with("a", "b", Opts { exit_signal: 12, ..FORK });
    w.fork_with("b", "sib", sibling);
    assert_eq!(w.t.exit_signal(w.ids["sib"].process), Some(12), "that of the caller");
    assert_eq!(w.children("a"), ["nsinit", "b", "sib"]);
}

#[test]
fn ids_survive_a_word_and_go_stale() {
    let mut w = World::line(&["a"]);
    let a = w.ids["a"];
    assert_eq!(ProcId::from_bits(a.process.to_bits()), a.process);
    w.exit("a");
    assert_eq!(w.t.thread(a.thread), None);
    assert!(w.t.body(a.process).is_some());
    w.wait_any("init");
    w.fork("init", "b");
    assert!(w.t.body(a.process).is_none());
    assert_eq!(w.t.nr(a.pid, w.ns), 0);
    assert!(w.t.body(ProcId::INVALID).is_none());
    assert!(w.t.body(ProcId::from_bits(u64::MAX)).is_none());
}

#[test]
fn descendants_are_walked_parents_first() {
    let mut w = World::line(&["a", "b"]);
    w.thread("a", "a2");
    w.fork("a2", "c");
    w.fork("b", "d");
    w.fork("a", "e");
    let names: Vec<_> = w.t.descendants(w.ids["a"].process).map(|process| w.process_name(process)).collect();
    assert_eq!(names, ["b", "d", "e", "c"]);
    assert_eq!(w.t.descendants(w.ids["e"].process).count(), 0);
}
