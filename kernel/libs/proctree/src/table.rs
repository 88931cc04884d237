//! The table itself: arenas, memory, and the plain questions.

use crate::{
    arena::{Arena, Chunk, Link, NoMemory, NsId, PidId, ProcId, ThreadId, marker},
    kernel::{Body, Error, Ids, Kernel},
    node::{ProcFlags, ProcLink, Process, Thread, ThreadLink},
    ns::Namespace,
    pid::{NumberSpace, Numbers, Pid},
};

/// Free slots below this many make the table short. One clone takes at most one of each kind.
const LOW: usize = 8;

/// The process table: every link of the process tree, and nothing else.
///
/// It has no lock: the caller's lock around it is *the* process-table lock (rule 0.5), and whoever has a
/// `&mut Table` holds it. Each operation is atomic in the sense of the spec because it is one method.
pub struct Table<K: Kernel> {
    pub(crate) processes: Arena<marker::Process, Process<K>>,
    pub(crate) threads: Arena<marker::Thread, Thread<K>>,
    pub(crate) pids: Arena<marker::Pid, Pid>,
    pub(crate) namespaces: Arena<marker::Namespace, Namespace>,
    /// All processes in order of creation.
    pub(crate) first_process: ProcLink,
    pub(crate) last_process: ProcLink,
    /// The next [`Process::seq`].
    pub(crate) next_seq: u64,
    /// Number 0: the group and session of the first process, as in Linux.
    pub(crate) pid_zero: Link<marker::Pid>,
}

/// Memory for more nodes, allocated outside the caller's lock.
pub struct Supply<K: Kernel> {
    processes: Option<Chunk<Process<K>>>,
    threads: Option<Chunk<Thread<K>>>,
    pids: Option<Chunk<Pid>>,
    namespaces: Option<Chunk<Namespace>>,
}

impl<K: Kernel> Supply<K> {
    /// Allocates a chunk of each kind.
    pub fn try_new() -> Result<Self, NoMemory> {
        Ok(Supply {
            processes: Some(Chunk::try_new()?),
            threads: Some(Chunk::try_new()?),
            pids: Some(Chunk::try_new()?),
            namespaces: Some(Chunk::try_new()?),
        })
    }
}

/// What is left for the caller to drop, outside its lock, when an operation is refused.
#[derive(Debug)]
pub struct Refused<T> {
    /// Why.
    pub error: Error,
    /// What was to be put into the table.
    pub given: T,
}

impl<K: Kernel> Table<K> {
    /// A table with the initial namespace and no process. Allocates.
    pub fn try_new(numbers: NumberSpace) -> Result<(Self, NsId), NoMemory> {
        let mut table = Table {
            processes: Arena::new(),
            threads: Arena::new(),
            pids: Arena::new(),
            namespaces: Arena::new(),
            first_process: Link::NONE,
            last_process: Link::NONE,
            next_seq: 0,
            pid_zero: Link::NONE,
        };
        table.supply(&mut Supply::try_new()?)?;
        let ns = Namespace::new(Link::NONE, 0, numbers);
        let ns = table.namespaces.insert(ns);
        let zero = Pid::new(Numbers::default(), ns);
        table.pid_zero = table.pids.insert(zero);
        // Group 0 is in session 0, for good.
        let zero = table.pid_zero;
        table.pids[zero].session = zero;
        let ns = table.namespaces.id(ns);
        Ok((table, ns))
    }

    /// Fewer than 8 free slots of some kind: [`supply`](Self::supply) more before the next clone.
    pub fn is_short(&self) -> bool {
        self.processes.free() < LOW
            || self.threads.free() < LOW
            || self.pids.free() < LOW
            || self.namespaces.free() < LOW
    }

    /// Takes from the supply what is needed. The caller drops the rest outside its lock.
    pub fn supply(&mut self, supply: &mut Supply<K>) -> Result<(), NoMemory> {
        fn refill<M, T>(arena: &mut Arena<M, T>, chunk: &mut Option<Chunk<T>>) -> Result<(), NoMemory> {
            match chunk.take_if(|_| arena.free() < LOW) {
                Some(chunk) => arena.grow(chunk),
                None => Ok(()),
            }
        }
        refill(&mut self.processes, &mut supply.processes)?;
        refill(&mut self.threads, &mut supply.threads)?;
        refill(&mut self.pids, &mut supply.pids)?;
        refill(&mut self.namespaces, &mut supply.namespaces)
    }

