//! Patterns of places in text: those that match a text at all are found at once, however many there are.

use crate::{Error, Result};
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

/// The size limit in bytes of the automaton for all regular expressions. With the default of 2 MB, it is discarded and rebuilt
/// all the time.
const SET_CACHE: usize = 64 << 20;

/// Characters that mean something in a regular expression. A pattern without them is looked up as it is.
const SYNTAX: &[char] = &['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'];

/// The origin of the rules of the program itself.
pub const BUILTIN: &str = "the built-in rules";

/// A regular expression of a rule.
pub struct TextPattern {
    /// Where the rule stands, for messages.
    origin: String,
    text: String,
    /// Whether a match begins or ends where a word does.
    edges: [bool; 2],
    /// Words of which a text contains one if the pattern matches it, in any case; none if that is not known.
    words: Vec<String>,
    /// Compiled when the pattern first matches: of very many rules, few ever do.
    compiled: OnceLock<Compiled>,
}

struct Compiled {
    regex: Regex,
    /// The numbers of the groups that may be the place, and of the group `key`.
    values: Vec<usize>,
    key: Option<usize>,
}

impl TextPattern {
    pub fn new(origin: &str, text: String, words: Vec<String>) -> Self {
        let begins = text.strip_prefix("(?i)").unwrap_or(&text).starts_with(r"\b");
        let edges = [begins, text.ends_with(r"\b") && !text.ends_with(r"\\b")];
        Self { origin: origin.to_string(), text, edges, words, compiled: OnceLock::new() }
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            // The set of all patterns has a limit of size, so that this one needs none.
            let regex = RegexBuilder::new(&with_ascii_boundaries(&self.text)).size_limit(usize::MAX).build();
            let regex = regex.expect("the set of all patterns was compiled");
            let group = |wanted: &str| regex.capture_names().position(|name| name == Some(wanted));
            let (values, key) = (["value", "single", "bare"].into_iter().filter_map(group).collect(), group("key"));
            Compiled { regex, values, key }
        })
    }

    /// The places of all matches, and what the group `key` matched in each. The place is that of the group `value`, `single` or
    /// `bare`, or the whole match.
    pub fn places<'a>(&self, text: &'a str) -> Vec<(Range<usize>, Option<&'a str>)> {
        let Compiled { regex, values, key } = self.compiled();
        let (mut places, mut from, mut groups) = (Vec::new(), 0, regex.capture_locations());
        let next = |at: usize| at + text[at..].chars().next().map_or(1, char::len_utf8);
        while from <= text.len()
            && let Some(whole) = regex.captures_read_at(&mut groups, text, from)
        {
            if self.is_cut_from_a_word(text, &whole.range()) {
                from = next(whole.start());
                continue;
            }
            from = if whole.is_empty() { next(whole.end()) } else { whole.end() };
            let value = values.iter().find_map(|group| groups.get(*group));
            let (start, end) = value.unwrap_or((whole.start(), whole.end()));
            let key = key.and_then(|key| groups.get(key)).map(|(start, end)| &text[start..end]);
            places.push((start..end, key));
        }
        places
    }

    /// Whether a letter beyond ASCII continues the word at an edge of the match, so that the word does not end there.
    fn is_cut_from_a_word(&self, text: &str, place: &Range<usize>) -> bool {
        let continues = |c: Option<char>| c.is_some_and(|c| !c.is_ascii() && c.is_alphanumeric());
        let [begins, ends] = self.edges;
        begins && continues(text[..place.start].chars().next_back())
            || ends && continues(text[place.end..].chars().next())
    }

    fn is_literal(&self) -> bool {
        !self.text.contains(SYNTAX)
    }
}

/// The expression with word boundaries that know letters of ASCII only. With others, the automaton gives up on every text that
/// is not ASCII, and the search takes 37 times as long; [`TextPattern::places`] looks at the edges of matches instead.
fn with_ascii_boundaries(text: &str) -> String {
    let (mut out, mut depth) = (String::with_capacity(text.len()), 0usize);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, characters.peek()) {
            ('\\', Some('b')) if depth == 0 => {
                characters.next();
                // The boundaries `\b{start}` and the like are others.
                out += if characters.peek() == Some(&'{') { r"\b" } else { r"(?-u:\b)" };
                continue;
            }
            ('\\', Some(_)) => {
                out.push(c);
                out.extend(characters.next());
                continue;
            }
            ('[', _) => depth += 1,
            (']', _) => depth = depth.saturating_sub(1),
            _ => {}
        }
        out.push(c);
    }
    out
}

/// All patterns, in the order of precedence.
pub struct TextPatterns {
    patterns: Vec<TextPattern>,
    /// The patterns without syntax, and those with it; each with their numbers in `patterns`.
    literals: (AhoCorasick, Vec<usize>),
    regexes: (RegexSet, Vec<usize>),
    /// The words of patterns that have some, and for each the patterns.
    words: (AhoCorasick, Vec<Vec<usize>>),
}

