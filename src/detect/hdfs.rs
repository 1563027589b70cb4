//! The baselines on HDFS sessions reproduce published results. The tests are ignored where the data is absent, because its
//! terms do not allow a sample of it to be kept here.

use super::{Detection, Observed, Samples, baselines};
use crate::ingest::{ReadOptions, read_records};
use crate::test_data::real;
use indicatif::ProgressBar;
use serde_json::Value;
use std::collections::HashSet;

struct LabelledSession {
    train: bool,
    attack: bool,
    /// A record of the events alone: a detector must not see the label that it is to predict.
    events: String,
}

/// 7,940 sessions, 313 of them anomalous: HDFS_v1's first 100,000 lines in the split of deep-loglizer.
fn sessions() -> Vec<LabelledSession> {
    let mut found = vec![];
    let inputs = [real("hdfs-sessions/hdfs100k_sessions.jsonl.gz")];
    read_records(&inputs, &ReadOptions::default(), &ProgressBar::hidden(), &mut |record| {
        let all: Value = serde_json::from_slice(record).expect("a session is JSON");
        let events = serde_json::json!({ "events": all["events"] }).to_string();
        found.push(LabelledSession { train: all["split"] == "train", attack: all["label"] == 1, events });
        Ok(())
    })
    .expect("the sessions are read");
    found
}

fn events_of(sessions: &[LabelledSession], wanted: impl Fn(&LabelledSession) -> bool) -> Vec<&str> {
    sessions.iter().filter(|session| wanted(session)).map(|session| session.events.as_str()).collect()
}

#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn the_baselines_reach_what_is_known_of_them() {
    let sessions = sessions();
    let observe = |records: Vec<&str>| records.iter().map(|r| Observed::of(r.as_bytes())).collect::<Vec<_>>();
    let fit = observe(events_of(&sessions, |session| session.train && !session.attack));
    let test = observe(events_of(&sessions, |session| !session.train));
    let attacks: Vec<bool> = sessions.iter().filter(|s| !s.train).map(|s| s.attack).collect();
    assert_eq!((fit.len(), test.len(), attacks.iter().filter(|a| **a).count()), (6096, 1588, 57));
    let samples = Samples { fit: &fit, calibrate: &fit, test: &test, attacks: &attacks };
    let rows = baselines(&samples, 0.001).unwrap();
    let found = |(row, _): &(Detection, Vec<f64>)| {
        let confusion = row.calibrated.confusion;
        (confusion.true_positives, confusion.false_positives)
    };
    assert_eq!(found(&rows[0]), (15, 0), "{}", rows[0].0.method);
    // Precision 1, recall 30 / 57 = .526, F1 .690.
    assert_eq!(found(&rows[3]), (30, 0), "{}", rows[3].0.method);
    assert!((rows[3].0.calibrated.f1.unwrap() - 0.690).abs() < 0.0005);
}

/// Why no detector does clearly better: a score is a function of the events, and these are the same for many attacks and
/// normal sessions.
#[test]
#[cfg_attr(not(real_logs), ignore = "needs the real logs (CONTRIBUTING.md)")]
fn half_of_the_attacks_are_sessions_that_training_calls_normal() {
    let sessions = sessions();
    let normal: HashSet<_> = events_of(&sessions, |session| session.train && !session.attack).into_iter().collect();
    let attacks = events_of(&sessions, |session| !session.train && session.attack);
    let familiar = attacks.iter().filter(|attack| normal.contains(*attack)).count();
    assert_eq!((familiar, attacks.len()), (26, 57));
    // A detector that calls no session anomalous that equals a normal training session finds at most 31: F1 2 x 31 / (57 +
    // 31).
    let ceiling: f64 = 2.0 * 31.0 / (57.0 + 31.0);
    assert!((ceiling - 0.7045).abs() < 0.0001);
}
