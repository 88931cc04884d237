//! The thread: what the scheduler runs, and what it has of its own (rule 0.1).

use core::{
    ops::Deref,
    sync::atomic::{
        AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
    },
};

use ostd::{
    irq,
    sync::{ArcCell, SpinLock, WaitQueue},
    task::{self, CurrentData, Task},
};
use proctree::ThreadId;
use spin::Once;

use super::{
    Credentials, Process, Remains,
    io_context::IoContext,
    namespace::ThreadNamespaces,
    rseq::Rseq,
    seccomp::Seccomp,
    signal::{ThreadSignals, work::KILL},
    usage::TransferCounters,
    user_dispatch::UserDispatch,
};
use crate::{
    fs::{FileTable, FsContext, FsHolder},
    ipc::sysv::sem::undo::ThreadUndo,
    lock_order,
    mm::Vm,
    prelude::*,
    sched::{self, Class},
};

/// Bytes of a thread's name, the final NUL included.
pub const COMM_LEN: usize = 16;

/// Flag of [`Thread::work`] beside those of [`signal::work`](super::signal::work): the thread has exited, and only its way
/// out of the kernel's loop is left.
pub const WORK_EXITED: u32 = 1 << 31;

pub struct Thread {
    pub process: Arc<Process>,
    /// The number in the namespace of its process. Changes once at most: execve by another thread than the leader makes
    /// that thread the leader.
    tid: AtomicU32,
    /// Its node in the process table, set when it is linked.
    id: AtomicU64,
    /// Why it must not enter user mode yet, [`signal::work`](super::signal::work): 0 most of the time.
    pub work: AtomicU32,
    pub signals: ThreadSignals,
    task: Once<Arc<Task>>,
    /// Changed by the thread itself only.
    creds: ArcCell<Credentials>,
    vm: SpinLock<Option<Arc<Vm>>>,
    /// Whether the memory was dumpable that it has let go of at its end.
    was_dumpable: AtomicBool,
    files: SpinLock<Option<Arc<FileTable>>>,
    pub(super) namespaces: ThreadNamespaces,
    fs: SpinLock<Option<FsHolder>>,
    /// What its end takes back of its operations on semaphores.
    pub sem_undo: ThreadUndo,
    /// It has made shared memory segments, which learn of its end.
    pub made_segments: AtomicBool,
    /// Its name as two words, so that reading one needs no lock. A torn read gives half of each name, as on Linux.
    comm: [AtomicU64; 2],
    /// Where to store 0 and wake a waiter at exit (set_tid_address(2), rule 3.16).
    pub clear_child_tid: AtomicUsize,
    /// Head of the list of robust futexes (rule 3.17).
    pub robust_list: AtomicUsize,
    /// A copy of what the table knows, to see without its lock whether there is anything to clear.
    pub pdeath_signal: AtomicU32,
    pub no_new_privs: AtomicBool,
    pub seccomp: Seccomp,
    pub user_dispatch: UserDispatch,
    /// PR_SET_TIMERSLACK: the current and the default value, ns (rule 1.43).
    pub timer_slack_ns: [AtomicU64; 2],
    pub login: Login,
    pub nice: AtomicI32,
    /// Scheduling policy and real-time priority, as sched_setscheduler(2) numbers them.
    pub policy: AtomicU32,
    pub rt_priority: AtomicU32,
    /// How long it would like to run at once, ns; 0: as the scheduler has it (sched_setattr(2)).
    pub slice_ns: AtomicU64,
    pub io: IoContext,
    pub rseq: Rseq,
    pub personality: AtomicU32,
    /// What prctl keeps, as it returns them: PR_MCE_KILL (rule 1.48), PR_SET_TSC (1.50), PR_SET_IO_FLUSHER.
    pub mce_kill: AtomicU32,
    pub tsc_mode: AtomicU32,
    pub io_flusher: AtomicBool,
    /// Its user had more processes than RLIMIT_NPROC when it became this user (rule 6.15).
    pub nproc_exceeded: AtomicBool,
    /// It sleeps where only its own death can wake it: state D of /proc.
    pub in_killable_sleep: AtomicBool,
    /// What it exited with, as a wait status: /proc shows it of a dead leader whose threads live on (rule 12.1).
    pub exit_status: AtomicI32,
    /// Who waits in vfork(2) for this thread to let go of the memory.
    vfork: SpinLock<Option<Arc<VforkDone>>>,
    pub minor_faults: AtomicU64,
    pub major_faults: AtomicU64,
    pub transfers: TransferCounters,
    /// The last exception: address, error code, vector; what a signal frame shows.
    fault: [AtomicU64; 3],
}

