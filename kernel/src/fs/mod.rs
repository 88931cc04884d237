//! Files: the virtual file system, the file systems behind it, and descriptors.
//!
//! From a program's number to its bytes:
//! - [`fd_table`]: a descriptor names an open file;
//! - [`file`](mod@file): an open file has an offset, flags and [`FileOps`](file::FileOps) of its kind: [`regular`], [`pipe`], devices, ...;
//! - [`path`]: a path is walked through [`dentry`] (names and their cache) and [`mount`] (which file system is where),
//!   with [`access`] checked on the way, to an [`inode`];
//! - [`inode`]: what a file is; implemented by [`ramfs`] and [`proc`].
//!
//! What happens to files is told to whoever watches them by [`notify`].
//!
//! Files that are made by a syscall of their own have no name: [`event`], all on one inode ([`anon`]).
//!
//! [`aio`] does to files what a program has asked for in advance.
//!
//! [`open`](mod@open) and [`name_ops`] are what syscalls do with paths, [`io`] how data gets to programs, [`poll`] how they wait for it,
//! [`context`] where their paths start. At boot [`init`] makes the root, [`initramfs`] fills it.
//!
//! # Locks
//! In the order of the [ranks](crate::lock_order): an open file's offset, the text of a procfs file, the mount tree, rename, inodes (a directory
//! before its entries; two directories by address), a pipe; then the fault handler's, as all of these may be held
//! while user memory is copied; then spin locks: mounts, dentry cache, dentries, ramfs contents, fd table, cwd and root.

pub mod access;
pub mod aio;
pub mod anon;
pub mod at;
pub mod byte_queue;
pub mod caller;
pub mod context;
pub mod dentry;
pub mod devpts;
pub mod event;
pub mod fd_table;
pub mod file;
pub mod file_lock;
pub mod initramfs;
pub mod inode;
pub mod io;
mod loadavg;
pub mod mount;
pub mod name_ops;
pub mod notify;
pub mod nsfs;
pub mod open;
pub mod page_map;
pub mod path;
pub mod pipe;
pub mod poll;
pub mod proc;
pub mod ramfs;
pub mod regular;
pub mod xattr;

#[cfg(feature = "ktest")]
mod test;

use spin::Once;

pub use context::{FsContext, FsHolder};
pub use fd_table::FileTable;
pub use file::{File, OpenFlags};
pub use path::Path;

use crate::{device, ipc::mqueue, prelude::*, process::credentials::Credentials};
use inode::{DevId, FileType, NewNode};
use mount::{MountNs, SuperBlock};
use ramfs::RamFsOptions;

struct Root {
    namespace: Arc<MountNs>,
    path: Path,
    /// devtmpfs is one file system, wherever it is mounted.
    devtmpfs: Arc<SuperBlock>,
}

static ROOT: Once<Root> = Once::new();

/// Makes the root file system and devtmpfs. Once, at boot.
pub fn init() {
    ROOT.call_once(|| {
        let rootfs = ramfs::new("rootfs", RamFsOptions::unlimited());
        let (namespace, path) = MountNs::new(rootfs, b"rootfs");
        let devtmpfs = ramfs::new("devtmpfs", RamFsOptions::unlimited());
        Root { namespace, path, devtmpfs }
    });
    fill_devtmpfs();
    if let Err(e) = fill_rootfs() {
        error!("rootfs: {e}");
    }
}

/// What an initramfs may rely on, as on Linux: /dev, /dev/console and /root.
fn fill_rootfs() -> Result<()> {
    let creds = Credentials::root();
    let root = root();
    let op = |path| name_ops::NameOp::new(&creds, &root, root.clone(), path);
    op(b"/dev")?.mkdir(0o755)?;
    op(b"/root")?.mkdir(0o700)?;
    op(b"/dev/console")?.mknod(FileType::Char.mode_bits() | 0o600, device::console::DEV_CONSOLE)?;
    Ok(())
}

fn get() -> &'static Root {
    ROOT.get().expect("made at boot before the first use of files")
}

/// The root directory of the system.
pub fn root() -> Path {
    get().path.clone()
}

/// The mounts that processes see.
pub fn mount_ns() -> &'static Arc<MountNs> {
    &get().namespace
}

/// The device number of files that are on no file system: pipes and the like.
pub fn anon_dev() -> DevId {
    static DEV: Once<DevId> = Once::new();
    *DEV.call_once(mount::anonymous_dev)
}

fn fill_devtmpfs() {
    let root = &get().devtmpfs.root;
    let Some(dir) = root.inode() else { return };
    for &(name, rdev, perm) in device::NODES {
        let new = NewNode { mode: FileType::Char.mode_bits() | perm, uid: 0, gid: 0, rdev };
        if let Err(e) = dir.create(name.as_bytes(), new) {
            error!("devtmpfs: no node {name}: {e}");
        }
    }
}

/// The file systems that can be mounted, as in /proc/filesystems; none needs a device.
pub const FILE_SYSTEMS: &[&str] = &["tmpfs", "ramfs", "devtmpfs", "devpts", "mqueue", "proc"];

/// A file system of type `name` for mount(2). ENODEV if there is no such type.
pub fn new_file_system(name: &[u8], options: &[u8]) -> Result<Arc<SuperBlock>> {
    match name {
        b"tmpfs" => Ok(ramfs::new("tmpfs", RamFsOptions::parse(options)?)),
        b"ramfs" => {
            let parsed = RamFsOptions::parse(options)?;
            let unlimited = RamFsOptions { mode: 0o755, ..RamFsOptions::unlimited() };
            let mode = if options.is_empty() { unlimited.mode } else { parsed.mode };
            Ok(ramfs::new("ramfs", RamFsOptions { mode, ..unlimited }))
        }
        b"devtmpfs" => Ok(get().devtmpfs.clone()),
        b"devpts" => devpts::new(options),
        b"mqueue" => Ok(mqueue::fs::super_block()),
        b"proc" => proc::new(options),
        _ => Err(ENODEV),
    }
}

/// Opens /dev/console as the first three descriptors, for the first process.
pub fn open_console(files: &FileTable) -> Result<()> {
    let creds = Credentials::root();
    let how = open::OpenHow::new(OpenFlags::RDWR.bits(), 0, 0)?;
    let console = open::open(&creds, &root(), root(), b"/dev/console", how)?;
    for fd in 0..3 {
        files.install(console.clone(), false, fd)?;
    }
    Ok(())
}
