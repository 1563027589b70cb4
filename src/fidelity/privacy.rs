//! Privacy leakage: what generated records reveal of the training records.

use super::distance::percentile;
use super::pair::{Pair, Share};
use super::spans::{Constant, SpanLengths, Spans, copied};
use crate::record::fields::leaves;
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// Bytes of each side that are searched for copied spans: the automaton takes 70 times as much memory.
const SPAN_BYTES: usize = 1 << 20;

/// Each number is paired with that of the validation records, which no model has copied, as the baseline.
#[derive(Clone, Debug, Serialize)]
pub struct Privacy {
    /// Records that occur in training, byte for byte.
    pub duplicates: Pair<Share>,
    /// Records that occur earlier in their own sample.
    pub repeated: Pair<Share>,
    /// Longest span of each record that some training record has, not counting text that half of the records have.
    pub copied_spans: Pair<SpanLengths>,
    /// Strings at random paths that training has at a random path too, of all such strings.
    pub identifiers: Pair<Share>,
    /// Paths whose strings hardly ever repeat ([`crate::record::schema::Profile::random_paths`]).
    pub random_paths: Vec<String>,
}

/// Two samples of records that are compared with each training record as it is read. Memory is that of the samples.
pub struct Watch<'a> {
    sides: [&'a [Vec<u8>]; 2],
    /// Substrings of the first bytes of both sides, one after the other.
    spans: Spans,
    /// Records of each side that are searched for spans.
    looked_at: [Vec<Vec<u8>>; 2],
    /// Records and identifiers of both sides; whether training has them.
    records: HashMap<&'a [u8], bool>,
    identifiers: HashMap<String, bool>,
    random_paths: &'a [String],
}

impl<'a> Watch<'a> {
    pub fn new(generated: &'a [Vec<u8>], validation: &'a [Vec<u8>], random_paths: &'a [String]) -> Self {
        let sides = [generated, validation];
        let looked_at = sides.map(first_bytes);
        let text: Vec<u8> = looked_at.iter().flatten().flat_map(|record| record.iter().chain(b"\n")).copied().collect();
        let all = || sides.into_iter().flatten();
        Self {
            sides,
            spans: Spans::new(&text),
            looked_at,
            records: all().map(|record| (record.as_slice(), false)).collect(),
            identifiers: all().flat_map(|record| strings(record, random_paths)).map(|text| (text, false)).collect(),
            random_paths,
        }
    }

    /// Compares a training record with the samples.
    pub fn observe(&mut self, record: &[u8]) {
        self.spans.read(record);
        if let Some(seen) = self.records.get_mut(record) {
            *seen = true;
        }
        if !self.identifiers.is_empty() {
            for text in strings(record, self.random_paths) {
                self.identifiers.entry(text).and_modify(|seen| *seen = true);
            }
        }
    }

    pub fn finish(self, constant: &Constant) -> Privacy {
        let each = |measure: &dyn Fn(&'a [Vec<u8>]) -> Share| {
            let [generated, validation] = self.sides.map(measure);
            Pair { generated, validation }
        };
        let duplicates =
            each(&|side| Share::new(count(side.iter().map(|record| self.records[&record[..]])), side.len() as u64));
        let repeated = each(&|side| {
            let mut known = HashSet::new();
            Share::new(count(side.iter().map(|record| !known.insert(record))), side.len() as u64)
        });
        let identifiers = each(&|side| {
            let found: Vec<bool> = side
                .iter()
                .flat_map(|record| strings(record, self.random_paths))
                .map(|text| self.identifiers[&text])
                .collect();
            Share::new(count(found.iter().copied()), found.len() as u64)
        });
        let longest = self.spans.longest();
        let middle = self.looked_at[0].iter().map(|record| record.len() + 1).sum();
        let lengths = |records: &[Vec<u8>], longest: &[u32]| span_lengths(&copied(records, longest, constant));
        let copied_spans = Pair {
            generated: lengths(&self.looked_at[0], &longest[..middle]),
            validation: lengths(&self.looked_at[1], &longest[middle..]),
        };
        Privacy { duplicates, repeated, copied_spans, identifiers, random_paths: self.random_paths.to_vec() }
    }
}

fn count(found: impl Iterator<Item = bool>) -> u64 {
    found.filter(|&found| found).count() as u64
}

