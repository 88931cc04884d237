//! A person at a terminal: what is typed, what is shown, what a program reads.

use ldisc::{CAPACITY, Cc, Iflag, Ldisc, Lflag, Oflag, Signal, Sink, Termios};
use proptest::prelude::*;

#[derive(Default)]
struct Screen {
    shown: Vec<u8>,
    signals: Vec<Signal>,
}

impl Sink for Screen {
    fn emit(&mut self, bytes: &[u8]) {
        self.shown.extend_from_slice(bytes);
    }

    fn signal(&mut self, signal: Signal) {
        self.signals.push(signal);
    }
}

struct Tty {
    ldisc: Ldisc,
    screen: Screen,
}

impl Tty {
    fn new(change: impl FnOnce(&mut Termios)) -> Self {
        let mut tty = Tty { ldisc: Ldisc::new(Termios::default()), screen: Screen::default() };
        tty.set(change);
        tty
    }

    fn set(&mut self, change: impl FnOnce(&mut Termios)) {
        let mut termios = *self.ldisc.termios();
        change(&mut termios);
        self.ldisc.set_termios(termios, &mut self.screen);
    }

    fn type_in(&mut self, bytes: &[u8]) -> &mut Self {
        for &byte in bytes {
            self.ldisc.input(byte, &mut self.screen);
        }
        self.ldisc.end_input(&mut self.screen);
        self
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let mut buf = [0; 8192];
        self.ldisc.read(&mut buf).map(|n| buf[..n].to_vec())
    }

    fn shown(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.screen.shown)).unwrap()
    }
}

fn cooked() -> Tty {
    Tty::new(|_| {})
}

fn raw() -> Tty {
    Tty::new(|t| t.lflag.remove(Lflag::ICANON | Lflag::ECHO | Lflag::ISIG))
}

#[test]
fn a_line_is_readable_only_when_complete() {
    let mut tty = cooked();
    tty.type_in(b"hel");
    assert_eq!(tty.read(), None);
    assert!(!tty.ldisc.readable(true));
    tty.type_in(b"lo\r");
    assert_eq!(tty.ldisc.available(), 6);
    assert_eq!(tty.read().unwrap(), b"hello\n");
    assert_eq!(tty.read(), None);
    assert_eq!(tty.shown(), "hello\r\n");
}

#[test]
fn each_read_returns_one_line() {
    let mut tty = cooked();
    tty.type_in(b"one\rtwo\r");
    assert_eq!(tty.read().unwrap(), b"one\n");
    assert_eq!(tty.read().unwrap(), b"two\n");
}

#[test]
fn a_short_buffer_gets_the_line_in_parts() {
    let mut tty = cooked();
    tty.type_in(b"abcd\r");
    let mut buf = [0; 3];
    assert_eq!(tty.ldisc.read(&mut buf), Some(3));
    assert_eq!(&buf, b"abc");
    assert_eq!(tty.ldisc.read(&mut buf), Some(2));
    assert_eq!(&buf[..2], b"d\n");
}

#[test]
fn end_of_file_alone_reads_as_nothing_and_after_text_pushes_it() {
    let mut tty = cooked();
    tty.type_in(b"\x04");
    assert_eq!(tty.read().unwrap(), b"");
    assert_eq!(tty.read(), None);
    tty.type_in(b"abc\x04");
    let mut buf = [0; 3];
    assert_eq!(tty.ldisc.read(&mut buf), Some(3));
    assert_eq!(tty.read(), None, "the mark went with the text");
    assert_eq!(tty.shown(), "abc");
}

#[test]
fn erase_removes_a_character_from_line_and_screen() {
    let mut tty = cooked();
    tty.type_in(b"ab\x7f\x7f\x7fc\r");
    assert_eq!(tty.read().unwrap(), b"c\n");
    assert_eq!(tty.shown(), "ab\x08 \x08\x08 \x08c\r\n");
}

#[test]
fn erase_does_not_reach_into_the_line_before() {
    let mut tty = cooked();
    tty.type_in(b"ab\r\x7f\x7fc\r");
    assert_eq!(tty.read().unwrap(), b"ab\n");
    assert_eq!(tty.read().unwrap(), b"c\n");
}

#[test]
fn erase_knows_the_width_of_carets_and_tabs() {
    let mut tty = cooked();
    tty.type_in(b"\x01\x7f");
    assert_eq!(tty.shown(), "^A\x08 \x08\x08 \x08");
    tty.type_in(b"abc\t\x7f");
    assert_eq!(tty.shown(), "abc\t\x08\x08\x08\x08\x08");
}

