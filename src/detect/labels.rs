//! Labels: which records are attacks, and of what kind.

use crate::record::fields;
use crate::{Error, Result};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// The kind of attack; None for a normal record.
pub type Label = Option<String>;

/// The kind of an attack whose label does not name one (`1`, `true`).
pub const UNNAMED: &str = "attack";

/// Names that mean no attack, in upper or lower case; `-` is the one of the BGL and Thunderbird logs.
const NORMAL: [&str; 3] = ["normal", "benign", "-"];

/// Fields that hold the label by default, in the order of preference.
const USUAL_FIELDS: [&str; 2] = ["attack", "label"];

/// Maximum length of a line; no label is longer.
const LONGEST_LINE: u64 = 1 << 20;

/// The number of the record in a line that `synth --labels` wrote.
fn numbered(line: &[u8]) -> Option<u64> {
    let members: Map<String, Value> = serde_json::from_slice(line).ok()?;
    if members.keys().eq(["record", "attack", "episode"]) { members["record"].as_u64() } else { None }
}

/// Reads a labels file, one label per line, for a number of `records`.
///
/// A line is a JSON object with the label in `field` (by default in `attack`, else in `label`), or the label alone:
///
/// | label | means |
/// |---|---|
/// | `0`, `false`, `null`, `normal`, `benign`, `-` | normal |
/// | `1`, `true` | an attack of no named kind |
/// | any other text, one word or quoted | an attack of that kind |
///
/// The lines that `synth --labels` writes count their records, from 1 (older files from 0); they must be in order.
///
/// # Errors
/// A line that is not a label (an empty one too), a missing field, another number of labels than `records`, a number of a record
/// that is not the next one. Errors name the file and the line.
pub fn read(path: &Path, field: Option<&str>, records: usize) -> Result<Vec<Label>> {
    let file = File::open(path).map_err(|e| Error::io("read the labels from", path, e))?;
    let labels = parse(BufReader::new(file), field, &path.display().to_string())?;
    if labels.len() == records {
        return Ok(labels);
    }
    Err(Error::failed(format!(
        "{}: {} labels for {records} records, expected one label per record; check that both are complete and of \
         the same logs",
        path.display(),
        labels.len()
    )))
}

fn parse(mut reader: impl BufRead, field: Option<&str>, name: &str) -> Result<Vec<Label>> {
    let (mut labels, mut line, mut first) = (vec![], vec![], None);
    loop {
        line.clear();
        let place = || format!("{name}:{}", labels.len() + 1);
        let read = reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        let read = read.map_err(|e| Error::failed(format!("{}: cannot read the labels: {e}", place())))?;
        if read == 0 {
            return Ok(labels);
        }
        if read as u64 == LONGEST_LINE {
            return Err(Error::failed(format!("{}: a line of {LONGEST_LINE} bytes or more; {EXPECTED}", place())));
        }
        let text = line.trim_ascii();
        let label = if text.starts_with(b"{") { of_object(text, field) } else { of_line(text, field) };
        let label = label.map_err(|what| Error::failed(format!("{}: {what}", place())))?;
        if let Some(record) = numbered(text) {
            let expected = *first.get_or_insert(record.min(1)) + labels.len() as u64;
            if record != expected {
                let (place, remedy) = (place(), "is a line missing, or are they sorted?");
                return Err(Error::failed(format!(
                    "{place}: the label of record {record}, expected {expected}; {remedy}"
                )));
            }
        }
        labels.push(label);
    }
}

const EXPECTED: &str =
    "expected one label per line: 0 or 1, true or false, null, the name of an attack, or a JSON object";

fn of_line(text: &[u8], field: Option<&str>) -> std::result::Result<Label, String> {
    if let Some(field) = field {
        return Err(format!("not a JSON object, expected one with the label in {field:?}"));
    }
    if text.is_empty() {
        return Err(format!("an empty line; {EXPECTED}"));
    }
    match serde_json::from_slice::<&RawValue>(text) {
        Ok(raw) => of_value(raw.get()),
        Err(_) => match std::str::from_utf8(text) {
            Ok(word) if is_word(word) => Ok(of_name(word)),
            _ => Err(format!("not a label; {EXPECTED}")),
        },
    }
}

fn is_word(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_alphabetic() || c == '_') || NORMAL.contains(&text);
    starts && text.chars().all(|c| c.is_alphanumeric() || "_-.:/".contains(c))
}

/// The label in a JSON record itself: the value at the JSON path `field`.
///
/// # Errors
/// The record is not a JSON object, does not have exactly one value there, or one that is not a label. Errors name the
/// record by its `number`, from 1.
pub fn of_record(record: &[u8], field: &str, number: usize) -> Result<Label> {
    of_object(record, Some(field)).map_err(|what| Error::failed(format!("record {number}: {what}")))
}

fn of_object(text: &[u8], field: Option<&str>) -> std::result::Result<Label, String> {
    let leaves = fields::leaves(text).ok_or("not a valid JSON object")?;
    let at = |path: &str| leaves.iter().filter(|leaf| leaf.path == path).map(|leaf| leaf.raw).collect::<Vec<_>>();
    let asked = |path: &&str| !at(path).is_empty();
    let Some(path) = field.or_else(|| USUAL_FIELDS.into_iter().find(asked)) else {
        return Err(format!(
            "no field {}; name the field of the label with --label-field PATH",
            USUAL_FIELDS.join(" or ")
        ));
    };
    match at(path)[..] {
        [raw] => of_value(raw),
        [] => Err(format!("no value in the field {path:?}; --label-field names it by its JSON path, as in a.b")),
        _ => Err(format!("several values in the field {path:?}, expected one")),
    }
}

