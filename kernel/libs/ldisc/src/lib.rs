//! The terminal line discipline (Linux's N_TTY) as a pure state machine: no locks, no waiting, no hardware.
//!
//! Bytes from the line go in through [`Ldisc::input`], bytes from programs through [`Ldisc::output`]; what programs
//! read comes out of [`Ldisc::read`]. Effects on the outside (bytes for the terminal, signals for the foreground process
//! group) go to a [`Sink`]. The owner keeps the state under a lock and does the waiting.
//!
//! The rules are those of termios(3) and of Linux where POSIX leaves a choice:
//! - The buffer holds 4095 bytes. In canonical mode a full buffer still takes a newline.
//! - A switch to canonical mode makes what is buffered one line; a switch away makes everything readable at once.
//! - A signal character flushes the input and the echoes that were not sent (unless NOFLSH), and is echoed then.
//! - A program that stops output (TCOOFF) has to start it again; VSTART does not.
//!
//! Parts: [`Output`] (OPOST), `echo` (what is shown of the input), `edit` (erasing), `chars`, [`Termios`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod chars;
mod echo;
mod edit;
mod output;
mod termios;

pub use output::Output;
pub use termios::{Cc, Cflag, DISABLED, Iflag, Lflag, NCCS, Oflag, Termios};

use alloc::collections::VecDeque;
use echo::{Echo, Echoes};

/// How many bytes can wait to be read.
pub const CAPACITY: usize = 4095;

/// A signal that a control character asks for; it goes to the foreground process group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Quit,
    Suspend,
}

/// The outside of a line discipline.
pub trait Sink {
    /// Bytes for the terminal, ready to be sent.
    fn emit(&mut self, bytes: &[u8]);
    /// A signal for the foreground process group.
    fn signal(&mut self, signal: Signal);
    /// Output was stopped, or goes on.
    fn flow(&mut self, _stopped: bool) {}
    /// What was emitted since the start of the batch, and not sent yet, is to be thrown away.
    fn discard(&mut self) {}
    /// Whether the line takes bytes now; what is emitted nevertheless may be lost.
    fn has_room(&self) -> bool {
        true
    }
}

/// One position of the input buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    byte: u8,
    /// Ends a line and belongs to it; a NUL ends it without a byte (the end-of-file character).
    delimiter: bool,
}

impl Cell {
    fn is_eof(self) -> bool {
        self.delimiter && self.byte == 0
    }
}

/// A line discipline: see the [module's description](self).
#[derive(Default)]
pub struct Ldisc {
    termios: Termios,
    /// Input in order of arrival.
    buffer: VecDeque<Cell>,
    /// How many bytes have been read, ever: the position of the buffer's first.
    tail: u64,
    /// The position at which the line being edited starts; what is before it can be read. Outside canonical mode all of
    /// the buffer can be read, and this stays where it was at the switch.
    line: u64,
    output: Output,
    echoes: Echoes,
    /// The next byte is taken literally (after VLNEXT).
    literal: bool,
    /// The backslash of ECHOPRT has been shown.
    erasing: bool,
    /// Output is stopped.
    stopped: bool,
    /// It was stopped by a program (TCOOFF).
    suspended: bool,
}

impl Ldisc {
    pub fn new(termios: Termios) -> Self {
        Self { termios, ..Self::default() }
    }

    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings, and what is buffered along with them when canonical mode is switched.
    pub fn set_termios(&mut self, new: Termios, sink: &mut impl Sink) {
        let old = core::mem::replace(&mut self.termios, new);
        let mode = Lflag::ICANON | Lflag::EXTPROC;
        if old.lflag & mode != self.termios.lflag & mode {
            self.literal = false;
            self.erasing = false;
            self.restart_buffer();
        }
        if old.iflag.contains(Iflag::IXON) && !self.termios.iflag.contains(Iflag::IXON) && !self.suspended {
            self.start(sink);
        }
    }

    /// Changes settings that mean nothing to the line discipline itself.
    pub fn change_termios(&mut self, change: impl FnOnce(&mut Termios)) {
        change(&mut self.termios);
    }

