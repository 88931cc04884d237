//! prctl(2): the knobs of a process and a thread (spec section 1).
//!
//! `option` is an int, the other arguments are full words (rule 1.1). Each option is a function of its own below the
//! dispatch; EINVAL for what is unknown or not built in (rule 1.2).

use core::sync::atomic::Ordering::Relaxed;

use ostd::user::mem;

use super::{
    Cap, Credentials, Thread,
    credentials::{self, CapSet, LAST_CAP, SecureBits},
    prctl_mm, reaper,
    seccomp::{self, Mode},
    signal::NSIG,
    thread::COMM_LEN,
    tree, user_dispatch,
};
use crate::{
    mm::mdwe,
    prelude::*,
    syscall::{self, Args, Context},
};

pub mod option {
    pub const SET_PDEATHSIG: i32 = 1;
    pub const GET_PDEATHSIG: i32 = 2;
    pub const GET_DUMPABLE: i32 = 3;
    pub const SET_DUMPABLE: i32 = 4;
    pub const GET_KEEPCAPS: i32 = 7;
    pub const SET_KEEPCAPS: i32 = 8;
    pub const GET_TIMING: i32 = 13;
    pub const SET_TIMING: i32 = 14;
    pub const SET_NAME: i32 = 15;
    pub const GET_NAME: i32 = 16;
    pub const GET_SECCOMP: i32 = 21;
    pub const SET_SECCOMP: i32 = 22;
    pub const CAPBSET_READ: i32 = 23;
    pub const CAPBSET_DROP: i32 = 24;
    pub const GET_TSC: i32 = 25;
    pub const SET_TSC: i32 = 26;
    pub const GET_SECUREBITS: i32 = 27;
    pub const SET_SECUREBITS: i32 = 28;
    pub const SET_TIMERSLACK: i32 = 29;
    pub const GET_TIMERSLACK: i32 = 30;
    pub const TASK_PERF_EVENTS_DISABLE: i32 = 31;
    pub const TASK_PERF_EVENTS_ENABLE: i32 = 32;
    pub const MCE_KILL: i32 = 33;
    pub const MCE_KILL_GET: i32 = 34;
    pub const SET_MM: i32 = 35;
    pub const SET_CHILD_SUBREAPER: i32 = 36;
    pub const GET_CHILD_SUBREAPER: i32 = 37;
    pub const SET_NO_NEW_PRIVS: i32 = 38;
    pub const GET_NO_NEW_PRIVS: i32 = 39;
    pub const GET_TID_ADDRESS: i32 = 40;
    pub const SET_THP_DISABLE: i32 = 41;
    pub const GET_THP_DISABLE: i32 = 42;
    pub const CAP_AMBIENT: i32 = 47;
    pub const GET_SPECULATION_CTRL: i32 = 52;
    pub const SET_SPECULATION_CTRL: i32 = 53;
    pub const SET_IO_FLUSHER: i32 = 57;
    pub const GET_IO_FLUSHER: i32 = 58;
    pub const SET_SYSCALL_USER_DISPATCH: i32 = 59;
    pub const SET_MDWE: i32 = 65;
    pub const GET_MDWE: i32 = 66;
    pub const SET_MEMORY_MERGE: i32 = 67;
    pub const GET_MEMORY_MERGE: i32 = 68;
    pub const TIMER_CREATE_RESTORE_IDS: i32 = 77;
    pub const FUTEX_HASH: i32 = 78;
    pub const GET_AUXV: i32 = 0x4155_5856;
}

