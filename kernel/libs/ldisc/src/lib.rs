//! The terminal line discipline (Linux's N_TTY) as a pure state machine: no locks, no waiting, no hardware.
//!
//! Bytes from the line go in through [`Ldisc::input`], bytes from programs through [`Ldisc::output`]; what programs
//! read comes out of [`Ldisc::read`]. Effects on the outside (bytes for the terminal, signals for the foreground process
//! group) go to a [`Sink`]. The owner keeps the state under a lock and does the waiting.
//!
//! The rules are those of termios(3) and of Linux where POSIX leaves a choice:
//! - The buffer holds 4095 bytes. In canonical mode a full buffer still takes a newline.
//! - A switch to canonical mode makes what is buffered one line; a switch away makes everything readable at once.
//! - A signal character flushes the input (unless NOFLSH) before it is echoed.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod output;
mod termios;

pub use output::Output;
pub use termios::{Cc, Cflag, DISABLED, Iflag, Lflag, NCCS, Oflag, Termios};

use alloc::collections::VecDeque;
use output::is_continuation;

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
}

/// One position of the input buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Byte(u8),
    /// A byte that ends a line and belongs to it.
    Delimiter(u8),
    /// The end-of-file character: ends a line without a byte.
    Eof,
}

impl Cell {
    fn ends_line(self) -> bool {
        !matches!(self, Cell::Byte(_))
    }
}

/// A line discipline: see the [module's description](self).
#[derive(Default)]
pub struct Ldisc {
    termios: Termios,
    /// Input in order of arrival. The first `committed` cells can be read, the rest is the line being edited (always
    /// empty outside canonical mode).
    buffer: VecDeque<Cell>,
    committed: usize,
    /// Line ends among the committed cells.
    lines: usize,
    output: Output,
    /// Column at which the line being edited starts on the terminal.
    line_column: usize,
    /// The next byte is taken literally (after VLNEXT).
    literal: bool,
    /// Output is stopped by VSTOP.
    stopped: bool,
}

impl Ldisc {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings, and what is buffered along with them when canonical mode is switched.
    pub fn set_termios(&mut self, new: Termios) {
        let was = self.canonical();
        self.termios = new;
        if was != self.canonical() {
            self.literal = false;
            self.restart_buffer();
        }
        if !self.termios.iflag.contains(Iflag::IXON) {
            self.stopped = false;
        }
    }

    /// Whether output must wait for VSTART.
    pub fn output_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether a read would return at once. `poll` also counts fewer bytes than VMIN as none, if no VTIME is set.
    pub fn readable(&self, poll: bool) -> bool {
        if self.canonical() {
            return self.lines > 0;
        }
        let (min, time) = (self.termios.cc(Cc::Min), self.termios.cc(Cc::Time));
        let wanted = if poll && time == 0 { usize::from(min).max(1) } else { 1 };
        self.buffer.len() >= wanted
    }

    /// How many bytes a program can read now (FIONREAD).
    pub fn available(&self) -> usize {
        self.buffer.iter().take(self.committed).filter(|&&c| c != Cell::Eof).count()
    }

    /// How many bytes more the buffer takes.
    pub fn room(&self) -> usize {
        CAPACITY.saturating_sub(self.buffer.len())
    }

    /// Takes input for a program: at most one line in canonical mode, else whatever there is.
    ///
    /// `None`: nothing to read yet. `Some(0)` with a buffer that is not empty is the end of file.
    pub fn read(&mut self, to: &mut [u8]) -> Option<usize> {
        if self.canonical() && self.lines == 0 || self.committed == 0 {
            return None;
        }
        let mut count = 0;
        while self.committed > 0 {
            let cell = self.buffer[0];
            // A full program buffer still swallows the end-of-file mark that follows: else the next read would see a
            // false end of file.
            if count == to.len() && cell != Cell::Eof {
                break;
            }
            self.pop();
            if let Cell::Byte(byte) | Cell::Delimiter(byte) = cell {
                to[count] = byte;
                count += 1;
            }
            if cell.ends_line() && self.canonical() {
                break;
            }
        }
        Some(count)
    }

    /// Drops all input (TCIFLUSH).
    pub fn flush_input(&mut self) {
        self.buffer.clear();
        self.committed = 0;
        self.lines = 0;
    }

    /// Processes output of a program.
    pub fn output(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        self.output.process(&self.termios, bytes, &mut |piece| sink.emit(piece));
    }