    /// Whether output must wait.
    pub fn output_stopped(&self) -> bool {
        self.stopped
    }

    /// TCOOFF.
    pub fn suspend_output(&mut self, sink: &mut impl Sink) {
        if !self.suspended {
            self.suspended = true;
            self.set_stopped(true, sink);
        }
    }

    /// TCOON: undoes a TCOOFF, and nothing else.
    pub fn resume_output(&mut self, sink: &mut impl Sink) {
        if self.suspended {
            self.suspended = false;
            self.set_stopped(false, sink);
        }
    }

    fn set_stopped(&mut self, stopped: bool, sink: &mut impl Sink) {
        if self.stopped != stopped {
            self.stopped = stopped;
            sink.flow(stopped);
        }
    }

    /// TCIOFF and TCION: sends the control character that asks the other side to stop or start.
    pub fn send_control(&mut self, which: Cc, sink: &mut impl Sink) {
        let byte = self.termios.cc(which);
        if byte != DISABLED {
            sink.emit(&[byte]);
        }
    }

    /// Whether a read would return at once. `poll` also counts fewer bytes than VMIN as none, if no VTIME is set.
    pub fn readable(&self, poll: bool) -> bool {
        if self.canonical() {
            return self.line != self.tail;
        }
        let (min, time) = (self.termios.cc(Cc::Min), self.termios.cc(Cc::Time));
        let wanted = if poll && time == 0 { usize::from(min).max(1) } else { 1 };
        self.buffer.len() >= wanted
    }

    /// How many bytes a program can read now (FIONREAD).
    pub fn available(&self) -> usize {
        match self.canonical() {
            true => self.buffer.range(..self.committed()).filter(|cell| !cell.is_eof()).count(),
            false => self.buffer.len(),
        }
    }

