//! Output processing: what OPOST does to the bytes of a program or of an echo.

use crate::termios::{Oflag, Termios};

/// Keeps the column of the cursor, which tabs and the erasing of tabs need.
#[derive(Debug, Default)]
pub struct Output {
    pub(crate) column: usize,
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

    /// Whether `byte` is sent unchanged; keeps the column if so.
    fn passes(&mut self, termios: &Termios, byte: u8) -> bool {
        let o = termios.oflag;
        match byte {
            b'\n' if o.contains(Oflag::ONLCR) => return false,
            b'\n' if o.contains(Oflag::ONLRET) => self.column = 0,
            b'\n' => {}
            b'\r' if o.intersects(Oflag::ONOCR | Oflag::OCRNL) => return false,
            b'\r' => self.column = 0,
            b'\t' if o.contains(Oflag::XTABS) => return false,
            b'\t' => self.column = (self.column | 7) + 1,
            0x08 => self.column = self.column.saturating_sub(1),
            b'a'..=b'z' if o.contains(Oflag::OLCUC) => return false,
            _ if byte.is_ascii_control() || is_continuation(byte) => {}
            _ => self.column += 1,
        }
        true
    }

    fn special(&mut self, termios: &Termios, byte: u8, emit: &mut dyn FnMut(&[u8])) {
        let o = termios.oflag;
        match byte {
            b'\n' => {
                self.column = 0;
                emit(b"\r\n");
            }
            b'\r' if o.contains(Oflag::ONOCR) && self.column == 0 => {}
            b'\r' if o.contains(Oflag::OCRNL) => {
                if o.contains(Oflag::ONLRET) {
                    self.column = 0;
                }
                emit(b"\n");
            }
            b'\r' => {
                self.column = 0;
                emit(b"\r");
            }
            b'\t' => {
                let spaces = 8 - (self.column & 7);
                self.column += spaces;
                emit(&b"        "[..spaces]);
            }
            _ => {
                self.column += 1;
                emit(&[byte.to_ascii_uppercase()]);
            }
        }
    }
}

/// Whether a byte continues a UTF-8 character, and so takes no column of its own.
pub(crate) fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}