    // ---- one process ---------------------------------------------------------------------------

    /// Payload of a live process, record of a zombie.
    pub fn body(&self, process: ProcId) -> Option<Body<&K::Process, &K::Record>> {
        Some(match &self.processes[self.processes.resolve(process)?].body {
            Body::Live(payload) => Body::Live(payload),
            Body::Zombie(record) => Body::Zombie(record),
        })
    }

    /// The payload, if it is live.
    pub fn payload(&self, process: ProcId) -> Option<&K::Process> {
        self.processes[self.processes.resolve(process)?].payload()
    }

    /// The record of a zombie, to change.
    pub fn record_mut(&mut self, process: ProcId) -> Option<&mut K::Record> {
        let process = self.processes.resolve(process)?;
        match &mut self.processes[process].body {
            Body::Live(_) => None,
            Body::Zombie(record) => Some(record),
        }
    }

    /// The pid (tgid).
    pub fn pid(&self, process: ProcId) -> Option<PidId> {
        let process = self.processes.resolve(process)?;
        Some(self.pids.id(self.processes[process].pid))
    }

    /// The pid namespace.
    pub fn namespace(&self, process: ProcId) -> Option<NsId> {
        let process = self.processes.resolve(process)?;
        Some(self.namespaces.id(self.processes[process].ns))
    }

    /// The real parent: the thread that made or adopted the process. `None` for the global init.
    pub fn parent(&self, process: ProcId) -> Option<Ids> {
        let process = self.processes.resolve(process)?;
        Some(self.ids(self.processes[process].parent.some()?))
    }

    /// The signal that its parent gets when it dies (stat field 38).
    pub fn exit_signal(&self, process: ProcId) -> Option<u8> {
        let process = self.processes.resolve(process)?;
        Some(self.processes[process].exit_signal)
    }

    /// How many threads there are, a dead leader included: 0 in a zombie.
    pub fn thread_count(&self, process: ProcId) -> usize {
        self.processes.resolve(process).map_or(0, |process| self.processes[process].threads as usize)
    }

    /// It did an exec since it was made.
    pub fn has_execed(&self, process: ProcId) -> bool {
        self.has_flag(process, ProcFlags::EXECED)
    }

    pub(crate) fn has_flag(&self, process: ProcId, flag: ProcFlags) -> bool {
        self.processes.resolve(process).is_some_and(|process| self.processes[process].flags.has(flag))
    }

    // ---- one thread ----------------------------------------------------------------------------

    /// The payload of a thread that has not exited.
    pub fn thread(&self, thread: ThreadId) -> Option<&K::Thread> {
        self.threads[self.threads.resolve(thread)?].payload.as_ref()
    }

    /// Process, thread and pid of a thread.
    pub fn thread_ids(&self, thread: ThreadId) -> Option<Ids> {
        Some(self.ids(self.threads.resolve(thread)?))
    }

    /// The process of a thread.
    pub fn process_of(&self, thread: ThreadId) -> Option<ProcId> {
        let thread = self.threads.resolve(thread)?;
        Some(self.processes.id(self.threads[thread].process))
    }

    /// The pid (tid) of a thread.
    pub fn tid(&self, thread: ThreadId) -> Option<PidId> {
        let thread = self.threads.resolve(thread)?;
        Some(self.pids.id(self.threads[thread].pid))
    }

    /// How many processes (zombies included), threads (dead leaders included) and pids there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        // Number 0 is nobody's.
        (self.processes.used(), self.threads.used(), self.pids.used() - 1)
    }

    pub(crate) fn ids(&self, thread: ThreadLink) -> Ids {
        let node = &self.threads[thread];
        Ids {
            process: self.processes.id(node.process),
            thread: self.threads.id(thread),
            pid: self.pids.id(node.pid),
        }
    }
}
