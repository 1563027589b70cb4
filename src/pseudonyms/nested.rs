//! The places of a value that may be replaced, at whatever depth they stand: in a list or a JSON object written as text, and in what
//! is encoded as base64, hexadecimal digits or URL escapes.

use super::encoded;
use super::known::KnownNames;
use super::members;
use super::parts;
use super::places::{self, Candidate, PlacesOfTexts};
use super::rules::{Action, Rules};
use super::values::{Spot, of_value};

/// Text in text in text is looked into down to this depth.
const DEEPEST: usize = 4;

/// The spots of running text, in order of precedence.
pub fn of_text(
    text: &str,
    rules: &mut Rules,
    kept: &mut PlacesOfTexts,
    known: &KnownNames,
    agent: bool,
    depth: usize,
) -> Vec<Spot> {
    if depth < DEEPEST
        && let Some(spots) = of_record(text, rules, kept, known, depth)
    {
        return spots;
    }
    let mut spots = Vec::new();
    if depth < DEEPEST {
        for run in encoded::runs(text) {
            let inner = of_text(&run.text, rules, kept, known, agent, depth + 1);
            if !inner.is_empty() {
                spots.push(Spot::Encoded {
                    place: run.place,
                    encoding: run.encoding,
                    text: run.text,
                    spots: inner,
                    quoted: 0,
                });
            }
        }
    }
    for Candidate { place, treatment, is_known } in places::candidates(text, rules, kept, known, agent) {
        spots.push(match is_known {
            true => Spot::known(text, place, treatment),
            false => Spot::plain(text, place, treatment),
        });
    }
    spots
}

/// The spots of a JSON object that is written as text; `None` if the text is none.
fn of_record(
    text: &str,
    rules: &mut Rules,
    kept: &mut PlacesOfTexts,
    known: &KnownNames,
    depth: usize,
) -> Option<Vec<Spot>> {
    let trimmed = text.trim_end();
    if depth == 0 && !trimmed.ends_with('}') || !trimmed.ends_with(['}', ']']) || !text.contains('"') {
        return None;
    }
    let parts = parts::parts(text.as_bytes());
    parts.iter().any(|part| part.field.is_some()).then_some(())?;
    let mut spots = of_parts(&parts, rules, kept, known, depth + 1);
    for member in members::members(text.as_bytes(), &parts) {
        let name = &member.name;
        let found = places::candidates(&name.text, rules, kept, known, false);
        // Members may be called like accounts, and mostly are not.
        let says = |action| {
            matches!(action, Action::Email | Action::Uuid | Action::Sid | Action::Ip | Action::Mac | Action::Arn)
        };
        let sure = found.into_iter().filter(|candidate| says(candidate.treatment.action));
        spots.extend(sure.map(|found| Spot::plain(&name.text, found.place, found.treatment).inside(name)));
    }
    Some(spots)
}

fn of_parts(
    parts: &[parts::RecordPart],
    rules: &mut Rules,
    kept: &mut PlacesOfTexts,
    known: &KnownNames,
    depth: usize,
) -> Vec<Spot> {
    let mut spots = Vec::new();
    for (part, field) in parts.iter().zip(super::beside::paths(parts)) {
        let treatment = field.and_then(|path| rules.field(&path));
        let action = treatment.as_ref().map_or(Action::Text, |treatment| treatment.action);
        let typed = treatment.filter(|treatment| !treatment.is_text());
        let mut inner = typed.map_or_else(Vec::new, |treatment| of_value(&part.text, &treatment));
        if inner.is_empty() && part.is_string {
            inner = of_text(&part.text, rules, kept, known, action == Action::Agent, depth);
        }
        let number = |spot: &Spot| {
            part.is_string || matches!(spot, Spot::Value { text, .. } if text.starts_with(|c: char| c.is_ascii_digit()))
        };
        spots.extend(inner.into_iter().filter(number).map(|spot| spot.inside(part)));
    }
    spots
}
