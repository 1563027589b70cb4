//! The events of normal records as sequences: their count vectors and 2-grams.
//!
//! Published detectors often do no better than these on the usual log data sets (Landauer, Skopik and Wurzenberger, 2024).

use super::observed::{count_up, pair};
use super::packed;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Added to every count of a 2-gram, so that an unseen one has a finite surprisal (Lidstone smoothing).
const ALPHA: f64 = 0.1;
/// Maximum number of distinct count vectors that distances are computed to: the first ones.
const MOST_VECTORS: usize = 5000;
/// Distinct 2-grams that are kept.
const MOST_PAIRS: usize = 500_000;
/// Stand for the beginning and the end of a sequence.
const BEGIN: u64 = 1;
const END: u64 = 2;

/// (event, count), sorted by event.
type EventCounts = Vec<(u64, u32)>;

/// Memory grows with the number of distinct events and 2-grams.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sequences {
    /// Each event and how many sequences have it.
    #[serde(with = "packed")]
    events: HashMap<u64, u32>,
    /// Each count vector, as a hash, and how many sequences have it.
    #[serde(with = "packed")]
    seen: HashMap<u64, u32>,
    /// The first [`MOST_VECTORS`] distinct ones.
    vectors: Vec<EventCounts>,
    /// Counts of 2-grams: an event or the beginning, then an event or the end.
    #[serde(with = "packed")]
    pairs: HashMap<u64, u32>,
    /// Counts of the first elements of the 2-grams.
    #[serde(with = "packed")]
    firsts: HashMap<u64, u32>,
}

impl Sequences {
    pub fn learn(sequences: &[Vec<u64>]) -> Self {
        let mut learnt = Sequences::default();
        for events in sequences {
            let counts = counts(events);
            counts.iter().for_each(|(event, _)| *learnt.events.entry(*event).or_default() += 1);
            let times = learnt.seen.entry(hashed(&counts)).or_default();
            *times += 1;
            if *times == 1 && learnt.vectors.len() < MOST_VECTORS {
                learnt.vectors.push(counts);
            }
            for (first, second) in two_grams(events) {
                *learnt.firsts.entry(first).or_default() += 1;
                count_up(&mut learnt.pairs, pair(first, second), MOST_PAIRS);
            }
        }
        learnt
    }

    /// The first four columns of [`super::Novelty`]; `is_own`: the sequence is one of those that were learnt, and is compared with
    /// the others. The surprisal of b after a is `-ln((n(a b) + alpha) / (n(a) + alpha V))` with alpha = 0.1 and V the number of
    /// events, plus the end and one for all unseen events.
    pub fn score(&self, events: &[u64], is_own: bool) -> [f64; 4] {
        let own = u32::from(is_own);
        let counts = counts(events);
        let unseen = counts.iter().filter(|(event, _)| self.events.get(event).is_none_or(|n| *n <= own)).count();
        let known = self.seen.get(&hashed(&counts)).is_some_and(|n| *n > own);
        let others = self.vectors.iter().filter(|vector| !is_own || **vector != counts);
        let nearest = others.fold(None, |nearest, vector| Some(distance(vector, &counts, nearest.unwrap_or(u64::MAX))));
        let distance = if known { 0 } else { nearest.unwrap_or(0) };
        let two_gram = self.surprisals(events, is_own).into_iter().fold(0.0, f64::max);
        [unseen as f64, f64::from(u8::from(!known)), distance as f64, two_gram]
    }

    /// The surprisal of each 2-gram.
    fn surprisals(&self, events: &[u64], is_own: bool) -> Vec<f64> {
        let vocabulary = self.events.len() as f64 + 2.0;
        // A learnt sequence takes its own 2-grams off, each as often as it has it. The counts of first elements stay, so that a
        // 2-gram that no other sequence has is exactly as surprising in a learnt sequence as in a new one.
        let mut own_pairs: HashMap<u64, u32> = HashMap::new();
        if is_own {
            two_grams(events).for_each(|(first, second)| *own_pairs.entry(pair(first, second)).or_default() += 1);
        }
        let times = |counts: &HashMap<u64, u32>, key: u64| counts.get(&key).copied().unwrap_or(0);
        let surprisal = |(first, second): (u64, u64)| {
            let key = pair(first, second);
            let both = f64::from(times(&self.pairs, key).saturating_sub(times(&own_pairs, key)));
            -((both + ALPHA) / (f64::from(times(&self.firsts, first)) + ALPHA * vocabulary)).ln()
        };
        // An unseen event is one kind of event, whatever it is.
        two_grams(events).map(surprisal).collect()
    }

