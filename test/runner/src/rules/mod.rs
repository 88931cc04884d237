//! `runner rules`: which rule of the specification has which assertions, and how they went on Linux and on Foster.
//!
//! Three lists meet here. `test/c/RULES` has every rule and a few words about it; the sources of the C suite name the rules
//! that their assertions stand for; `test/c/EXCUSES` says why some rules have none. The table of all of them is
//! `docs/rules.md`. An assertion for a rule that does not exist, a rule that has neither assertion nor excuse, and an excuse
//! that is no longer true are errors.
//!
//! How the assertions went comes from the last runs of the suite (`build/results`, written by `verdicts`). What has not run
//! here since the checkout keeps what the committed table says, so the table can be made anew without running anything.
//! `make lint` looks at the numbers, `make test` at the table as well.

pub mod verdicts;

mod list;
mod source;
mod table;

use std::path::PathBuf;

use crate::results::{Failure, Results};
use crate::{Outcome, workspace};
use list::Lists;
use source::Assertion;

/// `runner rules`: writes the table. `runner rules check`: complains if the committed one is not that.
pub fn command(check_only: bool) -> Outcome<bool> {
    let results = if check_only { check()? } else { write()? };
    results.print_failures();
    println!("rules: {}", if results.failures.is_empty() { "clean" } else { "see above" });
    Ok(results.failures.is_empty())
}

/// Do the lists and the sources fit, and is the committed table made of them? How the assertions went on this machine does
/// not matter here: a failure shows where it happens.
pub fn check() -> Outcome<Results> {
    let (rendered, mut results) = render(false)?;
    if results.failures.is_empty() && workspace::read_text(&document()).unwrap_or_default() != rendered {
        let stale =
            Failure::new("docs/rules.md is stale").detail("`cargo run -q -p runner -- rules` makes it");
        results.failures.push(stale);
    } else if rendered.contains(table::UNKNOWN) {
        let unknown = Failure::new("docs/rules.md has assertions that never ran");
        results.failures.push(unknown.detail("run the suite here and in the guest, then `runner rules`"));
    }
    results.passed += usize::from(results.failures.is_empty());
    Ok(results)
}

/// Only whether the lists and the sources fit.
pub fn numbers() -> Outcome<Results> {
    Ok(render(false)?.1)
}

fn write() -> Outcome<Results> {
    let (rendered, results) = render(true)?;
    workspace::write(&document(), rendered)?;
    Ok(results)
}

fn document() -> PathBuf {
    workspace::root().join("docs/rules.md")
}

fn render(with_runs: bool) -> Outcome<(String, Results)> {
    let suite = workspace::root().join("test/c");
    let lists = Lists::read(&suite)?;
    let assertions = source::assertions(&suite)?;
    let failures = complaints(&lists, &assertions);
    let before = workspace::read_text(&document()).unwrap_or_default();
    let runs = if with_runs { verdicts::Runs::read() } else { verdicts::Runs::default() };
    let rendered = table::render(&lists, &assertions, &runs, &before);
    Ok((rendered, Results { failures, ..Results::default() }))
}

/// What is wrong with the three lists.
fn complaints(lists: &Lists, assertions: &[Assertion]) -> Vec<Failure> {
    let mut failures = Vec::new();
    for assertion in assertions {
        for rule in &assertion.rules {
            if lists.rule(rule).is_none() {
                let what = format!("{}: there is no rule {rule}", assertion.program);
                failures.push(Failure::new(what).detail(&assertion.text));
            }
        }
        if !lists.programs.iter().any(|program| program.name == assertion.program) {
            failures.push(Failure::new(format!("TESTS does not name {}", assertion.program)));
        }
    }
    for rule in lists.rules() {
        let named = assertions.iter().any(|assertion| assertion.rules.contains(&rule.number));
        match lists.excuse(&rule.number) {
            None if !named => {
                failures.push(Failure::new(format!("rule {} has neither assertion nor excuse", rule.number)));
            }
            Some(excuse) if named && !excuse.in_part => {
                let what = format!("rule {} is excused and has assertions", rule.number);
                failures.push(Failure::new(what).detail("begin its excuse with `part:`, or remove it"));
            }
            Some(excuse) if !named && excuse.in_part => {
                failures.push(Failure::new(format!("rule {} is excused in part, but has none", rule.number)));
            }
            _ => {}
        }
    }
    for excuse in lists.excuses.iter().filter(|excuse| lists.rule(&excuse.number).is_none()) {
        failures.push(Failure::new(format!("EXCUSES: there is no rule {}", excuse.number)));
    }
    failures.dedup();
    failures
}

#[cfg(test)]
mod tests {
    use super::{complaints, list::Lists, source};

    fn what_is_wrong(rules: &str, excuses: &str, text: &str) -> Vec<String> {
        let lists = Lists::parse(rules, excuses, "prog 1 -").unwrap();
        let assertions = source::of_program("prog", text);
        complaints(&lists, &assertions).into_iter().map(|failure| failure.what).collect()
    }

    #[test]
    fn complains_of_what_does_not_fit() {
        let rules = "## 1 One\n1.1\tone\n1.2\ttwo\n1.3\tthree";
        let source = r#"CHECK(x, "[1.1] a"); CHECK(y, "[1.4] b");"#;
        assert_eq!(
            what_is_wrong(rules, "1.3\tnot built\n1.1\tno\n9.9\tno", source),
            [
                "prog: there is no rule 1.4",
                "rule 1.1 is excused and has assertions",
                "rule 1.2 has neither assertion nor excuse",
                "EXCUSES: there is no rule 9.9",
            ]
        );
        assert!(what_is_wrong("## 1 One\n1.1\tone", "1.1\tpart: ptrace", r#""[1.1] a""#).is_empty());
    }
}
