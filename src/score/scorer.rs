//! Records through the model: tokens, surprisals, fields, and one score.

use super::aggregate::{Selection, aggregate, excess};
use super::fields::{FieldSurprisal, PREFIX, Parts, parts};
use super::normal_stats::NormalStats;
use super::original::Original;
use super::surprisal::{Surprisals, sequence_surprisals, surprisals};
use super::threshold::ScoringMethod;
use crate::engine::Engine;
use crate::finding::{Attached, Finding, FoundField, MaxToken, Origin, Shaded};
use crate::pseudonyms::RecordPseudonyms;
use crate::record::fields::{body_start, leaves};
use crate::record::{Form, Records, prefix_text, prefix_values};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use std::ops::Range;

/// A model, and what its records are like.
pub struct Scorer<'a> {
    pub engine: &'a mut dyn Engine,
    pub tokenizer: &'a Tokenizer,
    pub records: &'a Records,
    /// Sequences to compute at once.
    pub batch: usize,
    /// The pseudonyms that replace names in raw records, for a model that was trained on them.
    pub pseudonyms: Option<&'a mut RecordPseudonyms>,
}

/// A record with the surprisal of its tokens and fields.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredRecord {
    pub record: Vec<u8>,
    pub surprisals: Surprisals,
    pub parts: Parts,
    /// The raw record, if pseudonyms replace names in it.
    pub original: Option<Original>,
}

impl ScoredRecord {
    /// The value of one of its fields as text: a JSON string without quotes and escapes, anything else unchanged. With
    /// `in_clear`, it is that of the raw record.
    pub fn value(&self, field: &FieldSurprisal, in_clear: bool) -> String {
        let raw = String::from_utf8_lossy(self.shown(&field.value, in_clear));
        serde_json::from_str(&raw).unwrap_or_else(|_| raw.into_owned())
    }

    /// Takes the surprisal from fields that are no evidence: nothing is less surprising than they are now.
    pub fn excuse(&mut self, fields: &[usize]) {
        for &i in fields {
            let field = &mut self.parts.fields[i];
            (field.nats, field.max) = (0.0, 0.0);
        }
        self.parts.pieces.iter_mut().filter(|piece| fields.contains(&piece.field)).for_each(|piece| piece.nats = 0.0);
    }

    /// The bytes of a place; with `in_clear` those of the raw record, if names were replaced.
    fn shown(&self, place: &Range<usize>, in_clear: bool) -> &[u8] {
        match self.original.as_ref().filter(|_| in_clear) {
            Some(original) => original.bytes(place),
            None => &self.record[place.clone()],
        }
    }
}

/// A raw record in the form that the model was trained on, if it can have that form; with the original, if names are replaced.
fn as_trained(
    record: Vec<u8>,
    like: &Records,
    pseudonyms: Option<&mut RecordPseudonyms>,
) -> Result<(Vec<u8>, Option<Original>)> {
    let Some(pseudonyms) = pseudonyms else { return formed(record, like).map(|record| (record, None)) };
    let body = if like.form == Form::Text { &record[..] } else { like.without_prefix(&record) };
    let rewritten = pseudonyms.rewrite(body);
    let prefix = match like.prefixes.is_empty() {
        true => Vec::new(),
        false => prefix_text(&prefix_values(&like.prefixes, body)).into_bytes(),
    };
    let formed = formed(rewritten.record.clone(), like)?;
    let prefix_length = formed.len() - rewritten.record.len();
    Ok((formed, Some(Original { body: body.to_vec(), prefix, prefix_length, rewritten })))
}

/// A record in the form that the model was trained on, if it can have that form.
fn formed(record: Vec<u8>, like: &Records) -> Result<Vec<u8>> {
    if like.form == Form::Text {
        return Ok(record);
    }
    let body = like.without_prefix(&record);
    if body_start(body) != Some(0) || leaves(body).is_none() {
        return Err(Error::failed(
            "expected one whole JSON object (the model's records are JSON), found something else",
        ));
    }
    Ok(like.with_prefix(&record).into_owned())
}

