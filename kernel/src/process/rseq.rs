//! Restartable sequences: rseq(2).
//!
//! A thread registers an area in its memory. The kernel keeps there the number of the CPU that the thread runs on, and when the thread
//! is interrupted within a critical section that the area points to, it goes on at the section's abort address: so a
//! program may work on data of its CPU without locks.
//!
//! *When.* The numbers are written when the thread runs on another CPU than they say: [`task::watch_cpu`] tells. The
//! section is looked at where others may have run in its middle: after preemption, after an exception that slept, before a
//! signal's handler, and when membarrier(2) asks. A system call has no place in a section, so its sleeps are not looked at.
//!
//! *Whose.* fork's child has a copy of the registration with its copy of the memory, a thread that shares memory has none; execve
//! ends it (rule 10.10). glibc registers each thread as it starts, so all this costs nothing while the CPU stays the
//! same.
//!
//! *mm_cid* is 0 for a process of one thread and the number of the CPU else: no two threads that run at the same time have the
//! same, and it stays below the number of CPUs, if not of threads.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};

use ostd::{
    cpu::CpuId,
    mm::USER_END,
    task,
    user::{UserContext, mem},
};

use super::{
    Thread,
    signal::{self, SIGSEGV, SigInfo, work},
};
use crate::{prelude::*, syscall::Context};

/// The size of the area before it could grow, and how it is aligned then.
const ORIGINAL_SIZE: u32 = 32;
/// How far the fields go that are written here (AT_RSEQ_FEATURE_SIZE).
pub const FEATURE_SIZE: u64 = 28;
/// AT_RSEQ_ALIGN.
pub const ALIGN: u64 = 32;

// Fields of `struct rseq`: cpu_id_start and cpu_id, the section, flags, node_id and mm_cid.
const CPU: usize = 0;
const SECTION: usize = 8;
const FLAGS: usize = 16;
const NODE: usize = 20;

const CPU_UNINITIALIZED: u32 = u32::MAX;

/// The registration of a thread.
#[derive(Default)]
pub struct Rseq {
    /// Where the area is; 0 without one. Changed by the thread itself only.
    area: AtomicUsize,
    len: AtomicU32,
    signature: AtomicU32,
    /// The numbers in the area are to be written again although the CPU is the same.
    stale: AtomicBool,
}

impl Rseq {
    #[inline]
    pub fn is_registered(&self) -> bool {
        self.area.load(Relaxed) != 0
    }

    /// What fork's child has of its parent's.
    pub(super) fn inherit(&self, parent: &Rseq) {
        self.area.store(parent.area.load(Relaxed), Relaxed);
        self.len.store(parent.len.load(Relaxed), Relaxed);
        self.signature.store(parent.signature.load(Relaxed), Relaxed);
    }

    /// Forgets the area of the calling thread.
    pub fn forget(&self) {
        if self.area.swap(0, Relaxed) != 0 {
            task::watch_cpu(false);
        }
    }
}

impl Thread {
    /// Makes the thread look at its section and write its numbers before it enters user mode. Callable from interrupt
    /// context, on the thread's own CPU or by itself.
    pub fn restart_sequences(&self) {
        if self.rseq.is_registered() {
            self.rseq.stale.store(true, Relaxed);
            self.work.fetch_or(work::RSEQ, Relaxed);
        }
    }
}

/// Registers an area for the calling thread.
///
/// # Errors
/// `EBUSY` if it is registered already, `EINVAL` if another one is or size or alignment are wrong, `EPERM` for another
/// signature, `EFAULT`.
pub fn register(thread: &Thread, area: usize, len: u32, signature: u32) -> Result<()> {
    let rseq = &thread.rseq;
    if rseq.is_registered() {
        check_same(rseq, area, len, signature)?;
        return Err(EBUSY);
    }
    let align = ORIGINAL_SIZE as usize;
    if len < ORIGINAL_SIZE || !area.is_multiple_of(align) {
        return Err(EINVAL);
    }
    if area.checked_add(len as usize).is_none_or(|end| end > USER_END) {
        return Err(EFAULT);
    }
    // What a thread before left there is no section of this one.
    if mem::read::<u64>(area + SECTION)? != 0 {
        mem::write(area + SECTION, &0u64)?;
    }
    rseq.len.store(len, Relaxed);
    rseq.signature.store(signature, Relaxed);
    // Nothing is at address 0, and the check of the alignment let it pass.
    if area == 0 {
        return Err(EFAULT);
    }
    rseq.area.store(area, Relaxed);
    task::watch_cpu(true);
    Ok(())
}

