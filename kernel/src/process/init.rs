//! PID 1: the process that the kernel makes itself, and what it runs (init(1), rule 2.19).

use core::sync::atomic::Ordering::Relaxed;

use ostd::{boot, power, user::UserContext};
use proctree::Numbers;

use super::{
    Credentials, Process, Rlimits, Thread, clone, exec,
    namespace::PidNs,
    rlimit,
    signal::{AltStack, SigHand, SigSet, ThreadSignals},
    thread::NewThread,
    tree, user_loop,
};
use crate::{
    fs::{self, FileTable, FsContext},
    prelude::*,
    syscall::Context,
};

/// What the command line does not say.
const DEFAULT_PATH: &str = "/init";
const ENVIRONMENT: [&str; 3] = ["HOME=/", "TERM=linux", "PATH=/sbin:/usr/sbin:/bin:/usr/bin"];

/// What the kernel's command line says of init.
struct CommandLine {
    path: String,
    args: Vec<String>,
    env: Vec<String>,
}

impl CommandLine {
    /// `init=` (or `rdinit=`) names the program. Words behind `--` are its arguments, as are words without `=` that the
    /// kernel does not know; unknown words `NAME=value` go to its environment, as on Linux.
    fn parse(line: &str) -> CommandLine {
        let mut parsed = CommandLine {
            path: DEFAULT_PATH.to_string(),
            args: Vec::new(),
            env: ENVIRONMENT.iter().map(|entry| entry.to_string()).collect(),
        };
        let mut words = line.split_ascii_whitespace();
        for word in words.by_ref() {
            match word.split_once('=') {
                Some(("init" | "rdinit", path)) => parsed.path = path.to_string(),
                _ if word == "--" => break,
                Some((name, _)) if is_kernel_word(name) => {}
                Some((name, _)) => {
                    parsed.env.retain(|entry| entry.split('=').next() != Some(name));
                    parsed.env.push(word.to_string());
                }
                None if is_kernel_word(word) => {}
                None => parsed.args.push(word.to_string()),
            }
        }
        parsed.args.extend(words.map(str::to_string));
        parsed
    }
}

/// Parameters of the kernel itself, and those that Linux would take: init doesn't see them.
fn is_kernel_word(name: &str) -> bool {
    const KNOWN: [&str; 17] = [
        "check_tree",
        "console",
        "earlyprintk",
        "loglevel",
        "quiet",
        "debug",
        "root",
        "ro",
        "rw",
        "reboot",
        "panic",
        "mitigations",
        "nokaslr",
        "nosmp",
        "maxcpus",
        "acpi",
        "tsc",
    ];
    name.contains('.') || KNOWN.contains(&name)
}

/// Makes PID 1 and starts it.
///
/// # Errors
/// `ENOMEM`.
pub fn start() -> Result<()> {
    let ns = tree::root_ns();
    let pid = tree::lock().alloc_pid(ns, Numbers::default()).map_err(|refused| refused.error)?;
    let creds = Credentials::root();
    rlimit::THREADS_MAX.store(rlimit::max_threads() as usize, Relaxed);
    let rlimits = Arc::new(Rlimits::initial(rlimit::max_threads()));
    let new = NewThread {
        process: Process::new(
            Numbers::initial(1),
            PidNs::INITIAL,
            SigHand::new_default(),
            rlimits,
            creds.clone(),
        ),
        tid: 1,
        signals: ThreadSignals::new(SigSet::EMPTY, AltStack::NONE),
        creds,
        vm: None,
        files: FileTable::new(),
        fs: FsContext::new(fs::root()),
        vfork: None,
    };
    let thread = clone::make_init(new, pid, run)?;
    if let Some(task) = thread.task() {
        task.start();
    }
    Ok(())
}

/// The first code of PID 1: becomes a program.
fn run(thread: Arc<Thread>) {
    let line = CommandLine::parse(boot::cmdline());
    // 0, 1 and 2 are the console. Without one init runs with no descriptors, as on Linux.
    if let Err(error) = fs::open_console(&thread.files()) {
        warn!("no console for init: {error}");
    }
    let mut user = Box::new(UserContext::new());
    let mut ctx = Context { thread: &thread, user: &mut user };
    if let Err(error) = exec_init(&mut ctx, &line) {
        error!("{} can't be run: {error}; powering off", line.path);
        power::poweroff();
    }
    user_loop::run(thread, user);
}

fn exec_init(ctx: &mut Context, line: &CommandLine) -> Result<()> {
    let mut argv = vec![line.path.as_bytes()];
    argv.extend(line.args.iter().map(|arg| arg.as_bytes()));
    let envp: Vec<&[u8]> = line.env.iter().map(|entry| entry.as_bytes()).collect();
    info!("running {} as init", line.path);
    exec::kernel_execve(ctx, line.path.as_bytes(), &argv, &envp)
}
