//! Shell sessions: what a person would type into the guest's serial console, with the answers that are expected.
//!
//! A session is a file `test/guest/sessions/NAME.session`:
//!
//! ```text
//! # A comment, up to the first command.
//! $ sh -c 'echo begun; exec sleep 1000'
//! begun
//! ^C
//! $ echo $?
//! 130
//! ```
//!
//! A line after `$ ` is typed once the shell has given its prompt; the lines below it are all that may come before the next
//! prompt. In them `*` stands for any characters, and a line `...` for any number of lines. A line that starts with a
//! control character, `^C` for one, has it typed as soon as the line above it has come; the terminal echoes it as the same two
//! characters, and what follows on the line is expected after them.
//!
//! A comment is possible between commands too: its line starts with `# `, so no expected line may.
//!
//! A session runs in the guest that `make run` gives, and ends with `poweroff`, after which QEMU's status must be 0. Linux
//! is the oracle here too: `runner session linux` runs the same files on Debian's kernel, but those with a comment that says
//! `Only on Foster` and why.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ktest::is_panic;
use crate::listen::{Process, Progress};
use crate::qemu::Machine;
use crate::results::{Failure, Results};
use crate::{Outcome, bench, image, run, toolchain, workspace};

const PATIENCE: Duration = Duration::from_secs(180);
const PROMPT: &str = "<ready> ";
/// Makes the prompt, without containing it, and a terminal so wide that line editing does not wrap what is typed.
const SET_PROMPT: &str = "stty columns 250; PS1='<rea''dy> '\n";

/// One command and what it should bring.
#[derive(Debug, PartialEq)]
struct Step {
    command: String,
    line: usize,
    expected: Vec<String>,
}

/// `runner session [foster | linux] [NAME...]`.
pub fn command(arguments: &[&str]) -> Outcome<bool> {
    let results = match arguments {
        ["linux", names @ ..] => all(&bench::linux::kernel()?.elf, names, "Only on Foster")?,
        ["foster", names @ ..] | names => on_foster(names)?,
    };
    results.print_failures();
    println!("{}", results.summary());
    Ok(results.failures.is_empty())
}

pub fn on_foster(names: &[&str]) -> Outcome<Results> {
    all(&toolchain::kernel()?, names, "Only on Linux")
}

/// Runs the sessions of these names, or every one that has no comment which starts with `unfit`.
fn all(kernel: &Path, names: &[&str], unfit: &str) -> Outcome<Results> {
    let initrd = image::save(run::interactive_root()?, "shell.cpio")?;
    let mut results = Results::default();
    let progress = Progress::new();
    for path in files()? {
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let text = workspace::read_text(&path)?;
        let fit = !text.lines().any(|line| line.trim_start_matches("# ").starts_with(unfit));
        if names.contains(&name.as_str()) || (names.is_empty() && fit) {
            progress.show(&format!("    {name}"));
            let machine =
                Machine::new(kernel).initrd(&initrd).memory("256M").command_line("loglevel=3 quiet panic=-1");
            results.add(one(&machine, &name, &parse(&text)?)?);
        }
    }
    progress.clear();
    Ok(results)
}

fn files() -> Outcome<Vec<PathBuf>> {
    let directory = workspace::root().join("test/guest/sessions");
    let listing =
        std::fs::read_dir(&directory).map_err(|e| format!("cannot list {}: {e}", directory.display()))?;
    let mut files: Vec<PathBuf> = listing
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "session"))
        .collect();
    files.sort();
    Ok(files)
}

fn parse(text: &str) -> Outcome<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if line.starts_with("# ") {
            continue;
        }
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.into(), line: number, expected: Vec::new() });
        } else if let Some(step) = steps.last_mut() {
            step.expected.push(line.into());
        } else if !line.is_empty() {
            return Err(format!("a session's line {number} comes before any command: {line}"));
        }
    }
    Ok(steps)
}

fn one(machine: &Machine, name: &str, steps: &[Step]) -> Outcome<Results> {
    let mut guest = machine.boot(&format!("session-{name}"))?;
    let mut results = Results::default();
    let log = format!("log: {}", guest.log.display());
    let ready = (|| {
        guest.until("# ", guest.deadline(PATIENCE))?;
        guest.send(SET_PROMPT)?;
        guest.until(PROMPT, guest.deadline(PATIENCE))
    })();
    if let Err(instead) = ready {
        results.failures.push(explain(format!("{name}: no shell"), &instead).detail(log));
        return Ok(results);
    }
    for step in steps {
        match play(&mut guest, step) {
            Ok(answer) => match mismatch(&step.expected, &answer) {
                None => results.passed += 1,
                Some(why) => {
                    let what = format!("{name}:{}: {}", step.line, step.command);
                    results.failures.push(explain(what, &answer.join("\n")).detail(why));
                }
            },
            Err(instead) => {
                let what = format!("{name}:{}: {}: no prompt after it", step.line, step.command);
                results.failures.push(explain(what, &clean(&instead)).detail(log));
                return Ok(results);
            }
        }
    }
    // The guest may be gone before it has read the whole line.
    let _ = guest.send("poweroff\n");
    match guest.wait(PATIENCE) {
        Some(status) if status.success() => results.passed += 1,
        Some(status) => {
            results
                .failures
                .push(Failure::new(format!("{name}: poweroff ended QEMU with {status}")).detail(log));
        }
        None => results.failures.push(Failure::new(format!("{name}: poweroff did not end QEMU")).detail(log)),
    }
    Ok(results)
}

