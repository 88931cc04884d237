//! What can be found by walking all open files: /proc/locks and /proc/sys/fs/file-nr.
//!
//! Who keeps a lock has the file open: a lock of fcntl(2) goes with any descriptor of its table, one of flock(2) with the
//! file. A file that no descriptor table has (on its way through a socket) is not seen. Waiters are not listed.

use alloc::collections::BTreeMap;

use proctree::NsId;

use crate::{
    fs::{
        File,
        fd_table::FileTable,
        file_lock::{FileLocks, LockKind, Owner, Range},
        inode::Inode,
    },
    prelude::*,
    process::{pid, signal, tree},
};

/// All open files of all processes, each once.
fn open_files() -> Vec<Arc<File>> {
    let mut files: BTreeMap<usize, Arc<File>> = BTreeMap::new();
    let mut tables: BTreeMap<usize, ()> = BTreeMap::new();
    for process in tree::all_processes() {
        for table in signal::threads(&process).iter().filter_map(|thread| thread.try_files()) {
            if tables.insert(Arc::as_ptr(&table) as usize, ()).is_some() {
                continue;
            }
            for file in table.list_from(0).into_iter().filter_map(|fd| table.get_any(fd).ok()) {
                files.insert(Arc::as_ptr(&file) as usize, file);
            }
        }
    }
    files.into_values().collect()
}

pub fn count() -> usize {
    open_files().len()
}

/// /proc/locks, as readers in `ns` number processes; what belongs to one that they do not see is left out.
pub fn locks(out: &mut Vec<u8>) -> Result<()> {
    let ns = crate::process::Thread::current().process.ns();
    let mut inodes: BTreeMap<usize, Arc<File>> = BTreeMap::new();
    for file in open_files() {
        let base: *const _ = file.inode().base();
        inodes.insert(base as usize, file);
    }
    let mut number = 0;
    for file in inodes.values() {
        let Some(locks) = file.inode().base().locks.get() else { continue };
        for line in lines(locks, file.inode(), ns, |_| true) {
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
