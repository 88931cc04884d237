//! The lock order of the kernel, in one place (told in prose in `docs/locks.md`).
//!
//! A lock may be taken only while every lock held has a *smaller* rank. Debug and test builds check it at
//! every acquisition and panic with both names. Ranks below 240 belong to sleeping locks; from there on locks
//! spin and nothing may sleep while one is held. ostd's own locks start at 800, so that any kernel lock
//! may be held while memory is mapped, allocated or freed.

use ostd::sync::LockRank;

// Sleeping locks.
pub const FILE_POS: LockRank = LockRank::new(80, "file offset");
/// Giving a socket its name, which may make a node in a directory.
pub const UNIX_BIND: LockRank = LockRank::new(85, "unix bind");
/// Text of an open file of procfs.
pub const PROC_TEXT: LockRank = LockRank::new(90, "procfs text");
/// Joining epolls to epolls.
pub const EPOLL_NESTING: LockRank = LockRank::new(93, "epoll nesting");
/// The files of an epoll; polls them while it is held.
pub const EPOLL: LockRank = LockRank::new(95, "epoll");
/// Taking events of asynchronous input and output out; programs' memory is written while it is held.
pub const AIO_READERS: LockRank = LockRank::new(97, "aio readers");
pub const MOUNT: LockRank = LockRank::new(100, "mount tree");
pub const RENAME: LockRank = LockRank::new(110, "rename");
pub const INODE: LockRank = LockRank::new(150, "inode");
/// The search for sockets that hold one another.
pub const UNIX_GC: LockRank = LockRank::new(155, "unix garbage");
pub const PIPE: LockRank = LockRank::new(160, "pipe");
/// What a socket has received; programs' memory is copied while it is held.
pub const UNIX_QUEUE: LockRank = LockRank::new(165, "unix queue");
pub const VM: LockRank = LockRank::new(200, "vm");

// Spin locks.

/// Which address spaces map a file.
pub const MAPPERS: LockRank = LockRank::new(240, "mappers of a file");
pub const MOUNT_TABLE: LockRank = LockRank::new(241, "mount table");
pub const MOUNT_POINT: LockRank = LockRank::new(242, "mount point");
pub const RAMFS: LockRank = LockRank::new(243, "ramfs node");
pub const DCACHE: LockRank = LockRank::new(244, "dentry cache");
pub const DENTRY: LockRank = LockRank::new(245, "dentry");
/// A thread's reference to its fd table.
pub const THREAD_FILES: LockRank = LockRank::new(248, "thread's fd table");
pub const FILES: LockRank = LockRank::new(250, "fd table");
pub const FS_CONTEXT: LockRank = LockRank::new(260, "cwd and root");
pub const FILE_LOCKS: LockRank = LockRank::new(270, "file locks");
pub const FILE_LOCK_WAITS: LockRank = LockRank::new(271, "waits for file locks");
/// What adjtimex(2) was told of the wall clock.
pub const CLOCK_ADJUST: LockRank = LockRank::new(273, "clock adjustment");
/// The list of timerfds that follow the wall clock.
pub const CLOCK_FILES: LockRank = LockRank::new(275, "timerfds by the wall clock");
/// Which sockets there are, and which are bound to what.
pub const UNIX_TABLE: LockRank = LockRank::new(276, "unix names");
/// The sockets whose descriptors are in messages.
pub const UNIX_IN_FLIGHT: LockRank = LockRank::new(274, "unix in flight");
pub const UNIX_BACKLOG: LockRank = LockRank::new(277, "unix backlog");
pub const UNIX_STATE: LockRank = LockRank::new(278, "unix state");
pub const UNIX_CLOSING: LockRank = LockRank::new(279, "unix closing");
pub const LOADAVG: LockRank = LockRank::new(280, "load averages");
/// By how much clocks are ahead of one another, while that changes.
pub const CLOCK_OFFSETS: LockRank = LockRank::new(282, "clock offsets");
pub const FUTEX: LockRank = LockRank::new(300, "futex bucket");
/// All sets of System V semaphores.
pub const SYSV_SEM: LockRank = LockRank::new(305, "semaphores");
/// All shared memory segments; taken with the layout of an address space locked.
pub const SYSV_SHM: LockRank = LockRank::new(306, "segments");
/// All System V message queues.
pub const SYSV_MSG: LockRank = LockRank::new(307, "message queues");
/// The result of a call that waits in a queue of messages.
pub const WAITER: LockRank = LockRank::new(309, "waiting call");
/// The queues of the file system mqueue.
pub const MQUEUE_DIR: LockRank = LockRank::new(302, "mqueue directory");
/// A POSIX message queue.
pub const MQUEUE: LockRank = LockRank::new(308, "mqueue");
/// What all POSIX message queues take together.
pub const MQUEUE_TOTALS: LockRank = LockRank::new(311, "mqueue totals");
pub const SHARED_MEMORY: LockRank = LockRank::new(310, "shared memory");
/// The pseudo-terminals of an instance of devpts.
pub const DEVPTS: LockRank = LockRank::new(340, "devpts");
/// The terminals that belong to a session.
pub const CONTROLLING: LockRank = LockRank::new(345, "controlling terminals");
pub const TTY: LockRank = LockRank::new(350, "tty");
/// Output of a pseudo-terminal.
pub const PTY: LockRank = LockRank::new(355, "pty output");
pub const TABLE: LockRank = LockRank::new(400, "process table");
pub const PID_SHARD: LockRank = LockRank::new(450, "pid hash shard");
pub const SIGNAL: LockRank = LockRank::new(500, "signal state");
pub const SIGHAND: LockRank = LockRank::new(510, "signal dispositions");
pub const PROCESS_MISC: LockRank = LockRank::new(550, "rlimits and names");
/// The POSIX timers of a process.
pub const POSIX_TIMERS: LockRank = LockRank::new(595, "table of timers");
pub const TIMERS: LockRank = LockRank::new(600, "interval timers");
/// The armed timers that measure a process's CPU time.
pub const CPU_TIMERS: LockRank = LockRank::new(605, "timers of CPU time");
/// Requests of asynchronous input and output.
pub const AIO: LockRank = LockRank::new(607, "aio");
/// Who hears of what happens to an inode; its listeners are told while it is held.
pub const NOTIFY_MARKS: LockRank = LockRank::new(606, "marks of an inode");
/// The inodes that somebody watches.
pub const NOTIFY_INODES: LockRank = LockRank::new(607, "marked inodes");
pub const INOTIFY: LockRank = LockRank::new(608, "inotify");
/// The calls that filters ask about.
pub const SECCOMP_NOTIFY: LockRank = LockRank::new(609, "seccomp's requests");
pub const EVENTFD: LockRank = LockRank::new(610, "eventfd");
/// Who watches an open file, and an epoll's places on its queues.
pub const WATCHERS: LockRank = LockRank::new(615, "file's watchers");
/// Taken in interrupt context, and before the timer heap.
pub const TIMERFD: LockRank = LockRank::new(620, "timerfd");
/// Taken in interrupt context, with a wait queue locked.
pub const EPOLL_READY: LockRank = LockRank::new(645, "epoll's ready files");
/// The inodes that were ever locked. A leaf: inodes go wherever their last reference does.
pub const LOCKED_INODES: LockRank = LockRank::new(647, "locked inodes");
/// Taken with interrupts off: timer callbacks queue here.
pub const DEFERRED: LockRank = LockRank::new(650, "deferred work");
/// Taken in interrupt context: bytes of the console.
pub const TTY_INPUT: LockRank = LockRank::new(660, "console input");
pub const RUN_QUEUE: LockRank = LockRank::new(700, "run queue");