/// Takes the registration back.
///
/// # Errors
/// `EINVAL` if it is another one, `EPERM` for another signature, `EFAULT`.
pub fn unregister(thread: &Thread, area: usize, len: u32, signature: u32) -> Result<()> {
    let rseq = &thread.rseq;
    if !rseq.is_registered() {
        return Err(EINVAL);
    }
    check_same(rseq, area, len, signature)?;
    mem::write(area + CPU, &[0, CPU_UNINITIALIZED])?;
    mem::write(area + NODE, &[0u32; 2])?;
    rseq.forget();
    Ok(())
}

fn check_same(rseq: &Rseq, area: usize, len: u32, signature: u32) -> Result<()> {
    if rseq.area.load(Relaxed) != area || rseq.len.load(Relaxed) != len {
        return Err(EINVAL);
    }
    if rseq.signature.load(Relaxed) != signature { Err(EPERM) } else { Ok(()) }
}

/// On the way to user mode, for a registered thread. `interrupted`: others may have run in the middle of a section.
pub fn before_user(ctx: &mut Context, interrupted: bool) {
    let mut done = Ok(());
    if interrupted {
        done = leave_section(ctx.thread, ctx.user);
    }
    let stale = ctx.thread.rseq.stale.swap(false, Relaxed);
    let moved = match task::note_cpu() {
        // A move after this is told again.
        None if stale => Some(ostd::cpu::current()),
        moved => moved,
    };
    if let Some(cpu) = moved {
        done = done.and(write_numbers(ctx.thread, cpu));
    }
    if done.is_err() {
        signal::force(ctx.thread, SigInfo::kernel(SIGSEGV));
    }
}

/// Before a signal's handler: the frame is to say that the thread was at the abort address.
///
/// # Errors
/// When the area or the section make no sense: the thread is to get SIGSEGV.
pub fn before_handler(ctx: &mut Context) -> Result<()> {
    leave_section(ctx.thread, ctx.user)
}

fn write_numbers(thread: &Thread, cpu: CpuId) -> Result<()> {
    let area = thread.rseq.area.load(Relaxed);
    let cpu = cpu.as_usize() as u32;
    let mm_cid = if thread.process.signals.thread_count() > 1 { cpu } else { 0 };
    mem::write(area + CPU, &[cpu, cpu])?;
    mem::write(area + NODE, &[0, mm_cid])?;
    Ok(())
}

/// If the thread is within its critical section it goes on at its abort address. A section that it has left is forgotten.
fn leave_section(thread: &Thread, user: &mut UserContext) -> Result<()> {
    let area = thread.rseq.area.load(Relaxed);
    let section = mem::read::<u64>(area + SECTION)? as usize;
    if section == 0 {
        return Ok(());
    }
    let section = Section::read(section, thread.rseq.signature.load(Relaxed))?;
    if section.contains(user.rip()) {
        if section.flags != 0 || mem::read::<u32>(area + FLAGS)? != 0 {
            // Flags that once meant "do not restart" are refused.
            return Err(EINVAL);
        }
        user.set_rip(section.abort);
        // All others stay as they are.
        user.restore_all();
    }
    Ok(mem::write(area + SECTION, &0u64)?)
}

/// `struct rseq_cs`.
struct Section {
    flags: u32,
    start: usize,
    len: usize,
    abort: usize,
}

impl Section {
    /// # Errors
    /// `EFAULT`; `EINVAL` if it is not one, or the word before its abort address is not the signature.
    fn read(addr: usize, signature: u32) -> Result<Section> {
        if addr >= USER_END {
            return Err(EINVAL);
        }
        let [head, start, len, abort] = mem::read::<[u64; 4]>(addr)?;
        let section = Section {
            flags: (head >> 32) as u32,
            start: start as usize,
            len: len as usize,
            abort: abort as usize,
        };
        let version = head as u32;
        let end = section.start.checked_add(section.len).ok_or(EINVAL)?;
        if section.start >= USER_END || end >= USER_END || section.abort >= USER_END || version > 0 {
            return Err(EINVAL);
        }
        if section.contains(section.abort) {
            return Err(EINVAL);
        }
        let word = mem::read::<u32>(section.abort.wrapping_sub(size_of::<u32>()))?;
        if word == signature { Ok(section) } else { Err(EINVAL) }
    }

    fn contains(&self, addr: usize) -> bool {
        addr.wrapping_sub(self.start) < self.len
    }
}
