//! Times as logs write them.

use chrono::{DateTime, NaiveDateTime};

/// Seconds since 1970 of a time: RFC 3339 (`2022-08-27T00:59:39.18Z`), the same without a zone (taken as UTC), or a number of
/// seconds, milliseconds, microseconds or nanoseconds, distinguished by size: a time in seconds is below 10^11 (the year
/// 5138), and from 1973 on a time in milliseconds is above it, and so on for the finer units.
pub fn seconds(text: &str) -> Option<f64> {
    if let Ok(number) = text.parse::<f64>() {
        let number = Some(number).filter(|number| number.is_finite())?;
        let unit = [1e11, 1e14, 1e17].into_iter().filter(|&least| number >= least).count();
        return Some(number / [1.0, 1e3, 1e6, 1e9][unit]);
    }
    let zoned = DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let local = || {
        let parse = |form| NaiveDateTime::parse_from_str(text, form).ok();
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"].into_iter().find_map(parse).map(|time| time.and_utc())
    };
    zoned.or_else(local).map(|time| time.timestamp_micros() as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_logs_write_them() {
        for (text, expected) in [
            ("1970-01-01T00:01:00.5Z", Some(60.5)),
            ("1970-01-01T01:00:00+01:00", Some(0.0)),
            ("1970-01-01T00:00:07", Some(7.0)),
            ("1970-01-02 00:00:00", Some(86400.0)),
            ("1661558400", Some(1661558400.0)),
            ("1661558400123", Some(1661558400.123)),
            ("1661558400123000", Some(1661558400.123)),
            ("1661558400000000000", Some(1661558400.0)),
            ("yesterday", None),
            ("inf", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
