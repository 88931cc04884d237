//! Names of sockets: a path, a string of any bytes ("abstract", which begins with a NUL), or none.
//!
//! A path is a node of type S_IFSOCK in some file system. The socket is found through the *inode* it is bound to, wherever
//! that was moved or linked, and can't be found any more by name once it is unlinked. An abstract name belongs to a type of
//! socket and is free again when the socket is closed.
//!
//! Data: tables of who is bound to what, spread over shards by a hash. They hold weak references; closing a socket
//! takes it out. Locks: a shard's spin lock ([`UNIX_TABLE`](lock_order::UNIX_TABLE)).

use alloc::collections::BTreeMap;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use ostd::sync::SpinLock;

use super::Core;
use crate::{
    fs::{
        File, Path,
        access::{self, Access},
        at::{AT_FDCWD, Names},
        inode::{DevId, FileType, Inode, PERM_MASK},
    },
    lock_order,
    net::{AF_UNIX, address::SockAddr, base::SockType},
    prelude::*,
    process::Thread,
};

/// The size of `sun_path`.
const PATH_LEN: usize = 108;

/// What a socket is bound to.
pub struct Name {
    /// As programs see it, `sun_path`: with the NUL that ends a path.
    pub bytes: Box<[u8]>,
    key: Key,
    /// Keeps the inode of a path, so that its address can be the key.
    _place: Option<Path>,
}

impl Name {
    pub fn is_abstract(&self) -> bool {
        self.bytes.first() == Some(&0)
    }
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Abstract(u32, Box<[u8]>),
    /// The address of the inode.
    Inode(usize),
}

impl Key {
    fn of_inode(inode: &Arc<dyn Inode>) -> Key {
        Key::Inode(Arc::as_ptr(inode).cast::<()>() as usize)
    }

    fn shard(&self) -> &'static SpinLock<Bound> {
        let hash = match self {
            Key::Abstract(kind, bytes) => {
                bytes.iter().fold(*kind as usize, |hash, &byte| hash.wrapping_mul(31) + usize::from(byte))
            }
            Key::Inode(address) => *address >> 6,
        };
        &BOUND[hash % SHARDS]
    }

    fn find(&self) -> Option<Arc<Core>> {
        self.shard().lock().get(self)?.upgrade()
    }

    /// `false` if somebody else has it.
    fn enter(&self, core: &Arc<Core>) -> bool {
        let mut bound = self.shard().lock();
        if bound.get(self).is_some_and(|other| other.strong_count() > 0) {
            return false;
        }
        bound.insert(self.clone(), Arc::downgrade(core));
        true
    }

    fn remove(&self, core: &Core) {
        let mut bound = self.shard().lock();
        // Accepted sockets bear the name of the one that listens.
        if bound.get(self).is_some_and(|other| core::ptr::eq(other.as_ptr(), core)) {
            bound.remove(self);
        }
    }
}

type Bound = BTreeMap<Key, Weak<Core>>;

const SHARDS: usize = 32;

static BOUND: [SpinLock<Bound>; SHARDS] =
    [const { SpinLock::new(lock_order::UNIX_TABLE, BTreeMap::new()) }; SHARDS];

/// An address as the program gave it.
pub enum Wanted {
    Path(Vec<u8>),
    Abstract(Box<[u8]>),
}

/// Reads an address. EINVAL if it is of another family, has no name, or is too long.
pub fn parse(address: &SockAddr) -> Result<Wanted> {
    let bytes = address.data();
    if address.family() != Some(AF_UNIX) || bytes.is_empty() || bytes.len() > PATH_LEN {
        return Err(EINVAL);
    }
    if bytes[0] == 0 {
        return Ok(Wanted::Abstract(bytes.into()));
    }
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    Ok(Wanted::Path(bytes[..end].to_vec()))
}

/// The address of a socket with this name; of one without it has only the family.
pub fn address(name: Option<&Name>) -> SockAddr {
    SockAddr::new(AF_UNIX, name.map_or(&[], |name| &name.bytes))
}

