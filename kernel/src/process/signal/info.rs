//! What a signal carries: `siginfo_t` (sigaction(2)), kept compact and encoded to its 128 bytes at delivery.

use super::set::{SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, Signo};
use crate::{prelude::*, time::posix_timer::PosixTimer};

/// Sent by kill(2).
pub const SI_USER: i32 = 0;
/// Sent by the kernel.
pub const SI_KERNEL: i32 = 0x80;
/// Sent by a POSIX timer.
pub const SI_TIMER: i32 = -2;
/// Sent by a POSIX message queue.
pub const SI_MESGQ: i32 = -3;
/// Sent by tgkill(2) or tkill(2).
pub const SI_TKILL: i32 = -6;

pub const CLD_EXITED: i32 = 1;
pub const CLD_KILLED: i32 = 2;
pub const CLD_DUMPED: i32 = 3;
pub const CLD_STOPPED: i32 = 5;
pub const CLD_CONTINUED: i32 = 6;

pub const SEGV_MAPERR: i32 = 1;
pub const SEGV_ACCERR: i32 = 2;
pub const BUS_ADRALN: i32 = 1;
pub const BUS_ADRERR: i32 = 2;
pub const ILL_ILLOPN: i32 = 2;
pub const FPE_INTDIV: i32 = 1;
pub const FPE_FLTDIV: i32 = 3;
pub const FPE_FLTOVF: i32 = 4;
pub const FPE_FLTUND: i32 = 5;
pub const FPE_FLTRES: i32 = 6;
pub const FPE_FLTINV: i32 = 7;
pub const TRAP_BRKPT: i32 = 1;
pub const TRAP_TRACE: i32 = 2;
pub const SYS_SECCOMP: i32 = 1;
pub const SYS_USER_DISPATCH: i32 = 2;

/// Bytes of a `siginfo_t`.
pub const SIGINFO_SIZE: usize = 128;

/// So many of them are kept of what a program passes; all that any layout uses.
pub const KEPT: usize = 48;

/// A signal on its way, with what `siginfo_t` will say of it.
#[derive(Clone, Debug)]
pub struct SigInfo {
    pub signo: Signo,
    /// SIGKILL and SIGSTOP get through to a namespace's init: the sender is the kernel or in a namespace above (rule 7.25).
    pub forced: bool,
    pub code: i32,
    pub fields: Fields,
}

/// The part of `siginfo_t` that depends on the signal's origin.
#[derive(Clone, Debug)]
pub enum Fields {
    /// Nothing: all zero.
    None,
    /// `si_pid`, `si_uid`.
    Sender { pid: u32, uid: u32 },
    /// `si_addr`, `si_trapno` is not used on x86_64.
    Fault { addr: u64 },
    /// SIGSYS of a seccomp filter: `si_errno`, `si_call_addr`, `si_syscall`, `si_arch`.
    Syscall { errno: i32, addr: u64, number: i32, arch: u32 },
    /// SIGCHLD: times are in clock ticks (1/100 s).
    Child { pid: u32, uid: u32, status: i32, utime: i64, stime: i64 },
    /// A POSIX timer's signal, before it is taken.
    Timer(Arc<PosixTimer>),
    /// A POSIX timer's signal as the program sees it: its number, the expiries that had no signal, the program's value.
    TimerFired { id: i32, overrun: i32, value: u64 },
    /// As rt_sigqueueinfo(2) gave it, `si_errno` and padding included, but for what is behind the bytes that are kept.
    Raw(Box<[u8; KEPT]>),
}

impl SigInfo {
    /// By kill(2): `pid` and real `uid` of the sender; 0 if the receiver's namespace does not know it, which is then one
    /// below the sender's.
    pub fn kill(signo: Signo, pid: u32, uid: u32) -> SigInfo {
        let fields = Fields::Sender { pid, uid };
        SigInfo { signo, forced: pid == 0, code: SI_USER, fields }
    }

    /// By somebody of whom nothing was kept (rule 7.8).
    pub fn anonymous(signo: Signo) -> SigInfo {
        SigInfo::kill(signo, 0, 0)
    }

