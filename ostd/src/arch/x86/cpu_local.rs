//! The data of one CPU, reached through the GS base: what entry code, the scheduler core and the lock check need.
//!
//! In ring 0 the GS base points to this CPU's [`CpuLocal`]; in ring 3 it is the program's, and `swapgs` exchanges the two
//! at each crossing. All fields belong to the CPU itself, except the atomics that say otherwise.

use crate::{
    cpu::{CpuId, MAX_CPUS},
    sync::rank::HeldLocks,
    task::{Task, switch::Outgoing},
};
use core::{
    arch::asm,
    cell::Cell,
    mem::offset_of,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU32},
};

/// The task-state segment: the stack pointers that the processor loads itself.
#[repr(C, packed(4))]
pub(crate) struct Tss {
    _reserved0: u32,
    /// The stack on which exceptions and interrupts from ring 3 arrive: the end of the current user context's frame.
    pub(crate) rsp0: u64,
    _rsp1: u64,
    _rsp2: u64,
    _reserved1: u64,
    /// The interrupt stack table: stacks that some exceptions use whatever ran before.
    pub(crate) ist: [u64; 7],
    _reserved2: u64,
    _reserved3: u16,
    pub(crate) iomap_base: u16,
}

impl Tss {
    const fn new() -> Self {
        Self {
            _reserved0: 0,
            rsp0: 0,
            _rsp1: 0,
            _rsp2: 0,
            _reserved1: 0,
            ist: [0; 7],
            _reserved2: 0,
            _reserved3: 0,
            // Beyond the limit: no I/O ports for ring 3.
            iomap_base: size_of::<Tss>() as u16,
        }
    }
}

/// The data of one CPU.
#[repr(C, align(64))]
pub(crate) struct CpuLocal {
    /// The address of this structure.
    self_ptr: Cell<usize>,
    /// The task that runs here.
    current: Cell<*const Task>,
    /// Where the syscall entry keeps the user stack pointer for three instructions.
    user_rsp: Cell<u64>,
    id: Cell<u32>,
    /// What the running task should do before it enters user mode: [`RESCHED`], [`MOVED`]. Set by this CPU only.
    need_resched: AtomicU8,
    /// This CPU waits in `hlt` or is about to: others must kick it when they give it work.
    pub(crate) idle: AtomicBool,
    /// Nesting of interrupt handlers.
    irq_depth: Cell<u32>,
    /// Nesting of `PerCpu` guards (test builds).
    pin_depth: Cell<u32>,
    /// The TSS, at an offset that puts `rsp0` on a multiple of 8.
    _pad: u32,
    pub(crate) tss: core::cell::UnsafeCell<Tss>,
    pub(crate) gdt: core::cell::UnsafeCell<[u64; 16]>,
    held_locks: HeldLocks,
    /// Free frames, objects, tables and stacks.
    pub(crate) mm: crate::mm::MmLocal,
    /// The task that runs when there is no other. Set once.
    idle_task: Cell<*const Task>,
    /// The task that is being switched away from, and what becomes of it.
    handoff: Cell<(*const Task, Outgoing)>,
    /// The task whose registers the FPU holds, if it has not run elsewhere since.
    fpu_owner: Cell<*const Task>,
    /// The local APIC id.
    pub(crate) apic_id: AtomicU32,
    /// This CPU has started.
    pub(crate) online: AtomicBool,
}

// SAFETY: what is not atomic is only touched by the CPU that the structure belongs to (or before it starts).
unsafe impl Sync for CpuLocal {}

pub(crate) const CURRENT: usize = offset_of!(CpuLocal, current);
#[allow(dead_code)]
pub(crate) const USER_RSP: usize = offset_of!(CpuLocal, user_rsp);
#[allow(dead_code)]
pub(crate) const TSS_RSP0: usize = offset_of!(CpuLocal, tss) + offset_of!(Tss, rsp0);
const ID: usize = offset_of!(CpuLocal, id);
const NEED_RESCHED: usize = offset_of!(CpuLocal, need_resched);

const _: () = assert!(TSS_RSP0.is_multiple_of(8));

impl CpuLocal {
    const fn new() -> Self {
        Self {
            self_ptr: Cell::new(0),
            current: Cell::new(core::ptr::null()),
            user_rsp: Cell::new(0),
            id: Cell::new(0),
            need_resched: AtomicU8::new(0),
            idle: AtomicBool::new(false),
            irq_depth: Cell::new(0),
            pin_depth: Cell::new(0),
            _pad: 0,
            tss: core::cell::UnsafeCell::new(Tss::new()),
            gdt: core::cell::UnsafeCell::new([0; 16]),
            held_locks: HeldLocks::new(),
            mm: crate::mm::MmLocal::new(),
            idle_task: Cell::new(core::ptr::null()),
            handoff: Cell::new((core::ptr::null(), Outgoing::Idle)),
            fpu_owner: Cell::new(core::ptr::null()),
            apic_id: AtomicU32::new(0),
            online: AtomicBool::new(false),
        }
    }

    pub(crate) fn irq_depth(&self) -> u32 {
        self.irq_depth.get()
    }

    pub(crate) fn set_irq_depth(&self, depth: u32) {
        self.irq_depth.set(depth);
    }

    pub(crate) fn pin_depth(&self) -> u32 {
        self.pin_depth.get()
    }

    pub(crate) fn set_pin_depth(&self, depth: u32) {
        self.pin_depth.set(depth);
    }

