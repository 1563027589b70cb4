//! Times as logs write them.

use chrono::{DateTime, Datelike, NaiveDateTime};
use std::time::SystemTime;

/// A time of this form has no year.
const WITHOUT_YEAR: &str = "%b %d %H:%M:%S";
/// How a date and a time are written, without what may follow: a fraction of a second, and a zone.
const FORMS: [&str; 9] = [
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    // `%Y` would take two digits too.
    "%y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M:%S",
    "%Y-%m-%d-%H.%M.%S",
    "%d/%b/%Y:%H:%M:%S",
    "%a %b %d %H:%M:%S%.f %Y",
    "%y%m%d %H%M%S",
    WITHOUT_YEAR,
];
/// The words of a line at which its time may begin: a web server's log has three words before it.
const WORDS_BEFORE: usize = 6;
/// 1990 to 2100: a number outside is no time, unless somebody says so.
const PLAUSIBLE: std::ops::Range<f64> = 631_152_000.0..4_102_444_800.0;
const DAY: f64 = 86_400.0;

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

/// The same with all forms that logs are known to have, those of web servers, of .NET and of syslog. A time without a year is of
/// the last year in which it does not lie in the future, so that the result depends on the clock.
pub fn log_seconds(text: &str) -> Option<f64> {
    let text = text.strip_prefix("/Date(").and_then(|text| text.strip_suffix(")/")).unwrap_or(text);
    seconds(text).or_else(|| written(text, now()).filter(|(_, rest)| rest.is_empty()).map(|(time, _)| time))
}

/// The same for a value that nobody called a time: not every number is one.
pub fn plausible_seconds(text: &str) -> Option<f64> {
    log_seconds(text).filter(|time| PLAUSIBLE.contains(time))
}

/// The time that stands at the beginning of a line of text, behind at most a few words.
pub fn leading_seconds(line: &[u8]) -> Option<f64> {
    let head = String::from_utf8_lossy(&line[..line.len().min(256)]);
    let after = |c: char| c.is_ascii_whitespace() || "[(<\"'>".contains(c);
    let begins = head.char_indices().filter(|&(at, c)| !after(c) && head[..at].chars().next_back().is_none_or(after));
    begins.take(WORDS_BEFORE).find_map(|(at, _)| {
        let text = &head[at..];
        let number = || {
            let word = text.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
            let is_long = word.bytes().take_while(u8::is_ascii_digit).count() >= 10;
            plausible_seconds(word).filter(|_| is_long)
        };
        written(text, now()).map(|(time, _)| time).or_else(number)
    })
}

