//! What a grammar cost: time, and the probability that its masks took from the model.

use logwright::record::fields::paths_so_far;
use logwright::sample::{DeadEnd, GeneratedRecord};
use logwright::words::counted;
use std::collections::BTreeMap;
use std::time::Duration;

/// Above this share of the probability, the grammar rather than the model writes the records.
const MUCH: f64 = 0.1;
/// The number of paths that a warning names.
const NAMED: usize = 5;
/// The most characters of a path that a warning shows.
const LONGEST: usize = 60;

/// What the grammar cost over all records.
#[derive(Default)]
pub struct GrammarCost {
    records: usize,
    tokens: usize,
    /// Sum over all tokens of the masked probability mass; and the largest sum of one record.
    removed: f64,
    most_removed: f64,
    /// The same by the path of the field in which the token begins.
    paths: BTreeMap<String, f64>,
    time: Duration,
    dead_ends: BTreeMap<DeadEnd, usize>,
}

impl GrammarCost {
    /// `body` is where the record's object begins in its text.
    pub fn add(&mut self, record: &GeneratedRecord, body: usize) {
        let Some(constrained) = &record.constrained else { return };
        self.records += 1;
        self.tokens += record.tokens;
        self.removed += constrained.removed;
        self.most_removed = self.most_removed.max(constrained.removed);
        self.time += constrained.time;
        if let Some(dead_end) = constrained.dead_end {
            *self.dead_ends.entry(dead_end).or_default() += 1;
        }
        if constrained.pushes.is_empty() {
            return;
        }
        // A field reaches from the end of the one before to its own end, so a forced name belongs to its value.
        let paths = paths_so_far(&record.text[body..]);
        for &(at, removed) in &constrained.pushes {
            let path = match paths.iter().find(|(_, end)| at < body + end) {
                _ if at < body => "(before the object)",
                Some((path, _)) => path,
                None => "(the end of the record)",
            };
            *self.paths.entry(path.to_string()).or_default() += removed;
        }
    }

    pub fn tell(&self) {
        let per_token = |sum: f64| sum / self.tokens.max(1) as f64;
        tracing::info!(
            "grammar masking cost {:.0} us per token and removed {:.3} % of the probability mass; unconstrained, the model \
             would have left the grammar about {:.2} times per record (at most {:.2})",
            per_token(self.time.as_secs_f64() * 1e6),
            100.0 * per_token(self.removed),
            self.removed / self.records.max(1) as f64,
            self.most_removed
        );
        if per_token(self.removed) > MUCH {
            tracing::warn!(
                "the grammar took {:.0} % of the probability, so it writes much of the records; most of it at {}; train longer, or \
                 relax the schema there",
                100.0 * per_token(self.removed),
                self.hardest()
            );
        }
        for (dead_end, count) in &self.dead_ends {
            tracing::warn!("{} could not be finished: {}", counted(*count as u64, "record"), dead_end.reason());
        }
    }

    /// The paths where most was removed, with their shares of all that was removed.
    fn hardest(&self) -> String {
        let mut paths: Vec<_> = self.paths.iter().collect();
        paths.sort_by(|a, b| b.1.total_cmp(a.1));
        // Names are generated too, so they may be long or not printable.
        let short = |path: &str| path.chars().take(LONGEST).collect::<String>().escape_debug().to_string();
        let share =
            |(path, removed): &(&String, &f64)| format!("{} ({:.0} %)", short(path), 100.0 * *removed / self.removed);
        paths.iter().take(NAMED).map(share).collect::<Vec<_>>().join(", ")
    }
}
