//! The lists beside the C suite: RULES, EXCUSES, TESTS. Lines of fields; `#` begins a comment, `##` a section of RULES.

use std::path::Path;

use crate::{Outcome, workspace};

pub struct Rule {
    pub number: String,
    pub about: String,
}

pub struct Section {
    pub title: String,
    pub rules: Vec<Rule>,
}

pub struct Excuse {
    pub number: String,
    pub reason: String,
    /// Some of the rule has assertions.
    pub in_part: bool,
}

pub struct Program {
    pub name: String,
    /// Foster does not run it yet.
    pub next: bool,
    /// It tests what only Foster has.
    pub foster_only: bool,
}

pub struct Lists {
    pub sections: Vec<Section>,
    pub excuses: Vec<Excuse>,
    pub programs: Vec<Program>,
}

impl Lists {
    pub fn read(suite: &Path) -> Outcome<Self> {
        let text = |name: &str| workspace::read_text(&suite.join(name));
        Self::parse(&text("RULES")?, &text("EXCUSES")?, &text("TESTS")?)
    }

    pub fn parse(rules: &str, excuses: &str, tests: &str) -> Outcome<Self> {
        let mut sections: Vec<Section> = Vec::new();
        for line in rules.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                sections.push(Section { title: title.into(), rules: Vec::new() });
            } else if let Some((number, about)) = fields(line, "RULES")? {
                let section = sections.last_mut().ok_or("RULES: a rule before the first section")?;
                section.rules.push(Rule { number, about });
            }
        }
        let mut reasons = Vec::new();
        for line in excuses.lines() {
            if let Some((number, reason)) = fields(line, "EXCUSES")? {
                let (in_part, reason) = match reason.strip_prefix("part: ") {
                    Some(rest) => (true, rest.to_string()),
                    None => (false, reason),
                };
                reasons.push(Excuse { number, reason, in_part });
            }
        }
        let programs = tests.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let mut words = line.split_whitespace();
            let name = words.next()?.to_string();
            let tags = words.nth(1).unwrap_or("");
            let has = |wanted: &str| tags.split(',').any(|tag| tag == wanted);
            Some(Program { name, next: has("next"), foster_only: has("foster") })
        });
        Ok(Self { sections, excuses: reasons, programs: programs.collect() })
    }

    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.sections.iter().flat_map(|section| &section.rules)
    }

    pub fn rule(&self, number: &str) -> Option<&Rule> {
        self.rules().find(|rule| rule.number == number)
    }

    pub fn excuse(&self, number: &str) -> Option<&Excuse> {
        self.excuses.iter().find(|excuse| excuse.number == number)
    }
}

/// The number and the text of a line, or nothing for a comment.
fn fields(line: &str, file: &str) -> Outcome<Option<(String, String)>> {
    if line.trim().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (number, text) = line.split_once('\t').ok_or_else(|| format!("{file}: no tab in '{line}'"))?;
    Ok(Some((number.into(), text.trim().into())))
}
