//! The strings of a path, and the rule that they follow.

use super::string_format::StringFormat;
use super::string_shape::StringShape;
use super::values::{DistinctValues, ENOUGH, Novelty, Times};
use super::written::{self, Spelling};
use crate::record::json_tree::Text;
use std::collections::BTreeMap;

/// The most shapes of a path. A path with more strings of different shapes has no pattern.
const MOST_SHAPES: usize = 8;
/// The shortest string that counts as a base64 token by its alphabet and fixed length.
const SHORTEST_TOKEN: usize = 16;
/// The longest strings whose characters a grammar counts.
const MOST_COUNTED: usize = 2000;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StringProfile {
    pub seen: u64,
    /// The number of strings that contain white space.
    spaced: u64,
    /// The length of the longest string in characters.
    longest: usize,
    pub values: DistinctValues,
    formats: Vec<(StringFormat, Times)>,
    unformatted: UnformattedStrings,
    /// New formats and shapes.
    novelty: Novelty,
    spelling: Spelling,
}

/// The strings without a standard format.
#[derive(Clone, Debug, PartialEq)]
struct UnformattedStrings {
    seen: u64,
    /// The common length, if all strings have the same length and only characters of base64 (RFC 4648, both variants).
    token: Option<usize>,
    /// The shapes of the strings; `None` if there are too many.
    shapes: Option<Vec<StringShape>>,
}

impl Default for UnformattedStrings {
    fn default() -> Self {
        UnformattedStrings { seen: 0, token: None, shapes: Some(Vec::new()) }
    }
}

/// The rule that the strings at a path follow.
pub(super) enum StringRule<'a> {
    /// One of these values.
    Category(&'a BTreeMap<String, Times>),
    /// A string of one of these formats or shapes, or a base64 token of this length.
    Pattern { formats: &'a [(StringFormat, Times)], shapes: &'a [StringShape], token: Option<usize> },
    /// Any string.
    Free,
}

impl StringProfile {
    pub fn add(&mut self, text: &Text) {
        let format = StringFormat::of(&text.value);
        self.spelling.add(text, format.is_some());
        let text = &text.value[..];
        self.seen += 1;
        self.spaced += u64::from(text.contains(char::is_whitespace));
        self.longest = self.longest.max(text.chars().count());
        self.values.add(text);
        let is_new = match format {
            None => self.unformatted.add(text, self.seen),
            Some(format) => match self.formats.iter_mut().find(|(known, _)| *known == format) {
                Some((_, times)) => {
                    times.add(self.seen);
                    false
                }
                None => {
                    self.formats.push((format, Times { count: 1, last: self.seen }));
                    true
                }
            },
        };
        self.novelty.add(is_new);
    }

    /// The rule of these strings: a closed category, else patterns if every string matches one, else any string. A standard
    /// format counts from its first string on; shapes and tokens need [`ENOUGH`] strings and many values, because it is new
    /// values that may bring new shapes. Where formats and shapes are not settled, any string is allowed.
    pub fn rule(&self) -> StringRule<'_> {
        if let Some(values) = self.values.closed() {
            return StringRule::Category(values);
        }
        let formats = &self.formats[..];
        let UnformattedStrings { seen, token, shapes } = &self.unformatted;
        let kinds = formats.iter().map(|(_, times)| *times);
        let kinds = kinds.chain(shapes.iter().flatten().map(|shape| shape.times));
        let many = *seen >= ENOUGH && (self.values.are_many() || self.values.distinct_share() >= 0.9);
        match (shapes.as_ref().filter(|_| many), token) {
            _ if self.seen > 1 && !self.novelty.is_settled(kinds) => StringRule::Free,
            _ if *seen == 0 => StringRule::Pattern { formats, shapes: &[], token: None },
            (Some(shapes), _) => StringRule::Pattern { formats, shapes, token: None },
            (None, &Some(length)) if many => StringRule::Pattern { formats, shapes: &[], token: Some(length) },
            _ => StringRule::Free,
        }
    }

    /// A regular expression for the strings with their quotes as they may be written; `None` where the rule itself says it.
    pub fn written(&self) -> Option<String> {
        let spelling = &self.spelling;
        match self.rule() {
            StringRule::Category(values) if spelling.is_odd() => {
                let values: Vec<String> = values.keys().map(|value| written::any_spelling(value)).collect();
                Some(format!("\"({})\"", values.join("|")))
            }
            StringRule::Pattern { .. } if spelling.hides_runs() => Some(spelling.any_text(self.most_characters())),
            StringRule::Pattern { formats, shapes, token } => {
                let special = spelling.is_odd() || shapes.iter().any(StringShape::has_escapes);
                let shape = |shape: &StringShape| shape.regex(&|sign| written::sign(sign, spelling.is_odd()));
                special.then(|| format!("\"({})\"", alternatives(formats, shapes, token, &shape).join("|")))
            }
            StringRule::Free => spelling.has_halves().then(|| spelling.any_text(self.most_characters())),
            StringRule::Category(_) => None,
        }
    }

    /// The most characters of a string without a pattern: twice the most seen, or any number where that is many, because a
    /// grammar has a state for each.
    pub fn most_characters(&self) -> Option<usize> {
        Some(2 * self.longest).filter(|&most| most <= MOST_COUNTED)
    }

    /// Whether the strings rarely repeat and are not running text: there are at least [`ENOUGH`], at least 90 % of them are
    /// distinct, and only times contain white space.
    pub fn is_random(&self) -> bool {
        let times: u64 = self
            .formats
            .iter()
            .filter(|(format, _)| matches!(format, StringFormat::Time { .. }))
            .map(|f| f.1.count)
            .sum();
        self.seen >= ENOUGH && self.spaced <= times && self.values.distinct_share() >= 0.9
    }
}

