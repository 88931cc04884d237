//! What the processor can do, and turning it on.
//!
//! [`detect`] runs once on the boot CPU, [`enable`] on each CPU with what was found: the CPUs of a machine are alike.

use core::{
    arch::{asm, x86_64::__cpuid_count},
    cell::UnsafeCell,
};

/// The features that the code asks for.
#[derive(Debug)]
pub(crate) struct Features {
    pub(crate) smep: bool,
    pub(crate) smap: bool,
    pub(crate) umip: bool,
    pub(crate) fsgsbase: bool,
    pub(crate) pge: bool,
    pub(crate) xsave: bool,
    pub(crate) xsaveopt: bool,
    pub(crate) x2apic: bool,
    pub(crate) rdrand: bool,
    pub(crate) rdseed: bool,
    pub(crate) erms: bool,
    pub(crate) hypervisor: bool,
    /// The XSAVE features that are enabled: x87, SSE, AVX, AVX-512 as far as they are there. 3 without XSAVE.
    pub(crate) xcr0: u64,
    /// Bytes of a saved FPU state with these features.
    pub(crate) fpu_size: usize,
}

struct Cell(UnsafeCell<Features>);

// SAFETY: written once, by the boot CPU before there are tasks or other CPUs; then only read.
unsafe impl Sync for Cell {}

static FEATURES: Cell = Cell(UnsafeCell::new(Features {
    smep: false,
    smap: false,
    umip: false,
    fsgsbase: false,
    pge: false,
    xsave: false,
    xsaveopt: false,
    x2apic: false,
    rdrand: false,
    rdseed: false,
    erms: false,
    hypervisor: false,
    xcr0: 3,
    fpu_size: 512,
}));

/// x87, SSE, AVX, the three parts of AVX-512.
const WANTED_XCR0: u64 = 0b1110_0111;
const AVX512: u64 = 0b1110_0000;

/// The features of the machine. All false before [`detect`].
#[inline(always)]
pub(crate) fn get() -> &'static Features {
    // SAFETY: not written any more once there is more than the boot code.
    unsafe { &*FEATURES.0.get() }
}

/// Finds out what the boot CPU can do.
///
/// # Safety
/// Once, on the boot CPU, while nothing else runs and nobody holds what [`get`] returned.
pub(crate) unsafe fn detect() {
    // SAFETY: as the caller says.
    unsafe { *FEATURES.0.get() = find() };
}

fn find() -> Features {
    let max_leaf = __cpuid_count(0, 0).eax;
    let leaf1 = __cpuid_count(1, 0);
    let leaf7_ebx_ecx = if max_leaf >= 7 {
        let leaf = __cpuid_count(7, 0);
        (leaf.ebx, leaf.ecx)
    } else {
        (0, 0)
    };
    let bit = |register: u32, n: u32| register >> n & 1 != 0;
    let xsave = bit(leaf1.ecx, 26) && max_leaf >= 0xd;
    Features {
        smep: bit(leaf7_ebx_ecx.0, 7),
        smap: bit(leaf7_ebx_ecx.0, 20),
        umip: bit(leaf7_ebx_ecx.1, 2),
        fsgsbase: bit(leaf7_ebx_ecx.0, 0),
        pge: bit(leaf1.edx, 13),
        xsave,
        xsaveopt: xsave && bit(__cpuid_count(0xd, 1).eax, 0),
        x2apic: bit(leaf1.ecx, 21),
        rdrand: bit(leaf1.ecx, 30),
        rdseed: bit(leaf7_ebx_ecx.0, 18),
        erms: bit(leaf7_ebx_ecx.0, 9),
        hypervisor: bit(leaf1.ecx, 31),
        xcr0: if xsave { supported_xcr0() } else { 3 },
        fpu_size: if xsave { xsave_size(supported_xcr0()) } else { 512 },
    }
}

fn supported_xcr0() -> u64 {
    let leaf = __cpuid_count(0xd, 0);
    let mut mask = (u64::from(leaf.edx) << 32 | u64::from(leaf.eax)) & WANTED_XCR0;
    // The parts of AVX-512 are enabled together, and only with AVX.
    if mask & AVX512 != AVX512 || mask & 4 == 0 {
        mask &= !AVX512;
    }
    mask | 3
}

/// The size of the standard-format area for the features in `xcr0`: the end of the one that lies last.
fn xsave_size(xcr0: u64) -> usize {
    let mut size = 512 + 64;
    for feature in (2..64).filter(|n| xcr0 >> n & 1 != 0) {
        let leaf = __cpuid_count(0xd, feature);
        size = size.max((leaf.ebx + leaf.eax) as usize);
    }
    size
}