impl Scorer<'_> {
    /// Measures a batch of records. A record that the model cannot read is an error of its own; the outer error is the
    /// engine's.
    pub fn measure(&mut self, records: Vec<Vec<u8>>) -> Result<Vec<Result<ScoredRecord>>> {
        let like = self.records;
        let mut trained = |record| as_trained(record, like, self.pseudonyms.as_deref_mut());
        let records: Vec<_> = records.into_iter().map(&mut trained).collect();
        let good: Vec<&[u8]> = records.iter().flatten().map(|(record, _)| record.as_slice()).collect();
        let mut found = surprisals(self.engine, self.tokenizer, &good, self.batch)?.into_iter();
        let tokenizer = self.tokenizer;
        let mut join = |(record, original): (Vec<u8>, Option<Original>)| {
            let surprisals = found.next().expect("one for each good record")?;
            if !surprisals.total().is_finite() {
                return Err(Error::failed(
                    "the surprisal of this record is not a number (NaN); the model's weights are damaged or training has diverged",
                ));
            }
            let parts = parts(&record, tokenizer, &surprisals);
            Ok(ScoredRecord { record, surprisals, parts, original })
        };
        Ok(records.into_iter().map(|record| record.and_then(&mut join)).collect::<Vec<_>>())
    }

    /// Mean surprisal in nats per token of a sequence of records, each with its closing separator.
    pub fn sequence(&mut self, tokens: &[u32]) -> Result<f64> {
        let nats = sequence_surprisals(self.engine, self.tokenizer.separator(), &[tokens], self.batch)?.remove(0);
        Ok(rounded(nats.iter().map(|&nats| f64::from(nats)).sum::<f64>() / nats.len().max(1) as f64))
    }
}

/// Makes scores of records, and verdicts of scores.
pub struct Detector {
    pub method: ScoringMethod,
    pub(super) selection: Selection,
    /// The statistics of each field in normal records, where there is a calibration.
    pub normal_stats: Option<NormalStats>,
    pub threshold: Option<f64>,
    /// Whether findings show what pseudonyms stand for.
    pub in_clear: bool,
}

impl Detector {
    /// Errors: an invalid pattern over fields.
    pub fn new(method: ScoringMethod, normal_stats: Option<NormalStats>, threshold: Option<f64>) -> Result<Self> {
        let selection = Selection::new(&method.only_field, &method.ignore_field)?;
        Ok(Detector { method, selection, normal_stats, threshold, in_clear: false })
    }

    /// The score of a record, to four decimals, so that what is printed is what was compared with the threshold.
    pub fn score(&self, measured: &ScoredRecord) -> f64 {
        let ScoringMethod { aggregate: kind, top_k, .. } = self.method;
        rounded(aggregate(kind, &measured.parts, &self.selection, top_k, self.normal_stats.as_ref()))
    }

    /// Whether a score is an anomaly; None without a threshold.
    pub fn is_anomaly(&self, score: f64) -> Option<bool> {
        self.threshold.map(|threshold| score > threshold)
    }

    /// The finding on record `number`, with its `top` most unusual fields (0: all) and, if `shaded`, all its tokens.
    pub fn finding(
        &self,
        measured: &ScoredRecord,
        (number, source): (u64, Option<&str>),
        tokenizer: &Tokenizer,
        top: usize,
        shaded: bool,
    ) -> Finding {
        let (score, total) = (self.score(measured), measured.surprisals.total());
        let characters = String::from_utf8_lossy(&measured.record).chars().count() + 1;
        let fields = self.top_fields(measured, top);
        Finding {
            record: number,
            source: source.map(str::to_string),
            origin: Origin::default(),
            score,
            threshold: self.threshold,
            anomaly: self.is_anomaly(score),
            nats_per_char: rounded(total / characters as f64),
            nats_per_token: rounded(total / measured.surprisals.tokens.len() as f64),
            known: None,
            max_token: self.max_token(measured, tokenizer),
            tokens: if shaded { self.shades(measured, tokenizer, &fields) } else { Vec::new() },
            fields: fields.into_iter().map(|(field, _)| field).collect(),
            attached: Attached::default(),
        }
    }

    /// The selected fields, the most unusual first, each with its index.
    fn top_fields(&self, measured: &ScoredRecord, top: usize) -> Vec<(FoundField, usize)> {
        let normal_stats = self.normal_stats.as_ref();
        let all = measured.parts.fields.iter().enumerate();
        let mut ranked: Vec<_> = all
            .filter(|(_, field)| self.selection.counts(&field.path))
            .map(|(i, field)| (excess(field, normal_stats), field, i))
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
        ranked.truncate(if top == 0 { usize::MAX } else { top });
        let describe = |(excess, field, i): (f64, &FieldSurprisal, usize)| {
            let found = FoundField {
                path: field.path.clone(),
                value: shortened(&measured.value(field, self.in_clear)),
                nats: rounded(field.nats),
                expected: normal_stats.map(|normal_stats| rounded(normal_stats.of(&field.path).mean)),
                excess: normal_stats.map(|_| rounded(excess)),
            };
            (found, i)
        };
        ranked.into_iter().map(describe).collect()
    }

