//! The host side of Foster: builds the kernel, packs initramfs images, boots QEMU, and judges what comes out of the serial
//! port. `make` and `cargo ktest` are thin doors to the subcommands here.
//!
//! `workspace` knows where things are; `toolchain` builds the kernel; `cpio` and `image` pack what it boots into; `qemu`
//! runs and listens to a guest. The rest is one file per subcommand.

mod bench;
mod boot;
mod cpio;
mod fuzz;
mod image;
mod ktest;
mod lint;
mod listen;
mod qemu;
mod results;
mod rules;
mod run;
mod session;
mod suite;
mod symbols;
mod tap;
mod test;
mod toolchain;
mod workspace;

use std::process::{Command, ExitCode};

/// What a step of the work gives: a value, or the sentence that tells the user why there is none.
pub type Outcome<T> = Result<T, String>;

const USAGE: &str = "usage: runner COMMAND
  kernel                                    build/foster
  run | debug                               boot to a shell; with a debugger
  test [host | ktest | linux | guest1 | guest2 | checked | boot | fuzz | races | syscalls | rules | session]...
  ktest [FILTER]                            the in-kernel unit tests whose name contains FILTER
  suite [foster | checked | linux | host] [PROGRAM]...
                                            the C suite in a guest, or here
  session [foster | linux] [NAME]...        the shell sessions in a guest
  bench [foster | linux]                    the figures; of one kernel alone
  rules [check]                             docs/rules.md: which rule has which assertions; is it up to date?
  fuzz [A-B] | fuzz races [A-B]             the differential fuzzer, on seeds A to B
  fuzz-syscalls [SECONDS [SEED]]            random system calls with bad input
  lint";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = tools(arguments.first().copied()).and_then(|()| dispatch(&arguments));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("foster: {why}");
            ExitCode::from(2)
        }
    }
}

/// `make` has made sure that all tools are there before it started us; `cargo ktest` has not.
fn tools(command: Option<&str>) -> Outcome<()> {
    let Some(command) = command.filter(|_| std::env::var_os("FOSTER_TOOLS_CHECKED").is_none()) else {
        return Ok(());
    };
    let script = workspace::root().join("test/setup.sh");
    let status = Command::new("sh").arg(script).args(["check", command]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("some tools are missing; the message above says which".into()),
        Err(why) => Err(format!("cannot run test/setup.sh: {why}")),
    }
}

fn dispatch(arguments: &[&str]) -> Outcome<bool> {
    match arguments {
        ["kernel"] => toolchain::kernel().map(|elf| {
            println!("{}", elf.display());
            true
        }),
        ["run"] => run::shell(),
        ["debug"] => run::debug(),
        ["ktest"] => ktest::command(""),
        ["ktest", filter] => ktest::command(filter),
        ["test", layers @ ..] => test::command(layers),
        ["lint"] => lint::command(),
        ["rules"] => rules::command(false),
        ["rules", "check"] => rules::command(true),
        ["suite", arguments @ ..] => suite::command(arguments),
        ["session", arguments @ ..] => session::command(arguments),
        ["fuzz-syscalls", arguments @ ..] => fuzz::syscalls::command(arguments),
        ["fuzz", arguments @ ..] => fuzz::command(arguments),
        ["bench"] => bench::command(None),
        ["bench", only] => bench::command(Some(only)),
        _ => Err(USAGE.into()),
    }
}
