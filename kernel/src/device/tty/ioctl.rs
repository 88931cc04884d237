//! What programs ask of a terminal by ioctl(2) (tty_ioctl(4)).

use core::sync::atomic::Ordering::Relaxed;

use ldisc::{Cc, Cflag, Iflag, Lflag, Termios};
use ostd::user::mem;

use super::{Effects, PacketEvents, Tty, TtyFile, baud};
use crate::{
    prelude::*,
    process::{Thread, credentials::Cap, tree},
};

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCGETA: u32 = 0x5405;
const TCSETA: u32 = 0x5406;
const TCSETAW: u32 = 0x5407;
const TCSETAF: u32 = 0x5408;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCEXCL: u32 = 0x540c;
const TIOCNXCL: u32 = 0x540d;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCSTI: u32 = 0x5412;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCGSOFTCAR: u32 = 0x5419;
const TIOCSSOFTCAR: u32 = 0x541a;
const TIOCNOTTY: u32 = 0x5422;
const TIOCSETD: u32 = 0x5423;
const TIOCGETD: u32 = 0x5424;
const TCSBRKP: u32 = 0x5425;
const TIOCSBRK: u32 = 0x5427;
const TIOCCBRK: u32 = 0x5428;
const TIOCGSID: u32 = 0x5429;
const TCGETS2: u32 = 0x802c_542a;
const TCSETS2: u32 = 0x402c_542b;
const TCSETSW2: u32 = 0x402c_542c;
const TCSETSF2: u32 = 0x402c_542d;
const TIOCGDEV: u32 = 0x8004_5432;
const TIOCVHANGUP: u32 = 0x5437;
const TIOCGEXCL: u32 = 0x8004_5440;
const TIOCGPTPEER: u32 = 0x5441;
const TIOCGLCKTRMIOS: u32 = 0x5456;
const TIOCSLCKTRMIOS: u32 = 0x5457;

/// `struct termios2`: two speeds more.
const TERMIOS2_SIZE: usize = Termios::SIZE + 8;

/// `struct termio` of System V: halves of the modes, the line discipline, the first of the characters, padding.
const TERMIO_SIZE: usize = 18;
const TERMIO_CHARS: usize = 8;

/// Which end of a pseudo-terminal a request came to: they share the settings, but not what flows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Slave,
    Master,
}

impl TtyFile {
    /// Answers a request. ENOTTY for what terminals do not know.
    pub(super) fn request(&self, request: u32, arg: usize) -> Result<usize> {
        if self.is_dead() {
            return Err(if request == TIOCSPGRP { ENOTTY } else { EIO });
        }
        let tty = &self.tty;
        let thread = Thread::current();
        match request {
            TIOCSCTTY => tty.set_controlling(arg),
            TIOCNOTTY => tty.give_up(&thread.process),
            TIOCGPGRP | TIOCGSID => {
                if !tty.is_controlling(&thread.process) {
                    return Err(ENOTTY);
                }
                let nr = match request {
                    TIOCGSID => tty.session().map_or(0, tree::pid_nr),
                    _ => tty.foreground_nr(thread.process.ns()).unwrap_or(0),
                };
                mem::write(arg, &nr)?;
                Ok(0)
            }
            TIOCSPGRP => tty.set_foreground(arg),
            TIOCSTI => {
                let privileged = thread.creds().capable(Cap::SysAdmin);
                if !privileged && !tty.is_controlling(&thread.process) {
                    return Err(EPERM);
                }
                tty.input(&[mem::read::<u8>(arg)?]);
                Ok(0)
            }
            TCFLSH => {
                tty.check_change()?;
                tty.flush(arg)
            }
            TCXONC => {
                tty.check_change()?;
                tty.flow(arg)
            }
            TIOCEXCL | TIOCNXCL => {
                tty.exclusive.store(request == TIOCEXCL, Relaxed);
                Ok(0)
            }
            TIOCGEXCL => {
                mem::write(arg, &i32::from(tty.exclusive.load(Relaxed)))?;
                Ok(0)
            }
            TIOCGPTPEER if tty.driver.is_pty() => Err(EIO),
            _ => tty.settings(request, arg, End::Slave),
        }
    }
}

