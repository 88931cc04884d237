//! Extended attributes (xattr(7)): named values of a file, for programs (`user.`), the system's privileged (`trusted.`) and the
//! kernel (`security.`).
//!
//! File systems in memory have them ([`Inode::has_xattrs`]), elsewhere they are EOPNOTSUPP. The only one that the kernel itself
//! looks at is `security.capability`, the capabilities of a program.
//!
//! Locks: one spin lock around the values of a file, a leaf. The set is made when the first value comes.

use alloc::collections::BTreeMap;

use bitflags::bitflags;
use ostd::sync::SpinLock;

use super::{
    access::{self, Access},
    inode::{FileType, Inode, InodeBase, S_ISVTX},
};
use crate::{
    lock_order,
    prelude::*,
    process::credentials::{Cap, Credentials, FileCaps},
};

/// The longest name.
pub const NAME_MAX: usize = 255;
/// The longest value, and the longest list of names.
pub const SIZE_MAX: usize = 65536;

/// The attribute that holds a program's capabilities.
const CAPABILITY: &[u8] = b"security.capability";

bitflags! {
    /// Flags of setxattr(2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SetFlags: u32 {
        const CREATE = 1;
        const REPLACE = 2;
    }
}

/// Values by their whole names.
type Values = BTreeMap<Box<[u8]>, Arc<[u8]>>;

/// The attributes of a file.
pub struct Xattrs {
    values: SpinLock<Values>,
}

impl Xattrs {
    fn new() -> Box<Xattrs> {
        Box::new(Xattrs { values: SpinLock::new(lock_order::PROCESS_MISC, Values::new()) })
    }

