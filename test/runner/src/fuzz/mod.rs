//! `make fuzz`: the differential fuzzer. The same seeds drive a tree of processes on Linux and on Foster; the texts that
//! come out must be the same (test/fuzz/fuzz.h tells what they say).
//!
//! `side` runs seeds or scripts on one kernel, `minimise` makes a short script of a seed that differs, `reproducer` turns
//! that into a C program.

mod minimise;
pub mod races;
mod reproducer;
mod side;
pub mod syscalls;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use side::{Block, Side, Work};

use crate::listen::Progress;
use crate::results::{Failure, Results};
use crate::{Outcome, toolchain, workspace};

/// The seeds of `make test`.
const SEEDS: (u64, u64) = (1, 300);
/// After this many differing seeds the rest are not minimised, then not even described: they mostly tell of the same.
const MINIMISED: usize = 3;
const DESCRIBED: usize = 20;

/// `runner fuzz [debian] [A-B]`, `runner fuzz races [A-B]`. With `debian`, Debian's kernel in a guest is compared with, as it is
/// where this machine's Linux cannot be.
pub fn command(arguments: &[&str]) -> Outcome<bool> {
    let (debian, arguments) = match arguments {
        ["races", seeds @ ..] => return races::command(seeds),
        ["debian", seeds @ ..] => (true, seeds),
        seeds => (false, seeds),
    };
    let seeds = match arguments {
        [] => SEEDS,
        [range] => parse_range(range)?,
        _ => return Err("usage: make fuzz SEEDS=a-b".into()),
    };
    let linux = if debian { Side::debian()? } else { Side::linux()? };
    let results = run(linux, seeds)?;
    results.print_failures();
    println!("{}", results.summary());
    Ok(results.failures.is_empty())
}

/// The fixed seeds, as a layer of `make test`.
pub fn all() -> Outcome<Results> {
    run(Side::linux()?, SEEDS)
}

fn parse_range(text: &str) -> Outcome<(u64, u64)> {
    let wrong = || format!("SEEDS is a number or a range like 1-300, not '{text}'");
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let seeds = (from.parse().map_err(|_| wrong())?, to.parse().map_err(|_| wrong())?);
    if seeds.0 <= seeds.1 { Ok(seeds) } else { Err(wrong()) }
}

fn run(linux: Side, seeds: (u64, u64)) -> Outcome<Results> {
    let foster = Side::Guest { kernel: toolchain::kernel()?, name: "foster" };
    let progress = Progress::new();
    let expected = linux.run(&Work::Seeds(seeds), &progress)?;
    let got = foster.run(&Work::Seeds(seeds), &progress)?;
    progress.clear();
    let mut results = Results::default();
    for seed in seeds.0..=seeds.1 {
        let name = seed.to_string();
        let (Some(expected), Some(got)) = (find(&expected, &name), find(&got, &name)) else {
            results.failures.push(Failure::new(format!("seed {seed} did not run on both kernels")));
            continue;
        };
        let Some(difference) = Difference::between(expected, got) else {
            results.passed += 1;
            continue;
        };
        let mut failure = match results.failures.len() {
            0..DESCRIBED => difference.describe(seed),
            _ => Failure::new(format!("seed {seed}")),
        };
        if results.failures.len() < MINIMISED {
            let files = minimise_seed(seed, &linux, &foster, expected, got, &progress)?;
            failure = failure.detail(format!("minimised: {}", files.display()));
        }
        results.failures.push(failure);
    }
    Ok(results)
}

fn find<'a>(blocks: &'a [Block], name: &str) -> Option<&'a Block> {
    blocks.iter().find(|block| block.name == name)
}

/// Where two texts part.
struct Difference {
    /// The number of lines that are the same.
    at: usize,
    /// The operation that did it, as printed.
    operation: String,
    linux: String,
    foster: String,
}

