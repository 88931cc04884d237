//! The spec, written down as naively as possible: flat lists, everything found by looking at everything.
//!
//! A process, a thread and a pid is an index that is never used again. Children are whoever says so, sorted
//! by `order`. The effects that an operation must have are collected as the lines that [`crate::world::Log`]
//! writes.

use proctree::{Autoreap, Class, Error, Origin, SIGCHLD, SIGCONT, SIGHUP};

pub type Proc = usize;
pub type Thread = usize;
pub type Pid = usize;
pub type Ns = usize;

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Life {
    Live,
    Exiting,
    /// A dead leader; of a process: a zombie.
    Dead,
    Gone,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Report {
    None,
    Stopped,
    Continued,
}

pub struct MThread {
    pub process: Proc,
    pub pid: Pid,
    pub life: Life,
    pub pdeath: u8,
}

pub struct MProc {
    /// None: the initial init.
    pub parent: Option<Thread>,
    pub order: usize,
    /// Leader first; emptied when it becomes a zombie.
    pub threads: Vec<Thread>,
    pub life: Life,
    pub pid: Pid,
    pub pgrp: Pid,
    pub session: Pid,
    pub ns: Ns,
    pub is: bool,
    /// By the process that is its parent.
    pub adopted: bool,
    pub autoreap: Autoreap,
    pub ppid: u32,
    /// 0 wait, 1 ignore, 2 no wait
    pub policy: u8,
    pub exit_signal: u8,
    pub self_exec: u32,
    pub parent_exec: u32,
    pub execed: bool,
    pub leader: bool,
    pub stopped: bool,
    pub report: Report,
    /// When it became a member of its group.
    pub joined: usize,
}

pub struct MNs {
    pub parent: Option<Ns>,
    pub level: u32,
    pub dead: bool,
    pub init: Option<Proc>,
    pub last: u32,
    pub pid_max: u32,
}

pub struct MPid {
    pub ns: Ns,
    /// By level.
    pub nrs: Vec<u32>,
    pub freed: bool,
}

pub struct Model {
    pub procs: Vec<MProc>,
    pub threads: Vec<MThread>,
    /// 0 is the pid of number 0.
    pub pids: Vec<MPid>,
    pub spaces: Vec<MNs>,
    pub clock: usize,
    pub log: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub who: MWho,
    pub exited: bool,
    pub stopped: bool,
    pub continued: bool,
    pub class: Class,
    pub origin: Origin,
    pub own_only: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum MWho {
    Any,
    Process(Proc),
    Pgrp(Pid),
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MFound {
    NoChild,
    Nothing,
    Zombie(Proc),
    Stopped(Proc),
    Continued(Proc),
}

impl Model {
    pub fn new(pid_max: u32, last: u32) -> Self {
        let ns = MNs { parent: None, level: 0, dead: false, init: None, last: 0, pid_max };
        let mut model = Model {
            procs: vec![],
            threads: vec![],
            pids: vec![MPid { ns: 0, nrs: vec![0], freed: false }],
            spaces: vec![ns],
            clock: 0,
            log: vec![],
        };
        let pid = model.alloc(0).unwrap();
        model.spaces[0].last = last;
        model.add_process(None, pid, 0, SIGCHLD, 0);
        model
    }

    fn tick(&mut self) -> usize {
        self.clock += 1;
        self.clock
    }

    /// A process goes by the name of its first thread.
    pub fn name(&self, process: Proc) -> String {
        let first = self.threads.iter().position(|thread| thread.process == process).unwrap();
        first.to_string()
    }

    pub fn present(&self, process: Proc) -> bool {
        self.procs[process].life != Life::Gone
    }

    pub fn live_threads(&self) -> Vec<Thread> {
        (0..self.threads.len())
            .filter(|&t| matches!(self.threads[t].life, Life::Live | Life::Exiting))
            .collect()
    }

    pub fn processes(&self) -> Vec<Proc> {
        (0..self.procs.len()).filter(|&p| self.present(p)).collect()
    }

    pub fn children(&self, thread: Thread) -> Vec<Proc> {
        let mut children = self.processes();
        children.retain(|&child| self.procs[child].parent == Some(thread));
        children.sort_by_key(|&child| self.procs[child].order);
        children
    }

    pub fn parent_process(&self, process: Proc) -> Option<Proc> {
        self.procs[process].parent.map(|thread| self.threads[thread].process)
    }

    // ---- pids ----------------------------------------------------------------------------------

    fn ns_path(&self, ns: Ns) -> Vec<Ns> {
        let mut path = vec![ns];
        while let Some(parent) = self.spaces[path[path.len() - 1]].parent {
            path.push(parent);
        }
        path
    }

    pub fn nr(&self, pid: Pid, ns: Ns) -> u32 {
        let pid = &self.pids[pid];
        if self.ns_path(pid.ns).contains(&ns) { pid.nrs[self.spaces[ns].level as usize] } else { 0 }
    }

    fn taken(&self, ns: Ns, nr: u32) -> bool {
        (1..self.pids.len()).any(|pid| !self.pids[pid].freed && self.nr(pid, ns) == nr)
    }

    pub fn alloc(&mut self, ns: Ns) -> Result<Pid, Error> {
        let mut nrs = vec![];
        for ns in self.ns_path(ns) {
            let space = &self.spaces[ns];
            let next = space.last + 1;
            let low = if next > 300 { 300 } else { 1 };
            let mut candidates = (next.max(low)..space.pid_max).chain(low..next);
            let nr = candidates.find(|&nr| nr < space.pid_max && !self.taken(ns, nr)).ok_or(Error::Again)?;
            self.spaces[ns].last = nr;
            nrs.insert(0, nr);
        }
        if self.spaces[ns].dead {
            return Err(Error::NoMem);
        }
        self.pids.push(MPid { ns, nrs, freed: false });
        Ok(self.pids.len() - 1)
    }

    pub fn cancel(&mut self, pid: Pid) {
        self.pids[pid].freed = true;
        let ns = self.pids[pid].ns;
        let used = (1..self.pids.len()).any(|pid| !self.pids[pid].freed && self.nr(pid, ns) != 0);
        if self.spaces[ns].init.is_none() && !used {
            self.spaces[ns].last = 0;
        }
    }

    fn used(&self, pid: Pid) -> bool {
        self.threads.iter().any(|thread| thread.life != Life::Gone && thread.pid == pid)
            || self.processes().iter().any(|&p| {
                let process = &self.procs[p];
                [process.pid, process.pgrp, process.session].contains(&pid)
            })
    }

    /// Frees what nobody uses, at the end of an operation; returns the innermost numbers.
    pub fn free_unused(&mut self) -> Vec<u32> {
        let mut freed = vec![];
        for pid in 1..self.pids.len() {
            if !self.pids[pid].freed && !self.used(pid) {
                self.pids[pid].freed = true;
                freed.push(*self.pids[pid].nrs.last().unwrap());
            }
        }
        freed.sort();
        freed
    }

    // ---- birth ---------------------------------------------------------------------------------

    fn add_process(
        &mut self,
        parent: Option<Thread>,
        pid: Pid,
        pgrp: Pid,
        exit_signal: u8,
        session: Pid,
    ) -> Proc {
        let process = self.procs.len();
        let ns = self.pids[pid].ns;
        let (order, joined) = (self.tick(), self.tick());
        self.threads.push(MThread { process, pid, life: Life::Live, pdeath: 0 });
        self.procs.push(MProc {
            parent,
            order,
            threads: vec![self.threads.len() - 1],
            life: Life::Live,
            pid,
            pgrp,
            session,
            ns,
            is: false,
            adopted: false,
            autoreap: Autoreap::Off,
            ppid: u32::MAX,
            policy: 0,
            exit_signal,
            self_exec: 0,
            parent_exec: 0,
            execed: false,
            leader: false,
            stopped: false,
            report: Report::None,
            joined,
        });
        if self.spaces[ns].init.is_none() {
            self.spaces[ns].init = Some(process);
        }
        process
    }

    pub fn fork(&mut self, caller: Thread, pid: Pid, exit_signal: u8, sibling: bool) -> Result<Proc, Error> {
        let me = self.threads[caller].process;
        let (mut parent, mut exit_signal, mut parent_exec) = (caller, exit_signal, self.procs[me].self_exec);
        if sibling {
            if self.spaces[self.procs[me].ns].init == Some(me) {
                return Err(Error::Inval);
            }
            parent = self.procs[me].parent.unwrap();
            exit_signal = self.procs[me].exit_signal;
            parent_exec = self.procs[me].parent_exec;
        }
        let (pgrp, session, exec) = (self.procs[me].pgrp, self.procs[me].session, self.procs[me].self_exec);
        let child = self.add_process(Some(parent), pid, pgrp, exit_signal, session);
        let above = &self.procs[self.threads[parent].process];
        let ppid = self.nr(above.pid, self.procs[child].ns);
        let node = &mut self.procs[child];
        (node.ppid, node.self_exec, node.parent_exec) = (ppid, exec, parent_exec);
        Ok(child)
    }

    pub fn add_thread(&mut self, process: Proc, pid: Pid) {
        self.threads.push(MThread { process, pid, life: Life::Live, pdeath: 0 });
        self.procs[process].threads.push(self.threads.len() - 1);
    }

    pub fn exec(&mut self, thread: Thread) -> Result<(), Error> {
        let process = self.threads[thread].process;
        let others = self.procs[process].threads.clone();
        if others.iter().any(|&other| other != thread && self.threads[other].life != Life::Dead) {
            return Err(Error::Again);
        }
        for other in others.into_iter().filter(|&other| other != thread) {
            self.threads[other].life = Life::Gone;
        }
        self.threads[thread].pid = self.procs[process].pid;
        let node = &mut self.procs[process];
        node.threads = vec![thread];
        node.exit_signal = SIGCHLD;
        node.self_exec += 1;
        node.execed = true;
        Ok(())
    }

    pub fn subreaper(&mut self, process: Proc, on: bool) {
        self.procs[process].is = on;
    }

    // ---- death ---------------------------------------------------------------------------------

    fn first_live(&self, process: Proc) -> Option<Thread> {
        self.procs[process].threads.iter().copied().find(|&t| self.threads[t].life == Life::Live)
    }

    /// 2.1 - 2.8
    fn adopter(&self, dying: Thread) -> Thread {
        let father = self.threads[dying].process;
        if let Some(sibling) = self.first_live(father) {
            return sibling;
        }
        self.adopter_above(father, Some(dying)).expect("the initial init does not exit")
    }

    /// Cases b and c.
    fn adopter_above(&self, father: Proc, dying: Option<Thread>) -> Option<Thread> {
        let level = |process: Proc| self.spaces[self.procs[process].ns].level;
        let mut above = self.parent_process(father);
        // Always walks, and knows of no has_child_subreaper: it must make no difference (1.13).
        while let Some(ancestor) = above.filter(|&ancestor| level(ancestor) == level(father)) {
            if self.procs[ancestor].is
                && let Some(thread) = self.first_live(ancestor)
            {
                return Some(thread);
            }
            above = self.parent_process(ancestor);
        }
        for ns in self.ns_path(self.procs[father].ns) {
            let Some(init) = self.spaces[ns].init else { continue };
            let present = |&t: &Thread| Some(t) != dying && self.threads[t].life == Life::Exiting;
            let found =
                self.first_live(init).or_else(|| self.procs[init].threads.iter().copied().find(present));
            if found.is_some() {
                return found;
            }
        }
        None
    }

    pub fn is_last(&self, thread: Thread) -> bool {
        let process = &self.procs[self.threads[thread].process];
        process.threads.iter().all(|&other| other == thread || self.threads[other].life == Life::Dead)
    }

    /// With the last thread that begins, the process is not stopped any more, and has nothing to report.
    pub fn begin_exit(&mut self, thread: Thread) {
        let process = self.threads[thread].process;
        let was_live = self.threads[thread].life == Life::Live;
        self.threads[thread].life = Life::Exiting;
        if was_live && self.first_live(process).is_none() {
            let node = &mut self.procs[process];
            (node.stopped, node.report) = (false, Report::None);
        }
    }

    /// `None`: refused. Else what became of the process.
    pub fn exit(&mut self, thread: Thread) -> Option<&'static str> {
        let process = self.threads[thread].process;
        let last = self.is_last(thread);
        if last && self.procs[process].parent.is_none() {
            return None;
        }
        self.begin_exit(thread);
        let orphans = self.children(thread);
        if !orphans.is_empty() {
            let adopter = self.adopter(thread);
            for orphan in orphans {
                self.reparent(orphan, process, adopter, true);
            }
        }
        if !last {
            let leader = self.procs[process].threads[0] == thread;
            self.threads[thread].life = if leader { Life::Dead } else { Life::Gone };
            if !leader {
                self.procs[process].threads.retain(|&other| other != thread);
            }
            return Some("lives");
        }
        if self.spaces[self.procs[process].ns].init == Some(process) {
            let ns = self.procs[process].ns;
            self.spaces[ns].dead = true;
        }
        let parent = self.parent_process(process).unwrap();
        self.cut(process, parent, Some(process));
        for thread in core::mem::take(&mut self.procs[process].threads) {
            self.threads[thread].life = Life::Gone;
        }
        let node = &mut self.procs[process];
        (node.life, node.stopped, node.report) = (Life::Dead, false, Report::None);
        if self.announce(process) {
            self.remove(process);
            return Some("autoreaped");
        }
        Some("zombie")
    }

    pub fn remove(&mut self, zombie: Proc) {
        self.procs[zombie].life = Life::Gone;
        let ns = self.procs[zombie].ns;
        if self.spaces[ns].init == Some(zombie) {
            self.spaces[ns].init = None;
        }
    }

    /// 2.15
    fn reparent(&mut self, orphan: Proc, father: Proc, adopter: Thread, death: bool) {
        let order = self.tick();
        let new_parent = self.threads[adopter].process;
        let silent = new_parent == father;
        let ppid = self.nr(self.procs[new_parent].pid, self.procs[orphan].ns);
        let node = &mut self.procs[orphan];
        node.parent = Some(adopter);
        node.order = order;
        if node.life == Life::Live {
            node.ppid = ppid;
        }
        for thread in self.procs[orphan].threads.clone() {
            let signal = self.threads[thread].pdeath;
            if signal != 0 && death {
                let pid = self.nr(self.procs[father].pid, self.procs[orphan].ns);
                let (name, from, ppid) = (self.name(orphan), self.name(father), self.procs[orphan].ppid);
                let asked =
                    if self.threads[thread].life == Life::Dead { "?".into() } else { thread.to_string() };
                self.log.push(format!("{name}: pdeath {signal} for {asked} from {from}({pid}) ppid {ppid}"));
                self.signalled(orphan, signal);
            }
        }
        if silent {
            return;
        }
        self.procs[orphan].exit_signal = SIGCHLD;
        self.procs[orphan].adopted = true;
        let unwanted = self.procs[orphan].life == Life::Dead && self.announce(orphan);
        self.cut(orphan, father, None);
        if unwanted {
            self.log.push(format!("autoreaped {}", self.name(orphan)));
            self.remove(orphan);
        }
    }

    // ---- reapers -------------------------------------------------------------------------------

    fn is_init(&self, process: Proc) -> bool {
        self.spaces[self.procs[process].ns].init == Some(process)
    }

    pub fn is_reaper(&self, process: Proc) -> bool {
        self.procs[process].life == Life::Live && (self.procs[process].is || self.is_init(process))
    }

    pub fn reaper_above(&self, process: Proc) -> Option<Proc> {
        if self.is_init(process) {
            return None;
        }
        self.adopter_above(process, None).map(|thread| self.threads[thread].process)
    }

    /// The child of `root` that `process` comes from.
    pub fn subtree_of(&self, process: Proc, root: Proc) -> Option<Proc> {
        let parent = self.parent_process(process)?;
        if parent == root { Some(process) } else { self.subtree_of(parent, root) }
    }

    pub fn release(&mut self, process: Proc) -> Result<u32, Error> {
        let threads = self.procs[process].threads.clone();
        let mut adopted: Vec<_> = threads.into_iter().flat_map(|thread| self.children(thread)).collect();
        adopted.retain(|&child| self.procs[child].adopted);
        let is_reaper = self.procs[process].is || !adopted.is_empty();
        if self.is_init(process) || !is_reaper {
            return Err(Error::Inval);
        }
        self.procs[process].is = false;
        self.procs[process].autoreap = Autoreap::Off;
        let adopter = self.adopter_above(process, None).unwrap();
        for &child in &adopted {
            self.reparent(child, process, adopter, false);
        }
        Ok(adopted.len() as u32)
    }

    /// Whether it is to be released at once.
    fn announce(&mut self, zombie: Proc) -> bool {
        let parent = self.parent_process(zombie).unwrap();
        let mut signal = self.procs[zombie].exit_signal;
        if self.procs[zombie].parent_exec != self.procs[parent].self_exec {
            signal = SIGCHLD;
        }
        let mut policy = if signal == SIGCHLD { self.procs[parent].policy } else { 0 };
        if self.procs[zombie].adopted {
            policy = match (self.procs[parent].autoreap, policy) {
                (Autoreap::Off, _) => policy,
                (Autoreap::Quiet, _) | (Autoreap::Signal, 1) => 1,
                (Autoreap::Signal, _) => 2,
            };
        }
        if policy == 1 {
            signal = 0;
        }
        self.tell(zombie, signal, "exited");
        policy != 0
    }

    pub fn tell(&mut self, child: Proc, signal: u8, what: &str) {
        let Some(thread) = self.procs[child].parent else { return };
        let parent = self.threads[thread].process;
        let nr = self.nr(self.procs[child].pid, self.procs[parent].ns);
        let (name, parent_name) = (self.name(child), self.name(parent));
        if (1..=64).contains(&signal) {
            self.log.push(format!("{thread}: signal {signal}, {name}({nr}) {what}"));
        }
        self.log.push(format!("wake {parent_name} for {name}"));
        if (1..=64).contains(&signal) {
            self.signalled(parent, signal);
        }
    }

    /// SIGCONT continues.
    fn signalled(&mut self, process: Proc, signal: u8) {
        let node = &mut self.procs[process];
        if signal == SIGCONT && node.stopped {
            (node.stopped, node.report) = (false, Report::Continued);
        }
    }

    /// 2.20
    pub fn is_orphaned(&self, pgrp: Pid, ignored: Option<Proc>) -> bool {
        !self.processes().into_iter().any(|member| {
            let Some(parent) = self.parent_process(member) else { return false };
            self.procs[member].pgrp == pgrp
                && Some(member) != ignored
                && self.procs[member].life == Life::Live
                && self.procs[parent].parent.is_some()
                && self.procs[parent].pgrp != pgrp
                && self.procs[parent].session == self.procs[member].session
        })
    }

    /// 2.21, 2.22
    fn cut(&mut self, process: Proc, other: Proc, ignored: Option<Proc>) {
        let (pgrp, session) = (self.procs[process].pgrp, self.procs[process].session);
        let mut members = self.processes();
        members.retain(|&member| self.procs[member].pgrp == pgrp);
        members.sort_by_key(|&member| core::cmp::Reverse(self.procs[member].joined));
        if self.procs[other].pgrp == pgrp
            || self.procs[other].session != session
            || !self.is_orphaned(pgrp, ignored)
            || !members.iter().any(|&member| self.procs[member].stopped)
        {
            return;
        }
        for signal in [SIGHUP, SIGCONT] {
            for &member in &members {
                if self.procs[member].life == Life::Live {
                    self.log.push(format!("{}: orphaned group, signal {signal}", self.name(member)));
                    self.signalled(member, signal);
                }
            }
        }
    }

    // ---- groups --------------------------------------------------------------------------------

    pub fn setpgid(&mut self, caller: Thread, target: Pid, pgrp: Option<Pid>) -> Result<(), Error> {
        let me = self.threads[caller].process;
        let Some(process) = self.processes().into_iter().find(|&p| self.procs[p].pid == target) else {
            let thread = self.threads.iter().any(|thread| thread.life != Life::Gone && thread.pid == target);
            return Err(if thread { Error::Inval } else { Error::Srch });
        };
        let child = self.parent_process(process) == Some(me);
        if child && self.procs[process].session != self.procs[me].session {
            return Err(Error::Perm);
        }
        if child && self.procs[process].execed {
            return Err(Error::Access);
        }
        if !child && process != me {
            return Err(Error::Srch);
        }
        if self.procs[process].leader {
            return Err(Error::Perm);
        }
        let new = pgrp.unwrap_or(target);
        let session = self.procs[process].session;
        let exists =
            self.processes().iter().any(|&p| self.procs[p].pgrp == new && self.procs[p].session == session);
        if new != target && !exists {
            return Err(Error::Perm);
        }
        self.join(process, new);
        Ok(())
    }

    fn join(&mut self, process: Proc, pgrp: Pid) {
        if self.procs[process].pgrp != pgrp {
            self.procs[process].pgrp = pgrp;
            self.procs[process].joined = self.tick();
        }
    }

    pub fn setsid(&mut self, caller: Thread) -> Result<Pid, Error> {
        let me = self.threads[caller].process;
        let pid = self.procs[me].pid;
        if self.procs[me].leader || self.processes().iter().any(|&p| self.procs[p].pgrp == pid) {
            return Err(Error::Perm);
        }
        self.procs[me].leader = true;
        self.procs[me].session = pid;
        self.join(me, pid);
        Ok(pid)
    }

    // ---- wait ----------------------------------------------------------------------------------

    /// Linux's walk: 4.8 - 4.15
    pub fn find(&self, caller: Thread, wait: &Wait) -> MFound {
        let threads = &self.procs[self.threads[caller].process].threads;
        let at = threads.iter().position(|&t| t == caller).unwrap();
        let cyclic =
            threads[at..].iter().chain(&threads[..at]).take(if wait.own_only { 1 } else { usize::MAX });
        let mut exists = false;
        for &thread in cyclic {
            for child in self.children(thread) {
                let node = &self.procs[child];
                let eligible = match wait.who {
                    MWho::Any => true,
                    MWho::Process(process) => process == child,
                    MWho::Pgrp(pgrp) => node.pgrp == pgrp,
                };
                let class = match wait.class {
                    Class::Normal => node.exit_signal == SIGCHLD,
                    Class::Clone => node.exit_signal != SIGCHLD,
                    Class::All => true,
                };
                let origin = match wait.origin {
                    Origin::Any => true,
                    Origin::Own => !node.adopted,
                    Origin::Adopted => node.adopted,
                };
                if !eligible || !class || !origin {
                    continue;
                }
                if node.life == Life::Dead {
                    if wait.exited {
                        return MFound::Zombie(child);
                    }
                    continue;
                }
                exists = true;
                if wait.stopped && node.report == Report::Stopped {
                    return MFound::Stopped(child);
                }
                if wait.continued && node.report == Report::Continued {
                    return MFound::Continued(child);
                }
            }
        }
        if exists { MFound::Nothing } else { MFound::NoChild }
    }
}
