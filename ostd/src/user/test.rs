//! Tests of user mode: small programs in machine code, run by a task of their own.

use super::*;
use crate::{
    cpu,
    ktest::ktest,
    mm::{AddrSpace, AllocClass, Frame, PAGE_SIZE, PageFlags},
    task::{self, TaskBuilder, yield_now},
    time,
};
use alloc::sync::Arc;
use core::{
    arch::global_asm,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

const CODE: usize = 0x1_0000;
const DATA: usize = 0x2_0000;

global_asm!(
    r#"
    .pushsection .rodata.user_test, "a", @progbits
    .global user_test_code, user_test_syscall, user_test_spin, user_test_bad_opcode, user_test_divide, user_test_privileged, user_test_read, user_test_write, user_test_count, user_test_fpu, user_test_read_fs, user_test_xmm0, user_test_end
user_test_code:

user_test_syscall:
    syscall
    int3

user_test_spin:
    jmp user_test_spin

user_test_bad_opcode:
    ud2

user_test_divide:
    xor ecx, ecx
    div ecx

user_test_privileged:
    hlt

user_test_read:
    mov rax, [rdi]
    syscall

user_test_write:
    mov [rdi], rax
    syscall

    // Adds to a counter at rdi until reading it faults.
user_test_count:
    inc qword ptr [rdi]
    mov rax, [rsi]
    jmp user_test_count

    // Fills the vector registers with rdi, syscalls, and compares: rax tells how many differ.
user_test_fpu:
    movq xmm0, rdi
    movq xmm7, rdi
    movq xmm15, rdi
    push rdi
    fild qword ptr [rsp]
    mov r12d, 200
2:
    syscall
    xor eax, eax
    movq rdx, xmm0
    cmp rdx, rdi
    setne al
    mov ebx, eax
    movq rdx, xmm7
    cmp rdx, rdi
    setne al
    add ebx, eax
    movq rdx, xmm15
    cmp rdx, rdi
    setne al
    add ebx, eax
    fld st(0)
    fistp qword ptr [rsp]
    mov rdx, [rsp]
    cmp rdx, rdi
    setne al
    add ebx, eax
    test ebx, ebx
    jnz 3f
    dec r12d
    jnz 2b
3:
    int3

user_test_read_fs:
    mov rax, fs:[8]
    mov rbx, gs:[16]
    syscall

user_test_xmm0:
    movq rax, xmm0
    syscall
    movq xmm0, rdi
    syscall

user_test_end:
    .popsection
    "#
);

macro_rules! programs {
    ($($name:ident),* $(,)?) => {
        unsafe extern "C" {
            static user_test_code: u8;
            static user_test_end: u8;
            $(static $name: u8;)*
        }
    };
}
programs!(
    user_test_syscall,
    user_test_spin,
    user_test_bad_opcode,
    user_test_divide,
    user_test_privileged,
    user_test_read,
    user_test_write,
    user_test_count,
    user_test_fpu,
    user_test_read_fs,
    user_test_xmm0,
);

/// The address that a program has in user memory.
macro_rules! at {
    ($name:ident) => {
        CODE + (&raw const $name) as usize - (&raw const user_test_code) as usize
    };
}

/// An address space with all programs at `CODE` and a page of zeros at `DATA`.
fn new_space() -> Arc<AddrSpace> {
    let space = AddrSpace::new().unwrap();
    let start = &raw const user_test_code;
    let len = (&raw const user_test_end) as usize - start as usize;
    assert!(len <= PAGE_SIZE);
    // SAFETY: the two symbols are around read-only bytes.
    let bytes = unsafe { core::slice::from_raw_parts(start, len) };
    let code = Frame::zeroed(AllocClass::User).unwrap();
    code.write(0, bytes);
    let data = Frame::zeroed(AllocClass::User).unwrap();
    let mut mapper = space.lock();
    mapper.map(CODE, code, PageFlags::READ | PageFlags::EXEC).unwrap();
    mapper.map(DATA, data, PageFlags::READ | PageFlags::WRITE).unwrap();
    drop(mapper);
    space
}

/// Runs `body` in a task that has `space`, to its end.
fn with_space(space: Arc<AddrSpace>, body: impl FnOnce() + Send + 'static) {
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    let task = move || {
        body();
        task::set_addr_space(None);
        flag.store(true, Ordering::Release);
    };
    TaskBuilder::new(task).addr_space(space).spawn().unwrap();
    while !done.load(Ordering::Acquire) {
        yield_now();
    }
}

/// Enters until something else than an interrupt happens.
fn run(context: &mut UserContext) -> UserExit {
    loop {
        match context.execute(|| false) {
            UserExit::Interrupt => {
                task::schedule_if_needed();
            }
            exit => return exit,
        }
    }
}

fn start_at(rip: usize) -> UserContext {
    let mut context = UserContext::new();
    context.set_rip(rip);
    context.set_rsp(DATA + PAGE_SIZE);
    context
}

fn vector(exit: UserExit) -> u8 {
    match exit {
        UserExit::Exception(info) => info.vector,
        other => panic!("{other:?} instead of an exception"),
    }
}

/// Every general register different.
fn distinct_regs(seed: u64) -> GeneralRegs {
    let n = |i: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(i * 0x0123_4567_89ab_cdef);
    GeneralRegs {
        r15: n(1),
        r14: n(2),
        r13: n(3),
        r12: n(4),
        rbp: n(5),
        rbx: n(6),
        r11: n(7),
        r10: n(8),
        r9: n(9),
        r8: n(10),
        rax: n(11),
        rcx: n(12),
        rdx: n(13),
        rsi: n(14),
        rdi: n(15),
    }
}

#[ktest]
fn syscall_round_trip_keeps_every_register() {
    with_space(new_space(), || {
        let mut context = start_at(at!(user_test_syscall));
        context.regs = distinct_regs(1);
        context.set_rflags(0x8d5);
        assert_eq!(run(&mut context), UserExit::Syscall);
        let mut expected = distinct_regs(1);
        assert_eq!(context.orig_rax(), expected.rax as i64);
        assert_eq!(context.rip(), at!(user_test_syscall) + 2);
        assert_eq!(context.rsp(), DATA + PAGE_SIZE);
        assert_eq!(context.rflags(), 0x8d5 | 0x202);
        expected.rcx = context.rip() as u64;
        expected.r11 = context.rflags();
        assert_eq!(context.regs, expected);
        // Back by sysret: all but rcx and r11 are what the kernel puts there.
        context.regs = distinct_regs(2);
        context.set_rflags(0);
        assert_eq!(vector(run(&mut context)), 3);
        let mut expected = distinct_regs(2);
        expected.rcx = context.regs.rcx;
        expected.r11 = context.regs.r11;
        assert_eq!(context.regs, expected);
        assert_eq!(context.orig_rax(), -1);
        assert_eq!(context.rip(), at!(user_test_syscall) + 3);
        assert_eq!((context.cs(), context.ss()), (0x33, 0x2b));
    });
}

#[ktest]
fn full_restore_sets_rcx_and_r11_too() {
    with_space(new_space(), || {
        let mut context = start_at(at!(user_test_syscall));
        assert_eq!(run(&mut context), UserExit::Syscall);
        context.regs = distinct_regs(3);
        context.restore_all();
        assert_eq!(vector(run(&mut context)), 3);
        assert_eq!(context.regs, distinct_regs(3));
    });
}

#[ktest]
fn interrupt_keeps_every_register() {
    with_space(new_space(), || {
        let mut context = start_at(at!(user_test_spin));
        context.regs = distinct_regs(4);
        let fired = Arc::new(AtomicBool::new(false));
        let flag = fired.clone();
        let timer = crate::timer::Timer::new(move || flag.store(true, Ordering::Release));
        timer.arm(time::now_ns() + 300_000);
        while !fired.load(Ordering::Acquire) {
            assert_eq!(context.execute(|| false), UserExit::Interrupt);
            task::schedule_if_needed();
        }
        assert_eq!(context.regs, distinct_regs(4));
        assert_eq!(context.rip(), at!(user_test_spin));
        assert!(crate::irq::enabled());
    });
}

#[ktest]
fn work_is_done_before_entering() {
    with_space(new_space(), || {
        let mut context = start_at(at!(user_test_syscall));
        assert_eq!(context.execute(|| true), UserExit::Interrupt);
        assert_eq!(context.rip(), at!(user_test_syscall));
        assert!(crate::irq::enabled());
        assert_eq!(run(&mut context), UserExit::Syscall);
    });
}

#[ktest]
fn exceptions_tell_what_happened() {
    with_space(new_space(), || {
        assert_eq!(vector(run(&mut start_at(at!(user_test_bad_opcode)))), 6);
        assert_eq!(vector(run(&mut start_at(at!(user_test_divide)))), 0);
        assert_eq!(vector(run(&mut start_at(at!(user_test_privileged)))), 13);
        let mut context = start_at(at!(user_test_read));
        context.regs.rdi = 0x77_7000;
        let expected = ExceptionInfo { vector: 14, error_code: 4, fault_addr: 0x77_7000 };
        assert_eq!(run(&mut context), UserExit::Exception(expected));
        assert_eq!(context.rip(), at!(user_test_read));
        let mut context = start_at(at!(user_test_write));
        context.regs.rdi = CODE as u64;
        let expected = ExceptionInfo { vector: 14, error_code: 7, fault_addr: CODE };
        assert_eq!(run(&mut context), UserExit::Exception(expected));
        // Kernel memory is out of reach, and so is executing data.
        context.regs.rdi = 0xffff_8000_0000_0000;
        assert_eq!(vector(run(&mut context)), 14);
        let mut context = start_at(DATA);
        let expected = ExceptionInfo { vector: 14, error_code: 0x15, fault_addr: DATA };
        assert_eq!(run(&mut context), UserExit::Exception(expected));
    });
}

#[ktest]
fn single_step_ends_after_one_instruction() {
    with_space(new_space(), || {
        let mut context = start_at(at!(user_test_divide));
        context.set_rflags(1 << 8);
        assert_eq!(vector(run(&mut context)), 1);
        assert_eq!(context.rip(), at!(user_test_divide) + 2);
        context.set_rflags(0);
        assert_eq!(vector(run(&mut context)), 0);
    });
}

#[ktest]
fn illegal_addresses_and_flags_are_refused() {
    with_space(new_space(), || {
        let mut context = start_at(at!(user_test_syscall));
        context.set_rflags(u64::MAX);
        // No I/O privilege, no virtual interrupts, no nested task; interrupts stay on.
        assert_eq!(context.rflags() & (3 << 12 | 1 << 14 | 1 << 17), 0);
        assert!(context.rflags() & 1 << 9 != 0);
        context.set_rflags(0);
        assert_eq!(run(&mut context), UserExit::Syscall);
        // A place that is no address is a general protection fault; in the kernel's half there is nothing for programs.
        for (rip, what) in
            [(1 << 47, 13), (usize::MAX >> 1, 13), (usize::MAX, 14), (0xffff_8000_0000_0000, 14)]
        {
            context.set_rip(rip);
            assert_eq!(vector(run(&mut context)), what);
        }
        context.set_rip(at!(user_test_syscall));
        assert_eq!(run(&mut context), UserExit::Syscall);
        assert_eq!(context.set_fs_base(0xffff_8000_0000_0000), Err(context::BadBase));
    });
}

#[ktest]
fn segment_bases_survive_switches() {
    let space = new_space();
    with_space(space, || {
        user_words(|i| 0x1000 + i as u64);
        let mut context = start_at(at!(user_test_read_fs));
        context.set_fs_base(DATA).unwrap();
        context.set_gs_base(DATA + 8).unwrap();
        for _ in 0..20 {
            context.set_rip(at!(user_test_read_fs));
            assert_eq!(run(&mut context), UserExit::Syscall);
            assert_eq!((context.regs.rax, context.regs.rbx), (0x1001, 0x1003));
            yield_now();
        }
        let mut child = context.fork();
        assert_eq!((child.fs_base(), child.gs_base()), (DATA, DATA + 8));
        child.set_fs_base(DATA + 16).unwrap();
        assert_eq!((child.fs_base(), child.gs_base()), (DATA + 16, DATA + 8));
        assert_eq!(context.fs_base(), DATA);
    });
}

fn user_words(word: impl Fn(usize) -> u64) {
    for i in 0..8 {
        mem::write(DATA + i * 8, &word(i)).unwrap();
    }
}

#[ktest]
fn fpu_registers_of_tasks_do_not_mix() {
    const TASKS: u64 = 6;
    let running = Arc::new(AtomicUsize::new(TASKS as usize));
    for number in 0..TASKS {
        let running = running.clone();
        let body = move || {
            let mut context = start_at(at!(user_test_fpu));
            context.regs.rdi = 1000 + number;
            loop {
                match run(&mut context) {
                    UserExit::Syscall => yield_now(),
                    exit => {
                        assert_eq!(vector(exit), 3);
                        break;
                    }
                }
            }
            assert_eq!(context.regs.rbx, 0, "FPU registers changed");
            assert_eq!(context.regs.r12, 0);
            running.fetch_sub(1, Ordering::AcqRel);
        };
        TaskBuilder::new(body).addr_space(new_space()).spawn().unwrap();
    }
    while running.load(Ordering::Acquire) > 0 {
        yield_now();
    }
}

#[ktest]
fn fpu_state_goes_through_a_signal_frame() {
    with_space(new_space(), || {
        let mut context = start_at(at!(user_test_xmm0));
        assert_eq!(run(&mut context), UserExit::Syscall);
        assert_eq!(context.regs.rax, 0, "a fresh program has fresh registers");
        context.regs.rdi = 0x1234_5678;
        assert_eq!(run(&mut context), UserExit::Syscall);
        let area = DATA + 1024;
        assert!(fpu::size() <= PAGE_SIZE - 1024);
        fpu::save_to_user(area, &[7; 6], 0x1234_5678).unwrap();
        assert_eq!(mem::read::<[u64; 6]>(area + 464), Ok([7; 6]));
        assert_eq!(mem::read::<u32>(area + fpu::size()), Ok(0x1234_5678));
        let read_xmm0 = |context: &mut UserContext| {
            context.set_rip(at!(user_test_xmm0));
            context.set_rsp(DATA + 512);
            assert_eq!(run(context), UserExit::Syscall);
            context.regs.rax
        };
        fpu::reset();
        assert_eq!(read_xmm0(&mut context), 0);
        for extended in [true, false] {
            fpu::reset();
            fpu::restore_from_user(area, extended).unwrap();
            assert_eq!(read_xmm0(&mut context), 0x1234_5678);
        }
        // Memory that is not there is refused, and so is what the processor does not take; then the registers are fresh.
        for bad in [area + 8, CODE - 64, 0xffff_8000_0000_0000, usize::MAX & !63] {
            assert_eq!(fpu::save_to_user(bad, &[0; 6], 0), Err(mem::UserFault));
        }
        assert_eq!(read_xmm0(&mut context), 0x1234_5678);
        if fpu::size() > 512 {
            mem::write(area + 519, &0xffu8).unwrap();
            assert_eq!(fpu::restore_from_user(area, true), Err(mem::UserFault));
            assert_eq!(read_xmm0(&mut context), 0);
        }
    });
}

#[ktest]
fn child_inherits_the_fpu_registers() {
    with_space(new_space(), || {
        let mut context = start_at(at!(user_test_xmm0));
        assert_eq!(run(&mut context), UserExit::Syscall);
        context.regs.rdi = 77;
        assert_eq!(run(&mut context), UserExit::Syscall);
        let seen = Arc::new(AtomicUsize::new(0));
        let result = seen.clone();
        let child = move || {
            let mut context = start_at(at!(user_test_xmm0));
            assert_eq!(run(&mut context), UserExit::Syscall);
            result.store(context.regs.rax as usize, Ordering::Release);
        };
        TaskBuilder::new(child).inherit_fpu().addr_space(new_space()).spawn().unwrap();
        while seen.load(Ordering::Acquire) == 0 {
            yield_now();
        }
        assert_eq!(seen.load(Ordering::Acquire), 77);
    });
}

#[ktest]
fn kick_ends_a_stay_in_user_mode() {
    let work = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicBool::new(false));
    let (seen, flag) = (work.clone(), done.clone());
    let body = move || {
        let mut context = start_at(at!(user_test_spin));
        while !seen.load(Ordering::Acquire) {
            assert_eq!(context.execute(|| seen.load(Ordering::Acquire)), UserExit::Interrupt);
            task::schedule_if_needed();
        }
        flag.store(true, Ordering::Release);
    };
    let task = TaskBuilder::new(body).addr_space(new_space()).spawn().unwrap();
    let start = time::now_ns();
    while time::now_ns() < start + 1_000_000 {
        yield_now();
    }
    work.store(true, Ordering::Release);
    task.kick();
    while !done.load(Ordering::Acquire) {
        yield_now();
    }
}

