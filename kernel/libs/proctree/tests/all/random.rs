//! Random operations on the table and on the naive model: same answers, same effects in the same order, same
//! tree.

use crate::{
    model::{Life, MFound, MWho, Model, Report, Wait},
    world::*,
};
use proctree::*;
use proptest::prelude::*;
use std::sync::atomic::Ordering::Relaxed;

/// Raw numbers, which are taken modulo what there is when the operation runs.
#[derive(Debug, Clone, Copy)]
struct Op {
    kind: u8,
    a: u16,
    b: u16,
    c: u16,
}

fn op() -> impl Strategy<Value = Op> {
    (any::<u8>(), any::<u16>(), any::<u16>(), any::<u16>()).prop_map(|(kind, a, b, c)| Op { kind, a, b, c })
}

fn pick<T: Copy>(from: &[T], raw: u16) -> T {
    from[raw as usize % from.len()]
}

struct Pair {
    w: World,
    m: Model,
    /// The table's ids by the model's indices.
    procs: Vec<ProcId>,
    threads: Vec<ThreadId>,
    pids: Vec<PidId>,
    spaces: Vec<NsId>,
}

impl Pair {
    fn new() -> Self {
        // Processes and threads go by the model's number of the thread.
        let mut w = World::with_init("0");
        let init = w.ids["0"];
        let zero = w.t.pgrp(init.process).unwrap();
        let numbers = w.t.ns_numbers(w.ns).unwrap();
        numbers.set_pid_max(340);
        numbers.set_last(290);
        let ns = w.ns;
        Pair {
            w,
            m: Model::new(340, 290),
            procs: vec![init.process],
            threads: vec![init.thread],
            pids: vec![zero, init.pid],
            spaces: vec![ns],
        }
    }

    fn run(&mut self, op: Op) {
        let Op { kind, a, b, c } = op;
        let thread = pick(&self.m.live_threads(), a);
        let process = self.m.threads[thread].process;
        match kind % 36 {
            0..=7 => self.fork(thread, b, c),
            32 => self.release(process),
            33 => self.autoreap(process, pick(&[Autoreap::Off, Autoreap::Quiet, Autoreap::Signal], b)),
            8..=9 => self.clone_thread(thread),
            10 => self.mark_exiting(thread),
            11..=15 => self.exit(thread),
            16..=17 => self.subreaper(process, b % 3 != 0),
            18 => self.pdeath(thread, pick(&[10, 18, 0], b)),
            19 => self.policy(process, pick(&[0, 1, 2, 0], b)),
            20..=21 => self.stop(process),
            22 => self.cont(process, b % 4 == 0),
            23..=25 => self.setpgid(thread, b, c),
            26 => self.setsid(thread),
            27..=30 => self.wait(thread, b, c),
            _ => self.exec(thread),
        }
        self.compare();
    }

    fn alloc(&mut self, ns: usize) -> Result<(usize, PidId), Error> {
        let pid = self.w.alloc(self.spaces[ns]);
        let model = self.m.alloc(ns);
        assert_eq!(pid.err(), model.err());
        let (model, pid) = (model?, pid?);
        self.pids.push(pid);
        Ok((model, pid))
    }

    fn fork(&mut self, thread: usize, b: u16, c: u16) {
        if self.m.processes().len() > 30 {
            return;
        }
        let me = self.m.threads[thread].process;
        let mut ns = self.m.procs[me].ns;
        if c.is_multiple_of(16) && self.m.spaces.len() < 6 && self.m.spaces[ns].level < 3 {
            self.spaces.push(self.w.namespace_below(self.spaces[ns]));
            self.m.spaces.push(crate::model::MNs {
                parent: Some(ns),
                level: self.m.spaces[ns].level + 1,
                dead: false,
                init: None,
                last: 0,
                pid_max: 1000,
            });
            ns = self.spaces.len() - 1;
        } else if c % 16 == 1 {
            // As after setns: any namespace below one's own.
            let below: Vec<_> = (0..self.spaces.len()).filter(|&below| self.below(below, ns)).collect();
            ns = pick(&below, c / 16);
        }
        let exit_signal = pick(&[SIGCHLD, SIGCHLD, SIGCHLD, 0, 10, SIGCONT], b / 4);
        let sibling = b.is_multiple_of(4);
        let Ok((mpid, pid)) = self.alloc(ns) else { return };
        let name = self.m.threads.len().to_string();
        let process = new_proc(&name);
        let new = NewProcess { pid, process: process.clone(), thread: name.clone(), exit_signal, sibling };
        let result = self.w.t.fork(self.threads[thread], new).map_err(|refused| refused.error);
        let model = self.m.fork(thread, mpid, exit_signal, sibling);
        assert_eq!(result.as_ref().err(), model.as_ref().err());
        match result {
            Ok(ids) => {
                self.procs.push(ids.process);
                self.threads.push(ids.thread);
                self.w.procs.insert(name.clone(), process);
                self.w.ids.insert(name, ids);
            }
            Err(_) => {
                self.w.t.cancel_pid(pid, &mut self.w.log).unwrap();
                self.m.cancel(mpid);
            }
        }
    }