impl TextPatterns {
    /// Errors: a pattern that is no regular expression, or too large; they name its file.
    pub fn new(patterns: Vec<TextPattern>) -> Result<Self> {
        let (worded, others): (Vec<usize>, Vec<usize>) =
            (0..patterns.len()).partition(|&number| !patterns[number].words.is_empty());
        let (literal, regular): (Vec<usize>, Vec<usize>) =
            others.into_iter().partition(|&number| patterns[number].is_literal());
        let literals = AhoCorasick::new(literal.iter().map(|&number| &patterns[number].text))
            .map_err(|e| Error::usage(format!("the words of the text rules are too many or too long: {e}")))?;
        let texts = regular.iter().map(|&number| with_ascii_boundaries(&patterns[number].text));
        let regexes = RegexSetBuilder::new(texts).dfa_size_limit(SET_CACHE).build();
        let regexes = regexes.map_err(|error| fault(regular.iter().map(|&number| &patterns[number]), &error))?;
        let words = of_words(&patterns, &worded)?;
        Ok(Self { literals: (literals, literal), regexes: (regexes, regular), words, patterns })
    }

    /// The numbers of the patterns that match the text, in the order of precedence.
    pub fn matching(&self, text: &str) -> Vec<usize> {
        let mut numbers: Vec<usize> = self.regexes.0.matches(text).into_iter().map(|at| self.regexes.1[at]).collect();
        let (automaton, literals) = &self.literals;
        // The built-in rules have none.
        if !literals.is_empty() {
            numbers.extend(automaton.find_overlapping_iter(text).map(|found| literals[found.pattern().as_usize()]));
        }
        let (automaton, worded) = &self.words;
        for found in automaton.find_overlapping_iter(text) {
            for number in &worded[found.pattern().as_usize()] {
                if !numbers.contains(number) {
                    numbers.push(*number);
                }
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    pub fn get(&self, number: usize) -> &TextPattern {
        &self.patterns[number]
    }
}

/// Finds the words of the patterns with these numbers.
fn of_words(patterns: &[TextPattern], numbers: &[usize]) -> Result<(AhoCorasick, Vec<Vec<usize>>)> {
    let mut words: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &number in numbers {
        let TextPattern { origin, text, .. } = &patterns[number];
        // Those of the program itself are compiled by a test.
        if origin != BUILTIN {
            Regex::new(text).map_err(|error| {
                Error::usage(format!("{origin}: regex '{text}': expected a regular expression: {error}"))
            })?;
        }
        for word in &patterns[number].words {
            words.entry(word.to_lowercase()).or_default().push(number);
        }
    }
    let (words, numbers): (Vec<String>, Vec<Vec<usize>>) = words.into_iter().unzip();
    // Few words, so that the fastest automaton is small.
    let kind = (words.len() < 1000).then_some(AhoCorasickKind::DFA);
    let built = AhoCorasick::builder().ascii_case_insensitive(true).kind(kind).build(words);
    let built =
        built.map_err(|e| Error::usage(format!("the words of the text rules are too many or too long: {e}")))?;
    Ok((built, numbers))
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
        let pattern = |text: &&str| TextPattern::new("my.toml", text.to_string(), Vec::new());
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
    fn words_end_where_letters_of_any_script_end() {
        let found = |pattern: &str, text: &'static str| -> Vec<&'static str> {
            let places = TextPattern::new("my.toml", pattern.to_string(), Vec::new()).places(text);
            places.into_iter().map(|(place, _)| &text[place]).collect()
        };
        assert_eq!(
            found(r"\b(?:[a-z]+\.)+com\b", "größe.example.com é.a.com x.comé a.com"),
            ["example.com", "a.com", "a.com"]
        );
        assert_eq!(found(r"(?i)\bab", "éab AB ab日ab"), ["AB", "ab"]);
        assert_eq!(found("a*", "éaa"), ["", "aa", ""]);
        // Other boundaries, classes and escapes stay as they are.
        for text in [r"\b{start}a", r"[\]b]", r"\\b", r"\B", r"a\."] {
            assert_eq!(with_ascii_boundaries(text), text);
        }
        assert_eq!(with_ascii_boundaries(r"[[:alpha:]&&[^\b]]\b"), r"[[:alpha:]&&[^\b]](?-u:\b)");
    }

    #[test]
    fn too_many_expressions_are_refused_together() {
        let texts: Vec<String> = (0..50_000).map(|i| format!("employee-{i}-[a-z]+")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let message = patterns(&texts).err().unwrap().to_string();
        assert!(message.contains("my.toml: the regular expressions of its text rules are too many"), "{message}");
    }
}
