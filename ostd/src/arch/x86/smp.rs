//! More than one CPU: starting the others, asking them to do something, stopping them.
//!
//! *Start.* A CPU that gets INIT and STARTUP begins in real mode at a page below 1 MiB. The trampoline there takes it to
//! long mode on the boot page tables (which have the page mapped where it is), then to the kernel's own tables and to
//! [`ap_main`] on the stack of its idle task. CPUs are started one after the other.
//!
//! *Calls.* [`call_on`] leaves the function in the caller's slot and sends an interrupt; who gets one looks at all slots.
//! While a CPU waits for the answers it answers the others, so two that call each other do not wait for ever.
//!
//! *Stop.* A panic sends NMIs, which reach CPUs with interrupts off too.

use super::{
    apic::{self, Ipi},
    boot, cpu_local, features, gdt, io,
    madt::Madt,
    trap,
};
use crate::{
    cpu::{self, CpuId, CpuSet, MAX_CPUS},
    irq,
    mm::{self, KStack, Paddr, paddr_to_vaddr},
    task, time,
};
use alloc::alloc::alloc_zeroed;
use core::{
    arch::global_asm,
    cell::UnsafeCell,
    mem,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

/// The page that the others start at. It is kept from the frame allocator.
pub(crate) const TRAMPOLINE: Paddr = 0x8000;
/// Where in that page the GDT pointer and what the CPU has to load are.
const GDT_AT: usize = 0xf00;
const GDT_POINTER_AT: usize = 0xf20;
const BOOT_PML4_AT: usize = 0xf40;
const KERNEL_PML4_AT: usize = 0xf48;
const STACK_AT: usize = 0xf50;
const ENTRY_AT: usize = 0xf58;

global_asm!(
    r#"
    .pushsection .rodata.trampoline, "a", @progbits
    .balign 16
    .global trampoline_start
trampoline_start:
    .code16
    cli
    cld
    xor ax, ax
    mov ds, ax
    // lgdt [0x8f20], with a 32-bit base
    .byte 0x66, 0x0f, 0x01, 0x16
    .word {page} + {gdt_pointer}
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    // mov eax, [0x8f40]
    .byte 0x66, 0xa1
    .word {page} + {boot_pml4}
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x900
    wrmsr
    mov eax, cr0
    and eax, 0x9fffffff
    or eax, 0x80010001
    mov cr0, eax
    // A far jump to 64-bit code.
    .byte 0x66, 0xea
    .long {page} + (2f - trampoline_start)
    .word 8
    .code64
2:
    xor eax, eax
    mov ds, eax
    mov es, eax
    mov ss, eax
    mov fs, eax
    mov gs, eax
    mov ebx, {page}
    mov rdi, [rbx + {kernel_pml4}]
    mov rsi, [rbx + {stack}]
    mov rax, [rbx + {entry}]
    jmp rax
    .global trampoline_end
trampoline_end:
    .popsection

    // In the kernel's image, which both page tables have. rdi: page tables; rsi: stack.
    .pushsection .text.ap_entry, "ax", @progbits
    .global ap_entry
ap_entry:
    mov cr3, rdi
    mov rsp, rsi
    xor ebp, ebp
    call {ap_main}
    ud2
    .popsection
    "#,
    page = const TRAMPOLINE,
    gdt_pointer = const GDT_POINTER_AT,
    boot_pml4 = const BOOT_PML4_AT,
    kernel_pml4 = const KERNEL_PML4_AT,
    stack = const STACK_AT,
    entry = const ENTRY_AT,
    ap_main = sym ap_main,
);

unsafe extern "C" {
    static trampoline_start: u8;
    static trampoline_end: u8;
    fn ap_entry();
}

/// The local APIC ids of the CPUs that can be started.
static APS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];
static NUM_APS: AtomicUsize = AtomicUsize::new(0);

/// Notes which other CPUs there are.
pub(crate) fn init(madt: &Madt) {
    let own = apic::own_id();
    let others = madt.cpus().iter().filter(|id| **id != own).take(MAX_CPUS - 1);
    let mut count = 0;
    for (slot, id) in APS.iter().zip(others) {
        slot.store(*id, Ordering::Relaxed);
        count += 1;
    }
    NUM_APS.store(count, Ordering::Relaxed);
}

/// The number that the CPU that starts gets, and its interrupt stacks.
static STARTING: AtomicU32 = AtomicU32::new(0);
static STARTING_IST: AtomicUsize = AtomicUsize::new(0);

/// The other CPUs run, or are about to.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Whether there may be other CPUs that run.
pub(crate) fn has_started() -> bool {
    STARTED.load(Ordering::Relaxed)
}

