//! x86_64: entry from the boot loader, port I/O, page-table formats.

pub(crate) mod boot;
pub(crate) mod io;
