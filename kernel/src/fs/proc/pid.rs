//! The directories of processes and threads, their links, and the root that lists them.

use core::fmt::Write;

use arrayvec::ArrayVec;
use proctree::NsId;

use super::{
    ProcFs, files, global, mem, memory, mounts,
    node::{Content, Entry, Kind, Node, TaskFile, TaskFill, TaskStore, list_fixed},
    ns, reaper, stat, status, sys,
    task::{self, Task, TaskRef},
};
use crate::{
    fs::{
        File, Path,
        file::FileOps,
        inode::{DirEntry, FileType, Inode, LinkTarget},
    },
    ipc::sysv::{msg, sem, shm},
    net,
    prelude::*,
    process::{Thread, pid, tree},
};

pub fn root(fs: &Arc<ProcFs>) -> Arc<dyn Inode> {
    Node::new(fs, 1, Kind::Root)
}

/// What stands in the root beside the processes.
pub const ROOT_ENTRIES: &[Entry] = &[
    Entry { name: "self", kind: Kind::Link(self_link) },
    Entry { name: "thread-self", kind: Kind::Link(thread_self_link) },
    Entry { name: "cmdline", kind: Kind::Text(global::cmdline) },
    Entry { name: "consoles", kind: Kind::Text(global::consoles) },
    Entry { name: "cpuinfo", kind: Kind::Text(global::cpuinfo) },
    Entry { name: "devices", kind: Kind::Text(global::devices) },
    Entry { name: "diskstats", kind: Kind::Text(global::no_disks) },
    Entry { name: "filesystems", kind: Kind::Text(global::filesystems) },
    Entry { name: "interrupts", kind: Kind::Text(global::interrupts) },
    Entry { name: "loadavg", kind: Kind::Text(global::loadavg) },
    Entry { name: "locks", kind: Kind::Text(files::locks) },
    Entry { name: "meminfo", kind: Kind::Text(global::meminfo) },
    Entry { name: "slabinfo", kind: Kind::Text(global::slabinfo) },
    Entry { name: "mounts", kind: Kind::Link(mounts_link) },
    Entry { name: "net", kind: Kind::Link(net_link) },
    Entry { name: "partitions", kind: Kind::Text(global::no_disks) },
    Entry { name: "stat", kind: Kind::Text(global::stat) },
    Entry { name: "swaps", kind: Kind::Text(global::swaps) },
    Entry { name: "sys", kind: Kind::Dir(sys::SYS) },
    Entry { name: "sysvipc", kind: Kind::Dir(SYSVIPC) },
    Entry { name: "tty", kind: Kind::Dir(TTY) },
    Entry { name: "uptime", kind: Kind::Text(global::uptime) },
    Entry { name: "version", kind: Kind::Text(global::version) },
    Entry { name: "vmstat", kind: Kind::Text(global::vmstat) },
];

const SYSVIPC: &[Entry] = &[
    Entry { name: "msg", kind: Kind::Text(msg::report::text) },
    Entry { name: "sem", kind: Kind::Text(sem::report::text) },
    Entry { name: "shm", kind: Kind::Text(shm::report::text) },
];
const TTY: &[Entry] = &[Entry { name: "drivers", kind: Kind::Text(global::tty_drivers) }];

/// ENOENT for a reader who is not in the namespace of the mount (rule 9.11).
fn self_link(ns: NsId) -> Result<Vec<u8>> {
    match Thread::current().process.pid_in(ns) {
        0 => Err(ENOENT),
        pid => Ok(pid.to_string().into_bytes()),
    }
}

fn thread_self_link(ns: NsId) -> Result<Vec<u8>> {
    let thread = Thread::current();
    let table = tree::lock();
    let tid = table.tid(thread.id()).map_or(0, |tid| table.nr(tid, ns));
    drop(table);
    match thread.process.pid_in(ns) {
        0 => Err(ENOENT),
        pid => Ok(format!("{pid}/task/{tid}").into_bytes()),
    }
}

