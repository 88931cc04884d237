//! Mounts: which file system is seen where.
//!
//! A [`SuperBlock`] is one instance of a file system; a [`Mount`] shows a directory of it at a place in the tree. The tree
//! is kept in two ways: each mount knows its mount point, and a hash table leads from a mount point (parent mount and
//! dentry) to the mount that covers it. Mounting on a mount point that is covered already covers it once more, as the
//! path walk always ends on the topmost mount.
//!
//! A [`MountNs`] lists the mounts that a set of processes sees, in the order in which they were made (proc(5),
//! /proc/pid/mounts).
//!
//! Locks: changes of the tree are serialised by the sleeping [`MOUNT`](lock_order::MOUNT) lock of the namespace; the hash
//! table has a spin lock of its own, which the path walk takes only at dentries that are marked as mount points.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bitflags::bitflags;
use hashbrown::HashMap;
use ostd::sync::{Mutex, SpinLock};
use spin::LazyLock;

use super::{
    dentry::{self, Dentry},
    inode::{DevId, FsStat, Inode},
    notify,
    path::Path,
};
use crate::{lock_order, prelude::*};

bitflags! {
    /// Per-mount flags; the values are those of mount(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct MountFlags: u32 {
        const RDONLY = 1;
        const NOSUID = 2;
        const NODEV = 4;
        const NOEXEC = 8;
        const NOATIME = 1 << 10;
        const NODIRATIME = 1 << 11;
        const RELATIME = 1 << 21;
    }
}

/// An instance of a file system.
pub struct SuperBlock {
    pub dev: DevId,
    /// As in /proc/filesystems.
    pub fs_type: &'static str,
    pub root: Arc<Dentry>,
}

impl SuperBlock {
    /// `volatile`: names come and go by themselves, see [`dentry`].
    pub fn new(fs_type: &'static str, root: Arc<dyn Inode>, volatile: bool) -> Arc<Self> {
        Arc::new(SuperBlock { dev: root.base().dev, fs_type, root: Dentry::new_root(root, volatile) })
    }
}

impl Drop for SuperBlock {
    /// The last mount is gone, and with it the last file.
    fn drop(&mut self) {
        notify::unmounted(self.dev);
    }
}

/// A device number for a file system that has no device.
pub fn anonymous_dev() -> DevId {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    DevId::new(0, NEXT.fetch_add(1, Relaxed))
}

/// Where a mount is attached.
#[derive(Clone)]
struct MountPoint {
    parent: Arc<Mount>,
    dentry: Arc<Dentry>,
}

/// A directory tree at a place: see the [module's description](self).
pub struct Mount {
    pub id: u32,
    pub sb: Arc<SuperBlock>,
    /// The directory of the file system that is seen here; not the file system's root after a bind mount.
    pub root: Arc<Dentry>,
    /// What was mounted, as given to mount(2).
    pub source: Box<[u8]>,
    flags: AtomicU32,
    point: SpinLock<Option<MountPoint>>,
}

impl Mount {
    fn new(sb: Arc<SuperBlock>, root: Arc<Dentry>, source: &[u8], flags: MountFlags) -> Arc<Mount> {
        static NEXT_ID: AtomicU32 = AtomicU32::new(1);
        Arc::new(Mount {
            id: NEXT_ID.fetch_add(1, Relaxed),
            sb,
            root,
            source: Box::from(source),
            flags: AtomicU32::new(flags.bits()),
            point: SpinLock::new(lock_order::MOUNT_POINT, None),
        })
    }

    /// A mount that is at no place: for a file system that the kernel itself looks names up in.
    pub fn internal(sb: Arc<SuperBlock>) -> Arc<Mount> {
        let root = sb.root.clone();
        Mount::new(sb, root, b"none", MountFlags::RELATIME)
    }

    pub fn flags(&self) -> MountFlags {
        MountFlags::from_bits_retain(self.flags.load(Relaxed))
    }

    pub fn set_flags(&self, flags: MountFlags) {
        self.flags.store(flags.bits(), Relaxed);
    }

    pub fn is_read_only(&self) -> bool {
        self.flags().contains(MountFlags::RDONLY)
    }

    /// The place that this mount covers; `None` for the root of a namespace or a detached mount.
    pub fn mount_point(&self) -> Option<Path> {
        let point = self.point.lock().clone()?;
        Some(Path { mount: point.parent, dentry: point.dentry })
    }

    pub fn root_path(self: &Arc<Self>) -> Path {
        Path { mount: self.clone(), dentry: self.root.clone() }
    }

    pub fn statfs(&self) -> Result<FsStat> {
        match self.root.inode() {
            Some(inode) => inode.statfs(),
            None => Err(ENOENT),
        }
    }
}

/// (address of the parent mount, address of the dentry) → the mount on it. Both are kept alive by the mount's point.
type Points = HashMap<(usize, usize), Arc<Mount>>;

static POINTS: LazyLock<SpinLock<Points>> =
    LazyLock::new(|| SpinLock::new(lock_order::MOUNT_TABLE, HashMap::new()));

fn key(mount: &Arc<Mount>, dentry: &Arc<Dentry>) -> (usize, usize) {
    (Arc::as_ptr(mount) as usize, Arc::as_ptr(dentry) as usize)
}