    pub(crate) fn held_locks(&self) -> &HeldLocks {
        &self.held_locks
    }

    #[inline]
    pub(crate) fn idle_task(&self) -> *const Task {
        self.idle_task.get()
    }

    pub(crate) fn set_idle_task(&self, task: *const Task) {
        self.idle_task.set(task);
    }

    #[inline]
    pub(crate) fn set_handoff(&self, prev: *const Task, outgoing: Outgoing) {
        self.handoff.set((prev, outgoing));
    }

    #[inline]
    pub(crate) fn take_handoff(&self) -> (*const Task, Outgoing) {
        self.handoff.get()
    }

    #[inline]
    pub(crate) fn fpu_owner(&self) -> *const Task {
        self.fpu_owner.get()
    }

    #[inline]
    pub(crate) fn set_fpu_owner(&self, task: *const Task) {
        self.fpu_owner.set(task);
    }
}

static LOCALS: [CpuLocal; MAX_CPUS] = [const { CpuLocal::new() }; MAX_CPUS];

/// The data of a CPU, by number.
pub(crate) fn of(cpu: CpuId) -> &'static CpuLocal {
    // SAFETY: there is no `CpuId` that is not below `MAX_CPUS`.
    unsafe { LOCALS.get_unchecked(cpu.as_usize()) }
}

/// The data of this CPU. Stays right only as long as the task does not sleep.
#[inline(always)]
pub(crate) fn local() -> &'static CpuLocal {
    let at: *const CpuLocal;
    // SAFETY: in ring 0 the GS base points to this CPU's structure, whose first field is its own address.
    unsafe {
        asm!("mov {}, gs:[0]", out(reg) at, options(nostack, preserves_flags, pure, readonly));
        &*at
    }
}

#[inline(always)]
pub(crate) fn current_cpu() -> u32 {
    let id: u32;
    // SAFETY: reads the field of this CPU's structure.
    unsafe { asm!("mov {:e}, gs:[{}]", out(reg) id, const ID, options(nostack, preserves_flags, readonly)) };
    id
}

#[inline(always)]
pub(crate) fn current_task() -> *const Task {
    let task: *const Task;
    // SAFETY: reads the field of this CPU's structure. The value is the same whenever a task asks, so `pure` is right.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg) task, const CURRENT, options(nostack, preserves_flags, pure, readonly))
    };
    task
}

#[inline(always)]
#[allow(dead_code)]
pub(crate) fn set_current_task(task: *const Task) {
    // SAFETY: writes the field of this CPU's structure.
    unsafe { asm!("mov gs:[{}], {}", const CURRENT, in(reg) task, options(nostack, preserves_flags)) };
}

#[inline(always)]
pub(crate) fn need_resched() -> bool {
    let flag: u8;
    // SAFETY: reads the field of this CPU's structure.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg_byte) flag, const NEED_RESCHED, options(nostack, preserves_flags, readonly))
    };
    flag != 0
}

/// The running task should give way at the next chance.
const RESCHED: u8 = 1;
/// The running task wants to know that it runs on this CPU now.
const MOVED: u8 = 2;

#[inline(always)]
fn wanted() -> u8 {
    let flags: u8;
    // SAFETY: as above.
    unsafe {
        asm!("mov {}, gs:[{}]", out(reg_byte) flags, const NEED_RESCHED, options(nostack, preserves_flags, readonly))
    };
    flags
}

/// Whether the running task should give way, as against whatever else [`need_resched`] may stand for.
#[inline(always)]
pub(crate) fn should_give_way() -> bool {
    wanted() & RESCHED != 0
}

/// Whether the running task last looked on another CPU.
#[inline(always)]
pub(crate) fn has_moved() -> bool {
    wanted() & MOVED != 0
}

/// The running task should give way; or the next one is about to be chosen.
#[inline(always)]
pub(crate) fn set_need_resched(value: bool) {
    // SAFETY: writes the field of this CPU's structure.
    unsafe {
        if value {
            asm!("or byte ptr gs:[{}], {}", const NEED_RESCHED, const RESCHED, options(nostack))
        } else {
            asm!("and byte ptr gs:[{}], {}", const NEED_RESCHED, const !RESCHED, options(nostack))
        }
    };
}

/// The task that is to run here now last looked on another CPU; or it did not, or has looked.
#[inline(always)]
pub(crate) fn set_moved(value: bool) {
    // SAFETY: as above.
    unsafe {
        if value {
            asm!("or byte ptr gs:[{}], {}", const NEED_RESCHED, const MOVED, options(nostack))
        } else {
            asm!("and byte ptr gs:[{}], {}", const NEED_RESCHED, const !MOVED, options(nostack))
        }
    };
}

/// Points this CPU's GS base to its structure. The first thing that a CPU does in Rust: locks and per-CPU data need it.
///
/// # Safety
/// Once per CPU, in ring 0, with a number that no other CPU has.
pub(crate) unsafe fn install(cpu: CpuId) {
    const MSR_GS_BASE: u32 = 0xc000_0101;
    let local = of(cpu);
    let address = core::ptr::from_ref(local) as usize;
    local.self_ptr.set(address);
    local.id.set(cpu.as_usize() as u32);
    // SAFETY: the caller is in ring 0; the address is that of a static.
    unsafe {
        asm!("wrmsr", in("ecx") MSR_GS_BASE, in("eax") address as u32, in("edx") (address >> 32) as u32,
             options(nostack, preserves_flags));
    }
}