/// What a thread starts with: a copy of its creator's, or that of the first.
pub(super) struct NewThread {
    pub process: Arc<Process>,
    pub tid: u32,
    pub signals: ThreadSignals,
    pub creds: Arc<Credentials>,
    pub vm: Option<Arc<Vm>>,
    pub files: Arc<FileTable>,
    pub fs: Arc<FsContext>,
    pub vfork: Option<Arc<VforkDone>>,
}

/// Scheduling policies, as sched_setscheduler(2) numbers them.
pub mod policy {
    pub const OTHER: u32 = 0;
    pub const FIFO: u32 = 1;
    pub const RR: u32 = 2;
    pub const BATCH: u32 = 3;
    pub const IDLE: u32 = 5;
    pub const DEADLINE: u32 = 6;
    /// A flag beside them: what the thread makes is ordinary again.
    pub const RESET_ON_FORK: u32 = 0x4000_0000;
}

/// What a nice value is worth in CPU time, from -20 to 19: each step is worth a quarter more or less (1.25 to the power of
/// -nice, times 1024), so that one step moves a tenth of the CPU between two busy threads.
const NICE_WEIGHTS: [u32; 40] = nice_weights();

const fn nice_weights() -> [u32; 40] {
    let mut weights = [1024; 40];
    let mut i = 1;
    // In 1/2^20 parts, so that the rounding does not add up.
    let (mut up, mut down) = (1024u64 << 20, 1024u64 << 20);
    while i <= 20 {
        up = up * 5 / 4;
        down = down * 4 / 5;
        weights[20 - i] = (up >> 20) as u32;
        if i < 20 {
            weights[20 + i] = (down >> 20) as u32;
        }
        i += 1;
    }
    weights
}

/// Who logged in and started this, for /proc/pid/loginuid and sessionid; `u32::MAX` for nobody.
pub struct Login {
    pub uid: AtomicU32,
    pub session: AtomicU32,
}

impl Login {
    /// Begins a session of `uid`; `u32::MAX` ends it.
    pub fn begin(&self, uid: u32) {
        static SESSIONS: AtomicU32 = AtomicU32::new(0);
        let session = if uid == u32::MAX { u32::MAX } else { SESSIONS.fetch_add(1, Relaxed).wrapping_add(1) };
        self.session.store(session, Relaxed);
        self.uid.store(uid, Relaxed);
    }
}

/// The default timer slack, ns.
const TIMER_SLACK_NS: u64 = 50_000;
/// `PR_MCE_KILL_GET` and `PR_GET_TSC` of a fresh thread.
const MCE_KILL_DEFAULT: u32 = 2;
const TSC_ENABLE: u32 = 1;

