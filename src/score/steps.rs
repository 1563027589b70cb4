//! Which event a record is of in its session.

use super::lesson::Lesson;
use crate::detect::{MOST_NEW, ObservedValue, pair, two_grams};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};

/// A path with more distinct values than this names no events.
const MOST_VALUES: usize = 1000;
/// Paths that are tried: those of the most distinct values.
const MOST_TRIED: usize = 32;
/// The least share of sessions in which the values of a path must differ. The user of a session is no event of it.
const LEAST_VARYING: f64 = 0.1;

/// What makes an event: the values at the paths that tell apart what happens within sessions.
///
/// The more paths, the finer the events, and the fewer examples there are of what follows what. So a path is only added as long as
/// the steps from one event to the next recur: the probability that the next one is new, by the Good-Turing estimate the
/// share of them that were seen exactly once (Good, 1953), stays at most 5 %.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Steps {
    /// Whether records of other layouts are other events.
    by_layout: bool,
    paths: BTreeSet<u64>,
}

impl Steps {
    /// From the records of normal sessions.
    pub fn learn(sessions: &[Vec<&Lesson>]) -> Self {
        let mut steps = Steps { by_layout: true, ..Steps::default() };
        steps.by_layout = steps.recur(sessions);
        for path in candidates(sessions).into_iter().take(MOST_TRIED) {
            steps.paths.insert(path);
            if !steps.recur(sessions) {
                steps.paths.remove(&path);
            }
        }
        steps
    }

    /// The event that a record is of.
    pub fn event(&self, lesson: &Lesson) -> u64 {
        let layout = if self.by_layout { lesson.layout } else { 0 };
        let value = |path: &u64| first_at(lesson, *path).map_or(0, |value| value.value);
        self.paths.iter().map(value).fold(layout, pair)
    }

    fn recur(&self, sessions: &[Vec<&Lesson>]) -> bool {
        let mut times: HashMap<(u64, u64), u32> = HashMap::new();
        for session in sessions {
            let events: Vec<u64> = session.iter().map(|lesson| self.event(lesson)).collect();
            two_grams(&events).for_each(|step| *times.entry(step).or_default() += 1);
        }
        let once = times.values().filter(|times| **times == 1).count();
        once as f64 <= MOST_NEW * f64::from(times.values().sum::<u32>())
    }
}

fn first_at(lesson: &Lesson, path: u64) -> Option<&ObservedValue> {
    lesson.observed.values.iter().find(|value| value.path == path)
}

/// The paths whose values differ within sessions, those of the most distinct values first.
fn candidates(sessions: &[Vec<&Lesson>]) -> Vec<u64> {
    let mut distinct: HashMap<u64, BTreeSet<u64>> = HashMap::new();
    let mut varying: HashMap<u64, u32> = HashMap::new();
    for session in sessions {
        let mut firsts: HashMap<u64, (u64, bool)> = HashMap::new();
        for value in session.iter().flat_map(|lesson| &lesson.observed.values) {
            let all = distinct.entry(value.path).or_default();
            if all.len() <= MOST_VALUES {
                all.insert(value.value);
            }
            let (first, varies) = firsts.entry(value.path).or_insert((value.value, false));
            *varies |= *first != value.value;
        }
        firsts.iter().filter(|(_, (_, varies))| *varies).for_each(|(path, _)| *varying.entry(*path).or_default() += 1);
    }
    let least = LEAST_VARYING * sessions.len() as f64;
    let is_candidate = |path: &u64| varying.get(path).is_some_and(|times| f64::from(*times) >= least);
    let mut found: Vec<(usize, u64)> = distinct
        .iter()
        .filter(|(path, values)| values.len() <= MOST_VALUES && is_candidate(path))
        .map(|(path, values)| (values.len(), *path))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::Observed;

    fn lesson(record: &str) -> Lesson {
        Lesson { observed: Observed::of(record.as_bytes()), ..Lesson::default() }
    }

    #[test]
    fn events_are_told_apart_by_what_recurs_within_sessions() {
        let record = |user: usize, event: &str, n: usize| {
            lesson(&format!(r#"{{"user":"u{user}","event":"{event}","id":{n},"ok":{}}}"#, !n.is_multiple_of(3)))
        };
        let sessions: Vec<Vec<Lesson>> = (0..200)
            .map(|user| {
                let events = if user % 2 == 0 { ["login", "read", "logout"] } else { ["login", "write", "logout"] };
                (0..3).map(|i| record(user, events[i], 3 * user + i)).collect()
            })
            .collect();
        let sessions: Vec<Vec<&Lesson>> = sessions.iter().map(|session| session.iter().collect()).collect();
        let steps = Steps::learn(&sessions);
        let event = |user, event, n| steps.event(&record(user, event, n));
        assert_eq!(event(1, "login", 3), event(7, "login", 9), "whose it is, and its number, are not what happened");
        assert_ne!(event(1, "login", 3), event(1, "read", 3));
        assert_ne!(event(1, "login", 3), event(1, "login", 4), "with another outcome");
        assert_eq!(steps.paths.len(), 2);
        assert_eq!(Steps::learn(&[]).paths.len(), 0);
    }
}
