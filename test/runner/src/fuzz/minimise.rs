//! Makes a script that differs as short as it gets: delta debugging over operations.
//!
//! In each round the script is cut into chunks. Every script without one of the chunks is tried, all in one boot. Those
//! chunks that can go alone are then taken away one after the other, again all in one boot; the shortest script that still
//! differs goes on. An operation whose actors are gone is skipped by the fuzzer, so any part of a script is a script.

use super::side::{Block, Side, Work};
use super::{Difference, find};
use crate::Outcome;
use crate::listen::Progress;

/// A script and what the two kernels say to it.
pub struct Case {
    pub linux: Block,
    pub foster: Block,
}

const MAX_ROUNDS: usize = 40;

pub fn minimise(script: Vec<String>, linux: &Side, foster: &Side, progress: &Progress) -> Outcome<Case> {
    let mut script = script;
    let mut parts = 8.min(script.len().max(1));
    for _ in 0..MAX_ROUNDS {
        progress.show(&format!("    minimising: {} operations", script.len()));
        let chunks = chunks(script.len(), parts);
        let candidates: Vec<Vec<String>> = chunks.iter().map(|chunk| without(&script, &[chunk])).collect();
        let alone = differing(&candidates, linux, foster, progress)?;
        let removable: Vec<&(usize, usize)> =
            chunks.iter().zip(&alone).filter(|(_, differs)| **differs).map(|(chunk, _)| chunk).collect();
        if !removable.is_empty() {
            let candidates: Vec<Vec<String>> =
                (1..=removable.len()).map(|n| without(&script, &removable[..n])).collect();
            let together = differing(&candidates, linux, foster, progress)?;
            // The first of them is known to differ.
            let best = together.iter().rposition(|differs| *differs).unwrap_or(0);
            script = candidates[best].clone();
            parts = parts.min(script.len().max(1));
            continue;
        }
        if parts >= script.len() {
            break;
        }
        parts = (parts * 2).min(script.len());
    }
    let work = Work::Scripts(vec![script]);
    let (linux, foster) = (linux.run(&work, progress)?, foster.run(&work, progress)?);
    let first = |blocks: Vec<Block>| blocks.into_iter().next().ok_or("a script did not run".to_string());
    Ok(Case { linux: first(linux)?, foster: first(foster)? })
}

/// `len` operations in `parts` ranges, as even as they get.
fn chunks(len: usize, parts: usize) -> Vec<(usize, usize)> {
    (0..parts).map(|i| (i * len / parts, (i + 1) * len / parts)).filter(|(from, to)| from < to).collect()
}

fn without(script: &[String], chunks: &[&(usize, usize)]) -> Vec<String> {
    let gone = |i: usize| chunks.iter().any(|(from, to)| (*from..*to).contains(&i));
    script.iter().enumerate().filter(|(i, _)| !gone(*i)).map(|(_, line)| line.clone()).collect()
}

fn differing(
    candidates: &[Vec<String>],
    linux: &Side,
    foster: &Side,
    progress: &Progress,
) -> Outcome<Vec<bool>> {
    let work = Work::Scripts(candidates.to_vec());
    let (linux, foster) = (linux.run(&work, progress)?, foster.run(&work, progress)?);
    Ok((0..candidates.len())
        .map(|i| {
            let name = format!("s{i}");
            match (find(&linux, &name), find(&foster, &name)) {
                (Some(linux), Some(foster)) => Difference::between(linux, foster).is_some(),
                _ => false,
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{chunks, without};

    #[test]
    fn chunks_cover_the_script_once() {
        assert_eq!(chunks(10, 3), [(0, 3), (3, 6), (6, 10)]);
        assert_eq!(chunks(2, 4), [(0, 1), (1, 2)]);
        assert_eq!(chunks(0, 1), []);
    }

    #[test]
    fn chunks_can_be_left_out() {
        let script: Vec<String> = ["a", "b", "c", "d"].map(String::from).to_vec();
        assert_eq!(without(&script, &[&(1, 3)]), ["a", "d"]);
        assert_eq!(without(&script, &[&(0, 1), &(3, 4)]), ["b", "c"]);
    }
}