    /// How many bytes more the buffer takes.
    pub fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.buffer.len())
    }

    /// Whether a full buffer takes input all the same: a line being edited has to come to its end, and loses what is too much.
    pub fn cuts_input(&self) -> bool {
        self.canonical() && !self.readable(false)
    }

    /// Takes input for a program: at most one line in canonical mode, else whatever there is.
    ///
    /// `None`: nothing to read yet. `Some(0)` with a buffer that is not empty is the end of file.
    pub fn read(&mut self, to: &mut [u8]) -> Option<usize> {
        if !self.readable(false) {
            return None;
        }
        if self.canonical() {
            return Some(self.read_line(to));
        }
        let count = to.len().min(self.buffer.len());
        // What the other side has made lines of: an end-of-file character alone is the end of the file.
        if count == 1
            && self.termios.has(Lflag::ICANON)
            && self.buffer.front().is_some_and(|cell| cell.byte == self.termios.cc(Cc::Eof))
        {
            self.buffer.pop_front();
            self.tail += 1;
            return Some(0);
        }
        for (to, cell) in to.iter_mut().zip(self.buffer.drain(..count)) {
            *to = cell.byte;
        }
        self.tail += count as u64;
        Some(count)
    }

    fn read_line(&mut self, to: &mut [u8]) -> usize {
        let mut count = 0;
        while self.committed() > 0
            && let Some(&cell) = self.buffer.front()
        {
            // A full program buffer still swallows the end-of-file mark that follows: else the next read would see a
            // false end of file.
            if count == to.len() && !cell.is_eof() {
                break;
            }
            self.buffer.pop_front();
            self.tail += 1;
            if !cell.is_eof() {
                to[count] = cell.byte;
                count += 1;
            }
            if cell.delimiter {
                break;
            }
        }
        count
    }

    /// Drops all input (TCIFLUSH).
    pub fn flush_input(&mut self) {
        self.tail += self.buffer.len() as u64;
        self.buffer.clear();
        self.line = self.tail;
        self.erasing = false;
    }

    /// Processes output of a program, after the echoes that wait; false if it has to wait.
    pub fn output(&mut self, bytes: &[u8], sink: &mut impl Sink) -> bool {
        self.send_marked(sink);
        if self.stopped || !sink.has_room() {
            return false;
        }
        self.output.process(&self.termios, bytes, &mut |piece| sink.emit(piece));
        true
    }

    /// Takes one byte from the line. [`end_input`](Self::end_input) follows the last of a batch.
    pub fn input(&mut self, byte: u8, sink: &mut impl Sink) {
        let t = &self.termios;
        let mut byte = byte;
        if t.iflag.contains(Iflag::ISTRIP) {
            byte &= 0x7f;
        }
        if t.iflag.contains(Iflag::IUCLC) && t.has(Lflag::IEXTEN) {
            byte = chars::to_lower(byte);
        }
        if self.termios.has(Lflag::EXTPROC) {
            self.store(byte);
            return;
        }
        if core::mem::take(&mut self.literal) {
            self.start_by_any(sink);
            self.show_and_store(byte, sink);
            return;
        }
        if self.termios.iflag.contains(Iflag::IXON) && self.flow_control(byte, sink) {
            return;
        }
        if self.termios.has(Lflag::ISIG)
            && let Some(signal) = self.signal_of(byte)
        {
            self.raise(byte, signal, sink);
            return;
        }
        self.start_by_any(sink);
        let typed = byte;
        match byte {
            b'\r' if self.termios.iflag.contains(Iflag::IGNCR) => return,
            b'\r' if self.termios.iflag.contains(Iflag::ICRNL) => byte = b'\n',
            b'\n' if self.termios.iflag.contains(Iflag::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.canonical() && self.edit(byte, sink) {
            return;
        }
        if byte == b'\n' && typed == b'\r' {
            // Outside canonical mode a newline that was typed shows as ^J, one that ICRNL made as itself.
            if self.termios.has(Lflag::ECHO) {
                self.finish_erasing();
                self.echo_raw(b'\n');
                self.commit(sink);
            }
            self.store(byte);
        } else {
            self.show_and_store(byte, sink);
        }
    }

    /// Sends the echoes of a batch of input.
    pub fn end_input(&mut self, sink: &mut impl Sink) {
        let shows = self.termios.has(Lflag::ECHO) || self.termios.has(Lflag::ECHONL);
        if shows && !self.echoes.all_committed() {
            self.echoes.commit_all();
            self.send_echoes(sink);
        }
    }

    /// Canonical mode, unless the other side does the editing (EXTPROC): then bytes are kept and given as they come.
    fn canonical(&self) -> bool {
        self.termios.has(Lflag::ICANON) && !self.termios.has(Lflag::EXTPROC)
    }

    fn extended(&self, byte: u8, index: Cc) -> bool {
        self.termios.has(Lflag::IEXTEN) && self.termios.is(byte, index)
    }

    /// The position behind the last byte of the buffer.
    fn head(&self) -> u64 {
        self.tail + self.buffer.len() as u64
    }

    /// How many cells are before the line being edited.
    fn committed(&self) -> usize {
        self.line.saturating_sub(self.tail) as usize
    }

    /// Gives what is buffered its meaning in the mode just switched to.
    fn restart_buffer(&mut self) {
        for cell in &mut self.buffer {
            cell.delimiter = false;
        }
        self.line = self.tail;
        if self.termios.has(Lflag::ICANON)
            && let Some(last) = self.buffer.back_mut()
        {
            last.delimiter = true;
            self.line = self.head();
        }
    }

    /// VSTART and VSTOP; true if the byte was one of them.
    fn flow_control(&mut self, byte: u8, sink: &mut impl Sink) -> bool {
        if self.termios.is(byte, Cc::Start) {
            self.start(sink);
            true
        } else if self.termios.is(byte, Cc::Stop) {
            self.set_stopped(true, sink);
            true
        } else {
            false
        }
    }

    /// Any byte starts stopped output, with IXANY.
    fn start_by_any(&mut self, sink: &mut impl Sink) {
        let i = self.termios.iflag;
        if self.stopped && !self.suspended && i.contains(Iflag::IXON | Iflag::IXANY) {
            self.start(sink);
        }
    }

    /// Output goes on, unless a program has stopped it.
    fn start(&mut self, sink: &mut impl Sink) {
        if !self.suspended {
            self.set_stopped(false, sink);
        }
        self.send_marked(sink);
    }

    fn signal_of(&self, byte: u8) -> Option<Signal> {
        let t = &self.termios;
        if t.is(byte, Cc::Intr) {
            Some(Signal::Interrupt)
        } else if t.is(byte, Cc::Quit) {
            Some(Signal::Quit)
        } else if t.is(byte, Cc::Susp) {
            Some(Signal::Suspend)
        } else {
            None
        }
    }

    fn raise(&mut self, byte: u8, signal: Signal, sink: &mut impl Sink) {
        sink.signal(signal);
        if !self.termios.has(Lflag::NOFLSH) {
            self.echoes.clear();
            sink.discard();
            self.flush_input();
        }
        if self.termios.iflag.contains(Iflag::IXON) && !self.suspended {
            self.set_stopped(false, sink);
        }
        if self.termios.has(Lflag::ECHO) {
            self.echo(byte);
            self.commit(sink);
        } else {
            self.send_marked(sink);
        }
    }

    fn show_and_store(&mut self, byte: u8, sink: &mut impl Sink) {
        if self.termios.has(Lflag::ECHO) {
            self.finish_erasing();
            self.begin_line();
            self.echo(byte);
            self.commit(sink);
        }
        self.store_marked(byte);
    }

    /// Stores a byte; with PARMRK 255 stands there twice.
    fn store_marked(&mut self, byte: u8) {
        if byte == 0xff && self.termios.iflag.contains(Iflag::PARMRK) {
            self.store(byte);
        }
        self.store(byte);
    }

    fn store(&mut self, byte: u8) {
        if self.make_room() {
            self.buffer.push_back(Cell { byte, delimiter: false });
        }
    }

    /// Ends the line being edited and makes it readable.
    fn end_line(&mut self, byte: u8) {
        if self.make_room() {
            self.buffer.push_back(Cell { byte, delimiter: true });
            self.line = self.head();
        }
    }

    /// A line that fills the buffer keeps its last place for what comes, so that it can be ended; anything else is lost.
    fn make_room(&mut self) -> bool {
        if self.buffer.len() < CAPACITY {
            return true;
        }
        if !self.canonical() || self.committed() > 0 {
            return false;
        }
        if self.buffer.len() > CAPACITY {
            self.buffer.pop_back();
        }
        true
    }

    /// Notes where the line being edited starts on the terminal, at its first byte.
    fn begin_line(&mut self) {
        if self.line == self.head() {
            self.echoes.add(Echo::StartOfLine);
        }
    }

    /// Shows a byte: control characters as ^X if ECHOCTL says so.
    fn echo(&mut self, byte: u8) {
        self.echoes.add(if byte == 0xff {
            Echo::Plain(byte)
        } else if self.termios.has(Lflag::ECHOCTL) && chars::is_control(byte) && byte != b'\t' {
            Echo::Caret(byte)
        } else {
            Echo::Byte(byte)
        });
    }

    /// Shows a byte as it is.
    fn echo_raw(&mut self, byte: u8) {
        self.echoes.add(if byte == 0xff { Echo::Plain(byte) } else { Echo::Byte(byte) });
    }

    /// The echoes so far belong together with what was stored.
    fn commit(&mut self, sink: &mut impl Sink) {
        self.echoes.mark();
        if self.echoes.are_many() {
            self.echoes.commit_all();
            self.send_echoes(sink);
        }
    }

    fn send_marked(&mut self, sink: &mut impl Sink) {
        if self.echoes.commit_marked() {
            self.send_echoes(sink);
        }
    }

    fn send_echoes(&mut self, sink: &mut impl Sink) {
        let room = !self.stopped && sink.has_room();
        self.echoes.send(&self.termios, &mut self.output, room, sink);
    }
}
