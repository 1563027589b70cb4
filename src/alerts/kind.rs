//! What makes two findings the same.

use super::template::Template;
use super::values::compared;
use crate::finding::{Finding, FoundField};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most odd fields of a finding that are compared.
pub const MOST_ODD: usize = 4;

/// A kind of finding: nearly this template, and these fields odd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    pub template: Template,
    /// The odd fields: the value that all have, or None for any.
    pub odd: BTreeMap<String, Option<String>>,
}

impl Kind {
    /// Whether a value says what is odd. Odd fields of many values alone say only that somebody is new.
    pub fn says_what(&self) -> bool {
        self.odd.values().any(Option::is_some)
    }

    /// Whether a finding is of this kind, on a record of this template.
    pub fn holds(&self, finding: &Finding, template: &Template) -> bool {
        let odd = odd_fields(finding);
        let same_value = |field: &&FoundField| match self.odd.get(&field.path) {
            Some(Some(value)) => compared(&field.value) == value,
            Some(None) => true,
            None => false,
        };
        let paths: BTreeSet<&String> = odd.iter().map(|field| &field.path).collect();
        paths.len() == self.odd.len() && odd.iter().all(same_value) && self.template.is_nearly(template)
    }
}

/// The odd fields of a finding: the first, and others that are far from usual.
pub fn odd_fields(finding: &Finding) -> Vec<&FoundField> {
    let odd = finding.fields.iter().enumerate().filter(|(place, field)| *place == 0 || field.is_odd());
    odd.take(MOST_ODD).map(|(_, field)| field).collect()
}
