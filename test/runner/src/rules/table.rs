//! The page itself.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::list::{Lists, Program, Rule};
use super::source::Assertion;
use super::verdicts::{Runs, Verdict};

/// Stands where no run has said anything, neither here nor in the table from before.
pub const UNKNOWN: &str = "never ran";

const HEAD: &str = "# Rules and assertions

Made by `cargo run -q -p runner -- rules`; not to be edited. Each row is a rule of the specification of the process life
cycle, with what the programs in `test/c` assert about it, and how that went on Linux and on Foster, the worse of one and
two CPUs. `make test` fails when this page is stale, when an assertion names a rule that does not exist, and when a rule has
neither an assertion nor a reason in `test/c/EXCUSES`.
";

pub fn render(lists: &Lists, assertions: &[Assertion], runs: &Runs, before: &str) -> String {
    let before = cells(before);
    let mut rows = String::new();
    let (mut with, mut without) = (0, 0);
    for section in &lists.sections {
        let counted = section.rules.iter().any(|rule| !is_word(rule));
        let _ = write!(
            rows,
            "\n## {}\n\n| rule | about | assertions | Linux | Foster |\n|---|---|---|---|---|\n",
            section.title
        );
        for rule in &section.rules {
            let about: Vec<&Assertion> =
                assertions.iter().filter(|assertion| assertion.rules.contains(&rule.number)).collect();
            let row = Row { lists, rule, assertions: &about, old: before.get(rule.number.as_str()).copied() };
            row.render(runs, &mut rows);
            with += usize::from(counted && !about.is_empty());
            without += usize::from(counted && about.is_empty());
        }
    }
    let sum = format!("\n{with} rules have assertions, {without} have a reason why not.\n");
    [HEAD, &sum, &rows].concat()
}

fn is_word(rule: &Rule) -> bool {
    !rule.number.contains(|c: char| c.is_ascii_digit())
}

/// What the table from before said of each rule: its last two cells.
fn cells(page: &str) -> BTreeMap<&str, (&str, &str)> {
    page.lines()
        .filter_map(|line| {
            let (rest, foster) = line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | ")?;
            let (rest, linux) = rest.rsplit_once(" | ")?;
            Some((rest.split_once(" | ")?.0, (linux, foster)))
        })
        .collect()
}

struct Row<'a> {
    lists: &'a Lists,
    rule: &'a Rule,
    assertions: &'a [&'a Assertion],
    old: Option<(&'a str, &'a str)>,
}

impl Row<'_> {
    fn render(&self, runs: &Runs, page: &mut String) {
        let number = &self.rule.number;
        let (mut linux, mut foster) = ("–".to_string(), "–".to_string());
        if !self.assertions.is_empty() {
            let programs = self.programs();
            let with = |what: fn(&Program) -> bool| {
                let listed = |name: &str| self.lists.programs.iter().any(|p| p.name == name && what(p));
                programs.iter().copied().partition::<Vec<&str>, _>(|name| listed(name))
            };
            let (_, on_linux) = with(|program| program.foster_only);
            let (later, here) = with(|program| program.next);
            if !on_linux.is_empty() {
                linux = cell(&on_linux, &[], |name| runs.on_linux(name, number), self.old.map(|old| old.0));
            }
            foster = cell(&here, &later, |name| runs.on_foster(name, number), self.old.map(|old| old.1));
        }
        let _ = writeln!(
            page,
            "| {number} | {} | {} | {linux} | {foster} |",
            escaped(&self.rule.about),
            self.assertions_cell()
        );
    }

    fn programs(&self) -> Vec<&str> {
        let mut programs: Vec<&str> =
            self.assertions.iter().map(|assertion| assertion.program.as_str()).collect();
        programs.dedup();
        programs
    }

    /// By program: its assertions. A subject that is no rule has too many of them: their number.
    fn assertions_cell(&self) -> String {
        let mut parts = Vec::new();
        for program in self.programs() {
            let own = self.assertions.iter().filter(|assertion| assertion.program == program);
            if is_word(self.rule) {
                parts.push(format!("**{program}** {}", own.count()));
                continue;
            }
            // What stands in parentheses is only what has to hold first.
            let (asides, mut texts): (Vec<&str>, Vec<&str>) =
                own.map(|assertion| assertion.text.as_str()).partition(|text| text.starts_with('('));
            if texts.is_empty() {
                texts = asides;
            }
            let texts: Vec<String> = texts.into_iter().map(escaped).collect();
            parts.push(format!("**{program}** {}", texts.join("; ")));
        }
        if let Some(excuse) = self.lists.excuse(&self.rule.number) {
            let what = if excuse.in_part { "Not covered: " } else { "" };
            parts.push(format!("*{what}{}*", escaped(&excuse.reason)));
        }
        parts.join("<br>")
    }
}

