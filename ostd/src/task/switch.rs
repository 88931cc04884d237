//! The switch from one task to the next.
//!
//! *The hand-shake.* A task that parks is marked so first and switched away from then; a waker on another CPU may see the
//! mark in between. So `on_cpu` stays set until the next task has taken over the CPU ([`finish`]), and a waker waits for it
//! to clear before it gives the task to the policy. A task that gives way while it could run is given to the policy only
//! in [`finish`], for the same reason. Hence no task in the policy's queues is still running anywhere.
//!
//! *User state.* Segment bases and FPU registers of a task that has been in user mode are saved when it is switched out.
//! Loading is skipped when the FPU still holds what was saved: nobody else used it on this CPU, and the task did not run
//! elsewhere.
//!
//! Everything here runs with interrupts off.

use super::{EnqueueReason, Scheduler, Task, scheduler};
use crate::{
    arch::x86::{
        apic, cpu_local, features,
        fpu::FpuArea,
        selectors::{self, Selectors},
    },
    cpu::{self, CpuId, PerCpu},
    time, timer,
    user::context,
};
use alloc::sync::Arc;
use core::{
    arch::global_asm,
    ptr,
    sync::atomic::{AtomicU64, Ordering},
};

global_asm!(
    r#"
    // rdi: where to save the stack pointer; rsi: the stack pointer to go on with.
    .pushsection .text.switch, "ax", @progbits
    .balign 16
    .global switch_stacks
switch_stacks:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

    // The first instructions of a task: r12 is its body's entry, rbx what that takes.
    .balign 16
    .global task_start
task_start:
    mov rdi, rbx
    call r12
    ud2
    .popsection
    "#
);

unsafe extern "C" {
    fn switch_stacks(save: *mut usize, load: usize);
    fn task_start();
}

/// Words on the stack of a task that has not run yet: six registers and the return address.
const INITIAL_WORDS: usize = 7;

/// Prepares the stack of a new task whose first call is `entry(argument)`. Returns its stack pointer.
///
/// # Safety
/// `top` is a multiple of 16 and the end of at least a few hundred bytes of free stack.
pub(super) unsafe fn prepare_stack(
    top: usize,
    entry: unsafe extern "C" fn(*mut u8) -> !,
    argument: *mut u8,
) -> usize {
    // `task_start` is entered with the stack pointer at `top - 16`, so that its call has the alignment that the ABI wants.
    let rsp = top - 16 - INITIAL_WORDS * 8;
    let words = rsp as *mut usize;
    // SAFETY: the caller says that the memory is free stack. The order is that of the pops in `switch_stacks`.
    unsafe {
        words.add(0).write(0);
        words.add(1).write(0);
        words.add(2).write(0);
        words.add(3).write(entry as usize);
        words.add(4).write(argument as usize);
        words.add(5).write(0);
        words.add(6).write(task_start as *const () as usize);
        words.add(7).write(0);
        words.add(8).write(0);
    }
    rsp
}

/// What becomes of the task that is switched away from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// It is parked: a waker takes it from there.
    Parked,
    /// It goes back to the policy.
    Requeue(EnqueueReason),
    /// It is the idle task.
    Idle,
    /// It is finished.
    Exited,
}

/// Lets another task run. `Parked` and `Exited` come back only when somebody woke the task, or never; `Requeue` and `Idle`
/// come back at once if there is nothing else to run. Returns whether there was a switch.
pub(super) fn schedule(outgoing: Outgoing) -> bool {
    cpu_local::set_need_resched(false);
    let cpu = cpu::current();
    let policy = scheduler::policy();
    let now = time::now_ns();
    // SAFETY: a CPU that schedules runs a task.
    let prev = unsafe { &*cpu_local::current_task() };
    if !matches!(outgoing, Outgoing::Idle) {
        // The sum of a task that met no tick is taken for user time, as in `Task::cpu_times_ns`.
        account(prev, cpu, now, prev.user.active.get(), policy);
    }
    let current = match outgoing {
        Outgoing::Requeue(reason) => Some((prev, reason)),
        _ => None,
    };
    let next = match policy.pick_next(cpu, current) {
        Some(next) => Arc::into_raw(next),
        None => match outgoing {
            Outgoing::Idle => return false,
            Outgoing::Requeue(_) if prev.sched.may_run_on(cpu) => return false,
            // The idle task gives a task that may not stay here to the policy, which sends it elsewhere.
            Outgoing::Requeue(_) | Outgoing::Parked | Outgoing::Exited => cpu_local::local().idle_task(),
        },
    };
    // SAFETY: `next` owns itself while it is not finished; the idle task is never freed.
    let next = unsafe { &*next };
    prev.sched.exec_start.store(0, Ordering::Release);
    match outgoing {
        Outgoing::Parked => count(&prev.sched.voluntary_switches),
        Outgoing::Requeue(_) => count(&prev.sched.involuntary_switches),
        Outgoing::Idle | Outgoing::Exited => {}
    }
    let local = cpu_local::local();
    if ptr::eq(next, local.idle_task()) {
        timer::stop_tick();
    } else {
        local.idle.store(false, Ordering::Relaxed);
        next.sched.exec_start.store(now, Ordering::Relaxed);
        next.sched.set_last_cpu(cpu);
        timer::start_tick(now, || policy.tick_ns(cpu));
    }
    count(SWITCHES.on(cpu));
    switch_to(prev, next, outgoing);
    true
}

