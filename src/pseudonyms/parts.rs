//! Splits a record into the values that may be replaced, and puts replacements into its bytes.

use crate::record::fields;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// One replacement in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The bytes of the record that are replaced.
    pub place: Range<usize>,
    /// The replacement, with JSON escapes if it is inside a JSON string.
    pub text: String,
    /// The class in the report: `user`, `ip`, `secret`, …
    pub class: &'static str,
    /// The path of the field; `(text)` for plain text.
    pub path: String,
    /// Whether nothing at the place says that it is an identity, but a field elsewhere contains the same name.
    pub is_known: bool,
}

/// A value of a record: a leaf of its JSON, or a piece of plain text.
pub struct RecordPart<'a> {
    /// The path of the leaf; `None` for plain text.
    pub field: Option<String>,
    /// The value without quotes and escapes.
    pub text: Cow<'a, str>,
    /// False for numbers, booleans, null and empty containers.
    pub is_string: bool,
    /// The offset of the value's text in the record.
    start: usize,
    /// For a string with escapes: the offset after `start` of each byte of `text` and of its end.
    offsets: Option<Vec<usize>>,
}

/// The parts of a record in order: the text before its JSON object and the leaves of the object, or the whole record as text
/// if it has no object. Bytes that are not UTF-8 belong to no part.
pub fn parts(record: &[u8]) -> Vec<RecordPart<'_>> {
    let Some(leaves) = fields::leaves(record) else { return plain(record) };
    let mut parts = plain(&record[..fields::body_start(record).unwrap_or(0)]);
    parts.extend(leaves.into_iter().map(|leaf| match leaf.raw.starts_with('"') {
        true => string(&leaf.path, leaf.raw, leaf.span.start),
        false => {
            let (text, start) = (Cow::Borrowed(leaf.raw), leaf.span.start);
            RecordPart { field: Some(leaf.path), text, is_string: false, start, offsets: None }
        }
    }));
    parts
}

/// The part for a JSON string that is written in the record as `raw`, with quotes and escapes, at offset `start`.
pub fn string<'a>(path: &str, raw: &'a str, start: usize) -> RecordPart<'a> {
    let (text, offsets) = match raw.contains('\\') {
        true => unescaped(raw),
        false => (Cow::Borrowed(&raw[1..raw.len() - 1]), None),
    };
    RecordPart { field: Some(path.to_string()), text, is_string: true, start: start + 1, offsets }
}

/// Writes the record with the changes to `out`. The changes must be in order and must not overlap.
pub fn spliced(record: &[u8], changes: &[Change], out: &mut Vec<u8>) {
    out.clear();
    let mut done = 0;
    for change in changes {
        out.extend_from_slice(&record[done..change.place.start]);
        out.extend_from_slice(change.text.as_bytes());
        done = change.place.end;
    }
    out.extend_from_slice(&record[done..]);
}

fn plain(record: &[u8]) -> Vec<RecordPart<'_>> {
    let mut start = 0;
    let mut parts = Vec::new();
    for chunk in record.utf8_chunks() {
        let text = chunk.valid();
        if !text.is_empty() {
            parts.push(RecordPart { field: None, text: Cow::Borrowed(text), is_string: true, start, offsets: None });
        }
        start += text.len() + chunk.invalid().len();
    }
    parts
}

/// The text of a JSON string, and the offset after the opening quote at which each of its bytes begins.
fn unescaped(raw: &str) -> (Cow<'_, str>, Option<Vec<usize>>) {
    // A lone surrogate is valid JSON but not text: such a string is taken as it is written.
    let Ok(text) = serde_json::from_str::<String>(raw) else { return (Cow::Borrowed(&raw[1..raw.len() - 1]), None) };
    let inner = raw.as_bytes();
    let mut offsets = Vec::with_capacity(text.len() + 1);
    let mut at = 1;
    for c in text.chars() {
        let length = match (inner.get(at), inner.get(at + 1)) {
            // A character beyond 16 bits is written as two escapes.
            (Some(b'\\'), Some(b'u')) => 6 * c.len_utf16(),
            (Some(b'\\'), _) => 2,
            _ => c.len_utf8(),
        };
        offsets.extend(std::iter::repeat_n(at - 1, c.len_utf8()));
        at += length;
    }
    offsets.push(at - 1);
    (Cow::Owned(text), Some(offsets))
}

