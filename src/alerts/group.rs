//! Open alerts, and which of them an anomaly belongs to.

use super::kind::{Kind, odd_fields};
use super::template::Template;
use super::values::{Values, compared};
use crate::finding::{Finding, FoundField};
use serde::Serialize;
use std::collections::BTreeMap;

/// The most values of an odd field that are printed.
const SHOWN_VALUES: usize = 5;
/// The most open alerts; beyond it, the one that has been quiet longest is closed.
const MOST_OPEN: usize = 1000;
/// After a day an alert is closed, however busy it is: what lasts is told once a day.
const LONGEST: f64 = 86_400.0;

/// An anomaly, and all fields of its record as (path, value).
pub struct Anomaly<'a> {
    pub finding: &'a Finding,
    pub template: Template,
    pub fields: &'a [(String, String)],
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

/// An alert that is open.
struct Group {
    alert: Alert,
    /// The odd values of the finding that opened it that hardly any other record has, by path. Those of later records do not
    /// count: from one to the next, an alert would reach from attack to attack.
    particular: Vec<(String, String)>,
    began: f64,
    /// The time of its last record.
    active: f64,
}

/// The open alerts of a stream.
pub struct Alerts {
    quiet: f64,
    open: Vec<Group>,
    values: Values,
}

impl Alerts {
    /// An alert without a record for `quiet` seconds is closed.
    pub fn new(quiet: f64) -> Self {
        Alerts { quiet, open: Vec::new(), values: Values::default() }
    }

    /// Takes note of the fields of a record that is no anomaly.
    pub fn normal(&mut self, fields: &[(String, String)]) {
        self.values.record(fields.iter().map(|(path, value)| (path.as_str(), value.as_str())));
    }

    /// Takes an anomaly at a time in seconds. Returns the alert that it opens, unless it belongs to an open one.
    pub fn anomaly(&mut self, now: f64, anomaly: &Anomaly) -> Option<&Alert> {
        let odd = odd_fields(anomaly.finding);
        let place = self.open.iter().position(|group| group.holds(anomaly));
        match place {
            Some(place) => {
                self.open[place].add(now, anomaly, &odd);
                None
            }
            None => {
                let group = self.begin(now, anomaly, &odd);
                self.open.push(group);
                self.open.last().map(|group| &group.alert)
            }
        }
    }

    /// The values of odd fields that say whose the record is.
    fn particular(&self, odd: &[&FoundField]) -> Vec<(String, String)> {
        let chosen = odd.iter().filter(|field| self.values.is_particular(&field.path, &field.value));
        chosen.map(|field| (field.path.clone(), compared(&field.value).to_string())).collect()
    }

    fn begin(&self, now: f64, anomaly: &Anomaly, odd: &[&FoundField]) -> Group {
        let value = |field: &&FoundField| {
            let value = self.values.are_few(&field.path).then(|| compared(&field.value).to_string());
            (field.path.clone(), value)
        };
        let (finding, place) = (anomaly.finding.clone(), Place::of(anomaly.finding));
        let alert = Alert {
            id: finding.origin.id.clone(),
            state: State::Open,
            kind: Kind { template: anomaly.template.clone(), odd: odd.iter().map(value).collect() },
            count: 1,
            first: place.clone(),
            last: place,
            values: odd.iter().map(|field| (field.path.clone(), vec![field.value.clone()])).collect(),
            finding,
        };
        Group { alert, particular: self.particular(odd), began: now, active: now }
    }

    /// Closes the alerts that have been quiet, or open, for long enough; and the quietest, where too many are open.
    pub fn close(&mut self, now: f64) -> Vec<Alert> {
        let quiet = self.quiet;
        let mut closed = self.take(|group| now - group.active > quiet || now - group.began > LONGEST);
        while self.open.len() > MOST_OPEN {
            let oldest = self.open.iter().map(|group| group.active).fold(f64::INFINITY, f64::min);
            closed.extend(self.take(|group| group.active == oldest));
        }
        closed
    }

    /// Closes all alerts.
    pub fn finish(&mut self) -> Vec<Alert> {
        self.take(|_| true)
    }

    fn take(&mut self, chosen: impl Fn(&Group) -> bool) -> Vec<Alert> {
        if !self.open.iter().any(&chosen) {
            return Vec::new();
        }
        let (closed, open) = std::mem::take(&mut self.open).into_iter().partition(|group| chosen(group));
        self.open = open;
        let closed: Vec<Group> = closed;
        closed.into_iter().map(|group| Alert { state: State::Closed, ..group.alert }).collect()
    }
}

impl Group {
    fn holds(&self, anomaly: &Anomaly) -> bool {
        let same_whose = self
            .particular
            .iter()
            .any(|(path, value)| anomaly.fields.iter().any(|(other, found)| other == path && compared(found) == value));
        let first =
            |field: &&FoundField| self.alert.values.get(&field.path).is_some_and(|known| known[0] == field.value);
        let says_what = self.alert.kind.says_what() || odd_fields(anomaly.finding).iter().any(first);
        same_whose || says_what && self.alert.kind.holds(anomaly.finding, &anomaly.template)
    }

    fn add(&mut self, now: f64, anomaly: &Anomaly, odd: &[&FoundField]) {
        let Alert { count, last, values, finding, .. } = &mut self.alert;
        (*count, *last, self.active) = (*count + 1, Place::of(anomaly.finding), now);
        if anomaly.finding.score > finding.score {
            *finding = anomaly.finding.clone();
        }
        for field in odd {
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
            Stream { alerts, number: 0, opened: Vec::new() }
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
                score: self.number as f64 % 3.0,
                p_value: None,
                threshold: Some(1.0),
                anomaly: Some(true),
                evidence: None,
                known: None,
                nats_per_char: 1.0,
                nats_per_token: 1.0,
                max_token: MaxToken { text: String::new(), nats: 1.0, at: 0 },
                fields: odd.iter().map(found).collect(),
                attached: Attached::default(),
                drift: None,
                tokens: Vec::new(),
            };
            let template = Template::of(br#"{"user":1,"address":1,"country":1,"result":1}"#);
            let anomaly = Anomaly { finding: &finding, template, fields: &fields };
            if let Some(alert) = self.alerts.anomaly(now, &anomaly) {
                assert_eq!((alert.state, alert.count, &alert.id), (State::Open, 1, &finding.origin.id));
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
    fn what_users_share_is_no_intruder() {
        let mut stream = Stream::new();
        stream.odd(0.0, ["u1", "10.0.1.1", "XX", "ok"], &["country", "address"]).odd(
            1.0,
            ["u2", "10.0.1.1", "C1", "bad"],
            &["result", "address"],
        );
        assert_eq!(stream.opened, [1, 2], "an address of every day");
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
            stream.odd(n as f64 / 1e3, ["u1", "192.0.2.7", "XX", &format!("bad{n}")], &["result"]);
        }
        assert_eq!(stream.closed(2.0), [(1, 1, 1), (2, 2, 1)]);
    }
}