    fn below(&self, ns: usize, above: usize) -> bool {
        ns == above || self.m.spaces[ns].parent.is_some_and(|parent| self.below(parent, above))
    }

    fn clone_thread(&mut self, thread: usize) {
        let process = self.m.threads[thread].process;
        if self.m.procs[process].threads.len() > 4 {
            return;
        }
        let Ok((mpid, pid)) = self.alloc(self.m.procs[process].ns) else { return };
        let name = self.m.threads.len().to_string();
        let ids = self.w.t.clone_thread(self.threads[thread], pid, name.clone()).ok().unwrap();
        self.m.add_thread(process, mpid);
        self.threads.push(ids.thread);
        self.w.ids.insert(name, ids);
    }

    fn mark_exiting(&mut self, thread: usize) {
        let left = self.w.t.mark_exiting(self.threads[thread]).unwrap();
        self.m.begin_exit(thread);
        let process = self.m.threads[thread].process;
        self.payload(process).stopped.store(self.m.procs[process].stopped, Relaxed);
        let process = &self.m.procs[process];
        let live = process.threads.iter().filter(|&&t| self.m.threads[t].life == Life::Live).count();
        assert_eq!(left as usize, live);
    }

    fn exit(&mut self, thread: usize) {
        // A namespace's init goes last, as the kernel makes sure.
        let process = self.m.threads[thread].process;
        let ns = self.m.procs[process].ns;
        let is_init = self.m.spaces[ns].init == Some(process);
        let members =
            self.m.processes().into_iter().any(|p| p != process && self.below(self.m.procs[p].ns, ns));
        if is_init && members && self.m.is_last(thread) && ns != 0 {
            return;
        }
        let record = |process: &std::sync::Arc<Proc>| Dead { name: process.name.clone(), status: 0 };
        let exited = self.w.t.exit(self.threads[thread], record, &mut self.w.log);
        let fate = exited.map(|exited| match exited.fate {
            Fate::Lives => "lives",
            Fate::Zombie(_) => "zombie",
            Fate::Autoreaped(..) => "autoreaped",
        });
        assert_eq!(fate, self.m.exit(thread));
        if fate == Some("lives") {
            self.payload(process).stopped.store(self.m.procs[process].stopped, Relaxed);
        }
    }

    fn subreaper(&mut self, process: usize, on: bool) {
        self.w.t.set_child_subreaper(self.procs[process], on);
        self.m.subreaper(process, on);
    }

    fn release(&mut self, process: usize) {
        let result = self.w.t.release_reaper(self.procs[process], &mut self.w.log);
        assert_eq!(result, self.m.release(process));
    }

    fn autoreap(&mut self, process: usize, autoreap: Autoreap) {
        self.w.t.set_autoreap(self.procs[process], autoreap);
        self.m.procs[process].autoreap = autoreap;
    }

