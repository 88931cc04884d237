//! What the layers of `make test` add up to.

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
    pub failures: Vec<Failure>,
}

impl Results {
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.skipped += other.skipped;
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
        results.add(Results { passed: 1, skipped: 2, failures: vec![Failure::new("x")] });
        assert_eq!(results.summary(), "4 passed, 1 failed, 2 skipped");
    }
}