impl Thread {
    /// A thread that inherits from `creator` what is not in `new` (rules 6.18-6.20).
    pub(super) fn new(new: NewThread, creator: Option<&Thread>) -> Arc<Thread> {
        let slack = creator.map_or(TIMER_SLACK_NS, |creator| creator.timer_slack_ns[0].load(Relaxed));
        let comm = creator.map_or([0; 2], |creator| creator.comm.each_ref().map(|word| word.load(Relaxed)));
        let schedule = creator.map_or([0; 3], Thread::schedule_of_child);
        let inherit = |field: fn(&Thread) -> &AtomicU32, default| {
            AtomicU32::new(creator.map_or(default, |creator| field(creator).load(Relaxed)))
        };
        Arc::new(Thread {
            process: new.process,
            tid: AtomicU32::new(new.tid),
            id: AtomicU64::new(ThreadId::INVALID.to_bits()),
            work: AtomicU32::new(0),
            signals: new.signals,
            task: Once::new(),
            creds: ArcCell::new(new.creds),
            vm: SpinLock::new(lock_order::PROCESS_MISC, new.vm),
            was_dumpable: AtomicBool::new(false),
            files: SpinLock::new(lock_order::THREAD_FILES, Some(new.files)),
            namespaces: ThreadNamespaces::new(),
            fs: SpinLock::new(lock_order::PROCESS_MISC, Some(FsHolder::new(new.fs))),
            sem_undo: ThreadUndo::new(),
            made_segments: AtomicBool::new(false),
            comm: comm.map(AtomicU64::new),
            clear_child_tid: AtomicUsize::new(0),
            robust_list: AtomicUsize::new(0),
            pdeath_signal: AtomicU32::new(0),
            no_new_privs: AtomicBool::new(false),
            seccomp: Seccomp::new(),
            user_dispatch: UserDispatch::default(),
            timer_slack_ns: [AtomicU64::new(slack), AtomicU64::new(slack)],
            login: Login {
                uid: inherit(|thread| &thread.login.uid, u32::MAX),
                session: inherit(|thread| &thread.login.session, u32::MAX),
            },
            nice: AtomicI32::new(schedule[2]),
            policy: AtomicU32::new(schedule[0] as u32),
            rt_priority: AtomicU32::new(schedule[1] as u32),
            slice_ns: AtomicU64::new(creator.map_or(0, |creator| creator.slice_ns.load(Relaxed))),
            io: IoContext::inherit(creator.map(|creator| &creator.io)),
            rseq: Rseq::default(),
            personality: inherit(|thread| &thread.personality, 0),
            mce_kill: inherit(|thread| &thread.mce_kill, MCE_KILL_DEFAULT),
            tsc_mode: inherit(|thread| &thread.tsc_mode, TSC_ENABLE),
            io_flusher: AtomicBool::new(creator.is_some_and(|creator| creator.io_flusher.load(Relaxed))),
            nproc_exceeded: AtomicBool::new(false),
            in_killable_sleep: AtomicBool::new(false),
            exit_status: AtomicI32::new(0),
            vfork: SpinLock::new(lock_order::PROCESS_MISC, new.vfork),
            minor_faults: AtomicU64::new(0),
            major_faults: AtomicU64::new(0),
            transfers: TransferCounters::default(),
            fault: [const { AtomicU64::new(0) }; 3],
        })
    }

    /// The thread on whose behalf the kernel runs.
    ///
    /// # Panics
    /// In a kernel task: code that may run there asks [`try_current`](Self::try_current).
    #[inline]
    pub fn current() -> CurrentThread {
        Thread::try_current().expect("a task that runs a user thread")
    }

    /// As [`current`](Self::current); `None` in a kernel task.
    #[inline]
    pub fn try_current() -> Option<CurrentThread> {
        task::try_current()?.into_data().map(CurrentThread)
    }

    pub fn tid(&self) -> u32 {
        self.tid.load(Relaxed)
    }

    pub(super) fn set_tid(&self, tid: u32) {
        self.tid.store(tid, Relaxed);
    }

    pub fn is_leader(&self) -> bool {
        self.tid() == self.process.pid()
    }

    pub fn id(&self) -> ThreadId {
        ThreadId::from_bits(self.id.load(Relaxed))
    }

    pub(super) fn set_id(&self, id: ThreadId) {
        self.id.store(id.to_bits(), Relaxed);
    }

    /// Its task: there from before the thread is linked.
    pub fn task(&self) -> Option<&Arc<Task>> {
        self.task.get()
    }

    pub(super) fn set_task(&self, task: Arc<Task>) {
        self.task.call_once(|| task);
    }

    /// Ends its sleep, if it sleeps.
    pub fn unpark(&self) {
        if let Some(task) = self.task.get() {
            task.unpark();
        }
    }

