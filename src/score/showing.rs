//! What a finding says of its record beside the scores: which one it is, when it was, and the parts of it that were asked for.

use super::entities::entities;
use super::scorer::ScoredRecord;
use crate::finding::{Attached, Entities, Kept, Origin, RawJson};
use crate::record::fields::leaves;
use crate::record::{Opening, check_object, record_seconds, rfc3339, text_fields};
use crate::{Error, Result};
use glob::Pattern;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// Hexadecimal digits of an identifier and of a digest.
const ID_DIGITS: usize = 16;
const DIGEST_DIGITS: usize = 32;

/// What is shown of each record.
#[derive(Debug, Default)]
pub struct Showing {
    keep: Vec<Pattern>,
    with_record: bool,
    /// The field with the time of a record; where it is None, usual places are searched.
    time_field: Option<String>,
    /// Whether the raw record is shown, and not the one with pseudonyms.
    in_clear: bool,
    /// How strings of the records were opened.
    opening: Opening,
    /// Whether it is shown who and what records name.
    entities: bool,
}

/// A record as its input had it, and where.
#[derive(Clone, Copy, Debug)]
pub struct ReadRecord<'a> {
    pub bytes: &'a [u8],
    pub number: u64,
    /// The name of its input, where there are several.
    pub source: Option<&'a str>,
}

impl Showing {
    /// Errors: an invalid pattern.
    pub fn new(
        keep: &[String],
        with_record: bool,
        time_field: Option<String>,
        in_clear: bool,
        opening: Opening,
    ) -> Result<Self> {
        let compile = |text: &String| {
            Pattern::new(text).map_err(|e| {
                Error::usage(format!(
                    "--keep {text}: expected a path such as properties.id or *.id, found an invalid pattern: {e}"
                ))
            })
        };
        let keep = keep.iter().map(compile).collect::<Result<_>>()?;
        Ok(Self { keep, with_record, time_field, in_clear, opening, entities: false })
    }

    /// The same, with the users, addresses, hosts and hashes that each record names.
    pub fn with_entities(self, shown: bool) -> Self {
        Self { entities: shown, ..self }
    }

    /// The time of a record in seconds since 1970.
    pub fn seconds(&self, record: &[u8]) -> Option<f64> {
        record_seconds(record, self.time_field.as_deref())
    }

    pub fn origin(&self, read: ReadRecord, measured: &ScoredRecord) -> Origin {
        let record = match &measured.original {
            Some(original) => &original.rewritten.record,
            None => read.bytes,
        };
        let record = self.opening.closed(record);
        let place = format!("{}\0{}\0", read.source.unwrap_or(""), read.number);
        Origin {
            id: hexadecimal(&[place.as_bytes(), &record], ID_DIGITS),
            digest: hexadecimal(&[&record], DIGEST_DIGITS),
            time: self.seconds(read.bytes).and_then(rfc3339),
        }
    }

    pub fn attached(&self, read: ReadRecord, measured: &ScoredRecord) -> Attached {
        let record = match &measured.original {
            Some(original) if self.in_clear => &original.body,
            Some(original) => &original.rewritten.record,
            None => read.bytes,
        };
        Attached {
            kept: (!self.keep.is_empty()).then(|| self.kept(record)),
            raw: self.with_record.then(|| whole(self.opening.closed(record))),
            entities: if self.entities { entities(measured, self.in_clear) } else { Entities::default() },
        }
    }

    fn kept(&self, record: &[u8]) -> Kept {
        let mut kept: Vec<(String, Vec<RawJson>)> = Vec::new();
        let mut keep = |path: String, value: &dyn Fn() -> RawJson| {
            if !self.keep.iter().any(|pattern| pattern.matches(&path)) {
                return;
            }
            match kept.iter_mut().find(|(known, _)| *known == path) {
                Some((_, values)) => values.push(value()),
                None => kept.push((path, vec![value()])),
            }
        };
        match leaves(record) {
            Some(leaves) => leaves.into_iter().for_each(|leaf| {
                keep(leaf.path, &|| RawJson::new(leaf.raw).unwrap_or_else(|| RawJson::string(leaf.raw.as_bytes())));
            }),
            None => text_fields(record).into_iter().for_each(|(path, place)| {
                keep(path, &|| RawJson::string(&record[place.clone()]));
            }),
        }
        Kept(kept)
    }
}

