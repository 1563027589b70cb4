//! The numbers of a path: how they are written, in which range they lie, and whether they grow.

use super::values::{DistinctValues, ENOUGH};
use super::written;
use std::collections::BTreeSet;

/// The most digits that a range is written for; 64-bit floats lose integers beyond.
const MOST_DIGITS: u32 = 15;
/// Digits before the point beyond those seen, where no range holds: a counter passes the next powers of ten.
const MORE_DIGITS: u32 = 2;
/// Digits behind the point: 64-bit floats have up to 17 digits that count, and small ones have zeros before these.
const MORE_DECIMALS: u32 = 2;
const FLOAT_DECIMALS: u32 = 20;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NumberProfile {
    pub seen: u64,
    /// Numbers without a point or an exponent.
    pub integers: u64,
    forms: BTreeSet<Form>,
    /// Whether some number has no minus sign, and whether some number has one.
    signs: [bool; 2],
    /// The most digits before the point, and the fewest and the most digits behind it and in the exponent.
    digits: u32,
    decimals: Option<[u32; 2]>,
    exponent: Option<[u32; 2]>,
    range: Option<[f64; 2]>,
    trend: Trend,
    /// The numbers as they are written.
    pub values: DistinctValues,
}

/// What a number has besides its digits: a point, and the letter and sign of an exponent (`e-`, `E`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    point: bool,
    exponent: Option<String>,
}

/// The digits allowed before the point, without and with a minus sign.
type Range = [Option<[u64; 2]>; 2];

impl NumberProfile {
    pub fn add(&mut self, raw: &str) {
        let (mantissa, exponent) = raw.split_at(raw.find(['e', 'E']).unwrap_or(raw.len()));
        let (whole, decimals) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let power = exponent.trim_start_matches(['e', 'E', '+', '-']);
        let written = (!exponent.is_empty()).then(|| exponent[..exponent.len() - power.len()].to_string());
        self.seen += 1;
        self.integers += u64::from(whole.len() == raw.len());
        self.signs[usize::from(raw.starts_with('-'))] = true;
        self.digits = self.digits.max(whole.trim_start_matches('-').len() as u32);
        let point = mantissa.contains('.');
        if point {
            widen(&mut self.decimals, decimals.len() as u32);
        }
        if written.is_some() {
            widen(&mut self.exponent, power.len() as u32);
        }
        let form = Form { point, exponent: written };
        if !self.forms.contains(&form) {
            self.forms.insert(form);
        }
        let value = raw.parse().unwrap_or(f64::INFINITY);
        let [least, most] = self.range.get_or_insert([value; 2]);
        (*least, *most) = (least.min(value), most.max(value));
        self.trend.add(value);
        self.values.add(raw);
    }

    /// A regular expression without anchors for the numbers as they may be written: a closed category, else bounded in digits,
    /// sign and form, and in range where the numbers do not grow.
    pub fn written(&self) -> String {
        if let Some(values) = self.values.closed() {
            let values: Vec<String> = values.keys().map(|value| written::escape(value)).collect();
            return format!("({})", values.join("|"));
        }
        let most = self.digits + MORE_DIGITS - 1;
        let digits = |bounds: Option<[u64; 2]>| match bounds {
            Some([least, most]) => int_range(least, most),
            None => format!("(0|[1-9][0-9]{{0,{most}}})"),
        };
        let whole = match (self.whole_range(), self.signs) {
            (Some([plain, negative]), _) => {
                let plain = plain.map(|bounds| digits(Some(bounds)));
                let negative = negative.map(|bounds| format!("-{}", digits(Some(bounds))));
                format!("({})", plain.into_iter().chain(negative).collect::<Vec<_>>().join("|"))
            }
            (None, [true, true]) => format!("-?{}", digits(None)),
            (None, [false, true]) => format!("-{}", digits(None)),
            (None, _) => digits(None),
        };
        let endings: Vec<String> = self.forms.iter().map(|form| self.ending(form)).collect();
        if endings.len() == 1 { whole + &endings[0] } else { format!("{whole}({})", endings.join("|")) }
    }

    fn ending(&self, form: &Form) -> String {
        let decimals = match self.decimals {
            Some([least, most]) if form.point && least == most && self.seen >= ENOUGH => format!(r"\.[0-9]{{{most}}}"),
            Some([_, most]) if form.point => {
                let most = if most < 8 { most + MORE_DECIMALS } else { FLOAT_DECIMALS.max(most + MORE_DECIMALS) };
                format!(r"\.[0-9]{{1,{most}}}")
            }
            _ => String::new(),
        };
        let exponent = form.exponent.as_ref().zip(self.exponent);
        let exponent =
            exponent.map(|(sign, [least, most])| format!("{}[0-9]{{{least},{most}}}", written::escape(sign)));
        decimals + &exponent.unwrap_or_default()
    }

