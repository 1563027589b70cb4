//! The trivial detectors that a model has to beat, fitted to normal records or sessions only.
//!
//! Published detectors often do no better than these on the usual log data sets (Landauer, Skopik and Wurzenberger,
//! 2024).

use super::events::EventIds;
use std::collections::{HashMap, HashSet};

/// Added to every count of a 2-gram, so that an unseen one has a finite surprisal (Lidstone smoothing).
const ALPHA: f64 = 0.1;

/// Maximum number of distinct count vectors that distances are computed to: the first ones of the training set.
const MOST_VECTORS: usize = 1000;

/// Names of the scores of [`Baselines::score`], in their order.
pub const NAMES: [&str; 4] =
    ["unseen events", "unseen count vector", "distance of count vectors", "2-gram maximum surprisal"];

/// (event, count), sorted by event.
type EventCounts = Vec<(u32, u32)>;

/// All baselines, fitted to the same sessions. Memory grows with the number of distinct sessions and 2-grams.
pub struct Baselines {
    ids: EventIds,
    seen: HashSet<EventCounts>,
    /// The first [`MOST_VECTORS`] of `seen`, in the order of the sessions.
    vectors: Vec<EventCounts>,
    /// Counts of 2-grams: an event or the begin mark, then an event or the end mark.
    pairs: HashMap<(u32, u32), u32>,
    /// Counts of the first elements of the 2-grams.
    firsts: HashMap<u32, u32>,
}

impl Baselines {
    /// Fits the baselines to normal sessions, each a sequence of events.
    pub fn fit(sessions: &[Vec<String>]) -> Self {
        let ids = EventIds::learn(sessions);
        let (mut seen, mut vectors) = (HashSet::new(), vec![]);
        let (mut pairs, mut firsts) = (HashMap::new(), HashMap::new());
        for session in sessions {
            let events = ids.of(session);
            let counts = counts(&events);
            if seen.insert(counts.clone()) && vectors.len() < MOST_VECTORS {
                vectors.push(counts);
            }
            for (first, second) in two_grams(&events, ids.len()) {
                *pairs.entry((first, second)).or_default() += 1;
                *firsts.entry(first).or_default() += 1;
            }
        }
        Baselines { ids, seen, vectors, pairs, firsts }
    }

    /// The scores of a session, in the order of `NAMES`:
    ///
    /// 1. the number of distinct events that do not occur in training;
    /// 2. 1 if no training session has the same events equally often (in any order), else 0;
    /// 3. the smallest L1 distance between its event counts and the first 1000 distinct ones of training;
    /// 4. the largest surprisal of an event after the one before it, in nats, between begin and end marks:
    ///    `-ln((n(a b) + alpha) / (n(a) + alpha V))` with alpha = 0.1 and V the number of events in training,
    ///    plus the end and one for all unseen events.
    pub fn score(&self, session: &[String]) -> [f64; 4] {
        let events = self.ids.of(session);
        let counts = counts(&events);
        let known = self.seen.contains(&counts);
        let distance = if known { 0 } else { self.vectors.iter().map(|v| distance(v, &counts)).min().unwrap_or(0) };
        let surprisals = two_grams(&events, self.ids.len()).map(|pair| self.surprisal(pair));
        [self.ids.unseen(session) as f64, f64::from(u8::from(!known)), distance as f64, surprisals.fold(0.0, f64::max)]
    }

    fn surprisal(&self, (first, second): (u32, u32)) -> f64 {
        let pair = self.pairs.get(&(first, second)).copied().unwrap_or(0);
        let all = self.firsts.get(&first).copied().unwrap_or(0);
        let vocabulary = f64::from(self.ids.len()) + 2.0;
        -((f64::from(pair) + ALPHA) / (f64::from(all) + ALPHA * vocabulary)).ln()
    }
}

/// Each event of `events` with its count.
fn counts(events: &[u32]) -> EventCounts {
    let mut sorted = events.to_vec();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect()
}

/// L1 distance: the sum over all events of the difference of their counts.
fn distance(a: &[(u32, u32)], b: &[(u32, u32)]) -> u64 {
    let (mut at, mut other, mut sum) = (0, 0, 0);
    while at < a.len() || other < b.len() {
        let (left, right) = (a.get(at), b.get(other));
        let event = left.iter().chain(&right).map(|counted| counted.0).min().expect("one of them has an event left");
        let count = |counted: Option<&(u32, u32)>| counted.filter(|c| c.0 == event).map_or(0, |c| c.1);
        sum += u64::from(count(left).abs_diff(count(right)));
        at += usize::from(count(left) > 0);
        other += usize::from(count(right) > 0);
    }
    sum
}

/// Pairs of neighbours among begin mark, events, end mark. Events are 0 to `unseen`; the marks follow.
fn two_grams(events: &[u32], unseen: u32) -> impl Iterator<Item = (u32, u32)> {
    let (begin, end) = (unseen + 1, unseen + 2);
    let firsts = std::iter::once(begin).chain(events.iter().copied());
    firsts.zip(events.iter().copied().chain(std::iter::once(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(events: &str) -> Vec<String> {
        events.chars().map(String::from).collect()
    }

    fn fitted() -> Baselines {
        Baselines::fit(&["aab", "aba", "c"].map(session))
    }

    #[test]
    fn unseen_events_are_counted_once_each() {
        let scores = ["abc", "xaxy", ""].map(|events| fitted().score(&session(events))[0]);
        assert_eq!(scores, [0.0, 2.0, 0.0]);
    }

    #[test]
    fn count_vectors_disregard_order_and_measure_distance() {
        let scores = ["baa", "ab", "abc", "x", "aaaa"].map(|events| {
            let all = fitted().score(&session(events));
            (all[1], all[2])
        });
        // ab lacks an a; abc lacks an a and has a c, or has a and b besides c; x has an x and lacks the c; aaaa has two
        // a too many and lacks the b.
        assert_eq!(scores, [(0.0, 0.0), (1.0, 1.0), (1.0, 2.0), (1.0, 2.0), (1.0, 3.0)]);
    }

    #[test]
    fn surprisal_is_that_of_the_rarest_two_gram() {
        // V = a, b, c, end, unseen = 5. After begin (3 times): a twice, c once; after c (once): the end.
        let begin_c = -(1.1f64 / 3.5).ln();
        let c_end = -(1.1f64 / 1.5).ln();
        assert!(begin_c > c_end);
        assert!((fitted().score(&session("c"))[3] - begin_c).abs() < 1e-12);
        // After c never an a; after begin never the end; an unseen event after a, which was seen 4 times.
        for (events, expected) in [("ca", 0.1 / 1.5), ("", 0.1 / 3.5), ("ax", 0.1 / 4.5)] {
            assert!((fitted().score(&session(events))[3] + f64::ln(expected)).abs() < 1e-12, "{events}");
        }
    }

    #[test]
    fn nothing_to_fit_scores_everything_alike() {
        let empty = Baselines::fit(&[]);
        assert_eq!(empty.score(&session("ab"))[..3], [2.0, 1.0, 0.0]);
    }
}
