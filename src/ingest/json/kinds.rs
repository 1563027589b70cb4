//! Formats that are JSON objects with a meaning of their own: Elasticsearch's `_bulk` requests, journald's and Docker's logs.

use crate::Result;
use crate::ingest::collect::{Collector, Place};
use crate::record::object_fault;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The operations of a `_bulk` request; each stands on a line of its own, before its document.
const OPERATIONS: [&str; 4] = ["index", "create", "update", "delete"];

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Kind {
    /// Nothing was read yet.
    #[default]
    Unknown,
    Plain,
    Journald,
    Docker,
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

fn members(record: &[u8]) -> Option<Members<'_>> {
    serde_json::from_slice(record).ok()
}

/// What the first object of a source says about those that follow.
pub(super) fn kind(first: &[u8]) -> Kind {
    let Some(members) = members(first) else { return Kind::Plain };
    let has = |name: &str| members.contains_key(name);
    if has("__REALTIME_TIMESTAMP") || has("__CURSOR") {
        Kind::Journald
    } else if ["log", "stream", "time"].into_iter().all(has) && members.len() <= 5 {
        Kind::Docker
    } else {
        Kind::Plain
    }
}

/// Whether an object is an operation of a `_bulk` request.
pub(super) fn is_operation(object: &[u8]) -> bool {
    let name = object[1..].trim_ascii_start();
    if !OPERATIONS.iter().any(|operation| name.starts_with(b"\"") && name[1..].starts_with(operation.as_bytes())) {
        return false;
    }
    let Some(members) = members(object).filter(|members| members.len() == 1) else { return false };
    let Some((name, value)) = members.first_key_value() else { return false };
    let Ok(inside) = serde_json::from_str::<Members>(value.get()) else { return false };
    let known = [
        "_index",
        "_id",
        "_type",
        "routing",
        "_routing",
        "version",
        "version_type",
        "pipeline",
        "require_alias",
        "retry_on_conflict",
        "if_seq_no",
        "if_primary_term",
        "dynamic_templates",
        "op_type",
    ];
    OPERATIONS.contains(&name.as_str()) && inside.keys().all(|key| known.contains(&key.as_str()))
}

/// Passes on an object that stands alone: a part of a line is a record, and an operation is none.
pub(super) fn alone(object: &[u8], place: Place, out: &mut Collector) -> Result<()> {
    if is_operation(object) {
        return out.bad(place, "an operation of a _bulk request, which is no record", object);
    }
    let mut kinds = Kinds::default();
    kinds.take(object, place, out)?;
    kinds.finish(out)
}

/// Passes objects on to the collector, as their kind wants it.
#[derive(Default)]
pub(super) struct Kinds {
    kind: Kind,
    /// The parts of Docker lines whose ends are still to come, by stream.
    parts: BTreeMap<String, Parts>,
    record: Vec<u8>,
}

/// A line that Docker has cut into several records, because it is longer than 16 kB.
struct Parts {
    /// The first record, which the joined one is made of, and the place of the last.
    first: Vec<u8>,
    place: Place,
    /// The text of the parts as it is written in JSON, without quotes.
    text: String,
    count: u64,
}

impl Kinds {
    /// Objects of which the first, which was read before, is of this kind.
    pub fn of(kind: Kind) -> Self {
        Kinds { kind, ..Kinds::default() }
    }

    /// Takes a valid object.
    pub fn take(&mut self, object: &[u8], place: Place, out: &mut Collector) -> Result<()> {
        if is_operation(object) {
            out.announce("operation", " of _bulk requests");
            return Ok(());
        }
        if self.kind == Kind::Unknown {
            self.kind = kind(object);
        }
        match self.kind {
            Kind::Unknown | Kind::Plain => out.record(object, place),
            Kind::Journald => self.journald(object, place, out),
            Kind::Docker => self.docker(object, place, out),
        }
    }

