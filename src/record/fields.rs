//! The leaves of a JSON record and their byte ranges. Scoring, pseudonyms, schemas and fidelity reports all call such a leaf
//! a *field*.

use super::json::DEEPEST;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::ops::Range;

/// A value that contains no other value: a string, number, boolean, null, or an empty object or array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// The names that lead to the leaf, joined by dots, with `*` for every element of an array: `resources.*.arn`.
    pub path: String,
    /// The value as it is written in the record: `"jtaylor"`, `7`, `null`, `{}`.
    pub raw: &'a str,
    /// The byte range of `raw` in the record.
    pub span: Range<usize>,
}

impl Leaf<'_> {
    /// The text of a string with its escapes resolved; `None` for other values.
    pub fn text(&self) -> Option<String> {
        if self.raw.starts_with('"') { serde_json::from_str(self.raw).ok() } else { None }
    }

    /// The value as text: a string without its quotes and escapes, any other value as it is written.
    pub fn value(&self) -> String {
        self.text().unwrap_or_else(|| self.raw.to_string())
    }
}

/// The offset at which the JSON object of a record begins: 0, or the end of the prefix that `prepare --prefix-field` added.
/// `None` if no object begins; whether the object is complete is not checked.
pub fn body_start(record: &[u8]) -> Option<usize> {
    if record.trim_ascii_start().starts_with(b"{") {
        return Some(0);
    }
    record.windows(2).position(|pair| pair == b" {").map(|at| at + 1)
}

/// The leaves of the record's JSON object in their order; `None` if the record has no valid object.
pub fn leaves(record: &[u8]) -> Option<Vec<Leaf<'_>>> {
    let start = body_start(record)?;
    let body: &RawValue = serde_json::from_slice(&record[start..]).ok()?;
    let mut found = Vec::new();
    // Raw values borrow from the record, so the difference of addresses is the offset.
    collect(body, String::new(), 0, record.as_ptr() as usize, &mut found)?;
    Some(found)
}

/// The path of a member of the object at `path`.
pub(in crate::record) fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// The paths of the fields and the offsets at which they end, also of a record that is cut off: then without its last field.
pub fn paths_so_far(record: &[u8]) -> Vec<(String, usize)> {
    let of = |record: &[u8]| {
        let found = leaves(record)?.into_iter().map(|leaf| (leaf.path, leaf.span.end));
        Some(found.collect())
    };
    of(record).or_else(|| of(&closed(record))).unwrap_or_default()
}

/// The record up to its last comma outside of strings, with the brackets that are open there closed.
fn closed(record: &[u8]) -> Vec<u8> {
    let (mut open, mut inside, mut escaped) = (Vec::new(), false, false);
    let mut last = (0, Vec::new());
    for (at, byte) in record.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            _ if inside => (),
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => drop(open.pop()),
            b',' => last = (at, open.clone()),
            _ => (),
        }
    }
    let (at, mut open) = last;
    open.reverse();
    [&record[..at], &open].concat()
}

fn collect<'a>(
    value: &'a RawValue,
    path: String,
    depth: usize,
    origin: usize,
    found: &mut Vec<Leaf<'a>>,
) -> Option<()> {
    let raw = value.get();
    if raw.starts_with(['{', '[']) {
        // serde_json's own limit, which raw values bypass.
        if depth == DEEPEST {
            return None;
        }
        let Members(members) = serde_json::from_str(raw).ok()?;
        for (name, member) in &members {
            let name = name.as_deref().unwrap_or("*");
            collect(member, joined(&path, name), depth + 1, origin, found)?;
        }
        if !members.is_empty() {
            return Some(());
        }
    }
    let start = raw.as_ptr() as usize - origin;
    found.push(Leaf { path, raw, span: start..start + raw.len() });
    Some(())
}

