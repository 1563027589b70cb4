//! Finds the places in a text that are to be replaced: by patterns, and by the names that fields of the corpus contain.

use super::rules::{Action, Rules, Treatment};
use super::{cef, domains, encoded, keyed, opaque, values, view};
use crate::{Error, Result};
use aho_corasick::AhoCorasick;
use std::collections::BTreeMap;
use std::ops::Range;

/// The names learnt from the corpus. They are searched for in all text, in any case.
#[derive(Default)]
pub struct KnownNames {
    /// The names in lower case, with their kinds.
    names: BTreeMap<String, Action>,
    automaton: Option<AhoCorasick>,
    actions: Vec<Action>,
}

impl KnownNames {
    pub fn add(&mut self, name: String, action: Action) {
        self.names.entry(name).or_insert(action);
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// The kind of a name in lower case.
    pub fn action(&self, lower: &str) -> Option<Action> {
        self.names.get(lower).copied()
    }

    /// Builds the search automaton, after the last name is added.
    pub fn finalize(&mut self) -> Result<()> {
        self.actions = Vec::new();
        let mut spellings = Vec::new();
        for (name, action) in &self.names {
            // The automaton ignores the case of ASCII letters only.
            let capitals = (!name.is_ascii()).then(|| name.to_uppercase());
            let titles = (!name.is_ascii()).then(|| titled(name));
            for spelling in std::iter::once(name.clone()).chain(capitals).chain(titles) {
                spellings.push(spelling);
                self.actions.push(*action);
            }
        }
        let built = AhoCorasick::builder().ascii_case_insensitive(true).build(spellings);
        self.automaton =
            Some(built.map_err(|e| Error::failed(format!("too many names to look for in the logs: {e}")))?);
        Ok(())
    }

    /// The known names that occur in a text as whole words, ordered by place and, at one place, longest first. Digits after
    /// an account or a person's name belong to it.
    fn places(&self, text: &str) -> Vec<(Range<usize>, Treatment)> {
        let Some(automaton) = &self.automaton else { return Vec::new() };
        let mut found = Vec::new();
        for place in automaton.find_overlapping_iter(text) {
            let action = self.actions[place.pattern().as_usize()];
            let rest = &text[place.end()..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let numbered = matches!(action, Action::User | Action::Name) && digits < 5;
            let end = place.end() + if numbered { digits } else { 0 };
            let alone = !ends_in_word(&text[..place.start()]) && !text[end..].starts_with(char::is_alphanumeric);
            if alone {
                found.push((place.start()..end, Treatment::of(action)));
            }
        }
        found.sort_by_key(|(place, _)| (place.start, std::cmp::Reverse(place.end)));
        // Several spellings of one name may match in the same place.
        found.dedup_by(|a, b| a.0 == b.0);
        found
    }
}

/// Whether a name right after this text would be part of a longer word; the escape of a URL (`%22`) is not part of a word.
fn ends_in_word(text: &str) -> bool {
    let escape = text.len() > 2 && text.as_bytes()[text.len() - 3] == b'%';
    text.ends_with(char::is_alphanumeric) && !(escape && text.bytes().rev().take(2).all(|b| b.is_ascii_hexdigit()))
}

fn titled(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut begins = true;
    for c in name.chars() {
        if begins {
            out.extend(c.to_uppercase())
        } else {
            out.push(c)
        }
        begins = !c.is_alphabetic();
    }
    out
}

/// The candidates in a text, in order of precedence: a candidate counts if it does not overlap an earlier one. With `agent`,
/// the text is a user agent, whose dotted numbers are versions and not addresses.
pub fn candidates(text: &str, rules: &mut Rules, known: &KnownNames, agent: bool) -> Vec<(Range<usize>, Treatment)> {
    let viewed = view::view(text);
    let text = viewed.as_ref();
    let mut found = Vec::new();
    for number in rules.patterns.matching(text) {
        let treatment = rules.treatments[number].clone();
        match treatment.action {
            Action::Ip if agent => continue,
            Action::Pairs => {
                keyed_places(text, rules, &mut found);
                continue;
            }
            _ => {}
        }
        let mut places = Vec::new();
        for captures in rules.patterns.get(number).regex().captures_iter(text) {
            let group =
                ["value", "single", "bare"].iter().find_map(|name| captures.name(name)).or_else(|| captures.get(0));
            let key = captures.name("key").map(|key| key.as_str());
            places.extend(group.map(|group| (group.range(), key)));
        }
        for (place, key) in places {
            let treatment = match (treatment.action, key) {
                (Action::Field, Some(key)) => rules_of_key(rules, key),
                (Action::Secret, Some(key)) => rules.field(key).filter(|found| found.action == Action::Redact),
                (Action::Domain, _) if treatment.mark == "DOTTED" && !domains::is_name(text, &place) => None,
                (Action::Id, _) if !is_id(&treatment.mark, &text[place.clone()]) => None,
                (Action::Host, _) if treatment.mark == "NUMBERED" && !is_numbered(&text[place.clone()]) => None,
                (Action::Ip, _) if goes_on(&text[place.end..]) => None,
                _ => Some(treatment.clone()),
            };
            let Some(treatment) = treatment else { continue };
            match treatment.action {
                // A cookie header holds several, and what looks like an account may be a directory's name.
                Action::Redact | Action::User => found.extend(parts_of_value(text, place, treatment)),
                _ => found.push((place, treatment)),
            }
        }
    }
    let elsewhere = |(place, _): &(Range<usize>, Treatment)| {
        !rules.is_elsewhere(&text[place.clone()]) && !domains::is_in_package(text, place)
    };
    found.extend(known.places(text).into_iter().filter(elsewhere));
    found
}

/// Whether a text is an identifier as the mark of its rule demands: mixed of digits and letters as no word is and not encoded text,
/// or opaque.
fn is_id(mark: &str, text: &str) -> bool {
    match mark {
        "MIXED" => opaque::is_surely_opaque(text) && encoded::decoded(text).is_none(),
        // A number of four digits may count anything.
        "TICKET" => text.len() > 4 && (opaque::is_opaque(text) || text.bytes().all(|b| b.is_ascii_digit())),
        "OPAQUE" => opaque::is_opaque(text) || text.bytes().all(|b| b.is_ascii_digit()),
        _ => true,
    }
}

/// Whether a word has a digit or a capital, as names of machines have and other words with a dash have not.
fn is_numbered(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit() || c.is_uppercase())
}

/// Whether a number with dots goes on, so that it is no address.
fn goes_on(after: &str) -> bool {
    match after.strip_prefix('.') {
        Some(more) => more.starts_with(|c: char| c.is_ascii_alphanumeric()),
        None => after.starts_with(|c: char| c.is_ascii_digit()),
    }
}

/// The values of pairs of a key and a value.
fn keyed_places(text: &str, rules: &mut Rules, found: &mut Vec<(Range<usize>, Treatment)>) {
    if let Some(event) = cef::event(text) {
        found.push((event.header, Treatment::of(Action::Keep)));
        for cef::Value { key, value } in event.values {
            let Some(treatment) = rules_of_key(rules, &key) else { continue };
            found.extend(parts_of_value(text, value, treatment));
        }
    }
    for pair in keyed::pairs(text) {
        let value = &text[pair.value.clone()];
        if pair.is_loose && !is_identity(value, &text[pair.value.end..]) {
            continue;
        }
        let Some(treatment) = rules_of_key(rules, &text[pair.key]) else { continue };
        if value.contains(['=', '{']) && treatment.action != Action::Redact {
            continue;
        }
        found.extend(parts_of_value(text, pair.value, treatment));
    }
}

/// The places in a value that its treatment is for.
fn parts_of_value(text: &str, place: Range<usize>, treatment: Treatment) -> Vec<(Range<usize>, Treatment)> {
    values::of_value(&text[place.clone()], &treatment)
        .into_iter()
        .filter_map(|spot| match spot {
            values::Spot::Value { place: inner, treatment, .. } => {
                Some((place.start + inner.start..place.start + inner.end, treatment))
            }
            values::Spot::Encoded { .. } => None,
        })
        .collect()
}

/// Whether the word after a key and a colon in running text can be an identity: it is the whole value, or no word of a sentence.
fn is_identity(value: &str, after: &str) -> bool {
    let whole = after.is_empty()
        || after.starts_with([',', ';', ']', ')', '"', '\'', '\n', '\r', '\t', '|', '}'])
        || after.starts_with(" (");
    let word = value.chars().all(|c| c.is_lowercase()) && value.len() < 16;
    let label = after.trim_start().split([' ', ':']).next().is_some_and(|next| next.starts_with(char::is_uppercase))
        && after.contains(':');
    whole && !STATES.contains(&value) || !word || label && !STATES.contains(&value)
}

/// What follows a key in a sentence about it: user: not found.
const STATES: [&str; 16] = [
    "not",
    "unreachable",
    "failed",
    "unknown",
    "no",
    "is",
    "was",
    "error",
    "invalid",
    "denied",
    "closed",
    "timeout",
    "missing",
    "down",
    "up",
    "ok",
];

/// The rule of a key in `key=value`, if it gives the kind of the value.
fn rules_of_key(rules: &mut Rules, key: &str) -> Option<Treatment> {
    rules.field(key).filter(|treatment| !treatment.is_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_stand_alone() {
        let mut known = KnownNames::default();
        known.add("acole".into(), Action::User);
        known.add("aaron cole".into(), Action::Name);
        known.add("josé müller".into(), Action::Name);
        known.finalize().unwrap();
        let found = |text: &str| -> Vec<String> {
            known.places(text).into_iter().map(|(place, _)| text[place].to_string()).collect()
        };
        assert_eq!(found("by ACOLE, for Aaron Cole (acole12)."), ["ACOLE", "Aaron Cole", "acole12"]);
        assert_eq!(found("xacole acolex chacole"), [""; 0]);
        assert_eq!(found("José Müller JOSÉ MÜLLER"), ["José Müller", "JOSÉ MÜLLER"]);
        assert_eq!(found("user%3Dacole%22"), ["acole"], "escaped in a URL");
        assert_eq!(found("éacole"), [""; 0], "letters beyond ASCII are letters");
    }
}
