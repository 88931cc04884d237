//! Reads the output of the C suite: TAP of one program after the other, framed by the lines of its `init`.
//!
//! ```text
//! # running subreaper
//! ok 1 - [1.3] the flag is off at first
//! not ok 2 - [1.4] ...
//! # case set_and_get, subreaper.c:12: got 0, expected 1
//! ok 3 - [1.5] ... # SKIP needs root
//! 1..3
//! # FAILED subreaper (12 ms): status 1
//! suite: 0 programs passed, 1 failed
//! ```
//!
//! Every assertion is a test. A program that dies, or whose plan does not fit, is one more failure, unless one of its
//! assertions has already told so.

use crate::results::{Failure, Results};
use crate::rules::verdicts::{Verdict, Verdicts};

#[derive(Default)]
pub struct Suite {
    /// Of the programs that came to their end.
    pub results: Results,
    /// Their number.
    pub programs: usize,
    /// Of each rule that they name.
    pub verdicts: Verdicts,
    running: Option<Program>,
    /// Did init say its last line?
    pub complete: bool,
}

struct Program {
    name: String,
    results: Results,
    plan: Option<usize>,
    /// Do diagnostics that come now belong to a failure?
    explaining: bool,
    bailed_out: bool,
}

impl Suite {
    /// The program that has begun and not ended.
    pub fn running(&self) -> Option<&str> {
        Some(&self.running.as_ref()?.name)
    }

    pub fn take(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("# running ") {
            self.abandon("it was followed by another program");
            let name = name.trim().to_string();
            let results = Results::default();
            self.running = Some(Program { name, results, plan: None, explaining: false, bailed_out: false });
        } else if line.starts_with("suite: ") {
            self.abandon("the suite ended in it");
            self.complete = true;
        } else if let Some(program) = &mut self.running {
            match end_of(line, &program.name) {
                Some(verdict) => self.end(verdict),
                None => program.take(line, &mut self.verdicts),
            }
        }
    }

    /// The running program, if there is one, never came to its end.
    pub fn abandon(&mut self, why: &str) {
        if let Some(mut program) = self.running.take() {
            program.results.failures.push(Failure::new(format!("{}: {why}", program.name)));
            self.results.add(program.results);
            self.programs += 1;
        }
    }

    fn end(&mut self, verdict: Result<(), String>) {
        let Some(mut program) = self.running.take() else { return };
        let results = &program.results;
        let seen = results.passed + results.skipped + results.failures.len();
        let complaint = match verdict {
            Err(why) if results.failures.is_empty() => Some(why),
            // A plan is the program's own word that it got to its end.
            _ if program.bailed_out => None,
            _ => match program.plan {
                Some(plan) if plan == seen => None,
                Some(plan) => Some(format!("planned {plan} tests, ran {seen}")),
                None => Some("ended without a plan".into()),
            },
        };
        if let Some(why) = complaint {
            program.results.failures.push(Failure::new(format!("{}: {why}", program.name)));
        }
        self.results.add(program.results);
        self.programs += 1;
    }
}

/// "# passed NAME (12 ms)" or "# FAILED NAME (12 ms): why".
fn end_of(line: &str, name: &str) -> Option<Result<(), String>> {
    let said = line.strip_prefix("# ")?;
    let (verdict, rest) = said.split_once(' ')?;
    let rest = rest.strip_prefix(name)?.strip_prefix(" (")?;
    match verdict {
        "passed" => Some(Ok(())),
        "FAILED" => Some(Err(rest.split_once("): ").map_or("failed", |(_, why)| why).into())),
        _ => None,
    }
}

impl Program {
    fn take(&mut self, line: &str, verdicts: &mut Verdicts) {
        if let Some(test) = line.strip_prefix("ok ") {
            self.explaining = false;
            if let Some((_, reason)) = test.split_once("# SKIP") {
                self.results.skip(reason.trim());
                verdicts.add(&self.name, test, Verdict::Skipped);
            } else {
                self.results.passed += 1;
                verdicts.add(&self.name, test, Verdict::Passed);
            }
        } else if let Some(test) = line.strip_prefix("not ok ") {
            self.explaining = true;
            verdicts.add(&self.name, test, Verdict::Failed);
            let text = test.split_once(" - ").map_or(test, |(_, text)| text);
            self.results.failures.push(Failure::new(format!("{}: {text}", self.name)));
        } else if let Some(plan) = line.strip_prefix("1..") {
            self.plan = plan.split(' ').next().and_then(|number| number.parse().ok());
        } else if line.starts_with("Bail out!") {
            self.bailed_out = true;
            self.results.failures.push(Failure::new(format!("{}: {line}", self.name)));
        } else if let Some(diagnostic) = line.strip_prefix("# ")
            && self.explaining
            && let Some(failure) = self.results.failures.last_mut()
        {
            failure.details.push(diagnostic.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Suite;

    fn read(text: &str) -> Suite {
        let mut suite = Suite::default();
        text.lines().for_each(|line| suite.take(line));
        suite
    }

    #[test]
    fn counts_assertions_and_keeps_what_explains_a_failure() {
        let suite = read(
            "# running a\nok 1 - [1.1] fine\nnot ok 2 - [1.2] bad\n# a.c:3: got 0\nok 3 - x # SKIP no root\n1..3\n\
             # FAILED a (3 ms): status 1\n# running b\nok 1 - y\n1..1\n# passed b (1 ms)\nsuite: 1 programs passed, 1 failed",
        );
        assert!(suite.complete);
        assert_eq!((suite.results.passed, suite.results.skipped, suite.programs), (2, 1, 2));
        assert_eq!(suite.results.failures.len(), 1);
        assert_eq!(suite.results.failures[0].what, "a: [1.2] bad");
        assert_eq!(suite.results.failures[0].details, ["a.c:3: got 0"]);
    }

    #[test]
    fn a_crash_is_a_failure_even_if_every_line_was_ok() {
        let suite = read("# running a\nok 1 - fine\n# FAILED a (3 ms): killed by signal 11\nsuite: ");
        assert_eq!(suite.results.failures[0].what, "a: killed by signal 11");
    }

    #[test]
    fn a_plan_that_does_not_fit_is_a_failure() {
        let suite = read("# running a\nok 1 - fine\n1..2\n# passed a (3 ms)\n");
        assert_eq!(suite.results.failures[0].what, "a: planned 2 tests, ran 1");
        let suite = read("# running a\nok 1 - fine\n# passed a (3 ms)\n");
        assert_eq!(suite.results.failures[0].what, "a: ended without a plan");
    }

    #[test]
    fn a_program_without_an_end_is_named() {
        let mut suite = read("# running a\nok 1 - fine\n# running b");
        assert_eq!(suite.running(), Some("b"));
        suite.abandon("no line in 10 s");
        assert!(!suite.complete);
        assert_eq!(suite.results.failures[1].what, "b: no line in 10 s");
    }
}
