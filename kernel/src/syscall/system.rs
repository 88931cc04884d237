//! The machine: uname(2), sysinfo(2), reboot(2), and per-thread machine state.

use core::sync::atomic::Ordering::Relaxed;

use ostd::{boot, cpu, power, random, sync::SpinLock, time, user::mem};

use super::{Args, Context};
use crate::{
    lock_order,
    prelude::*,
    process::{
        Cap, exit, record,
        signal::{self, SIGHUP, SIGINT, SIGKILL, SigInfo},
        tree,
    },
};

// ---- names -------------------------------------------------------------------------------------------------------

/// Bytes of each field of `struct new_utsname`.
const UTS_LEN: usize = 65;
/// The longest host or domain name.
const NAME_MAX: usize = 64;

/// What uname(2) calls the release: programs read the Linux interface that they can expect from it.
pub const RELEASE: &str = "6.18.0-foster";
/// The numbers in it.
pub const RELEASE_NUMBERS: [u32; 3] = [6, 18, 0];
pub const VERSION: &str = "#1 SMP PREEMPT_DYNAMIC";

/// Host and domain name.
static NAMES: SpinLock<[Name; 2]> =
    SpinLock::new(lock_order::PROCESS_MISC, [Name::new(b"(none)"), Name::new(b"(none)")]);

#[derive(Clone, Copy)]
struct Name {
    bytes: [u8; NAME_MAX],
    len: usize,
}

