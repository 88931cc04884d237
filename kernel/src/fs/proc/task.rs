//! The process or thread behind a number in a path, dead or alive.

use core::sync::atomic::Ordering::Relaxed;

use proctree::{Body, NsId, PidId, ProcId};

use crate::{
    prelude::*,
    process::{Process, Remains, Thread, namespace::PidNs, pid, tree},
};

/// A process or thread, by an identity that is never given to another one.
#[derive(Clone, Copy)]
pub struct TaskRef {
    pub ns: NsId,
    pub pid: PidId,
    /// The number in `ns`.
    pub nr: u32,
    /// The files of one thread, below task/, as against those of the whole process.
    pub single: bool,
}

/// What is found.
pub enum Task {
    Live(Arc<Thread>),
    /// Only the record in the table is left.
    Zombie(ProcId),
}

impl Task {
    /// No thread is left, or it is a dead leader's.
    pub fn has_exited(&self) -> bool {
        match self {
            Task::Live(thread) => thread.has_exited(),
            Task::Zombie(_) => true,
        }
    }

    /// No thread is left.
    pub fn is_zombie(&self) -> bool {
        matches!(self, Task::Zombie(_))
    }

    fn is_dumpable(&self) -> bool {
        match self {
            Task::Live(thread) => thread.try_vm().is_some_and(|vm| vm.dumpable() == 1),
            Task::Zombie(_) => false,
        }
    }

    /// Its pid namespace. ENOENT if it was reaped meanwhile.
    pub fn pid_ns(&self) -> Result<PidNs> {
        match self {
            Task::Live(thread) => Ok(thread.process.pid_ns().clone()),
            Task::Zombie(process) => match tree::lock().body(*process) {
                Some(Body::Zombie(record)) => Ok(record.pid_ns.clone()),
                _ => Err(ENOENT),
            },
        }
    }
}

impl TaskRef {
    /// The task with this number, as the name of a directory. With `group`, only threads of that process.
    pub fn parse(ns: NsId, name: &[u8], group: Option<&TaskRef>) -> Option<TaskRef> {
        // No leading zeros or signs.
        if name.is_empty() || name[0] == b'0' || !name.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let nr = core::str::from_utf8(name).ok()?.parse().ok()?;
        let pid = pid::lookup(ns, nr)?;
        let task = TaskRef { ns, pid, nr, single: group.is_some() };
        match (task.find().ok()?, group) {
            (_, None) => Some(task),
            (Task::Live(thread), Some(group)) => group.has_thread(&thread).then_some(task),
            (Task::Zombie(_), Some(group)) => (group.nr == nr).then_some(task),
        }
    }

    /// ESRCH if it is gone.
    pub fn find(&self) -> Result<Task> {
        if pid::lookup(self.ns, self.nr) != Some(self.pid) {
            return Err(ESRCH);
        }
        if let Some(thread) = pid::thread(self.ns, self.nr) {
            return Ok(Task::Live(thread));
        }
        let table = tree::lock();
        let process = table.pid_process(self.pid).ok_or(ESRCH)?;
        match table.body(process) {
            Some(Body::Zombie(_)) => Ok(Task::Zombie(process)),
            _ => Err(ESRCH),
        }
    }

    /// The thread, if it lives; ESRCH for a zombie too.
    pub fn live(&self) -> Result<Arc<Thread>> {
        match self.find()? {
            Task::Live(thread) => Ok(thread),
            Task::Zombie(_) => Err(ESRCH),
        }
    }

    /// The thread, unless it is a dead leader's.
    pub fn not_exited(&self) -> Option<Arc<Thread>> {
        self.live().ok().filter(|thread| !thread.has_exited())
    }

    /// What is found, if the reader may look into it as a debugger may; EACCES if not, ENOENT if it is gone.
    pub fn inspect_zombie(&self) -> Result<Task> {
        let found = self.find().map_err(|_| ENOENT)?;
        let reader = Thread::current();
        let may = match &found {
            Task::Live(thread) => reader.may_inspect(thread),
            Task::Zombie(process) => {
                let remains = Remains::of(&tree::lock(), *process);
                remains.is_some_and(|remains| reader.may_inspect_remains(&remains))
            }
        };
        if may { Ok(found) } else { Err(EACCES) }
    }

