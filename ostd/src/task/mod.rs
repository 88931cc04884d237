//! Tasks: threads of execution of the kernel, each with its own stack; a task may also run a program in user mode.
//!
//! *Life.* [`TaskBuilder::build`] makes a task, [`Task::start`] hands it to the scheduler, [`exit`] ends it. A task that is
//! not finished owns itself: it lives on while it sleeps even if nobody else has a reference.
//!
//! *Sleeping.* [`park`] sleeps until somebody calls [`Task::unpark`], which leaves a token when the task is not asleep.
//! Everything else that sleeps (wait queues, mutexes) is built on the two.
//!
//! *Scheduling.* What runs next is decided by a [`Scheduler`], registered by the kernel. The kernel is not preempted in
//! ring 0: a task gives way when it sleeps, calls [`yield_now`], or is about to enter user mode while
//! [`need_resched`] is set.
//!
//! *Memory.* A task is one allocation (its `Arc`) and a stack; its body is moved to the stack.

mod fifo;
pub mod scheduler;
pub(crate) mod switch;
#[cfg(feature = "ktest")]
mod test;

pub use scheduler::{EnqueueReason, SchedEntity, Scheduler, register_scheduler};
pub use switch::{cpu_times_ns, switches};

use crate::{
    arch::x86::{cpu_local, fpu::FpuArea, selectors::Selectors},
    cpu, irq,
    mm::{self, AddrSpace, KStack, OutOfMemory},
    sync::{
        assert_may_sleep,
        rank::{CHECKED, HeldLocks},
        wait_queue::WaitNode,
    },
    time,
    timer::{self, TimerNode},
};
use alloc::sync::Arc;
use core::{
    any::{Any, TypeId},
    cell::{Cell, UnsafeCell},
    marker::PhantomData,
    ops::Deref,
    ptr::{self, NonNull},
    sync::atomic::{AtomicBool, AtomicU8, Ordering},
};
use switch::Outgoing;

/// Not asleep, no token.
const RUNNING: u8 = 0;
/// Asleep, or about to be.
const PARKED: u8 = 1;
/// Not asleep; the next park takes the token instead of sleeping.
const TOKEN: u8 = 2;

/// Built and not started, for [`Task::start`].
const NOT_STARTED: bool = false;

/// The task does not want to know which CPU it runs on.
const NOT_WATCHED: u32 = u32::MAX;
/// It wants to, and nobody has told it yet.
const NEVER_SEEN: u32 = u32::MAX - 1;

/// A thread of execution.
pub struct Task {
    /// The stack pointer while the task does not run.
    rsp: Cell<usize>,
    /// Some CPU runs the task or still stands on its stack. See [`switch`].
    on_cpu: AtomicBool,
    /// [`RUNNING`], [`PARKED`] or [`TOKEN`].
    state: AtomicU8,
    started: AtomicBool,
    /// Drops the body of a task that was never started.
    drop_body: unsafe fn(&KStack),
    /// What the scheduling policy keeps for each task.
    pub sched: SchedEntity,
    user: UserState,
    /// Touched by the task itself, and by the switch to it.
    addr_space: UnsafeCell<Option<Arc<AddrSpace>>>,
    /// The kernel's data: pointer and type, for the current task's fast look. Null once the task has ended.
    data: Cell<*const ()>,
    data_type: TypeId,
    data_owner: UnsafeCell<Option<Arc<dyn Any + Send + Sync>>>,
    stack: UnsafeCell<Option<KStack>>,
    wait_node: WaitNode,
    timer_node: TimerNode,
    held_locks: HeldLocks,
}

/// What a task that has been in user mode has in the processor.
struct UserState {
    /// It has been there, so that switches save and load the rest.
    active: Cell<bool>,
    /// The CPU whose FPU was last loaded with the task's registers.
    fpu_cpu: Cell<u32>,
    /// The CPU that the program was told it runs on, or [`NOT_WATCHED`].
    cpu_seen: Cell<u32>,
    fs_base: Cell<u64>,
    gs_base: Cell<u64>,
    /// The segment selectors, while they are not in the processor and not all 0.
    selectors: Cell<Selectors>,
    /// The program may not read the time-stamp counter.
    no_tsc: Cell<bool>,
    fpu: UnsafeCell<Option<FpuArea>>,
}

