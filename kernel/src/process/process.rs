//! The process: what the threads of a group share.

use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed, Release},
};

use ostd::{
    sync::{ArcCell, SpinLock, WaitQueue},
    time,
};
use proctree::{ChildPolicy, NsId, Numbers, ProcId, ProcessPayload};

use super::{
    Credentials, Rlimits, Usage,
    namespace::PidNs,
    rlimit::Resource,
    signal::{ProcessSignals, SigHand, SigchldDisposition},
    usage,
};
use crate::{
    lock_order,
    mm::MemoryLimits,
    prelude::*,
    time::{itimer::ITimers, posix_timer::PosixTimers},
};

/// A live process (rule 0.2). It ends with its last thread: a zombie is an [`ExitRecord`](super::ExitRecord) in the process table
/// and no `Process` any more, though whoever still holds a reference may go on reading it.
///
/// Its place in the tree (parent, children, group, session) is the table's: see [`tree`](super::tree).
pub struct Process {
    /// Its numbers, in its own pid namespace and in those above. They never change.
    numbers: Numbers,
    /// Its pid namespace. Never changes.
    pid_ns: PidNs,
    /// That one's node in the table.
    ns: NsId,
    /// Its node in the table: set once, when it is linked.
    id: AtomicU64,
    /// What getppid answers. Written by the table only.
    ppid: AtomicU32,
    /// PR_SET_CHILD_SUBREAPER. Written by the table only, read without a lock.
    is_child_subreaper: AtomicBool,
    /// Has or had a subreaper above it (rule 1.13). Written by the table only.
    has_child_subreaper: AtomicBool,
    /// CLONE_AUTOREAP: it never is a zombie.
    is_autoreaped: AtomicBool,
    pub signals: ProcessSignals,
    pub itimers: ITimers,
    pub posix_timers: PosixTimers,
    /// Somebody wants to know how much CPU time it uses: a tick asks for a look ([`cpu_time`](crate::time::cpu_time)).
    cpu_watch: AtomicBool,
    /// Threads that wait for a child (rule 4.33).
    pub child_wait: WaitQueue,
    /// A thread that waits in execve for its siblings to be gone.
    pub threads_gone: WaitQueue,
    rlimits: ArcCell<Rlimits>,
    /// Those of the leader: what others check when they want to do something to the process.
    creds: ArcCell<Credentials>,
    /// What the threads that have exited used.
    pub dead_threads: SpinLock<Usage>,
    /// What the children that were waited for used, with theirs (rule 4.21).
    pub waited_children: SpinLock<Usage>,
    /// When it was made, ns since boot.
    pub start_ns: u64,
    pub oom_score_adj: AtomicI32,
    /// How low anybody may set it: what a privileged process set last.
    pub oom_score_adj_min: AtomicI32,
    /// Which acquisition of a terminal it has its controlling terminal from, by birth or its own; 0 for none.
    pub tty: AtomicU64,
}

impl Process {
    /// A process that is not in the table yet.
    pub(super) fn new(
        numbers: Numbers,
        pid_ns: PidNs,
        sighand: Arc<SigHand>,
        rlimits: Arc<Rlimits>,
        creds: Arc<Credentials>,
    ) -> Arc<Process> {
        let is_init = numbers.innermost() == 1;
        let ns = pid_ns.id();
        let cpu_watch = rlimits.limits_cpu_time();
        Arc::new(Process {
            numbers,
            pid_ns,
            ns,
            id: AtomicU64::new(ProcId::INVALID.to_bits()),
            ppid: AtomicU32::new(0),
            is_child_subreaper: AtomicBool::new(false),
            has_child_subreaper: AtomicBool::new(false),
            is_autoreaped: AtomicBool::new(false),
            signals: ProcessSignals::new(sighand, is_init),
            itimers: ITimers::new(),
            posix_timers: PosixTimers::new(),
            cpu_watch: AtomicBool::new(cpu_watch),
            child_wait: WaitQueue::new(),
            threads_gone: WaitQueue::new(),
            rlimits: ArcCell::new(rlimits),
            creds: ArcCell::new(creds),
            dead_threads: SpinLock::new(lock_order::PROCESS_MISC, Usage::default()),
            waited_children: SpinLock::new(lock_order::PROCESS_MISC, Usage::default()),
            start_ns: time::now_ns(),
            oom_score_adj: AtomicI32::new(0),
            oom_score_adj_min: AtomicI32::new(0),
            tty: AtomicU64::new(0),
        })
    }

    /// The pid that it and its own namespace know.
    pub fn pid(&self) -> u32 {
        self.numbers.innermost()
    }

    /// Its pid namespace, by its node in the table.
    pub fn ns(&self) -> NsId {
        self.ns
    }

    /// Its pid's numbers, one for each level.
    pub(super) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    pub fn pid_ns(&self) -> &PidNs {
        &self.pid_ns
    }

    /// The number that a namespace knows it by: 0 if it is not visible there.
    #[inline]
    pub fn pid_in(&self, ns: NsId) -> u32 {
        if ns == self.ns { self.pid() } else { self.outer_pid(ns) }
    }

