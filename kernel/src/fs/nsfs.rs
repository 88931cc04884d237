//! nsfs: namespaces as files (namespaces(7), ioctl_nsfs(2)).
//!
//! A namespace has an inode, whose number names it for as long as it lives: two processes are in the same one if
//! stat(2) of their /proc/PID/ns links finds the same device and number. An open file keeps the namespace (rule 9.15), is what
//! setns(2) takes, and answers the ioctls below. The file system is mounted nowhere; its inodes are made when a link is
//! followed.
//!
//! Of the kinds that are not built in there is the initial instance, so that tools find what they look for: it can be
//! looked at, compared and joined (by who is in it already).

use core::any::Any;

use ostd::user::mem;
use spin::Once;

use super::{
    Path,
    dentry::Dentry,
    file::{File, FileOps, OpenFlags},
    inode::{DevId, FileType, FsStat, Inode, InodeBase, NewNode},
    mount::{MountNs, SuperBlock, anonymous_dev},
};
use crate::{
    prelude::*,
    process::{
        Thread,
        clone::CloneFlags,
        namespace::PidNs,
        pid,
        tree::{self, Table},
    },
};

const NSFS_MAGIC: u64 = 0x6e73_6673;

/// The kinds of namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NsKind {
    Cgroup,
    Ipc,
    Mnt,
    Net,
    Pid,
    Time,
    User,
    Uts,
}

impl NsKind {
    pub fn name(self) -> &'static str {
        match self {
            NsKind::Cgroup => "cgroup",
            NsKind::Ipc => "ipc",
            NsKind::Mnt => "mnt",
            NsKind::Net => "net",
            NsKind::Pid => "pid",
            NsKind::Time => "time",
            NsKind::User => "user",
            NsKind::Uts => "uts",
        }
    }

    /// The flag that clone(2), setns(2) and NS_GET_NSTYPE know it by.
    pub fn flag(self) -> CloneFlags {
        match self {
            NsKind::Cgroup => CloneFlags::NEWCGROUP,
            NsKind::Ipc => CloneFlags::NEWIPC,
            NsKind::Mnt => CloneFlags::NEWNS,
            NsKind::Net => CloneFlags::NEWNET,
            NsKind::Pid => CloneFlags::NEWPID,
            NsKind::Time => CloneFlags::NEWTIME,
            NsKind::User => CloneFlags::NEWUSER,
            NsKind::Uts => CloneFlags::NEWUTS,
        }
    }

    /// The inode number of the initial instance, as on Linux.
    const fn initial_ino(self) -> u32 {
        match self {
            NsKind::Ipc => 0xefff_ffff,
            NsKind::Uts => 0xefff_fffe,
            NsKind::User => 0xefff_fffd,
            NsKind::Pid => 0xefff_fffc,
            NsKind::Cgroup => 0xefff_fffb,
            NsKind::Time => 0xefff_fffa,
            NsKind::Net => 0xefff_fff9,
            NsKind::Mnt => 0xefff_fff8,
        }
    }
}

/// A namespace.
#[derive(Clone)]
pub enum Namespace {
    Pid(PidNs),
    /// The only one of its kind.
    Initial(NsKind),
}

impl Namespace {
    pub fn kind(&self) -> NsKind {
        match self {
            Namespace::Pid(_) => NsKind::Pid,
            Namespace::Initial(kind) => *kind,
        }
    }

    fn ino(&self) -> u32 {
        match self {
            Namespace::Pid(ns) => ns.ino().unwrap_or(NsKind::Pid.initial_ino()),
            Namespace::Initial(kind) => kind.initial_ino(),
        }
    }

    /// What readlink(2) shows of it.
    pub fn text(&self) -> String {
        format!("{}:[{}]", self.kind().name(), self.ino())
    }

    /// Where its file is.
    pub fn place(&self) -> Path {
        let dentry =
            Dentry::new_unnamed(self.text().as_bytes(), NsInode::new(root().mount.sb.dev, self.clone()));
        Path { mount: root().mount.clone(), dentry }
    }

    /// An open file of it.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn open(&self) -> Result<Arc<File>> {
        let place = self.place();
        let inode = place.inode()?.clone();
        let ops = Box::new(NsFile { ns: self.clone() });
        File::new(ops, inode, Some(place), OpenFlags::empty())
    }

    /// The namespace above, if the caller may know it (NS_GET_PARENT).
    fn parent(&self) -> Result<Namespace> {
        match self {
            Namespace::Pid(ns) => {
                let parent = ns.parent().ok_or(EPERM)?;
                match parent.is_within(Thread::current().process.pid_ns()) {
                    true => Ok(Namespace::Pid(parent.clone())),
                    false => Err(EPERM),
                }
            }
            Namespace::Initial(NsKind::User) => Err(EPERM),
            Namespace::Initial(_) => Err(EINVAL),
        }
    }

    /// The user namespace that it belongs to (NS_GET_USERNS).
    fn owner(&self) -> Result<Namespace> {
        match self.kind() {
            NsKind::User => Err(EPERM),
            _ => Ok(Namespace::Initial(NsKind::User)),
        }
    }
}

