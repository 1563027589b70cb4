//! Whether a stream is still like the normal records of its calibration.
//!
//! Records are looked at in windows. For every path the p-values of its surprisals have a mean of one half as long as the path is
//! as it was; two windows in a row whose means lie far below, farther than those of normal windows do, say that the path has drifted.
//! So does a share of anomalies far above the rate that was asked for, or a path that the calibration never had and many records
//! have. One window alone may be an attack, or a person at work.

use super::evidence::{Evidence, NormalEvidence};
use crate::finding::{Drift, DriftedPath};
use std::collections::BTreeMap;

/// Records of a window: a change is told at the end of the second one that it fills.
pub const WINDOW: u32 = 250;
/// The fewest values of a path that a window judges.
pub const FEWEST: u32 = 30;
/// A mean must lie this many standard errors below one half: 10^-9 for one path of one window, where some 10^4 of them in 10^5
/// records shall give no false warning, although records that follow each other are alike.
const ERRORS: f64 = 6.0;
/// And it must be this low: a small shift that is certain is no reason to calibrate again.
const LOW: f64 = 0.25;
/// The share of the records of a window that makes a new path a drift.
const NEW: f64 = 0.2;
/// The probability of as many anomalies by chance.
const BY_CHANCE: f64 = 1e-9;
/// The paths that are named.
const NAMED: usize = 10;

/// Watches a stream.
pub struct DriftMonitor {
    /// The share of anomalies that is usual, and the number of scores that it was learnt from.
    rate: f64,
    scores: u32,
    window: Window,
    /// What was odd about the window before.
    before: Odd,
    records: u64,
    drift: Option<Drift>,
}

/// What is odd about a window.
#[derive(Default)]
struct Odd {
    paths: Vec<DriftedPath>,
    too_many_anomalies: bool,
}

#[derive(Default)]
struct Window {
    records: u32,
    anomalies: u32,
    /// The number of p-values of each path and their sum.
    paths: BTreeMap<String, (u32, f64)>,
}

impl DriftMonitor {
    /// For a threshold that a share `rate` of normal units exceeds, learnt from so many `scores`.
    pub fn new(rate: f64, scores: u32) -> Self {
        DriftMonitor { rate, scores, window: Window::default(), before: Odd::default(), records: 0, drift: None }
    }

    /// Takes in the next record; `path` gives the path of a part of it. True where a drift was found that was not there before.
    pub fn observe<'a>(
        &mut self,
        evidence: &Evidence,
        path: impl Fn(usize) -> &'a str,
        is_anomaly: bool,
        normal: &NormalEvidence,
    ) -> bool {
        self.records += 1;
        let Window { records, anomalies, paths } = &mut self.window;
        *records += 1;
        *anomalies += u32::from(is_anomaly);
        for &(place, nats) in &evidence.by_field {
            let (name, p) = (path(place), (-nats).exp());
            match paths.get_mut(name) {
                Some((count, sum)) => (*count, *sum) = (*count + 1, *sum + p),
                None => drop(paths.insert(name.to_string(), (1, p))),
            }
        }
        *records == WINDOW && self.judge(normal)
    }

    /// The drift of the last whole window, if there is one.
    pub fn drift(&self) -> Option<&Drift> {
        self.drift.as_ref()
    }

    fn judge(&mut self, normal: &NormalEvidence) -> bool {
        let window = std::mem::take(&mut self.window);
        let odd = Odd {
            paths: window.paths.iter().filter_map(|(path, sums)| drifted(path, *sums, normal)).collect(),
            too_many_anomalies: self.has_too_many(window.anomalies),
        };
        let was_odd = |path: &&DriftedPath| self.before.paths.iter().any(|before| before.path == path.path);
        let mut paths: Vec<DriftedPath> = odd.paths.iter().filter(was_odd).cloned().collect();
        paths.sort_by(|a, b| a.mean_p_value.total_cmp(&b.mean_p_value));
        paths.truncate(NAMED);
        let share = f64::from(window.anomalies) / f64::from(window.records);
        let drifts = !paths.is_empty() || (odd.too_many_anomalies && self.before.too_many_anomalies);
        self.before = odd;
        if !drifts {
            self.drift = None;
            return false;
        }
        let since = self.drift.as_ref().map_or(self.records - 2 * u64::from(WINDOW) + 1, |drift| drift.since);
        let is_new = self.drift.is_none();
        self.drift = Some(Drift { since, flagged: share, expected: self.rate, paths });
        is_new
    }

    /// Whether so many anomalies in a window are beyond chance, and beyond what the calibration can know of the rate.
    fn has_too_many(&self, anomalies: u32) -> bool {
        let scores = f64::from(self.scores.max(1));
        let rate = self.rate + 4.0 * (self.rate / scores).sqrt() + 4.0 / scores;
        poisson_tail(anomalies, rate * f64::from(WINDOW)) < BY_CHANCE
    }
}

