//! `make run` and `make debug`: a person's terminal on the guest's serial port.

use std::path::Path;
use std::process::Command;

use crate::cpio::Archive;
use crate::qemu::Machine;
use crate::{Outcome, image, toolchain, workspace};

/// A root file system with busybox, the C suite's programs if they build, and the start-up script of an interactive guest.
pub fn interactive_root() -> Outcome<Archive> {
    let mut archive = image::busybox_root()?;
    if workspace::root().join("test/c/Makefile").exists() {
        image::add_programs(&mut archive, &image::c_suite()?)?;
    }
    let scripts = workspace::root().join("test/guest");
    archive.file("init", 0o755, &workspace::read(&scripts.join("init.sh"))?);
    archive.file("etc/profile", 0o644, &workspace::read(&scripts.join("profile.sh"))?);
    Ok(archive)
}

fn interactive_machine() -> Outcome<Machine> {
    let kernel = toolchain::kernel()?;
    let initrd = image::save(interactive_root()?, "shell.cpio")?;
    Ok(Machine::new(&kernel).initrd(&initrd).command_line("loglevel=3"))
}

/// Boots to a shell; true if the guest powered itself off.
pub fn shell() -> Outcome<bool> {
    let machine = interactive_machine()?;
    eprintln!(
        "foster: booting ({}, {} CPUs, {}); Ctrl-A x quits QEMU",
        machine.accelerator, machine.cpus, machine.memory
    );
    foreground(&mut machine.command())
}

/// As `shell`, but the guest's CPUs wait for a debugger.
pub fn debug() -> Outcome<bool> {
    let mut machine = interactive_machine()?;
    // Hardware virtualization has no single-stepping of the first instructions worth the name.
    machine.accelerator = "tcg";
    let kernel = Path::new("build/foster");
    eprintln!("foster: QEMU waits for a debugger; from the top of the workspace, in another terminal:");
    eprintln!();
    eprintln!(
        "    gdb {} -ex 'target remote :1234' -ex 'hbreak __ostd_kernel_main' -ex continue",
        kernel.display()
    );
    eprintln!();
    foreground(machine.command().args(["-s", "-S"]))
}

/// Runs QEMU on this terminal, which carries the guest's serial port and QEMU's monitor (Ctrl-A c). QEMU puts the terminal
/// into raw mode, so that ^C reaches the guest, and restores it. (`-nographic` would do the same, but let the firmware
/// clear the screen first.)
fn foreground(command: &mut Command) -> Outcome<bool> {
    command.args(["-display", "none", "-vga", "none", "-serial", "mon:stdio"]);
    let status = command.status().map_err(|e| format!("cannot start QEMU: {e}"))?;
    Ok(status.success())
}
