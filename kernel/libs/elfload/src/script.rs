//! The first line of a script: `#!interpreter [argument]` (spec 10.3, 10.4).

/// What the first line of a script asks for. Borrowed from the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// Path of the interpreter, not empty.
    pub interpreter: &'a [u8],
    /// The rest of the line, without blanks around it; one argument, whatever blanks are inside.
    pub argument: Option<&'a [u8]>,
}

/// Longest part of the line that is looked at, `#!` included.
pub const HEAD: usize = 256;

impl<'a> Script<'a> {
    /// Reads the head of a file (its first [`HEAD`] bytes, or all when it is shorter).
    ///
    /// `None`: not a script. `Some(Err(()))`: a script that names no interpreter, or one whose name does not end within the
    /// head, is no program (ENOEXEC). A line longer than the head is accepted as long as the interpreter's name is whole.
    pub fn parse(head: &'a [u8]) -> Option<Result<Script<'a>, ()>> {
        let head = &head[..head.len().min(HEAD)];
        let line = head.strip_prefix(b"#!")?;
        Some(Self::parse_line(line, head.len() == HEAD))
    }

    fn parse_line(rest: &'a [u8], cut: bool) -> Result<Script<'a>, ()> {
        // A NUL ends the line as well: the head of a short file is padded with them on Linux.
        let end = rest.iter().position(|&byte| byte == b'\n' || byte == 0);
        let line = trim(&rest[..end.unwrap_or(rest.len())]);
        let blank = line.iter().position(|&byte| is_blank(byte));
        if line.is_empty() {
            return Err(());
        }
        // The name runs up to the end of the head: nobody knows whether it is whole.
        let name_ends =
            end.is_some() || !cut || blank.is_some() || rest.last().is_some_and(|&byte| is_blank(byte));
        if !name_ends {
            return Err(());
        }
        let (interpreter, argument) = line.split_at(blank.unwrap_or(line.len()));
        let argument = trim(argument);
        Ok(Script { interpreter, argument: (!argument.is_empty()).then_some(argument) })
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && is_blank(*first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_blank(*last)
    {
        line = rest;
    }
    line
}
