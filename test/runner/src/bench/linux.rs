//! The kernel to compare with: Debian's own, downloaded as a package and never installed.
//!
//! What is in the package is a bzImage: a boot loader's stub around a compressed ELF. QEMU can start that ELF directly, by
//! its PVH entry, as it starts Foster, so it is unpacked here: both kernels then boot by the same path.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::listen::pipe_through;
use crate::{Outcome, workspace};

pub struct Linux {
    pub elf: PathBuf,
    /// As in the package's name: "6.1.0-56-amd64".
    pub version: String,
}

/// The unpacked kernel, from `build/linux` if it is there.
pub fn kernel() -> Outcome<Linux> {
    let elf = workspace::build("linux/vmlinux")?;
    let version_file = workspace::build("linux/version")?;
    if elf.exists()
        && let Ok(version) = workspace::read_text(&version_file)
    {
        return Ok(Linux { elf, version });
    }
    let version = newest()?;
    eprintln!("foster: downloading Debian's kernel {version}");
    let image = download(&version)?;
    workspace::write(&elf, unpack(&workspace::read(&image)?)?)?;
    // Everything else in the package, 400 MB of modules, is of no use; a failure to remove it is no harm.
    let _ = std::fs::remove_dir_all(workspace::build("linux/package")?);
    workspace::write(&version_file, &version)?;
    Ok(Linux { elf, version })
}

/// The version that the package linux-image-amd64 stands for.
fn newest() -> Outcome<String> {
    let ask = || run(Command::new("apt-cache").args(["depends", "linux-image-amd64"]));
    let find = |text: String| {
        text.lines().find_map(|line| Some(line.trim().strip_prefix("Depends: linux-image-")?.to_string()))
    };
    if let Some(version) = ask().ok().and_then(find) {
        return Ok(version);
    }
    // A machine that never ran it has no package lists; only root can fetch them.
    run(Command::new("apt-get").arg("update"))?;
    find(ask()?)
        .ok_or_else(|| "apt knows no package linux-image-amd64; it is in Debian's main archive".into())
}

fn download(version: &str) -> Outcome<PathBuf> {
    let directory = workspace::build("linux/package")?;
    std::fs::create_dir_all(&directory).map_err(|e| format!("cannot make {}: {e}", directory.display()))?;
    run(Command::new("apt-get")
        .current_dir(&directory)
        .args(["download", &format!("linux-image-{version}")]))?;
    let package = std::fs::read_dir(&directory)
        .map_err(|e| e.to_string())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or("apt-get download left no package")?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&directory))?;
    Ok(directory.join("boot").join(format!("vmlinuz-{version}")))
}

fn run(command: &mut Command) -> Outcome<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| {
        format!("cannot run {name}: {e}; Debian's kernel is taken with apt-get, so this needs Debian")
    })?;
    if !output.status.success() {
        return Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into())
}

/// The ELF in a bzImage, by the header that the x86 boot protocol describes.
fn unpack(image: &[u8]) -> Outcome<Vec<u8>> {
    let payload = payload(image).ok_or("the package's kernel is not a bzImage")?;
    let packer = match payload {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0x1f, 0x8b, ..] => "gzip",
        _ => return Err("the kernel is packed in an unknown way".into()),
    };
    // gzip's format ends with the size of the content; the kernel's build appends it to the others.
    let stream = if packer == "gzip" { payload } else { &payload[..payload.len() - 4] };
    let elf = pipe_through(packer, &["-dc"], stream)?;
    if elf.starts_with(b"\x7fELF") { Ok(elf) } else { Err("what the bzImage holds is not an ELF".into()) }
}

fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = match image.get(0x1f1)? {
        0 => 4,
        &count => usize::from(count),
    };
    let start = (setup_sectors + 1) * 512 + word(0x248)?;
    image.get(start..start + word(0x24c)?)
}

#[cfg(test)]
mod tests {
    use super::payload;

    #[test]
    fn finds_the_payload_behind_the_setup_sectors() {
        let mut image = vec![0; 4096];
        image[0x1f1] = 2;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248] = 16;
        image[0x24c] = 3;
        image[3 * 512 + 16..][..3].copy_from_slice(b"abc");
        assert_eq!(payload(&image), Some(&b"abc"[..]));
        image[0x202] = 0;
        assert_eq!(payload(&image), None);
        assert_eq!(payload(&[]), None);
    }
}