    #[cold]
    fn outer_pid(&self, ns: NsId) -> u32 {
        let seen_from = self.pid_ns.upwards().find(|above| above.id() == ns);
        seen_from.and_then(|above| self.numbers.at(above.level())).unwrap_or(0)
    }

    /// The number that the initial namespace knows it by.
    pub fn global_pid(&self) -> u32 {
        self.numbers.at(0).unwrap_or(0)
    }

    /// Its node in the process table: stale once it was reaped.
    pub fn id(&self) -> ProcId {
        ProcId::from_bits(self.id.load(Relaxed))
    }

    pub(super) fn set_id(&self, id: ProcId) {
        self.id.store(id.to_bits(), Relaxed);
    }

    /// The pid of its parent, 0 if that is not in its namespace (rule 2.18).
    pub fn getppid(&self) -> u32 {
        self.ppid.load(Relaxed)
    }

    /// Whether it is the init of its pid namespace.
    pub fn is_init(&self) -> bool {
        self.pid() == 1
    }

    /// Whether it is the first process of all.
    pub fn is_global_init(&self) -> bool {
        self.is_init() && self.pid_ns.is_initial()
    }

    /// Whether it goes without a zombie when it dies, whoever is its parent then.
    pub fn is_autoreaped(&self) -> bool {
        self.is_autoreaped.load(Relaxed)
    }

    /// Before it is linked.
    pub(super) fn set_autoreaped(&self) {
        self.is_autoreaped.store(true, Relaxed);
    }

    /// The credentials of its leader.
    pub fn creds(&self) -> Arc<Credentials> {
        self.creds.load()
    }

    pub(super) fn set_creds(&self, creds: Arc<Credentials>) {
        self.creds.store(creds);
    }

    pub fn rlimits(&self) -> Arc<Rlimits> {
        self.rlimits.load()
    }

    pub fn set_rlimits(&self, limits: Rlimits) {
        let limits_cpu = limits.limits_cpu_time();
        self.rlimits.store(Arc::new(limits));
        if limits_cpu {
            self.watch_cpu_time();
        }
    }

    /// Asks for a look at the CPU time that is used, at each tick from now on. To be called after the reason has been written
    /// down.
    pub fn watch_cpu_time(&self) {
        self.cpu_watch.store(true, Release);
    }

    /// Whether somebody asked. Called by the tick.
    pub fn is_cpu_time_watched(&self) -> bool {
        self.cpu_watch.load(Relaxed)
    }

    /// Forgets who asked, before the look.
    pub(crate) fn unwatch_cpu_time(&self) {
        // Acquire: who set it before has written down why.
        self.cpu_watch.swap(false, AcqRel);
    }

    /// The soft limit of a resource.
    pub fn rlimit(&self, resource: Resource) -> u64 {
        self.rlimits.with(|limits| limits.soft(resource))
    }

    /// The limits on memory that mmap and its relatives obey.
    pub fn memory_limits(&self) -> MemoryLimits {
        let limits = self.rlimits();
        let bytes = |resource| usize::try_from(limits.soft(resource)).unwrap_or(usize::MAX);
        let creds = self.creds();
        MemoryLimits {
            address_space: bytes(Resource::As),
            data: bytes(Resource::Data),
            stack: bytes(Resource::Stack),
            locked: if creds.capable(super::Cap::IpcLock) { usize::MAX } else { bytes(Resource::Memlock) },
            low_addresses: creds.capable(super::Cap::SysRawio),
        }
    }

    /// CPU time of all its threads so far, in ns.
    pub fn cpu_time_ns(&self) -> u64 {
        let usage = usage::of_process(self);
        usage.user_ns + usage.system_ns
    }

    /// The user-mode part of [`cpu_time_ns`](Self::cpu_time_ns).
    pub fn user_time_ns(&self) -> u64 {
        usage::of_process(self).user_ns
    }
}

/// What the table asks and tells. All of it happens with the table locked, so relaxed atomics do: readers
/// without the lock want one value, not an order between two.
impl ProcessPayload for Process {
    fn is_child_subreaper(&self) -> bool {
        self.is_child_subreaper.load(Relaxed)
    }

    fn set_child_subreaper(&self, on: bool) {
        self.is_child_subreaper.store(on, Relaxed);
    }

    fn has_child_subreaper(&self) -> bool {
        self.has_child_subreaper.load(Relaxed)
    }

    fn set_has_child_subreaper(&self) {
        self.has_child_subreaper.store(true, Relaxed);
    }

    fn set_ppid(&self, ppid: u32) {
        self.ppid.store(ppid, Relaxed);
    }

    fn is_autoreaped(&self) -> bool {
        self.is_autoreaped.load(Relaxed)
    }

    fn child_policy(&self) -> ChildPolicy {
        match self.signals.sigchld_disposition() {
            SigchldDisposition::Normal => ChildPolicy::Wait,
            SigchldDisposition::NoCldWait => ChildPolicy::NoWait,
            SigchldDisposition::Ignored => ChildPolicy::Ignore,
        }
    }
}
