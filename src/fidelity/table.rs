//! Records as a table: one column for each path, one row for each record that holds a JSON object.

use crate::record::fields::leaves;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The number of an absent value: the record does not have the path.
pub const ABSENT: u32 = 0;

/// Maximum number of columns; further paths are left out of a table.
const MOST_COLUMNS: usize = 4096;

/// Distinct values, numbered from 1 in the order of their first occurrence.
#[derive(Default)]
pub struct ValueIds {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl ValueIds {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let text: Arc<str> = text.into();
        self.texts.push(text.clone());
        self.numbers.insert(text, self.texts.len() as u32);
        self.texts.len() as u32
    }

    /// The value as it is written in records; empty for [`ABSENT`].
    pub fn text(&self, number: u32) -> &str {
        number.checked_sub(1).map_or("", |at| &self.texts[at as usize])
    }
}

/// The values of each path, (records) numbers of [`ValueIds`] each.
#[derive(Default)]
pub struct RecordTable {
    pub columns: BTreeMap<String, Vec<u32>>,
    pub records: usize,
}

impl RecordTable {
    /// Skips records that are not JSON objects. Elements of an array share a path: their values, joined by commas, are one
    /// value.
    pub fn new(records: &[Vec<u8>], values: &mut ValueIds) -> Self {
        let mut table = RecordTable::default();
        for leaves in records.iter().filter_map(|record| leaves(record)) {
            let mut row: BTreeMap<String, String> = BTreeMap::new();
            for leaf in leaves {
                let value = row.entry(leaf.path).or_default();
                if !value.is_empty() {
                    value.push(',');
                }
                value.push_str(leaf.raw);
            }
            for (path, value) in row {
                let room = table.columns.len() < MOST_COLUMNS;
                if room || table.columns.contains_key(&path) {
                    let column = table.columns.entry(path).or_default();
                    column.resize(table.records, ABSENT);
                    column.push(values.number(&value));
                }
            }
            table.records += 1;
        }
        table.columns.values_mut().for_each(|column| column.resize(table.records, ABSENT));
        table
    }

    /// The values of a path; None where no record has it.
    pub fn column(&self, path: &str) -> Option<&[u32]> {
        self.columns.get(path).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_long_as_there_are_records() {
        let records: Vec<Vec<u8>> =
            [r#"{"a":1,"l":["x","y"]}"#, "no record", r#"{"b":"x"}"#, r#"{"a":2}"#].map(|r| r.into()).into();
        let mut values = ValueIds::default();
        let table = RecordTable::new(&records, &mut values);
        assert_eq!(table.records, 3);
        let column = |path| table.column(path).map(|c| c.iter().map(|&v| values.text(v)).collect::<Vec<_>>());
        assert_eq!(column("a").unwrap(), ["1", "", "2"]);
        assert_eq!(column("l.*").unwrap(), [r#""x","y""#, "", ""]);
        assert_eq!(column("b").unwrap(), ["", r#""x""#, ""]);
        assert_eq!(column("c"), None);
    }
}
