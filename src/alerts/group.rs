//! Open alerts, what may become one, and which of them a record belongs to.

use super::kind::{Kind, odd_fields};
use super::template::Template;
use super::values::{Values, compared};
use crate::finding::{Finding, FoundField};
use serde::Serialize;
use std::collections::BTreeMap;

/// The most values of an odd field that are printed.
const SHOWN_VALUES: usize = 5;
/// The most alerts and candidates for one; beyond it, the one that has been quiet longest is closed.
const MOST_OPEN: usize = 1000;
/// By chance, candidates of a group follow each other as often as its records are candidates, each with one nat or two more than
/// the least. So many nats are taken off for each that was to be expected (the cumulative sum of Page, 1954).
const BY_CHANCE: f64 = 2.0;
/// After a day an alert is closed, however busy it is: what lasts is told once a day.
const LONGEST: f64 = 86_400.0;

/// A record that may belong to an alert, and all its fields as (path, value).
pub struct Candidate<'a> {
    pub finding: &'a Finding,
    pub template: Template,
    pub fields: &'a [(String, String)],
    /// What the scores of candidates exceed, and the share of normal records that are candidates.
    pub least: f64,
    pub share: f64,
    /// What the score of an alert has to exceed.
    pub threshold: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Open,
    Closed,
}

/// Where a record stands, and when it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Place {
    pub record: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

impl Place {
    fn of(finding: &Finding) -> Self {
        Place { record: finding.record, source: finding.source.clone(), time: finding.origin.time.clone() }
    }
}

/// An alert. As JSON, a line of `logwright score --alerts-per-day`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Alert {
    #[serde(rename = "alert")]
    pub id: String,
    pub state: State,
    /// That of its first record, and what those of the others exceed the scores of most normal records by, less what chance
    /// explains until it opens.
    pub score: f64,
    pub threshold: f64,
    #[serde(flatten)]
    pub kind: Kind,
    pub count: u64,
    pub first: Place,
    pub last: Place,
    /// The first values of each odd field.
    pub values: BTreeMap<String, Vec<String>>,
    /// An example, that with the highest score.
    pub finding: Finding,
}

impl Alert {
    /// Whether no further record belongs to it.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }
}

/// An alert, or records that may become one.
struct Group {
    alert: Alert,
    is_open: bool,
    /// The values of its first record that say whose it is, by path. Those of later records do not count: from one to the next,
    /// an alert would reach from attack to attack.
    particular: Vec<(String, String)>,
    began: f64,
    /// The time of its last record, and the number of normal records at that time.
    active: f64,
    seen: u64,
    /// The share of all records that could be of it.
    share: f64,
}

/// The alerts of a stream.
pub struct Alerts {
    quiet: f64,
    groups: Vec<Group>,
    values: Values,
}

impl Alerts {
    /// An alert without a record for `quiet` seconds is closed.
    pub fn new(quiet: f64) -> Self {
        Alerts { quiet, groups: Vec::new(), values: Values::default() }
    }

    /// Takes note of the fields of a record that is no candidate.
    pub fn normal(&mut self, fields: &[(String, String)]) {
        self.values.record(fields.iter().map(|(path, value)| (path.as_str(), value.as_str())));
    }

    /// Takes a candidate at a time in seconds. Returns the alert that opens with it, if one does.
    pub fn candidate(&mut self, now: f64, candidate: &Candidate) -> Option<&Alert> {
        let place = match self.groups.iter().position(|group| group.holds(candidate)) {
            Some(place) => {
                self.groups[place].add(now, self.values.records(), candidate);
                place
            }
            None => {
                let group = self.begin(now, candidate);
                self.groups.push(group);
                self.groups.len() - 1
            }
        };
        let group = &mut self.groups[place];
        let opens = group.alert.score > candidate.threshold || candidate.finding.anomaly == Some(true);
        if group.is_open || !opens {
            return None;
        }
        group.is_open = true;
        group.alert.threshold = candidate.threshold;
        Some(&group.alert)
    }

