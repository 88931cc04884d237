//! What the fuzzer leaves of a difference: both kernels' texts side by side, and a C program that shows it without the
//! fuzzer.

use super::minimise::Case;
use super::operation;

/// The part of the program that is always the same.
const RUNTIME: &str = include_str!("../../../fuzz/reproducer.c");
const MARK: &str = "\t/* OPERATIONS */\n";

/// Both texts; lines that only one kernel says are marked.
pub fn side_by_side(case: &Case) -> String {
    let (linux, foster) = (&case.linux.lines, &case.foster.lines);
    let same = linux.iter().zip(foster).take_while(|(a, b)| a == b).count();
    let mut text = String::new();
    for line in &linux[..same] {
        text += &format!("          {line}\n");
    }
    for line in &linux[same..] {
        text += &format!("Linux     {line}\n");
    }
    for line in &foster[same..] {
        text += &format!("Foster    {line}\n");
    }
    text
}

/// A program that does the operations one by one; comments say what the two kernels answered.
pub fn program(seed: u64, case: &Case) -> String {
    let (linux, foster) = (steps(&case.linux.lines), steps(&case.foster.lines));
    let mut body = String::new();
    for (i, (operation, said)) in linux.iter().enumerate() {
        body += &format!("\t{}\n", statement(operation));
        let other = foster.get(i).map(|step| &step.1);
        if other == Some(said) {
            body += &comments("", said);
        } else {
            body += &comments("Linux:  ", said);
            body += &comments("Foster: ", other.unwrap_or(&Vec::new()));
        }
    }
    let title = format!("/* Seed {seed} of the fuzzer: what Linux and Foster do not agree on. */\n");
    title + &RUNTIME.replacen(MARK, &body, 1)
}

fn comments(who: &str, said: &[String]) -> String {
    said.iter().map(|line| format!("\t\t// {who}{}\n", line.trim())).collect()
}

/// Operations, each with the lines it led to.
fn steps(lines: &[String]) -> Vec<(String, Vec<String>)> {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for line in lines {
        if let Some(operation) = operation(line) {
            steps.push((operation.into(), Vec::new()));
        } else if let Some(step) = steps.last_mut() {
            step.1.push(line.clone());
        }
    }
    // What was skipped does nothing.
    steps.retain(|(_, said)| said.iter().all(|line| line.trim() != "skipped"));
    steps
}

/// "p3 kill -p5 9" as `DO(3, OP_KILL, -P(5), 9, 0);`.
fn statement(operation: &str) -> String {
    let mut words = operation.split(' ');
    let (who, name) = (words.next().unwrap_or("init"), words.next().unwrap_or(""));
    let id =
        |word: &str| if word == "init" { "0".to_string() } else { word.trim_start_matches('p').to_string() };
    let words: Vec<&str> = words.collect();
    // A path in the /proc of init has init's number.
    let pid = if name == "setns" && words.get(1) != Some(&"0") { "I" } else { "P" };
    let mut arguments: Vec<String> = Vec::new();
    for (i, word) in words.into_iter().enumerate() {
        let bare = word.trim_start_matches('-');
        let sign = if bare.len() < word.len() { "-" } else { "" };
        let is_actor = bare == "init" || bare.starts_with('p');
        arguments.push(match (is_actor, name, i) {
            (true, "fork", 0) => id(bare),
            (true, ..) => format!("{sign}{pid}({})", id(bare)),
            (false, ..) => word.into(),
        });
    }
    arguments.resize(3, "0".into());
    format!("DO({}, OP_{}, {});", id(who), name.to_uppercase(), arguments.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{MARK, RUNTIME, statement};

    #[test]
    fn operations_become_statements() {
        assert_eq!(statement("p3 kill -p5 9"), "DO(3, OP_KILL, -P(5), 9, 0);");
        assert_eq!(statement("init fork p7 0x11 2"), "DO(0, OP_FORK, 7, 0x11, 2);");
        assert_eq!(statement("p12 setsid"), "DO(12, OP_SETSID, 0, 0, 0);");
        assert_eq!(statement("p1 waitid 1 p2 -1"), "DO(1, OP_WAITID, 1, P(2), -1);");
        assert_eq!(statement("p1 setns p2 0"), "DO(1, OP_SETNS, P(2), 0, 0);");
        assert_eq!(statement("p1 setns p2 2"), "DO(1, OP_SETNS, I(2), 2, 0);");
    }

    #[test]
    fn the_runtime_has_a_place_for_them() {
        assert!(RUNTIME.contains(MARK));
    }

    /// Each operation of the fuzzer is in the list of the reproducer's.
    #[test]
    fn the_runtime_knows_every_operation() {
        let operations =
            include_str!("../../../fuzz/fuzz.h").lines().filter_map(|line| line.trim().strip_prefix("X("));
        let names: Vec<&str> =
            operations.filter_map(|rest| rest.split_once(',')).map(|(name, _)| name).collect();
        assert!(names.len() > 30);
        for name in names.iter().filter(|name| **name != "code") {
            assert!(RUNTIME.contains(&format!("case OP_{name}:")), "{name}");
        }
    }
}
