//! Code that programs run to read a clock or learn their CPU without entering the kernel, and the page of data that it looks at.
//!
//! *The code* is position independent: the kernel puts it at [`CODE_OFFSET`] of a page and maps that page right behind the
//! page of data, wherever a program wants them. It follows the C calling convention, uses no stack, and falls back to the
//! system call that it stands for where it has no answer.
//!
//! *A clock* is the kernel's own ([`time::now_ns`](crate::time::now_ns)) plus an offset. The kernel reads its offsets from the same
//! words, so that what a system call says and what the code says are one clock: setting it is one store, and nobody sees
//! a mixture of before and after. A reader that finds the offset changed after it has looked at the counter tries again.
//!
//! *Which CPU* it is says the limit of a segment that each CPU has for this (`arch::x86::gdt`).

use crate::{
    arch::x86::{gdt, tsc},
    mm::{self, AllocClass, Frame, OutOfMemory, PAGE_SIZE},
};
use core::{
    arch::global_asm,
    mem::offset_of,
    sync::atomic::{AtomicU64, Ordering},
};

/// Where in its page the code has to be; the page of data is the one before.
pub const CODE_OFFSET: usize = 0x800;

/// Numbers of clocks are below.
const CLOCKS: usize = 16;
/// Offsets in the page.
const SLOTS: usize = 8;

/// What the page holds. Written before any program has it, but for the offsets.
#[repr(C)]
struct Data {
    /// The counter when the kernel's clock was 0, and nanoseconds per tick times 2^32.
    start: u64,
    ns_per_tick: u64,
    /// Which of the offsets belongs to a clock; [`SLOTS`] for one that the code can't read.
    slots: [u8; CLOCKS],
    resolutions: [u64; CLOCKS],
    offsets: [AtomicU64; SLOTS],
}

global_asm!(
    r#"
    // In: ecx, the number of a clock. Out: rax, ns. Loses rcx, rdx, r8, r9. Goes to \else for one that it can't read.
    .macro READ_CLOCK else
    cmp ecx, {clocks}
    jae \else
    lea r8, [rip + __vdso_code - {back}]
    movzx ecx, byte ptr [r8 + rcx + {slots}]
    cmp ecx, {slot_count}
    jae \else
90004:
    mov r9, [r8 + rcx * 8 + {offsets}]
    // The counter is read after what came before, and before what comes after.
    lfence
    rdtsc
    lfence
    cmp r9, [r8 + rcx * 8 + {offsets}]
    jne 90004b
    shl rdx, 32
    or rax, rdx
    xor edx, edx
    sub rax, [r8 + {start}]
    cmovb rax, rdx
    mul qword ptr [r8 + {ns_per_tick}]
    shrd rax, rdx, 32
    add rax, r9
    .endm

    // In: rax, ns. Out: rdx seconds, r9 the rest. Loses rax, r8. Divides by 2^9, then by 5^9 with a product.
    .macro SPLIT
    mov r9, rax
    shr rax, 9
    movabs r8, 0x44b82fa09b5a53
    mul r8
    shr rdx, 11
    imul rax, rdx, 1000000000
    sub r9, rax
    .endm

    .pushsection .rodata.vdso, "a", @progbits
    .balign 64
    .global __vdso_code
__vdso_code:

    // int clock_gettime(clockid_t clock, struct timespec *time)
    .global __vdso_clock_gettime
__vdso_clock_gettime:
    mov ecx, edi
    READ_CLOCK 9f
    SPLIT
    mov [rsi], rdx
    mov [rsi + 8], r9
    xor eax, eax
    ret
9:  mov eax, 228
    syscall
    ret

    // int gettimeofday(struct timeval *time, struct timezone *zone); there is one zone
    .balign 16
    .global __vdso_gettimeofday
__vdso_gettimeofday:
    test rdi, rdi
    jz 2f
    xor ecx, ecx
    READ_CLOCK 9f
    SPLIT
    // A thousandth: less than 2^30 are divided exactly.
    imul r9, r9, 274877907
    shr r9, 38
    mov [rdi], rdx
    mov [rdi + 8], r9
2:  test rsi, rsi
    jz 3f
    mov qword ptr [rsi], 0
3:  xor eax, eax
    ret
9:  mov eax, 96
    syscall
    ret

    // time_t time(time_t *time)
    .balign 16
    .global __vdso_time
__vdso_time:
    xor ecx, ecx
    READ_CLOCK 9f
    SPLIT
    mov rax, rdx
    test rdi, rdi
    jz 2f
    mov [rdi], rax
2:  ret
9:  mov eax, 201
    syscall
    ret

    // int clock_getres(clockid_t clock, struct timespec *resolution)
    .balign 16
    .global __vdso_clock_getres
__vdso_clock_getres:
    cmp edi, {clocks}
    jae 9f
    mov ecx, edi
    lea r8, [rip + __vdso_code - {back}]
    cmp byte ptr [r8 + rcx + {slots}], {slot_count}
    jae 9f
    test rsi, rsi
    jz 2f
    mov rax, [r8 + rcx * 8 + {resolutions}]
    mov qword ptr [rsi], 0
    mov [rsi + 8], rax
2:  xor eax, eax
    ret
9:  mov eax, 229
    syscall
    ret

    // int getcpu(unsigned *cpu, unsigned *node, void *unused)
    .balign 16
    .global __vdso_getcpu
__vdso_getcpu:
    mov eax, {cpu_segment}
    lsl eax, eax
    test rdi, rdi
    jz 2f
    mov [rdi], eax
2:  test rsi, rsi
    jz 3f
    mov dword ptr [rsi], 0
3:  xor eax, eax
    ret

    .global __vdso_code_end
__vdso_code_end:
    .popsection
    "#,
    back = const CODE_OFFSET + PAGE_SIZE,
    clocks = const CLOCKS,
    slot_count = const SLOTS,
    start = const offset_of!(Data, start),
    ns_per_tick = const offset_of!(Data, ns_per_tick),
    slots = const offset_of!(Data, slots),
    resolutions = const offset_of!(Data, resolutions),
    offsets = const offset_of!(Data, offsets),
    cpu_segment = const gdt::CPU_SEGMENT,
);

