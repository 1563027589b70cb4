//! The tree of a profile. A node describes the values at one path by type; the properties of objects and the elements of
//! arrays are nodes themselves.

use super::anywhere::Anywhere;
use super::number_profile::NumberProfile;
use super::string_profile::StringProfile;
use super::values::{ENOUGH, Novelty, Times};
use crate::record::fields::joined;
use crate::record::json_tree::{Json, Text};
use std::borrow::Cow;

/// The most paths of a profile. An object that would exceed it becomes open.
pub(super) const MOST_PATHS: usize = 4096;

/// The most properties of an object. With more, its names are probably data, and the object becomes open.
const MOST_MEMBERS: usize = 256;

/// The deepest level of the tree; what lies below may be any JSON. A schema is nested up to four times as deep as its
/// records, and readers of JSON stop at 128 levels.
pub(super) const DEEPEST: usize = 24;

/// The number of records in a block. Logs come in bursts, so a hundred records of one script say less of the next one than
/// thirty blocks.
const BLOCK: u64 = 16;

/// The most spellings of a name that are kept.
const MOST_SPELLINGS: usize = 8;

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
    /// The objects and arrays in strings that are opened.
    pub opened: Option<Box<Node>>,
    /// Objects and arrays at the deepest level.
    pub deeper: u64,
    /// The number of blocks of records that have a value here, and the end of the last one.
    blocks: u64,
    block_end: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ArrayProfile {
    pub shortest: usize,
    pub longest: usize,
    pub seen: u64,
    pub elements: Node,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ObjectProfile {
    /// The number of objects seen, and where new names were seen.
    pub novelty: Novelty,
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
    /// The ways in which the name is written in JSON, without quotes.
    pub spellings: Vec<String>,
    is_written_as_it_is: bool,
    /// The objects that have the property.
    pub times: Times,
    /// The properties that followed this one in some object: a bit set over their numbers.
    later: Vec<u64>,
    pub node: Node,
}

/// What bounds a profile: the paths that it has, and the size of values that no path describes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Budget {
    pub paths: usize,
    /// The number of records learnt before.
    pub records: u64,
    pub anywhere: Anywhere,
    /// Whether an object of this record had the same name twice.
    pub doubled: bool,
}

impl Node {
    pub fn learn(&mut self, value: &Json, depth: usize, budget: &mut Budget) {
        if budget.records >= self.block_end {
            self.blocks += 1;
            self.block_end = (budget.records / BLOCK + 1) * BLOCK;
        }
        match value {
            Json::Null => self.nulls += 1,
            Json::Bool(value) => self.booleans[usize::from(*value)] += 1,
            Json::Number(number) => self.numbers.add(number),
            Json::Text(text) => self.strings.get_or_insert_default().add(text),
            Json::Opened(value, _) => {
                budget.anywhere.opened = true;
                self.opened.get_or_insert_default().learn(value, depth, budget);
            }
            Json::Object(_) | Json::Array(_) if depth == DEEPEST => {
                self.deeper += 1;
                budget.anywhere.add(value);
            }
            Json::Object(members) => self.object.get_or_insert_default().learn(members, depth, budget),
            Json::Array(elements) => {
                let array = self.array.get_or_insert_default();
                if array.seen == 0 {
                    array.shortest = elements.len();
                }
                array.seen += 1;
                array.shortest = array.shortest.min(elements.len());
                array.longest = array.longest.max(elements.len());
                elements.iter().for_each(|element| array.elements.learn(element, depth + 1, budget));
            }
        }
    }

    pub fn random_paths(&self, path: &str, found: &mut Vec<String>) {
        if self.strings.as_ref().is_some_and(|strings| strings.is_random()) {
            found.push(path.to_string());
        }
        for member in self.object.iter().flat_map(|object| &object.properties) {
            member.node.random_paths(&joined(path, &member.name), found);
        }
        if let Some(array) = &self.array {
            array.elements.random_paths(&joined(path, "*"), found);
        }
        if let Some(opened) = &self.opened {
            opened.random_paths(path, found);
        }
    }

    /// Whether values were seen in so few of the blocks of all records that the next one may be anything.
    pub fn is_rare(&self, records: u64) -> bool {
        (1..ENOUGH).contains(&self.blocks) && 2 * self.blocks < records.div_ceil(BLOCK)
    }

    /// Whether the booleans are a closed category, by the rule of `DistinctValues::closed`.
    pub fn closed_booleans(&self) -> bool {
        let [no, yes] = self.booleans;
        no + yes >= ENOUGH && (no != 1 && yes != 1 || no + yes >= 100)
    }
}

