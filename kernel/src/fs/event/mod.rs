//! Files that tell of events: waiting for many things at once, as reads and polls of descriptors.
//!
//! | file | what it tells |
//! |---|---|
//! | [`epoll`] | which of a set of files are ready |
//! | [`eventfd`] | a counter that somebody added to |
//! | [`signalfd`] | signals that are pending for the reader |
//! | [`timerfd`] | that a timer expired |
//!
//! [`inotify`](super::notify::inotify) is one of them, at home with those who tell it.
//!
//! None has a name or an inode of its own ([`anon`](super::anon)). Each wakes a queue after every change, and epoll hangs
//! on those queues as it does on those of pipes and terminals: nothing here knows of epoll.

pub mod epoll;
pub mod eventfd;
mod nesting;
pub mod signalfd;
pub mod timerfd;

pub use epoll::Watchers;
