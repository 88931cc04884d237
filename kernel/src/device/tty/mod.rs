//! Terminals: the line discipline joined to a line, with job control (tty_ioctl(4), rules 8.9-8.22).
//!
//! A [`Tty`] keeps the state of the pure [`ldisc`] crate, the window size, and the session and foreground process group
//! that it belongs to. A process's controlling terminal is that of its session, if it has got it from the leader by
//! birth and has not given it up. [`TtyFile`] is an open terminal;
//! who may do what is in [`job`], the requests of programs in [`ioctl`](self::TtyFile).
//!
//! Locks: [`TTY`](lock_order::TTY), a spin lock around all of that. The process table may be asked while it is held;
//! signals are sent after it is released.

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use bitflags::bitflags;
use ldisc::{Cc, Cflag, Ldisc, Lflag, Signal, Termios};
use ostd::sync::{SpinLock, WaitQueue};
use proctree::{KeptPid, PidId};

use crate::{
    fs::{
        file::{File, FileOps},
        inode::DevId,
        io::{ReadBuf, WriteBuf, moved_or},
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    process::{
        Thread,
        credentials::Cap,
        signal::{SIGINT, SIGQUIT, SIGTSTP, SIGWINCH, SigInfo, Signo},
        tree,
        wait_event::{wait_interruptible, wait_interruptible_until},
    },
};

mod baud;
mod ioctl;
mod job;
pub mod pty;

pub use job::{hang_up_own, open_controlling, session_leader_exits, stat_numbers};

/// /dev/tty: the opener's controlling terminal.
pub const DEV_TTY: DevId = DevId::new(5, 0);

/// The line of a terminal.
pub trait TtyDriver: Send + Sync {
    /// Sends bytes; called with the terminal locked.
    fn write(&self, bytes: &[u8]);

    /// Whether programs may write more now.
    fn has_room(&self) -> bool {
        true
    }

    /// Whether it is a pseudo-terminal: nothing is hung up when its session leader exits (rule 8.19).
    fn is_pty(&self) -> bool {
        false
    }

    /// The last open file of the terminal was closed.
    fn last_close(&self) {}

    /// Something happened that the other side may want to know; called with the terminal locked.
    fn notify(&self, _events: PacketEvents) {}
}

bitflags! {
    /// What a master in packet mode is told, `TIOCPKT_*` (tty_ioctl(4)).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct PacketEvents: u8 {
        /// The slave's input was thrown away.
        const FLUSH_READ = 1;
        /// And so was its output.
        const FLUSH_WRITE = 2;
        const STOP = 4;
        const START = 8;
        /// Flow control by ^S and ^Q was switched off, or on.
        const NO_STOP = 16;
        const DO_STOP = 32;
        /// The settings were changed while the master does the editing (EXTPROC).
        const IOCTL = 64;
    }
}

ostd::pod_struct! {
    /// `struct winsize`.
    #[derive(Default, PartialEq, Eq)]
    pub struct WinSize {
        rows: u16,
        columns: u16,
        x_pixels: u16,
        y_pixels: u16,
    }
}

struct State {
    ldisc: Ldisc,
    /// What has been typed and has no room in the line discipline yet.
    pending: VecDeque<u8>,
    size: WinSize,
    /// Which bits and characters of the settings can't be changed (TIOCSLCKTRMIOS): those that are set here.
    locked: Termios,
    /// The session that this is the controlling terminal of.
    session: Option<PidId>,
    /// Which acquisition that was: the processes with this number have the terminal ([`Process::tty`]). 0 for none.
    ///
    /// [`Process::tty`]: crate::process::Process
    claim: u64,
    /// The foreground process group. Its number is told as long as it is this, members or not.
    foreground: Option<Arc<KeptPid>>,
}

/// So much input waits for room; what is typed beyond is lost, unless the line can hold it back.
const MAX_PENDING: usize = 65536;

impl State {
    /// Input that may have to wait. A line that is being edited never does: what is too much of it is cut off.
    fn queue_input(&mut self, bytes: &[u8], effects: &mut Effects) {
        let room = MAX_PENDING - self.pending.len();
        self.pending.extend(&bytes[..bytes.len().min(room)]);
        while (self.ldisc.room() > 0 || self.ldisc.cuts_input())
            && let Some(byte) = self.pending.pop_front()
        {
            self.ldisc.input(byte, effects);
        }
    }
}