/// prctl(2).
///
/// # Errors
/// As the option's rule says.
pub fn prctl(ctx: &mut Context, args: Args) -> Result<usize> {
    use option::*;
    let [number, arg2, arg3, arg4, arg5, _] = args;
    let thread: &Thread = ctx.thread;
    let zero = |unused: &[usize]| if unused.iter().all(|&arg| arg == 0) { Ok(()) } else { Err(EINVAL) };
    match number as i32 {
        SET_CHILD_SUBREAPER => set_child_subreaper(thread, arg2 != 0),
        GET_CHILD_SUBREAPER => get_child_subreaper(thread, arg2),
        SET_PDEATHSIG => set_pdeathsig(thread, arg2),
        GET_PDEATHSIG => put(arg2, &(thread.pdeath_signal.load(Relaxed) as i32)),
        SET_NAME => set_name(thread, arg2),
        GET_NAME => put(arg2, &thread.comm()),
        GET_DUMPABLE => Ok(thread.vm().dumpable() as usize),
        SET_DUMPABLE => set_dumpable(thread, arg2),
        SET_NO_NEW_PRIVS => zero(&[arg3, arg4, arg5]).and_then(|()| set_no_new_privs(thread, arg2)),
        GET_NO_NEW_PRIVS => {
            zero(&[arg2, arg3, arg4, arg5]).map(|()| thread.no_new_privs.load(Relaxed) as usize)
        }
        GET_KEEPCAPS => {
            Ok(thread.with_creds(|creds| creds.securebits.contains(SecureBits::KEEP_CAPS)) as usize)
        }
        SET_KEEPCAPS => set_keepcaps(thread, arg2),
        GET_SECCOMP => Ok(thread.seccomp.mode() as usize),
        SET_SECCOMP => set_seccomp(ctx, arg2, arg3),
        CAPBSET_READ => capbset_read(thread, arg2),
        CAPBSET_DROP => capbset_drop(thread, arg2),
        CAP_AMBIENT => zero(&[arg4, arg5]).and_then(|()| cap_ambient(thread, arg2, arg3)),
        GET_SECUREBITS => Ok(thread.with_creds(|creds| creds.securebits.bits()) as usize),
        SET_SECUREBITS => set_securebits(thread, arg2),
        SET_TIMERSLACK => {
            thread.set_timer_slack(arg2 as u64);
            Ok(0)
        }
        GET_TIMERSLACK => Ok(thread.timer_slack_ns[0].load(Relaxed) as usize),
        TIMER_CREATE_RESTORE_IDS => zero(&[arg3, arg4, arg5]).and_then(|()| timer_ids(thread, arg2)),
        TASK_PERF_EVENTS_DISABLE | TASK_PERF_EVENTS_ENABLE => Ok(0),
        GET_TIMING => Ok(0),
        SET_TIMING => zero(&[arg2]).map(|()| 0),
        GET_TSC => put(arg2, &(thread.tsc_mode.load(Relaxed) as i32)),
        SET_TSC => set_tsc(thread, arg2),
        MCE_KILL => zero(&[arg4, arg5]).and_then(|()| mce_kill(thread, arg2, arg3)),
        MCE_KILL_GET => zero(&[arg2, arg3, arg4, arg5]).map(|()| thread.mce_kill.load(Relaxed) as usize),
        SET_MM => prctl_mm::set_mm(thread, arg2, arg3, arg4, arg5),
        GET_TID_ADDRESS => put(arg2, &(thread.clear_child_tid.load(Relaxed) as u64)),
        SET_THP_DISABLE => zero(&[arg4, arg5]).and_then(|()| set_thp_disable(thread, arg2, arg3)),
        GET_THP_DISABLE => zero(&[arg2, arg3, arg4, arg5]).map(|()| thread.vm().thp_disable() as usize),
        GET_SPECULATION_CTRL => zero(&[arg3, arg4, arg5]).and_then(|()| get_speculation(arg2)),
        SET_SPECULATION_CTRL => zero(&[arg4, arg5]).and_then(|()| set_speculation(arg2, arg3)),
        SET_IO_FLUSHER => {
            set_io_flusher(thread, arg2).and_then(|done| zero(&[arg3, arg4, arg5]).map(|()| done))
        }
        GET_IO_FLUSHER => {
            get_io_flusher(thread).and_then(|value| zero(&[arg2, arg3, arg4, arg5]).map(|()| value))
        }
        SET_SYSCALL_USER_DISPATCH => user_dispatch::set(thread, arg2, arg3, arg4, arg5),
        SET_MDWE => zero(&[arg3, arg4, arg5]).and_then(|()| set_mdwe(thread, arg2)),
        GET_MDWE => zero(&[arg2, arg3, arg4, arg5]).map(|()| thread.vm().mdwe() as usize),
        // A permission that nobody makes use of, as where KSM does not run.
        SET_MEMORY_MERGE => zero(&[arg3, arg4, arg5]).map(|()| {
            thread.vm().set_merge(arg2 != 0);
            0
        }),
        GET_MEMORY_MERGE => zero(&[arg2, arg3, arg4, arg5]).map(|()| thread.vm().merge() as usize),
        FUTEX_HASH => futex_hash(thread, arg2, arg3, arg4),
        GET_AUXV => zero(&[arg4, arg5]).and_then(|()| get_auxv(thread, arg2, arg3)),
        _ => reaper::prctl(ctx, args),
    }
}