/// The sum over the programs that run; what was said before, if one of them has not run here.
fn cell(
    programs: &[&str],
    later: &[&str],
    verdict: impl Fn(&str) -> Option<Verdict>,
    old: Option<&str>,
) -> String {
    let verdicts: Vec<(&str, Option<Verdict>)> = programs.iter().map(|name| (*name, verdict(name))).collect();
    if verdicts.iter().any(|(_, verdict)| verdict.is_none()) {
        return match old {
            Some(old) if old != "–" => old.into(),
            _ => UNKNOWN.into(),
        };
    }
    let of = |wanted: Verdict| {
        let names = verdicts.iter().filter(|(_, verdict)| *verdict == Some(wanted)).map(|(name, _)| *name);
        names.collect::<Vec<_>>().join(", ")
    };
    let failed = of(Verdict::Failed);
    let sum = if !failed.is_empty() {
        format!("**fails** in {failed}")
    } else if !of(Verdict::Passed).is_empty() {
        "ok".into()
    } else if !verdicts.is_empty() {
        "skipped".into()
    } else {
        return "not yet".into();
    };
    if later.is_empty() { sum } else { format!("{sum}; not yet {}", later.join(", ")) }
}

/// For a cell of a table: conversions of printf show as an ellipsis.
fn escaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before.strip_suffix("0x").unwrap_or(before));
        let end = after.find(|c: char| "dsxuc".contains(c));
        plain.push('…');
        rest = end.map_or("", |end| &after[end + 1..]);
    }
    plain.push_str(rest);
    plain
        .replace("\\\"", "\"")
        .replace("\\\\", "\\")
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('*', "\\*")
}

#[cfg(test)]
mod tests {
    use super::{Runs, UNKNOWN, escaped, render};
    use crate::rules::{list::Lists, source};

    #[test]
    fn keeps_what_was_known_and_says_what_is_not() {
        let lists = Lists::parse("## 1 One\n1.1\tone\n1.2\ttwo\n1.3\tthree", "1.3\tnever", "p 1 -\nq 1 next")
            .unwrap();
        let mut assertions = source::of_program("p", r#""[1.1] a" , "[1.2] (b)""#);
        assertions.extend(source::of_program("q", r#""[1.2] c""#));
        let page = render(&lists, &assertions, &Runs::default(), "| 1.1 | x | y | ok | **fails** in p |\n");
        assert!(page.contains("| 1.1 | one | **p** a | ok | **fails** in p |"), "{page}");
        assert!(
            page.contains(&format!("| 1.2 | two | **p** (b)<br>**q** c | {UNKNOWN} | {UNKNOWN} |")),
            "{page}"
        );
        assert!(page.contains("| 1.3 | three | *never* | – | – |"), "{page}");
        assert!(page.contains("2 rules have assertions, 1 have a reason"));
    }

    #[test]
    fn texts_fit_into_cells() {
        assert_eq!(escaped("option 0x%lx | <tid>"), "option … \\| &lt;tid>");
    }
}
