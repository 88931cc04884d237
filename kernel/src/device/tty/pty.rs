//! Pseudo-terminals (pty(7)): a terminal whose line is another open file, the master.
//!
//! What a program writes to the slave, processed by the line discipline, waits in the [`Link`] until the master reads it;
//! what is written to the master is typed into the slave. A [`Pty`] lives as long as its master is open; closing the master
//! hangs the slave up (rules 8.20, 8.22). The nodes are those of [`devpts`](crate::fs::devpts).
//!
//! Locks: the slave's terminal lock, then the link's ([`PTY`](lock_order::PTY)).

use alloc::collections::VecDeque;
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use ostd::{
    sync::{SpinLock, WaitQueue},
    user::mem,
};

use super::{
    PacketEvents, Tty, TtyDriver, TtyFile,
    ioctl::{End, TCIFLUSH, TCIOFF, TCIOFLUSH, TCION, TCOFLUSH, TCOOFF, TCOON},
};
use crate::{
    fs::{
        File, OpenFlags,
        devpts::DevPts,
        file::FileOps,
        inode::DevId,
        io::{ReadBuf, WriteBuf, moved_or},
        notify::{self, Events},
        poll::{PollEvents, PollTable},
    },
    lock_order,
    prelude::*,
    process::{
        Thread,
        credentials::Cap,
        signal::{SIGINT, SIGQUIT, SIGTSTP, SigInfo},
        tree,
        wait_event::wait_interruptible,
    },
};

/// Major number of the slaves; the minor is their index.
pub const SLAVE_MAJOR: u32 = 136;

/// Output that waits for the master before writers to the slave have to wait.
const OUTPUT_LIMIT: usize = 4096;

/// Output beyond this is lost.
const MAX_OUTPUT: usize = 16 * OUTPUT_LIMIT;

/// What goes from the slave to the master.
struct Link {
    output: SpinLock<VecDeque<u8>>,
    /// Woken when there is output, and when the last slave is closed.
    readable: Arc<WaitQueue>,
    /// The master is in packet mode (TIOCPKT): a byte in front of each read says what follows.
    packet: AtomicBool,
    /// What it has not been told yet: [`PacketEvents`].
    events: AtomicU8,
}

/// In front of data in packet mode.
const PACKET_DATA: u8 = 0;

struct SlaveDriver(Arc<Link>);

impl TtyDriver for SlaveDriver {
    fn write(&self, bytes: &[u8]) {
        let mut output = self.0.output.lock();
        // Writers wait for room; an echo does not, and is lost if nobody reads for long.
        if output.len() < MAX_OUTPUT {
            output.extend(bytes);
        }
        drop(output);
        self.0.readable.wake_all();
    }

    fn has_room(&self) -> bool {
        self.0.output.lock().len() < OUTPUT_LIMIT
    }

    fn is_pty(&self) -> bool {
        true
    }

    fn last_close(&self) {
        self.0.readable.wake_all();
    }

    fn notify(&self, events: PacketEvents) {
        if !self.0.packet.load(Relaxed) {
            return;
        }
        // Of two opposites the later counts.
        let opposite =
            |a: PacketEvents, b: PacketEvents| if events.contains(a) { b } else { PacketEvents::empty() };
        let undone = opposite(PacketEvents::STOP, PacketEvents::START)
            | opposite(PacketEvents::START, PacketEvents::STOP)
            | opposite(PacketEvents::NO_STOP, PacketEvents::DO_STOP)
            | opposite(PacketEvents::DO_STOP, PacketEvents::NO_STOP);
        // One after the other: the terminal is locked.
        let told = PacketEvents::from_bits_retain(self.0.events.load(Relaxed));
        self.0.events.store((told.difference(undone) | events).bits(), Relaxed);
        self.0.readable.wake_all();
    }
}

/// A pseudo-terminal.
pub struct Pty {
    pub index: u32,
    link: Arc<Link>,
    slave: Arc<Tty>,
    /// The slave can't be opened (TIOCSPTLCK): so it starts.
    locked: AtomicBool,
}

impl Pty {
    pub fn new(index: u32) -> Arc<Pty> {
        let output = SpinLock::new(lock_order::PTY, VecDeque::new());
        let link = Arc::new(Link {
            output,
            readable: Arc::new(WaitQueue::new()),
            packet: AtomicBool::new(false),
            events: AtomicU8::new(0),
        });
        let slave = Tty::new(DevId::new(SLAVE_MAJOR, index), Box::new(SlaveDriver(link.clone())));
        Arc::new(Pty { index, link, slave, locked: AtomicBool::new(true) })
    }