/// A record as a JSON value: itself where it is an object.
fn whole(record: Cow<[u8]>) -> RawJson {
    let object = std::str::from_utf8(&record).ok().filter(|_| check_object(&record).is_ok()).and_then(RawJson::new);
    object.unwrap_or_else(|| RawJson::string(&record))
}

fn hexadecimal(parts: &[&[u8]], digits: usize) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    let mut text: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{Parts, Surprisals};
    use serde_json::{Value, json};

    fn measured(record: &[u8]) -> ScoredRecord {
        let surprisals = Surprisals { tokens: Vec::new(), nats: Vec::new(), stand_ins: Vec::new() };
        let parts = Parts { fields: Vec::new(), pieces: Vec::new() };
        ScoredRecord {
            record: record.to_vec(),
            surprisals,
            parts,
            original: None,
            excused: Vec::new(),
            disorder: Vec::new(),
        }
    }

    fn shown(keep: &[&str], record: &[u8]) -> Value {
        let keep: Vec<String> = keep.iter().map(|text| text.to_string()).collect();
        let showing = Showing::new(&keep, true, None, false, Opening::Found).unwrap();
        let read = ReadRecord { bytes: record, number: 7, source: Some("a.log") };
        serde_json::to_value(showing.attached(read, &measured(record))).unwrap()
    }

    #[test]
    fn kept_values_keep_their_type_and_repeated_paths_are_arrays() {
        let record = br#"{"n": 1.50, "l": [{"a": "x"}, {"a": null}], "s": "\u00e9", "o": {}}"#;
        assert_eq!(shown(&["n", "l.*", "o"], record)["kept"], json!({ "n": 1.5, "l.*.a": ["x", null], "o": {} }));
        assert_eq!(shown(&["nothing"], record)["kept"], json!({}));
        let showing = Showing::new(&["*".into()], false, None, false, Opening::Nothing).unwrap();
        let read = ReadRecord { bytes: record, number: 1, source: None };
        let text = serde_json::to_string(&showing.attached(read, &measured(record))).unwrap();
        assert_eq!(text, r#"{"kept":{"n":1.50,"l.*.a":["x",null],"s":"\u00e9","o":{}}}"#, "as it is written");
        assert_eq!(shown(&["$2"], b"GET /x\xff")["kept"], json!({ "$2": "/x\u{fffd}" }));
        assert!(
            Showing::new(&["[".into()], false, None, false, Opening::Nothing)
                .unwrap_err()
                .to_string()
                .contains("--keep [")
        );
    }

    #[test]
    fn the_record_is_shown_as_the_log_has_it() {
        let opened = b"{\"s\":{\r\r\"a\":\"x\"}}";
        assert_eq!(shown(&[], opened)["raw"], json!({ "s": "{\"a\":\"x\"}" }));
        assert_eq!(shown(&["s.a"], opened)["kept"], json!({ "s.a": "x" }));
        assert_eq!(shown(&[], b"al {\"a\":1}")["raw"], "al {\"a\":1}");
        assert_eq!(shown(&[], b"[1]\x1b")["raw"], "[1]\u{1b}");
    }

    #[test]
    fn an_identifier_is_of_the_place_and_the_record() {
        let origin = |bytes: &'static [u8], number, source| {
            Showing::default().origin(ReadRecord { bytes, number, source }, &measured(bytes))
        };
        let one = origin(b"2024-03-01 10:00:00 x", 7, Some("a.log"));
        // printf 'a.log\0007\0002024-03-01 10:00:00 x' | sha256sum
        assert_eq!((one.id.as_str(), one.digest.len()), ("1c23fd0100a72bdf", 32));
        assert_eq!(one.time.as_deref(), Some("2024-03-01T10:00:00Z"));
        let others = [origin(b"2024-03-01 10:00:00 x", 8, Some("a.log")), origin(b"2024-03-01 10:00:00 x", 7, None)];
        assert!(others.iter().all(|other| other.id != one.id && other.digest == one.digest));
        assert_ne!(origin(b"2024-03-01 10:00:00 y", 7, Some("a.log")).digest, one.digest);
    }
}
