//! A row of a table as a JSON object: names in the header's order, every value a string.

use std::collections::{HashMap, HashSet};

/// The keys of the objects, all distinct: an empty name becomes `column_N` (from 1), a repeated one gets `_2`, `_3` ...
pub(super) fn names<'a>(header: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let name = |(i, cell): (usize, &[u8])| match String::from_utf8_lossy(cell.trim_ascii()).into_owned() {
        name if name.is_empty() => format!("column_{}", i + 1),
        name => name,
    };
    unique(header.into_iter().enumerate().map(name))
}

/// The names, of which a repeated one gets `_2`, `_3` ...
pub(super) fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut used = HashSet::new();
    // The last suffix of each name, so that a name that repeats many times is not counted from 2 each time.
    let mut copies: HashMap<String, usize> = HashMap::new();
    let distinct = |name: String| {
        let mut candidate = name.clone();
        while !used.insert(candidate.clone()) {
            let copy = copies.entry(name.clone()).or_insert(1);
            *copy += 1;
            candidate = format!("{name}_{copy}");
        }
        candidate
    };
    names.map(distinct).collect()
}

/// Writes the row as a JSON object into `record`. Returns whether a value was not UTF-8.
pub(super) fn object<'a>(keys: &[String], row: impl IntoIterator<Item = &'a [u8]>, record: &mut Vec<u8>) -> bool {
    let mut invalid = false;
    record.clear();
    record.push(b'{');
    for (i, cell) in row.into_iter().enumerate() {
        if i > 0 {
            record.push(b',');
        }
        match keys.get(i) {
            Some(key) => json_string(key, record),
            None => json_string(&format!("column_{}", i + 1), record),
        }
        record.push(b':');
        let text = String::from_utf8_lossy(cell);
        invalid |= matches!(text, std::borrow::Cow::Owned(_));
        json_string(&text, record);
    }
    record.push(b'}');
    invalid
}

pub(super) fn json_string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string and a vector cannot fail");
}
