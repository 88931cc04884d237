//! The local APIC of each CPU (interrupts between CPUs, the timer) and the I/O APICs (device lines).
//!
//! Registers are reached through memory (xAPIC), or through MSRs (x2APIC) when the processor has that. Vectors: device
//! lines from [`FIRST_LINE`] by global interrupt number, and the CPU's own ones at the top.

use super::{cpu_local, features, madt::Madt};
use crate::{
    cpu::{CpuId, MAX_CPUS, PerCpu},
    irq,
    mm::{self, OutOfMemory, Vaddr},
    sync::{IrqSpinLock, ranks},
};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// The vector of global interrupt 0.
const FIRST_LINE: u8 = 0x30;
/// How many device lines can be routed.
const LINES: usize = 128;
pub(crate) const TIMER: u8 = 0xf0;
pub(crate) const RESCHEDULE: u8 = 0xf1;
pub(crate) const CALL: u8 = 0xf2;
const ERROR: u8 = 0xfe;
const SPURIOUS: u8 = 0xff;

pub(crate) const MAX_IO_APICS: usize = 8;

// Registers: the number is the MSR's distance from 0x800, and the memory offset divided by 16.
const ID: u32 = 0x02;
const TASK_PRIORITY: u32 = 0x08;
const EOI: u32 = 0x0b;
const SPURIOUS_VECTOR: u32 = 0x0f;
const ERROR_STATUS: u32 = 0x28;
const COMMAND_LOW: u32 = 0x30;
const COMMAND_HIGH: u32 = 0x31;
const LVT_TIMER: u32 = 0x32;
const LVT_LINT0: u32 = 0x35;
const LVT_LINT1: u32 = 0x36;
const LVT_ERROR: u32 = 0x37;
const TIMER_INITIAL: u32 = 0x38;
const TIMER_CURRENT: u32 = 0x39;
const TIMER_DIVIDE: u32 = 0x3e;

const MASKED: u32 = 1 << 16;
const DELIVERY_PENDING: u32 = 1 << 12;
const ENABLE: u32 = 1 << 8;
const DIVIDE_BY_1: u32 = 0b1011;

const MSR_APIC_BASE: u32 = 0x1b;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const APIC_BASE_X2APIC: u64 = 1 << 10;

/// Where the registers are in memory; 0 in x2APIC mode.
static BASE: AtomicUsize = AtomicUsize::new(0);

#[inline]
fn read(register: u32) -> u32 {
    let base = BASE.load(Ordering::Relaxed);
    // SAFETY: one of the two ways is how this machine reaches its local APIC, set before the first access; reading has
    // no effect on memory.
    unsafe {
        if base != 0 {
            ((base + register as usize * 16) as *const u32).read_volatile()
        } else {
            features::read_msr(0x800 + register) as u32
        }
    }
}

#[inline]
fn write(register: u32, value: u32) {
    let base = BASE.load(Ordering::Relaxed);
    // SAFETY: as in `read`. What the register does is local to interrupts, whose handlers are set up.
    unsafe {
        if base != 0 {
            ((base + register as usize * 16) as *mut u32).write_volatile(value);
        } else {
            features::write_msr(0x800 + register, u64::from(value));
        }
    }
}

/// Finds the local APIC and the I/O APICs. Once, on the boot CPU, before [`init_this_cpu`].
pub(crate) fn init(madt: &Madt) -> Result<(), OutOfMemory> {
    if !features::get().x2apic {
        // SAFETY: the processor's manual and the table say that the registers are there.
        BASE.store(unsafe { mm::map_device(madt.local_apic, 4096)? }, Ordering::Relaxed);
    }
    mask_legacy_pics();
    for (i, info) in madt.io_apics().enumerate() {
        // SAFETY: the table says that the registers are there.
        let base = unsafe { mm::map_device(info.paddr, 4096)? };
        let apic = IoApic { base, gsi_base: info.gsi_base };
        for line in 0..apic.lines() {
            apic.set_route(line, u64::from(MASKED));
        }
        IO_APICS.lock()[i] = Some(apic);
    }
    Ok(())
}