    fn begin(&self, now: f64, candidate: &Candidate) -> Group {
        let Candidate { finding, template, fields, .. } = candidate;
        let odd = odd_fields(finding);
        let value = |field: &&FoundField| {
            let value = self.values.are_few(&field.path).then(|| compared(&field.value).to_string());
            (field.path.clone(), value)
        };
        let ever_new =
            fields.iter().filter(|(path, _)| self.values.are_ever_new(path)).map(|(path, _)| (path.clone(), None));
        let particular = fields.iter().filter(|(path, value)| self.values.is_particular(path, compared(value)));
        let place = Place::of(finding);
        let alert = Alert {
            id: finding.origin.id.clone(),
            state: State::Open,
            score: finding.score,
            threshold: candidate.threshold,
            kind: Kind { template: template.clone(), odd: odd.iter().map(value).chain(ever_new).collect() },
            count: 1,
            first: place.clone(),
            last: place,
            values: odd.iter().map(|field| (field.path.clone(), vec![field.value.clone()])).collect(),
            finding: (*finding).clone(),
        };
        let particular: Vec<(String, String)> =
            particular.map(|(path, value)| (path.clone(), compared(value).to_string())).collect();
        let share = self.share(&alert.kind, &particular);
        Group { alert, is_open: false, particular, began: now, active: now, seen: self.values.records(), share }
    }

    /// The share of all records that have a particular value, or all values of the kind.
    fn share(&self, kind: &Kind, particular: &[(String, String)]) -> f64 {
        let named = kind.odd.iter().filter_map(|(path, value)| Some(self.values.share(path, value.as_ref()?)));
        let of_kind = if kind.says_what() { named.fold(1.0, f64::min) } else { 0.0 };
        particular.iter().map(|(path, value)| self.values.share(path, value)).sum::<f64>() + of_kind
    }

    /// Closes the alerts that have been quiet, or open, for long enough; and the quietest, where too many are open.
    pub fn close(&mut self, now: f64) -> Vec<Alert> {
        let quiet = self.quiet;
        let mut closed = self.take(|group| now - group.active > quiet || now - group.began > LONGEST);
        while self.groups.len() > MOST_OPEN {
            let oldest = self.groups.iter().map(|group| group.active).fold(f64::INFINITY, f64::min);
            closed.extend(self.take(|group| group.active == oldest));
        }
        closed
    }

    /// Closes all alerts.
    pub fn finish(&mut self) -> Vec<Alert> {
        self.take(|_| true)
    }

    fn take(&mut self, chosen: impl Fn(&Group) -> bool) -> Vec<Alert> {
        if !self.groups.iter().any(&chosen) {
            return Vec::new();
        }
        let (closed, open) = std::mem::take(&mut self.groups).into_iter().partition(|group| chosen(group));
        self.groups = open;
        let closed: Vec<Group> = closed;
        closed
            .into_iter()
            .filter(|group| group.is_open)
            .map(|group| Alert { state: State::Closed, ..group.alert })
            .collect()
    }
}

impl Group {
    fn holds(&self, candidate: &Candidate) -> bool {
        let is_there = |(path, value): &(String, String)| {
            candidate.fields.iter().any(|(other, found)| other == path && compared(found) == value)
        };
        let same_what = || self.alert.kind.says_what() && self.alert.kind.holds(candidate.finding, &candidate.template);
        self.particular.iter().any(is_there) || same_what()
    }