// SAFETY: the cells are touched only by the CPU that runs the task, or by the switch to it or away from it, of which there
// is one at a time (`on_cpu`); data that others may see is `Send + Sync` by the bounds of the builder.
unsafe impl Sync for Task {}
// SAFETY: as above.
unsafe impl Send for Task {}

/// Makes tasks.
pub struct TaskBuilder<F> {
    body: F,
    data: Option<Arc<dyn Any + Send + Sync>>,
    data_ptr: *const (),
    data_type: TypeId,
    addr_space: Option<Arc<AddrSpace>>,
    inherit_fpu: bool,
    cpu_seen: u32,
}

impl<F: FnOnce() + Send + 'static> TaskBuilder<F> {
    /// A task that will run `body` and end when it returns (or at [`exit`]).
    pub fn new(body: F) -> Self {
        Self {
            body,
            data: None,
            data_ptr: ptr::null(),
            data_type: TypeId::of::<()>(),
            addr_space: None,
            inherit_fpu: false,
            cpu_seen: NOT_WATCHED,
        }
    }

    /// Attaches the kernel's own data, found again with [`CurrentTask::data`]. The task drops it when it ends.
    pub fn data<T: Any + Send + Sync>(mut self, data: Arc<T>) -> Self {
        self.data_ptr = Arc::as_ptr(&data).cast();
        self.data_type = TypeId::of::<T>();
        self.data = Some(data);
        self
    }

    /// Gives the task a user address space from the start.
    pub fn addr_space(mut self, space: Arc<AddrSpace>) -> Self {
        self.addr_space = Some(space);
        self
    }

    /// Gives the new task a copy of the current program's FPU registers and segment selectors instead of fresh ones, and its
    /// right to read the time-stamp counter or not.
    pub fn inherit_fpu(mut self) -> Self {
        self.inherit_fpu = true;
        self
    }

    /// Lets the new task know as [`watch_cpu`] says, from what the current one was told.
    pub fn inherit_cpu_watch(mut self) -> Self {
        self.cpu_seen = current().user.cpu_seen.get();
        self
    }

    /// Makes the task. It runs after [`Task::start`].
    pub fn build(self) -> Result<Arc<Task>, OutOfMemory> {
        /// Frames that a task may take beside its stack.
        const FRAMES: usize = 2;
        const { assert!(size_of::<F>() <= 4096, "the body of a task has to fit on its stack") };
        const { assert!(align_of::<F>() <= 16, "the body of a task has to be aligned as a stack is") };
        if !mm::kernel_reserve_ok(FRAMES) {
            return Err(OutOfMemory);
        }
        let fpu = if self.inherit_fpu { Some(copy_current_fpu()?) } else { None };
        let no_tsc = self.inherit_fpu && current().user.no_tsc.get();
        let stack = KStack::new()?;
        let body_at = body_address::<F>(&stack);
        // SAFETY: the stack is new and nobody else's, and the body fits on it.
        let rsp = unsafe {
            (body_at as *mut F).write(self.body);
            switch::prepare_stack(body_at, run::<F>, body_at as *mut u8)
        };
        let user = UserState::new(fpu, no_tsc);
        user.cpu_seen.set(self.cpu_seen);
        if self.inherit_fpu && current().user.active.get() {
            user.selectors.set(Selectors::read());
        }
        Ok(Arc::new(Task {
            rsp: Cell::new(rsp),
            on_cpu: AtomicBool::new(false),
            state: AtomicU8::new(RUNNING),
            started: AtomicBool::new(NOT_STARTED),
            drop_body: drop_body::<F>,
            sched: SchedEntity::new(),
            user,
            addr_space: UnsafeCell::new(self.addr_space),
            data: Cell::new(self.data_ptr),
            data_type: self.data_type,
            data_owner: UnsafeCell::new(self.data),
            stack: UnsafeCell::new(Some(stack)),
            wait_node: WaitNode::new(),
            timer_node: TimerNode::new(),
            held_locks: HeldLocks::new(),
        }))
    }

    /// Makes the task and starts it.
    pub fn spawn(self) -> Result<Arc<Task>, OutOfMemory> {
        let task = self.build()?;
        task.start();
        Ok(task)
    }
}