/// A failure with the last lines of what came, or the first of a panic.
fn explain(what: String, said: &str) -> Failure {
    let lines: Vec<&str> = said.lines().collect();
    let from = lines.iter().position(|line| is_panic(line)).unwrap_or(lines.len().saturating_sub(12));
    lines
        .iter()
        .skip(from)
        .take(12)
        .fold(Failure::new(what), |failure, line| failure.detail(format!("| {line}")))
}

/// Types the step's command and control characters; the lines that came before the next prompt, or all that came if none did.
fn play(guest: &mut Process, step: &Step) -> Result<Vec<String>, String> {
    let deadline = guest.deadline(PATIENCE);
    guest.send(&format!("{}\n", step.command))?;
    let mut said = guest.until("\n", deadline)?;
    said.clear();
    let mut before: Option<&str> = None;
    for line in &step.expected {
        if let Some(key) = control(line) {
            if let Some(text) = before.filter(|text| !text.contains('*')) {
                said += &guest.until(text, deadline).map_err(|instead| said.clone() + &instead)?;
                said += text;
            }
            guest.send(key.encode_utf8(&mut [0; 4]))?;
        }
        before = Some(line);
    }
    said += &guest.until(PROMPT, deadline).map_err(|instead| said.clone() + &instead)?;
    Ok(clean(&said).lines().map(String::from).collect())
}

/// The character that `^` and a letter at the start of a line stand for.
fn control(line: &str) -> Option<char> {
    match line.as_bytes() {
        [b'^', letter @ b'A'..=b'_', ..] => Some(char::from(letter - b'@')),
        _ => None,
    }
}

/// Text without carriage returns and without the escape sequences of line editing.
fn clean(text: &str) -> String {
    let mut clean = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {}
            '\x1b' => {
                if characters.next() == Some('[') {
                    characters.by_ref().find(|c| c.is_ascii_alphabetic());
                }
            }
            other => clean.push(other),
        }
    }
    clean
}

/// What is wrong with the answer, if anything is.
fn mismatch(expected: &[String], answer: &[String]) -> Option<String> {
    // Terminals echo every control character but the one that means the end of input.
    let echoed: Vec<String> = expected.iter().filter(|line| *line != "^D").cloned().collect();
    if lines_match(&echoed, answer) {
        return None;
    }
    Some(format!("expected: {}", expected.join(" / ")))
}

fn lines_match(expected: &[String], answer: &[String]) -> bool {
    match (expected.split_first(), answer.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "..." => {
            (0..=answer.len()).any(|skipped| lines_match(rest, &answer[skipped..]))
        }
        (Some((pattern, patterns)), Some((line, lines))) => {
            glob(pattern, line.trim_end()) && lines_match(patterns, lines)
        }
        _ => false,
    }
}

/// Does the whole line fit the pattern, in which `*` stands for any characters?
fn glob(pattern: &str, line: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| glob(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{clean, control, glob, lines_match, parse};

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(String::from).collect()
    }

    #[test]
    fn a_session_is_commands_with_their_answers() {
        let steps = parse("# why\n\n$ echo a\na\n$ true\n$ ls\n...\nb*").unwrap();
        assert_eq!(steps.len(), 3);
        assert_eq!((steps[2].command.as_str(), steps[2].line), ("ls", 6));
        assert_eq!(steps[0].expected, ["a"]);
        assert!(steps[1].expected.is_empty());
        assert!(parse("stray\n$ echo").is_err());
    }

    #[test]
    fn patterns_stand_for_characters_and_lines() {
        assert!(glob("PPid: *", "PPid: 17"));
        assert!(glob("*b*", "abc"));
        assert!(!glob("a*c", "abcd"));
        assert!(lines_match(&lines("a\n...\nz"), &lines("a\nb\nc\nz")));
        assert!(lines_match(&lines("a\n..."), &lines("a")));
        assert!(!lines_match(&lines("a"), &lines("a\nb")));
        assert!(!lines_match(&lines("a\nb"), &lines("a")));
    }

    #[test]
    fn control_characters_and_escape_sequences() {
        assert_eq!(control("^C"), Some('\x03'));
        assert_eq!(control("^Z"), Some('\x1a'));
        assert_eq!(control("^Z[1]+  Stopped"), Some('\x1a'));
        assert_eq!(control("^hello"), None);
        assert_eq!(clean("a\x1b[6nb\r\n\x1b[Jc"), "ab\nc");
    }
}