    /// journald writes a text that is not printable as an array of its bytes.
    fn journald(&mut self, object: &[u8], place: Place, out: &mut Collector) -> Result<()> {
        let arrays: Vec<(usize, usize, String)> = members(object).map_or(Vec::new(), |members| {
            let array = |value: &&RawValue| {
                let start = value.get().as_ptr() as usize - object.as_ptr() as usize;
                let bytes: Vec<u8> =
                    serde_json::from_str(value.get()).ok().filter(|bytes: &Vec<u8>| !bytes.is_empty())?;
                let text = serde_json::to_string(&String::from_utf8_lossy(&bytes)).ok()?;
                Some((start, start + value.get().len(), text))
            };
            members.values().filter(|value| value.get().starts_with('[')).filter_map(array).collect()
        });
        if arrays.is_empty() {
            return out.record(object, place);
        }
        let mut arrays = arrays;
        arrays.sort();
        self.record.clear();
        let mut done = 0;
        for (start, end, text) in arrays {
            self.record.extend_from_slice(&object[done..start]);
            self.record.extend_from_slice(text.as_bytes());
            done = end;
            out.announce("array", " of bytes that became text");
        }
        self.record.extend_from_slice(&object[done..]);
        out.record(&self.record, place)
    }

    /// Joins the parts of a line: only the last one ends with a newline.
    fn docker(&mut self, object: &[u8], place: Place, out: &mut Collector) -> Result<()> {
        let members = members(object);
        let text = |name: &str| members.as_ref()?.get(name).map(|raw| raw.get());
        let (Some(log), Some(stream)) = (text("log").filter(|raw| raw.starts_with('"')), text("stream")) else {
            return out.record(object, place);
        };
        let ends = ends_with_newline(log);
        let inside = &log[1..log.len() - 1];
        match self.parts.remove(stream) {
            None if ends => {
                return out.record(object, Place { end: place.end.filter(|_| self.parts.is_empty()), ..place });
            }
            None => {
                let parts = Parts { first: object.to_vec(), place, text: inside.to_string(), count: 1 };
                self.parts.insert(stream.to_string(), parts);
            }
            Some(mut parts) => {
                parts.text.push_str(inside);
                (parts.count, parts.place.end) = (parts.count + 1, place.end);
                match ends || parts.text.len() > out.options.max_record_bytes / 2 {
                    true => self.joined(parts, out)?,
                    false => drop(self.parts.insert(stream.to_string(), parts)),
                }
            }
        }
        Ok(())
    }

    fn joined(&mut self, parts: Parts, out: &mut Collector) -> Result<()> {
        let Parts { first, mut place, text, count } = parts;
        let log = members(&first).and_then(|members| members.get("log").map(|raw| raw.get().as_bytes().as_ptr_range()));
        let log = log.expect("the first part has a text");
        let offset = |at: *const u8| at as usize - first.as_ptr() as usize;
        let record = [&first[..offset(log.start)], b"\"", text.as_bytes(), b"\"", &first[offset(log.end)..]].concat();
        debug_assert_eq!(object_fault(&record), None);
        (1..count).for_each(|_| out.announce("part", " of lines, joined"));
        place.end = place.end.filter(|_| self.parts.is_empty());
        out.record(&record, place)
    }

    /// The source has ended: lines whose ends never came are records.
    pub fn finish(&mut self, out: &mut Collector) -> Result<()> {
        while let Some((_, parts)) = self.parts.pop_first() {
            self.joined(parts, out)?;
        }
        Ok(())
    }
}

/// Whether the text of a JSON string ends with a newline: `\n`, and not a backslash before the letter.
fn ends_with_newline(raw: &str) -> bool {
    let Some(before) = raw.strip_suffix("n\"") else { return false };
    before.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_object_tells_the_kind() {
        for (object, want) in [
            (r#"{"__CURSOR":"s=1"}"#, Kind::Journald),
            (r#"{"log":"a\n","stream":"stdout","time":"t"}"#, Kind::Docker),
            (r#"{"log":"a","stream":"stdout"}"#, Kind::Plain),
        ] {
            assert_eq!(kind(object.as_bytes()), want, "{object}");
        }
        assert!(
            [r#"{"index": {"_index": "a", "_id": "1"}}"#, r#"{"delete":{"_id":"1"}}"#]
                .iter()
                .all(|one| is_operation(one.as_bytes()))
        );
        for object in
            [r#"{"index":{"name":"x"}}"#, r#"{"index":{"_id":"1"},"b":1}"#, r#"{"indexed":{}}"#, r#"{"index":1}"#, "{}"]
        {
            assert!(!is_operation(object.as_bytes()), "{object}");
        }
    }

    #[test]
    fn a_newline_is_no_letter_behind_a_backslash() {
        assert!(ends_with_newline(r#""a\n""#) && ends_with_newline(r#""a\\\n""#));
        assert!(!ends_with_newline(r#""a\\n""#) && !ends_with_newline(r#""an""#));
    }
}
