//! `cargo ktest [filter]`: the unit tests inside the booted kernel.
//!
//! The kernel reports on its serial port, each event on a line of its own:
//!
//! ```text
//! ktest: test process::wait::reaps_in_order ...
//! ktest: test process::wait::reaps_in_order ... ok
//! ktest: test mm::fork::shares_frames ... FAILED: assertion failed: ...
//! ktest: 41 passed, 1 failed, 0 filtered out
//! ```
//!
//! A test that panics or hangs takes its kernel with it. The runner then boots another, which skips as many tests as have
//! begun (`ktest.skip`), so that one bad test never hides the result of another.

use std::time::Duration;

use crate::listen::Heard;
use crate::qemu::Machine;
use crate::{Outcome, toolchain};

/// The longest that a kernel may take to its first line, and a test to its end.
const PATIENCE: Duration = Duration::from_secs(300);

/// What QEMU's debug-exit device turns the kernel's "all passed" (0x10) into.
const ALL_PASSED: i32 = 0x10 << 1 | 1;

#[derive(Default)]
pub struct Tally {
    pub passed: usize,
    /// Name and reason of each failure.
    pub failed: Vec<(String, String)>,
    pub filtered_out: usize,
}

/// One line of the protocol.
#[derive(Debug, PartialEq)]
enum Event<'a> {
    Begun(&'a str),
    Passed(&'a str),
    Failed(&'a str, &'a str),
    Summary { filtered_out: usize },
}

fn parse(line: &str) -> Option<Event<'_>> {
    let said = &line[line.find("ktest: ")? + "ktest: ".len()..];
    if let Some(test) = said.strip_prefix("test ") {
        let (name, result) = test.split_once(" ...")?;
        let result = result.trim();
        return Some(match result.strip_prefix("FAILED") {
            Some(reason) => Event::Failed(name, reason.trim_start_matches([':', ' '])),
            None if result.ends_with("ok") => Event::Passed(name),
            None => Event::Begun(name),
        });
    }
    let mut parts = said.split(", ");
    parts.next()?.strip_suffix(" passed")?.parse::<usize>().ok()?;
    parts.next()?.strip_suffix(" failed")?.parse::<usize>().ok()?;
    let filtered_out = parts.next()?.strip_suffix(" filtered out")?.parse().ok()?;
    Some(Event::Summary { filtered_out })
}

/// `cargo ktest`: true if all selected tests passed.
pub fn command(filter: &str) -> Outcome<bool> {
    let tally = run(filter, true)?;
    println!(
        "\nktest result: {}. {} passed, {} failed, {} filtered out",
        if tally.failed.is_empty() { "ok" } else { "FAILED" },
        tally.passed,
        tally.failed.len(),
        tally.filtered_out
    );
    Ok(tally.failed.is_empty())
}

/// Runs the tests whose names contain `filter`. With `verbose`, every line of the guest is shown as it comes.
pub fn run(filter: &str, verbose: bool) -> Outcome<Tally> {
    if !filter.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
        return Err(format!("'{filter}' cannot be part of a test's name"));
    }
    let kernel = toolchain::ktest_kernel()?;
    let mut tally = Tally::default();
    let mut begun = 0;
    for boot in 1.. {
        let machine = Machine::new(&kernel)
            .memory("256M")
            .command_line(&format!("ktest.filter={filter} ktest.skip={begun}"))
            .extra(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        let name = if boot == 1 { "ktest".into() } else { format!("ktest-{boot}") };
        let before = begun;
        if one_boot(&machine, &name, verbose, &mut begun, &mut tally)? {
            return Ok(tally);
        }
        if begun == before {
            let last = tally.failed.last().map(|(_, why)| why.clone()).unwrap_or_default();
            return Err(format!("the ktest kernel never got to a test: {last} (see build/logs/{name}.log)"));
        }
    }
    unreachable!("the loop ends by return: each boot begins at least one more test")
}

/// True if this boot ran all tests that were left.
fn one_boot(
    machine: &Machine,
    name: &str,
    verbose: bool,
    begun: &mut usize,
    tally: &mut Tally,
) -> Outcome<bool> {
    let mut guest = machine.boot(name)?;
    let mut running: Option<String> = None;
    let mut panic = String::new();
    let mut summary = false;
    let mut deadline = guest.deadline(PATIENCE);
    let end = loop {
        let line = match guest.line(deadline) {
            Heard::Line(line) => line,
            Heard::End => break "the kernel ended in it",
            Heard::Silence => break "it did not end in time",
        };
        let event = parse(&line);
        if verbose && !matches!(event, Some(Event::Begun(_) | Event::Summary { .. })) {
            println!("{}", line.trim_start_matches("ktest: "));
        }
        match event {
            Some(Event::Begun(test)) => {
                *begun += 1;
                deadline = guest.deadline(PATIENCE);
                running = Some(test.into());
            }
            Some(Event::Passed(test)) => {
                *begun += usize::from(running.as_deref() != Some(test));
                tally.passed += 1;
                running = None;
            }
            Some(Event::Failed(test, reason)) => {
                *begun += usize::from(running.as_deref() != Some(test));
                tally.failed.push((test.into(), reason.into()));
                running = None;
            }
            Some(Event::Summary { filtered_out }) => {
                tally.filtered_out = filtered_out;
                summary = true;
            }
            None if panic.is_empty() && is_panic(&line) => {
                panic = line;
                // What follows is the report; a kernel that hangs in it must not cost the whole time-out.
                deadline = guest.deadline(Duration::from_secs(20));
            }
            None => {}
        }
    };
    let status = guest.wait(Duration::from_secs(20));
    if let Some(test) = running {
        let reason = if panic.is_empty() { end.to_string() } else { panic.clone() };
        if verbose {
            println!("test {test} ... FAILED: {reason}");
        }
        tally.failed.push((test, reason));
    }
    if summary && tally.failed.is_empty() && status.and_then(|status| status.code()) != Some(ALL_PASSED) {
        tally
            .failed
            .push(("exit status".into(), format!("every test passed, yet QEMU ended with {status:?}")));
    }
    if !summary && !panic.is_empty() && verbose {
        println!("kernel panic; the whole report is in {}", guest.log.display());
    }
    if !summary && *begun == 0 {
        let why = if panic.is_empty() { "no line of the test protocol".into() } else { panic };
        return Err(format!("the ktest kernel never got to a test: {why} (see {})", guest.log.display()));
    }
    Ok(summary)
}

/// Does this line open a report of a kernel panic?
pub fn is_panic(line: &str) -> bool {
    ["PANIC", "panicked at", "Kernel panic", "kernel panic"].iter().any(|mark| line.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::{Event, parse};

    #[test]
    fn reads_each_kind_of_line() {
        assert_eq!(parse("ktest: test a::b ..."), Some(Event::Begun("a::b")));
        assert_eq!(parse("ktest: test a::b ... ok"), Some(Event::Passed("a::b")));
        assert_eq!(parse("ktest: test a::b ... FAILED: 1 != 2"), Some(Event::Failed("a::b", "1 != 2")));
        assert_eq!(
            parse("ktest: 3 passed, 0 failed, 12 filtered out"),
            Some(Event::Summary { filtered_out: 12 })
        );
    }

    #[test]
    fn other_lines_are_none() {
        assert_eq!(parse("[    0.1] ktest is nice"), None);
        assert_eq!(parse("ktest: starting"), None);
        assert_eq!(parse("ktest: test without an end"), None);
    }

    #[test]
    fn a_log_prefix_does_not_hide_an_event() {
        assert_eq!(parse("[1.000] ktest: test x ... ok"), Some(Event::Passed("x")));
    }
}
