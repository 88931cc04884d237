//! `make bench`: the same benchmark program on Debian's Linux kernel and on Foster, side by side.
//!
//! Each kernel boots twice, in identical machines: with `-icount`, where the time stamp counter counts guest instructions and
//! the figures repeat to within a percent on a noisy machine, and without, for wall time. `linux` gets the kernel to compare with; `report` draws.
//! The protocol of the program's output is at the head of `test/bench/bench.c`.

pub mod linux;
mod report;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cpio::Archive;
use crate::listen::{Heard, Progress};
use crate::qemu::Machine;
use crate::{Outcome, image, toolchain, workspace};

/// The longest that the program may be silent: ten thousand forks without a line.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// Instructions, or nanoseconds in a run without `-icount`.
    Time,
    Bytes,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub name: String,
    pub unit: Unit,
    pub value: f64,
}

/// What one boot printed.
#[derive(Default)]
pub struct Figures {
    pub rows: Vec<Row>,
    /// Ticks of the time stamp counter per instruction and per nanosecond.
    clock: Option<(f64, f64)>,
    errors: Vec<String>,
    done: bool,
}

impl Figures {
    fn take(&mut self, line: &str) {
        if let Some(clock) = line.strip_prefix("bench-clock: ") {
            let mut numbers = clock.split(' ').map(str::parse::<f64>);
            if let (Some(Ok(instruction)), Some(Ok(nanosecond))) = (numbers.next(), numbers.next()) {
                self.clock = Some((instruction, nanosecond));
            }
        } else if let Some(error) = line.strip_prefix("bench-error: ") {
            self.errors.push(error.into());
        } else if line == "bench-done" {
            self.done = true;
        } else if let Some(row) = line.strip_prefix("bench: ").and_then(parse_row) {
            self.rows.push(row);
        }
    }

    pub fn value(&self, name: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.name == name).map(|row| row.value)
    }
}

fn parse_row(text: &str) -> Option<Row> {
    let (unit, text) = text.split_once(' ')?;
    let (value, name) = text.split_once(' ')?;
    let unit = match unit {
        "time" => Unit::Time,
        "bytes" => Unit::Bytes,
        _ => return None,
    };
    Some(Row { name: name.into(), unit, value: value.parse().ok()? })
}

/// The figures of one kernel.
pub struct Kernel {
    pub instructions: Figures,
    pub wall: Figures,
}

/// `make bench [ARGS="linux | foster"]`: both kernels and the comparison, or the figures of one alone.
pub fn command(only: Option<&str>) -> Outcome<bool> {
    let initrd = initrd()?;
    match only {
        Some("linux") => show(&measure(&linux::kernel()?.elf, "linux", &initrd, true)?),
        Some("foster") => show(&measure(&toolchain::kernel()?, "foster", &initrd, true)?),
        Some(other) => return Err(format!("bench knows linux and foster, not '{other}'")),
        None => {
            let linux = linux::kernel()?;
            let foster = toolchain::kernel()?;
            let version = linux.version;
            let linux = both(&linux.elf, "linux", &initrd)?;
            let foster = both(&foster, "foster", &initrd)?;
            report::write(&version, &linux, &foster)?;
        }
    }
    Ok(true)
}

fn show(figures: &Figures) {
    for row in &figures.rows {
        println!("{:>16}  {}", report::quantity(row.value, row.unit), row.name);
    }
}

fn both(elf: &Path, name: &str, initrd: &Path) -> Outcome<Kernel> {
    Ok(Kernel { instructions: measure(elf, name, initrd, true)?, wall: measure(elf, name, initrd, false)? })
}

/// Builds the programs and packs them; the benchmark itself is PID 1.
fn initrd() -> Outcome<std::path::PathBuf> {
    let out = workspace::build("bench/programs")?;
    let status = Command::new("make")
        .arg("--quiet")
        .arg("-C")
        .arg(workspace::root().join("test/bench"))
        .arg(format!("OUT={}", out.display()))
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .status()
        .map_err(|e| format!("cannot run make: {e}"))?;
    if !status.success() {
        return Err("the benchmark does not build; the compiler's message is above".into());
    }
    let mut archive = Archive::new();
    archive.directory("dev");
    archive.directory("proc");
    archive.character_device("dev/console", 0o600, 5, 1);
    archive.file("init", 0o755, &workspace::read(&out.join("bench"))?);
    archive.file("bench/true", 0o755, &workspace::read(&out.join("true"))?);
    archive.file("bench/tiny", 0o755, &workspace::read(&out.join("tiny"))?);
    image::save(archive, "bench/bench.cpio")
}

