//! membarrier(2) and rseq(2): what lets threads do without atomic instructions.
//!
//! | command | here |
//! |---|---|
//! | GLOBAL, GLOBAL_EXPEDITED | every CPU takes an interrupt, which is a full barrier |
//! | PRIVATE_EXPEDITED, _SYNC_CORE | the same: the way back from an interrupt serialises the CPU |
//! | PRIVATE_EXPEDITED_RSEQ | and the thread that it meets leaves its restartable sequence |
//! | REGISTER_*, GET_REGISTRATIONS | the address space notes what it may ask for; fork copies that, execve ends it |

use core::sync::atomic::{Ordering::SeqCst, fence};

use ostd::cpu::{self, CpuSet};

use super::{Args, Context};
use crate::{
    prelude::*,
    process::{Thread, rseq},
};

mod command {
    pub const QUERY: u32 = 0;
    pub const GLOBAL: u32 = 1 << 0;
    pub const GLOBAL_EXPEDITED: u32 = 1 << 1;
    pub const REGISTER_GLOBAL_EXPEDITED: u32 = 1 << 2;
    pub const PRIVATE_EXPEDITED: u32 = 1 << 3;
    pub const REGISTER_PRIVATE_EXPEDITED: u32 = 1 << 4;
    pub const PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 5;
    pub const REGISTER_PRIVATE_EXPEDITED_SYNC_CORE: u32 = 1 << 6;
    pub const PRIVATE_EXPEDITED_RSEQ: u32 = 1 << 7;
    pub const REGISTER_PRIVATE_EXPEDITED_RSEQ: u32 = 1 << 8;
    pub const GET_REGISTRATIONS: u32 = 1 << 9;
    pub const ALL: u32 = (1 << 10) - 1;
}

pub fn sys_membarrier(ctx: &mut Context, args: Args) -> Result<usize> {
    use command::*;
    const FLAG_CPU: u32 = 1;
    let (command, flags) = (args[0] as u32, args[1] as u32);
    let only_cpu = command == PRIVATE_EXPEDITED_RSEQ && flags == FLAG_CPU;
    if flags != 0 && !only_cpu {
        return Err(EINVAL);
    }
    let vm = ctx.thread.vm();
    match command {
        QUERY => return Ok(ALL as usize),
        GET_REGISTRATIONS => return Ok(vm.barriers() as usize),
        REGISTER_GLOBAL_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED
        | REGISTER_PRIVATE_EXPEDITED_SYNC_CORE
        | REGISTER_PRIVATE_EXPEDITED_RSEQ => vm.register_barrier(command),
        GLOBAL | GLOBAL_EXPEDITED => barrier_on(others()),
        PRIVATE_EXPEDITED | PRIVATE_EXPEDITED_SYNC_CORE | PRIVATE_EXPEDITED_RSEQ => {
            // Each is registered by the next higher bit.
            if vm.barriers() & command << 1 == 0 {
                return Err(EPERM);
            }
            match (command, only_cpu) {
                (PRIVATE_EXPEDITED_RSEQ, true) => restart_on(cpu_or_none(args[2])),
                (PRIVATE_EXPEDITED_RSEQ, false) => restart_on(others()),
                _ => barrier_on(others()),
            }
        }
        _ => return Err(EINVAL),
    }
    Ok(0)
}

fn others() -> CpuSet {
    let all = cpu::all().fold(CpuSet(0), |set, cpu| CpuSet(set.0 | 1 << cpu.as_usize()));
    all.without(cpu::current())
}

/// A CPU that does not run is none.
fn cpu_or_none(number: usize) -> CpuSet {
    let number = number as u32 as usize;
    CpuSet(if number < cpu::num_cpus() { 1 << number } else { 0 })
}

fn barrier_on(cpus: CpuSet) {
    fence(SeqCst);
    if !cpus.is_empty() {
        cpu::call_on(cpus, &|| fence(SeqCst));
    }
    fence(SeqCst);
}

/// Threads of other processes are met as well, and no worse off for it than by an interrupt.
fn restart_on(cpus: CpuSet) {
    fence(SeqCst);
    if !cpus.is_empty() {
        cpu::call_on(cpus, &|| {
            if let Some(thread) = Thread::try_current() {
                thread.restart_sequences();
            }
            fence(SeqCst);
        });
    }
    fence(SeqCst);
}

pub fn sys_rseq(ctx: &mut Context, args: Args) -> Result<usize> {
    const UNREGISTER: u32 = 1;
    let [area, len, flags, signature, ..] = args;
    match flags as u32 {
        0 => rseq::register(ctx.thread, area, len as u32, signature as u32)?,
        UNREGISTER => rseq::unregister(ctx.thread, area, len as u32, signature as u32)?,
        _ => return Err(EINVAL),
    }
    Ok(0)
}
