//! /proc/sys: the parameters of the kernel (proc_sys(5)).

use core::{
    ops::RangeInclusive,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use proctree::NumberSpace;

use super::node::{Entry, Kind};
use crate::{
    fs::{aio, devpts, event::epoll, notify::inotify, pipe},
    ipc::{
        mqueue,
        sysv::{self, msg, sem, shm},
    },
    mm, net,
    prelude::*,
    process::{
        Cap, Thread,
        coredump::pattern,
        credentials::{self, LAST_CAP},
        oom, reaper, rlimit, seccomp, tree,
    },
    sched,
    syscall::system,
};

/// A parameter: how it is read, and how it is changed if it can be.
pub struct Sysctl {
    read: fn() -> String,
    write: Option<fn(&str) -> Result<()>>,
    perm: u32,
    /// One number: a write takes the first word, and what is behind it is not looked at.
    is_number: bool,
}

impl Sysctl {
    pub fn perm(&self) -> u32 {
        self.perm
    }

    /// Root can't change the others either.
    pub fn is_writable(&self) -> bool {
        self.write.is_some()
    }

    pub fn read(&self, out: &mut Vec<u8>) {
        out.extend_from_slice((self.read)().as_bytes());
        out.push(b'\n');
    }

    /// Returns how many of the bytes were taken.
    pub fn write(&self, value: &[u8]) -> Result<usize> {
        let text = core::str::from_utf8(value).map_err(|_| EINVAL)?;
        let write = self.write.ok_or(EACCES)?;
        if !self.is_number {
            return write(text.trim_end_matches(['\n', '\0'])).map(|()| value.len());
        }
        let behind_blanks = text.trim_ascii_start();
        let Some(word) = behind_blanks.split_ascii_whitespace().next() else { return Ok(value.len()) };
        write(word.trim_end_matches('\0'))?;
        // With the blank that ends it.
        Ok((text.len() - behind_blanks.len() + word.len() + 1).min(value.len()))
    }
}

const fn read_only(read: fn() -> String) -> Sysctl {
    Sysctl { read, write: None, perm: 0o444, is_number: false }
}

const fn writable(read: fn() -> String, write: fn(&str) -> Result<()>) -> Sysctl {
    Sysctl { read, write: Some(write), perm: 0o644, is_number: false }
}

const fn one_number(read: fn() -> String, write: fn(&str) -> Result<()>) -> Sysctl {
    Sysctl { read, write: Some(write), perm: 0o644, is_number: true }
}

const fn file(name: &'static str, sysctl: &'static Sysctl) -> Entry {
    Entry { name, kind: Kind::Sysctl(sysctl) }
}

/// A number as C writes it: 10, 0xa, 012.
fn parse<T: TryFrom<i128>>(value: &str) -> Result<T> {
    let value = value.trim_ascii();
    let (sign, digits) = value.strip_prefix('-').map_or((1, value), |digits| (-1, digits));
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => (16, digits),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    // No second sign.
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return Err(EINVAL);
    }
    let number = i128::from_str_radix(digits, radix).map_err(|_| EINVAL)?;
    T::try_from(sign * number).map_err(|_| EINVAL)
}

/// A value between bounds.
fn parse_in<T: TryFrom<i128> + PartialOrd>(value: &str, range: RangeInclusive<T>) -> Result<T> {
    parse(value).ok().filter(|value| range.contains(value)).ok_or(EINVAL)
}

/// A parameter that is a number between bounds.
macro_rules! number {
    ($value:path, $range:expr) => {
        one_number(
            || $value.load(Relaxed).to_string(),
            |value| {
                $value.store(parse_in(value, $range)?, Relaxed);
                Ok(())
            },
        )
    };
}

pub const SYS: &[Entry] = &[
    Entry { name: "fs", kind: Kind::Dir(FS) },
    Entry { name: "kernel", kind: Kind::Dir(KERNEL) },
    Entry { name: "net", kind: Kind::Dir(NET) },
    Entry { name: "vm", kind: Kind::Dir(VM) },
];