/// The members of an object with their names, or the elements of an array, as they are written.
struct Members<'a>(Vec<(Option<String>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object or an array")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    members.push((Some(name), value));
                }
                Ok(Members(members))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(value) = seq.next_element::<&RawValue>()? {
                    members.push((None, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_any(Collect)
    }
}

/// The object without its member `name`, otherwise byte for byte.
pub fn without(record: &[u8], name: &str) -> Option<Vec<u8>> {
    let leaf = leaves(record)?.into_iter().find(|leaf| leaf.path == name)?;
    let quoted = serde_json::to_string(name).ok()?;
    let start = record[..leaf.span.start].windows(quoted.len()).rposition(|text| text == quoted.as_bytes())?;
    let behind = &record[leaf.span.end..];
    let blank = |text: &[u8]| text.len() - text.trim_ascii_start().len();
    let range = match behind[blank(behind)..].strip_prefix(b",") {
        Some(next) => start..record.len() - next.len() + blank(next),
        None => match record[..start].trim_ascii_end().strip_suffix(b",") {
            Some(before) => before.len()..leaf.span.end,
            None => start..leaf.span.end,
        },
    };
    let rest = [&record[..range.start], &record[range.end..]].concat();
    leaves(&rest)?.iter().all(|leaf| leaf.path != name).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::object_fault;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_object_has_fields_in_order(record in r#"(p )?\{("[ab.\\n\\"]{0,3}" ?: ?("x,}"|1|\[[12]?\]|\{\}|\{"c": ?"é"\}),? ?){0,3}\}?"#) {
            let found = leaves(record.as_bytes());
            let start = body_start(record.as_bytes()).unwrap();
            prop_assert_eq!(found.is_some(), object_fault(&record.as_bytes()[start..]).is_none());
            let mut end = start;
            for leaf in found.iter().flatten() {
                prop_assert_eq!(&record[leaf.span.clone()], leaf.raw);
                prop_assert!(leaf.span.start >= end);
                end = leaf.span.end;
            }
            prop_assert!(paths_so_far(record.as_bytes()).iter().all(|(_, end)| *end <= record.len()));
        }
    }

    fn seen(record: &str) -> Vec<(String, &str)> {
        let found = leaves(record.as_bytes()).unwrap();
        found.into_iter().map(|leaf| (leaf.path.clone(), &record[leaf.span])).collect()
    }

    #[test]
    fn leaves_come_in_order_with_their_places() {
        let record = r#"jtaylor {"a": {"b": "x\"y", "e": {}}, "l": [1, {"c": null}, []], "a.b": true}"#;
        let expected =
            [("a.b", r#""x\"y""#), ("a.e", "{}"), ("l.*", "1"), ("l.*.c", "null"), ("l.*", "[]"), ("a.b", "true")];
        assert_eq!(seen(record), expected.map(|(path, raw)| (path.to_string(), raw)));
        assert_eq!(leaves(record.as_bytes()).unwrap()[0].value(), "x\"y");
    }

    #[test]
    fn an_empty_object_is_a_leaf_itself() {
        assert_eq!(seen("{}"), [(String::new(), "{}")]);
    }

    #[test]
    fn what_is_no_object_has_no_leaves() {
        for record in ["", "plain text", "[1]", "{\"a\":1", "{\"a\":1} x", "7"] {
            assert_eq!(leaves(record.as_bytes()), None, "{record}");
        }
        assert_eq!(leaves(b"{\"a\":\"\xff\"}"), None);
        let deep = "{\"a\":".repeat(500) + "1" + &"}".repeat(500);
        assert_eq!(leaves(deep.as_bytes()), None, "nested deeper than the parser goes");
    }

    #[test]
    fn a_record_that_is_cut_off_has_the_fields_before() {
        let record = br#"{"a": {"b": "x,}\"", "c": [1, {"d": 2, "e": tr"#;
        let paths: Vec<_> = paths_so_far(record).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["a.b", "a.c.*", "a.c.*.d"]);
        assert_eq!(paths_so_far(br#"{"a": 1}"#), [("a".to_string(), 7)]);
        assert_eq!(paths_so_far(br#"{"a"#), []);
    }

    #[test]
    fn a_member_is_taken_out_and_nothing_else() {
        for (record, expected) in [
            (r#"{"l": 1, "a": "l"}"#, r#"{"a": "l"}"#),
            (r#"{"a":2,"l":"x","b":3}"#, r#"{"a":2,"b":3}"#),
            (r#"{"a": 2, "l": null}"#, r#"{"a": 2}"#),
            (r#"{"l":0}"#, "{}"),
        ] {
            assert_eq!(without(record.as_bytes(), "l").unwrap(), expected.as_bytes(), "{record}");
        }
        assert_eq!(without(br#"{"a":1}"#, "l"), None);
        assert_eq!(without(br#"{"a":{"l":1}}"#, "a.l"), None, "only members of the object itself");
    }
}
