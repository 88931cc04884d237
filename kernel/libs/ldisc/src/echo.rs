//! Echoes: what the line discipline itself shows, in order, until the line can take it.
//!
//! Nothing that is typed may wait, so echoes are noted and sent at the end of a batch of input, or later, when stopped
//! output goes on. A signal character throws away those that were not sent. What an echo does to the cursor's column
//! happens when it is sent: hence steps that send nothing.

use alloc::collections::VecDeque;

use crate::{
    Sink,
    output::Output,
    termios::{Oflag, Termios},
};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    /// A byte with output processing.
    Byte(u8),
    /// A byte that is never processed: 255, as in Linux.
    Plain(u8),
    /// A control character as ^X.
    Caret(u8),
    /// Back over a tab. Columns used before it, since the tab before if `after_tab`, else since the start of the line.
    EraseTab { columns: usize, after_tab: bool },
    /// The line being edited starts here.
    StartOfLine,
    /// A byte of a character that takes no column was sent.
    Back,
}

/// Beyond this the oldest are lost.
const LIMIT: usize = 3808;
/// So many are sent without waiting for the end of the batch.
const BLOCK: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Echoes {
    steps: VecDeque<Echo>,
    /// How many of them may be sent.
    committed: usize,
    /// How many of them are complete: to be committed when output goes on.
    marked: usize,
}

impl Echoes {
    pub fn add(&mut self, step: Echo) {
        self.steps.push_back(step);
    }

    pub fn clear(&mut self) {
        *self = Echoes::default();
    }

    /// What was added is complete.
    pub fn mark(&mut self) {
        self.marked = self.steps.len();
    }

    pub fn are_many(&self) -> bool {
        self.marked >= BLOCK && self.marked % BLOCK <= self.committed % BLOCK
    }

    pub fn all_committed(&self) -> bool {
        self.committed == self.steps.len()
    }

    pub fn commit_all(&mut self) {
        self.committed = self.steps.len();
    }

    /// Commits what is marked; false if there is nothing.
    pub fn commit_marked(&mut self) -> bool {
        self.committed = self.committed.max(self.marked);
        self.marked > 0
    }

    /// Sends what is committed, as far as there is room.
    pub fn send(&mut self, termios: &Termios, output: &mut Output, room: bool, sink: &mut impl Sink) {
        let mut out = Batch { bytes: [0; 64], len: 0 };
        while self.committed > 0
            && let Some(&step) = self.steps.front()
        {
            let moves_only = matches!(step, Echo::StartOfLine | Echo::Back);
            if !moves_only && !room {
                break;
            }
            step.send(termios, output, &mut |bytes| out.put(bytes, sink));
            self.drop_first();
        }
        out.flush(sink);
        while self.committed >= LIMIT {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        self.steps.pop_front();
        self.committed -= 1;
        self.marked = self.marked.saturating_sub(1);
    }
}

impl Echo {
    fn send(self, termios: &Termios, output: &mut Output, emit: &mut dyn FnMut(&[u8])) {
        match self {
            Echo::Byte(byte) if termios.oflag.contains(Oflag::OPOST) => {
                output.process(termios, &[byte], emit)
            }
            Echo::Byte(byte) => emit(&[byte]),
            Echo::Plain(byte) => {
                output.column += 1;
                emit(&[byte]);
            }
            Echo::Caret(byte) => {
                output.column += 2;
                emit(&[b'^', byte ^ 0o100]);
            }
            Echo::EraseTab { columns, after_tab } => {
                let before = if after_tab { columns } else { columns + output.line_column };
                for _ in 0..8 - (before & 7) {
                    output.back();
                    emit(b"\x08");
                }
            }
            Echo::StartOfLine => output.line_column = output.column,
            Echo::Back => output.back(),
        }
    }
}

/// Bytes on their way to the sink.
struct Batch {
    bytes: [u8; 64],
    len: usize,
}

impl Batch {
    fn put(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        for &byte in bytes {
            if self.len == self.bytes.len() {
                self.flush(sink);
            }
            self.bytes[self.len] = byte;
            self.len += 1;
        }
    }

    fn flush(&mut self, sink: &mut impl Sink) {
        if self.len > 0 {
            sink.emit(&self.bytes[..self.len]);
            self.len = 0;
        }
    }
}