/// Starts the other CPUs. One that does not answer is left out, and so are those after it: it may be slow instead of dead,
/// and will find its stack and its number where the next would have to get theirs.
pub(crate) fn start_aps() {
    if STARTED.swap(true, Ordering::Relaxed) {
        return;
    }
    let count = NUM_APS.load(Ordering::Relaxed);
    if count == 0 {
        return;
    }
    prepare_trampoline();
    for slot in &APS[..count] {
        let apic_id = slot.load(Ordering::Relaxed);
        if let Err(why) = start(apic_id) {
            log::error!("CPU with APIC id {apic_id} and those after it are not used: {why}");
            break;
        }
    }
}

fn trampoline_field(at: usize) -> *mut u64 {
    paddr_to_vaddr(TRAMPOLINE + at) as *mut u64
}

fn prepare_trampoline() {
    // SAFETY: the page is ours: memory below 1 MiB is not given to the allocator. The code is shorter than the page's
    // first part.
    unsafe {
        let code = &raw const trampoline_start;
        let len = (&raw const trampoline_end) as usize - code as usize;
        core::ptr::copy_nonoverlapping(code, paddr_to_vaddr(TRAMPOLINE) as *mut u8, len);
        trampoline_field(GDT_AT).write(0);
        trampoline_field(GDT_AT + 8).write(0x00af_9a00_0000_ffff);
        trampoline_field(GDT_AT + 16).write(0x00cf_9200_0000_ffff);
        trampoline_field(GDT_POINTER_AT).write(((TRAMPOLINE + GDT_AT) as u64) << 16 | 23);
        trampoline_field(BOOT_PML4_AT).write(boot::pml4() as u64);
        trampoline_field(KERNEL_PML4_AT).write(mm::kernel_root() as u64);
        trampoline_field(ENTRY_AT).write(ap_entry as *const () as u64);
    }
}

fn start(apic_id: u32) -> Result<(), &'static str> {
    let cpu = CpuId::new(cpu::num_cpus()).ok_or("too many")?;
    let stack = KStack::new().map_err(|_| "no memory")?;
    let layout = alloc::alloc::Layout::new::<gdt::IstStacks>();
    // SAFETY: the layout's size is not 0.
    let ist = unsafe { alloc_zeroed(layout) };
    if ist.is_null() {
        return Err("no memory");
    }
    // SAFETY: the page is ours, and no other CPU starts at the moment.
    unsafe { trampoline_field(STACK_AT).write(stack.top() as u64) };
    STARTING.store(cpu.as_usize() as u32, Ordering::Relaxed);
    STARTING_IST.store(ist as usize, Ordering::Relaxed);
    // The stack is the CPU's from now on, or lost if it does not come up.
    mem::forget(stack);

    let online = &cpu_local::of(cpu).online;
    apic::send(apic_id, Ipi::Init);
    wait_ns(100_000);
    // Twice, as the processor's manual says; the second has no effect on one that has started. That one answers takes as long
    // as a hypervisor that has other things to do likes.
    for patience_ns in [1_000_000, 30_000_000_000] {
        apic::send(apic_id, Ipi::Startup { page: (TRAMPOLINE >> 12) as u8 });
        let deadline = time::now_ns() + patience_ns;
        while time::now_ns() < deadline {
            // Acquire pairs with the Release in `ap_main`.
            if online.load(Ordering::Acquire) {
                return Ok(());
            }
            core::hint::spin_loop();
        }
    }
    Err("it does not start")
}

fn wait_ns(ns: u64) {
    let deadline = time::now_ns() + ns;
    while time::now_ns() < deadline {
        core::hint::spin_loop();
    }
}

/// The first Rust function of another CPU, on the stack of its idle task.
extern "C" fn ap_main() -> ! {
    let Some(cpu) = CpuId::new(STARTING.load(Ordering::Relaxed) as usize) else { io::halt_forever() };
    // SAFETY: `start` gave this CPU a number and stacks of its own; interrupts are off.
    unsafe {
        cpu_local::install(cpu);
        trap::load(STARTING_IST.load(Ordering::Relaxed) as *mut gdt::IstStacks);
    }
    features::enable();
    crate::user::context::init_this_cpu();
    apic::init_this_cpu();
    task::init_this_cpu();
    cpu::add_online();
    // Release: who sees this CPU online sees it set up.
    cpu_local::local().online.store(true, Ordering::Release);
    task::idle()
}

/// A function that other CPUs are asked to run.
struct CallSlot {
    /// The CPUs that have not answered yet.
    pending: AtomicU64,
    /// Valid while `pending` is not empty.
    function: UnsafeCell<Option<&'static (dyn Fn() + Sync)>>,
}

// SAFETY: `function` is written by the slot's CPU while `pending` is empty, and read by CPUs whose bit is set.
unsafe impl Sync for CallSlot {}

