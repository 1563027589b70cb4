//! What makes two findings the same.

use super::template::Template;
use super::values::compared;
use crate::finding::{Finding, FoundField};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most odd fields of a finding that are compared.
pub const MOST_ODD: usize = 8;

/// A kind of finding: nearly this template, and these fields odd.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kind {
    pub template: Template,
    /// The odd fields: the value that they have, or None where one may be odd with any value, or not.
    pub odd: BTreeMap<String, Option<String>>,
}

impl Kind {
    /// Whether a value says what is odd. Odd fields of many values alone say only that somebody is new.
    pub fn says_what(&self) -> bool {
        self.odd.values().any(Option::is_some)
    }

    /// Whether a finding is of this kind, on a record of this template: odd are the fields whose values are given, with these, and
    /// no others than those of any value.
    pub fn holds(&self, finding: &Finding, template: &Template) -> bool {
        let odd = odd_fields(finding);
        let is_known = |field: &&FoundField| match self.odd.get(&field.path) {
            Some(Some(value)) => compared(&field.value) == value,
            Some(None) => true,
            None => false,
        };
        let is_odd = |path: &String| odd.iter().any(|field| field.path == *path);
        let mut named = self.odd.iter().filter(|(_, value)| value.is_some()).map(|(path, _)| path);
        odd.iter().all(is_known) && named.all(is_odd) && self.template.is_nearly(template)
    }
}

/// The odd fields of a finding: the first, and others that are far from usual.
pub fn odd_fields(finding: &Finding) -> Vec<&FoundField> {
    let odd = finding.fields.iter().enumerate().filter(|(place, field)| *place == 0 || field.is_odd());
    odd.take(MOST_ODD).map(|(_, field)| field).collect()
}
