//! Output processing: what OPOST does to the bytes of a program or of an echo.

use crate::{
    chars,
    termios::{Iflag, Oflag, Termios},
};

/// Keeps the column of the cursor, which tabs and the erasing of tabs need.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) column: usize,
    /// The column at which the line being edited starts.
    pub(crate) line_column: usize,
}

impl Output {
    /// Processes `input` and gives what the terminal gets to `emit`, in as few pieces as possible.
    pub fn process(&mut self, termios: &Termios, input: &[u8], emit: &mut dyn FnMut(&[u8])) {
        if !termios.oflag.contains(Oflag::OPOST) {
            emit(input);
            return;
        }
        let mut plain = 0;
        for (at, &byte) in input.iter().enumerate() {
            // A run of bytes that go out as they are is emitted as one piece.
            if self.passes(termios, byte) {
                continue;
            }
            if plain < at {
                emit(&input[plain..at]);
            }
            plain = at + 1;
            self.special(termios, byte, emit);
        }
        if plain < input.len() {
            emit(&input[plain..]);
        }
    }

    /// Whether `byte` is sent unchanged; keeps the columns if so.
    fn passes(&mut self, termios: &Termios, byte: u8) -> bool {
        let o = termios.oflag;
        match byte {
            b'\n' => {
                if o.contains(Oflag::ONLRET) {
                    self.column = 0;
                }
                if o.contains(Oflag::ONLCR) {
                    return false;
                }
                self.line_column = self.column;
            }
            b'\r' if o.contains(Oflag::ONOCR) && self.column == 0 => return false,
            b'\r' if o.contains(Oflag::OCRNL) => return false,
            b'\r' => self.start_line(),
            b'\t' if o.contains(Oflag::XTABS) => return false,
            b'\t' => self.column = (self.column | 7) + 1,
            0x08 => self.column = self.column.saturating_sub(1),
            _ if chars::is_control(byte) => {}
            _ if o.contains(Oflag::OLCUC) && chars::to_upper(byte) != byte => return false,
            _ => self.advance(termios, byte),
        }
        true
    }

    fn special(&mut self, termios: &Termios, byte: u8, emit: &mut dyn FnMut(&[u8])) {
        let o = termios.oflag;
        match byte {
            b'\n' => {
                self.start_line();
                emit(b"\r\n");
            }
            b'\r' if o.contains(Oflag::ONOCR) && self.column == 0 => {}
            b'\r' => {
                if o.contains(Oflag::ONLRET) {
                    self.start_line();
                }
                emit(b"\n");
            }
            b'\t' => {
                let spaces = 8 - (self.column & 7);
                self.column += spaces;
                emit(&b"        "[..spaces]);
            }
            _ => {
                let upper = chars::to_upper(byte);
                self.advance(termios, upper);
                emit(&[upper]);
            }
        }
    }

    fn start_line(&mut self) {
        self.column = 0;
        self.line_column = 0;
    }

    fn advance(&mut self, termios: &Termios, byte: u8) {
        if !(termios.iflag.contains(Iflag::IUTF8) && chars::is_continuation(byte)) {
            self.column += 1;
        }
    }

    pub(crate) fn back(&mut self) {
        self.column = self.column.saturating_sub(1);
    }
}
