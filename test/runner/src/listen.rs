//! Listens to a program, with time-outs: a QEMU whose standard streams are the guest's serial port, or a test on the host.
//!
//! A time-out is there for what hangs, and must not end what is only slow because the machine has other things to do. So
//! it does not count time in which the program would have run and others had the CPUs ([`Deadline`]).

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::Outcome;

/// What was heard.
pub enum Heard {
    /// A whole line, without its end.
    Line(String),
    /// It is gone; what was left without a line end comes first as a line.
    End,
    /// Nothing in the given time.
    Silence,
}

/// The end of somebody's patience with a program: it had so much time that it could have used.
#[derive(Clone, Copy)]
pub struct Deadline {
    start: Instant,
    /// How long the program had waited for CPUs at `start`.
    starved: Duration,
    patience: Duration,
}

/// A running QEMU, or another program that reports line by line. Dropping it ends it.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    chunks: Receiver<Vec<u8>>,
    pending: Vec<u8>,
    ended: bool,
    pub log: PathBuf,
}

impl Process {
    /// Starts the program with all its streams in our hands; what it says also goes to the file `log`.
    pub fn start(mut command: Command, log: &Path) -> Outcome<Self> {
        let mut child =
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|e| format!("cannot start {}: {e}", command.get_program().to_string_lossy()))?;
        let (sender, chunks) = channel();
        let file = File::create(log).map_err(|e| format!("cannot write {}: {e}", log.display()))?;
        // QEMU's own complaints matter as much as what the guest says, so both end up in the same stream.
        if let Some(stderr) = child.stderr.take() {
            pump(stderr, sender.clone(), file.try_clone().map_err(|e| e.to_string())?);
        }
        if let Some(stdout) = child.stdout.take() {
            pump(stdout, sender, file);
        }
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, chunks, pending: Vec::new(), ended: false, log: log.into() })
    }

    /// The moment that comes when the program has had `patience` from now on.
    pub fn deadline(&self, patience: Duration) -> Deadline {
        Deadline { start: Instant::now(), starved: self.starved(), patience }
    }

    /// How much of its time is left.
    fn left(&self, deadline: &Deadline) -> Duration {
        let starved = self.starved().saturating_sub(deadline.starved);
        deadline.patience.saturating_sub(deadline.start.elapsed().saturating_sub(starved))
    }

    /// How long the thread of the program that waited longest has waited for a CPU; nothing where the kernel does not tell.
    fn starved(&self) -> Duration {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.child.id())) else {
            return Duration::ZERO;
        };
        let waits = threads.filter_map(|thread| {
            let stat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            waited(&stat)
        });
        waits.max().unwrap_or_default()
    }

    /// The next line, waiting for it until `deadline`.
    pub fn line(&mut self, deadline: Deadline) -> Heard {
        loop {
            if let Some(end) = self.pending.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                return Heard::Line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).into());
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

    /// Waits until it has said `text`, and returns all that came before it; `Err` is what came instead, when the
    /// guest ended or the deadline passed.
    pub fn until(&mut self, text: &str, deadline: Deadline) -> Result<String, String> {
        loop {
            let found = self.pending.windows(text.len()).position(|window| window == text.as_bytes());
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

    /// Types `text` on its standard input.
    pub fn send(&mut self, text: &str) -> Outcome<()> {
        let stdin = self.stdin.as_mut().ok_or("it has no standard input")?;
        stdin
            .write_all(text.as_bytes())
            .and_then(|()| stdin.flush())
            .map_err(|e| format!("it does not listen: {e}"))
    }

    /// Takes one more chunk of output; false when the deadline passed first.
    fn receive(&mut self, deadline: Deadline) -> bool {
        loop {
            let left = self.left(&deadline);
            match self.chunks.recv_timeout(left) {
                Ok(chunk) => self.pending.extend(chunk),
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return false,
                // Perhaps it could not use the time.
                Err(RecvTimeoutError::Timeout) => continue,
            }
            return true;
        }
    }

    /// Gives it `patience` to end by itself; `None` if it did not, and was ended.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = self.deadline(patience);
        while !self.left(&deadline).is_zero() {
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

/// The second number of a `schedstat`: nanoseconds on a run queue without running.
fn waited(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

impl Drop for Process {
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
        Self { terminal: std::io::stderr().is_terminal() }
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

/// What `program` makes of `input`.
pub fn pipe_through(program: &str, arguments: &[&str], input: &[u8]) -> Outcome<Vec<u8>> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot run {program}: {e}"))?;
    let mut stdin = child.stdin.take().ok_or("no pipe")?;
    let output = std::thread::scope(|scope| {
        // Both ends of the pipes have to move at the same time.
        let writer = scope.spawn(move || stdin.write_all(input));
        let output = child.wait_with_output();
        writer.join().map_err(|_| "the writer failed".to_string())?.map_err(|e| e.to_string())?;
        output.map_err(|e| e.to_string())
    })?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{program} failed")) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Heard, Process, waited};

    #[test]
    fn reads_how_long_a_thread_waited() {
        assert_eq!(waited("123 64786 7\n"), Some(Duration::from_nanos(64786)));
        assert_eq!(waited(""), None);
    }

    #[test]
    fn silence_ends_by_patience_and_lines_come_before() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "echo one; exec sleep 1000"]);
        let log = std::env::temp_dir().join(format!("listen-{}", std::process::id()));
        let mut process = Process::start(command, &log).unwrap();
        let patience = process.deadline(Duration::from_secs(100));
        assert!(matches!(process.line(patience), Heard::Line(line) if line == "one"));
        let start = Instant::now();
        let patience = process.deadline(Duration::from_millis(50));
        assert!(matches!(process.line(patience), Heard::Silence));
        assert!(start.elapsed() >= Duration::from_millis(50));
        std::fs::remove_file(log).unwrap();
    }
}
