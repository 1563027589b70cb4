//! `score --alerts-per-day`: alerts instead of a line for each record.

use crate::cli::values;
use clap::Args;
use logwright::alerts::{Alert, Alerts, Anomaly, Budget, Clock, MOST_ODD, Template, rate_of};
use logwright::finding::Finding;
use logwright::score::{Calibration, Ranks, ScoredRecord};
use logwright::{Error, Result};

/// After so many records the pace of a stream is known well enough to speak of it.
const SETTLED: u64 = 1000;

#[derive(Args)]
#[command(next_help_heading = "Alerts")]
pub struct AlertArgs {
    /// Print alerts instead of records, at most about N a day: equal anomalies are one alert, and the threshold follows from the
    /// number of records a day. Each alert is printed when it opens and when it closes
    #[arg(long, value_name = "N", value_parser = values::positive,
        conflicts_with_all = ["fpr", "threshold", "no_calibration", "only_anomalies", "explain", "group_by"])]
    alerts_per_day: Option<f64>,
    /// Close an alert after S seconds without a record of it
    #[arg(long, value_name = "S", default_value_t = 900.0, requires = "alerts_per_day", value_parser = values::positive)]
    alert_quiet: f64,
}

impl AlertArgs {
    pub fn are_asked(&self) -> bool {
        self.alerts_per_day.is_some()
    }

    /// The false-positive rate to calibrate for; None where no budget is given, or the pace of the normal records is not known.
    pub fn rate(&self, records_per_day: Option<f64>) -> Option<f64> {
        let budget = self.alerts_per_day?;
        if records_per_day.is_none() {
            tracing::warn!(
                "--alerts-per-day: the normal records have no times that differ, so their number a day is not known until a stream \
                 shows it; name the field with their time (--time-field PATH)"
            );
        }
        records_per_day.map(|pace| rate_of(budget, pace))
    }

    /// Alerts by this calibration; None where no budget is given.
    ///
    /// Errors: no calibration, or one without scores.
    pub fn open(&self, calibration: Option<&Calibration>) -> Result<Option<Alerting>> {
        let Some(budget) = self.alerts_per_day else { return Ok(None) };
        let calibration = calibration.ok_or_else(|| {
            Error::usage(
                "--alerts-per-day: this needs the scores of normal records; calibrate first (--calibrate NORMAL)",
            )
        })?;
        Ok(Some(Alerting {
            alerts: Alerts::new(self.alert_quiet),
            budget: Budget::new(budget, calibration.records_per_day),
            clock: Clock::default(),
            scores: calibration.scores.clone(),
            records: 0,
            opened: 0,
            told: false,
        }))
    }
}

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

    /// The alert that the record of a finding opens, if it does.
    pub fn add(&mut self, finding: &Finding, measured: &ScoredRecord, in_clear: bool) -> Option<&Alert> {
        let field = |field: &_| -> (String, String) {
            let field: &logwright::score::FieldSurprisal = field;
            (field.path.clone(), measured.value(field, in_clear))
        };
        let fields: Vec<_> = measured.parts.fields.iter().map(field).collect();
        if finding.anomaly != Some(true) {
            self.alerts.normal(&fields);
            return None;
        }
        let anomaly = Anomaly { finding, template: Template::of(&measured.record), fields: &fields };
        let opened = self.alerts.anomaly(self.clock.now(), &anomaly)?;
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
            (2.0 / rate).ceil()
        );
    }
}
