//! Is a generated record complete, and is it valid? The verdict on one record, and the rates over many.

use crate::record::json_tree::Json;
use crate::record::{self, Form};
use serde::Serialize;

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// The generator ended the record, and it is valid for its form.
    Valid,
    /// The generator ended the record, but it is not a JSON object; `at` is the byte offset of the error in the record.
    Broken { at: usize, reason: String },
    /// The generator stopped (token limit) before the record ended.
    Truncated,
}

impl Verdict {
    pub fn is_complete(&self) -> bool {
        *self != Verdict::Truncated
    }

    pub fn is_valid(&self) -> bool {
        *self == Verdict::Valid
    }
}

/// The verdict on `text`, a generated record without its newline; `ended` says whether the newline was generated.
///
/// JSON is judged by RFC 8259 (UTF-8 included), must be an object, and must not have the same name twice in one object: the RFC
/// leaves open what such an object means, and readers disagree.
pub fn verdict(text: &[u8], ended: bool, form: Form) -> Verdict {
    if !ended {
        return Verdict::Truncated;
    }
    if form == Form::Text {
        return Verdict::Valid;
    }
    let start = form.body_start(text);
    match check_object(&text[start..]) {
        Ok(()) => Verdict::Valid,
        Err((at, reason)) => Verdict::Broken { at: start + at, reason },
    }
}

/// [`record::check_object`], and no name occurs twice in one object.
fn check_object(body: &[u8]) -> Result<(), (usize, String)> {
    record::check_object(body)?;
    match Json::of_record(body).and_then(|tree| tree.doubled_name(body)) {
        None => Ok(()),
        Some((at, name)) => Err((at, format!("the name {} occurs twice in one object", quoted(&name)))),
    }
}

/// The beginning of a name as JSON.
fn quoted(name: &str) -> String {
    serde_json::Value::from(name.chars().take(40).collect::<String>()).to_string()
}

/// Counts over many generated records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Summary {
    pub records: u64,
    /// Records that the model ended itself.
    pub complete: u64,
    /// Complete records that are valid.
    pub parsed: u64,
}

impl Summary {
    pub fn add(&mut self, verdict: &Verdict) {
        self.records += 1;
        self.complete += u64::from(verdict.is_complete());
        self.parsed += u64::from(verdict.is_valid());
    }

    /// Fraction of the complete records that are valid, which does not depend on the token limit; 0 when there are none.
    pub fn parsed_of_complete(&self) -> f64 {
        ratio(self.parsed, self.complete)
    }
}

impl<'a> FromIterator<&'a Verdict> for Summary {
    fn from_iter<I: IntoIterator<Item = &'a Verdict>>(verdicts: I) -> Self {
        let mut summary = Summary::default();
        verdicts.into_iter().for_each(|verdict| summary.add(verdict));
        summary
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Verdict {
        verdict(text.as_bytes(), true, Form::Json)
    }

    fn broken_at(verdict: Verdict) -> usize {
        match verdict {
            Verdict::Broken { at, .. } => at,
            other => panic!("expected a broken record, found {other:?}"),
        }
    }

    #[test]
    fn whole_objects_are_valid() {
        for text in ["{}", r#"{"a": [1, {"b": null}], "c": "\u00e9 é"}"#, r#" {"a": 1} "#] {
            assert_eq!(of(text), Verdict::Valid, "{text}");
        }
    }

