//! Parsers of flag values that several commands take. What lies out of bounds is refused with the bounds.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Largest seed: configuration files must hold it too, and the integers of TOML are signed.
const MOST_SEED: u64 = i64::MAX as u64;

/// Largest number of steps, records or windows that a flag may name: no sum or product of two of them overflows.
pub const MOST: u64 = 1 << 32;

/// Parses a seed.
pub fn seed(text: &str) -> std::result::Result<u64, String> {
    whole(0..=MOST_SEED)(text)
}

/// Parses a false-positive rate.
pub fn rate(text: &str) -> std::result::Result<f64, String> {
    let rate: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if rate > 0.0 && rate < 1.0 { Ok(rate) } else { Err("expected a fraction between 0 and 1, such as 0.01".into()) }
}

/// A parser of whole numbers in a range.
pub fn whole<T: TryFrom<u64>>(
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> std::result::Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number =
            text.parse().ok().filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        number.ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
    }
}

/// Parses a number that is neither infinite nor NaN.
pub fn finite(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| "expected a number".to_string())
}

/// A parser of numbers in a range, which are never NaN.
pub fn number<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> std::result::Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + std::fmt::LowerExp + Copy + Send + Sync + 'static,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("expected a number from {} to {}", short(range.start()), short(range.end())))
    }
}

/// A parser of numbers above 0.
pub fn positive(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|&number: &f64| number > 0.0 && number.is_finite());
    number.ok_or_else(|| "expected a number above 0".to_string())
}

/// The largest `f32` has 39 digits.
fn short(number: &(impl Display + std::fmt::LowerExp)) -> String {
    let plain = number.to_string();
    if plain.len() > 12 { format!("{number:e}") } else { plain }
}
