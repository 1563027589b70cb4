//! Finds the places in a text that are to be replaced: by patterns, and by the names that fields of the corpus contain.

use super::known::KnownNames;
use super::rules::{Action, Rules, Treatment};
use std::ops::Range;

/// A place that may be replaced.
pub struct Candidate {
    pub place: Range<usize>,
    pub treatment: Treatment,
    /// Whether it was only found because it is a known name.
    pub is_known: bool,
}

/// The candidates in a text, in order of precedence: a candidate counts if it does not overlap an earlier one. With `agent`,
/// the text is a user agent, whose dotted numbers are versions and not addresses.
pub fn candidates(text: &str, rules: &mut Rules, known: &KnownNames, agent: bool) -> Vec<Candidate> {
    let mut found = Vec::new();
    for number in rules.patterns.matching(text) {
        let treatment = rules.treatments[number].clone();
        if agent && treatment.action == Action::Ip {
            continue;
        }
        for (place, key) in rules.patterns.get(number).places(text) {
            let treatment = match (treatment.action, key) {
                (Action::Field, Some(key)) => rules_of_key(rules, key),
                (Action::Secret, Some(key)) => rules.field(key).filter(|found| found.action == Action::Redact),
                _ => Some(treatment.clone()),
            };
            found.extend(treatment.map(|treatment| Candidate { place, treatment, is_known: false }));
        }
    }
    let known = known.places(text).into_iter();
    found.extend(known.map(|(place, treatment)| Candidate { place, treatment, is_known: true }));
    found
}

/// The rule of a key in `key=value`, if it gives the kind of the value.
fn rules_of_key(rules: &mut Rules, key: &str) -> Option<Treatment> {
    rules.field(key).filter(|treatment| !matches!(treatment.action, Action::Text | Action::Agent | Action::Keep))
}
