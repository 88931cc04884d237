//! Foster: a Linux-compatible framekernel whose heart is the process tree.
//!
//! This crate is safe Rust; whatever needs `unsafe` is in `ostd`. Read [`process`] first.
#![no_std]
#![no_main]
#![deny(unsafe_code)]
extern crate alloc;

mod device;
mod error;
mod fs;
mod ipc;
mod lock_order;
mod mm;
mod net;
mod prelude;
mod process;
mod sched;
mod syscall;
mod time;

use ostd::{cpu, task, user};

use crate::prelude::*;

ostd::kernel_main!(main);

/// What runs on the boot CPU when the framework is up. To return is to power off: with PID 1 running, its task ends instead.
fn main() {
    #[cfg(feature = "ktest")]
    if !checks_tree() {
        return ktests();
    }
    match start() {
        Ok(()) => task::exit(),
        Err(error) => error!("can't start: {error}"),
    }
}

/// Brings up the subsystems in the order in which they need one another; the last step makes PID 1.
fn start() -> Result<()> {
    services()?;
    process::init::start()
}

/// Everything but PID 1.
fn services() -> Result<()> {
    sched::init();
    user::mem::set_page_fault_handler(mm::handle_kernel_access);
    process::tree::init()?;
    mm::init_vdso()?;
    process::oom::init();
    time::deferred::start()?;
    fs::init();
    fill_root();
    device::console::init()?;
    cpu::start_aps();
    sched::reserve(process::rlimit::max_tasks())
}

/// Unpacks the initramfs, which gives its own memory back while and after it is read.
fn fill_root() {
    let Some(image) = ostd::boot::take_initramfs() else {
        warn!("there is no initramfs");
        return;
    };
    if let Err(error) = fs::initramfs::unpack(&image, &fs::root()) {
        error!("initramfs: {error}");
    }
}

/// With `check_tree` the kernel of the unit tests boots as the other, and checks the process tree after every change.
#[cfg(feature = "ktest")]
fn checks_tree() -> bool {
    let asked = ostd::boot::cmdline().split_ascii_whitespace().any(|word| word == "check_tree");
    if asked {
        process::check::start();
    }
    asked
}

#[cfg(feature = "ktest")]
fn ktests() {
    if let Err(error) = services() {
        panic!("can't start: {error}");
    }
    let option = |name| {
        let words = || ostd::boot::cmdline().split_ascii_whitespace();
        words()
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value)
    };
    ostd::ktest::run_all(option("ktest.filter"), option("ktest.skip").parse().unwrap_or(0))
}
