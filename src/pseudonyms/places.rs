//! Finds the places in a text that are to be replaced: by patterns, and by the names that fields of the corpus contain.

use super::known::KnownNames;
use super::lexicon::{self, Given};
use super::rules::{Action, Rules, Treatment};
use super::{cef, domains, encoded, keyed, opaque, persons, spelled, values, view};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Places in longer texts, which hardly come again, are not kept.
const LONGEST_KEPT: usize = 200;
/// The most texts of which places are kept.
const MOST_KEPT: usize = 20_000;

/// The places that rules find in texts that came before: most values of fields come again and again.
#[derive(Default)]
pub struct PlacesOfTexts(HashMap<(String, bool), Arc<[Candidate]>>);

/// A place that may be replaced.
#[derive(Clone)]
pub struct Candidate {
    pub place: Range<usize>,
    pub treatment: Treatment,
    /// Whether it was only found because it is a known name.
    pub is_known: bool,
}

/// The candidates in a text, in order of precedence: a candidate counts if it does not overlap an earlier one. With `agent`,
/// the text is a user agent, whose dotted numbers are versions and not addresses.
pub fn candidates(
    text: &str,
    rules: &mut Rules,
    kept: &mut PlacesOfTexts,
    known: &KnownNames,
    agent: bool,
) -> Vec<Candidate> {
    let viewed = view::view(text);
    let mut found = kept.of(&viewed, rules, agent, !known.is_complete);
    let text = viewed.as_ref();
    let named = known
        .places(text)
        .into_iter()
        .filter(|(place, _)| !rules.is_name_of_field(&text[place.clone()]) && !domains::is_in_package(text, place));
    found.extend(named.map(|(place, treatment)| Candidate { place, treatment, is_known: true }));
    found
}

impl PlacesOfTexts {
    fn of(&mut self, text: &str, rules: &mut Rules, agent: bool, learning: bool) -> Vec<Candidate> {
        if text.len() > LONGEST_KEPT {
            return ruled(text, rules, agent, learning);
        }
        let key = (text.to_string(), agent);
        if let Some(known) = self.0.get(&key) {
            return known.to_vec();
        }
        let found = ruled(text, rules, agent, false);
        if self.0.len() == MOST_KEPT {
            self.0.clear();
        }
        self.0.insert(key, found.as_slice().into());
        found
    }
}

/// The places that rules find in a text.
fn ruled(text: &str, rules: &mut Rules, agent: bool, learning: bool) -> Vec<Candidate> {
    let numbers = rules.patterns.matching(text);
    let mut found = Vec::new();
    if !learning {
        numbers.into_iter().for_each(|number| of_rule(text, number, rules, agent, &mut found));
        return found;
    }
    // Where nothing is learnt, nothing can overlap it.
    let (teaching, others): (Vec<usize>, Vec<usize>) =
        numbers.into_iter().partition(|&number| teaches(rules.treatments[number].action));
    let mut by_rule: Vec<(usize, Vec<Candidate>)> = Vec::new();
    let mut add = |numbers: Vec<usize>, by_rule: &mut Vec<(usize, Vec<Candidate>)>| {
        for number in numbers {
            let mut places = Vec::new();
            of_rule(text, number, rules, agent, &mut places);
            by_rule.push((number, places));
        }
    };
    add(teaching, &mut by_rule);
    if by_rule.iter().any(|(_, places)| !places.is_empty()) {
        add(others, &mut by_rule);
        by_rule.sort_by_key(|(number, _)| *number);
        found.extend(by_rule.into_iter().flat_map(|(_, places)| places));
    }
    found
}

/// Whether names may be learnt from places with this action.
fn teaches(action: Action) -> bool {
    use Action::*;
    matches!(action, Name | User | Email | Host | Domain | Account | Arn | Session | Cookie | Field | Pairs)
}