fn mounts_link(_: NsId) -> Result<Vec<u8>> {
    Ok(b"self/mounts".to_vec())
}

fn net_link(_: NsId) -> Result<Vec<u8>> {
    Ok(b"self/net".to_vec())
}

/// What stands in /proc/pid/net.
const NET_ENTRIES: &[Entry] = &[Entry { name: "unix", kind: Kind::Text(net::unix::report::text) }];

/// A directory of a task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TaskDir {
    /// /proc/pid
    Process,
    /// /proc/pid/task
    Tasks,
    /// /proc/pid/task/tid
    Thread,
    Fd,
    FdInfo,
    Ns,
}

/// An entry of a task's directory, before it is known whose.
enum Item {
    Dir(TaskDir),
    Fixed(&'static [Entry]),
    File(TaskFile),
    Link(super::node::TaskLink),
}

/// What everybody may read.
const fn text(fill: TaskFill) -> Item {
    file(0o444, Content::Text(fill))
}

/// What can be written, too.
const fn stored(perm: u32, fill: TaskFill, store: TaskStore) -> Item {
    file(perm, Content::Stored(fill, store))
}

const fn own(perm: u32, open: fn(&TaskRef) -> Result<Box<dyn FileOps>>) -> Item {
    file(perm, Content::Own(open))
}

const fn file(perm: u32, content: Content) -> Item {
    Item::File(TaskFile { perm, content, has_end: false })
}

/// One that can be sought from its end.
const fn with_end(item: Item) -> Item {
    match item {
        Item::File(TaskFile { perm, content: Content::Text(fill), .. }) => {
            Item::File(TaskFile { perm, content: Content::Text(fill), has_end: true })
        }
        Item::File(TaskFile { perm, content: Content::Stored(fill, store), .. }) => {
            Item::File(TaskFile { perm, content: Content::Stored(fill, store), has_end: true })
        }
        other => other,
    }
}

/// The entries of /proc/pid and /proc/pid/task/tid, but see [`belongs`].
static ITEMS: &[(&str, Item)] = &[
    ("task", Item::Dir(TaskDir::Tasks)),
    ("auxv", own(0o400, memory::open_auxv)),
    ("cgroup", text(status::cgroup)),
    ("children", text(status::children)),
    ("clear_refs", stored(0o200, memory::no_text, memory::clear_refs)),
    ("cmdline", with_end(text(memory::cmdline))),
    ("comm", stored(0o644, status::comm, status::set_comm)),
    ("coredump_filter", with_end(stored(0o644, memory::coredump_filter, memory::set_coredump_filter))),
    ("cwd", Item::Link(cwd)),
    ("environ", own(0o400, memory::open_environ)),
    ("exe", Item::Link(exe)),
    ("fd", Item::Dir(TaskDir::Fd)),
    ("fdinfo", Item::Dir(TaskDir::FdInfo)),
    ("io", file(0o400, Content::Text(stat::io))),
    ("limits", text(status::limits)),
    ("loginuid", with_end(stored(0o644, status::login_uid, status::set_login_uid))),
    ("maps", own(0o444, memory::open_maps)),
    ("mem", own(0o600, mem::open)),
    ("mountinfo", own(0o444, mounts::open_mountinfo)),
    ("mounts", own(0o444, mounts::open_mounts)),
    ("mountstats", own(0o400, mounts::open_mountstats)),
    ("net", Item::Fixed(NET_ENTRIES)),
    ("ns", Item::Dir(TaskDir::Ns)),
    ("oom_adj", with_end(stored(0o644, status::oom_adj, status::set_oom_adj))),
    ("oom_score", text(status::oom_score)),
    ("oom_score_adj", with_end(stored(0o644, status::oom_score_adj, status::set_oom_score_adj))),
    ("pagemap", own(0o400, mem::open_pagemap)),
    ("personality", file(0o400, Content::Text(status::personality))),
    ("reaper", file(0o400, Content::Private(reaper::reaper))),
    ("root", Item::Link(task_root)),
    ("sched", stored(0o644, stat::sched, stat::set_sched)),
    ("schedstat", text(stat::schedstat)),
    ("sessionid", with_end(text(status::session_id))),
    ("smaps", own(0o444, memory::open_smaps)),
    ("smaps_rollup", own(0o444, memory::open_smaps_rollup)),
    ("stat", text(stat::stat)),
    ("statm", text(memory::statm)),
    ("status", text(status::status)),
    ("timers", file(0o444, Content::Private(status::timers))),
    ("timerslack_ns", stored(0o666, status::timer_slack, status::set_timer_slack)),
    ("wchan", text(status::wchan)),
];

/// `children` is a thread's, others are the process's.
fn belongs(name: &str, dir: TaskDir) -> bool {
    match name {
        "task" | "timers" | "timerslack_ns" | "coredump_filter" | "mountstats" => dir == TaskDir::Process,
        "children" => dir == TaskDir::Thread,
        _ => true,
    }
}

impl Item {
    fn kind(&'static self, task: &TaskRef) -> Kind {
        match self {
            Item::Dir(dir) => Kind::Task(*task, *dir),
            Item::Fixed(entries) => Kind::TaskFixed(*task, entries),
            Item::File(file) => Kind::TaskFile(*task, file),
            Item::Link(link) => Kind::TaskLink(*task, *link),
        }
    }

