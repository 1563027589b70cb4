//! The surprisal of each field in normal records: mean and deviation.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Surprisals of one path over normal records, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PathStats {
    pub count: u64,
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
}

/// The statistics of each path.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NormalStats {
    paths: BTreeMap<String, PathStats>,
}

/// Added to a standard deviation, in nats: a field that never changes has almost none, and a hundredth of a nat more in it
/// means nothing. One nat is the surprisal of an event that is expected every third time.
const SLACK: f64 = 1.0;

impl NormalStats {
    /// How many deviations the nats lie above the mean of the path: `(nats - mean) / (deviation + 1)`, a z-score. A path that
    /// never occurred in normal records has mean and deviation 0.
    pub fn excess(&self, path: &str, nats: f64) -> f64 {
        let stats = self.of(path);
        (nats - stats.mean) / (stats.deviation + SLACK)
    }

    /// The statistics of a path; zero for one that was never seen.
    pub fn of(&self, path: &str) -> PathStats {
        self.paths.get(path).copied().unwrap_or_default()
    }

    /// Checks what statistics of surprisals always are; `taught` is the number of records that they come from.
    pub fn check(&self, taught: u64) -> std::result::Result<(), String> {
        if taught == 0 && !self.paths.is_empty() {
            return Err("usual has statistics, but taught is 0".to_string());
        }
        for (path, PathStats { count, mean, deviation }) in &self.paths {
            // A mean of losses that are rounded may lie a little below 0.
            for (name, value, least) in [("mean", *mean, -0.01), ("deviation", *deviation, 0.0)] {
                if !(value >= least && value.is_finite()) {
                    return Err(format!("usual: {path} has a {name} of {value}, expected a number of at least 0"));
                }
            }
            if *count == 0 {
                return Err(format!("usual: {path} has a count of 0, expected the number of its values"));
            }
        }
        Ok(())
    }

    /// Whether some path is the number of a word in a line of text, as `$1`.
    pub fn has_numbered_paths(&self) -> bool {
        self.paths.keys().any(|path| path.starts_with('$'))
    }

    /// Number of paths.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }
}

/// Maximum number of paths; later ones count as never seen. (Objects keyed by an id have a path for every id.)
const MOST_PATHS: usize = 100_000;

/// Learns the statistics, one field at a time (Welford, 1962: one pass, no cancellation).
#[derive(Clone, Debug, Default)]
pub struct NormalStatsBuilder {
    /// Count, mean, sum of squared differences from it.
    paths: BTreeMap<String, (u64, f64, f64)>,
}

impl NormalStatsBuilder {
    pub fn add(&mut self, path: &str, nats: f64) {
        if !self.paths.contains_key(path) {
            if self.paths.len() == MOST_PATHS {
                return;
            }
            self.paths.insert(path.to_string(), (0, 0.0, 0.0));
        }
        let (count, mean, squares) = self.paths.get_mut(path).expect("it was put there");
        *count += 1;
        let from_old = nats - *mean;
        *mean += from_old / *count as f64;
        *squares += from_old * (nats - *mean);
    }

    pub fn finish(self) -> NormalStats {
        let stats = |(count, mean, squares): (u64, f64, f64)| {
            let variance = if count > 1 { squares / (count - 1) as f64 } else { 0.0 };
            PathStats { count, mean, deviation: variance.sqrt() }
        };
        NormalStats { paths: self.paths.into_iter().map(|(path, sums)| (path, stats(sums))).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_computed_by_hand() {
        let mut builder = NormalStatsBuilder::default();
        for nats in [1.0, 2.0, 3.0, 6.0] {
            builder.add("ip", nats);
        }
        builder.add("once", 4.0);
        let normal_stats = builder.finish();
        // Mean 3, squares 4 + 1 + 0 + 9 = 14, over 3.
        let stats = normal_stats.of("ip");
        assert_eq!((stats.count, stats.mean), (4, 3.0));
        assert!((stats.deviation - (14.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((normal_stats.excess("ip", 10.0) - 7.0 / (1.0 + (14.0f64 / 3.0).sqrt())).abs() < 1e-12);
        assert_eq!(normal_stats.excess("once", 6.0), 2.0);
        assert_eq!(normal_stats.excess("never", 6.0), 6.0);
        assert_eq!(normal_stats.len(), 2);
    }
}