impl Difference {
    fn between(linux: &Block, foster: &Block) -> Option<Self> {
        let same = linux.lines.iter().zip(&foster.lines).take_while(|(a, b)| a == b).count();
        if same == linux.lines.len() && same == foster.lines.len() {
            return None;
        }
        let line = |block: &Block| block.lines.get(same).cloned().unwrap_or_else(|| "(nothing)".into());
        let operation = linux.lines[..same]
            .iter()
            .rev()
            .find_map(|line| operation(line))
            .unwrap_or("the start")
            .to_string();
        Some(Self { at: same, operation, linux: line(linux), foster: line(foster) })
    }

    fn describe(&self, seed: u64) -> Failure {
        Failure::new(format!("seed {seed}: Linux and Foster differ after '{}'", self.operation))
            .detail(format!("Linux:  {}", self.linux.trim()))
            .detail(format!("Foster: {}", self.foster.trim()))
    }
}

/// The operation in a line like "12 p3 kill p5 9"; `None` for what a step led to.
fn operation(line: &str) -> Option<&str> {
    let (number, rest) = line.split_once(' ')?;
    number.parse::<u32>().ok()?;
    Some(rest)
}

/// Writes `build/fuzz/seed-N.txt`, the operations with what both kernels said, and `seed-N.c`. Returns the latter.
fn minimise_seed(
    seed: u64,
    linux: &Side,
    foster: &Side,
    expected: &Block,
    got: &Block,
    progress: &Progress,
) -> Outcome<PathBuf> {
    let same = Difference::between(expected, got).map_or(0, |difference| difference.at);
    // What came after the first difference had no part in it.
    let script: Vec<String> =
        expected.lines.iter().take(same + 1).filter_map(|line| operation(line)).map(String::from).collect();
    let small = minimise::minimise(script, linux, foster, progress)?;
    progress.clear();
    let text = workspace::build(&format!("fuzz/seed-{seed}.txt"))?;
    workspace::write(&text, reproducer::side_by_side(&small))?;
    let program = workspace::build(&format!("fuzz/seed-{seed}.c"))?;
    workspace::write(&program, reproducer::program(seed, &small))?;
    Ok(program)
}

/// The directory of the guest's programs, compiled once: both sides of a comparison run the same ones.
fn programs() -> Outcome<PathBuf> {
    static BUILT: OnceLock<Outcome<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(compile).clone()
}

fn compile() -> Outcome<PathBuf> {
    let out = workspace::build("fuzz/bin")?;
    let output = Command::new("make")
        .arg("-C")
        .arg(workspace::root().join("test/fuzz"))
        .arg(format!("OUT={}", out.display()))
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .map_err(|e| format!("cannot run make: {e}"))?;
    if !output.status.success() {
        return Err(format!("the fuzzer does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::side::Block;
    use super::{Difference, operation, parse_range};

    fn block(lines: &[&str]) -> Block {
        Block { name: "1".into(), lines: lines.iter().map(|line| line.to_string()).collect() }
    }

    #[test]
    fn a_range_is_one_seed_or_two_in_order() {
        assert_eq!(parse_range("7"), Ok((7, 7)));
        assert_eq!(parse_range("3-9"), Ok((3, 9)));
        assert!(parse_range("9-3").is_err());
        assert!(parse_range("x").is_err());
    }

    #[test]
    fn operations_have_a_number() {
        assert_eq!(operation("12 p3 kill -p5 9"), Some("p3 kill -p5 9"));
        assert_eq!(operation("  = 0"), None);
        assert_eq!(operation("  p3 gone"), None);
    }

    #[test]
    fn the_first_difference_is_found_with_its_operation() {
        let linux = block(&["0 init fork p1 17 2", "  = p1", "1 p1 setsid", "  = EPERM"]);
        assert!(Difference::between(&linux, &linux).is_none());
        let foster = block(&["0 init fork p1 17 2", "  = p1", "1 p1 setsid", "  = p1"]);
        let difference = Difference::between(&linux, &foster).unwrap();
        assert_eq!((difference.at, difference.operation.as_str()), (3, "p1 setsid"));
        let short = block(&["0 init fork p1 17 2", "  = p1"]);
        assert_eq!(Difference::between(&linux, &short).unwrap().foster, "(nothing)");
    }
}
