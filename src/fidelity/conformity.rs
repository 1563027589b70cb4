//! How many records conform to the learnt profile, and in what the others differ.

pub use crate::record::schema::Fault;

use super::pair::Share;
use crate::record::schema::Profile;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of faults by path that are reported.
const MOST_PATHS: usize = 50;

#[derive(Clone, Debug, Serialize)]
pub struct Conformity {
    /// Records without a violation.
    pub conforming: Share,
    /// Number of records that have a fault of each kind.
    pub faults: BTreeMap<Fault, u64>,
    /// The same by path, the most frequent ones first, at most 50.
    pub paths: Vec<PathFault>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PathFault {
    pub path: String,
    pub fault: Fault,
    pub records: u64,
    /// The beginning of the first such value.
    pub example: String,
}

/// Checks each record against the profile of training.
pub fn conformity(profile: &Profile, records: &[Vec<u8>]) -> Conformity {
    let mut conforming = 0;
    let mut faults: BTreeMap<Fault, u64> = BTreeMap::new();
    let mut paths: BTreeMap<(String, Fault), (u64, String)> = BTreeMap::new();
    for record in records {
        let found = profile.check(record);
        conforming += u64::from(found.is_empty());
        let kinds: BTreeSet<Fault> = found.iter().map(|violation| violation.fault).collect();
        kinds.into_iter().for_each(|fault| *faults.entry(fault).or_default() += 1);
        let places: BTreeMap<(String, Fault), String> =
            found.into_iter().rev().map(|violation| ((violation.path, violation.fault), violation.found)).collect();
        for (place, example) in places {
            paths.entry(place).or_insert((0, example)).0 += 1;
        }
    }
    let mut paths: Vec<PathFault> = paths
        .into_iter()
        .map(|((path, fault), (records, example))| PathFault { path, fault, records, example })
        .collect();
    paths.sort_by(|a, b| b.records.cmp(&a.records).then_with(|| a.path.cmp(&b.path)));
    paths.truncate(MOST_PATHS);
    Conformity { conforming: Share::new(conforming, records.len() as u64), faults, paths }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_once_for_each_fault() {
        let mut profile = Profile::default();
        (0..40).for_each(|i| profile.observe(format!(r#"{{"a":{i},"l":[1]}}"#).as_bytes()));
        let records: Vec<Vec<u8>> =
            [r#"{"a":7,"l":[1]}"#, r#"{"a":"x","l":["y","z"]}"#, r#"{"a":7,"l":[],"b":1}"#, "{"].map(Into::into).into();
        let found = conformity(&profile, &records);
        assert_eq!(found.conforming, Share::new(1, 4));
        assert_eq!(found.faults, BTreeMap::from([(Fault::NotJson, 1), (Fault::UnknownPath, 1), (Fault::WrongType, 1)]));
        let paths: Vec<_> = found.paths.iter().map(|p| (p.path.as_str(), p.records, p.example.as_str())).collect();
        assert_eq!(paths, [("", 1, ""), ("a", 1, "\"x\""), ("b", 1, "1"), ("l.*", 1, "\"y\"")]);
    }
}