impl Tty {
    /// Requests about the settings, which both sides of a pseudo-terminal may make.
    pub(super) fn settings(&self, request: u32, arg: usize, end: End) -> Result<usize> {
        match request {
            TCGETS => mem::write(arg, &self.termios().to_bytes())?,
            TCGETS2 => mem::write(arg, &termios2(&self.termios()))?,
            TCGETA => mem::write(arg, &termio(&self.termios()))?,
            TCSETS | TCSETSW | TCSETSF => {
                self.set_termios(|old| read_termios(arg, old), request == TCSETSF)?
            }
            TCSETS2 | TCSETSW2 | TCSETSF2 => self.set_termios(|_| read_termios2(arg), request == TCSETSF2)?,
            TCSETA | TCSETAW | TCSETAF => {
                self.set_termios(|old| read_termio(arg, old), request == TCSETAF)?
            }
            TIOCGLCKTRMIOS => {
                let locked = self.state.lock().locked.to_bytes();
                mem::write(arg, &locked)?;
            }
            TIOCSLCKTRMIOS => {
                let creds = Thread::current().creds();
                if !creds.capable(Cap::SysAdmin) && !creds.capable(Cap::CheckpointRestore) {
                    return Err(EPERM);
                }
                let locked = Termios::from_bytes(&mem::read(arg)?);
                self.state.lock().locked = locked;
            }
            TIOCGSOFTCAR => {
                let local = self.termios().cflag.contains(Cflag::CLOCAL);
                mem::write(arg, &i32::from(local))?;
            }
            TIOCSSOFTCAR => {
                let local = mem::read::<i32>(arg)? != 0;
                self.state.lock().ldisc.change_termios(|termios| termios.cflag.set(Cflag::CLOCAL, local));
            }
            // Output is sent before a write returns, so there is nothing to drain; and there is no break to send.
            TCSBRK | TCSBRKP | TIOCSBRK | TIOCCBRK if end == End::Master => {}
            TCSBRK | TCSBRKP | TIOCSBRK => self.check_change()?,
            TIOCCBRK => {}
            TIOCGWINSZ => {
                let size = self.state.lock().size;
                mem::write(arg, &size)?;
            }
            TIOCSWINSZ => self.set_size(mem::read(arg)?),
            TIOCGDEV => mem::write(arg, &(self.dev.encode() as u32))?,
            // Nothing waits to be sent; the line discipline is number 0, and there is no other.
            TIOCOUTQ | TIOCGETD => mem::write(arg, &0i32)?,
            TIOCSETD if mem::read::<i32>(arg)? == 0 => {}
            TIOCSETD => return Err(EINVAL),
            TIOCVHANGUP if !Thread::current().creds().capable(Cap::SysAdmin) => return Err(EPERM),
            TIOCVHANGUP => self.hang_up(),
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }

    fn set_termios(&self, new: impl FnOnce(&Termios) -> Result<Termios>, flush: bool) -> Result<()> {
        self.check_change()?;
        let mut new = new(&self.termios())?;
        baud::settle(&mut new);
        new.cflag.remove(Cflag::ADDRB);
        if self.driver.is_pty() {
            new.cflag.remove(Cflag::CSIZE | Cflag::PARENB);
            new.cflag.insert(Cflag::CS8 | Cflag::CREAD);
        }
        {
            let mut state = self.state.lock();
            let new = with_locked(new, state.ldisc.termios(), &state.locked);
            if flush {
                state.pending.clear();
                state.ldisc.flush_input();
                self.driver.notify(PacketEvents::FLUSH_READ);
            }
            let old = state.ldisc.termios();
            let mut events = match (has_usual_flow_control(old), has_usual_flow_control(&new)) {
                (false, true) => PacketEvents::DO_STOP,
                (true, false) => PacketEvents::NO_STOP,
                _ => PacketEvents::empty(),
            };
            events.set(PacketEvents::IOCTL, old.has(Lflag::EXTPROC) || new.has(Lflag::EXTPROC));
            if !events.is_empty() {
                self.driver.notify(events);
            }
            let mut effects = Effects::direct(&*self.driver);
            state.ldisc.set_termios(new, &mut effects);
        }
        self.resume_input();
        // Canonical mode and VMIN decide what is readable.
        self.wake_all();
        Ok(())
    }

    /// tcflow(3).
    fn flow(&self, arg: usize) -> Result<usize> {
        {
            let mut state = self.state.lock();
            let mut effects = Effects::direct(&*self.driver);
            match arg {
                TCOOFF => state.ldisc.suspend_output(&mut effects),
                TCOON => state.ldisc.resume_output(&mut effects),
                TCIOFF => state.ldisc.send_control(Cc::Stop, &mut effects),
                TCION => state.ldisc.send_control(Cc::Start, &mut effects),
                _ => return Err(EINVAL),
            }
        }
        self.wake_all();
        Ok(0)
    }

    fn flush(&self, arg: usize) -> Result<usize> {
        if !(TCIFLUSH..=TCIOFLUSH).contains(&arg) {
            return Err(EINVAL);
        }
        let mut state = self.state.lock();
        if arg != TCOFLUSH {
            state.pending.clear();
            state.ldisc.flush_input();
            self.driver.notify(PacketEvents::FLUSH_READ);
        }
        if arg != TCIFLUSH {
            self.driver.notify(PacketEvents::FLUSH_WRITE);
        }
        Ok(0)
    }
}

/// What tcflow(3) takes.
pub(super) const TCOOFF: usize = 0;
pub(super) const TCOON: usize = 1;
pub(super) const TCIOFF: usize = 2;
pub(super) const TCION: usize = 3;

/// What tcflush(3) takes.
pub(super) const TCIFLUSH: usize = 0;
pub(super) const TCOFLUSH: usize = 1;
pub(super) const TCIOFLUSH: usize = 2;

/// The settings `new` where they are not locked, else `old`.
fn with_locked(new: Termios, old: &Termios, locked: &Termios) -> Termios {
    let mut bytes = new.to_bytes();
    let (old_bytes, locked) = (old.to_bytes(), locked.to_bytes());
    for (at, byte) in bytes.iter_mut().enumerate() {
        // The four words bit by bit, what is behind them as a whole.
        let mask = if at < 16 || locked[at] == 0 { locked[at] } else { 0xff };
        *byte = *byte & !mask | old_bytes[at] & mask;
    }
    let (input_speed, output_speed) = (new.input_speed, new.output_speed);
    Termios { input_speed, output_speed, ..Termios::from_bytes(&bytes) }
}

/// Whether ^S and ^Q stop and start output, so that a master may do it itself.
fn has_usual_flow_control(termios: &Termios) -> bool {
    termios.iflag.contains(Iflag::IXON) && termios.is(0x13, Cc::Stop) && termios.is(0x11, Cc::Start)
}

/// Without speeds: those stay what they are.
fn read_termios(addr: Vaddr, old: &Termios) -> Result<Termios> {
    let new = Termios::from_bytes(&mem::read::<[u8; Termios::SIZE]>(addr)?);
    Ok(Termios { input_speed: old.input_speed, output_speed: old.output_speed, ..new })
}

fn read_termios2(addr: Vaddr) -> Result<Termios> {
    let raw = mem::read::<[u8; TERMIOS2_SIZE]>(addr)?;
    let mut new = read_termios(addr, &Termios::default())?;
    let mut speeds = raw[Termios::SIZE..].as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
    new.input_speed = speeds.next().unwrap_or(0);
    new.output_speed = speeds.next().unwrap_or(0);
    Ok(new)
}

fn termios2(termios: &Termios) -> [u8; TERMIOS2_SIZE] {
    let mut raw = [0; TERMIOS2_SIZE];
    raw[..Termios::SIZE].copy_from_slice(&termios.to_bytes());
    raw[Termios::SIZE..][..4].copy_from_slice(&termios.input_speed.to_le_bytes());
    raw[Termios::SIZE + 4..].copy_from_slice(&termios.output_speed.to_le_bytes());
    raw
}

fn termio(termios: &Termios) -> [u8; TERMIO_SIZE] {
    let mut raw = [0; TERMIO_SIZE];
    let full = termios.to_bytes();
    for (to, from) in raw.chunks_exact_mut(2).zip(full[..16].chunks_exact(4)) {
        to.copy_from_slice(&from[..2]);
    }
    raw[8..9 + TERMIO_CHARS].copy_from_slice(&full[16..17 + TERMIO_CHARS]);
    raw
}

/// What the old structure has no place for stays.
fn read_termio(addr: Vaddr, old: &Termios) -> Result<Termios> {
    let raw = mem::read::<[u8; TERMIO_SIZE]>(addr)?;
    let mut full = old.to_bytes();
    for (to, from) in full[..16].chunks_exact_mut(4).zip(raw.chunks_exact(2)) {
        to[..2].copy_from_slice(from);
    }
    full[16..17 + TERMIO_CHARS].copy_from_slice(&raw[8..9 + TERMIO_CHARS]);
    let new = Termios::from_bytes(&full);
    Ok(Termios { input_speed: old.input_speed, output_speed: old.output_speed, ..new })
}
