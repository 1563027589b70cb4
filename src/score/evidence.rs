//! How unusual a record is beside normal records: the evidence of its fields and of the trivial detectors, each calibrated, and
//! one score of all.

use super::fields::END;
use super::lesson::Lesson;
use super::ranks::Ranks;
use crate::detect::{DISTANCE, Normal, Novelty, PAIRS, TWO_GRAM, VALUES};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The fewest examples that a path needs, in one layout or in all, for a distribution of its own; and the fewest records that
/// make a layout common.
pub const ENOUGH: usize = 30;
/// Evidence of a field up to this many nats is noise: of twenty values one is that odd. The truncated sum of the rest sees one
/// extreme field and several moderate ones alike (truncated product method; Zaykin et al., 2002).
pub const NOISE: f64 = 3.0;

/// The evidence beside the surprisals of fields, in the order of [`NormalEvidence::kinds`].
pub const KINDS: [&str; 6] = ["pairs", "values", "distance", "2-gram", "order", "characters"];
/// Places in [`KINDS`].
pub const ORDER_KIND: usize = 4;
pub const CHARACTERS: usize = 5;

/// A number for each of [`KINDS`].
pub type OfKinds<T> = [T; KINDS.len()];

/// What a calibration learns of normal records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormalEvidence {
    /// The surprisals of each path.
    pub paths: BTreeMap<String, PathEvidence>,
    /// Paths whose values always move on: times and counters. What training could not see is no evidence there.
    pub clocks: BTreeSet<String>,
    /// Those of all paths with few examples.
    pub rare_paths: Ranks,
    /// Layouts with at least 30 records, by their hash in hexadecimal digits, and their numbers of records.
    pub common_layouts: BTreeMap<String, u64>,
    /// The sums of the evidence of fields.
    pub fields: Ranks,
    /// One for each of [`KINDS`]: over all records for pairs and order, else by whether the layout is common.
    pub kinds: Vec<KindRanks>,
    /// Which values normal records hold, which of them together, and in which sequences.
    pub seen: Normal,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathEvidence {
    pub count: u64,
    /// Mean surprisal in nats.
    pub mean: f64,
    /// How many times as far as by chance its mean p-value lies from one half in windows of normal records, at least 1.
    pub spread: f32,
    /// None with fewer than 30 examples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Ranks>,
    /// In each common layout, where there are enough examples and other layouts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_layout: BTreeMap<String, Ranks>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KindRanks {
    pub common: Ranks,
    /// For records of rare layouts; None where all share `common`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rare: Option<Ranks>,
}

/// The evidence that a record is not normal, in nats: minus the logarithms of p-values.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// That of each field's surprisal, by its place in the record's parts.
    pub by_field: Vec<(usize, f64)>,
    /// That of all fields together.
    pub fields: f64,
    /// One for each of [`KINDS`].
    pub kinds: OfKinds<f64>,
    /// The score: what the fields say, and what the strongest of the other kinds adds.
    pub score: f64,
    /// What makes each field odd: by its place in the record's parts, only of fields that count.
    pub reasons: BTreeMap<usize, Reason>,
}

/// Why a field is odd.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// The evidence of its surprisal, of a new value and of pairs, in nats.
    pub nats: f64,
    /// Its path is categorical and never had this value, or the path never was.
    pub is_new: bool,
    /// It holds a character that the tokenizer lacks.
    pub is_unwritable: bool,
    /// The place of the field whose value was never seen with this one although both are frequent.
    pub never_with: Option<usize>,
}

impl PathEvidence {
    fn ranks(&self, layout: Option<&str>) -> Option<&Ranks> {
        layout.and_then(|layout| self.by_layout.get(layout)).or(self.all.as_ref())
    }
}

impl KindRanks {
    fn of(&self, is_common: bool) -> &Ranks {
        self.rare.as_ref().filter(|_| !is_common).unwrap_or(&self.common)
    }
}

/// The sum over fields of their evidence above the noise. `by_field` is the evidence of their surprisals by their places; to it
/// comes that of a value that was never seen, `new` for the values at `places`.
pub fn sum_of_fields(by_field: impl Iterator<Item = (usize, f64)>, places: &[usize], new: &[f64]) -> f64 {
    let new: HashMap<usize, f64> = places.iter().copied().zip(new.iter().copied()).collect();
    let of = |(place, nats): (usize, f64)| nats + new.get(&place).copied().unwrap_or(0.0);
    // The empty sum of `Iterator::sum` would be -0.
    by_field.map(|field| (of(field) - NOISE).max(0.0)).fold(0.0, |sum, nats| sum + nats)
}

/// The score of a record. The other kinds are looked at all at once, so only the strongest of them counts, and only beyond the
/// noise.
pub fn score(fields: f64, kinds: &[f64]) -> f64 {
    let strongest = kinds.iter().copied().fold(0.0, f64::max);
    fields + (strongest - NOISE).max(0.0)
}

