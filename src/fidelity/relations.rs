//! Relations between the texts of two fields of a record: an order, an equal length, a text within the other.

use super::rule_kind::RuleKind;
use super::table::{ABSENT, ValueIds};
use crate::record::seconds;

/// Texts shorter than this are found within others too easily.
const SHORTEST: usize = 3;

/// What of a value is compared; `None` where a relation does not apply to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traits {
    /// A number or a time, and whether it is a time: the two are not compared with each other.
    scalar: Option<(bool, f64)>,
    /// Number of elements of an array, of characters of any other value.
    length: usize,
    /// A string's content, or several elements as they are written.
    text: String,
}

impl Traits {
    /// `raw`: the value as it is written in the record; the elements of an array are joined by commas, and `is_array` says so.
    fn of(raw: &str, is_array: bool) -> Self {
        if is_array {
            let elements =
                serde_json::from_str::<Vec<serde_json::Value>>(&format!("[{raw}]")).map_or(0, |all| all.len());
            return Traits { scalar: None, length: elements, text: raw.to_string() };
        }
        let string = raw.starts_with('"').then(|| serde_json::from_str::<String>(raw).ok()).flatten();
        let text = string.unwrap_or_else(|| raw.to_string());
        let number = text.parse().ok().filter(|number: &f64| number.is_finite()).map(|number| (false, number));
        let scalar = number.or_else(|| seconds(&text).map(|time| (true, time)));
        Traits { scalar, length: text.chars().count(), text }
    }

    /// The traits of each value of a column; `None` where the value is absent.
    pub fn of_column(path: &str, column: &[u32], values: &ValueIds) -> Vec<Option<Traits>> {
        let is_array = path.split('.').any(|name| name == "*");
        column.iter().map(|&id| (id != ABSENT).then(|| Traits::of(values.text(id), is_array))).collect()
    }
}

/// Whether two values of a record stand in the relation; `None` where it does not apply to them.
pub fn holds(kind: RuleKind, from: &Traits, to: &Traits) -> Option<bool> {
    match kind {
        RuleKind::AtMost => match (from.scalar?, to.scalar?) {
            ((is_time, from), (other, to)) if is_time == other => Some(from <= to),
            _ => None,
        },
        RuleKind::SameLength => Some(from.length == to.length),
        RuleKind::ContainedIn => (from.text.len() >= SHORTEST).then(|| to.text.contains(&from.text)),
        RuleKind::Equal | RuleKind::Determines => None,
    }
}

/// The probability that a relation holds between the values of two different records, estimated from pairs of rows that are
/// a few different distances apart. At least one case is counted, so that the estimate is never zero.
pub fn chance(kind: RuleKind, from: &[Option<Traits>], to: &[Option<Traits>]) -> f64 {
    let (mut cases, mut kept) = (1.0, 1.0);
    let rows = from.len();
    for part in [3, 5, 7, 11] {
        let shift = (rows / part).max(1);
        for (row, from) in from.iter().enumerate() {
            let Some((from, to)) = from.as_ref().zip(to[(row + shift) % rows].as_ref()) else { continue };
            if let Some(held) = holds(kind, from, to) {
                cases += 1.0;
                kept += f64::from(u8::from(held));
            }
        }
    }
    kept / cases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(raw: &str) -> Traits {
        Traits::of(raw, false)
    }

    #[test]
    fn relations_by_hand() {
        let of = |kind, from: &str, to: &str| holds(kind, &traits(from), &traits(to));
        assert_eq!(of(RuleKind::AtMost, "7", "7.5"), Some(true));
        assert_eq!(of(RuleKind::AtMost, "\"9\"", "\"10\""), Some(true), "numbers in strings are numbers");
        let (zulu, east) = ("\"2026-01-02T03:04:05Z\"", "\"2026-01-02T04:04:04+01:00\"");
        assert_eq!(of(RuleKind::AtMost, east, zulu), Some(true));
        assert_eq!(of(RuleKind::AtMost, zulu, east), Some(false));
        assert_eq!(of(RuleKind::AtMost, "7", zulu), None, "a number and a time have no order");
        assert_eq!(of(RuleKind::AtMost, "7", "\"x\""), None);
        assert_eq!(of(RuleKind::SameLength, "\"äb\"", "\"cd\""), Some(true));
        assert_eq!(of(RuleKind::ContainedIn, "\"ann\"", "\"arn:user/ann\""), Some(true));
        assert_eq!(of(RuleKind::ContainedIn, "123456", "\"arn::123456:x\""), Some(true));
        assert_eq!(of(RuleKind::ContainedIn, "\"a\"", "\"arn\""), None, "too short to mean anything");
        assert_eq!(Traits::of(r#""x","a,b""#, true).length, 2);
    }

    #[test]
    fn chance_is_that_of_other_records() {
        let column = |of: fn(u32) -> u32| (0..200).map(|i| Some(traits(&of(i).to_string()))).collect::<Vec<_>>();
        let (growing, large) = (column(|i| i), column(|i| 1000 + i));
        // A row has a larger one behind it but for the last 66, 40, 28 and 18; one case is counted beside the 4 x 200.
        assert_eq!(chance(RuleKind::AtMost, &growing, &growing), f64::from(1 + 800 - 66 - 40 - 28 - 18) / 801.0);
        assert_eq!(chance(RuleKind::AtMost, &growing, &large), 1.0);
        assert_eq!(chance(RuleKind::AtMost, &large, &growing), 1.0 / 801.0);
    }
}
