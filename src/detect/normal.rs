//! What normal records hold: which values occur at which paths, which of them together, and in which sequences. The trivial
//! detectors are questions to it.

use super::observed::{Observed, ObservedValue, count_up, pair};
use super::packed;
use super::sequences::Sequences;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A path with more distinct values than this is not categorical, which bounds its memory.
const MOST_VALUES: usize = 100_000;
/// Highest estimated probability that the next value of a categorical path is a new one.
pub const MOST_NEW: f64 = 0.05;
/// Paths whose values are looked at in pairs: those of the most records.
const MOST_PAIRED: usize = 48;
/// Pairs of values that are kept; of further ones none counts as never seen.
const MOST_PAIRS: usize = 500_000;

/// The trivial detectors, in the order of [`Novelty::columns`].
pub const NAMES: [&str; 6] = [
    "unseen events",
    "unseen count vector",
    "distance of count vectors",
    "2-gram maximum surprisal",
    "values never seen",
    "pairs never seen",
];
/// Places in [`Novelty::columns`].
pub const DISTANCE: usize = 2;
pub const TWO_GRAM: usize = 3;
pub const VALUES: usize = 4;
pub const PAIRS: usize = 5;

/// What is learnt of normal records. Memory grows with the number of distinct values, of pairs of them and of 2-grams.
///
/// A path is *categorical* when its values recur: the probability that its next value is new is at most 5 %. That is the fraction of
/// the values that were seen exactly once (the Good-Turing estimate; Good, 1953), or the fraction of those in the last quarter of
/// the records that the quarters before did not have, if it is larger. The *events* of a JSON record are its values
/// where the path is categorical, else the paths alone; those of a line of text are its words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Normal {
    records: u32,
    /// Each path and how many values it had.
    #[serde(with = "packed")]
    paths: HashMap<u64, u32>,
    /// Categorical paths and how many of their values would be new beside the others.
    #[serde(with = "packed")]
    categorical: HashMap<u64, u32>,
    /// Values of categorical paths and how often they were seen.
    #[serde(with = "packed")]
    values: HashMap<u64, u32>,
    /// Paths whose values are looked at in pairs, and their numbers of records.
    #[serde(with = "packed")]
    paired: HashMap<u64, u32>,
    /// The first value of a paired path in each record: how many records have it.
    #[serde(with = "packed")]
    firsts: HashMap<u64, u32>,
    /// Pairs of values, and pairs of paths, and how many records have both.
    #[serde(with = "packed")]
    pairs: HashMap<u64, u32>,
    sequences: Sequences,
}

/// What is new about a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Novelty {
    /// A number for each of [`NAMES`], the larger the more unusual:
    ///
    /// 1. the number of distinct events that normal records never have;
    /// 2. 1 if no normal record has the same events equally often (in any order), else 0;
    /// 3. the smallest L1 distance between its event counts and those of normal records;
    /// 4. the largest surprisal of an event after the one before it, in nats;
    /// 5. the sum of -ln p over its paths with a value that was never seen there, p being the Good-Turing estimate for such a
    ///    value, and likewise of paths that were never seen;
    /// 6. the number of times that pairs of its values should have been seen together if they were independent, summed over the
    ///    pairs that never were: -ln of the probability of never by chance (Poisson).
    pub columns: [f64; 6],
    /// The evidence of 5 for each value of the record, in nats; 0 for those that were seen.
    pub new_values: Vec<f64>,
    /// For each value of the record the evidence of 6 that it is part of, in nats, and the place of the value that adds most to it.
    pub new_pairs: Vec<(f64, usize)>,
}

/// The values of one path, and how often each was seen.
#[derive(Default)]
struct Values {
    times: HashMap<u64, u32>,
    /// Those that the last quarter of the records has, and the first three quarters have not.
    late: HashSet<u64>,
    /// The number of values in the last quarter.
    in_last: u32,
}

impl Values {
    fn add(&mut self, value: u64, is_late: bool) {
        self.in_last += u32::from(is_late);
        if is_late && self.times.len() < MOST_VALUES && !self.times.contains_key(&value) {
            self.late.insert(value);
        }
        count_up(&mut self.times, value, MOST_VALUES);
    }

