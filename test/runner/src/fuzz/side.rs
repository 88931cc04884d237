//! One of the two kernels that are compared: seeds or scripts in, texts out.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::programs;
use crate::cpio::Archive;
use crate::ktest::is_panic;
use crate::listen::{Heard, Process, Progress};
use crate::qemu::Machine;
use crate::{Outcome, bench, image, workspace};

/// The fuzzer gives up on a step after a minute.
const SILENCE: Duration = Duration::from_secs(240);
/// What the fuzzer ends with where it cannot make a pid namespace.
const NO_NAMESPACE: i32 = 77;
const MAX_BOOTS: usize = 12;

/// Whether the kernel to compare with is Debian's.
static OLD: AtomicBool = AtomicBool::new(false);

pub enum Side {
    /// This machine's Linux.
    Host,
    Guest {
        kernel: PathBuf,
        name: &'static str,
    },
}

pub enum Work {
    Seeds((u64, u64)),
    /// Each script is a list of operations.
    Scripts(Vec<Vec<String>>),
}

/// What one seed or script led to.
#[derive(Clone, Debug)]
pub struct Block {
    pub name: String,
    pub lines: Vec<String>,
}

impl Side {
    /// Linux: this machine's own if we may make namespaces here, else Debian's kernel in a guest.
    pub fn linux() -> Outcome<Self> {
        let status = Command::new(programs()?.join("fuzz"))
            .args(["-n", "1", "seeds", "1-1"])
            .output()
            .map_err(|e| format!("cannot run the fuzzer: {e}"))?
            .status;
        if status.success() {
            return Ok(Self::Host);
        }
        if status.code() != Some(NO_NAMESPACE) {
            return Err(format!("the fuzzer does not run here: {status}"));
        }
        eprintln!(
            "foster: the fuzzer can make no namespaces here (it needs root, and no chroot); Debian's kernel in QEMU stands in for this Linux"
        );
        Self::debian()
    }

    /// Debian's kernel in a guest. It is older than what Foster follows: both sides leave out what it answers otherwise.
    pub fn debian() -> Outcome<Self> {
        OLD.store(true, Relaxed);
        Ok(Self::Guest { kernel: bench::linux::kernel()?.elf, name: "linux" })
    }

    /// The block of every seed or script, in order; one that ended the kernel says so in its last line.
    pub fn run(&self, work: &Work, progress: &Progress) -> Outcome<Vec<Block>> {
        let names = work.names();
        let mut blocks: Vec<Block> = Vec::new();
        for boot in 1..=MAX_BOOTS {
            let mut process = self.start(work, blocks.len(), boot)?;
            let why = listen(&mut process, &mut blocks, |done| {
                progress.show(&format!("    {}: {} of {}", self.name(), done, names.len()));
            });
            if blocks.len() >= names.len() {
                return Ok(blocks);
            }
            if let Some(why) = why {
                let name = names[blocks.len().saturating_sub(1)].clone();
                match blocks.last_mut() {
                    // It began and did not end: the next boot goes on after it.
                    Some(last) if last.name == name => last.lines.push(why),
                    _ => return Err(format!("{}: {why}; log: {}", self.name(), process.log.display())),
                }
            }
        }
        Ok(blocks)
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Host => "linux",
            Self::Guest { name, .. } => name,
        }
    }

    fn start(&self, work: &Work, done: usize, boot: usize) -> Outcome<Process> {
        let program = programs()?.join("fuzz");
        let arguments = work.arguments(done);
        let script = work.script(done);
        let log =
            format!("fuzz-{}{}", self.name(), if boot > 1 { format!("-{boot}") } else { String::new() });
        match self {
            Self::Host => {
                let mut command = Command::new(program);
                command.args(arguments.split(' '));
                if let Some(script) = script {
                    let path = workspace::build("fuzz/script")?;
                    workspace::write(&path, script)?;
                    command.args(["script"]).arg(path);
                }
                Process::start(command, &workspace::log(&log)?)
            }
            Self::Guest { kernel, .. } => {
                let (initrd, arguments) = match script {
                    Some(script) => (initrd(&program, &script)?, format!("{arguments} script /script")),
                    None => (initrd(&program, "")?, arguments),
                };
                Machine::new(kernel)
                    .initrd(&initrd)
                    .command_line(&format!("loglevel=3 quiet panic=-1 -- {arguments}"))
                    .boot(&log)
            }
        }
    }
}

impl Work {
    fn names(&self) -> Vec<String> {
        match self {
            Self::Seeds((from, to)) => (*from..=*to).map(|seed| seed.to_string()).collect(),
            Self::Scripts(scripts) => (0..scripts.len()).map(|i| format!("s{i}")).collect(),
        }
    }

    fn arguments(&self, done: usize) -> String {
        let old = if OLD.load(Relaxed) { "-o " } else { "" };
        match self {
            Self::Seeds((from, to)) => format!("{old}-v seeds {}-{to}", from + done as u64),
            Self::Scripts(_) => format!("{old}-v"),
        }
    }

    fn script(&self, done: usize) -> Option<String> {
        let Self::Scripts(scripts) = self else {
            return None;
        };
        let mut text = String::new();
        for (i, script) in scripts.iter().enumerate().skip(done) {
            text += &format!("seed s{i}\n{}\n", script.join("\n"));
        }
        Some(text)
    }
}

/// Takes lines into blocks until it ends; why it ended, if that was not well. A block that was begun stays.
fn listen(process: &mut Process, blocks: &mut Vec<Block>, tell: impl Fn(usize)) -> Option<String> {
    let mut open = false;
    let mut deadline = process.deadline(SILENCE);
    let mut panic: Option<String> = None;
    loop {
        match process.line(deadline) {
            Heard::Line(line) => {
                if panic.is_none() {
                    deadline = process.deadline(SILENCE);
                }
                if is_panic(&line) {
                    // What follows is its backtrace, which is for the log.
                    deadline = process.deadline(Duration::from_secs(3));
                    panic.get_or_insert(line);
                } else if let Some(name) = line.strip_prefix("seed ") {
                    tell(blocks.len());
                    blocks.push(Block { name: name.into(), lines: Vec::new() });
                    open = true;
                } else if line == "end" {
                    open = false;
                } else if line.starts_with("fuzz: ") && !open {
                    return (line != "fuzz: done" && line != "fuzz: stuck").then_some(line);
                } else if open && let Some(block) = blocks.last_mut() {
                    block.lines.push(line);
                }
            }
            Heard::End => return Some(panic.unwrap_or_else(|| "the kernel ended".into())),
            Heard::Silence => return Some(panic.unwrap_or_else(|| "nothing was heard for minutes".into())),
        }
    }
}

/// A root file system with the fuzzer as its init.
pub fn initrd(program: &Path, script: &str) -> Outcome<PathBuf> {
    let mut archive = Archive::new();
    for directory in ["dev", "proc", "tmp"] {
        archive.directory(directory);
    }
    archive.character_device("dev/console", 0o600, 5, 1);
    archive.file("init", 0o755, &workspace::read(program)?);
    archive.file("script", 0o644, script.as_bytes());
    image::save(archive, "fuzz.cpio")
}