/// A program on another CPU reads a page; after the page was unmapped here and the mapper is gone, it must fault.
#[ktest]
fn unmapping_reaches_other_cpus() {
    if cpu::num_cpus() < 2 {
        return;
    }
    const PAGE: usize = 0x30_0000;
    for _ in 0..20 {
        let space = new_space();
        let frame = Frame::zeroed(AllocClass::User).unwrap();
        space.lock().map(PAGE, frame.clone(), PageFlags::READ).unwrap();
        let data = space.lock().query(DATA).unwrap().0;
        let count = || {
            let mut bytes = [0; 8];
            data.read(0, &mut bytes);
            u64::from_le_bytes(bytes)
        };
        let faulted = Arc::new(AtomicUsize::new(0));
        let result = faulted.clone();
        let body = move || {
            let mut context = start_at(at!(user_test_count));
            context.regs.rdi = DATA as u64;
            context.regs.rsi = PAGE as u64;
            match run(&mut context) {
                UserExit::Exception(info) => result.store(info.fault_addr, Ordering::Release),
                exit => panic!("{exit:?}"),
            }
        };
        let task = TaskBuilder::new(body).addr_space(space.clone()).spawn().unwrap();
        // This task keeps its CPU, so the program runs on another one.
        while count() < 100 || !task.is_running() {
            core::hint::spin_loop();
        }
        assert!(task.sched.last_cpu() != cpu::current());
        let mut mapper = space.lock();
        assert_eq!(mapper.unmap(PAGE..PAGE + PAGE_SIZE), 1);
        drop(mapper);
        // From here on the program can read the page once more at most: the count it is at, and no further.
        let after = count();
        let start = time::now_ns();
        while faulted.load(Ordering::Acquire) == 0 {
            assert!(time::now_ns() < start + 60_000_000_000, "the other CPU still sees the page");
            core::hint::spin_loop();
        }
        assert_eq!(faulted.load(Ordering::Acquire), PAGE);
        assert!(count() <= after + 1);
        assert_eq!(frame.refcount(), 1);
    }
}

/// CPUs that idle do not hold on to the address space of a program that has ended elsewhere.
#[ktest]
fn address_space_goes_when_its_last_task_ends() {
    let space = new_space();
    let running = Arc::new(AtomicUsize::new(8));
    for _ in 0..8 {
        let running = running.clone();
        let body = move || {
            let mut context = start_at(at!(user_test_syscall));
            assert_eq!(run(&mut context), UserExit::Syscall);
            task::park_until(time::now_ns() + 200_000);
            running.fetch_sub(1, Ordering::AcqRel);
        };
        TaskBuilder::new(body).addr_space(space.clone()).spawn().unwrap();
    }
    let deadline = time::now_ns() + 60_000_000_000;
    while Arc::strong_count(&space) > 1 {
        assert!(time::now_ns() < deadline, "{} references are left", Arc::strong_count(&space));
        task::park_until(time::now_ns() + 100_000);
    }
    assert_eq!(running.load(Ordering::Acquire), 0);
}
