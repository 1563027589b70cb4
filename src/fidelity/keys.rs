//! Keys: fields that identify a record, because no two training records have the same value there.

use super::pair::{Pair, Share};
use super::table::{ABSENT, RecordTable};
use serde::Serialize;
use std::collections::HashSet;

/// Minimum number of training records that have the field.
const SUPPORT: usize = 30;

/// A field whose values never repeat in training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Key {
    pub path: String,
    /// Number of training records that have it.
    pub support: u64,
    /// Records whose value no earlier record of their side has, of the records that have the field.
    pub distinct: Pair<Share>,
}

/// The keys of the training records, by path, and how often the values of both sides repeat.
pub fn keys(training: &RecordTable, validation: &RecordTable, generated: &RecordTable) -> Vec<Key> {
    let is_key = |share: &Share| share.of as usize >= SUPPORT && share.count == share.of;
    let own = training.columns.iter().map(|(path, column)| (path, distinct(Some(column))));
    let key = |(path, share): (&String, Share)| Key {
        path: path.clone(),
        support: share.of,
        distinct: Pair { generated: distinct(generated.column(path)), validation: distinct(validation.column(path)) },
    };
    own.filter(|(_, share)| is_key(share)).map(key).collect()
}

fn distinct(column: Option<&[u32]>) -> Share {
    let present: Vec<u32> = column.unwrap_or_default().iter().copied().filter(|&value| value != ABSENT).collect();
    let distinct: HashSet<u32> = present.iter().copied().collect();
    Share::new(distinct.len() as u64, present.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::table::ValueIds;
    use super::*;

    #[test]
    fn a_value_that_repeats_is_noticed() {
        let records = |n: usize, of: fn(usize) -> usize| -> Vec<Vec<u8>> {
            (0..n).map(|i| format!(r#"{{"id":"x{}","kind":"k{}"}}"#, of(i), i % 3).into_bytes()).collect()
        };
        let mut values = ValueIds::default();
        let training = RecordTable::new(&records(40, |i| i), &mut values);
        let validation = RecordTable::new(&records(10, |i| i + 100), &mut values);
        let generated = RecordTable::new(&records(10, |i| i / 2), &mut values);
        let found = keys(&training, &validation, &generated);
        let distinct = Pair { generated: Share::new(5, 10), validation: Share::new(10, 10) };
        assert_eq!(found, [Key { path: "id".into(), support: 40, distinct }]);
        let few = RecordTable::new(&records(20, |i| i), &mut values);
        assert_eq!(keys(&few, &validation, &generated), [], "twenty records are no evidence");
    }
}