/// The places that one rule finds.
fn of_rule(text: &str, number: usize, rules: &mut Rules, agent: bool, found: &mut Vec<Candidate>) {
    let treatment = rules.treatments[number].clone();
    match treatment.action {
        Action::Ip if agent => return,
        Action::Pairs => return keyed_places(text, rules, found),
        _ => {}
    }
    let places = match (treatment.action, treatment.mark.as_str()) {
        (Action::Domain, "DOTTED") => domains::dotted(text).into_iter().map(|place| (place, None)).collect(),
        (Action::Name, "PERSONS") if agent => return,
        (Action::Name, "PERSONS") => {
            persons::names(text, &rules.not_names).into_iter().map(|place| (place, None)).collect()
        }
        (Action::User, "SPELLED") => spelled::accounts(text).into_iter().map(|place| (place, None)).collect(),
        (Action::Id, "MIXED") => opaque::in_text(text).into_iter().map(|place| (place, None)).collect(),
        _ => rules.patterns.get(number).places(text),
    };
    for (place, key) in places {
        let treatment = match (treatment.action, key) {
            (Action::Field, Some(key)) => rules_of_key(rules, key),
            (Action::Secret, Some(key)) => rules.field(key).filter(|found| found.action == Action::Redact),
            (Action::Domain, _) if treatment.mark == "DOTTED" && !domains::is_name(text, &place) => None,
            (Action::Id, _) if !is_id(&treatment.mark, &text[place.clone()]) => None,
            (Action::Host, _) if treatment.mark == "URL" && !is_host_of_url(text, &place, rules) => None,
            (Action::User | Action::Host, _)
                if treatment.mark == "WORD" && !is_identity_word(&text[place.clone()], rules) =>
            {
                None
            }
            (Action::Host, _) if treatment.mark != "SECRET" && is_cut(&text[place.end..]) => None,
            (Action::Host, _) if treatment.mark == "MACHINE" && !is_machine(&text[place.clone()]) => None,
            (Action::Host, _) if treatment.mark == "NUMBERED" && !is_numbered(&text[place.clone()]) => None,
            (Action::Name, _) if text[place.clone()].starts_with(char::is_lowercase) => None,
            (Action::User, _) if LABELS.contains(&&text[place.clone()]) && text[place.end..].starts_with(" ID") => None,
            (Action::Ip, _) if goes_on(&text[place.end..]) => None,
            _ => Some(treatment.clone()),
        };
        let Some(treatment) = treatment else { continue };
        // The name of a folder may be a person's full name, whatever separates folders.
        let place = match treatment.action {
            Action::User if lexicon::given(&text[place.clone()].to_lowercase()) == Some(Given::Surely) => {
                persons::continued(text, place, &rules.not_names)
            }
            _ => place,
        };
        match treatment.action {
            // A cookie header holds several, and what looks like an account may be a directory's name.
            Action::Redact | Action::Cookie | Action::User => parts_of_value(text, place, &treatment, found),
            _ => found.push(Candidate { place, treatment, is_known: false }),
        }
    }
}

/// Whether a text is an identifier as the mark of its rule demands: mixed of digits and letters as no word is and not encoded text,
/// or opaque.
fn is_id(mark: &str, text: &str) -> bool {
    match mark {
        "MIXED" => encoded::decoded(text).is_none(),
        // A number of four digits may count anything.
        "TICKET" => text.len() > 4 && (opaque::is_opaque(text) || text.bytes().all(|b| b.is_ascii_digit())),
        "NATIONAL" => text.bytes().filter(u8::is_ascii_digit).count() > 4,
        "OPAQUE" => opaque::is_opaque(text) || text.bytes().all(|b| b.is_ascii_digit()),
        _ => true,
    }
}

/// Whether the word behind `://` is a machine's: images and buckets have addresses, too.
fn is_host_of_url(text: &str, place: &Range<usize>, rules: &Rules) -> bool {
    const OTHERS: [&str; 10] =
        ["containerd", "docker", "cri-o", "file", "s3", "gs", "urn", "oci", "spiffe", "chrome-extension"];
    let before = text[..place.start].rfind("://").map_or("", |at| &text[..at]);
    !OTHERS.iter().any(|scheme| before.ends_with(scheme)) && is_identity_word(&text[place.clone()], rules)
}

