//! The `log` crate's sink: lines `[    0.123456] message` on the console.
//!
//! The level comes from the command line as in Linux: `loglevel=N` prints what is more severe than `N`
//! (4 = errors and warnings up to 3.., 7 = info, 8 = debug), `quiet` means 4.