    /// Makes it see the flags of [`work`](Self::work) soon: ends its sleep, or its stay in user mode on another CPU. A sleep that only
    /// death may end goes on, unless it is to die.
    pub fn wake_for_signal(&self, flags: u32) {
        // In one order with the load behind it: if that finds a sleep that ends just now, the sleeper finds the flags
        // ([`wait_killable`](super::wait_event::wait_killable)).
        let work = self.work.fetch_or(flags, SeqCst) | flags;
        if self.in_killable_sleep.load(SeqCst) && work & KILL == 0 {
            return;
        }
        let Some(task) = self.task.get() else { return };
        // Who signals itself looks before it sleeps or leaves the kernel; unless this is an interrupt, which may have come
        // after that look.
        if task.is_current() && !irq::in_handler() {
            return;
        }
        task.unpark();
        task.kick();
    }

    pub fn cpu_time_ns(&self) -> u64 {
        self.task.get().map_or(0, |task| task.cpu_time_ns())
    }

    pub fn creds(&self) -> Arc<Credentials> {
        self.creds.load()
    }

    /// Asks the credentials something short, without touching their reference count.
    pub fn with_creds<R>(&self, f: impl FnOnce(&Credentials) -> R) -> R {
        self.creds.with(f)
    }

    pub(super) fn set_creds(&self, creds: Arc<Credentials>) {
        if self.is_leader() {
            self.process.set_creds(creds.clone());
        }
        self.creds.store(creds);
    }

    /// The memory of the calling thread, which has one until it exits.
    pub fn vm(&self) -> Arc<Vm> {
        self.try_vm().expect("a thread that has not exited")
    }

    /// The memory of any thread; `None` once it let go of it.
    pub fn try_vm(&self) -> Option<Arc<Vm>> {
        self.vm.lock().clone()
    }

    /// Gives the calling thread another address space, and returns the one before.
    pub fn set_vm(&self, vm: Option<Arc<Vm>>) -> Option<Arc<Vm>> {
        task::set_addr_space(vm.as_ref().map(|vm| vm.space().clone()));
        core::mem::replace(&mut *self.vm.lock(), vm)
    }

    /// The calling thread lets go of its memory for good, and of the secrets in it.
    pub(super) fn release_vm(&self) {
        self.was_dumpable.store(self.is_dumpable(), Relaxed);
        drop(self.set_vm(None));
    }

    /// Whether its memory is its user's business (rule 1.34). Of one that has let go of its memory: whether it was then.
    pub fn is_dumpable(&self) -> bool {
        match &*self.vm.lock() {
            Some(vm) => vm.dumpable() == 1,
            None => self.was_dumpable.load(Relaxed),
        }
    }

    /// The descriptors of the calling thread.
    pub fn files(&self) -> Arc<FileTable> {
        self.try_files().expect("a thread that has not exited")
    }

    pub fn try_files(&self) -> Option<Arc<FileTable>> {
        self.files.lock().clone()
    }

    /// Asks the descriptors of the calling thread something, without touching their reference count.
    #[inline]
    pub fn with_files<R>(&self, f: impl FnOnce(&FileTable) -> R) -> R {
        match &*self.files.lock() {
            Some(files) => f(files),
            None => panic!("a thread that has exited uses a descriptor"),
        }
    }

    pub fn set_files(&self, files: Option<Arc<FileTable>>) -> Option<Arc<FileTable>> {
        core::mem::replace(&mut *self.files.lock(), files)
    }

    /// Root, working directory and umask of the calling thread.
    pub fn fs(&self) -> Arc<FsContext> {
        self.try_fs().expect("a thread that has not exited")
    }

    pub fn try_fs(&self) -> Option<Arc<FsContext>> {
        self.fs.lock().as_ref().map(|fs| fs.get().clone())
    }

    pub fn set_fs(&self, fs: Option<Arc<FsContext>>) -> Option<FsHolder> {
        core::mem::replace(&mut *self.fs.lock(), fs.map(FsHolder::new))
    }

