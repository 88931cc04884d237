//! /proc/sysvipc/msg.

use super::REGISTRY;
use crate::{ipc::sysv::LastPid, prelude::*, process::Thread};

pub fn text(out: &mut Vec<u8>) -> Result<()> {
    let heading = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      \
                   rtime      ctime\n";
    out.extend_from_slice(heading.as_bytes());
    // Lines are made without the lock.
    let queues: Vec<_> = REGISTRY
        .lock()
        .iter()
        .map(|(id, queue)| {
            let pids = [queue.last_sender, queue.last_receiver];
            let times = [queue.sent, queue.received, queue.changed];
            (id, queue.perm, queue.bytes, queue.messages.len(), pids, times)
        })
        .collect();
    let ns = Thread::current().process.ns();
    for (id, perm, bytes, count, pids, [sent, received, changed]) in queues {
        let [sender, receiver] = pids.map(|pid| LastPid::seen_from(pid, ns));
        let line = format!(
            "{:>10} {id:>10}  {:>4o}  {bytes:>10} {count:>10} {sender:>5} {receiver:>5} {:>5} {:>5} {:>5} {:>5} \
             {sent:>10} {received:>10} {changed:>10}\n",
            perm.key, perm.mode, perm.uid, perm.gid, perm.creator_uid, perm.creator_gid,
        );
        out.extend_from_slice(line.as_bytes());
    }
    Ok(())
}