/// The numbers of a record that the ranks of [`KINDS`] are of.
pub fn columns(novelty: &Novelty, lesson: &Lesson) -> OfKinds<f32> {
    let of = |which: usize| novelty.columns[which] as f32;
    [of(PAIRS), of(VALUES), of(DISTANCE), of(TWO_GRAM), lesson.disorder, lesson.unwritable]
}

/// The hash of a layout as it is written.
pub fn layout_name(layout: u64) -> String {
    format!("{layout:016x}")
}

impl NormalEvidence {
    /// The evidence of a record; `paths` are those of its parts.
    pub fn of<'a>(&self, lesson: &Lesson, path: impl Fn(usize) -> &'a str) -> Evidence {
        let name = layout_name(lesson.layout);
        let layout = self.common_layouts.contains_key(&name).then_some(name.as_str());
        let of_field = |&(place, nats): &(usize, f32)| {
            if self.clocks.contains(path(place)) {
                return (place, 0.0);
            }
            let ranks = self.paths.get(path(place)).and_then(|path| path.ranks(layout)).unwrap_or(&self.rare_paths);
            (place, ranks.evidence(nats.into()))
        };
        let by_field: Vec<(usize, f64)> = lesson.fields.iter().map(of_field).collect();
        let novelty = self.seen.novelty(&lesson.observed, false);
        let columns = columns(&novelty, lesson);
        let kinds: OfKinds<f64> =
            std::array::from_fn(|kind| self.kinds[kind].of(layout.is_some()).bounded_evidence(columns[kind].into()));
        let sum = sum_of_fields(by_field.iter().copied(), &lesson.places, &novelty.new_values);
        let fields = self.fields.evidence(sum);
        let reason = |(place, nats): (usize, f64)| {
            // Nor is the end of a record that has all fields of a common layout.
            let nats = if layout.is_some() && path(place) == END { nats.min(NOISE) } else { nats };
            let is_unwritable = lesson.unwritable_in.contains(&place);
            let nats = if is_unwritable { nats + kinds[CHARACTERS] } else { nats };
            (place, Reason { nats, is_new: false, is_unwritable, never_with: None })
        };
        let mut reasons: BTreeMap<usize, Reason> = by_field.iter().copied().map(reason).collect();
        for (value, &place) in lesson.places.iter().enumerate() {
            let Some(reason) = reasons.get_mut(&place) else { continue };
            let (new, (pairs, partner)) = (novelty.new_values[value], novelty.new_pairs[value]);
            // What follows an odd value surprises the model too. The value that most records have there is not what is odd.
            if self.seen.share(&lesson.observed.values[value]) > 0.5 {
                reason.nats = reason.nats.min(NOISE);
            }
            reason.is_new = new > 0.0;
            reason.never_with = (pairs > NOISE && kinds[0] > NOISE).then(|| lesson.places[partner]);
            let of_pairs = if reason.never_with.is_some() { pairs.min(kinds[0]) } else { 0.0 };
            reason.nats += new + of_pairs;
        }
        Evidence { score: score(fields, &kinds), by_field, fields, kinds, reasons }
    }

    /// The mean surprisal of a path in normal records, in nats; 0 for one that was never seen.
    pub fn mean(&self, path: &str) -> f64 {
        self.paths.get(path).map_or(0.0, |path| path.mean)
    }

    /// Checks what is always so; the error names the member.
    pub fn check(&self) -> Result<(), String> {
        for (path, PathEvidence { count, mean, spread, all, by_layout }) in &self.paths {
            // A mean of losses that are rounded may lie a little below 0.
            if !(*mean >= -0.01 && mean.is_finite()) {
                return Err(format!("paths: {path} has a mean of {mean}, expected a number of at least 0"));
            }
            if !(*spread >= 1.0 && spread.is_finite()) {
                return Err(format!("paths: {path} has a spread of {spread}, expected at least 1"));
            }
            if *count == 0 {
                return Err(format!("paths: {path} has a count of 0, expected the number of its values"));
            }
            for ranks in all.iter().chain(by_layout.values()) {
                ranks.check().map_err(|e| format!("paths: {path}: {e}"))?;
            }
        }
        if self.kinds.len() != KINDS.len() {
            return Err(format!("kinds: found {}, expected {}", self.kinds.len(), KINDS.len()));
        }
        for (name, kind) in KINDS.iter().zip(&self.kinds) {
            kind.common.check().map_err(|e| format!("kinds: {name}: {e}"))?;
            kind.rare.as_ref().map_or(Ok(()), Ranks::check).map_err(|e| format!("kinds: {name}: {e}"))?;
        }
        self.rare_paths.check().map_err(|e| format!("rare_paths: {e}"))?;
        self.fields.check().map_err(|e| format!("fields: {e}"))?;
        self.seen.check().map_err(|e| format!("seen: {e}"))
    }
}