/// Switches of each CPU.
static SWITCHES: PerCpu<AtomicU64> = PerCpu::new([const { AtomicU64::new(0) }; cpu::MAX_CPUS]);

/// How often all CPUs together have switched from one task to another.
pub fn switches() -> u64 {
    cpu::all().map(|cpu| SWITCHES.on(cpu).load(Ordering::Relaxed)).sum()
}

fn count(counter: &AtomicU64) {
    // Only the CPU that runs the task counts.
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn switch_to(prev: &Task, next: &Task, outgoing: Outgoing) {
    let local = cpu_local::local();
    if prev.user.active.get() {
        if !matches!(outgoing, Outgoing::Exited) {
            save_user_state(prev);
        }
        if selectors::any() {
            take_selectors(prev);
        }
    }
    if next.user.active.get() {
        load_user_state(next);
    }
    if prev.user.no_tsc.get() {
        features::trap_tsc(false);
    }
    if next.user.no_tsc.get() {
        features::trap_tsc(true);
    }
    // SAFETY: `next` does not run anywhere, so its address space is only reached from here.
    if let Some(space) = unsafe { &*next.addr_space.get() } {
        space.activate();
    }
    let seen = next.user.cpu_seen.get();
    cpu_local::set_moved(seen != super::NOT_WATCHED && seen != cpu::current().as_usize() as u32);
    next.on_cpu.store(true, Ordering::Relaxed);
    cpu_local::set_current_task(next);
    local.set_handoff(prev, outgoing);
    // SAFETY: `next` was switched away from, or prepared, with this stack pointer; nobody else runs it (see the head of the
    // module). `prev` is not freed before `finish`, which runs after its registers were saved.
    unsafe { switch_stacks(prev.rsp.as_ptr(), next.rsp.get()) };
    finish();
}

/// Completes the switch, on the new task's stack.
pub(super) fn finish() {
    let (prev, outgoing) = cpu_local::local().take_handoff();
    // SAFETY: the task that was switched away from is alive until here: it is parked and owns itself, or is given on below.
    let task = unsafe { &*prev };
    // Release: who sees `false` (Acquire, in `unpark`) sees the saved registers. For the others nobody looks yet.
    task.on_cpu.store(false, Ordering::Release);
    match outgoing {
        Outgoing::Parked | Outgoing::Idle => {}
        Outgoing::Requeue(reason) => {
            // SAFETY: a running task owns one reference to itself, which goes to the policy.
            enqueue(unsafe { Arc::from_raw(prev) }, reason);
        }
        Outgoing::Exited => {
            // SAFETY: as above; this was its last switch, so that its stack is not used any more.
            unsafe {
                (*task.stack.get()).take();
                drop(Arc::from_raw(prev));
            }
        }
    }
}

/// Gives a task to the policy and notifies the CPU that should look at its queue.
pub(super) fn enqueue(task: Arc<Task>, reason: EnqueueReason) {
    if let Some(cpu) = scheduler::policy().enqueue(task, reason) {
        notify(cpu);
    }
}

/// Makes `cpu` look for another task to run.
pub(crate) fn notify(cpu: CpuId) {
    if cpu == cpu::current() {
        cpu_local::set_need_resched(true);
    } else {
        apic::send_to(cpu, apic::Ipi::Vector(apic::RESCHEDULE));
    }
}

/// The start of the running part while it is being added to the sum.
pub(super) const ACCOUNTING: u64 = u64::MAX;

/// What each CPU has spent on tasks: in user mode and in the kernel, ns.
static TIMES: PerCpu<[AtomicU64; 2]> =
    PerCpu::new([const { [const { AtomicU64::new(0) }; 2] }; crate::cpu::MAX_CPUS]);

/// The time that `cpu` has spent on programs in user mode, and in the kernel for them and its own tasks, in ns; the rest it
/// was idle. Which of the two a stretch of time belongs to is sampled. Neither goes back.
pub fn cpu_times_ns(cpu: CpuId) -> (u64, u64) {
    let [user, system] = TIMES.on(cpu).each_ref().map(|time| time.load(Ordering::Relaxed));
    (user, system)
}

/// Charges the running task, and the CPU, for the time since the last call.
#[inline]
fn account(task: &Task, cpu: CpuId, now: u64, user: bool, policy: &dyn Scheduler) {
    let entity = &task.sched;
    let ran = now.saturating_sub(entity.exec_start.load(Ordering::Relaxed));
    // Release, here and below: who sees the new sum does not see the old start, and the other way round; see
    // `Task::cpu_time_ns`.
    entity.exec_start.store(ACCOUNTING, Ordering::Release);
    entity.sum_exec.store(entity.sum_exec.load(Ordering::Relaxed) + ran, Ordering::Release);
    entity.exec_start.store(now, Ordering::Release);
    let spent = &TIMES.on(cpu)[usize::from(!user)];
    // No other CPU writes it.
    spent.store(spent.load(Ordering::Relaxed) + ran, Ordering::Relaxed);
    policy.account(cpu, task, ran);
}

/// The tick on this CPU. Returns the time until the next one.
pub(crate) fn tick(user: bool, now: u64) -> u64 {
    let task = cpu_local::current_task();
    if task.is_null() || ptr::eq(task, cpu_local::local().idle_task()) {
        return u64::MAX;
    }
    // SAFETY: it is the current task.
    let task = unsafe { &*task };
    let cpu = cpu::current();
    count(if user { &task.sched.user_ticks } else { &task.sched.system_ticks });
    let policy = scheduler::policy();
    account(task, cpu, now, user, policy);
    if policy.tick(cpu, task) {
        cpu_local::set_need_resched(true);
    }
    policy.tick_ns(cpu)
}

fn save_user_state(task: &Task) {
    let user = &task.user;
    // Without FSGSBASE a program can't change its bases: they are what was loaded.
    if features::get().fsgsbase {
        // SAFETY: checked; interrupts are off in a switch.
        let (fs_base, gs_base) = unsafe { context::read_bases_fast() };
        user.fs_base.set(fs_base);
        user.gs_base.set(gs_base);
    }
    // SAFETY: only the CPU that runs the task, this one, touches its area.
    if let Some(area) = unsafe { &mut *user.fpu.get() } {
        area.save();
    }
}

/// Takes the task's selectors out of the processor. Its bases have been saved.
#[cold]
fn take_selectors(task: &Task) {
    task.user.selectors.set(Selectors::read());
    // SAFETY: interrupts are off in a switch.
    unsafe { Selectors::NULL.load() };
}

fn load_user_state(task: &Task) {
    let user = &task.user;
    if !user.selectors.get().are_null() {
        // SAFETY: interrupts are off in a switch, and the task had them. The bases follow.
        unsafe { user.selectors.replace(Selectors::NULL).load() };
    }
    if features::get().fsgsbase {
        // SAFETY: checked; interrupts are off in a switch.
        unsafe { context::write_bases_fast(user.fs_base.get(), user.gs_base.get()) };
    } else {
        context::write_fs_base(user.fs_base.get());
        context::write_user_gs_base(user.gs_base.get());
    }
    let local = cpu_local::local();
    let cpu = cpu::current().as_usize() as u32;
    if ptr::eq(local.fpu_owner(), task) && user.fpu_cpu.get() == cpu {
        return;
    }
    // SAFETY: the task does not run anywhere else.
    if let Some(area) = unsafe { &*user.fpu.get() } {
        area.load();
    }
    local.set_fpu_owner(task);
    user.fpu_cpu.set(cpu);
}

/// The current task enters user mode for the first time: from now on its user state is kept over switches.
pub(crate) fn become_user_task() {
    // SAFETY: it is the current task.
    let task = unsafe { &*cpu_local::current_task() };
    let user = &task.user;
    if user.active.get() {
        return;
    }
    // SAFETY: only this CPU touches the area.
    let area = unsafe { &mut *user.fpu.get() };
    // Tasks that fork makes have an area by now; only the first programs get theirs here, at boot.
    let area = area.get_or_insert_with(|| FpuArea::new().expect("memory for the first program's FPU state"));
    area.load();
    cpu_local::local().set_fpu_owner(task);
    user.fpu_cpu.set(cpu::current().as_usize() as u32);
    user.active.set(true);
    if !user.selectors.get().are_null() {
        // SAFETY: interrupts are off, and the parent had them. The caller loads the bases.
        unsafe { user.selectors.replace(Selectors::NULL).load() };
    }
}

/// Gives the current program the selectors of a fresh one. Interrupts are off; the bases are lost.
pub(crate) fn clear_selectors() {
    if selectors::any() {
        // SAFETY: interrupts are off.
        unsafe { Selectors::NULL.load() };
    }
}

/// Remembers, after the bases were loaded from a context, what they are: without FSGSBASE they can't be read back.
pub(crate) fn set_bases(fs_base: u64, gs_base: u64) {
    // SAFETY: it is the current task.
    let user = unsafe { &(*cpu_local::current_task()).user };
    user.fs_base.set(fs_base);
    user.gs_base.set(gs_base);
}