    /// By tkill(2) or tgkill(2).
    pub fn tkill(signo: Signo, pid: u32, uid: u32) -> SigInfo {
        let fields = Fields::Sender { pid, uid };
        SigInfo { signo, forced: pid == 0, code: SI_TKILL, fields }
    }

    /// By the kernel, about nobody (terminal signals, timers, orphaned process groups).
    pub fn kernel(signo: Signo) -> SigInfo {
        SigInfo { signo, forced: true, code: SI_KERNEL, fields: Fields::None }
    }

    /// By a POSIX timer.
    pub fn timer(timer: Arc<PosixTimer>) -> SigInfo {
        SigInfo { signo: timer.signo(), forced: false, code: SI_TIMER, fields: Fields::Timer(timer) }
    }

    /// By a POSIX message queue, to which `pid` (0 if the receiver's namespace does not know it) of the real `uid` has sent a message.
    pub fn message(signo: Signo, pid: u32, uid: u32, value: u64) -> SigInfo {
        let mut raw = Box::new([0; KEPT]);
        raw[16..20].copy_from_slice(&pid.to_ne_bytes());
        raw[20..24].copy_from_slice(&uid.to_ne_bytes());
        raw[24..32].copy_from_slice(&value.to_ne_bytes());
        SigInfo { signo, forced: pid == 0, code: SI_MESGQ, fields: Fields::Raw(raw) }
    }

    /// A signal was taken from its queue, and all locks are released: the timer that sent it goes on, and says what it
    /// missed. `None` for a signal whose timer was set or deleted in the meantime.
    pub fn taken(mut self) -> Option<SigInfo> {
        if let Fields::Timer(timer) = &self.fields {
            let overrun = timer.taken()?;
            self.fields = Fields::TimerFired { id: timer.id(), overrun, value: timer.value() };
        }
        Some(self)
    }

    /// The timer that sent it.
    pub fn sender_timer(&self) -> Option<&Arc<PosixTimer>> {
        match &self.fields {
            Fields::Timer(timer) => Some(timer),
            _ => None,
        }
    }

    /// By the instruction at hand, about `addr`.
    pub fn fault(signo: Signo, code: i32, addr: u64) -> SigInfo {
        SigInfo { signo, forced: code == SI_KERNEL, code, fields: Fields::Fault { addr } }
    }

    /// About the system call `number` that returns to `addr`; `code` is one of `SYS_*`.
    pub fn syscall(signo: Signo, code: i32, errno: i32, addr: u64, number: i32, arch: u32) -> SigInfo {
        let fields = Fields::Syscall { errno, addr, number, arch };
        SigInfo { signo, forced: false, code, fields }
    }

    /// About a child: `signo` is its exit signal, `code` one of `CLD_*`, times in clock ticks (rule 5.1).
    pub fn child(signo: Signo, code: i32, pid: u32, uid: u32, status: i32, times: (i64, i64)) -> SigInfo {
        let (utime, stime) = times;
        let fields = Fields::Child { pid, uid, status, utime, stime };
        SigInfo { signo, forced: false, code, fields }
    }

    /// What is left of a signal whose information could not be queued (rule 7.8).
    pub fn lost(signo: Signo) -> SigInfo {
        let fields = Fields::Sender { pid: 0, uid: 0 };
        SigInfo { signo, forced: false, code: SI_USER, fields }
    }

    /// Checks a `siginfo_t` of user mode, for signal `signo` (any number): the kernel keeps the first [`KEPT`] bytes of it, so what is
    /// behind them must be zero unless the code is one whose layout is known to end before (rule 7.7).
    ///
    /// # Errors
    /// `E2BIG`.
    pub fn check_user(signo: i32, raw: &[u8; SIGINFO_SIZE]) -> Result<()> {
        const SI_DETHREAD: i32 = -7;
        const SI_ASYNCNL: i32 = -60;
        let code = i32::from_ne_bytes([raw[8], raw[9], raw[10], raw[11]]);
        let last = match u8::try_from(signo).unwrap_or(0) {
            SIGILL => 11,
            SIGFPE => 15,
            SIGSEGV => 10,
            SIGBUS => 5,
            SIGSYS => 2,
            _ => 6,
        };
        let known =
            matches!(code, SI_KERNEL | SI_ASYNCNL | SI_DETHREAD..=SI_USER) || (1..=last).contains(&code);
        if known || raw[KEPT..].iter().all(|&byte| byte == 0) { Ok(()) } else { Err(E2BIG) }
    }