    /// Its name, padded with NULs.
    pub fn comm(&self) -> [u8; COMM_LEN] {
        let mut comm = [0; COMM_LEN];
        for (bytes, word) in comm.chunks_exact_mut(8).zip(&self.comm) {
            bytes.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        comm
    }

    /// Sets its name to the first 15 bytes of `name`.
    pub fn set_comm(&self, name: &[u8]) {
        let mut comm = [0; COMM_LEN];
        let len = name.len().min(COMM_LEN - 1);
        comm[..len].copy_from_slice(&name[..len]);
        for (bytes, word) in comm.as_chunks::<8>().0.iter().zip(&self.comm) {
            word.store(u64::from_ne_bytes(*bytes), Relaxed);
        }
    }

    /// It gets a real-time policy, which goes with no timer slack, or another one (rule 1.43).
    pub fn forget_slack(&self, is_realtime: bool) {
        let [current, default] = &self.timer_slack_ns;
        if is_realtime {
            current.store(0, Relaxed);
        } else if current.load(Relaxed) == 0 {
            current.store(default.load(Relaxed), Relaxed);
        }
    }

    /// PR_SET_TIMERSLACK: 0 is the default; a real-time thread's stays 0.
    pub fn set_timer_slack(&self, ns: u64) {
        let [current, default] = &self.timer_slack_ns;
        let is_realtime =
            matches!(self.policy.load(Relaxed) & !policy::RESET_ON_FORK, policy::FIFO | policy::RR);
        if !is_realtime {
            current.store(if ns == 0 { default.load(Relaxed) } else { ns }, Relaxed);
        }
    }

    pub fn set_nice(&self, nice: i32) {
        self.nice.store(nice, Relaxed);
        self.update_schedule();
    }

    /// Policy, real-time priority and nice value of what this thread makes (rule 6.19): its own, unless it was set with
    /// SCHED_RESET_ON_FORK that nothing above the ordinary is handed down.
    fn schedule_of_child(&self) -> [i32; 3] {
        let policy = self.policy.load(Relaxed);
        let (priority, nice) = (self.rt_priority.load(Relaxed) as i32, self.nice.load(Relaxed));
        if policy & policy::RESET_ON_FORK == 0 {
            return [policy as i32, priority, nice];
        }
        match policy & !policy::RESET_ON_FORK {
            policy::FIFO | policy::RR => [0, 0, 0],
            policy => [policy as i32, 0, nice.max(0)],
        }
    }

    /// Tells the scheduler what policy, priority and nice value come to, before the thread has started.
    pub(super) fn init_schedule(&self) {
        if let Some(task) = self.task.get() {
            task.sched.weight.store(self.weight(), Relaxed);
            sched::init_class(task, self.class());
        }
    }

    /// As [`init_schedule`](Self::init_schedule), for a thread that may be anywhere.
    pub fn update_schedule(&self) {
        if let Some(task) = self.task.get() {
            task.sched.weight.store(self.weight(), Relaxed);
            sched::set_class(task, self.class());
        }
    }

    /// Its share among the fair tasks.
    fn weight(&self) -> u32 {
        match self.policy.load(Relaxed) & 0xff {
            policy::IDLE => 3,
            _ => NICE_WEIGHTS[(self.nice.load(Relaxed).clamp(-20, 19) + 20) as usize],
        }
    }

    fn class(&self) -> Class {
        let priority = self.rt_priority.load(Relaxed) as u8;
        match self.policy.load(Relaxed) & 0xff {
            policy::FIFO => Class::Fifo(priority),
            policy::RR => Class::RoundRobin(priority),
            policy::BATCH | policy::IDLE => Class::Batch,
            _ => Class::Ordinary,
        }
    }

    /// Whoever waits in vfork for this thread may go on (rules 3.14, 3.15, 10.15).
    pub(super) fn complete_vfork(&self) {
        let done = self.vfork.lock().take();
        if let Some(done) = done {
            done.complete();
        }
    }

    /// Forgets the parent-death signal (rules 1.20, 1.21).
    pub(super) fn clear_pdeath(&self) {
        if self.pdeath_signal.swap(0, Relaxed) != 0 {
            super::tree::lock().set_pdeath(self.id(), 0);
        }
    }

    /// Whether the calling thread may look into `target` as a debugger may, by its file-system ids: /proc/PID/maps and the like.
    pub fn may_inspect(&self, target: &Thread) -> bool {
        self.may_inspect_as(target, Self::file_identity)
    }

    /// The same for what is left of one that is dead.
    pub fn may_inspect_remains(&self, remains: &Remains) -> bool {
        self.may_inspect_creds(&remains.creds, Self::file_identity, || remains.dumpable)
    }

    fn file_identity(creds: &Credentials) -> (u32, u32, super::credentials::CapSet) {
        (creds.fsuid, creds.fsgid, creds.effective)
    }

    /// The same by its real ids: robust lists, descriptors, namespaces (PTRACE_MODE_REALCREDS of Linux).
    pub fn may_inspect_really(&self, target: &Thread) -> bool {
        self.may_inspect_as(target, Self::real_identity)
    }

    /// The same for what is left of one that is dead.
    pub fn may_inspect_remains_really(&self, remains: &Remains) -> bool {
        self.may_inspect_creds(&remains.creds, Self::real_identity, || remains.dumpable)
    }

    fn real_identity(creds: &Credentials) -> (u32, u32, super::credentials::CapSet) {
        (creds.uid, creds.gid, creds.permitted)
    }

    fn may_inspect_as(
        &self,
        target: &Thread,
        identity: impl Fn(&Credentials) -> (u32, u32, super::credentials::CapSet),
    ) -> bool {
        if Arc::ptr_eq(&self.process, &target.process) {
            return true;
        }
        self.may_inspect_creds(&target.creds(), identity, || target.is_dumpable())
    }

    fn may_inspect_creds(
        &self,
        theirs: &Credentials,
        identity: impl Fn(&Credentials) -> (u32, u32, super::credentials::CapSet),
        open: impl FnOnce() -> bool,
    ) -> bool {
        let mine = self.creds();
        if mine.capable(super::Cap::SysPtrace) {
            return true;
        }
        let (my_uid, my_gid, my_caps) = identity(&mine);
        let same_ids = [theirs.uid, theirs.euid, theirs.suid].iter().all(|&uid| uid == my_uid)
            && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|&gid| gid == my_gid);
        same_ids && theirs.permitted.is_subset_of(my_caps) && open()
    }

