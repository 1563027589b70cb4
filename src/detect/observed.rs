//! A record as the trivial detectors see it: which values stand where.

use crate::record::{fields, text_fields};
use siphasher::sip::SipHasher24;
use std::collections::HashMap;
use std::hash::Hasher;

/// The values of a record in their order, and the words of one that is text. Texts are kept as 64-bit hashes (SipHash-2-4;
/// Aumasson and Bernstein, 2012), so that what is learnt of them is small and holds no record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    pub values: Vec<ObservedValue>,
    /// The words of a line of text, cut at white space; one that holds a digit stands for all such words, as the variable part of
    /// the line's template. Empty for JSON.
    pub words: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObservedValue {
    pub path: u64,
    /// Of the path and the value.
    pub value: u64,
}

impl Observed {
    /// Observes a record, with or without a prefix. Bytes that are not UTF-8 stand as they are.
    pub fn of(record: &[u8]) -> Self {
        match fields::leaves(record) {
            Some(leaves) => Observed::new(leaves.iter().map(|leaf| (leaf.path.as_str(), leaf.raw.as_bytes())), None),
            None => {
                let fields = text_fields(record);
                Observed::new(fields.iter().map(|(path, place)| (path.as_str(), &record[place.clone()])), Some(record))
            }
        }
    }

    /// From values with their paths, and the line that they are of if it is text.
    pub fn new<'a>(values: impl Iterator<Item = (&'a str, &'a [u8])>, line: Option<&[u8]>) -> Self {
        let words = line.into_iter().flat_map(|line| line.split(u8::is_ascii_whitespace));
        Observed {
            values: values.map(|(path, value)| ObservedValue::of(path, value)).collect(),
            words: words.filter(|word| !word.is_empty()).map(template_word).collect(),
        }
    }
}

impl ObservedValue {
    fn of(path: &str, value: &[u8]) -> Self {
        ObservedValue { path: hash(&[path.as_bytes()]), value: hash(&[path.as_bytes(), value]) }
    }
}

fn template_word(word: &[u8]) -> u64 {
    if word.iter().any(u8::is_ascii_digit) { hash(&[b"<*>"]) } else { hash(&[word]) }
}

/// Counts one more of a key; of a new one only while there are fewer than `most`.
pub(super) fn count_up(counts: &mut HashMap<u64, u32>, key: u64, most: usize) {
    let has_room = counts.len() < most;
    match counts.get_mut(&key) {
        Some(count) => *count += 1,
        None if has_room => drop(counts.insert(key, 1)),
        None => {}
    }
}

/// The hash of several texts; where one ends and the next begins counts.
pub fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher24::new();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(part);
    }
    hasher.finish()
}

/// The hash of an ordered pair of hashes (the finaliser of SplitMix64; Steele, Lea and Flood, 2014).
pub fn pair(first: u64, second: u64) -> u64 {
    let mut mixed = first.rotate_left(32) ^ second.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_its_values_and_a_line_its_template_too() {
        let json = Observed::of(br#"u {"a":1,"b":["x","x",2]}"#);
        assert_eq!((json.values.len(), json.words.len()), (4, 0));
        assert_eq!(json.values[1], json.values[2], "the same value at the same path");
        assert_eq!(json.values[2].path, json.values[3].path);
        assert_ne!(json.values[2].value, json.values[3].value);
        let line = |text: &[u8]| Observed::of(text).words;
        assert_eq!(line(b"Accepted  for \xff from 10.0.0.1"), line(b"Accepted for \xff from 7"));
        assert_ne!(line(b"Accepted for \xff from 7"), line(b"Accepted for \xfe from 7"));
        assert!(line(b"").is_empty());
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_ne!(pair(1, 2), pair(2, 1));
    }
}