    /// What a reaper is told of a process and what is below it.
    fn compare_reaper(&self, process: usize) {
        let (t, m) = (&self.w.t, &self.m);
        let status = t.reaper_status(self.procs[process]).unwrap();
        let node = &m.procs[process];
        let pid = |process: usize| self.pids[m.procs[process].pid];
        assert_eq!(status.is_subreaper, node.is && node.life == Life::Live);
        assert_eq!((status.is_adopted, status.autoreap), (node.adopted, node.autoreap));
        assert_eq!(status.is_zombie, node.life == Life::Dead);
        assert_eq!(status.above, m.reaper_above(process).map(pid));
        let itself = m.is_reaper(process).then_some(process);
        assert_eq!(status.reaper, itself.or(m.reaper_above(process)).map(pid));
        let children: Vec<_> =
            m.processes().into_iter().filter(|&p| m.parent_process(p) == Some(process)).collect();
        assert_eq!(status.children as usize, children.len());
        let count =
            |of: &[usize], what: &dyn Fn(usize) -> bool| of.iter().filter(|&&p| what(p)).count() as u32;
        assert_eq!(status.adopted, count(&children, &|p| m.procs[p].adopted));
        assert_eq!(status.zombies, count(&children, &|p| m.procs[p].life == Life::Dead));
        let below: Vec<_> =
            m.processes().into_iter().filter(|&p| m.subtree_of(p, process).is_some()).collect();
        assert_eq!(status.descendants as usize, below.len());
        assert_eq!(status.dead, count(&below, &|p| m.procs[p].life == Life::Dead));
        assert_eq!(status.reapers, count(&below, &|p| m.is_reaper(p)));
        let mut listed: Vec<_> = t.subtree(self.procs[process]).collect();
        listed.sort_by_key(|one| self.procs.iter().position(|&id| id == one.process));
        assert_eq!(listed.len(), below.len());
        for (one, p) in listed.into_iter().zip(below) {
            let node = &m.procs[p];
            let parent = m.parent_process(p).unwrap();
            let subtree = m.subtree_of(p, process).unwrap();
            assert_eq!((one.process, one.pid), (self.procs[p], pid(p)));
            assert_eq!((one.parent, one.subtree), (self.procs[parent], self.procs[subtree]));
            assert_eq!((one.is_child, one.is_adopted), (parent == process, node.adopted));
            assert_eq!((one.is_reaper, one.is_zombie), (m.is_reaper(p), node.life == Life::Dead));
            assert_eq!(one.is_stopped, node.stopped);
            assert!(t.is_descendant(one.process, self.procs[process]));
        }
    }

    fn pdeath(&mut self, thread: usize, signal: u8) {
        self.w.t.set_pdeath(self.threads[thread], signal);
        self.m.threads[thread].pdeath = signal;
    }

    fn payload(&self, process: usize) -> &Proc {
        self.w.t.payload(self.procs[process]).unwrap()
    }

    fn policy(&mut self, process: usize, policy: u8) {
        self.payload(process).policy.store(policy, Relaxed);
        self.m.procs[process].policy = policy;
    }

    fn stop(&mut self, process: usize) {
        self.payload(process).stopped.store(true, Relaxed);
        self.w.t.stopped(self.procs[process], 19, &mut self.w.log);
        let node = &mut self.m.procs[process];
        (node.stopped, node.report) = (true, Report::Stopped);
        self.m.tell(process, SIGCHLD, "stopped by 19");
    }

    fn cont(&mut self, process: usize, kill: bool) {
        self.payload(process).stopped.store(false, Relaxed);
        self.m.procs[process].stopped = false;
        if kill {
            self.w.t.void_stop(self.procs[process]);
            self.m.procs[process].report = Report::None;
        } else {
            self.w.t.continued(self.procs[process]);
            self.m.procs[process].report = Report::Continued;
        }
    }

    fn setpgid(&mut self, thread: usize, b: u16, c: u16) {
        let me = self.m.threads[thread].process;
        let near: Vec<_> = self
            .m
            .processes()
            .into_iter()
            .filter(|&p| p == me || self.m.parent_process(p) == Some(me))
            .collect();
        let target = if b.is_multiple_of(8) {
            b as usize / 8 % self.pids.len()
        } else {
            self.m.procs[pick(&near, b / 8)].pid
        };
        let group = match c % 4 {
            0 | 1 => None,
            2 => Some(self.m.procs[pick(&self.m.processes(), c / 4)].pgrp),
            _ => Some(c as usize / 4 % self.pids.len()),
        };
        let arg = group.map_or(NewPgrp::Own, |pid| NewPgrp::Other(Some(self.pids[pid])));
        let result = self.w.t.setpgid(self.threads[thread], self.pids[target], arg, &mut self.w.log);
        assert_eq!(result, self.m.setpgid(thread, target, group));
    }

    fn setsid(&mut self, thread: usize) {
        let result = self.w.t.setsid(self.threads[thread], &mut self.w.log);
        assert_eq!(result, self.m.setsid(thread).map(|pid| self.pids[pid]));
    }

    fn exec(&mut self, thread: usize) {
        let result = self.w.t.exec(self.threads[thread], &mut self.w.log);
        assert_eq!(result, self.m.exec(thread));
    }

