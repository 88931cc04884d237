//! `make fuzz-syscalls`: random system calls with bad input, on a kernel that checks the order of its locks, and the
//! process tree after every change of it.
//!
//! No panic, no hang, no leak: the program in the guest (test/fuzz/syscalls.c) judges the last two itself, as far as it
//! lives to do so.

use std::time::Duration;

use super::programs;
use crate::ktest::is_panic;
use crate::listen::{Heard, Progress};
use crate::qemu::Machine;
use crate::results::{Failure, Results};
use crate::{Outcome, image, toolchain, workspace};

/// What `make test` runs, in seconds.
const SECONDS: u64 = 120;
/// A round says something every few seconds; who does not die is waited for two minutes.
const SILENCE: Duration = Duration::from_secs(240);
const USAGE: &str = "usage: make fuzz-syscalls SECONDS=n SEED=s";

/// `runner fuzz-syscalls [SECONDS [SEED]]`.
pub fn command(arguments: &[&str]) -> Outcome<bool> {
    let number = |text: &str| text.parse::<u64>().map_err(|_| USAGE.to_string());
    let (seconds, seed) = match arguments {
        [] => (SECONDS, None),
        [seconds] => (number(seconds)?, None),
        [seconds, seed] => (number(seconds)?, Some(number(seed)?)),
        _ => return Err(USAGE.into()),
    };
    let results = run(seconds, seed.unwrap_or_else(fresh_seed))?;
    results.print_failures();
    println!("{}", results.summary());
    Ok(results.failures.is_empty())
}

/// The layer of `make test`: the same seeds every time.
pub fn layer() -> Outcome<Results> {
    run(SECONDS, 1)
}

fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs() * 1000)
}

fn run(seconds: u64, seed: u64) -> Outcome<Results> {
    let kernel = toolchain::ktest_kernel()?;
    let mut archive = image::busybox_root()?;
    archive.file("init", 0o755, &workspace::read(&programs()?.join("syscalls"))?);
    let initrd = image::save(archive, "syscalls.cpio")?;
    println!("   {seconds} s from seed {seed}");
    let mut guest = Machine::new(&kernel)
        .initrd(&initrd)
        .command_line(&format!("check_tree loglevel=3 quiet panic=-1 -- {seconds} {seed}"))
        .boot("fuzz-syscalls")?;
    let progress = Progress::new();
    let mut said: Vec<String> = Vec::new();
    let mut panicked = false;
    let mut deadline = guest.deadline(SILENCE);
    let why = loop {
        match guest.line(deadline) {
            Heard::Line(line) => {
                panicked |= is_panic(&line);
                deadline = guest.deadline(if panicked { Duration::from_secs(3) } else { SILENCE });
                progress.show(&format!("    {line}"));
                if let Some(end) = line.strip_prefix("syscalls: ") {
                    break (end != "done").then(|| end.to_string());
                }
                said.push(line);
            }
            Heard::End => break Some("the guest ended".into()),
            Heard::Silence => break Some("nothing was heard for a while: it hangs".into()),
        }
    };
    progress.clear();
    let Some(why) = why else {
        return Ok(Results { passed: 1, ..Results::default() });
    };
    let from = said.iter().position(|line| is_panic(line)).unwrap_or(said.len().saturating_sub(8));
    let round = said.iter().rev().find(|line| line.starts_with("round ")).cloned().unwrap_or_default();
    let mut failure = Failure::new(format!("system calls from seed {seed}: {why}"));
    for line in said.iter().skip(from).take(30) {
        failure = failure.detail(format!("| {line}"));
    }
    failure = failure.detail(format!("in: {round}")).detail(format!("log: {}", guest.log.display()));
    Ok(Results { failures: vec![failure], ..Results::default() })
}