fn put<T: mem::Pod>(addr: usize, value: &T) -> Result<usize> {
    mem::write(addr, value)?;
    Ok(0)
}

// ---- the subreaper (1.3-1.16) -----------------------------------------------------------------------------------

/// Never fails and needs no privilege, unless kernel.subreaper_scope says so. The table spreads it over the descendants, so that the flag is effective for those
/// that exist already (rule 1.9).
pub fn set_child_subreaper(thread: &Thread, on: bool) -> Result<usize> {
    use proctree::ProcessPayload;
    // Nothing to do: whoever set it has marked the descendants before it let go of the table, which their death needs.
    if thread.process.is_child_subreaper() == on {
        return Ok(0);
    }
    if on {
        reaper::may_become_subreaper(thread)?;
    }
    tree::lock().set_child_subreaper(thread.process.id(), on);
    Ok(0)
}

/// PR_GET_CHILD_SUBREAPER: without any lock.
pub fn get_child_subreaper(thread: &Thread, addr: usize) -> Result<usize> {
    use proctree::ProcessPayload;
    put(addr, &(thread.process.is_child_subreaper() as i32))
}

// ---- parent-death signal (1.17-1.19) ----------------------------------------------------------------------------

fn set_pdeathsig(thread: &Thread, signal: usize) -> Result<usize> {
    if signal > NSIG as usize {
        return Err(EINVAL);
    }
    // Under the table lock: either the parent's death finds the signal, or the parent has changed already (rule 1.30).
    let mut table = tree::lock();
    table.set_pdeath(thread.id(), signal as u8);
    thread.pdeath_signal.store(signal as u32, Relaxed);
    Ok(0)
}

// ---- name, dumpable, no_new_privs (1.31-1.38) -------------------------------------------------------------------

fn set_name(thread: &Thread, addr: usize) -> Result<usize> {
    let mut name = [0; COMM_LEN - 1];
    let len = mem::strncpy_from_user(&mut name, addr)?.unwrap_or(name.len());
    thread.set_comm(&name[..len]);
    Ok(0)
}

fn set_dumpable(thread: &Thread, value: usize) -> Result<usize> {
    if value > 1 {
        return Err(EINVAL);
    }
    thread.vm().set_dumpable(value as u8);
    Ok(0)
}

fn set_no_new_privs(thread: &Thread, value: usize) -> Result<usize> {
    if value != 1 {
        return Err(EINVAL);
    }
    thread.no_new_privs.store(true, Relaxed);
    Ok(0)
}

// ---- seccomp (1.46) ---------------------------------------------------------------------------------------------

/// The older way to [seccomp(2)](crate::syscall::seccomp), without flags.
fn set_seccomp(ctx: &mut Context, mode: usize, filter: Vaddr) -> Result<usize> {
    const STRICT: usize = Mode::Strict as usize;
    const FILTER: usize = Mode::Filter as usize;
    match mode {
        STRICT => seccomp::set_strict(ctx.thread).map(|()| 0),
        FILTER => syscall::seccomp::set_filter(ctx, 0, filter),
        _ => Err(EINVAL),
    }
}

// ---- capabilities (1.39-1.42) -----------------------------------------------------------------------------------

/// Commits a change that touches nothing but the capability fields.
fn change(thread: &Thread, f: impl FnOnce(&mut Credentials)) -> Result<usize> {
    let mut new = (*thread.creds()).clone();
    f(&mut new);
    credentials::commit(thread, new);
    Ok(0)
}

fn set_keepcaps(thread: &Thread, value: usize) -> Result<usize> {
    if value > 1 {
        return Err(EINVAL);
    }
    if thread.with_creds(|creds| creds.securebits.contains(SecureBits::KEEP_CAPS_LOCKED)) {
        return Err(EPERM);
    }
    change(thread, |creds| creds.securebits.set(SecureBits::KEEP_CAPS, value == 1))
}

