//! The kind of a record, however its values differ.

use crate::record::fields::leaves;
use crate::record::text_fields;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The most parts of a template: records of any length have one of bounded length.
const MOST_PARTS: usize = 200;
/// The share of common parts from which two templates are nearly the same: a member more or less, or another name among the
/// words of a line.
const NEARLY: f64 = 0.7;

/// What is common to records of a kind: of a JSON record the set of its paths; of a line of text the names of its fields (of a
/// web server's log: client, target) and those of its words that have only letters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Template(BTreeSet<String>);

impl Template {
    pub fn of(record: &[u8]) -> Self {
        let parts: BTreeSet<String> = match leaves(record) {
            Some(leaves) => leaves.into_iter().map(|leaf| leaf.path).collect(),
            None => {
                let part = |(name, place): (String, _)| word_of(&name).map_or(name, |_| fixed(&record[place]));
                text_fields(record).into_iter().map(part).collect()
            }
        };
        Template(parts.into_iter().take(MOST_PARTS).collect())
    }

    /// Whether most parts are common to both.
    pub fn is_nearly(&self, other: &Self) -> bool {
        let common = self.0.intersection(&other.0).count();
        let all = self.0.len() + other.0.len() - common;
        common as f64 >= NEARLY * all as f64
    }
}

/// The number of a field that is a word among others: `$7`, `message.7`.
fn word_of(name: &str) -> Option<u32> {
    let number =
        name.strip_prefix('$').or_else(|| name.strip_prefix("message.")).or_else(|| name.strip_prefix("more."));
    number?.parse().ok()
}

/// A word of letters, or what stands for any other.
fn fixed(word: &[u8]) -> String {
    let inner = word.trim_ascii_end().strip_suffix(b":").unwrap_or(word);
    let is_fixed = !inner.is_empty() && inner.iter().all(|byte| byte.is_ascii_alphabetic());
    if is_fixed { String::from_utf8_lossy(inner).to_lowercase() } else { "*".to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearly(a: &str, b: &str) -> bool {
        let (a, b) = (Template::of(a.as_bytes()), Template::of(b.as_bytes()));
        assert_eq!(a.is_nearly(&b), b.is_nearly(&a));
        a.is_nearly(&b)
    }

    #[test]
    fn records_of_a_kind_have_nearly_one_template() {
        for (a, b) in [
            (r#"{"a":1,"b":{"c":"x","d":2},"l":[1,2]}"#, r#"{"l":[3],"b":{"d":"y","c":0},"a":null}"#),
            (r#"{"a":1,"b":2,"c":3,"d":4}"#, r#"{"a":1,"b":2,"c":3,"d":4,"e":5}"#),
            (
                "Accepted publickey for ann from 10.0.0.1 port 22 ssh2",
                "Accepted publickey for bob from 10.0.0.9 port 4022 ssh2",
            ),
            (
                r#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 1 "-" "curl""#,
                r#"10.0.0.2 - ann [17/May/2015:10:05:04 +0000] "POST /b/c HTTP/1.1" 404 99 "-" "Mozilla/5.0 (X11)""#,
            ),
            ("", ""),
        ] {
            assert!(nearly(a, b), "{a} {b}");
        }
    }

    #[test]
    fn records_of_two_kinds_have_two() {
        for (a, b) in [
            (r#"{"id":1,"time":2,"user":3,"logon":4,"ip":5}"#, r#"{"id":1,"time":2,"process":3,"parent":4,"hash":5}"#),
            ("Accepted publickey for ann from 10.0.0.1", "Connection closed by 10.0.0.1 while waiting"),
            (r#"{"a":1}"#, "a plain line"),
        ] {
            assert!(!nearly(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_template_is_bounded_and_kept_as_json() {
        let wide: String = (0..1000).map(|i| format!("\"k{i}\":1,")).collect();
        let template = Template::of(format!("{{{}\"z\":1}}", wide).as_bytes());
        assert_eq!(template.0.len(), MOST_PARTS);
        let text = serde_json::to_string(&Template::of(b"Failed login: user7")).unwrap();
        assert_eq!(text, r#"["*","failed","login"]"#);
        assert!(serde_json::from_str::<Template>(&text).unwrap().is_nearly(&Template::of(b"Failed login: user8")));
    }
}