static BUFFER_DEFAULT: Sysctl = read_only(|| net::base::DEFAULT_BUFFER.to_string());
static BUFFER_MAX: Sysctl = read_only(|| net::base::MAX_BUFFER.to_string());
static OPTMEM_MAX: Sysctl = read_only(|| net::control::MAX_CONTROL.to_string());
static SOMAXCONN: Sysctl = read_only(|| net::unix::MAX_BACKLOG.to_string());
static MAX_DGRAM_QLEN: Sysctl = read_only(|| net::unix::MAX_DATAGRAMS.to_string());

const NET: &[Entry] =
    &[Entry { name: "core", kind: Kind::Dir(NET_CORE) }, Entry { name: "unix", kind: Kind::Dir(NET_UNIX) }];

const NET_CORE: &[Entry] = &[
    file("optmem_max", &OPTMEM_MAX),
    file("rmem_default", &BUFFER_DEFAULT),
    file("rmem_max", &BUFFER_MAX),
    file("somaxconn", &SOMAXCONN),
    file("wmem_default", &BUFFER_DEFAULT),
    file("wmem_max", &BUFFER_MAX),
];

const NET_UNIX: &[Entry] = &[file("max_dgram_qlen", &MAX_DGRAM_QLEN)];

static AIO_NR: Sysctl = read_only(|| aio::nr().to_string());
static AIO_MAX_NR: Sysctl = one_number(
    || aio::max_nr().to_string(),
    |value| {
        aio::set_max_nr(parse(value)?);
        Ok(())
    },
);
static FILE_MAX: Sysctl = read_only(|| i64::MAX.to_string());
static NR_OPEN: Sysctl = read_only(|| rlimit::NR_OPEN.to_string());
static FILE_NR: Sysctl = read_only(|| format!("{}\t0\t{}", crate::fs::file::count(), i64::MAX));
static PIPE_MAX_SIZE: Sysctl = writable(
    || pipe::MAX_CAPACITY.load(Relaxed).to_string(),
    |value| {
        let Some(word) = value.split_ascii_whitespace().next() else { return Ok(()) };
        pipe::MAX_CAPACITY.store(pipe::round_capacity(parse::<u64>(word)? as u32 as usize)?, Relaxed);
        Ok(())
    },
);
static PIPE_PAGES_HARD: Sysctl = number!(pipe::USER_PAGES_HARD, 0..=usize::MAX);
static PIPE_PAGES_SOFT: Sysctl = number!(pipe::USER_PAGES_SOFT, 0..=usize::MAX);
static SUID_DUMPABLE: Sysctl = one_number(
    || mm::suid_dumpable().to_string(),
    |value| {
        mm::set_suid_dumpable(parse_in(value, 0..=2)?);
        Ok(())
    },
);
static MOUNT_MAX: Sysctl = read_only(|| String::from("100000"));

static EPOLL_WATCHES: Sysctl = read_only(|| epoll::max_user_watches().to_string());

const FS: &[Entry] = &[
    file("aio-max-nr", &AIO_MAX_NR),
    file("aio-nr", &AIO_NR),
    Entry { name: "epoll", kind: Kind::Dir(EPOLL) },
    file("file-max", &FILE_MAX),
    file("file-nr", &FILE_NR),
    Entry { name: "inotify", kind: Kind::Dir(INOTIFY) },
    file("mount-max", &MOUNT_MAX),
    Entry { name: "mqueue", kind: Kind::Dir(MQUEUE) },
    file("nr_open", &NR_OPEN),
    file("overflowgid", &OVERFLOW_GID),
    file("overflowuid", &OVERFLOW_UID),
    file("pipe-max-size", &PIPE_MAX_SIZE),
    file("pipe-user-pages-hard", &PIPE_PAGES_HARD),
    file("pipe-user-pages-soft", &PIPE_PAGES_SOFT),
    file("suid_dumpable", &SUID_DUMPABLE),
];

static MQ_MSG_DEFAULT: Sysctl = number!(mqueue::DEFAULT_MESSAGES, 1..=mqueue::HARD_MAX_MESSAGES);
static MQ_MSG_MAX: Sysctl = number!(mqueue::MAX_MESSAGES, 1..=mqueue::HARD_MAX_MESSAGES);
static MQ_MSGSIZE_DEFAULT: Sysctl = number!(mqueue::DEFAULT_SIZE, 128..=mqueue::HARD_MAX_SIZE);
static MQ_MSGSIZE_MAX: Sysctl = number!(mqueue::MAX_SIZE, 128..=mqueue::HARD_MAX_SIZE);
static MQ_QUEUES_MAX: Sysctl = number!(mqueue::MAX_QUEUES, 0..=i64::from(i32::MAX));

