//! `memcpy` and its kin, which the compiler calls.
//!
//! Those of `compiler_builtins` are made of `rep` instructions, which take tens of cycles to start and which an
//! emulator counts by iterations. Kernel code moves mostly small structures: up to 32 bytes go without a loop, up to
//! 512 in steps of 32 bytes, and only more by `rep movsq`. General registers only: the vector registers are the
//! user program's.

use core::arch::global_asm;

global_asm!(
    r#"
    .text

    .global memcpy
    .balign 16
memcpy:
    mov rax, rdi
    cmp rdx, 16
    jb 20f
    cmp rdx, 32
    ja 30f
    mov rcx, [rsi]
    mov r8, [rsi + 8]
    mov r9, [rsi + rdx - 16]
    mov r10, [rsi + rdx - 8]
    mov [rdi], rcx
    mov [rdi + 8], r8
    mov [rdi + rdx - 16], r9
    mov [rdi + rdx - 8], r10
    ret
20: // Less than 16 bytes.
    cmp edx, 8
    jb 22f
    mov rcx, [rsi]
    mov r8, [rsi + rdx - 8]
    mov [rdi], rcx
    mov [rdi + rdx - 8], r8
    ret
22:
    cmp edx, 4
    jb 24f
    mov ecx, [rsi]
    mov r8d, [rsi + rdx - 4]
    mov [rdi], ecx
    mov [rdi + rdx - 4], r8d
    ret
24: // Less than 4: first, middle and last byte.
    test edx, edx
    jz 25f
    mov r9d, edx
    shr r9d, 1
    movzx ecx, byte ptr [rsi]
    movzx r8d, byte ptr [rsi + r9]
    movzx r10d, byte ptr [rsi + rdx - 1]
    mov [rdi], cl
    mov [rdi + r9], r8b
    mov [rdi + rdx - 1], r10b
25:
    ret
30:
    cmp rdx, 512
    jae 40f
    sub rdx, 32
    xor ecx, ecx
31:
    mov r8, [rsi + rcx]
    mov r9, [rsi + rcx + 8]
    mov r10, [rsi + rcx + 16]
    mov r11, [rsi + rcx + 24]
    mov [rdi + rcx], r8
    mov [rdi + rcx + 8], r9
    mov [rdi + rcx + 16], r10
    mov [rdi + rcx + 24], r11
    add rcx, 32
    cmp rcx, rdx
    jb 31b
    // The last 32 bytes, which overlap what is done.
    mov r8, [rsi + rdx]
    mov r9, [rsi + rdx + 8]
    mov r10, [rsi + rdx + 16]
    mov r11, [rsi + rdx + 24]
    mov [rdi + rdx], r8
    mov [rdi + rdx + 8], r9
    mov [rdi + rdx + 16], r10
    mov [rdi + rdx + 24], r11
    ret
40:
    mov rcx, rdx
    shr rcx, 3
    and edx, 7
    rep movsq
    // Less than 8 bytes are left; the last word overlaps what is done.
    mov rcx, [rsi + rdx - 8]
    mov [rdi + rdx - 8], rcx
    ret

    .global memmove
    .balign 16
memmove:
    mov rcx, rdi
    sub rcx, rsi
    cmp rcx, rdx
    jb 50f
    neg rcx
    cmp rcx, rdx
    jae memcpy
    // The target begins before the source and overlaps it: upwards.
    mov rax, rdi
    mov rcx, rdx
    shr rcx, 3
    and edx, 7
    rep movsq
    mov ecx, edx
    rep movsb
    ret
50: // The target begins in the source: downwards.
    mov rax, rdi
51:
    sub rdx, 8
    jb 52f
    mov rcx, [rsi + rdx]
    mov [rdi + rdx], rcx
    jmp 51b
52:
    add rdx, 8
    jz 54f
53:
    movzx ecx, byte ptr [rsi + rdx - 1]
    mov [rdi + rdx - 1], cl
    dec rdx
    jnz 53b
54:
    ret

    .global memset
    .balign 16
memset:
    mov r8, rdi
    movzx esi, sil
    movabs rax, 0x0101010101010101
    imul rax, rsi
    cmp rdx, 8
    jb 64f
    cmp rdx, 256
    jae 63f
    mov [rdi + rdx - 8], rax
    sub rdx, 8
    jz 62f
    xor ecx, ecx
61:
    mov [rdi + rcx], rax
    add rcx, 8
    cmp rcx, rdx
    jb 61b
62:
    mov [rdi], rax
    mov rax, r8
    ret
63:
    mov [rdi + rdx - 8], rax
    mov rcx, rdx
    shr rcx, 3
    rep stosq
    mov rax, r8
    ret
64:
    cmp edx, 4
    jb 65f
    mov [rdi], eax
    mov [rdi + rdx - 4], eax
    mov rax, r8
    ret
65:
    test edx, edx
    jz 66f
    mov ecx, edx
    shr ecx, 1
    mov [rdi], al
    mov [rdi + rcx], al
    mov [rdi + rdx - 1], al
66:
    mov rax, r8
    ret

    .global memcmp
    .global bcmp
    .balign 16
memcmp:
bcmp:
    cmp rdx, 8
    jb 74f
    sub rdx, 8
    xor ecx, ecx
71:
    mov rax, [rdi + rcx]
    mov r8, [rsi + rcx]
    cmp rax, r8
    jne 73f
    add rcx, 8
    cmp rcx, rdx
    jb 71b
    // The last word, which overlaps what is done.
    mov rax, [rdi + rdx]
    mov r8, [rsi + rdx]
    cmp rax, r8
    jne 73f
    xor eax, eax
    ret
73: // The first byte that differs decides: compare in big-endian order.
    bswap rax
    bswap r8
    cmp rax, r8
    sbb eax, eax
    or eax, 1
    ret
74:
    xor ecx, ecx
75:
    cmp rcx, rdx
    je 76f
    movzx eax, byte ptr [rdi + rcx]
    movzx r8d, byte ptr [rsi + rcx]
    inc rcx
    sub eax, r8d
    jz 75b
    ret
76:
    xor eax, eax
    ret
    "#
);