    /// Opens the slave. EIO while it is locked.
    pub fn open_slave(&self, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
        self.slave.check_open()?;
        if self.locked.load(Relaxed) {
            return Err(EIO);
        }
        if !flags.contains(OpenFlags::NOCTTY) && flags.readable() {
            self.slave.acquire_on_open();
        }
        Ok(Box::new(TtyFile::new(self.slave.clone(), false)))
    }
}

/// The open master.
pub struct Master {
    pty: Arc<Pty>,
    /// Where the slave has its node, until this is closed.
    home: Arc<DevPts>,
    /// It was asked to send nothing (TCOOFF).
    stopped: AtomicBool,
    /// TIOCEXCL, which means nothing to what is opened once.
    exclusive: AtomicBool,
}

impl Master {
    pub fn new(pty: Arc<Pty>, home: Arc<DevPts>) -> Master {
        Master { pty, home, stopped: AtomicBool::new(false), exclusive: AtomicBool::new(false) }
    }

    /// Opens the slave by the master (TIOCGPTPEER), whatever its node is called.
    fn open_peer(&self, arg: usize) -> Result<usize> {
        let flags = OpenFlags::from_bits_truncate(arg as u32);
        let ops = self.pty.open_slave(flags)?;
        let (place, inode) = self.home.place(self.pty.index).ok_or(EIO)?;
        let file = File::new(ops, inode, Some(place), flags)?;
        notify::file_event(&file, Events::OPEN);
        let cloexec = flags.contains(OpenFlags::CLOEXEC);
        Ok(Thread::current().files().install(file, cloexec, 0)? as usize)
    }

    /// TIOCPKT.
    fn set_packet(&self, on: bool) {
        if on && !self.pty.link.packet.load(Relaxed) {
            self.pty.link.events.store(0, Relaxed);
        }
        self.pty.link.packet.store(on, Relaxed);
    }

    /// How much can be typed now.
    fn room(&self) -> usize {
        if self.stopped.load(Relaxed) { 0 } else { self.pty.slave.input_room() }
    }

    /// TIOCSTI: a byte as if the slave had sent it.
    fn feign(&self, arg: usize) -> Result<usize> {
        if !Thread::current().creds().capable(Cap::SysAdmin) {
            return Err(EPERM);
        }
        let byte: u8 = mem::read(arg)?;
        self.pty.link.output.lock().push_back(byte);
        self.pty.link.readable.wake_all();
        Ok(0)
    }

    /// tcflush(3): its input is the slave's output. What it sent has arrived.
    fn flush(&self, arg: usize) -> Result<usize> {
        match arg {
            TCIFLUSH | TCIOFLUSH => self.pty.link.output.lock().clear(),
            TCOFLUSH => {}
            _ => return Err(EINVAL),
        }
        self.pty.slave.wake_all();
        Ok(0)
    }

    /// tcflow(3): of what it sends; its own settings have the usual characters.
    fn flow(&self, arg: usize) -> Result<usize> {
        const STOP: u8 = 0x13;
        const START: u8 = 0x11;
        match arg {
            TCOOFF => self.stopped.store(true, Relaxed),
            TCOON => self.stopped.store(false, Relaxed),
            TCIOFF => self.pty.slave.input(&[STOP]),
            TCION => self.pty.slave.input(&[START]),
            _ => return Err(EINVAL),
        }
        self.pty.slave.drained().wake_all();
        Ok(0)
    }

    /// TIOCSIG: a signal of the keyboard's to the slave's foreground group.
    fn signal(&self, arg: usize) -> Result<usize> {
        let signo =
            [SIGINT, SIGQUIT, SIGTSTP].into_iter().find(|&signo| signo as usize == arg).ok_or(EINVAL)?;
        if let Some(pgrp) = self.pty.slave.foreground() {
            tree::signal_pgrp(pgrp, &SigInfo::kernel(signo));
        }
        Ok(0)
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.home.remove(self.pty.index);
        self.pty.slave.master_closed();
    }
}

impl FileOps for Master {
    /// EIO once every slave is closed and all output is read.
    fn read_at(&self, file: &File, buf: &mut ReadBuf, _: u64) -> Result<usize> {
        if buf.left() == 0 {
            return Ok(0);
        }
        let packet = self.pty.link.packet.load(Relaxed);
        let mut bytes = vec![PACKET_DATA; buf.left().min(OUTPUT_LIMIT)];
        let start = usize::from(packet);
        let mut look = || {
            let events = if packet { self.pty.link.events.swap(0, Relaxed) } else { 0 };
            if events != 0 {
                bytes[0] = events;
                return Some(Ok(1));
            }
            let mut output = self.pty.link.output.lock();
            let there = output.len();
            let n = there.min(bytes.len() - start);
            for (to, from) in bytes[start..].iter_mut().zip(output.drain(..n)) {
                *to = from;
            }
            drop(output);
            match there {
                0 if self.pty.slave.all_closed() => Some(Err(EIO)),
                0 => None,
                _ => Some(Ok(start + n)),
            }
        };
        let n = if file.is_nonblocking() {
            look().unwrap_or(Err(EAGAIN))?
        } else {
            wait_interruptible(&self.pty.link.readable, look)??
        };
        // There is room for what waits to be written.
        self.pty.slave.wake_all();
        buf.put(&bytes[..n])
    }