/// The socket behind a name. ECONNREFUSED if there is none, EPROTOTYPE if it is of another type, EACCES if the caller may not
/// write to the node.
pub fn find(wanted: &Wanted, sock_type: SockType) -> Result<Arc<Core>> {
    match wanted {
        Wanted::Abstract(bytes) => Key::Abstract(sock_type as u32, bytes.clone()).find().ok_or(ECONNREFUSED),
        Wanted::Path(path) => {
            let names = Names::of(&Thread::current());
            let place = names.find(AT_FDCWD, path, true)?;
            access::check_path(&place, &names.creds, Access::WRITE)?;
            let inode = place.inode()?;
            if inode.base().file_type() != FileType::Socket {
                return Err(ECONNREFUSED);
            }
            let core = Key::of_inode(inode).find().ok_or(ECONNREFUSED)?;
            if core.base.sock_type != sock_type {
                return Err(EPROTOTYPE);
            }
            inode.base().touch_atime();
            Ok(core)
        }
    }
}

/// bind(2). EADDRINUSE; EINVAL if the socket has a name already. An address without a name asks for any that is free.
pub fn bind(core: &Arc<Core>, file: &File, address: &SockAddr) -> Result<()> {
    if address.family() == Some(AF_UNIX) && address.data().is_empty() {
        return autobind(core);
    }
    let wanted = parse(address)?;
    let _lock = core.bind_lock.lock();
    let has_name = core.name.lock().is_some();
    let name = match wanted {
        Wanted::Path(path) => bind_path(core, file, path, has_name)?,
        Wanted::Abstract(_) if has_name => return Err(EINVAL),
        Wanted::Abstract(bytes) => bind_abstract(core, bytes).ok_or(EADDRINUSE)?,
    };
    *core.name.lock() = Some(Arc::new(name));
    Ok(())
}

fn bind_abstract(core: &Arc<Core>, bytes: Box<[u8]>) -> Option<Name> {
    let key = Key::Abstract(core.base.sock_type as u32, bytes.clone());
    key.enter(core).then_some(Name { bytes, key, _place: None })
}

/// Makes a node with the permissions of the socket's own inode, but for the umask.
fn bind_path(core: &Arc<Core>, file: &File, mut path: Vec<u8>, has_name: bool) -> Result<Name> {
    let thread = Thread::current();
    let names = Names::of(&thread);
    if has_name {
        // That the path is in use is said first.
        return Err(if names.find(AT_FDCWD, &path, false).is_ok() { EADDRINUSE } else { EINVAL });
    }
    let mode = file.inode().base().mode() & PERM_MASK & !thread.fs().umask();
    let made = names.op(AT_FDCWD, &path)?.mknod(FileType::Socket.mode_bits() | mode, DevId(0));
    let place = made.map_err(|e| if e == EEXIST { EADDRINUSE } else { e })?;
    let key = Key::of_inode(place.inode()?);
    path.push(0);
    key.enter(core);
    Ok(Name { bytes: path.into(), key, _place: Some(place) })
}

/// Gives a socket an abstract name of five hexadecimal digits. Nothing is done if it has a name. ENOSPC if all are taken.
pub fn autobind(core: &Arc<Core>) -> Result<()> {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    const DIGITS: u32 = 0xf_ffff;
    let _lock = core.bind_lock.lock();
    if core.name.lock().is_some() {
        return Ok(());
    }
    for _ in 0..=DIGITS {
        let number = NEXT.fetch_add(1, Relaxed) & DIGITS;
        let bytes = format!("\0{number:05x}").into_bytes().into_boxed_slice();
        if let Some(name) = bind_abstract(core, bytes) {
            *core.name.lock() = Some(Arc::new(name));
            return Ok(());
        }
    }
    Err(ENOSPC)
}

/// The socket is closed: nobody finds it any more.
pub fn unbind(core: &Core) {
    if let Some(name) = core.name() {
        name.key.remove(core);
    }
}
