//! Distances between the generated and the real values of a field, and between real ones.

use super::samples::IndexRng;
use super::table::{ABSENT, RecordTable, ValueIds};
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Maximum number of frequent values of a field that have a bin of their own; the others share one.
const MOST_BINS: usize = 50;
/// Numbers with more distinct values than this are binned by size.
const MOST_NUMBERS: usize = 20;
/// Number of pairs of samples that a band is estimated from.
const RESAMPLES: usize = 200;

/// Distances of one field.
#[derive(Clone, Debug, Serialize)]
pub struct FieldDistance {
    pub path: String,
    /// `category` or `number`.
    pub kind: &'static str,
    pub bins: usize,
    /// Generated against validation records.
    pub generated: Distances,
    /// Training against validation records: the distances of a model that learnt its training data perfectly.
    pub training: Distances,
    /// 2.5th and 97.5th percentile of the distances between two samples of real records, as large as the generated and the
    /// validation ones (percentile bootstrap: Efron and Tibshirani, 1993).
    pub band_low: Distances,
    pub band_high: Distances,
    /// The generated total variation lies above the band, so it is not chance.
    pub outside: bool,
}

impl FieldDistance {
    /// Whether all generated and real records have the same value here.
    pub fn is_constant(&self) -> bool {
        self.generated.total_variation == 0.0 && self.band_high.total_variation == 0.0
    }
}

/// Distances of two distributions over the same bins, each 0 (the same) to 1 (nothing in common).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distances {
    pub total_variation: f64,
    pub jensen_shannon: f64,
}

impl Distances {
    fn new(p: &[f64], q: &[f64]) -> Self {
        Self { total_variation: total_variation(p, q), jensen_shannon: jensen_shannon(p, q) }
    }
}

/// Total variation distance, half the sum of |p - q|: the largest difference in probability of any event.
/// `p` and `q`: (bins), each of sum 1.
pub fn total_variation(p: &[f64], q: &[f64]) -> f64 {
    (p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0).min(1.0)
}

/// Jensen-Shannon distance: the square root of the Jensen-Shannon divergence in bits, JSD = H((p + q) / 2) - H(p) / 2 - H(q) / 2
/// (Lin, "Divergence measures based on the Shannon entropy", 1991; that the root is a metric: Endres and Schindelin, 2003).
/// `p` and `q`: (bins), each of sum 1.
pub fn jensen_shannon(p: &[f64], q: &[f64]) -> f64 {
    let term = |p: f64, q: f64| if p > 0.0 { p * (2.0 * p / (p + q)).log2() } else { 0.0 };
    let divergence: f64 = p.iter().zip(q).map(|(&p, &q)| (term(p, q) + term(q, p)) / 2.0).sum();
    divergence.clamp(0.0, 1.0).sqrt()
}

/// How the values of a field fall into bins. Bin 0 is for absent values, bin 1 for values that training has rarely or never.
enum Bins {
    /// The most frequent values of training.
    Categories(HashMap<u32, u16>),
    /// Upper ends of the lower nine tenths of the training values.
    Numbers(Vec<f64>),
}

impl Bins {
    fn new(training: &[u32], values: &ValueIds) -> Self {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        training.iter().filter(|&&value| value != ABSENT).for_each(|&value| *counts.entry(value).or_default() += 1);
        let mut numbers: Vec<f64> = training.iter().filter_map(|&value| values.text(value).parse().ok()).collect();
        let present: usize = counts.values().sum();
        if counts.len() > MOST_NUMBERS && 10 * numbers.len() >= 9 * present {
            numbers.sort_unstable_by(f64::total_cmp);
            let mut ends: Vec<f64> = (1..10).map(|tenth| numbers[(numbers.len() * tenth / 10).max(1) - 1]).collect();
            ends.dedup();
            return Bins::Numbers(ends);
        }
        let mut frequent: Vec<(u32, usize)> = counts.into_iter().collect();
        frequent.sort_by_key(|&(value, count)| (std::cmp::Reverse(count), value));
        Bins::Categories(frequent.iter().take(MOST_BINS).zip(2..).map(|(&(value, _), bin)| (value, bin)).collect())
    }

    fn len(&self) -> usize {
        match self {
            Bins::Categories(bins) => bins.len() + 2,
            Bins::Numbers(ends) => ends.len() + 3,
        }
    }

    fn kind(&self) -> &'static str {
        if matches!(self, Bins::Categories(_)) { "category" } else { "number" }
    }

    fn bin(&self, value: u32, values: &ValueIds) -> u16 {
        match self {
            _ if value == ABSENT => 0,
            Bins::Categories(bins) => bins.get(&value).copied().unwrap_or(1),
            Bins::Numbers(ends) => {
                let bin = |number: f64| ends.partition_point(|&end| end < number) as u16 + 2;
                values.text(value).parse().map_or(1, bin)
            }
        }
    }

    /// The bin of each record; all absent where the table has no such path.
    fn apply(&self, table: &RecordTable, path: &str, values: &ValueIds) -> Vec<u16> {
        match table.column(path) {
            None => vec![0; table.records],
            Some(column) => column.iter().map(|&value| self.bin(value, values)).collect(),
        }
    }
}

