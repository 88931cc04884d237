//! `make lint`: rustfmt and clippy over everything, warnings denied, and the numbers of rules in the tests.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::toolchain::Toolchain;
use crate::{Outcome, rules, workspace};

pub fn command() -> Outcome<bool> {
    let mut clean = true;
    clean &= step("rustfmt", host_cargo(&["fmt", "--all", "--check"], "rustfmt"))?;
    clean &= step(
        "clippy, host crates",
        host_cargo(&["clippy", "--quiet", "--all-targets", "--", "-D", "warnings"], "cargo-clippy"),
    )?;
    let toolchain = Toolchain::find()?;
    for features in [&[][..], &["--features", "ktest"]] {
        let mut kernel = toolchain.cargo("clippy");
        kernel.args(["--quiet", "--release"]).args(features).args(["--", "-D", "warnings"]);
        clean &= step(&format!("clippy, kernel {}", features.join(" ")), kernel)?;
    }
    eprintln!("foster: rules");
    let rules = rules::numbers()?;
    rules.print_failures();
    clean &= rules.failures.is_empty();
    println!("{}", if clean { "lint: clean" } else { "lint: see above" });
    Ok(clean)
}

fn step(name: &str, mut command: Command) -> Outcome<bool> {
    eprintln!("foster: {}", name.trim_end());
    let status = command.status().map_err(|e| format!("cannot run {name}: {e}"))?;
    Ok(status.success())
}

/// cargo for the host with a plugin; Debian's when the one that runs us has no such plugin.
fn host_cargo(arguments: &[&str], plugin: &str) -> Command {
    let own = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let works = Command::new(&own)
        .args([arguments[0], "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    let mut command = Command::new(if works { own } else { "/usr/bin/cargo".into() });
    if !works && Path::new("/usr/bin").join(plugin).exists() {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut first = OsString::from("/usr/bin:");
        first.push(path);
        command.env("PATH", first).env_remove("RUSTUP_TOOLCHAIN").env("RUSTC", "/usr/bin/rustc");
    }
    command.args(arguments).current_dir(workspace::root());
    command
}
