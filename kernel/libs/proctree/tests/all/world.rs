//! A small kernel around the table: names instead of ids, and a log of effects.

use proctree::*;
use std::{
    collections::HashMap,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
};

pub struct Test;

impl Kernel for Test {
    type Process = Arc<Proc>;
    type Thread = String;
    type Record = Dead;
}

/// What a process carries.
pub struct Proc {
    pub name: String,
    pub is: AtomicBool,
    pub has: AtomicBool,
    pub ppid: AtomicU32,
    pub policy: AtomicU8,
    /// Made with CLONE_AUTOREAP.
    pub autoreaped: AtomicBool,
    /// The kernel's own idea of a group stop.
    pub stopped: AtomicBool,
    /// SIGHUP is not handled.
    pub dies_of_hup: AtomicBool,
}

pub fn new_proc(name: &str) -> Arc<Proc> {
    Proc::new(name)
}

impl Proc {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Proc {
            name: name.into(),
            is: false.into(),
            has: false.into(),
            ppid: u32::MAX.into(),
            policy: 0.into(),
            autoreaped: false.into(),
            stopped: false.into(),
            dies_of_hup: false.into(),
        })
    }
}

impl ProcessPayload for Proc {
    fn is_child_subreaper(&self) -> bool {
        self.is.load(Relaxed)
    }
    fn set_child_subreaper(&self, on: bool) {
        self.is.store(on, Relaxed);
    }
    fn has_child_subreaper(&self) -> bool {
        self.has.load(Relaxed)
    }
    fn set_has_child_subreaper(&self) {
        self.has.store(true, Relaxed);
    }
    fn set_ppid(&self, ppid: u32) {
        self.ppid.store(ppid, Relaxed);
    }
    fn is_autoreaped(&self) -> bool {
        self.autoreaped.load(Relaxed)
    }
    fn child_policy(&self) -> ChildPolicy {
        [ChildPolicy::Wait, ChildPolicy::Ignore, ChildPolicy::NoWait][self.policy.load(Relaxed) as usize]
    }
}

/// What a zombie keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Dead {
    pub name: String,
    pub status: i32,
}

#[derive(Default)]
pub struct Log(pub Vec<String>);

fn signal_effect(to: &Proc, signal: u8) -> Effect {
    match signal {
        SIGCONT if to.stopped.swap(false, Relaxed) => Effect::Continued,
        SIGHUP if to.dies_of_hup.load(Relaxed) => {
            to.stopped.store(false, Relaxed);
            Effect::Killed
        }
        _ => Effect::None,
    }
}

fn child_name(child: &Child<'_, Test>) -> String {
    match child.body {
        Body::Live(process) => process.name.clone(),
        Body::Zombie(record) => record.name.clone(),
    }
}

impl Sink<Test> for Log {
    fn parent_death(
        &mut self,
        to: &Arc<Proc>,
        thread: Option<&String>,
        signal: u8,
        from: Dying<'_, Test>,
    ) -> Effect {
        let thread = thread.map_or("?", |name| name);
        let ppid = to.ppid.load(Relaxed);
        self.0.push(format!(
            "{}: pdeath {signal} for {thread} from {}({}) ppid {ppid}",
            to.name, from.process.name, from.pid
        ));
        signal_effect(to, signal)
    }
    fn child_signal(&mut self, to: &Parent<'_, Test>, signal: u8, child: &Child<'_, Test>) -> Effect {
        let what = match child.change {
            ChildChange::Exited => "exited".to_string(),
            ChildChange::Stopped(signal) => format!("stopped by {signal}"),
            ChildChange::Continued => "continued".to_string(),
        };
        let thread = to.thread.map_or("?", |name| name);
        self.0.push(format!("{thread}: signal {signal}, {}({}) {what}", child_name(child), child.pid));
        signal_effect(to.process, signal)
    }
    fn wake_waiters(&mut self, parent: &Parent<'_, Test>, child: &Child<'_, Test>) {
        self.0.push(format!("wake {} for {}", parent.process.name, child_name(child)));
    }
    fn orphaned_pgrp(&mut self, to: &Arc<Proc>, signal: u8) -> Effect {
        self.0.push(format!("{}: orphaned group, signal {signal}", to.name));
        signal_effect(to, signal)
    }
    fn autoreaped(&mut self, gone: Reaped<Test>) {
        self.0.push(format!("autoreaped {}", gone.record.name));
    }
    fn number_freed(&mut self, _: NsId, _: u32) {}
    fn namespace_freed(&mut self, _: NumberSpace) {
        self.0.push("namespace freed".to_string());
    }
    fn pid_freed(&mut self, _: PidId, numbers: Numbers) {
        self.0.push(format!("free {}", numbers.innermost()));
    }
    fn namespace_quiet(&mut self, _: NsId, init: Option<&Arc<Proc>>) {
        self.0.push(format!("quiet, init {}", init.map_or("gone", |init| &init.name)));
    }
}

