//! The inodes of procfs, and open files whose text is made when they are read.

use ostd::sync::Mutex;
use proctree::NsId;

use super::{
    PROC_MAGIC, ProcFs,
    pid::{self, TaskDir},
    sys,
    task::TaskRef,
};
use crate::{
    fs::{
        file::{File, FileOps, OpenFlags},
        inode::{DevId, DirEntry, FileType, FsStat, Inode, InodeBase, LinkTarget, NewNode},
        io::{ReadBuf, WriteBuf},
    },
    lock_order,
    prelude::*,
    process::pid::Key,
};

/// Makes the text of a file about the system.
pub type Fill = fn(&mut Vec<u8>) -> Result<()>;
/// Makes the text of a file about a task.
pub type TaskFill = fn(&TaskRef, &mut Vec<u8>) -> Result<()>;
/// Takes what is written to a file about a task.
pub type TaskStore = fn(&TaskRef, &[u8]) -> Result<()>;
/// Where a link of a task leads: the place and the text that readlink shows.
pub type TaskLink = fn(&TaskRef) -> Result<(LinkTarget, Vec<u8>)>;

/// An entry of a fixed directory.
pub struct Entry {
    pub name: &'static str,
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Copy)]
pub enum Kind {
    Root,
    Dir(&'static [Entry]),
    Text(Fill),
    Sysctl(&'static sys::Sysctl),
    /// A link that depends on who reads it, and in which namespace's view.
    Link(fn(NsId) -> Result<Vec<u8>>),
    Task(TaskRef, TaskDir),
    /// With what takes writes, if they are possible, and the permissions then.
    TaskText(TaskRef, TaskFill, Option<(TaskStore, u32)>),
    /// For those only who may look into the task.
    TaskPrivate(TaskRef, TaskFill, u32),
    TaskLink(TaskRef, TaskLink),
    /// An entry of /proc/pid/fd.
    FdLink(TaskRef, i32),
    /// An entry of /proc/pid/fdinfo.
    FdInfo(TaskRef, i32),
}

impl Kind {
    /// Type and permissions.
    fn mode(&self) -> u32 {
        let (file_type, perm) = match self {
            Kind::Root | Kind::Dir(_) => (FileType::Dir, 0o555),
            Kind::Text(_) => (FileType::Regular, 0o444),
            Kind::Sysctl(sysctl) => (FileType::Regular, sysctl.perm()),
            Kind::Link(_) | Kind::TaskLink(..) => (FileType::Symlink, 0o777),
            Kind::FdLink(..) => (FileType::Symlink, 0o700),
            Kind::Task(_, TaskDir::Fd | TaskDir::FdInfo) => (FileType::Dir, 0o500),
            Kind::Task(_, TaskDir::Ns) => (FileType::Dir, 0o511),
            Kind::Task(..) => (FileType::Dir, 0o555),
            Kind::TaskPrivate(_, _, perm) => (FileType::Regular, *perm),
            Kind::TaskText(_, _, Some((_, perm))) => (FileType::Regular, *perm),
            Kind::TaskText(..) | Kind::FdInfo(..) => (FileType::Regular, 0o444),
        };
        file_type.mode_bits() | perm
    }

    fn task(&self) -> Option<&TaskRef> {
        match self {
            Kind::Task(task, _)
            | Kind::TaskText(task, ..)
            | Kind::TaskPrivate(task, ..)
            | Kind::TaskLink(task, _)
            | Kind::FdLink(task, _)
            | Kind::FdInfo(task, _) => Some(task),
            _ => None,
        }
    }
}

/// The process whose directory is open as `file`, also if it is gone by now: pidfd_send_signal(2) takes one for a pidfd.
pub fn process_of(file: &File) -> Option<Key> {
    match file.inode().downcast::<Node>()?.kind {
        Kind::Task(TaskRef { ns, nr, pid, .. }, TaskDir::Process) => Some(Key { ns, nr, pid }),
        _ => None,
    }
}

/// An inode.
pub struct Node {
    base: InodeBase,
    fs: Arc<ProcFs>,
    kind: Kind,
}

impl Node {
    pub fn new(fs: &Arc<ProcFs>, ino: u64, kind: Kind) -> Arc<Node> {
        let new = NewNode { mode: kind.mode(), uid: 0, gid: 0, rdev: DevId(0) };
        let base = InodeBase::new(ino, fs.dev, new);
        if base.is_dir() {
            base.set_nlink(2);
        }
        let node = Arc::new(Node { base, fs: fs.clone(), kind });
        node.update_owner();
        node
    }

    /// Files about a task belong to its user. False if the task is gone.
    fn update_owner(&self) -> bool {
        let Some(task) = self.kind.task() else {
            return true;
        };
        match task.owner(!matches!(self.kind, Kind::Task(_, TaskDir::Process | TaskDir::Thread))) {
            Some((uid, gid)) => {
                self.base.set_owner(Some(uid), Some(gid));
                true
            }
            None => false,
        }
    }

    fn child(&self, ino: u64, kind: Kind) -> Arc<dyn Inode> {
        Node::new(&self.fs, ino, kind)
    }

    fn text(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        match &self.kind {
            Kind::Text(fill) => fill(&mut out)?,
            Kind::Sysctl(sysctl) => sysctl.read(&mut out),
            Kind::TaskText(task, fill, _) | Kind::TaskPrivate(task, fill, _) => fill(task, &mut out)?,
            Kind::FdInfo(task, fd) => pid::fd_info(task, *fd, &mut out)?,
            _ => return Err(EINVAL),
        }
        Ok(out)
    }
}

/// Numbers of entries of a fixed directory, from the directory's own; a task's are far apart (see [`TaskRef::ino`]).
fn entry_ino(dir: u64, index: usize) -> u64 {
    dir * 64 + index as u64 + 1
}

fn find<'a>(entries: &'a [Entry], name: &[u8]) -> Option<(usize, &'a Entry)> {
    entries.iter().enumerate().find(|(_, entry)| entry.name.as_bytes() == name)
}

/// Lists a fixed directory; its entries have the positions from 2 on. False when `emit` had enough.
pub fn list_fixed(dir: u64, entries: &[Entry], from: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> bool {
    let skip = (from.max(2) - 2) as usize;
    entries.iter().enumerate().skip(skip).all(|(index, entry)| {
        let file_type = FileType::of_mode(entry.kind.mode()).unwrap_or(FileType::Regular);
        let next = index as u64 + 3;
        emit(DirEntry { name: entry.name.as_bytes(), ino: entry_ino(dir, index), file_type, next })
    })
}

impl Inode for Node {
    fn base(&self) -> &InodeBase {
        &self.base
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        match &self.kind {
            Kind::Root => {
                if let Some((index, entry)) = find(pid::ROOT_ENTRIES, name) {
                    return Ok(self.child(entry_ino(self.base.ino, index), entry.kind));
                }
                let task = TaskRef::parse(self.fs.ns.id(), name, None).ok_or(ENOENT)?;
                Ok(self.child(task.ino(0), Kind::Task(task, TaskDir::Process)))
            }
            Kind::Dir(entries) => {
                let (index, entry) = find(entries, name).ok_or(ENOENT)?;
                Ok(self.child(entry_ino(self.base.ino, index), entry.kind))
            }
            Kind::Task(task, dir) => {
                let (ino, kind) = dir.lookup(task, name)?;
                Ok(self.child(ino, kind))
            }
            _ => Err(ENOTDIR),
        }
    }

    fn revalidate(&self) -> bool {
        if let Kind::FdLink(task, fd) | Kind::FdInfo(task, fd) = &self.kind
            && pid::open_file(task, *fd).is_err()
        {
            return false;
        }
        self.update_owner()
    }

    fn read_dir(&self, from: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
        match &self.kind {
            Kind::Root => pid::list_root(self.fs.ns.id(), self.base.ino, from, emit),
            Kind::Dir(entries) => {
                list_fixed(self.base.ino, entries, from, emit);
                Ok(())
            }
            Kind::Task(task, dir) => dir.list(task, self.base.ino, from, emit),
            _ => Err(ENOTDIR),
        }
    }

    fn read_link(&self) -> Result<LinkTarget> {
        match &self.kind {
            Kind::Link(text) => Ok(LinkTarget::Text(text(self.fs.ns.id())?)),
            Kind::TaskLink(task, link) => Ok(link(task)?.0),
            Kind::FdLink(task, fd) => Ok(LinkTarget::Place(pid::fd_place(task, *fd)?)),
            _ => Err(EINVAL),
        }
    }

    fn link_text(&self) -> Result<Vec<u8>> {
        match &self.kind {
            Kind::Link(text) => text(self.fs.ns.id()),
            Kind::TaskLink(task, link) => Ok(link(task)?.1),
            Kind::FdLink(task, fd) => pid::fd_name(task, *fd),
            _ => Err(EINVAL),
        }
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
        let writable = match &self.kind {
            Kind::Sysctl(sysctl) => sysctl.is_writable(),
            kind => matches!(kind, Kind::TaskText(_, _, Some(_))),
        };
        if flags.writable() && !writable {
            return Err(EACCES);
        }
        // Parameters obey their mode whatever the capabilities.
        if let Kind::Sysctl(sysctl) = &self.kind
            && (flags.readable() && sysctl.perm() & 0o400 == 0
                || flags.writable() && sysctl.perm() & 0o200 == 0)
        {
            return Err(EACCES);
        }
        if let Kind::TaskPrivate(task, ..) = &self.kind
            && matches!(task.inspect(), Err(EACCES))
        {
            return Err(EACCES);
        }
        Ok(Box::new(TextFile { node: self, text: Mutex::new(lock_order::PROC_TEXT, None) }))
    }

    fn may_change_attributes(&self) -> Result<()> {
        Err(EPERM)
    }

    /// A shell truncates what it writes to; there is nothing to cut off.
    fn resize(&self, _: u64) -> Result<()> {
        Ok(())
    }

    fn block_size(&self) -> u32 {
        1024
    }

    fn statfs(&self) -> Result<FsStat> {
        Ok(FsStat { magic: PROC_MAGIC, block_size: PAGE_SIZE as u64, ..FsStat::default() })
    }
}

/// An open file of procfs.
struct TextFile {
    node: Arc<Node>,
    /// What was read from the start last; later parts come from it, so that a reader sees one moment.
    text: Mutex<Option<Vec<u8>>>,
}

impl FileOps for TextFile {
    fn read_at(&self, _: &File, buf: &mut ReadBuf, pos: u64) -> Result<usize> {
        let mut text = self.text.lock();
        if pos == 0 || text.is_none() {
            *text = Some(self.node.text()?);
        }
        let whole = text.as_deref().unwrap_or_default();
        let start = usize::try_from(pos).unwrap_or(usize::MAX).min(whole.len());
        buf.put(&whole[start..])
    }

    fn write_at(&self, _: &File, buf: &mut WriteBuf, pos: u64) -> Result<(usize, u64)> {
        /// Longer values are refused.
        const MAX: usize = PAGE_SIZE;
        let len = buf.left();
        if len > MAX {
            return Err(EINVAL);
        }
        let mut value = vec![0; len];
        let mut n = buf.take(&mut value)?;
        match &self.node.kind {
            // What is written behind the start is ignored, as kernel.sysctl_writes_strict = 1 has it.
            Kind::Sysctl(_) if pos != 0 => {}
            Kind::Sysctl(sysctl) => n = sysctl.write(&value[..n])?,
            Kind::TaskText(task, _, Some((store, _))) => store(task, &value[..n])?,
            _ => return Err(EIO),
        }
        Ok((n, pos + n as u64))
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn sync(&self, _: &File) -> Result<()> {
        Err(EINVAL)
    }
}
