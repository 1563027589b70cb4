//! How many values the fields of a stream have, and how often.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The most paths that are known, and the most values of each: 4 MiB in all.
const MOST_PATHS: usize = 256;
const MOST_VALUES: usize = 1024;
/// A field with more values than this has many.
const FEW: usize = 64;
/// A number of at most so many characters is a measure, a longer one may be an account.
const SHORT: usize = 7;
/// Of a value, these characters are compared; findings show no more.
const COMPARED: usize = 200;

/// The values of the records without an anomaly.
#[derive(Debug, Default)]
pub struct Values {
    paths: HashMap<String, HashMap<u64, u32>>,
    records: u64,
}

impl Values {
    pub fn record<'a>(&mut self, fields: impl Iterator<Item = (&'a str, &'a str)>) {
        self.records += 1;
        for (path, value) in fields {
            if !self.paths.contains_key(path) {
                if self.paths.len() == MOST_PATHS {
                    continue;
                }
                self.paths.insert(path.to_string(), HashMap::new());
            }
            let counts = self.paths.get_mut(path).expect("it is known now");
            let value = hash(value);
            if counts.len() < MOST_VALUES || counts.contains_key(&value) {
                *counts.entry(value).or_default() += 1;
            }
        }
    }

    /// Whether the field has few values; one that was never seen has none.
    pub fn are_few(&self, path: &str) -> bool {
        let known = self.paths.get(path).map_or(0, HashMap::len) as u64;
        let seen: u64 = self.paths.get(path).map_or(0, |counts| counts.values().copied().map(u64::from).sum());
        // In the first records, every field has few; one that has another value in every fourth will have many.
        known <= FEW as u64 && !(known >= 8 && 4 * known >= seen)
    }

    /// Whether hardly any value of the field comes twice, as of times and identifiers of events.
    pub fn are_ever_new(&self, path: &str) -> bool {
        let Some(counts) = self.paths.get(path) else { return false };
        let seen: u64 = counts.values().copied().map(u64::from).sum();
        counts.len() >= 8 && 4 * seen < 5 * counts.len() as u64
    }

    /// Records without an anomaly so far.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The share of the records that have this value at this path.
    pub fn share(&self, path: &str, value: &str) -> f64 {
        let often = self.paths.get(path).and_then(|counts| counts.get(&hash(value))).copied().unwrap_or(0);
        f64::from(often) / self.records.max(1) as f64
    }

    /// Whether a value says whose a record is: the field has many values, and at most one record in a hundred has this one. A
    /// short number is a measure, which chance repeats.
    pub fn is_particular(&self, path: &str, value: &str) -> bool {
        let often = self.paths.get(path).and_then(|counts| counts.get(&hash(value))).copied().unwrap_or(0);
        let is_measure = value.is_empty() || value.len() <= SHORT && value.parse::<f64>().is_ok();
        !is_measure && !self.are_few(path) && 100 * u64::from(often) <= self.records
    }
}

/// The part of a value that is compared.
pub fn compared(value: &str) -> &str {
    value.char_indices().nth(COMPARED).map_or(value, |(end, _)| &value[..end])
}

fn hash(value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    compared(value).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_few_values_or_many() {
        let mut values = Values::default();
        for i in 0..1000u32 {
            let (country, address) = (format!("C{}", i % 7), format!("10.0.0.{}", i % 200));
            let fields = [("country", country.as_str()), ("address", &address), ("id", &i.to_string()), ("one", "x")];
            values.record(fields.map(|(path, value)| (path, value)).into_iter());
        }
        let few = ["country", "address", "id", "one", "other"].map(|path| values.are_few(path));
        assert_eq!(few, [true, false, false, true, true]);
        assert!(values.is_particular("address", "192.0.2.1"));
        assert!(values.is_particular("address", "10.0.0.7"), "five of a thousand");
        (0..10).for_each(|_| values.record([("address", "10.0.0.7")].into_iter()));
        assert!(!values.is_particular("address", "10.0.0.7"), "fifteen");
        assert!(!values.is_particular("id", "1234567") && values.is_particular("id", "123837392027"));
        assert_eq!(["id", "address", "other"].map(|path| values.are_ever_new(path)), [true, false, false]);
        assert!(!values.is_particular("country", "XX"), "few countries: chance may repeat it");
    }

    #[test]
    fn a_field_of_ever_new_values_is_known_early_and_takes_bounded_memory() {
        let mut values = Values::default();
        for i in 0..5000u32 {
            values.record([("id", i.to_string().as_str())].into_iter());
            assert!(i < 8 || !values.are_few("id"), "{i}");
        }
        assert_eq!(values.paths["id"].len(), MOST_VALUES);
        for i in 0..1000 {
            values.record([(i.to_string().as_str(), "x")].into_iter());
        }
        assert_eq!(values.paths.len(), MOST_PATHS);
    }

    #[test]
    fn long_values_are_compared_as_findings_show_them() {
        let long = "é".repeat(300);
        assert_eq!(compared(&long), compared(&format!("{}…", "é".repeat(200))));
        assert_eq!(compared("short"), "short");
    }
}