/// Where the body of a task lies on its stack until it runs.
fn body_address<F>(stack: &KStack) -> usize {
    (stack.top() - size_of::<F>()) & !15
}

/// Drops the body of a task that will not run.
///
/// # Safety
/// `build` put an `F` on this stack, and neither [`run`] nor this function was called for it.
unsafe fn drop_body<F>(stack: &KStack) {
    // SAFETY: as the caller says.
    unsafe { (body_address::<F>(stack) as *mut F).drop_in_place() }
}

impl Drop for Task {
    fn drop(&mut self) {
        if *self.started.get_mut() == NOT_STARTED
            && let Some(stack) = self.stack.get_mut()
        {
            // SAFETY: `build` made the stack together with the function, and a task that was not started has not run.
            unsafe { (self.drop_body)(stack) }
        }
    }
}

/// The life of a task.
///
/// # Safety
/// `body` is the `F` that `build` put there, and this is called once, as a task's first function.
unsafe extern "C" fn run<F: FnOnce()>(body: *mut u8) -> ! {
    switch::finish();
    irq::restore(true);
    // SAFETY: as the caller says.
    let body = unsafe { body.cast::<F>().read() };
    body();
    exit()
}

fn copy_current_fpu() -> Result<FpuArea, OutOfMemory> {
    let mut area = FpuArea::new().ok_or(OutOfMemory)?;
    // A task that has not been in user mode has fresh registers, as the area has.
    if current().user.active.get() {
        area.save_all();
    }
    Ok(area)
}

impl UserState {
    const fn new(fpu: Option<FpuArea>, no_tsc: bool) -> Self {
        Self {
            active: Cell::new(false),
            fpu_cpu: Cell::new(u32::MAX),
            cpu_seen: Cell::new(NOT_WATCHED),
            fs_base: Cell::new(0),
            gs_base: Cell::new(0),
            selectors: Cell::new(Selectors::NULL),
            no_tsc: Cell::new(no_tsc),
            fpu: UnsafeCell::new(fpu),
        }
    }
}

impl Task {
    /// Hands the task to the scheduler for the first time. Once only: further calls do nothing.
    pub fn start(self: &Arc<Self>) {
        if self.started.swap(true, Ordering::AcqRel) == NOT_STARTED {
            let task = self.clone();
            // Where it is born is where it runs if the policy sees nothing better.
            self.sched.set_last_cpu(cpu::current());
            irq::without(|| switch::enqueue(task, EnqueueReason::New));
        }
    }

    /// Ends the current or the next [`park`] of the task. May be called from an interrupt handler.
    #[inline]
    pub fn unpark(&self) {
        // Release: the task, which takes the token with Acquire, sees what the caller did before. Acquire: the caller
        // sees the parked task's state.
        if self.state.swap(TOKEN, Ordering::AcqRel) == PARKED {
            irq::without(|| self.wake());
        }
    }

    /// As [`unpark`](Self::unpark), for a caller that has turned interrupts off.
    #[inline]
    pub(crate) fn unpark_with_irqs_off(&self) {
        // As in `unpark`.
        if self.state.swap(TOKEN, Ordering::AcqRel) == PARKED {
            self.wake();
        }
    }

    /// Gives the task, which was found parked, to the policy. Interrupts are off.
    fn wake(&self) {
        // It may still be on its way out on another CPU, with interrupts off: a few dozen instructions. Acquire
        // pairs with the Release in `switch::finish`.
        while self.on_cpu.load(Ordering::Acquire) {
            core::hint::spin_loop();
        }
        // SAFETY: a parked task owns one reference to itself, and exactly one `unpark` found it parked.
        switch::enqueue(unsafe { Arc::from_raw(self) }, EnqueueReason::Wake);
    }

    /// Makes the task leave user mode if it is there at this moment on another CPU, so that it looks at its work flags.
    #[inline]
    pub fn kick(&self) {
        // The caller set a flag before. Either the task asks for it after this (with interrupts off, right before it
        // enters user mode), or it is seen running here: the fence pairs with the switch or the `cli` over there.
        core::sync::atomic::fence(Ordering::SeqCst);
        if self.on_cpu.load(Ordering::Relaxed) {
            self.kick_running();
        }
    }

