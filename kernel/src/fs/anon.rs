//! Open files without a name and without an inode of their own: event files and the like.
//!
//! All share one inode, as in Linux: what they are is in their [`FileOps`]; fstat finds a mode of 0600 without a type.

use spin::Once;

use super::{
    file::{File, FileOps, OpenFlags},
    inode::{DevId, Inode, InodeBase, NewNode},
};
use crate::prelude::*;

struct AnonInode {
    base: InodeBase,
}

impl Inode for AnonInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn is_private(&self) -> bool {
        true
    }

    fn may_change_attributes(&self) -> Result<()> {
        Err(EOPNOTSUPP)
    }
}

fn inode() -> Arc<dyn Inode> {
    static INODE: Once<Arc<AnonInode>> = Once::new();
    let make = || {
        let new = NewNode { mode: 0o600, uid: 0, gid: 0, rdev: DevId(0) };
        Arc::new(AnonInode { base: InodeBase::new(1, super::anon_dev(), new) })
    };
    INODE.call_once(make).clone()
}

/// An open file for reading and writing, with O_NONBLOCK if `flags` has it.
pub fn new_file(ops: Box<dyn FileOps>, flags: OpenFlags) -> Result<Arc<File>> {
    File::new(ops, inode(), None, OpenFlags::RDWR | flags & OpenFlags::NONBLOCK)
}

/// The same for reading only.
pub fn new_read_only(ops: Box<dyn FileOps>, flags: OpenFlags) -> Result<Arc<File>> {
    File::new(ops, inode(), None, flags & OpenFlags::NONBLOCK)
}