    /// The least and the greatest number that [`Self::written`] allows, if it bounds them.
    pub fn bounds(&self) -> [Option<i64>; 2] {
        // A fraction comes on top of the whole part.
        let more = i64::from(self.integers < self.seen);
        match self.whole_range() {
            Some([plain, negative]) => {
                let least = plain.map(|[least, _]| least as i64);
                let negative_least = negative.map(|[_, most]| -(most as i64) - more);
                let most = plain.map(|[_, most]| most as i64 + more).or(negative.map(|[least, _]| -(least as i64)));
                [negative_least.or(least), most]
            }
            None if self.signs[1] => [None, None],
            None => [Some(0), None],
        }
    }

    /// The range of the digits before the point: what was seen, and as much again on both sides. None where the numbers grow,
    /// are few, have exponents or more digits than are exact.
    fn whole_range(&self) -> Option<Range> {
        let [least, most] = self.range?;
        let is_exact = self.digits <= MOST_DIGITS && self.exponent.is_none() && most.is_finite();
        if self.seen < ENOUGH || !is_exact || self.trend.grows() {
            return None;
        }
        let slack = (most - least).max(1.0);
        let (low, high) = ((least - slack).floor(), (most + slack).ceil());
        let [plain, negative] = self.signs;
        let plain = plain.then_some([low.max(0.0) as u64, high.max(0.0) as u64]);
        let negative = negative.then_some([(-high).max(0.0) as u64, (-low).max(0.0) as u64]);
        Some([plain, negative])
    }
}

fn widen(bounds: &mut Option<[u32; 2]>, length: u32) {
    let [least, most] = bounds.get_or_insert([length; 2]);
    (*least, *most) = ((*least).min(length), (*most).max(length));
}

/// Whether a sequence of values has a direction: counters, times and identifiers that are handed out in turn.
#[derive(Clone, Debug, Default, PartialEq)]
struct Trend {
    n: f64,
    mean: f64,
    /// Sums of squared deviations of the values, and of their products with the deviations of their places.
    squares: f64,
    products: f64,
    highest: f64,
    lowest: f64,
    /// How often a value was higher, or lower, than all before it.
    records: [u32; 2],
}

impl Trend {
    fn add(&mut self, value: f64) {
        if self.n == 0.0 || value > self.highest {
            (self.highest, self.records[0]) = (value, self.records[0] + 1);
        }
        if self.n == 0.0 || value < self.lowest {
            (self.lowest, self.records[1]) = (value, self.records[1] + 1);
        }
        // Welford's update; the mean of the places before this one is (n - 1) / 2.
        let place = self.n;
        self.n += 1.0;
        let from_mean = value - self.mean;
        self.mean += from_mean / self.n;
        self.squares += from_mean * (value - self.mean);
        self.products += (place - (place - 1.0).max(0.0) / 2.0) * (value - self.mean);
    }

    /// Whether the values follow their order: their correlation with it is beyond four standard deviations of none, or
    /// there are more than three times as many records as a shuffled sequence has (about ln n; Rényi 1962).
    fn grows(&self) -> bool {
        let places = self.n * (self.n * self.n - 1.0) / 12.0;
        let correlation = self.products / (places * self.squares).sqrt();
        let most_records = 3.0 * (self.n.ln() + 1.0);
        correlation.abs() * self.n.sqrt() > 4.0 || self.records.iter().any(|&records| f64::from(records) > most_records)
    }
}

/// A regular expression for the integers from `least` to `most`.
pub(super) fn int_range(least: u64, most: u64) -> String {
    let mut parts = Vec::new();
    for length in least.to_string().len()..=most.to_string().len() {
        let first = if length == 1 { 0 } else { 10u64.pow(length as u32 - 1) };
        let last = 10u64.checked_pow(length as u32).map_or(u64::MAX, |power| power - 1);
        let [low, high] = [least.max(first), most.min(last)].map(|number| number.to_string());
        parts.push(between(low.as_bytes(), high.as_bytes()));
    }
    if parts.len() == 1 { parts.remove(0) } else { format!("({})", parts.join("|")) }
}

/// The digit strings from `low` to `high`, which have the same length.
fn between(low: &[u8], high: &[u8]) -> String {
    let ([a, low @ ..], [b, high @ ..]) = (low, high) else { return String::new() };
    let any = low.iter().all(|&digit| digit == b'0') && high.iter().all(|&digit| digit == b'9');
    if any {
        return class(*a, *b) + &digits(low.len());
    }
    if a == b {
        return format!("{}{}", *a as char, between(low, high));
    }
    let nines = vec![b'9'; low.len()];
    let zeros = vec![b'0'; low.len()];
    let mut parts = vec![format!("{}{}", *a as char, between(low, &nines))];
    if a + 1 < *b {
        parts.push(class(a + 1, b - 1) + &digits(low.len()));
    }
    parts.push(format!("{}{}", *b as char, between(&zeros, high)));
    format!("({})", parts.join("|"))
}

