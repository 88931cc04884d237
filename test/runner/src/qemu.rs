//! Runs QEMU: what machine it emulates, and a listener on the guest's serial port that knows time-outs.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

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
        self.extra
            .extend(options.iter().map(|option| option.to_string()));
        self
    }

    /// QEMU without any choice of where its serial port goes.
    pub fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args([
                "-accel",
                self.accelerator,
                "-cpu",
                self.cpu,
                "-M",
                "q35",
                "-m",
                self.memory,
            ])
            .args([
                "-smp",
                &self.cpus.to_string(),
                "-no-reboot",
                "-nic",
                "none",
                "-kernel",
            ])
            .arg(&self.kernel)
            .args(["-append", &self.command_line])
            .args(&self.extra);
        if let Some(initrd) = &self.initrd {
            command.arg("-initrd").arg(initrd);
        }
        command
    }

    /// Boots with the serial port in our hands; everything it says also goes to the log called `name`.
    pub fn boot(&self, name: &str) -> Outcome<Guest> {
        let mut command = self.command();
        command
            .args([
                "-display", "none", "-vga", "none", "-monitor", "none", "-serial", "stdio",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Guest::start(command, &workspace::log(name)?)
    }
}

/// What the serial port gave.
pub enum Heard {
    /// A whole line, without its end.
    Line(String),
    /// The guest is gone; what was left without a line end comes first as a line.
    End,
    /// Nothing in the given time.
    Silence,
}

/// A running QEMU. Dropping it ends it.
pub struct Guest {
    child: Child,
    stdin: Option<ChildStdin>,
    chunks: Receiver<Vec<u8>>,
    pending: Vec<u8>,
    ended: bool,
    pub log: PathBuf,
}

impl Guest {
    fn start(mut command: Command, log: &Path) -> Outcome<Self> {
        let mut child = command
            .spawn()
            .map_err(|e| format!("cannot start {PROGRAM}: {e}"))?;
        let (sender, chunks) = channel();
        let file = File::create(log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        // QEMU's own complaints matter as much as what the guest says, so both end up in the same stream.
        if let Some(stderr) = child.stderr.take() {
            pump(
                stderr,
                sender.clone(),
                file.try_clone().map_err(|e| e.to_string())?,
            );
        }
        if let Some(stdout) = child.stdout.take() {
            pump(stdout, sender, file);
        }
        let stdin = child.stdin.take();
        Ok(Self {
            child,
            stdin,
            chunks,
            pending: Vec::new(),
            ended: false,
            log: log.into(),
        })
    }

    /// The next line, waiting for it until `deadline`.
    pub fn line(&mut self, deadline: Instant) -> Heard {
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Heard::Line(
                    String::from_utf8_lossy(&line)
                        .trim_end_matches(['\r', '\n'])
                        .into(),
                );
            }
            if self.ended {
                if self.pending.is_empty() {
                    return Heard::End;
                }
                let rest = std::mem::take(&mut self.pending);
                return Heard::Line(String::from_utf8_lossy(&rest).trim_end().into());
            }
            if !self.receive(deadline) {
                return Heard::Silence;
            }
        }
    }

    /// Waits until the guest has said `text`, and returns all that came before it; `Err` is what came instead, when the
    /// guest ended or the deadline passed.
    pub fn until(&mut self, text: &str, deadline: Instant) -> Result<String, String> {
        loop {
            let found = self
                .pending
                .windows(text.len())
                .position(|window| window == text.as_bytes());
            if let Some(at) = found {
                let before: Vec<u8> = self.pending.drain(..at).collect();
                self.pending.drain(..text.len());
                return Ok(String::from_utf8_lossy(&before).into());
            }
            if self.ended || !self.receive(deadline) {
                return Err(String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into());
            }
        }
    }

    /// Types `text` on the guest's serial port.
    pub fn send(&mut self, text: &str) -> Outcome<()> {
        let stdin = self.stdin.as_mut().ok_or("the guest has no serial input")?;
        stdin
            .write_all(text.as_bytes())
            .and_then(|()| stdin.flush())
            .map_err(|e| format!("the guest does not listen: {e}"))
    }

    /// Takes one more chunk of output; false when the deadline passed first.
    fn receive(&mut self, deadline: Instant) -> bool {
        match self
            .chunks
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            Ok(chunk) => self.pending.extend(chunk),
            Err(RecvTimeoutError::Disconnected) => self.ended = true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
        true
    }

    /// Waits for QEMU to end by itself until `deadline`; `None` if it did not, and was ended.
    pub fn wait(&mut self, deadline: Instant) -> Option<ExitStatus> {
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.end();
        None
    }

    fn end(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.end();
    }
}

/// One line on the terminal that says what goes on, written over by the next; silent when no person is watching.
pub struct Progress {
    terminal: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }

    pub fn show(&self, text: &str) {
        if self.terminal {
            let text: String = text.chars().take(100).collect();
            eprint!("\r\x1b[K{text}");
        }
    }

    pub fn clear(&self) {
        self.show("");
    }
}

/// Copies a stream to the log and to the listener until it ends.
fn pump(mut stream: impl Read + Send + 'static, listener: Sender<Vec<u8>>, mut log: File) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(size) = stream.read(&mut buffer) {
            if size == 0
                || log.write_all(&buffer[..size]).is_err()
                || listener.send(buffer[..size].to_vec()).is_err()
            {
                break;
            }
        }
    });
}

/// `kvm` if it runs a guest here, else `tcg`. A `/dev/kvm` alone proves nothing: nested or stubbed ones open well and then
/// fail or hang, so a boot sector is run that does nothing but tell that it ran.
pub fn accelerator() -> &'static str {
    static CHOICE: OnceLock<&str> = OnceLock::new();
    CHOICE.get_or_init(|| if kvm_works() { "kvm" } else { "tcg" })
}

fn kvm_works() -> bool {
    if File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_err()
    {
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