    #[cold]
    fn kick_running(&self) {
        let cpu = self.sched.last_cpu();
        if cpu != cpu::current() {
            crate::arch::x86::smp::interrupt(cpu);
        }
    }

    /// Whether the task runs the caller, or was interrupted by it.
    #[inline]
    pub fn is_current(&self) -> bool {
        ptr::eq(cpu_local::current_task(), self)
    }

    /// Whether the task is the current one of some CPU at this moment.
    pub fn is_running(&self) -> bool {
        self.on_cpu.load(Ordering::Relaxed)
    }

    /// Whether the task sleeps at this moment: it is parked, neither running nor waiting for a CPU.
    pub fn is_parked(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED && !self.is_running()
    }

    /// CPU time used so far in user and kernel mode, in ns, including the part that is running. Never goes back.
    pub fn cpu_time_ns(&self) -> u64 {
        loop {
            // The order and the fences pair with those in `switch::account`, which makes the start 0 while it moves the
            // part that runs into the sum.
            let start = self.sched.exec_start.load(Ordering::Acquire);
            let sum = self.sched.sum_exec.load(Ordering::Acquire);
            if self.sched.exec_start.load(Ordering::Relaxed) != start {
                continue;
            }
            match start {
                0 => return sum,
                switch::ACCOUNTING => core::hint::spin_loop(),
                start => return sum + time::now_ns().saturating_sub(start),
            }
        }
    }

    /// CPU time used so far as (user, system), in ns: the exact sum, split in the proportion of sampled ticks. Without a
    /// sample it all counts as user time if the task has a program, as Linux does.
    pub fn cpu_times_ns(&self) -> (u64, u64) {
        let total = self.cpu_time_ns();
        let user = self.sched.user_ticks.load(Ordering::Relaxed);
        let system = self.sched.system_ticks.load(Ordering::Relaxed);
        if system == 0 {
            return (total, 0);
        }
        let user_ns = (u128::from(total) * u128::from(user) / u128::from(user + system)) as u64;
        (user_ns, total - user_ns)
    }

    pub(crate) fn held_locks(&self) -> &HeldLocks {
        &self.held_locks
    }

    pub(crate) fn wait_node(&self) -> &WaitNode {
        &self.wait_node
    }

    pub(crate) fn timer_node(&self) -> &TimerNode {
        &self.timer_node
    }

    /// A task for what runs now on this CPU, on a stack that is not the task's: the boot code and what becomes of it, the
    /// idle loop. Never freed.
    fn adopt_current() -> &'static Task {
        let task = Arc::new(Task {
            rsp: Cell::new(0),
            on_cpu: AtomicBool::new(true),
            state: AtomicU8::new(RUNNING),
            started: AtomicBool::new(true),
            drop_body: drop_body::<()>,
            sched: SchedEntity::new(),
            user: UserState::new(None, false),
            addr_space: UnsafeCell::new(None),
            data: Cell::new(ptr::null()),
            data_type: TypeId::of::<()>(),
            data_owner: UnsafeCell::new(None),
            stack: UnsafeCell::new(None),
            wait_node: WaitNode::new(),
            timer_node: TimerNode::new(),
            held_locks: HeldLocks::new(),
        });
        // SAFETY: the reference is never given back.
        unsafe { &*Arc::into_raw(task) }
    }
}

/// A reference to the task that runs the caller. Can't leave it.
pub struct CurrentTask {
    task: NonNull<Task>,
    _not_send: PhantomData<*mut ()>,
}

impl CurrentTask {
    /// A counted reference, which can be kept and given to others.
    pub fn to_arc(&self) -> Arc<Task> {
        // SAFETY: every task was made by `Arc::new`, and the current one is alive.
        unsafe {
            Arc::increment_strong_count(self.task.as_ptr());
            Arc::from_raw(self.task.as_ptr())
        }
    }

    /// The data that was attached with [`TaskBuilder::data`], if it is a `T`. Costs one compare. It is the current task's
    /// own until the task ends.
    #[inline]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<&T> {
        if self.data_type != TypeId::of::<T>() {
            return None;
        }
        // SAFETY: the pointer is that of an `Arc<T>` that the task owns, or null once that was dropped.
        unsafe { self.data.get().cast::<T>().as_ref() }
    }

    /// As [`data`](Self::data), to be kept: what it is was looked at once and for all.
    #[inline]
    pub fn into_data<T: Any + Send + Sync>(self) -> Option<CurrentData<T>> {
        let data = NonNull::from(self.data::<T>()?);
        Some(CurrentData { data, _not_send: PhantomData })
    }
}

