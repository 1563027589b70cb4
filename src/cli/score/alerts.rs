//! `score --alerts-per-day`: alerts instead of a line for each record.

use crate::cli::values;
use clap::Args;
use logwright::alerts::rate_of;
use logwright::score::Calibration;
use logwright::stream::Alerting;
use logwright::{Error, Result};

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
    /// Errors: no calibration.
    pub fn open(&self, calibration: Option<&Calibration>) -> Result<Option<Alerting>> {
        let Some(budget) = self.alerts_per_day else { return Ok(None) };
        let calibration = calibration.ok_or_else(|| {
            Error::usage(
                "--alerts-per-day: this needs the scores of normal records; calibrate first (--calibrate NORMAL)",
            )
        })?;
        Ok(Some(Alerting::new(budget, self.alert_quiet, calibration)))
    }
}
