//! The syscall table: number → handler, in the order of the x86_64 ABI.

use super::{Handler, exec, futex, mm, signal, time, unknown};

/// One more than the highest number that has a handler.
const SIZE: usize = 470;

macro_rules! table {
    ($($number:literal => $handler:path,)*) => {{
        let mut table: [Handler; SIZE] = [unknown; SIZE];
        $(table[$number] = $handler;)*
        table
    }};
}

pub static TABLE: [Handler; SIZE] = table! {
    9 => mm::sys_mmap,
    10 => mm::sys_mprotect,
    11 => mm::sys_munmap,
    12 => mm::sys_brk,
    13 => signal::sys_rt_sigaction,
    14 => signal::sys_rt_sigprocmask,
    15 => signal::sys_rt_sigreturn,
    25 => mm::sys_mremap,
    26 => mm::sys_msync,
    27 => mm::sys_mincore,
    28 => mm::sys_madvise,
    34 => signal::sys_pause,
    35 => time::sys_nanosleep,
    36 => time::sys_getitimer,
    37 => time::sys_alarm,
    38 => time::sys_setitimer,
    59 => exec::sys_execve,
    62 => signal::sys_kill,
    96 => time::sys_gettimeofday,
    127 => signal::sys_rt_sigpending,
    128 => signal::sys_rt_sigtimedwait,
    129 => signal::sys_rt_sigqueueinfo,
    130 => signal::sys_rt_sigsuspend,
    131 => signal::sys_sigaltstack,
    149 => mm::sys_mlock,
    150 => mm::sys_munlock,
    151 => mm::sys_mlockall,
    152 => mm::sys_munlockall,
    164 => time::sys_settimeofday,
    200 => signal::sys_tkill,
    201 => time::sys_time,
    202 => futex::sys_futex,
    219 => signal::sys_restart_syscall,
    227 => time::sys_clock_settime,
    228 => time::sys_clock_gettime,
    229 => time::sys_clock_getres,
    230 => time::sys_clock_nanosleep,
    234 => signal::sys_tgkill,
    273 => futex::sys_set_robust_list,
    274 => futex::sys_get_robust_list,
    297 => signal::sys_rt_tgsigqueueinfo,
    322 => exec::sys_execveat,
    325 => mm::sys_mlock2,
};