#[test]
fn erase_of_a_utf8_character_removes_all_its_bytes() {
    let mut tty = Tty::new(|t| t.iflag.insert(Iflag::IUTF8));
    tty.type_in("xé\x7f\r".as_bytes());
    assert_eq!(tty.read().unwrap(), b"x\n");
    assert_eq!(tty.shown(), "xé\x08 \x08\r\n");
}

#[test]
fn word_erase_and_kill() {
    let mut tty = cooked();
    tty.type_in(b"foo bar  \x17");
    tty.shown();
    tty.type_in(b"x\r");
    assert_eq!(tty.read().unwrap(), b"foo x\n");
    tty.shown();
    tty.type_in(b"abc\x15d\r");
    assert_eq!(tty.read().unwrap(), b"d\n");
    assert_eq!(tty.shown(), "abc\x08 \x08\x08 \x08\x08 \x08d\r\n");
}

#[test]
fn kill_without_echoke_starts_a_new_line() {
    let mut tty = Tty::new(|t| t.lflag.remove(Lflag::ECHOKE));
    tty.type_in(b"abc\x15d\r");
    assert_eq!(tty.read().unwrap(), b"d\n");
    assert_eq!(tty.shown(), "abc^U\r\nd\r\n");
}

#[test]
fn signal_characters_flush_echo_and_signal() {
    let mut tty = cooked();
    tty.type_in(b"abc").type_in(b"\x03").type_in(b"\x1c").type_in(b"\x1a");
    assert_eq!(tty.screen.signals, [Signal::Interrupt, Signal::Quit, Signal::Suspend]);
    assert_eq!(tty.shown(), "abc^C^\\^Z");
    tty.type_in(b"xy\x03");
    assert_eq!(tty.shown(), "^C", "what was not shown yet is not shown any more");
    tty.screen.signals.clear();
    tty.type_in(b"d\r");
    assert_eq!(tty.read().unwrap(), b"d\n");
}

#[test]
fn noflsh_keeps_the_line_and_no_isig_makes_bytes() {
    let mut tty = Tty::new(|t| t.lflag.insert(Lflag::NOFLSH));
    tty.type_in(b"abc\x03d\r");
    assert_eq!(tty.read().unwrap(), b"abcd\n");
    let mut tty = Tty::new(|t| t.lflag.remove(Lflag::ISIG));
    tty.type_in(b"\x03\r");
    assert_eq!(tty.read().unwrap(), b"\x03\n");
    assert!(tty.screen.signals.is_empty());
}

#[test]
fn a_disabled_control_character_is_a_byte() {
    let mut tty = Tty::new(|t| t.cc[Cc::Intr as usize] = 0);
    tty.type_in(b"\0\x03\r");
    assert_eq!(tty.read().unwrap(), b"\0\x03\n");
    assert!(tty.screen.signals.is_empty());
}

#[test]
fn literal_next_quotes_control_characters() {
    let mut tty = cooked();
    tty.type_in(b"\x16\x03\x16\x7f\r");
    assert_eq!(tty.read().unwrap(), b"\x03\x7f\n");
    assert!(tty.screen.signals.is_empty());
    assert_eq!(tty.shown(), "^\x08^C^\x08^?\r\n");
}

#[test]
fn raw_mode_gives_bytes_at_once() {
    let mut tty = raw();
    tty.type_in(b"a\x03\x7f\x04");
    assert_eq!(tty.read().unwrap(), b"a\x03\x7f\x04");
    assert_eq!(tty.shown(), "");
    assert_eq!(tty.read(), None);
}

#[test]
fn vmin_counts_for_poll() {
    let mut tty = raw();
    tty.set(|t| t.cc[Cc::Min as usize] = 3);
    tty.type_in(b"ab");
    assert!(!tty.ldisc.readable(true));
    assert!(tty.ldisc.readable(false));
    tty.type_in(b"c");
    assert!(tty.ldisc.readable(true));
}

#[test]
fn switching_modes_keeps_what_was_typed() {
    let mut tty = cooked();
    tty.type_in(b"half");
    tty.set(|t| t.lflag.remove(Lflag::ICANON));
    assert_eq!(tty.read().unwrap(), b"half");
    tty.type_in(b"more");
    tty.set(|t| t.lflag.insert(Lflag::ICANON));
    assert_eq!(tty.read().unwrap(), b"more");
    assert_eq!(tty.read(), None);
}