    fn file_type(&self) -> FileType {
        match self {
            Item::Dir(_) | Item::Fixed(_) => FileType::Dir,
            Item::Link(_) => FileType::Symlink,
            Item::File(_) => FileType::Regular,
        }
    }
}

/// Inode numbers of namespaces and descriptors start here, above those of the items.
const NS_INO: u64 = 1 << 9;
const FD_INO: u64 = 1 << 10;

fn parse_fd(name: &[u8]) -> Result<i32> {
    if name.len() > 1 && name[0] == b'0' || !name.iter().all(u8::is_ascii_digit) {
        return Err(ENOENT);
    }
    core::str::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(ENOENT)
}

impl TaskDir {
    /// Inode number and kind of an entry.
    pub fn lookup(self, task: &TaskRef, name: &[u8]) -> Result<(u64, Kind)> {
        // Whoever holds the directory of a process that was reaped may not go into it any more (rule 12.9).
        let gone = if matches!(self, TaskDir::Process | TaskDir::Tasks) { ESRCH } else { ENOENT };
        task.find().map_err(|_| gone)?;
        match self {
            TaskDir::Process | TaskDir::Thread => {
                let mut items = ITEMS.iter().enumerate();
                let found = items.find(|(_, (n, _))| n.as_bytes() == name && belongs(n, self));
                let (index, (_, item)) = found.ok_or(ENOENT)?;
                Ok((task.ino(index as u64 + 1), item.kind(task)))
            }
            TaskDir::Tasks => {
                let thread = TaskRef::parse(task.ns, name, Some(task)).ok_or(ENOENT)?;
                Ok((thread.ino(0), Kind::Task(thread, TaskDir::Thread)))
            }
            TaskDir::Ns => {
                let mut entries = ns::ENTRIES.iter().enumerate();
                let (index, (_, link)) = entries.find(|(_, (n, _))| n.as_bytes() == name).ok_or(ENOENT)?;
                Ok((task.ino(NS_INO + index as u64), Kind::TaskLink(*task, *link)))
            }
            TaskDir::Fd | TaskDir::FdInfo => {
                let fd = parse_fd(name)?;
                let perm = fd_perm(task, fd)?;
                let ino = task.ino(FD_INO + 2 * fd as u64 + u64::from(self == TaskDir::FdInfo));
                let kind =
                    if self == TaskDir::Fd { Kind::FdLink(*task, fd, perm) } else { Kind::FdInfo(*task, fd) };
                Ok((ino, kind))
            }
        }
    }