    fn wait(&mut self, thread: usize, b: u16, c: u16) {
        let all = self.m.processes();
        let who = match c % 4 {
            0 | 1 => MWho::Any,
            2 => MWho::Process(pick(&all, c / 4)),
            _ => MWho::Pgrp(self.m.procs[pick(&all, c / 4)].pgrp),
        };
        let wait = Wait {
            who,
            exited: b & 3 != 0,
            stopped: b & 4 != 0,
            continued: b & 8 != 0,
            class: pick(&[Class::Normal, Class::Clone, Class::All, Class::All], b >> 4),
            origin: pick(&[Origin::Any, Origin::Any, Origin::Own, Origin::Adopted], b >> 8),
            own_only: b >> 6 & 3 == 0,
        };
        let what = WaitFor {
            who: match who {
                MWho::Any => Who::Any,
                MWho::Process(process) => Who::Process(self.procs[process]),
                MWho::Pgrp(pid) => Who::Pgrp(self.pids[pid]),
            },
            exited: wait.exited,
            stopped: wait.stopped,
            continued: wait.continued,
            class: wait.class,
            origin: wait.origin,
            own_only: wait.own_only,
        };
        let found = self.w.t.find_child(self.threads[thread], &what);
        let expected = self.m.find(thread, &wait);
        let as_found = match expected {
            MFound::NoChild => Found::NoChild,
            MFound::Nothing => Found::Nothing,
            MFound::Zombie(child) => Found::Zombie(self.procs[child]),
            MFound::Stopped(child) => Found::Stopped(self.procs[child], 19),
            MFound::Continued(child) => Found::Continued(self.procs[child]),
        };
        assert_eq!(found, as_found, "{wait:?}");
        match expected {
            MFound::Zombie(child) => {
                let reaped = self.w.t.reap(self.procs[child], &mut self.w.log).unwrap();
                assert_eq!(reaped.record.name, self.m.name(child));
                self.m.remove(child);
            }
            MFound::Stopped(child) | MFound::Continued(child) => {
                self.w.t.take_report(self.procs[child]);
                self.m.procs[child].report = Report::None;
            }
            _ => {}
        }
    }

    /// The effects, then the whole tree.
    fn compare(&mut self) {
        self.w.check();
        let mut freed: Vec<u32> = vec![];
        let mut log = self.w.take_log();
        log.retain(|line| {
            let nr = line.strip_prefix("free ").map(|nr| nr.parse::<u32>().unwrap());
            freed.extend(nr);
            nr.is_none() && !line.starts_with("quiet")
        });
        freed.sort();
        assert_eq!(log, core::mem::take(&mut self.m.log));
        assert_eq!(freed, self.m.free_unused());
        let (t, m) = (&self.w.t, &self.m);
        let expected: Vec<_> = m.processes().into_iter().map(|p| self.procs[p]).collect();
        assert_eq!(t.processes().collect::<Vec<_>>(), expected);
        for p in m.processes() {
            let (id, node) = (self.procs[p], &m.procs[p]);
            assert_eq!(t.pid(id), Some(self.pids[node.pid]));
            assert_eq!(t.pgrp(id), Some(self.pids[node.pgrp]));
            assert_eq!(t.session(id), Some(self.pids[node.session]));
            assert_eq!(t.namespace(id), Some(self.spaces[node.ns]));
            assert_eq!(t.parent(id).map(|ids| ids.thread), node.parent.map(|thread| self.threads[thread]));
            assert_eq!(t.exit_signal(id), Some(node.exit_signal));
            assert_eq!((t.is_stopped(id), t.has_execed(id)), (node.stopped, node.execed));
            self.compare_reaper(p);
            assert_eq!(t.is_orphaned_pgrp(self.pids[node.pgrp]), m.is_orphaned(node.pgrp, None));
            let threads: Vec<_> = node.threads.iter().map(|&thread| self.threads[thread]).collect();
            assert_eq!(t.threads(id).collect::<Vec<_>>(), threads);
            if let Some(payload) = t.payload(id) {
                assert_eq!(payload.is.load(Relaxed), node.is);
                assert_eq!(payload.ppid.load(Relaxed), node.ppid, "ppid of {p}");
            }
            for &thread in &node.threads {
                let children: Vec<_> =
                    m.children(thread).into_iter().map(|child| self.procs[child]).collect();
                assert_eq!(t.children(self.threads[thread]).collect::<Vec<_>>(), children);
                assert_eq!(t.tid(self.threads[thread]), Some(self.pids[m.threads[thread].pid]));
            }
        }
        for pid in 1..m.pids.len() {
            for ns in 0..m.spaces.len() {
                let nr = if m.pids[pid].freed { 0 } else { m.nr(pid, ns) };
                assert_eq!(t.nr(self.pids[pid], self.spaces[ns]), nr);
            }
        }
    }
}

/// `PROPTEST_CASES=100000` for a long run.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_table_agrees_with_the_model(ops in prop::collection::vec(op(), 1..200)) {
        let mut pair = Pair::new();
        for op in ops {
            pair.run(op);
        }
    }
}