unsafe extern "C" {
    static __vdso_code: [u8; 0];
    static __vdso_clock_gettime: [u8; 0];
    static __vdso_gettimeofday: [u8; 0];
    static __vdso_time: [u8; 0];
    static __vdso_clock_getres: [u8; 0];
    static __vdso_getcpu: [u8; 0];
    static __vdso_code_end: [u8; 0];
}

/// The code.
pub fn code() -> &'static [u8] {
    let start = (&raw const __vdso_code).cast::<u8>();
    let len = &raw const __vdso_code_end as usize - start as usize;
    // SAFETY: the two symbols delimit bytes of the kernel's image that are never written.
    unsafe { core::slice::from_raw_parts(start, len) }
}

/// Its functions, as C calls them, and where in the code they begin; in ascending order.
pub fn functions() -> [(&'static str, usize); 5] {
    let start = &raw const __vdso_code as usize;
    [
        ("clock_gettime", &raw const __vdso_clock_gettime as usize - start),
        ("gettimeofday", &raw const __vdso_gettimeofday as usize - start),
        ("time", &raw const __vdso_time as usize - start),
        ("clock_getres", &raw const __vdso_clock_getres as usize - start),
        ("getcpu", &raw const __vdso_getcpu as usize - start),
    ]
}

/// A clock that the code can read.
pub struct Clock {
    /// What a program calls it: below 16.
    pub number: usize,
    /// Which of the page's offsets it follows: below 8.
    pub slot: usize,
    pub resolution_ns: u64,
}

/// The page of data.
pub struct ClockPage(Frame);

impl ClockPage {
    /// A page for these clocks, with all offsets 0.
    ///
    /// # Panics
    /// For a number or slot that is too large.
    pub fn new(clocks: &[Clock]) -> Result<ClockPage, OutOfMemory> {
        let (start, ns_per_tick) = tsc::conversion();
        let (mut slots, mut resolutions) = ([SLOTS as u8; CLOCKS], [0; CLOCKS]);
        for clock in clocks {
            assert!(clock.slot < SLOTS, "an offset that the page does not have");
            slots[clock.number] = clock.slot as u8;
            resolutions[clock.number] = clock.resolution_ns;
        }
        let offsets = [const { AtomicU64::new(0) }; SLOTS];
        let page = ClockPage(Frame::zeroed(AllocClass::Kernel)?);
        let data = Data { start, ns_per_tick, slots, resolutions, offsets };
        // SAFETY: the frame is new and larger than the structure; nobody else has it.
        unsafe { page.data().cast_mut().write(data) };
        Ok(page)
    }

    fn data(&self) -> *const Data {
        mm::paddr_to_vaddr(self.0.paddr()) as *const Data
    }

    /// For mapping it; never with a right to write.
    pub fn frame(&self) -> &Frame {
        &self.0
    }

    /// An offset, ns; it may stand for a negative one, as it is added modulo 2^64.
    #[inline]
    pub fn offset(&self, slot: usize) -> u64 {
        self.word(slot).load(Ordering::Relaxed)
    }

    /// Changes an offset, for programs and the kernel at once.
    pub fn set_offset(&self, slot: usize, ns: u64) {
        self.word(slot).store(ns, Ordering::Relaxed);
    }

    fn word(&self, slot: usize) -> &AtomicU64 {
        // SAFETY: the frame is kept by `self`, and this part of it is only ever touched as atomics.
        unsafe { &(&(*self.data()).offsets)[slot] }
    }
}