/// The machine that both kernels get.
fn machine(elf: &Path, initrd: &Path, counted: bool) -> Machine {
    // TCG counts each iteration of a `rep` string instruction as an instruction; with erms and fsrm Linux would clear a page
    // with 4096 of them. `mitigations=off`: neither kernel pays for leaks of a CPU that is emulated.
    let mut machine = Machine::new(elf)
        .initrd(initrd)
        .command_line("quiet loglevel=3 mitigations=off panic=-1")
        .cpus(1)
        .memory("2G");
    machine.cpu = "max,-erms,-fsrm";
    if counted {
        machine.accelerator = "tcg";
        machine = machine.extra(&["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01,clock=vm"]);
    }
    machine
}

fn measure(elf: &Path, name: &str, initrd: &Path, counted: bool) -> Outcome<Figures> {
    let how = if counted { "instructions" } else { "wall time" };
    let machine = machine(elf, initrd, counted);
    eprintln!("foster: measuring {name}, {how} ({})", machine.accelerator);
    let mut guest = machine.boot(&format!("bench-{name}-{}", if counted { "icount" } else { "wall" }))?;
    let mut figures = Figures::default();
    let progress = Progress::new();
    while !figures.done {
        match guest.line(guest.deadline(PATIENCE)) {
            Heard::Line(line) => {
                let before = figures.rows.len();
                figures.take(&line);
                if let Some(row) = figures.rows.get(before) {
                    progress.show(&format!("{name}, {how}: {}", row.name));
                }
            }
            Heard::End | Heard::Silence => break,
        }
    }
    progress.clear();
    if !figures.errors.is_empty() || !figures.done {
        let last = figures.rows.last().map_or("the start", |row| row.name.as_str());
        return Err(format!(
            "the benchmark on {name} stopped after '{last}': {} (see {})",
            if figures.errors.is_empty() { "no end".into() } else { figures.errors.join("; ") },
            guest.log.display()
        ));
    }
    scale(figures, counted)
}

/// Turns ticks into instructions or nanoseconds.
fn scale(mut figures: Figures, counted: bool) -> Outcome<Figures> {
    let (instruction, nanosecond) = figures.clock.ok_or("the benchmark printed no clock")?;
    if counted && (instruction - 1.0).abs() > 0.01 {
        return Err(format!(
            "under -icount a tick should be an instruction, but one takes {instruction} ticks"
        ));
    }
    let divisor = if counted { instruction } else { nanosecond };
    for row in figures.rows.iter_mut().filter(|row| row.unit == Unit::Time) {
        row.value /= divisor;
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::{Figures, Row, Unit, parse_row, scale};

    #[test]
    fn a_row_has_unit_value_and_name() {
        let row = Row { name: "fork + exit + wait".into(), unit: Unit::Time, value: 154000.5 };
        assert_eq!(parse_row("time 154000.5 fork + exit + wait"), Some(row));
        assert_eq!(parse_row("furlongs 1 x"), None);
        assert_eq!(parse_row("time many x"), None);
    }

    #[test]
    fn wall_time_is_scaled_and_memory_is_not() {
        let mut figures = Figures::default();
        for line in ["bench-clock: 0.9 2.0", "bench: time 100 a", "bench: bytes 100 b", "noise", "bench-done"]
        {
            figures.take(line);
        }
        assert!(figures.done);
        assert!(scale(Figures { clock: Some((0.9, 2.0)), ..Figures::default() }, true).is_err());
        let figures = scale(figures, false).unwrap();
        assert_eq!(figures.value("a"), Some(50.0));
        assert_eq!(figures.value("b"), Some(100.0));
    }
}
