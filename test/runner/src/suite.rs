//! The C suite, on the host's Linux and in a guest.
//!
//! Its `init` runs the programs one after the other and frames their output for `tap`. In a guest it is PID 1. A guest that
//! panics or hangs fails the program that ran in it; another guest then boots for the programs that were to come after it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::ktest::is_panic;
use crate::listen::{Heard, Process, Progress};
use crate::qemu::Machine;
use crate::results::{Failure, Results};
use crate::tap::Suite;
use crate::{Outcome, bench, image, toolchain, workspace};

/// Longer than the suite allows a case, which says something at its end.
const SILENCE: Duration = Duration::from_secs(420);
/// After this many broken guests the rest is not worth the time.
const MAX_BOOTS: usize = 20;

/// `runner suite [foster | checked | linux | host] [PROGRAM...]`: the suite by itself. On `linux`, Debian's kernel runs in the
/// guest; on `checked`, one that checks the process tree after every change of it.
pub fn command(arguments: &[&str]) -> Outcome<bool> {
    let (place, programs) = match arguments {
        [place @ ("foster" | "checked" | "linux" | "host"), programs @ ..] => (*place, programs),
        programs => ("foster", programs),
    };
    let results = match place {
        "host" => on_host(programs)?,
        "checked" => checked(programs)?,
        "linux" => in_guest(&bench::linux::kernel()?.elf, 2, "suite-linux", programs)?,
        _ => in_guest(&toolchain::kernel()?, 2, "suite", programs)?,
    };
    results.print_failures();
    results.print_reasons();
    println!("{}", results.summary());
    Ok(results.failures.is_empty())
}

pub fn on_host(programs: &[&str]) -> Outcome<Results> {
    let out = image::c_suite()?;
    let mut command = Command::new(out.join("init"));
    command.args(programs).env("TESTS", out.join("TESTS"));
    let mut process = Process::start(command, &workspace::log("suite-host")?)?;
    let mut suite = Suite::default();
    let (why, _) = listen(&mut process, &mut suite);
    suite.abandon(&why);
    suite.verdicts.save("linux")?;
    let mut results = suite.results;
    if !suite.complete {
        results.failures.push(Failure::new(format!("the suite did not come to its end: {why}")));
    }
    Ok(results)
}

/// The programs of these groups on the kernel of the unit tests, which checks the process tree after every change of it.
pub fn checked(groups: &[&str]) -> Outcome<Results> {
    boots(&toolchain::ktest_kernel()?, 2, "suite-checked", "check_tree ", groups)
}

/// Boots `kernel` with the suite as its root file system, and judges what it prints.
pub fn in_guest(kernel: &Path, cpus: u32, log: &str, programs: &[&str]) -> Outcome<Results> {
    boots(kernel, cpus, log, "", programs)
}

fn boots(kernel: &Path, cpus: u32, log: &str, options: &str, programs: &[&str]) -> Outcome<Results> {
    let out = image::c_suite()?;
    let place = match (log, cpus) {
        ("suite-linux", _) => "linux-guest",
        ("suite-checked", _) => "foster-checked",
        (_, 1) => "foster-1cpu",
        _ => "foster-2cpu",
    };
    let initrd = initrd(&out)?;
    let mut left = chosen(&out, programs)?;
    let mut results = Results::default();
    for boot in 1..=MAX_BOOTS {
        // The first boot says nothing of programs, so that init's own choice is what a plain run has.
        let names = if boot == 1 && programs.is_empty() { String::new() } else { left.join(" ") };
        let machine = Machine::new(kernel)
            .initrd(&initrd)
            .cpus(cpus)
            .memory("1G")
            .command_line(&format!("{options}loglevel=3 quiet panic=-1 -- {names}"));
        let log = if boot == 1 { log.to_string() } else { format!("{log}-{boot}") };
        let mut guest = machine.boot(&log)?;
        let mut suite = Suite::default();
        let (why, begun) = listen(&mut guest, &mut suite);
        let mut broken = None;
        if suite.complete {
            match guest.wait(Duration::from_secs(60)) {
                Some(status) if status.success() => {}
                Some(status) => broken = Some(format!("power-off ended QEMU with {status}")),
                None => broken = Some("the guest did not power off at the end of the suite".to_string()),
            }
        } else if suite.running().is_none() {
            broken = Some(why.clone());
        }
        suite.abandon(&why);
        suite.verdicts.save(place)?;
        results.add(suite.results);
        results
            .failures
            .extend(broken.map(|why| Failure::new(why).detail(format!("log: {}", guest.log.display()))));
        if suite.complete || begun.is_empty() {
            return Ok(results);
        }
        left.retain(|name| !begun.contains(name));
        if left.is_empty() {
            return Ok(results);
        }
    }
    results
        .failures
        .push(Failure::new(format!("gave up after {MAX_BOOTS} broken guests: {}", left.join(", "))));
    Ok(results)
}

fn initrd(out: &Path) -> Outcome<std::path::PathBuf> {
    let mut archive = image::busybox_root()?;
    image::add_programs(&mut archive, out)?;
    archive.file("tests/TESTS", 0o644, &workspace::read(&out.join("TESTS"))?);
    archive.file("init", 0o755, &workspace::read(&out.join("init"))?);
    image::save(archive, "suite.cpio")
}

/// The names in the list that the suite's init reads, or those asked for.
fn chosen(out: &Path, programs: &[&str]) -> Outcome<Vec<String>> {
    if !programs.is_empty() {
        return Ok(programs.iter().map(|name| name.to_string()).collect());
    }
    let list = workspace::read_text(&out.join("TESTS"))?;
    // As init does by itself: without what has the tag `next`.
    let names = list.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        (!words.nth(1).unwrap_or("").split(',').any(|tag| tag == "next")).then(|| name.to_string())
    });
    Ok(names.collect())
}

/// Reads until the suite, or what runs it, ends. Returns why it ended, for the program that was running, and the names of
/// all programs that had begun.
fn listen(process: &mut Process, suite: &mut Suite) -> (String, Vec<String>) {
    let progress = Progress::new();
    let mut panic: Option<String> = None;
    let mut begun = Vec::new();
    let mut deadline = process.deadline(SILENCE);
    let why = loop {
        match process.line(deadline) {
            Heard::Line(line) => {
                deadline = process.deadline(if panic.is_some() { Duration::from_secs(5) } else { SILENCE });
                suite.take(&line);
                if let Some(name) = line.strip_prefix("# running ") {
                    begun.push(name.trim().to_string());
                    progress.show(&format!("    {name}"));
                } else if panic.is_none() && !line.starts_with('#') && is_panic(&line) {
                    panic = Some(line);
                }
                if suite.complete {
                    break String::new();
                }
            }
            Heard::End => break panic.unwrap_or_else(|| "the guest ended in it".into()),
            Heard::Silence => {
                break panic.unwrap_or_else(|| format!("nothing was heard for {} s", SILENCE.as_secs()));
            }
        }
    };
    progress.clear();
    (why, begun)
}