    pub fn list(
        self,
        task: &TaskRef,
        _: u64,
        from: u64,
        emit: &mut dyn FnMut(DirEntry) -> bool,
    ) -> Result<()> {
        // Position 2 is the first entry.
        let skip = (from.max(2) - 2) as usize;
        let found = task.find().map_err(|_| ENOENT)?;
        match self {
            TaskDir::Process | TaskDir::Thread => {
                for (index, (name, item)) in ITEMS.iter().enumerate().skip(skip) {
                    let entry = DirEntry {
                        name: name.as_bytes(),
                        ino: task.ino(index as u64 + 1),
                        file_type: item.file_type(),
                        next: index as u64 + 3,
                    };
                    if belongs(name, self) && !emit(entry) {
                        break;
                    }
                }
            }
            TaskDir::Tasks => {
                let numbers = match &found {
                    Task::Live(thread) => task::thread_numbers(task.ns, &thread.process),
                    Task::Zombie(_) => vec![task.nr],
                };
                list_numbers(numbers.into_iter().filter(|&nr| nr as usize >= skip), 0, emit);
            }
            TaskDir::Ns => {
                for (index, (name, _)) in ns::ENTRIES.iter().enumerate().skip(skip) {
                    let ino = task.ino(NS_INO + index as u64);
                    let next = index as u64 + 3;
                    if !emit(DirEntry { name: name.as_bytes(), ino, file_type: FileType::Symlink, next }) {
                        break;
                    }
                }
            }
            TaskDir::Fd | TaskDir::FdInfo => {
                let fds = match &found {
                    Task::Live(thread) => {
                        thread.try_files().map_or(Vec::new(), |files| files.list_from(skip))
                    }
                    Task::Zombie(_) => Vec::new(),
                };
                let file_type = if self == TaskDir::Fd { FileType::Symlink } else { FileType::Regular };
                for fd in fds {
                    let name = fd.to_string();
                    let ino = task.ino(FD_INO + 2 * fd as u64 + u64::from(self == TaskDir::FdInfo));
                    let next = fd as u64 + 3;
                    if !emit(DirEntry { name: name.as_bytes(), ino, file_type, next }) {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Lists directories that are named by numbers, in ascending order; number n is at position `base + n + 2`.
/// Returns whether all were taken.
fn list_numbers(
    numbers: impl IntoIterator<Item = u32>,
    base: u64,
    emit: &mut dyn FnMut(DirEntry) -> bool,
) -> bool {
    numbers.into_iter().all(|nr| {
        let name = nr.to_string();
        let next = base + u64::from(nr) + 3;
        let ino = u64::from(nr) << 32;
        emit(DirEntry { name: name.as_bytes(), ino, file_type: FileType::Dir, next })
    })
}

/// The fixed entries, then the processes.
pub fn list_root(ns: NsId, ino: u64, from: u64, emit: &mut dyn FnMut(DirEntry) -> bool) -> Result<()> {
    const PIDS_FROM: u64 = 256;
    if from < PIDS_FROM && !list_fixed(ino, ROOT_ENTRIES, from, emit) {
        return Ok(());
    }
    let mut next = u32::try_from(from.saturating_sub(PIDS_FROM + 2)).ok();
    while let Some(first) = next {
        let numbers;
        (numbers, next) = some_processes(ns, first);
        if !list_numbers(numbers, PIDS_FROM, emit) {
            break;
        }
    }
    Ok(())
}

/// Numbers of processes from `first` on, in order, and where to go on: a few, so that a reader pays for what it gets, however
/// small its buffer is, and keeps nobody waiting for the table.
fn some_processes(ns: NsId, first: u32) -> (ArrayVec<u32, 32>, Option<u32>) {
    /// Numbers of threads are passed over.
    const LOOKS: usize = 256;
    let mut table = tree::lock();
    let mut found = ArrayVec::new();
    let mut next = Some(first);
    for _ in 0..LOOKS {
        if found.is_full() {
            break;
        }
        let used = next.zip(table.ns_numbers(ns)).and_then(|(from, numbers)| numbers.next_used(from));
        next = used.map(|nr| nr + 1);
        let Some(nr) = used else { break };
        if pid::lookup(ns, nr).is_some_and(|pid| table.pid_process(pid).is_some()) {
            found.push(nr);
        }
    }
    (found, next)
}

// ---- links ----------------------------------------------------------------------------------------------------------

fn reader_root() -> Path {
    Thread::current().fs().root()
}

fn link_to(path: Path) -> (LinkTarget, Vec<u8>) {
    let text = path.text(&reader_root()).0;
    (LinkTarget::Place(path), text)
}

/// The task behind a link: ENOENT if it is gone, EACCES if it is not the reader's business.
fn behind_link(task: &TaskRef) -> Result<Arc<Thread>> {
    match task.inspect_zombie()? {
        Task::Live(thread) => Ok(thread),
        Task::Zombie(_) => Err(ENOENT),
    }
}

fn cwd(task: &TaskRef) -> Result<(LinkTarget, Vec<u8>)> {
    let fs = behind_link(task)?.try_fs().ok_or(ENOENT)?;
    Ok(link_to(fs.cwd()))
}

fn task_root(task: &TaskRef) -> Result<(LinkTarget, Vec<u8>)> {
    let fs = behind_link(task)?.try_fs().ok_or(ENOENT)?;
    Ok(link_to(fs.root()))
}

fn exe(task: &TaskRef) -> Result<(LinkTarget, Vec<u8>)> {
    let vm = behind_link(task)?.try_vm().ok_or(ENOENT)?;
    Ok(link_to(vm.exe().ok_or(ENOENT)?.place()))
}

// ---- descriptors ----------------------------------------------------------------------------------------------------

/// The open file behind a descriptor of the task. ENOENT if there is none.
pub fn open_file(task: &TaskRef, fd: i32) -> Result<Arc<File>> {
    let files = task.live().ok().and_then(|thread| thread.try_files()).ok_or(ENOENT)?;
    files.get_any(fd).map_err(|_| ENOENT)
}

/// How many descriptors the task has.
pub fn fd_count(task: &TaskRef) -> usize {
    task.live().ok().and_then(|thread| thread.try_files()).map_or(0, |files| files.count())
}

/// The permissions of a descriptor's link: what the descriptor can be used for.
pub fn fd_perm(task: &TaskRef, fd: i32) -> Result<u32> {
    let flags = open_file(task, fd)?.flags();
    let perm = |may: bool, bits| if may { bits } else { 0 };
    Ok(perm(flags.readable(), 0o500) | perm(flags.writable(), 0o300))
}

/// Where the link of a descriptor leads.
pub fn fd_place(task: &TaskRef, fd: i32) -> Result<Path> {
    behind_link(task)?;
    Ok(open_file(task, fd)?.place())
}

pub fn fd_name(task: &TaskRef, fd: i32) -> Result<Vec<u8>> {
    behind_link(task)?;
    Ok(open_file(task, fd)?.name(&reader_root()))
}

pub fn fd_info(task: &TaskRef, fd: i32, out: &mut Vec<u8>) -> Result<()> {
    let files = task.live()?.try_files().ok_or(ENOENT)?;
    let file = files.get_any(fd).map_err(|_| ENOENT)?;
    let cloexec =
        if files.is_cloexec(fd).unwrap_or(false) { crate::fs::OpenFlags::CLOEXEC.bits() } else { 0 };
    let mut text = String::new();
    let mount = file.path().map_or(0, |path| path.mount.id);
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{}\nino:\t{}\n",
        file.pos(),
        file.flags().bits() | cloexec,
        mount,
        file.inode().base().ino
    );
    super::files::locks_of(&file, &files, task.ns, &mut text);
    file.ops().describe(task.ns, &mut text);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
