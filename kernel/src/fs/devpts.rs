//! devpts: the nodes of pseudo-terminals (pts(4)).
//!
//! Each mount is an instance with numbers of its own. Its root lists the slaves that have an open master, and `ptmx`, whose
//! open makes another one. /dev/ptmx makes it in the instance that is mounted on `pts` beside it.
//!
//! Locks: the list of an instance has a spin lock ([`DEVPTS`](lock_order::DEVPTS)).

use alloc::collections::BTreeMap;

use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

use ostd::sync::SpinLock;

use super::{
    caller,
    dentry::Dentry,
    file::{FileOps, OpenFlags},
    inode::{DevId, DirEntry, FileType, FsStat, Inode, InodeBase, NewNode},
    mount::{SuperBlock, anonymous_dev},
    path::{Path, lookup_in},
};
use crate::{
    device::tty::pty::{Master, Pty, SLAVE_MAJOR},
    lock_order,
    prelude::*,
};

/// The device that makes pseudo-terminals.
pub const DEV_PTMX: DevId = DevId::new(5, 2);

const DEVPTS_MAGIC: u64 = 0x1cd1;

/// Inode numbers: 1 the root, 2 ptmx, the slaves from 3 on.
const FIRST_SLAVE: u64 = 3;

/// kernel.pty.max: there are fewer pseudo-terminals than this in all instances together.
pub static MAX: AtomicI32 = AtomicI32::new(4096);

/// kernel.pty.reserve: how many of them are for instances of the initial mount namespace, which all are.
pub static RESERVE: AtomicI32 = AtomicI32::new(1024);

/// kernel.pty.nr: how many there are.
pub static COUNT: AtomicI32 = AtomicI32::new(0);

/// Most numbers of an instance.
const INSTANCE_MAX: u32 = 1 << 20;

/// One pseudo-terminal in the count.
struct Counted;

impl Counted {
    /// ENOSPC if there are too many.
    fn new() -> Result<Counted> {
        let count = COUNT.fetch_add(1, Relaxed);
        let counted = Counted;
        if count + 1 < MAX.load(Relaxed) { Ok(counted) } else { Err(ENOSPC) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COUNT.fetch_sub(1, Relaxed);
    }
}

/// An instance.
pub struct DevPts {
    dev: DevId,
    slaves: SpinLock<Slaves>,
    options: Options,
}

/// The slaves by number, and the set of the numbers: the lowest free one is found without asking for each.
struct Slaves {
    by_index: BTreeMap<u32, Slave>,
    /// A bit for each number, as far as they go.
    used: Vec<u64>,
}

impl Slaves {
    const fn new() -> Slaves {
        Slaves { by_index: BTreeMap::new(), used: Vec::new() }
    }

    fn lowest_free(&self) -> u32 {
        let word = self.used.iter().position(|&word| word != u64::MAX).unwrap_or(self.used.len());
        word as u32 * u64::BITS + self.used.get(word).map_or(0, |used| used.trailing_ones())
    }

    fn insert(&mut self, index: u32, slave: Slave) {
        let word = (index / u64::BITS) as usize;
        if word >= self.used.len() {
            self.used.resize(word + 1, 0);
        }
        self.used[word] |= 1 << (index % u64::BITS);
        self.by_index.insert(index, slave);
    }

    fn remove(&mut self, index: u32) -> Option<Slave> {
        let slave = self.by_index.remove(&index)?;
        self.used[(index / u64::BITS) as usize] &= !(1 << (index % u64::BITS));
        Some(slave)
    }
}

struct Slave {
    pty: Arc<Pty>,
    node: Arc<Node>,
    _counted: Counted,
}

#[derive(Clone, Copy)]
struct Options {
    uid: Option<u32>,
    gid: Option<u32>,
    mode: u32,
    ptmx_mode: u32,
    /// Numbers are below.
    max: u32,
}

impl Options {
    fn parse(text: &[u8]) -> Result<Options> {
        let mut options = Options { uid: None, gid: None, mode: 0o600, ptmx_mode: 0, max: INSTANCE_MAX };
        let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
        for option in text.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let number = |radix| u32::from_str_radix(value, radix).map_err(|_| EINVAL);
            match key {
                "uid" => options.uid = Some(number(10)?),
                "gid" => options.gid = Some(number(10)?),
                "mode" => options.mode = number(8)? & 0o777,
                "ptmxmode" => options.ptmx_mode = number(8)? & 0o777,
                "max" => options.max = Some(number(10)?).filter(|&max| max <= INSTANCE_MAX).ok_or(EINVAL)?,
                "newinstance" | "rw" | "ro" => {}
                _ => return Err(EINVAL),
            }
        }
        Ok(options)
    }
}

/// An instance for mount(2).
pub fn new(options: &[u8]) -> Result<Arc<SuperBlock>> {
    let fs = Arc::new(DevPts {
        dev: anonymous_dev(),
        slaves: SpinLock::new(lock_order::DEVPTS, Slaves::new()),
        options: Options::parse(options)?,
    });
    let root = Node::new(&fs, 1, Kind::Root, FileType::Dir.mode_bits() | 0o755, (0, 0), DevId(0));
    Ok(SuperBlock::new("devpts", root, true))
}

