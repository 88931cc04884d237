//! Runs QEMU: what machine it emulates, and with which accelerator.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::listen::Process;
use crate::{Outcome, workspace};

pub const PROGRAM: &str = "qemu-system-x86_64";

/// A machine to boot. The defaults are those of `make run`, without a terminal.
#[derive(Clone)]
pub struct Machine {
    pub kernel: PathBuf,
    pub initrd: Option<PathBuf>,
    pub command_line: String,
    pub cpus: u32,
    pub memory: &'static str,
    pub cpu: &'static str,
    pub accelerator: &'static str,
    pub extra: Vec<String>,
}

impl Machine {
    pub fn new(kernel: &Path) -> Self {
        Self {
            kernel: kernel.into(),
            initrd: None,
            command_line: "console=ttyS0".into(),
            cpus: 2,
            memory: "512M",
            cpu: "max",
            accelerator: accelerator(),
            extra: Vec::new(),
        }
    }

    pub fn initrd(mut self, path: &Path) -> Self {
        self.initrd = Some(path.into());
        self
    }

    pub fn command_line(mut self, more: &str) -> Self {
        self.command_line.push(' ');
        self.command_line.push_str(more);
        self
    }

    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    pub fn memory(mut self, memory: &'static str) -> Self {
        self.memory = memory;
        self
    }

    pub fn extra(mut self, options: &[&str]) -> Self {
        self.extra.extend(options.iter().map(|option| option.to_string()));
        self
    }

    /// QEMU without any choice of where its serial port goes.
    pub fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(["-accel", self.accelerator, "-cpu", self.cpu, "-M", "q35", "-m", self.memory])
            .args(["-smp", &self.cpus.to_string(), "-no-reboot", "-nic", "none", "-kernel"])
            .arg(&self.kernel)
            .args(["-append", &self.command_line])
            .args(&self.extra);
        if let Some(initrd) = &self.initrd {
            command.arg("-initrd").arg(initrd);
        }
        command
    }

    /// Boots with the serial port in our hands; everything it says also goes to the log called `name`.
    pub fn boot(&self, name: &str) -> Outcome<Process> {
        let mut command = self.command();
        command.args(["-display", "none", "-vga", "none", "-monitor", "none", "-serial", "stdio"]);
        Process::start(command, &workspace::log(name)?)
    }
}

/// `kvm` if it runs a guest here, else `tcg`. A `/dev/kvm` alone proves nothing: nested or stubbed ones open well and then
/// fail or hang, so a boot sector is run that does nothing but tell that it ran.
pub fn accelerator() -> &'static str {
    static CHOICE: OnceLock<&str> = OnceLock::new();
    CHOICE.get_or_init(|| if kvm_works() { "kvm" } else { "tcg" })
}

fn kvm_works() -> bool {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    // mov dx, 0xf4; mov al, 0x15; out dx, al; hlt
    let mut sector = vec![0xba, 0xf4, 0x00, 0xb0, 0x15, 0xee, 0xf4];
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    let Ok(disk) = workspace::build("probe.img") else {
        return false;
    };
    if workspace::write(&disk, sector).is_err() {
        return false;
    }
    let child = Command::new(PROGRAM)
        .args([
            "-accel",
            "kvm",
            "-cpu",
            "max",
            "-M",
            "q35",
            "-m",
            "64M",
            "-display",
            "none",
            "-nodefaults",
            "-no-reboot",
        ])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-drive"])
        .arg(format!("format=raw,readonly=on,file={}", disk.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else { return false };
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.code() == Some(0x15 << 1 | 1),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // Both fail only for a process that has ended.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}
