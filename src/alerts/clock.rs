//! The time of a stream: that of its records where they have one, else that of their arrival.

use std::time::Instant;

/// The longest step, in seconds: one wrong year in a record must not end all alerts and forget the pace of the stream.
const LONGEST_STEP: f64 = 86_400.0;

/// A clock that never goes back. It counts seconds from an origin of its own, and skips what one record jumps beyond a day.
#[derive(Debug)]
pub struct Clock {
    now: f64,
    /// The time of the last record that had one.
    last: Option<f64>,
    arrived: Instant,
    /// Whether a record had no time.
    by_arrival: bool,
}

impl Default for Clock {
    fn default() -> Self {
        Clock { now: 0.0, last: None, arrived: Instant::now(), by_arrival: false }
    }
}

impl Clock {
    /// A record arrives, with its time in seconds since 1970; returns the seconds since the record before it.
    pub fn record(&mut self, time: Option<f64>) -> f64 {
        let waited = self.arrived.elapsed().as_secs_f64();
        self.arrived = Instant::now();
        let step = match (time, self.last) {
            (Some(time), Some(last)) => time - last,
            (Some(_), None) => 0.0,
            // Where others have a time, one without stands where it is.
            (None, Some(_)) => 0.0,
            (None, None) => {
                self.by_arrival = true;
                waited
            }
        };
        // A jump back moves nothing, but what follows it is measured from there on if it stays: it is the time of the log.
        self.last = time.or(self.last);
        let step = step.clamp(0.0, LONGEST_STEP);
        self.now += step;
        step
    }

    pub fn now(&self) -> f64 {
        self.now
    }

    /// The time while no record comes.
    pub fn idle(&self) -> f64 {
        self.now + self.arrived.elapsed().as_secs_f64()
    }

    pub fn is_by_arrival(&self) -> bool {
        self.by_arrival
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_with_the_records_and_never_back() {
        let mut clock = Clock::default();
        let steps: Vec<f64> = [Some(100.0), Some(107.0), None, Some(103.0), Some(104.0), Some(1e10), Some(1e10 + 2.0)]
            .map(|time| clock.record(time))
            .to_vec();
        assert_eq!(steps, [0.0, 7.0, 0.0, 0.0, 1.0, LONGEST_STEP, 2.0]);
        assert_eq!((clock.now(), clock.is_by_arrival()), (LONGEST_STEP + 10.0, false));
        let mut clock = Clock::default();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(clock.record(None) >= 0.02 && clock.is_by_arrival());
    }
}
