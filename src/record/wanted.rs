//! What a condition on a prefix says of the field behind it: which values give the wanted value of the prefix.

use super::prefix::{Prefix, Transform};
use super::schema::{any_character, plain_spelling};
use serde_json::Value;

/// A prefix and the value that it shall have.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    prefix: Prefix,
    value: String,
}

/// A part of the field's text.
enum Part {
    Literal(String),
    /// The same in any case.
    AnyCase(String),
    Anything,
    /// Nothing, or this text and then anything; nothing, or anything and then this text.
    Behind(String),
    Before(String),
}

impl Wanted {
    pub fn new(prefix: &Prefix, value: &str) -> Self {
        Wanted { prefix: prefix.clone(), value: value.to_string() }
    }

    pub fn field(&self) -> &str {
        self.prefix.field()
    }

    /// The number or boolean that the field may be; none where a string is transformed.
    pub fn literal(&self) -> Option<Value> {
        let value: Option<Value> = serde_json::from_str(&self.value).ok();
        value.filter(|value| self.prefix.transforms().is_empty() && (value.is_number() || value.is_boolean()))
    }

    /// A regular expression for the field's text, anchored.
    pub fn pattern(&self) -> String {
        format!("^{}$", self.regex(&|text| regex::escape(text), "(?s:.)"))
    }

    /// A regular expression for the field's string as it is written in JSON, with its quotes.
    pub fn written(&self) -> String {
        format!("\"{}\"", self.regex(&plain_spelling, &any_character()))
    }

    /// The steps from the field to the prefix, backwards.
    fn regex(&self, literal: &dyn Fn(&str) -> String, any: &str) -> String {
        let mut parts = vec![Part::Literal(self.value.clone())];
        for step in self.prefix.transforms().iter().rev() {
            match step {
                Transform::Lower => parts.iter_mut().for_each(|part| {
                    if let Part::Literal(text) = part {
                        *part = Part::AnyCase(std::mem::take(text));
                    }
                }),
                Transform::Date => parts.push(Part::Anything),
                Transform::Before(mark) => parts.push(Part::Behind(mark.clone())),
                Transform::After(mark) => parts.insert(0, Part::Before(mark.clone())),
            }
        }
        let any_case = |text: &str| {
            let sign = |sign: char| match sign.is_ascii_alphabetic() {
                true => format!("[{}{}]", sign.to_ascii_lowercase(), sign.to_ascii_uppercase()),
                false => literal(sign.encode_utf8(&mut [0; 4])),
            };
            text.chars().map(sign).collect::<String>()
        };
        let part = |part: &Part| match part {
            Part::Literal(text) => literal(text),
            Part::AnyCase(text) => any_case(text),
            Part::Anything => format!("({any})*"),
            Part::Behind(mark) => format!("({}({any})*)?", literal(mark)),
            Part::Before(mark) => format!("(({any})*{})?", literal(mark)),
        };
        parts.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use regex::Regex;

    fn wanted(prefix: &str, value: &str) -> Wanted {
        Wanted::new(&prefix.parse().unwrap(), value)
    }

    #[test]
    fn a_field_is_fixed_to_what_gives_the_prefix() {
        for (prefix, value, fits, differs) in [
            ("u", "al.b", "al.b", "alxb"),
            ("day=t,date", "2022-08-27", "2022-08-27T01:02:03Z", "2022-08-28T00:00:00Z"),
            ("u=upn,before=@,lower", "al", "AL@example.org", "bo@example.org"),
            ("u,before=@", "al", "al", "alice@x"),
            ("u=x,after=\\", "al", r"CORP\al", r"CORP\bo"),
            ("u", "a\"b", "a\"b", "ab"),
        ] {
            let wanted = wanted(prefix, value);
            let [pattern, written] =
                [wanted.pattern(), format!("^{}$", wanted.written())].map(|regex| Regex::new(&regex).unwrap());
            assert!(pattern.is_match(fits) && !pattern.is_match(differs), "{pattern}");
            let quoted = |text: &str| Value::from(text).to_string();
            assert!(written.is_match(&quoted(fits)) && !written.is_match(&quoted(differs)), "{written}");
            let record = serde_json::json!({ (wanted.field()): fits }).to_string();
            assert_eq!(
                super::super::prefix_values(std::slice::from_ref(&wanted.prefix), record.as_bytes()),
                [Some(value.to_string())]
            );
        }
    }

    #[test]
    fn a_number_may_be_one() {
        assert_eq!(wanted("code", "7").literal(), Some(7.into()));
        assert_eq!(wanted("code", "al").literal(), None);
        assert_eq!(wanted("code,lower", "7").literal(), None, "only a string is transformed and stays what it is");
    }
}