/// Enables this CPU's local APIC and tells its id to the others.
pub(crate) fn init_this_cpu() {
    // SAFETY: every long-mode processor that we run on has a local APIC and this register.
    unsafe {
        let mut base = features::read_msr(MSR_APIC_BASE) | APIC_BASE_ENABLE;
        features::write_msr(MSR_APIC_BASE, base);
        if features::get().x2apic {
            base |= APIC_BASE_X2APIC;
            features::write_msr(MSR_APIC_BASE, base);
        }
    }
    write(TASK_PRIORITY, 0);
    write(LVT_LINT0, MASKED);
    write(LVT_LINT1, MASKED);
    write(LVT_TIMER, u32::from(TIMER));
    write(TIMER_DIVIDE, DIVIDE_BY_1);
    write(TIMER_INITIAL, 0);
    write(LVT_ERROR, u32::from(ERROR));
    write(SPURIOUS_VECTOR, ENABLE | u32::from(SPURIOUS));
    cpu_local::local().apic_id.store(own_id(), Ordering::Relaxed);
}

/// This CPU's local APIC id.
pub(crate) fn own_id() -> u32 {
    let id = read(ID);
    if features::get().x2apic { id } else { id >> 24 }
}

/// Lets the timer interrupt come after `ticks` of the APIC's clock; 0 stops it.
#[inline]
pub(crate) fn set_timer(ticks: u32) {
    write(TIMER_INITIAL, ticks);
}

/// What is left of the ticks.
pub(crate) fn timer_current() -> u32 {
    read(TIMER_CURRENT)
}

#[inline]
fn end_of_interrupt() {
    write(EOI, 0);
}

/// What kind of interrupt to send to another CPU.
#[derive(Clone, Copy)]
pub(crate) enum Ipi {
    Vector(u8),
    Nmi,
    Init,
    Startup { page: u8 },
}

/// Sends an interrupt to the CPU whose local APIC has this id.
pub(crate) fn send(apic_id: u32, ipi: Ipi) {
    const LEVEL_ASSERT: u32 = 1 << 14;
    let command = LEVEL_ASSERT
        | match ipi {
            Ipi::Vector(vector) => u32::from(vector),
            Ipi::Nmi => 4 << 8,
            Ipi::Init => 5 << 8,
            Ipi::Startup { page } => 6 << 8 | u32::from(page),
        };
    if BASE.load(Ordering::Relaxed) == 0 {
        // The MSR write does not order earlier stores, which the receiver is meant to see.
        core::sync::atomic::fence(Ordering::SeqCst);
        // SAFETY: x2APIC mode is on; the handlers of all vectors that are sent are set up.
        unsafe { features::write_msr(0x800 + COMMAND_LOW, u64::from(apic_id) << 32 | u64::from(command)) };
        return;
    }
    // Two registers: an interrupt handler on this CPU must not send between the writes.
    irq::without(|| {
        write(COMMAND_HIGH, apic_id << 24);
        write(COMMAND_LOW, command);
        while read(COMMAND_LOW) & DELIVERY_PENDING != 0 {
            core::hint::spin_loop();
        }
    });
}

/// Sends an interrupt to a CPU that runs.
#[inline]
pub(crate) fn send_to(cpu: CpuId, ipi: Ipi) {
    send(cpu_local::of(cpu).apic_id.load(Ordering::Relaxed), ipi);
}

/// How many interrupts each CPU has had: of the first lines, then of [`TIMER`], [`RESCHEDULE`] and [`CALL`].
static COUNTS: PerCpu<[AtomicU32; COUNTED_LINES + 3]> =
    PerCpu::new([const { [const { AtomicU32::new(0) }; COUNTED_LINES + 3] }; MAX_CPUS]);
/// As many as there are ISA lines.
pub(crate) const COUNTED_LINES: usize = 16;

