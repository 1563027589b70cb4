//! Paths whose values move on with every record: times, sequence numbers. What a model finds surprising there is only that the
//! calendar has moved on since its training, which is no evidence, and would be more of it every day.

use crate::record::log_seconds;
use std::collections::{HashMap, HashSet};

/// The fewest values that make a path a clock.
const FEWEST: u32 = 20;
/// The share of its values that must be times, or rise.
const SHARE: f64 = 0.95;

/// Finds clocks among the paths of normal records, in their order.
#[derive(Default)]
pub struct Clocks {
    paths: HashMap<u32, Seen>,
}

#[derive(Default)]
struct Seen {
    values: u32,
    /// Values that are a date with a time.
    times: u32,
    /// Numbers that are larger than the one before.
    rises: u32,
    last: f64,
}

impl Clocks {
    pub fn add(&mut self, path: u32, value: &str) {
        let seen = self.paths.entry(path).or_default();
        seen.values += 1;
        match value.parse::<f64>() {
            Ok(number) => {
                seen.rises += u32::from(seen.values > 1 && number > seen.last);
                seen.last = number;
            }
            Err(_) => seen.times += u32::from(log_seconds(value).is_some()),
        }
    }

    /// The paths with times, in any order, and those whose numbers rise.
    pub fn found(&self) -> HashSet<u32> {
        let is_clock = |seen: &Seen| {
            let enough = SHARE * f64::from(seen.values);
            seen.values >= FEWEST && (f64::from(seen.times) >= enough || f64::from(seen.rises + 1) >= enough)
        };
        self.paths.iter().filter(|(_, seen)| is_clock(seen)).map(|(path, _)| *path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_rising_numbers_are_clocks() {
        let mut clocks = Clocks::default();
        for i in 0..100u32 {
            let values = [
                format!("2022-09-{:02}T05:37:32.272669Z", 1 + i * 7 % 28),
                format!("{}", 1000 + i),
                format!("{}", 1000 + i * 37 % 101),
                "200".to_string(),
                format!("17/May/2015:10:05:{:02} +0000", i % 60),
                format!("user{i}"),
            ];
            (0..).zip(&values).for_each(|(path, value)| clocks.add(path, value));
        }
        assert_eq!(clocks.found(), HashSet::from([0, 1, 4]));
        let mut few = Clocks::default();
        (0..FEWEST - 1).for_each(|i| few.add(0, &i.to_string()));
        assert!(few.found().is_empty());
    }
}
