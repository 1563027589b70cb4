//! The profile of a corpus: what its records have in common, learnt record by record.

use super::node::{Budget, Node};
use super::spaces::Spaces;
use crate::record::check_object;
use crate::record::json_tree::{Gap, Json};
use std::collections::BTreeMap;

/// What the records of a corpus have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The number of records learnt.
    pub(super) records: u64,
    /// Those of them in which an object has the same name twice.
    doubled: u64,
    pub(super) budget: Budget,
    pub(super) root: Node,
    spaces: Spaces,
}

impl Profile {
    /// Learns one record without its prefix. A record that is not a JSON object is ignored.
    pub fn observe(&mut self, record: &[u8]) {
        if check_object(record).is_ok() {
            self.observe_object(record);
        }
    }

    /// Learns one record that `check_object` has taken before.
    pub fn observe_object(&mut self, record: &[u8]) {
        let text = std::str::from_utf8(record).expect("an object is UTF-8");
        let tree = Json::of_object(text, &mut |gap, white| self.spaces.add(gap, white));
        self.budget.records = self.records;
        self.records += 1;
        self.root.learn(&tree, 0, &mut self.budget);
        self.doubled += u64::from(std::mem::take(&mut self.budget.doubled));
    }

    /// The number of records learnt.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The number of records learnt in which an object has the same name twice.
    pub fn doubled(&self) -> u64 {
        self.doubled
    }

    /// The separators between members or elements and between a name and its value that most have: `(", ", ": ")` or
    /// `(",", ":")`.
    pub fn separators(&self) -> (String, String) {
        let most = |gap, sign| format!("{sign}{}", if self.spaces.is_mostly_a_space(gap) { " " } else { "" });
        (most(Gap::BehindComma, ','), most(Gap::BehindColon, ':'))
    }

    /// The white space that some record has, as regular expressions; gaps without any are left out.
    pub fn gaps(&self) -> BTreeMap<Gap, String> {
        self.spaces.written()
    }

    /// The paths whose strings are random: identifiers, tokens, times. Their next value cannot be predicted. So a model that
    /// generates a training value there has copied it, and a high loss on such values does not mean a bad model.
    ///
    /// A path is random if it has at least 30 strings of which at least 90 % are distinct (by a uniform sample of the
    /// distinct ones), without white space except in times. This excludes messages and user agents.
    pub fn random_paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.root.random_paths("", &mut found);
        found
    }
}
