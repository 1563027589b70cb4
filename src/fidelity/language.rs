//! The loss on predictable text, separate from the loss on random values.

use serde::Serialize;
use std::collections::BTreeMap;

/// The surprisal of some text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Cost {
    pub nats: f64,
    pub bytes: u64,
    /// 0 for no bytes.
    pub nats_per_byte: f64,
}

impl Cost {
    pub fn new(nats: f64, bytes: u64) -> Self {
        Self { nats, bytes, nats_per_byte: if bytes == 0 { 0.0 } else { nats / bytes as f64 } }
    }
}

/// The cost of the values at random paths, and of everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ByPath {
    /// No model can do better on these than their entropy.
    pub random: Cost,
    /// Where models differ.
    pub rest: Cost,
}

/// Sums nats and bytes over random paths and over the others. `sums`: nats and bytes by path, those of text between values
/// under the empty path; `random`: [`crate::record::schema::Profile::random_paths`].
pub fn by_path(sums: &BTreeMap<String, (f64, u64)>, random: &[String]) -> ByPath {
    let total = |is_random: bool| {
        let of_kind = sums.iter().filter(|(path, _)| random.contains(path) == is_random);
        let (nats, bytes) = of_kind.fold((0.0, 0), |(nats, bytes), (_, cost)| (nats + cost.0, bytes + cost.1));
        Cost::new(nats, bytes)
    };
    ByPath { random: total(true), rest: total(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_by_hand() {
        let sums = BTreeMap::from([("".into(), (2.0, 80)), ("id".into(), (80.0, 36)), ("kind".into(), (0.5, 20))]);
        let found = by_path(&sums, &["id".to_string(), "unheard of".to_string()]);
        assert_eq!(found, ByPath { random: Cost::new(80.0, 36), rest: Cost::new(2.5, 100) });
        assert_eq!((found.rest.nats_per_byte, Cost::new(0.0, 0).nats_per_byte), (0.025, 0.0));
    }
}