/// The mount that covers `dentry` in `mount`, if one does.
pub fn mounted_on(mount: &Arc<Mount>, dentry: &Arc<Dentry>) -> Option<Arc<Mount>> {
    if !dentry.is_mount_point() {
        return None;
    }
    POINTS.lock().get(&key(mount, dentry)).cloned()
}

/// The mounts that a set of processes sees.
pub struct MountNs {
    mounts: Mutex<Vec<Arc<Mount>>>,
}

impl MountNs {
    /// A namespace with one mount, its root.
    pub fn new(sb: Arc<SuperBlock>, source: &[u8]) -> (Arc<MountNs>, Path) {
        let dentry = sb.root.clone();
        let mount = Mount::new(sb, dentry, source, MountFlags::RELATIME);
        let root = mount.root_path();
        (Arc::new(MountNs { mounts: Mutex::new(lock_order::MOUNT, vec![mount]) }), root)
    }

    /// The mounts in the order in which they were made.
    pub fn list(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().clone()
    }

    /// Mounts a file system at `at`, which is a directory.
    pub fn mount(
        &self,
        at: &Path,
        sb: Arc<SuperBlock>,
        source: &[u8],
        flags: MountFlags,
    ) -> Result<Arc<Mount>> {
        let dentry = sb.root.clone();
        let mount = Mount::new(sb, dentry, source, flags);
        let mut mounts = self.mounts.lock();
        attach(&mount, at)?;
        mounts.push(mount.clone());
        Ok(mount)
    }

    /// Shows the tree below `from` at `at` as well (MS_BIND, not recursive).
    pub fn bind(&self, from: &Path, at: &Path) -> Result<()> {
        let source = from.mount.source.clone();
        let mount = Mount::new(from.mount.sb.clone(), from.dentry.clone(), &source, from.mount.flags());
        let mut mounts = self.mounts.lock();
        attach(&mount, at)?;
        mounts.push(mount);
        Ok(())
    }

    /// Moves the mount whose root is `from` to `at` (MS_MOVE).
    pub fn move_mount(&self, from: &Path, at: &Path) -> Result<()> {
        let mounts = self.mounts.lock();
        self.check_mount_root(&mounts, from)?;
        let mount = &from.mount;
        if mount.mount_point().is_none() || is_below(&at.mount, mount) {
            return Err(if mount.mount_point().is_none() { EINVAL } else { ELOOP });
        }
        detach(mount);
        attach(mount, at)
    }

    /// Unmounts the mount whose root is `at`. EINVAL if it is not a root of a mount here, EBUSY if other mounts are on
    /// it or (unless `lazy`) files on it are in use.
    pub fn unmount(&self, at: &Path, lazy: bool) -> Result<()> {
        let mut mounts = self.mounts.lock();
        self.check_mount_root(&mounts, at)?;
        let mount = &at.mount;
        if mount.mount_point().is_none() {
            // The root of the namespace.
            return Err(EINVAL);
        }
        if lazy {
            let below: Vec<_> = mounts.iter().filter(|m| is_below(m, mount)).cloned().collect();
            for mount in below.iter().rev() {
                detach(mount);
            }
            mounts.retain(|m| !below.iter().any(|b| Arc::ptr_eq(b, m)));
            return Ok(());
        }
        let covered = mounts.iter().any(|m| !Arc::ptr_eq(m, mount) && is_below(m, mount));
        // References of its own: the list, the hash table and the caller's path.
        if covered || Arc::strong_count(mount) > 3 {
            return Err(EBUSY);
        }
        detach(mount);
        mounts.retain(|m| !Arc::ptr_eq(m, mount));
        dentry::shrink_all();
        Ok(())
    }

    fn check_mount_root(&self, mounts: &[Arc<Mount>], at: &Path) -> Result<()> {
        let is_root = Arc::ptr_eq(&at.dentry, &at.mount.root);
        if is_root && mounts.iter().any(|m| Arc::ptr_eq(m, &at.mount)) { Ok(()) } else { Err(EINVAL) }
    }
}

/// Whether `mount` is `other` or mounted somewhere below it.
fn is_below(mount: &Arc<Mount>, other: &Arc<Mount>) -> bool {
    let mut at = mount.clone();
    loop {
        if Arc::ptr_eq(&at, other) {
            return true;
        }
        let Some(point) = at.mount_point() else {
            return false;
        };
        at = point.mount;
    }
}

/// Covers `at` with `mount`. The namespace's lock is held.
fn attach(mount: &Arc<Mount>, at: &Path) -> Result<()> {
    if at.dentry.is_unhashed() {
        return Err(ENOENT);
    }
    if at.inode()?.base().is_dir() != mount.root.inode().is_some_and(|i| i.base().is_dir()) {
        return Err(ENOTDIR);
    }
    // Somebody may have mounted here since the path was walked.
    let mut at = at.clone();
    at.cross_mounts();
    *mount.point.lock() = Some(MountPoint { parent: at.mount.clone(), dentry: at.dentry.clone() });
    at.dentry.count_mount(true);
    POINTS.lock().insert(key(&at.mount, &at.dentry), mount.clone());
    Ok(())
}

fn detach(mount: &Arc<Mount>) {
    let Some(point) = mount.point.lock().take() else {
        return;
    };
    let removed = POINTS.lock().remove(&key(&point.parent, &point.dentry));
    point.dentry.count_mount(false);
    drop(removed);
}
