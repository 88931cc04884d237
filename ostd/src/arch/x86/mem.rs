//! Moving and clearing memory: pages, and ranges that a user program may be using or that may fault.
//!
//! All of it is assembly, for three reasons: memory that user programs have mapped changes under our hands, which
//! no Rust copy allows for; a copy to or from user memory must recover from a fault at a known instruction (see
//! [`ex_table`](super::ex_table)); and page-sized work is worth choosing an instruction for: `rep movsb/stosb`
//! where the processor makes them fast (ERMS), else 32-byte moves when AVX is on, else words.
//!
//! The vector variants borrow one register and put it back, so they need no FPU context switch and may be
//! interrupted, and even put to sleep by a fault, at any point: whoever interrupts puts it back as well.
//! `stac` and `clac` become no-ops at boot on processors without SMAP, see [`patch_smap`].

use super::features;
use crate::mm::Vaddr;
use crate::user::mem::UserFault;
use core::arch::global_asm;
use core::sync::atomic::{AtomicU8, Ordering};

/// How big ranges are moved and cleared.
const BY_WORDS: u8 = 0;
const BY_AVX: u8 = 1;
const BY_ERMS: u8 = 2;

/// One of the above. Read by the assembly too.
#[unsafe(no_mangle)]
static __mem_method: AtomicU8 = AtomicU8::new(BY_WORDS);

/// Picks the method for this machine. Called on the boot CPU when the control registers are set up.
pub(crate) fn init() {
    let features = features::get();
    let method = if features.erms {
        BY_ERMS
    } else if features.xcr0 & XCR0_AVX == XCR0_AVX && features.xcr0 & XCR0_AVX512 == 0 {
        // Not with AVX-512: a 32-byte move clears the upper half of the 64-byte register.
        BY_AVX
    } else {
        BY_WORDS
    };
    __mem_method.store(method, Ordering::Relaxed);
}

/// SSE and AVX registers are enabled.
const XCR0_AVX: u64 = 6;
/// Some part of AVX-512 is enabled.
const XCR0_AVX512: u64 = 0xe0;

unsafe extern "C" {
    /// Clears the page at `page`.
    fn __clear_page(page: *mut u8);
    /// Copies the page at `src` to `dst`.
    fn __copy_page(dst: *mut u8, src: *const u8);
    /// Copies `len` bytes; returns how many were not copied because of a fault. User memory may be on either side.
    fn __copy_user(dst: *mut u8, src: *const u8, len: usize) -> usize;
    /// Clears `len` bytes; returns how many were not cleared because of a fault.
    fn __clear_user(dst: *mut u8, len: usize) -> usize;
    /// Saves the FPU registers; see there. Returns 0, or 1 after a fault.
    fn __xsave_user(area: *mut u8, software: *const [u64; 6], features: u64, end: usize, mark: u32) -> u32;
    /// Copies up to and including a NUL, at most `len` bytes. Returns the number of bytes before the NUL; `len`
    /// when there is none; `usize::MAX` after a fault.
    fn __strncpy_user(dst: *mut u8, src: *const u8, len: usize) -> usize;
    /// Copies `len` bytes that can not fault but that user programs may be changing.
    fn __copy_shared(dst: *mut u8, src: *const u8, len: usize);
    /// Clears `len` bytes that can not fault but that user programs may be changing.
    fn __clear_shared(dst: *mut u8, len: usize);
}

/// Clears a page.
///
/// # Safety
/// `page` is a mapped, writable page that no Rust reference points into.
#[inline]
pub(crate) unsafe fn clear_page(page: *mut u8) {
    // SAFETY: as the caller says.
    unsafe { __clear_page(page) }
}

/// Copies a page.
///
/// # Safety
/// Both are mapped pages, `dst` writable, and no Rust reference points into them.
#[inline]
pub(crate) unsafe fn copy_page(dst: *mut u8, src: *const u8) {
    // SAFETY: as the caller says.
    unsafe { __copy_page(dst, src) }
}

