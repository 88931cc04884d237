//! The speeds of a line: as the control modes name them, and as numbers (termios(3), `struct termios2`).
//!
//! No line here has a speed; what programs set is kept for them.

use ldisc::Termios;

/// The speeds that have a name, in its order.
const NAMED: [u32; 31] = [
    0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400, 57600, 115_200,
    230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000, 2_500_000,
    3_000_000, 3_500_000, 4_000_000,
];

/// The bits of the control modes that name a speed, and the one that says that it is among the upper names.
const CBAUD: u32 = 0o10017;
const CBAUDEX: u32 = 0o10000;
/// The name of a speed that is given as a number.
const BOTHER: u32 = CBAUDEX;
/// Where the name of the input's speed is, if that is not the output's.
const IBSHIFT: u32 = 16;

/// The speed of a name; `number` is what a program gave beside it.
fn speed(name: u32, number: u32) -> u32 {
    match name & CBAUD {
        BOTHER => number,
        name if name & CBAUDEX != 0 => NAMED.get((name & !CBAUDEX) as usize + 15).copied().unwrap_or(0),
        name => NAMED[name as usize & 15],
    }
}

/// Sets the speeds to what the control modes say.
pub fn settle(termios: &mut Termios) {
    let names = termios.cflag.bits();
    let output = speed(names, termios.output_speed);
    termios.input_speed = match names >> IBSHIFT & CBAUD {
        0 => output,
        name => speed(name, termios.input_speed),
    };
    termios.output_speed = output;
}
