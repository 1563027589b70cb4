//! How many records a day a stream has, estimated while it runs.

/// Seconds of a day.
pub const DAY: f64 = 86_400.0;
const HOUR: f64 = 3_600.0;
/// What is assumed before a stream has shown its pace: one record a second, for as long as ten seconds weigh.
const ASSUMED: (f64, f64) = (1.0, 10.0);
/// The weight in seconds of a pace that is known from before.
const KNOWN_WEIGHT: f64 = 600.0;

/// The pace of a stream: the larger one of its means over the last day and over the last hour, both with weights that decay.
/// The larger, because a budget is kept on a Monday morning only if the weekend before does not count.
#[derive(Clone, Debug)]
pub struct Pace {
    means: [DecayingMean; 2],
}

impl Pace {
    /// `known` is the pace in records a day that such a stream had before.
    pub fn new(known: Option<f64>) -> Self {
        let (per_second, weight) = known.map_or(ASSUMED, |per_day| (per_day / DAY, KNOWN_WEIGHT));
        let mean = |span| DecayingMean { span, count: per_second * weight, time: weight };
        Pace { means: [DAY, HOUR].map(mean) }
    }

    /// A record comes, `step` seconds after the one before it.
    pub fn record(&mut self, step: f64) {
        for mean in &mut self.means {
            mean.pass(step);
            mean.count += 1.0;
        }
    }

    pub fn per_day(&self) -> f64 {
        self.means.iter().map(|mean| DAY * mean.count / mean.time).fold(0.0, f64::max)
    }
}

/// Events over time, where those of a span ago count 1/e.
#[derive(Clone, Debug, Default)]
pub struct DecayingMean {
    /// In seconds.
    pub span: f64,
    pub count: f64,
    pub time: f64,
}

impl DecayingMean {
    pub fn pass(&mut self, seconds: f64) {
        let kept = (-seconds / self.span).exp();
        self.count *= kept;
        self.time = self.time * kept + self.span * (1.0 - kept);
    }
}

/// The times of some records, for their mean pace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    ends: Option<(f64, f64)>,
    records: u64,
}

impl Span {
    pub fn record(&mut self, time: Option<f64>) {
        let Some(time) = time else { return };
        let (first, last) = self.ends.unwrap_or((time, time));
        self.ends = Some((first.min(time), last.max(time)));
        self.records += 1;
    }

    /// Records a day; None where fewer than two differ in time.
    pub fn per_day(&self) -> Option<f64> {
        let (first, last) = self.ends?;
        (last > first).then(|| DAY * (self.records - 1) as f64 / (last - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) -> bool {
        (found / expected - 1.0).abs() < 0.02
    }

    #[test]
    fn a_steady_stream_has_its_own_pace_within_minutes_and_for_ever() {
        let mut pace = Pace::new(None);
        for record in 1..400_000 {
            pace.record(0.02);
            let per_day = pace.per_day();
            assert!(record < 30_000 || near(per_day, 50.0 * DAY), "{record}: {per_day}");
        }
    }

    #[test]
    fn a_known_pace_holds_until_the_stream_shows_another() {
        let mut pace = Pace::new(Some(1000.0));
        assert!(near(pace.per_day(), 1000.0));
        for _ in 0..500 {
            pace.record(864.0);
        }
        let per_day = pace.per_day();
        assert!((100.0..115.0).contains(&per_day), "{per_day}: a record that has just come lets an hour look busier");
    }

    #[test]
    fn a_quiet_night_does_not_make_the_morning_slow() {
        let mut pace = Pace::new(Some(DAY));
        pace.record(16.0 * 3600.0);
        for _ in 0..20_000 {
            pace.record(0.1);
        }
        assert!(pace.per_day() > 4.0 * DAY, "ten times the pace before: {}", pace.per_day() / DAY);
    }

    #[test]
    fn the_pace_of_a_file_is_that_between_its_ends() {
        let mut span = Span::default();
        assert_eq!(span.per_day(), None);
        [Some(100.0), None, Some(100.0)].into_iter().for_each(|time| span.record(time));
        assert_eq!(span.per_day(), None);
        span.record(Some(100.0 + 2.0 * DAY));
        assert_eq!(span.per_day(), Some(1.0));
    }
}