/// Copies `len` bytes, with recovery from faults; returns how many were *not* copied.
///
/// # Safety
/// A range that is not user memory must be valid for the access; user ranges lie below `USER_END`.
#[inline]
pub(crate) unsafe fn copy_user(dst: *mut u8, src: *const u8, len: usize) -> usize {
    // SAFETY: as the caller says.
    unsafe { __copy_user(dst, src, len) }
}

/// Clears `len` bytes of user memory; returns how many were *not* cleared.
///
/// # Safety
/// The range lies below `USER_END`.
#[inline]
pub(crate) unsafe fn clear_user(dst: *mut u8, len: usize) -> usize {
    // SAFETY: as the caller says.
    unsafe { __clear_user(dst, len) }
}

/// Saves the FPU registers in user memory, by XSAVE: `software` goes into the part of the area that belongs to software, and
/// `mark` to offset `end`.
///
/// # Safety
/// The processor has XSAVE; `area` is a multiple of 64, and the area and the mark end below `USER_END`.
pub(crate) unsafe fn xsave_user(
    area: usize,
    software: &[u64; 6],
    features: u64,
    end: usize,
    mark: u32,
) -> Result<(), UserFault> {
    // SAFETY: as the caller says.
    match unsafe { __xsave_user(area as *mut u8, software, features, end, mark) } {
        0 => Ok(()),
        _ => Err(UserFault),
    }
}

/// Copies a user string; see `__strncpy_user` above for the result.
///
/// # Safety
/// `dst` is valid for writes of `len` bytes; `src..src + len` lies below `USER_END`.
#[inline]
pub(crate) unsafe fn strncpy_user(dst: *mut u8, src: *const u8, len: usize) -> usize {
    // SAFETY: as the caller says.
    unsafe { __strncpy_user(dst, src, len) }
}

/// Copies `len` bytes between ranges of which user programs may have one mapped.
///
/// # Safety
/// Both ranges are valid for the access and do not overlap.
#[inline]
pub(crate) unsafe fn copy_shared(dst: *mut u8, src: *const u8, len: usize) {
    // SAFETY: as the caller says.
    unsafe { __copy_shared(dst, src, len) }
}

/// Clears `len` bytes that user programs may have mapped.
///
/// # Safety
/// The range is valid for writes.
#[inline]
pub(crate) unsafe fn clear_shared(dst: *mut u8, len: usize) {
    // SAFETY: as the caller says.
    unsafe { __clear_shared(dst, len) }
}

/// An instruction (with its operands) on user memory, between `stac` and `clac`; evaluates to `Ok` or `UserFault`.
macro_rules! user_access {
    ($instruction:literal, $($operands:tt)*) => {{
        let fault: u32;
        core::arch::asm!(
            "90010: stac",
            concat!("90011: ", $instruction),
            "90012: clac",
            ".pushsection __smap_sites, \"a\"",
            ".quad 90010b, 90012b",
            ".popsection",
            ".pushsection __ex_table, \"a\"",
            ".long 90011b - .",
            ".long 90013f - .",
            ".popsection",
            ".pushsection .text.fixup, \"ax\"",
            "90013: mov {fault:e}, 1",
            "jmp 90012b",
            ".popsection",
            fault = inout(reg) 0u32 => fault,
            $($operands)*,
            options(nostack)
        );
        if fault == 0 { Ok(()) } else { Err(UserFault) }
    }};
}

pub(crate) use user_access;

/// Loads a value from user memory.
///
/// # Safety
/// `addr` is in the user half.
#[inline(always)]
pub(crate) unsafe fn load_user_u32(addr: Vaddr) -> Result<u32, UserFault> {
    let value: u32;
    // SAFETY: the load recovers from a fault; user memory is nobody's in Rust.
    unsafe {
        user_access!("mov {value:e}, [{addr}]", addr = in(reg) addr, value = inout(reg) 0u32 => value)?
    };
    Ok(value)
}