/// Options of a fork.
#[derive(Clone, Copy)]
pub struct Opts {
    pub exit_signal: u8,
    pub sibling: bool,
    pub ns: Option<NsId>,
}

pub const FORK: Opts = Opts { exit_signal: SIGCHLD, sibling: false, ns: None };

pub struct World {
    pub t: Table<Test>,
    pub ns: NsId,
    /// By thread name; a process goes by the name of its first thread.
    pub ids: HashMap<String, Ids>,
    pub procs: HashMap<String, Arc<Proc>>,
    pub log: Log,
}

impl World {
    /// With a process "init".
    pub fn new() -> Self {
        World::with_init("init")
    }

    pub fn with_init(name: &str) -> Self {
        let (t, ns) = Table::try_new(NumberSpace::try_new(32768).unwrap()).unwrap();
        let mut w = World { t, ns, ids: HashMap::new(), procs: HashMap::new(), log: Log::default() };
        let pid = w.t.alloc_pid(ns, Numbers::default()).unwrap();
        let process = Proc::new(name);
        w.procs.insert(name.into(), process.clone());
        let new = NewProcess { pid, process, thread: name.into(), exit_signal: SIGCHLD, sibling: false };
        let Ok(ids) = w.t.add_init(new) else { panic!("no init") };
        w.ids.insert(name.into(), ids);
        w
    }

    /// A world with a line of processes, each the child of the one before: init, a, b, ...
    pub fn line(names: &[&str]) -> Self {
        let mut w = World::new();
        let mut parent = "init";
        for name in names {
            w.fork(parent, name);
            parent = name;
        }
        w
    }

    pub fn supply(&mut self) {
        if self.t.is_short() {
            self.t.supply(&mut Supply::try_new().unwrap()).unwrap();
        }
    }

    pub fn alloc(&mut self, ns: NsId) -> Result<PidId, Error> {
        self.supply();
        let level = self.t.ns_level(ns).unwrap();
        self.t.alloc_pid(ns, Numbers::for_level(level).unwrap()).map_err(|refused| refused.error)
    }

    pub fn try_fork(&mut self, parent: &str, name: &str, opts: Opts) -> Result<Ids, Error> {
        let parent = self.ids[parent];
        let ns = opts.ns.unwrap_or_else(|| self.t.namespace(parent.process).unwrap());
        let pid = self.alloc(ns)?;
        let process = Proc::new(name);
        let new = NewProcess {
            pid,
            process: process.clone(),
            thread: name.into(),
            exit_signal: opts.exit_signal,
            sibling: opts.sibling,
        };
        let ids = self.t.fork(parent.thread, new).map_err(|refused| {
            self.t.cancel_pid(refused.given.pid, &mut self.log).unwrap();
            refused.error
        })?;
        self.procs.insert(name.into(), process);
        self.ids.insert(name.into(), ids);
        self.check();
        Ok(ids)
    }

    pub fn fork_with(&mut self, parent: &str, name: &str, opts: Opts) -> Ids {
        self.try_fork(parent, name, opts).unwrap()
    }

    pub fn fork(&mut self, parent: &str, name: &str) -> Ids {
        self.fork_with(parent, name, FORK)
    }

    pub fn try_thread(&mut self, of: &str, name: &str) -> Result<Ids, Error> {
        let of = self.ids[of];
        let ns = self.t.namespace(of.process).unwrap();
        let pid = self.alloc(ns)?;
        let ids = self.t.clone_thread(of.thread, pid, name.into()).map_err(|refused| {
            self.t.cancel_pid(pid, &mut self.log).unwrap();
            refused.error
        })?;
        self.ids.insert(name.into(), ids);
        self.check();
        Ok(ids)
    }

    pub fn thread(&mut self, of: &str, name: &str) -> Ids {
        self.try_thread(of, name).unwrap()
    }

    pub fn namespace_below(&mut self, ns: NsId) -> NsId {
        self.supply();
        let numbers = NumberSpace::try_new(1000).unwrap();
        self.t.add_namespace(ns, numbers).map_err(|refused| refused.error).unwrap()
    }

    pub fn release_namespace(&mut self, ns: NsId) {
        self.t.release_namespace(ns, &mut self.log);
        self.check();
    }

    pub fn mark_exiting(&mut self, name: &str) -> u32 {
        self.t.mark_exiting(self.ids[name].thread).unwrap()
    }

