//! The syscall table: number → handler, in the order of the x86_64 ABI.

use super::{Handler, unknown};

/// One more than the highest number that has a handler.
const SIZE: usize = 470;

macro_rules! table {
    ($($number:literal => $handler:path,)*) => {{
        let mut table: [Handler; SIZE] = [unknown; SIZE];
        $(table[$number] = $handler;)*
        table
    }};
}

pub static TABLE: [Handler; SIZE] = table! {
};
