//! shmctl(2).

use core::sync::atomic::Ordering::Relaxed;

use super::{MAX_BYTES, MAX_PAGES, MAX_SEGMENTS, REGISTRY};
use crate::{
    ipc::sysv::{LastPid, Stat, now_seconds, put_long},
    prelude::*,
    process::{Cap, Credentials, Thread, rlimit::Resource},
};

/// Number of 32-bit words of `struct shmid64_ds`.
pub const STAT_WORDS: usize = 28;

/// IPC_STAT and its like: the id, and `struct shmid64_ds`.
pub fn stat(thread: &Thread, id: i32, which: Stat) -> Result<(i32, [u32; STAT_WORDS])> {
    let creds = thread.creds();
    let registry = REGISTRY.lock();
    let (id, entry) = registry.ids.asked(&creds, id, which, |entry| &entry.perm)?;
    let mut words = [0; STAT_WORDS];
    words[..12].copy_from_slice(&entry.perm.encode(id));
    words[5] = entry.mode();
    put_long(&mut words, 12, entry.bytes);
    put_long(&mut words, 14, entry.attached as u64);
    put_long(&mut words, 16, entry.detached as u64);
    put_long(&mut words, 18, entry.changed as u64);
    put_long(&mut words, 22, entry.attachments() as u64);
    let (creator, last) = (entry.creator, entry.last);
    drop(registry);
    // Numbers are translated with the lock given back.
    let ns = thread.process.ns();
    words[20] = LastPid::seen_from(Some(creator), ns);
    words[21] = LastPid::seen_from(last, ns);
    Ok((id, words))
}

/// IPC_RMID: the segment goes with its last attachment.
pub fn remove(creds: &Credentials, id: i32) -> Result<()> {
    let mut registry = REGISTRY.lock();
    let entry = registry.ids.get_mut(id).ok_or(EINVAL)?;
    entry.perm.check_owner(creds)?;
    let gone = if entry.attachments() == 0 {
        registry.take(id)
    } else {
        entry.removed = true;
        let key = core::mem::take(&mut entry.perm.key);
        registry.ids.forget_key(key);
        None
    };
    drop(registry);
    drop(gone);
    Ok(())
}

/// IPC_SET.
pub fn set_owner(creds: &Credentials, id: i32, uid: u32, gid: u32, mode: u32) -> Result<()> {
    let mut registry = REGISTRY.lock();
    let entry = registry.ids.get_mut(id).ok_or(EINVAL)?;
    entry.perm.check_owner(creds)?;
    if uid == u32::MAX || gid == u32::MAX {
        return Err(EINVAL);
    }
    entry.perm.set(uid, gid, mode);
    entry.changed = now_seconds();
    Ok(())
}

/// SHM_LOCK and SHM_UNLOCK. Nothing is ever swapped out, so that only the limit makes a difference: RLIMIT_MEMLOCK for all that a
/// user has locked in segments.
///
/// # Errors
/// EINVAL, EPERM, ENOMEM over the limit.
pub fn lock(thread: &Thread, id: i32, lock: bool) -> Result<()> {
    let creds = thread.creds();
    let limit = thread.process.memory_limits().locked;
    let mut registry = REGISTRY.lock();
    let entry = registry.ids.get(id).ok_or(EINVAL)?;
    if !creds.capable(Cap::IpcLock) {
        let owns = creds.euid == entry.perm.uid || creds.euid == entry.perm.creator_uid;
        if !owns || lock && thread.process.rlimits().soft(Resource::Memlock) == 0 {
            return Err(EPERM);
        }
    }
    let user = creds.uid;
    if lock && entry.locked_by.is_none() {
        let theirs = registry.ids.iter().filter(|(_, entry)| entry.locked_by == Some(user));
        let locked: u64 = theirs.map(|(_, entry)| entry.pages() * PAGE_SIZE as u64).sum();
        if locked + entry.pages() * PAGE_SIZE as u64 > limit as u64 {
            return Err(ENOMEM);
        }
    }
    let Some(entry) = registry.ids.get_mut(id) else { return Err(EINVAL) };
    entry.locked_by = lock.then(|| entry.locked_by.unwrap_or(user));
    Ok(())
}

/// IPC_INFO: the highest index, and `struct shminfo64`.
pub fn limits() -> (usize, [u64; 9]) {
    let segments = MAX_SEGMENTS.load(Relaxed) as u64;
    let info = [MAX_BYTES.load(Relaxed), 1, segments, segments, MAX_PAGES.load(Relaxed), 0, 0, 0, 0];
    (REGISTRY.lock().ids.max_index(), info)
}

/// SHM_INFO: the highest index, and `struct shm_info`.
pub fn in_use() -> (usize, [u64; 6]) {
    let registry = REGISTRY.lock();
    let resident: usize = registry.ids.iter().map(|(_, entry)| entry.segment.resident()).sum();
    (registry.ids.max_index(), [registry.ids.len() as u64, registry.pages, resident as u64, 0, 0, 0])
}
