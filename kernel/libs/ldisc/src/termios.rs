//! The settings of a terminal, termios(3), in the kernel's layout.

use bitflags::bitflags;

bitflags! {
    /// Input modes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Iflag: u32 {
        const IGNBRK = 0o1;
        const BRKINT = 0o2;
        const IGNPAR = 0o4;
        const PARMRK = 0o10;
        const INPCK = 0o20;
        const ISTRIP = 0o40;
        const INLCR = 0o100;
        const IGNCR = 0o200;
        const ICRNL = 0o400;
        const IUCLC = 0o1000;
        const IXON = 0o2000;
        const IXANY = 0o4000;
        const IXOFF = 0o10000;
        const IMAXBEL = 0o20000;
        const IUTF8 = 0o40000;
        const _ = !0;
    }

    /// Output modes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Oflag: u32 {
        const OPOST = 0o1;
        const OLCUC = 0o2;
        const ONLCR = 0o4;
        const OCRNL = 0o10;
        const ONOCR = 0o20;
        const ONLRET = 0o40;
        /// All of the TABDLY field: tabs become spaces.
        const XTABS = 0o14000;
        const _ = !0;
    }

    /// Control modes; those that describe the line's hardware are only remembered.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cflag: u32 {
        const B38400 = 0o17;
        const CS8 = 0o60;
        const CSIZE = 0o60;
        const CREAD = 0o200;
        const PARENB = 0o400;
        /// Mark of an address on a bus, which no line here knows.
        const ADDRB = 1 << 29;
        const HUPCL = 0o2000;
        const CLOCAL = 0o4000;
        const _ = !0;
    }

    /// Local modes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Lflag: u32 {
        const ISIG = 0o1;
        const ICANON = 0o2;
        const ECHO = 0o10;
        const ECHOE = 0o20;
        const ECHOK = 0o40;
        const ECHONL = 0o100;
        const NOFLSH = 0o200;
        const TOSTOP = 0o400;
        const ECHOCTL = 0o1000;
        const ECHOPRT = 0o2000;
        const ECHOKE = 0o4000;
        const FLUSHO = 0o10000;
        const PENDIN = 0o40000;
        const IEXTEN = 0o100000;
        const EXTPROC = 0o200000;
        const _ = !0;
    }
}

/// Number of control characters in the kernel's structure.
pub const NCCS: usize = 19;

/// Index of a control character in [`Termios::cc`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cc {
    Intr = 0,
    Quit = 1,
    Erase = 2,
    Kill = 3,
    Eof = 4,
    Time = 5,
    Min = 6,
    Start = 8,
    Stop = 9,
    Susp = 10,
    Eol = 11,
    Reprint = 12,
    Discard = 13,
    Werase = 14,
    Lnext = 15,
    Eol2 = 16,
}

/// A control character with this value is switched off.
pub const DISABLED: u8 = 0;

/// The settings of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termios {
    pub iflag: Iflag,
    pub oflag: Oflag,
    pub cflag: Cflag,
    pub lflag: Lflag,
    pub line: u8,
    pub cc: [u8; NCCS],
    /// Speeds in baud, which are not in what TCGETS copies.
    pub input_speed: u32,
    pub output_speed: u32,
}

impl Default for Termios {
    /// What a fresh terminal has on Linux.
    fn default() -> Self {
        let mut cc = [0; NCCS];
        for (index, value) in [
            (Cc::Intr, 0x03),
            (Cc::Quit, 0x1c),
            (Cc::Erase, 0x7f),
            (Cc::Kill, 0x15),
            (Cc::Eof, 0x04),
            (Cc::Min, 1),
            (Cc::Start, 0x11),
            (Cc::Stop, 0x13),
            (Cc::Susp, 0x1a),
            (Cc::Reprint, 0x12),
            (Cc::Discard, 0x0f),
            (Cc::Werase, 0x17),
            (Cc::Lnext, 0x16),
        ] {
            cc[index as usize] = value;
        }
        Termios {
            iflag: Iflag::ICRNL | Iflag::IXON,
            oflag: Oflag::OPOST | Oflag::ONLCR,
            cflag: Cflag::B38400 | Cflag::CS8 | Cflag::CREAD | Cflag::HUPCL,
            lflag: Lflag::ISIG
                | Lflag::ICANON
                | Lflag::ECHO
                | Lflag::ECHOE
                | Lflag::ECHOK
                | Lflag::ECHOCTL
                | Lflag::ECHOKE
                | Lflag::IEXTEN,
            line: 0,
            cc,
            input_speed: 38400,
            output_speed: 38400,
        }
    }
}

impl Termios {
    /// Bytes of the structure that TCGETS and TCSETS copy.
    pub const SIZE: usize = 4 * 4 + 1 + NCCS;

    /// The value of a control character.
    pub fn cc(&self, index: Cc) -> u8 {
        self.cc[index as usize]
    }

    /// Whether `byte` is the control character `index`, and that is not switched off.
    pub fn is(&self, byte: u8, index: Cc) -> bool {
        byte != DISABLED && byte == self.cc(index)
    }

    pub fn has(&self, flag: Lflag) -> bool {
        self.lflag.contains(flag)
    }

    /// The structure as TCGETS gives it to a program.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        let words = [self.iflag.bits(), self.oflag.bits(), self.cflag.bits(), self.lflag.bits()];
        for (to, word) in out.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        out[16] = self.line;
        out[17..].copy_from_slice(&self.cc);
        out
    }

    /// The structure as a program gives it to TCSETS, without speeds. Any value is accepted, as in Linux.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let mut words = [0u32; 4];
        for (word, from) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = from.iter().rev().fold(0, |acc, &b| acc << 8 | u32::from(b));
        }
        let mut cc = [0; NCCS];
        cc.copy_from_slice(&bytes[17..]);
        Termios {
            iflag: Iflag::from_bits_retain(words[0]),
            oflag: Oflag::from_bits_retain(words[1]),
            cflag: Cflag::from_bits_retain(words[2]),
            lflag: Lflag::from_bits_retain(words[3]),
            line: bytes[16],
            cc,
            input_speed: 0,
            output_speed: 0,
        }
    }
}