impl ObjectProfile {
    pub fn learn(&mut self, members: &[(Text, Json)], depth: usize, budget: &mut Budget) {
        let known = self.properties.len();
        let mut order = Vec::with_capacity(members.len());
        for (name, value) in members {
            let expected = order.last().map_or(0, |&last| last + 1);
            let Some(found) = self.find(&name.value, expected).or_else(|| self.grow(&name.value, budget)) else {
                self.open = true;
                budget.anywhere.add_text(name);
                budget.anywhere.add(value);
                continue;
            };
            let member = &mut self.properties[found];
            member.learn_spelling(name);
            if order.contains(&found) {
                self.doubled = true;
                budget.doubled = true;
            } else {
                member.times.add(self.novelty.seen + 1);
            }
            member.node.learn(value, depth + 1, budget);
            order.push(found);
        }
        self.novelty.add(self.properties.len() > known);
        let mut later = vec![0; self.properties.len().div_ceil(64)];
        for &number in order.iter().rev() {
            let known = &mut self.properties[number].later;
            known.resize(later.len(), 0);
            known.iter_mut().zip(&later).for_each(|(known, later)| *known |= later);
            later[number / 64] |= 1 << (number % 64);
        }
    }

    /// Whether objects with other names are to be expected: some were not kept, or the names are not settled.
    pub fn is_open(&self) -> bool {
        self.open || !self.novelty.is_settled(self.properties.iter().map(|member| member.times))
    }

    /// Whether every object has the property, and so many objects were seen that the next one will.
    pub fn requires(&self, member: &Property) -> bool {
        member.times.count == self.novelty.seen && member.times.count >= ENOUGH
    }

    /// The number of the property `name`. Most objects repeat their order, so the `expected` number is tried first.
    pub fn find(&self, name: &str, expected: usize) -> Option<usize> {
        match self.properties.get(expected) {
            Some(member) if member.name == name => Some(expected),
            _ => self.properties.iter().position(|member| member.name == name),
        }
    }

    fn grow(&mut self, name: &str, budget: &mut Budget) -> Option<usize> {
        if self.properties.len() >= MOST_MEMBERS || budget.paths >= MOST_PATHS {
            return None;
        }
        budget.paths += 1;
        self.properties.push(Property {
            name: name.to_string(),
            spellings: Vec::new(),
            is_written_as_it_is: false,
            times: Times::default(),
            later: Vec::new(),
            node: Node::default(),
        });
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

    /// The properties in an order that contradicts no order that always holds, in groups: within a group the order varies.
    /// Otherwise the property that was first seen comes first.
    pub fn usual_order(&self) -> Vec<Vec<usize>> {
        let count = self.properties.len();
        // Reachability along "came before": two properties that reach each other have no order.
        let mut reaches: Vec<Vec<u64>> = self.properties.iter().map(|member| member.later.clone()).collect();
        reaches.iter_mut().for_each(|bits| bits.resize(count.div_ceil(64), 0));
        for middle in 0..count {
            let through = reaches[middle].clone();
            for from in &mut reaches {
                if from[middle / 64] >> (middle % 64) & 1 == 1 {
                    from.iter_mut().zip(&through).for_each(|(bits, more)| *bits |= more);
                }
            }
        }
        let reaches = |from: usize, to: usize| reaches[from][to / 64] >> (to % 64) & 1 == 1;
        let mut left: Vec<usize> = (0..count).collect();
        let mut groups = Vec::new();
        while let Some(&first) = left.first() {
            // The groups form no circle, so some property has only those of its own group before it.
            let is_next = |&member: &usize| left.iter().all(|&other| !reaches(other, member) || reaches(member, other));
            let next = left.iter().copied().find(is_next).unwrap_or(first);
            let is_with = |member: &usize| *member == next || reaches(next, *member) && reaches(*member, next);
            let (group, rest): (Vec<usize>, Vec<usize>) = left.iter().copied().partition(is_with);
            groups.push(group);
            left = rest;
        }
        groups
    }
}

impl Property {
    fn learn_spelling(&mut self, name: &Text) {
        // Nearly every name is written as it is.
        let as_it_is = matches!(name.value, Cow::Borrowed(_));
        if as_it_is && self.is_written_as_it_is {
            return;
        }
        self.is_written_as_it_is |= as_it_is;
        if self.spellings.len() < MOST_SPELLINGS && !self.spellings.iter().any(|known| known == name.raw) {
            self.spellings.push(name.raw.to_string());
        }
    }
}