/// The data of the current task. Can't leave it, and like what [`CurrentTask::data`] gives it is good until the task ends.
pub struct CurrentData<T> {
    data: NonNull<T>,
    _not_send: PhantomData<*mut ()>,
}

impl<T> Deref for CurrentData<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the task owns the data until `exit`, after which nothing of the task that could hold this runs.
        unsafe { self.data.as_ref() }
    }
}

impl Deref for CurrentTask {
    type Target = Task;
    #[inline(always)]
    fn deref(&self) -> &Task {
        // SAFETY: the current task is alive.
        unsafe { self.task.as_ref() }
    }
}

/// The task that runs the caller. In an interrupt handler: the one that was interrupted.
#[inline(always)]
pub fn current() -> CurrentTask {
    let task = cpu_local::current_task().cast_mut();
    debug_assert!(!task.is_null(), "no task runs on this CPU yet");
    // SAFETY: nothing that is called before there is a task asks for it without `try_current`.
    CurrentTask { task: unsafe { NonNull::new_unchecked(task) }, _not_send: PhantomData }
}

/// As [`current`]; `None` while the CPU still boots.
#[inline(always)]
pub fn try_current() -> Option<CurrentTask> {
    let task = NonNull::new(cpu_local::current_task().cast_mut())?;
    Some(CurrentTask { task, _not_send: PhantomData })
}

/// Sleeps until the task is unparked. Returns at once if it was since the last park. May return without cause.
#[inline]
pub fn park() {
    assert_may_sleep();
    park_current(&current());
}

fn park_current(task: &Task) {
    let irqs = irq::save_and_disable();
    if task.state.compare_exchange(RUNNING, PARKED, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
        switch::schedule(Outgoing::Parked);
    }
    // Takes the token. Acquire pairs with the Release in `unpark`.
    task.state.swap(RUNNING, Ordering::Acquire);
    irq::restore(irqs);
}

/// As [`park`], until the time `deadline_ns` at most. Returns whether that time has come.
pub fn park_until(deadline_ns: u64) -> bool {
    assert_may_sleep();
    if deadline_ns == u64::MAX {
        park();
        return false;
    }
    if time::now_ns() >= deadline_ns {
        return true;
    }
    let task = current();
    timer::arm_for_task(&task, deadline_ns);
    park_current(&task);
    // A timer that is gone has fired.
    !task.timer_node.cancel()
}

/// Gives way to other tasks that could run.
pub fn yield_now() {
    assert_may_sleep();
    irq::without(|| switch::schedule(Outgoing::Requeue(EnqueueReason::Yield)));
}

/// Whether the current task should give way.
#[inline(always)]
pub fn need_resched() -> bool {
    cpu_local::need_resched()
}

/// Gives way if the current task should. Returns whether others ran meanwhile.
#[inline]
pub fn schedule_if_needed() -> bool {
    if cpu_local::should_give_way() {
        assert_may_sleep();
        return irq::without(|| switch::schedule(Outgoing::Requeue(EnqueueReason::Preempted)));
    }
    false
}

/// From now on [`need_resched`] holds as well when the current task runs on a CPU that [`note_cpu`] has not told of, until that
/// is asked. Nothing is lost: the CPU is looked at whenever the task is switched to.
pub fn watch_cpu(on: bool) {
    let task = current();
    irq::without(|| {
        task.user.cpu_seen.set(if on { NEVER_SEEN } else { NOT_WATCHED });
        cpu_local::set_moved(on);
    });
}

/// Whether [`note_cpu`] has something to tell.
#[inline]
pub fn has_moved() -> bool {
    cpu_local::has_moved()
}

/// For a task that watches its CPU: that, if it is another one than last time. What is done with the answer may be
/// overtaken by the next move, which is told again before user mode is entered.
pub fn note_cpu() -> Option<cpu::CpuId> {
    let task = current();
    irq::without(|| {
        cpu_local::set_moved(false);
        let cpu = cpu::current();
        let seen = task.user.cpu_seen.replace(cpu.as_usize() as u32);
        if seen == NOT_WATCHED {
            task.user.cpu_seen.set(NOT_WATCHED);
        }
        (seen != NOT_WATCHED && seen != cpu.as_usize() as u32).then_some(cpu)
    })
}