fn span_lengths(lengths: &[u32]) -> SpanLengths {
    let of = |share| percentile(lengths.iter().map(|&length| f64::from(length)), share);
    SpanLengths { records: lengths.len(), median: of(0.5), percentile_95: of(0.95), longest: of(1.0) }
}

/// The first records that fit into [`SPAN_BYTES`]; the last one is cut off.
fn first_bytes(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut room = SPAN_BYTES;
    let mut taken = Vec::new();
    for record in records {
        if room == 0 {
            break;
        }
        taken.push(record[..record.len().min(room)].to_vec());
        room = room.saturating_sub(record.len() + 1);
    }
    taken
}

/// The non-empty strings of a record at the given paths.
fn strings(record: &[u8], paths: &[String]) -> Vec<String> {
    if paths.is_empty() {
        return Vec::new();
    }
    let wanted = leaves(record).unwrap_or_default().into_iter().filter(|leaf| paths.contains(&leaf.path));
    wanted.filter_map(|leaf| leaf.text()).filter(|text| !text.is_empty()).collect()
}

/// Exposure in bits of a canary that was planted in training: log2 |R| - log2 rank, for its rank by loss among all
/// texts R that could have been planted in its place. The rank is estimated from a sample of them, so that with n
/// alternatives the exposure is -log2 ((1 + those with at most the canary's loss) / (n + 1)), at most log2 (n + 1)
/// (Carlini et al., "The Secret Sharer", 2019: estimation by sampling). It is about 1 where nothing was memorised.
///
/// `canary` and `alternatives`: surprisals of the whole texts, in nats.
pub fn exposure(canary: f64, alternatives: &[f64]) -> f64 {
    let likelier = alternatives.iter().filter(|&&nats| nats <= canary).count();
    -((1 + likelier) as f64 / (1 + alternatives.len()) as f64).log2()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(texts: &[&str]) -> Vec<Vec<u8>> {
        texts.iter().map(|text| text.as_bytes().to_vec()).collect()
    }

    #[test]
    fn exposure_by_hand() {
        let alternatives = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        assert_eq!(exposure(0.5, &alternatives), 3.0, "first of eight");
        assert_eq!(exposure(3.0, &alternatives), 1.0, "fourth of eight");
        assert_eq!(exposure(9.0, &alternatives), 0.0, "last");
    }

    #[test]
    fn copies_are_counted_by_hand() {
        let paths = ["id".to_string()];
        let training = records(&[r#"{"id":"aaaa1111","x":1}"#, r#"{"id":"bbbb2222","x":1}"#, "plain"]);
        let validation = records(&[r#"{"id":"cccc3333","x":1}"#, r#"{"id":"","x":7}"#]);
        let generated = records(&[
            r#"{"id":"aaaa1111","x":1}"#,
            r#"{"id":"bbbb2222","x":2}"#,
            r#"{"id":"bbbb2222","x":2}"#,
            r#"{"id":"dddd4444","aaaa1111":1}"#,
        ]);
        let mut watch = Watch::new(&generated, &validation, &paths);
        training.iter().for_each(|record| watch.observe(record));
        let found = watch.finish(&Constant::new(&training));
        assert_eq!(found.duplicates, Pair { generated: Share::new(1, 4), validation: Share::new(0, 2) });
        assert_eq!(found.repeated.generated, Share::new(1, 4));
        assert_eq!(found.identifiers, Pair { generated: Share::new(3, 4), validation: Share::new(0, 1) });
        // Constant is `","x":1}` alone, in two records of three. The first record is a copy: 23 bytes without these 8. The
        // second and third have `{"id":"bbbb2222","x":` in common with training, the fourth `{"id":"` and `aaaa1111`.
        let SpanLengths { records, median, percentile_95, longest } = found.copied_spans.generated;
        assert_eq!((records, median, percentile_95, longest), (4, 15.0, 21.0, 21.0));
    }

    #[test]
    fn spans_are_looked_for_in_bounded_text() {
        let taken = first_bytes(&[vec![b'a'; SPAN_BYTES - 3], vec![b'b'; 10], vec![b'c'; 10]]);
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [SPAN_BYTES - 3, 2]);
        assert!(first_bytes(&[]).is_empty());
    }
}