/// A terminal: see the [module's description](self).
pub struct Tty {
    pub dev: DevId,
    driver: Box<dyn TtyDriver>,
    state: SpinLock<State>,
    /// Woken when there may be something to read, and at a hangup.
    readable: Arc<WaitQueue>,
    /// Woken when stopped output may go on, and at a hangup.
    writable: Arc<WaitQueue>,
    /// How often it was hung up: files opened before are dead.
    hangups: AtomicU32,
    /// The slave of a pseudo-terminal whose master was closed.
    is_orphan: AtomicBool,
    /// Open files, and whether there ever was one.
    opens: AtomicU32,
    /// Only the privileged may open it again (TIOCEXCL).
    exclusive: AtomicBool,
    was_opened: AtomicBool,
}

/// Collects what the line discipline wants done.
struct Effects<'a> {
    driver: &'a dyn TtyDriver,
    signals: Vec<Signo>,
    /// What a batch of input has shown so far: a signal character takes it back.
    batch: Option<Vec<u8>>,
}

impl<'a> Effects<'a> {
    /// Of output: sent at once.
    fn direct(driver: &'a dyn TtyDriver) -> Effects<'a> {
        Effects { driver, signals: Vec::new(), batch: None }
    }

    /// Of a batch of input: sent by [`finish`](Self::finish).
    fn batched(driver: &'a dyn TtyDriver) -> Effects<'a> {
        Effects { driver, signals: Vec::new(), batch: Some(Vec::new()) }
    }

    /// Sends what was shown; returns the signals that were asked for.
    fn finish(self) -> Vec<Signo> {
        if let Some(batch) = self.batch.filter(|batch| !batch.is_empty()) {
            self.driver.write(&batch);
        }
        self.signals
    }
}

impl ldisc::Sink for Effects<'_> {
    fn emit(&mut self, bytes: &[u8]) {
        match &mut self.batch {
            Some(batch) => batch.extend_from_slice(bytes),
            None => self.driver.write(bytes),
        }
    }

    fn flow(&mut self, stopped: bool) {
        self.driver.notify(if stopped { PacketEvents::STOP } else { PacketEvents::START });
    }

    fn discard(&mut self) {
        self.driver.notify(PacketEvents::FLUSH_READ | PacketEvents::FLUSH_WRITE);
        if let Some(batch) = &mut self.batch {
            batch.clear();
        }
    }

    fn has_room(&self) -> bool {
        self.driver.has_room()
    }

    fn signal(&mut self, signal: Signal) {
        self.signals.push(match signal {
            Signal::Interrupt => SIGINT,
            Signal::Quit => SIGQUIT,
            Signal::Suspend => SIGTSTP,
        });
    }
}

impl Tty {
    pub fn new(dev: DevId, driver: Box<dyn TtyDriver>) -> Arc<Tty> {
        let size = WinSize { rows: 24, columns: 80, ..WinSize::default() };
        let mut termios = Termios::default();
        if driver.is_pty() {
            termios.cflag.remove(Cflag::HUPCL);
        }
        let locked = Termios::from_bytes(&[0; Termios::SIZE]);
        let ldisc = Ldisc::new(termios);
        let state = State {
            ldisc,
            pending: VecDeque::new(),
            size,
            locked,
            session: None,
            claim: 0,
            foreground: None,
        };
        Arc::new(Tty {
            dev,
            driver,
            state: SpinLock::new(lock_order::TTY, state),
            readable: Arc::new(WaitQueue::new()),
            writable: Arc::new(WaitQueue::new()),
            hangups: AtomicU32::new(0),
            is_orphan: AtomicBool::new(false),
            opens: AtomicU32::new(0),
            exclusive: AtomicBool::new(false),
            was_opened: AtomicBool::new(false),
        })
    }

