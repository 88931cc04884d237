//! Canonical mode: the characters that edit a line, and those that end it.

use crate::{Cc, Iflag, Ldisc, Lflag, Sink, chars, echo::Echo};

/// What is erased at a time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Erase {
    Character,
    Word,
    Line,
}

impl Ldisc {
    /// A byte in canonical mode; false if it is one like any other.
    pub(crate) fn edit(&mut self, byte: u8, sink: &mut impl Sink) -> bool {
        let t = self.termios;
        if t.is(byte, Cc::Erase) {
            self.erase(Erase::Character);
        } else if t.is(byte, Cc::Kill) {
            self.kill();
        } else if self.extended(byte, Cc::Werase) {
            self.erase(Erase::Word);
        } else if self.extended(byte, Cc::Lnext) {
            self.quote();
        } else if t.has(Lflag::ECHO) && self.extended(byte, Cc::Reprint) {
            self.reprint(byte);
        } else if byte == b'\n' {
            if t.has(Lflag::ECHO) || t.has(Lflag::ECHONL) {
                self.echo_raw(b'\n');
            }
            self.end_line(b'\n');
        } else if t.is(byte, Cc::Eof) {
            self.end_line(0);
        } else if t.is(byte, Cc::Eol) || self.extended(byte, Cc::Eol2) {
            if t.has(Lflag::ECHO) {
                self.begin_line();
                self.echo(byte);
            }
            if byte == 0xff && t.iflag.contains(Iflag::PARMRK) {
                self.store(byte);
            }
            self.end_line(byte);
        } else {
            return false;
        }
        self.commit(sink);
        true
    }

    /// VLNEXT.
    fn quote(&mut self) {
        self.literal = true;
        if self.termios.has(Lflag::ECHO) {
            self.finish_erasing();
            if self.termios.has(Lflag::ECHOCTL) {
                self.echo_raw(b'^');
                self.echo_raw(0x08);
            }
        }
    }

    fn reprint(&mut self, byte: u8) {
        self.finish_erasing();
        self.echo(byte);
        self.echo_raw(b'\n');
        for at in self.committed()..self.buffer.len() {
            self.echo(self.buffer[at].byte);
        }
    }

    /// VKILL.
    fn kill(&mut self) {
        let t = self.termios;
        if self.edited() == 0 {
            return;
        }
        if t.has(Lflag::ECHO) && t.has(Lflag::ECHOK) && t.has(Lflag::ECHOKE) && t.has(Lflag::ECHOE) {
            self.erase(Erase::Line);
            return;
        }
        let start = self.committed();
        self.buffer.truncate(start);
        if t.has(Lflag::ECHO) {
            self.finish_erasing();
            self.echo(t.cc(Cc::Kill));
            if t.has(Lflag::ECHOK) {
                self.echo_raw(b'\n');
            }
        }
    }

    /// How many bytes the line being edited has.
    fn edited(&self) -> usize {
        self.buffer.len() - self.committed()
    }

    fn continues(&self, byte: u8) -> bool {
        self.termios.iflag.contains(Iflag::IUTF8) && chars::is_continuation(byte)
    }

    /// The last character of the line being edited: its first byte, and how many it has. None if there is none, or only a
    /// part of one.
    fn last_character(&self) -> Option<(u8, usize)> {
        let edited = self.edited();
        let bytes = self.buffer.iter().rev().take(edited).map(|cell| cell.byte);
        let (at, first) = bytes.enumerate().find(|&(_, byte)| !self.continues(byte))?;
        Some((first, at + 1))
    }

    fn erase(&mut self, what: Erase) {
        let shows = self.termios.has(Lflag::ECHO);
        let mut in_word = false;
        if self.edited() == 0 {
            return;
        }
        while let Some((byte, count)) = self.last_character() {
            if what == Erase::Word {
                let word = chars::is_word(byte);
                if in_word && !word {
                    break;
                }
                in_word |= word;
            }
            let from = self.buffer.len() - count;
            if shows {
                self.show_erased(what, byte, from);
            } else {
                self.buffer.truncate(from);
            }
            if what == Erase::Character {
                break;
            }
        }
        if shows && self.edited() == 0 {
            self.finish_erasing();
        }
    }

    /// Removes the character that starts at `from`, and wipes it off the terminal.
    fn show_erased(&mut self, what: Erase, byte: u8, from: usize) {
        let t = self.termios;
        if t.has(Lflag::ECHOPRT) {
            if !self.erasing {
                self.echo_raw(b'\\');
                self.erasing = true;
            }
            self.echo(byte);
            for at in from + 1..self.buffer.len() {
                self.echo_raw(self.buffer[at].byte);
                self.echoes.add(Echo::Back);
            }
            self.buffer.truncate(from);
            return;
        }
        self.buffer.truncate(from);
        if what == Erase::Character && !t.has(Lflag::ECHOE) {
            self.echo(t.cc(Cc::Erase));
        } else if byte == b'\t' {
            let step = self.erased_tab();
            self.echoes.add(step);
        } else {
            let columns = match chars::is_control(byte) {
                true if t.has(Lflag::ECHOCTL) => 2,
                true => 0,
                false => 1,
            };
            for _ in 0..columns {
                for byte in *b"\x08 \x08" {
                    self.echo_raw(byte);
                }
            }
        }
    }

    /// How to go back over a tab that stood at the end of the line.
    fn erased_tab(&self) -> Echo {
        let mut columns = 0;
        for at in (self.committed()..self.buffer.len()).rev() {
            let byte = self.buffer[at].byte;
            if byte == b'\t' {
                return Echo::EraseTab { columns, after_tab: true };
            } else if chars::is_control(byte) {
                columns += if self.termios.has(Lflag::ECHOCTL) { 2 } else { 0 };
            } else if !self.continues(byte) {
                columns += 1;
            }
        }
        Echo::EraseTab { columns, after_tab: false }
    }

    /// Ends what ECHOPRT shows of erased characters.
    pub(crate) fn finish_erasing(&mut self) {
        if core::mem::take(&mut self.erasing) {
            self.echo_raw(b'/');
        }
    }
}
