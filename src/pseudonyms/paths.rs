//! Patterns of paths, of which a file of rules may have a hundred thousand: the first one that fits a path is found without a
//! look at the others.
//!
//! A pattern without `*` is looked up in a table. Of every other one, its longest piece of text is searched for, all at once by
//! one automaton (Aho and Corasick, 1975); the pattern itself is only tried where its piece occurs.

use crate::{Error, Result};
use aho_corasick::AhoCorasick;
use std::collections::HashMap;

/// Patterns in which `*` stands for any text; case is ignored. They are known by their numbers, in the order of precedence.
pub struct PathPatterns {
    /// The first pattern of each text without `*`.
    whole: HashMap<String, usize>,
    /// The others: the pieces around every `*`, in lower case.
    globs: Vec<(usize, Vec<String>)>,
    /// Finds the longest piece of each glob, by its place in `globs`.
    pieces: AhoCorasick,
    /// The globs that consist of `*` alone, which fit everything.
    any: Option<usize>,
}

impl PathPatterns {
    pub fn new<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<Self> {
        let (mut whole, mut globs, mut any) = (HashMap::new(), Vec::new(), None);
        for (number, pattern) in patterns.enumerate() {
            let pattern = pattern.to_lowercase();
            let pieces: Vec<String> = pattern.split('*').map(str::to_string).collect();
            if pieces.len() == 1 {
                whole.entry(pattern).or_insert(number);
            } else if pieces.iter().all(String::is_empty) {
                any = any.or(Some(number));
            } else {
                globs.push((number, pieces));
            }
        }
        let longest = |(_, pieces): &(usize, Vec<String>)| pieces.iter().max_by_key(|piece| piece.len()).cloned();
        let pieces = AhoCorasick::new(globs.iter().filter_map(longest))
            .map_err(|e| Error::usage(format!("the paths of the rules are too many or too long: {e}")))?;
        Ok(PathPatterns { whole, globs, pieces, any })
    }

    /// The number of the first pattern that fits.
    pub fn first(&self, path: &str) -> Option<usize> {
        let path = path.to_lowercase();
        let mut first = self.whole.get(&path).copied().into_iter().chain(self.any).min();
        for found in self.pieces.find_overlapping_iter(&path) {
            let (number, pieces) = &self.globs[found.pattern().as_usize()];
            if first.is_none_or(|first| *number < first) && fits(pieces, &path) {
                first = Some(*number);
            }
        }
        first
    }
}

/// Whether the text consists of the pieces, in order, with any text between two of them. There are at least two.
fn fits(pieces: &[String], text: &str) -> bool {
    let (begin, end) = (&pieces[0], &pieces[pieces.len() - 1]);
    let Some(rest) = text.strip_prefix(begin.as_str()).and_then(|rest| rest.strip_suffix(end.as_str())) else {
        return false;
    };
    // The first place of each piece leaves most text to those that follow.
    pieces[1..pieces.len() - 1]
        .iter()
        .try_fold(rest, |rest, piece| rest.find(piece.as_str()).map(|at| &rest[at + piece.len()..]))
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a pattern means, by a regular expression.
    fn by_regex(patterns: &[&str], path: &str) -> Option<usize> {
        patterns.iter().position(|pattern| {
            let parts: Vec<String> = pattern.split('*').map(regex::escape).collect();
            regex::Regex::new(&format!("(?is)^{}$", parts.join(".*"))).unwrap().is_match(path)
        })
    }

    #[test]
    fn the_first_pattern_that_fits_is_the_one_that_a_regular_expression_finds() {
        let patterns =
            ["a.b", "a.*", "*.id", "*User*Name*", "a*b*a", "A.B", "x.*.y", "x.*.*.y", "**z", "q*q", "Ärger.*", ".*.*"];
        let paths = [
            "a.b",
            "a.c",
            "A.C",
            "a.",
            "a",
            "x.id",
            "ID",
            ".id",
            "myUserFirstName",
            "username",
            "userNam",
            "aba",
            "abba",
            "aa",
            "aXbXa",
            "x.1.y",
            "x.y",
            "x.1.2.y",
            "x..y",
            "z",
            "zz",
            "zy",
            "q",
            "qq",
            "ärger.x",
            "a\n.id",
            "",
            "..",
            "x.y.",
        ];
        let found = PathPatterns::new(patterns.into_iter()).unwrap();
        for path in paths {
            assert_eq!(found.first(path), by_regex(&patterns, path), "{path:?}");
        }
        let any = PathPatterns::new(["b", "*", "a"].into_iter()).unwrap();
        assert_eq!(["a", "b", ""].map(|path| any.first(path)), [Some(1), Some(0), Some(1)]);
        assert_eq!(PathPatterns::new([].into_iter()).unwrap().first("a"), None);
    }
}