    /// Bytes from the line.
    pub fn input(&self, bytes: &[u8]) {
        let (foreground, signals) = {
            let mut effects = Effects::batched(&*self.driver);
            let mut state = self.state.lock();
            if state.pending.is_empty() && state.ldisc.room() >= bytes.len() {
                for &byte in bytes {
                    state.ldisc.input(byte, &mut effects);
                }
            } else {
                state.queue_input(bytes, &mut effects);
            }
            state.ldisc.end_input(&mut effects);
            (state.foreground(), effects.finish())
        };
        if let Some(pgrp) = foreground {
            for signo in signals {
                tree::signal_pgrp(pgrp, &SigInfo::kernel(signo));
            }
        }
        self.wake_all();
    }

    /// There may be room for what is pending.
    fn resume_input(&self) {
        if !self.state.lock().pending.is_empty() {
            self.input(&[]);
        }
    }

    fn wake_all(&self) {
        self.readable.wake_all();
        self.writable.wake_all();
    }

    /// Reads in canonical mode: one line, or a part of it.
    fn read_line(&self, buf: &mut [u8], file: &TtyFile, nonblocking: bool) -> Result<usize> {
        let mut look = || {
            if file.is_dead() {
                return Some(self.end_of_wait().map(Some));
            }
            let mut state = self.state.lock();
            if !state.ldisc.termios().has(Lflag::ICANON) {
                // Switched while we waited: the other rules apply.
                return Some(Ok(None));
            }
            state.ldisc.read(buf).map(|n| Ok(Some(n)))
        };
        let got =
            if nonblocking { look().ok_or(EAGAIN)? } else { wait_interruptible(&self.readable, &mut look)? };
        match got? {
            Some(n) => Ok(n),
            None => self.read_raw(buf, file, nonblocking),
        }
    }

    /// Reads in raw mode, by VMIN and VTIME (termios(3)).
    fn read_raw(&self, buf: &mut [u8], file: &TtyFile, nonblocking: bool) -> Result<usize> {
        const TENTH_NS: u64 = 100_000_000;
        let termios = self.termios();
        let (min, time) = (usize::from(termios.cc(Cc::Min)), u64::from(termios.cc(Cc::Time)) * TENTH_NS);
        let wanted = min.clamp(1, buf.len());
        let deadline_from_now = || ostd::time::now_ns() + time;
        // With VMIN 0, VTIME runs from the start; else from each byte on.
        let mut deadline = (min == 0).then(deadline_from_now);
        let mut got = 0;
        loop {
            let mut take = || {
                if file.is_dead() {
                    return Some(self.end_of_wait());
                }
                self.state.lock().ldisc.read(&mut buf[got..]).map(Ok)
            };
            let step = if min == 0 && time == 0 {
                Ok(take())
            } else if nonblocking {
                take().map(Some).ok_or(EAGAIN)
            } else {
                wait_interruptible_until(&self.readable, deadline, take)
            };
            match step.and_then(Option::transpose) {
                Ok(Some(n)) if n > 0 => got += n,
                Ok(_) => return Ok(got),
                Err(e) => return moved_or(got, Err(e)),
            }
            if got >= wanted {
                return Ok(got);
            }
            if min > 0 && time > 0 {
                deadline = Some(deadline_from_now());
            }
        }
    }

    fn write_processed(&self, bytes: &[u8], file: &TtyFile, nonblocking: bool) -> Result<()> {
        let look = || {
            if file.is_dead() {
                return Some(Err(EIO));
            }
            let mut effects = Effects::direct(&*self.driver);
            self.state.lock().ldisc.output(bytes, &mut effects).then_some(Ok(()))
        };
        if nonblocking { look().unwrap_or(Err(EAGAIN)) } else { wait_interruptible(&self.writable, look)? }
    }

    /// What a read that waits for input returns when the terminal is hung up: EIO if that is because there is no master any
    /// more, else the end of the file, as a later read does in both cases (rule 8.22).
    fn end_of_wait(&self) -> Result<usize> {
        if self.is_orphan.load(Relaxed) { Err(EIO) } else { Ok(0) }
    }

