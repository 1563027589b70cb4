//! What a grammar over bytes cannot check: that a name occurs twice, or escaped (`"\u0061"` for `"a"`), or that a number is too
//! large.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeSet;
use std::fmt;

/// Whether `body` is JSON that any parser reads: no number beyond 64-bit floats, at most 128 levels of nesting.
pub fn is_readable(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok()
}

/// Whether `body` is readable, and in each of its objects every name occurs once and without needless escapes: then a schema
/// says the same of the text and of the parsed value.
pub fn is_plain(body: &[u8]) -> bool {
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
        let mut seen = BTreeSet::new();
        while let Some(written) = members.next_key::<&RawValue>()? {
            let name: String = serde_json::from_str(written.get()).map_err(A::Error::custom)?;
            let plainest = serde_json::to_string(&name).map_err(A::Error::custom)?;
            if plainest != written.get() || !seen.insert(name) {
                return Err(A::Error::custom("a name occurs twice or is needlessly escaped"));
            }
            members.next_value::<Plain>()?;
        }
        Ok(Plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_once_and_as_they_are() {
        for text in [r#"{}"#, r#"{"a": 1, "b": {"a": "\u0061", "é": [null, -1, 2.5]}, "q\"\\": true}"#] {
            assert!(is_plain(text.as_bytes()), "{text}");
        }
        for text in [r#"{"a": 1, "a": 2}"#, r#"{"b": [{"\u0061": 1}]}"#, r#"{"a\u0022": 1}"#] {
            assert!(!is_plain(text.as_bytes()) && is_readable(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn what_parsers_cannot_hold_is_neither() {
        let deep = "{\"a\":".repeat(200) + "1" + &"}".repeat(200);
        for text in [r#"{"a": 1e999}"#, &deep, r#"{"a": 1"#, "{\"a\": \"\u{1}\"}", r#"{"a": "\ud800"}"#] {
            assert!(!is_plain(text.as_bytes()) && !is_readable(text.as_bytes()), "{text}");
        }
    }
}