    /// `seen`: the number of normal records so far.
    fn add(&mut self, now: f64, seen: u64, candidate: &Candidate) {
        let expected = candidate.share * self.share * (seen - self.seen) as f64;
        self.seen = seen;
        let Alert { score, count, last, values, finding, .. } = &mut self.alert;
        (*count, *last, self.active) = (*count + 1, Place::of(candidate.finding), now);
        *score += (candidate.finding.score - candidate.least).max(0.0);
        if !self.is_open {
            // As if it began with this record, where chance explains all before.
            *score = (*score - BY_CHANCE * expected).max(candidate.finding.score);
        }
        if candidate.finding.score > finding.score {
            *finding = candidate.finding.clone();
        }
        for field in odd_fields(candidate.finding) {
            let known = values.entry(field.path.clone()).or_default();
            if known.len() < SHOWN_VALUES && !known.contains(&field.value) {
                known.push(field.value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Attached, MaxToken, Origin};

    /// Records of sign-ins: (user, address, country, result), the odd ones of which come first in the finding.
    struct Stream {
        alerts: Alerts,
        number: u64,
        opened: Vec<u64>,
        threshold: f64,
    }

    const NAMES: [&str; 4] = ["user", "address", "country", "result"];

    impl Stream {
        /// A thousand normal records: 40 users with four addresses each, in six countries.
        fn new() -> Self {
            let mut alerts = Alerts::new(600.0);
            for i in 0..1000 {
                let values = [
                    format!("u{}", i % 40),
                    format!("10.0.{}.{}", i % 40, i % 7 % 4),
                    format!("C{}", i % 6),
                    "ok".into(),
                ];
                alerts.normal(&fields(&values));
            }
            Stream { alerts, number: 0, opened: Vec::new(), threshold: 1.0 }
        }

        fn odd(&mut self, now: f64, values: [&str; 4], odd: &[&str]) -> &mut Self {
            self.number += 1;
            let fields = fields(&values.map(str::to_string));
            let found = |path: &&str| FoundField {
                path: path.to_string(),
                value: fields.iter().find(|(name, _)| name == path).unwrap().1.clone(),
                nats: 9.0,
                expected: Some(1.0),
                evidence: Some(9.0),
                reason: None,
            };
            let finding = Finding {
                record: self.number,
                source: None,
                origin: Origin { id: format!("{:016x}", self.number), ..Origin::default() },
                score: 1.5 + self.number as f64 % 3.0,
                p_value: None,
                threshold: Some(1.0),
                anomaly: Some(false),
                known: None,
                evidence: None,
                nats_per_char: 1.0,
                nats_per_token: 1.0,
                max_token: MaxToken { text: String::new(), nats: 1.0, at: 0 },
                fields: odd.iter().map(found).collect(),
                attached: Attached::default(),
                drift: None,
                tokens: Vec::new(),
            };
            let template = Template::of(br#"{"user":1,"address":1,"country":1,"result":1}"#);
            let candidate = Candidate {
                finding: &finding,
                template,
                fields: &fields,
                least: 0.5,
                share: 0.003,
                threshold: self.threshold,
            };
            if let Some(alert) = self.alerts.candidate(now, &candidate) {
                assert_eq!(alert.state, State::Open);
                self.opened.push(self.number);
            }
            self
        }

        /// (first, last, count) of the alerts that end here.
        fn closed(&mut self, now: f64) -> Vec<(u64, u64, u64)> {
            let closed = self.alerts.close(now);
            assert!(closed.iter().all(|alert| alert.state == State::Closed));
            closed.iter().map(|alert| (alert.first.record, alert.last.record, alert.count)).collect()
        }
    }

    fn fields(values: &[String; 4]) -> Vec<(String, String)> {
        NAMES.iter().zip(values).map(|(name, value)| (name.to_string(), value.clone())).collect()
    }

    #[test]
    fn the_steps_of_one_intruder_are_one_alert() {
        let mut stream = Stream::new();
        stream
            .odd(0.0, ["u1", "192.0.2.7", "XX", "bad"], &["result", "address", "country"])
            .odd(5.0, ["u2", "192.0.2.7", "XX", "bad"], &["result", "address"])
            .odd(9.0, ["u3", "192.0.2.7", "XX", "ok"], &["country"]);
        assert_eq!(stream.opened, [1], "the address joins them, odd or not");
        assert_eq!(stream.closed(609.0), []);
        assert_eq!(stream.closed(610.0), [(1, 3, 3)]);
    }

    #[test]
    fn two_intruders_are_two_alerts_although_their_records_alternate() {
        let mut stream = Stream::new();
        stream
            .odd(0.0, ["u1", "192.0.2.7", "XX", "bad"], &["address", "result"])
            .odd(1.0, ["u9", "198.51.100.1", "YY", "ok"], &["address", "country"])
            .odd(2.0, ["u2", "192.0.2.7", "XX", "bad"], &["address", "result"])
            .odd(3.0, ["u9", "198.51.100.1", "YY", "ok"], &["country", "address"])
            .odd(4.0, ["u9", "203.0.113.9", "ZZ", "ok"], &["address", "country"]);
        assert_eq!(stream.opened, [1, 2, 5], "the last one from another country");
        assert_eq!(stream.closed(1e6), [(1, 3, 2), (2, 4, 2), (5, 5, 1)]);
    }

    #[test]
    fn two_who_are_new_are_two_alerts() {
        let mut stream = Stream::new();
        stream.odd(0.0, ["u1", "192.0.2.7", "C1", "ok"], &["address"]).odd(
            1.0,
            ["u2", "192.0.2.8", "C1", "ok"],
            &["address"],
        );
        assert_eq!(stream.opened, [1, 2]);
    }

    #[test]
    fn one_fault_on_many_machines_is_one_alert() {
        let mut stream = Stream::new();
        for (now, address) in
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"]
                .iter()
                .enumerate()
        {
            stream.odd(now as f64, ["u1", address, "C1", "broken"], &["result", "address"]);
        }
        stream.odd(9.0, ["u1", "192.0.2.9", "C1", "otherwise"], &["result", "address"]);
        assert_eq!(stream.opened, [1, 8], "another result is another fault");
        let closed = stream.alerts.finish();
        assert_eq!((&closed[0].kind.odd["result"], &closed[0].kind.odd["address"]), (&Some("broken".into()), &None));
        assert_eq!((closed[0].values["result"].len(), closed[0].values["address"].len()), (1, SHOWN_VALUES));
        assert_eq!(
            (closed[0].finding.record, closed[0].first.record, closed[0].last.record),
            (2, 1, 7),
            "the highest score"
        );
    }

    #[test]
    fn what_many_share_is_no_intruder() {
        let mut stream = Stream::new();
        for _ in 0..20 {
            let values = ["u1", "203.0.113.1", "C1", "ok"].map(str::to_string);
            stream.alerts.normal(&fields(&values));
        }
        stream.odd(0.0, ["u1", "203.0.113.1", "XX", "ok"], &["country", "address"]).odd(
            1.0,
            ["u2", "203.0.113.1", "C1", "bad"],
            &["result", "address"],
        );
        assert_eq!(stream.opened, [1, 2], "an address of every fiftieth record");
    }

    #[test]
    fn what_is_too_little_alone_may_be_enough_together() {
        let mut stream = Stream::new();
        stream.threshold = 4.0;
        let values = ["u1", "192.0.2.7", "XX", "bad"];
        stream.odd(0.0, values, &["address"]).odd(1.0, ["u9", "192.0.2.9", "YY", "ok"], &["address"]);
        assert!(stream.opened.is_empty(), "2.5 and 3.5");
        stream.odd(2.0, values, &["address"]);
        assert!(stream.opened.is_empty(), "another 1.5, of which 0.5 any candidate has");
        stream.odd(3.0, values, &["address"]);
        assert_eq!(stream.opened, [4]);
        assert_eq!(stream.closed(1e6), [(1, 4, 3)], "the other one was never told");
    }

    #[test]
    fn candidates_of_one_user_that_chance_explains_are_no_alert() {
        // 500 candidates of 40 users among 200,000 records: 2.5 of 1000, which is fewer than three of 1000 by chance.
        let run = |between: usize| {
            let mut stream = Stream::new();
            stream.threshold = 6.0;
            for i in 0..500usize {
                let (user, address) = (format!("u{}", i % 40), format!("10.2.{}.1", i % 40));
                for n in 0..between {
                    let other = format!("u{}", (i + n) % 40);
                    stream.alerts.normal(&fields(&[other, format!("10.1.{n}.1"), "C1".into(), "ok".into()]));
                }
                stream.odd(i as f64, [&user, &address, "C1", "ok"], &["user"]);
            }
            stream.opened.len()
        };
        assert_eq!(run(400), 0);
        assert!(run(4) > 20, "as many among 2,000 records are no chance: {}", run(4));
    }

    #[test]
    fn an_alert_ends_after_quiet_or_a_day() {
        let mut stream = Stream::new();
        let values = ["u1", "192.0.2.7", "XX", "bad"];
        let mut ended = Vec::new();
        for step in 0..300 {
            let now = f64::from(step) * 500.0;
            ended.extend(stream.closed(now));
            stream.odd(now, values, &["address"]);
        }
        assert_eq!(ended, [(1, 173, 173)], "a day of steps of 500 s");
        stream.odd(1e6, values, &["address"]);
        assert_eq!(stream.opened, [1, 174], "who does not close beforehand joins");
    }

    #[test]
    fn the_quietest_alerts_make_room() {
        let mut stream = Stream::new();
        for n in 0..MOST_OPEN + 2 {
            stream.odd(n as f64 / 1e3, ["u1", &format!("192.0.2.{n}"), "XX", &format!("bad{n}")], &["result"]);
        }
        assert_eq!(stream.closed(2.0), [(1, 1, 1), (2, 2, 1)]);
    }
}
