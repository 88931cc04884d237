//! What a program can't see of pid namespaces: that they are freed, and what is found at each level.

use ktest::ktest;
use spin::Once;

use super::PidNs;
use crate::{
    fs::nsfs::Namespace,
    prelude::*,
    process::{
        Thread,
        clone::CloneFlags,
        pid,
        tests::{Event, as_init, census, eventually, fork, leaves_nothing_behind, spawn, wait},
        tree,
        wait::Target,
    },
};

/// How many namespaces there are beside the initial one.
fn count() -> usize {
    tree::lock().namespace_count() - 1
}

/// A namespace that nobody holds any more is gone a moment later.
fn all_gone() {
    eventually(|| count() == 0);
}

/// The init of a new namespace, which runs `body`: its number for `parent`, and its namespace.
fn spawn_init(parent: &Arc<Thread>, body: impl FnOnce(&Arc<Thread>) -> i32 + Send + 'static) -> (u32, PidNs) {
    let seen: Arc<Once<PidNs>> = Arc::default();
    let child = spawn(parent, CloneFlags::NEWPID, {
        let seen = seen.clone();
        move |me| {
            seen.call_once(|| me.process.pid_ns().clone());
            body(me)
        }
    });
    eventually(|| seen.is_completed());
    (child, seen.get().unwrap().clone())
}

#[ktest]
fn a_namespace_goes_with_its_init_when_nobody_else_holds_it() {
    as_init(|init| {
        all_gone();
        let go = Event::default();
        let (child, ns) = spawn_init(init, {
            let go = go.clone();
            move |_| {
                go.wait();
                5
            }
        });
        assert_eq!(count(), 1);
        drop(ns);
        go.raise();
        assert_eq!(wait(init, Target::Pid(child)), Ok((child, 5)));
        all_gone();
    });
}

#[ktest]
fn an_open_file_keeps_a_namespace() {
    as_init(|init| {
        all_gone();
        let (child, ns) = spawn_init(init, |_| 0);
        let id = ns.id();
        let file = Namespace::Pid(ns).open().unwrap();
        assert_eq!(wait(init, Target::Any), Ok((child, 0)));
        assert_eq!((count(), tree::lock().ns_level(id)), (1, Some(1)));
        drop(file);
        all_gone();
        assert_eq!(tree::lock().ns_level(id), None, "its id is stale");
    });
}

#[ktest]
fn a_number_is_found_at_every_level_and_at_none_when_it_is_free() {
    as_init(|init| {
        let go = Event::default();
        let inner: Arc<Once<(PidNs, PidNs)>> = Arc::default();
        let (child, ns) = spawn_init(init, {
            let (go, inner) = (go.clone(), inner.clone());
            move |me| {
                let outer = me.process.pid_ns().clone();
                let (nested, below) = spawn_init(me, move |_| {
                    go.wait();
                    0
                });
                assert_eq!(nested, 2);
                inner.call_once(|| (outer, below));
                wait(me, Target::Any).map_or(1, |_| 0)
            }
        });
        eventually(|| inner.is_completed());
        let (outer, below) = inner.get().unwrap().clone();
        assert_eq!((outer.id(), below.level(), below.is_within(&outer)), (ns.id(), 2, true));
        let process = pid::process(below.id(), 1).unwrap();
        let global = process.global_pid();
        for (ns, nr) in [(below.id(), 1), (outer.id(), 2), (tree::root_ns(), global)] {
            assert_eq!(process.pid_in(ns), nr);
            assert!(Arc::ptr_eq(&pid::process(ns, nr).unwrap(), &process));
        }
        assert!(pid::process(below.id(), 2).is_none(), "what is above is not seen from below");
        drop(process);
        go.raise();
        assert_eq!(wait(init, Target::Any), Ok((child, 0)));
        for (ns, nr) in [(below.id(), 1), (outer.id(), 2), (outer.id(), 1), (tree::root_ns(), global)] {
            assert!(pid::lookup(ns, nr).is_none());
        }
    });
}

#[ktest]
fn namespaces_leave_nothing_behind() {
    as_init(|init| {
        all_gone();
        eventually(|| census(init).is_init_alone());
        leaves_nothing_behind(init, || {
            for _ in 0..60 {
                // An init with a namespace below, an orphan and a member that it kills.
                spawn(init, CloneFlags::NEWPID, |me| {
                    let ready = Event::default();
                    fork(me, {
                        let ready = ready.clone();
                        move |me| {
                            fork(me, |_| 0);
                            ready.raise();
                            0
                        }
                    });
                    spawn(me, CloneFlags::NEWPID, |_| 0);
                    ready.wait();
                    0
                });
            }
            while wait(init, Target::Any).is_ok() {}
            all_gone();
        });
    });
}
