//! Devices: the character devices behind /dev, by their numbers.
//!
//! [`open_char`] is where an open of a device node arrives; [`NODES`] is what devtmpfs shows. Terminals are in [`tty`],
//! the memory devices (null, zero, random, ...) in [`mem`].

use crate::{
    fs::{
        devpts::DEV_PTMX,
        file::{FileOps, OpenFlags},
        inode::DevId,
    },
    prelude::*,
};

pub mod console;
pub mod mem;
pub mod tty;

/// The nodes of devtmpfs: name, number, permissions.
pub const NODES: &[(&str, DevId, u32)] = &[
    ("null", mem::NULL, 0o666),
    ("zero", mem::ZERO, 0o666),
    ("full", mem::FULL, 0o666),
    ("random", mem::RANDOM, 0o666),
    ("urandom", mem::URANDOM, 0o666),
    ("kmsg", mem::KMSG, 0o644),
    ("tty", tty::DEV_TTY, 0o666),
    ("ptmx", DEV_PTMX, 0o666),
    ("console", console::DEV_CONSOLE, 0o600),
    ("ttyS0", console::DEV_TTYS0, 0o660),
];

/// What an open of the device `rdev` gives. ENXIO if there is no such device.
pub fn open_char(rdev: DevId, flags: OpenFlags) -> Result<Box<dyn FileOps>> {
    match rdev {
        tty::DEV_TTY => tty::open_controlling(),
        console::DEV_CONSOLE | console::DEV_TTYS0 => console::open(rdev, flags),
        _ => mem::open(rdev).ok_or(ENXIO),
    }
}