    /// The most surprising token of the selected fields; of all fields if none is selected.
    fn max_token(&self, measured: &ScoredRecord, tokenizer: &Tokenizer) -> MaxToken {
        let ScoredRecord { surprisals, parts, .. } = measured;
        let counts: Vec<bool> = parts.fields.iter().map(|field| self.selection.counts(&field.path)).collect();
        let none = !counts.contains(&true);
        let counted = parts.pieces.iter().filter(|piece| none || counts[piece.field]).map(|piece| piece.token);
        // The first of equal ones.
        let most = counted.reduce(|a, b| if surprisals.nats[b] > surprisals.nats[a] { b } else { a }).unwrap_or(0);
        let length = |token: &u32| tokenizer.token_bytes(*token).len();
        let prefix = parts.fields.first().filter(|field| field.path == PREFIX).map_or(0, |field| field.span.end);
        let start: usize = surprisals.tokens[..most].iter().map(length).sum();
        let (text, at) = (tokenizer.token_bytes(surprisals.tokens[most]), start.saturating_sub(prefix));
        let (text, at) = match measured.original.as_ref().filter(|_| self.in_clear && start < measured.record.len()) {
            Some(original) => (original.bytes(&(start..start + text.len())), original.offset(at)),
            None => (text, at),
        };
        let text = String::from_utf8_lossy(text).into_owned();
        MaxToken { text, nats: rounded(f64::from(surprisals.nats[most])), at }
    }

    /// The record's tokens for display; those of the fields found are marked.
    fn shades(&self, measured: &ScoredRecord, tokenizer: &Tokenizer, found: &[(FoundField, usize)]) -> Vec<Shaded> {
        let tokens = shades(measured, tokenizer, found);
        match measured.original.as_ref().filter(|_| self.in_clear) {
            Some(original) => original.shades(tokens),
            None => tokens,
        }
    }
}

/// The record's tokens for display; those of the fields found are marked.
fn shades(measured: &ScoredRecord, tokenizer: &Tokenizer, found: &[(FoundField, usize)]) -> Vec<Shaded> {
    let mut at = 0;
    let values: Vec<_> = found.iter().map(|(_, i)| measured.parts.fields[*i].value.clone()).collect();
    let Surprisals { tokens, nats } = &measured.surprisals;
    let shade = |(token, &nats): (&u32, &f32)| {
        let text = tokenizer.token_bytes(*token).to_vec();
        let range = at..at + text.len();
        at = range.end;
        // A token such as `", "` reaches into two fields; it belongs to the one that holds more than half of it.
        let overlap = |value: &Range<usize>| value.end.min(range.end).saturating_sub(value.start.max(range.start));
        let found = values.iter().any(|value| 2 * overlap(value) > text.len());
        Shaded { text, nats: f64::from(nats), found }
    };
    tokens.iter().zip(nats).map(shade).collect()
}

/// Maximum number of characters shown of a value.
const LONGEST_VALUE: usize = 200;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_VALUE) {
        None => text.to_string(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// Rounds to four decimals.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_with_one_prefix() {
        let prefixes = vec!["user=u".parse().unwrap()];
        let like = Records { form: Form::PrefixedJson, prefixes, ..Records::unknown() };
        let read = |record: &[u8], like: &Records| formed(record.to_vec(), like).ok();
        let whole = b"al {\"u\":\"al\"}".to_vec();
        assert_eq!(read(b"{\"u\":\"al\"}", &like), Some(whole.clone()));
        assert_eq!(read(&whole, &like), Some(whole.clone()), "as generate prints it");
        let bare = Records { form: Form::Json, ..Records::unknown() };
        assert_eq!(read(&whole, &bare), None, "more than an object");
        assert_eq!(read(b"al", &like), None);
        assert_eq!(read(b"al", &Records::unknown()), Some(b"al".to_vec()));
    }
}