const CR4_TSD: u64 = 1 << 2;
const CR4_PGE: u64 = 1 << 7;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const CR4_UMIP: u64 = 1 << 11;
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
const CR4_SMEP: u64 = 1 << 20;
const CR4_SMAP: u64 = 1 << 21;

const CR0_MP: u64 = 1 << 1;
const CR0_EM: u64 = 1 << 2;
const CR0_TS: u64 = 1 << 3;
const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
/// A program's AC flag counts.
const CR0_AM: u64 = 1 << 18;

const EFER: u32 = 0xc000_0080;
const EFER_SCE: u64 = 1;
const EFER_NXE: u64 = 1 << 11;

/// Turns on, on this CPU, what was found.
pub(crate) fn enable() {
    let features = get();
    let mut cr4 = read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT;
    for (there, flag) in [
        (features.pge, CR4_PGE),
        (features.umip, CR4_UMIP),
        (features.fsgsbase, CR4_FSGSBASE),
        (features.xsave, CR4_OSXSAVE),
        (features.smep, CR4_SMEP),
        (features.smap, CR4_SMAP),
    ] {
        if there {
            cr4 |= flag;
        }
    }
    // SAFETY: every flag is one that the processor says it has. None changes what ring 0 code in the kernel half may do,
    // but SMAP and SMEP, and the kernel touches user pages only in the windows that `user::mem` opens.
    unsafe {
        asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags));
        let mut cr0: u64;
        asm!("mov {}, cr0", out(reg) cr0, options(nomem, nostack, preserves_flags));
        cr0 = cr0 & !(CR0_EM | CR0_TS) | CR0_MP | CR0_NE | CR0_WP | CR0_AM;
        asm!("mov cr0, {}", in(reg) cr0, options(nostack, preserves_flags));
        if features.xsave {
            asm!("xsetbv", in("ecx") 0, in("eax") features.xcr0 as u32, in("edx") (features.xcr0 >> 32) as u32,
                 options(nomem, nostack, preserves_flags));
        }
        write_msr(EFER, read_msr(EFER) | EFER_SCE | EFER_NXE);
    }
}

/// Whether `rdtsc` in ring 3 is a general protection exception on this CPU. Ring 0 reads it all the same.
pub(crate) fn trap_tsc(on: bool) {
    let cr4 = read_cr4();
    let cr4 = if on { cr4 | CR4_TSD } else { cr4 & !CR4_TSD };
    // SAFETY: the flag concerns ring 3 only, and every processor has it.
    unsafe { asm!("mov cr4, {}", in(reg) cr4, options(nostack, preserves_flags)) };
}

fn read_cr4() -> u64 {
    let cr4;
    // SAFETY: reading it has no effect.
    unsafe { asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags)) };
    cr4
}

/// The address of the last page fault.
#[inline]
pub(crate) fn read_cr2() -> usize {
    let cr2;
    // SAFETY: reading it has no effect.
    unsafe { asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack, preserves_flags)) };
    cr2
}

/// Which conditions made the last debug exception (DR6); they are forgotten, as the processor only ever adds to them.
#[inline]
pub(crate) fn take_debug_conditions() -> u64 {
    /// No condition: the bits that are always set.
    const DR6_NONE: u64 = 0xffff_0ff0;
    let conditions: u64;
    // SAFETY: the register says what happened, and nothing happens because of it.
    unsafe {
        asm!("mov {}, dr6", out(reg) conditions, options(nomem, nostack, preserves_flags));
        asm!("mov dr6, {}", in(reg) DR6_NONE, options(nomem, nostack, preserves_flags));
    }
    conditions & !DR6_NONE
}

/// Reads a model-specific register.
///
/// # Safety
/// The processor has it.
#[inline]
pub(crate) unsafe fn read_msr(msr: u32) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller says that it exists; reading it has no effect.
    unsafe {
        asm!("rdmsr", in("ecx") msr, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
    }
    u64::from(high) << 32 | u64::from(low)
}

/// Writes a model-specific register.
///
/// # Safety
/// The processor has it, and the value leaves the kernel's memory as it was.
#[inline]
pub(crate) unsafe fn write_msr(msr: u32, value: u64) {
    // SAFETY: as the caller says.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32,
             options(nostack, preserves_flags));
    }
}