    /// The thread exits, from beginning to end; status 0.
    pub fn exit(&mut self, name: &str) -> &'static str {
        let thread = self.ids[name].thread;
        self.t.mark_exiting(thread).unwrap();
        let record = |process: &Arc<Proc>| Dead { name: process.name.clone(), status: 0 };
        let exited = self.t.exit(thread, record, &mut self.log).unwrap();
        assert_eq!(exited.thread, name);
        self.check();
        match exited.fate {
            Fate::Lives => "lives",
            Fate::Zombie(_) => "zombie",
            Fate::Autoreaped(..) => "autoreaped",
        }
    }

    pub fn subreaper(&mut self, name: &str, on: bool) {
        self.t.set_child_subreaper(self.ids[name].process, on);
        self.check();
    }

    pub fn policy(&self, name: &str, policy: ChildPolicy) {
        self.procs[name].policy.store(policy as u8, Relaxed);
    }

    pub fn pdeath(&mut self, thread: &str, signal: u8) {
        self.t.set_pdeath(self.ids[thread].thread, signal);
    }

    pub fn stop(&mut self, name: &str) {
        self.procs[name].stopped.store(true, Relaxed);
        self.t.stopped(self.ids[name].process, 19, &mut self.log);
        self.check();
    }

    pub fn cont(&mut self, name: &str) {
        self.procs[name].stopped.store(false, Relaxed);
        self.t.continued(self.ids[name].process);
        self.check();
    }

    /// What the process's payload says.
    pub fn getppid(&self, name: &str) -> u32 {
        self.procs[name].ppid.load(Relaxed)
    }

    /// The thread that is the real parent.
    pub fn parent(&self, name: &str) -> &str {
        let parent = self.t.parent(self.ids[name].process).unwrap();
        self.name_of(parent.thread)
    }

    pub fn name_of(&self, thread: ThreadId) -> &str {
        self.ids.iter().find(|(_, ids)| ids.thread == thread).map_or("?", |(name, _)| name)
    }

    pub fn process_name(&self, process: ProcId) -> String {
        match self.t.body(process) {
            Some(Body::Live(payload)) => payload.name.clone(),
            Some(Body::Zombie(record)) => record.name.clone(),
            None => "?".into(),
        }
    }

    pub fn children(&self, thread: &str) -> Vec<String> {
        self.t.children(self.ids[thread].thread).map(|child| self.process_name(child)).collect()
    }

    pub fn nr(&self, name: &str) -> u32 {
        self.t.nr(self.ids[name].pid, self.ns)
    }

    pub fn setpgid(&mut self, caller: &str, target: &str, pgrp: &str) -> Result<(), Error> {
        let (caller, target, pgrp) = (self.ids[caller], self.ids[target], self.ids[pgrp]);
        let pgrp = if pgrp.pid == target.pid { NewPgrp::Own } else { NewPgrp::Other(Some(pgrp.pid)) };
        let result = self.t.setpgid(caller.thread, target.pid, pgrp, &mut self.log);
        self.check();
        result
    }

    pub fn setsid(&mut self, caller: &str) -> Result<PidId, Error> {
        let result = self.t.setsid(self.ids[caller].thread, &mut self.log);
        self.check();
        result
    }

    pub fn find(&self, caller: &str, what: WaitFor) -> String {
        match self.t.find_child(self.ids[caller].thread, &what) {
            Found::NoChild => "ECHILD".into(),
            Found::Nothing => "nothing".into(),
            Found::Zombie(child) => format!("zombie {}", self.process_name(child)),
            Found::Stopped(child, signal) => {
                format!("stopped {} by {signal}", self.process_name(child))
            }
            Found::Continued(child) => format!("continued {}", self.process_name(child)),
        }
    }

    /// Finds and consumes.
    pub fn wait(&mut self, caller: &str, what: WaitFor) -> String {
        let text = self.find(caller, what);
        match self.t.find_child(self.ids[caller].thread, &what) {
            Found::NoChild | Found::Nothing => {}
            Found::Zombie(child) => {
                let reaped = self.t.reap(child, &mut self.log).unwrap();
                assert!(text.ends_with(&reaped.record.name));
            }
            Found::Stopped(child, _) | Found::Continued(child) => self.t.take_report(child),
        }
        self.check();
        text
    }

    pub fn wait_any(&mut self, caller: &str) -> String {
        self.wait(caller, WaitFor::ANY_EXIT)
    }

    pub fn take_log(&mut self) -> Vec<String> {
        core::mem::take(&mut self.log.0)
    }

    /// The log without wake-ups and freed numbers.
    pub fn signals(&mut self) -> Vec<String> {
        let log = self.take_log();
        log.into_iter().filter(|line| !line.starts_with("wake") && !line.starts_with("free")).collect()
    }

    pub fn check(&self) {
        self.t.check_invariants().unwrap();
    }
}