/// Whether a word where an account or a machine may stand is no word of the language of logs.
fn is_identity_word(text: &str, rules: &Rules) -> bool {
    let lower = text.to_lowercase();
    let is_word =
        rules.not_names.contains(&lower) || rules.common_words.contains(&lower) || rules.is_name_of_field(&lower);
    text.chars().count() > 2 && !is_word && !STATES.contains(&lower.as_str()) && text.contains(char::is_alphabetic)
}

/// Whether a word has a digit or a capital, as names of machines have and other words with a dash have not.
fn is_numbered(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit() || c.is_uppercase())
}

/// Whether a word of which a part says that it is a machine's name has another part, and is no version of anything: not `SQL-92`.
fn is_machine(text: &str) -> bool {
    let parts = text.split('-').filter(|part| part.len() > 1 && !part.bytes().all(|b| b.is_ascii_digit()));
    let numbers = text.split('-').filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
    text.contains('-')
        && (parts.count() > 1 || numbers.filter(|number| number.len() < 3).count() == 1 && text.len() > 5)
}

/// Whether a name of a machine goes on as the name of a host in a domain, which another rule finds.
fn is_cut(after: &str) -> bool {
    after.strip_prefix('.').is_some_and(|more| more.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// Whether a number with dots goes on, so that it is no address.
fn goes_on(after: &str) -> bool {
    match after.strip_prefix('.') {
        Some(more) => more.starts_with(|c: char| c.is_ascii_alphanumeric()),
        None => after.starts_with(|c: char| c.is_ascii_digit()),
    }
}

/// The values of pairs of a key and a value.
fn keyed_places(text: &str, rules: &mut Rules, found: &mut Vec<Candidate>) {
    if let Some(event) = cef::event(text) {
        found.push(Candidate { place: event.header, treatment: Treatment::of(Action::Keep), is_known: false });
        for cef::Value { key, value } in event.values {
            if let Some(treatment) = rules_of_key(rules, &key) {
                parts_of_value(text, value, &treatment, found);
            }
        }
    }
    for pair in keyed::pairs(text) {
        let value = &text[pair.value.clone()];
        if pair.is_loose && !is_identity(value, &text[pair.value.end..]) {
            continue;
        }
        let Some(treatment) = rules_of_key(rules, &text[pair.key]) else { continue };
        if treatment.action == Action::Redact || !value.contains(['=', '{']) {
            let place = match (treatment.action, pair.is_loose) {
                // Applicant: Keisha Broussard.
                (Action::Name, true) => persons::continued(text, pair.value, &rules.not_names),
                _ => pair.value,
            };
            parts_of_value(text, place, &treatment, found);
        }
    }
}

/// The places in a value that its treatment is for.
fn parts_of_value(text: &str, place: Range<usize>, treatment: &Treatment, found: &mut Vec<Candidate>) {
    for spot in values::of_value(&text[place.clone()], treatment) {
        if let values::Spot::Value { place: inner, treatment, .. } = spot {
            let inner = place.start + inner.start..place.start + inner.end;
            found.push(Candidate { place: inner, treatment, is_known: false });
        }
    }
}

/// Whether the word after a key and a colon in running text can be an identity: it is the whole value, or no word of a sentence.
fn is_identity(value: &str, after: &str) -> bool {
    let whole = after.is_empty()
        || after.starts_with([',', ';', ']', ')', '"', '\'', '\n', '\r', '\t', '|', '}'])
        || after.starts_with(" (");
    let word = value.chars().all(|c| c.is_lowercase()) && value.len() < 16;
    let label = after.trim_start().split([' ', ':']).next().is_some_and(|next| next.starts_with(char::is_uppercase))
        && after.contains(':');
    if LABELS.contains(&value) && label {
        return false;
    }
    whole && !STATES.contains(&value) || !word || label && !STATES.contains(&value)
}

/// First words of labels in messages of Windows: after a key without a value, the next label stands.
const LABELS: [&str; 16] = [
    "Security",
    "Account",
    "Logon",
    "Calling",
    "Called",
    "Source",
    "Client",
    "Network",
    "Additional",
    "Authentication",
    "Process",
    "NAS",
    "RADIUS",
    "Subject",
    "Fully",
    "Connection",
];

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
