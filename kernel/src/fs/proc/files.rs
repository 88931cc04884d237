//! The locks of files: /proc/locks, and those of a descriptor. Waiters are not listed.

use proctree::NsId;

use crate::{
    fs::{
        File,
        fd_table::FileTable,
        file_lock::{self, FileLocks, LockKind, Owner, Range},
        inode::Inode,
    },
    prelude::*,
    process::pid,
};

/// /proc/locks, as readers in `ns` number processes; what belongs to one that they do not see is left out.
pub fn locks(out: &mut Vec<u8>) -> Result<()> {
    let ns = crate::process::Thread::current().process.ns();
    let mut number = 0;
    for inode in file_lock::locked_inodes() {
        let Some(locks) = inode.base().locks.get() else { continue };
        for line in lines(locks, &inode, ns, |_| true) {
            number += 1;
            out.try_reserve(line.len() + 16).map_err(|_| ENOMEM)?;
            out.extend_from_slice(format!("{number}: {line}\n").as_bytes());
        }
    }
    Ok(())
}

/// The locks of a descriptor, for /proc/PID/fdinfo: those that its open file has or that its table has of the same file.
pub fn locks_of(file: &File, files: &FileTable, ns: NsId, out: &mut String) {
    let Some(locks) = file.inode().base().locks.get() else { return };
    let owners = [Owner::of(file), Owner::of(files)];
    for (i, line) in lines(locks, file.inode(), ns, |owner| owners.contains(&owner)).iter().enumerate() {
        *out += &format!("lock:\t{}: {line}\n", i + 1);
    }
}

fn lines(
    locks: &FileLocks,
    inode: &Arc<dyn Inode>,
    ns: NsId,
    is_wanted: impl Fn(Owner) -> bool,
) -> Vec<String> {
    let base = inode.base();
    let (whole, ranges) = locks.list();
    let place = format!("{:02x}:{:02x}:{}", base.dev.major(), base.dev.minor(), base.ino);
    let word = |kind| if kind == LockKind::Exclusive { "WRITE" } else { "READ" };
    let mut lines = Vec::new();
    for lock in whole.into_iter().filter(|lock| is_wanted(lock.owner)) {
        let pid = pid::translate(lock.pid, ns);
        if pid != 0 {
            lines.push(format!("FLOCK  ADVISORY  {} {pid} {place} 0 EOF", word(lock.kind)));
        }
    }
    for lock in ranges.into_iter().filter(|lock| is_wanted(lock.owner)) {
        let Range { start, last } = lock.range;
        let end = if last >= i64::MAX as u64 { String::from("EOF") } else { last.to_string() };
        let kind = word(lock.kind);
        match lock.pid.map(|nr| pid::translate(nr, ns)) {
            None => lines.push(format!("OFDLCK ADVISORY  {kind} -1 {place} {start} {end}")),
            Some(0) => {}
            Some(pid) => lines.push(format!("POSIX  ADVISORY  {kind} {pid} {place} {start} {end}")),
        }
    }
    lines
}
