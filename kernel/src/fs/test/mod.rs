//! Tests of the file system inside the booted kernel, on trees of their own.

mod data;
mod descriptors;
mod image;
mod names;
mod walk;

use super::{
    File, OpenFlags, Path,
    mount::MountNs,
    name_ops::NameOp,
    open::{self, OpenHow},
    path::Walker,
    ramfs::{self, RamFsOptions},
};
use crate::{
    prelude::*,
    process::credentials::{CapSet, Credentials},
};

/// A tree with nothing in it, and whose rights are used on it.
struct Tree {
    ns: Arc<MountNs>,
    root: Path,
    creds: Arc<Credentials>,
}

impl Tree {
    fn new() -> Tree {
        Tree::with(RamFsOptions::unlimited())
    }

    fn with(options: RamFsOptions) -> Tree {
        let (ns, root) = MountNs::new(ramfs::new("tmpfs", options), b"test");
        Tree { ns, root, creds: Credentials::root() }
    }

    /// The same tree, seen by somebody without privileges.
    fn as_user(&self, uid: u32) -> Tree {
        let mut creds = Credentials::clone(&self.creds);
        (creds.fsuid, creds.fsgid) = (uid, uid);
        creds.effective = CapSet::EMPTY;
        Tree { ns: self.ns.clone(), root: self.root.clone(), creds: Arc::new(creds) }
    }

    fn find(&self, path: &str) -> Result<Path> {
        Walker::new(&self.creds, &self.root, self.root.clone()).find(path.as_bytes(), true)
    }

    fn op<'a>(&'a self, path: &'a str) -> Result<NameOp<'a>> {
        NameOp::new(&self.creds, &self.root, self.root.clone(), path.as_bytes())
    }

    fn mkdir(&self, path: &str) -> Result<Path> {
        self.op(path)?.mkdir(0o755)
    }

    fn symlink(&self, target: &str, path: &str) -> Result<Path> {
        self.op(path)?.symlink(target.as_bytes())
    }

    fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<File>> {
        let how = OpenHow::new(flags.bits(), 0o644, 0)?;
        open::open(&self.creds, &self.root, self.root.clone(), path.as_bytes(), how)
    }

    /// Makes a file if there is none, and opens it for reading and writing.
    fn file(&self, path: &str) -> Arc<File> {
        self.open(path, OpenFlags::RDWR | OpenFlags::CREAT).expect("a file can be made")
    }
}

/// The error of something that must fail.
fn error<T>(result: Result<T>) -> Option<Errno> {
    result.err()
}