/// A time as RFC 3339 writes it, in UTC; None beyond the years that it can write.
pub fn rfc3339(seconds: f64) -> Option<String> {
    let time = DateTime::from_timestamp_micros((seconds * 1e6).round() as i64)?;
    let micros = time.timestamp_subsec_micros();
    let form = if micros == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%.6fZ" };
    (0..=9999).contains(&time.year()).then(|| time.format(form).to_string())
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The time at the beginning of a text, and what follows it.
fn written(text: &str, now: f64) -> Option<(f64, &str)> {
    // All forms begin so, and most texts do not.
    if !text.starts_with(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase()) {
        return None;
    }
    FORMS.into_iter().find_map(|form| {
        let (time, rest) = match form == WITHOUT_YEAR {
            true => this_year(text, now)?,
            false => NaiveDateTime::parse_and_remainder(text, form).ok()?,
        };
        let (fraction, rest) = fraction(rest);
        let (offset, rest) = zone(rest);
        let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        ends.then(|| (time.and_utc().timestamp_micros() as f64 / 1e6 + fraction - offset, rest))
    })
}

/// A time without a year is of the last year in which it does not lie in the future, but for the clocks of others.
fn this_year(text: &str, now: f64) -> Option<(NaiveDateTime, &str)> {
    let year = DateTime::from_timestamp(now as i64, 0)?.year();
    let with = |year: i32| {
        let whole = format!("{year} {text}");
        let (time, rest) = NaiveDateTime::parse_and_remainder(&whole, &format!("%Y {WITHOUT_YEAR}")).ok()?;
        Some((time, text.len() - rest.len()))
    };
    let latest = now + DAY;
    let fits = |&(time, _): &(NaiveDateTime, usize)| (time.and_utc().timestamp() as f64) < latest;
    // From December 31 on, the next year may have begun where the log was written; a leap day is at most eight years away.
    let (time, length) = (0..=9).filter_map(|back| with(year + 1 - back)).find(fits)?;
    Some((time, &text[length..]))
}

/// A fraction of a second, behind a point or a comma.
fn fraction(text: &str) -> (f64, &str) {
    let digits = text.strip_prefix(['.', ',']).unwrap_or("");
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    match format!("0.{}", &digits[..length]).parse() {
        Ok(fraction) if length > 0 => (fraction, &digits[length..]),
        _ => (0.0, text),
    }
}

/// Seconds by which a zone is ahead of UTC.
fn zone(text: &str) -> (f64, &str) {
    let zone = text.strip_prefix(' ').unwrap_or(text);
    if let Some(rest) = ["UTC", "GMT", "Z"].into_iter().find_map(|name| zone.strip_prefix(name)) {
        return (0.0, rest);
    }
    let offset = || {
        let sign = if zone.starts_with('-') { -1.0 } else { 1.0 };
        let digits = zone.strip_prefix(['+', '-'])?;
        let number = |text: Option<&str>| text?.parse::<u32>().ok().filter(|&number| number < 60).map(f64::from);
        let hours = number(digits.get(..2))?;
        let rest = digits[2..].strip_prefix(':').unwrap_or(&digits[2..]);
        Some((sign * 60.0 * (60.0 * hours + number(rest.get(..2))?), &rest[2..]))
    };
    offset().unwrap_or((0.0, text))
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
            ("1970-01-02 00:00:00,250 -0100", Some(90000.25)),
            ("01/Jan/1970:00:01:00 +0000", Some(60.0)),
            ("1661558400", Some(1661558400.0)),
            ("1661558400123", Some(1661558400.123)),
            ("1661558400123000", Some(1661558400.123)),
            ("1661558400000000000", Some(1661558400.0)),
            ("/Date(1661558400123)/", Some(1661558400.123)),
            ("yesterday", None),
            ("1970-01-02 00:00:00 and more", None),
            ("inf", None),
        ] {
            assert_eq!(log_seconds(text), expected, "{text}");
        }
        assert_eq!(seconds("01/Jan/1970:00:01:00 +0000"), None, "only in logs");
        assert_eq!(plausible_seconds("443"), None);
    }

    #[test]
    fn a_line_begins_with_its_time() {
        for (line, expected) in [
            ("192.0.2.1 - - [17/May/2015:10:05:03 +0200] \"GET / HTTP/1.1\" 200 1", Some("2015-05-17T08:05:03Z")),
            ("[Sun Dec 04 04:47:44 2005] [notice] workerEnv.init()", Some("2005-12-04T04:47:44Z")),
            ("[Sun Dec 04 04:47:44.5 2005] [notice] x", Some("2005-12-04T04:47:44.500000Z")),
            ("<165>1 2024-03-01T10:00:00.25Z pine app - - go", Some("2024-03-01T10:00:00.250000Z")),
            ("2024-03-01 10:00:00,123 INFO x", Some("2024-03-01T10:00:00.123000Z")),
            ("081109 203615 148 INFO dfs.DataNode", Some("2008-11-09T20:36:15Z")),
            ("17/06/09 20:10:40 INFO executor", Some("2017-06-09T20:10:40Z")),
            ("- 1117838570 2005.06.03 R02-M1", Some("2005-06-03T22:42:50Z")),
            ("nova.log 2017-05-16 00:00:00.008 25746 INFO", Some("2017-05-16T00:00:00.008000Z")),
            ("1661558400.5 conn", Some("2022-08-27T00:00:00.500000Z")),
            ("took 200 ms for 2024-03-01", None),
            ("a b c d e f g h 2024-03-01 10:00:00", None),
            ("2024-03-01 10:00:007", None),
            ("Maybe 12 not a time", None),
            ("", None),
            ("é\u{2028}2024", None),
        ] {
            assert_eq!(leading_seconds(line.as_bytes()).and_then(rfc3339).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_time_without_a_year_does_not_lie_in_the_future() {
        let at = |text: &str, now: &str| written(text, seconds(now).unwrap()).and_then(|(time, _)| rfc3339(time));
        for (text, now, expected) in [
            ("Mar  1 10:00:00 host", "2024-06-01T00:00:00Z", "2024-03-01T10:00:00Z"),
            ("Dec 31 23:59:59 host", "2024-01-02T00:00:00Z", "2023-12-31T23:59:59Z"),
            ("Jan  1 00:30:00 host", "2023-12-31T23:00:00Z", "2024-01-01T00:30:00Z"),
            ("Feb 29 10:00:00 host", "2023-06-01T00:00:00Z", "2020-02-29T10:00:00Z"),
        ] {
            assert_eq!(at(text, now).as_deref(), Some(expected), "{text} {now}");
        }
    }

    #[test]
    fn times_beyond_all_years_are_not_written() {
        assert_eq!(rfc3339(1e18), None);
        assert_eq!(rfc3339(1e12), None);
        assert_eq!(rfc3339(-1.0).as_deref(), Some("1969-12-31T23:59:59Z"));
    }
}