/// The root of the file system, which nobody sees.
fn root() -> &'static Path {
    static ROOT: Once<Path> = Once::new();
    ROOT.call_once(|| {
        let inode = NsInode::new(anonymous_dev(), Namespace::Pid(PidNs::INITIAL));
        MountNs::new(SuperBlock::new("nsfs", inode, true), b"nsfs").1
    })
}

struct NsInode {
    base: InodeBase,
    ns: Namespace,
}

impl NsInode {
    fn new(dev: DevId, ns: Namespace) -> Arc<NsInode> {
        let mode = FileType::Regular.mode_bits() | 0o444;
        let new = NewNode { mode, uid: 0, gid: 0, rdev: DevId(0) };
        Arc::new(NsInode { base: InodeBase::new(ns.ino().into(), dev, new), ns })
    }
}

impl Inode for NsInode {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn open(self: Arc<Self>, _: OpenFlags) -> Result<Box<dyn FileOps>> {
        Ok(Box::new(NsFile { ns: self.ns.clone() }))
    }

    fn may_change_attributes(&self) -> Result<()> {
        Err(EPERM)
    }

    fn statfs(&self) -> Result<FsStat> {
        Ok(FsStat { magic: NSFS_MAGIC, block_size: PAGE_SIZE as u64, ..FsStat::default() })
    }
}

/// An open namespace.
pub struct NsFile {
    pub ns: Namespace,
}

const NS_GET_USERNS: u32 = 0xb701;
const NS_GET_PARENT: u32 = 0xb702;
const NS_GET_NSTYPE: u32 = 0xb703;
const NS_GET_OWNER_UID: u32 = 0xb704;
const NS_GET_PID_FROM_PIDNS: u32 = 0x8004_b706;
const NS_GET_TGID_FROM_PIDNS: u32 = 0x8004_b707;
const NS_GET_PID_IN_PIDNS: u32 = 0x8004_b708;
const NS_GET_TGID_IN_PIDNS: u32 = 0x8004_b709;

impl FileOps for NsFile {
    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }

    fn ioctl(&self, _: &File, request: u32, arg: usize) -> Result<usize> {
        match request {
            NS_GET_USERNS => install(&self.ns.owner()?),
            NS_GET_PARENT => install(&self.ns.parent()?),
            NS_GET_NSTYPE => Ok(self.ns.kind().flag().bits() as usize),
            NS_GET_OWNER_UID => match self.ns.kind() {
                NsKind::User => {
                    mem::write(arg, &0u32)?;
                    Ok(0)
                }
                _ => Err(EINVAL),
            },
            NS_GET_PID_FROM_PIDNS | NS_GET_TGID_FROM_PIDNS | NS_GET_PID_IN_PIDNS | NS_GET_TGID_IN_PIDNS => {
                match &self.ns {
                    Namespace::Pid(ns) => translate(ns, request, arg as u32),
                    Namespace::Initial(_) => Err(EINVAL),
                }
            }
            _ => Err(ENOTTY),
        }
    }
}

/// A new descriptor of the caller for `ns`.
fn install(ns: &Namespace) -> Result<usize> {
    Ok(Thread::current().files().install(ns.open()?, true, 0)? as usize)
}

/// Translates the number of a thread between `ns` and the caller's namespace. ESRCH if either doesn't know it.
fn translate(ns: &PidNs, request: u32, nr: u32) -> Result<usize> {
    let own = Thread::current().process.ns();
    let inwards = matches!(request, NS_GET_PID_IN_PIDNS | NS_GET_TGID_IN_PIDNS);
    let (from, to) = if inwards { (own, ns.id()) } else { (ns.id(), own) };
    let pid = pid::lookup(from, nr).ok_or(ESRCH)?;
    let table: &Table = &tree::lock();
    // A number that only names a process group is no thread's.
    let process = table.pid_process(pid).or_else(|| table.process_of(table.pid_thread(pid)?)).ok_or(ESRCH)?;
    let wanted = match request {
        NS_GET_TGID_FROM_PIDNS | NS_GET_TGID_IN_PIDNS => table.pid(process).ok_or(ESRCH)?,
        _ => pid,
    };
    match table.nr(wanted, to) {
        0 => Err(ESRCH),
        nr => Ok(nr as usize),
    }
}
