//! A record as a sequence of events, which is how the trivial baselines see logs.

use crate::record::fields;
use std::collections::{BTreeSet, HashMap, HashSet};

/// A field with more distinct values than this is not categorical, which bounds the memory of each field.
const MOST_VALUES: usize = 100_000;

/// Highest estimated probability that the next value of a categorical field is a new one.
const MOST_NEW: f64 = 0.05;

/// How records become events, learnt from normal ones.
///
/// | a record is | its events are, in order |
/// |---|---|
/// | a JSON object | for each leaf `path=value` where the field is categorical, else the path alone |
/// | a line of text | its words, cut at white space; one that holds a digit is `<*>` |
///
/// A field is *categorical* when its values recur: the probability that its next value is new, by the Good-Turing estimate the
/// fraction of the values that were seen exactly once (Good, 1953), is at most 5 %. A record with an array of event ids, as
/// in `{"events": [5, 22, 5]}`, gives these ids in their order.
pub struct Events {
    categorical: BTreeSet<String>,
}

/// How often each value of one field was seen.
#[derive(Default)]
struct ValueCounts {
    /// Value -> seen more than once.
    recurs: HashMap<String, bool>,
    seen: usize,
}

impl ValueCounts {
    fn add(&mut self, value: &str) {
        self.seen += 1;
        if let Some(recurs) = self.recurs.get_mut(value) {
            *recurs = true;
        } else if self.recurs.len() < MOST_VALUES {
            self.recurs.insert(value.to_string(), false);
        }
    }

    fn is_categorical(&self) -> bool {
        let once = self.recurs.values().filter(|recurs| !**recurs).count();
        self.recurs.len() < MOST_VALUES && once as f64 <= MOST_NEW * self.seen as f64
    }
}

impl Events {
    /// Finds the categorical fields of normal `records`.
    pub fn learn<R: AsRef<[u8]>>(records: impl IntoIterator<Item = R>) -> Self {
        let mut fields: HashMap<String, ValueCounts> = HashMap::new();
        for record in records {
            for leaf in fields::leaves(record.as_ref()).unwrap_or_default() {
                match fields.get_mut(&leaf.path) {
                    Some(values) => values.add(leaf.raw),
                    None => fields.entry(leaf.path).or_default().add(leaf.raw),
                }
            }
        }
        let categorical = fields.into_iter().filter(|(_, values)| values.is_categorical()).map(|(path, _)| path);
        Events { categorical: categorical.collect() }
    }

    /// The events of a record. Bytes that are not UTF-8 become U+FFFD.
    pub fn of(&self, record: &[u8]) -> Vec<String> {
        match fields::leaves(record) {
            Some(leaves) => leaves.into_iter().map(|leaf| self.event(leaf)).collect(),
            None => String::from_utf8_lossy(record).split_whitespace().map(masked).collect(),
        }
    }

    fn event(&self, leaf: fields::Leaf) -> String {
        match self.categorical.contains(&leaf.path) {
            true => format!("{}={}", leaf.path, leaf.raw),
            false => leaf.path,
        }
    }

    /// Paths of the fields whose values are events.
    pub fn categorical(&self) -> impl Iterator<Item = &str> {
        self.categorical.iter().map(String::as_str)
    }
}

/// A word with a digit is taken as a variable part (number, address, identifier) of the line's template.
fn masked(word: &str) -> String {
    if word.contains(|c: char| c.is_ascii_digit()) { "<*>".into() } else { word.into() }
}

/// Events, numbered from 0 in the order of their first appearance.
#[derive(Default)]
pub(super) struct EventIds(HashMap<String, u32>);

impl EventIds {
    pub fn learn(sessions: &[Vec<String>]) -> Self {
        let mut numbers = EventIds::default();
        for event in sessions.iter().flatten() {
            if !numbers.0.contains_key(event) {
                let next = numbers.0.len() as u32;
                numbers.0.insert(event.clone(), next);
            }
        }
        numbers
    }

    /// The number of events, which is also the id of every unseen event.
    pub fn len(&self) -> u32 {
        self.0.len() as u32
    }

    pub fn of(&self, events: &[String]) -> Vec<u32> {
        events.iter().map(|event| self.0.get(event).copied().unwrap_or(self.len())).collect()
    }

    /// The number of distinct events that were never seen.
    pub fn unseen(&self, events: &[String]) -> usize {
        events.iter().filter(|event| !self.0.contains_key(*event)).collect::<HashSet<_>>().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<String> {
        (0..100).map(|i| format!(r#"{{"id":"{i:x}","user":"{}","n":[{},7]}}"#, ["a", "b"][i % 2], i % 3)).collect()
    }

    #[test]
    fn values_that_recur_are_events_and_others_are_not() {
        let events = Events::learn(records());
        assert_eq!(events.categorical().collect::<Vec<_>>(), ["n.*", "user"]);
        assert_eq!(events.of(br#"{"id":"zz","user":"c","n":[1,2]}"#), ["id", "user=\"c\"", "n.*=1", "n.*=2"]);
    }

    #[test]
    fn five_new_values_in_a_hundred_are_the_limit() {
        let records = |once: usize| {
            (0..100).map(move |i| if i < once { format!("{{\"a\":{i}}}") } else { "{\"a\":\"x\"}".into() })
        };
        assert_eq!(Events::learn(records(5)).categorical().count(), 1);
        assert_eq!(Events::learn(records(6)).categorical().count(), 0);
    }

    #[test]
    fn a_line_is_its_template() {
        let events = Events::learn(["unused"]);
        assert_eq!(
            events.of(b"Accepted password  for \xff from 10.0.0.1"),
            ["Accepted", "password", "for", "\u{fffd}", "from", "<*>"]
        );
        assert!(events.of(b"").is_empty());
    }

    #[test]
    fn numbers_follow_first_appearance_and_unseen_events_share_one() {
        let session = |events: &[&str]| events.iter().map(|e| e.to_string()).collect::<Vec<_>>();
        let numbers = EventIds::learn(&[session(&["b", "a"]), session(&["a", "c"])]);
        assert_eq!(numbers.of(&session(&["a", "b", "x", "c", "y"])), [1, 0, 3, 2, 3]);
        assert_eq!(numbers.unseen(&session(&["x", "x", "y", "a"])), 2);
    }
}
