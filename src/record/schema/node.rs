//! The members of the objects at one path, and the order in which they come.

use super::tree::Json;
use super::{MOST_PATHS, Node};
use std::borrow::Cow;

/// Names one object is known by; with more, its names are data, and it is open.
const MOST_MEMBERS: usize = 256;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object {
    /// Objects seen.
    pub seen: u64,
    /// In the order in which they were first seen.
    pub members: Vec<Member>,
    /// There were more members than are kept, or than there is room for: unknown ones are no fault.
    pub open: bool,
    /// Some object had the same name twice.
    pub doubled: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Member {
    pub name: String,
    /// Objects that have it.
    pub seen: u64,
    /// Members that came behind it in some object: a bit set over their numbers.
    later: Vec<u64>,
    pub node: Node,
}

impl Object {
    pub fn learn(&mut self, members: &[(Cow<str>, Json)], paths: &mut usize) {
        self.seen += 1;
        let mut order = Vec::with_capacity(members.len());
        for (name, value) in members {
            let expected = order.last().map_or(0, |&last| last + 1);
            let Some(found) = self.find(name, expected).or_else(|| self.grow(name, paths)) else {
                self.open = true;
                continue;
            };
            let member = &mut self.members[found];
            if order.contains(&found) {
                self.doubled = true;
            } else {
                member.seen += 1;
            }
            member.node.learn(value, paths);
            order.push(found);
        }
        let mut later = vec![0; self.members.len().div_ceil(64)];
        for &number in order.iter().rev() {
            let known = &mut self.members[number].later;
            known.resize(later.len(), 0);
            known.iter_mut().zip(&later).for_each(|(known, later)| *known |= later);
            later[number / 64] |= 1 << (number % 64);
        }
    }

    /// The member's number. Objects mostly repeat their order, so the `expected` one is looked at first.
    pub fn find(&self, name: &str, expected: usize) -> Option<usize> {
        match self.members.get(expected) {
            Some(member) if member.name == name => Some(expected),
            _ => self.members.iter().position(|member| member.name == name),
        }
    }

    fn grow(&mut self, name: &str, paths: &mut usize) -> Option<usize> {
        if self.members.len() >= MOST_MEMBERS || *paths >= MOST_PATHS {
            return None;
        }
        *paths += 1;
        self.members.push(Member { name: name.to_string(), seen: 0, later: Vec::new(), node: Node::default() });
        Some(self.members.len() - 1)
    }

    /// Whether `first` came before `second` in some object.
    fn precedes(&self, first: usize, second: usize) -> bool {
        self.members[first].later.get(second / 64).is_some_and(|word| word >> (second % 64) & 1 == 1)
    }

    /// Whether `second` always came before `first` where both were there: to find them in this order is a fault.
    pub fn is_reversed(&self, first: usize, second: usize) -> bool {
        self.precedes(second, first) && !self.precedes(first, second)
    }

    /// The members in an order that breaks none that always holds; where there is a choice, the one first seen comes first.
    pub fn usual_order(&self) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.members.len()).collect();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let is_free = |&&member: &&usize| !left.iter().any(|&other| self.is_reversed(member, other));
            // Orders that hold pairwise may still form a ring.
            let next = left.iter().find(is_free).or(left.first()).copied().unwrap_or_default();
            left.retain(|&member| member != next);
            order.push(next);
        }
        order
    }
}
