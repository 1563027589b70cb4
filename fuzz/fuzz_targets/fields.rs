//! The fields of a record: they are what their spans say, in order; what is an object has fields; text of any kind has them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use logwright::record::fields::{leaves, paths_so_far};
use logwright::record::json_tree::Json;
use logwright::record::{object_fault, text_fields};

fuzz_target!(|record: &[u8]| {
    let found = leaves(record);
    let mut end = 0;
    for leaf in found.iter().flatten() {
        assert_eq!(&record[leaf.span.clone()], leaf.raw.as_bytes());
        assert!(leaf.span.start >= end && !leaf.span.is_empty(), "{leaf:?}");
        end = leaf.span.end;
        let _ = leaf.value();
    }
    if object_fault(record).is_none() {
        assert!(found.is_some(), "an object without fields");
        assert!(Json::of_record(record).is_some(), "an object without a tree");
    }
    for length in [record.len() / 2, record.len().saturating_sub(1), record.len()] {
        assert!(paths_so_far(&record[..length]).iter().all(|(_, end)| *end <= length));
    }
    let mut end = 0;
    for (name, span) in text_fields(record) {
        assert!(!name.is_empty() && span.start >= end && span.end <= record.len(), "{name} {span:?}");
        end = span.end;
    }
});
