//! What a core file is called: kernel.core_pattern and kernel.core_uses_pid (core(5)).

use core::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use ostd::sync::SpinLock;

use crate::{
    lock_order,
    prelude::*,
    process::{signal::Signo, thread::COMM_LEN},
    syscall::system,
    time,
};

/// The longest pattern.
const MAX: usize = 127;

/// kernel.core_pattern; none: "core".
static PATTERN: SpinLock<Option<String>> = SpinLock::new(lock_order::PROCESS_MISC, None);
/// kernel.core_uses_pid: the pid is appended to a name that has none.
static USES_PID: AtomicBool = AtomicBool::new(false);

pub fn get() -> String {
    PATTERN.lock().clone().unwrap_or_else(|| String::from("core"))
}

/// Sets kernel.core_pattern. What is too long is cut off.
pub fn set(value: &str) -> Result<()> {
    let end = (0..=value.len().min(MAX)).rev().find(|&end| value.is_char_boundary(end)).unwrap_or(0);
    let new = String::from(&value[..end]);
    let old = PATTERN.lock().replace(new);
    drop(old);
    Ok(())
}

pub fn uses_pid() -> String {
    u32::from(USES_PID.load(Relaxed)).to_string()
}

/// Any number but 0 is on.
pub fn set_uses_pid(value: &str) -> Result<()> {
    let on = value.trim().parse::<i32>().map_err(|_| EINVAL)? != 0;
    USES_PID.store(on, Relaxed);
    Ok(())
}

/// Whether the pattern names a file.
pub fn is_file() -> bool {
    PATTERN.lock().as_ref().is_none_or(|pattern| !pattern.starts_with(['|', '@']))
}

/// What the pattern may ask for.
pub struct Facts {
    /// In its own namespace, and in the initial one.
    pub pid: u32,
    pub global_pid: u32,
    pub tid: u32,
    pub uid: u32,
    pub gid: u32,
    pub dumpable: u8,
    pub signo: Signo,
    pub comm: [u8; COMM_LEN],
    /// Path of the program.
    pub exe: Vec<u8>,
    /// RLIMIT_CORE.
    pub limit: u64,
}

impl Facts {
    /// The name that the pattern gives.
    pub fn name(&self) -> Vec<u8> {
        let pattern = get();
        let mut name = Vec::new();
        let mut has_pid = false;
        let mut chars = pattern.bytes();
        while let Some(byte) = chars.next() {
            if byte != b'%' {
                name.push(byte);
                continue;
            }
            match chars.next() {
                Some(what) => {
                    has_pid |= what == b'p';
                    self.put(&mut name, what);
                }
                None => break,
            }
        }
        if !has_pid && USES_PID.load(Relaxed) {
            name.extend_from_slice(format!(".{}", self.pid).as_bytes());
        }
        name
    }

    /// What stands for `%what`: nothing if that is unknown.
    fn put(&self, name: &mut Vec<u8>, what: u8) {
        let mut number = String::new();
        // Writing to a String does not fail.
        let _ = match what {
            b'%' => return name.push(b'%'),
            b'p' => write!(number, "{}", self.pid),
            b'P' => write!(number, "{}", self.global_pid),
            b'i' | b'I' => write!(number, "{}", self.tid),
            b'u' => write!(number, "{}", self.uid),
            b'g' => write!(number, "{}", self.gid),
            b'd' => write!(number, "{}", self.dumpable),
            b's' => write!(number, "{}", self.signo),
            b't' => write!(number, "{}", time::realtime_ns() / 1_000_000_000),
            b'c' => write!(number, "{}", self.limit),
            b'C' => write!(number, "{}", ostd::cpu::current().as_usize()),
            b'h' => return put_part(name, &system::hostname()),
            b'e' => return put_part(name, self.comm.split(|&byte| byte == 0).next().unwrap_or_default()),
            b'f' => return put_part(name, self.exe.rsplit(|&byte| byte == b'/').next().unwrap_or_default()),
            b'E' => return put_part(name, &self.exe),
            _ => return,
        };
        name.extend_from_slice(number.as_bytes());
    }
}

/// Text that others chose must not lead to another directory.
fn put_part(name: &mut Vec<u8>, text: &[u8]) {
    match text {
        b"." | b".." => {
            name.push(b'!');
            name.extend_from_slice(&text[1..]);
        }
        _ => name.extend(text.iter().map(|&byte| if byte == b'/' { b'!' } else { byte })),
    }
}