const MQUEUE: &[Entry] = &[
    file("msg_default", &MQ_MSG_DEFAULT),
    file("msg_max", &MQ_MSG_MAX),
    file("msgsize_default", &MQ_MSGSIZE_DEFAULT),
    file("msgsize_max", &MQ_MSGSIZE_MAX),
    file("queues_max", &MQ_QUEUES_MAX),
];

const EPOLL: &[Entry] = &[file("max_user_watches", &EPOLL_WATCHES)];

/// The greatest int: what a limit may be.
const INT_MAX: usize = i32::MAX as usize;

static QUEUED_EVENTS: Sysctl = number!(inotify::MAX_QUEUED_EVENTS, 0..=INT_MAX);
static USER_INSTANCES: Sysctl = number!(inotify::MAX_USER_INSTANCES, 0..=INT_MAX);
static USER_WATCHES: Sysctl = one_number(
    || inotify::max_user_watches().to_string(),
    |value| parse_in(value, 0..=INT_MAX).map(inotify::set_max_user_watches),
);

const INOTIFY: &[Entry] = &[
    file("max_queued_events", &QUEUED_EVENTS),
    file("max_user_instances", &USER_INSTANCES),
    file("max_user_watches", &USER_WATCHES),
];

static OSTYPE: Sysctl = read_only(|| String::from("Linux"));
static OSRELEASE: Sysctl = read_only(|| String::from(system::RELEASE));
static VERSION: Sysctl = read_only(|| String::from(system::VERSION));
static HOSTNAME: Sysctl = writable(
    || String::from_utf8_lossy(&system::hostname()).into_owned(),
    |name| system::set_hostname(name.as_bytes()),
);
static DOMAINNAME: Sysctl = writable(
    || String::from_utf8_lossy(&system::domainname()).into_owned(),
    |name| system::set_domainname(name.as_bytes()),
);
/// Programs, stacks and mappings are where they always are.
static RANDOMIZE_VA_SPACE: Sysctl = read_only(|| String::from("0"));
static TAINTED: Sysctl = read_only(|| String::from("0"));
static PID_MAX: Sysctl = one_number(pid_max, set_pid_max);
/// Who may write it is looked at when it is written.
static LAST_PID: Sysctl = Sysctl { perm: 0o666, ..one_number(|| last_pid().to_string(), set_last_pid) };
static THREADS_MAX: Sysctl = number!(rlimit::THREADS_MAX, 1..=rlimit::THREADS_MAX_LIMIT);
static CAP_LAST_CAP: Sysctl = read_only(|| LAST_CAP.to_string());
static NGROUPS_MAX: Sysctl = read_only(|| crate::process::credentials::NGROUPS_MAX.to_string());
static OVERFLOW_UID: Sysctl = number!(credentials::OVERFLOW_UID, 0..=MAX_SHORT_ID);
static OVERFLOW_GID: Sysctl = number!(credentials::OVERFLOW_GID, 0..=MAX_SHORT_ID);

/// What stands for an id that can't be told fits into 16 bits.
const MAX_SHORT_ID: u32 = u16::MAX as u32;
static CORE_PATTERN: Sysctl = writable(pattern::get, pattern::set);
static CORE_USES_PID: Sysctl = writable(pattern::uses_pid, pattern::set_uses_pid);

/// Who may become a subreaper (docs/reaper.md).
static SUBREAPER_SCOPE: Sysctl = writable(
    || reaper::subreaper_scope().to_string(),
    |value| reaper::set_subreaper_scope(value.trim().parse().map_err(|_| EINVAL)?),
);

static SCHED_RR_TIMESLICE: Sysctl = read_only(|| (sched::QUANTUM_NS / 1_000_000).to_string());
static SCHED_RT_PERIOD: Sysctl = read_only(|| (sched::PERIOD_NS / 1000).to_string());
/// -1: all of the period.
static SCHED_RT_RUNTIME: Sysctl = writable(
    || match sched::realtime_budget_ns() {
        sched::PERIOD_NS => String::from("-1"),
        budget => (budget / 1000).to_string(),
    },
    |value| {
        let budget = match value.trim().parse::<i64>().map_err(|_| EINVAL)? {
            -1 => sched::PERIOD_NS,
            us => u64::try_from(us).map_err(|_| EINVAL)?.saturating_mul(1000),
        };
        if budget > sched::PERIOD_NS {
            return Err(EINVAL);
        }
        sched::set_realtime_budget_ns(budget);
        Ok(())
    },
);

