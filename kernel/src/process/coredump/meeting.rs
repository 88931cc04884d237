//! Where the threads of a process meet while one of them writes the core.

use core::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use ostd::{
    sync::{SpinLock, WaitQueue},
    user::fpu,
};

use crate::{lock_order, prelude::*, process::usage, syscall::Context};

/// Words of `struct user_regs_struct`.
pub const REGISTERS: usize = 27;

/// What a core says of one thread.
pub struct ThreadState {
    pub tid: u32,
    /// As `struct user_regs_struct` has them.
    pub registers: [u64; REGISTERS],
    /// An XSAVE area.
    pub fpu: Vec<u8>,
    pub pending: u64,
    pub blocked: u64,
    /// User and system time, ns.
    pub times: [u64; 2],
}

impl ThreadState {
    /// Of the calling thread.
    pub fn of(ctx: &Context) -> ThreadState {
        let (user, r) = (&*ctx.user, &ctx.user.regs);
        let registers = [
            r.r15,
            r.r14,
            r.r13,
            r.r12,
            r.rbp,
            r.rbx,
            r.r11,
            r.r10,
            r.r9,
            r.r8,
            r.rax,
            r.rcx,
            r.rdx,
            r.rsi,
            r.rdi,
            user.orig_rax() as u64,
            user.rip() as u64,
            user.cs(),
            user.rflags(),
            user.rsp() as u64,
            user.ss(),
            user.fs_base() as u64,
            user.gs_base() as u64,
            0,
            0,
            0,
            0,
        ];
        let used = usage::of_thread(ctx.thread);
        ThreadState {
            tid: ctx.thread.tid(),
            registers,
            fpu: fpu::snapshot(),
            pending: ctx.thread.signals.pending().0,
            blocked: ctx.thread.signals.blocked().0,
            times: [used.user_ns, used.system_ns],
        }
    }
}

/// The signal lock guards that there is at most one in a process, for the rest of its life.
pub struct Meeting {
    threads: SpinLock<Vec<ThreadState>>,
    arrived: AtomicUsize,
    over: AtomicBool,
    /// Where the writer waits for the others, and they for the end.
    queue: WaitQueue,
}

impl Meeting {
    pub fn new() -> Arc<Meeting> {
        Arc::new(Meeting {
            threads: SpinLock::new(lock_order::PROCESS_MISC, Vec::new()),
            arrived: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            queue: WaitQueue::new(),
        })
    }

    /// Takes part, and returns when the core is written.
    pub(super) fn join(&self, state: ThreadState) {
        self.threads.lock().push(state);
        // Release pairs with the writer's Acquire, which then finds the state.
        self.arrived.fetch_add(1, Release);
        self.queue.wake_all();
        self.queue.wait_until(|| self.over.load(Acquire).then_some(()));
    }

    /// The caller writes: waits until all other threads have come, or are past caring. `live` counts those that have not begun to
    /// exit, the caller and those that have come with them.
    pub(super) fn wait_for_others(&self, live: impl Fn() -> usize) {
        self.queue.wait_until(|| (self.arrived.load(Acquire) + 1 >= live()).then_some(()));
    }

    /// A thread has begun to exit on its own: nobody has to wait for it.
    pub fn thread_left(&self) {
        self.queue.wake_all();
    }

    pub(super) fn take(&self) -> Vec<ThreadState> {
        core::mem::take(&mut *self.threads.lock())
    }

    pub(super) fn end(&self) {
        self.over.store(true, Release);
        self.queue.wake_all();
    }

    /// Whether it is still going on.
    pub fn is_on(&self) -> bool {
        !self.over.load(Relaxed)
    }
}