/// Regular expressions without anchors for the parts of a pattern.
fn alternatives(
    formats: &[(StringFormat, Times)],
    shapes: &[StringShape],
    token: Option<usize>,
    shape: &dyn Fn(&StringShape) -> String,
) -> Vec<String> {
    let token = token.map(|length| format!("[A-Za-z0-9+/_=-]{{{length}}}"));
    formats.iter().map(|(format, _)| format.regex()).chain(shapes.iter().map(shape)).chain(token).collect()
}

impl UnformattedStrings {
    /// Returns whether the string has a new shape.
    fn add(&mut self, text: &str, place: u64) -> bool {
        let fits = is_token(text) && (self.seen == 0 || self.token == Some(text.len()));
        self.token = fits.then_some(text.len());
        self.seen += 1;
        let Some(shapes) = &mut self.shapes else { return false };
        let Some(mut shape) = StringShape::of(text) else {
            self.shapes = None;
            return true;
        };
        shape.times = Times { count: 1, last: place };
        match shapes.iter_mut().find_map(|known| known.learn(&shape)) {
            Some(covered) => return !covered,
            None if shapes.len() < MOST_SHAPES => shapes.push(shape),
            None => self.shapes = None,
        }
        true
    }
}

fn is_token(text: &str) -> bool {
    text.len() >= SHORTEST_TOKEN && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/_=-".contains(&byte))
}

impl StringRule<'_> {
    pub fn matches(&self, text: &str) -> bool {
        match self {
            StringRule::Free => true,
            StringRule::Category(values) => values.contains_key(text),
            StringRule::Pattern { formats, shapes, token } => {
                let formed =
                    StringFormat::of(text).is_some_and(|format| formats.iter().any(|(known, _)| *known == format));
                let is_like = |shape: StringShape| shapes.iter().any(|known| known.covers(&shape));
                formed
                    || token.is_some_and(|n| n == text.len() && is_token(text))
                    || StringShape::of(text).is_some_and(is_like)
            }
        }
    }

    /// An anchored regular expression; `None` if the rule is not a pattern.
    pub fn regex(&self) -> Option<String> {
        let StringRule::Pattern { formats, shapes, token } = self else { return None };
        let parts = alternatives(formats, shapes, *token, &|shape| shape.regex(&written::escape_sign));
        match &parts[..] {
            [one] => Some(format!("^{one}$")),
            several => Some(format!("^({})$", several.join("|"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: impl Fn(u64) -> String, n: u64) -> StringProfile {
        let mut strings = StringProfile::default();
        (0..n).for_each(|i| {
            let value = text(i);
            strings.add(&Text { raw: &value, value: value.as_str().into(), has_escapes: false });
        });
        strings
    }

    fn regex(strings: &StringProfile) -> Option<String> {
        strings.rule().regex()
    }

    /// A number that looks unrelated to those of other `i`.
    fn noise(i: u64) -> u64 {
        i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    #[test]
    fn identifiers_are_random_and_have_a_pattern() {
        let tokens = of(|i| format!("{:032x}", u128::from(noise(i)) << 64 | u128::from(noise(i + 99))), 100);
        assert!(tokens.is_random());
        assert_eq!(regex(&tokens).unwrap(), "^[0-9a-f]{32}$");
        assert!(tokens.rule().matches(&"a".repeat(32)) && !tokens.rule().matches(&"a".repeat(31)));
        let base64 = of(|i| format!("{:016x}", noise(i)).replace('0', "+").replace('1', "/").replace('2', "_"), 500);
        assert_eq!(regex(&base64).unwrap(), "^[A-Za-z0-9+/_=-]{16}$");
        assert!(base64.rule().matches("++/+____ABCDzzz=") && !base64.rule().matches("++/+____ABCDzzz"));
        let times = of(|i| format!("2022-08-27 {:02}:{:02}:{:02}", i / 3600, i / 60 % 60, i % 60), 1000);
        assert!(times.is_random(), "white space is usual in times");
    }

    #[test]
    fn what_repeats_or_runs_on_is_not_random() {
        assert!(!of(|i| format!("name{}", i / 2), 1000).is_random());
        assert!(!of(|i| format!("process {i} ended"), 1000).is_random());
        assert!(!of(|i| format!("id{i}"), ENOUGH - 1).is_random(), "too few to say");
    }

    #[test]
    fn forms_and_shapes_stand_side_by_side() {
        let mixed = of(|i| if i % 3 == 0 { format!("host-{i}") } else { format!("10.0.{}.{}", i / 200, i % 200) }, 300);
        let found = regex(&mixed).unwrap();
        assert!(found.starts_with("^((") && found.ends_with(r"|[a-z]{1,8}-[0-9]{1,6})$"), "{found}");
        assert!(mixed.rule().matches("host-7") && mixed.rule().matches("1.2.3.4") && !mixed.rule().matches("1.2.3"));
    }

    #[test]
    fn text_of_all_kinds_is_free() {
        let free = of(|i| format!("{}{}", "-".repeat(i as usize % 20), noise(i)), 200);
        assert!(
            matches!(free.rule(), StringRule::Free) && matches!(free.most_characters(), Some(60..=78)),
            "the longest has 19 dashes and 20 digits"
        );
        assert!(regex(&free).is_none());
        let few = of(|i| format!("word{i}"), ENOUGH - 1);
        assert!(matches!(few.rule(), StringRule::Free));
    }

    #[test]
    fn a_category_comes_before_its_pattern() {
        let zones = of(|i| ["10.0.0.1", "10.0.0.2"][i as usize % 2].to_string(), 40);
        assert!(zones.rule().matches("10.0.0.1") && !zones.rule().matches("10.0.0.3"));
        assert!(regex(&zones).is_none());
    }
}