    fn has_thread(&self, thread: &Thread) -> bool {
        match self.find() {
            Ok(Task::Live(own)) => Arc::ptr_eq(&own.process, &thread.process),
            _ => false,
        }
    }

    /// Owner of its directories that all may enter: the effective ids. Its files and the other directories are root's while it
    /// is not dumpable (rule 1.37), or has no memory. `None` if it is gone.
    pub fn owner(&self, of_files: bool) -> Option<(u32, u32)> {
        let found = self.find().ok()?;
        let creds = match found {
            _ if of_files && !found.is_dumpable() => return Some((0, 0)),
            Task::Live(thread) => thread.creds(),
            Task::Zombie(process) => Remains::of(&tree::lock(), process)?.creds,
        };
        Some((creds.euid, creds.egid))
    }

    /// The inode number of the task's entry number `index`.
    pub fn ino(&self, index: u64) -> u64 {
        u64::from(self.nr) << 32 | u64::from(self.single) << 31 | index
    }
}

/// Numbers of a process's relatives, as the table has them at one moment.
#[derive(Clone, Copy, Default)]
pub struct Numbers {
    pub tgid: u32,
    pub ppid: u32,
    pub pgrp: u32,
    pub session: u32,
    pub exit_signal: u8,
    pub threads: usize,
}

/// The numbers of a process, as seen from namespace `ns`.
pub fn numbers(ns: NsId, process: ProcId) -> Numbers {
    let table = tree::lock();
    let nr = |pid: Option<PidId>| pid.map_or(0, |pid| table.nr(pid, ns));
    let parent = table.parent(process).and_then(|ids| table.pid(ids.process));
    Numbers {
        tgid: nr(table.pid(process)),
        ppid: nr(parent),
        pgrp: nr(table.pgrp(process)),
        session: nr(table.session(process)),
        exit_signal: table.exit_signal(process).unwrap_or(0),
        threads: table.thread_count(process).max(1),
    }
}

/// The numbers of a task and its relatives in each namespace from `task.ns` to its own, the outermost first (rule 12.8): thread
/// group, thread, process group, session.
pub fn nested_numbers(task: &TaskRef, found: &Task) -> [Vec<u32>; 4] {
    let Ok(own) = found.pid_ns() else { return Default::default() };
    let mut levels: Vec<NsId> = own.upwards().map(PidNs::id).collect();
    let outermost = levels.iter().position(|&ns| ns == task.ns).map_or(levels.len(), |at| at + 1);
    levels.truncate(outermost);
    levels.reverse();
    let table = tree::lock();
    let process = match found {
        Task::Live(thread) => thread.process.id(),
        Task::Zombie(process) => *process,
    };
    let ids = [table.pid(process), Some(task.pid), table.pgrp(process), table.session(process)];
    ids.map(|pid| levels.iter().map(|&ns| pid.map_or(0, |pid| table.nr(pid, ns))).collect())
}

/// What the letter and the word of a state are (rule 12.1, 12.2).
pub fn state(thread: &Thread) -> (char, &'static str) {
    if thread.has_exited() {
        ('Z', "zombie")
    } else if thread.signals.is_stopped() {
        ('T', "stopped")
    } else if thread.task().is_some_and(|task| task.is_parked()) {
        match thread.in_killable_sleep.load(Relaxed) {
            true => ('D', "disk sleep"),
            false => ('S', "sleeping"),
        }
    } else {
        ('R', "running")
    }
}

/// A name, without the padding.
pub fn trim_comm(comm: &[u8]) -> &[u8] {
    let end = comm.iter().position(|&b| b == 0).unwrap_or(comm.len());
    &comm[..end]
}

/// The live threads of a process, and with them a leader that is dead: their numbers in `ns`, ascending.
pub fn thread_numbers(ns: NsId, process: &Process) -> Vec<u32> {
    let table = tree::lock();
    let mut numbers: Vec<u32> = table
        .threads(process.id())
        .filter_map(|thread| table.tid(thread))
        .map(|tid| table.nr(tid, ns))
        .collect();
    drop(table);
    numbers.sort_unstable();
    numbers
}