fn shares(bins: impl ExactSizeIterator<Item = u16>, count: usize) -> Vec<f64> {
    let all = bins.len().max(1) as f64;
    let mut counts = vec![0u32; count];
    bins.for_each(|bin| counts[usize::from(bin)] += 1);
    counts.into_iter().map(|count| f64::from(count) / all).collect()
}

/// The three tables whose fields are compared; none is empty.
pub struct Sides<'a> {
    pub training: &'a RecordTable,
    pub validation: &'a RecordTable,
    pub generated: &'a RecordTable,
    pub values: &'a ValueIds,
}

/// Distances of the fields that training has, except those in `left_out`, the farthest first.
///
/// Numbers with many values are binned by the deciles of training, other fields by their 50 most frequent values.
pub fn fields(sides: &Sides, left_out: &[String], seed: u64) -> Vec<FieldDistance> {
    let real = sides.training.records + sides.validation.records;
    let mut draws = IndexRng::new(seed);
    let mut draw = |n: usize| -> Vec<u32> { (0..n).map(|_| draws.below(real) as u32).collect() };
    let pairs: Vec<[Vec<u32>; 2]> =
        (0..RESAMPLES).map(|_| [draw(sides.generated.records), draw(sides.validation.records)]).collect();
    let paths: Vec<&String> = sides.training.columns.keys().filter(|path| !left_out.contains(path)).collect();
    let mut fields: Vec<FieldDistance> = paths.into_par_iter().map(|path| field(sides, path, &pairs)).collect();
    // First the fields beyond chance by how far they are beyond it, then the others by their distance.
    let rank = |field: &FieldDistance| {
        let excess = field.generated.total_variation - field.band_high.total_variation;
        if field.outside { 2.0 + excess } else { field.generated.total_variation }
    };
    fields.sort_by(|a, b| rank(b).total_cmp(&rank(a)).then_with(|| a.path.cmp(&b.path)));
    fields
}

fn field(sides: &Sides, path: &str, pairs: &[[Vec<u32>; 2]]) -> FieldDistance {
    let bins = Bins::new(sides.training.column(path).unwrap_or_default(), sides.values);
    let count = bins.len();
    let [mut real, validation, generated] =
        [sides.training, sides.validation, sides.generated].map(|table| bins.apply(table, path, sides.values));
    let [p_training, p_validation, p_generated] =
        [&real, &validation, &generated].map(|side| shares(side.iter().copied(), count));
    real.extend(validation);
    let resampled = |sample: &[u32]| shares(sample.iter().map(|&at| real[at as usize]), count);
    let band: Vec<Distances> = pairs.iter().map(|[a, b]| Distances::new(&resampled(a), &resampled(b))).collect();
    let percentile = |share: f64| Distances {
        total_variation: percentile(band.iter().map(|pair| pair.total_variation), share),
        jensen_shannon: percentile(band.iter().map(|pair| pair.jensen_shannon), share),
    };
    let generated = Distances::new(&p_generated, &p_validation);
    let band_high = percentile(0.975);
    FieldDistance {
        path: path.to_string(),
        kind: bins.kind(),
        bins: count,
        generated,
        training: Distances::new(&p_training, &p_validation),
        band_low: percentile(0.025),
        band_high,
        outside: generated.total_variation > band_high.total_variation + 1e-9,
    }
}

/// The value below which `share` of the values lie (nearest rank); 0 for no values.
pub fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// Number of training values that a sample has at least once, over all categorical fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Coverage {
    /// Values that training has twice or more.
    pub values: u64,
    pub covered: u64,
    /// How many of them as many real records would have on average, if each value had the probability p that it has in
    /// training: the sum of 1 - (1 - p)^n. Rare values are overestimated, so real records too fall a little short of it.
    pub expected: f64,
    /// Of these, values in at most 1 % of the training records.
    pub rare: u64,
    pub rare_covered: u64,
    pub rare_expected: f64,
}