    fn write_at(&self, file: &File, buf: &mut WriteBuf, _: u64) -> Result<(usize, u64)> {
        let slave = &self.pty.slave;
        let nonblocking = file.is_nonblocking();
        let mut bytes = [0; 256];
        let mut written = 0;
        while buf.left() > 0 {
            // Only as much is taken from the program as the slave's buffer holds.
            let look = || Some(self.room()).filter(|&room| room > 0);
            let room =
                if nonblocking { look().ok_or(EAGAIN) } else { wait_interruptible(slave.drained(), look) };
            let step = room.and_then(|room| {
                let want = bytes.len().min(room);
                let n = buf.take(&mut bytes[..want])?;
                slave.input(&bytes[..n]);
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
        table.add(&self.pty.link.readable);
        table.add(self.pty.slave.drained());
        let mut events = PollEvents::empty();
        let told = self.pty.link.packet.load(Relaxed) && self.pty.link.events.load(Relaxed) != 0;
        events.set(PollEvents::PRI, told);
        events.set(PollEvents::READABLE, told || !self.pty.link.output.lock().is_empty());
        events.set(PollEvents::WRITABLE, self.room() > 0);
        events.set(PollEvents::HUP, self.pty.slave.all_closed());
        events
    }

    fn has_owner(&self) -> bool {
        true
    }

    fn can_poll(&self) -> bool {
        true
    }

    fn available(&self, _: &File) -> Result<usize> {
        Ok(self.pty.link.output.lock().len())
    }

    fn ioctl(&self, _: &File, request: u32, arg: usize) -> Result<usize> {
        const TIOCGPGRP: u32 = 0x540f;
        const TIOCSPGRP: u32 = 0x5410;
        const TIOCGSID: u32 = 0x5429;
        const TIOCSCTTY: u32 = 0x540e;
        const TIOCSTI: u32 = 0x5412;
        const TCXONC: u32 = 0x540a;
        const TCFLSH: u32 = 0x540b;
        const TIOCEXCL: u32 = 0x540c;
        const TIOCNXCL: u32 = 0x540d;
        const TIOCGEXCL: u32 = 0x8004_5440;
        const TIOCNOTTY: u32 = 0x5422;
        const TIOCGPTPEER: u32 = 0x5441;
        const TIOCGPTN: u32 = 0x8004_5430;
        const TIOCSPTLCK: u32 = 0x4004_5431;
        const TIOCGPTLCK: u32 = 0x8004_5439;
        const TIOCPKT: u32 = 0x5420;
        const TIOCGPKT: u32 = 0x8004_5438;
        const TIOCSIG: u32 = 0x4004_5436;
        match request {
            TIOCGPTN => mem::write(arg, &self.pty.index)?,
            TIOCSPTLCK => self.pty.locked.store(mem::read::<i32>(arg)? != 0, Relaxed),
            TIOCGPTLCK => mem::write(arg, &i32::from(self.pty.locked.load(Relaxed)))?,
            TIOCGPTPEER => return self.open_peer(arg),
            TIOCPKT => self.set_packet(mem::read::<i32>(arg)? != 0),
            TIOCGPKT => mem::write(arg, &i32::from(self.pty.link.packet.load(Relaxed)))?,
            TIOCSIG => return self.signal(arg),
            // Allowed on a master, which is nobody's controlling terminal (rule 8.11).
            TIOCGPGRP => {
                mem::write(arg, &self.pty.slave.foreground_nr(Thread::current().process.ns()).unwrap_or(0))?
            }
            TIOCGSID => mem::write(arg, &self.pty.slave.session().map(tree::pid_nr).ok_or(ENOTTY)?)?,
            // These are about the slave.
            TIOCSPGRP => return self.pty.slave.set_foreground(arg),
            TIOCSCTTY => return self.pty.slave.set_controlling(arg),
            TIOCNOTTY => return Err(ENOTTY),
            TIOCSTI => return self.feign(arg),
            TCFLSH => return self.flush(arg),
            TCXONC => return self.flow(arg),
            TIOCEXCL | TIOCNXCL => self.exclusive.store(request == TIOCEXCL, Relaxed),
            TIOCGEXCL => mem::write(arg, &i32::from(self.exclusive.load(Relaxed)))?,
            _ => return self.pty.slave.settings(request, arg, End::Master),
        }
        Ok(0)
    }
}