/// The label that a JSON value stands for.
fn of_value(raw: &str) -> std::result::Result<Label, String> {
    match raw {
        "0" | "false" | "null" => Ok(None),
        "1" | "true" => Ok(Some(UNNAMED.into())),
        _ if raw.starts_with('"') => match serde_json::from_str::<String>(raw) {
            Ok(name) if !name.trim().is_empty() => Ok(of_name(name.trim())),
            _ => Err("an empty text as label; expected normal or the name of an attack".into()),
        },
        _ => {
            let what = if raw.starts_with(['{', '[']) { "an object or array" } else { "a number other than 0 and 1" };
            Err(format!("{what} as label; expected 0, 1, true, false, null or the name of an attack"))
        }
    }
}

fn of_name(name: &str) -> Label {
    match name {
        "0" => None,
        "1" => Some(UNNAMED.into()),
        _ if NORMAL.iter().any(|normal| name.eq_ignore_ascii_case(normal)) => None,
        _ if ["false", "null", "none"].iter().any(|none| name.eq_ignore_ascii_case(none)) => None,
        _ if name.eq_ignore_ascii_case("true") => Some(UNNAMED.into()),
        _ => Some(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, field: Option<&str>) -> std::result::Result<Vec<Label>, String> {
        parse(text.as_bytes(), field, "labels").map_err(|e| e.to_string())
    }

    fn some(name: &str) -> Label {
        Some(name.into())
    }

    #[test]
    fn plain_labels_are_read() {
        let text = "0\n1\r\ntrue\nFalse\nnull\nnormal\n-\nBenign\npassword_spray\n\"mfa fatigue\"\n\"Normal\"\n\"1\"";
        let expected =
            [None, some(UNNAMED), some(UNNAMED), None, None, None, None, None, some("password_spray")].into_iter();
        let expected: Vec<Label> = expected.chain([some("mfa fatigue"), None, some(UNNAMED)]).collect();
        assert_eq!(parsed(text, None), Ok(expected));
        assert_eq!(parsed("", None), Ok(vec![]));
    }

    #[test]
    fn objects_hold_the_label_where_one_is_told_or_where_it_usually_is() {
        let text =
            "{\"record\": 1, \"attack\": null, \"episode\": null}\n{\"attack\": \"token_replay\", \"label\": 0}\n";
        assert_eq!(parsed(text, None), Ok(vec![None, some("token_replay")]));
        assert_eq!(parsed("{\"label\": true}\n{\"label\": 0}", None), Ok(vec![some(UNNAMED), None]));
        assert_eq!(parsed("{\"a\": {\"b\": \"x\"}, \"attack\": 0}", Some("a.b")), Ok(vec![some("x")]));
    }

    #[test]
    fn numbered_lines_are_in_order() {
        let text = |numbers: &[u64]| {
            let line = |number: &u64| format!("{{\"record\": {number}, \"attack\": \"x\", \"episode\": null}}\n");
            numbers.iter().map(line).collect::<String>()
        };
        for good in [[0, 1, 2], [1, 2, 3]] {
            assert_eq!(parsed(&text(&good), None).unwrap().len(), 3);
        }
        for (bad, message) in [([1, 3, 2], "labels:2: the label of record 3, expected 2"), ([5, 6, 7], "expected 1")] {
            let said = parsed(&text(&bad), None).unwrap_err();
            assert!(said.contains(message), "{said}");
        }
        assert!(parsed("{\"record\": 9, \"attack\": null}\n{\"record\": 9, \"attack\": 1}\n", None).is_ok());
    }

    #[test]
    fn what_is_no_label_is_named_by_line_and_not_shown() {
        for (text, field, words) in [
            ("0\n\n1\n", None, "labels:2: an empty line"),
            ("0\n2\n", None, "labels:2: a number other than 0 and 1"),
            ("[1]\n", None, "labels:1: an object or array"),
            ("secret words here\n", None, "labels:1: not a label"),
            ("{\"label\": {\"secret\": []}}\n", Some("label"), "labels:1: no value in the field \"label\""),
            ("{\"x\": 1}\n", None, "labels:1: no field attack or label"),
            ("{\"x\": \"secret\"\n", None, "labels:1: not a valid JSON object"),
            ("{\"l\": [1, 0]}\n", Some("l.*"), "labels:1: several values"),
            ("\"\"\n", None, "labels:1: an empty text"),
            ("1\n", Some("label"), "labels:1: not a JSON object"),
        ] {
            let message = parsed(text, field).unwrap_err();
            assert!(message.starts_with(words) && !message.contains("secret"), "{text:?}: {message}");
        }
        assert!(parse(&b"0\n\xff\xfe\n"[..], None, "labels").unwrap_err().to_string().starts_with("labels:2"));
        let huge = "x".repeat(LONGEST_LINE as usize + 1);
        assert!(parsed(&huge, None).unwrap_err().contains("bytes or more"));
    }

    #[test]
    fn another_count_than_the_records_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0\n1\n").unwrap();
        assert_eq!(read(file.path(), None, 2).unwrap(), [None, some(UNNAMED)]);
        let message = read(file.path(), None, 3).unwrap_err().to_string();
        assert!(message.contains("2 labels for 3 records"), "{message}");
        assert!(read(Path::new("no/such/file"), None, 0).unwrap_err().to_string().contains("no/such/file"));
    }

    #[test]
    fn a_record_can_hold_its_own_label() {
        let record = br#"jdoe {"user": "x", "meta": {"attack": "spray"}}"#;
        assert_eq!(of_record(record, "meta.attack", 7).unwrap(), some("spray"));
        assert!(of_record(b"no json", "a", 7).unwrap_err().to_string().starts_with("record 7: "));
    }
}
