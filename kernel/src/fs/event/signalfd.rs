//! signalfd(2): pending signals, read as a file (rule 7.33).
//!
//! Data: only the set of signals it is for. A read takes from the queues of the *reader*: its own and its process's, so
//! that a forked child reads its own signals through an inherited descriptor. Waiting is on a queue of the reader's process,
//! which a sender wakes ([`signal::signalfd_queue`]). An epoll waits for the signals of the process that added the file.
//! Locks: none of its own; the reader's signal lock inside the signal code. Waits are restarted (rule 7.37).

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use proctree::NsId;

use crate::{
    fs::{
        anon,
        file::{File, FileOps, OpenFlags},
        io::{ReadBuf, moved_or},
        poll::{PollEvents, PollTable},
    },
    prelude::*,
    process::{
        Thread,
        signal::{self, Fields, SI_USER, SIGCHLD, SigInfo, SigSet},
        wait_event::wait_interruptible,
    },
};

/// Bytes of `struct signalfd_siginfo`.
const RECORD: usize = 128;

pub struct SignalFd {
    wanted: AtomicU64,
}

/// A new signalfd. SIGKILL and SIGSTOP are dropped from the set (rule 7.15).
pub fn new_file(wanted: SigSet, flags: OpenFlags) -> Result<Arc<File>> {
    let wanted = AtomicU64::new(wanted.maskable().0);
    anon::new_file(Box::new(SignalFd { wanted }), flags)
}

impl SignalFd {
    fn wanted(&self) -> SigSet {
        SigSet(self.wanted.load(Relaxed))
    }

    /// Changes what it is for; who waits for it looks again.
    pub fn set_wanted(&self, wanted: SigSet) {
        self.wanted.store(wanted.maskable().0, Relaxed);
        signal::signalfd_queue(&Thread::current().process).wake_all();
    }

    fn next(&self, nonblocking: bool) -> Result<SigInfo> {
        let thread = Thread::current();
        let take = || signal::take_pending(&thread, self.wanted());
        match take() {
            Some(info) => Ok(info),
            None if nonblocking => Err(EAGAIN),
            None => wait_interruptible(&signal::signalfd_queue(&thread.process), take),
        }
    }
}

impl FileOps for SignalFd {
    fn directions(&self) -> (bool, bool) {
        (true, false)
    }

    fn read_at(&self, file: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        if buf.left() < RECORD {
            return Err(EINVAL);
        }
        let mut nonblocking = file.is_nonblocking();
        let mut step = Ok(());
        while step.is_ok() && buf.left() >= RECORD {
            step = self.next(nonblocking).and_then(|info| buf.put(&encode(&info)).map(drop));
            // What is there is read at once; only the first is waited for.
            nonblocking = true;
        }
        moved_or(buf.done(), step)
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        // A kernel task, which looks for a request of asynchronous input and output, has no signals, as on Linux.
        let Some(thread) = Thread::try_current() else { return PollEvents::empty() };
        if !matches!(table, PollTable::None) {
            table.add_shared(&signal::signalfd_queue(&thread.process));
        }
        let pending = signal::queued_set(&thread) & self.wanted();
        if pending.is_empty() { PollEvents::empty() } else { PollEvents::IN }
    }

    fn tells_events(&self) -> bool {
        true
    }

    fn as_any(&self) -> Option<&dyn core::any::Any> {
        Some(self)
    }

    fn anonymous_name(&self) -> String {
        String::from("anon_inode:[signalfd]")
    }

    fn describe(&self, _: NsId, out: &mut String) {
        *out += &format!("sigmask:\t{:016x}\n", self.wanted().0);
    }
}

/// The `struct signalfd_siginfo` of a signal.
fn encode(info: &SigInfo) -> [u8; RECORD] {
    let mut out = [0; RECORD];
    let mut put = |offset: usize, bytes: &[u8]| out[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, &u32::from(info.signo).to_ne_bytes());
    put(8, &info.code.to_ne_bytes());
    let mut sender = |pid: u32, uid: u32| {
        put(12, &pid.to_ne_bytes());
        put(16, &uid.to_ne_bytes());
    };
    match &info.fields {
        Fields::None => {}
        Fields::Sender { pid, uid } => sender(*pid, *uid),
        // Linux tells the kinds apart by signal and code: with another signal than SIGCHLD these codes are those of a
        // descriptor that is ready, so what lies at the place of its fields is taken.
        Fields::Child { pid, status, .. } if info.signo != SIGCHLD => {
            put(20, &status.to_ne_bytes());
            put(28, &pid.to_ne_bytes());
        }
        Fields::Child { pid, uid, status, utime, stime } => {
            sender(*pid, *uid);
            put(40, &status.to_ne_bytes());
            put(56, &utime.to_ne_bytes());
            put(64, &stime.to_ne_bytes());
        }
        Fields::Timer(_) => {}
        Fields::TimerFired { id, overrun, value } => {
            put(24, &id.to_ne_bytes());
            put(32, &overrun.to_ne_bytes());
            put(44, &(*value as u32).to_ne_bytes());
            put(48, &value.to_ne_bytes());
        }
        Fields::Fault { addr } => put(72, &addr.to_ne_bytes()),
        Fields::Syscall { errno, addr, number, arch } => {
            put(4, &errno.to_ne_bytes());
            put(84, &number.to_ne_bytes());
            put(88, &addr.to_ne_bytes());
            put(96, &arch.to_ne_bytes());
        }
        // Pid, uid and value, as sigqueue(3) lays them out.
        Fields::Raw(raw) => {
            put(4, &raw[4..8]);
            put(12, &raw[16..20]);
            put(16, &raw[20..24]);
            if info.code != SI_USER {
                put(44, &raw[24..28]);
                put(48, &raw[24..32]);
            }
        }
    }
    out
}

#[cfg(feature = "ktest")]
mod test {
    use super::*;

    #[ktest::ktest]
    fn records_have_the_fields_of_their_kind() {
        let word = |record: &[u8; RECORD], at: usize| {
            u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
        };
        let child = encode(&SigInfo::child(17, 1, 5, 6, 7, (8, 9)));
        assert_eq!([0, 8, 12, 16, 40, 56, 64].map(|at| word(&child, at)), [17, 1, 5, 6, 7, 8, 9]);
        let other = encode(&SigInfo::child(34, 1, 5, 6, 7, (8, 9)));
        assert_eq!([0, 8, 12, 16, 20, 28, 40].map(|at| word(&other, at)), [34, 1, 0, 0, 7, 5, 0]);
        let mut raw = [0; signal::SIGINFO_SIZE];
        raw[8..12].copy_from_slice(&(-1i32).to_ne_bytes());
        (raw[16], raw[20], raw[24]) = (11, 12, 13);
        let queued = encode(&SigInfo::from_user(34, &raw));
        assert_eq!([0, 12, 16, 44, 48].map(|at| word(&queued, at)), [34, 11, 12, 13, 13]);
        assert_eq!(word(&queued, 8) as i32, -1);
    }
}