    #[test]
    fn errors_are_found_where_they_are() {
        for (text, at) in [
            ("", 0),
            ("   ", 3),
            ("[1]", 0),
            ("7", 0),
            (r#"{"a": 1"#, 7),
            (r#"{"a": 1,}"#, 8),
            (r#"{"a" 1}"#, 5),
            (r#"{"a": x}"#, 6),
            (r#"{"a": 1}}"#, 8),
            ("{\n\"a\": x}", 7),
            ("{\"a\": \"b\tc\"}", 8),
        ] {
            let Verdict::Broken { at: found, reason } = of(text) else { panic!("{text:?} passed") };
            assert_eq!(found, at, "{text:?}: {reason}");
            assert!(!reason.contains(" line "), "{reason}");
        }
        assert_eq!(broken_at(verdict(b"{\"a\": \"\xff\"}", true, Form::Json)), 7);
    }

    #[test]
    fn a_doubled_name_is_broken_where_it_occurs_again() {
        for (text, at) in [(r#"{"a": 1, "a": 1}"#, 9), (r#"{"a": {"b": 1, "\u0062": 2}}"#, 15), (r#"[{"a":1}]"#, 0)] {
            assert_eq!(broken_at(of(text)), at, "{text}");
        }
        assert_eq!(of(r#"{"a": {"b": 1}, "b": {"b": 1}}"#), Verdict::Valid);
        assert_eq!(broken_at(verdict(b"jdoe {\"a\":1,\"a\":2}", true, Form::PrefixedJson)), 12);
    }

    #[test]
    fn a_prefix_is_passed_over_only_where_one_belongs() {
        let text = b"jdoe {\"a\": 1}";
        assert_eq!(verdict(text, true, Form::PrefixedJson), Verdict::Valid);
        assert_eq!(broken_at(verdict(text, true, Form::Json)), 0);
        assert_eq!(broken_at(verdict(b"jdoe {\"a\": x}", true, Form::PrefixedJson)), 11);
        assert_eq!(broken_at(verdict(b"jdoe", true, Form::PrefixedJson)), 4);
    }

    #[test]
    fn truncation_comes_before_all_else_and_text_is_not_parsed() {
        assert_eq!(verdict(b"{}", false, Form::Json), Verdict::Truncated);
        assert_eq!(verdict(b"Jun 1 sshd[1]: \xff", true, Form::Text), Verdict::Valid);
        assert_eq!(verdict(b"Jun 1", false, Form::Text), Verdict::Truncated);
    }

    #[test]
    fn rates_are_of_what_they_say() {
        let broken = Verdict::Broken { at: 0, reason: String::new() };
        let summary: Summary = [&Verdict::Valid, &Verdict::Truncated, &broken, &Verdict::Valid].into_iter().collect();
        assert_eq!(summary, Summary { records: 4, complete: 3, parsed: 2 });
        assert_eq!(summary.parsed_of_complete(), 2.0 / 3.0);
        assert_eq!(Summary::default().parsed_of_complete(), 0.0);
    }

    proptest! {
        #[test]
        fn agrees_with_a_full_parse_and_points_into_the_text(text in r#"[{}\[\]:,"\\a1 é\t]{0,12}"#) {
            let object = serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|value| value.is_object());
            match of(&text) {
                Verdict::Broken { at, reason } => prop_assert!((!object || reason.contains("twice")) && at <= text.len()),
                verdict => prop_assert!(object && verdict == Verdict::Valid),
            }
        }

        #[test]
        fn a_planted_error_is_found_where_it_was_planted(at in 0usize..28) {
            let mut text = br#"{"abc": {"b": [1, 2]}, "c": 3}"#.to_vec();
            text[at] = 0x01;
            prop_assert_eq!(broken_at(verdict(&text, true, Form::Json)), at);
        }

        #[test]
        fn any_bytes_get_a_verdict(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            for form in [Form::Json, Form::PrefixedJson] {
                if let Verdict::Broken { at, .. } = verdict(&text, true, form) {
                    prop_assert!(at <= text.len());
                }
            }
        }

        #[test]
        fn any_cut_of_a_record_is_broken_at_its_end(cut in 1usize..39) {
            let text = br#"{"a": {"b": [1, 2, "x\u00e9"]}, "c": t}"#.map(|b| if b == b't' { b'3' } else { b });
            prop_assert_eq!(verdict(&text, true, Form::Json), Verdict::Valid);
            prop_assert_eq!(broken_at(verdict(&text[..cut], true, Form::Json)), cut);
        }
    }
}
