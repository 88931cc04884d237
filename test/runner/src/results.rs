//! What the layers of `make test` add up to.

use std::collections::BTreeMap;

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub what: String,
    /// What the test said about it, line by line.
    pub details: Vec<String>,
}

impl Failure {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), details: Vec::new() }
    }

    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }
}

#[derive(Default)]
pub struct Results {
    pub passed: usize,
    pub skipped: usize,
    /// Why tests were skipped, where that was said, and how many.
    pub reasons: BTreeMap<String, usize>,
    pub failures: Vec<Failure>,
}

impl Results {
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped += other.skipped;
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.failures.extend(other.failures);
    }

    /// "12 passed, 0 failed", and the skipped if there are any.
    pub fn summary(&self) -> String {
        let mut text = format!("{} passed, {} failed", self.passed, self.failures.len());
        if self.skipped > 0 {
            text.push_str(&format!(", {} skipped", self.skipped));
        }
        text
    }

    /// A skipped test, and the reason for it.
    pub fn skip(&mut self, reason: &str) {
        self.skipped += 1;
        *self.reasons.entry(reason.into()).or_default() += 1;
    }

    /// Why tests were skipped, each with the number of tests, and what to do if there is something.
    pub fn print_reasons(&self) {
        for (reason, count) in &self.reasons {
            let advice = match reason.as_str() {
                "needs root" => ": `sudo make test` runs them, too",
                _ => "",
            };
            println!("    skipped {count}: {reason}{advice}");
        }
    }

    /// Every failure with its details, indented under it.
    pub fn print_failures(&self) {
        for failure in &self.failures {
            println!("    FAILED {}", failure.what);
            for line in &failure.details {
                println!("           {line}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Results};

    #[test]
    fn the_summary_names_skipped_tests_only_if_there_are_some() {
        let mut results = Results { passed: 3, ..Results::default() };
        assert_eq!(results.summary(), "3 passed, 0 failed");
        let mut more = Results { passed: 1, failures: vec![Failure::new("x")], ..Results::default() };
        more.skip("needs root");
        more.skip("needs root");
        results.add(more);
        assert_eq!(results.summary(), "4 passed, 1 failed, 2 skipped");
        assert_eq!(results.reasons["needs root"], 2);
    }
}