    fn get(&self, name: &[u8]) -> Option<Arc<[u8]>> {
        self.values.lock().get(name).cloned()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Namespace {
    User,
    Trusted,
    Security,
    /// POSIX ACLs and whatever nobody knows: there is no such thing here.
    Other,
}

impl Namespace {
    /// The namespace of a name. The part behind the dot is the caller's to look at.
    fn of(name: &[u8]) -> (Namespace, &[u8]) {
        const PREFIXES: [(&[u8], Namespace); 3] = [
            (b"user.", Namespace::User),
            (b"trusted.", Namespace::Trusted),
            (b"security.", Namespace::Security),
        ];
        let found = PREFIXES.iter().find_map(|(prefix, ns)| Some((*ns, name.strip_prefix(*prefix)?)));
        found.unwrap_or((Namespace::Other, name))
    }
}

/// Whether the caller may read or write attributes of this kind. `refused` is what those get that have no business with it.
fn check_permission(
    inode: &Arc<dyn Inode>,
    creds: &Credentials,
    name: &[u8],
    access: Access,
    refused: Errno,
) -> Result<()> {
    let base = inode.base();
    // Descriptors of the kernel's have no type of file, but for those of processes.
    let has_type = !inode.is_private() || inode.has_trusted_xattrs();
    match Namespace::of(name).0 {
        Namespace::Security => return Ok(()),
        Namespace::Trusted => return creds.require(Cap::SysAdmin).or(Err(refused)),
        Namespace::User => {
            if !has_type || !matches!(base.file_type(), FileType::Regular | FileType::Dir) {
                return Err(refused);
            }
            let sticky = base.is_dir() && base.mode() & S_ISVTX != 0;
            if sticky && access == Access::WRITE {
                access::check_owner(base, creds)?;
            }
        }
        Namespace::Other if name.starts_with(b"system.") => return Ok(()),
        Namespace::Other => {}
    }
    access::check(base, creds, access)
}

/// Whether the file can have an attribute of this name at all.
///
/// # Errors
/// EOPNOTSUPP; EINVAL for a namespace without a name behind it.
fn check_name(inode: &Arc<dyn Inode>, name: &[u8]) -> Result<()> {
    match Namespace::of(name) {
        (Namespace::Trusted, _) if inode.has_trusted_xattrs() && name != b"trusted." => Ok(()),
        (Namespace::Trusted, _) if inode.has_trusted_xattrs() => Err(EINVAL),
        _ if !inode.has_xattrs() => Err(EOPNOTSUPP),
        (Namespace::Other, _) => Err(EOPNOTSUPP),
        (_, b"") => Err(EINVAL),
        _ => Ok(()),
    }
}

/// What is set as an access control list has to be one, though no file takes it.
fn check_acl(name: &[u8], value: &[u8]) -> Result<()> {
    const HEADER: usize = 4;
    const ENTRY: usize = 8;
    if !matches!(name, b"system.posix_acl_access" | b"system.posix_acl_default") || value.is_empty() {
        return Ok(());
    }
    let is_list = value.len() >= HEADER && (value.len() - HEADER).is_multiple_of(ENTRY);
    if is_list { Ok(()) } else { Err(EINVAL) }
}

/// getxattr(2).
///
/// # Errors
/// ENODATA, EOPNOTSUPP, EACCES.
pub fn get(inode: &Arc<dyn Inode>, creds: &Credentials, name: &[u8]) -> Result<Vec<u8>> {
    check_permission(inode, creds, name, Access::READ, ENODATA)?;
    check_name(inode, name)?;
    let value = inode.base().xattrs.get().and_then(|xattrs| xattrs.get(name)).ok_or(ENODATA)?;
    Ok(if name == CAPABILITY { FileCaps::shown(&value) } else { value.to_vec() })
}

/// setxattr(2).
///
/// # Errors
/// EROFS, EPERM, EACCES, EOPNOTSUPP, EINVAL, EEXIST, ENODATA, ENOSPC.
pub fn set(
    inode: &Arc<dyn Inode>,
    read_only: bool,
    creds: &Credentials,
    name: &[u8],
    value: Vec<u8>,
    flags: SetFlags,
) -> Result<()> {
    let base = inode.base();
    if read_only {
        return Err(EROFS);
    }
    if name == CAPABILITY && !value.is_empty() {
        if !FileCaps::is_valid(&value) {
            return Err(EINVAL);
        }
        creds.require(Cap::Setfcap)?;
    }
    check_acl(name, &value)?;
    check_permission(inode, creds, name, Access::WRITE, EPERM)?;
    if Namespace::of(name).0 == Namespace::Security && name != CAPABILITY && !inode.is_private() {
        creds.require(Cap::SysAdmin)?;
    }
    check_name(inode, name)?;
    // As all that files keep, these leave room for programs.
    const SPARE_FRAMES: usize = 512;
    if !ostd::mm::user_room_ok(SPARE_FRAMES + value.len() / PAGE_SIZE) {
        return Err(ENOSPC);
    }
    let (key, value): (Box<[u8]>, Arc<[u8]>) = (name.into(), value.into());
    let _lock = base.lock.lock();
    let xattrs = base.xattrs.call_once(Xattrs::new);
    let mut values = xattrs.values.lock();
    match values.contains_key(name) {
        true if flags.contains(SetFlags::CREATE) => return Err(EEXIST),
        false if flags.contains(SetFlags::REPLACE) => return Err(ENODATA),
        _ => {}
    }
    let old = values.insert(key, value);
    drop(values);
    drop(old);
    base.touch_ctime();
    Ok(())
}

/// removexattr(2).
///
/// # Errors
/// EROFS, EPERM, EACCES, EOPNOTSUPP, ENODATA.
pub fn remove(inode: &Arc<dyn Inode>, read_only: bool, creds: &Credentials, name: &[u8]) -> Result<()> {
    let base = inode.base();
    if read_only {
        return Err(EROFS);
    }
    check_permission(inode, creds, name, Access::WRITE, EPERM)?;
    if Namespace::of(name).0 == Namespace::Security && !inode.is_private() {
        creds.require(if name == CAPABILITY { Cap::Setfcap } else { Cap::SysAdmin })?;
    }
    check_name(inode, name)?;
    let _lock = base.lock.lock();
    let old = base.xattrs.get().and_then(|xattrs| xattrs.values.lock().remove(name));
    if old.is_none() {
        return Err(ENODATA);
    }
    base.touch_ctime();
    Ok(())
}

/// listxattr(2): the names, each with a NUL. `trusted.` ones are shown only to who may see them.
pub fn list(inode: &Arc<dyn Inode>, creds: &Credentials) -> Vec<u8> {
    let mut names = Vec::new();
    if let Some(xattrs) = inode.base().xattrs.get() {
        for name in xattrs.values.lock().keys() {
            if Namespace::of(name).0 != Namespace::Trusted || creds.capable(Cap::SysAdmin) {
                names.extend_from_slice(name);
                names.push(0);
            }
        }
    }
    names
}

/// The capabilities of a program; `None` if it has none, or none that count here.
///
/// # Errors
/// EINVAL for an attribute that makes no sense.
pub fn file_caps(base: &InodeBase) -> Result<Option<FileCaps>> {
    let Some(value) = base.xattrs.get().and_then(|xattrs| xattrs.get(CAPABILITY)) else {
        return Ok(None);
    };
    let caps = FileCaps::decode(&value)?;
    Ok((caps.root_uid == 0).then_some(caps))
}

/// A change of the contents or the owner takes the capabilities away. The inode's lock is held, or the caller doesn't mind.
pub fn drop_file_caps(base: &InodeBase) {
    if let Some(xattrs) = base.xattrs.get() {
        drop(xattrs.values.lock().remove(CAPABILITY));
    }
}