#[test]
fn input_mapping_of_newlines() {
    let mut tty = Tty::new(|t| t.iflag = Iflag::IGNCR);
    tty.type_in(b"a\rb\n");
    assert_eq!(tty.read().unwrap(), b"ab\n");
    let mut tty = Tty::new(|t| t.iflag = Iflag::INLCR);
    tty.type_in(b"a\n\x04");
    assert_eq!(tty.read().unwrap(), b"a\r");
    let mut tty = Tty::new(|t| t.iflag = Iflag::empty());
    tty.type_in(b"a\r\n");
    assert_eq!(tty.read().unwrap(), b"a\r\n");
}

#[test]
fn echonl_shows_only_the_newline() {
    let mut tty = Tty::new(|t| {
        t.lflag.remove(Lflag::ECHO);
        t.lflag.insert(Lflag::ECHONL);
    });
    tty.type_in(b"secret\r");
    assert_eq!(tty.shown(), "\r\n");
    assert_eq!(tty.read().unwrap(), b"secret\n");
}

#[test]
fn what_a_program_stopped_is_not_started_from_the_keyboard() {
    let mut tty = cooked();
    tty.ldisc.suspend_output(&mut tty.screen);
    assert!(!tty.ldisc.output(b"x", &mut tty.screen));
    tty.type_in(b"a\x11");
    assert_eq!(tty.shown(), "");
    tty.ldisc.resume_output(&mut tty.screen);
    assert!(tty.ldisc.output(b"x", &mut tty.screen));
    assert_eq!(tty.shown(), "ax", "the echo that waited comes first");
}

#[test]
fn echoprt_shows_what_is_erased() {
    let mut tty = Tty::new(|t| t.lflag.insert(Lflag::ECHOPRT));
    tty.type_in(b"abc\x7f\x7fd");
    assert_eq!(tty.shown(), "abc\\cb/d");
}

#[test]
fn vstop_stops_output_and_vstart_starts_it() {
    let mut tty = cooked();
    tty.type_in(b"\x13");
    assert!(tty.ldisc.output_stopped());
    tty.type_in(b"\x11");
    assert!(!tty.ldisc.output_stopped());
    assert_eq!(tty.read(), None);
}

#[test]
fn output_maps_newlines_and_tabs() {
    let mut tty = Tty::new(|t| t.oflag.insert(Oflag::XTABS));
    tty.ldisc.output(b"ab\tc\nd\te", &mut tty.screen);
    assert_eq!(tty.shown(), "ab      c\r\nd       e");
    tty.set(|t| t.oflag = Oflag::empty());
    tty.ldisc.output(b"a\n\t", &mut tty.screen);
    assert_eq!(tty.shown(), "a\n\t");
}

#[test]
fn a_full_buffer_drops_bytes_but_takes_the_newline() {
    let mut tty = cooked();
    tty.type_in(&vec![b'x'; CAPACITY + 10]);
    assert_eq!(tty.read(), None);
    tty.type_in(b"\r");
    assert_eq!(tty.read().unwrap().len(), CAPACITY + 1);
}

#[test]
fn termios_round_trips_through_its_bytes() {
    let termios = Termios::default();
    let speedless = Termios { input_speed: 0, output_speed: 0, ..termios };
    assert_eq!(Termios::from_bytes(&termios.to_bytes()), speedless);
    let odd = [0xa5; Termios::SIZE];
    assert_eq!(Termios::from_bytes(&odd).to_bytes(), odd);
    assert_eq!(termios.to_bytes()[..4], [0, 5, 0, 0], "ICRNL and IXON");
}

proptest! {
    #[test]
    fn no_typing_and_no_settings_panic_or_invent_input(
        typed in proptest::collection::vec(any::<u8>(), 0..600),
        settings in proptest::array::uniform32(any::<u8>()),
        switch_at in 0usize..600,
    ) {
        let mut tty = cooked();
        let mut read = 0;
        for (at, &byte) in typed.iter().enumerate() {
            if at == switch_at {
                let mut bytes = tty.ldisc.termios().to_bytes();
                bytes[..32].copy_from_slice(&settings);
                tty.ldisc.set_termios(Termios::from_bytes(&bytes), &mut tty.screen);
            }
            tty.type_in(&[byte]);
            if byte % 7 == 0 {
                let available = tty.ldisc.available();
                if let Some(got) = tty.read() {
                    prop_assert!(got.len() <= available);
                    read += got.len();
                }
            }
        }
        // PARMRK doubles one byte.
        prop_assert!(read <= 2 * typed.len());
    }
}
