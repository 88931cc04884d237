//! Boots with good, odd and bad initramfs images and command lines.
//!
//! Whatever it is given, the kernel either runs the right program as PID 1 or says what is wrong, and QEMU ends in both
//! cases: no panic, no hang.

use std::path::Path;
use std::time::Duration;

use crate::cpio::Archive;
use crate::ktest::is_panic;
use crate::listen::{Heard, pipe_through};
use crate::qemu::Machine;
use crate::results::{Failure, Results};
use crate::{Outcome, image, toolchain, workspace};

const PATIENCE: Duration = Duration::from_secs(120);

/// What one boot gets, and what it has to say.
struct Case {
    name: &'static str,
    initrd: Option<Vec<u8>>,
    command_line: &'static str,
    cpus: u32,
    memory: &'static str,
    /// Each of these is part of some line.
    expected: &'static [&'static str],
}

impl Case {
    fn new(name: &'static str, initrd: Vec<u8>, expected: &'static [&'static str]) -> Self {
        Self { name, initrd: Some(initrd), command_line: "", cpus: 2, memory: "256M", expected }
    }
}

/// Every case on Foster.
pub fn all() -> Outcome<Results> {
    let kernel = toolchain::kernel()?;
    let mut results = Results::default();
    for case in cases()? {
        match run(&kernel, &case)? {
            None => results.passed += 1,
            Some(failure) => results.failures.push(failure),
        }
    }
    Ok(results)
}

/// A root file system with busybox whose init is this script.
fn with_init(script: &str) -> Outcome<Archive> {
    let mut archive = image::busybox_root()?;
    archive.file("init", 0o755, script.as_bytes());
    Ok(archive)
}

fn cases() -> Outcome<Vec<Case>> {
    const HELLO: &str = "#!/bin/sh\necho init runs as $$\npoweroff -f\n";
    let plain = with_init(HELLO)?.finish();
    let gzip = pipe_through("gzip", &["-c"], &plain)?;
    let mut second = Archive::new();
    second.file("second", 0o755, b"#!/bin/sh\necho second archive, $0 $1 $COLOR\nreboot -f\n");
    let second = second.finish();

    let mut both = plain.clone();
    both.resize(both.len().next_multiple_of(512), 0);
    both.extend(pipe_through("gzip", &["-c"], &second)?);
    let mut mixed = Case::new("a plain archive and a gzip one", both, &["second archive, /second one red"]);
    mixed.command_line = "init=/second COLOR=red -- one";

    let mut one_cpu = Case::new("one CPU", plain.clone(), &["init runs as 1"]);
    one_cpu.cpus = 1;
    let mut many = Case::new("eight CPUs", plain.clone(), &["init runs as 1"]);
    many.cpus = 8;
    let mut small = Case::new("32 MiB of memory", plain.clone(), &["init runs as 1"]);
    small.memory = "32M";
    let mut lost = Case::new("an init= that is not there", plain.clone(), &["/nowhere"]);
    lost.command_line = "init=/nowhere";
    let mut none = Case::new("no initramfs", Vec::new(), &["init"]);
    none.initrd = None;

    let with_elf = |elf: &[u8]| {
        let mut archive = Archive::new();
        archive.file("init", 0o755, elf);
        archive.finish()
    };
    let busybox = workspace::read(Path::new("/bin/busybox"))
        .or_else(|_| workspace::read(Path::new("/usr/bin/busybox")))?;
    Ok(vec![
        Case::new("a plain archive", plain.clone(), &["init runs as 1"]),
        Case::new("a gzip archive", gzip.clone(), &["init runs as 1"]),
        mixed,
        one_cpu,
        many,
        small,
        Case::new("PID 1 exits", with_init("#!/bin/sh\necho leaving\nexit 3\n")?.finish(), &["leaving"]),
        Case::new(
            "PID 1 is killed",
            with_init("#!/bin/sh\nulimit -t 1\nwhile :; do :; done\n")?.finish(),
            &["init"],
        ),
        lost,
        none,
        Case::new("a truncated archive", plain[..100_000].to_vec(), &["initramfs"]),
        Case::new("a truncated gzip archive", gzip[..100_000].to_vec(), &["initramfs"]),
        // Whether this is found out, or only changes a byte of some file, depends on the bit.
        Case::new("a gzip archive with a flipped bit", flipped(&gzip), &[]),
        Case::new("an archive of garbage", b"garbage! ".repeat(1000), &["initramfs"]),
        Case::new("an init that is no program", with_elf(b"\x7fELF garbage"), &["/init"]),
        Case::new("an init that is cut short", with_elf(&busybox[..4096]), &["init was killed"]),
        Case::new("an init that is empty", with_elf(b""), &["/init"]),
        Case::new("a script without its interpreter", with_elf(b"#!/no/such/shell\n"), &["/init"]),
        Case::new("a script that is its own interpreter", with_elf(b"#!/init\n"), &["/init"]),
    ])
}

fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    bytes
}

/// What is wrong, if anything is.
fn run(kernel: &Path, case: &Case) -> Outcome<Option<Failure>> {
    let mut machine = Machine::new(kernel)
        .cpus(case.cpus)
        .memory(case.memory)
        .command_line("loglevel=4")
        .command_line(case.command_line);
    if let Some(initrd) = &case.initrd {
        let path = workspace::build("boot.cpio")?;
        workspace::write(&path, initrd)?;
        machine = machine.initrd(&path);
    }
    let mut guest = machine.boot(&format!("boot-{}", case.name.replace(' ', "-")))?;
    let deadline = guest.deadline(PATIENCE);
    let mut said = Vec::new();
    let mut ended = true;
    loop {
        match guest.line(deadline) {
            Heard::Line(line) => said.push(line),
            Heard::End => break,
            Heard::Silence => {
                ended = false;
                break;
            }
        }
    }
    let missing: Vec<&str> =
        case.expected.iter().filter(|text| !said.iter().any(|line| line.contains(**text))).copied().collect();
    let panic = said.iter().find(|line| is_panic(line));
    let why = match (panic, ended, missing.first()) {
        (Some(line), ..) => format!("it panicked: {line}"),
        (None, false, _) => format!("QEMU did not end within {} s", PATIENCE.as_secs()),
        (None, true, Some(text)) => format!("it did not say '{text}'"),
        (None, true, None) => return Ok(None),
    };
    let failure = Failure::new(format!("boot with {}: {why}", case.name));
    Ok(Some(
        said.iter().rev().take(8).rev().fold(failure, |failure, line| failure.detail(format!("| {line}"))),
    ))
}
