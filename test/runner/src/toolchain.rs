//! Finds a Rust toolchain that can build for bare metal, and builds the kernel with it.
//!
//! Two kinds will do, looked for in this order: the toolchain in PATH when its sysroot has the `x86_64-unknown-none` target
//! (`rustup target add`), or Debian's rustc-web with rust-web-src, from which cargo builds core and alloc itself. The second
//! needs an unstable cargo flag, hence RUSTC_BOOTSTRAP; the kernel's own code uses stable features only.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, symbols, workspace};

const TARGET: &str = "x86_64-unknown-none";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

pub enum Toolchain {
    /// Has a compiled `core` and `alloc` for the bare-metal target.
    Rustup { cargo: OsString, sysroot: PathBuf },
    /// Has their sources.
    Debian,
}

impl Toolchain {
    pub fn find() -> Outcome<Self> {
        // Under `cargo run`, CARGO names the cargo that compiled this program; the proxy in PATH would serve as well.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        if let Some(sysroot) = sysroot("rustc")
            && sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
        {
            return Ok(Self::Rustup { cargo, sysroot });
        }
        if Path::new(DEBIAN_CARGO).exists()
            && let Some(sysroot) = sysroot(DEBIAN_RUSTC)
            && sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
        {
            return Ok(Self::Debian);
        }
        Err(format!(
            "no Rust toolchain here builds for bare metal; either `rustup target add {TARGET}`, \
             or on Debian 12, as root, `apt-get install rustc-web cargo-web rust-web-src`"
        ))
    }

    /// `cargo SUBCOMMAND` for the kernel: `build` or `clippy`, with target, linker and flags set.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut command = match self {
            Self::Rustup { cargo, .. } => Command::new(cargo),
            // Called by its path, so that a cargo-clippy of another toolchain in PATH or ~/.cargo/bin is not taken for it.
            Self::Debian if subcommand == "clippy" => {
                let mut command = Command::new("/usr/bin/cargo-clippy");
                command.env("CARGO", DEBIAN_CARGO);
                command
            }
            Self::Debian => Command::new(DEBIAN_CARGO),
        };
        command.arg(subcommand).args(["--target", TARGET, "--package", "foster"]);
        if let Self::Debian = self {
            command
                .args([
                    "-Zbuild-std=core,alloc,compiler_builtins",
                    "-Zbuild-std-features=compiler-builtins-mem",
                ])
                .env("RUSTC_BOOTSTRAP", "1")
                .env("RUSTC", DEBIAN_RUSTC)
                .env_remove("RUSTUP_TOOLCHAIN");
        }
        let root = workspace::root();
        command
            .current_dir(root)
            .env("CARGO_TARGET_DIR", root.join("target/kernel"))
            .env("CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS", self.rustflags().join(" "));
        command
    }

    fn rustflags(&self) -> Vec<String> {
        let script = workspace::root().join("ostd/src/arch/x86/linker.ld");
        vec![
            format!("-Clinker={}", self.linker()),
            "-Clinker-flavor=ld.lld".into(),
            "-Crelocation-model=static".into(),
            "-Cforce-frame-pointers=yes".into(),
            format!("-Clink-arg=-T{}", script.display()),
        ]
    }

    fn linker(&self) -> String {
        if let Self::Rustup { sysroot, .. } = self {
            let bundled = sysroot.join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
            if bundled.exists() {
                return bundled.display().to_string();
            }
        }
        "ld.lld".into()
    }
}

fn sysroot(rustc: &str) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Builds the kernel that boots to user space and leaves it at `build/foster`.
pub fn kernel() -> Outcome<PathBuf> {
    build(&[], "foster")
}

/// Builds the kernel that runs its own unit tests instead of `/init`.
pub fn ktest_kernel() -> Outcome<PathBuf> {
    build(&["--features", "ktest"], "foster-ktest")
}

fn build(options: &[&str], name: &str) -> Outcome<PathBuf> {
    let mut command = Toolchain::find()?.cargo("build");
    command.arg("--release").args(options);
    eprintln!("foster: building {name}");
    // A person gets cargo's progress bar; a log does not need it.
    if !std::io::stderr().is_terminal() {
        command.arg("--quiet");
    }
    let status = command.status().map_err(|e| format!("cannot run cargo: {e}"))?;
    if !status.success() {
        return Err("the kernel does not build; cargo's message is above".into());
    }
    let elf = workspace::root().join("target/kernel").join(TARGET).join("release/foster");
    let copy = workspace::build(name)?;
    workspace::write(&copy, symbols::embed(workspace::read(&elf)?)?)?;
    Ok(copy)
}
