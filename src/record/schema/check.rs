//! Checks a record against the profile of a corpus.

use super::node::{Node, ObjectProfile};
use super::profile::Profile;
use super::string_profile::StringRule;
use crate::record::fields::joined;
use crate::record::json_tree::{Json, Text};
use serde::Serialize;

/// The most characters of a value that a violation quotes.
const QUOTED: usize = 80;

/// How a value differs from those of the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The record is not a complete JSON object.
    NotJson,
    /// No record of the corpus has this path.
    UnknownPath,
    /// The path never has a value of this type.
    WrongType,
    /// The path's values are a closed category, and this one is not among them.
    UnknownValue,
    /// The path's strings follow a pattern, and this one does not.
    Pattern,
    /// A name is missing that every object at this path has (at least 30 of them).
    Missing,
    /// A name comes after one that it precedes in every record of the corpus.
    KeyOrder,
    /// A name occurs twice in an object, as it never does in the corpus.
    DoubledKey,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The path as in [`crate::record::fields`]; empty for the whole record.
    pub path: String,
    pub fault: Fault,
    /// The beginning of the faulty value; empty for a missing or misplaced name.
    pub found: String,
}

impl Profile {
    /// Everything in which a record differs from the corpus, in the order of the record. Numbers out of range are not
    /// violations, because tomorrow's counter is larger than today's.
    pub fn check(&self, record: &[u8]) -> Vec<Violation> {
        let mut faults = Vec::new();
        match Json::of_record(record) {
            Some(tree) => self.root.check(&tree, "", self.records, &mut faults),
            None => faults.push(Violation { path: String::new(), fault: Fault::NotJson, found: String::new() }),
        }
        faults
    }
}

impl Node {
    fn check(&self, value: &Json, path: &str, records: u64, faults: &mut Vec<Violation>) {
        if self.is_rare(records) {
            return;
        }
        let fault = match value {
            Json::Null => (self.nulls == 0).then_some(Fault::WrongType),
            Json::Bool(value) => self.check_boolean(*value),
            Json::Number(number) => self.check_number(number),
            Json::Text(text) => self.check_text(&text.value),
            Json::Array(_) | Json::Object(_) if self.deeper > 0 => None,
            Json::Array(elements) => {
                if let Some(array) = &self.array {
                    let path = joined(path, "*");
                    elements.iter().for_each(|element| array.elements.check(element, &path, records, faults));
                }
                self.array.is_none().then_some(Fault::WrongType)
            }
            Json::Opened(value, _) => {
                if let Some(opened) = &self.opened {
                    opened.check(value, path, records, faults);
                }
                self.opened.is_none().then_some(Fault::WrongType)
            }
            Json::Object(members) => {
                if let Some(object) = &self.object {
                    object.check(members, path, records, faults);
                }
                self.object.is_none().then_some(Fault::WrongType)
            }
        };
        if let Some(fault) = fault {
            // No value was ever at this path: it is for the elements of an array that was always empty.
            let fault = if self.is_unknown() { Fault::UnknownPath } else { fault };
            faults.push(Violation { path: path.to_string(), fault, found: quote(value) });
        }
    }

    fn is_unknown(&self) -> bool {
        *self == Node::default()
    }

    fn check_boolean(&self, value: bool) -> Option<Fault> {
        match self.booleans {
            [0, 0] => Some(Fault::WrongType),
            counts if counts[usize::from(value)] == 0 && self.closed_booleans() => Some(Fault::UnknownValue),
            _ => None,
        }
    }

    /// Numbers are compared as they are written, as the grammar compares them: where all are like `1.0`, `1` is another value.
    fn check_number(&self, raw: &str) -> Option<Fault> {
        let known = &self.numbers;
        if known.seen == 0 || raw.contains(['.', 'e', 'E']) && known.integers == known.seen {
            return Some(Fault::WrongType);
        }
        let values = known.values.closed()?;
        (!values.contains_key(raw)).then_some(Fault::UnknownValue)
    }

    fn check_text(&self, text: &str) -> Option<Fault> {
        let Some(strings) = &self.strings else { return Some(Fault::WrongType) };
        let rule = strings.rule();
        let fault = if matches!(rule, StringRule::Category(_)) { Fault::UnknownValue } else { Fault::Pattern };
        (!rule.matches(text)).then_some(fault)
    }
}

impl ObjectProfile {
    fn check(&self, members: &[(Text, Json)], path: &str, records: u64, faults: &mut Vec<Violation>) {
        let mut order: Vec<usize> = Vec::with_capacity(members.len());
        for (name, value) in members {
            let name = &name.value;
            let path = joined(path, name);
            let mut fault = |fault, found| faults.push(Violation { path: path.clone(), fault, found });
            let Some(number) = self.find(name, order.last().map_or(0, |&last| last + 1)) else {
                if !self.is_open() {
                    fault(Fault::UnknownPath, quote(value));
                }
                continue;
            };
            if order.contains(&number) && !self.doubled {
                fault(Fault::DoubledKey, quote(value));
            } else if order.iter().any(|&before| self.is_reversed(before, number)) {
                fault(Fault::KeyOrder, String::new());
            }
            order.push(number);
            self.properties[number].node.check(value, &path, records, faults);
        }
        for (number, member) in self.properties.iter().enumerate() {
            if self.requires(member) && !order.contains(&number) {
                let path = joined(path, &member.name);
                faults.push(Violation { path, fault: Fault::Missing, found: String::new() });
            }
        }
    }
}

/// The beginning of a value as JSON; for objects and arrays only the type.
fn quote(value: &Json) -> String {
    let text = match value {
        Json::Null => "null".to_string(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => number.to_string(),
        Json::Text(text) => serde_json::Value::from(text.value.chars().take(QUOTED).collect::<String>()).to_string(),
        Json::Object(_) => "an object".to_string(),
        Json::Array(_) => "an array".to_string(),
        Json::Opened(..) => "JSON in a string".to_string(),
    };
    text.chars().take(QUOTED).collect()
}
