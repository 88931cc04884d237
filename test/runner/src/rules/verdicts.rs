//! How the assertions of each rule went in the last run of each program, in small files under `build/results`.
//!
//! One file per place (`linux`, `foster-1cpu`, `foster-2cpu`), one line per program and rule: `reparent 2.10 ok`. A run
//! replaces the lines of the programs that it ran.

use std::collections::BTreeMap;

use super::source::named;
use crate::{Outcome, workspace};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Skipped,
    Passed,
    Failed,
}

/// What one run of the suite said: of each program and rule the worst, where skipping is better than passing.
#[derive(Default)]
pub struct Verdicts(BTreeMap<(String, String), Verdict>);

impl Verdicts {
    /// One assertion, in the text as TAP has it: "3 - [2.10] text".
    pub fn add(&mut self, program: &str, test: &str, verdict: Verdict) {
        let Some((rules, _)) = test.split_once(" - ").and_then(|(_, text)| named(text)) else {
            return;
        };
        for rule in rules {
            let worst = self.0.entry((program.into(), rule)).or_insert(verdict);
            *worst = (*worst).max(verdict);
        }
    }

    /// Keeps them as the last run of `place`.
    pub fn save(self, place: &str) -> Outcome<()> {
        let mut all = read(place);
        all.0.retain(|(program, _), _| !self.0.keys().any(|(ran, _)| ran == program));
        all.0.extend(self.0);
        let text: String = all
            .0
            .iter()
            .map(|((program, rule), verdict)| format!("{program} {rule} {}\n", word(*verdict)))
            .collect();
        workspace::write(&workspace::build(&format!("results/{place}"))?, text)
    }

    /// Of a program that has run. What it then said nothing of, it has passed over.
    fn get(&self, program: &str, rule: &str) -> Option<Verdict> {
        let said = self.0.get(&(program.into(), rule.into())).copied();
        said.or_else(|| self.0.keys().any(|(ran, _)| ran == program).then_some(Verdict::Skipped))
    }
}

/// The last runs on Linux and on Foster.
#[derive(Default)]
pub struct Runs {
    linux: Verdicts,
    foster: [Verdicts; 2],
}

impl Runs {
    pub fn read() -> Self {
        Self { linux: read("linux"), foster: [read("foster-1cpu"), read("foster-2cpu")] }
    }

    pub fn on_linux(&self, program: &str, rule: &str) -> Option<Verdict> {
        self.linux.get(program, rule)
    }

    pub fn on_foster(&self, program: &str, rule: &str) -> Option<Verdict> {
        self.foster.iter().filter_map(|run| run.get(program, rule)).max()
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Skipped => "skipped",
        Verdict::Passed => "ok",
        Verdict::Failed => "failed",
    }
}

fn read(place: &str) -> Verdicts {
    let path = workspace::root().join("build/results").join(place);
    parse(&workspace::read_text(&path).unwrap_or_default())
}

fn parse(text: &str) -> Verdicts {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split(' ').map(str::to_string);
        let key = (words.next()?, words.next()?);
        let last = words.next()?;
        let verdict =
            [Verdict::Skipped, Verdict::Passed, Verdict::Failed].into_iter().find(|v| word(*v) == last)?;
        Some((key, verdict))
    });
    Verdicts(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::{Verdict, Verdicts, parse};

    #[test]
    fn keeps_the_worst_of_a_rule() {
        let mut verdicts = Verdicts::default();
        verdicts.add("a", "1 - [1.1,1.2] x", Verdict::Passed);
        verdicts.add("a", "2 - [1.1] y", Verdict::Failed);
        verdicts.add("a", "3 - [1.2] z # SKIP no root", Verdict::Skipped);
        assert_eq!(verdicts.get("a", "1.1"), Some(Verdict::Failed));
        assert_eq!(verdicts.get("a", "1.2"), Some(Verdict::Passed));
        assert_eq!(verdicts.get("a", "1.3"), Some(Verdict::Skipped));
        assert_eq!(verdicts.get("b", "1.2"), None);
        assert_eq!(parse("a 1.1 failed\nb 2.2 ok\n?").0.len(), 2);
    }
}
