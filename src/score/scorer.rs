//! Records through the model: tokens, surprisals, fields, and one score.

use super::fields::{FieldSurprisal, Parts, parts};
use super::original::Original;
use super::surprisal::{Encoded, Surprisals, encode, sequence_surprisals};
use crate::engine::Engine;
use crate::pseudonyms::RecordPseudonyms;
use crate::record::fields::{body_start, leaves};
use crate::record::{Arranged, Arrangement, Form, Records, prefix_text, prefix_values};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// A model, and what its records are like.
pub struct Scorer<'a> {
    pub model: ScoringModel<'a>,
    pub reader: RecordReader<'a>,
}

/// Computes surprisals. It may do so on a thread of its own.
pub struct ScoringModel<'a> {
    engine: &'a mut dyn Engine,
    /// The token that ends a record.
    separator: u32,
    /// Sequences to compute at once.
    batch: usize,
}

/// Makes tokens of raw records, and fields of their surprisals.
pub struct RecordReader<'a> {
    /// How training wrote its records.
    arrangement: Option<Arc<Arrangement>>,
    pub tokenizer: &'a Tokenizer,
    pub records: &'a Records,
    /// The pseudonyms that replace names in raw records, for a model that was trained on them.
    pseudonyms: Option<&'a mut RecordPseudonyms>,
}

/// Raw records as tokens, or why the model cannot read one.
pub struct Tokenized(Vec<Result<(Trained, Encoded)>>);

impl Tokenized {
    /// The tokens of each record that has any, with its closing separator.
    pub fn sequences(&self) -> impl Iterator<Item = &[u32]> {
        self.0.iter().flatten().map(|(_, (tokens, _))| tokens.as_slice())
    }
}

/// A record with the surprisal of its tokens and fields.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoredRecord {
    pub record: Vec<u8>,
    pub surprisals: Surprisals,
    pub parts: Parts,
    /// The raw record, if pseudonyms replace names in it.
    pub original: Option<Original>,
    /// Fields that are no evidence, by their places in the parts.
    pub excused: Vec<usize>,
    /// Members that stand in an order that training never had, as `b before a`; one for each object with any.
    pub disorder: Vec<String>,
}

impl ScoredRecord {
    /// The value of one of its fields as text: a JSON string without quotes and escapes, anything else unchanged. With
    /// `in_clear`, it is that of the raw record.
    pub fn value(&self, field: &FieldSurprisal, in_clear: bool) -> String {
        let raw = String::from_utf8_lossy(self.shown(&field.value, in_clear));
        serde_json::from_str(&raw).unwrap_or_else(|_| raw.into_owned())
    }

    /// Takes the surprisal from fields that are no evidence; nor are new values there, or new pairs with them.
    pub fn excuse(&mut self, fields: &[usize]) {
        for &i in fields {
            let field = &mut self.parts.fields[i];
            (field.nats, field.max) = (0.0, 0.0);
        }
        self.parts.pieces.iter_mut().filter(|piece| fields.contains(&piece.field)).for_each(|piece| piece.nats = 0.0);
        self.excused.extend_from_slice(fields);
    }

    /// The bytes of a token's place, which may be that of the separator.
    pub fn text(&self, place: &Range<usize>) -> &[u8] {
        self.record.get(place.clone()).unwrap_or(b"\n")
    }

    /// The bytes of a place; with `in_clear` those of the raw record, if names were replaced.
    fn shown(&self, place: &Range<usize>, in_clear: bool) -> &[u8] {
        match self.original.as_ref().filter(|_| in_clear) {
            Some(original) => original.bytes(place),
            None => &self.record[place.clone()],
        }
    }
}

/// A raw record in the form that the model was trained on.
struct Trained {
    record: Vec<u8>,
    /// The raw record, if names are replaced.
    original: Option<Original>,
    disorder: Vec<String>,
}