impl Name {
    const fn new(name: &[u8]) -> Name {
        let mut bytes = [0; NAME_MAX];
        let mut len = 0;
        while len < name.len() && len < NAME_MAX {
            bytes[len] = name[len];
            len += 1;
        }
        Name { bytes, len }
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The host name, for /proc/sys/kernel/hostname.
pub fn hostname() -> Vec<u8> {
    NAMES.lock()[0].get().to_vec()
}

/// Sets the host name: for /proc/sys/kernel/hostname, where the file's permissions were checked.
///
/// # Errors
/// `EINVAL` if it is too long.
pub fn set_hostname(name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX {
        return Err(EINVAL);
    }
    NAMES.lock()[0] = Name::new(name);
    Ok(())
}

/// As [`hostname`].
pub fn domainname() -> Vec<u8> {
    NAMES.lock()[1].get().to_vec()
}

/// As [`set_hostname`].
///
/// # Errors
/// `EINVAL` if it is too long.
pub fn set_domainname(name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX {
        return Err(EINVAL);
    }
    NAMES.lock()[1] = Name::new(name);
    Ok(())
}

pub fn sys_uname(_: &mut Context, args: Args) -> Result<usize> {
    let [host, domain] = *NAMES.lock();
    let fields = [b"Linux", host.get(), RELEASE.as_bytes(), VERSION.as_bytes(), b"x86_64", domain.get()];
    let mut out = [0; 6 * UTS_LEN];
    for (slot, field) in out.chunks_exact_mut(UTS_LEN).zip(fields) {
        slot[..field.len()].copy_from_slice(field);
    }
    mem::copy_to_user(args[0], &out)?;
    Ok(0)
}

fn set_name(ctx: &Context, which: usize, addr: usize, len: usize) -> Result<usize> {
    ctx.thread.creds().require(Cap::SysAdmin)?;
    if len as i32 as usize != len || len > NAME_MAX {
        return Err(EINVAL);
    }
    let mut name = [0; NAME_MAX];
    mem::copy_from_user(&mut name[..len], addr)?;
    NAMES.lock()[which] = Name::new(&name[..len]);
    Ok(0)
}

pub fn sys_sethostname(ctx: &mut Context, args: Args) -> Result<usize> {
    set_name(ctx, 0, args[0], args[1])
}

pub fn sys_setdomainname(ctx: &mut Context, args: Args) -> Result<usize> {
    set_name(ctx, 1, args[0], args[1])
}

// ---- state of the machine ----------------------------------------------------------------------------------------

ostd::pod_struct! {
    /// `struct sysinfo`.
    struct SysInfo {
        uptime: i64,
        loads: [u64; 3],
        total_ram: u64,
        free_ram: u64,
        shared_ram: u64,
        buffer_ram: u64,
        total_swap: u64,
        free_swap: u64,
        procs: u16,
        pad: [u16; 3],
        total_high: u64,
        free_high: u64,
        mem_unit: u32,
        tail: u32,
    }
}

pub fn sys_sysinfo(_: &mut Context, args: Args) -> Result<usize> {
    let stats = ostd::mm::stats();
    let bytes = |frames: usize| (frames * PAGE_SIZE) as u64;
    let info = SysInfo {
        uptime: (time::now_ns() / 1_000_000_000) as i64,
        loads: [0; 3],
        total_ram: bytes(stats.total),
        free_ram: bytes(stats.free),
        shared_ram: 0,
        buffer_ram: 0,
        total_swap: 0,
        free_swap: 0,
        procs: record::thread_total().min(u16::MAX as usize) as u16,
        pad: [0; 3],
        total_high: 0,
        free_high: 0,
        mem_unit: 1,
        tail: 0,
    };
    mem::write(args[0], &info)?;
    Ok(0)
}

pub fn sys_getcpu(_: &mut Context, args: Args) -> Result<usize> {
    let cpu = cpu::current().as_usize() as u32;
    for (addr, value) in [(args[0], cpu), (args[1], 0)] {
        if addr != 0 {
            mem::write(addr, &value)?;
        }
    }
    Ok(0)
}

pub fn sys_sync(_: &mut Context, _: Args) -> Result<usize> {
    // Every file system is memory: what is written is where it will stay.
    Ok(0)
}

/// getrandom(2): the generator is seeded at boot, so there is nothing to wait for.
pub fn sys_getrandom(ctx: &mut Context, args: Args) -> Result<usize> {
    const GRND_NONBLOCK: u32 = 1;
    const GRND_RANDOM: u32 = 2;
    const GRND_INSECURE: u32 = 4;
    let [addr, len, flags, ..] = args;
    let flags = flags as u32;
    let contradiction = GRND_RANDOM | GRND_INSECURE;
    if flags & !(GRND_NONBLOCK | contradiction) != 0 || flags & contradiction == contradiction {
        return Err(EINVAL);
    }
    let len = len.min(i32::MAX as usize);
    let mut bytes = [0; 256];
    let mut done = 0;
    while done < len {
        let chunk = &mut bytes[..(len - done).min(256)];
        random::fill(chunk);
        let copied = mem::copy_to_user_partial(addr.checked_add(done).ok_or(EFAULT)?, chunk);
        done += copied;
        if copied < chunk.len() || signal::signal_pending(ctx.thread) {
            return if done > 0 { Ok(done) } else { Err(EFAULT) };
        }
    }
    Ok(done)
}

// ---- the end -----------------------------------------------------------------------------------------------------

const MAGIC1: u32 = 0xfee1_dead;
const MAGIC2: [u32; 4] = [0x2812_1969, 0x0512_1996, 0x1604_1998, 0x2011_2000];

/// Commands of reboot(2).
mod command {
    pub const RESTART: u32 = 0x0123_4567;
    pub const HALT: u32 = 0xcdef_0123;
    pub const CAD_ON: u32 = 0x89ab_cdef;
    pub const CAD_OFF: u32 = 0;
    pub const POWER_OFF: u32 = 0x4321_fedc;
    pub const RESTART2: u32 = 0xa1b2_c3d4;
}

/// Everything that ends the machine ends the emulator too: it powers off, unless the command line asks for a real reset.
pub fn sys_reboot(ctx: &mut Context, args: Args) -> Result<usize> {
    ctx.thread.creds().require(Cap::SysBoot)?;
    let [magic1, magic2, command, ..] = args.map(|arg| arg as u32);
    if magic1 != MAGIC1 || !MAGIC2.contains(&magic2) {
        return Err(EINVAL);
    }
    if !ctx.process().pid_ns().is_initial() {
        return reboot_namespace(ctx, command);
    }
    match command {
        command::CAD_ON | command::CAD_OFF => Ok(0),
        command::POWER_OFF | command::HALT => power::poweroff(),
        command::RESTART | command::RESTART2 => {
            if boot::cmdline().split_ascii_whitespace().any(|word| word == "reboot=reset") {
                power::reset()
            }
            power::poweroff()
        }
        _ => Err(EINVAL),
    }
}

/// In a pid namespace the init is killed, and what its parent sees of it tells the command (rule 9.12).
fn reboot_namespace(ctx: &mut Context, command: u32) -> Result<usize> {
    let signal = match command {
        command::RESTART | command::RESTART2 => SIGHUP,
        command::POWER_OFF | command::HALT => SIGINT,
        _ => return Err(EINVAL),
    };
    let ns = ctx.process().pid_ns();
    ns.set_reboot(signal.into());
    let init = {
        let table = tree::lock();
        table.ns_init(ns.id()).and_then(|init| table.payload(init).cloned())
    };
    if let Some(init) = init {
        signal::send_process(&init, None, SigInfo::kernel(SIGKILL));
    }
    exit::exit(ctx.thread, 0);
    Ok(0)
}

// ---- per-thread machine state ------------------------------------------------------------------------------------

const ARCH_SET_GS: i32 = 0x1001;
const ARCH_SET_FS: i32 = 0x1002;
const ARCH_GET_FS: i32 = 0x1003;
const ARCH_GET_GS: i32 = 0x1004;
const ARCH_GET_CPUID: i32 = 0x1011;
const ARCH_SET_CPUID: i32 = 0x1012;
const ARCH_GET_XCOMP_SUPP: i32 = 0x1021;
const ARCH_GET_XCOMP_PERM: i32 = 0x1022;
const ARCH_REQ_XCOMP_PERM: i32 = 0x1023;
const ARCH_GET_XCOMP_GUEST_PERM: i32 = 0x1024;
const ARCH_REQ_XCOMP_GUEST_PERM: i32 = 0x1025;
const ARCH_MAP_VDSO_32: i32 = 0x2002;
const ARCH_MAP_VDSO_64: i32 = 0x2003;

/// One above the last component of the processor's state that a program can ask for.
const XCOMP_END: usize = 20;

pub fn sys_arch_prctl(ctx: &mut Context, args: Args) -> Result<usize> {
    let addr = args[1];
    match args[0] as i32 {
        ARCH_SET_FS => ctx.user.set_fs_base(addr).map_err(|_| EPERM)?,
        ARCH_SET_GS => ctx.user.set_gs_base(addr).map_err(|_| EPERM)?,
        ARCH_GET_FS => mem::write(addr, &(ctx.user.fs_base() as u64))?,
        ARCH_GET_GS => mem::write(addr, &(ctx.user.gs_base() as u64))?,
        // CPUID can be executed, and the processor can't be told otherwise.
        ARCH_GET_CPUID => return Ok(1),
        ARCH_SET_CPUID => return Err(ENODEV),
        // All that is supported may be used; no component is so large that a program has to ask for it first.
        ARCH_GET_XCOMP_SUPP | ARCH_GET_XCOMP_PERM | ARCH_GET_XCOMP_GUEST_PERM => {
            mem::write(addr, &ostd::user::fpu::features())?;
        }
        ARCH_REQ_XCOMP_PERM | ARCH_REQ_XCOMP_GUEST_PERM if addr < XCOMP_END => return Err(EOPNOTSUPP),
        // A vDSO is mapped once, which execve has done.
        ARCH_MAP_VDSO_32 | ARCH_MAP_VDSO_64 => return Err(EEXIST),
        _ => return Err(EINVAL),
    }
    Ok(0)
}

/// Remembered, and without an effect: there is one personality.
pub fn sys_personality(ctx: &mut Context, args: Args) -> Result<usize> {
    const QUERY: u32 = u32::MAX;
    let new = args[0] as u32;
    let old = ctx.thread.personality.load(Relaxed);
    if new != QUERY {
        ctx.thread.personality.store(new, Relaxed);
    }
    Ok(old as usize)
}