    /// The place of the most surprising 2-gram of a new sequence: n is that of event n with the one before it.
    pub fn rarest_step(&self, events: &[u64]) -> usize {
        let surprisals = self.surprisals(events, false);
        (0..surprisals.len()).max_by(|a, b| surprisals[*a].total_cmp(&surprisals[*b]).then(b.cmp(a))).unwrap_or(0)
    }

    /// Checks what is always so; the error says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        match self.vectors.len() > MOST_VECTORS {
            true => Err(format!("{} count vectors, expected at most {MOST_VECTORS}", self.vectors.len())),
            false => Ok(()),
        }
    }
}

/// Each event of `events` with its count.
fn counts(events: &[u64]) -> EventCounts {
    let mut sorted = events.to_vec();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect()
}

fn hashed(counts: &[(u64, u32)]) -> u64 {
    counts.iter().fold(counts.len() as u64, |hash, (event, count)| pair(pair(hash, *event), (*count).into()))
}

/// L1 distance: the sum over all events of the difference of their counts; `most` where it is larger.
fn distance(a: &[(u64, u32)], b: &[(u64, u32)], most: u64) -> u64 {
    let (mut at, mut other, mut sum) = (0, 0, 0);
    while sum < most && (at < a.len() || other < b.len()) {
        let (left, right) = (a.get(at), b.get(other));
        let event = left.iter().chain(&right).map(|counted| counted.0).min().expect("one of them has an event left");
        let count = |counted: Option<&(u64, u32)>| counted.filter(|c| c.0 == event).map_or(0, |c| c.1);
        sum += u64::from(count(left).abs_diff(count(right)));
        at += usize::from(count(left) > 0);
        other += usize::from(count(right) > 0);
    }
    sum.min(most)
}

/// Pairs of neighbours among the beginning, the events, the end.
pub fn two_grams(events: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    let firsts = std::iter::once(BEGIN).chain(events.iter().copied());
    firsts.zip(events.iter().copied().chain(std::iter::once(END)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(events: &str) -> Vec<u64> {
        events.bytes().map(u64::from).collect()
    }

    fn learnt() -> Sequences {
        Sequences::learn(&["aab", "aba", "c"].map(sequence))
    }

    fn score(events: &str) -> [f64; 4] {
        learnt().score(&sequence(events), false)
    }

    #[test]
    fn unseen_events_are_counted_once_each() {
        assert_eq!(["abc", "xaxy", ""].map(|events| score(events)[0]), [0.0, 2.0, 0.0]);
    }

    #[test]
    fn count_vectors_disregard_order_and_measure_distance() {
        let scores = ["baa", "ab", "abc", "x", "aaaa"].map(|events| (score(events)[1], score(events)[2]));
        // ab lacks an a; abc lacks an a and has a c, or has a and b besides c; x has an x and lacks the c; aaaa has two
        // a too many and lacks the b.
        assert_eq!(scores, [(0.0, 0.0), (1.0, 1.0), (1.0, 2.0), (1.0, 2.0), (1.0, 3.0)]);
    }

    #[test]
    fn surprisal_is_that_of_the_rarest_two_gram() {
        // V = a, b, c, end, unseen = 5. After begin (3 times): a twice, c once; after c (once): the end.
        for (events, expected) in [("c", 1.1 / 3.5), ("ca", 0.1 / 1.5), ("", 0.1 / 3.5), ("ax", 0.1 / 4.5)] {
            assert!((score(events)[3] + f64::ln(expected)).abs() < 1e-12, "{events}");
        }
    }

    #[test]
    fn a_learnt_sequence_is_compared_with_the_others() {
        let all = ["aab", "aba", "c", "cc"].map(sequence);
        let learnt = Sequences::learn(&all);
        for (left_out, events) in all.iter().enumerate() {
            let others: Vec<_> =
                all.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, s)| s.clone()).collect();
            let (own, expected) = (learnt.score(events, true), Sequences::learn(&others).score(events, false));
            assert_eq!(own[..3], expected[..3], "{events:?}");
        }
        // V = 5. No other sequence has c after c, which was a first element three times.
        assert!((learnt.score(&all[3], true)[3] + f64::ln(0.1 / 3.5)).abs() < 1e-12);
        assert_eq!(Sequences::learn(&[]).score(&sequence("ab"), false)[..3], [2.0, 1.0, 0.0]);
    }
}