/// The printk levels: console, default, minimum, console at boot.
static PRINTK: Sysctl = writable(
    || format!("{}\t4\t1\t7", PRINTK_LEVEL.load(Relaxed)),
    |value| {
        let level = value.split_ascii_whitespace().next().and_then(|v| v.parse().ok()).ok_or(EINVAL)?;
        PRINTK_LEVEL.store(level, Relaxed);
        log::set_max_level(match level {
            0..=3 => log::LevelFilter::Error,
            4 => log::LevelFilter::Error,
            5 => log::LevelFilter::Warn,
            6 | 7 => log::LevelFilter::Info,
            _ => log::LevelFilter::Debug,
        });
        Ok(())
    },
);
static PRINTK_LEVEL: AtomicU32 = AtomicU32::new(7);

const KERNEL: &[Entry] = &[
    file("cap_last_cap", &CAP_LAST_CAP),
    file("core_pattern", &CORE_PATTERN),
    file("core_uses_pid", &CORE_USES_PID),
    file("domainname", &DOMAINNAME),
    file("hostname", &HOSTNAME),
    file("msgmax", &MSGMAX),
    file("msgmnb", &MSGMNB),
    file("msgmni", &MSGMNI),
    file("ngroups_max", &NGROUPS_MAX),
    file("ns_last_pid", &LAST_PID),
    file("osrelease", &OSRELEASE),
    file("ostype", &OSTYPE),
    file("overflowgid", &OVERFLOW_GID),
    file("overflowuid", &OVERFLOW_UID),
    file("pid_max", &PID_MAX),
    file("printk", &PRINTK),
    Entry { name: "pty", kind: Kind::Dir(PTY) },
    file("randomize_va_space", &RANDOMIZE_VA_SPACE),
    file("tainted", &TAINTED),
    Entry { name: "random", kind: Kind::Dir(RANDOM) },
    file("sched_rr_timeslice_ms", &SCHED_RR_TIMESLICE),
    file("sched_rt_period_us", &SCHED_RT_PERIOD),
    file("sched_rt_runtime_us", &SCHED_RT_RUNTIME),
    Entry { name: "seccomp", kind: Kind::Dir(SECCOMP) },
    file("sem", &SEM),
    file("shm_rmid_forced", &SHM_RMID_FORCED),
    file("shmall", &SHMALL),
    file("shmmax", &SHMMAX),
    file("shmmni", &SHMMNI),
    file("subreaper_scope", &SUBREAPER_SCOPE),
    file("threads-max", &THREADS_MAX),
    file("version", &VERSION),
];

static PTY_MAX: Sysctl = number!(devpts::MAX, 0..=i32::MAX);
static PTY_RESERVE: Sysctl = number!(devpts::RESERVE, 0..=i32::MAX);
static PTY_NR: Sysctl = read_only(|| devpts::COUNT.load(Relaxed).to_string());

const PTY: &[Entry] = &[file("max", &PTY_MAX), file("nr", &PTY_NR), file("reserve", &PTY_RESERVE)];

/// The limits of System V semaphores; those that are left out stay.
static SEM: Sysctl = writable(
    || {
        let limits = sem::LIMITS.each_ref().map(|limit| limit.load(Relaxed).to_string());
        limits.join("\t")
    },
    |value| {
        let mut limits = sem::LIMITS.each_ref().map(|limit| limit.load(Relaxed));
        for (limit, word) in limits.iter_mut().zip(value.split_ascii_whitespace()) {
            *limit = word.parse().map_err(|_| EINVAL)?;
        }
        if !(0..=sysv::MAX_OBJECTS as i32).contains(&limits[sem::LIMIT_SETS]) {
            return Err(ERANGE);
        }
        for (limit, new) in sem::LIMITS.iter().zip(limits) {
            limit.store(new, Relaxed);
        }
        Ok(())
    },
);

const MAX_OBJECTS: i32 = sysv::MAX_OBJECTS as i32;