/// The text with the escapes that a JSON string needs.
pub fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_string()
}

impl RecordPart<'_> {
    /// The change that replaces `place` in the part's text by `image`.
    pub fn change(&self, path: &str, class: &'static str, place: Range<usize>, image: &str) -> Change {
        let offset = |at: usize| self.start + self.offsets.as_ref().map_or(at, |offsets| offsets[at]);
        let text = match self.is_string && self.field.is_some() {
            true => escaped(image),
            false => image.to_string(),
        };
        Change { place: offset(place.start)..offset(place.end), text, class, path: path.to_string(), is_known: false }
    }
}

/// Finds the parts that are the two coordinates of one place: adjacent coordinates (by `is_coordinate`) of one object. Maps
/// the number of each such part to both coordinates as they are written, and to which of the two it is.
pub fn coordinate_pairs(
    parts: &[RecordPart],
    mut is_coordinate: impl FnMut(&str) -> bool,
) -> HashMap<usize, (String, u8)> {
    let mut coordinates: Vec<(usize, &str)> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        if let Some(path) = part.field.as_deref().filter(|path| is_coordinate(path)) {
            coordinates.push((at, path.rsplit_once('.').map_or("", |(parent, _)| parent)));
        }
    }
    let mut pairs = HashMap::new();
    let mut rest = coordinates.as_slice();
    while let [(first, parent), more @ ..] = rest {
        rest = more;
        let text = |at: usize| parts[at].text.as_ref();
        match more {
            [(second, other), beyond @ ..] if parent == other && *second == first + 1 => {
                let pair = format!("{}|{}", text(*first), text(*second));
                pairs.insert(*first, (pair.clone(), 0));
                pairs.insert(*second, (pair, 1));
                rest = beyond;
            }
            _ => drop(pairs.insert(*first, (text(*first).to_string(), 0))),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_escaped_strings_are_places_in_the_record() {
        let record = r#"{"m":"a\tb\u00e9\ud83d\ude00\/c\\acole\"","n":7}"#;
        let parts = parts(record.as_bytes());
        assert_eq!(parts[0].text, "a\tbé😀/c\\acole\"");
        let at = parts[0].text.find("acole").unwrap();
        let change = parts[0].change("m", "user", at..at + 5, "x\"\\y");
        assert_eq!(&record[change.place.clone()], "acole");
        assert_eq!(change.text, r#"x\"\\y"#);
        let whole = parts[0].change("m", "user", 0..parts[0].text.len(), "z");
        assert_eq!(&record[whole.place], r#"a\tb\u00e9\ud83d\ude00\/c\\acole\""#);
        assert!(!parts[1].is_string && &record[parts[1].change("n", "user", 0..1, "8").place] == "7");
    }

    #[test]
    fn bytes_that_are_no_text_are_between_parts() {
        let parts = parts(b"acole\xff\xfebob");
        let places: Vec<_> = parts.iter().map(|part| part.change("", "user", 0..part.text.len(), "").place).collect();
        assert_eq!(places, [0..5, 7..10]);
    }

    #[test]
    fn coordinates_are_paired_in_their_object() {
        let parts = parts(br#"{"a":{"lat":1.5,"lon":2.5},"b":{"lat":3.5},"c":{"lon":4.5}}"#);
        let pairs = coordinate_pairs(&parts, |path| path.ends_with("lat") || path.ends_with("lon"));
        let of = |at: usize| (pairs[&at].0.as_str(), pairs[&at].1);
        assert_eq!([of(0), of(1), of(2), of(3)], [("1.5|2.5", 0), ("1.5|2.5", 1), ("3.5", 0), ("4.5", 0)]);
    }
}
