//! The profile of a corpus: what its records have in common, learnt record by record.

use super::node::Node;
use super::tree::{Json, spaces_after};

/// What the records of a corpus have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// The number of records learnt.
    pub(super) records: u64,
    pub(super) paths: usize,
    pub(super) root: Node,
    /// The numbers of records without and with a space after the first comma, and after the first colon.
    spaces: [[u64; 2]; 2],
}

impl Profile {
    /// Learns one record without its prefix. A record that is not a JSON object is ignored.
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

    /// The number of records learnt.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The separators between members or elements and between a name and its value in most records: `(", ", ": ")` or
    /// `(",", ":")`.
    pub fn separators(&self) -> (String, String) {
        let space = |counts: [u64; 2]| if counts[1] > counts[0] { " " } else { "" };
        (format!(",{}", space(self.spaces[0])), format!(":{}", space(self.spaces[1])))
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