static MSGMAX: Sysctl = number!(msg::MAX_MESSAGE, 0..=i32::MAX);
static MSGMNB: Sysctl = number!(msg::MAX_BYTES, 0..=i32::MAX);
static MSGMNI: Sysctl = number!(msg::MAX_QUEUES, 0..=MAX_OBJECTS);
static SHM_RMID_FORCED: Sysctl = one_number(
    || u32::from(shm::forced()).to_string(),
    |value| {
        shm::set_forced(parse_in(value, 0..=1)? != 0i32);
        Ok(())
    },
);
static SHMALL: Sysctl = number!(shm::MAX_PAGES, 0..=u64::MAX);
static SHMMAX: Sysctl = number!(shm::MAX_BYTES, 0..=u64::MAX);
static SHMMNI: Sysctl = number!(shm::MAX_SEGMENTS, 0..=MAX_OBJECTS);

static ACTIONS_AVAIL: Sysctl = read_only(seccomp::log::available);
static ACTIONS_LOGGED: Sysctl = writable(seccomp::log::logged, seccomp::log::set_logged);

const SECCOMP: &[Entry] = &[file("actions_avail", &ACTIONS_AVAIL), file("actions_logged", &ACTIONS_LOGGED)];

// Numbers are the reader's namespace's, whatever the mount shows (rule 6.17).

fn with_numbers<R>(f: impl FnOnce(&mut NumberSpace) -> R) -> Option<R> {
    let ns = Thread::current().process.ns();
    tree::lock().ns_numbers(ns).map(f)
}

fn pid_max() -> String {
    with_numbers(|numbers| numbers.pid_max()).unwrap_or(tree::PID_MAX).to_string()
}

fn set_pid_max(value: &str) -> Result<()> {
    let pid_max = parse_in(value, tree::PID_MAX_MIN..=tree::PID_MAX_LIMIT)?;
    with_numbers(|numbers| numbers.set_pid_max(pid_max));
    Ok(())
}

/// The number given out last.
pub fn last_pid() -> u32 {
    with_numbers(|numbers| numbers.last()).unwrap_or(0)
}

/// The next number will be the one behind `value`.
fn set_last_pid(value: &str) -> Result<()> {
    let creds = Thread::current().creds();
    if !creds.capable(Cap::SysAdmin) && !creds.capable(Cap::CheckpointRestore) {
        return Err(EPERM);
    }
    let last: u32 = parse(value)?;
    let set = |numbers: &mut NumberSpace| {
        let in_range = last <= numbers.pid_max();
        if in_range {
            numbers.set_last(last);
        }
        in_range
    };
    if with_numbers(set) == Some(true) { Ok(()) } else { Err(EINVAL) }
}

static UUID: Sysctl = read_only(uuid);
static BOOT_ID: Sysctl = read_only(|| {
    static ID: spin::Once<String> = spin::Once::new();
    ID.call_once(uuid).clone()
});
static POOL_SIZE: Sysctl = read_only(|| String::from("256"));

const RANDOM: &[Entry] = &[
    file("boot_id", &BOOT_ID),
    file("entropy_avail", &POOL_SIZE),
    file("poolsize", &POOL_SIZE),
    file("uuid", &UUID),
];

/// A random (version 4) UUID.
fn uuid() -> String {
    let mut bytes = [0u8; 16];
    ostd::random::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Bits 0 and 1 ask for page cache and for dentries. All files are in memory, so there are only dentries to drop, and with
/// them goes what the kernel's allocators keep for reuse.
fn drop_caches(value: &str) -> Result<()> {
    if parse_in(value, 1u32..=4)? & 2 != 0 {
        oom::give_back();
    }
    Ok(())
}

static DROP_CACHES: Sysctl = Sysctl { perm: 0o200, ..one_number(|| String::from("0"), drop_caches) };
static OVERCOMMIT: Sysctl = read_only(|| String::from("1"));
static MAX_MAP_COUNT: Sysctl = read_only(|| String::from("65530"));
static MMAP_MIN_ADDR: Sysctl = read_only(|| String::from("65536"));

const VM: &[Entry] = &[
    file("drop_caches", &DROP_CACHES),
    file("max_map_count", &MAX_MAP_COUNT),
    file("mmap_min_addr", &MMAP_MIN_ADDR),
    file("overcommit_memory", &OVERCOMMIT),
];
