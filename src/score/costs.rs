//! What the values at each path cost the model.

use super::scorer::ScoredRecord;
use crate::tokens::Tokenizer;
use std::collections::BTreeMap;

/// Adds a record to `sums`: nats and bytes of the values by path, and of the text between values under the empty path. A
/// token that crosses a boundary is split by bytes.
pub fn add_costs(sums: &mut BTreeMap<String, (f64, u64)>, measured: &ScoredRecord, tokenizer: &Tokenizer) {
    let ScoredRecord { record, surprisals, parts, .. } = measured;
    // The index after the fields stands for all text that is not a value.
    let between = parts.fields.len();
    let mut owner = vec![between; record.len() + 1];
    for (number, field) in parts.fields.iter().enumerate() {
        owner[field.value.clone()].fill(number);
    }
    let mut costs = vec![(0.0, 0u64); between + 1];
    let mut owners = owner.into_iter();
    for (place, &nats) in surprisals.places(tokenizer).zip(&surprisals.nats) {
        let length = place.len();
        for field in owners.by_ref().take(length) {
            costs[field].0 += f64::from(nats) / length as f64;
            costs[field].1 += 1;
        }
    }
    let paths = parts.fields.iter().map(|field| field.path.as_str()).chain([""]);
    for (path, (nats, bytes)) in paths.zip(costs).filter(|(_, (_, bytes))| *bytes > 0) {
        let sum = sums.entry(path.to_string()).or_default();
        *sum = (sum.0 + nats, sum.1 + bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fields::parts;
    use crate::score::surprisal::Surprisals;

    #[test]
    fn costs_by_hand() {
        let (tokenizer, record) = (Tokenizer::bytes(), br#"{"a":"xy","b":7}"#.to_vec());
        let tokens: Vec<u32> = record.iter().chain(b"\n").map(|&byte| byte.into()).collect();
        // One nat a byte, three for the bytes of "xy" with its quotes.
        let nats = (0..tokens.len()).map(|at| if (5..9).contains(&at) { 3.0 } else { 1.0 }).collect();
        let surprisals = Surprisals { tokens, nats, stand_ins: Vec::new() };
        let parts = parts(&record, &tokenizer, &surprisals);
        let mut sums = BTreeMap::new();
        add_costs(
            &mut sums,
            &ScoredRecord { record, surprisals, parts, original: None, excused: Vec::new(), disorder: Vec::new() },
            &tokenizer,
        );
        let expected = [("", (12.0, 12)), ("a", (12.0, 4)), ("b", (1.0, 1))];
        assert_eq!(sums, expected.map(|(path, cost)| (path.to_string(), cost)).into());
    }
}
