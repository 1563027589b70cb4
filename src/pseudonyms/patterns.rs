//! Patterns of places in text: those that match a text at all are found at once, however many there are.

use crate::{Error, Result};
use aho_corasick::AhoCorasick;
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use std::sync::OnceLock;

/// The size limit in bytes of the automaton for all regular expressions. With the default of 2 MB, it is discarded and rebuilt
/// all the time.
const SET_CACHE: usize = 64 << 20;

/// Characters that mean something in a regular expression. A pattern without them is looked up as it is.
const SYNTAX: &[char] = &['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'];

/// A regular expression of a rule.
pub struct TextPattern {
    /// Where the rule stands, for messages.
    origin: String,
    text: String,
    /// Compiled when the pattern first matches: of very many rules, few ever do.
    regex: OnceLock<Regex>,
}

impl TextPattern {
    pub fn new(origin: &str, text: String) -> Self {
        Self { origin: origin.to_string(), text, regex: OnceLock::new() }
    }

    pub fn regex(&self) -> &Regex {
        // The set of all patterns has a limit of size, so that this one needs none.
        let compile = || RegexBuilder::new(&self.text).size_limit(usize::MAX).build();
        self.regex.get_or_init(|| compile().expect("the set of all patterns was compiled"))
    }

    fn is_literal(&self) -> bool {
        !self.text.contains(SYNTAX)
    }
}

/// All patterns, in the order of precedence.
pub struct TextPatterns {
    patterns: Vec<TextPattern>,
    /// The patterns without syntax, and those with it; each with their numbers in `patterns`.
    literals: (AhoCorasick, Vec<usize>),
    regexes: (RegexSet, Vec<usize>),
}

impl TextPatterns {
    /// Errors: a pattern that is no regular expression, or too large; they name its file.
    pub fn new(patterns: Vec<TextPattern>) -> Result<Self> {
        let (literal, regular): (Vec<usize>, Vec<usize>) =
            (0..patterns.len()).partition(|&number| patterns[number].is_literal());
        let texts = |numbers: &[usize]| numbers.iter().map(|&number| patterns[number].text.clone()).collect::<Vec<_>>();
        let literals = AhoCorasick::new(texts(&literal))
            .map_err(|e| Error::usage(format!("the words of the text rules are too many or too long: {e}")))?;
        let regexes = RegexSetBuilder::new(texts(&regular)).dfa_size_limit(SET_CACHE).build();
        let regexes = regexes.map_err(|error| fault(regular.iter().map(|&number| &patterns[number]), &error))?;
        Ok(Self { literals: (literals, literal), regexes: (regexes, regular), patterns })
    }

    /// The numbers of the patterns that match the text, in the order of precedence.
    pub fn matching(&self, text: &str) -> Vec<usize> {
        let mut numbers: Vec<usize> = self.regexes.0.matches(text).into_iter().map(|at| self.regexes.1[at]).collect();
        let (automaton, literals) = &self.literals;
        // The built-in rules have none.
        if !literals.is_empty() {
            numbers.extend(automaton.find_overlapping_iter(text).map(|found| literals[found.pattern().as_usize()]));
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    pub fn get(&self, number: usize) -> &TextPattern {
        &self.patterns[number]
    }
}

/// Why the patterns cannot be compiled together: names the one at fault, if one alone is.
fn fault<'a>(mut patterns: impl Iterator<Item = &'a TextPattern>, all: &regex::Error) -> Error {
    let mut file = String::new();
    let alone = patterns.find_map(|TextPattern { origin, text, .. }| {
        if file.is_empty() {
            file.clone_from(origin);
        }
        let error = Regex::new(text).err()?;
        Some(format!("{origin}: regex '{text}': expected a regular expression: {error}"))
    });
    Error::usage(alone.unwrap_or_else(|| {
        format!("{file}: the regular expressions of its text rules are too many: together, {all}; words without syntax have no limit")
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Result<TextPatterns> {
        let pattern = |text: &&str| TextPattern::new("my.toml", text.to_string());
        TextPatterns::new(texts.iter().map(pattern).collect())
    }

    #[test]
    fn words_and_expressions_are_found_in_their_order() {
        let patterns = patterns(&["b+", "abc", "a-1", "c$", "ab", "", "x"]).unwrap();
        let found = |text| patterns.matching(text).iter().map(|&at| patterns.get(at).text.clone()).collect::<Vec<_>>();
        assert_eq!(found("abc abc"), ["b+", "abc", "c$", "ab", ""]);
        assert_eq!(found("a-1"), ["a-1", ""]);
        assert_eq!(found("ABC"), [""]);
    }

    #[test]
    fn too_many_expressions_are_refused_together() {
        let texts: Vec<String> = (0..50_000).map(|i| format!("employee-{i}-[a-z]+")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let message = patterns(&texts).err().unwrap().to_string();
        assert!(message.contains("my.toml: the regular expressions of its text rules are too many"), "{message}");
    }
}
