//! `make test`: all layers, the cheapest first, and one line at the end that says how it went.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::listen::{Heard, Process, Progress};
use crate::results::{Failure, Results};
use crate::{Outcome, boot, fuzz, ktest, rules, session, suite, toolchain, workspace};

/// A layer: its name on the command line, what it is, and how it runs.
type Layer = (&'static str, &'static str, fn() -> Outcome<Results>);

const LAYERS: [Layer; 12] = [
    ("host", "host tests of the pure crates and of the runner", host),
    ("ktest", "unit tests in the booted kernel", kernel_tests),
    ("linux", "C suite on this machine's Linux", || suite::on_host(&[])),
    ("guest1", "C suite in the guest, 1 CPU", || guest_suite(1)),
    ("guest2", "C suite in the guest, 2 CPUs", || guest_suite(2)),
    ("checked", "races with every change of the process tree checked", || suite::checked(CHECKED)),
    ("boot", "boots with good, odd and bad images", boot::all),
    ("fuzz", "process trees from 300 seeds, on Linux and on Foster", fuzz::all),
    ("races", "process trees whose operations race", fuzz::races::layer),
    ("syscalls", "random system calls with bad input, 2 minutes", fuzz::syscalls::layer),
    ("rules", "the table of rules and assertions", rules::check),
    ("session", "shell sessions on the guest's console", || session::on_foster(&[])),
];

/// What runs in the layer `checked`.
const CHECKED: &[&str] =
    &["races", "races_ns", "reparent", "groups", "orphan_pgrp", "wait_events", "pdeath", "signal_stop"];

/// Runs the layers of these names, or all; true if nothing failed.
pub fn command(names: &[&str]) -> Outcome<bool> {
    if let Some(unknown) = names.iter().find(|name| LAYERS.iter().all(|layer| layer.0 != **name)) {
        let known = LAYERS.map(|layer| layer.0).join(", ");
        return Err(format!("there is no layer '{unknown}'; there are {known}"));
    }
    let mut total = Results::default();
    for (name, what, run) in LAYERS {
        if !names.is_empty() && !names.contains(&name) {
            continue;
        }
        println!("== {what}");
        let start = Instant::now();
        // A layer that could not run at all is a failure like another, and no reason to leave the rest undone.
        let results = run().unwrap_or_else(|why| Results {
            failures: vec![Failure::new(format!("{name}: {why}"))],
            ..Results::default()
        });
        results.print_failures();
        results.print_reasons();
        println!("   {} ({} s)", results.summary(), start.elapsed().as_secs());
        total.add(results);
    }
    println!();
    println!("{}", total.summary());
    Ok(total.failures.is_empty())
}

fn guest_suite(cpus: u32) -> Outcome<Results> {
    suite::in_guest(&toolchain::kernel()?, cpus, &format!("suite-{cpus}cpu"), &[])
}

fn kernel_tests() -> Outcome<Results> {
    let tally = ktest::run("", false)?;
    let failures = tally.failed.into_iter().map(|(name, why)| Failure::new(name).detail(why)).collect();
    Ok(Results { passed: tally.passed, failures, ..Results::default() })
}

/// `cargo test` of the workspace's default members.
fn host() -> Outcome<Results> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--no-fail-fast"]).current_dir(workspace::root());
    let mut process = Process::start(command, &workspace::log("host")?)?;
    let mut results = Results::default();
    let progress = Progress::new();
    let mut tests = 0;
    loop {
        match process.line(process.deadline(Duration::from_secs(1800))) {
            Heard::Line(line) => {
                progress.show(&format!("    {}", line.trim_start()));
                match parse(&line) {
                    Some(CargoLine::Failed(name)) => results.failures.push(Failure::new(name)),
                    Some(CargoLine::Result { passed, ignored }) => {
                        tests += 1;
                        results.passed += passed;
                        results.skipped += ignored;
                    }
                    None => {}
                }
            }
            Heard::End => break,
            Heard::Silence => {
                results.failures.push(Failure::new("cargo test: nothing was heard for half an hour"));
                break;
            }
        }
    }
    progress.clear();
    let status = process.wait(Duration::from_secs(60));
    let good = status.is_some_and(|status| status.success());
    if (!good || tests == 0) && results.failures.is_empty() {
        results.failures.push(Failure::new("cargo test did not come to its end"));
    }
    if !results.failures.is_empty() {
        results
            .failures
            .push(Failure::new("cargo test: see").detail(format!("log: {}", process.log.display())));
    }
    Ok(results)
}

#[derive(Debug, PartialEq)]
enum CargoLine<'a> {
    Failed(&'a str),
    Result { passed: usize, ignored: usize },
}

fn parse(line: &str) -> Option<CargoLine<'_>> {
    // test result: ok. 11 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
    let Some(result) = line.strip_prefix("test result: ") else {
        return line.strip_prefix("test ")?.strip_suffix(" ... FAILED").map(CargoLine::Failed);
    };
    let (_, counts) = result.split_once(". ")?;
    let count = |what: &str| {
        counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse::<usize>().ok())
    };
    Some(CargoLine::Result { passed: count("passed")?, ignored: count("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::{CargoLine, parse};

    #[test]
    fn reads_cargos_lines() {
        let line = "test result: FAILED. 11 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(parse(line), Some(CargoLine::Result { passed: 11, ignored: 2 }));
        assert_eq!(parse("test a::b ... FAILED"), Some(CargoLine::Failed("a::b")));
        assert_eq!(parse("test a::b ... ok"), None);
    }
}
