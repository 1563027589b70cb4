//! Alerts instead of a line for each record, within a budget a day.

use crate::alerts::{Alert, Alerts, Budget, Candidate, Clock, MOST_ODD, Template};
use crate::finding::Finding;
use crate::score::{Calibration, FieldSurprisal, Ranks, ScoredRecord};

/// The share of normal records that are candidates for an alert: enough for what belongs together, few enough that hardly any
/// belong together by chance.
const CANDIDATES: f64 = 3e-3;
/// The fewest scores of the calibration that exceed those of no candidate.
const FEWEST: f64 = 4.0;
/// After so many records the pace of a stream is known well enough to speak of it.
const SETTLED: u64 = 1000;

/// The alerts of a stream.
pub struct Alerting {
    alerts: Alerts,
    budget: Budget,
    clock: Clock,
    /// The scores of normal records.
    scores: Ranks,
    records: u64,
    pub opened: u64,
    /// Whether it was said that the calibration is too small for the budget.
    told: bool,
}

impl Alerting {
    /// At most about `per_day` alerts a day, each closed after `quiet` seconds without a record of it.
    pub fn new(per_day: f64, quiet: f64, calibration: &Calibration) -> Self {
        Alerting {
            alerts: Alerts::new(quiet),
            budget: Budget::new(per_day, calibration.records_per_day),
            clock: Clock::default(),
            scores: calibration.scores.clone(),
            records: 0,
            opened: 0,
            told: false,
        }
    }

    /// How many fields a finding needs where `asked` are to be printed.
    pub fn fields(asked: usize) -> usize {
        if asked == 0 { 0 } else { asked.max(MOST_ODD) }
    }

    /// A record comes, with its time: the threshold from now on, and the alerts that close.
    pub fn record(&mut self, time: Option<f64>) -> (f64, Vec<Alert>) {
        let step = self.clock.record(time);
        self.budget.record(step);
        self.records += 1;
        if self.records == SETTLED {
            self.tell();
        }
        let threshold = self.scores.threshold_for(self.budget.rate());
        (threshold, self.alerts.close(self.clock.now()))
    }

    /// The alert that opens with the record of a finding, if one does.
    pub fn add(&mut self, finding: &Finding, measured: &ScoredRecord, in_clear: bool) -> Option<&Alert> {
        let field = |field: &FieldSurprisal| (field.path.clone(), measured.value(field, in_clear));
        let fields: Vec<_> = measured.parts.fields.iter().map(field).collect();
        let share = CANDIDATES.max(FEWEST * self.scores.resolution()).max(self.budget.rate());
        let (least, threshold) = (self.scores.threshold_for(share), finding.threshold?);
        let is_candidate = match &finding.known {
            Some(known) => known.state == "bad",
            None => finding.score > least,
        };
        if !is_candidate {
            self.alerts.normal(&fields);
            return None;
        }
        let template = Template::of(&measured.record);
        let candidate = Candidate { finding, template, fields: &fields, least, share, threshold };
        let opened = self.alerts.candidate(self.clock.now(), &candidate)?;
        self.opened += 1;
        self.budget.opened();
        Some(opened)
    }

    /// The alerts that close while no record comes.
    pub fn idle(&mut self) -> Vec<Alert> {
        self.alerts.close(self.clock.idle())
    }

    pub fn finish(&mut self) -> Vec<Alert> {
        self.tell();
        self.alerts.finish()
    }

    /// Says once what the calibration cannot resolve.
    fn tell(&mut self) {
        let (pace, least) = (self.budget.records_per_day(), self.scores.resolution());
        let (budget, rate) = (self.budget.alerts_per_day(), self.budget.alerts_per_day() / pace);
        if self.told || self.records == 0 || rate >= least {
            return;
        }
        self.told = true;
        let by = if self.clock.is_by_arrival() { ", as they arrive" } else { "" };
        tracing::warn!(
            "--alerts-per-day {budget}: of {pace:.0} records a day{by}, the {} scores of the calibration resolve {:.1} alerts a day or \
             more; the threshold for fewer is extrapolated. Calibrate on {:.0} normal records for this budget",
            self.scores.count(),
            least * pace,
            (1.0 / rate).ceil()
        );
    }
}