/// Loads a value from user memory.
///
/// # Safety
/// `addr` is in the user half.
#[inline(always)]
pub(crate) unsafe fn load_user_u64(addr: Vaddr) -> Result<u64, UserFault> {
    let value: u64;
    // SAFETY: as in `load_user_u32`.
    unsafe { user_access!("mov {value}, [{addr}]", addr = in(reg) addr, value = inout(reg) 0u64 => value)? };
    Ok(value)
}

/// Stores a value to user memory.
///
/// # Safety
/// `addr` is in the user half.
#[inline(always)]
pub(crate) unsafe fn store_user_u32(addr: Vaddr, value: u32) -> Result<(), UserFault> {
    // SAFETY: as in `load_user_u32`.
    unsafe { user_access!("mov [{addr}], {value:e}", addr = in(reg) addr, value = in(reg) value) }
}

/// Stores a value to user memory.
///
/// # Safety
/// `addr` is in the user half.
#[inline(always)]
pub(crate) unsafe fn store_user_u64(addr: Vaddr, value: u64) -> Result<(), UserFault> {
    // SAFETY: as in `load_user_u32`.
    unsafe { user_access!("mov [{addr}], {value}", addr = in(reg) addr, value = in(reg) value) }
}

/// Compares and exchanges a value in user memory; returns what was there.
///
/// # Safety
/// `addr` is in the user half.
#[inline(always)]
pub(crate) unsafe fn cmpxchg_user_u32(addr: Vaddr, old: u32, new: u32) -> Result<u32, UserFault> {
    let found: u32;
    // SAFETY: as in `load_user_u32`.
    unsafe {
        user_access!(
            "lock cmpxchg [{addr}], {new:e}",
            addr = in(reg) addr,
            new = in(reg) new,
            inout("eax") old => found
        )?;
    }
    Ok(found)
}

/// Replaces each `stac` and `clac` by a no-op when the processor has no SMAP.
///
/// # Safety
/// Called at boot, while the kernel text is writable and before any of the sites runs.
pub(crate) unsafe fn patch_smap() {
    if features::get().smap {
        return;
    }
    const NOP3: [u8; 3] = [0x0f, 0x1f, 0x00];
    unsafe extern "C" {
        static __smap_sites_start: [u64; 0];
        static __smap_sites_end: [u64; 0];
    }
    let mut site = (&raw const __smap_sites_start).cast::<u64>();
    let end = (&raw const __smap_sites_end).cast::<u64>();
    while site < end {
        // SAFETY: the section holds the addresses of three-byte instructions in the kernel text, which the caller
        // says is writable.
        unsafe {
            (*site as *mut [u8; 3]).write_volatile(NOP3);
            site = site.add(1);
        }
    }
}