fn cap_number(arg: usize) -> Result<u32> {
    if arg <= LAST_CAP as usize { Ok(arg as u32) } else { Err(EINVAL) }
}

fn capbset_read(thread: &Thread, cap: usize) -> Result<usize> {
    let cap = cap_number(cap)?;
    Ok(thread.with_creds(|creds| creds.bounding.has_number(cap)) as usize)
}

fn capbset_drop(thread: &Thread, cap: usize) -> Result<usize> {
    thread.creds().require(Cap::Setpcap)?;
    let cap = cap_number(cap)?;
    change(thread, |creds| creds.bounding.remove_number(cap))
}

fn cap_ambient(thread: &Thread, operation: usize, cap: usize) -> Result<usize> {
    const IS_SET: usize = 1;
    const RAISE: usize = 2;
    const LOWER: usize = 3;
    const CLEAR_ALL: usize = 4;
    if operation == CLEAR_ALL {
        return if cap == 0 { change(thread, |creds| creds.ambient = CapSet::EMPTY) } else { Err(EINVAL) };
    }
    let cap = cap_number(cap)?;
    let creds = thread.creds();
    match operation {
        IS_SET => Ok(creds.ambient.has_number(cap) as usize),
        LOWER => change(thread, |creds| creds.ambient.remove_number(cap)),
        RAISE => {
            let allowed = creds.permitted.has_number(cap)
                && creds.inheritable.has_number(cap)
                && !creds.securebits.contains(SecureBits::NO_CAP_AMBIENT_RAISE);
            if !allowed {
                return Err(EPERM);
            }
            change(thread, |creds| creds.ambient.insert_number(cap))
        }
        _ => Err(EINVAL),
    }
}

fn set_securebits(thread: &Thread, value: usize) -> Result<usize> {
    let creds = thread.creds();
    let old = creds.securebits.bits();
    let locked = (old & SecureBits::LOCKS) >> 1;
    let new = u32::try_from(value).ok().and_then(SecureBits::from_bits).ok_or(EPERM)?;
    let changes_locked = (old ^ new.bits()) & locked != 0;
    let clears_lock = old & SecureBits::LOCKS & !new.bits() != 0;
    // The bits about scripts restrict nobody but the thread itself, so anybody may set them.
    let changed = old ^ new.bits();
    let allowed = creds.capable(Cap::Setpcap) || changed != 0 && changed & !SecureBits::UNPRIVILEGED == 0;
    if changes_locked || clears_lock || !allowed {
        return Err(EPERM);
    }
    change(thread, |creds| creds.securebits = new)
}

// ---- timers, machine checks, memory (1.43-1.51) -----------------------------------------------------------------

/// Whether timer_create(2) takes the number that the program wrote to where the new one goes.
fn timer_ids(thread: &Thread, operation: usize) -> Result<usize> {
    const OFF: usize = 0;
    const ON: usize = 1;
    const GET: usize = 2;
    let timers = &thread.process.posix_timers;
    match operation {
        OFF | ON => timers.set_restore_ids(operation == ON),
        GET => return Ok(timers.restores_ids() as usize),
        _ => return Err(EINVAL),
    }
    Ok(0)
}

/// Whether the program may read the time-stamp counter: if not, `rdtsc` is SIGSEGV. Inherited over fork, kept over exec.
fn set_tsc(thread: &Thread, mode: usize) -> Result<usize> {
    const ENABLE: u32 = 1;
    const SIGSEGV: u32 = 2;
    let mode = mode as u32;
    if !matches!(mode, ENABLE | SIGSEGV) {
        return Err(EINVAL);
    }
    ostd::user::allow_tsc(mode == ENABLE);
    thread.tsc_mode.store(mode, Relaxed);
    Ok(0)
}

mod speculation {
    pub const STORE_BYPASS: usize = 0;
    pub const INDIRECT_BRANCH: usize = 1;
    pub const L1D_FLUSH: usize = 2;

    pub const ENABLE: usize = 2;
    pub const DISABLE: usize = 4;
    pub const FORCE_DISABLE: usize = 8;
}

