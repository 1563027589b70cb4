//! Groups the records of a stream that have the same value in a field into sessions.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// How the scores of a session's records become one score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SessionScore {
    /// The largest score of its records
    Max,
    /// The mean score of its records
    Mean,
    /// The mean surprisal of its tokens, with its records read as one sequence: for models trained on consecutive records
    /// (keeps the tokens of all open sessions in memory)
    Sequence,
}

/// What makes a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grouping {
    /// Path of the field whose value is the key.
    pub by: String,
    pub score: SessionScore,
    /// Records after which a session is closed and a new one of its key begins.
    pub window: usize,
    /// Seconds after its first record at which a session is closed, by the time in `time_field` of the records.
    pub seconds: Option<f64>,
    /// The field with the time of a record; where it is None, usual places are searched.
    pub time_field: Option<String>,
    /// Maximum number of open sessions; beyond it the one that has been idle longest is closed.
    pub open: usize,
}

impl Grouping {
    /// Checks the ranges that the flags of `score` have too.
    pub(super) fn check(&self) -> std::result::Result<(), String> {
        for (name, value) in [("window", self.window), ("open", self.open)] {
            if value == 0 || u32::try_from(value).is_err() {
                return Err(format!("method.group.{name} is {value}, expected 1 to {}", u32::MAX));
            }
        }
        if self.seconds.is_some() && self.time_field.is_none() {
            return Err(
                "method.group.time_field is missing, expected one where there is method.group.seconds".to_string()
            );
        }
        match self.seconds {
            Some(seconds) if !(seconds > 0.0 && seconds.is_finite()) => {
                Err(format!("method.group.seconds is {seconds}, expected a number above 0"))
            }
            _ => Ok(()),
        }
    }
}

/// A session, with what the caller gathers from its records.
#[derive(Clone, Debug, PartialEq)]
pub struct Session<S> {
    pub key: String,
    /// Numbers of its first and last record.
    pub first: u64,
    pub last: u64,
    pub records: usize,
    pub gathered: S,
    /// Time of the first record in seconds, where sessions are closed by time.
    began: f64,
}

/// The open sessions. Memory: at most `open` of them; each is closed at `window` records.
pub struct Sessions<S> {
    grouping: Grouping,
    /// Sessions by the number of their first record.
    sessions: BTreeMap<u64, Session<S>>,
    of_key: HashMap<String, u64>,
    /// Last record -> first record of each session: the one that has been idle longest comes first.
    idle: BTreeMap<u64, u64>,
}

impl<S: Default> Sessions<S> {
    pub fn new(grouping: Grouping) -> Self {
        Sessions { grouping, sessions: BTreeMap::new(), of_key: HashMap::new(), idle: BTreeMap::new() }
    }

    /// Adds record `number` (numbers only grow) to the session of `key`; `time` is in seconds, where sessions are closed by time.
    /// Returns the sessions that are closed, in the order in which they ended.
    pub fn add(&mut self, key: &str, time: Option<f64>, number: u64, gather: impl FnOnce(&mut S)) -> Vec<Session<S>> {
        let mut closed = Vec::new();
        if let (Some(seconds), Some(now)) = (self.grouping.seconds, time) {
            // Sessions began in the order of the stream; where times are not in order, one may close a little late.
            while let Some((&first, oldest)) = self.sessions.first_key_value()
                && oldest.began + seconds < now
            {
                closed.push(self.close(first));
            }
            // The session of this key must not take a record beyond its time, whatever keeps older sessions open.
            if let Some(&first) = self.of_key.get(key)
                && self.sessions[&first].began + seconds < now
            {
                closed.push(self.close(first));
            }
        }
        let first = *self.of_key.entry(key.to_string()).or_insert(number);
        let began = time.unwrap_or(0.0);
        let session = self.sessions.entry(first).or_insert_with(|| Session {
            key: key.to_string(),
            first,
            last: number,
            records: 0,
            gathered: S::default(),
            began,
        });
        self.idle.remove(&session.last);
        session.last = number;
        session.records += 1;
        gather(&mut session.gathered);
        self.idle.insert(number, first);
        if session.records >= self.grouping.window {
            closed.push(self.close(first));
        }
        if self.sessions.len() > self.grouping.open
            && let Some((_, &first)) = self.idle.first_key_value()
        {
            closed.push(self.close(first));
        }
        closed
    }

    fn close(&mut self, first: u64) -> Session<S> {
        let session = self.sessions.remove(&first).expect("an open session");
        self.of_key.remove(&session.key);
        self.idle.remove(&session.last);
        session
    }

    /// The sessions still open, in the order of their first records.
    pub fn finish(self) -> impl Iterator<Item = Session<S>> {
        self.sessions.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouping(window: usize, seconds: Option<f64>, open: usize) -> Grouping {
        let time_field = seconds.map(|_| "t".to_string());
        Grouping { by: "k".into(), score: SessionScore::Max, window, seconds, time_field, open }
    }

    /// Feeds (key, time) as records 1, 2, ...; the sessions as (key, record numbers), those left at the end after `|`.
    fn run(grouping: Grouping, records: &[(&str, f64)]) -> Vec<String> {
        let mut sessions: Sessions<Vec<u64>> = Sessions::new(grouping);
        let tell = |session: Session<Vec<u64>>| {
            assert_eq!(session.records, session.gathered.len());
            assert_eq!((session.first, session.last), (session.gathered[0], *session.gathered.last().unwrap()));
            format!("{}{:?}", session.key, session.gathered)
        };
        let mut told = Vec::new();
        for (number, (key, time)) in (1..).zip(records) {
            told.extend(sessions.add(key, Some(*time), number, |seen| seen.push(number)).into_iter().map(tell));
        }
        told.push("|".into());
        told.extend(sessions.finish().map(tell));
        told
    }

    #[test]
    fn a_session_closes_at_its_window() {
        let records = ["a", "b", "a", "a", "b"].map(|key| (key, 0.0));
        assert_eq!(run(grouping(2, None, 9), &records), ["a[1, 3]", "b[2, 5]", "|", "a[4]"]);
    }

    #[test]
    fn a_session_closes_when_its_time_is_over() {
        let records = [("a", 0.0), ("b", 5.0), ("a", 10.0), ("a", 10.5), ("c", 30.0)];
        assert_eq!(run(grouping(99, Some(10.0), 9), &records), ["a[1, 3]", "b[2]", "a[4]", "|", "c[5]"]);
        // Time that jumps back keeps the first session open, but not a later one of another key beyond its own end.
        let records = [("a", 100.0), ("b", 5.0), ("b", 16.0)];
        assert_eq!(run(grouping(99, Some(10.0), 9), &records), ["b[2]", "|", "a[1]", "b[3]"]);
    }

    #[test]
    fn the_longest_idle_session_makes_room() {
        let records = ["a", "b", "a", "c", "d"].map(|key| (key, 0.0));
        assert_eq!(run(grouping(99, None, 2), &records), ["b[2]", "a[1, 3]", "|", "c[4]", "d[5]"]);
    }
}