global_asm!(
    r#"
    .macro STAC
90000:
    stac
    .pushsection __smap_sites, "a"
    .quad 90000b
    .popsection
    .endm

    .macro CLAC
90001:
    clac
    .pushsection __smap_sites, "a"
    .quad 90001b
    .popsection
    .endm

    // A fault in the next instruction continues at \to.
    .macro EX to
90002:
    .pushsection __ex_table, "a"
    .long 90002b - .
    .long \to - .
    .popsection
    .endm

    // Moves \count vectors of 32 bytes, from what is at \at on. A fault continues at \to.
    .macro MOVE_VECTORS count, at, to
    .set off, 0
    .rept \count
    EX \to
    vmovdqu ymm0, [rsi + \at + off]
    EX \to
    vmovdqu [rdi + \at + off], ymm0
    .set off, off + 32
    .endr
    .endm

    .text

    .global __clear_page
    .balign 16
__clear_page:
    cmp byte ptr [rip + __mem_method], {avx}
    jne 3f
    sub rsp, 40
    vmovdqu [rsp], ymm0
    vpxor xmm0, xmm0, xmm0
    lea rax, [rdi + 4096]
2:
    .set off, 0
    .rept 32
    vmovdqa [rdi + off], ymm0
    .set off, off + 32
    .endr
    add rdi, 1024
    cmp rdi, rax
    jne 2b
    vmovdqu ymm0, [rsp]
    add rsp, 40
    ret
3:  mov eax, 0
    ja 4f
    mov ecx, 512
    rep stosq
    ret
4:  mov ecx, 4096
    rep stosb
    ret

    .global __copy_page
    .balign 16
__copy_page:
    cmp byte ptr [rip + __mem_method], {avx}
    jne 3f
    sub rsp, 40
    vmovdqu [rsp], ymm0
    lea rax, [rdi + 4096]
2:
    .set off, 0
    .rept 32
    vmovdqa ymm0, [rsi + off]
    vmovdqa [rdi + off], ymm0
    .set off, off + 32
    .endr
    add rdi, 1024
    add rsi, 1024
    cmp rdi, rax
    jne 2b
    vmovdqu ymm0, [rsp]
    add rsp, 40
    ret
3:  ja 4f
    mov ecx, 512
    rep movsq
    ret
4:  mov ecx, 4096
    rep movsb
    ret

    // The copy, with rcx = bytes done. What a block could not do because of a fault, the bytewise loop does up to
    // the very byte that faults.
    .global __copy_shared
    .global __copy_user
    .balign 16
__copy_user:
    STAC
__copy_shared:
    xor ecx, ecx
    cmp rdx, 8
    jb 50f
    cmp rdx, 192
    jae 60f
20: // 8 bytes or more are left from rcx on.
    lea r8, [rdx - 8]
21:
    EX 55f
    mov rax, [rsi + rcx]
    EX 55f
    mov [rdi + rcx], rax
    add rcx, 8
    cmp rcx, r8
    jbe 21b
    // The rest, less than 8 bytes, overlaps what is done.
    cmp rcx, rdx
    je 57f
    EX 55f
    mov rax, [rsi + r8]
    EX 55f
    mov [rdi + r8], rax
    xor eax, eax
    CLAC
    ret

50: // Less than 8 bytes.
    test dl, 4
    jz 51f
    EX 55f
    mov eax, [rsi]
    EX 55f
    mov [rdi], eax
    mov ecx, 4
51:
    test dl, 2
    jz 52f
    EX 55f
    movzx eax, word ptr [rsi + rcx]
    EX 55f
    mov [rdi + rcx], ax
    add ecx, 2
52:
    test dl, 1
    jz 57f
    EX 58f
    movzx eax, byte ptr [rsi + rcx]
    EX 58f
    mov [rdi + rcx], al
57:
    xor eax, eax
    CLAC
    ret

55: // After a fault: byte by byte.
    cmp rcx, rdx
    je 58f
    EX 58f
    movzx eax, byte ptr [rsi + rcx]
    EX 58f
    mov [rdi + rcx], al
    inc rcx
    jmp 55b
58:
    mov rax, rdx
    sub rax, rcx
    CLAC
    ret

60: // 192 bytes or more.
    cmp byte ptr [rip + __mem_method], {avx}
    jb 20b
    ja 70f
    sub rsp, 40
    vmovdqu [rsp], ymm0
    lea r8, [rdx - 1024]
    cmp rdx, 1024
    jb 67f
66:
    MOVE_VECTORS 32, rcx, 65f
    add rcx, 1024
    cmp rcx, r8
    jbe 66b
    cmp rcx, rdx
    je 64f
67:
    lea r8, [rdx - 128]
    cmp rcx, r8
    ja 68f
61:
    MOVE_VECTORS 4, rcx, 65f
    sub rcx, -128
    cmp rcx, r8
    jbe 61b
68:
    // Less than 128 bytes are left: whole vectors, then one that overlaps what is done.
    lea r8, [rdx - 32]
62:
    cmp rcx, r8
    ja 63f
    MOVE_VECTORS 1, rcx, 65f
    add rcx, 32
    jmp 62b
63:
    MOVE_VECTORS 1, r8, 65f
64:
    vmovdqu ymm0, [rsp]
    add rsp, 40
    xor eax, eax
    CLAC
    ret
65:
    vmovdqu ymm0, [rsp]
    add rsp, 40
    jmp 55b

70: // ERMS. A fault leaves what is left in rcx, to the byte.
    mov rcx, rdx
    EX 71f
    rep movsb
71:
    mov rax, rcx
    CLAC
    ret

    .global __clear_shared
    .global __clear_user
    .balign 16
__clear_user:
    STAC
__clear_shared:
    xor ecx, ecx
    xor eax, eax
    cmp rsi, 8
    jb 35f
    cmp rsi, 192
    jae 40f
20:
    lea r8, [rsi - 8]
21:
    EX 35f
    mov [rdi + rcx], rax
    add rcx, 8
    cmp rcx, r8
    jbe 21b
35: // The rest, and what is left after a fault: byte by byte.
    cmp rcx, rsi
    je 36f
    EX 36f
    mov byte ptr [rdi + rcx], 0
    inc rcx
    jmp 35b
36:
    mov rax, rsi
    sub rax, rcx
    CLAC
    ret
40:
    cmp byte ptr [rip + __mem_method], {avx}
    jb 20b
    ja 47f
    lea r8, [rsi - 128]
    sub rsp, 40
    vmovdqu [rsp], ymm0
    vpxor xmm0, xmm0, xmm0
41:
    .set off, 0
    .rept 4
    EX 45f
    vmovdqu [rdi + rcx + off], ymm0
    .set off, off + 32
    .endr
    sub rcx, -128
    cmp rcx, r8
    jbe 41b
    lea r8, [rsi - 32]
42:
    cmp rcx, r8
    ja 43f
    EX 45f
    vmovdqu [rdi + rcx], ymm0
    add rcx, 32
    jmp 42b
43:
    EX 45f
    vmovdqu [rdi + r8], ymm0
    mov rcx, rsi
45:
    vmovdqu ymm0, [rsp]
    add rsp, 40
    jmp 35b
47:
    mov rcx, rsi
    EX 48f
    rep stosb
48:
    mov rax, rcx
    CLAC
    ret

    // The FPU registers to user memory at rdi, with the six words at rsi in the part that belongs to software and the mark
    // in r8d at offset rcx. rdx: the features to save. XSAVE leaves the words of the header that it does not know as they
    // are.
    .global __xsave_user
    .balign 16
__xsave_user:
    STAC
    xor r9d, r9d
    .set off, 512
    .rept 8
    EX 5f
    mov [rdi + off], r9
    .set off, off + 8
    .endr
    mov rax, rdx
    shr rdx, 32
    EX 5f
    xsave64 [rdi]
    .set off, 0
    .rept 6
    mov rax, [rsi + off]
    EX 5f
    mov [rdi + 464 + off], rax
    .set off, off + 8
    .endr
    EX 5f
    mov [rdi + rcx], r8d
    xor eax, eax
    CLAC
    ret
5:
    mov eax, 1
    CLAC
    ret

    // Eight bytes at a time until there is a zero byte among them: the classic (x - 0x01..) & ~x & 0x80.. .
    // A word that crosses into a page that is not there is retried byte by byte.
    .global __strncpy_user
    .balign 16
__strncpy_user:
    STAC
    xor ecx, ecx
    movabs r8, 0x0101010101010101
    mov r9, r8
    shl r9, 7
20:
    lea rax, [rcx + 8]
    cmp rax, rdx
    ja 30f
    EX 30f
    mov rax, [rsi + rcx]
    mov r10, rax
    mov r11, rax
    sub r10, r8
    not r11
    and r10, r11
    and r10, r9
    mov [rdi + rcx], rax
    jnz 25f
    add rcx, 8
    jmp 20b
25:
    bsf rax, r10
    shr eax, 3
    add rax, rcx
    CLAC
    ret
30:
    cmp rcx, rdx
    je 33f
    EX 34f
    movzx eax, byte ptr [rsi + rcx]
    mov [rdi + rcx], al
    test al, al
    jz 33f
    inc rcx
    jmp 30b
33:
    mov rax, rcx
    CLAC
    ret
34:
    mov rax, -1
    CLAC
    ret
    "#,
    avx = const BY_AVX,
);