/// Makes `cpu` look for another task to run at the next chance: for policies.
pub fn notify_cpu(cpu: cpu::CpuId) {
    switch::notify(cpu);
}

/// Gives the current task a user address space, or none, and switches this CPU to it. The old one is released.
pub fn set_addr_space(space: Option<Arc<AddrSpace>>) {
    let task = current();
    let old = irq::without(|| {
        let loaded = match &space {
            Some(space) => {
                space.activate();
                None
            }
            None => AddrSpace::deactivate(),
        };
        // SAFETY: only the current task itself touches it while it runs.
        (unsafe { core::mem::replace(&mut *task.addr_space.get(), space) }, loaded)
    });
    // Perhaps the last references: with interrupts on, as that may take a while.
    drop(old);
}

/// Ends the current task. Its data is dropped first, in its own context; its stack is freed by whoever runs next here.
pub fn exit() -> ! {
    assert_may_sleep();
    {
        let task = current();
        task.data.set(ptr::null());
        // SAFETY: only the current task touches it, and what it borrowed from it is in frames that never run again.
        let data = unsafe { (*task.data_owner.get()).take() };
        drop(data);
        set_addr_space(None);
        mm::trim_stacks();
        if task.wait_node.is_forgotten() {
            core::mem::forget(task.to_arc());
        }
        task.timer_node.cancel();
        if CHECKED {
            assert!(task.held_locks.none_held(), "a task ended with a lock held");
        }
    }
    irq::save_and_disable();
    switch::schedule(Outgoing::Exited);
    unreachable!("a finished task was scheduled")
}

/// Gives the current program the FPU registers of a fresh one.
pub(crate) fn with_current_fpu<R>(f: impl FnOnce(&mut FpuArea) -> R) -> R {
    let task = current();
    irq::without(|| {
        switch::become_user_task();
        // SAFETY: the current task's area is only touched by its own CPU; interrupts are off, so that no switch is near.
        match unsafe { &mut *task.user.fpu.get() } {
            Some(area) => f(area),
            None => unreachable!("a user task has an area"),
        }
    })
}

/// Gives the current program the segment selectors of a fresh one. Its bases are to be loaded again.
pub(crate) fn clear_selectors() {
    irq::without(switch::clear_selectors);
}

/// Takes the time-stamp counter away from the current program, or gives it back.
pub(crate) fn set_no_tsc(no_tsc: bool) {
    let task = current();
    irq::without(|| {
        task.user.no_tsc.set(no_tsc);
        crate::arch::x86::features::trap_tsc(no_tsc);
    });
}

/// Makes a task of the boot code of this CPU, which becomes its idle task.
pub(crate) fn init_this_cpu() {
    let task = Task::adopt_current();
    cpu_local::local().set_idle_task(task);
    cpu_local::set_current_task(task);
}

/// The rest of the boot code's life: runs `main` in a task, and idles.
pub(crate) fn run_first_task(main: fn()) -> ! {
    let first = TaskBuilder::new(main).spawn();
    assert!(first.is_ok(), "no memory for the first task");
    drop(first);
    idle()
}

/// The idle loop of this CPU.
pub(crate) fn idle() -> ! {
    let local = cpu_local::local();
    loop {
        irq::save_and_disable();
        // Set before the queues are looked at: who gives us work after that look sees it and sends an interrupt, which
        // ends the `hlt` below.
        local.idle.store(true, Ordering::SeqCst);
        if switch::schedule(Outgoing::Idle) {
            continue;
        }
        // A program that ends on another CPU gets its memory freed only when this CPU has let go of it; and a CPU that
        // sleeps should not be woken to flush its TLB.
        if AddrSpace::is_any_active() {
            let old = AddrSpace::deactivate();
            irq::restore(true);
            drop(old);
            continue;
        }
        if !need_resched() {
            // SAFETY: interrupts are turned on by the first instruction and taken only after the second has begun, so
            // none is slept through.
            unsafe { core::arch::asm!("sti", "hlt", options(nomem, nostack)) };
        }
    }
}