/// Counts an interrupt on this CPU; interrupts are off.
fn count(index: usize) {
    let counter = &COUNTS.on(crate::cpu::current())[index];
    // No other CPU writes it.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// How often `cpu` has had the interrupt of each of the first lines.
pub(crate) fn line_counts(cpu: CpuId) -> [u32; COUNTED_LINES] {
    core::array::from_fn(|line| COUNTS.on(cpu)[line].load(Ordering::Relaxed))
}

/// How often `cpu` has had its timer's interrupt, been asked to look for another task, and to call a function.
pub(crate) fn local_counts(cpu: CpuId) -> [u32; 3] {
    [0, 1, 2].map(|index| COUNTS.on(cpu)[COUNTED_LINES + index].load(Ordering::Relaxed))
}

/// Handles the interrupt `vector`. `user` tells whether it met a program.
pub(crate) fn dispatch(vector: u8, user: bool) {
    match vector {
        TIMER => {
            count(COUNTED_LINES);
            end_of_interrupt();
            crate::timer::handle_interrupt(user);
        }
        RESCHEDULE => {
            count(COUNTED_LINES + 1);
            end_of_interrupt();
            cpu_local::set_need_resched(true);
        }
        CALL => {
            count(COUNTED_LINES + 2);
            end_of_interrupt();
            super::smp::handle_calls();
        }
        SPURIOUS => {}
        ERROR => {
            write(ERROR_STATUS, 0);
            log::error!("local APIC error {:#x}", read(ERROR_STATUS));
            end_of_interrupt();
        }
        _ => {
            if let Some(line) = vector.checked_sub(FIRST_LINE).filter(|line| usize::from(*line) < LINES) {
                if usize::from(line) < COUNTED_LINES {
                    count(line.into());
                }
                let handler = LINE_HANDLERS[line as usize].load(Ordering::Acquire);
                if !handler.is_null() {
                    // SAFETY: only `set_isa_handler` stores here, and only a `fn()`.
                    let handler: fn() = unsafe { core::mem::transmute::<*mut (), fn()>(handler) };
                    handler();
                }
            }
            end_of_interrupt();
        }
    }
}

/// The handlers of the device lines, by global interrupt number: each a `fn()` or null.
static LINE_HANDLERS: [AtomicPtr<()>; LINES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; LINES];

static IO_APICS: IrqSpinLock<[Option<IoApic>; MAX_IO_APICS]> =
    IrqSpinLock::new(ranks::IO_APIC, [const { None }; MAX_IO_APICS]);

struct IoApic {
    base: Vaddr,
    gsi_base: u32,
}

impl IoApic {
    fn read(&self, register: u32) -> u32 {
        // SAFETY: the registers of an I/O APIC are a select and a data register; reading has no effect on memory.
        unsafe {
            (self.base as *mut u32).write_volatile(register);
            ((self.base + 16) as *const u32).read_volatile()
        }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: as above; a route leads to a vector whose handler is set up.
        unsafe {
            (self.base as *mut u32).write_volatile(register);
            ((self.base + 16) as *mut u32).write_volatile(value);
        }
    }

    fn lines(&self) -> u32 {
        (self.read(1) >> 16 & 0xff) + 1
    }

    fn set_route(&self, line: u32, entry: u64) {
        self.write(0x10 + line * 2, MASKED);
        self.write(0x11 + line * 2, (entry >> 32) as u32);
        self.write(0x10 + line * 2, entry as u32);
    }
}

/// Routes an ISA line to this CPU and sets its handler.
pub(crate) fn set_isa_handler(line: u8, handler: fn()) {
    let (gsi, flags) = Madt::read().isa(line);
    let Some(slot) = LINE_HANDLERS.get(gsi as usize) else { return };
    // Release pairs with the Acquire in `dispatch`.
    slot.store(handler as *mut (), Ordering::Release);
    let polarity = u64::from(flags & 3 == 3) << 13;
    let level = u64::from(flags >> 2 & 3 == 3) << 15;
    let vector = u64::from(FIRST_LINE) + u64::from(gsi);
    let entry = vector | polarity | level | u64::from(own_id()) << 56;
    let io_apics = IO_APICS.lock();
    for apic in io_apics.iter().flatten() {
        if (apic.gsi_base..apic.gsi_base + apic.lines()).contains(&gsi) {
            apic.set_route(gsi - apic.gsi_base, entry);
        }
    }
}

/// The two old interrupt controllers stay silent: vectors out of the exceptions' way, all lines masked.
fn mask_legacy_pics() {
    use super::io::outb;
    // SAFETY: the standard initialisation sequence; afterwards the controllers raise nothing.
    unsafe {
        for (port, value) in [
            (0x20, 0x11),
            (0xa0, 0x11),
            (0x21, 0x20),
            (0xa1, 0x28),
            (0x21, 4),
            (0xa1, 2),
            (0x21, 1),
            (0xa1, 1),
        ] {
            outb(port, value);
        }
        outb(0x21, 0xff);
        outb(0xa1, 0xff);
    }
}
