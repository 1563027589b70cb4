//! One record as a tree that keeps what a profile needs: the order of keys, duplicate keys, and integers as such.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use std::borrow::Cow;
use std::fmt;

/// A JSON value; strings that need no unescaping borrow from the record.
#[derive(Debug, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    Array(Vec<Json<'a>>),
}

impl<'a> Json<'a> {
    /// The record as a JSON object; `None` if it is anything else.
    pub fn of_record(record: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(record).ok().filter(|tree| matches!(tree, Json::Object(_)))
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Build)
    }
}

struct Build;

impl<'de> Visitor<'de> for Build {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json<'de>, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_string())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(entry) = map.next_entry::<Json, Json>()? {
            let (Json::Text(name), value) = entry else { return Err(A::Error::custom("a key that is not a string")) };
            members.push((name, value));
        }
        Ok(Json::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }
}

/// Whether a space follows the first comma and the first colon outside of strings; `None` for one that does not occur.
pub(super) fn spaces_after(body: &[u8]) -> [Option<bool>; 2] {
    let (mut found, mut inside, mut escaped) = ([None; 2], false, false);
    for pair in body.windows(2) {
        match pair[0] {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b',' if !inside => found[0] = found[0].or(Some(pair[1] == b' ')),
            b':' if !inside => found[1] = found[1].or(Some(pair[1] == b' ')),
            _ => (),
        }
        if found.iter().all(Option::is_some) {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_doubled_keys_are_kept() {
        let tree = Json::of_record(br#"{"b": 1, "a": [null, "x\n"], "b": 2.5}"#).unwrap();
        let Json::Object(members) = tree else { panic!("an object") };
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["b", "a", "b"]);
        assert_eq!(members[1].1, Json::Array(vec![Json::Null, Json::Text("x\n".into())]));
    }

    #[test]
    fn what_is_no_object_is_no_tree() {
        for record in ["", "[1]", "text", "jdoe {\"a\":1}", "{\"a\":1", "{\"a\":1e999}"] {
            assert_eq!(Json::of_record(record.as_bytes()), None, "{record}");
        }
    }

    #[test]
    fn separators_are_seen_outside_of_strings() {
        assert_eq!(spaces_after(br#"{"a,b: \"": 1,"c": 2}"#), [Some(false), Some(true)]);
        assert_eq!(spaces_after(br#"{"a":1}"#), [None, Some(false)]);
        assert_eq!(spaces_after(b"{}"), [None, None]);
    }
}