    /// Takes one byte from the line.
    pub fn input(&mut self, byte: u8, sink: &mut impl Sink) {
        let t = &self.termios;
        let mut byte = byte;
        if t.iflag.contains(Iflag::ISTRIP) {
            byte &= 0x7f;
        }
        if t.iflag.contains(Iflag::IUCLC) && t.has(Lflag::IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if core::mem::take(&mut self.literal) {
            self.store_and_echo(byte, sink);
            return;
        }
        if t.iflag.contains(Iflag::IXON) && self.flow_control(byte) {
            return;
        }
        if self.stopped && self.termios.iflag.contains(Iflag::IXANY) {
            self.stopped = false;
        }
        if self.termios.has(Lflag::ISIG)
            && let Some(signal) = self.signal_of(byte)
        {
            self.raise(byte, signal, sink);
            return;
        }
        match byte {
            b'\r' if self.termios.iflag.contains(Iflag::IGNCR) => return,
            b'\r' if self.termios.iflag.contains(Iflag::ICRNL) => byte = b'\n',
            b'\n' if self.termios.iflag.contains(Iflag::INLCR) => byte = b'\r',
            _ => {}
        }
        if self.canonical() {
            self.edit(byte, sink);
        } else {
            self.store_and_echo(byte, sink);
        }
    }

    fn canonical(&self) -> bool {
        self.termios.has(Lflag::ICANON)
    }

    fn extended(&self, byte: u8, index: Cc) -> bool {
        self.termios.has(Lflag::IEXTEN) && self.termios.is(byte, index)
    }

    fn pop(&mut self) {
        if let Some(cell) = self.buffer.pop_front() {
            self.committed -= 1;
            self.lines -= usize::from(cell.ends_line());
        }
    }

    /// Gives what is buffered its meaning in the mode just switched to.
    fn restart_buffer(&mut self) {
        for cell in &mut self.buffer {
            if let Cell::Delimiter(byte) = *cell {
                *cell = Cell::Byte(byte);
            }
        }
        self.buffer.retain(|&c| c != Cell::Eof);
        self.lines = 0;
        if self.canonical()
            && let Some(last @ Cell::Byte(_)) = self.buffer.back_mut()
            && let Cell::Byte(byte) = *last
        {
            *last = Cell::Delimiter(byte);
            self.lines = 1;
        }
        self.committed = self.buffer.len();
    }

    /// VSTART and VSTOP; true if the byte was one of them.
    fn flow_control(&mut self, byte: u8) -> bool {
        let (start, stop) = (self.termios.is(byte, Cc::Start), self.termios.is(byte, Cc::Stop));
        if start {
            self.stopped = false;
        } else if stop {
            self.stopped = true;
        }
        start || stop
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
        if !self.termios.has(Lflag::NOFLSH) {
            self.flush_input();
        }
        if self.termios.iflag.contains(Iflag::IXON) {
            self.stopped = false;
        }
        if self.termios.has(Lflag::ECHO) {
            self.echo(byte, sink);
        }
        sink.signal(signal);
    }

    /// A byte in canonical mode: edits or ends the line, or extends it.
    fn edit(&mut self, byte: u8, sink: &mut impl Sink) {
        if self.termios.is(byte, Cc::Erase) {
            self.erase_char(sink);
        } else if self.extended(byte, Cc::Werase) {
            self.erase_word(sink);
        } else if self.termios.is(byte, Cc::Kill) {
            self.kill_line(byte, sink);
        } else if self.extended(byte, Cc::Lnext) {
            self.literal = true;
            if self.termios.has(Lflag::ECHO) && self.termios.has(Lflag::ECHOCTL) {
                sink.emit(b"^\x08");
            }
        } else if self.extended(byte, Cc::Reprint) && self.termios.has(Lflag::ECHO) {
            self.reprint(byte, sink);
        } else if byte == b'\n' {
            if self.termios.has(Lflag::ECHO) || self.termios.has(Lflag::ECHONL) {
                self.output(b"\n", sink);
            }
            self.commit(Cell::Delimiter(b'\n'));
        } else if self.termios.is(byte, Cc::Eof) {
            self.commit(Cell::Eof);
        } else if self.termios.is(byte, Cc::Eol) || self.extended(byte, Cc::Eol2) {
            if self.termios.has(Lflag::ECHO) {
                self.begin_echo();
                self.echo(byte, sink);
            }
            self.commit(Cell::Delimiter(byte));
        } else {
            self.store_and_echo(byte, sink);
        }
    }

    /// Ends the line being edited and makes it readable.
    fn commit(&mut self, end: Cell) {
        if self.buffer.len() > CAPACITY {
            return;
        }
        self.buffer.push_back(end);
        self.committed = self.buffer.len();
        self.lines += 1;
    }

    fn store_and_echo(&mut self, byte: u8, sink: &mut impl Sink) {
        if self.buffer.len() >= CAPACITY {
            if self.termios.iflag.contains(Iflag::IMAXBEL) {
                sink.emit(b"\x07");
            }
            return;
        }
        if self.termios.has(Lflag::ECHO) {
            self.begin_echo();
            if byte == b'\n' {
                self.output(b"\n", sink);
            } else {
                self.echo(byte, sink);
            }
        }
        self.buffer.push_back(Cell::Byte(byte));
        if !self.canonical() {
            self.committed = self.buffer.len();
        }
    }

    /// Remembers where the line being edited starts on the terminal, at its first byte.
    fn begin_echo(&mut self) {
        if self.buffer.len() == self.committed {
            self.line_column = self.output.column;
        }
    }

    /// Shows a byte: control characters as ^X if ECHOCTL says so.
    fn echo(&mut self, byte: u8, sink: &mut impl Sink) {
        if self.shown_as_caret(byte) {
            self.output(&[b'^', byte ^ 0o100], sink);
        } else {
            self.output(&[byte], sink);
        }
    }

    fn shown_as_caret(&self, byte: u8) -> bool {
        self.termios.has(Lflag::ECHOCTL) && byte.is_ascii_control() && byte != b'\t'
    }

    /// Removes the last byte of the line being edited (all bytes of a UTF-8 character, with IUTF8).
    fn unstore(&mut self) -> Option<u8> {
        loop {
            if self.buffer.len() == self.committed {
                return None;
            }
            let Some(Cell::Byte(byte)) = self.buffer.pop_back() else {
                return None;
            };
            let whole = !self.termios.iflag.contains(Iflag::IUTF8) || !is_continuation(byte);
            if whole || self.buffer.len() == self.committed {
                return Some(byte);
            }
        }
    }

    fn last(&self) -> Option<u8> {
        match self.buffer.back() {
            Some(&Cell::Byte(byte)) if self.buffer.len() > self.committed => Some(byte),
            _ => None,
        }
    }

    fn erase_char(&mut self, sink: &mut impl Sink) {
        let Some(byte) = self.unstore() else {
            return;
        };
        if !self.termios.has(Lflag::ECHO) {
            return;
        }
        if self.termios.has(Lflag::ECHOE) {
            self.unecho(byte, sink);
        } else {
            let erase = self.termios.cc(Cc::Erase);
            self.echo(erase, sink);
        }
    }

    fn erase_word(&mut self, sink: &mut impl Sink) {
        let mut in_word = false;
        while let Some(byte) = self.last() {
            // A word is letters, digits and underscores (and anything beyond ASCII).
            let word = byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
            if in_word && !word {
                break;
            }
            in_word |= word;
            self.erase_char(sink);
        }
    }

    fn kill_line(&mut self, byte: u8, sink: &mut impl Sink) {
        let t = &self.termios;
        let echo = t.has(Lflag::ECHO);
        if echo && t.has(Lflag::ECHOK) && t.has(Lflag::ECHOKE) && t.has(Lflag::ECHOE) {
            while self.last().is_some() {
                self.erase_char(sink);
            }
            return;
        }
        self.buffer.truncate(self.committed);
        if echo {
            self.echo(byte, sink);
            if self.termios.has(Lflag::ECHOK) {
                self.output(b"\n", sink);
            }
        }
    }

    /// Wipes a byte, just removed from the line, off the terminal.
    fn unecho(&mut self, byte: u8, sink: &mut impl Sink) {
        let columns = if byte == b'\t' {
            let end = self.output.column;
            end.saturating_sub(self.column_of_line_end())
        } else if self.shown_as_caret(byte) {
            2
        } else if byte.is_ascii_control() {
            0
        } else {
            1
        };
        for _ in 0..columns {
            if byte == b'\t' {
                sink.emit(b"\x08");
            } else {
                sink.emit(b"\x08 \x08");
            }
        }
        self.output.column = self.output.column.saturating_sub(columns);
    }

    /// The column behind the last byte of the line being edited.
    fn column_of_line_end(&self) -> usize {
        let mut column = self.line_column;
        for cell in self.buffer.iter().skip(self.committed) {
            let &Cell::Byte(byte) = cell else { continue };
            column = match byte {
                b'\t' => (column | 7) + 1,
                _ if self.shown_as_caret(byte) => column + 2,
                _ if byte.is_ascii_control() || is_continuation(byte) => column,
                _ => column + 1,
            };
        }
        column
    }

    fn reprint(&mut self, byte: u8, sink: &mut impl Sink) {
        self.echo(byte, sink);
        self.output(b"\n", sink);
        self.line_column = self.output.column;
        for at in self.committed..self.buffer.len() {
            if let Cell::Byte(byte) = self.buffer[at] {
                self.echo(byte, sink);
            }
        }
    }
}
