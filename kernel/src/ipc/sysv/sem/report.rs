//! /proc/sysvipc/sem.

use super::REGISTRY;
use crate::prelude::*;

pub fn text(out: &mut Vec<u8>) -> Result<()> {
    let heading = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
    out.extend_from_slice(heading.as_bytes());
    // Lines are made without the lock.
    let sets: Vec<_> = REGISTRY
        .lock()
        .ids
        .iter()
        .map(|(id, set)| (id, set.perm, set.sems.len(), set.operated, set.changed))
        .collect();
    for (id, perm, count, operated, changed) in sets {
        let line = format!(
            "{:>10} {id:>10}  {:>4o} {count:>10} {:>5} {:>5} {:>5} {:>5} {operated:>10} {changed:>10}\n",
            perm.key, perm.mode, perm.uid, perm.gid, perm.creator_uid, perm.creator_gid,
        );
        out.extend_from_slice(line.as_bytes());
    }
    Ok(())
}