static CALLS: [CallSlot; MAX_CPUS] =
    [const { CallSlot { pending: AtomicU64::new(0), function: UnsafeCell::new(None) } }; MAX_CPUS];

/// See [`cpu::call_on`].
pub(crate) fn call_on(set: CpuSet, f: &(dyn Fn() + Sync)) {
    let own = cpu::current();
    let others = set.without(own);
    if !others.is_empty() {
        call_others(own, others, f);
    }
    if set.contains(own) {
        irq::without(f);
    }
}

fn call_others(own: CpuId, others: CpuSet, f: &(dyn Fn() + Sync)) {
    let slot = &CALLS[own.as_usize()];
    // SAFETY: the lifetime is not 'static, but nobody uses the reference once `pending` is empty, which is awaited below.
    let f: &'static (dyn Fn() + Sync) = unsafe { mem::transmute(f) };
    // A function that calls on others itself would find the slot in use.
    assert!(slot.pending.load(Ordering::Relaxed) == 0, "a call to other CPUs within another");
    // SAFETY: `pending` is empty, so nobody looks.
    unsafe { *slot.function.get() = Some(f) };
    // Release: who sees its bit sees the function, and what the caller did before.
    slot.pending.store(others.0, Ordering::Release);
    for target in cpu::all().filter(|cpu| others.contains(*cpu)) {
        apic::send_to(target, Ipi::Vector(apic::CALL));
    }
    // Acquire pairs with the Release in `handle_calls`: what the others did is visible afterwards.
    while slot.pending.load(Ordering::Acquire) != 0 {
        irq::without(handle_calls);
        core::hint::spin_loop();
    }
}

/// Answers the calls to this CPU. Interrupts are off.
pub(crate) fn handle_calls() {
    let own = 1u64 << cpu::current().as_usize();
    for slot in &CALLS[..cpu::num_cpus()] {
        // Acquire pairs with the Release in `call_others`.
        if slot.pending.load(Ordering::Acquire) & own == 0 {
            continue;
        }
        // SAFETY: the bit is set, so the function is there and stays until it is cleared.
        if let Some(f) = unsafe { *slot.function.get() } {
            f();
        }
        // Release: see `call_others`.
        slot.pending.fetch_and(!own, Ordering::Release);
    }
}

/// Interrupts a CPU for nothing but to make it leave user mode.
pub(crate) fn interrupt(cpu: CpuId) {
    apic::send_to(cpu, Ipi::Vector(apic::CALL));
}

static STOPPING: AtomicBool = AtomicBool::new(false);

/// Stops all other CPUs for good. Returns false if somebody else has done so before.
pub(crate) fn stop_others() -> bool {
    if STOPPING.swap(true, Ordering::SeqCst) {
        return false;
    }
    for cpu in cpu::all().filter(|cpu| *cpu != cpu::current()) {
        apic::send_to(cpu, Ipi::Nmi);
    }
    true
}

/// The non-maskable interrupt.
pub(crate) fn handle_nmi() {
    if STOPPING.load(Ordering::SeqCst) {
        io::halt_forever();
    }
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;
    use crate::{ktest::ktest, task::TaskBuilder, task::yield_now};
    use alloc::sync::Arc;

    #[ktest]
    fn calls_reach_every_cpu() {
        let mut set = CpuSet::default();
        for cpu in cpu::all() {
            set.0 |= 1 << cpu.as_usize();
        }
        for _ in 0..100 {
            let seen = AtomicU64::new(0);
            cpu::call_on(set, &|| {
                assert!(!irq::enabled());
                seen.fetch_or(1 << cpu::current().as_usize(), Ordering::SeqCst);
            });
            assert_eq!(seen.load(Ordering::SeqCst), set.0);
        }
        assert_eq!(cpu::num_cpus(), NUM_APS.load(Ordering::Relaxed) + 1, "a CPU did not start");
    }

    /// CPUs that call one another at the same time must not wait for ever.
    #[ktest]
    fn calls_may_cross() {
        let running = Arc::new(AtomicUsize::new(4));
        for _ in 0..4 {
            let running = running.clone();
            let body = move || {
                for round in 0..200 {
                    let mut set = CpuSet::default();
                    for cpu in cpu::all() {
                        set.0 |= 1 << cpu.as_usize();
                    }
                    let seen = AtomicUsize::new(0);
                    cpu::call_on(set, &|| {
                        seen.fetch_add(1, Ordering::SeqCst);
                    });
                    assert_eq!(seen.load(Ordering::SeqCst), cpu::num_cpus());
                    if round % 8 == 0 {
                        yield_now();
                    }
                }
                running.fetch_sub(1, Ordering::AcqRel);
            };
            TaskBuilder::new(body).spawn().unwrap();
        }
        while running.load(Ordering::Acquire) > 0 {
            yield_now();
        }
    }
}
