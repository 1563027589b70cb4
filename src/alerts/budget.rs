//! At most so many alerts a day -> the false-positive rate to ask for.

use super::pace::{DAY, DecayingMean, Pace};

/// The rates that are asked for. A threshold that half of the normal records exceed says nothing, and no calibration knows of one
/// record in 10^9.
const RATES: std::ops::RangeInclusive<f64> = 1e-9..=0.5;
/// Seconds after which a rate that was lowered has doubled, once the budget is kept.
const RECOVERY: f64 = 3_600.0;

/// A number of alerts a day, and a stream that has to keep to it.
///
/// Anomalies that are one alert count once, so a rate of `alerts a day / records a day` gives at most so many alerts as long as
/// the records are like those of the calibration. Where they are not, more alerts open than chance explains (three standard
/// deviations, and three more, because a few attacks in an hour are no excess): each further one halves the rate, which rises
/// again while the alerts of the last day keep to the budget.
#[derive(Clone, Debug)]
pub struct Budget {
    alerts_per_day: f64,
    pace: Pace,
    opened: DecayingMean,
    /// By which the rate is lowered.
    factor: f64,
}

impl Budget {
    pub fn new(alerts_per_day: f64, known_pace: Option<f64>) -> Self {
        Budget {
            alerts_per_day,
            pace: Pace::new(known_pace),
            opened: DecayingMean { span: DAY, count: 0.0, time: 0.0 },
            factor: 1.0,
        }
    }

    /// A record comes, `step` seconds after the one before it.
    pub fn record(&mut self, step: f64) {
        self.pace.record(step);
        self.opened.pass(step);
        if self.factor < 1.0 && self.opened.count < self.expected() {
            self.factor = (self.factor * (step / RECOVERY).exp2()).min(1.0);
        }
    }

    /// An alert opens.
    pub fn opened(&mut self) {
        self.opened.count += 1.0;
        let expected = self.expected();
        if self.opened.count > expected + 3.0 * expected.sqrt() + 3.0 {
            self.factor /= 2.0;
        }
    }

    /// The alerts that the budget allows in the time that is remembered.
    fn expected(&self) -> f64 {
        self.alerts_per_day * self.opened.time / DAY
    }

    /// The fraction of normal records that may be anomalies.
    pub fn rate(&self) -> f64 {
        (self.factor * self.alerts_per_day / self.pace.per_day()).clamp(*RATES.start(), *RATES.end())
    }

    pub fn records_per_day(&self) -> f64 {
        self.pace.per_day()
    }

    pub fn alerts_per_day(&self) -> f64 {
        self.alerts_per_day
    }
}

/// The rate for a budget where the pace is known; as [`Budget::rate`] at the start of a stream.
pub fn rate_of(alerts_per_day: f64, records_per_day: f64) -> f64 {
    (alerts_per_day / records_per_day).clamp(*RATES.start(), *RATES.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alerts in each of `days`, of a stream in which the fraction of anomalies is `times` the one asked for.
    fn alerts(days: usize, times: f64) -> Vec<f64> {
        let mut budget = Budget::new(10.0, Some(24_000.0));
        let (mut due, mut found) = (0.0, Vec::new());
        for _ in 0..days {
            let mut today = 0.0;
            for _ in 0..24_000 {
                budget.record(3.6);
                due += times * budget.rate();
                if due >= 1.0 {
                    due -= 1.0;
                    today += 1.0;
                    budget.opened();
                }
            }
            found.push(today);
        }
        found
    }

    #[test]
    fn a_stream_like_its_calibration_gets_the_budget() {
        for day in alerts(5, 1.0) {
            assert!((9.0..=10.0).contains(&day), "{day}");
        }
    }

    #[test]
    fn a_stream_that_is_other_is_held_near_the_budget() {
        for day in alerts(5, 100.0) {
            assert!((3.0..30.0).contains(&day), "{day} alerts, where 1000 would have been");
        }
    }

    #[test]
    fn a_few_attacks_in_an_hour_do_not_raise_the_threshold() {
        let mut budget = Budget::new(10.0, Some(4_320_000.0));
        let before = budget.rate();
        for _ in 0..3 {
            budget.opened();
        }
        assert_eq!(budget.rate(), before);
        assert!((before - 10.0 / 4_320_000.0).abs() < 1e-12);
        assert_eq!(Budget::new(1e12, None).rate(), 0.5);
        assert_eq!((rate_of(1e-9, 1e9), rate_of(10.0, 1000.0)), (1e-9, 0.01));
    }
}
