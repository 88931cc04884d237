//! `make fuzz RACES=a-b`: operations at the same time on two CPUs. What holds afterwards is checked by the program in the
//! guest (test/fuzz/race.c) and, after every change of the tree, by the kernel.

use std::time::Duration;

use super::{parse_range, side};
use crate::ktest::is_panic;
use crate::listen::{Heard, Progress};
use crate::qemu::Machine;
use crate::results::{Failure, Results};
use crate::{Outcome, toolchain};

/// The seeds of `make test`, each one tree, and the rounds of operations in each.
const SEEDS: (u64, u64) = (1, 15);
const ROUNDS: u64 = 40;
const SILENCE: Duration = Duration::from_secs(300);

/// `runner fuzz races [A-B]`.
pub fn command(arguments: &[&str]) -> Outcome<bool> {
    let seeds = match arguments {
        [] => SEEDS,
        [range] => parse_range(range)?,
        _ => return Err("usage: make fuzz RACES=a-b".into()),
    };
    let results = run(seeds)?;
    results.print_failures();
    println!("{}", results.summary());
    Ok(results.failures.is_empty())
}

/// The fixed seeds, as a layer of `make test`.
pub fn layer() -> Outcome<Results> {
    run(SEEDS)
}

fn run((from, to): (u64, u64)) -> Outcome<Results> {
    let kernel = toolchain::ktest_kernel()?;
    let initrd = side::initrd(&super::programs()?.join("fuzz"), "")?;
    let arguments = format!("check_tree loglevel=3 quiet panic=-1 -- -n {ROUNDS} races {from}-{to}");
    let mut guest = Machine::new(&kernel).initrd(&initrd).command_line(&arguments).boot("fuzz-races")?;
    let progress = Progress::new();
    let mut results = Results::default();
    let mut said: Vec<String> = Vec::new();
    let mut seed = String::from("the start");
    let mut panicked = false;
    let mut deadline = guest.deadline(SILENCE);
    let end = loop {
        match guest.line(deadline) {
            Heard::Line(line) if line.starts_with("fuzz: ") => break None,
            Heard::Line(line) => {
                panicked |= is_panic(&line);
                deadline = guest.deadline(if panicked { Duration::from_secs(3) } else { SILENCE });
                if line.starts_with("seed ") {
                    progress.show(&format!("    races: {line} of {to}"));
                    seed = line;
                } else if line != "end" {
                    said.push(line);
                } else if said.is_empty() {
                    results.passed += 1;
                } else {
                    results.failures.push(failure(
                        &seed,
                        "what must hold does not",
                        &std::mem::take(&mut said),
                    ));
                }
            }
            Heard::End => break Some("the guest ended"),
            Heard::Silence => break Some("nothing was heard for five minutes"),
        }
    };
    progress.clear();
    if let Some(why) = end {
        let log = format!("log: {}", guest.log.display());
        results.failures.push(failure(&seed, why, &said).detail(log));
    }
    Ok(results)
}

fn failure(seed: &str, why: &str, said: &[String]) -> Failure {
    let failure = Failure::new(format!("races, {seed}: {why}"));
    said.iter().take(40).fold(failure, |failure, line| failure.detail(line.clone()))
}