/// A raw record in the form that the model was trained on, if it can have that form.
fn as_trained(
    record: Vec<u8>,
    like: &Records,
    arrangement: Option<&Arrangement>,
    pseudonyms: Option<&mut RecordPseudonyms>,
) -> Result<Trained> {
    let body = if like.form == Form::Text { &record[..] } else { like.without_prefix(&record) };
    let unchanged = Arranged { record: body.into(), disorder: Vec::new() };
    let Arranged { record: body, disorder } = arrangement.map_or(unchanged, |like| like.apply(body));
    let Some(pseudonyms) = pseudonyms else {
        return Ok(Trained { record: formed(body.into_owned(), like)?, original: None, disorder });
    };
    let rewritten = pseudonyms.rewrite(&body);
    let prefix = match like.prefixes.is_empty() {
        true => Vec::new(),
        false => prefix_text(&prefix_values(&like.prefixes, &body)).into_bytes(),
    };
    let record = formed(rewritten.record.clone(), like)?;
    let prefix_length = record.len() - rewritten.record.len();
    let original = Original { body: body.into_owned(), prefix, prefix_length, rewritten };
    Ok(Trained { record, original: Some(original), disorder })
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

/// How training wrote records like these, where that is to be repeated.
pub fn arrangement(records: &Records) -> Option<Arc<Arrangement>> {
    Arrangement::new(records).filter(|_| records.form != Form::Text).map(Arc::new)
}

impl<'a> Scorer<'a> {
    /// `batch` sequences are computed at once; `pseudonyms` replace names in raw records, for a model that was trained on them.
    pub fn new(
        engine: &'a mut dyn Engine,
        tokenizer: &'a Tokenizer,
        records: &'a Records,
        batch: usize,
        pseudonyms: Option<&'a mut RecordPseudonyms>,
    ) -> Self {
        let model = ScoringModel { engine, separator: tokenizer.separator(), batch };
        Scorer { model, reader: RecordReader::new(arrangement(records), tokenizer, records, pseudonyms) }
    }

    /// Measures a batch of records. A record that the model cannot read is an error of its own; the outer error is the
    /// engine's.
    pub fn measure(&mut self, records: Vec<Vec<u8>>) -> Result<Vec<Result<ScoredRecord>>> {
        let tokenized = self.reader.tokenize(records);
        let nats = self.model.surprisals(&tokenized)?;
        Ok(self.reader.join(tokenized, nats))
    }
}

impl ScoringModel<'_> {
    /// Whether it computes on a device beside the host, so that other records can be read meanwhile.
    pub fn is_beside_host(&self) -> bool {
        self.engine.is_beside_host()
    }

    /// The surprisals of the tokens of each record that has any.
    pub fn surprisals(&mut self, of: &Tokenized) -> Result<Vec<Vec<f32>>> {
        let whole: Vec<&[u32]> = of.sequences().collect();
        sequence_surprisals(self.engine, self.separator, &whole, self.batch)
    }

    /// Mean surprisal in nats per token of a sequence of records, each with its closing separator.
    pub fn sequence(&mut self, tokens: &[u32]) -> Result<f64> {
        let nats = sequence_surprisals(self.engine, self.separator, &[tokens], self.batch)?.remove(0);
        Ok(mean_surprisal(&nats))
    }
}

impl<'a> RecordReader<'a> {
    /// `arrangement` is that of [`arrangement`] for the same records.
    pub fn new(
        arrangement: Option<Arc<Arrangement>>,
        tokenizer: &'a Tokenizer,
        records: &'a Records,
        pseudonyms: Option<&'a mut RecordPseudonyms>,
    ) -> Self {
        RecordReader { arrangement, tokenizer, records, pseudonyms }
    }

    /// A record that the model cannot read is an error of its own.
    pub fn tokenize(&mut self, records: Vec<Vec<u8>>) -> Tokenized {
        let RecordReader { arrangement, tokenizer, records: like, pseudonyms } = self;
        let mut tokenize = |record| {
            let trained = as_trained(record, like, arrangement.as_deref(), pseudonyms.as_deref_mut())?;
            let encoded = encode(tokenizer, &trained.record)?;
            Ok((trained, encoded))
        };
        Tokenized(records.into_iter().map(&mut tokenize).collect())
    }

    /// Fields from the surprisals of the tokens of each record that has any.
    pub fn join(&self, tokenized: Tokenized, nats: Vec<Vec<f32>>) -> Vec<Result<ScoredRecord>> {
        let mut nats = nats.into_iter();
        let mut join = |(Trained { record, original, disorder }, (tokens, stand_ins))| {
            let nats = nats.next().expect("one for each record with tokens");
            let surprisals = Surprisals { tokens, nats, stand_ins };
            if !surprisals.total().is_finite() {
                return Err(Error::failed(
                    "the surprisal of this record is not a number (NaN); the model's weights are damaged or training has diverged",
                ));
            }
            let parts = parts(&record, self.tokenizer, &surprisals);
            Ok(ScoredRecord { record, surprisals, parts, original, excused: Vec::new(), disorder })
        };
        tokenized.0.into_iter().map(|record| record.and_then(&mut join)).collect()
    }
}

/// Mean surprisal in nats per token, as it is printed.
pub fn mean_surprisal(nats: &[f32]) -> f64 {
    rounded(nats.iter().map(|&nats| f64::from(nats)).sum::<f64>() / nats.len().max(1) as f64)
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
