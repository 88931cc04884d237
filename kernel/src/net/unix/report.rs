//! /proc/net/unix, and the list of all sockets that it needs.
//!
//! The list is spread over shards by the address of a socket's core, so that programs that make sockets on several CPUs do
//! not meet. Locks: a shard's spin lock ([`UNIX_TABLE`](lock_order::UNIX_TABLE)).

use alloc::collections::BTreeMap;

use ostd::sync::SpinLock;

use super::{Core, State};
use crate::{lock_order, prelude::*};

const SHARDS: usize = 32;

type Shard = BTreeMap<usize, Weak<Core>>;

static SOCKETS: [SpinLock<Shard>; SHARDS] =
    [const { SpinLock::new(lock_order::UNIX_TABLE, BTreeMap::new()) }; SHARDS];

fn shard(core: &Core) -> &'static SpinLock<Shard> {
    &SOCKETS[(core.key() >> 8) % SHARDS]
}

pub fn add(core: &Arc<Core>) {
    shard(core).lock().insert(core.key(), Arc::downgrade(core));
}

/// Called by the drop of the core, so that the key can't be another's yet.
pub fn remove(core: &Core) {
    shard(core).lock().remove(&core.key());
}

/// The text of /proc/net/unix (proc_net_unix(5)): one line per open socket.
pub fn text(out: &mut Vec<u8>) -> Result<()> {
    out.extend_from_slice(b"Num       RefCount Protocol Flags    Type St Inode Path\n");
    for shard in &SOCKETS {
        let cores: Vec<_> = shard.lock().values().filter_map(Weak::upgrade).collect();
        for core in &cores {
            // With the longest name.
            out.try_reserve(256).map_err(|_| ENOMEM)?;
            line(core, out);
        }
    }
    Ok(())
}

fn line(core: &Core, out: &mut Vec<u8>) {
    const ACCEPTS: u32 = 0x1_0000;
    let file = core.file.get().and_then(Weak::upgrade);
    let (flags, connected) = match core.state() {
        State::Listening => (ACCEPTS, false),
        state => (0, state == State::Connected),
    };
    // SS_UNCONNECTED, SS_CONNECTING (not accepted yet), SS_CONNECTED, SS_DISCONNECTING.
    let state = match (&file, connected) {
        (Some(_), false) => 1,
        (None, true) => 2,
        (Some(_), true) => 3,
        (None, false) => 4,
    };
    let inode = file.as_ref().map_or(0, |file| file.inode().base().ino);
    let references = 2 + file.as_ref().map_or(0, |file| Arc::strong_count(file) - 1);
    let kind = core.base.sock_type as u32;
    // Kernel addresses are nobody's business.
    let line = format!("{:016x}: {references:08X} 00000000 {flags:08X} {kind:04X} {state:02X} {inode:5}", 0);
    out.extend_from_slice(line.as_bytes());
    if let Some(name) = core.name() {
        out.push(b' ');
        let shown = if name.is_abstract() { &name.bytes[..] } else { &name.bytes[..name.bytes.len() - 1] };
        out.extend(shown.iter().map(|&byte| if byte == 0 { b'@' } else { byte }));
    }
    out.push(b'\n');
}