/// The processor speculates as it likes, and flushes nothing for it.
fn get_speculation(feature: usize) -> Result<usize> {
    match feature {
        speculation::STORE_BYPASS | speculation::INDIRECT_BRANCH => Ok(speculation::ENABLE),
        speculation::L1D_FLUSH => Ok(speculation::FORCE_DISABLE),
        _ => Err(ENODEV),
    }
}

/// No thread can have it otherwise.
fn set_speculation(feature: usize, control: usize) -> Result<usize> {
    use speculation::*;
    match (feature, control) {
        (STORE_BYPASS, _) => Err(ENXIO),
        (INDIRECT_BRANCH, ENABLE) => Ok(0),
        (INDIRECT_BRANCH, DISABLE | FORCE_DISABLE) | (L1D_FLUSH, _) => Err(EPERM),
        (INDIRECT_BRANCH, _) => Err(ERANGE),
        _ => Err(ENODEV),
    }
}

fn mce_kill(thread: &Thread, operation: usize, policy: usize) -> Result<usize> {
    const CLEAR: usize = 0;
    const SET: usize = 1;
    const DEFAULT: u32 = 2;
    let value = match operation {
        CLEAR if policy == 0 => DEFAULT,
        SET if policy <= 2 => policy as u32,
        _ => return Err(EINVAL),
    };
    thread.mce_kill.store(value, Relaxed);
    Ok(0)
}

fn set_thp_disable(thread: &Thread, on: usize, flags: usize) -> Result<usize> {
    const EXCEPT_ADVISED: usize = 2;
    let value = match (on != 0, flags) {
        (false, 0) => 0,
        (true, 0) => 1,
        (true, EXCEPT_ADVISED) => 1 | EXCEPT_ADVISED as u8,
        _ => return Err(EINVAL),
    };
    thread.vm().set_thp_disable(value);
    Ok(0)
}

fn set_io_flusher(thread: &Thread, on: usize) -> Result<usize> {
    thread.creds().require(Cap::SysResource)?;
    if on > 1 {
        return Err(EINVAL);
    }
    thread.io_flusher.store(on == 1, Relaxed);
    Ok(0)
}

fn get_io_flusher(thread: &Thread) -> Result<usize> {
    thread.creds().require(Cap::SysResource)?;
    Ok(thread.io_flusher.load(Relaxed) as usize)
}

/// Memory-deny-write-execute: never taken back.
fn set_mdwe(thread: &Thread, bits: usize) -> Result<usize> {
    let bits = u8::try_from(bits).map_err(|_| EINVAL)?;
    let known = bits & !(mdwe::REFUSE_EXEC_GAIN | mdwe::NO_INHERIT) == 0;
    if !known || bits & mdwe::NO_INHERIT != 0 && bits & mdwe::REFUSE_EXEC_GAIN == 0 {
        return Err(EINVAL);
    }
    let vm = thread.vm();
    let old = vm.mdwe();
    if old != 0 && old != bits {
        return Err(EPERM);
    }
    vm.set_mdwe(bits);
    Ok(0)
}

/// How many buckets the table of the program's private futexes has. The kernel's own table serves all programs well, so this is
/// kept and has no effect.
fn futex_hash(thread: &Thread, operation: usize, buckets: usize, flags: usize) -> Result<usize> {
    const SET: usize = 1;
    const GET: usize = 2;
    /// What the kernel would give a table of its own at most.
    const MAX: u32 = 1 << 24;
    let vm = thread.vm();
    match operation {
        SET if flags == 0 => {
            let buckets = buckets as u32;
            if buckets == 1 || buckets != 0 && !buckets.is_power_of_two() {
                return Err(EINVAL);
            }
            // Who has gone over to the table of all programs stays with it.
            if vm.futex_buckets() == Some(0) {
                return Err(EBUSY);
            }
            if buckets > MAX {
                return Err(ENOMEM);
            }
            vm.set_futex_buckets(buckets);
            Ok(0)
        }
        GET => Ok(vm.futex_buckets().unwrap_or(0) as usize),
        _ => Err(EINVAL),
    }
}

fn get_auxv(thread: &Thread, addr: usize, len: usize) -> Result<usize> {
    let auxv = thread.vm().auxv();
    let bytes: Vec<u8> = auxv.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let len = len.min(bytes.len());
    if len != 0 {
        mem::copy_to_user(addr, &bytes[..len])?;
    }
    Ok(bytes.len())
}