    /// Whether the caller may open it now. EBUSY after a TIOCEXCL.
    pub fn check_open(&self) -> Result<()> {
        if self.exclusive.load(Relaxed) && !Thread::current().creds().capable(Cap::SysAdmin) {
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Every file of it was closed.
    fn all_closed(&self) -> bool {
        self.was_opened.load(Relaxed) && self.opens.load(Relaxed) == 0
    }

    /// How many bytes can be typed before some would be lost.
    fn input_room(&self) -> usize {
        MAX_PENDING - self.state.lock().pending.len()
    }

    /// Woken when there is room again.
    fn drained(&self) -> &Arc<WaitQueue> {
        &self.writable
    }

    fn termios(&self) -> Termios {
        *self.state.lock().ldisc.termios()
    }

    fn set_size(&self, size: WinSize) {
        let foreground = {
            let mut state = self.state.lock();
            if state.size == size {
                return;
            }
            state.size = size;
            state.foreground()
        };
        if let Some(pgrp) = foreground {
            tree::signal_pgrp(pgrp, &SigInfo::kernel(SIGWINCH));
        }
    }
}

/// An open terminal.
pub struct TtyFile {
    tty: Arc<Tty>,
    /// Opened as /dev/console: survives hangups.
    is_console: bool,
    /// The terminal's count of hangups at the open.
    opened_at: u32,
}

impl TtyFile {
    pub fn new(tty: Arc<Tty>, is_console: bool) -> Self {
        let opened_at = tty.hangups.load(Relaxed);
        tty.opens.fetch_add(1, Relaxed);
        tty.was_opened.store(true, Relaxed);
        TtyFile { tty, is_console, opened_at }
    }

    /// Hung up since it was opened (rule 8.22).
    fn is_dead(&self) -> bool {
        !self.is_console && self.tty.hangups.load(Relaxed) != self.opened_at
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        if self.tty.opens.fetch_sub(1, Relaxed) == 1 {
            self.tty.driver.last_close();
        }
    }
}

impl FileOps for TtyFile {
    fn read_at(&self, file: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        if self.is_dead() || buf.left() == 0 {
            return Ok(0);
        }
        self.tty.check_read()?;
        let mut bytes = vec![0; buf.left().min(ldisc::CAPACITY + 1)];
        let nonblocking = file.is_nonblocking();
        let n = if self.tty.termios().has(Lflag::ICANON) {
            self.tty.read_line(&mut bytes, self, nonblocking)?
        } else {
            self.tty.read_raw(&mut bytes, self, nonblocking)?
        };
        if n == 0 {
            return Ok(0);
        }
        // There is room for more input.
        self.tty.resume_input();
        self.tty.writable.wake_all();
        buf.put(&bytes[..n])
    }

    fn write_at(&self, file: &File, buf: &mut WriteBuf, _: u64) -> Result<(usize, u64)> {
        if self.is_dead() {
            return Err(EIO);
        }
        if self.tty.termios().has(Lflag::TOSTOP) {
            self.tty.check_change()?;
        }
        let nonblocking = file.is_nonblocking();
        let mut bytes = [0; 256];
        let mut written = 0;
        while buf.left() > 0 {
            let step = buf.take(&mut bytes).and_then(|n| {
                self.tty.write_processed(&bytes[..n], self, nonblocking)?;
                written += n;
                Ok(())
            });
            if step.is_err() {
                return Ok((moved_or(written, step)?, 0));
            }
        }
        Ok((written, 0))
    }

    fn poll<'a>(&'a self, _: &'a File, table: &mut PollTable<'a>) -> PollEvents {
        table.add(&self.tty.readable);
        table.add(&self.tty.writable);
        if self.is_dead() {
            return PollEvents::IN | PollEvents::OUT | PollEvents::ERR | PollEvents::HUP;
        }
        let state = self.tty.state.lock();
        let mut events = PollEvents::empty();
        if state.ldisc.readable(true) {
            events |= PollEvents::READABLE;
        }
        if !state.ldisc.output_stopped() && self.tty.driver.has_room() {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn has_owner(&self) -> bool {
        true
    }

    fn can_poll(&self) -> bool {
        true
    }

    fn available(&self, _: &File) -> Result<usize> {
        Ok(self.tty.state.lock().ldisc.available())
    }

    fn ioctl(&self, _: &File, request: u32, arg: usize) -> Result<usize> {
        self.request(request, arg)
    }
}
