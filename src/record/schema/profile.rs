//! What the records of a corpus have in common, learnt record by record.

use super::node::Node;
use super::tree::{Json, spaces_after};

/// What the records of a corpus have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Records learnt from.
    pub(super) records: u64,
    pub(super) paths: usize,
    pub(super) root: Node,
    /// Records with and without a space behind the first comma, and behind the first colon.
    spaces: [[u64; 2]; 2],
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
