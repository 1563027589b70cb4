//! What the JSON records of a corpus look like, learnt record by record: paths, types, order of keys, closed categories,
//! patterns of strings, ranges of numbers, lengths of arrays.
//!
//! Memory is bounded whatever the corpus: at most 4096 paths, 256 keys an object, and for each path 64 values or a sample of
//! 256 hashes. Paths are those of [`super::fields`].

mod check;
mod forms;
mod json_schema;
mod object;
mod shapes;
mod strings;
mod tree;
mod values;

pub use check::{Fault, Violation};

use object::Object;
use serde_json::Number;
use strings::Strings;
use tree::{Json, spaces_after};
use values::Values;

/// Paths a profile learns; objects that bring more are open.
const MOST_PATHS: usize = 4096;

/// What the records of a corpus have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Records learnt from.
    records: u64,
    paths: usize,
    root: Node,
    /// Records with and without a space behind the first comma, and behind the first colon.
    spaces: [[u64; 2]; 2],
}

/// The values at one path, by type.
#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    nulls: u64,
    /// False, true.
    booleans: [u64; 2],
    numbers: Numbers,
    strings: Option<Box<Strings>>,
    object: Option<Box<Object>>,
    array: Option<Box<Array>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Numbers {
    seen: u64,
    integers: u64,
    /// Those that are written with an exponent.
    exponents: u64,
    least: Option<Number>,
    most: Option<Number>,
    values: Values,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Array {
    shortest: usize,
    longest: usize,
    elements: Node,
}

impl Profile {
    /// Learns one record, without a prefix; nothing from what is no JSON object.
    pub fn observe(&mut self, record: &[u8]) {
        let Some(tree) = Json::of_record(record) else {
            return;
        };
        self.records += 1;
        for (counts, space) in self.spaces.iter_mut().zip(spaces_after(record)) {
            if let Some(space) = space {
                counts[usize::from(space)] += 1;
            }
        }
        self.root.learn(&tree, &mut self.paths);
    }

    /// Records learnt from.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Between members or elements, and between a name and its value, as most records have it: `(", ", ": ")` or
    /// `(",", ":")`.
    pub fn separators(&self) -> (String, String) {
        let space = |counts: [u64; 2]| if counts[1] > counts[0] { " " } else { "" };
        (format!(",{}", space(self.spaces[0])), format!(":{}", space(self.spaces[1])))
    }

    /// Paths whose strings are random: identifiers, tokens, times. Their next value cannot be known, so a model that brings
    /// one of training has copied it, and loss on them is no lack of skill.
    ///
    /// The rule: at least 30 strings, hardly any of which repeats (at least nine distinct ones for ten seen, by a uniform
    /// sample of the distinct ones), without white space except in times, so that messages and user agents stay out.
    pub fn random_paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.root.random_paths("", &mut found);
        found
    }
}

impl Node {
    fn learn(&mut self, value: &Json, paths: &mut usize) {
        match value {
            Json::Null => self.nulls += 1,
            Json::Bool(value) => self.booleans[usize::from(*value)] += 1,
            Json::Number(number) => self.numbers.add(number),
            Json::Text(text) => self.strings.get_or_insert_default().add(text),
            Json::Object(members) => self.object.get_or_insert_default().learn(members, paths),
            Json::Array(elements) => {
                let array = self.array.get_or_insert_with(|| {
                    Box::new(Array { shortest: elements.len(), longest: elements.len(), elements: Node::default() })
                });
                array.shortest = array.shortest.min(elements.len());
                array.longest = array.longest.max(elements.len());
                elements.iter().for_each(|element| array.elements.learn(element, paths));
            }
        }
    }

    fn random_paths(&self, path: &str, found: &mut Vec<String>) {
        if self.strings.as_ref().is_some_and(|strings| strings.is_random()) {
            found.push(path.to_string());
        }
        for member in self.object.iter().flat_map(|object| &object.members) {
            member.node.random_paths(&join(path, &member.name), found);
        }
        if let Some(array) = &self.array {
            array.elements.random_paths(&join(path, "*"), found);
        }
    }

    /// The booleans, where they are a closed category (as for strings; they are two at most, so only their number counts).
    fn closed_booleans(&self) -> bool {
        let [no, yes] = self.booleans;
        no + yes >= values::ENOUGH && (no != 1 && yes != 1 || no + yes >= 100)
    }
}

impl Numbers {
    fn add(&mut self, number: &Number) {
        self.seen += 1;
        self.integers += u64::from(!number.is_f64());
        let text = number.to_string();
        self.exponents += u64::from(text.contains('e'));
        self.values.add(&text);
        let value = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
        if self.least.as_ref().is_none_or(|least| value(number) < value(least)) {
            self.least = Some(number.clone());
        }
        if self.most.as_ref().is_none_or(|most| value(number) > value(most)) {
            self.most = Some(number.clone());
        }
    }
}

/// The path of a member, as [`super::fields`] spells it.
fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests;
