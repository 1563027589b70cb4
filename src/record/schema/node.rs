//! The tree of a profile. A node describes the values at one path by type; the properties of objects and the elements of
//! arrays are nodes themselves.

use super::string_profile::StringProfile;
use super::tree::Json;
use super::values::{DistinctValues, ENOUGH};
use serde_json::Number;
use std::borrow::Cow;

/// The most paths of a profile. An object that would exceed it becomes open.
pub(super) const MOST_PATHS: usize = 4096;

/// The most properties of an object. With more, its names are probably data, and the object becomes open.
const MOST_MEMBERS: usize = 256;

/// The values at one path, by type.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub nulls: u64,
    /// The counts of false and true.
    pub booleans: [u64; 2],
    pub numbers: NumberProfile,
    pub strings: Option<Box<StringProfile>>,
    pub object: Option<Box<ObjectProfile>>,
    pub array: Option<Box<ArrayProfile>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NumberProfile {
    pub seen: u64,
    pub integers: u64,
    /// Numbers that are written with an exponent.
    pub exponents: u64,
    pub least: Option<Number>,
    pub most: Option<Number>,
    pub values: DistinctValues,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ArrayProfile {
    pub shortest: usize,
    pub longest: usize,
    pub elements: Node,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ObjectProfile {
    /// The number of objects seen.
    pub seen: u64,
    /// The properties in the order in which they were first seen.
    pub properties: Vec<Property>,
    /// Whether some properties were not kept because of a limit; unknown properties are then no violation.
    pub open: bool,
    /// Whether some object had the same name twice.
    pub doubled: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Property {
    pub name: String,
    /// The number of objects that have the property.
    pub seen: u64,
    /// The properties that followed this one in some object: a bit set over their numbers.
    later: Vec<u64>,
    pub node: Node,
}

impl Node {
    pub fn learn(&mut self, value: &Json, paths: &mut usize) {
        match value {
            Json::Null => self.nulls += 1,
            Json::Bool(value) => self.booleans[usize::from(*value)] += 1,
            Json::Number(number) => self.numbers.add(number),
            Json::Text(text) => self.strings.get_or_insert_default().add(text),
            Json::Object(members) => self.object.get_or_insert_default().learn(members, paths),
            Json::Array(elements) => {
                let array = self.array.get_or_insert_with(|| {
                    Box::new(ArrayProfile {
                        shortest: elements.len(),
                        longest: elements.len(),
                        elements: Node::default(),
                    })
                });
                array.shortest = array.shortest.min(elements.len());
                array.longest = array.longest.max(elements.len());
                elements.iter().for_each(|element| array.elements.learn(element, paths));
            }
        }
    }

    pub fn random_paths(&self, path: &str, found: &mut Vec<String>) {
        if self.strings.as_ref().is_some_and(|strings| strings.is_random()) {
            found.push(path.to_string());
        }
        for member in self.object.iter().flat_map(|object| &object.properties) {
            member.node.random_paths(&join(path, &member.name), found);
        }
        if let Some(array) = &self.array {
            array.elements.random_paths(&join(path, "*"), found);
        }
    }

    /// Whether the booleans are a closed category, by the rule of [`DistinctValues::closed`].
    pub fn closed_booleans(&self) -> bool {
        let [no, yes] = self.booleans;
        no + yes >= ENOUGH && (no != 1 && yes != 1 || no + yes >= 100)
    }
}

impl NumberProfile {
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

impl ObjectProfile {
    pub fn learn(&mut self, members: &[(Cow<str>, Json)], paths: &mut usize) {
        self.seen += 1;
        let mut order = Vec::with_capacity(members.len());
        for (name, value) in members {
            let expected = order.last().map_or(0, |&last| last + 1);
            let Some(found) = self.find(name, expected).or_else(|| self.grow(name, paths)) else {
                self.open = true;
                continue;
            };
            let member = &mut self.properties[found];
            if order.contains(&found) {
                self.doubled = true;
            } else {
                member.seen += 1;
            }
            member.node.learn(value, paths);
            order.push(found);
        }
        let mut later = vec![0; self.properties.len().div_ceil(64)];
        for &number in order.iter().rev() {
            let known = &mut self.properties[number].later;
            known.resize(later.len(), 0);
            known.iter_mut().zip(&later).for_each(|(known, later)| *known |= later);
            later[number / 64] |= 1 << (number % 64);
        }
    }

    /// The number of the property `name`. Most objects repeat their order, so the `expected` number is tried first.
    pub fn find(&self, name: &str, expected: usize) -> Option<usize> {
        match self.properties.get(expected) {
            Some(member) if member.name == name => Some(expected),
            _ => self.properties.iter().position(|member| member.name == name),
        }
    }

    fn grow(&mut self, name: &str, paths: &mut usize) -> Option<usize> {
        if self.properties.len() >= MOST_MEMBERS || *paths >= MOST_PATHS {
            return None;
        }
        *paths += 1;
        self.properties.push(Property { name: name.to_string(), seen: 0, later: Vec::new(), node: Node::default() });
        Some(self.properties.len() - 1)
    }

    /// Whether `first` came before `second` in some object.
    fn precedes(&self, first: usize, second: usize) -> bool {
        self.properties[first].later.get(second / 64).is_some_and(|word| word >> (second % 64) & 1 == 1)
    }

    /// Whether `second` came before `first` in every object that has both, so that this order is a violation.
    pub fn is_reversed(&self, first: usize, second: usize) -> bool {
        self.precedes(second, first) && !self.precedes(first, second)
    }

    /// The properties in an order that contradicts no order that always holds; among several such orders, the property that
    /// was first seen comes first.
    pub fn usual_order(&self) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.properties.len()).collect();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let is_free = |&&member: &&usize| !left.iter().any(|&other| self.is_reversed(member, other));
            // Pairwise orders may form a cycle; then the first property left is taken.
            let next = left.iter().find(is_free).or(left.first()).copied().unwrap_or_default();
            left.retain(|&member| member != next);
            order.push(next);
        }
        order
    }
}

/// The path of a property, as in [`crate::record::fields`].
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}