    pub fn set_last_fault(&self, addr: u64, error_code: u64, vector: u64) {
        for (slot, value) in self.fault.iter().zip([addr, error_code, vector]) {
            slot.store(value, Relaxed);
        }
    }

    /// Its last exception.
    pub fn last_fault(&self) -> LastFault {
        let [address, error_code, vector] = self.fault.each_ref().map(|slot| slot.load(Relaxed));
        LastFault { address, error_code, vector }
    }

    pub fn has_exited(&self) -> bool {
        self.work.load(Relaxed) & WORK_EXITED != 0
    }
}

/// What the processor said of an exception.
#[derive(Clone, Copy, Debug)]
pub struct LastFault {
    pub address: u64,
    pub error_code: u64,
    pub vector: u64,
}

/// What a task that runs a thread carries.
pub(super) struct TaskThread(pub Arc<Thread>);

/// The calling thread.
pub struct CurrentThread(CurrentData<TaskThread>);

impl Deref for CurrentThread {
    type Target = Arc<Thread>;

    #[inline(always)]
    fn deref(&self) -> &Arc<Thread> {
        &self.0.0
    }
}

/// The parent's side of a vfork: it sleeps until the child has let go of the memory.
#[derive(Default)]
pub struct VforkDone {
    done: AtomicBool,
    queue: WaitQueue,
}

impl VforkDone {
    fn complete(&self) {
        // Release pairs with the Acquire below: the child's stores to the shared memory are before it.
        self.done.store(true, Release);
        self.queue.wake_all();
    }

    /// Waits; gives up when the caller is killed (rule 3.14).
    pub(super) fn wait(&self) {
        let done = || self.done.load(Acquire).then_some(());
        let _ = super::wait_event::wait_killable(&self.queue, done);
    }
}
