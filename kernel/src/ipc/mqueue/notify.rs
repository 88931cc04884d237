//! mq_notify(2): a process is told when a message comes to an empty queue that nobody waits at.
//!
//! One process at a time is registered. It stays so until it was told, takes it back, closes any descriptor of the queue (also by exec
//! or exit), or is gone. SIGEV_THREAD wants a netlink socket to write to; there are none of those, so it fails as Linux does when
//! it is given something else.

use crate::{
    fs::{File, FileTable},
    net::socket::Socket,
    prelude::*,
    process::{
        Process, Thread,
        signal::{self, NSIG, SigInfo, Signo},
    },
};

const SIGEV_SIGNAL: i32 = 0;
const SIGEV_NONE: i32 = 1;
const SIGEV_THREAD: i32 = 2;

/// `struct sigevent`, as far as it matters here.
#[derive(Clone, Copy)]
pub struct Event {
    pub value: u64,
    pub signo: i32,
    pub notify: i32,
}

impl Event {
    /// # Errors
    /// EINVAL for another kind of notification, or a signal that there is none of; for SIGEV_THREAD EFAULT, EBADF, ENOTSOCK, EINVAL.
    pub fn check(self, files: &FileTable, read_cookie: impl FnOnce(usize) -> Result<()>) -> Result<()> {
        match self.notify {
            SIGEV_NONE => Ok(()),
            // 0 is allowed, and sends nothing.
            SIGEV_SIGNAL => {
                let valid = u32::try_from(self.signo).is_ok_and(|signo| signo <= u32::from(NSIG));
                if valid { Ok(()) } else { Err(EINVAL) }
            }
            SIGEV_THREAD => {
                read_cookie(self.value as usize)?;
                let file: Arc<File> = files.get(self.signo)?;
                Socket::of(&file).and(Err(EINVAL))
            }
            _ => Err(EINVAL),
        }
    }
}

/// Who is to be told, and how.
#[derive(Clone)]
pub struct Notification {
    event: Event,
    process: Weak<Process>,
    /// The address space of the program that asked for it: another one would not know what the signal means.
    program: u64,
}

impl Notification {
    pub fn new(thread: &Thread, event: Event) -> Notification {
        Notification { event, process: Arc::downgrade(&thread.process), program: thread.vm().id() }
    }

    /// Whether the process is there still. Called with the queue locked: a reference that might be the last must not be made.
    pub fn is_live(&self) -> bool {
        self.process.strong_count() > 0
    }

    pub fn is_by(&self, thread: &Thread) -> bool {
        core::ptr::eq(self.process.as_ptr(), Arc::as_ptr(&thread.process))
    }

    /// Tells the process of the message that `sender` has sent.
    pub fn send(self, sender: &Thread) {
        let signo = self.event.signo as Signo;
        let Some(process) =
            self.process.upgrade().filter(|_| self.event.notify == SIGEV_SIGNAL && signo != 0)
        else {
            return;
        };
        let program = signal::threads(&process).iter().find_map(|thread| thread.try_vm()).map(|vm| vm.id());
        if program == Some(self.program) {
            let pid = sender.process.pid_in(process.ns());
            let info = SigInfo::message(signo, pid, sender.creds().uid, self.event.value);
            signal::send_process(&process, None, info);
        }
    }

    /// The kind of notification, the signal, and the pid of the process as the reader sees it.
    pub fn describe(&self) -> (i32, i32, u32) {
        let pid = self.process.upgrade().map_or(0, |process| process.pid_in(Thread::current().process.ns()));
        let signo = if self.event.notify == SIGEV_SIGNAL { self.event.signo } else { 0 };
        (self.event.notify, signo, pid)
    }
}
