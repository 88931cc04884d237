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
        file::{File, FileOps, OpenFlags, SEEK_CUR, SEEK_SET, seek_by_size},
        inode::{DevId, DirEntry, FileType, FsStat, Inode, InodeBase, LinkTarget, NewNode},
        io::{ReadBuf, WriteBuf},
    },
    lock_order,
    prelude::*,
    process::{Thread, pid::Key},
};

/// Makes the text of a file about the system.
pub type Fill = fn(&mut Vec<u8>) -> Result<()>;
/// Makes the text of a file about a task.
pub type TaskFill = fn(&TaskRef, &mut Vec<u8>) -> Result<()>;
/// Takes what is written to a file about a task.
pub type TaskStore = fn(&TaskRef, &[u8]) -> Result<()>;
/// Where a link of a task leads: the place and the text that readlink shows.
pub type TaskLink = fn(&TaskRef) -> Result<(LinkTarget, Vec<u8>)>;

/// A file about a task.
pub struct TaskFile {
    pub perm: u32,
    pub content: Content,
    /// It has an end to seek from, at 0. Most have none: EINVAL.
    pub has_end: bool,
}

pub enum Content {
    /// Made when it is read.
    Text(TaskFill),
    /// The same, for those only who may look into the task.
    Private(TaskFill),
    /// Can be written, too.
    Stored(TaskFill, TaskStore),
    /// An open file is about what the task had when it was opened.
    Own(fn(&TaskRef) -> Result<Box<dyn FileOps>>),
}

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
    /// A directory of a task's that is the same for all.
    TaskFixed(TaskRef, &'static [Entry]),
    TaskFile(TaskRef, &'static TaskFile),
    TaskLink(TaskRef, TaskLink),
    /// An entry of /proc/pid/fd, with the rights that the descriptor gives.
    FdLink(TaskRef, i32, u32),
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
            Kind::FdLink(_, _, perm) => (FileType::Symlink, *perm),
            Kind::Task(_, TaskDir::Fd) => (FileType::Dir, 0o500),
            Kind::Task(_, TaskDir::Ns) => (FileType::Dir, 0o511),
            Kind::Task(..) | Kind::TaskFixed(..) => (FileType::Dir, 0o555),
            Kind::TaskFile(_, file) => (FileType::Regular, file.perm),
            Kind::FdInfo(..) => (FileType::Regular, 0o444),
        };
        file_type.mode_bits() | perm
    }

    fn task(&self) -> Option<&TaskRef> {
        match self {
            Kind::Task(task, _)
            | Kind::TaskFixed(task, _)
            | Kind::TaskFile(task, _)
            | Kind::TaskLink(task, _)
            | Kind::FdLink(task, ..)
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

/// What lstat(2) says of the links of descriptors.
const LINK_SIZE: u64 = 64;

/// An inode.
pub struct Node {
    base: InodeBase,
    fs: Arc<ProcFs>,
    kind: Kind,
}

impl Node {
    pub fn new(fs: &Arc<ProcFs>, ino: u64, kind: Kind) -> Arc<Node> {
        let new = NewNode { mode: kind.mode(), uid: 0, gid: 0, rdev: DevId(0) };
        let mut base = InodeBase::new(ino, fs.dev, new);
        if matches!(kind, Kind::Task(_, TaskDir::Fd | TaskDir::FdInfo)) {
            base.ask_for_access();
        }
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
        let Some((uid, gid)) = task.owner(self.kind.mode() != FileType::Dir.mode_bits() | 0o555) else {
            return false;
        };
        self.base.set_owner(Some(uid), Some(gid));
        match self.kind {
            Kind::Task(_, TaskDir::Fd) => self.base.set_size(pid::fd_count(task) as u64),
            Kind::FdLink(..) => self.base.set_size(LINK_SIZE),
            _ => {}
        }
        true
    }

    fn child(&self, ino: u64, kind: Kind) -> Arc<dyn Inode> {
        Node::new(&self.fs, ino, kind)
    }

    fn text(&self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        match &self.kind {
            Kind::Text(fill) => fill(&mut out)?,
            Kind::Sysctl(sysctl) => sysctl.read(&mut out),
            Kind::TaskFile(task, file) => match file.content {
                Content::Text(fill) | Content::Private(fill) | Content::Stored(fill, _) => {
                    fill(task, &mut out)?
                }
                Content::Own(_) => return Err(EINVAL),
            },
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
            Kind::Dir(entries) | Kind::TaskFixed(_, entries) => {
                if let Kind::TaskFixed(task, _) = &self.kind {
                    task.not_exited().ok_or(ENOENT)?;
                }
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
        match &self.kind {
            // The number may be another file's by now.
            Kind::FdLink(task, fd, perm) if pid::fd_perm(task, *fd) != Ok(*perm) => return false,
            Kind::FdInfo(task, fd) if pid::open_file(task, *fd).is_err() => return false,
            _ => {}
        }
        self.update_owner()
    }

    /// One's own descriptors are there for oneself, whoever owns the directory; to see how others use theirs one needs a
    /// debugger's rights.
    fn decide_access(&self, by_mode: Result<()>) -> Result<()> {
        match &self.kind {
            Kind::Task(task, TaskDir::FdInfo) => match task.inspect_zombie() {
                Ok(_) => by_mode,
                Err(e) => Err(if e == ENOENT { ESRCH } else { e }),
            },
            Kind::Task(task, TaskDir::Fd) => by_mode.or_else(|e| {
                let own = |thread: &Arc<Thread>| Arc::ptr_eq(&thread.process, &Thread::current().process);
                if task.live().is_ok_and(|thread| own(&thread)) { Ok(()) } else { Err(e) }
            }),
            _ => by_mode,
        }
    }

    fn read_dir(&self, from: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
        match &self.kind {
            Kind::Root => pid::list_root(self.fs.ns.id(), self.base.ino, from, emit),
            Kind::Dir(entries) => {
                list_fixed(self.base.ino, entries, from, emit);
                Ok(())
            }
            Kind::TaskFixed(task, entries) => {
                task.not_exited().ok_or(EINVAL)?;
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
            Kind::FdLink(task, fd, _) => Ok(LinkTarget::Place(pid::fd_place(task, *fd)?)),
            _ => Err(EINVAL),
        }
    }

    fn link_text(&self) -> Result<Vec<u8>> {
        match &self.kind {
            Kind::Link(text) => text(self.fs.ns.id()),
            Kind::TaskLink(task, link) => Ok(link(task)?.1),
            Kind::FdLink(task, fd, _) => pid::fd_name(task, *fd),
            _ => Err(EINVAL),
        }
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
        // Parameters obey their mode whatever the capabilities.
        if let Kind::Sysctl(sysctl) = &self.kind
            && (flags.readable() && sysctl.perm() & 0o400 == 0
                || flags.writable() && (sysctl.perm() & 0o200 == 0 || !sysctl.is_writable()))
        {
            return Err(EACCES);
        }
        if let Kind::TaskFile(task, file) = &self.kind {
            match file.content {
                Content::Own(open) => return open(task),
                Content::Private(_) if matches!(task.inspect_zombie(), Err(EACCES)) => return Err(EACCES),
                _ => {}
            }
        }
        let has_end = match &self.kind {
            Kind::TaskFile(_, file) => file.has_end,
            Kind::Sysctl(_) => true,
            _ => false,
        };
        Ok(Box::new(TextFile::new(Source::Node(self), has_end)))
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

/// Makes the text of what an open file keeps.
type KeptFill = dyn Fn(&mut Vec<u8>) -> Result<()> + Send + Sync;

/// Where the text of an open file comes from.
enum Source {
    Node(Arc<Node>),
    /// What the file was opened for.
    Kept(Box<KeptFill>),
}

impl Source {
    fn text(&self) -> Result<Vec<u8>> {
        match self {
            Source::Node(node) => node.text(),
            Source::Kept(fill) => {
                let mut out = Vec::new();
                fill(&mut out)?;
                Ok(out)
            }
        }
    }
}

/// An open file of procfs.
pub struct TextFile {
    source: Source,
    has_end: bool,
    /// What was read from the start last; later parts come from it, so that a reader sees one moment.
    text: Mutex<Option<Vec<u8>>>,
}

impl TextFile {
    fn new(source: Source, has_end: bool) -> TextFile {
        TextFile { source, has_end, text: Mutex::new(lock_order::PROC_TEXT, None) }
    }

    /// One that keeps what its text is made of.
    pub fn keeping(
        has_end: bool,
        fill: impl Fn(&mut Vec<u8>) -> Result<()> + Send + Sync + 'static,
    ) -> Box<dyn FileOps> {
        Box::new(TextFile::new(Source::Kept(Box::new(fill)), has_end))
    }

    fn is_parameter(&self) -> bool {
        matches!(&self.source, Source::Node(node) if matches!(node.kind, Kind::Sysctl(_)))
    }

    /// Takes a value; returns how much of it.
    fn write(&self, value: &[u8]) -> Result<usize> {
        let Source::Node(node) = &self.source else { return Err(EINVAL) };
        match &node.kind {
            Kind::Sysctl(sysctl) => sysctl.write(value),
            Kind::TaskFile(task, TaskFile { content: Content::Stored(_, store), .. }) => {
                store(task, value).map(|()| value.len())
            }
            Kind::Text(_) => Err(EIO),
            _ => Err(EINVAL),
        }
    }
}

impl FileOps for TextFile {
    fn read_at(&self, _: &File, buf: &mut ReadBuf, pos: u64) -> Result<usize> {
        let mut text = self.text.lock();
        if pos == 0 || text.is_none() {
            *text = Some(self.source.text()?);
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
        let n = buf.take(&mut value)?;
        // What is written to a parameter behind the start is ignored, as kernel.sysctl_writes_strict = 1 has it.
        let ignored = pos != 0 && self.is_parameter();
        let n = if ignored { n } else { self.write(&value[..n])? };
        Ok((n, pos + n as u64))
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn seek(&self, _: &File, current: u64, offset: i64, whence: u32) -> Result<u64> {
        if !self.has_end && !matches!(whence, SEEK_SET | SEEK_CUR) {
            return Err(EINVAL);
        }
        seek_by_size(0, current, offset, whence)
    }

    fn sync(&self, _: &File) -> Result<()> {
        Err(EINVAL)
    }
}
