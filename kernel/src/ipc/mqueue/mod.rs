//! POSIX message queues (mq_overview(7)).
//!
//! A [`Queue`](queue::Queue) is a file of the file system mqueue: mq_open(2) finds or makes it in an instance that no program needs
//! to have mounted, with the permission checks of any file; its descriptor can be polled. Whoever mounts it sees all
//! queues.
//!
//! | file | what |
//! |---|---|
//! | here | limits, opening and unlinking |
//! | [`queue`] | messages, and who waits for them |
//! | [`notify`] | mq_notify(2) |
//! | [`fs`] | the file system |
//!
//! **Charges.** A queue counts for its maker's user with all that it may come to hold, against RLIMIT_MSGQUEUE, from when it is made
//! until nobody has it open and no name leads to it.

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicI64, Ordering::Relaxed};

use ostd::sync::SpinLock;

use crate::{
    fs::{
        File, OpenFlags,
        access::{self, Access},
        dentry,
        inode::{DevId, FileType, NAME_MAX, NewNode},
        name_ops::NameOp,
        path::{Path, find_locked},
    },
    lock_order,
    prelude::*,
    process::{Cap, Credentials, Thread, rlimit::Resource},
};

pub mod fs;
mod notify;
mod queue;
#[cfg(feature = "ktest")]
mod tests;

pub use self::{
    notify::Event,
    queue::{MAX_PRIORITY, Message, Queue},
};

/// /proc/sys/fs/mqueue: what a queue gets that nothing is said of, the most that one without CAP_SYS_RESOURCE may ask for, and how many
/// queues there may be.
pub static DEFAULT_MESSAGES: AtomicI64 = AtomicI64::new(10);
pub static DEFAULT_SIZE: AtomicI64 = AtomicI64::new(8192);
pub static MAX_MESSAGES: AtomicI64 = AtomicI64::new(10);
pub static MAX_SIZE: AtomicI64 = AtomicI64::new(8192);
pub static MAX_QUEUES: AtomicI64 = AtomicI64::new(256);

/// What nobody may go beyond.
pub const HARD_MAX_MESSAGES: i64 = 65536;
pub const HARD_MAX_SIZE: i64 = 16 << 20;

/// What a message takes besides its bytes, and what a priority does, as Linux counts them.
const MESSAGE_COST: u64 = 48;
const PRIORITY_COST: u64 = 48;

/// How much a queue can hold.
#[derive(Clone, Copy)]
pub struct Capacity {
    pub messages: i64,
    pub size: i64,
}

impl Capacity {
    fn default() -> Capacity {
        let lower = |max: &AtomicI64, default: &AtomicI64| max.load(Relaxed).min(default.load(Relaxed));
        Capacity { messages: lower(&MAX_MESSAGES, &DEFAULT_MESSAGES), size: lower(&MAX_SIZE, &DEFAULT_SIZE) }
    }

    /// # Errors
    /// EINVAL when it is not within what the caller may ask for.
    fn check(self, privileged: bool) -> Result<()> {
        let (messages, size) = match privileged {
            true => (HARD_MAX_MESSAGES, HARD_MAX_SIZE),
            false => (MAX_MESSAGES.load(Relaxed), MAX_SIZE.load(Relaxed)),
        };
        let fits = (1..=messages).contains(&self.messages) && (1..=size).contains(&self.size);
        if fits { Ok(()) } else { Err(EINVAL) }
    }

    /// The memory that a full queue takes.
    fn bytes(self) -> u64 {
        let (messages, size) = (self.messages as u64, self.size as u64);
        messages * (size + MESSAGE_COST) + messages.min(u64::from(MAX_PRIORITY)) * PRIORITY_COST
    }
}

/// What all queues take together.
struct Totals {
    queues: i64,
    /// Bytes by user.
    bytes: BTreeMap<u32, u64>,
}

static TOTALS: SpinLock<Totals> =
    SpinLock::new(lock_order::MQUEUE_TOTALS, Totals { queues: 0, bytes: BTreeMap::new() });

/// A queue's share in [`TOTALS`], given back when it is dropped.
struct Charge {
    user: u32,
    bytes: u64,
}

impl Charge {
    /// # Errors
    /// ENOSPC for one queue too many, EINVAL for a capacity that `creds` may not ask for, EMFILE beyond RLIMIT_MSGQUEUE.
    fn new(creds: &Credentials, limit: u64, capacity: Capacity) -> Result<Charge> {
        let privileged = creds.capable(Cap::SysResource);
        let mut totals = TOTALS.lock();
        if totals.queues >= MAX_QUEUES.load(Relaxed) && !privileged {
            return Err(ENOSPC);
        }
        capacity.check(privileged)?;
        let bytes = capacity.bytes();
        let used = totals.bytes.get(&creds.uid).copied().unwrap_or(0).saturating_add(bytes);
        if used > limit {
            return Err(EMFILE);
        }
        totals.queues += 1;
        totals.bytes.insert(creds.uid, used);
        Ok(Charge { user: creds.uid, bytes })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut totals = TOTALS.lock();
        totals.queues -= 1;
        if let Some(used) = totals.bytes.get_mut(&self.user) {
            *used -= self.bytes;
            if *used == 0 {
                totals.bytes.remove(&self.user);
            }
        }
    }
}

/// # Errors
/// ENOENT for no name, EACCES for one that no queue can have, ENAMETOOLONG.
fn check_name(name: &[u8]) -> Result<()> {
    match name {
        b"" => Err(ENOENT),
        b"." | b".." => Err(EACCES),
        _ if name.contains(&b'/') => Err(EACCES),
        _ if name.len() > NAME_MAX => Err(ENAMETOOLONG),
        _ => Ok(()),
    }
}

/// mq_open(2), without the slash before the name.
pub fn open(
    thread: &Thread,
    name: &[u8],
    flags: OpenFlags,
    mode: u32,
    capacity: Option<Capacity>,
) -> Result<Arc<File>> {
    check_name(name)?;
    let (root, creds) = (fs::root(), thread.creds());
    let dir = root.inode()?;
    let lock = dir.base().lock.lock();
    let (dentry, is_new) = match find_locked(&root.dentry, dir, name)? {
        Some(dentry) => (dentry, false),
        None if !flags.contains(OpenFlags::CREAT) => return Err(ENOENT),
        None => {
            access::check_change_dir(root, &creds)?;
            let (gid, mode) =
                access::inherit(dir.base(), &creds, FileType::Regular.mode_bits() | mode & 0o7777);
            let new = NewNode { mode, uid: creds.fsuid, gid, rdev: DevId(0) };
            let node = fs::create(name, new, &creds, thread.process.rlimit(Resource::Msgqueue), capacity)?;
            (dentry::insert(&root.dentry, name, node), true)
        }
    };
    drop(lock);
    let path = Path { mount: root.mount.clone(), dentry };
    let inode = path.inode()?.clone();
    if !is_new {
        if flags.contains(OpenFlags::CREAT | OpenFlags::EXCL) {
            return Err(EEXIST);
        }
        let wanted = match flags.bits() & 3 {
            0 => Access::READ,
            1 => Access::WRITE,
            2 => Access::READ | Access::WRITE,
            _ => return Err(EINVAL),
        };
        access::check(inode.base(), &creds, wanted)?;
    }
    let ops = inode.clone().open(flags)?;
    File::new(ops, inode, Some(path), flags)
}

/// mq_unlink(2).
pub fn unlink(thread: &Thread, name: &[u8]) -> Result<()> {
    check_name(name)?;
    let root = fs::root();
    NameOp::new(&thread.creds(), root, root.clone(), name)?.unlink()
}
