//! The first line of a script: `#!interpreter [argument]` (spec 10.3, 10.4).

/// What the first line of a script asks for. Borrowed from the file's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// Path of the interpreter. Empty when the file ends, or has a NUL, before it: no such file can be run.
    pub interpreter: &'a [u8],
    /// The rest of the line, without blanks around it; one argument, whatever blanks are inside. Where no newline ends it, blanks
    /// behind it stay, and after a blank alone it is empty.
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
        let nul = rest.iter().position(|&byte| byte == 0);
        let text = &rest[..nul.unwrap_or(rest.len())];
        match text.iter().position(|&byte| byte == b'\n') {
            Some(end) => {
                let line = trim(&text[..end]);
                let blank = line.iter().position(|&byte| is_blank(byte));
                if line.is_empty() {
                    return Err(());
                }
                let (interpreter, argument) = line.split_at(blank.unwrap_or(line.len()));
                let argument = trim(argument);
                Ok(Script { interpreter, argument: (!argument.is_empty()).then_some(argument) })
            }
            None => Self::parse_unended(text, cut && nul.is_none()),
        }
    }

    /// A line without a newline. Behind a short file Linux sees NULs; of a long one, the last byte can only end the name.
    fn parse_unended(text: &'a [u8], cut: bool) -> Result<Script<'a>, ()> {
        let text = trim_start(text);
        let blank = text.iter().position(|&byte| is_blank(byte));
        if cut && (text.is_empty() || blank.is_none()) {
            return Err(());
        }
        let (interpreter, rest) = text.split_at(blank.unwrap_or(text.len()));
        let rest = if cut { trim(&rest[..rest.len() - 1]) } else { trim_start(rest) };
        let has_argument = blank.is_some() && !(cut && rest.is_empty());
        Ok(Script { interpreter, argument: has_argument.then_some(rest) })
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn trim_start(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && is_blank(*first)
    {
        line = rest;
    }
    line
}

fn trim(line: &[u8]) -> &[u8] {
    let mut line = trim_start(line);
    while let [rest @ .., last] = line
        && is_blank(*last)
    {
        line = rest;
    }
    line
}
