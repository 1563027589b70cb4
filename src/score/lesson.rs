//! What of a scored record is evidence: the surprisals of its fields, its values, its layout, and the order of its members.

use super::aggregate::Selection;
use super::fields::{END, FieldSurprisal, PREFIX};
use super::scorer::ScoredRecord;
use crate::detect::{Observed, hash};
use crate::record::fields::body_start;
use std::collections::BTreeSet;

/// A scored record, reduced to what evidence needs of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lesson {
    /// The set of its paths, as a hash: records of one kind of event have one layout.
    pub layout: u64,
    /// The selected fields: place in the record's parts, and surprisal in nats.
    pub fields: Vec<(usize, f32)>,
    /// The values of the selected fields, without prefix and end.
    pub observed: Observed,
    /// For each observed value its place in the record's parts.
    pub places: Vec<usize>,
    /// The number of objects whose members stand in an order that training never had.
    pub disorder: f32,
    /// The number of characters that the tokenizer lacks, in selected fields.
    pub unwritable: f32,
    /// The places of the fields that hold them.
    pub unwritable_in: BTreeSet<usize>,
}

impl Lesson {
    pub fn of(measured: &ScoredRecord, selection: &Selection) -> Self {
        let fields = &measured.parts.fields;
        let is_excused = |place: usize| measured.excused.contains(&place);
        let counts: Vec<bool> =
            (0..fields.len()).map(|place| selection.counts(&fields[place].path) && !is_excused(place)).collect();
        let (observed, places) = observe(&measured.record, fields, &counts);
        let mut paths: Vec<&str> =
            fields.iter().filter(|field| is_value(field)).map(|field| field.path.as_str()).collect();
        paths.sort_unstable();
        paths.dedup();
        let stand_ins = measured.surprisals.stand_ins.iter().map(|stand_in| stand_in.token);
        let unwritable: Vec<usize> =
            stand_ins.flat_map(|token| fields_of(measured, token)).filter(|place| counts[*place]).collect();
        let parts: Vec<&[u8]> = paths.iter().map(|path| path.as_bytes()).collect();
        Lesson {
            layout: hash(&parts),
            fields: (0..fields.len()).filter(|&i| counts[i]).map(|i| (i, fields[i].nats as f32)).collect(),
            observed,
            places,
            disorder: measured.disorder.len() as f32,
            unwritable: unwritable.len() as f32,
            unwritable_in: unwritable.into_iter().collect(),
        }
    }
}

/// The values of the fields that count, and their places. The words of a line are no fields, so they count only where all fields do.
pub fn observe(record: &[u8], fields: &[FieldSurprisal], counts: &[bool]) -> (Observed, Vec<usize>) {
    let places: Vec<usize> = (0..fields.len()).filter(|&place| counts[place] && is_value(&fields[place])).collect();
    let values = places.iter().map(|&place| {
        let field = &fields[place];
        (field.path.as_str(), &record[field.value.clone()])
    });
    let is_text = body_start(record).is_none();
    let line = (is_text && counts.iter().all(|counts| *counts)).then_some(record);
    (Observed::new(values, line), places)
}

/// The fields that a token is part of.
fn fields_of(measured: &ScoredRecord, token: usize) -> impl Iterator<Item = usize> {
    let pieces = &measured.parts.pieces;
    let first = pieces.partition_point(|piece| piece.token < token);
    pieces[first..].iter().take_while(move |piece| piece.token == token).map(|piece| piece.field)
}

fn is_value(field: &FieldSurprisal) -> bool {
    field.path != END && field.path != PREFIX
}
