//! The distinct values of a path in bounded memory: all values while they are few, then a sample.

use std::collections::BTreeMap;

/// The most distinct values, and the longest value in bytes, of a closed category.
pub const MOST_CATEGORIES: usize = 64;
const LONGEST_CATEGORY: usize = 256;
/// The fewest values that allow a conclusion about later ones.
pub const ENOUGH: u64 = 30;
/// The number of distinct values in a sample.
const SAMPLE: usize = 256;

/// Where in a sequence something new was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Novelty {
    pub seen: u64,
    last_new: u64,
}

impl Novelty {
    /// Takes in the next of the sequence, and whether it has something new.
    pub fn add(&mut self, is_new: bool) {
        self.seen += 1;
        if is_new {
            self.last_new = self.seen;
        }
    }

    /// Whether the sequence is settled: its second half had nothing new, and at most 0.1 % of it are things that occurred
    /// once or that ceased in the first half. Then the next one is hardly new. The share of what occurred once is the
    /// estimate of Good and Turing (Good, "The population frequencies of species", Biometrika 1953), which is right where the
    /// order means nothing; the halves tell where novelties come in bursts, as in logs they do. A record has a hundred
    /// paths, and one novelty makes it new.
    pub fn is_settled(&self, mut kinds: impl Iterator<Item = Times>) -> bool {
        let half = self.seen / 2;
        let past = |times: &Times| times.count == 1 || times.last <= half;
        let lost: u64 = kinds.by_ref().filter(past).map(|times| times.count).sum();
        self.last_new <= half.max(1) && 1000 * lost <= self.seen
    }
}

/// How often something was seen, and where last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Times {
    pub count: u64,
    pub last: u64,
}

impl Times {
    pub fn add(&mut self, place: u64) {
        self.count += 1;
        self.last = place;
    }
}

/// The values of a path, as text, with their counts.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum DistinctValues {
    Few(BTreeMap<String, Times>, Novelty),
    Many(HashSample),
}

impl Default for DistinctValues {
    fn default() -> Self {
        DistinctValues::Few(BTreeMap::new(), Novelty::default())
    }
}

impl DistinctValues {
    pub fn add(&mut self, value: &str) {
        match self {
            DistinctValues::Many(sample) => sample.add(hash(value), 1),
            DistinctValues::Few(few, novelty) => {
                if let Some(times) = few.get_mut(value) {
                    novelty.add(false);
                    times.add(novelty.seen);
                    return;
                }
                novelty.add(true);
                if few.len() < MOST_CATEGORIES && value.len() <= LONGEST_CATEGORY {
                    few.insert(value.to_string(), Times { count: 1, last: novelty.seen });
                } else {
                    let mut sample = HashSample::default();
                    few.iter().for_each(|(value, times)| sample.add(hash(value), times.count));
                    sample.add(hash(value), 1);
                    *self = DistinctValues::Many(sample);
                }
            }
        }
    }

    /// The values, if they are a closed category: at least [`ENOUGH`] were seen, at most [`MOST_CATEGORIES`] are distinct, and
    /// they are settled.
    pub fn closed(&self) -> Option<&BTreeMap<String, Times>> {
        let DistinctValues::Few(few, novelty) = self else { return None };
        (novelty.seen >= ENOUGH && novelty.is_settled(few.values().copied())).then_some(few)
    }

    /// Whether there are more distinct values than a closed category may have.
    pub fn are_many(&self) -> bool {
        matches!(self, DistinctValues::Many(_))
    }

    /// The share of distinct values among the values seen: 1 if none repeats, 0 if none was seen.
    pub fn distinct_share(&self) -> f64 {
        match self {
            DistinctValues::Few(few, novelty) => few.len() as f64 / novelty.seen.max(1) as f64,
            DistinctValues::Many(sample) => {
                sample.lowest.len() as f64 / sample.lowest.values().sum::<u64>().max(1) as f64
            }
        }
    }
}

/// The distinct values with the lowest hashes, and their counts. They are a uniform sample of the distinct values, whatever
/// the order and frequency of the values (Gibbons, "Distinct sampling for highly-accurate answers to distinct values
/// queries", VLDB 2001). The counts are exact: a hash that is among the lowest at the end always was.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct HashSample {
    lowest: BTreeMap<u64, u64>,
}

impl HashSample {
    fn add(&mut self, hash: u64, times: u64) {
        if self.lowest.len() == SAMPLE {
            let highest = self.lowest.last_key_value().map_or(0, |(&highest, _)| highest);
            if hash > highest {
                return;
            }
            if !self.lowest.contains_key(&hash) {
                self.lowest.pop_last();
            }
        }
        *self.lowest.entry(hash).or_insert(0) += times;
    }
}

/// 64-bit FNV-1a (Fowler, Noll, Vo). SplitMix64's finaliser then mixes its bits, so that the lowest hashes are a fair
/// sample.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let z = text.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> DistinctValues {
        let mut found = DistinctValues::default();
        values.into_iter().for_each(|value| found.add(value));
        found
    }

    #[test]
    fn a_category_is_closed_when_a_new_value_is_unlikely() {
        let often = |value, times| std::iter::repeat_n(value, times);
        let mixed = |times: usize, first: &'static str| {
            [first, "a", "b", "a"].into_iter().chain((0..times).map(|i| ["a", "b"][i % 2]))
        };
        assert!(of(often("a", 29)).closed().is_none(), "too few to say");
        assert!(of(often("a", 30)).closed().is_some());
        assert!(of(mixed(100, "a")).closed().is_some());
        assert!(of(mixed(900, "c")).closed().is_none(), "1 of 904 is more than 0.1 %");
        assert!(of(mixed(1000, "c")).closed().is_some());
        assert!(of(mixed(1000, "c").chain(["d"])).closed().is_none(), "new values come until the end");
        assert!(of(often("a", 100).chain(often("b", 120))).closed().is_none(), "values come and go");
        let long = "x".repeat(LONGEST_CATEGORY + 1);
        assert!(of(often(&long, 100)).closed().is_none());
    }

    #[test]
    fn many_values_keep_an_exact_sample() {
        let names: Vec<String> = (0..5_000).map(|i| format!("value {i}")).collect();
        let once = of(names.iter().map(String::as_str));
        assert_eq!(once.distinct_share(), 1.0);
        assert!(once.closed().is_none());
        let four_times = of((0..4).flat_map(|_| names.iter().map(String::as_str)));
        assert_eq!(four_times.distinct_share(), 0.25);
        let DistinctValues::Many(sample) = four_times else { panic!("more than a few") };
        assert_eq!((sample.lowest.len(), sample.lowest.values().sum::<u64>()), (SAMPLE, 4 * SAMPLE as u64));
        assert_eq!(of(["a", "a", "b", "a"]).distinct_share(), 0.5);
    }
}