fn class(a: u8, b: u8) -> String {
    if a == b { (a as char).to_string() } else { format!("[{}-{}]", a as char, b as char) }
}

fn digits(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => "[0-9]".to_string(),
        _ => format!("[0-9]{{{count}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    fn of(numbers: impl IntoIterator<Item = impl ToString>) -> NumberProfile {
        let mut profile = NumberProfile::default();
        numbers.into_iter().for_each(|number| profile.add(&number.to_string()));
        profile
    }

    fn anchored(profile: &NumberProfile) -> Regex {
        Regex::new(&format!("^({})$", profile.written())).unwrap()
    }

    /// A number that looks unrelated to those of other `i`.
    fn noise(i: u64) -> u64 {
        (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40
    }

    #[test]
    fn what_grows_has_no_range_and_what_does_not_has_one() {
        let growing = [
            of((0..200).map(|i| 1_700_000_000 + i)),
            of((0..200).map(|i| 900 - i)),
            // With noise, and with the counter of another machine between.
            of((0..400).map(|i| i * 10 + noise(i) % 2000)),
            of((0..400).map(|i| if i % 2 == 0 { 5_000_000 + i } else { i })),
        ];
        assert!(growing.iter().all(|numbers| numbers.whole_range().is_none()));
        assert!(anchored(&growing[0]).is_match("9999999999") && !anchored(&growing[0]).is_match("1700000000000"));
        let ports = of((0..400).map(|i| noise(i) % 60_000 + 5_000));
        assert_eq!(ports.bounds()[0], Some(0), "no minus sign, so nothing below 0");
        assert!((120_000..=130_000).contains(&ports.bounds()[1].unwrap()), "{:?}", ports.bounds());
        let range = anchored(&ports);
        assert!(
            range.is_match("99999") && !range.is_match("990000") && !range.is_match("-5") && !range.is_match("7.0")
        );
    }

    #[test]
    fn numbers_are_written_as_they_were() {
        let numbers = ["0.0", "1.0", "0.50", "-0.0", "12.25"];
        let some = anchored(&of((0..40).map(|i| format!("{}{}", numbers[i % 5], noise(i as u64) % 97))));
        assert!(["0.05", "-3.0421"].iter().all(|number| some.is_match(number)));
        assert!(["1", "1.", "1e5", "01.5", "0.123456789", "77777.5"].iter().all(|number| !some.is_match(number)));
        let powers = anchored(&of(["1e5", "1E+05", "-2.5e-10"]));
        assert!(["7e5", "3E+09", "-1.25e-11", "3.5e-10"].iter().all(|number| powers.is_match(number)));
        assert!(["7", "3e+09", "7e500", "2.5"].iter().all(|number| !powers.is_match(number)));
        let huge = of(["18446744073709551615", "1e999", "-123456789012345678901234567890"]);
        assert_eq!(huge.bounds(), [None, None]);
        let money = anchored(&of((0..40).map(|i| format!("{}.{:02}", noise(i) % 1000, i))));
        assert!(money.is_match("12.50") && !money.is_match("12.5") && !money.is_match("12"));
    }

    #[test]
    fn a_range_is_that_of_its_integers() {
        for (least, most) in [(0, 0), (0, 9), (7, 7), (0, 100), (95, 105), (1024, 65535), (199, 2001), (990, 999)] {
            let regex = Regex::new(&format!("^{}$", int_range(least, most))).unwrap();
            (0..3000).chain(65_000..66_000).for_each(|number: u64| {
                assert_eq!(regex.is_match(&number.to_string()), (least..=most).contains(&number), "{number}: {regex}");
            });
        }
    }

    proptest! {
        #[test]
        fn every_number_seen_is_allowed(
            numbers in proptest::collection::vec(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", 1..60)
        ) {
            let profile = of(&numbers);
            let regex = anchored(&profile);
            prop_assert!(numbers.iter().all(|number| regex.is_match(number)), "{regex}");
        }

        #[test]
        fn every_number_that_is_allowed_lies_within_the_bounds(numbers in proptest::collection::vec(-500i64..9000, 30..60), at: u8) {
            let profile = of(&numbers);
            let [least, most] = profile.bounds();
            let candidate = i64::from(at) * 80 - 1000;
            if anchored(&profile).is_match(&candidate.to_string()) {
                prop_assert!(least.is_none_or(|least| least <= candidate) && most.is_none_or(|most| candidate <= most));
            }
        }
    }
}
