//! What programs ask of a terminal by ioctl(2) (tty_ioctl(4)).

use ldisc::{Cc, Iflag, Termios};
use ostd::user::mem;

use super::{Effects, PacketEvents, Tty, TtyFile};
use crate::{
    prelude::*,
    process::{Thread, tree},
};

const TCGETS: u32 = 0x5401;
const TCSETS: u32 = 0x5402;
const TCSETSW: u32 = 0x5403;
const TCSETSF: u32 = 0x5404;
const TCSBRK: u32 = 0x5409;
const TCXONC: u32 = 0x540a;
const TCFLSH: u32 = 0x540b;
const TIOCSCTTY: u32 = 0x540e;
const TIOCGPGRP: u32 = 0x540f;
const TIOCSPGRP: u32 = 0x5410;
const TIOCOUTQ: u32 = 0x5411;
const TIOCGWINSZ: u32 = 0x5413;
const TIOCSWINSZ: u32 = 0x5414;
const TIOCNOTTY: u32 = 0x5422;
const TIOCGETD: u32 = 0x5424;
const TCSBRKP: u32 = 0x5425;
const TIOCGSID: u32 = 0x5429;
const TCGETS2: u32 = 0x802c_542a;
const TCSETS2: u32 = 0x402c_542b;
const TCSETSW2: u32 = 0x402c_542c;
const TCSETSF2: u32 = 0x402c_542d;

/// `struct termios2`: two speeds more.
const TERMIOS2_SIZE: usize = Termios::SIZE + 8;

/// What the line claims to run at.
const BAUD: u32 = 38400;

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
            TIOCSPGRP => {
                tty.check_change().map_err(|e| if e == EIO { ENOTTY } else { e })?;
                tty.set_foreground(mem::read(arg)?)
            }
            _ => tty.settings(request, arg),
        }
    }
}

impl Tty {
    /// Requests about the settings, which both sides of a pseudo-terminal may make.
    pub(super) fn settings(&self, request: u32, arg: usize) -> Result<usize> {
        match request {
            TCGETS => mem::write(arg, &self.termios().to_bytes())?,
            TCGETS2 => mem::write(arg, &termios2(&self.termios()))?,
            TCSETS | TCSETSW | TCSETSF => self.set_termios(|| read_termios(arg), request == TCSETSF)?,
            TCSETS2 | TCSETSW2 | TCSETSF2 => self.set_termios(|| read_termios2(arg), request == TCSETSF2)?,
            TCFLSH => self.flush(arg)?,
            // Output is sent before a write returns, so there is nothing to drain; and there is no break to send.
            TCSBRK | TCSBRKP => self.check_change()?,
            TCXONC => self.flow(arg)?,
            TIOCGWINSZ => {
                let size = self.state.lock().size;
                mem::write(arg, &size)?;
            }
            TIOCSWINSZ => self.set_size(mem::read(arg)?),
            // Nothing waits to be sent; the line discipline is number 0.
            TIOCOUTQ | TIOCGETD => mem::write(arg, &0i32)?,
            _ => return Err(ENOTTY),
        }
        Ok(0)
    }

    fn set_termios(&self, new: impl FnOnce() -> Result<Termios>, flush: bool) -> Result<()> {
        self.check_change()?;
        let new = new()?;
        {
            let mut state = self.state.lock();
            if flush {
                state.ldisc.flush_input();
                self.driver.notify(PacketEvents::FLUSH_READ);
            }
            match (has_usual_flow_control(state.ldisc.termios()), has_usual_flow_control(&new)) {
                (false, true) => self.driver.notify(PacketEvents::DO_STOP),
                (true, false) => self.driver.notify(PacketEvents::NO_STOP),
                _ => {}
            }
            let mut effects = Effects::direct(&*self.driver);
            state.ldisc.set_termios(new, &mut effects);
        }
        // Canonical mode and VMIN decide what is readable.
        self.wake_all();
        Ok(())
    }

    /// tcflow(3).
    fn flow(&self, arg: usize) -> Result<()> {
        const TCOOFF: usize = 0;
        const TCOON: usize = 1;
        const TCIOFF: usize = 2;
        const TCION: usize = 3;
        self.check_change()?;
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
        Ok(())
    }

    fn flush(&self, arg: usize) -> Result<()> {
        const TCIFLUSH: usize = 0;
        const TCOFLUSH: usize = 1;
        const TCIOFLUSH: usize = 2;
        self.check_change()?;
        if !(TCIFLUSH..=TCIOFLUSH).contains(&arg) {
            return Err(EINVAL);
        }
        let mut state = self.state.lock();
        if arg != TCOFLUSH {
            state.ldisc.flush_input();
            self.driver.notify(PacketEvents::FLUSH_READ);
        }
        if arg != TCIFLUSH {
            self.driver.notify(PacketEvents::FLUSH_WRITE);
        }
        Ok(())
    }
}

/// Whether ^S and ^Q stop and start output, so that a master may do it itself.
fn has_usual_flow_control(termios: &Termios) -> bool {
    termios.iflag.contains(Iflag::IXON) && termios.is(0x13, Cc::Stop) && termios.is(0x11, Cc::Start)
}

fn read_termios(addr: Vaddr) -> Result<Termios> {
    Ok(Termios::from_bytes(&mem::read::<[u8; Termios::SIZE]>(addr)?))
}

fn read_termios2(addr: Vaddr) -> Result<Termios> {
    // The speeds, at the end, are ignored: the line has none.
    mem::read::<[u8; TERMIOS2_SIZE]>(addr)?;
    read_termios(addr)
}

fn termios2(termios: &Termios) -> [u8; TERMIOS2_SIZE] {
    let mut raw = [0; TERMIOS2_SIZE];
    raw[..Termios::SIZE].copy_from_slice(&termios.to_bytes());
    for speed in raw[Termios::SIZE..].chunks_exact_mut(4) {
        speed.copy_from_slice(&BAUD.to_le_bytes());
    }
    raw
}
