//! Counts of hashes as one text of hexadecimal digits: 16 for the hash and 8 for its count, sorted. A list of numbers would be
//! twice as long.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::HashMap;
use std::fmt::Write;

const DIGITS: usize = 24;

pub fn serialize<S: Serializer>(counts: &HashMap<u64, u32>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_unstable();
    let mut text = String::with_capacity(DIGITS * sorted.len());
    for (hash, count) in sorted {
        write!(text, "{hash:016x}{count:08x}").expect("a string takes all text");
    }
    text.serialize(serializer)
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashMap<u64, u32>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong = || D::Error::custom(format!("expected groups of {DIGITS} hexadecimal digits"));
    if text.len() % DIGITS != 0 || !text.is_ascii() {
        return Err(wrong());
    }
    let group = |at: usize| {
        let hash = u64::from_str_radix(&text[at..at + 16], 16).ok()?;
        Some((hash, u32::from_str_radix(&text[at + 16..at + DIGITS], 16).ok()?))
    };
    (0..text.len()).step_by(DIGITS).map(|at| group(at).ok_or_else(wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Counts(#[serde(with = "super")] HashMap<u64, u32>);

    #[test]
    fn counts_come_back_and_damage_is_an_error() {
        let counts = Counts([(u64::MAX, 7), (0, u32::MAX), (0x1234, 1)].into());
        let text = serde_json::to_string(&counts).unwrap();
        assert_eq!(text.len(), 3 * DIGITS + 2);
        assert_eq!(serde_json::from_str::<Counts>(&text).unwrap(), counts);
        for bad in ["\"0\"", "\"00000000000000000000000g\"", "\"é0000000000000000000000\"", "7"] {
            assert!(serde_json::from_str::<Counts>(bad).is_err(), "{bad}");
        }
    }
}