/// The path as a drifted one, if it is one.
fn drifted(path: &str, (count, sum): (u32, f64), normal: &NormalEvidence) -> Option<DriftedPath> {
    let (known, spread) = normal.paths.get(path).map_or((0, 1.0), |path| (path.count, f64::from(path.spread)));
    let mean_p_value = sum / f64::from(count);
    let told = |is_new| Some(DriftedPath { path: path.to_string(), mean_p_value: rounded(mean_p_value), is_new });
    if known == 0 {
        return if f64::from(count) >= NEW * f64::from(WINDOW) { told(true) } else { None };
    }
    // The variance of a mean of p-values, which are uniform, and that of the distribution they are ranks in.
    let error = ((1.0 / f64::from(count) + 1.0 / known as f64) / 12.0).sqrt();
    let is_far = (0.5 - mean_p_value) / (spread * error) > ERRORS;
    if count >= FEWEST && is_far && mean_p_value < LOW { told(false) } else { None }
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The probability of at least `least` events where `mean` are expected.
fn poisson_tail(least: u32, mean: f64) -> f64 {
    if least == 0 {
        return 1.0;
    }
    let logarithm = (1..=least).map(|k| mean.ln() - f64::from(k).ln()).sum::<f64>() - mean;
    // Terms from `least` on, each with its ratio to the one before.
    let (mut sum, mut term, mut k) = (0.0, 1.0, f64::from(least));
    while term > 1e-12 {
        sum += term;
        k += 1.0;
        term *= mean / k;
    }
    if mean >= f64::from(least) { 1.0 } else { (logarithm.exp() * sum).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fidelity::IndexRng;
    use crate::score::learn::{Example, learn};
    use crate::score::lesson::Lesson;

    struct Draws(IndexRng);

    impl Draws {
        fn new(seed: u64) -> Self {
            Draws(IndexRng::new(seed))
        }

        /// In (0, 1].
        fn uniform(&mut self) -> f64 {
            (self.0.below(1 << 24) + 1) as f64 / f64::from(1 << 24)
        }

        /// Surprisals have about this distribution.
        fn exponential(&mut self) -> f32 {
            -self.uniform().ln() as f32
        }
    }

    fn lesson(nats: [f32; 2]) -> Lesson {
        let (fields, observed, places) = (vec![(0, nats[0]), (1, nats[1])], Default::default(), vec![]);
        Lesson { layout: 1, fields, observed, places, ..Lesson::default() }
    }

    const PATHS: [&str; 2] = ["user", "agent"];

    fn normal(draws: &mut Draws) -> NormalEvidence {
        let examples: Vec<Example> = (0..500)
            .map(|_| Example { lesson: lesson([draws.exponential(), draws.exponential()]), paths: vec![0, 1] })
            .collect();
        let examples: Vec<&Example> = examples.iter().collect();
        learn(&examples, &PATHS.map(String::from), &Default::default(), &[]).0
    }

    #[test]
    fn a_stream_that_stays_as_it_was_has_no_drift() {
        let mut draws = Draws::new(7);
        let normal = normal(&mut draws);
        let mut monitor = DriftMonitor::new(0.01, 500);
        for _ in 0..100_000 {
            let evidence = normal.of(&lesson([draws.exponential(), draws.exponential()]), |place| PATHS[place]);
            let is_anomaly = draws.uniform() < 0.012;
            assert!(!monitor.observe(&evidence, |place| PATHS[place], is_anomaly, &normal));
        }
    }

    #[test]
    fn a_path_that_moves_is_named_within_two_windows() {
        let mut draws = Draws::new(8);
        let normal = normal(&mut draws);
        let mut monitor = DriftMonitor::new(0.01, 500);
        let observe = |shift: f32, anomalies: f64, draws: &mut Draws, monitor: &mut DriftMonitor| {
            let evidence = normal.of(&lesson([draws.exponential(), draws.exponential() + shift]), |place| PATHS[place]);
            monitor.observe(&evidence, |place| PATHS[place], draws.uniform() < anomalies, &normal)
        };
        let quiet = (0..300).filter(|_| observe(0.0, 0.01, &mut draws, &mut monitor)).count();
        let warned: Vec<usize> = (0..700).filter(|_| observe(2.0, 0.01, &mut draws, &mut monitor)).collect();
        assert_eq!((quiet, warned), (0, vec![449]), "once, at the end of the window after that in which it began");
        let drift = monitor.drift().unwrap().clone();
        assert_eq!((drift.since, drift.paths.len(), drift.paths[0].path.as_str()), (251, 1, "agent"));
        let cleared = (0..500).filter(|_| observe(0.0, 0.01, &mut draws, &mut monitor)).count();
        assert_eq!((cleared, monitor.drift()), (0, None));
        let flagged = (0..500).filter(|_| observe(0.0, 0.3, &mut draws, &mut monitor)).count();
        assert_eq!((flagged, monitor.drift().unwrap().paths.len()), (1, 0), "too many anomalies");
        let quiet = (0..500).filter(|_| observe(0.0, 0.01, &mut draws, &mut monitor)).count();
        let attack = (0..250).filter(|_| observe(2.0, 0.9, &mut draws, &mut monitor)).count();
        let over = (0..500).filter(|_| observe(0.0, 0.01, &mut draws, &mut monitor)).count();
        assert_eq!((quiet, attack, over, monitor.drift()), (0, 0, 0, None), "one window is none");
    }

    #[test]
    fn people_who_come_in_turns_are_no_drift() {
        // For 250 to 500 records one person is at work, whose surprisals are his own.
        let mut draws = Draws::new(9);
        let mut person = (0, 0.0);
        let mut record = || {
            if person.0 == 0 {
                person = (250 + draws.0.below(250), 3.0 * draws.uniform() as f32);
            }
            person.0 -= 1;
            lesson([draws.exponential() + person.1, draws.exponential()])
        };
        let examples: Vec<Example> = (0..10_000).map(|_| Example { lesson: record(), paths: vec![0, 1] }).collect();
        let examples: Vec<&Example> = examples.iter().collect();
        let normal = learn(&examples, &PATHS.map(String::from), &Default::default(), &[]).0;
        assert!(normal.paths["user"].spread > 3.0 && normal.paths["agent"].spread < 1.5);
        let mut monitor = DriftMonitor::new(0.01, 10_000);
        for _ in 0..100_000 {
            let evidence = normal.of(&record(), |place| PATHS[place]);
            assert!(!monitor.observe(&evidence, |place| PATHS[place], false, &normal));
        }
    }

    #[test]
    fn the_tail_of_poisson_is_that_of_tables() {
        for (least, mean, expected) in [(0, 2.0, 1.0), (1, 2.0, 0.864665), (5, 2.0, 0.052653), (10, 4.0, 0.008132)] {
            let found = poisson_tail(least, mean);
            assert!((found - expected).abs() < 1e-6 || mean >= f64::from(least), "{least} {mean}: {found}");
        }
        assert!(poisson_tail(40, 2.0) < 1e-30);
    }
}
