//! msgctl(2).

use core::sync::atomic::Ordering::Relaxed;

use super::{MAX_BYTES, MAX_MESSAGE, MAX_QUEUES, REGISTRY};
use crate::{
    ipc::sysv::{LastPid, Stat, now_seconds, put_long},
    prelude::*,
    process::{Cap, Credentials, Thread},
};

/// Number of 32-bit words of `struct msqid64_ds`.
pub const STAT_WORDS: usize = 30;

/// IPC_STAT and its like: the id, and `struct msqid64_ds`.
pub fn stat(thread: &Thread, id: i32, which: Stat) -> Result<(i32, [u32; STAT_WORDS])> {
    let creds = thread.creds();
    let registry = REGISTRY.lock();
    let (id, queue) = registry.asked(&creds, id, which, |queue| &queue.perm)?;
    let mut words = [0; STAT_WORDS];
    words[..12].copy_from_slice(&queue.perm.encode(id));
    put_long(&mut words, 12, queue.sent as u64);
    put_long(&mut words, 14, queue.received as u64);
    put_long(&mut words, 16, queue.changed as u64);
    put_long(&mut words, 18, queue.bytes as u64);
    put_long(&mut words, 20, queue.messages.len() as u64);
    put_long(&mut words, 22, queue.max_bytes as u64);
    let pids = [queue.last_sender, queue.last_receiver];
    drop(registry);
    // Numbers are translated with the lock given back.
    let ns = thread.process.ns();
    for (word, pid) in words[24..].iter_mut().zip(pids) {
        *word = LastPid::seen_from(pid, ns);
    }
    Ok((id, words))
}

/// IPC_RMID: who waits gets EIDRM.
pub fn remove(creds: &Credentials, id: i32) -> Result<()> {
    let mut registry = REGISTRY.lock();
    let perm = registry.get(id).ok_or(EINVAL)?.perm;
    perm.check_owner(creds)?;
    let gone = registry.remove(id, perm.key);
    if let Some(queue) = &gone {
        queue.dissolve();
    }
    drop(registry);
    drop(gone);
    Ok(())
}

/// IPC_SET.
///
/// # Errors
/// EINVAL; EPERM for those who don't own the queue, and without CAP_SYS_RESOURCE for a size beyond kernel.msgmnb.
pub fn set(creds: &Credentials, id: i32, uid: u32, gid: u32, mode: u32, max_bytes: u64) -> Result<()> {
    let mut registry = REGISTRY.lock();
    let queue = registry.get_mut(id).ok_or(EINVAL)?;
    queue.perm.check_owner(creds)?;
    if max_bytes > MAX_BYTES.load(Relaxed).max(0) as u64 {
        creds.require(Cap::SysResource)?;
    }
    if uid == u32::MAX || gid == u32::MAX {
        return Err(EINVAL);
    }
    queue.perm.set(uid, gid, mode);
    queue.max_bytes = max_bytes as usize;
    queue.changed = now_seconds();
    queue.refuse_receivers();
    queue.admit();
    Ok(())
}

/// IPC_INFO, or MSG_INFO with what is in `use`: the highest index, and `struct msginfo`.
pub fn info(in_use: bool) -> (usize, [u32; 8]) {
    /// What stands for limits that there are none of.
    const SEGMENT_SIZE: u32 = 16;
    const SEGMENTS: u32 = 0xffff;
    const POOL_KIB: u32 = 512_000;
    const DEFAULT_BYTES: u32 = 16384;

    let registry = REGISTRY.lock();
    let [longest, bytes, queues] =
        [&MAX_MESSAGE, &MAX_BYTES, &MAX_QUEUES].map(|max| max.load(Relaxed) as u32);
    let (pool, map, headers) = match in_use {
        true => {
            let messages: usize = registry.iter().map(|(_, queue)| queue.messages.len()).sum();
            let used: usize = registry.iter().map(|(_, queue)| queue.bytes).sum();
            (registry.len() as u32, messages as u32, used as u32)
        }
        false => (POOL_KIB, DEFAULT_BYTES, DEFAULT_BYTES),
    };
    (registry.max_index(), [pool, map, longest, bytes, queues, SEGMENT_SIZE, headers, SEGMENTS])
}
