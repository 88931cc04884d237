//! x86_64: entry from the boot loader, port I/O, page-table formats, per-CPU data, traps, interrupt controllers.

pub(crate) mod boot;
pub(crate) mod cpu_local;
pub(crate) mod ex_table;
pub(crate) mod io;
pub(crate) mod mem;
pub(crate) mod paging;
#[cfg(target_os = "none")]
mod string;
