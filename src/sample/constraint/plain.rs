//! What a grammar over bytes cannot check: that a name occurs twice, or escaped (`"\u0061"` for `"a"`), or that a number is too
//! large.

use crate::record::json_tree::Json;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Whether `body` is JSON that any parser reads: no number beyond 64-bit floats, at most 128 levels of nesting.
pub fn is_readable(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok()
}

/// Whether `body` is a JSON object, and no name occurs twice in one of its objects.
pub fn has_distinct_names(body: &[u8]) -> bool {
    Json::of_record(body).is_some_and(|tree| tree.doubled_name(body).is_none())
}

/// Whether names are written without needless escapes: then a schema says the same of the text and of the parsed value.
pub fn has_plain_names(body: &[u8]) -> bool {
    serde_json::from_slice::<Plain>(body).is_ok()
}

struct Plain;

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON with plain names")
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_str<E>(self, _: &str) -> Result<Plain, E> {
        Ok(Plain)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Plain, A::Error> {
        while elements.next_element::<Plain>()?.is_some() {}
        Ok(Plain)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Plain, A::Error> {
        while let Some(written) = members.next_key::<&RawValue>()? {
            let name: String = serde_json::from_str(written.get()).map_err(A::Error::custom)?;
            let plainest = serde_json::to_string(&name).map_err(A::Error::custom)?;
            if plainest != written.get() {
                return Err(A::Error::custom("a name is needlessly escaped"));
            }
            members.next_value::<Plain>()?;
        }
        Ok(Plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> [bool; 3] {
        [is_readable, has_distinct_names, has_plain_names].map(|check| check(text.as_bytes()))
    }

    #[test]
    fn names_stand_once_and_as_they_are() {
        for text in [r#"{}"#, r#"{"a": 1, "b": {"a": "\u0061", "é": [null, -1, 2.5]}, "q\"\\": true}"#] {
            assert_eq!(of(text), [true; 3], "{text}");
        }
        for (text, distinct, plain) in [
            (r#"{"a": 1, "a": 2}"#, false, true),
            (r#"{"b": [{"\u0061": 1}]}"#, true, false),
            (r#"{"a": {"b": 1, "\u0062": 2}}"#, false, false),
            (r#"{"a\u0022": 1}"#, true, false),
        ] {
            assert_eq!(of(text), [true, distinct, plain], "{text}");
        }
    }

    #[test]
    fn what_parsers_cannot_hold_is_not_readable() {
        let deep = "{\"a\":".repeat(200) + "1" + &"}".repeat(200);
        for text in [&deep[..], r#"{"a": 1"#, "{\"a\": \"\u{1}\"}"] {
            assert!(of(text)[..2] == [false; 2], "{text}");
        }
        for text in [r#"{"a": 1e999}"#, r#"{"a": "\ud800"}"#] {
            assert!(of(text)[..2] == [false, true], "{text}");
        }
    }
}