    /// How many of `count` values would be new beside as many others: those that were seen once (Good-Turing), or more of them
    /// where values come in bursts. All records of a session have its identifier, which none before had and none will have after.
    fn expected_new(&self, count: u32) -> u32 {
        let once = self.times.values().filter(|times| **times == 1).count() as u32;
        let late: u32 = self.late.iter().map(|value| self.times[value]).filter(|times| *times > 1).sum();
        let in_bursts = f64::from(late) / f64::from(self.in_last.max(1)) * f64::from(count);
        once.max(in_bursts as u32)
    }
}

impl Normal {
    pub fn learn<'a>(records: impl Iterator<Item = &'a Observed> + Clone) -> Self {
        let mut normal = Normal { records: records.clone().count() as u32, ..Normal::default() };
        normal.learn_values(records.clone());
        normal.learn_pairs(records.clone());
        let events: Vec<Vec<u64>> = records.map(|record| normal.events(record)).collect();
        normal.sequences = Sequences::learn(&events);
        normal
    }

    fn learn_values<'a>(&mut self, records: impl Iterator<Item = &'a Observed>) {
        let mut seen: HashMap<u64, Values> = HashMap::new();
        let late = self.records - self.records / 4;
        for (number, value) in
            (0..).zip(records).flat_map(|(n, record)| record.values.iter().map(move |value| (n, value)))
        {
            *self.paths.entry(value.path).or_default() += 1;
            seen.entry(value.path).or_default().add(value.value, number >= late);
        }
        for (path, values) in seen {
            let count = self.paths[&path];
            let once = values.expected_new(count);
            if values.times.len() < MOST_VALUES && f64::from(once) <= MOST_NEW * f64::from(count) {
                self.categorical.insert(path, once);
                self.values.extend(values.times);
            }
        }
    }

    fn learn_pairs<'a>(&mut self, records: impl Iterator<Item = &'a Observed> + Clone) {
        let mut variants: HashMap<u64, HashSet<u64>> = HashMap::new();
        for record in records.clone() {
            for value in record.values.iter().filter(|value| self.categorical.contains_key(&value.path)) {
                let known = variants.entry(value.path).or_default();
                if known.len() < 2 {
                    known.insert(value.value);
                }
            }
        }
        let varies = |path: &u64| variants.get(path).is_some_and(|values| values.len() > 1);
        let mut paths: Vec<(u32, u64)> =
            self.paths.iter().filter(|(path, _)| varies(path)).map(|(path, n)| (*n, *path)).collect();
        paths.sort_unstable_by(|a, b| b.cmp(a));
        self.paired = paths.into_iter().take(MOST_PAIRED).map(|(_, path)| (path, 0)).collect();
        for record in records {
            let firsts = self.firsts_of(record);
            for (number, (_, first)) in firsts.iter().enumerate() {
                *self.paired.get_mut(&first.path).expect("a paired path") += 1;
                *self.firsts.entry(first.value).or_default() += 1;
                for (_, second) in &firsts[number + 1..] {
                    *self.pairs.entry(pair(first.path, second.path)).or_default() += 1;
                    count_up(&mut self.pairs, pair(first.value, second.value), MOST_PAIRS);
                }
            }
        }
    }

    /// The first value at each paired path with its place, in the order of the paths.
    fn firsts_of(&self, record: &Observed) -> Vec<(usize, ObservedValue)> {
        let paired = record.values.iter().enumerate().filter(|(_, value)| self.paired.contains_key(&value.path));
        let mut firsts: Vec<(usize, ObservedValue)> = paired.map(|(place, value)| (place, *value)).collect();
        firsts.sort_by_key(|(place, value)| (value.path, *place));
        firsts.dedup_by_key(|(_, value)| value.path);
        firsts
    }

    /// The events of a record, in order.
    fn events(&self, record: &Observed) -> Vec<u64> {
        match record.words.is_empty() {
            false => record.words.clone(),
            true => record.values.iter().map(|value| self.event(value)).collect(),
        }
    }

    fn event(&self, value: &ObservedValue) -> u64 {
        if self.categorical.contains_key(&value.path) { value.value } else { value.path }
    }

    /// What is new about a record; `is_own`: the record is one of those that were learnt, and is compared with the others.
    pub fn novelty(&self, record: &Observed, is_own: bool) -> Novelty {
        let own = u32::from(is_own);
        let [unseen, vector, distance, two_gram] = self.sequences.score(&self.events(record), is_own);
        let new_values = self.new_values(record, own);
        let (pairs, new_pairs) = self.new_pairs(record, own);
        // A path that stands several times counts once.
        let mut by_path: HashMap<u64, f64> = HashMap::new();
        for (value, nats) in record.values.iter().zip(&new_values).filter(|(_, nats)| **nats > 0.0) {
            let most = by_path.entry(value.path).or_default();
            *most = most.max(*nats);
        }
        let mut sorted: Vec<f64> = by_path.into_values().collect();
        sorted.sort_by(f64::total_cmp);
        let values = sorted.iter().sum::<f64>();
        Novelty { columns: [unseen, vector, distance, two_gram, values, pairs], new_values, new_pairs }
    }

    fn new_values(&self, record: &Observed, own: u32) -> Vec<f64> {
        let estimate = |once: u32, seen: u32| f64::from(seen + 1).ln() - f64::from(once.saturating_sub(own) + 1).ln();
        let evidence = |value: &ObservedValue| {
            let seen = self.paths.get(&value.path).copied().unwrap_or(0);
            if seen <= own {
                return estimate(self.paths.values().filter(|n| **n == 1).count() as u32, self.records);
            }
            match self.categorical.get(&value.path) {
                Some(&once) if self.values.get(&value.value).is_none_or(|n| *n <= own) => estimate(once, seen),
                _ => 0.0,
            }
        };
        record.values.iter().map(evidence).collect()
    }

    fn new_pairs(&self, record: &Observed, own: u32) -> (f64, Vec<(f64, usize)>) {
        let mut found: Vec<(f64, f64, usize)> = vec![(0.0, 0.0, 0); record.values.len()];
        let mut sum = 0.0;
        if self.pairs.len() >= MOST_PAIRS {
            return (sum, vec![(0.0, 0); record.values.len()]);
        }
        let firsts = self.firsts_of(record);
        // Only the pair itself is taken off for a learnt record, so that pairs weigh the same in a learnt record as in a new one.
        let times = |counts: &HashMap<u64, u32>, key: u64| counts.get(&key).copied().unwrap_or(0);
        let share = |value: &ObservedValue| match times(&self.firsts, value.value) {
            count if count <= own => 0.0,
            count => f64::from(count) / f64::from(self.paired[&value.path].max(1)),
        };
        for (number, (place, first)) in firsts.iter().enumerate() {
            let one = share(first);
            if one == 0.0 {
                continue;
            }
            for (other_place, second) in &firsts[number + 1..] {
                if times(&self.pairs, pair(first.value, second.value)) > own {
                    continue;
                }
                let other = share(second);
                let expected = one * other * f64::from(times(&self.pairs, pair(first.path, second.path)));
                sum += expected;
                for (here, there) in [(*place, *other_place), (*other_place, *place)] {
                    let (all, most, partner) = found[here];
                    let with = if expected > most { (expected, there) } else { (most, partner) };
                    found[here] = (all + expected, with.0, with.1);
                }
            }
        }
        (sum, found.into_iter().map(|(all, _, partner)| (all, partner)).collect())
    }

    /// The share of the values at its path that are this value; 0 where the path is not categorical.
    pub fn share(&self, value: &ObservedValue) -> f64 {
        let seen = self.values.get(&value.value).map_or(0.0, |count| f64::from(*count));
        seen / f64::from(self.paths.get(&value.path).copied().unwrap_or(0).max(1))
    }

    /// The number of records that were learnt.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Checks what is always so; the error says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.categorical.keys().any(|path| !self.paths.contains_key(path)) {
            return Err("a categorical path is none of the paths".to_string());
        }
        self.sequences.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(records: &[String]) -> (Normal, Vec<Observed>) {
        let observed: Vec<Observed> = records.iter().map(|record| Observed::of(record.as_bytes())).collect();
        (Normal::learn(observed.iter()), observed)
    }

    fn records() -> Vec<String> {
        let user = |i: usize| ["ann", "bob"][i % 2];
        let host = |i: usize| ["a1", "b1", "a1", "b1"][i % 4];
        (0..100).map(|i| format!(r#"{{"id":"{i:x}","user":"{}","host":"{}","n":7}}"#, user(i), host(i))).collect()
    }

    fn novelty(normal: &Normal, record: &str) -> Novelty {
        normal.novelty(&Observed::of(record.as_bytes()), false)
    }

    #[test]
    fn values_that_recur_are_events_and_others_are_not() {
        let (normal, observed) = learnt(&records());
        assert_eq!(normal.categorical.len(), 3, "user, host, n");
        assert_eq!(normal.events(&observed[0])[0], observed[0].values[0].path);
        assert_eq!(normal.events(&observed[0])[1], observed[0].values[1].value);
        let of = |once: usize| {
            let record = |i: usize| if i < once { format!("{{\"a\":{i}}}") } else { "{\"a\":\"x\"}".into() };
            learnt(&(0..100).map(record).collect::<Vec<_>>()).0.categorical.len()
        };
        assert_eq!((of(5), of(6)), (1, 0), "five new values in a hundred are the limit");
    }

    #[test]
    fn values_that_recur_only_in_bursts_are_no_events() {
        let record = |i: usize| format!(r#"{{"session":"s{}","user":"u{}"}}"#, i / 4, i / 4 % 10);
        let (normal, observed) = learnt(&(0..400).map(record).collect::<Vec<_>>());
        assert_eq!(normal.categorical.len(), 1, "the user");
        assert!(normal.categorical.contains_key(&observed[0].values[1].path));
        // Users of whom each quarter has four new ones: 4 of 100, although each was seen five times.
        let record = |i: usize| format!(r#"{{"user":"u{}"}}"#, if i.is_multiple_of(5) { 100 + i / 25 } else { i % 5 });
        let (normal, observed) = learnt(&(0..400).map(record).collect::<Vec<_>>());
        assert_eq!(normal.categorical.get(&observed[0].values[0].path), None, "20 in a hundred");
        let record = |i: usize| format!(r#"{{"user":"u{}"}}"#, if i.is_multiple_of(25) { 100 + i / 50 } else { i % 5 });
        let (normal, observed) = learnt(&(0..400).map(record).collect::<Vec<_>>());
        assert_eq!(normal.categorical[&observed[0].values[0].path], 16, "4 in a hundred, none of them seen once");
    }

    #[test]
    fn values_and_pairs_that_never_were_are_evidence() {
        let (normal, _) = learnt(&records());
        let known = novelty(&normal, r#"{"id":"zz","user":"ann","host":"a1","n":7}"#);
        assert_eq!((known.columns[VALUES], known.columns[PAIRS]), (0.0, 0.0));
        // No value was seen once: 1 of 101.
        let new = novelty(&normal, r#"{"id":"zz","user":"eve","host":"a1","n":7}"#);
        assert!((new.columns[VALUES] - 101f64.ln()).abs() < 1e-9 && new.columns[PAIRS] == 0.0);
        assert_eq!(new.new_values.iter().filter(|nats| **nats > 0.0).count(), 1);
        // Each half of the records has one of the values: by chance 25 of 100 had both.
        let pair = novelty(&normal, r#"{"id":"zz","user":"ann","host":"b1","n":7}"#);
        assert_eq!((pair.columns[VALUES], pair.columns[PAIRS]), (0.0, 25.0));
        assert_eq!(pair.new_pairs, [(0.0, 0), (25.0, 2), (25.0, 1), (0.0, 0)]);
        let path = novelty(&normal, r#"{"id":"zz","user":"ann","host":"a1","n":7,"extra":1}"#);
        assert!((path.columns[VALUES] - 101f64.ln()).abs() < 1e-9, "a path that never was");
    }

    #[test]
    fn a_learnt_record_is_compared_with_the_others() {
        let mut all = records();
        all.push(r#"{"id":"q","user":"eve","host":"b1","n":7}"#.into());
        let (normal, observed) = learnt(&all);
        let (own, again) = (normal.novelty(&observed[100], true), normal.novelty(&observed[100], false));
        assert!(own.columns[VALUES] > 0.0 && again.columns[VALUES] == 0.0);
        let (others, _) = learnt(&all[..100]);
        let expected = others.novelty(&observed[100], false);
        assert!((own.columns[VALUES] - expected.columns[VALUES]).abs() < 0.02, "{own:?} {expected:?}");
        assert_eq!(own.columns[..3], expected.columns[..3]);
        assert!(normal.check().is_ok());
        let text = serde_json::to_string(&normal).unwrap();
        assert_eq!(serde_json::from_str::<Normal>(&text).unwrap(), normal);
    }
}
