//! The assertions of the C suite, read from its sources: string literals that begin with rules in brackets.

use std::path::Path;

use crate::{Outcome, workspace};

#[derive(Debug, PartialEq)]
pub struct Assertion {
    pub program: String,
    pub rules: Vec<String>,
    pub text: String,
}

/// Of all programs in the directory, in the order of their names and of the sources.
pub fn assertions(suite: &Path) -> Outcome<Vec<Assertion>> {
    let listing = std::fs::read_dir(suite).map_err(|e| format!("cannot list {}: {e}", suite.display()))?;
    let mut sources: Vec<_> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
    sources.sort();
    let mut all = Vec::new();
    for path in sources {
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        all.extend(of_program(name, &workspace::read_text(&path)?));
    }
    Ok(all)
}

pub fn of_program(program: &str, source: &str) -> Vec<Assertion> {
    literals(source)
        .into_iter()
        .filter_map(|literal| {
            let (rules, text) = named(&literal)?;
            Some(Assertion { program: program.into(), rules, text: text.into() })
        })
        .collect()
}

/// "[2.10,4.8] text" as its rules and its text.
pub fn named(text: &str) -> Option<(Vec<String>, &str)> {
    let (rules, text) = text.strip_prefix('[')?.split_once("] ")?;
    let is_rule = |rule: &str| {
        !rule.is_empty()
            && rule.chars().all(|c| c.is_ascii_alphanumeric() || c == '.')
            && !rule.starts_with('.')
    };
    let rules: Vec<String> = rules.split(',').map(str::to_string).collect();
    rules.iter().all(|rule| is_rule(rule)).then_some((rules, text))
}

/// The string literals of a C source, adjacent ones joined, escapes as they stand.
fn literals(source: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    // Does the last literal go on in the next, nothing but space between them?
    let mut joined = false;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.split_once("*/").map_or("", |(_, after)| after);
        } else if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.split_once('\n').map_or("", |(_, after)| after);
        } else if first == '"' || first == '\'' {
            let end = end_of_literal(&rest[1..], first);
            let literal = &rest[1..1 + end];
            rest = rest.get(end + 2..).unwrap_or("");
            if first == '"' {
                match found.last_mut().filter(|_| joined) {
                    Some(last) => last.push_str(literal),
                    None => found.push(literal.into()),
                }
            }
            joined = first == '"';
        } else {
            joined &= first.is_whitespace();
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

fn end_of_literal(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::{literals, named, of_program};

    #[test]
    fn finds_and_joins_literals() {
        let source = "f('\"', \"a\\\"b\" /* \"no\" */ ); // \"no\"\n g(\"c\"\n  \"d\", \"e\")";
        assert_eq!(literals(source), ["a\\\"b", "cd", "e"]);
    }

    #[test]
    fn knows_an_assertion() {
        assert_eq!(named("[2.10,mm] text"), Some((vec!["2.10".into(), "mm".into()], "text")));
        assert_eq!(named("[stack]"), None);
        assert_eq!(named("[a b] c"), None);
        let found = of_program("p", "CHECK(x, \"[1.2] works\"); puts(\"[heap]\");");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].program.as_str(), found[0].text.as_str()), ("p", "works"));
    }
}