impl DevPts {
    /// A new pseudo-terminal; the node of its slave belongs to the caller. ENOSPC if there are too many.
    fn open_master(self: &Arc<Self>) -> Result<Box<dyn FileOps>> {
        let (uid, gid) = caller::fs_ids();
        let owner = (self.options.uid.unwrap_or(uid), self.options.gid.unwrap_or(gid));
        let counted = Counted::new()?;
        let mut slaves = self.slaves.lock();
        let index = Some(slaves.lowest_free()).filter(|&index| index < self.options.max).ok_or(ENOSPC)?;
        let pty = Pty::new(index);
        let mode = FileType::Char.mode_bits() | self.options.mode;
        let rdev = DevId::new(SLAVE_MAJOR, index);
        let node =
            Node::new(self, FIRST_SLAVE + u64::from(index), Kind::Slave(pty.clone()), mode, owner, rdev);
        slaves.insert(index, Slave { pty: pty.clone(), node, _counted: counted });
        drop(slaves);
        Ok(Box::new(Master::new(pty, self.clone())))
    }

    /// The master was closed: the slave's node is gone.
    pub fn remove(&self, index: u32) {
        let gone = self.slaves.lock().remove(index);
        drop(gone);
    }

    /// A slave's node, in a place of its own.
    pub fn place(&self, index: u32) -> Option<(Path, Arc<dyn Inode>)> {
        let node: Arc<dyn Inode> = self.slaves.lock().by_index.get(&index)?.node.clone();
        let dentry = Dentry::new_unnamed(format!("/dev/pts/{index}").as_bytes(), node.clone());
        Some((Path { mount: super::root().mount, dentry }, node))
    }

    fn is_current(&self, pty: &Arc<Pty>) -> bool {
        self.slaves.lock().by_index.get(&pty.index).is_some_and(|slave| Arc::ptr_eq(&slave.pty, pty))
    }
}

enum Kind {
    Root,
    Ptmx,
    Slave(Arc<Pty>),
}

struct Node {
    base: InodeBase,
    fs: Arc<DevPts>,
    kind: Kind,
}

impl Node {
    fn new(fs: &Arc<DevPts>, ino: u64, kind: Kind, mode: u32, owner: (u32, u32), rdev: DevId) -> Arc<Node> {
        let new = NewNode { mode, uid: owner.0, gid: owner.1, rdev };
        let base = InodeBase::new(ino, fs.dev, new);
        if base.is_dir() {
            base.set_nlink(2);
        }
        Arc::new(Node { base, fs: fs.clone(), kind })
    }
}

impl Inode for Node {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        let Kind::Root = self.kind else { return Err(ENOTDIR) };
        if name == b"ptmx" {
            let mode = FileType::Char.mode_bits() | self.fs.options.ptmx_mode;
            return Ok(Node::new(&self.fs, 2, Kind::Ptmx, mode, (0, 0), DEV_PTMX));
        }
        let index =
            core::str::from_utf8(name).ok().and_then(|name| name.parse::<u32>().ok()).ok_or(ENOENT)?;
        if index.to_string().as_bytes() != name {
            return Err(ENOENT);
        }
        let slaves = self.fs.slaves.lock();
        slaves.by_index.get(&index).map(|slave| slave.node.clone() as Arc<dyn Inode>).ok_or(ENOENT)
    }

    fn revalidate(&self) -> bool {
        match &self.kind {
            Kind::Slave(pty) => self.fs.is_current(pty),
            _ => true,
        }
    }

    fn read_dir(&self, from: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
        let Kind::Root = self.kind else { return Err(ENOTDIR) };
        fn entry(name: &[u8], ino: u64) -> DirEntry<'_> {
            DirEntry { name, ino, file_type: FileType::Char, next: ino + 1 }
        }
        if from <= 2 && !emit(entry(b"ptmx", 2)) {
            return Ok(());
        }
        let first = u32::try_from(from.max(FIRST_SLAVE) - FIRST_SLAVE).unwrap_or(u32::MAX);
        let indices: Vec<u32> =
            self.fs.slaves.lock().by_index.range(first..).map(|(&index, _)| index).collect();
        for index in indices {
            let name = index.to_string();
            if !emit(entry(name.as_bytes(), FIRST_SLAVE + u64::from(index))) {
                break;
            }
        }
        Ok(())
    }

    fn statfs(&self) -> Result<FsStat> {
        Ok(FsStat { magic: DEVPTS_MAGIC, block_size: PAGE_SIZE as u64, ..FsStat::default() })
    }
}

/// An open of a device node that has to do with pseudo-terminals; `None` if this one has not.
pub fn open_node(inode: &Arc<dyn Inode>, place: &Path, flags: OpenFlags) -> Option<Result<Box<dyn FileOps>>> {
    if let Some(node) = inode.downcast::<Node>() {
        return match &node.kind {
            Kind::Ptmx => Some(node.fs.open_master()),
            Kind::Slave(pty) => Some(pty.open_slave(flags)),
            Kind::Root => None,
        };
    }
    (inode.base().rdev == DEV_PTMX).then(|| instance_beside(place)?.open_master())
}

/// The instance that is mounted on `pts` in the directory of `place`. ENODEV if there is none.
fn instance_beside(place: &Path) -> Result<Arc<DevPts>> {
    let dir = place.dentry.parent().ok_or(ENODEV)?;
    let dentry = lookup_in(&dir, b"pts").map_err(|_| ENODEV)?;
    let mut pts = Path { mount: place.mount.clone(), dentry };
    pts.cross_mounts();
    let node = pts.inode().map_err(|_| ENODEV)?.downcast::<Node>().ok_or(ENODEV)?;
    Ok(node.fs.clone())
}