    /// As a program passed it to rt_sigqueueinfo(2); `signo` overrides its `si_signo` (rule 7.7).
    pub fn from_user(signo: Signo, raw: &[u8; SIGINFO_SIZE]) -> SigInfo {
        let mut kept = Box::new([0; KEPT]);
        kept.copy_from_slice(&raw[..KEPT]);
        let code = i32::from_ne_bytes([raw[8], raw[9], raw[10], raw[11]]);
        SigInfo { signo, forced: code == SI_KERNEL, code, fields: Fields::Raw(kept) }
    }

    /// The same for a receiver whose namespace does not know the sender: `si_pid` is 0 (rules 7.10, 7.28).
    pub fn without_sender(mut self) -> SigInfo {
        const SI_TIMER: i32 = -2;
        const SI_SIGIO: i32 = -5;
        if let Fields::Raw(raw) = &mut self.fields
            && !matches!(self.code, SI_TIMER | SI_SIGIO)
        {
            raw[16..20].fill(0);
            self.forced = true;
        }
        self
    }

    /// The `siginfo_t` that user mode sees, as bytes.
    pub fn encode(&self) -> [u8; SIGINFO_SIZE] {
        let mut words = [0; SIGINFO_SIZE / 8];
        self.encode_to(&mut words);
        let mut out = [0; SIGINFO_SIZE];
        for (bytes, word) in out.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_ne_bytes();
        }
        out
    }

    /// Writes the `siginfo_t` that user mode sees over zeros.
    #[inline]
    pub fn encode_to(&self, out: &mut [u64; SIGINFO_SIZE / 8]) {
        /// Two ints side by side.
        fn pair(low: u32, high: u32) -> u64 {
            u64::from(low) | u64::from(high) << 32
        }
        out[0] = self.signo.into();
        out[1] = pair(self.code as u32, 0);
        match &self.fields {
            Fields::None => {}
            Fields::Sender { pid, uid } => out[2] = pair(*pid, *uid),
            Fields::Fault { addr } => out[2] = *addr,
            Fields::Syscall { errno, addr, number, arch } => {
                out[0] = pair(self.signo.into(), *errno as u32);
                out[2] = *addr;
                out[3] = pair(*number as u32, *arch);
            }
            Fields::Child { pid, uid, status, utime, stime } => {
                out[2] = pair(*pid, *uid);
                out[3] = pair(*status as u32, 0);
                out[4] = *utime as u64;
                out[5] = *stime as u64;
            }
            // Taken by nobody who could tell: a signal that kills.
            Fields::Timer(_) => {}
            Fields::TimerFired { id, overrun, value } => {
                out[2] = pair(*id as u32, *overrun as u32);
                out[3] = *value;
            }
            Fields::Raw(raw) => {
                for (word, bytes) in out.iter_mut().zip(raw.as_chunks().0) {
                    *word = u64::from_ne_bytes(*bytes);
                }
                let errno = (out[0] >> 32) as u32;
                let padding = (out[1] >> 32) as u32;
                out[0] = pair(self.signo.into(), errno);
                out[1] = pair(self.code as u32, padding);
            }
        }
    }

    /// Splits a raw wait status of a dead child into `si_code` and `si_status` (rules 3.1, 4.22).
    pub fn child_code(wait_status: i32) -> (i32, i32) {
        match wait_status & 0x7f {
            0 => (CLD_EXITED, (wait_status >> 8) & 0xff),
            signo if wait_status & 0x80 != 0 => (CLD_DUMPED, signo),
            signo => (CLD_KILLED, signo),
        }
    }
}
