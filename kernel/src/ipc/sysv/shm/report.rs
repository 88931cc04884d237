//! /proc/sysvipc/shm.

use super::REGISTRY;
use crate::{ipc::sysv::LastPid, prelude::*, process::Thread};

pub fn text(out: &mut Vec<u8>) -> Result<()> {
    let heading = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      \
                   dtime      ctime                   rss                  swap\n";
    out.extend_from_slice(heading.as_bytes());
    // Lines are made without the lock.
    let segments: Vec<_> = REGISTRY
        .lock()
        .ids
        .iter()
        .map(|(id, entry)| {
            let times = [entry.attached, entry.detached, entry.changed];
            let figures = (entry.bytes, entry.attachments(), entry.segment.resident() * PAGE_SIZE);
            (id, entry.perm, entry.mode(), [Some(entry.creator), entry.last], times, figures)
        })
        .collect();
    let ns = Thread::current().process.ns();
    for (id, perm, mode, pids, [attached, detached, changed], (bytes, attachments, resident)) in segments {
        let [creator, last] = pids.map(|pid| LastPid::seen_from(pid, ns));
        let line = format!(
            "{:>10} {id:>10}  {mode:>4o} {bytes:>21} {creator:>5} {last:>5}  {attachments:>5} {:>5} {:>5} {:>5} {:>5} \
             {attached:>10} {detached:>10} {changed:>10} {resident:>21} {:>21}\n",
            perm.key, perm.uid, perm.gid, perm.creator_uid, perm.creator_gid, 0,
        );
        out.extend_from_slice(line.as_bytes());
    }
    Ok(())
}