/// Coverage of the training values by `sample`, except for the fields in `left_out` and numbers with many values.
pub fn coverage(training: &RecordTable, sample: &RecordTable, values: &ValueIds, left_out: &[String]) -> Coverage {
    let mut total = Coverage::default();
    for (path, column) in training.columns.iter().filter(|(path, _)| !left_out.contains(path)) {
        if matches!(Bins::new(column, values), Bins::Numbers(_)) {
            continue;
        }
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        column.iter().filter(|&&value| value != ABSENT).for_each(|&value| *counts.entry(value).or_default() += 1);
        let mut found: Vec<u32> = sample.column(path).unwrap_or_default().to_vec();
        found.sort_unstable();
        for (value, count) in counts.into_iter().filter(|&(_, count)| count >= 2) {
            let share = count as f64 / training.records as f64;
            let expected = 1.0 - (1.0 - share).powi(sample.records.min(i32::MAX as usize) as i32);
            let covered = u64::from(found.binary_search(&value).is_ok());
            total.values += 1;
            total.covered += covered;
            total.expected += expected;
            if 100 * count <= training.records as u64 {
                total.rare += 1;
                total.rare_covered += covered;
                total.rare_expected += expected;
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(values: &mut ValueIds, records: impl IntoIterator<Item = String>) -> RecordTable {
        RecordTable::new(&records.into_iter().map(String::into_bytes).collect::<Vec<_>>(), values)
    }

    #[test]
    fn distances_by_hand() {
        let (p, q) = ([0.5, 0.5, 0.0], [0.25, 0.25, 0.5]);
        assert_eq!(total_variation(&p, &q), 0.5);
        // M = (3/8, 3/8, 1/4): JSD = 1/2 (log2 4/3) + 1/2 (1/2 log2 2/3 + 1/2 log2 2) = 0.311278.
        assert!((jensen_shannon(&p, &q) - 0.311_278_124_459_132_9f64.sqrt()).abs() < 1e-12);
        assert_eq!((total_variation(&p, &p), jensen_shannon(&p, &p)), (0.0, 0.0));
        assert_eq!(Distances::new(&[1.0, 0.0], &[0.0, 1.0]), Distances { total_variation: 1.0, jensen_shannon: 1.0 });
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let of = |share| percentile((1..=200).map(f64::from), share);
        assert_eq!((of(0.025), of(0.5), of(0.975)), (5.0, 100.0, 195.0));
        assert_eq!(percentile(std::iter::empty(), 0.5), 0.0);
    }

    #[test]
    fn the_same_source_lies_in_its_band_and_another_does_not() {
        let record = |i: usize, kind: usize| format!(r#"{{"kind":"{}","size":{}}}"#, kind % 7, i * 7919 % 1000);
        let values = &mut ValueIds::default();
        let training = table(values, (0..400).map(|i| record(i, i * i)));
        let validation = table(values, (400..500).map(|i| record(i, i * i)));
        let same = table(values, (500..600).map(|i| record(i, i * i)));
        let other = table(values, (500..600).map(|i| record(i % 3, i)));
        let of = |generated: &RecordTable| {
            let sides = Sides { training: &training, validation: &validation, generated, values };
            fields(&sides, &[], 1).into_iter().map(|field| (field.path.clone(), field)).collect::<BTreeMap<_, _>>()
        };
        let (good, bad) = (of(&same), of(&other));
        assert_eq!((good["kind"].kind, good["size"].kind, good["kind"].bins), ("category", "number", 6));
        assert!(!good["kind"].outside && !good["size"].outside, "{good:?}");
        assert!(bad["kind"].outside && bad["size"].outside, "{bad:?}");
        let band = (good["kind"].band_low.total_variation, good["kind"].band_high.total_variation);
        assert!(band.0 < band.1 && band.1 < 0.25, "{band:?}");
        assert_eq!(format!("{good:?}"), format!("{:?}", of(&same)), "the same seed gives the same band");
        assert_eq!(
            fields(
                &Sides { training: &training, validation: &validation, generated: &same, values },
                &["kind".into()],
                1
            )
            .len(),
            1
        );
    }

    #[test]
    fn coverage_by_hand() {
        let values = &mut ValueIds::default();
        // 187 a, 10 e (5 %), 2 b (1 %), 1 c that never recurs.
        let kind = |i: usize| ["a", "e", "b", "c"][[187, 197, 199].iter().filter(|&&end| i >= end).count()];
        let training = table(values, (0..200).map(|i| format!(r#"{{"kind":"{}"}}"#, kind(i))));
        let sample = table(values, [r#"{"kind":"a"}"#.into(), r#"{"kind":"d"}"#.into()]);
        let found = coverage(&training, &sample, values, &[]);
        assert_eq!((found.values, found.covered, found.rare, found.rare_covered), (3, 1, 1, 0));
        let (a, e, b) = (1.0 - 0.065f64 * 0.065, 1.0 - 0.95f64 * 0.95, 1.0 - 0.99f64 * 0.99);
        assert!((found.expected - a - e - b).abs() < 1e-12 && (found.rare_expected - b).abs() < 1e-12, "{found:?}");
        assert_eq!(coverage(&training, &sample, values, &["kind".into()]), Coverage::default());
    }
}
