//! The initramfs images that guests boot into.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cpio::Archive;
use crate::{Outcome, workspace};

/// Writes the archive to `build/NAME` and returns its path.
pub fn save(archive: Archive, name: &str) -> Outcome<PathBuf> {
    let path = workspace::build(name)?;
    workspace::write(&path, archive.finish())?;
    Ok(path)
}

/// A root file system with Debian's static busybox and a link for each of its applets.
pub fn busybox_root() -> Outcome<Archive> {
    let busybox = which_busybox()?;
    let listing =
        Command::new(&busybox).arg("--list-full").output().map_err(|e| format!("cannot run busybox: {e}"))?;
    let mut archive = Archive::new();
    for directory in ["dev", "proc", "sys", "tmp", "root", "etc", "run", "bin", "sbin", "usr/bin", "usr/sbin"]
    {
        archive.directory(directory);
    }
    // A kernel opens this one for PID 1 before anything could mount a file system over /dev.
    archive.character_device("dev/console", 0o600, 5, 1);
    archive.file("bin/busybox", 0o755, &workspace::read(&busybox)?);
    for applet in String::from_utf8_lossy(&listing.stdout).lines() {
        if applet != "bin/busybox" && applet != "init" && applet != "linuxrc" {
            archive.symlink(applet, "/bin/busybox");
        }
    }
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", 0o644, b"root:x:0:\n");
    Ok(archive)
}

fn which_busybox() -> Outcome<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists() && is_static(path))
        .ok_or_else(|| "no static busybox here; on Debian: apt-get install busybox-static".into())
}

/// A program without PT_INTERP needs no dynamic linker.
fn is_static(path: &Path) -> bool {
    let Ok(elf) = workspace::read(path) else {
        return false;
    };
    let word = |at: usize, size: usize| -> Option<usize> {
        let bytes = elf.get(at..at + size)?;
        Some(bytes.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)))
    };
    let Some((table, size, count)) =
        (|| Some((word(32, 8)?, word(54, 2)?, word(56, 2)?)))().filter(|_| elf.starts_with(b"\x7fELF\x02"))
    else {
        return false;
    };
    const PT_INTERP: usize = 3;
    (0..count).all(|i| word(table + i * size, 4) != Some(PT_INTERP))
}

/// Compiles the C suite into `build/c` and returns that directory.
pub fn c_suite() -> Outcome<PathBuf> {
    let out = workspace::build("c")?;
    std::fs::create_dir_all(&out).map_err(|e| format!("cannot make {}: {e}", out.display()))?;
    let output = Command::new("make")
        .arg("-C")
        .arg(workspace::root().join("test/c"))
        .arg(format!("OUT={}", out.display()))
        .arg("-j2")
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .map_err(|e| format!("cannot run make: {e}"))?;
    if !output.status.success() {
        return Err(format!("the C suite does not build:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(out)
}

/// Adds every program in `directory` under `/tests`, but the suite's init.
pub fn add_programs(archive: &mut Archive, directory: &Path) -> Outcome<()> {
    let listing =
        std::fs::read_dir(directory).map_err(|e| format!("cannot list {}: {e}", directory.display()))?;
    let mut paths: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    for path in paths {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if !path.is_file() || name == "init" {
            continue;
        }
        let content = workspace::read(&path)?;
        if content.starts_with(b"\x7fELF") {
            archive.file(&format!("tests/{name}"), 0o755, &content);
        }
    }
    Ok(())
}
